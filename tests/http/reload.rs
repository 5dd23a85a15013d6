//! The model swap: success, failure, outage, slowness, with requests in flight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pmmds::schema::{Feature, FeatureSchema};
use serde_json::{Value, json};

use crate::support::{
    CAUSE, ENDLESS, ENDLESS_TOO, FOR_EVER, Habit, RegistryMode, Server, TestLog, TestRegistry,
    artifact, artifact_of, body, quick, serve, serve_on, until, until_asked,
};

type Break = Box<dyn Fn(&TestRegistry)>;

async fn serving(server: &Server) -> Value {
    server.get("/model").await.1["version"].clone()
}

#[tokio::test]
async fn a_promoted_version_comes_in() {
    let server = serve(|b| b).await;
    let (status, info) = server.get("/model").await;
    assert_eq!(status, 200);
    assert_eq!(info["name"], "churn-classifier");
    assert_eq!((&info["version"], &info["alias"]), (&json!("1"), &json!("production")));
    assert_eq!(info["digest"].as_str().unwrap().len(), 64);
    assert!(info["loaded_at"].as_str().unwrap().starts_with("2031-05-06T07:08:"));
    assert!(info["load_time_ms"].as_f64().unwrap() > 0.0);

    server.registry.promote(artifact(Habit::Good, 2.0));
    let (status, answer) = server.reload().await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["status"], "reloaded");
    assert_eq!(answer["previous_version"], "1");
    assert_eq!(answer["current_version"], "2");
    assert_eq!(answer["model"], server.get("/model").await.1);
    assert_eq!(server.predict(&body()).await.1["model_version"], "2");
    // A `curl -X POST` without body or content type does too.
    let response = server.client.post(server.url("/model/reload")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn no_failure_takes_the_model_away() {
    let server = serve(|b| b.limits(quick())).await;
    let other = FeatureSchema::new([Feature::integer("tenure").range(0.0, 100.0)]).unwrap();
    let other = artifact_of(&Arc::new(other), r#"{"features": {}}"#, Habit::Good, 0.0);
    let cases: [(&str, u16, Break); 8] = [
        ("registry_unavailable", 503, Box::new(|r| r.set(RegistryMode::Down))),
        ("reload_deadline", 503, Box::new(|r| r.set(RegistryMode::Slow(FOR_EVER)))),
        ("alias_not_found", 502, Box::new(|r| r.point_at(None))),
        ("version_not_found", 502, Box::new(|r| r.point_at(Some(77)))),
        ("schema_changed", 502, Box::new(move |r| r.promote(other.clone()))),
        ("version_rejected", 502, Box::new(|r| r.promote(artifact(Habit::Fickle, 0.0)))),
        ("version_rejected", 502, Box::new(|r| r.promote(artifact(Habit::Explosive, 0.0)))),
        ("version_changed", 502, Box::new(|r| r.tamper(artifact(Habit::Good, 9.0)))),
    ];
    for (code, status, break_it) in cases {
        break_it(&server.registry);
        let began = Instant::now();
        let (found, answer) = server.reload().await;
        assert_eq!((found, &answer["detail"]["code"]), (status, &json!(code)), "{answer}");
        let told = answer["detail"]["message"].as_str().unwrap();
        assert!(told.len() > 20 && !told.contains("it is down") && !told.contains(CAUSE), "{told}");
        assert!(began.elapsed() < FOR_EVER, "{code} took {:?}", began.elapsed());
        assert_eq!(serving(&server).await, "1", "{code}");
        assert_eq!(server.predict(&body()).await.0, 200, "{code}");
        server.registry.set(RegistryMode::Up);
        server.registry.point_at(Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_never_ends_its_smoke_predictions_holds_up_nobody() {
    let server = serve(|b| b.limits(quick())).await;
    server.registry.promote(artifact(Habit::Endless, 0.0));
    let (status, answer) = server.reload().await;
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("reload_deadline")));
    // It is still at it.
    assert!(ENDLESS.is_reached());
    assert_eq!(server.predict(&body()).await.0, 200);
    assert_eq!(server.get("/livez").await.0, 200);
    assert_eq!(serving(&server).await, "1");
    // Nor the next version.
    server.registry.promote(artifact(Habit::Good, 3.0));
    let (status, answer) = server.reload().await;
    assert_eq!((status, &answer["current_version"]), (200, &json!("3")), "{answer}");
    ENDLESS.let_go();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_leaves_a_version_alone_that_never_ends_its_smoke_predictions() {
    let server = serve(|b| b.limits(quick()).poll_every(Duration::from_millis(30))).await;
    server.registry.promote(artifact(Habit::EndlessToo, 0.0));
    let metrics = async || {
        let text = server.client.get(server.url("/metrics")).send().await.unwrap();
        text.text().await.unwrap()
    };
    let failed = r#"pmmds_model_reloads_total{result="failed"} 1"#;
    until_asked("it is given up", async || metrics().await.contains(failed)).await;
    let fetched = server.registry.fetched();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(server.registry.fetched(), fetched, "it takes one thread, and no more");
    server.registry.promote(artifact(Habit::Good, 3.0));
    let service = server.service.clone();
    until("version 3 is served", || service.model().unwrap().version.number() == 3).await;
    ENDLESS_TOO.let_go();
}

#[tokio::test]
async fn what_was_damaged_on_its_way_is_fetched_again() {
    let server = serve(|b| b.limits(quick()).poll_every(Duration::from_millis(30))).await;
    server.registry.set(RegistryMode::Damages);
    let began = Instant::now();
    server.registry.promote(artifact(Habit::Good, 2.0));
    until("it is fetched", || server.registry.fetched() >= 2).await;
    // After a pause of a second, and not at every look.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let fetched = server.registry.fetched();
    assert!(fetched <= 2 + began.elapsed().as_secs(), "{fetched} in {:?}", began.elapsed());
    let (status, answer) = server.reload().await;
    assert_eq!((status, &answer["detail"]["code"]), (502, &json!("registry_failed")), "{answer}");
    server.registry.set(RegistryMode::Up);
    let service = server.service.clone();
    until("version 2 is served", || service.model().unwrap().version.number() == 2).await;
}

#[tokio::test]
async fn many_reloads_at_once_are_few_loads() {
    let server = serve(|b| b).await;
    server.registry.promote(artifact(Habit::Good, 2.0));
    server.registry.set(RegistryMode::Slow(Duration::from_millis(500)));
    let before = server.registry.fetched();
    let all: Vec<_> = (0..20)
        .map(|_| {
            let service = server.service.clone();
            tokio::spawn(async move { service.reload().await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap().unwrap().current_version.to_string(), "2");
    }
    assert!(server.registry.fetched() - before <= 2, "{}", server.registry.fetched() - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_sees_one_version_while_they_change() {
    let server = Arc::new(serve(|b| b).await);
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let (status, answer) = server.predict(&body()).await;
                    assert_eq!(status, 200, "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    answers.push(answer);
                }
                answers
            })
        })
        .collect();
    // More answers than could be under way when the version came in.
    let some_are_answered = async || {
        let before = answered.load(Ordering::Relaxed);
        until("it answers", || answered.load(Ordering::Relaxed) > before + 16).await;
    };
    for version in 2..=6 {
        some_are_answered().await;
        server.registry.promote(artifact(Habit::Good, f64::from(version)));
        assert_eq!(server.reload().await.0, 200);
    }
    some_are_answered().await;
    stop.store(true, Ordering::Relaxed);
    let mut answers = Vec::new();
    for client in clients {
        answers.extend(client.await.unwrap());
    }
    // Each answer's probability is that of the version that it names.
    let mut by_version: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for answer in &answers {
        let version = answer["model_version"].as_str().unwrap().to_owned();
        by_version.entry(version).or_default().push(answer["probability"].as_f64().unwrap());
    }
    assert_eq!(by_version.len(), 6, "{:?}", by_version.keys());
    for (version, scores) in &by_version {
        assert!(scores.iter().all(|score| (score - scores[0]).abs() < 1e-12), "version {version}");
    }
    // And each event is in a batch of the version that answered it.
    assert_eq!(server.log.events().len(), answers.len());
    for batch in server.log.batches() {
        let scores = &by_version[&batch.version().to_string()];
        for event in batch.events() {
            assert!((event.prediction.score() - scores[0]).abs() < 1e-12);
        }
    }
}

#[tokio::test]
async fn replicas_that_poll_converge() {
    let server = serve(|b| b.poll_every(Duration::from_millis(30))).await;
    server.registry.promote(artifact(Habit::Good, 2.0));
    let service = server.service.clone();
    let version = || service.model().map(|model| model.version.number());
    until("version 2 is served", || version() == Some(2)).await;
    let fetched = server.registry.fetched();
    server.registry.set(RegistryMode::Down);
    tokio::time::sleep(Duration::from_millis(150)).await;
    server.registry.set(RegistryMode::Up);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(version(), Some(2));
    assert_eq!(server.registry.fetched(), fetched, "nothing is fetched that is served already");
}

#[tokio::test]
async fn a_service_starts_with_the_registry_down() {
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    registry.set(RegistryMode::Down);
    let server = serve_on(TestLog::new(), registry, |b| b.limits(quick())).await;
    assert_eq!(server.get("/ready").await.0, 503);
    assert_eq!(server.get("/livez").await.0, 200);
    server.registry.set(RegistryMode::Up);
    assert_eq!(server.reload().await.0, 200);
    assert_eq!(server.get("/ready").await, (200, json!({"status": "ready"})));
}
