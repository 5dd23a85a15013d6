//! `POST /api/v1/observations`, and [`Service::observe`]: predictions that were made elsewhere,
//! validated, binned, logged and watched like our own.

use std::sync::Arc;
use std::time::Duration;

use ::axum::body::Body;
use ::axum::extract::rejection::QueryRejection;
use ::axum::extract::{Query, State as Shared};
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::answer::{self, Given};
use super::loaded::Loaded;
use super::log_writer::NotTaken;
use super::origin::Origin;
use super::predict::INVALID;
use super::problem::{Detail, Problem};
use super::request::{Object, PredictRequest, request_id, shown};
use super::rows::{List, Options, Read};
use super::service::Service;
use super::state::State;
use crate::model::{Prediction, Task};
use crate::record::{DecodeError, Row, Target, Value};
use crate::schema::FeatureSchema;
use crate::validate::{FeatureValidator as _, Violations};

/// Longest time that a model can have taken; more is a mistake of units.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    #[serde(borrow)]
    observations: &'a RawValue,
}

/// One prediction as it is sent. A misspelt field is refused, not passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Observation<'a> {
    #[serde(default)]
    request_id: Option<String>,
    #[serde(borrow)]
    features: &'a RawValue,
    #[serde(default)]
    prediction: Option<f64>,
    #[serde(default)]
    probability: Option<f64>,
    #[serde(default)]
    latency_ms: Option<f64>,
    #[serde(default)]
    model_version: Option<String>,
}

static OBSERVATIONS: List = List {
    name: "observations",
    find: |text| serde_json::from_str(text).map(|Object(Sent { observations })| observations),
    read: read_one,
};

pub(super) async fn observe(
    Shared(state): Shared<State>,
    query: Result<Query<Options>, QueryRejection>,
    origin: Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    OBSERVATIONS.answer(&state, query, origin, &headers, body).await
}

/// Reads one observation, or says all that is wrong with it.
fn read_one(model: &Loaded, row: &RawValue, at: String) -> Read {
    let refuse = |errors| Err(Problem::invalid(INVALID, errors, Vec::new()));
    let Object(sent) = match serde_json::from_str::<Object<Observation<'_>>>(row.get()) {
        Ok(sent) => sent,
        Err(why) => {
            let why = DecodeError::from(&why);
            return refuse(vec![Detail::new(at, "invalid_observation", why.message())]);
        }
    };
    let version = model.model.version();
    if let Some(asked) = sent.model_version.filter(|asked| *asked != version.to_string()) {
        // The codes of a row are of one profile: that of the version in service.
        let asked = shown(&asked);
        let message = format!("{at}: version {asked:?} is not in service, version {version} is");
        return Err(Problem::new(StatusCode::CONFLICT, "version_not_in_service", message));
    }
    let mut errors = Vec::new();
    let mut wrong = |field: &str, code, why: String| {
        errors.push(Detail::new(format!("{at}/{field}"), code, why));
    };
    let task = model.model.model().task();
    let prediction = match prediction(task, sent.prediction, sent.probability) {
        Ok(prediction) => Some(prediction),
        Err((field, why)) => {
            wrong(field, "invalid_prediction", why);
            None
        }
    };
    let latency = sent.latency_ms.map(|millis| Duration::try_from_secs_f64(millis / 1e3));
    let latency = match latency {
        None => None,
        Some(Ok(latency)) if latency <= LONGEST => Some(latency),
        Some(_) => {
            let why = "latency_ms must be between 0 and 86400000".to_owned();
            wrong("latency_ms", "invalid_latency", why);
            None
        }
    };
    let id = match sent.request_id.as_deref().map(request_id).transpose() {
        Ok(id) => id,
        Err(why) => {
            wrong("request_id", "invalid_request_id", why.to_owned());
            None
        }
    };
    let mut request = PredictRequest::read_features(&model.model, sent.features.get(), at);
    request.request_id = id;
    request.errors.extend(errors);
    // Without a prediction there are errors, and with errors nobody asks for it.
    Ok((request, prediction.map(|prediction| Given { prediction, latency })))
}

impl Service {
    /// The schema of the rows of the version in service; `None` before the first was loaded.
    ///
    /// See [`observe`](Self::observe) for an example.
    #[must_use]
    pub fn schema(&self) -> Option<Arc<FeatureSchema>> {
        self.state.models.current().map(|model| Arc::clone(model.model.schema()))
    }

    /// Takes a prediction that was made elsewhere, by the version in service or another of its
    /// schema, and validates, bins, logs and watches it like our own: for handlers that are not
    /// ours. Returns the id under which it is logged, for its outcome.
    ///
    /// It waits for nothing: the event is in the queue then, and written as under
    /// [`Durability::Queued`](super::Durability::Queued). It is logged under the version in
    /// service, since its codes are of that version's profile. What is invalid is counted as a
    /// refused request.
    ///
    /// # Errors
    ///
    /// [`ObserveError`], and then it is not logged.
    ///
    /// ```
    /// use pmmds::axum::{ObserveError, Service};
    /// use pmmds::model::Prediction;
    /// use pmmds::record::decode_row;
    /// use pmmds::validate::Violations;
    ///
    /// /// In a handler of yours, after your model has answered `score`.
    /// fn after_scoring(service: &Service, features: &[u8], score: f64) {
    ///     let Some(schema) = service.schema() else { return };
    ///     let mut problems = Violations::new();
    ///     // What is wrong with single values is marked in the row, and refused below.
    ///     let Ok(row) = decode_row(&schema, features, &mut problems) else { return };
    ///     let Some(prediction) = Prediction::from_stored(score, Some(u8::from(score >= 0.5)))
    ///     else {
    ///         return;
    ///     };
    ///     match service.observe(&row, prediction) {
    ///         Ok(id) => println!("logged as {id}"),
    ///         Err(ObserveError::Invalid(errors)) => println!("refused: {}", errors.join("; ")),
    ///         Err(error) => println!("not logged: {error}"),
    ///     }
    /// }
    /// ```
    pub fn observe(&self, row: &Row, prediction: Prediction) -> Result<Uuid, ObserveError> {
        let state = &self.state;
        let model = state.models.current().ok_or(ObserveError::NoModel)?;
        let began = state.clock.elapsed();
        let schema = model.model.schema();
        if row.values().len() != schema.len() {
            let (have, need) = (row.values().len(), schema.len());
            let why = format!("the row has {have} values, the schema {need} features");
            return Err(ObserveError::Invalid(vec![why]));
        }
        let mut errors: Vec<String> = schema
            .features()
            .iter()
            .zip(row.values())
            .filter(|(_, value)| **value == Value::Invalid)
            .map(|(feature, _)| format!("Invalid value for {}", feature.name()))
            .collect();
        let mut violations = Violations::with_limit(schema.len());
        model.model.validator().validate(row, &mut violations);
        errors.extend(violations.errors().map(|violation| violation.message().to_owned()));
        if !errors.is_empty() {
            state.queue.push_rejected(&model, &violations);
            return Err(ObserveError::Invalid(errors));
        }
        let classes = model.model.model().task().target() == Target::Binary;
        if prediction.label().is_some() != classes {
            return Err(ObserveError::OtherTask);
        }
        let took = state.clock.elapsed().saturating_sub(began);
        let given = Given { prediction, latency: None };
        answer::observe(state, &model, row.clone(), given, took).map_err(|why| match why {
            NotTaken::Full => ObserveError::Full,
            NotTaken::Closed => ObserveError::Closed,
        })
    }
}

/// Why a prediction that was made elsewhere was not taken.
///
/// ```
/// use pmmds::axum::ObserveError;
/// assert_eq!(ObserveError::Full.to_string(), "the log takes no more at the moment");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// There is no profile to bin it by.
    #[error("no model is loaded")]
    NoModel,
    /// The row breaks rules of the schema: a sentence for each.
    #[error("the row is invalid: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A class was predicted where the version in service predicts a number, or a number where it
    /// predicts a class.
    #[error("the prediction is of another task than the version in service")]
    OtherTask,
    /// The queue of the log is full.
    #[error("the log takes no more at the moment")]
    Full,
    /// The service was shut down.
    #[error("the service is shutting down")]
    Closed,
}

/// The prediction that was sent for a model of this task.
fn prediction(
    task: Task,
    class: Option<f64>,
    probability: Option<f64>,
) -> Result<Prediction, (&'static str, String)> {
    let Task::BinaryClassification { .. } = task else {
        if probability.is_some() {
            return Err(("probability", "a model that predicts a number has none".to_owned()));
        }
        let number =
            class.ok_or(("prediction", "Missing required field: prediction".to_owned()))?;
        return task.prediction(number).map_err(|why| ("prediction", why.to_string()));
    };
    let missing = || ("probability", "Missing required field: probability".to_owned());
    let score = probability.ok_or_else(missing)?;
    let ours = task.prediction(score).map_err(|_| {
        ("probability", format!("probability must be between 0 and 1, not {score}"))
    })?;
    let label = match class {
        None => return Ok(ours),
        // Whoever has another threshold has another class.
        Some(class) if class.abs() <= 0.0 => 0,
        Some(class) if (class - 1.0).abs() <= 0.0 => 1,
        Some(class) => {
            return Err(("prediction", format!("prediction must be 0 or 1, not {class}")));
        }
    };
    let given = Prediction::from_stored(ours.score(), Some(label));
    given.ok_or_else(|| ("prediction", "it is no prediction".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_may_be_of_another_threshold() {
        let of = |class, probability| {
            let read = prediction(Task::binary(), class, probability);
            read.map(|p| (p.score().to_bits(), p.label())).map_err(|(field, _)| field)
        };
        let bits = 0.4_f64.to_bits();
        assert_eq!(of(None, Some(0.4)), Ok((bits, Some(0))));
        assert_eq!(of(Some(1.0), Some(0.4)), Ok((bits, Some(1))));
        assert_eq!(of(Some(1.0), None), Err("probability"));
        assert_eq!(of(Some(0.5), Some(0.4)), Err("prediction"));
        assert_eq!(of(None, Some(1.4)), Err("probability"));
        assert_eq!(of(None, None), Err("probability"));
    }

    #[test]
    fn a_number_has_no_probability() {
        let of = |number, probability| prediction(Task::Regression, number, probability);
        assert_eq!(of(Some(-2.5), None).map(|p| p.label()), Ok(None));
        assert_eq!(of(Some(1.0), Some(0.5)).unwrap_err().0, "probability");
        assert_eq!(of(None, None).unwrap_err().0, "prediction");
    }
}
