//! Mann-Whitney: in how many pairs the window is higher.

use super::sample::{Sample, float, steps};
use super::{Alternative, Method};
use crate::drift::{TestMethod, TestResult};
use crate::tails::normal_tail;

/// Values of the smaller side up to which [`Method::Auto`] is exact.
const AUTO: usize = 8;

/// Pairs up to which the law is counted out.
const MOST_PAIRS: usize = 10_000;

/// Mann-Whitney test, also known as Wilcoxon's rank sum: whether values of the window tend to be
/// higher or lower.
///
/// # Formula
///
/// ```text
/// U = sum over pairs of 1 where y > x, 1/2 where y = x
/// z = (|U - n m / 2| - 1/2) / sqrt(n m / 12 (N + 1 - sum_t (t^3 - t) / (N (N - 1))))
/// ```
///
/// where `x` is of the reference (`n` values), `y` of the window (`m` values), `N = n + m`, and `t`
/// is how often each value occurs. Pairs, from 0 to `n m`; `n m / 2` where neither side is higher.
/// `U / (n m)` is the chance that a value of the window is the higher one: the ROC-AUC of telling
/// the sides apart. Any rising change of scale leaves it the same; infinities keep their place.
/// A one-sided test takes `U - n m / 2` with its sign instead of `|U - n m / 2|`.
///
/// The p-value is exact for up to 10,000 pairs, taking values for different, with [`Method::Auto`]
/// only where the smaller side has at most 8 values and no two are equal; else it is normal, with the
/// continuity correction of 1/2 above. Where all values are equal it is 1.
///
/// It sees no change that leaves neither side higher, such as a wider spread.
///
/// # Reference
///
/// H. B. Mann and D. R. Whitney, *On a Test of Whether One of Two Random Variables is
/// Stochastically Larger than the Other*, 1947, DOI 10.1214/aoms/1177730491.
///
/// ```
/// use pmmds::drift::two_sample::{Alternative, Method, Sample, mann_whitney};
/// let (low, high) = (Sample::new(&[1.0, 2.0, 3.0])?, Sample::new(&[2.5, 4.0, 5.0, 6.0])?);
/// let test = mann_whitney(&low, &high, Alternative::TwoSided, Method::Auto);
/// assert_eq!(test.statistic, 11.0); // of 12 pairs
/// assert!((test.p_value - 4.0 / 35.0).abs() < 1e-15);
/// # Ok::<(), pmmds::drift::two_sample::SampleError>(())
/// ```
#[must_use]
pub fn mann_whitney(
    reference: &Sample,
    current: &Sample,
    alternative: Alternative,
    method: Method,
) -> TestResult {
    let counted = Counted::of(reference, current);
    let (n, m) = (reference.len(), current.len());
    let wanted = match method {
        Method::Auto => n.min(m) <= AUTO && counted.ties == 0,
        Method::Exact => true,
        Method::Asymptotic => false,
    };
    let exact = wanted && n.checked_mul(m).is_some_and(|pairs| pairs <= MOST_PAIRS);
    let (p_value, method) = if exact {
        (counted.exact(alternative), TestMethod::Exact)
    } else {
        (counted.normal(alternative, 0.5), TestMethod::Asymptotic)
    };
    TestResult::new(counted.higher(), p_value, method)
}

/// What the test needs to know of two samples.
#[derive(Debug)]
pub(in crate::drift) struct Counted {
    n: usize,
    m: usize,
    // twice the pairs in which the window is higher, with half of those that are equal
    higher: u128,
    // sum of t^3 - t
    ties: u128,
}

impl Counted {
    pub(in crate::drift) fn of(reference: &Sample, current: &Sample) -> Self {
        let (mut higher, mut ties) = (0, 0);
        for step in steps(reference, current) {
            let (equal, below) = (step.here.0 as u128, (step.upto.0 - step.here.0) as u128);
            higher += step.here.1 as u128 * (2 * below + equal);
            let times = (step.here.0 + step.here.1) as u128;
            ties += times * times * times - times;
        }
        Self { n: reference.len(), m: current.len(), higher, ties }
    }

    fn pairs(&self) -> u128 {
        self.n as u128 * self.m as u128
    }

    #[expect(clippy::cast_precision_loss, reason = "rounds once")]
    fn higher(&self) -> f64 {
        self.higher as f64 / 2.0
    }

    /// Twice the pairs on the side that the alternative speaks of.
    fn extreme(&self, alternative: Alternative) -> u128 {
        let lower = 2 * self.pairs() - self.higher;
        match alternative {
            Alternative::TwoSided => self.higher.max(lower),
            Alternative::Higher => self.higher,
            Alternative::Lower => lower,
        }
    }

    /// The p-value of the normal limit, with this correction for continuity.
    #[expect(clippy::cast_precision_loss, reason = "rounds once each")]
    pub(in crate::drift) fn normal(&self, alternative: Alternative, correction: f64) -> f64 {
        let (pairs, all) = (self.pairs() as f64, float(self.n + self.m));
        let tied = if all > 1.0 { self.ties as f64 / (all * (all - 1.0)) } else { 0.0 };
        let variance = pairs / 12.0 * (all + 1.0 - tied);
        if variance <= 0.0 {
            return 1.0;
        }
        let above = (self.extreme(alternative) as f64 - pairs) / 2.0;
        let tail = normal_tail((above - correction) / variance.sqrt());
        if alternative == Alternative::TwoSided { (2.0 * tail).min(1.0) } else { tail }
    }

    /// The share of the orders of `n` and `m` different values with as many pairs or more.
    fn exact(&self, alternative: Alternative) -> f64 {
        // Half a pair is rounded down: the p-value is rather too large.
        let least = usize::try_from(self.extreme(alternative) / 2).unwrap_or(usize::MAX);
        let law = law(self.n.max(self.m), self.n.min(self.m));
        // From the far end, which is the small one.
        let tail: f64 = law.iter().skip(least).rev().sum();
        if alternative == Alternative::TwoSided { (2.0 * tail).min(1.0) } else { tail.min(1.0) }
    }
}

/// The chance of each number of pairs in which the one side is higher, 0 to `large * small`.
///
/// The largest of all values is of either side with a chance in proportion to its size, and leaves
/// a law for one value less.
fn law(large: usize, small: usize) -> Vec<f64> {
    // For every number of values of the smaller side.
    let mut laws = vec![vec![1.0]; small + 1];
    for i in 1..=large {
        for j in 1..=small {
            let mut law = vec![0.0; i * j + 1];
            let (of_large, of_small) = (float(i) / float(i + j), float(j) / float(i + j));
            // The largest is of the larger side: higher than all j of the smaller.
            for (at, chance) in laws[j].iter().enumerate() {
                law[at + j] += of_large * chance;
            }
            for (at, chance) in laws[j - 1].iter().enumerate() {
                law[at] += of_small * chance;
            }
            laws[j] = law;
        }
    }
    laws.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::smirnov::twins::orders;
    use super::*;

    #[test]
    fn the_exact_law_is_the_count_of_all_orders() {
        for (n, m) in [(1, 1), (1, 4), (3, 3), (5, 2), (4, 5)] {
            let (large, small) = (n.max(m), n.min(m));
            let mut counted = vec![0.0; large * small + 1];
            let mut total = 0.0;
            orders(large as i64, small as i64, |order| {
                let (mut below, mut pairs) = (0, 0);
                for of_large in order {
                    if *of_large { pairs += below } else { below += 1 }
                }
                counted[pairs] += 1.0;
                total += 1.0;
            });
            for (got, want) in law(large, small).iter().zip(counted) {
                assert!((got - want / total).abs() < 1e-15, "{n} x {m}: {got}, {want}");
            }
        }
    }
}
