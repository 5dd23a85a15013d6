//! A version that runs beside the one in service, on the same rows, and never answers.
//!
//! Rows are copied to it when they are answered; nobody waits for it, and when it cannot keep up it
//! misses rows, which are counted. What it predicts is logged under its own version, with its own
//! profile and an id of its own, so that no outcome is joined to it twice; and compared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ::axum::Json;
use ::axum::body::Bytes;
use ::axum::extract::State as Shared;
use ::axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};

use super::clock::Clock;
use super::lasting::Lasting;
use super::loaded::Loaded;
use super::log_writer::{Item, LogQueue};
use super::problem::Problem;
use super::replay::{Ticket, payload_of};
use super::service::Service;
use super::state::State;
use crate::drift::{LiveCounters, LiveOptions};
use crate::lifecycle::{
    ServingModel, ShadowComparison, ShadowStats, check_same_schema, load_version,
};
use crate::log::{CorrelationId, InferenceEvent};
use crate::model::{InvalidScore, ModelFormat, Prediction};
use crate::record::Row;
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};
use crate::{Error, ErrorKind, Timestamp};

/// Most rows that wait for the shadow; more are missed.
const WAITING: usize = 4_096;

/// Most rows that are scored at once.
const AT_ONCE: usize = 256;

/// Which version runs in the shadow.
///
/// ```
/// use pmmds::axum::Shadow;
/// use pmmds::registry::Alias;
/// # fn choose(builder: pmmds::axum::ServiceBuilder) -> pmmds::axum::ServiceBuilder {
/// builder.shadow(Shadow::Alias(Alias::staging()))
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shadow {
    /// The version behind an alias, wherever it moves.
    Alias(Alias),
    /// One version.
    Version(VersionId),
}

/// How the shadow does: the answer of `GET /api/v1/shadow`.
///
/// ```
/// # fn show(service: &pmmds::axum::Service) {
/// if let Some(report) = service.shadow_report() {
///     match report.why_not {
///         None => println!("{:?}", report.comparison),
///         Some(why) => println!("no shadow runs: {why}"),
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ShadowReport {
    /// name of the model
    pub model_name: ModelName,
    /// the version that answers; `None` before the first row
    pub champion_version: Option<VersionId>,
    /// the version in the shadow, if one is loaded
    pub shadow_version: Option<VersionId>,
    /// why no row is scored in the shadow now, or the last reload of it failed
    pub why_not: Option<String>,
    /// when this comparison began, by the log's clock; another champion or shadow starts a new one
    pub since: Option<Timestamp>,
    /// rows that it has missed since the service started, because it was too slow
    pub missed: u64,
    /// predictions that were not logged, because the queue of the log was half full
    pub not_logged: u64,
    /// the comparison; `None` before the first row
    pub comparison: Option<ShadowStats>,
}

/// An answered row on its way to the shadow.
struct Job {
    champion: Arc<Loaded>,
    row: Row,
    prediction: Prediction,
    // of the request
    correlation_id: Option<CorrelationId>,
}

/// Why a version does not run.
#[derive(Debug, Clone)]
struct WhyNot {
    // as everybody may know it
    told: String,
    // with every cause, for the log
    whole: Option<String>,
}

impl WhyNot {
    fn of(error: &Error) -> Self {
        Self { told: super::told(error), whole: Some(error.chain()) }
    }
}

impl From<String> for WhyNot {
    fn from(told: String) -> Self {
        Self { told, whole: None }
    }
}

#[derive(Debug, Default)]
struct Present {
    shadow: Option<Arc<Loaded>>,
    // why the last load failed
    load_failed: Option<String>,
    // the version that will not do, however often it is fetched, and why
    refused: Option<(VersionId, WhyNot)>,
    // why the version that is there was not compared on the last row
    unfit: Option<String>,
    // of one champion and this shadow
    comparison: Option<(VersionId, Timestamp, ShadowComparison)>,
}

#[derive(Debug, Default)]
struct Common {
    // whether a version is there to score
    active: AtomicBool,
    missed: AtomicU64,
    not_logged: AtomicU64,
    reload: Notify,
    // of loads, by the version that was meant, and what is told
    trouble: Lasting<(Option<VersionId>, String)>,
    present: Mutex<Present>,
}

impl Common {
    fn present(&self) -> MutexGuard<'_, Present> {
        // Whatever panicked, the counts in it are whole.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What requests hold of the shadow.
#[derive(Debug)]
pub(super) struct Shadowing {
    name: ModelName,
    sender: mpsc::Sender<Job>,
    common: Arc<Common>,
}

/// What it takes to load and run a shadow.
pub(super) struct Parts {
    pub(super) which: Shadow,
    pub(super) registry: Arc<dyn ModelRegistry>,
    pub(super) formats: Vec<Arc<dyn ModelFormat>>,
    pub(super) name: ModelName,
    pub(super) deadline: Duration,
    pub(super) poll: Option<Duration>,
    pub(super) live: LiveOptions,
    pub(super) clock: Arc<Clock>,
    pub(super) queue: Arc<LogQueue>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Drop for Shadowing {
    fn drop(&mut self) {
        self.common.active.store(false, Ordering::Relaxed);
    }
}

impl Shadowing {
    /// Starts the task that scores; it ends when this goes.
    pub(super) fn start(parts: Parts) -> Self {
        let (sender, jobs) = mpsc::channel(WAITING);
        let common = Arc::<Common>::default();
        common.present().load_failed = Some("it is not loaded yet".to_owned());
        let name = parts.name.clone();
        tokio::spawn(run(parts, jobs, Arc::clone(&common)));
        Self { name, sender, common }
    }

    /// Copies an answered row, if there is somebody to score it.
    pub(super) fn offer(&self, champion: &Arc<Loaded>, row: &Row, event: &InferenceEvent) {
        if !self.common.active.load(Ordering::Relaxed) {
            return;
        }
        match self.sender.try_reserve() {
            Ok(place) => {
                place.send(Job {
                    champion: Arc::clone(champion),
                    row: row.clone(),
                    prediction: event.prediction,
                    correlation_id: event.correlation_id.clone(),
                });
            }
            Err(_) => drop(self.common.missed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Looks soon whether another version is meant.
    pub(super) fn reload(&self) {
        self.common.reload.notify_one();
    }

    fn report(&self) -> ShadowReport {
        let present = self.common.present();
        let comparison = present.comparison.as_ref();
        ShadowReport {
            model_name: self.name.clone(),
            champion_version: comparison.map(|(champion, ..)| *champion),
            shadow_version: present.shadow.as_ref().map(|shadow| shadow.model.version()),
            why_not: present.load_failed.as_ref().or(present.unfit.as_ref()).cloned(),
            since: comparison.map(|(_, since, _)| *since),
            missed: self.common.missed.load(Ordering::Relaxed),
            not_logged: self.common.not_logged.load(Ordering::Relaxed),
            comparison: comparison.map(|(.., comparison)| comparison.stats()),
        }
    }
}

async fn run(parts: Parts, mut jobs: mpsc::Receiver<Job>, common: Arc<Common>) {
    load(&parts, &common, true).await;
    let mut ticks = parts.poll.map(|period| {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    });
    loop {
        let mut rows = Vec::with_capacity(AT_ONCE);
        tokio::select! {
            count = jobs.recv_many(&mut rows, AT_ONCE) => match count {
                0 => return,
                _ => score(&parts, &common, rows).await,
            },
            () = common.reload.notified() => load(&parts, &common, true).await,
            () = tick(&mut ticks) => load(&parts, &common, false).await,
        }
    }
}

/// The next tick; never where there are none.
async fn tick(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

/// Loads the version that is meant now, if it is another one, and was not refused before or somebody
/// `asked`. Whatever goes wrong, the present one stays.
async fn load(parts: &Parts, common: &Common, asked: bool) {
    let mut meant = None;
    let why_not = match tokio::time::timeout(parts.deadline, which(parts)).await {
        Ok(Ok(Some(version))) => {
            meant = Some(version);
            let (present, refused) = {
                let mut present = common.present();
                // Should the alias come back to it, it has moved.
                let refused = present.refused.take().filter(|(of, _)| *of == version && !asked);
                present.refused.clone_from(&refused);
                (present.shadow.as_ref().map(|shadow| shadow.model.version()), refused)
            };
            match refused {
                _ if present == Some(version) => None,
                Some((_, why)) => Some(why),
                None => fetch(parts, common, version).await.err(),
            }
        }
        Ok(Ok(None)) => {
            *common.present() = Present::default();
            Some("there is no such alias".to_owned().into())
        }
        Ok(Err(error)) => Some(WhyNot::of(&error)),
        Err(_) => Some(format!("the registry did not answer within {:?}", parts.deadline).into()),
    };
    say(parts, common, (meant, why_not.as_ref()), asked);
    let mut present = common.present();
    present.load_failed = why_not.map(|why| why.told);
    common.active.store(present.shadow.is_some(), Ordering::Relaxed);
}

/// Says why the version that is `meant` does not run, where somebody `asked` or it is news; and that
/// it does, where the last word was another.
fn say(
    parts: &Parts,
    common: &Common,
    (meant, why_not): (Option<VersionId>, Option<&WhyNot>),
    asked: bool,
) {
    let now = parts.clock.elapsed();
    let Some(WhyNot { told, whole }) = why_not else {
        if let Some(lasted) = common.trouble.over(now) {
            tracing::warn!(?lasted, "the shadow is as it is meant again");
        }
        return;
    };
    let kind = (meant, told.clone());
    if asked {
        common.trouble.say(now, kind);
    } else if !common.trouble.is_news(now, kind) {
        return;
    }
    let (version, reason) = (meant.map(VersionId::number), whole.as_ref().unwrap_or(told));
    tracing::warn!(version, reason, "the shadow is not as it is meant");
}

async fn which(parts: &Parts) -> Result<Option<VersionId>, Error> {
    match &parts.which {
        Shadow::Version(version) => Ok(Some(*version)),
        Shadow::Alias(alias) => parts.registry.resolve(&parts.name, alias).await,
    }
}

async fn fetch(parts: &Parts, common: &Common, version: VersionId) -> Result<(), WhyNot> {
    let (registry, formats) = (Arc::clone(&parts.registry), parts.formats.clone());
    let (name, deadline) = (parts.name.clone(), parts.deadline);
    let runtime = tokio::runtime::Handle::current();
    let began = parts.clock.elapsed();
    // Verifying takes its thread for as long as the version likes, as with the one in service.
    let loaded = tokio::task::spawn_blocking(move || {
        let load = load_version(&*registry, &formats, &name, version);
        runtime.block_on(tokio::time::timeout(deadline, load))
    });
    let refuse = |why: WhyNot| {
        common.present().refused = Some((version, why.clone()));
        why
    };
    let model = match loaded.await {
        Ok(Ok(Ok(model))) => model,
        Ok(Ok(Err(error))) if may_pass(error.kind()) => return Err(WhyNot::of(&error)),
        Ok(Ok(Err(error))) => return Err(refuse(WhyNot::of(&error))),
        Ok(Err(_)) => {
            return Err(format!("version {version} did not come within {deadline:?}").into());
        }
        Err(_) => {
            return Err(refuse(format!("a smoke prediction of version {version} panicked").into()));
        }
    };
    let took = parts.clock.elapsed().saturating_sub(began);
    let shadow = loaded_as(parts, model, took).map_err(|why| refuse(why.into()))?;
    tracing::info!(%version, "a version runs in the shadow");
    let mut present = common.present();
    present.shadow = Some(Arc::new(shadow));
    present.unfit = None;
    present.comparison = None;
    Ok(())
}

/// Whether what kept a version out may be over the next time.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Unauthorized | ErrorKind::NotFound)
}

fn loaded_as(parts: &Parts, model: ServingModel, took: Duration) -> Result<Loaded, String> {
    let alias = match &parts.which {
        Shadow::Alias(alias) => alias.clone(),
        // Nobody is told it.
        Shadow::Version(_) => Alias::staging(),
    };
    let info = Loaded::info_of(&model, alias, parts.clock.now(), took);
    let live = LiveCounters::new(model.profile(), &parts.live, info.loaded_at);
    let live = Arc::new(live.map_err(|error| error.to_string())?);
    Ok(Loaded { model, info, kept_at: None, live, openapi: OnceLock::new() })
}

/// A row with what the shadow made of it, and how long both took.
type Scored = (Job, Option<Result<Prediction, InvalidScore>>, [Duration; 2]);

async fn score(parts: &Parts, common: &Arc<Common>, jobs: Vec<Job>) {
    let Some(shadow) = common.present().shadow.clone() else { return };
    // One champion at a time: rows of before and after a reload may come together.
    let (model, clock) = (Arc::clone(&shadow), Arc::clone(&parts.clock));
    let running = Arc::clone(common);
    let work = move || -> Vec<Scored> {
        // A shutdown does not wait for the rest.
        let open = jobs.into_iter().take_while(|_| running.active.load(Ordering::Relaxed));
        open.enumerate().map(|job| both(&model, &clock, job)).collect()
    };
    let Ok(scored) = tokio::task::spawn_blocking(work).await else { return };
    for (job, prediction, [champion_took, shadow_took]) in scored {
        let now = parts.clock.now();
        if let Some(why_not) = unfit(&job.champion, &shadow) {
            common.present().unfit = Some(why_not);
            continue;
        }
        {
            let mut present = common.present();
            present.unfit = None;
            let champion = job.champion.model.version();
            if present.comparison.as_ref().is_none_or(|(version, ..)| *version != champion) {
                let comparison = ShadowComparison::new(job.champion.model.profile());
                present.comparison = Some((champion, now, comparison));
            }
            let Some((.., comparison)) = &mut present.comparison else { continue };
            match &prediction {
                Some(Ok(prediction)) => {
                    comparison.observe(job.prediction, *prediction);
                    comparison.observe_latency(champion_took, shadow_took);
                }
                _ => comparison.observe_failed(),
            }
        }
        if let Some(Ok(prediction)) = prediction
            && !log(parts, &shadow, job, prediction, shadow_took, now)
        {
            common.not_logged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Why these two are not compared, if so.
fn unfit(champion: &Loaded, shadow: &Loaded) -> Option<String> {
    if champion.model.version() == shadow.model.version() {
        return Some(format!("version {} is the one in service", shadow.model.version()));
    }
    check_same_schema(&champion.model, &shadow.model).err().map(|error| error.to_string())
}

/// Scores a row with both, each first every other time.
fn both(shadow: &Loaded, clock: &Clock, (at, job): (usize, Job)) -> Scored {
    if unfit(&job.champion, shadow).is_some() {
        return (job, None, [Duration::ZERO; 2]);
    }
    let timed = |model: &ServingModel| {
        let began = clock.elapsed();
        // A model that panics must not end the shadow; it holds nothing that could be half done.
        let score = catch_unwind(AssertUnwindSafe(|| model.model().score(&job.row)));
        (score, clock.elapsed().saturating_sub(began))
    };
    let (champion, shadow_time, score) = if at % 2 == 0 {
        let (_, champion) = timed(&job.champion.model);
        let (score, took) = timed(&shadow.model);
        (champion, took, score)
    } else {
        let (score, took) = timed(&shadow.model);
        let (_, champion) = timed(&job.champion.model);
        (champion, took, score)
    };
    let task = shadow.model.model().task();
    let prediction = score.ok().map(|score| task.prediction(score));
    (job, prediction, [champion, shadow_time])
}

/// Logs a prediction of the shadow, unless the champion may need the room.
fn log(
    parts: &Parts,
    shadow: &Arc<Loaded>,
    Job { row, correlation_id, .. }: Job,
    prediction: Prediction,
    took: Duration,
    at: Timestamp,
) -> bool {
    let Some(mut room) = parts.queue.reserve_spare() else { return false };
    let id = parts.clock.id(at);
    let codes = shadow.model.profile().encode(&row, prediction.score());
    let mut event = InferenceEvent::new(id, id, at, prediction, took, codes);
    event.correlation_id = correlation_id;
    let ticket = Ticket::new(id, payload_of(shadow.model.schema(), &row, Some(prediction)));
    room.push(Item { model: Arc::clone(shadow), row, event, ticket, answer: Bytes::new() });
    true
}

impl Service {
    /// How the version in the shadow compares with the one in service; `None` where there is to be
    /// none. What `GET /api/v1/shadow` tells.
    ///
    /// See [`ShadowReport`] for an example.
    #[must_use]
    pub fn shadow_report(&self) -> Option<ShadowReport> {
        self.state.shadow.as_ref().map(Shadowing::report)
    }
}

/// `GET /api/v1/shadow`
pub(super) async fn report(Shared(state): Shared<State>) -> Result<Json<ShadowReport>, Problem> {
    let report = state.shadow.as_ref().map(Shadowing::report);
    report.map(Json).ok_or_else(|| {
        let message = "No version is to run in the shadow here";
        Problem::new(StatusCode::NOT_FOUND, "no_shadow", message)
    })
}
