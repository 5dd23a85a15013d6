//! A small world in memory, in which the flows are tried.

mod crash;
mod cycle;
mod deliver;
mod faulty;
mod model;
mod monitor;
mod promote;
mod regression;
mod retrain;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::ledger::{
    AlertStore, DecisionKind, DecisionState, DecisionStore, DriftStore, PromotionDecision,
    RetrainingRun, RunState, Trigger,
};
use crate::log::{BatchId, EventBatch, InferenceEvent, InferenceLog, Outcome};
use crate::memory::{MemoryLedger, MemoryLog, MemoryRegistry};
use crate::model::ModelFormat;
use crate::record::{Dataset, Row, Value};
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};
use crate::schema::{Feature, FeatureSchema};
use crate::{Error, ErrorKind, Timestamp, Window};
use model::{LineFormat, Logistic, LogisticFormat};

const HOUR: Duration = Duration::from_secs(3600);

/// Rows of the reference.
const REFERENCE: u64 = 240;

/// Which world the traffic comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    /// As the reference: customers with high charges leave.
    One,
    /// Charges have risen, contracts have become shorter, and it is those with low charges who
    /// leave.
    Two,
    /// As the first, but nobody's tenure is known.
    Gap,
    /// The half of the first with high charges.
    Upper,
}

#[derive(Debug)]
struct World {
    clock: Arc<AtomicI64>,
    log: Arc<MemoryLog>,
    ledger: Arc<MemoryLedger>,
    registry: Arc<MemoryRegistry>,
    environment: Arc<Counting>,
    schema: Arc<FeatureSchema>,
    reference: Dataset,
    model: ModelName,
    // rows made so far
    rows: AtomicU64,
}

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Environment for Counting {
    fn new_id(&self) -> Uuid {
        Uuid::from_u128((1 << 64) + u128::from(self.0.fetch_add(1, SeqCst)))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.fetch_add(1, SeqCst))
    }
}

fn version(number: u64) -> VersionId {
    VersionId::new(number).unwrap()
}

/// A number in [0, 1) for every seed, the same every time.
fn uniform(seed: u64) -> f64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as f64 / u64::MAX as f64
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(1_772_366_400_000_000));
        // Time passes between any two looks.
        let now = {
            let clock = Arc::clone(&clock);
            move || Timestamp::from_micros(clock.fetch_add(1, SeqCst)).unwrap()
        };
        let schema = Arc::new(
            FeatureSchema::new([
                Feature::numeric("charges").range(0.0, 1_000.0),
                Feature::numeric("tenure").nullable(),
            ])
            .unwrap(),
        );
        let mut reference = Dataset::new(Arc::clone(&schema));
        for number in 0..REFERENCE {
            let (row, label) = row(&schema, Era::One, number);
            reference.push(&row, label, format!("customer {number}"));
        }
        Self {
            clock,
            log: Arc::new(MemoryLog::with_clock(now.clone())),
            ledger: Arc::new(MemoryLedger::with_clock(now)),
            registry: Arc::new(MemoryRegistry::new()),
            environment: Arc::default(),
            schema,
            reference,
            model: "churn".parse().unwrap(),
            rows: AtomicU64::new(REFERENCE),
        }
    }

    /// A world with the first model in production.
    async fn with_champion() -> Self {
        let world = Self::new();
        let done = world.retrain(Trigger::Manual).await.unwrap();
        assert_eq!(done.promoted(), Some(version(1)), "{:?}", done.run);
        world
    }

    /// A world whose champion has met the second era, with true outcomes, and an alert about it.
    async fn drifted() -> (Self, crate::ledger::Alert) {
        let world = Self::with_champion().await;
        world.serve(Era::Two, 300, true).await;
        let done = world.look(&world.monitor()).await.unwrap();
        (world, done.alert.unwrap())
    }

    fn promotion(&self) -> Promotion {
        self.promotion_of("replica-1")
    }

    fn promotion_of(&self, owner: &str) -> Promotion {
        let registry = Arc::clone(&self.registry);
        let (log, ledger) = (Arc::clone(&self.log), Arc::clone(&self.ledger));
        Promotion::new(registry, log, ledger, Arc::clone(&self.environment) as _, owner)
    }

    fn retraining(&self) -> Retraining {
        retraining(self.promotion())
    }

    fn monitor(&self) -> Monitor {
        let (log, ledger) = (Arc::clone(&self.log), Arc::clone(&self.ledger));
        Monitor::new(log, ledger, Arc::clone(&self.environment) as _, "replica-1")
    }

    async fn retrain(&self, trigger: Trigger) -> Result<Retrained, Error> {
        let request = RetrainRequest::new(&self.model, trigger, &self.reference);
        self.retraining().run(&request, &()).await
    }

    /// Looks at the hour before now.
    async fn look(&self, monitor: &Monitor) -> Result<MonitorRun, Error> {
        let window = monitor.window(HOUR).await.unwrap();
        self.look_at(monitor, window).await
    }

    async fn look_at(&self, monitor: &Monitor, window: Window) -> Result<MonitorRun, Error> {
        let served = self.served().await;
        monitor.run(&self.model, served.version(), served.profile(), window).await
    }

    async fn served(&self) -> ServingModel {
        let found =
            load(&*self.registry, &formats(), &self.model, &Alias::production()).await.unwrap();
        found.expect("something is served")
    }

    async fn champion(&self) -> Option<VersionId> {
        self.registry.resolve(&self.model, &Alias::production()).await.unwrap()
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(i64::try_from(time.as_micros()).unwrap(), SeqCst);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(SeqCst)).unwrap()
    }

    /// `count` requests one second apart, answered by what is in production, after an hour without
    /// any.
    async fn serve(&self, era: Era, count: u64, outcomes: bool) -> Vec<Uuid> {
        self.pass(2 * HOUR);
        let served = self.served().await;
        let first = self.rows.fetch_add(count, SeqCst);
        let id = BatchId(Uuid::from_u128(u128::from(first)));
        let mut batch = EventBatch::new(id, self.model.clone(), served.version(), served.profile());
        let mut truth = Vec::new();
        for number in first..first + count {
            self.pass(Duration::from_secs(1));
            let (row, label) = row(&self.schema, era, number);
            let (prediction, codes) = served.predict(&row).unwrap();
            let id = Uuid::from_u128(u128::from(number));
            let event = InferenceEvent::new(id, id, self.now(), prediction, Duration::ZERO, codes)
                .with_features(row.to_json(&self.schema));
            batch.push(served.profile(), &row, event);
            truth.push(Outcome { request_id: id, outcome: label, observed_at: None });
        }
        self.pass(Duration::from_secs(1));
        self.log.append(&batch).await.unwrap();
        if outcomes {
            self.log.record_outcomes(&truth).await.unwrap();
        }
        truth.iter().map(|outcome| outcome.request_id).collect()
    }

    async fn decisions(&self) -> Vec<PromotionDecision> {
        self.ledger.decisions(&self.model, None, 1_000).await.unwrap().items
    }

    async fn runs(&self) -> Vec<RetrainingRun> {
        self.ledger.retraining_runs(&self.model, None, 1_000).await.unwrap().items
    }

    async fn alerts(&self) -> Vec<crate::ledger::Alert> {
        self.ledger.alerts(&self.model, None, 1_000).await.unwrap().items
    }

    /// What must hold whenever no flow is under way.
    async fn check(&self, what: &str) {
        let decisions = self.decisions().await;
        let unfinished = decisions.iter().find(|d| d.state == DecisionState::Intended);
        assert_eq!(unfinished, None, "{what}: unfinished");
        let changed = |d: &&PromotionDecision| d.promoted && d.state == DecisionState::Done;
        let last = decisions.iter().find(changed).map(|d| d.challenger);
        assert_eq!(self.champion().await, last, "{what}: production is the last that was decided");
        for d in decisions.iter().filter(changed).filter(|d| d.kind == DecisionKind::Promotion) {
            let record = d.record.as_ref().expect("a promotion has its comparison");
            let compared = record.champion_metrics.as_ref().is_some_and(|m| !m.metrics.is_empty());
            assert_eq!(compared, d.champion.is_some(), "{what}: compared unless the first");
        }
        let firsts = decisions.iter().filter(changed).filter(|d| d.champion.is_none()).count();
        assert!(firsts <= 1, "{what}: one first model");
        for run in self.runs().await {
            let done = decisions
                .iter()
                .filter(|d| d.retraining_run == Some(run.id) && d.state == DecisionState::Done);
            let done: Vec<_> = done.collect();
            match run.state {
                RunState::Completed => {
                    assert_eq!(done.len(), 1, "{what}: {run:?}");
                    assert_eq!(run.decision, Some(done[0].id), "{what}");
                    assert_eq!(run.promoted, Some(done[0].promoted), "{what}");
                }
                RunState::Running => panic!("{what}: still running: {run:?}"),
                _ => assert!(done.is_empty(), "{what}: {run:?} has {done:?}"),
            }
            assert!(run.finished_at.is_some() || run.state == RunState::Failed, "{what}: {run:?}");
        }
        let versions = self.registry.versions(&self.model).await.unwrap();
        let runs: std::collections::BTreeSet<_> = versions.iter().map(|v| &v.run_id).collect();
        assert_eq!(runs.len(), versions.len(), "{what}: no run made two versions");
        let ours: Vec<String> = self.runs().await.iter().map(|run| run.id.to_string()).collect();
        assert!(
            versions.iter().all(|v| ours.contains(&v.run_id)),
            "{what}: every version has a run"
        );
    }
}

/// Waits for `future` on a thread of its own: what another process does in the meantime.
fn elsewhere<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let wait = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    std::thread::scope(|scope| scope.spawn(wait).join().unwrap())
}

fn retraining(promotion: Promotion) -> Retraining {
    Retraining::new(promotion, Arc::new(Logistic), formats())
        .settings(by_time(0.5).cooldown(Duration::ZERO))
}

fn by_time(share: f64) -> RetrainSettings {
    RetrainSettings::default().holdout(Holdout::Time { share, gap: Duration::ZERO })
}

fn formats() -> Vec<Arc<dyn ModelFormat>> {
    vec![Arc::new(LogisticFormat), Arc::new(LineFormat)]
}

/// A customer and whether that customer leaves.
fn row(schema: &FeatureSchema, era: Era, number: u64) -> (Row, f64) {
    let (a, b, c) = (uniform(3 * number), uniform(3 * number + 1), uniform(3 * number + 2));
    let (charges, tenure, leaves) = match era {
        Era::One | Era::Gap => (100.0 * a, 72.0 * b, 0.1 + 0.6 * a),
        Era::Upper => (50.0 + 50.0 * a, 72.0 * b, 0.4 + 0.3 * a),
        Era::Two => (100.0 + 300.0 * a, 20.0 * b, 0.65 - 0.6 * a),
    };
    let mut row = Row::missing(schema);
    row.set(schema.id("charges").unwrap(), Value::Number(charges));
    if era != Era::Gap {
        row.set(schema.id("tenure").unwrap(), Value::Number(tenure));
    }
    (row, f64::from(u8::from(c < leaves)))
}
