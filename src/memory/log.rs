//! The inference log in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use uuid::Uuid;

use crate::drift::{Counts, Profile};
use crate::log::{
    Appended, BatchId, Cursor, EventBatch, InferenceEvent, InferenceLog, LabelledEvent,
    LoggedEvent, Outcome, OutcomeReceipt, OutcomeStep, Page, Purged, Rules, WindowCounts, extent,
};
use crate::registry::{ModelName, VersionId};
use crate::{Error, ErrorKind, Timestamp, Window};

const COMPONENT: &str = "memory log";
const RULES: Rules = Rules::new(COMPONENT);

/// An [`InferenceLog`] in memory.
///
/// ```
/// use std::time::Duration;
/// use ndarray::array;
/// use pmmds::drift::Profile;
/// use pmmds::log::{Appended, BatchId, EventBatch, InferenceEvent, InferenceLog};
/// use pmmds::memory::MemoryLog;
/// use pmmds::model::Task;
/// use pmmds::record::Batch;
/// use pmmds::registry::VersionId;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::{Timestamp, Window};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let data = array![[1.0], [2.0]];
/// let rows = Batch::from_array(&schema, data.view())?;
/// let profile = Profile::fit(&rows)?;
///
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let log = MemoryLog::with_clock(move || noon);
/// let (model, row) = ("churn".parse()?, rows.row(0));
/// let prediction = Task::binary().prediction(0.7)?;
/// let codes = profile.encode(&row, prediction.score());
/// let id = Uuid::from_u128(7);
/// let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes);
/// let mut batch = EventBatch::new(BatchId(Uuid::from_u128(1)), model, VersionId::FIRST, &profile);
/// batch.push(&profile, &row, event);
///
/// assert_eq!(log.append(&batch).await?, Appended::Written);
/// assert_eq!(log.append(&batch).await?, Appended::AlreadyThere);
/// let minute = Window::new(noon, noon.saturating_add(Duration::from_secs(60)))?;
/// let found = log.counts(batch.model(), VersionId::FIRST, minute, &profile).await?;
/// assert_eq!(found.counts.rows(), 1);
/// # Ok(())
/// # }
/// ```
pub struct MemoryLog {
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    batches: BTreeMap<BatchId, Kept>,
    events: BTreeMap<(ModelName, Timestamp, Uuid), LoggedEvent>,
    outcomes: BTreeMap<Uuid, (f64, Timestamp)>,
}

/// What is kept of a batch beside its events.
#[derive(Debug)]
struct Kept {
    model: ModelName,
    version: VersionId,
    // of the first and the last event
    first: Timestamp,
    last: Timestamp,
    written: Timestamp,
    // until an event is purged
    counts: Option<Counts>,
}

impl State {
    /// The events of `model` in `window` after `after`, oldest first.
    fn events<'s>(
        &'s self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
    ) -> impl Iterator<Item = &'s LoggedEvent> + use<'s> {
        let from = |at| (model.clone(), at, Uuid::nil());
        self.events
            .range(from(window.start())..from(window.end()))
            .map(|(_, event)| event)
            .skip_while(move |LoggedEvent { event, .. }| {
                after.is_some_and(|Cursor { at, id }| (event.at, event.id) <= (at, id))
            })
    }
}

impl MemoryLog {
    /// An empty log whose time is told by `clock`. The clock must not use the log.
    #[must_use]
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), state: Mutex::default() }
    }

    /// From now on every call answers [`Unavailable`](ErrorKind::Unavailable), until
    /// [`bring_up`](Self::bring_up): an outage, to test what it must not do.
    ///
    /// ```
    /// use pmmds::log::InferenceLog;
    /// use pmmds::memory::MemoryLog;
    /// use pmmds::{ErrorKind, Timestamp};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
    /// log.take_down();
    /// assert_eq!(log.now().await.unwrap_err().kind(), ErrorKind::Unavailable);
    /// log.bring_up();
    /// assert_eq!(log.now().await.unwrap(), Timestamp::EPOCH);
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

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.lock().events.len();
        f.debug_struct("MemoryLog").field("events", &events).finish_non_exhaustive()
    }
}

#[async_trait]
impl InferenceLog for MemoryLog {
    async fn append(&self, batch: &EventBatch) -> Result<Appended, Error> {
        RULES.batch(batch)?;
        let written = (self.clock)();
        let mut state = self.state()?;
        if state.batches.contains_key(&batch.id()) {
            return Ok(Appended::AlreadyThere);
        }
        let key = |event: &InferenceEvent| (batch.model().clone(), event.at, event.id);
        let mut new = BTreeSet::new();
        for event in batch.events() {
            if state.events.contains_key(&key(event)) || !new.insert(event.place()) {
                let context = format!("batch {}: event {} is there already", batch.id(), event.id);
                return Err(Error::new(ErrorKind::Conflict, COMPONENT, context));
            }
        }
        let (first, last) = extent(batch, written);
        let (model, counts) = (batch.model().clone(), Some(batch.counts().clone()));
        let kept = Kept { model, version: batch.version(), first, last, written, counts };
        state.batches.insert(batch.id(), kept);
        for event in batch.events() {
            let (version, profile) = (batch.version(), batch.profile());
            let logged = LoggedEvent { event: event.clone(), version, profile };
            state.events.insert(key(event), logged);
        }
        Ok(Appended::Written)
    }

    async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
        RULES.outcomes(outcomes)?;
        let now = (self.clock)();
        let mut state = self.state()?;
        let mut receipt = OutcomeReceipt::default();
        for Outcome { request_id, outcome, observed_at } in outcomes {
            let found = state.outcomes.get(request_id).map(|(outcome, _)| *outcome);
            let step = OutcomeStep::of(found, *outcome);
            if step != OutcomeStep::Keep {
                state.outcomes.insert(*request_id, (*outcome, observed_at.unwrap_or(now)));
            }
            receipt.add(step);
        }
        Ok(receipt)
    }

    async fn counts(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error> {
        let state = self.state()?;
        let mut found = WindowCounts { counts: Counts::empty(profile), foreign_rows: 0 };
        for logged in state.events(model, window, None).filter(|logged| logged.version == version) {
            if logged.profile == profile.fingerprint() {
                RULES.codes(profile, logged.event.id, &logged.event.codes)?;
                found.counts.observe_codes(&logged.event.codes);
            } else {
                found.foreign_rows += 1;
            }
        }
        for kept in state.batches.values() {
            let inside = window.contains(kept.first) && window.contains(kept.last);
            let counts = kept.counts.iter().filter(|c| c.profile() == profile.fingerprint());
            if inside && kept.model == *model && kept.version == version {
                for counts in counts {
                    found.counts.merge_summaries(counts).map_err(|cause| {
                        Error::new(ErrorKind::Corrupt, COMPONENT, "cannot add up summaries")
                            .with_source(cause)
                    })?;
                }
            }
        }
        Ok(found)
    }

    async fn scan(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LoggedEvent>, Error> {
        RULES.limit(limit)?;
        let state = self.state()?;
        let events = state.events(model, window, after).cloned();
        Ok(Page::first(events, limit, |logged| logged.event.place()))
    }

    async fn labelled(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LabelledEvent>, Error> {
        RULES.limit(limit)?;
        let state = self.state()?;
        let mut seen = BTreeSet::new();
        let first: BTreeSet<Uuid> = state
            .events
            .values()
            .zip(state.events.keys().map(|(of, ..)| of))
            .filter(|(logged, of)| *of == model && logged.event.features.is_some())
            .filter(|(logged, _)| seen.insert(logged.event.request_id))
            .map(|(logged, _)| logged.event.id)
            .collect();
        let labelled = state
            .events(model, window, after)
            .filter(|logged| logged.event.features.is_some() && first.contains(&logged.event.id))
            .filter_map(|LoggedEvent { event, version, .. }| {
                let (outcome, _) = *state.outcomes.get(&event.request_id)?;
                Some(LabelledEvent { event: event.clone(), version: *version, outcome })
            });
        Ok(Page::first(labelled, limit, |labelled| labelled.event.place()))
    }

    async fn purge(&self, before: Timestamp) -> Result<Purged, Error> {
        let mut state = self.state()?;
        let (events, outcomes) = (state.events.len(), state.outcomes.len());
        state.batches.retain(|_, kept| kept.last >= before || kept.written >= before);
        for kept in state.batches.values_mut().filter(|kept| kept.first < before) {
            kept.counts = None;
        }
        state.events.retain(|(_, at, _), _| *at >= before);
        state.outcomes.retain(|_, (_, observed_at)| *observed_at >= before);
        let events = events - state.events.len();
        let outcomes = outcomes - state.outcomes.len();
        Ok(Purged { events: events as u64, outcomes: outcomes as u64 })
    }

    async fn now(&self) -> Result<Timestamp, Error> {
        drop(self.state()?);
        Ok((self.clock)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::log::{self as suite, Options};
    use crate::memory::test_clock;
    use std::sync::Arc;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        let (clock, _) = test_clock();
        let make = async || MemoryLog::with_clock(clock.clone());
        suite::all(make, &Options::new()).await;
    }

    #[tokio::test]
    async fn it_keeps_the_contract_behind_pointers() {
        let (clock, _) = test_clock();
        let make = async || Arc::new(MemoryLog::with_clock(clock.clone())) as Arc<dyn InferenceLog>;
        suite::all(make, &Options::new()).await;
        let make = async || Box::new(MemoryLog::with_clock(clock.clone())) as Box<dyn InferenceLog>;
        suite::all(make, &Options::new()).await;
    }
}
