//! What is on record, as far as metrics tell it: asked for by a scrape, and kept for a while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use uuid::Uuid;

use super::super::live;
use super::super::state::State;
use crate::drift::{DriftReport, Verdict};
use crate::ledger::{DecisionState, DriftRun, Ledger, RunState};
use crate::registry::ModelName;
use crate::{Error, Timestamp};

/// How long an answer of the ledger is good for: scrapes of several servers ask it once.
const FRESH: Duration = Duration::from_secs(5);

/// Most drift runs that are looked through for new ones; each has a report of all features, so they
/// are asked for one by one until a known one comes.
const RUNS: usize = 100;

/// Other records that are looked through for new ones.
const RECENT: usize = 20;

/// Records that are remembered as counted: more than can be looked through.
const REMEMBERED: usize = 1_000;

/// The latest look at drift.
#[derive(Debug, Clone)]
pub(super) struct Drift {
    // microseconds since 1970; None for the counters of this process
    pub(super) at: Option<u64>,
    pub(super) verdict: &'static str,
    pub(super) rows: u64,
    // of the features; empty where nothing is known about them
    pub(super) psi: Vec<(String, f64)>,
}

/// What was found when the ledger was last asked; totals are of records that are not older than
/// the service.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) drift: Option<Drift>,
    pub(super) checks: BTreeMap<&'static str, u64>,
    pub(super) retraining: BTreeMap<&'static str, u64>,
    pub(super) promotions: u64,
    pub(super) open_alerts: BTreeMap<&'static str, u64>,
    // None without a ledger
    pub(super) ledger_up: Option<bool>,
}

impl View {
    pub(super) fn drift_events(&self) -> u64 {
        self.checks.get("drift").copied().unwrap_or(0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    view: Arc<View>,
    // by the monotonic clock
    asked: Option<Duration>,
    // records that are in the totals, the latest last
    counted: VecDeque<Uuid>,
}

impl Drift {
    fn of(report: &DriftReport, at: Option<Timestamp>) -> Self {
        let known =
            matches!(report.verdict, Verdict::Stable | Verdict::FeatureDrift | Verdict::Drift);
        let features = report.features.iter().filter(|feature| known && feature.psi.is_finite());
        Self {
            at: at.and_then(|at| u64::try_from(at.as_micros()).ok()),
            verdict: report.verdict.as_str(),
            rows: report.current_rows,
            psi: features.map(|feature| (feature.name.clone(), feature.psi)).collect(),
        }
    }
}

/// What is on record now, or was a moment ago. A ledger that does not answer leaves everything as
/// it was, but for saying so.
pub(super) async fn view(state: &State) -> Arc<View> {
    let mut known = state.metrics.watch.0.lock().await;
    let now = state.clock.elapsed();
    if known.asked.is_some_and(|asked| now.saturating_sub(asked) < FRESH) {
        return Arc::clone(&known.view);
    }
    let mut view = View::clone(&known.view);
    if let Some(ledger) = &state.ledger {
        let started = state.clock.now().saturating_sub(now);
        let limit = state.limits.probe_timeout;
        let ask = known.ask(&**ledger, state.models.name(), started);
        view = match tokio::time::timeout(limit, ask).await {
            Ok(Ok(view)) => view,
            Ok(Err(error)) => {
                tracing::warn!(error = error.chain(), "metrics: the ledger failed");
                View { ledger_up: Some(false), ..view }
            }
            Err(_) => {
                tracing::warn!("metrics: the ledger did not answer in time");
                View { ledger_up: Some(false), ..view }
            }
        };
    } else if let Ok(model) = state.model()
        && let Ok(live) = live::report(state, model).await
    {
        view.drift = Some(Drift::of(&live.report, None));
    }
    known.view = Arc::new(view);
    known.asked = Some(state.clock.elapsed());
    Arc::clone(&known.view)
}

impl Known {
    /// Asks `ledger`; totals go on from where they were.
    async fn ask(
        &mut self,
        ledger: &dyn Ledger,
        model: &ModelName,
        started: Timestamp,
    ) -> Result<View, Error> {
        let mut runs = Vec::new();
        let mut before = None;
        while runs.len() < RUNS {
            let page = ledger.drift_runs(model, before, 1).await?;
            let is_new =
                |run: &DriftRun| run.created_at >= started && !self.counted.contains(&run.id);
            let more = page.items.iter().all(is_new) && page.next.is_some();
            runs.extend(page.items);
            before = page.next;
            if !more {
                break;
            }
        }
        let retrained = ledger.retraining_runs(model, None, RECENT).await?.items;
        let decisions = ledger.decisions(model, None, RECENT).await?.items;
        let open = ledger.open_alerts(model).await?;

        // All that can fail has been done: from here on everything is counted, or nothing is.
        let mut view = View {
            drift: runs.first().map(|run| Drift::of(&run.report, Some(run.created_at))),
            open_alerts: BTreeMap::new(),
            ledger_up: Some(true),
            ..View::clone(&self.view)
        };
        let counted = &mut self.counted;
        let mut is_new = |id: Uuid, at: Timestamp| {
            let is_new = at >= started && !counted.contains(&id);
            if is_new {
                counted.push_back(id);
            }
            is_new
        };
        for run in &runs {
            if is_new(run.id, run.created_at) {
                *view.checks.entry(run.report.verdict.as_str()).or_default() += 1;
            }
        }
        for run in &retrained {
            let ended = run.finished_at.filter(|_| run.state != RunState::Running);
            if ended.is_some_and(|ended| is_new(run.id, ended)) {
                *view.retraining.entry(run.state.as_str()).or_default() += 1;
            }
        }
        for decision in &decisions {
            let carried_out = decision.promoted && decision.state == DecisionState::Done;
            if carried_out && is_new(decision.id, decision.updated_at) {
                view.promotions += 1;
            }
        }
        for alert in &open {
            *view.open_alerts.entry(alert.severity.word()).or_default() += 1;
        }
        let over = self.counted.len().saturating_sub(REMEMBERED);
        drop(self.counted.drain(..over));
        Ok(view)
    }
}
