//! Events as they come back, page by page.

use std::time::Duration;

use uuid::Uuid;

use super::given::{
    SECOND, Traffic, YEAR, at, ever, fit, id, outcome, place, scan, scan_labelled, set, window,
    write,
};
use crate::ErrorKind;
use crate::log::{
    BatchId, Cursor, EventBatch, InferenceEvent, InferenceLog, MAX_CORRELATION_BYTES,
};
use crate::model::Task;
use crate::record::Value;
use crate::registry::{ModelName, VersionId};

/// Events come back as they were given, every bit of them.
///
/// # Panics
///
/// When the clause is broken.
pub async fn round_trip(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let mut batch = traffic.empty(1);
    let texts = [
        r#"{"plan":"it's \"quoted\"; DROP TABLE prediction_logs;--"}"#.to_owned(),
        r#"{"plan":"\u0000\u001b[31m\r\n"}"#.to_owned(),
        "{\"plan\":\"\u{202e}\u{1f600} é e\u{301} %s ?1 :name $1 @x\"}".to_owned(),
        format!("{{\"plan\":\"{}\"}}", "long ".repeat(20_000)),
        r#"{"x":5e-324,"months":1.7976931348623157e308}"#.to_owned(),
        "{}".to_owned(),
    ];
    let times = [at(-123 * YEAR), at(-1), at(0), at(1), at(SECOND), at(75 * YEAR)];
    let long = "Aa0._-zZ".repeat(MAX_CORRELATION_BYTES / 8);
    let names = [Some("-".to_owned()), None, Some(long), Some("a.1_b-2".to_owned()), None, None];
    let latencies = [0, 1, 999, 1_000_000, 86_400_000_000, i64::MAX.unsigned_abs()];
    for (number, at) in times.iter().enumerate() {
        let row = traffic.row(number as u64);
        let mut event = traffic.event(&traffic.profile, &row, number as u64, *at);
        event.latency = Duration::from_micros(latencies[number]);
        if number % 2 == 0 {
            event.request_id = event.id;
        }
        if number > 0 {
            event = event.with_features(texts[number - 1].clone());
        }
        event.correlation_id = names[number].as_deref().map(|name| name.parse().expect("plain"));
        batch.push(&traffic.profile, &row, event);
    }
    write(log, &batch).await;
    let found = scan(log, model, ever(), 4).await;
    assert_eq!(found.len(), batch.events().len());
    for (logged, event) in found.iter().zip(batch.events()) {
        assert_eq!(&logged.event, event);
        let bits = |event: &InferenceEvent| event.prediction.score().to_bits();
        assert_eq!(bits(&logged.event), bits(event));
        assert_eq!((logged.version, logged.profile), (VersionId::FIRST, batch.profile()));
    }
}

/// The largest and smallest numbers harm no summary: what was written can be counted.
///
/// # Panics
///
/// When the clause is broken.
pub async fn extreme_numbers(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let numbers = [f64::MAX, -f64::MAX, 5e-324, -0.0, 1e200, f64::INFINITY, f64::NAN];
    let mut batch = traffic.empty(1);
    for (number, x) in (0..).zip(numbers) {
        let mut row = traffic.row(number);
        set(&traffic.schema, &mut row, 0, Value::Number(x));
        batch.push(&traffic.profile, &row, traffic.event(&traffic.profile, &row, number, at(1)));
    }
    write(log, &batch).await;
    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(&found.counts, batch.counts());
}

/// Predictions without a label come back without one, whatever number they are, and so do their
/// outcomes; beside them, predictions with a label keep theirs.
///
/// # Panics
///
/// When the clause is broken.
pub async fn regressions(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    // The profile of a model that predicts amounts: its scores are no probabilities.
    let profile = fit(&traffic.schema, 0.0, |row| 120.0 * (f64::from(row) - 20.0));
    let numbers = [
        -2_400.0,
        9_380.0,
        0.0,
        1.0,
        0.1 + 0.2,
        -5e-324,
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_992.0,
        -1e-7,
    ];
    let mut batch =
        EventBatch::new(BatchId(id(model, "batch", 1)), model.clone(), VersionId::FIRST, &profile);
    let mut outcomes = Vec::new();
    for (number, score) in (0..).zip(numbers) {
        let row = traffic.row(number);
        let prediction = Task::Regression.prediction(score).expect("a finite number");
        let event = InferenceEvent { prediction, ..traffic.event(&profile, &row, number, at(10)) };
        let event = InferenceEvent { codes: profile.encode(&row, score), ..event };
        batch.push(&profile, &row, event.with_features(row.to_json(&traffic.schema)));
        outcomes.push(outcome(model, number, -score));
    }
    write(log, &batch).await;
    write(log, &traffic.batch(2, [(20, 20), (21, 21)])).await;
    log.record_outcomes(&outcomes).await.expect("any finite number");

    let found = scan(log, model, window(0, 15), 4).await;
    let mut expected: Vec<&InferenceEvent> = batch.events().iter().collect();
    expected.sort_unstable_by_key(|event| place(event));
    assert_eq!(found.len(), expected.len());
    for (logged, expected) in found.iter().zip(expected) {
        assert_eq!(&logged.event, expected);
        let bits = |event: &InferenceEvent| event.prediction.score().to_bits();
        assert_eq!(bits(&logged.event), bits(expected));
    }
    let labels: Vec<bool> = scan(log, model, window(15, 30), 4)
        .await
        .iter()
        .map(|logged| logged.event.prediction.label().is_some())
        .collect();
    assert_eq!(labels, [true, true]);
    for labelled in scan_labelled(log, model, ever(), 3).await {
        let expected = -labelled.event.prediction.score() + 0.0;
        let found = labelled.outcome + 0.0;
        assert_eq!(found.to_bits(), expected.to_bits(), "outcome {found}, not {expected}");
    }
    assert_eq!(scan_labelled(log, model, ever(), 100).await.len(), numbers.len());
    let counts = log.counts(model, VersionId::FIRST, ever(), &profile).await.unwrap();
    assert_eq!(counts.foreign_rows, 2);
    assert_eq!(&counts.counts, batch.counts());
}

/// Pages of any size hold every event once, in the order of time and id.
///
/// # Panics
///
/// When the clause is broken.
pub async fn pages(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    // Written out of order, five on each microsecond.
    for number in [2, 0, 1] {
        let events = (0..10).map(|n| (10 * number + n, i64::try_from((7 * n) % 2).expect("small")));
        write(log, &traffic.batch(number, events)).await;
    }
    let mut expected: Vec<Cursor> = Vec::new();
    for number in 0..30 {
        let moment = at(i64::try_from((7 * (number % 10)) % 2).expect("small"));
        expected.push(Cursor { at: moment, id: id(model, "event", number) });
    }
    expected.sort_unstable();
    for limit in [1, 2, 7, 29, 30, 31] {
        let found = scan(log, model, ever(), limit).await;
        let found: Vec<Cursor> = found.iter().map(|logged| place(&logged.event)).collect();
        assert_eq!(found, expected, "pages of {limit}");
    }
    let page = log.scan(model, ever(), None, 30).await.expect("scan");
    assert_eq!(page.next, None, "no page after the last item");
    for limit in [0, 0] {
        let error = log.scan(model, ever(), None, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a page of 0: {error}");
        let error = log.labelled(model, ever(), None, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a page of 0: {error}");
    }

    // The window holds, wherever the cursor is.
    let second = window(1, 2);
    assert_eq!(scan(log, model, second, 4).await.len(), 15);
    let count = async |after: Cursor| {
        log.scan(model, second, Some(after), 100).await.expect("scan").items.len()
    };
    assert_eq!(count(expected[0]).await, 15, "a cursor before the window");
    assert_eq!(count(expected[15]).await, 14, "a cursor on the first item");
    assert_eq!(count(expected[29]).await, 0, "a cursor on the last item");
    assert_eq!(count(Cursor { at: at(9), id: Uuid::nil() }).await, 0, "a cursor behind the window");
    assert_eq!(count(Cursor { at: at(1), id: Uuid::max() }).await, 0, "behind every id");
    let gone = Cursor { at: at(1), id: Uuid::nil() };
    assert_eq!(count(gone).await, 15, "a cursor on an item that is not there");
}
