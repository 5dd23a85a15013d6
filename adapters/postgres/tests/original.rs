//! A database that an earlier system has filled, whose tables have the names of ours.

use super::server::{Database, database};
use crate::conformance::traffic::Traffic;
use crate::conformance::{ledger, log};
use crate::log::InferenceLog;

const TABLES: [&str; 8] = [
    "prediction_logs",
    "drift_metrics",
    "drift_alerts",
    "reference_datasets",
    "promotion_decisions",
    "retraining_runs",
    "drift_results",
    "model_metadata",
];

/// Every row of every table, by names without a schema, as the earlier system asks for them.
async fn everything(database: &Database) -> Vec<String> {
    let mut found = Vec::new();
    for table in TABLES {
        let query = format!(
            "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY id)), '')
            FROM {table} t"
        );
        found.push(database.value::<String>(&query).await);
    }
    found
}

/// G10. The user of the tests is called `pmmds`, as that of the original is: a schema of its name
/// would come before `public` and hide the tables.
#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_the_original_keep_every_row_and_their_names() {
    let Some(database) = database().await else { return };
    database.run(include_str!("original.sql")).await;
    let before = everything(&database).await;
    assert!(before[0].starts_with("500 ") && before[2].starts_with("3 "), "{before:?}");
    let user: String = database.value("SELECT current_user::text").await;
    assert_eq!(user, "pmmds");

    let store = database.store().await;
    log::all(async || store.clone(), &log::Options::new().batches(5)).await;
    ledger::all(async || store.clone(), &ledger::Options::new(), tokio::time::sleep).await;
    store.maintain().await.unwrap();
    let traffic = Traffic::new();
    store.append(&traffic.batch(1, 30)).await.unwrap();
    assert!(store.purge(store.now().await.unwrap()).await.unwrap().events >= 30);

    assert_eq!(everything(&database).await, before);
    // The earlier system still writes, also beside ours.
    database
        .run(
            "INSERT INTO prediction_logs (request_id, model_name, model_version, prediction,
                probability, latency_ms)
            VALUES (gen_random_uuid(), 'churn-classifier', '1', 1, 0.7, 22)",
        )
        .await;
    let rows: i64 = database.value("SELECT count(*) FROM public.prediction_logs").await;
    assert_eq!(rows, 501);
}
