//! What operators start: one at a time, on a thread of its own, and told how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pmmds::axum::{JobEnd, Operations};
use pmmds::{Error, ErrorKind, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::support::{
    LogMode, RegistryMode, Server, TOKEN, body, quick, read, serve, until, until_asked,
};

/// Flows that wait until the test lets them end.
#[derive(Debug)]
struct Flows {
    may_end: Semaphore,
    may_compute: AtomicBool,
    looked: AtomicU32,
    retrained: AtomicU32,
    forced: AtomicU32,
}

impl Flows {
    fn new(ready: usize) -> Arc<Self> {
        let (may_compute, looked, retrained, forced) = Default::default();
        Arc::new(Self { may_end: Semaphore::new(ready), may_compute, looked, retrained, forced })
    }
}

#[async_trait]
impl Operations for Flows {
    async fn monitor(&self) -> Result<JobEnd, Error> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        self.may_end.acquire().await.unwrap().forget();
        Ok(JobEnd::new("stable").run(Uuid::from_u128(7)))
    }

    async fn retrain(&self, force: bool) -> Result<JobEnd, Error> {
        self.forced.fetch_add(u32::from(force), Ordering::SeqCst);
        match self.retrained.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let cause = std::io::Error::other("user pmmds:hunter2");
                Err(Error::new(ErrorKind::Unavailable, "shop", "no data").with_source(cause))
            }
            1 => panic!("a secret of the trainer"),
            _ => {
                // A computation that never yields, until the test has seen that.
                while !self.may_compute.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(JobEnd::new("nothing to do"))
            }
        }
    }
}

async fn finished(server: &Server, id: &Value) -> Value {
    let mut job = Value::Null;
    until_asked("it ends", async || {
        let (status, found) = server.get(&format!("/api/v1/jobs/{}", id.as_str().unwrap())).await;
        assert_eq!(status, 200, "{found}");
        job = found;
        job["state"] != "running"
    })
    .await;
    job
}

#[tokio::test]
async fn one_at_a_time_and_the_second_is_told_which() {
    let flows = Flows::new(0);
    let server = serve(|b| b.operations(Arc::clone(&flows) as _)).await;
    let response = server.client.post(server.url("/api/v1/drift/runs")).send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let (status, job) = read(response).await;
    assert_eq!((status, &job["state"], &job["kind"]), (202, &json!("running"), &json!("monitor")));
    let route = reqwest::Url::parse(&server.url("/ml/api/v1/drift/runs")).unwrap();
    let path = format!("/ml/api/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!(route.join(&location).unwrap().path(), path, "under any prefix");

    let (status, answer) = server.post("/api/v1/drift/runs", &json!({})).await;
    assert_eq!((status, &answer["detail"]["job_id"]), (409, &job["id"]), "{answer}");
    assert_eq!(answer["detail"]["code"], "already_running");
    // Another kind is another turn.
    let (status, other) = server.post("/api/v1/retrain", &json!({"force": false})).await;
    assert_eq!(status, 202, "{other}");
    flows.may_end.add_permits(1);
    let job = finished(&server, &job["id"]).await;
    assert_eq!((&job["state"], &job["message"]), (&json!("done"), &json!("stable")));
    assert_eq!(job["run"], json!(Uuid::from_u128(7)));
    let when = |name: &str| job[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(when("finished_at") >= when("started_at"), "{job}");
    flows.may_end.add_permits(1);
    assert_eq!(server.post("/api/v1/drift/runs", &json!({})).await.0, 202, "free again");
    assert_eq!(server.get(&format!("/api/v1/jobs/{}", Uuid::nil())).await.0, 404);
    assert_eq!(server.get("/api/v1/jobs/x").await.0, 400);
}

#[tokio::test]
async fn a_job_that_fails_panics_or_computes_harms_nobody() {
    let flows = Flows::new(0);
    let server = serve(|b| b.operations(Arc::clone(&flows) as _)).await;
    let start = async |body: Value| server.post("/api/v1/retrain", &body).await;
    let (_, job) = start(json!({"force": true})).await;
    let failed = finished(&server, &job["id"]).await;
    assert_eq!(
        (&failed["state"], &failed["message"]),
        (&json!("failed"), &json!("shop: unavailable: no data"))
    );
    let (_, job) = start(json!({})).await;
    let panicked = finished(&server, &job["id"]).await;
    assert_eq!(
        (&panicked["state"], &panicked["message"]),
        (&json!("failed"), &json!("it panicked"))
    );
    let (status, job) = start(json!({})).await;
    assert_eq!(status, 202);
    // This test has one thread, and the job is not on it.
    assert_eq!(server.get("/livez").await.0, 200);
    let (_, running) = server.get(&format!("/api/v1/jobs/{}", job["id"].as_str().unwrap())).await;
    assert_eq!(running["state"], "running");
    flows.may_compute.store(true, Ordering::SeqCst);
    assert_eq!(finished(&server, &job["id"]).await["message"], "nothing to do");
    assert_eq!(
        (flows.retrained.load(Ordering::SeqCst), flows.forced.load(Ordering::SeqCst)),
        (3, 1)
    );
    for bad in [json!({"force": 1}), json!([]), json!({"forced": true}), json!(null)] {
        assert_eq!(start(bad).await.0, 400);
    }
    assert_eq!(flows.retrained.load(Ordering::SeqCst), 3, "nothing was started");
}

#[tokio::test]
async fn they_are_for_admins_and_only_where_there_are_some() {
    let server = serve(|b| b.admin_token(TOKEN).operations(Flows::new(9) as _)).await;
    for path in ["/api/v1/drift/runs", "/api/v1/retrain"] {
        assert_eq!(server.post(path, &json!({})).await.0, 401, "{path}");
    }
    assert_eq!(server.get(&format!("/api/v1/jobs/{}", Uuid::nil())).await.0, 401);
    assert_eq!(
        server.get("/api/v1/drift/runs").await.0,
        404,
        "reading is for all, and there is no ledger"
    );
    let bare = serve(|b| b).await;
    for path in ["/api/v1/drift/runs", "/api/v1/retrain"] {
        let (status, answer) = bare.post(path, &json!({})).await;
        assert_eq!((status, &answer["detail"]["code"]), (404, &json!("no_operations")));
    }
}

/// Sends an admin request with a key.
async fn keyed(server: &Server, path: &str, key: &str, body: &Value) -> (u16, bool, Value) {
    let request = server.client.post(server.url(path)).json(body).header("idempotency-key", key);
    let response = request.send().await.unwrap();
    let replayed = response.headers().get("idempotent-replayed").is_some_and(|v| v == "true");
    let (status, answer) = read(response).await;
    (status, replayed, answer)
}

#[tokio::test]
async fn the_same_key_does_it_once() {
    let flows = Flows::new(100);
    let server = serve(|b| b.operations(Arc::clone(&flows) as _)).await;
    let path = "/api/v1/drift/runs";
    let (status, replayed, first) = keyed(&server, path, "a-1", &json!({})).await;
    assert_eq!((status, replayed), (202, false));
    finished(&server, &first["id"]).await;
    // In quotes it is the same key.
    assert_eq!(keyed(&server, path, "\"a-1\"", &json!({})).await, (202, true, first));
    assert_eq!(flows.looked.load(Ordering::SeqCst), 1);
    let (status, _, answer) = keyed(&server, path, "a-1", &json!({"other": 1})).await;
    assert_eq!((status, &answer["detail"]["code"]), (422, &json!("idempotency_key_reused")));
    let (status, _, _) = keyed(&server, "/api/v1/retrain", "a-1", &json!({})).await;
    assert_eq!(status, 422, "another route");
    let (status, replayed, _) = keyed(&server, path, "a-2", &json!({})).await;
    assert_eq!((status, replayed), (202, false));
    for bad in ["", "a b", &"x".repeat(256)] {
        let (status, _, answer) = keyed(&server, path, bad, &json!({})).await;
        assert_eq!((status, &answer["detail"]["code"]), (400, &json!("invalid_idempotency_key")));
    }

    // A refusal is an answer too, and is written as who asks again wants it.
    let invalid = json!({"force": "x"});
    let (status, replayed, plain) = keyed(&server, "/api/v1/retrain", "b", &invalid).await;
    assert_eq!((status, replayed), (400, false), "{plain}");
    let again = server.client.post(server.url("/api/v1/retrain")).json(&invalid);
    let again = again.header("idempotency-key", "b").header("accept", "application/problem+json");
    let again = again.send().await.unwrap();
    assert_eq!(again.headers()["content-type"], "application/problem+json");
    assert!(again.headers().contains_key("idempotent-replayed"));
    let (status, problem) = read(again).await;
    assert_eq!((status, &problem["code"]), (400, &json!("validation_failed")));
}

#[tokio::test]
async fn a_failure_of_the_server_can_be_tried_again_under_its_key() {
    let server = serve(|b| b).await;
    server.registry.set(RegistryMode::Down);
    let (status, _, _) = keyed(&server, "/model/reload", "r", &json!({})).await;
    assert_eq!(status, 503);
    server.registry.set(RegistryMode::Up);
    let (status, replayed, first) = keyed(&server, "/model/reload", "r", &json!({})).await;
    assert_eq!((status, replayed), (200, false));
    let fetched = server.registry.fetched();
    assert_eq!(keyed(&server, "/model/reload", "r", &json!({})).await, (200, true, first));
    assert_eq!(server.registry.fetched(), fetched, "the registry was not asked");
}

#[tokio::test]
async fn rows_that_the_server_failed_at_can_be_tried_again_under_their_key() {
    let server = serve(|b| b.limits(quick())).await;
    let id = Uuid::from_u128(7);
    let row = json!({"request_id": id, "features": body()["features"], "probability": 0.5});
    let sent = json!({ "observations": [row] });
    server.log.set(LogMode::Down);
    let (status, _, answer) = keyed(&server, "/api/v1/observations", "o", &sent).await;
    let error = &answer["results"][0]["error"];
    assert_eq!((status, &error["status"]), (200, &json!(503)), "{answer}");
    server.log.set(LogMode::Up);
    until("it is in the log", || server.log.events().len() == 1).await;
    let (status, replayed, answer) = keyed(&server, "/api/v1/observations", "o", &sent).await;
    assert_eq!((status, replayed, &answer["succeeded"]), (200, false, &json!(1)), "{answer}");
    // This one is kept, and so is one with rows that are refused.
    assert!(keyed(&server, "/api/v1/observations", "o", &sent).await.1);
    let refused = json!({ "observations": [{"features": {}}] });
    let (status, ..) = keyed(&server, "/api/v1/observations", "p", &refused).await;
    assert_eq!(status, 200);
    assert!(keyed(&server, "/api/v1/observations", "p", &refused).await.1);
    assert_eq!(server.log.events().len(), 1);
}

#[tokio::test]
async fn while_the_first_is_under_way_the_second_is_told() {
    let server = serve(|b| b).await;
    server.registry.set(RegistryMode::Held);
    let nothing = json!({});
    let asked = server.registry.asked();
    let first = keyed(&server, "/model/reload", "slow", &nothing);
    let second = async {
        until("the first is under way", || server.registry.asked() > asked).await;
        let second = keyed(&server, "/model/reload", "slow", &nothing).await;
        server.registry.set(RegistryMode::Up);
        second
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.0, second.0), (200, 409), "{}", second.2);
    assert_eq!(second.2["detail"]["code"], "idempotent_request_running");

    // A client that goes away does not undo what it has begun.
    server.registry.set(RegistryMode::Held);
    let asked = server.registry.asked();
    let request = server.client.post(server.url("/model/reload")).json(&json!({}));
    let gone = tokio::spawn(request.header("idempotency-key", "gone").send());
    until("it is under way", || server.registry.asked() > asked).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    server.registry.set(RegistryMode::Up);
    let again = async || keyed(&server, "/model/reload", "gone", &json!({})).await;
    until_asked("it has ended", async || again().await.0 != 409).await;
    let asked = server.registry.asked();
    let (status, replayed, _) = again().await;
    assert_eq!((status, replayed, server.registry.asked()), (200, true, asked));
}
