//! The inference log: every answered prediction, once.
//!
//! Events are written in [`EventBatch`]es whose id is fixed before the first attempt, so a retried
//! batch is recognised and nothing is counted twice. A batch carries its own
//! [`Counts`], so that windows are added up from batches and not from rows.

mod backlog;
mod correlation;
mod parts;
mod rules;
mod sample;
mod summaries;
mod wire;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::drift::{Codes, Counts, NotComparable, Profile};
use crate::model::Prediction;
use crate::record::Row;
use crate::registry::{ModelName, VersionId};
use crate::schema::{FeatureSchema, Fingerprint};
use crate::validate::Violations;
use crate::{Error, Timestamp, Window};

pub use backlog::Backlog;
pub use correlation::{CorrelationId, InvalidCorrelationId, MAX_CORRELATION_BYTES};
pub use rules::{OutcomeStep, Rules, extent, is_final};
pub use sample::{InvalidShare, Sample};
pub use summaries::Summaries;
pub use wire::WireError;

/// Names a batch for ever: a batch that is sent again has the same id.
///
/// ```
/// use pmmds::log::BatchId;
/// use uuid::Uuid;
/// let id = BatchId(Uuid::from_u128(7)); // made once, before the first attempt
/// assert_eq!(id.to_string(), "00000000-0000-0000-0000-000000000007");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub Uuid);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One answered prediction.
///
/// ```
/// use std::time::Duration;
/// use pmmds::drift::Codes;
/// use pmmds::log::InferenceEvent;
/// use pmmds::model::Task;
/// use pmmds::Timestamp;
/// use uuid::Uuid;
///
/// let id = Uuid::from_u128(7); // a service makes a UUIDv7
/// let prediction = Task::binary().prediction(0.7)?;
/// let codes = Codes::from_bytes([3, 1]); // `profile.encode(&row, prediction.score())`
/// let latency = Duration::from_nanos(51_700);
/// let event = InferenceEvent::new(id, id, Timestamp::EPOCH, prediction, latency, codes)
///     .with_features(r#"{"tenure":12,"plan":"gold"}"#.to_owned());
/// assert_eq!(event.latency, Duration::from_micros(51));
/// # Ok::<(), pmmds::model::InvalidScore>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InferenceEvent {
    /// names the event; made by the server, in order of time (UUIDv7)
    pub id: Uuid,
    /// the sender's id, or `id` where it sent none; outcomes are joined by it
    pub request_id: Uuid,
    /// when it was answered
    pub at: Timestamp,
    /// what the model answered
    pub prediction: Prediction,
    /// time that validation and model took, in whole microseconds
    pub latency: Duration,
    /// the row as slots of the profile
    pub codes: Codes,
    /// the row itself as a JSON object, where the owner keeps raw features; retraining needs them
    pub features: Option<String>,
    /// what the caller calls the request, where it said so
    pub correlation_id: Option<CorrelationId>,
}

impl InferenceEvent {
    /// An event without raw features and correlation id. `latency` is cut to whole microseconds.
    #[must_use]
    pub fn new(
        id: Uuid,
        request_id: Uuid,
        at: Timestamp,
        prediction: Prediction,
        latency: Duration,
        codes: Codes,
    ) -> Self {
        // Within i64, which is what stores have.
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let latency = Duration::from_micros(micros.min(i64::MAX.unsigned_abs()));
        Self {
            id,
            request_id,
            at,
            prediction,
            latency,
            codes,
            features: None,
            correlation_id: None,
        }
    }

    /// Where it stands in the order of time.
    ///
    /// ```
    /// # use pmmds::{drift::Codes, log::InferenceEvent, model::Task, Timestamp};
    /// # let (id, prediction) = (uuid::Uuid::from_u128(7), Task::binary().prediction(0.7)?);
    /// # let codes = Codes::from_bytes([3, 1]);
    /// let latency = std::time::Duration::ZERO;
    /// let event = InferenceEvent::new(id, id, Timestamp::EPOCH, prediction, latency, codes);
    /// assert_eq!((event.place().at, event.place().id), (Timestamp::EPOCH, id));
    /// # Ok::<(), pmmds::model::InvalidScore>(())
    /// ```
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { at: self.at, id: self.id }
    }

    /// The same event with its raw features, as [`Row::to_json`] writes them.
    #[must_use]
    pub fn with_features(mut self, json: String) -> Self {
        self.features = Some(json);
        self
    }

    /// The same event with what the caller calls its request.
    ///
    /// ```
    /// # use pmmds::{drift::Codes, log::InferenceEvent, model::Task, Timestamp};
    /// # let (id, prediction) = (uuid::Uuid::from_u128(7), Task::binary().prediction(0.7)?);
    /// # let codes = Codes::from_bytes([3, 1]);
    /// # let latency = std::time::Duration::ZERO;
    /// # let event = InferenceEvent::new(id, id, Timestamp::EPOCH, prediction, latency, codes);
    /// let event = event.with_correlation_id("checkout-7".parse()?);
    /// assert_eq!(event.correlation_id.unwrap().as_str(), "checkout-7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }
}

/// Events of one model version and one profile, with their counts: written whole or not at all.
///
/// ```
/// use std::time::Duration;
/// use ndarray::array;
/// use pmmds::drift::Profile;
/// use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// use pmmds::model::Task;
/// use pmmds::record::Batch;
/// use pmmds::registry::VersionId;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::Timestamp;
/// use uuid::Uuid;
///
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let data = array![[1.0], [2.0]];
/// let batch = Batch::from_array(&schema, data.view())?;
/// let profile = Profile::fit(&batch)?;
///
/// let row = batch.row(0);
/// let prediction = Task::binary().prediction(0.7)?;
/// let now = Timestamp::from_micros(0)?;
/// let id = Uuid::from_u128(7);
/// let codes = profile.encode(&row, prediction.score());
/// let event = InferenceEvent::new(id, id, now, prediction, Duration::from_micros(50), codes);
///
/// let mut events = EventBatch::new(BatchId(Uuid::from_u128(1)), "churn".parse()?, VersionId::FIRST, &profile);
/// events.push(&profile, &row, event);
/// assert_eq!(events.counts().rows(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EventBatch {
    id: BatchId,
    model: ModelName,
    version: VersionId,
    events: Vec<InferenceEvent>,
    // of exactly `events`, and of the requests that were refused beside them
    counts: Counts,
}

impl EventBatch {
    /// A batch without events.
    #[must_use]
    pub fn new(id: BatchId, model: ModelName, version: VersionId, profile: &Profile) -> Self {
        Self { id, model, version, events: Vec::new(), counts: Counts::empty(profile) }
    }

    /// Adds an answered prediction.
    ///
    /// # Panics
    ///
    /// When `profile` is not the batch's, or did not make the codes of `event`.
    pub fn push(&mut self, profile: &Profile, row: &Row, event: InferenceEvent) {
        self.counts.observe(profile, row, &event.codes);
        self.events.push(event);
    }

    /// Counts a refused request.
    ///
    /// ```
    /// # use pmmds::drift::Profile;
    /// use pmmds::log::{BatchId, EventBatch};
    /// use pmmds::record::{Batch, decode_row};
    /// use pmmds::registry::VersionId;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    /// use uuid::Uuid;
    /// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0]];
    /// # let profile = Profile::fit(&Batch::from_array(&schema, data.view())?)?;
    /// let id = BatchId(Uuid::from_u128(1));
    /// let mut batch = EventBatch::new(id, "churn".parse()?, VersionId::FIRST, &profile);
    /// assert!(batch.is_empty());
    /// let mut problems = Violations::new();
    /// decode_row(&schema, br#"{"x": "one"}"#, &mut problems)?;
    /// batch.push_rejected(&schema, &problems);
    /// assert!(!batch.is_empty() && batch.events().is_empty());
    /// assert_eq!(batch.counts().rejected_requests(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push_rejected(&mut self, schema: &FeatureSchema, violations: &Violations) {
        self.counts.observe_rejected(schema, violations);
    }

    /// Takes over requests that were counted as refused elsewhere, so that whoever refuses them
    /// need not keep one by one what was wrong with them.
    ///
    /// # Errors
    ///
    /// [`NotComparable`] when `refused` is of another profile, or counts rows too. Nothing has
    /// changed then.
    pub fn merge_rejected(&mut self, refused: &Counts) -> Result<(), NotComparable> {
        if refused.rows() > 0 {
            return Err(NotComparable::new("rows come into a batch as events"));
        }
        self.counts.merge(refused)
    }

    /// Takes out the events that `take` says, as a batch `id`: for a store that has some of them
    /// already, and for whoever looks for the one that a store refuses.
    ///
    /// Both are counted by their codes then, without summaries, since these cannot be told apart.
    /// Refused requests stay. Where none is taken out nothing has changed.
    ///
    /// ```
    /// # use pmmds::drift::Profile;
    /// # use pmmds::model::Task;
    /// # use pmmds::record::Batch;
    /// # use pmmds::registry::VersionId;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::log::{BatchId, EventBatch, InferenceEvent};
    /// use uuid::Uuid;
    /// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0]];
    /// # let rows = Batch::from_array(&schema, data.view())?;
    /// # let profile = Profile::fit(&rows)?;
    /// # let id = BatchId(Uuid::from_u128(1));
    /// # let mut batch = EventBatch::new(id, "churn".parse()?, VersionId::FIRST, &profile);
    /// # for number in 0..3 {
    /// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
    /// #     let prediction = Task::binary().prediction(0.7)?;
    /// #     let (at, latency) = (pmmds::Timestamp::EPOCH, std::time::Duration::ZERO);
    /// #     let codes = profile.encode(&row, prediction.score());
    /// #     batch.push(&profile, &row, InferenceEvent::new(id, id, at, prediction, latency, codes));
    /// # }
    /// assert_eq!((batch.events().len(), batch.counts().summarised()), (3, 3));
    /// let last = batch.events()[2].id;
    /// let one = batch.take_out(BatchId(Uuid::from_u128(2)), |event| event.id == last);
    /// assert_eq!((one.counts().rows(), batch.counts().rows()), (1, 2));
    /// assert_eq!((one.counts().summarised(), batch.counts().summarised()), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_out(&mut self, id: BatchId, take: impl FnMut(&InferenceEvent) -> bool) -> Self {
        let (taken, left) = self.events.iter().cloned().partition::<Vec<_>, _>(take);
        let batch = |id, events: Vec<InferenceEvent>, mut counts: Counts| {
            events.iter().for_each(|event| counts.observe_codes(&event.codes));
            Self { id, model: self.model.clone(), version: self.version, events, counts }
        };
        if taken.is_empty() {
            return batch(id, taken, self.counts.cleared());
        }
        let rest = batch(self.id, left, self.counts.rejections());
        let taken = batch(id, taken, self.counts.cleared());
        *self = rest;
        taken
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// The model that answered.
    #[must_use]
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// The version that answered.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// Fingerprint of the profile that made the codes.
    #[must_use]
    pub fn profile(&self) -> Fingerprint {
        self.counts.profile()
    }

    /// The events, in the order they were pushed.
    #[must_use]
    pub fn events(&self) -> &[InferenceEvent] {
        &self.events
    }

    /// The counts of the events and of the requests refused beside them.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether there is nothing to write: no event and no refused request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.counts.rejected_requests() == 0
    }
}

/// Whether a batch was written now or had been before.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::{Appended, InferenceLog};
/// assert_eq!(log.append(&batch).await?, Appended::Written);
/// // The acknowledgement was lost, so it is sent again.
/// assert_eq!(log.append(&batch).await?, Appended::AlreadyThere);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Appended {
    /// It was written by this call.
    Written,
    /// It was there already; nothing has changed.
    AlreadyThere,
    /// It was written by this call, but for events whose request the log has already: so it is in a
    /// store that was told to keep one event per request id. What was written is counted by codes,
    /// without summaries.
    WithoutDuplicates {
        /// events that were left out, at least 1
        duplicates: u64,
    },
}

/// Ground truth that arrived later, joined to its prediction by request id.
///
/// ```
/// use pmmds::log::Outcome;
/// let outcome: Outcome = serde_json::from_str(
///     r#"{"request_id": "00000000-0000-0000-0000-000000000007", "outcome": 1, "observed_at": null}"#,
/// )?;
/// assert_eq!((outcome.outcome, outcome.observed_at), (1.0, None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// the request that it is about
    pub request_id: Uuid,
    /// what really happened: 1 or 0 for a binary target, any finite number for a numeric one
    pub outcome: f64,
    /// when it was observed; the store's clock where the sender does not say
    pub observed_at: Option<Timestamp>,
}

/// What became of recorded outcomes.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::{InferenceLog, Outcome};
/// let outcome = |outcome| Outcome { request_id: Uuid::from_u128(0), outcome, observed_at: None };
/// let receipt = log.record_outcomes(&[outcome(1.0), outcome(1.0), outcome(0.0)]).await?;
/// assert_eq!((receipt.recorded, receipt.unchanged, receipt.corrected), (1, 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutcomeReceipt {
    /// outcomes that were new
    pub recorded: u64,
    /// outcomes that were known, with the same value
    pub unchanged: u64,
    /// outcomes that replaced another value
    pub corrected: u64,
}

/// Where the next page begins: after this moment and id, in the order of time.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let (mut after, mut seen) = (None, 0);
/// loop {
///     let page = log.scan(&model, day, after, 2).await?;
///     seen += page.items.len();
///     let Some(next) = page.next else { break };
///     after = Some(next);
/// }
/// assert_eq!(seen, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// moment of the last item of the page before
    pub at: Timestamp,
    /// id of the last item of the page before
    pub id: Uuid,
}

/// Some items, and where to go on.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let page = log.scan(&model, day, None, 2).await?;
/// assert_eq!(page.items.len(), 2);
/// assert!(page.next.is_some(), "there is one more");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// the items, in order
    pub items: Vec<T>,
    /// where the next page begins; `None` at the end
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The first `limit` of `items`, of which a store asks for one more than that to know whether
    /// there is another page; `place` says where an item stands.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// use pmmds::log::{Cursor, Page};
    /// use uuid::Uuid;
    ///
    /// let place = |n: &u128| Cursor { at: Timestamp::EPOCH, id: Uuid::from_u128(*n) };
    /// let page = Page::first([7, 8, 9], 2, place);
    /// assert_eq!((page.items, page.next), (vec![7, 8], Some(place(&8))));
    /// assert_eq!(Page::first([9], 2, place).next, None);
    /// ```
    pub fn first(
        items: impl IntoIterator<Item = T>,
        limit: usize,
        place: impl Fn(&T) -> Cursor,
    ) -> Self {
        let mut items: Vec<T> = items.into_iter().take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(place);
        Self { items, next }
    }
}

/// The counts of a window.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let found = log.counts(&model, VersionId::FIRST, day, &profile).await?;
/// assert_eq!((found.counts.rows(), found.foreign_rows), (3, 0));
///
/// let other = Profile::fit(&Batch::from_array(&schema, data.slice(ndarray::s![..2, ..]))?)?;
/// let found = log.counts(&model, VersionId::FIRST, day, &other).await?;
/// assert_eq!((found.counts.rows(), found.foreign_rows), (0, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCounts {
    /// rows that were encoded with the profile asked for
    pub counts: Counts,
    /// rows of the same version and window that another profile encoded, and that are thus in no
    /// count
    pub foreign_rows: u64,
}

/// A logged event as it comes back.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let logged = &log.scan(&model, day, None, 10).await?.items[0];
/// assert_eq!((logged.version, logged.profile), (VersionId::FIRST, profile.fingerprint()));
/// assert_eq!(logged.event, batch.events()[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// the event
    pub event: InferenceEvent,
    /// the version that answered
    pub version: VersionId,
    /// the profile that made the codes
    pub profile: Fingerprint,
}

/// A prediction with its raw features and its true outcome.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::{InferenceLog, Outcome};
/// log.append(&batch).await?;
/// let outcome = Outcome { request_id: Uuid::from_u128(2), outcome: 1.0, observed_at: None };
/// log.record_outcomes(&[outcome]).await?;
/// let [labelled] = &log.labelled(&model, day, None, 10).await?.items[..] else { panic!() };
/// assert_eq!(labelled.event.features.as_deref(), Some(r#"{"x":3.0}"#));
/// assert_eq!(labelled.outcome, 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledEvent {
    /// the event; `features` is there
    pub event: InferenceEvent,
    /// the version that answered
    pub version: VersionId,
    /// what really happened
    pub outcome: f64,
}

/// How much was removed.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let purged = log.purge(day.end()).await?;
/// assert_eq!((purged.events, purged.outcomes), (3, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// events
    pub events: u64,
    /// outcomes
    pub outcomes: u64,
}

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
///   whose events all lie in the window; [`Counts::summarised`] says how many rows they cover.
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
/// # use std::time::Duration;
/// # use pmmds::drift::Profile;
/// # use pmmds::log::{BatchId, EventBatch, InferenceEvent};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::model::Task;
/// # use pmmds::record::Batch;
/// # use pmmds::registry::{ModelName, VersionId};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{Timestamp, Window};
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0]];
/// # let rows = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&rows)?;
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let day = Window::new(noon, noon.saturating_add(Duration::from_secs(86_400)))?;
/// # let log = MemoryLog::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// # let mut batch =
/// #     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
/// # for number in 0..3 {
/// #     let (row, id) = (rows.row(number), Uuid::from_u128(number as u128));
/// #     let prediction = Task::binary().prediction(0.7)?;
/// #     let codes = profile.encode(&row, prediction.score());
/// #     let event = InferenceEvent::new(id, id, noon, prediction, Duration::ZERO, codes)
/// #         .with_features(row.to_json(&schema));
/// #     batch.push(&profile, &row, event);
/// # }
/// use pmmds::log::InferenceLog;
/// let log: &dyn InferenceLog = &log;
/// log.append(&batch).await?;
/// let found = log.counts(&model, VersionId::FIRST, day, &profile).await?;
/// assert_eq!(found.counts, *batch.counts());
/// assert_eq!(log.now().await?, noon);
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

            fn backlog(&self) -> Option<Backlog> {
                (**self).backlog()
            }
        }
    )+};
}

forward!(&L, Box<L>, Arc<L>);

const _: Option<&dyn InferenceLog> = None;
