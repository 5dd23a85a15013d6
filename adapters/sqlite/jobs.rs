//! Jobs in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{FromRow, Sqlite, Transaction};

use super::SqliteStore;
use super::error::COMPONENT;
use crate::ledger::{JobClaim, JobRun, JobState, JobStore, Rules};
use crate::{Error, Timestamp};

const RULES: Rules = Rules::new(COMPONENT);

pub(super) const LIST: &str = "SELECT slot, owner, attempt, lease_until, state, result
    FROM job_runs WHERE job = ?1 AND slot < ?2 ORDER BY slot DESC LIMIT ?3";

const ONE: &str = "SELECT slot, owner, attempt, lease_until, state, result
    FROM job_runs WHERE job = ?1 AND slot = ?2";

#[derive(Debug, FromRow)]
struct Stored {
    slot: i64,
    owner: String,
    attempt: i64,
    lease_until: i64,
    state: String,
    result: Option<String>,
}

impl SqliteStore {
    fn job_of(&self, job: &str, found: Stored) -> Result<JobRun, Error> {
        let impossible = || self.corrupt(format_args!("a slot of {job} has an impossible value"));
        let moment = |micros| Timestamp::from_micros(micros).map_err(|_| impossible());
        Ok(JobRun {
            job: job.to_owned(),
            slot: moment(found.slot)?,
            owner: found.owner,
            attempt: u32::try_from(found.attempt).map_err(|_| impossible())?,
            lease_until: moment(found.lease_until)?,
            state: JobState::from_stored(&found.state).ok_or_else(impossible)?,
            result: found.result,
        })
    }

    async fn find_job(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        job: &str,
        slot: Timestamp,
    ) -> Result<Option<JobRun>, Error> {
        let found: Option<Stored> = sqlx::query_as(ONE)
            .bind(job)
            .bind(slot.as_micros())
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|e| self.failed(format_args!("read {slot} of {job}"), e))?;
        found.map(|found| self.job_of(job, found)).transpose()
    }

    async fn latest_job(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        job: &str,
    ) -> Result<Option<JobRun>, Error> {
        let found: Option<Stored> = sqlx::query_as(LIST)
            .bind(job)
            .bind(i64::MAX)
            .bind(1)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|e| self.failed(format_args!("read the latest slot of {job}"), e))?;
        found.map(|found| self.job_of(job, found)).transpose()
    }

    async fn store_job(
        &self,
        mut transaction: Transaction<'_, Sqlite>,
        run: &JobRun,
    ) -> Result<(), Error> {
        let failed = |cause| self.failed(format_args!("store {} of {}", run.slot, run.job), cause);
        sqlx::query(
            "INSERT INTO job_runs (job, slot, attempt, state, owner, lease_until, result)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (job, slot) DO UPDATE
                SET attempt = ?3, state = ?4, owner = ?5, lease_until = ?6, result = ?7",
        )
        .bind(&run.job)
        .bind(run.slot.as_micros())
        .bind(run.attempt)
        .bind(run.state.as_str())
        .bind(&run.owner)
        .bind(run.lease_until.as_micros())
        .bind(&run.result)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

#[async_trait]
impl JobStore for SqliteStore {
    async fn claim_job(&self, claim: &JobClaim<'_>) -> Result<Option<JobRun>, Error> {
        let mut transaction = self.write(&format!("claim {} of {}", claim.slot, claim.job)).await?;
        let latest = self.latest_job(&mut transaction, claim.job).await?;
        let run = RULES.claim_job(latest.as_ref(), claim, self.clock()?)?;
        if let Some(run) = &run {
            self.store_job(transaction, run).await?;
        }
        Ok(run)
    }

    async fn extend_job(&self, run: &JobRun, lease: Duration) -> Result<JobRun, Error> {
        let mut transaction = self.write(&format!("keep {} of {}", run.slot, run.job)).await?;
        let latest = self.latest_job(&mut transaction, &run.job).await?;
        let kept = RULES.extend_job(latest.as_ref(), run, self.clock()?, lease)?;
        self.store_job(transaction, &kept).await?;
        Ok(kept)
    }

    async fn finish_job(
        &self,
        run: &JobRun,
        state: JobState,
        result: Option<&str>,
    ) -> Result<JobRun, Error> {
        let mut transaction = self.write(&format!("finish {} of {}", run.slot, run.job)).await?;
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
        let found: Vec<Stored> = sqlx::query_as(LIST)
            .bind(job)
            .bind(before.map_or(i64::MAX, Timestamp::as_micros))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.reads())
            .await
            .map_err(|e| self.failed(format_args!("list the slots of {job}"), e))?;
        found.into_iter().map(|found| self.job_of(job, found)).collect()
    }
}
