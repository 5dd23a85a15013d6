//! Metrics, read by the parser that Prometheus' own client library has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pmmds::drift::{DriftDetector, DriftSettings};
use pmmds::ledger::{Alert, AlertStore, DecisionStore, DriftStore, RunState};
use serde_json::{Value, json};

use crate::support::ledger::{alert, full_ledger, ledger, promotion, report, retraining, run};
use crate::support::python::{self, python};
use crate::support::{
    Habit, RegistryMode, Server, TestLog, TestRegistry, artifact, body, body_with, quick, serve,
    serve_on, until_asked,
};

const HOSTILE: [&str; 5] = [
    "quote\" } 1\npmmds_predictions_total 666",
    "back\\slash\\",
    "line\nbreak",
    "naïve 特徴 🙂",
    "{a=\"b\",c=\"d\"} # EOF",
];

/// Every sample: its name and labels, and its value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// A sample by its name, and its labels if it has some, read in haste: no Python is waited for.
async fn glance(server: &Server, name: &str) -> Option<f64> {
    let text = server.client.get(server.url("/metrics")).send().await.unwrap().text().await;
    let text = text.unwrap();
    let mut samples = text.lines().filter_map(|line| line.split_once(' '));
    samples
        .find(|(found, _)| found.trim_end_matches("{}") == name)
        .map(|(_, value)| value.parse().unwrap())
}

async fn scrape(python: &Path, server: &Server) -> (String, Samples) {
    let response = server.client.get(server.url("/metrics")).send().await.unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.text().await.unwrap();
    let program = "tests/python/read_metrics.py";
    let input = text.clone().into_bytes();
    let read = python::run(python, program, Vec::new(), input).await;
    assert!(read.status.success(), "{}\n{text}", String::from_utf8_lossy(&read.stderr));
    let families: Value = serde_json::from_slice(&read.stdout).unwrap();
    let mut samples = Samples::new();
    for family in families.as_array().unwrap() {
        for sample in family["samples"].as_array().unwrap() {
            let labels = serde_json::from_value(sample[1].clone()).unwrap();
            let key = (sample[0].as_str().unwrap().to_owned(), labels);
            let value = sample[2].as_f64().unwrap();
            assert!(samples.insert(key, value).is_none(), "{sample} is there twice");
        }
    }
    (text, samples)
}

fn of(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    samples.get(&(name.to_owned(), labels.collect())).copied()
}

fn is(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-9)
}

#[tokio::test]
async fn requests_predictions_and_the_log_are_counted() {
    let Some(python) = python("schemathesis") else { return };
    let server = serve(|b| b).await;
    for _ in 0..3 {
        assert_eq!(server.predict(&body()).await.0, 200);
    }
    assert_eq!(server.predict(&body_with("contract", json!("Annual"))).await.0, 400);
    assert_eq!(server.reload().await.0, 200);
    assert_eq!(server.get("/nowhere").await.0, 404);
    assert_eq!(server.get(&format!("/docs/{}", "x".repeat(50))).await.0, 404);
    let (text, samples) = scrape(&python, &server).await;
    let predict = [("route", "/api/v1/predict"), ("method", "POST")];
    let with = |status| [predict[0], predict[1], ("status", status)];
    assert!(is(of(&samples, "pmmds_requests_total", &with("200")), 3.0), "{text}");
    assert!(is(of(&samples, "pmmds_requests_total", &with("400")), 1.0));
    assert!(is(of(&samples, "pmmds_request_latency_seconds_count", &predict[..1]), 4.0));
    let labels = [predict[0], ("le", "+Inf")];
    assert!(is(of(&samples, "pmmds_request_latency_seconds_bucket", &labels), 4.0));
    assert!(is(of(&samples, "pmmds_prediction_latency_seconds_count", &[]), 3.0));
    assert!(is(of(&samples, "pmmds_predictions_total", &[]), 3.0));
    assert!(is(of(&samples, "pmmds_validation_failures_total", &[]), 1.0));
    assert!(is(of(&samples, "pmmds_errors_total", &[("code", "not_found")]), 2.0));
    assert!(is(of(&samples, "pmmds_log_rows_total", &[("state", "written")]), 3.0));
    assert!(is(of(&samples, "pmmds_log_queue_depth", &[]), 0.0));
    assert!(is(of(&samples, "pmmds_model_reloads_total", &[("result", "done")]), 2.0), "{text}");
    assert!(is(of(&samples, "pmmds_model_version_skew", &[]), 0.0));
    assert!(of(&samples, "pmmds_uptime_seconds", &[]).unwrap() > 0.0);
    let info = samples.keys().find(|(name, _)| name == "pmmds_model_info").unwrap();
    assert_eq!((&*info.1["name"], &*info.1["version"]), ("churn-classifier", "1"));
    // Paths that nobody serves, and files of a folder, are no labels of their own.
    assert!(!text.contains("nowhere") && !text.contains("xxx") && !text.contains("Annual"));
    assert!(is(
        of(
            &samples,
            "pmmds_requests_total",
            &[("route", "?"), ("method", "GET"), ("status", "404")]
        ),
        1.0
    ));

    let (status, json) = server.get("/metrics/json").await;
    assert_eq!(status, 200);
    let names: Vec<&str> =
        json["metrics"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    for name in ["pmmds_requests_total", "pmmds_uptime_seconds", "pmmds_drift_psi"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let predictions = json["metrics"].as_array().unwrap().iter();
    let predictions = predictions.clone().find(|m| m["name"] == "pmmds_predictions_total").unwrap();
    assert_eq!(predictions["samples"], json!([{"labels": {}, "value": 3}]));
}

#[tokio::test]
async fn hostile_names_of_features_stay_labels() {
    let Some(python) = python("schemathesis") else { return };
    let ledger = ledger();
    ledger.record_drift_run(&run(0, report(&HOSTILE, 300.0))).await.unwrap();
    let server = serve(|b| b.ledger(ledger)).await;
    let (text, samples) = scrape(&python, &server).await;
    for name in HOSTILE {
        let psi = of(&samples, "pmmds_drift_psi", &[("feature", name)]);
        assert!(psi.is_some_and(|psi| psi > 0.2), "{name:?}\n{text}");
    }
    assert!(is(of(&samples, "pmmds_predictions_total", &[]), 0.0), "nobody has slipped one in");
}

#[tokio::test]
async fn what_is_on_record_is_counted_once_and_outages_are_told() {
    let Some(python) = python("schemathesis") else { return };
    let ledger = full_ledger().await;
    let before = serve(|b| b.ledger(Arc::clone(&ledger) as _)).await;
    let asked = Instant::now();
    let (text, samples) = scrape(&python, &before).await;
    // Of the clock of the tests, which stands: everything is as new as the service.
    assert!(is(of(&samples, "pmmds_drift_checks_total", &[("verdict", "stable")]), 4.0), "{text}");
    assert!(is(of(&samples, "pmmds_drift_events_total", &[]), 1.0));
    assert!(is(of(&samples, "pmmds_retraining_runs_total", &[("state", "completed")]), 4.0));
    assert!(is(of(&samples, "pmmds_promotions_total", &[]), 5.0));
    let open = |about| [("about", about), ("severity", "major")];
    assert!(is(of(&samples, "pmmds_alerts_open", &open("drift")), 4.0));
    assert_eq!(of(&samples, "pmmds_alerts_open", &[("about", "service")]), None);
    assert!(is(of(&samples, "pmmds_ledger_up", &[]), 1.0));
    assert!(of(&samples, "pmmds_drift_psi", &[("feature", "x")]).unwrap() > 0.2);
    assert!(is(of(&samples, "pmmds_drift_run_timestamp_seconds", &[]), 1_935_817_693.0), "{text}");

    ledger.record_drift_run(&run(8, report(&["x"], 300.0))).await.unwrap();
    ledger.record_retraining_run(&retraining(4, RunState::Failed), None).await.unwrap();
    ledger.record_decision(&promotion(9), None).await.unwrap();
    ledger.open_alert(&alert(9)).await.unwrap();
    let skew = Alert { key: "version skew/a".to_owned(), drift_run: None, ..alert(10) };
    ledger.open_alert(&skew).await.unwrap();
    // The ledger was asked a moment ago, and is asked again after a while.
    let as_before = is(glance(&before, "pmmds_drift_events_total").await, 1.0);
    assert!(as_before || asked.elapsed() > Duration::from_secs(5), "asked a moment ago");
    until_asked("it is asked again", async || {
        is(glance(&before, "pmmds_drift_events_total").await, 2.0)
    })
    .await;
    let (text, after) = scrape(&python, &before).await;
    assert!(is(of(&after, "pmmds_drift_events_total", &[]), 2.0), "{text}");
    assert!(is(of(&after, "pmmds_drift_checks_total", &[("verdict", "stable")]), 4.0));
    assert!(is(of(&after, "pmmds_retraining_runs_total", &[("state", "failed")]), 1.0));
    assert!(is(of(&after, "pmmds_promotions_total", &[]), 6.0));
    assert!(is(of(&after, "pmmds_alerts_open", &open("drift")), 5.0));
    assert!(is(of(&after, "pmmds_alerts_open", &open("service")), 1.0));

    ledger.take_down();
    until_asked("it is missed", async || is(glance(&before, "pmmds_ledger_up").await, 0.0)).await;
    let (_, down) = scrape(&python, &before).await;
    assert!(is(of(&down, "pmmds_ledger_up", &[]), 0.0));
    assert!(is(of(&down, "pmmds_promotions_total", &[]), 6.0), "a total does not go back");
}

#[tokio::test]
async fn without_a_verdict_or_a_ledger_nothing_is_made_up() {
    let Some(python) = python("schemathesis") else { return };
    let detector = || {
        let mut settings = DriftSettings::default();
        settings.min_rows = 20;
        DriftDetector::new(settings).unwrap()
    };
    let server = serve(|b| b.detector(detector())).await;
    server.predict(&body()).await;
    let (text, samples) = scrape(&python, &server).await;
    assert!(!samples.keys().any(|(name, _)| name == "pmmds_drift_psi"), "{text}");
    assert!(is(of(&samples, "pmmds_drift_rows", &[("verdict", "insufficient_data")]), 1.0));
    assert!(!samples.keys().any(|(name, _)| name == "pmmds_ledger_up"));

    let server = serve(|b| b.detector(detector())).await;
    for number in 0..60 {
        server.predict(&body_with("tenure", json!(number % 5))).await;
    }
    let (text, samples) = scrape(&python, &server).await;
    assert!(of(&samples, "pmmds_drift_psi", &[("feature", "tenure")]).unwrap() > 0.2, "{text}");

    let empty = serve_on(TestLog::new(), TestRegistry::with(&[]), |b| b.limits(quick())).await;
    let (text, samples) = scrape(&python, &empty).await;
    assert!(!samples.keys().any(|(name, _)| name == "pmmds_model_info"), "{text}");
    assert!(is(of(&samples, "pmmds_model_reloads_total", &[("result", "failed")]), 1.0));
}

#[tokio::test]
async fn a_schema_of_thousands_of_features_is_cut_off_and_said() {
    let Some(python) = python("schemathesis") else { return };
    let names: Vec<String> = (0..2_500).map(|number| format!("feature_{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ledger = ledger();
    ledger.record_drift_run(&run(0, report(&names, 300.0))).await.unwrap();
    let server = serve(|b| b.ledger(ledger)).await;
    let (_, samples) = scrape(&python, &server).await;
    assert!(samples.len() <= 2_000, "{}", samples.len());
    let shown = samples.keys().filter(|(name, _)| name == "pmmds_drift_psi").count();
    let dropped = of(&samples, "pmmds_series_dropped_total", &[]).unwrap();
    let shown = u32::try_from(shown).unwrap();
    let all = is(Some(dropped + f64::from(shown)), 2_500.0);
    assert!(shown > 1_500 && all, "{shown} {dropped}");
}

#[tokio::test]
async fn an_alias_that_has_moved_shows_as_skew() {
    let Some(python) = python("schemathesis") else { return };
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    let log = TestLog::new();
    let server =
        serve_on(log, Arc::clone(&registry), |b| b.poll_every(Duration::from_millis(20))).await;
    // The next version has other features, so it cannot come in.
    let other = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::integer("tenure")]);
    let features = r#"{"features": {"tenure": 5}}"#;
    registry.promote(crate::support::artifact_of(
        &Arc::new(other.unwrap()),
        features,
        Habit::Good,
        0.0,
    ));
    until_asked("it was tried", async || {
        let failed = glance(&server, r#"pmmds_model_reloads_total{result="failed"}"#).await;
        failed.is_some_and(|failed| failed >= 1.0)
    })
    .await;
    let (text, samples) = scrape(&python, &server).await;
    assert!(is(of(&samples, "pmmds_model_version_skew", &[]), 1.0), "{text}");
    assert!(of(&samples, "pmmds_model_reloads_total", &[("result", "failed")]).unwrap() >= 1.0);
    // What is not known is not claimed.
    let skew = async || glance(&server, "pmmds_model_version_skew").await;
    registry.point_at(None);
    until_asked("there is no alias", async || skew().await.is_none()).await;
    registry.point_at(Some(1));
    until_asked("it is back", async || is(skew().await, 0.0)).await;
    registry.set(RegistryMode::Down);
    until_asked("the registry is away", async || skew().await.is_none()).await;
}
