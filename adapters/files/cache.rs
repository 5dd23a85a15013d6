//! The version that a service has loaded last, in a folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::disk::{self, Disk, corrupt};
use super::document::{Entry, Kept, Kind};
use super::folder::{Folder, read_files};
use super::{COMPONENT, blocking};
use crate::registry::{Alias, CachedVersion, ModelCache, ModelName};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind};

/// Longest that one process waits for another to write a version down.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A [`ModelCache`] in a folder, written as carefully as a [`FileRegistry`](super::FileRegistry).
///
/// ```text
/// cache.json                             what this folder is; without it nothing here is believed
/// lock                                   held while something is written or read
/// tmp/                                   what is being written; garbage once the lock is free
/// models/churn/production/kept.json      version, sums, and which folder has its files
/// models/churn/production/7/...          the files, under their own names
/// ```
///
/// * A version is written into a new folder and synced; it takes the place of the one before by the
///   rename of `kept.json`. A process that is killed at any moment leaves the one or the other.
/// * What is read is checked: every size and SHA-256, the digest of all, that it is of this model
///   and alias, and that it came from the same registry.
/// * Sums tell damage, not forgery: who may write to the folder can put a model there. It is made
///   for its owner alone (0700, 0600 on Unix).
///
/// ```
/// use pmmds::files::FileCache;
/// use pmmds::registry::{Alias, ArtifactFiles, CachedVersion, ModelCache, ModelName, VersionId};
/// use pmmds::{ErrorKind, Timestamp};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model-cache");
/// let (model, production) = (ModelName::new("churn")?, Alias::production());
/// let cache = FileCache::open(&path, "http://mlflow:5000").await?;
/// assert_eq!(cache.last(&model, &production).await?, None);
///
/// let mut files = ArtifactFiles::new();
/// files.insert("model.json", b"{}".to_vec())?;
/// let cached = CachedVersion::new(VersionId::FIRST, files, Timestamp::EPOCH);
/// cache.keep(&model, &production, &cached).await?;
///
/// // Another process, another day.
/// let cache = FileCache::open(&path, "http://mlflow:5000").await?;
/// assert_eq!(cache.last(&model, &production).await?, Some(cached));
/// // Version 1 of another registry is another model.
/// let elsewhere = FileCache::open(&path, "http://other:5000").await?;
/// let error = elsewhere.last(&model, &production).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Conflict);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FileCache {
    folder: Folder,
    // of the name of the registry
    registry: Fingerprint,
}

impl FileCache {
    /// Opens the cache in the folder `path`, or makes one there if the folder is missing or empty.
    /// `registry` names the registry whose versions are kept, by its address for example; its hash
    /// alone is written down.
    ///
    /// # Errors
    ///
    /// As [`FileRegistry::open`](super::FileRegistry::open).
    pub async fn open(path: impl AsRef<Path>, registry: &str) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let open = move || Folder::open_on(&path, Kind::ModelCache, true, Disk::default());
        let mut folder = blocking(open).await?;
        folder.lock_timeout = LOCK_TIMEOUT;
        Ok(Self { folder, registry: Fingerprint::of_bytes(registry.as_bytes()) })
    }

    /// The folder, as an absolute path.
    ///
    /// ```
    /// # use pmmds::files::FileCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let cache = FileCache::open(folder.path(), "http://mlflow:5000").await?;
    /// assert!(cache.path().join("cache.json").is_file());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder.root
    }
}

#[async_trait]
impl ModelCache for FileCache {
    async fn keep(
        &self,
        model: &ModelName,
        alias: &Alias,
        cached: &CachedVersion,
    ) -> Result<(), Error> {
        let (folder, registry) = (self.folder.clone(), self.registry);
        let (model, alias, cached) = (model.clone(), alias.clone(), cached.clone());
        blocking(move || folder.keep(&model, &alias, registry, &cached)).await
    }

    async fn last(&self, model: &ModelName, alias: &Alias) -> Result<Option<CachedVersion>, Error> {
        let (folder, registry) = (self.folder.clone(), self.registry);
        let (model, alias) = (model.clone(), alias.clone());
        blocking(move || folder.last(&model, &alias, registry)).await
    }
}

impl Folder {
    fn kept_in(&self, model: &ModelName, alias: &Alias) -> PathBuf {
        self.models().join(model.as_str()).join(alias.as_str())
    }

    pub(super) fn last(
        &self,
        model: &ModelName,
        alias: &Alias,
        registry: Fingerprint,
    ) -> Result<Option<CachedVersion>, Error> {
        // A writer removes what it has replaced.
        let _lock = self.begin()?;
        let place = self.kept_in(model, alias);
        for folder in [place.parent(), Some(&*place)].into_iter().flatten() {
            if !disk::is_folder(folder)? {
                return Ok(None);
            }
        }
        let path = place.join("kept.json");
        let Some(kept) = self.read::<Kept>(&path)? else { return Ok(None) };
        if (&kept.model, &kept.alias) != (model, alias) {
            return Err(corrupt(&path, &format!("is of {}@{}", kept.model, kept.alias)));
        }
        if kept.registry != registry {
            let path = path.display();
            let context = format!("{path} has version {} of another registry", kept.version);
            return Err(Error::new(ErrorKind::Conflict, COMPONENT, context));
        }
        let top = place.join(kept.folder.to_string());
        let files = read_files(&top, &kept.files, kept.digest, &path)?;
        Ok(Some(CachedVersion::new(kept.version, files, kept.kept_at)))
    }

    pub(super) fn keep(
        &self,
        model: &ModelName,
        alias: &Alias,
        registry: Fingerprint,
        cached: &CachedVersion,
    ) -> Result<(), Error> {
        let (files, digest) = (Entry::list(&cached.files), cached.files.digest());
        let _lock = self.begin()?;
        let place = self.kept_in(model, alias);
        for folder in [place.parent(), Some(&*place)].into_iter().flatten() {
            if !disk::is_folder(folder)? {
                self.disk.make_folder(folder)?;
            }
        }
        // Also those that a killed process has left, or a hand.
        let old: Vec<String> =
            disk::names(&place)?.into_iter().filter(|name| name != "kept.json").collect();
        let last = old.iter().filter_map(|name| name.parse().ok()).max();
        let number = last.unwrap_or(0_u64).checked_add(1);
        let number = number.ok_or_else(|| corrupt(&place, "has no number left for a folder"))?;
        let scratch = self.scratch("files")?;
        let written = self
            .write_files(&scratch, &cached.files)
            .and_then(|()| self.disk.publish(&scratch, &place.join(number.to_string())));
        self.tidied(&scratch, written)?;
        let kept = Kept {
            model: model.clone(),
            alias: alias.clone(),
            version: cached.version,
            registry,
            kept_at: cached.kept_at,
            folder: number,
            digest,
            files,
        };
        self.put(&place.join("kept.json"), &kept)?;
        for above in place.ancestors().skip(1).take(2) {
            self.disk.sync_folder(above)?;
        }
        // It is kept. What cannot be removed now is removed the next time.
        old.iter().for_each(|name| drop(self.disk.remove(&place.join(name))));
        Ok(())
    }
}
