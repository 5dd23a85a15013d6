//! `POST /api/v1/drift/runs`, `POST /api/v1/retrain` and what became of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::axum::Json;
use ::axum::body::Body;
use ::axum::extract::rejection::PathRejection;
use ::axum::extract::{Path, State as Shared};
use ::axum::http::header::{HeaderValue, LOCATION};
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::clock::Clock;
use super::operations::{JobEnd, Operations};
use super::problem::Problem;
use super::records::id_of;
use super::small_body::object;
use super::state::State;
use crate::{Error, Timestamp};

/// Jobs that are remembered; those that are over go first, oldest first.
const REMEMBERED: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Monitor,
    Retrain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum JobState {
    Running,
    Done,
    Failed,
}

/// A job as it is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Job {
    id: Uuid,
    kind: Kind,
    state: JobState,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    // in the ledger
    run: Option<Uuid>,
    message: Option<String>,
}

/// The jobs of this process.
#[derive(Debug)]
pub(super) struct Jobs {
    operations: Option<Arc<dyn Operations>>,
    // newest last; of each kind at most one runs
    known: Mutex<VecDeque<Job>>,
}

impl Jobs {
    pub(super) fn new(operations: Option<Arc<dyn Operations>>) -> Arc<Self> {
        Arc::new(Self { operations, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<Job>> {
        // Held for a few assignments.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: Uuid) -> Option<Job> {
        self.known().iter().find(|job| job.id == id).cloned()
    }

    /// Writes a new job down, unless one of its kind runs: then that one's id.
    fn begin(&self, kind: Kind, id: Uuid, started_at: Timestamp) -> Result<Job, Uuid> {
        let mut known = self.known();
        let running = |job: &&Job| job.kind == kind && job.state == JobState::Running;
        if let Some(job) = known.iter().find(running) {
            return Err(job.id);
        }
        if known.len() >= REMEMBERED {
            let over = known.iter().position(|job| job.state != JobState::Running);
            over.and_then(|at| known.remove(at));
        }
        let state = JobState::Running;
        let job = Job { id, kind, state, started_at, finished_at: None, run: None, message: None };
        known.push_back(job.clone());
        Ok(job)
    }

    fn end(&self, id: Uuid, finished_at: Timestamp, end: Result<JobEnd, String>) {
        let mut known = self.known();
        let Some(job) = known.iter_mut().find(|job| job.id == id) else { return };
        job.finished_at = Some(finished_at);
        match end {
            Ok(JobEnd { message, run }) => {
                (job.state, job.message, job.run) = (JobState::Done, Some(message), run);
            }
            Err(why) => (job.state, job.message) = (JobState::Failed, Some(why)),
        }
    }

    /// Starts a job on a thread of its own.
    fn start(self: &Arc<Self>, clock: &Arc<Clock>, order: Order) -> Result<Job, Problem> {
        let Some(operations) = self.operations.clone() else {
            let message = "This service has no operations to start";
            return Err(Problem::new(StatusCode::NOT_FOUND, "no_operations", message));
        };
        let now = clock.now();
        let (kind, id) = (order.kind(), clock.id(now));
        let job = self.begin(kind, id, now).map_err(|running| {
            let message = "One is under way already";
            Problem::new(StatusCode::CONFLICT, "already_running", message).of_job(running)
        })?;
        tracing::info!(job = %id, ?kind, "a job begins");
        let (jobs, clock) = (Arc::clone(self), Arc::clone(clock));
        let (runtime, span) = (Handle::current(), tracing::Span::current());
        let work = move || {
            let _in_span = span.entered();
            let run = || runtime.block_on(order.carry_out(&*operations));
            // A flow that panics must not leave its kind running for ever.
            let end = match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(end)) => Ok(end),
                Ok(Err(error)) => {
                    tracing::error!(job = %id, error = error.chain(), "a job failed");
                    Err(error.to_string())
                }
                Err(_) => {
                    tracing::error!(job = %id, "a job panicked");
                    Err("it panicked".to_owned())
                }
            };
            jobs.end(id, clock.now(), end);
        };
        let thread = std::thread::Builder::new().name("pmmds job".to_owned()).spawn(work);
        if let Err(error) = thread {
            tracing::error!(%error, "no thread for a job");
            self.end(id, now, Err("there was no thread for it".to_owned()));
            return Err(Problem::busy("overloaded", "There is no thread for it"));
        }
        Ok(job)
    }
}

/// What to do.
#[derive(Debug, Clone, Copy)]
enum Order {
    Monitor,
    Retrain { force: bool },
}

impl Order {
    fn kind(self) -> Kind {
        match self {
            Self::Monitor => Kind::Monitor,
            Self::Retrain { .. } => Kind::Retrain,
        }
    }

    async fn carry_out(self, operations: &dyn Operations) -> Result<JobEnd, Error> {
        match self {
            Self::Monitor => operations.monitor().await,
            Self::Retrain { force } => operations.retrain(force).await,
        }
    }
}

/// 202, and where to ask what becomes of it; `up` leads from the route to `/api/v1/`.
fn accepted(job: Job, up: &str) -> Response {
    let location = format!("{up}jobs/{}", job.id);
    let mut response = (StatusCode::ACCEPTED, Json(job)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

pub(super) async fn run_monitor(Shared(state): Shared<State>) -> Result<Response, Problem> {
    state.jobs.start(&state.clock, Order::Monitor).map(|job| accepted(job, "../"))
}

/// A retraining as it is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RetrainRequest {
    force: bool,
}

pub(super) async fn retrain(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = state.json_body(&headers, body).await?;
    let RetrainRequest { force } = object(&body).map_err(|error| {
        Problem::invalid("Retraining validation failed", vec![error], Vec::new())
    })?;
    state.jobs.start(&state.clock, Order::Retrain { force }).map(|job| accepted(job, ""))
}

pub(super) async fn job(
    Shared(state): Shared<State>,
    path: Result<Path<Uuid>, PathRejection>,
) -> Result<Json<Job>, Problem> {
    let id = id_of(path)?;
    state.jobs.find(id).map(Json).ok_or_else(|| {
        let message = "This process knows no such job";
        Problem::new(StatusCode::NOT_FOUND, "no_such_job", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_kind_runs_and_the_oldest_is_forgotten() {
        let jobs = Jobs::new(None);
        let begin = |kind, id| jobs.begin(kind, Uuid::from_u128(id), Timestamp::EPOCH);
        let end = |id, how| jobs.end(Uuid::from_u128(id), Timestamp::EPOCH, how);
        assert!(begin(Kind::Retrain, 1).is_ok());
        assert_eq!(begin(Kind::Retrain, 2), Err(Uuid::from_u128(1)));
        for id in 10..200 {
            assert!(begin(Kind::Monitor, id).is_ok());
            end(id, Err("no".to_owned()));
        }
        assert_eq!(jobs.known().len(), REMEMBERED);
        assert_eq!(jobs.find(Uuid::from_u128(10)), None);
        // What runs is not forgotten.
        assert_eq!(begin(Kind::Retrain, 3), Err(Uuid::from_u128(1)));
        end(1, Ok(JobEnd::new("promoted").run(Uuid::from_u128(9))));
        let done = jobs.find(Uuid::from_u128(1)).unwrap();
        assert_eq!((done.state, done.run), (JobState::Done, Some(Uuid::from_u128(9))));
        assert!(begin(Kind::Retrain, 3).is_ok());
    }

    #[test]
    fn force_is_true_false_or_not_said() {
        let read = object::<RetrainRequest>;
        assert!(!read(b"{}").unwrap().force);
        assert!(read(br#"{"force": true}"#).unwrap().force);
        for bad in
            [&b"{\"force\": 1}"[..], b"{\"force\": null}", b"[]", b"[true]", b"", b"{\"f\": 1}"]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
