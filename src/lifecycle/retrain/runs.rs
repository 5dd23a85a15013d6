//! Which run a request is about.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::environment::derived_id;
use super::super::turn::Turn;
use super::{RECENT, RetrainRequest, Retraining};
use crate::ledger::{Alert, RetrainingRun, RunState, Trigger};
use crate::{Error, ErrorKind, Timestamp};

/// What [`Retraining::begin`] found.
pub(super) enum Begun {
    /// A run to work on, on record as running.
    Go(RetrainingRun),
    /// A run that is over and answers the request.
    Over(RetrainingRun),
}

impl Retraining {
    /// The run to work on: one that was killed, or a new one, or none because it is over already.
    pub(super) async fn begin(
        &self,
        request: &RetrainRequest<'_>,
        turn: &Turn,
    ) -> Result<Begun, Error> {
        let ledger = &self.promotion.ledger;
        let mut recent = ledger.retraining_runs(request.model, None, RECENT).await?.items;
        // Nobody else has the turn, so a run that is still under way has lost its process.
        if let Some(at) = recent.iter().position(|run| run.state == RunState::Running) {
            let mut run = recent.swap_remove(at);
            run.attempts = run.attempts.saturating_add(1);
            run.message = None;
            ledger.record_retraining_run(&run, Some(turn.lease())).await?;
            return Ok(Begun::Go(run));
        }
        let now = self.promotion.log.now().await?;
        let id = match request.alert {
            None => self.promotion.environment.new_id(),
            Some(alert) => match self.run_of_alert(alert, now).await? {
                Asked::Again(run) => return Ok(Begun::Over(*run)),
                Asked::New(id) => id,
            },
        };
        let mut run = new_run(id, request, now);
        let last = last_for_drift(&recent).filter(|_| request.trigger == Trigger::Drift);
        if let Some(last) = last.filter(|last| self.is_warm(*last, now)) {
            run.state = RunState::Skipped;
            run.message = Some(format!(
                "cooldown: the last retraining for drift ended at {last}, less than {} s ago",
                self.settings.cooldown.as_secs()
            ));
            run.finished_at = Some(now);
        }
        ledger.record_retraining_run(&run, Some(turn.lease())).await?;
        Ok(if run.state == RunState::Running { Begun::Go(run) } else { Begun::Over(run) })
    }

    fn is_warm(&self, ended: Timestamp, now: Timestamp) -> bool {
        now.since(ended) < self.settings.cooldown
    }

    /// The run that `alert` asks for. Its runs have ids that follow from its own, so that all of
    /// them are found, however many others there were since.
    async fn run_of_alert(&self, alert: &Alert, now: Timestamp) -> Result<Asked, Error> {
        let id = |number| derived_id("run of alert", alert.id, number);
        let (mut last, mut count) = (None, 0);
        loop {
            match self.promotion.ledger.retraining_run(id(count)).await {
                Ok(run) => last = Some(run),
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
            count += 1;
        }
        let Some(last) = last else { return Ok(Asked::New(id(0))) };
        let limit = self.settings.max_attempts;
        let cold = last.finished_at.is_none_or(|ended| !self.is_warm(ended, now));
        let again = match last.state {
            // It has made nothing: it is the same run that begins now.
            RunState::Skipped => return Ok(Asked::New(last.id)),
            RunState::Completed => cold && last.promoted != Some(true),
            RunState::Failed => cold || count < limit.into(),
            RunState::Abandoned => cold || (last.attempts <= limit && count < limit.into()),
            RunState::Running => false,
        };
        Ok(if again { Asked::New(id(count)) } else { Asked::Again(Box::new(last)) })
    }
}

/// Whether an alert gets a run.
enum Asked {
    New(Uuid),
    Again(Box<RetrainingRun>),
}

fn new_run(id: Uuid, request: &RetrainRequest<'_>, now: Timestamp) -> RetrainingRun {
    RetrainingRun {
        id,
        model: request.model.clone(),
        trigger: request.trigger,
        alert: request.alert.map(|alert| alert.id),
        drift_run: request.alert.and_then(|alert| alert.drift_run),
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
    }
}

/// When the last run that drift started, and that went through, has ended.
fn last_for_drift(runs: &[RetrainingRun]) -> Option<Timestamp> {
    let went_through =
        |run: &&RetrainingRun| run.trigger == Trigger::Drift && run.state == RunState::Completed;
    runs.iter().filter(went_through).filter_map(|run| run.finished_at).max()
}
