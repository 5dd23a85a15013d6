//! Two versions on the same rows: the one that answers, and one that only watches.

use std::time::Duration;

use serde::Serialize;

use crate::drift::{BinnedPair, Binning, DriftMetric as _, Profile, Psi};
use crate::model::Prediction;
use crate::record::Value;

/// How the predictions of a shadow compare with the champion's, row by row, on the rows that both
/// have scored.
///
/// ```
/// use std::time::Duration;
/// use pmmds::drift::ProfileOptions;
/// use pmmds::lifecycle::ShadowComparison;
/// use pmmds::model::Task;
/// # use pmmds::{record::Batch, schema::{Feature, FeatureSchema}};
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
/// # let batch = Batch::from_array(&schema, data.view())?;
/// let profile = ProfileOptions::new().scores(&[0.1, 0.4, 0.6, 0.9]).fit(&batch)?;
/// let mut comparison = ShadowComparison::new(&profile);
/// assert_eq!(comparison.stats().agreement, None, "nothing is known yet");
///
/// let prediction = |score| Task::binary().prediction(score).unwrap();
/// comparison.observe(prediction(0.40), prediction(0.45));
/// comparison.observe(prediction(0.45), prediction(0.60));
/// comparison.observe_latency(Duration::from_micros(10), Duration::from_micros(25));
/// let stats = comparison.stats();
/// assert_eq!((stats.rows, stats.agreement), (2, Some(0.5)));
/// assert!((stats.mean_absolute_difference.unwrap() - 0.1).abs() < 1e-12);
/// assert_eq!(stats.latency_ratio, Some(2.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ShadowComparison {
    // of the champion's score; None where its profile has none
    binning: Option<Binning>,
    // one count per slot of `binning`
    champion: Vec<u64>,
    shadow: Vec<u64>,
    rows: u64,
    // rows on which both have a label, and the same one
    labelled: u64,
    agreed: u64,
    // of absolute differences
    sum: f64,
    largest: f64,
    failed: u64,
    timed: u64,
    champion_time: Duration,
    shadow_time: Duration,
}

/// What a [`ShadowComparison`] has found. What is not known is `None`, and `null` in JSON.
///
/// ```
/// # fn show(comparison: &pmmds::lifecycle::ShadowComparison) {
/// let stats = comparison.stats();
/// if let Some(agreement) = stats.agreement {
///     println!("the same class on {:.1} % of {} rows", 100.0 * agreement, stats.rows);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ShadowStats {
    /// rows that both have scored
    pub rows: u64,
    /// rows for which the shadow answered no prediction
    pub failed: u64,
    /// share of the rows on which both predict the same class
    pub agreement: Option<f64>,
    /// mean of the absolute difference of the scores
    pub mean_absolute_difference: Option<f64>,
    /// largest absolute difference of the scores
    pub largest_difference: Option<f64>,
    /// PSI of the shadow's scores against the champion's on the same rows, in the bins of the
    /// champion's profile
    pub score_psi: Option<f64>,
    /// mean time in which the champion scores a row
    pub champion_latency_ms: Option<f64>,
    /// mean time in which the shadow scores a row
    pub shadow_latency_ms: Option<f64>,
    /// the shadow's mean time divided by the champion's
    pub latency_ratio: Option<f64>,
}

impl ShadowComparison {
    /// A comparison with the champion of this profile, without rows.
    #[must_use]
    pub fn new(champion: &Profile) -> Self {
        let binning = champion.score().map(|score| score.binning().clone());
        let slots = binning.as_ref().map_or(0, Binning::slots);
        Self {
            binning,
            champion: vec![0; slots],
            shadow: vec![0; slots],
            rows: 0,
            labelled: 0,
            agreed: 0,
            sum: 0.0,
            largest: 0.0,
            failed: 0,
            timed: 0,
            champion_time: Duration::ZERO,
            shadow_time: Duration::ZERO,
        }
    }

    /// Counts a row that both have scored.
    pub fn observe(&mut self, champion: Prediction, shadow: Prediction) {
        self.rows += 1;
        if let (Some(ours), Some(theirs)) = (champion.label(), shadow.label()) {
            self.labelled += 1;
            self.agreed += u64::from(ours == theirs);
        }
        let difference = (champion.score() - shadow.score()).abs();
        self.sum += difference;
        self.largest = self.largest.max(difference);
        if let Some(binning) = &self.binning {
            let slot = |score| usize::from(binning.code(Value::Number(score)));
            self.champion[slot(champion.score())] += 1;
            self.shadow[slot(shadow.score())] += 1;
        }
    }

    /// Counts the time that each took to score the same row.
    pub fn observe_latency(&mut self, champion: Duration, shadow: Duration) {
        self.timed += 1;
        self.champion_time = self.champion_time.saturating_add(champion);
        self.shadow_time = self.shadow_time.saturating_add(shadow);
    }

    /// Counts a row for which the shadow answered no prediction.
    ///
    /// ```
    /// # use pmmds::drift::Profile;
    /// # fn count(comparison: &mut pmmds::lifecycle::ShadowComparison) {
    /// comparison.observe_failed();
    /// assert!(comparison.stats().failed > 0);
    /// # }
    /// ```
    pub fn observe_failed(&mut self) {
        self.failed += 1;
    }

    /// What was found up to now.
    #[must_use]
    pub fn stats(&self) -> ShadowStats {
        #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
        let share = |part: f64, of: u64| (of > 0).then(|| part / of as f64);
        #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
        let agreed = self.agreed as f64;
        let score_psi = self.binning.as_ref().and_then(|binning| {
            let pair = BinnedPair::new(binning, &self.champion, &self.shadow).ok()?;
            Psi::default().measure(pair).ok()
        });
        let mean = |time: Duration| share(time.as_secs_f64() * 1e3, self.timed);
        let (champion, shadow) = (mean(self.champion_time), mean(self.shadow_time));
        ShadowStats {
            rows: self.rows,
            failed: self.failed,
            agreement: share(agreed, self.labelled),
            mean_absolute_difference: share(self.sum, self.rows),
            largest_difference: (self.rows > 0).then_some(self.largest),
            score_psi,
            champion_latency_ms: champion,
            shadow_latency_ms: shadow,
            latency_ratio: shadow.zip(champion.filter(|ms| *ms > 0.0)).map(|(s, c)| s / c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::ProfileOptions;
    use crate::model::Task;
    use crate::record::Batch;
    use crate::schema::{Feature, FeatureSchema};

    fn profile(scores: &[f64]) -> Profile {
        let schema = FeatureSchema::new([Feature::numeric("x")]).unwrap();
        let data = ndarray::Array2::from_shape_fn((scores.len(), 1), |(row, _)| row as f64);
        let batch = Batch::from_array(&schema, data.view()).unwrap();
        ProfileOptions::new().scores(scores).fit(&batch).unwrap()
    }

    #[test]
    fn the_same_answers_agree_and_shifted_ones_do_not() {
        let scores: Vec<f64> = (0..1_000).map(|i| f64::from(i) / 1_000.0).collect();
        let of = |score| Task::binary().prediction(score).unwrap();
        let mut same = ShadowComparison::new(&profile(&scores));
        let mut shifted = same.clone();
        for score in &scores {
            same.observe(of(*score), of(*score));
            shifted.observe(of(*score), of((score + 0.2).min(1.0)));
        }
        let stats = same.stats();
        assert_eq!((stats.rows, stats.agreement, stats.score_psi), (1_000, Some(1.0), Some(0.0)));
        assert_eq!(stats.mean_absolute_difference, Some(0.0));
        let stats = shifted.stats();
        // Between 0.3 and 0.5 the class is another.
        assert_eq!(stats.agreement, Some(0.8));
        assert!((stats.largest_difference.unwrap() - 0.2).abs() < 1e-12);
        assert!(stats.score_psi.unwrap() > 0.25, "{stats:?}");
        assert_eq!(stats.latency_ratio, None, "nobody has measured it");
    }

    #[test]
    fn numbers_have_no_classes_to_agree_on() {
        let mut comparison = ShadowComparison::new(&profile(&[1.0, 2.0, 3.0]));
        let of = |score| Task::Regression.prediction(score).unwrap();
        comparison.observe(of(1.0), of(3.0));
        comparison.observe_failed();
        let stats = comparison.stats();
        assert_eq!((stats.agreement, stats.mean_absolute_difference), (None, Some(2.0)));
        assert_eq!((stats.rows, stats.failed), (1, 1));
    }
}
