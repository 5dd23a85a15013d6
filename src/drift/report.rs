//! What a drift run found, as data: every number that a person or a page needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::DriftSettings;
use super::significance::TestMethod;
use super::summary::{ReferenceSummary, TrafficSummary};
use crate::schema::Fingerprint;
use crate::validate::Rule;

/// Version of the stored form of a report, its field `report_version`.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// use pmmds::drift::{DriftDetector, REPORT_VERSION};
/// let report = DriftDetector::default().compare(&before, &after)?;
/// assert_eq!(serde_json::to_value(&report)?["report_version"], REPORT_VERSION);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const REPORT_VERSION: u32 = 1;

/// How large a shift is, by PSI. Bounds are inclusive: 0.2 is significant.
///
/// ```
/// use pmmds::drift::Severity;
/// assert_eq!(Severity::of_psi(0.0999), Severity::None);
/// assert_eq!(Severity::of_psi(0.1), Severity::Moderate);
/// assert_eq!(Severity::of_psi(0.2), Severity::Significant);
/// assert_eq!(Severity::of_psi(0.25), Severity::Major);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// PSI below 0.1.
    None,
    /// PSI from 0.1: monitor.
    Moderate,
    /// PSI from 0.2: investigate.
    Significant,
    /// PSI from 0.25: act.
    Major,
}

impl Severity {
    /// The severity of a PSI.
    #[must_use]
    pub fn of_psi(psi: f64) -> Self {
        if psi >= 0.25 {
            Self::Major
        } else if psi >= 0.2 {
            Self::Significant
        } else if psi >= 0.1 {
            Self::Moderate
        } else {
            Self::None
        }
    }

    /// One word for a table.
    ///
    /// ```
    /// use pmmds::drift::Severity;
    /// assert_eq!(Severity::Major.word(), "major");
    /// assert!(Severity::Major > Severity::Moderate);
    /// ```
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Moderate => "moderate",
            Self::Significant => "significant",
            Self::Major => "major",
        }
    }
}

/// What is known after comparing a window with its reference. Unknown is never "stable".
///
/// ```
/// use pmmds::drift::Verdict;
/// let verdict = Verdict::InsufficientData { have: 87, need: 100 };
/// assert_eq!(verdict.headline(), "insufficient data (87 of 100 rows)");
/// assert_eq!(
///     serde_json::to_string(&verdict)?,
///     r#"{"kind":"insufficient_data","have":87,"need":100}"#,
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Verdict {
    /// Enough rows, and no feature has drifted.
    Stable,
    /// Some features have drifted, fewer than it takes for [`Drift`](Self::Drift).
    FeatureDrift,
    /// At least [`min_drift_features`](DriftSettings::min_drift_features) features have drifted.
    Drift,
    /// Too few rows to tell.
    InsufficientData {
        /// rows in the window
        have: u64,
        /// rows that it takes
        need: u64,
    },
    /// No request at all came in.
    NoTraffic,
    /// The window cannot be compared with the profile.
    NotComparable {
        /// the reason
        why: String,
    },
}

impl Verdict {
    /// The word that is stored and sent, its `kind`, such as `"feature_drift"`.
    ///
    /// ```
    /// use pmmds::drift::Verdict;
    /// for verdict in [Verdict::FeatureDrift, Verdict::InsufficientData { have: 1, need: 2 }] {
    ///     assert_eq!(serde_json::to_value(&verdict)?["kind"], verdict.as_str());
    /// }
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::FeatureDrift => "feature_drift",
            Self::Drift => "drift",
            Self::InsufficientData { .. } => "insufficient_data",
            Self::NoTraffic => "no_traffic",
            Self::NotComparable { .. } => "not_comparable",
        }
    }

    /// One line for a headline or a log, such as `drift` or `insufficient data (87 of 100 rows)`.
    #[must_use]
    pub fn headline(&self) -> String {
        match self {
            Self::Stable => "stable".to_owned(),
            Self::FeatureDrift => "feature drift".to_owned(),
            Self::Drift => "drift".to_owned(),
            Self::InsufficientData { have, need } => {
                format!("insufficient data ({have} of {need} rows)")
            }
            Self::NoTraffic => "no traffic".to_owned(),
            Self::NotComparable { why } => format!("not comparable: {why}"),
        }
    }
}

/// What became of one feature.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// use pmmds::drift::{DriftDetector, FeatureStatus};
/// let report = DriftDetector::default().compare(&before, &after)?;
/// assert_eq!(report.feature("x").unwrap().status, FeatureStatus::Drifted);
/// assert_eq!(serde_json::to_string(&FeatureStatus::Elevated)?, r#""elevated""#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FeatureStatus {
    /// PSI below the threshold.
    Stable,
    /// PSI at or over the threshold, but no more than chance can give at this many rows.
    Elevated,
    /// PSI at or over the threshold, and significant.
    Drifted,
}

/// One slot on both sides.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// let report = pmmds::drift::DriftDetector::default().compare(&before, &after)?;
/// let x = report.feature("x").unwrap();
/// let top = &x.slots[9];
/// assert_eq!((top.label.as_str(), top.reference, top.current), ("above 899.1", 100, 400));
/// let sum: f64 = x.slots.iter().map(|slot| slot.contribution).sum();
/// assert!((sum - x.psi).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotShift {
    /// what a person calls the slot
    pub label: String,
    /// reference rows
    pub reference: u64,
    /// rows in the window
    pub current: u64,
    /// its term of the PSI sum; 0 for a slot that is empty on both sides
    pub contribution: f64,
}

/// The two-sample Pearson chi-square test on the unsmoothed counts.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// let report = pmmds::drift::DriftDetector::default().compare(&before, &after)?;
/// let test = report.feature("x").unwrap().significance.unwrap();
/// assert_eq!(test.degrees_of_freedom, 9); // ten bins
/// assert!(test.p_value < 1e-9 && test.adjusted_p_value >= test.p_value);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Significance {
    /// the chi-square statistic
    pub statistic: f64,
    /// slots that are not empty on both sides, less one
    pub degrees_of_freedom: u64,
    /// how the p-value was found
    pub method: TestMethod,
    /// chance of such a table if nothing had changed, in `[0, 1]`
    pub p_value: f64,
    /// the same, corrected for testing many features at once
    pub adjusted_p_value: f64,
}

/// Reference and window of one feature, or of the score.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// let report = pmmds::drift::DriftDetector::default().compare(&before, &after)?;
/// let x = report.feature("x").unwrap();
/// assert!(x.psi > 0.2 && x.psi > x.provable_psi.unwrap() && x.provable_psi > Some(x.chance_psi));
/// assert_eq!(x.metrics["psi"], Some(x.psi));
/// assert_eq!(x.reference.moments.mean(), Some(499.5));
/// assert_eq!(x.current.as_ref().unwrap().above, 300);
/// assert_eq!(x.sentence, "mean 500 -> 800; (199.8, 299.7] 10.0 % -> 0.0 %");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FeatureDrift {
    /// its name; [`SCORE_NAME`](super::SCORE_NAME) for the score
    pub name: String,
    /// population stability index with the detector's smoothing
    pub psi: f64,
    /// the size of the shift by PSI
    pub severity: Severity,
    /// what became of it
    pub status: FeatureStatus,
    /// PSI to be expected from chance alone at these row counts
    pub chance_psi: f64,
    /// the smallest PSI that these row counts could have proven; `None` where nothing can be,
    /// with a single slot in use
    pub provable_psi: Option<f64>,
    /// the test; `None` where a single slot is in use and there is nothing to test
    pub significance: Option<Significance>,
    /// every metric of the detector by name; `None` where a metric does not apply
    pub metrics: BTreeMap<String, Option<f64>>,
    /// every slot in order, *other* and *missing* included
    pub slots: Vec<SlotShift>,
    /// numbers of the reference
    pub reference: ReferenceSummary,
    /// numbers of the window; `None` for the score, of which codes are kept only
    pub current: Option<TrafficSummary>,
    /// what changed most, in words
    pub sentence: String,
}

/// Something else that has to be looked at, beside the drift of features.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// use pmmds::drift::{DriftDetector, Signal};
/// let report = DriftDetector::default().compare(&before, &after)?;
/// let [signal] = report.signals.as_slice() else { panic!("{report}") };
/// assert!(matches!(signal, Signal::OutOfRange { feature, .. } if feature == "x"));
/// assert_eq!(signal.to_string(), "x: 30.0 % outside the range of the reference");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Signal {
    /// The distribution of the model's score has drifted.
    PredictionDrift {
        /// PSI of the score
        psi: f64,
        /// the threshold it reached
        threshold: f64,
    },
    /// More values are missing than in the reference.
    MissingValues {
        /// name of the feature
        feature: String,
        /// share in the reference, `[0, 1]`
        reference: f64,
        /// share in the window, `[0, 1]`
        current: f64,
        /// the increase it takes
        threshold: f64,
    },
    /// Values outside the schema's levels came in.
    UnseenCategories {
        /// name of the feature
        feature: String,
        /// share of all requests, refused ones included, `[0, 1]`
        share: f64,
        /// the share it takes
        threshold: f64,
        /// the most frequent of them
        examples: Vec<String>,
    },
    /// Values below the smallest or above the largest of the reference came in.
    OutOfRange {
        /// name of the feature
        feature: String,
        /// share of the rows, `[0, 1]`
        share: f64,
        /// the share it takes
        threshold: f64,
    },
    /// Requests were refused.
    Rejected {
        /// share of all requests, `[0, 1]`
        share: f64,
        /// the share it takes
        threshold: f64,
        /// the feature that most were refused for
        feature: Option<String>,
        /// the rule that most were refused for
        rule: Option<Rule>,
    },
}

/// What a drift run found.
///
/// `Display` prints a table for a person; the fields are every number behind it.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// use pmmds::drift::{DriftDetector, DriftReport};
/// let report = DriftDetector::default().compare(&before, &after)?;
/// assert_eq!(report.drifted().count(), 1);
/// assert_eq!(report.max_psi(), report.mean_psi()); // of a single feature
/// assert!(report.feature("y").is_none());
/// assert!(report.to_string().starts_with("drift: 1 of 1 features drifted"));
///
/// let json = serde_json::to_string(&report)?;
/// assert_eq!(serde_json::from_str::<DriftReport>(&json)?, report);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftReport {
    /// [`REPORT_VERSION`] of the release that made it
    pub report_version: u32,
    /// what is known
    pub verdict: Verdict,
    /// profile that the window was compared with
    pub profile: Fingerprint,
    /// rows of the reference
    pub reference_rows: u64,
    /// accepted rows in the window
    pub current_rows: u64,
    /// refused requests in the window
    pub rejected_requests: u64,
    /// the settings of the detector
    pub settings: DriftSettings,
    /// the features, largest PSI first; empty where nothing could be compared
    pub features: Vec<FeatureDrift>,
    /// the score, if the profile has one
    pub prediction: Option<FeatureDrift>,
    /// what else has to be looked at
    pub signals: Vec<Signal>,
}

impl DriftReport {
    /// The features that have drifted, largest PSI first.
    pub fn drifted(&self) -> impl Iterator<Item = &FeatureDrift> {
        self.features.iter().filter(|feature| feature.status == FeatureStatus::Drifted)
    }

    /// The largest PSI of a feature; `None` where nothing could be compared.
    #[must_use]
    pub fn max_psi(&self) -> Option<f64> {
        self.features.first().map(|feature| feature.psi)
    }

    /// The mean PSI of the features; `None` where nothing could be compared.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most MAX_FEATURES features")]
    pub fn mean_psi(&self) -> Option<f64> {
        let sum: f64 = self.features.iter().map(|feature| feature.psi).sum();
        (!self.features.is_empty()).then(|| sum / self.features.len() as f64)
    }

    /// The feature called `name`.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&FeatureDrift> {
        self.features.iter().find(|feature| feature.name == name)
    }
}
