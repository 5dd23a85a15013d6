//! What an earlier release wrote is read as it was.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::super::SqliteStore;
use crate::Timestamp;
use crate::conformance::traffic::{Traffic, ever};
use crate::ledger::{AlertStore, DecisionStore, DriftStore, JobClaim, JobStore};
use crate::log::{Appended, InferenceEvent, InferenceLog};
use crate::model::Task;
use crate::registry::{ModelName, VersionId};

/// Three batches of four events with outcomes, and records of every kind.
const GOLDEN: &str = include_str!("../golden/schema_1.sql");

async fn columns(connection: &mut SqliteConnection, table: &str) -> Vec<String> {
    let names = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)").bind(table);
    names.fetch_all(connection).await.unwrap()
}

/// Of a table: these columns of its rows as text, in the order of its key.
async fn rows(connection: &mut SqliteConnection, table: &str, columns: &[String]) -> Vec<String> {
    let columns: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
    let select = format!("SELECT concat_ws(',', {}) FROM {table} ORDER BY 1", columns.join(", "));
    sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(connection).await.unwrap()
}

async fn connect(file: &Path) -> SqliteConnection {
    // The tables of a dump come in the order of their names.
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    options.foreign_keys(false).connect().await.unwrap()
}

#[tokio::test]
async fn a_store_of_schema_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pmmds.db");
    let mut connection = connect(&file).await;
    sqlx::raw_sql(GOLDEN).execute(&mut connection).await.unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    let mut before = Vec::new();
    for table in &tables {
        let columns = columns(&mut connection, table).await;
        before.push((rows(&mut connection, table, &columns).await, columns));
    }
    connection.close().await.unwrap();

    let store = SqliteStore::open(&file).await.unwrap();
    let traffic = Traffic::new();
    let written: Vec<InferenceEvent> =
        (1..4).flat_map(|number| traffic.batch(number, 4).events().to_vec()).collect();
    let found = traffic.events(&store).await;
    let found: Vec<InferenceEvent> = found.into_iter().map(|logged| logged.event).collect();
    assert_eq!(found, written);
    let labelled = store.labelled(&traffic.model, ever(), None, 100).await.unwrap();
    assert_eq!(labelled.items.len(), 12);
    let counts = store.counts(&traffic.model, VersionId::FIRST, ever(), &traffic.profile).await;
    assert_eq!(counts.unwrap().counts.summarised(), 12);
    let of = |kind: &str| ModelName::new(format!("churn-{kind}")).unwrap();
    assert!(!store.drift_runs(&of("runs"), None, 9).await.unwrap().items.is_empty());
    assert!(!store.alerts(&of("alerts"), None, 9).await.unwrap().items.is_empty());
    assert!(!store.retraining_runs(&of("retraining"), None, 9).await.unwrap().items.is_empty());
    assert!(!store.decisions(&of("decisions"), None, 9).await.unwrap().items.is_empty());
    assert!(!store.references(&of("references")).await.unwrap().is_empty());
    // A batch that comes again is still known, and a prediction without a label can come now.
    assert_eq!(store.append(&traffic.batch(1, 4)).await.unwrap(), Appended::AlreadyThere);
    store.close().await;

    let mut connection = connect(&file).await;
    for (table, (before, columns)) in tables.iter().zip(before) {
        let mut after = rows(&mut connection, table, &columns).await;
        if table == "pmmds_migrations" {
            after.truncate(before.len());
        }
        assert_eq!(after, before, "{table}");
    }
    connection.close().await.unwrap();

    let store = SqliteStore::open(&file).await.unwrap();
    let batch = traffic.predicting(9, 1, Task::Regression, -1_250.5);
    assert_eq!(store.append(&batch).await.unwrap(), Appended::Written);
    assert_eq!(traffic.events(&store).await.last().unwrap().event, batch.events()[0]);
}

#[tokio::test]
async fn a_store_of_schema_2_gets_the_table_of_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pmmds.db");
    let traffic = Traffic::new();
    let store = SqliteStore::open(&file).await.unwrap();
    store.append(&traffic.batch(1, 4)).await.unwrap();
    store.close().await;
    // What the release before left: everything but this.
    let mut connection = connect(&file).await;
    let back = "DROP TABLE job_runs; ALTER TABLE prediction_logs DROP COLUMN correlation_id;
        DELETE FROM pmmds_migrations WHERE version >= 3";
    sqlx::raw_sql(back).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let store = SqliteStore::open(&file).await.unwrap();
    assert_eq!(traffic.rows(&store).await, 4);
    let lease = std::time::Duration::from_secs(60);
    let slot = Timestamp::EPOCH;
    let claim = JobClaim { job: "monitor", slot, owner: "a", lease, attempts: 1 };
    let run = store.claim_job(&claim).await.unwrap();
    assert_eq!(store.job_run("monitor", slot).await.unwrap(), run);
    assert!(run.is_some());
}

#[tokio::test]
async fn events_of_schema_3_have_no_correlation_id_and_new_ones_may() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pmmds.db");
    let traffic = Traffic::new();
    let store = SqliteStore::open(&file).await.unwrap();
    store.append(&traffic.batch(1, 4)).await.unwrap();
    store.close().await;
    let mut connection = connect(&file).await;
    let back = "ALTER TABLE prediction_logs DROP COLUMN correlation_id;
        DELETE FROM pmmds_migrations WHERE version >= 4";
    sqlx::raw_sql(back).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let store = SqliteStore::open(&file).await.unwrap();
    let named = traffic.called(2, 2, &"checkout-7".parse().unwrap());
    store.append(&named).await.unwrap();
    let written: Vec<InferenceEvent> =
        [traffic.batch(1, 4), named].iter().flat_map(|batch| batch.events().to_vec()).collect();
    let found = traffic.events(&store).await;
    let found: Vec<InferenceEvent> = found.into_iter().map(|logged| logged.event).collect();
    assert_eq!(found, written);
}
