//! When somebody is told, and in which words.

use uuid::Uuid;

use super::environment::derived_id;
use crate::Error;
use crate::drift::{DriftReport, Severity, Signal, Verdict};
use crate::ledger::{Alert, DriftRun, Ledger};
use crate::registry::{ModelName, VersionId};

/// Drifted features that the message of an alert describes.
const DESCRIBED: usize = 5;

/// Key of the alert about drift of features.
pub(super) const DRIFT_KEY: &str = "drift";

/// Key of the alert about signals while there is no drift.
pub(super) const SIGNALS_KEY: &str = "signals";

/// Key of the alert about a row of looks that could not tell.
pub(super) const UNKNOWN_KEY: &str = "no verdict";

/// When an alert opens and when it is over.
///
/// ```
/// use pmmds::lifecycle::AlertRules;
/// // Hourly looks at a window of 24 hours overlap: one quiet look proves little.
/// let rules = AlertRules::default().open_after(2).resolve_after(3).prediction_drift(false);
/// assert_ne!(rules, rules.enabled(false));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct AlertRules {
    enabled: bool,
    prediction_drift: bool,
    // at least 1
    open_after: u32,
    // at least 1
    resolve_after: u32,
    // at least 1; None: never
    unknown_after: Option<u32>,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self {
            enabled: true,
            prediction_drift: true,
            open_after: 1,
            resolve_after: 2,
            unknown_after: None,
        }
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

    /// Alarming runs in a row that open an alert, at least 1. Runs that could not tell neither
    /// count nor break the row. Defaults to 1.
    pub fn open_after(mut self, runs: u32) -> Self {
        self.open_after = runs.max(1);
        self
    }

    /// Quiet runs in a row that resolve an alert, at least 1. Runs that could not tell do not
    /// count. Defaults to 2.
    pub fn resolve_after(mut self, runs: u32) -> Self {
        self.resolve_after = runs.max(1);
        self
    }

    /// Runs in a row without a verdict that open an alert of their own, at least 1: no traffic, not
    /// enough of it, or nothing to compare with. The first verdict resolves it. Defaults to `None`:
    /// the runs are on record, and nobody is told.
    pub fn unknown_after(mut self, runs: Option<u32>) -> Self {
        self.unknown_after = runs.map(|runs| runs.max(1));
        self
    }

    pub(super) fn are_enabled(&self) -> bool {
        self.enabled
    }

    /// The key of the alert that `report` asks for. One cause makes one alert: with drift the
    /// signals are part of its message.
    pub(super) fn alarm(&self, report: &DriftReport) -> Option<&'static str> {
        let counts = |signal: &&Signal| {
            self.prediction_drift || !matches!(signal, Signal::PredictionDrift { .. })
        };
        if report.verdict == Verdict::Drift {
            Some(DRIFT_KEY)
        } else {
            report.signals.iter().find(counts).map(|_| SIGNALS_KEY)
        }
    }

    /// Whether the newest of `runs`, of one version and newest first, are alarming, and as many as
    /// it takes to open an alert.
    pub(super) fn has_lasted<'r>(&self, runs: impl Iterator<Item = &'r DriftRun>) -> bool {
        let alarming = runs
            .filter(|run| self.alarm(&run.report).is_some() || is_known(&run.report.verdict))
            .take_while(|run| self.alarm(&run.report).is_some());
        alarming.take(self.open_after as usize).count() == self.open_after as usize
    }

    /// Whether the newest of `runs`, of one version and newest first, could not tell, and are as many
    /// as it takes to say so.
    pub(super) fn is_lasting_unknown<'r>(&self, runs: impl Iterator<Item = &'r DriftRun>) -> bool {
        self.unknown_after.is_some_and(|least| {
            let unknown = runs.take_while(|run| !is_known(&run.report.verdict));
            unknown.take(least as usize).count() == least as usize
        })
    }

    /// What becomes of an open `alert` of the same version after `run`; `None` where nothing does.
    pub(super) fn after(&self, alert: &Alert, run: &DriftRun) -> Option<Alert> {
        let alarm = self.alarm(&run.report);
        // One that no run has opened is not about drift: no run says that it is over.
        if alert.drift_run.is_none() || alert.last_run == Some(run.id) {
            return None;
        }
        let mut alert = alert.clone();
        alert.last_run = Some(run.id);
        if alert.key == UNKNOWN_KEY {
            alert.resolved_at = is_known(&run.report.verdict).then_some(run.created_at);
            return Some(alert);
        }
        if alarm == Some(alert.key.as_str()) {
            alert.quiet_runs = 0;
            let now = severity(&run.report);
            if now > alert.severity {
                // It has become worse: the words and features of the beginning are out of date.
                alert.severity = now;
                alert.message = message(&run.report);
                alert.features = features(&run.report);
            }
        } else if alarm == Some(DRIFT_KEY) {
            // Signals that have become drift: the alert about drift takes over.
            alert.resolved_at = Some(run.created_at);
        } else if is_known(&run.report.verdict) {
            alert.quiet_runs = alert.quiet_runs.saturating_add(1);
            if alert.quiet_runs >= self.resolve_after {
                alert.resolved_at = Some(run.created_at);
            }
        } else {
            // Nothing is known of this window, so it says nothing about the alert.
            return None;
        }
        Some(alert)
    }
}

/// Whether enough came in to say that something is there, or is not.
fn is_known(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Stable | Verdict::FeatureDrift | Verdict::Drift)
}

/// The id of the alert that `run` opens: it opens one, however often it is looked at.
pub(super) fn alert_id(run: &DriftRun) -> Uuid {
    derived_id("alert of drift run", run.id, 0)
}

/// The alert that `run` opens.
pub(super) fn alert_of(key: &str, run: &DriftRun) -> Alert {
    Alert {
        id: alert_id(run),
        model: run.model.clone(),
        version: run.version,
        key: key.to_owned(),
        drift_run: Some(run.id),
        last_run: Some(run.id),
        severity: severity(&run.report),
        message: message(&run.report),
        features: features(&run.report),
        opened_at: run.created_at,
        acknowledged_at: None,
        action_taken: None,
        retraining_run: None,
        quiet_runs: 0,
        resolved_at: None,
        deliveries: Vec::new(),
    }
}

fn severity(report: &DriftReport) -> Severity {
    // A signal without any drift still has to be looked at.
    let drifted = report.drifted().map(|feature| feature.severity).max();
    drifted.map_or(Severity::Moderate, |severity| severity.max(Severity::Moderate))
}

fn features(report: &DriftReport) -> Vec<String> {
    report.drifted().map(|feature| feature.name.clone()).collect()
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
    if !is_known(&report.verdict) {
        parts.push(format!("there is no verdict: {}", report.verdict.headline()));
    }
    parts.join(". ")
}

/// The open alert about drift of a version, which a retraining answers.
///
/// # Errors
///
/// Whatever the ledger reports.
///
/// ```
/// use pmmds::lifecycle::open_drift_alert;
/// use pmmds::memory::MemoryLedger;
/// use pmmds::registry::{ModelName, VersionId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ledger = MemoryLedger::with_clock(|| pmmds::Timestamp::EPOCH);
/// let model = ModelName::new("churn")?;
/// assert_eq!(open_drift_alert(&ledger, &model, VersionId::FIRST).await?, None);
/// # Ok(())
/// # }
/// ```
pub async fn open_drift_alert(
    ledger: &dyn Ledger,
    model: &ModelName,
    version: VersionId,
) -> Result<Option<Alert>, Error> {
    let open = ledger.open_alerts(model).await?;
    Ok(open.into_iter().find(|alert| alert.version == version && alert.key == DRIFT_KEY))
}
