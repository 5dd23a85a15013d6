//! Secrets are in nothing that leaves the process: canaries for each, and everything is searched.

use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use pmmds::axum::{JobEnd, Operations, Shadow};
use pmmds::ledger::AlertEvent;
use pmmds::lifecycle::{AlertNotice, AlertSink as _};
use pmmds::registry::Alias;
use pmmds::webhook::{Webhook, WebhookSink};
use pmmds::{Error, ErrorKind};
use serde_json::json;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::ledger::{alert, full_ledger};
use crate::support::{
    CAUSE, LogMode, Logs, RegistryMode, TestLog, TestRegistry, artifact, body, builder, client,
    quick, serve, until, until_asked,
};

const TOKEN: &str = "canary-token-of-more-than-32-characters";
const WRONG: &str = "canary-wrong-token-of-more-than-32-chars";
const URL: &str = "http://127.0.0.1:1/canary-path?key=canary-query";

/// Flows that post an alert, to a receiver that is not there.
#[derive(Debug)]
struct Flows(WebhookSink);

#[async_trait]
impl Operations for Flows {
    async fn monitor(&self) -> Result<JobEnd, Error> {
        let notice = AlertNotice { event: AlertEvent::Opened, alert: alert(1) };
        self.0.deliver(&notice).await?;
        Ok(JobEnd::new("delivered"))
    }

    async fn retrain(&self, _: bool) -> Result<JobEnd, Error> {
        let cause = std::io::Error::other("what the driver said");
        Err(Error::new(ErrorKind::Unavailable, "shop", "no data").with_source(cause))
    }
}

#[tokio::test]
async fn no_output_has_one() {
    let logs = Logs::default();
    let writer = logs.clone();
    let lines = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let ours = tracing_subscriber::filter::Targets::new()
        .with_target("pmmds", tracing_subscriber::filter::LevelFilter::TRACE);
    let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));
    let subscriber = tracing_subscriber::registry().with(lines).with(traces.with_filter(ours));
    // The other tests are logged as well; they have no canaries.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let webhook = Webhook::new("pager", URL);
    let mut out = vec![format!("{webhook:?}")];
    let sink = webhook.retries(0).build().unwrap();
    out.push(format!("{sink:?}"));
    let flows = Arc::new(Flows(sink));
    let unready = builder(&TestLog::new(), &TestRegistry::with(&[])).admin_token(TOKEN);
    out.push(format!("{unready:?}"));
    let short = builder(&TestLog::new(), &TestRegistry::with(&[])).admin_token("canary");
    out.push(format!("{:?}", short.start().await.unwrap_err()));

    let ledger = full_ledger().await;
    let server = serve(|b| {
        let b = b.admin_token(TOKEN).ledger(ledger).operations(flows).limits(quick());
        b.shadow(Shadow::Alias(Alias::staging()))
    })
    .await;
    let marked = "canary-free-request";
    let send = async |method: &str, path: &str, token: &str, more: &str| {
        let method = method.parse().unwrap();
        let request = client().request(method, server.url(path)).bearer_auth(token);
        let request = request.header("x-request-id", marked).header("accept", more);
        let response = request.json(&json!({})).send().await.unwrap();
        let head = format!("{:?}", response.headers());
        format!("{} {head} {}", response.status(), response.text().await.unwrap())
    };
    assert_eq!(server.predict(&body()).await.0, 200);
    for token in [TOKEN, WRONG] {
        for accept in ["application/json", "application/problem+json"] {
            for path in [
                "/api/v1/drift/runs",
                "/api/v1/retrain",
                "/api/v1/outcomes",
                "/model/reload",
                "/api/v1/alerts/00000000-0000-0000-0000-0000000003e9/acknowledge",
                "/api/v1/alerts/x/acknowledge",
                "/nowhere",
            ] {
                out.push(send("POST", path, token, accept).await);
            }
            for path in [
                "/openapi.json",
                "/metrics",
                "/metrics/json",
                "/model",
                "/readyz?verbose",
                "/healthz",
                "/api/v1/drift/live",
                "/api/v1/shadow",
                "/api/v1/drift/latest",
                "/api/v1/drift/runs",
                "/api/v1/alerts",
                "/api/v1/decisions",
                "/api/v1/retraining-runs",
                "/api/v1/jobs/00000000-0000-0000-0000-000000000000",
                "/docs",
                &format!("/api/v1/alerts?token={TOKEN}&cursor={TOKEN}"),
            ] {
                out.push(send("GET", path, token, accept).await);
            }
        }
    }
    server.registry.set(RegistryMode::Down);
    out.push(send("POST", "/model/reload", TOKEN, "*/*").await);
    // What failed in the background is told by routes that everybody may ask.
    let why = || server.service.shadow_report().unwrap().why_not.unwrap_or_default();
    until("the shadow has noticed", || why().contains("unavailable")).await;
    let shadow = send("GET", "/api/v1/shadow", WRONG, "*/*").await;
    server.log.set(LogMode::Down);
    assert_eq!(server.predict(&body()).await.0, 503);
    let unready = send("GET", "/readyz?verbose", WRONG, "*/*").await;
    let why_not = r#""why_not":"test registry: unavailable""#;
    let reason = r#"{"name":"log","status":"failed","reason":"test log: unavailable"}"#;
    let short = (shadow.contains(why_not), unready.contains(reason));
    assert_eq!(short, (true, true), "{shadow}\n{unready}");
    out.extend([shadow, unready]);
    server.registry.tamper(artifact(crate::support::Habit::Fickle, 0.0));
    out.push(format!("{:?}", server.service));
    // The jobs have ended, and what they say is told.
    for job in out.clone() {
        let id = job.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next());
        if let Some(id) = id.filter(|_| job.starts_with("202")) {
            let mut told = String::new();
            until_asked("it ends", async || {
                told = send("GET", &format!("/api/v1/jobs/{id}"), TOKEN, "*/*").await;
                !told.contains("running")
            })
            .await;
            out.push(told);
        }
    }
    let told = out.join("\n").replace(marked, "");
    assert!(told.contains("pager: no connection") && told.contains("shop: unavailable"), "{told}");
    assert!(!told.contains("what the driver said"), "the cause is for the log");
    assert!(!told.contains("canary"), "{told}");

    provider.force_flush().unwrap();
    let traced = exporter.get_finished_spans().unwrap();
    let traced: Vec<String> = traced.iter().map(|span| format!("{span:?}")).collect();
    let ours = |span: &&String| span.contains(marked);
    assert!(traced.iter().filter(ours).count() > 50, "requests are traced");
    assert!(traced.iter().any(|span| span.contains("acknowledge") && span.contains("401")));
    let leaks = |span: &&String| span.replace(marked, "").contains("canary");
    assert_eq!(traced.iter().find(leaks), None);

    let logged = logs.text();
    let mut spans = 0;
    for line in logged.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        spans += u32::from(line["span"]["x_request_id"] == marked);
    }
    assert!(spans > 5, "the id of the request is in its span: {spans}");
    let logged = logged.replace(marked, "");
    assert!(logged.contains("what the driver said") && logged.contains("a job failed"));
    for what in ["the shadow is not as it is meant", "a batch waits"] {
        let whole = |line: &str| line.contains(what) && line.contains(CAUSE);
        assert!(logged.lines().any(whole), "{what}");
    }
    let line = logged.lines().find(|line| line.contains("canary"));
    assert_eq!(line, None);
}
