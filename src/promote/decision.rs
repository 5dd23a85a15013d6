//! The answer of a policy, with every reason for it.

use serde::{Deserialize, Serialize};

use super::{Candidates, Champion, Metric};

/// One criterion, and how the challenger did by it.
///
/// ```
/// use pmmds::promote::Reason;
/// let reason = Reason::new("quiet_hours", false, "It is noon.").observed(12.0).limit(6.0);
/// assert_eq!((reason.observed, reason.limit), (Some(12.0), Some(6.0)));
/// // What is no number is unknown.
/// assert_eq!(Reason::new("quiet_hours", false, "The clock is broken.").observed(f64::NAN).observed, None);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reason {
    /// stable name of the criterion, such as `"validation_passed"`
    pub criterion: String,
    /// whether it was met
    pub passed: bool,
    /// the number that was looked at; `None` if there is none, or it is unknown
    pub observed: Option<f64>,
    /// the number that it was held against
    pub limit: Option<f64>,
    /// one sentence for a person, with a full stop
    pub sentence: String,
}

impl Reason {
    /// A reason without numbers.
    #[must_use]
    pub fn new(criterion: impl Into<String>, passed: bool, sentence: impl Into<String>) -> Self {
        let (criterion, sentence) = (criterion.into(), sentence.into());
        Self { criterion, passed, observed: None, limit: None, sentence }
    }

    /// The number that was looked at. Defaults to none; NaN and infinities are none.
    #[must_use]
    pub fn observed(mut self, observed: impl Into<Option<f64>>) -> Self {
        self.observed = observed.into().filter(|number| number.is_finite());
        self
    }

    /// The number that it was held against. Defaults to none; NaN and infinities are none.
    #[must_use]
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit).filter(|number| number.is_finite());
        self
    }
}

/// Whether to promote, and why: *all* reasons, also those after the first failure.
///
/// ```
/// use pmmds::promote::{Decision, Reason};
/// let decision = Decision::from(Reason::new("quiet_hours", false, "It is noon."));
/// assert!(!decision.promote);
/// assert_eq!(decision.met("quiet_hours"), Some(false));
/// assert_eq!(decision.met("validation_passed"), None, "nobody asked");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// whether the challenger takes over
    pub promote: bool,
    /// every criterion that was looked at, in order
    pub reasons: Vec<Reason>,
}

impl Decision {
    /// A decision for `reasons`.
    #[must_use]
    pub fn new(promote: bool, reasons: Vec<Reason>) -> Self {
        Self { promote, reasons }
    }

    /// The reasons that speak against promotion.
    ///
    /// ```
    /// use pmmds::promote::{Decision, Reason};
    /// let decision = Decision::new(
    ///     false,
    ///     vec![Reason::new("quick", true, "Quick."), Reason::new("better", false, "Not better.")],
    /// );
    /// assert_eq!(decision.failures().map(|reason| reason.criterion.as_str()).collect::<Vec<_>>(), ["better"]);
    /// ```
    pub fn failures(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(|reason| !reason.passed)
    }

    /// Whether every reason of `criterion` was met; `None` if there is none.
    #[must_use]
    pub fn met(&self, criterion: &str) -> Option<bool> {
        let of = |reason: &&Reason| reason.criterion == criterion;
        self.reasons.iter().filter(of).map(|reason| reason.passed).reduce(|all, one| all && one)
    }

    /// The decision in one paragraph: what happens, then the sentence of every reason, in order.
    /// A rejection names every criterion that was not met.
    ///
    /// The challenger *outperforms* the champion only if it is better by `primary`; else it
    /// *replaces* it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::model::Task;
    /// use pmmds::promote::{
    ///     Candidate, Candidates, Champion, Evaluation, Latency, Metric, OriginalPolicy,
    ///     PromotionPolicy, Validation,
    /// };
    /// use pmmds::registry::VersionId;
    ///
    /// let candidate = |version, scores: &[f64], millis| {
    ///     let labels = [1.0, 1.0, 0.0, 0.0];
    ///     Ok::<_, pmmds::promote::EvaluationError>(
    ///         Candidate::new(VersionId::new(version).unwrap(), Validation::Passed)
    ///             .evaluation(Evaluation::of(Task::binary(), scores, &labels)?)
    ///             .latency(Latency::from_samples(&[Duration::from_millis(millis)]).unwrap()),
    ///     )
    /// };
    /// let champion = candidate(2, &[0.9, 0.3, 0.4, 0.1], 20)?;
    /// let challenger = candidate(3, &[0.9, 0.6, 0.4, 0.1], 19)?;
    ///
    /// let policy = OriginalPolicy::new();
    /// let forward = Candidates::new(&challenger, Champion::Serving(&champion), &[]);
    /// assert_eq!(
    ///     policy.decide(forward).sentence(forward, Metric::RocAuc),
    ///     "Challenger v3 outperforms champion v2. roc_auc: 1.0000 vs 0.7500 (+0.2500). \
    ///      Validation passed. Latency OK (0.95x).",
    /// );
    /// let backward = Candidates::new(&champion, Champion::Serving(&challenger), &[]);
    /// assert_eq!(
    ///     policy.decide(backward).sentence(backward, Metric::RocAuc),
    ///     "Challenger v2 does not replace champion v3: metric_improvement not met. \
    ///      roc_auc: 0.7500 vs 1.0000 (-0.2500, below the required improvement of 0.0010). \
    ///      Validation passed. Latency OK (1.05x).",
    /// );
    /// let first = Candidates::new(&challenger, Champion::None, &[]);
    /// assert_eq!(
    ///     policy.decide(first).sentence(first, Metric::RocAuc),
    ///     "First model v3 promoted: the registry has no champion. roc_auc: 1.0000. \
    ///      Validation passed. Latency 19.000 ms.",
    /// );
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn sentence(&self, candidates: Candidates<'_>, primary: Metric) -> String {
        let challenger = candidates.challenger.version;
        let better = candidates.improvement(primary).is_some_and(|improvement| improvement > 0.0);
        let mut text = match (candidates.champion, self.promote) {
            (Champion::None, true) => {
                format!("First model v{challenger} promoted: the registry has no champion")
            }
            (Champion::None, false) => format!("First model v{challenger} is not promoted"),
            (Champion::Serving(champion), true) => {
                let verb = if better { "outperforms" } else { "replaces" };
                format!("Challenger v{challenger} {verb} champion v{}", champion.version)
            }
            (Champion::Serving(champion), false) => {
                format!("Challenger v{challenger} does not replace champion v{}", champion.version)
            }
        };
        let failed: Vec<&str> = self.failures().map(|reason| reason.criterion.as_str()).collect();
        if !self.promote && !failed.is_empty() {
            text.push_str(": ");
            text.push_str(&failed.join(", "));
            text.push_str(" not met");
        }
        text.push('.');
        for reason in &self.reasons {
            text.push(' ');
            text.push_str(&reason.sentence);
        }
        text
    }
}

/// The decision that hangs on one reason alone.
impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        Self::new(reason.passed, vec![reason])
    }
}
