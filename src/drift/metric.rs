//! The trait of drift metrics, and the pair of histograms that they measure.

use std::fmt::Debug;
use std::sync::Arc;

use super::binning::Binning;
use super::counts::NotComparable;

/// Raw counts of reference and window over the slots of one binning, both with at least one row.
///
/// ```
/// use pmmds::drift::{Binning, BinnedPair};
///
/// let binning = Binning::levels(["a", "b"]); // slots: a, b, other, missing
/// let pair = BinnedPair::new(&binning, &[3, 1, 0, 0], &[2, 0, 0, 2])?;
/// assert_eq!(pair.reference_rows(), 4);
/// assert_eq!(pair.used().count(), 3); // "other" is empty on both sides
///
/// let error = BinnedPair::new(&binning, &[3, 1, 0, 0], &[0, 0, 0, 0]).unwrap_err();
/// assert_eq!(error.to_string(), "not comparable: the window has no rows");
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct BinnedPair<'a> {
    binning: &'a Binning,
    // one per slot, not all 0
    reference: &'a [u64],
    // one per slot, not all 0
    current: &'a [u64],
}

impl<'a> BinnedPair<'a> {
    /// The pair of `reference` and `current`, counted by `binning`.
    ///
    /// # Errors
    ///
    /// When there is not one count per slot, or a side has no rows.
    pub fn new(
        binning: &'a Binning,
        reference: &'a [u64],
        current: &'a [u64],
    ) -> Result<Self, NotComparable> {
        for (what, counts) in [("the reference", reference), ("the window", current)] {
            if counts.len() != binning.slots() {
                return Err(NotComparable::new(format!(
                    "{what} has counts for {} slots, the binning has {}",
                    counts.len(),
                    binning.slots()
                )));
            }
            if counts.iter().all(|count| *count == 0) {
                return Err(NotComparable::new(format!("{what} has no rows")));
            }
        }
        Ok(Self { binning, reference, current })
    }

    /// The binning that both sides were counted by.
    #[must_use]
    pub fn binning(&self) -> &'a Binning {
        self.binning
    }

    /// Reference rows per slot.
    #[must_use]
    pub fn reference(&self) -> &'a [u64] {
        self.reference
    }

    /// Rows of the window per slot.
    #[must_use]
    pub fn current(&self) -> &'a [u64] {
        self.current
    }

    /// Reference rows, at least 1.
    #[must_use]
    pub fn reference_rows(&self) -> u64 {
        self.reference.iter().sum()
    }

    /// Rows of the window, at least 1.
    #[must_use]
    pub fn current_rows(&self) -> u64 {
        self.current.iter().sum()
    }

    /// The slots that are not empty on both sides, as (reference, current), in slot order.
    pub fn used(&self) -> impl Iterator<Item = (u64, u64)> + Clone + use<'a> {
        self.reference.iter().copied().zip(self.current.iter().copied()).filter(|(r, c)| r | c != 0)
    }

    /// Raw shares of the slots that are not empty on both sides, as (reference, current), in slot
    /// order. One of the two can be 0: [`Smoothing`](super::Smoothing) is for metrics that cannot
    /// live with that.
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning};
    /// let binning = Binning::levels(["a", "b"]);
    /// let pair = BinnedPair::new(&binning, &[3, 1, 0, 0], &[2, 0, 0, 2])?;
    /// let shares: Vec<_> = pair.shares().collect();
    /// assert_eq!(shares, [(0.75, 0.5), (0.25, 0.0), (0.0, 0.5)]);
    /// # Ok::<(), pmmds::drift::NotComparable>(())
    /// ```
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    pub fn shares(&self) -> impl Iterator<Item = (f64, f64)> + Clone + use<'a> {
        let (n, m) = (self.reference_rows() as f64, self.current_rows() as f64);
        self.used().map(move |(r, c)| (r as f64 / n, c as f64 / m))
    }
}

/// A number that says how far a window is from its reference.
///
/// # Contract
///
/// * A pure function of the pair: the same counts give the same bits.
/// * Equal proportions measure exactly 0.
/// * What cannot be measured is [`NotComparable`], never NaN and never 0.
///
/// # Implementing
///
/// ```
/// use pmmds::drift::{BinnedPair, DriftMetric, NotComparable};
///
/// /// The increase of the share of missing values.
/// #[derive(Debug)]
/// struct MissingIncrease;
///
/// impl DriftMetric for MissingIncrease {
///     fn name(&self) -> &'static str {
///         "missing_increase"
///     }
///     fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
///         let slot = pair.binning().missing_slot();
///         let before = pair.reference()[slot] as f64 / pair.reference_rows() as f64;
///         Ok(pair.current()[slot] as f64 / pair.current_rows() as f64 - before)
///     }
/// }
/// ```
pub trait DriftMetric: Debug + Send + Sync {
    /// Name of the metric in reports, such as `"psi"`.
    fn name(&self) -> &'static str;

    /// How far the window is from the reference.
    ///
    /// # Errors
    ///
    /// [`NotComparable`] when the metric does not apply to the pair.
    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable>;
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<M: DriftMetric + ?Sized> DriftMetric for $wrapper {
            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
                (**self).measure(pair)
            }
        }
    )+};
}

forward!(&M, Box<M>, Arc<M>);

const _: Option<&dyn DriftMetric> = None;
