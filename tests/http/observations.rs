//! Predictions that were made elsewhere.

use std::sync::Arc;

use pmmds::axum::{ObserveError, RawFeatures};
use pmmds::model::Task;
use pmmds::record::decode_row;
use pmmds::validate::Violations;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Habit, LogMode, TOKEN, TestLog, TestRegistry, artifact, body, body_with, errors, quick, serve,
    serve_on, until,
};

const ROUTE: &str = "/api/v1/observations";

fn observation(probability: f64) -> Value {
    json!({"features": body()["features"], "probability": probability, "latency_ms": 12.5})
}

#[tokio::test]
async fn they_are_logged_and_watched_like_our_own() {
    let server = serve(|b| b.raw_features(RawFeatures::Keep)).await;
    let mut named = observation(0.25);
    (named["request_id"], named["model_version"]) = (json!(Uuid::from_u128(5)), json!("1"));
    named["prediction"] = json!(1);
    let sent = json!({"observations": [observation(0.75), named, observation(1.5)]});
    let (status, answer) = server.post(ROUTE, &sent).await;
    assert_eq!((status, &answer["succeeded"], &answer["failed"]), (200, &json!(2), &json!(1)));
    let result = |at: usize| &answer["results"][at];
    assert_eq!((&result(0)["prediction"], &result(0)["probability"]), (&json!(1), &json!(0.75)));
    assert_eq!(
        (&result(0)["latency_ms"], &result(0)["model_version"]),
        (&json!(12.5), &json!("1"))
    );
    // Another threshold than ours: what was answered is what is logged.
    assert_eq!((&result(1)["prediction"], &result(1)["probability"]), (&json!(1), &json!(0.25)));
    let error = &result(2)["error"]["errors"][0];
    assert_eq!(error["pointer"], "/observations/2/probability");
    assert_eq!(error["message"], "probability must be between 0 and 1, not 1.5");

    let events = server.log.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].latency.as_micros(), 12_500);
    assert_eq!(events[0].prediction, Task::binary().prediction(0.75).unwrap());
    assert!(events[0].features.is_some());
    assert_eq!((events[1].request_id, events[1].prediction.label()), (Uuid::from_u128(5), Some(1)));
    let live = server.service.live_report().unwrap();
    assert_eq!(live.report.current_rows, 2);
    // Its outcome is joined as ever, and sent again it is there already.
    let (status, again) = server.post(ROUTE, &sent).await;
    assert_eq!((status, &again["results"][1]), (200, result(1)));
    assert_eq!(server.log.events().len(), 3, "the one without an id is another one");
}

#[tokio::test]
async fn what_cannot_be_is_refused_row_by_row_or_whole() {
    let server = serve(|b| b).await;
    let with = |field: &str, value: Value| {
        let mut one = observation(0.5);
        one[field] = value;
        one
    };
    let cases = [
        (with("model_version", json!("7")), 409, "version \"7\" is not in service"),
        (with("probability", Value::Null), 400, "Missing required field: probability"),
        (with("prediction", json!(2)), 400, "prediction must be 0 or 1, not 2"),
        (with("latency_ms", json!(-1)), 400, "latency_ms must be"),
        (with("latency_ms", json!(1e300)), 400, "latency_ms must be"),
        (with("request_id", json!("x")), 400, "request_id must be a UUID"),
        (with("proba", json!(0.5)), 400, "unknown field `proba`"),
        (with("features", json!({})), 400, "Missing required feature: gender"),
        (with("features", json!([])), 400, "Invalid JSON"),
        (json!([null, body()["features"], 1, 0.5]), 400, "invalid type: sequence"),
    ];
    let all: Vec<&Value> = cases.iter().map(|(one, ..)| one).collect();
    let (status, answer) = server.post(ROUTE, &json!({ "observations": all })).await;
    assert_eq!((status, &answer["failed"]), (200, &json!(cases.len())), "{answer}");
    for (at, (_, status, says)) in cases.iter().enumerate() {
        let error = &answer["results"][at]["error"];
        assert_eq!(error["status"], json!(status), "{says}: {error}");
        assert!(error.to_string().contains(&says.replace('"', "\\\"")), "{says}: {error}");
    }
    let whole = format!("{ROUTE}?atomic=true");
    let rows = [observation(0.5), with("proba", json!(0.5))];
    let (status, answer) = server.post(&whole, &json!({ "observations": rows })).await;
    assert_eq!((status, errors(&answer).len()), (400, 1));
    assert!(server.log.events().is_empty());
    // Features that are wrong count as a refused request.
    let log = Arc::clone(&server.log);
    until("it is counted", || !log.batches().is_empty()).await;

    let server = serve(|b| b.admin_token(TOKEN)).await;
    let sent = json!({"observations": [observation(0.5)]});
    assert_eq!(server.post(ROUTE, &sent).await.0, 401, "whoever may forge scores steers the model");
}

#[tokio::test]
async fn a_regression_is_observed_by_its_number() {
    let registry = TestRegistry::with(&[artifact(Habit::Number, 0.0)]);
    let server = serve_on(TestLog::new(), registry, |b| b).await;
    let one = json!({"features": body()["features"], "prediction": 1_250.5});
    let (status, answer) = server.post(ROUTE, &json!({ "observations": [one] })).await;
    assert_eq!((status, &answer["results"][0]["prediction"]), (200, &json!(1_250.5)));
    assert!(answer["results"][0]["probability"].is_null());
    let logged = server.log.events()[0].prediction;
    assert_eq!(logged, Task::Regression.prediction(1_250.5).unwrap());
}

#[tokio::test]
async fn a_handler_of_ones_own_calls_the_library() {
    let server = serve(|b| b.limits(quick())).await;
    let service = server.service.clone();
    let schema = service.schema().unwrap();
    let row = |feature: &str, value: Value| {
        let features = body_with(feature, value)["features"].take().to_string();
        decode_row(&schema, features.as_bytes(), &mut Violations::new()).unwrap()
    };
    let prediction = Task::binary().prediction(0.9).unwrap();
    let id = service.observe(&row("tenure", json!(3)), prediction).unwrap();
    until("it is logged", || server.log.events().len() == 1).await;
    let event = &server.log.events()[0];
    assert_eq!((event.request_id, event.prediction), (id, prediction));

    for (bad, says) in [
        (row("tenure", json!(300)), "Invalid value for tenure: 300"),
        (row("tenure", json!("x")), "Invalid value for tenure"),
        (row("contract", Value::Null), "Invalid value for contract: null"),
    ] {
        match service.observe(&bad, prediction) {
            Err(ObserveError::Invalid(errors)) => {
                assert!(errors[0].starts_with(says), "{errors:?}")
            }
            other => panic!("{says}: {other:?}"),
        }
    }
    let number = Task::Regression.prediction(0.9).unwrap();
    assert_eq!(service.observe(&row("tenure", json!(3)), number), Err(ObserveError::OtherTask));
    assert_eq!(server.log.events().len(), 1);
    assert_eq!(server.stop().await.written, 1);
    let closed = service.observe(&row("tenure", json!(3)), prediction);
    assert_eq!(closed, Err(ObserveError::Closed));

    let server = serve_on(TestLog::new(), TestRegistry::with(&[]), |b| b).await;
    let nothing = server.service.observe(&row("tenure", json!(3)), prediction);
    assert_eq!(nothing, Err(ObserveError::NoModel));
    server.log.set(LogMode::Up);
}
