//! What one model is worth on one set of labelled rows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::classified::Classified;
use super::regressed::Regressed;
use super::rows::Rows;
use super::{Confusion, Metric, WeightedConfusion};
use crate::model::Task;

/// How far numbers that were summed over the same rows in another order may differ, as a share.
const SAME_SUM: f64 = 1e-9;

/// Why rows cannot be evaluated.
///
/// ```
/// use pmmds::{model::Task, promote::{Evaluation, EvaluationError}};
/// assert_eq!(Evaluation::of(Task::binary(), &[], &[]), Err(EvaluationError::NoRows));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// Every score needs its label.
    #[error("{scores} scores for {labels} labels")]
    Lengths {
        /// scores given
        scores: usize,
        /// labels given
        labels: usize,
    },
    /// Every row needs its weight, if there are weights.
    #[error("{weights} weights for {rows} rows")]
    Weights {
        /// weights given
        weights: usize,
        /// rows given
        rows: usize,
    },
    /// There is nothing to evaluate, or all of it has the weight 0.
    #[error("no rows to evaluate")]
    NoRows,
    /// NaN, an infinity, or for a classifier a number outside `[0, 1]` by more than
    /// [`PROBABILITY_SLACK`](crate::model::PROBABILITY_SLACK).
    #[error("row {row}: score {score} is {is}")]
    InvalidScore {
        /// row number from 0
        row: usize,
        /// the score given
        score: f64,
        /// what is wrong with it
        is: &'static str,
    },
    /// A label is neither 0 nor 1, or for a regression not finite.
    #[error("row {row}: label {label} is {is}")]
    InvalidLabel {
        /// row number from 0
        row: usize,
        /// the label given
        label: f64,
        /// what is wrong with it
        is: &'static str,
    },
    /// A weight is negative, NaN or larger than [`MAX_WEIGHT`](super::MAX_WEIGHT).
    #[error("row {row}: weight {weight:?} is not between 0 and {max:e}", max = super::MAX_WEIGHT)]
    InvalidWeight {
        /// row number from 0
        row: usize,
        /// the weight given
        weight: f64,
    },
    /// A [`Calibration`](super::Calibration) needs a reasonable number of bins.
    #[error("{bins} bins, expected 1 to 1000")]
    Bins {
        /// bins asked for
        bins: usize,
    },
    /// A curve needs rows of both classes.
    #[error("all rows are of one class")]
    OneClass,
    /// A stored evaluation contradicts itself.
    #[error("the stored evaluation contradicts itself: {what}")]
    Contradiction {
        /// what cannot be
        what: &'static str,
    },
}

/// Every metric of one model on one set of labelled rows.
///
/// Only counts and means are kept, no row. The stored form round-trips bit for bit; reading one
/// that contradicts itself fails.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{Evaluation, Metric};
///
/// let evaluation = Evaluation::of(Task::binary(), &[0.9, 0.6, 0.4, 0.1], &[1.0, 0.0, 1.0, 0.0])?;
/// assert_eq!(evaluation.get(Metric::RocAuc), Some(0.75));
/// assert_eq!(evaluation.get(Metric::Accuracy), Some(0.5));
/// assert_eq!(evaluation.rows(), 4);
///
/// let prices = Evaluation::of(Task::Regression, &[12.0, 8.0], &[10.0, 8.0])?;
/// assert_eq!(prices.get(Metric::Mae), Some(1.0));
/// assert_eq!(prices.get(Metric::R2), Some(-1.0));
///
/// // What does not exist is not 0.
/// let one_class = Evaluation::of(Task::binary(), &[0.2, 0.1], &[0.0, 0.0])?;
/// assert_eq!(one_class.get(Metric::RocAuc), None);
/// assert_eq!(one_class.get(Metric::Precision), None);
/// assert_eq!(one_class.get(Metric::Rmse), None, "not of this task");
///
/// let error = Evaluation::of(Task::binary(), &[0.2, f64::NAN], &[0.0, 1.0]).unwrap_err();
/// assert_eq!(error.to_string(), "row 1: score NaN is no probability between 0 and 1");
/// let error = Evaluation::of(Task::binary(), &[0.2], &[2.0]).unwrap_err();
/// assert_eq!(error.to_string(), "row 0: label 2 is neither 0 nor 1");
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Measured", into = "Measured")]
pub struct Evaluation(Measured);

// One variant per task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Measured {
    BinaryClassification(Classified),
    Regression(Regressed),
}

impl Evaluation {
    /// Compares `scores` with the `labels` of the same rows.
    ///
    /// # Errors
    ///
    /// When the lengths differ, there are no rows, a score is no valid one for `task`, or a label
    /// is none: see [`EvaluationError`].
    pub fn of(task: Task, scores: &[f64], labels: &[f64]) -> Result<Self, EvaluationError> {
        Ok(Self::of_rows(task, &Rows::check(task, scores, labels, None)?, false))
    }

    /// The same for rows that do not count alike: a row of weight 2 is as two rows, and one of
    /// weight 0 is as none.
    ///
    /// Sums run in row order, so that other orders may differ in the last bits. Evaluations with
    /// and without weights, or with weights of different sums, do not compare.
    ///
    /// # Errors
    ///
    /// Those of [`of`](Self::of), and when there are not as many weights as rows, one is negative,
    /// NaN or above [`MAX_WEIGHT`](super::MAX_WEIGHT), or all are 0.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// use pmmds::promote::{Evaluation, Metric};
    /// let (scores, labels) = ([0.9, 0.8, 0.1], [1.0, 0.0, 0.0]);
    /// let evaluation = Evaluation::weighted(Task::binary(), &scores, &labels, &[3.0, 1.0, 0.0])?;
    /// assert_eq!(evaluation.get(Metric::Precision), Some(0.75));
    /// assert_eq!((evaluation.rows(), evaluation.weight()), (2, Some(4.0)));
    ///
    /// let error = Evaluation::weighted(Task::binary(), &scores, &labels, &[1.0, -1.0, 1.0]);
    /// assert_eq!(error.unwrap_err().to_string(), "row 1: weight -1.0 is not between 0 and 1e100");
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    pub fn weighted(
        task: Task,
        scores: &[f64],
        labels: &[f64],
        weights: &[f64],
    ) -> Result<Self, EvaluationError> {
        Ok(Self::of_rows(task, &Rows::check(task, scores, labels, Some(weights))?, true))
    }

    /// The metrics of rows that [`Rows::check`] returned for `task`.
    pub(super) fn of_rows(task: Task, rows: &Rows, weighted: bool) -> Self {
        Self(match rows {
            Rows::Classified(ranked) => {
                // Rows are read as classes for no other task.
                let threshold = match task {
                    Task::BinaryClassification { threshold } => threshold,
                    Task::Regression => 0.5,
                };
                Measured::BinaryClassification(Classified::measure(threshold, ranked, weighted))
            }
            Rows::Numbers(rows) => Measured::Regression(Regressed::measure(rows, weighted)),
        })
    }

    /// The value of `metric`; `None` where it does not exist for these rows or this task.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match &self.0 {
            Measured::BinaryClassification(measured) => measured.get(metric),
            Measured::Regression(measured) => measured.get(metric),
        }
    }

    /// The metrics of the task, whether or not they exist for these rows.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::{Evaluation, Metric}};
    /// let evaluation = Evaluation::of(Task::binary(), &[0.9], &[1.0])?;
    /// assert_eq!(evaluation.metrics()[0], Metric::RocAuc);
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> &'static [Metric] {
        Metric::of(self.task())
    }

    /// Rows that were evaluated, at least 1; those of weight 0 were not.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match &self.0 {
            Measured::BinaryClassification(measured) => {
                measured.confusion.rows().unwrap_or(u64::MAX)
            }
            Measured::Regression(measured) => measured.rows,
        }
    }

    /// The sum of the weights; `None` where every row counts alike.
    #[must_use]
    pub fn weight(&self) -> Option<f64> {
        match &self.0 {
            Measured::BinaryClassification(measured) => measured.weighted.map(|sums| sums.total()),
            Measured::Regression(measured) => measured.weight,
        }
    }

    /// Rows of the positive class; `None` for a task without one.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::Evaluation};
    /// let evaluation = Evaluation::of(Task::binary(), &[0.9, 0.6, 0.4], &[1.0, 0.0, 1.0])?;
    /// assert_eq!(evaluation.positives(), Some(2));
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn positives(&self) -> Option<u64> {
        self.classified().map(Classified::positives)
    }

    /// Whether both can come from the same rows, as far as counts and sums tell.
    pub(super) fn may_share_rows(&self, other: &Self) -> bool {
        let spread = |measured: &Measured| match measured {
            Measured::BinaryClassification(_) => None,
            Measured::Regression(measured) => measured.label_variance,
        };
        (self.rows(), self.positives()) == (other.rows(), other.positives())
            && same(self.weight(), other.weight())
            && same(spread(&self.0), spread(&other.0))
    }

    /// Rows by predicted and true class; `None` for a task without classes.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::Evaluation};
    /// let evaluation = Evaluation::of(Task::binary(), &[0.9, 0.6, 0.4], &[1.0, 0.0, 1.0])?;
    /// assert_eq!(evaluation.confusion().unwrap().false_negatives, 1);
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn confusion(&self) -> Option<&Confusion> {
        self.classified().map(|measured| &measured.confusion)
    }

    /// The weight of the rows by predicted and true class, which the metrics then go by; `None`
    /// for a task without classes, and where every row counts alike.
    #[must_use]
    pub fn weighted_confusion(&self) -> Option<&WeightedConfusion> {
        self.classified()?.weighted.as_ref()
    }

    /// F-beta at the threshold, in which recall counts `beta` times as much as precision; `None`
    /// where it does not exist, as for a `beta` that is not positive.
    ///
    /// # Formula
    ///
    /// ```text
    /// (1 + beta^2) TP / ( (1 + beta^2) TP + beta^2 FN + FP )
    /// ```
    ///
    /// Range `[0, 1]`, higher is better; [`Metric::F1`] is `beta` 1.
    ///
    /// # Reference
    ///
    /// N. Chinchor (1992), MUC-4 evaluation metrics, DOI 10.3115/1072064.1072067.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::Evaluation};
    /// let evaluation = Evaluation::of(Task::binary(), &[0.9, 0.6, 0.7, 0.1], &[1.0, 0.0, 1.0, 1.0])?;
    /// assert_eq!(evaluation.f_beta(2.0), Some(2.0 / 3.0));
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn f_beta(&self, beta: f64) -> Option<f64> {
        self.classified()?.cells().f_beta(beta)
    }

    /// Mean of prediction less label, the bias of a regression; `None` for other tasks, and beyond
    /// the floats.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::Evaluation};
    /// let evaluation = Evaluation::of(Task::Regression, &[3.0, 2.0], &[2.0, 2.0])?;
    /// assert_eq!(evaluation.mean_error(), Some(0.5));
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn mean_error(&self) -> Option<f64> {
        self.regressed()?.mean_error
    }

    /// The pinball loss at `quantile`, by which a regression that means to predict that quantile is
    /// judged; `None` for other tasks and for what is no share between 0 and 1.
    ///
    /// # Formula
    ///
    /// ```text
    /// 1/n * sum_i [ q (y_i - s_i) if y_i >= s_i, else (1 - q) (s_i - y_i) ]
    /// ```
    ///
    /// In the unit of the label, lower is better. At 0.5 it is half of [`Metric::Mae`].
    ///
    /// # Reference
    ///
    /// R. Koenker, G. Bassett (1978), Regression quantiles, DOI 10.2307/1913643.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::Evaluation};
    /// let evaluation = Evaluation::of(Task::Regression, &[3.0, 2.0], &[2.0, 4.0])?;
    /// assert_eq!(evaluation.pinball_loss(0.75), Some((0.25 * 1.0 + 0.75 * 2.0) / 2.0));
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn pinball_loss(&self, quantile: f64) -> Option<f64> {
        self.regressed()?.pinball_loss(quantile)
    }

    /// The task, with the threshold of the predicted class.
    #[must_use]
    pub fn task(&self) -> Task {
        match &self.0 {
            Measured::BinaryClassification(Classified { threshold, .. }) => {
                Task::BinaryClassification { threshold: *threshold }
            }
            Measured::Regression(_) => Task::Regression,
        }
    }

    fn classified(&self) -> Option<&Classified> {
        match &self.0 {
            Measured::BinaryClassification(measured) => Some(measured),
            Measured::Regression(_) => None,
        }
    }

    fn regressed(&self) -> Option<&Regressed> {
        match &self.0 {
            Measured::BinaryClassification(_) => None,
            Measured::Regression(measured) => Some(measured),
        }
    }
}

/// Whether both are absent, or the same sum up to the order of its terms.
fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= SAME_SUM * f64::max(a.abs(), b.abs()),
        (None, None) => true,
        _ => false,
    }
}

/// A small table: a metric that does not exist is shown as `-`.
///
/// ```
/// use pmmds::{model::Task, promote::Evaluation};
/// let evaluation = Evaluation::of(Task::Regression, &[0.2], &[0.5])?;
/// assert_eq!(
///     evaluation.to_string(),
///     "rows                  1\n\
///      rmse                  0.3000\n\
///      mae                   0.3000\n\
///      r2                    -\n\
///      median_absolute_error 0.3000\n\
///      max_error             0.3000\n\
///      mape                  0.6000",
/// );
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metrics = self.metrics();
        let width = metrics.iter().map(|metric| metric.name().len()).max().unwrap_or(0);
        write!(f, "{:<width$} {}", "rows", self.rows())?;
        if let Some(positives) = self.positives() {
            write!(f, " ({positives} positive)")?;
        }
        for &metric in metrics {
            match self.get(metric) {
                Some(value) => write!(f, "\n{metric:<width$} {value:.4}")?,
                None => write!(f, "\n{metric:<width$} -")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<Measured> for Evaluation {
    type Error = EvaluationError;

    fn try_from(measured: Measured) -> Result<Self, EvaluationError> {
        let contradiction = match &measured {
            Measured::BinaryClassification(measured) => measured.contradiction(),
            Measured::Regression(measured) => measured.contradiction(),
        };
        match contradiction {
            Some(what) => Err(EvaluationError::Contradiction { what }),
            None => Ok(Self(measured)),
        }
    }
}

impl From<Evaluation> for Measured {
    fn from(evaluation: Evaluation) -> Self {
        evaluation.0
    }
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::promote::rows::{float, mean};
    use crate::tests as oracle;

    // Of the oracles' README.
    const RELATIVE: f64 = 1e-12;

    fn evaluate(scores: &[f64], labels: &[f64]) -> Evaluation {
        Evaluation::of(Task::binary(), scores, labels).unwrap()
    }

    #[test]
    fn the_weighted_case_without_its_weights() {
        // Every reference value of this file is weighted; its rows still try the definitions.
        let case = oracle::read("clf_3_weighted.json");
        let (scores, labels) = (oracle::numbers(&case["score"]), oracle::numbers(&case["y"]));
        let evaluation = evaluate(&scores, &labels);
        let auc = evaluation.get(Metric::RocAuc).unwrap();
        assert!(oracle::close(auc, naive_auc(&scores, &labels), RELATIVE));
        let entropy = |(s, y): (&f64, &f64)| if *y > 0.5 { -s.ln() } else { -(1.0 - s).ln() };
        let log_loss = mean(scores.iter().zip(&labels).map(entropy));
        assert!(oracle::close(evaluation.get(Metric::LogLoss).unwrap(), log_loss, RELATIVE));
    }

    fn naive_auc(scores: &[f64], labels: &[f64]) -> f64 {
        let with = |class: bool| {
            scores.iter().zip(labels).filter(move |(_, y)| (**y > 0.5) == class).map(|(s, _)| *s)
        };
        let points = |high: f64, low: f64| u32::from(high > low) + u32::from(high >= low);
        let won: u32 = with(true).flat_map(|p| with(false).map(move |n| points(p, n))).sum();
        f64::from(won) / (2.0 * float(with(true).count() * with(false).count()))
    }

    #[test]
    fn hand_computed_values() {
        let evaluation = evaluate(&[0.8, 0.6, 0.3, 0.2], &[1.0, 0.0, 1.0, 0.0]);
        let log_loss = -(0.8_f64.ln() + 0.4_f64.ln() + 0.3_f64.ln() + 0.8_f64.ln()) / 4.0;
        assert!(oracle::close(evaluation.get(Metric::LogLoss).unwrap(), log_loss, RELATIVE));
        let brier = (0.04 + 0.36 + 0.49 + 0.04) / 4.0;
        assert!(oracle::close(evaluation.get(Metric::Brier).unwrap(), brier, RELATIVE));
        assert_eq!(evaluation.get(Metric::RocAuc), Some(0.75));
        assert_eq!(evaluation.get(Metric::Precision), Some(0.5));
        assert_eq!(evaluation.get(Metric::Recall), Some(0.5));
        assert_eq!(evaluation.get(Metric::F1), Some(0.5));
        assert_eq!((evaluation.rows(), evaluation.positives()), (4, Some(2)));
        assert_eq!(evaluation.task(), Task::binary());
    }

    #[test]
    fn the_table_shows_what_there_is() {
        let table = evaluate(&[0.8, 0.6, 0.3, 0.2], &[1.0, 0.0, 1.0, 0.0]).to_string();
        assert_eq!(
            table,
            "rows              4 (2 positive)\nroc_auc           0.7500\n\
             average_precision 0.8333\nlog_loss          0.6416\nbrier             0.2325\n\
             ece               0.4250\nf1                0.5000\nprecision         0.5000\n\
             recall            0.5000\naccuracy          0.5000\nbalanced_accuracy 0.5000\n\
             mcc               0.0000\ncohen_kappa       0.0000"
        );
    }

    #[test]
    fn metrics_that_do_not_exist_are_none() {
        let negatives = evaluate(&[0.1, 0.2], &[0.0, 0.0]);
        for metric in [Metric::RocAuc, Metric::Precision, Metric::Recall, Metric::F1] {
            assert_eq!(negatives.get(metric), None, "{metric}");
        }
        assert_eq!(negatives.get(Metric::AveragePrecision), None);
        assert_eq!(negatives.pinball_loss(0.5), None);
        assert_eq!(negatives.mean_error(), None);
        let positives = evaluate(&[0.1, 0.2], &[1.0, 1.0]);
        assert_eq!(positives.get(Metric::RocAuc), None);
        assert_eq!(positives.get(Metric::F1), Some(0.0));
        assert_eq!(positives.get(Metric::Recall), Some(0.0));
        assert_eq!(positives.get(Metric::AveragePrecision), Some(1.0));
    }

    #[test]
    fn a_regression_without_a_spread_of_labels_has_no_r2() {
        let of = |scores: &[f64], labels: &[f64]| {
            Evaluation::of(Task::Regression, scores, labels).unwrap()
        };
        // 0.1 three times: the rounded mean is not 0.1, and still nothing spreads.
        for evaluation in [of(&[0.1, 0.2, 0.3], &[0.1; 3]), of(&[3.0], &[2.0])] {
            assert_eq!(evaluation.get(Metric::R2), None);
            assert!(evaluation.get(Metric::Rmse).is_some());
        }
        let perfect = of(&[1.0, 2.0], &[1.0, 2.0]);
        assert_eq!((perfect.get(Metric::R2), perfect.get(Metric::Rmse)), (Some(1.0), Some(0.0)));
        assert_eq!(of(&[1.0, 2.0], &[0.0, 2.0]).get(Metric::Mape), None, "a share of 0");
        assert_eq!((perfect.task(), perfect.positives()), (Task::Regression, None));
        assert_eq!((perfect.confusion(), perfect.f_beta(1.0)), (None, None));
        assert_eq!((perfect.pinball_loss(1.5), perfect.pinball_loss(f64::NAN)), (None, None));
    }

    #[test]
    fn a_large_bias_does_not_swallow_the_spread() {
        // Errors 1e8 and 1e8 + 1: a difference of squares would have no digit left of 0.25.
        let (scores, labels) = ([1e8, 1e8 + 2.0], [0.0, 1.0]);
        let evaluation = Evaluation::of(Task::Regression, &scores, &labels).unwrap();
        assert_eq!(evaluation.mean_error(), Some(1e8 + 0.5));
        let json = serde_json::to_value(&evaluation).unwrap();
        assert_eq!(json["error_variance"], 0.25);
    }

    #[test]
    fn files_from_before_weights_and_new_metrics_are_read() {
        let old = r#"{"kind":"binary_classification","threshold":0.5,
            "confusion":{"true_positives":1,"false_positives":1,"false_negatives":1,
            "true_negatives":1},"roc_auc":0.75,"log_loss":0.64155,"brier":0.2325}"#;
        let evaluation: Evaluation = serde_json::from_str(old).unwrap();
        assert_eq!(evaluation.get(Metric::RocAuc), Some(0.75));
        assert_eq!(evaluation.get(Metric::Mcc), Some(0.0), "follows from the counts");
        assert_eq!(evaluation.get(Metric::AveragePrecision), None, "unknown");
        assert_eq!(evaluation.get(Metric::Ece), None);
        assert_eq!(evaluation.weight(), None);
    }

    #[test]
    fn the_stored_form_of_a_regression_is_fixed() {
        let evaluation = Evaluation::of(Task::Regression, &[1.5, 2.0], &[1.0, 3.0]).unwrap();
        let stored = r#"{"kind":"regression","rows":2,"mean_error":-0.25,"error_variance":0.5625,"mean_absolute_error":0.75,"median_absolute_error":0.75,"max_error":1.0,"mean_relative_error":0.41666666666666663,"label_variance":1.0}"#;
        assert_eq!(serde_json::to_string(&evaluation).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Evaluation>(stored).unwrap(), evaluation);
        let forged = |key: &str, value: Value| {
            let mut json = serde_json::to_value(&evaluation).unwrap();
            json[key] = value;
            serde_json::from_value::<Evaluation>(json).unwrap_err().to_string()
        };
        let of = |what| format!("the stored evaluation contradicts itself: {what}");
        assert_eq!(forged("rows", 0.into()), of("no rows"));
        assert_eq!(forged("error_variance", (-1.0).into()), of("an error below 0 or not finite"));
        assert_eq!(forged("weight", 0.into()), of("a weight that is not above 0"));
        let spread = of("labels with a spread that is not above 0");
        assert_eq!(forged("label_variance", 0.into()), spread);
    }

    #[test]
    fn weights_that_are_none_are_refused_with_their_row() {
        let of = |weights: &[f64]| {
            let found = Evaluation::weighted(Task::binary(), &[0.1, 0.9], &[0.0, 1.0], weights);
            found.unwrap_err().to_string()
        };
        assert_eq!(of(&[1.0]), "1 weights for 2 rows");
        assert_eq!(of(&[1.0, f64::NAN]), "row 1: weight NaN is not between 0 and 1e100");
        assert_eq!(of(&[f64::INFINITY, 1.0]), "row 0: weight inf is not between 0 and 1e100");
        assert_eq!(of(&[0.0, 0.0]), "no rows to evaluate");
    }

    #[test]
    fn a_certain_error_costs_the_clip_and_not_infinity() {
        for (score, label) in [(0.0, 1.0), (1.0, 0.0)] {
            let cost = evaluate(&[score], &[label]).get(Metric::LogLoss).unwrap();
            assert!(oracle::close(cost, 52.0 * std::f64::consts::LN_2, RELATIVE), "{cost}");
        }
        assert!(evaluate(&[1.0], &[1.0]).get(Metric::LogLoss).unwrap() >= 0.0);
    }

    #[test]
    fn what_is_no_evaluation_is_refused_with_its_row() {
        let of = |scores: &[f64], labels: &[f64]| {
            Evaluation::of(Task::binary(), scores, labels).unwrap_err().to_string()
        };
        assert_eq!(of(&[0.1, 0.2], &[1.0]), "2 scores for 1 labels");
        assert_eq!(of(&[], &[]), "no rows to evaluate");
        assert_eq!(
            of(&[0.1, f64::INFINITY], &[1.0, 0.0]),
            "row 1: score inf is no probability between 0 and 1"
        );
        let of_numbers = |scores: &[f64], labels: &[f64]| {
            Evaluation::of(Task::Regression, scores, labels).unwrap_err().to_string()
        };
        assert_eq!(of_numbers(&[f64::INFINITY], &[1.0]), "row 0: score inf is no finite number");
        assert_eq!(of_numbers(&[1.0], &[f64::NAN]), "row 0: label NaN is no finite number");
        assert_eq!(of(&[1.5], &[1.0]), "row 0: score 1.5 is no probability between 0 and 1");
        assert_eq!(of(&[0.5], &[f64::NAN]), "row 0: label NaN is neither 0 nor 1");
    }

    #[test]
    fn a_forged_file_is_refused() {
        let json = serde_json::to_value(evaluate(&[0.8, 0.2], &[1.0, 0.0])).unwrap();
        let forged = |key: &str, value: Value| {
            let mut json = json.clone();
            json[key] = value;
            serde_json::from_value::<Evaluation>(json).unwrap_err().to_string()
        };
        let of = |what| format!("the stored evaluation contradicts itself: {what}");
        assert_eq!(forged("roc_auc", Value::Null), of("roc_auc belongs to two classes"));
        assert_eq!(forged("roc_auc", 1.5.into()), of("roc_auc beyond 0 to 1"));
        assert_eq!(forged("log_loss", (-1.0).into()), of("log_loss below 0 or not finite"));
        assert_eq!(forged("brier", 7.0.into()), of("brier beyond 0 to 1"));
        assert_eq!(forged("ece", 7.0.into()), of("ece beyond 0 to 1"));
        assert_eq!(forged("threshold", 7.0.into()), of("threshold beyond 0 to 1"));
        let precision = of("average_precision beyond 0 to 1");
        assert_eq!(forged("average_precision", 7.0.into()), precision);
        let mut sums = serde_json::to_value(WeightedConfusion::default()).unwrap();
        let weights = of("weights that do not belong to the counts");
        assert_eq!(forged("weighted", sums.clone()), weights);
        sums["true_positives"] = 1.0.into();
        sums["true_negatives"] = (-1.0).into();
        assert_eq!(forged("weighted", sums), weights);
        let none = serde_json::to_value(Confusion::default()).unwrap();
        assert_eq!(forged("confusion", none), of("no rows"));
        let full =
            Confusion { true_positives: u64::MAX, true_negatives: 1, ..Confusion::default() };
        let full = serde_json::to_value(full).unwrap();
        assert_eq!(forged("confusion", full), of("more rows than can be counted"));
    }

    fn labelled_rows() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        prop::collection::vec((0.0..=1.0_f64, any::<bool>()), 1..80)
            .prop_map(|rows| rows.into_iter().map(|(s, y)| (s, f64::from(u8::from(y)))).unzip())
    }

    proptest! {
        #[test]
        fn the_stored_form_round_trips_bit_for_bit((scores, labels) in labelled_rows()) {
            let evaluation = evaluate(&scores, &labels);
            let json = serde_json::to_string(&evaluation).unwrap();
            let back: Evaluation = serde_json::from_str(&json).unwrap();
            for &metric in evaluation.metrics() {
                let bits = |e: &Evaluation| e.get(metric).map(f64::to_bits);
                prop_assert_eq!(bits(&back), bits(&evaluation));
            }
            prop_assert_eq!(back, evaluation);
        }

        #[test]
        fn the_order_of_rows_does_not_touch_the_counts((scores, labels) in labelled_rows()) {
            let reversed = |values: &[f64]| values.iter().rev().copied().collect::<Vec<_>>();
            let (there, back) =
                (evaluate(&scores, &labels), evaluate(&reversed(&scores), &reversed(&labels)));
            for metric in
                [Metric::RocAuc, Metric::AveragePrecision, Metric::F1, Metric::Accuracy, Metric::Mcc]
            {
                prop_assert_eq!(there.get(metric), back.get(metric));
            }
        }

        #[test]
        fn every_metric_is_within_its_range((scores, labels) in labelled_rows()) {
            let classified = evaluate(&scores, &labels);
            let numbers: Vec<f64> = labels.iter().map(|y| (y - 0.3) * 1e3).collect();
            let regressed = Evaluation::of(Task::Regression, &scores, &numbers).unwrap();
            for evaluation in [&classified, &regressed] {
                for &metric in evaluation.metrics() {
                    let (low, high) = metric.range();
                    if let Some(value) = evaluation.get(metric) {
                        prop_assert!((low..=high).contains(&value), "{}: {}", metric, value);
                    }
                }
            }
            prop_assert!(Metric::of(Task::Regression).iter().all(|m| classified.get(*m).is_none()));
            prop_assert!(Metric::of(Task::binary()).iter().all(|m| regressed.get(*m).is_none()));
        }

        #[test]
        fn a_weight_of_two_is_two_rows(
            rows in prop::collection::vec((0_u8..=20, any::<bool>(), 0_usize..4), 1..40)
        ) {
            let of = |row: &(u8, bool, usize)| (f64::from(row.0) / 20.0, f64::from(u8::from(row.1)));
            let (scores, labels): (Vec<f64>, Vec<f64>) = rows.iter().map(of).unzip();
            let weights: Vec<f64> = rows.iter().map(|row| float(row.2)).collect();
            let (many, their): (Vec<f64>, Vec<f64>) =
                rows.iter().flat_map(|row| std::iter::repeat_n(of(row), row.2)).unzip();
            for task in [Task::binary(), Task::Regression] {
                let weighted = Evaluation::weighted(task, &scores, &labels, &weights);
                let repeated = Evaluation::of(task, &many, &their);
                prop_assert_eq!(weighted.is_ok(), repeated.is_ok());
                let (Ok(weighted), Ok(repeated)) = (weighted, repeated) else { continue };
                prop_assert_eq!(weighted.weight(), Some(float(many.len())));
                for &metric in weighted.metrics() {
                    match (weighted.get(metric), repeated.get(metric)) {
                        (Some(a), Some(b)) => {
                            prop_assert!((a - b).abs() < RELATIVE, "{}: {} {}", metric, a, b);
                        }
                        (a, b) => prop_assert_eq!(a, b, "{}", metric),
                    }
                }
                let json = serde_json::to_string(&weighted).unwrap();
                prop_assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), weighted);
            }
        }

        #[test]
        fn the_unit_of_the_weights_does_not_matter(
            (scores, labels) in labelled_rows(), unit in prop::sample::select(vec![1e-90, 0.3, 1e90])
        ) {
            let all = vec![unit; scores.len()];
            let weighted = Evaluation::weighted(Task::binary(), &scores, &labels, &all).unwrap();
            let plain = evaluate(&scores, &labels);
            for &metric in plain.metrics() {
                match (weighted.get(metric), plain.get(metric)) {
                    (Some(a), Some(b)) => prop_assert!((a - b).abs() < RELATIVE, "{}", metric),
                    (a, b) => prop_assert_eq!(a, b, "{}", metric),
                }
            }
        }

        #[test]
        fn turning_every_score_around_turns_the_area_around((scores, labels) in labelled_rows()) {
            // Powers of two: 1 - s must be exact, or ties could appear.
            let coarse = |s: &f64| (s * 1024.0).round() / 1024.0;
            let scores: Vec<f64> = scores.iter().map(coarse).collect();
            let turned: Vec<f64> = scores.iter().map(|s| 1.0 - s).collect();
            let area = |scores: &[f64]| evaluate(scores, &labels).get(Metric::RocAuc);
            if let (Some(there), Some(back)) = (area(&scores), area(&turned)) {
                prop_assert!(oracle::close(there + back, 1.0, RELATIVE));
            }
        }
    }
}
