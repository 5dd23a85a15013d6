//! `examples/client.py`, the client that needs nothing but Python.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use pmmds::ledger::AlertStore;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::ledger::{alert, at, full_ledger, ledger};
use crate::support::{Server, TOKEN, body, errors, serve};

/// What the client prints, or what it complains about.
async fn client(server: &Server, arguments: &[&str], input: &Value) -> Result<Value, String> {
    let mut command = Command::new("python3");
    command
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/client.py"))
        .args(arguments)
        .env("SERVICE_URL", server.url(""))
        .env("PMMDS_ADMIN_TOKEN", TOKEN);
    let output = crate::support::python::fed(command, input.to_string().into_bytes()).await;
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn it_predicts_tells_outcomes_and_asks_for_drift_and_alerts() {
    let empty = serve(|b| b.ledger(ledger()).admin_token(TOKEN)).await;
    assert_eq!(client(&empty, &["drift"], &Value::Null).await, Ok(Value::Null), "no run yet");

    let ledger = full_ledger().await;
    // More than a page of them.
    for number in 10..70 {
        ledger.open_alert(&alert(number)).await.unwrap();
    }
    let server = serve(|b| b.ledger(Arc::clone(&ledger) as _).admin_token(TOKEN)).await;
    let answer = client(&server, &["predict"], &body()["features"]).await.unwrap();
    assert_eq!(answer["model_version"], "1", "{answer}");
    let id: Uuid = answer["request_id"].as_str().unwrap().parse().unwrap();
    let receipt = client(&server, &["outcome", &id.to_string(), "1"], &Value::Null).await.unwrap();
    assert_eq!(receipt["recorded"], 1);
    assert_eq!(server.log.outcome(id), Some(1.0));
    let refused = client(&server, &["predict"], &json!({"tenure": 1})).await.unwrap_err();
    assert!(refused.contains("the service answered 400"), "{refused}");
    assert_eq!(errors(&server.predict(&json!({"features": {}})).await.1).len(), 19);

    let drift = client(&server, &["drift"], &Value::Null).await.unwrap();
    assert_eq!(drift["report"]["verdict"]["kind"], "drift");
    let alerts = client(&server, &["alerts"], &Value::Null).await.unwrap();
    assert_eq!(alerts.as_array().unwrap().len(), 64, "from two pages");
    let id = alert(3).id;
    let words = ["acknowledge", &id.to_string(), "asked", "marketing"];
    let acknowledged = client(&server, &words, &Value::Null).await.unwrap();
    assert_eq!(acknowledged["action_taken"], "asked marketing");
    let on_record = ledger.alert(id).await.unwrap();
    assert!(on_record.acknowledged_at.is_some_and(|when| when >= at(0)));

    // An outage that passes is waited for, and one that does not is told.
    ledger.take_down();
    let again = Arc::clone(&ledger);
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        again.bring_up();
    });
    assert!(client(&server, &["drift"], &Value::Null).await.is_ok());
    ledger.take_down();
    let refused = client(&server, &["drift"], &Value::Null).await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
}
