//! What a model was trained on. Each version says so itself, so that it is known wherever the
//! registry is; where a file of that content is, this folder knows.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use pmmds::lifecycle::ServingModel;
use pmmds::model::{Progress, TrainedModel, Trainer};
use pmmds::record::Dataset;

use crate::Outcome;
use crate::data::{self, Source, TelcoCsv};
use crate::settings::Settings;
use crate::state::State;

/// Parameters of a version.
const NAME: &str = "data";
const SHA256: &str = "data_sha256";

/// The file of this folder that says where data has been found, by its hash.
const PLACES: &str = "places.json";

/// Data to train on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    // for a person
    name: String,
    sha256: String,
}

impl Origin {
    pub(crate) fn of(csv: &TelcoCsv) -> Self {
        let name = match &csv.source {
            Source::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into(),
            Source::Cache(_) | Source::Download { .. } => "IBM's Telco file".to_owned(),
            Source::Generated => "generated data".to_owned(),
        };
        Self { name, sha256: csv.sha256.clone() }
    }

    /// What a version says; `None` where it says nothing.
    fn said_by(serving: &ServingModel) -> Option<Self> {
        let params = &serving.artifact().training().params;
        Some(Self { name: params.get(NAME)?.clone(), sha256: params.get(SHA256)?.clone() })
    }

    /// The trainer of `state`, whose models say that they were trained on this.
    pub(crate) fn trainer(&self, state: &State) -> Arc<dyn Trainer> {
        Arc::new(Saying { trainer: Arc::clone(&state.trainer), origin: self.clone() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted: whoever named the file is not asking for the terminal.
        write!(f, "{:?}, SHA-256 {}", self.name, self.sha256)
    }
}

/// A trainer whose models say what they were trained on.
#[derive(Debug)]
struct Saying {
    trainer: Arc<dyn Trainer>,
    origin: Origin,
}

impl Trainer for Saying {
    fn name(&self) -> &str {
        self.trainer.name()
    }

    fn fit(&self, data: &Dataset, progress: &dyn Progress) -> Result<TrainedModel, pmmds::Error> {
        let Origin { name, sha256 } = &self.origin;
        Ok(self.trainer.fit(data, progress)?.param(NAME, name).param(SHA256, sha256))
    }
}

/// What production was trained on, with the version that says so.
#[derive(Debug)]
struct Remembered {
    origin: Origin,
    version: String,
}

impl Remembered {
    /// `None` where nothing is in production, or what is there does not say it.
    async fn of(state: &State) -> Outcome<Option<Self>> {
        let Some(serving) = state.production().await? else { return Ok(None) };
        let version = format!("v{}", serving.version());
        Ok(Origin::said_by(&serving).map(|origin| Self { origin, version }))
    }

    fn is(&self, csv: &TelcoCsv) -> bool {
        csv.sha256 == self.origin.sha256
    }

    /// The data, if it is on this machine, or can be made here.
    fn here(&self, state: &State) -> Option<TelcoCsv> {
        let known = places(state).remove(&self.origin.sha256);
        // What is gone or has changed is as good as not known.
        let file = known.and_then(|path| data::file(&path).ok());
        let cached = || data::downloaded(&state.data());
        file.filter(|csv| self.is(csv))
            .or_else(|| cached().filter(|csv| self.is(csv)))
            .or_else(|| Some(data::generated()).filter(|csv| self.is(csv)))
    }

    /// Why nothing is trained.
    fn absent(&self) -> String {
        let Self { origin, version } = self;
        format!(
            "{version}, which is in production, was trained on {origin}, and that is not here: \
             name it with --data FILE, or other data to train on from now on"
        )
    }
}

/// The data to train on: the file that is named; without one what production was trained on, and
/// never anything else; where there is no such thing, whatever there is. On stdout where it comes
/// from.
///
/// # Errors
///
/// When what production was trained on is not to be had.
pub(crate) async fn to_train_on(settings: &Settings, state: &State) -> Outcome<TelcoCsv> {
    let progress = ProgressBar::no_length();
    let mut csv = match (&settings.data, Remembered::of(state).await?) {
        (None, Some(remembered)) => match remembered.here(state) {
            Some(mut csv) => {
                csv.notes.push(format!("{}, in production, was trained on it", remembered.version));
                csv
            }
            None if remembered.origin.sha256 == data::SHA256 => {
                let downloaded = data::download(&state.data(), &progress).await;
                downloaded.map_err(|error| format!("{}; {error}", remembered.absent()))?
            }
            None => return Err(remembered.absent().into()),
        },
        (file, remembered) => {
            let mut csv = data::load(file.as_deref(), &state.data(), &progress).await?;
            if let Some(Remembered { origin, version }) = remembered.filter(|it| !it.is(&csv)) {
                csv.notes.push(format!("{version}, in production, was trained on {origin}"));
            }
            csv
        }
    };
    if let Some(why) = keep_place(state, &csv) {
        csv.notes.push(why);
    }
    say!("{csv}");
    Ok(csv)
}

/// The same as far as it is on this machine, for whoever cannot ask; or why it is not, such as that
/// the file that is named cannot be read.
///
/// # Errors
///
/// When what is in production cannot be told.
pub(crate) async fn on_this_machine(
    settings: &Settings,
    state: &State,
) -> Outcome<Result<TelcoCsv, String>> {
    if let Some(file) = &settings.data {
        let csv = data::file(file).map_err(|error| data::chain(&error));
        if let Some(why) = csv.as_ref().ok().and_then(|csv| keep_place(state, csv)) {
            tracing::warn!(file = %file.display(), why, "data to train on");
        }
        return Ok(csv);
    }
    Ok(match Remembered::of(state).await? {
        Some(remembered) => remembered.here(state).ok_or_else(|| remembered.absent()),
        None => {
            let csv = data::downloaded(&state.data());
            csv.ok_or_else(|| "there is no training data here".to_owned())
        }
    })
}

/// Where data has been found, by its hash. It is a hint: what is found there is hashed.
fn places(state: &State) -> BTreeMap<String, PathBuf> {
    let bytes = std::fs::read(state.data().join(PLACES)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Keeps where a file of the user's is; why not, if not.
fn keep_place(state: &State, csv: &TelcoCsv) -> Option<String> {
    let Source::File(path) = &csv.source else { return None };
    keep(state, &csv.sha256, path)
        .err()
        .map(|error| format!("where it is will not be known the next time: {error}"))
}

fn keep(state: &State, sha256: &str, path: &Path) -> std::io::Result<()> {
    let (mut places, path) = (places(state), std::path::absolute(path)?);
    if places.get(sha256) == Some(&path) {
        return Ok(());
    }
    places.insert(sha256.to_owned(), path);
    data::write_atomically(&state.data().join(PLACES), &serde_json::to_vec_pretty(&places)?)
}
