//! What the monitor has found, and the references that it compares with.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::drift::DriftReport;
use crate::log::{Cursor, Page};
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, Timestamp, Window};

/// One look of the monitor at one window.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::{Timestamp, Window, ledger::*, memory::MemoryLedger};
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
/// let run = DriftRun {
///     id: Uuid::from_u128(1),
///     model: model.clone(),
///     version: VersionId::FIRST,
///     window: Window::before(noon, Duration::from_secs(86_400))?,
///     created_at: noon,
///     report,
/// };
/// ledger.record_drift_run(&run).await?;
/// // The same window is on record once: a second look gets the first one.
/// let again = DriftRun { id: Uuid::from_u128(2), ..run.clone() };
/// assert_eq!(ledger.record_drift_run(&again).await?.id, run.id);
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
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::{Timestamp, ledger::*, memory::MemoryLedger};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// let profile = pmmds::drift::Profile::fit(&batch)?;
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

/// Keeps drift runs and references.
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
/// let store: &dyn DriftStore = &ledger;
/// assert!(store.drift_runs(&model, None, 10).await?.items.is_empty());
/// let error = store.drift_run(Uuid::from_u128(1)).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
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
    )+};
}

forward!(&S, Box<S>, Arc<S>);

const _: Option<&dyn DriftStore> = None;
