//! Strangers who mean it: they drip, they swell, they forge; and errors in the shape asked for.

use std::time::{Duration, Instant};

use pmmds::axum::RejectedValues;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    CURL_BODY, FOR_EVER, TOKEN, body, body_with, is_alive, patient, raw, read, serve, until_asked,
};

/// Writes `text` a byte every 20 ms, again and again; what is answered until the connection closes.
async fn drip(address: std::net::SocketAddr, start: &str, text: &str) -> String {
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    to.write_all(start.as_bytes()).await.unwrap();
    let text = text.to_owned();
    let writer = tokio::spawn(async move {
        for byte in text.bytes().cycle() {
            if to.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = from.read_to_end(&mut answer).await;
    writer.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_drips_is_sent_away_in_time() {
    let short = Duration::from_millis(400);
    let heads = serve(|b| b.limits(patient().header_timeout(short))).await;
    let bodies = serve(|b| b.limits(patient().body_timeout(short))).await;
    let began = Instant::now();
    let drips: Vec<_> = (0..20)
        .map(|at| {
            let address = if at % 2 == 0 { heads.address } else { bodies.address };
            tokio::spawn(async move {
                if at % 2 == 0 {
                    // A header that never ends, and then is one of many.
                    drip(address, "GET /livez HTTP/1.1\r\nhost: x\r\nx-a: ", "aaaa").await
                } else {
                    let head = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: \
                                application/json\r\ncontent-length: 500\r\n\r\n";
                    drip(address, head, " ").await
                }
            })
        })
        .collect();
    for (at, one) in drips.into_iter().enumerate() {
        let answer = one.await.unwrap();
        let status = answer.split(' ').nth(1).unwrap_or("none");
        let expected = if at % 2 == 0 { ["none", "408"] } else { ["408", "408"] };
        assert!(expected.contains(&status), "{at}: {answer}");
    }
    assert!(began.elapsed() < FOR_EVER, "{:?}", began.elapsed());
    assert_eq!(bodies.predict(&body()).await.0, 200);
    until_asked("who is quick enough is served", async || is_alive(heads.address).await).await;
}

#[tokio::test]
async fn a_body_that_never_ends_ends_in_time() {
    let limits = patient().body_timeout(Duration::from_millis(400));
    let server = serve(|b| b.limits(limits)).await;
    let head = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let began = Instant::now();
    let answer = drip(server.address, head, "1\r\n \r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(began.elapsed() < FOR_EVER, "{:?}", began.elapsed());
    // No chunk at all.
    let (status, _, _) = raw(server.address, head.as_bytes(), b"zz\r\n").await;
    assert_eq!(status, 400);
    assert_eq!(server.predict(&body()).await.0, 200);
}

#[tokio::test]
async fn a_length_that_lies_harms_nobody() {
    let server = serve(|b| b).await;
    let head = |length: usize| {
        format!(
            "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    // Shorter than what comes: the rest is no request.
    let answers = raw(server.address, head(10).as_bytes(), CURL_BODY.as_bytes()).await;
    assert_eq!(answers.0, 400);
    let rest = String::from_utf8_lossy(&answers.2).into_owned();
    assert!(rest.contains("HTTP/1.1 400 ") && !rest.contains("HTTP/1.1 200 "), "{rest}");
    // Longer, and the sender is done.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let long = [head(CURL_BODY.len() + 1).as_bytes(), CURL_BODY.as_bytes()].concat();
    stream.write_all(&long).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(!answer.contains(" 200 "), "{answer}");
    for length in ["-1", "+5", "0x10", "1e3", "99999999999999999999", "5, 6", ""] {
        let text = head(0).replace("length: 0", &format!("length: {length}"));
        assert_eq!(raw(server.address, text.as_bytes(), b"hello").await.0, 400, "{length:?}");
    }
    assert!(server.log.events().is_empty());
    assert_eq!(server.predict(&body()).await.0, 200);
}

#[tokio::test]
async fn no_request_hides_in_another() {
    let server = serve(|b| b).await;
    let hidden = format!(
        "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{CURL_BODY}",
        CURL_BODY.len()
    );
    let begin = "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let chunks = format!("{:x}\r\n{CURL_BODY}\r\n0\r\n\r\n", CURL_BODY.len());
    let end = "0\r\n\r\n";
    let length = |length: usize| format!("content-length: {length}\r\n");
    // With both, the chunks count, and whatever follows is nobody's request: RFC 9112, 6.1.
    for (lengths, body, expected) in [
        (length(end.len() + hidden.len()) + chunked, end, 400),
        (chunked.to_owned() + &length(end.len() + hidden.len()), end, 400),
        (chunked.to_owned() + &length(4), end, 400),
        (length(4) + chunked, end, 400),
        (chunked.to_owned() + &length(4), &chunks, 200),
        (length(chunks.len() + hidden.len()) + chunked, &chunks, 200),
        ("transfer-encoding: chunked, identity\r\n".to_owned() + &length(5), end, 400),
        ("transfer-encoding:\x0bchunked\r\n".to_owned() + &length(5), end, 400),
        ("transfer-encoding: xchunked\r\n".to_owned(), end, 400),
    ] {
        let head = format!("{begin}{lengths}\r\n");
        let sent = format!("{body}{hidden}");
        let (status, head, rest) = raw(server.address, head.as_bytes(), sent.as_bytes()).await;
        assert_eq!(status, expected, "{lengths:?}: {head}");
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("HTTP/1.1"), "{lengths:?}: one answer, and no more: {rest}");
    }
    assert_eq!(server.log.events().len(), 2, "nobody else has predicted");
    // Chunks alone say where a request ends, and then there may be another one.
    let hidden = hidden.replace("host: x", "connection: close\r\nhost: x");
    let (status, _, rest) = raw(
        server.address,
        format!("{begin}{chunked}\r\n").as_bytes(),
        format!("{chunks}{hidden}").as_bytes(),
    )
    .await;
    assert_eq!((status, String::from_utf8_lossy(&rest).contains("HTTP/1.1 200")), (200, true));
    assert_eq!(server.log.events().len(), 4);
}

#[tokio::test]
async fn what_was_sent_is_not_repeated_where_the_owner_says_so() {
    let secret = "jane.doe@example.com";
    for (values, shown) in [(RejectedValues::Show, true), (RejectedValues::Hide, false)] {
        let server = serve(|b| b.rejected_values(values)).await;
        let bad = body_with("contract", json!(secret));
        let batch = json!({"instances": [bad]});
        let tensor = json!({"inputs": [{"name": "rows", "shape": [1], "datatype": "BYTES",
            "data": [bad["features"].to_string()]}]});
        let records = json!({"dataframe_records": [bad["features"]]});
        for (path, sent) in [
            ("/api/v1/predict", &bad),
            ("/api/v1/predict/batch", &batch),
            ("/v2/models/churn-classifier/infer", &tensor),
            ("/invocations", &records),
        ] {
            let (_, answer) = server.post(path, sent).await;
            let answer = answer.to_string();
            assert_eq!(answer.contains(secret), shown, "{path}: {answer}");
            assert_eq!(answer.contains("contract: (not shown). Expected one of"), !shown, "{path}");
        }
        // However long it is, no more than its beginning.
        let long = body_with("contract", json!("x".repeat(10_000)));
        let answer = server.predict(&long).await.1.to_string();
        assert!(answer.len() < 500 && answer.contains(&"x".repeat(60)) == shown, "{answer}");
    }
    // What is of another shape is not repeated in any case.
    let secret = format!("canary{}", "x".repeat(100_000));
    let tensor = |field: &str| {
        let mut tensor = json!({"name": "rows", "shape": [1], "datatype": "BYTES", "data": ["{}"]});
        tensor[field] = json!(secret);
        json!({ "inputs": [tensor] })
    };
    let id = "0195f3a0-0000-7000-8000-00000000002a";
    let observed = body_with("tenure", json!(1))["features"].take();
    let observed = json!({"features": observed, "prediction": secret});
    let cases = [
        ("/api/v1/predict", json!({ "features": secret })),
        ("/api/v1/predict", json!(secret)),
        ("/api/v1/predict/batch", json!({ "instances": secret })),
        ("/api/v1/predict/batch", json!(secret)),
        ("/api/v1/predict/batch", json!({ "instances": [{ "features": secret }] })),
        ("/api/v1/observations", json!({ "observations": secret })),
        ("/api/v1/observations", json!({ "observations": [observed] })),
        ("/api/v1/outcomes", json!(secret)),
        ("/api/v1/outcomes", json!([{ "request_id": id, "outcome": secret }])),
        ("/v2/models/churn-classifier/infer", tensor("shape")),
        ("/v2/models/churn-classifier/infer", tensor("data")),
        ("/v2/models/churn-classifier/infer", json!({ "inputs": secret })),
        ("/invocations", json!({ "dataframe_split": secret })),
        ("/invocations", json!({ "dataframe_records": secret })),
        ("/invocations", json!({ "inputs": secret })),
        ("/api/v1/retrain", json!({ "force": secret })),
    ];
    for values in [RejectedValues::Show, RejectedValues::Hide] {
        let server = serve(|b| b.admin_token(TOKEN).rejected_values(values)).await;
        let ask = async |path: &str, sent: &Value| {
            let sent = server.client.post(server.url(path)).bearer_auth(TOKEN).json(sent);
            let (status, answer) = read(sent.send().await.unwrap()).await;
            let answer = answer.to_string();
            assert!(status == 400 || status == 200, "{path}: {status} {answer}");
            assert!(answer.len() < 1_000, "{path}: {answer}");
            answer
        };
        for (path, sent) in &cases {
            let answer = ask(path, sent).await;
            assert!(!answer.contains("canary"), "{path}: {answer}");
        }
        let time = json!([{ "request_id": id, "outcome": 0.123, "observed_at": secret }]);
        let answer = ask("/api/v1/outcomes", &time).await;
        for part in ["canary", "0.123"] {
            assert_eq!(answer.contains(part), values == RejectedValues::Show, "{answer}");
        }
        assert!(answer.contains("expected 0 or 1") && answer.contains("RFC 3339"), "{answer}");
    }
}

#[tokio::test]
async fn a_megabyte_of_headers_is_refused() {
    let server = serve(|b| b).await;
    let large = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\nx-large: {}\r\nconnection: close\r\n\r\n",
        "a".repeat(1 << 20)
    );
    let (status, _, _) = raw(server.address, large.as_bytes(), b"").await;
    // Refused, or the connection was closed before all of it was sent.
    assert!(status == 431 || status == 0, "{status}");
    let many: String = (0..10_000).map(|i| format!("x-{i}: a\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}connection: close\r\n\r\n");
    let (status, _, _) = raw(server.address, many.as_bytes(), b"").await;
    assert!(status == 431 || status == 0, "{status}");
    assert_eq!(server.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_forged_header_reaches_no_log_and_no_answer() {
    let server = serve(|b| b).await;
    for id in ["\u{1b}[31mred", "a\tb", "\u{e9}", "a b", "<script>alert(1)</script>"] {
        let head = format!(
            "GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n"
        );
        let (status, head, _) = raw(server.address, head.as_bytes(), b"").await;
        // Characters that no header may have end the request; others are replaced.
        assert!(status == 200 || status == 400, "{status} {id:?}");
        assert!(!head.contains(&id.to_lowercase()), "{id:?}: {head}");
    }
    // The peer is who connects, whatever a header says.
    let forged = server.client.post(server.url("/model/reload"));
    let forged = forged.header("host", "evil.example").header("x-forwarded-host", "localhost");
    assert_eq!(read(forged.send().await.unwrap()).await.0, 403);
}

#[tokio::test]
async fn compressed_bodies_are_not_read_at_all() {
    let server = serve(|b| b.admin_token(TOKEN)).await;
    for path in [
        "/api/v1/predict",
        "/api/v1/predict/batch",
        "/api/v1/observations",
        "/api/v1/outcomes",
        "/v2/models/churn-classifier/infer",
        "/invocations",
    ] {
        for encoding in ["gzip", "gzip, gzip", "br", "deflate", "zstd"] {
            let sent = server.client.post(server.url(path)).bearer_auth(TOKEN);
            let sent = sent.header("content-type", "application/json");
            let sent = sent.header("content-encoding", encoding).body(vec![0x1f; 1_000]);
            assert_eq!(sent.send().await.unwrap().status(), 415, "{path} {encoding}");
        }
        assert_eq!(server.announce(path, 17 << 20).await, 413, "{path}");
    }
    assert_eq!(server.get("/livez").await.0, 200);
}

#[tokio::test]
async fn every_error_has_the_shape_that_is_asked_for() {
    let limits = patient().body_bytes(3_000);
    let server = serve(|b| b.limits(limits).admin_token(TOKEN)).await;
    let json = "application/json";
    let large = format!("{CURL_BODY}{}", " ".repeat(3_000));
    let bad = body_with("tenure", json!(-1)).to_string();
    for (method, path, kind, body, status, code) in [
        ("POST", "/api/v1/predict", json, &*bad, 400, "validation_failed"),
        ("POST", "/api/v1/predict", json, "{", 400, "validation_failed"),
        ("POST", "/api/v1/predict/batch", json, "{}", 400, "validation_failed"),
        ("POST", "/api/v1/predict/batch?atomic=2", json, "{}", 400, "invalid_query"),
        ("POST", "/api/v1/predict", "text/csv", "a", 415, "unsupported_media_type"),
        ("POST", "/api/v1/predict", json, &*large, 413, "too_large"),
        ("POST", "/model/reload", json, "", 401, "unauthorized"),
        ("POST", "/api/v1/observations", json, "{}", 401, "unauthorized"),
        ("GET", "/nowhere", json, "", 404, "not_found"),
        ("GET", "/api/v1/shadow", json, "", 404, "no_shadow"),
        ("DELETE", "/model", json, "", 405, "method_not_allowed"),
    ] {
        for accept in [
            None,
            Some("application/json"),
            Some("text/html, application/problem+json;q=0.9"),
            Some("image/png"),
        ] {
            let sent = server.client.request(method.parse().unwrap(), server.url(path));
            let mut sent = sent.header("content-type", kind).body(body.to_owned());
            if let Some(accept) = accept {
                sent = sent.header("accept", accept);
            }
            let response = sent.send().await.unwrap();
            let media = response.headers()["content-type"].to_str().unwrap().to_owned();
            assert!(response.headers().contains_key("x-request-id"), "{path}");
            let (found, answer) = read(response).await;
            assert_eq!(found, status, "{method} {path}: {answer}");
            if accept.is_some_and(|accept| accept.contains("problem+json")) {
                assert_eq!(media, "application/problem+json", "{path}");
                assert_eq!((&answer["status"], &answer["code"]), (&json!(status), &json!(code)));
                let texts = ["type", "title", "detail"].map(|field| answer[field].is_string());
                assert_eq!(texts, [true; 3], "{answer}");
            } else {
                assert_eq!(media, "application/json", "{path}");
                assert!(answer["detail"]["message"].is_string(), "{answer}");
                assert_eq!(answer["status"], Value::Null);
            }
        }
    }
}
