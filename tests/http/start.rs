//! A start while the store is away, and outages that last: what is answered, and what is logged.

use std::sync::Arc;
use std::time::Duration;

use pmmds::axum::{Durability, Shadow, SkewAlerts};
use pmmds::log::InferenceLog;
use pmmds::registry::Alias;
use pmmds::spool::SpooledLog;
use pmmds::{ErrorKind, Timestamp};
use serde_json::json;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{
    Habit, LogMode, Logs, RegistryMode, TestLog, TestRegistry, artifact, body, builder, ledger,
    listen, quick, serve, serve_on, serve_through, until, until_asked,
};

/// What the machine says, some years before the store.
fn machine() -> Timestamp {
    "2026-02-03T04:05:06Z".parse().unwrap()
}

#[tokio::test]
async fn with_a_spool_it_starts_before_the_store_and_says_whose_time_it_goes_by() {
    let place = tempfile::tempdir().unwrap();
    let store = TestLog::new();
    store.set(LogMode::Down);
    let spool = SpooledLog::open(Arc::<TestLog>::clone(&store), place.path()).await.unwrap();
    let front: Arc<dyn InferenceLog> = Arc::new(spool.clone());
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    // Nobody has said that another time will do.
    let error = builder(&front, &registry).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");

    let options = |b: pmmds::axum::ServiceBuilder| b.clock_meanwhile(machine);
    let server = serve_through(front, Arc::clone(&store), registry, options).await;
    let (status, ready) = server.get("/readyz?verbose").await;
    assert_eq!((status, &ready["status"]), (200, &json!("degraded")), "{ready}");
    let why = "test log: unavailable; until it answers, the time is this machine's";
    assert_eq!((&ready["reason"], &ready["checks"][2]["name"]), (&json!(why), &json!("database")));
    for _ in 0..3 {
        assert_eq!(server.predict(&body()).await.0, 200);
    }
    assert_eq!(spool.backlog().unwrap().events, 3);

    // Nobody asks for its health.
    store.set(LogMode::Up);
    until("all is there", || store.events().len() == 3).await;
    for event in store.events() {
        assert!(event.at.since(machine()) < Duration::from_secs(600), "{}", event.at);
    }
    until_asked("it goes by the time of the store", async || {
        assert_eq!(server.predict(&body()).await.0, 200);
        store.events().iter().any(|event| event.at.to_string().starts_with("2031-05-06T"))
    })
    .await;
    // An answer of a moment ago is good.
    let ready = (200, json!({"status": "ready"}));
    until_asked("it is ready", async || server.get("/readyz").await == ready).await;
    let account = server.stop().await;
    assert_eq!(account.lost, 0, "{account:?}");
}

#[tokio::test]
async fn without_a_spool_it_does_not_start_before_the_store() {
    let (store, registry) = (TestLog::new(), TestRegistry::with(&[artifact(Habit::Good, 0.0)]));
    store.set(LogMode::Down);
    let error = builder(&store, &registry).clock_meanwhile(machine).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_clock_that_is_behind_what_is_past_is_not_started_by() {
    let place = tempfile::tempdir().unwrap();
    let (store, registry) = (TestLog::new(), TestRegistry::with(&[artifact(Habit::Good, 0.0)]));
    store.set(LogMode::Down);
    let spool = SpooledLog::open(Arc::<TestLog>::clone(&store), place.path()).await.unwrap();
    let front: Arc<dyn InferenceLog> = Arc::new(spool.clone());
    let start = async |clock: fn() -> Timestamp| {
        builder(&front, &registry).limits(quick()).clock_meanwhile(clock).start().await
    };
    let error = start(|| Timestamp::EPOCH).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let told = error.chain();
    for what in ["1970-01-01T00:00:00", "2026-01-01T00:00:00Z", "it is down"] {
        assert!(told.contains(what), "{what}: {told}");
    }
    // What waits was answered later than this.
    let options = |b: pmmds::axum::ServiceBuilder| b.limits(quick()).clock_meanwhile(machine);
    let served = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    let server = serve_through(Arc::clone(&front), Arc::clone(&store), served, options).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    let error = start(|| machine().saturating_sub(Duration::from_secs(7_200))).await.unwrap_err();
    let oldest = spool.backlog().unwrap().oldest.unwrap();
    assert!(error.to_string().contains(&oldest.to_string()), "{error} {oldest}");
    store.set(LogMode::Up);
    assert_eq!(server.stop().await.lost, 0);
}

#[tokio::test]
async fn what_is_live_begins_anew_when_the_store_says_that_the_clock_was_ahead() {
    let place = tempfile::tempdir().unwrap();
    let (store, registry) = (TestLog::new(), TestRegistry::with(&[artifact(Habit::Good, 0.0)]));
    store.set(LogMode::Down);
    let spool = SpooledLog::open(Arc::<TestLog>::clone(&store), place.path()).await.unwrap();
    let ahead = || "2040-01-01T00:00:00Z".parse().unwrap();
    let options = |b: pmmds::axum::ServiceBuilder| b.limits(quick()).clock_meanwhile(ahead);
    let server = serve_through(Arc::new(spool), Arc::clone(&store), registry, options).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    let live = || {
        let report = server.service.live_report().unwrap();
        (report.covered_from.to_string(), report.report.current_rows, report.late)
    };
    let (from, rows, late) = live();
    assert!(from.starts_with("2040-01-01T") && (rows, late) == (1, 0), "{from} {rows} {late}");
    store.set(LogMode::Up);
    until("the store tells the time", || live().0.starts_with("2031-05-06T")).await;
    for _ in 0..3 {
        assert_eq!(server.predict(&body()).await.0, 200);
    }
    let (_, rows, late) = live();
    assert_eq!((rows, late), (3, 0));
    assert_eq!(server.stop().await.lost, 0);
}

#[tokio::test]
async fn a_check_that_comes_too_late_says_of_what() {
    let server = serve(|b| b.limits(quick())).await;
    server.log.set(LogMode::Held);
    until_asked("it is noticed", async || server.get("/ready").await.0 == 503).await;
    let (_, ready) = server.get("/ready").await;
    assert_eq!(ready["reason"], "the database did not answer within 1s");
    server.log.set(LogMode::Up);
}

#[tokio::test]
async fn a_ledger_that_is_away_is_said_once_and_once_that_it_is_back() {
    let logs = Logs::default();
    let writer = logs.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let _subscriber = listen(tracing_subscriber::registry().with(layer));
    let ledger = ledger::ledger();
    ledger.take_down();
    let (told, length) = (Arc::clone(&ledger), Duration::from_millis(5));
    let alerts = SkewAlerts::new("web-1:8000").after(length);
    let options =
        |b: pmmds::axum::ServiceBuilder| b.poll_every(length).ledger(told).skew_alerts(alerts);
    let server = serve(options).await;
    let said = |what: &str| logs.text().matches(what).count();
    let (away, back) = ("could not be told of the version", "told of the version in service again");
    until("it is said", || said(away) > 0).await;
    let before = server.registry.asked();
    until("it has looked", || server.registry.asked() >= before + 12).await;
    assert_eq!((said(away), said(back)), (1, 0), "{}", logs.text());
    ledger.bring_up();
    until("it is told", || said(back) > 0).await;
    let before = server.registry.asked();
    until("it has looked", || server.registry.asked() >= before + 12).await;
    assert_eq!((said(away), said(back)), (1, 1), "{}", logs.text());
}

#[tokio::test]
async fn a_registry_that_is_away_is_said_once_and_once_that_it_is_back() {
    let logs = Logs::default();
    let writer = logs.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let _subscriber = listen(tracing_subscriber::registry().with(layer));
    let server = serve(|b| b.poll_every(Duration::from_millis(5))).await;
    let said = |what: &str| logs.text().matches(what).count();
    let looks = async |many: u64| {
        let before = server.registry.asked();
        until("it has looked", || server.registry.asked() >= before + many).await;
    };
    let (away, back) = ("the registry names no version", "names a version again");
    looks(3).await;
    assert_eq!((said(away), said(back)), (0, 0), "{}", logs.text());
    server.registry.set(RegistryMode::Down);
    looks(12).await;
    assert_eq!((said(away), said(back)), (1, 0), "{}", logs.text());
    // No alias is something else than no answer.
    server.registry.point_at(None);
    server.registry.set(RegistryMode::Up);
    looks(12).await;
    assert_eq!((said(away), said("there is no alias")), (2, 1), "{}", logs.text());
    server.registry.point_at(Some(1));
    until("it is told", || said(back) > 0).await;
    looks(12).await;
    assert_eq!((said(away), said(back)), (2, 1), "{}", logs.text());
}

#[tokio::test]
async fn each_version_that_is_refused_is_said_once_with_its_reason() {
    let logs = Logs::default();
    let writer = logs.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let _subscriber = listen(tracing_subscriber::registry().with(layer));
    let server = serve(|b| b.limits(quick()).poll_every(Duration::from_millis(5))).await;
    // Both are rejected, with one code.
    for (version, habit) in [(2, Habit::Fickle), (3, Habit::Explosive)] {
        server.registry.promote(artifact(habit, 0.0));
        let said = || {
            let text = logs.text();
            let of = format!("version={version} ");
            text.lines().filter(|l| l.contains("reload failed") && l.contains(&of)).count()
        };
        until("it is said", || said() > 0).await;
        let before = server.registry.asked();
        until("it has looked", || server.registry.asked() >= before + 12).await;
        assert_eq!(said(), 1, "{}", logs.text());
    }
    server.registry.point_at(Some(1));
    until("it is over", || logs.text().contains("is in service again")).await;
}

#[tokio::test]
async fn a_shadow_that_is_not_there_is_said_once_and_once_that_it_is() {
    let logs = Logs::default();
    let writer = logs.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let _subscriber = listen(tracing_subscriber::registry().with(layer));
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0), artifact(Habit::Good, 1.0)]);
    let server = serve_on(TestLog::new(), registry, |b| {
        let poll = Duration::from_millis(5);
        b.limits(quick()).poll_every(poll).shadow(Shadow::Alias(Alias::staging()))
    })
    .await;
    let said = |what: &str| logs.text().matches(what).count();
    let (missing, back) =
        ("the shadow is not as it is meant", "the shadow is as it is meant again");
    let looks = async || {
        let before = server.registry.asked();
        until("it has looked", || server.registry.asked() >= before + 24).await;
    };
    looks().await;
    assert_eq!((said(missing), said(back)), (1, 0), "{}", logs.text());
    server.registry.stage(2);
    until("it is told", || said(back) > 0).await;
    looks().await;
    assert_eq!((said(missing), said(back)), (1, 1), "{}", logs.text());
}

#[tokio::test]
async fn a_batch_that_waits_is_said_once_and_once_that_it_is_written() {
    let logs = Logs::default();
    let writer = logs.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let _subscriber = listen(tracing_subscriber::registry().with(layer));
    let server = serve(|b| b.limits(quick()).durability(Durability::Queued)).await;
    server.log.set(LogMode::Down);
    assert_eq!(server.predict(&body()).await.0, 200);
    until("it was sent often", || server.log.attempts().len() >= 4).await;
    let said = |what: &str| logs.text().matches(what).count();
    let (waits, back) = ("a batch waits", "the log takes batches again");
    assert_eq!((said(waits), said(back)), (1, 0), "{}", logs.text());
    server.log.set(LogMode::Up);
    until("it is written", || said(back) > 0).await;
    assert_eq!((said(waits), said(back)), (1, 1), "{}", logs.text());
}
