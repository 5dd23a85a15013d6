//! Batches that follow from their number, for tests of a store beyond its contract: crashes, damage,
//! several processes.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::drift::{Profile, ProfileOptions};
use crate::log::{BatchId, CorrelationId, EventBatch, InferenceEvent, InferenceLog, LoggedEvent};
use crate::model::Task;
use crate::record::{Columns, Row, Value};
use crate::registry::{ModelName, VersionId};
use crate::schema::{Feature, FeatureSchema};
use crate::{Timestamp, Window};

/// Traffic of one model: batches whose ids and events follow from their number.
///
/// ```
/// use pmmds::conformance::traffic::Traffic;
/// use pmmds::log::InferenceLog;
/// use pmmds::memory::MemoryLog;
/// use pmmds::Timestamp;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), pmmds::Error> {
/// let (traffic, log) = (Traffic::new(), MemoryLog::with_clock(|| Timestamp::EPOCH));
/// log.append(&traffic.batch(1, 30)).await?;
/// log.append(&traffic.batch(1, 30)).await?; // the same one again
/// assert_eq!(traffic.rows(&log).await, 30);
/// assert_eq!(traffic.events(&log).await.len(), 30);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Traffic {
    /// one number
    pub schema: Arc<FeatureSchema>,
    /// of that number and of a score
    pub profile: Profile,
    /// `churn`
    pub model: ModelName,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::new()
    }
}

impl Traffic {
    /// Traffic of `churn`.
    #[must_use]
    pub fn new() -> Self {
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")]).expect("one feature"));
        let mut columns = Columns::new(Arc::clone(&schema));
        (0..50).for_each(|number| columns.push(&row(&schema, number)));
        let scores: Vec<f64> = (0..50).map(|n| f64::from(n) / 50.0).collect();
        let profile = ProfileOptions::new().scores(&scores).fit(&columns.batch());
        Self {
            schema,
            profile: profile.expect("a profile"),
            model: "churn".parse().expect("a name"),
        }
    }

    /// Batch `number` with `size` events, each with raw features, a millisecond apart, from `number`
    /// seconds after 1970.
    #[must_use]
    pub fn batch(&self, number: u64, size: u64) -> EventBatch {
        self.batch_from(number, size, Timestamp::EPOCH.saturating_add(Duration::from_secs(number)))
    }

    /// The same batch, from `start`.
    #[must_use]
    pub fn batch_from(&self, number: u64, size: u64, start: Timestamp) -> EventBatch {
        self.events_of(number, size, start, (Task::binary(), 0.25), None)
    }

    /// The same batch, each event with the score `score` of a model for `task`.
    ///
    /// ```
    /// # use pmmds::conformance::traffic::Traffic;
    /// use pmmds::model::Task;
    /// let batch = Traffic::new().predicting(1, 3, Task::Regression, -12.5);
    /// assert_eq!(batch.events()[2].prediction.label(), None);
    /// ```
    ///
    /// # Panics
    ///
    /// When a model for `task` cannot have that score.
    #[must_use]
    pub fn predicting(&self, number: u64, size: u64, task: Task, score: f64) -> EventBatch {
        let start = Timestamp::EPOCH.saturating_add(Duration::from_secs(number));
        self.events_of(number, size, start, (task, score), None)
    }

    /// The same batch, of a caller that calls its request `name`.
    ///
    /// ```
    /// # use pmmds::conformance::traffic::Traffic;
    /// let name = "checkout-7".parse()?;
    /// let batch = Traffic::new().called(1, 3, &name);
    /// assert_eq!(batch.events()[2].correlation_id, Some(name));
    /// # Ok::<(), pmmds::log::InvalidCorrelationId>(())
    /// ```
    #[must_use]
    pub fn called(&self, number: u64, size: u64, name: &CorrelationId) -> EventBatch {
        let start = Timestamp::EPOCH.saturating_add(Duration::from_secs(number));
        self.events_of(number, size, start, (Task::binary(), 0.25), Some(name))
    }

    fn events_of(
        &self,
        number: u64,
        size: u64,
        start: Timestamp,
        (task, score): (Task, f64),
        name: Option<&CorrelationId>,
    ) -> EventBatch {
        let id = BatchId(Uuid::from_u128(u128::from(number)));
        let mut batch = EventBatch::new(id, self.model.clone(), VersionId::FIRST, &self.profile);
        for event in 0..size {
            let row = row(&self.schema, event);
            let prediction = task.prediction(score).expect("a score of the task");
            let codes = self.profile.encode(&row, prediction.score());
            let id = Uuid::from_u128(u128::from(number) << 64 | u128::from(event));
            let at = start.saturating_add(Duration::from_millis(event));
            let mut event = InferenceEvent::new(id, id, at, prediction, Duration::ZERO, codes);
            event.correlation_id = name.cloned();
            batch.push(&self.profile, &row, event.with_features(row.to_json(&self.schema)));
        }
        batch
    }

    /// Rows of all batches.
    ///
    /// # Panics
    ///
    /// When they cannot be counted.
    pub async fn rows(&self, store: &dyn InferenceLog) -> u64 {
        let found = store.counts(&self.model, VersionId::FIRST, ever(), &self.profile).await;
        found.unwrap_or_else(|e| panic!("{}", e.chain())).counts.rows()
    }

    /// All events.
    ///
    /// # Panics
    ///
    /// When they cannot be read.
    pub async fn events(&self, store: &dyn InferenceLog) -> Vec<LoggedEvent> {
        let page = store.scan(&self.model, ever(), None, usize::MAX).await;
        page.unwrap_or_else(|e| panic!("{}", e.chain())).items
    }
}

fn row(schema: &FeatureSchema, number: u64) -> Row {
    let mut row = Row::missing(schema);
    let x = f64::from(u32::try_from(number % 37).expect("a small number"));
    row.set(schema.id("x").expect("the feature"), Value::Number(x / 3.0));
    row
}

/// The year 1970 and after, to 2096.
///
/// ```
/// assert!(pmmds::conformance::traffic::ever().contains(pmmds::Timestamp::EPOCH));
/// ```
#[must_use]
pub fn ever() -> Window {
    let end = Timestamp::EPOCH.saturating_add(Duration::from_secs(4_000_000_000));
    Window::new(Timestamp::EPOCH, end).expect("start before end")
}
