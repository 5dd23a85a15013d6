//! The log is seen to without anybody asking, once, and says what has no partition.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::server::database;
use crate::conformance::traffic::Traffic;
use crate::ledger::{Alert, AlertStore};
use crate::log::InferenceLog;
use crate::registry::VersionId;

const DAY: Duration = Duration::from_secs(86_400);
const LONG_AGO: &str = "UPDATE pmmds_store.settings SET maintained_at = '-infinity'";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_sees_to_the_log_once_an_hour() {
    let Some(database) = database().await else { return };
    let store = database.builder().retention(3 * DAY).features_retention(DAY).open().await.unwrap();
    let traffic = Traffic::new();
    let now = store.now().await.unwrap();
    for (number, days) in [(1, 5), (2, 2), (3, 0)] {
        let at = now.saturating_sub(days * DAY);
        store.append(&traffic.batch_from(number, 10, at)).await.unwrap();
    }
    // One of the days to come; the last ones are there whatever time it is.
    let ahead = "SELECT max(inhrelid::regclass::text) FROM pg_inherits
        WHERE inhparent = 'pmmds_store.prediction_logs'::regclass
        AND inhrelid::regclass::text ~ '[0-9]{8}$'";
    let day: String = database.value(ahead).await;
    let there = format!("SELECT to_regclass('{day}') IS NOT NULL");
    database.run(&format!("DROP TABLE {day}")).await;
    assert!(!database.value::<bool>(&there).await);
    // It is not time: the tables were made just now.
    store.inner.look_at.store(0, Relaxed);
    store.append(&traffic.batch_from(4, 10, now)).await.unwrap();
    assert_eq!(store.maintain_if_due().await.unwrap(), None);
    assert_eq!(traffic.rows(&store).await, 40);

    database.run(LONG_AGO).await;
    let next = store.inner.look_at.load(Relaxed);
    store.append(&traffic.batch_from(5, 10, now)).await.unwrap();
    assert_eq!(traffic.rows(&store).await, 50, "this process has asked a moment ago");
    assert_eq!(store.inner.look_at.load(Relaxed), next, "a busy process comes to its look as well");
    store.inner.look_at.store(0, Relaxed);
    store.append(&traffic.batch_from(6, 10, now)).await.unwrap();
    let features = "SELECT count(*) FROM pmmds_store.prediction_features";
    for attempt in 0.. {
        assert!(attempt < 4_000, "nobody saw to the log");
        let there = database.value::<bool>(&there).await;
        if there && traffic.rows(&store).await == 50 && database.value::<i64>(features).await == 40
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_processes_one_sees_to_the_log() {
    let Some(database) = database().await else { return };
    let (a, b) = (database.store().await, database.store().await);
    for _ in 0..3 {
        database.run(LONG_AGO).await;
        let due = || async { (a.maintain_if_due().await, b.maintain_if_due().await) };
        let (first, second, third) = tokio::join!(due(), due(), due());
        let all = [first.0, first.1, second.0, second.1, third.0, third.1];
        let done = all.into_iter().filter(|done| done.as_ref().unwrap().is_some()).count();
        assert_eq!(done, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_open_while_events_have_no_partition() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let traffic = Traffic::new();
    let now = store.now().await.unwrap();
    store.append(&traffic.batch_from(1, 30, now)).await.unwrap();
    assert_eq!(store.maintain().await.unwrap().rows_in_default, 0);
    let alerts =
        async || -> Vec<Alert> { store.alerts(&traffic.model, None, 9).await.unwrap().items };
    assert_eq!(alerts().await, []);

    let old = now.saturating_sub(40 * DAY);
    store.append(&traffic.batch_from(2, 30, old)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.maintain().await.unwrap().rows_in_default, 30);
    }
    let (first, second) = tokio::join!(store.maintain(), store.maintain());
    first.and(second).unwrap();
    let open = alerts().await;
    assert_eq!(open.len(), 1, "however often it is looked at");
    assert_eq!(open[0].key, "log/default_partition");
    assert_eq!((open[0].version, open[0].drift_run), (VersionId::FIRST, None));
    let says = "30 events of churn v1 are of days without a partition";
    assert!(open[0].message.starts_with(says), "{}", open[0].message);
    assert_eq!(open[0].resolved_at, None);

    store.purge(now.saturating_sub(DAY)).await.unwrap();
    assert_eq!(store.maintain().await.unwrap().rows_in_default, 0);
    let [over] = &alerts().await[..] else { panic!("one alert") };
    assert!(over.resolved_at.is_some());
    // What comes back is another one.
    store.append(&traffic.batch_from(3, 30, old)).await.unwrap();
    store.maintain().await.unwrap();
    assert_eq!(store.open_alerts(&traffic.model).await.unwrap().len(), 1);
    assert_eq!(alerts().await.len(), 2);
}
