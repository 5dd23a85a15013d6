//! The policy of the system that this crate grew out of.

use super::{
    And, Candidates, Decision, IntervalAboveZero, MaxLatencyRatio, Metric, MinImprovement,
    PromotionPolicy, PromotionPolicyExt, ValidationPassed,
};

/// The default policy, and the original's: validation passed, ROC-AUC better by at least 0.001,
/// mean latency at most 1.2 times the champion's. All three must be met.
///
/// The first model is promoted when the registry *confirmed* that there is no champion, its
/// validation passed and its metric is known.
///
/// [`strict`](Self::strict) is the recommended form: 0.001 alone is one eleventh of the noise of
/// the original's test set.
///
/// ```
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, Metric, OriginalPolicy, PromotionPolicy, Validation,
/// };
/// use pmmds::registry::VersionId;
///
/// let policy = OriginalPolicy::new().primary_metric(Metric::LogLoss).min_improvement(0.005).strict();
///
/// // Nothing is known about these two, so everything but the validation fails.
/// let champion = Candidate::new(VersionId::FIRST, Validation::Passed);
/// let challenger = Candidate::new(VersionId::new(2).unwrap(), Validation::Passed);
/// let decision =
///     policy.decide(Candidates::new(&challenger, Champion::Serving(&champion), &[]));
/// let failed: Vec<&str> = decision.failures().map(|reason| reason.criterion.as_str()).collect();
/// assert_eq!(failed, ["metric_improvement", "latency_acceptable", "interval_above_zero"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OriginalPolicy {
    primary_metric: Metric,
    min_improvement: f64,
    max_latency_ratio: f64,
}

impl OriginalPolicy {
    /// The original's settings.
    #[must_use]
    pub fn new() -> Self {
        Self { primary_metric: Metric::RocAuc, min_improvement: 0.001, max_latency_ratio: 1.2 }
    }

    /// The metric that must improve. Defaults to [`Metric::RocAuc`].
    #[must_use]
    pub fn primary_metric(mut self, metric: Metric) -> Self {
        self.primary_metric = metric;
        self
    }

    /// The least improvement, in the unit of the metric. Defaults to 0.001.
    #[must_use]
    pub fn min_improvement(mut self, at_least: f64) -> Self {
        self.min_improvement = at_least;
        self
    }

    /// The largest ratio of the mean latencies. Defaults to 1.2.
    #[must_use]
    pub fn max_latency_ratio(mut self, at_most: f64) -> Self {
        self.max_latency_ratio = at_most;
        self
    }

    /// The same, asking also that the interval of the improvement lies above 0.
    #[must_use]
    pub fn strict(self) -> And<Self, IntervalAboveZero> {
        self.and(IntervalAboveZero { metric: self.primary_metric })
    }
}

impl Default for OriginalPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl PromotionPolicy for OriginalPolicy {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        // In the order in which the original's sentence names them.
        MinImprovement { metric: self.primary_metric, at_least: self.min_improvement }
            .and(ValidationPassed)
            .and(MaxLatencyRatio(self.max_latency_ratio))
            .decide(candidates)
    }
}
