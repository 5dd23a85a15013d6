//! From answers to the log: once, or not answered.

use std::sync::Arc;
use std::time::Duration;

use pmmds::axum::{Durability, LogAccount};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    FOR_EVER, LogMode, Server, body, body_with, patient, quick, read, serve, until,
};

fn balanced(account: LogAccount) -> bool {
    account.accepted == account.written + account.queued + account.rejected + account.lost
}

async fn many(server: &Server, n: usize) -> Vec<(u16, Value)> {
    let all: Vec<_> = (0..n)
        .map(|i| {
            let body = body_with("tenure", json!(i % 100));
            let sent = server.client.post(server.url("/api/v1/predict")).json(&body);
            tokio::spawn(async move { read(sent.send().await.unwrap()).await })
        })
        .collect();
    let mut answers = Vec::new();
    for one in all {
        answers.push(one.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn an_answer_waits_for_its_commit_and_shares_it() {
    let server = serve(|b| b).await;
    server.log.set(LogMode::Held);
    let all_are_there = async {
        until("all are there", || server.service.log_account().accepted == 100).await;
        assert!(server.log.events().is_empty());
        server.log.set(LogMode::Up);
    };
    let (answers, ()) = tokio::join!(many(&server, 100), all_are_there);
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let (batches, events) = (server.log.batches(), server.log.events());
    assert_eq!(events.len(), 100);
    assert!(batches.len() <= 3, "{} batches for 100 requests at once", batches.len());
    let account = server.service.log_account();
    assert!(balanced(account) && account.written == 100, "{account:?}");
    let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn one_after_the_other_waits_for_no_company() {
    let server = serve(|b| b.limits(patient().linger(FOR_EVER))).await;
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(server.predict(&body()).await.0, 200);
    }
    assert!(began.elapsed() < FOR_EVER, "{:?}", began.elapsed());
}

#[tokio::test]
async fn queued_answers_are_gathered_by_time_and_by_number() {
    let linger = Duration::from_secs(3);
    let limits = patient().linger(linger).batch_rows(10);
    let server = serve(|b| b.durability(Durability::Queued).limits(limits)).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    let log = Arc::clone(&server.log);
    until("the first is written at once", || log.events().len() == 1).await;
    let began = std::time::Instant::now();
    assert_eq!(server.predict(&body()).await.0, 200);
    let waits = server.log.events().len() == 1;
    assert!(waits || began.elapsed() >= linger, "the second waits for company");
    until("its time has come", || log.events().len() == 2).await;
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    many(&server, 25).await;
    until("all are written", || log.events().len() == 27).await;
    assert!(log.batches().iter().all(|batch| batch.events().len() <= 10));
}

#[tokio::test]
async fn a_broken_commit_is_sent_again_under_the_same_id() {
    let server = serve(|b| b).await;
    server.log.set(LogMode::WritesAndFails);
    let sent = server.client.post(server.url("/api/v1/predict")).json(&body());
    let answer = tokio::spawn(async move { read(sent.send().await.unwrap()).await });
    let log = Arc::clone(&server.log);
    until("it was tried twice", || log.attempts().len() >= 2).await;
    server.log.set(LogMode::Up);
    assert_eq!(answer.await.unwrap().0, 200);
    let attempts = server.log.attempts();
    assert!(attempts.iter().all(|id| *id == attempts[0]), "{attempts:?}");
    assert_eq!(server.log.events().len(), 1);
}

#[tokio::test]
async fn an_outage_loses_nothing_and_admits_it() {
    for mode in [LogMode::Down, LogMode::Panics, LogMode::Slow(FOR_EVER)] {
        let limits = quick().append_timeout(Duration::from_millis(500));
        let server = serve(|b| b.limits(limits)).await;
        server.log.set(mode);
        let (status, answer) = server.predict(&body()).await;
        assert_eq!((status, &answer["detail"]["code"]), (503, &json!("not_logged_yet")));
        let account = server.service.log_account();
        assert!(balanced(account) && account.queued == 1, "{account:?}");
        let (status, ready) = server.get("/readyz?verbose").await;
        assert_eq!((status, &ready["checks"][3]["status"]), (503, &json!("failed")), "{ready}");
        server.log.set(LogMode::Up);
        let log = Arc::clone(&server.log);
        until("the event is written", || log.events().len() == 1).await;
        assert_eq!(server.predict(&body()).await.0, 200);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_drops_nothing() {
    let limits = quick().queue(5).batch_rows(2).flush_timeout(FOR_EVER);
    let server = serve(|b| b.durability(Durability::Queued).limits(limits)).await;
    server.log.set(LogMode::Down);
    let mut answered = 0;
    let mut refused = 0;
    for _ in 0..30 {
        let sent = server.client.post(server.url("/api/v1/predict")).json(&body());
        let response = sent.send().await.unwrap();
        let after = response.headers().get("retry-after").cloned();
        match read(response).await {
            (200, _) => answered += 1,
            (503, answer) => {
                assert_eq!(answer["detail"]["code"], "log_queue_full");
                assert!(after.is_some());
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((5..=7).contains(&answered), "{answered}");
    assert_eq!(answered + refused, 30);
    assert_eq!(server.get("/ready").await.0, 503);
    server.log.set(LogMode::Up);
    let log = Arc::clone(&server.log);
    let account = server.stop().await;
    assert!(balanced(account) && account.lost == 0, "{account:?}");
    assert_eq!(log.events().len(), answered);
}

#[tokio::test]
async fn a_batch_that_can_never_be_written_does_not_stop_the_log() {
    let server = serve(|b| b).await;
    server.log.set(LogMode::Refuses);
    let (status, answer) = server.predict(&body()).await;
    assert_eq!((status, &answer["detail"]["code"]), (500, &json!("not_logged")));
    server.log.set(LogMode::Up);
    assert_eq!(server.predict(&body()).await.0, 200);
    let account = server.service.log_account();
    assert!(balanced(account), "{account:?}");
    assert_eq!((account.rejected, account.written), (1, 1));
}

/// G14
#[tokio::test]
async fn an_event_that_can_never_be_written_costs_none_beside_it() {
    let limits = quick().linger(FOR_EVER).flush_timeout(FOR_EVER);
    let server = serve(|b| b.durability(Durability::Queued).limits(limits)).await;
    // The first is written at once; what comes after it waits for company.
    assert_eq!(server.predict(&body()).await.0, 200);
    let log = Arc::clone(&server.log);
    until("the first is written", || log.events().len() == 1).await;
    server.log.set(LogMode::RefusesRequest(Uuid::from_u128(13)));
    for id in 1..=20_u128 {
        let mut body = body_with("tenure", json!(id));
        body["request_id"] = json!(Uuid::from_u128(id));
        assert_eq!(server.predict(&body).await.0, 200);
    }
    assert_eq!(server.predict(&body_with("contract", json!("Annual"))).await.0, 400);
    let account = server.stop().await;
    assert!(balanced(account), "{account:?}");
    assert_eq!((account.rejected, account.written, account.lost), (1, 20, 0));
    let batches = &log.batches()[1..];
    let mut written: Vec<u128> = batches
        .iter()
        .flat_map(|batch| batch.events())
        .map(|event| event.request_id.as_u128())
        .collect();
    written.sort_unstable();
    assert!(written.into_iter().eq((1..=20).filter(|id| *id != 13)));
    let rejected: u64 = batches.iter().map(|batch| batch.counts().rejected_requests()).sum();
    assert_eq!(rejected, 1, "refused requests are counted once");
    let rows: u64 = batches.iter().map(|batch| batch.counts().rows()).sum();
    assert_eq!(rows, 19);
    assert!(log.attempts().len() < 15, "{:?}", log.attempts());
}

#[tokio::test]
async fn refusals_are_counted_in_the_batch_beside_events() {
    let server = serve(|b| b).await;
    server.log.set(LogMode::Held);
    let first = async {
        let first = server.predict(&body()).await;
        assert_eq!(first.0, 200);
    };
    // While the first is written: a refusal and another event.
    let second = async {
        until("the first is written", || !server.log.attempts().is_empty()).await;
        assert_eq!(server.predict(&body_with("contract", json!("Annual"))).await.0, 400);
        assert_eq!(server.predict(&body()).await.0, 200);
    };
    let let_go = async {
        until("both are there", || server.service.log_account().accepted == 2).await;
        server.log.set(LogMode::Up);
    };
    tokio::join!(first, second, let_go);
    let batches = server.log.batches();
    let together =
        batches.iter().find(|b| !b.events().is_empty() && b.counts().rejected_requests() == 1);
    assert!(together.is_some(), "{batches:?}");
}
