//! A drift metric of your own: one function of two histograms.
//!
//! ```text
//! cargo run --example custom_metric
//! ```

use std::error::Error;

use ndarray::Array2;
use pmmds::drift::{BinnedPair, Binning, DriftDetector, DriftMetric, NotComparable};
use pmmds::record::Batch;
use pmmds::schema::{Feature, FeatureSchema};

/// How many bins the mean has moved, up or down. PSI knows no order: a move to the next bin and a
/// move to the last are the same to it.
#[derive(Debug)]
struct BinShift;

impl DriftMetric for BinShift {
    fn name(&self) -> &'static str {
        "bin_shift"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let Binning::Numeric(numeric) = pair.binning() else {
            return Err(NotComparable::new("levels have no order"));
        };
        let mean_bin = |counts: &[u64]| {
            let known = &counts[..numeric.bins()]; // without the slot for missing values
            let rows: u64 = known.iter().sum();
            let sum: u64 = known.iter().zip(0..).map(|(count, bin)| count * bin).sum();
            (rows > 0).then(|| as_float(sum) / as_float(rows))
        };
        match (mean_bin(pair.reference()), mean_bin(pair.current())) {
            (Some(before), Some(now)) => Ok(now - before),
            _ => Err(NotComparable::new("every value is missing")),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn as_float(count: u64) -> f64 {
    count as f64
}

fn main() -> Result<(), Box<dyn Error>> {
    let schema = FeatureSchema::new([Feature::numeric("near"), Feature::numeric("far")])?;
    let number = |row: usize| f64::from(u16::try_from(row).unwrap_or(u16::MAX));
    let before = Array2::from_shape_fn((1_000, 2), |(row, _)| number(row));
    // The lowest tenth moves: to the next bin in one column, to the last in the other.
    let after = Array2::from_shape_fn((1_000, 2), |at| match at {
        (row @ 0..100, 0) => number(row + 100),
        (row @ 0..100, _) => number(row + 900),
        (row, _) => number(row),
    });

    let detector = DriftDetector::default().metric(BinShift);
    let before = Batch::from_array(&schema, before.view())?;
    let after = Batch::from_array(&schema, after.view())?;
    for feature in detector.compare(&before, &after)?.features {
        // `None` where the metric does not apply, as for categories.
        if let Some(shift) = feature.metrics["bin_shift"] {
            println!("{:4}  psi {:.3}  bin_shift {shift:.2}", feature.name, feature.psi);
        }
    }
    Ok(())
}
