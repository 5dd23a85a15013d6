//! Batches of events as a service makes them.

use std::sync::Arc;
use std::time::Duration;

use pmmds::Timestamp;
use pmmds::drift::{Profile, ProfileOptions};
use pmmds::log::{BatchId, EventBatch, InferenceEvent};
use pmmds::model::Task;
use pmmds::record::{Columns, Row, Value};
use pmmds::registry::{ModelName, VersionId};
use pmmds::schema::{Feature, FeatureSchema, LevelId};
use uuid::Uuid;

/// 2024-05-01T00:00:00Z.
const START: i64 = 1_714_521_600_000_000;

/// Rows shaped like Telco's: 3 numbers, 16 categories.
pub(crate) struct Traffic {
    pub(crate) schema: Arc<FeatureSchema>,
    pub(crate) profile: Profile,
    pub(crate) model: ModelName,
    batches: u128,
    // of the first event, and from one to the next: microseconds
    pub(crate) start: i64,
    pub(crate) step: i64,
    pub(crate) events: u64,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        let numbers = (0..3).map(|n| Feature::numeric(format!("number_{n}")));
        let levels = (0..16).map(|n| Feature::categorical(format!("level_{n}"), ["a", "b", "c"]));
        let schema = Arc::new(FeatureSchema::new(numbers.chain(levels)).expect("19 features"));
        let mut columns = Columns::new(Arc::clone(&schema));
        (0..1_000).for_each(|number| columns.push(&row(&schema, number)));
        let scores: Vec<f64> = (0..1_000).map(score).collect();
        let profile = ProfileOptions::new().scores(&scores).fit(&columns.batch());
        let model = ModelName::new("churn").expect("a model name");
        Self {
            schema,
            profile: profile.expect("a profile"),
            model,
            batches: 0,
            events: 0,
            start: START,
            step: 1_000,
        }
    }

    pub(crate) fn batch(&mut self, size: u64) -> EventBatch {
        self.batches += 1;
        let id = BatchId(Uuid::from_u128(self.batches << 64));
        let mut batch = EventBatch::new(id, self.model.clone(), VersionId::FIRST, &self.profile);
        for _ in 0..size {
            self.events += 1;
            let number = self.events;
            let row = row(&self.schema, number);
            let prediction = Task::binary().prediction(score(number)).expect("a probability");
            let codes = self.profile.encode(&row, prediction.score());
            // In the order of time, as UUIDv7 are.
            let id = Uuid::from_u128(u128::from(number) << 40 | 0x9e37_79b9);
            let micros = self.start + i64::try_from(number).expect("a small number") * self.step;
            let at = Timestamp::from_micros(micros).expect("a year of four digits");
            let latency = Duration::from_micros(80);
            let event = InferenceEvent::new(id, id, at, prediction, latency, codes);
            batch.push(&self.profile, &row, event);
        }
        batch
    }
}

fn small(number: u64, modulus: u64) -> f64 {
    f64::from(u32::try_from(number % modulus).expect("a small modulus"))
}

fn score(number: u64) -> f64 {
    small(number * 7_919, 1_000) / 1_000.0
}

fn row(schema: &FeatureSchema, number: u64) -> Row {
    let mut row = Row::missing(schema);
    for (column, id) in (0..).zip(schema.ids()) {
        let mixed = number.wrapping_mul(6_364_136_223_846_793_005).rotate_left(column) >> 20;
        row.set(
            id,
            match column {
                0..3 => Value::Number(small(mixed, 7_000) / 13.0),
                _ => Value::Level(LevelId::new(usize::from(mixed % 3 == 0)).expect("two levels")),
            },
        );
    }
    row
}
