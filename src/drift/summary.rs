//! Mean, spread and extremes of a column, in one pass and mergeable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::order::Order;

/// Most unseen levels that are remembered by name; the rest is counted together.
///
/// ```
/// use pmmds::drift::{MAX_UNSEEN, TrafficSummary};
/// let mut summary = TrafficSummary::default();
/// (0..100).for_each(|i| summary.observe_unseen(Some(&format!("level {i}"))));
/// assert_eq!(summary.unseen.len(), MAX_UNSEEN);
/// assert_eq!(summary.unseen_total(), 100);
/// ```
pub const MAX_UNSEEN: usize = 20;

/// Longest remembered name of an unseen level, in characters.
const UNSEEN_CHARS: usize = 64;

/// Count, mean and variance of numbers that come one by one.
///
/// Merging two summaries gives what one pass over both would, but for rounding: unlike counts,
/// float sums depend on their order.
///
/// # Reference
///
/// B. P. Welford, *Note on a Method for Calculating Corrected Sums of Squares and Products*,
/// Technometrics 4, 1962, DOI 10.1080/00401706.1962.10490022; the merge is that of T. F. Chan,
/// G. H. Golub and R. J. LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample
/// Variances*, 1979, DOI 10.1007/978-3-642-51461-6_3.
///
/// ```
/// use pmmds::drift::Moments;
/// let mut moments = Moments::default();
/// [1.0, 2.0, 3.0, 4.0].iter().for_each(|x| moments.observe(*x));
/// assert_eq!(moments.mean(), Some(2.5));
/// assert!((moments.std().unwrap() - 1.2909944487358056).abs() < 1e-15);
/// assert_eq!(Moments::default().mean(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    // sum of squared deviations from the mean, >= 0
    squares: f64,
}

impl Moments {
    /// Those of `count` numbers with this mean and sum of squares about it; all of it finite.
    pub(super) fn of_parts(count: u64, mean: f64, squares: f64) -> Self {
        Self { count, mean, squares }
    }

    /// Adds one finite number.
    ///
    /// Mean and spread stay finite, so that they can be stored: what would overflow is held at the
    /// largest number.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    pub fn observe(&mut self, x: f64) {
        self.count = self.count.saturating_add(1);
        let delta = held(x - self.mean);
        self.mean = held(self.mean + delta / self.count as f64);
        self.squares = held(delta.mul_add(held(x - self.mean), self.squares));
    }

    /// Adds everything that `other` has seen.
    ///
    /// ```
    /// use pmmds::drift::Moments;
    /// let of = |numbers: &[f64]| {
    ///     let mut moments = Moments::default();
    ///     numbers.iter().for_each(|x| moments.observe(*x));
    ///     moments
    /// };
    /// let mut halves = of(&[1.0, 2.0]);
    /// halves.merge(&of(&[3.0, 4.0]));
    /// assert_eq!((halves.count(), halves.mean()), (4, Some(2.5)));
    /// ```
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let delta = held(other.mean - self.mean);
        self.count = self.count.saturating_add(other.count);
        self.mean = held(delta.mul_add(m / (n + m), self.mean));
        self.squares =
            held(self.squares + held(delta * delta).mul_add(n * m / (n + m), other.squares));
    }

    /// What [`of_parts`](Self::of_parts) makes them of.
    pub(super) fn parts(self) -> (u64, f64, f64) {
        (self.count, self.mean, self.squares)
    }

    /// How many numbers there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Arithmetic mean; `None` without numbers.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Sample standard deviation (n - 1); `None` below two numbers.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    pub fn std(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }
}

fn held(x: f64) -> f64 {
    x.clamp(-f64::MAX, f64::MAX)
}

/// What the reference looked like: exact, from the raw values, frozen in the profile.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0], [f64::NAN]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// let profile = pmmds::drift::Profile::fit(&batch)?; // 1, 2, 3, 4, and one missing
/// let summary = profile.features()[0].summary();
/// assert_eq!((summary.min, summary.max), (Some(1.0), Some(4.0)));
/// assert_eq!((summary.moments.count(), summary.quantiles.unwrap()[2]), (4, 2.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReferenceSummary {
    /// mean and spread of the finite numbers
    pub moments: Moments,
    /// smallest finite number
    pub min: Option<f64>,
    /// largest finite number
    pub max: Option<f64>,
    /// the quantiles 0.05, 0.25, 0.5, 0.75 and 0.95, linearly interpolated
    pub quantiles: Option<[f64; 5]>,
}

/// The quantiles of a [`ReferenceSummary`].
const SHARES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

impl ReferenceSummary {
    /// The ranks that [`of`](Self::of) asks for, of `count` numbers.
    pub(super) fn ranks(count: usize) -> impl Iterator<Item = usize> {
        let ends = [0, count.saturating_sub(1)];
        let inner = SHARES.into_iter().filter_map(move |share| Position::of(count, share));
        ends.into_iter().chain(inner.flat_map(|position| position.ranks()))
    }

    /// The summary of the finite numbers in `order`, where [`ranks`](Self::ranks) are known.
    pub(super) fn of(order: &Order) -> Self {
        let quantiles = SHARES.map(|share| quantile(order.count(), share, |rank| order.at(rank)));
        Self {
            moments: order.totals().moments,
            min: order.at(0),
            max: order.count().checked_sub(1).and_then(|last| order.at(last)),
            quantiles: (order.count() > 0).then(|| quantiles.map(Option::unwrap_or_default)),
        }
    }
}

impl ReferenceSummary {
    /// Whether every finite number is above `x`; no for NaN, and where there are none.
    pub(super) fn is_above(&self, x: f64) -> bool {
        self.min.is_some_and(|min| x < min)
    }

    /// Whether every finite number is below `x`; no for NaN, and where there are none.
    pub(super) fn is_below(&self, x: f64) -> bool {
        self.max.is_some_and(|max| x > max)
    }
}

/// Where a quantile lies among sorted numbers: between two neighbours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    lower: usize,
    upper: usize,
    // of the way from `lower` to `upper`, in 0..=1
    part: f64,
}

impl Position {
    /// The position of the quantile `share` of `count` numbers; `None` without numbers.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positions lie between 0 and the number of rows, which is below 2^53"
    )]
    pub(super) fn of(count: usize, share: f64) -> Option<Self> {
        let last = count.checked_sub(1)?;
        let position = share * last as f64;
        let lower = (position.floor() as usize).min(last);
        Some(Self { lower, upper: (lower + 1).min(last), part: position - lower as f64 })
    }

    /// The ranks of the two neighbours.
    pub(super) fn ranks(self) -> [usize; 2] {
        [self.lower, self.upper]
    }
}

/// The quantile `share` of `count` numbers, of which `at` gives the one with a rank, linearly
/// interpolated as numpy does by default; `None` without numbers.
///
/// # Reference
///
/// R. J. Hyndman and Y. Fan, *Sample Quantiles in Statistical Packages*, The American Statistician
/// 50, 1996, DOI 10.1080/00031305.1996.10473566, definition 7.
pub(crate) fn quantile(count: usize, share: f64, at: impl Fn(usize) -> Option<f64>) -> Option<f64> {
    let Position { lower, upper, part } = Position::of(count, share)?;
    let (a, b) = (at(lower)?, at(upper)?);
    let span = b - a;
    // From the nearer end, so that a quantile that falls on a value is that value. Between the
    // largest numbers of either sign, whose distance is no number, by their shares.
    let value = if !span.is_finite() {
        a.mul_add(1.0 - part, b * part)
    } else if part < 0.5 {
        span.mul_add(part, a)
    } else {
        span.mul_add(part - 1.0, b)
    };
    Some(value + 0.0)
}

/// What live traffic looked like, feature by feature, beside its counts. Mergeable.
///
/// ```
/// use pmmds::drift::TrafficSummary;
/// let mut hour = TrafficSummary::default();
/// hour.observe_unseen(Some("silver"));
/// hour.observe_unseen(None); // of a sensitive feature
/// let mut day = hour.clone();
/// day.merge(&hour);
/// assert_eq!((day.unseen["silver"], day.unseen_more, day.unseen_total()), (2, 2, 4));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrafficSummary {
    /// mean and spread of the finite numbers
    pub moments: Moments,
    /// numbers below the smallest of the reference
    pub below: u64,
    /// numbers above the largest of the reference
    pub above: u64,
    /// infinities, which fall in the outer bins
    pub infinite: u64,
    /// values outside the schema's levels, at most [`MAX_UNSEEN`] of them by name; empty for a
    /// sensitive feature
    pub unseen: BTreeMap<String, u64>,
    /// values outside the schema's levels beyond those in `unseen`
    pub unseen_more: u64,
}

impl TrafficSummary {
    /// Counts one value outside the levels; without a name where it may not be kept.
    pub fn observe_unseen(&mut self, text: Option<&str>) {
        let text = text.map(|text| match text.char_indices().nth(UNSEEN_CHARS) {
            Some((end, _)) => &text[..end],
            None => text,
        });
        self.add_unseen(text, 1);
    }

    pub(super) fn add_unseen(&mut self, text: Option<&str>, count: u64) {
        let full = self.unseen.len() >= MAX_UNSEEN;
        let known = match text {
            Some(text) if full || self.unseen.contains_key(text) => self.unseen.get_mut(text),
            Some(text) => Some(self.unseen.entry(text.to_owned()).or_default()),
            None => None,
        };
        let known = known.unwrap_or(&mut self.unseen_more);
        *known = known.saturating_add(count);
    }

    /// Values outside the schema's levels, named or not.
    #[must_use]
    pub fn unseen_total(&self) -> u64 {
        self.unseen.values().fold(self.unseen_more, |sum, count| sum.saturating_add(*count))
    }

    /// Adds everything that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.below = self.below.saturating_add(other.below);
        self.above = self.above.saturating_add(other.above);
        self.infinite = self.infinite.saturating_add(other.infinite);
        self.unseen_more = self.unseen_more.saturating_add(other.unseen_more);
        for (text, count) in &other.unseen {
            self.add_unseen(Some(text), *count);
        }
    }

    pub(super) fn observe(&mut self, x: f64, reference: &ReferenceSummary) {
        if x.is_nan() {
            return;
        }
        self.below += u64::from(reference.is_above(x));
        self.above += u64::from(reference.is_below(x));
        if x.is_finite() {
            self.moments.observe(x);
        } else {
            self.infinite += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use ndarray_stats::Quantile1dExt;
    use ndarray_stats::interpolate::Linear;
    use noisy_float::types::{N64, n64};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The twin of ndarray-stats, which selects where ours sorts.
        #[test]
        fn quantile_agrees_with_its_twin(
            mut values in proptest::collection::vec(-1e6..1e6_f64, 1..200),
            share in 0.0..=1.0_f64,
        ) {
            let mut array: Array1<N64> = values.iter().copied().map(n64).collect();
            let twin = array.quantile_mut(n64(share), &Linear).unwrap().raw();
            values.sort_unstable_by(f64::total_cmp);
            let ours = quantile(values.len(), share, |rank| values.get(rank).copied()).unwrap();
            prop_assert!((ours - twin).abs() <= 1e-9 * twin.abs().max(1.0), "{ours} {twin}");
        }
    }

    #[test]
    fn quantiles_are_numpys() {
        let of = |numbers: &[f64]| {
            let order = Order::of(numbers, |count| ReferenceSummary::ranks(count).collect());
            ReferenceSummary::of(&order)
        };
        let summary = of(&[4.0, 1.0, 3.0, 2.0, f64::NAN, f64::INFINITY]);
        assert_eq!((summary.min, summary.max), (Some(1.0), Some(4.0)));
        // numpy.quantile([1, 2, 3, 4], [0.05, 0.25, 0.5, 0.75, 0.95])
        let expected = [1.15, 1.75, 2.5, 3.25, 3.85];
        for (found, expected) in summary.quantiles.unwrap().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let none = of(&[f64::NAN]);
        assert_eq!((none.min, none.quantiles, none.moments.mean()), (None, None, None));
    }

    #[test]
    fn quantiles_lie_between_the_largest_numbers() {
        let ends = [-f64::MAX, f64::MAX];
        let of = |share| quantile(2, share, |rank| ends.get(rank).copied());
        assert_eq!((of(0.0), of(0.5), of(1.0)), (Some(-f64::MAX), Some(0.0), Some(f64::MAX)));
        assert_eq!(of(0.25), Some(-f64::MAX / 2.0));
    }

    #[test]
    fn large_offsets_do_not_cancel() {
        let mut moments = Moments::default();
        (0..1000).for_each(|i| moments.observe(1e9 + f64::from(i % 2)));
        assert!((moments.std().unwrap() - 0.500_250_187_63).abs() < 1e-6);
    }

    #[test]
    fn the_largest_numbers_can_be_stored() {
        let mut moments = Moments::default();
        for x in [f64::MAX, -f64::MAX, 1e200, -f64::MAX] {
            moments.observe(x);
        }
        let mut twice = moments;
        twice.merge(&moments);
        for moments in [moments, twice] {
            let json = serde_json::to_string(&moments).unwrap();
            assert_eq!(serde_json::from_str::<Moments>(&json).unwrap(), moments, "{json}");
        }
    }

    #[test]
    fn unseen_levels_are_bounded() {
        let mut summary = TrafficSummary::default();
        (0..1000).for_each(|i| summary.observe_unseen(Some(&format!("level {i}"))));
        summary.observe_unseen(None);
        assert_eq!(summary.unseen.len(), MAX_UNSEEN);
        assert_eq!(summary.unseen_total(), 1001);
        let mut twice = summary.clone();
        twice.merge(&summary);
        assert_eq!((twice.unseen.len(), twice.unseen_total()), (MAX_UNSEEN, 2002));
    }
}
