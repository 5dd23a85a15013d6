//! What does a prediction over HTTP cost the server, against a bare POST echo?
//!
//! One process serves `/api/v1/predict` (validation, a logistic regression over the 19 features of
//! the documented request, live counters, queued logging into SQLite) and `/echo`, which reads the
//! body and sends it back. `wrk`, a process of its own, posts the documented request to each in
//! turn, over 1 and 32 connections. The server's time is what the kernel counts for its process, so
//! that the client's is not in it. Printed are the ratio of server time per request, and the
//! latencies that `wrk` saw.
//!
//! Then ten times as many clients as the service works for at a time, on a log that takes 5 ms: how
//! many are turned away, and how long those wait that are not. And the memory of the process, before
//! and after `PMMDS_LOAD_REQUESTS` requests (1,000,000).
//!
//! It takes Linux and `wrk`. As a test it sends one request to each route.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use pmmds::artifact::ModelArtifact;
use pmmds::axum::{Durability, Limits, Service, ServiceBuilder};
use pmmds::drift::{Profile, ProfileOptions};
use pmmds::linfa::{LogisticRegression, formats};
use pmmds::log::{
    Appended, Cursor, EventBatch, InferenceLog, LabelledEvent, LoggedEvent, Outcome,
    OutcomeReceipt, Page, Purged, WindowCounts,
};
use pmmds::memory::MemoryRegistry;
use pmmds::model::Trainer;
use pmmds::record::{Dataset, Row, Value, decode_row};
use pmmds::registry::{Alias, ModelName, ModelRegistry, VersionId};
use pmmds::schema::FeatureSchema;
use pmmds::sqlite::SqliteStore;
use pmmds::validate::Violations;
use pmmds::{Error, Timestamp, Window};
use support::data::Random;
use support::{Limit, figure, measured, ratio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const REQUEST: &str = include_str!("support/request.json");
const SECONDS: u32 = 10;

/// A model of the documented features in a registry of its own.
async fn registry(model: &ModelName) -> Arc<MemoryRegistry> {
    let schema = FeatureSchema::from_toml(include_str!("../examples/telco_schema.toml"));
    let schema = Arc::new(schema.expect("a valid schema"));
    let row = decode_row(&schema, REQUEST.as_bytes(), &mut Violations::new()).expect("a row");
    let tenure = schema.id("tenure").expect("a feature");
    let mut data = Dataset::new(Arc::clone(&schema));
    let mut random = Random(1);
    for number in 0..2_000 {
        let mut row: Row = row.clone();
        let months = (72.0 * random.unit()).round();
        row.set(tenure, Value::Number(months));
        let leaves = f64::from(u8::from(random.unit() * 72.0 > months));
        data.push(&row, leaves, format!("c{number}"));
    }
    let trained = LogisticRegression::default().fit(&data, &()).expect("both classes are there");
    let batch = data.columns().batch();
    let scores = trained.model.score_batch(&batch);
    let profile = ProfileOptions::new().scores(&scores).fit(&batch).expect("a profile");
    let artifact = ModelArtifact::pack(&trained, profile, &batch).expect("an artifact");
    let registry = Arc::new(MemoryRegistry::new());
    let files = artifact.to_files().expect("files");
    let version = registry.register(model, "load", &files).await.expect("registered").version;
    registry.set_alias(model, &Alias::production(), version, None).await.expect("an alias");
    registry
}

/// A store whose writes take 5 ms.
#[derive(Debug)]
struct SlowLog(SqliteStore);

#[async_trait]
impl InferenceLog for SlowLog {
    async fn append(&self, batch: &EventBatch) -> Result<Appended, Error> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.0.append(batch).await
    }

    async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
        self.0.record_outcomes(outcomes).await
    }

    async fn counts(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error> {
        self.0.counts(model, version, window, profile).await
    }

    async fn scan(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LoggedEvent>, Error> {
        self.0.scan(model, window, after, limit).await
    }

    async fn labelled(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LabelledEvent>, Error> {
        self.0.labelled(model, window, after, limit).await
    }

    async fn purge(&self, before: Timestamp) -> Result<Purged, Error> {
        self.0.purge(before).await
    }

    async fn now(&self) -> Result<Timestamp, Error> {
        self.0.now().await
    }
}

/// A service with `/echo` beside it.
async fn serve(
    folder: &Path,
    limits: Limits,
    durability: Durability,
    slow: bool,
) -> (Service, String) {
    let model: ModelName = "churn".parse().expect("a name");
    let store = SqliteStore::open(folder.join("pmmds.sqlite")).await.expect("a store");
    let log: Arc<dyn InferenceLog> = if slow { Arc::new(SlowLog(store)) } else { Arc::new(store) };
    let registry = registry(&model).await;
    let service = ServiceBuilder::new(log, registry, formats(), model)
        .limits(limits)
        .durability(durability)
        .start()
        .await
        .expect("a service");
    let app = Router::new().route("/echo", post(async |body: Bytes| body)).merge(service.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = service.clone();
    tokio::spawn(async move { serving.serve_app(app, listener, std::future::pending()).await });
    (service, address)
}

/// Time that the kernel has counted for this process, in seconds, and its memory in MiB.
fn spent() -> (f64, f64) {
    let read = |file| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let stat = read("stat");
    // The fields after the name, which may hold anything but a closing parenthesis.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    let status = read("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok());
    // Linux counts 100 ticks a second for whoever asks.
    ((ticks(11) + ticks(12)) / 100.0, kib.unwrap_or(0.0) / 1_024.0)
}

/// What a run of `wrk` found.
#[derive(Debug, Clone, Copy)]
struct Run {
    requests: f64,
    failed: f64,
    p50: f64,
    p99: f64,
    // of the server, in microseconds a request
    time: f64,
}

async fn wrk(url: String, body: &Path, connections: u32, seconds: u32) -> Run {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/post.lua");
    let (before, _) = spent();
    let mut command = tokio::process::Command::new("wrk");
    command.args([
        "-t1",
        "-s",
        script,
        &format!("-c{connections}"),
        &format!("-d{seconds}s"),
        &url,
    ]);
    let done = command.arg("--").arg(body).output().await.expect("wrk runs");
    let (after, _) = spent();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("load ")).unwrap_or_default();
    let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [requests, failed, p50, p99] = numbers[..] else { panic!("wrk said: {text}") };
    Run { requests, failed, p50, p99, time: (after - before) * 1e6 / requests }
}

/// The request alone, answered or not, and how long it took.
async fn one(stream: &mut TcpStream, route: &str, body: &str) -> (u16, Duration) {
    let began = Instant::now();
    let head = format!(
        "POST {route} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: \
         {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 4_096];
        let read = stream.read(&mut part).await.expect("read");
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, rest)) = text.split_once("\r\n\r\n") else {
            if read == 0 {
                return (0, began.elapsed());
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if read == 0 || length.and_then(|n| n.parse().ok()).is_some_and(|n: usize| rest.len() >= n)
        {
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
            return (status.unwrap_or(0), began.elapsed());
        }
    }
}

/// `clients` at once for some seconds: how many were turned away, and the 99th percentile in
/// milliseconds of those that were answered.
async fn crowd(address: &str, body: &str, clients: usize, seconds: u32) -> (usize, usize, f64) {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let all: Vec<_> = (0..clients)
        .map(|_| {
            let (address, body) = (address.to_owned(), body.to_owned());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.expect("connected");
                let (mut answered, mut shed) = (Vec::new(), 0);
                while Instant::now() < end {
                    match one(&mut stream, "/api/v1/predict", &body).await {
                        (200, took) => answered.push(took.as_secs_f64() * 1e3),
                        (503, _) => {
                            shed += 1;
                            // As a client that minds `Retry-After`, if an impatient one.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        (status, _) => panic!("{status}"),
                    }
                }
                (answered, shed)
            })
        })
        .collect();
    let (mut times, mut turned_away) = (Vec::new(), 0);
    for one in all {
        let (answered, shed) = one.await.expect("a client");
        times.extend(answered);
        turned_away += shed;
    }
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    (times.len(), turned_away, p99)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let body = format!("{{\"features\": {REQUEST}}}");
    let file = folder.path().join("request.json");
    std::fs::write(&file, &body).expect("a file");
    let (service, address) = serve(folder.path(), Limits::new(), Durability::Queued, false).await;
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    for route in ["/echo", "/api/v1/predict"] {
        let (status, _) = one(&mut stream, route, &body).await;
        assert_eq!(status, 200, "{route}");
    }
    drop(stream);
    if !measured() {
        return;
    }
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("SKIPPED: wrk is not installed");
        return;
    }

    let routes = ["/echo", "/api/v1/predict"].map(|route| format!("http://{address}{route}"));
    for connections in [1, 32] {
        let mut runs = Vec::new();
        // The first warms up.
        for seconds in [1, SECONDS] {
            runs.clear();
            for url in &routes {
                runs.push(wrk(url.clone(), &file, connections, seconds).await);
            }
        }
        let [echo, predict] = runs[..] else { return };
        for (what, run) in [("echo", echo), ("predict", predict)] {
            let at = format!("{what}, {connections} connections");
            figure(&format!("{at}: server time"), run.time, "us", Limit::None);
            figure(&format!("{at}: p50"), run.p50, "us", Limit::None);
            figure(&format!("{at}: p99"), run.p99, "us", Limit::None);
            figure(&format!("{at}: a second"), run.requests / f64::from(SECONDS), "", Limit::None);
            assert!(run.failed < 1.0, "{at}: {run:?}");
        }
        let limit = if connections == 32 { Limit::AtMost(2.5) } else { Limit::None };
        let what = format!("predict, {connections} connections");
        ratio(&what, "echo", predict.time, echo.time, limit);
    }

    let most = std::env::var("PMMDS_LOAD_REQUESTS").ok().and_then(|n| n.parse().ok());
    let most: f64 = most.unwrap_or(1e6);
    let (_, before) = spent();
    let mut sent = 0.0;
    while sent < most {
        sent += wrk(routes[1].clone(), &file, 32, SECONDS).await.requests;
    }
    let (_, after) = spent();
    figure("memory before", before, "MiB", Limit::None);
    figure(&format!("memory after {sent:.0} more requests"), after, "MiB", Limit::None);
    let account = service.shutdown().await;
    assert_eq!((account.lost, account.rejected), (0, 0), "{account:?}");

    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits::new().concurrency(32);
    let (_service, address) = serve(folder.path(), limits, Durability::Committed, true).await;
    let (_, _, alone) = crowd(&address, &body, 32, SECONDS).await;
    let (answered, shed, p99) = crowd(&address, &body, 320, SECONDS).await;
    println!("ten times as many clients: {answered} answered, {shed} turned away");
    assert!(answered > 0 && shed > 0, "an overload is shed");
    figure("p99 of the answered, as many clients as places", alone, "ms", Limit::None);
    ratio("p99 of the answered, 10 times as many", "as many", p99, alone, Limit::None);
}
