//! Work that is done once per slot, whichever process gets to it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Rules;
use crate::{Error, ErrorKind, Timestamp};

/// How far a slot of a job has come.
///
/// ```
/// use pmmds::ledger::JobState;
/// assert_eq!(JobState::Done.as_str(), "done");
/// assert_eq!(JobState::from_stored("done"), Some(JobState::Done));
/// assert_eq!(JobState::from_stored("over"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobState {
    /// Somebody is at it, as long as the lease holds; after that, it was given up.
    Running,
    /// It went through.
    Done,
    /// It ended with an error.
    Failed,
}

impl JobState {
    /// The word that is stored and sent, such as `"running"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The state that [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Failed].into_iter().find(|state| state.as_str() == word)
    }
}

/// A slot that somebody wants to do the work of.
///
/// ```
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::ledger::JobClaim;
///
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let claim = JobClaim {
///     job: "monitor/churn",
///     slot: noon,
///     owner: "replica-1",
///     lease: Duration::from_secs(60),
///     attempts: 3,
/// };
/// let later = JobClaim { slot: noon.saturating_add(Duration::from_secs(3600)), ..claim };
/// assert_eq!(later.owner, "replica-1");
/// # Ok::<(), pmmds::time::TimeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobClaim<'a> {
    /// what is done
    pub job: &'a str,
    /// the moment that it is done for, for example the full hour
    pub slot: Timestamp,
    /// who wants to do it
    pub owner: &'a str,
    /// how long without a word before others take the owner for dead
    pub lease: Duration,
    /// how often the slot is begun at most, by all owners together
    pub attempts: u32,
}

/// A slot of a job, who has or had it, and what came of it: the attempt is the fencing token.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::Timestamp;
/// # use pmmds::ledger::{JobClaim, JobState, JobStore};
/// # use pmmds::memory::MemoryLedger;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let minute = Duration::from_secs(60);
/// let claim =
///     JobClaim { job: "monitor/churn", slot: noon, owner: "replica-1", lease: minute, attempts: 3 };
/// let run = ledger.claim_job(&claim).await?.expect("nobody has it");
/// assert_eq!((run.attempt, run.state), (1, JobState::Running));
/// assert_eq!(run.lease_until, noon.saturating_add(minute));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// what is done
    pub job: String,
    /// the moment that it is done for
    pub slot: Timestamp,
    /// who does it
    pub owner: String,
    /// 1, and 1 more each time that it is begun again
    pub attempt: u32,
    /// when others may take over, by the store's clock
    pub lease_until: Timestamp,
    /// how far it has come
    pub state: JobState,
    /// what came of it, or why it failed
    pub result: Option<String>,
}

/// Gives the slots of jobs to those who do them, and keeps the history.
///
/// # Contract
///
/// * A job goes forward: a slot before the latest one on record is not given any more.
/// * A job is done for one slot at a time: while a lease holds, nobody gets another slot.
/// * A slot is given again when it failed, or when whoever had it neither finished nor extended
///   its lease in time; as often as the claim says. Who had it before changes nothing any more.
///
/// ```
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::ledger::{JobClaim, JobState, JobStore};
/// use pmmds::memory::MemoryLedger;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let ledger = MemoryLedger::with_clock(move || noon);
/// let store: &dyn JobStore = &ledger;
/// let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
/// let ours =
///     JobClaim { job: "monitor/churn", slot: noon, owner: "replica-1", lease: minute, attempts: 3 };
/// let theirs = JobClaim { owner: "replica-2", ..ours };
/// let run = store.claim_job(&ours).await?.expect("nobody has it");
/// assert_eq!(store.claim_job(&theirs).await?, None);
/// assert_eq!(store.job_run("monitor/churn", noon).await?.unwrap().owner, "replica-1");
///
/// let run = store.extend_job(&run, minute).await?; // a long look: still alive
/// let run = store.finish_job(&run, JobState::Done, Some("stable")).await?;
/// assert_eq!(store.claim_job(&theirs).await?, None, "once per slot");
/// let next = JobClaim { slot: noon.saturating_add(hour), ..theirs };
/// assert!(store.claim_job(&next).await?.is_some());
/// assert_eq!(store.job_runs("monitor/churn", Some(next.slot), 10).await?, [run]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait JobStore: Debug + Send + Sync {
    /// Takes a slot, as the contract says; `None` if it is not to be had.
    /// [`InvalidInput`](ErrorKind::InvalidInput) for names with a NUL in them, which not every
    /// store could keep.
    async fn claim_job(&self, claim: &JobClaim<'_>) -> Result<Option<JobRun>, Error>;

    /// Keeps a slot for another `lease` from now, also after it has run out, if nobody has begun
    /// anything of this job since. A lease of zero gives the slot back: the next who asks gets it,
    /// if an attempt is left. [`Conflict`](ErrorKind::Conflict) if it was lost.
    async fn extend_job(&self, run: &JobRun, lease: Duration) -> Result<JobRun, Error>;

    /// Records how a slot ended: [`Done`](JobState::Done) or [`Failed`](JobState::Failed), and
    /// nothing else. [`Conflict`](ErrorKind::Conflict) if somebody else has begun the slot since;
    /// the very same end may be recorded again. A NUL in `result` is kept as U+FFFD.
    async fn finish_job(
        &self,
        run: &JobRun,
        state: JobState,
        result: Option<&str>,
    ) -> Result<JobRun, Error>;

    /// Who has the slot `slot` of `job`, or had it; `None` if nobody ever took it.
    async fn job_run(&self, job: &str, slot: Timestamp) -> Result<Option<JobRun>, Error>;

    /// The slots of `job` that somebody took, latest first, at most `limit` before `before`. The
    /// next ones are before the slot of the last. [`InvalidInput`](ErrorKind::InvalidInput) for a
    /// limit of 0.
    async fn job_runs(
        &self,
        job: &str,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<JobRun>, Error>;
}

/// What all stores decide alike about jobs.
impl Rules {
    /// What `claim` gets at `now`, where `latest` is the run of its job with the latest slot on
    /// record.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for names with a NUL.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::Timestamp;
    /// use pmmds::ledger::{JobClaim, Rules};
    ///
    /// let rules = Rules::new("my ledger");
    /// let (noon, minute): (Timestamp, _) = ("2026-03-01T12:00:00Z".parse()?, Duration::from_secs(60));
    /// let claim = JobClaim { job: "monitor", slot: noon, owner: "a", lease: minute, attempts: 2 };
    /// let first = rules.claim_job(None, &claim, noon)?.unwrap();
    /// assert_eq!(rules.claim_job(Some(&first), &claim, noon)?, None);
    /// let second = rules.claim_job(Some(&first), &claim, first.lease_until)?.unwrap();
    /// assert_eq!(second.attempt, 2);
    /// assert_eq!(rules.claim_job(Some(&second), &claim, second.lease_until)?, None, "twice is all");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_job(
        &self,
        latest: Option<&JobRun>,
        claim: &JobClaim<'_>,
        now: Timestamp,
    ) -> Result<Option<JobRun>, Error> {
        for name in [claim.job, claim.owner] {
            if name.contains('\0') {
                let context = format!("{name:?} has a NUL and cannot name a job or its owner");
                return Err(Error::new(ErrorKind::InvalidInput, self.component, context));
            }
        }
        let attempt = match latest {
            None => 1,
            Some(run) if run.state == JobState::Running && run.lease_until > now => {
                return Ok(None);
            }
            Some(run) if run.slot > claim.slot => return Ok(None),
            Some(run) if run.slot < claim.slot => 1,
            Some(run) if run.state == JobState::Done => return Ok(None),
            Some(run) => run.attempt.saturating_add(1),
        };
        // Attempts are kept as i32 where a store knows no u32.
        if attempt > claim.attempts.min(i32::MAX.unsigned_abs()) {
            return Ok(None);
        }
        Ok(Some(JobRun {
            job: claim.job.to_owned(),
            slot: claim.slot,
            owner: claim.owner.to_owned(),
            attempt,
            lease_until: now.saturating_add(claim.lease),
            state: JobState::Running,
            result: None,
        }))
    }

    /// What `latest`, the run of the job with the latest slot on record, becomes when `run` is kept
    /// for another `lease` at `now`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if it is not `run` any more.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pmmds::Timestamp;
    /// # use pmmds::ledger::{JobClaim, Rules};
    /// # let rules = Rules::new("my ledger");
    /// # let (noon, minute): (Timestamp, _) = ("2026-03-01T12:00:00Z".parse()?, Duration::from_secs(60));
    /// # let claim = JobClaim { job: "monitor", slot: noon, owner: "a", lease: minute, attempts: 2 };
    /// let run = rules.claim_job(None, &claim, noon)?.unwrap();
    /// let kept = rules.extend_job(Some(&run), &run, run.lease_until, minute)?;
    /// assert_eq!(kept.lease_until, run.lease_until.saturating_add(minute));
    /// assert_eq!(
    ///     rules.extend_job(None, &run, noon, minute).unwrap_err().to_string(),
    ///     "my ledger: conflict: monitor at 2026-03-01T12:00:00Z: attempt 1 of a is no longer the one"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend_job(
        &self,
        latest: Option<&JobRun>,
        run: &JobRun,
        now: Timestamp,
        lease: Duration,
    ) -> Result<JobRun, Error> {
        match latest {
            Some(found) if is_same(found, run) && found.state == JobState::Running => {
                Ok(JobRun { lease_until: now.saturating_add(lease), ..found.clone() })
            }
            _ => Err(self.lost_job(run)),
        }
    }

    /// What `found`, the run on record of the slot of `run`, becomes when that ends.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if somebody else has begun the slot since, or it ended
    /// otherwise; [`InvalidInput`](ErrorKind::InvalidInput) for an end as running.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pmmds::Timestamp;
    /// # use pmmds::ledger::{JobClaim, JobState, Rules};
    /// # let rules = Rules::new("my ledger");
    /// # let (noon, minute): (Timestamp, _) = ("2026-03-01T12:00:00Z".parse()?, Duration::from_secs(60));
    /// # let claim = JobClaim { job: "monitor", slot: noon, owner: "a", lease: minute, attempts: 2 };
    /// let run = rules.claim_job(None, &claim, noon)?.unwrap();
    /// let done = rules.finish_job(Some(&run), &run, JobState::Done, Some("stable"))?;
    /// assert_eq!(done.result.as_deref(), Some("stable"));
    /// assert!(rules.finish_job(Some(&done), &run, JobState::Failed, None).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish_job(
        &self,
        found: Option<&JobRun>,
        run: &JobRun,
        state: JobState,
        result: Option<&str>,
    ) -> Result<JobRun, Error> {
        if state == JobState::Running {
            let context = format!("{} ends as done or failed, not as running", run.job);
            return Err(Error::new(ErrorKind::InvalidInput, self.component, context));
        }
        let result = result.map(|text| text.replace('\0', "\u{fffd}"));
        match found.filter(|found| is_same(found, run)) {
            Some(found)
                if found.state == JobState::Running
                    || (found.state, &found.result) == (state, &result) =>
            {
                Ok(JobRun { state, result, ..found.clone() })
            }
            _ => Err(self.lost_job(run)),
        }
    }

    fn lost_job(&self, run: &JobRun) -> Error {
        let JobRun { job, slot, owner, attempt, .. } = run;
        let context = format!("{job} at {slot}: attempt {attempt} of {owner} is no longer the one");
        Error::new(ErrorKind::Conflict, self.component, context)
    }
}

/// Whether it is the same attempt at the same slot.
fn is_same(found: &JobRun, run: &JobRun) -> bool {
    (found.slot, found.attempt, &found.owner) == (run.slot, run.attempt, &run.owner)
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<S: JobStore + ?Sized> JobStore for $wrapper {
            async fn claim_job(&self, claim: &JobClaim<'_>) -> Result<Option<JobRun>, Error> {
                (**self).claim_job(claim).await
            }

            async fn extend_job(&self, run: &JobRun, lease: Duration) -> Result<JobRun, Error> {
                (**self).extend_job(run, lease).await
            }

            async fn finish_job(
                &self,
                run: &JobRun,
                state: JobState,
                result: Option<&str>,
            ) -> Result<JobRun, Error> {
                (**self).finish_job(run, state, result).await
            }

            async fn job_run(&self, job: &str, slot: Timestamp) -> Result<Option<JobRun>, Error> {
                (**self).job_run(job, slot).await
            }

            async fn job_runs(
                &self,
                job: &str,
                before: Option<Timestamp>,
                limit: usize,
            ) -> Result<Vec<JobRun>, Error> {
                (**self).job_runs(job, before, limit).await
            }
        }
    )+};
}

forward!(&S, Box<S>, Arc<S>);
