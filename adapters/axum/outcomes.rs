//! `POST /api/v1/outcomes`

use ::axum::Json;
use ::axum::body::Body;
use ::axum::extract::State as Shared;
use ::axum::http::HeaderMap;
use serde::Deserialize;

use super::options::RejectedValues;
use super::problem::{Detail, Problem};
use super::request::{Object, misshapen, readable, request_id};
use super::state::State;
use crate::Timestamp;
use crate::log::{Outcome, OutcomeReceipt};
use crate::model::Task;

/// The message of every 400 of this route.
const INVALID: &str = "Outcome validation failed";

/// One outcome as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    request_id: String,
    outcome: f64,
    #[serde(default)]
    observed_at: Option<String>,
}

pub(super) async fn record(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<OutcomeReceipt>, Problem> {
    let body = state.json_body(&headers, body).await?;
    let _place = state.admit()?;
    let task = state.model()?.model.model().task();
    let outcomes = read(task, &body, state.rejected_values)
        .map_err(|errors| Problem::invalid(INVALID, errors, Vec::new()))?;
    if outcomes.is_empty() {
        return Ok(Json(OutcomeReceipt::default()));
    }
    match state.log.record_outcomes(&outcomes).await {
        Ok(receipt) => Ok(Json(receipt)),
        Err(error) => Err(Problem::of_log(&error)),
    }
}

/// Reads all outcomes, or says all that is wrong with them.
fn read(task: Task, body: &[u8], values: RejectedValues) -> Result<Vec<Outcome>, Vec<Detail>> {
    let shown = values == RejectedValues::Show;
    let text = readable(body).map_err(|error| vec![error])?;
    let sent = serde_json::from_str::<Vec<Object<Sent>>>(text);
    let sent = sent.map_err(|error| vec![misshapen(&error)])?;
    let mut errors = Vec::new();
    let mut outcomes = Vec::with_capacity(sent.len());
    for (index, Object(sent)) in sent.into_iter().enumerate() {
        let Sent { request_id: id, outcome, observed_at } = sent;
        let mut refuse = |field: &str, code, why: String| {
            let message = format!("Outcome {index}: {why}");
            errors.push(Detail::new(format!("/{index}/{field}"), code, message));
        };
        let id = request_id(&id)
            .map_err(|why| refuse("request_id", "invalid_request_id", why.to_owned()));
        if let Err(why) = task.check_outcome(outcome) {
            let hidden = || format!("outcome is not possible, expected {}", task.target());
            let why = if shown { why.to_string() } else { hidden() };
            refuse("outcome", "invalid_outcome", why);
        }
        let observed_at = observed_at.map(|text| text.parse::<Timestamp>()).transpose();
        let observed_at = observed_at.map_err(|why| {
            let hidden = || "observed_at must be an RFC 3339 timestamp".to_owned();
            let why = if shown { why.to_string() } else { hidden() };
            refuse("observed_at", "invalid_time", why);
        });
        if let (Ok(request_id), Ok(observed_at)) = (id, observed_at) {
            outcomes.push(Outcome { request_id, outcome, observed_at });
        }
    }
    if errors.is_empty() { Ok(outcomes) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told() {
        let body = br#"[
            {"request_id": "0195f3a0-0000-7000-8000-00000000002a", "outcome": 1},
            {"request_id": "x", "outcome": 0.5, "observed_at": "yesterday"}
        ]"#;
        let errors = read(Task::binary(), body, RejectedValues::Show).unwrap_err();
        let pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/1/request_id", "/1/outcome", "/1/observed_at"]);
        assert_eq!(errors[0].message, "Outcome 1: request_id must be a UUID");
    }

    #[test]
    fn the_outcome_of_a_regression_is_any_number() {
        let body = br#"[{"request_id": "0195f3a0-0000-7000-8000-00000000002a", "outcome": -2.5}]"#;
        let outcome = read(Task::Regression, body, RejectedValues::Show).unwrap()[0].outcome;
        assert_eq!(outcome.to_bits(), (-2.5_f64).to_bits());
        let errors = read(Task::binary(), body, RejectedValues::Show).unwrap_err();
        let message = "Outcome 0: outcome -2.5 is not possible, expected 0 or 1";
        assert_eq!(errors[0].message, message);
        let infinite =
            br#"[{"request_id": "0195f3a0-0000-7000-8000-00000000002a", "outcome": 1e999}]"#;
        let errors = read(Task::Regression, infinite, RejectedValues::Show).unwrap_err();
        assert_eq!(errors[0].code, "invalid_json", "{errors:?}");
    }

    #[test]
    fn a_typo_is_not_ignored() {
        let body = br#"[{"request_id": "0195f3a0-0000-7000-8000-00000000002a", "outcome": 1, "observedAt": "2026-03-01T12:00:00Z"}]"#;
        let errors = read(Task::binary(), body, RejectedValues::Show).unwrap_err();
        assert!(errors[0].message.contains("observedAt"), "{errors:?}");
        assert!(read(Task::binary(), b"{}", RejectedValues::Show).is_err());
        assert!(read(Task::binary(), b"[]", RejectedValues::Show).unwrap().is_empty());
    }
}
