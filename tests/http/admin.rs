//! Who may reload, and who may tell outcomes.

use pmmds::ErrorKind;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{
    Habit, LogMode, TOKEN, TestLog, TestRegistry, artifact, body, builder, errors, raw, read, serve,
};

#[tokio::test]
async fn with_a_token_only_who_has_it() {
    let server = serve(|b| b.admin_token(TOKEN)).await;
    let url = server.url("/model/reload");
    let response = server.client.post(&url).send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"pmmds\"");
    assert_eq!(read(response).await.0, 401);
    let wrong = TOKEN.replace('a', "b");
    for (status, request) in [
        (200, server.client.post(&url).bearer_auth(TOKEN)),
        (401, server.client.post(&url).bearer_auth(&wrong)),
        (401, server.client.post(&url).bearer_auth("")),
        (401, server.client.post(&url).basic_auth("admin", Some(TOKEN))),
        (401, server.client.post(format!("{url}?token={TOKEN}&access_token={TOKEN}"))),
        (403, server.client.post(&url).bearer_auth(TOKEN).header("origin", "https://evil.example")),
        (401, server.client.post(server.url("/api/v1/outcomes")).json(&json!([]))),
    ] {
        let (found, answer) = read(request.send().await.unwrap()).await;
        assert_eq!(found, status, "{answer}");
        assert!(!answer.to_string().contains(TOKEN));
    }
    // The rest is for everybody.
    assert_eq!(server.predict(&body()).await.0, 200);
    assert_eq!(server.get("/model").await.0, 200);
    assert!(!format!("{:?}", server.service).contains(TOKEN));
}

#[tokio::test]
async fn without_a_token_pages_in_a_browser_may_not() {
    let server = serve(|b| b).await;
    let send = async |host: &str, more: &str| {
        let head = format!(
            "POST /model/reload HTTP/1.1\r\nhost: {host}\r\n{more}content-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        raw(server.address, head.as_bytes(), b"").await.0
    };
    assert_eq!(send("localhost:8000", "").await, 200);
    assert_eq!(send("127.0.0.1", "").await, 200);
    assert_eq!(send("rebound.example", "").await, 403);
    assert_eq!(send("localhost:8000", "origin: https://evil.example\r\n").await, 403);
    assert_eq!(send("localhost:8000", "sec-fetch-site: cross-site\r\n").await, 403);
}

#[tokio::test]
async fn an_open_address_needs_a_token() {
    let log = TestLog::new();
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    let service = builder(&log, &registry).start().await.unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = service.serve(listener, std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("no admin token"), "{error}");

    let service = builder(&log, &registry).admin_token(TOKEN).start().await.unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    assert!(service.serve(listener, std::future::ready(())).await.is_ok());
}

#[tokio::test]
async fn every_impossible_option_is_told_at_once() {
    let log = TestLog::new();
    let registry = TestRegistry::with(&[]);
    let options = builder(&log, &registry)
        .admin_token("short")
        .poll_every(std::time::Duration::ZERO)
        .limits(pmmds::axum::Limits::new().queue(0));
    assert!(!format!("{options:?}").contains("short"));
    let error = options.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for part in ["queue is 0", "shorter than 32", "polling is zero"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    log.set(LogMode::Down);
    let error = builder(&log, &registry).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_embedded_admin_router_is_closed_where_nobody_tells_the_peer() {
    let server = serve(|b| b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/model/reload", listener.local_addr().unwrap());
    let admin = server.service.admin();
    tokio::spawn(async move { axum::serve(listener, admin).await });
    let (status, answer) = read(server.client.post(url).send().await.unwrap()).await;
    assert_eq!((status, &answer["detail"]["code"]), (403, &json!("loopback_only")));
}

#[tokio::test]
async fn outcomes_are_recorded_once() {
    let server = serve(|b| b).await;
    let (_, answer) = server.predict(&body()).await;
    let id: Uuid = answer["request_id"].as_str().unwrap().parse().unwrap();
    let one = |outcome: u8| json!([{"request_id": id, "outcome": outcome}]);
    let receipt = |recorded: u8, unchanged: u8, corrected: u8| json!({"recorded": recorded, "unchanged": unchanged, "corrected": corrected});
    assert_eq!(server.post("/api/v1/outcomes", &one(1)).await, (200, receipt(1, 0, 0)));
    assert_eq!(server.post("/api/v1/outcomes", &one(1)).await, (200, receipt(0, 1, 0)));
    assert_eq!(server.post("/api/v1/outcomes", &one(0)).await, (200, receipt(0, 0, 1)));
    assert_eq!(server.log.outcome(id), Some(0.0));
    assert_eq!(server.post("/api/v1/outcomes", &json!([])).await, (200, receipt(0, 0, 0)));

    let bad: Value = json!([
        {"request_id": id, "outcome": 1, "observed_at": "2026-03-01T12:00:00Z"},
        {"request_id": "00000000-0000-0000-0000-000000000000", "outcome": 2},
    ]);
    let (status, answer) = server.post("/api/v1/outcomes", &bad).await;
    assert_eq!(status, 400);
    assert_eq!(
        errors(&answer),
        [
            "Outcome 1: request_id must not be the nil UUID",
            "Outcome 1: outcome 2 is not possible, expected 0 or 1",
        ]
    );
    let (status, answer) = server.post("/api/v1/outcomes", &json!([[id, 1, null]])).await;
    assert_eq!((status, errors(&answer).len()), (400, 1), "a list is no outcome: {answer}");
    assert_eq!(server.log.outcome(id), Some(0.0), "none of them is recorded");
    server.log.set(LogMode::Down);
    let (status, answer) = server.post("/api/v1/outcomes", &one(1)).await;
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("log_unavailable")));
}
