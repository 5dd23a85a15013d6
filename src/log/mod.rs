//! The inference log: every answered prediction, once.
//!
//! Events are written in [`EventBatch`]es whose id is fixed before the first attempt, so a retried
//! batch is recognised and nothing is counted twice. A batch carries its own
//! [`Counts`](crate::drift::Counts), so that windows are added up from batches and not from rows.

mod backlog;
mod batch;
mod correlation;
mod event;
mod page;
mod parts;
mod reply;
mod results;
mod rules;
mod sample;
mod summaries;
mod wire;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::drift::Profile;
use crate::registry::{ModelName, VersionId};
use crate::{Error, Timestamp, Window};

pub use backlog::Backlog;
pub use batch::{BatchId, EventBatch};
pub use correlation::{CorrelationId, InvalidCorrelationId, MAX_CORRELATION_BYTES};
pub use event::{InferenceEvent, LabelledEvent, LoggedEvent};
pub use page::{Cursor, Page};
pub use reply::Reply;
pub use results::{Appended, Outcome, OutcomeReceipt, Purged, WindowCounts};
pub use rules::{OutcomeStep, Rules, extent, is_final};
pub use sample::{InvalidShare, Sample};
pub use summaries::Summaries;
pub use wire::WireError;

/// Keeps every answered prediction, and joins outcomes to them.
///
/// # Contract
///
/// * [`append`](Self::append) writes a batch whole or not at all, and once: the same id again is
///   [`AlreadyThere`](Appended::AlreadyThere). When it returns `Ok` the batch is as durable as the
///   store can make it. After an error nothing is known; the caller sends the *same* batch again.
/// * Ids of events are the caller's to keep unique. A store may refuse a batch that holds the id
///   of an event it has, as a [`Conflict`](crate::ErrorKind::Conflict): for ever, see [`is_final`].
/// * A store may be told to keep one event per request id and model. It leaves out those whose
///   request it has, writes the others whole or not at all, and says
///   [how many](Appended::WithoutDuplicates) it left out; the batch is known by its id all the same.
/// * [`counts`](Self::counts) equals, bit for bit, counting the codes of every event that
///   [`scan`](Self::scan) returns for that window. Summaries and rejections come from batches
///   whose events all lie in the window;
///   [`Counts::summarised`](crate::drift::Counts::summarised) says how many rows they cover.
///   Refused requests of a batch without events count at the time the batch was written.
/// * Windows are half-open: an event on a boundary is in exactly one of two adjacent windows.
/// * Outcomes are idempotent and may arrive before their event.
///   [`labelled`](Self::labelled) returns one event per request id of a model, the first in the
///   whole log that has raw features, in order of time: also adjacent windows return it once.
/// * Pages are in the order of time, then of the event's id. A page of 0 items is
///   [`InvalidInput`](crate::ErrorKind::InvalidInput).
/// * [`purge`](Self::purge) removes raw features with their events. A batch that lost an event
///   gives no summaries any more, also not for the events it still has; its id is remembered at
///   least until a purge of the time at which it was written.
/// * [`now`](Self::now) is the clock of the store, so that replicas agree on windows.
///
/// # Implementing
///
/// [`Rules`] has the decisions that every log takes alike. Run `pmmds::conformance::log` (feature
/// `conformance`) on the implementation; the in-memory one in [`memory`](crate::memory) is the
/// reference.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::{Traffic, ever};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::registry::VersionId;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let (model, profile, day, batch) = (traffic.model.clone(), traffic.profile.clone(), ever(), traffic.batch(1, 3));
/// use pmmds::log::InferenceLog;
/// let log: &dyn InferenceLog = &log;
/// log.append(&batch).await?;
/// let found = log.counts(&model, VersionId::FIRST, day, &profile).await?;
/// assert_eq!(found.counts, *batch.counts());
/// assert_eq!(log.now().await?, Timestamp::EPOCH);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait InferenceLog: Debug + Send + Sync {
    /// Writes a batch. [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty one.
    async fn append(&self, batch: &EventBatch) -> Result<Appended, Error>;

    /// Records outcomes, all or none of them. The last value for a request id holds.
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for one that is no finite number.
    async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error>;

    /// What came in for one version over `window`, as slots of `profile`.
    async fn counts(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error>;

    /// Events of all versions of `model` in `window`, oldest first, at most `limit` after `after`.
    async fn scan(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LoggedEvent>, Error>;

    /// Events of `model` in `window` that have raw features and an outcome, oldest first, one per
    /// request id, at most `limit` after `after`.
    async fn labelled(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LabelledEvent>, Error>;

    /// Removes events from before `before`, and outcomes observed before it. Done in steps where
    /// the store is large; after an error some may be gone, and the rest goes with the next call.
    async fn purge(&self, before: Timestamp) -> Result<Purged, Error>;

    /// The store's clock.
    async fn now(&self) -> Result<Timestamp, Error>;

    /// The same as [`append`](Self::append), with what clients were answered. A log that can keep it
    /// gives it back by [`replies`](Self::replies), for a while. Defaults to leaving it out.
    async fn append_answered(
        &self,
        batch: &EventBatch,
        replies: &[Reply],
    ) -> Result<Appended, Error> {
        // Nothing depends on them but a client that repeats itself after a restart.
        let _ = replies;
        self.append(batch).await
    }

    /// What was answered of late, the oldest first, at most `limit`: the latest of them. Defaults to
    /// nothing.
    async fn replies(&self, limit: usize) -> Result<Vec<Reply>, Error> {
        let _ = limit;
        Ok(Vec::new())
    }

    /// What was taken in and is not in the store yet, for a log that keeps it on local disk
    /// meanwhile. Defaults to `None`: what `append` acknowledges is in the store.
    fn backlog(&self) -> Option<Backlog> {
        None
    }
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<L: InferenceLog + ?Sized> InferenceLog for $wrapper {
            async fn append(&self, batch: &EventBatch) -> Result<Appended, Error> {
                (**self).append(batch).await
            }

            async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
                (**self).record_outcomes(outcomes).await
            }

            async fn counts(
                &self,
                model: &ModelName,
                version: VersionId,
                window: Window,
                profile: &Profile,
            ) -> Result<WindowCounts, Error> {
                (**self).counts(model, version, window, profile).await
            }

            async fn scan(
                &self,
                model: &ModelName,
                window: Window,
                after: Option<Cursor>,
                limit: usize,
            ) -> Result<Page<LoggedEvent>, Error> {
                (**self).scan(model, window, after, limit).await
            }

            async fn labelled(
                &self,
                model: &ModelName,
                window: Window,
                after: Option<Cursor>,
                limit: usize,
            ) -> Result<Page<LabelledEvent>, Error> {
                (**self).labelled(model, window, after, limit).await
            }

            async fn purge(&self, before: Timestamp) -> Result<Purged, Error> {
                (**self).purge(before).await
            }

            async fn now(&self) -> Result<Timestamp, Error> {
                (**self).now().await
            }

            async fn append_answered(
                &self,
                batch: &EventBatch,
                replies: &[Reply],
            ) -> Result<Appended, Error> {
                (**self).append_answered(batch, replies).await
            }

            async fn replies(&self, limit: usize) -> Result<Vec<Reply>, Error> {
                (**self).replies(limit).await
            }

            fn backlog(&self) -> Option<Backlog> {
                (**self).backlog()
            }
        }
    )+};
}

forward!(&L, Box<L>, Arc<L>);

const _: Option<&dyn InferenceLog> = None;
