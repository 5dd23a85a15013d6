use super::*;
use crate::drift::{DriftDetector, DriftSettings, Severity, Verdict};
use crate::ledger::{Alert, LeaseStore};

async fn verdict(world: &World) -> Verdict {
    let done = world.look(&world.monitor()).await.unwrap();
    let stored = world.ledger.drift_run(done.run.id).await.unwrap();
    assert_eq!(stored, done.run, "what is returned is what is on record");
    done.run.report.verdict
}

#[tokio::test]
async fn every_verdict_goes_on_record() {
    let world = World::with_champion().await;
    world.pass(HOUR);
    assert_eq!(verdict(&world).await, Verdict::NoTraffic);
    world.serve(Era::One, 99, false).await;
    assert_eq!(verdict(&world).await, Verdict::InsufficientData { have: 99, need: 100 });
    world.serve(Era::One, 200, false).await;
    assert_eq!(verdict(&world).await, Verdict::Stable);
    world.serve(Era::Two, 200, false).await;
    assert_eq!(verdict(&world).await, Verdict::Drift);
    world.serve(Era::Gap, 200, false).await;
    assert_eq!(verdict(&world).await, Verdict::FeatureDrift);
    let runs = world.ledger.drift_runs(&world.model, None, 10).await.unwrap().items;
    assert_eq!(runs.len(), 5);
}

#[tokio::test]
async fn rows_of_another_profile_are_not_compared() {
    let world = World::with_champion().await;
    world.serve(Era::One, 200, false).await;
    let other = crate::drift::Profile::fit(&world.reference.columns().batch()).unwrap();
    let monitor = world.monitor();
    let window = monitor.window(HOUR).await.unwrap();
    let done = monitor.run(&world.model, version(1), &other, window).await.unwrap();
    let why = "200 rows of the window were encoded with another profile".to_owned();
    assert_eq!(done.run.report.verdict, Verdict::NotComparable { why });
    assert_eq!(done.alert, None);
}

#[tokio::test]
async fn more_drifted_features_than_there_are_cannot_be_asked_for() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 200, false).await;
    // Two features: the usual 3 are both of them, and 4 would never be.
    for (asked, verdict) in [(3, Some(Verdict::Drift)), (4, None)] {
        let settings = DriftSettings { min_drift_features: asked, ..DriftSettings::default() };
        let monitor = world.monitor().detector(DriftDetector::new(settings).unwrap());
        match (world.look(&monitor).await, verdict) {
            (Ok(done), Some(verdict)) => assert_eq!(done.run.report.verdict, verdict),
            (Err(error), None) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                let said = "monitor: invalid input: the detector is not for version 1 of churn: \
                            min_drift_features is 4, expected at most 2, as many features as there \
                            are";
                assert_eq!(error.chain(), said);
            }
            (found, _) => panic!("{asked}: {found:?}"),
        }
    }
    let runs = world.ledger.drift_runs(&world.model, None, 10).await.unwrap().items;
    assert_eq!(runs.len(), 1, "what was not looked at is not on record");
}

#[tokio::test]
async fn drift_opens_one_alert_that_says_what_changed() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 200, false).await;
    let first = world.look(&world.monitor()).await.unwrap();
    assert!(first.opened);
    let alert = first.alert.unwrap();
    assert_eq!((alert.severity, alert.key.as_str()), (Severity::Major, "drift"));
    assert_eq!(alert.features, ["charges", "tenure"]);
    let words = alert.message.as_str();
    assert!(words.starts_with("2 of 2 features drifted: charges (PSI "), "{words}");
    assert!(words.contains("; tenure (PSI "), "{words}");
    assert_eq!(world.alerts().await, std::slice::from_ref(&alert));

    world.serve(Era::Two, 200, false).await;
    let second = world.look(&world.monitor()).await.unwrap();
    let confirmed = second.alert.unwrap();
    assert!(!second.opened);
    assert_eq!((confirmed.id, confirmed.last_run), (alert.id, Some(second.run.id)));
    assert_eq!(world.alerts().await, [confirmed]);
}

#[tokio::test]
async fn an_alert_ends_after_two_quiet_runs_and_unknown_ones_do_not_count() {
    let world = World::with_champion().await;
    let monitor = world.monitor();
    world.serve(Era::Two, 200, false).await;
    let alert = world.look(&monitor).await.unwrap().alert.unwrap();

    world.serve(Era::One, 200, false).await;
    assert!(world.look(&monitor).await.unwrap().resolved.is_empty());
    // An empty hour, one with too few rows, and one that cannot be compared.
    world.pass(2 * HOUR);
    assert!(world.look(&monitor).await.unwrap().resolved.is_empty());
    world.serve(Era::One, 50, false).await;
    assert!(world.look(&monitor).await.unwrap().resolved.is_empty());
    let other = crate::drift::Profile::fit(&world.reference.columns().batch()).unwrap();
    let window = monitor.window(HOUR).await.unwrap();
    monitor.run(&world.model, version(1), &other, window).await.unwrap();
    assert_eq!(world.ledger.alert(alert.id).await.unwrap().quiet_runs, 1);

    world.serve(Era::One, 200, false).await;
    let done = world.look(&monitor).await.unwrap();
    assert_eq!(done.alert, None);
    assert_eq!(done.resolved.len(), 1);
    assert_eq!(done.resolved[0].resolved_at, Some(done.run.created_at));
    assert_eq!(world.ledger.open_alerts(&world.model).await.unwrap(), []);

    // What comes back later is another alert.
    world.serve(Era::Two, 200, false).await;
    assert_ne!(world.look(&monitor).await.unwrap().alert.unwrap().id, alert.id);
}

#[tokio::test]
async fn an_alert_that_is_not_about_drift_is_left_to_whoever_opened_it() {
    let (world, drift) = World::drifted().await;
    let alert = Alert {
        id: uuid::Uuid::from_u128(77),
        key: "a store".to_owned(),
        drift_run: None,
        last_run: None,
        ..drift
    };
    world.ledger.open_alert(&alert).await.unwrap();
    for _ in 0..3 {
        world.serve(Era::One, 200, false).await;
        world.look(&world.monitor()).await.unwrap();
    }
    assert_eq!(world.ledger.open_alerts(&world.model).await.unwrap(), [alert]);
}

#[tokio::test]
async fn a_quiet_run_between_two_alarms_starts_the_count_anew() {
    let world = World::with_champion().await;
    for era in [Era::Two, Era::One, Era::Two, Era::One] {
        world.serve(era, 200, false).await;
        world.look(&world.monitor()).await.unwrap();
    }
    let alerts = world.alerts().await;
    assert_eq!((alerts.len(), alerts[0].quiet_runs, alerts[0].resolved_at), (1, 1, None));
}

#[tokio::test]
async fn it_takes_as_many_alarms_in_a_row_as_asked() {
    let world = World::with_champion().await;
    let monitor = world.monitor().rules(AlertRules::default().open_after(2));
    world.serve(Era::Two, 200, false).await;
    assert_eq!(world.look(&monitor).await.unwrap().alert, None);
    world.serve(Era::One, 200, false).await;
    world.look(&monitor).await.unwrap();
    world.serve(Era::Two, 200, false).await;
    assert_eq!(world.look(&monitor).await.unwrap().alert, None, "the row was broken");
    // An empty hour says nothing, also not that it is over.
    world.pass(2 * HOUR);
    assert_eq!(world.look(&monitor).await.unwrap().alert, None);
    world.serve(Era::Two, 200, false).await;
    assert!(world.look(&monitor).await.unwrap().opened);
}

#[tokio::test]
async fn alarms_in_a_row_are_those_of_one_version() {
    let world = World::with_champion().await;
    let monitor = world.monitor().rules(AlertRules::default().open_after(2));
    let profile = world.served().await.profile().clone();
    for turn in 0..2 {
        world.serve(Era::Two, 200, false).await;
        let window = monitor.window(HOUR).await.unwrap();
        // A shadow version is watched in between.
        monitor.run(&world.model, version(9), &profile, window).await.unwrap();
        let done = monitor.run(&world.model, version(1), &profile, window).await.unwrap();
        assert_eq!(done.opened, turn == 1);
    }
}

#[tokio::test]
async fn traffic_that_stays_away_is_told_once_and_is_over_with_the_first_verdict() {
    let world = World::with_champion().await;
    let monitor = world.monitor().rules(AlertRules::default().unknown_after(Some(3)));
    let look = async || {
        world.pass(2 * HOUR);
        world.look(&monitor).await.unwrap()
    };
    // Two empty hours, a verdict, and two again: no row of three.
    for _ in 0..2 {
        assert_eq!(look().await.alert, None);
    }
    world.serve(Era::One, 200, false).await;
    assert_eq!(world.look(&monitor).await.unwrap().alert, None);
    for _ in 0..2 {
        assert_eq!(look().await.alert, None);
    }
    world.serve(Era::One, 99, false).await;
    let told = world.look(&monitor).await.unwrap();
    let alert = told.alert.unwrap();
    assert!(told.opened);
    assert_eq!((alert.key.as_str(), alert.severity), ("no verdict", Severity::Moderate));
    let words = alert.message.as_str();
    assert!(words.starts_with("there is no verdict: ") && words.contains("99"), "{words}");
    // Three days more are one alert.
    for _ in 0..36 {
        let again = look().await;
        assert_eq!((again.alert.unwrap().id, again.opened), (alert.id, false));
    }
    world.serve(Era::Two, 200, false).await;
    let over = world.look(&monitor).await.unwrap();
    assert_eq!(over.resolved.iter().map(|alert| alert.id).collect::<Vec<_>>(), [alert.id]);
    assert_eq!(over.alert.unwrap().key, "drift", "whatever the verdict is");
    assert_eq!(world.alerts().await.len(), 2);
    // By default nobody is told.
    world.pass(9 * HOUR);
    for _ in 0..9 {
        world.pass(2 * HOUR);
        assert_eq!(world.look(&world.monitor()).await.unwrap().alert, None);
    }
}

#[tokio::test]
async fn alerts_can_be_turned_off() {
    let world = World::with_champion().await;
    world.serve(Era::Two, 200, false).await;
    let monitor = world.monitor().rules(AlertRules::default().enabled(false));
    let done = world.look(&monitor).await.unwrap();
    assert_eq!(done.run.report.verdict, Verdict::Drift);
    assert_eq!((done.alert, world.alerts().await.len()), (None, 0));
}

/// A detector to which features never drift, so that signals stand alone.
fn signals_only() -> DriftDetector {
    let settings = DriftSettings { psi_threshold: 1_000.0, ..DriftSettings::default() };
    DriftDetector::new(settings).unwrap()
}

#[tokio::test]
async fn drift_of_predictions_alone_is_told_unless_turned_off() {
    let world = World::with_champion().await;
    world.serve(Era::Upper, 200, false).await;
    let monitor = || world.monitor().detector(signals_only());
    let rules = AlertRules::default().prediction_drift(false);
    let quiet = world.look(&monitor().rules(rules)).await.unwrap();
    assert_eq!((quiet.alert, &quiet.run.report.verdict), (None, &Verdict::Stable));
    let alert = world.look(&monitor()).await.unwrap().alert.unwrap();
    assert_eq!((alert.key.as_str(), alert.severity), ("signals", Severity::Moderate));
    assert!(alert.features.is_empty());
    assert!(alert.message.starts_with("predictions drifted: PSI "), "{}", alert.message);
}

#[tokio::test]
async fn one_cause_makes_one_alert() {
    let world = World::with_champion().await;
    let (signals, drift) = (world.monitor().detector(signals_only()), world.monitor());
    world.serve(Era::Two, 200, false).await;
    let first = world.look(&signals).await.unwrap().alert.unwrap();
    assert_eq!(first.key, "signals");
    // The signals become drift: its alert takes over.
    world.serve(Era::Two, 200, false).await;
    let done = world.look(&drift).await.unwrap();
    assert_eq!(done.resolved.iter().map(|alert| alert.id).collect::<Vec<_>>(), [first.id]);
    let second = done.alert.unwrap();
    assert_eq!(second.key, "drift");
    // The drift fades into signals: no third alert while the second is open, one when it is over.
    world.serve(Era::Two, 200, false).await;
    let done = world.look(&signals).await.unwrap();
    assert_eq!((done.alert, done.opened), (None, false));
    world.serve(Era::Two, 200, false).await;
    let done = world.look(&signals).await.unwrap();
    assert_eq!(done.resolved[0].id, second.id);
    assert_eq!(done.alert.unwrap().key, "signals");
    assert_eq!(world.ledger.open_alerts(&world.model).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_window_is_on_record_once() {
    let world = World::with_champion().await;
    let monitor = world.monitor();
    world.serve(Era::Two, 200, false).await;
    let window = monitor.window(HOUR).await.unwrap();
    let first = world.look_at(&monitor, window).await.unwrap();
    let again = world.look_at(&monitor, window).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(world.ledger.drift_runs(&world.model, None, 10).await.unwrap().items.len(), 1);
    assert_eq!(world.alerts().await.len(), 1);
}

#[tokio::test]
async fn an_old_window_touches_no_alert() {
    let world = World::with_champion().await;
    let monitor = world.monitor();
    world.serve(Era::Two, 200, false).await;
    let drifted = monitor.window(HOUR).await.unwrap();
    world.look_at(&monitor, drifted).await.unwrap();
    let mut quiet = Vec::new();
    for _ in 0..2 {
        world.serve(Era::One, 200, false).await;
        quiet.push(monitor.window(HOUR).await.unwrap());
        world.look_at(&monitor, quiet[quiet.len() - 1]).await.unwrap();
    }
    let before = world.alerts().await;
    assert!(before[0].resolved_at.is_some());
    let done = world.look_at(&monitor, drifted).await.unwrap();
    assert_eq!((done.alert, done.opened), (None, false));
    world.look_at(&monitor, quiet[0]).await.unwrap();
    assert_eq!(world.alerts().await, before);
}

#[tokio::test]
async fn the_same_window_after_its_alert_was_closed_opens_none() {
    let (world, alert) = World::drifted().await;
    let run = world.ledger.drift_run(alert.drift_run.unwrap()).await.unwrap();
    let profile = world.served().await.profile().clone();
    world.retrain(Trigger::Manual).await.unwrap();
    let done = world.monitor().run(&world.model, version(1), &profile, run.window).await.unwrap();
    assert_eq!((done.run, done.alert, done.opened), (run, None, false));
    assert_eq!(world.alerts().await.len(), 1);
}

#[tokio::test]
async fn a_window_that_is_not_over_is_refused() {
    let world = World::with_champion().await;
    world.serve(Era::One, 200, false).await;
    let window = Window::before(world.now().saturating_add(HOUR), 2 * HOUR).unwrap();
    let error = world.look_at(&world.monitor(), window).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("is not over at"), "{error}");
    assert!(world.ledger.drift_runs(&world.model, None, 10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn one_process_at_a_time_looks() {
    let world = World::with_champion().await;
    let name = format!("monitor/{}", world.model);
    world.serve(Era::One, 200, false).await;
    let lease = world.ledger.acquire_lease(&name, "replica-2", HOUR).await.unwrap().unwrap();
    let error = world.look(&world.monitor()).await.unwrap_err();
    assert_eq!(error.to_string(), "monitor: conflict: replica-2 has the turn monitor/churn");
    world.ledger.release_lease(&lease).await.unwrap();
    world.look(&world.monitor()).await.unwrap();
    assert_eq!(world.ledger.lease(&name).await.unwrap(), None, "given back");
}

#[tokio::test]
async fn a_log_that_is_down_is_an_error_and_no_verdict() {
    let world = World::with_champion().await;
    world.serve(Era::One, 200, false).await;
    let monitor = world.monitor();
    let window = monitor.window(HOUR).await.unwrap();
    let served = world.served().await;
    world.log.take_down();
    let run = monitor.run(&world.model, version(1), served.profile(), window).await;
    assert_eq!(run.unwrap_err().kind(), ErrorKind::Unavailable);
    world.log.bring_up();
    assert!(world.ledger.drift_runs(&world.model, None, 10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_row_that_comes_late_is_in_one_of_two_windows_that_meet() {
    let seconds = Duration::from_secs;
    for (grace, expected) in [(Duration::ZERO, [0, 0]), (seconds(60), [0, 1])] {
        let world = World::with_champion().await;
        let monitor = world.monitor().grace(grace);
        world.pass(2 * HOUR);
        let window = monitor.window(HOUR).await.unwrap();
        let looked_at = world.now();
        assert!(looked_at.since(window.end()) >= grace);
        let first = world.look_at(&monitor, window).await.unwrap();

        // Answered ten seconds before the look, and in the log ten seconds after it.
        let served = world.served().await;
        let id = uuid::Uuid::from_u128(1 << 90);
        let (name, profile) = (world.model.clone(), served.profile());
        let mut batch = EventBatch::new(BatchId(id), name, served.version(), profile);
        let (row, _) = row(&world.schema, Era::One, 1);
        let (prediction, codes) = served.predict(&row).unwrap();
        let at = looked_at.saturating_sub(seconds(10));
        let event = InferenceEvent::new(id, id, at, prediction, Duration::ZERO, codes);
        batch.push(profile, &row, event);
        world.pass(seconds(10));
        world.log.append(&batch).await.unwrap();

        world.pass(HOUR);
        let next = Window::new(window.end(), window.end().saturating_add(HOUR)).unwrap();
        let second = world.look_at(&monitor, next).await.unwrap();
        let rows = [first, second].map(|done| done.run.report.current_rows);
        assert_eq!(rows, expected, "{grace:?}");
        assert_eq!(
            world.ledger.drift_runs(&world.model, None, 1).await.unwrap().items[0].window,
            next
        );
    }
}
