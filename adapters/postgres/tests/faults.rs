//! What is wrong with a database, a server or a neighbour, and what is said about it.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use super::super::PostgresStore;
use super::server::{self, Database, database};
use crate::conformance::traffic::{Traffic, ever};
use crate::ledger::LeaseStore;
use crate::log::{Appended, InferenceLog};
use crate::{Error, ErrorKind};

const SHORT: Duration = Duration::from_millis(200);

/// For what is answered at once, however busy the machine is.
const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn assert_says(error: &Error, kind: ErrorKind, what: &str) {
    assert_eq!(error.kind(), kind, "{}", error.chain());
    assert!(error.chain().contains(what), "{what:?} is not in {}", error.chain());
}

async fn append(store: &PostgresStore, number: u64) -> Result<Appended, Error> {
    store.append(&Traffic::new().batch(number, 30)).await
}

async fn rows(store: &PostgresStore) -> u64 {
    Traffic::new().rows(store).await
}

#[tokio::test]
async fn a_password_is_in_no_message() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let password = database.url.split([':', '@']).nth(2).unwrap().to_owned();
    assert!(password.len() > 20, "the server of the tests has one");
    let shown = format!("{:?} {store:?}", database.builder());
    assert!(!shown.contains(&password), "{shown}");
    assert!(format!("{store:?}").contains(database.name()));

    let url = database.url.replace(&password, "not-the-password");
    let error = PostgresStore::builder(&url).wait(LONG).open().await.unwrap_err();
    assert_says(&error, ErrorKind::Unauthorized, "password authentication failed");
    assert!(!format!("{error:?} {}", error.chain()).contains("not-the-password"), "{error:?}");
    let nowhere = server::of(&database.url, "nowhere");
    let error = PostgresStore::builder(nowhere).wait(LONG).open().await.unwrap_err();
    assert_says(&error, ErrorKind::NotFound, "\"nowhere\" does not exist");
    for garbage in ["", "sqlite://x", "postgres://u:not-the-password@h:99999999/x"] {
        let error = PostgresStore::open(garbage).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{garbage}");
        assert!(!format!("{error:?} {}", error.chain()).contains("not-the-password"), "{error:?}");
    }
}

/// G3
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_a_table_makes_a_write_unavailable_and_not_for_ever() {
    let Some(database) = database().await else { return };
    let store = database.builder().lock_timeout(SHORT).open().await.unwrap();
    let mut neighbour = PgConnection::connect(&database.url).await.unwrap();
    let lock = "BEGIN; LOCK TABLE pmmds_store.prediction_logs IN EXCLUSIVE MODE";
    neighbour.execute(sqlx::raw_sql(lock)).await.unwrap();
    let error = append(&store, 1).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, "lock timeout");
    neighbour.execute(sqlx::raw_sql("ROLLBACK")).await.unwrap();
    assert_eq!(append(&store, 1).await.unwrap(), Appended::Written);
    assert_eq!(rows(&store).await, 30);
}

/// G3, G17
#[tokio::test]
async fn a_statement_that_takes_too_long_is_unavailable() {
    let Some(database) = database().await else { return };
    // As long as the statements of a batch never take, also on a busy disk.
    let limit = Duration::from_secs(10);
    let store = database.builder().statement_timeout(limit).open().await.unwrap();
    database.on_insert("ingest_batches", "PERFORM pg_sleep(1200)").await;
    let begun = Instant::now();
    let error = append(&store, 1).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, "statement timeout");
    assert!(begun.elapsed() < Duration::from_secs(600), "{:?}", begun.elapsed());
    database.on_insert("ingest_batches", "NULL").await;
    assert_eq!(append(&store, 1).await.unwrap(), Appended::Written);
}

/// G4: the server itself says so, in the middle of a batch. `disk.rs` fills one.
#[tokio::test]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let full = "RAISE EXCEPTION 'could not extend file: No space left on device'
        USING ERRCODE = 'disk_full'";
    database.on_insert("prediction_features", full).await;
    let error = append(&store, 1).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, "No space left");
    assert_eq!(rows(&store).await, 0);
    database.on_insert("prediction_features", "NULL").await;
    assert_eq!(append(&store, 1).await.unwrap(), Appended::Written);
    assert_eq!(rows(&store).await, 30);
}

/// G4
#[tokio::test]
async fn a_standby_is_unavailable_for_writing_and_can_be_read() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    append(&store, 1).await.unwrap();
    let name = database.name();
    database.run(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let standby = database.store().await;
    let error = append(&standby, 2).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, "read-only transaction");
    let error = standby.acquire_lease("turn", "a", SHORT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(rows(&standby).await, 30);
}

/// A role that owns the database and is no superuser: limits hold for it.
async fn limited(database: &Database, limit: &str) -> String {
    let name = database.name();
    database
        .run(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'secret' {limit};
            ALTER DATABASE {name} OWNER TO {name}"
        ))
        .await;
    let (_, rest) = database.url.split_once('@').unwrap();
    format!("postgres://{name}:secret@{rest}")
}

async fn drop_role(database: &Database) {
    let name = database.name();
    database
        .run(&format!(
            "ALTER DATABASE {name} OWNER TO pmmds; REASSIGN OWNED BY {name} TO pmmds;
            DROP OWNED BY {name}; DROP ROLE {name}"
        ))
        .await;
}

/// G5, and that it takes no superuser.
#[tokio::test]
async fn too_many_connections_are_unavailable() {
    let Some(database) = database().await else { return };
    let url = limited(&database, "CONNECTION LIMIT 1").await;
    let store = PostgresStore::builder(&url).connections(1).open().await.unwrap();
    append(&store, 1).await.unwrap();
    // It is waited for one to become free, and said what was in the way.
    // A busy machine may need longer for an answer than one attempt does.
    let begun = Instant::now();
    let error = loop {
        let error = PostgresStore::builder(&url).wait(SHORT).open().await.unwrap_err();
        if !error.chain().contains("no answer within") || begun.elapsed() > LONG {
            break error;
        }
    };
    assert_says(&error, ErrorKind::Unavailable, "too many connections");
    // One connection is enough for everything, one after the other.
    let (a, b, c) = tokio::join!(append(&store, 2), append(&store, 3), append(&store, 4));
    for answer in [a, b, c] {
        assert_eq!(answer.unwrap(), Appended::Written);
    }
    assert_eq!(store.maintain().await.unwrap().rows_in_default, 120);
    store.close().await;
    let error = append(&store, 5).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, "closed");
    drop_role(&database).await;
}

/// G6: a sequence counts the attempts, also those that are rolled back.
#[tokio::test]
async fn a_deadlock_is_tried_again_and_not_for_ever() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    database.run("CREATE SEQUENCE public.attempts").await;
    for code in ["deadlock_detected", "serialization_failure"] {
        database.run("ALTER SEQUENCE public.attempts RESTART").await;
        let twice = format!(
            "IF nextval('public.attempts') < 3 THEN RAISE EXCEPTION '' USING ERRCODE = '{code}';
            END IF"
        );
        database.on_insert("ingest_batches", &twice).await;
        let number = code.len() as u64;
        assert_eq!(append(&store, number).await.unwrap(), Appended::Written, "{code}");
    }
    assert_eq!(rows(&store).await, 60);
    database.run("ALTER SEQUENCE public.attempts RESTART").await;
    let always = "PERFORM nextval('public.attempts');
        RAISE EXCEPTION 'for ever' USING ERRCODE = 'deadlock_detected'";
    database.on_insert("ingest_batches", always).await;
    let error = append(&store, 1).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, "for ever");
    let attempts: i64 = database.value("SELECT last_value FROM public.attempts").await;
    assert_eq!(attempts, 4, "one, and three more");
}

/// G12
#[tokio::test]
async fn what_is_gone_forbidden_or_of_another_type_is_named() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    append(&store, 1).await.unwrap();
    let url = limited(&database, "").await;
    let stranger = PostgresStore::builder(&url).wait(LONG).open().await.unwrap_err();
    assert_says(&stranger, ErrorKind::Unauthorized, "permission denied for");

    let traffic = Traffic::new();
    database.run("ALTER TABLE pmmds_store.leases ALTER token TYPE text").await;
    let error = store.acquire_lease("turn", "a", SHORT).await.unwrap_err();
    assert_says(&error, ErrorKind::Corrupt, "cannot read lease turn");
    assert!(error.chain().contains("TEXT"), "{}", error.chain());
    database.run("DROP TABLE pmmds_store.outcomes CASCADE").await;
    let error = store.labelled(&traffic.model, ever(), None, 9).await.unwrap_err();
    assert!(error.chain().contains("pmmds_store.outcomes"), "{}", error.chain());
    assert_eq!(rows(&store).await, 30, "the rest goes on");
    drop_role(&database).await;
}

/// G13: ids are UUIDs, and the one sequence is not used up by events.
#[tokio::test]
async fn numbers_are_not_used_up() {
    let Some(database) = database().await else { return };
    for number in 0..20 {
        // A new store each time, which knows no number yet.
        let store = database.store().await;
        append(&store, number).await.unwrap();
        store.close().await;
    }
    let columns: Vec<String> = vec![
        database
            .value(
                "SELECT coalesce(string_agg(table_name || '.' || column_name, ' '), '')
                FROM information_schema.columns
                WHERE table_schema = 'pmmds_store'
                    AND (is_identity = 'YES' OR column_default LIKE 'nextval%')",
            )
            .await,
    ];
    assert_eq!(columns, ["model_versions.id"]);
    let last: i64 =
        database.value("SELECT last_value FROM pmmds_store.model_versions_id_seq").await;
    assert_eq!(last, 1);
}

/// G13: the one sequence is of versions, and when it is used up their batches wait.
#[tokio::test]
async fn a_sequence_that_is_used_up_is_unavailable_and_loses_nothing() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let last = i32::MAX;
    database
        .run(&format!("ALTER SEQUENCE pmmds_store.model_versions_id_seq RESTART WITH {last}"))
        .await;
    append(&store, 1).await.unwrap();
    let traffic = Traffic::new();
    let second = crate::registry::VersionId::new(2).unwrap();
    let id = crate::log::BatchId(uuid::Uuid::from_u128(7));
    let mut batch =
        crate::log::EventBatch::new(id, traffic.model.clone(), second, &traffic.profile);
    let row = crate::record::Row::missing(&traffic.schema);
    batch.push(&traffic.profile, &row, traffic.batch(2, 1).events()[0].clone());
    let error = store.append(&batch).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, "reached maximum value of sequence");
    assert_eq!(append(&store, 3).await.unwrap(), Appended::Written, "of the version it knows");
    database.run("ALTER SEQUENCE pmmds_store.model_versions_id_seq RESTART WITH 5").await;
    assert_eq!(store.append(&batch).await.unwrap(), Appended::Written);
}

/// G14: what is no JSON never reaches the server, and the next batch does.
#[tokio::test]
async fn a_nul_is_refused_by_name() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let traffic = Traffic::new();
    let good = traffic.batch(1, 2);
    let mut bad = crate::log::EventBatch::new(
        crate::log::BatchId(uuid::Uuid::from_u128(2)),
        traffic.model.clone(),
        crate::registry::VersionId::FIRST,
        &traffic.profile,
    );
    let row = crate::record::Row::missing(&traffic.schema);
    let event = good.events()[0].clone().with_features("{\"x\":\"\0\"}".to_owned());
    let id = event.id;
    bad.push(&traffic.profile, &row, event);
    let error = store.append(&bad).await.unwrap_err();
    assert_says(&error, ErrorKind::InvalidInput, &id.to_string());
    assert_eq!(store.append(&good).await.unwrap(), Appended::Written);
    let error = store.lease("a\0b").await.unwrap_err();
    assert_says(&error, ErrorKind::InvalidInput, "0x00");
}

/// G16: whoever reads the log makes the removal of a day wait, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_waits_for_readers_and_writers_do_not_wait_for_it() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let traffic = Traffic::new();
    let day = Duration::from_secs(86_400);
    let now = store.now().await.unwrap();
    store.append(&traffic.batch_from(1, 30, now.saturating_sub(day))).await.unwrap();
    store.append(&traffic.batch_from(2, 30, now)).await.unwrap();
    assert_eq!(store.maintain().await.unwrap().rows_in_default, 0, "each day has a partition");

    let mut reader = PgConnection::connect(&database.url).await.unwrap();
    let read = "BEGIN; SELECT count(*) FROM pmmds_store.prediction_logs";
    reader.execute(sqlx::raw_sql(read)).await.unwrap();
    let purge = {
        let (store, before) = (store.clone(), now);
        // It gives up after a while, which on a busy machine may come before the reader ends.
        tokio::spawn(async move {
            loop {
                match store.purge(before).await {
                    Err(error) if error.kind() == ErrorKind::Unavailable => {}
                    purged => return purged,
                }
            }
        })
    };
    for number in 3..13 {
        // The reader is still there, so whoever waited for the purge would wait for ever.
        store.append(&traffic.batch_from(number, 30, now)).await.unwrap();
    }
    reader.execute(sqlx::raw_sql("COMMIT")).await.unwrap();
    assert_eq!(purge.await.unwrap().unwrap().events, 30);
    assert_eq!(rows(&store).await, 330);
}
