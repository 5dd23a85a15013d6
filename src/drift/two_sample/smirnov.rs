//! Kolmogorov-Smirnov: the largest difference of the cumulative shares.

use super::kolmogorov;
use super::sample::{Sample, steps};
use super::{Alternative, Method};
use crate::drift::{TestMethod, TestResult};

/// Values of the larger side up to which [`Method::Auto`] is exact.
const AUTO: u64 = 10_000;

/// Steps of work up to which [`Method::Exact`] is.
const MOST_STEPS: u64 = 200_000_000;

/// Kolmogorov-Smirnov test: the largest difference of the cumulative shares.
///
/// # Formula
///
/// ```text
/// D  = max_x |F(x) - G(x)|      TwoSided
/// D+ = max_x  F(x) - G(x)       Higher
/// D- = max_x  G(x) - F(x)       Lower
/// ```
///
/// where `F` and `G` are the cumulative shares of reference and window, `n` and `m` their numbers
/// of values. A proportion, in `[0, 1]`: 0 where all shares are equal, 1 where the samples do not
/// overlap. Any rising change of scale leaves it the same; infinities keep their place.
///
/// The exact p-value is the share of all orders of `n + m` *different* values with a difference as
/// large; where values are equal the true one is smaller. The asymptotic one is, two-sided, that of
/// one sample of `n m / (n + m)` values against a known law, one-sided Hodges' approximation (his
/// 5.3). [`Method::Auto`] is exact up to 10,000 values of the larger side, [`Method::Exact`] up to
/// `n m` = 200 million. Where `n m / (n + m)` rounds to 0 there is no limit law and the p-value is
/// exact.
///
/// It sees a shift of the middle better than one of the tails ([`anderson_darling`]) and does not
/// say how far values went ([`wasserstein_distance`]).
///
/// [`anderson_darling`]: super::anderson_darling
/// [`wasserstein_distance`]: super::wasserstein_distance
///
/// # Reference
///
/// N. Smirnov, *Table for Estimating the Goodness of Fit of Empirical Distributions*, 1948, DOI
/// 10.1214/aoms/1177730256; J. L. Hodges, *The Significance Probability of the Smirnov Two-Sample
/// Test*, 1958, DOI 10.1007/BF02589501; R. Simard and P. L'Ecuyer, *Computing the Two-Sided
/// Kolmogorov-Smirnov Distribution*, 2011, DOI 10.18637/jss.v039.i11.
///
/// ```
/// use pmmds::drift::TestMethod;
/// use pmmds::drift::two_sample::{Alternative, Method, Sample, kolmogorov_smirnov};
/// let (low, high) = (Sample::new(&[1.0, 2.0, 3.0])?, Sample::new(&[4.0, 5.0, 6.0])?);
/// let test = kolmogorov_smirnov(&low, &high, Alternative::TwoSided, Method::Auto);
/// // Two of the 20 orders of six values keep the sides apart.
/// assert_eq!((test.statistic, test.method), (1.0, TestMethod::Exact));
/// assert!((test.p_value - 0.1).abs() < 1e-15);
/// # Ok::<(), pmmds::drift::two_sample::SampleError>(())
/// ```
#[must_use]
pub fn kolmogorov_smirnov(
    reference: &Sample,
    current: &Sample,
    alternative: Alternative,
    method: Method,
) -> TestResult {
    let (n, m) = (reference.len() as u64, current.len() as u64);
    let gaps = steps(reference, current).map(|step| {
        let (i, j) = (step.upto.0 as u128, step.upto.1 as u128);
        let (f, g) = (i * u128::from(m), j * u128::from(n));
        match alternative {
            Alternative::TwoSided => f.abs_diff(g),
            Alternative::Higher => f.saturating_sub(g),
            Alternative::Lower => g.saturating_sub(f),
        }
    });
    test(gaps.max().unwrap_or(0), n, m, alternative, method)
}

/// A difference in units of `1 / (n m)` as a proportion.
#[expect(clippy::cast_precision_loss, reason = "rounds once each")]
pub(in crate::drift) fn distance(gap: u128, n: u64, m: u64) -> f64 {
    gap as f64 / (u128::from(n) * u128::from(m)) as f64
}

/// The test of the largest difference `gap`, in units of `1 / (n m)`, of `n` and `m` values, both
/// at least 1.
pub(in crate::drift) fn test(
    gap: u128,
    n: u64,
    m: u64,
    alternative: Alternative,
    method: Method,
) -> TestResult {
    let two_sided = alternative == Alternative::TwoSided;
    let statistic = distance(gap, n, m);
    let small = match method {
        Method::Auto => n.max(m) <= AUTO,
        Method::Exact => true,
        Method::Asymptotic => false,
    };
    // One value against any number: half a value stands for no sample.
    let limitless = two_sided && effective(n, m) < 1.0;
    let steps = n.checked_mul(m).filter(|steps| *steps <= MOST_STEPS);
    match (steps, u64::try_from(gap)) {
        (Some(_), Ok(gap)) if small || limitless => {
            TestResult::new(statistic, exact(gap, n, m, two_sided), TestMethod::Exact)
        }
        _ => {
            let p_value = if two_sided {
                two_sided_limit(statistic, n, m)
            } else {
                one_sided_limit(statistic, n, m)
            };
            TestResult::new(statistic, p_value, TestMethod::Asymptotic)
        }
    }
}

/// Values of one sample against a known law that two samples are worth, a whole number.
#[expect(clippy::cast_precision_loss, reason = "a number of rows stays below 2^53")]
fn effective(n: u64, m: u64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    (n * (m / (n + m))).round_ties_even()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number between 1 and 2^53"
)]
fn two_sided_limit(statistic: f64, n: u64, m: u64) -> f64 {
    kolmogorov::tail(effective(n, m).max(1.0) as u64, statistic)
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows stays below 2^53")]
fn one_sided_limit(statistic: f64, n: u64, m: u64) -> f64 {
    let (more, fewer) = (n.max(m) as f64, n.min(m) as f64);
    let both = more + fewer;
    let z = (more * (fewer / both)).sqrt() * statistic;
    let correction = 2.0f64.mul_add(fewer, more) / (more * fewer * both).sqrt() / 3.0;
    (-2.0 * z * (z + correction)).exp()
}

/// The share of the orders of `n` and `m` values in which the difference reaches `gap`.
///
/// An order is a path of steps from `(0, 0)` to `(n, m)`. Of those to `(i, j)` the last step comes
/// from `(i - 1, j)` in `i` of `i + j` cases, so the share of those that went over the bound is a
/// mean of two such shares: nothing is subtracted, and the smallest p-value keeps its digits.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "n m is at most MOST_STEPS"
)]
fn exact(gap: u64, n: u64, m: u64, two_sided: bool) -> f64 {
    if gap == 0 {
        return 1.0;
    }
    // The first j that is inside the bound, and the first behind it, for every i.
    let inside = |i: u64| {
        let from = (i * m).checked_sub(gap).map_or(0, |below| below / n + 1);
        let to = if two_sided { (i * m + gap).div_ceil(n).min(m + 1) } else { m + 1 };
        (from as usize, to as usize)
    };
    let (_, to) = inside(0);
    // A product is faster than a quotient, and this is all the work.
    let inverse: Vec<f64> = (0..=n + m).map(|k| 1.0 / k as f64).collect();
    // For every j the share that went over; what was never inside stays 1.
    let mut over = vec![1.0; m as usize + 1];
    over[..to].fill(0.0);
    for i in 1..=n {
        let (from, to) = inside(i);
        let mut left = 1.0;
        let row = over.iter_mut().zip(&inverse[i as usize..]).enumerate();
        for (j, (over, inverse)) in row.take(to).skip(from) {
            left = (i as f64).mul_add(*over, j as f64 * left) * inverse;
            *over = left;
        }
    }
    let (from, to) = inside(n);
    if (from..to).contains(&(m as usize)) { over[m as usize] } else { 1.0 }
}

#[cfg(test)]
pub(super) mod twins {
    /// [`exact`](super::exact) by trying every order of `n` and `m` values: the share of those in
    /// which `reaches` holds of the differences `i m - j n` on the way.
    pub(in super::super) fn orders(n: i64, m: i64, mut each: impl FnMut(&[bool])) {
        let total = usize::try_from(n + m).unwrap();
        for bits in 0_u32..1 << total {
            if i64::from(bits.count_ones()) == n {
                let order: Vec<bool> = (0..total).map(|at| bits >> at & 1 == 1).collect();
                each(&order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::twins::orders;
    use super::*;

    #[test]
    fn the_exact_law_is_the_count_of_all_orders() {
        for (n, m) in [(1, 1), (1, 4), (3, 3), (2, 5), (5, 4), (6, 4), (4, 7)] {
            for two_sided in [true, false] {
                let mut gaps = Vec::new();
                orders(n, m, |order| {
                    let (mut i, mut j, mut gap) = (0, 0, 0);
                    for of_reference in order {
                        if *of_reference {
                            i += 1
                        } else {
                            j += 1
                        }
                        let here: i64 = i * m - j * n;
                        gap = gap.max(if two_sided { here.abs() } else { here });
                    }
                    gaps.push(gap);
                });
                for gap in 0..=n * m {
                    let reach = gaps.iter().filter(|reached| **reached >= gap).count();
                    let want = reach as f64 / gaps.len() as f64;
                    let [gap, n, m] = [gap, n, m].map(|x| u64::try_from(x).unwrap());
                    let got = exact(gap, n, m, two_sided);
                    assert!((got - want).abs() < 1e-14, "{gap} of {n} x {m}: {got}, {want}");
                }
            }
        }
    }

    #[test]
    fn work_is_bounded() {
        let result =
            |n, m, method| test(u128::from(n * m / 100), n, m, Alternative::TwoSided, method);
        assert_eq!(result(10_000, 10_000, Method::Auto).method, TestMethod::Exact);
        assert_eq!(result(10_001, 100, Method::Auto).method, TestMethod::Asymptotic);
        assert_eq!(result(10_001, 100, Method::Exact).method, TestMethod::Exact);
        for big in [20_000, 3_000_000, 4_000_000_000] {
            let result = result(big, big, Method::Exact);
            assert_eq!(result.method, TestMethod::Asymptotic);
            assert!(result.p_value < 0.3);
        }
        // Close to each other where both are at hand.
        let (exact, limit) =
            (result(9_000, 9_500, Method::Exact), result(9_000, 9_500, Method::Asymptotic));
        assert!((exact.p_value - limit.p_value).abs() < 2e-3, "{exact:?} {limit:?}");
    }
}
