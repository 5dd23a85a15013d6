//! A model that predicts a number: what it answers, and what it is told.

use serde_json::{Value, json};

use crate::support::{
    Habit, Server, TOKEN, TestLog, TestRegistry, artifact, body, body_with, read, serve_on,
};

async fn serve_numbers() -> Server {
    let registry = TestRegistry::with(&[artifact(Habit::Number, -0.5)]);
    serve_on(TestLog::new(), registry, |b| b.admin_token(TOKEN)).await
}

#[tokio::test]
async fn the_answer_is_the_number_and_no_probability() {
    let server = serve_numbers().await;
    let (status, answer) = server.predict(&body()).await;
    assert_eq!((status, &answer["prediction"]), (200, &json!(1_199.5)), "{answer}");
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    let expected =
        ["latency_ms", "model_name", "model_version", "prediction", "request_id", "warnings"];
    assert_eq!(keys, expected);
    let (_, below_zero) = server.predict(&body_with("tenure", json!(0))).await;
    assert_eq!(below_zero["prediction"], json!(-0.5));
    let logged: Vec<_> = server.log.events().iter().map(|event| event.prediction).collect();
    assert_eq!(logged.iter().map(|p| p.score()).collect::<Vec<_>>(), [1_199.5, -0.5]);
    assert!(logged.iter().all(|prediction| prediction.label().is_none()));
}

#[tokio::test]
async fn an_answer_that_is_no_number_is_an_error_and_not_logged() {
    let server = serve_numbers().await;
    let (status, answer) = server.predict(&body_with("tenure", json!(99))).await;
    assert_eq!((status, &answer["detail"]["code"]), (500, &json!("model_output_invalid")));
    assert!(server.log.events().is_empty());
}

#[tokio::test]
async fn the_outcome_is_any_number() {
    let server = serve_numbers().await;
    let (_, answer) = server.predict(&body()).await;
    let send = async |outcome: Value| {
        let outcomes = json!([{"request_id": answer["request_id"], "outcome": outcome}]);
        let sent = server.client.post(server.url("/api/v1/outcomes")).bearer_auth(TOKEN);
        read(sent.json(&outcomes).send().await.unwrap()).await
    };
    assert_eq!(send(json!(1_234.5)).await.1["recorded"], 1);
    assert_eq!(send(json!(-1)).await.1["corrected"], 1);
    assert_eq!(send(json!("much")).await.0, 400);
    assert_eq!(send(Value::Null).await.0, 400);
}

#[tokio::test]
async fn the_document_describes_numbers() {
    let server = serve_numbers().await;
    let (_, document) = server.get("/openapi.json").await;
    let prediction = &document["components"]["schemas"]["Prediction"];
    assert_eq!(prediction["properties"]["prediction"], json!({"type": "number"}));
    assert_eq!(prediction["properties"]["probability"], Value::Null);
    assert!(!prediction["required"].as_array().unwrap().contains(&json!("probability")));
    assert_eq!(prediction["examples"][0]["probability"], Value::Null);
    let outcome = &document["components"]["schemas"]["Outcome"]["properties"]["outcome"];
    assert_eq!(outcome, &json!({"type": "number"}));
    let outcomes = "/paths/~1api~1v1~1outcomes/post/requestBody/content/application~1json/example";
    let example = document.pointer(outcomes).unwrap();
    let sent = server.client.post(server.url("/api/v1/outcomes")).bearer_auth(TOKEN);
    assert_eq!(sent.json(example).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_model_for_classes_does_not_follow_one_for_numbers() {
    let registry = TestRegistry::with(&[artifact(Habit::Number, -0.5)]);
    let server = serve_on(TestLog::new(), registry, |b| b).await;
    server.registry.promote(artifact(Habit::Good, 0.0));
    let (status, answer) = server.reload().await;
    assert_eq!((status, &answer["detail"]["code"]), (502, &json!("schema_changed")), "{answer}");
    let message = answer["detail"]["message"].as_str().unwrap();
    assert!(
        message.contains("version 2 predicts 0 or 1, served now is a finite number"),
        "{answer}"
    );
    let (_, answer) = server.predict(&body()).await;
    assert_eq!(answer["model_version"], "1", "clients read numbers");
}
