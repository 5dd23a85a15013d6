use super::*;
use crate::artifact::ModelArtifact;
use crate::drift::Verdict;
use crate::ledger::{Alert, LeaseStore};
use crate::log::EventBatch;
use crate::model::{Progress, TrainedModel, Trainer};
use crate::promote::{Candidates, Metric, OriginalPolicy, policy_fn};
use std::sync::Mutex;

impl World {
    async fn retrain_with(&self, settings: RetrainSettings) -> Result<Retrained, Error> {
        let request = RetrainRequest::new(&self.model, Trigger::Manual, &self.reference);
        self.retraining().settings(settings).run(&request, &()).await
    }

    async fn for_alert(&self, alert: &Alert) -> Result<Retrained, Error> {
        let request = RetrainRequest::for_alert(alert, &self.reference);
        self.retraining().run(&request, &()).await
    }

    async fn artifact(&self, version: VersionId) -> ModelArtifact {
        let files = self.registry.fetch_artifact(&self.model, version).await.unwrap();
        ModelArtifact::open(&files, &formats()).unwrap()
    }

    async fn last_run(&self) -> RetrainingRun {
        self.runs().await.remove(0)
    }
}

/// Does something when the rows are gathered, and lets go on.
struct At<F>(&'static str, F);

impl<F: Fn() + Send + Sync> Progress for At<F> {
    fn step(&self, what: &str, _: u64, _: u64) {
        if what == self.0 {
            (self.1)();
        }
    }
}

#[tokio::test]
async fn the_first_model_is_promoted_when_there_is_none() {
    let world = World::new();
    let done = world.retrain(Trigger::Scheduled).await.unwrap();
    assert_eq!(done.promoted(), Some(version(1)));
    assert_eq!((done.run.state, done.run.promoted), (RunState::Completed, Some(true)));
    let decision = done.decision.unwrap();
    assert_eq!((decision.champion, decision.state), (None, DecisionState::Done));
    assert!(decision.reason.starts_with("First model v1 promoted"), "{}", decision.reason);
    let artifact = world.artifact(version(1)).await;
    let training = artifact.training();
    assert_eq!((training.rows, training.holdout_rows), (REFERENCE, 0));
    assert_eq!((training.holdout.as_str(), &training.logged), ("5 folds by entity", &None));
    assert_eq!(artifact.profile().rows(), REFERENCE);
    // Its metrics are those of rows that it had not seen, so they are not too good.
    assert!((0.5..0.8).contains(&training.metrics["roc_auc"]), "{:?}", training.metrics);
    world.check("first").await;
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_one_without_a_champion() {
    let world = World::new();
    world.registry.take_down();
    let error = world.retrain(Trigger::Manual).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    world.registry.bring_up();
    let run = world.last_run().await;
    assert_eq!(run.state, RunState::Failed);
    assert_eq!(run.message.as_deref(), Some("memory registry: unavailable: it was taken down"));
    assert_eq!(world.champion().await, None);
    assert!(world.decisions().await.is_empty());
    world.check("down").await;
    assert_eq!(world.retrain(Trigger::Manual).await.unwrap().promoted(), Some(version(1)));
}

#[tokio::test]
async fn an_alias_that_is_gone_does_not_make_a_first_model() {
    let world = World::with_champion().await;
    // The registry loses the alias and keeps the version.
    let registry = Arc::new(MemoryRegistry::new());
    let files = world.registry.fetch_artifact(&world.model, version(1)).await.unwrap();
    let run_id = world.registry.get(&world.model, version(1)).await.unwrap().run_id;
    registry.register(&world.model, &run_id, &files).await.unwrap();
    let world = World { registry, ..world };
    let error = world.retrain(Trigger::Manual).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "retrain: conflict: alias production of churn points at nothing, on record is v1; restore \
         a version"
    );
    assert_eq!(world.champion().await, None);
    let restored =
        world.promotion().restore(&world.model, version(1), "it was lost").await.unwrap();
    assert_eq!(restored.reason, "v1 restored: it was lost.");
    assert_eq!(world.champion().await, Some(version(1)));
    // A registry that is new altogether is another matter.
    let world = World { registry: Arc::new(MemoryRegistry::new()), ..world };
    assert_eq!(world.retrain(Trigger::Manual).await.unwrap().promoted(), Some(version(1)));
}

#[tokio::test]
async fn a_better_challenger_takes_over() {
    let (world, alert) = World::drifted().await;
    let done = world.for_alert(&alert).await.unwrap();
    assert_eq!(done.promoted(), Some(version(2)));
    assert_eq!(world.champion().await, Some(version(2)));
    let run = &done.run;
    assert_eq!((run.alert, run.drift_run), (Some(alert.id), alert.drift_run));
    assert_eq!((run.challenger, run.promoted), (Some(version(2)), Some(true)));
    let decision = done.decision.as_ref().unwrap();
    assert_eq!((decision.champion, decision.state), (Some(version(1)), DecisionState::Done));
    assert_eq!(run.decision, Some(decision.id));
    let record = decision.record.as_ref().unwrap();
    assert_eq!(record.trigger_type.as_deref(), Some("drift"));
    assert_eq!(record.drift_run_id, alert.drift_run.map(|id| id.to_string()));
    assert_eq!(record.challenger_run_id, Some(run.id.to_string()));
    assert_eq!(record.timestamp, decision.created_at);
    let sure = record.differences.iter().find(|d| d.metric() == Metric::RocAuc).unwrap();
    assert!(sure.lower() > 0.0, "{sure:?}");
    // The alert is closed, and says by what.
    let alert = world.ledger.alert(alert.id).await.unwrap();
    assert_eq!(alert.retraining_run, Some(run.id));
    assert!(alert.resolved_at.is_some_and(|at| at <= run.finished_at.unwrap()));
    // Staging was used, and the reference is on record.
    let staging = world.registry.resolve(&world.model, &Alias::staging()).await.unwrap();
    assert_eq!(staging, Some(version(2)));
    let references = world.ledger.references(&world.model).await.unwrap();
    assert_eq!(references.len(), 2);
    let profile = world.served().await.profile().clone();
    assert_eq!((references[1].name.as_str(), references[1].rows), ("churn-v2", 150));
    assert_eq!(references[1].profile, profile.fingerprint());
    world.check("promoted").await;
}

#[tokio::test]
async fn both_are_judged_on_the_same_rows_in_the_training_set_of_neither() {
    let (world, _) = World::drifted().await;
    // Every row that anything is trained on, by its entity.
    #[derive(Debug, Default)]
    struct Listening(Mutex<Vec<String>>);
    impl Trainer for Listening {
        fn name(&self) -> &str {
            "listening"
        }
        fn fit(&self, data: &Dataset, progress: &dyn Progress) -> Result<TrainedModel, Error> {
            let entities = (0..data.rows()).map(|row| data.entity(row).to_owned());
            self.0.lock().unwrap().extend(entities);
            model::Logistic.fit(data, progress)
        }
    }
    for settings in [by_time(0.5), RetrainSettings::default().min_holdout_rows(20)] {
        let listening = Arc::new(Listening::default());
        let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let rows = policy_fn("rows", move |candidates: Candidates<'_>| {
            let rows = |c: &crate::promote::Candidate| c.evaluation.as_ref().unwrap().rows();
            let both = [rows(candidates.challenger), rows(candidates.serving().unwrap())];
            noted.lock().unwrap().extend(both);
            Err("Nothing is promoted here.".to_owned())
        });
        let retraining = Retraining::new(world.promotion(), Arc::clone(&listening) as _, formats())
            .policy(Arc::new(rows))
            .settings(settings);
        let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
        let done = retraining.run(&request, &()).await.unwrap();
        let holdout: u64 = done.run.details["holdout_rows"].parse().unwrap();
        let training: u64 = done.run.details["training_rows"].parse().unwrap();
        assert_eq!(*seen.lock().unwrap(), [holdout, holdout]);
        assert!(holdout >= 40, "{holdout}");
        let trained = listening.0.lock().unwrap().clone();
        assert_eq!(trained.len() as u64, training);
        // Everything that was logged and not trained on is the holdout.
        let logged = trained.iter().filter(|entity| !entity.starts_with("customer")).count();
        assert_eq!(300 - logged as u64, holdout);
        let champion = world.artifact(version(1)).await;
        assert_eq!(champion.training().logged, None, "no logged row trained the champion");
    }
}

#[tokio::test]
async fn the_profile_is_of_the_holdout_and_like_traffic_is_stable() {
    let (world, alert) = World::drifted().await;
    world.for_alert(&alert).await.unwrap();
    let artifact = world.artifact(version(2)).await;
    assert_eq!((artifact.profile().rows(), artifact.training().holdout_rows), (150, 150));
    world.serve(Era::Two, 300, true).await;
    let done = world.look(&world.monitor()).await.unwrap();
    assert_eq!(done.run.report.verdict, Verdict::Stable, "{}", done.run.report);
    assert_eq!((done.alert, world.runs().await.len()), (None, 2));
}

#[tokio::test]
async fn a_row_that_trained_the_champion_never_judges_it() {
    let world = World::with_champion().await;
    let early = world.serve(Era::Two, 150, false).await;
    world.serve(Era::Two, 150, true).await;
    let late_outcomes = |ids: &[Uuid]| -> Vec<Outcome> {
        let of = |id: &Uuid| {
            let number = u64::try_from(id.as_u128()).unwrap();
            let (_, outcome) = row(&world.schema, Era::Two, number);
            Outcome { request_id: *id, outcome, observed_at: None }
        };
        ids.iter().map(of).collect()
    };
    let settings = || by_time(0.5).min_holdout_rows(50);
    let done = world.retrain_with(settings()).await.unwrap();
    assert_eq!(done.promoted(), Some(version(2)));
    let logged = world.artifact(version(2)).await.training().logged.clone().unwrap();
    assert_eq!(logged.holdout, Holdout::Time { share: 0.5, gap: Duration::ZERO });
    // The outcomes of the first rows come in: the newest half now begins among rows that have
    // trained version 2.
    world.log.record_outcomes(&late_outcomes(&early)).await.unwrap();
    let done = world.retrain_with(settings()).await.unwrap();
    assert_eq!(done.run.details["rows_the_champion_has_seen"], "75");
    assert_eq!(done.run.details["holdout_rows"], "75");
    // So does another rule.
    let done = world.retrain_with(by_time(0.9).min_holdout_rows(50)).await.unwrap();
    assert_eq!(done.run.details["holdout_rows"], "75");
    let hash = RetrainSettings::default().min_holdout_rows(10);
    let done = world.retrain_with(hash).await.unwrap();
    assert!(done.run.details.contains_key("rows_the_champion_has_seen"), "{:?}", done.run.details);
}

#[tokio::test]
async fn unchanged_data_train_nothing() {
    let (world, _) = World::drifted().await;
    let first = world.retrain(Trigger::Manual).await.unwrap();
    let again = world.retrain(Trigger::Manual).await.unwrap();
    assert_eq!((again.run.state, again.decision), (RunState::Skipped, None));
    let why = format!("NoNewData: run {} was on the same rows", first.run.id);
    assert_eq!(again.run.message, Some(why));
    assert_eq!(world.registry.versions(&world.model).await.unwrap().len(), 2);
    world.serve(Era::Two, 10, true).await;
    assert_eq!(world.retrain(Trigger::Manual).await.unwrap().run.state, RunState::Completed);
    world.check("unchanged").await;
}

#[tokio::test]
async fn a_skip_is_no_run_on_the_same_data() {
    let (world, _) = World::drifted().await;
    let few = world.retrain_with(by_time(0.5).min_holdout_rows(1_000)).await.unwrap();
    assert_eq!(
        few.run.message.as_deref(),
        Some("150 labelled rows to judge the models on, 1000 are needed")
    );
    assert_eq!(few.run.state, RunState::Skipped);
    assert_eq!(world.retrain(Trigger::Manual).await.unwrap().promoted(), Some(version(2)));
}

#[tokio::test]
async fn too_little_gain_is_rejected_with_every_reason() {
    let world = World::with_champion().await;
    world.serve(Era::One, 300, true).await;
    let done = world.retrain(Trigger::Scheduled).await.unwrap();
    assert_eq!((done.promoted(), done.run.promoted), (None, Some(false)));
    assert_eq!(world.champion().await, Some(version(1)));
    let decision = done.decision.unwrap();
    assert_eq!((decision.state, decision.promoted), (DecisionState::Done, false));
    let record = decision.record.as_ref().unwrap();
    let criteria: Vec<&str> = record.reasons.iter().map(|r| r.criterion.as_str()).collect();
    assert_eq!(criteria, ["metric_improvement", "validation_passed", "latency_acceptable"]);
    assert_eq!(record.rejection_reasons.len(), 1);
    let tags = world.registry.get(&world.model, version(2)).await.unwrap().tags;
    assert_eq!(tags["pmmds.rejected"], decision.reason);
    world.check("rejected").await;
}

#[tokio::test]
async fn a_reason_of_any_length_fits_on_the_version() {
    let world = World::with_champion().await;
    world.serve(Era::One, 300, true).await;
    let talkative = policy_fn("talkative", |_: Candidates<'_>| Err("\0é".repeat(10_000)));
    let retraining = world.retraining().policy(Arc::new(talkative));
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    let done = retraining.run(&request, &()).await.unwrap();
    assert_eq!(done.run.state, RunState::Completed);
    let tags = world.registry.get(&world.model, version(2)).await.unwrap().tags;
    assert!((4_990..=5_000).contains(&tags["pmmds.rejected"].len()));
}

#[tokio::test]
async fn data_that_do_not_pass_stop_the_run() {
    let world = World::new();
    let mut reference = world.reference.clone();
    let (mut bad, label) = row(&world.schema, Era::One, 0);
    bad.set(world.schema.id("charges").unwrap(), Value::Number(-5.0));
    reference.push(&bad, label, "bad");
    let world = World { reference, ..world };
    let error = world.retrain(Trigger::Manual).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let run = world.last_run().await;
    assert_eq!(run.state, RunState::Failed);
    assert_eq!(
        run.message.as_deref(),
        Some(
            "retrain: invalid input: the training data has 1 validation errors, the first: Row \
             240: Invalid value for charges: -5. Must be a number between 0 and 1000"
        )
    );
    assert!(world.registry.versions(&world.model).await.unwrap().is_empty());

    // Without the gate it is trained, and not promoted: nobody looked.
    let done = world.retrain_with(by_time(0.5).validate_data(false)).await.unwrap();
    assert_eq!((done.promoted(), world.champion().await), (None, None));
    let record = done.decision.unwrap().record.unwrap();
    assert_eq!(record.validation_passed, None);
    assert_eq!(world.artifact(version(1)).await.validation(), None);
    // Unless the policy does not ask.
    let improving = crate::promote::MinImprovement { metric: Metric::RocAuc, at_least: 0.0 };
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    let retraining = world.retraining().policy(Arc::new(improving));
    let done =
        retraining.settings(by_time(0.5).validate_data(false)).run(&request, &()).await.unwrap();
    assert_eq!(done.promoted(), Some(version(2)));
}

#[tokio::test]
async fn one_class_judges_nothing_and_trains_nothing() {
    let world = World::with_champion().await;
    let ids = world.serve(Era::Two, 300, false).await;
    let stay = |id: &Uuid| Outcome { request_id: *id, outcome: 0.0, observed_at: None };
    world.log.record_outcomes(&ids.iter().map(stay).collect::<Vec<_>>()).await.unwrap();
    let done = world.retrain(Trigger::Manual).await.unwrap();
    assert_eq!(
        done.run.message.as_deref(),
        Some("0 of the 150 rows to judge the models on have label 1, 2 are needed")
    );
    // A reference of one class.
    let world = World::new();
    let stay: Vec<usize> =
        (0..world.reference.rows()).filter(|row| world.reference.labels()[*row] < 0.5).collect();
    let world = World { reference: world.reference.select(&stay), ..world };
    let error = world.retrain(Trigger::Manual).await.unwrap_err();
    assert_eq!(error.to_string(), "logistic: invalid input: all rows are of one class");
    assert_eq!(world.last_run().await.state, RunState::Failed);
}

#[tokio::test]
async fn rows_that_are_no_use_are_counted_and_left_out() {
    let (world, _) = World::drifted().await;
    let served = world.served().await;
    world.pass(HOUR);
    let mut batch = EventBatch::new(
        BatchId(Uuid::from_u128(9)),
        world.model.clone(),
        served.version(),
        served.profile(),
    );
    let features = ["{\"charges\": 5}", "no json", "{\"charges\": 5, \"tenure\": 1}"];
    for (number, json) in (1_000_000_u128..).zip(features) {
        let id = Uuid::from_u128(number);
        let (row, _) = row(&world.schema, Era::Two, 0);
        let (prediction, codes) = served.predict(&row).unwrap();
        let event = InferenceEvent::new(id, id, world.now(), prediction, Duration::ZERO, codes)
            .with_features(json.to_owned());
        batch.push(served.profile(), &row, event);
        let outcome = Outcome { request_id: id, outcome: 7.0, observed_at: None };
        world.log.record_outcomes(&[outcome]).await.unwrap();
    }
    world.log.append(&batch).await.unwrap();
    let done = world.retrain(Trigger::Manual).await.unwrap();
    assert_eq!(done.promoted(), Some(version(2)));
    let details = &done.run.details;
    assert_eq!(
        (details["unreadable_rows"].as_str(), details["unusable_outcomes"].as_str()),
        ("2", "1")
    );
    assert!(details["unreadable_because"].contains("tenure"), "{details:?}");
    assert_eq!(details["holdout_rows"], "150");
}

#[tokio::test]
async fn one_alert_starts_one_run() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 300, true).await;
    let alert = world.look(&world.monitor()).await.unwrap().alert.unwrap();
    let reluctant = || Arc::new(OriginalPolicy::new().min_improvement(2.0));
    let request = RetrainRequest::for_alert(&alert, &world.reference);
    let hour = || by_time(0.5).cooldown(HOUR);
    let ask = async || {
        let retraining = world.retraining().policy(reluctant()).settings(hour());
        retraining.run(&request, &()).await.unwrap()
    };
    let first = ask().await;
    assert_eq!((first.run.state, first.run.promoted), (RunState::Completed, Some(false)));
    assert_eq!(ask().await, first);
    world.serve(Era::Two, 10, true).await;
    world.clock.fetch_sub(7_200_000_000, SeqCst);
    assert_eq!(ask().await, first);
    // The cooldown is over, and there are new rows: another run.
    world.pass(4 * HOUR);
    let second = ask().await;
    assert_ne!(second.run.id, first.run.id);
    assert_eq!(second.run.state, RunState::Completed);
    // Over again, and nothing is new.
    world.pass(2 * HOUR);
    let third = ask().await;
    assert_eq!(third.run.state, RunState::Skipped);
    assert!(third.run.message.unwrap().starts_with("NoNewData"));
    assert_eq!(world.runs().await.len(), 4);
    let linked = world.ledger.alert(alert.id).await.unwrap();
    assert_eq!((linked.retraining_run, linked.resolved_at), (Some(first.run.id), None));
    world.check("one run").await;
}

#[tokio::test]
async fn an_alert_without_labels_gets_its_run_when_they_come() {
    let world = World::with_champion().await;
    let ids = world.serve(Era::Two, 300, false).await;
    let alert = world.look(&world.monitor()).await.unwrap().alert.unwrap();
    let early = world.for_alert(&alert).await.unwrap();
    assert_eq!(early.run.state, RunState::Skipped);
    let truth = |id: &Uuid| {
        let (_, outcome) = row(&world.schema, Era::Two, u64::try_from(id.as_u128()).unwrap());
        Outcome { request_id: *id, outcome, observed_at: None }
    };
    world.log.record_outcomes(&ids.iter().map(truth).collect::<Vec<_>>()).await.unwrap();
    let done = world.for_alert(&alert).await.unwrap();
    assert_eq!((done.run.id, done.promoted()), (early.run.id, Some(version(2))));
    assert_eq!(world.runs().await.len(), 2, "the skipped run is the one that went through");
}

#[tokio::test]
async fn drift_has_to_wait_for_the_cooldown() {
    let (world, alert) = World::drifted().await;
    let ask = async |alert: &Alert| {
        let retraining = world.retraining().settings(by_time(0.5).cooldown(24 * HOUR));
        retraining.run(&RetrainRequest::for_alert(alert, &world.reference), &()).await.unwrap()
    };
    assert_eq!(ask(&alert).await.promoted(), Some(version(2)));
    // Back to the first era at once: another episode, too soon.
    world.serve(Era::One, 600, true).await;
    let second = world.look(&world.monitor()).await.unwrap().alert.unwrap();
    let skipped = ask(&second).await;
    assert_eq!(skipped.run.state, RunState::Skipped);
    assert!(skipped.run.message.as_ref().unwrap().starts_with("cooldown: "));
    assert_eq!(ask(&second).await.run.id, skipped.run.id, "asked again, the same record");
    // A person does not have to wait, and neither has the alert when it is over.
    world.pass(24 * HOUR);
    let done = ask(&second).await;
    assert_eq!((done.run.id, done.run.state), (skipped.run.id, RunState::Completed));
    world.check("cooldown").await;
}

#[tokio::test]
async fn an_alert_that_is_over_starts_nothing() {
    let (world, alert) = World::drifted().await;
    let mut over = alert.clone();
    over.resolved_at = Some(world.now());
    world.ledger.update_alert(&over).await.unwrap();
    let done = world.for_alert(&alert).await.unwrap();
    assert_eq!(done.run.state, RunState::Skipped);
    assert!(done.run.message.unwrap().starts_with("the alert was over at "));

    let request = RetrainRequest {
        model: &"other".parse().unwrap(),
        ..RetrainRequest::for_alert(&alert, &world.reference)
    };
    let error = world.retraining().run(&request, &()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn failures_are_tried_again_but_not_without_end() {
    let (world, alert) = World::drifted().await;
    world.registry.take_down();
    for _ in 0..3 {
        assert_eq!(world.for_alert(&alert).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(world.runs().await.len(), 4);
    let ask = async || {
        let retraining = world.retraining().settings(by_time(0.5).cooldown(HOUR));
        retraining.run(&RetrainRequest::for_alert(&alert, &world.reference), &()).await
    };
    let waiting = ask().await.unwrap();
    assert_eq!((waiting.run.state, world.runs().await.len()), (RunState::Failed, 4));
    world.registry.bring_up();
    world.pass(HOUR);
    assert_eq!(ask().await.unwrap().promoted(), Some(version(2)));
    world.check("failures").await;
}

#[tokio::test]
async fn a_run_that_dies_every_time_is_given_up() {
    let (world, _) = World::drifted().await;
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    for _ in 0..3 {
        // The process dies while it trains: dropped, and no word to anybody.
        let faults = faulty::Faults::new(faulty::Fault::KilledBefore(15));
        let _ = retraining(world.faulty_promotion(&faults)).run(&request, &()).await;
        assert_eq!(world.last_run().await.state, RunState::Running);
    }
    let first = world.last_run().await;
    assert_eq!(first.attempts, 3);
    let done = world.retrain(Trigger::Manual).await.unwrap();
    assert_ne!(done.run.id, first.id, "a new run in its place");
    assert_eq!(done.promoted(), Some(version(2)));
    let first = world.ledger.retraining_run(first.id).await.unwrap();
    assert_eq!(first.state, RunState::Abandoned);
    assert_eq!(first.message.as_deref(), Some("it was begun 3 times and did not end"));
    world.check("given up").await;
}

#[tokio::test]
async fn a_version_of_other_rows_is_not_gone_on_with() {
    let world = World::with_champion().await;
    let late = world.serve(Era::Two, 20, false).await;
    world.serve(Era::Two, 280, true).await;
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    // It dies as soon as its version is registered.
    let died = 'died: {
        for n in 10..60 {
            let faults = faulty::Faults::new(faulty::Fault::KilledBefore(n));
            let _ = retraining(world.faulty_promotion(&faults)).run(&request, &()).await;
            if world.registry.versions(&world.model).await.unwrap().len() == 2 {
                break 'died world.last_run().await;
            }
        }
        panic!("it never came that far");
    };
    // More outcomes of the same time come in: other rows would judge what they may have trained.
    let stay = |id: &Uuid| Outcome { request_id: *id, outcome: 0.0, observed_at: None };
    world.log.record_outcomes(&late.iter().map(stay).collect::<Vec<_>>()).await.unwrap();
    let settings = by_time(0.5).max_attempts(100);
    let done = world.retraining().settings(settings).run(&request, &()).await.unwrap();
    assert_eq!(done.promoted(), Some(version(3)));
    let died = world.ledger.retraining_run(died.id).await.unwrap();
    assert_eq!(died.state, RunState::Abandoned);
    assert_eq!(
        died.message.as_deref(),
        Some("its rows have changed since it registered its version")
    );
    world.check("other rows").await;
}

#[tokio::test]
async fn a_pinned_champion_stays_until_the_pin_is_lifted() {
    let (world, _) = World::drifted().await;
    assert_eq!(world.promotion().pin(&world.model, "audit").await.unwrap(), version(1));
    let done = world.retrain(Trigger::Manual).await.unwrap();
    let decision = done.decision.unwrap();
    assert!(!decision.promoted);
    assert!(decision.reason.ends_with("Champion v1 is pinned: audit."), "{}", decision.reason);
    assert_eq!(world.champion().await, Some(version(1)));
    world.promotion().pin(&world.model, "").await.unwrap();
    world.serve(Era::Two, 10, true).await;
    let done = world.retrain(Trigger::Manual).await.unwrap();
    assert_eq!(done.promoted(), Some(version(3)));
    world.check("pinned").await;
}

#[tokio::test]
async fn an_alias_moved_during_the_comparison_cancels_it() {
    let (world, alert) = World::drifted().await;
    let files = world.registry.fetch_artifact(&world.model, version(1)).await.unwrap();
    world.registry.register(&world.model, "by-hand", &files).await.unwrap();
    let (registry, model) = (Arc::clone(&world.registry), world.model.clone());
    let moved = At("compare", move || {
        let production = Alias::production();
        elsewhere(registry.set_alias(&model, &production, version(2), Some(version(1)))).unwrap();
    });
    let request = RetrainRequest::for_alert(&alert, &world.reference);
    let done = world.retraining().run(&request, &moved).await.unwrap();
    assert_eq!(done.promoted(), None);
    assert_eq!((done.run.state, done.run.promoted), (RunState::Completed, Some(false)));
    let decision = done.decision.unwrap();
    assert_eq!((decision.promoted, decision.state), (true, DecisionState::Cancelled));
    assert_eq!(world.champion().await, Some(version(2)));
    // The change from outside is on record, and the same rows can be judged against the new one.
    let external = world.decisions().await.into_iter().find(|d| d.kind == DecisionKind::External);
    let external = external.unwrap();
    assert_eq!(external.challenger, version(2));
    let told = format!(
        "Not carried out: memory registry: conflict: alias production of churn points at version 2, \
         expected version 1; decision {} was first.",
        external.id
    );
    assert!(decision.reason.ends_with(&told), "{}", decision.reason);
    let again = world.retrain(Trigger::Manual).await.unwrap();
    assert_eq!(again.promoted(), Some(version(4)), "{:?}", again.run);
}

#[tokio::test]
async fn a_rollback_during_training_wins() {
    let (world, _) = World::drifted().await;
    world.retrain(Trigger::Manual).await.unwrap();
    world.serve(Era::One, 600, true).await;
    let (promotion, model) = (world.promotion(), world.model.clone());
    let rolled = At("train", move || {
        let back = elsewhere(promotion.rollback(&model, "complaints")).unwrap();
        assert_eq!(back.challenger, version(1));
    });
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    let always = policy_fn("always", |_: Candidates<'_>| Ok("Yes.".to_owned()));
    let retraining = world.retraining().policy(Arc::new(always));
    let done = retraining.run(&request, &rolled).await.unwrap();
    assert_eq!(done.promoted(), None);
    let cancelled = done.decision.unwrap();
    assert_eq!(cancelled.state, DecisionState::Cancelled);
    assert_eq!(world.champion().await, Some(version(1)));
    // Both are on record, and the one that lost says which won.
    let [last, before, ..] = &world.decisions().await[..] else { panic!("two at least") };
    assert_eq!((last, before.kind), (&cancelled, DecisionKind::Rollback));
    assert_eq!((before.champion, before.state), (Some(version(2)), DecisionState::Done));
    let told = format!("; decision {} was first.", before.id);
    assert!(cancelled.reason.ends_with(&told), "{}", cancelled.reason);
}

#[tokio::test]
async fn one_retrains_at_a_time() {
    let (world, _) = World::drifted().await;
    let name = format!("retrain/{}", world.model);
    let before = world.runs().await.len();
    let lease = world.ledger.acquire_lease(&name, "replica-2", HOUR).await.unwrap().unwrap();
    let error = world.retrain(Trigger::Manual).await.unwrap_err();
    assert_eq!(error.to_string(), "retrain: conflict: replica-2 has the turn retrain/churn");
    assert_eq!(world.runs().await.len(), before);
    // Somebody takes over in the middle: what this one writes does not count any more.
    world.ledger.release_lease(&lease).await.unwrap();
    let (ledger, clock) = (Arc::clone(&world.ledger), Arc::clone(&world.clock));
    let taken = At("train", move || {
        clock.fetch_add(3_600_000_000, SeqCst);
        elsewhere(ledger.acquire_lease(&name, "replica-2", HOUR)).unwrap().unwrap();
    });
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    let error = world.retraining().run(&request, &taken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(world.registry.versions(&world.model).await.unwrap().len(), 1);
    assert_eq!(world.last_run().await.state, RunState::Running, "the other one's to end");
}

#[tokio::test]
async fn a_long_training_keeps_its_turn_if_nobody_takes_it() {
    let (world, _) = World::drifted().await;
    let clock = Arc::clone(&world.clock);
    let long = At("train", move || {
        clock.fetch_add(10 * 3_600_000_000, SeqCst);
    });
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    let done = world.retraining().run(&request, &long).await.unwrap();
    assert_eq!(done.promoted(), Some(version(2)));
    world.check("long").await;
}

#[tokio::test]
async fn where_staging_is_served_nothing_moves_it_uncompared() {
    let world = World::new();
    let retraining = || retraining(world.promotion().alias(Alias::staging()));
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &world.reference);
    let never = policy_fn("never", |_: Candidates<'_>| Err("No.".to_owned()));
    retraining().policy(Arc::new(never)).run(&request, &()).await.unwrap();
    let staging = world.registry.resolve(&world.model, &Alias::staging()).await.unwrap();
    assert_eq!(staging, None);
}

#[tokio::test]
async fn only_recent_traffic_is_used_where_asked() {
    let world = World::with_champion().await;
    world.serve(Era::One, 300, true).await;
    world.serve(Era::Two, 300, true).await;
    let settings = RetrainSettings::default().min_holdout_rows(20).recent(HOUR);
    let done = world.retrain_with(settings).await.unwrap();
    let number = |name: &str| done.run.details[name].parse::<u64>().unwrap();
    let kept = (0..world.reference.rows()).filter(|row| {
        Holdout::default().side_of_entity(world.reference.entity(*row)) == Side::Train
    });
    assert_eq!(number("training_rows") + number("holdout_rows"), kept.count() as u64 + 300);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_done() {
    let world = World::new();
    for (settings, problem) in [
        (by_time(1.0), "leaves no rows on one side"),
        (by_time(f64::NAN), "leaves no rows on one side"),
        (by_time(0.5).level(2.0), "level 2 is not between 0 and 1"),
        (by_time(0.5).folds(1), "the folds cannot be used"),
    ] {
        let error = world.retrain_with(settings).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(problem), "{error}");
    }
    assert!(world.runs().await.is_empty());
}
