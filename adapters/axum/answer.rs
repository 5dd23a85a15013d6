//! The way of validated rows to their answers: claimed, scored, handed to the log, answered.
//!
//! One way for one row and for many: what a batch promises for each row is what a single
//! prediction promises.

use std::sync::Arc;
use std::time::Duration;

use ::axum::body::Bytes;
use ::axum::http::StatusCode;
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::loaded::Loaded;
use super::log_writer::{Item, NotTaken};
use super::options::{Durability, RawFeatures, Scoring};
use super::origin::Origin;
use super::problem::Problem;
use super::replay::{Claim, Outcome, Ticket, payload_of};
use super::state::{Inner, State};
use crate::drift::Codes;
use crate::log::{CorrelationId, InferenceEvent};
use crate::model::{InvalidScore, Prediction};
use crate::record::Row;
use crate::registry::{ModelName, VersionId};
use crate::schema::FeatureSchema;

/// The code of a prediction that was handed over, and is not committed in time.
pub(super) const NOT_LOGGED_YET: &str = "not_logged_yet";

/// A validated row on its way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request_id: Option<Uuid>,
    pub(super) row: Row,
    pub(super) warnings: Vec<String>,
    // made elsewhere: then nothing is scored here
    pub(super) given: Option<Given>,
}

/// A prediction that was made elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) prediction: Prediction,
    // None: the sender does not say, and the log has what it took here
    pub(super) latency: Option<Duration>,
}

/// What a row is answered.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) body: Bytes,
    // it was given before
    pub(super) replayed: bool,
}

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

/// A row that is claimed, with what it takes to score and to log it.
struct New<'s> {
    // its place among the rows
    index: usize,
    event_id: Uuid,
    request_id: Uuid,
    correlation_id: Option<CorrelationId>,
    claimed: Claimed<'s>,
    warnings: Vec<String>,
    given: Option<Given>,
}

/// Whether some rows may be answered where others are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Together {
    /// Each row for itself.
    Apart,
    /// A row that cannot be handed to the log keeps all others from it.
    Whole,
}

/// What rows are answered, in order.
pub(super) type Replies = Vec<Result<Reply, Problem>>;

/// Answers `asked`, in order, which came with one request; reading and validating them took `read`.
///
/// # Errors
///
/// The whole fails where the log has no room, and, if the rows belong together, where one of them
/// fails before it is handed over. Nothing is logged then: once a row was handed over, what fails
/// costs itself only.
pub(super) async fn answer(
    state: &State,
    model: &Arc<Loaded>,
    mut origin: Origin,
    asked: Vec<Asked>,
    read: Duration,
    together: Together,
) -> Result<Replies, Problem> {
    let mut replies: Vec<Option<Result<Reply, Problem>>> = asked.iter().map(|_| None).collect();
    let each = |time: Duration, rows: usize| time / u32::try_from(rows.max(1)).unwrap_or(u32::MAX);
    let read = each(read, asked.len());
    let mut open: Vec<(usize, Asked)> = asked.into_iter().enumerate().collect();
    // Only while no row was handed over the whole may fail.
    let mut untaken = true;
    while !open.is_empty() {
        let at = state.clock.now();
        let (mut new, mut rows) = (Vec::with_capacity(open.len()), Vec::with_capacity(open.len()));
        let mut known = Vec::new();
        for (index, asked) in open.drain(..) {
            match claim(state, model.model.schema(), at, &mut origin, index, asked) {
                Ok(Claimant::First(first, row)) => {
                    rows.push((row, first.given));
                    new.push(first);
                }
                Ok(Claimant::Again(ticket, asked)) => known.push((index, ticket, asked)),
                Err(problem) if untaken && together == Together::Whole => return Err(problem),
                Err(problem) => replies[index] = Some(Err(problem)),
            }
        }

        let began = state.clock.elapsed();
        let scored = score(state, model, rows).await?;
        let took = each(state.clock.elapsed().saturating_sub(began), new.len());
        let mut items = Vec::with_capacity(new.len());
        for (new, (row, scored)) in new.into_iter().zip(scored) {
            match scored {
                Ok(scored) => items.push(item(state, model, at, new, row, scored, read + took)),
                Err(error) => {
                    let (request_id, version) = (new.request_id, model.model.version());
                    tracing::error!(%request_id, %version, %error, "a model answered no prediction");
                    let message = "The model answered no valid prediction";
                    let problem = Problem::internal("model_output_invalid", message);
                    if untaken && together == Together::Whole {
                        return Err(problem);
                    }
                    replies[new.index] = Some(Err(problem));
                }
            }
        }

        let mut waiting = Vec::with_capacity(items.len());
        let mut room = match state.queue.reserve(items.len()) {
            Ok(room) => Some(room),
            Err(why) if untaken => return Err(not_taken(why)),
            Err(why) => {
                for (index, ..) in items.drain(..) {
                    replies[index] = Some(Err(not_taken(why)));
                }
                None
            }
        };
        for (index, mut claimed, item) in items {
            // There is some where there is an item.
            let Some(room) = &mut room else { break };
            if item.event.request_id != item.event.id {
                // The client gave it; one that was made here is not remembered.
                state.replay.weigh(&claimed.ticket, item.answer.len());
            }
            let (ticket, body) = (Arc::clone(&claimed.ticket), item.answer.clone());
            if let Some(shadow) = &state.shadow {
                shadow.offer(model, &item.row, &item.event);
            }
            room.push(item);
            claimed.handed_over = true;
            if state.durability == Durability::Queued {
                ticket.answer(body.clone());
            }
            waiting.push((index, ticket, body));
        }
        drop(room);
        untaken &= waiting.is_empty();

        // For all rows together no longer than for one.
        let deadline = Instant::now() + state.limits.commit_timeout;
        for (index, ticket, body) in waiting {
            let reply = match state.durability {
                Durability::Queued => Ok(body),
                Durability::Committed => committed(state, &ticket, body.len(), deadline).await,
            };
            replies[index] = Some(reply.map(|body| Reply { body, replayed: false }));
        }
        for (index, ticket, asked) in known {
            match outcome(&ticket, deadline).await {
                Some(Outcome::Answered(body)) => {
                    replies[index] = Some(Ok(Reply { body, replayed: true }));
                }
                // The first try came to nothing; this one is the first now.
                Some(Outcome::Abandoned) => open.push((index, asked)),
                None => replies[index] = Some(Err(not_yet(&ticket))),
            }
        }
    }
    // Each row has left `open` with a reply.
    Ok(replies.into_iter().flatten().collect())
}

/// Hands a prediction that was made elsewhere to the log, without waiting for anything; the id that
/// it got.
pub(super) fn observe(
    state: &Inner,
    model: &Arc<Loaded>,
    row: Row,
    given: Given,
    took: Duration,
) -> Result<Uuid, NotTaken> {
    let at = state.clock.now();
    let id = state.clock.id(at);
    let ticket = Ticket::new(id, payload_of(model.model.schema(), &row, Some(given.prediction)));
    let claimed = Claimed { state, ticket, handed_over: false };
    let scored = encoded(model, &row, given.prediction);
    let new = New {
        index: 0,
        event_id: id,
        request_id: id,
        correlation_id: None,
        claimed,
        warnings: Vec::new(),
        given: Some(given),
    };
    let mut room = state.queue.reserve(1)?;
    let (_, mut claimed, item) = item(state, model, at, new, row, scored, took);
    room.push(item);
    claimed.handed_over = true;
    Ok(id)
}

enum Claimant<'s> {
    First(New<'s>, Row),
    Again(Arc<Ticket>, Asked),
}

/// Takes the id that the client sent, or finds who has it; makes one where there is none.
fn claim<'s>(
    state: &'s Inner,
    schema: &FeatureSchema,
    at: crate::Timestamp,
    origin: &mut Origin,
    index: usize,
    asked: Asked,
) -> Result<Claimant<'s>, Problem> {
    let given = asked.given.map(|given| given.prediction);
    let payload = payload_of(schema, &asked.row, given);
    let ticket = match asked.request_id {
        None => None,
        Some(id) => match state.replay.claim(id, payload) {
            Claim::New(ticket) => Some(ticket),
            Claim::Known(ticket) if ticket.payload() == payload => {
                return Ok(Claimant::Again(ticket, asked));
            }
            Claim::Known(_) => {
                let message = "This request_id was used with other features";
                let problem = Problem::new(StatusCode::CONFLICT, "request_id_reused", message);
                return Err(problem.of_request(id));
            }
        },
    };
    let event_id = origin.event_id(at, &state.clock);
    let request_id = asked.request_id.unwrap_or(event_id);
    let ticket = ticket.unwrap_or_else(|| Ticket::new(event_id, payload));
    let claimed = Claimed { state, ticket, handed_over: false };
    let Asked { row, warnings, given, .. } = asked;
    let correlation_id = origin.correlation_id.clone();
    let new = New { index, event_id, request_id, correlation_id, claimed, warnings, given };
    Ok(Claimant::First(new, row))
}

type Scored = Result<(Prediction, Codes), InvalidScore>;

/// Scores rows where the owner wants them scored; those that were given are only encoded.
async fn score(
    state: &State,
    model: &Arc<Loaded>,
    rows: Vec<(Row, Option<Given>)>,
) -> Result<Vec<(Row, Scored)>, Problem> {
    match state.scoring {
        Scoring::Inline => Ok(predict_all(model, rows)),
        Scoring::Blocking => {
            let model = Arc::clone(model);
            super::joined(tokio::task::spawn_blocking(move || predict_all(&model, rows))).await
        }
    }
}

/// A prediction with the codes of its row.
fn encoded(model: &Loaded, row: &Row, prediction: Prediction) -> (Prediction, Codes) {
    (prediction, model.model.profile().encode(row, prediction.score()))
}

fn predict_all(model: &Loaded, rows: Vec<(Row, Option<Given>)>) -> Vec<(Row, Scored)> {
    let asked = rows.iter().filter(|(_, given)| given.is_none()).map(|(row, _)| row);
    let mut scored = model.model.predict_batch(asked).into_iter();
    let of = |(row, given): (Row, Option<Given>)| {
        let scored = match given {
            Some(given) => Ok(encoded(model, &row, given.prediction)),
            // There is one for each row that is asked for.
            None => scored.next()?,
        };
        Some((row, scored))
    };
    rows.into_iter().filter_map(of).collect()
}

/// A scored row as it goes to the log, with its answer.
fn item<'s>(
    state: &Inner,
    model: &Arc<Loaded>,
    at: crate::Timestamp,
    new: New<'s>,
    row: Row,
    (prediction, codes): (Prediction, Codes),
    took: Duration,
) -> (usize, Claimed<'s>, Item) {
    let New { index, event_id, request_id, correlation_id, claimed, warnings, given } = new;
    let latency = given.and_then(|given| given.latency).unwrap_or(took);
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
    event.correlation_id = correlation_id;
    let keeps_features = match state.raw_features {
        RawFeatures::Drop => false,
        RawFeatures::Keep => true,
        RawFeatures::Sample(sample) => sample.contains(request_id),
    };
    if keeps_features {
        event = event.with_features(row.to_json(model.model.schema()));
    }
    let ticket = Arc::clone(&claimed.ticket);
    let item = Item { model: Arc::clone(model), row, event, ticket, answer };
    (index, claimed, item)
}

/// Waits for the commit of an event.
async fn committed(
    state: &State,
    ticket: &Arc<Ticket>,
    bytes: usize,
    deadline: Instant,
) -> Result<Bytes, Problem> {
    match outcome(ticket, deadline).await {
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

async fn outcome(ticket: &Ticket, deadline: Instant) -> Option<Outcome> {
    tokio::time::timeout_at(deadline, ticket.outcome()).await.ok().cloned()
}

fn not_yet(ticket: &Ticket) -> Problem {
    let message = "The prediction is not in the log yet, and will be; send the request again with \
                   this request_id to get its answer";
    Problem::busy(NOT_LOGGED_YET, message).of_request(ticket.request_id())
}

fn not_taken(why: NotTaken) -> Problem {
    match why {
        NotTaken::Full => Problem::busy("log_queue_full", "The log takes no more at the moment"),
        NotTaken::Closed => Problem::busy("draining", "The service is shutting down").closing(),
    }
}
