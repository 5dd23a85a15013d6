//! One table of counters: one writer, readers that never see half a row.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use crate::drift::profile::{Codes, Profile};
use crate::drift::summary::{Moments, ReferenceSummary, TrafficSummary};
use crate::record::{Row, Value};

/// Words of the summary of a numeric feature, and which is which. The last three are those of the
/// moments.
const SUMMARY: usize = 6;
const BELOW: usize = 0;
const ABOVE: usize = 1;
const INFINITE: usize = 2;
const MOMENTS: usize = 3;

/// The pane of a table that holds none yet, before every real one.
pub(super) const NO_PANE: i64 = i64::MIN;

/// Where the counters of a profile stand in a table: the rows, then the slots of every column, then
/// the summary of every numeric feature. Values outside the levels have a slot, and need no more.
#[derive(Debug)]
pub(super) struct Layout {
    // per column: its first word
    columns: Box<[usize]>,
    // per column: its last slot
    last: Box<[u8]>,
    // first word of the first summary
    summaries: usize,
    // per numeric feature: which it is, and its reference
    numbers: Box<[(usize, ReferenceSummary)]>,
    // per categorical feature: which it is, and the word of what is outside its levels
    unseen: Box<[(usize, usize)]>,
    features: usize,
}

impl Layout {
    pub(super) fn of(profile: &Profile) -> Self {
        let mut next = 1;
        let columns = profile.columns().map(|column| {
            next += column.binning().slots();
            next - column.binning().slots()
        });
        let columns: Box<[usize]> = columns.collect();
        // The slot of what is missing is the last one, and a code of one byte.
        let last = profile.columns().map(|column| column.binning().code(Value::Missing)).collect();
        let (mut numbers, mut unseen) = (Vec::new(), Vec::new());
        for (at, feature) in profile.features().iter().enumerate() {
            match feature.binning().other_slot() {
                Some(slot) => unseen.push((at, columns[at] + slot)),
                None => numbers.push((at, feature.summary().clone())),
            }
        }
        let (numbers, unseen) = (numbers.into(), unseen.into());
        let features = profile.features().len();
        Self { columns, last, summaries: next, numbers, unseen, features }
    }

    pub(super) fn words(&self) -> usize {
        self.summaries + SUMMARY * self.numbers.len()
    }

    /// Whether `row` and `codes` are of the profile of this layout.
    pub(super) fn accepts(&self, row: &Row, codes: &Codes) -> bool {
        let codes = codes.as_bytes();
        row.values().len() == self.features
            && codes.len() == self.last.len()
            // No early exit: one pass without branches.
            && self.last.iter().zip(codes).fold(true, |ok, (last, code)| ok & (code <= last))
    }

    /// Adds the words of one table to `sum`.
    pub(super) fn add(&self, words: &[u64], sum: &mut Sum) {
        let (counts, summaries) = words.split_at(self.summaries);
        for (total, word) in sum.counts.iter_mut().zip(counts) {
            *total += word;
        }
        for ((at, _), words) in self.numbers.iter().zip(summaries.chunks_exact(SUMMARY)) {
            sum.summaries[*at].merge(&TrafficSummary {
                below: words[BELOW],
                above: words[ABOVE],
                infinite: words[INFINITE],
                moments: moments([0, 1, 2].map(|i| words[MOMENTS + i])),
                ..TrafficSummary::default()
            });
        }
    }

    /// Rows, slots and summaries of what was added up.
    pub(super) fn parts(&self, mut sum: Sum) -> (u64, Vec<Vec<u64>>, Vec<TrafficSummary>) {
        for (at, word) in &self.unseen {
            sum.summaries[*at].unseen_more = sum.counts[*word];
        }
        let slots = |(first, last): (&usize, &u8)| {
            sum.counts[*first..=*first + usize::from(*last)].to_vec()
        };
        let slots = self.columns.iter().zip(&self.last).map(slots).collect();
        (sum.counts[0], slots, sum.summaries)
    }
}

fn moments([count, mean, squares]: [u64; 3]) -> Moments {
    Moments::of_parts(count, f64::from_bits(mean), f64::from_bits(squares))
}

/// The sum of many tables.
#[derive(Debug)]
pub(super) struct Sum {
    // the rows, then the slots of every column
    counts: Vec<u64>,
    // per feature
    summaries: Vec<TrafficSummary>,
}

impl Sum {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            counts: vec![0; layout.summaries],
            summaries: vec![TrafficSummary::default(); layout.features],
        }
    }
}

/// A table of counters of one pane of time, written by one thread at a time.
///
/// A sequence number that is odd during a change makes readers try again: a seqlock of atomics and
/// fences. Nothing is added atomically; a single writer needs no more than a load and a store.
///
/// # Reference
///
/// H.-J. Boehm, *Can Seqlocks Get Along with Programming Language Memory Models?*, MSPC 2012,
/// DOI 10.1145/2247684.2247688.
#[derive(Debug)]
pub(super) struct Cells {
    // odd during a change
    sequence: AtomicU64,
    // the pane whose rows are in `words`
    pane: AtomicI64,
    // as the layout says; each column adds up to the first word
    words: Box<[AtomicU64]>,
}

impl Cells {
    pub(super) fn new(layout: &Layout) -> Self {
        let words = (0..layout.words()).map(|_| AtomicU64::new(0)).collect();
        Self { sequence: AtomicU64::new(0), pane: AtomicI64::new(NO_PANE), words }
    }

    /// The pane, for the writer.
    pub(super) fn pane(&self) -> i64 {
        self.pane.load(Ordering::Relaxed)
    }

    /// Makes a change that readers see whole or not at all. For the one writer; `change` must not
    /// panic.
    fn write(&self, change: impl FnOnce()) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // No store of `change` comes before the odd number ...
        fence(Ordering::Release);
        change();
        // ... and none after the even one.
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Forgets all rows and starts `pane`. For the one writer.
    pub(super) fn restart(&self, pane: i64) {
        self.write(|| {
            self.pane.store(pane, Ordering::Relaxed);
            self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        });
    }

    /// Counts one row that the layout accepts. For the one writer.
    pub(super) fn observe(&self, layout: &Layout, row: &Row, codes: &Codes) {
        self.write(|| {
            // First what takes longest, so that the rest is done meanwhile.
            for (at, (feature, reference)) in layout.numbers.iter().enumerate() {
                if let Some(Value::Number(x)) = row.values().get(*feature) {
                    self.summarise(layout.summaries + SUMMARY * at, *x, reference);
                }
            }
            self.bump(0);
            for (first, code) in layout.columns.iter().zip(codes.as_bytes()) {
                self.bump(first + usize::from(*code));
            }
        });
    }

    fn bump(&self, at: usize) {
        // Always there: the layout has accepted the row.
        if let Some(word) = self.words.get(at) {
            word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// What `TrafficSummary::observe` does.
    fn summarise(&self, at: usize, x: f64, reference: &ReferenceSummary) {
        if reference.is_above(x) {
            self.bump(at + BELOW);
        }
        if reference.is_below(x) {
            self.bump(at + ABOVE);
        }
        if x.is_infinite() {
            self.bump(at + INFINITE);
        }
        if !x.is_finite() {
            return;
        }
        let Some([count, mean, squares]) = self.words.get(at + MOMENTS..at + SUMMARY) else {
            return;
        };
        let words = [count, mean, squares];
        let mut moments = moments(words.map(|word| word.load(Ordering::Relaxed)));
        moments.observe(x);
        let (n, mean, squares) = moments.parts();
        for (word, value) in words.into_iter().zip([n, mean.to_bits(), squares.to_bits()]) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Copies the table as it is between two changes, and says of which pane it is; `None` when the
    /// writer came in between.
    pub(super) fn read(&self, out: &mut Vec<u64>) -> Option<i64> {
        let before = self.sequence.load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        let pane = self.pane.load(Ordering::Relaxed);
        out.clear();
        out.extend(self.words.iter().map(|word| word.load(Ordering::Relaxed)));
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == before).then_some(pane)
    }
}
