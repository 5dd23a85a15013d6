//! The model registry in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::registry::{
    Alias, AliasStep, ArtifactFiles, ModelName, ModelRegistry, ModelVersion, Rules, VersionId,
};
use crate::{Error, ErrorKind, Timestamp};

const COMPONENT: &str = "memory registry";
const RULES: Rules = Rules::new(COMPONENT);

/// A [`ModelRegistry`] in memory.
///
/// ```
/// use pmmds::memory::MemoryRegistry;
/// use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = MemoryRegistry::new();
/// let (model, production) = (ModelName::new("churn")?, Alias::production());
/// assert_eq!(registry.resolve(&model, &production).await?, None);
///
/// let mut files = ArtifactFiles::new();
/// files.insert("model.json", b"{}".to_vec())?;
/// let first = registry.register(&model, "run-1", &files).await?;
/// assert_eq!(first.version.to_string(), "1");
///
/// registry.set_alias(&model, &production, first.version, None).await?;
/// assert_eq!(registry.resolve(&model, &production).await?, Some(first.version));
/// assert_eq!(registry.fetch_artifact(&model, first.version).await?, files);
/// # Ok(())
/// # }
/// ```
pub struct MemoryRegistry {
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    models: BTreeMap<ModelName, Versions>,
}

#[derive(Debug, Default)]
struct Versions {
    // version n is at n - 1; `aliases` inside stays empty, the map below is the truth
    entries: Vec<(ModelVersion, ArtifactFiles)>,
    // each points at an entry
    aliases: BTreeMap<Alias, VersionId>,
}

impl Versions {
    fn position(&self, version: VersionId) -> Option<usize> {
        let position = usize::try_from(version.number() - 1).ok()?;
        (position < self.entries.len()).then_some(position)
    }

    fn describe(&self, position: usize) -> ModelVersion {
        let mut version = self.entries[position].0.clone();
        let here = self.aliases.iter().filter(|(_, at)| **at == version.version);
        version.aliases = here.map(|(alias, _)| alias.clone()).collect();
        version
    }
}

impl MemoryRegistry {
    /// An empty registry whose time is 1970-01-01T00:00:00Z plus one second per registration, so
    /// that what a test or an example prints is the same every time.
    #[must_use]
    pub fn new() -> Self {
        let seconds = Mutex::new(0);
        Self::with_clock(move || {
            let mut seconds = lock(&seconds);
            *seconds += 1;
            Timestamp::EPOCH.saturating_add(Duration::from_secs(*seconds))
        })
    }

    /// An empty registry that asks `clock` when a version is registered. The clock must not use
    /// the registry.
    ///
    /// ```
    /// use pmmds::memory::MemoryRegistry;
    /// use pmmds::registry::{ArtifactFiles, ModelName, ModelRegistry};
    /// use pmmds::Timestamp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
    /// let registry = MemoryRegistry::with_clock(move || noon);
    /// let model = ModelName::new("churn")?;
    /// let version = registry.register(&model, "run-1", &ArtifactFiles::new()).await?;
    /// assert_eq!(version.created_at, noon);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), state: Mutex::default() }
    }

    /// From now on every call answers [`Unavailable`](ErrorKind::Unavailable), until
    /// [`bring_up`](Self::bring_up): an outage, to test what it must not do.
    ///
    /// ```
    /// use pmmds::ErrorKind;
    /// use pmmds::memory::MemoryRegistry;
    /// use pmmds::registry::{Alias, ModelName, ModelRegistry};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (registry, model) = (MemoryRegistry::new(), ModelName::new("churn")?);
    /// registry.take_down();
    /// let error = registry.resolve(&model, &Alias::production()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Unavailable);
    /// registry.bring_up();
    /// assert_eq!(registry.resolve(&model, &Alias::production()).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_down(&self) {
        lock(&self.state).down = true;
    }

    /// Ends the outage that [`take_down`](Self::take_down) began; nothing was lost in it.
    pub fn bring_up(&self) {
        lock(&self.state).down = false;
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = lock(&self.state);
        if state.down {
            return Err(Error::new(ErrorKind::Unavailable, COMPONENT, "it was taken down"));
        }
        Ok(state)
    }
}

/// Every change below is made in one step after the last check, so that a panic in between, which
/// only a clock of the caller could raise, leaves nothing half done: poison means nothing here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        let models: BTreeSet<(&str, usize)> =
            state.models.iter().map(|(name, m)| (name.as_str(), m.entries.len())).collect();
        f.debug_struct("MemoryRegistry").field("models", &models).finish_non_exhaustive()
    }
}

#[async_trait]
impl ModelRegistry for MemoryRegistry {
    async fn register(
        &self,
        model: &ModelName,
        run_id: &str,
        files: &ArtifactFiles,
    ) -> Result<ModelVersion, Error> {
        RULES.run_id(run_id)?;
        let digest = files.digest();
        let mut state = self.state()?;
        let versions = state.models.entry(model.clone()).or_default();
        if let Some(known) = versions.entries.iter().position(|(v, _)| v.run_id == run_id) {
            RULES.same_run(&versions.entries[known].0, digest)?;
            return Ok(versions.describe(known));
        }
        let number = VersionId::new(versions.entries.len() as u64 + 1).unwrap_or(VersionId::FIRST);
        let version = ModelVersion::new(model.clone(), number, run_id, (self.clock)(), digest);
        versions.entries.push((version.clone(), files.clone()));
        Ok(version)
    }

    async fn get(&self, model: &ModelName, version: VersionId) -> Result<ModelVersion, Error> {
        let state = self.state()?;
        let found = state.models.get(model).and_then(|m| Some(m.describe(m.position(version)?)));
        found.ok_or_else(|| RULES.no_version(model, version))
    }

    async fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error> {
        let state = self.state()?;
        let all = state.models.get(model).map(|m| (0..m.entries.len()).map(|i| m.describe(i)));
        Ok(all.map(Iterator::collect).unwrap_or_default())
    }

    async fn resolve(&self, model: &ModelName, alias: &Alias) -> Result<Option<VersionId>, Error> {
        Ok(self.state()?.models.get(model).and_then(|m| m.aliases.get(alias).copied()))
    }

    async fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<(), Error> {
        let mut state = self.state()?;
        let versions = state.models.get_mut(model).filter(|m| m.position(version).is_some());
        let versions = versions.ok_or_else(|| RULES.no_version(model, version))?;
        let found = versions.aliases.get(alias).copied();
        if RULES.alias(model, alias, found, version, expected)? == AliasStep::Move {
            versions.aliases.insert(alias.clone(), version);
        }
        Ok(())
    }

    async fn fetch_artifact(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error> {
        let state = self.state()?;
        let found = state.models.get(model).and_then(|m| Some(&m.entries[m.position(version)?].1));
        found.cloned().ok_or_else(|| RULES.no_version(model, version))
    }

    async fn tag(
        &self,
        model: &ModelName,
        version: VersionId,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        RULES.tag(key, value)?;
        let mut state = self.state()?;
        let place = state.models.get_mut(model).and_then(|m| Some((m.position(version)?, m)));
        let (position, versions) = place.ok_or_else(|| RULES.no_version(model, version))?;
        versions.entries[position].0.tags.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::registry::{self as suite, Options};

    #[tokio::test]
    async fn it_keeps_the_contract() {
        suite::all(async || MemoryRegistry::new(), &Options::new()).await;
        suite::all(
            async || Arc::new(MemoryRegistry::new()) as Arc<dyn ModelRegistry>,
            &Options::new(),
        )
        .await;
        suite::all(
            async || Box::new(MemoryRegistry::new()) as Box<dyn ModelRegistry>,
            &Options::new(),
        )
        .await;
    }

    #[tokio::test]
    async fn it_keeps_the_contract_between_two_users_and_in_an_outage() {
        let registry = MemoryRegistry::new();
        let options = Options::new();
        suite::two_handles(&registry, &registry, &options.model("two_handles")).await;
        suite::outage(&registry, &options.model("outage"), async || registry.take_down()).await;
    }

    #[test]
    fn threads_get_a_version_each() {
        let registry = MemoryRegistry::new();
        let model = ModelName::new("m").unwrap();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (registry, model) = (&registry, &model);
                scope.spawn(move || {
                    runtime().block_on(async {
                        for run in 0..25 {
                            let files = ArtifactFiles::new();
                            let run = format!("run-{thread}-{run}");
                            registry.register(model, &run, &files).await.unwrap();
                        }
                    });
                });
            }
        });
        let all = runtime().block_on(registry.versions(&model)).unwrap();
        let numbers: Vec<u64> = all.iter().map(|v| v.version.number()).collect();
        assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    }

    #[test]
    fn debug_shows_no_bytes() {
        assert_eq!(format!("{:?}", MemoryRegistry::new()), "MemoryRegistry { models: {}, .. }");
    }
}
