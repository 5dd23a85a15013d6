//! Anderson-Darling: the squared difference of the cumulative shares, weighted by the tails.
#![expect(clippy::suboptimal_flops, reason = "formulas stand as their sources print them")]

use super::sample::{Sample, float, steps};
use crate::drift::{NotComparable, TestMethod, TestResult};

/// Levels, and the statistics of two samples that reach them with chance alone.
#[expect(clippy::approx_constant, reason = "a quantile that happens to be near e")]
const TABLE: [(f64, f64); 7] = [
    (0.25, 0.325),
    (0.1, 1.226),
    (0.05, 1.961),
    (0.025, 2.718),
    (0.01, 3.752),
    (0.005, 4.592),
    (0.001, 6.546),
];

/// Anderson-Darling test of two samples: as Cramér-von Mises, with more weight on the tails.
///
/// # Formula
///
/// ```text
/// A2 = (N - 1) / N^2 sum_side 1/n sum_x l_x (N M_x - n B_x)^2 / (B_x (N - B_x) - N l_x / 4)
/// T  = (A2 - 1) / sigma
/// ```
///
/// over the different values `x` of both samples, of `N` values together: `l_x` of them are `x`,
/// `B_x` are below `x`, with half of `l_x`; `n` and `M_x` are the same for one side alone. `sigma`
/// is the standard deviation of `A2` if nothing had changed. The statistic is `T`: no unit, about 0
/// with standard deviation 1 if nothing had changed (below 0 is closer than chance), without upper
/// bound as the samples grow. Any rising change of scale leaves it the same, infinities keep their place, and equal
/// values are no problem.
///
/// The p-value is read off a table of seven levels, by a parabola through their logarithms
/// ([`TestMethod::Interpolated`]): 0.001 means *at most* 0.001, and 0.25 *at least* 0.25. So it
/// cannot be corrected for more than a few tests: at the default level of 0.005, of four.
///
/// # Errors
///
/// [`NotComparable`] with fewer than four values, or where all are equal.
///
/// # Reference
///
/// F. W. Scholz and M. A. Stephens, *K-Sample Anderson-Darling Tests*, 1987, equation 7 and table
/// 2, DOI 10.2307/2288805.
///
/// ```
/// use pmmds::drift::TestMethod;
/// use pmmds::drift::two_sample::{Sample, anderson_darling};
/// let before: Vec<f64> = (0..100).map(f64::from).collect();
/// // The middle stays, the tails go out.
/// let after: Vec<f64> = before.iter().map(|x| (x - 50.0) * 1.5 + 50.0).collect();
/// let (before, after) = (Sample::new(&before)?, Sample::new(&after)?);
/// let test = anderson_darling(&before, &after)?;
/// assert!(test.p_value < 0.02 && test.method == TestMethod::Interpolated);
/// assert_eq!(anderson_darling(&before, &before)?.p_value, 0.25); // at least
///
/// let (a, b) = (Sample::new(&[7.0; 5])?, Sample::new(&[7.0; 9])?);
/// let error = anderson_darling(&a, &b).unwrap_err();
/// assert_eq!(error.why(), "all values are equal");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn anderson_darling(reference: &Sample, current: &Sample) -> Result<TestResult, NotComparable> {
    let (n, m) = (reference.len(), current.len());
    if n + m < 4 {
        let why = format!("the test needs four values, there are {}", n + m);
        return Err(NotComparable::new(why));
    }
    let lowest = reference.values()[0].min(current.values()[0]);
    let highest = reference.values()[n - 1].max(current.values()[m - 1]);
    if lowest >= highest {
        return Err(NotComparable::new("all values are equal"));
    }
    let (n, m) = (float(n), float(m));
    let all = n + m;
    let mut sum = 0.0;
    for step in steps(reference, current) {
        let equal = float(step.here.0 + step.here.1);
        let below = float(step.upto.0 + step.upto.1) - 0.5 * equal;
        let weight = equal / (below * (all - below) - 0.25 * all * equal);
        let side = |rows: f64, here: usize, upto: usize| {
            let gap = all.mul_add(float(upto) - 0.5 * float(here), -(rows * below));
            gap * gap / rows
        };
        sum += weight * (side(n, step.here.0, step.upto.0) + side(m, step.here.1, step.upto.1));
    }
    let squared = sum * (all - 1.0) / (all * all);
    let statistic = (squared - 1.0) / variance(n, m).sqrt();
    Ok(TestResult::new(statistic, p_value(statistic), TestMethod::Interpolated))
}

/// The variance of `A2` for two samples of different values, if nothing had changed.
fn variance(n: f64, m: f64) -> f64 {
    let (all, inverse) = (n + m, 1.0 / n + 1.0 / m);
    // h = sum 1/i for i < N; g = sum over i < j < N of 1 / ((N - i) j)
    let (mut tail, mut g) = (0.0, 0.0);
    let mut j = 2.0;
    while j < all {
        tail += 1.0 / (all - j + 1.0);
        g += tail / j;
        j += 1.0;
    }
    let h = tail + 1.0;
    // The general formula at k = 2 samples.
    let a = 4.0 * g - 6.0 + (10.0 - 6.0 * g) * inverse;
    let b = 12.0 * g - 22.0 + 8.0 * h + (2.0 * g - 14.0 * h - 4.0) * inverse;
    let c = 36.0 * h + 4.0 + (2.0 * h - 6.0) * inverse;
    let d = 24.0;
    let cubic = ((a * all + b) * all + c) * all + d;
    cubic / ((all - 1.0) * (all - 2.0) * (all - 3.0))
}

/// Least squares of a parabola through the logarithms of [`TABLE`], at `statistic`.
fn p_value(statistic: f64) -> f64 {
    let (first, last) = (TABLE[0], TABLE[TABLE.len() - 1]);
    if statistic < first.1 {
        return first.0;
    }
    if statistic > last.1 {
        return last.0;
    }
    // Three polynomials that are orthogonal over the table: each coefficient stands by itself.
    let mean = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        TABLE.iter().map(|(level, x)| of(*x, level.ln())).sum::<f64>() / 7.0
    };
    let centre = mean(&|x, _| x);
    let spread = mean(&|x, _| (x - centre).powi(2));
    let skew = mean(&|x, _| (x - centre).powi(3)) / spread;
    let square = |x: f64| (x - centre).powi(2) - skew * (x - centre) - spread;
    let slope = mean(&|x, y| (x - centre) * y) / spread;
    let bend = mean(&|x, y| square(x) * y) / mean(&|x, _| square(x).powi(2));
    let log = mean(&|_, y| y) + slope * (statistic - centre) + bend * square(statistic);
    log.exp().clamp(last.0, first.0)
}
