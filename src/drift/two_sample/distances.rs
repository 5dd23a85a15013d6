//! How far apart two samples are, without a p-value.

use super::sample::{Sample, float, steps};
use crate::drift::NotComparable;

/// Wasserstein distance: by how much values would have to move, on average, for one sample to
/// become the other. Also known as earth mover's distance.
///
/// # Formula
///
/// ```text
/// W = integral |F(x) - G(x)| dx
/// ```
///
/// where `F` and `G` are the cumulative shares of the two samples. In the unit of the values, from
/// 0 (same values in the same shares), without upper bound: samples that do not overlap measure the
/// difference of their means, and one outlier among `n` values adds its distance over `n`, so that
/// values with heavy tails are a poor choice for it. Symmetric, and a metric. Over the standard deviation of the reference it can
/// be compared between features.
///
/// # Errors
///
/// [`NotComparable`] with an infinite value, or where the values are further apart than the largest
/// number.
///
/// # Reference
///
/// S. S. Vallender, *Calculation of the Wasserstein Distance between Probability Distributions on
/// the Line*, 1974, DOI 10.1137/1118101.
///
/// ```
/// use pmmds::drift::two_sample::{Sample, wasserstein_distance};
/// let before = Sample::new(&[1.0, 2.0, 3.0])?;
/// assert_eq!(wasserstein_distance(&before, &Sample::new(&[6.0, 7.0, 8.0])?)?, 5.0);
///
/// let error = wasserstein_distance(&before, &Sample::new(&[f64::INFINITY])?).unwrap_err();
/// assert_eq!(error.why(), "the window has infinite values (1)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wasserstein_distance(reference: &Sample, current: &Sample) -> Result<f64, NotComparable> {
    integral(reference, current, f64::abs)
}

/// Energy distance: how much further apart values of different samples are than values of one.
///
/// # Formula
///
/// ```text
/// D = sqrt(2 E|X - Y| - E|X - X'| - E|Y - Y'|) = sqrt(2 integral (F(x) - G(x))^2 dx)
/// ```
///
/// where `X` and `X'` are drawn from the reference, `Y` and `Y'` from the window (a value may meet
/// itself), and `F` and `G` are the cumulative shares. In the *root* of the unit of the values, from
/// 0 (same values in the same shares), without upper bound. Symmetric, and a metric. Less moved by
/// outliers than [`wasserstein_distance`], and harder to explain.
///
/// # Errors
///
/// [`NotComparable`] with an infinite value, or where the values are further apart than the largest
/// number.
///
/// # Reference
///
/// G. J. Székely and M. L. Rizzo, *Energy Statistics: A Class of Statistics Based on Distances*,
/// 2013, DOI 10.1016/j.jspi.2013.03.018.
///
/// ```
/// use pmmds::drift::two_sample::{Sample, energy_distance};
/// let (zero, two) = (Sample::new(&[0.0])?, Sample::new(&[2.0])?);
/// assert_eq!(energy_distance(&zero, &two)?, 2.0);
/// assert_eq!(energy_distance(&two, &two)?, 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn energy_distance(reference: &Sample, current: &Sample) -> Result<f64, NotComparable> {
    Ok((2.0 * integral(reference, current, |gap| gap * gap)?).sqrt())
}

/// The integral of a function of `F - G`.
fn integral(
    reference: &Sample,
    current: &Sample,
    of: impl Fn(f64) -> f64,
) -> Result<f64, NotComparable> {
    only_finite(reference, current)?;
    let (n, m) = (float(reference.len()), float(current.len()));
    let mut steps = steps(reference, current).peekable();
    let mut sum = 0.0;
    while let Some(step) = steps.next() {
        if let Some(next) = steps.peek() {
            let (i, j) = (float(step.upto.0), float(step.upto.1));
            sum += of(i.mul_add(m, -(j * n)) / n / m) * (next.value - step.value);
        }
    }
    if sum.is_finite() {
        Ok(sum)
    } else {
        Err(NotComparable::new("the values are further apart than the largest number"))
    }
}

/// What is made of differences of values has no answer with an infinite one.
pub(super) fn only_finite(reference: &Sample, current: &Sample) -> Result<(), NotComparable> {
    for (side, sample) in [("the reference", reference), ("the window", current)] {
        if sample.infinite() > 0 {
            let why = format!("{side} has infinite values ({})", sample.infinite());
            return Err(NotComparable::new(why));
        }
    }
    Ok(())
}
