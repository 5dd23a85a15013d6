//! A model version as files: everything it takes to serve it, judge it and watch it.
//!
//! | file | what |
//! |---|---|
//! | `manifest.json` | format versions, model format, task, SHA-256 and size of every other file |
//! | `schema.json` | the [`FeatureSchema`] |
//! | `profile.json` | the [`Profile`] that live traffic is compared with |
//! | `model.json` | the model as data, in the format that the manifest names |
//! | `smoke.json` | rows with the scores that the model gave them when it was packed |
//! | `validation.json`, `training.json` | what is on record about its making |
//! | any other | the model once more, in a format of others: [`companions`](ModelArtifact::companions) |
//!
//! There is one way in, [`ModelArtifact::open`]: sums, sizes, formats, schema and smoke predictions
//! are checked there, before anything is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::drift::Profile;
use crate::lifecycle::TrainedOn;
use crate::model::{Model, ModelFormat, Task, TrainedModel};
use crate::record::{Batch, Row, decode_row};
use crate::registry::{ArtifactError, ArtifactFiles};
use crate::schema::{FeatureSchema, Fingerprint};
use crate::validate::{ValidationReport, Violations};
use crate::{Error, ErrorKind};

/// Version of the files of an artifact, its field `artifact_version`.
///
/// ```
/// // Another one is refused, whatever else an artifact has.
/// assert_eq!(pmmds::artifact::ARTIFACT_VERSION, 1);
/// ```
pub const ARTIFACT_VERSION: u32 = 1;

/// How far a smoke prediction may be from the one on record, as a share of it where it is more
/// than 1.
///
/// ```
/// // Far below what matters for a probability, far above the rounding of another platform.
/// assert_eq!(pmmds::artifact::SMOKE_TOLERANCE, 1e-9);
/// ```
pub const SMOKE_TOLERANCE: f64 = 1e-9;

/// Most rows that are packed as smoke predictions.
const SMOKE_ROWS: usize = 20;

/// Name of this component in errors.
const ARTIFACT: &str = "artifact";

const MANIFEST: &str = "manifest.json";

/// The files that are no companions.
const PARTS: [&str; 7] = [
    MANIFEST,
    "schema.json",
    "profile.json",
    "model.json",
    "smoke.json",
    "validation.json",
    "training.json",
];

/// How a version came to be, for the record and for the next retraining.
///
/// ```
/// use pmmds::artifact::TrainingRecord;
/// let mut training = TrainingRecord::default();
/// training.trainer = "base_rate".to_owned();
/// training.rows = 5_634;
/// training.metrics.insert("roc_auc".to_owned(), 0.5);
/// // What is not said is not known, and reads back so.
/// let read: TrainingRecord = serde_json::from_str(r#"{"trainer": "base_rate", "rows": 5634}"#)?;
/// assert_eq!((read.rows, read.metrics.len()), (training.rows, 0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrainingRecord {
    /// name of the trainer
    pub trainer: String,
    /// settings of the trainer
    pub params: BTreeMap<String, String>,
    /// fingerprint of the training rows
    pub data: Option<Fingerprint>,
    /// training rows
    pub rows: u64,
    /// rows on which it was judged, in no training set
    pub holdout_rows: u64,
    /// how the holdout was chosen, in words
    pub holdout: String,
    /// the logged rows among the training rows; `None` where there were none
    pub logged: Option<TrainedOn>,
    /// quality on rows it was not trained on, by metric name
    pub metrics: BTreeMap<String, f64>,
}

/// A model version, complete: what a registry keeps and a service loads.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::artifact::{ModelArtifact, TrainingRecord};
/// use pmmds::drift::Profile;
/// use pmmds::model::{ModelFormat, TrainedModel};
/// use pmmds::record::Batch;
/// use pmmds::registry::ArtifactFiles;
/// use pmmds::schema::{Feature, FeatureSchema};
/// # use pmmds::{ErrorKind, model::{Model, Task}, record::Row};
/// # #[derive(Debug)]
/// # struct Half(Arc<FeatureSchema>);
/// # impl Model for Half {
/// #     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
/// #     fn task(&self) -> Task { Task::binary() }
/// #     fn score(&self, _: &Row) -> f64 { 0.5 }
/// # }
/// # #[derive(Debug)]
/// # struct HalfFormat;
/// # impl ModelFormat for HalfFormat {
/// #     fn name(&self) -> &str { "half.v1" }
/// #     fn load(&self, _: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, pmmds::Error> {
/// #         Ok(Arc::new(Half(Arc::clone(schema))))
/// #     }
/// # }
///
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("charges")])?);
/// let data = ndarray::array![[1.0], [2.0], [3.0]];
/// let sample = Batch::from_array(&schema, data.view())?;
/// let profile = Profile::fit(&sample)?;
/// let trained = TrainedModel::new(Arc::new(Half(Arc::clone(&schema))), "half.v1", b"{}".to_vec())
///     .companion("model.pmml", b"<PMML/>".to_vec());
/// let mut training = TrainingRecord::default();
/// training.rows = 3;
/// let artifact = ModelArtifact::pack(&trained, profile.clone(), &sample)?.with_training(training);
/// let files = artifact.to_files()?;
///
/// let formats: [Arc<dyn ModelFormat>; 1] = [Arc::new(HalfFormat)];
/// let opened = ModelArtifact::open(&files, &formats)?;
/// assert_eq!((opened.schema(), opened.profile()), (&schema, &profile));
/// assert_eq!(opened.model().score(&sample.row(0)), 0.5);
/// assert_eq!(opened.companions().get("model.pmml"), Some(&b"<PMML/>"[..]));
/// assert_eq!(opened.training().rows, 3);
/// assert!(opened.validation().is_none(), "nobody validated");
/// let nobody_reads_it = ModelArtifact::open(&files, &[]).unwrap_err();
/// assert_eq!(
///     nobody_reads_it.to_string(),
///     "artifact: not supported: model format \"half.v1\" cannot be read, expected one of: none",
/// );
///
/// // One byte of the model changes on its way.
/// let mut changed = ArtifactFiles::new();
/// for (name, bytes) in files.iter() {
///     let bytes = if name == "model.json" { b"{]" } else { bytes };
///     changed.insert(name, bytes.to_vec())?;
/// }
/// let error = ModelArtifact::open(&changed, &formats).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert!(error.to_string().ends_with("model.json does not have the SHA-256 of its manifest"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelArtifact {
    schema: Arc<FeatureSchema>,
    // of `schema`
    profile: Profile,
    // of `schema`
    model: Arc<dyn Model>,
    format: String,
    document: Vec<u8>,
    // none of them one of PARTS
    companions: ArtifactFiles,
    smoke: Vec<SmokePrediction>,
    validation: Option<ValidationReport>,
    training: TrainingRecord,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SmokePrediction {
    // a JSON object, as `Row::to_json` writes it
    row: String,
    score: f64,
}

/// What every manifest has, of whatever release.
#[derive(Deserialize)]
struct ManifestVersion {
    artifact_version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    artifact_version: u32,
    model_format: String,
    task: Task,
    schema: Fingerprint,
    profile: Fingerprint,
    files: BTreeMap<String, FileSum>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSum {
    bytes: u64,
    sha256: Fingerprint,
}

impl ModelArtifact {
    /// Packs a trained model with its profile; the first rows of `sample` that its schema accepts
    /// become smoke predictions.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) when model, profile and sample are not of one
    /// schema, the model answers no valid score for one of these rows, or a companion has the name
    /// of another file or one that no file can have.
    pub fn pack(
        trained: &TrainedModel,
        profile: Profile,
        sample: &Batch<'_>,
    ) -> Result<Self, Error> {
        let refuse = |context: String| Error::new(ErrorKind::InvalidInput, ARTIFACT, context);
        let schema = Arc::clone(trained.model.schema());
        profile.check_schema(&schema).map_err(|e| refuse(e.to_string()))?;
        if sample.schema().fingerprint() != schema.fingerprint() {
            return Err(refuse("the sample is of another schema than the model".to_owned()));
        }
        let mut companions = ArtifactFiles::new();
        for (name, bytes) in &trained.companions {
            if PARTS.iter().any(|part| part.eq_ignore_ascii_case(name)) {
                return Err(refuse(format!("a companion of the model is called {name:?}")));
            }
            let refuse = |error| refuse("a companion of the model".to_owned()).with_source(error);
            companions.insert(name, bytes.clone()).map_err(refuse)?;
        }
        let mut smoke = Vec::new();
        for row in (0..sample.rows()).map(|index| sample.row(index)) {
            // Cells that were refused, in data that nobody validated, would not read back.
            let json = row.to_json(&schema);
            if read_row(&schema, &json).as_ref() != Ok(&row) {
                continue;
            }
            let score = trained.model.score(&row);
            trained.model.task().prediction(score).map_err(|e| refuse(e.to_string()))?;
            smoke.push(SmokePrediction { row: json, score });
            if smoke.len() == SMOKE_ROWS {
                break;
            }
        }
        Ok(Self {
            schema,
            profile,
            model: Arc::clone(&trained.model),
            format: trained.format.clone(),
            document: trained.document.clone(),
            companions,
            smoke,
            validation: None,
            training: TrainingRecord {
                params: trained.params.clone(),
                ..TrainingRecord::default()
            },
        })
    }

    /// The same artifact with what validation said about the training data.
    #[must_use]
    pub fn with_validation(mut self, report: ValidationReport) -> Self {
        self.validation = Some(report);
        self
    }

    /// The same artifact with the record of its training.
    #[must_use]
    pub fn with_training(mut self, training: TrainingRecord) -> Self {
        self.training = training;
        self
    }

    /// The files to keep.
    ///
    /// # Errors
    ///
    /// [`Other`](ErrorKind::Other) when a part cannot be written as JSON or is too large.
    pub fn to_files(&self) -> Result<ArtifactFiles, Error> {
        let mut files = ArtifactFiles::new();
        add(&mut files, "schema.json", &*self.schema)?;
        add(&mut files, "profile.json", &self.profile)?;
        add(&mut files, "smoke.json", &self.smoke)?;
        add(&mut files, "training.json", &self.training)?;
        if let Some(validation) = &self.validation {
            add(&mut files, "validation.json", validation)?;
        }
        files.insert("model.json", self.document.clone()).map_err(too_large)?;
        for (name, bytes) in self.companions.iter() {
            files.insert(name, bytes.to_vec()).map_err(too_large)?;
        }
        let sums = files.iter().map(|(name, bytes)| {
            let sum = FileSum { bytes: bytes.len() as u64, sha256: Fingerprint::of_bytes(bytes) };
            (name.to_owned(), sum)
        });
        let manifest = Manifest {
            artifact_version: ARTIFACT_VERSION,
            model_format: self.format.clone(),
            task: self.model.task(),
            schema: self.schema.fingerprint(),
            profile: self.profile.fingerprint(),
            files: sums.collect(),
        };
        add(&mut files, MANIFEST, &manifest)?;
        Ok(files)
    }

    /// Rebuilds a version from its files, with every check there is.
    ///
    /// # Errors
    ///
    /// * [`Corrupt`](ErrorKind::Corrupt) when a file is absent, too many, changed or malformed, the
    ///   parts are not of one schema, or a smoke prediction differs by more than
    ///   [`SMOKE_TOLERANCE`].
    /// * [`NotSupported`](ErrorKind::NotSupported) when none of `formats` reads the model, or the
    ///   files are of a newer release.
    pub fn open(files: &ArtifactFiles, formats: &[Arc<dyn ModelFormat>]) -> Result<Self, Error> {
        // The version first: what else a newer manifest holds is not ours to judge.
        let ManifestVersion { artifact_version } = read(files, MANIFEST)?;
        if artifact_version != ARTIFACT_VERSION {
            return Err(not_supported(format!(
                "artifact_version {artifact_version} cannot be read, expected {ARTIFACT_VERSION}"
            )));
        }
        let manifest: Manifest = read(files, MANIFEST)?;
        manifest.check_files(files)?;
        let schema: Arc<FeatureSchema> = Arc::new(read(files, "schema.json")?);
        let profile: Profile = read(files, "profile.json")?;
        for (name, found, expected) in [
            ("schema.json", schema.fingerprint(), manifest.schema),
            ("profile.json", profile.fingerprint(), manifest.profile),
        ] {
            if found != expected {
                return Err(corrupt(format!(
                    "{name} is {}, its manifest says {}",
                    found.short(),
                    expected.short()
                )));
            }
        }
        profile.check_schema(&schema).map_err(|e| corrupt(format!("profile.json: {e}")))?;
        let Some(format) = formats.iter().find(|format| format.name() == manifest.model_format)
        else {
            let known: Vec<&str> = formats.iter().map(|format| format.name()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(not_supported(format!(
                "model format {:?} cannot be read, expected one of: {known}",
                manifest.model_format
            )));
        };
        let document = files.get("model.json").ok_or_else(|| absent("model.json"))?;
        let model = format.load(document, &schema)?;
        if model.task() != manifest.task {
            return Err(corrupt(format!(
                "model.json is a model for {:?}, its manifest says {:?}",
                model.task(),
                manifest.task
            )));
        }
        if model.schema().fingerprint() != manifest.schema {
            return Err(corrupt("model.json is a model of another schema".to_owned()));
        }
        let validation = match files.get("validation.json") {
            Some(_) => Some(read(files, "validation.json")?),
            None => None,
        };
        let mut companions = ArtifactFiles::new();
        for (name, bytes) in files.iter().filter(|(name, _)| !PARTS.contains(name)) {
            companions.insert(name, bytes.to_vec()).map_err(too_large)?;
        }
        let artifact = Self {
            schema,
            profile,
            model,
            format: manifest.model_format,
            document: document.to_vec(),
            companions,
            smoke: read(files, "smoke.json")?,
            validation,
            training: read(files, "training.json")?,
        };
        artifact.check_smoke()?;
        Ok(artifact)
    }

    fn check_smoke(&self) -> Result<(), Error> {
        for (index, smoke) in self.smoke.iter().enumerate() {
            let problem = |what: String| corrupt(format!("smoke.json, row {index}: {what}"));
            let row = read_row(&self.schema, &smoke.row).map_err(problem)?;
            let score = self.model.score(&row);
            self.model.task().prediction(score).map_err(|e| problem(e.to_string()))?;
            if (score - smoke.score).abs() > SMOKE_TOLERANCE * smoke.score.abs().max(1.0) {
                return Err(problem(format!("scores {score}, on record is {}", smoke.score)));
            }
        }
        Ok(())
    }

    /// The schema of the rows that the model scores.
    #[must_use]
    pub fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    /// The profile that live traffic is compared with.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn Model> {
        &self.model
    }

    /// The model in formats of others, for whoever scores elsewhere. Their sums were checked;
    /// whether they agree with the [model](Self::model) was not. The [type](Self) has an example.
    #[must_use]
    pub fn companions(&self) -> &ArtifactFiles {
        &self.companions
    }

    /// What validation said about the training data; `None` where it was turned off.
    #[must_use]
    pub fn validation(&self) -> Option<&ValidationReport> {
        self.validation.as_ref()
    }

    /// How it came to be.
    #[must_use]
    pub fn training(&self) -> &TrainingRecord {
        &self.training
    }
}

impl Manifest {
    /// Every file is listed and as it was, and every listed file is there.
    fn check_files(&self, files: &ArtifactFiles) -> Result<(), Error> {
        for (name, bytes) in files.iter().filter(|(name, _)| *name != MANIFEST) {
            let Some(sum) = self.files.get(name) else {
                return Err(corrupt(format!("{name} is not in the manifest")));
            };
            let size = bytes.len() as u64;
            if sum.bytes != size {
                return Err(corrupt(format!(
                    "{name} has {size} bytes, its manifest says {}",
                    sum.bytes
                )));
            }
            if sum.sha256 != Fingerprint::of_bytes(bytes) {
                return Err(corrupt(format!("{name} does not have the SHA-256 of its manifest")));
            }
        }
        match self.files.keys().find(|name| files.get(name).is_none()) {
            Some(name) => Err(absent(name)),
            None => Ok(()),
        }
    }
}

/// The row that `json` describes, if the schema accepts it.
fn read_row(schema: &FeatureSchema, json: &str) -> Result<Row, String> {
    let mut out = Violations::new();
    let row = decode_row(schema, json.as_bytes(), &mut out).map_err(|e| e.to_string())?;
    out.errors().next().map_or(Ok(row), |violation| Err(violation.to_string()))
}

fn add<T: Serialize>(files: &mut ArtifactFiles, name: &str, part: &T) -> Result<(), Error> {
    let bytes = serde_json::to_vec_pretty(part).map_err(|e| {
        Error::new(ErrorKind::Other, ARTIFACT, format!("cannot write {name}")).with_source(e)
    })?;
    files.insert(name, bytes).map_err(too_large)
}

fn read<T: DeserializeOwned>(files: &ArtifactFiles, name: &str) -> Result<T, Error> {
    let bytes = files.get(name).ok_or_else(|| absent(name))?;
    serde_json::from_slice(bytes)
        .map_err(|e| corrupt(format!("{name} cannot be read")).with_source(e))
}

fn corrupt(context: String) -> Error {
    Error::new(ErrorKind::Corrupt, ARTIFACT, context)
}

fn not_supported(context: String) -> Error {
    Error::new(ErrorKind::NotSupported, ARTIFACT, context)
}

fn absent(name: &str) -> Error {
    corrupt(format!("{name} is absent"))
}

fn too_large(error: ArtifactError) -> Error {
    Error::new(ErrorKind::Other, ARTIFACT, "cannot be packed").with_source(error)
}

#[cfg(test)]
mod tests;
