//! Why things are as they are: drift runs, alerts, retraining runs, promotion decisions, leases,
//! and the history of jobs.
//!
//! The [registry](crate::registry) says *what* is in production, the ledger *why*. Five small
//! traits, one per concern; a [`Ledger`] is all of them.
//!
//! Writes that must not be made by an owner who lost its turn carry the [`Lease`] they were made
//! under. The store checks its fencing token in the same transaction as the write (M. Kleppmann,
//! *How to do distributed locking*, 2016).

mod alerts;
mod decisions;
mod delivery;
mod drift;
mod jobs;
mod leases;
mod rules;

pub use alerts::{Alert, AlertStore};
pub use decisions::{
    DecisionKind, DecisionState, DecisionStore, PromotionDecision, RetrainingRun, RunState, Trigger,
};
pub use delivery::{AlertDelivery, AlertEvent, DeliveryState};
pub use drift::{DriftRun, DriftStore, ReferenceDataset};
pub use jobs::{JobClaim, JobRun, JobState, JobStore};
pub use leases::{Lease, LeaseStore};
pub use rules::{DecisionStep, Rules};

/// All of [`DriftStore`], [`AlertStore`], [`DecisionStore`], [`LeaseStore`] and [`JobStore`] in one
/// store.
///
/// # Contract
///
/// * What a write returned `Ok` for is there after a crash, as far as the store can make it.
/// * Lists are ordered by the time of the record, then by id. A page of 0 items is
///   [`InvalidInput`](crate::ErrorKind::InvalidInput).
/// * A write under a lease that was lost changes nothing and is a
///   [`Conflict`](crate::ErrorKind::Conflict). A lease that has expired is lost, also before
///   somebody else takes it.
/// * A record is stored if it can be read back: one with a number that JSON does not have, where
///   its type has no `None`, is [`InvalidInput`](crate::ErrorKind::InvalidInput).
///
/// # Implementing
///
/// Implement the five traits; this one follows. [`Rules`] has the decisions that every ledger
/// takes alike. Run `pmmds::conformance::ledger` (feature
/// `conformance`) on the implementation; the in-memory one in [`memory`](crate::memory) is the
/// reference.
///
/// ```
/// # use pmmds::{Timestamp, ledger::*, memory::MemoryLedger};
/// # use pmmds::registry::ModelName;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// # let model: ModelName = "churn".parse()?;
/// let ledger: &dyn Ledger = &ledger;
/// assert!(ledger.open_alerts(&model).await?.is_empty());
/// assert!(ledger.decisions(&model, None, 10).await?.items.is_empty());
/// # Ok(())
/// # }
/// ```
pub trait Ledger: DriftStore + AlertStore + DecisionStore + LeaseStore + JobStore {}

impl<T: DriftStore + AlertStore + DecisionStore + LeaseStore + JobStore + ?Sized> Ledger for T {}

const _: Option<&dyn Ledger> = None;
