//! A store that is there before its database is.

use std::time::{Duration, Instant};

use super::super::{Migrate, PostgresStore};
use super::outage::Cluster;
use super::server::database;
use crate::conformance::traffic::Traffic;
use crate::ledger::LeaseStore;
use crate::log::{InferenceLog, is_final};
use crate::{Error, ErrorKind};

/// Longer than anything takes on a busy machine.
const FOR_EVER: Duration = Duration::from_secs(300);

/// What everybody is told who asks `store` for something.
async fn refusals(store: &PostgresStore) -> Vec<Error> {
    let append = store.append(&Traffic::new().batch(9, 3)).await.map(drop);
    let lease = store.acquire_lease("turn", "a", FOR_EVER).await.map(drop);
    let asked = [append, lease, store.now().await.map(drop), store.maintain().await.map(drop)];
    asked.into_iter().map(Result::unwrap_err).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_later_is_opened_then_and_takes_everything() {
    let Some(cluster) = Cluster::of_its_own().await else { return };
    let url = cluster.up().await;
    cluster.stop("fast").await;
    // The tables are not there either.
    let store = PostgresStore::builder(&url).open_later().unwrap();
    // Until there is an answer, and not for longer: none is final.
    let begun = Instant::now();
    let error = loop {
        let error = store.opened(Duration::from_millis(300)).await.unwrap_err();
        if error.chain().contains("Connection refused") {
            break error;
        }
        assert!(begun.elapsed() < FOR_EVER, "{}", error.chain());
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!PostgresStore::is_refusal(&error));
    for error in refusals(&store).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.chain().contains("Connection refused"), "{}", error.chain());
        let password = url.split([':', '@']).nth(2).unwrap();
        assert!(!error.chain().contains(password), "{}", error.chain());
    }
    cluster.up().await;
    store.opened(FOR_EVER).await.unwrap();
    let traffic = Traffic::new();
    store.append(&traffic.batch(1, 30)).await.unwrap();
    assert_eq!(traffic.rows(&store).await, 30);
    store.close().await;
}

/// G9
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_release_are_left_alone_until_somebody_has_seen_to_them() {
    let Some(database) = database().await else { return };
    let traffic = Traffic::new();
    database.store().await.append(&traffic.batch(1, 30)).await.unwrap();
    database.run("INSERT INTO pmmds_store.migrations VALUES (99, '\\x00')").await;
    let store = database.builder().migrate(Migrate::Older).open_later().unwrap();
    let error = store.opened(FOR_EVER).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
    assert!(error.chain().contains("it has schema 99"), "{}", error.chain());
    assert!(PostgresStore::is_refusal(&error));
    for error in refusals(&store).await {
        // Whoever has a batch keeps it.
        assert!(error.kind() == ErrorKind::NotSupported && !is_final(&error), "{error}");
    }
    assert_eq!(database.value::<i64>("SELECT count(*) FROM pmmds_store.leases").await, 0);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM pmmds_store.ingest_batches").await, 1);

    database.run("DELETE FROM pmmds_store.migrations WHERE version = 99").await;
    let begun = Instant::now();
    while store.opened(FOR_EVER).await.is_err() {
        assert!(begun.elapsed() < FOR_EVER);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.append(&traffic.batch(2, 30)).await.unwrap();
    assert_eq!(traffic.rows(&store).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_no_such_database_is_no_answer_to_a_question() {
    let Some(database) = database().await else { return };
    let url = super::server::of(&database.url, "no_such_database");
    let store = PostgresStore::builder(url).open_later().unwrap();
    assert_eq!(store.opened(FOR_EVER).await.unwrap_err().kind(), ErrorKind::NotFound);
    for error in refusals(&store).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_store_that_was_closed_before_it_was_open_says_that_it_is_closed() {
    let store = PostgresStore::builder("postgres://pmmds@127.0.0.1:1/pmmds").open_later().unwrap();
    let waits = tokio::spawn({
        let store = store.clone();
        async move { store.opened(FOR_EVER).await }
    });
    tokio::task::yield_now().await;
    store.close().await;
    let begun = Instant::now();
    let mut errors = vec![waits.await.unwrap().unwrap_err()];
    errors.push(store.opened(FOR_EVER).await.unwrap_err());
    errors.extend(refusals(&store).await);
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.chain().contains("closed pool"), "{}", error.chain());
    }
    assert!(begun.elapsed() < FOR_EVER, "nobody waits");
}
