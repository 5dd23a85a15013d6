//! What somebody should look at.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AlertDelivery;
use crate::drift::Severity;
use crate::log::{Cursor, Page};
use crate::registry::{ModelName, VersionId};
use crate::{Error, Timestamp};

/// Something that a person was told about.
///
/// ```
/// # use pmmds::drift::Severity;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::{Timestamp, ledger::*, memory::MemoryLedger};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let alert = Alert {
///     id: Uuid::from_u128(1),
///     model: model.clone(),
///     version: VersionId::FIRST,
///     key: "drift".to_owned(),
///     drift_run: Some(Uuid::from_u128(2)),
///     last_run: Some(Uuid::from_u128(2)),
///     severity: Severity::Major,
///     message: "1 of 1 features drifted: x (PSI 0.69)".to_owned(),
///     features: vec!["x".to_owned()],
///     opened_at: noon,
///     acknowledged_at: None,
///     action_taken: None,
///     retraining_run: None,
///     quiet_runs: 0,
///     resolved_at: None,
///     deliveries: Vec::new(),
/// };
/// ledger.open_alert(&alert).await?;
/// let again = Alert { id: Uuid::from_u128(9), ..alert.clone() };
/// assert_eq!(ledger.open_alert(&again).await?.id, alert.id, "one is open");
///
/// let seen = ledger.acknowledge_alert(alert.id, Some("asked marketing"), noon).await?;
/// assert_eq!(seen.acknowledged_at, Some(noon));
/// // A monitor that has read the alert before undoes nothing.
/// ledger.update_alert(&Alert { quiet_runs: 1, ..alert }).await?;
/// let open = &ledger.open_alerts(&model).await?[0];
/// assert_eq!((open.quiet_runs, open.action_taken.as_deref()), (1, Some("asked marketing")));
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

/// Keeps alerts.
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
/// let store: &dyn AlertStore = &ledger;
/// assert!(store.open_alerts(&model).await?.is_empty());
/// let error = store.acknowledge_alert(Uuid::from_u128(1), None, noon).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
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

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
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
    )+};
}

forward!(&S, Box<S>, Arc<S>);

const _: Option<&dyn AlertStore> = None;
