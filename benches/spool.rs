//! What does it cost to have an answered prediction on local disk first, against a queue in memory
//! and against a commit in SQLite?
//!
//! One caller appends batches of 1, 32 and 1,000 rows to four logs in turn: one in memory, SQLite
//! that waits for the disk at every commit, and a spool at both of its levels whose store is down,
//! so that what is measured is the disk alone. At the end: bytes of the files per row.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pmmds::Timestamp;
use pmmds::log::{Backlog, InferenceLog};
use pmmds::memory::MemoryLog;
use pmmds::spool::{Fsync, SpooledLog};
use pmmds::sqlite::{SqliteStore, Synchronous};
use support::traffic::Traffic;
use support::{Limit, figure, measured, medians, ratio};

mod support;

/// Rows of a batch, and batches of a round.
const SIZES: [(u64, u64); 3] = [(1, 200), (32, 100), (1_000, 20)];

const NAMES: [&str; 4] =
    ["memory", "SQLite, full", "spool, within 50 ms", "spool, each on the disk"];

fn memory() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH))
}

fn spool(_: &mut Criterion) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    for (rows, batches) in SIZES {
        let batches = if measured() { batches } else { 2 };
        let place = tempfile::tempdir().expect("a folder");
        let sqlite = SqliteStore::builder(place.path().join("pmmds.db"));
        let sqlite = sqlite.synchronous(Synchronous::Full).open();
        let sqlite = runtime.block_on(sqlite).expect("a store");
        let down = memory();
        down.take_down();
        let [within, each] = [Fsync::default(), Fsync::Each].map(|fsync| {
            let folder = place.path().join(format!("{fsync:?}"));
            let spool =
                SpooledLog::builder(Arc::<MemoryLog>::clone(&down), folder).fsync(fsync).open();
            runtime.block_on(spool).expect("a spool")
        });
        let logs: [Arc<dyn InferenceLog>; 4] =
            [memory(), Arc::new(sqlite), Arc::new(within), Arc::new(each)];
        // Each log is given the same, made beforehand.
        let mut bodies = logs.clone().map(|log| {
            let (mut traffic, runtime) = (Traffic::new(), &runtime);
            move || {
                for _ in 0..batches {
                    let batch = traffic.batch(rows);
                    runtime.block_on(log.append(&batch)).expect("append");
                }
            }
        });
        let [memory, sqlite, within, each] = &mut bodies;
        let times = medians(7, [memory, sqlite, within, each]);
        let made = {
            let mut traffic = Traffic::new();
            medians(7, [&mut || (0..batches).for_each(|_| drop(traffic.batch(rows)))])[0]
        };
        let total = |time: f64| (time - made).max(f64::EPSILON);
        for (name, time) in NAMES.iter().zip(times) {
            let batches = f64::from(u32::try_from(batches).expect("a small number"));
            let rows = f64::from(u32::try_from(rows).expect("a small number"));
            let what = format!("batches of {rows}, {name}");
            figure(&what, batches * rows / total(time), "rows/s", Limit::None);
            ratio(&what, NAMES[1], total(time), total(times[1]), Limit::None);
        }
        for (name, log) in NAMES.iter().zip(&logs).skip(2) {
            let Backlog { events, bytes, .. } = log.backlog().expect("a spool has one");
            let bytes = u32::try_from(bytes / events.max(1)).expect("a small number");
            figure(
                &format!("batches of {rows}, {name}"),
                f64::from(bytes),
                "bytes/row",
                Limit::None,
            );
        }
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
}

criterion_group!(benches, spool);
criterion_main!(benches);
