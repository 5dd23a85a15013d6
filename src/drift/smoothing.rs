//! What to do about slots that are empty on one side, where a logarithm has no value.

use serde::{Deserialize, Serialize};

use super::metric::BinnedPair;

/// How counts become shares, by default such that are never 0.
///
/// Slots that are empty on both sides are left out everywhere; `K` counts the others. In the formulas
/// `r_i` and `c_i` are the *counts* of reference and window in slot `i`, `n` and `m` their rows. A
/// constant must be finite and above 0 ([`is_valid`](Self::is_valid)); smoothing pulls small samples
/// together, so that a real shift in a few dozens of rows measures less than it is.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, Psi, Smoothing};
///
/// // One value in a slot that the reference never had: how much is it worth?
/// let binning = Binning::levels(["a", "b"]);
/// let pair = BinnedPair::new(&binning, &[1_000, 0, 0, 0], &[99, 1, 0, 0])?;
/// let psi = |smoothing| Psi::new(smoothing).measure(pair);
/// assert!(psi(Smoothing::Additive(0.5))? < 0.05);
/// assert!(psi(Smoothing::Floor(1e-4))? < 0.05);
/// assert!(psi(Smoothing::Floor(1e-6))? > 0.09);
///
/// // Equal proportions at different sizes: only the pooled prior keeps them at 0.
/// let equal = BinnedPair::new(&binning, &[900, 100, 0, 0], &[9, 1, 0, 0])?;
/// assert!(Psi::default().measure(equal)?.abs() < 1e-15);
/// assert!(Psi::new(Smoothing::Additive(0.5)).measure(equal)? > 1e-4);
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Smoothing {
    /// Shrinks both sides to their pooled shares. Equal proportions stay equal, so that they score
    /// exactly 0 however different `n` and `m` are. With the constant `c`, 0.5 by default:
    ///
    /// ```text
    /// q_i = (r_i + c_i) / (n + m),  A = c K
    /// reference share = (r_i + A q_i) / (n + A),  current share = (c_i + A q_i) / (m + A)
    /// ```
    Pooled(f64),
    /// Adds the same pseudo-count to every slot; 0.5 is the prior of H. Jeffreys (1946, DOI
    /// 10.1098/rspa.1946.0056).
    ///
    /// ```text
    /// reference share = (r_i + a) / (n + a K)
    /// ```
    Additive(f64),
    /// Raises every share below the floor to it, without renormalising: 1e-4 is usual in credit
    /// risk, 1e-6 is what the original system did. One value in a new slot then weighs as much as
    /// `ln(share / floor)` makes it.
    Floor(f64),
    /// The raw shares, as a textbook has them. JS takes them as they are; PSI and KL are
    /// [`NotComparable`](super::NotComparable) where an empty slot makes them infinite, so that a
    /// [`DriftDetector`](super::DriftDetector) refuses this.
    None,
}

impl Default for Smoothing {
    /// [`Smoothing::Pooled`] with 0.5.
    fn default() -> Self {
        Self::Pooled(0.5)
    }
}

impl Smoothing {
    /// Whether the constant, if there is one, gives shares: finite and above 0, a floor below 1.
    ///
    /// ```
    /// use pmmds::drift::Smoothing;
    /// assert!(Smoothing::Floor(1e-4).is_valid());
    /// assert!(!Smoothing::Floor(1.0).is_valid());
    /// assert!(!Smoothing::Pooled(f64::NAN).is_valid());
    /// ```
    #[must_use]
    pub fn is_valid(self) -> bool {
        match self {
            Self::Pooled(c) | Self::Additive(c) => c.is_finite() && c > 0.0,
            Self::Floor(floor) => floor > 0.0 && floor < 1.0,
            Self::None => true,
        }
    }

    /// Shares of reference and window for every used slot, in slot order.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    pub(super) fn shares(self, pair: BinnedPair<'_>) -> impl Iterator<Item = (f64, f64)> {
        let (n, m) = (pair.reference_rows() as f64, pair.current_rows() as f64);
        let slots = pair.used().count() as f64;
        pair.used().map(move |(r, c)| {
            let (r, c) = (r as f64, c as f64);
            match self {
                Self::Pooled(constant) => {
                    let (prior, pooled) = (constant * slots, (r + c) / (n + m));
                    (prior.mul_add(pooled, r) / (n + prior), prior.mul_add(pooled, c) / (m + prior))
                }
                Self::Additive(count) => {
                    let prior = count * slots;
                    ((r + count) / (n + prior), (c + count) / (m + prior))
                }
                Self::Floor(floor) => ((r / n).max(floor), (c / m).max(floor)),
                Self::None => (r / n, c / m),
            }
        })
    }
}
