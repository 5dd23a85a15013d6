//! A log and a registry in memory that are down, slow or treacherous when a test says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pmmds::drift::Profile;
use pmmds::log::{
    Appended, BatchId, Cursor, EventBatch, InferenceEvent, InferenceLog, LabelledEvent,
    LoggedEvent, Outcome, OutcomeReceipt, Page, Purged, Reply, WindowCounts,
};
use pmmds::memory::MemoryLog;
use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, ModelVersion, VersionId};
use pmmds::{Error, ErrorKind, Timestamp, Window};
use uuid::Uuid;

use super::ledger::at;

/// What a driver says of an outage.
pub(crate) const CAUSE: &str = "store.internal:5432 refused the connection";

fn down(what: &'static str) -> Error {
    let cause = std::io::Error::other(CAUSE);
    Error::new(ErrorKind::Unavailable, what, "it is down").with_source(cause)
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LogMode {
    Up,
    Down,
    /// Writes, then answers an error, as a connection that breaks during a commit.
    WritesAndFails,
    /// Takes its time.
    Slow(Duration),
    /// Waits until it is told something else.
    Held,
    /// Says that the batch can never be written.
    Refuses,
    /// Says so of batches with this request.
    RefusesRequest(Uuid),
    Panics,
    /// Cannot say what was answered before.
    Forgets,
}

/// The mode once it is not `held`.
async fn let_go<T: Copy + PartialEq>(mode: &Mutex<T>, held: T) -> T {
    loop {
        let found = *mode.lock().unwrap();
        if found != held {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[derive(Debug)]
pub(crate) struct TestLog {
    // keeps the contract, and refuses what breaks it
    inner: MemoryLog,
    mode: Mutex<LogMode>,
    // what `inner` has taken
    batches: Mutex<Vec<EventBatch>>,
    outcomes: Mutex<HashMap<Uuid, f64>>,
    appends: Mutex<Vec<BatchId>>,
}

impl TestLog {
    pub(crate) fn new() -> Arc<Self> {
        // A year of its own, so that a test sees whose clock it was.
        Self::with_clock(|| at(0))
    }

    /// One whose time passes: where moments are compared.
    pub(crate) fn going() -> Arc<Self> {
        let started = Instant::now();
        Self::with_clock(move || at(0).saturating_add(started.elapsed()))
    }

    fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryLog::with_clock(clock),
            mode: Mutex::new(LogMode::Up),
            batches: Mutex::default(),
            outcomes: Mutex::default(),
            appends: Mutex::default(),
        })
    }

    pub(crate) fn set(&self, mode: LogMode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub(crate) fn batches(&self) -> Vec<EventBatch> {
        self.batches.lock().unwrap().clone()
    }

    pub(crate) fn events(&self) -> Vec<InferenceEvent> {
        self.batches().iter().flat_map(|batch| batch.events().to_vec()).collect()
    }

    /// Ids of the batches that were sent, again or not.
    pub(crate) fn attempts(&self) -> Vec<BatchId> {
        self.appends.lock().unwrap().clone()
    }

    pub(crate) fn outcome(&self, request_id: Uuid) -> Option<f64> {
        self.outcomes.lock().unwrap().get(&request_id).copied()
    }

    async fn gate(&self) -> Result<LogMode, Error> {
        match let_go(&self.mode, LogMode::Held).await {
            LogMode::Down => Err(down("test log")),
            mode => {
                if let LogMode::Slow(time) = mode {
                    tokio::time::sleep(time).await;
                }
                Ok(mode)
            }
        }
    }
}

#[async_trait]
impl InferenceLog for TestLog {
    async fn append(&self, batch: &EventBatch) -> Result<Appended, Error> {
        assert!(!batch.is_empty());
        self.appends.lock().unwrap().push(batch.id());
        let mode = self.gate().await?;
        let has = |id| batch.events().iter().any(|event| event.request_id == id);
        match mode {
            LogMode::Refuses => {
                return Err(Error::new(ErrorKind::InvalidInput, "test log", "never"));
            }
            LogMode::RefusesRequest(id) if has(id) => {
                return Err(Error::new(ErrorKind::InvalidInput, "test log", "not this one"));
            }
            LogMode::Panics => panic!("the store panics"),
            _ => {}
        }
        let appended = self.inner.append(batch).await?;
        if appended == Appended::Written {
            self.batches.lock().unwrap().push(batch.clone());
        }
        if mode == LogMode::WritesAndFails {
            return Err(down("test log"));
        }
        Ok(appended)
    }

    async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
        self.gate().await?;
        let receipt = self.inner.record_outcomes(outcomes).await?;
        let mut known = self.outcomes.lock().unwrap();
        known.extend(outcomes.iter().map(|outcome| (outcome.request_id, outcome.outcome)));
        Ok(receipt)
    }

    async fn counts(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error> {
        self.inner.counts(model, version, window, profile).await
    }

    async fn scan(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LoggedEvent>, Error> {
        self.inner.scan(model, window, after, limit).await
    }

    async fn labelled(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LabelledEvent>, Error> {
        self.inner.labelled(model, window, after, limit).await
    }

    async fn replies(&self, _: usize) -> Result<Vec<Reply>, Error> {
        match *self.mode.lock().unwrap() {
            LogMode::Forgets => Err(down("test log")),
            _ => Ok(Vec::new()),
        }
    }

    async fn purge(&self, before: Timestamp) -> Result<Purged, Error> {
        self.inner.purge(before).await
    }

    async fn now(&self) -> Result<Timestamp, Error> {
        self.gate().await?;
        self.inner.now().await
    }
}

/// The service only resolves and fetches.
fn never_asked() -> Error {
    Error::new(ErrorKind::NotSupported, "test registry", "the service never asks for this")
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RegistryMode {
    Up,
    Down,
    Slow(Duration),
    /// Waits until it is told something else.
    Held,
    /// Refuses the credentials.
    Unauthorized,
    /// Names versions, and cannot give their files.
    WithoutFiles,
    /// Names versions, and notices that their files do not come whole.
    Damages,
}

/// A registry that can be made to fail in ways that no real one does on demand: changed bytes, a
/// vanished alias, an answer that never comes. The story runs on the real one.
#[derive(Debug)]
pub(crate) struct TestRegistry {
    mode: Mutex<RegistryMode>,
    versions: Mutex<Vec<ArtifactFiles>>,
    production: Mutex<Option<VersionId>>,
    staging: Mutex<Option<VersionId>>,
    asked: Mutex<u64>,
    fetched: Mutex<u64>,
}

impl TestRegistry {
    /// With these versions, the first in production.
    pub(crate) fn with(versions: &[ArtifactFiles]) -> Arc<Self> {
        Arc::new(Self {
            mode: Mutex::new(RegistryMode::Up),
            versions: Mutex::new(versions.to_vec()),
            production: Mutex::new((!versions.is_empty()).then_some(VersionId::FIRST)),
            staging: Mutex::default(),
            asked: Mutex::new(0),
            fetched: Mutex::new(0),
        })
    }

    pub(crate) fn set(&self, mode: RegistryMode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Adds a version and puts it into production.
    pub(crate) fn promote(&self, files: ArtifactFiles) {
        let mut versions = self.versions.lock().unwrap();
        versions.push(files);
        *self.production.lock().unwrap() = VersionId::new(versions.len() as u64);
    }

    pub(crate) fn point_at(&self, version: Option<u64>) {
        *self.production.lock().unwrap() = version.and_then(VersionId::new);
    }

    pub(crate) fn stage(&self, version: u64) {
        *self.staging.lock().unwrap() = VersionId::new(version);
    }

    /// Replaces the files of version 1.
    pub(crate) fn tamper(&self, files: ArtifactFiles) {
        self.versions.lock().unwrap()[0] = files;
    }

    /// How often it was asked for anything, answered or not.
    pub(crate) fn asked(&self) -> u64 {
        *self.asked.lock().unwrap()
    }

    pub(crate) fn fetched(&self) -> u64 {
        *self.fetched.lock().unwrap()
    }

    async fn gate(&self) -> Result<(), Error> {
        *self.asked.lock().unwrap() += 1;
        match let_go(&self.mode, RegistryMode::Held).await {
            RegistryMode::Unauthorized => {
                Err(Error::new(ErrorKind::Unauthorized, "test registry", "who are you?"))
            }
            RegistryMode::Down => Err(down("test registry")),
            mode => {
                if let RegistryMode::Slow(time) = mode {
                    tokio::time::sleep(time).await;
                }
                Ok(())
            }
        }
    }
}

#[async_trait]
impl ModelRegistry for TestRegistry {
    async fn register(
        &self,
        _: &ModelName,
        _: &str,
        _: &ArtifactFiles,
    ) -> Result<ModelVersion, Error> {
        Err(never_asked())
    }

    async fn get(&self, _: &ModelName, _: VersionId) -> Result<ModelVersion, Error> {
        Err(never_asked())
    }

    async fn versions(&self, _: &ModelName) -> Result<Vec<ModelVersion>, Error> {
        Err(never_asked())
    }

    async fn resolve(&self, _: &ModelName, alias: &Alias) -> Result<Option<VersionId>, Error> {
        self.gate().await?;
        let staging = *alias == Alias::staging();
        Ok(*(if staging { &self.staging } else { &self.production }).lock().unwrap())
    }

    async fn set_alias(
        &self,
        _: &ModelName,
        _: &Alias,
        _: VersionId,
        _: Option<VersionId>,
    ) -> Result<(), Error> {
        Err(never_asked())
    }

    async fn fetch_artifact(
        &self,
        _: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error> {
        self.gate().await?;
        if *self.mode.lock().unwrap() == RegistryMode::WithoutFiles {
            return Err(down("test registry"));
        }
        *self.fetched.lock().unwrap() += 1;
        if *self.mode.lock().unwrap() == RegistryMode::Damages {
            return Err(Error::new(ErrorKind::Corrupt, "test registry", "model.json is cut off"));
        }
        let index = usize::try_from(version.number()).unwrap() - 1;
        let missing = || Error::new(ErrorKind::NotFound, "test registry", "no such version");
        self.versions.lock().unwrap().get(index).cloned().ok_or_else(missing)
    }

    async fn tag(&self, _: &ModelName, _: VersionId, _: &str, _: &str) -> Result<(), Error> {
        Err(never_asked())
    }
}
