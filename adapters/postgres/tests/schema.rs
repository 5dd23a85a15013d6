//! The tables: made once, brought up to date, left alone where they are newer.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;

use super::super::Migrate;
use super::super::migrate::{self, MIGRATIONS, Migration};
use super::server::{Database, database};
use crate::conformance::traffic::Traffic;
use crate::log::InferenceLog;
use crate::{Error, ErrorKind};

const HOUR: Duration = Duration::from_secs(3_600);

async fn migrate(
    database: &Database,
    migrations: &[Migration],
    migrate: Migrate,
) -> Result<(), Error> {
    let pool = PgPoolOptions::new().connect(&database.url).await.unwrap();
    let done = migrate::run(&pool, "db", migrations, migrate, HOUR).await;
    pool.close().await;
    done
}

/// The migrations of a release to come.
fn later(sql: &'static str) -> Vec<Migration> {
    let mut migrations = MIGRATIONS.to_vec();
    migrations.push(Migration { version: 4, sql });
    migrations
}

async fn version(database: &Database) -> i32 {
    database.value("SELECT max(version) FROM pmmds_store.migrations").await
}

/// G8
#[tokio::test(flavor = "multi_thread")]
async fn older_tables_are_changed_only_when_told_so_and_once() {
    let Some(database) = database().await else { return };
    let error = migrate(&database, MIGRATIONS, Migrate::Never).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
    let store = database.store().await;
    store.append(&Traffic::new().batch(1, 3)).await.unwrap();

    let later = later("ALTER TABLE pmmds_store.outcomes ADD COLUMN source text");
    for refuse in [Migrate::Fresh, Migrate::Never] {
        let error = migrate(&database, &later, refuse).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
        assert!(error.to_string().contains("has schema 3, this release needs schema 4"), "{error}");
    }
    assert_eq!(version(&database).await, 3);
    let run = || migrate(&database, &later, Migrate::Older);
    let (a, b, c) = tokio::join!(run(), run(), run());
    a.and(b).and(c).unwrap();
    assert_eq!(version(&database).await, 4);
    assert_eq!(Traffic::new().rows(&store).await, 3);
    // G9: this release, on the tables of the later one.
    let error = database.builder().migrate(Migrate::Older).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
    let says = "has schema 4, and this release knows up to 3";
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_the_first_schema_keep_what_is_in_them() {
    let Some(database) = database().await else { return };
    migrate(&database, &MIGRATIONS[..1], Migrate::Fresh).await.unwrap();
    database
        .run(
            "INSERT INTO pmmds_store.outcomes VALUES (gen_random_uuid(), 1, now());
            INSERT INTO pmmds_store.leases VALUES ('turn', 'a', 7, now())",
        )
        .await;
    let error = database.builder().open().await.unwrap_err();
    assert!(error.to_string().contains("has schema 1, this release needs schema 3"), "{error}");
    let store = database.builder().migrate(Migrate::Older).open().await.unwrap();
    store.append(&Traffic::new().batch(1, 3)).await.unwrap();
    let kept = "SELECT (SELECT count(*) FROM pmmds_store.outcomes)
        + (SELECT token FROM pmmds_store.leases)";
    assert_eq!(database.value::<i64>(kept).await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_second_schema_have_no_correlation_id_and_new_ones_may() {
    let Some(database) = database().await else { return };
    let traffic = Traffic::new();
    let store = database.store().await;
    store.append(&traffic.batch(1, 3)).await.unwrap();
    store.close().await;
    // What the release before left: everything but this.
    let view = MIGRATIONS[0].sql.split("CREATE VIEW").nth(1).and_then(|sql| sql.split(';').next());
    let back = format!(
        "DROP VIEW pmmds_store.predictions;
        ALTER TABLE pmmds_store.prediction_logs DROP COLUMN correlation_id;
        CREATE VIEW {};
        DELETE FROM pmmds_store.migrations WHERE version = 3",
        view.unwrap()
    );
    database.run(&back).await;

    let store = database.builder().migrate(Migrate::Older).open().await.unwrap();
    let named = traffic.called(2, 2, &"checkout-7".parse().unwrap());
    store.append(&named).await.unwrap();
    let written = [traffic.batch(1, 3), named];
    let found = traffic.events(&store).await;
    let found: Vec<_> = found.into_iter().map(|logged| logged.event).collect();
    let written: Vec<_> = written.iter().flat_map(|batch| batch.events().to_vec()).collect();
    assert_eq!(found, written);
    let by_name = "SELECT count(*) FROM pmmds_store.predictions
        WHERE correlation_id = 'checkout-7' AND at >= '1970-01-01' AND at < '1970-01-02'";
    assert_eq!(database.value::<i64>(by_name).await, 2);
}

#[tokio::test]
async fn tables_that_were_tampered_with_are_not_supported() {
    let Some(database) = database().await else { return };
    database.store().await.close().await;
    database.run("UPDATE pmmds_store.migrations SET checksum = '\\x00'").await;
    let error = database.builder().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
}

/// G11
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_or_fails_leaves_nothing() {
    let Some(database) = database().await else { return };
    let there = "SELECT to_regclass('pmmds_store.migrations') IS NOT NULL";
    let broken = later("CREATE TABLE pmmds_store.half (x int); SELECT 1 / 0");
    let error = migrate(&database, &broken, Migrate::Fresh).await.unwrap_err();
    assert!(error.chain().contains("division by zero"), "{}", error.chain());
    assert!(!database.value::<bool>(there).await);

    let slow = later("CREATE TABLE pmmds_store.half (x int); SELECT pg_sleep(60)");
    let killer = async {
        let kill = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%'
                AND pid <> pg_backend_pid()";
        while database.value::<i64>(kill).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (killed, ()) = tokio::join!(migrate(&database, &slow, Migrate::Fresh), killer);
    assert_eq!(killed.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!database.value::<bool>(there).await);
    let store = database.store().await;
    store.append(&Traffic::new().batch(1, 3)).await.unwrap();
    assert_eq!(version(&database).await, 3);
}
