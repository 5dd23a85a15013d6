//! A log that keeps events on local disk: predictions go on while the store is down.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pmmds::axum::LogAccount;
use pmmds::log::InferenceLog;
use pmmds::spool::SpooledLog;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    CAUSE, FOR_EVER, Habit, LogMode, Server, TestLog, TestRegistry, artifact, body, body_with,
    quick, read, serve_through, until,
};

fn balanced(account: LogAccount) -> bool {
    let LogAccount { accepted, written, spooled, queued, rejected, quarantined, lost, .. } =
        account;
    accepted == written + spooled + queued + rejected + quarantined + lost
}

async fn open(store: &Arc<TestLog>, folder: &Path, most: u64) -> SpooledLog {
    let spool = SpooledLog::builder(Arc::<TestLog>::clone(store), folder)
        .max_bytes(most)
        .segment_bytes(4_096);
    spool.append_timeout(Duration::from_millis(300)).open().await.unwrap()
}

async fn serve(spool: &SpooledLog, store: &Arc<TestLog>) -> Server {
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    serve_through(Arc::new(spool.clone()), Arc::clone(store), registry, |b| b).await
}

/// The ids of events in the store, each once.
fn stored(store: &TestLog) -> BTreeSet<Uuid> {
    let events = store.events();
    let ids: BTreeSet<Uuid> = events.iter().map(|event| event.request_id).collect();
    assert_eq!(ids.len(), events.len(), "each event is there once");
    ids
}

fn empty(spool: &SpooledLog) -> bool {
    spool.backlog().unwrap().events == 0
}

/// In one answer of `/metrics` the events are where the help text says, none twice.
async fn assert_metrics_add_up(server: &Server) {
    let text =
        server.client.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let of = |start: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start} in {text}")).trim().parse::<u64>().unwrap()
    };
    let rows = |state: &str| of(&format!("pmmds_log_rows_total{{state=\"{state}\"}} "));
    let ends = ["written", "rejected", "quarantined", "lost"].map(rows).iter().sum::<u64>();
    let waiting = of("pmmds_log_queue_depth{} ") + of("pmmds_log_spool_rows{} ");
    assert!(rows("accepted") > 0);
    assert_eq!(rows("accepted"), ends + waiting, "{text}");
    assert!(rows("spooled") > 0 && rows("replayed") <= rows("written"), "{text}");
}

/// G2, G5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_go_on_while_the_store_is_down_and_none_is_lost() {
    let place = tempfile::tempdir().unwrap();
    let store = TestLog::new();
    let spool = open(&store, place.path(), 1 << 30).await;
    let server = serve(&spool, &store).await;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (1..=4_u128)
        .map(|client| {
            let (over, sender) = (Arc::clone(&over), server.client.clone());
            let url = server.url("/api/v1/predict");
            tokio::spawn(async move {
                let mut answered = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let id = Uuid::from_u128(client << 64 | answered.len() as u128);
                    let mut body = body_with("tenure", json!(answered.len() % 70));
                    body["request_id"] = json!(id);
                    let (status, answer) =
                        read(sender.post(&url).json(&body).send().await.unwrap()).await;
                    assert_eq!(status, 200, "{answer}");
                    answered.push(id);
                }
                answered
            })
        })
        .collect();
    let modes = [LogMode::Down, LogMode::Panics, LogMode::Slow(Duration::from_secs(60))];
    for mode in modes {
        let before = store.events().len();
        until("the store is in use", || store.events().len() > before + 20).await;
        store.set(mode);
        let before = spool.backlog().unwrap().spooled;
        until("it goes on", || spool.backlog().unwrap().spooled > before + 50).await;
        for _ in 0..50 {
            let account = server.service.log_account();
            assert!(balanced(account), "{account:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..5 {
            assert_metrics_add_up(&server).await;
        }
        assert!(server.service.log_account().spooled > 0);
        until("it is told", || spool.backlog().unwrap().trouble.is_some()).await;
        if mode == LogMode::Down {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let (status, ready) = server.get("/readyz?verbose").await;
            assert_eq!((status, &ready["status"]), (200, &json!("degraded")), "{ready}");
            let states: Vec<_> = ready["checks"].as_array().unwrap().iter().collect();
            assert_eq!(states[2]["status"], "degraded", "{ready}");
            assert_eq!(
                (&states[4]["name"], &states[4]["status"]),
                (&json!("spool"), &json!("degraded"))
            );
            assert!(ready["spool"]["events"].as_u64().unwrap() > 0, "{ready}");
            assert!(!ready.to_string().contains(CAUSE), "{ready}");
            let (status, health) = server.get("/healthz").await;
            assert_eq!((status, &health["status"]), (503, &json!("degraded")));
        }
        store.set(LogMode::Up);
    }
    over.store(true, Ordering::Relaxed);
    let mut answered = BTreeSet::new();
    for client in clients {
        answered.extend(client.await.unwrap());
    }
    until("the store has all", || empty(&spool)).await;
    assert_eq!(stored(&store), answered);
    let account = server.service.log_account();
    assert_eq!((account.written, account.spooled), (answered.len() as u64, 0), "{account:?}");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(server.get("/readyz").await, (200, json!({"status": "ready"})));
    assert_eq!(server.stop().await.lost, 0);
}

/// K1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_refuses_predictions_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let store = TestLog::new();
    let spool = open(&store, place.path(), 30_000).await;
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    let limits = quick().queue(3);
    let server =
        serve_through(Arc::new(spool.clone()), Arc::clone(&store), registry, |b| b.limits(limits))
            .await;
    store.set(LogMode::Down);
    let (mut answered, mut refused) = (BTreeSet::new(), 0);
    for number in 1..=200_u128 {
        let id = Uuid::from_u128(number);
        let mut body = body();
        body["request_id"] = json!(id);
        let sent = server.client.post(server.url("/api/v1/predict")).json(&body).send();
        let response = sent.await.unwrap();
        match response.status().as_u16() {
            200 => drop(answered.insert(id)),
            status => {
                assert_eq!(status, 503);
                assert!(response.headers().contains_key("retry-after"));
                refused += 1;
            }
        }
        if refused == 8 {
            break;
        }
    }
    assert!(answered.len() > 3 && refused == 8, "{} answered", answered.len());
    let (status, ready) = server.get("/readyz?verbose").await;
    assert_eq!((status, &ready["status"]), (503, &json!("not_ready")), "{ready}");
    let spooled = &ready["checks"].as_array().unwrap()[4];
    assert_eq!((&spooled["name"], &spooled["status"]), (&json!("spool"), &json!("failed")));
    assert!(spooled["reason"].as_str().unwrap().starts_with("the spool is full: "), "{ready}");
    let text =
        server.client.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = |start: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start} in {text}")).trim().parse::<f64>().unwrap()
    };
    assert!(line("pmmds_log_spool_up{} ") < 0.5);
    let told = f64::from(u32::try_from(answered.len()).unwrap());
    assert!(line("pmmds_log_spool_rows{} ") >= told);
    assert!(line("pmmds_log_spool_bytes{} ") <= line("pmmds_log_spool_capacity_bytes{} "));
    assert!(line("pmmds_errors_total{code=\"log_queue_full\"} ") >= 1.0, "{text}");

    store.set(LogMode::Up);
    until("there is room again", || empty(&spool)).await;
    // The queue is given another try after a pause.
    let taken = async {
        while server.predict(&body()).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(FOR_EVER, taken).await.expect("predictions go on");
    until("the store has all", || empty(&spool)).await;
    let account = server.stop().await;
    assert!(balanced(account) && account.lost == 0, "{account:?}");
    // What was answered 503 after its time may be there too, and once.
    assert!(stored(&store).is_superset(&answered));
}

/// K7
#[tokio::test]
async fn a_stop_while_the_store_is_down_leaves_the_events_for_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    let store = TestLog::new();
    let spool = open(&store, place.path(), 1 << 30).await;
    let server = serve(&spool, &store).await;
    store.set(LogMode::Down);
    for _ in 0..20 {
        assert_eq!(server.predict(&body()).await.0, 200);
    }
    let account = server.stop().await;
    assert_eq!((account.spooled, account.written, account.lost), (20, 0, 0), "{account:?}");
    assert_eq!(spool.close(Duration::from_millis(50)).await.events, 20);
    assert!(store.events().is_empty());

    store.set(LogMode::Up);
    let spool = open(&store, place.path(), 1 << 30).await;
    let server = serve(&spool, &store).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    until("the store has all", || empty(&spool)).await;
    assert_eq!(stored(&store).len(), 21);
    let account = server.stop().await;
    assert!(balanced(account), "{account:?}");
    assert_eq!((account.accepted, account.written, account.spooled), (21, 21, 0), "{account:?}");
}

/// G14
#[tokio::test]
async fn what_the_store_can_never_take_is_kept_for_a_person_and_counted() {
    let place = tempfile::tempdir().unwrap();
    let store = TestLog::new();
    let spool = open(&store, place.path(), 1 << 30).await;
    let server = serve(&spool, &store).await;
    let bad = Uuid::from_u128(13);
    store.set(LogMode::RefusesRequest(bad));
    for id in 1..=20_u128 {
        let mut body = body_with("tenure", json!(id));
        body["request_id"] = json!(Uuid::from_u128(id));
        assert_eq!(server.predict(&body).await.0, 200);
    }
    until("the store has the others", || empty(&spool)).await;
    let account = server.service.log_account();
    assert!(balanced(account), "{account:?}");
    assert_eq!((account.written, account.quarantined, account.rejected), (19, 1, 0));
    assert!(!stored(&store).contains(&bad));
    let text = std::fs::read_to_string(place.path().join("quarantine.jsonl")).unwrap();
    assert!(text.contains(&bad.to_string()), "{text}");
    let text =
        server.client.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("pmmds_log_rows_total{state=\"quarantined\"} 1"), "{text}");
}

/// After a restart a client that repeats itself gets its first answer, whatever became of the event.
#[tokio::test]
async fn a_request_that_is_sent_again_after_a_restart_gets_its_first_answer() {
    let place = tempfile::tempdir().unwrap();
    let store = TestLog::new();
    let ask = async |server: &Server, number: u128, tenure: u32| {
        let mut body = body_with("tenure", json!(tenure));
        body["request_id"] = json!(Uuid::from_u128(number));
        let sent = server.client.post(server.url("/api/v1/predict")).json(&body);
        let response = sent.send().await.unwrap();
        let again = response.headers().get("idempotent-replayed").map(|value| value == "true");
        let status = response.status().as_u16();
        (status, again, response.text().await.unwrap())
    };
    let (mut first, mut events) = (Vec::new(), 0);
    for round in 0..3_u32 {
        // Some are in the store by then, and some are not.
        store.set(LogMode::Up);
        let spool = open(&store, place.path(), 1 << 30).await;
        let server = serve(&spool, &store).await;
        store.set(if round == 1 { LogMode::Down } else { LogMode::Up });
        for (number, answer) in (1..).zip(&first) {
            let (status, again, text) = ask(&server, number, 7).await;
            assert_eq!((status, again, &text), (200, Some(true), answer), "round {round}");
            let (status, _, text) = ask(&server, number, 8).await;
            assert_eq!(status, 409, "{text}");
            assert!(text.contains("request_id_reused"), "{text}");
        }
        for _ in 0..5 {
            let (status, again, text) = ask(&server, first.len() as u128 + 1, 7).await;
            assert_eq!((status, again), (200, None), "{text}");
            first.push(text);
            events += 1;
        }
        if round != 1 {
            until("the store has all", || empty(&spool)).await;
        }
        assert_eq!(server.stop().await.lost, 0);
        drop(spool.close(Duration::from_millis(50)).await);
    }
    assert_eq!(stored(&store).len(), events);
}
