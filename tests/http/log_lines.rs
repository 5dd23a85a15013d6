//! What a stranger sends is no log line of its own, whatever the format of the log.

use serde_json::{Value, json};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{Logs, body, listen, raw, serve};

/// Ends a line, begins one that looks like ours, and tells a terminal what to do.
const FORGED: &str =
    "x\r\n{\"level\":\"ERROR\",\"forged\":1}\n2026-01-01 ERROR forged\u{1b}[31m\u{9b}2J";

#[tokio::test]
async fn log_lines_are_ours_to_the_byte() {
    let (as_json, as_text) = (Logs::default(), Logs::default());
    let (json_writer, text_writer) = (as_json.clone(), as_text.clone());
    let subscriber = tracing_subscriber::registry()
        .with(fmt::layer().json().with_writer(move || json_writer.clone()))
        .with(fmt::layer().with_ansi(false).with_writer(move || text_writer.clone()));
    let _subscriber = listen(subscriber);

    let server = serve(|b| b).await;
    // A category, the name of a feature, of a field, an id; alone and in a batch.
    let mut category = body();
    category["features"]["contract"] = json!(FORGED);
    let mut feature = body();
    feature["features"][FORGED] = json!(1);
    let mut field = body();
    field[FORGED] = json!(1);
    let mut id = body();
    id["request_id"] = json!(FORGED);
    let rows = [category, feature, field, id];
    for row in &rows {
        server.predict(row).await;
    }
    server.post("/api/v1/predict/batch", &json!({ "instances": rows })).await;
    server.post("/api/v1/outcomes", &json!([{ "request_id": FORGED, "outcome": 1 }])).await;
    server.get("/%0d%0a%7B%22level%22:1%7D%1b[31m").await;
    let bearing = |name: &str, value: &str| {
        format!(
            "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\n{name}: {value}\r\ncontent-length: 1\r\n\
                 connection: close\r\n\r\n"
        )
    };
    for name in ["x-request-id", "user-agent", "traceparent", "tracestate", "content-type"] {
        for value in ["a\u{1b}[31m", "a\u{9b}2J", "a\rforged", "a\n{\"forged\":1}", "a\0"] {
            raw(server.address, bearing(name, value).as_bytes(), b"x").await;
        }
    }

    let (as_json, as_text) = (as_json.text(), as_text.text());
    let mut refused = 0;
    for line in as_json.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
        assert!(line["forged"].is_null() && line["target"].is_string(), "{line}");
        refused += u32::from(line["fields"]["message"] == "a request was refused");
    }
    assert!(refused >= 2 && as_json.contains("forged"), "{as_json}");
    for line in as_text.lines() {
        // Each begins with its moment.
        assert!(line.starts_with("20") && line.as_bytes().get(10) == Some(&b'T'), "{line:?}");
    }
    for log in [as_json, as_text] {
        let odd = log.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{log}");
    }
}
