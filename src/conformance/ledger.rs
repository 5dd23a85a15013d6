//! What every [`Ledger`] has to do.
//!
//! [`all`] runs every clause. Leases end by the clock of the store, so the suite has to wait: how is
//! an argument.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicI64, Ordering};
//! use pmmds::Timestamp;
//! use pmmds::conformance::ledger::{self, Options};
//! use pmmds::memory::MemoryLedger;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // A clock that only the suite moves. With a server: `tokio::time::sleep`.
//! let clock = Arc::new(AtomicI64::new(0));
//! let make = async || {
//!     let clock = Arc::clone(&clock);
//!     MemoryLedger::with_clock(move || {
//!         Timestamp::from_micros(clock.load(Ordering::SeqCst)).unwrap()
//!     })
//! };
//! let sleep = async |time: std::time::Duration| {
//!     clock.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
//! };
//! ledger::all(make, &Options::new(), sleep).await;
//! # }
//! ```

mod alerts;
mod decisions;
mod drift;
mod jobs;
mod leases;
mod records;

use std::future::Future;
use std::time::Duration;

use crate::ErrorKind;
use crate::ledger::Ledger;
use crate::registry::ModelName;

use records::{alert, assert_kind, at, empty, id};

pub use alerts::{alert_pages, alert_updates, alerts_once, racing_alerts};
pub use decisions::{decisions, retraining_runs};
pub use drift::{
    drift_run_pages, drift_runs_once, racing_drift_runs, references, unreadable_records,
};
pub use jobs::{job_expiry, jobs, racing_jobs};
pub use leases::{fenced_writes, lease_expiry, leases, racing_leases};

/// How the suite is run; nothing that the contract says.
///
/// ```
/// use std::time::Duration;
/// use pmmds::conformance::ledger::Options;
///
/// // A server that keeps what earlier runs of the suite wrote, and is slow.
/// let options = Options::new().prefix("run-17").lease(Duration::from_secs(3));
/// assert_eq!(options.model("alerts").as_str(), "run-17-alerts");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    // begins a model name
    prefix: String,
    // at least 2
    racers: usize,
    lease: Duration,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        let lease = Duration::from_millis(300);
        Self { prefix: "conformance".to_owned(), racers: 8, lease }
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

    /// Length of the leases that are waited for; nothing else has to happen in this time.
    /// Defaults to 300 ms.
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length;
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

/// Runs every clause, each on a fresh ledger from `make`. `sleep` lets the given time pass on the
/// clock of the store.
///
/// "Fresh" means without the models of [`Options::prefix`]; one server may stand behind all of
/// them.
///
/// # Panics
///
/// When a clause is broken.
pub async fn all<L, Made, Sleep>(
    make: impl Fn() -> Made + Send + Sync,
    options: &Options,
    sleep: impl Fn(Duration) -> Sleep + Send + Sync,
) where
    L: Ledger,
    Made: Future<Output = L> + Send,
    Sleep: Future<Output = ()> + Send,
{
    macro_rules! run {
        ($($clause:ident $(($option:ident))?),+ $(,)?) => {$(
            let model = options.model(stringify!($clause));
            $clause(&make().await, &model $(, options.$option)?).await;
        )+};
    }
    run!(
        nothing_there,
        drift_runs_once,
        racing_drift_runs(racers),
        drift_run_pages,
        unreadable_records,
        references,
        alerts_once,
        racing_alerts(racers),
        alert_updates,
        alert_pages,
        retraining_runs,
        decisions,
        leases,
        racing_leases(racers),
        fenced_writes,
        jobs,
        racing_jobs(racers),
    );
    lease_expiry(&make().await, &options.model("lease_expiry"), options.lease, &sleep).await;
    job_expiry(&make().await, &options.model("job_expiry"), options.lease, sleep).await;
}

/// What is not there is not found, and lists of an unknown model are empty.
///
/// # Panics
///
/// When the clause is broken.
pub async fn nothing_there(ledger: &dyn Ledger, model: &ModelName) {
    let nobody = id(model, "nobody", 0);
    assert_kind(ledger.drift_run(nobody).await, ErrorKind::NotFound);
    assert_kind(ledger.alert(nobody).await, ErrorKind::NotFound);
    assert_kind(ledger.update_alert(&alert(model, 0, "k", 0)).await, ErrorKind::NotFound);
    assert_kind(ledger.acknowledge_alert(nobody, None, at(0)).await, ErrorKind::NotFound);
    assert_kind(ledger.retraining_run(nobody).await, ErrorKind::NotFound);
    assert_kind(ledger.decision(nobody).await, ErrorKind::NotFound);
    assert_eq!(ledger.drift_runs(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.alerts(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.retraining_runs(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.decisions(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.references(model).await.unwrap(), []);
    assert_eq!(ledger.open_alerts(model).await.unwrap(), []);
    assert_eq!(ledger.lease(model.as_str()).await.unwrap(), None);

    assert_kind(ledger.drift_runs(model, None, 0).await, ErrorKind::InvalidInput);
    assert_kind(ledger.alerts(model, None, 0).await, ErrorKind::InvalidInput);
    assert_kind(ledger.retraining_runs(model, None, 0).await, ErrorKind::InvalidInput);
    assert_kind(ledger.decisions(model, None, 0).await, ErrorKind::InvalidInput);
}
