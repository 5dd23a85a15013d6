//! Does a job at every moment of a schedule, once across all replicas (feature `schedule`).
//!
//! [`Schedule`] says which moments: every hour, or by a cron expression. [`Scheduler`] does the
//! work of each, in one of the processes that share a ledger.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use pmmds::ledger::JobStore;
//! use pmmds::memory::{MemoryLedger, MemoryLog};
//! use pmmds::schedule::{Schedule, Scheduler, Slot};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = || "2026-03-01T12:34:56Z".parse().unwrap();
//! let log = Arc::new(MemoryLog::with_clock(clock));
//! let ledger = Arc::new(MemoryLedger::with_clock(clock));
//! let hourly = Schedule::every(Duration::from_secs(3600))?;
//! let scheduler = Scheduler::new(ledger.clone(), log, "monitor/churn", hourly, "replica-1");
//!
//! // A service does this until it is told to stop; here it is told after a moment.
//! let work = async |slot: Slot| Ok(format!("looked at what came before {}", slot.at));
//! scheduler.run(work, tokio::time::sleep(Duration::from_millis(50))).await;
//!
//! let history = ledger.job_runs("monitor/churn", None, 10).await?;
//! assert_eq!(history[0].result.as_deref(), Some("looked at what came before 2026-03-01T12:00:00Z"));
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! * **Once.** Of all processes on one ledger, one does the work of a slot. If that one dies,
//!   another takes over when its lease has ended; work that was done half is done again, so it has
//!   to be such that this does no harm. The flows of [`lifecycle`](crate::lifecycle) are.
//! * **Never two at a time**, of one job: the next slot begins when the one before has ended, on
//!   whichever replica.
//! * **Caught up once.** After a sleep, or work that took longer than a slot, the newest slot that
//!   is due is done, and those between are passed over: their number is told.
//! * **On record.** Who did which slot, how often it was begun and what came of it, errors included,
//!   is in the ledger: [`JobStore::job_runs`](crate::ledger::JobStore::job_runs).
//! * **No time but the store's.** Which slot it is says the clock of the log; the timers of this
//!   machine only wake.

mod plan;
mod scheduler;
#[cfg(test)]
mod tests;
mod turn;

pub use plan::{Schedule, ScheduleError};
pub use scheduler::{Scheduler, Slot, SlotEnd};
