//! Jobs in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{FromRow, Postgres, Transaction};

use super::error::COMPONENT;
use super::moment::Moment;
use super::{PostgresStore, query, rows};
use crate::ledger::{JobClaim, JobRun, JobState, JobStore, Rules};
use crate::{Error, Timestamp};

const RULES: Rules = Rules::new(COMPONENT);

/// Nobody else changes the job `$1` before the transaction ends. A row could not be locked that is
/// not there yet; a lock of the transaction holds behind PgBouncer too.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('pmmds job ' || $1, 0))";

const LIST: &str = "SELECT slot, owner, attempt, lease_until, state, result
    FROM pmmds_store.job_runs WHERE job = $1 AND ($2::timestamptz IS NULL OR slot < $2)
    ORDER BY slot DESC LIMIT $3";

const ONE: &str = "SELECT slot, owner, attempt, lease_until, state, result
    FROM pmmds_store.job_runs WHERE job = $1 AND slot = $2";

#[derive(Debug, FromRow)]
struct Stored {
    slot: Moment,
    owner: String,
    attempt: i32,
    lease_until: Moment,
    state: String,
    result: Option<String>,
}

impl PostgresStore {
    fn job_of(&self, job: &str, found: Stored) -> Result<JobRun, Error> {
        let impossible = || self.corrupt(format!("a slot of {job} has an impossible value"));
        Ok(JobRun {
            job: job.to_owned(),
            slot: self.time(found.slot)?,
            owner: found.owner,
            attempt: u32::try_from(found.attempt).map_err(|_| impossible())?,
            lease_until: self.time(found.lease_until)?,
            state: JobState::from_stored(&found.state).ok_or_else(impossible)?,
            result: found.result,
        })
    }

    /// A transaction in which nobody else changes `job`.
    async fn write_job(
        &self,
        job: &str,
        what: &str,
    ) -> Result<Transaction<'static, Postgres>, Error> {
        let mut transaction = self.write(what).await?;
        let locked = query(ALONE).bind(job).execute(&mut *transaction).await;
        locked.map_err(|e| self.failed(what, e))?;
        Ok(transaction)
    }

    async fn find_job(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        job: &str,
        slot: Timestamp,
    ) -> Result<Option<JobRun>, Error> {
        let found: Option<Stored> = rows(ONE)
            .bind(job)
            .bind(Moment::from(slot))
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|e| self.failed(format_args!("read {slot} of {job}"), e))?;
        found.map(|found| self.job_of(job, found)).transpose()
    }

    async fn latest_jobs(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        job: &str,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<JobRun>, Error> {
        let found: Vec<Stored> = rows(LIST)
            .bind(job)
            .bind(before.map(Moment::bound))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut **transaction)
            .await
            .map_err(|e| self.failed(format_args!("list the slots of {job}"), e))?;
        found.into_iter().map(|found| self.job_of(job, found)).collect()
    }

    async fn store_job(
        &self,
        mut transaction: Transaction<'_, Postgres>,
        run: &JobRun,
    ) -> Result<(), Error> {
        let failed = |cause| self.failed(format_args!("store {} of {}", run.slot, run.job), cause);
        query(
            "INSERT INTO pmmds_store.job_runs
                (job, slot, attempt, state, owner, lease_until, result)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (job, slot) DO UPDATE
                SET attempt = $3, state = $4, owner = $5, lease_until = $6, result = $7",
        )
        .bind(&run.job)
        .bind(Moment::from(run.slot))
        .bind(i32::try_from(run.attempt).unwrap_or(i32::MAX))
        .bind(run.state.as_str())
        .bind(&run.owner)
        .bind(Moment::from(run.lease_until))
        .bind(&run.result)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

#[async_trait]
impl JobStore for PostgresStore {
    async fn claim_job(&self, claim: &JobClaim<'_>) -> Result<Option<JobRun>, Error> {
        // What cannot be stored is refused before the server is asked.
        RULES.claim_job(None, claim, Timestamp::EPOCH)?;
        let what = format!("claim {} of {}", claim.slot, claim.job);
        let mut transaction = self.write_job(claim.job, &what).await?;
        let latest = self.latest_jobs(&mut transaction, claim.job, None, 1).await?;
        let now = self.clock(&mut transaction).await?;
        let run = RULES.claim_job(latest.first(), claim, now)?;
        if let Some(run) = &run {
            self.store_job(transaction, run).await?;
        }
        Ok(run)
    }

    async fn extend_job(&self, run: &JobRun, lease: Duration) -> Result<JobRun, Error> {
        let what = format!("keep {} of {}", run.slot, run.job);
        let mut transaction = self.write_job(&run.job, &what).await?;
        let latest = self.latest_jobs(&mut transaction, &run.job, None, 1).await?;
        let now = self.clock(&mut transaction).await?;
        let kept = RULES.extend_job(latest.first(), run, now, lease)?;
        self.store_job(transaction, &kept).await?;
        Ok(kept)
    }

    async fn finish_job(
        &self,
        run: &JobRun,
        state: JobState,
        result: Option<&str>,
    ) -> Result<JobRun, Error> {
        let what = format!("finish {} of {}", run.slot, run.job);
        let mut transaction = self.write_job(&run.job, &what).await?;
        let found = self.find_job(&mut transaction, &run.job, run.slot).await?;
        let ended = RULES.finish_job(found.as_ref(), run, state, result)?;
        self.store_job(transaction, &ended).await?;
        Ok(ended)
    }

    async fn job_run(&self, job: &str, slot: Timestamp) -> Result<Option<JobRun>, Error> {
        let mut transaction = self.read(&format!("read {slot} of {job}")).await?;
        self.find_job(&mut transaction, job, slot).await
    }

    async fn job_runs(
        &self,
        job: &str,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<JobRun>, Error> {
        RULES.limit(limit)?;
        let mut transaction = self.read(&format!("list the slots of {job}")).await?;
        self.latest_jobs(&mut transaction, job, before, limit).await
    }
}
