//! What every request shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::axum::body::{Body, Bytes, to_bytes};
use ::axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use ::axum::http::{HeaderMap, StatusCode};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::auth::Admin;
use super::clock::Clock;
use super::health::Probe;
use super::idempotency::Kept;
use super::jobs::Jobs;
use super::loaded::Loaded;
use super::log_writer::LogQueue;
use super::metrics::Metrics;
use super::models::Models;
use super::options::{Durability, Limits, RawFeatures, RejectedValues, Scoring};
use super::problem::Problem;
use super::replay::Replay;
use super::shadow::Shadowing;
use crate::drift::DriftDetector;
use crate::ledger::Ledger;
use crate::log::InferenceLog;

/// Most bodies at a time that may be larger than that of a single prediction.
pub(super) const LARGE_BODIES: usize = 16;

/// A place among the large bodies, where one is needed.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// The state of the routes: a cheap clone.
#[derive(Debug, Clone)]
pub(super) struct State(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) log: Arc<dyn InferenceLog>,
    pub(super) models: Arc<Models>,
    pub(super) queue: Arc<LogQueue>,
    pub(super) shadow: Option<Shadowing>,
    pub(super) replay: Arc<Replay>,
    pub(super) clock: Arc<Clock>,
    pub(super) admin: Admin,
    pub(super) probe: Probe,
    pub(super) limits: Limits,
    pub(super) durability: Durability,
    pub(super) raw_features: RawFeatures,
    pub(super) scoring: Scoring,
    pub(super) rejected_values: RejectedValues,
    pub(super) detector: DriftDetector,
    // one verdict at a time
    pub(super) live_turn: Arc<Mutex<()>>,
    pub(super) room: Arc<Semaphore>,
    pub(super) large_bodies: Arc<Semaphore>,
    pub(super) draining: AtomicBool,
    pub(super) ledger: Option<Arc<dyn Ledger>>,
    pub(super) jobs: Arc<Jobs>,
    // of admin requests with an Idempotency-Key
    pub(super) answers: Arc<Replay<Kept>>,
    pub(super) metrics: Metrics,
}

impl std::ops::Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl State {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl Inner {
    /// A place among the requests that are worked on, or 503 at once.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| Problem::busy("overloaded", "Too many requests at a time"))
    }

    /// The version in service, or 503.
    pub(super) fn model(&self) -> Result<Arc<Loaded>, Problem> {
        self.models
            .current()
            .ok_or_else(|| Problem::busy("no_model", "No model is loaded").retry_after(5))
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The whole body of a JSON request.
    pub(super) async fn json_body(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Bytes, Problem> {
        Ok(self.json_body_of(headers, body, self.limits.body_bytes).await?.0)
    }

    /// The whole body of a JSON request, at most `most` bytes, with its place among the large ones,
    /// to be kept as long as what was made of it.
    pub(super) async fn json_body_of(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<(Bytes, Place), Problem> {
        check_json(headers)?;
        self.body_of(headers, body, most).await
    }

    /// The whole body of a request, whatever it is, as far as any route reads one. Its place is
    /// left when it is there: who reads it next takes one.
    pub(super) async fn whole_body(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Bytes, Problem> {
        let most = self.limits.body_bytes.max(self.limits.batch_bytes);
        Ok(self.body_of(headers, body, most).await?.0)
    }

    /// A place for a body of at most `bytes`, before the first of them is read, or 503 at once.
    fn admit_body(&self, bytes: u64) -> Result<Place, Problem> {
        if bytes <= self.limits.body_bytes as u64 {
            return Ok(None);
        }
        let place = Arc::clone(&self.large_bodies).try_acquire_owned();
        let message = "Too many large bodies at a time";
        place.map(Some).map_err(|_| Problem::busy("overloaded", message).closing())
    }

    async fn body_of(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<(Bytes, Place), Problem> {
        let too_large = || {
            let message = format!("The body is larger than {most} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).closing()
        };
        let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let told = told.and_then(|text| text.parse::<u64>().ok()).unwrap_or(most as u64);
        if told > most as u64 {
            return Err(too_large());
        }
        let place = self.admit_body(told)?;
        match tokio::time::timeout(self.limits.body_timeout, to_bytes(body, most)).await {
            Ok(Ok(bytes)) => Ok((bytes, place)),
            Ok(Err(error)) => {
                let source = std::error::Error::source(&error);
                // The only error that is not of the connection.
                if source.is_some_and(|source| source.to_string() == "length limit exceeded") {
                    return Err(too_large());
                }
                let message = "The body could not be read to its end";
                Err(Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", message).closing())
            }
            Err(_) => {
                let message = "The body did not arrive in time";
                let status = StatusCode::REQUEST_TIMEOUT;
                Err(Problem::new(status, "body_timeout", message).closing())
            }
        }
    }
}

/// Refuses what is not said to be plain JSON.
fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let unsupported = |message: &str| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(Problem::new(status, "unsupported_media_type", message))
    };
    let media = text(CONTENT_TYPE).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = media == "application/json"
        || (media.starts_with("application/") && media.ends_with("+json"));
    if !json {
        return unsupported("The content type must be application/json");
    }
    match text(CONTENT_ENCODING) {
        None => Ok(()),
        Some(encoding) if encoding.trim().eq_ignore_ascii_case("identity") => Ok(()),
        Some(_) => unsupported("The body must not be compressed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(content_type: &str, encoding: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        }
        check_json(&headers).is_ok()
    }

    #[test]
    fn only_plain_json_is_read() {
        assert!(checked("application/json", None));
        assert!(checked("Application/JSON; charset=utf-8", Some("identity")));
        assert!(checked("application/vnd.api+json", None));
        for (content_type, encoding) in [
            ("text/plain", None),
            ("application/jsonx", None),
            ("text/json", None),
            ("application/json", Some("gzip")),
            ("application/json", Some("gzip, gzip")),
        ] {
            assert!(!checked(content_type, encoding), "{content_type} {encoding:?}");
        }
        assert!(check_json(&HeaderMap::new()).is_err());
    }
}
