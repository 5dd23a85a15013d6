//! One suite per I/O trait, to run on an implementation of your own (feature `conformance`).
//!
//! Each clause of a contract is one function; it returns when the implementation keeps the clause
//! and panics with what was wrong when it does not. What stores cannot all do alike is a parameter
//! of the suite, never a clause left out.
//!
//! **Not API-stable**: a clause may be added in any release.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

pub mod ledger;
pub mod log;
pub mod registry;
pub mod traffic;

/// Runs futures side by side on the task of the caller and returns their results in order: a race
/// that needs no runtime.
pub(crate) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in running.iter_mut().zip(&mut outputs).filter(|(_, o)| o.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
