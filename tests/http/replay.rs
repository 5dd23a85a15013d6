//! A request that is sent again.

use std::sync::Arc;
use std::time::Duration;

use pmmds::axum::Durability;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{LogMode, body, body_with, patient, quick, read, serve, until};

fn with_id(mut body: Value, id: u128) -> Value {
    body["request_id"] = json!(Uuid::from_u128(id));
    body
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_one_event() {
    for durability in [Durability::Committed, Durability::Queued] {
        let server = serve(|b| b.durability(durability)).await;
        let send = async |body: &Value| {
            let sent = server.client.post(server.url("/api/v1/predict")).json(body);
            let response = sent.send().await.unwrap();
            let replayed = response.headers().get("idempotent-replayed").cloned();
            (replayed.map(|value| value.to_str().unwrap().to_owned()), read(response).await)
        };
        let (first, answer) = send(&with_id(body_with("color", json!(1)), 1)).await;
        assert_eq!((first, answer.0), (None, 200));
        // Other spelling, same row.
        let (again, same) = send(&with_id(body_with("tenure", json!(12.0)), 1)).await;
        assert_eq!(again.as_deref(), Some("true"));
        assert_eq!(same, answer, "the stored answer, its latency and warnings included");
        let (_, (status, refused)) = send(&with_id(body_with("tenure", json!(13)), 1)).await;
        assert_eq!((status, &refused["detail"]["code"]), (409, &json!("request_id_reused")));
        let log = Arc::clone(&server.log);
        assert_eq!(server.stop().await.written, 1);
        assert_eq!(log.events().len(), 1);
        assert_eq!(log.events()[0].request_id, Uuid::from_u128(1));
    }
}

#[tokio::test]
async fn a_hundred_at_once_are_one() {
    let server = serve(|b| b).await;
    server.log.set(LogMode::Slow(Duration::from_millis(50)));
    let body = with_id(body(), 5);
    let all: Vec<_> = (0..100)
        .map(|_| {
            let sent = server.client.post(server.url("/api/v1/predict")).json(&body);
            tokio::spawn(async move { read(sent.send().await.unwrap()).await })
        })
        .collect();
    let mut answers = Vec::new();
    for one in all {
        answers.push(one.await.unwrap());
    }
    assert_eq!(answers[0].0, 200);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(server.log.events().len(), 1);
}

#[tokio::test]
async fn an_invalid_request_takes_no_id() {
    let server = serve(|b| b).await;
    assert_eq!(server.predict(&with_id(body_with("tenure", json!(-1)), 1)).await.0, 400);
    assert_eq!(server.predict(&with_id(body(), 1)).await.0, 200);
}

#[tokio::test]
async fn the_window_is_bounded() {
    let server = serve(|b| b.limits(patient().replay_entries(2))).await;
    for id in 1..=3 {
        assert_eq!(server.predict(&with_id(body(), id)).await.0, 200);
    }
    // 1 is forgotten, so it may mean something else now; 3 is not.
    assert_eq!(server.predict(&with_id(body_with("tenure", json!(1)), 3)).await.0, 409);
    assert_eq!(server.predict(&with_id(body_with("tenure", json!(1)), 1)).await.0, 200);
    let (_, ready) = server.get("/readyz?verbose").await;
    assert_eq!(ready["replay_window"], json!({"entries": 2, "evicted": 2}));
}

#[tokio::test]
async fn the_bytes_of_answers_are_bounded() {
    let server = serve(|b| b.limits(patient().replay_bytes(1))).await;
    assert_eq!(server.predict(&with_id(body(), 1)).await.0, 200);
    // An id that is made here is not remembered.
    assert_eq!(server.predict(&body()).await.0, 200);
    let (_, ready) = server.get("/readyz?verbose").await;
    assert_eq!(ready["replay_window"], json!({"entries": 0, "evicted": 1}));
}

#[tokio::test]
async fn after_a_503_the_same_request_gets_its_answer() {
    let server = serve(|b| b.limits(quick())).await;
    server.log.set(LogMode::Down);
    // The client sent no id; the answer gives it one.
    let (status, late) = server.predict(&body()).await;
    assert_eq!((status, &late["detail"]["code"]), (503, &json!("not_logged_yet")));
    let mut again = body();
    again["request_id"] = late["detail"]["request_id"].clone();
    assert_eq!(server.predict(&again).await.0, 503, "still not in the log");
    server.log.set(LogMode::Up);
    until("it is in the log", || server.log.events().len() == 1).await;
    let (status, answer) = server.predict(&again).await;
    assert_eq!((status, &answer["request_id"]), (200, &again["request_id"]));
    assert_eq!(server.log.events().len(), 1, "once, although it was sent three times");
}
