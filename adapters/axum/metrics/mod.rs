//! `GET /metrics` and `GET /metrics/json`: what this process has done, and what is on record.
//!
//! Requests are counted in atomics that are found without a lock. Labels are bounded: routes are
//! those of the router, statuses and codes are ours, features are of the schema, and one answer has
//! at most [`MOST_SERIES`] series. Predictions, raw paths and categories are never labels.

mod family;
mod histogram;
mod requests;
mod spool;
mod text;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ::axum::Json;
use ::axum::extract::State as Shared;
use ::axum::http::header::{CONTENT_TYPE, HeaderValue};
use ::axum::response::{IntoResponse, Response};
use serde::Serialize;

use self::family::{Family, Kind, Sample, Value};
pub(super) use self::histogram::Histogram;
use self::requests::Requests;
use self::watch::{View, Watch};
use super::problem::Problem;
use super::state::{Inner, State};

/// Most series of one answer.
const MOST_SERIES: usize = 2_000;

/// What is counted for the operators.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) requests: Requests,
    // by code; problems are not what a service is busy with
    problems: Mutex<BTreeMap<&'static str, u64>>,
    // series that were left out of answers
    dropped: AtomicU64,
    watch: Watch,
}

impl Metrics {
    /// Counts an answer that is no success.
    pub(super) fn problem(&self, problem: &Problem) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        *problems.entry(problem.code()).or_default() += 1;
    }
}

/// The families of one answer, and how many series there is still room for.
struct Answer {
    families: Vec<Family>,
    room: usize,
    dropped: u64,
}

impl Answer {
    fn add(&mut self, name: &'static str, help: &'static str, kind: Kind, samples: Vec<Sample>) {
        let mut kept = Vec::with_capacity(samples.len());
        for sample in samples {
            match self.room.checked_sub(sample.value.series()) {
                Some(room) => {
                    self.room = room;
                    kept.push(sample);
                }
                None => self.dropped += sample.value.series() as u64,
            }
        }
        self.families.push(Family { name, help, kind, samples: kept });
    }

    fn counter(&mut self, name: &'static str, help: &'static str, samples: Vec<Sample>) {
        self.add(name, help, Kind::Counter, samples);
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, samples: Vec<Sample>) {
        self.add(name, help, Kind::Gauge, samples);
    }
}

fn one(value: u64) -> Vec<Sample> {
    vec![Sample::new(Vec::new(), Value::Count(value))]
}

fn number(value: f64) -> Vec<Sample> {
    vec![Sample::new(Vec::new(), Value::Number(value))]
}

fn by<'a>(label: &'static str, counts: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<Sample> {
    let sample = |(name, count): (&str, u64)| {
        Sample::new(vec![(label, name.to_owned())], Value::Count(count))
    };
    counts.into_iter().map(sample).collect()
}

/// Everything as it is now. What is few comes first, so that what is many is left out.
fn families(state: &Inner, view: &View) -> Vec<Family> {
    let mut all = Answer { families: Vec::new(), room: MOST_SERIES - 1, dropped: 0 };
    let uptime = state.clock.elapsed().as_secs_f64();
    all.gauge("pmmds_uptime_seconds", "Time since the service started", number(uptime));
    let loaded = state.models.current();
    let info = loaded.iter().map(|loaded| {
        let labels = vec![
            ("name", loaded.info.name.to_string()),
            ("version", loaded.info.version.to_string()),
            ("alias", loaded.info.alias.to_string()),
            ("digest", loaded.info.digest.short()),
            ("source", loaded.info.source.as_str().to_owned()),
        ];
        Sample::new(labels, Value::Count(1))
    });
    all.gauge("pmmds_model_info", "The version in service", info.collect());
    let (done, failed) = state.models.reloads();
    let reloads = by("result", [("done", done), ("failed", failed)]);
    all.counter(
        "pmmds_model_reloads",
        "Times that the version behind the alias was loaded",
        reloads,
    );
    let skew = state.models.skew().map_or_else(Vec::new, |skew| one(u64::from(skew)));
    let help = "1 while the alias points at another version than the one in service, 0 while it \
                points at that one; nothing where that is not known, as in an outage";
    all.gauge("pmmds_model_version_skew", help, skew);

    let (account, backlog) = state.queue.accounts();
    all.gauge("pmmds_log_queue_depth", "Events on their way to the log", one(account.queued));
    let mut rows = vec![
        ("accepted", account.accepted),
        ("written", account.written),
        ("rejected", account.rejected),
        ("lost", account.lost),
    ];
    rows.extend(backlog.as_ref().into_iter().flat_map(|backlog| {
        [
            ("quarantined", account.quarantined),
            ("spooled", backlog.spooled),
            ("replayed", backlog.replayed),
        ]
    }));
    let help = "Events, those found on disk at the start included: accepted, and of them written to \
                the store, refused by it (rejected, or quarantined if they were on disk), lost; \
                accepted = written + rejected + quarantined + lost + pmmds_log_queue_depth + \
                pmmds_log_spool_rows in each answer. Beside that sum: spooled went to local disk, \
                replayed from there to the store";
    all.counter("pmmds_log_rows", help, by("state", rows));
    spool::add(&mut all, backlog.as_ref(), state.clock.now());
    let latency = state.queue.latency().value();
    // Not those of the shadow, which are events too.
    let made = if let Value::Buckets(buckets) = &latency { buckets.count } else { 0 };
    all.counter("pmmds_predictions", "Predictions that were made and taken in", one(made));
    let latency = vec![Sample::new(Vec::new(), latency)];
    let help = "Time for reading, scoring and encoding one row";
    all.add("pmmds_prediction_latency_seconds", help, Kind::Histogram, latency);
    let refused = one(state.queue.refused_rows());
    all.counter("pmmds_validation_failures", "Rows that broke a rule of the schema", refused);

    let checks = view.checks.iter().map(|(verdict, count)| (*verdict, *count));
    let help = "Drift runs that went on record since the service started, by any process";
    all.counter("pmmds_drift_checks", help, by("verdict", checks));
    all.counter("pmmds_drift_events", "Those of them that found drift", one(view.drift_events()));
    let runs = view.retraining.iter().map(|(state, count)| (*state, *count));
    let help = "Retraining runs that ended since the service started, in any process";
    all.counter("pmmds_retraining_runs", help, by("state", runs));
    let help = "Promotions that were carried out since the service started, by any process";
    all.counter("pmmds_promotions", help, one(view.promotions));
    let open = view.open_alerts.iter().map(|((about, severity), count)| {
        let labels = vec![("about", (*about).to_owned()), ("severity", (*severity).to_owned())];
        Sample::new(labels, Value::Count(*count))
    });
    let help = "Alerts that are not resolved, about drift or about the service";
    all.gauge("pmmds_alerts_open", help, open.collect());
    let up = view.ledger_up.map_or_else(Vec::new, |up| one(u64::from(up)));
    all.gauge("pmmds_ledger_up", "Whether the ledger answered when it was last asked", up);
    let at = view.drift.iter().filter_map(|drift| drift.at).map(|at| {
        Sample::new(Vec::new(), Value::Number(std::time::Duration::from_micros(at).as_secs_f64()))
    });
    let help = "When the latest drift run was made, in seconds since 1970";
    all.gauge("pmmds_drift_run_timestamp_seconds", help, at.collect());
    let rows = view.drift.iter().map(|drift| {
        Sample::new(vec![("verdict", drift.verdict.to_owned())], Value::Count(drift.rows))
    });
    let help = "Rows of the latest look at drift, with its verdict";
    all.gauge("pmmds_drift_rows", help, rows.collect());

    let problems = {
        let problems = state.metrics.problems.lock().unwrap_or_else(PoisonError::into_inner);
        by("code", problems.iter().map(|(code, count)| (*code, *count)))
    };
    all.counter("pmmds_errors", "Answers that are no success, by their code", problems);
    let (counts, latencies) = state.metrics.requests.samples();
    all.counter("pmmds_requests", "Requests by route and status", counts);
    let help = "Time from the headers of a request to those of its answer";
    all.add("pmmds_request_latency_seconds", help, Kind::Histogram, latencies);
    let psi =
        view.drift.iter().flat_map(|drift| &drift.psi).map(|(feature, psi)| {
            Sample::new(vec![("feature", feature.clone())], Value::Number(*psi))
        });
    let help = "Population stability index in the latest look at drift that has a verdict";
    all.gauge("pmmds_drift_psi", help, psi.collect());

    let dropped = all.dropped;
    let dropped = state.metrics.dropped.fetch_add(dropped, Ordering::Relaxed) + dropped;
    all.room = 1;
    all.counter("pmmds_series_dropped", "Series that were too many for an answer", one(dropped));
    all.families
}

pub(super) async fn text(Shared(state): Shared<State>) -> Result<Response, Problem> {
    let view = watch::view(&state).await;
    let text = text::encode(families(&state, &view)).map_err(|error| {
        tracing::error!(%error, "metrics could not be written");
        Problem::internal("internal", "The metrics could not be written")
    })?;
    let content_type = HeaderValue::from_static(text::CONTENT_TYPE);
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

#[derive(Serialize)]
pub(super) struct Everything {
    metrics: Vec<Family>,
}

pub(super) async fn json(Shared(state): Shared<State>) -> Json<Everything> {
    let view = watch::view(&state).await;
    Json(Everything { metrics: families(&state, &view) })
}
