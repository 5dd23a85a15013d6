//! MLflow's JSON, as far as it is used. What is absent has its default there.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AliasOf {
    pub(super) alias: String,
    pub(super) version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RegisteredModel {
    pub(super) name: String,
    pub(super) aliases: Vec<AliasOf>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneModel {
    pub(super) registered_model: RegisteredModel,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) creation_timestamp: i64,
    pub(super) aliases: Vec<String>,
    pub(super) tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneVersion {
    pub(super) model_version: Version,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Versions {
    pub(super) model_versions: Vec<Version>,
    pub(super) next_page_token: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct DownloadUri {
    pub(super) artifact_uri: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Experiment {
    pub(super) experiment_id: String,
    pub(super) lifecycle_stage: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneExperiment {
    pub(super) experiment: Experiment,
}

#[derive(Debug, Deserialize)]
pub(super) struct NewExperiment {
    pub(super) experiment_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunInfo {
    pub(super) run_id: String,
    pub(super) experiment_id: String,
    pub(super) artifact_uri: String,
    pub(super) start_time: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunData {
    pub(super) tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ModelOutput {
    pub(super) model_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunOutputs {
    pub(super) model_outputs: Vec<ModelOutput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) info: RunInfo,
    pub(super) data: RunData,
    pub(super) outputs: RunOutputs,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneRun {
    pub(super) run: Run,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Runs {
    pub(super) runs: Vec<Run>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LoggedModelInfo {
    pub(super) model_id: String,
    pub(super) artifact_uri: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LoggedModel {
    pub(super) info: LoggedModelInfo,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneLoggedModel {
    pub(super) model: LoggedModel,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LoggedModels {
    pub(super) models: Vec<LoggedModel>,
}

/// An answer whose content is of no interest.
#[derive(Debug, Deserialize)]
pub(super) struct Anything {}
