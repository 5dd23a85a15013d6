//! What the clauses write, and how they read it.

use std::sync::Arc;
use std::time::Duration;

use crate::drift::{Counts, Profile, ProfileOptions};
use crate::log::{
    Appended, BatchId, Cursor, EventBatch, InferenceEvent, InferenceLog, LabelledEvent,
    LoggedEvent, Outcome, Page,
};
use crate::model::Prediction;
use crate::record::{Columns, Row, Value, decode_row};
use crate::registry::{ModelName, VersionId};
use crate::schema::{Feature, FeatureSchema, LevelId};
use crate::validate::Violations;
use crate::{Timestamp, Window};

pub(super) use super::super::{at, id, version};

pub(super) const SECOND: i64 = 1_000_000;

pub(super) fn window(start: i64, end: i64) -> Window {
    Window::new(at(start), at(end)).expect("start before end")
}

pub(super) const YEAR: i64 = 365 * 86_400 * SECOND;

/// Everything that the clauses write, but for refused requests: from 1874 to 2099.
pub(super) fn ever() -> Window {
    window(OLD, 76 * YEAR)
}

/// 1874: what is purged is from before everything else, which is from 1901 on.
pub(super) const OLD: i64 = -150 * YEAR;

pub(super) struct Traffic<'m> {
    pub(super) model: &'m ModelName,
    pub(super) schema: Arc<FeatureSchema>,
    pub(super) profile: Profile,
    // of the same schema, with other edges
    pub(super) other: Profile,
}

impl<'m> Traffic<'m> {
    pub(super) fn new(model: &'m ModelName) -> Self {
        let features = [
            Feature::numeric("x").nullable(),
            Feature::integer("months"),
            Feature::categorical("plan", ["basic", "pro \"é\""]).nullable(),
        ];
        let schema = Arc::new(FeatureSchema::new(features).expect("three features"));
        let percent = |row: u8| f64::from(row) / 100.0;
        let (profile, other) = (fit(&schema, 0.0, percent), fit(&schema, 3.0, percent));
        Self { model, schema, profile, other }
    }

    pub(super) fn row(&self, number: u64) -> Row {
        let mut row = Row::missing(&self.schema);
        let small =
            |modulus: u64| f64::from(u32::try_from(number % modulus).expect("a small modulus"));
        if !number.is_multiple_of(11) {
            set(&self.schema, &mut row, 0, Value::Number(small(23) / 1.5 - 1.0));
        }
        set(&self.schema, &mut row, 1, Value::Number(small(30)));
        let plan = match number % 7 {
            0 => Value::Missing,
            1 => Value::Level(LevelId::OTHER),
            other => level(usize::from(other % 2 == 0)),
        };
        set(&self.schema, &mut row, 2, plan);
        row
    }

    pub(super) fn event(
        &self,
        profile: &Profile,
        row: &Row,
        number: u64,
        at: Timestamp,
    ) -> InferenceEvent {
        let score = match number % 5 {
            0 => 0.0,
            1 => 1.0,
            2 => 5e-324,
            3 => 1.0_f64.next_down(),
            _ => 0.1 + 0.2,
        };
        let prediction = Prediction::from_stored(score, Some(u8::from(number.is_multiple_of(3))));
        InferenceEvent::new(
            id(self.model, "event", number),
            id(self.model, "request", number),
            at,
            prediction.expect("a probability"),
            Duration::from_micros(number * 17),
            profile.encode(row, score),
        )
    }

    pub(super) fn empty(&self, number: u64) -> EventBatch {
        let id = BatchId(id(self.model, "batch", number));
        EventBatch::new(id, self.model.clone(), VersionId::FIRST, &self.profile)
    }

    /// Batch `number` of the first version with the events `(number, moment)`.
    pub(super) fn batch(
        &self,
        number: u64,
        events: impl IntoIterator<Item = (u64, i64)>,
    ) -> EventBatch {
        let mut batch = self.empty(number);
        for (number, micros) in events {
            let row = self.row(number);
            batch.push(&self.profile, &row, self.event(&self.profile, &row, number, at(micros)));
        }
        batch
    }

    /// The same with raw features.
    pub(super) fn batch_with_features(
        &self,
        number: u64,
        events: impl IntoIterator<Item = (u64, u64, i64)>,
    ) -> EventBatch {
        let mut batch = self.empty(number);
        for (number, request, micros) in events {
            let row = self.row(number);
            let mut event = self.event(&self.profile, &row, number, at(micros));
            event.request_id = id(self.model, "request", request);
            batch.push(&self.profile, &row, event.with_features(row.to_json(&self.schema)));
        }
        batch
    }

    /// A request that was refused for two reasons.
    pub(super) fn refuse(&self, batch: &mut EventBatch) {
        let mut violations = Violations::new();
        let json = r#"{"x": 1, "plan": "gold 'é'"}"#;
        let _ = decode_row(&self.schema, json.as_bytes(), &mut violations);
        assert!(!violations.is_valid(), "an unlisted plan and no months");
        batch.push_rejected(&self.schema, &violations);
    }
}

/// The profile of 100 rows, of which row `i` has the score `score(i)`.
pub(super) fn fit(schema: &Arc<FeatureSchema>, shift: f64, score: impl Fn(u8) -> f64) -> Profile {
    let mut columns = Columns::new(Arc::clone(schema));
    let mut scores = Vec::new();
    for i in 0..100_u8 {
        let mut row = Row::missing(schema);
        set(schema, &mut row, 0, Value::Number(f64::from(i) / 7.0 + shift));
        set(schema, &mut row, 1, Value::Number(f64::from(i % 24)));
        set(schema, &mut row, 2, level(usize::from(i % 2)));
        columns.push(&row);
        scores.push(score(i));
    }
    ProfileOptions::new().scores(&scores).fit(&columns.batch()).expect("a profile")
}

pub(super) fn set(schema: &FeatureSchema, row: &mut Row, feature: usize, value: Value) {
    let feature = schema.ids().nth(feature).expect("three features");
    row.set(feature, value);
}

pub(super) fn level(index: usize) -> Value {
    Value::Level(LevelId::new(index).expect("two levels"))
}

pub(super) async fn write(log: &dyn InferenceLog, batch: &EventBatch) {
    assert_eq!(log.append(batch).await.expect("append"), Appended::Written);
}

/// Every page of `window`, `limit` items each.
pub(super) async fn scan(
    log: &dyn InferenceLog,
    model: &ModelName,
    window: Window,
    limit: usize,
) -> Vec<LoggedEvent> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let Page { items, next } = log.scan(model, window, after, limit).await.expect("scan");
        assert!(items.len() <= limit, "{} items on a page of {limit}", items.len());
        assert!(next.is_none() || !items.is_empty(), "an empty page is the last");
        found.extend(items);
        match next {
            None => return found,
            Some(next) => after = Some(next),
        }
    }
}

/// Every page of `window`, `limit` items each.
pub(super) async fn scan_labelled(
    log: &dyn InferenceLog,
    model: &ModelName,
    window: Window,
    limit: usize,
) -> Vec<LabelledEvent> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = log.labelled(model, window, after, limit).await.expect("labelled");
        assert!(page.items.len() <= limit, "{} items on a page of {limit}", page.items.len());
        found.extend(page.items);
        match page.next {
            None => return found,
            Some(next) => after = Some(next),
        }
    }
}

pub(super) fn place(event: &InferenceEvent) -> Cursor {
    Cursor { at: event.at, id: event.id }
}

/// Bit for bit: rows and slots.
#[track_caller]
pub(super) fn same_rows(found: &Counts, expected: &Counts, profile: &Profile, what: &str) {
    assert_eq!(found.profile(), expected.profile(), "profile: {what}");
    assert_eq!(found.rows(), expected.rows(), "rows: {what}");
    for column in 0..profile.columns().count() {
        assert_eq!(found.slots(column), expected.slots(column), "column {column}: {what}");
    }
}

/// Counts exactly, means but for rounding: they depend on the order.
#[track_caller]
pub(super) fn same_summaries(found: &Counts, expected: &Counts, what: &str) {
    assert_eq!(found.summarised(), expected.summarised(), "summarised: {what}");
    assert_eq!(found.rejected_requests(), expected.rejected_requests(), "rejected: {what}");
    assert_eq!(found.rejected(), expected.rejected(), "rejected: {what}");
    for (found, expected) in found.summaries().iter().zip(expected.summaries()) {
        assert_eq!(found.moments.count(), expected.moments.count(), "numbers: {what}");
        assert_eq!(found.below, expected.below, "below: {what}");
        assert_eq!(found.above, expected.above, "above: {what}");
        assert_eq!(found.infinite, expected.infinite, "infinite: {what}");
        assert_eq!(found.unseen, expected.unseen, "unseen: {what}");
        assert_eq!(found.unseen_more, expected.unseen_more, "unseen: {what}");
        let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
            (a, b) => a.is_none() && b.is_none(),
        };
        let (a, b) = (&found.moments, &expected.moments);
        assert!(close(a.mean(), b.mean()), "means {:?} {:?}: {what}", a.mean(), b.mean());
        assert!(close(a.std(), b.std()), "spreads {:?} {:?}: {what}", a.std(), b.std());
    }
}

pub(super) fn outcome(model: &ModelName, request: u64, outcome: f64) -> Outcome {
    Outcome { request_id: id(model, "request", request), outcome, observed_at: None }
}
