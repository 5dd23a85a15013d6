//! Where model versions live, and which of them is in production.
//!
//! The registry is the truth for *what* is in production, the [ledger](crate::ledger) for *why*.
//! Names, versions and aliases are checked here, once, so that no implementation has to think
//! about `../../etc` or `latest`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::schema::Fingerprint;
use crate::{Error, Timestamp};

mod artifact_files;
mod cache;
mod names;
mod rules;

pub use artifact_files::{ArtifactError, ArtifactFiles, MAX_ARTIFACT_BYTES, MAX_ARTIFACT_FILES};
pub use cache::{CachedVersion, ModelCache};
pub use names::{Alias, ModelName, NameError, VersionId};
pub use rules::{AliasStep, MAX_TAG_BYTES, Rules};

/// What a registry knows of one version.
///
/// ```
/// use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
/// # use pmmds::memory::MemoryRegistry;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (registry, model) = (MemoryRegistry::new(), ModelName::new("churn")?);
/// let version = registry.register(&model, "run-1", &ArtifactFiles::new()).await?.version;
/// registry.set_alias(&model, &Alias::production(), version, None).await?;
/// registry.tag(&model, version, "note", "the first").await?;
///
/// let known = registry.get(&model, version).await?;
/// assert_eq!((known.run_id.as_str(), known.aliases.len()), ("run-1", 1));
/// assert_eq!(known.tags["note"], "the first");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelVersion {
    /// name of the model
    pub model: ModelName,
    /// number of the version
    pub version: VersionId,
    /// the run that made it; registering the same run again gives the same version
    pub run_id: String,
    /// when it was registered, by the registry's clock
    pub created_at: Timestamp,
    /// [`ArtifactFiles::digest`] of its files
    pub digest: Fingerprint,
    /// aliases that point at it now, in alphabetical order
    pub aliases: Vec<Alias>,
    /// notes, such as why it was rejected
    pub tags: BTreeMap<String, String>,
}

impl ModelVersion {
    /// A version as a registry found it, without aliases and tags.
    #[must_use]
    pub fn new(
        model: ModelName,
        version: VersionId,
        run_id: impl Into<String>,
        created_at: Timestamp,
        digest: Fingerprint,
    ) -> Self {
        Self {
            model,
            version,
            run_id: run_id.into(),
            created_at,
            digest,
            aliases: Vec::new(),
            tags: BTreeMap::new(),
        }
    }
}

/// Keeps model versions, their files, and the aliases that point at them.
///
/// # Contract
///
/// * Versions are numbered 1, 2, 3 ... per model and never change but in tags and aliases.
/// * [`register`](Self::register) is idempotent by run id: the same run gives the same version,
///   also after a crash between upload and answer. Different bytes under a known run id are a
///   [`Conflict`](crate::ErrorKind::Conflict).
/// * A registration is there whole or not at all, whoever looks and whenever the process ends.
/// * `Ok(None)` from [`resolve`](Self::resolve) is a *fact*: the registry answered, and there is no
///   such alias (or no such model). Everything else is an error; an outage is
///   [`Unavailable`](crate::ErrorKind::Unavailable).
/// * [`set_alias`](Self::set_alias) compares and sets: of several callers who expect the same, one
///   moves the alias.
/// * Run ids and tag keys are names, checked by [`Rules`]: others are
///   [`InvalidInput`](crate::ErrorKind::InvalidInput).
/// * What [`fetch_artifact`](Self::fetch_artifact) returns was checked against the digest that was
///   stored at registration; a difference is [`Corrupt`](crate::ErrorKind::Corrupt).
///
/// # Implementing
///
/// Take the decisions from [`Rules`], so that every registry answers alike. Run
/// `pmmds::conformance::registry` (feature `conformance`) on the implementation; the
/// in-memory one in [`memory`](crate::memory) is the reference.
///
/// ```
/// use pmmds::ErrorKind;
/// use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
/// # use pmmds::memory::MemoryRegistry;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (registry, model) = (MemoryRegistry::new(), ModelName::new("churn")?);
/// let registry: &dyn ModelRegistry = &registry;
/// let first = registry.register(&model, "run-1", &ArtifactFiles::new()).await?.version;
/// let second = registry.register(&model, "run-2", &ArtifactFiles::new()).await?.version;
/// assert_eq!(registry.register(&model, "run-1", &ArtifactFiles::new()).await?.version, first);
///
/// // Compare and set: who expects what is not so any more moves nothing.
/// let production = Alias::production();
/// registry.set_alias(&model, &production, first, None).await?;
/// let late = registry.set_alias(&model, &production, second, None).await.unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::Conflict);
/// assert_eq!(registry.resolve(&model, &production).await?, Some(first));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ModelRegistry: Debug + Send + Sync {
    /// Stores a version, made by the run `run_id`, and returns it with its number.
    async fn register(
        &self,
        model: &ModelName,
        run_id: &str,
        files: &ArtifactFiles,
    ) -> Result<ModelVersion, Error>;

    /// One version; [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error>;

    /// All versions, oldest first; empty for a model that does not exist.
    async fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error>;

    /// The version behind an alias; `None` when it is certain that there is none.
    async fn resolve(&self, model: &ModelName, alias: &Alias) -> Result<Option<VersionId>, Error>;

    /// Points `alias` at `version` if it points at `expected` now (`None`: at nothing).
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if it points elsewhere, with what was found and
    /// what was expected; but not if it points at `version` already: asking again for what is so
    /// is no conflict.
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such version.
    async fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<(), Error>;

    /// The files of a version, verified.
    async fn fetch_artifact(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error>;

    /// Sets one tag of a version, in place of the value that it had.
    async fn tag(
        &self,
        model: &ModelName,
        version: VersionId,
        key: &str,
        value: &str,
    ) -> Result<(), Error>;
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<R: ModelRegistry + ?Sized> ModelRegistry for $wrapper {
            async fn register(
                &self,
                model: &ModelName,
                run_id: &str,
                files: &ArtifactFiles,
            ) -> Result<ModelVersion, Error> {
                (**self).register(model, run_id, files).await
            }

            async fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error> {
                (**self).get(model, version).await
            }

            async fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error> {
                (**self).versions(model).await
            }

            async fn resolve(
                &self,
                model: &ModelName,
                alias: &Alias,
            ) -> Result<Option<VersionId>, Error> {
                (**self).resolve(model, alias).await
            }

            async fn set_alias(
                &self,
                model: &ModelName,
                alias: &Alias,
                version: VersionId,
                expected: Option<VersionId>,
            ) -> Result<(), Error> {
                (**self).set_alias(model, alias, version, expected).await
            }

            async fn fetch_artifact(
                &self,
                model: &ModelName,
                version: VersionId,
            ) -> Result<ArtifactFiles, Error> {
                (**self).fetch_artifact(model, version).await
            }

            async fn tag(
                &self,
                model: &ModelName,
                version: VersionId,
                key: &str,
                value: &str,
            ) -> Result<(), Error> {
                (**self).tag(model, version, key, value).await
            }
        }
    )+};
}

forward!(&R, Box<R>, Arc<R>);

const _: Option<&dyn ModelRegistry> = None;
