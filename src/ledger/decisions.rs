//! Retraining runs, and the decisions that they lead to.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Lease;
use crate::log::{Cursor, Page};
use crate::promote::DecisionRecord;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, Timestamp};

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
/// # use pmmds::{Timestamp, ledger::*, memory::MemoryLedger};
/// # use pmmds::registry::ModelName;
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
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::{Timestamp, ledger::*, memory::MemoryLedger};
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
/// let other = PromotionDecision { reason: "Something else.".to_owned(), ..done };
/// assert_eq!(
///     ledger.record_decision(&other, None).await.unwrap_err().to_string(),
///     "memory ledger: conflict: decision 00000000-0000-0000-0000-000000000001 is done and does not \
///      change",
/// );
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

/// Keeps retraining runs and promotion decisions.
///
/// ```
/// # use pmmds::registry::ModelName;
/// # use pmmds::{ErrorKind, Timestamp, ledger::*, memory::MemoryLedger};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let store: &dyn DecisionStore = &ledger;
/// assert!(store.decisions(&model, None, 10).await?.items.is_empty());
/// assert!(store.retraining_runs(&model, None, 10).await?.items.is_empty());
/// let error = store.decision(Uuid::from_u128(1)).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
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

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
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
    )+};
}

forward!(&S, Box<S>, Arc<S>);

const _: Option<&dyn DecisionStore> = None;
