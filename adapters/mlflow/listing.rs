//! `pmmds.json` beside the files of a version: what there is to download, and its sums.

use serde::{Deserialize, Serialize};

use super::COMPONENT;
use crate::registry::{ArtifactFiles, MAX_ARTIFACT_BYTES};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind};

/// The format that is written; every older one can be read.
const FORMAT_VERSION: u64 = 1;

/// Its name.
pub(super) const LISTING: &str = "pmmds.json";

/// Most bytes of it. One of as many files with as long names as allowed has half.
pub(super) const MAX_LISTING_BYTES: u64 = 1 << 20;

/// The folder of the artifact's own files: their names are free there.
pub(super) const FILES: &str = "files";

/// The files of a version. Sums beside the files show damage; who wrote both is shown by the
/// digest, which stands on the version.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    format_version: u64,
    pub(super) digest: Fingerprint,
    pub(super) files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: Fingerprint,
}

/// Only this is read of a listing of unknown format.
#[derive(Deserialize)]
struct Format {
    format_version: u64,
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, COMPONENT, format!("{LISTING} {what}"))
}

impl Listing {
    pub(super) fn of(files: &ArtifactFiles) -> Self {
        let entries = files.iter().map(|(name, bytes)| Entry {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: Fingerprint::of_bytes(bytes),
        });
        Self { format_version: FORMAT_VERSION, digest: files.digest(), files: entries.collect() }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec_pretty(self).map_err(|e| {
            Error::new(ErrorKind::Other, COMPONENT, format!("cannot write {LISTING}"))
                .with_source(e)
        })
    }

    /// The listing in `bytes`: names and sizes keep the limits of an artifact, so that nothing is
    /// asked for or kept that does not.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        let no_json = |e: serde_json::Error| corrupt("is not what pmmds writes").with_source(e);
        let Format { format_version } = serde_json::from_slice(bytes).map_err(no_json)?;
        if format_version > FORMAT_VERSION {
            let context = format!(
                "{LISTING} is of format version {format_version}, and this release reads up to \
                 {FORMAT_VERSION}"
            );
            return Err(Error::new(ErrorKind::NotSupported, COMPONENT, context));
        }
        let listing: Self = serde_json::from_slice(bytes).map_err(no_json)?;
        let mut names = ArtifactFiles::new();
        let mut total = 0_u64;
        for entry in &listing.files {
            names
                .insert(entry.name.as_str(), Vec::new())
                .map_err(|e| corrupt("lists an impossible file").with_source(e))?;
            total = total.saturating_add(entry.bytes);
        }
        if total > MAX_ARTIFACT_BYTES {
            return Err(corrupt(format!(
                "lists {total} bytes of files, more than {MAX_ARTIFACT_BYTES}"
            )));
        }
        Ok(listing)
    }
}

impl Entry {
    /// Whether `bytes` are those of the file.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Error> {
        let Self { name, bytes: size, sha256 } = self;
        let damaged = |what: String| Error::new(ErrorKind::Corrupt, COMPONENT, what);
        if bytes.len() as u64 != *size {
            return Err(damaged(format!("{name} has {} bytes, not {size}", bytes.len())));
        }
        let sum = Fingerprint::of_bytes(bytes);
        if sum != *sha256 {
            return Err(damaged(format!(
                "{name} has the SHA-256 {}..., not {}...",
                sum.short(),
                sha256.short()
            )));
        }
        Ok(())
    }
}
