//! Every flow, failing at every one of its calls in turn, and begun again.

use super::faulty::{Fault, Faults};
use super::*;

type Strike = fn(usize) -> Fault;

const STRIKES: [Strike; 4] = [Fault::Refused, Fault::Lost, Fault::KilledBefore, Fault::KilledAfter];

/// More calls than any flow makes.
const MANY: usize = 500;

/// Strikes at the first, second, third ... call of `flow`, until it goes through unstruck.
async fn at_every_call(flow: impl AsyncFn(Arc<Faults>, String)) {
    for strike in STRIKES {
        let mut done = false;
        for n in 1..MANY {
            let faults = Faults::new(strike(n));
            flow(Arc::clone(&faults), format!("{:?}", strike(n))).await;
            done = !faults.struck();
            if done {
                assert!(n > 5, "the flow makes calls");
                break;
            }
        }
        assert!(done, "the flow never went through");
    }
}

#[tokio::test]
async fn the_first_model() {
    at_every_call(async |faults, what| {
        let world = World::new();
        let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
        let _ = retraining(world.faulty_promotion(&faults)).run(&request, &()).await;
        world.retrain(Trigger::Manual).await.unwrap_or_else(|e| panic!("{what}: {}", e.chain()));
        world.check(&what).await;
        assert!(world.champion().await.is_some(), "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_whole_cycle() {
    at_every_call(async |faults, what| {
        let world = World::with_champion().await;
        world.serve(Era::Two, 300, true).await;
        let window = world.monitor().window(HOUR).await.unwrap();
        let turn =
            async |cycle: Cycle| cycle.run(window, async || Ok(world.reference.clone()), &()).await;
        let struck = retraining(world.faulty_promotion(&faults));
        let monitor = world.faulty_monitor(&faults);
        let _ = turn(Cycle::new(monitor, struck, world.model.clone())).await;
        // The next attempt at the same slot.
        let cycle = Cycle::new(world.monitor(), world.retraining(), world.model.clone());
        turn(cycle).await.unwrap_or_else(|e| panic!("{what}: {}", e.chain()));
        world.check(&what).await;
        // Version 3 where version 2 was registered and the answer was lost.
        assert!(world.champion().await > Some(version(1)), "{what}");
        assert_eq!(world.alerts().await.len(), 1, "{what}: one alert");
        let runs = world.runs().await;
        let done = runs.iter().filter(|run| run.state == RunState::Completed).count();
        assert_eq!(done, 2, "{what}: one run for it beside the first: {runs:?}");
        let looks = world.ledger.drift_runs(&world.model, None, 10).await.unwrap().items;
        assert!(looks.iter().filter(|run| run.version == version(1)).count() == 1, "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_promotion_for_an_alert() {
    at_every_call(async |faults, what| {
        let (world, alert) = World::drifted().await;
        let request = RetrainRequest::for_alert(&alert, &world.reference);
        let first = retraining(world.faulty_promotion(&faults)).run(&request, &()).await;
        let done = world.retraining().run(&request, &()).await;
        let done = done.unwrap_or_else(|e| panic!("{what}: {}", e.chain()));
        world.check(&what).await;
        let champion = world.champion().await.unwrap();
        assert!(champion > version(1), "{what}");
        assert_eq!(done.promoted(), Some(champion), "{what}");
        if let Ok(first) = first {
            assert_eq!(first, done, "{what}: asked again, the same run is the answer");
        }
        let alert = world.ledger.alert(alert.id).await.unwrap();
        assert!(alert.retraining_run.is_some() && alert.resolved_at.is_some(), "{what}: {alert:?}");
        assert_eq!(world.alerts().await.len(), 1, "{what}");
        // Once closed, it stays as it is.
        world.retraining().run(&request, &()).await.unwrap();
        assert_eq!(world.ledger.alert(alert.id).await.unwrap(), alert, "{what}");
        assert_eq!(world.champion().await, Some(champion), "{what}");
        world.check(&what).await;
    })
    .await;
}

#[tokio::test]
async fn a_rejection() {
    at_every_call(async |faults, what| {
        let world = World::with_champion().await;
        world.serve(Era::One, 240, true).await;
        let request = RetrainRequest::new(&world.model, Trigger::Scheduled, &world.reference);
        let _ = retraining(world.faulty_promotion(&faults)).run(&request, &()).await;
        world.retrain(Trigger::Scheduled).await.unwrap_or_else(|e| panic!("{what}: {}", e.chain()));
        world.check(&what).await;
        assert_eq!(world.champion().await, Some(version(1)), "{what}");
        let rejected = world.decisions().await.into_iter().find(|d| !d.promoted);
        let rejected = rejected.expect("it was compared").challenger;
        let tags = world.registry.get(&world.model, rejected).await.unwrap().tags;
        assert!(tags.contains_key("pmmds.rejected"), "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_rollback() {
    at_every_call(async |faults, what| {
        let (world, _) = World::drifted().await;
        world.retrain(Trigger::Manual).await.unwrap();
        assert_eq!(world.champion().await, Some(version(2)));
        let faulty = world.faulty_promotion(&faults);
        let first = faulty.rollback_from(&world.model, version(2), "test").await;
        let again = world.promotion().rollback_from(&world.model, version(2), "test").await;
        assert_eq!(world.champion().await, Some(version(1)), "{what}: {first:?} {again:?}");
        let back = |d: &&PromotionDecision| {
            d.kind == DecisionKind::Rollback && d.state == DecisionState::Done
        };
        assert_eq!(world.decisions().await.iter().filter(back).count(), 1, "{what}");
        if let Err(error) = again {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: it was done");
        }
        world.check(&what).await;
    })
    .await;
}

#[tokio::test]
async fn a_restoration() {
    at_every_call(async |faults, what| {
        let (world, _) = World::drifted().await;
        world.retrain(Trigger::Manual).await.unwrap();
        world.promotion().rollback(&world.model, "test").await.unwrap();
        let _ = world.faulty_promotion(&faults).restore(&world.model, version(2), "test").await;
        world.promotion().restore(&world.model, version(2), "test").await.unwrap();
        assert_eq!(world.champion().await, Some(version(2)), "{what}");
        world.check(&what).await;
    })
    .await;
}

#[tokio::test]
async fn a_look_of_the_monitor() {
    at_every_call(async |faults, what| {
        let world = World::with_champion().await;
        world.serve(Era::Two, 200, false).await;
        let window = world.monitor().window(HOUR).await.unwrap();
        let _ = world.look_at(&world.faulty_monitor(&faults), window).await;
        let done = world.look_at(&world.monitor(), window).await.unwrap();
        assert!(done.opened && done.alert.is_some(), "{what}");
        let runs = world.ledger.drift_runs(&world.model, None, 10).await.unwrap().items;
        assert_eq!((runs.len(), world.alerts().await.len()), (1, 1), "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_look_that_resolves() {
    at_every_call(async |faults, what| {
        let world = World::with_champion().await;
        world.serve(Era::Two, 200, false).await;
        let rules = AlertRules::default().resolve_after(2);
        world.look(&world.monitor().rules(rules)).await.unwrap();
        for _ in 0..2 {
            world.serve(Era::One, 200, false).await;
            let window = world.monitor().window(HOUR).await.unwrap();
            let _ = world.look_at(&world.faulty_monitor(&faults).rules(rules), window).await;
            world.look_at(&world.monitor().rules(rules), window).await.unwrap();
        }
        let alerts = world.alerts().await;
        assert_eq!((alerts.len(), alerts[0].quiet_runs), (1, 2), "{what}");
        assert!(alerts[0].resolved_at.is_some(), "{what}");
    })
    .await;
}

#[tokio::test]
async fn faults_by_chance_until_it_goes_through() {
    for seed in 0..60 {
        let what = format!("seed {seed}");
        let (world, alert) = World::drifted().await;
        let request = RetrainRequest::for_alert(&alert, &world.reference);
        let faults = Faults::new(Fault::Random(seed));
        for attempt in 0.. {
            assert!(attempt < 200, "{what}: {} calls", faults.calls());
            world.pass(HOUR);
            let retraining = retraining(world.faulty_promotion(&faults));
            if retraining.run(&request, &()).await.is_ok() {
                break;
            }
        }
        world.retraining().run(&request, &()).await.unwrap();
        world.check(&what).await;
        assert!(world.champion().await > Some(version(1)), "{what}");
        assert!(world.ledger.alert(alert.id).await.unwrap().resolved_at.is_some(), "{what}");
    }
}
