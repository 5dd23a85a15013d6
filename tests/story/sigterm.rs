//! SIGTERM under load, sent to the program itself: whoever was answered is in the log, once, and the
//! process ends well.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pmmds::log::InferenceLog;
use pmmds::sqlite::SqliteStore;
use pmmds::{Timestamp, Window};
use serde_json::json;

use super::serving::{Serving, signal};
use crate::{ask, command, database, drop_database, told};

/// Clients at a time.
const CLIENTS: usize = 8;

/// Sends predictions until nobody is there, and collects the ids that were answered; `count` says
/// how many there are. A service that is `killed` may break off an answer.
pub(super) async fn answered(
    url: String,
    count: Arc<AtomicUsize>,
    killed: bool,
) -> BTreeSet<String> {
    // The provider is needed to build a client, although nothing is encrypted here.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let document: serde_json::Value =
        client.get(format!("{url}/openapi.json")).send().await.unwrap().json().await.unwrap();
    let features = &document["components"]["schemas"]["Features"]["examples"][0];
    let body = json!({ "features": features });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let sent = client.post(format!("{url}/api/v1/predict")).json(&body);
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut ids = BTreeSet::new();
                loop {
                    let Ok(response) = sent.try_clone().unwrap().send().await else { return ids };
                    if response.status() == 200 {
                        // An answer that has begun is an answer to its end.
                        let answer: serde_json::Value = match response.json().await {
                            Err(_) if killed => return ids,
                            answer => answer.unwrap(),
                        };
                        ids.insert(answer["request_id"].as_str().unwrap().to_owned());
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    all
}

/// For how long a body that does not come holds up a good end.
const HELD_UP: Duration = Duration::from_secs(4);

/// Serves from `state`, stops it in the midst of requests, and says which were answered.
fn stopped_under_load(arguments: &[&str], state: &Path) -> BTreeSet<String> {
    told(&command(&[&["train"], arguments].concat(), Some(state)).output().unwrap());
    let serving = Serving::start(|serve| command(&[serve, arguments].concat(), Some(state)));
    let url = serving.url.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let clients = runtime.spawn(answered(url, Arc::clone(&count), false));
    let begun = Instant::now();
    // A load of a second at least, and some answers.
    while count.load(Ordering::Relaxed) <= 20 || begun.elapsed() < Duration::from_secs(1) {
        assert!(begun.elapsed() < Duration::from_secs(600) && !clients.is_finished());
        std::thread::sleep(Duration::from_millis(20));
    }
    serving.stop();
    runtime.block_on(clients).unwrap()
}

pub(super) fn assert_each_once(answered: &BTreeSet<String>, logged: &[String]) {
    let known: BTreeSet<&String> = logged.iter().collect();
    assert_eq!(known.len(), logged.len(), "an event is in the log twice");
    let lost: Vec<&String> = answered.iter().filter(|id| !known.contains(id)).collect();
    assert!(lost.is_empty(), "{} of {} answers are not in the log", lost.len(), answered.len());
    // A request can be logged whose answer met a closed connection; never more than were open.
    assert!(logged.len() <= answered.len() + CLIENTS, "{} {}", logged.len(), answered.len());
    println!("{} answered, {} logged", answered.len(), logged.len());
}

#[test]
fn whoever_was_answered_is_in_the_file() {
    let state = tempfile::tempdir().unwrap();
    let answered = stopped_under_load(&[], state.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let logged = runtime.block_on(async {
        let store = SqliteStore::open(state.path().join("pmmds.sqlite")).await.unwrap();
        let end = store.now().await.unwrap().saturating_add(Duration::from_secs(60));
        let window = Window::new(Timestamp::EPOCH, end).unwrap();
        let (model, mut after, mut ids) = ("churn-classifier".parse().unwrap(), None, Vec::new());
        loop {
            let page = store.scan(&model, window, after, 1_000).await.unwrap();
            ids.extend(page.items.iter().map(|logged| logged.event.request_id.to_string()));
            after = page.next;
            if after.is_none() {
                return ids;
            }
        }
    });
    assert_each_once(&answered, &logged);
}

#[test]
fn whoever_was_answered_is_in_postgresql() {
    let Some(url) = database("sigterm") else { return };
    let state = tempfile::tempdir().unwrap();
    let answered = stopped_under_load(&["--database-url", &url], state.path());
    let ids = "SELECT coalesce(request_id, id)::text FROM pmmds_store.predictions";
    assert_each_once(&answered, &ask(&url, ids));
    drop_database(&url);
}

#[test]
fn a_second_signal_does_not_wait() {
    let state = tempfile::tempdir().unwrap();
    told(&command(&["train"], Some(state.path())).output().unwrap());
    // A machine that stands still while the service waits has let it end well: once more, then.
    assert!((0..5).any(|_| ends_by_a_second_signal(state.path())), "a good end was waited for");
}

/// Whether a service that has something to wait for is ended by a second signal.
fn ends_by_a_second_signal(state: &Path) -> bool {
    let mut serving = Serving::start(|serve| command(serve, Some(state)));
    // A request that never comes to its end holds up a good end for a while.
    let address = serving.url.trim_start_matches("http://").to_owned();
    let begun = Instant::now();
    let mut open = std::net::TcpStream::connect(address).unwrap();
    let head = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 500\r\nexpect: 100-continue\r\n\r\n";
    open.write_all(head.as_bytes()).unwrap();
    // The service asks for the body, so it is at this request.
    let mut asked = [0; 12];
    open.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    let pid = serving.pid();
    assert!(signal("TERM", &pid));
    std::thread::sleep(Duration::from_millis(200));
    assert!(serving.is_running() || begun.elapsed() > HELD_UP, "it waits for the request");
    // Until it has seen a second one: two that come before the first is looked at are one.
    while serving.is_running() {
        assert!(signal("TERM", &pid));
        std::thread::sleep(Duration::from_millis(100));
    }
    !serving.ended().success()
}
