//! Work that is done once per slot, whichever process gets to it.

use std::time::Duration;

use super::error::COMPONENT;
use super::moment::Moment;
use super::{PostgresStore, query, rows};
use crate::{Error, ErrorKind, Timestamp};

/// How far a job has come.
///
/// ```
/// use pmmds::postgres::JobState;
/// assert_eq!(JobState::Done.as_str(), "done");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// Somebody is at it, as long as the lease holds.
    Running,
    /// It went through.
    Done,
    /// It ended with an error.
    Failed,
}

impl JobState {
    /// The word that is stored, such as `"running"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn from_stored(word: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Failed].into_iter().find(|state| state.as_str() == word)
    }
}

/// A slot of a job, and who has it: the attempt is the fencing token.
///
/// ```no_run
/// # async fn look(store: pmmds::postgres::PostgresStore) -> Result<(), pmmds::Error> {
/// use std::time::Duration;
/// use pmmds::log::InferenceLog;
/// use pmmds::postgres::JobState;
///
/// let slot = store.now().await?; // cut to the hour, so that all replicas mean the same
/// let lease = Duration::from_secs(300);
/// if let Some(run) = store.claim_job("monitor/churn", slot, "replica-1", lease, 3).await? {
///     // ... the work ...
///     store.finish_job(&run, JobState::Done, Some("stable")).await?;
/// } else if let Some(run) = store.job("monitor/churn", slot).await? {
///     println!("{} has it, and found {:?}", run.owner, run.result);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobRun {
    /// what is done
    pub job: String,
    /// the turn that it is done for, for example the hour
    pub slot: Timestamp,
    /// who does it
    pub owner: String,
    /// 1, and 1 more each time that it is begun again
    pub attempt: u32,
    /// when others may take over
    pub lease_until: Timestamp,
    /// how far it has come
    pub state: JobState,
    /// what came of it
    pub result: Option<String>,
}

const CLAIM: &str = "
    INSERT INTO pmmds_store.job_runs AS r (job, slot, attempt, state, owner, lease_until)
    VALUES ($1, $2, 1, 'running', $3, clock_timestamp() + $4 * interval '1 microsecond')
    ON CONFLICT (job, slot) DO UPDATE
        SET attempt = r.attempt + 1, state = 'running', owner = excluded.owner,
            lease_until = excluded.lease_until, result = NULL
        WHERE r.attempt < $5
            AND (r.state = 'failed' OR (r.state = 'running' AND r.lease_until <= clock_timestamp()))
    RETURNING attempt, lease_until";

impl PostgresStore {
    /// Takes the turn `slot` of `job` for `lease`: if nobody has taken it, if whoever did has not
    /// finished in time, or if it failed; at most `attempts` times in all. `None` otherwise.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a lease of more than a century.
    pub async fn claim_job(
        &self,
        job: &str,
        slot: Timestamp,
        owner: &str,
        lease: Duration,
        attempts: u32,
    ) -> Result<Option<JobRun>, Error> {
        let what = format!("claim {slot} of {job}");
        let failed = |cause| self.failed(&what, cause);
        let century = Duration::from_secs(100 * 366 * 86_400);
        let micros = i64::try_from(lease.as_micros()).ok().filter(|_| lease <= century);
        let micros = micros.ok_or_else(|| {
            let context = format!("a lease of {lease:?} for {job} is longer than a century");
            Error::new(ErrorKind::InvalidInput, COMPONENT, context)
        })?;
        let mut transaction = self.write(&what).await?;
        let claimed: Option<(i32, Moment)> = rows(CLAIM)
            .bind(job)
            .bind(Moment::from(slot))
            .bind(owner)
            .bind(micros)
            .bind(i32::try_from(attempts).unwrap_or(i32::MAX))
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        let Some((attempt, lease_until)) = claimed else { return Ok(None) };
        Ok(Some(JobRun {
            job: job.to_owned(),
            slot,
            owner: owner.to_owned(),
            attempt: attempt.unsigned_abs(),
            lease_until: self.time(lease_until)?,
            state: JobState::Running,
            result: None,
        }))
    }

    /// Who has the turn `slot` of `job`, or had it, and what came of it; `None` if nobody has
    /// taken it.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or has a state that this release does not know.
    pub async fn job(&self, job: &str, slot: Timestamp) -> Result<Option<JobRun>, Error> {
        let what = format!("read {slot} of {job}");
        let mut transaction = self.read(&what).await?;
        let found: Option<(String, i32, String, Moment, Option<String>)> = rows(
            "SELECT owner, attempt, state, lease_until, result FROM pmmds_store.job_runs
            WHERE job = $1 AND slot = $2",
        )
        .bind(job)
        .bind(Moment::from(slot))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(|cause| self.failed(&what, cause))?;
        let Some((owner, attempt, state, lease_until, result)) = found else { return Ok(None) };
        let known = JobState::from_stored(&state);
        Ok(Some(JobRun {
            job: job.to_owned(),
            slot,
            owner,
            attempt: attempt.unsigned_abs(),
            lease_until: self.time(lease_until)?,
            state: known.ok_or_else(|| self.corrupt(format!("{job} is {state:?}")))?,
            result,
        }))
    }

    /// Records how `run` ended.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if somebody else has taken over: nothing has changed then.
    pub async fn finish_job(
        &self,
        run: &JobRun,
        state: JobState,
        result: Option<&str>,
    ) -> Result<(), Error> {
        let JobRun { job, slot, owner, attempt, .. } = run;
        let what = format!("finish {slot} of {job}");
        let failed = |cause| self.failed(&what, cause);
        let mut transaction = self.write(&what).await?;
        let done = query(
            "UPDATE pmmds_store.job_runs SET state = $5, result = $6
            WHERE job = $1 AND slot = $2 AND attempt = $3 AND owner = $4 AND state = 'running'",
        )
        .bind(job)
        .bind(Moment::from(*slot))
        .bind(i32::try_from(*attempt).unwrap_or(i32::MAX))
        .bind(owner)
        .bind(state.as_str())
        .bind(result)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        if done.rows_affected() == 0 {
            let context =
                format!("{job} at {slot}: attempt {attempt} of {owner} is no longer the one");
            return Err(Error::new(ErrorKind::Conflict, COMPONENT, context));
        }
        Ok(())
    }
}
