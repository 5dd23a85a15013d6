//! The real server.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::{MlflowBuilder, MlflowRegistry};
use super::artifact::{ConstantFormat, files};
use crate::ErrorKind;
use crate::conformance::registry::{self, Options};
use crate::model::{ModelFormat, Task};
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};

/// Says aloud that a test tests nothing.
pub(super) fn skipped(why: &str) {
    // Past the capture of the test harness, which would keep it to itself.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
}

/// The server that tests use.
pub(super) fn server() -> Option<String> {
    let uri = std::env::var("PMMDS_TEST_MLFLOW").ok();
    if uri.is_none() {
        skipped("no server; set PMMDS_TEST_MLFLOW, see scripts/services");
    }
    uri
}

/// For a handle that bears with a machine that has much else to do.
pub(super) fn patient(uri: &str) -> MlflowBuilder {
    let long = Duration::from_secs(600);
    let builder = MlflowRegistry::builder(uri).connect_timeout(long).patience(long);
    builder.write_timeout(long).transfer_timeout(6 * long)
}

/// A handle that bears with a machine that has much else to do.
pub(super) fn handle(uri: &str) -> MlflowRegistry {
    patient(uri).build().unwrap()
}

/// The models of one test of one run of the tests.
pub(super) fn options(test: &str) -> Options {
    let since = super::super::environment::now().as_micros();
    Options::new().prefix(format!("{test}-{}-{since}", std::process::id())).racers(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_registries() {
    let Some(uri) = server() else { return };
    registry::all(async || handle(&uri), &options("all").big_file(2_000_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_are_two_handles() {
    let Some(uri) = server() else { return };
    let one = handle(&uri);
    registry::two_handles(&one, &one.clone(), &options("two").model("handles")).await;
}

/// H9: a bit that flips where MLflow keeps its files.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_not_handed_out() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("damage").model("bit"));
    let damage = async |version: VersionId| {
        let root = registry.root(&model, version).await.unwrap();
        let path = [&root[..], &["files".to_owned(), "weights.bin".to_owned()]].concat();
        let mut bytes = registry.http().get_file(&path, 100).await.unwrap();
        bytes[0] ^= 1;
        registry.http().put_file(&path, bytes).await.unwrap();
    };
    registry::damage(&registry, &model, damage).await;
}

/// H2: a way to the server that is cut.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_never_an_absence() {
    let Some(uri) = server() else { return };
    let behind = uri.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("http://{}", listener.local_addr().unwrap());
    // None once it is cut. Who comes then is sent away: a port given back would be another test's.
    let connections = Arc::new(Mutex::new(Some(JoinSet::new())));
    let open = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let behind = behind.clone();
            if let Some(open) = &mut *open.lock().unwrap() {
                open.spawn(async move {
                    let mut server = TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        }
    });
    let registry = handle(&way);
    let cut = async || {
        let open = connections.lock().unwrap().take();
        open.unwrap().shutdown().await;
    };
    registry::outage(&registry, &options("outage").model("way"), cut).await;
}

/// H10: what somebody else has put into the same registry.
#[tokio::test]
async fn versions_of_others_are_named_and_not_loaded() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("others").model("pickle"));
    let ours = registry.register(&model, "run-1", &files(0.5, Task::binary())).await.unwrap();
    let query = [("name", model.as_str()), ("version", "1")];
    let found: serde_json::Value = registry.http().ask("model-versions/get", &query).await.unwrap();
    let run = found["model_version"]["run_id"].as_str().unwrap().to_owned();
    let query = [("run_id", run.as_str())];
    let found: serde_json::Value = registry.http().ask("runs/get", &query).await.unwrap();
    let experiment = found["run"]["info"]["experiment_id"].as_str().unwrap().to_owned();
    let yaml = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n  sklearn:\n    \
                pickled_model: model.pkl\n";
    let path = [&experiment, &run, "artifacts", "pickled", "MLmodel"].map(str::to_owned);
    registry.http().put_file(&path, yaml.into()).await.unwrap();
    let body = serde_json::json!({
        "name": model.as_str(), "run_id": run, "source": format!("runs:/{run}/pickled"),
    });
    let made: Result<serde_json::Value, _> = registry
        .http()
        .change(
            reqwest::Method::POST,
            "model-versions/create",
            &body,
            super::super::http::Repeat::Never,
        )
        .await;
    assert_eq!(made.unwrap()["model_version"]["version"], "2");

    let two = VersionId::new(2).unwrap();
    // It can be in production; it cannot be served by us.
    registry.set_alias(&model, &Alias::production(), two, None).await.unwrap();
    assert_eq!(registry.resolve(&model, &Alias::production()).await.unwrap(), Some(two));
    for error in [
        registry.fetch_artifact(&model, two).await.unwrap_err(),
        registry.get(&model, two).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{}", error.chain());
        let said = error.to_string();
        assert!(said.contains("python_function, sklearn") && said.contains("version 2"), "{said}");
    }
    assert_eq!(registry.versions(&model).await.unwrap(), [ours]);
    let third = registry.register(&model, "run-3", &files(0.6, Task::binary())).await.unwrap();
    assert_eq!(third.version.number(), 3);
}

/// H16
#[tokio::test]
async fn what_is_loaded_is_the_version_and_not_the_alias() {
    let Some(uri) = server() else { return };
    let (registry, model) = (handle(&uri), options("moved").model("alias"));
    let production = Alias::production();
    for (run, rate) in [("run-1", 0.1), ("run-2", 0.2)] {
        registry.register(&model, run, &files(rate, Task::binary())).await.unwrap();
    }
    let (one, two) = (VersionId::FIRST, VersionId::new(2).unwrap());
    registry.set_alias(&model, &production, one, None).await.unwrap();
    let read = registry.resolve(&model, &production).await.unwrap().unwrap();
    registry.set_alias(&model, &production, two, Some(one)).await.unwrap();
    let back = registry.fetch_artifact(&model, read).await.unwrap();
    assert_eq!(back, files(0.1, Task::binary()), "the version that was read");

    // And a service loads it whole.
    let formats: [Arc<dyn ModelFormat>; 1] = [Arc::new(ConstantFormat)];
    let serving = crate::lifecycle::load(&registry, &formats, &model, &production).await.unwrap();
    let serving = serving.unwrap();
    assert_eq!((serving.version(), serving.digest()), (two, files(0.2, Task::binary()).digest()));
    let unknown = ModelName::new("never-registered").unwrap();
    let none = crate::lifecycle::load(&registry, &formats, &unknown, &production).await;
    assert!(none.unwrap().is_none());
}
