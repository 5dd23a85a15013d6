//! Outcomes, labelled events, and what a purge leaves.

use uuid::Uuid;

use super::given::{
    OLD, Traffic, at, ever, id, outcome, place, same_summaries, scan, scan_labelled, version,
    window, write,
};
use crate::ErrorKind;
use crate::log::{
    Appended, BatchId, Cursor, EventBatch, InferenceLog, LabelledEvent, Outcome, OutcomeReceipt,
};
use crate::registry::{ModelName, VersionId};

/// Outcomes are idempotent, the last value holds, and one that is no number spoils the lot.
///
/// # Panics
///
/// When the clause is broken.
pub async fn outcomes(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let receipt = async |outcomes: &[Outcome]| {
        let OutcomeReceipt { recorded, unchanged, corrected } =
            log.record_outcomes(outcomes).await.expect("outcomes");
        (recorded, unchanged, corrected)
    };
    let of = |request, value| outcome(model, request, value);
    assert_eq!(receipt(&[]).await, (0, 0, 0));
    assert_eq!(receipt(&[of(1, 1.0), of(2, 0.0)]).await, (2, 0, 0), "before their event");
    write(log, &traffic.batch_with_features(1, [(1, 1, 10), (2, 2, 20), (3, 3, 30)])).await;
    assert_eq!(receipt(&[of(1, 1.0), of(2, -0.0)]).await, (0, 2, 0), "again");
    assert_eq!(receipt(&[of(2, 1.0), of(3, 0.25)]).await, (1, 0, 1), "corrected, and new");
    assert_eq!(receipt(&[of(4, 0.0), of(4, 0.0), of(4, 1.0)]).await, (1, 1, 1), "in one call");
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = log.record_outcomes(&[of(1, 0.0), of(5, bad)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(receipt(&[of(1, 1.0), of(4, 1.0)]).await, (0, 2, 0), "nothing of the bad lots");

    let found = scan_labelled(log, model, ever(), 100).await;
    let found: Vec<(Uuid, f64)> =
        found.iter().map(|labelled| (labelled.event.request_id, labelled.outcome)).collect();
    let request = |number| id(model, "request", number);
    assert_eq!(found, [(request(1), 1.0), (request(2), 1.0), (request(3), 0.25)]);
}

/// Labelled events have raw features and an outcome, are the first of their request, and come in
/// order. In a log of `unique_requests` there is no other.
///
/// # Panics
///
/// When the clause is broken.
pub async fn labelled(log: &dyn InferenceLog, model: &ModelName, unique_requests: bool) {
    let traffic = Traffic::new(model);
    if !unique_requests {
        // Requests 0 to 9 twice, the later one first to arrive; two on each microsecond.
        write(log, &traffic.batch_with_features(1, (0..10).map(|n| (100 + n, n, 1_000)))).await;
    }
    let moment = |n: u64| i64::try_from(n / 2).expect("small");
    write(log, &traffic.batch_with_features(2, (0..10).map(|n| (n, n, moment(n))))).await;
    // Request 20 has no features at first, request 21 never.
    let without = [(20, 20), (21, 21)];
    write(log, &traffic.batch(3, without.into_iter().skip(usize::from(unique_requests)))).await;
    write(log, &traffic.batch_with_features(4, [(220, 20, 300)])).await;
    // Request 0 again, of another model.
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    let mut foreign = EventBatch::new(
        BatchId(id(model, "batch", 5)),
        stranger.clone(),
        version(3),
        &traffic.profile,
    );
    let row = traffic.row(300);
    let mut event = traffic.event(&traffic.profile, &row, 300, at(-5));
    event.request_id = id(model, "request", 0);
    foreign.push(&traffic.profile, &row, event.with_features("{}".to_owned()));
    write(log, &foreign).await;
    assert_eq!(scan_labelled(log, model, ever(), 10).await, [], "no outcomes yet");

    // All but request 5, and one that nobody asked.
    let known = [0, 1, 2, 3, 4, 6, 7, 8, 9, 20, 21, 77];
    let outcomes = known.map(|n| outcome(model, n, f64::from(u8::try_from(n % 2).expect("0, 1"))));
    log.record_outcomes(&outcomes).await.expect("outcomes");

    let mut expected: Vec<Cursor> = [0, 1, 2, 3, 4, 6, 7, 8, 9]
        .map(|n| Cursor { at: at(moment(n)), id: id(model, "event", n) })
        .to_vec();
    expected.push(Cursor { at: at(300), id: id(model, "event", 220) });
    expected.sort_unstable();
    for limit in [1, 3, 9, 10, 11] {
        let found = scan_labelled(log, model, ever(), limit).await;
        let places: Vec<Cursor> = found.iter().map(|labelled| place(&labelled.event)).collect();
        assert_eq!(places, expected, "pages of {limit}");
        for LabelledEvent { event, version, outcome } in found {
            assert_eq!(version, VersionId::FIRST);
            let request = known.into_iter().find(|n| id(model, "request", *n) == event.request_id);
            let request = request.expect("one of those with an outcome");
            let number = if request == 20 { 220 } else { request };
            assert_eq!(event.features, Some(traffic.row(number).to_json(&traffic.schema)));
            let odd = outcome > 0.5;
            assert_eq!(odd, request % 2 == 1, "outcome {outcome} of {event:?}");
        }
    }
    // A request is in one of two adjacent windows: that of its first event.
    assert_eq!(scan_labelled(log, model, window(0, 3), 2).await.len(), 5);
    assert_eq!(scan_labelled(log, model, window(3, 2_000), 2).await.len(), 5);
    assert_eq!(scan_labelled(log, model, window(1_000, 2_000), 2).await, []);
    let found = scan_labelled(log, &stranger, ever(), 10).await;
    assert_eq!(found.len(), 1, "the other model has its own first event");
    assert_eq!(found[0].version, version(3));
}

/// What is purged is gone, raw features and summaries with it; the rest stays, and a purged batch
/// that is sent again is still known.
///
/// # Panics
///
/// When the clause is broken.
pub async fn purge(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let mut old = traffic.batch_with_features(1, [(1, 1, OLD), (2, 2, OLD + 9)]);
    traffic.refuse(&mut old);
    let across = traffic.batch_with_features(2, [(3, 3, OLD + 5), (4, 4, OLD + 10)]);
    let young = traffic.batch_with_features(3, [(5, 5, OLD + 10), (6, 6, OLD + 20)]);
    for batch in [&old, &across, &young] {
        write(log, batch).await;
    }
    let observed = |request, micros| Outcome {
        observed_at: Some(at(OLD + micros)),
        ..outcome(model, request, 1.0)
    };
    let outcomes = [observed(1, 3), observed(4, 9), observed(5, 10), observed(6, 30)];
    log.record_outcomes(&outcomes).await.expect("outcomes");

    let purged = log.purge(at(OLD + 10)).await.expect("purge");
    assert_eq!((purged.events, purged.outcomes), (3, 2));
    let ids: Vec<Uuid> = scan(log, model, ever(), 100).await.iter().map(|l| l.event.id).collect();
    let mut expected = [4, 5, 6].map(|number| id(model, "event", number));
    expected[..2].sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!(scan_labelled(log, model, ever(), 100).await.len(), 2);

    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(found.counts.rows(), 3);
    same_summaries(&found.counts, young.counts(), "of the batch that is still whole");
    for batch in [&old, &across, &young] {
        assert_eq!(log.append(batch).await.unwrap(), Appended::AlreadyThere);
    }
    let again = log.purge(at(OLD + 10)).await.expect("purge");
    assert_eq!((again.events, again.outcomes), (0, 0));
    assert_eq!(scan(log, model, ever(), 100).await.len(), 3);
}
