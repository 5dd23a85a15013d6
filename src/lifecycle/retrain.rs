//! Makes a challenger out of recent labelled traffic and lets the policy decide.
//!
//! Every step is on record before the next begins, and each can be repeated: the run's id is the
//! registry's tag of the version it made, so that a run that was killed goes on with that version
//! and never makes a second one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::holdout::{Holdout, Side};
use super::promote::{PINNED_TAG, Promotion};
use super::serving::{ServingModel, load};
use crate::artifact::{ModelArtifact, TrainingRecord};
use crate::drift::{Profile, ProfileOptions};
use crate::ledger::{
    Alert, DecisionKind, DecisionState, Lease, PromotionDecision, ReferenceDataset, RetrainingRun,
    RunState, Trigger,
};
use crate::log::LabelledEvent;
use crate::model::{Folds, ModelFormat, Progress, Trainer, out_of_fold_scores};
use crate::promote::{
    Candidate, Candidates, Champion, Decision, DecisionRecord, Evaluation, Metric, OriginalPolicy,
    PairedDifference, PairedRows, PromotionPolicy, Reason, Validation, measure_interleaved,
};
use crate::record::{Dataset, Row, decode_row};
use crate::registry::{Alias, ArtifactFiles, ModelName, ModelVersion, VersionId};
use crate::schema::Hasher;
use crate::validate::{SchemaValidator, ValidationReport, Violations};
use crate::{Error, ErrorKind, Timestamp, Window};

/// Name of this component in errors.
const RETRAIN: &str = "retrain";

/// Labelled events that are read at once.
const PAGE: usize = 5_000;

/// Runs of the past that are looked through.
const RECENT: usize = 100;

/// Errors of the training data that are kept as examples.
const EXAMPLES: usize = 100;

/// Rows and rounds of the latency comparison.
const LATENCY: (usize, usize) = (500, 20);

/// How retraining is done.
///
/// ```
/// use std::time::Duration;
/// use pmmds::lifecycle::{Holdout, RetrainSettings};
///
/// let settings = RetrainSettings::default()
///     .holdout(Holdout::Time { share: 0.5, gap: Duration::ZERO })
///     .min_holdout_rows(500);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct RetrainSettings {
    primary_metric: Metric,
    holdout: Holdout,
    validate_data: bool,
    min_holdout_rows: usize,
    folds: usize,
    level: f64,
    cooldown: Duration,
    max_attempts: u32,
}

impl Default for RetrainSettings {
    fn default() -> Self {
        Self {
            primary_metric: Metric::RocAuc,
            holdout: Holdout::default(),
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
    /// The metric that the record and its sentence are about. Defaults to [`Metric::RocAuc`].
    pub fn primary_metric(mut self, metric: Metric) -> Self {
        self.primary_metric = metric;
        self
    }

    /// How rows are kept out of training. Defaults to a fifth of the entities.
    pub fn holdout(mut self, holdout: Holdout) -> Self {
        self.holdout = holdout;
        self
    }

    /// Whether training data that does not pass validation stops the run. Defaults to yes; without
    /// it nothing is known of the data, and the usual policy does not promote.
    pub fn validate_data(mut self, validate: bool) -> Self {
        self.validate_data = validate;
        self
    }

    /// Labelled rows that it takes to judge two models. Defaults to 100.
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

    /// How many times a run that died is begun before it is given up. Defaults to 3.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }
}

/// What to retrain, and why.
#[derive(Debug, Clone, Copy)]
pub struct RetrainRequest<'a> {
    /// the model
    pub model: &'a ModelName,
    /// what asks for it
    pub trigger: Trigger,
    /// the alert behind it; one alert starts one run, however often it is asked
    pub alert: Option<&'a Alert>,
    /// the rows to train on beside recent labelled traffic; for a first model, all there are
    pub reference: &'a Dataset,
}

/// How a retraining run ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Retrained {
    /// the run as it is on record
    pub run: RetrainingRun,
    /// the decision it led to; `None` where it was skipped
    pub decision: Option<PromotionDecision>,
}

/// Trains challengers and has them compared with the champion.
#[derive(Debug)]
pub struct Retraining {
    promotion: Promotion,
    trainer: Arc<dyn Trainer>,
    formats: Vec<Arc<dyn ModelFormat>>,
    policy: Arc<dyn PromotionPolicy>,
    settings: RetrainSettings,
}

/// How the work of a run ended, when it did not fail.
enum Ending {
    Skipped(String),
    Decided(Box<PromotionDecision>),
}

/// Rows of one run, and what is known of them.
struct Material {
    training: Dataset,
    // rows in no training set, on which both models are judged; empty for a first model
    holdout: Dataset,
    report: ValidationReport,
}

/// The challenger as it stands in the registry.
struct Challenger {
    version: ModelVersion,
    artifact: ModelArtifact,
    // of rows it was not trained on
    scores: Vec<f64>,
}

impl Retraining {
    /// Retraining with the original's policy. `formats` must read what `trainer` makes.
    #[must_use]
    pub fn new(
        promotion: Promotion,
        trainer: Arc<dyn Trainer>,
        formats: Vec<Arc<dyn ModelFormat>>,
    ) -> Self {
        let policy = Arc::new(OriginalPolicy::new());
        Self { promotion, trainer, formats, policy, settings: RetrainSettings::default() }
    }

    /// The policy. Defaults to [`OriginalPolicy`].
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn PromotionPolicy>) -> Self {
        self.policy = policy;
        self
    }

    /// The settings. Defaults to [`RetrainSettings::default`].
    #[must_use]
    pub fn settings(mut self, settings: RetrainSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Runs through every step, or goes on with a run that was killed. With nothing in production
    /// it trains the first model on the reference; otherwise champion and challenger are judged on
    /// the same recent rows, in the training set of neither.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another process changes the model,
    /// [`InvalidInput`](ErrorKind::InvalidInput) for data that does not pass validation or cannot
    /// be learned from, and whatever the stores report. The run is on record as failed then.
    pub async fn run(
        &self,
        request: &RetrainRequest<'_>,
        progress: &dyn Progress,
    ) -> Result<Retrained, Error> {
        if !self.settings.holdout.is_valid() {
            let context = format!("{:?} leaves no rows on one side", self.settings.holdout);
            return Err(Error::new(ErrorKind::InvalidInput, RETRAIN, context));
        }
        let lease = self.promotion.turn(request.model).await?;
        let result = self.run_under(request, &lease, progress).await;
        let released = self.promotion.ledger.release_lease(&lease).await;
        let retrained = result?;
        released?;
        Ok(retrained)
    }

    async fn run_under(
        &self,
        request: &RetrainRequest<'_>,
        lease: &Lease,
        progress: &dyn Progress,
    ) -> Result<Retrained, Error> {
        self.promotion.reconcile_under(request.model, lease).await?;
        let mut run = match self.begin(request, lease).await? {
            Begun::Go(run) => run,
            Begun::Over(run) => {
                let decision = match run.decision {
                    Some(id) => Some(self.promotion.ledger.decision(id).await?),
                    None => None,
                };
                return Ok(Retrained { run, decision });
            }
        };
        let result = self.work(&mut run, request, lease, progress).await;
        run.finished_at = Some(self.promotion.log.now().await?);
        let decision = match result {
            Ok(Ending::Skipped(why)) => {
                (run.state, run.message) = (RunState::Skipped, Some(why));
                None
            }
            Ok(Ending::Decided(decision)) => {
                run.state = RunState::Completed;
                run.decision = Some(decision.id);
                run.promoted = Some(decision.promoted && decision.state == DecisionState::Done);
                Some(*decision)
            }
            Err(error) => {
                (run.state, run.message) = (RunState::Failed, Some(error.chain()));
                // The first error says what went wrong; one about writing it down does not.
                let _ = self.promotion.ledger.record_retraining_run(&run, Some(lease)).await;
                return Err(error);
            }
        };
        self.promotion.ledger.record_retraining_run(&run, Some(lease)).await?;
        self.close_alert(request, &run).await?;
        Ok(Retrained { run, decision })
    }

    /// The run to work on: one that was killed, or a new one, or none because it is over already.
    async fn begin(&self, request: &RetrainRequest<'_>, lease: &Lease) -> Result<Begun, Error> {
        let ledger = &self.promotion.ledger;
        let recent = ledger.retraining_runs(request.model, None, RECENT).await?.items;
        // Nobody else has the turn, so a run that is still under way has lost its process.
        let mut taken_up = None;
        for mut run in recent.iter().filter(|run| run.state == RunState::Running).cloned() {
            if taken_up.is_none() && run.attempts < self.settings.max_attempts {
                run.attempts += 1;
                taken_up = Some(run);
            } else {
                run.state = RunState::Abandoned;
                run.message = Some(format!("its process died, {} attempts", run.attempts));
                run.finished_at = Some(self.promotion.log.now().await?);
                ledger.record_retraining_run(&run, Some(lease)).await?;
            }
        }
        if let Some(run) = taken_up {
            ledger.record_retraining_run(&run, Some(lease)).await?;
            return Ok(Begun::Go(run));
        }
        let now = self.promotion.log.now().await?;
        let id = match request.alert {
            // One alert, one run: asked again, the same run is found.
            Some(alert) => derived_id("run of alert", alert.id, 0),
            None => self.promotion.environment.new_id(),
        };
        let mut run = RetrainingRun {
            id,
            model: request.model.clone(),
            trigger: request.trigger,
            alert: request.alert.map(|alert| alert.id),
            drift_run: request.alert.map(|alert| alert.drift_run),
            state: RunState::Running,
            step: "begin".to_owned(),
            attempts: 1,
            data: None,
            challenger: None,
            decision: None,
            promoted: None,
            message: None,
            details: BTreeMap::new(),
            started_at: now,
            finished_at: None,
        };
        if request.alert.is_some() {
            match ledger.retraining_run(id).await {
                Ok(past) if past.state != RunState::Failed => return Ok(Begun::Over(past)),
                Ok(past) if past.attempts >= self.settings.max_attempts => {
                    return Ok(Begun::Over(past));
                }
                Ok(past) => run.attempts = past.attempts + 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if request.trigger == Trigger::Drift
            && let Some(last) = recent
                .iter()
                .filter(|past| past.trigger == Trigger::Drift && past.id != id)
                .filter(|past| past.state == RunState::Completed)
                .filter_map(|past| past.finished_at)
                .max()
            && now.since(last) < self.settings.cooldown
        {
            run.state = RunState::Skipped;
            run.message = Some(format!(
                "cooldown: the last retraining for drift ended at {last}, less than {} s ago",
                self.settings.cooldown.as_secs()
            ));
            run.finished_at = Some(now);
            ledger.record_retraining_run(&run, Some(lease)).await?;
            return Ok(Begun::Over(run));
        }
        ledger.record_retraining_run(&run, Some(lease)).await?;
        if let Some(alert) = request.alert {
            let mut alert = ledger.alert(alert.id).await?;
            alert.retraining_run = Some(run.id);
            ledger.update_alert(&alert).await?;
        }
        Ok(Begun::Go(run))
    }

    async fn work(
        &self,
        run: &mut RetrainingRun,
        request: &RetrainRequest<'_>,
        lease: &Lease,
        progress: &dyn Progress,
    ) -> Result<Ending, Error> {
        if let Some(decision) = self.decided_before(run).await? {
            return Ok(Ending::Decided(Box::new(decision)));
        }
        let champion =
            load(&*self.promotion.registry, &self.formats, request.model, &self.promotion.alias)
                .await?;
        self.step(run, lease, "gather data", progress).await?;
        let material = self.gather(run, request, champion.as_ref()).await?;
        if let Some(why) = self.not_enough(run, champion.as_ref(), &material).await? {
            return Ok(Ending::Skipped(why));
        }
        if self.settings.validate_data && !material.report.passed() {
            let first = material.report.examples().first().map(ToString::to_string);
            let context = format!(
                "the training data has {} validation errors, the first: {}",
                material.report.errors(),
                first.unwrap_or_default()
            );
            return Err(Error::new(ErrorKind::InvalidInput, RETRAIN, context));
        }
        self.step(run, lease, "train", progress).await?;
        let challenger = self.challenger(run, request, &material, progress).await?;
        run.challenger = Some(challenger.version.version);
        self.step(run, lease, "register", progress).await?;
        self.stage(request.model, &challenger).await?;
        self.step(run, lease, "compare", progress).await?;
        let decision =
            self.compare(run, request, champion.as_ref(), &material, &challenger).await?;
        self.step(run, lease, "decide", progress).await?;
        let decision = self.promotion.carry_out(decision, lease).await?;
        if !decision.promoted {
            let registry = &self.promotion.registry;
            let version = challenger.version.version;
            registry.tag(request.model, version, "pmmds.rejected", &decision.reason).await?;
        }
        Ok(Ending::Decided(Box::new(decision)))
    }

    /// The decision of this run, if it was carried out before the run was killed.
    async fn decided_before(
        &self,
        run: &RetrainingRun,
    ) -> Result<Option<PromotionDecision>, Error> {
        let decisions = self.promotion.ledger.decisions(&run.model, None, RECENT).await?.items;
        let ours = |decision: &PromotionDecision| {
            decision.retraining_run == Some(run.id) && decision.state == DecisionState::Done
        };
        Ok(decisions.into_iter().find(ours))
    }

    async fn step(
        &self,
        run: &mut RetrainingRun,
        lease: &Lease,
        step: &str,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        self.promotion.renew(lease).await?;
        run.step = step.to_owned();
        progress.step(step, 0, 1);
        self.promotion.ledger.record_retraining_run(run, Some(lease)).await
    }

    async fn gather(
        &self,
        run: &mut RetrainingRun,
        request: &RetrainRequest<'_>,
        champion: Option<&ServingModel>,
    ) -> Result<Material, Error> {
        let schema = request.reference.schema();
        let mut holdout = Dataset::new(Arc::clone(schema));
        let training = match champion {
            None => request.reference.clone(),
            Some(champion) => {
                if champion.schema().fingerprint() != schema.fingerprint() {
                    let context = "the reference is of another schema than the champion";
                    return Err(Error::new(ErrorKind::Conflict, RETRAIN, context));
                }
                let rule = &self.settings.holdout;
                let kept: Vec<usize> = (0..request.reference.rows())
                    .filter(|row| {
                        rule.side_of_entity(request.reference.entity(*row)) == Side::Train
                    })
                    .collect();
                let mut training = request.reference.select(&kept);
                let events = self.labelled(request.model, run.started_at).await?;
                let entities: Vec<String> =
                    events.iter().map(|labelled| labelled.event.request_id.to_string()).collect();
                let keys: Vec<(Timestamp, &str)> = events
                    .iter()
                    .zip(&entities)
                    .map(|(labelled, entity)| (labelled.event.at, entity.as_str()))
                    .collect();
                let sides = rule.sides(&keys);
                for ((labelled, entity), side) in events.iter().zip(&entities).zip(sides) {
                    let row = row_of(labelled, request.reference)?;
                    let set = match side {
                        Side::Train => &mut training,
                        Side::Holdout => &mut holdout,
                        Side::Neither => continue,
                    };
                    set.push(&row, labelled.outcome, entity.as_str());
                }
                training
            }
        };
        let mut hasher = Hasher::new("pmmds retraining data 1");
        hasher.bytes(training.fingerprint().as_bytes()).bytes(holdout.fingerprint().as_bytes());
        run.data = Some(hasher.finish());
        run.details.insert("training_rows".to_owned(), training.rows().to_string());
        run.details.insert("holdout_rows".to_owned(), holdout.rows().to_string());
        let validator = SchemaValidator::new(Arc::clone(schema));
        let found = Violations::with_limit(EXAMPLES);
        let report = ValidationReport::of(&validator, training.columns(), found);
        Ok(Material { training, holdout, report })
    }

    /// Labelled traffic from before `until`, oldest first. The bound is the start of the run, so
    /// that a run that is taken up again sees the rows that it saw before.
    async fn labelled(
        &self,
        model: &ModelName,
        until: Timestamp,
    ) -> Result<Vec<LabelledEvent>, Error> {
        let start = until.saturating_sub(Duration::MAX);
        let Ok(window) = Window::new(start, until) else {
            return Ok(Vec::new());
        };
        let (mut events, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.promotion.log.labelled(model, window, cursor, PAGE).await?;
            events.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(events);
            }
        }
    }

    /// Why there is nothing to do, if so.
    async fn not_enough(
        &self,
        run: &RetrainingRun,
        champion: Option<&ServingModel>,
        material: &Material,
    ) -> Result<Option<String>, Error> {
        if champion.is_none() {
            return Ok(None);
        }
        let recent = self.promotion.ledger.retraining_runs(&run.model, None, RECENT).await?.items;
        let finished = |past: &&RetrainingRun| {
            past.id != run.id && matches!(past.state, RunState::Completed | RunState::Skipped)
        };
        // Of the same data the same model would come out again.
        if recent.iter().filter(finished).any(|past| past.data == run.data) {
            return Ok(Some("NoNewData: a run before was on the same rows".to_owned()));
        }
        let (have, need) = (material.holdout.rows(), self.settings.min_holdout_rows);
        if have < need {
            let why = format!("{have} labelled rows to judge the models on, {need} are needed");
            return Ok(Some(why));
        }
        let positives = material.holdout.labels().iter().filter(|label| **label > 0.5).count();
        if positives == 0 || positives == have {
            let why = format!("the {have} rows to judge the models on are all of one class");
            return Ok(Some(why));
        }
        Ok(None)
    }

    /// The version that this run has made already, or makes now.
    async fn challenger(
        &self,
        run: &RetrainingRun,
        request: &RetrainRequest<'_>,
        material: &Material,
        progress: &dyn Progress,
    ) -> Result<Challenger, Error> {
        let registry = &self.promotion.registry;
        let run_id = run.id.to_string();
        let made = registry.versions(request.model).await?;
        if let Some(version) = made.into_iter().find(|version| version.run_id == run_id) {
            let files = registry.fetch_artifact(request.model, version.version).await?;
            let artifact = ModelArtifact::open(&files, &self.formats)?;
            let scores = self.unseen_scores(&artifact, material, progress)?;
            return Ok(Challenger { version, artifact, scores });
        }
        let (files, scores) = self.train(run, material, progress)?;
        let artifact = ModelArtifact::open(&files, &self.formats)?;
        let version = registry.register(request.model, &run_id, &files).await?;
        Ok(Challenger { version, artifact, scores })
    }

    /// Scores of rows that the challenger was not trained on: of the holdout, or for a first model
    /// of every row by a model that was trained on the others.
    fn unseen_scores(
        &self,
        artifact: &ModelArtifact,
        material: &Material,
        progress: &dyn Progress,
    ) -> Result<Vec<f64>, Error> {
        if material.holdout.rows() > 0 {
            return Ok(artifact.model().score_batch(&material.holdout.columns().batch()));
        }
        self.out_of_fold(&material.training, progress)
    }

    fn out_of_fold(&self, data: &Dataset, progress: &dyn Progress) -> Result<Vec<f64>, Error> {
        let folds = Folds::new(self.settings.folds).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, RETRAIN, "the folds cannot be used").with_source(e)
        })?;
        out_of_fold_scores(&*self.trainer, data, folds, progress)
    }

    fn train(
        &self,
        run: &RetrainingRun,
        material: &Material,
        progress: &dyn Progress,
    ) -> Result<(ArtifactFiles, Vec<f64>), Error> {
        let trained = self.trainer.fit(&material.training, progress)?;
        // The profile is of the rows on which the challenger is accepted, not of its training
        // mixture: else the very traffic that promotes it would count as drift.
        let (judged, scores) = if material.holdout.rows() > 0 {
            let batch = material.holdout.columns().batch();
            (&material.holdout, trained.model.score_batch(&batch))
        } else {
            (&material.training, self.out_of_fold(&material.training, progress)?)
        };
        let batch = judged.columns().batch();
        let profile = ProfileOptions::new().scores(&scores).fit(&batch).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, RETRAIN, "the profile cannot be fitted")
                .with_source(e)
        })?;
        let evaluation = Evaluation::of(trained.model.task(), &scores, judged.labels());
        let metrics = evaluation.map_err(not_evaluated)?;
        let training = TrainingRecord {
            trainer: self.trainer.name().to_owned(),
            params: trained.params.clone(),
            data: run.data,
            rows: material.training.rows() as u64,
            holdout_rows: material.holdout.rows() as u64,
            holdout: match material.holdout.rows() {
                0 => format!("{} folds by entity", self.settings.folds),
                _ => format!("{:?}", self.settings.holdout),
            },
            metrics: metrics
                .metrics()
                .iter()
                .filter_map(|metric| Some((metric.name().to_owned(), metrics.get(*metric)?)))
                .collect(),
        };
        let artifact = ModelArtifact::pack(&trained, profile, &batch)?.with_training(training);
        let artifact = if self.settings.validate_data {
            artifact.with_validation(material.report.clone())
        } else {
            artifact
        };
        Ok((artifact.to_files()?, scores))
    }

    /// Points `staging` at the challenger while it is compared, and records its reference.
    async fn stage(&self, model: &ModelName, challenger: &Challenger) -> Result<(), Error> {
        let registry = &self.promotion.registry;
        let (alias, version) = (Alias::staging(), challenger.version.version);
        let before = registry.resolve(model, &alias).await?;
        registry.set_alias(model, &alias, version, before).await?;
        let profile: &Profile = challenger.artifact.profile();
        let reference = ReferenceDataset {
            name: format!("{model}-v{version}"),
            model: model.clone(),
            version,
            rows: profile.rows(),
            features: profile.features().len() as u64,
            profile: profile.fingerprint(),
            data: challenger.artifact.training().data,
            created_at: self.promotion.log.now().await?,
        };
        self.promotion.ledger.record_reference(&reference).await
    }

    async fn compare(
        &self,
        run: &RetrainingRun,
        request: &RetrainRequest<'_>,
        champion: Option<&ServingModel>,
        material: &Material,
        challenger: &Challenger,
    ) -> Result<PromotionDecision, Error> {
        let begun = self.promotion.environment.elapsed();
        let primary = self.settings.primary_metric;
        let task = challenger.artifact.model().task();
        let validation = validation_of(&challenger.artifact);
        let mut candidate = Candidate::new(challenger.version.version, validation);
        let mut differences: Vec<PairedDifference> = Vec::new();
        let mut against = None;
        if let Some(champion) = champion {
            let labels = material.holdout.labels();
            let batch = material.holdout.columns().batch();
            let champion_scores = champion.model().score_batch(&batch);
            let rows = PairedRows::new(task, &champion_scores, &challenger.scores, labels)
                .map_err(not_evaluated)?;
            differences.push(rows.difference(primary, self.settings.level).map_err(not_evaluated)?);
            let sample: Vec<Row> =
                (0..batch.rows().min(LATENCY.0)).map(|row| batch.row(row)).collect();
            let clock = || self.promotion.environment.elapsed();
            let (new, old) = (&**challenger.artifact.model(), &**champion.model());
            let latency = measure_interleaved(old, new, &sample, LATENCY.1, &clock);
            let mut present =
                Candidate::new(champion.version(), validation_of(champion.artifact()))
                    .evaluation(rows.champion().clone());
            candidate = candidate.evaluation(rows.challenger().clone());
            if let Some((old, new)) = latency {
                present = present.latency(old);
                candidate = candidate.latency(new);
            }
            against = Some(present);
        } else {
            let labels = material.training.labels();
            let evaluation = Evaluation::of(task, &challenger.scores, labels);
            candidate = candidate.evaluation(evaluation.map_err(not_evaluated)?);
        }
        let serving = against.as_ref().map_or(Champion::None, Champion::Serving);
        let candidates = Candidates::new(&candidate, serving, &differences);
        let mut decision = self.policy.decide(candidates);
        self.respect_pin(request.model, champion, &mut decision).await?;
        let at = self.promotion.log.now().await?;
        let id = derived_id("decision of run", run.id, run.attempts);
        let mut record = DecisionRecord::new(
            id.to_string(),
            at,
            request.model.clone(),
            candidates,
            &decision,
            primary,
        )
        .trigger_type(trigger_name(run.trigger))
        .challenger_run_id(run.id.to_string());
        if let Some(drift_run) = run.drift_run {
            record = record.drift_run_id(drift_run.to_string());
        }
        if let Some(champion) = champion {
            let version = self.promotion.registry.get(request.model, champion.version()).await?;
            record = record.champion_run_id(version.run_id);
        }
        let taken = self.promotion.environment.elapsed().saturating_sub(begun);
        let record = record.comparison_duration(taken);
        Ok(PromotionDecision {
            id,
            model: request.model.clone(),
            kind: DecisionKind::Promotion,
            champion: champion.map(ServingModel::version),
            challenger: challenger.version.version,
            promoted: decision.promote,
            reason: record.promotion_reason.clone(),
            state: DecisionState::Intended,
            retraining_run: Some(run.id),
            record: Some(record),
            created_at: at,
            updated_at: at,
        })
    }

    async fn respect_pin(
        &self,
        model: &ModelName,
        champion: Option<&ServingModel>,
        decision: &mut Decision,
    ) -> Result<(), Error> {
        let Some(version) = champion.map(ServingModel::version) else {
            return Ok(());
        };
        let known = self.promotion.registry.get(model, version).await?;
        if let Some(why) = known.tags.get(PINNED_TAG).filter(|why| !why.is_empty()) {
            decision.promote = false;
            let sentence = format!("Champion v{version} is pinned: {why}");
            decision.reasons.push(Reason::new("not_pinned", false, sentence));
        }
        Ok(())
    }

    /// A promotion is the answer to every alert about the version before it.
    async fn close_alert(
        &self,
        request: &RetrainRequest<'_>,
        run: &RetrainingRun,
    ) -> Result<(), Error> {
        if run.promoted != Some(true) {
            return Ok(());
        }
        let ledger = &self.promotion.ledger;
        for mut alert in ledger.open_alerts(request.model).await? {
            if Some(alert.version) != run.challenger {
                alert.resolved_at = run.finished_at;
                ledger.update_alert(&alert).await?;
            }
        }
        Ok(())
    }
}

/// What [`Retraining::begin`] found.
enum Begun {
    Go(RetrainingRun),
    Over(RetrainingRun),
}

fn row_of(labelled: &LabelledEvent, reference: &Dataset) -> Result<Row, Error> {
    let id = labelled.event.id;
    let corrupt = |what: String| {
        Error::new(ErrorKind::Corrupt, RETRAIN, format!("logged event {id}: {what}"))
    };
    let json = labelled.event.features.as_deref().unwrap_or_default();
    let mut out = Violations::new();
    let row = decode_row(reference.schema(), json.as_bytes(), &mut out)
        .map_err(|e| corrupt(e.to_string()))?;
    match out.errors().next() {
        Some(violation) => Err(corrupt(violation.to_string())),
        None => Ok(row),
    }
}

fn validation_of(artifact: &ModelArtifact) -> Validation {
    artifact.validation().map_or(Validation::NotDone, Validation::from)
}

fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Drift => "drift",
        Trigger::Scheduled => "scheduled",
        Trigger::Manual => "manual",
    }
}

fn not_evaluated(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidInput, RETRAIN, "the models cannot be judged").with_source(error)
}

/// An id that follows from another one: asked again, the same.
fn derived_id(what: &str, of: Uuid, attempt: u32) -> Uuid {
    let mut hasher = Hasher::new("pmmds derived id 1");
    let print = hasher.text(what).bytes(of.as_bytes()).number(attempt.into()).finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&print.as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The version that a run promoted.
impl Retrained {
    /// The version that is in production because of this run.
    #[must_use]
    pub fn promoted(&self) -> Option<VersionId> {
        let done = |decision: &&PromotionDecision| {
            decision.promoted && decision.state == DecisionState::Done
        };
        self.decision.as_ref().filter(done).map(|decision| decision.challenger)
    }
}
