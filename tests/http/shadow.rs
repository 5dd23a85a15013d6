//! A version that only watches.

use std::time::Duration;

use pmmds::axum::{Durability, Scoring, Shadow, ShadowReport};
use pmmds::registry::{Alias, VersionId};
use serde_json::{Value, json};

use crate::support::{
    Habit, LogMode, RegistryMode, Server, TestLog, TestRegistry, artifact, body, body_with, quick,
    serve, serve_on, until,
};

/// Version 1 in production, and version 2 with these ways in the shadow.
async fn beside(habit: Habit, bias: f64) -> Server {
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0), artifact(habit, bias)]);
    let shadow = Shadow::Version(VersionId::new(2).unwrap());
    let server = serve_on(TestLog::new(), registry, |b| b.shadow(shadow)).await;
    until("it is loaded", || report(&server).shadow_version.is_some()).await;
    server
}

fn report(server: &Server) -> ShadowReport {
    server.service.shadow_report().unwrap()
}

fn rows(server: &Server) -> u64 {
    report(server).comparison.map_or(0, |stats| stats.rows + stats.failed)
}

/// Predicts for tenures 0 to 59, each of which version 1 must answer.
async fn sixty(server: &Server) {
    for tenure in 0..60 {
        let (status, answer) = server.predict(&body_with("tenure", json!(tenure))).await;
        assert_eq!((status, &answer["model_version"]), (200, &json!("1")), "{answer}");
    }
}

#[tokio::test]
async fn it_is_logged_and_compared_and_never_answers() {
    let server = beside(Habit::Good, 1.0).await;
    sixty(&server).await;
    until("all rows are compared", || rows(&server) == 60).await;
    let (status, answer) = server.get("/api/v1/shadow").await;
    assert_eq!(status, 200);
    let versions = (&answer["champion_version"], &answer["shadow_version"]);
    assert_eq!(versions, (&json!("1"), &json!("2")));
    assert_eq!((&answer["why_not"], &answer["missed"]), (&Value::Null, &json!(0)));
    let stats = &answer["comparison"];
    // 1 / (1 + e^(t/24 - bias)) is at least 1/2 up to a tenure of 0, and of 24.
    assert_eq!(stats["agreement"], json!(36.0 / 60.0));
    let score = |bias: f64, tenure: u32| 1.0 / (1.0 + (f64::from(tenure) / 24.0 - bias).exp());
    let mean = (0..60).map(|t| score(1.0, t) - score(0.0, t)).sum::<f64>() / 60.0;
    assert!((stats["mean_absolute_difference"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!(stats["score_psi"].as_f64().unwrap() > 0.25, "{stats}");
    assert!(stats["shadow_latency_ms"].as_f64().unwrap() > 0.0);

    until("both are logged", || server.log.events().len() == 120).await;
    let of = |version: u64| {
        let batches = server.log.batches();
        let of = batches.iter().filter(|batch| batch.version().number() == version);
        of.flat_map(|batch| batch.events().to_vec()).collect::<Vec<_>>()
    };
    let (answered, shadowed) = (of(1), of(2));
    assert_eq!((answered.len(), shadowed.len()), (60, 60));
    // An outcome is joined to the answer, not to what nobody was told.
    assert!(shadowed.iter().all(|s| answered.iter().all(|a| a.request_id != s.request_id)));
    for (tenure, event) in (0..).zip(&shadowed) {
        assert!((event.prediction.score() - score(1.0, tenure)).abs() < 1e-12);
    }
    // Drift is that of the version that answers.
    assert_eq!(server.service.live_report().unwrap().report.current_rows, 60);
    assert_eq!(server.stop().await.written, 120);
}

#[tokio::test]
async fn its_row_is_found_by_what_the_client_calls_its_request() {
    let server = beside(Habit::Good, 1.0).await;
    let post = server.client.post(server.url("/api/v1/predict")).json(&body());
    let answer = post.header("x-request-id", "abc").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    until("both are logged", || server.log.events().len() == 2).await;
    for event in server.log.events() {
        assert_eq!(event.correlation_id.unwrap().to_string(), "abc");
    }
}

#[tokio::test]
async fn rows_of_a_batch_and_of_elsewhere_are_watched_too() {
    let server = beside(Habit::Good, 0.0).await;
    let features = body()["features"].take();
    let batch = json!({"instances": vec![features.clone(); 30]});
    assert_eq!(server.post("/api/v1/predict/batch", &batch).await.0, 200);
    until("they are compared", || rows(&server) == 30).await;
    let stats = report(&server).comparison.unwrap();
    assert_eq!((stats.agreement, stats.mean_absolute_difference), (Some(1.0), Some(0.0)));
    assert_eq!(stats.score_psi, Some(0.0));
    let one = json!({"observations": [{"features": features, "probability": 0.9}]});
    assert_eq!(server.post("/api/v1/observations", &one).await.0, 200);
    until("it is compared", || rows(&server) == 31).await;
    assert!(report(&server).comparison.unwrap().largest_difference.unwrap() > 0.5);
}

#[tokio::test]
async fn whatever_it_does_the_champion_answers() {
    // It answers NaN for 99, and panics for 98.
    let server = beside(Habit::Odd, 0.0).await;
    for tenure in [98, 99, 12] {
        assert_eq!(server.predict(&body_with("tenure", json!(tenure))).await.0, 200);
    }
    until("all are counted", || rows(&server) == 3).await;
    let stats = report(&server).comparison.unwrap();
    assert_eq!((stats.rows, stats.failed), (1, 2));
    until("the good one is logged", || server.log.events().len() == 4).await;

    // It cannot keep up: nobody waits, and what it misses is counted.
    let server = beside(Habit::Slow, 0.0).await;
    let slow = body_with("tenure", json!(97));
    let batch = json!({"instances": vec![slow["features"].clone(); 1_000]});
    for _ in 0..6 {
        let (status, _) = server.post("/api/v1/predict/batch", &batch).await;
        assert_eq!(status, 200);
    }
    assert!(report(&server).missed > 0, "{:?}", report(&server));
    assert!(rows(&server) < 1_000);
}

#[tokio::test]
async fn the_log_is_for_the_champion_first() {
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0), artifact(Habit::Good, 1.0)]);
    let shadow = Shadow::Version(VersionId::new(2).unwrap());
    let limits = quick().queue(20).batch_rows(1);
    let server = serve_on(TestLog::new(), registry, |b| {
        b.shadow(shadow).limits(limits).durability(Durability::Queued)
    })
    .await;
    until("it is loaded", || report(&server).shadow_version.is_some()).await;
    server.log.set(LogMode::Down);
    for _ in 0..8 {
        assert_eq!(server.predict(&body()).await.0, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("it gives way", || report(&server).not_logged > 0).await;
    // Half of the queue is the champion's alone.
    for _ in 0..5 {
        assert_eq!(server.predict(&body()).await.0, 200);
    }
    until("it scores all the same", || rows(&server) == 13).await;
}

#[tokio::test]
async fn it_follows_its_alias_and_says_why_it_does_not_run() {
    let server = serve(|b| b).await;
    let (status, answer) = server.get("/api/v1/shadow").await;
    assert_eq!((status, &answer["detail"]["code"]), (404, &json!("no_shadow")));

    // Nothing behind the alias; then the version in service; then another; then an outage.
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0), artifact(Habit::Good, 1.0)]);
    let shadow = Shadow::Alias(Alias::staging());
    let server =
        serve_on(TestLog::new(), registry, |b| b.shadow(shadow).scoring(Scoring::Blocking)).await;
    let why = || report(&server).why_not.unwrap_or_default();
    until("there is none", || why() == "there is no such alias").await;
    assert_eq!(server.predict(&body()).await.0, 200);
    server.registry.stage(1);
    assert_eq!(server.reload().await.0, 200);
    until("it is loaded", || report(&server).shadow_version == Some(VersionId::FIRST)).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    until("it is the same", || why() == "version 1 is the one in service").await;
    assert_eq!(rows(&server), 0, "a version is not compared with itself");
    server.registry.stage(2);
    assert_eq!(server.reload().await.0, 200);
    until("it is version 2", || report(&server).shadow_version.is_some_and(|v| v.number() == 2))
        .await;
    assert_eq!(server.predict(&body()).await.0, 200);
    until("it is compared", || rows(&server) == 1).await;
    server.registry.set(RegistryMode::Down);
    assert_eq!(server.reload().await.0, 503);
    until("it says so", || why().contains("unavailable")).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    until("the present one stays", || rows(&server) == 2).await;
    assert!(why().contains("unavailable"), "a row does not mend the reload: {:?}", why());

    // Promoted: it answers now, and watches no more.
    server.registry.set(RegistryMode::Up);
    server.registry.point_at(Some(2));
    assert_eq!(server.reload().await.0, 200);
    let (_, answer) = server.predict(&body()).await;
    assert_eq!(answer["model_version"], "2");
    until("it is the same", || why() == "version 2 is the one in service").await;
    server.registry.stage(1);
    assert_eq!(server.reload().await.0, 200);
    until("it is version 1", || report(&server).shadow_version == Some(VersionId::FIRST)).await;
    assert_eq!(report(&server).why_not, None, "that was another version");
}

#[tokio::test]
async fn a_version_that_was_refused_is_fetched_once_until_it_is_asked_for_or_the_alias_moves() {
    let poll = Duration::from_millis(20);
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0), artifact(Habit::Fickle, 0.0)]);
    registry.stage(2);
    let shadow = Shadow::Alias(Alias::staging());
    let server = serve_on(TestLog::new(), registry, |b| b.shadow(shadow).poll_every(poll)).await;
    let refused = || report(&server).why_not.is_some_and(|why| why == "serving: corrupt");
    until("it is refused", refused).await;
    // The one in service, and the one in the shadow.
    tokio::time::sleep(5 * poll).await;
    assert_eq!(server.registry.fetched(), 2);
    assert!(refused(), "it is still said why");
    assert_eq!(server.reload().await.0, 200);
    until("it is fetched again", || server.registry.fetched() == 4).await;
    server.registry.stage(1);
    until("version 1 is loaded", || report(&server).shadow_version == Some(VersionId::FIRST)).await;
    let fetched = server.registry.fetched();
    server.registry.stage(2);
    until("version 2 is tried anew", || server.registry.fetched() == fetched + 1).await;
    tokio::time::sleep(5 * poll).await;
    assert_eq!(server.registry.fetched(), fetched + 1);
}
