//! The file `MLmodel`, by which MLflow's pages and its Python client know a model.
//!
//! It is YAML there; what is written here is JSON, which is YAML too.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::COMPONENT;
use super::listing::FILES;
use crate::model::Task;
use crate::registry::ArtifactFiles;
use crate::schema::{FeatureKind, FeatureSchema};
use crate::{Error, ErrorKind, Timestamp};

/// Its name.
pub(super) const MLMODEL: &str = "MLmodel";

/// Most bytes that are read of one.
pub(super) const MAX_MLMODEL_BYTES: u64 = 1 << 20;

/// Version of the flavor `pmmds`: of the names in it, not of the model.
const FLAVOR_VERSION: u32 = 1;

/// The file of an artifact that holds the model as an ONNX graph, and its copy beside `MLmodel`,
/// where MLflow's own loader wants it.
const ONNX: &str = "model.onnx";

/// The release of ONNX that has every operator of such a graph.
const ONNX_VERSION: &str = "1.9.0";

/// The Python that MLflow makes an environment with to serve the graph.
const PYTHON_VERSION: &str = "3.11";

/// What Python needs to load the graph. MLflow hands texts over to onnxruntime as pandas has them,
/// and those of pandas 3 are not taken.
const REQUIREMENTS: &str = "mlflow>=2.9\nonnx>=1.9\nonnxruntime>=1.9\npandas<3\n";

/// What is only known once there is a run.
pub(super) struct About<'a> {
    /// of the folder that it stands in
    pub(super) root: &'a str,
    pub(super) run_id: &'a str,
    /// `None` where the server has no logged models
    pub(super) model_id: Option<&'a str>,
    pub(super) server_version: &'a str,
    pub(super) at: Timestamp,
}

/// What is read of `manifest.json`.
#[derive(Debug, Deserialize)]
struct Manifest {
    model_format: String,
    task: Task,
}

fn part<T: serde::de::DeserializeOwned>(files: &ArtifactFiles, name: &str) -> Option<T> {
    serde_json::from_slice(files.get(name)?).ok()
}

/// The bytes of `MLmodel` for a version of these files.
pub(super) fn write(files: &ArtifactFiles, about: &About<'_>) -> Result<Vec<u8>, Error> {
    let failed = || Error::new(ErrorKind::Other, COMPONENT, format!("cannot write {MLMODEL}"));
    let made = jiff::Timestamp::from_microsecond(about.at.as_micros())
        .map_err(|e| failed().with_source(e))?;
    let mut content = json!({
        "artifact_path": about.root,
        "flavors": flavors(files),
        "mlflow_version": about.server_version,
        "run_id": about.run_id,
        "model_size_bytes": files.total_bytes(),
        "utc_time_created": made.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string(),
    });
    if let Some(content) = content.as_object_mut() {
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                content.insert(name.to_owned(), value);
            }
        };
        add("model_id", about.model_id.map(Value::from));
        add("model_uuid", about.model_id.map(Value::from));
        add("signature", signature(files));
    }
    serde_json::to_vec_pretty(&content).map_err(|e| failed().with_source(e))
}

/// Who can load it, and from which of the files. What a flavor needs beside `MLmodel` is written by
/// [`beside`].
fn flavors(files: &ArtifactFiles) -> Map<String, Value> {
    let mut flavors = Map::new();
    let mut own = json!({ "data": FILES, "version": FLAVOR_VERSION });
    if let Some(manifest) = part::<Manifest>(files, "manifest.json") {
        own["format"] = manifest.model_format.into();
    }
    flavors.insert("pmmds".to_owned(), own);
    if files.get(ONNX).is_some() {
        let onnx = json!({
            "data": ONNX,
            "onnx_version": ONNX_VERSION,
            "providers": ["CPUExecutionProvider"],
            "onnx_session_options": null,
            "code": null,
        });
        let python_function = json!({
            "loader_module": "mlflow.onnx",
            "data": ONNX,
            "env": { "virtualenv": "python_env.yaml" },
            "python_version": PYTHON_VERSION,
        });
        flavors.insert("onnx".to_owned(), onnx);
        flavors.insert("python_function".to_owned(), python_function);
    }
    flavors
}

/// Files that stand beside `MLmodel` because a flavor asks for them.
pub(super) fn beside(files: &ArtifactFiles) -> Vec<(&'static str, Vec<u8>)> {
    let Some(graph) = files.get(ONNX) else { return Vec::new() };
    let environment = json!({
        "python": PYTHON_VERSION,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    });
    vec![
        (ONNX, graph.to_vec()),
        ("requirements.txt", REQUIREMENTS.into()),
        ("python_env.yaml", environment.to_string().into_bytes()),
    ]
}

/// The columns that go in and come out, as MLflow describes them: JSON in a text.
fn signature(files: &ArtifactFiles) -> Option<Value> {
    let schema: FeatureSchema = part(files, "schema.json")?;
    let manifest: Manifest = part(files, "manifest.json")?;
    let inputs: Vec<Value> = schema
        .features()
        .iter()
        .map(|feature| {
            let kind = match feature.kind() {
                FeatureKind::Categorical { .. } => "string",
                // Python's whole numbers have no missing value.
                FeatureKind::Numeric { integer: true, .. } if !feature.is_nullable() => "long",
                _ => "double",
            };
            json!({ "type": kind, "name": feature.name(), "required": !feature.is_nullable() })
        })
        .collect();
    let output = |kind: &str, name: &str| json!({ "type": kind, "name": name, "required": true });
    let outputs = match manifest.task {
        Task::BinaryClassification { .. } => {
            vec![output("double", "probability"), output("long", "prediction")]
        }
        // The predicted number; whatever else there will be is no less than that.
        _ => vec![output("double", "prediction")],
    };
    Some(json!({
        "inputs": Value::from(inputs).to_string(),
        "outputs": Value::from(outputs).to_string(),
        "params": null,
    }))
}

/// The flavors that somebody else's `MLmodel` names, for a message: the keys right below
/// `flavors:`, in YAML as MLflow writes it or in JSON.
pub(super) fn flavor_names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Value::Object(content)) = serde_json::from_str(&text) {
        let flavors = content.get("flavors").and_then(Value::as_object);
        return flavors.map(|all| all.keys().take(10).cloned().collect()).unwrap_or_default();
    }
    text.lines()
        .skip_while(|line| line.trim_end() != "flavors:")
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with(' '))
        .take(10)
        .map(|name| name.chars().take(40).collect())
        .collect()
}
