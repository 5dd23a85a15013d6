//! What is on record in the ledger: drift runs, alerts, decisions, retraining runs.
//!
//! Lists are newest first, a page at a time; single records and pages have an `ETag`. They are JSON
//! whatever `Accept` asks for.

mod page;

use ::axum::Json;
use ::axum::body::Body;
use ::axum::extract::rejection::PathRejection;
use ::axum::extract::{Path, State as Shared};
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use self::page::{Listed, Sent, Wanted, wanted};
pub(super) use self::page::{MOST as MOST_ITEMS, PATTERN as CURSOR_PATTERN};
use super::conditional;
use super::problem::{Detail, Problem};
use super::small_body::object;
use super::state::{Inner, State};
use crate::drift::Verdict;
use crate::ledger::{Alert, DriftRun, Ledger};
use crate::log::{Cursor, Page};
use crate::registry::{ModelName, VersionId};
use crate::{Error, ErrorKind, Timestamp, Window};

/// Longest text of what somebody did about an alert.
pub(super) const MOST_ACTION: usize = 2_000;

/// The message of a 400 of the acknowledgement.
const INVALID: &str = "Acknowledgement validation failed";

impl Inner {
    /// The ledger, or 404 where the owner has given none.
    pub(super) fn ledger(&self) -> Result<&dyn Ledger, Problem> {
        self.ledger.as_deref().ok_or_else(|| {
            let message = "This service has no ledger, so nothing is on record";
            Problem::new(StatusCode::NOT_FOUND, "no_ledger", message)
        })
    }

    /// `record` if it is of the model that is served.
    fn ours<T>(&self, record: T, model: &ModelName) -> Result<T, Problem> {
        if model == self.models.name() { Ok(record) } else { Err(not_on_record()) }
    }
}

fn not_on_record() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_on_record", "There is no such record")
}

/// The ledger could not do what was asked.
pub(super) fn of_ledger(error: &Error) -> Problem {
    if error.kind() == ErrorKind::NotFound {
        return not_on_record();
    }
    tracing::error!(error = error.chain(), "the ledger failed");
    Problem::busy("ledger_unavailable", "The ledger cannot be reached")
}

/// The id of a path.
pub(super) fn id_of(path: Result<Path<Uuid>, PathRejection>) -> Result<Uuid, Problem> {
    path.map(|Path(id)| id)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "invalid_id", "The id must be a UUID"))
}

/// A drift run in a list; the whole report is at its id.
#[derive(Debug, Serialize)]
struct RunSummary {
    id: Uuid,
    model: ModelName,
    version: VersionId,
    window: Window,
    created_at: Timestamp,
    verdict: Verdict,
    current_rows: u64,
    rejected_requests: u64,
    drifted: Vec<String>,
    // null where nothing could be compared
    max_psi: Option<f64>,
}

impl RunSummary {
    fn of(run: DriftRun) -> Self {
        let DriftRun { id, model, version, window, created_at, report } = run;
        Self {
            id,
            model,
            version,
            window,
            created_at,
            current_rows: report.current_rows,
            rejected_requests: report.rejected_requests,
            drifted: report.drifted().map(|feature| feature.name.clone()).collect(),
            max_psi: report.max_psi(),
            verdict: report.verdict,
        }
    }
}

pub(super) async fn latest_drift(
    Shared(state): Shared<State>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ledger = state.ledger()?;
    let _place = state.admit()?;
    let newest = ledger.drift_runs(state.models.name(), None, 1).await;
    match newest.map_err(|error| of_ledger(&error))?.items.first() {
        Some(run) => conditional::json(&headers, run),
        None => {
            let message = "The monitor has not looked yet, so nothing is known about drift";
            Err(Problem::new(StatusCode::NOT_FOUND, "no_drift_run", message))
        }
    }
}

pub(super) async fn drift_run(
    Shared(state): Shared<State>,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id_of(path)?;
    let ledger = state.ledger()?;
    let _place = state.admit()?;
    let run = ledger.drift_run(id).await.map_err(|error| of_ledger(&error))?;
    let model = run.model.clone();
    conditional::json(&headers, &state.ours(run, &model)?)
}

/// A list that is asked for, and who is asked.
struct Asked<'s> {
    wanted: Wanted,
    ledger: &'s dyn Ledger,
    model: &'s ModelName,
    // held until there is an answer
    _place: OwnedSemaphorePermit,
}

fn asked(state: &Inner, sent: Sent) -> Result<Asked<'_>, Problem> {
    let wanted = wanted(sent)?;
    let ledger = state.ledger()?;
    Ok(Asked { wanted, ledger, model: state.models.name(), _place: state.admit()? })
}

/// The answer with the records of `page` as `shown` shows them.
fn listed<T, S: Serialize>(
    headers: &HeaderMap,
    page: Result<Page<T>, Error>,
    shown: impl Fn(T) -> S,
) -> Result<Response, Problem> {
    let page = page.map_err(|error| of_ledger(&error))?;
    conditional::json(headers, &Listed::of(page, shown))
}

pub(super) async fn drift_runs(
    Shared(state): Shared<State>,
    sent: Sent,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked { wanted, ledger, model, _place } = asked(&state, sent)?;
    let page = ledger.drift_runs(model, wanted.before, wanted.limit).await;
    listed(&headers, page, RunSummary::of)
}

pub(super) async fn alerts(
    Shared(state): Shared<State>,
    sent: Sent,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked { wanted, ledger, model, _place } = asked(&state, sent)?;
    let Wanted { limit, before, open_only } = wanted;
    let page = if open_only {
        let place = |alert: &Alert| Cursor { at: alert.opened_at, id: alert.id };
        ledger.open_alerts(model).await.map(|mut open| {
            open.retain(|alert| before.is_none_or(|before| place(alert) < before));
            Page::first(open, limit, place)
        })
    } else {
        ledger.alerts(model, before, limit).await
    };
    listed(&headers, page, |alert| alert)
}

pub(super) async fn decisions(
    Shared(state): Shared<State>,
    sent: Sent,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked { wanted, ledger, model, _place } = asked(&state, sent)?;
    let page = ledger.decisions(model, wanted.before, wanted.limit).await;
    listed(&headers, page, |decision| decision)
}

pub(super) async fn retraining_runs(
    Shared(state): Shared<State>,
    sent: Sent,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked { wanted, ledger, model, _place } = asked(&state, sent)?;
    let page = ledger.retraining_runs(model, wanted.before, wanted.limit).await;
    listed(&headers, page, |run| run)
}

/// An acknowledgement as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    #[serde(default)]
    action_taken: Option<String>,
}

pub(super) async fn acknowledge(
    Shared(state): Shared<State>,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Alert>, Problem> {
    let id = id_of(path)?;
    let body = state.json_body(&headers, body).await?;
    let action = read(&body).map_err(|error| Problem::invalid(INVALID, vec![error], Vec::new()))?;
    let ledger = state.ledger()?;
    let _place = state.admit()?;
    let alert = ledger.alert(id).await.map_err(|error| of_ledger(&error))?;
    state.ours((), &alert.model)?;
    let now = state.clock.now();
    let alert = ledger.acknowledge_alert(id, action.as_deref(), now).await;
    let alert = alert.map_err(|error| of_ledger(&error))?;
    tracing::info!(alert = %id, "an alert was acknowledged");
    Ok(Json(alert))
}

/// What was done, or what is wrong with how it is told.
fn read(body: &[u8]) -> Result<Option<String>, Detail> {
    let Acknowledgement { action_taken } = object(body)?;
    let Some(action) = action_taken else { return Ok(None) };
    let refuse = |why: String| Err(Detail::new("/action_taken", "invalid_action", why));
    if action.chars().count() > MOST_ACTION {
        return refuse(format!("action_taken is longer than {MOST_ACTION} characters"));
    }
    // A NUL cannot be stored everywhere, and a terminal obeys the others.
    if action.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return refuse("action_taken has control characters".to_owned());
    }
    Ok(Some(action))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_plain_text_or_nothing() {
        assert_eq!(read(b"{}"), Ok(None));
        assert_eq!(read(br#"{"action_taken": null}"#), Ok(None));
        let told = br#"{"action_taken": "rolled back\nto v1"}"#;
        assert_eq!(read(told), Ok(Some("rolled back\nto v1".to_owned())));
        let long = format!(r#"{{"action_taken": "{}"}}"#, "x".repeat(MOST_ACTION + 1));
        for bad in [
            r#"{"action_taken": 1}"#,
            r#"{"action_taken": "\u0000"}"#,
            r#"{"action_taken": "\u001b[2J"}"#,
            r#"{"action": "x"}"#,
            r#"{"action_taken": "a", "action_taken": "b"}"#,
            "[]",
            "",
            &long,
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
