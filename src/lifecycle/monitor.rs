//! Looks at a window, writes down what it found, and tells somebody if need be.

use std::sync::Arc;
use std::time::Duration;

use super::alerts::{AlertRules, DRIFT_KEY, SIGNALS_KEY, UNKNOWN_KEY, alert_id, alert_of};
use super::environment::Environment;
use super::turn::Turns;
use crate::drift::{DriftDetector, Profile};
use crate::ledger::{Alert, DriftRun, Ledger};
use crate::log::InferenceLog;
use crate::registry::{ModelName, VersionId};
use crate::{Error, ErrorKind, Window};

/// Name of this component in errors.
const MONITOR: &str = "monitor";

/// Drift runs of the past that are looked through.
const RECENT: usize = 100;

/// What a run of the monitor did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MonitorRun {
    /// the run as it is on record
    pub run: DriftRun,
    /// the open alert that it opened or confirmed
    pub alert: Option<Alert>,
    /// whether `alert` was opened by this run; true again when the same window is looked at again
    pub opened: bool,
    /// alerts that it ended
    pub resolved: Vec<Alert>,
}

/// Compares windows of live traffic with profiles, keeps every run on record, opens and resolves
/// alerts.
///
/// * One task of one process at a time looks at a model; another one gets a
///   [`Conflict`](ErrorKind::Conflict).
/// * The same window of a version and profile is on record once: looked at again, the run on
///   record is returned, and what a crash kept from being done about it is done.
/// * An alert is about the present: a window before the latest one on record goes on record and
///   touches none.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use ndarray::Array2;
/// use pmmds::drift::{Profile, Verdict};
/// use pmmds::lifecycle::{Environment, Monitor};
/// use pmmds::log::{BatchId, EventBatch, InferenceEvent, InferenceLog};
/// use pmmds::memory::{MemoryLedger, MemoryLog};
/// use pmmds::model::Task;
/// use pmmds::record::Batch;
/// use pmmds::registry::{ModelName, VersionId};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::Timestamp;
/// use uuid::Uuid;
///
/// /// What the feature `system` reads off the machine.
/// #[derive(Debug)]
/// struct Fixed;
/// impl Environment for Fixed {
///     fn new_id(&self) -> Uuid { Uuid::from_u128(1) }
///     fn elapsed(&self) -> Duration { Duration::ZERO }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Training has seen 0 to 999, the traffic of the last hour is all above 600.
/// let schema = FeatureSchema::new([Feature::numeric("charges")])?;
/// let reference = Array2::from_shape_fn((1000, 1), |(row, _)| row as f64);
/// let profile = Profile::fit(&Batch::from_array(&schema, reference.view())?)?;
///
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let log = Arc::new(MemoryLog::with_clock(move || noon));
/// let (model, version) = (ModelName::new("churn")?, VersionId::FIRST);
/// let mut traffic = EventBatch::new(BatchId(Uuid::from_u128(7)), model.clone(), version, &profile);
/// for (index, row) in (600..800).enumerate() {
///     let row = Batch::from_array(&schema, reference.slice(ndarray::s![row..=row, ..]))?.row(0);
///     let prediction = Task::binary().prediction(0.3)?;
///     let id = Uuid::from_u128(index as u128);
///     let at = noon.saturating_sub(Duration::from_secs(60));
///     let codes = profile.encode(&row, prediction.score());
///     let event = InferenceEvent::new(id, id, at, prediction, Duration::ZERO, codes);
///     traffic.push(&profile, &row, event);
/// }
/// log.append(&traffic).await?;
///
/// let ledger = Arc::new(MemoryLedger::with_clock(move || noon));
/// let monitor = Monitor::new(log, ledger, Arc::new(Fixed), "replica-1");
/// let window = monitor.window(Duration::from_secs(3600)).await?;
/// let done = monitor.run(&model, version, &profile, window).await?;
/// assert_eq!(done.run.report.verdict, Verdict::Drift);
/// let alert = done.alert.expect("drift is told");
/// assert!(alert.message.starts_with("1 of 1 features drifted: charges (PSI "));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Monitor {
    log: Arc<dyn InferenceLog>,
    ledger: Arc<dyn Ledger>,
    environment: Arc<dyn Environment>,
    turns: Turns,
    detector: DriftDetector,
    rules: AlertRules,
    grace: Duration,
}

impl Monitor {
    /// A monitor with the usual detector and rules. `owner` names this process among all that
    /// share the ledger.
    #[must_use]
    pub fn new(
        log: Arc<dyn InferenceLog>,
        ledger: Arc<dyn Ledger>,
        environment: Arc<dyn Environment>,
        owner: impl Into<String>,
    ) -> Self {
        let turns = Turns::new(Arc::clone(&ledger), owner.into());
        let (detector, rules) = (DriftDetector::default(), AlertRules::default());
        Self { log, ledger, environment, turns, detector, rules, grace: Duration::ZERO }
    }

    /// The detector. Defaults to [`DriftDetector::default`].
    #[must_use]
    pub fn detector(mut self, detector: DriftDetector) -> Self {
        self.detector = detector;
        self
    }

    /// When alerts open and resolve. Defaults to [`AlertRules::default`].
    #[must_use]
    pub fn rules(mut self, rules: AlertRules) -> Self {
        self.rules = rules;
        self
    }

    /// How long a look may take before another process takes its owner for dead. Where a schedule
    /// looks, let it be at most half the lease of its slots, so that who takes over a slot finds
    /// the turn free. Defaults to five minutes.
    #[must_use]
    pub fn lease(mut self, length: Duration) -> Self {
        self.turns = self.turns.of_length(length);
        self
    }

    /// How long an event may be on its way to the log: in a queue, in the spool of a replica that
    /// was away. A [`window`](Self::window) ends that much before now, and the run says so. An event
    /// that comes within it is then in exactly one of two windows that meet; without, the window
    /// that it was of has been looked at, and it is in neither. Defaults to 0.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(monitor: pmmds::lifecycle::Monitor) -> Result<(), pmmds::Error> {
    /// let monitor = monitor.grace(Duration::from_secs(60));
    /// let hour = monitor.window(Duration::from_secs(3600)).await?; // ends a minute ago
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The `length` before now, by the log's clock, less the [grace](Self::grace).
    ///
    /// # Errors
    ///
    /// When the log cannot be reached, or `length` is 0.
    pub async fn window(&self, length: Duration) -> Result<Window, Error> {
        let end = self.log.now().await?.saturating_sub(self.grace);
        Window::before(end, length).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, MONITOR, "the window has no length").with_source(e)
        })
    }

    /// Compares what came in for `version` over `window` with `profile`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another process looks at this model,
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a window that is not over yet and for a detector
    /// that [asks for more features](DriftDetector::check_features) than there are, and whatever
    /// the stores report. A window that cannot be judged is no error but a verdict.
    pub async fn run(
        &self,
        model: &ModelName,
        version: VersionId,
        profile: &Profile,
        window: Window,
    ) -> Result<MonitorRun, Error> {
        self.detector.check_features(profile.features().len()).map_err(|error| {
            let context = format!("the detector is not for version {version} of {model}");
            Error::new(ErrorKind::InvalidInput, MONITOR, context).with_source(error)
        })?;
        let turn = self.turns.take(MONITOR, format!("monitor/{model}")).await?;
        let result = self.look(model, version, profile, window).await;
        turn.give_back().await;
        result
    }

    async fn look(
        &self,
        model: &ModelName,
        version: VersionId,
        profile: &Profile,
        window: Window,
    ) -> Result<MonitorRun, Error> {
        let created_at = self.log.now().await?;
        if window.end() > created_at {
            // Its run would be on record for good, without what is still to come.
            let context = format!("the window {window} is not over at {created_at}");
            return Err(Error::new(ErrorKind::InvalidInput, MONITOR, context));
        }
        let found = self.log.counts(model, version, window, profile).await?;
        let report = match found.foreign_rows {
            0 => self.detector.detect(profile, &found.counts),
            rows => {
                let why = format!("{rows} rows of the window were encoded with another profile");
                self.detector.not_comparable(profile, &found.counts, why)
            }
        };
        let id = self.environment.new_id();
        let run = DriftRun { id, model: model.clone(), version, window, created_at, report };
        let run = self.ledger.record_drift_run(&run).await?;
        let mut done = MonitorRun { run, alert: None, opened: false, resolved: Vec::new() };
        if self.rules.are_enabled() {
            self.alert(&mut done).await?;
        }
        Ok(done)
    }

    /// Opens, confirms and resolves what the run asks for. Doing it twice is doing it once.
    async fn alert(&self, done: &mut MonitorRun) -> Result<(), Error> {
        let run = &done.run;
        let mut recent = self.ledger.drift_runs(&run.model, None, RECENT).await?.items;
        recent.retain(|past| past.version == run.version);
        recent.sort_by_key(|past| std::cmp::Reverse(past.window.end()));
        if recent.first().is_some_and(|latest| latest.window.end() > run.window.end()) {
            return Ok(());
        }
        let mut open = self.ledger.open_alerts(&run.model).await?;
        open.retain(|alert| alert.version == run.version);
        for alert in &mut open {
            let Some(updated) = self.rules.after(alert, run) else { continue };
            self.ledger.update_alert(&updated).await?;
            *alert = updated;
        }
        let is_over = |alert: &Alert| alert.resolved_at.is_some();
        let (resolved, open): (Vec<_>, Vec<_>) = open.into_iter().partition(is_over);
        done.resolved = resolved;
        let alarm = self.rules.alarm(&run.report);
        let unknown = || self.rules.is_lasting_unknown(recent.iter()).then_some(UNKNOWN_KEY);
        let Some(key) = alarm.or_else(unknown) else { return Ok(()) };
        // Signals are no second alert beside the one about drift.
        let told =
            |alert: &Alert| alert.key == key || (key, &*alert.key) == (SIGNALS_KEY, DRIFT_KEY);
        done.alert = match open.into_iter().find(told) {
            Some(alert) => Some(alert).filter(|alert| alert.key == key),
            None if key == UNKNOWN_KEY || self.rules.has_lasted(recent.iter()) => {
                let alert = self.ledger.open_alert(&alert_of(key, run)).await?;
                // The run was looked at before, and its alert is over.
                Some(alert).filter(|alert| !is_over(alert))
            }
            None => None,
        };
        done.opened = done.alert.as_ref().is_some_and(|alert| alert.id == alert_id(run));
        Ok(())
    }
}
