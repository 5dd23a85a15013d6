//! Counts and summary of a whole column of live traffic, as row by row would have them.

use super::binning::Binning;
use super::counter::BinCounter;
use super::kernel::{self, STRIP, Totals};
use super::numeric_binning::NumericBinning;
use super::profile::FeatureProfile;
use super::summary::{ReferenceSummary, TrafficSummary};
use crate::record::{Batch, Column};
use crate::schema::LevelId;

/// What the column of `feature`, the one at `at`, holds.
pub(super) fn count(
    feature: &FeatureProfile,
    batch: &Batch<'_>,
    at: usize,
) -> (Vec<u64>, TrafficSummary) {
    match (feature.binning(), &batch.columns()[at]) {
        (Binning::Numeric(binning), Column::Numbers(numbers)) => {
            // A refused cell stands as NaN, and is missing.
            count_numbers(binning, feature.summary(), numbers)
        }
        (binning @ Binning::Levels(_), column @ Column::Levels(levels)) => {
            count_levels(binning, column, levels, batch, at)
        }
        (binning, column) => (binning.count(column), TrafficSummary::default()),
    }
}

/// One way through the numbers, strip by strip, for all that is asked of them.
fn count_numbers(
    binning: &NumericBinning,
    reference: &ReferenceSummary,
    numbers: &[f64],
) -> (Vec<u64>, TrafficSummary) {
    let mut counter = BinCounter::new(binning, numbers.len());
    let mut totals = Totals::default();
    let (min, max) =
        (reference.min.unwrap_or(f64::NEG_INFINITY), reference.max.unwrap_or(f64::INFINITY));
    let (mut below, mut above) = (0, 0);
    for strip in numbers.chunks(STRIP) {
        counter.add(strip);
        kernel::add_totals(strip, &mut totals);
        let (less, more) = kernel::outside(strip, min, max);
        below += less;
        above += more;
    }
    let summary = TrafficSummary {
        moments: totals.moments,
        below,
        above,
        infinite: totals.lowest + totals.highest,
        ..TrafficSummary::default()
    };
    (counter.finish(numbers.len() as u64, totals.nan), summary)
}

fn count_levels(
    binning: &Binning,
    column: &Column<'_>,
    levels: &[LevelId],
    batch: &Batch<'_>,
    at: usize,
) -> (Vec<u64>, TrafficSummary) {
    let mut slots = binning.count(column);
    let mut summary = TrafficSummary::default();
    let Some(other) = binning.other_slot() else {
        return (slots, summary);
    };
    // A refused category counts as other, whatever stands in its place.
    for row in batch.refused_rows(at) {
        if let Some(level) = levels.get(row) {
            let slot = match *level {
                LevelId::MISSING => binning.missing_slot(),
                level => level.index().map_or(other, |index| index.min(other)),
            };
            slots[slot] -= 1;
            slots[other] += 1;
        }
    }
    let mut unnamed = slots[other];
    for text in batch.outside_texts(at) {
        summary.observe_unseen(Some(text));
        unnamed = unnamed.saturating_sub(1);
    }
    summary.add_unseen(None, unnamed);
    (slots, summary)
}
