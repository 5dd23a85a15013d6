//! What every [`ModelRegistry`] has to do.
//!
//! [`all`] runs the clauses that need nothing but a registry. Three more want a helping hand from
//! the one who knows the store: [`two_handles`], [`damage`] and [`outage`].
//!
//! ```
//! use pmmds::conformance::registry::{self, Options};
//! use pmmds::memory::MemoryRegistry;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! registry::all(async || MemoryRegistry::new(), &Options::new()).await;
//! # }
//! ```
//!
//! A clause by itself takes a registry and a model that nobody has used:
//!
//! ```
//! # use pmmds::conformance::registry::{self, Options};
//! # use pmmds::memory::MemoryRegistry;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let model = Options::new().model("tags");
//! registry::tags(&MemoryRegistry::new(), &model).await;
//! # }
//! ```

mod aliases;
mod artifacts;
mod given;
mod registrations;

use std::future::Future;
use std::sync::Arc;

use crate::registry::{ModelName, ModelRegistry};

pub use aliases::{
    absence_is_certain, compare_and_set, models_apart, names_are_checked, racing_setters, tags,
    two_aliases_on_one_version, two_handles,
};
pub use artifacts::{artifacts, damage, digests, outage};
pub use registrations::{
    numbers, order_and_absence, other_bytes_conflict, racing_for_one_run, racing_registrations,
    same_run_same_version,
};

/// What differs between stores, and nothing that the contract says.
///
/// ```
/// use pmmds::conformance::registry::Options;
///
/// // A server that keeps what earlier runs of the suite wrote, and is slow.
/// let options = Options::new().prefix("run-17").big_file(1_000_000).racers(3);
/// assert_eq!(options.model("tags").as_str(), "run-17-tags");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    // part of a model name
    prefix: String,
    big_file: usize,
    // at least 2
    racers: u64,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self { prefix: "conformance".to_owned(), big_file: 5_000_000, racers: 8 }
    }

    /// What the names of all models begin with. Another one for each run makes a server fresh
    /// that keeps what it was given. Defaults to `conformance`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Bytes of the largest file. Defaults to 5,000,000.
    pub fn big_file(mut self, bytes: usize) -> Self {
        self.big_file = bytes;
        self
    }

    /// How many callers race for one thing, at least 2. Defaults to 8.
    pub fn racers(mut self, racers: u64) -> Self {
        self.racers = racers.max(2);
        self
    }

    /// The model of the clause `clause`.
    ///
    /// # Panics
    ///
    /// When the prefix cannot begin a model name.
    #[must_use]
    pub fn model(&self, clause: &str) -> ModelName {
        let name = ModelName::new(format!("{}-{}", self.prefix, clause.replace("::", "-")));
        name.unwrap_or_else(|problem| panic!("prefix {:?}: {problem}", self.prefix))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs every clause that needs nothing but a registry, each on a fresh one from `make`.
///
/// "Fresh" means without the models of [`Options::prefix`]; one server may stand behind all of
/// them.
///
/// # Panics
///
/// When a clause is broken.
pub async fn all<R, Made>(make: impl Fn() -> Made + Send + Sync, options: &Options)
where
    R: ModelRegistry + 'static,
    Made: Future<Output = R> + Send,
{
    macro_rules! run {
        ($($clause:ident $(($option:ident))?),+ $(,)?) => {$(
            let model = options.model(stringify!($clause));
            $clause(&make().await, &model $(, options.$option)?).await;
        )+};
    }
    run!(
        numbers,
        same_run_same_version,
        other_bytes_conflict,
        racing_registrations(racers),
        racing_for_one_run(racers),
        order_and_absence,
        absence_is_certain,
        compare_and_set,
        racing_setters(racers),
        two_aliases_on_one_version,
        tags,
        names_are_checked,
        artifacts(big_file),
        digests,
    );
    let (one, other) = (options.model("apart-one"), options.model("apart-other"));
    models_apart(&make().await, &one, &other).await;

    let model = options.model("boxed");
    let boxed: Box<dyn ModelRegistry> = Box::new(make().await);
    compare_and_set(&boxed, &model).await;
    two_aliases_on_one_version(&boxed, &options.model("boxed-2")).await;
    let shared: Arc<dyn ModelRegistry> = Arc::new(boxed);
    tags(&shared, &options.model("shared")).await;
    same_run_same_version(&&shared, &options.model("shared-2")).await;
}
