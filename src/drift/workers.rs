//! Who does independent pieces of work: the core starts no threads of its own.

use std::fmt;
use std::sync::OnceLock;

/// Runs jobs that do not depend on each other, at once or one after the other.
///
/// Whole data sets are worked on column by column: [`DriftDetector::compare_with`],
/// [`ProfileOptions::fit_with`] and [`Counts::of_with`] hand the columns to one of these. The result
/// is the same, bit for bit, whoever does the work and in which order. The feature `rayon` has one
/// that uses every core.
///
/// [`DriftDetector::compare_with`]: super::DriftDetector::compare_with
/// [`ProfileOptions::fit_with`]: super::ProfileOptions::fit_with
/// [`Counts::of_with`]: super::Counts::of_with
///
/// # Contract
///
/// When [`run`](Self::run) returns, `job` has been called with every number below `jobs`, and all
/// calls have ended. A panic of a job is passed on.
///
/// # Implementing
///
/// ```
/// use pmmds::drift::Workers;
///
/// /// As many threads as there are columns.
/// #[derive(Debug)]
/// struct Threads;
///
/// impl Workers for Threads {
///     fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| {
///             for number in 0..jobs {
///                 scope.spawn(move || job(number));
///             }
///         });
///     }
/// }
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::Array2::from_shape_fn((500, 1), |(row, _)| row as f64);
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// use pmmds::drift::{DriftDetector, Profile, ProfileOptions};
/// let detector = DriftDetector::default();
/// let report = detector.compare_with(&batch, &batch, &Threads)?;
/// assert_eq!(report, detector.compare(&batch, &batch)?);
/// assert_eq!(ProfileOptions::new().fit_with(&batch, &Threads)?, Profile::fit(&batch)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Workers: fmt::Debug + Send + Sync {
    /// Calls `job` with 0, 1 ... `jobs` - 1, in any order.
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync));
}

const _: Option<&dyn Workers> = None;

/// One job after the other, on the caller's thread.
///
/// ```
/// use std::sync::Mutex;
/// use pmmds::drift::{Serial, Workers};
/// let seen = Mutex::new(Vec::new());
/// Serial.run(3, &|number| seen.lock().unwrap().push(number));
/// assert_eq!(seen.into_inner().unwrap(), [0, 1, 2]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Serial;

impl Workers for Serial {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(job);
    }
}

/// What `job` gives for every number below `jobs`, in their order.
pub(super) fn gather<T: Send + Sync>(
    workers: &dyn Workers,
    jobs: usize,
    job: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let slots: Vec<OnceLock<T>> = (0..jobs).map(|_| OnceLock::new()).collect();
    workers.run(jobs, &|number| {
        if let Some(slot) = slots.get(number) {
            slot.get_or_init(|| job(number));
        }
    });
    // Whatever was left out is done here.
    let done =
        |(number, slot): (usize, OnceLock<T>)| slot.into_inner().unwrap_or_else(|| job(number));
    slots.into_iter().enumerate().map(done).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Careless;

    impl Workers for Careless {
        fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
            for number in (0..jobs).rev().filter(|number| number % 3 != 0) {
                job(number);
                job(number);
            }
            job(jobs);
        }
    }

    #[test]
    fn careless_workers_change_nothing() {
        let squares = gather(&Careless, 10, |number| number * number);
        assert_eq!(squares, gather(&Serial, 10, |number| number * number));
        assert_eq!(squares[9], 81);
    }
}
