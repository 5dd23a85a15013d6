//! Hellinger distance and total variation: bounded, and without a logarithm to smooth for.

use super::counts::NotComparable;
use super::metric::{BinnedPair, DriftMetric};

/// Hellinger distance of the shares.
///
/// # Formula
///
/// ```text
/// H = sqrt(1/2 sum_i (sqrt(r_i) - sqrt(c_i))^2)
/// ```
///
/// where `r_i` and `c_i` are the raw shares of reference and window in slot `i`. No unit, in `[0,
/// 1]`: 0 for equal proportions, 1 for slots without a row in common. Symmetric, and a metric: it
/// keeps the triangle inequality, so that windows can be compared with each other. Empty slots need
/// no smoothing.
///
/// Being a root it is not small where little has changed: with no drift it is about `sqrt((K - 1)
/// (1/n + 1/m) / 8)` for `K` slots. It does not know an order, and close to 1 tells a large shift
/// from a larger one badly.
///
/// # Reference
///
/// E. Hellinger, *Neue Begründung der Theorie quadratischer Formen von unendlichvielen
/// Veränderlichen*, 1909, DOI 10.1515/crll.1909.136.210.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, Hellinger};
/// let binning = Binning::levels(["a", "b"]);
/// let measure = |r: [u64; 4], c: [u64; 4]| Hellinger.measure(BinnedPair::new(&binning, &r, &c)?);
/// assert_eq!(measure([300, 100, 0, 0], [30, 10, 0, 0])?, 0.0);
/// assert_eq!(measure([1, 0, 0, 0], [0, 1, 0, 0])?, 1.0);
/// // Half of the rows moved to a slot of their own: sqrt(1 - sqrt(1/2)).
/// assert!((measure([4, 0, 0, 0], [2, 2, 0, 0])? - 0.541_196).abs() < 1e-6);
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hellinger;

impl DriftMetric for Hellinger {
    fn name(&self) -> &'static str {
        "hellinger"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let squares = pair.shares().map(|(r, c)| (r.sqrt() - c.sqrt()).powi(2));
        Ok((0.5 * squares.sum::<f64>()).sqrt().min(1.0))
    }
}

/// Total variation: the share of rows that would have to change their slot.
///
/// # Formula
///
/// ```text
/// TV = 1/2 sum_i |r_i - c_i|
/// ```
///
/// where `r_i` and `c_i` are the raw shares of reference and window in slot `i`. A proportion, in
/// `[0, 1]`: 0 for equal proportions, 1 for slots without a row in common; the largest difference
/// that any event can make. Symmetric, and a metric. Empty slots need no smoothing.
///
/// It is the easiest to explain, and the least sensitive to rare slots: a level of 0.1 % that grows
/// tenfold measures 0.009. It does not know an order. With no drift it is about `sqrt((K - 1) (1/n +
/// 1/m) / (2 pi))` for `K` equal slots.
///
/// # Reference
///
/// A. L. Gibbs and F. E. Su, *On Choosing and Bounding Probability Metrics*, 2002, DOI
/// 10.1111/j.1751-5823.2002.tb00178.x.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, TotalVariation};
/// let binning = Binning::levels(["a", "b"]);
/// let pair = BinnedPair::new(&binning, &[300, 100, 0, 0], &[50, 50, 0, 0])?;
/// assert_eq!(TotalVariation.measure(pair)?, 0.25);
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TotalVariation;

impl DriftMetric for TotalVariation {
    fn name(&self) -> &'static str {
        "total_variation"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        Ok((0.5 * pair.shares().map(|(r, c)| (r - c).abs()).sum::<f64>()).min(1.0))
    }
}
