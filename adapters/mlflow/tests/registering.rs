//! Registrations that are disturbed: a real server, and something in front of it that meddles.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::super::MlflowRegistry;
use super::artifact::files;
use super::fake::{Fake, Reply, Request, error};
use super::server::{handle, options, server};
use crate::ErrorKind;
use crate::model::Task;
use crate::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, VersionId};

/// What MLflow has below `api/2.0/mlflow/`, without the adapter's own view of it.
async fn raw(registry: &MlflowRegistry, path: &str, query: &[(&str, &str)]) -> Value {
    match registry.http().ask(path, query).await {
        Ok(found) => found,
        Err(failure) => panic!("{path}: {failure:?}"),
    }
}

/// All runs of the experiment of `model`, newest first.
async fn runs(registry: &MlflowRegistry, model: &ModelName) -> Vec<Value> {
    let query = [("experiment_name", model.as_str())];
    let experiment = raw(registry, "experiments/get-by-name", &query).await;
    let body = serde_json::json!({ "experiment_ids": [experiment["experiment"]["experiment_id"]] });
    let found: Value = match registry.http().search("runs/search", &body).await {
        Ok(found) => found,
        Err(failure) => panic!("{failure:?}"),
    };
    found["runs"].as_array().cloned().unwrap_or_default()
}

fn statuses(runs: &[Value]) -> Vec<&str> {
    runs.iter().map(|run| run["info"]["status"].as_str().unwrap()).collect()
}

/// J3, J4: whatever call is the last that happens, the next registration goes on from there, and
/// makes one version of one run.
#[tokio::test]
async fn killed_at_any_call_it_is_taken_up_and_made_once() {
    let Some(uri) = server() else { return };
    let (registry, options) = (handle(&uri), options("killed"));
    let whole = files(0.5, Task::binary());
    let mut content = ArtifactFiles::new();
    for name in ["model.json", "training.json"] {
        content.insert(name, whole.get(name).unwrap().to_vec()).unwrap();
    }
    // Which calls change something.
    let changes = Arc::new(Mutex::new(Vec::new()));
    let mut calls = 0;
    // Before it is heard, and after.
    for lose in [false, true] {
        for nth in 0.. {
            if lose && changes.lock().unwrap().get(nth) == Some(&false) {
                continue;
            }
            let count = Arc::new(AtomicUsize::new(0));
            let hit = Arc::new(AtomicBool::new(false));
            let (counted, met, seen) = (Arc::clone(&count), Arc::clone(&hit), Arc::clone(&changes));
            let meddler = Fake::before(Some(&uri), move |request| {
                let number = counted.fetch_add(1, SeqCst);
                if number < nth {
                    return Reply::Pass;
                }
                met.store(true, SeqCst);
                let change = request.method != "GET" && !request.path.ends_with("/search");
                if number == nth && !lose {
                    seen.lock().unwrap().push(change);
                }
                // From here on nothing comes about, as for a process that is gone.
                if number == nth && lose && change { Reply::Lose } else { error(400, "GONE") }
            })
            .await;
            let model = options.model(&format!("{nth}-{lose}"));
            let first = meddler.patient().register(&model, "run-1", &content).await;
            if !hit.load(SeqCst) {
                first.unwrap_or_else(|e| panic!("undisturbed: {}", e.chain()));
                calls = nth;
                break;
            }
            let again = registry.register(&model, "run-1", &content).await;
            let again = again.unwrap_or_else(|e| panic!("after call {nth}: {}", e.chain()));
            assert_eq!(again.version, VersionId::FIRST, "call {nth}, lost: {lose}");
            assert_eq!(registry.versions(&model).await.unwrap(), [again], "call {nth}");
            assert_eq!(registry.fetch_artifact(&model, VersionId::FIRST).await.unwrap(), content);
            let all = runs(&registry, &model).await;
            assert_eq!(all.len(), 1, "call {nth}, lost: {lose}: {all:?}");
            assert_eq!(statuses(&all), ["FINISHED"], "call {nth}, lost: {lose}");
        }
    }
    assert!(calls > 15, "a registration has many calls: {calls}");
}

/// A run that was given up, and then comes with other bytes: nobody has registered the first.
#[tokio::test]
async fn a_run_without_a_version_may_come_back_with_other_bytes() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("other").model("bytes"));
    let meddler = Fake::before(Some(&uri), |request| {
        if request.is("POST", "model-versions/create") { Reply::Drop } else { Reply::Pass }
    })
    .await;
    let error = meddler.patient().register(&model, "run-1", &files(0.1, Task::binary())).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    let content = files(0.2, Task::binary());
    registry.register(&model, "run-1", &content).await.unwrap();
    assert_eq!(registry.fetch_artifact(&model, VersionId::FIRST).await.unwrap(), content);
    let all = runs(&registry, &model).await;
    assert_eq!(statuses(&all), ["FINISHED", "KILLED"], "the first was of other bytes");
}

/// What MLflow refuses is no outage, and the run says so.
#[tokio::test]
async fn a_run_whose_files_are_refused_has_failed() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("refused").model("files"));
    let meddler = Fake::before(Some(&uri), |request| {
        if request.method == "PUT" { error(400, "INVALID_PARAMETER_VALUE") } else { Reply::Pass }
    })
    .await;
    let answer = meddler.patient().register(&model, "run-1", &files(0.1, Task::binary())).await;
    let refused = answer.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Other, "{}", refused.chain());
    assert!(refused.to_string().contains("as told"), "{refused}");
    assert_eq!(statuses(&runs(&registry, &model).await), ["FAILED"]);
    assert_eq!(registry.versions(&model).await.unwrap(), []);
}

/// H5
#[tokio::test]
async fn what_is_there_already_is_there() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("there").model("already"));
    registry.register(&model, "run-1", &ArtifactFiles::new()).await.unwrap();
    // Each is said to be absent once, as if another process made it right after.
    let first = |route: &'static str, method: &'static str| {
        let asked = AtomicBool::new(false);
        move |request: &Request| request.is(method, route) && !asked.swap(true, SeqCst)
    };
    let experiment = first("experiments/get-by-name", "GET");
    let version = first("model-versions/create", "POST");
    let meddler = Fake::before(Some(&uri), move |request| {
        if experiment(request) || version(request) {
            error(404, "RESOURCE_DOES_NOT_EXIST")
        } else {
            Reply::Pass
        }
    })
    .await;
    let second = meddler.patient().register(&model, "run-2", &ArtifactFiles::new()).await;
    let second = second.unwrap_or_else(|e| panic!("{}", e.chain()));
    assert_eq!(second.version.number(), 2);
    let asked = meddler.asked();
    for route in ["experiments/create", "registered-models/create"] {
        let count = asked.iter().filter(|asked| asked.ends_with(route)).count();
        assert_eq!(count, 1, "{route}: {asked:?}");
    }
}

/// Two processes that register one run in the same moment.
#[tokio::test]
async fn the_second_version_of_a_run_is_taken_back() {
    let Some(uri) = server() else { return };
    let model = options("second").model("version");
    let (one, other) = (handle(&uri), handle(&uri));
    let content = files(0.5, Task::binary());
    // The other has looked, and found nothing, before the first is done.
    let searched = AtomicBool::new(false);
    let blind = Fake::before(Some(&uri), move |request| {
        if request.is("GET", "model-versions/search") && !searched.swap(true, SeqCst) {
            return super::fake::json(200, "{}");
        }
        Reply::Pass
    })
    .await;
    let first = one.register(&model, "run-1", &content).await.unwrap();
    let second = blind.patient().register(&model, "run-1", &content).await.unwrap();
    assert_eq!(second.version, first.version, "both are told of the first");
    assert_eq!(other.versions(&model).await.unwrap(), [first]);
    assert!(blind.asked().iter().any(|a| a.starts_with("DELETE")), "{:?}", blind.asked());
}

/// The answer to moving an alias is lost: it has moved all the same.
#[tokio::test]
async fn an_alias_whose_move_was_not_answered_has_moved() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("alias").model("lost"));
    let production = Alias::production();
    let one = registry.register(&model, "run-1", &ArtifactFiles::new()).await.unwrap().version;
    let two = registry.register(&model, "run-2", &ArtifactFiles::new()).await.unwrap().version;
    let moves = |reply: fn() -> Reply| {
        move |request: &Request| match request.is("POST", "registered-models/alias") {
            true => reply(),
            false => Reply::Pass,
        }
    };
    let losing = Fake::before(Some(&uri), moves(|| Reply::Lose)).await;
    losing.patient().set_alias(&model, &production, one, None).await.unwrap();
    assert_eq!(registry.resolve(&model, &production).await.unwrap(), Some(one));
    // Never sent: it has not moved, and nobody says it has.
    let dropping = Fake::before(Some(&uri), moves(|| Reply::Drop)).await;
    let error = dropping.registry().set_alias(&model, &production, two, Some(one)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(registry.resolve(&model, &production).await.unwrap(), Some(one));
    // Somebody moves it back by hand in the same moment: found out by reading it again.
    let ignoring = Fake::before(Some(&uri), moves(|| super::fake::json(200, "{}"))).await;
    let error = ignoring.patient().set_alias(&model, &production, two, Some(one)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.chain());
    assert!(error.to_string().contains("points at version 1, expected version 2"), "{error}");
}

/// A server of MLflow 2: the routes of logged models are not there.
#[tokio::test]
async fn without_logged_models_the_files_go_to_the_run() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("older").model("server"));
    let older = Fake::before(Some(&uri), |request| {
        if request.path == "/version" {
            return super::fake::answer(200, "text/html", "2.22.0");
        }
        if request.path.contains("logged-models") || request.path.contains("runs/outputs") {
            return super::fake::answer(404, "text/html", "<h1>Not Found</h1>");
        }
        Reply::Pass
    })
    .await;
    let content = files(0.5, Task::binary());
    older.patient().register(&model, "run-1", &content).await.unwrap();
    // Read by either, since the version says where its files are.
    for registry in [&registry, &older.patient()] {
        let back = registry.fetch_artifact(&model, VersionId::FIRST).await.unwrap();
        assert_eq!(back, content);
    }
    let query = [("name", model.as_str()), ("version", "1")];
    let version = raw(&registry, "model-versions/get", &query).await;
    let source = version["model_version"]["source"].as_str().unwrap();
    assert!(source.starts_with("runs:/") && source.ends_with("/model"), "{version}");
    let all = runs(&registry, &model).await;
    assert_eq!(statuses(&all), ["FINISHED"]);
    let metrics = all[0]["data"]["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 2, "{metrics:?}");
}
