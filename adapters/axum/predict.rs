//! `POST /api/v1/predict`

use std::sync::Arc;

use ::axum::body::{Body, Bytes};
use ::axum::extract::State as Shared;
use ::axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::log_writer::{Item, NotTaken};
use super::models::Loaded;
use super::options::{Durability, RawFeatures, Scoring};
use super::problem::Problem;
use super::replay::{Claim, Outcome, Ticket, payload_of};
use super::request::PredictRequest;
use super::state::{Inner, State};
use crate::drift::Codes;
use crate::log::InferenceEvent;
use crate::model::{InvalidScore, Prediction};
use crate::record::Row;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;

/// The message of every 400 of this route, as the original had it.
pub(super) const INVALID: &str = "Inference payload validation failed";

/// Marks an answer that was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The answer, in the order in which it is written.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    request_id: Uuid,
    prediction: Predicted,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    model_name: &'a ModelName,
    model_version: VersionId,
    latency_ms: f64,
    warnings: &'a [String],
}

/// What the client asked for: the class, or the number of a regression.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Predicted {
    Class(u8),
    Number(f64),
}

/// A prediction that is still to be answered: forgotten if its request breaks off before the event
/// is handed over.
struct Claimed<'s> {
    state: &'s Inner,
    ticket: Arc<Ticket>,
    handed_over: bool,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if !self.handed_over {
            self.state.replay.abandon(&self.ticket);
        }
    }
}

pub(super) async fn predict(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = state.json_body(&headers, body).await?;
    let _place = state.admit()?;
    // The one version that this request sees.
    let model = state.model()?;
    let began = state.clock.elapsed();
    let request = PredictRequest::read(&model.model, &body);
    drop(body);
    let warnings = request.all_warnings();
    if !request.is_valid() {
        if request.is_ours {
            state.queue.push_rejected(&model, &request.violations);
        }
        tracing::info!(errors = request.violations.error_count(), "a request was refused");
        return Err(Problem::invalid(INVALID, request.details(), warnings));
    }
    let read = state.clock.elapsed().saturating_sub(began);

    let at = state.clock.now();
    let event_id = state.clock.id(at);
    let request_id = request.request_id.unwrap_or(event_id);
    if !warnings.is_empty() {
        tracing::warn!(%request_id, ?warnings, "a request has unknown features");
    }
    let payload = payload_of(&request.row);
    let ticket = match request.request_id {
        None => Ticket::new(event_id, payload),
        Some(id) => match claim(&state, id, payload).await? {
            Claimant::First(ticket) => ticket,
            Claimant::Again(body) => return Ok(replayed(body)),
        },
    };
    let mut claimed = Claimed { state: &state, ticket, handed_over: false };

    let began = state.clock.elapsed();
    let (scored, row) = score(&state, &model, request.row).await;
    let latency = read + state.clock.elapsed().saturating_sub(began);
    let (prediction, codes) = scored.map_err(|error| {
        let version = model.model.version();
        tracing::error!(%request_id, %version, %error, "a model answered no prediction");
        Problem::internal("model_output_invalid", "The model answered no valid prediction")
    })?;

    let (predicted, probability) = match prediction.label() {
        Some(class) => (Predicted::Class(class), Some(prediction.score())),
        None => (Predicted::Number(prediction.score()), None),
    };
    let answer = Answer {
        request_id,
        prediction: predicted,
        probability,
        model_name: model.model.name(),
        model_version: model.model.version(),
        latency_ms: super::millis(latency),
        warnings: &warnings,
    };
    // Finite numbers and texts: there is nothing that JSON could refuse.
    let answer = Bytes::from(serde_json::to_vec(&answer).unwrap_or_default());
    let mut event = InferenceEvent::new(event_id, request_id, at, prediction, latency, codes);
    let keeps_features = match state.raw_features {
        RawFeatures::Drop => false,
        RawFeatures::Keep => true,
        RawFeatures::Sample(sample) => sample.contains(request_id),
    };
    if keeps_features {
        event = event.with_features(row.to_json(model.model.schema()));
    }
    state.replay.weigh(&claimed.ticket, answer.len());
    let ticket = Arc::clone(&claimed.ticket);
    let item = Item { model, row, event, ticket: Arc::clone(&ticket), answer: answer.clone() };
    state.queue.push(item).map_err(not_taken)?;
    claimed.handed_over = true;

    match state.durability {
        Durability::Queued => {
            ticket.answer(answer.clone());
            Ok(json(answer))
        }
        Durability::Committed => committed(&state, &ticket, answer.len()).await.map(json),
    }
}

/// Scores a row where the owner wants it scored.
async fn score(
    state: &State,
    model: &Arc<Loaded>,
    row: Row,
) -> (Result<(Prediction, Codes), InvalidScore>, Row) {
    match state.scoring {
        Scoring::Inline => (model.model.predict(&row), row),
        Scoring::Blocking => {
            let model = Arc::clone(model);
            let work = tokio::task::spawn_blocking(move || (model.model.predict(&row), row));
            match work.await {
                Ok(scored) => scored,
                // As if it had run here: the layer that catches panics makes the answer.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }
}

/// Waits for the commit of an event.
async fn committed(state: &State, ticket: &Arc<Ticket>, bytes: usize) -> Result<Bytes, Problem> {
    match outcome(state, ticket).await {
        Some(Outcome::Answered(body)) => Ok(body),
        Some(Outcome::Abandoned) => {
            Err(Problem::internal("not_logged", "The log refused the prediction"))
        }
        None => {
            // Its id may have been made here; from now on the client knows it.
            state.replay.remember(ticket, bytes);
            Err(not_yet(ticket))
        }
    }
}

async fn outcome(state: &State, ticket: &Ticket) -> Option<Outcome> {
    let wait = tokio::time::timeout(state.limits.commit_timeout, ticket.outcome());
    wait.await.ok().cloned()
}

fn not_yet(ticket: &Ticket) -> Problem {
    let message = "The prediction is not in the log yet, and will be; send the request again with \
                   this request_id to get its answer";
    Problem::busy("not_logged_yet", message).of_request(ticket.request_id())
}

fn not_taken(why: NotTaken) -> Problem {
    match why {
        NotTaken::Full => Problem::busy("log_queue_full", "The log takes no more at the moment"),
        NotTaken::Closed => Problem::busy("draining", "The service is shutting down").closing(),
    }
}

enum Claimant {
    First(Arc<Ticket>),
    Again(Bytes),
}

/// Takes a client's id, or waits for the answer that it got.
async fn claim(state: &State, id: Uuid, payload: Fingerprint) -> Result<Claimant, Problem> {
    loop {
        let ticket = match state.replay.claim(id, payload) {
            Claim::New(ticket) => return Ok(Claimant::First(ticket)),
            Claim::Known(ticket) => ticket,
        };
        if ticket.payload() != payload {
            let message = "This request_id was used with other features";
            return Err(
                Problem::new(StatusCode::CONFLICT, "request_id_reused", message).of_request(id)
            );
        }
        match outcome(state, &ticket).await {
            Some(Outcome::Answered(body)) => return Ok(Claimant::Again(body)),
            // The first try came to nothing; this one is the first now.
            Some(Outcome::Abandoned) => {}
            None => return Err(not_yet(&ticket)),
        }
    }
}

fn json(body: Bytes) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], body).into_response()
}

fn replayed(body: Bytes) -> Response {
    let mut response = json(body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
