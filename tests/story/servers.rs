//! The story, and single commands, with models and runs on a real MLflow server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::story::private::Private;
use crate::story::serving::{PATIENCE, Serving, until};
use crate::{assert_has_the_figures, command, database, drop_database, real_data, told};

/// Status and body of a request without a body.
pub(super) fn http(method: &str, base: &str, path: &str) -> (u16, String) {
    http_with(method, base, path, "")
}

/// The same with more headers, each with the end of its line.
pub(super) fn http_with(method: &str, base: &str, path: &str, more: &str) -> (u16, String) {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{more}");
    write!(stream, "{head}Content-Length: 0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// What MLflow answers.
#[track_caller]
fn ask(base: &str, path: &str) -> Value {
    let (status, body) = http("GET", base, path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"))
}

#[test]
fn on_both_servers_it_has_the_same_figures_and_mlflow_shows_them() {
    let Ok(mlflow) = std::env::var("PMMDS_TEST_MLFLOW") else {
        eprintln!("SKIPPED: no MLflow; set PMMDS_TEST_MLFLOW, see scripts/services");
        return;
    };
    let Some(data) = real_data() else { return };
    // On a busy machine MLflow may take longer than the program waits: then it is told anew.
    let mut tellings = 1;
    let (url, model, state, output) = loop {
        let Some(url) = database(&format!("servers_{tellings}")) else { return };
        let model = format!("churn-story-{}-{tellings}", std::process::id());
        let state = tempfile::tempdir().unwrap();
        let mut story = command(&["--data", data.to_str().unwrap()], Some(state.path()));
        story.args(["--database-url", &url, "--mlflow-uri", &mlflow, "--model-name", &model]);
        let output = story.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let late = said.contains("had no answer within") || said.contains("reload_deadline");
        if output.status.success() || !late || tellings == 5 {
            break (url, model, state, output);
        }
        println!("telling {tellings} came too late: {said}");
        drop_database(&url);
        tellings += 1;
    };
    let servers = ["--database-url", &url, "--mlflow-uri", &mlflow, "--model-name", &model];
    assert_has_the_figures(&told(&output));
    assert!(!state.path().join("registry").exists(), "no folder has been used beside MLflow");

    // What MLflow has now, by its own API.
    let api = "/api/2.0/mlflow";
    let alias = |name: &str| {
        let path = format!("{api}/registered-models/alias?name={model}&alias={name}");
        ask(&mlflow, &path)["model_version"].clone()
    };
    let (production, staging) = (alias("production"), alias("staging"));
    assert_eq!(production["version"], "2");
    assert_eq!(staging["version"], "3", "the last challenger was staged, and rejected");
    assert!(production["description"].as_str().unwrap().contains("ROC-AUC 0.83"), "{production}");
    let run = production["run_id"].as_str().unwrap();
    let run = ask(&mlflow, &format!("{api}/runs/get?run_id={run}"))["run"].clone();
    assert_eq!(run["info"]["status"], "FINISHED");
    let name = run["info"]["run_name"].as_str().unwrap();
    assert!(name.starts_with("retraining 2") && name.ends_with('Z'), "{name}");
    let id = run["outputs"]["model_outputs"][0]["model_id"].as_str().unwrap();
    let metric = |of: &Value| {
        let all = of["data"]["metrics"].as_array().unwrap();
        let found = all.iter().find(|metric| metric["key"] == "roc_auc").unwrap();
        found["value"].as_f64().unwrap()
    };
    let logged = ask(&mlflow, &format!("{api}/logged-models/{id}"))["model"].clone();
    assert_eq!(logged["info"]["status"], "LOGGED_MODEL_READY");
    assert!((metric(&run) - 0.83).abs() < 0.01, "{run}");
    assert_eq!(metric(&run).to_bits(), metric(&logged).to_bits(), "the model has the metric too");
    let run_id = run["info"]["run_id"].as_str().unwrap();
    let listed = ask(&mlflow, &format!("{api}/artifacts/list?run_id={run_id}"));
    for name in ["validation.json", "profile.json", "training.json"] {
        let files = listed["files"].as_array().unwrap();
        assert!(files.iter().any(|file| file["path"] == name), "{name}: {listed}");
    }
    let (status, mlmodel) = http(
        "GET",
        &mlflow,
        &format!(
            "/api/2.0/mlflow-artifacts/artifacts/{}/models/{id}/artifacts/MLmodel",
            run["info"]["experiment_id"].as_str().unwrap()
        ),
    );
    let mlmodel: Value = serde_json::from_str(&mlmodel).unwrap();
    assert_eq!(status, 200);
    let inputs: Value =
        serde_json::from_str(mlmodel["signature"]["inputs"].as_str().unwrap()).unwrap();
    assert_eq!(inputs.as_array().unwrap().len(), 19, "every feature: {inputs}");

    // The subcommands, on what the story has left.
    let arguments = [&["rollback", "--reason", "a rehearsal by hand"], &servers[..]].concat();
    let said = told(&command(&arguments, Some(state.path())).output().unwrap());
    assert!(said.contains("a rehearsal by hand"), "{said}");
    assert_eq!(alias("production")["version"], "1");
    drop_database(&url);
}

/// Commands on `data`, with models and runs on the MLflow at `uri`.
fn on_mlflow<'a>(
    uri: &'a str,
    data: &'a Path,
    state: &'a Path,
) -> impl Fn(&[&str]) -> Command + Copy + 'a {
    move |arguments| {
        let common = ["--data", data.to_str().unwrap(), "--mlflow-uri", uri];
        let mut command = command(&[arguments, &common].concat(), Some(state));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Nobody concludes from the outage that nothing is in production.
fn assert_unavailable(run: impl Fn(&[&str]) -> Command) {
    for arguments in [&["train"][..], &["retrain", "--force"], &["rollback"], &["monitor"]] {
        let output = run(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("mlflow: unavailable"), "{arguments:?}: {said}");
    }
}

#[test]
fn with_mlflow_stopped_the_old_model_serves_and_nothing_is_promoted() {
    let (Some(data), Ok(_)) = (real_data(), std::env::var("PMMDS_TEST_MLFLOW")) else { return };
    let mlflow = Private::new();
    let (uri, state) = (mlflow.up("mlflow"), mlflow.state());
    let run = on_mlflow(&uri, &data, &state);
    told(&run(&["train"]).output().unwrap());

    let service = Serving::start(run);
    let url = service.url.clone();
    let served = |count: &str| {
        let traffic = ["seed-traffic", "--url", &url, "--count", count];
        let said = told(&run(&traffic).output().unwrap());
        assert!(said.contains(&format!("{count} predictions by v1")), "{said}");
    };
    served("20");

    mlflow.run(&["stop", "mlflow"]);
    let begun = Instant::now();
    let (status, problem) = http("POST", &url, "/model/reload");
    let took = begun.elapsed();
    assert!(status == 503 && problem.contains("registry_unavailable"), "{status}: {problem}");
    assert!(took < Duration::from_secs(120), "the reload answered after {took:?}");
    served("21");
    assert_unavailable(run);

    mlflow.run(&["up", "mlflow"]);
    let (status, reloaded) = http("POST", &url, "/model/reload");
    assert!(status == 200 && reloaded.contains("\"current_version\":\"1\""), "{reloaded}");
    served("22");
    let decisions = told(&run(&["retrain", "--decisions"]).output().unwrap());
    assert_eq!(decisions.matches("\"challenger_version\"").count(), 1, "{decisions}");
    service.stop();
}

#[test]
fn with_mlflow_stopped_a_service_starts_on_what_it_has_kept_and_says_so() {
    let (Some(data), Ok(_)) = (real_data(), std::env::var("PMMDS_TEST_MLFLOW")) else { return };
    let mlflow = Private::new();
    let (uri, state) = (mlflow.up("mlflow"), mlflow.state());
    let run = on_mlflow(&uri, &data, &state);
    told(&run(&["train"]).output().unwrap());
    let first = Serving::start(run);
    let model: Value = ask(&first.url, "/model");
    assert_eq!(model["source"], "registry");
    let kept = state.join("model-cache/models/churn-classifier/production/kept.json");
    until("it is kept", || kept.exists());
    // Killed, not stopped.
    drop(first);
    mlflow.run(&["stop", "mlflow"]);

    let second = Serving::start(run);
    let traffic = ["seed-traffic", "--url", &second.url, "--count", "20"];
    let said = told(&run(&traffic).output().unwrap());
    assert!(said.contains("20 predictions by v1"), "{said}");
    let now = ask(&second.url, "/model");
    assert_eq!(now["source"], "cache");
    for same in ["name", "version", "alias", "digest", "schema", "profile"] {
        assert_eq!(now[same], model[same], "{same}");
    }
    let ready = ask(&second.url, "/readyz?verbose");
    assert_eq!(
        (&ready["status"], &ready["checks"][1]["status"]),
        (&"degraded".into(), &"degraded".into())
    );
    // What is kept answers nobody who asks what is in production.
    assert_unavailable(run);
    // Who wants no cache gets what there was without one.
    let off = |arguments: &[&str]| run(&[arguments, &["--model-cache", "false"]].concat());
    let nothing = "nothing is in production yet: train first; serving 503 until then\n";
    let third = Serving::start_saying(nothing, off);
    assert_eq!(http("GET", &third.url, "/model").0, 503);
    drop(third);

    mlflow.run(&["up", "mlflow"]);
    until("MLflow confirms it", || ask(&second.url, "/model")["source"] == "registry");
    assert_eq!(ask(&second.url, "/readyz?verbose")["checks"][1]["status"], "ok");
    second.stop();
}
