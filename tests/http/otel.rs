//! Traces over real sockets: what an exporter of the application's is given.

use std::collections::HashMap;
use std::sync::Arc;

use ::axum::Router;
use ::axum::extract::Request;
use ::axum::middleware::{Next, from_fn};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    TracerProvider as _,
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracing::Instrument as _;
use tracing::subscriber::DefaultGuard;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{
    LogMode, Logs, Server, TestLog, TestRegistry, artifact, body, builder, listen, raw, serve,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// What an application has: a tracer with its exporter, under the subscriber of this thread, beside
/// log lines in JSON.
struct Application {
    exporter: InMemorySpanExporter,
    logs: Logs,
    provider: SdkTracerProvider,
    _subscriber: DefaultGuard,
}

impl Application {
    fn new() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let logs = Logs::default();
        let writer = logs.clone();
        let lines = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("application"));
        let subscriber = tracing_subscriber::registry().with(lines).with(traces);
        let _subscriber = listen(subscriber);
        Self { exporter, logs, provider, _subscriber }
    }

    /// The spans of requests since the last call, in the order in which they ended.
    fn requests(&self) -> Vec<SpanData> {
        self.provider.force_flush().unwrap();
        let mut spans = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        spans.retain(|span| span.span_kind == SpanKind::Server);
        spans
    }

    /// The span of the only request since the last call.
    fn request(&self) -> SpanData {
        let mut spans = self.requests();
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.remove(0)
    }

    /// Lines of the log with this message.
    fn lines(&self, message: &str) -> Vec<Value> {
        let lines = self.logs.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["fields"]["message"] == message).collect()
    }
}

fn attributes(span: &SpanData) -> HashMap<String, String> {
    span.attributes.iter().map(|one| (one.key.to_string(), one.value.to_string())).collect()
}

async fn predict(server: &Server, headers: &[(&str, &str)], body: &Value) -> u16 {
    let mut sent = server.client.post(server.url("/api/v1/predict")).json(body);
    for (name, value) in headers {
        sent = sent.header(*name, *value);
    }
    sent.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_request_continues_the_trace_that_it_names() {
    let application = Application::new();
    let server = serve(|b| b).await;
    let sent = [("traceparent", &*traceparent("01")), ("tracestate", "vendor=1,other=2")];
    assert_eq!(predict(&server, &sent, &body()).await, 200);
    let span = application.request();
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), PARENT);
    assert!(span.parent_span_is_remote);
    assert_eq!(span.span_context.trace_state().header(), "vendor=1,other=2");
    assert_eq!((&*span.name, &span.status), ("POST /api/v1/predict", &Status::Unset));
    let found = attributes(&span);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/v1/predict"),
        ("http.response.status_code", "200"),
        ("url.path", "/api/v1/predict"),
        ("url.scheme", "http"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}: {found:?}");
    }
    assert!(!found.contains_key("error.type"), "{found:?}");

    // Who asks for no trace to be kept has none kept, and its ids all the same.
    let sent = [("traceparent", &*traceparent("00"))];
    assert_eq!(predict(&server, &sent, &json!({})).await, 400);
    assert_eq!(application.requests().len(), 0);
    let lines = application.lines("a request was refused");
    assert_eq!(lines[0]["span"]["trace_id"], TRACE, "{lines:?}");
}

#[tokio::test]
async fn a_request_that_names_none_begins_its_own_and_its_log_lines_say_so() {
    let application = Application::new();
    let server = serve(|b| b).await;
    let mut traces = Vec::new();
    for _ in 0..2 {
        assert_eq!(predict(&server, &[], &json!({"features": {}})).await, 400);
        let span = application.request();
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        assert_eq!(span.status, Status::Unset, "what a client does wrong is its own");
        traces.push(span.span_context.trace_id().to_string());
    }
    assert_ne!(traces[0], traces[1]);
    let lines = application.lines("a request was refused");
    let logged: Vec<&Value> = lines.iter().map(|line| &line["span"]["trace_id"]).collect();
    assert_eq!(logged, traces.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_failure_of_the_server_is_one_of_the_span() {
    let application = Application::new();
    let server = serve(|b| b).await;
    server.log.set(LogMode::Down);
    assert_eq!(server.get("/readyz").await.0, 503);
    let span = application.request();
    assert_eq!(span.status, Status::error(""));
    let found = attributes(&span);
    assert_eq!(found["http.response.status_code"], "503");
    assert_eq!(found["error.type"], "503");
    // A problem has a name.
    let empty = crate::support::serve_on(TestLog::new(), TestRegistry::with(&[]), |b| b).await;
    assert_eq!(empty.predict(&body()).await.0, 503);
    assert_eq!(attributes(&application.request())["error.type"], "no_model");
    // What nobody serves has no route, and its span no name of the client's choice.
    assert_eq!(server.get("/nowhere/at/all").await.0, 404);
    let span = application.request();
    let found = attributes(&span);
    assert_eq!((&*span.name, &span.status), ("GET", &Status::Unset));
    assert_eq!(found["url.path"], "/nowhere/at/all");
    assert!(!found.contains_key("http.route"), "{found:?}");
    let method = reqwest::Method::from_bytes(b"BREW").unwrap();
    let sent = server.client.request(method, server.url("/model")).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 405);
    let span = application.request();
    let found = attributes(&span);
    assert_eq!((&*span.name, &*found["http.request.method"]), ("HTTP /model", "_OTHER"));
    assert_eq!(found["http.request.method_original"], "BREW");
}

#[tokio::test]
async fn hostile_headers_change_nothing() {
    let application = Application::new();
    let server = serve(|b| b).await;
    let good = traceparent("01");
    let own = |span: &SpanData| {
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        assert_ne!(span.span_context.trace_id().to_string(), TRACE);
    };
    for bad in [
        "",
        "garbage",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        &good.to_uppercase(),
        &good.replacen("00", "ff", 1),
        &format!("{good}-{}", "0".repeat(8_000)),
        &"-".repeat(50_000),
    ] {
        assert_eq!(predict(&server, &[("traceparent", bad)], &body()).await, 200, "{bad:?}");
        own(&application.request());
    }
    let twice = [("traceparent", &*good), ("traceparent", &*good)];
    assert_eq!(predict(&server, &twice, &body()).await, 200);
    own(&application.request());
    // Bytes that are no text.
    let head =
        b"GET /livez HTTP/1.1\r\nhost: x\r\ntraceparent: \xff\xfe\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(server.address, head, b"").await.0, 200);
    own(&application.request());
    // Too much of a state costs the state.
    let members: Vec<String> = (0..1_000).map(|i| format!("k{i}=v")).collect();
    for state in [members.join(","), "x".repeat(50_000), "=,=".to_owned()] {
        let sent = [("traceparent", &*good), ("tracestate", &*state)];
        assert_eq!(predict(&server, &sent, &body()).await, 200);
        let span = application.request();
        assert_eq!(span.parent_span_id.to_string(), PARENT);
        assert_eq!(span.span_context.trace_state().header(), "");
    }
    // A head of a megabyte is no request.
    for name in ["traceparent", "tracestate", "x-request-id"] {
        let head =
            format!("GET /livez HTTP/1.1\r\nhost: x\r\n{name}: {}\r\n\r\n", "a".repeat(1 << 20));
        let status = raw(server.address, head.as_bytes(), b"").await.0;
        assert!(matches!(status, 0 | 431), "{status}");
        assert_eq!(application.requests().len(), 0);
    }
    // A path is repeated, but not without end.
    let long = format!("/{}", "p".repeat(20_000));
    assert_eq!(server.get(&long).await.0, 404);
    assert_eq!(attributes(&application.request())["url.path"].len(), 512);
    assert_eq!(predict(&server, &[("traceparent", &good)], &body()).await, 200);
    assert_eq!(application.request().span_context.trace_id().to_string(), TRACE);
}

#[tokio::test]
async fn a_kept_trace_is_in_the_row_unless_the_client_has_a_name_for_it() {
    // Without any subscriber: what a row says is not the affair of who listens.
    let server = serve(|b| b).await;
    let row = || server.log.events().last().unwrap().correlation_id.clone();
    let (kept, not) = (traceparent("01"), traceparent("00"));
    assert_eq!(predict(&server, &[("traceparent", &kept)], &body()).await, 200);
    assert_eq!(row().unwrap().as_str(), TRACE);
    assert_eq!(predict(&server, &[("traceparent", &not)], &body()).await, 200);
    assert_eq!(row(), None);
    let both = [("traceparent", &*kept), ("x-request-id", "abc")];
    assert_eq!(predict(&server, &both, &body()).await, 200);
    assert_eq!(row().unwrap().as_str(), "abc");
}

/// The span that an application makes of a request, in a trace of its choice.
async fn outer(request: Request, next: Next) -> ::axum::response::Response {
    let span = tracing::info_span!("outer", otel.kind = "internal");
    let (trace, parent) = (TraceId::from(7_u128), SpanId::from(8_u64));
    let state = TraceState::default();
    let remote = SpanContext::new(trace, parent, TraceFlags::SAMPLED, true, state);
    span.set_parent(Context::new().with_remote_span_context(remote)).unwrap();
    next.run(request).instrument(span).await
}

#[tokio::test]
async fn an_application_that_traces_its_requests_stays_the_parent() {
    let application = Application::new();
    let registry = TestRegistry::with(&[artifact(crate::support::Habit::Good, 0.0)]);
    let service = builder(&TestLog::new(), &registry).start().await.unwrap();
    let app = Router::new().nest("/ml", service.router()).layer(from_fn(outer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Arc::new(service);
    let task = tokio::spawn(async move {
        serving.serve_app(app, listener, std::future::pending()).await.unwrap()
    });
    let url = format!("http://{address}/ml/livez");
    let sent = crate::support::client().get(url).header("traceparent", traceparent("01"));
    assert_eq!(sent.send().await.unwrap().status().as_u16(), 200);
    application.provider.force_flush().unwrap();
    let spans = application.exporter.get_finished_spans().unwrap();
    let of = |kind: SpanKind| spans.iter().find(|span| span.span_kind == kind).unwrap();
    let (outer, inner) = (of(SpanKind::Internal), of(SpanKind::Server));
    assert_eq!(inner.parent_span_id, outer.span_context.span_id());
    assert_eq!(inner.span_context.trace_id(), TraceId::from(7_u128));
    // Where it is mounted.
    assert_eq!(&*inner.name, "GET /ml/livez");
    assert_eq!(attributes(inner)["url.path"], "/ml/livez");
    task.abort();
}
