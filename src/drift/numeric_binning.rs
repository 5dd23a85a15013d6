//! The bins of a numeric feature.
//!
//! Bins are half-open, `(lo, hi]`, the first and last open to infinity: the same as `pandas.cut`
//! and `polars.cut`, so the counts are the ones a notebook gives. Edges come from the reference
//! alone; with the outer bins open no live value can move them.

use serde::{Deserialize, Serialize};

use super::counter::{BinCounter, between};
use super::edges::{BinningStrategy, MAX_REQUESTED_BINS, quantile_edges, uniform_edges};
use super::kernel::{self, STRIP};
use super::order::Order;

/// Most bins of a numeric feature. With the slot for *missing* every code fits in one byte.
///
/// ```
/// use pmmds::drift::{MAX_BINS, NumericBinning};
/// let edges: Vec<f64> = (0..MAX_BINS).map(|at| at as f64).collect();
/// assert_eq!(NumericBinning::new(&edges[1..])?.bins(), MAX_BINS);
/// let error = NumericBinning::new(edges).unwrap_err();
/// assert_eq!(error.to_string(), "254 edges given, at most 253 are possible");
/// # Ok::<(), pmmds::drift::BinningError>(())
/// ```
pub const MAX_BINS: usize = 254;

/// Which end of a bin belongs to it.
///
/// ```
/// use pmmds::drift::{Closed, NumericBinning};
/// let right = NumericBinning::closed([10.0], Closed::Right)?;
/// let left = NumericBinning::closed([10.0], Closed::Left)?;
/// assert_eq!((right.bin(10.0), left.bin(10.0)), (Some(0), Some(1)));
/// # Ok::<(), pmmds::drift::BinningError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// `(lo, hi]`, as `pandas.cut`.
    #[default]
    Right,
    /// `[lo, hi)`, as `numpy.histogram`.
    Left,
}

/// Bins of a numeric feature: inner edges, with the outer bins open to infinity.
///
/// ```
/// use pmmds::drift::NumericBinning;
///
/// let binning = NumericBinning::new([0.0, 10.0])?;
/// assert_eq!(binning.bins(), 3);
/// assert_eq!(binning.bin(0.0), Some(0)); // (-inf, 0]
/// assert_eq!(binning.bin(0.1), Some(1)); // (0, 10]
/// assert_eq!(binning.bin(f64::INFINITY), Some(2));
/// assert_eq!(binning.bin(f64::NAN), None);
///
/// let error = NumericBinning::new([2.5, 2.5]).unwrap_err();
/// assert_eq!(error.to_string(), "edge 1 (2.5) is not greater than edge 0 (2.5)");
/// # Ok::<(), pmmds::drift::BinningError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NumericFile", into = "NumericFile")]
pub struct NumericBinning {
    // strictly increasing, finite, at most MAX_BINS - 1; -0.0 is 0.0
    edges: Vec<f64>,
    closed: Closed,
}

impl NumericBinning {
    /// Bins `(lo, hi]` between `edges`, which may be empty (one bin holds everything).
    ///
    /// # Errors
    ///
    /// When an edge is not finite, not greater than the one before, or there are more than
    /// [`MAX_BINS`] - 1.
    pub fn new(edges: impl Into<Vec<f64>>) -> Result<Self, BinningError> {
        Self::closed(edges, Closed::Right)
    }

    /// Bins between `edges` that are closed as `closed` says.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn closed(edges: impl Into<Vec<f64>>, closed: Closed) -> Result<Self, BinningError> {
        let mut edges: Vec<f64> = edges.into();
        if edges.len() >= MAX_BINS {
            return Err(BinningError::TooManyEdges { count: edges.len() });
        }
        for at in 0..edges.len() {
            if !edges[at].is_finite() {
                return Err(BinningError::NotFinite { at, edge: edges[at] });
            }
            // -0.0 compares equal to 0.0 but has other bits; stored forms are compared by bits.
            edges[at] += 0.0;
            if at > 0 && edges[at] <= edges[at - 1] {
                return Err(BinningError::NotIncreasing {
                    at,
                    edge: edges[at],
                    before: edges[at - 1],
                });
            }
        }
        Ok(Self { edges, closed })
    }

    /// Bins found in `reference` by `strategy`. NaN and infinities are left out. Without any
    /// finite value there is a single bin. `integer` says that only whole numbers occur.
    ///
    /// # Errors
    ///
    /// When the strategy asks for fewer than 2 or more than [`MAX_REQUESTED_BINS`] bins, or its
    /// edges are no edges.
    ///
    /// ```
    /// use pmmds::drift::{BinningStrategy, NumericBinning};
    /// // Half of the customers pay nothing: zero gets a bin of its own.
    /// let charges = [0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0];
    /// let binning = NumericBinning::fit(&charges, &BinningStrategy::default(), false)?;
    /// let zero = binning.bin(0.0);
    /// assert!(binning.bin(1e-300) > zero && binning.bin(-1e-300) < zero);
    /// # Ok::<(), pmmds::drift::BinningError>(())
    /// ```
    pub fn fit(
        reference: &[f64],
        strategy: &BinningStrategy,
        integer: bool,
    ) -> Result<Self, BinningError> {
        strategy.check()?;
        let order = Order::of(reference, |count| strategy.ranks(count));
        Self::of_order(&order, strategy, integer)
    }

    /// As [`fit`](Self::fit), for a reference whose [ranks](BinningStrategy::ranks) are known.
    pub(super) fn of_order(
        order: &Order,
        strategy: &BinningStrategy,
        integer: bool,
    ) -> Result<Self, BinningError> {
        match strategy {
            BinningStrategy::Edges(edges) => Self::new(edges.clone()),
            BinningStrategy::Quantile { bins, atoms } => {
                Self::new(quantile_edges(order, *bins, *atoms, integer))
            }
            BinningStrategy::Uniform { bins } => {
                let last = order.count().checked_sub(1);
                let range = order.at(0).zip(last.and_then(|last| order.at(last)));
                Self::new(range.map_or_else(Vec::new, |(min, max)| uniform_edges(min, max, *bins)))
            }
        }
    }

    /// `bins` bins of equal width from `min` to `max`, closed as `closed` says: what
    /// `numpy.histogram` makes (`Closed::Left`), but with the outer bins open.
    ///
    /// # Errors
    ///
    /// When `min` or `max` is not finite, or `bins` is not 2 to [`MAX_REQUESTED_BINS`].
    ///
    /// ```
    /// use pmmds::drift::{Closed, NumericBinning};
    /// let binning = NumericBinning::uniform(0.0, 10.0, 5, Closed::Left)?;
    /// assert_eq!(binning.edges(), [2.0, 4.0, 6.0, 8.0]);
    /// assert_eq!(binning.bin(-3.0), Some(0)); // below the range: the outer bins are open
    ///
    /// let error = NumericBinning::uniform(0.0, f64::NAN, 5, Closed::Left).unwrap_err();
    /// assert_eq!(error.to_string(), "edge 1 (NaN) is not a finite number");
    /// # Ok::<(), pmmds::drift::BinningError>(())
    /// ```
    pub fn uniform(min: f64, max: f64, bins: usize, closed: Closed) -> Result<Self, BinningError> {
        if !(2..=MAX_REQUESTED_BINS).contains(&bins) {
            return Err(BinningError::BinCount { bins });
        }
        for (at, edge) in [min, max].into_iter().enumerate() {
            if !edge.is_finite() {
                return Err(BinningError::NotFinite { at, edge });
            }
        }
        Self::closed(uniform_edges(min, max, bins), closed)
    }

    /// The inner edges, strictly increasing.
    #[must_use]
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Number of bins, one more than edges.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.edges.len() + 1
    }

    /// Which end of a bin belongs to it.
    pub(super) fn end(&self) -> Closed {
        self.closed
    }

    /// The bin of `x`, below [`bins`](Self::bins): the first for negative infinity, the last for
    /// infinity; `None` for NaN.
    #[must_use]
    pub fn bin(&self, x: f64) -> Option<usize> {
        if x.is_nan() {
            return None;
        }
        Some(match self.closed {
            Closed::Right => self.edges.partition_point(|edge| *edge < x),
            Closed::Left => self.edges.partition_point(|edge| *edge <= x),
        })
    }

    /// How many of `values` fall in each [bin](Self::bin), and last how many are NaN: as one by one,
    /// and several times faster.
    ///
    /// ```
    /// use pmmds::drift::NumericBinning;
    /// let binning = NumericBinning::new([0.0, 10.0])?;
    /// assert_eq!(binning.count(&[0.0, 3.0, 10.0, f64::INFINITY, f64::NAN]), [1, 2, 1, 1]);
    /// # Ok::<(), pmmds::drift::BinningError>(())
    /// ```
    #[must_use]
    pub fn count(&self, values: &[f64]) -> Vec<u64> {
        let mut counter = BinCounter::new(self, values.len());
        let mut nan = 0;
        for strip in values.chunks(STRIP) {
            counter.add(strip);
            nan += kernel::nan(strip);
        }
        counter.finish(values.len() as u64, nan)
    }

    /// The counts of the column whose order is `order`, as [`count`](Self::count) gives them; `None`
    /// where the order does not tell.
    pub(super) fn count_ordered(&self, order: &Order, rows: u64) -> Option<Vec<u64>> {
        if self.closed != Closed::Right {
            return None;
        }
        let totals = order.totals();
        let mut beyond = Vec::with_capacity(self.edges.len());
        for edge in &self.edges {
            let below = order.at_most(*edge)? + totals.lowest;
            beyond.push(rows - totals.nan - below);
        }
        Some(between(&beyond, rows, totals.nan))
    }

    /// Lower and upper end of a bin, infinite for the outer ones.
    ///
    /// # Panics
    ///
    /// When there is no such bin.
    ///
    /// ```
    /// use pmmds::drift::NumericBinning;
    /// let binning = NumericBinning::new([0.0, 10.0])?;
    /// assert_eq!(binning.interval(1), (0.0, 10.0));
    /// assert_eq!(binning.interval(2), (10.0, f64::INFINITY));
    /// # Ok::<(), pmmds::drift::BinningError>(())
    /// ```
    #[must_use]
    pub fn interval(&self, bin: usize) -> (f64, f64) {
        assert!(bin < self.bins(), "bin {bin} of {}", self.bins());
        let lower = bin.checked_sub(1).map_or(f64::NEG_INFINITY, |at| self.edges[at]);
        let upper = self.edges.get(bin).copied().unwrap_or(f64::INFINITY);
        (lower, upper)
    }

    /// The bin for people: a single value where the bin can hold no other, else `(lo, hi]`.
    pub(super) fn label(&self, bin: usize) -> String {
        let (lower, upper) = self.interval(bin);
        // Compared as numbers: what follows the largest float below 0 is -0.0, which is 0.
        if lower.is_finite() && lower.next_up() >= upper && self.closed == Closed::Right {
            return shown(upper);
        }
        match (lower.is_finite(), upper.is_finite(), self.closed) {
            (false, false, _) => "any value".to_owned(),
            (false, true, Closed::Right) => format!("at most {}", shown(upper)),
            (false, true, Closed::Left) => format!("below {}", shown(upper)),
            (true, false, Closed::Right) => format!("above {}", shown(lower)),
            (true, false, Closed::Left) => format!("at least {}", shown(lower)),
            (true, true, Closed::Right) => format!("({}, {}]", shown(lower), shown(upper)),
            (true, true, Closed::Left) => format!("[{}, {})", shown(lower), shown(upper)),
        }
    }
}

/// An edge with at most six significant digits: the float just below 0 reads as 0.
fn shown(edge: f64) -> String {
    if edge.abs() < f64::MIN_POSITIVE {
        return "0".to_owned();
    }
    let rounded: f64 = format!("{edge:.5e}").parse().unwrap_or(edge);
    if (1e-4..1e7).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumericFile {
    edges: Vec<f64>,
    #[serde(default)]
    closed: Closed,
}

impl TryFrom<NumericFile> for NumericBinning {
    type Error = BinningError;

    fn try_from(file: NumericFile) -> Result<Self, BinningError> {
        Self::closed(file.edges, file.closed)
    }
}

impl From<NumericBinning> for NumericFile {
    fn from(binning: NumericBinning) -> Self {
        Self { edges: binning.edges, closed: binning.closed }
    }
}

/// Why there is no such binning.
///
/// ```
/// use pmmds::drift::{BinningError, NumericBinning};
/// let error = NumericBinning::new([1.0, f64::INFINITY]).unwrap_err();
/// assert_eq!(error, BinningError::NotFinite { at: 1, edge: f64::INFINITY });
/// assert_eq!(error.to_string(), "edge 1 (inf) is not a finite number");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BinningError {
    /// An edge is NaN or infinite.
    #[error("edge {at} ({edge}) is not a finite number")]
    NotFinite {
        /// its position
        at: usize,
        /// the edge
        edge: f64,
    },
    /// Edges do not increase.
    #[error("edge {at} ({edge}) is not greater than edge {} ({before})", at - 1)]
    NotIncreasing {
        /// its position
        at: usize,
        /// the edge
        edge: f64,
        /// the edge before it
        before: f64,
    },
    /// More edges than one byte can tell apart.
    #[error("{count} edges given, at most {} are possible", MAX_BINS - 1)]
    TooManyEdges {
        /// how many there were
        count: usize,
    },
    /// A strategy asked for too few or too many bins.
    #[error("{bins} bins asked for, expected 2 to {MAX_REQUESTED_BINS}")]
    BinCount {
        /// how many were asked for
        bins: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Binning;

    fn fit(values: &[f64], integer: bool) -> NumericBinning {
        NumericBinning::fit(values, &BinningStrategy::default(), integer).unwrap()
    }

    #[test]
    fn a_flag_has_one_bin_per_value() {
        let flag: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i >= 5))).collect();
        assert_eq!(fit(&flag, true).edges(), [0.0]);
        // Also where the schema does not say that it is whole.
        let edges = fit(&flag, false);
        assert_ne!(edges.bin(0.0), edges.bin(1.0));
    }

    #[test]
    fn a_constant_has_a_bin_of_its_own() {
        let binning = fit(&[3.0; 50], false);
        assert_eq!(binning.edges(), [3.0_f64.next_down(), 3.0]);
        assert_eq!(Binning::Numeric(binning).label(1), "3");
        assert_eq!(Binning::Numeric(fit(&[0.0; 50], false)).label(1), "0");
    }

    #[test]
    fn integers_get_a_bin_each_up_to_twenty_values() {
        let values: Vec<f64> = (0..20).map(f64::from).collect();
        assert_eq!(fit(&values, true).bins(), 20);
        let values: Vec<f64> = (0..21).map(f64::from).collect();
        assert_eq!(fit(&values, true).bins(), 10);
    }

    #[test]
    fn infinities_fall_in_the_outer_bins_and_move_no_edge() {
        let mut values: Vec<f64> = (0..1000).map(f64::from).collect();
        let edges = fit(&values, false);
        values.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
        assert_eq!(fit(&values, false), edges);
        assert_eq!(edges.bin(f64::NEG_INFINITY), Some(0));
        assert_eq!(edges.bin(f64::INFINITY), Some(edges.bins() - 1));
    }

    #[test]
    fn minus_zero_is_zero() {
        let binning = NumericBinning::new([-0.0, 1.0]).unwrap();
        assert_eq!(binning.edges()[0].to_bits(), 0.0_f64.to_bits());
        assert_eq!(binning.bin(0.0), binning.bin(-0.0));
    }

    #[test]
    fn extremes_make_no_panic_and_no_nan() {
        let huge = [-f64::MAX, f64::MAX, 0.0, 5e-324];
        for strategy in [BinningStrategy::default(), BinningStrategy::Uniform { bins: 10 }] {
            let binning = NumericBinning::fit(&huge, &strategy, false).unwrap();
            assert!(binning.edges().iter().all(|edge| edge.is_finite()));
        }
        assert_eq!(fit(&[], false).bins(), 1);
        assert_eq!(fit(&[f64::NAN], false).bins(), 1);
        let one = BinningStrategy::Uniform { bins: 1 };
        let error = NumericBinning::fit(&[1.0], &one, false).unwrap_err();
        assert_eq!(error.to_string(), "1 bins asked for, expected 2 to 80");
    }
}
