//! Shall the challenger take over? Metrics, their certainty, latency, rules, and the record.
//!
//! | step | type |
//! |---|---|
//! | score the same holdout with both models | [`PairedRows`], two [`Evaluation`]s of every [`Metric`] |
//! | how sure is the difference | [`PairedDifference`] |
//! | how long do they take | [`measure_interleaved`], two [`Latency`]s |
//! | what is compared | [`Candidates`]: a challenger and a [`Champion`], each a [`Candidate`] |
//! | which of the two is right more often | [`McNemar`]; on losses [`signed_rank_test`], [`paired_t_test`] |
//! | do probabilities mean what they say | [`Calibration`] |
//! | what would another threshold give | [`RocCurve`] |
//! | predictions of several classes | [`ConfusionMatrix`], [`multiclass_log_loss`] |
//! | the rules | [`PromotionPolicy`], [`OriginalPolicy`] by default |
//! | the answer | [`Decision`] with every [`Reason`], kept as a [`DecisionRecord`] |
//!
//! Nothing here reads a clock, a file or the network. What is unknown is `None` and never speaks
//! for promotion.
//!
//! ```
//! use pmmds::model::Task;
//! use pmmds::promote::{
//!     Candidate, Candidates, Champion, Metric, MinImprovement, PairedRows, PromotionPolicy,
//!     PromotionPolicyExt, Validation, ValidationPassed,
//! };
//! use pmmds::registry::VersionId;
//!
//! let labels = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
//! let rows = PairedRows::new(
//!     Task::binary(),
//!     &[0.9, 0.4, 0.3, 0.5, 0.2, 0.1],
//!     &[0.9, 0.6, 0.4, 0.5, 0.2, 0.1],
//!     &labels,
//! )?;
//! let champion = Candidate::new(VersionId::FIRST, Validation::Passed)
//!     .evaluation(rows.champion().clone());
//! let challenger = Candidate::new(VersionId::new(2).unwrap(), Validation::Passed)
//!     .evaluation(rows.challenger().clone());
//! let differences = [rows.difference(Metric::RocAuc, 0.95)?];
//!
//! let policy =
//!     MinImprovement { metric: Metric::RocAuc, at_least: 0.001 }.and(ValidationPassed);
//! let candidates = Candidates::new(&challenger, Champion::Serving(&champion), &differences);
//! let decision = policy.decide(candidates);
//! assert_eq!(
//!     decision.sentence(candidates, Metric::RocAuc),
//!     "Challenger v2 outperforms champion v1. roc_auc: 0.8889 vs 0.7778 (+0.1111). \
//!      Validation passed.",
//! );
//! # Ok::<(), pmmds::promote::PairedError>(())
//! ```

mod calibration;
mod candidate;
mod classified;
mod combine;
mod confusion;
mod curve;
mod decimal;
mod decision;
mod evaluation;
mod hypothesis;
mod influence;
mod latency;
mod mcnemar;
mod metric;
mod multiclass;
#[cfg(test)]
mod oracles;
mod original;
mod paired;
mod placement;
mod policy;
mod record;
mod regressed;
mod rows;
mod rules;
#[cfg(test)]
mod tests;

pub use crate::drift::TestResult;
pub use calibration::{Calibration, CalibrationBin, CalibrationBins};
pub use candidate::{Candidate, Candidates, Champion, Validation};
pub use combine::{And, Or};
pub use confusion::{Confusion, WeightedConfusion};
pub use curve::{RocCurve, RocPoint};
pub use decision::{Decision, Reason};
pub use evaluation::{Evaluation, EvaluationError};
pub use hypothesis::{paired_t_test, signed_rank_test, two_proportion_test, wilson_interval};
pub use latency::{Latency, measure_interleaved};
pub use mcnemar::McNemar;
pub use metric::{Metric, UnknownMetric};
pub use multiclass::{Average, ConfusionMatrix, MulticlassError, multiclass_log_loss};
pub use original::OriginalPolicy;
pub use paired::{PairedDifference, PairedError, PairedRows};
pub use policy::{PolicyFn, PromotionPolicy, PromotionPolicyExt, policy_fn};
pub use record::{CandidateMetrics, DecisionRecord};
pub use rows::MAX_WEIGHT;
pub use rules::{
    IntervalAboveZero, MaxLatencyRatio, MinImprovement, MinRelativeImprovement, ValidationPassed,
};
