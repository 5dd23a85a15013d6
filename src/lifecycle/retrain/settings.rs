//! What retraining is told: settings, the request, and what comes back.

use std::time::Duration;

use super::super::holdout::Holdout;
use super::RETRAIN;
use crate::ledger::{Alert, DecisionState, PromotionDecision, RetrainingRun, Trigger};
use crate::model::Folds;
use crate::promote::Metric;
use crate::record::Dataset;
use crate::registry::{ModelName, VersionId};
use crate::{Error, ErrorKind};

/// How retraining is done.
///
/// ```
/// use std::time::Duration;
/// use pmmds::lifecycle::{Holdout, RetrainSettings};
///
/// use pmmds::promote::Metric;
///
/// let day = Duration::from_secs(24 * 3600);
/// let settings = RetrainSettings::default()
///     .primary_metric(Metric::LogLoss)
///     .holdout(Holdout::Time { share: 0.5, gap: Duration::ZERO })
///     .recent(30 * day)
///     .min_holdout_rows(500)
///     .validate_data(true) // stops at bad training data
///     .folds(10)
///     .level(0.99)
///     .cooldown(day)
///     .max_attempts(2);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct RetrainSettings {
    // None: the task's
    pub(super) primary_metric: Option<Metric>,
    pub(super) holdout: Holdout,
    pub(super) recent: Option<Duration>,
    pub(super) validate_data: bool,
    // at least 1
    pub(super) min_holdout_rows: usize,
    pub(super) folds: usize,
    pub(super) level: f64,
    pub(super) cooldown: Duration,
    // at least 1
    pub(super) max_attempts: u32,
}

impl Default for RetrainSettings {
    fn default() -> Self {
        Self {
            primary_metric: None,
            holdout: Holdout::default(),
            recent: None,
            validate_data: true,
            min_holdout_rows: 100,
            folds: 5,
            level: 0.95,
            cooldown: Duration::from_secs(3600),
            max_attempts: 3,
        }
    }
}

impl RetrainSettings {
    /// The metric that the record and its sentence are about. Defaults to that
    /// [of the task](Metric::primary): ROC-AUC, or RMSE.
    pub fn primary_metric(mut self, metric: Metric) -> Self {
        self.primary_metric = Some(metric);
        self
    }

    /// How rows are kept out of training. Defaults to a fifth of the entities.
    ///
    /// Until the log carries an entity, that of logged traffic is the request id: rows of one
    /// customer under two request ids can be on both sides. See [`Holdout::Hash`].
    pub fn holdout(mut self, holdout: Holdout) -> Self {
        self.holdout = holdout;
        self
    }

    /// How far back labelled traffic is used, before the start of the run. The challenger's
    /// profile is that of the holdout: with [`Holdout::Hash`] let this not reach beyond the last
    /// change, or today's traffic is compared with a mixture of before and after. Defaults to all
    /// that the log has.
    pub fn recent(mut self, length: Duration) -> Self {
        self.recent = Some(length);
        self
    }

    /// Whether training data that does not pass validation stops the run. Defaults to yes; without
    /// it nothing is known of the data, and the usual policy does not promote.
    pub fn validate_data(mut self, validate: bool) -> Self {
        self.validate_data = validate;
        self
    }

    /// Labelled rows that it takes to judge two models, at least 1. Two of each class it takes
    /// always, and two where there are none. Defaults to 100.
    pub fn min_holdout_rows(mut self, rows: usize) -> Self {
        self.min_holdout_rows = rows.max(1);
        self
    }

    /// Folds by which a first model gets scores on rows that it was not trained on. Defaults to 5.
    pub fn folds(mut self, folds: usize) -> Self {
        self.folds = folds;
        self
    }

    /// Confidence level of the paired intervals. Defaults to 0.95.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Time that must lie between two runs that drift has started. Defaults to an hour.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// How many times a run that died is begun before it is given up, and how many runs that
    /// failed an alert gets before it has to wait for the [`cooldown`](Self::cooldown), at least 1.
    /// Defaults to 3.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    pub(super) fn folds_by_entity(&self) -> Result<Folds, Error> {
        Folds::new(self.folds).map_err(|e| invalid("the folds cannot be used").with_source(e))
    }

    /// What can never work is found before anything is done.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !self.holdout.is_valid() {
            return Err(invalid(format!("{:?} leaves no rows on one side", self.holdout)));
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(invalid(format!("level {} is not between 0 and 1", self.level)));
        }
        self.folds_by_entity().map(drop)
    }
}

fn invalid(context: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, RETRAIN, context)
}

/// What to retrain, and why.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::ledger::Trigger;
/// use pmmds::lifecycle::RetrainRequest;
/// use pmmds::record::Dataset;
/// use pmmds::registry::ModelName;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let model = ModelName::new("churn")?;
/// let reference = Dataset::new(Arc::new(FeatureSchema::new([Feature::numeric("charges")])?));
/// let request = RetrainRequest::new(&model, Trigger::Manual, &reference);
/// assert!(request.alert.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RetrainRequest<'a> {
    /// the model
    pub model: &'a ModelName,
    /// what asks for it
    pub trigger: Trigger,
    /// the alert behind it. One alert starts one run, however often it is asked; another one if
    /// that did not end in a promotion, the cooldown is over and there are new labelled rows
    pub alert: Option<&'a Alert>,
    /// the rows to train on beside recent labelled traffic; for a first model, all there are
    pub reference: &'a Dataset,
}

impl<'a> RetrainRequest<'a> {
    /// A request without an alert behind it.
    #[must_use]
    pub fn new(model: &'a ModelName, trigger: Trigger, reference: &'a Dataset) -> Self {
        Self { model, trigger, alert: None, reference }
    }

    /// The request that `alert` makes.
    ///
    /// ```
    /// use pmmds::ledger::{Alert, Trigger};
    /// use pmmds::lifecycle::RetrainRequest;
    /// use pmmds::record::Dataset;
    ///
    /// fn answer<'a>(alert: &'a Alert, reference: &'a Dataset) -> RetrainRequest<'a> {
    ///     let request = RetrainRequest::for_alert(alert, reference);
    ///     assert_eq!((request.model, request.trigger), (&alert.model, Trigger::Drift));
    ///     request
    /// }
    /// ```
    #[must_use]
    pub fn for_alert(alert: &'a Alert, reference: &'a Dataset) -> Self {
        Self { model: &alert.model, trigger: Trigger::Drift, alert: Some(alert), reference }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self.alert {
            Some(alert) if alert.model != *self.model => {
                let context =
                    format!("alert {} is about {}, not {}", alert.id, alert.model, self.model);
                Err(invalid(context))
            }
            _ => Ok(()),
        }
    }
}

/// How a retraining run ended.
///
/// ```
/// use pmmds::lifecycle::Retrained;
///
/// fn tell(done: &Retrained) -> String {
///     match (done.promoted(), &done.decision, &done.run.message) {
///         (Some(version), ..) => format!("version {version} is in production"),
///         (None, Some(decision), _) => decision.reason.clone(),
///         (None, None, Some(why)) => format!("{}: {why}", done.run.state.as_str()),
///         _ => done.run.state.as_str().to_owned(),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Retrained {
    /// the run as it is on record
    pub run: RetrainingRun,
    /// the decision it led to; `None` where it ended before
    pub decision: Option<PromotionDecision>,
}

impl Retrained {
    /// The version that this run put into production.
    #[must_use]
    pub fn promoted(&self) -> Option<VersionId> {
        let done = |decision: &&PromotionDecision| {
            decision.promoted && decision.state == DecisionState::Done
        };
        self.decision.as_ref().filter(done).map(|decision| decision.challenger)
    }
}
