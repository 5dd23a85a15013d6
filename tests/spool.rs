//! The spool before a real store: the contract of a log, and the sudden end of the process.
//!
//! Processes are this test program again, told by the environment what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use pmmds::conformance::log;
use pmmds::conformance::traffic::Traffic;
use pmmds::log::{Appended, InferenceLog};
use pmmds::spool::{Fsync, SpooledLog};
use pmmds::sqlite::SqliteStore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const FOLDER: &str = "PMMDS_TEST_SPOOL_FOLDER";
const FIRST: &str = "PMMDS_TEST_SPOOL_FIRST";
const TASK: &str = "PMMDS_TEST_SPOOL_TASK";

/// Long enough for whatever a busy machine does in between.
const LONG: Duration = Duration::from_secs(60);

async fn open(folder: &Path, fsync: Fsync) -> (SpooledLog, SqliteStore) {
    let store = SqliteStore::open(folder.join("pmmds.db")).await.unwrap();
    let spool = SpooledLog::builder(Arc::new(store.clone()), folder.join("spool"));
    // Small files, so that some are begun and removed.
    let spool = spool.fsync(fsync).patience(LONG).segment_bytes(100_000);
    (spool.open().await.unwrap(), store)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_a_log_before_a_database() {
    let place = tempfile::tempdir().unwrap();
    let folders = AtomicU32::new(0);
    for (fsync, prefix) in [(Fsync::Each, "each"), (Fsync::default(), "within")] {
        let make = async || {
            let folder = place.path().join(folders.fetch_add(1, SeqCst).to_string());
            std::fs::create_dir(&folder).unwrap();
            open(&folder, fsync).await.0
        };
        log::all(make, &log::Options::new().deferred().prefix(prefix)).await;
    }
}

fn say(line: &str) {
    // Straight to the pipe: what was said before a kill is said.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("pmmds {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Passes the numbers of a child's lines on; the last line may be cut short, and then is no
/// acknowledgement.
fn pass_on(output: impl Read, numbers: &mpsc::Sender<u64>) {
    let mut reader = BufReader::new(output);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        // The test harness may have begun the first line.
        let said = line.split_once("pmmds kept ").and_then(|(_, said)| said.strip_suffix('\n'));
        if let Some(number) = said.and_then(|number| number.parse().ok()) {
            numbers.send(number).unwrap();
        }
        line.clear();
    }
}

/// Events of a batch.
fn size(number: u64) -> u64 {
    [1, 3, 40, 200][usize::try_from(number % 4).unwrap()]
}

/// Does nothing in the test run itself.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let fsync = if std::env::var(TASK).unwrap() == "each" { Fsync::Each } else { Fsync::default() };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (spool, _) = open(Path::new(&folder), fsync).await;
        let traffic = Arc::new(Traffic::new());
        // Several at once, so that they share a write.
        let callers = (0..3_u64).map(|caller| {
            let (spool, traffic) = (spool.clone(), Arc::clone(&traffic));
            tokio::spawn(async move {
                for number in (first + caller..).step_by(3) {
                    let batch = traffic.batch(number, size(number));
                    assert_eq!(spool.append(&batch).await.unwrap(), Appended::Written);
                    say(&format!("kept {number}"));
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_acknowledged_batch_and_doubles_none() {
    let place = tempfile::tempdir().unwrap();
    let traffic = Traffic::new();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut kept: BTreeSet<u64> = BTreeSet::new();
    let mut waited = 0;
    for round in 0..16_u64 {
        // Far from what an earlier child kept without being able to say so.
        let task = if round % 2 == 0 { "each" } else { "within" };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, place.path())
            .env(TASK, task)
            .env(FIRST, (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (passed, numbers) = mpsc::channel();
        let reader = std::thread::spawn(move || pass_on(output, &passed));
        // Some are killed while they open, most of them in mid-load: not by the clock from their
        // start, which on a busy machine takes its time, but so many batches later.
        let batches = if round < 4 { 0 } else { 1 + random.next_u32() % 20 };
        let mut said: Vec<u64> =
            (0..batches).map(|_| numbers.recv().expect("the child is at work")).collect();
        let longer = if round < 4 { 5 + 15 * round } else { random.next_u64() % 20 };
        tokio::time::sleep(Duration::from_millis(longer)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        said.extend(numbers);
        let last = said.last().copied();
        kept.extend(said);

        let (spool, store) = open(place.path(), Fsync::Each).await;
        waited += spool.backlog().unwrap().recovered;
        // What was said is known when it is sent again.
        if let Some(last) = last {
            let _ = spool.append(&traffic.batch(last, size(last))).await.unwrap();
        }
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        for logged in traffic.events(&spool).await {
            let number = u64::try_from(logged.event.id.as_u128() >> 64).unwrap();
            *found.entry(number).or_default() += 1;
        }
        for (number, rows) in &found {
            assert_eq!(*rows, size(*number), "batch {number} is there in full, once");
        }
        for number in &kept {
            assert!(found.contains_key(number), "batch {number} was acknowledged");
        }
        assert_eq!(traffic.rows(&spool).await, found.values().sum::<u64>());
        let end = spool.close(LONG).await;
        assert_eq!((end.events, end.damaged, end.unreadable), (0, 0, 0), "{end:?}");
        store.close().await;
    }
    assert!(kept.len() >= 12, "each that was killed in mid-load has said something");
    assert!(waited > 0, "no child was killed with events on disk");
}
