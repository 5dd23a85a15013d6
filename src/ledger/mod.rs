//! Why things are as they are: drift runs, alerts, retraining runs, promotion decisions, leases,
//! and the history of jobs.
//!
//! The [registry](crate::registry) says *what* is in production, the ledger *why*. Five small
//! traits, one per concern; a [`Ledger`] is all of them.
//!
//! Writes that must not be made by an owner who lost its turn carry the [`Lease`] they were made
//! under. The store checks its fencing token in the same transaction as the write (M. Kleppmann,
//! *How to do distributed locking*, 2016).

mod delivery;
mod jobs;
mod rules;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::drift::{DriftReport, Severity};
use crate::log::{Cursor, Page};
use crate::promote::DecisionRecord;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, Timestamp, Window};

pub use delivery::{AlertDelivery, AlertEvent, DeliveryState};
pub use jobs::{JobClaim, JobRun, JobState, JobStore};
pub use rules::{DecisionStep, Rules};

/// One look of the monitor at one window.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// # let report = pmmds::drift::DriftDetector::default().compare(&batch, &batch)?;
/// # let window = pmmds::Window::before(noon, Duration::from_secs(86_400))?;
/// let run = DriftRun {
///     id: Uuid::from_u128(1),
///     model: model.clone(),
///     version: VersionId::FIRST,
///     window,
///     created_at: noon,
///     report,
/// };
/// ledger.record_drift_run(&run).await?;
/// assert_eq!(ledger.drift_run(run.id).await?, run);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftRun {
    /// names the run
    pub id: Uuid,
    /// the model that was looked at
    pub model: ModelName,
    /// the version that was looked at
    pub version: VersionId,
    /// the stretch of time that was looked at
    pub window: Window,
    /// when it was looked at, by the store's clock
    pub created_at: Timestamp,
    /// what was found
    pub report: DriftReport,
}

/// The reference that a version's profile was made of.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// # let report = pmmds::drift::DriftDetector::default().compare(&batch, &batch)?;
/// # let window = pmmds::Window::before(noon, Duration::from_secs(86_400))?;
/// # let profile = pmmds::drift::Profile::fit(&batch)?;
/// let reference = ReferenceDataset {
///     name: format!("{model}-v1"),
///     model: model.clone(),
///     version: VersionId::FIRST,
///     rows: profile.rows(),
///     features: 1,
///     profile: profile.fingerprint(),
///     data: None,
///     created_at: noon,
/// };
/// ledger.record_reference(&reference).await?;
/// assert_eq!(ledger.references(&model).await?, [reference]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceDataset {
    /// names the data set, uniquely
    pub name: String,
    /// the model
    pub model: ModelName,
    /// the version that it is the reference of
    pub version: VersionId,
    /// number of rows
    pub rows: u64,
    /// number of features
    pub features: u64,
    /// fingerprint of the profile
    pub profile: Fingerprint,
    /// fingerprint of the rows themselves, where they are known
    pub data: Option<Fingerprint>,
    /// when it was recorded
    pub created_at: Timestamp,
}

/// Something that a person was told about.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # use pmmds::drift::Severity;
/// # let alert = Alert {
/// #     id: Uuid::from_u128(1),
/// #     model: model.clone(),
/// #     version: VersionId::FIRST,
/// #     key: "drift".to_owned(),
/// #     drift_run: Some(Uuid::from_u128(2)),
/// #     last_run: Some(Uuid::from_u128(2)),
/// #     severity: Severity::Major,
/// #     message: "1 of 1 features drifted: x (PSI 0.69)".to_owned(),
/// #     features: vec!["x".to_owned()],
/// #     opened_at: noon,
/// #     acknowledged_at: None,
/// #     action_taken: None,
/// #     retraining_run: None,
/// #     quiet_runs: 0,
/// #     resolved_at: None,
/// #     deliveries: Vec::new(),
/// # };
/// let opened = ledger.open_alert(&alert).await?;
/// assert_eq!((opened.key.as_str(), opened.resolved_at), ("drift", None));
/// println!("{}: {}", opened.severity.word(), opened.message);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// names the alert
    pub id: Uuid,
    /// the model
    pub model: ModelName,
    /// the version
    pub version: VersionId,
    /// what it is about: while an alert with the same model, version and key is open, there is no
    /// second one
    pub key: String,
    /// the drift run that opened it; `None` where it is not about drift but about a store or
    /// service: then whoever opened it resolves it, and not the monitor, nor a promotion
    pub drift_run: Option<Uuid>,
    /// the latest drift run that confirmed it
    pub last_run: Option<Uuid>,
    /// how bad it is
    pub severity: Severity,
    /// what changed, in plain words
    pub message: String,
    /// the features it is about, largest shift first
    pub features: Vec<String>,
    /// when it was opened
    pub opened_at: Timestamp,
    /// when somebody said that it is being looked at
    pub acknowledged_at: Option<Timestamp>,
    /// what that person did
    pub action_taken: Option<String>,
    /// the retraining run that it started
    pub retraining_run: Option<Uuid>,
    /// runs in a row that did not confirm it
    pub quiet_runs: u32,
    /// when it was over
    pub resolved_at: Option<Timestamp>,
    /// who was told about it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<AlertDelivery>,
}

/// What made a retraining run start.
///
/// ```
/// use pmmds::ledger::Trigger;
/// assert_eq!(serde_json::to_string(&Trigger::Scheduled)?, r#""scheduled""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trigger {
    /// A drift alert.
    Drift,
    /// The schedule.
    Scheduled,
    /// A person.
    Manual,
}

/// How far a retraining run has come.
///
/// ```
/// use pmmds::ledger::RunState;
/// assert_eq!(RunState::Skipped.as_str(), "skipped");
/// assert_eq!(serde_json::to_string(&RunState::Skipped)?, r#""skipped""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// Under way, as long as its lease holds.
    Running,
    /// Went through to a decision.
    Completed,
    /// Ended early, for example without new data.
    Skipped,
    /// Ended with an error.
    Failed,
    /// Its owner disappeared, and it was not taken up again.
    Abandoned,
}

impl RunState {
    /// The word that is stored and sent, such as `"running"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// One attempt to make a better version.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # use std::collections::BTreeMap;
/// let run = RetrainingRun {
///     id: Uuid::from_u128(1),
///     model: model.clone(),
///     trigger: Trigger::Manual,
///     alert: None,
///     drift_run: None,
///     state: RunState::Running,
///     step: "gather data".to_owned(),
///     attempts: 1,
///     data: None,
///     challenger: None,
///     decision: None,
///     promoted: None,
///     message: None,
///     details: BTreeMap::new(),
///     started_at: noon,
///     finished_at: None,
/// };
/// ledger.record_retraining_run(&run, None).await?;
/// let done = RetrainingRun {
///     state: RunState::Skipped,
///     message: Some("NoNewData: a run before was on the same rows".to_owned()),
///     finished_at: Some(noon),
///     ..run
/// };
/// ledger.record_retraining_run(&done, None).await?;
/// assert_eq!(ledger.retraining_runs(&model, None, 10).await?.items, [done]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetrainingRun {
    /// names the run, also in the registry
    pub id: Uuid,
    /// the model
    pub model: ModelName,
    /// what started it
    pub trigger: Trigger,
    /// the alert that started it
    pub alert: Option<Uuid>,
    /// the drift run behind the alert
    pub drift_run: Option<Uuid>,
    /// how far it has come
    pub state: RunState,
    /// the step it is at, or ended at, for a person
    pub step: String,
    /// how many times it was begun: 1, and 1 more for each time it was taken up after a crash
    pub attempts: u32,
    /// fingerprint of the training data
    pub data: Option<Fingerprint>,
    /// the version it registered
    pub challenger: Option<VersionId>,
    /// the decision it led to
    pub decision: Option<Uuid>,
    /// whether the challenger was promoted
    pub promoted: Option<bool>,
    /// why it was skipped or failed
    pub message: Option<String>,
    /// settings of the trainer, rows of each part, durations
    pub details: BTreeMap<String, String>,
    /// when it began
    pub started_at: Timestamp,
    /// when it ended
    pub finished_at: Option<Timestamp>,
}

/// What kind of change of the production alias a decision is about.
///
/// ```
/// use pmmds::ledger::DecisionKind;
/// assert_eq!(serde_json::to_string(&DecisionKind::Rollback)?, r#""rollback""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecisionKind {
    /// A challenger was compared with the champion.
    Promotion,
    /// The version before was put back.
    Rollback,
    /// A version that had been in production before was put there again, by its number.
    Restore,
    /// Somebody else moved the alias; it was noticed.
    External,
}

/// How far a decision has been carried out.
///
/// ```
/// use pmmds::ledger::DecisionState;
/// assert_eq!(DecisionState::Intended.as_str(), "intended");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecisionState {
    /// Decided, and the alias not yet known to have moved.
    Intended,
    /// Carried out, or nothing had to be done.
    Done,
    /// Not carried out, because the alias was not where it was expected.
    Cancelled,
}

impl DecisionState {
    /// The word that is stored and sent, such as `"intended"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A decision about the production alias.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let decision = PromotionDecision {
///     id: Uuid::from_u128(1),
///     model: model.clone(),
///     kind: DecisionKind::Rollback,
///     champion: VersionId::new(2),
///     challenger: VersionId::FIRST,
///     promoted: true,
///     reason: "Rolled back from v2 to v1: complaints.".to_owned(),
///     state: DecisionState::Intended,
///     retraining_run: None,
///     record: None,
///     created_at: noon,
///     updated_at: noon,
/// };
/// ledger.record_decision(&decision, None).await?; // before the alias moves
/// let done = PromotionDecision { state: DecisionState::Done, ..decision };
/// ledger.record_decision(&done, None).await?; // after it was seen to have moved
/// assert_eq!(ledger.decision(done.id).await?.state, DecisionState::Done);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromotionDecision {
    /// names the decision
    pub id: Uuid,
    /// the model
    pub model: ModelName,
    /// what it is about
    pub kind: DecisionKind,
    /// the version in production before; `None` when there was certainly none
    pub champion: Option<VersionId>,
    /// the version that was compared, put back or noticed
    pub challenger: VersionId,
    /// whether `challenger` is to be in production
    pub promoted: bool,
    /// the reason in one sentence
    pub reason: String,
    /// how far it has been carried out
    pub state: DecisionState,
    /// the retraining run that led to it
    pub retraining_run: Option<Uuid>,
    /// every number behind it; `None` where nothing was compared
    pub record: Option<DecisionRecord>,
    /// when it was decided
    pub created_at: Timestamp,
    /// when its state last changed
    pub updated_at: Timestamp,
}

/// A turn at something that only one may do at a time.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let minute = Duration::from_secs(60);
/// let lease = ledger.acquire_lease("promote/churn", "replica-1", minute).await?.unwrap();
/// assert_eq!(lease.expires_at, noon.saturating_add(minute));
/// ledger.release_lease(&lease).await?;
/// let next = ledger.acquire_lease("promote/churn", "replica-2", minute).await?.unwrap();
/// assert!(next.token > lease.token);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// what it is about
    pub name: String,
    /// who holds it
    pub owner: String,
    /// the fencing token: greater for every holder than for the one before
    pub token: u64,
    /// when it ends, by the store's clock
    pub expires_at: Timestamp,
}

/// Keeps drift runs and references.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// # let report = pmmds::drift::DriftDetector::default().compare(&batch, &batch)?;
/// # let window = pmmds::Window::before(noon, Duration::from_secs(86_400))?;
/// let store: &dyn DriftStore = &ledger;
/// let run = DriftRun {
///     id: Uuid::from_u128(1),
///     model: model.clone(),
///     version: VersionId::FIRST,
///     window,
///     created_at: noon,
///     report,
/// };
/// store.record_drift_run(&run).await?;
/// // The same window is on record once: a second look gets the first one.
/// let again = DriftRun { id: Uuid::from_u128(2), ..run.clone() };
/// assert_eq!(store.record_drift_run(&again).await?.id, run.id);
/// assert_eq!(store.drift_runs(&model, None, 10).await?.items, [run]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait DriftStore: Debug + Send + Sync {
    /// Stores a run, once by id, and once for a model, version, window and profile: a second one
    /// is not stored, and the one that is there is returned.
    async fn record_drift_run(&self, run: &DriftRun) -> Result<DriftRun, Error>;

    /// One run; [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn drift_run(&self, id: Uuid) -> Result<DriftRun, Error>;

    /// Runs of `model`, newest first, at most `limit` before `before`.
    async fn drift_runs(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<DriftRun>, Error>;

    /// Stores a reference, or replaces the one with the same name.
    async fn record_reference(&self, reference: &ReferenceDataset) -> Result<(), Error>;

    /// The references of `model`, oldest first.
    async fn references(&self, model: &ModelName) -> Result<Vec<ReferenceDataset>, Error>;
}

/// Keeps alerts.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # use pmmds::drift::Severity;
/// # let alert = Alert {
/// #     id: Uuid::from_u128(1),
/// #     model: model.clone(),
/// #     version: VersionId::FIRST,
/// #     key: "drift".to_owned(),
/// #     drift_run: Some(Uuid::from_u128(2)),
/// #     last_run: Some(Uuid::from_u128(2)),
/// #     severity: Severity::Major,
/// #     message: "1 of 1 features drifted: x (PSI 0.69)".to_owned(),
/// #     features: vec!["x".to_owned()],
/// #     opened_at: noon,
/// #     acknowledged_at: None,
/// #     action_taken: None,
/// #     retraining_run: None,
/// #     quiet_runs: 0,
/// #     resolved_at: None,
/// #     deliveries: Vec::new(),
/// # };
/// let store: &dyn AlertStore = &ledger;
/// store.open_alert(&alert).await?;
/// let again = Alert { id: Uuid::from_u128(9), ..alert.clone() };
/// assert_eq!(store.open_alert(&again).await?.id, alert.id, "one is open");
///
/// let seen = store.acknowledge_alert(alert.id, Some("asked marketing"), noon).await?;
/// assert_eq!(seen.acknowledged_at, Some(noon));
/// // A monitor that has read the alert before undoes nothing.
/// store.update_alert(&Alert { quiet_runs: 1, ..alert }).await?;
/// let open = &store.open_alerts(&model).await?[0];
/// assert_eq!((open.quiet_runs, open.action_taken.as_deref()), (1, Some("asked marketing")));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait AlertStore: Debug + Send + Sync {
    /// Opens `alert`, unless one with the same model, version and key is open, or one with its id
    /// is known: that one is returned as it is, and can be told by its id.
    async fn open_alert(&self, alert: &Alert) -> Result<Alert, Error>;

    /// Replaces an alert by id; [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    ///
    /// Monitor, retraining and people write to the same alert, so nothing that one of them has
    /// recorded is undone by another's older copy: the times of acknowledgement and resolution,
    /// the action taken and the retraining run stay as they are once they are there, and so do
    /// deliveries that have ended. Model,
    /// version, key, time of opening and the run that opened it never change.
    async fn update_alert(&self, alert: &Alert) -> Result<(), Error>;

    /// Marks an alert as being looked at, keeping the first time and the latest action, and
    /// returns it.
    async fn acknowledge_alert(
        &self,
        id: Uuid,
        action_taken: Option<&str>,
        at: Timestamp,
    ) -> Result<Alert, Error>;

    /// One alert; [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn alert(&self, id: Uuid) -> Result<Alert, Error>;

    /// Alerts of `model` that are not resolved, newest first.
    async fn open_alerts(&self, model: &ModelName) -> Result<Vec<Alert>, Error>;

    /// All alerts of `model`, newest first, at most `limit` before `before`.
    async fn alerts(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Alert>, Error>;
}

/// Keeps retraining runs and promotion decisions.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let decision = PromotionDecision {
///     id: Uuid::from_u128(1),
///     model: model.clone(),
///     kind: DecisionKind::Rollback,
///     champion: VersionId::new(2),
///     challenger: VersionId::FIRST,
///     promoted: true,
///     reason: "Rolled back from v2 to v1: complaints.".to_owned(),
///     state: DecisionState::Intended,
///     retraining_run: None,
///     record: None,
///     created_at: noon,
///     updated_at: noon,
/// };
/// let store: &dyn DecisionStore = &ledger;
/// let done = PromotionDecision { state: DecisionState::Done, ..decision };
/// store.record_decision(&done, None).await?;
/// let other = PromotionDecision { reason: "Something else.".to_owned(), ..done.clone() };
/// assert_eq!(
///     store.record_decision(&other, None).await.unwrap_err().to_string(),
///     "memory ledger: conflict: decision 00000000-0000-0000-0000-000000000001 is done and does not \
///      change",
/// );
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait DecisionStore: Debug + Send + Sync {
    /// Stores a run, or replaces the one with the same id. With a lease:
    /// [`Conflict`](crate::ErrorKind::Conflict) if that lease is no longer the current one.
    async fn record_retraining_run(
        &self,
        run: &RetrainingRun,
        lease: Option<&Lease>,
    ) -> Result<(), Error>;

    /// One run; [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn retraining_run(&self, id: Uuid) -> Result<RetrainingRun, Error>;

    /// Runs of `model`, newest first, at most `limit` before `before`.
    async fn retraining_runs(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<RetrainingRun>, Error>;

    /// Stores a decision, or moves the one with the same id on from
    /// [`Intended`](DecisionState::Intended). A decision that is done or cancelled never changes:
    /// [`Conflict`](crate::ErrorKind::Conflict), but for storing the very same again. With a
    /// lease: as [`record_retraining_run`](Self::record_retraining_run).
    async fn record_decision(
        &self,
        decision: &PromotionDecision,
        lease: Option<&Lease>,
    ) -> Result<(), Error>;

    /// One decision; [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn decision(&self, id: Uuid) -> Result<PromotionDecision, Error>;

    /// Decisions about `model`, newest first, at most `limit` before `before`.
    async fn decisions(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<PromotionDecision>, Error>;
}

/// Gives turns.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let store: &dyn LeaseStore = &ledger;
/// let minute = Duration::from_secs(60);
/// let ours = store.acquire_lease("monitor", "replica-1", minute).await?.unwrap();
/// assert_eq!(store.acquire_lease("monitor", "replica-2", minute).await?, None);
/// assert_eq!(store.lease("monitor").await?.unwrap().owner, "replica-1");
/// // The same owner renews, under the same token.
/// let renewed = store.acquire_lease("monitor", "replica-1", minute).await?.unwrap();
/// assert_eq!(renewed.token, ours.token);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync {
    /// Takes the lease `name` for `length`, if it is free, expired, or still `owner`'s (which
    /// renews it under the same token). `None` while somebody else holds it.
    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
    ) -> Result<Option<Lease>, Error>;

    /// Who holds the lease `name` now, if anybody does.
    async fn lease(&self, name: &str) -> Result<Option<Lease>, Error>;

    /// Gives a lease back. Nothing happens if it is no longer the current one.
    async fn release_lease(&self, lease: &Lease) -> Result<(), Error>;
}

/// All of [`DriftStore`], [`AlertStore`], [`DecisionStore`], [`LeaseStore`] and [`JobStore`] in one
/// store.
///
/// # Contract
///
/// * What a write returned `Ok` for is there after a crash, as far as the store can make it.
/// * Lists are ordered by the time of the record, then by id. A page of 0 items is
///   [`InvalidInput`](crate::ErrorKind::InvalidInput).
/// * A write under a lease that was lost changes nothing and is a
///   [`Conflict`](crate::ErrorKind::Conflict). A lease that has expired is lost, also before
///   somebody else takes it.
/// * A record is stored if it can be read back: one with a number that JSON does not have, where
///   its type has no `None`, is [`InvalidInput`](crate::ErrorKind::InvalidInput).
///
/// # Implementing
///
/// Implement the five traits; this one follows. [`Rules`] has the decisions that every ledger
/// takes alike. Run `pmmds::conformance::ledger` (feature
/// `conformance`) on the implementation; the in-memory one in [`memory`](crate::memory) is the
/// reference.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::ledger::*;
/// # use pmmds::memory::MemoryLedger;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::Timestamp;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let ledger: &dyn Ledger = &ledger;
/// assert!(ledger.open_alerts(&model).await?.is_empty());
/// assert!(ledger.decisions(&model, None, 10).await?.items.is_empty());
/// # Ok(())
/// # }
/// ```
pub trait Ledger: DriftStore + AlertStore + DecisionStore + LeaseStore + JobStore {}

impl<T: DriftStore + AlertStore + DecisionStore + LeaseStore + JobStore + ?Sized> Ledger for T {}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<S: DriftStore + ?Sized> DriftStore for $wrapper {
            async fn record_drift_run(&self, run: &DriftRun) -> Result<DriftRun, Error> {
                (**self).record_drift_run(run).await
            }

            async fn drift_run(&self, id: Uuid) -> Result<DriftRun, Error> {
                (**self).drift_run(id).await
            }

            async fn drift_runs(
                &self,
                model: &ModelName,
                before: Option<Cursor>,
                limit: usize,
            ) -> Result<Page<DriftRun>, Error> {
                (**self).drift_runs(model, before, limit).await
            }

            async fn record_reference(&self, reference: &ReferenceDataset) -> Result<(), Error> {
                (**self).record_reference(reference).await
            }

            async fn references(&self, model: &ModelName) -> Result<Vec<ReferenceDataset>, Error> {
                (**self).references(model).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<S: AlertStore + ?Sized> AlertStore for $wrapper {
            async fn open_alert(&self, alert: &Alert) -> Result<Alert, Error> {
                (**self).open_alert(alert).await
            }

            async fn update_alert(&self, alert: &Alert) -> Result<(), Error> {
                (**self).update_alert(alert).await
            }

            async fn acknowledge_alert(
                &self,
                id: Uuid,
                action_taken: Option<&str>,
                at: Timestamp,
            ) -> Result<Alert, Error> {
                (**self).acknowledge_alert(id, action_taken, at).await
            }

            async fn alert(&self, id: Uuid) -> Result<Alert, Error> {
                (**self).alert(id).await
            }

            async fn open_alerts(&self, model: &ModelName) -> Result<Vec<Alert>, Error> {
                (**self).open_alerts(model).await
            }

            async fn alerts(
                &self,
                model: &ModelName,
                before: Option<Cursor>,
                limit: usize,
            ) -> Result<Page<Alert>, Error> {
                (**self).alerts(model, before, limit).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<S: DecisionStore + ?Sized> DecisionStore for $wrapper {
            async fn record_retraining_run(
                &self,
                run: &RetrainingRun,
                lease: Option<&Lease>,
            ) -> Result<(), Error> {
                (**self).record_retraining_run(run, lease).await
            }

            async fn retraining_run(&self, id: Uuid) -> Result<RetrainingRun, Error> {
                (**self).retraining_run(id).await
            }

            async fn retraining_runs(
                &self,
                model: &ModelName,
                before: Option<Cursor>,
                limit: usize,
            ) -> Result<Page<RetrainingRun>, Error> {
                (**self).retraining_runs(model, before, limit).await
            }

            async fn record_decision(
                &self,
                decision: &PromotionDecision,
                lease: Option<&Lease>,
            ) -> Result<(), Error> {
                (**self).record_decision(decision, lease).await
            }

            async fn decision(&self, id: Uuid) -> Result<PromotionDecision, Error> {
                (**self).decision(id).await
            }

            async fn decisions(
                &self,
                model: &ModelName,
                before: Option<Cursor>,
                limit: usize,
            ) -> Result<Page<PromotionDecision>, Error> {
                (**self).decisions(model, before, limit).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<S: LeaseStore + ?Sized> LeaseStore for $wrapper {
            async fn acquire_lease(
                &self,
                name: &str,
                owner: &str,
                length: Duration,
            ) -> Result<Option<Lease>, Error> {
                (**self).acquire_lease(name, owner, length).await
            }

            async fn lease(&self, name: &str) -> Result<Option<Lease>, Error> {
                (**self).lease(name).await
            }

            async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
                (**self).release_lease(lease).await
            }
        }
    )+};
}

forward!(&S, Box<S>, Arc<S>);

const _: Option<&dyn Ledger> = None;
