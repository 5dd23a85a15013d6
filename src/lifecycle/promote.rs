//! Moves the production alias, always on record, and puts things straight after a crash.
//!
//! The order is: decision `intended` -> alias set, if it is where it was expected -> alias read
//! back -> decision `done`. After a crash between any two of these the registry says what is so,
//! and [`Promotion::reconcile`] makes the ledger say it too.

use std::sync::Arc;
use std::time::Duration;

use super::environment::Environment;
use crate::ledger::{DecisionKind, DecisionState, Lease, Ledger, PromotionDecision};
use crate::log::InferenceLog;
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};
use crate::{Error, ErrorKind};

/// Name of this component in errors.
const PROMOTION: &str = "promotion";

/// How long one step may take before another process takes its owner for dead. Every step renews.
const LEASE: Duration = Duration::from_secs(300);

/// Decisions that are looked through for one that was not finished.
const RECENT: usize = 100;

/// Tag of a version that no retraining may replace; its value says why.
pub const PINNED_TAG: &str = "pmmds.pinned";

/// Changes what is in production: one process at a time, with the expected champion checked, on
/// record before and after.
#[derive(Debug, Clone)]
pub struct Promotion {
    pub(super) registry: Arc<dyn ModelRegistry>,
    pub(super) log: Arc<dyn InferenceLog>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) environment: Arc<dyn Environment>,
    owner: String,
    pub(super) alias: Alias,
}

impl Promotion {
    /// Promotions to the alias `production`. `owner` names this process among all that share the
    /// ledger; the log gives the time.
    #[must_use]
    pub fn new(
        registry: Arc<dyn ModelRegistry>,
        log: Arc<dyn InferenceLog>,
        ledger: Arc<dyn Ledger>,
        environment: Arc<dyn Environment>,
        owner: impl Into<String>,
    ) -> Self {
        let (alias, owner) = (Alias::production(), owner.into());
        Self { registry, log, ledger, environment, owner, alias }
    }

    /// The alias of what is in production. Defaults to `production`.
    #[must_use]
    pub fn alias(mut self, alias: Alias) -> Self {
        self.alias = alias;
        self
    }

    /// Takes the turn at changing `model`, or says who has it.
    pub(super) async fn turn(&self, model: &ModelName) -> Result<Lease, Error> {
        let name = format!("promote/{model}");
        if let Some(lease) = self.ledger.acquire_lease(&name, &self.owner, LEASE).await? {
            return Ok(lease);
        }
        let holder = self.ledger.lease(&name).await?.map(|lease| lease.owner);
        let holder = holder.unwrap_or_else(|| "another process".to_owned());
        let context = format!("{holder} is changing {model}");
        Err(Error::new(ErrorKind::Conflict, PROMOTION, context))
    }

    /// Keeps the turn for another while. A turn that was lost is not taken again: somebody else
    /// may have changed what the caller has seen.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        match self.ledger.acquire_lease(&lease.name, &lease.owner, LEASE).await? {
            Some(renewed) if renewed.token == lease.token => Ok(()),
            _ => {
                let context = format!("the turn {:?} was lost to another process", lease.name);
                Err(Error::new(ErrorKind::Conflict, PROMOTION, context))
            }
        }
    }

    /// The version in production; `None` when the registry confirms that there is none.
    ///
    /// # Errors
    ///
    /// Whatever keeps the registry from answering. That is never "none".
    pub async fn champion(&self, model: &ModelName) -> Result<Option<VersionId>, Error> {
        self.registry.resolve(model, &self.alias).await
    }

    /// Records `decision` and carries it out. Returns it as it stands on record: done, or
    /// cancelled because the alias was not where it was expected.
    pub(super) async fn carry_out(
        &self,
        mut decision: PromotionDecision,
        lease: &Lease,
    ) -> Result<PromotionDecision, Error> {
        if !decision.promoted {
            decision.state = DecisionState::Done;
            self.ledger.record_decision(&decision, Some(lease)).await?;
            return Ok(decision);
        }
        decision.state = DecisionState::Intended;
        self.ledger.record_decision(&decision, Some(lease)).await?;
        self.renew(lease).await?;
        let set = self
            .registry
            .set_alias(&decision.model, &self.alias, decision.challenger, decision.champion)
            .await;
        match set {
            Ok(()) => {}
            // Somebody moved the alias during the comparison: what was compared is out of date.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                decision.reason = format!("{} Not carried out: {error}.", decision.reason);
                return self.finish(decision, DecisionState::Cancelled, lease).await;
            }
            // Whether it moved is not known; the decision stays intended, for `reconcile`.
            Err(error) => return Err(error),
        }
        let now = self.champion(&decision.model).await?;
        let state = if now == Some(decision.challenger) {
            DecisionState::Done
        } else {
            DecisionState::Cancelled
        };
        self.finish(decision, state, lease).await
    }

    async fn finish(
        &self,
        mut decision: PromotionDecision,
        state: DecisionState,
        lease: &Lease,
    ) -> Result<PromotionDecision, Error> {
        decision.state = state;
        decision.updated_at = self.log.now().await?;
        self.ledger.record_decision(&decision, Some(lease)).await?;
        Ok(decision)
    }

    /// Puts the ledger straight with the registry: finishes decisions that a crash left
    /// intended, and records a change of the alias that nobody decided here. Returns what it
    /// recorded.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another process changes the model, and whatever the
    /// stores report.
    pub async fn reconcile(&self, model: &ModelName) -> Result<Vec<PromotionDecision>, Error> {
        let lease = self.turn(model).await?;
        let result = self.reconcile_under(model, &lease).await;
        let released = self.ledger.release_lease(&lease).await;
        let recorded = result?;
        released?;
        Ok(recorded)
    }

    pub(super) async fn reconcile_under(
        &self,
        model: &ModelName,
        lease: &Lease,
    ) -> Result<Vec<PromotionDecision>, Error> {
        let champion = self.champion(model).await?;
        let recent = self.ledger.decisions(model, None, RECENT).await?.items;
        let mut recorded = Vec::new();
        let mut last_done = None;
        for decision in recent.into_iter().rev() {
            let decision = if decision.state == DecisionState::Intended {
                // What is so is done; what is not so was never carried out, and the comparison
                // behind it is repeated by the run that made it.
                let state = if champion == Some(decision.challenger) {
                    DecisionState::Done
                } else {
                    DecisionState::Cancelled
                };
                let decision = self.finish(decision, state, lease).await?;
                recorded.push(decision.clone());
                decision
            } else {
                decision
            };
            if decision.promoted && decision.state == DecisionState::Done {
                last_done = Some(decision.challenger);
            }
        }
        if let (Some(now), true) = (champion, champion != last_done) {
            let at = self.log.now().await?;
            let decision = PromotionDecision {
                id: self.environment.new_id(),
                model: model.clone(),
                kind: DecisionKind::External,
                champion: last_done,
                challenger: now,
                promoted: true,
                reason: match last_done {
                    Some(last) => format!(
                        "Alias {} was moved from v{last} to v{now} by somebody else.",
                        self.alias
                    ),
                    None => format!("Alias {} was set to v{now} by somebody else.", self.alias),
                },
                state: DecisionState::Done,
                retraining_run: None,
                record: None,
                created_at: at,
                updated_at: at,
            };
            self.ledger.record_decision(&decision, Some(lease)).await?;
            recorded.push(decision);
        }
        Ok(recorded)
    }

    /// Puts the version before the present one back into production, for `reason`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when nothing is in production, or no version before it is
    /// on record; [`Conflict`](ErrorKind::Conflict) while another process changes the model.
    pub async fn rollback(
        &self,
        model: &ModelName,
        reason: &str,
    ) -> Result<PromotionDecision, Error> {
        let lease = self.turn(model).await?;
        let result = self.rollback_under(model, reason, &lease).await;
        let released = self.ledger.release_lease(&lease).await;
        let decision = result?;
        released?;
        Ok(decision)
    }

    async fn rollback_under(
        &self,
        model: &ModelName,
        reason: &str,
        lease: &Lease,
    ) -> Result<PromotionDecision, Error> {
        self.reconcile_under(model, lease).await?;
        let absent = |context: String| Error::new(ErrorKind::NotFound, PROMOTION, context);
        let Some(champion) = self.champion(model).await? else {
            return Err(absent(format!("{model} has no version in production")));
        };
        let recent = self.ledger.decisions(model, None, RECENT).await?.items;
        let before = recent
            .iter()
            .find(|decision| {
                decision.promoted
                    && decision.state == DecisionState::Done
                    && decision.challenger == champion
            })
            .and_then(|decision| decision.champion);
        let Some(before) = before else {
            return Err(absent(format!("no version before v{champion} of {model} is on record")));
        };
        let at = self.log.now().await?;
        let decision = PromotionDecision {
            id: self.environment.new_id(),
            model: model.clone(),
            kind: DecisionKind::Rollback,
            champion: Some(champion),
            challenger: before,
            promoted: true,
            reason: format!("Rolled back from v{champion} to v{before}: {reason}."),
            state: DecisionState::Intended,
            retraining_run: None,
            record: None,
            created_at: at,
            updated_at: at,
        };
        self.carry_out(decision, lease).await
    }

    /// Keeps retraining from replacing the version in production, for `reason`; an empty reason
    /// lifts the pin. Returns the version.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when nothing is in production.
    pub async fn pin(&self, model: &ModelName, reason: &str) -> Result<VersionId, Error> {
        let Some(version) = self.champion(model).await? else {
            let context = format!("{model} has no version in production");
            return Err(Error::new(ErrorKind::NotFound, PROMOTION, context));
        };
        self.registry.tag(model, version, PINNED_TAG, reason).await?;
        Ok(version)
    }
}
