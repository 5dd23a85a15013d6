//! Thresholds: what counts as drift.

use serde::{Deserialize, Serialize};

use super::correction::Correction;
use super::smoothing::Smoothing;

/// Drifted features that make drift, unless told otherwise.
const USUAL_FEATURES: usize = 3;

/// What it takes, beside a large PSI, for a feature to have drifted.
///
/// ```
/// use pmmds::drift::{Correction, DriftDetector, DriftSettings, Gate};
///
/// let mut settings = DriftSettings::default();
/// settings.gate = Gate::Significance { alpha: 0.001, correction: Correction::BenjaminiHochberg };
/// assert!(DriftDetector::new(settings.clone()).is_ok());
///
/// settings.gate = Gate::Significance { alpha: 1.0, correction: Correction::Holm };
/// let error = DriftDetector::new(settings).unwrap_err();
/// assert_eq!(error.to_string(), "alpha is 1, expected a level between 0 and 1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Gate {
    /// The shift is significant: the corrected p-value is below `alpha`.
    Significance {
        /// in `(0, 1)`
        alpha: f64,
        /// how p-values are corrected for testing many features
        correction: Correction,
    },
    /// Nothing: PSI alone decides, as in the original. At 100 rows that raises an alarm in many
    /// windows without any drift.
    Off,
}

impl Default for Gate {
    /// Significance at 0.005 with Holm's correction. Where chance alone passes the threshold, as it
    /// does at 50 levels and 100 rows, the level is the rate of false alarms; at 0.01 it was above
    /// one in a hundred windows as often as not.
    fn default() -> Self {
        Self::Significance { alpha: 0.005, correction: Correction::Holm }
    }
}

impl Gate {
    /// Level and correction; with the gate off those of the default, for information.
    pub(super) fn test(self) -> (f64, Correction) {
        match self {
            Self::Significance { alpha, correction } => (alpha, correction),
            Self::Off => Self::default().test(),
        }
    }
}

/// Thresholds of a [`DriftDetector`](super::DriftDetector).
///
/// A share of missing, unseen or out-of-range values is a signal when it is at its threshold and
/// also more than chance: Pearson's test against the reference, at 0.01 over all features.
///
/// ```
/// use pmmds::drift::{DriftDetector, DriftSettings};
///
/// let mut settings = DriftSettings::default();
/// settings.psi_threshold = 0.25;
/// assert!(DriftDetector::new(settings).is_ok());
///
/// let mut settings = DriftSettings::default();
/// settings.psi_threshold = f64::NAN;
/// let error = DriftDetector::new(settings).unwrap_err();
/// assert_eq!(error.to_string(), "psi_threshold is NaN, expected a number above 0");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DriftSettings {
    /// PSI from which a feature counts as drifted, if the [`gate`](Self::gate) lets it. Defaults to
    /// 0.2.
    pub psi_threshold: f64,
    /// PSI from which the score counts as drifted. Defaults to 0.2.
    pub prediction_psi_threshold: f64,
    /// Drifted features that it takes for [`Verdict::Drift`](super::Verdict::Drift). Defaults to 3,
    /// which is all of them where there are fewer; more than 3 and more than there are is
    /// [refused](super::DriftDetector::check_features) by
    /// [`compare`](super::DriftDetector::compare) and by a [monitor](crate::lifecycle::Monitor::run).
    /// [`detect`](super::DriftDetector::detect), which always has a verdict, takes all there are.
    pub min_drift_features: usize,
    /// Rows that it takes for a verdict, in the window and in the reference. Defaults to 100.
    pub min_rows: u64,
    /// What it takes beside a large PSI. Defaults to significance at 0.005 with Holm's correction.
    pub gate: Gate,
    /// What is done about empty slots. Defaults to [`Smoothing::Pooled`] with 0.5.
    pub smoothing: Smoothing,
    /// Increase of a feature's share of missing values that is a signal. Defaults to 0.05.
    pub missing_increase: f64,
    /// Share of values outside a feature's levels that is a signal. Defaults to 0.02.
    pub unseen_share: f64,
    /// Share of numbers outside the reference's range that is a signal. Defaults to 0.05.
    pub out_of_range_share: f64,
    /// Share of refused requests that is a signal. Defaults to 0.05.
    pub rejected_share: f64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            psi_threshold: 0.2,
            prediction_psi_threshold: 0.2,
            min_drift_features: USUAL_FEATURES,
            min_rows: 100,
            gate: Gate::default(),
            smoothing: Smoothing::default(),
            missing_increase: 0.05,
            unseen_share: 0.02,
            out_of_range_share: 0.05,
            rejected_share: 0.05,
        }
    }
}

impl DriftSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let refuse = |setting, value: f64, expected: &str| {
            Err(SettingsError::new(setting, value.to_string(), expected))
        };
        for (setting, value) in [
            ("psi_threshold", self.psi_threshold),
            ("prediction_psi_threshold", self.prediction_psi_threshold),
        ] {
            if !value.is_finite() || value <= 0.0 {
                return refuse(setting, value, "a number above 0");
            }
        }
        for (setting, value) in [
            ("missing_increase", self.missing_increase),
            ("unseen_share", self.unseen_share),
            ("out_of_range_share", self.out_of_range_share),
            ("rejected_share", self.rejected_share),
        ] {
            if !(value > 0.0 && value <= 1.0) {
                return refuse(setting, value, "a share above 0 and at most 1");
            }
        }
        if let Gate::Significance { alpha, .. } = self.gate
            && !(alpha > 0.0 && alpha < 1.0)
        {
            return refuse("alpha", alpha, "a level between 0 and 1");
        }
        if self.smoothing == Smoothing::None || !self.smoothing.is_valid() {
            let expected = "one that keeps PSI finite: a finite constant above 0, a floor below 1";
            let value = format!("{:?}", self.smoothing);
            return Err(SettingsError::new("smoothing", value, expected));
        }
        if self.min_drift_features == 0 || self.min_rows == 0 {
            let setting = if self.min_rows == 0 { "min_rows" } else { "min_drift_features" };
            return refuse(setting, 0.0, "at least 1");
        }
        Ok(())
    }

    /// Refuses what so many features can never meet.
    pub(super) fn check_features(&self, features: usize) -> Result<(), SettingsError> {
        let asked = self.min_drift_features;
        if asked > features.max(USUAL_FEATURES) {
            let expected = format!("at most {features}, as many features as there are");
            return Err(SettingsError::new("min_drift_features", asked.to_string(), expected));
        }
        Ok(())
    }
}

/// A setting is outside its range.
///
/// ```
/// use pmmds::drift::{DriftDetector, DriftSettings};
/// let mut settings = DriftSettings::default();
/// settings.min_rows = 0;
/// let error = DriftDetector::new(settings).unwrap_err();
/// assert_eq!(error.to_string(), "min_rows is 0, expected at least 1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, expected {expected}")]
pub struct SettingsError {
    setting: &'static str,
    value: String,
    expected: String,
}

impl SettingsError {
    pub(super) fn new(setting: &'static str, value: String, expected: impl Into<String>) -> Self {
        Self { setting, value, expected: expected.into() }
    }
}
