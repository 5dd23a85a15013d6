//! What does a scrape of `/metrics` with 200 features cost, against the least that an HTTP request
//! to the same service does?
//!
//! Both go over one kept-alive connection on loopback, one after the other. The ledger is in memory
//! and asked once in five seconds, as in operation; ten routes have counts.

mod support;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use pmmds::axum::ServiceBuilder;
use pmmds::drift::DriftDetector;
use pmmds::ledger::{DriftRun, DriftStore};
use pmmds::memory::{MemoryLedger, MemoryLog, MemoryRegistry};
use pmmds::record::Batch;
use pmmds::registry::VersionId;
use pmmds::schema::{Feature, FeatureSchema};
use pmmds::{Timestamp, Window};
use support::{Limit, figure, measured, medians, ratio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use uuid::Uuid;

const FEATURES: usize = 200;
const ROUTES: [&str; 10] = [
    "/livez",
    "/readyz",
    "/healthz",
    "/model",
    "/openapi.json",
    "/docs",
    "/metrics",
    "/api/v1/alerts",
    "/api/v1/decisions",
    "/api/v1/drift/latest",
];

fn noon() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000).expect("a year of four digits")
}

fn drift_run() -> DriftRun {
    let columns = (0..FEATURES).map(|number| Feature::numeric(format!("feature_{number}")));
    let schema = FeatureSchema::new(columns).expect("200 features");
    let small = |row: usize| f64::from(u16::try_from(row).expect("few rows"));
    let before = Array2::from_shape_fn((500, FEATURES), |(row, _)| small(row));
    let after = &before + 30.0;
    let before = Batch::from_array(&schema, before.view()).expect("numbers");
    let after = Batch::from_array(&schema, after.view()).expect("numbers");
    DriftRun {
        id: Uuid::from_u128(1),
        model: "churn".parse().expect("a name"),
        version: VersionId::FIRST,
        window: Window::before(noon(), Duration::from_secs(3_600)).expect("an hour"),
        created_at: noon(),
        report: DriftDetector::default().compare(&before, &after).expect("a report"),
    }
}

/// One connection to a service.
struct Client {
    runtime: Runtime,
    stream: TcpStream,
}

impl Client {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let stream = runtime.block_on(async {
            let ledger = Arc::new(MemoryLedger::with_clock(noon));
            ledger.record_drift_run(&drift_run()).await.expect("it is stored");
            let log = Arc::new(MemoryLog::with_clock(noon));
            let registry = Arc::new(MemoryRegistry::new());
            let name = "churn".parse().expect("a name");
            let service = ServiceBuilder::new(log, registry, pmmds::linfa::formats(), name);
            let service = service.ledger(ledger).start().await.expect("a service");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(async move { service.serve(listener, std::future::pending()).await });
            let stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            stream
        });
        Self { runtime, stream }
    }

    /// The body of the answer.
    fn get(&mut self, path: &str) -> Vec<u8> {
        let stream = &mut self.stream;
        self.runtime.block_on(async {
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("it is sent");
            let mut answer = Vec::new();
            loop {
                stream.read_buf(&mut answer).await.expect("it is answered");
                let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
                    continue;
                };
                let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
                let length = head.split("content-length: ").nth(1).expect("a length");
                let length = length.lines().next().and_then(|text| text.parse().ok());
                let whole: usize = end + 4 + length.unwrap_or(0);
                if answer.len() >= whole {
                    return answer.split_off(end + 4);
                }
            }
        })
    }
}

fn metrics_scrape(criterion: &mut Criterion) {
    let mut client = Client::new();
    for path in ROUTES {
        client.get(path);
    }
    let text = String::from_utf8(client.get("/metrics")).expect("text");
    assert_eq!(text.matches("pmmds_drift_psi{").count(), FEATURES);
    if measured() {
        println!("{} series, {} bytes", text.lines().count(), text.len());
    }
    let mut group = criterion.benchmark_group("metrics_scrape");
    for path in ["/metrics", "/metrics/json", "/livez"] {
        group.bench_function(path, |bencher| bencher.iter(|| client.get(path)));
    }
    group.finish();

    let mut other = Client::new();
    ROUTES.iter().for_each(|path| drop(other.get(path)));
    let mut scrape = || drop(client.get("/metrics"));
    let mut least = || drop(other.get("/livez"));
    let [scrape, least] = medians(300, [&mut scrape, &mut least]);
    figure("scrape of 200 features", scrape * 1e3, "ms", Limit::AtMost(5.0));
    ratio("scrape of 200 features", "GET /livez", scrape, least, Limit::None);
}

criterion_group!(benches, metrics_scrape);
criterion_main!(benches);
