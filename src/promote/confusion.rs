//! How often prediction and truth met, at one threshold.

use serde::{Deserialize, Serialize};

use super::Metric;

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

    /// [`Metric::Precision`]; `None` without positive predictions.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        self.cells().get(Metric::Precision)
    }

    /// [`Metric::Recall`]; `None` without positives.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        self.cells().get(Metric::Recall)
    }

    /// [`Metric::F1`]; `None` without positives and positive predictions.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        self.cells().get(Metric::F1)
    }

    /// [`Metric::Accuracy`]; `None` without rows.
    ///
    /// ```
    /// use pmmds::promote::Confusion;
    /// let counts = Confusion { true_positives: 3, true_negatives: 6, false_negatives: 1, false_positives: 0 };
    /// assert_eq!((counts.rows(), counts.accuracy()), (Some(10), Some(0.9)));
    /// assert_eq!(Confusion::default().accuracy(), None);
    /// ```
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        self.cells().get(Metric::Accuracy)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts above 2^53 may lose their last digits")]
    pub(super) fn cells(&self) -> Cells {
        let counts =
            [self.true_positives, self.false_positives, self.false_negatives, self.true_negatives];
        Cells(counts.map(|count| count as f64))
    }
}

/// The weights of rows by predicted and true class, summed in row order.
///
/// ```
/// use pmmds::{model::Task, promote::Evaluation};
/// let (scores, labels) = ([0.9, 0.8, 0.1], [1.0, 0.0, 1.0]);
/// let weighted = Evaluation::weighted(Task::binary(), &scores, &labels, &[2.0, 0.5, 1.0])?;
/// let sums = weighted.weighted_confusion().unwrap();
/// assert_eq!((sums.true_positives, sums.false_positives, sums.false_negatives), (2.0, 0.5, 1.0));
/// assert_eq!(sums.total(), 3.5);
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WeightedConfusion {
    /// predicted 1, came true
    pub true_positives: f64,
    /// predicted 1, did not come true
    pub false_positives: f64,
    /// predicted 0, and it was a 1
    pub false_negatives: f64,
    /// predicted 0, and it was a 0
    pub true_negatives: f64,
}

impl WeightedConfusion {
    /// Adds one row of `weight`.
    pub(super) fn add(&mut self, predicted: bool, positive: bool, weight: f64) {
        let cell = match (predicted, positive) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, true) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        };
        *cell += weight;
    }

    /// The weight of all rows.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.sums().iter().sum()
    }

    /// Whether these can be the sums of the rows that `counts` counts.
    pub(super) fn fits(&self, counts: &Confusion) -> bool {
        let pairs = self.sums().into_iter().zip(counts.cells().0);
        self.total().is_finite()
            && pairs.into_iter().all(|(sum, count)| (sum > 0.0) == (count > 0.0))
    }

    // As shares, so that weights of any size have products.
    pub(super) fn cells(&self) -> Cells {
        Cells(self.sums()).shares()
    }

    fn sums(&self) -> [f64; 4] {
        [self.true_positives, self.false_positives, self.false_negatives, self.true_negatives]
    }
}

/// The four cells, true positives, false positives, false negatives and true negatives, as counts
/// or as shares of a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cells([f64; 4]);

/// Which of the cells are above and below the line of a ratio, and how often.
type Ratio = ([f64; 4], [f64; 4]);

const SPECIFICITY: Ratio = ([0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]);
const RECALL: Ratio = ([1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]);

impl Cells {
    /// The value of `metric`; `None` where it does not exist or does not follow from the cells.
    pub(super) fn get(self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::BalancedAccuracy => {
                Some(f64::midpoint(self.ratio(RECALL)?, self.ratio(SPECIFICITY)?))
            }
            Metric::Mcc => {
                let [tp, fp, fn_, tn] = self.0;
                let size = self.mcc_size();
                let covered = tp.mul_add(tn, -(fp * fn_));
                (size > 0.0).then(|| (covered / size).clamp(-1.0, 1.0))
            }
            Metric::CohenKappa => {
                let [tp, fp, fn_, tn] = self.0;
                let size = self.kappa_size();
                (size > 0.0).then(|| 2.0 * tp.mul_add(tn, -(fp * fn_)) / size)
            }
            _ => self.ratio(ratio_of(metric)?),
        }
    }

    /// F-beta; `None` where it does not exist, as without a positive finite `beta`.
    pub(super) fn f_beta(self, beta: f64) -> Option<f64> {
        if !(beta > 0.0 && beta.is_finite()) {
            return None;
        }
        // Divided by 1 + beta^2, so that no beta is too large.
        let misses = 1.0 / beta.mul_add(beta, 1.0);
        self.ratio(([1.0, 0.0, 0.0, 0.0], [1.0, misses, 1.0 - misses, 0.0]))
    }

    /// What one row more of each cell does to `metric`, times the number of rows: the influence of
    /// a row of that cell, whose mean over the rows is 0. `None` where the metric does not exist.
    pub(super) fn influence(self, metric: Metric) -> Option<[f64; 4]> {
        let shares = self.shares();
        let value = shares.get(metric)?;
        let [tp, fp, fn_, tn] = shares.0;
        match metric {
            Metric::BalancedAccuracy => {
                let (recall, specificity) = (shares.slope(RECALL)?, shares.slope(SPECIFICITY)?);
                Some(std::array::from_fn(|cell| f64::midpoint(recall[cell], specificity[cell])))
            }
            Metric::Mcc => {
                let size = shares.mcc_size();
                let above = [tn, -fn_, -fp, tp];
                let [predicted, positive, negative, refused] = shares.margins();
                let log_size = [
                    0.5 / predicted + 0.5 / positive,
                    0.5 / predicted + 0.5 / negative,
                    0.5 / positive + 0.5 / refused,
                    0.5 / negative + 0.5 / refused,
                ];
                Some(std::array::from_fn(|cell| value.mul_add(-log_size[cell], above[cell] / size)))
            }
            Metric::CohenKappa => {
                let size = shares.kappa_size();
                let above = [tn, -fn_, -fp, tp].map(|part| 2.0 * part);
                let [predicted, positive, negative, refused] = shares.margins();
                let below = [
                    negative + refused,
                    negative + predicted,
                    positive + refused,
                    predicted + positive,
                ];
                Some(std::array::from_fn(|cell| value.mul_add(-below[cell], above[cell]) / size))
            }
            _ => shares.slope(ratio_of(metric)?),
        }
    }

    fn ratio(self, (above, below): Ratio) -> Option<f64> {
        let size = self.dot(below);
        (size > 0.0).then(|| self.dot(above) / size)
    }

    /// The derivative of a ratio by each cell.
    fn slope(self, (above, below): Ratio) -> Option<[f64; 4]> {
        let (value, size) = (self.ratio((above, below))?, self.dot(below));
        Some(std::array::from_fn(|cell| value.mul_add(-below[cell], above[cell]) / size))
    }

    fn dot(self, times: [f64; 4]) -> f64 {
        self.0.iter().zip(times).map(|(cell, times)| cell * times).sum()
    }

    fn shares(self) -> Self {
        let total: f64 = self.0.iter().sum();
        Self(self.0.map(|cell| if total > 0.0 { cell / total } else { 0.0 }))
    }

    // Predicted 1, were 1, were 0, predicted 0.
    fn margins(self) -> [f64; 4] {
        let [tp, fp, fn_, tn] = self.0;
        [tp + fp, tp + fn_, fp + tn, fn_ + tn]
    }

    fn mcc_size(self) -> f64 {
        let [predicted, positive, negative, refused] = self.margins();
        (predicted * refused).sqrt() * (positive * negative).sqrt()
    }

    fn kappa_size(self) -> f64 {
        let [predicted, positive, negative, refused] = self.margins();
        predicted.mul_add(negative, positive * refused)
    }
}

fn ratio_of(metric: Metric) -> Option<Ratio> {
    match metric {
        Metric::Precision => Some(([1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0])),
        Metric::Recall => Some(RECALL),
        Metric::F1 => Some(([2.0, 0.0, 0.0, 0.0], [2.0, 1.0, 1.0, 0.0])),
        Metric::Accuracy => Some(([1.0, 0.0, 0.0, 1.0], [1.0; 4])),
        _ => None,
    }
}

/// Which of the [`Cells`] a row belongs to.
pub(super) fn cell_of(predicted: bool, positive: bool) -> usize {
    match (predicted, positive) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
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
    use crate::tests::close;

    const OF_CELLS: [Metric; 7] = [
        Metric::Precision,
        Metric::Recall,
        Metric::F1,
        Metric::Accuracy,
        Metric::BalancedAccuracy,
        Metric::Mcc,
        Metric::CohenKappa,
    ];

    #[test]
    fn nothing_is_none() {
        let empty = Confusion::default();
        assert_eq!(empty.rows(), Some(0));
        assert_eq!([empty.precision(), empty.recall(), empty.f1(), empty.accuracy()], [None; 4]);
        for metric in OF_CELLS {
            assert_eq!(empty.cells().get(metric), None, "{metric}");
            assert_eq!(empty.cells().influence(metric), None, "{metric}");
            assert_eq!(WeightedConfusion::default().cells().get(metric), None, "{metric}");
        }
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
        assert_eq!(forged.cells().get(Metric::Mcc), Some(0.0));
        assert_eq!(forged.cells().get(Metric::CohenKappa), Some(0.0));
    }

    #[test]
    fn agreement_beyond_chance_needs_two_classes() {
        let all_right = Confusion { true_positives: 5, ..Confusion::default() }.cells();
        for metric in [Metric::BalancedAccuracy, Metric::Mcc, Metric::CohenKappa] {
            assert_eq!(all_right.get(metric), None, "{metric}");
        }
        // One prediction for everything: no correlation, and agreement is all chance.
        let one_answer =
            Confusion { true_positives: 5, false_positives: 5, ..Confusion::default() };
        assert_eq!(one_answer.cells().get(Metric::Mcc), None);
        assert_eq!(one_answer.cells().get(Metric::CohenKappa), Some(0.0));
        assert_eq!(one_answer.cells().get(Metric::BalancedAccuracy), Some(0.5));
    }

    #[test]
    fn f_beta_is_f1_at_one_and_leans_to_recall_above() {
        let counts = Confusion {
            true_positives: 2,
            false_positives: 1,
            false_negatives: 6,
            true_negatives: 1,
        };
        let f = |beta| counts.cells().f_beta(beta);
        assert!(close(f(1.0).unwrap(), counts.f1().unwrap(), 1e-15));
        assert!(close(f(1e12).unwrap(), counts.recall().unwrap(), 1e-15));
        assert!(close(f(1e-12).unwrap(), counts.precision().unwrap(), 1e-15));
        for beta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(f(beta), None, "{beta}");
        }
        assert!(close(f(1e200).unwrap(), counts.recall().unwrap(), 1e-15));
    }

    #[test]
    fn the_influence_is_the_derivative() {
        // A row's influence is n times what a small part of it more in its cell changes.
        let cells = [31.0, 7.0, 12.0, 50.0];
        let total: f64 = cells.iter().sum();
        let step = 1e-4;
        for metric in OF_CELLS {
            let influence = Cells(cells).influence(metric).unwrap();
            for cell in 0..4 {
                let moved = |by: f64| {
                    let mut cells = cells;
                    cells[cell] += by;
                    Cells(cells).get(metric).unwrap()
                };
                let slope = (moved(step) - moved(-step)) / (2.0 * step) * total;
                assert!((influence[cell] - slope).abs() < 1e-7, "{metric} {cell}");
            }
            let mean: f64 = influence.iter().zip(cells).map(|(part, rows)| part * rows).sum();
            assert!(mean.abs() < 1e-12, "{metric}: {mean}");
        }
    }
}
