//! What every [`InferenceLog`] has to do.
//!
//! [`all`] runs every clause. A clause by itself takes a log and a model that nobody has used:
//!
//! ```
//! use pmmds::Timestamp;
//! use pmmds::conformance::log::{self, Options};
//! use pmmds::memory::MemoryLog;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
//! log::all(async || MemoryLog::with_clock(move || noon), &Options::new()).await;
//!
//! let model = Options::new().model("outcomes");
//! log::outcomes(&MemoryLog::with_clock(move || noon), &model).await;
//! # }
//! ```

mod appends;
mod counts;
mod events;
mod given;
mod outcomes;

use std::future::Future;

use crate::drift::Counts;
use crate::log::InferenceLog;
use crate::registry::{ModelName, VersionId};

use given::{Traffic, ever, scan, scan_labelled};

pub use appends::{
    dropped_appends, large_batch, once, racing_appends, unique_requests, whole_or_not_at_all,
};
pub use counts::{apart, random_windows, rejections_alone};
pub use events::{extreme_numbers, pages, regressions, round_trip};
pub use outcomes::{labelled, outcomes, purge};

/// How the suite is run; nothing that the contract says.
///
/// ```
/// use pmmds::conformance::log::Options;
///
/// // A server that keeps what earlier runs of the suite wrote.
/// let options = Options::new().prefix("run-17").batches(20);
/// assert_eq!(options.model("pages").as_str(), "run-17-pages");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    // begins a model name
    prefix: String,
    // at least 2
    racers: usize,
    batches: u32,
    seed: u64,
    unique_requests: bool,
    deferred: bool,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        let prefix = "conformance".to_owned();
        Self { prefix, racers: 8, batches: 60, seed: 1, unique_requests: false, deferred: false }
    }

    /// What the names of all models begin with, and what all ids are made of. Another one for each
    /// run makes a server fresh that keeps what it was given. Defaults to `conformance`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many callers race for one thing, at least 2. Defaults to 8.
    pub fn racers(mut self, racers: usize) -> Self {
        self.racers = racers.max(2);
        self
    }

    /// How many random batches are counted in random windows, at least 1. Defaults to 60.
    pub fn batches(mut self, batches: u32) -> Self {
        self.batches = batches.max(1);
        self
    }

    /// Seed of the random batches and windows. Defaults to 1.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The log was told to keep one event per request id and model. Defaults to one that keeps all.
    pub fn unique_requests(mut self) -> Self {
        self.unique_requests = true;
        self
    }

    /// The log takes batches in before it asks the store, so that what the store refuses for ever is
    /// known only later, and left out. Defaults to one that answers for the store.
    pub fn deferred(mut self) -> Self {
        self.deferred = true;
        self
    }

    /// The model of the clause `clause`.
    ///
    /// # Panics
    ///
    /// When the prefix cannot begin a model name.
    #[must_use]
    pub fn model(&self, clause: &str) -> ModelName {
        let name = ModelName::new(format!("{}-{clause}", self.prefix));
        name.unwrap_or_else(|problem| panic!("prefix {:?}: {problem}", self.prefix))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs every clause, each on a fresh log from `make`.
///
/// "Fresh" means without the models of [`Options::prefix`], and without events and outcomes from
/// before 1900; one server may stand behind all of them.
///
/// # Panics
///
/// When a clause is broken.
pub async fn all<L, Made>(make: impl Fn() -> Made + Send + Sync, options: &Options)
where
    L: InferenceLog,
    Made: Future<Output = L> + Send,
{
    macro_rules! run {
        ($($clause:ident $(($($option:ident),+))?),+ $(,)?) => {$(
            let model = options.model(stringify!($clause));
            $clause(&make().await, &model $($(, options.$option)+)?).await;
        )+};
    }
    run!(
        nothing_there,
        once,
        racing_appends(racers),
        whole_or_not_at_all(deferred),
        dropped_appends,
        random_windows(batches, seed),
        apart,
        rejections_alone(deferred),
        round_trip,
        extreme_numbers,
        regressions,
        large_batch,
        pages,
        outcomes,
        labelled(unique_requests),
        purge,
        clock,
    );
    if options.unique_requests {
        run!(unique_requests);
    }
}

/// A model without events is no error: there is nothing.
///
/// # Panics
///
/// When the clause is broken.
pub async fn nothing_there(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let counts = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(counts.counts, Counts::empty(&traffic.profile));
    assert_eq!(counts.foreign_rows, 0);
    assert_eq!(scan(log, model, ever(), 10).await, []);
    assert_eq!(scan_labelled(log, model, ever(), 10).await, []);
}

/// The clock does not run backwards.
///
/// # Panics
///
/// When the clause is broken.
pub async fn clock(log: &dyn InferenceLog, _: &ModelName) {
    let mut last = log.now().await.expect("now");
    for _ in 0..100 {
        let now = log.now().await.expect("now");
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
}
