//! Log and ledger in one SQLite file: nothing to install, nothing to start.
//!
//! [`SqliteStore`] is an [`InferenceLog`](crate::log::InferenceLog) and a
//! [`Ledger`](crate::ledger::Ledger). Several processes may use one file at a time: on one machine,
//! on a local disk, since they share memory and lock bytes of the file.
//!
//! ```
//! use std::sync::Arc;
//! use pmmds::ledger::Ledger;
//! use pmmds::log::InferenceLog;
//! use pmmds::sqlite::SqliteStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("pmmds.db");
//! let store = SqliteStore::open(path).await?;
//! let log: Arc<dyn InferenceLog> = Arc::new(store.clone());
//! let ledger: Arc<dyn Ledger> = Arc::new(store.clone());
//! # drop((log, ledger));
//! store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept where
//!
//! | table | a row is |
//! |---|---|
//! | `prediction_logs` | an answered prediction: ids, time, version, score, label, latency, one code per feature, and what the caller calls its request |
//! | `prediction_features` | the raw features of one, where the owner keeps them |
//! | `ingest_batches` | a batch: its id, and the summaries and rejections of its traffic |
//! | `outcomes` | the true outcome of a request |
//! | `drift_metrics`, `drift_alerts`, `reference_datasets`, `retraining_runs`, `promotion_decisions` | a record of the ledger, as JSON beside the columns it is found by |
//! | `leases` | the last lease of a name |
//! | `log_models`, `log_profiles` | a name or fingerprint that events refer to by number |
//! | `pmmds_migrations` | a migration that was made |
//!
//! Times are microseconds since 1970, ids 16 bytes. `sqlite3 pmmds.db` reads it all, for example
//! `SELECT record ->> '$.message' FROM drift_alerts WHERE resolved_at IS NULL`, or the rows of a
//! request of the last day, `SELECT hex(request_id), score FROM prediction_logs WHERE
//! correlation_id = 'checkout-7' AND at > (unixepoch() - 86400) * 1000000`.
//!
//! # What is safe from what
//!
//! A batch or record is written in one transaction, into a write-ahead log. What was acknowledged
//! survives the end of the process at any point; what a crash of the *machine* may take is the
//! owner's choice of [`Synchronous`]. A batch that was sent again, because its acknowledgement was
//! lost, is known by its id.
//!
//! # Time
//!
//! [`now`](crate::log::InferenceLog::now) and the ends of leases are of the machine's clock. If
//! that is set back, leases last longer by as much; none is held by two.
//!
//! # Panics
//!
//! Outside a tokio runtime, as sqlx does.

mod counting;
mod error;
mod jobs;
mod ledger;
mod log;
mod store;
#[cfg(test)]
mod tests;

pub use store::{SqliteStore, SqliteStoreBuilder, Synchronous};
