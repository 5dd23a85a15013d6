//! A version in service, and what is told of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;

use crate::Timestamp;
use crate::drift::LiveCounters;
use crate::lifecycle::ServingModel;
use crate::registry::{Alias, ModelName, VersionId};
use crate::schema::Fingerprint;

/// A version in service, with how it came in.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) model: ServingModel,
    pub(super) info: ModelInfo,
    // when it was kept, where it came from a cache and the registry has not confirmed it yet
    pub(super) kept_at: Option<Timestamp>,
    // what it has answered lately
    pub(super) live: Arc<LiveCounters>,
    // the OpenAPI document of its schema, made when first asked for
    pub(super) openapi: OnceLock<super::openapi::Document>,
}

impl Loaded {
    /// What there is to say of a version that was found by `alias`, came at `loaded_at` and `took`
    /// so long.
    pub(super) fn info_of(
        model: &ServingModel,
        alias: Alias,
        loaded_at: Timestamp,
        took: Duration,
    ) -> ModelInfo {
        ModelInfo {
            name: model.name().clone(),
            version: model.version(),
            alias,
            source: ModelSource::Registry,
            source_since: loaded_at,
            loaded_at,
            load_time_ms: super::millis(took),
            digest: model.digest(),
            schema: model.schema().fingerprint(),
            profile: model.profile().fingerprint(),
        }
    }
}

/// Where the version in service came from.
///
/// ```
/// use pmmds::axum::ModelSource;
/// assert_eq!(ModelSource::Cache.as_str(), "cache");
/// assert_eq!(serde_json::to_string(&ModelSource::Registry)?, r#""registry""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelSource {
    /// The registry.
    Registry,
    /// What the [cache](super::ServiceBuilder::model_cache) had kept, at a start while the registry
    /// was away; it has not confirmed it since.
    Cache,
}

impl ModelSource {
    /// The word that is sent, such as `"registry"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Cache => "cache",
        }
    }
}

/// What a service says about the version that it serves: the answer of `GET /model`.
///
/// ```
/// # fn show(service: &pmmds::axum::Service) {
/// if let Some(info) = service.model() {
///     println!("version {} of {}, loaded in {} ms", info.version, info.name, info.load_time_ms);
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// name of the model
    pub name: ModelName,
    /// the version
    pub version: VersionId,
    /// the alias by which it was found
    pub alias: Alias,
    /// where it came from
    pub source: ModelSource,
    /// since when that is so, by the log's clock
    pub source_since: Timestamp,
    /// when it came into service, by the log's clock
    pub loaded_at: Timestamp,
    /// how long loading and verifying took
    pub load_time_ms: f64,
    /// digest of its files
    pub digest: Fingerprint,
    /// fingerprint of the schema of its rows
    pub schema: Fingerprint,
    /// fingerprint of the profile that live traffic is compared with
    pub profile: Fingerprint,
}

/// A reload that worked: the answer of `POST /model/reload`.
///
/// ```
/// # async fn reload(service: &pmmds::axum::Service) -> Result<(), pmmds::axum::ReloadError> {
/// let reloaded = service.reload().await?;
/// if reloaded.previous_version != Some(reloaded.current_version) {
///     println!("version {} is in service now", reloaded.current_version);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reloaded {
    /// always `"reloaded"`
    pub status: &'static str,
    /// the version before; `None` where there was none
    pub previous_version: Option<VersionId>,
    /// the version now
    pub current_version: VersionId,
    /// the version now, in full
    pub model: ModelInfo,
}
