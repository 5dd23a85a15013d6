//! What was found about single cells when a column was read.

use std::sync::Arc;

/// The remarkable cells of one column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CellMarks {
    // rows whose cell was refused and reported: a bit for each up to the largest
    refused: Vec<u64>,
    // categories outside the levels, as they were written; sorted by row
    outside: Vec<(usize, Arc<str>)>,
}

impl CellMarks {
    pub(super) fn refuse(&mut self, row: usize) {
        if self.refused.len() <= row / 64 {
            self.refused.resize(row / 64 + 1, 0);
        }
        self.refused[row / 64] |= 1 << (row % 64);
    }

    pub(super) fn is_refused(&self, row: usize) -> bool {
        self.refused.get(row / 64).is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    /// Keeps the text of a category outside the levels. Rows must come in order.
    pub(super) fn keep_outside(&mut self, row: usize, text: Arc<str>) {
        self.outside.push((row, text));
    }

    /// The refused rows, in order.
    pub(super) fn refused_rows(&self) -> impl Iterator<Item = usize> {
        self.refused.iter().enumerate().flat_map(|(at, word)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit)
        })
    }

    /// The texts of categories outside the levels, in the order of their rows.
    pub(super) fn outside_texts(&self) -> impl Iterator<Item = &str> {
        self.outside.iter().map(|(_, text)| &**text)
    }

    /// The marks of the rows at `indices`, in that order.
    pub(super) fn select(&self, indices: &[usize]) -> Self {
        let mut marks = Self::default();
        for (to, from) in indices.iter().enumerate() {
            if self.is_refused(*from) {
                marks.refuse(to);
            }
            if let Ok(at) = self.outside.binary_search_by_key(from, |(row, _)| *row) {
                marks.keep_outside(to, Arc::clone(&self.outside[at].1));
            }
        }
        marks
    }
}
