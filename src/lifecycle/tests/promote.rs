use super::faulty::{Fault, Faults};
use super::*;
use crate::ledger::{Alert, LeaseStore};
use crate::registry::ArtifactFiles;

impl World {
    /// Registers a version and points the alias at it, as somebody else would.
    async fn by_hand(&self, run_id: &str) -> VersionId {
        let files = self.registry.fetch_artifact(&self.model, version(1)).await;
        let files = files.unwrap_or_else(|_| ArtifactFiles::new());
        let made = self.registry.register(&self.model, run_id, &files).await.unwrap().version;
        self.point(made).await;
        made
    }

    async fn point(&self, at: VersionId) {
        let before = self.champion().await;
        self.registry.set_alias(&self.model, &Alias::production(), at, before).await.unwrap();
    }

    async fn reconciled(&self) -> Vec<PromotionDecision> {
        self.promotion().reconcile(&self.model).await.unwrap()
    }
}

#[tokio::test]
async fn a_second_rollback_goes_further_back() {
    let world = World::new();
    for run in ["one", "two", "three"] {
        world.by_hand(run).await;
        world.reconciled().await;
    }
    let promotion = world.promotion();
    let back = promotion.rollback(&world.model, "complaints").await.unwrap();
    assert_eq!((back.champion, back.challenger), (Some(version(3)), version(2)));
    assert_eq!(back.reason, "Rolled back from v3 to v2: complaints.");
    assert_eq!((back.kind, back.state), (DecisionKind::Rollback, DecisionState::Done));
    assert_eq!(world.champion().await, Some(version(2)));
    let back = promotion.rollback(&world.model, "still").await.unwrap();
    assert_eq!(back.challenger, version(1));
    let error = promotion.rollback(&world.model, "and again").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "promotion: not found: no version before v1 of churn is on record"
    );
    assert_eq!(world.champion().await, Some(version(1)));
    // A promotion after it is rolled back to what it replaced.
    world.by_hand("four").await;
    assert_eq!(promotion.rollback(&world.model, "no").await.unwrap().challenger, version(1));
}

#[tokio::test]
async fn a_version_that_was_served_can_be_restored() {
    let world = World::with_champion().await;
    let second = world.by_hand("two").await;
    let promotion = world.promotion();
    promotion.rollback(&world.model, "rehearsal").await.unwrap();
    let forth = promotion.restore(&world.model, second, "end of the rehearsal").await.unwrap();
    assert_eq!(forth.reason, "v2 restored in place of v1: end of the rehearsal.");
    assert_eq!((forth.champion, world.champion().await), (Some(version(1)), Some(second)));
    // Asked again, nothing happens; and what it replaced first is still what is before it.
    assert_eq!(promotion.restore(&world.model, second, "again").await.unwrap(), forth);
    assert_eq!(promotion.rollback(&world.model, "no").await.unwrap().challenger, version(1));

    // What was never served has never been compared.
    let files = world.registry.fetch_artifact(&world.model, version(1)).await.unwrap();
    let third = world.registry.register(&world.model, "three", &files).await.unwrap().version;
    let error = promotion.restore(&world.model, third, "why").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "promotion: not found: v3 of churn is not on record as having been served"
    );
    world.reconciled().await;
    assert_eq!(world.champion().await, Some(version(1)));
}

#[tokio::test]
async fn a_restoration_that_died_is_not_taken_for_the_rollback_after_it() {
    let mut finished = 0;
    for call in 1.. {
        let world = World::new();
        for run in ["one", "two"] {
            world.by_hand(run).await;
            world.reconciled().await;
        }
        let (model, promotion) = (&world.model, world.promotion());
        promotion.rollback(model, "rehearsal").await.unwrap();
        let faults = Faults::new(Fault::KilledAfter(call));
        let _ = world.faulty_promotion(&faults).restore(model, version(2), "over").await;
        let moved = world.champion().await == Some(version(2));
        let died = world.decisions().await[0].state == DecisionState::Intended;
        let back = promotion.rollback(model, "complaints").await;
        assert_eq!(world.champion().await, Some(version(1)), "{call}: {back:?}");
        if moved {
            let back = back.unwrap();
            assert_eq!(back.reason, "Rolled back from v2 to v1: complaints.", "{call}");
            let restored = world.decisions().await.remove(1);
            let (kind, state) = (DecisionKind::Restore, DecisionState::Done);
            assert_eq!((restored.kind, restored.state), (kind, state), "{call}");
            finished += usize::from(died);
        } else {
            assert_eq!(back.unwrap_err().kind(), ErrorKind::NotFound, "{call}: none before v1");
        }
        if !faults.struck() {
            break;
        }
    }
    assert!(finished > 0, "it died between the alias and the record");
}

#[tokio::test]
async fn what_was_put_back_by_hand_is_not_rolled_forward() {
    let world = World::new();
    for run in ["one", "two", "three"] {
        world.by_hand(run).await;
        world.reconciled().await;
    }
    // The first decisions are a page away.
    let first = world.decisions().await.remove(0);
    for _ in 0..60 {
        let (id, created_at) = (world.environment.new_id(), world.now());
        let rejected = PromotionDecision { id, promoted: false, created_at, ..first.clone() };
        world.ledger.record_decision(&rejected, None).await.unwrap();
        world.pass(Duration::from_secs(1));
    }
    world.point(version(2)).await;
    assert_eq!(world.reconciled().await[0].kind, DecisionKind::External);
    let promotion = world.promotion();
    assert_eq!(promotion.rollback(&world.model, "no").await.unwrap().challenger, version(1));
    // Also if it was put there by hand more than once, and nothing is before it.
    for at in [3, 1] {
        world.point(version(at)).await;
        world.reconciled().await;
    }
    let error = promotion.rollback(&world.model, "no").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(world.champion().await, Some(version(1)));
}

#[tokio::test]
async fn nothing_is_rolled_back_where_nothing_is_served() {
    let world = World::new();
    let error = world.promotion().rollback(&world.model, "why").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = world.promotion().pin(&world.model, "why").await.unwrap_err();
    assert_eq!(error.to_string(), "promotion: not found: churn has no version in production");
}

#[tokio::test]
async fn rolling_back_from_a_version_happens_once() {
    let world = World::new();
    for run in ["one", "two", "three"] {
        world.by_hand(run).await;
        world.reconciled().await;
    }
    let promotion = world.promotion();
    promotion.rollback_from(&world.model, version(3), "test").await.unwrap();
    let error = promotion.rollback_from(&world.model, version(3), "test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(world.champion().await, Some(version(2)));
}

#[tokio::test]
async fn a_change_from_outside_goes_on_record_once() {
    let world = World::with_champion().await;
    assert!(world.reconciled().await.is_empty());
    let second = world.by_hand("by-hand").await;
    let recorded = world.reconciled().await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].kind, DecisionKind::External);
    assert_eq!((recorded[0].champion, recorded[0].challenger), (Some(version(1)), second));
    assert_eq!(recorded[0].reason, "Alias production was moved from v1 to v2 by somebody else.");
    assert!(world.reconciled().await.is_empty());
    assert_eq!(
        world.promotion().rollback(&world.model, "no").await.unwrap().challenger,
        version(1)
    );
}

#[tokio::test]
async fn a_long_row_of_rejections_is_no_change_from_outside() {
    let world = World::with_champion().await;
    let first = world.decisions().await.remove(0);
    for number in 0..150 {
        let id = world.environment.new_id();
        let created_at = world.now().saturating_add(Duration::from_secs(number));
        let rejected = PromotionDecision {
            id,
            promoted: false,
            challenger: version(2),
            champion: Some(version(1)),
            created_at,
            ..first.clone()
        };
        world.ledger.record_decision(&rejected, None).await.unwrap();
    }
    assert!(world.reconciled().await.is_empty());
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_turn_history_around() {
    let world = World::with_champion().await;
    world.by_hand("two").await;
    world.reconciled().await;
    world.clock.fetch_sub(7_200_000_000, SeqCst);
    world.by_hand("three").await;
    assert_eq!(world.reconciled().await.len(), 1);
    assert!(world.reconciled().await.is_empty(), "the last decision is the last");
    let back = world.promotion().rollback(&world.model, "test").await.unwrap();
    assert_eq!(back.challenger, version(2));
    assert!(world.reconciled().await.is_empty());
}

#[tokio::test]
async fn alerts_about_what_is_not_served_any_more_are_over() {
    let (world, alert) = World::drifted().await;
    let other = Alert {
        id: uuid::Uuid::from_u128(77),
        key: "a store".to_owned(),
        drift_run: None,
        last_run: None,
        ..alert.clone()
    };
    world.ledger.open_alert(&other).await.unwrap();
    world.by_hand("by-hand").await;
    let recorded = world.reconciled().await;
    let open = world.ledger.open_alerts(&world.model).await.unwrap();
    assert_eq!(open, [other], "what is not about drift is not over");
    let alert = world.ledger.alert(alert.id).await.unwrap();
    assert_eq!(alert.resolved_at, Some(recorded[0].updated_at));
    assert_eq!(alert.retraining_run, None);
}

#[tokio::test]
async fn a_decision_on_a_version_that_is_gone_is_cancelled() {
    let world = World::with_champion().await;
    let first = world.decisions().await.remove(0);
    let decision = PromotionDecision {
        id: world.environment.new_id(),
        challenger: version(7),
        champion: Some(version(1)),
        ..first
    };
    let decision = world.promotion().carry_out(decision).await.unwrap();
    assert_eq!(decision.state, DecisionState::Cancelled);
    assert!(decision.reason.ends_with("churn has no version 7."), "{}", decision.reason);
    assert_eq!(world.champion().await, Some(version(1)));
}

#[tokio::test]
async fn of_two_promotions_over_one_champion_the_second_is_told_which_was_first() {
    let world = World::with_champion().await;
    let first = world.decisions().await.remove(0);
    let files = world.registry.fetch_artifact(&world.model, version(1)).await.unwrap();
    // Two replicas have compared a challenger each with version 1.
    let decisions = ["two", "three"].map(|run| {
        let made = elsewhere(world.registry.register(&world.model, run, &files)).unwrap();
        PromotionDecision {
            id: world.environment.new_id(),
            challenger: made.version,
            champion: Some(version(1)),
            ..first.clone()
        }
    });
    let [second, third] = decisions;
    let second = world.promotion_of("replica-1").carry_out(second).await.unwrap();
    assert_eq!(second.state, DecisionState::Done);
    let third = world.promotion_of("replica-2").carry_out(third).await.unwrap();
    assert_eq!(third.state, DecisionState::Cancelled);
    let told = format!("; decision {} was first.", second.id);
    assert!(third.reason.ends_with(&told), "{}", third.reason);
    assert_eq!(world.champion().await, Some(version(2)));
    // Both are on record, and nothing else has happened.
    assert_eq!(world.decisions().await, [third, second, first]);
    assert!(world.reconciled().await.is_empty());
}

#[tokio::test]
async fn one_changes_production_at_a_time() {
    let world = World::with_champion().await;
    let name = format!("promote/{}", world.model);
    world.ledger.acquire_lease(&name, "replica-2", HOUR).await.unwrap().unwrap();
    let error = world.promotion().rollback(&world.model, "test").await.unwrap_err();
    assert_eq!(error.to_string(), "promotion: conflict: replica-2 has the turn promote/churn");
    // It died: its turn ends by itself.
    world.pass(HOUR);
    assert!(world.reconciled().await.is_empty());
}

#[tokio::test]
async fn two_tasks_of_one_process_are_two() {
    let world = World::with_champion().await;
    let promotion = world.promotion();
    let turn = promotion.turns.take("test", "promote/churn".to_owned()).await.unwrap();
    let error = promotion.clone().reconcile(&world.model).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "promotion: conflict: another task of this process has the turn promote/churn"
    );
    turn.give_back().await;
    promotion.reconcile(&world.model).await.unwrap();
    // Also one that was dropped in the middle is free again.
    drop(promotion.turns.take("test", "promote/churn".to_owned()).await.unwrap());
    promotion.reconcile(&world.model).await.unwrap();
}

#[tokio::test]
async fn a_turn_outlives_its_lease_only_if_nobody_else_had_one() {
    let world = World::new();
    let (ours, theirs) = (world.promotion_of("a").turns, world.promotion_of("b").turns);
    let mut turn = ours.take("test", "t".to_owned()).await.unwrap();
    let token = turn.lease().token;
    world.pass(HOUR);
    turn.renew().await.unwrap();
    assert_eq!(turn.lease().token, token + 1);

    world.pass(HOUR);
    theirs.take("test", "t".to_owned()).await.unwrap().give_back().await;
    let error = turn.renew().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "test: conflict: the turn t was lost to another process for a while"
    );
    assert_eq!(world.ledger.lease("t").await.unwrap(), None, "it is not kept either");
    let _held = theirs.take("test", "t".to_owned()).await.unwrap();
    assert_eq!(turn.renew().await.unwrap_err().kind(), ErrorKind::Conflict);
}
