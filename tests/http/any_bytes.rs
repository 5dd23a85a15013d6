//! L12 of the fault list: whatever comes in is answered, and what is wrong with it is its sender's
//! fault, never the service's.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{Server, TOKEN, body, raw, serve};

/// Bytes that mean something to one of the parsers.
fn inserted() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "0",
        "-",
        ".",
        "e",
        "null",
        "true",
        "NaN",
        "1e400",
        "\\u0000",
        "\\ud800",
        " ",
        "\0",
        "[[[[",
        "{\"a\":",
        "9007199254740993",
        "18446744073709551616",
        "\u{feff}",
        "\"shape\":[-1]",
        "\"binary_data_size\":4294967296",
    ];
    prop_oneof![
        3 => select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ]
}

type Edits = Vec<(Index, usize, Vec<u8>)>;

/// At so many places, how many bytes go and which come.
fn edits() -> impl Strategy<Value = Edits> {
    proptest::collection::vec((any::<Index>(), 0_usize..8, inserted()), 1..4)
}

fn edited(good: &[u8], edits: &Edits) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (at, cut, insert) in edits {
        let at = at.index(bytes.len() + 1);
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, insert.iter().copied());
    }
    bytes
}

/// Every route that reads a body, with one that it takes.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    let row = body()["features"].take();
    let id = "0195f3a0-0000-7000-8000-00000000002a";
    let columns: Vec<&String> = row.as_object().unwrap().keys().collect();
    let values: Vec<&Value> = row.as_object().unwrap().values().collect();
    let tensors: Vec<Value> = row
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            let datatype = if value.is_string() { "BYTES" } else { "FP64" };
            json!({"name": name, "shape": [1], "datatype": datatype, "data": [value]})
        })
        .collect();
    let text = |value: Value| value.to_string().into_bytes();
    vec![
        ("/api/v1/predict", text(json!({"request_id": id, "features": row}))),
        ("/api/v1/predict/batch", text(json!({"instances": [row, {"features": row}]}))),
        (
            "/api/v1/observations",
            text(json!({"observations": [{"features": row, "prediction": 1, "probability": 0.7}]})),
        ),
        (
            "/api/v1/outcomes",
            text(json!([{"request_id": id, "outcome": 1, "observed_at": "2026-03-01T12:00:00Z"}])),
        ),
        ("/v2/models/churn-classifier/infer", text(json!({"id": "a", "inputs": tensors}))),
        ("/invocations", text(json!({"dataframe_split": {"columns": columns, "data": [values]}}))),
        ("/invocations", text(json!({"dataframe_records": [row]}))),
        ("/invocations", text(json!({ "inputs": [row] }))),
    ]
}

async fn ask(server: &Server, line: &str, headers: &[(&str, &[u8])], body: &[u8]) -> (u16, Value) {
    let mut head = format!(
        "{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n",
        server.address
    )
    .into_bytes();
    for (name, value) in headers {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if !body.is_empty() {
        let length = body.len();
        let more = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        head.extend(more.into_bytes());
    }
    head.extend(b"\r\n");
    let (status, _, answer) = raw(server.address, &head, body).await;
    (status, serde_json::from_slice(&answer).unwrap_or(Value::Null))
}

/// Runs `check` on `cases` of a strategy, with one service for all of them, which serves on.
fn with_service<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(&Runtime, &Server, S::Value) -> Result<(), TestCaseError>,
) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(serve(|b| b.admin_token(TOKEN)));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let result = TestRunner::new(config).run(&strategy, |case| check(&runtime, &server, case));
    result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(runtime.block_on(server.predict(&body())).0, 200, "it serves on");
}

#[test]
fn every_body_is_taken_or_its_sender_told_why_not() {
    let good = good();
    with_service(1, Just(()), |runtime, server, ()| {
        for (path, body) in &good {
            let (status, answer) =
                runtime.block_on(ask(server, &format!("POST {path}"), &[], body));
            prop_assert!(matches!(status, 200 | 202), "{path}: {status} {answer}");
        }
        Ok(())
    });
    let strategy = (edits(), proptest::collection::vec(any::<u8>(), 1..200));
    with_service(40, strategy, |runtime, server, (edits, bytes)| {
        for (path, body) in &good {
            for body in [&edited(body, &edits), &bytes] {
                let line = format!("POST {path}");
                let (status, answer) = runtime.block_on(ask(server, &line, &[], body));
                prop_assert!((200..500).contains(&status), "{path}: {status} {answer}");
                prop_assert!(answer.is_object(), "{path}: {status} {answer}");
            }
        }
        Ok(())
    });
}

/// Tensors whose values stand behind the JSON.
#[test]
fn every_binary_tensor_is_taken_or_its_sender_told_why_not() {
    let strategy = (
        proptest::collection::vec(any::<u8>(), 0..40),
        select(vec!["BYTES", "FP64", "FP32", "INT64", "UINT8", "BOOL", "FP16", ""]),
        prop_oneof![any::<u64>(), 0_u64..50],
        prop_oneof![any::<i64>(), 0_i64..5],
        edits(),
        any::<Index>(),
    );
    with_service(60, strategy, |runtime, server, (behind, datatype, size, rows, edits, at)| {
        let parameters = json!({ "binary_data_size": size });
        let tensor = json!({"name": "tenure", "shape": [rows], "datatype": datatype,
            "parameters": parameters});
        let json = json!({ "inputs": [tensor] }).to_string().into_bytes();
        let whole = [&json[..], &behind].concat();
        let broken = edited(&whole, &edits);
        for (body, end) in [
            (&whole, json.len()),
            (&whole, at.index(whole.len() + 2)),
            (&broken, at.index(broken.len() + 2)),
            (&broken, json.len()),
        ] {
            let end = end.to_string();
            let headers = [("inference-header-content-length", end.as_bytes())];
            let asked = ask(server, "POST /v2/models/churn-classifier/infer", &headers, body);
            let (status, answer) = runtime.block_on(asked);
            // A body that was cut to nothing is no JSON either.
            prop_assert!((200..500).contains(&status), "{status} {answer}");
            prop_assert!(answer.is_object() || body.is_empty(), "{status} {answer}");
        }
        Ok(())
    });
}

/// A value of a header: whatever may stand in one.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let parts = ["00-", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "-01", "a=b,", "="];
    prop_oneof![
        proptest::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff, Just(b'\t')], 0..80),
        proptest::collection::vec(select(parts.to_vec()), 0..6)
            .prop_map(|parts| parts.concat().into_bytes()),
    ]
}

#[test]
fn no_header_or_cursor_harms_a_request() {
    let cursor = prop_oneof![
        "[0-9a-f]{48}",
        "0[3-9a][0-9a-f]{46}",
        proptest::collection::vec(0x21_u8..0x7f, 0..60)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).replace(['#', '?'], "%")),
    ];
    let names = ["x-request-id", "idempotency-key", "traceparent", "tracestate", "accept"];
    let values = proptest::collection::vec(value(), names.len());
    let row = body().to_string();
    with_service(60, (values, cursor), |runtime, server, (values, cursor)| {
        let headers: Vec<(&str, &[u8])> =
            names.into_iter().zip(values.iter().map(Vec::as_slice)).collect();
        let asked = ask(server, "POST /api/v1/predict", &headers, row.as_bytes());
        let (status, answer) = runtime.block_on(asked);
        // A key that cannot be one is told; all others change nothing.
        prop_assert!(matches!(status, 200 | 400 | 409 | 422), "{status} {answer}");
        for list in ["alerts", "drift", "decisions"] {
            let line = format!("GET /api/v1/{list}?cursor={cursor}&limit={cursor}");
            let (status, answer) = runtime.block_on(ask(server, &line, &headers, b""));
            prop_assert!((200..500).contains(&status), "{line}: {status} {answer}");
        }
        Ok(())
    });
}
