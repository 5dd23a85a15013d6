//! The layout of the folder and what the registry does in it, blocking.

#![expect(clippy::disallowed_methods, reason = "the registry's clock is the clock of its machine")]

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::COMPONENT;
use super::disk::{self, Disk, Lock, corrupt, unavailable};
use super::document::{self, Aliases, Entry, Kind, MAX_DOCUMENT_BYTES, Manifest, Marker, Tags};
use crate::registry::{Alias, AliasStep, ArtifactFiles, ModelName, ModelVersion, Rules, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp};

const RULES: Rules = Rules::new(COMPONENT);

/// Where the time of a registration comes from.
#[derive(Clone)]
pub(super) struct Clock(pub(super) Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The clock of the machine; 1970 if it is set to a year that nobody writes.
fn machine_time() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()),
        Err(before) => i64::try_from(before.duration().as_micros()).map(i64::wrapping_neg),
    };
    micros.ok().and_then(|m| Timestamp::from_micros(m).ok()).unwrap_or(Timestamp::EPOCH)
}

/// A folder of ours and how to use it.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) kind: Kind,
    // absolute
    pub(super) root: Arc<Path>,
    pub(super) lock_timeout: Duration,
    pub(super) clock: Clock,
    pub(super) disk: Disk,
}

impl Folder {
    pub(super) fn open(path: &Path, make: bool) -> Result<Self, Error> {
        Self::open_on(path, Kind::ModelRegistry, make, Disk::default())
    }

    pub(super) fn open_on(path: &Path, kind: Kind, make: bool, disk: Disk) -> Result<Self, Error> {
        if make {
            disk.make_folders(path)?;
        }
        let root = path.canonicalize().map_err(|error| unavailable("open", path, error))?;
        let folder = Self {
            kind,
            root: root.into(),
            lock_timeout: Duration::from_secs(30),
            clock: Clock(Arc::new(machine_time)),
            disk,
        };
        if folder.marker()?.is_none() {
            if !make {
                return Err(folder.absent());
            }
            folder.initialise()?;
        }
        folder.in_sight()?;
        folder.clean();
        Ok(folder)
    }

    /// Makes an empty folder one of ours. The marker comes last, so that an interrupted start is
    /// taken up by the next.
    fn initialise(&self) -> Result<(), Error> {
        let ours = ["lock", "models", "tmp", self.kind.marker()];
        if let Some(name) = disk::names(&self.root)?.iter().find(|n| !ours.contains(&n.as_str())) {
            let (root, word) = (self.root.display(), self.kind.word());
            let context = format!("{root} is no {word} and not empty: it has {name}");
            return Err(Error::new(ErrorKind::InvalidInput, COMPONENT, context));
        }
        disk::make_lock(&self.lock_path())?;
        let _lock = self.wait_for_lock()?;
        if self.marker()?.is_some() {
            return Ok(()); // another process was faster
        }
        let models = self.models();
        if !disk::is_folder(&models)? {
            self.disk.make_folder(&models)?;
        } else if !disk::names(&models)?.is_empty() {
            return Err(corrupt(&self.marker_path(), "is missing, and there are models"));
        }
        self.put(&self.marker_path(), &Marker { kind: self.kind })?;
        // The root itself may be new; but the folder above need not be ours to open.
        let _ = self.root.parent().map(|above| self.disk.sync_folder(above));
        Ok(())
    }

    /// Removes what killed writers left, unless somebody is writing. A registry that can only be
    /// read stays readable, so nothing that fails here matters.
    fn clean(&self) {
        let _ = disk::make_lock(&self.lock_path());
        if let Ok(Some(_lock)) = disk::lock(&self.lock_path(), Duration::ZERO) {
            for name in disk::names(&self.tmp()).unwrap_or_default() {
                let _ = self.disk.remove(&self.tmp().join(name));
            }
        }
    }

    // ---- places

    fn marker_path(&self) -> PathBuf {
        self.root.join(self.kind.marker())
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    // ---- reading

    pub(super) fn read<T>(&self, path: &Path) -> Result<Option<T>, Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let bytes = disk::read_small(path, MAX_DOCUMENT_BYTES)?;
        bytes.map(|bytes| document::read(path, &bytes)).transpose()
    }

    fn marker(&self) -> Result<Option<Marker>, Error> {
        let path = self.marker_path();
        let marker: Option<Marker> = self.read(&path)?;
        match marker {
            Some(marker) if marker.kind != self.kind => {
                let what = format!("is of a {}, not of a {}", marker.kind.word(), self.kind.word());
                Err(corrupt(&path, &what))
            }
            marker => Ok(marker),
        }
    }

    fn absent(&self) -> Error {
        let context = format!(
            "{} has no {} with models/ beside it: removed, or not mounted?",
            self.root.display(),
            self.kind.marker()
        );
        Error::new(ErrorKind::Unavailable, COMPONENT, context)
    }

    /// That the registry is in sight. Asked *after* something was not found, so that its absence
    /// is a fact about the registry and not about the disk.
    pub(super) fn in_sight(&self) -> Result<(), Error> {
        if self.marker()?.is_none() || !disk::is_folder(&self.models())? {
            return Err(self.absent());
        }
        Ok(())
    }

    /// The folder of a model; `None` when it is certain that there is none.
    fn model(&self, model: &ModelName) -> Result<Option<PathBuf>, Error> {
        let models = self.models();
        let path = models.join(model.as_str());
        if disk::is_folder(&models)? && disk::is_folder(&path)? {
            return Ok(Some(path));
        }
        self.in_sight().map(|()| None)
    }

    /// The folder of a version, or `NotFound`.
    fn version(&self, model: &ModelName, version: VersionId) -> Result<PathBuf, Error> {
        if let Some(folder) = self.model(model)? {
            let path = versions_of(&folder)?.join(version.to_string());
            if disk::is_folder(&path)? {
                return Ok(path);
            }
        }
        Err(RULES.no_version(model, version))
    }

    /// Numbers of all versions in a model's folder, in order.
    fn numbers(&self, folder: &Path) -> Result<Vec<VersionId>, Error> {
        let versions = versions_of(folder)?;
        let names = disk::names(&versions)?;
        let mut numbers: Vec<VersionId> = names.iter().filter_map(|n| n.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn manifest(&self, model: &ModelName, version: VersionId) -> Result<Manifest, Error> {
        let path = self.version(model, version)?.join("manifest.json");
        let manifest: Manifest = self.read(&path)?.ok_or_else(|| corrupt(&path, "is missing"))?;
        if (&manifest.model, manifest.version) != (model, version) {
            let what = format!("belongs to version {} of {}", manifest.version, manifest.model);
            return Err(corrupt(&path, &what));
        }
        RULES
            .run_id(&manifest.run_id)
            .map_err(|problem| corrupt(&path, "has an impossible run").with_source(problem))?;
        Ok(manifest)
    }

    fn aliases(&self, model: &ModelName, folder: &Path) -> Result<Aliases, Error> {
        let path = folder.join("aliases.json");
        let aliases: Aliases = self.read(&path)?.ok_or_else(|| corrupt(&path, "is missing"))?;
        if &aliases.model != model {
            return Err(corrupt(&path, &format!("belongs to {}", aliases.model)));
        }
        Ok(aliases)
    }

    fn tags(&self, model: &ModelName, folder: &Path, version: VersionId) -> Result<Tags, Error> {
        let path = tags_path(folder, version);
        let tags: Tags = self.read(&path)?.ok_or_else(|| corrupt(&path, "is missing"))?;
        if (&tags.model, tags.version) != (model, version) {
            let what = format!("belongs to version {} of {}", tags.version, tags.model);
            return Err(corrupt(&path, &what));
        }
        for (key, value) in &tags.tags {
            RULES
                .tag(key, value)
                .map_err(|problem| corrupt(&path, "has an impossible tag").with_source(problem))?;
        }
        Ok(tags)
    }

    fn describe(
        &self,
        folder: &Path,
        manifest: Manifest,
        aliases: &Aliases,
    ) -> Result<ModelVersion, Error> {
        let Manifest { model, version, run_id, created_at, digest, .. } = manifest;
        let tags = self.tags(&model, folder, version)?.tags;
        let here = aliases.aliases.iter().filter(|(_, at)| **at == version);
        let mut described = ModelVersion::new(model, version, run_id, created_at, digest);
        described.aliases = here.map(|(alias, _)| alias.clone()).collect();
        described.tags = tags;
        Ok(described)
    }

    pub(super) fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error> {
        let manifest = self.manifest(model, version)?;
        let Some(folder) = self.model(model)? else {
            return Err(RULES.no_version(model, version));
        };
        self.describe(&folder, manifest, &self.aliases(model, &folder)?)
    }

    pub(super) fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error> {
        let Some(folder) = self.model(model)? else { return Ok(Vec::new()) };
        let aliases = self.aliases(model, &folder)?;
        let one = |number| self.describe(&folder, self.manifest(model, number)?, &aliases);
        self.numbers(&folder)?.into_iter().map(one).collect()
    }

    pub(super) fn resolve(
        &self,
        model: &ModelName,
        alias: &Alias,
    ) -> Result<Option<VersionId>, Error> {
        let Some(folder) = self.model(model)? else { return Ok(None) };
        Ok(self.aliases(model, &folder)?.aliases.get(alias).copied())
    }

    pub(super) fn fetch(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error> {
        let manifest = self.manifest(model, version)?;
        let folder = self.version(model, version)?;
        let Manifest { files, digest, .. } = &manifest;
        read_files(&folder.join("files"), files, *digest, &folder.join("manifest.json"))
    }

    // ---- writing

    pub(super) fn wait_for_lock(&self) -> Result<Lock, Error> {
        let path = self.lock_path();
        disk::lock(&path, self.lock_timeout)?.ok_or_else(|| {
            let context = format!(
                "{} was held by others for {:?}, the time to wait for it",
                path.display(),
                self.lock_timeout
            );
            Error::new(ErrorKind::Unavailable, COMPONENT, context)
        })
    }

    /// The lock, with the registry in sight.
    pub(super) fn begin(&self) -> Result<Lock, Error> {
        // First, because a lock in a folder that is no registry any more means nothing.
        self.in_sight()?;
        let lock = self.wait_for_lock()?;
        self.in_sight()?;
        Ok(lock)
    }

    /// A free place in `tmp/`. Under the lock there is no other writer: what is there is garbage.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        if !disk::is_folder(&self.tmp())? {
            self.disk.make_folder(&self.tmp())?;
        }
        let path = self.tmp().join(name);
        self.disk.remove(&path)?;
        Ok(path)
    }

    /// Writes or replaces a document. Under the lock.
    pub(super) fn put<T: Serialize>(&self, path: &Path, content: &T) -> Result<(), Error> {
        let bytes = document::write(path, content)?;
        let scratch = self.scratch("document")?;
        let done =
            self.disk.write_file(&scratch, &bytes).and_then(|()| self.disk.publish(&scratch, path));
        self.tidied(&scratch, done)
    }

    /// On an error gives back the room that was taken, if that is possible.
    pub(super) fn tidied<T>(&self, scratch: &Path, done: Result<T, Error>) -> Result<T, Error> {
        if done.is_err() {
            let _ = self.disk.remove(scratch);
        }
        done
    }

    pub(super) fn register(
        &self,
        model: &ModelName,
        run_id: &str,
        files: &ArtifactFiles,
    ) -> Result<ModelVersion, Error> {
        RULES.run_id(run_id)?;
        // Hashing takes its time; others may write meanwhile.
        let entries = Entry::list(files);
        let digest = files.digest();
        let _lock = self.begin()?;
        let folder = match self.model(model)? {
            Some(folder) => folder,
            None => self.make_model(model)?,
        };
        let aliases = self.aliases(model, &folder)?;
        let numbers = self.numbers(&folder)?;
        for number in &numbers {
            let manifest = self.manifest(model, *number)?;
            if manifest.run_id == run_id {
                let known = self.describe(&folder, manifest, &aliases)?;
                RULES.same_run(&known, digest)?;
                // Whoever wrote it may have been killed just before this.
                self.disk.sync_folder(&versions_of(&folder)?)?;
                self.disk.sync_folder(&self.models())?;
                return Ok(known);
            }
        }
        let last = numbers.last().map_or(0, |last| last.number());
        let number = last.checked_add(1).and_then(VersionId::new);
        let number = number.ok_or_else(|| corrupt(&folder, "has no number left for a version"))?;
        let manifest = Manifest {
            model: model.clone(),
            version: number,
            run_id: run_id.to_owned(),
            created_at: (self.clock.0)(),
            digest,
            files: entries,
        };
        let scratch = self.scratch("version")?;
        let place = versions_of(&folder)?.join(number.to_string());
        let done = self
            .write_version(&scratch, &manifest, files)
            .and_then(|()| self.disk.publish(&scratch, &place));
        self.tidied(&scratch, done)?;
        // Whoever made the folder of the model may have been killed just before this.
        self.disk.sync_folder(&self.models())?;
        self.describe(&folder, manifest, &aliases)
    }

    /// Makes the folder of a model, which appears with all that it must have.
    fn make_model(&self, model: &ModelName) -> Result<PathBuf, Error> {
        let scratch = self.scratch("model")?;
        let place = self.models().join(model.as_str());
        let write = || {
            self.disk.make_folder(&scratch)?;
            self.disk.make_folder(&scratch.join("versions"))?;
            let path = scratch.join("aliases.json");
            let none = Aliases { model: model.clone(), aliases: BTreeMap::new() };
            self.disk.write_file(&path, &document::write(&path, &none)?)?;
            self.disk.sync_folder(&scratch)?;
            self.disk.publish(&scratch, &place)
        };
        self.tidied(&scratch, write())?;
        Ok(place)
    }

    /// Writes a whole version, down to the disk.
    fn write_version(
        &self,
        folder: &Path,
        manifest: &Manifest,
        files: &ArtifactFiles,
    ) -> Result<(), Error> {
        self.disk.make_folder(folder)?;
        self.write_files(&folder.join("files"), files)?;
        let (model, version) = (manifest.model.clone(), manifest.version);
        let path = folder.join("tags.json");
        let tags = Tags { model, version, tags: BTreeMap::new() };
        self.disk.write_file(&path, &document::write(&path, &tags)?)?;
        let path = folder.join("manifest.json");
        self.disk.write_file(&path, &document::write(&path, manifest)?)?;
        self.disk.sync_folder(folder)
    }

    /// Writes the files of an artifact into the new folder `top`, down to the disk.
    pub(super) fn write_files(&self, top: &Path, files: &ArtifactFiles) -> Result<(), Error> {
        let mut made = vec![top.to_owned()];
        self.disk.make_folder(top)?;
        for (name, bytes) in files.iter() {
            let path = top.join(name);
            let above: Vec<&Path> =
                path.ancestors().skip(1).take_while(|above| *above != top).collect();
            for above in above.into_iter().rev() {
                if !made.iter().any(|known| known == above) {
                    self.disk.make_folder(above)?;
                    made.push(above.to_owned());
                }
            }
            self.disk.write_file(&path, bytes)?;
        }
        made.iter().rev().try_for_each(|folder| self.disk.sync_folder(folder))
    }

    pub(super) fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<(), Error> {
        let _lock = self.begin()?;
        self.manifest(model, version)?;
        let Some(folder) = self.model(model)? else {
            return Err(RULES.no_version(model, version));
        };
        let mut aliases = self.aliases(model, &folder)?;
        let found = aliases.aliases.get(alias).copied();
        match RULES.alias(model, alias, found, version, expected)? {
            AliasStep::Move => {
                aliases.aliases.insert(alias.clone(), version);
                self.put(&folder.join("aliases.json"), &aliases)
            }
            // Whoever moved it may have been killed just before this.
            AliasStep::Keep => self.disk.sync_folder(&folder),
        }
    }

    pub(super) fn tag(
        &self,
        model: &ModelName,
        version: VersionId,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        RULES.tag(key, value)?;
        let _lock = self.begin()?;
        self.manifest(model, version)?;
        let Some(folder) = self.model(model)? else {
            return Err(RULES.no_version(model, version));
        };
        let mut tags = self.tags(model, &folder, version)?;
        tags.tags.insert(key.to_owned(), value.to_owned());
        self.put(&tags_path(&folder, version), &tags)
    }
}

/// The folder of a model's versions, which is there from the first moment.
fn versions_of(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("versions");
    if disk::is_folder(&path)? { Ok(path) } else { Err(corrupt(&path, "is missing")) }
}

fn tags_path(folder: &Path, version: VersionId) -> PathBuf {
    folder.join("versions").join(version.to_string()).join("tags.json")
}

/// The files in the folder `top` that the document at `list` lists, each with its sum, and all of
/// them with their digest.
pub(super) fn read_files(
    top: &Path,
    entries: &[Entry],
    digest: Fingerprint,
    list: &Path,
) -> Result<ArtifactFiles, Error> {
    document::check_entries(entries, list)?;
    let mut files = ArtifactFiles::new();
    for entry in entries {
        // Every folder on the way is one of ours, not a link.
        let mut path = top.to_owned();
        for part in entry.name.split('/') {
            if !disk::is_folder(&path)? {
                return Err(corrupt(&path.join(part), "is missing"));
            }
            path.push(part);
        }
        let bytes = disk::read_sized(&path, entry.bytes)?;
        let sum = Fingerprint::of_bytes(&bytes);
        if sum != entry.sha256 {
            let what =
                format!("has the SHA-256 {}..., not {}...", sum.short(), entry.sha256.short());
            return Err(corrupt(&path, &what));
        }
        files
            .insert(entry.name.as_str(), bytes)
            .map_err(|problem| corrupt(&path, "cannot be taken").with_source(problem))?;
    }
    if files.digest() != digest {
        return Err(corrupt(list, "has a digest that is not the one of its files"));
    }
    Ok(files)
}
