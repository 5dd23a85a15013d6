//! A [`ModelRegistry`] on an MLflow server, with a run for every training, over its REST API.
//!
//! ```no_run
//! use std::sync::Arc;
//! use pmmds::mlflow::MlflowRegistry;
//! use pmmds::registry::{Alias, ModelName, ModelRegistry};
//!
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! // Where and as whom: MLFLOW_TRACKING_URI, MLFLOW_TRACKING_TOKEN, ...
//! let registry: Arc<dyn ModelRegistry> = Arc::new(MlflowRegistry::from_env()?.build()?);
//! let (model, production) = (ModelName::new("churn-classifier")?, Alias::production());
//! match registry.resolve(&model, &production).await? {
//!     Some(version) => println!("version {version} is in production"),
//!     None => println!("there is none, says MLflow"),
//! }
//! # Ok(()) }
//! ```
//!
//! # What MLflow shows
//!
//! [`register`](ModelRegistry::register) takes everything it shows from the files of a
//! [`ModelArtifact`](crate::artifact::ModelArtifact), so a training needs no second call for it:
//!
//! | in MLflow | from |
//! |---|---|
//! | experiment | named like the model, or as [`experiment`](MlflowBuilder::experiment) says |
//! | run, named `training` or `retraining` and the minute, or by a run id that is no UUID | tag `pmmds.run_id`; start and end of the registration; parameters and metrics of `training.json` |
//! | artifacts of the run | `validation.json`, `profile.json`, `training.json` |
//! | logged model of the run, with the metrics | `MLmodel`, `pmmds.json`, and below `files/` the artifact |
//! | registered model and version, with its source run and source model | signature by `schema.json`; tags `pmmds/run_id` and `pmmds/digest` |
//! | aliases, tags | those of [`set_alias`](ModelRegistry::set_alias) and [`tag`](ModelRegistry::tag) |
//!
//! An artifact with a `model.onnx`, such as the trainers of feature `linfa` make, can be loaded by
//! Python as well: `mlflow.pyfunc.load_model("models:/churn-classifier@production").predict(frame)`
//! takes a pandas frame of the features and answers what the model answers. There the graph, a copy
//! of it and what it needs of Python stand beside `MLmodel`; no sum is checked by Python. Of pandas 3
//! columns of text have to be objects: `frame.astype({"contract": object})`.
//!
//! The run is `FINISHED` before the version is made; `FAILED` is one whose files MLflow refused. A
//! training that failed before it had an artifact has no run here: the ledger has it. A server of
//! MLflow 2 has no logged models; there the files go to the folder `model` of the run.
//!
//! # What it promises
//!
//! * *Whole or not at all.* The version is made last. A process that is killed before has left a
//!   run, which the next registration of the same run id goes on with.
//! * *Once.* A registration looks for its run id first, and a call that makes something is never
//!   sent twice: if its answer is lost, the adapter looks whether it came about. Should two
//!   processes register one run in the same moment, the second version is deleted again.
//! * *The bytes that were hashed.* `pmmds.json` lists every file with its size and SHA-256, the
//!   version carries the digest over all; what is returned was checked against both.
//! * *Absence is confirmed.* `Ok(None)` is answered only when MLflow says that there is no such
//!   alias, and its list of aliases, or its word that there is no such model, says so too.
//!
//! # What it does not
//!
//! MLflow has no compare-and-set. [`set_alias`](ModelRegistry::set_alias) reads the alias before
//! and after; clones of one handle take turns. Between processes the flows' lease in the
//! [ledger](crate::ledger) keeps others out; somebody who moves the alias by hand between two of
//! these calls is overwritten, or found to have overwritten, and not prevented.
//!
//! A version that pmmds has not registered can be pointed at, and is not loaded:
//! [`NotSupported`](crate::ErrorKind::NotSupported) names its flavors. It is left out of
//! [`versions`](ModelRegistry::versions), with a warning.
//!
//! # The server is not trusted
//!
//! Answers have limits of size and time, pages of number. Redirects are not followed, proxies of
//! the environment not used. Artifacts are only fetched from the tracking server itself, below
//! paths whose every part was looked at; which files there are says `pmmds.json`, within the limits
//! of an artifact. Nothing is unpickled, run or written to disk. Credentials are in no message.

mod address;
mod environment;
mod http;
mod listing;
mod mlmodel;
mod options;
mod register;
#[cfg(test)]
mod tests;
mod tls;
mod versions;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, OnceCell};

use crate::registry::{
    Alias, ArtifactFiles, ModelName, ModelRegistry, ModelVersion, Rules, VersionId,
};
use crate::{Error, Timestamp};
use http::Http;
pub use options::MlflowBuilder;
use versions::within;

const COMPONENT: &str = "mlflow";
const RULES: Rules = Rules::new(COMPONENT);

/// A [`ModelRegistry`] on an MLflow server; see the [module](self) for its promises.
///
/// A clone is another handle to the same connections, and takes turns with them.
#[derive(Debug, Clone)]
pub struct MlflowRegistry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    // `None`: named like the model
    experiment: Option<String>,
    user: String,
    transfer_timeout: Duration,
    server: OnceCell<Server>,
    registering: Mutex<()>,
    aliasing: Mutex<()>,
}

/// What is known of the server.
#[derive(Debug)]
struct Server {
    version: String,
    // MLflow 3 and later
    logged_models: bool,
}

impl MlflowRegistry {
    /// Options for the server at `uri`, such as `http://localhost:5000`.
    ///
    /// ```
    /// use pmmds::mlflow::MlflowRegistry;
    /// let registry = MlflowRegistry::builder("http://localhost:5000").build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn builder(uri: impl Into<String>) -> MlflowBuilder {
        MlflowBuilder::new(uri)
    }

    /// Options from the names that MLflow reads of the environment: `MLFLOW_TRACKING_URI`,
    /// `_USERNAME` and `_PASSWORD`, `_TOKEN`, `_SERVER_CERT_PATH`, `_CLIENT_CERT_PATH`, and
    /// `MLFLOW_EXPERIMENT_NAME`.
    ///
    /// ```
    /// use pmmds::mlflow::MlflowRegistry;
    /// match MlflowRegistry::from_env() {
    ///     Ok(builder) => drop(builder.build()?),
    ///     Err(error) => println!("{error}"), // mlflow: invalid input: MLFLOW_TRACKING_URI is not set
    /// }
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when the URI is not set, credentials are not
    /// complete or of both kinds, or `MLFLOW_TRACKING_INSECURE_TLS` is set: certificates are always
    /// checked.
    pub fn from_env() -> Result<MlflowBuilder, Error> {
        environment::server(&environment::of_process)
    }

    fn new(
        http: Http,
        experiment: Option<String>,
        user: String,
        transfer_timeout: Duration,
    ) -> Self {
        let server = OnceCell::new();
        let (registering, aliasing) = (Mutex::default(), Mutex::default());
        let inner =
            Inner { http, experiment, user, transfer_timeout, server, registering, aliasing };
        Self { inner: Arc::new(inner) }
    }

    fn http(&self) -> &Http {
        &self.inner.http
    }

    fn registering(&self) -> &Mutex<()> {
        &self.inner.registering
    }

    fn aliasing(&self) -> &Mutex<()> {
        &self.inner.aliasing
    }

    fn user(&self) -> &str {
        &self.inner.user
    }

    fn experiment_name<'a>(&'a self, model: &'a ModelName) -> &'a str {
        self.inner.experiment.as_deref().unwrap_or(model.as_str())
    }

    fn now(&self) -> Timestamp {
        (self.http().clock.0)()
    }

    /// What the server is, asked once.
    async fn server(&self) -> Result<&Server, Error> {
        let ask = async || {
            let text = self.http().text("version").await.map_err(Error::from)?;
            let version: String = text.trim().chars().take(32).collect();
            let major: Option<u32> = version.split('.').next().and_then(|m| m.parse().ok());
            let major = major.ok_or_else(|| {
                let context = format!("the server says it is of version {version:?}");
                Error::new(crate::ErrorKind::Unavailable, COMPONENT, context)
            })?;
            Ok(Server { version, logged_models: major >= 3 })
        };
        self.inner.server.get_or_try_init(ask).await
    }
}

#[async_trait]
impl ModelRegistry for MlflowRegistry {
    async fn register(
        &self,
        model: &ModelName,
        run_id: &str,
        files: &ArtifactFiles,
    ) -> Result<ModelVersion, Error> {
        let what = format!("the registration of run {}", run_id.escape_debug());
        within(self.inner.transfer_timeout, &what, self.registration(model, run_id, files)).await
    }

    async fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error> {
        let what = format!("the look at version {version} of {model}");
        within(self.inner.transfer_timeout, &what, self.version(model, version)).await
    }

    async fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error> {
        let what = format!("the list of versions of {model}");
        within(self.inner.transfer_timeout, &what, self.all_versions(model)).await
    }

    async fn resolve(&self, model: &ModelName, alias: &Alias) -> Result<Option<VersionId>, Error> {
        self.pointed_at(model, alias).await
    }

    async fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<(), Error> {
        self.point(model, alias, version, expected).await
    }

    async fn fetch_artifact(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error> {
        let what = format!("the download of version {version} of {model}");
        within(self.inner.transfer_timeout, &what, self.fetch(model, version)).await
    }

    async fn tag(
        &self,
        model: &ModelName,
        version: VersionId,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        self.set_tag(model, version, key, value).await
    }
}
