//! The version that is served, and how it is replaced.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::axum::http::StatusCode;
use arc_swap::ArcSwapOption;
use serde::Serialize;
use tokio::sync::Mutex;

use super::clock::Clock;
use super::problem::Problem;
use crate::drift::{LiveCounters, LiveOptions};
use crate::lifecycle::{ServingModel, check_same_schema, load};
use crate::model::ModelFormat;
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp};

/// How much longer than a load its caller waits.
const GRACE: Duration = Duration::from_millis(200);

/// A version in service, with how it came in.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) model: ServingModel,
    pub(super) info: ModelInfo,
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
            loaded_at,
            load_time_ms: super::millis(took),
            digest: model.digest(),
            schema: model.schema().fingerprint(),
            profile: model.profile().fingerprint(),
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

/// A reload that did not work; what was served before is served still.
///
/// Its text has every cause, for the log. `POST /model/reload` tells the code and one sentence: causes
/// name hosts, paths, and what drivers say.
///
/// ```
/// # async fn reload(service: &pmmds::axum::Service) {
/// if let Err(error) = service.reload().await {
///     eprintln!("{}: {error}", error.code());
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadError {
    // what to answer: 502 where the registry answered, and 503 where it did not
    status: StatusCode,
    code: &'static str,
    // with every cause, for the log
    reason: String,
    // for whoever asked, where the reason is not
    told: Option<String>,
}

impl ReloadError {
    fn unavailable(code: &'static str, reason: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code, reason: reason.into(), told: None }
    }

    fn bad(code: &'static str, reason: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, ..Self::unavailable(code, reason) }
    }

    fn of(error: &Error) -> Self {
        let reason = error.chain();
        let (failed, what) = match error.kind() {
            ErrorKind::Unavailable => (
                Self::unavailable("registry_unavailable", reason),
                "the registry cannot be reached",
            ),
            ErrorKind::Unauthorized => (
                Self::bad("registry_unauthorized", reason),
                "the registry does not let this service in",
            ),
            ErrorKind::NotFound => {
                (Self::bad("version_not_found", reason), "the registry has no such version")
            }
            _ => (Self::bad("version_rejected", reason), "the version cannot be served"),
        };
        let told = format!("{what} ({}); the log of the service says why", super::told(error));
        Self { told: Some(told), ..failed }
    }

    /// Stable name of what went wrong, such as `"registry_unavailable"`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn problem(&self) -> Problem {
        let told = self.told.as_ref().unwrap_or(&self.reason);
        let problem = Problem::new(self.status, self.code, told.clone());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            problem.retry_after(5)
        } else {
            problem
        }
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ReloadError {}

/// The version in service, and where the next comes from.
#[derive(Debug)]
pub(super) struct Models {
    registry: Arc<dyn ModelRegistry>,
    formats: Arc<[Arc<dyn ModelFormat>]>,
    name: ModelName,
    alias: Alias,
    deadline: Duration,
    clock: Arc<Clock>,
    live: LiveOptions,
    current: ArcSwapOption<Loaded>,
    // loads that have begun
    begun: AtomicU64,
    // loads that worked, and that did not
    done: AtomicU64,
    failed: AtomicU64,
    // number of the version that the alias was last seen at; 0 before
    seen: AtomicU64,
    // one load at a time; what the last one gave, with its number
    flight: Mutex<Option<(u64, Result<Reloaded, ReloadError>)>>,
}

impl Models {
    pub(super) fn new(
        registry: Arc<dyn ModelRegistry>,
        formats: Vec<Arc<dyn ModelFormat>>,
        name: ModelName,
        alias: Alias,
        deadline: Duration,
        clock: Arc<Clock>,
        live: LiveOptions,
    ) -> Self {
        Self {
            registry,
            formats: formats.into(),
            name,
            alias,
            deadline,
            clock,
            live,
            current: ArcSwapOption::empty(),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            flight: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &ModelName {
        &self.name
    }

    /// Loads that worked, and that did not.
    pub(super) fn reloads(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Whether the alias was last seen at another version than the one in service; `None` where
    /// either is not known.
    pub(super) fn skew(&self) -> Option<bool> {
        let seen = self.seen.load(Ordering::Relaxed);
        let current = self.current().map(|loaded| loaded.model.version().number());
        current.filter(|_| seen > 0).map(|current| current != seen)
    }

    /// The version in service. A request asks once, and uses what it got to its end.
    pub(super) fn current(&self) -> Option<Arc<Loaded>> {
        self.current.load_full()
    }

    /// Brings the version behind the alias into service. Calls that come while a load runs share
    /// the next one; whatever goes wrong, the version in service stays.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let asked = self.begun.load(Ordering::Acquire);
        // A task of its own: a client that goes away does not stop a load that others wait for.
        let models = Arc::clone(self);
        let load = tokio::spawn(async move {
            let mut flight = models.flight.lock().await;
            match &*flight {
                // It has begun after this call, so it saw what this call wants seen.
                Some((number, result)) if *number > asked => result.clone(),
                _ => {
                    let number = models.begun.fetch_add(1, Ordering::AcqRel) + 1;
                    let result = models.load().await;
                    let count = if result.is_ok() { &models.done } else { &models.failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    *flight = Some((number, result.clone()));
                    result
                }
            }
        });
        // A little longer than the load itself has, so that it is the load that says what happened.
        match tokio::time::timeout(self.deadline + GRACE, load).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ReloadError::bad("version_rejected", "loading the version panicked")),
            Err(_) => Err(ReloadError::unavailable(
                "reload_deadline",
                format!("no version could be loaded within {:?}", self.deadline),
            )),
        }
    }

    async fn load(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let began = self.clock.elapsed();
        let models = Arc::clone(self);
        let runtime = tokio::runtime::Handle::current();
        // Parsing and smoke predictions take the thread that they run on, for as long as a hostile
        // version likes: not one of those that answer requests.
        let load = tokio::task::spawn_blocking(move || {
            runtime.block_on(tokio::time::timeout(
                models.deadline,
                load(&*models.registry, &models.formats, &models.name, &models.alias),
            ))
        });
        let loaded = match load.await {
            Ok(Ok(loaded)) => loaded.map_err(|error| ReloadError::of(&error))?,
            Ok(Err(_)) => {
                let reason = format!("the registry did not answer within {:?}", self.deadline);
                return Err(ReloadError::unavailable("reload_deadline", reason));
            }
            Err(_) => {
                let reason = "a smoke prediction of the version panicked";
                return Err(ReloadError::bad("version_rejected", reason));
            }
        };
        let Some(model) = loaded else {
            let reason = format!("model {} has no alias {}", self.name, self.alias);
            return Err(ReloadError::bad("alias_not_found", reason));
        };
        if self.clock.elapsed().saturating_sub(began) > self.deadline {
            // The caller was told that it failed.
            let reason = format!("verifying took longer than {:?}", self.deadline);
            return Err(ReloadError::unavailable("reload_deadline", reason));
        }
        self.accept(model, self.clock.elapsed().saturating_sub(began))
    }

    fn accept(&self, model: ServingModel, took: Duration) -> Result<Reloaded, ReloadError> {
        let before = self.current();
        if let Some(before) = &before {
            check_same_schema(&before.model, &model)
                .map_err(|error| ReloadError::bad("schema_changed", error.chain()))?;
            if before.model.version() == model.version() && before.model.digest() != model.digest()
            {
                let reason = format!(
                    "version {} has digest {} in the registry, {} is served: a version never changes",
                    model.version(),
                    model.digest().short(),
                    before.model.digest().short()
                );
                return Err(ReloadError::bad("version_changed", reason));
            }
        }
        let info = Loaded::info_of(&model, self.alias.clone(), self.clock.now(), took);
        // The same version goes on counting; another one has a profile of its own.
        let live = match &before {
            Some(before) if before.model.version() == model.version() => Arc::clone(&before.live),
            _ => LiveCounters::new(model.profile(), &self.live, info.loaded_at)
                .map(Arc::new)
                .map_err(|error| ReloadError::bad("version_rejected", error.to_string()))?,
        };
        let previous_version = before.map(|before| before.model.version());
        let reloaded = Reloaded {
            status: "reloaded",
            previous_version,
            current_version: info.version,
            model: info.clone(),
        };
        tracing::info!(
            model = %info.name,
            version = %info.version,
            previous = previous_version.map(VersionId::number),
            took_ms = info.load_time_ms,
            "a version came into service"
        );
        self.seen.store(info.version.number(), Ordering::Relaxed);
        let loaded = Loaded { model, info, live, openapi: OnceLock::new() };
        self.current.store(Some(Arc::new(loaded)));
        Ok(reloaded)
    }

    /// Looks every `interval` where the alias points, so that replicas converge without being told.
    pub(super) async fn poll(self: Arc<Self>, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let resolve = self.registry.resolve(&self.name, &self.alias);
            let behind = match tokio::time::timeout(self.deadline, resolve).await {
                Ok(Ok(Some(version))) => version,
                Ok(Ok(None)) => {
                    tracing::warn!(alias = %self.alias, "polling: there is no such alias");
                    continue;
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = error.chain(), "polling: the registry failed");
                    continue;
                }
                Err(_) => {
                    tracing::warn!("polling: the registry did not answer in time");
                    continue;
                }
            };
            self.seen.store(behind.number(), Ordering::Relaxed);
            if self.current().is_some_and(|current| current.model.version() == behind) {
                continue;
            }
            if let Err(error) = self.reload().await {
                tracing::error!(code = error.code, reason = error.reason, "reload failed");
            }
        }
    }
}
