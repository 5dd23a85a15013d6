//! A service on a socket of its own, with stores that fail on demand.

pub(crate) mod ledger;
mod logs;
mod model;
pub(crate) mod python;
mod stores;

use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use pmmds::axum::{Limits, LogAccount, Service, ServiceBuilder};
use pmmds::log::InferenceLog;
use pmmds::model::ModelFormat;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use logs::{Logs, listen};
pub(crate) use model::{
    ENDLESS, ENDLESS_KEPT, ENDLESS_TOO, Habit, THOUGHT, THOUGHT_TOO, TestFormat, artifact,
    artifact_of, telco,
};
pub(crate) use stores::{CAUSE, LogMode, RegistryMode, TestLog, TestRegistry};

/// The body of the quick start, as it stands in the README of the original.
pub(crate) const CURL_BODY: &str = r#"{
    "features": {
      "gender": "Male",
      "senior_citizen": 0,
      "partner": "Yes",
      "dependents": "No",
      "tenure": 12,
      "contract": "Month-to-month",
      "paperless_billing": "Yes",
      "payment_method": "Electronic check",
      "monthly_charges": 70.35,
      "total_charges": 840.20,
      "phone_service": "Yes",
      "multiple_lines": "No",
      "internet_service": "Fiber optic",
      "online_security": "No",
      "online_backup": "No",
      "device_protection": "No",
      "tech_support": "No",
      "streaming_tv": "No",
      "streaming_movies": "No"
    }
  }"#;

pub(crate) const TOKEN: &str = "a-token-of-more-than-32-characters";

/// The same as a value, to be changed.
pub(crate) fn body() -> Value {
    serde_json::from_str(CURL_BODY).unwrap()
}

/// The body with another value for one feature.
pub(crate) fn body_with(feature: &str, value: Value) -> Value {
    let mut body = body();
    body["features"][feature] = value;
    body
}

/// A service that is being served.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) service: Service,
    pub(crate) log: Arc<TestLog>,
    pub(crate) registry: Arc<TestRegistry>,
    pub(crate) client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<LogAccount, pmmds::Error>>,
}

pub(crate) fn builder(
    log: &Arc<impl InferenceLog + ?Sized + 'static>,
    registry: &Arc<TestRegistry>,
) -> ServiceBuilder {
    let formats: Vec<Arc<dyn ModelFormat>> = vec![Arc::new(TestFormat)];
    let (log, registry) = (Arc::new(Arc::clone(log)), Arc::clone(registry));
    let model = "churn-classifier".parse().unwrap();
    ServiceBuilder::new(log, registry, formats, model).limits(patient())
}

/// A service with version 1 behind `production`.
pub(crate) async fn serve(options: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Server {
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    serve_on(TestLog::new(), registry, options).await
}

pub(crate) async fn serve_on(
    log: Arc<TestLog>,
    registry: Arc<TestRegistry>,
    options: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
) -> Server {
    serve_through(Arc::<TestLog>::clone(&log), log, registry, options).await
}

/// The same with `front` before the log.
pub(crate) async fn serve_through(
    front: Arc<dyn InferenceLog>,
    log: Arc<TestLog>,
    registry: Arc<TestRegistry>,
    options: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
) -> Server {
    let service = options(builder(&front, &registry)).start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = service.clone();
    let task = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        serving.serve(listener, stopped).await
    });
    Server { address, service, log, registry, client: client(), stop: Some(stop), task }
}

pub(crate) fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Bears with a machine that has much else to do: what comes late is no failure of the service.
pub(crate) fn patient() -> Limits {
    Limits::new()
        .body_timeout(FOR_EVER)
        .header_timeout(FOR_EVER)
        .request_timeout(FOR_EVER)
        .commit_timeout(FOR_EVER)
        .append_timeout(FOR_EVER)
        .reload_timeout(FOR_EVER)
        .probe_timeout(FOR_EVER)
        .drain_timeout(FOR_EVER)
        .flush_timeout(FOR_EVER)
}

/// Quick to give up, for what never comes; long enough for a busy machine, for what does.
pub(crate) fn quick() -> Limits {
    patient()
        .commit_timeout(Duration::from_secs(2))
        .reload_timeout(Duration::from_secs(2))
        .probe_timeout(Duration::from_secs(1))
        .flush_timeout(Duration::from_secs(2))
        .drain_timeout(Duration::from_secs(20))
}

/// Longer than anything takes on a busy machine: a test that reaches it has found a fault.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(300);

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        read(self.client.get(self.url(path)).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        read(self.client.post(self.url(path)).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn predict(&self, body: &Value) -> (u16, Value) {
        self.post("/api/v1/predict", body).await
    }

    pub(crate) async fn reload(&self) -> (u16, Value) {
        self.post("/model/reload", &json!({})).await
    }

    /// Shuts the service down as SIGTERM would.
    pub(crate) async fn stop(mut self) -> LogAccount {
        drop(self.stop.take());
        self.task.await.unwrap().unwrap()
    }

    /// Says that the service should shut down.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stopped(self) -> LogAccount {
        self.task.await.unwrap().unwrap()
    }

    /// Sends bytes as they are in the body of a prediction.
    pub(crate) async fn raw_predict(&self, body: &[u8]) -> (u16, Value) {
        self.raw_post("/api/v1/predict", body).await
    }

    /// Sends bytes as they are to `path`.
    pub(crate) async fn raw_post(&self, path: &str, body: &[u8]) -> (u16, Value) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        let (status, _, body) = raw(self.address, head.as_bytes(), body).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// The status for a POST with a body of `bytes`, of which the head alone is sent: while a body
    /// is on its way, the answer might never be read.
    pub(crate) async fn announce(&self, path: &str, bytes: usize) -> u16 {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {bytes}\r\n\
             idempotency-key: {bytes}{path}\r\nconnection: close\r\n\r\n",
            self.address
        );
        raw(self.address, head.as_bytes(), b"").await.0
    }
}

pub(crate) async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Sends bytes, and reads what comes back until the other side closes.
pub(crate) async fn raw(address: SocketAddr, head: &[u8], body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head).await.unwrap();
    // The other side may have seen enough before it has seen all.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, head, answer[(end + 4).min(answer.len())..].to_vec())
}

/// Whether the service answers a request that comes in one piece.
pub(crate) async fn is_alive(address: SocketAddr) -> bool {
    let head = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    raw(address, head, b"").await.0 == 200
}

/// Waits until `done` holds.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    until_asked(what, async || done()).await;
}

/// Waits until `done` answers that it is so.
pub(crate) async fn until_asked(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < FOR_EVER, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The sentences of a 400.
pub(crate) fn errors(answer: &Value) -> Vec<&str> {
    let errors = answer["detail"]["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().filter_map(Value::as_str).collect()
}
