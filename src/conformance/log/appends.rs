//! Batches: whole, once, whoever races and whatever breaks.

use std::pin::pin;
use std::task::Poll;

use uuid::Uuid;

use super::super::join_all;
use super::given::{SECOND, Traffic, at, ever, id, same_rows, scan, window, write};
use crate::ErrorKind;
use crate::drift::Counts;
use crate::log::{Appended, BatchId, EventBatch, InferenceEvent, InferenceLog};
use crate::registry::{ModelName, VersionId};

/// A batch is written once, whatever comes under its id later; an empty one is refused.
///
/// # Panics
///
/// When the clause is broken.
pub async fn once(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let error = log.append(&traffic.empty(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "an empty batch: {error}");

    let batch = traffic.batch(1, [(1, 10), (2, 20), (3, 30)]);
    write(log, &batch).await;
    assert_eq!(log.append(&batch).await.unwrap(), Appended::AlreadyThere);
    let others = traffic.batch(1, [(4, 40), (5, 50)]);
    assert_eq!(log.append(&others).await.unwrap(), Appended::AlreadyThere);

    let mut refused = traffic.empty(2);
    traffic.refuse(&mut refused);
    write(log, &refused).await;
    assert_eq!(log.append(&refused).await.unwrap(), Appended::AlreadyThere);

    let events: Vec<InferenceEvent> =
        scan(log, model, ever(), 100).await.into_iter().map(|logged| logged.event).collect();
    assert_eq!(events, batch.events());
}

/// Of callers who send one batch at the same time, one writes it.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_appends(log: &dyn InferenceLog, model: &ModelName, racers: usize) {
    let traffic = Traffic::new(model);
    for round in 0..4 {
        let batch = traffic.batch(round, (0..20).map(|i| (100 * round + i, SECOND)));
        let answers = join_all((0..racers).map(|_| log.append(&batch))).await;
        let written = answers.iter().filter(|answer| matches!(answer, Ok(Appended::Written)));
        assert_eq!(written.count(), 1, "{answers:?}");
        for answer in &answers {
            assert!(answer.is_ok(), "a racer was answered {answer:?}");
        }
    }
    let rows = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(rows.counts.rows(), 80);
}

/// A batch that a store refuses leaves nothing behind, and one that it takes is there in full. A
/// `deferred` log leaves out the events alone that its store refuses.
///
/// # Panics
///
/// When the clause is broken.
pub async fn whole_or_not_at_all(log: &dyn InferenceLog, model: &ModelName, deferred: bool) {
    let traffic = Traffic::new(model);
    write(log, &traffic.batch(1, [(7, 70)])).await;
    // The last event is there already, under another batch.
    let batch = traffic.batch(2, [(1, 10), (2, 20), (7, 70)]);
    let (rows, summarised) = match log.append(&batch).await {
        Ok(Appended::WithoutDuplicates { duplicates: 1 }) => (3, 1),
        Ok(appended) => {
            assert_eq!(appended, Appended::Written);
            if deferred { (3, 1) } else { (4, 4) }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            let again = log.append(&batch).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Conflict, "the same question, the same answer");
            (1, 1)
        }
    };
    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!((found.counts.rows(), found.counts.summarised()), (rows, summarised));
    let mut one = traffic.batch(3, [(8, 80)]);
    traffic.refuse(&mut one);
    write(log, &one).await;
}

/// An append that is dropped half way, at whatever point, leaves all or nothing, and the log in
/// working order: sending the same batch again settles it.
///
/// # Panics
///
/// When the clause is broken.
pub async fn dropped_appends(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    for polls in 1..=40 {
        let first = 1_000 * polls;
        let batch = traffic.batch(polls, (first..first + 3).map(|n| (n, SECOND)));
        let mut left = polls;
        let mut append = Box::pin(log.append(&batch));
        let answer = std::future::poll_fn(|context| {
            left -= 1;
            match pin!(&mut append).poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop(append);
        let again = log.append(&batch).await.expect("the log still works");
        if let Some(answer) = answer {
            assert_eq!(answer.expect("append"), Appended::Written);
            assert_eq!(again, Appended::AlreadyThere);
        }
        let rows = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
        assert_eq!(rows.counts.rows(), 3 * polls, "dropped after {polls} polls");
    }
}

/// Thousands of events in one batch are one batch.
///
/// # Panics
///
/// When the clause is broken.
pub async fn large_batch(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let batch = traffic.batch(1, (0..5_003).map(|n| (n, i64::try_from(n / 3).expect("small"))));
    write(log, &batch).await;
    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(&found.counts, batch.counts());
    assert_eq!(scan(log, model, ever(), 1_000).await.len(), 5_003);
    let page = log.scan(model, ever(), None, usize::MAX).await.expect("one page");
    assert_eq!((page.items.len(), page.next), (5_003, None));
}

/// Where one event per request is kept: those of requests that are there are left out, the others of
/// their batch are written and counted, and the batch is known.
///
/// # Panics
///
/// When the clause is broken.
pub async fn unique_requests(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let first = traffic.batch_with_features(1, [(1, 1, 1), (2, 2, 2), (3, 3, 3)]);
    write(log, &first).await;
    let mut second = traffic.batch_with_features(2, [(12, 2, 4), (4, 4, 5), (14, 4, 6), (5, 5, 7)]);
    traffic.refuse(&mut second);
    let third = traffic.batch(3, [(5, 8), (1, 9)]);
    for (batch, duplicates) in [(&second, 2), (&third, 2)] {
        let appended = log.append(batch).await.expect("append");
        assert_eq!(appended, Appended::WithoutDuplicates { duplicates });
        assert_eq!(log.append(batch).await.expect("append"), Appended::AlreadyThere);
    }
    let found = scan(log, model, ever(), 9).await;
    let mut scanned = Counts::empty(&traffic.profile);
    found.iter().for_each(|logged| scanned.observe_codes(&logged.event.codes));
    let ids: Vec<Uuid> = found.iter().map(|logged| logged.event.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(|number| id(model, "event", number)));
    for window in [ever(), window(1, 100)] {
        let found = log.counts(model, VersionId::FIRST, window, &traffic.profile).await.unwrap();
        same_rows(&found.counts, &scanned, &traffic.profile, "of what was written");
        assert_eq!(found.counts.summarised(), 3, "of the batch that is whole");
        assert_eq!(found.counts.rejected_requests(), 1);
    }
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    let mut foreign = EventBatch::new(
        BatchId(id(model, "batch", 4)),
        stranger,
        VersionId::FIRST,
        &traffic.profile,
    );
    let row = traffic.row(6);
    let mut event = traffic.event(&traffic.profile, &row, 6, at(1));
    event.request_id = id(model, "request", 1);
    foreign.push(&traffic.profile, &row, event);
    write(log, &foreign).await;

    // Of several at once each request is written by one.
    let racing: Vec<EventBatch> = (0..8_u64)
        .map(|n| traffic.batch_with_features(10 + n, (20..40).map(|r| (100 * (n + 1) + r, r, 50))))
        .collect();
    let mut left_out = 0;
    for appended in join_all(racing.iter().map(|batch| log.append(batch))).await {
        left_out += match appended.expect("append") {
            Appended::WithoutDuplicates { duplicates } => duplicates,
            Appended::Written => 0,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(left_out, 7 * 20);
    assert_eq!(scan(log, model, window(50, 51), 99).await.len(), 20);
}
