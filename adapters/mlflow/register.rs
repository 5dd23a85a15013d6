//! A registration: the run with what is on record about it, the logged model, and last of all the
//! version, which is when it counts.

use reqwest::Method;
use serde_json::{Value, json};

use super::address::Place;
use super::http::{Failure, Repeat};
use super::listing::{FILES, LISTING, Listing};
use super::mlmodel::{self, MLMODEL};
use super::versions::{DIGEST_TAG, RUN_TAG, describe, moment};
use super::{COMPONENT, MlflowRegistry, RULES, wire};
use crate::artifact::TrainingRecord;
use crate::registry::{ArtifactFiles, ModelName, ModelVersion};
use crate::{Error, ErrorKind, Timestamp};

/// Tag of a run: the registration that it is of.
const REGISTRATION_TAG: &str = "pmmds/registration";

/// Files of the artifact that are shown on the page of the run as well.
const ON_RECORD: [&str; 3] = ["validation.json", "profile.json", "training.json"];

/// Most parameters of one call, and most bytes of one, on any server.
const MAX_PARAMS: usize = 100;
const MAX_PARAM_BYTES: usize = 500;
const MAX_KEY_BYTES: usize = 250;

/// What a run is called on the pages of MLflow. Who chose an id chose a name; an id that nobody chose
/// tells a reader nothing, and is in the tags.
fn run_name(run_id: &str, training: &TrainingRecord, at: Timestamp) -> String {
    if uuid::Uuid::try_parse(run_id).is_err() {
        return run_id.to_owned();
    }
    let what = if training.logged.is_some() { "retraining" } else { "training" };
    // To the minute.
    let at: String = at.to_string().chars().take(16).collect();
    format!("{what} {at}Z")
}

/// What is being registered.
struct Registration<'a> {
    model: &'a ModelName,
    run_id: &'a str,
    files: &'a ArtifactFiles,
    listing: Listing,
    training: TrainingRecord,
}

/// Where the files of a version go.
struct Destination {
    // as MLflow names it
    uri: String,
    path: Vec<String>,
    // of the logged model, where the server has them
    model_id: Option<String>,
    // what the version names as its source
    source: String,
}

impl MlflowRegistry {
    pub(super) async fn registration(
        &self,
        model: &ModelName,
        run_id: &str,
        files: &ArtifactFiles,
    ) -> Result<ModelVersion, Error> {
        RULES.run_id(run_id)?;
        let listing = Listing::of(files);
        let _turn = self.registering().lock().await;
        if let Some(known) = self.made_by(model, run_id).await? {
            RULES.same_run(&known, listing.digest)?;
            return self.version(model, known.version).await;
        }
        let training = files.get("training.json").and_then(|b| serde_json::from_slice(b).ok());
        let training = training.unwrap_or_default();
        let registration = Registration { model, run_id, files, listing, training };
        let experiment = self.experiment(registration.model).await?;
        let run = self.run(&registration, &experiment).await?;
        let done = self.record(&registration, &run).await;
        if let Err(error) = &done
            && error.kind() != ErrorKind::Unavailable
        {
            // What comes of this does not matter: the error is told in any case.
            let _ = self.end_run(&run, "FAILED").await;
        }
        let destination = done?;
        self.publish(&registration, &run, &destination).await
    }

    /// The id of the experiment for `model`, which is made if it is not there.
    async fn experiment(&self, model: &ModelName) -> Result<String, Error> {
        let name = self.experiment_name(model);
        let query = [("experiment_name", name)];
        for _ in 0..2 {
            match self.http().ask::<wire::OneExperiment>("experiments/get-by-name", &query).await {
                Ok(found) if found.experiment.lifecycle_stage == "deleted" => {
                    let context = format!("the experiment {name:?} was deleted in MLflow");
                    return Err(Error::new(ErrorKind::InvalidInput, COMPONENT, context));
                }
                Ok(found) => return Ok(found.experiment.experiment_id),
                Err(failure) if failure.is_absence() => {}
                Err(failure) => return Err(failure.into()),
            }
            let body = json!({ "name": name });
            let path = "experiments/create";
            match self.http().change(Method::POST, path, &body, Repeat::Never).await {
                Ok(wire::NewExperiment { experiment_id }) => return Ok(experiment_id),
                // Somebody else has made it meanwhile.
                Err(failure) if failure.is_there_already() => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        let context = format!("the experiment {name:?} is neither there nor can it be made");
        Err(Error::new(ErrorKind::Other, COMPONENT, context))
    }

    /// The run of this registration: the one that a killed process has left, or a new one.
    async fn run(
        &self,
        registration: &Registration<'_>,
        experiment: &str,
    ) -> Result<wire::Run, Error> {
        let Registration { model, run_id, listing, .. } = registration;
        let named = format!("{model}/{run_id}");
        let body = json!({
            "experiment_ids": [experiment],
            "filter": format!("tags.`{REGISTRATION_TAG}` = '{named}'"),
            "max_results": 10,
        });
        let found: wire::Runs = self.http().search("runs/search", &body).await?;
        let digest = listing.digest.to_string();
        for left in found.runs {
            let has = |key: &str, value: &str| {
                left.data.tags.iter().any(|tag| tag.key == key && tag.value == value)
            };
            if !has(REGISTRATION_TAG, &named) {
                continue;
            }
            if has(DIGEST_TAG, &digest) {
                return Ok(left);
            }
            // It was of other files, which nobody has registered.
            self.end_run(&left, "KILLED").await?;
        }
        let tags = [
            (REGISTRATION_TAG, named.as_str()),
            (DIGEST_TAG, &digest),
            ("pmmds.model", model.as_str()),
            ("pmmds.run_id", run_id),
            ("mlflow.source.name", "pmmds"),
            ("mlflow.source.type", "LOCAL"),
            ("mlflow.user", self.user()),
        ];
        let body = json!({
            "experiment_id": experiment,
            "run_name": run_name(run_id, &registration.training, self.now()),
            "user_id": self.user(),
            "start_time": millis(self.now()),
            "tags": tags.map(|(key, value)| json!({ "key": key, "value": value })),
        });
        let made: Result<wire::OneRun, Failure> =
            self.http().change(Method::POST, "runs/create", &body, Repeat::Never).await;
        Ok(made?.run)
    }

    /// Everything but the version: parameters, metrics, files.
    async fn record(
        &self,
        registration: &Registration<'_>,
        run: &wire::Run,
    ) -> Result<Destination, Error> {
        let destination = self.destination(registration, run).await?;
        self.log(registration, run, destination.model_id.as_deref()).await?;
        let records = self.place(&run.info.artifact_uri)?;
        for name in ON_RECORD {
            if let Some(bytes) = registration.files.get(name) {
                self.put(&records, name, bytes.to_vec()).await?;
            }
        }
        for (name, bytes) in registration.files.iter() {
            self.put(&destination.path, &format!("{FILES}/{name}"), bytes.to_vec()).await?;
        }
        let listing = registration.listing.to_bytes()?;
        self.put(&destination.path, LISTING, listing).await?;
        for (name, bytes) in mlmodel::beside(registration.files) {
            self.put(&destination.path, name, bytes).await?;
        }
        let server = self.server().await?;
        let about = mlmodel::About {
            root: &destination.uri,
            run_id: &run.info.run_id,
            model_id: destination.model_id.as_deref(),
            server_version: &server.version,
            at: moment(run.info.start_time).unwrap_or_else(|| self.now()),
        };
        let bytes = mlmodel::write(registration.files, &about)?;
        // The pages find a model by this file, so it comes last.
        self.put(&destination.path, MLMODEL, bytes).await?;
        if let Some(id) = &destination.model_id {
            let body = json!({ "model_id": id, "status": "LOGGED_MODEL_READY" });
            let path = format!("logged-models/{id}");
            let done: Result<wire::Anything, Failure> =
                self.http().change(Method::PATCH, &path, &body, Repeat::Harmless).await;
            done?;
        }
        self.end_run(run, "FINISHED").await?;
        Ok(destination)
    }

    /// A logged model of the run, or on a server without them a folder of the run.
    async fn destination(
        &self,
        registration: &Registration<'_>,
        run: &wire::Run,
    ) -> Result<Destination, Error> {
        let run_id = &run.info.run_id;
        if !self.server().await?.logged_models {
            let mut path = self.place(&run.info.artifact_uri)?;
            path.push("model".to_owned());
            return Ok(Destination {
                uri: format!("{}/model", run.info.artifact_uri.trim_end_matches('/')),
                path,
                model_id: None,
                source: format!("runs:/{run_id}/model"),
            });
        }
        let body = json!({
            "experiment_ids": [run.info.experiment_id],
            "filter": format!("source_run_id = '{}'", plain(run_id)?),
        });
        let left: wire::LoggedModels = self.http().search("logged-models/search", &body).await?;
        let logged = match left.models.into_iter().next() {
            Some(left) => left,
            None => self.logged_model(registration, run).await?,
        };
        let id = plain(&logged.info.model_id)?.to_owned();
        if !run.outputs.model_outputs.iter().any(|output| output.model_id == id) {
            let body = json!({ "run_id": run_id, "models": [{ "model_id": id, "step": 0 }] });
            let path = "runs/outputs";
            let done: Result<wire::Anything, Failure> =
                self.http().change(Method::POST, path, &body, Repeat::Never).await;
            done?;
        }
        Ok(Destination {
            path: self.place(&logged.info.artifact_uri)?,
            uri: logged.info.artifact_uri,
            source: format!("models:/{id}"),
            model_id: Some(id),
        })
    }

    async fn logged_model(
        &self,
        registration: &Registration<'_>,
        run: &wire::Run,
    ) -> Result<wire::LoggedModel, Error> {
        let Registration { model, run_id, training, .. } = registration;
        let tags = [
            ("pmmds.run_id", *run_id),
            ("mlflow.source.name", "pmmds"),
            ("mlflow.source.type", "LOCAL"),
            ("mlflow.user", self.user()),
        ];
        let body = json!({
            "experiment_id": run.info.experiment_id,
            "name": model.as_str(),
            "model_type": training.trainer,
            "source_run_id": run.info.run_id,
            "params": params(training),
            "tags": tags.map(|(key, value)| json!({ "key": key, "value": value })),
        });
        let made: Result<wire::OneLoggedModel, Failure> =
            self.http().change(Method::POST, "logged-models", &body, Repeat::Never).await;
        Ok(made?.model)
    }

    /// Parameters and metrics; the same again changes nothing, since the time is the run's.
    async fn log(
        &self,
        registration: &Registration<'_>,
        run: &wire::Run,
        model_id: Option<&str>,
    ) -> Result<(), Error> {
        let training = &registration.training;
        let metrics: Vec<Value> = training
            .metrics
            .iter()
            .map(|(name, value)| {
                let mut metric = json!({
                    "key": key(name),
                    // JSON has no NaN; MLflow takes its name.
                    "value": if value.is_finite() { json!(value) } else { json!(value.to_string()) },
                    "timestamp": run.info.start_time,
                    "step": 0,
                });
                if let Some(id) = model_id {
                    metric["model_id"] = id.into();
                }
                metric
            })
            .collect();
        let params = params(training);
        let mut chunks = params.chunks(MAX_PARAMS);
        let mut body = json!({
            "run_id": run.info.run_id,
            "metrics": metrics,
            "params": chunks.next().unwrap_or_default(),
        });
        loop {
            let done: Result<wire::Anything, Failure> =
                self.http().change(Method::POST, "runs/log-batch", &body, Repeat::Harmless).await;
            done?;
            match chunks.next() {
                Some(chunk) => body = json!({ "run_id": run.info.run_id, "params": chunk }),
                None => return Ok(()),
            }
        }
    }

    async fn end_run(&self, run: &wire::Run, status: &str) -> Result<(), Error> {
        let body = json!({
            "run_id": run.info.run_id, "status": status, "end_time": millis(self.now()),
        });
        let done: Result<wire::Anything, Failure> =
            self.http().change(Method::POST, "runs/update", &body, Repeat::Harmless).await;
        done.map(drop).map_err(Error::from)
    }

    /// The version: with this the registration is there, whole.
    async fn publish(
        &self,
        registration: &Registration<'_>,
        run: &wire::Run,
        destination: &Destination,
    ) -> Result<ModelVersion, Error> {
        let Registration { model, run_id, listing, .. } = registration;
        let digest = listing.digest.to_string();
        let mut body = json!({
            "name": model.as_str(),
            "source": destination.source,
            "run_id": run.info.run_id,
            "description": description(&registration.training),
            "tags": [
                { "key": RUN_TAG, "value": run_id },
                { "key": DIGEST_TAG, "value": digest },
            ],
        });
        if let Some(id) = &destination.model_id {
            body["model_id"] = id.as_str().into();
        }
        let create = async || {
            let path = "model-versions/create";
            self.http().change::<wire::OneVersion>(Method::POST, path, &body, Repeat::Never).await
        };
        let made = match create().await {
            Err(failure) if failure.is_absence() => {
                self.make_model(model).await?;
                create().await
            }
            made => made,
        };
        // Also when it was not answered, it may be there; and another process may have been
        // first with the same run.
        let first = self.made_by(model, run_id).await;
        match (first, made) {
            (Ok(Some(first)), made) => {
                RULES.same_run(&first, listing.digest)?;
                if let Ok(made) = made
                    && let Some(made) = describe(model, made.model_version)?
                    && made.version != first.version
                {
                    self.withdraw(&made).await?;
                }
                Ok(first)
            }
            (Ok(None), Ok(_)) => {
                let context = format!("the version of run {run_id} is gone as soon as it was made");
                Err(Error::new(ErrorKind::Conflict, COMPONENT, context))
            }
            (_, Err(failure)) => Err(failure.into()),
            (Err(error), Ok(_)) => Err(error),
        }
    }

    async fn make_model(&self, model: &ModelName) -> Result<(), Error> {
        let body = json!({ "name": model.as_str() });
        let path = "registered-models/create";
        let made = self.http().change::<wire::Anything>(Method::POST, path, &body, Repeat::Never);
        match made.await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_there_already() => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Takes back a version of which nobody knows yet: its run has another.
    async fn withdraw(&self, second: &ModelVersion) -> Result<(), Error> {
        tracing::warn!(
            model = %second.model, version = %second.version, run = second.run_id,
            "another process registered the same run first: the second version is taken back"
        );
        let body = json!({
            "name": second.model.as_str(), "version": second.version.to_string(),
        });
        let path = "model-versions/delete";
        let done =
            self.http().change::<wire::Anything>(Method::DELETE, path, &body, Repeat::Never).await;
        match done {
            Err(failure) if !failure.is_absence() => Err(failure.into()),
            _ => Ok(()),
        }
    }

    /// The path behind the server that an artifact URI of the server means.
    fn place(&self, uri: &str) -> Result<Vec<String>, Error> {
        match Place::read(uri, &self.http().base)? {
            Place::Here(path) => Ok(path),
            _ => {
                let shown: String = uri.chars().take(200).collect();
                let context = format!("MLflow names no place for artifacts but {shown:?}");
                Err(Error::new(ErrorKind::Corrupt, COMPONENT, context))
            }
        }
    }

    async fn put(&self, root: &[String], name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let path: Vec<String> =
            root.iter().cloned().chain(name.split('/').map(str::to_owned)).collect();
        Ok(self.http().put_file(&path, bytes).await?)
    }
}

/// An id of MLflow, which goes into paths and filters.
fn plain(id: &str) -> Result<&str, Error> {
    let fine = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if (1..=64).contains(&id.len()) && id.bytes().all(fine) {
        return Ok(id);
    }
    let shown: String = id.chars().take(64).collect();
    let context = format!("MLflow answered with the impossible id {shown:?}");
    Err(Error::new(ErrorKind::Corrupt, COMPONENT, context))
}

fn millis(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000)
}

/// A name as MLflow takes it.
fn key(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-. /".contains(c) { c } else { '_' };
    name.chars().map(plain).take(MAX_KEY_BYTES).collect()
}

/// The settings of the training, for the table on the page of the run.
fn params(training: &TrainingRecord) -> Vec<Value> {
    let mut params: Vec<(String, String)> =
        training.params.iter().map(|(name, value)| (key(name), value.clone())).collect();
    if !training.trainer.is_empty() {
        params.push(("trainer".to_owned(), training.trainer.clone()));
        params.push(("training_rows".to_owned(), training.rows.to_string()));
        params.push(("holdout_rows".to_owned(), training.holdout_rows.to_string()));
        params.push(("holdout".to_owned(), training.holdout.clone()));
    }
    if let Some(data) = training.data {
        params.push(("training_data".to_owned(), data.to_string()));
    }
    // An empty value is none to MLflow, and a name stands once.
    params.retain(|(_, value)| !value.is_empty());
    params.sort();
    params.dedup_by(|a, b| a.0 == b.0);
    let cut = |text: &str| {
        let end = (0..=MAX_PARAM_BYTES.min(text.len())).rfind(|at| text.is_char_boundary(*at));
        text[..end.unwrap_or(0)].to_owned()
    };
    params.into_iter().map(|(name, value)| json!({ "key": name, "value": cut(&value) })).collect()
}

/// One line for the page of the version.
fn description(training: &TrainingRecord) -> String {
    if training.trainer.is_empty() {
        return String::new();
    }
    let auc = training.metrics.get("roc_auc");
    let auc = auc.map_or_else(String::new, |auc| format!(", ROC-AUC {auc:.4}"));
    format!("{} on {} rows{auc}", training.trainer, training.rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Holdout, TrainedOn};

    #[test]
    fn a_run_is_called_by_what_was_done_unless_somebody_has_named_it() {
        let at: Timestamp = "2026-11-26T02:14:59.5Z".parse().unwrap();
        let first = TrainingRecord::default();
        let logged = Some(TrainedOn::new(at, Holdout::default()));
        let later = TrainingRecord { logged, ..TrainingRecord::default() };
        let id = "0197a5c4-7d0e-7000-8000-000000000001";
        for (id, training, name) in [
            (id, &first, "training 2026-11-26T02:14Z"),
            (id, &later, "retraining 2026-11-26T02:14Z"),
            ("run-1", &later, "run-1"),
        ] {
            assert_eq!(run_name(id, training, at), name);
        }
    }
}
