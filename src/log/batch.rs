//! Events that are written together.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::InferenceEvent;
use crate::drift::{Counts, NotComparable, Profile};
use crate::record::Row;
use crate::registry::{ModelName, VersionId};
use crate::schema::{FeatureSchema, Fingerprint};
use crate::validate::Violations;

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
    pub(super) id: BatchId,
    pub(super) model: ModelName,
    pub(super) version: VersionId,
    pub(super) events: Vec<InferenceEvent>,
    // of exactly `events`, and of the requests that were refused beside them
    pub(super) counts: Counts,
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
