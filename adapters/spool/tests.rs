use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use super::*;
use crate::conformance::log;
use crate::conformance::traffic::Traffic;
use crate::log::BatchId;
use crate::memory::MemoryLog;

mod behaviour;
mod faults;
pub(super) mod fuse;

fn memory() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::with_clock(|| "2026-03-01T12:00:00Z".parse().unwrap()))
}

fn options() -> log::Options {
    log::Options::new().deferred()
}

/// What was answered to request `number`.
fn reply(number: u64) -> Reply {
    let payload = crate::schema::Fingerprint::of_bytes(&number.to_le_bytes());
    Reply::new(uuid::Uuid::from_u128(number.into()), payload, vec![7; 500])
}

/// Long enough for whatever a busy machine does in between.
const LONG: Duration = Duration::from_secs(60);

async fn open(inner: Arc<dyn InferenceLog>, folder: &Path, fsync: Fsync) -> SpooledLog {
    SpooledLog::builder(inner, folder).fsync(fsync).patience(LONG).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_a_log() {
    let place = tempfile::tempdir().unwrap();
    let folders = AtomicU32::new(0);
    for (fsync, prefix) in [(Fsync::Each, "each"), (Fsync::default(), "within")] {
        let make = async || {
            let folder = place.path().join(folders.fetch_add(1, SeqCst).to_string());
            open(memory(), &folder, fsync).await
        };
        log::all(make, &options().prefix(prefix)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_behind_pointers() {
    let place = tempfile::tempdir().unwrap();
    let spool = open(memory(), place.path(), Fsync::default()).await;
    let make = async || Arc::new(spool.clone()) as Arc<dyn InferenceLog>;
    log::all(make, &options().prefix("arc").seed(2)).await;
    let make = async || Box::new(spool.clone()) as Box<dyn InferenceLog>;
    log::all(make, &options().prefix("box").seed(3)).await;
    let backlog = spool.close(LONG).await;
    let ends = backlog.events + backlog.replayed + backlog.quarantined + backlog.unreadable;
    assert_eq!((backlog.events, backlog.taken()), (0, ends));
    assert_eq!(backlog.quarantined, 2, "one event of each run was there already");
}
