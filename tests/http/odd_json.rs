//! The odd-JSON table, row by row.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{CURL_BODY, errors, serve};

/// The body of the quick start with the text `"tenure": 12` replaced.
fn with_tenure(text: &str) -> Vec<u8> {
    let body = CURL_BODY.replace("\"tenure\": 12", &format!("\"tenure\": {text}"));
    assert_ne!(body, CURL_BODY);
    body.into_bytes()
}

/// The features of the quick start alone.
fn features() -> Value {
    serde_json::from_str::<Value>(CURL_BODY).unwrap()["features"].take()
}

fn with_contract(text: &[u8]) -> Vec<u8> {
    let (before, after) = CURL_BODY.split_once("\"Month-to-month\"").unwrap();
    [before.as_bytes(), text, after.as_bytes()].concat()
}

#[tokio::test]
async fn every_row_answers_as_listed() {
    let server = serve(|b| b).await;
    let many = |n: usize| {
        let keys: String = (0..n).map(|i| format!("\"k{i}\":1,")).collect();
        CURL_BODY.replace("\"gender\"", &format!("{keys}\"gender\"")).into_bytes()
    };
    let deep = "[".repeat(100_000);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let with_bom = [b"\xef\xbb\xbf", CURL_BODY.as_bytes()].concat();
    let unread = [b"{\"x\": \"\xff\",", &CURL_BODY.as_bytes()[1..]].concat();
    // The status, and what the first error says.
    let table: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("a number as text", with_tenure("\"5\""), 400, "tenure: '5'. Must be a number"),
        ("a truth as number", with_tenure("true"), 400, "tenure: true. Must be a number"),
        ("5.0 for an integer", with_tenure("5.0"), 200, ""),
        ("5.5 for an integer", with_tenure("5.5"), 400, "tenure: 5.5. Must be an integer"),
        ("NaN", with_tenure("NaN"), 400, "tenure"),
        ("Infinity", with_tenure("Infinity"), 400, "tenure"),
        ("-Infinity", with_tenure("-Infinity"), 400, "tenure"),
        ("1e400", with_tenure("1e400"), 400, "tenure"),
        ("400 digits", with_tenure(&"9".repeat(400)), 400, "tenure"),
        ("2^70", with_tenure("1180591620717411303424"), 400, "tenure"),
        ("1e-400", with_tenure("1e-400"), 200, ""),
        ("-0.0", with_tenure("-0.0"), 200, ""),
        ("a duplicate feature", with_tenure("12, \"tenure\": 12"), 400, "tenure"),
        (
            "a duplicate unknown key",
            with_tenure("12, \"a\": 1, \"a\": 1"),
            400,
            "Duplicate feature: a",
        ),
        ("a lone surrogate", with_contract(br#""\ud800""#), 400, "contract"),
        ("a lone surrogate in a key", with_tenure("12, \"\\ud800\": 1"), 400, "Invalid JSON"),
        ("a lone surrogate nobody knows", with_tenure(r#"12, "x": "\ud800""#), 400, "Invalid"),
        (
            "a lone surrogate beside the features",
            CURL_BODY.replacen('{', r#"{"x": "\ud800", "#, 1).into_bytes(),
            400,
            "Invalid JSON",
        ),
        ("invalid UTF-8", with_contract(b"\"\xff\xfe\""), 400, "not UTF-8"),
        ("invalid UTF-8 nobody reads", unread, 400, "not UTF-8"),
        ("NUL in a text", with_contract(br#""\u0000""#), 400, "Invalid value for contract"),
        ("a raw NUL", with_contract(b"\"\0\""), 400, "contract"),
        ("deep, as a value", with_tenure(&closed), 400, "nested deeper"),
        ("deep, as an unknown value", with_tenure(&format!("12, \"x\": {closed}")), 400, "nested"),
        ("deep, and never closed", deep.into_bytes(), 400, "nested deeper"),
        ("a byte order mark", with_bom, 200, ""),
        ("a top-level array", b"[]".to_vec(), 400, "Invalid JSON"),
        ("the fields as an array", format!("[null, {}]", features()).into_bytes(), 400, "Invalid"),
        ("features as an array", br#"{"features": []}"#.to_vec(), 400, "Invalid JSON"),
        ("features as null", br#"{"features": null}"#.to_vec(), 400, "Invalid JSON"),
        ("no features", b"{}".to_vec(), 400, "Missing required field: features"),
        ("features twice", br#"{"features": {}, "features": {}}"#.to_vec(), 400, "Missing"),
        ("no JSON at all", b"tenure=12".to_vec(), 400, "Invalid JSON"),
        ("nothing", Vec::new(), 400, "Invalid JSON"),
        ("something after it", [CURL_BODY.as_bytes(), b"x"].concat(), 400, "Invalid JSON"),
        ("50,000 keys", many(50_000), 400, "More than 1000 unknown features"),
        ("100,000 keys", many(100_000), 413, ""),
        ("200,000 keys", many(200_000), 413, ""),
        (
            "half a megabyte of text",
            with_contract(format!("\"{}\"", "x".repeat(500_000)).as_bytes()),
            400,
            "contract",
        ),
        ("1 MB of text", with_contract(&[b"\"", &[b'x'; 1 << 20][..], b"\""].concat()), 413, ""),
        ("2 MB of spaces", vec![b' '; 2 << 20], 413, ""),
    ];
    for (what, body, status, says) in table {
        let began = Instant::now();
        let (found, answer) = server.raw_predict(&body).await;
        assert_eq!(
            found,
            status,
            "{what}: {}",
            answer.to_string().chars().take(300).collect::<String>()
        );
        let first = errors(&answer).first().copied().unwrap_or_default();
        assert!(first.contains(says), "{what}: {first:?} does not say {says:?}");
        assert!(answer.to_string().len() < 200_000, "{what}: the answer is bounded");
        assert!(began.elapsed() < Duration::from_secs(20), "{what} took {:?}", began.elapsed());

        // In a batch the same is said of the row, or of the whole where it breaks that.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
        let batch = [b"{\"instances\": [", body, b"]}"].concat();
        let (found, answer) = server.raw_post("/api/v1/predict/batch", &batch).await;
        let row = &answer["results"][0]["error"];
        match status {
            // What is too large for one is not too large for many.
            413 => {}
            200 => assert_eq!((found, row), (200, &Value::Null), "{what}: {answer}"),
            _ if found == 200 => {
                assert_eq!(row["status"], json!(400), "{what}: {answer}");
                let first = row["errors"][0]["message"].as_str().unwrap();
                // Without the field a row is the features, of which there are none.
                let says = if what == "no features" { "Missing required feature" } else { says };
                assert!(first.contains(says), "{what}: {first:?} does not say {says:?}");
            }
            _ => assert_eq!((found, errors(&answer).is_empty()), (400, false), "{what}: {answer}"),
        }
    }
    // Nothing of it has done any harm.
    assert_eq!(server.raw_predict(CURL_BODY.as_bytes()).await.0, 200);
}

#[tokio::test]
async fn a_tiny_number_is_zero() {
    let server = serve(|b| b).await;
    let (status, tiny) = server.raw_predict(&with_tenure("1e-400")).await;
    let (_, zero) = server.raw_predict(&with_tenure("0")).await;
    assert_eq!((status, &tiny["probability"]), (200, &zero["probability"]));
}

#[tokio::test]
async fn ids_are_canonical_and_never_nil() {
    let server = serve(|b| b).await;
    let send = async |id: Value| {
        let mut body: Value = serde_json::from_str(CURL_BODY).unwrap();
        body["request_id"] = id;
        server.predict(&body).await
    };
    let id = "0195f3a0-0000-7000-8000-00000000002a";
    let (status, answer) = send(json!(id.to_uppercase())).await;
    assert_eq!((status, &answer["request_id"]), (200, &json!(id)));
    let (status, again) = send(json!(format!("{{{id}}}"))).await;
    assert_eq!((status, again), (200, answer), "the same id in other clothes");
    assert_eq!(send(Value::Null).await.0, 200);
    for bad in [
        json!("00000000-0000-0000-0000-000000000000"),
        json!("42"),
        json!(42),
        json!(true),
        json!([]),
        json!({"a": 1}),
    ] {
        let (status, answer) = send(bad.clone()).await;
        assert_eq!(status, 400, "{bad}");
        assert!(errors(&answer)[0].starts_with("request_id must"), "{answer}");
    }
}
