//! Moves the production alias, always on record, and puts things straight after a crash.
//!
//! The order is: decision `intended` -> alias set, if it is where it was expected -> alias read
//! back -> alerts about other versions closed -> decision `done`. After a crash between any two of
//! these the registry says what is so, and [`Promotion::reconcile`] makes the ledger say it too.
//! It runs before every decision, so that at most one, the latest, is ever unfinished.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::environment::Environment;
use super::turn::{Turn, Turns};
use crate::ledger::{DecisionKind, DecisionState, Ledger, PromotionDecision};
use crate::log::{Cursor, InferenceLog};
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};
use crate::{Error, ErrorKind, Timestamp};

/// Name of this component in errors.
const PROMOTION: &str = "promotion";

/// Decisions that are read at once.
const PAGE: usize = 50;

/// Tag of a version that no retraining may replace; its value says why.
pub const PINNED_TAG: &str = "pmmds.pinned";

/// Changes what is in production: one at a time, with the expected champion checked, on record
/// before and after.
///
/// Clones know of each other; a second one made by [`new`](Self::new) is told apart only by its
/// `owner`.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::ledger::DecisionKind;
/// use pmmds::lifecycle::{Environment, Promotion};
/// use pmmds::memory::{MemoryLedger, MemoryLog, MemoryRegistry};
/// use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, VersionId};
/// use uuid::Uuid;
///
/// /// What the feature `system` reads off the machine.
/// #[derive(Debug, Default)]
/// struct Counting(std::sync::atomic::AtomicU64);
/// impl Environment for Counting {
///     fn new_id(&self) -> Uuid {
///         let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         Uuid::from_u128(number.into())
///     }
///     fn elapsed(&self) -> Duration { Duration::ZERO }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Arc::new(MemoryRegistry::new());
/// let log = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH));
/// let ledger = Arc::new(MemoryLedger::with_clock(|| Timestamp::EPOCH));
/// let environment = Arc::new(Counting::default());
/// let promotion = Promotion::new(registry.clone(), log, ledger, environment, "replica-1");
///
/// // Somebody registers two versions and moves the alias by hand: it goes on record.
/// let (model, production) = (ModelName::new("churn")?, Alias::production());
/// let first = registry.register(&model, "by-hand-1", &ArtifactFiles::new()).await?.version;
/// let second = registry.register(&model, "by-hand-2", &ArtifactFiles::new()).await?.version;
/// registry.set_alias(&model, &production, first, None).await?;
/// assert_eq!(promotion.reconcile(&model).await?[0].kind, DecisionKind::External);
/// registry.set_alias(&model, &production, second, Some(first)).await?;
///
/// let decision = promotion.rollback(&model, "complaints").await?;
/// assert_eq!(decision.reason, "Rolled back from v2 to v1: complaints.");
/// assert_eq!(promotion.champion(&model).await?, Some(VersionId::FIRST));
/// assert!(promotion.rollback(&model, "again").await.is_err(), "there is none before v1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Promotion {
    pub(super) registry: Arc<dyn ModelRegistry>,
    pub(super) log: Arc<dyn InferenceLog>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) turns: Turns,
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
        let turns = Turns::new(Arc::clone(&ledger), owner.into());
        Self { registry, log, ledger, environment, turns, alias: Alias::production() }
    }

    /// The alias of what is in production. Defaults to `production`.
    #[must_use]
    pub fn alias(mut self, alias: Alias) -> Self {
        self.alias = alias;
        self
    }

    /// Takes the turn at changing what is in production. It is held for moments only, so that a
    /// long retraining does not keep anybody from rolling back.
    async fn turn(&self, model: &ModelName) -> Result<Turn, Error> {
        self.turns.take(PROMOTION, format!("promote/{model}")).await
    }

    /// The version in production; `None` when the registry confirms that there is none.
    ///
    /// # Errors
    ///
    /// Whatever keeps the registry from answering. That is never "none".
    pub async fn champion(&self, model: &ModelName) -> Result<Option<VersionId>, Error> {
        self.registry.resolve(model, &self.alias).await
    }

    /// Puts the ledger straight with the registry: finishes a decision that a crash left
    /// intended, and records a change of the alias that nobody decided here. Returns what it
    /// recorded.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another process changes the model, and whatever the
    /// stores report.
    pub async fn reconcile(&self, model: &ModelName) -> Result<Vec<PromotionDecision>, Error> {
        let turn = self.turn(model).await?;
        let result = self.reconcile_under(model, &turn).await;
        turn.give_back().await;
        result
    }

    /// Puts the version before the present one back into production, for `reason`: the one that
    /// the present one had replaced when it came there first. A second rollback goes one version
    /// further back, not forth, and so does one after somebody else put an older version back: to
    /// take a rollback back, [`restore`](Self::restore) the version.
    ///
    /// A program that asks again after an error uses [`rollback_from`](Self::rollback_from): the
    /// answer may have been lost after the deed.
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
        self.roll_back(model, None, reason).await
    }

    /// As [`rollback`](Self::rollback), if `from` is in production: asked twice, it goes back once.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) when another version is in production, and as
    /// [`rollback`](Self::rollback).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use pmmds::Timestamp;
    /// # use pmmds::lifecycle::Promotion;
    /// # use pmmds::memory::{MemoryLedger, MemoryLog, MemoryRegistry};
    /// # use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
    /// # #[derive(Debug, Default)]
    /// # struct Counting(std::sync::atomic::AtomicU64);
    /// # impl pmmds::lifecycle::Environment for Counting {
    /// #     fn new_id(&self) -> uuid::Uuid {
    /// #         let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    /// #         uuid::Uuid::from_u128(number.into())
    /// #     }
    /// #     fn elapsed(&self) -> Duration { Duration::ZERO }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let registry = Arc::new(MemoryRegistry::new());
    /// # let log = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH));
    /// # let ledger = Arc::new(MemoryLedger::with_clock(|| Timestamp::EPOCH));
    /// # let environment = Arc::new(Counting::default());
    /// # let promotion = Promotion::new(registry.clone(), log, ledger, environment, "replica-1");
    /// # let (model, production) = (ModelName::new("churn")?, Alias::production());
    /// # let first = registry.register(&model, "by-hand-1", &ArtifactFiles::new()).await?.version;
    /// # registry.set_alias(&model, &production, first, None).await?;
    /// use pmmds::ErrorKind;
    /// # let second = registry.register(&model, "by-hand-2", &ArtifactFiles::new()).await?.version;
    /// # promotion.reconcile(&model).await?;
    /// # registry.set_alias(&model, &production, second, Some(first)).await?;
    /// // Two people press the same button.
    /// assert!(promotion.rollback_from(&model, second, "complaints").await?.promoted);
    /// let again = promotion.rollback_from(&model, second, "complaints").await.unwrap_err();
    /// assert_eq!(again.kind(), ErrorKind::Conflict);
    /// assert_eq!(promotion.champion(&model).await?, Some(first));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rollback_from(
        &self,
        model: &ModelName,
        from: VersionId,
        reason: &str,
    ) -> Result<PromotionDecision, Error> {
        self.roll_back(model, Some(from), reason).await
    }

    /// Puts `version` into production again, for `reason`: one that has been there, by a decision on
    /// record. If it is there now nothing happens, and what put it there is returned.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when it is not on record that it ever was in production;
    /// [`Conflict`](ErrorKind::Conflict) while another process changes the model.
    pub async fn restore(
        &self,
        model: &ModelName,
        version: VersionId,
        reason: &str,
    ) -> Result<PromotionDecision, Error> {
        let mut turn = self.turn(model).await?;
        let result = self.restore_under(model, version, reason, &mut turn).await;
        turn.give_back().await;
        result
    }

    /// Keeps retraining from replacing the version in production, for `reason`; an empty reason
    /// lifts the pin. Returns the version.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when nothing is in production.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use pmmds::Timestamp;
    /// # use pmmds::lifecycle::Promotion;
    /// # use pmmds::memory::{MemoryLedger, MemoryLog, MemoryRegistry};
    /// # use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
    /// # #[derive(Debug, Default)]
    /// # struct Counting(std::sync::atomic::AtomicU64);
    /// # impl pmmds::lifecycle::Environment for Counting {
    /// #     fn new_id(&self) -> uuid::Uuid {
    /// #         let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    /// #         uuid::Uuid::from_u128(number.into())
    /// #     }
    /// #     fn elapsed(&self) -> Duration { Duration::ZERO }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let registry = Arc::new(MemoryRegistry::new());
    /// # let log = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH));
    /// # let ledger = Arc::new(MemoryLedger::with_clock(|| Timestamp::EPOCH));
    /// # let environment = Arc::new(Counting::default());
    /// # let promotion = Promotion::new(registry.clone(), log, ledger, environment, "replica-1");
    /// # let (model, production) = (ModelName::new("churn")?, Alias::production());
    /// # let first = registry.register(&model, "by-hand-1", &ArtifactFiles::new()).await?.version;
    /// # registry.set_alias(&model, &production, first, None).await?;
    /// use pmmds::lifecycle::PINNED_TAG;
    /// let version = promotion.pin(&model, "audit until May").await?;
    /// assert_eq!(registry.get(&model, version).await?.tags[PINNED_TAG], "audit until May");
    /// promotion.pin(&model, "").await?; // and may be replaced again
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pin(&self, model: &ModelName, reason: &str) -> Result<VersionId, Error> {
        let version = self.champion(model).await?.ok_or_else(|| nothing_served(model))?;
        self.registry.tag(model, version, PINNED_TAG, reason).await?;
        Ok(version)
    }

    /// Records `decision` and carries it out. Returns it as it stands on record: done, or
    /// cancelled because the alias was not where it was expected.
    pub(super) async fn carry_out(
        &self,
        decision: PromotionDecision,
    ) -> Result<PromotionDecision, Error> {
        let mut turn = self.turn(&decision.model).await?;
        let result = match self.reconcile_under(&decision.model, &turn).await {
            Ok(_) => self.carry_out_under(decision, &mut turn).await,
            Err(error) => Err(error),
        };
        turn.give_back().await;
        result
    }

    /// The last decision that changed what is in production, and is done, of which `wanted` holds.
    pub(super) async fn last_change(
        &self,
        model: &ModelName,
        wanted: impl Fn(&PromotionDecision) -> bool + Send,
    ) -> Result<Option<PromotionDecision>, Error> {
        let mut before: Option<Cursor> = None;
        loop {
            let page = self.ledger.decisions(model, before, PAGE).await?;
            if let Some(found) = page.items.into_iter().find(|d| is_change(d) && wanted(d)) {
                return Ok(Some(found));
            }
            before = page.next;
            if before.is_none() {
                return Ok(None);
            }
        }
    }

    /// The first decision on record that put `version` into production, and is done.
    async fn first_arrival(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<Option<PromotionDecision>, Error> {
        let (mut first, mut before) = (None, None::<Cursor>);
        loop {
            // Latest first: the last that is found is the first.
            let page = self.ledger.decisions(model, before, PAGE).await?;
            let put = |d: &PromotionDecision| d.challenger == version && is_change(d);
            first = page.items.into_iter().rfind(put).or(first);
            before = page.next;
            if before.is_none() {
                return Ok(first);
            }
        }
    }

    async fn carry_out_under(
        &self,
        mut decision: PromotionDecision,
        turn: &mut Turn,
    ) -> Result<PromotionDecision, Error> {
        let at = self.moment(&decision.model).await?;
        (decision.created_at, decision.updated_at) = (at, at);
        if let Some(record) = &mut decision.record {
            record.timestamp = at;
        }
        if !decision.promoted {
            decision.state = DecisionState::Done;
            self.ledger.record_decision(&decision, Some(turn.lease())).await?;
            return Ok(decision);
        }
        decision.state = DecisionState::Intended;
        self.ledger.record_decision(&decision, Some(turn.lease())).await?;
        turn.renew().await?;
        let (model, version) = (&decision.model, decision.challenger);
        match self.registry.set_alias(model, &self.alias, version, decision.champion).await {
            Ok(()) => {}
            // Somebody moved the alias during the comparison, or the version is gone: what was
            // decided is out of date, and nothing has moved.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                let why = match self.winner(model, decision.champion).await? {
                    Some(id) => format!("{error}; decision {id} was first"),
                    None => error.to_string(),
                };
                return self.cancel(decision, &why, turn).await;
            }
            // Whether it moved is not known; the decision stays intended, for `reconcile`.
            Err(error) => return Err(error),
        }
        if self.champion(model).await? == Some(version) {
            return self.complete(decision, turn).await;
        }
        self.cancel(decision, "somebody else moved the alias at the same time", turn).await
    }

    /// The decision that replaced `expected`, if that is what has happened.
    async fn winner(
        &self,
        model: &ModelName,
        expected: Option<VersionId>,
    ) -> Result<Option<Uuid>, Error> {
        let last = self.last_change(model, |_| true).await?;
        Ok(last.filter(|last| last.champion == expected).map(|last| last.id))
    }

    async fn complete(
        &self,
        mut decision: PromotionDecision,
        turn: &Turn,
    ) -> Result<PromotionDecision, Error> {
        let at = self.log.now().await?.max(decision.created_at);
        // First, so that a decision that is done leaves nothing to do.
        self.close_alerts(&decision.model, decision.challenger, at).await?;
        (decision.state, decision.updated_at) = (DecisionState::Done, at);
        self.ledger.record_decision(&decision, Some(turn.lease())).await?;
        Ok(decision)
    }

    async fn cancel(
        &self,
        mut decision: PromotionDecision,
        why: &str,
        turn: &Turn,
    ) -> Result<PromotionDecision, Error> {
        decision.reason = format!("{} Not carried out: {why}.", decision.reason);
        decision.updated_at = self.log.now().await?.max(decision.created_at);
        decision.state = DecisionState::Cancelled;
        self.ledger.record_decision(&decision, Some(turn.lease())).await?;
        Ok(decision)
    }

    /// Alerts about drift are about what is in production: with `version` there, those about others
    /// are over.
    async fn close_alerts(
        &self,
        model: &ModelName,
        version: VersionId,
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut open = self.ledger.open_alerts(model).await?;
        open.retain(|alert| alert.version != version && alert.drift_run.is_some());
        for mut alert in open {
            alert.resolved_at = Some(at);
            self.ledger.update_alert(&alert).await?;
        }
        Ok(())
    }

    /// Now, but after every decision on record: their order has to stand also when the clock was
    /// set back.
    async fn moment(&self, model: &ModelName) -> Result<Timestamp, Error> {
        let now = self.log.now().await?;
        let latest = self.ledger.decisions(model, None, 1).await?.items;
        let after = |d: &PromotionDecision| d.created_at.saturating_add(Duration::from_micros(1));
        Ok(latest.first().map_or(now, |decision| now.max(after(decision))))
    }

    async fn reconcile_under(
        &self,
        model: &ModelName,
        turn: &Turn,
    ) -> Result<Vec<PromotionDecision>, Error> {
        let champion = self.champion(model).await?;
        let mut recorded = Vec::new();
        for decision in self.ledger.decisions(model, None, PAGE).await?.items {
            if decision.state != DecisionState::Intended {
                continue;
            }
            // What is so is done. What is not so was not carried out, and the comparison behind it
            // is repeated by the run that made it.
            recorded.push(if champion == Some(decision.challenger) {
                self.complete(decision, turn).await?
            } else {
                self.cancel(decision, "its process ended before", turn).await?
            });
        }
        let Some(now) = champion else { return Ok(recorded) };
        let last = self.last_change(model, |_| true).await?.map(|decision| decision.challenger);
        if last != Some(now) {
            let reason = match last {
                Some(last) => format!(
                    "Alias {} was moved from v{last} to v{now} by somebody else.",
                    self.alias
                ),
                None => format!("Alias {} was set to v{now} by somebody else.", self.alias),
            };
            let mut external = self.decision(model, DecisionKind::External, last, now, reason);
            external.created_at = self.moment(model).await?;
            recorded.push(self.complete(external, turn).await?);
        }
        Ok(recorded)
    }

    async fn roll_back(
        &self,
        model: &ModelName,
        from: Option<VersionId>,
        reason: &str,
    ) -> Result<PromotionDecision, Error> {
        let mut turn = self.turn(model).await?;
        let result = self.roll_back_under(model, from, reason, &mut turn).await;
        turn.give_back().await;
        result
    }

    async fn roll_back_under(
        &self,
        model: &ModelName,
        from: Option<VersionId>,
        reason: &str,
        turn: &mut Turn,
    ) -> Result<PromotionDecision, Error> {
        let settled = self.reconcile_under(model, turn).await?;
        let champion = self.champion(model).await?.ok_or_else(|| nothing_served(model))?;
        // The call before was carried out, and died before it could say so. Only a rollback is
        // one: a restoration that was finished here leaves it still to be done.
        if let Some(decision) = settled.into_iter().find(|decision| {
            decision.kind == DecisionKind::Rollback
                && decision.state == DecisionState::Done
                && from.is_none_or(|from| decision.champion == Some(from))
        }) {
            return Ok(decision);
        }
        if let Some(from) = from.filter(|from| *from != champion) {
            let context = format!("v{champion} of {model} is in production, not v{from}");
            return Err(Error::new(ErrorKind::Conflict, PROMOTION, context));
        }
        // What is put back, by a rollback or by hand, does not come after what it is put in the
        // place of: what counts is how it came there first.
        let arrival = self.first_arrival(model, champion).await?;
        let before = arrival.and_then(|decision| decision.champion);
        let before = before.ok_or_else(|| {
            let context = format!("no version before v{champion} of {model} is on record");
            Error::new(ErrorKind::NotFound, PROMOTION, context)
        })?;
        let reason = format!("Rolled back from v{champion} to v{before}: {reason}.");
        let kind = DecisionKind::Rollback;
        let decision = self.decision(model, kind, Some(champion), before, reason);
        self.carry_out_under(decision, turn).await
    }

    async fn restore_under(
        &self,
        model: &ModelName,
        version: VersionId,
        reason: &str,
        turn: &mut Turn,
    ) -> Result<PromotionDecision, Error> {
        self.reconcile_under(model, turn).await?;
        let champion = self.champion(model).await?;
        let served = self.last_change(model, |decision| decision.challenger == version).await?;
        let served = served.ok_or_else(|| {
            let context = format!("v{version} of {model} is not on record as having been served");
            Error::new(ErrorKind::NotFound, PROMOTION, context)
        })?;
        if champion == Some(version) {
            return Ok(served);
        }
        let reason = match champion {
            Some(champion) => format!("v{version} restored in place of v{champion}: {reason}."),
            None => format!("v{version} restored: {reason}."),
        };
        let kind = DecisionKind::Restore;
        let decision = self.decision(model, kind, champion, version, reason);
        self.carry_out_under(decision, turn).await
    }

    /// A decision without comparison. Its times are set when it is recorded.
    fn decision(
        &self,
        model: &ModelName,
        kind: DecisionKind,
        champion: Option<VersionId>,
        challenger: VersionId,
        reason: String,
    ) -> PromotionDecision {
        PromotionDecision {
            id: self.environment.new_id(),
            model: model.clone(),
            kind,
            champion,
            challenger,
            promoted: true,
            reason,
            state: DecisionState::Intended,
            retraining_run: None,
            record: None,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
        }
    }
}

/// Whether it changed what is in production.
fn is_change(decision: &PromotionDecision) -> bool {
    decision.promoted && decision.state == DecisionState::Done
}

fn nothing_served(model: &ModelName) -> Error {
    Error::new(ErrorKind::NotFound, PROMOTION, format!("{model} has no version in production"))
}
