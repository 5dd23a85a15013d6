//! The state folder: registry, database, data, and the lock that keeps a second writer out.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pmmds::Error;
use pmmds::drift::DriftDetector;
use pmmds::files::{FileCache, FileRegistry};
use pmmds::ledger::Ledger;
use pmmds::lifecycle::{AlertRules, Environment, Monitor, Promotion, ServingModel};
use pmmds::linfa::formats;
use pmmds::log::InferenceLog;
use pmmds::model::Trainer;
use pmmds::postgres::{Migrate, PostgresStore};
use pmmds::registry::{Alias, ModelCache, ModelName, ModelRegistry};
use pmmds::spool::{Fsync, SpooledLog};
use pmmds::sqlite::SqliteStore;
use pmmds::system::SystemEnvironment;
use tempfile::NamedTempFile;

use crate::Outcome;
use crate::settings::{Durability, Settings};

/// The file that names a folder among all that share the stores.
const OWNER: &str = "owner";

/// The file of log and ledger, where no database is named.
pub(crate) const SQLITE: &str = "pmmds.sqlite";

/// The lock of those who change what is in production.
pub(crate) const WRITER: &str = "lock";

/// The folder of the version that a service has loaded last.
const MODEL_CACHE: &str = "model-cache";

/// How long a look that was killed keeps others out.
const LOOK: Duration = Duration::from_secs(120);

/// Looks in a row without a verdict that open an alert.
const SILENT_LOOKS: u32 = 3;

/// How long a database is waited for before anybody is told, and after that: a server that starts
/// beside this process needs some seconds.
const IN_SILENCE: Duration = Duration::from_secs(5);
const ALOUD: Duration = Duration::from_secs(25);

type Stores = (Arc<dyn InferenceLog>, Arc<dyn Ledger>, Option<PostgresStore>);

/// What becomes of a process whose database does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutDatabase {
    /// It waits, and gives up.
    GiveUp,
    /// It goes on: what it is given waits on disk.
    GoOn,
}

/// Waits for the database, and says on stderr what for.
async fn wait_for(store: &PostgresStore, without: WithoutDatabase) -> Result<(), Error> {
    let Err(error) = store.opened(IN_SILENCE).await else { return Ok(()) };
    let why = error.chain();
    match without {
        _ if PostgresStore::is_refusal(&error) => Err(error),
        WithoutDatabase::GoOn => {
            eprintln!("starting without the database, which is opened when it answers: {why}");
            Ok(())
        }
        WithoutDatabase::GiveUp => {
            eprintln!("waiting for the database, {} s more: {why}", ALOUD.as_secs());
            store.opened(ALOUD).await
        }
    }
}

/// The name of `folder`, which it gets once.
fn owner_of(folder: &Path) -> Outcome<String> {
    let path = folder.join(OWNER);
    let failed = |e| format!("cannot name the owner in {}: {e}", path.display());
    if !path.exists() {
        let name = SystemEnvironment::new().new_id().to_string();
        let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(name.as_bytes()).map_err(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(e.error).into()),
        }
    }
    Ok(std::fs::read_to_string(&path).map_err(failed)?)
}

/// Everything that lasts, opened.
#[derive(Debug, Clone)]
pub(crate) struct State {
    folder: PathBuf,
    /// who takes turns: this folder. Its locks keep a second process out, so a turn that a killed
    /// one has left behind is taken up at once
    pub(crate) owner: String,
    pub(crate) log: Arc<dyn InferenceLog>,
    pub(crate) ledger: Arc<dyn Ledger>,
    /// what PostgreSQL has beside the traits
    pub(crate) postgres: Option<PostgresStore>,
    pub(crate) registry: Arc<dyn ModelRegistry>,
    /// address of the MLflow server that the registry is on, if it is on one
    mlflow: Option<String>,
    pub(crate) model: ModelName,
    pub(crate) alias: Alias,
    pub(crate) trainer: Arc<dyn Trainer>,
}

impl State {
    /// Opens the folder, which is made if it is not there, and waits for its database.
    pub(crate) async fn open(folder: &Path, settings: &Settings) -> Outcome<Self> {
        Self::open_or(folder, settings, WithoutDatabase::GiveUp).await
    }

    /// The same, `without` the database if that does not answer.
    pub(crate) async fn open_or(
        folder: &Path,
        settings: &Settings,
        without: WithoutDatabase,
    ) -> Outcome<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("cannot make the state folder {}: {e}", folder.display()))?;
        let (log, ledger, postgres): Stores = match settings.postgres() {
            None => {
                let store = SqliteStore::open(folder.join(SQLITE)).await?;
                (Arc::new(store.clone()), Arc::new(store), None)
            }
            Some(postgres) => {
                let migrate = if settings.migrate { Migrate::Older } else { Migrate::Fresh };
                let store = postgres.migrate(migrate).open_later()?;
                wait_for(&store, without).await?;
                (Arc::new(store.clone()), Arc::new(store.clone()), Some(store))
            }
        };
        let (registry, mlflow): (Arc<dyn ModelRegistry>, _) = match settings.mlflow()? {
            Some((mlflow, uri)) => (Arc::new(mlflow), Some(uri)),
            None => {
                let path = settings.registry.clone().unwrap_or_else(|| folder.join("registry"));
                (Arc::new(FileRegistry::open(path).await?), None)
            }
        };
        Ok(Self {
            folder: folder.to_owned(),
            owner: owner_of(folder)?,
            log,
            ledger,
            registry,
            mlflow,
            postgres,
            model: settings.model_name.clone(),
            alias: settings.model_alias.clone(),
            trainer: settings.trainer.trainer(),
        })
    }

    /// The same for a process that takes no lock of the folder: it is an owner of its own, so that
    /// turns keep out whoever else is at work in the folder.
    pub(crate) fn of_this_process(&self) -> Self {
        let process = SystemEnvironment::new().new_id();
        Self { owner: format!("{}/{process}", self.owner), ..self.clone() }
    }

    /// Where the download is kept.
    pub(crate) fn data_cache(folder: &Path) -> PathBuf {
        folder.join("data")
    }

    /// The same of this folder.
    pub(crate) fn data(&self) -> PathBuf {
        Self::data_cache(&self.folder)
    }

    /// A file of this folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Keeps others who take the lock `name` out for as long as the result lives.
    pub(crate) fn lock(&self, name: &str) -> Outcome<File> {
        let path = self.file(name);
        let file =
            File::create(&path).map_err(|e| format!("cannot open {}: {e}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(format!("another full_stack is at work in {}", self.folder.display()).into())
            }
            Err(TryLockError::Error(e)) => {
                Err(format!("cannot lock {}: {e}", path.display()).into())
            }
        }
    }

    /// The same with the log behind files of this folder, and those, if `durability` asks for it.
    /// One process at a time uses them.
    pub(crate) async fn spooled(
        self,
        durability: Durability,
    ) -> Outcome<(Self, Option<SpooledLog>)> {
        let fsync = match durability {
            Durability::Committed | Durability::Queued => return Ok((self, None)),
            Durability::Spool => Fsync::default(),
            Durability::SpoolSync => Fsync::Each,
        };
        let spool = SpooledLog::builder(self.log(), self.file("spool")).fsync(fsync);
        let spool = spool.open().await?;
        Ok((Self { log: Arc::new(spool.clone()), ..self }, Some(spool)))
    }

    /// Whether a service left files there: of what waits, or of answers that it gave.
    pub(crate) fn has_spooled(&self) -> bool {
        let files = std::fs::read_dir(self.file("spool")).into_iter().flatten().flatten();
        files.map(|file| file.path()).any(|path| path.extension().is_some_and(|e| e == "seg"))
    }

    pub(crate) fn log(&self) -> Arc<dyn InferenceLog> {
        Arc::clone(&self.log)
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Where a service keeps the version that it has loaded last, beside a registry that is somewhere
    /// else. One that cannot be used keeps nobody from serving.
    pub(crate) async fn model_cache(&self) -> Option<Arc<dyn ModelCache>> {
        match FileCache::open(self.file(MODEL_CACHE), self.mlflow.as_deref()?).await {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) => {
                let error = error.chain();
                tracing::error!(error, "there is no cache: no service starts without MLflow");
                None
            }
        }
    }

    pub(crate) fn promotion(&self) -> Promotion {
        let environment = Arc::new(SystemEnvironment::new());
        let (registry, owner) = (Arc::clone(&self.registry), self.owner.clone());
        Promotion::new(registry, self.log(), self.ledger(), environment, owner)
            .alias(self.alias.clone())
    }

    pub(crate) fn monitor(&self, settings: &Settings) -> Outcome<Monitor> {
        let rules = AlertRules::default()
            .enabled(settings.enable_alerts)
            .unknown_after(Some(SILENT_LOOKS))
            .prediction_drift(settings.alert_on_prediction_drift);
        let environment = Arc::new(SystemEnvironment::new());
        Ok(Monitor::new(self.log(), self.ledger(), environment, self.owner.clone())
            .lease(LOOK)
            .grace(settings.grace())
            .detector(DriftDetector::new(settings.drift())?)
            .rules(rules))
    }

    /// The version behind the alias, verified; `None` when there certainly is none.
    pub(crate) async fn production(&self) -> Outcome<Option<ServingModel>> {
        Ok(pmmds::lifecycle::load(&*self.registry, &formats(), &self.model, &self.alias).await?)
    }
}
