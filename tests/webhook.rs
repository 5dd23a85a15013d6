//! Alerts on their way to receivers that are slow, down, wrong or elsewhere: a real HTTP server,
//! and a ledger in a file.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use pmmds::drift::Severity;
use pmmds::ledger::{Alert, AlertEvent, AlertStore, DeliveryState, Ledger};
use pmmds::lifecycle::{AlertNotice, AlertSink, Delivery, Told};
use pmmds::log::InferenceLog;
use pmmds::registry::{ModelName, VersionId};
use pmmds::sqlite::SqliteStore;
use pmmds::webhook::{Shape, Webhook, WebhookSink};
use pmmds::{ErrorKind, Timestamp};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use uuid::Uuid;

#[derive(Debug, Clone)]
enum Mode {
    Takes,
    Answers(u16),
    /// Fails so often, then takes.
    Fails(u32),
    Sleeps(Duration),
    SendsTo(String),
    /// Is busy, and says for how long.
    Busy(&'static str),
}

#[derive(Debug)]
struct Receiver {
    mode: Mutex<Mode>,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
    address: SocketAddr,
}

impl Receiver {
    async fn start(mode: Mode) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Arc::new(Self { mode: Mutex::new(mode), seen: Mutex::default(), address });
        let app = Router::new().fallback(take).with_state(Arc::clone(&receiver));
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn bodies(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    fn sink(&self) -> Webhook {
        let url = format!("http://{}/hook/canary-of-the-url?key=canary-of-the-query", self.address);
        Webhook::new("pager", url)
    }
}

async fn take(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap();
    receiver.seen.lock().unwrap().push((headers, body));
    let mode = receiver.mode.lock().unwrap().clone();
    match mode {
        Mode::Takes | Mode::Fails(0) => StatusCode::OK.into_response(),
        Mode::Answers(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Mode::Fails(times) => {
            receiver.set(Mode::Fails(times - 1));
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Mode::Sleeps(time) => {
            tokio::time::sleep(time).await;
            StatusCode::OK.into_response()
        }
        Mode::SendsTo(url) => Redirect::temporary(&url).into_response(),
        Mode::Busy(seconds) => {
            receiver.set(Mode::Takes);
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", seconds)]).into_response()
        }
    }
}

fn model() -> ModelName {
    "churn".parse().unwrap()
}

fn alert(number: u128, opened_at: Timestamp) -> Alert {
    Alert {
        id: Uuid::from_u128(number),
        model: model(),
        version: VersionId::FIRST,
        key: "drift".to_owned(),
        drift_run: Some(Uuid::from_u128(100 + number)),
        last_run: Some(Uuid::from_u128(100 + number)),
        severity: Severity::Significant,
        message: "1 of 1 features drifted: contract: new category \"<!channel>\"".to_owned(),
        features: vec!["contract".to_owned()],
        opened_at,
        acknowledged_at: None,
        action_taken: None,
        retraining_run: None,
        quiet_runs: 0,
        resolved_at: None,
        deliveries: Vec::new(),
    }
}

fn notice() -> AlertNotice {
    let opened_at = "2026-03-01T12:00:00Z".parse().unwrap();
    AlertNotice { event: AlertEvent::Opened, alert: alert(7, opened_at) }
}

/// Tries twice, and bears with a machine that has much else to do.
fn twice(webhook: Webhook) -> WebhookSink {
    let webhook = webhook.timeout(Duration::from_secs(20)).budget(Duration::from_secs(60));
    webhook.retries(1).build().unwrap()
}

async fn store() -> (tempfile::TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("pmmds.db")).await.unwrap();
    (folder, Arc::new(store))
}

fn delivery(store: &Arc<SqliteStore>, sink: WebhookSink) -> Delivery {
    let log: Arc<dyn InferenceLog> = Arc::clone(store) as _;
    let ledger: Arc<dyn Ledger> = Arc::clone(store) as _;
    Delivery::new(log, ledger, "this process").sink(Arc::new(sink)).attempts(3)
}

#[tokio::test]
async fn an_alert_and_its_end_are_told_once_each() {
    let (_folder, store) = store().await;
    let receiver = Receiver::start(Mode::Takes).await;
    let delivery = delivery(&store, twice(receiver.sink()));
    let now = store.now().await.unwrap();
    let mut one = alert(1, now);
    store.open_alert(&one).await.unwrap();
    for expected in [1, 0] {
        assert_eq!(delivery.run(&model()).await.unwrap().delivered, expected);
    }
    one.resolved_at = Some(now);
    store.update_alert(&one).await.unwrap();
    for expected in [1, 0] {
        assert_eq!(delivery.run(&model()).await.unwrap().delivered, expected);
    }
    let [opened, resolved] = &receiver.bodies()[..] else { panic!("{:?}", receiver.bodies()) };
    assert_eq!((&opened["event"], &resolved["event"]), (&"opened".into(), &"resolved".into()));
    let key = format!("pmmds:churn:{}", one.id);
    assert!(opened["dedup_key"] == *key && resolved["dedup_key"] == *key, "{opened} {resolved}");
    assert_eq!(
        (&opened["model_version"], &opened["severity"]),
        (&"1".into(), &"significant".into())
    );
    assert!(opened["resolved_at"].is_null() && resolved["resolved_at"].is_string());
    let headers = receiver.seen.lock().unwrap()[1].0.clone();
    assert_eq!(headers["idempotency-key"], format!("{key}:resolved"));
    let on_record = store.alert(one.id).await.unwrap().deliveries;
    assert!(on_record.len() == 2 && on_record.iter().all(|d| d.state == DeliveryState::Delivered));
}

#[tokio::test]
async fn slack_gets_text_in_which_nobody_is_mentioned() {
    let receiver = Receiver::start(Mode::Takes).await;
    let sink = twice(receiver.sink().shape(Shape::Slack));
    sink.deliver(&notice()).await.unwrap();
    let bodies = receiver.bodies();
    assert_eq!(bodies[0].as_object().unwrap().len(), 1);
    let text = bodies[0]["text"].as_str().unwrap();
    assert!(text.contains("*churn v1*: drift alert opened (significant)"), "{text}");
    assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!"), "{text}");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let receiver = Receiver::start(Mode::Fails(1)).await;
    let sink = twice(receiver.sink());
    sink.deliver(&notice()).await.unwrap();
    assert_eq!(receiver.bodies().len(), 2, "the second was taken");
    assert_eq!(receiver.bodies()[0], receiver.bodies()[1]);
    for (status, kind, requests) in [
        (500, ErrorKind::Unavailable, 2),
        (429, ErrorKind::Unavailable, 2),
        (400, ErrorKind::InvalidInput, 1),
        (404, ErrorKind::InvalidInput, 1),
        (403, ErrorKind::Unauthorized, 1),
    ] {
        receiver.seen.lock().unwrap().clear();
        receiver.set(Mode::Answers(status));
        let error = sink.deliver(&notice()).await.unwrap_err();
        assert_eq!((error.kind(), receiver.bodies().len()), (kind, requests), "{error}");
        assert!(error.to_string().ends_with(&format!("pager: it answered {status}")), "{error}");
    }
    receiver.set(Mode::Busy("1"));
    let began = Instant::now();
    sink.deliver(&notice()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1), "it was asked to wait");
    receiver.set(Mode::Busy("86400"));
    let hasty = receiver.sink().budget(Duration::from_secs(2)).build().unwrap();
    assert!(hasty.deliver(&notice()).await.is_err(), "no receiver holds us up for a day");
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Receiver::start(Mode::Takes).await;
    let url = format!("http://localhost:{}/elsewhere", other.address.port());
    let receiver = Receiver::start(Mode::SendsTo(url)).await;
    let error = twice(receiver.sink()).deliver(&notice()).await.unwrap_err();
    assert!(error.to_string().contains("307, and is not followed"), "{error}");
    assert!(other.bodies().is_empty());
    assert_eq!(receiver.bodies().len(), 1, "asked once");
}

#[tokio::test]
async fn a_receiver_that_dawdles_costs_a_bounded_time() {
    let receiver = Receiver::start(Mode::Sleeps(Duration::from_secs(600))).await;
    let sink = receiver.sink().timeout(Duration::from_millis(700)).retries(100);
    let sink = sink.budget(Duration::from_secs(4)).build().unwrap();
    let began = Instant::now();
    let error = sink.deliver(&notice()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert!(receiver.bodies().len() >= 2, "it was tried again");
}

#[tokio::test]
async fn a_receiver_that_is_down_ends_as_a_dead_letter_without_the_secret() {
    let (_folder, store) = store().await;
    // Bound and never listening: nobody answers, and nobody else is given the port.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap();
    let url = format!("http://{address}/canary-of-the-url?key=canary-of-the-query");
    let sink = twice(Webhook::new("pager", url));
    let debug = format!("{sink:?}");
    let delivery = delivery(&store, sink);
    let now = store.now().await.unwrap();
    // Two alerts: the receiver is tried once a run.
    for number in [1, 2] {
        let mut one = alert(number, now);
        one.key = format!("drift {number}");
        store.open_alert(&one).await.unwrap();
    }
    let mut runs = Vec::new();
    for _ in 0..7 {
        runs.push(delivery.run(&model()).await.unwrap());
    }
    assert_eq!(runs.iter().map(|told| told.dead).sum::<u64>(), 2, "{runs:?}");
    assert_eq!(runs[0].pending, 2);
    assert_eq!(*runs.last().unwrap(), Told::default(), "given up is given up");
    let alerts = store.alerts(&model(), None, 10).await.unwrap().items;
    for alert in alerts {
        let [letter] = &alert.deliveries[..] else { panic!("{alert:?}") };
        assert_eq!((letter.state, letter.attempts), (DeliveryState::Dead, 3), "{alert:?}");
        let error = letter.last_error.as_deref().unwrap();
        assert!(error.contains("no connection"), "{error}");
        assert!(!format!("{alert:?}{debug}").contains("canary"), "{alert:?} {debug}");
    }
}

#[tokio::test]
async fn after_an_outage_what_is_still_true_is_told() {
    let (_folder, store) = store().await;
    let receiver = Receiver::start(Mode::Answers(503)).await;
    let delivery = delivery(&store, twice(receiver.sink()));
    let now = store.now().await.unwrap();
    let mut one = alert(1, now);
    store.open_alert(&one).await.unwrap();
    assert_eq!(delivery.run(&model()).await.unwrap().pending, 1);
    one.resolved_at = Some(now);
    store.update_alert(&one).await.unwrap();
    receiver.seen.lock().unwrap().clear();
    receiver.set(Mode::Takes);
    assert_eq!(delivery.run(&model()).await.unwrap().delivered, 1);
    let bodies = receiver.bodies();
    assert!(bodies.len() == 1 && bodies[0]["event"] == "resolved", "{bodies:?}");
    let states: Vec<DeliveryState> =
        store.alert(one.id).await.unwrap().deliveries.iter().map(|d| d.state).collect();
    assert_eq!(states, [DeliveryState::Superseded, DeliveryState::Delivered]);
}

#[test]
fn what_can_never_work_is_refused_at_once() {
    for (url, why) in [
        ("not a url canary", "its URL is none"),
        ("ftp://files.example/canary", "ftp is neither"),
        ("http://169.254.169.254/canary", "is no address"),
        ("http://2852039166/canary", "169.254.169.254 is no address"),
        ("http://[fe80::1]/canary", "is no address"),
        ("http://0/canary", "0.0.0.0 is no address"),
    ] {
        let error = Webhook::new("pager", url).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = error.chain();
        assert!(error.contains(why) && !error.contains("canary"), "{error}");
    }
    let webhook = Webhook::new("pager", "https://hooks.example/canary");
    assert!(!format!("{webhook:?}").contains("canary"));
    assert!(!format!("{:?}", webhook.build().unwrap()).contains("canary"));
    assert!(Webhook::new("", "https://hooks.example").build().is_err());
    assert!(Webhook::new("p", "https://hooks.example").timeout(Duration::ZERO).build().is_err());
}
