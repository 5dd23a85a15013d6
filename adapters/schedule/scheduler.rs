//! Who does it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::plan::Schedule;
use super::turn::{Turn, turn};
use crate::ledger::{JobClaim, JobRun, JobState, JobStore};
use crate::log::InferenceLog;
use crate::{Error, ErrorKind, Timestamp};

/// Shorter ones would ask the store without a pause.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Name of this component in errors.
const COMPONENT: &str = "scheduler";

/// Longest wait without a look at the clock of the store: the timers of a machine that slept do not
/// know it.
const NAP: Duration = Duration::from_secs(30);

/// Longest pause between two tries of a store that does not answer, or of work that fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How often the end of a slot is written before its lease is left to end by itself.
const TRIES: u32 = 3;

/// One moment of a schedule, as the work gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slot {
    /// the moment
    pub at: Timestamp,
    /// the moment before it; the same where there is none
    pub since: Timestamp,
    /// 1, and 1 more each time that it is begun again
    pub attempt: u32,
    /// slots between the last one on record and this one that nobody did
    pub skipped: u64,
}

/// How a slot ended.
///
/// ```
/// use pmmds::ledger::JobState;
/// use pmmds::schedule::SlotEnd;
///
/// fn line(end: &SlotEnd) -> String {
///     let who = if end.ours { "here" } else { &end.run.owner };
///     let what = end.run.result.as_deref().unwrap_or_default();
///     format!("{} {} by {who}: {what}", end.run.slot, end.run.state.as_str())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotEnd {
    /// as it is on record
    pub run: JobRun,
    /// whether the work was done here
    pub ours: bool,
}

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) lease: Duration,
    // at least 1
    pub(super) attempts: u32,
    pub(super) settle: Duration,
    pub(super) retry: Duration,
    pub(super) grace: Duration,
}

/// Does the work of every slot, once across all processes on one ledger.
///
/// See the [module page](super) for what it promises. The work is a closure that returns a future;
/// what it answers goes on record, and so does its error, after which the slot is begun again, here
/// or on another replica, after a pause that doubles. A panic counts as an error.
///
/// While the work is under way the slot's lease is extended at every third of it. That needs the
/// future to wait now and then: long computations belong on a thread of their own.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use pmmds::memory::{MemoryLedger, MemoryLog};
/// use pmmds::schedule::{Schedule, Scheduler};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = || "2026-03-01T12:34:56Z".parse().unwrap();
/// let log = Arc::new(MemoryLog::with_clock(clock));
/// let ledger = Arc::new(MemoryLedger::with_clock(clock));
/// let replica = |owner: &str| {
///     let nightly = Schedule::cron("30 2 * * *").unwrap();
///     Scheduler::new(ledger.clone(), log.clone(), "clean/churn", nightly, owner)
///         .settle(Duration::from_secs(10))
///         .attempts(2)
/// };
/// let first = replica("replica-1").once(|_| async { Ok("12 rows".to_owned()) }).await?;
/// assert!(first.ours);
/// let second = replica("replica-2").once(|_| async { panic!("it is done") }).await?;
/// assert_eq!((second.ours, second.run), (false, first.run));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Scheduler {
    jobs: Arc<dyn JobStore>,
    clock: Arc<dyn InferenceLog>,
    job: String,
    schedule: Schedule,
    owner: String,
    limits: Limits,
    told: Arc<dyn Fn(&SlotEnd) + Send + Sync>,
}

/// What a scheduler remembers from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    // the slot whose end was told last
    told: Option<Timestamp>,
    // the failure that was seen last, and when
    failure: Option<(Timestamp, u32, Instant)>,
    // slot and attempt that were last begun here
    begun: Option<(Timestamp, u32)>,
}

/// What is next.
enum Next {
    Work(Box<JobRun>, Slot),
    Over(SlotEnd),
    Wait(Duration),
    Nothing,
}

/// How the work ended.
enum Ended {
    Result(Result<String, Error>),
    Lost(Error),
    Stopped,
}

impl Scheduler {
    /// A scheduler of `job`. `owner` names this process among all that share the ledger; the log
    /// gives the time.
    #[must_use]
    pub fn new(
        jobs: Arc<dyn JobStore>,
        clock: Arc<dyn InferenceLog>,
        job: impl Into<String>,
        schedule: Schedule,
        owner: impl Into<String>,
    ) -> Self {
        let limits = Limits {
            lease: Duration::from_secs(60),
            attempts: 3,
            settle: Duration::ZERO,
            retry: Duration::from_secs(5),
            grace: Duration::from_secs(20),
        };
        let (job, owner) = (job.into(), owner.into());
        Self { jobs, clock, job, schedule, owner, limits, told: Arc::new(|_| {}) }
    }

    /// How long a process may be silent before another one takes its slot over, at least a second.
    /// Defaults to a minute.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.limits.lease = lease.max(SHORTEST_LEASE);
        self
    }

    /// How often a slot is begun, by all processes together, at least 1. Defaults to 3.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    /// How long after its moment a slot begins, so that what belongs to the time before has
    /// arrived. Defaults to zero.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.limits.settle = settle;
        self
    }

    /// The pause after the first failure of a slot, and the first pause when a store does not
    /// answer, at least a millisecond; it doubles up to five minutes. Defaults to 5 seconds.
    #[must_use]
    pub fn retry(mut self, pause: Duration) -> Self {
        self.limits.retry = pause.max(SHORTEST_PAUSE);
        self
    }

    /// How long work that is under way may still take after the stop, before its slot is given
    /// back. Defaults to 20 seconds.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.limits.grace = grace;
        self
    }

    /// Is called with every slot that was done here, and with what is seen of the others while it
    /// is the newest: who did it, or that it is given up. By default tracing says it, and nothing
    /// else.
    #[must_use]
    pub fn told(mut self, told: impl Fn(&SlotEnd) + Send + Sync + 'static) -> Self {
        self.told = Arc::new(told);
        self
    }

    /// Does `work` at every moment of the schedule until `stop` is ready: the newest moment that is
    /// due first, if nobody has done it. Work under way then ends, or is dropped when the
    /// [`grace`](Self::grace) is over, and its slot is there for another process.
    ///
    /// Whatever goes wrong is told by tracing and tried again; it never ends by itself.
    pub async fn run<F, W>(&self, work: F, stop: impl Future<Output = ()> + Send)
    where
        F: Fn(Slot) -> W + Send + Sync,
        W: Future<Output = Result<String, Error>> + Send,
    {
        let mut stop = std::pin::pin!(stop);
        let (mut memory, mut failures) = (Memory::default(), 0);
        tracing::info!(job = %self.job, schedule = %self.schedule, owner = %self.owner, "scheduled");
        loop {
            let looked = {
                let mut looking = std::pin::pin!(self.next(&mut memory));
                tokio::select! {
                    biased;
                    looked = &mut looking => looked,
                    () = stop.as_mut() => {
                        // What it may have claimed must not wait for the end of its lease.
                        let looked = tokio::time::timeout(self.limits.grace, looking).await;
                        if let Ok(Ok(Next::Work(run, _))) = looked {
                            self.give_back(&run).await;
                        }
                        return;
                    }
                }
            };
            let next = match looked {
                Ok(next) => {
                    failures = 0;
                    next
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(
                        job = %self.job, failures, error = %error.chain(), "no look at the schedule"
                    );
                    Next::Wait(pause(self.limits.retry, failures))
                }
            };
            match next {
                Next::Work(run, slot) => {
                    let (run, stopped) = self.work(*run, slot, &work, Some(stop.as_mut())).await;
                    if let Some(run) = run.filter(|run| run.state == JobState::Done) {
                        // At once: the next slot may have come.
                        memory.told = Some(run.slot);
                        self.tell(&SlotEnd { run, ours: true });
                    }
                    if stopped {
                        return;
                    }
                }
                Next::Over(end) => {
                    if memory.told != Some(end.run.slot) {
                        memory.told = Some(end.run.slot);
                        self.tell(&end);
                    }
                    let wait = self.until_next().await;
                    if stopped_within(wait, &mut stop).await {
                        return;
                    }
                }
                Next::Wait(wait) => {
                    if stopped_within(wait, &mut stop).await {
                        return;
                    }
                }
                Next::Nothing => {
                    if stopped_within(NAP, &mut stop).await {
                        return;
                    }
                }
            }
        }
    }

    /// Does `work` for the newest moment that is due, or waits for whoever is at it. The end may be
    /// [`Failed`](JobState::Failed): then nobody tries any more.
    ///
    /// # Errors
    ///
    /// When a store does not answer, or no moment of the schedule has come yet.
    pub async fn once<F, W>(&self, work: F) -> Result<SlotEnd, Error>
    where
        F: Fn(Slot) -> W + Send + Sync,
        W: Future<Output = Result<String, Error>> + Send,
    {
        let mut memory = Memory::default();
        loop {
            match self.next(&mut memory).await? {
                Next::Work(run, slot) => {
                    let (run, _) = self.work(*run, slot, &work, None::<Pin<&mut Never>>).await;
                    if let Some(run) = run.filter(|run| run.state == JobState::Done) {
                        return Ok(SlotEnd { run, ours: true });
                    }
                }
                Next::Over(end) => return Ok(end),
                Next::Wait(wait) => sleep(wait.min(self.limits.retry)).await,
                Next::Nothing => {
                    let context = format!("no moment of {} has come yet", self.schedule);
                    return Err(Error::new(ErrorKind::NotFound, COMPONENT, context));
                }
            }
        }
    }

    /// Looks at clock and record, and claims the newest slot if it is to be had.
    async fn next(&self, memory: &mut Memory) -> Result<Next, Error> {
        let now = self.clock.now().await?;
        let latest = self.jobs.job_runs(&self.job, None, 1).await?.into_iter().next();
        let at = match turn(&self.schedule, &self.limits, now, latest.as_ref()) {
            Turn::Claim(at) => at,
            Turn::Failed(run) => {
                // Also a failure of another replica is given its pause.
                let seen = match memory.failure {
                    Some((slot, attempt, seen)) if (slot, attempt) == (run.slot, run.attempt) => {
                        seen
                    }
                    _ => {
                        let seen = Instant::now();
                        memory.failure = Some((run.slot, run.attempt, seen));
                        seen
                    }
                };
                let again = seen + pause(self.limits.retry, run.attempt);
                let left = again.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Ok(Next::Wait(left));
                }
                run.slot
            }
            Turn::Over(run) => {
                let ours = memory.begun == Some((run.slot, run.attempt));
                return Ok(Next::Over(SlotEnd { run, ours }));
            }
            Turn::Busy(left) => return Ok(Next::Wait(left.max(Duration::from_millis(1)))),
            Turn::Nothing => return Ok(Next::Nothing),
        };
        let claim = JobClaim {
            job: &self.job,
            slot: at,
            owner: &self.owner,
            lease: self.limits.lease,
            attempts: self.limits.attempts,
        };
        let Some(run) = self.jobs.claim_job(&claim).await? else {
            // Somebody else was quicker: the next look says who.
            return Ok(Next::Wait(Duration::from_millis(100)));
        };
        memory.begun = Some((at, run.attempt));
        let since = self.schedule.newest(at.saturating_sub(Duration::from_micros(1)));
        let before = latest.map(|run| run.slot).filter(|before| *before < at);
        let skipped = before.map_or(0, |before| self.schedule.between(before, at));
        let slot = Slot { at, since: since.unwrap_or(at), attempt: run.attempt, skipped };
        Ok(Next::Work(Box::new(run), slot))
    }

    /// The work of a slot that is ours: its end, if that is on record, and whether the stop came.
    async fn work<F, W, S>(
        &self,
        run: JobRun,
        slot: Slot,
        work: &F,
        stop: Option<Pin<&mut S>>,
    ) -> (Option<JobRun>, bool)
    where
        F: Fn(Slot) -> W + Send + Sync,
        W: Future<Output = Result<String, Error>> + Send,
        S: Future<Output = ()> + Send,
    {
        let (job, at) = (&self.job, slot.at);
        if slot.skipped > 0 {
            tracing::warn!(%job, slot = %at, skipped = slot.skipped, "slots were passed over");
        }
        tracing::info!(%job, slot = %at, attempt = slot.attempt, "slot begins");
        let begun = Instant::now();
        let (ended, stopped) = self.while_kept(&run, slot, work, stop).await;
        let run = match ended {
            Ended::Result(result) => self.finish(&run, &result, begun.elapsed()).await,
            Ended::Lost(error) => {
                tracing::warn!(%job, slot = %at, error = %error.chain(), "slot was lost");
                None
            }
            Ended::Stopped => {
                self.give_back(&run).await;
                None
            }
        };
        (run, stopped)
    }

    /// Lets another process have a slot that was begun here.
    async fn give_back(&self, run: &JobRun) {
        let (job, slot) = (&self.job, run.slot);
        match self.jobs.extend_job(run, Duration::ZERO).await {
            Ok(_) => tracing::warn!(%job, %slot, "stopped: slot is given back"),
            Err(error) => {
                let error = error.chain();
                tracing::warn!(%job, %slot, %error, "stopped: slot is free when its lease ends");
            }
        }
    }

    /// Waits for the work and keeps the lease meanwhile. Second: whether the stop has come.
    async fn while_kept<F, W, S>(
        &self,
        run: &JobRun,
        slot: Slot,
        work: &F,
        mut stop: Option<Pin<&mut S>>,
    ) -> (Ended, bool)
    where
        F: Fn(Slot) -> W + Send + Sync,
        W: Future<Output = Result<String, Error>> + Send,
        S: Future<Output = ()> + Send,
    {
        let mut working = std::pin::pin!(unpanicked(async { work(slot).await }));
        let mut kept = std::pin::pin!(self.keep(run));
        let mut deadline = std::pin::pin!(sleep_until(Instant::now()));
        let mut stopped = false;
        loop {
            tokio::select! {
                biased;
                result = &mut working => return (Ended::Result(result), stopped),
                lost = &mut kept => return (Ended::Lost(lost), stopped),
                () = async { if let Some(stop) = &mut stop { stop.as_mut().await } },
                    if stop.is_some() && !stopped =>
                {
                    stopped = true;
                    deadline.as_mut().reset(Instant::now() + self.limits.grace);
                }
                () = &mut deadline, if stopped => return (Ended::Stopped, stopped),
            }
        }
    }

    /// Extends the lease of `run` for ever, or until somebody else has it.
    async fn keep(&self, run: &JobRun) -> Error {
        loop {
            sleep(self.limits.lease / 3).await;
            match self.jobs.extend_job(run, self.limits.lease).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => return error,
                Err(error) => {
                    let (job, slot) = (&self.job, run.slot);
                    tracing::warn!(%job, %slot, error = %error.chain(), "slot is not extended");
                }
            }
        }
    }

    /// Puts the end of our slot on record; `None` if that cannot be done.
    async fn finish(
        &self,
        run: &JobRun,
        result: &Result<String, Error>,
        took: Duration,
    ) -> Option<JobRun> {
        let (job, slot, attempt) = (&self.job, run.slot, run.attempt);
        let (state, text) = match result {
            Ok(text) => (JobState::Done, text.clone()),
            Err(error) => (JobState::Failed, error.chain()),
        };
        match result {
            Ok(_) => tracing::info!(%job, %slot, attempt, ?took, result = %text, "slot is done"),
            Err(_) => tracing::warn!(%job, %slot, attempt, ?took, error = %text, "slot failed"),
        }
        for attempt in 1..=TRIES {
            match self.jobs.finish_job(run, state, Some(&text)).await {
                Ok(run) => return Some(run),
                Err(error) => {
                    tracing::warn!(%job, %slot, error = %error.chain(), "its end is not on record");
                    if error.kind() == ErrorKind::Conflict {
                        return None;
                    }
                    sleep(pause(self.limits.retry, attempt).min(self.limits.lease / 3)).await;
                }
            }
        }
        None
    }

    fn tell(&self, end: &SlotEnd) {
        let JobRun { job, slot, owner, state, .. } = &end.run;
        if !end.ours {
            tracing::info!(%job, %slot, %owner, state = state.as_str(), "slot is over elsewhere");
        } else if *state != JobState::Done {
            tracing::error!(%job, %slot, "slot is given up");
        }
        (self.told)(end);
    }

    /// How long until the next slot may begin, by the clock of the store; a nap at most.
    async fn until_next(&self) -> Duration {
        let Ok(now) = self.clock.now().await else { return NAP };
        let next = self.schedule.next(now.saturating_sub(self.limits.settle));
        let next = next.map(|next| next.saturating_add(self.limits.settle).since(now));
        next.map_or(NAP, |left| left.max(Duration::from_millis(1)))
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("job", &self.job)
            .field("schedule", &self.schedule)
            .field("owner", &self.owner)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What never stops.
type Never = std::future::Pending<()>;

/// The pause after so many failures.
fn pause(first: Duration, failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(doubled).min(LONGEST_PAUSE)
}

/// Waits, a nap at most; whether it was told to stop meanwhile.
async fn stopped_within(wait: Duration, stop: &mut Pin<&mut impl Future<Output = ()>>) -> bool {
    tokio::select! {
        biased;
        () = stop.as_mut() => true,
        () = sleep(wait.min(NAP)) => false,
    }
}

/// `future`, whose panic is an error.
async fn unpanicked(
    future: impl Future<Output = Result<String, Error>> + Send,
) -> Result<String, Error> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            Poll::Ready(Err(Error::new(ErrorKind::Other, COMPONENT, "the work panicked")))
        })
    })
    .await
}
