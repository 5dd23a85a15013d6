//! Kullback-Leibler and Jensen-Shannon divergence.

use super::counts::NotComparable;
use super::metric::{BinnedPair, DriftMetric};
use super::psi::finite;
use super::smoothing::Smoothing;

/// Kullback-Leibler divergence of the window from the reference.
///
/// # Formula
///
/// ```text
/// KL = sum_i r_i ln(r_i / c_i)
/// ```
///
/// where `r_i` and `c_i` are the [smoothed](Smoothing) shares of reference and window in slot `i`:
/// the nats lost by describing the reference with the window. 0 for equal distributions (but
/// for rounding, which can be below 0 by 1e-15), without upper bound, and not symmetric. Slots that are
/// empty on both sides are left out; a slot that is new in the window adds about 0, one that is empty
/// there what the smoothing makes of it, or with [`Smoothing::None`] is
/// [`NotComparable`]. It does not know an order, and hardly sees slots that are new in the window, where `r_i` is
/// near 0; PSI does. With [`Smoothing::Floor`], which does not renormalise, it can be below 0 by
/// about the floor.
///
/// # Reference
///
/// S. Kullback and R. A. Leibler, *On Information and Sufficiency*, 1951, DOI
/// 10.1214/aoms/1177729694.
///
/// ```
/// use pmmds::drift::{Binning, BinnedPair, DriftMetric, KullbackLeibler};
/// let binning = Binning::levels(["a", "b"]);
/// let pair = BinnedPair::new(&binning, &[300, 100, 0, 0], &[100, 300, 0, 0])?;
/// // 0.75 ln 3 + 0.25 ln (1/3), but for the smoothing
/// assert!((KullbackLeibler::default().measure(pair)? - 0.5493).abs() < 0.01);
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KullbackLeibler {
    smoothing: Smoothing,
}

impl KullbackLeibler {
    /// KL with this smoothing.
    #[must_use]
    pub fn new(smoothing: Smoothing) -> Self {
        Self { smoothing }
    }
}

impl DriftMetric for KullbackLeibler {
    fn name(&self) -> &'static str {
        "kl"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        finite(self.smoothing.shares(pair).map(|(r, c)| part(r, r / c)).sum(), self.name())
    }
}

/// Jensen-Shannon divergence: Kullback-Leibler to the middle of both, symmetric and bounded.
///
/// # Formula
///
/// ```text
/// JS = (KL(r || m) + KL(c || m)) / 2,  m_i = (r_i + c_i) / 2
/// ```
///
/// where `r_i` and `c_i` are the [smoothed](Smoothing) shares of reference and window in slot `i`, and
/// a share of 0 adds 0. In nats, in `[0, ln 2]`: 0 for equal distributions, ln 2 = 0.693 for
/// distributions without a common slot and without smoothing, less with it. Symmetric; its root is a
/// metric. Slots that are empty on both sides are left out.
///
/// Being bounded it tells a large shift from a larger one badly. It does not know an order, and with
/// no drift it is about `(K - 1)(1/n + 1/m) / 8` for `K` slots.
///
/// # Reference
///
/// J. Lin, *Divergence Measures Based on the Shannon Entropy*, 1991, DOI 10.1109/18.61115.
///
/// ```
/// use pmmds::drift::{Binning, BinnedPair, DriftMetric, JensenShannon};
/// let binning = Binning::levels(["a", "b"]);
/// let pair = BinnedPair::new(&binning, &[1_000_000, 0, 0, 0], &[0, 1_000_000, 0, 0])?;
/// let js = JensenShannon::default().measure(pair)?;
/// assert!(js < std::f64::consts::LN_2 && js > 0.693);
/// let raw = JensenShannon::new(pmmds::drift::Smoothing::None).measure(pair)?;
/// assert_eq!(raw, std::f64::consts::LN_2);
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct JensenShannon {
    smoothing: Smoothing,
}

impl JensenShannon {
    /// JS with this smoothing.
    #[must_use]
    pub fn new(smoothing: Smoothing) -> Self {
        Self { smoothing }
    }
}

impl DriftMetric for JensenShannon {
    fn name(&self) -> &'static str {
        "js"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        let term = |(r, c): (f64, f64)| {
            let middle = f64::midpoint(r, c);
            0.5 * (part(r, r / middle) + part(c, c / middle))
        };
        // Rounding alone can bring a sum of nothing below 0.
        Ok(self.smoothing.shares(pair).map(term).sum::<f64>().max(0.0))
    }
}

/// `share * ln(ratio)`, which is 0 for a share of 0.
fn part(share: f64, ratio: f64) -> f64 {
    if share > 0.0 { share * ratio.ln() } else { 0.0 }
}
