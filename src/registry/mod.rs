//! Where model versions live, and which of them is in production.
//!
//! The registry is the truth for *what* is in production, the [ledger](crate::ledger) for *why*.
//! Names, versions and aliases are checked here, once, so that no implementation has to think
//! about `../../etc` or `latest`.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::schema::{Fingerprint, Hasher};
use crate::{Error, Timestamp};

mod cache;
mod rules;

pub use cache::{CachedVersion, ModelCache};
pub use rules::{AliasStep, MAX_TAG_BYTES, Rules};

/// Most files of one artifact.
///
/// ```
/// use pmmds::registry::{ArtifactFiles, MAX_ARTIFACT_FILES};
/// let mut files = ArtifactFiles::new();
/// for number in 0..MAX_ARTIFACT_FILES {
///     files.insert(format!("part-{number}"), Vec::new())?;
/// }
/// assert!(files.insert("one-more", Vec::new()).is_err());
/// # Ok::<(), pmmds::registry::ArtifactError>(())
/// ```
pub const MAX_ARTIFACT_FILES: usize = 1_000;

/// Most bytes of one artifact, all files together: 1 GiB.
///
/// ```
/// assert_eq!(pmmds::registry::MAX_ARTIFACT_BYTES, 1 << 30);
/// ```
pub const MAX_ARTIFACT_BYTES: u64 = 1 << 30;

/// Why a name cannot be used.
///
/// ```
/// use pmmds::registry::ModelName;
/// assert_eq!(
///     ModelName::new("churn model").unwrap_err().to_string(),
///     "model name \"churn model\" cannot be used: expected 1 to 128 letters, digits, '.', '_' or \
///      '-', beginning with a letter or digit",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} cannot be used: expected {expected}")]
pub struct NameError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl NameError {
    fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self { what, text: text.chars().take(64).collect(), expected }
    }
}

fn is_plain(text: &str, longest: usize) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let first = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    first && text.len() <= longest && text.bytes().all(allowed)
}

macro_rules! text_newtype {
    ($type:ident) => {
        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

/// Name of a registered model: letters, digits, `.`, `_` and `-`, at most 128, the first a letter
/// or digit.
///
/// ```
/// use pmmds::registry::ModelName;
/// let name: ModelName = "churn-classifier".parse()?;
/// assert_eq!(name.as_str(), "churn-classifier");
/// assert!(ModelName::new("../../etc").is_err());
/// # Ok::<(), pmmds::registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// The model called `name`.
    ///
    /// # Errors
    ///
    /// When `name` holds other characters or is too long.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let expected =
            "1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit";
        if is_plain(&name, 128) {
            Ok(Self(name))
        } else {
            Err(NameError::new("model name", &name, expected))
        }
    }
}

text_newtype!(ModelName);

/// A movable name of one version, such as `production`.
///
/// At most 64 letters, digits, `.`, `_` and `-`. `latest` and names like `v3` are refused: they
/// read as versions, and MLflow reserves them.
///
/// ```
/// use pmmds::registry::Alias;
/// assert_eq!(Alias::production().as_str(), "production");
/// assert!(Alias::new("latest").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

impl Alias {
    /// The alias called `name`.
    ///
    /// # Errors
    ///
    /// When `name` holds other characters, is too long or reserved.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let like_a_version = name
            .strip_prefix(['v', 'V'])
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit()));
        let reserved = like_a_version || name.eq_ignore_ascii_case("latest");
        let expected =
            "1 to 64 letters, digits, '.', '_' or '-', not \"latest\" and not like \"v3\"";
        if is_plain(&name, 64) && !reserved {
            Ok(Self(name))
        } else {
            Err(NameError::new("alias", &name, expected))
        }
    }

    /// `production`: the champion, what is served.
    #[must_use]
    pub fn production() -> Self {
        Self("production".to_owned())
    }

    /// `staging`: the challenger while it is compared.
    ///
    /// ```
    /// use pmmds::registry::Alias;
    /// assert_eq!(Alias::staging(), "staging".parse()?);
    /// # Ok::<(), pmmds::registry::NameError>(())
    /// ```
    #[must_use]
    pub fn staging() -> Self {
        Self("staging".to_owned())
    }
}

text_newtype!(Alias);

/// Number of a version, from 1. Written as a string in JSON, compared as a number.
///
/// ```
/// use pmmds::registry::VersionId;
/// let (nine, ten): (VersionId, VersionId) = ("9".parse()?, "10".parse()?);
/// assert!(nine < ten);
/// assert_eq!("0010".parse::<VersionId>().unwrap_err().to_string(),
///     "version \"0010\" cannot be used: expected a whole number from 1, without leading zeros");
/// # Ok::<(), pmmds::registry::NameError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(NonZeroU64);

impl VersionId {
    /// Version 1.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The version with this number; `None` for 0.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number, at least 1.
    ///
    /// ```
    /// use pmmds::registry::VersionId;
    /// assert_eq!(VersionId::FIRST.number(), 1);
    /// assert_eq!(VersionId::new(0), None);
    /// ```
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for VersionId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let canonical = text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number) if canonical => Ok(Self(number)),
            _ => {
                Err(NameError::new("version", text, "a whole number from 1, without leading zeros"))
            }
        }
    }
}

impl TryFrom<String> for VersionId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<VersionId> for String {
    fn from(version: VersionId) -> Self {
        version.to_string()
    }
}

/// The files of a model version: names and bytes, nothing that runs.
///
/// Names are relative paths of at most four parts, each of plain characters, so that no
/// implementation can be led outside its folder. Two names that differ only in case are refused,
/// and so is a file below another file (`a` and `a/b`). Clones share the bytes.
///
/// ```
/// use pmmds::registry::ArtifactFiles;
/// let mut files = ArtifactFiles::new();
/// files.insert("model.json", b"{}".to_vec())?;
/// assert_eq!(files.get("model.json"), Some(&b"{}"[..]));
/// assert!(files.insert("../model.json", Vec::new()).is_err());
/// # Ok::<(), pmmds::registry::ArtifactError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArtifactFiles {
    // names as described above; at most MAX_ARTIFACT_FILES and MAX_ARTIFACT_BYTES
    files: BTreeMap<String, Arc<Vec<u8>>>,
}

impl ArtifactFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    ///
    /// # Errors
    ///
    /// When the name cannot be used or is there already, or a limit is reached.
    pub fn insert(&mut self, name: impl Into<String>, bytes: Vec<u8>) -> Result<(), ArtifactError> {
        let name = name.into();
        let parts = name.split('/');
        if name.len() > 256 || parts.clone().count() > 4 || !parts.clone().all(|p| is_plain(p, 128))
        {
            return Err(ArtifactError::Name { name: name.chars().take(64).collect() });
        }
        if self.files.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Err(ArtifactError::Duplicate { name });
        }
        if let Some(other) = self.files.keys().find(|k| is_below(k, &name) || is_below(&name, k)) {
            return Err(ArtifactError::Nested { other: other.clone(), name });
        }
        let total = self.total_bytes().saturating_add(bytes.len() as u64);
        if self.files.len() >= MAX_ARTIFACT_FILES || total > MAX_ARTIFACT_BYTES {
            return Err(ArtifactError::TooLarge { files: self.files.len() + 1, bytes: total });
        }
        self.files.insert(name, Arc::new(bytes));
        Ok(())
    }

    /// The bytes of a file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|bytes| bytes.as_slice())
    }

    /// All files by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// The hash over every name and byte that names this artifact.
    ///
    /// ```
    /// use pmmds::registry::ArtifactFiles;
    /// let mut files = ArtifactFiles::new();
    /// files.insert("model.json", b"{}".to_vec())?;
    /// files.insert("notes/why.txt", b"because".to_vec())?;
    /// assert_eq!(files.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["model.json", "notes/why.txt"]);
    /// assert_eq!(files.total_bytes(), 9);
    /// assert_eq!(files.digest(), files.clone().digest());
    /// # Ok::<(), pmmds::registry::ArtifactError>(())
    /// ```
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        let mut hasher = Hasher::new("pmmds artifact 1");
        hasher.count(self.files.len());
        for (name, bytes) in &self.files {
            hasher.text(name).bytes(bytes);
        }
        hasher.finish()
    }
}

/// Whether `name` would lie in the folder `folder`, whatever the letter case.
fn is_below(name: &str, folder: &str) -> bool {
    let start = name.as_bytes().get(..folder.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(folder.as_bytes()))
        && name.as_bytes().get(folder.len()) == Some(&b'/')
}

/// Why a file cannot be part of an artifact.
///
/// ```
/// use pmmds::registry::ArtifactFiles;
/// let mut files = ArtifactFiles::new();
/// files.insert("model", Vec::new())?;
/// assert_eq!(
///     files.insert("model/weights.bin", Vec::new()).unwrap_err().to_string(),
///     "artifact files \"model/weights.bin\" and \"model\" exclude each other: one would be a folder",
/// );
/// # Ok::<(), pmmds::registry::ArtifactError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The name could lead outside, or holds other characters.
    #[error(
        "artifact file {name:?} cannot be used: expected at most 4 parts of letters, digits, '.', '_' or '-', each beginning with a letter or digit"
    )]
    Name {
        /// its first 64 characters
        name: String,
    },
    /// The name is there already, at most with other letter case.
    #[error("artifact file {name:?} stands twice")]
    Duplicate {
        /// the name
        name: String,
    },
    /// One name would be both a file and a folder.
    #[error("artifact files {name:?} and {other:?} exclude each other: one would be a folder")]
    Nested {
        /// the name
        name: String,
        /// the name that is there
        other: String,
    },
    /// Too many files or bytes.
    #[error(
        "artifact of {files} files and {bytes} bytes is too large: at most {MAX_ARTIFACT_FILES} files and {MAX_ARTIFACT_BYTES} bytes"
    )]
    TooLarge {
        /// files it would have
        files: usize,
        /// bytes it would have
        bytes: u64,
    },
}

/// What a registry knows of one version.
///
/// ```
/// use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
/// # use pmmds::memory::MemoryRegistry;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (registry, model) = (MemoryRegistry::new(), ModelName::new("churn")?);
/// let version = registry.register(&model, "run-1", &ArtifactFiles::new()).await?.version;
/// registry.set_alias(&model, &Alias::production(), version, None).await?;
/// registry.tag(&model, version, "note", "the first").await?;
///
/// let known = registry.get(&model, version).await?;
/// assert_eq!((known.run_id.as_str(), known.aliases.len()), ("run-1", 1));
/// assert_eq!(known.tags["note"], "the first");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelVersion {
    /// name of the model
    pub model: ModelName,
    /// number of the version
    pub version: VersionId,
    /// the run that made it; registering the same run again gives the same version
    pub run_id: String,
    /// when it was registered, by the registry's clock
    pub created_at: Timestamp,
    /// [`ArtifactFiles::digest`] of its files
    pub digest: Fingerprint,
    /// aliases that point at it now, in alphabetical order
    pub aliases: Vec<Alias>,
    /// notes, such as why it was rejected
    pub tags: BTreeMap<String, String>,
}

impl ModelVersion {
    /// A version as a registry found it, without aliases and tags.
    #[must_use]
    pub fn new(
        model: ModelName,
        version: VersionId,
        run_id: impl Into<String>,
        created_at: Timestamp,
        digest: Fingerprint,
    ) -> Self {
        Self {
            model,
            version,
            run_id: run_id.into(),
            created_at,
            digest,
            aliases: Vec::new(),
            tags: BTreeMap::new(),
        }
    }
}

/// Keeps model versions, their files, and the aliases that point at them.
///
/// # Contract
///
/// * Versions are numbered 1, 2, 3 ... per model and never change but in tags and aliases.
/// * [`register`](Self::register) is idempotent by run id: the same run gives the same version,
///   also after a crash between upload and answer. Different bytes under a known run id are a
///   [`Conflict`](crate::ErrorKind::Conflict).
/// * A registration is there whole or not at all, whoever looks and whenever the process ends.
/// * `Ok(None)` from [`resolve`](Self::resolve) is a *fact*: the registry answered, and there is no
///   such alias (or no such model). Everything else is an error; an outage is
///   [`Unavailable`](crate::ErrorKind::Unavailable).
/// * [`set_alias`](Self::set_alias) compares and sets: of several callers who expect the same, one
///   moves the alias.
/// * Run ids and tag keys are names, checked by [`Rules`]: others are
///   [`InvalidInput`](crate::ErrorKind::InvalidInput).
/// * What [`fetch_artifact`](Self::fetch_artifact) returns was checked against the digest that was
///   stored at registration; a difference is [`Corrupt`](crate::ErrorKind::Corrupt).
///
/// # Implementing
///
/// Take the decisions from [`Rules`], so that every registry answers alike. Run
/// `pmmds::conformance::registry` (feature `conformance`) on the implementation; the
/// in-memory one in [`memory`](crate::memory) is the reference.
///
/// ```
/// use pmmds::ErrorKind;
/// use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
/// # use pmmds::memory::MemoryRegistry;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (registry, model) = (MemoryRegistry::new(), ModelName::new("churn")?);
/// let registry: &dyn ModelRegistry = &registry;
/// let first = registry.register(&model, "run-1", &ArtifactFiles::new()).await?.version;
/// let second = registry.register(&model, "run-2", &ArtifactFiles::new()).await?.version;
/// assert_eq!(registry.register(&model, "run-1", &ArtifactFiles::new()).await?.version, first);
///
/// // Compare and set: who expects what is not so any more moves nothing.
/// let production = Alias::production();
/// registry.set_alias(&model, &production, first, None).await?;
/// let late = registry.set_alias(&model, &production, second, None).await.unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::Conflict);
/// assert_eq!(registry.resolve(&model, &production).await?, Some(first));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ModelRegistry: Debug + Send + Sync {
    /// Stores a version, made by the run `run_id`, and returns it with its number.
    async fn register(
        &self,
        model: &ModelName,
        run_id: &str,
        files: &ArtifactFiles,
    ) -> Result<ModelVersion, Error>;

    /// One version; [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error>;

    /// All versions, oldest first; empty for a model that does not exist.
    async fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error>;

    /// The version behind an alias; `None` when it is certain that there is none.
    async fn resolve(&self, model: &ModelName, alias: &Alias) -> Result<Option<VersionId>, Error>;

    /// Points `alias` at `version` if it points at `expected` now (`None`: at nothing).
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if it points elsewhere, with what was found and
    /// what was expected; but not if it points at `version` already: asking again for what is so
    /// is no conflict.
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such version.
    async fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<(), Error>;

    /// The files of a version, verified.
    async fn fetch_artifact(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error>;

    /// Sets one tag of a version, in place of the value that it had.
    async fn tag(
        &self,
        model: &ModelName,
        version: VersionId,
        key: &str,
        value: &str,
    ) -> Result<(), Error>;
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<R: ModelRegistry + ?Sized> ModelRegistry for $wrapper {
            async fn register(
                &self,
                model: &ModelName,
                run_id: &str,
                files: &ArtifactFiles,
            ) -> Result<ModelVersion, Error> {
                (**self).register(model, run_id, files).await
            }

            async fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error> {
                (**self).get(model, version).await
            }

            async fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error> {
                (**self).versions(model).await
            }

            async fn resolve(
                &self,
                model: &ModelName,
                alias: &Alias,
            ) -> Result<Option<VersionId>, Error> {
                (**self).resolve(model, alias).await
            }

            async fn set_alias(
                &self,
                model: &ModelName,
                alias: &Alias,
                version: VersionId,
                expected: Option<VersionId>,
            ) -> Result<(), Error> {
                (**self).set_alias(model, alias, version, expected).await
            }

            async fn fetch_artifact(
                &self,
                model: &ModelName,
                version: VersionId,
            ) -> Result<ArtifactFiles, Error> {
                (**self).fetch_artifact(model, version).await
            }

            async fn tag(
                &self,
                model: &ModelName,
                version: VersionId,
                key: &str,
                value: &str,
            ) -> Result<(), Error> {
                (**self).tag(model, version, key, value).await
            }
        }
    )+};
}

forward!(&R, Box<R>, Arc<R>);

const _: Option<&dyn ModelRegistry> = None;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", ".", "..", "a/b", "-rf", "a b", "a\0", "é", &"x".repeat(129)] {
            assert!(ModelName::new(name).is_err(), "{name:?}");
            assert!(Alias::new(name).is_err(), "{name:?}");
        }
        for name in
            ["", "/etc/x", "../x", "a/../x", "C:\\x", "a//b", "%2e%2e/x", "a\0", "a/b/c/d/e"]
        {
            assert!(ArtifactFiles::new().insert(name, Vec::new()).is_err(), "{name:?}");
        }
        for alias in ["latest", "LATEST", "v1", "V22"] {
            assert!(Alias::new(alias).is_err(), "{alias:?}");
        }
        assert!(Alias::new("v1-candidate").is_ok());
    }

    #[test]
    fn a_file_stands_once_whatever_its_case() {
        let mut files = ArtifactFiles::new();
        files.insert("model.json", vec![1]).unwrap();
        assert_eq!(
            files.insert("Model.JSON", vec![2]).unwrap_err().to_string(),
            "artifact file \"Model.JSON\" stands twice"
        );
    }

    #[test]
    fn a_file_is_no_folder() {
        for (first, second) in [("a", "a/b"), ("a/b", "a"), ("A/b/c", "a/B")] {
            let mut files = ArtifactFiles::new();
            files.insert(first, Vec::new()).unwrap();
            assert_eq!(
                files.insert(second, Vec::new()).unwrap_err().to_string(),
                format!(
                    "artifact files {second:?} and {first:?} exclude each other: one would be a folder"
                )
            );
        }
        let mut files = ArtifactFiles::new();
        ["ab", "a/b", "a/c", "a.b"].iter().for_each(|n| files.insert(*n, Vec::new()).unwrap());
    }

    #[test]
    fn the_digest_covers_names_and_bytes() {
        let of = |files: &[(&str, &[u8])]| {
            let mut all = ArtifactFiles::new();
            files.iter().for_each(|(name, bytes)| all.insert(*name, bytes.to_vec()).unwrap());
            all.digest()
        };
        let base = of(&[("a", b"1"), ("b", b"2")]);
        assert_eq!(base, of(&[("b", b"2"), ("a", b"1")]));
        assert_ne!(base, of(&[("a", b"12"), ("b", b"")]));
        assert_ne!(base, of(&[("a", b"1"), ("c", b"2")]));
    }
}
