//! From the `x-request-id` of an answer to its rows in the log.

use std::path::Path;
use std::sync::Arc;

use pmmds::axum::ServiceBuilder;
use pmmds::sqlite::SqliteStore;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use uuid::Uuid;

use crate::support::{
    Habit, Server, TestFormat, TestLog, TestRegistry, artifact, body, serve, serve_on,
};

/// Posts `body` to `path`, called `name`; what the answer is called, and the answer.
async fn post(server: &Server, path: &str, name: Option<&str>, body: &Value) -> (String, Value) {
    let mut sent = server.client.post(server.url(path)).json(body);
    if let Some(name) = name {
        sent = sent.header("x-request-id", name);
    }
    let response = sent.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    let name = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    (name, response.json().await.unwrap())
}

/// The requests of which a row has this correlation id, as an operator finds them.
async fn called(file: &Path, name: &str) -> Vec<Uuid> {
    let mut connection =
        SqliteConnectOptions::new().filename(file).read_only(true).connect().await.unwrap();
    let rows = sqlx::query(
        "SELECT request_id FROM prediction_logs WHERE correlation_id = ? ORDER BY at, id",
    );
    let rows = rows.bind(name).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| Uuid::from_slice(row.get(0)).unwrap()).collect()
}

#[tokio::test]
async fn a_row_in_sqlite_is_found_by_what_the_client_calls_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pmmds.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    let name = "churn-classifier".parse().unwrap();
    let formats = vec![Arc::new(TestFormat) as _];
    let (log, models) = (Arc::new(store.clone()), Arc::clone(&registry));
    let on_sqlite = |_| ServiceBuilder::new(log, models, formats, name);
    let server = serve_on(TestLog::new(), registry, on_sqlite).await;

    let (echoed, answer) = post(&server, "/api/v1/predict", Some("abc"), &body()).await;
    assert_eq!(echoed, "abc");
    let id: Uuid = answer["request_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(called(&file, "abc").await, [id]);

    // All rows of a batch are of one request.
    let three = json!({ "instances": [body(), body()["features"], body()] });
    let long = "x".repeat(128);
    let (_, answer) = post(&server, "/api/v1/predict/batch", Some(&long), &three).await;
    let results = answer["results"].as_array().unwrap();
    let ids = results.iter().map(|result| result["request_id"].as_str().unwrap().parse().unwrap());
    assert_eq!(called(&file, &long).await, ids.collect::<Vec<Uuid>>());

    // What may not be repeated is not kept.
    for odd in ["a b", "<script>", &*"x".repeat(129)] {
        post(&server, "/api/v1/predict", Some(odd), &body()).await;
        assert!(called(&file, odd).await.is_empty(), "{odd}");
    }
    server.stop().await;
    store.close().await;
}

#[tokio::test]
async fn what_was_called_here_is_the_id_of_the_event() {
    let server = serve(|b| b).await;
    let last = || server.log.events().last().cloned().unwrap();
    let (made, answer) = post(&server, "/api/v1/predict", None, &body()).await;
    assert_eq!(last().id.to_string(), made);
    assert_eq!(answer["request_id"], made);
    assert_eq!(last().correlation_id, None);

    // With an id of the client's in the body too.
    let mut own = body();
    let request_id = Uuid::from_u128(42);
    own["request_id"] = json!(request_id);
    let (made, _) = post(&server, "/api/v1/predict", None, &own).await;
    assert_eq!((last().id.to_string(), last().request_id), (made, request_id));
    // The same again is answered from memory, and makes no row.
    let (again, _) = post(&server, "/api/v1/predict", None, &own).await;
    assert!(server.log.events().iter().all(|event| event.id.to_string() != again));

    // Of a batch it is the first row that is logged; the others are of the same moment.
    let three = json!({ "instances": [own, body(), body()] });
    let (made, _) = post(&server, "/api/v1/predict/batch", None, &three).await;
    let events = server.log.events();
    let first = events.iter().find(|event| event.id.to_string() == made).unwrap();
    let with = events.iter().filter(|event| event.at == first.at).count();
    assert_eq!((events.len(), with), (4, 2));
}
