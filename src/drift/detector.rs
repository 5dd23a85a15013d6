//! The rule that turns counts into a verdict.

use std::collections::BTreeMap;

use super::binning::Binning;
use super::chi_square::{ChiSquare, CramersV, GTest, pearson};
use super::counts::{Counts, NotComparable};
use super::distance::{Hellinger, TotalVariation};
use super::divergence::{JensenShannon, KullbackLeibler};
use super::kolmogorov_smirnov::KolmogorovSmirnov;
use super::metric::{BinnedPair, DriftMetric};
use super::profile::{FeatureProfile, Profile, ProfileError, ProfileOptions};
use super::psi::{Psi, chance_psi};
use super::report::{
    DriftReport, FeatureDrift, FeatureStatus, REPORT_VERSION, Severity, Significance, SlotShift,
    Verdict,
};
use super::sentence::sentence;
use super::settings::{DriftSettings, Gate, SettingsError};
use super::signals;
use super::significance::provable_psi;
use super::summary::TrafficSummary;
use super::wasserstein::{Wasserstein, WassersteinRanks};
use super::workers::{Serial, Workers};
use crate::record::Batch;

/// Compares windows with profiles.
///
/// A feature has *drifted* when its PSI reaches the threshold **and** the shift is significant; over
/// the threshold without significance it is *elevated*. Metrics beside PSI are for people, and for
/// rules of your own.
///
/// ```
/// use ndarray::Array2;
/// use pmmds::drift::{Counts, DriftDetector, Profile, Verdict};
/// use pmmds::record::Batch;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let reference = Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// let profile = Profile::fit(&Batch::from_array(&schema, reference.view())?)?;
///
/// let live = Array2::from_shape_fn((500, 1), |(i, _)| i as f64); // the lower half only
/// let counts = Counts::of(&profile, &Batch::from_array(&schema, live.view())?, None)?;
/// let report = DriftDetector::default().detect(&profile, &counts);
/// assert_eq!(report.verdict, Verdict::Drift);
/// assert!(report.to_string().contains("drift: 1 of 1 features drifted"));
///
/// let few = Counts::of(&profile, &Batch::from_array(&schema, live.slice(ndarray::s![..87, ..]))?, None)?;
/// let report = DriftDetector::default().detect(&profile, &few);
/// assert_eq!(report.verdict, Verdict::InsufficientData { have: 87, need: 100 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DriftDetector {
    // checked
    settings: DriftSettings,
    // in addition to PSI
    metrics: Vec<Box<dyn DriftMetric>>,
}

impl Default for DriftDetector {
    fn default() -> Self {
        Self::with_usual_metrics(DriftSettings::default())
    }
}

impl DriftDetector {
    /// A detector with these settings that computes PSI, KL and JS.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] when a setting is outside its range.
    pub fn new(settings: DriftSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self::with_usual_metrics(settings))
    }

    fn with_usual_metrics(settings: DriftSettings) -> Self {
        let smoothing = settings.smoothing;
        let metrics: Vec<Box<dyn DriftMetric>> = vec![
            Box::new(KullbackLeibler::new(smoothing)),
            Box::new(JensenShannon::new(smoothing)),
        ];
        Self { settings, metrics }
    }

    /// The same detector with one metric more in its reports.
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, DriftDetector, DriftMetric, NotComparable};
    ///
    /// #[derive(Debug)]
    /// struct Rows;
    ///
    /// impl DriftMetric for Rows {
    ///     fn name(&self) -> &'static str { "rows" }
    ///     fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
    ///         Ok(pair.current_rows() as f64)
    ///     }
    /// }
    /// let detector = DriftDetector::default().metric(Rows);
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::Array2::from_shape_fn((100, 1), |(row, _)| row as f64);
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// let report = detector.compare(&batch, &batch)?;
    /// let names: Vec<&str> = report.features[0].metrics.keys().map(String::as_str).collect();
    /// assert_eq!(names, ["js", "kl", "psi", "rows"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metric(mut self, metric: impl DriftMetric + 'static) -> Self {
        self.metrics.push(Box::new(metric));
        self
    }

    /// The same detector with every metric of this crate in its reports: beside PSI, KL and JS also
    /// [`Hellinger`], [`TotalVariation`], [`ChiSquare`], [`GTest`], [`CramersV`],
    /// [`KolmogorovSmirnov`], [`Wasserstein`] and [`WassersteinRanks`].
    ///
    /// The verdict stays the one of PSI and its test; what needs an order is `None` for categories.
    ///
    /// ```
    /// use pmmds::drift::DriftDetector;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// # let data = ndarray::Array2::from_shape_fn((100, 1), |(row, _)| row as f64);
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// let report = DriftDetector::default().all_metrics().compare(&batch, &batch)?;
    /// let metrics = &report.features[0].metrics;
    /// assert_eq!((metrics.len(), metrics["hellinger"], metrics["wasserstein"]), (11, Some(0.0), Some(0.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn all_metrics(self) -> Self {
        self.metric(Hellinger)
            .metric(TotalVariation)
            .metric(ChiSquare)
            .metric(GTest)
            .metric(CramersV)
            .metric(KolmogorovSmirnov)
            .metric(Wasserstein)
            .metric(WassersteinRanks)
    }

    /// Refuses settings that a model of so many features can never meet.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] when [`min_drift_features`](DriftSettings::min_drift_features) is more than
    /// the usual 3 and more than `features`.
    ///
    /// ```
    /// use pmmds::drift::{DriftDetector, DriftSettings};
    ///
    /// let mut settings = DriftSettings::default();
    /// settings.min_drift_features = 20;
    /// let error = DriftDetector::new(settings)?.check_features(19).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "min_drift_features is 20, expected at most 19, as many features as there are",
    /// );
    /// // The usual 3 are all of them, where there are fewer.
    /// assert!(DriftDetector::default().check_features(1).is_ok());
    /// # Ok::<(), pmmds::drift::SettingsError>(())
    /// ```
    pub fn check_features(&self, features: usize) -> Result<(), SettingsError> {
        self.settings.check_features(features)
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &DriftSettings {
        &self.settings
    }

    /// Compares `counts` with the profile that they were counted by. Where the settings ask for more
    /// drifted features than there are, all of them do: [`check_features`](Self::check_features) is
    /// what refuses that.
    ///
    /// ```
    /// use ndarray::Array2;
    /// use pmmds::drift::{Counts, DriftDetector, Profile, Verdict};
    /// use pmmds::record::Batch;
    /// use pmmds::schema::{Feature, FeatureSchema};
    ///
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// let reference = Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
    /// let profile = Profile::fit(&Batch::from_array(&schema, reference.view())?)?;
    /// let report = DriftDetector::default().detect(&profile, &Counts::empty(&profile));
    /// assert_eq!(report.verdict, Verdict::NoTraffic);
    /// assert!(report.features.is_empty() && report.max_psi().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn detect(&self, profile: &Profile, counts: &Counts) -> DriftReport {
        let mut report = self.blank(profile, counts);
        if let Some(verdict) = self.no_verdict(profile, counts) {
            report.verdict = verdict;
            report.signals.extend(signals::rejected(&self.settings, counts));
            return report;
        }
        match self.pair_up(profile, counts) {
            Ok((features, prediction)) => {
                report.signals = signals::all(&self.settings, profile, counts, prediction.as_ref());
                report.verdict = self.verdict(&features);
                report.features = features;
                report.prediction = prediction;
            }
            Err(error) => report.verdict = Verdict::NotComparable { why: error.why().to_owned() },
        }
        report
    }

    /// Compares two data sets at hand: fits the usual [`Profile`] to `reference`, counts `current`
    /// by it, and [detects](Self::detect).
    ///
    /// A service that watches a model fits the profile once, at training time, and keeps it.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoRows`] for a reference without rows, [`ProfileError::Schema`] when the two
    /// are of different schemas, [`ProfileError::Settings`] when these have fewer features than the
    /// settings [ask for](Self::check_features). A `current` that is too small is a [`Verdict`].
    ///
    /// ```
    /// use ndarray::Array2;
    /// use pmmds::drift::{DriftDetector, Verdict};
    /// use pmmds::record::Batch;
    /// use pmmds::schema::{Feature, FeatureSchema};
    ///
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// let before = Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
    /// let after = &before + 300.0;
    /// let (before, after) = (
    ///     Batch::from_array(&schema, before.view())?,
    ///     Batch::from_array(&schema, after.view())?,
    /// );
    /// assert_eq!(DriftDetector::default().compare(&before, &after)?.verdict, Verdict::Drift);
    /// assert_eq!(DriftDetector::default().compare(&before, &before)?.verdict, Verdict::Stable);
    ///
    /// let other = FeatureSchema::new([Feature::numeric("y")])?;
    /// let column = Array2::zeros((1000, 1));
    /// let other = Batch::from_array(&other, column.view())?;
    /// let error = DriftDetector::default().compare(&before, &other).unwrap_err();
    /// assert!(error.to_string().starts_with("the profile is of schema "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compare(
        &self,
        reference: &Batch<'_>,
        current: &Batch<'_>,
    ) -> Result<DriftReport, ProfileError> {
        self.compare_with(reference, current, &Serial)
    }

    /// As [`compare`](Self::compare), with the columns shared out among `workers`: the same report.
    ///
    /// # Errors
    ///
    /// As [`compare`](Self::compare).
    ///
    /// ```
    /// use pmmds::drift::{DriftDetector, Serial};
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::Array2::from_shape_fn((100, 1), |(row, _)| row as f64);
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// let detector = DriftDetector::default();
    /// let report = detector.compare_with(&batch, &batch, &Serial)?;
    /// assert_eq!(report, detector.compare(&batch, &batch)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compare_with(
        &self,
        reference: &Batch<'_>,
        current: &Batch<'_>,
        workers: &dyn Workers,
    ) -> Result<DriftReport, ProfileError> {
        self.check_features(reference.schema().len())?;
        let profile = ProfileOptions::new().fit_with(reference, workers)?;
        profile.check_schema(current.schema())?;
        Ok(match Counts::of_with(&profile, current, None, workers) {
            Ok(counts) => self.detect(&profile, &counts),
            Err(error) => {
                self.not_comparable(&profile, &Counts::empty(&profile), error.why().to_owned())
            }
        })
    }

    /// The report of a window that cannot be compared with the profile, for the reason `why`.
    ///
    /// ```
    /// use pmmds::drift::{Counts, DriftDetector, Profile};
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0]];
    /// # let profile = Profile::fit(&pmmds::record::Batch::from_array(&schema, data.view())?)?;
    /// let why = "3 rows of the window were encoded with another profile".to_owned();
    /// let report = DriftDetector::default().not_comparable(&profile, &Counts::empty(&profile), why);
    /// assert!(report.to_string().starts_with("not comparable: 3 rows of the window"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn not_comparable(&self, profile: &Profile, counts: &Counts, why: String) -> DriftReport {
        let mut report = self.blank(profile, counts);
        report.verdict = Verdict::NotComparable { why };
        report
    }

    fn blank(&self, profile: &Profile, counts: &Counts) -> DriftReport {
        DriftReport {
            report_version: REPORT_VERSION,
            verdict: Verdict::NoTraffic,
            profile: profile.fingerprint(),
            reference_rows: profile.rows(),
            current_rows: counts.rows(),
            rejected_requests: counts.rejected_requests(),
            settings: self.settings.clone(),
            features: Vec::new(),
            prediction: None,
            signals: Vec::new(),
        }
    }

    /// Why nothing can be said, if so.
    fn no_verdict(&self, profile: &Profile, counts: &Counts) -> Option<Verdict> {
        let need = self.settings.min_rows;
        if counts.profile() != profile.fingerprint() {
            return Some(Verdict::NotComparable {
                why: format!(
                    "the window was counted with profile {}, the reference is profile {}",
                    counts.profile().short(),
                    profile.fingerprint().short()
                ),
            });
        }
        if counts.rows() == 0 && counts.rejected_requests() == 0 {
            return Some(Verdict::NoTraffic);
        }
        if profile.rows() < need {
            let have = profile.rows();
            let why = format!("the reference has {have} rows, at least {need} are needed");
            return Some(Verdict::NotComparable { why });
        }
        let have = counts.rows();
        (have < need).then_some(Verdict::InsufficientData { have, need })
    }

    fn verdict(&self, features: &[FeatureDrift]) -> Verdict {
        let drifted = features.iter().filter(|f| f.status == FeatureStatus::Drifted).count();
        if drifted >= self.settings.min_drift_features.min(features.len()) {
            Verdict::Drift
        } else if drifted > 0 {
            Verdict::FeatureDrift
        } else {
            Verdict::Stable
        }
    }

    fn pair_up(
        &self,
        profile: &Profile,
        counts: &Counts,
    ) -> Result<(Vec<FeatureDrift>, Option<FeatureDrift>), NotComparable> {
        let mut pairs = Vec::with_capacity(profile.features().len());
        for (at, feature) in profile.features().iter().enumerate() {
            let pair = BinnedPair::new(feature.binning(), feature.counts(), counts.slots(at))?;
            pairs.push((feature, pair, counts.summaries().get(at)));
        }
        let mut features = self.measure(&pairs, self.settings.psi_threshold);
        features.sort_by(|a, b| b.psi.total_cmp(&a.psi).then_with(|| a.name.cmp(&b.name)));
        let score = match profile.score() {
            // Scores that were not counted are not known, which is not "all the same".
            Some(score) if !counts.slots(profile.features().len()).is_empty() => {
                let slots = counts.slots(profile.features().len());
                let pair = BinnedPair::new(score.binning(), score.counts(), slots)?;
                self.measure(&[(score, pair, None)], self.settings.prediction_psi_threshold).pop()
            }
            _ => None,
        };
        Ok((features, score))
    }

    /// Measures one family of features, whose p-values are corrected together.
    fn measure(
        &self,
        pairs: &[(&FeatureProfile, BinnedPair<'_>, Option<&TrafficSummary>)],
        threshold: f64,
    ) -> Vec<FeatureDrift> {
        let (alpha, correction) = self.settings.gate.test();
        let family = pairs.iter().filter(|(_, pair, _)| pair.used().count() > 1).count();
        let level = correction.first_level(alpha, family);
        let tests: Vec<_> = pairs.iter().map(|(_, pair, _)| pearson(*pair, level)).collect();
        let p_values: Vec<f64> = tests.iter().flatten().map(|test| test.p_value).collect();
        let mut adjusted = correction.adjust(&p_values).into_iter();
        let psi = Psi::new(self.settings.smoothing);
        let mut features = Vec::with_capacity(pairs.len());
        for ((profile, pair, summary), test) in pairs.iter().zip(tests) {
            let significance = test.and_then(|test| {
                Some(Significance {
                    statistic: test.statistic,
                    degrees_of_freedom: (pair.used().count() as u64).saturating_sub(1),
                    method: test.method,
                    p_value: test.p_value,
                    adjusted_p_value: adjusted.next()?,
                })
            });
            let contributions = psi.contributions(*pair);
            let size: f64 = contributions.iter().sum();
            let proven = match self.settings.gate {
                Gate::Off => true,
                Gate::Significance { alpha, .. } => {
                    significance.is_some_and(|test| test.adjusted_p_value < alpha)
                }
            };
            let slots = slot_shifts(profile.binning(), *pair, &contributions);
            let mut metrics: BTreeMap<String, Option<f64>> = self
                .metrics
                .iter()
                .map(|metric| (metric.name().to_owned(), metric.measure(*pair).ok()))
                .collect();
            metrics.insert(psi.name().to_owned(), Some(size));
            let (n, m) = (pair.reference_rows(), pair.current_rows());
            features.push(FeatureDrift {
                name: profile.name().to_owned(),
                psi: size,
                severity: Severity::of_psi(size),
                status: match (size >= threshold, proven) {
                    (false, _) => FeatureStatus::Stable,
                    (true, false) => FeatureStatus::Elevated,
                    (true, true) => FeatureStatus::Drifted,
                },
                chance_psi: chance_psi(pair.used().count() as u64, n, m),
                provable_psi: provable_psi(*pair, level),
                significance,
                metrics,
                sentence: sentence(profile, &slots, *summary),
                slots,
                reference: profile.summary().clone(),
                current: summary.cloned(),
            });
        }
        features
    }
}

fn slot_shifts(binning: &Binning, pair: BinnedPair<'_>, contributions: &[f64]) -> Vec<SlotShift> {
    let counts = pair.reference().iter().zip(pair.current()).zip(contributions);
    let shift =
        |(slot, ((reference, current), contribution)): (usize, ((&u64, &u64), &f64))| SlotShift {
            label: binning.label(slot),
            reference: *reference,
            current: *current,
            contribution: *contribution,
        };
    counts.enumerate().map(shift).collect()
}
