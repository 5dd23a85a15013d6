//! Batches that follow from their number.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::drift::{Profile, ProfileOptions};
use crate::log::{BatchId, EventBatch, InferenceEvent, InferenceLog, LoggedEvent};
use crate::model::Task;
use crate::record::{Columns, Row, Value};
use crate::registry::{ModelName, VersionId};
use crate::schema::{Feature, FeatureSchema};
use crate::{Timestamp, Window};

pub(super) struct Traffic {
    pub(super) schema: Arc<FeatureSchema>,
    pub(super) profile: Profile,
    pub(super) model: ModelName,
}

impl Traffic {
    pub(super) fn new() -> Self {
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")]).unwrap());
        let mut columns = Columns::new(Arc::clone(&schema));
        (0..50).for_each(|number| columns.push(&row(&schema, number)));
        let scores: Vec<f64> = (0..50).map(|n| f64::from(n) / 50.0).collect();
        let profile = ProfileOptions::new().scores(&scores).fit(&columns.batch()).unwrap();
        Self { schema, profile, model: "churn".parse().unwrap() }
    }

    /// Batch `number` with `size` events, each with raw features, a millisecond apart.
    pub(super) fn batch(&self, number: u64, size: u64) -> EventBatch {
        self.predicting(number, size, Task::binary(), 0.25)
    }

    /// The same, each with the score `score` of a model for `task`.
    pub(super) fn predicting(&self, number: u64, size: u64, task: Task, score: f64) -> EventBatch {
        let id = BatchId(Uuid::from_u128(u128::from(number)));
        let mut batch = EventBatch::new(id, self.model.clone(), VersionId::FIRST, &self.profile);
        for event in 0..size {
            let row = row(&self.schema, event);
            let prediction = task.prediction(score).unwrap();
            let codes = self.profile.encode(&row, prediction.score());
            let id = Uuid::from_u128(u128::from(number) << 64 | u128::from(event));
            let at = Timestamp::EPOCH
                .saturating_add(Duration::from_secs(number))
                .saturating_add(Duration::from_millis(event));
            let event = InferenceEvent::new(id, id, at, prediction, Duration::ZERO, codes);
            batch.push(&self.profile, &row, event.with_features(row.to_json(&self.schema)));
        }
        batch
    }

    /// Rows of all batches.
    pub(super) async fn rows(&self, store: &impl InferenceLog) -> u64 {
        let found = store.counts(&self.model, VersionId::FIRST, ever(), &self.profile).await;
        found.unwrap().counts.rows()
    }

    /// All events.
    pub(super) async fn events(&self, store: &impl InferenceLog) -> Vec<LoggedEvent> {
        store.scan(&self.model, ever(), None, usize::MAX).await.unwrap().items
    }
}

fn row(schema: &FeatureSchema, number: u64) -> Row {
    let mut row = Row::missing(schema);
    let x = f64::from(u32::try_from(number % 37).unwrap());
    row.set(schema.id("x").unwrap(), Value::Number(x / 3.0));
    row
}

/// The year 1970 and after.
pub(super) fn ever() -> Window {
    let end = Timestamp::EPOCH.saturating_add(Duration::from_secs(4_000_000_000));
    Window::new(Timestamp::EPOCH, end).unwrap()
}
