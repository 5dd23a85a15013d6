//! Clients of other servers: the same probability, the same log, errors in their shape.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Habit, LogMode, Server, TestLog, TestRegistry, artifact, body, body_with, quick, raw, read,
    serve, serve_on, telco, until,
};

const INFER: &str = "/v2/models/churn-classifier/infer";

/// Three rows: their features, and what `/api/v1/predict` says about them.
async fn rows(server: &Server) -> Vec<(Value, Value)> {
    let mut rows = Vec::new();
    for tenure in [0, 12, 60] {
        let mut one = body_with("tenure", json!(tenure));
        if tenure == 0 {
            one["features"]["total_charges"] = Value::Null;
        }
        let (status, answer) = server.predict(&one).await;
        assert_eq!(status, 200, "{answer}");
        rows.push((one["features"].take(), answer));
    }
    rows
}

fn probabilities(rows: &[(Value, Value)]) -> Vec<&Value> {
    rows.iter().map(|(_, answer)| &answer["probability"]).collect()
}

/// One tensor per feature.
fn tensors(rows: &[(Value, Value)]) -> Vec<Value> {
    let schema = telco();
    let tensor = |name: &str| {
        let data: Vec<&Value> = rows.iter().map(|(features, _)| &features[name]).collect();
        let datatype = match data[data.len() - 1] {
            Value::String(_) => "BYTES",
            Value::Number(number) if number.is_i64() => "INT64",
            _ => "FP64",
        };
        json!({"name": name, "shape": [data.len()], "datatype": datatype, "data": data})
    };
    schema.features().iter().map(|feature| tensor(feature.name())).collect()
}

fn output<'v>(answer: &'v Value, name: &str) -> &'v Value {
    let outputs = answer["outputs"].as_array().unwrap();
    outputs.iter().find(|output| output["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn an_open_inference_client_gets_the_same_probability() {
    let server = serve(|b| b).await;
    let rows = rows(&server).await;
    // What the service says about its inputs is what it takes.
    let (status, model) = server.get("/v2/models/churn-classifier").await;
    assert_eq!((status, &model["versions"]), (200, &json!(["1"])));
    let declared: Vec<(&Value, &Value)> = model["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| (&input["name"], &input["datatype"]))
        .collect();
    let sent = tensors(&rows);
    let ours: Vec<(&Value, &Value)> = sent.iter().map(|t| (&t["name"], &t["datatype"])).collect();
    assert_eq!(declared, ours);

    let (status, answer) = server.post(INFER, &json!({"id": "abc", "inputs": sent})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["id"], &answer["model_version"]), (&json!("abc"), &json!("1")));
    assert_eq!(output(&answer, "probability")["data"], json!(probabilities(&rows)));
    assert_eq!(output(&answer, "probability")["datatype"], "FP64");
    assert_eq!(output(&answer, "prediction")["data"], json!([1, 0, 0]));
    assert_eq!(output(&answer, "prediction")["shape"], json!([3]));
    let ids = output(&answer, "request_id")["data"].as_array().unwrap().clone();
    let events = server.log.events();
    assert_eq!(events.len(), 6, "logged like ours");
    for (id, (_, ours)) in ids.iter().zip(&rows) {
        let id: Uuid = id.as_str().unwrap().parse().unwrap();
        let event = events.iter().find(|event| event.request_id == id).unwrap();
        let same = events.iter().find(|e| json!(e.request_id) == ours["request_id"]).unwrap();
        assert_eq!((&event.codes, event.prediction), (&same.codes, same.prediction));
    }

    // A row per entry; data nested like the shape; of one version; some outputs.
    let entries: Vec<String> = rows.iter().map(|(features, _)| features.to_string()).collect();
    let entries = json!({"name": "rows", "shape": [3, 1], "datatype": "BYTES",
        "data": entries.iter().map(|row| [row]).collect::<Vec<_>>()});
    let sent = json!({"inputs": [entries], "outputs": [{"name": "probability"}]});
    let (status, answer) = server.post("/v2/models/churn-classifier/versions/1/infer", &sent).await;
    assert_eq!((status, answer["outputs"].as_array().unwrap().len()), (200, 1), "{answer}");
    assert_eq!(output(&answer, "probability")["data"], json!(probabilities(&rows)));

    // The id of a single row is its request id, and sent again it has its answer.
    let one = json!({"id": Uuid::from_u128(9), "inputs": tensors(&rows[..1])});
    let (_, first) = server.post(INFER, &one).await;
    assert_eq!(output(&first, "request_id")["data"], json!([Uuid::from_u128(9)]));
    assert_eq!(server.post(INFER, &one).await, (200, first));
    assert_eq!(server.log.events().len(), 10);
}

#[tokio::test]
async fn an_open_inference_client_is_refused_in_its_own_shape() {
    let server = serve(|b| b).await;
    let rows = rows(&server).await;
    let with = |at: usize, field: &str, value: Value| {
        let mut inputs = tensors(&rows);
        inputs[at][field] = value;
        json!({ "inputs": inputs })
    };
    let tensor = |shape: Value, datatype: &str, data: Value| json!({"inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": data}]});
    for (sent, says) in [
        (with(4, "data", json!([1, 2])), "\"tenure\" has shape [3], and 2 values"),
        (with(4, "data", json!([1, 2, 3.5])), "\"tenure\" holds what is no INT64"),
        (with(4, "data", json!([1, 2, "3"])), "\"tenure\" holds what is no INT64"),
        (with(4, "data", json!([1, 2, 300])), "row 2/tenure: Invalid value for tenure: 300"),
        (
            with(5, "data", json!(["Annual", "One year", "x"])),
            "row 0/contract: Invalid value for contract: 'Annual'",
        ),
        (with(4, "shape", json!([3, 2])), "\"tenure\" has shape [3, 2], expected [n] or [n, 1]"),
        (with(4, "shape", json!([])), "expected [n] or [n, 1]"),
        (with(4, "datatype", json!("BOOL")), "\"tenure\" has datatype \"BOOL\""),
        (with(4, "name", json!("partner")), "Duplicate feature: partner"),
        (with(4, "name", json!("tenures")), "Missing required feature: tenure"),
        (tensor(json!([1]), "BYTES", json!(["{"])), "must be a JSON object of features"),
        (tensor(json!([1]), "BYTES", json!(["[1]"])), "must be a JSON object of features"),
        (tensor(json!([1]), "FP64", json!([1.5])), "expected [n, 19]"),
        (json!({"inputs": []}), "There are no inputs"),
        (json!([]), "Invalid JSON"),
        (json!({"inputs": tensors(&rows), "outputs": [{"name": "y"}]}), "there is no output \"y\""),
    ] {
        let (status, answer) = server.post(INFER, &sent).await;
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{says}: {answer}"));
        assert_eq!((status, error.contains(says)), (400, true), "{says}: {error}");
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
    let many = tensor(json!([100_000]), "BYTES", json!(["{}"]));
    assert_eq!(server.post(INFER, &many).await.0, 413);
    for path in ["/v2/models/other/infer", "/v2/models/churn-classifier/versions/7/infer"] {
        let (status, answer) = server.post(path, &json!({"inputs": tensors(&rows)})).await;
        assert_eq!((status, answer["error"].is_string()), (404, true), "{path}");
    }
    assert_eq!(server.get("/v2/models/%ff/ready").await.0, 404);
    let (status, answer) = server.get(INFER).await;
    assert_eq!((status, answer["error"].is_string()), (405, true));
    assert_eq!(server.log.events().len(), 3, "all or none");
}

#[tokio::test]
async fn open_inference_health_is_ours() {
    let server = serve(|b| b).await;
    assert_eq!(server.get("/v2/health/live").await, (200, json!({"live": true})));
    assert_eq!(server.get("/v2/health/ready").await, (200, json!({"ready": true})));
    let ready = server.get("/v2/models/churn-classifier/ready").await;
    assert_eq!(ready, (200, json!({"name": "churn-classifier", "ready": true})));
    let (status, about) = server.get("/v2").await;
    let extensions = json!(["binary_tensor_data"]);
    assert_eq!((status, &about["name"], &about["extensions"]), (200, &json!("pmmds"), &extensions));
    let server = serve_on(TestLog::new(), TestRegistry::with(&[]), |b| b).await;
    assert_eq!(server.get("/v2/health/ready").await, (400, json!({"ready": false})));
    assert_eq!(server.get("/ping").await.0, 503);
    let (status, answer) = server.get("/v2/models/churn-classifier").await;
    assert_eq!((status, answer["error"].is_string()), (503, true), "{answer}");
}

#[tokio::test]
async fn a_client_of_mlflow_gets_the_same_probability() {
    let server = serve(|b| b).await;
    let rows = rows(&server).await;
    let names: Vec<String> = telco().features().iter().map(|f| f.name().to_owned()).collect();
    let records: Vec<&Value> = rows.iter().map(|(features, _)| features).collect();
    let lists: Vec<Vec<&Value>> =
        records.iter().map(|row| names.iter().map(|name| &row[name]).collect()).collect();
    let columns: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| (name.clone(), json!(records.iter().map(|row| &row[name]).collect::<Vec<_>>())))
        .collect();
    let split = json!({"columns": names, "index": [7, 8, 9], "data": lists});
    for sent in [
        json!({ "dataframe_split": split }),
        json!({ "dataframe_records": records, "params": {} }),
        json!({ "instances": records }),
        json!({ "instances": lists }),
        json!({ "instances": columns }),
        json!({ "inputs": columns }),
        json!({ "inputs": lists }),
    ] {
        let (status, answer) = server.post("/invocations", &sent).await;
        assert_eq!(status, 200, "{answer}");
        let predictions = answer["predictions"].as_array().unwrap();
        let found: Vec<&Value> = predictions.iter().map(|one| &one["probability"]).collect();
        assert_eq!(found, probabilities(&rows));
        assert_eq!(predictions[0]["prediction"], 1);
        assert!(predictions[0]["request_id"].is_string());
    }
    assert_eq!(server.log.events().len(), 3 + 7 * 3, "logged like ours");
    let (status, head, text) =
        raw(server.address, b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"")
            .await;
    assert_eq!((status, &text[..]), (200, &b"\n"[..]), "{head}");

    let wrong = |field: &str, value: Value| {
        let mut split = split.clone();
        split[field] = value;
        json!({ "dataframe_split": split })
    };
    for (sent, says) in [
        (json!({}), "expected one of dataframe_split"),
        (json!({ "instances": records, "inputs": records }), "expected one of dataframe_split"),
        (json!({ "rows": records }), "unknown field `rows`"),
        (json!({ "instances": [] }), "There are no instances"),
        (json!({ "instances": [1] }), "a row must be an object of features"),
        (json!({ "instances": [[1, 2]] }), "a row must be a list of 19 values, there are 2"),
        (json!({ "instances": {"tenure": [1], "gender": ["Male", "Male"]} }), "\"gender\" has"),
        (wrong("columns", json!(["tenure"])), "a row must be a list of 1 values, there are more"),
        (wrong("data", json!([[1]])), "a row must be a list of 19 values, there are 1"),
        (
            json!({ "instances": [body()["features"], {"tenure": 1}] }),
            "row 1/gender: Missing required feature: gender",
        ),
    ] {
        let (status, answer) = server.post("/invocations", &sent).await;
        let message = answer["message"].as_str().unwrap_or_else(|| panic!("{says}: {answer}"));
        assert_eq!(status, 400, "{says}");
        assert!(message.contains(says), "{says}: {message}");
        assert_eq!(answer["error_code"], "BAD_REQUEST");
    }
    let log = Arc::clone(&server.log);
    assert_eq!(log.events().len(), 3 + 7 * 3);
}

#[tokio::test]
async fn a_number_is_predicted_for_them_too() {
    let registry = TestRegistry::with(&[artifact(Habit::Number, 0.0)]);
    let server = serve_on(TestLog::new(), registry, |b| b).await;
    let sent = json!({ "instances": [body()["features"]] });
    let (status, answer) = server.post("/invocations", &sent).await;
    assert_eq!((status, &answer["predictions"][0]["prediction"]), (200, &json!(1_200.0)));
    assert!(answer["predictions"][0]["probability"].is_null());
    let inputs = tensors(&[(body()["features"].take(), Value::Null)]);
    let (status, answer) = server.post(INFER, &json!({ "inputs": inputs })).await;
    assert_eq!((status, &output(&answer, "prediction")["data"]), (200, &json!([1_200.0])));
    assert_eq!(output(&answer, "prediction")["datatype"], "FP64");
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn names_are_not_repeated_without_end() {
    let server = serve(|b| b).await;
    let long = "x".repeat(100_000);
    let values = vec![1; 100];
    let rows: Vec<[i32; 1]> = values.iter().map(|value| [*value]).collect();
    for sent in [
        json!({"dataframe_split": {"columns": [&long], "data": rows}}),
        json!({"inputs": {&long: &values}}),
        // escaped it is six times as long
        json!({"inputs": {"\u{1}".repeat(20_000): &values}}),
    ] {
        let (status, answer) = server.post("/invocations", &sent).await;
        let message = answer["message"].as_str().unwrap();
        assert_eq!((status, message.contains("longer than 65536 bytes")), (400, true), "{message}");
    }
    let tensor = |name: &str, shape: Value, data: &[i32]| json!({"name": name, "shape": shape, "datatype": "FP64", "data": data});
    let infer = async |inputs: Value, says: &str| {
        let (status, answer) = server.post(INFER, &json!({ "inputs": inputs })).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!((status, error.contains(says)), (400, true), "{says}");
        assert!(error.len() < 500, "{} bytes", error.len());
    };
    let other = tensor("tenure", json!([100]), &values);
    infer(json!([tensor(&long, json!([100]), &values), other]), "longer than 65536 bytes").await;
    // What is told of them is short too.
    infer(json!([tensor(&long[..60_000], json!([100, 2]), &values), other]), "xxx\" has shape")
        .await;
    infer(json!([tensor("tenure", json!(vec![1; 10_000]), &values)]), "10000 dimensions").await;
    let mut odd = other.clone();
    odd["datatype"] = json!(long);
    infer(json!([odd, other]), "has datatype \"xxx").await;
    let columns = json!({"inputs": {&long: [1], "tenure": [1, 2]}});
    let (_, answer) = server.post("/invocations", &columns).await;
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("\"tenure\" has 2") && message.len() < 500, "{}", message.len());
}

#[tokio::test]
async fn what_cannot_be_asked_for_again_is_not_offered_again() {
    let server = serve(|b| b.limits(quick())).await;
    let rows = rows(&server).await;
    server.log.set(LogMode::Down);
    let send = async |path: &str, body: &Value| {
        let response = server.client.post(server.url(path)).json(body).send().await.unwrap();
        let after = response.headers().contains_key("retry-after");
        let (status, answer) = read(response).await;
        (status, after, answer)
    };
    let (status, after, answer) =
        send("/invocations", &json!({"dataframe_records": [rows[0].0]})).await;
    assert_eq!((status, after), (504, false), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("a new request"), "{answer}");
    let (status, after, answer) = send(INFER, &json!({"inputs": tensors(&rows)})).await;
    assert_eq!((status, after), (504, false), "{answer}");
    // The id of a single row is one to ask again with.
    let one = json!({"id": Uuid::from_u128(9), "inputs": tensors(&rows[..1])});
    let (status, after, answer) = send(INFER, &one).await;
    assert_eq!((status, after), (503, true), "{answer}");
    server.log.set(LogMode::Up);
    until("they are in the log", || server.log.events().len() == 8).await;
    assert_eq!(send(INFER, &one).await.0, 200);
    assert_eq!(server.log.events().len(), 8);
}
