//! The HTTP service: predictions, validated and logged, with the model swapped underneath.
//!
//! [`ServiceBuilder`] takes a log, a registry and the formats of models; [`Service`] gives routers
//! to mount anywhere, or [serves](Service::serve) them.
//!
//! | route | |
//! |---|---|
//! | `POST /api/v1/predict` | `{"request_id"?: uuid, "features": {...}}` |
//! | `POST /api/v1/predict/batch` | `{"instances": [{...}, ...]}`; `?atomic=true` fails whole |
//! | `GET /model` | the version in service, and whether the registry or a cache gave it |
//! | `GET /healthz`, `/livez`, `/ready`, `/readyz` | health; `?verbose` lists each check |
//! | `GET /openapi.json`, `/docs` | the API, made from the schema of the version in service |
//! | `GET /api/v1/drift/live` | ops: drift of what this process has answered lately, as it is now |
//! | `GET /api/v1/shadow` | ops: a version that runs beside the one in service, compared with it |
//! | `GET /api/v1/drift/latest`, `/api/v1/drift/runs`, `/api/v1/drift/runs/{id}` | ops: what the monitor found |
//! | `GET /api/v1/alerts`, `/api/v1/decisions`, `/api/v1/retraining-runs` | ops: what is on record, newest first |
//! | `GET /metrics`, `/metrics/json` | ops: what this process has done, for Prometheus and as JSON |
//! | `POST /model/reload` | admin: bring the version behind the alias into service |
//! | `POST /api/v1/observations` | admin: predictions that were made elsewhere |
//! | `POST /api/v1/outcomes` | admin: what really happened |
//! | `/v2/...` | feature `oip`: the Open Inference Protocol (KServe V2) |
//! | `POST /invocations`, `GET /ping`, `/version` | feature `mlflow-scoring`: MLflow's scoring server |
//! | `POST /api/v1/drift/runs`, `POST /api/v1/retrain` | admin: start the [`Operations`] of the owner |
//! | `GET /api/v1/jobs/{id}` | admin: what became of what was started |
//! | `POST /api/v1/alerts/{id}/acknowledge` | admin: `{"action_taken"?: text}` |
//!
//! # Promises
//!
//! * **An answered prediction is in the log, once.** [`Durability`] says when an answer may leave;
//!   what cannot be taken in is answered 503, and a batch that fails is sent again under its id
//!   until the store has it. An answer of 503 `not_logged_yet` means: the event *will* be written,
//!   and the same request with the `request_id` in that answer gets the prediction.
//! * **The serving model never gets worse by an outage.** A version comes in verified or not at
//!   all; a reload has a deadline, and every request sees exactly one version. A start while the
//!   registry is away serves what a [cache](ServiceBuilder::model_cache) has kept, and says so.
//! * **Bad input never harms.** Everything that is wrong is told at once, every buffer is bounded,
//!   a panic costs one request. Only requests for the admin routes with the token, or from this
//!   machine where there is none, can change anything.
//! * **No time but the store's.** Events carry the time of the log's clock
//!   ([`InferenceLog::now`](crate::log::InferenceLog::now)), read at the start and at every health
//!   check, and a monotonic clock in between. A service that is to start while the store behind its
//!   log is away takes [another clock](ServiceBuilder::clock_meanwhile) until it answers, and says so.
//!
//! The service makes no runtime and no tracing subscriber; it uses those of the application.
//!
//! # From an answer to its row
//!
//! Every answer has an `x-request-id`, which is also in the span of its log lines. Where the client
//! sent one, of at most 128 letters, digits, `.`, `_` and `-`, it is that one, and the
//! [`correlation_id`](crate::log::InferenceEvent::correlation_id) of every row that the request
//! made. Otherwise it is made here, and is the [`id`](crate::log::InferenceEvent::id) of the row; of
//! a batch, of the first row that is logged, and the answer names each by its `request_id`.
//!
//! # Traces
//!
//! With the feature `otel` a request continues the trace that its `traceparent` names (W3C Trace
//! Context; one that is malformed is ignored), its span says what OpenTelemetry asks of an HTTP
//! server, and its log lines say the `trace_id`. A trace that is kept, and a request that the client
//! has no `x-request-id` for, is the `correlation_id` of the rows. Under an application's own span
//! of the request ours is its child.
//!
//! Where spans go is the application's: it puts the layer of `tracing-opentelemetry` 0.34, with the
//! tracer of `opentelemetry_sdk` 0.33, under its subscriber, as `examples/full_stack/telemetry.rs`
//! does. No global tracer or propagator is set or asked for.

mod answer;
mod auth;
mod batch;
mod clock;
mod conditional;
mod docs;
mod envelope;
#[cfg(any(feature = "oip", feature = "mlflow-scoring"))]
mod foreign;
mod health;
mod idempotency;
mod jobs;
mod lasting;
mod live;
mod loaded;
mod log_writer;
mod metrics;
#[cfg(feature = "mlflow-scoring")]
mod mlflow_scoring;
mod model_cache;
mod models;
mod observations;
#[cfg(feature = "oip")]
mod oip;
mod openapi;
mod operations;
mod options;
mod origin;
#[cfg(feature = "otel")]
mod otel;
mod outcomes;
mod predict;
mod problem;
mod records;
mod reload_error;
mod replay;
mod request;
mod routes;
mod rows;
mod serve;
mod service;
mod shadow;
mod skew;
mod small_body;
mod state;
#[cfg(not(feature = "otel"))]
mod untraced;

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::Error;

pub use auth::TOKEN_CHARS;
pub use live::LiveReport;
pub use loaded::{ModelInfo, ModelSource, Reloaded};
pub use log_writer::LogAccount;
pub use observations::ObserveError;
pub use operations::{JobEnd, Operations};
pub use options::{Durability, Limits, RawFeatures, RejectedValues, Scoring};
pub use reload_error::ReloadError;
pub use service::{Service, ServiceBuilder};
pub use shadow::{Shadow, ShadowReport};
pub use skew::SkewAlerts;

/// What work in a task of its own, or off the threads that answer, comes to.
///
/// # Errors
///
/// 503 where it was cancelled, as the runtime does when it goes down.
async fn joined<T>(task: JoinHandle<T>) -> Result<T, problem::Problem> {
    match task.await {
        Ok(done) => Ok(done),
        // As if it had run here: the layer that catches panics makes the answer.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(problem::Problem::busy("draining", "The service is shutting down")),
    }
}

/// What everybody may know of `error`: who failed, and how. What was tried, and why it did not go, is
/// for the log: it names hosts, paths, and what drivers say.
fn told(error: &Error) -> String {
    format!("{}: {}", error.component(), error.kind())
}

/// Milliseconds with three digits: microseconds are as fine as a clock can be trusted.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn cancelled_work_is_no_panic() {
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        assert_eq!(super::joined(task).await.unwrap_err().code(), "draining");
        assert_eq!(super::joined(tokio::spawn(async { 5 })).await.unwrap(), 5);
    }

    #[tokio::test]
    #[should_panic(expected = "of the work")]
    async fn a_panic_goes_on() {
        let _ = super::joined(tokio::spawn(async { panic!("of the work") })).await;
    }
}
