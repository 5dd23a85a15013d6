//! Where each row stands among the rows of the other class.

/// One row of a holdout, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ScoredRow {
    // a probability in [0, 1]
    pub(super) score: f64,
    // the class that the model predicts
    pub(super) predicted: bool,
    // the true class
    pub(super) positive: bool,
    // positive and finite, 1 where rows count alike
    pub(super) weight: f64,
}

/// Rows with their order by score, so that they are sorted once, in `O(n log n)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    rows: Vec<ScoredRow>,
    // the numbers of the rows, lowest score first
    order: Vec<usize>,
}

impl Ranked {
    pub(super) fn new(rows: Vec<ScoredRow>) -> Self {
        // Beside their numbers, so that the sort reads no row from afar.
        let mut scores: Vec<(f64, usize)> = rows.iter().map(|row| row.score).zip(0..).collect();
        scores.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let order = scores.into_iter().map(|(_, row)| row).collect();
        Self { rows, order }
    }

    /// The rows in the order in which they came.
    pub(super) fn rows(&self) -> &[ScoredRow] {
        &self.rows
    }

    /// The numbers of the rows of each score, lowest score first.
    pub(super) fn ties(&self) -> impl DoubleEndedIterator<Item = &[usize]> {
        // Ascending, so `>=` between neighbours is equality, and 0.0 ties with -0.0.
        self.order.chunk_by(|&a, &b| self.rows[a].score >= self.rows[b].score)
    }

    /// Twice the number of pairs that each row wins against the rows of the other class, a tie
    /// being half a win: for a positive row the negatives below it, for a negative row the
    /// positives above.
    ///
    /// In the terms of Sun and Xu (2014) this is `2 n V10` for positives and `2 m V01` for
    /// negatives, found from the runs of ties, in integers.
    pub(super) fn doubled_wins(&self) -> Vec<u64> {
        let rows = &self.rows;
        let positives = rows.iter().filter(|row| row.positive).count() as u64;
        let mut wins = vec![0; rows.len()];
        let (mut positives_below, mut negatives_below) = (0, 0);
        for group in self.ties() {
            let tied_positives = group.iter().filter(|&&row| rows[row].positive).count() as u64;
            let tied_negatives = group.len() as u64 - tied_positives;
            let positives_above = positives - positives_below - tied_positives;
            for &row in group {
                wins[row] = if rows[row].positive {
                    2 * negatives_below + tied_negatives
                } else {
                    2 * positives_above + tied_positives
                };
            }
            positives_below += tied_positives;
            negatives_below += tied_negatives;
        }
        wins
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(pairs: &[(f64, bool)]) -> Vec<ScoredRow> {
        let row = |&(score, positive)| ScoredRow {
            score,
            predicted: score >= 0.5,
            positive,
            weight: 1.0,
        };
        pairs.iter().map(row).collect()
    }

    fn doubled_wins(rows: Vec<ScoredRow>) -> Vec<u64> {
        Ranked::new(rows).doubled_wins()
    }

    // The definition, pair by pair.
    fn naive(rows: &[ScoredRow]) -> Vec<u64> {
        let points = |high: f64, low: f64| u64::from(high > low) + u64::from(high >= low);
        let wins = |row: &ScoredRow| {
            let rivals = rows.iter().filter(|rival| rival.positive != row.positive);
            let won = |rival: &ScoredRow| match row.positive {
                true => points(row.score, rival.score),
                false => points(rival.score, row.score),
            };
            rivals.map(won).sum()
        };
        rows.iter().map(wins).collect()
    }

    #[test]
    fn a_hand_counted_case() {
        // The positive 0.5 ties with one negative and beats the other; 0.9 beats both.
        let rows = rows(&[(0.5, true), (0.5, false), (0.9, true), (0.1, false)]);
        assert_eq!(doubled_wins(rows), [3, 3, 4, 4]);
    }

    #[test]
    fn zero_is_zero_whatever_its_sign() {
        assert_eq!(doubled_wins(rows(&[(0.0, true), (-0.0, false)])), [1, 1]);
        assert_eq!(doubled_wins(rows(&[(-0.0, true), (0.0, false)])), [1, 1]);
    }

    proptest! {
        #[test]
        fn the_sort_agrees_with_the_definition(
            cells in prop::collection::vec((0_u8..8, any::<bool>()), 0..60)
        ) {
            let cells: Vec<_> =
                cells.iter().map(|&(tenths, y)| (f64::from(tenths) / 10.0, y)).collect();
            let rows = rows(&cells);
            prop_assert_eq!(doubled_wins(rows.clone()), naive(&rows));
        }
    }
}
