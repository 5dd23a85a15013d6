//! What a policy decides on: the challenger, the champion, and what they differ by.

use super::{Evaluation, Latency, Metric, PairedDifference};
use crate::registry::VersionId;
use crate::validate::ValidationReport;

/// Whether the data that a model was trained on passed validation.
///
/// ```
/// use pmmds::promote::Validation;
/// assert_eq!(Validation::Failed { errors: 3 }.passed(), Some(false));
/// assert_eq!(Validation::NotDone.passed(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Validation {
    /// Every row was valid.
    Passed,
    /// Some were not.
    Failed {
        /// exact number of errors
        errors: u64,
    },
    /// Nobody looked: validation was turned off.
    NotDone,
}

impl Validation {
    /// Whether it passed; `None` where nobody looked.
    #[must_use]
    pub fn passed(self) -> Option<bool> {
        match self {
            Self::Passed => Some(true),
            Self::Failed { .. } => Some(false),
            Self::NotDone => None,
        }
    }

    /// Number of errors; `None` where nobody looked.
    #[must_use]
    pub fn errors(self) -> Option<u64> {
        match self {
            Self::Passed => Some(0),
            Self::Failed { errors } => Some(errors),
            Self::NotDone => None,
        }
    }
}

impl From<&ValidationReport> for Validation {
    fn from(report: &ValidationReport) -> Self {
        match report.errors() {
            0 => Self::Passed,
            errors => Self::Failed { errors },
        }
    }
}

/// One of the two models that are compared, with what is known about it.
///
/// What was not measured stays absent, and no rule of this crate takes the absent for good.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{Candidate, Evaluation, Metric, Validation};
/// use pmmds::registry::VersionId;
///
/// let evaluation = Evaluation::of(Task::binary(), &[0.9, 0.2], &[1.0, 0.0])?;
/// let candidate = Candidate::new(VersionId::FIRST, Validation::Passed).evaluation(evaluation);
/// assert_eq!(candidate.metric(Metric::RocAuc), Some(1.0));
/// assert_eq!(candidate.latency, None);
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// its version in the registry
    pub version: VersionId,
    /// the verdict on its training data
    pub validation: Validation,
    /// its metrics on the holdout; `None` if it could not be evaluated
    pub evaluation: Option<Evaluation>,
    /// its latency; `None` if it was not measured
    pub latency: Option<Latency>,
}

impl Candidate {
    /// A version of which no more than the verdict on its training data is known.
    #[must_use]
    pub fn new(version: VersionId, validation: Validation) -> Self {
        Self { version, validation, evaluation: None, latency: None }
    }

    /// Its metrics on the holdout, the same rows for both candidates. Defaults to unknown.
    #[must_use]
    pub fn evaluation(mut self, evaluation: Evaluation) -> Self {
        self.evaluation = Some(evaluation);
        self
    }

    /// Its latency, from [`measure_interleaved`](super::measure_interleaved) with the other
    /// candidate. Defaults to unknown.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = Some(latency);
        self
    }

    /// The value of `metric`; `None` if it is unknown or does not exist.
    #[must_use]
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.evaluation.as_ref()?.get(metric)
    }
}

/// What is in production.
///
/// There is no variant for "could not find out": an outage of the registry is no missing champion,
/// and nothing may be decided then.
///
/// ```
/// use pmmds::promote::{Candidate, Candidates, Champion, Validation};
/// use pmmds::registry::VersionId;
/// let first = Candidate::new(VersionId::FIRST, Validation::Passed);
/// assert!(Candidates::new(&first, Champion::None, &[]).serving().is_none());
/// assert!(Candidates::new(&first, Champion::Serving(&first), &[]).serving().is_some());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Champion<'a> {
    /// The registry *confirmed* that there is none. The challenger would be the first.
    None,
    /// This version serves.
    Serving(&'a Candidate),
}

/// The question that a [`PromotionPolicy`](super::PromotionPolicy) answers: shall this challenger
/// take the place of this champion?
///
/// ```
/// use pmmds::promote::{Candidate, Candidates, Champion, Metric, Validation};
/// use pmmds::registry::VersionId;
///
/// let first = Candidate::new(VersionId::FIRST, Validation::Passed);
/// let second = Candidate::new(VersionId::new(2).unwrap(), Validation::Passed);
/// let candidates = Candidates::new(&second, Champion::Serving(&first), &[]);
/// assert_eq!(candidates.serving().unwrap().version, VersionId::FIRST);
/// assert_eq!(candidates.improvement(Metric::RocAuc), None, "nothing was measured");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Candidates<'a> {
    /// the version just trained
    pub challenger: &'a Candidate,
    /// what is in production
    pub champion: Champion<'a>,
    /// the differences between them on the same rows, at most one per metric
    pub differences: &'a [PairedDifference],
}

impl<'a> Candidates<'a> {
    /// `challenger` against `champion`; `differences` may be empty.
    #[must_use]
    pub fn new(
        challenger: &'a Candidate,
        champion: Champion<'a>,
        differences: &'a [PairedDifference],
    ) -> Self {
        Self { challenger, champion, differences }
    }

    /// The champion, if there is one.
    #[must_use]
    pub fn serving(&self) -> Option<&'a Candidate> {
        match self.champion {
            Champion::None => None,
            Champion::Serving(champion) => Some(champion),
        }
    }

    /// How much better the challenger is in `metric`, positive meaning better.
    ///
    /// `None` if there is no champion, either value is unknown, or the evaluations are plainly of
    /// different rows: on other rows, other numbers of positives among them, labels of another
    /// spread or other weights, a metric measures the rows as much as the model.
    #[must_use]
    pub fn improvement(&self, metric: Metric) -> Option<f64> {
        let before = self.serving()?.evaluation.as_ref()?;
        let after = self.challenger.evaluation.as_ref()?;
        if !before.may_share_rows(after) {
            return None;
        }
        Some(metric.improvement(before.get(metric)?, after.get(metric)?))
    }

    /// The [`improvement`](Self::improvement) in `metric` as a share of the champion's value, of
    /// its size for a negative one; `None` where the improvement is, and for a champion at 0.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// use pmmds::promote::{Candidate, Candidates, Champion, Evaluation, Metric, Validation};
    /// use pmmds::registry::VersionId;
    /// let of = |score| Evaluation::of(Task::Regression, &[score], &[10.0]);
    /// let candidate = Candidate::new(VersionId::FIRST, Validation::Passed);
    /// let (before, after) = (candidate.clone().evaluation(of(14.0)?), candidate.evaluation(of(13.0)?));
    /// let candidates = Candidates::new(&after, Champion::Serving(&before), &[]);
    /// assert_eq!(candidates.relative_improvement(Metric::Mae), Some(0.25));
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    #[must_use]
    pub fn relative_improvement(&self, metric: Metric) -> Option<f64> {
        let before = self.serving()?.metric(metric)?;
        let share = self.improvement(metric)? / before.abs();
        Some(share).filter(|share| share.is_finite())
    }

    /// The paired difference in `metric`, if it was measured.
    #[must_use]
    pub fn difference(&self, metric: Metric) -> Option<&'a PairedDifference> {
        self.differences.iter().find(|difference| difference.metric() == metric)
    }

    /// The challenger's mean latency over the champion's; `None` if either is unknown.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::promote::{Candidate, Candidates, Champion, Latency, Validation};
    /// use pmmds::registry::VersionId;
    /// let candidate = |millis| {
    ///     let latency = Latency::from_samples(&[Duration::from_millis(millis)]).unwrap();
    ///     assert_eq!((latency.p95_ms(), latency.p99_ms()), (latency.mean_ms(), latency.mean_ms()));
    ///     Candidate::new(VersionId::FIRST, Validation::Passed).latency(latency)
    /// };
    /// let (champion, challenger) = (candidate(4), candidate(6));
    /// let candidates = Candidates::new(&challenger, Champion::Serving(&champion), &[]);
    /// assert_eq!(candidates.latency_ratio(), Some(1.5));
    /// ```
    #[must_use]
    pub fn latency_ratio(&self) -> Option<f64> {
        self.challenger.latency?.ratio_to(&self.serving()?.latency?)
    }
}
