//! Kolmogorov-Smirnov on bins.

use super::counts::NotComparable;
use super::metric::{BinnedPair, DriftMetric};
use super::ordered::Ordered;
use super::significance::TestResult;
use super::two_sample::{Alternative, Method, smirnov};

/// Kolmogorov-Smirnov: the largest difference of the cumulative shares, at the edges of the bins.
///
/// # Formula
///
/// ```text
/// D = max_e |F(e) - G(e)|
/// ```
///
/// where `F(e)` and `G(e)` are the shares of the known values of reference and window up to the
/// edge `e`. A proportion, in `[0, 1]`: 0 for equal proportions, 1 where an edge separates the two.
/// Missing values are left out on both sides: their share is drift that this metric does not see, and
/// a side without any other value is [`NotComparable`]. Infinities count, in the outer bins. Levels
/// have no order, so that categorical features are [`NotComparable`] too.
///
/// # Resolution
///
/// At the edges both shares are exact, between them nothing is known. So `D` is a lower bound of
/// the statistic on the raw values, and [`bounds`](Self::bounds) also gives the smallest upper
/// bound: with ten quantile bins it is at most about 0.1 above. A bin that can hold a single value
/// only hides nothing.
///
/// `D` sees a shift of the middle better than one of the tails, and does not say how *far* values
/// went: [`Wasserstein`](super::Wasserstein) does. With no drift it is about `0.87 sqrt(1/n +
/// 1/m)`, or less with few bins.
///
/// # Reference
///
/// N. Smirnov, *Table for Estimating the Goodness of Fit of Empirical Distributions*, 1948, DOI
/// 10.1214/aoms/1177730256; on bins: W. J. Conover, 1972, DOI 10.1080/01621459.1972.10481254.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, KolmogorovSmirnov, NumericBinning};
/// let binning = Binning::Numeric(NumericBinning::new([10.0, 20.0, 30.0])?);
/// // The last slot is missing: not a value, so that it does not count.
/// let pair = BinnedPair::new(&binning, &[25, 25, 25, 25, 0], &[10, 10, 40, 40, 900])?;
/// assert!((KolmogorovSmirnov.measure(pair)? - 0.3).abs() < 1e-15);
///
/// let apart = BinnedPair::new(&binning, &[50, 50, 0, 0, 0], &[0, 0, 2, 7, 0])?;
/// assert_eq!(KolmogorovSmirnov.measure(apart)?, 1.0);
/// let unknown = BinnedPair::new(&binning, &[50, 50, 0, 0, 0], &[0, 0, 0, 0, 9])?;
/// let error = KolmogorovSmirnov.measure(unknown).unwrap_err();
/// assert_eq!(error.why(), "the window has no known value");
///
/// let levels = Binning::levels(["a"]);
/// let pair = BinnedPair::new(&levels, &[1, 0, 0], &[1, 0, 0])?;
/// let error = KolmogorovSmirnov.measure(pair).unwrap_err();
/// assert_eq!(error.why(), "levels have no order");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KolmogorovSmirnov;

impl KolmogorovSmirnov {
    /// Bounds between which the statistic of the raw values lies: `D` itself, and
    ///
    /// ```text
    /// max over bins (a, b] of F(b) - G(a) and G(b) - F(a)
    /// ```
    ///
    /// # Errors
    ///
    /// As [`measure`](DriftMetric::measure).
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning, KolmogorovSmirnov, NumericBinning};
    /// let binning = Binning::Numeric(NumericBinning::new([10.0, 20.0, 30.0])?);
    /// let pair = BinnedPair::new(&binning, &[25, 25, 25, 25, 0], &[10, 10, 40, 40, 0])?;
    /// let (least, most) = KolmogorovSmirnov.bounds(pair)?;
    /// assert!((least - 0.3).abs() < 1e-15 && (most - 0.55).abs() < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bounds(&self, pair: BinnedPair<'_>) -> Result<(f64, f64), NotComparable> {
        let known = Ordered::of(pair)?;
        let least = smirnov::distance(known.largest_gap(), known.n, known.m);
        let inside = known.bins().enumerate().filter(|(bin, _)| !known.is_atom(*bin));
        let most = inside.map(|(_, ((r, c), (r_end, c_end)))| (r_end - c).max(c_end - r));
        Ok((least, most.fold(least, f64::max)))
    }

    /// The statistic with its p-value, two-sided, found by [`Method::Auto`].
    ///
    /// The p-value is at least the one of the raw values, for `D` is at most theirs: what is
    /// significant here is so there.
    ///
    /// # Errors
    ///
    /// As [`measure`](DriftMetric::measure).
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning, KolmogorovSmirnov, NumericBinning, TestMethod};
    /// let binning = Binning::Numeric(NumericBinning::new([10.0, 20.0, 30.0])?);
    /// let pair = BinnedPair::new(&binning, &[25, 25, 25, 25, 0], &[10, 10, 40, 40, 0])?;
    /// let test = KolmogorovSmirnov.test(pair)?;
    /// assert!(test.p_value < 0.001 && test.method == TestMethod::Exact);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn test(&self, pair: BinnedPair<'_>) -> Result<TestResult, NotComparable> {
        let known = Ordered::of(pair)?;
        let (gap, n, m) = (known.largest_gap(), known.n, known.m);
        Ok(smirnov::test(gap, n, m, Alternative::TwoSided, Method::Auto))
    }
}

impl DriftMetric for KolmogorovSmirnov {
    fn name(&self) -> &'static str {
        "kolmogorov_smirnov"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let known = Ordered::of(pair)?;
        Ok(smirnov::distance(known.largest_gap(), known.n, known.m))
    }
}
