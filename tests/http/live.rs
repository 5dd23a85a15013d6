//! Drift as it is now, against what the log says.

use std::sync::Arc;

use pmmds::Timestamp;
use pmmds::artifact::ModelArtifact;
use pmmds::drift::{DriftDetector, DriftSettings, LiveOptions, Signal, Verdict};
use pmmds::log::InferenceLog;
use pmmds::model::ModelFormat;
use pmmds::registry::VersionId;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    Habit, LogMode, TestFormat, TestLog, TestRegistry, artifact, body, body_with, quick, serve,
    serve_on,
};

/// The reference of the tests has 50 rows.
fn detector() -> DriftDetector {
    let mut settings = DriftSettings::default();
    settings.min_rows = 20;
    DriftDetector::new(settings).unwrap()
}

#[tokio::test]
async fn it_is_the_answer_that_the_log_gives() {
    let server = serve(|b| b.detector(detector())).await;
    for number in 0..60 {
        // New customers only, and a category that nobody knows.
        let (status, _) = server.predict(&body_with("tenure", json!(number % 5))).await;
        assert_eq!(status, 200);
        if number % 2 == 0 {
            let (status, _) = server.predict(&body_with("contract", json!("Annual"))).await;
            assert_eq!(status, 400);
        }
    }
    // A request that is sent again is no second row.
    let mut again = body();
    again["request_id"] = json!(Uuid::from_u128(7));
    assert_eq!(server.predict(&again).await.0, 200);
    assert_eq!(server.predict(&again).await.0, 200);

    let (status, live) = server.get("/api/v1/drift/live").await;
    assert_eq!(status, 200, "{live}");
    assert_eq!(
        (&live["model_name"], &live["model_version"]),
        (&json!("churn-classifier"), &json!("1"))
    );
    assert_eq!(
        live["window"],
        json!({"start": "2031-05-05T07:10:00Z", "end": "2031-05-06T07:10:00Z"})
    );
    let (_, model) = server.get("/model").await;
    assert_eq!(live["covered_from"], model["loaded_at"]);
    assert_eq!((&live["whole"], &live["late"]), (&json!(false), &json!(0)));
    let report = &live["report"];
    assert_eq!(report["verdict"], json!({"kind": "feature_drift"}), "{report}");
    assert_eq!((&report["current_rows"], &report["rejected_requests"]), (&json!(61), &json!(30)));
    assert_eq!(report["features"][0]["name"], "tenure");

    let (service, log) = (server.service.clone(), Arc::clone(&server.log));
    assert_eq!(server.stop().await.written, 61);
    let live = service.live_report().unwrap();
    let formats: [Arc<dyn ModelFormat>; 1] = [Arc::new(TestFormat)];
    let artifact = ModelArtifact::open(&artifact(Habit::Good, 0.0), &formats).unwrap();
    let profile = artifact.profile();
    let name = "churn-classifier".parse().unwrap();
    let logged = log.counts(&name, VersionId::FIRST, live.window, profile).await.unwrap();
    let (mut now, batch) = (live.report, detector().detect(profile, &logged.counts));
    // All but the means, which are float sums.
    for (now, batch) in now.features.iter_mut().zip(&batch.features) {
        now.current.clone_from(&batch.current);
    }
    assert_eq!(now, batch);
    let unseen = |signal: &Signal| match signal {
        Signal::UnseenCategories { feature, examples, .. } => {
            feature == "contract" && examples == &["\"Annual\""]
        }
        _ => false,
    };
    assert!(batch.signals.iter().any(unseen), "{batch}");
}

#[tokio::test]
async fn another_version_counts_anew_and_a_reload_does_not() {
    let server = serve(|b| b.detector(detector()).live(LiveOptions::new().shards(2))).await;
    let rows = || server.service.live_report().unwrap().report.current_rows;
    for _ in 0..30 {
        server.predict(&body()).await;
    }
    assert_eq!(server.reload().await.0, 200);
    assert_eq!(rows(), 30, "the same version");
    let first = server.service.live_report().unwrap();
    server.registry.promote(artifact(Habit::Good, 2.0));
    assert_eq!(server.reload().await.0, 200);
    let fresh = server.service.live_report().unwrap();
    assert_eq!((rows(), fresh.report.verdict), (0, Verdict::NoTraffic));
    assert_eq!(fresh.model_version, VersionId::new(2).unwrap());
    assert!(fresh.covered_from > first.covered_from && !fresh.whole);
    server.predict(&body()).await;
    let fresh = server.service.live_report().unwrap();
    assert_eq!(fresh.report.verdict, Verdict::InsufficientData { have: 1, need: 20 });
}

#[tokio::test]
async fn what_is_not_taken_in_is_not_counted() {
    let server = serve(|b| b.limits(quick().queue(1).batch_rows(1))).await;
    server.log.set(LogMode::Down);
    let mut refused = 0;
    for _ in 0..6 {
        let (status, answer) = server.predict(&body()).await;
        assert_eq!(status, 503);
        refused += u64::from(answer["detail"]["code"] == "log_queue_full");
    }
    assert!(refused > 0);
    // Those that wait for the log will be in it, and are counted.
    let rows = server.service.live_report().unwrap().report.current_rows;
    assert_eq!((rows, rows + refused), (server.service.log_account().accepted, 6));
}

#[tokio::test]
async fn without_a_model_there_is_nothing_to_tell() {
    let server = serve_on(TestLog::new(), TestRegistry::with(&[]), |b| b).await;
    let (status, answer) = server.get("/api/v1/drift/live").await;
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("no_model")));
    assert!(server.service.live_report().is_none());
    assert!(server.service.model().is_none());
}

#[tokio::test]
async fn its_shape_is_the_one_described() {
    let server = serve(|b| b.detector(detector())).await;
    for _ in 0..20 {
        server.predict(&body()).await;
    }
    let (_, document) = server.get("/openapi.json").await;
    let (_, live) = server.get("/api/v1/drift/live").await;
    let shapes = &document["components"]["schemas"];
    for (shape, value) in
        [("LiveReport", &live), ("Window", &live["window"]), ("DriftReport", &live["report"])]
    {
        for name in shapes[shape]["required"].as_array().unwrap() {
            assert!(!value[name.as_str().unwrap()].is_null(), "{shape}: {name}");
        }
    }
    let feature = &shapes["DriftReport"]["properties"]["features"]["items"];
    for name in feature["required"].as_array().unwrap() {
        assert!(!live["report"]["features"][0][name.as_str().unwrap()].is_null(), "{name}");
    }
    let kinds = &shapes["DriftReport"]["properties"]["verdict"]["properties"]["kind"]["enum"];
    assert!(kinds.as_array().unwrap().contains(&live["report"]["verdict"]["kind"]));
    let at: Timestamp = live["at"].as_str().unwrap().parse().unwrap();
    let end: Timestamp = live["window"]["end"].as_str().unwrap().parse().unwrap();
    assert!(at < end);
}
