//! What a registry gave last, kept at hand for an outage.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Alias, ArtifactFiles, ModelName, VersionId};
use crate::{Error, Timestamp};

/// A version as a registry gave it, with its files.
///
/// See [`ModelCache`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedVersion {
    /// its number in the registry
    pub version: VersionId,
    /// its files
    pub files: ArtifactFiles,
    /// when it was kept, by the clock of whoever kept it
    pub kept_at: Timestamp,
}

impl CachedVersion {
    /// The version `version` with `files`, kept at `kept_at`.
    #[must_use]
    pub fn new(version: VersionId, files: ArtifactFiles, kept_at: Timestamp) -> Self {
        Self { version, files, kept_at }
    }
}

/// Keeps the version that a service has loaded last, so that it can start while the registry is
/// away.
///
/// It is no registry: it knows neither aliases nor other versions, and says nothing about what is in
/// production. Whoever promotes, retrains or rolls back asks the
/// [`ModelRegistry`](super::ModelRegistry), and fails while that is away.
///
/// # Contract
///
/// * One version is kept for each model and alias; another takes its place whole or not at all,
///   whenever the process ends.
/// * [`last`](Self::last) returns the very bytes that were kept, or an error: damage is
///   [`Corrupt`](crate::ErrorKind::Corrupt), what was kept for another registry a
///   [`Conflict`](crate::ErrorKind::Conflict). The caller verifies them as it would those of a
///   registry ([`open_version`](crate::lifecycle::open_version)).
///
/// # Implementing
///
/// The feature `files` has one in a folder. In memory it outlives no process, and shows the calls:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
/// use async_trait::async_trait;
/// use pmmds::registry::{Alias, ArtifactFiles, CachedVersion, ModelCache, ModelName, VersionId};
/// use pmmds::{Error, Timestamp};
///
/// #[derive(Debug, Default)]
/// struct InMemory(Mutex<BTreeMap<(ModelName, Alias), CachedVersion>>);
///
/// #[async_trait]
/// impl ModelCache for InMemory {
///     async fn keep(&self, model: &ModelName, alias: &Alias, cached: &CachedVersion) -> Result<(), Error> {
///         self.0.lock().unwrap().insert((model.clone(), alias.clone()), cached.clone());
///         Ok(())
///     }
///     async fn last(&self, model: &ModelName, alias: &Alias) -> Result<Option<CachedVersion>, Error> {
///         Ok(self.0.lock().unwrap().get(&(model.clone(), alias.clone())).cloned())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (cache, model, alias) = (InMemory::default(), ModelName::new("churn")?, Alias::production());
/// assert_eq!(cache.last(&model, &alias).await?, None);
/// let two = VersionId::new(2).unwrap();
/// let cached = CachedVersion::new(two, ArtifactFiles::new(), Timestamp::EPOCH);
/// cache.keep(&model, &alias, &cached).await?;
/// assert_eq!(cache.last(&model, &alias).await?, Some(cached));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ModelCache: Debug + Send + Sync {
    /// Keeps `cached` as the last version of `model` that was found behind `alias`.
    async fn keep(
        &self,
        model: &ModelName,
        alias: &Alias,
        cached: &CachedVersion,
    ) -> Result<(), Error>;

    /// What was kept last; `None` when nothing was.
    async fn last(&self, model: &ModelName, alias: &Alias) -> Result<Option<CachedVersion>, Error>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<C: ModelCache + ?Sized> ModelCache for Arc<C> {
    async fn keep(
        &self,
        model: &ModelName,
        alias: &Alias,
        cached: &CachedVersion,
    ) -> Result<(), Error> {
        (**self).keep(model, alias, cached).await
    }

    async fn last(&self, model: &ModelName, alias: &Alias) -> Result<Option<CachedVersion>, Error> {
        (**self).last(model, alias).await
    }
}

const _: Option<&dyn ModelCache> = None;
