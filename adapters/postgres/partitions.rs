//! Partitions of the log, one per day: made ahead, so that no row has to look for its place.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sqlx::postgres::Postgres;
use sqlx::{AssertSqlSafe, Executor, Transaction};

use super::error::is_locked;
use super::migrate::{PARTITION_LOCK, lock};
use super::moment::Moment;
use super::{PostgresStore, scalar};
use crate::log::EventBatch;
use crate::{Error, Timestamp};

pub(super) const DAY: i64 = 86_400_000_000;

/// Days that have a partition before they come.
const AHEAD: i64 = 7;

/// Attempts at a lock on the whole log, each of them brief: who waits for it makes all others wait.
const ATTEMPTS: u32 = 20;

/// Awaits what `attempt` makes, again while somebody holds a lock that it needs.
pub(super) async fn patiently<T, F>(attempt: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut left = ATTEMPTS;
    loop {
        match attempt().await {
            Err(error) if left > 1 && is_locked(&error) => {
                left -= 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

/// The day that begins at this moment, as `20240501` and as the bounds of a partition.
fn name_and_bounds(day: Timestamp) -> (String, String) {
    let date = |at: Timestamp| at.to_string().chars().take(10).collect::<String>();
    let next = day.saturating_add(Duration::from_micros(DAY.unsigned_abs()));
    let bounds = format!("FROM ('{} 00:00:00+00') TO ('{} 00:00:00+00')", date(day), date(next));
    (date(day).replace('-', ""), bounds)
}

impl PostgresStore {
    /// Makes the partitions of yesterday to a week from now that are not there; how many.
    pub(super) async fn make_partitions_ahead(&self) -> Result<u64, Error> {
        let what = "make the partitions of the next days";
        let mut transaction = self.read(what).await?;
        let today = self.clock(&mut transaction).await?.as_micros().div_euclid(DAY) * DAY;
        let known: Vec<String> = scalar(
            "SELECT right(c.relname, 8) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'pmmds_store.prediction_logs'::regclass",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(|e| self.failed(what, e))?;
        transaction.rollback().await.map_err(|e| self.failed(what, e))?;
        let mut made = 0;
        for number in -1..=AHEAD {
            let day = self.time(Moment(today + number * DAY))?;
            if known.contains(&name_and_bounds(day).0) {
                continue;
            }
            if patiently(|| self.make_partition(day)).await? {
                made += 1;
            }
        }
        self.inner.partitions_until.store(today + AHEAD * DAY, Relaxed);
        Ok(made)
    }

    /// Makes the partition of the day that begins at `day`, with the rows of that day that the
    /// DEFAULT partition has; false if it is there.
    pub(super) async fn make_partition(&self, day: Timestamp) -> Result<bool, Error> {
        let (name, bounds) = name_and_bounds(day);
        let what = format!("make the partition of {name}");
        let failed = |cause| self.failed(&what, cause);
        let mut transaction = self.write_briefly(&what).await?;
        lock(&mut transaction, PARTITION_LOCK).await.map_err(failed)?;
        let there = scalar::<bool>(
            "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'pmmds_store' AND c.relname = $1)",
        )
        .bind(format!("prediction_logs_{name}"))
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        if there {
            return Ok(false);
        }
        self.attach(&mut transaction, &name, &bounds, day).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn attach(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        name: &str,
        bounds: &str,
        day: Timestamp,
    ) -> sqlx::Result<()> {
        // Names and bounds are digits of ours.
        let early: bool = scalar(
            "SELECT EXISTS (SELECT FROM pmmds_store.prediction_logs_default WHERE at >= $1 AND at < $2)",
        )
        .bind(Moment::from(day))
        .bind(Moment(day.as_micros() + DAY))
        .fetch_one(&mut **transaction)
        .await?;
        if early {
            // Nobody may add to them while they move.
            let lock = "LOCK TABLE pmmds_store.prediction_logs_default IN ACCESS EXCLUSIVE MODE";
            transaction.execute(sqlx::raw_sql(lock)).await?;
        }
        let make = format!(
            "CREATE TABLE pmmds_store.prediction_logs_{name}
                (LIKE pmmds_store.prediction_logs INCLUDING DEFAULTS INCLUDING STORAGE)"
        );
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(make))).await?;
        if early {
            let rows = format!(
                "WITH early AS (DELETE FROM pmmds_store.prediction_logs_default
                    WHERE at >= $1 AND at < $2 RETURNING *)
                INSERT INTO pmmds_store.prediction_logs_{name} SELECT * FROM early"
            );
            super::query(AssertSqlSafe(rows))
                .bind(Moment::from(day))
                .bind(Moment(day.as_micros() + DAY))
                .execute(&mut **transaction)
                .await?;
        }
        let attach = format!(
            "ALTER TABLE pmmds_store.prediction_logs
                ATTACH PARTITION pmmds_store.prediction_logs_{name} FOR VALUES {bounds}"
        );
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(attach))).await?;
        Ok(())
    }

    /// Before `batch` is written: a process that lives for weeks makes partitions on the way. That
    /// it cannot is no reason not to write, since the DEFAULT partition takes everything.
    pub(super) async fn keep_partitions_ahead(&self, batch: &EventBatch) {
        let until = self.inner.partitions_until.load(Relaxed);
        let latest = batch.events().iter().map(|event| event.at.as_micros()).max();
        // Half of what was made is used up, and more is not asked for again every time.
        let near = until.saturating_sub(AHEAD / 2 * DAY)..until.saturating_add(AHEAD * DAY);
        if latest.is_some_and(|latest| near.contains(&latest)) {
            self.inner.partitions_until.fetch_add(DAY, Relaxed);
            if let Err(error) = self.make_partitions_ahead().await {
                let error = error.chain();
                tracing::warn!(error, "the partitions of the next days could not be made");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_name_and_bounds() {
        let day: Timestamp = "2024-02-28T00:00:00Z".parse().unwrap();
        let (name, bounds) = name_and_bounds(day);
        assert_eq!(name, "20240228");
        assert_eq!(bounds, "FROM ('2024-02-28 00:00:00+00') TO ('2024-02-29 00:00:00+00')");
    }
}
