//! How the edges of a numeric feature are found in the reference.

use super::numeric_binning::BinningError;
use super::order::Order;
use super::summary::{Position, quantile};

/// Most bins that a strategy can be asked for: a spike adds up to two bins to each of them.
///
/// ```
/// use pmmds::drift::{BinningStrategy, MAX_REQUESTED_BINS, NumericBinning};
/// let bins = BinningStrategy::Uniform { bins: MAX_REQUESTED_BINS + 1 };
/// let error = NumericBinning::fit(&[1.0, 2.0], &bins, false).unwrap_err();
/// assert_eq!(error.to_string(), "81 bins asked for, expected 2 to 80");
/// ```
pub const MAX_REQUESTED_BINS: usize = 80;

/// How the edges of a numeric feature are found in the reference.
///
/// ```
/// use pmmds::drift::{BinningStrategy, NumericBinning};
///
/// // 95 of 100 are members: a flag.
/// let flag: Vec<f64> = (0..100).map(|i| if i < 5 { 0.0 } else { 1.0 }).collect();
/// let fit = |strategy| NumericBinning::fit(&flag, &strategy, false);
/// let atoms = fit(BinningStrategy::default())?;
/// assert_ne!(atoms.bin(0.0), atoms.bin(1.0));
/// let plain = fit(BinningStrategy::Quantile { bins: 10, atoms: false })?;
/// assert_eq!(plain.bin(0.0), plain.bin(1.0), "every quantile is 1");
///
/// let given = fit(BinningStrategy::Edges(vec![0.5]))?;
/// assert_eq!(given.edges(), [0.5]);
/// # Ok::<(), pmmds::drift::BinningError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum BinningStrategy {
    /// Edges at the quantiles 1/bins, 2/bins ... (linear interpolation, numpy's default),
    /// duplicates removed.
    ///
    /// With `atoms`, a value that holds at least `1/bins` of the reference gets a bin of its own,
    /// and an integer feature with at most 20 distinct values gets one bin per value. Without it a
    /// flag that falls from 95 % ones to 50 % scores 0, since every quantile is 1.
    Quantile {
        /// 2 to [`MAX_REQUESTED_BINS`]
        bins: usize,
        /// whether spikes get bins of their own
        atoms: bool,
    },
    /// Bins of equal width between the smallest and the largest reference value. One outlier makes
    /// all but one of them empty; prefer quantiles.
    Uniform {
        /// 2 to [`MAX_REQUESTED_BINS`]
        bins: usize,
    },
    /// The given inner edges.
    Edges(Vec<f64>),
}

impl Default for BinningStrategy {
    /// Ten quantile bins with atoms.
    fn default() -> Self {
        Self::Quantile { bins: 10, atoms: true }
    }
}

impl BinningStrategy {
    /// Checks the number of bins.
    pub(super) fn check(&self) -> Result<(), BinningError> {
        match self {
            Self::Quantile { bins, .. } | Self::Uniform { bins }
                if !(2..=MAX_REQUESTED_BINS).contains(bins) =>
            {
                Err(BinningError::BinCount { bins: *bins })
            }
            _ => Ok(()),
        }
    }

    /// The ranks among `count` finite numbers that the edges follow from.
    pub(super) fn ranks(&self, count: usize) -> Vec<usize> {
        match self {
            Self::Quantile { bins, atoms } => {
                let mut ranks = Vec::new();
                let positions = shares(*bins).filter_map(|share| Position::of(count, share));
                positions.for_each(|position| ranks.extend(position.ranks()));
                if *atoms {
                    ranks.extend(spike_ranks(count, *bins));
                }
                ranks
            }
            Self::Uniform { .. } => vec![0, count.saturating_sub(1)],
            Self::Edges(_) => Vec::new(),
        }
    }
}

pub(super) fn uniform_edges(min: f64, max: f64, bins: usize) -> Vec<f64> {
    // numpy.histogram widens a range of no width by a half to each side.
    let (min, max) = if min < max { (min, max) } else { (min - 0.5, max + 0.5) };
    #[expect(clippy::cast_precision_loss, reason = "at most MAX_REQUESTED_BINS")]
    let step = (max - min) / bins as f64;
    #[expect(clippy::cast_precision_loss, reason = "at most MAX_REQUESTED_BINS")]
    let mut edges: Vec<f64> = (1..bins).map(|k| step.mul_add(k as f64, min)).collect();
    edges.retain(|edge| edge.is_finite());
    strictly_increasing(edges)
}

/// The shares at which the edges of `bins` quantile bins lie.
#[expect(clippy::cast_precision_loss, reason = "at most MAX_REQUESTED_BINS")]
fn shares(bins: usize) -> impl Iterator<Item = f64> {
    (1..bins).map(move |k| k as f64 / bins as f64)
}

/// Ranks of which every value that holds at least `1/bins` of `count` numbers has one: a run of
/// ranks that is no shorter than their distance cannot lie between two of them.
fn spike_ranks(count: usize, bins: usize) -> impl Iterator<Item = usize> {
    // Below 2^53 numbers and 80 bins this does not overflow.
    (0..bins).map(move |k| k.saturating_mul(count) / bins)
}

pub(super) fn quantile_edges(order: &Order, bins: usize, atoms: bool, integer: bool) -> Vec<f64> {
    let mut edges = Vec::new();
    if atoms {
        if integer && let Some(values) = order.few() {
            // A bin ends at each value but the last, which keeps everything above.
            edges.extend(values);
            edges.pop();
            return strictly_increasing(edges);
        }
        let mut spikes: Vec<f64> =
            spike_ranks(order.count(), bins).filter_map(|rank| order.at(rank)).collect();
        spikes.dedup();
        let least = (order.count() as u64).div_ceil(bins as u64);
        spikes.retain(|value| order.equal(*value).is_some_and(|count| count >= least));
        edges.extend(spikes.iter().flat_map(|value| [value.next_down(), *value]));
    }
    let at = |rank| order.at(rank);
    edges.extend(shares(bins).filter_map(|share| quantile(order.count(), share, at)));
    edges.retain(|edge| edge.is_finite());
    strictly_increasing(edges)
}

fn strictly_increasing(mut edges: Vec<f64>) -> Vec<f64> {
    edges.iter_mut().for_each(|edge| *edge += 0.0);
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup_by(|b, a| *b <= *a);
    edges
}
