//! Two histograms over ordered bins, as cumulative counts at the edges.

use super::binning::Binning;
use super::counts::NotComparable;
use super::metric::BinnedPair;
use super::numeric_binning::NumericBinning;

/// The known numbers of a pair: missing values are left out, on both sides.
#[derive(Debug)]
pub(super) struct Ordered<'a> {
    pub(super) binning: &'a NumericBinning,
    // known rows of the reference, at least 1
    pub(super) n: u64,
    // known rows of the window, at least 1
    pub(super) m: u64,
    // per bin, rows of either side in this bin and all below it
    cumulative: Vec<(u64, u64)>,
}

impl<'a> Ordered<'a> {
    pub(super) fn of(pair: BinnedPair<'a>) -> Result<Self, NotComparable> {
        let Binning::Numeric(binning) = pair.binning() else {
            return Err(NotComparable::new("levels have no order"));
        };
        let (mut n, mut m) = (0, 0);
        let bins = pair.reference().iter().zip(pair.current()).take(binning.bins());
        let cumulative: Vec<(u64, u64)> = bins
            .map(|(r, c)| {
                (n, m) = (n + r, m + c);
                (n, m)
            })
            .collect();
        for (rows, side) in [(n, "the reference"), (m, "the window")] {
            if rows == 0 {
                return Err(NotComparable::new(format!("{side} has no known value")));
            }
        }
        Ok(Self { binning, n, m, cumulative })
    }

    /// Shares of reference and window below a bin and up to its end, in the order of the bins.
    pub(super) fn bins(&self) -> impl Iterator<Item = ((f64, f64), (f64, f64))> {
        let below = std::iter::once((0.0, 0.0)).chain(self.shares());
        below.zip(self.shares())
    }

    /// Shares of reference and window up to the end of a bin.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn shares(&self) -> impl Iterator<Item = (f64, f64)> {
        let (n, m) = (self.n as f64, self.m as f64);
        self.cumulative.iter().map(move |(r, c)| (*r as f64 / n, *c as f64 / m))
    }

    /// The largest difference of the cumulative shares at an edge, in units of `1 / (n m)`: exact.
    pub(super) fn largest_gap(&self) -> u128 {
        let (n, m) = (u128::from(self.n), u128::from(self.m));
        let gaps = self.cumulative.iter();
        gaps.map(|(r, c)| (u128::from(*r) * m).abs_diff(u128::from(*c) * n)).max().unwrap_or(0)
    }

    /// Whether a bin can hold a single value only, so that nothing is unknown inside it.
    pub(super) fn is_atom(&self, bin: usize) -> bool {
        let (lower, upper) = self.binning.interval(bin);
        lower.next_up() >= upper
    }
}
