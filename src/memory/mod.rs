//! The I/O traits in memory: the reference that every other implementation is compared with, and
//! what tests and examples run on.
//!
//! Each keeps its contract to the letter, forgets everything when dropped, and needs neither a
//! runtime nor a clock: every future is ready at once, and the time is an argument.
//!
//! | trait | here |
//! |---|---|
//! | [`ModelRegistry`](crate::registry::ModelRegistry) | [`MemoryRegistry`] |
//! | [`InferenceLog`](crate::log::InferenceLog) | [`MemoryLog`] |
//! | [`Ledger`](crate::ledger::Ledger) | [`MemoryLedger`] |

mod ledger;
mod log;
mod registry;

pub use ledger::MemoryLedger;
pub use log::MemoryLog;
pub use registry::MemoryRegistry;

/// A clock at noon for the tests of this folder, and how to move it on.
#[cfg(test)]
pub(crate) fn test_clock()
-> (impl Fn() -> crate::Timestamp + Clone, impl Fn(std::time::Duration) + Clone) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

    let noon = 1_772_366_400_000_000;
    let micros = Arc::new(AtomicI64::new(noon));
    let hand = Arc::clone(&micros);
    let now = move || crate::Timestamp::from_micros(micros.load(SeqCst)).unwrap();
    let pass = move |time: std::time::Duration| {
        hand.fetch_add(i64::try_from(time.as_micros()).unwrap(), SeqCst);
    };
    (now, pass)
}
