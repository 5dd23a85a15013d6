//! `POST /api/v1/predict`: what `seed.md` documents, to the letter.

use pmmds::axum::{RawFeatures, Scoring};
use pmmds::log::Sample;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

use crate::support::{
    CURL_BODY, Habit, TestLog, TestRegistry, artifact, body, body_with, errors, read, serve,
    serve_on, telco,
};

#[tokio::test]
async fn the_curl_of_the_readme_is_answered() {
    let server = serve(|b| b).await;
    let sent = server.client.post(server.url("/api/v1/predict"));
    let sent = sent.header("content-type", "application/json").body(CURL_BODY);
    let response = sent.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let (status, answer) = read(response).await;
    assert_eq!(status, 200, "{answer}");
    let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys.len(),
        7,
        "request_id, prediction, probability, model_name, model_version, latency_ms, warnings: {keys:?}"
    );
    assert_eq!(answer["prediction"], 0);
    // 1 / (1 + e^(12/24))
    assert!((answer["probability"].as_f64().unwrap() - 0.377_540_668_798_145_4).abs() < 1e-12);
    assert_eq!(answer["model_name"], "churn-classifier");
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["warnings"], json!([]));
    assert!(answer["latency_ms"].as_f64().unwrap() >= 0.0);

    let id: Uuid = answer["request_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let events = server.log.events();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].id, events[0].request_id), (id, id));
    assert_eq!(events[0].features, None);
    // The clock of the store, not this machine's.
    assert!(events[0].at.to_string().starts_with("2031-05-06T07:08:"), "{}", events[0].at);
}

#[tokio::test]
async fn the_bad_payload_of_the_readme_is_refused_in_its_words() {
    let server = serve(|b| b).await;
    let mut bad = body_with("contract", json!("Annual"));
    bad["features"].as_object_mut().unwrap().remove("tenure");
    let (status, answer) = server.predict(&bad).await;
    assert_eq!(status, 400);
    assert_eq!(
        answer,
        json!({
          "detail": {
            "message": "Inference payload validation failed",
            "errors": [
              "Missing required feature: tenure",
              "Invalid value for contract: 'Annual'. Expected one of: Month-to-month, One year, Two year"
            ],
            "warnings": []
          }
        })
    );
    assert_eq!(server.log.events().len(), 0);
    // What was refused is counted, by feature and rule, for the monitor.
    let log = Arc::clone(&server.log);
    crate::support::until("the refusal is logged", || !log.batches().is_empty()).await;
    let batches = server.log.batches();
    assert_eq!(batches[0].counts().rejected_requests(), 1);
    assert_eq!(batches[0].counts().rejected().len(), 2);
}

#[tokio::test]
async fn problem_json_has_pointers_and_codes() {
    let server = serve(|b| b).await;
    let mut bad = body_with("monthly_charges", json!("70"));
    bad["features"].as_object_mut().unwrap().remove("tenure");
    let sent = server.client.post(server.url("/api/v1/predict")).json(&bad);
    let response = sent.header("accept", "application/problem+json").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let (status, answer) = read(response).await;
    assert_eq!(status, 400);
    assert_eq!(answer["type"], "about:blank");
    assert_eq!(answer["title"], "Bad Request");
    assert_eq!(answer["status"], 400);
    assert_eq!(answer["code"], "validation_failed");
    assert_eq!(
        answer["errors"],
        json!([
            {
                "pointer": "/features/tenure",
                "code": "missing_feature",
                "message": "Missing required feature: tenure"
            },
            {
                "pointer": "/features/monthly_charges",
                "code": "not_a_number",
                "message": "Invalid value for monthly_charges: '70'. Must be a number"
            },
        ])
    );
}

#[tokio::test]
async fn an_unknown_feature_is_a_warning() {
    let server = serve(|b| b).await;
    let (status, answer) = server.predict(&body_with("color", json!("red"))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["warnings"], json!(["Unknown feature: color"]));
    let mut odd = body();
    odd["note"] = json!(1);
    // Two names, although they look alike.
    odd[""] = json!({});
    odd["\u{87}"] = json!(null);
    let (status, answer) = server.predict(&odd).await;
    assert_eq!(status, 200);
    let warnings = ["Unknown field: ", "Unknown field: note", "Unknown field: \\u{87}"];
    assert_eq!(answer["warnings"], json!(warnings));
}

#[tokio::test]
async fn the_real_levels_and_blanks_are_accepted() {
    let server = serve(|b| b).await;
    for (feature, value) in [
        ("online_security", json!("No internet service")),
        ("multiple_lines", json!("No phone service")),
        ("total_charges", Value::Null),
        ("tenure", json!(5.0)),
        ("tenure", json!(100)),
        ("senior_citizen", json!(1)),
    ] {
        let (status, answer) = server.predict(&body_with(feature, value)).await;
        assert_eq!(status, 200, "{feature}: {answer}");
    }
    let mut without = body();
    without["features"].as_object_mut().unwrap().remove("total_charges");
    let (status, answer) = server.predict(&without).await;
    assert_eq!(status, 400);
    assert_eq!(errors(&answer), ["Missing required feature: total_charges"]);
}

#[tokio::test]
async fn raw_features_are_kept_where_the_owner_says_so() {
    let server = serve(|b| b.raw_features(RawFeatures::Keep)).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    let features = server.log.events()[0].features.clone().unwrap();
    let kept: Value = serde_json::from_str(&features).unwrap();
    for feature in telco().features() {
        let (kept, sent) = (&kept[feature.name()], &body()["features"][feature.name()]);
        assert!(kept == sent || kept.as_f64() == sent.as_f64(), "{}", feature.name());
    }
}

#[tokio::test]
async fn a_sample_of_raw_features_goes_by_the_id_of_the_request() {
    let half = Sample::new(0.5).unwrap();
    for _ in 0..2 {
        // Two services draw the same.
        let server = serve(|b| b.raw_features(RawFeatures::Sample(half))).await;
        for id in 1..=16_u128 {
            let mut body = body();
            body["request_id"] = json!(Uuid::from_u128(id));
            assert_eq!(server.predict(&body).await.0, 200);
        }
        // Without an id of the sender's, the one that was made decides.
        assert_eq!(server.predict(&body()).await.0, 200);
        let events = server.log.events();
        assert_eq!(events.len(), 17);
        for event in &events {
            assert_eq!(event.features.is_some(), half.contains(event.request_id), "{event:?}");
        }
        let kept = events.iter().filter(|event| event.features.is_some()).count();
        assert!((1..17).contains(&kept), "{kept} of 17");
    }
}

#[tokio::test]
async fn a_model_that_answers_no_number_or_panics_costs_one_request() {
    for scoring in [Scoring::Inline, Scoring::Blocking] {
        let registry = TestRegistry::with(&[artifact(Habit::Odd, 0.0)]);
        let server = serve_on(TestLog::new(), registry, |b| b.scoring(scoring)).await;
        let (status, answer) = server.predict(&body_with("tenure", json!(99))).await;
        assert_eq!((status, &answer["detail"]["code"]), (500, &json!("model_output_invalid")));

        let mut again = body_with("tenure", json!(98));
        again["request_id"] = json!(Uuid::from_u128(7));
        for _ in 0..2 {
            let (status, answer) = server.predict(&again).await;
            assert_eq!((status, &answer["detail"]["code"]), (500, &json!("internal")));
            assert!(!answer.to_string().contains("secret"), "{answer}");
        }
        assert_eq!(server.predict(&body()).await.0, 200);
        assert_eq!(server.log.events().len(), 1, "only the good one is in the log");
    }
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let server = serve(|b| b).await;
    let send = async |id: Option<&str>| {
        let mut sent = server.client.get(server.url("/livez"));
        if let Some(id) = id {
            sent = sent.header("x-request-id", id);
        }
        let response = sent.send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(send(Some("abc-1.2_3")).await, "abc-1.2_3");
    for odd in [None, Some("a b"), Some("<script>"), Some(&*"x".repeat(129))] {
        let made: Uuid = send(odd).await.parse().unwrap();
        assert_eq!(made.get_version_num(), 7);
    }
    // Also where something goes wrong.
    let sent = server.client.post(server.url("/api/v1/predict")).header("x-request-id", "mine");
    let response = sent.body("x").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-request-id"]),
        (415, &"mine".parse().unwrap())
    );
}

#[tokio::test]
async fn without_a_model_predictions_wait_for_one() {
    let registry = TestRegistry::with(&[]);
    let server = serve_on(TestLog::new(), registry, |b| b).await;
    let (status, answer) = server.predict(&body()).await;
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("no_model")));
    assert_eq!(server.get("/model").await.0, 503);
    let (status, answer) = server.get("/ready").await;
    assert_eq!((status, &answer["reason"]), (503, &json!("no model is loaded")));
    server.registry.promote(artifact(Habit::Good, 0.0));
    let (status, answer) = server.reload().await;
    assert_eq!((status, &answer["previous_version"]), (200, &Value::Null));
    assert_eq!(server.predict(&body()).await.0, 200);
}
