//! A decision as it is kept: who was compared, by what, and why it ended as it did.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Candidate, Candidates, Decision, MaxLatencyRatio, Metric, MinImprovement, PairedDifference,
    Reason,
};
use crate::Timestamp;
use crate::registry::{ModelName, VersionId};

/// What was known about one candidate. What was not known is `null`.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{Candidate, CandidateMetrics, Evaluation, Validation};
/// use pmmds::registry::VersionId;
///
/// let evaluation = Evaluation::of(Task::binary(), &[0.2, 0.1], &[0.0, 0.0])?;
/// let candidate = Candidate::new(VersionId::FIRST, Validation::Passed).evaluation(evaluation);
/// let json = serde_json::to_value(CandidateMetrics::of(&candidate))?;
/// assert_eq!((&json["accuracy"], &json["validation_errors"]), (&1.0.into(), &0.into()));
/// assert!(json["roc_auc"].is_null() && json["avg_latency_ms"].is_null());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CandidateMetrics {
    /// every metric of the task under its name; empty if there was no evaluation
    #[serde(flatten)]
    pub metrics: BTreeMap<Metric, Option<f64>>,
    /// mean milliseconds per prediction
    pub avg_latency_ms: Option<f64>,
    /// 95th percentile of the milliseconds per prediction
    pub p95_latency_ms: Option<f64>,
    /// whether the training data passed validation; `None` if nobody looked
    pub validation_passed: Option<bool>,
    /// number of validation errors; `None` if nobody looked
    pub validation_errors: Option<u64>,
}

impl CandidateMetrics {
    /// What is known about `candidate`.
    #[must_use]
    pub fn of(candidate: &Candidate) -> Self {
        let evaluated = candidate.evaluation.as_ref();
        let metrics = evaluated.map(|evaluation| {
            let all = evaluation.metrics().iter();
            all.map(|&metric| (metric, evaluation.get(metric))).collect()
        });
        Self {
            metrics: metrics.unwrap_or_default(),
            avg_latency_ms: candidate.latency.map(|latency| latency.mean_ms()),
            p95_latency_ms: candidate.latency.map(|latency| latency.p95_ms()),
            validation_passed: candidate.validation.passed(),
            validation_errors: candidate.validation.errors(),
        }
    }
}

/// One comparison of champion and challenger, as it is stored and shown.
///
/// Field names are those of the original's `promotion_decisions` (with `run_id` for
/// `mlflow_run_id`), so that its readers keep working; `reasons` and `differences` are new. How far
/// the decision was *carried out* is kept beside it, by the [ledger](crate::ledger).
///
/// Whatever does not exist is `null`: every `champion_` field without a champion, a criterion that
/// the policy did not ask for, a trigger that was not given.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, DecisionRecord, Evaluation, Metric, OriginalPolicy,
///     PromotionPolicy, Validation,
/// };
/// use pmmds::registry::VersionId;
///
/// let evaluation = Evaluation::of(Task::binary(), &[0.9, 0.2], &[1.0, 0.0])?;
/// let challenger = Candidate::new(VersionId::FIRST, Validation::Passed).evaluation(evaluation);
/// let candidates = Candidates::new(&challenger, Champion::None, &[]);
/// let decision = OriginalPolicy::new().decide(candidates);
///
/// let record = DecisionRecord::new(
///     "a1b2c3d4e5f6",
///     "2026-03-01T12:00:00Z".parse()?,
///     "churn-classifier".parse()?,
///     candidates,
///     &decision,
///     Metric::RocAuc,
/// )
/// .trigger_type("schedule")
/// .drift_run_id("0197b3a0-0000-7000-8000-000000000000")
/// .challenger_run_id("nightly-7")
/// .champion_run_id("there is no champion, so this stays null")
/// .comparison_duration(std::time::Duration::from_millis(250));
/// let json = serde_json::to_value(&record)?;
/// assert_eq!(json["challenger_version"], "1");
/// assert_eq!(json["promoted"], true);
/// assert_eq!(
///     json["promotion_reason"],
///     "First model v1 promoted: the registry has no champion. roc_auc: 1.0000. \
///      Validation passed. Latency was not measured.",
/// );
/// assert_eq!(json["comparison_duration_seconds"], 0.25);
/// assert!(json["champion_run_id"].is_null());
/// assert!(json["champion_version"].is_null() && json["primary_metric_improvement"].is_null());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecisionRecord {
    /// id of the decision
    pub decision_id: String,
    /// when it was made
    pub timestamp: Timestamp,
    /// what started the comparison, such as `"drift"`
    pub trigger_type: Option<String>,
    /// the drift run behind it
    pub drift_run_id: Option<String>,
    /// name of the champion's model
    pub champion_model_name: Option<ModelName>,
    /// the champion's version
    pub champion_version: Option<VersionId>,
    /// the run that made the champion
    pub champion_run_id: Option<String>,
    /// what was known about the champion
    pub champion_metrics: Option<CandidateMetrics>,
    /// name of the challenger's model
    pub challenger_model_name: ModelName,
    /// the challenger's version
    pub challenger_version: VersionId,
    /// the run that made the challenger
    pub challenger_run_id: Option<String>,
    /// what was known about the challenger
    pub challenger_metrics: CandidateMetrics,
    /// whether the challenger's training data passed validation; `None` if nobody looked
    pub validation_passed: Option<bool>,
    /// whether the metric improved enough; `None` without champion, or if the policy did not ask
    pub metric_improvement: Option<bool>,
    /// whether the latency was acceptable; `None` without champion, or if the policy did not ask
    pub latency_acceptable: Option<bool>,
    /// the metric that decides first
    pub primary_metric_name: Metric,
    /// how much better the challenger is by it, positive meaning better
    pub primary_metric_improvement: Option<f64>,
    /// whether the challenger takes over
    pub promoted: bool,
    /// the decision in one paragraph
    pub promotion_reason: String,
    /// the sentence of every criterion that was not met, if it was not promoted
    pub rejection_reasons: Vec<String>,
    /// every criterion with its numbers
    pub reasons: Vec<Reason>,
    /// the differences on the same rows, with their intervals
    pub differences: Vec<PairedDifference>,
    /// how long the comparison took
    pub comparison_duration_seconds: Option<f64>,
}

impl DecisionRecord {
    /// The record of `decision` on `candidates`, both versions of `model`.
    #[must_use]
    pub fn new(
        decision_id: impl Into<String>,
        timestamp: Timestamp,
        model: ModelName,
        candidates: Candidates<'_>,
        decision: &Decision,
        primary_metric: Metric,
    ) -> Self {
        let champion = candidates.serving();
        let challenger = candidates.challenger;
        let compared = |criterion| champion.and_then(|_| decision.met(criterion));
        let rejections = if decision.promote { Vec::new() } else { decision.failures().collect() };
        Self {
            decision_id: decision_id.into(),
            timestamp,
            trigger_type: None,
            drift_run_id: None,
            champion_model_name: champion.map(|_| model.clone()),
            champion_version: champion.map(|champion| champion.version),
            champion_run_id: None,
            champion_metrics: champion.map(CandidateMetrics::of),
            challenger_model_name: model,
            challenger_version: challenger.version,
            challenger_run_id: None,
            challenger_metrics: CandidateMetrics::of(challenger),
            validation_passed: challenger.validation.passed(),
            metric_improvement: compared(MinImprovement::CRITERION),
            latency_acceptable: compared(MaxLatencyRatio::CRITERION),
            primary_metric_name: primary_metric,
            primary_metric_improvement: candidates.improvement(primary_metric),
            promoted: decision.promote,
            promotion_reason: decision.sentence(candidates, primary_metric),
            rejection_reasons: rejections.iter().map(|reason| reason.sentence.clone()).collect(),
            reasons: decision.reasons.clone(),
            differences: candidates.differences.to_vec(),
            comparison_duration_seconds: None,
        }
    }

    /// What started the comparison. Defaults to `null`.
    #[must_use]
    pub fn trigger_type(mut self, trigger: impl Into<String>) -> Self {
        self.trigger_type = Some(trigger.into());
        self
    }

    /// The drift run behind it. Defaults to `null`.
    #[must_use]
    pub fn drift_run_id(mut self, id: impl Into<String>) -> Self {
        self.drift_run_id = Some(id.into());
        self
    }

    /// The run that made the champion. Defaults to `null`, and stays it without a champion.
    #[must_use]
    pub fn champion_run_id(mut self, id: impl Into<String>) -> Self {
        self.champion_run_id = self.champion_version.map(|_| id.into());
        self
    }

    /// The run that made the challenger. Defaults to `null`.
    #[must_use]
    pub fn challenger_run_id(mut self, id: impl Into<String>) -> Self {
        self.challenger_run_id = Some(id.into());
        self
    }

    /// How long the comparison took. Defaults to `null`.
    #[must_use]
    pub fn comparison_duration(mut self, duration: Duration) -> Self {
        self.comparison_duration_seconds = Some(duration.as_secs_f64());
        self
    }
}
