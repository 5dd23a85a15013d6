//! The criteria, one type each.

use super::decimal::{reaches, telling_decimals};
use super::{
    Candidate, Candidates, Champion, Decision, Metric, PromotionPolicy, Reason, Validation,
};

/// The challenger's training data passed validation. Data that nobody validated did not pass.
///
/// ```
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, PromotionPolicy, Validation, ValidationPassed,
/// };
/// use pmmds::registry::VersionId;
///
/// let challenger = Candidate::new(VersionId::FIRST, Validation::Failed { errors: 3 });
/// let decision = ValidationPassed.decide(Candidates::new(&challenger, Champion::None, &[]));
/// assert!(!decision.promote);
/// assert_eq!(decision.reasons[0].sentence, "Validation failed with 3 errors.");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ValidationPassed;

impl ValidationPassed {
    /// Name of the criterion in a [`Reason`]. Its observed number is the number of errors.
    ///
    /// ```
    /// assert_eq!(pmmds::promote::ValidationPassed::CRITERION, "validation_passed");
    /// ```
    pub const CRITERION: &'static str = "validation_passed";
}

impl PromotionPolicy for ValidationPassed {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        let validation = candidates.challenger.validation;
        let (passed, sentence) = match validation {
            Validation::Passed => (true, "Validation passed.".to_owned()),
            Validation::Failed { errors: 1 } => {
                (false, "Validation failed with 1 error.".to_owned())
            }
            Validation::Failed { errors } => {
                (false, format!("Validation failed with {errors} errors."))
            }
            Validation::NotDone => (false, "Validation was not done.".to_owned()),
        };
        let errors = validation.errors().map(count);
        Reason::new(Self::CRITERION, passed, sentence).observed(errors).limit(0.0).into()
    }
}

#[expect(clippy::cast_precision_loss, reason = "more than 2^53 errors are as good as any number")]
fn count(errors: u64) -> f64 {
    errors as f64
}

/// The challenger is better by at least `at_least`, in the unit of the metric (0.001 of ROC-AUC is
/// a tenth of a percentage point, not 0.1 % of the champion's value).
///
/// An improvement of exactly `at_least` is enough, and numbers count as the decimals they are
/// printed as: 0.9632 is better than 0.9622 by 0.001, though not in binary. The improvement may
/// fall short by 4 units in the last place of the largest number involved (about 1e-15 for
/// proportions), so decimals of up to 14 places compare exactly.
///
/// Without a champion there is nothing to improve on: the criterion is met if the metric is known.
/// A metric that is unknown for either side never meets it, nor do evaluations of different rows.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, Evaluation, Metric, MinImprovement, PromotionPolicy,
///     Validation,
/// };
/// use pmmds::registry::VersionId;
///
/// let measured = Evaluation::of(Task::binary(), &[0.9, 0.2], &[1.0, 0.0])?;
/// let challenger = Candidate::new(VersionId::new(2).unwrap(), Validation::Passed).evaluation(measured);
/// let champion = Candidate::new(VersionId::FIRST, Validation::Passed);
///
/// let rule = MinImprovement { metric: Metric::RocAuc, at_least: 0.001 };
/// let decision = rule.decide(Candidates::new(&challenger, Champion::Serving(&champion), &[]));
/// assert!(!decision.promote);
/// assert_eq!(decision.reasons[0].sentence, "roc_auc is unknown for champion v1.");
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinImprovement {
    /// the metric
    pub metric: Metric,
    /// the least improvement that is enough; negative to allow a loss. NaN is never reached
    pub at_least: f64,
}

impl MinImprovement {
    /// Name of the criterion in a [`Reason`]. Its observed number is the improvement.
    ///
    /// ```
    /// assert_eq!(pmmds::promote::MinImprovement::CRITERION, "metric_improvement");
    /// ```
    pub const CRITERION: &'static str = "metric_improvement";
}

impl PromotionPolicy for MinImprovement {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        Least { metric: self.metric, at_least: self.at_least, unit: Unit::Metric }
            .decide(candidates)
    }
}

/// The challenger is better by at least the share `at_least` of the champion's value: 0.01 asks for
/// an RMSE that is 1 % smaller. For metrics in the unit of the label, where
/// [`MinImprovement`] would need to know what a small price or a long delay is.
///
/// Exactly `at_least` is enough, and numbers count as decimals like those of [`MinImprovement`]. Not
/// met where a metric is unknown, where evaluations are of different rows, and for a champion whose
/// value is 0, of which nothing is a share. Without a champion the criterion is met if the metric
/// is known.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, Evaluation, Metric, MinRelativeImprovement,
///     PromotionPolicy, Validation,
/// };
/// use pmmds::registry::VersionId;
///
/// let candidate = |version: u64, scores: &[f64]| {
///     let evaluation = Evaluation::of(Task::Regression, scores, &[100.0, 200.0])?;
///     let version = VersionId::new(version).unwrap();
///     Ok::<_, pmmds::promote::EvaluationError>(
///         Candidate::new(version, Validation::Passed).evaluation(evaluation),
///     )
/// };
/// let (champion, challenger) = (candidate(1, &[110.0, 190.0])?, candidate(2, &[109.5, 190.5])?);
/// let candidates = Candidates::new(&challenger, Champion::Serving(&champion), &[]);
///
/// let rule = MinRelativeImprovement { metric: Metric::Rmse, at_least: 0.05 };
/// assert!(rule.decide(candidates).promote);
/// assert_eq!(
///     MinRelativeImprovement { at_least: 0.1, ..rule }.decide(candidates).reasons[0].sentence,
///     "rmse: 9.5000 vs 10.0000 (-5.00 %, lower is better, below the required improvement of \
///      10.00 %).",
/// );
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinRelativeImprovement {
    /// the metric
    pub metric: Metric,
    /// the least improvement that is enough, as a share of the champion's value; negative to allow
    /// a loss. NaN is never reached
    pub at_least: f64,
}

impl MinRelativeImprovement {
    /// Name of the criterion in a [`Reason`]: that of [`MinImprovement`], so that a record's
    /// `metric_improvement` is about either. Its observed number is the improvement as a share.
    ///
    /// ```
    /// use pmmds::promote::{MinImprovement, MinRelativeImprovement};
    /// assert_eq!(MinRelativeImprovement::CRITERION, MinImprovement::CRITERION);
    /// ```
    pub const CRITERION: &'static str = MinImprovement::CRITERION;
}

impl PromotionPolicy for MinRelativeImprovement {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        Least { metric: self.metric, at_least: self.at_least, unit: Unit::Champion }
            .decide(candidates)
    }
}

/// In what an improvement is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    /// the unit of the metric
    Metric,
    /// the champion's value
    Champion,
}

/// The least improvement, in either unit.
#[derive(Debug, Clone, Copy)]
struct Least {
    metric: Metric,
    at_least: f64,
    unit: Unit,
}

impl Least {
    fn decide(self, candidates: Candidates<'_>) -> Decision {
        let Self { metric, at_least, unit } = self;
        let challenger = candidates.challenger;
        let (passed, sentence) = match candidates.champion {
            Champion::Serving(champion) => self.against(champion, candidates),
            Champion::None => match challenger.metric(metric) {
                Some(value) => (true, format!("{metric}: {value:.4}.")),
                None => (false, unknown(metric, &[("challenger", challenger)])),
            },
        };
        let observed = match unit {
            Unit::Metric => candidates.improvement(metric),
            Unit::Champion => candidates.relative_improvement(metric),
        };
        Reason::new(MinImprovement::CRITERION, passed, sentence)
            .observed(observed)
            .limit(at_least)
            .into()
    }

    fn against(self, champion: &Candidate, candidates: Candidates<'_>) -> (bool, String) {
        let Self { metric, at_least, unit } = self;
        let challenger = candidates.challenger;
        let (before, after) = match (champion.metric(metric), challenger.metric(metric)) {
            (Some(before), Some(after)) => (before, after),
            (before, after) => {
                let sides = [(before, "champion", champion), (after, "challenger", challenger)];
                let sides = sides.iter().filter(|(value, ..)| value.is_none());
                let sides: Vec<_> = sides.map(|(_, role, side)| (*role, *side)).collect();
                return (false, unknown(metric, &sides));
            }
        };
        let Some(improvement) = candidates.improvement(metric) else {
            let sentence = format!(
                "{metric} is not comparable: champion v{} and challenger v{} were evaluated on \
                 different rows.",
                champion.version, challenger.version
            );
            return (false, sentence);
        };
        let share = candidates.relative_improvement(metric);
        let (passed, needed) = match (unit, share) {
            (Unit::Metric, _) => {
                (reaches(improvement, at_least, before.abs().max(after.abs())), at_least)
            }
            (Unit::Champion, Some(share)) => {
                (reaches(share, at_least, (after / before).abs().max(1.0)), at_least * before.abs())
            }
            (Unit::Champion, None) => {
                let sentence = format!(
                    "{metric} of champion v{} is {before}, of which no share can be taken.",
                    champion.version
                );
                return (false, sentence);
            }
        };
        // Rounding must not hide the improvement, or that it is not enough.
        let digits = telling_decimals(improvement, if passed { 0.0 } else { needed }, 4);
        let change = after - before;
        let percent = |share: f64| share * 100.0;
        let (mut notes, needed) = match (unit, share) {
            (Unit::Champion, Some(share)) => {
                let least = if passed { 0.0 } else { at_least };
                let digits = telling_decimals(percent(share), percent(least), 2);
                let signed = percent(share.abs()).copysign(change);
                (format!("{signed:+.digits$} %"), format!("{:.digits$} %", percent(at_least)))
            }
            _ => (format!("{change:+.digits$}"), format!("{at_least:.digits$}")),
        };
        if !metric.higher_is_better() {
            notes.push_str(", lower is better");
        }
        if !passed {
            notes.push_str(&format!(", below the required improvement of {needed}"));
        }
        (passed, format!("{metric}: {after:.digits$} vs {before:.digits$} ({notes})."))
    }
}

/// That `metric` is unknown for these candidates, or none of their task.
fn unknown(metric: Metric, sides: &[(&str, &Candidate)]) -> String {
    let names: Vec<String> =
        sides.iter().map(|(role, side)| format!("{role} v{}", side.version)).collect();
    let names = names.join(" and ");
    let mut evaluations = sides.iter().filter_map(|(_, side)| side.evaluation.as_ref());
    match evaluations.find(|evaluation| !evaluation.metrics().contains(&metric)) {
        None => format!("{metric} is unknown for {names}."),
        Some(other) => {
            let measured: Vec<&str> = other.metrics().iter().map(|metric| metric.name()).collect();
            format!("{metric} does not measure {names}; what does: {}.", measured.join(", "))
        }
    }
}

/// The challenger's mean latency is at most this many times the champion's. Exactly that is
/// allowed, compared as decimals like [`MinImprovement`].
///
/// Without a champion there is nothing to compare with, and the criterion is met. A ratio that is
/// unknown never meets it.
///
/// ```
/// use std::time::Duration;
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, Latency, MaxLatencyRatio, PromotionPolicy, Validation,
/// };
/// use pmmds::registry::VersionId;
///
/// let candidate = |version, micros| {
///     Candidate::new(VersionId::new(version).unwrap(), Validation::Passed)
///         .latency(Latency::from_samples(&[Duration::from_micros(micros)]).unwrap())
/// };
/// let (champion, challenger) = (candidate(1, 100), candidate(2, 131));
/// let decision =
///     MaxLatencyRatio(1.2).decide(Candidates::new(&challenger, Champion::Serving(&champion), &[]));
/// assert!(!decision.promote);
/// assert_eq!(decision.reasons[0].sentence, "Latency too high (1.31x, at most 1.20x allowed).");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxLatencyRatio(
    /// the largest ratio allowed, such as 1.2. Nothing meets NaN
    pub f64,
);

impl MaxLatencyRatio {
    /// Name of the criterion in a [`Reason`]. Its observed number is the ratio.
    ///
    /// ```
    /// assert_eq!(pmmds::promote::MaxLatencyRatio::CRITERION, "latency_acceptable");
    /// ```
    pub const CRITERION: &'static str = "latency_acceptable";
}

impl PromotionPolicy for MaxLatencyRatio {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        let (limit, ratio, challenger) =
            (self.0, candidates.latency_ratio(), candidates.challenger);
        let (passed, sentence) = match (candidates.champion, ratio) {
            (Champion::None, _) => match challenger.latency {
                Some(latency) => (true, format!("Latency {:.3} ms.", latency.mean_ms())),
                None => (true, "Latency was not measured.".to_owned()),
            },
            (Champion::Serving(champion), None) => {
                let unknown = match (champion.latency, challenger.latency) {
                    (None, _) => format!("champion v{} was not measured", champion.version),
                    (_, None) => format!("challenger v{} was not measured", challenger.version),
                    _ => format!("champion v{} took no measurable time", champion.version),
                };
                (false, format!("Latency is unknown: {unknown}."))
            }
            (Champion::Serving(_), Some(ratio)) if reaches(limit, ratio, ratio) => {
                (true, format!("Latency OK ({ratio:.2}x)."))
            }
            (Champion::Serving(_), Some(ratio)) => {
                let digits = telling_decimals(ratio, limit, 2);
                let numbers = format!("{ratio:.digits$}x, at most {limit:.digits$}x allowed");
                (false, format!("Latency too high ({numbers})."))
            }
        };
        Reason::new(Self::CRITERION, passed, sentence).observed(ratio).limit(limit).into()
    }
}

/// The interval of the improvement on the same rows lies above 0: chance alone does not explain
/// that the challenger is better. Recommended beside [`MinImprovement`], whose 0.001 is one
/// eleventh of the noise of the original's test set.
///
/// Needs the [`PairedDifference`](super::PairedDifference) of the metric, at the level that whoever
/// measured it chose. An interval without width around a difference other than 0 shows no spread
/// because the rows cannot, and is no evidence. Without a champion there is nothing to compare
/// with, and the criterion is met.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, IntervalAboveZero, Metric, PairedRows, PromotionPolicy,
///     Validation,
/// };
/// use pmmds::registry::VersionId;
///
/// let labels = [1.0, 0.0, 1.0, 0.0];
/// let rows = PairedRows::new(Task::binary(), &[0.6, 0.5, 0.4, 0.5], &[0.7, 0.4, 0.6, 0.6], &labels)?;
/// let differences = [rows.difference(Metric::Brier, 0.95)?];
/// let champion = Candidate::new(VersionId::FIRST, Validation::Passed);
/// let challenger = Candidate::new(VersionId::new(2).unwrap(), Validation::Passed);
/// let decision = IntervalAboveZero { metric: Metric::Brier }
///     .decide(Candidates::new(&challenger, Champion::Serving(&champion), &differences));
/// assert!(!decision.promote);
/// assert_eq!(
///     decision.reasons[0].sentence,
///     "brier improvement between -0.0633 and +0.1883 (95 % interval of 4 rows), not above 0.",
/// );
/// # Ok::<(), pmmds::promote::PairedError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalAboveZero {
    /// the metric
    pub metric: Metric,
}

impl IntervalAboveZero {
    /// Name of the criterion in a [`Reason`]. Its observed number is the lower end.
    ///
    /// ```
    /// assert_eq!(pmmds::promote::IntervalAboveZero::CRITERION, "interval_above_zero");
    /// ```
    pub const CRITERION: &'static str = "interval_above_zero";
}

impl PromotionPolicy for IntervalAboveZero {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        let metric = self.metric;
        let difference = candidates.difference(metric);
        let (passed, sentence) = match (candidates.champion, difference) {
            (Champion::None, _) => (true, format!("No champion to compare {metric} with.")),
            (Champion::Serving(_), None) => {
                (false, format!("The interval of the {metric} improvement is unknown."))
            }
            (Champion::Serving(_), Some(difference)) => {
                let (low, high) = difference.improvement_interval();
                let passed = low > 0.0 && high > low;
                let digits = telling_decimals(low, 0.0, 4);
                let interval = format!(
                    "{metric} improvement between {low:+.digits$} and {high:+.digits$} \
                     ({} % interval of {} rows)",
                    trimmed(difference.level() * 100.0),
                    difference.rows()
                );
                let verdict = match passed {
                    true => "",
                    false if low > 0.0 => ", which shows no spread and so proves nothing",
                    false => ", not above 0",
                };
                (passed, format!("{interval}{verdict}."))
            }
        };
        Reason::new(Self::CRITERION, passed, sentence)
            .observed(difference.map(|difference| difference.improvement_interval().0))
            .limit(0.0)
            .into()
    }
}

/// `number` without the digits that binary adds: 99.9 for 0.999 * 100.
fn trimmed(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
