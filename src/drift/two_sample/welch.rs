//! Welch's t: a difference of the means, with spreads that may differ.

use super::Alternative;
use super::distances::only_finite;
use super::sample::{Sample, float};
use crate::drift::{NotComparable, TestMethod, TestResult};
use crate::tails::student_tail;

/// Welch's test: the difference of the means, in standard errors.
///
/// # Formula
///
/// ```text
/// t  = (mean_y - mean_x) / sqrt(v_x / n + v_y / m)
/// df = (v_x / n + v_y / m)^2 / ((v_x / n)^2 / (n - 1) + (v_y / m)^2 / (m - 1))
/// ```
///
/// where `x` is the reference (`n` values), `y` the window (`m` values), and `v` the sample variance
/// (`n - 1`). No unit and no bounds: 0 for equal means, above 0 where the window's mean is higher. The
/// p-value is Student's, with `df` degrees of freedom, 1 for equal means.
///
/// It sees the means alone, and one outlier moves both mean and spread: for skewed values of few
/// rows [`mann_whitney`](super::mann_whitney) is the better choice.
///
/// # Errors
///
/// [`NotComparable`] with an infinite value, fewer than two values on a side, or where neither side
/// varies: nothing is known of the error of the means then.
///
/// # Reference
///
/// B. L. Welch, *The Generalization of Student's Problem when Several Different Population Variances
/// are Involved*, 1947, DOI 10.1093/biomet/34.1-2.28.
///
/// ```
/// use pmmds::drift::two_sample::{Alternative, Sample, welch};
/// let before = Sample::new(&[10.0, 12.0, 11.0, 13.0])?;
/// let after = Sample::new(&[12.0, 15.0, 14.0, 16.0, 13.0])?;
/// let test = welch(&before, &after, Alternative::TwoSided)?;
/// assert!((test.statistic - 2.611_164_839).abs() < 1e-8);
/// assert!((test.p_value - 0.0349).abs() < 1e-4);
///
/// let flat = Sample::new(&[5.0, 5.0])?;
/// let error = welch(&flat, &flat, Alternative::TwoSided).unwrap_err();
/// assert_eq!(error.why(), "neither side varies");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn welch(
    reference: &Sample,
    current: &Sample,
    alternative: Alternative,
) -> Result<TestResult, NotComparable> {
    only_finite(reference, current)?;
    let (n, m) = (float(reference.len()), float(current.len()));
    if n.min(m) < 2.0 {
        let why = format!("the test needs two values a side, there are {n} and {m}");
        return Err(NotComparable::new(why));
    }
    let ((mean_x, v_x), (mean_y, v_y)) = (moments(reference), moments(current));
    let (error_x, error_y) = (v_x / n, v_y / m);
    let error = error_x + error_y;
    if error <= 0.0 {
        return Err(NotComparable::new("neither side varies"));
    }
    let t = (mean_y - mean_x) / error.sqrt();
    let (share_x, share_y) = (error_x / error, error_y / error);
    let freedom = 1.0 / (share_x * share_x / (n - 1.0) + share_y * share_y / (m - 1.0));
    if !t.is_finite() || !freedom.is_finite() {
        return Err(NotComparable::new("the values are further apart than the largest number"));
    }
    let p_value = match alternative {
        Alternative::TwoSided => 2.0 * student_tail(t.abs(), freedom),
        Alternative::Higher => student_tail(t, freedom),
        Alternative::Lower => student_tail(-t, freedom),
    };
    Ok(TestResult::new(t, p_value, TestMethod::Asymptotic).freedom(freedom))
}

/// Mean and sample variance; the second pass takes the rounding of the first into account.
fn moments(sample: &Sample) -> (f64, f64) {
    let rows = float(sample.len());
    let mean = sample.values().iter().map(|x| x / rows).sum::<f64>();
    let (mut squares, mut rest) = (0.0, 0.0);
    for x in sample.values() {
        let off = x - mean;
        squares += off * off;
        rest += off;
    }
    (mean + rest / rows, rest.mul_add(-rest / rows, squares) / (rows - 1.0))
}
