//! Health in the shape of the original, and readiness that means it.

use pmmds::Timestamp;
use serde_json::json;

use crate::support::{LogMode, quick, serve, until_asked};

#[tokio::test]
async fn health_has_the_shape_of_the_original() {
    let server = serve(|b| b.limits(quick())).await;
    let (status, health) = server.get("/healthz").await;
    assert_eq!(status, 200);
    let timestamp = health["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.parse::<Timestamp>().is_ok(), "{timestamp}");
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(health["database"], "healthy");
    assert_eq!(server.get("/ready").await, (200, json!({"status": "ready"})));
    assert_eq!(server.get("/readyz").await, (200, json!({"status": "ready"})));

    for mode in [LogMode::Down, LogMode::Held] {
        server.log.set(mode);
        // An answer of a moment ago is good.
        until_asked("it is noticed", async || server.get("/healthz").await.0 == 503).await;
        let (status, health) = server.get("/healthz").await;
        assert_eq!(status, 503);
        assert_eq!(
            (&health["status"], &health["database"]),
            (&json!("degraded"), &json!("unhealthy"))
        );
        let (status, ready) = server.get("/ready").await;
        assert_eq!((status, &ready["status"]), (503, &json!("not_ready")));
        assert!(ready["reason"].is_string());
        assert_eq!(server.get("/livez").await, (200, json!({"status": "alive"})));
    }
    server.log.set(LogMode::Up);
    until_asked("it is well again", async || server.get("/healthz").await.0 == 200).await;
}

#[tokio::test]
async fn verbose_lists_every_check() {
    let server = serve(|b| b).await;
    let (status, ready) = server.get("/readyz?verbose").await;
    assert_eq!(status, 200);
    let names: Vec<&str> =
        ready["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shutdown", "model", "database", "log"]);
    assert_eq!(ready["model_version"], "1");
    assert_eq!(ready["log"]["accepted"], 0);
    assert_eq!(ready["log"]["rejected"], 0, "the word of the metrics");
    let (_, live) = server.get("/livez?verbose=true").await;
    assert_eq!(live["checks"], json!([{"name": "process", "status": "ok"}]));
}
