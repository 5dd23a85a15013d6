//! Whatever stands in a column or in the file, reading it ends in an answer or an error.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use super::super::SqliteStore;
use crate::conformance::ledger;
use crate::conformance::traffic::{Traffic, ever};
use crate::ledger::{AlertStore, DecisionStore, DriftStore, LeaseStore};
use crate::log::{Appended, InferenceLog, Outcome};
use crate::registry::VersionId;
use crate::{Error, ErrorKind, Timestamp};

const TABLES: [&str; 11] = [
    "log_models",
    "log_profiles",
    "ingest_batches",
    "prediction_logs",
    "prediction_features",
    "outcomes",
    "drift_metrics",
    "drift_alerts",
    "retraining_runs",
    "promotion_decisions",
    "leases",
];

/// A row or more in every table.
async fn fill(store: &SqliteStore) {
    let traffic = Traffic::new();
    for number in 1..4 {
        let batch = traffic.batch(number, 4);
        assert_eq!(store.append(&batch).await.unwrap(), Appended::Written);
        let outcomes = batch.events().iter().map(|event| Outcome {
            request_id: event.request_id,
            outcome: 1.0,
            observed_at: None,
        });
        store.record_outcomes(&outcomes.collect::<Vec<_>>()).await.unwrap();
    }
    // The suite writes every kind of record.
    let options = ledger::Options::new().prefix(traffic.model.as_str());
    ledger::drift_runs_once(store, &options.model("runs")).await;
    ledger::alerts_once(store, &options.model("alerts")).await;
    ledger::retraining_runs(store, &options.model("retraining")).await;
    ledger::decisions(store, &options.model("decisions")).await;
    ledger::references(store, &options.model("references")).await;
    ledger::leases(store, &options.model("leases")).await;
}

/// Everything that reads, and what reads before it writes; the errors.
async fn use_it_all(store: &SqliteStore) -> Vec<Error> {
    let traffic = Traffic::new();
    let options = ledger::Options::new().prefix(traffic.model.as_str());
    let mut errors = Vec::new();
    macro_rules! attempt {
        ($($call:expr),+ $(,)?) => {$(
            if let Err(error) = $call.await {
                errors.push(error);
            }
        )+};
    }
    let (model, limit) = (&traffic.model, 1_000);
    attempt!(
        store.counts(model, VersionId::FIRST, ever(), &traffic.profile),
        store.scan(model, ever(), None, limit),
        store.labelled(model, ever(), None, limit),
        store.append(&traffic.batch(1, 4)),
        store.append(&traffic.batch(9, 1)),
    );
    let outcome = Outcome { request_id: Uuid::from_u128(1 << 64), outcome: 0.0, observed_at: None };
    attempt!(store.record_outcomes(&[outcome]));
    let (runs, alerts) = (options.model("runs"), options.model("alerts"));
    let (retraining, decisions) = (options.model("retraining"), options.model("decisions"));
    attempt!(
        store.drift_runs(&runs, None, limit),
        store.references(&options.model("references")),
        store.open_alerts(&alerts),
        store.alerts(&alerts, None, limit),
        store.retraining_runs(&retraining, None, limit),
        store.decisions(&decisions, None, limit),
    );
    for table in ["drift_metrics", "drift_alerts", "retraining_runs", "promotion_decisions"] {
        let ids: Result<Vec<Vec<u8>>, _> =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT id FROM {table}")))
                .fetch_all(store.reads())
                .await;
        for id in ids.unwrap_or_default() {
            let id = Uuid::from_slice(&id).unwrap_or_default();
            match table {
                "drift_metrics" => attempt!(store.drift_run(id)),
                "drift_alerts" => {
                    attempt!(store.acknowledge_alert(id, None, Timestamp::EPOCH));
                }
                "retraining_runs" => attempt!(store.retraining_run(id)),
                _ => attempt!(store.decision(id)),
            }
        }
    }
    let names: Result<Vec<String>, _> =
        sqlx::query_scalar("SELECT name FROM leases").fetch_all(store.reads()).await;
    for name in names.unwrap_or_default() {
        attempt!(store.lease(&name), store.acquire_lease(&name, "b", Duration::from_secs(1)));
    }
    errors
}

/// Other bytes that a column of this type can hold.
fn hostile(random: &mut ChaCha8Rng, kind: &str, old: &[u8]) -> String {
    let mut bytes = old.to_vec();
    let at = usize::try_from(random.next_u64() % 1_000_000).unwrap();
    match random.next_u64() % 4 {
        0 => bytes.clear(),
        1 => bytes.truncate(at % (bytes.len() + 1)),
        2 => bytes.extend_from_slice(b"\xff\x00}"),
        _ if bytes.is_empty() => bytes.push(255),
        _ => {
            let at = at % bytes.len();
            bytes[at] ^= 1 << (random.next_u64() % 8);
        }
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = [i64::MIN, -1, 0, 1, 2, 255, 256, i64::MAX];
    let number = numbers[usize::try_from(random.next_u64() % 8).unwrap()];
    match kind {
        "BLOB" => format!("x'{hex}'"),
        // Not always UTF-8: STRICT tables let that through.
        "TEXT" => format!("CAST(x'{hex}' AS TEXT)"),
        "INTEGER" => number.to_string(),
        _ => ["9e999", "-9e999", "-1.0", "1.5", "1e300"]
            [usize::try_from(random.next_u64() % 5).unwrap()]
        .to_owned(),
    }
}

#[tokio::test]
async fn no_column_can_make_it_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let undamaged = SqliteStore::open_in_memory().await.unwrap();
    fill(&undamaged).await;
    assert!(use_it_all(&undamaged).await.is_empty(), "what is undamaged is read");
    let (mut damaged, mut seen) = (0, 0);
    for table in TABLES {
        let about = AssertSqlSafe(format!("SELECT name, type FROM pragma_table_info('{table}')"));
        let columns: Vec<(String, String)> =
            sqlx::query_as(about).fetch_all(undamaged.reads()).await.unwrap();
        assert!(!columns.is_empty(), "{table}");
        for (column, kind) in columns {
            let select = format!("SELECT CAST({column} AS BLOB) FROM {table} LIMIT 1");
            let old: Option<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(select))
                .fetch_one(undamaged.reads())
                .await
                .unwrap();
            for _ in 0..2 {
                let store = SqliteStore::open_in_memory().await.unwrap();
                fill(&store).await;
                let new = hostile(&mut random, &kind, old.as_deref().unwrap_or_default());
                let mut transaction = store.write("damage").await.unwrap();
                let update = format!("UPDATE OR IGNORE {table} SET {column} = {new}");
                // What breaks a constraint cannot get there, except by damage to the file.
                if transaction.execute(AssertSqlSafe(update)).await.is_err() {
                    continue;
                }
                transaction.commit().await.unwrap();
                damaged += 1;
                let errors = use_it_all(&store).await;
                seen += errors.len();
                for error in errors {
                    let (kind, chain) = (error.kind(), error.chain());
                    let expected = [ErrorKind::Corrupt, ErrorKind::Conflict, ErrorKind::NotFound];
                    assert!(expected.contains(&kind), "{table}.{column} = {new}: {chain}");
                }
            }
        }
    }
    // Half of the values break nothing that is read again.
    assert!(damaged > 80 && 2 * seen > damaged, "{damaged} damaged, {seen} errors");
}

#[tokio::test]
async fn a_row_that_does_not_fit_its_profile_is_named() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    let traffic = Traffic::new();
    store.append(&traffic.batch(1, 3)).await.unwrap();
    let event = traffic.batch(1, 3).events()[1].id;
    let mut transaction = store.write("damage").await.unwrap();
    sqlx::query("UPDATE prediction_logs SET codes = x'ffff' WHERE id = ?")
        .bind(&event.as_bytes()[..])
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let counts = store.counts(&traffic.model, VersionId::FIRST, ever(), &traffic.profile).await;
    let error = counts.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&event.to_string()), "{error}");
}

#[tokio::test]
async fn a_record_under_anothers_id_is_corrupt() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    let model = ledger::Options::new().model("decisions");
    ledger::decisions(&store, &model).await;
    let mut transaction = store.write("damage").await.unwrap();
    sqlx::query("UPDATE promotion_decisions SET created_at = created_at + 1")
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let error = store.decisions(&model, None, 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "paging by it would never end: {error}");
}

#[tokio::test]
async fn no_flipped_byte_in_the_file_can_make_it_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pmmds.db");
    let store = SqliteStore::open(&file).await.unwrap();
    fill(&store).await;
    store.close().await;
    let whole = std::fs::read(&file).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(13);
    let (mut refused, mut errors) = (0, 0);
    for round in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..1 + round % 20 {
            let at = usize::try_from(random.next_u64() % bytes.len() as u64).unwrap();
            bytes[at] ^= 1 << (random.next_u64() % 8);
        }
        let _ = std::fs::remove_file(folder.path().join("pmmds.db-wal"));
        let _ = std::fs::remove_file(folder.path().join("pmmds.db-shm"));
        std::fs::write(&file, bytes).unwrap();
        match SqliteStore::open(&file).await {
            Err(_) => refused += 1,
            Ok(store) => {
                errors += use_it_all(&store).await.len();
                store.close().await;
            }
        }
    }
    assert!(refused + errors > 0, "{refused} refused, {errors} errors: nothing was hit");
}
