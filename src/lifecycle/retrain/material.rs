//! The rows of a run: which train the challenger, which judge it and the champion.

use std::sync::Arc;
use std::time::Duration;

use super::super::holdout::{Side, TrainedOn};
use super::super::serving::ServingModel;
use super::{RECENT, RETRAIN, RetrainRequest, Retraining};
use crate::ledger::{DecisionState, RetrainingRun, RunState};
use crate::log::LabelledEvent;
use crate::record::{Dataset, Row, Target, decode_row};
use crate::schema::{FeatureSchema, Hasher};
use crate::validate::{SchemaValidator, ValidationReport, Violations};
use crate::{Error, ErrorKind, Timestamp, Window};

/// Labelled events that are read at once.
const PAGE: usize = 5_000;

/// Errors of the training data that are kept as examples.
const EXAMPLES: usize = 100;

/// Rows, of each class where there are classes, that it takes to judge two models: a spread needs
/// two.
const LEAST: usize = 2;

/// Rows of one run, and what is known of them.
pub(super) struct Material {
    pub(super) training: Dataset,
    /// rows in no training set, on which both models are judged; empty for a first model
    pub(super) holdout: Dataset,
    /// the logged rows among `training`
    pub(super) trained_on: Option<TrainedOn>,
    /// of `training`
    pub(super) report: ValidationReport,
}

impl Material {
    /// Refuses training data that did not pass validation.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.report.passed() {
            return Ok(());
        }
        let first = self.report.examples().first().map(ToString::to_string).unwrap_or_default();
        let errors = self.report.errors();
        let context =
            format!("the training data has {errors} validation errors, the first: {first}");
        Err(Error::new(ErrorKind::InvalidInput, RETRAIN, context))
    }
}

/// A logged row that can train or judge a model.
struct Labelled {
    at: Timestamp,
    entity: String,
    row: Row,
    label: f64,
}

/// Logged rows, and how many there were that are no use.
#[derive(Default)]
struct Traffic {
    rows: Vec<Labelled>,
    unreadable: u64,
    // of the first that cannot be read
    problem: Option<String>,
    // outcomes that are no label
    unusable: u64,
}

impl Traffic {
    fn add(&mut self, schema: &FeatureSchema, target: Target, event: &LabelledEvent) {
        // + 0.0: the sign of a zero says nothing, and not every store keeps it.
        let label = event.outcome + 0.0;
        match read(schema, event) {
            Err(problem) => {
                self.unreadable += 1;
                self.problem.get_or_insert(problem);
            }
            Ok(_) if !target.accepts(label) => self.unusable += 1,
            Ok(row) => {
                let (at, entity) = (event.event.at, event.event.request_id.to_string());
                self.rows.push(Labelled { at, entity, row, label });
            }
        }
    }
}

impl Retraining {
    /// Gathers the rows of `run`, and writes what became of them into its details.
    pub(super) async fn gather(
        &self,
        run: &mut RetrainingRun,
        request: &RetrainRequest<'_>,
        champion: Option<&ServingModel>,
    ) -> Result<Material, Error> {
        let (schema, target) = (request.reference.schema(), request.reference.target());
        let (training, holdout, trained_on) = match champion {
            None => {
                let none = Dataset::with_target(Arc::clone(schema), target);
                (request.reference.clone(), none, None)
            }
            Some(champion) if champion.schema().fingerprint() != schema.fingerprint() => {
                let context = "the reference is of another schema than the champion";
                return Err(Error::new(ErrorKind::Conflict, RETRAIN, context));
            }
            Some(champion) if champion.model().task().target() != target => {
                let learned = champion.model().task().target();
                let context =
                    format!("the reference has labels of {target}, the champion's were {learned}");
                return Err(Error::new(ErrorKind::Conflict, RETRAIN, context));
            }
            Some(champion) => {
                let traffic = self.labelled(run, schema, target).await?;
                self.split(run, request.reference, &traffic, champion)
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
        Ok(Material { training, holdout, trained_on, report })
    }

    /// Labelled traffic from before the run, oldest first. Rows that cannot be used, such as those
    /// of another schema, are counted and left out: one of them must not stop retraining for ever.
    async fn labelled(
        &self,
        run: &mut RetrainingRun,
        schema: &FeatureSchema,
        target: Target,
    ) -> Result<Traffic, Error> {
        let mut traffic = Traffic::default();
        let length = self.settings.recent.unwrap_or(Duration::MAX);
        if let Ok(window) = Window::before(run.started_at, length) {
            let mut cursor = None;
            loop {
                let page = self.promotion.log.labelled(&run.model, window, cursor, PAGE).await?;
                page.items.iter().for_each(|event| traffic.add(schema, target, event));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let counts =
            [("unreadable_rows", traffic.unreadable), ("unusable_outcomes", traffic.unusable)];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            run.details.insert(name.to_owned(), count.to_string());
        }
        if let Some(problem) = &traffic.problem {
            run.details.insert("unreadable_because".to_owned(), problem.clone());
        }
        Ok(traffic)
    }

    /// Training rows, holdout, and which logged rows are among the training rows.
    fn split(
        &self,
        run: &mut RetrainingRun,
        reference: &Dataset,
        traffic: &Traffic,
        champion: &ServingModel,
    ) -> (Dataset, Dataset, Option<TrainedOn>) {
        let rule = &self.settings.holdout;
        let kept: Vec<usize> = (0..reference.rows())
            .filter(|row| rule.side_of_entity(reference.entity(*row)) == Side::Train)
            .collect();
        let mut training = reference.select(&kept);
        let mut holdout = Dataset::with_target(Arc::clone(reference.schema()), reference.target());
        let keys: Vec<(Timestamp, &str)> =
            traffic.rows.iter().map(|row| (row.at, row.entity.as_str())).collect();
        let (mut last, mut seen) = (None, 0_u64);
        for (side, Labelled { at, entity, row, label }) in
            rule.sides(&keys).into_iter().zip(&traffic.rows)
        {
            let champion_trained_on = champion.artifact().training().logged.as_ref();
            match side {
                Side::Train => {
                    training.push(row, *label, entity.as_str());
                    last = last.max(Some(*at));
                }
                // Under another rule or with late outcomes the boundary may have moved back.
                Side::Holdout
                    if champion_trained_on.is_some_and(|rows| rows.contains(*at, entity)) =>
                {
                    seen += 1;
                }
                Side::Holdout => holdout.push(row, *label, entity.as_str()),
                Side::Neither => {}
            }
        }
        if seen > 0 {
            run.details.insert("rows_the_champion_has_seen".to_owned(), seen.to_string());
        }
        let after = |at: Timestamp| at.saturating_add(Duration::from_micros(1));
        (training, holdout, last.map(|at| TrainedOn::new(after(at), rule.clone())))
    }

    /// Why there is nothing to do, if so.
    pub(super) async fn not_enough(
        &self,
        run: &RetrainingRun,
        champion: Option<&ServingModel>,
        material: &Material,
    ) -> Result<Option<String>, Error> {
        if champion.is_none() {
            return Ok(None);
        }
        let (have, need) = (material.holdout.rows(), self.settings.min_holdout_rows);
        if have < need {
            let why = format!("{have} labelled rows to judge the models on, {need} are needed");
            return Ok(Some(why));
        }
        let labels = material.holdout.labels();
        let positives = labels.iter().filter(|label| **label > 0.5).count();
        let classes = match material.holdout.target() {
            Target::Binary => &[(1, positives), (0, have - positives)][..],
            Target::Number if have < LEAST => {
                let why =
                    format!("{have} labelled rows to judge the models on, {LEAST} are needed");
                return Ok(Some(why));
            }
            Target::Number => &[],
        };
        if let Some((class, count)) = classes.iter().find(|(_, count)| *count < LEAST) {
            let why = format!(
                "{count} of the {have} rows to judge the models on have label {class}, {LEAST} \
                 are needed"
            );
            return Ok(Some(why));
        }
        let recent = self.promotion.ledger.retraining_runs(&run.model, None, RECENT).await?.items;
        for past in recent {
            let same = past.id != run.id && past.data == run.data;
            if same && self.was_judged(&past).await? {
                // Of the same data the same model would come out again.
                let why = format!("NoNewData: run {} was on the same rows", past.id);
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Whether the challenger of `past` was compared, and what came of it stood.
    async fn was_judged(&self, past: &RetrainingRun) -> Result<bool, Error> {
        match past.decision.filter(|_| past.state == RunState::Completed) {
            Some(id) => {
                let decision = self.promotion.ledger.decision(id).await?;
                Ok(decision.state == DecisionState::Done)
            }
            None => Ok(false),
        }
    }
}

/// The features of a logged event, if they are a row of `schema`.
fn read(schema: &FeatureSchema, labelled: &LabelledEvent) -> Result<Row, String> {
    let problem = |what: String| format!("event {}: {what}", labelled.event.id);
    let json = labelled.event.features.as_deref().unwrap_or_default();
    let mut out = Violations::new();
    let row = decode_row(schema, json.as_bytes(), &mut out).map_err(|e| problem(e.to_string()))?;
    match out.errors().next() {
        Some(violation) => Err(problem(violation.to_string())),
        None => Ok(row),
    }
}
