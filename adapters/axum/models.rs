//! The version that is served, and how it is replaced.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, watch};

use super::clock::Clock;
use super::lasting::Lasting;
use super::loaded::{Loaded, ModelSource, Reloaded};
use super::model_cache::Keeper;
use super::reload_error::{Cause, ReloadError};
use super::service::AXUM;
use super::skew::Seen;
use crate::drift::{LiveCounters, LiveOptions};
use crate::lifecycle::{ServingModel, check_same_schema, open_version};
use crate::log::InferenceLog;
use crate::model::ModelFormat;
use crate::registry::{
    Alias, ArtifactFiles, CachedVersion, ModelCache, ModelName, ModelRegistry, VersionId,
};
use crate::{Error, ErrorKind, Timestamp};

/// How much longer than a load its caller waits.
const GRACE: Duration = Duration::from_millis(200);

/// How long polling leaves a version alone whose load failed through no fault of its own: at first,
/// doubled with each time that it fails alike, and at most.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];

/// How far off the time that was assumed is no longer as good as the store's.
const FAR: Duration = Duration::from_secs(60);

/// How often a store that has not told the time yet is asked for it.
const ASK: Duration = Duration::from_secs(1);

/// Where versions come from, and how they are read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) registry: Arc<dyn ModelRegistry>,
    pub(super) formats: Vec<Arc<dyn ModelFormat>>,
    pub(super) name: ModelName,
    pub(super) alias: Alias,
    // of a load
    pub(super) deadline: Duration,
}

/// Why the version behind the alias is not in service.
#[derive(Debug)]
struct Failure {
    // as far as the registry has said which it is
    version: Option<VersionId>,
    error: ReloadError,
    // how often in a row it was this one
    times: u32,
    // until when polling leaves the version alone; by the monotonic clock
    until: Duration,
}

/// How far a load has come.
#[derive(Debug, Default)]
struct Progress {
    // as soon as the registry has said which it is
    version: OnceLock<VersionId>,
    // whether its files are there, so that the rest is up to the version
    fetched: AtomicBool,
}

/// The version in service, and where the next comes from.
#[derive(Debug)]
pub(super) struct Models {
    source: Source,
    keeper: Option<Arc<Keeper>>,
    clock: Arc<Clock>,
    live: LiveOptions,
    current: ArcSwapOption<Loaded>,
    // loads that have begun
    begun: AtomicU64,
    // loads that worked, and that did not
    done: AtomicU64,
    failed: AtomicU64,
    // number of the version that the alias was at when last looked; 0 where that look failed
    seen: AtomicU64,
    // of the last load
    failure: std::sync::Mutex<Option<Failure>>,
    // of looks where the alias points
    unseen: Lasting<ErrorKind>,
    // of the loads, by version and code
    unloaded: Lasting<(VersionId, &'static str)>,
    // one load at a time; what the last one gave, with its number
    flight: Mutex<Option<(u64, Result<Reloaded, ReloadError>)>>,
}

impl Models {
    pub(super) fn new(
        source: Source,
        cache: Option<Arc<dyn ModelCache>>,
        clock: Arc<Clock>,
        live: LiveOptions,
    ) -> Self {
        Self {
            source,
            keeper: cache.map(Keeper::new),
            clock,
            live,
            current: ArcSwapOption::empty(),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            failure: std::sync::Mutex::default(),
            unseen: Lasting::default(),
            unloaded: Lasting::default(),
            flight: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &ModelName {
        &self.source.name
    }

    pub(super) fn alias(&self) -> &Alias {
        &self.source.alias
    }

    /// Loads that worked, and that did not.
    pub(super) fn reloads(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// How long a load may take.
    pub(super) fn deadline(&self) -> Duration {
        self.source.deadline
    }

    /// Whether the alias is at another version than the one in service; `None` where either is not
    /// known, as of the last look.
    pub(super) fn skew(&self) -> Option<bool> {
        let current = self.current()?;
        let differs = self.seen()? != current.model.version();
        // What came from a cache may be another version of that number.
        (differs || current.kept_at.is_none()).then_some(differs)
    }

    /// The version that the alias was at when last looked; `None` where that look failed.
    fn seen(&self) -> Option<VersionId> {
        VersionId::new(self.seen.load(Ordering::Relaxed))
    }

    fn has_seen(&self, version: Option<VersionId>) {
        self.seen.store(version.map_or(0, VersionId::number), Ordering::Relaxed);
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers how the load of `version` ended, if it failed, and how often it has.
    fn note(&self, version: Option<VersionId>, error: Option<ReloadError>) {
        let mut failure = self.failure();
        let noted = error.map(|error| {
            let alike = |it: &&Failure| it.version == version && it.error.code == error.code;
            let before = failure.as_ref().filter(alike).map_or(0, |it| it.times);
            let [first, most] = PAUSE;
            let pause = first.saturating_mul(2_u32.saturating_pow(before)).min(most);
            let until = self.clock.elapsed().saturating_add(pause);
            Failure { version, error, times: before.saturating_add(1), until }
        });
        *failure = noted;
    }

    /// Why `version`, which is behind the alias, is not in service, as far as that is known and
    /// anybody may know it.
    pub(super) fn why_not(&self, version: VersionId) -> Option<String> {
        let failure = self.failure();
        let failure = failure.as_ref().filter(|it| it.version.is_none_or(|of| of == version))?;
        Some(format!("{}: {}", failure.error.code, failure.error.told()))
    }

    /// The version in service. A request asks once, and uses what it got to its end.
    pub(super) fn current(&self) -> Option<Arc<Loaded>> {
        self.current.load_full()
    }

    /// Loads the version behind the alias or, where the registry is away, what is kept of it; and
    /// says in the log what came of it.
    pub(super) async fn start(self: &Arc<Self>) {
        let Err(error) = self.reload().await else { return };
        let (code, reason) = (error.code, &*error.reason);
        if error.cause == Cause::Away && self.keeper.is_some() {
            match self.serve_kept().await {
                Ok(Some((version, kept_at))) => {
                    tracing::warn!(%version, %kept_at, code, reason, "the registry is away: \
                         serving the version that was kept last, until it answers");
                    return;
                }
                Ok(None) => tracing::warn!("no version is kept to be served without the registry"),
                Err(error) => {
                    let error = error.chain();
                    tracing::error!(error, "what is kept cannot be served");
                }
            }
        }
        tracing::error!(code, reason, "started without a model");
    }

    /// Brings into service what the cache has kept; its version, and when it was kept.
    async fn serve_kept(self: &Arc<Self>) -> Result<Option<(VersionId, Timestamp)>, Error> {
        let began = self.clock.elapsed();
        let models = Arc::clone(self);
        let deadline = self.source.deadline;
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let Source { formats, name, alias, .. } = &models.source;
            let Some(keeper) = &models.keeper else { return Ok(None) };
            let last = runtime.block_on(keeper.cache.last(name, alias))?;
            let Some(CachedVersion { version, files, kept_at, .. }) = last else { return Ok(None) };
            // It may have named the version before it went away.
            if let Some(named) = models.seen().filter(|named| *named != version) {
                let context = format!("version {version} is kept, and {named} is behind {alias}");
                return Err(Error::new(ErrorKind::Conflict, AXUM, context));
            }
            open_version(&files, formats, name, version).map(|model| Some((model, kept_at)))
        };
        let failed = |kind, what: &str| Error::new(kind, AXUM, what);
        let load = tokio::task::spawn_blocking(work);
        let loaded = match tokio::time::timeout(deadline, load).await {
            Ok(Ok(loaded)) => loaded?,
            Ok(Err(_)) => {
                let what = "a smoke prediction of the version that is kept panicked";
                return Err(failed(ErrorKind::Corrupt, what));
            }
            Err(_) => {
                let what = format!("what is kept could not be loaded within {deadline:?}");
                return Err(failed(ErrorKind::Unavailable, &what));
            }
        };
        let Some((model, kept_at)) = loaded else { return Ok(None) };
        let version = model.version();
        let took = self.clock.elapsed().saturating_sub(began);
        let accepted = self.accept(model, took, Some(kept_at));
        accepted.map_err(|error| failed(ErrorKind::Corrupt, &error.reason))?;
        Ok(Some((version, kept_at)))
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
                    let progress = Arc::default();
                    let result = models.load(&progress).await;
                    let count = if result.is_ok() { &models.done } else { &models.failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    let version = progress.version.get().copied();
                    models.has_seen(version);
                    models.note(version, result.clone().err());
                    *flight = Some((number, result.clone()));
                    result
                }
            }
        });
        let deadline = self.source.deadline;
        // A little longer than the load itself has, so that it is the load that says what happened.
        match tokio::time::timeout(deadline + GRACE, load).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                Err(ReloadError::refused("version_rejected", "loading the version panicked"))
            }
            Err(_) => {
                Err(ReloadError::late(format!("no version could be loaded within {deadline:?}")))
            }
        }
    }

    /// Loads the version behind the alias, and says how far it has come.
    async fn load(self: &Arc<Self>, progress: &Arc<Progress>) -> Result<Reloaded, ReloadError> {
        let began = self.clock.elapsed();
        let deadline = self.source.deadline;
        let (models, reached) = (Arc::clone(self), Arc::clone(progress));
        let runtime = tokio::runtime::Handle::current();
        // Parsing and smoke predictions take the thread that they run on, for as long as a hostile
        // version likes: not one of those that answer requests.
        let load = tokio::task::spawn_blocking(move || {
            runtime.block_on(tokio::time::timeout(deadline, models.fetch(&reached)))
        });
        // Its own timeout ends a load that waits; one that computes is left to itself, so that it
        // holds up no other.
        let (model, files) = match tokio::time::timeout(deadline + GRACE / 2, load).await {
            Ok(Ok(Ok(loaded))) => loaded?,
            Err(_) if progress.fetched.load(Ordering::Acquire) => {
                return Err(ReloadError::stuck(deadline));
            }
            Ok(Ok(Err(_))) | Err(_) => {
                let reason = format!("the registry did not answer within {deadline:?}");
                return Err(ReloadError::away("reload_deadline", reason));
            }
            Ok(Err(_)) => {
                let reason = "a smoke prediction of the version panicked";
                return Err(ReloadError::refused("version_rejected", reason));
            }
        };
        let took = self.clock.elapsed().saturating_sub(began);
        if took > deadline {
            // The caller was told that it failed.
            return Err(ReloadError::late(format!("verifying took longer than {deadline:?}")));
        }
        let version = model.version();
        let reloaded = self.accept(model, took, None)?;
        if let Some(keeper) = &self.keeper {
            let cached = CachedVersion::new(version, files, self.clock.now());
            keeper.keep(&self.source.name, &self.source.alias, cached);
        }
        Ok(reloaded)
    }

    /// The version behind the alias, fetched *by version* and verified whole.
    async fn fetch(
        &self,
        progress: &Progress,
    ) -> Result<(ServingModel, ArtifactFiles), ReloadError> {
        let Source { registry, formats, name, alias, .. } = &self.source;
        let of = |error: Error| ReloadError::of(&error);
        let Some(version) = registry.resolve(name, alias).await.map_err(of)? else {
            let reason = format!("model {name} has no alias {alias}");
            return Err(ReloadError::failed("alias_not_found", reason));
        };
        let _ = progress.version.set(version);
        self.has_seen(Some(version));
        let files = registry.fetch_artifact(name, version).await.map_err(of)?;
        progress.fetched.store(true, Ordering::Release);
        let model = open_version(&files, formats, name, version)
            .map_err(|error| ReloadError::refused_for("version_rejected", &error))?;
        Ok((model, files))
    }

    /// Swaps `model` in, which was `kept_at` a moment in the cache, or comes from the registry.
    fn accept(
        &self,
        model: ServingModel,
        took: Duration,
        kept_at: Option<Timestamp>,
    ) -> Result<Reloaded, ReloadError> {
        let before = self.current();
        // What came from the cache was a guess: the registry has the last word, as at a start.
        if let Some(before) = before.as_ref().filter(|before| before.kept_at.is_none()) {
            check_same_schema(&before.model, &model)
                .map_err(|error| ReloadError::refused_for("schema_changed", &error))?;
            if before.model.version() == model.version() && before.model.digest() != model.digest()
            {
                let reason = format!(
                    "version {} has digest {} in the registry, {} is served: a version never changes",
                    model.version(),
                    model.digest().short(),
                    before.model.digest().short()
                );
                return Err(ReloadError::refused("version_changed", reason));
            }
        }
        let same = before.as_ref().filter(|before| {
            let of = |model: &ServingModel| (model.version(), model.digest());
            of(&before.model) == of(&model)
        });
        let alias = self.source.alias.clone();
        let mut info = Loaded::info_of(&model, alias, self.clock.now(), took);
        if kept_at.is_some() {
            info.source = ModelSource::Cache;
        }
        if let Some(same) = same.filter(|same| same.info.source == info.source) {
            info.source_since = same.info.source_since;
        }
        // The same version goes on counting; another one has a profile of its own.
        let live = match same {
            Some(same) => Arc::clone(&same.live),
            None => LiveCounters::new(model.profile(), &self.live, info.loaded_at)
                .map(Arc::new)
                .map_err(|error| ReloadError::refused("version_rejected", error.to_string()))?,
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
            source = info.source.as_str(),
            took_ms = info.load_time_ms,
            "a version came into service"
        );
        let loaded = Loaded { model, info, kept_at, live, openapi: OnceLock::new() };
        self.current.store(Some(Arc::new(loaded)));
        Ok(reloaded)
    }

    /// Looks where the alias points, and loads the version that is there if that is another one, or
    /// if the registry has yet to confirm it. A version that was refused is left alone until the
    /// alias has moved, and one that failed otherwise for a while. The version behind the alias, as
    /// far as it is known.
    pub(super) async fn look(self: &Arc<Self>) -> Option<VersionId> {
        let behind = self.behind().await;
        self.has_seen(behind);
        let behind = behind?;
        let current = self.current();
        let is_there = current
            .is_some_and(|current| current.model.version() == behind && current.kept_at.is_none());
        if is_there {
            // Should the alias come back to a version that was refused, it has moved.
            self.failure().take();
            self.say_loaded();
        } else if self.is_left_alone(behind) {
            tracing::debug!(version = %behind, "polling: the version was refused before, or failed");
        } else {
            match self.reload().await {
                Ok(_) => self.say_loaded(),
                Err(error) => self.say_unloaded(behind, &error),
            }
        }
        Some(behind)
    }

    /// Says why what is behind the alias is not in service, if that is news. That a version was
    /// refused always is: it is left alone from now on, so that nothing is said of it again.
    fn say_unloaded(&self, behind: VersionId, error: &ReloadError) {
        // The alias may have moved since it was looked at.
        let version = self.failure().as_ref().and_then(|it| it.version).unwrap_or(behind);
        let (now, kind) = (self.clock.elapsed(), (version, error.code));
        if error.cause == Cause::Refused {
            self.unloaded.say(now, kind);
        } else if !self.unloaded.is_news(now, kind) {
            return;
        }
        let ReloadError { code, reason, .. } = error;
        tracing::error!(%version, code, reason, "reload failed");
    }

    /// Says that what is behind the alias is in service, where it was said that it is not.
    fn say_loaded(&self) {
        if let Some(lasted) = self.unloaded.over(self.clock.elapsed()) {
            tracing::warn!(?lasted, "the version behind the alias is in service again");
        }
    }

    /// Asks the registry where the alias points. What it cannot say is logged when that begins, now
    /// and then, and when it is over.
    async fn behind(&self) -> Option<VersionId> {
        let Source { registry, name, alias, deadline, .. } = &self.source;
        let resolve = registry.resolve(name, alias);
        let (kind, why) = match tokio::time::timeout(*deadline, resolve).await {
            Ok(Ok(Some(version))) => {
                if let Some(lasted) = self.unseen.over(self.clock.elapsed()) {
                    tracing::warn!(?lasted, %version, "polling: the registry names a version again");
                }
                return Some(version);
            }
            Ok(Ok(None)) => (ErrorKind::NotFound, format!("there is no alias {alias}")),
            Ok(Err(error)) => (error.kind(), error.chain()),
            Err(_) => (ErrorKind::Unavailable, "it did not answer in time".to_owned()),
        };
        if self.unseen.is_news(self.clock.elapsed(), kind) {
            tracing::warn!(why, "polling: the registry names no version");
        }
        None
    }

    fn is_left_alone(&self, version: VersionId) -> bool {
        let failure = self.failure();
        let failure = failure.as_ref().filter(|it| it.version == Some(version));
        failure.is_some_and(|it| match it.error.cause {
            Cause::Refused => true,
            Cause::Other => self.clock.elapsed() < it.until,
            Cause::Away => false,
        })
    }

    /// Sets the clock: the store was asked at `asked`, and has just answered `answer`. Where that is
    /// the first answer, and far from what was assumed, counting begins anew: rows that come now
    /// would be late, or long after the others.
    pub(super) fn set_clock(&self, asked: Duration, answer: Timestamp) {
        let off = self.clock.set(asked, answer);
        let Some(before) = self.current().filter(|_| off.is_some_and(|off| off >= FAR)) else {
            return;
        };
        // They were made of these before.
        let live = LiveCounters::new(before.model.profile(), &self.live, self.clock.now());
        let Ok(live) = live.map(Arc::new) else { return };
        let (model, info) = (before.model.clone(), before.info.clone());
        let kept_at = before.kept_at;
        let anew = Loaded { model, info, kept_at, live, openapi: OnceLock::new() };
        // Another version that has come in meanwhile counts from a moment ago.
        drop(self.current.compare_and_swap(&Some(before), Some(Arc::new(anew))));
    }

    /// Asks `log` until it tells the time, or the service is gone: health checks may never come.
    pub(super) async fn follow(models: Weak<Self>, log: Arc<dyn InferenceLog>) {
        loop {
            tokio::time::sleep(ASK).await;
            let still = models.upgrade().filter(|models| !models.clock.is_told());
            let Some(asked) = still.map(|models| models.clock.elapsed()) else { return };
            // Nobody keeps the models for as long as the log takes.
            let Ok(now) = log.now().await else { continue };
            if let Some(models) = models.upgrade() {
                models.set_clock(asked, now);
            }
        }
    }

    /// Looks every `interval` where the alias points, so that replicas converge without being told,
    /// and says what it has seen.
    pub(super) async fn poll(self: Arc<Self>, interval: Duration, looks: watch::Sender<Seen>) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            looks.send_replace(self.look().await);
        }
    }
}
