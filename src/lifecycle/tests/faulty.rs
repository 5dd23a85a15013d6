//! Stores that fail at the call they are told to.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{World, uniform};
use crate::drift::Profile;
use crate::ledger::{
    Alert, AlertStore, DecisionStore, DriftRun, DriftStore, JobClaim, JobRun, JobState, JobStore,
    Lease, LeaseStore, PromotionDecision, ReferenceDataset, RetrainingRun,
};
use crate::lifecycle::{Monitor, Promotion};
use crate::log::{
    Appended, Cursor, EventBatch, InferenceLog, LabelledEvent, LoggedEvent, Outcome,
    OutcomeReceipt, Page, Purged, WindowCounts,
};
use crate::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, ModelVersion, VersionId};
use crate::{Error, ErrorKind, Timestamp, Window};

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The n-th call does not happen, and all others do: a blip.
    Refused(usize),
    /// The n-th call happens, and its answer is lost.
    Lost(usize),
    /// The process dies before the n-th call.
    KilledBefore(usize),
    /// The process dies after the n-th call, before it hears of it.
    KilledAfter(usize),
    /// Of fifty calls one is refused and one loses its answer, by chance.
    Random(u64),
}

/// What becomes of one call.
enum Fate {
    Happens,
    Refused,
    Lost,
}

#[derive(Debug)]
pub(super) struct Faults {
    fault: Fault,
    // calls so far
    calls: AtomicUsize,
    // that failed
    failed: AtomicUsize,
}

impl Faults {
    pub(super) fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self { fault, calls: 0.into(), failed: 0.into() })
    }

    /// Whether any call has failed.
    pub(super) fn struck(&self) -> bool {
        self.failed.load(SeqCst) > 0
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    fn fate(&self) -> Fate {
        let call = self.calls.fetch_add(1, SeqCst) + 1;
        let fate = match self.fault {
            Fault::Refused(n) if call == n => Fate::Refused,
            Fault::Lost(n) if call == n => Fate::Lost,
            Fault::KilledBefore(n) if call >= n => Fate::Refused,
            Fault::KilledAfter(n) if call == n => Fate::Lost,
            Fault::KilledAfter(n) if call > n => Fate::Refused,
            Fault::Random(seed) => match uniform(seed.wrapping_mul(1_000_003) + call as u64) {
                x if x < 0.02 => Fate::Refused,
                x if x < 0.04 => Fate::Lost,
                _ => Fate::Happens,
            },
            _ => Fate::Happens,
        };
        if !matches!(fate, Fate::Happens) {
            self.failed.fetch_add(1, SeqCst);
        }
        fate
    }

    async fn call<T: Send>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let error =
            |how: &str| Error::new(ErrorKind::Unavailable, "faulty", format!("{what} {how}"));
        match self.fate() {
            Fate::Happens => call.await,
            Fate::Refused => Err(error("did not happen")),
            Fate::Lost => {
                let _ = call.await;
                Err(error("has happened, its answer is lost"))
            }
        }
    }
}

#[derive(Debug)]
struct Faulty<T> {
    store: Arc<T>,
    faults: Arc<Faults>,
}

impl World {
    pub(super) fn faulty_promotion(&self, faults: &Arc<Faults>) -> Promotion {
        let registry = faulty(&self.registry, faults);
        let (log, ledger) = (faulty(&self.log, faults), faulty(&self.ledger, faults));
        Promotion::new(registry, log, ledger, Arc::clone(&self.environment) as _, "replica-1")
    }

    pub(super) fn faulty_monitor(&self, faults: &Arc<Faults>) -> Monitor {
        let (log, ledger) = (faulty(&self.log, faults), faulty(&self.ledger, faults));
        Monitor::new(log, ledger, Arc::clone(&self.environment) as _, "replica-1")
    }
}

fn faulty<T>(store: &Arc<T>, faults: &Arc<Faults>) -> Arc<Faulty<T>> {
    Arc::new(Faulty { store: Arc::clone(store), faults: Arc::clone(faults) })
}

/// Every method of a trait, each call through the faults.
macro_rules! faulty {
    ($trait:ident: $($method:ident($($name:ident: $type:ty),*) -> $output:ty;)+) => {
        #[async_trait]
        impl<S: $trait> $trait for Faulty<S> {
            $(
                async fn $method(&self, $($name: $type),*) -> Result<$output, Error> {
                    self.faults.call(stringify!($method), self.store.$method($($name),*)).await
                }
            )+
        }
    };
}

faulty! { ModelRegistry:
    register(model: &ModelName, run_id: &str, files: &ArtifactFiles) -> ModelVersion;
    get(model: &ModelName, version: VersionId) -> ModelVersion;
    versions(model: &ModelName) -> Vec<ModelVersion>;
    resolve(model: &ModelName, alias: &Alias) -> Option<VersionId>;
    set_alias(
        model: &ModelName, alias: &Alias, version: VersionId, expected: Option<VersionId>
    ) -> ();
    fetch_artifact(model: &ModelName, version: VersionId) -> ArtifactFiles;
    tag(model: &ModelName, version: VersionId, key: &str, value: &str) -> ();
}

faulty! { InferenceLog:
    append(batch: &EventBatch) -> Appended;
    record_outcomes(outcomes: &[Outcome]) -> OutcomeReceipt;
    counts(
        model: &ModelName, version: VersionId, window: Window, profile: &Profile
    ) -> WindowCounts;
    scan(
        model: &ModelName, window: Window, after: Option<Cursor>, limit: usize
    ) -> Page<LoggedEvent>;
    labelled(
        model: &ModelName, window: Window, after: Option<Cursor>, limit: usize
    ) -> Page<LabelledEvent>;
    purge(before: Timestamp) -> Purged;
    now() -> Timestamp;
}

faulty! { DriftStore:
    record_drift_run(run: &DriftRun) -> DriftRun;
    drift_run(id: Uuid) -> DriftRun;
    drift_runs(model: &ModelName, before: Option<Cursor>, limit: usize) -> Page<DriftRun>;
    record_reference(reference: &ReferenceDataset) -> ();
    references(model: &ModelName) -> Vec<ReferenceDataset>;
}

faulty! { AlertStore:
    open_alert(alert: &Alert) -> Alert;
    update_alert(alert: &Alert) -> ();
    acknowledge_alert(id: Uuid, action_taken: Option<&str>, at: Timestamp) -> Alert;
    alert(id: Uuid) -> Alert;
    open_alerts(model: &ModelName) -> Vec<Alert>;
    alerts(model: &ModelName, before: Option<Cursor>, limit: usize) -> Page<Alert>;
}

faulty! { DecisionStore:
    record_retraining_run(run: &RetrainingRun, lease: Option<&Lease>) -> ();
    retraining_run(id: Uuid) -> RetrainingRun;
    retraining_runs(
        model: &ModelName, before: Option<Cursor>, limit: usize
    ) -> Page<RetrainingRun>;
    record_decision(decision: &PromotionDecision, lease: Option<&Lease>) -> ();
    decision(id: Uuid) -> PromotionDecision;
    decisions(
        model: &ModelName, before: Option<Cursor>, limit: usize
    ) -> Page<PromotionDecision>;
}

faulty! { LeaseStore:
    acquire_lease(name: &str, owner: &str, length: Duration) -> Option<Lease>;
    lease(name: &str) -> Option<Lease>;
    release_lease(lease: &Lease) -> ();
}

faulty! { JobStore:
    claim_job(claim: &JobClaim<'_>) -> Option<JobRun>;
    extend_job(run: &JobRun, lease: Duration) -> JobRun;
    finish_job(run: &JobRun, state: JobState, result: Option<&str>) -> JobRun;
    job_run(job: &str, slot: Timestamp) -> Option<JobRun>;
    job_runs(job: &str, before: Option<Timestamp>, limit: usize) -> Vec<JobRun>;
}
