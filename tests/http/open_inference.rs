//! A stock client of the Open Inference Protocol: what it does unless told otherwise is answered.

use serde_json::{Value, json};

use crate::support::{Server, body_with, python, raw, serve, telco};

const INFER: &str = "/v2/models/churn-classifier/infer";

/// What the client was told about `rows` features.
async fn ask(server: &Server, rows: &[Value]) -> Option<Value> {
    let python = python::python("kserve")?;
    let (_, model) = server.get("/v2/models/churn-classifier").await;
    let inputs = model["inputs"].as_array().unwrap();
    let types: serde_json::Map<String, Value> = inputs
        .iter()
        .map(|input| (input["name"].as_str().unwrap().to_owned(), input["datatype"].clone()))
        .collect();
    assert_eq!(types.len(), telco().len());
    let sent = json!({"features": rows, "types": types}).to_string();
    let arguments = vec![server.address.to_string(), "churn-classifier".to_owned()];
    let program = "tests/python/open_inference.py";
    let output = python::run(&python, program, arguments, sent.into_bytes()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_others_gets_the_same_probability_in_every_way_that_it_has() {
    let server = serve(|b| b).await;
    let (mut rows, mut ours) = (Vec::new(), Vec::new());
    for tenure in [0, 12, 60] {
        let mut one = body_with("tenure", json!(tenure));
        if tenure == 0 {
            // A new customer: NaN in numpy, null in JSON.
            one["features"]["total_charges"] = Value::Null;
        }
        ours.push(server.predict(&one).await.1);
        rows.push(one["features"].take());
    }
    let column = |name: &str| ours.iter().map(|answer| answer[name].clone()).collect::<Vec<_>>();
    let (probability, prediction) = (json!(column("probability")), json!(column("prediction")));

    let Some(told) = ask(&server, &rows).await else { return };
    for (what, expected) in [("live", true), ("ready", true), ("model_ready", true)] {
        assert_eq!(told[what], expected, "{what}");
    }
    assert_eq!(told["other_ready"], false);
    assert_eq!(told["server"]["extensions"], json!(["binary_tensor_data"]));
    assert_eq!(
        (&told["model"]["name"], &told["model"]["versions"]),
        (&json!("churn-classifier"), &json!(["1"]))
    );
    for (how, answer) in told["answers"].as_object().unwrap() {
        assert_eq!(answer["probability"], probability, "{how}");
        let all = how != "json";
        assert_eq!(answer["prediction"], if all { prediction.clone() } else { json!([]) }, "{how}");
        assert_eq!(answer["version"], "1");
        let ids = answer["request_id"].as_array().unwrap().len();
        assert_eq!(ids, if all && how != "mixed" { 3 } else { 0 }, "{how}");
    }
    // Each row of each answer is in the log, as ours are.
    let events = server.log.events();
    assert_eq!(events.len(), 3 + 5 * 3);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(
            (&event.codes, event.prediction),
            (&events[at % 3].codes, events[at % 3].prediction)
        );
    }
    for (what, status, part) in [
        ("gzip", "415", "must not be compressed"),
        ("deflate", "415", "must not be compressed"),
        ("incomplete", "400", "Missing required feature: contract"),
        ("too_short", "400", "ends within a string"),
        ("version", "404", "of churn-classifier is not in service"),
        ("output", "400", "there is no output \"margin\": prediction, probability, request_id"),
    ] {
        let refused = &told["refused"][what];
        let message = refused["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{what}: {refused}");
        assert!(refused["status"].as_str().is_some_and(|it| it.contains(status)), "{refused}");
    }
}

#[tokio::test]
async fn bytes_that_do_not_fit_are_refused_in_words() {
    let server = serve(|b| b).await;
    let send = async |json: &Value, length: Option<&str>, behind: &[u8]| {
        let mut body = json.to_string().into_bytes();
        let own = body.len().to_string();
        body.extend(behind);
        let head = format!(
            "POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n\
             inference-header-content-length: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            length.unwrap_or(&own),
            body.len()
        );
        let (status, _, body) = raw(server.address, head.as_bytes(), &body).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        (status, answer["error"].as_str().unwrap_or_default().to_owned())
    };
    let one = |shape: Value, size: Value| {
        json!({"inputs": [{"name": "x", "shape": shape, "datatype": "BYTES",
            "parameters": {"binary_data_size": size}}]})
    };
    let row = b"\x02\0\0\0{}";
    let both = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["{}"],
        "parameters": {"binary_data_size": 6}}]});
    for (json, length, behind, says) in [
        (one(json!([1]), json!(6)), None, &row[..], "Missing required feature: tenure"),
        (one(json!([1]), json!(7)), None, row, "there are 6 bytes"),
        (one(json!([1]), json!(u64::MAX)), None, row, "there are 6 bytes"),
        (one(json!([1]), json!(4)), None, row, "ends within a string"),
        (one(json!([1]), json!(0)), None, b"", "has 0 values"),
        (one(json!([1]), json!("6")), None, row, "invalid type: string"),
        (one(json!([1]), Value::Null), None, row, "neither data nor"),
        (one(json!([2]), json!(6)), None, row, "has 1 values, and its shape 2"),
        (one(json!([u64::MAX, u64::MAX]), json!(6)), None, row, "expected [n] or [n, 1]"),
        (one(json!([u64::MAX]), json!(6)), None, row, "There are more than"),
        (one(json!([1]), json!(6)), None, b"\x02\0\0\0{}{}", "2 bytes behind the JSON"),
        (both, None, row, "both data and binary_data_size"),
        (one(json!([1]), json!(6)), Some("-1"), row, "is no length of a part"),
        (one(json!([1]), json!(6)), Some("1000000"), row, "is no length of a part"),
        (one(json!([1]), json!(6)), Some("1"), row, "Invalid JSON"),
    ] {
        let (status, error) = send(&json, length, behind).await;
        assert!(error.contains(says), "{says}: {status} {error}");
        assert!(status == 400 || status == 413, "{status} {error}");
    }
    // Names and shapes are looked at before any byte: what comes first here would be refused too.
    let tensor = |name: &str, shape: Value, size: usize| {
        json!({"name": name, "shape": shape, "datatype": "BYTES",
            "parameters": {"binary_data_size": size}})
    };
    let many: Vec<Value> = (0..1_020).map(|n| tensor(&format!("x{n}"), json!([1]), 1)).collect();
    let long = "x".repeat(80 << 10);
    for (inputs, says) in [
        (many, "more than 1019 inputs"),
        (vec![tensor(&long, json!([1]), 1)], "the names of all columns are longer"),
        (vec![tensor("x", json!([1]), 1), tensor("y", json!([19, 19]), 0)], "\"y\" has shape"),
        (vec![tensor("x", json!([1]), 1), tensor("y", json!([1_001]), 0)], "more than 1000 rows"),
    ] {
        let (status, error) = send(&json!({ "inputs": inputs }), None, &[]).await;
        assert!(error.contains(says), "{says}: {status} {error}");
        assert!(status == 400 || status == 413, "{status} {error}");
    }
    assert!(server.log.events().is_empty());
    // Bytes alone are no request of ours, and a type that is another one is none at all.
    for (kind, status) in [("application/octet-stream", 415), ("text/csv", 415)] {
        let sent = server.client.post(server.url(INFER)).header("content-type", kind).body("{}");
        assert_eq!(sent.send().await.unwrap().status(), status, "{kind}");
    }
}
