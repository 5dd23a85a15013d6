//! Scores beside labels, checked for their task.

use super::EvaluationError;
use super::placement::{Ranked, ScoredRow};
use crate::model::Task;

/// The largest weight of a row: the sum of as many as fit into memory stays far from the end of
/// the floats.
///
/// ```
/// use pmmds::promote::{Evaluation, MAX_WEIGHT};
/// use pmmds::model::Task;
/// let error = Evaluation::weighted(Task::binary(), &[0.5], &[1.0], &[MAX_WEIGHT * 2.0]).unwrap_err();
/// assert_eq!(error.to_string(), "row 0: weight 2e100 is not between 0 and 1e100");
/// ```
pub const MAX_WEIGHT: f64 = 1e100;

/// One row of a regression's holdout, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NumberRow {
    // finite
    pub(super) prediction: f64,
    // finite
    pub(super) label: f64,
    // positive and finite, 1 where rows count alike
    pub(super) weight: f64,
}

impl NumberRow {
    /// Prediction less label; infinite where a float cannot hold it.
    pub(super) fn error(&self) -> f64 {
        self.prediction - self.label
    }
}

/// At least one row, as the task reads them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rows {
    Classified(Ranked),
    Numbers(Vec<NumberRow>),
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Classified(ranked) => ranked.rows().len(),
            Self::Numbers(rows) => rows.len(),
        }
    }

    /// The rows as `task` reads them, without those of weight 0; without `weights` all count alike.
    pub(super) fn check(
        task: Task,
        scores: &[f64],
        labels: &[f64],
        weights: Option<&[f64]>,
    ) -> Result<Self, EvaluationError> {
        let rows = scores.len();
        if rows != labels.len() {
            return Err(EvaluationError::Lengths { scores: rows, labels: labels.len() });
        }
        if let Some(weights) = weights.filter(|weights| weights.len() != rows) {
            return Err(EvaluationError::Weights { weights: weights.len(), rows });
        }
        let checked =
            scores.iter().zip(labels).enumerate().map(|(row, (&score, &label))| {
                let weight = weights.map_or(1.0, |weights| weights[row]);
                if !(0.0..=MAX_WEIGHT).contains(&weight) {
                    return Err(EvaluationError::InvalidWeight { row, weight });
                }
                let prediction = task.prediction(score).map_err(|_| {
                    EvaluationError::InvalidScore { row, score, is: no_score(task) }
                })?;
                let invalid = EvaluationError::InvalidLabel { row, label, is: no_label(task) };
                task.check_outcome(label).map_err(|_| invalid)?;
                Ok((weight, prediction, label))
            });
        let counted = checked.filter(|row| !matches!(row, Ok((0.0, ..))));
        let found = match task {
            Task::BinaryClassification { .. } => {
                let scored = counted.map(|row| {
                    row.map(|(weight, prediction, label)| ScoredRow {
                        score: prediction.score(),
                        predicted: prediction.label() == Some(1),
                        positive: label > 0.5,
                        weight,
                    })
                });
                Self::Classified(Ranked::new(scored.collect::<Result<_, _>>()?))
            }
            Task::Regression => {
                let numbers = counted.map(|row| {
                    row.map(|(weight, prediction, label)| NumberRow {
                        prediction: prediction.score(),
                        label,
                        weight,
                    })
                });
                Self::Numbers(numbers.collect::<Result<_, _>>()?)
            }
        };
        if found.len() == 0 { Err(EvaluationError::NoRows) } else { Ok(found) }
    }
}

/// What a score that `task` does not take is.
fn no_score(task: Task) -> &'static str {
    match task {
        Task::BinaryClassification { .. } => "no probability between 0 and 1",
        Task::Regression => "no finite number",
    }
}

/// What a label that `task` does not take is.
fn no_label(task: Task) -> &'static str {
    match task {
        Task::BinaryClassification { .. } => "neither 0 nor 1",
        Task::Regression => "no finite number",
    }
}

/// The mean of `values` (value, weight), summed in order; of at least one of a positive weight.
pub(super) fn weighted_mean(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let add = |(sum, total): (f64, f64), (value, weight): (f64, f64)| {
        (value.mul_add(weight, sum), total + weight)
    };
    let (sum, total) = values.fold((0.0, 0.0), add);
    sum / total
}

/// The mean of at least one value, summed in order.
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    values.sum::<f64>() / float(count)
}

/// A number of rows as a float.
#[expect(clippy::cast_precision_loss, reason = "2^53 rows do not fit into memory")]
pub(super) fn float(rows: usize) -> f64 {
    rows as f64
}
