//! The subcommands: the original system's, on a folder that lasts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use pmmds::axum::{ModelSource, RawFeatures, Service, ServiceBuilder};
use pmmds::drift::Verdict;
use pmmds::ledger::{RunState, Trigger};
use pmmds::lifecycle::{
    Holdout, Monitor, RetrainRequest, RetrainSettings, Retrained, Retraining, ServingModel,
};
use pmmds::linfa::formats;
use pmmds::log::InferenceLog as _;
use pmmds::model::{Progress, Trainer};
use pmmds::postgres::PostgresStore;
use pmmds::promote::OriginalPolicy;
use pmmds::schedule::Schedule;
use pmmds::spool::SpooledLog;
use pmmds::system::SystemEnvironment;
use pmmds::{Error, Timestamp, Window};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::Outcome;
use crate::client::Client;
use crate::data;
use crate::operations::{self, Flows};
use crate::origin;
use crate::schedule::{self, Watch};
use crate::settings::{Durability, Settings};
use crate::state::{State, WRITER, WithoutDatabase};
use crate::telco::Customers;

/// Folder of the subcommands unless told otherwise.
const FOLDER: &str = ".pmmds";

/// How often a running service looks for a newly promoted version.
const POLL: Duration = Duration::from_secs(5);

/// How long the end waits for the database to take what is on disk.
const SPOOL_DRAIN: Duration = Duration::from_secs(5);

/// Exit codes of the monitor, as schedulers expect them.
const DRIFT: u8 = 1;
const NO_VERDICT: u8 = 3;

pub(crate) fn folder(settings: &Settings) -> PathBuf {
    settings.state.clone().unwrap_or_else(|| PathBuf::from(FOLDER))
}

/// Those who are sent as traffic, and on stdout where they come from.
async fn customers(settings: &Settings) -> Outcome<Customers> {
    let cache = State::data_cache(&folder(settings));
    let csv = data::load(settings.data.as_deref(), &cache, &ProgressBar::no_length()).await?;
    say!("{csv}");
    Customers::read(&csv)
}

pub(crate) async fn download_data(settings: &Settings) -> Outcome<ExitCode> {
    let cache = State::data_cache(&folder(settings));
    let csv = data::download(&cache, &ProgressBar::no_length()).await?;
    say!("{csv}\n      kept as {}", data::cache_path(&cache).display());
    Ok(ExitCode::SUCCESS)
}

/// Says on stdout what is being done.
pub(crate) struct Steps;

impl Progress for Steps {
    fn step(&self, what: &str, done: u64, total: u64) {
        if done == 0 {
            let of = if total > 1 { format!(" ({total} steps)") } else { String::new() };
            say!("  .. {what}{of}");
        }
    }
}

/// Retraining as the subcommands and the story do it: the recommended policy, which asks that the
/// interval of the improvement lie above 0.
pub(crate) fn retraining(state: &State, trainer: Arc<dyn Trainer>, holdout: Holdout) -> Retraining {
    let settings = RetrainSettings::default().holdout(holdout);
    Retraining::new(state.promotion(), trainer, formats())
        .policy(Arc::new(OriginalPolicy::new().strict()))
        .settings(settings)
}

/// The newest half of the labelled traffic judges both models.
pub(crate) fn newest_half() -> Holdout {
    Holdout::Time { share: 0.5, gap: Duration::ZERO }
}

pub(crate) async fn train(settings: &Settings) -> Outcome<ExitCode> {
    let state = State::open(&folder(settings), settings).await?;
    let _lock = state.lock(WRITER)?;
    if let Some(serving) = state.production().await? {
        let (name, version) = (serving.name(), serving.version());
        say!("{name} v{version} is in production already; to make a better one: retrain");
        return Ok(ExitCode::SUCCESS);
    }
    let customers = Customers::read(&origin::to_train_on(settings, &state).await?)?;
    let (known, trainer) = (customers.training(), customers.origin.trainer(&state));
    let request = RetrainRequest {
        model: &state.model,
        trigger: Trigger::Manual,
        alert: None,
        reference: &known,
    };
    let done = retraining(&state, trainer, newest_half()).run(&request, &Steps).await?;
    print_retrained(&done);
    if let Some(serving) = state.production().await? {
        for (metric, value) in &serving.artifact().training().metrics {
            say!("  {metric:10} {value:.4}  (5 folds)");
        }
    }
    Ok(if done.promoted().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A service of this state, with raw features kept so that traffic can be trained on.
pub(crate) async fn service(
    state: &State,
    settings: &Settings,
    poll: Option<Duration>,
) -> Outcome<Service> {
    let mut builder = ServiceBuilder::new(
        state.log(),
        Arc::clone(&state.registry),
        formats(),
        state.model.clone(),
    )
    .alias(state.alias.clone())
    .durability(match settings.durability {
        Durability::Queued => pmmds::axum::Durability::Queued,
        // What the log acknowledges is in a file, where it is told to keep it there.
        Durability::Committed | Durability::Spool | Durability::SpoolSync => {
            pmmds::axum::Durability::Committed
        }
    })
    .raw_features(RawFeatures::Keep)
    // Of a log that waits in files of the folder alone.
    .clock_meanwhile({
        let machine = SystemEnvironment::new();
        move || machine.now()
    });
    builder = builder
        .ledger(state.ledger())
        .operations(Arc::new(Flows { state: state.clone(), settings: settings.clone() }));
    if let Some(token) = &settings.admin_token {
        builder = builder.admin_token(token.reveal());
    }
    if let Some(interval) = poll {
        builder = builder.poll_every(interval);
        if settings.model_cache
            && let Some(cache) = state.model_cache().await
        {
            builder = builder.model_cache(cache);
        }
        if settings.enable_alerts {
            builder = builder.skew_alerts(operations::skew_alerts(state, settings)?);
        }
    }
    Ok(builder.start().await?)
}

/// Serves, and monitors by `schedule`, or as the settings say.
pub(crate) async fn serve(settings: &Settings, schedule: Option<Schedule>) -> Outcome<ExitCode> {
    let without = match settings.durability {
        Durability::Spool | Durability::SpoolSync => WithoutDatabase::GoOn,
        Durability::Committed | Durability::Queued => WithoutDatabase::GiveUp,
    };
    let opened = State::open_or(&folder(settings), settings, without).await;
    let state = opened.inspect_err(|error| {
        let away =
            |error: &Error| error.component() == "postgres" && !PostgresStore::is_refusal(error);
        if error.downcast_ref().is_some_and(away) {
            eprintln!("note: with --durability spool `serve` starts without its database, and");
            eprintln!("  brings to it later what it has answered meanwhile; the model comes from");
            eprintln!("  the registry, or from what --model-cache has kept of it");
        }
    })?;
    let (state, spool) = state.spooled(settings.durability).await?;
    if spool.is_none() && state.has_spooled() {
        let folder = state.file("spool");
        let folder = folder.display();
        say!("note: {folder} is of a service with --durability spool; what may wait there");
        say!("  is brought in by the next one");
    }
    let schedule = match schedule {
        None if settings.scheduled_monitoring => {
            let hours = Duration::from_secs(settings.monitor_interval_hours * 3600);
            Some(Schedule::every(hours)?)
        }
        schedule => schedule,
    };
    let watch = schedule.map(|schedule| Watch::new(&state, settings, schedule)).transpose()?;
    // What is in production may be promoted by another process.
    let service = service(&state, settings, Some(POLL)).await?;
    let address = SocketAddr::new(settings.host, settings.port);
    let listener =
        TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
    // Whoever reads that it serves may stop it at once.
    let (stop, stop_watching) = (stop_signal(), stop_signal());
    match service.model() {
        Some(model) => {
            say!("serving {} v{}", model.name, model.version);
            if model.source == ModelSource::Cache {
                say!("  model        from the cache: the registry does not answer");
            }
        }
        None => say!("nothing is in production yet: train first; serving 503 until then"),
    }
    say!("  predictions  http://{address}/api/v1/predict");
    say!("  API          http://{address}/docs");
    say!("  log          {}", crate::configuration::store(settings)?);
    if let Some(backlog) = spool.as_ref().and_then(|spool| spool.backlog()) {
        let (waiting, folder) = (backlog.events, state.file("spool"));
        say!("  spool        {}, {waiting} events wait there", folder.display());
    }
    say!("  monitor      {}", watch.as_ref().map_or("off", |watch| &watch.plan));
    let (served, over) = oneshot::channel::<()>();
    let watching = watch.map(|watch| {
        let stop = async {
            tokio::select! {
                () = stop_watching => {}
                _ = over => {}
            }
        };
        tokio::spawn(watch.run(stop))
    });
    let account = service.serve(listener, stop).await;
    drop(served);
    if let Some(watching) = watching {
        watching.await?;
    }
    // In every case: what it holds comes down to the disk.
    let waiting = match spool {
        Some(spool) => spool.close(SPOOL_DRAIN).await.events,
        None => 0,
    };
    if waiting > 0 {
        let folder = state.file("spool");
        say!("stopped; {waiting} answered predictions wait in {}", folder.display());
        say!("  the next `serve --durability spool` on this folder brings them to the log");
    }
    account?;
    // Not before: what was given up may have come to the disk all the same.
    let lost = service.log_account().lost;
    if lost > 0 {
        eprintln!("{lost} answered predictions could not be logged");
        return Ok(ExitCode::FAILURE);
    }
    if waiting > 0 {
        return Ok(ExitCode::SUCCESS);
    }
    say!("stopped; every answered prediction is in the log");
    Ok(ExitCode::SUCCESS)
}

/// Resolves on Ctrl-C, and where there is one on SIGTERM: at the first of them from this call on, also
/// one that comes before anybody waits.
fn stop_signal() -> impl Future<Output = ()> {
    let first = one_signal();
    async {
        first.await;
        // Whoever sends a second one does not want to wait for a good end.
        tokio::spawn(async {
            one_signal().await;
            eprintln!("stopped by a second signal; what was queued may not be in the log");
            std::process::exit(1);
        });
    }
}

#[cfg(unix)]
fn one_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async {
        let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
            return drop(tokio::signal::ctrl_c().await);
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
async fn one_signal() {
    drop(tokio::signal::ctrl_c().await);
}

/// What `seed-traffic` sends, and where.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) count: usize,
    pub(crate) drift: bool,
    pub(crate) url: Option<String>,
    pub(crate) delay: Duration,
    pub(crate) outcomes: bool,
}

pub(crate) async fn seed_traffic(settings: &Settings, traffic: Traffic) -> Outcome<ExitCode> {
    let customers = customers(settings).await?;
    let url = traffic
        .url
        .unwrap_or_else(|| format!("http://{}", SocketAddr::new(settings.host, settings.port)));
    let client = Client::new(url.trim_end_matches('/'), settings.token())?;
    let mut rows: Vec<usize> =
        if traffic.drift { customers.campaign() } else { customers.newcomers() };
    let distinct = rows.len();
    if distinct == 0 {
        return Err("the data has no such customers".into());
    }
    if traffic.count > distinct {
        let repeats = traffic.count - distinct;
        say!(
            "note: there are {distinct} such customers, so {repeats} requests repeat one of them;"
        );
        say!("      a model trained on one and judged on the other looks better than it is");
    }
    // A part of its own for every call, in an order of its own.
    let part = pmmds::lifecycle::Environment::new_id(&pmmds::system::SystemEnvironment::new());
    let order = |row: &usize| {
        let key = format!("{part}:{}", customers.all.entity(*row));
        pmmds::schema::Fingerprint::of_bytes(key.as_bytes())
    };
    rows.sort_by_cached_key(order);
    let rows: Vec<usize> = rows.into_iter().cycle().take(traffic.count).collect();
    let mut requests = customers.requests(&part.to_string(), &rows);
    for (repeat, request) in requests.iter_mut().enumerate().skip(distinct) {
        // The same customer once more is another request.
        request.id = uuid::Uuid::from_u128(request.id.as_u128() ^ repeat as u128);
    }
    let answers = client.send("sending requests", requests.clone(), traffic.delay).await?;
    for (version, count) in &answers {
        say!("{count} predictions by v{version}");
    }
    if traffic.outcomes {
        client.outcomes(&requests).await?;
        say!("{} outcomes, churn {:.1} %", requests.len(), 100.0 * customers.churn(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

/// Monitors by `schedule` until it is told to stop.
pub(crate) async fn watch(settings: &Settings, schedule: Schedule) -> Outcome<ExitCode> {
    let state = State::open(&folder(settings), settings).await?;
    let watch = Watch::new(&state, settings, schedule)?;
    say!("monitoring {}: {}", state.model, watch.plan);
    watch.aloud().run(stop_signal()).await;
    say!("stopped");
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn monitor(settings: &Settings, slot: Option<Duration>) -> Outcome<ExitCode> {
    let state = State::open(&folder(settings), settings).await?;
    let monitor = state.monitor(settings)?;
    let Some(serving) = state.production().await? else {
        return Err("nothing is in production, so there is nothing to compare with".into());
    };
    let verdict = match slot {
        None => {
            let window = monitor.window(settings.window()).await?;
            look(&state, settings, &monitor, &serving, window).await?
        }
        Some(length) => {
            let look = |window| look(&state, settings, &monitor, &serving, window);
            schedule::once(&state, length, settings.grace(), look).await?
        }
    };
    if let Some(waits) = what_waits(&state).await {
        say!("note: {waits}");
    }
    Ok(match verdict {
        Verdict::Stable => ExitCode::SUCCESS,
        Verdict::Drift | Verdict::FeatureDrift => ExitCode::from(DRIFT),
        _ => ExitCode::from(NO_VERDICT),
    })
}

/// What a service on this folder has answered and the log does not have yet, if anything.
pub(crate) async fn what_waits(state: &State) -> Option<String> {
    let folder = state.file("spool");
    match SpooledLog::waiting(&folder).await {
        Ok(backlog) if backlog.events > 0 => {
            let (events, folder) = (backlog.events, folder.display());
            Some(format!("up to {events} events wait in {folder}: they are in no window yet"))
        }
        Ok(_) => None,
        Err(error) => {
            let error = error.chain();
            tracing::warn!(error, "what waits in the spool of this folder is not known");
            None
        }
    }
}

/// The monitor's look at `window` of the traffic of `serving`, on stdout.
async fn look(
    state: &State,
    settings: &Settings,
    monitor: &Monitor,
    serving: &ServingModel,
    window: Window,
) -> Outcome<Verdict> {
    let done = operations::look(state, settings, monitor, serving, window).await?;
    say!("{} v{}, {window}, run {}", serving.name(), serving.version(), done.run.id);
    say!("{}", done.run.report);
    if let Some(alert) = &done.alert {
        let state = if done.opened { "opened" } else { "still open" };
        say!("alert {} {state}: {}", alert.id, alert.message);
    }
    for alert in &done.resolved {
        say!("alert {} resolved", alert.id);
    }
    Ok(done.run.report.verdict)
}

pub(crate) async fn monitor_summary(settings: &Settings) -> Outcome<ExitCode> {
    let state = State::open(&folder(settings), settings).await?;
    let since = state.log.now().await?.saturating_sub(settings.window());
    let runs = state.ledger.drift_runs(&state.model, None, 50).await?.items;
    say!("drift runs of the last {} h", settings.window_hours);
    for run in runs.iter().filter(|run| run.created_at >= since) {
        let psi = run.report.max_psi().map_or_else(|| "-".to_owned(), |psi| format!("{psi:.4}"));
        let (verdict, rows) = (run.report.verdict.headline(), run.report.current_rows);
        let drifted = run.report.drifted().count();
        say!("  {}  v{}  {rows} rows  {verdict}", shown(run.created_at), run.version);
        say!("      largest PSI {psi}, {drifted} features drifted");
    }
    say!("alerts");
    for alert in state.ledger.alerts(&state.model, None, 50).await?.items {
        let state = match (alert.resolved_at, alert.acknowledged_at) {
            (Some(at), _) => format!("resolved {}", shown(at)),
            (None, Some(at)) => format!("acknowledged {}", shown(at)),
            (None, None) => "open".to_owned(),
        };
        say!(
            "  {}  v{}  {}  {state}",
            shown(alert.opened_at),
            alert.version,
            alert.severity.word()
        );
        say!("      {}", alert.message);
    }
    let job = schedule::job(&state.model);
    let slots = state.ledger.job_runs(&job, None, 10).await?;
    if !slots.is_empty() {
        say!("slots of {job}");
    }
    for run in slots {
        let at = shown(run.slot);
        say!("  {at}  {}", schedule::line(&run));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn retrain(settings: &Settings, force: bool) -> Outcome<ExitCode> {
    let state = State::open(&folder(settings), settings).await?;
    let begun = state.log.now().await?;
    match operations::retrain(&state, settings, force, &Steps).await? {
        Some(done) => {
            if let Some(at) = done.run.finished_at.filter(|at| *at < begun) {
                say!("the open alert was answered at {at} (--force retrains all the same):");
            }
            print_retrained(&done);
        }
        None => say!("no open drift alert, so nothing to do (--force retrains all the same)"),
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn print_retrained(done: &Retrained) {
    match (&done.decision, done.run.state) {
        (Some(decision), _) => say!("{}", decision.reason),
        (None, RunState::Skipped) => {
            say!("skipped: {}", done.run.message.as_deref().unwrap_or("no reason on record"));
        }
        (None, state) => say!("run {} is {}", done.run.id, state.as_str()),
    }
}

pub(crate) async fn decisions(settings: &Settings) -> Outcome<ExitCode> {
    let state = State::open(&folder(settings), settings).await?;
    for decision in state.ledger.decisions(&state.model, None, 20).await?.items {
        match &decision.record {
            Some(record) => say!("{}", serde_json::to_string_pretty(record)?),
            None => say!("{}", serde_json::to_string_pretty(&decision)?),
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn rollback(settings: &Settings, reason: &str) -> Outcome<ExitCode> {
    let state = State::open(&folder(settings), settings).await?;
    let _lock = state.lock(WRITER)?;
    let decision = state.promotion().rollback(&state.model, reason).await?;
    say!("{}", decision.reason);
    Ok(ExitCode::SUCCESS)
}

fn shown(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or(&text).trim_end_matches('Z').replace('T', " ")
}
