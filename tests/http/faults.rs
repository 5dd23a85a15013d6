//! Wrong methods, wrong types, too much, too slow.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    CURL_BODY, FOR_EVER, Habit, LogMode, THOUGHT_TOO, TestLog, TestRegistry, artifact, body,
    body_with, is_alive, patient, quick, raw, read, serve, serve_on, until, until_asked,
};

#[tokio::test]
async fn other_methods_are_405_and_say_which_are_not() {
    let server = serve(|b| b).await;
    for (method, path, allow) in [
        ("GET", "/api/v1/predict", "post"),
        ("DELETE", "/api/v1/predict", "post"),
        ("OPTIONS", "/api/v1/predict", "post"),
        ("TRACE", "/model", "get,head"),
        ("BREW", "/model", "get,head"),
        ("POST", "/healthz", "get,head"),
        ("GET", "/model/reload", "post"),
    ] {
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (status, head, body) = raw(server.address, head.as_bytes(), b"").await;
        assert_eq!(status, 405, "{method} {path}");
        assert!(head.contains(&format!("allow: {allow}")), "{method} {path}: {head}");
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["detail"]["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn a_head_has_no_body_and_no_other_meaning() {
    let server = serve(|b| b).await;
    for (path, status) in
        [("/livez", 200), ("/model", 200), ("/metrics", 200), ("/api/v1/predict", 405)]
    {
        let response = server.client.head(server.url(path)).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert!(response.bytes().await.unwrap().is_empty(), "{path}");
    }
}

/// On one thread, so that a model that keeps it keeps everybody.
#[tokio::test(flavor = "current_thread")]
async fn a_model_that_computes_for_long_holds_up_nobody_else() {
    let registry = TestRegistry::with(&[artifact(Habit::ThoughtfulToo, 0.0)]);
    let server =
        serve_on(TestLog::new(), registry, |b| b.scoring(pmmds::axum::Scoring::Blocking)).await;
    let sent = server.client.post(server.url("/api/v1/predict"));
    let long = tokio::spawn(sent.json(&body_with("tenure", json!(97))).send());
    until("it computes", || THOUGHT_TOO.is_reached()).await;
    for path in ["/livez", "/readyz", "/metrics", "/model"] {
        assert_eq!(server.get(path).await.0, 200, "{path}");
    }
    assert_eq!(server.predict(&body()).await.0, 200);
    assert!(!long.is_finished(), "nobody was held up because nobody computed");
    THOUGHT_TOO.let_go();
    assert_eq!(long.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn only_plain_json_of_a_bounded_size() {
    let server = serve(|b| b.limits(patient().body_bytes(2_000))).await;
    let send = async |kind: &str, encoding: Option<&str>, body: String| {
        let mut sent = server.client.post(server.url("/api/v1/predict"));
        sent = sent.header("content-type", kind).body(body);
        if let Some(encoding) = encoding {
            sent = sent.header("content-encoding", encoding);
        }
        read(sent.send().await.unwrap()).await
    };
    let good = || CURL_BODY.to_owned();
    assert_eq!(send("application/json; charset=utf-8", None, good()).await.0, 200);
    assert_eq!(send("text/plain", None, good()).await.0, 415);
    assert_eq!(send("application/json", Some("gzip"), good()).await.0, 415);
    let large = format!("{}{}", CURL_BODY, " ".repeat(2_000));
    assert_eq!(send("application/json", None, large).await.0, 413);

    // Without a length that tells, too.
    let chunk = format!("{:x}\r\n{}\r\n", 1_500, "x".repeat(1_500));
    let head = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let body = format!("{chunk}{chunk}");
    let (status, head, _) = raw(server.address, head.as_bytes(), body.as_bytes()).await;
    assert_eq!(status, 413);
    assert!(head.contains("connection: close"), "{head}");
}

#[tokio::test]
async fn who_dawdles_is_sent_away() {
    let short = Duration::from_millis(300);
    let server = serve(|b| b.limits(patient().body_timeout(short))).await;
    let began = Instant::now();
    let head = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 500\r\n\r\n";
    let (status, _, _) = raw(server.address, head.as_bytes(), b"{\"features\"").await;
    assert_eq!(status, 408);
    assert_eq!(server.get("/livez").await.0, 200);
    // Headers that never end; and a connection that never begins.
    let server = serve(|b| b.limits(patient().header_timeout(short))).await;
    for start in ["GET /livez HTTP/1.1\r\nhost: x\r\n", ""] {
        let (_, _, rest) = raw(server.address, start.as_bytes(), b"").await;
        assert!(rest.is_empty());
    }
    assert!(began.elapsed() < FOR_EVER, "{:?}", began.elapsed());
    until_asked("who is quick enough is served", async || is_alive(server.address).await).await;
}

#[tokio::test]
async fn a_request_has_a_time() {
    let limits = patient().request_timeout(Duration::from_millis(300));
    let server = serve(|b| b.limits(limits)).await;
    server.log.set(LogMode::Held);
    let (status, answer) = server.predict(&body()).await;
    assert_eq!((status, &answer["detail"]["code"]), (504, &json!("timeout")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overload_is_shed_at_once() {
    let limits = quick().concurrency(4).commit_timeout(FOR_EVER);
    let server = serve(|b| b.limits(limits)).await;
    // Whoever gets in stays there.
    server.log.set(LogMode::Held);
    let (shed, mut sheds) = tokio::sync::mpsc::channel(40);
    let sent: Vec<_> = (0..40)
        .map(|_| {
            let sent = server.client.post(server.url("/api/v1/predict"));
            let (sent, shed) = (sent.json(&body()), shed.clone());
            tokio::spawn(async move {
                let response = sent.send().await.unwrap();
                let after = response.headers().contains_key("retry-after");
                let (status, answer) = read(response).await;
                if status == 503 {
                    shed.send((answer, after)).await.unwrap();
                }
                status
            })
        })
        .collect();
    for _ in 0..36 {
        let (answer, after) = sheds.recv().await.unwrap();
        assert_eq!((&answer["detail"]["code"], after), (&json!("overloaded"), true), "{answer}");
    }
    // Health is not held up by it.
    assert_eq!(server.get("/livez").await.0, 200);
    assert_eq!(server.log.events().len(), 0);
    server.log.set(LogMode::Up);
    let mut answered = 0;
    for one in sent {
        let status = one.await.unwrap();
        assert!(matches!(status, 200 | 503), "{status}");
        answered += usize::from(status == 200);
    }
    assert_eq!((answered, server.log.events().len()), (4, 4));
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_behind() {
    let server = serve(|b| b).await;
    let half = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 500\r\n\r\n{\"features\":";
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
    }
    assert_eq!(server.predict(&body()).await.0, 200);
    assert_eq!(server.log.events().len(), 1);
}

#[tokio::test]
async fn requests_on_one_connection_do_not_mix() {
    let server = serve(|b| b).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let one = |tenure: &str, last: bool| {
        let body = CURL_BODY.replace("\"tenure\": 12", &format!("\"tenure\": {tenure}"));
        let close = if last { "connection: close\r\n" } else { "" };
        format!(
            "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             {close}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let sent = format!("{}{}{}", one("1", false), one("\"x\"", false), one("2", true));
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(statuses, ["200", "400", "200"]);

    // Two lengths at once are how requests are smuggled.
    let twice = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: 5\r\ncontent-length: 6\r\n\r\nhello";
    assert_eq!(raw(server.address, twice.as_bytes(), b"").await.0, 400);
}
