//! The state folder: registry, database, data, and the lock that keeps a second writer out.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pmmds::drift::DriftDetector;
use pmmds::files::FileRegistry;
use pmmds::ledger::Ledger;
use pmmds::lifecycle::{AlertRules, Monitor, Promotion, ServingModel};
use pmmds::linfa::formats;
use pmmds::log::InferenceLog;
use pmmds::model::Trainer;
use pmmds::postgres::{Migrate, PostgresStore};
use pmmds::registry::{Alias, ModelName, ModelRegistry};
use pmmds::sqlite::SqliteStore;
use pmmds::system::SystemEnvironment;

use crate::Outcome;
use crate::settings::Settings;

/// This program among all that share the stores. The locks of the folder, which has the registry,
/// keep a second one out, so a turn that a killed run has left behind is taken up at once.
const OWNER: &str = "full_stack";

/// The lock of those who change what is in production.
pub(crate) const WRITER: &str = "lock";

/// Everything that lasts, opened.
#[derive(Debug, Clone)]
pub(crate) struct State {
    folder: PathBuf,
    pub(crate) log: Arc<dyn InferenceLog>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) registry: Arc<dyn ModelRegistry>,
    pub(crate) model: ModelName,
    pub(crate) alias: Alias,
    pub(crate) trainer: Arc<dyn Trainer>,
}

impl State {
    /// Opens the folder, which is made if it is not there.
    pub(crate) async fn open(folder: &Path, settings: &Settings) -> Outcome<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("cannot make the state folder {}: {e}", folder.display()))?;
        let (log, ledger): (Arc<dyn InferenceLog>, Arc<dyn Ledger>) = match &settings.database_url {
            None => {
                let store = SqliteStore::open(folder.join("pmmds.sqlite")).await?;
                (Arc::new(store.clone()), Arc::new(store))
            }
            Some(url) => {
                let migrate = if settings.migrate { Migrate::Older } else { Migrate::Fresh };
                let store = PostgresStore::builder(url).migrate(migrate).open().await?;
                (Arc::new(store.clone()), Arc::new(store))
            }
        };
        Ok(Self {
            folder: folder.to_owned(),
            log,
            ledger,
            registry: Arc::new(FileRegistry::open(folder.join("registry")).await?),
            model: settings.model_name.clone(),
            alias: settings.model_alias.clone(),
            trainer: settings.trainer.trainer(),
        })
    }

    /// Where the download is kept.
    pub(crate) fn data_cache(folder: &Path) -> PathBuf {
        folder.join("data")
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

    pub(crate) fn log(&self) -> Arc<dyn InferenceLog> {
        Arc::clone(&self.log)
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.ledger)
    }

    pub(crate) fn promotion(&self) -> Promotion {
        let environment = Arc::new(SystemEnvironment::new());
        Promotion::new(Arc::clone(&self.registry), self.log(), self.ledger(), environment, OWNER)
            .alias(self.alias.clone())
    }

    pub(crate) fn monitor(&self, settings: &Settings) -> Outcome<Monitor> {
        let rules = AlertRules::default()
            .enabled(settings.enable_alerts)
            .prediction_drift(settings.alert_on_prediction_drift);
        let environment = Arc::new(SystemEnvironment::new());
        Ok(Monitor::new(self.log(), self.ledger(), environment, OWNER)
            .detector(DriftDetector::new(settings.drift())?)
            .rules(rules))
    }

    /// The version behind the alias, verified; `None` when there certainly is none.
    pub(crate) async fn production(&self) -> Outcome<Option<ServingModel>> {
        Ok(pmmds::lifecycle::load(&*self.registry, &formats(), &self.model, &self.alias).await?)
    }
}
