//! A [`ModelRegistry`] in a folder: the embedded default, with nothing to install. And a
//! [cache](FileCache) of what another registry gave last, for a start while that one is away.
//!
//! ```
//! use pmmds::files::FileRegistry;
//! use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("registry");
//! let registry = FileRegistry::open(&path).await?;
//! let (model, production) = (ModelName::new("churn")?, Alias::production());
//!
//! let mut files = ArtifactFiles::new();
//! files.insert("model.json", b"{}".to_vec())?;
//! let version = registry.register(&model, "run-1", &files).await?.version;
//! registry.set_alias(&model, &production, version, None).await?;
//!
//! // Another process, another day.
//! let registry = FileRegistry::open_existing(&path).await?;
//! assert_eq!(registry.resolve(&model, &production).await?, Some(version));
//! assert_eq!(registry.fetch_artifact(&model, version).await?, files);
//! # Ok(())
//! # }
//! ```
//!
//! # The folder
//!
//! ```text
//! registry.json                      what this folder is; without it nothing here is believed
//! lock                               held while something is written, by whichever process
//! tmp/                               what is being written; garbage once the lock is free
//! models/churn/aliases.json          every alias of the model and where it points
//! models/churn/versions/2/manifest.json
//! models/churn/versions/2/files/...  the artifact, under its own names
//! models/churn/versions/2/tags.json  all of a version that ever changes
//! ```
//!
//! Every JSON file carries its format version and a SHA-256 sum of its content; a manifest has the
//! size and SHA-256 of every file. Edit one by hand and it is [`Corrupt`](crate::ErrorKind::Corrupt).
//!
//! # What it promises
//!
//! * *Whole or not at all.* A version is written to `tmp/`, synced, and appears by one rename;
//!   aliases and tags are replaced by one rename. A process that is killed at any moment leaves a
//!   readable registry; what was answered `Ok` is on disk (file and folder are synced first).
//! * *Several processes.* Writers take turns by a lock on `lock`, so that compare-and-set holds
//!   between processes of one machine. Readers need no lock. Whether locks hold between machines
//!   is up to a network file system; where they do not, use a registry server.
//! * *Nothing unlisted, nothing linked.* Only files that the manifest lists are opened, symbolic
//!   links and devices are refused, names are checked again on the way in, sizes before memory is
//!   taken. What is returned are the bytes that were hashed.
//! * *An absent folder is an outage.* `Ok(None)` and
//!   [`NotFound`](crate::ErrorKind::NotFound) are answered only with `registry.json` in sight:
//!   a folder that was removed or not mounted is [`Unavailable`](crate::ErrorKind::Unavailable).
//!
//! Folders and files are made for their owner alone (0700, 0600 on Unix). On a file system without
//! letter case, two models whose names differ only in case cannot both be used.

mod cache;
mod disk;
mod document;
mod folder;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, ModelVersion, VersionId};
use crate::{Error, ErrorKind, Timestamp};
pub use cache::FileCache;
use folder::{Clock, Folder};

const COMPONENT: &str = "files";

/// A [`ModelRegistry`] in a folder; see the [module](self) for its promises.
///
/// Clones use the same folder. Works inside a tokio runtime, whose blocking threads do the file
/// work: a dropped future does not stop what it began, and never leaves it half done.
#[derive(Debug, Clone)]
pub struct FileRegistry {
    folder: Folder,
}

impl FileRegistry {
    /// Opens the registry in the folder `path`, or makes one there if the folder is missing or
    /// empty. Removes what a killed process left in `tmp/`.
    ///
    /// ```
    /// use pmmds::ErrorKind;
    /// use pmmds::files::FileRegistry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// std::fs::write(folder.path().join("thesis.txt"), "precious")?;
    /// let error = FileRegistry::open(folder.path()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// assert!(error.to_string().ends_with("is no registry and not empty: it has thesis.txt"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is something else in the folder,
    /// [`NotSupported`](ErrorKind::NotSupported) if a newer release made it or the file system has
    /// no locks, [`Unavailable`](ErrorKind::Unavailable) if it cannot be read or made,
    /// [`Corrupt`](ErrorKind::Corrupt) if `registry.json` is damaged, or missing beside models.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let folder = blocking(move || Folder::open(&path, true)).await?;
        Ok(Self { folder })
    }

    /// Opens the registry in the folder `path`, which must be there.
    ///
    /// For a service whose registry is known to exist: with [`open`](Self::open) a disk that is
    /// not mounted would be an empty folder, and so a new registry without a champion.
    ///
    /// ```
    /// use pmmds::ErrorKind;
    /// use pmmds::files::FileRegistry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let error = FileRegistry::open_existing(folder.path()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Unavailable);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if there is no registry; else as for
    /// [`open`](Self::open).
    pub async fn open_existing(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let folder = blocking(move || Folder::open(&path, false)).await?;
        Ok(Self { folder })
    }

    /// How long a writer waits for others before it answers
    /// [`Unavailable`](ErrorKind::Unavailable). Defaults to 30 seconds.
    ///
    /// ```
    /// # use pmmds::files::FileRegistry;
    /// use std::time::Duration;
    /// # async fn example() -> Result<(), pmmds::Error> {
    /// let registry = FileRegistry::open("state/registry").await?.lock_timeout(Duration::from_secs(2));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.folder.lock_timeout = timeout;
        self
    }

    /// Takes the time of a registration from `clock`. Defaults to the system's clock.
    ///
    /// ```
    /// # use pmmds::{Timestamp, files::FileRegistry};
    /// # use pmmds::registry::{ArtifactFiles, ModelName, ModelRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let registry = FileRegistry::open(folder.path()).await?.with_clock(|| Timestamp::EPOCH);
    /// let model = ModelName::new("churn")?;
    /// let version = registry.register(&model, "run-1", &ArtifactFiles::new()).await?;
    /// assert_eq!(version.created_at, Timestamp::EPOCH);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.folder.clock = Clock(Arc::new(clock));
        self
    }

    /// The folder, as an absolute path.
    ///
    /// ```
    /// # use pmmds::files::FileRegistry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let registry = FileRegistry::open(folder.path()).await?;
    /// assert!(registry.path().join("registry.json").is_file());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder.root
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let folder = self.folder.clone();
        let sure = move || {
            work(&folder).map_err(|error| match error.kind() {
                // Missing, or the whole folder is away?
                ErrorKind::NotFound | ErrorKind::Corrupt => {
                    folder.in_sight().err().unwrap_or(error)
                }
                _ => error,
            })
        };
        blocking(sure).await
    }
}

/// Runs file work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let failed = |what: &str| Error::new(ErrorKind::Other, COMPONENT, what);
    let runtime = tokio::runtime::Handle::try_current()
        .map_err(|error| failed("file work needs a tokio runtime").with_source(error))?;
    let done = runtime.spawn_blocking(work).await;
    done.map_err(|error| failed("file work ended early").with_source(error))?
}

#[async_trait]
impl ModelRegistry for FileRegistry {
    async fn register(
        &self,
        model: &ModelName,
        run_id: &str,
        files: &ArtifactFiles,
    ) -> Result<ModelVersion, Error> {
        let (model, run_id, files) = (model.clone(), run_id.to_owned(), files.clone());
        self.run(move |folder| folder.register(&model, &run_id, &files)).await
    }

    async fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error> {
        let model = model.clone();
        self.run(move |folder| folder.get(&model, version)).await
    }

    async fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error> {
        let model = model.clone();
        self.run(move |folder| folder.versions(&model)).await
    }

    async fn resolve(&self, model: &ModelName, alias: &Alias) -> Result<Option<VersionId>, Error> {
        let (model, alias) = (model.clone(), alias.clone());
        self.run(move |folder| folder.resolve(&model, &alias)).await
    }

    async fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<(), Error> {
        let (model, alias) = (model.clone(), alias.clone());
        self.run(move |folder| folder.set_alias(&model, &alias, version, expected)).await
    }

    async fn fetch_artifact(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error> {
        let model = model.clone();
        self.run(move |folder| folder.fetch(&model, version)).await
    }

    async fn tag(
        &self,
        model: &ModelName,
        version: VersionId,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        let (model, key, value) = (model.clone(), key.to_owned(), value.to_owned());
        self.run(move |folder| folder.tag(&model, version, &key, &value)).await
    }
}
