//! The policy of the system that this crate grew out of.

use crate::model::Task;

use super::{
    And, Candidates, Decision, IntervalAboveZero, MaxLatencyRatio, Metric, MinImprovement,
    MinRelativeImprovement, PromotionPolicy, PromotionPolicyExt, ValidationPassed,
};

/// Least improvement of a metric in the unit of the label, as a share of the champion's value.
const LEAST_OF_A_NUMBER: f64 = 0.01;

/// The default policy, and the original's: validation passed, ROC-AUC better by at least 0.001,
/// mean latency at most 1.2 times the champion's. All three must be met.
///
/// The first model is promoted when the registry *confirmed* that there is no champion, its
/// validation passed and its metric is known.
///
/// ROC-AUC is of classifiers; [`of`](Self::of) is the same policy for any task.
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
    min_improvement: Least,
    max_latency_ratio: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Least {
    /// in the unit of the metric
    Absolute(f64),
    /// as a share of the champion's value
    Relative(f64),
}

impl OriginalPolicy {
    /// The original's settings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            primary_metric: Metric::RocAuc,
            min_improvement: Least::Absolute(0.001),
            max_latency_ratio: 1.2,
        }
    }

    /// The original's settings, on the first [metric](Metric::of) of `task`: for a regression an
    /// RMSE at least 1 % smaller, for the unit of the label is anybody's.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// use pmmds::promote::{Metric, OriginalPolicy};
    /// assert_eq!(OriginalPolicy::of(Task::binary()), OriginalPolicy::new());
    /// let on_rmse =
    ///     OriginalPolicy::new().primary_metric(Metric::Rmse).min_relative_improvement(0.01);
    /// assert_eq!(OriginalPolicy::of(Task::Regression), on_rmse);
    /// ```
    #[must_use]
    pub fn of(task: Task) -> Self {
        match task {
            Task::BinaryClassification { .. } => Self::new(),
            Task::Regression => Self::new()
                .primary_metric(Metric::primary(task))
                .min_relative_improvement(LEAST_OF_A_NUMBER),
        }
    }

    /// The metric that must improve. Defaults to [`Metric::RocAuc`].
    #[must_use]
    pub fn primary_metric(mut self, metric: Metric) -> Self {
        self.primary_metric = metric;
        self
    }

    /// The least improvement, in the unit of the metric. Defaults to 0.001, which suits ROC-AUC.
    #[must_use]
    pub fn min_improvement(mut self, at_least: f64) -> Self {
        self.min_improvement = Least::Absolute(at_least);
        self
    }

    /// The least improvement, as a share of the champion's value, in place of
    /// [`min_improvement`](Self::min_improvement): for metrics in the unit of the label.
    ///
    /// ```
    /// use pmmds::promote::{Metric, OriginalPolicy};
    /// // An RMSE at least 1 % smaller, beyond chance.
    /// let policy =
    ///     OriginalPolicy::new().primary_metric(Metric::Rmse).min_relative_improvement(0.01).strict();
    /// # let _: &dyn pmmds::promote::PromotionPolicy = &policy;
    /// ```
    #[must_use]
    pub fn min_relative_improvement(mut self, at_least: f64) -> Self {
        self.min_improvement = Least::Relative(at_least);
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
        let metric = self.primary_metric;
        let others = ValidationPassed.and(MaxLatencyRatio(self.max_latency_ratio));
        // In the order in which the original's sentence names them.
        match self.min_improvement {
            Least::Absolute(at_least) => {
                MinImprovement { metric, at_least }.and(others).decide(candidates)
            }
            Least::Relative(at_least) => {
                MinRelativeImprovement { metric, at_least }.and(others).decide(candidates)
            }
        }
    }
}
