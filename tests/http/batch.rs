//! `POST /api/v1/predict/batch`: many rows, each treated as one.

use std::sync::Arc;

use pmmds::axum::{Durability, Scoring, ServiceBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Habit, LogMode, Server, THOUGHT, TestLog, TestRegistry, artifact, body, body_with, errors,
    patient, quick, raw, read, serve, serve_on, until, until_asked,
};

async fn send(server: &Server, rows: Vec<Value>) -> (u16, Value) {
    server.post("/api/v1/predict/batch", &json!({ "instances": rows })).await
}

async fn send_whole(server: &Server, rows: Vec<Value>) -> (u16, Value) {
    server.post("/api/v1/predict/batch?atomic=true", &json!({ "instances": rows })).await
}

fn features(tenure: u32) -> Value {
    body_with("tenure", json!(tenure))["features"].take()
}

fn with_id(tenure: u32, id: u128) -> Value {
    json!({"request_id": Uuid::from_u128(id), "features": features(tenure)})
}

/// What the two have in common: all but the ids and times.
fn what(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for own in ["request_id", "latency_ms"] {
        answer.as_object_mut().unwrap().remove(own).unwrap();
    }
    answer
}

#[tokio::test]
async fn each_row_is_answered_and_logged_as_if_it_were_alone() {
    for (durability, scoring) in
        [(Durability::Committed, Scoring::Inline), (Durability::Queued, Scoring::Blocking)]
    {
        let server = serve(|b| b.durability(durability).scoring(scoring)).await;
        // The features alone, and a request with an id; whatever order the keys are in.
        let rows: Vec<Value> = (0..50)
            .map(|i| if i % 2 == 0 { features(i) } else { with_id(i, u128::from(i)) })
            .collect();
        let (status, answer) = send(&server, rows).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(50), &json!(0)));
        assert_eq!(
            (&answer["model_name"], &answer["model_version"]),
            (&json!("churn-classifier"), &json!("1"))
        );
        assert!(answer["latency_ms"].as_f64().unwrap() > 0.0);
        let results = answer["results"].as_array().unwrap();
        for (tenure, result) in (0..).zip(results) {
            let (_, alone) = server.predict(&body_with("tenure", json!(tenure))).await;
            assert_eq!(what(result), what(&alone), "{tenure}");
        }
        let account = server.service.log_account();
        assert_eq!(account.accepted, 100);
        let log = Arc::clone(&server.log);
        server.stop().await;
        let events = log.events();
        assert_eq!(events.len(), 100);
        for result in results {
            let id: Uuid = result["request_id"].as_str().unwrap().parse().unwrap();
            let logged: Vec<_> = events.iter().filter(|event| event.request_id == id).collect();
            assert_eq!(logged.len(), 1, "once");
            assert_eq!(json!(logged[0].prediction.score()), result["probability"]);
        }
        let counted: u64 = log.batches().iter().map(|batch| batch.counts().rows()).sum();
        assert_eq!(counted, 100);
    }
}

#[tokio::test]
async fn a_bad_row_costs_itself_only() {
    let server = serve(|b| b).await;
    let mut rows: Vec<Value> = (0..10).map(features).collect();
    rows[3] = body_with("contract", json!("Annual"));
    rows[5]["tenure"] = json!("5");
    rows[6] = json!([1]);
    rows[7] = json!({"request_id": "42", "features": features(7)});
    let (status, answer) = send(&server, rows.clone()).await;
    assert_eq!((status, &answer["succeeded"], &answer["failed"]), (200, &json!(6), &json!(4)));
    let results = answer["results"].as_array().unwrap();
    for (at, result) in results.iter().enumerate() {
        assert_eq!(result["error"].is_null(), ![3, 5, 6, 7].contains(&at), "{at}: {result}");
    }
    let error = |at: usize, pointer: &str, code: &str| {
        let error = &results[at]["error"];
        assert_eq!((&error["status"], &error["code"]), (&json!(400), &json!("validation_failed")));
        let first = &error["errors"][0];
        assert_eq!((&first["pointer"], &first["code"]), (&json!(pointer), &json!(code)), "{error}");
        first["message"].as_str().unwrap().to_owned()
    };
    let message = error(3, "/instances/3/features/contract", "invalid_category");
    let says =
        "Invalid value for contract: 'Annual'. Expected one of: Month-to-month, One year, Two year";
    assert_eq!(message, says);
    assert_eq!(
        error(5, "/instances/5/tenure", "not_a_number"),
        "Invalid value for tenure: '5'. Must be a number"
    );
    assert!(error(6, "/instances/6", "invalid_json").starts_with("Invalid JSON"));
    assert_eq!(
        error(7, "/instances/7/request_id", "invalid_request_id"),
        "request_id must be a UUID"
    );
    assert_eq!(server.log.events().len(), 6);
    let log = Arc::clone(&server.log);
    let refused = || log.batches().iter().map(|b| b.counts().rejected_requests()).sum::<u64>();
    // The list was no request for this model.
    until("what was refused is counted", || refused() == 3).await;

    // Whole: nothing is predicted, and everything that is wrong is told.
    let (status, answer) = send_whole(&server, rows).await;
    assert_eq!(status, 400);
    assert_eq!(errors(&answer).len(), 4, "{answer}");
    assert_eq!(errors(&answer)[0], says);
    assert_eq!(server.log.events().len(), 6, "none of them");
    let (status, answer) = send_whole(&server, (0..10).map(features).collect()).await;
    assert_eq!((status, &answer["succeeded"]), (200, &json!(10)));
    assert_eq!(server.log.events().len(), 16);
}

#[tokio::test]
async fn rows_are_replayed_one_by_one() {
    let server = serve(|b| b).await;
    let (_, alone) = server.predict(&with_id(1, 1)).await;
    // One that was answered, one twice, one with other features, a new one.
    let rows = vec![with_id(1, 1), with_id(2, 2), with_id(2, 2), with_id(9, 1), with_id(3, 3)];
    let (status, answer) = send(&server, rows.clone()).await;
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0], alone, "the stored answer");
    assert_eq!(results[1], results[2]);
    let error = &results[3]["error"];
    assert_eq!((&error["status"], &error["code"]), (&json!(409), &json!("request_id_reused")));
    assert_eq!(error["request_id"], json!(Uuid::from_u128(1)));
    assert_eq!(results[4]["error"], Value::Null);
    assert_eq!(server.log.events().len(), 3);
    let (_, again) = send(&server, rows.clone()).await;
    assert_eq!(again["results"], answer["results"]);
    assert_eq!(server.log.events().len(), 3);

    let mut rows = rows;
    rows[4] = with_id(4, 4);
    let (status, answer) = send_whole(&server, rows.clone()).await;
    assert_eq!((status, &answer["detail"]["code"]), (409, &json!("request_id_reused")));
    rows.remove(3);
    assert_eq!(server.log.events().len(), 3, "nothing was handed over");
    // The ids of those that failed with it are free.
    let (status, answer) = send_whole(&server, rows).await;
    assert_eq!((status, &answer["failed"]), (200, &json!(0)));
    assert_eq!(server.log.events().len(), 4);
}

#[tokio::test]
async fn a_hundred_batches_with_the_same_ids_do_not_wait_for_each_other() {
    let server = serve(|b| b).await;
    let sent: Vec<_> = (0..100)
        .map(|i| {
            let mut rows: Vec<Value> = (1..6).map(|id| with_id(id, u128::from(id))).collect();
            rows.rotate_left(i % 5);
            let sent = server.client.post(server.url("/api/v1/predict/batch"));
            let sent = sent.json(&json!({ "instances": rows }));
            tokio::spawn(async move { read(sent.send().await.unwrap()).await })
        })
        .collect();
    for one in sent {
        let (status, answer) = one.await.unwrap();
        assert_eq!((status, &answer["failed"]), (200, &json!(0)), "{answer}");
    }
    assert_eq!(server.log.events().len(), 5);
}

#[tokio::test]
async fn a_batch_is_bounded() {
    let limits = patient().batch_instances(10).batch_bytes(20_000).body_bytes(1_000);
    let server = serve(|b| b.limits(limits)).await;
    let (status, answer) = send(&server, (0..10).map(features).collect()).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = send(&server, (0..11).map(features).collect()).await;
    assert_eq!((status, &answer["detail"]["code"]), (413, &json!("too_many_rows")));
    let (status, answer) = send(&server, (0..100).map(features).collect()).await;
    assert_eq!((status, &answer["detail"]["code"]), (413, &json!("too_large")));
    for (body, says) in [
        (json!({"instances": []}), "There are no instances"),
        (json!({"instances": {}}), "instances: invalid type: map"),
        (json!({}), "Invalid JSON: missing field `instances`"),
        (json!([[features(1)]]), "Invalid JSON: invalid type: sequence, expected an object"),
        (
            json!({"instances": [features(1)], "atomic": true}),
            "Invalid JSON: unknown field `atomic`",
        ),
    ] {
        let (status, answer) = server.post("/api/v1/predict/batch", &body).await;
        assert_eq!(status, 400);
        assert!(errors(&answer)[0].starts_with(says), "{answer}");
    }
    let (status, answer) = server.post("/api/v1/predict/batch?atomic=1", &json!({})).await;
    assert_eq!((status, &answer["detail"]["code"]), (400, &json!("invalid_query")));
    assert_eq!(server.log.events().len(), 10);
}

#[tokio::test]
async fn what_the_queue_cannot_take_is_not_taken_in_part() {
    let limits = quick().queue(10).batch_rows(1);
    let server = serve(|b| b.limits(limits).durability(Durability::Queued)).await;
    server.log.set(LogMode::Down);
    assert_eq!(send(&server, (0..9).map(features).collect()).await.0, 200);
    let (status, answer) = send(&server, (0..9).map(features).collect()).await;
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("log_queue_full")));
    assert_eq!(server.service.log_account().accepted, 9);
}

#[tokio::test]
async fn while_the_log_is_down_each_row_gets_an_id_to_ask_again_with() {
    let server = serve(|b| b.limits(quick())).await;
    server.log.set(LogMode::Down);
    let (status, answer) = send(&server, (0..3).map(features).collect()).await;
    assert_eq!((status, &answer["failed"]), (200, &json!(3)));
    let again: Vec<Value> = (0..3)
        .map(|at| {
            let error = &answer["results"][at as usize]["error"];
            assert_eq!((&error["status"], &error["code"]), (&json!(503), &json!("not_logged_yet")));
            json!({"request_id": error["request_id"], "features": features(at)})
        })
        .collect();
    server.log.set(LogMode::Up);
    until("they are in the log", || server.log.events().len() == 3).await;
    let (status, answer) = send(&server, again).await;
    assert_eq!((status, &answer["succeeded"]), (200, &json!(3)));
    assert_eq!(server.log.events().len(), 3);

    server.log.set(LogMode::Down);
    let (status, answer) = send_whole(&server, (0..3).map(features).collect()).await;
    assert_eq!(status, 503);
    assert_eq!(errors(&answer).len(), 3, "each with its id: {answer}");
    assert!(errors(&answer)[2].contains("request_id "), "{answer}");
}

#[tokio::test]
async fn a_model_that_answers_no_number_costs_the_row() {
    let registry = TestRegistry::with(&[artifact(Habit::Odd, 0.0)]);
    let server = serve_on(TestLog::new(), registry, |b| b).await;
    let (status, answer) = send(&server, vec![features(1), features(99), features(2)]).await;
    assert_eq!((status, &answer["succeeded"]), (200, &json!(2)));
    assert_eq!(answer["results"][1]["error"]["code"], "model_output_invalid");
    let (status, _) = send_whole(&server, vec![features(1), features(99)]).await;
    assert_eq!(status, 500);
    // A panic costs the request, and nothing of it is claimed.
    let rows = vec![with_id(1, 1), with_id(98, 2)];
    assert_eq!(send(&server, rows).await.0, 500);
    assert_eq!(server.predict(&with_id(5, 1)).await.0, 200);
    assert_eq!(server.log.events().len(), 3);
    assert_eq!(server.predict(&body()).await.0, 200);
}

#[tokio::test]
async fn rows_that_were_taken_are_answered_though_others_find_no_room_later() {
    let limits = patient().queue(10).batch_rows(1);
    let options = |b: ServiceBuilder| {
        b.limits(limits).durability(Durability::Queued).scoring(Scoring::Blocking)
    };
    let registry = TestRegistry::with(&[artifact(Habit::Thoughtful, 0.0)]);
    let server = serve_on(TestLog::new(), registry, options).await;
    server.log.set(LogMode::Down);
    assert_eq!(send(&server, vec![features(1)]).await.0, 200);
    until("the writer has it", || !server.log.attempts().is_empty()).await;
    assert_eq!(send(&server, (0..9).map(features).collect()).await.0, 200);
    // There is room for one. The first has the id, and when it is scored it finds no room.
    let second = async {
        until("the first is being scored", || THOUGHT.is_reached()).await;
        let sent = send(&server, vec![features(1), with_id(97, 1)]);
        let last = async {
            until("there is no room", || server.service.log_account().accepted == 11).await;
            THOUGHT.let_go();
        };
        tokio::join!(sent, last).0
    };
    let (first, (status, answer)) =
        tokio::join!(send(&server, vec![with_id(97, 1), features(97)]), second);
    assert_eq!(first.0, 503);
    assert_eq!((status, &answer["succeeded"]), (200, &json!(1)), "{answer}");
    let error = &answer["results"][1]["error"];
    assert_eq!((&error["status"], &error["code"]), (&json!(503), &json!("log_queue_full")));
    assert_eq!(server.service.log_account().accepted, 11);
}

#[tokio::test]
async fn so_many_large_bodies_are_taken_at_a_time() {
    let server = serve(|b| b).await;
    // The heads alone: the bodies never come.
    let head = format!(
        "POST /api/v1/predict/batch HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: 1500000\r\n\r\n",
        server.address
    );
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..17 {
        let (address, head) = (server.address, head.clone());
        sent.spawn(async move { raw(address, head.as_bytes(), b"").await });
    }
    let (status, head, answer) = sent.join_next().await.unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("overloaded")));
    assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{head}");
    // What says that it is small needs no place among them.
    assert_eq!(send(&server, vec![features(1)]).await.0, 200);
    sent.shutdown().await;
    let mut large = serde_json::to_vec(&json!({"instances": [features(1)]})).unwrap();
    large.resize(1_500_000, b' ');
    until_asked("those that went away have left their places", async || {
        server.raw_post("/api/v1/predict/batch", &large).await.0 == 200
    })
    .await;
}
