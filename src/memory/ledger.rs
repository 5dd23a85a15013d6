//! The ledger in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::ledger::{
    Alert, AlertStore, DecisionStep, DecisionStore, DriftRun, DriftStore, JobClaim, JobRun,
    JobState, JobStore, Lease, LeaseStore, PromotionDecision, ReferenceDataset, RetrainingRun,
    Rules,
};
use crate::log::{Cursor, Page};
use crate::registry::ModelName;
use crate::{Error, ErrorKind, Timestamp};

const COMPONENT: &str = "memory ledger";
const RULES: Rules = Rules::new(COMPONENT);

/// A [`Ledger`](crate::ledger::Ledger) in memory.
///
/// ```
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::ledger::LeaseStore;
/// use pmmds::memory::MemoryLedger;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let ledger = MemoryLedger::with_clock(move || noon);
/// let minute = Duration::from_secs(60);
/// let lease = ledger.acquire_lease("monitor", "replica-1", minute).await?.expect("it is free");
/// assert_eq!(lease.token, 1);
/// assert_eq!(ledger.acquire_lease("monitor", "replica-2", minute).await?, None);
///
/// ledger.release_lease(&lease).await?;
/// let next = ledger.acquire_lease("monitor", "replica-2", minute).await?.expect("it is free");
/// assert_eq!(next.token, 2);
/// # Ok(())
/// # }
/// ```
pub struct MemoryLedger {
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    drift_runs: BTreeMap<Uuid, DriftRun>,
    references: BTreeMap<String, ReferenceDataset>,
    alerts: BTreeMap<Uuid, Alert>,
    retraining_runs: BTreeMap<Uuid, RetrainingRun>,
    decisions: BTreeMap<Uuid, PromotionDecision>,
    // the last of each name, returned ones with an end that has passed
    leases: BTreeMap<String, Lease>,
    // by job and slot
    job_runs: BTreeMap<(String, Timestamp), JobRun>,
}

impl State {
    fn fence(&self, lease: Option<&Lease>, now: Timestamp) -> Result<(), Error> {
        lease.map_or(Ok(()), |lease| RULES.fence(lease, self.leases.get(&lease.name), now))
    }

    /// The runs of `job`, latest slot first.
    fn runs_of<'s>(&'s self, job: &'s str) -> impl Iterator<Item = &'s JobRun> {
        self.job_runs.values().rev().filter(move |run| run.job == job)
    }

    fn store_job(&mut self, run: &JobRun) {
        self.job_runs.insert((run.job.clone(), run.slot), run.clone());
    }
}

impl MemoryLedger {
    /// An empty ledger whose time is told by `clock`. The clock must not use the ledger.
    #[must_use]
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), state: Mutex::default() }
    }

    /// From now on every call answers [`Unavailable`](ErrorKind::Unavailable), until
    /// [`bring_up`](Self::bring_up): an outage, to test what it must not do.
    ///
    /// ```
    /// use pmmds::ledger::LeaseStore;
    /// use pmmds::memory::MemoryLedger;
    /// use pmmds::{ErrorKind, Timestamp};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let ledger = MemoryLedger::with_clock(|| Timestamp::EPOCH);
    /// ledger.take_down();
    /// assert_eq!(ledger.lease("monitor").await.unwrap_err().kind(), ErrorKind::Unavailable);
    /// ledger.bring_up();
    /// assert_eq!(ledger.lease("monitor").await.unwrap(), None);
    /// # }
    /// ```
    pub fn take_down(&self) {
        self.lock().down = true;
    }

    /// Ends the outage that [`take_down`](Self::take_down) began; nothing was lost in it.
    pub fn bring_up(&self) {
        self.lock().down = false;
    }

    /// Every change is made after the last check, by steps that do not panic: poison means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock();
        if state.down {
            return Err(Error::new(ErrorKind::Unavailable, COMPONENT, "it was taken down"));
        }
        Ok(state)
    }
}

impl fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryLedger")
            .field("drift_runs", &state.drift_runs.len())
            .field("alerts", &state.alerts.len())
            .field("decisions", &state.decisions.len())
            .finish_non_exhaustive()
    }
}

/// What a list is ordered by, and whose it is.
trait Listed: Clone {
    fn model(&self) -> &ModelName;
    fn place(&self) -> Cursor;
}

macro_rules! listed {
    ($($record:ident by $time:ident),+) => {$(
        impl Listed for $record {
            fn model(&self) -> &ModelName {
                &self.model
            }

            fn place(&self) -> Cursor {
                Cursor { at: self.$time, id: self.id }
            }
        }
    )+};
}

listed!(
    DriftRun by created_at,
    Alert by opened_at,
    RetrainingRun by started_at,
    PromotionDecision by created_at
);

fn newest_first<T: Listed>(records: &BTreeMap<Uuid, T>, model: &ModelName) -> Vec<T> {
    let mut found: Vec<T> = records.values().filter(|r| r.model() == model).cloned().collect();
    found.sort_by_key(|record| std::cmp::Reverse(record.place()));
    found
}

fn page<T: Listed>(
    records: &BTreeMap<Uuid, T>,
    model: &ModelName,
    before: Option<Cursor>,
    limit: usize,
) -> Result<Page<T>, Error> {
    RULES.limit(limit)?;
    let mut items = newest_first(records, model);
    items.retain(|record| before.is_none_or(|before| record.place() < before));
    Ok(Page::first(items, limit, Listed::place))
}

#[async_trait]
impl DriftStore for MemoryLedger {
    async fn record_drift_run(&self, run: &DriftRun) -> Result<DriftRun, Error> {
        RULES.document("drift run", run)?;
        let mut state = self.state()?;
        let key = |run: &DriftRun| (run.model.clone(), run.version, run.window, run.report.profile);
        let known = state.drift_runs.get(&run.id);
        let known = known.or_else(|| state.drift_runs.values().find(|r| key(r) == key(run)));
        if let Some(known) = known {
            return Ok(known.clone());
        }
        state.drift_runs.insert(run.id, run.clone());
        Ok(run.clone())
    }

    async fn drift_run(&self, id: Uuid) -> Result<DriftRun, Error> {
        let found = self.state()?.drift_runs.get(&id).cloned();
        found.ok_or_else(|| RULES.not_found("drift run", id))
    }

    async fn drift_runs(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<DriftRun>, Error> {
        page(&self.state()?.drift_runs, model, before, limit)
    }

    async fn record_reference(&self, reference: &ReferenceDataset) -> Result<(), Error> {
        self.state()?.references.insert(reference.name.clone(), reference.clone());
        Ok(())
    }

    async fn references(&self, model: &ModelName) -> Result<Vec<ReferenceDataset>, Error> {
        let state = self.state()?;
        let mut found: Vec<ReferenceDataset> =
            state.references.values().filter(|r| r.model == *model).cloned().collect();
        // Stable, so that equal times are in the order of names.
        found.sort_by_key(|reference| reference.created_at);
        Ok(found)
    }
}

#[async_trait]
impl AlertStore for MemoryLedger {
    async fn open_alert(&self, alert: &Alert) -> Result<Alert, Error> {
        let mut state = self.state()?;
        let is_open = |found: &&Alert| {
            found.resolved_at.is_none()
                && (&found.model, found.version, &found.key)
                    == (&alert.model, alert.version, &alert.key)
        };
        let known = state.alerts.get(&alert.id).or_else(|| state.alerts.values().find(is_open));
        if let Some(known) = known {
            return Ok(known.clone());
        }
        state.alerts.insert(alert.id, alert.clone());
        Ok(alert.clone())
    }

    async fn update_alert(&self, alert: &Alert) -> Result<(), Error> {
        let mut state = self.state()?;
        let found = state.alerts.get_mut(&alert.id);
        let found = found.ok_or_else(|| RULES.not_found("alert", alert.id))?;
        *found = RULES.update_alert(found, alert);
        Ok(())
    }

    async fn acknowledge_alert(
        &self,
        id: Uuid,
        action_taken: Option<&str>,
        at: Timestamp,
    ) -> Result<Alert, Error> {
        let mut state = self.state()?;
        let found = state.alerts.get_mut(&id).ok_or_else(|| RULES.not_found("alert", id))?;
        *found = RULES.acknowledge(found, action_taken, at);
        Ok(found.clone())
    }

    async fn alert(&self, id: Uuid) -> Result<Alert, Error> {
        let found = self.state()?.alerts.get(&id).cloned();
        found.ok_or_else(|| RULES.not_found("alert", id))
    }

    async fn open_alerts(&self, model: &ModelName) -> Result<Vec<Alert>, Error> {
        let mut alerts = newest_first(&self.state()?.alerts, model);
        alerts.retain(|alert| alert.resolved_at.is_none());
        Ok(alerts)
    }

    async fn alerts(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Alert>, Error> {
        page(&self.state()?.alerts, model, before, limit)
    }
}

#[async_trait]
impl DecisionStore for MemoryLedger {
    async fn record_retraining_run(
        &self,
        run: &RetrainingRun,
        lease: Option<&Lease>,
    ) -> Result<(), Error> {
        let mut state = self.state()?;
        state.fence(lease, (self.clock)())?;
        state.retraining_runs.insert(run.id, run.clone());
        Ok(())
    }

    async fn retraining_run(&self, id: Uuid) -> Result<RetrainingRun, Error> {
        let found = self.state()?.retraining_runs.get(&id).cloned();
        found.ok_or_else(|| RULES.not_found("retraining run", id))
    }

    async fn retraining_runs(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<RetrainingRun>, Error> {
        page(&self.state()?.retraining_runs, model, before, limit)
    }

    async fn record_decision(
        &self,
        decision: &PromotionDecision,
        lease: Option<&Lease>,
    ) -> Result<(), Error> {
        let mut state = self.state()?;
        state.fence(lease, (self.clock)())?;
        if RULES.decision(state.decisions.get(&decision.id), decision)? == DecisionStep::Write {
            state.decisions.insert(decision.id, decision.clone());
        }
        Ok(())
    }

    async fn decision(&self, id: Uuid) -> Result<PromotionDecision, Error> {
        let found = self.state()?.decisions.get(&id).cloned();
        found.ok_or_else(|| RULES.not_found("decision", id))
    }

    async fn decisions(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<PromotionDecision>, Error> {
        page(&self.state()?.decisions, model, before, limit)
    }
}

#[async_trait]
impl LeaseStore for MemoryLedger {
    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
    ) -> Result<Option<Lease>, Error> {
        let mut state = self.state()?;
        let lease = RULES.acquire(state.leases.get(name), name, owner, (self.clock)(), length)?;
        if let Some(lease) = &lease {
            state.leases.insert(name.to_owned(), lease.clone());
        }
        Ok(lease)
    }

    async fn lease(&self, name: &str) -> Result<Option<Lease>, Error> {
        let now = (self.clock)();
        Ok(self.state()?.leases.get(name).filter(|lease| lease.expires_at > now).cloned())
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
        let mut state = self.state()?;
        let now = (self.clock)();
        if let Some(returned) = RULES.release(lease, state.leases.get(&lease.name), now) {
            state.leases.insert(lease.name.clone(), returned);
        }
        Ok(())
    }
}

#[async_trait]
impl JobStore for MemoryLedger {
    async fn claim_job(&self, claim: &JobClaim<'_>) -> Result<Option<JobRun>, Error> {
        let mut state = self.state()?;
        let run = RULES.claim_job(state.runs_of(claim.job).next(), claim, (self.clock)())?;
        if let Some(run) = &run {
            state.store_job(run);
        }
        Ok(run)
    }

    async fn extend_job(&self, run: &JobRun, lease: Duration) -> Result<JobRun, Error> {
        let mut state = self.state()?;
        let latest = state.runs_of(&run.job).next();
        let kept = RULES.extend_job(latest, run, (self.clock)(), lease)?;
        state.store_job(&kept);
        Ok(kept)
    }

    async fn finish_job(
        &self,
        run: &JobRun,
        end: JobState,
        result: Option<&str>,
    ) -> Result<JobRun, Error> {
        let mut state = self.state()?;
        let found = state.job_runs.get(&(run.job.clone(), run.slot));
        let ended = RULES.finish_job(found, run, end, result)?;
        state.store_job(&ended);
        Ok(ended)
    }

    async fn job_run(&self, job: &str, slot: Timestamp) -> Result<Option<JobRun>, Error> {
        Ok(self.state()?.job_runs.get(&(job.to_owned(), slot)).cloned())
    }

    async fn job_runs(
        &self,
        job: &str,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<JobRun>, Error> {
        RULES.limit(limit)?;
        let state = self.state()?;
        let runs = state.runs_of(job).filter(|run| before.is_none_or(|before| run.slot < before));
        Ok(runs.take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::ledger::{self as suite, Options};
    use crate::ledger::Ledger;
    use crate::memory::test_clock;
    use std::sync::Arc;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        let (clock, pass) = test_clock();
        let sleep = |time| {
            pass(time);
            std::future::ready(())
        };
        let make = async || MemoryLedger::with_clock(clock.clone());
        suite::all(make, &Options::new(), sleep).await;
        let make = async || Arc::new(MemoryLedger::with_clock(clock.clone())) as Arc<dyn Ledger>;
        suite::all(make, &Options::new(), sleep).await;
        let make = async || Box::new(MemoryLedger::with_clock(clock.clone())) as Box<dyn Ledger>;
        suite::all(make, &Options::new(), sleep).await;
    }
}
