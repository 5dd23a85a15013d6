//! What MLflow's Python client makes of a version.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::artifact::files;
use super::server::{handle, options, server, skipped};
use crate::model::Task;
use crate::registry::{Alias, ModelRegistry};

const SCRIPT: &str = r#"
import json, sys
from mlflow import MlflowClient, artifacts
from mlflow.models import Model

name = sys.argv[1]
client = MlflowClient()
version = client.get_model_version_by_alias(name, "production")
folder = artifacts.download_artifacts(f"models:/{name}@production")
model = Model.load(folder)
run = client.get_run(version.run_id)
logged = client.get_logged_model(model.model_id)
print(json.dumps({
    "version": version.version,
    "flavors": model.flavors,
    "inputs": [[c.name, c.type.name, c.required] for c in model.signature.inputs],
    "outputs": [[c.name, c.type.name, c.required] for c in model.signature.outputs],
    "same_run": model.run_id == version.run_id == logged.source_run_id,
    "size": model.model_size_bytes,
    "time": model.utc_time_created,
    "rate": open(folder + "/files/model.json").read(),
    "params": run.data.params,
    "metrics": run.data.metrics,
    "logged_metrics": {m.key: m.value for m in logged.metrics},
    "status": [run.info.status, logged.status.name],
    "times": [run.info.start_time, run.info.end_time],
    "artifacts": sorted(f.path for f in client.list_artifacts(version.run_id)),
}))
"#;

/// The Python that has MLflow, where a folder of environments is named: nobody wants packages
/// installed unasked.
fn python() -> Option<String> {
    if std::env::var_os("PMMDS_TEST_VENVS").is_none() {
        skipped("no Python; set PMMDS_TEST_VENVS, see scripts/venv");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/venv");
    let output = Command::new(script).arg("mlflow").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(format!("{}/python", String::from_utf8(output.stdout).unwrap().trim()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_reads_what_is_registered() {
    let Some(uri) = server() else { return };
    let Some(python) = python() else { return };
    let (registry, options) = (handle(&uri), options("python"));
    for (task, outputs) in [
        (Task::binary(), json!([["probability", "double", true], ["prediction", "long", true]])),
        (Task::Regression, json!([["prediction", "double", true]])),
    ] {
        let model = options.model(if task == Task::Regression { "number" } else { "binary" });
        let content = files(0.25, task);
        let version = registry.register(&model, "run-1", &content).await.unwrap().version;
        registry.set_alias(&model, &Alias::production(), version, None).await.unwrap();
        let mut command = Command::new(&python);
        // Away from here: what it makes of its own goes with the folder.
        let folder = tempfile::tempdir().unwrap();
        command.args(["-c", SCRIPT, model.as_str()]).current_dir(folder.path());
        command.env("MLFLOW_TRACKING_URI", &uri).env("MLFLOW_DISABLE_TELEMETRY", "true");
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(seen["version"], "1");
        let flavors = json!({
            "pmmds": { "data": "files", "format": "constant.v1", "version": 1 },
        });
        assert_eq!(seen["flavors"], flavors);
        let inputs = json!([
            ["contract", "string", true],
            ["tenure", "long", true],
            ["children", "double", false],
            ["charges", "double", false],
        ]);
        assert_eq!((&seen["inputs"], &seen["outputs"]), (&inputs, &outputs));
        assert_eq!(seen["same_run"], true);
        assert_eq!(seen["size"], content.total_bytes());
        assert_eq!(seen["rate"], "0.25");
        assert_eq!(seen["params"]["trainer"], "constant");
        assert_eq!(seen["params"]["why_ _odd_ name_"].as_str().unwrap().len(), 500);
        let metrics = json!({ "roc_auc": 0.5, "log_loss": f64::from(2_u8).ln() });
        assert_eq!((&seen["metrics"], &seen["logged_metrics"]), (&metrics, &metrics));
        assert_eq!(seen["status"], json!(["FINISHED", "READY"]));
        assert!(seen["times"][0].as_i64() <= seen["times"][1].as_i64(), "{}", seen["times"]);
        assert!(seen["time"].as_str().unwrap().starts_with("20"), "{}", seen["time"]);
        assert_eq!(seen["artifacts"], json!(["profile.json", "training.json"]));
    }
}
