//! Roll-ups, partitions and retention: whatever is added up or removed, the counts are the same.

use std::time::Duration;

use super::super::PostgresStore;
use super::server::database;
use crate::conformance::traffic::{Traffic, ever};
use crate::drift::Counts;
use crate::log::{Appended, InferenceLog};
use crate::registry::VersionId;
use crate::{Timestamp, Window};

const HOUR: Duration = Duration::from_secs(3_600);

async fn counts(store: &PostgresStore, traffic: &Traffic, window: Window) -> Counts {
    let found = store.counts(&traffic.model, VersionId::FIRST, window, &traffic.profile).await;
    let found = found.unwrap();
    let mut scanned = Counts::empty(&traffic.profile);
    let page = store.scan(&traffic.model, window, None, usize::MAX).await.unwrap();
    page.items.iter().for_each(|logged| scanned.observe_codes(&logged.event.codes));
    assert_eq!(found.counts.rows(), scanned.rows(), "{window}");
    assert!(found.counts.flat_slots().eq(scanned.flat_slots()), "{window}");
    found.counts
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_up_changes_no_count() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let traffic = Traffic::new();
    // Ten hours; the batches at full hours lie in two.
    let start = Timestamp::EPOCH.saturating_add(300 * 24 * HOUR);
    for number in 0..40 {
        let at = start.saturating_add(u32::try_from(number).unwrap() * HOUR / 4);
        let at = at.saturating_sub(Duration::from_millis(20));
        store.append(&traffic.batch_from(number, 50, at)).await.unwrap();
    }
    let whole = |from: u32, to: u32| {
        Window::new(start.saturating_add(from * HOUR), start.saturating_add(to * HOUR)).unwrap()
    };
    let ragged = Window::new(
        start.saturating_add(HOUR / 3),
        start.saturating_add(7 * HOUR + Duration::from_millis(7)),
    )
    .unwrap();
    let windows = [whole(0, 10), whole(1, 3), whole(2, 3), ragged, ever()];
    let mut before = Vec::new();
    for window in windows {
        before.push(counts(&store, &traffic, window).await);
    }
    let done = store.maintain().await.unwrap();
    assert!(done.buckets >= 10, "{done:?}");
    assert_eq!(store.maintain().await.unwrap().buckets, 0, "there is nothing left to add up");
    for (window, before) in windows.into_iter().zip(&before) {
        let after = counts(&store, &traffic, window).await;
        assert_eq!(after.summarised(), before.summarised(), "{window}");
        assert_eq!(after.rejected(), before.rejected());
    }
    // What is late is added to what is there.
    let late = traffic.batch_from(99, 50, start.saturating_add(HOUR / 2));
    store.append(&late).await.unwrap();
    assert_eq!(counts(&store, &traffic, whole(0, 1)).await.rows(), before_rows(&before) + 50);
    assert_eq!(store.maintain().await.unwrap().buckets, 1);
    assert_eq!(counts(&store, &traffic, whole(0, 1)).await.rows(), before_rows(&before) + 50);
    assert_eq!(store.append(&late).await.unwrap(), Appended::AlreadyThere);

    let verify = async || {
        let model = &traffic.model;
        store.verify(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap()
    };
    let found = verify().await;
    assert_eq!((found.rows, found.wrong.as_slice()), (2_050, &[][..]));
    assert!(found.buckets >= 10);
    // Damage is found, and named.
    let bucket = Timestamp::EPOCH.saturating_add(300 * 24 * HOUR + 2 * HOUR);
    database
        .run(&format!(
            "UPDATE pmmds_store.feature_histograms SET events = events + 1
            WHERE bucket = '{bucket}'"
        ))
        .await;
    assert_eq!(verify().await.wrong, [bucket]);
    let found = store.counts(&traffic.model, VersionId::FIRST, ever(), &traffic.profile).await;
    assert_eq!(found.unwrap_err().kind(), crate::ErrorKind::Corrupt, "and never counted");
}

/// Rows of the first whole hour, of four batches, one of which is cut by its beginning and one that
/// comes into it at its end.
fn before_rows(before: &[Counts]) -> u64 {
    // The window of ten hours has all but what lies before it: 20 of 50 events.
    assert_eq!(before[0].rows(), 40 * 50 - 20);
    50 * 3 + 30 + 20
}

#[tokio::test(flavor = "multi_thread")]
async fn days_get_partitions_and_lose_them() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let traffic = Traffic::new();
    let day = 24 * HOUR;
    let now = store.now().await.unwrap();
    let partitions = "SELECT count(*) FROM pg_inherits
        WHERE inhparent = 'pmmds_store.prediction_logs'::regclass";
    assert_eq!(database.value::<i64>(partitions).await, 10, "nine days and the rest");
    // A day of long ago, whose rows come before its partition.
    let long_ago = now.saturating_sub(40 * day);
    store.append(&traffic.batch_from(1, 30, long_ago)).await.unwrap();
    store.append(&traffic.batch_from(2, 30, now)).await.unwrap();
    assert_eq!(store.maintain().await.unwrap().rows_in_default, 30);
    let micros = long_ago.as_micros();
    let midnight = Timestamp::from_micros(micros - micros.rem_euclid(86_400_000_000)).unwrap();
    assert!(store.make_partition(midnight).await.unwrap());
    assert!(!store.make_partition(midnight).await.unwrap(), "it is there");
    let in_default = store.maintain().await.unwrap().rows_in_default;
    let rest = in_default; // those beyond midnight, where the batch crosses it
    assert!(rest < 30, "{rest} are left");
    assert_eq!(traffic.rows(&store).await, 60);
    counts(&store, &traffic, ever()).await;

    // A purge that was killed between detaching and dropping.
    let name = format!("prediction_logs_{}", midnight.to_string()[..10].replace('-', ""));
    database
        .run(&format!(
            "ALTER TABLE pmmds_store.prediction_logs DETACH PARTITION pmmds_store.{name}"
        ))
        .await;
    let purged = store.purge(now.saturating_sub(day)).await.unwrap();
    assert_eq!(purged.events, 30, "what was detached counts as purged");
    let gone = format!("SELECT to_regclass('pmmds_store.{name}') IS NULL");
    assert!(database.value::<bool>(&gone).await);
    assert_eq!(traffic.rows(&store).await, 30);
    counts(&store, &traffic, ever()).await;
}

#[tokio::test]
async fn raw_features_may_go_before_their_events() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let traffic = Traffic::new();
    for number in 0..4 {
        store.append(&traffic.batch(number, 5)).await.unwrap();
    }
    let second = Timestamp::EPOCH.saturating_add(Duration::from_secs(2));
    assert_eq!(store.purge_features(second).await.unwrap(), 10);
    let events = traffic.events(&store).await;
    assert_eq!(events.len(), 20);
    for logged in &events {
        assert_eq!(logged.event.features.is_some(), logged.event.at >= second);
    }
    let summarised = counts(&store, &traffic, ever()).await.summarised();
    assert_eq!(summarised, 20, "summaries hold no raw value");
    // One that should be there is missed.
    database.run("DELETE FROM pmmds_store.prediction_features").await;
    let error = store.scan(&traffic.model, ever(), None, 99).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{error}");
}
