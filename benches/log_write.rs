//! What does one logged prediction cost in a batch of 1, 32 and 1,000, against one commit per row?
//! And on PostgreSQL a million of them, against a commit per row and a JSON document in it, and where
//! each request is kept once?
//!
//! One commit per row *is* the batch of 1. `full` waits for the disk at every commit, `normal` for
//! the operating system: `Synchronous` says what each may lose. Time per row is the reciprocal of
//! the throughput that is printed. At the end: bytes of the file per row.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pmmds::log::{Appended, InferenceLog};
use pmmds::postgres::PostgresStore;
use pmmds::sqlite::{SqliteStore, Synchronous};
use sqlx::Connection;
use support::traffic::Traffic;
use support::{Limit, figure, measured, postgres, ratio};
use uuid::Uuid;

mod support;

const SIZES: [u64; 3] = [1, 32, 1_000];

fn log_write(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut sizes = Vec::new();
    for (level, synchronous) in [("full", Synchronous::Full), ("normal", Synchronous::Normal)] {
        let mut group = criterion.benchmark_group(format!("log_write/{level}"));
        group.sample_size(20).measurement_time(Duration::from_secs(4));
        for size in SIZES {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("pmmds.db");
            let store = SqliteStore::builder(&path).synchronous(synchronous).open();
            let store = runtime.block_on(store).expect("a store");
            let mut traffic = Traffic::new();
            group.throughput(Throughput::Elements(size));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..iterations {
                        let batch = traffic.batch(size);
                        let start = Instant::now();
                        runtime.block_on(store.append(&batch)).expect("append");
                        spent += start.elapsed();
                    }
                    spent
                });
            });
            runtime.block_on(store.close());
            let bytes = std::fs::metadata(&path).expect("the file").len();
            // Nothing was written where the group was filtered out.
            if let Some(per_row) = bytes.checked_div(traffic.events) {
                sizes.push(format!("batches of {size}, {level}: {per_row} bytes/row"));
            }
        }
        group.finish();
    }
    sizes.iter().for_each(|size| println!("{size}"));
}

/// A table to which each request is written by itself: begin, insert, commit.
struct Naive {
    what: &'static str,
    table: &'static str,
    make: &'static str,
    // request id, score and a document
    insert: &'static str,
    document: &'static str,
}

/// Rows as the original wrote them: of the features it kept bins and a hash.
const ORIGINAL: Naive = Naive {
    what: "the original's row",
    table: "prediction_logs",
    make: "
        CREATE TABLE prediction_logs (id serial PRIMARY KEY, request_id uuid NOT NULL UNIQUE,
            timestamp timestamptz NOT NULL DEFAULT now(), model_name varchar(100) NOT NULL,
            model_version varchar(50) NOT NULL, prediction int NOT NULL, probability float8 NOT NULL,
            latency_ms float8 NOT NULL, feature_hash varchar(64), numeric_feature_stats jsonb);
        CREATE INDEX ON prediction_logs (timestamp)",
    insert: "
        INSERT INTO prediction_logs (request_id, model_name, model_version, prediction, probability,
            latency_ms, feature_hash, numeric_feature_stats)
        VALUES ($1, 'churn-classifier', '1', 1, $2, 22.0,
            '5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592', $3::jsonb)
        RETURNING id, timestamp",
    document: r#"{"tenure_bin":"0-12","monthly_charges_bin":"medium<70","total_charges_bin":"low<500",
        "senior_citizen":0}"#,
};

/// Rows with all of their features, which drift can be computed from as it can from ours.
const DOCUMENTS: Naive = Naive {
    what: "a JSONB document",
    table: "requests",
    make: "
        CREATE TABLE requests (id bigserial PRIMARY KEY, request_id uuid NOT NULL UNIQUE,
            timestamp timestamptz NOT NULL DEFAULT now(), model_name text NOT NULL,
            model_version text NOT NULL, prediction int NOT NULL, probability float8 NOT NULL,
            latency_ms float8 NOT NULL, features jsonb NOT NULL);
        CREATE INDEX ON requests (timestamp)",
    insert: "
        INSERT INTO requests (request_id, model_name, model_version, prediction, probability,
            latency_ms, features)
        VALUES ($1, 'churn-classifier', '1', 1, $2, 22.0, $3::jsonb)
        RETURNING id, timestamp",
    document: r#"{"gender":"Female","senior_citizen":0,"partner":"Yes","dependents":"No","tenure":12,
        "phone_service":"Yes","multiple_lines":"No","internet_service":"Fiber optic",
        "online_security":"No","online_backup":"Yes","device_protection":"No","tech_support":"No",
        "streaming_tv":"Yes","streaming_movies":"No internet service","contract":"Month-to-month",
        "paperless_billing":"Yes","payment_method":"Electronic check","monthly_charges":70.35,
        "total_charges":844.2}"#,
};

/// Writes `rows`, each in a transaction of its own, as a session per request does; rows per second.
async fn one_by_one(database: &postgres::Database, naive: &Naive, rows: u32) -> f64 {
    let Naive { what, table, make, insert, document } = *naive;
    let per_row = |bytes: f64| bytes / f64::from(rows);
    database.run(make).await;
    let mut connection = database.connect().await;
    let before = database.wal().await;
    let start = Instant::now();
    for number in 0..rows {
        let mut transaction = connection.begin().await.expect("a transaction");
        sqlx::query(insert)
            .bind(Uuid::from_u128(0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(number.into())))
            .bind(f64::from(number % 1_000) / 1_000.0)
            .bind(document)
            .fetch_one(&mut *transaction)
            .await
            .expect("an insert");
        transaction.commit().await.expect("a commit");
    }
    let a_second = f64::from(rows) / start.elapsed().as_secs_f64();
    let wal = database.wal().await - before;
    let (table, index) = database.sizes("public", table).await;
    figure(&format!("{what}, a commit each"), a_second, "rows/s", Limit::None);
    let both = per_row(table + index);
    figure(&format!("{what}, table and index"), both, "bytes/row", Limit::None);
    figure(&format!("{what}, WAL"), per_row(wal), "bytes/row", Limit::None);
    a_second
}

/// Commits per second that have a few bytes to wait for and nothing else to do: what the disk allows.
async fn commits(database: &postgres::Database, number: u32) -> f64 {
    let mut connection = database.connect().await;
    let start = Instant::now();
    for _ in 0..number {
        let message = sqlx::query("SELECT pg_logical_emit_message(true, '', '')");
        message.execute(&mut connection).await.expect("a commit");
    }
    let a_second = f64::from(number) / start.elapsed().as_secs_f64();
    figure("commits of nothing", a_second, "commits/s", Limit::None);
    a_second
}

/// What a row costs.
struct Cost {
    rows_per_second: f64,
    // bytes per row
    table_and_index: f64,
    wal: f64,
}

/// Writes `rows` in batches of 1,000 and prints what a row of `what` costs.
async fn in_batches(
    what: &str,
    database: &postgres::Database,
    store: &PostgresStore,
    traffic: &mut Traffic,
    rows: u32,
) -> Cost {
    traffic.start = store.now().await.expect("the time").as_micros();
    let before = database.wal().await;
    let mut spent = Duration::ZERO;
    for _ in 0..rows / 1_000 {
        let batch = traffic.batch(1_000);
        let start = Instant::now();
        assert_eq!(store.append(&batch).await.expect("append"), Appended::Written);
        spent += start.elapsed();
    }
    let per_row = |bytes: f64| bytes / f64::from(rows);
    let wal = per_row(database.wal().await - before);
    let (mut table, mut index) = database.sizes("pmmds_store", "prediction_logs%").await;
    let keys = database.sizes("pmmds_store", "request_ids").await;
    (table, index) = (table + keys.0, index + keys.1);
    let cost = Cost {
        rows_per_second: f64::from(rows) / spent.as_secs_f64(),
        table_and_index: per_row(table + index),
        wal,
    };
    figure(what, cost.rows_per_second, "rows/s", Limit::None);
    figure(&format!("{what}, table"), per_row(table), "bytes/row", Limit::None);
    figure(&format!("{what}, index"), per_row(index), "bytes/row", Limit::None);
    figure(&format!("{what}, WAL"), cost.wal, "bytes/row", Limit::None);
    cost
}

fn on_postgres(_: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let Some(database) = runtime.block_on(postgres::Database::make("log_write")) else { return };
    let unique = runtime.block_on(postgres::Database::make("log_write_unique"));
    let unique = unique.expect("there is a server");
    runtime.block_on(async {
        let (rows, few) = if measured() { (1_000_000, 3_000) } else { (2_000, 10) };
        let store = database.store(1).await;
        let mut traffic = Traffic::new();
        println!("{rows} rows in batches of 1,000");
        let cost = in_batches("batches", &database, &store, &mut traffic, rows).await;
        let quick = cost.rows_per_second;
        figure("batches", quick, "rows/s", Limit::AtLeast(30_000.0));
        figure("table and index", cost.table_and_index, "bytes/row", Limit::AtMost(120.0));

        let builder = unique.builder(1).unique_request_ids();
        let keyed = builder.open().await.expect("a store");
        let mut again = Traffic::new();
        let once = in_batches("unique request ids", &unique, &keyed, &mut again, rows).await;
        keyed.close().await;
        for (what, a, b) in [
            ("rows/s", once.rows_per_second, quick),
            ("table and index", once.table_and_index, cost.table_and_index),
            ("WAL", once.wal, cost.wal),
        ] {
            ratio(&format!("unique request ids, {what}"), "batches", a, b, Limit::None);
        }

        let start = Instant::now();
        for _ in 0..few {
            store.append(&traffic.batch(1)).await.expect("append");
        }
        let singly = f64::from(few) / start.elapsed().as_secs_f64();
        figure("batches of 1", singly, "rows/s", Limit::None);

        let most = commits(&database, few).await;
        let what = "batches of 1,000";
        ratio(what, "commits of nothing", quick, most, Limit::None);
        for naive in [ORIGINAL, DOCUMENTS] {
            let slow = one_by_one(&database, &naive, few).await;
            let baseline = format!("{}, a commit each", naive.what);
            ratio(what, &baseline, quick, slow, Limit::AtLeast(100.0));
        }
        store.close().await;
    });
    runtime.block_on(database.remove());
    runtime.block_on(unique.remove());
}

criterion_group!(benches, log_write, on_postgres);
criterion_main!(benches);
