//! Makes a challenger out of recent labelled traffic and lets the policy decide.
//!
//! Every step is on record before the next begins, and each can be repeated: the run's id is the
//! registry's tag of the version it made, so that a run that was killed goes on with that version
//! and never makes a second one.
//!
//! | file | what |
//! |---|---|
//! | `settings` | settings, the request, the result |
//! | `runs` | which run it is: one that was killed, a new one, or one that is over |
//! | `material` | the rows: which train, which judge, whether there are enough |
//! | `challenger` | fit, pack, register, stage |
//! | `compare` | champion and challenger on the same rows, and the decision |

mod challenger;
mod compare;
mod material;
mod runs;
mod settings;

use std::sync::Arc;

use super::promote::Promotion;
use super::serving::{ServingModel, load};
use super::turn::Turn;
use crate::ledger::{Alert, DecisionState, PromotionDecision, RetrainingRun, RunState, Trigger};
use crate::model::{ModelFormat, Progress, Trainer};
use crate::promote::PromotionPolicy;
use crate::record::Dataset;
use crate::registry::{MAX_TAG_BYTES, ModelName};
use crate::{Error, ErrorKind};

use runs::Begun;
pub use settings::{RetrainRequest, RetrainSettings, Retrained};

/// Name of this component in errors.
const RETRAIN: &str = "retrain";

/// Runs of the past that are looked through.
const RECENT: usize = 100;

/// Tag of a version that was not promoted; its value says why.
const REJECTED_TAG: &str = "pmmds.rejected";

/// Trains challengers and has them compared with the champion.
///
/// The steps, each on record before the next: rows gathered and validated; challenger fitted,
/// registered, and pointed at by the alias `staging`; champion and challenger judged **on the same
/// rows, in the training set of neither**; the [policy](PromotionPolicy) decides; the decision is
/// [carried out](Promotion). With nothing in production the first model is trained on the
/// reference, judged across folds, and promoted only when the registry *confirms* that there is
/// none before it.
///
/// What is on record at the end:
///
/// | state | meaning |
/// |---|---|
/// | `completed` | the policy decided; `promoted` says how |
/// | `skipped` | there was nothing to do, for example no new data |
/// | `failed` | an error, the reason with it; production is untouched |
/// | `running` | under way; or killed, or cut off from a store when the challenger stood |
/// | `abandoned` | killed too often, or its rows have changed since |
///
/// A run that stands as `running` without a process is taken up by the next call, whatever that
/// asks for, and is its answer.
///
/// Fitting is a computation of any length inside the future: give it a thread of its own, not one
/// that serves requests.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::ledger::Trigger;
/// use pmmds::lifecycle::{Environment, Promotion, RetrainRequest, Retraining};
/// use pmmds::memory::{MemoryLedger, MemoryLog, MemoryRegistry};
/// # use pmmds::model::{Model, ModelFormat, Progress, Task, TrainedModel, Trainer};
/// # use pmmds::record::Value;
/// use pmmds::record::{Dataset, Row};
/// use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// use uuid::Uuid;
/// # #[derive(Debug, Default)]
/// # struct Counting(std::sync::atomic::AtomicU64);
/// # impl Environment for Counting {
/// #     fn new_id(&self) -> Uuid {
/// #         Uuid::from_u128(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed).into())
/// #     }
/// #     fn elapsed(&self) -> Duration { Duration::ZERO }
/// # }
/// # #[derive(Debug)]
/// # struct Step(Arc<FeatureSchema>);
/// # impl Model for Step {
/// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
/// #     fn task(&self) -> Task { Task::binary() }
/// #     fn score(&self, row: &Row) -> f64 {
/// #         match row.values()[0] { Value::Number(x) if x > 50.0 => 0.9, _ => 0.1 }
/// #     }
/// # }
/// # #[derive(Debug)]
/// # struct Steps;
/// # impl Trainer for Steps {
/// #     fn name(&self) -> &str { "steps" }
/// #     fn fit(&self, data: &Dataset, _: &dyn Progress) -> Result<TrainedModel, pmmds::Error> {
/// #         let model = Arc::new(Step(Arc::clone(data.schema())));
/// #         Ok(TrainedModel::new(model, "steps.v1", Vec::new()))
/// #     }
/// # }
/// # impl ModelFormat for Steps {
/// #     fn name(&self) -> &str { "steps.v1" }
/// #     fn load(&self, _: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, pmmds::Error> {
/// #         Ok(Arc::new(Step(Arc::clone(schema))))
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH));
/// let ledger = Arc::new(MemoryLedger::with_clock(|| Timestamp::EPOCH));
/// let registry = Arc::new(MemoryRegistry::new());
/// # let environment = Arc::new(Counting::default());
/// let promotion = Promotion::new(registry, log, ledger, environment, "replica-1");
///
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("charges")])?);
/// let mut reference = Dataset::new(Arc::clone(&schema));
/// for customer in 0..200 {
///     let mut row = Row::missing(&schema);
///     row.set(schema.id("charges").unwrap(), Value::Number(f64::from(customer % 100)));
///     reference.push(&row, f64::from(u8::from(customer % 100 > 50)), customer.to_string());
/// }
/// # let (trainer, formats): (_, Vec<Arc<dyn ModelFormat>>) = (Arc::new(Steps), vec![Arc::new(Steps)]);
/// let retraining = Retraining::new(promotion, trainer, formats);
/// let model = ModelName::new("churn")?;
/// let request = RetrainRequest::new(&model, Trigger::Manual, &reference);
/// let done = retraining.run(&request, &()).await?;
/// assert_eq!(done.promoted(), Some(VersionId::FIRST));
///
/// // From now on it takes labelled traffic to judge the next one.
/// let done = retraining.run(&request, &()).await?;
/// assert_eq!(
///     done.run.message.as_deref(),
///     Some("0 labelled rows to judge the models on, 100 are needed"),
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Retraining {
    pub(super) promotion: Promotion,
    trainer: Arc<dyn Trainer>,
    pub(super) formats: Vec<Arc<dyn ModelFormat>>,
    // None: the original's, of the task
    policy: Option<Arc<dyn PromotionPolicy>>,
    settings: RetrainSettings,
}

/// What follows on a run that is abandoned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Another one for the request.
    Another,
    /// None.
    Nothing,
}

/// How the work of a run ended, when it did not fail.
enum Ending {
    Skipped(String),
    // Another run has to begin from the start.
    Abandoned(String),
    Decided(Box<PromotionDecision>),
}

impl Retraining {
    /// Retraining with the original's policy. `formats` must read what `trainer` makes.
    #[must_use]
    pub fn new(
        promotion: Promotion,
        trainer: Arc<dyn Trainer>,
        formats: Vec<Arc<dyn ModelFormat>>,
    ) -> Self {
        Self { promotion, trainer, formats, policy: None, settings: RetrainSettings::default() }
    }

    /// The policy. Defaults to that of the original,
    /// [for the task](crate::promote::OriginalPolicy::of).
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn PromotionPolicy>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// The settings. Defaults to [`RetrainSettings::default`].
    #[must_use]
    pub fn settings(mut self, settings: RetrainSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Runs through every step, or goes on with a run that was killed.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another process retrains or changes the model, or
    /// when the alias is gone although a version was in production;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for settings out of range and for data that does
    /// not pass validation or cannot be learned from; and whatever the stores report.
    pub async fn run(
        &self,
        request: &RetrainRequest<'_>,
        progress: &dyn Progress,
    ) -> Result<Retrained, Error> {
        self.settings.check()?;
        request.check()?;
        let name = format!("retrain/{}", request.model);
        let mut turn = self.promotion.turns.take(RETRAIN, name).await?;
        let result = self.run_under(request, &mut turn, progress, Then::Another).await;
        turn.give_back().await;
        result
    }

    /// Goes on with a run that lost its process, if there is one, and begins none. `reference` is
    /// that of [`RetrainRequest`].
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); a [`Conflict`](ErrorKind::Conflict) if it has not lost its process.
    ///
    /// ```
    /// use pmmds::lifecycle::Retraining;
    /// use pmmds::record::Dataset;
    /// use pmmds::registry::ModelName;
    ///
    /// /// At the start of a service.
    /// async fn pick_up(retraining: &Retraining, model: &ModelName, training: &Dataset) {
    ///     match retraining.resume(model, training, &()).await {
    ///         Ok(Some(done)) => println!("gone on with {}: {}", done.run.id, done.run.state.as_str()),
    ///         Ok(None) => {}
    ///         Err(error) => eprintln!("{}", error.chain()),
    ///     }
    /// }
    /// ```
    pub async fn resume(
        &self,
        model: &ModelName,
        reference: &Dataset,
        progress: &dyn Progress,
    ) -> Result<Option<Retrained>, Error> {
        self.settings.check()?;
        if !self.is_unfinished(model).await? {
            return Ok(None);
        }
        let mut turn = self.promotion.turns.take(RETRAIN, format!("retrain/{model}")).await?;
        // Its process may have ended it in between; with the turn, nobody else does.
        let result = match self.is_unfinished(model).await {
            Ok(true) => {
                let request = RetrainRequest::new(model, Trigger::Scheduled, reference);
                self.run_under(&request, &mut turn, progress, Then::Nothing).await.map(Some)
            }
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        turn.give_back().await;
        result
    }

    /// Whether a run stands as running.
    pub(super) async fn is_unfinished(&self, model: &ModelName) -> Result<bool, Error> {
        let recent = self.promotion.ledger.retraining_runs(model, None, RECENT).await?.items;
        Ok(recent.iter().any(|run| run.state == RunState::Running))
    }

    async fn run_under(
        &self,
        request: &RetrainRequest<'_>,
        turn: &mut Turn,
        progress: &dyn Progress,
        then: Then,
    ) -> Result<Retrained, Error> {
        loop {
            let mut run = match self.begin(request, turn).await? {
                Begun::Go(run) => run,
                Begun::Over(run) => return self.look_up(run).await,
            };
            let decision = match self.work(&mut run, request, turn, progress).await {
                Ok(Ending::Skipped(why)) => {
                    (run.state, run.message) = (RunState::Skipped, Some(why));
                    None
                }
                Ok(Ending::Abandoned(why)) => {
                    (run.state, run.message) = (RunState::Abandoned, Some(why));
                    None
                }
                Ok(Ending::Decided(decision)) => {
                    run.state = RunState::Completed;
                    run.decision = Some(decision.id);
                    run.challenger = Some(decision.challenger);
                    run.promoted = Some(decision.promoted && decision.state == DecisionState::Done);
                    Some(*decision)
                }
                Err(error) => {
                    self.fail(run, &error, turn).await;
                    return Err(error);
                }
            };
            run.finished_at = Some(self.promotion.log.now().await?.max(run.started_at));
            self.promotion.ledger.record_retraining_run(&run, Some(turn.lease())).await?;
            if run.state != RunState::Abandoned || then == Then::Nothing {
                return Ok(Retrained { run, decision });
            }
        }
    }

    async fn look_up(&self, run: RetrainingRun) -> Result<Retrained, Error> {
        let decision = match run.decision {
            Some(id) => Some(self.promotion.ledger.decision(id).await?),
            None => None,
        };
        Ok(Retrained { run, decision })
    }

    /// Writes down that `run` failed. If its decision may have been carried out, or a store was out
    /// of reach when its challenger stood in the registry, it goes on with the next call instead.
    /// `error` itself says more than one about writing it down.
    async fn fail(&self, mut run: RetrainingRun, error: &Error, turn: &Turn) {
        let goes_on = run.decision.is_some()
            || (run.challenger.is_some() && error.kind() == ErrorKind::Unavailable);
        run.message = Some(error.chain());
        if !goes_on {
            run.state = RunState::Failed;
            run.finished_at = self.promotion.log.now().await.ok();
        }
        let _ = self.promotion.ledger.record_retraining_run(&run, Some(turn.lease())).await;
    }

    async fn work(
        &self,
        run: &mut RetrainingRun,
        request: &RetrainRequest<'_>,
        turn: &mut Turn,
        progress: &dyn Progress,
    ) -> Result<Ending, Error> {
        let alert = self.link_alert(run).await?;
        self.promotion.reconcile(&run.model).await?;
        if let Some(decision) = self.decided_before(run).await? {
            self.tag_rejected(&decision).await?;
            return Ok(Ending::Decided(Box::new(decision)));
        }
        run.decision = None;
        if run.attempts > self.settings.max_attempts {
            let why = format!("it was begun {} times and did not end", run.attempts - 1);
            return Ok(Ending::Abandoned(why));
        }
        let champion = self.champion(&run.model).await?;
        if let Some(why) = alert.and_then(|alert| is_obsolete(&alert, champion.as_ref())) {
            return Ok(Ending::Skipped(why));
        }
        self.step(run, turn, "gather data", progress).await?;
        let material = self.gather(run, request, champion.as_ref()).await?;
        if let Some(why) = self.not_enough(run, champion.as_ref(), &material).await? {
            return Ok(Ending::Skipped(why));
        }
        if self.settings.validate_data {
            material.check()?;
        }
        self.step(run, turn, "train", progress).await?;
        let Some(challenger) = self.challenger(run, &material, turn, progress).await? else {
            let why = "its rows have changed since it registered its version";
            return Ok(Ending::Abandoned(why.to_owned()));
        };
        run.challenger = Some(challenger.version);
        if champion.as_ref().is_some_and(|champion| champion.version() == challenger.version) {
            let why = format!("v{} is in production already", challenger.version);
            return Ok(Ending::Skipped(why));
        }
        self.step(run, turn, "stage", progress).await?;
        self.stage(&run.model, &challenger).await?;
        self.step(run, turn, "compare", progress).await?;
        let decision = self.compare(run, champion.as_ref(), &material, &challenger).await?;
        run.decision = Some(decision.id);
        self.step(run, turn, "decide", progress).await?;
        let decision = self.promotion.carry_out(decision).await?;
        self.tag_rejected(&decision).await?;
        Ok(Ending::Decided(Box::new(decision)))
    }

    async fn step(
        &self,
        run: &mut RetrainingRun,
        turn: &mut Turn,
        step: &str,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        turn.renew().await?;
        run.step = step.to_owned();
        self.promotion.ledger.record_retraining_run(run, Some(turn.lease())).await?;
        progress.step(step, 0, 1);
        Ok(())
    }

    /// The alert behind `run` as it is now, with the run on it.
    async fn link_alert(&self, run: &RetrainingRun) -> Result<Option<Alert>, Error> {
        let Some(id) = run.alert else { return Ok(None) };
        let mut alert = self.promotion.ledger.alert(id).await?;
        if alert.retraining_run.is_none() {
            alert.retraining_run = Some(run.id);
            self.promotion.ledger.update_alert(&alert).await?;
        }
        Ok(Some(alert))
    }

    /// The decision of this run, if it was carried out before the run was killed.
    async fn decided_before(
        &self,
        run: &RetrainingRun,
    ) -> Result<Option<PromotionDecision>, Error> {
        let Some(id) = run.decision else { return Ok(None) };
        match self.promotion.ledger.decision(id).await {
            Ok(decision) => Ok(Some(decision).filter(|d| d.state == DecisionState::Done)),
            // It was killed before the decision went on record.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is in production. Nothing is nothing only if the registry says so *and* no version that
    /// it has is on record as having been there.
    async fn champion(&self, model: &ModelName) -> Result<Option<ServingModel>, Error> {
        let Promotion { registry, alias, .. } = &self.promotion;
        if let Some(champion) = load(&**registry, &self.formats, model, alias).await? {
            return Ok(Some(champion));
        }
        let Some(last) = self.promotion.last_change(model, |_| true).await? else {
            return Ok(None);
        };
        let version = last.challenger;
        match registry.get(model, version).await {
            Ok(_) => {
                let context = format!(
                    "alias {alias} of {model} points at nothing, on record is v{version}; restore \
                     a version"
                );
                Err(Error::new(ErrorKind::Conflict, RETRAIN, context))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says at the version itself why it was not promoted.
    async fn tag_rejected(&self, decision: &PromotionDecision) -> Result<(), Error> {
        if decision.promoted {
            return Ok(());
        }
        let PromotionDecision { model, challenger, reason, .. } = decision;
        let mut why = reason.replace('\0', " ");
        let mut end = why.len().min(MAX_TAG_BYTES);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        why.truncate(end);
        self.promotion.registry.tag(model, *challenger, REJECTED_TAG, &why).await
    }
}

/// Why nothing has to be done about `alert` any more, if so.
fn is_obsolete(alert: &Alert, champion: Option<&ServingModel>) -> Option<String> {
    if let Some(at) = alert.resolved_at {
        return Some(format!("the alert was over at {at}"));
    }
    let champion = champion.map(ServingModel::version)?;
    (champion != alert.version)
        .then(|| format!("the alert is about v{}, in production is v{champion}", alert.version))
}
