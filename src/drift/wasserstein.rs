//! Wasserstein distance on bins: how far values went.

use super::counts::NotComparable;
use super::metric::{BinnedPair, DriftMetric};
use super::ordered::Ordered;

/// Wasserstein distance between the outermost edges: by how much values went, on average.
///
/// # Formula
///
/// ```text
/// W = integral from e_1 to e_last of |F(x) - G(x)| dx
/// ```
///
/// where `F` and `G` are the cumulative shares of the known values of reference and window: exact
/// at the edges `e`, a straight line between them. In the unit of the feature, from 0 to `e_last -
/// e_1`; 0 for equal proportions.
///
/// The outer bins are open, so values in them have no place but the edge that they lie beyond: `W`
/// is the distance of the values *clamped* to `[e_1, e_last]`. That keeps one outlier from making
/// all of it, and hides how far beyond the edges values went. Missing values are left out on both
/// sides, infinities count in the outer bins. [`NotComparable`] are levels, which have no order, fewer
/// than two edges (a flag has one), which leave no place at all, a side without a known value, and
/// edges further apart than the largest number. [`WassersteinRanks`] needs no edges.
///
/// # Resolution
///
/// Inside a bin values can lie anywhere. [`resolution`](Self::resolution) is how much that can
/// make, so that the distance of the raw values is at least `W` less the resolution.
///
/// Features of different units cannot be compared by it; the same feature in two windows can.
///
/// # Reference
///
/// S. S. Vallender, *Calculation of the Wasserstein Distance between Probability Distributions on
/// the Line*, 1974, DOI 10.1137/1118101.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, NumericBinning, Wasserstein};
/// let binning = Binning::Numeric(NumericBinning::new([10.0, 20.0, 30.0])?);
/// let pair = |c| BinnedPair::new(&binning, &[0, 50, 50, 0, 0], c);
/// assert_eq!(Wasserstein.measure(pair(&[0, 5, 5, 0, 0])?)?, 0.0);
/// // From the middle of the edges to beyond 30: ten units on average.
/// assert_eq!(Wasserstein.measure(pair(&[0, 0, 0, 9, 0])?)?, 10.0);
/// let across = BinnedPair::new(&binning, &[5, 0, 0, 0, 0], &[0, 0, 0, 9, 0])?;
/// assert_eq!(Wasserstein.measure(across)?, 20.0); // from end to end: the most there is
///
/// let flag = Binning::Numeric(NumericBinning::new([0.0])?);
/// let error = Wasserstein.measure(BinnedPair::new(&flag, &[1, 1, 0], &[1, 2, 0])?).unwrap_err();
/// assert_eq!(error.why(), "a distance needs two edges, the binning has 1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wasserstein;

impl Wasserstein {
    /// How far the distance of the raw values, clamped to the outermost edges, can be from this one:
    ///
    /// ```text
    /// 1/2 sum_i (e_i+1 - e_i) (r_i + c_i)
    /// ```
    ///
    /// where `r_i` and `c_i` are the shares of reference and window between the edges `e_i` and
    /// `e_i+1`.
    ///
    /// # Errors
    ///
    /// As [`measure`](DriftMetric::measure).
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning, NumericBinning, Wasserstein};
    /// let binning = Binning::Numeric(NumericBinning::new([10.0, 20.0, 30.0])?);
    /// let pair = BinnedPair::new(&binning, &[0, 50, 50, 0, 0], &[0, 5, 5, 0, 0])?;
    /// // All that is known is on which side of 20 a value lies.
    /// assert_eq!(Wasserstein.resolution(pair)?, 10.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolution(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let known = Ordered::of(pair)?;
        let parts = inner(&known)?.map(|Inner { width, below, upto }| {
            0.5 * width * ((upto.0 - below.0) + (upto.1 - below.1))
        });
        finite(parts.sum())
    }
}

impl DriftMetric for Wasserstein {
    fn name(&self) -> &'static str {
        "wasserstein"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let known = Ordered::of(pair)?;
        let parts = inner(&known)?.map(|Inner { width, below, upto }| {
            width * between(below.0 - below.1, upto.0 - upto.1)
        });
        finite(parts.sum())
    }
}

/// Wasserstein distance on the reference's ranks: by how much of the reference values went past.
///
/// # Formula
///
/// ```text
/// W = integral from 0 to 1 of |G(u) - u| du
/// ```
///
/// where `u` is the share of the known values of the reference up to an edge and `G(u)` that of the
/// window: exact at the edges, a straight line between them. In shares of the reference, in `[0,
/// 1/2]`: 0 for equal proportions, 1/2 where all of the window lies beyond the reference, and `(1 - r)
/// / 2` where all of it lies in an outer bin that holds the share `r` of the reference. A window whose values all move up by a decile measures 0.1, whatever the
/// unit, so that features can be compared.
///
/// It stays the same under any rising change of scale, such as a logarithm, and needs no place for
/// the open outer bins. For the same reason it does not see how far beyond the reference values
/// went: a bin without reference rows has no width. It is not symmetric. Missing values are left
/// out on both sides; a categorical feature, and a side without a known value, are
/// [`NotComparable`].
///
/// # Resolution
///
/// [`resolution`](Self::resolution) is how much the places inside the bins can make: with ten
/// quantile bins at most about 0.05.
///
/// # Reference
///
/// A. Ramdas, N. García Trillos and M. Cuturi, *On Wasserstein Two-Sample Testing and Related
/// Families of Nonparametric Tests*, 2017, section 5, DOI 10.3390/e19020047.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, NumericBinning, WassersteinRanks};
/// let flag = Binning::Numeric(NumericBinning::new([0.0])?);
/// let measure = |r, c| WassersteinRanks.measure(BinnedPair::new(&flag, r, c)?);
/// assert_eq!(measure(&[5, 95, 0], &[50, 950, 7])?, 0.0);
/// // Ones fall from 95 % to 50 %.
/// assert_eq!(measure(&[5, 95, 0], &[50, 50, 0])?, 0.225);
/// assert!((measure(&[5, 95, 0], &[9, 0, 0])? - 0.475).abs() < 1e-15);
/// assert_eq!(measure(&[9, 0, 0], &[0, 9, 0])?, 0.5); // beyond all of the reference
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WassersteinRanks;

impl WassersteinRanks {
    /// How far the distance on the raw ranks, with equal values spread evenly over their ranks, can
    /// be from this one:
    ///
    /// ```text
    /// 1/2 sum_i r_i c_i
    /// ```
    ///
    /// where `r_i` and `c_i` are the shares of reference and window in bin `i`; bins that can hold a
    /// single value only hide nothing, and do not count.
    ///
    /// # Errors
    ///
    /// As [`measure`](DriftMetric::measure).
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning, NumericBinning, WassersteinRanks};
    /// let binning = Binning::Numeric(NumericBinning::new([10.0, 20.0, 30.0])?);
    /// let pair = BinnedPair::new(&binning, &[25, 25, 25, 25, 0], &[25, 25, 25, 25, 0])?;
    /// assert_eq!(WassersteinRanks.resolution(pair)?, 0.125);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolution(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let known = Ordered::of(pair)?;
        let wide = known.bins().enumerate().filter(|(bin, _)| !known.is_atom(*bin));
        Ok(wide.map(|(_, ((r, c), (r_end, c_end)))| 0.5 * (r_end - r) * (c_end - c)).sum())
    }
}

impl DriftMetric for WassersteinRanks {
    fn name(&self) -> &'static str {
        "wasserstein_ranks"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let known = Ordered::of(pair)?;
        let parts = known.bins();
        Ok(parts.map(|((r, c), (r_end, c_end))| (r_end - r) * between(c - r, c_end - r_end)).sum())
    }
}

/// A bin between two edges, and the shares of reference and window below it and up to its end.
struct Inner {
    width: f64,
    below: (f64, f64),
    upto: (f64, f64),
}

fn inner(known: &Ordered<'_>) -> Result<impl Iterator<Item = Inner>, NotComparable> {
    let edges = known.binning.edges();
    if edges.len() < 2 {
        let why = format!("a distance needs two edges, the binning has {}", edges.len());
        return Err(NotComparable::new(why));
    }
    let widths = edges.windows(2).map(|edges| edges[1] - edges[0]);
    let bins = widths.zip(known.bins().skip(1));
    Ok(bins.map(|(width, (below, upto))| Inner { width, below, upto }))
}

fn finite(distance: f64) -> Result<f64, NotComparable> {
    if distance.is_finite() {
        Ok(distance)
    } else {
        Err(NotComparable::new("the distance of the outermost edges is beyond the largest number"))
    }
}

/// Mean of `|d|`, where `d` goes from one value to the other in a straight line.
fn between(from: f64, to: f64) -> f64 {
    if from * to >= 0.0 {
        0.5 * (from.abs() + to.abs())
    } else {
        0.5 * from.mul_add(from, to * to) / (from.abs() + to.abs())
    }
}
