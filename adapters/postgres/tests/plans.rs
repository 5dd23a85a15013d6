//! G17: reading and removing a stretch of a large log reads no more than it needs.
//! The planner has its choice: the tables are large enough that an index pays.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::super::{counting, log, purge, roll_up};
use super::server::{Database, database};
use crate::conformance::traffic::Traffic;
use crate::log::InferenceLog;

/// A day and more of rows, newest first, of which statistics are known: up to noon, whatever time it
/// is, for a day that has only begun has so few rows that no index pays.
const FILL: &str = "
    INSERT INTO pmmds_store.prediction_logs
        SELECT $noon - n * interval '400 ms', gen_random_uuid(), 0.5, 80, NULL, 1, 1, 1,
            '\\x0102' FROM generate_series(1, 300000) n;
    INSERT INTO pmmds_store.prediction_features
        SELECT id, at, id, 1, '{}' FROM pmmds_store.prediction_logs WHERE at > '2000-01-01' AND random() < 0.2;
    INSERT INTO pmmds_store.request_ids
        SELECT id, 'churn', at FROM pmmds_store.prediction_logs ORDER BY at DESC;
    INSERT INTO pmmds_store.outcomes SELECT id, 1, at FROM pmmds_store.prediction_features;
    INSERT INTO pmmds_store.ingest_batches
        SELECT gen_random_uuid(), 1, 10, at, at, at, date_trunc('hour', at),
            CASE WHEN n < 20 THEN '{1,2}'::bigint[] END, '{}'
        FROM (SELECT n, $noon - n * interval '4 s' AS at
            FROM generate_series(1, 30000) n) b;
    INSERT INTO pmmds_store.feature_histograms
        SELECT 1, date_trunc('hour', $noon) - n * interval '1 hour', 10, '{1,2}', '{}'
        FROM generate_series(1, 20000) n;
    INSERT INTO pmmds_store.drift_metrics
        SELECT gen_random_uuid(), 'churn', 1, at, at, '', at, '{}'
        FROM (SELECT $noon - n * interval '1 hour' AS at FROM generate_series(1, 20000) n) r";

const PAGE_OF_RUNS: &str = "
    SELECT record FROM pmmds_store.drift_metrics
    WHERE model = 'churn' AND (created_at, id) < ($1, gen_random_uuid())
    ORDER BY created_at DESC, id DESC LIMIT 9";

/// How the server would do it; `bound` are SQL in place of $1, $2, ...
async fn plan(database: &Database, statement: &str, bound: &[&str]) -> String {
    let mut statement = statement.to_owned();
    for (number, value) in bound.iter().enumerate().rev() {
        statement = statement.replace(&format!("${}", number + 1), value);
    }
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let explain = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {statement}")));
    let lines: Vec<String> = explain.fetch_all(&mut connection).await.unwrap();
    lines.join("\n")
}

#[tokio::test]
async fn queries_use_their_index() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    store.append(&Traffic::new().batch(1, 1)).await.unwrap();
    let day = store.now().await.unwrap().to_string()[..10].to_owned();
    let noon = format!("'{day} 12:00:00+00'::timestamptz");
    database.run(&FILL.replace("$noon", &noon)).await;
    database.run("VACUUM ANALYZE").await;

    let before = |time: &str| format!("({noon} - interval '{time}')");
    let [minute, hours, old] = ["1 minute", "12 hours", "32 hours"].map(before);
    let (to, from, hours, old) = (&*noon, &*minute, &*hours, &*old);
    let models = "ARRAY[1]";
    let none = "NULL::uuid";
    for (statement, bound, index) in [
        (counting::CODES, &["1", from, to][..], "_at_idx"),
        (counting::FOREIGN, &[models, from, to], "_at_idx"),
        (counting::ROLLED_UP, &["1", hours, to], "feature_histograms_"),
        (counting::FOREIGN_ROLLED_UP, &[models, hours, to], "feature_histograms_"),
        (counting::BATCH_COUNTS, &["1", from, to], "ingest_batches_"),
        (counting::SUMMARIES, &["1", from, to, to, to], "ingest_batches_"),
        (log::REACH, &[models, from, to, "1000"], "ingest_batches_"),
        (log::SCAN, &["'churn'", from, to, none, "100"], "_at_idx"),
        (log::LABELLED, &["'churn'", from, to, none, "100"], "_at_idx"),
        (roll_up::TO_ADD_UP, &[to, "1000"], "ingest_batches_to_add_up"),
        (purge::FORGET_SUMMARIES, &[old, "5000"], "ingest_batches_by_time"),
        (purge::FORGET_BATCHES, &[old, "5000"], "ingest_batches_by_time"),
        (purge::DELETE_FEATURES, &[old, "5000"], "prediction_features_by_time"),
        (purge::DELETE_OUTCOMES, &[old, "5000"], "outcomes_by_time"),
        (purge::FORGET_REQUESTS, &[old, "5000"], "request_ids_by_time"),
        (PAGE_OF_RUNS, &[to], "drift_metrics_by_time"),
    ] {
        let plan = plan(&database, statement, bound).await;
        assert!(plan.contains(index), "{index} is not in the plan of{statement}\n{plan}");
        for large in ["prediction_logs", "prediction_features", "ingest_batches", "request_ids"] {
            let all = format!("Seq Scan on {large}");
            let read = plan.lines().find(|line| line.contains(&all));
            assert!(
                read.is_none_or(|line| line.contains("default") || line.contains("rows=1 ")),
                "all of {large} is read by{statement}\n{plan}"
            );
        }
    }

    let (from, to) = (format!("'{day} 00:00:00+00'"), format!("'{day} 00:01:00+00'"));
    let today = plan(&database, counting::CODES, &["1", &from, &to]).await;
    let ours = format!("prediction_logs_{}", day.replace('-', ""));
    let looked_at = today.matches("prediction_logs_").count();
    assert!(looked_at > 0, "{today}");
    assert_eq!(today.matches(&ours).count(), looked_at, "other days are not looked at:\n{today}");
}
