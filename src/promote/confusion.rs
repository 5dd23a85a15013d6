//! How often prediction and truth met, at one threshold.

use serde::{Deserialize, Serialize};

/// Rows by predicted and true class.
///
/// ```
/// use pmmds::promote::Confusion;
///
/// let mut counts = Confusion::default();
/// counts.count(true, true);
/// counts.count(true, false);
/// counts.count(false, false);
/// assert_eq!((counts.precision(), counts.recall(), counts.f1()), (Some(0.5), Some(1.0), Some(2.0 / 3.0)));
///
/// let nothing_predicted = Confusion { false_negatives: 2, ..Confusion::default() };
/// assert_eq!((nothing_predicted.precision(), nothing_predicted.f1()), (None, Some(0.0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Confusion {
    /// predicted 1, came true
    pub true_positives: u64,
    /// predicted 1, did not come true
    pub false_positives: u64,
    /// predicted 0, and it was a 1
    pub false_negatives: u64,
    /// predicted 0, and it was a 0
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts one row.
    pub fn count(&mut self, predicted: bool, positive: bool) {
        let cell = match (predicted, positive) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, true) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        };
        *cell += 1;
    }

    /// All rows; `None` beyond `u64`, which only a forged file reaches.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.true_positives
            .checked_add(self.false_positives)?
            .checked_add(self.false_negatives)?
            .checked_add(self.true_negatives)
    }

    /// [`Metric::Precision`](super::Metric::Precision); `None` without positive predictions.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        let [tp, fp, ..] = self.wide();
        ratio(tp, tp + fp)
    }

    /// [`Metric::Recall`](super::Metric::Recall); `None` without positives.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        let [tp, _, fn_, _] = self.wide();
        ratio(tp, tp + fn_)
    }

    /// [`Metric::F1`](super::Metric::F1); `None` without positives and positive predictions.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let [tp, fp, fn_, _] = self.wide();
        ratio(2 * tp, 2 * tp + fp + fn_)
    }

    /// [`Metric::Accuracy`](super::Metric::Accuracy); `None` without rows.
    ///
    /// ```
    /// use pmmds::promote::Confusion;
    /// let counts = Confusion { true_positives: 3, true_negatives: 6, false_negatives: 1, false_positives: 0 };
    /// assert_eq!((counts.rows(), counts.accuracy()), (Some(10), Some(0.9)));
    /// assert_eq!(Confusion::default().accuracy(), None);
    /// ```
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let [tp, fp, fn_, tn] = self.wide();
        ratio(tp + tn, tp + fp + fn_ + tn)
    }

    // Wide enough that no sum of them overflows.
    fn wide(&self) -> [u128; 4] {
        [self.true_positives, self.false_positives, self.false_negatives, self.true_negatives]
            .map(u128::from)
    }
}

/// Quotient of two counts, exact but for one rounding while both are below 2^53; `None` for a
/// denominator of 0.
#[expect(clippy::cast_precision_loss, reason = "counts above 2^53 may lose their last digits")]
pub(super) fn ratio(numerator: u128, denominator: u128) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_none() {
        let empty = Confusion::default();
        assert_eq!(empty.rows(), Some(0));
        assert_eq!([empty.precision(), empty.recall(), empty.f1(), empty.accuracy()], [None; 4]);
    }

    #[test]
    fn forged_counts_do_not_overflow() {
        let forged = Confusion {
            true_positives: u64::MAX,
            false_positives: u64::MAX,
            false_negatives: u64::MAX,
            true_negatives: u64::MAX,
        };
        assert_eq!(forged.rows(), None);
        assert_eq!([forged.precision(), forged.f1(), forged.accuracy()], [Some(0.5); 3]);
    }
}
