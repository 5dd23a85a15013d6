//! Cramér-von Mises: the squared difference of the cumulative shares.
#![expect(clippy::suboptimal_flops, reason = "formulas stand as their sources print them")]

use std::f64::consts::PI;

use super::Method;
use super::sample::{Sample, float, steps};
use crate::drift::{NotComparable, TestMethod, TestResult};

/// Values of the larger side up to which the law is counted out.
const EXACT: usize = 20;

/// Places at which each integral of the limit law is evaluated.
const PLACES: u32 = 256;

/// Cramér-von Mises test: the squared difference of the cumulative shares, over all values.
///
/// # Formula
///
/// ```text
/// T = U / (n m (n + m)) - (4 n m - 1) / (6 (n + m))
/// U = n sum_i (R_i - i)^2 + m sum_j (S_j - j)^2
/// ```
///
/// where `R_i` is the rank of the `i`-th smallest value of the reference among all `n + m` values,
/// `S_j` that of the `j`-th smallest of the window; equal values share their mean rank. For
/// different values it is `n m / (n + m)^2` times the sum of `(F - G)^2` over all of them. No unit,
/// from near 0 to about `n m / (3 (n + m))`, which is where the samples do not overlap. Any rising change of scale leaves it the same;
/// infinities keep their place.
///
/// The p-value is exact up to 20 values of the larger side, taking values for different; above it
/// is of the limit law, from a formula that keeps the digits of small p-values. Not for values most
/// of which are equal: two samples of one and the same value do not measure 0, and two-valued
/// features belong to [`ChiSquare`](crate::drift::ChiSquare). The tails count for little:
/// [`anderson_darling`](super::anderson_darling) gives them weight.
///
/// # Errors
///
/// [`NotComparable`] with fewer than two values on a side.
///
/// # Reference
///
/// T. W. Anderson, *On the Distribution of the Two-Sample Cramér-von Mises Criterion*, 1962, DOI
/// 10.1214/aoms/1177704477; Y. Xiao, A. Gordon and A. Yakovlev, 2006, DOI 10.18637/jss.v017.i08.
///
/// ```
/// use pmmds::drift::TestMethod;
/// use pmmds::drift::two_sample::{Method, Sample, cramer_von_mises};
/// let (low, high) = (Sample::new(&[1.0, 2.0, 3.0])?, Sample::new(&[4.0, 5.0, 6.0])?);
/// let test = cramer_von_mises(&low, &high, Method::Auto)?;
/// // Two of the 20 orders of six values keep the sides apart.
/// assert_eq!(test.method, TestMethod::Exact);
/// assert!((test.p_value - 0.1).abs() < 1e-15);
///
/// let error = cramer_von_mises(&Sample::new(&[1.0])?, &high, Method::Auto).unwrap_err();
/// assert_eq!(error.why(), "the test needs two values a side, there are 1 and 3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cramer_von_mises(
    reference: &Sample,
    current: &Sample,
    method: Method,
) -> Result<TestResult, NotComparable> {
    let (n, m) = (reference.len(), current.len());
    if n.min(m) < 2 {
        let why = format!("the test needs two values a side, there are {n} and {m}");
        return Err(NotComparable::new(why));
    }
    // T as a fraction of whole numbers, so that nothing cancels: ranks are halves at most.
    let (mut of_reference, mut of_current) = (0_i128, 0_i128);
    for step in steps(reference, current) {
        let (first, last) = (step.upto.0 - step.here.0, step.upto.1 - step.here.1);
        let rank = 2 * (first + last) + step.here.0 + step.here.1 + 1;
        of_reference += squares(rank, first, step.upto.0);
        of_current += squares(rank, last, step.upto.1);
    }
    let (n_, m_) = (n as i128, m as i128);
    let (product, both) = (n_ * m_, n_ + m_);
    let numerator = 6 * (n_ * of_reference + m_ * of_current) - 4 * product * (4 * product - 1);
    #[expect(clippy::cast_precision_loss, reason = "rounds once each")]
    let statistic = numerator as f64 / (24 * product * both) as f64;
    Ok(if n.max(m) <= EXACT && method != Method::Asymptotic {
        TestResult::new(statistic, exact(n, m, numerator), TestMethod::Exact)
    } else {
        TestResult::new(statistic, asymptotic(statistic, n, m), TestMethod::Asymptotic)
    })
}

/// `sum (rank - 2 k)^2` for `k` after `from` up to `to`, the rank being doubled.
fn squares(rank: usize, from: usize, to: usize) -> i128 {
    (from + 1..=to).map(|k| (rank as i128 - 2 * k as i128).pow(2)).sum()
}

/// The limit law at a statistic with the mean and the variance of the limit.
fn asymptotic(statistic: f64, n: usize, m: usize) -> f64 {
    let (n, m) = (float(n), float(m));
    let (product, both) = (n * m, n + m);
    let mean = (1.0 + 1.0 / both) / 6.0;
    let spread = 4.0 * product * both - 3.0 * n.mul_add(n, m * m) - 2.0 * product;
    let variance = (both + 1.0) * spread / (180.0 * both * both * product);
    limit_tail(1.0 / 6.0 + (statistic - mean) / (45.0 * variance).sqrt())
}

/// Chance that the limit of the statistic is `x` or more.
///
/// ```text
/// 1/pi sum_k (-1)^(k-1) integral from (2k-1) pi to 2k pi of 2 exp(-x s^2 / 2) / sqrt(-s sin s) ds
/// ```
///
/// The integrand is infinite at both ends. With `s = (2k - 1) pi + pi (1 - cos t) / 2` it becomes a
/// smooth periodic function of `t`, of which the mean at evenly spaced places is exact to the last
/// digits.
///
/// # Reference
///
/// N. V. Smirnov, *Sur la distribution de ω²*, Comptes rendus de l'Académie des sciences 202, 1936;
/// S. Csörgő and J. J. Faraway, *The Exact and Asymptotic Distributions of Cramér-von Mises
/// Statistics*, 1996, DOI 10.1111/j.2517-6161.1996.tb02077.x.
pub(in crate::drift) fn limit_tail(x: f64) -> f64 {
    // Below, the chance of less is under 1e-17.
    if x < 0.003 {
        return 1.0;
    }
    let mut sum = 0.0;
    let mut sign = 1.0;
    for k in 0_u32..60 {
        let start = PI * (2.0 * f64::from(k) + 1.0);
        let mut part = 0.0;
        for place in 0..PLACES {
            let t = PI * (f64::from(place) + 0.5) / f64::from(PLACES);
            // 1 - cos t without cancelling near 0.
            let along = PI * (0.5 * t).sin().powi(2);
            let s = start + along;
            part += (-0.5 * x * s * s).exp() * t.sin() / (s * along.sin()).sqrt();
        }
        // ds is pi/2 sin t dt, dt is pi / PLACES; the factor 2 and 1/pi are in it.
        part *= PI / f64::from(PLACES);
        sum += sign * part;
        sign = -sign;
        if part < 1e-18 * sum {
            break;
        }
    }
    sum.clamp(0.0, 1.0)
}

/// The share of the orders of `n` and `m` different values with a statistic of at least `numerator
/// / (24 n m (n + m))`.
///
/// With `L` the least common multiple of `n` and `m`, the sum over an order of `(L F - L G)^2` is a
/// whole number; how often each occurs is known from the two orders that are shorter by a value.
fn exact(n: usize, m: usize, numerator: i128) -> f64 {
    let common = (1..=n).find(|k| (k * m).is_multiple_of(n)).unwrap_or(n) * m;
    let (a, b) = ((common / n) as i64, (common / m) as i64);
    // For each number of values of the reference: sums in order, each with how often it occurs.
    let mut rows: Vec<Vec<(i64, f64)>> = vec![Vec::new(); n + 1];
    rows[0].push((0, 1.0));
    for j in 0..=m {
        let mut before: Vec<(i64, f64)> = Vec::new();
        for (i, row) in rows.iter_mut().enumerate() {
            let gap = a * i as i64 - b * j as i64;
            let mut both = merged(&before, row);
            both.iter_mut().for_each(|(sum, _)| *sum += gap * gap);
            before.clone_from(&both);
            *row = both;
        }
    }
    // sum >= L^2 (n + m) numerator / (24 n^2 m^2), in whole numbers
    let (both, pairs, common) = ((n + m) as i128, (n * m) as i128, common as i128);
    let bound = common * common * both * numerator;
    let reaches = |sum: i64| i128::from(sum) * 24 * pairs * pairs >= bound;
    let all: f64 = rows[n].iter().map(|(_, times)| times).sum();
    let reach: f64 = rows[n].iter().filter(|(sum, _)| reaches(*sum)).map(|(_, times)| times).sum();
    reach / all
}

/// Both lists, ascending, with equal sums put together.
fn merged(a: &[(i64, f64)], b: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        out.push(match x.0.cmp(&y.0) {
            std::cmp::Ordering::Less => *x,
            std::cmp::Ordering::Equal => (x.0, x.1 + y.1),
            std::cmp::Ordering::Greater => *y,
        });
        i += usize::from(x.0 <= y.0);
        j += usize::from(x.0 >= y.0);
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    out
}
