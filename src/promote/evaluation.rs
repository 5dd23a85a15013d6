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
mod tests;
