//! What operators do over HTTP with the program itself, and whether it keeps its secrets.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};

use crate::{command, real_data, told};

const TOKEN: &str = "canary-token-of-more-than-32-characters";

/// Alerts as they were posted.
pub(super) type Posted = Arc<Mutex<Vec<Value>>>;

/// Where alerts are posted; its address is a secret.
pub(super) async fn receiver() -> (String, Posted) {
    let posted = Posted::default();
    let take = async |State(posted): State<Posted>, body: Bytes| {
        posted.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/canary-hook", listener.local_addr().unwrap());
    let app = Router::new().fallback(take).with_state(Arc::clone(&posted));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, posted)
}

/// A service with every secret there is, killed if the test fails.
struct Serving {
    child: Child,
    base: String,
    client: reqwest::Client,
}

impl Serving {
    fn start(state: &Path, data: &str, hook: &str) -> Self {
        let port = super::serving::free_port();
        let port_text = port.to_string();
        let arguments = ["serve", "--port", &port_text, "--data", data];
        let mut child = command(&arguments, Some(state))
            .env("PMMDS_ADMIN_TOKEN", TOKEN)
            .env("PMMDS_ALERT_WEBHOOK_URL", hook)
            .env("PMMDS_DRIFT_MIN_DRIFT_FEATURES", "1")
            .env("PMMDS_LOG_LEVEL", "trace")
            .env("PMMDS_LOG_JSON", "true")
            .stdout(Stdio::piped())
            .stderr(Stdio::from(std::fs::File::create(state.join("stderr")).unwrap()))
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "serving churn-classifier v1\n");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, base: format!("http://127.0.0.1:{port}"), client }
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.bearer_auth(TOKEN).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(self.client.get(format!("{}{path}", self.base))).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Starts a job, and waits for its end.
    async fn job(&self, path: &str, body: Value) -> Value {
        let post = self.client.post(format!("{}{path}", self.base)).json(&body);
        let (status, job) = self.ask(post).await;
        assert_eq!(status, 202, "{path}: {job}");
        for _ in 0..3_000 {
            let job = self.get(&format!("/api/v1/jobs/{}", job["id"].as_str().unwrap())).await;
            if job["state"] != "running" {
                assert_eq!(job["state"], "done", "{job}");
                return job;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{path} never ended");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may be over already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn monitor_alert_and_retraining_are_started_over_http_and_secrets_kept() {
    let Some(data) = real_data() else { return };
    let data = data.to_str().unwrap();
    let state = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--data", data]].concat();
        told(&command(&arguments, Some(state.path())).output().unwrap())
    };
    run(&["train"]);
    let (hook, posted) = receiver().await;
    let mut serving = Serving::start(state.path(), data, &hook);
    let seed = ["seed-traffic", "--drift", "--count", "600", "--url", &serving.base];
    let seed: Vec<&str> = seed.into_iter().chain(["--admin-token", TOKEN]).collect();
    run(&seed);

    assert!(posted.lock().unwrap().is_empty());
    let looked = serving.job("/api/v1/drift/runs", json!({})).await;
    let latest = serving.get("/api/v1/drift/latest").await;
    assert_eq!((&looked["run"], &looked["message"]), (&latest["id"], &json!("drift")), "{looked}");
    let alert = &serving.get("/api/v1/alerts?state=open").await["items"][0];
    assert_eq!(alert["deliveries"][0]["state"], "delivered", "{alert}");
    let posted = posted.lock().unwrap().clone();
    // It may have been posted again, where the answer came late.
    let of_this = |one: &Value| one["alert_id"] == alert["id"];
    assert!(!posted.is_empty() && posted.iter().all(of_this), "{posted:?}");

    let retrained = serving.job("/api/v1/retrain", json!({"force": false})).await;
    let runs = serving.get("/api/v1/retraining-runs").await;
    assert_eq!(runs["items"][0]["id"], retrained["run"], "{retrained}");
    assert_eq!(runs["items"][0]["trigger"], "drift");
    let decision = &serving.get("/api/v1/decisions").await["items"][0];
    assert_eq!(decision["retraining_run"], retrained["run"], "{decision}");
    assert_eq!(retrained["message"], decision["reason"]);

    let asked = serving.client.get(format!("{}/metrics", serving.base)).send().await.unwrap();
    let metrics = asked.text().await.unwrap();
    assert!(metrics.contains("pmmds_drift_events_total{} 1\n"), "{metrics}");
    let api = serving.get("/openapi.json").await.to_string();

    let pid = serving.child.id().to_string();
    assert!(super::serving::signal("TERM", &pid));
    assert!(serving.child.wait().unwrap().success());
    let mut said = String::new();
    serving.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let logged = std::fs::read_to_string(state.path().join("stderr")).unwrap();
    for line in logged.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(logged.contains("a job begins") && logged.contains("x_request_id"), "{logged}");
    for (what, text) in [("stdout", said), ("log", logged), ("metrics", metrics), ("API", api)] {
        let line = text.lines().find(|line| line.contains("canary"));
        assert_eq!(line, None, "{what}");
    }
}

#[test]
fn the_password_of_the_database_is_in_no_error() {
    let state = tempfile::tempdir().unwrap();
    for url in [
        "postgres://pmmds:canary@127.0.0.1:1/pmmds",
        "postgres://pmmds:canary@nowhere.invalid/pmmds",
        "mysql://pmmds:canary@127.0.0.1/pmmds",
    ] {
        let mut command = command(&["monitor"], Some(state.path()));
        command.env("PMMDS_DATABASE_URL", url).env("PMMDS_LOG_LEVEL", "trace");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        for part in [output.stdout, output.stderr] {
            let text = String::from_utf8_lossy(&part).into_owned();
            assert!(!text.contains("canary"), "{url}: {text}");
        }
    }
    let help = command(&["--help"], None).env("PMMDS_ADMIN_TOKEN", TOKEN).output().unwrap();
    assert!(help.status.success() && !String::from_utf8_lossy(&help.stdout).contains("canary"));
}
