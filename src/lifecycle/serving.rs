//! What a service holds in its hands: one verified version, and how to get the next.

use std::sync::Arc;

use crate::artifact::ModelArtifact;
use crate::drift::{Codes, Profile};
use crate::model::{InvalidScore, Model, ModelFormat, Prediction};
use crate::record::{Columns, Row};
use crate::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, VersionId};
use crate::schema::{FeatureSchema, Fingerprint};
use crate::validate::SchemaValidator;
use crate::{Error, ErrorKind};

/// A model version, verified and ready to serve.
///
/// Immutable: a reload makes a new one, and every request sees exactly one of them.
///
/// ```
/// # use std::sync::Arc;
/// # use pmmds::drift::Profile;
/// # use pmmds::model::{Model, ModelFormat, Task, TrainedModel};
/// # use pmmds::record::{Batch, Row};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # #[derive(Debug)]
/// # struct Constant(Arc<FeatureSchema>, f64);
/// # impl Model for Constant {
/// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
/// #     fn task(&self) -> Task { Task::binary() }
/// #     fn score(&self, _: &Row) -> f64 { self.1 }
/// # }
/// # #[derive(Debug)]
/// # struct ConstantFormat;
/// # impl ModelFormat for ConstantFormat {
/// #     fn name(&self) -> &str { "constant.v1" }
/// #     fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, pmmds::Error> {
/// #         let rate = std::str::from_utf8(document).ok().and_then(|text| text.parse().ok());
/// #         let corrupt = || pmmds::Error::new(pmmds::ErrorKind::Corrupt, "constant", "no number");
/// #         Ok(Arc::new(Constant(Arc::clone(schema), rate.ok_or_else(corrupt)?)))
/// #     }
/// # }
/// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
/// # let data = ndarray::array![[1.0], [2.0]];
/// # let sample = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&sample)?;
/// # let model = Arc::new(Constant(Arc::clone(&schema), 0.25));
/// # let trained = TrainedModel::new(model, "constant.v1", b"0.25".to_vec());
/// # let formats: Vec<Arc<dyn ModelFormat>> = vec![Arc::new(ConstantFormat)];
/// use pmmds::artifact::ModelArtifact;
/// use pmmds::lifecycle::ServingModel;
/// use pmmds::registry::VersionId;
/// use pmmds::validate::FeatureValidator;
///
/// let artifact = ModelArtifact::pack(&trained, profile, &sample)?;
/// let digest = artifact.to_files()?.digest();
/// let serving = ServingModel::new("churn".parse()?, VersionId::FIRST, digest, artifact);
/// assert_eq!((serving.name().as_str(), serving.version().number()), ("churn", 1));
/// assert_eq!(serving.validator().schema(), &**serving.schema());
///
/// let (prediction, codes) = serving.predict(&sample.row(0))?;
/// assert_eq!(prediction.score(), serving.model().score(&sample.row(0)));
/// assert!(serving.profile().accepts(&codes));
/// assert_eq!((serving.digest(), serving.artifact().validation()), (digest, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

    /// Scores many validated rows, and encodes them for the log: [`predict`](Self::predict) for
    /// each, in order, and to the bit. More than one are scored in columns, which is what models
    /// are fast at.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::artifact::ModelArtifact;
    /// # use pmmds::drift::Profile;
    /// # use pmmds::model::{Model, Task, TrainedModel};
    /// # use pmmds::record::{Batch, Row};
    /// # use pmmds::registry::VersionId;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # #[derive(Debug)]
    /// # struct Constant(Arc<FeatureSchema>, f64);
    /// # impl Model for Constant {
    /// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
    /// #     fn task(&self) -> Task { Task::binary() }
    /// #     fn score(&self, _: &Row) -> f64 { self.1 }
    /// # }
    /// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// # let data = ndarray::array![[1.0], [2.0]];
    /// # let sample = Batch::from_array(&schema, data.view())?;
    /// # let profile = Profile::fit(&sample)?;
    /// # let model = Arc::new(Constant(Arc::clone(&schema), 0.25));
    /// # let trained = TrainedModel::new(model, "constant.v1", b"0.25".to_vec());
    /// # let artifact = ModelArtifact::pack(&trained, profile, &sample)?;
    /// # let digest = artifact.to_files()?.digest();
    /// use pmmds::lifecycle::ServingModel;
    /// let serving = ServingModel::new("churn".parse()?, VersionId::FIRST, digest, artifact);
    /// let rows = [sample.row(0), sample.row(1)];
    /// let scored = serving.predict_batch(&rows);
    /// assert_eq!(scored, [serving.predict(&rows[0]), serving.predict(&rows[1])]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn predict_batch<'r>(
        &self,
        rows: impl IntoIterator<Item = &'r Row>,
    ) -> Vec<Result<(Prediction, Codes), InvalidScore>> {
        let rows: Vec<&Row> = rows.into_iter().collect();
        if let [row] = rows[..] {
            return vec![self.predict(row)];
        }
        let mut columns = Columns::new(Arc::clone(self.schema()));
        rows.iter().for_each(|row| columns.push(row));
        let (model, profile) = (self.model(), self.profile());
        let scores = model.score_batch(&columns.batch());
        let predict = |(index, row): (usize, &&Row)| {
            // A model that leaves a row out has answered no prediction for it.
            let score = scores.get(index).copied().unwrap_or(f64::NAN);
            let prediction = model.task().prediction(score)?;
            Ok((prediction, profile.encode(row, prediction.score())))
        };
        rows.iter().enumerate().map(predict).collect()
    }
}

/// Loads the version behind `alias`: resolved once, fetched *by version*, verified whole.
/// `Ok(None)` when the registry confirms that there is no such alias.
///
/// # Errors
///
/// Whatever kept the version from being resolved, fetched or verified. The caller goes on serving
/// what it has.
///
/// ```
/// # use std::sync::Arc;
/// # use pmmds::drift::Profile;
/// # use pmmds::model::{Model, ModelFormat, Task, TrainedModel};
/// # use pmmds::record::{Batch, Row};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # #[derive(Debug)]
/// # struct Constant(Arc<FeatureSchema>, f64);
/// # impl Model for Constant {
/// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
/// #     fn task(&self) -> Task { Task::binary() }
/// #     fn score(&self, _: &Row) -> f64 { self.1 }
/// # }
/// # #[derive(Debug)]
/// # struct ConstantFormat;
/// # impl ModelFormat for ConstantFormat {
/// #     fn name(&self) -> &str { "constant.v1" }
/// #     fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, pmmds::Error> {
/// #         let rate = std::str::from_utf8(document).ok().and_then(|text| text.parse().ok());
/// #         let corrupt = || pmmds::Error::new(pmmds::ErrorKind::Corrupt, "constant", "no number");
/// #         Ok(Arc::new(Constant(Arc::clone(schema), rate.ok_or_else(corrupt)?)))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
/// # let data = ndarray::array![[1.0], [2.0]];
/// # let sample = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&sample)?;
/// # let model = Arc::new(Constant(Arc::clone(&schema), 0.25));
/// # let trained = TrainedModel::new(model, "constant.v1", b"0.25".to_vec());
/// # let formats: Vec<Arc<dyn ModelFormat>> = vec![Arc::new(ConstantFormat)];
/// use pmmds::artifact::ModelArtifact;
/// use pmmds::lifecycle::load;
/// use pmmds::memory::MemoryRegistry;
/// use pmmds::registry::{Alias, ModelName, ModelRegistry};
///
/// let (registry, model) = (MemoryRegistry::new(), ModelName::new("churn")?);
/// let production = Alias::production();
/// assert!(load(&registry, &formats, &model, &production).await?.is_none(), "certainly none");
///
/// let files = ModelArtifact::pack(&trained, profile, &sample)?.to_files()?;
/// let version = registry.register(&model, "run-1", &files).await?.version;
/// registry.set_alias(&model, &production, version, None).await?;
/// let serving = load(&registry, &formats, &model, &production).await?.unwrap();
/// assert_eq!(serving.version(), version);
///
/// registry.take_down(); // an outage is never "none"
/// assert!(load(&registry, &formats, &model, &production).await.is_err());
/// # Ok(())
/// # }
/// ```
pub async fn load(
    registry: &dyn ModelRegistry,
    formats: &[Arc<dyn ModelFormat>],
    name: &ModelName,
    alias: &Alias,
) -> Result<Option<ServingModel>, Error> {
    let Some(version) = registry.resolve(name, alias).await? else {
        return Ok(None);
    };
    load_version(registry, formats, name, version).await.map(Some)
}

/// Loads one version, verified whole.
///
/// # Errors
///
/// Whatever kept the version from being fetched or verified.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::lifecycle::{ServingModel, load_version};
/// use pmmds::model::ModelFormat;
/// use pmmds::registry::{ModelName, ModelRegistry, VersionId};
///
/// async fn first(
///     registry: &dyn ModelRegistry,
///     formats: &[Arc<dyn ModelFormat>],
///     name: &ModelName,
/// ) -> Result<ServingModel, pmmds::Error> {
///     load_version(registry, formats, name, VersionId::FIRST).await
/// }
/// ```
pub async fn load_version(
    registry: &dyn ModelRegistry,
    formats: &[Arc<dyn ModelFormat>],
    name: &ModelName,
    version: VersionId,
) -> Result<ServingModel, Error> {
    let files = registry.fetch_artifact(name, version).await?;
    open_version(&files, formats, name, version)
}

/// Verifies the files of one version, wherever they were kept: the same sums, formats, schema and
/// smoke predictions as when a registry gives them.
///
/// # Errors
///
/// Whatever is wrong with them.
///
/// ```
/// use pmmds::ErrorKind;
/// use pmmds::lifecycle::open_version;
/// use pmmds::registry::{ArtifactFiles, ModelName, VersionId};
///
/// let (nothing, model) = (ArtifactFiles::new(), ModelName::new("churn")?);
/// let error = open_version(&nothing, &[], &model, VersionId::FIRST).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert_eq!(error.to_string(), "serving: corrupt: version 1 of churn cannot be loaded");
/// # Ok::<(), pmmds::registry::NameError>(())
/// ```
pub fn open_version(
    files: &ArtifactFiles,
    formats: &[Arc<dyn ModelFormat>],
    name: &ModelName,
    version: VersionId,
) -> Result<ServingModel, Error> {
    let artifact = ModelArtifact::open(files, formats).map_err(|error| {
        let context = format!("version {version} of {name} cannot be loaded");
        Error::new(error.kind(), "serving", context).with_source(error)
    })?;
    Ok(ServingModel::new(name.clone(), version, files.digest(), artifact))
}

/// Refuses a version whose rows are of another schema than those served now, or that predicts
/// another [kind of target](crate::record::Target): clients send what the present schema says, and
/// read what the present model answers.
///
/// # Errors
///
/// [`Conflict`](ErrorKind::Conflict) when they differ.
///
/// ```
/// # use std::sync::Arc;
/// # use pmmds::drift::Profile;
/// # use pmmds::model::{Model, ModelFormat, Task, TrainedModel};
/// # use pmmds::record::{Batch, Row};
/// # use pmmds::schema::{Feature, FeatureSchema};
/// # #[derive(Debug)]
/// # struct Constant(Arc<FeatureSchema>, f64);
/// # impl Model for Constant {
/// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
/// #     fn task(&self) -> Task { Task::binary() }
/// #     fn score(&self, _: &Row) -> f64 { self.1 }
/// # }
/// # #[derive(Debug)]
/// # struct ConstantFormat;
/// # impl ModelFormat for ConstantFormat {
/// #     fn name(&self) -> &str { "constant.v1" }
/// #     fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, pmmds::Error> {
/// #         let rate = std::str::from_utf8(document).ok().and_then(|text| text.parse().ok());
/// #         let corrupt = || pmmds::Error::new(pmmds::ErrorKind::Corrupt, "constant", "no number");
/// #         Ok(Arc::new(Constant(Arc::clone(schema), rate.ok_or_else(corrupt)?)))
/// #     }
/// # }
/// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
/// # let data = ndarray::array![[1.0], [2.0]];
/// # let sample = Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&sample)?;
/// # let model = Arc::new(Constant(Arc::clone(&schema), 0.25));
/// # let trained = TrainedModel::new(model, "constant.v1", b"0.25".to_vec());
/// # let formats: Vec<Arc<dyn ModelFormat>> = vec![Arc::new(ConstantFormat)];
/// use pmmds::artifact::ModelArtifact;
/// use pmmds::lifecycle::{ServingModel, check_same_schema};
/// use pmmds::registry::VersionId;
/// let artifact = ModelArtifact::pack(&trained, profile, &sample)?;
/// let digest = artifact.to_files()?.digest();
/// let version = |number| VersionId::new(number).unwrap();
/// let first = ServingModel::new("churn".parse()?, version(1), digest, artifact.clone());
/// let second = ServingModel::new("churn".parse()?, version(2), digest, artifact);
/// assert!(check_same_schema(&first, &second).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_same_schema(present: &ServingModel, next: &ServingModel) -> Result<(), Error> {
    let conflict = |context| Err(Error::new(ErrorKind::Conflict, "serving", context));
    let (old, new) = (present.schema().fingerprint(), next.schema().fingerprint());
    if old != new {
        return conflict(format!(
            "version {} has schema {}, served now is schema {}",
            next.version(),
            new.short(),
            old.short()
        ));
    }
    let target = |of: &ServingModel| of.model().task().target();
    let (old, new) = (target(present), target(next));
    if old != new {
        let next = next.version();
        return conflict(format!("version {next} predicts {new}, served now is {old}"));
    }
    Ok(())
}
