//! Alerts about a process that serves another version than the alias names.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pmmds::axum::{ServiceBuilder, SkewAlerts};
use pmmds::ledger::{Alert, AlertStore};
use pmmds::lifecycle::{AlertNotice, AlertSink, Delivery, open_drift_alert};
use pmmds::memory::{MemoryLedger, MemoryLog};
use pmmds::registry::VersionId;
use pmmds::schema::{Feature, FeatureSchema};
use pmmds::{Error, ErrorKind};
use serde_json::json;

use crate::support::ledger::{at, model};
use crate::support::{
    Habit, LogMode, RegistryMode, Server, TestLog, TestRegistry, artifact, artifact_of, body,
    builder, quick, serve_on, until, until_asked,
};

const POLL: Duration = Duration::from_millis(20);
const AFTER: Duration = Duration::from_millis(200);

/// Longer than it takes to be told, and to be told once more.
const LONG: Duration = Duration::from_millis(700);

/// A replica on `ledger` that is quick to tell.
async fn replica(
    name: &str,
    registry: &Arc<TestRegistry>,
    ledger: &Arc<MemoryLedger>,
    alerts: impl FnOnce(SkewAlerts) -> SkewAlerts,
) -> Server {
    let alerts = alerts(SkewAlerts::new(name).after(AFTER));
    let ledger = Arc::clone(ledger);
    let options =
        |b: ServiceBuilder| b.limits(quick()).poll_every(POLL).ledger(ledger).skew_alerts(alerts);
    serve_on(TestLog::new(), Arc::clone(registry), options).await
}

/// A ledger whose time passes, so that leases end.
fn ledger() -> Arc<MemoryLedger> {
    let started = Instant::now();
    Arc::new(MemoryLedger::with_clock(move || at(0).saturating_add(started.elapsed())))
}

fn registry() -> Arc<TestRegistry> {
    TestRegistry::with(&[artifact(Habit::Good, 0.0)])
}

/// A version that whoever serves the Telco schema refuses, and whoever serves nothing takes.
fn of_another_schema() -> pmmds::registry::ArtifactFiles {
    let schema = FeatureSchema::new([Feature::integer("tenure").range(0.0, 100.0)]).unwrap();
    artifact_of(&Arc::new(schema), r#"{"features": {}}"#, Habit::Good, 0.0)
}

async fn open(ledger: &MemoryLedger) -> Vec<Alert> {
    ledger.open_alerts(&model()).await.unwrap()
}

/// Waits until `count` alerts are open, and is content with no other number after a while.
async fn until_open(ledger: &MemoryLedger, count: usize) -> Vec<Alert> {
    until_asked("so many are open", async || open(ledger).await.len() == count).await;
    tokio::time::sleep(2 * AFTER).await;
    let open = open(ledger).await;
    assert_eq!(open.len(), count, "{open:#?}");
    open
}

#[tokio::test]
async fn a_refused_version_is_told_once_with_its_reason_and_fetched_once() {
    type Damage = fn(&TestRegistry);
    let damages: [(&str, Damage); 3] = [
        ("version_rejected: ", |r| r.promote(artifact(Habit::Fickle, 0.0))),
        ("version_rejected: a smoke prediction", |r| r.promote(artifact(Habit::Explosive, 0.0))),
        ("schema_changed: ", |r| r.promote(of_another_schema())),
    ];
    for (reason, damage) in damages {
        let (registry, ledger) = (registry(), ledger());
        let server = replica("web-1:8000", &registry, &ledger, |a| a).await;
        tokio::time::sleep(LONG).await;
        assert_eq!(open(&ledger).await, [], "{reason}: nothing is wrong yet");
        let fetched = registry.fetched();
        damage(&registry);
        let alert = until_open(&ledger, 1).await.remove(0);
        assert_eq!(
            (alert.key.as_str(), alert.version),
            ("version skew/web-1:8000", VersionId::FIRST)
        );
        let message = &alert.message;
        assert!(
            message.starts_with(
                "replica web-1:8000 of churn-classifier serves version 1 since 2031-05-06T"
            ),
            "{message}"
        );
        assert!(
            message.contains(&format!(", while version 2 is behind production: {reason}")),
            "{message}"
        );
        assert!(alert.opened_at >= at(0) && alert.drift_run.is_none());
        assert_eq!(registry.fetched(), fetched + 1, "{reason}: it is fetched once");
        assert_eq!(server.predict(&body()).await.1["model_version"], "1");
        // It starts no retraining.
        assert_eq!(open_drift_alert(&*ledger, &model(), VersionId::FIRST).await.unwrap(), None);
        let (_, listed) = server.get("/api/v1/alerts?state=open").await;
        assert_eq!(listed["items"][0]["id"], json!(alert.id), "{listed}");

        // Who asks gets another try, and the same answer; polling does not try again.
        assert_eq!(server.reload().await.0, 502);
        tokio::time::sleep(5 * POLL).await;
        assert_eq!(registry.fetched(), fetched + 2, "{reason}");
        // An outage resolves nothing.
        registry.set(RegistryMode::Down);
        tokio::time::sleep(LONG).await;
        assert_eq!(open(&ledger).await.len(), 1, "{reason}: nothing is known");
        registry.set(RegistryMode::Up);
        registry.point_at(Some(1));
        until_open(&ledger, 0).await;
        let over = ledger.alert(alert.id).await.unwrap();
        assert!(over.resolved_at.is_some_and(|when| when > alert.opened_at));
        assert_eq!(registry.fetched(), fetched + 2, "{reason}: version 1 is there");

        // The alias has moved: the version is tried anew when it comes back.
        registry.point_at(Some(2));
        let again = until_open(&ledger, 1).await.remove(0);
        assert_ne!(again.id, alert.id);
        assert_eq!(registry.fetched(), fetched + 3, "{reason}");
        server.stop().await;
    }
}

#[tokio::test]
async fn an_outage_is_no_skew() {
    let (registry, ledger) = (registry(), ledger());
    let server = replica("a", &registry, &ledger, |a| a).await;
    registry.set(RegistryMode::Down);
    registry.promote(artifact(Habit::Good, 2.0));
    tokio::time::sleep(LONG).await;
    assert_eq!(open(&ledger).await, []);
    // Only the files are away: what is behind the alias is known, and it is not what is served.
    registry.set(RegistryMode::WithoutFiles);
    let alert = until_open(&ledger, 1).await.remove(0);
    let why = "registry_unavailable: the registry cannot be reached (test registry: unavailable)";
    assert!(alert.message.contains(why), "{}", alert.message);
    // It is no fault of the version, so it is tried again.
    registry.set(RegistryMode::Up);
    until_open(&ledger, 0).await;
    assert_eq!(server.service.model().unwrap().version.number(), 2);
}

#[tokio::test]
async fn of_two_replicas_each_that_lags_has_an_alert_and_ends_it_alone() {
    let (registry, ledger) = (registry(), ledger());
    let old = replica("old", &registry, &ledger, |a| a).await;
    registry.promote(of_another_schema());
    let new = replica("new", &registry, &ledger, |a| a).await;
    assert_eq!(new.service.model().unwrap().version.number(), 2);
    let keys = |alerts: Vec<Alert>| {
        let mut keys: Vec<String> = alerts.into_iter().map(|alert| alert.key).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(until_open(&ledger, 1).await), ["version skew/old"]);
    // Now neither can serve what is behind the alias.
    registry.promote(artifact(Habit::Fickle, 0.0));
    assert_eq!(keys(until_open(&ledger, 2).await), ["version skew/new", "version skew/old"]);
    registry.point_at(Some(1));
    assert_eq!(keys(until_open(&ledger, 1).await), ["version skew/new"]);
    // A replica that ends while it lags: the other says that it is gone, after a while.
    new.stop().await;
    until_open(&ledger, 0).await;
    old.stop().await;
}

/// Somebody who is told.
#[derive(Debug, Default)]
struct Pager(Mutex<Vec<String>>);

#[async_trait]
impl AlertSink for Pager {
    fn name(&self) -> &str {
        "pager"
    }

    async fn deliver(&self, notice: &AlertNotice) -> Result<(), Error> {
        let mut told = self.0.lock().unwrap();
        told.push(format!("{} {}", notice.event.as_str(), notice.alert.key));
        if told.len() == 1 {
            return Err(Error::new(ErrorKind::Unavailable, "pager", "it is out of battery"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn receivers_hear_of_it_also_where_ledger_or_receiver_were_away() {
    let (registry, ledger, pager) = (registry(), ledger(), Arc::<Pager>::default());
    let log = Arc::new(MemoryLog::with_clock(|| at(0)));
    let delivery = Delivery::new(log, Arc::clone(&ledger) as _, "a/delivery");
    let delivery = delivery.sink(Arc::clone(&pager) as _);
    let server = replica("a", &registry, &ledger, |a| a.delivery(delivery)).await;
    ledger.take_down();
    registry.promote(artifact(Habit::Fickle, 0.0));
    tokio::time::sleep(LONG).await;
    ledger.bring_up();
    until_open(&ledger, 1).await;
    let heard = async |lines: &[&str]| {
        until("it is heard", || *pager.0.lock().unwrap() == lines).await;
    };
    // Once in vain.
    let opened = "opened version skew/a";
    heard(&[opened, opened]).await;
    registry.promote(artifact(Habit::Good, 3.0));
    until_open(&ledger, 0).await;
    heard(&[opened, opened, "resolved version skew/a"]).await;
    server.stop().await;
}

/// A delivery to `pager`, by a clock that goes, with a short cooldown.
fn paging(ledger: &Arc<MemoryLedger>, pager: &Arc<Pager>) -> Delivery {
    let started = Instant::now();
    let log = Arc::new(MemoryLog::with_clock(move || at(0).saturating_add(started.elapsed())));
    let delivery = Delivery::new(log, Arc::clone(ledger) as _, "a/delivery");
    delivery.sink(Arc::clone(pager) as _).cooldown(Duration::from_secs(4))
}

#[tokio::test]
async fn a_skew_that_comes_back_within_the_cooldown_is_told_when_that_is_over() {
    let (registry, ledger, pager) = (registry(), ledger(), Arc::<Pager>::default());
    let delivery = paging(&ledger, &pager);
    let server = replica("a", &registry, &ledger, |a| a.delivery(delivery)).await;
    let heard = async |lines: &[&str]| {
        until("it is heard", || *pager.0.lock().unwrap() == lines).await;
    };
    let (opened, resolved) = ("opened version skew/a", "resolved version skew/a");
    registry.promote(artifact(Habit::Fickle, 0.0));
    // Once in vain.
    heard(&[opened, opened]).await;
    registry.point_at(Some(1));
    heard(&[opened, opened, resolved]).await;
    registry.point_at(Some(2));
    heard(&[opened, opened, resolved, opened]).await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_process_before_this_one_has_not_told_is_told() {
    let (registry, ledger, pager) = (registry(), ledger(), Arc::<Pager>::default());
    let silent = replica("a", &registry, &ledger, |a| a).await;
    registry.promote(of_another_schema());
    until_open(&ledger, 1).await;
    silent.stop().await;
    // It serves version 1 again, and cannot take version 2.
    registry.point_at(Some(1));
    let delivery = paging(&ledger, &pager);
    let server = replica("a", &registry, &ledger, |a| a.delivery(delivery)).await;
    registry.point_at(Some(2));
    let lines = || pager.0.lock().unwrap().clone();
    until("it is heard", || !lines().is_empty()).await;
    server.stop().await;

    let (ledger, pager) = (self::ledger(), Arc::<Pager>::default());
    registry.point_at(Some(1));
    let silent = replica("a", &registry, &ledger, |a| a).await;
    registry.point_at(Some(2));
    until_open(&ledger, 1).await;
    registry.point_at(Some(1));
    until_open(&ledger, 0).await;
    silent.stop().await;
    let delivery = paging(&ledger, &pager);
    let server = replica("a", &registry, &ledger, |a| a.delivery(delivery)).await;
    let resolved = "resolved version skew/a";
    until("that it is over is heard", || pager.0.lock().unwrap().contains(&resolved.to_owned()))
        .await;
    server.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_nobody_behind() {
    let (registry, ledger, log) = (registry(), ledger(), TestLog::new());
    log.set(LogMode::Forgets);
    let options = builder(&log, &registry).poll_every(POLL).ledger(ledger);
    let error = options.skew_alerts(SkewAlerts::new("a").after(AFTER)).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    tokio::time::sleep(5 * POLL).await;
    assert_eq!(registry.asked(), 0);
}

#[tokio::test]
async fn a_replica_that_serves_nothing_lags_too_and_one_that_starts_again_ends_its_alert() {
    let (registry, ledger) = (TestRegistry::with(&[artifact(Habit::Fickle, 0.0)]), ledger());
    let server = replica("a", &registry, &ledger, |a| a).await;
    let alert = until_open(&ledger, 1).await.remove(0);
    assert!(alert.message.contains("serves no version since"), "{}", alert.message);
    server.stop().await;
    registry.promote(artifact(Habit::Good, 0.0));
    let _server = replica("a", &registry, &ledger, |a| a).await;
    until_open(&ledger, 0).await;
}

#[tokio::test]
async fn what_cannot_work_is_said_at_the_start() {
    let start = async |options: fn(ServiceBuilder) -> ServiceBuilder| {
        options(builder(&TestLog::new(), &registry())).start().await
    };
    let error = start(|b| b.skew_alerts(SkewAlerts::new("\n"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let said = error.to_string();
    assert!(said.contains("the name of the replica has 1 characters"), "{said}");
    assert!(said.contains("skew alerts take a ledger and an interval of polling"), "{said}");
}
