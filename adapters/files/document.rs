//! The JSON files of the folder: a format version, a content, and a sum over the content.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::COMPONENT;
use super::disk::corrupt;
use crate::registry::{Alias, ArtifactFiles, MAX_ARTIFACT_BYTES, ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp};

/// The format that is written; every older one can be read.
pub(super) const FORMAT_VERSION: u64 = 1;

/// Most bytes of a document. A manifest of as many files with as long names as allowed has half.
pub(super) const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

/// `registry.json` or `cache.json`: says what the folder is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "pmmds model registry")]
    ModelRegistry,
    #[serde(rename = "pmmds model cache")]
    ModelCache,
}

impl Kind {
    /// The file that says so.
    pub(super) fn marker(self) -> &'static str {
        match self {
            Self::ModelRegistry => "registry.json",
            Self::ModelCache => "cache.json",
        }
    }

    /// What it is called in errors.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ModelRegistry => "registry",
            Self::ModelCache => "model cache",
        }
    }
}

/// `manifest.json` of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) model: ModelName,
    pub(super) version: VersionId,
    pub(super) run_id: String,
    pub(super) created_at: Timestamp,
    pub(super) digest: Fingerprint,
    pub(super) files: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: Fingerprint,
}

/// `aliases.json` of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aliases {
    pub(super) model: ModelName,
    pub(super) aliases: BTreeMap<Alias, VersionId>,
}

/// `tags.json` of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tags {
    pub(super) model: ModelName,
    pub(super) version: VersionId,
    pub(super) tags: BTreeMap<String, String>,
}

/// `kept.json`: the version of a model that was found behind an alias last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) model: ModelName,
    pub(super) alias: Alias,
    pub(super) version: VersionId,
    // of the name of the registry that gave it
    pub(super) registry: Fingerprint,
    pub(super) kept_at: Timestamp,
    // name of the folder beside this document that has the files
    pub(super) folder: u64,
    pub(super) digest: Fingerprint,
    pub(super) files: Vec<Entry>,
}

impl Entry {
    pub(super) fn list(files: &ArtifactFiles) -> Vec<Self> {
        let entry = |(name, bytes): (&str, &[u8])| Self {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: Fingerprint::of_bytes(bytes),
        };
        files.iter().map(entry).collect()
    }
}

/// Whether names and sizes of `files` keep the limits of an artifact. To be asked of what the
/// document at `path` lists before any of them is opened.
pub(super) fn check_entries(files: &[Entry], path: &Path) -> Result<(), Error> {
    let mut names = ArtifactFiles::new();
    let mut total = 0_u64;
    for entry in files {
        names
            .insert(entry.name.as_str(), Vec::new())
            .map_err(|problem| corrupt(path, "lists an impossible file").with_source(problem))?;
        total = total.saturating_add(entry.bytes);
    }
    if total > MAX_ARTIFACT_BYTES {
        let what = format!("lists {total} bytes of files, more than {MAX_ARTIFACT_BYTES}");
        return Err(corrupt(path, &what));
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    format_version: u64,
    // of the content as compact JSON, fields and keys in their fixed order
    sha256: Fingerprint,
    content: T,
}

/// Only this is read of a document of unknown format.
#[derive(Deserialize)]
struct Format {
    format_version: u64,
}

fn sum<T: Serialize>(content: &T) -> Result<Fingerprint, serde_json::Error> {
    Ok(Fingerprint::of_bytes(&serde_json::to_vec(content)?))
}

/// The bytes of a document.
pub(super) fn write<T: Serialize>(path: &Path, content: &T) -> Result<Vec<u8>, Error> {
    let seal = || {
        let sealed = Sealed { format_version: FORMAT_VERSION, sha256: sum(content)?, content };
        serde_json::to_vec_pretty(&sealed)
    };
    let failed = |kind| {
        let context = format!("{} cannot be written as JSON", path.display());
        Error::new(kind, COMPONENT, context)
    };
    let mut bytes = seal().map_err(|error| failed(ErrorKind::Other).with_source(error))?;
    bytes.push(b'\n');
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        let context = format!(
            "{} would have {} bytes, more than {MAX_DOCUMENT_BYTES}",
            path.display(),
            bytes.len()
        );
        return Err(Error::new(ErrorKind::InvalidInput, COMPONENT, context));
    }
    Ok(bytes)
}

/// The content of a document: of a known format, and as it was written.
pub(super) fn read<T: Serialize + DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    let no_json =
        |error: serde_json::Error| corrupt(path, "is not what pmmds writes").with_source(error);
    let format = serde_json::from_slice::<Format>(bytes).map_err(no_json)?.format_version;
    if format > FORMAT_VERSION {
        let context = format!(
            "{} is of format version {format}, and this release reads up to {FORMAT_VERSION}",
            path.display()
        );
        return Err(Error::new(ErrorKind::NotSupported, COMPONENT, context));
    }
    let sealed: Sealed<T> = serde_json::from_slice(bytes).map_err(no_json)?;
    if format == 0 || sum(&sealed.content).map_err(no_json)? != sealed.sha256 {
        return Err(corrupt(path, "does not match its own sum"));
    }
    Ok(sealed.content)
}
