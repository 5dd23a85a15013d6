//! What is on record, page by page.

use std::sync::Arc;

use pmmds::ledger::{AlertStore, DriftStore};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::ledger::{self, at, full_ledger, report, run};
use crate::support::{TOKEN, read, serve};

const LISTS: [&str; 4] =
    ["/api/v1/drift/runs", "/api/v1/alerts", "/api/v1/decisions", "/api/v1/retraining-runs"];

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_are_newest_first_and_have_every_record_once() {
    let ledger = full_ledger().await;
    let server = serve(|b| b.ledger(ledger)).await;
    for list in LISTS {
        let (status, whole) = server.get(list).await;
        assert_eq!((status, &whole["next"]), (200, &Value::Null), "{list}: {whole}");
        let whole = ids(&whole);
        assert_eq!(whole.len(), 5, "{list}");
        assert!(whole.is_sorted_by(|newer, older| newer > older), "{list}: {whole:?}");
        let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
        for _ in 0..3 {
            let (status, page) = server.get(&format!("{list}{query}")).await;
            assert_eq!(status, 200, "{page}");
            seen.extend(ids(&page));
            query = match page["next"].as_str() {
                Some(next) => format!("?limit=2&cursor={next}"),
                None => break,
            };
        }
        assert_eq!(seen, whole, "{list}");
        for (query, code) in [
            ("limit=0", "invalid_limit"),
            ("limit=501", "invalid_limit"),
            ("limit=x", "invalid_limit"),
            ("cursor=", "invalid_cursor"),
            ("cursor=0", "invalid_cursor"),
            ("cursor=%27%20OR%201=1%20--", "invalid_cursor"),
            ("cursor=ffffffffffffffffffffffffffffffffffffffffffffffff", "invalid_cursor"),
            ("limit=1&limit=2", "invalid_query"),
        ] {
            let (status, answer) = server.get(&format!("{list}?{query}")).await;
            assert_eq!((status, &answer["detail"]["code"]), (400, &json!(code)), "{query}");
        }
    }
    let (_, open) = server.get("/api/v1/alerts?state=open&limit=3").await;
    assert_eq!(ids(&open).len(), 3);
    let next = open["next"].as_str().unwrap();
    let (_, rest) = server.get(&format!("/api/v1/alerts?state=open&cursor={next}")).await;
    assert_eq!(ids(&rest).len(), 1, "one of five is resolved: {rest}");
    assert_eq!(server.get("/api/v1/alerts?state=shut").await.0, 400);
}

#[tokio::test]
async fn no_run_yet_is_not_no_drift() {
    let ledger = ledger::ledger();
    let server = serve(|b| b.ledger(Arc::clone(&ledger) as _)).await;
    let (status, answer) = server.get("/api/v1/drift/latest").await;
    assert_eq!((status, &answer["detail"]["code"]), (404, &json!("no_drift_run")));

    ledger.record_drift_run(&run(0, report(&["x"], 300.0))).await.unwrap();
    let (status, latest) = server.get("/api/v1/drift/latest").await;
    assert_eq!((status, &latest["report"]["verdict"]["kind"]), (200, &json!("drift")));
    let (_, list) = server.get("/api/v1/drift/runs").await;
    let summary = &list["items"][0];
    assert_eq!(
        (&summary["drifted"], &summary["verdict"]),
        (&json!(["x"]), &latest["report"]["verdict"])
    );
    assert!(summary["max_psi"].as_f64().unwrap() > 0.2 && summary["report"].is_null());
    let (status, one) = server.get(&format!("/api/v1/drift/runs/{}", Uuid::from_u128(1))).await;
    assert_eq!((status, &one), (200, &latest));

    let unknown = format!("/api/v1/drift/runs/{}", Uuid::from_u128(99));
    let (status, answer) = server.get(&unknown).await;
    assert_eq!((status, &answer["detail"]["code"]), (404, &json!("not_on_record")));
    let (status, answer) = server.get("/api/v1/drift/runs/1").await;
    assert_eq!((status, &answer["detail"]["code"]), (400, &json!("invalid_id")));

    // Of another model, in the same ledger.
    let mut other = run(7, report(&["x"], 300.0));
    other.model = "other".parse().unwrap();
    ledger.record_drift_run(&other).await.unwrap();
    let (status, _) = server.get(&format!("/api/v1/drift/runs/{}", other.id)).await;
    assert_eq!(status, 404);
    assert_eq!(server.get("/api/v1/drift/latest").await.1["id"], latest["id"]);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let ledger = full_ledger().await;
    let server = serve(|b| b.ledger(Arc::clone(&ledger) as _)).await;
    let get = async |tag: &str| {
        let request = server.client.get(server.url("/api/v1/drift/latest"));
        request.header("if-none-match", tag).send().await.unwrap()
    };
    let first = get("\"none\"").await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(
        (first.status(), first.headers()["cache-control"].as_bytes()),
        (200.try_into().unwrap(), &b"no-cache"[..])
    );
    let again = get(&format!("\"other\", W/{tag}")).await;
    assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, &*tag));
    assert!(again.bytes().await.unwrap().is_empty());
    ledger.record_drift_run(&run(9, report(&["x"], 0.0))).await.unwrap();
    assert_eq!(get(&tag).await.status(), 200, "there is a newer one");
}

#[tokio::test]
async fn an_alert_is_acknowledged_with_what_was_done() {
    let ledger = full_ledger().await;
    let server = serve(|b| b.ledger(Arc::clone(&ledger) as _).admin_token(TOKEN)).await;
    let id = ledger::alert(3).id;
    let path = format!("/api/v1/alerts/{id}/acknowledge");
    let done = json!({"action_taken": "asked marketing"});
    assert_eq!(server.post(&path, &done).await.0, 401);
    let post = async |path: &str, body: &Value| {
        let request = server.client.post(server.url(path)).bearer_auth(TOKEN).json(body);
        read(request.send().await.unwrap()).await
    };
    let (status, alert) = post(&path, &done).await;
    assert_eq!((status, &alert["action_taken"]), (200, &json!("asked marketing")), "{alert}");
    let first = alert["acknowledged_at"].as_str().unwrap().to_owned();
    assert!(first.starts_with("2031-05-06T07:08"), "{first}");
    let (_, alert) = post(&path, &json!({})).await;
    assert_eq!(
        (&alert["acknowledged_at"], &alert["action_taken"]),
        (&json!(first), &json!("asked marketing"))
    );
    let on_record = ledger.alert(id).await.unwrap();
    assert_eq!(on_record.action_taken.as_deref(), Some("asked marketing"));
    for (body, why) in [
        (json!({"action_taken": "x".repeat(2_001)}), "longer than 2000"),
        (json!({"action_taken": "a\u{0}b"}), "control characters"),
        (json!({"action": "x"}), "unknown field"),
        (json!([]), "expected an object"),
    ] {
        let (status, answer) = post(&path, &body).await;
        assert!(status == 400 && answer.to_string().contains(why), "{answer}");
    }
    let nobody = format!("/api/v1/alerts/{}/acknowledge", Uuid::from_u128(9));
    assert_eq!(post(&nobody, &json!({})).await.0, 404);
    assert_eq!(ledger.alert(id).await.unwrap().opened_at, at(3));
}

#[tokio::test]
async fn a_ledger_that_is_down_or_absent_is_told() {
    let ledger = full_ledger().await;
    let server = serve(|b| b.ledger(Arc::clone(&ledger) as _)).await;
    ledger.take_down();
    for path in LISTS.into_iter().chain(["/api/v1/drift/latest"]) {
        let response = server.client.get(server.url(path)).send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"), "{path}");
        let (status, answer) = read(response).await;
        assert_eq!(
            (status, &answer["detail"]["code"]),
            (503, &json!("ledger_unavailable")),
            "{path}"
        );
    }
    ledger.bring_up();
    assert_eq!(server.get("/api/v1/drift/latest").await.0, 200);
    let bare = serve(|b| b).await;
    for path in LISTS.into_iter().chain(["/api/v1/drift/latest"]) {
        let (status, answer) = bare.get(path).await;
        assert_eq!((status, &answer["detail"]["code"]), (404, &json!("no_ledger")), "{path}");
    }
}

/// Every name that the document requires is there, and is what it says.
fn assert_shape(document: &Value, shape: &str, value: &Value) {
    let shape = &document["components"]["schemas"][shape];
    assert!(shape.is_object(), "{shape}");
    let described = shape["properties"].as_object().unwrap();
    for name in shape["required"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let found = value.get(name).unwrap_or_else(|| panic!("{name} of {value}"));
        let types = &described[name]["type"];
        let is_null_allowed = types.as_array().is_some_and(|types| types.contains(&json!("null")));
        let is_anything = types.is_null();
        assert!(!found.is_null() || is_null_allowed || is_anything, "{name} of {value}");
        if let Some(words) = described[name]["enum"].as_array() {
            assert!(words.contains(found), "{name} of {value}");
        }
    }
    for name in value.as_object().unwrap().keys() {
        assert!(described.contains_key(name), "{name} is not described");
    }
}

#[tokio::test]
async fn records_have_the_shapes_that_are_described() {
    let ledger = full_ledger().await;
    let server = serve(|b| b.ledger(ledger)).await;
    let (_, document) = server.get("/openapi.json").await;
    for (path, page, item) in [
        ("/api/v1/drift/runs", "DriftRuns", "DriftRunSummary"),
        ("/api/v1/alerts", "Alerts", "Alert"),
        ("/api/v1/decisions", "Decisions", "Decision"),
        ("/api/v1/retraining-runs", "RetrainingRuns", "RetrainingRun"),
    ] {
        let (_, answer) = server.get(path).await;
        assert_shape(&document, page, &answer);
        assert_shape(&document, item, &answer["items"][0]);
        assert!(document["paths"][path]["get"].is_object(), "{path}");
    }
    let (_, alerts) = server.get("/api/v1/alerts").await;
    assert_shape(&document, "AlertDelivery", &alerts["items"][4]["deliveries"][0]);
    let (_, latest) = server.get("/api/v1/drift/latest").await;
    assert_shape(&document, "DriftRun", &latest);
    assert!(document["paths"]["/api/v1/drift/runs"]["post"].is_object());
}
