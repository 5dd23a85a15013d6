//! Is one classifier right more often than the other?

use serde::{Deserialize, Serialize};

use crate::drift::{TestMethod, TestResult};
use crate::tails::{binomial_tail, normal_tails};

/// McNemar's test: two classifiers on the same rows, by the rows on which only one of them is
/// right.
///
/// Rows on which both are right or both wrong do not matter. It asks about accuracy at one
/// threshold; whether probabilities got better is another question, which
/// [`PairedDifference`](super::PairedDifference) answers.
///
/// # Formula
///
/// With `b` rows on which only the champion is right and `c` on which only the challenger is:
///
/// ```text
/// exact          p = min(1, 2 P(X <= min(b, c))),   X binomial with b + c trials of 1/2
/// corrected      X2 = max(0, |b - c| - 1)^2 / (b + c),   p from chi-square with 1 degree
/// uncorrected    X2 = (b - c)^2 / (b + c)
/// ```
///
/// All are two-sided; `X2` has no unit, and is 0 for `b = c`. Without such rows there is no `X2`, and
/// the exact p-value is 1. The exact test is never wrong; the corrected chi-square is its approximation,
/// good from about 25 such rows on.
///
/// # Reference
///
/// Q. McNemar (1947), Note on the sampling error of the difference between correlated proportions
/// or percentages, DOI 10.1007/BF02295996; the correction: A. L. Edwards (1948),
/// DOI 10.1007/BF02289261.
///
/// ```
/// use pmmds::promote::McNemar;
/// let test = McNemar::new(0, 8);
/// assert!((test.exact_p_value() - 2.0 / 256.0).abs() < 1e-12);
/// assert_eq!(test.corrected().unwrap().statistic, 6.125);
///
/// // Models that are right on the same rows: no evidence for either.
/// assert_eq!((McNemar::new(0, 0).exact_p_value(), McNemar::new(0, 0).corrected()), (1.0, None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct McNemar {
    champion_only: u64,
    challenger_only: u64,
}

impl McNemar {
    /// The test for so many rows on which only the champion, and only the challenger, is right.
    #[must_use]
    pub fn new(champion_only: u64, challenger_only: u64) -> Self {
        Self { champion_only, challenger_only }
    }

    /// Rows on which only the champion is right.
    #[must_use]
    pub fn champion_only(&self) -> u64 {
        self.champion_only
    }

    /// Rows on which only the challenger is right.
    #[must_use]
    pub fn challenger_only(&self) -> u64 {
        self.challenger_only
    }

    /// The p-value of the exact test; 1 without such rows.
    #[must_use]
    pub fn exact_p_value(&self) -> f64 {
        let few = self.champion_only.min(self.challenger_only);
        let many = self.champion_only.max(self.challenger_only);
        if few == many {
            return 1.0;
        }
        (2.0 * binomial_tail(float(many), float(few), 0.5)).min(1.0)
    }

    /// The chi-square test with Edwards' correction for continuity; `None` without such rows.
    #[must_use]
    pub fn corrected(&self) -> Option<TestResult> {
        self.chi_square(1.0)
    }

    /// The chi-square test as McNemar wrote it; `None` without such rows.
    ///
    /// ```
    /// use pmmds::promote::McNemar;
    /// assert_eq!(McNemar::new(5, 15).uncorrected().unwrap().statistic, 5.0);
    /// ```
    #[must_use]
    pub fn uncorrected(&self) -> Option<TestResult> {
        self.chi_square(0.0)
    }

    fn chi_square(&self, correction: f64) -> Option<TestResult> {
        let (before, after) = (float(self.champion_only), float(self.challenger_only));
        let rows = before + after;
        let apart = ((before - after).abs() - correction).max(0.0);
        // With one degree of freedom, the chance beyond X2 is that of a normal beyond its root.
        let p_value = normal_tails(apart / rows.sqrt());
        let statistic = apart * apart / rows;
        let found = TestResult::new(statistic, p_value, TestMethod::Asymptotic).freedom(1.0);
        (rows > 0.0).then_some(found)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts above 2^53 may lose their last digits")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::close;

    #[test]
    fn the_exact_test_is_the_sum_of_the_binomial() {
        // Pascal's triangle in integers, line after line.
        let (mut line, mut all) = (vec![1_u64, 1], 2.0);
        for n in 1..=40_usize {
            let mut tail = 0;
            for (few, ways) in line.iter().enumerate().take(n / 2 + 1) {
                tail += ways;
                let want = (2.0 * float(tail) / all).min(1.0);
                let (few, many) = (few as u64, (n - few) as u64);
                for test in [McNemar::new(few, many), McNemar::new(many, few)] {
                    assert!(close(test.exact_p_value(), want, 1e-12), "{few} and {many}");
                }
            }
            let sums: Vec<u64> = line.windows(2).map(|pair| pair[0] + pair[1]).collect();
            line = [vec![1], sums, vec![1]].concat();
            all *= 2.0;
        }
    }

    #[test]
    fn counts_of_any_size_have_a_p_value() {
        for (a, b) in [(u64::MAX, u64::MAX), (u64::MAX, 0), (10_000_000, 10_010_000)] {
            let p_value = McNemar::new(a, b).exact_p_value();
            assert!((0.0..=1.0).contains(&p_value), "{a} {b}: {p_value}");
            assert!(McNemar::new(a, b).corrected().unwrap().p_value >= 0.0);
        }
    }
}
