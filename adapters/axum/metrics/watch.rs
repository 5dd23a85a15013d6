//! What is on record, as far as metrics tell it: asked for by a scrape, and kept for a while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use uuid::Uuid;

use super::super::lasting::Lasting;
use super::super::live;
use super::super::state::State;
use crate::drift::{DriftReport, Verdict};
use crate::ledger::{DecisionState, DriftRun, DriftStore, Ledger, RunState};
use crate::registry::ModelName;
use crate::{Error, ErrorKind, Timestamp};

/// How long an answer of the ledger is good for: scrapes of several servers ask it once.
const FRESH: Duration = Duration::from_secs(5);

/// Most drift runs that are looked through for new ones. Each has a report of all features, so they
/// are asked for until a known one comes, in pages that grow: mostly there is one, and after a while
/// without scrapes a few questions are enough for all.
const RUNS: usize = 100;

/// Other records that are looked through for new ones.
const RECENT: usize = 20;

/// Records of a kind that are remembered as counted: more than can be looked through.
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
    // by what they are about, and how severe they are
    pub(super) open_alerts: BTreeMap<(&'static str, &'static str), u64>,
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
    // what is in the totals; each by itself, since many of one kind must not push out another
    runs: Counted,
    retraining: Counted,
    decisions: Counted,
    trouble: Lasting<ErrorKind>,
}

/// Records that are in a total, the latest last.
#[derive(Debug, Default)]
struct Counted(VecDeque<Uuid>);

impl Counted {
    fn has(&self, id: Uuid) -> bool {
        self.0.contains(&id)
    }

    /// Whether it is to be counted now.
    fn add(&mut self, id: Uuid) -> bool {
        let is_new = !self.has(id);
        if is_new {
            self.0.push_back(id);
            let over = self.0.len().saturating_sub(REMEMBERED);
            drop(self.0.drain(..over));
        }
        is_new
    }
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
        let failed = match tokio::time::timeout(limit, ask).await {
            Ok(Ok(asked)) => {
                view = asked;
                None
            }
            Ok(Err(error)) => Some((error.kind(), error.chain())),
            Err(_) => Some((ErrorKind::Unavailable, "it did not answer in time".to_owned())),
        };
        let now = state.clock.elapsed();
        match failed {
            Some((kind, error)) => {
                view.ledger_up = Some(false);
                if known.trouble.is_news(now, kind) {
                    tracing::warn!(error, "metrics: the ledger failed");
                }
            }
            None => {
                if let Some(lasted) = known.trouble.over(now) {
                    tracing::warn!(?lasted, "metrics: the ledger answers again");
                }
            }
        }
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
        let known = |run: &DriftRun| run.created_at < started || self.runs.has(run.id);
        let runs = latest_runs(ledger, model, known).await?;
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
        for run in &runs {
            if run.created_at >= started && self.runs.add(run.id) {
                *view.checks.entry(run.report.verdict.as_str()).or_default() += 1;
            }
        }
        for run in &retrained {
            let ended = run.finished_at.filter(|_| run.state != RunState::Running);
            if ended.is_some_and(|ended| ended >= started && self.retraining.add(run.id)) {
                *view.retraining.entry(run.state.as_str()).or_default() += 1;
            }
        }
        for decision in &decisions {
            let carried_out = decision.promoted && decision.state == DecisionState::Done;
            let of_now = decision.updated_at >= started;
            if carried_out && of_now && self.decisions.add(decision.id) {
                view.promotions += 1;
            }
        }
        for alert in &open {
            // A look at drift has opened it, or somebody who looks after the service itself.
            let about = if alert.drift_run.is_some() { "drift" } else { "service" };
            *view.open_alerts.entry((about, alert.severity.word())).or_default() += 1;
        }
        Ok(view)
    }
}

/// The latest runs until one of them is known, at most [`RUNS`], newest first.
async fn latest_runs<S: DriftStore + ?Sized>(
    store: &S,
    model: &ModelName,
    known: impl Fn(&DriftRun) -> bool,
) -> Result<Vec<DriftRun>, Error> {
    let (mut runs, mut before, mut size) = (Vec::new(), None, 1);
    while runs.len() < RUNS {
        let page = store.drift_runs(model, before, size.min(RUNS - runs.len())).await?;
        let reached = page.items.iter().any(&known);
        runs.extend(page.items);
        before = page.next;
        if reached || before.is_none() {
            break;
        }
        size *= 4;
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::Window;
    use crate::drift::{DriftSettings, REPORT_VERSION};
    use crate::ledger::{DecisionStore, ReferenceDataset, RetrainingRun, Trigger};
    use crate::log::{Cursor, Page};
    use crate::memory::MemoryLedger;
    use crate::registry::VersionId;
    use crate::schema::Fingerprint;

    fn at(seconds: u64) -> Timestamp {
        let start: Timestamp = "2031-05-06T07:08:09Z".parse().unwrap();
        start.saturating_add(Duration::from_secs(seconds))
    }

    fn model() -> ModelName {
        "churn".parse().unwrap()
    }

    fn run(number: u64) -> DriftRun {
        let created_at = at(number);
        DriftRun {
            id: Uuid::from_u128(u128::from(number) + 1),
            model: model(),
            version: VersionId::FIRST,
            window: Window::before(created_at, Duration::from_secs(3_600)).unwrap(),
            created_at,
            report: DriftReport {
                report_version: REPORT_VERSION,
                verdict: Verdict::Stable,
                profile: Fingerprint::of_bytes(b"profile"),
                reference_rows: 10,
                current_rows: 10,
                rejected_requests: 0,
                settings: DriftSettings::default(),
                features: Vec::new(),
                prediction: None,
                signals: Vec::new(),
            },
        }
    }

    /// Drift runs alone, and how many were asked for each time.
    #[derive(Debug)]
    struct Asked(MemoryLedger, Mutex<Vec<usize>>);

    #[async_trait]
    impl DriftStore for Asked {
        async fn record_drift_run(&self, run: &DriftRun) -> Result<DriftRun, Error> {
            self.0.record_drift_run(run).await
        }

        async fn drift_run(&self, id: Uuid) -> Result<DriftRun, Error> {
            self.0.drift_run(id).await
        }

        async fn drift_runs(
            &self,
            model: &ModelName,
            before: Option<Cursor>,
            limit: usize,
        ) -> Result<Page<DriftRun>, Error> {
            self.1.lock().unwrap().push(limit);
            self.0.drift_runs(model, before, limit).await
        }

        async fn record_reference(&self, reference: &ReferenceDataset) -> Result<(), Error> {
            self.0.record_reference(reference).await
        }

        async fn references(&self, model: &ModelName) -> Result<Vec<ReferenceDataset>, Error> {
            self.0.references(model).await
        }
    }

    #[tokio::test]
    async fn many_new_runs_take_few_questions_and_one_takes_one() {
        let store = Asked(MemoryLedger::with_clock(|| at(0)), Mutex::default());
        for number in 0..150 {
            store.record_drift_run(&run(number)).await.unwrap();
        }
        let asked = async |known: u64| {
            store.1.lock().unwrap().clear();
            let known = move |run: &DriftRun| run.created_at <= at(known);
            let runs = latest_runs(&store, &model(), known).await.unwrap();
            let newest: Vec<_> = (0..150).rev().take(runs.len()).map(at).collect();
            assert_eq!(runs.iter().map(|run| run.created_at).collect::<Vec<_>>(), newest);
            (runs.len(), store.1.lock().unwrap().clone())
        };
        assert_eq!(asked(149).await, (1, vec![1]));
        assert_eq!(asked(147).await, (5, vec![1, 4]));
        assert_eq!(asked(10).await, (RUNS, vec![1, 4, 16, 64, 15]));
    }

    #[tokio::test]
    async fn drift_runs_push_no_other_record_out_of_memory() {
        let ledger = MemoryLedger::with_clock(|| at(0));
        let retraining = RetrainingRun {
            id: Uuid::from_u128(1_000_000),
            model: model(),
            trigger: Trigger::Manual,
            alert: None,
            drift_run: None,
            state: RunState::Completed,
            step: "gather data".to_owned(),
            attempts: 1,
            data: None,
            challenger: None,
            decision: None,
            promoted: None,
            message: None,
            details: BTreeMap::new(),
            started_at: at(0),
            finished_at: Some(at(0)),
        };
        ledger.record_retraining_run(&retraining, None).await.unwrap();
        let mut known = Known::default();
        let (scrapes, new) = (REMEMBERED as u64 / RUNS as u64 + 1, RUNS as u64);
        for scrape in 0..scrapes {
            for number in scrape * new..(scrape + 1) * new {
                ledger.record_drift_run(&run(number)).await.unwrap();
            }
            known.view = Arc::new(known.ask(&ledger, &model(), at(0)).await.unwrap());
        }
        let view = known.ask(&ledger, &model(), at(0)).await.unwrap();
        assert_eq!(view.checks["stable"], scrapes * new);
        assert_eq!(view.retraining["completed"], 1, "it was counted at the first scrape");
    }
}
