//! Log and ledger on PostgreSQL 15 and later: the store that several machines share.
//!
//! [`PostgresStore`] is an [`InferenceLog`](crate::log::InferenceLog) and a
//! [`Ledger`](crate::ledger::Ledger). It takes a URL, or the pool that an application has.
//!
//! ```no_run
//! use std::sync::Arc;
//! use pmmds::ledger::Ledger;
//! use pmmds::log::InferenceLog;
//! use pmmds::postgres::PostgresStore;
//!
//! # async fn open() -> Result<(), pmmds::Error> {
//! let store = PostgresStore::open("postgres://pmmds:secret@localhost/pmmds").await?;
//! let log: Arc<dyn InferenceLog> = Arc::new(store.clone());
//! let ledger: Arc<dyn Ledger> = Arc::new(store.clone());
//! # drop((log, ledger));
//! store.close().await;
//! # Ok(()) }
//! ```
//!
//! # What is kept where
//!
//! All tables are in the schema `pmmds_store`. Tables of the same names in other schemas, such as those
//! that an earlier system left in `public`, are not touched.
//!
//! | table | a row is |
//! |---|---|
//! | `prediction_logs` | an answered prediction: ids, time, version, score, label, latency, one byte per feature, and what the caller calls its request; a partition per day |
//! | `prediction_features` | the raw features of one, where the owner keeps them |
//! | `ingest_batches` | a batch: its id, its rows per slot, the summaries and rejections of its traffic |
//! | `feature_histograms` | the same of a bucket, added up by [`maintain`](PostgresStore::maintain) |
//! | `request_ids` | a request that the log has, where it keeps [one event of each](PostgresStoreBuilder::unique_request_ids) |
//! | `outcomes` | the true outcome of a request |
//! | `drift_metrics`, `drift_alerts`, `reference_datasets`, `retraining_runs`, `promotion_decisions` | a record of the ledger, as JSON beside the columns it is found by |
//! | `leases` | the last lease of a name |
//! | `job_runs` | work that is done once per slot |
//! | `model_versions` | a model, version and profile that events refer to by number |
//! | `settings`, `migrations` | what holds for the database, and which migrations were made |
//!
//! The view `pmmds_store.predictions` is the log with names:
//! `SELECT model, version, count(*), avg(score) FROM pmmds_store.predictions GROUP BY 1, 2`.
//!
//! The rows of a request are found in a stretch of time, whose partitions are looked through:
//! `SELECT * FROM pmmds_store.predictions WHERE correlation_id = 'checkout-7' AND at > now() -
//! interval '1 day'`. Whoever looks often makes an index, which costs those rows that have one:
//! `CREATE INDEX ON pmmds_store.prediction_logs (correlation_id) WHERE correlation_id IS NOT NULL`.
//!
//! A log that a team has already, in a table of its own, is counted where it is:
//! [`count_own_table`](PostgresStore::count_own_table).
//!
//! # What is safe from what
//!
//! A batch or record is written in one transaction. What was acknowledged is as durable as the
//! server makes a commit. A batch that was sent again, because its acknowledgement was lost, is
//! known by its id, also on another connection or replica. A transaction that the server ends
//! because of a deadlock is tried again.
//!
//! # What is seen to
//!
//! Partitions are made a week ahead, buckets that are over are added up, and what is older than the
//! [retention](PostgresStoreBuilder::retention) is removed: when the database is opened, as far as
//! partitions go, and then about once an hour by one of the processes that write to it, beside its
//! writing. Where nobody writes for days, or a scheduler is to do it, there is
//! [`maintain`](PostgresStore::maintain). Events that are of no day with a partition are in a
//! DEFAULT one, and an alert is open for as long as they are.
//!
//! # A database that is away when a process starts
//!
//! [`open`](PostgresStoreBuilder::open) waits for it, and gives up.
//! [`open_later`](PostgresStoreBuilder::open_later) does not: what is called before the database is
//! there is [`Unavailable`](crate::ErrorKind::Unavailable), and nothing is read or written before the
//! tables have been looked at, as at any start.
//!
//! # Connections
//!
//! Every statement runs in a transaction, none is prepared by name, and locks are those of
//! transactions: PgBouncer may stand in between in transaction mode, told to
//! `ignore_startup_parameters = extra_float_digits`. Every transaction limits its statements and
//! its waits for locks.
//!
//! # Encryption
//!
//! As `sslmode` of the URL says, or of the options that were given. What neither says is taken from
//! the environment, as with psql: `PGSSLMODE`, `PGSSLROOTCERT`, and `PGSSLCERT` and `PGSSLKEY` for a
//! certificate of our own. Without any of it that is `prefer`: what the server offers, in plain where
//! it offers none, and nobody looks whose certificate it is, so that whoever stands in between can
//! read along and answer in its place. `allow` is no more than `disable` to the driver: always in
//! plain. `require` refuses to talk in plain, and is no better otherwise. Over a network of others it
//! takes `sslmode=verify-full&sslrootcert=/etc/ssl/our-own.pem`: the certificate is for the host of
//! the URL, and of an authority in that file or of one that Mozilla trusts, which the driver adds.
//! `verify-ca` leaves the host out, so that a certificate of one of these for anybody will do;
//! `require` with `sslrootcert`, wherever that is said, is the same, as with psql. A server that will
//! not do is [`Unavailable`](crate::ErrorKind::Unavailable) with the reason at once: opening does not
//! wait for it. A pool that was given connects as it was made to.
//!
//! A parameter of the URL that the driver does not know is
//! [`InvalidInput`](crate::ErrorKind::InvalidInput), as is a file that cannot be read, so that nobody
//! connects unchecked because of a slip of the pen. A `PGSSLMODE` that it does not know it passes over:
//! whoever depends on it says it in the URL.
//!
//! # Time
//!
//! [`now`](crate::log::InferenceLog::now) and the ends of leases are of the server's clock, which
//! all replicas share.
//!
//! # Panics
//!
//! Outside a tokio runtime, as sqlx does.

mod address;
mod counting;
mod error;
mod jobs;
mod later;
mod ledger;
mod log;
mod maintain;
mod migrate;
mod moment;
mod own_table;
mod partitions;
mod purge;
mod request_ids;
mod roll_up;
mod store;
#[cfg(test)]
mod tests;

pub use counting::Verification;
pub use maintain::Maintenance;
pub use migrate::Migrate;
pub use own_table::{OwnColumn, OwnTable};
pub use store::{PostgresStore, PostgresStoreBuilder, RollUp};

use sqlx::SqlSafeStr;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::{Query, QueryAs, QueryScalar};

// A statement that was prepared by name is on one connection of the server, and PgBouncer may be
// on another by the next transaction: none is.

fn query(sql: impl SqlSafeStr) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

fn scalar<T>(sql: impl SqlSafeStr) -> QueryScalar<'static, Postgres, T, PgArguments>
where
    (T,): for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    sqlx::query_scalar(sql).persistent(false)
}

fn rows<T>(sql: impl SqlSafeStr) -> QueryAs<'static, Postgres, T, PgArguments>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    sqlx::query_as(sql).persistent(false)
}
