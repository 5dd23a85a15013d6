//! `/healthz`, `/livez`, `/ready` and `/readyz`

use std::time::Duration;

use ::axum::Json;
use ::axum::extract::{RawQuery, State as Shared};
use ::axum::http::StatusCode;
use ::axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Mutex;

use super::lasting::Lasting;
use super::loaded::ModelSource;
use super::log_writer::LogAccount;
use super::state::{Inner, State};
use crate::log::Backlog;
use crate::registry::VersionId;
use crate::{ErrorKind, Timestamp};

/// How long an answer of the store is good for: health checks in a storm ask it once.
const FRESH: Duration = Duration::from_millis(200);

/// When the store was asked, by the monotonic clock, and why it was not well, if so.
type Answer = (Duration, Result<(), String>);

/// The last answer of the store to a health check.
#[derive(Debug, Default)]
pub(super) struct Probe {
    last: Mutex<Option<Answer>>,
    trouble: Lasting<ErrorKind>,
}

impl Inner {
    /// Whether the store answers; its answer sets the clock.
    async fn store(&self) -> Result<(), String> {
        let mut last = self.probe.last.lock().await;
        let asked = self.clock.elapsed();
        if let Some((at, answer)) = &*last
            && asked.saturating_sub(*at) < FRESH
        {
            return answer.clone();
        }
        let limit = self.limits.probe_timeout;
        let answer = match tokio::time::timeout(limit, self.log.now()).await {
            Ok(Ok(now)) => {
                self.models.set_clock(asked, now);
                if let Some(lasted) = self.probe.trouble.over(self.clock.elapsed()) {
                    tracing::warn!(?lasted, "the store is healthy again");
                }
                Ok(())
            }
            Ok(Err(error)) => {
                self.say_unhealthy(error.kind(), &error.chain());
                Err(match error.kind() {
                    ErrorKind::Unavailable => super::told(&error),
                    // It answers, and a person has to see to it.
                    _ => format!("{}; the log of the service says why", super::told(&error)),
                })
            }
            Err(_) => {
                let why = format!("the database did not answer within {limit:?}");
                self.say_unhealthy(ErrorKind::Unavailable, &why);
                Err(why)
            }
        };
        *last = Some((self.clock.elapsed(), answer.clone()));
        answer
    }

    fn say_unhealthy(&self, kind: ErrorKind, error: &str) {
        if self.probe.trouble.is_news(self.clock.elapsed(), kind) {
            tracing::warn!(error, "the store is not healthy");
        }
    }

    /// What is wrong with the store, and what follows from that for the time of events.
    async fn store_trouble(&self) -> Option<String> {
        let why = self.store().await.err()?;
        Some(match self.clock.is_told() {
            true => why,
            false => format!("{why}; until it answers, the time is this machine's"),
        })
    }

    /// Why the service is not ready, first things first.
    async fn checks(&self) -> Vec<Check> {
        let check = |name, trouble: Option<String>| Check::new(name, trouble);
        let draining = self.is_draining().then(|| "the service is shutting down".to_owned());
        let model = self.models.current();
        let none = model.is_none().then(|| "no model is loaded".to_owned());
        let kept = model.and_then(|model| {
            let (version, kept_at) = (model.info.version, model.kept_at?);
            Some(format!(
                "the registry was away at the start: version {version} is from the cache, kept at \
                 {kept_at}"
            ))
        });
        let backlog = self.queue.backlog();
        let bridged = backlog.as_ref().is_some_and(Backlog::is_healthy);
        let mut checks = vec![
            check("shutdown", draining),
            Check { bridged: kept.is_some(), ..check("model", none.or(kept)) },
            Check { bridged, ..check("database", self.store_trouble().await) },
            check("log", self.queue.trouble()),
        ];
        checks.extend(backlog.map(|backlog| match (backlog.refusing, backlog.trouble) {
            (Some(refusing), _) => check("spool", Some(refusing)),
            (None, trouble) => {
                let waits = |why| format!("{} events wait on disk: {why}", backlog.events);
                Check { bridged: true, ..check("spool", trouble.map(waits)) }
            }
        }));
        checks
    }

    /// Why predictions would not be answered now, if so.
    #[cfg(any(feature = "oip", feature = "mlflow-scoring"))]
    pub(super) async fn trouble(&self) -> Option<String> {
        self.checks().await.into_iter().find(Check::failed).and_then(|check| check.trouble)
    }
}

#[derive(Debug)]
struct Check {
    name: &'static str,
    // None: it is well
    trouble: Option<String>,
    // predictions are answered all the same: their events are kept on disk, or the model was
    bridged: bool,
}

impl Check {
    fn new(name: &'static str, trouble: Option<String>) -> Self {
        Self { name, trouble, bridged: false }
    }

    fn failed(&self) -> bool {
        self.trouble.is_some() && !self.bridged
    }

    fn status(&self) -> &'static str {
        match &self.trouble {
            None => "ok",
            Some(_) if self.bridged => "degraded",
            Some(_) => "failed",
        }
    }
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    timestamp: Timestamp,
    version: &'static str,
    database: &'static str,
}

/// The health of the service in the shape of the original.
pub(super) async fn healthz(Shared(state): Shared<State>) -> Response {
    let (code, status, database) = match state.store().await {
        Ok(()) => (StatusCode::OK, "healthy", "healthy"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "degraded", "unhealthy"),
    };
    let timestamp = state.clock.now();
    let health = Health { status, timestamp, version: env!("CARGO_PKG_VERSION"), database };
    (code, Json(health)).into_response()
}

#[derive(Debug, Serialize)]
struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    verbose: Option<Verbose>,
}

#[derive(Debug, Serialize)]
struct Verbose {
    checks: Vec<Listed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<VersionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_source: Option<ModelSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogAccount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<Backlog>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_window: Option<Remembered>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Remembered {
    entries: usize,
    evicted: u64,
}

/// Whether the query asks for all checks.
fn wants_all(query: Option<&str>) -> bool {
    let key = |part: &str| part.split('=').next() == Some("verbose");
    query.unwrap_or_default().split('&').any(key)
}

/// Whether predictions would be answered now.
pub(super) async fn ready(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Response {
    let checks = state.checks().await;
    let failed = checks.iter().find(|check| check.failed());
    let worst = failed.or_else(|| checks.iter().find(|check| check.trouble.is_some()));
    let (code, status) = match (failed, worst) {
        (Some(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        (None, Some(_)) => (StatusCode::OK, "degraded"),
        (None, None) => (StatusCode::OK, "ready"),
    };
    let trouble = worst.and_then(|check| check.trouble.clone());
    let verbose = wants_all(query.as_deref()).then(|| {
        let (entries, evicted) = state.replay.size();
        let (log, spool) = state.queue.accounts();
        let model = state.models.current();
        Verbose {
            checks: checks.into_iter().map(listed).collect(),
            model_version: model.as_ref().map(|loaded| loaded.model.version()),
            model_source: model.as_ref().map(|loaded| loaded.info.source),
            log: Some(log),
            spool,
            replay_window: Some(Remembered { entries, evicted }),
        }
    });
    (code, Json(Ready { status, reason: trouble, verbose })).into_response()
}

fn listed(check: Check) -> Listed {
    Listed { name: check.name, status: check.status(), reason: check.trouble }
}

/// Whether the process runs.
pub(super) async fn livez(RawQuery(query): RawQuery) -> Response {
    let verbose = wants_all(query.as_deref()).then(|| Verbose {
        checks: vec![Listed { name: "process", status: "ok", reason: None }],
        model_version: None,
        model_source: None,
        log: None,
        spool: None,
        replay_window: None,
    });
    Json(Ready { status: "alive", reason: None, verbose }).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbose_is_a_key_with_or_without_a_value() {
        for (query, wants) in [
            (None, false),
            (Some("verbose"), true),
            (Some("verbose=1"), true),
            (Some("a=b&verbose"), true),
            (Some("verbosely"), false),
        ] {
            assert_eq!(wants_all(query), wants, "{query:?}");
        }
    }
}
