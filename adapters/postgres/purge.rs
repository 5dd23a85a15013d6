//! Removing what is old: whole days by dropping their partition, the rest in small steps.

use sqlx::{AssertSqlSafe, Executor};

use super::migrate::{PARTITION_LOCK, lock};
use super::moment::Moment;
use super::partitions::patiently;
use super::{PostgresStore, query, rows, scalar};
use crate::log::Purged;
use crate::{Error, Timestamp};

/// Rows that are deleted in one transaction, so that nobody waits long. Few in tests, so that these
/// get to every seam.
const PURGED_AT_ONCE: i64 = if cfg!(test) { 2 } else { 5_000 };

pub(super) const FORGET_SUMMARIES: &str = "
    UPDATE pmmds_store.ingest_batches SET summary = NULL, counts = NULL
    WHERE batch_id = ANY(ARRAY(SELECT batch_id FROM pmmds_store.ingest_batches
        WHERE first_at < $1 AND (summary IS NOT NULL OR counts IS NOT NULL) LIMIT $2))";

pub(super) const DELETE_ROLL_UPS: &str = "
    DELETE FROM pmmds_store.feature_histograms
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM pmmds_store.feature_histograms WHERE bucket < $1 LIMIT $2))";

pub(super) const DELETE_FEATURES: &str = "
    DELETE FROM pmmds_store.prediction_features
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM pmmds_store.prediction_features WHERE at < $1 LIMIT $2))";

pub(super) const FORGET_REQUESTS: &str = "
    DELETE FROM pmmds_store.request_ids
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM pmmds_store.request_ids WHERE at < $1 LIMIT $2))";

/// Of the DEFAULT partition, and of the day that is cut through.
const DELETE_EVENTS: &str = "
    DELETE FROM pmmds_store.prediction_logs e USING (
        SELECT tableoid, ctid FROM pmmds_store.prediction_logs WHERE at < $1 LIMIT $2) old
    WHERE e.tableoid = old.tableoid AND e.ctid = old.ctid AND e.at < $1";

pub(super) const DELETE_OUTCOMES: &str = "
    DELETE FROM pmmds_store.outcomes WHERE request_id = ANY(ARRAY(
        SELECT request_id FROM pmmds_store.outcomes WHERE observed_at < $1 LIMIT $2))";

pub(super) const FORGET_BATCHES: &str = "
    DELETE FROM pmmds_store.ingest_batches WHERE batch_id = ANY(ARRAY(
        SELECT batch_id FROM pmmds_store.ingest_batches
        WHERE first_at < $1 AND last_at < $1 AND written_at < $1 LIMIT $2))";

/// Partitions of days that are over, and tables that were partitions until a purge was killed.
const OLD_DAYS: &str = "
    SELECT right(c.relname, 8), c.relispartition FROM pg_class c
    WHERE c.relnamespace = 'pmmds_store'::regnamespace AND c.relkind = 'r'
        AND c.relname ~ '^prediction_logs_[0-9]{8}$'
        AND to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC'
            + interval '24 hours' <= $1
    ORDER BY 1";

impl PostgresStore {
    /// [`InferenceLog::purge`](crate::log::InferenceLog::purge).
    pub(super) async fn purge_before(&self, before: Timestamp) -> Result<Purged, Error> {
        let what = format!("purge what is from before {before}");
        let failed = |cause| self.failed(&what, cause);
        let bound = Moment::bound(before);
        // First of all: no roll-up and no summary may tell of events that are gone.
        let mut transaction = self.write(&what).await?;
        query(
            "UPDATE pmmds_store.settings SET counted_from = greatest(counted_from, $1),
                features_from = greatest(features_from, $1)",
        )
        .bind(bound)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.in_steps(FORGET_SUMMARIES, bound, &what).await?;
        self.in_steps(DELETE_ROLL_UPS, bound, &what).await?;
        self.in_steps(DELETE_FEATURES, bound, &what).await?;
        let mut transaction = self.read(&what).await?;
        let days: Vec<(String, bool)> =
            rows(OLD_DAYS).bind(bound).fetch_all(&mut *transaction).await.map_err(failed)?;
        transaction.rollback().await.map_err(failed)?;
        let mut purged = Purged::default();
        for (day, is_partition) in days {
            purged.events += self.drop_day(&day, is_partition, &what).await?;
        }
        purged.events += self.in_steps(DELETE_EVENTS, bound, &what).await?;
        purged.outcomes = self.in_steps(DELETE_OUTCOMES, bound, &what).await?;
        self.in_steps(FORGET_BATCHES, bound, &what).await?;
        // After the events: a request that is in the log is known.
        self.in_steps(FORGET_REQUESTS, bound, &what).await?;
        Ok(purged)
    }

    /// Removes raw features of events from before `before`, and nothing else: they may be kept for
    /// a shorter time than the log. How many.
    ///
    /// Such events are in [`scan`](crate::log::InferenceLog::scan) without features, and are no
    /// longer labelled.
    ///
    /// ```no_run
    /// # async fn forget(store: pmmds::postgres::PostgresStore) -> Result<(), pmmds::Error> {
    /// use std::time::Duration;
    /// use pmmds::log::InferenceLog;
    /// let month = Duration::from_secs(30 * 86_400);
    /// let gone = store.purge_features(store.now().await?.saturating_sub(month)).await?;
    /// # drop(gone); Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) and others; the rest goes with the next call.
    pub async fn purge_features(&self, before: Timestamp) -> Result<u64, Error> {
        let what = format!("purge raw features from before {before}");
        let bound = Moment::bound(before);
        let mut transaction = self.write(&what).await?;
        query("UPDATE pmmds_store.settings SET features_from = greatest(features_from, $1)")
            .bind(bound)
            .execute(&mut *transaction)
            .await
            .map_err(|e| self.failed(&what, e))?;
        transaction.commit().await.map_err(|e| self.failed(&what, e))?;
        self.in_steps(DELETE_FEATURES, bound, &what).await
    }

    /// Detaches the partition of a day, and drops what was one; the events that it had.
    async fn drop_day(&self, day: &str, is_partition: bool, what: &str) -> Result<u64, Error> {
        let failed = |cause| self.failed(what, cause);
        if is_partition {
            patiently(|| self.detach_day(day, what)).await?;
        }
        let mut transaction = self.write(what).await?;
        let count = format!("SELECT count(*) FROM pmmds_store.prediction_logs_{day}");
        let events: i64 =
            scalar(AssertSqlSafe(count)).fetch_one(&mut *transaction).await.map_err(failed)?;
        let drop = format!("DROP TABLE pmmds_store.prediction_logs_{day}");
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(events.unsigned_abs())
    }

    /// The lock on the log is held for this alone.
    async fn detach_day(&self, day: &str, what: &str) -> Result<(), Error> {
        let failed = |cause| self.failed(what, cause);
        let mut transaction = self.write_briefly(what).await?;
        lock(&mut transaction, PARTITION_LOCK).await.map_err(failed)?;
        let detach = format!(
            "ALTER TABLE pmmds_store.prediction_logs
                DETACH PARTITION pmmds_store.prediction_logs_{day}"
        );
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(detach))).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Repeats `statement`, each time in a transaction of its own, until it finds nothing more; the
    /// number of rows that it found. $1 is the time, $2 how many at once.
    async fn in_steps(
        &self,
        statement: &'static str,
        before: Moment,
        what: &str,
    ) -> Result<u64, Error> {
        let mut all = 0;
        loop {
            let mut transaction = self.write(what).await?;
            let done = query(statement).bind(before).bind(PURGED_AT_ONCE);
            let done = done.execute(&mut *transaction).await.map_err(|e| self.failed(what, e))?;
            transaction.commit().await.map_err(|e| self.failed(what, e))?;
            all += done.rows_affected();
            if done.rows_affected() == 0 {
                return Ok(all);
            }
        }
    }
}
