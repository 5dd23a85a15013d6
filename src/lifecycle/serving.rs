//! What a service holds in its hands: one verified version, and how to get the next.

use std::sync::Arc;

use crate::artifact::ModelArtifact;
use crate::drift::{Codes, Profile};
use crate::model::{InvalidScore, Model, ModelFormat, Prediction};
use crate::record::Row;
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};
use crate::schema::{FeatureSchema, Fingerprint};
use crate::validate::SchemaValidator;
use crate::{Error, ErrorKind};

/// A model version, verified and ready to serve.
///
/// Immutable: a reload makes a new one, and every request sees exactly one of them.
#[derive(Debug, Clone)]
pub struct ServingModel {
    name: ModelName,
    version: VersionId,
    digest: Fingerprint,
    validator: SchemaValidator,
    artifact: ModelArtifact,
}

impl ServingModel {
    /// A version as [`load`] would make it, from an artifact at hand.
    #[must_use]
    pub fn new(
        name: ModelName,
        version: VersionId,
        digest: Fingerprint,
        artifact: ModelArtifact,
    ) -> Self {
        let validator = SchemaValidator::new(Arc::clone(artifact.schema()));
        Self { name, version, digest, validator, artifact }
    }

    /// Name of the model.
    #[must_use]
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// Digest of the artifact that was loaded.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        self.digest
    }

    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &Arc<FeatureSchema> {
        self.artifact.schema()
    }

    /// The validator of the rows.
    #[must_use]
    pub fn validator(&self) -> &SchemaValidator {
        &self.validator
    }

    /// The profile that makes the codes.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        self.artifact.profile()
    }

    /// The model itself.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn Model> {
        self.artifact.model()
    }

    /// Everything that was loaded.
    #[must_use]
    pub fn artifact(&self) -> &ModelArtifact {
        &self.artifact
    }

    /// Scores a validated row, and encodes it for the log.
    ///
    /// # Errors
    ///
    /// [`InvalidScore`] when the model answers no prediction; such a row is not logged as one.
    pub fn predict(&self, row: &Row) -> Result<(Prediction, Codes), InvalidScore> {
        let prediction = self.model().task().prediction(self.model().score(row))?;
        Ok((prediction, self.profile().encode(row, prediction.score())))
    }
}

/// Loads the version behind `alias`: resolved once, fetched *by version*, verified whole.
/// `Ok(None)` when the registry confirms that there is no such alias.
///
/// # Errors
///
/// Whatever kept the version from being resolved, fetched or verified. The caller goes on serving
/// what it has.
pub async fn load(
    registry: &dyn ModelRegistry,
    formats: &[Arc<dyn ModelFormat>],
    name: &ModelName,
    alias: &Alias,
) -> Result<Option<ServingModel>, Error> {
    let Some(version) = registry.resolve(name, alias).await? else {
        return Ok(None);
    };
    let files = registry.fetch_artifact(name, version).await?;
    let artifact = ModelArtifact::open(&files, formats).map_err(|error| {
        let context = format!("version {version} of {name} cannot be loaded");
        Error::new(error.kind(), "serving", context).with_source(error)
    })?;
    Ok(Some(ServingModel::new(name.clone(), version, files.digest(), artifact)))
}

/// Refuses a version whose rows are of another schema than those served now: clients send what
/// the present schema says.
///
/// # Errors
///
/// [`Conflict`](ErrorKind::Conflict) when the schemas differ.
pub fn check_same_schema(present: &ServingModel, next: &ServingModel) -> Result<(), Error> {
    let (old, new) = (present.schema().fingerprint(), next.schema().fingerprint());
    if old == new {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "serving",
        format!(
            "version {} has schema {}, served now is schema {}",
            next.version(),
            new.short(),
            old.short()
        ),
    ))
}
