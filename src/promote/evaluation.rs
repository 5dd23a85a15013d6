//! What one model is worth on one set of labelled rows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Metric;
use super::confusion::{Confusion, ratio};
use super::placement::{ScoredRow, doubled_wins};
use crate::model::Task;

/// How far from 0 and 1 a probability is kept before its logarithm is taken: 2^-52, scikit-learn's
/// rule for 64-bit floats.
const LOG_LOSS_CLIP: f64 = f64::EPSILON;

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
    /// There is nothing to evaluate.
    #[error("no rows to evaluate")]
    NoRows,
    /// NaN, an infinity, or a number outside `[0, 1]` by more than
    /// [`PROBABILITY_SLACK`](crate::model::PROBABILITY_SLACK).
    #[error("row {row}: score {score} is no probability between 0 and 1")]
    InvalidScore {
        /// row number from 0
        row: usize,
        /// the score given
        score: f64,
    },
    /// A label is neither 0 nor 1.
    #[error("row {row}: label {label} is neither 0 nor 1")]
    InvalidLabel {
        /// row number from 0
        row: usize,
        /// the label given
        label: f64,
    },
    /// There are no metrics for a regression yet.
    #[error("a regression has no metrics yet")]
    NoMetrics,
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
/// // What does not exist is not 0.
/// let one_class = Evaluation::of(Task::binary(), &[0.2, 0.1], &[0.0, 0.0])?;
/// assert_eq!(one_class.get(Metric::RocAuc), None);
/// assert_eq!(one_class.get(Metric::Precision), None);
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

// One variant per task. What follows from the counts is not stored a second time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Measured {
    BinaryClassification {
        threshold: f64,
        // at least one row
        confusion: Confusion,
        // in [0, 1]; None when all rows are of one class
        roc_auc: Option<f64>,
        // finite, at least 0
        log_loss: f64,
        // in [0, 1]
        brier: f64,
    },
}

impl Evaluation {
    /// Compares `scores` with the `labels` of the same rows.
    ///
    /// # Errors
    ///
    /// When the lengths differ, there are no rows, a score is no valid one for `task`, or a label
    /// is none: see [`EvaluationError`].
    pub fn of(task: Task, scores: &[f64], labels: &[f64]) -> Result<Self, EvaluationError> {
        Self::of_rows(task, &checked_rows(task, scores, labels)?)
    }

    /// The metrics of rows that [`checked_rows`] returned for `task`.
    pub(super) fn of_rows(task: Task, rows: &[ScoredRow]) -> Result<Self, EvaluationError> {
        let Task::BinaryClassification { threshold } = task else {
            return Err(EvaluationError::NoMetrics);
        };
        let mut confusion = Confusion::default();
        rows.iter().for_each(|row| confusion.count(row.predicted, row.positive));
        Ok(Self(Measured::BinaryClassification {
            threshold,
            confusion,
            roc_auc: roc_auc(rows),
            log_loss: mean(rows.iter().map(log_loss)),
            brier: mean(rows.iter().map(squared_error)),
        }))
    }

    /// The value of `metric`; `None` where it does not exist for these rows.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        let Measured::BinaryClassification { confusion, roc_auc, log_loss, brier, .. } = &self.0;
        match metric {
            Metric::RocAuc => *roc_auc,
            Metric::LogLoss => Some(*log_loss),
            Metric::Brier => Some(*brier),
            Metric::F1 => confusion.f1(),
            Metric::Precision => confusion.precision(),
            Metric::Recall => confusion.recall(),
            Metric::Accuracy => confusion.accuracy(),
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
        match self.0 {
            Measured::BinaryClassification { .. } => Metric::all(),
        }
    }

    /// Rows that were evaluated, at least 1.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let Measured::BinaryClassification { confusion, .. } = &self.0;
        confusion.rows().unwrap_or(u64::MAX)
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
        self.confusion().map(|counts| counts.true_positives + counts.false_negatives)
    }

    /// Whether both can come from the same rows, as far as counts tell.
    pub(super) fn may_share_rows(&self, other: &Self) -> bool {
        (self.rows(), self.positives()) == (other.rows(), other.positives())
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
        let Measured::BinaryClassification { confusion, .. } = &self.0;
        Some(confusion)
    }

    /// The task, with the threshold of the predicted class.
    #[must_use]
    pub fn task(&self) -> Task {
        let Measured::BinaryClassification { threshold, .. } = self.0;
        Task::BinaryClassification { threshold }
    }
}

/// A small table: a metric that does not exist is shown as `-`.
///
/// ```
/// use pmmds::{model::Task, promote::Evaluation};
/// let evaluation = Evaluation::of(Task::binary(), &[0.2, 0.1], &[0.0, 0.0])?;
/// assert!(evaluation.to_string().starts_with("rows       2 (0 positive)\nroc_auc    -\n"));
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {}", "rows", self.rows())?;
        if let Some(positives) = self.positives() {
            write!(f, " ({positives} positive)")?;
        }
        for &metric in self.metrics() {
            match self.get(metric) {
                Some(value) => write!(f, "\n{metric:<10} {value:.4}")?,
                None => write!(f, "\n{metric:<10} -")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<Measured> for Evaluation {
    type Error = EvaluationError;

    fn try_from(measured: Measured) -> Result<Self, EvaluationError> {
        let Measured::BinaryClassification { confusion, roc_auc, log_loss, brier, .. } = &measured;
        let proportion = 0.0..=1.0;
        let two_classes = confusion.recall().is_some()
            && (confusion.true_negatives > 0 || confusion.false_positives > 0);
        let what = match confusion.rows() {
            None => "more rows than can be counted",
            Some(0) => "no rows",
            _ if roc_auc.is_some() != two_classes => "roc_auc belongs to two classes",
            _ if roc_auc.is_some_and(|auc| !proportion.contains(&auc)) => "roc_auc beyond 0 to 1",
            _ if !(0.0..f64::INFINITY).contains(log_loss) => "log_loss below 0 or not finite",
            _ if !proportion.contains(brier) => "brier beyond 0 to 1",
            _ => return Ok(Self(measured)),
        };
        Err(EvaluationError::Contradiction { what })
    }
}

impl From<Evaluation> for Measured {
    fn from(evaluation: Evaluation) -> Self {
        evaluation.0
    }
}

/// The rows as `task` reads them.
pub(super) fn checked_rows(
    task: Task,
    scores: &[f64],
    labels: &[f64],
) -> Result<Vec<ScoredRow>, EvaluationError> {
    if scores.len() != labels.len() {
        return Err(EvaluationError::Lengths { scores: scores.len(), labels: labels.len() });
    }
    if scores.is_empty() {
        return Err(EvaluationError::NoRows);
    }
    if task == Task::Regression {
        return Err(EvaluationError::NoMetrics);
    }
    let check = |(row, (&score, &label)): (usize, (&f64, &f64))| {
        let prediction =
            task.prediction(score).map_err(|_| EvaluationError::InvalidScore { row, score })?;
        let positive = class(label).ok_or(EvaluationError::InvalidLabel { row, label })?;
        Ok(ScoredRow {
            score: prediction.score(),
            predicted: prediction.label() == Some(1),
            positive,
        })
    };
    scores.iter().zip(labels).enumerate().map(check).collect()
}

#[expect(clippy::float_cmp, reason = "a label is exactly 0 or exactly 1")]
fn class(label: f64) -> Option<bool> {
    (label == 1.0).then_some(true).or((label == 0.0).then_some(false))
}

/// [`Metric::RocAuc`] from integer counts of pairs.
fn roc_auc(rows: &[ScoredRow]) -> Option<f64> {
    let wins = doubled_wins(rows);
    let positives = rows.iter().filter(|row| row.positive).count() as u128;
    let negatives = rows.len() as u128 - positives;
    let won = rows.iter().zip(wins).filter(|(row, _)| row.positive).map(|(_, w)| u128::from(w));
    ratio(won.sum(), 2 * positives * negatives)
}

/// What one row adds to [`Metric::LogLoss`].
pub(super) fn log_loss(row: &ScoredRow) -> f64 {
    let probability = row.score.clamp(LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP);
    if row.positive { -probability.ln() } else { -(-probability).ln_1p() }
}

/// What one row adds to [`Metric::Brier`].
pub(super) fn squared_error(row: &ScoredRow) -> f64 {
    let error = row.score - f64::from(u8::from(row.positive));
    error * error
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::tests as oracle;

    // Of the oracles' README.
    const RELATIVE: f64 = 1e-12;

    fn evaluate(scores: &[f64], labels: &[f64]) -> Evaluation {
        Evaluation::of(Task::binary(), scores, labels).unwrap()
    }

    fn check(file: &str, evaluation: &Evaluation, expected: &Value) {
        for &metric in Metric::all() {
            let key = match metric {
                Metric::F1 | Metric::Precision | Metric::Recall => {
                    format!("{metric}|zero_division=0")
                }
                _ => metric.to_string(),
            };
            let want = oracle::number(&expected[&key]);
            let got = evaluation.get(metric).unwrap_or(f64::NAN);
            assert!(oracle::close(got, want, RELATIVE), "{file} {metric}: {got} for {want}");
        }
        let confusion = evaluation.confusion().unwrap();
        let counts = [
            ("tp", confusion.true_positives),
            ("fp", confusion.false_positives),
            ("fn", confusion.false_negatives),
            ("tn", confusion.true_negatives),
        ];
        for (cell, count) in counts {
            let want = oracle::number(&expected["confusion"][cell]);
            assert_eq!(count.to_string(), want.to_string(), "{file} {cell}");
        }
    }

    #[test]
    fn the_reference_values_at_two_thresholds() {
        let files = [
            "clf_1_typical.json",
            "clf_2_heavy_ties.json",
            "clf_4_perfect.json",
            "clf_5_inverted_extreme.json",
        ];
        for file in files {
            let case = oracle::read(file);
            let (scores, labels) = (oracle::numbers(&case["score"]), oracle::numbers(&case["y"]));
            for (threshold, key) in [(0.5, "expected"), (0.3, "expected_threshold_0.3")] {
                let task = Task::BinaryClassification { threshold };
                check(file, &Evaluation::of(task, &scores, &labels).unwrap(), &case[key]);
            }
        }
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
            "rows       4 (2 positive)\nroc_auc    0.7500\nlog_loss   0.6416\nbrier      0.2325\n\
             f1         0.5000\nprecision  0.5000\nrecall     0.5000\naccuracy   0.5000"
        );
    }

    #[test]
    fn metrics_that_do_not_exist_are_none() {
        let negatives = evaluate(&[0.1, 0.2], &[0.0, 0.0]);
        for metric in [Metric::RocAuc, Metric::Precision, Metric::Recall, Metric::F1] {
            assert_eq!(negatives.get(metric), None, "{metric}");
        }
        let positives = evaluate(&[0.1, 0.2], &[1.0, 1.0]);
        assert_eq!(positives.get(Metric::RocAuc), None);
        assert_eq!(positives.get(Metric::F1), Some(0.0));
        assert_eq!(positives.get(Metric::Recall), Some(0.0));
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
            for &metric in Metric::all() {
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
            for metric in [Metric::RocAuc, Metric::F1, Metric::Accuracy] {
                prop_assert_eq!(there.get(metric), back.get(metric));
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
