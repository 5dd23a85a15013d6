//! A model that scores rows, and the trainer that makes one.
//!
//! Models are *data*: a [`ModelFormat`] rebuilds one from a document, and nothing that is loaded
//! is ever run. The serving side needs a [`Model`] only; a [`Trainer`] can live elsewhere.

mod cross_validation;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

pub use cross_validation::{Folds, FoldsError, MAX_FOLDS, out_of_fold_scores};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::record::{Batch, Dataset, Row, Target};
use crate::schema::FeatureSchema;

/// How far outside `[0, 1]` a probability may lie to be taken for a rounding error and clamped.
///
/// ```
/// use pmmds::model::{PROBABILITY_SLACK, Task};
/// assert_eq!(Task::binary().prediction(1.0 + PROBABILITY_SLACK / 2.0)?.score(), 1.0);
/// assert!(Task::binary().prediction(1.0 + PROBABILITY_SLACK * 2.0).is_err());
/// # Ok::<(), pmmds::model::InvalidScore>(())
/// ```
pub const PROBABILITY_SLACK: f64 = 1e-9;

/// What a model predicts, and so what its score means.
///
/// ```
/// use pmmds::model::Task;
/// let cautious = Task::BinaryClassification { threshold: 0.8 };
/// assert_eq!(cautious.prediction(0.7)?.label(), Some(0));
/// assert_eq!(Task::binary().prediction(0.7)?.label(), Some(1));
/// assert_eq!(Task::Regression.prediction(1_250.0)?.label(), None);
/// # Ok::<(), pmmds::model::InvalidScore>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Task {
    /// The score is the probability of the positive class; the label is 1 at or above `threshold`.
    BinaryClassification {
        /// in `[0, 1]`
        threshold: f64,
    },
    /// The score is the predicted number itself; there is no label.
    Regression,
}

impl Task {
    /// Binary classification with the usual threshold of 0.5.
    #[must_use]
    pub fn binary() -> Self {
        Self::BinaryClassification { threshold: 0.5 }
    }

    /// What an outcome is, and so the labels that such a model learns from.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// use pmmds::record::Target;
    /// assert_eq!(Task::binary().target(), Target::Binary);
    /// ```
    #[must_use]
    pub fn target(self) -> Target {
        match self {
            Self::BinaryClassification { .. } => Target::Binary,
            Self::Regression => Target::Number,
        }
    }

    /// The prediction that `score` stands for.
    ///
    /// # Errors
    ///
    /// [`InvalidScore`] for NaN, an infinity, or a probability outside `[0, 1]` by more than
    /// [`PROBABILITY_SLACK`]; such a score is never logged as a number.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// let prediction = Task::binary().prediction(0.73)?;
    /// assert_eq!((prediction.score(), prediction.label()), (0.73, Some(1)));
    /// assert_eq!(
    ///     Task::binary().prediction(f64::NAN).unwrap_err().to_string(),
    ///     "the model answered NaN, expected a probability between 0 and 1",
    /// );
    /// let prediction = Task::Regression.prediction(-12.5)?;
    /// assert_eq!((prediction.score(), prediction.label()), (-12.5, None));
    /// assert_eq!(
    ///     Task::Regression.prediction(f64::INFINITY).unwrap_err().to_string(),
    ///     "the model answered inf, expected a finite number",
    /// );
    /// # Ok::<(), pmmds::model::InvalidScore>(())
    /// ```
    pub fn prediction(self, score: f64) -> Result<Prediction, InvalidScore> {
        // + 0.0: no store has to keep the sign of a zero.
        match self {
            Self::BinaryClassification { threshold } => {
                if !(-PROBABILITY_SLACK..=1.0 + PROBABILITY_SLACK).contains(&score) {
                    return Err(InvalidScore { score, expected: A_PROBABILITY });
                }
                let score = score.clamp(0.0, 1.0) + 0.0;
                Ok(Prediction { score, label: Some(u8::from(score >= threshold)) })
            }
            Self::Regression if score.is_finite() => {
                Ok(Prediction { score: score + 0.0, label: None })
            }
            Self::Regression => Err(InvalidScore { score, expected: A_NUMBER }),
        }
    }

    /// Checks that `outcome` can be what really happened.
    ///
    /// # Errors
    ///
    /// [`InvalidOutcome`] for anything but 1 and 0 of a binary target, and for anything but a
    /// finite number of a regression's.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// assert!(Task::binary().check_outcome(1.0).is_ok());
    /// assert_eq!(
    ///     Task::binary().check_outcome(0.5).unwrap_err().to_string(),
    ///     "outcome 0.5 is not possible, expected 0 or 1",
    /// );
    /// assert!(Task::Regression.check_outcome(0.5).is_ok());
    /// assert_eq!(
    ///     Task::Regression.check_outcome(f64::NAN).unwrap_err().to_string(),
    ///     "outcome NaN is not possible, expected a finite number",
    /// );
    /// ```
    pub fn check_outcome(self, outcome: f64) -> Result<(), InvalidOutcome> {
        let expected = self.target();
        if expected.accepts(outcome) { Ok(()) } else { Err(InvalidOutcome { outcome, expected }) }
    }
}

const A_PROBABILITY: &str = "a probability between 0 and 1";
const A_NUMBER: &str = "a finite number";

/// What was sent as ground truth is none for this task.
///
/// ```
/// use pmmds::model::Task;
/// assert!(Task::binary().check_outcome(1.0).is_ok());
/// assert_eq!(
///     Task::binary().check_outcome(0.5).unwrap_err().to_string(),
///     "outcome 0.5 is not possible, expected 0 or 1",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("outcome {outcome} is not possible, expected {expected}")]
pub struct InvalidOutcome {
    outcome: f64,
    expected: Target,
}

/// What a model answered for one row.
///
/// ```
/// use pmmds::model::Task;
/// let prediction = Task::binary().prediction(0.73)?;
/// assert_eq!((prediction.score(), prediction.label()), (0.73, Some(1)));
/// assert_eq!(serde_json::to_string(&prediction)?, r#"{"score":0.73,"label":1}"#);
///
/// let prediction = Task::Regression.prediction(1_250.5)?;
/// assert_eq!((prediction.score(), prediction.label()), (1_250.5, None));
/// assert_eq!(serde_json::to_string(&prediction)?, r#"{"score":1250.5}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PredictionFields")]
pub struct Prediction {
    // finite, not -0.0; a probability in [0, 1] where there is a label
    score: f64,
    // 0 or 1; None for a task without classes
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<u8>,
}

impl Prediction {
    /// The prediction that was stored as these two numbers; `None` for what [`Task::prediction`]
    /// never makes.
    ///
    /// ```
    /// use pmmds::model::{Prediction, Task};
    /// let prediction = Task::binary().prediction(0.73)?;
    /// let stored = (prediction.score(), prediction.label());
    /// assert_eq!(Prediction::from_stored(stored.0, stored.1), Some(prediction));
    /// assert_eq!(Prediction::from_stored(1.5, Some(1)), None);
    ///
    /// assert!(Prediction::from_stored(1.5, None).is_some());
    /// assert_eq!(Prediction::from_stored(f64::NAN, None), None);
    /// # Ok::<(), pmmds::model::InvalidScore>(())
    /// ```
    #[must_use]
    pub fn from_stored(score: f64, label: Option<u8>) -> Option<Self> {
        let possible = match label {
            Some(label) => (0.0..=1.0).contains(&score) && label <= 1,
            None => score.is_finite(),
        };
        possible.then_some(Self { score: score + 0.0, label })
    }

    /// The score: for binary classification the probability of the positive class, for a
    /// regression the predicted number.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.score
    }

    /// The predicted class, 0 or 1; `None` for a regression.
    #[must_use]
    pub fn label(&self) -> Option<u8> {
        self.label
    }
}

// The stored form; reading goes through `Prediction::from_stored`.
#[derive(Deserialize)]
struct PredictionFields {
    score: f64,
    label: Option<u8>,
}

impl TryFrom<PredictionFields> for Prediction {
    type Error = InvalidScore;

    fn try_from(fields: PredictionFields) -> Result<Self, InvalidScore> {
        let expected = if fields.label.is_some() { A_PROBABILITY } else { A_NUMBER };
        let invalid = InvalidScore { score: fields.score, expected };
        Self::from_stored(fields.score, fields.label).ok_or(invalid)
    }
}

/// A model answered what is no prediction.
///
/// ```
/// use pmmds::model::Task;
/// assert_eq!(
///     Task::binary().prediction(1.5).unwrap_err().to_string(),
///     "the model answered 1.5, expected a probability between 0 and 1",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the model answered {score}, expected {expected}")]
pub struct InvalidScore {
    score: f64,
    // what the task takes
    expected: &'static str,
}

/// Scores rows of one schema.
///
/// # Contract
///
/// * Pure: the same row gives the same score, bit for bit, alone or in a batch.
/// * Total for validated rows: missing values of nullable features and
///   [`LevelId::OTHER`](crate::schema::LevelId::OTHER) are scored, not refused. What is no
///   prediction is caught by [`Task::prediction`].
///
/// # Implementing
///
/// ```
/// use std::sync::Arc;
/// use pmmds::model::{Model, Task};
/// use pmmds::record::{Row, Value};
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// /// Churn falls with tenure, and with nothing else.
/// #[derive(Debug)]
/// struct ByTenure(Arc<FeatureSchema>);
///
/// impl Model for ByTenure {
///     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
///     fn task(&self) -> Task { Task::binary() }
///     fn score(&self, row: &Row) -> f64 {
///         match row.values()[0] {
///             Value::Number(months) => 1.0 / (1.0 + months),
///             _ => 0.5,
///         }
///     }
/// }
///
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure")])?);
/// let mut row = Row::missing(&schema);
/// row.set(schema.id("tenure").unwrap(), Value::Number(3.0));
/// assert_eq!(ByTenure(schema).score(&row), 0.25);
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
pub trait Model: Debug + Send + Sync {
    /// The schema of the rows that it scores.
    fn schema(&self) -> &Arc<FeatureSchema>;

    /// What the score means.
    fn task(&self) -> Task;

    /// The score of one row. Must not allocate.
    fn score(&self, row: &Row) -> f64;

    /// The score of every row of `batch`, in order.
    fn score_batch(&self, batch: &Batch<'_>) -> Vec<f64> {
        (0..batch.rows()).map(|row| self.score(&batch.row(row))).collect()
    }
}

/// Hears how far a long computation is.
///
/// ```
/// use pmmds::model::Progress;
///
/// /// Prints where it is.
/// struct Printed;
///
/// impl Progress for Printed {
///     fn step(&self, what: &str, done: u64, total: u64) {
///         println!("{what}: {done} of {total}");
///     }
/// }
/// let progress: &dyn Progress = &Printed; // `&()` where nobody listens
/// progress.step("folds", 1, 5);
/// ```
pub trait Progress: Send + Sync {
    /// `done` of `total` steps of `what` are behind us.
    fn step(&self, what: &str, done: u64, total: u64);
}

/// Nobody listens.
impl Progress for () {
    fn step(&self, _: &str, _: u64, _: u64) {}
}

/// A model with the document it can be rebuilt from.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::model::{Model, Task, TrainedModel};
/// use pmmds::record::Row;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// /// Answers the same whatever it is asked.
/// #[derive(Debug)]
/// struct Constant(Arc<FeatureSchema>, f64);
///
/// impl Model for Constant {
///     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
///     fn task(&self) -> Task { Task::binary() }
///     fn score(&self, _: &Row) -> f64 { self.1 }
/// }
///
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
/// let trained = TrainedModel::new(Arc::new(Constant(schema, 0.25)), "constant.v1", b"0.25".to_vec())
///     .param("seed", 7);
/// assert_eq!(trained.params["seed"], "7");
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrainedModel {
    /// the model, ready to score
    pub model: Arc<dyn Model>,
    /// name of the [`ModelFormat`] that reads `document`
    pub format: String,
    /// the model as data
    pub document: Vec<u8>,
    /// the settings it was trained with, for the record
    pub params: BTreeMap<String, String>,
    /// the same model in formats of others, by file name; nothing reads them back
    pub companions: BTreeMap<String, Vec<u8>>,
}

impl TrainedModel {
    /// A trained model without params and companions.
    pub fn new(model: Arc<dyn Model>, format: impl Into<String>, document: Vec<u8>) -> Self {
        let (params, companions) = (BTreeMap::new(), BTreeMap::new());
        Self { model, format: format.into(), document, params, companions }
    }

    /// The same model with one more setting on record.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.params.insert(name.into(), value.to_string());
        self
    }

    /// The same model with one more file beside its document: the model once more, in a format
    /// that others read.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::model::{Model, Task, TrainedModel};
    /// # use pmmds::record::Row;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # #[derive(Debug)]
    /// # struct Half(Arc<FeatureSchema>);
    /// # impl Model for Half {
    /// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
    /// #     fn task(&self) -> Task { Task::binary() }
    /// #     fn score(&self, _: &Row) -> f64 { 0.5 }
    /// # }
    /// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let trained = TrainedModel::new(Arc::new(Half(schema)), "half.v1", b"{}".to_vec())
    ///     .companion("model.pmml", b"<PMML/>".to_vec());
    /// assert_eq!(trained.companions["model.pmml"], b"<PMML/>");
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    #[must_use]
    pub fn companion(mut self, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.companions.insert(name.into(), bytes);
        self
    }
}

/// Fits a model to labelled rows.
///
/// # Contract
///
/// * Deterministic: the same data set gives the same model, bit for bit.
/// * Data that cannot be learned from (no rows, one class, a [target](Dataset::target) of another
///   kind than the model's task) is an [`InvalidInput`](crate::ErrorKind::InvalidInput) that says
///   why.
/// * The document rebuilds the model: scores agree bit for bit.
/// # Implementing
///
/// The base rate as a model, which every other has to beat; `Constant` answers one number.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::model::{Model, ModelFormat, Progress, Task, TrainedModel, Trainer};
/// use pmmds::record::{Dataset, Row};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::{Error, ErrorKind};
///
/// # #[derive(Debug)]
/// # struct Constant(Arc<FeatureSchema>, f64);
/// # impl Model for Constant {
/// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
/// #     fn task(&self) -> Task { Task::binary() }
/// #     fn score(&self, _: &Row) -> f64 { self.1 }
/// # }
/// #[derive(Debug)]
/// struct BaseRate;
///
/// impl Trainer for BaseRate {
///     fn name(&self) -> &str { "base_rate" }
///     fn fit(&self, data: &Dataset, _: &dyn Progress) -> Result<TrainedModel, Error> {
///         if data.rows() == 0 {
///             return Err(Error::new(ErrorKind::InvalidInput, "base_rate", "there are no rows"));
///         }
///         let rate = data.labels().iter().sum::<f64>() / data.rows() as f64;
///         let model = Arc::new(Constant(Arc::clone(data.schema()), rate));
///         Ok(TrainedModel::new(model, "constant.v1", rate.to_string().into_bytes()))
///     }
/// }
///
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
/// let mut data = Dataset::new(Arc::clone(&schema));
/// data.push(&Row::missing(&schema), 1.0, "a");
/// data.push(&Row::missing(&schema), 0.0, "b");
/// let trained = BaseRate.fit(&data, &())?;
/// assert_eq!(trained.model.score(&Row::missing(&schema)), 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Trainer: Debug + Send + Sync {
    /// Name of the kind of model, such as `"logistic_regression"`.
    fn name(&self) -> &str;

    /// Fits a model to `data`.
    fn fit(&self, data: &Dataset, progress: &dyn Progress) -> Result<TrainedModel, Error>;
}

/// Rebuilds models from documents of one format.
///
/// # Contract
///
/// * A document is data from a stranger: anything malformed is
///   [`Corrupt`](crate::ErrorKind::Corrupt), never a panic, never code that runs.
/// # Implementing
///
/// The other half of the example of [`Trainer`].
///
/// ```
/// use std::sync::Arc;
/// use pmmds::model::{Model, ModelFormat, Task};
/// use pmmds::record::Row;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::{Error, ErrorKind};
///
/// # #[derive(Debug)]
/// # struct Constant(Arc<FeatureSchema>, f64);
/// # impl Model for Constant {
/// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
/// #     fn task(&self) -> Task { Task::binary() }
/// #     fn score(&self, _: &Row) -> f64 { self.1 }
/// # }
/// #[derive(Debug)]
/// struct ConstantFormat;
///
/// impl ModelFormat for ConstantFormat {
///     fn name(&self) -> &str { "constant.v1" }
///     fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
///         let rate = std::str::from_utf8(document).ok().and_then(|text| text.parse().ok());
///         let rate = rate.filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(|| {
///             Error::new(ErrorKind::Corrupt, "constant", "the document is no probability")
///         })?;
///         Ok(Arc::new(Constant(Arc::clone(schema), rate)))
///     }
/// }
///
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
/// assert_eq!(ConstantFormat.load(b"0.25", &schema)?.score(&Row::missing(&schema)), 0.25);
/// let error = ConstantFormat.load(b"rm -rf", &schema).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ModelFormat: Debug + Send + Sync {
    /// Name of the format, such as `"pmmds.linear.v1"`.
    fn name(&self) -> &str;

    /// Rebuilds the model in `document`, which scores rows of `schema`.
    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error>;
}

const _: (Option<&dyn Model>, Option<&dyn Progress>) = (None, None);
const _: (Option<&dyn Trainer>, Option<&dyn ModelFormat>) = (None, None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_clamped_only_within_rounding() {
        let task = Task::binary();
        assert!(task.prediction(1.0 + 1e-10).unwrap().score() <= 1.0);
        assert!(task.prediction(-1e-10).unwrap().score() >= 0.0);
        for bad in [1.000_001, -0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(task.prediction(bad).is_err(), "{bad}");
        }
        assert_eq!(task.prediction(0.5).unwrap().label(), Some(1));
        assert!(task.prediction(-0.0).unwrap().score().is_sign_positive());
    }

    #[test]
    fn a_regression_predicts_any_number() {
        for score in [f64::MIN, -1.5, 5e-324, 1.0 + 1e-10, f64::MAX] {
            let prediction = Task::Regression.prediction(score).unwrap();
            assert_eq!((prediction.score().to_bits(), prediction.label()), (score.to_bits(), None));
        }
        assert!(Task::Regression.prediction(-0.0).unwrap().score().is_sign_positive());
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Task::Regression.prediction(bad).is_err(), "{bad}");
            assert!(Task::Regression.check_outcome(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_stored_forms_of_the_tasks() {
        for (task, json) in [
            (Task::binary(), r#"{"kind":"binary_classification","threshold":0.5}"#),
            (Task::Regression, r#"{"kind":"regression"}"#),
        ] {
            assert_eq!(serde_json::to_string(&task).unwrap(), json);
            assert_eq!(serde_json::from_str::<Task>(json).unwrap(), task);
        }
    }

    #[test]
    fn what_no_model_answers_is_not_read_back() {
        let read = |json: &str| serde_json::from_str::<Prediction>(json).is_ok();
        assert!(read(r#"{"score":0.25,"label":1}"#));
        assert!(!read(r#"{"score":1.5,"label":1}"#));
        assert!(!read(r#"{"score":0.25,"label":2}"#));
        assert!(read(r#"{"score":1.5}"#));
        assert!(!read(r#"{"score":1e999}"#));
    }
}
