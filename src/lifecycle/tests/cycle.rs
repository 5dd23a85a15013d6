use super::deliver::Pager;
use super::faulty::{Fault, Faults};
use super::*;
use crate::drift::Verdict;
use crate::ledger::{AlertEvent, LeaseStore};
use crate::promote::OriginalPolicy;

impl World {
    fn cycle(&self) -> Cycle {
        self.cycle_of(self.retraining())
    }

    fn cycle_of(&self, retraining: Retraining) -> Cycle {
        Cycle::new(self.monitor(), retraining, self.model.clone())
    }

    /// The cycle over the hour before now.
    async fn turn(&self, cycle: &Cycle) -> Result<CycleRun, Error> {
        let window = self.monitor().window(HOUR).await.unwrap();
        cycle.run(window, async || Ok(self.reference.clone()), &()).await
    }

    /// The same, where nobody may ask for the training data.
    async fn turn_without_rows(&self, cycle: &Cycle) -> CycleRun {
        let window = self.monitor().window(HOUR).await.unwrap();
        cycle.run(window, async || panic!("nobody needs it"), &()).await.unwrap()
    }
}

fn retrained(run: &CycleRun) -> &Retrained {
    match &run.answer {
        Answer::Retrained(done) => done,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cycle_goes_from_drift_to_a_promotion() {
    let world = World::with_champion().await;
    let cycle = world.cycle();
    world.serve(Era::One, 200, false).await;
    let quiet = world.turn_without_rows(&cycle).await;
    assert_eq!(quiet.answer, Answer::NotNeeded);
    assert_eq!(quiet.to_string(), "stable, 200 rows of v1");

    world.serve(Era::Two, 300, true).await;
    let drift = world.turn(&cycle).await.unwrap();
    assert_eq!(retrained(&drift).promoted(), Some(version(2)));
    assert_eq!(
        drift.to_string(),
        "drift, 300 rows of v1; alert opened; retraining completed, v2 is promoted"
    );
    assert_eq!(world.champion().await, Some(version(2)));
    world.serve(Era::Two, 200, true).await;
    let after = world.turn_without_rows(&cycle).await;
    assert_eq!(after.monitored.unwrap().run.report.verdict, Verdict::Stable);
    world.check("cycle").await;
}

#[tokio::test]
async fn receivers_hear_of_an_alert_before_the_retraining_and_of_its_end_after_it() {
    let world = World::with_champion().await;
    let pager = Pager::new("pager");
    let (log, ledger) = (Arc::clone(&world.log) as _, Arc::clone(&world.ledger) as _);
    let delivery = Delivery::new(log, ledger, "cycle").sink(Arc::clone(&pager) as _);
    let cycle = world.cycle().delivery(delivery);
    world.serve(Era::Two, 300, true).await;
    let window = world.monitor().window(HOUR).await.unwrap();
    let reference = async || {
        let heard: Vec<_> = pager.heard().into_iter().map(|(_, event)| event).collect();
        assert_eq!(heard, [AlertEvent::Opened]);
        Ok(world.reference.clone())
    };
    let run = cycle.run(window, reference, &()).await.unwrap();
    assert_eq!(retrained(&run).promoted(), Some(version(2)));
    assert_eq!(run.untold, None);
    let heard: Vec<_> = pager.heard().into_iter().map(|(_, event)| event).collect();
    assert_eq!(heard, [AlertEvent::Resolved]);
}

#[tokio::test]
async fn a_receiver_that_is_away_ends_no_cycle() {
    let world = World::with_champion().await;
    let pager = Pager::new("pager");
    *pager.works.lock().unwrap() = false;
    let (log, ledger) = (Arc::clone(&world.log) as _, Arc::clone(&world.ledger) as _);
    let delivery = Delivery::new(log, ledger, "cycle").sink(Arc::clone(&pager) as _);
    let cycle = world.cycle().delivery(delivery);
    world.serve(Era::Two, 300, true).await;
    let run = world.turn(&cycle).await.unwrap();
    assert_eq!(retrained(&run).promoted(), Some(version(2)));
    let why = "; not every alert is delivered: 1 to be told again, 0 given up";
    assert!(run.to_string().ends_with(why), "{run}");
}

#[tokio::test]
async fn an_alert_can_be_left_to_a_person() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 300, true).await;
    let cycle = world.cycle().on_drift(OnDrift::Tell);
    let run = world.turn_without_rows(&cycle).await;
    let alert = world.alerts().await.remove(0);
    assert_eq!(run.answer, Answer::Told(Box::new(alert)));
    assert_eq!((world.runs().await.len(), world.champion().await), (1, Some(version(1))));
}

#[tokio::test]
async fn nothing_in_production_is_no_error_and_an_outage_is_one() {
    let world = World::new();
    let run = world.turn_without_rows(&world.cycle()).await;
    assert_eq!((run.monitored.is_none(), &run.answer), (true, &Answer::NotNeeded));
    assert_eq!(run.to_string(), "nothing is in production");
    world.registry.take_down();
    let error = world.turn(&world.cycle()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_change_from_outside_is_on_record_before_the_look() {
    let world = World::with_champion().await;
    let files = world.registry.fetch_artifact(&world.model, version(1)).await.unwrap();
    world.registry.register(&world.model, "by-hand", &files).await.unwrap();
    let (production, before) = (Alias::production(), Some(version(1)));
    world.registry.set_alias(&world.model, &production, version(2), before).await.unwrap();
    let run = world.turn_without_rows(&world.cycle()).await;
    assert_eq!(run.monitored.unwrap().run.version, version(2));
    assert_eq!(world.decisions().await[0].kind, DecisionKind::External);
}

#[tokio::test]
async fn a_storm_of_drift_is_one_retraining() {
    let world = World::with_champion().await;
    let reluctant = || {
        let policy = Arc::new(OriginalPolicy::new().min_improvement(2.0));
        let retraining = world.retraining().policy(policy);
        world.cycle_of(retraining.settings(by_time(0.5).cooldown(48 * HOUR)))
    };
    // Eight slots, and at each of them new rows, and an alert that is still open.
    for hour in 0..8 {
        world.serve(Era::Two, 200, true).await;
        let run = world.turn(&reluctant()).await.unwrap();
        assert_eq!(retrained(&run).run.promoted, Some(false), "{hour}: {run}");
    }
    assert_eq!((world.runs().await.len(), world.alerts().await.len()), (2, 1));
    // Other drift makes another alert, and that has to wait.
    world.serve(Era::One, 200, true).await;
    world.turn(&reluctant()).await.unwrap();
    world.serve(Era::One, 200, true).await;
    world.turn(&reluctant()).await.unwrap();
    world.serve(Era::Two, 200, true).await;
    let run = world.turn(&reluctant()).await.unwrap();
    assert!(run.to_string().contains("retraining skipped: cooldown: "), "{run}");
    assert_eq!(world.alerts().await.len(), 2);
    world.pass(48 * HOUR);
    world.serve(Era::Two, 200, true).await;
    let run = world.turn(&reluctant()).await.unwrap();
    assert_eq!(retrained(&run).run.state, RunState::Completed, "{run}");
    world.check("storm").await;
}

#[tokio::test]
async fn a_retraining_elsewhere_does_not_fail_the_look() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 300, true).await;
    let name = format!("retrain/{}", world.model);
    let lease = world.ledger.acquire_lease(&name, "replica-2", HOUR).await.unwrap().unwrap();
    let run = world.turn(&world.cycle()).await.unwrap();
    let why = "retrain: conflict: replica-2 has the turn retrain/churn".to_owned();
    assert_eq!(run.answer, Answer::Busy { why });
    assert_eq!(world.alerts().await.len(), 1);
    // The next slot finds the alert open, and answers it.
    world.ledger.release_lease(&lease).await.unwrap();
    world.pass(HOUR);
    let run = world.turn(&world.cycle()).await.unwrap();
    assert_eq!(retrained(&run).promoted(), Some(version(2)), "{run}");
}

#[tokio::test]
async fn a_run_that_lost_its_process_is_gone_on_with() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 300, true).await;
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    let faults = Faults::new(Fault::KilledBefore(15));
    let _ = retraining(world.faulty_promotion(&faults)).run(&request, &()).await;
    let killed = world.runs().await.remove(0);
    assert_eq!(killed.state, RunState::Running);
    // No window asks for anything, and still it ends.
    world.pass(2 * HOUR);
    let run = world.turn(&world.cycle()).await.unwrap();
    assert_eq!((retrained(&run).run.id, retrained(&run).run.attempts), (killed.id, 2));
    assert_eq!(retrained(&run).promoted(), Some(version(2)), "{run}");
    assert_eq!(world.turn_without_rows(&world.cycle()).await.answer, Answer::NotNeeded);
    world.check("gone on").await;
}

#[tokio::test]
async fn a_run_that_is_given_up_is_not_begun_anew_by_the_schedule() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 300, true).await;
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    for _ in 0..3 {
        let faults = Faults::new(Fault::KilledBefore(15));
        let _ = retraining(world.faulty_promotion(&faults)).run(&request, &()).await;
    }
    world.pass(2 * HOUR);
    let before = world.runs().await.len();
    let run = world.turn(&world.cycle()).await.unwrap();
    assert_eq!(retrained(&run).run.state, RunState::Abandoned);
    assert_eq!(world.runs().await.len(), before);
    world.check("given up").await;
}
