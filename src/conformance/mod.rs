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

use uuid::Uuid;

use crate::Timestamp;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;

pub mod ledger;
pub mod log;
pub mod registry;
pub mod traffic;

// What the clauses write follows from the name of the model, so that a clause that runs again on a
// server that keeps things needs no more than another name.

/// So long after 2024-05-01T00:00:00Z.
fn at(micros: i64) -> Timestamp {
    const START: i64 = 1_714_521_600_000_000;
    Timestamp::from_micros(START + micros).expect("a year of four digits")
}

fn id(model: &ModelName, what: &str, number: u64) -> Uuid {
    let print = Fingerprint::of_bytes(format!("{model} {what} {number}").as_bytes());
    Uuid::from_u128(print.as_bytes()[..16].iter().fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

fn version(number: u64) -> VersionId {
    VersionId::new(number).expect("from 1")
}

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
