//! Looks at a window, writes down what it found, and tells somebody if need be.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::environment::Environment;
use crate::drift::{DriftDetector, DriftReport, Profile, Severity, Signal, Verdict};
use crate::ledger::{Alert, DriftRun, Lease, Ledger};
use crate::log::InferenceLog;
use crate::registry::{ModelName, VersionId};
use crate::{Error, ErrorKind, Timestamp, Window};

/// Name of this component in errors.
const MONITOR: &str = "monitor";

/// How long one run may take before another process takes it for dead.
const LEASE: Duration = Duration::from_secs(300);

/// Drifted features that the message of an alert describes.
const DESCRIBED: usize = 5;

/// Key of the alert about drift of features.
const DRIFT_KEY: &str = "drift";

/// Key of the alert about signals while there is no drift.
const SIGNALS_KEY: &str = "signals";

/// When an alert opens and when it is over.
///
/// ```
/// use pmmds::lifecycle::AlertRules;
/// // Hourly looks at a window of 24 hours overlap: one quiet look proves little.
/// let rules = AlertRules::default().resolve_after(3).prediction_drift(false);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct AlertRules {
    enabled: bool,
    prediction_drift: bool,
    open_after: u32,
    resolve_after: u32,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self { enabled: true, prediction_drift: true, open_after: 1, resolve_after: 2 }
    }
}

impl AlertRules {
    /// Whether alerts are opened at all. Defaults to yes.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Whether drift of predictions alone opens an alert. Defaults to yes.
    pub fn prediction_drift(mut self, alert: bool) -> Self {
        self.prediction_drift = alert;
        self
    }

    /// Alarming runs in a row that open an alert, at least 1. Defaults to 1.
    pub fn open_after(mut self, runs: u32) -> Self {
        self.open_after = runs.max(1);
        self
    }

    /// Quiet runs in a row that resolve an alert, at least 1. Defaults to 2.
    pub fn resolve_after(mut self, runs: u32) -> Self {
        self.resolve_after = runs.max(1);
        self
    }

    /// The key of the alert that `report` asks for. One cause makes one alert: with drift the
    /// signals are part of its message.
    fn alarm(&self, report: &DriftReport) -> Option<&'static str> {
        let counts = |signal: &&Signal| {
            self.prediction_drift || !matches!(signal, Signal::PredictionDrift { .. })
        };
        if report.verdict == Verdict::Drift {
            Some(DRIFT_KEY)
        } else {
            report.signals.iter().find(counts).map(|_| SIGNALS_KEY)
        }
    }
}

/// What a run of the monitor did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MonitorRun {
    /// the run as it is on record
    pub run: DriftRun,
    /// the alert that it opened or confirmed
    pub alert: Option<Alert>,
    /// whether `alert` was opened by this run
    pub opened: bool,
    /// alerts that it ended
    pub resolved: Vec<Alert>,
}

/// Compares windows of live traffic with profiles, keeps every run on record, opens and resolves
/// alerts.
///
/// One process at a time looks at a model; another one gets a
/// [`Conflict`](ErrorKind::Conflict). The same window is on record once.
#[derive(Debug)]
pub struct Monitor {
    log: Arc<dyn InferenceLog>,
    ledger: Arc<dyn Ledger>,
    environment: Arc<dyn Environment>,
    owner: String,
    detector: DriftDetector,
    rules: AlertRules,
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
        Self {
            log,
            ledger,
            environment,
            owner: owner.into(),
            detector: DriftDetector::default(),
            rules: AlertRules::default(),
        }
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

    /// The `length` before now, by the log's clock.
    ///
    /// # Errors
    ///
    /// When the log cannot be reached, or `length` is 0.
    pub async fn window(&self, length: Duration) -> Result<Window, Error> {
        Window::before(self.log.now().await?, length).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, MONITOR, "the window has no length").with_source(e)
        })
    }

    /// Compares what came in for `version` over `window` with `profile`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another process looks at this model, and whatever
    /// the stores report. A window that cannot be judged is no error but a verdict.
    pub async fn run(
        &self,
        model: &ModelName,
        version: VersionId,
        profile: &Profile,
        window: Window,
    ) -> Result<MonitorRun, Error> {
        let name = format!("monitor/{model}");
        let Some(lease) = self.ledger.acquire_lease(&name, &self.owner, LEASE).await? else {
            let context = format!("another process is looking at {model}");
            return Err(Error::new(ErrorKind::Conflict, MONITOR, context));
        };
        let result = self.run_under(&lease, model, version, profile, window).await;
        // The result counts more than a lease that ends by itself.
        let released = self.ledger.release_lease(&lease).await;
        let run = result?;
        released?;
        Ok(run)
    }

    async fn run_under(
        &self,
        _lease: &Lease,
        model: &ModelName,
        version: VersionId,
        profile: &Profile,
        window: Window,
    ) -> Result<MonitorRun, Error> {
        let found = self.log.counts(model, version, window, profile).await?;
        let report = if found.foreign_rows > 0 {
            let why = format!(
                "{} rows of the window were encoded with another profile",
                found.foreign_rows
            );
            self.detector.not_comparable(profile, &found.counts, why)
        } else {
            self.detector.detect(profile, &found.counts)
        };
        let run = DriftRun {
            id: self.environment.new_id(),
            model: model.clone(),
            version,
            window,
            created_at: self.log.now().await?,
            report,
        };
        let run = self.ledger.record_drift_run(&run).await?;
        let mut done = MonitorRun { run, alert: None, opened: false, resolved: Vec::new() };
        if self.rules.enabled {
            self.alert(&mut done).await?;
        }
        Ok(done)
    }

    async fn alert(&self, done: &mut MonitorRun) -> Result<(), Error> {
        let run = &done.run;
        let alarm = self.rules.alarm(&run.report);
        for mut alert in self.ledger.open_alerts(&run.model).await? {
            if alert.version != run.version || alert.last_run == run.id {
                continue;
            }
            if alarm == Some(alert.key.as_str()) {
                (alert.last_run, alert.quiet_runs) = (run.id, 0);
                alert.severity = alert.severity.max(severity(&run.report));
            } else if is_known(&run.report.verdict) {
                alert.quiet_runs += 1;
                alert.last_run = run.id;
                if alert.quiet_runs >= self.rules.resolve_after {
                    alert.resolved_at = Some(run.created_at);
                }
            } else {
                // Nothing is known of this window, so it says nothing about the alert.
                continue;
            }
            self.ledger.update_alert(&alert).await?;
            if alert.resolved_at.is_some() {
                done.resolved.push(alert);
            }
        }
        if let Some(key) = alarm
            && self.has_lasted(run).await?
        {
            let new = new_alert(self.environment.new_id(), key, run, run.created_at);
            let id = new.id;
            let alert = self.ledger.open_alert(&new).await?;
            done.opened = alert.id == id;
            done.alert = Some(alert);
        }
        Ok(())
    }

    /// Whether as many runs in a row as the rules ask for were alarming, this one included.
    async fn has_lasted(&self, run: &DriftRun) -> Result<bool, Error> {
        let wanted = self.rules.open_after as usize;
        if wanted <= 1 {
            return Ok(true);
        }
        let recent = self.ledger.drift_runs(&run.model, None, wanted).await?.items;
        Ok(recent.len() == wanted
            && recent.iter().all(|past| {
                past.version == run.version && self.rules.alarm(&past.report).is_some()
            }))
    }
}

fn is_known(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Stable | Verdict::FeatureDrift | Verdict::Drift)
}

fn severity(report: &DriftReport) -> Severity {
    // A signal without any drift still has to be looked at.
    report.drifted().map(|feature| feature.severity).max().unwrap_or(Severity::Moderate)
}

fn new_alert(id: Uuid, key: &str, run: &DriftRun, at: Timestamp) -> Alert {
    Alert {
        id,
        model: run.model.clone(),
        version: run.version,
        key: key.to_owned(),
        drift_run: run.id,
        last_run: run.id,
        severity: severity(&run.report),
        message: message(&run.report),
        features: run.report.drifted().map(|feature| feature.name.clone()).collect(),
        opened_at: at,
        acknowledged_at: None,
        action_taken: None,
        retraining_run: None,
        quiet_runs: 0,
        resolved_at: None,
    }
}

/// What changed, in plain words.
fn message(report: &DriftReport) -> String {
    let drifted: Vec<String> = report
        .drifted()
        .map(|feature| format!("{} (PSI {:.2}): {}", feature.name, feature.psi, feature.sentence))
        .collect();
    let mut parts = Vec::new();
    if !drifted.is_empty() {
        let all = report.features.len();
        let mut part = format!("{} of {all} features drifted: ", drifted.len());
        part.push_str(&drifted[..drifted.len().min(DESCRIBED)].join("; "));
        if drifted.len() > DESCRIBED {
            part.push_str(&format!("; and {} more", drifted.len() - DESCRIBED));
        }
        parts.push(part);
    }
    parts.extend(report.signals.iter().map(ToString::to_string));
    parts.join(". ")
}
