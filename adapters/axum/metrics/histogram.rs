//! Times in buckets, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::family::{Buckets, Value};

/// Upper bounds in nanoseconds: 10 us to 10 s, in steps of 1, 2.5 and 5.
const BOUNDS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A histogram of times.
#[derive(Debug, Default)]
pub(in super::super) struct Histogram {
    // one for each bound, and one for what is above
    counts: [AtomicU64; BOUNDS.len() + 1],
    // nanoseconds; 584 years of them
    sum: AtomicU64,
}

impl Histogram {
    pub(in super::super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// As it is now. The count is that of the buckets, so that they agree.
    pub(super) fn value(&self) -> Value {
        let bounds = BOUNDS.iter().map(|bound| Duration::from_nanos(*bound).as_secs_f64());
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let counts: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let sum = Duration::from_nanos(self.sum.load(Ordering::Relaxed)).as_secs_f64();
        Value::Buckets(Buckets { sum, count: counts.iter().map(|(_, n)| n).sum(), counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket() {
        let histogram = Histogram::default();
        for nanos in [0, 10_000, 10_001, 10_000_000_000, 10_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let Value::Buckets(Buckets { sum, count, counts }) = histogram.value() else {
            panic!("a histogram");
        };
        let found: Vec<u64> = counts.iter().map(|(_, count)| *count).collect();
        assert_eq!((found[0], found[1], found[18], found[19]), (2, 1, 1, 1));
        assert_eq!((count, counts[0].0, counts[19].0), (5, 1e-5, f64::INFINITY));
        assert!((sum - 20.000_020_002).abs() < 1e-9, "{sum}");
    }
}
