//! The loop that a schedule turns: monitor, and retrain and promote if that asks for it.

use std::fmt;

use super::alerts::open_drift_alert;
use super::deliver::Delivery;
use super::monitor::{Monitor, MonitorRun};
use super::retrain::{RetrainRequest, Retrained, Retraining};
use super::serving::load;
use crate::ledger::{Alert, RunState};
use crate::model::Progress;
use crate::record::Dataset;
use crate::registry::ModelName;
use crate::{Error, ErrorKind, Window};

/// What is done about an open drift alert.
///
/// ```
/// use pmmds::lifecycle::OnDrift;
/// assert_eq!(OnDrift::default(), OnDrift::Retrain);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnDrift {
    /// A challenger is trained, compared, and promoted if it is better.
    #[default]
    Retrain,
    /// Nothing: the alert is there for a person.
    Tell,
}

/// What became of an open drift alert in a cycle.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// There is none, nor a retraining run that lost its process.
    NotNeeded,
    /// It is left to a person.
    Told(Box<Alert>),
    /// Somebody else retrains or changes what is in production at this moment.
    Busy {
        /// who, and what
        why: String,
    },
    /// It was answered, now or before: one drift episode starts one run.
    Retrained(Box<Retrained>),
}

/// What a cycle found and did.
///
/// Printed, it is one line for a person:
///
/// ```
/// use pmmds::lifecycle::CycleRun;
///
/// fn tell(run: &CycleRun) -> String {
///     run.to_string() // "drift, 200 rows of v1; alert opened; retraining completed, v2 is promoted"
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CycleRun {
    /// the look at the window; `None` when certainly nothing is in production
    pub monitored: Option<MonitorRun>,
    /// what became of the alert
    pub answer: Answer,
    /// why receivers have not heard of every alert yet; `None` when they have, or there are none
    pub untold: Option<String>,
}

/// What a cycle saw before it does anything about it.
///
/// ```
/// use pmmds::lifecycle::CycleLook;
/// fn is_work(look: &CycleLook) -> bool {
///     look.alert.is_some() || look.unfinished
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CycleLook {
    /// the look at the window; `None` when certainly nothing is in production
    pub monitored: Option<MonitorRun>,
    /// the open alert about drift of what is in production
    pub alert: Option<Alert>,
    /// whether a retraining run stands as running; it may have lost its process
    pub unfinished: bool,
}

/// Monitor -> drift -> retrain -> promote, for one model: what a schedule does at every slot, and
/// what somebody does by hand.
///
/// * What somebody else did to the alias goes on record first ([`Promotion`](super::Promotion)).
/// * The window is [looked at](Monitor), which goes on record and opens and resolves alerts.
/// * An open drift alert about what is in production is [answered](Retraining) as [`OnDrift`] says:
///   one episode starts one retraining run, another takes a cooldown and new labelled rows, and
///   the asking may be repeated at every slot. A run that lost its process is gone on with.
///
/// Killed at any point, it is begun again with the same window: what is on record is not done twice.
///
/// ```
/// use std::time::Duration;
/// use pmmds::Error;
/// use pmmds::lifecycle::{Cycle, CycleRun, Monitor, OnDrift, Retraining};
/// use pmmds::record::Dataset;
/// use pmmds::registry::ModelName;
///
/// async fn hourly(
///     monitor: Monitor,
///     retraining: Retraining,
///     model: ModelName,
///     training: &Dataset,
/// ) -> Result<CycleRun, Error> {
///     let window = monitor.window(Duration::from_secs(24 * 3600)).await?;
///     let cycle = Cycle::new(monitor, retraining, model).on_drift(OnDrift::Retrain);
///     // The rows are asked for only where a retraining needs them.
///     cycle.run(window, async || Ok(training.clone()), &()).await
/// }
/// ```
#[derive(Debug)]
pub struct Cycle {
    monitor: Monitor,
    retraining: Retraining,
    model: ModelName,
    on_drift: OnDrift,
    delivery: Option<Delivery>,
}

impl Cycle {
    /// The cycle of `model`. `monitor` and `retraining` share their stores, and the alias is that
    /// of the retraining's promotion.
    #[must_use]
    pub fn new(monitor: Monitor, retraining: Retraining, model: ModelName) -> Self {
        Self { monitor, retraining, model, on_drift: OnDrift::default(), delivery: None }
    }

    /// What is done about an open drift alert. Defaults to [`OnDrift::Retrain`].
    #[must_use]
    pub fn on_drift(mut self, on_drift: OnDrift) -> Self {
        self.on_drift = on_drift;
        self
    }

    /// Receivers hear of alerts: after the look, so before a retraining, and again after one.
    ///
    /// A receiver that is away ends no cycle: see [`CycleRun::untold`].
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// The model that it is about.
    #[must_use]
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// Looks at `window`, and answers what it finds. `reference` gives the rows to train on beside
    /// recent labelled traffic, and is asked only when a run begins or goes on.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look) and [`answer`](Self::answer), and what `reference` reports. The look
    /// stays on record.
    pub async fn run<F, R>(
        &self,
        window: Window,
        reference: F,
        progress: &dyn Progress,
    ) -> Result<CycleRun, Error>
    where
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<Dataset, Error>> + Send,
    {
        let look = self.look(window).await?;
        let mut untold = self.tell().await;
        let answer = match (self.on_drift, &look.alert) {
            (OnDrift::Tell, Some(alert)) => Answer::Told(Box::new(alert.clone())),
            (OnDrift::Tell, None) => Answer::NotNeeded,
            (OnDrift::Retrain, None) if !look.unfinished => Answer::NotNeeded,
            (OnDrift::Retrain, _) => self.answer(&look, &reference().await?, progress).await?,
        };
        if matches!(answer, Answer::Retrained(_)) {
            untold = self.tell().await;
        }
        Ok(CycleRun { monitored: look.monitored, answer, untold })
    }

    /// Tells the receivers; why some have not heard.
    async fn tell(&self) -> Option<String> {
        self.delivery.as_ref()?.untold(&self.model).await
    }

    /// Records what somebody else did to the alias, and looks at `window` of what is in production.
    ///
    /// # Errors
    ///
    /// As [`Monitor::run`]; and when what is in production cannot be loaded, which is never
    /// "nothing".
    pub async fn look(&self, window: Window) -> Result<CycleLook, Error> {
        let promotion = &self.retraining.promotion;
        match promotion.reconcile(&self.model).await {
            // Whoever changes the model at this moment sees to it.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let formats = &self.retraining.formats;
        let served = load(&*promotion.registry, formats, &self.model, &promotion.alias).await?;
        let (mut monitored, mut alert) = (None, None);
        if let Some(served) = served {
            let version = served.version();
            let run = self.monitor.run(&self.model, version, served.profile(), window).await?;
            monitored = Some(run);
            alert = open_drift_alert(&*promotion.ledger, &self.model, version).await?;
        }
        let unfinished = self.retraining.is_unfinished(&self.model).await?;
        Ok(CycleLook { monitored, alert, unfinished })
    }

    /// Answers the alert of `look`, or goes on with a run that lost its process.
    ///
    /// # Errors
    ///
    /// As [`Retraining::run`], but for [`Conflict`](ErrorKind::Conflict): that is
    /// [`Answer::Busy`].
    pub async fn answer(
        &self,
        look: &CycleLook,
        reference: &Dataset,
        progress: &dyn Progress,
    ) -> Result<Answer, Error> {
        let retrained = match &look.alert {
            Some(alert) => {
                let request = RetrainRequest::for_alert(alert, reference);
                self.retraining.run(&request, progress).await.map(Some)
            }
            None => self.retraining.resume(&self.model, reference, progress).await,
        };
        match retrained {
            Ok(Some(done)) => Ok(Answer::Retrained(Box::new(done))),
            Ok(None) => Ok(Answer::NotNeeded),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Ok(Answer::Busy { why: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for CycleRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(done) = &self.monitored else {
            f.write_str("nothing is in production")?;
            return self.answer.fmt(f);
        };
        let report = &done.run.report;
        let (verdict, rows, version) =
            (report.verdict.headline(), report.current_rows, done.run.version);
        write!(f, "{verdict}, {rows} rows of v{version}")?;
        match (&done.alert, done.opened) {
            (Some(_), true) => f.write_str("; alert opened")?,
            (Some(_), false) => f.write_str("; alert still open")?,
            (None, _) => {}
        }
        if !done.resolved.is_empty() {
            write!(f, "; {} resolved", done.resolved.len())?;
        }
        self.answer.fmt(f)?;
        match &self.untold {
            Some(why) => write!(f, "; not every alert is delivered: {why}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Answer {
    /// What comes after the look, with its semicolon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self {
            Self::NotNeeded => return Ok(()),
            Self::Told(_) => return f.write_str("; retraining is left to a person"),
            Self::Busy { why } => return write!(f, "; no retraining now: {why}"),
            Self::Retrained(done) => done,
        };
        write!(f, "; retraining {}", done.run.state.as_str())?;
        match (done.promoted(), done.run.state, &done.run.message) {
            (Some(version), ..) => write!(f, ", v{version} is promoted"),
            (None, RunState::Completed, _) => f.write_str(", nothing is promoted"),
            (None, _, Some(message)) => write!(f, ": {message}"),
            (None, _, None) => Ok(()),
        }
    }
}
