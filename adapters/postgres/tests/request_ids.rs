//! One event per request, on a log that has some already, and for as long as it has them.

use std::time::Duration;

use super::server::database;
use crate::conformance::traffic::{Traffic, ever};
use crate::log::{Appended, InferenceLog};
use crate::registry::VersionId;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_use_learns_its_requests_while_others_write() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let traffic = Traffic::new();
    store.append(&traffic.batch(1, 30)).await.unwrap();
    let writer = {
        let (store, traffic) = (store.clone(), Traffic::new());
        tokio::spawn(async move {
            for number in 100..160 {
                store.append(&traffic.batch(number, 10)).await.unwrap();
            }
        })
    };
    let opened = database.builder().unique_request_ids().open().await.unwrap();
    opened.close().await;
    writer.await.unwrap();
    let unknown = "SELECT count(*) FROM pmmds_store.predictions e WHERE NOT EXISTS (
        SELECT FROM pmmds_store.request_ids r WHERE r.request_id = e.request_id)";
    assert_eq!(database.value::<i64>(unknown).await, 0);
    assert_eq!(traffic.rows(&store).await, 630);

    // The events of batch 1 in another batch, and two new ones, at another time.
    let mut replay = traffic.batch(2, 32);
    let known = traffic.batch(1, 30);
    let mut events = Vec::new();
    for (number, event) in replay.events().iter().cloned().enumerate() {
        let mut event = event;
        if let Some(known) = known.events().get(number) {
            event.request_id = known.request_id;
        }
        events.push(event);
    }
    replay.take_out(crate::log::BatchId(uuid::Uuid::nil()), |_| true);
    for (number, event) in events.into_iter().enumerate() {
        let mut row = crate::record::Row::missing(&traffic.schema);
        let x = crate::record::Value::Number(f64::from(u8::try_from(number).unwrap()));
        row.set(traffic.schema.id("x").unwrap(), x);
        replay.push(&traffic.profile, &row, event);
    }
    let appended = store.append(&replay).await.unwrap();
    assert_eq!(appended, Appended::WithoutDuplicates { duplicates: 30 });
    assert_eq!(traffic.rows(&store).await, 632);
    let features: i64 =
        database.value("SELECT count(*) FROM pmmds_store.prediction_features").await;
    assert_eq!(features, 632, "what is left out leaves nothing behind");
    let (model, profile) = (&traffic.model, &traffic.profile);
    let found = store.verify(model, VersionId::FIRST, ever(), profile).await.unwrap();
    assert_eq!((found.rows, found.wrong.len()), (632, 0));
}

#[tokio::test]
async fn a_request_is_known_for_as_long_as_its_event() {
    let Some(database) = database().await else { return };
    let store = database.builder().unique_request_ids().open().await.unwrap();
    let traffic = Traffic::new();
    let now = store.now().await.unwrap();
    store.append(&traffic.batch_from(1, 10, now.saturating_sub(3 * DAY))).await.unwrap();
    store.append(&traffic.batch_from(2, 10, now)).await.unwrap();
    assert_eq!(store.purge(now.saturating_sub(DAY)).await.unwrap().events, 10);
    let known = "SELECT count(*) FROM pmmds_store.request_ids";
    assert_eq!(database.value::<i64>(known).await, 10);
}
