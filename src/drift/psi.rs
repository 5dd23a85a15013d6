//! Population stability index.

use super::counts::NotComparable;
use super::metric::{BinnedPair, DriftMetric};
use super::smoothing::Smoothing;

/// Population stability index: how far two distributions are apart, both ways added up.
///
/// # Formula
///
/// ```text
/// PSI = sum_i (c_i - r_i) ln(c_i / r_i)
/// ```
///
/// where `r_i` and `c_i` are the [smoothed](Smoothing) shares of reference and window in slot `i`.
/// It is the symmetric divergence of Jeffreys, `KL(r||c) + KL(c||r)`, in nats: 0 for equal
/// distributions (but for rounding, below 1e-15), without upper bound. From 0.1 moderate, from 0.2
/// significant, from 0.25 major. Slots that are empty on both sides are left out. One that is empty on
/// one side adds what the smoothing makes of it: with the default, two slots without a row in
/// common measure about `2 ln(2 n)` at `n` rows a side. Missing values are a slot like any other.
///
/// With no drift at all PSI is not 0 but about `(K - 1)(1/n + 1/m)`
/// ([`chance_psi`]), so at few rows it needs a test beside it. It does not
/// know an order: a shift by one bin and by nine weigh the same.
///
/// # Reference
///
/// H. Jeffreys, *An Invariant Form for the Prior Probability in Estimation Problems*, 1946, DOI
/// 10.1098/rspa.1946.0056; B. Yurdakul, *Statistical Properties of Population Stability Index*,
/// Western Michigan University, 2018.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, Psi, Smoothing};
///
/// let binning = Binning::levels(["a", "b"]);
/// let same = BinnedPair::new(&binning, &[300, 100, 0, 0], &[30, 10, 0, 0])?;
/// assert!(Psi::default().measure(same)?.abs() < 1e-15);
/// let turned = BinnedPair::new(&binning, &[300, 100, 0, 0], &[10, 30, 0, 0])?;
/// assert!(Psi::default().measure(turned)? > 0.25);
///
/// let disjoint = BinnedPair::new(&binning, &[100, 0, 0, 0], &[0, 100, 0, 0])?;
/// assert!((Psi::default().measure(disjoint)? - 200.0 / 101.0 * 201_f64.ln()).abs() < 1e-12);
///
/// // Without smoothing an empty slot is infinitely far away.
/// let gone = BinnedPair::new(&binning, &[300, 100, 0, 0], &[40, 0, 0, 0])?;
/// let error = Psi::new(Smoothing::None).measure(gone).unwrap_err();
/// assert_eq!(error.why(), "a slot is empty on one side, where psi without smoothing is infinite");
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Psi {
    smoothing: Smoothing,
}

impl Psi {
    /// PSI with this smoothing.
    #[must_use]
    pub fn new(smoothing: Smoothing) -> Self {
        Self { smoothing }
    }

    /// The term of every slot, in slot order; 0 for slots that are empty on both sides. They add
    /// up to the PSI; with [`Smoothing::None`] the term of a slot that is empty on one side is infinite.
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning, DriftMetric, Psi};
    /// let binning = Binning::levels(["a", "b"]);
    /// let pair = BinnedPair::new(&binning, &[300, 100, 0, 0], &[10, 30, 0, 0])?;
    /// let terms = Psi::default().contributions(pair);
    /// assert_eq!(terms[2..], [0.0, 0.0]); // other and missing, empty on both sides
    /// assert_eq!(terms.iter().sum::<f64>(), Psi::default().measure(pair)?);
    /// # Ok::<(), pmmds::drift::NotComparable>(())
    /// ```
    #[must_use]
    pub fn contributions(&self, pair: BinnedPair<'_>) -> Vec<f64> {
        let mut terms = self.smoothing.shares(pair).map(|(r, c)| (c - r) * (c / r).ln());
        let slots = pair.reference().iter().zip(pair.current());
        slots.map(|(r, c)| if r | c != 0 { terms.next().unwrap_or(0.0) } else { 0.0 }).collect()
    }
}

impl DriftMetric for Psi {
    fn name(&self) -> &'static str {
        "psi"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        finite(self.contributions(pair).iter().sum(), self.name())
    }
}

/// `sum`, unless an empty slot made it infinite: there was no [`Smoothing`].
pub(super) fn finite(sum: f64, name: &str) -> Result<f64, NotComparable> {
    if sum.is_finite() {
        Ok(sum)
    } else {
        let why =
            format!("a slot is empty on one side, where {name} without smoothing is infinite");
        Err(NotComparable::new(why))
    }
}

/// The PSI to be expected when nothing has changed, `(K - 1)(1/n + 1/m)`, for `slots` used slots.
///
/// The first term of its distribution, good from about five expected rows per slot. In nats, from 0 (for a
/// single slot, or none); infinite where a side has no rows.
///
/// # Reference
///
/// B. Yurdakul, *Statistical Properties of Population Stability Index*, Western Michigan
/// University, 2018.
///
/// ```
/// // Ten bins, 100 rows against 1,000: a tenth comes from chance alone.
/// assert!((pmmds::drift::chance_psi(10, 1000, 100) - 0.099).abs() < 1e-12);
/// assert_eq!(pmmds::drift::chance_psi(1, 1000, 100), 0.0);
/// assert_eq!(pmmds::drift::chance_psi(10, 1000, 0), f64::INFINITY);
/// ```
#[must_use]
pub fn chance_psi(slots: u64, reference_rows: u64, current_rows: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let [slots, n, m] = [slots.saturating_sub(1), reference_rows, current_rows].map(|x| x as f64);
    slots * (1.0 / n + 1.0 / m)
}
