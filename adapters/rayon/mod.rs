//! Work on whole data sets on every core, by rayon (feature `rayon`).
//!
//! ```
//! use ndarray::Array2;
//! use pmmds::drift::{Counts, DriftDetector, ProfileOptions};
//! use pmmds::rayon::Pool;
//! use pmmds::record::Batch;
//! use pmmds::schema::{Feature, FeatureSchema};
//!
//! let schema = FeatureSchema::new([Feature::numeric("x"), Feature::numeric("y")])?;
//! let before = Array2::from_shape_fn((1_000, 2), |(i, j)| (i * (7 + j) % 100) as f64);
//! let after = before.mapv(|x| x * 0.5);
//! let [before, after] = [&before, &after].map(|side| Batch::from_array(&schema, side.view()));
//! let (before, after) = (before?, after?);
//!
//! let detector = DriftDetector::default();
//! let report = detector.compare_with(&before, &after, &Pool)?;
//! assert_eq!(report, detector.compare(&before, &after)?, "the same, bit for bit");
//!
//! // Or step by step, with the profile kept.
//! let profile = ProfileOptions::new().fit_with(&before, &Pool)?;
//! let counts = Counts::of_with(&profile, &after, None, &Pool)?;
//! assert_eq!(detector.detect(&profile, &counts), report);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ::rayon::prelude::*;

use crate::drift::Workers;

/// The threads of the rayon pool that it is called in: the global one, or that of
/// `ThreadPool::install`. A column is a job, so a single one keeps a single thread busy.
///
/// ```
/// use pmmds::drift::Workers;
/// use pmmds::rayon::Pool;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let sum = AtomicUsize::new(0);
/// Pool.run(10, &|number| { sum.fetch_add(number, Ordering::Relaxed); });
/// assert_eq!(sum.into_inner(), 45);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pool;

impl Workers for Pool {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        // Columns cost unlike amounts, so none waits behind another.
        (0..jobs).into_par_iter().with_max_len(1).for_each(job);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ShapeBuilder};

    use super::Pool;
    use crate::drift::{Counts, DriftDetector, Profile, ProfileOptions};
    use crate::record::Batch;
    use crate::schema::{Feature, FeatureSchema};

    #[test]
    fn every_core_gives_the_bits_of_one() {
        let names = (0..30).map(|at| Feature::numeric(format!("column {at}")).nullable());
        let schema = FeatureSchema::new(names).unwrap();
        let side = |step: usize| {
            Array2::from_shape_fn((5_000, 30).f(), |(row, column)| {
                let x = (row * step + column) % (7 + 400 * column);
                if x == 3 { f64::NAN } else { (x as f64).sqrt() }
            })
        };
        let (before, after) = (side(7_919), side(104_729));
        let before = Batch::from_array(&schema, before.view()).unwrap();
        let after = Batch::from_array(&schema, after.view()).unwrap();
        let scores: Vec<f64> = (0..5_000).map(|row| f64::from(row % 97)).collect();

        let options = || ProfileOptions::new().scores(&scores);
        let profile: Profile = options().fit(&before).unwrap();
        let pooled = options().fit_with(&before, &Pool).unwrap();
        let text = |value: &Profile| serde_json::to_string(value).unwrap();
        assert_eq!(text(&pooled), text(&profile));
        let counts = Counts::of(&profile, &after, Some(&scores)).unwrap();
        let pooled = Counts::of_with(&profile, &after, Some(&scores), &Pool).unwrap();
        let text = |value: &Counts| serde_json::to_string(value).unwrap();
        assert_eq!(text(&pooled), text(&counts));
        let detector = DriftDetector::default();
        let report = detector.compare_with(&before, &after, &Pool).unwrap();
        assert_eq!(report, detector.compare(&before, &after).unwrap());
    }
}
