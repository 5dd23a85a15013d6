//! The operators' routes: what is on record, what can be started, metrics.

use serde_json::json;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::response::Response as Described;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{HeaderBuilder, RefOr, Required};

use super::super::idempotency::{ENTRIES, IDEMPOTENCY_KEY};
use super::super::records::{CURSOR_PATTERN, MOST_ITEMS};
use super::shapes;
use super::{
    body, busy, described, error, json_of, no_key, operation, read_whole, reference, with_body,
};

fn parameter(
    name: &str,
    place: ParameterIn,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> Parameter {
    let required = matches!(place, ParameterIn::Path);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(if required { Required::True } else { Required::False })
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn text_header(description: &str) -> utoipa::openapi::Header {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
}

/// An answer with the hash of its bytes.
fn tagged(mut answer: Described) -> Described {
    let header = text_header("Sent as If-None-Match, it is answered 304 while nothing has changed");
    answer.headers.insert("ETag".to_owned(), header.into());
    answer
}

/// A GET of something on record.
fn record(id: &str, summary: &str, what: &str, shape: &str) -> OperationBuilder {
    let etag = ObjectBuilder::new().schema_type(Type::String).build();
    operation(id, summary)
        .tag("records")
        .parameter(parameter("If-None-Match", ParameterIn::Header, "An ETag", etag))
        .response("200", tagged(json_of(what, shape)))
        .response("304", described("As it was", &[]))
        .response("404", error("It is not on record, or the service has no ledger"))
        .response("503", busy("The ledger cannot be reached, or there are too many requests"))
        .response("504", error("The request took too long"))
}

/// A GET of a page of records.
fn list(id: &str, summary: &str, shape: &str) -> OperationBuilder {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1_usize))
        .maximum(Some(MOST_ITEMS))
        .build();
    let cursor =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(CURSOR_PATTERN)).build();
    record(id, summary, "A page, newest first", shape)
        .parameter(parameter("limit", ParameterIn::Query, "Most items of the page", limit))
        .parameter(parameter("cursor", ParameterIn::Query, "`next` of the page before", cursor))
        .response("400", error("The limit or the cursor is none"))
}

fn path_id(of: &str) -> Parameter {
    parameter("id", ParameterIn::Path, of, shapes::id())
}

/// What everybody may ask who reaches the service.
pub(super) fn open() -> Vec<(&'static str, OperationBuilder)> {
    let state = shapes::one_of(&["open", "all"]);
    let state = parameter("state", ParameterIn::Query, "Only those that are not resolved", state);
    let described_as = |media: &str, what: &str, schema| described(what, &[(media, schema)]);
    let text: RefOr<Schema> = shapes::text().into();
    vec![
        (
            "/api/v1/drift/latest",
            record("drift_latest", "The latest drift run", "The run", "DriftRun").description(
                Some(
                    "404 `no_drift_run` before the first: nothing is known then, also not that \
                     there is no drift.",
                ),
            ),
        ),
        ("/api/v1/drift/runs", list("drift_runs", "What the monitor found", "DriftRuns")),
        (
            "/api/v1/drift/runs/{id}",
            record("drift_run", "One drift run", "The run", "DriftRun")
                .parameter(path_id("The run"))
                .response("400", error("The id is no UUID")),
        ),
        ("/api/v1/alerts", list("alerts", "Alerts", "Alerts").parameter(state)),
        ("/api/v1/decisions", list("decisions", "Decisions about production", "Decisions")),
        (
            "/api/v1/retraining-runs",
            list("retraining_runs", "Attempts to make a better version", "RetrainingRuns"),
        ),
        (
            "/metrics",
            operation("metrics", "Metrics as text, OpenMetrics 1.0")
                .tag("metrics")
                .response("200", described_as("application/openmetrics-text", "The metrics", text)),
        ),
        (
            "/metrics/json",
            operation("metrics_json", "The same metrics as JSON")
                .tag("metrics")
                .response("200", json_of("The metrics", "Metrics")),
        ),
    ]
}

/// A POST that can be sent again under a key.
pub(super) fn with_key(operation: OperationBuilder) -> OperationBuilder {
    let key =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!#-~]{1,255}$")).build();
    let about = format!(
        "Sent again with the same key, the request is not done again, and answered as it was. Each \
         process remembers its own latest {ENTRIES} keys, and none after a restart; what was \
         answered 500 or above is done again."
    );
    // The body is read, also where the route itself wants none.
    read_whole(operation)
        .parameter(parameter(IDEMPOTENCY_KEY.as_str(), ParameterIn::Header, &about, key))
        .response("409", error("Under way already, under this key or another"))
        .response("422", error("The key was used with another request"))
}

/// A job that was started.
fn accepted(operation: OperationBuilder) -> OperationBuilder {
    let mut answer = json_of("Begun", "Job");
    let location = text_header("Where to ask what became of it, relative to this route");
    answer.headers.insert("Location".to_owned(), location.into());
    with_key(operation)
        .response("202", answer)
        .response("404", error("The service has no operations to start"))
}

/// What needs the token.
pub(super) fn guarded() -> Vec<(&'static str, HttpMethod, OperationBuilder)> {
    let invalid = super::invalid;
    vec![
        (
            "/api/v1/drift/runs",
            HttpMethod::Post,
            accepted(operation("run_monitor", "Look for drift now"))
                .response("400", no_key())
                .response("503", busy("There is no thread for it")),
        ),
        (
            "/api/v1/retrain",
            HttpMethod::Post,
            accepted(with_body(operation("retrain", "Retrain, compare, and promote if better")))
                .request_body(Some(body(
                    reference("RetrainRequest"),
                    Some(json!({ "force": false })),
                )))
                .response("400", invalid("What is wrong with the request")),
        ),
        (
            "/api/v1/jobs/{id}",
            HttpMethod::Get,
            operation("job", "What became of what was started in this process")
                .parameter(path_id("The job"))
                .response("200", json_of("The job", "Job"))
                .response("400", error("The id is no UUID"))
                .response("404", error("This process knows no such job")),
        ),
        (
            "/api/v1/alerts/{id}/acknowledge",
            HttpMethod::Post,
            with_key(with_body(operation("acknowledge_alert", "Say that an alert is looked at")))
                .parameter(path_id("The alert"))
                .request_body(Some(body(
                    reference("Acknowledgement"),
                    Some(json!({ "action_taken": "rolled back to version 1" })),
                )))
                .response("200", json_of("The alert as it is now", "Alert"))
                .response("400", invalid("What is wrong with the request"))
                .response("404", error("There is no such alert, or no ledger")),
        ),
    ]
}
