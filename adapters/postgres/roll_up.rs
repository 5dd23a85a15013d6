//! Adding up the batches of a bucket that is over: one row in their place.

use sqlx::Transaction;
use sqlx::postgres::Postgres;

use super::migrate::ROLL_UP_LOCK;
use super::moment::Moment;
use super::{PostgresStore, query, rows, scalar};
use crate::Error;
use crate::log::Summaries;

/// How long a bucket must have been over, so that what is late is mostly there; what comes later
/// is added the next time. Microseconds.
const GRACE: i64 = 300_000_000;

/// Buckets that are looked for at a time; few in tests, so that these get to every seam.
const BUCKETS_AT_ONCE: i64 = if cfg!(test) { 2 } else { 1_000 };

/// What is left to be added up: batches of buckets that are over, and buckets in several parts.
pub(super) const TO_ADD_UP: &str = "
    SELECT model_version, bucket FROM pmmds_store.ingest_batches
    WHERE counts IS NOT NULL AND bucket < $1
    UNION
    SELECT model_version, bucket FROM pmmds_store.feature_histograms
    WHERE bucket < $1 GROUP BY model_version, bucket HAVING count(*) > 1
    LIMIT $2";

type Part = (i64, Vec<i64>, Option<String>);

impl PostgresStore {
    /// Adds up the batches of all buckets that are over; how many buckets.
    pub(super) async fn add_up_buckets(&self) -> Result<u64, Error> {
        let what = "look for buckets to add up";
        let failed = |cause| self.failed(what, cause);
        let mut added = 0;
        loop {
            let mut transaction = self.read(what).await?;
            let now = self.clock(&mut transaction).await?.as_micros();
            let width = self.bucket_width(&mut transaction).await?;
            let over = Moment(now.saturating_sub(GRACE.saturating_add(width)));
            let buckets: Vec<(i32, Moment)> = rows(TO_ADD_UP)
                .bind(over)
                .bind(BUCKETS_AT_ONCE)
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
            transaction.rollback().await.map_err(failed)?;
            if buckets.is_empty() {
                return Ok(added);
            }
            for (model_version, bucket) in buckets {
                if !self.add_up(model_version, bucket).await? {
                    // Another process is at it.
                    return Ok(added);
                }
                added += 1;
            }
        }
    }

    async fn add_up(&self, model_version: i32, bucket: Moment) -> Result<bool, Error> {
        let what = "add up a bucket";
        let failed = |cause| self.failed(what, cause);
        let mut transaction = self.write(what).await?;
        let free: bool = scalar("SELECT pg_try_advisory_xact_lock($1)")
            .bind(ROLL_UP_LOCK)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        if !free {
            return Ok(false);
        }
        let parts = self.take_parts(&mut transaction, model_version, bucket).await?;
        let damaged = |why| self.corrupt(format_args!("a roll-up cannot be added up: {why}"));
        let mut sum: Option<(i64, Vec<i64>)> = None;
        for (events, slots, _) in parts.iter().filter(|(_, slots, _)| !slots.is_empty()) {
            match &mut sum {
                None => sum = Some((*events, slots.clone())),
                Some((all, sums)) => {
                    if sums.len() != slots.len() {
                        return Err(damaged("its parts have different slots"));
                    }
                    // Below i64::MAX for as long as there are fewer rows than that.
                    *all = all.saturating_add(*events);
                    sums.iter_mut().zip(slots).for_each(|(a, b)| *a = a.saturating_add(*b));
                }
            }
        }
        let documents = parts.iter().filter_map(|(.., summary)| summary.as_deref());
        let summary = Summaries::join(documents)
            .map_err(|e| damaged("its summaries cannot be read").with_source(e))?;
        let (events, slots) = sum.unwrap_or_default();
        query(
            "INSERT INTO pmmds_store.feature_histograms (model_version, bucket, events, counts, summary)
            VALUES ($1, $2, $3, $4, $5::json)",
        )
        .bind(model_version)
        .bind(bucket)
        .bind(events)
        .bind(slots)
        .bind(summary)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    /// The parts of a bucket, which are there no longer.
    async fn take_parts(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        model_version: i32,
        bucket: Moment,
    ) -> Result<Vec<Part>, Error> {
        let failed = |cause| self.failed("add up a bucket", cause);
        let mut parts: Vec<Part> = rows(
            "DELETE FROM pmmds_store.feature_histograms WHERE model_version = $1 AND bucket = $2
            RETURNING events, counts, summary::text",
        )
        .bind(model_version)
        .bind(bucket)
        .fetch_all(&mut **transaction)
        .await
        .map_err(failed)?;
        let batches: Vec<Part> = rows(
            "UPDATE pmmds_store.ingest_batches b SET counts = NULL FROM (
                SELECT batch_id, counts FROM pmmds_store.ingest_batches
                WHERE bucket = $2 AND model_version = $1 AND counts IS NOT NULL FOR UPDATE) old
            WHERE b.batch_id = old.batch_id
            RETURNING b.events::bigint, old.counts, b.summary::text",
        )
        .bind(model_version)
        .bind(bucket)
        .fetch_all(&mut **transaction)
        .await
        .map_err(failed)?;
        parts.extend(batches);
        Ok(parts)
    }
}
