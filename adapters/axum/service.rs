//! The service and its builder.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::axum::Router;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::auth::{Admin, TOKEN_CHARS};
use super::clock::Clock;
use super::health::Probe;
use super::idempotency;
use super::jobs::Jobs;
use super::live::LiveReport;
use super::loaded::{ModelInfo, Reloaded};
use super::log_writer::{LogAccount, LogQueue};
use super::metrics::Metrics;
use super::models::{Models, Source};
use super::operations::Operations;
use super::options::{Durability, Limits, RawFeatures, RejectedValues, Scoring};
use super::reload_error::ReloadError;
use super::replay::{self, Replay};
use super::routes;
use super::shadow::{Parts, Shadow, Shadowing};
use super::skew::{SkewAlerts, SkewWatch};
use super::state::{Inner, LARGE_BODIES, State};
use crate::drift::{DriftDetector, LiveOptions};
use crate::ledger::Ledger;
use crate::log::{InferenceLog, Reply};
use crate::model::ModelFormat;
use crate::registry::{Alias, ModelCache, ModelName, ModelRegistry};
use crate::{Error, ErrorKind, Timestamp};

/// Name of this component in errors.
pub(super) const AXUM: &str = "axum";

/// What a [`Service`] is made of.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
/// use pmmds::axum::{
///     Durability, Limits, RawFeatures, RejectedValues, Scoring, ServiceBuilder, Shadow, SkewAlerts,
/// };
/// use pmmds::drift::{DriftDetector, LiveOptions};
/// use pmmds::registry::Alias;
/// # use pmmds::axum::Operations;
/// # use pmmds::{ledger::Ledger, log::InferenceLog, model::ModelFormat};
/// # use pmmds::registry::{ModelCache, ModelRegistry};
///
/// # async fn start(
/// #     log: Arc<dyn InferenceLog>,
/// #     registry: Arc<dyn ModelRegistry>,
/// #     cache: Arc<dyn ModelCache>,
/// #     ledger: Arc<dyn Ledger>,
/// #     operations: Arc<dyn Operations>,
/// #     formats: Vec<Arc<dyn ModelFormat>>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let service = ServiceBuilder::new(log, registry, formats, "churn-classifier".parse()?)
///     .alias(Alias::production())
///     .model_cache(cache) // to start while the registry is away
///     .limits(Limits::new().concurrency(64))
///     .durability(Durability::Committed)
///     .raw_features(RawFeatures::Keep) // so that traffic can be trained on
///     .scoring(Scoring::Inline)
///     .rejected_values(RejectedValues::Show)
///     .admin_token("at least 32 characters, from a secret")
///     .allowed_hosts(["ml.example"])
///     .poll_every(Duration::from_secs(30))
///     .live(LiveOptions::new().window(Duration::from_secs(6 * 3600)))
///     .detector(DriftDetector::default())
///     .shadow(Shadow::Alias(Alias::staging()))
///     .ledger(ledger)
///     .skew_alerts(SkewAlerts::new("web-1:8000"))
///     .operations(operations)
///     .start()
///     .await?;
/// let app = ::axum::Router::new().nest("/ml", service.router());
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ServiceBuilder {
    log: Arc<dyn InferenceLog>,
    registry: Arc<dyn ModelRegistry>,
    formats: Vec<Arc<dyn ModelFormat>>,
    name: ModelName,
    alias: Alias,
    cache: Option<Arc<dyn ModelCache>>,
    limits: Limits,
    durability: Durability,
    raw_features: RawFeatures,
    scoring: Scoring,
    rejected_values: RejectedValues,
    token: Option<String>,
    hosts: Vec<String>,
    poll: Option<Duration>,
    meanwhile: Option<MachineClock>,
    live: LiveOptions,
    detector: DriftDetector,
    shadow: Option<Shadow>,
    ledger: Option<Arc<dyn Ledger>>,
    skew: Option<SkewAlerts>,
    operations: Option<Arc<dyn Operations>>,
}

/// The wall clock of the machine, or what its owner takes for it.
type MachineClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBuilder")
            .field("log", &self.log)
            .field("registry", &self.registry)
            .field("formats", &self.formats)
            .field("name", &self.name)
            .field("alias", &self.alias)
            .field("cache", &self.cache)
            .field("limits", &self.limits)
            .field("durability", &self.durability)
            .field("raw_features", &self.raw_features)
            .field("scoring", &self.scoring)
            .field("rejected_values", &self.rejected_values)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("hosts", &self.hosts)
            .field("poll", &self.poll)
            .field("meanwhile", &self.meanwhile.is_some())
            .field("live", &self.live)
            .field("detector", &self.detector)
            .field("shadow", &self.shadow)
            .field("ledger", &self.ledger)
            .field("skew", &self.skew)
            .field("operations", &self.operations)
            .finish()
    }
}

impl ServiceBuilder {
    /// A service that answers with the versions of `name` in `registry`, read by `formats`, and
    /// writes to `log`.
    pub fn new(
        log: Arc<dyn InferenceLog>,
        registry: Arc<dyn ModelRegistry>,
        formats: Vec<Arc<dyn ModelFormat>>,
        name: ModelName,
    ) -> Self {
        Self {
            log,
            registry,
            formats,
            name,
            alias: Alias::production(),
            cache: None,
            limits: Limits::new(),
            durability: Durability::default(),
            raw_features: RawFeatures::default(),
            scoring: Scoring::default(),
            rejected_values: RejectedValues::default(),
            token: None,
            hosts: Vec::new(),
            poll: None,
            meanwhile: None,
            live: LiveOptions::new(),
            detector: DriftDetector::default(),
            shadow: None,
            ledger: None,
            skew: None,
            operations: None,
        }
    }

    /// The alias that names the version to serve. Defaults to `production`.
    pub fn alias(mut self, alias: Alias) -> Self {
        self.alias = alias;
        self
    }

    /// Where the version that was loaded last is kept, to be served by a start while the registry is
    /// away. Defaults to none.
    ///
    /// * It is asked at the start alone, and only when the registry does not answer
    ///   ([`Unavailable`](ErrorKind::Unavailable), or not in time). A registry that refuses the
    ///   credentials has answered, and so has one that confirms that there is no such model or alias,
    ///   or names another version than is kept: then no model is loaded, as without a cache.
    /// * What it has kept is verified as if the registry had given it; damage is in the log, and no
    ///   model is loaded.
    /// * As long as it is served, [`ModelInfo::source`] is [`Cache`](super::ModelSource::Cache),
    ///   `/readyz?verbose` calls the model degraded, and `pmmds_model_info` has `source="cache"`.
    ///   The next reload that works, by [polling](Self::poll_every) or asked for, ends that: with
    ///   whatever version the registry names, as at a start.
    /// * A reload that fails ends it not, even where the registry has answered by then: that it
    ///   refuses the credentials, has no such alias, or names a version that will not do. What is
    ///   served never gets worse; it goes on as unconfirmed, which is neither version skew nor the
    ///   opposite while the numbers agree.
    /// * Nothing else asks it: registry down is never "no champion", and never its opposite.
    pub fn model_cache(mut self, cache: Arc<dyn ModelCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Bounds of size, number and time. Defaults to [`Limits::new`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// When an answer may leave. Defaults to [`Durability::Committed`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether rows are logged with their features. Defaults to [`RawFeatures::Drop`].
    pub fn raw_features(mut self, raw_features: RawFeatures) -> Self {
        self.raw_features = raw_features;
        self
    }

    /// Where the model runs. Defaults to [`Scoring::Inline`].
    pub fn scoring(mut self, scoring: Scoring) -> Self {
        self.scoring = scoring;
        self
    }

    /// Whether a refusal repeats the values that it is about. Defaults to [`RejectedValues::Show`].
    pub fn rejected_values(mut self, values: RejectedValues) -> Self {
        self.rejected_values = values;
        self
    }

    /// The token that opens the admin routes, at least 32 characters; white space around it is
    /// taken off. There is one, and no roles: who has it may do all that these routes do, and who
    /// has not may read what the others tell. Defaults to none: then they are open to this machine
    /// only.
    pub fn admin_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Names of this host, without port, that the `Host` header of an admin request may have.
    /// Defaults to any with a token, and to `localhost`, `127.0.0.1` and `[::1]` without one.
    pub fn allowed_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Looks so often whether the alias has moved, and reloads if it has. A version that was refused
    /// is not fetched again before the alias moves, or a reload is asked for; one whose files did
    /// not come whole is, after pauses that double from a second to five minutes. Defaults to never.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.poll = Some(interval);
        self
    }

    /// Lets the service start while the store behind the log is away, where the log keeps events on
    /// local disk meanwhile ([`InferenceLog::backlog`](crate::log::InferenceLog::backlog)): the time
    /// is that of `clock`, the wall clock of this machine say, until the store tells its own. Events
    /// of before keep the time that they were given; `/ready` is `degraded` and says so, and the log
    /// of the service says by how much the clocks differ. Defaults to none: the service starts when
    /// the store answers.
    ///
    /// * Whatever goes by the time of an event goes by the wrong one where `clock` is wrong: the
    ///   windows that it is counted in, and retention, which takes what is old by it. So a `clock` is
    ///   not believed that is more than an hour behind what is past for certain: the year of this
    ///   release, the first event that waits, the moment when the [kept](Self::model_cache) version
    ///   was kept. Then the service does not start without the store, and says both times.
    /// * Nothing tells that a `clock` is ahead before the store tells the time. Where the two are a
    ///   minute apart or more, [`live_report`](Service::live_report) begins anew with the store's.
    ///
    /// ```
    /// # use pmmds::axum::ServiceBuilder;
    /// use pmmds::system::SystemEnvironment;
    /// # fn start(builder: ServiceBuilder) -> ServiceBuilder {
    /// let machine = SystemEnvironment::new();
    /// builder.clock_meanwhile(move || machine.now())
    /// # }
    /// ```
    pub fn clock_meanwhile(
        mut self,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.meanwhile = Some(Arc::new(clock));
        self
    }

    /// The window over which answers are counted as they are given, for
    /// [`live_report`](Service::live_report). Its memory is described at
    /// [`LiveCounters`](crate::drift::LiveCounters). Defaults to [`LiveOptions::new`]: 24 hours that
    /// move by 5 minutes.
    pub fn live(mut self, options: LiveOptions) -> Self {
        self.live = options;
        self
    }

    /// How live traffic is compared with the profile of the version in service. Defaults to
    /// [`DriftDetector::default`]. A setting of the monitor is no reason not to answer: where it asks
    /// for [more drifted features](crate::drift::DriftSettings::min_drift_features) than a version
    /// has, [`live_report`](Service::live_report) takes all of them.
    pub fn detector(mut self, detector: DriftDetector) -> Self {
        self.detector = detector;
        self
    }

    /// A version that runs beside the one in service: it scores the rows that are answered, off
    /// their way, its predictions are logged under its own version and compared, and never
    /// returned. It is loaded when the service starts, with every reload, and as often as
    /// [`poll_every`](Self::poll_every) says. Each row is scored by both again, to time them side by
    /// side. Defaults to none.
    pub fn shadow(mut self, shadow: Shadow) -> Self {
        self.shadow = Some(shadow);
        self
    }

    /// The ledger, for the routes that tell what is on record: drift runs, alerts, decisions,
    /// retraining runs. Defaults to none: then they answer 404 `no_ledger`.
    pub fn ledger(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Alerts in the [ledger](Self::ledger) while this process serves another version than
    /// [polling](Self::poll_every) has seen behind the alias; it takes both. Defaults to none: then
    /// the metric `pmmds_model_version_skew` alone tells.
    pub fn skew_alerts(mut self, alerts: SkewAlerts) -> Self {
        self.skew = Some(alerts);
        self
    }

    /// What `POST /api/v1/drift/runs` and `POST /api/v1/retrain` start. Defaults to none: then they
    /// answer 404 `no_operations`.
    pub fn operations(mut self, operations: Arc<dyn Operations>) -> Self {
        self.operations = Some(operations);
        self
    }

    /// Starts the service on the current runtime: sets its clock by the log's, loads the version
    /// behind the alias, and starts the task that writes the log.
    ///
    /// Where no version can be loaded, from the registry or else from the
    /// [cache](Self::model_cache), the service starts all the same: predictions answer 503,
    /// `/ready` says why, and a reload brings the version in. [`Service::model`] tells.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) with every option that cannot work;
    /// whatever the log answers, such as [`Unavailable`](ErrorKind::Unavailable), when asked for the
    /// time, unless [another clock](Self::clock_meanwhile) will do, and when asked for the answers
    /// that it keeps. No task is left behind then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<Service, Error> {
        let token = self.token.as_deref().map(str::trim);
        let mut problems = self.limits.problems();
        if token.is_some_and(|token| token.chars().count() < TOKEN_CHARS) {
            problems.push(format!("the admin token is shorter than {TOKEN_CHARS} characters"));
        }
        if self.poll.is_some_and(|interval| interval.is_zero()) {
            problems.push("the interval of polling is zero".to_owned());
        }
        if let Some(alerts) = &self.skew {
            problems.extend(alerts.problems());
            if self.ledger.is_none() || self.poll.is_none() {
                problems.push("skew alerts take a ledger and an interval of polling".to_owned());
            }
        }
        problems.extend(self.live.check().err().map(|error| format!("live: {error}")));
        if self.formats.is_empty() {
            problems.push("no model format is given, so no version can be read".to_owned());
        }
        if !problems.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, AXUM, problems.join("; ")));
        }
        if token.map(str::len) != self.token.as_deref().map(str::len) {
            tracing::warn!("white space round the admin token was taken off");
        }

        let clock = Arc::new(Clock::new());
        let asked = clock.elapsed();
        let now = tokio::time::timeout(self.limits.append_timeout, self.log.now()).await;
        let now = now.unwrap_or_else(|_| {
            let context = "the log did not tell the time when the service started";
            Err(Error::new(ErrorKind::Unavailable, AXUM, context))
        });
        let meanwhile = self.meanwhile.filter(|_| self.log.backlog().is_some());
        match (now, meanwhile) {
            (Ok(now), _) => drop(clock.set(asked, now)),
            (Err(error), Some(meanwhile)) if error.kind() == ErrorKind::Unavailable => {
                let waits = self.log.backlog().and_then(|backlog| backlog.oldest);
                let waits = waits.map(|at| (at, "an answer was given that waits for the store"));
                let kept = match &self.cache {
                    Some(cache) => {
                        let last = cache.last(&self.name, &self.alias);
                        tokio::time::timeout(self.limits.reload_timeout, last).await
                    }
                    None => Ok(Ok(None)),
                };
                // Damage is told where it matters: when it is to be served.
                let kept = kept.ok().and_then(Result::ok).flatten();
                let kept = kept.map(|cached| (cached.kept_at, "the version was kept that is kept"));
                let error = clock.assume(meanwhile(), waits.into_iter().chain(kept), error)?;
                let error = error.chain();
                tracing::warn!(error, "started without the store: events wait on local disk");
            }
            (Err(error), _) => return Err(error),
        }

        // A log that keeps answers on local disk has them from before a restart. Whatever can fail
        // comes before the first task: nobody would end it.
        let replies = self.log.replies(self.limits.replay_entries);
        let replies = tokio::time::timeout(self.limits.append_timeout, replies).await;
        let replies = replies.unwrap_or_else(|_| {
            let context = "the log did not give its replies when the service started";
            Err(Error::new(ErrorKind::Unavailable, AXUM, context))
        })?;

        let parts = (Arc::clone(&self.registry), self.formats.clone(), self.name.clone());
        let source = Source {
            registry: self.registry,
            formats: self.formats,
            name: self.name,
            alias: self.alias,
            deadline: self.limits.reload_timeout,
        };
        let models = Models::new(source, self.cache, Arc::clone(&clock), self.live.clone());
        let models = Arc::new(models);
        models.start().await;
        if !clock.is_told() {
            tokio::spawn(Models::follow(Arc::downgrade(&models), Arc::clone(&self.log)));
        }
        let poll = self.poll.map(|interval| {
            let (sender, looks) = watch::channel(None);
            if let (Some(alerts), Some(ledger)) = (self.skew, &self.ledger) {
                let (ledger, clock) = (Arc::clone(ledger), Arc::clone(&clock));
                let patience = self.limits.probe_timeout;
                let skew = SkewWatch::new(alerts, &models, ledger, clock, interval, patience);
                tokio::spawn(skew.run(looks));
            }
            tokio::spawn(Arc::clone(&models).poll(interval, sender)).abort_handle()
        });
        let replay = Arc::new(Replay::new(self.limits.replay_entries, self.limits.replay_bytes));
        // What was decoded by another schema cannot be compared with what comes now.
        let current = models.current();
        let is_known = |payload| {
            current.as_ref().is_none_or(|loaded| replay::is_of(payload, loaded.model.schema()))
        };
        for Reply { request_id, payload, answer, .. } in replies {
            if !is_known(payload) {
                continue;
            }
            let bytes = answer.len();
            replay.restore(request_id, payload, answer.into(), bytes);
        }
        let queue = Arc::new(LogQueue::start(
            Arc::clone(&self.log),
            self.durability,
            &self.limits,
            Arc::clone(&clock),
            Arc::clone(&replay),
        ));
        let shadow = self.shadow.map(|which| {
            let (registry, formats, name) = parts;
            Shadowing::start(Parts {
                which,
                registry,
                formats,
                name,
                deadline: self.limits.reload_timeout,
                poll: self.poll,
                live: self.live,
                clock: Arc::clone(&clock),
                queue: Arc::clone(&queue),
            })
        });
        let state = State::new(Inner {
            log: self.log,
            models,
            queue,
            shadow,
            replay,
            clock,
            admin: Admin::new(token, &self.hosts),
            probe: Probe::default(),
            detector: self.detector,
            live_turn: Arc::default(),
            room: Arc::new(Semaphore::new(self.limits.concurrency)),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
            limits: self.limits,
            durability: self.durability,
            raw_features: self.raw_features,
            scoring: self.scoring,
            rejected_values: self.rejected_values,
            draining: AtomicBool::new(false),
            ledger: self.ledger,
            jobs: Jobs::new(self.operations),
            answers: Arc::new(Replay::new(idempotency::ENTRIES, idempotency::BYTES)),
            metrics: Metrics::default(),
        });
        Ok(Service { state, _poll: Arc::new(Poll(poll)) })
    }
}

/// Ends polling when the last clone of the service goes.
#[derive(Debug)]
struct Poll(Option<AbortHandle>);

impl Drop for Poll {
    fn drop(&mut self) {
        if let Some(poll) = &self.0 {
            poll.abort();
        }
    }
}

/// The HTTP service: routers to mount, and what stands behind them. A cheap clone.
///
/// See [`ServiceBuilder`] for an example.
#[derive(Debug, Clone)]
pub struct Service {
    pub(super) state: State,
    _poll: Arc<Poll>,
}

impl Service {
    /// Every route, to be served as it is or nested under a prefix.
    ///
    /// ```no_run
    /// # fn mount(service: &pmmds::axum::Service) {
    /// let app = ::axum::Router::<()>::new().nest("/ml", service.router());
    /// # let _ = app;
    /// # }
    /// ```
    pub fn router(&self) -> Router {
        routes::whole(&self.state)
    }

    /// The routes for clients of the model: predict, health, `/model`, `/openapi.json`, `/docs`.
    ///
    /// ```no_run
    /// # fn mount(service: &pmmds::axum::Service) {
    /// let inside = ::axum::Router::<()>::new().nest("/ml", service.admin().merge(service.ops()));
    /// let outside = service.public();
    /// # let _ = (inside, outside);
    /// # }
    /// ```
    pub fn public(&self) -> Router {
        routes::public(&self.state)
    }

    /// The routes that steer the model, behind the admin token: reload, outcomes, runs of monitor
    /// and retraining, acknowledgement of alerts. Each takes an `Idempotency-Key`.
    ///
    /// Without a token they are open to this machine only, which they know from the peer's
    /// address: [`serve`](Self::serve) tells them, and so does axum's
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Where nobody tells, they stay closed.
    pub fn admin(&self) -> Router {
        routes::admin(&self.state)
    }

    /// The routes for operators: drift as it is now, what is on record in the ledger, metrics.
    pub fn ops(&self) -> Router {
        routes::ops(&self.state)
    }

    /// The version in service; `None` before the first was loaded.
    #[must_use]
    pub fn model(&self) -> Option<ModelInfo> {
        self.state.models.current().map(|loaded| loaded.info.clone())
    }

    /// Brings the version behind the alias into service; whatever goes wrong, the present one
    /// stays. What `POST /model/reload` does.
    ///
    /// # Errors
    ///
    /// When the registry does not answer in time, has no such alias, or the version is refused.
    ///
    /// ```
    /// # async fn reload(service: &pmmds::axum::Service) {
    /// match service.reload().await {
    ///     Ok(reloaded) => println!("now version {}", reloaded.current_version),
    ///     Err(error) => println!("{}: {error}; the present version stays", error.code()),
    /// }
    /// # }
    /// ```
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        if let Some(shadow) = &self.state.shadow {
            shadow.reload();
        }
        self.state.models.reload().await
    }

    /// Drift of what this process has answered over the last hours, as it is now; `None` before the
    /// first version was loaded. What `GET /api/v1/drift/live` tells.
    ///
    /// It takes as long as a verdict takes, a third of a millisecond for 19 features,
    /// and longer where few rows make it simulate tables.
    ///
    /// ```
    /// # fn watch(service: &pmmds::axum::Service) {
    /// if let Some(live) = service.live_report() {
    ///     println!("{:?} on {} rows", live.report.verdict, live.report.current_rows);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn live_report(&self) -> Option<LiveReport> {
        self.state.models.current().map(|model| self.state.live_report(&model))
    }

    /// Where the events are that predictions have made.
    ///
    /// ```
    /// # fn watch(service: &pmmds::axum::Service) {
    /// let account = service.log_account();
    /// println!("{} of {} events are written", account.written, account.accepted);
    /// # }
    /// ```
    #[must_use]
    pub fn log_account(&self) -> LogAccount {
        self.state.queue.account()
    }

    /// Turns readiness to 503. Requests are still answered. [`serve`](Self::serve) does it by
    /// itself.
    pub fn begin_drain(&self) {
        self.state.draining.store(true, Ordering::Release);
    }

    /// Turns readiness to 503, takes no more predictions, and writes what is queued: the end of
    /// [`serve`](Self::serve), for those who serve the routers themselves. Call it once no request
    /// is in flight.
    ///
    /// The result tells how many events were [`lost`](LogAccount::lost), because the store took
    /// none for as long as [`Limits::flush_timeout`].
    ///
    /// ```no_run
    /// # async fn end(service: pmmds::axum::Service, app: ::axum::Router, listener: tokio::net::TcpListener)
    /// # -> std::io::Result<()> {
    /// let stopping = service.clone();
    /// let stop = async move {
    ///     drop(tokio::signal::ctrl_c().await);
    ///     stopping.begin_drain();
    /// };
    /// ::axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    /// let account = service.shutdown().await;
    /// assert_eq!(account.lost, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self) -> LogAccount {
        self.begin_drain();
        let account = self.state.queue.close(self.state.limits.flush_timeout).await;
        if account.lost > 0 {
            tracing::error!(lost = account.lost, "answered predictions are not in the log");
        }
        account
    }
}
