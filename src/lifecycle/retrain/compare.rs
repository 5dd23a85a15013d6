//! Champion and challenger on the same rows, and what the policy makes of it.

use super::super::environment::derived_id;
use super::super::promote::PINNED_TAG;
use super::super::serving::ServingModel;
use super::Retraining;
use super::challenger::{Challenger, not_evaluated};
use super::material::Material;
use crate::Error;
use crate::artifact::ModelArtifact;
use crate::ledger::{DecisionKind, DecisionState, PromotionDecision, RetrainingRun, Trigger};
use crate::promote::{
    Candidate, Candidates, Champion, DecisionRecord, Evaluation, Metric, OriginalPolicy,
    PairedDifference, PairedRows, PromotionPolicy, Reason, Validation, measure_interleaved,
};
use crate::record::{Dataset, Row};
use crate::registry::ModelVersion;

/// Most rows of the latency comparison.
const LATENCY_ROWS: usize = 500;

/// Rounds of the latency comparison; even, so that a steady drift cancels.
const LATENCY_ROUNDS: usize = 20;

/// Both sides, measured.
struct Measured {
    champion: Candidate,
    challenger: Candidate,
    differences: Vec<PairedDifference>,
}

impl Retraining {
    /// The decision on `challenger`, not yet on record.
    pub(super) async fn compare(
        &self,
        run: &RetrainingRun,
        champion: Option<&ServingModel>,
        material: &Material,
        challenger: &Challenger,
    ) -> Result<PromotionDecision, Error> {
        let begun = self.promotion.environment.elapsed();
        let (candidate, against, differences) = match champion {
            Some(champion) => {
                let measured = self.measure(champion, challenger, &material.holdout)?;
                (measured.challenger, Some(measured.champion), measured.differences)
            }
            None => {
                let (task, labels) =
                    (challenger.artifact.model().task(), material.training.labels());
                let evaluation =
                    Evaluation::of(task, &challenger.scores, labels).map_err(not_evaluated)?;
                (candidate_of(challenger).evaluation(evaluation), None, Vec::new())
            }
        };
        let present = match champion {
            Some(champion) => {
                Some(self.promotion.registry.get(&run.model, champion.version()).await?)
            }
            None => None,
        };
        let serving = against.as_ref().map_or(Champion::None, Champion::Serving);
        let candidates = Candidates::new(&candidate, serving, &differences);
        let task = challenger.artifact.model().task();
        let mut decision = match &self.policy {
            Some(policy) => policy.decide(candidates),
            None => OriginalPolicy::of(task).decide(candidates),
        };
        if let Some(pinned) = present.as_ref().and_then(pinned) {
            decision.promote = false;
            decision.reasons.push(pinned);
        }
        let at = self.promotion.log.now().await?;
        // Another one for every attempt: the one before may have been cancelled.
        let id = derived_id("decision of run", run.id, run.attempts.into());
        let model = run.model.clone();
        let primary = self.settings.primary_metric.unwrap_or(Metric::primary(task));
        let mut record =
            DecisionRecord::new(id.to_string(), at, model, candidates, &decision, primary)
                .trigger_type(trigger_name(run.trigger))
                .challenger_run_id(run.id.to_string());
        if let Some(drift_run) = run.drift_run {
            record = record.drift_run_id(drift_run.to_string());
        }
        if let Some(present) = present {
            record = record.champion_run_id(present.run_id);
        }
        let taken = self.promotion.environment.elapsed().saturating_sub(begun);
        let record = record.comparison_duration(taken);
        Ok(PromotionDecision {
            id,
            model: run.model.clone(),
            kind: DecisionKind::Promotion,
            champion: champion.map(ServingModel::version),
            challenger: challenger.version,
            promoted: decision.promote,
            reason: record.promotion_reason.clone(),
            state: DecisionState::Intended,
            retraining_run: Some(run.id),
            record: Some(record),
            created_at: at,
            updated_at: at,
        })
    }

    /// Both models on the rows of `holdout`, and the time they take for some of them.
    fn measure(
        &self,
        champion: &ServingModel,
        challenger: &Challenger,
        holdout: &Dataset,
    ) -> Result<Measured, Error> {
        let task = challenger.artifact.model().task();
        let batch = holdout.columns().batch();
        let scores = champion.model().score_batch(&batch);
        let rows = PairedRows::new(task, &scores, &challenger.scores, holdout.labels())
            .map_err(not_evaluated)?;
        // A metric that does not exist for these rows has no difference; the policy says so.
        let metrics = rows.challenger().metrics().iter();
        let differences = metrics
            .filter_map(|metric| rows.difference(*metric, self.settings.level).ok())
            .collect();
        let mut before = Candidate::new(champion.version(), validation_of(champion.artifact()))
            .evaluation(rows.champion().clone());
        let mut after = candidate_of(challenger).evaluation(rows.challenger().clone());
        let sample: Vec<Row> =
            (0..batch.rows().min(LATENCY_ROWS)).map(|row| batch.row(row)).collect();
        let clock = || self.promotion.environment.elapsed();
        let (old, new) = (&**champion.model(), &**challenger.artifact.model());
        if let Some((old, new)) = measure_interleaved(old, new, &sample, LATENCY_ROUNDS, &clock) {
            before = before.latency(old);
            after = after.latency(new);
        }
        Ok(Measured { champion: before, challenger: after, differences })
    }
}

fn candidate_of(challenger: &Challenger) -> Candidate {
    Candidate::new(challenger.version, validation_of(&challenger.artifact))
}

fn validation_of(artifact: &ModelArtifact) -> Validation {
    artifact.validation().map_or(Validation::NotDone, Validation::from)
}

/// The reason that a pinned champion stays.
fn pinned(champion: &ModelVersion) -> Option<Reason> {
    let why = champion.tags.get(PINNED_TAG).filter(|why| !why.is_empty())?;
    let sentence = format!("Champion v{} is pinned: {why}.", champion.version);
    Some(Reason::new("not_pinned", false, sentence))
}

fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Drift => "drift",
        Trigger::Scheduled => "scheduled",
        Trigger::Manual => "manual",
    }
}
