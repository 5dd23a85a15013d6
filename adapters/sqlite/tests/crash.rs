//! Several processes on one file, and their sudden end.
//!
//! The processes are this test program again, told by the environment what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::super::SqliteStore;
use crate::conformance::traffic::Traffic;
use crate::ledger::LeaseStore;
use crate::log::{Appended, InferenceLog};

const FILE: &str = "PMMDS_TEST_SQLITE_FILE";
const TASK: &str = "PMMDS_TEST_SQLITE_TASK";
const FIRST: &str = "PMMDS_TEST_SQLITE_FIRST";

/// Starts this program as a child that runs [`child`] alone.
fn start(file: &Path, task: &str, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite::tests::crash::child", "--nocapture"])
        .env(FILE, file)
        .env(TASK, task)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The lines of a child that begin with `pmmds`, split into words, as they come.
fn lines(output: impl Read) -> impl Iterator<Item = Vec<String>> {
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    // The test harness may have begun the first line.
    let ours = lines.filter_map(|line| Some(line.split_once("pmmds ")?.1.to_owned()));
    ours.map(|line| line.split(' ').map(str::to_owned).collect())
}

fn say(line: &str) {
    // Straight to the pipe, in one piece: what was said before a kill is said, and is whole.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("pmmds {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Events of a batch.
fn size(number: u64) -> u64 {
    [1, 3, 40, 200][usize::try_from(number % 4).unwrap()]
}

/// Does nothing in the test run itself.
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment is how a child is told its task")]
fn child() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let task = std::env::var(TASK).unwrap();
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Three that write at once take turns, which on a busy machine takes its time.
        let patient = SqliteStore::builder(&file).busy_timeout(Duration::from_secs(120));
        let store = patient.open().await.unwrap();
        match task.as_str() {
            "append" => append_for_ever(&store, first).await,
            "race" => race(&store, first).await,
            task => panic!("no task {task}"),
        }
    });
}

async fn append_for_ever(store: &SqliteStore, first: u64) {
    let traffic = Traffic::new();
    for number in first.. {
        let batch = traffic.batch(number, size(number));
        assert_eq!(store.append(&batch).await.unwrap(), Appended::Written);
        say(&format!("written {number}"));
    }
}

/// Notes the batch that a child says is written.
fn acknowledge(acknowledged: &mut BTreeSet<u64>, line: &[String]) {
    let [word, number] = line else { panic!("{line:?}") };
    assert_eq!(word, "written");
    assert!(acknowledged.insert(number.parse().unwrap()), "{number} is said twice");
}

async fn integrity(store: &SqliteStore) {
    let check: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(store.reads()).await.unwrap();
    assert_eq!(check, ["ok"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_acknowledged_batch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pmmds.db");
    let traffic = Traffic::new();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut acknowledged: BTreeSet<u64> = BTreeSet::new();
    let mut total = 0;
    for round in 0..20_u64 {
        // Far from what an earlier child wrote without being able to say so.
        let first = round * 1_000_000;
        let mut child = start(&file, "append", first);
        let output = child.stdout.take().unwrap();
        let (say, said) = mpsc::channel();
        let reader = std::thread::spawn(move || lines(output).try_for_each(|line| say.send(line)));
        // The first are killed while they open or migrate, the others in mid-load: not by the clock
        // from their start, which on a busy machine takes its time, but so many batches later.
        let batches = if round < 4 { 0 } else { 1 + random.next_u64() % 12 };
        for _ in 0..batches {
            acknowledge(&mut acknowledged, &said.recv().expect("the child is at work"));
        }
        let longer = if round < 4 { 5 + 5 * round } else { random.next_u64() % 10 };
        tokio::time::sleep(Duration::from_millis(longer)).await;
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it was at work");
        reader.join().unwrap().unwrap();
        for line in said {
            acknowledge(&mut acknowledged, &line);
        }

        let store = SqliteStore::open(&file).await.unwrap();
        integrity(&store).await;
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        for logged in traffic.events(&store).await {
            let number = u64::try_from(logged.event.id.as_u128() >> 64).unwrap();
            *found.entry(number).or_default() += 1;
        }
        for (number, rows) in &found {
            assert_eq!(*rows, size(*number), "batch {number} is there in full, once");
        }
        for number in &acknowledged {
            assert!(found.contains_key(number), "batch {number} was acknowledged");
        }
        // What is there but unsaid is known when it is sent again.
        if let Some((last, _)) = found.last_key_value() {
            let again = store.append(&traffic.batch(*last, size(*last))).await.unwrap();
            assert_eq!(again, Appended::AlreadyThere);
        }
        assert_eq!(traffic.rows(&store).await, found.values().sum::<u64>());
        total = found.len();
        store.close().await;
    }
    assert!(acknowledged.len() >= 16, "each that was killed in mid-load has said something");
    assert!(total >= acknowledged.len());
}

const RACERS: u64 = 3;
const SHARED: u64 = 60;

/// Sends batches that all racers send, and takes turns at a lease.
async fn race(store: &SqliteStore, racer: u64) {
    let traffic = Traffic::new();
    let owner = format!("racer {racer}");
    for number in 0..SHARED {
        let appended = store.append(&traffic.batch(number, 20)).await.unwrap();
        if appended == Appended::Written {
            say(&format!("written {number}"));
        }
        let length = Duration::from_secs(30);
        if let Some(lease) = store.acquire_lease("turn", &owner, length).await.unwrap() {
            let from = store.now().await.unwrap().as_micros();
            tokio::time::sleep(Duration::from_millis(2)).await;
            let to = store.now().await.unwrap().as_micros();
            say(&format!("turn {} {from} {to}", lease.token));
            store.release_lease(&lease).await.unwrap();
        }
    }
    say("done");
}

#[test]
fn processes_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    // Not there yet: they race for the migrations as well.
    let file = folder.path().join("pmmds.db");
    let children: Vec<Child> = (0..RACERS).map(|racer| start(&file, "race", racer)).collect();
    let mut written: Vec<u64> = Vec::new();
    let mut turns: Vec<(i64, i64, u64)> = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<_> = lines(&output.stdout[..]).collect();
        assert_eq!(lines.last().unwrap(), &["done"]);
        for line in lines {
            match &line[..] {
                [word, number] if word == "written" => written.push(number.parse().unwrap()),
                [word, token, from, to] if word == "turn" => {
                    let turn = (from.parse().unwrap(), to.parse().unwrap(), token.parse().unwrap());
                    turns.push(turn);
                }
                _ => {}
            }
        }
    }
    written.sort_unstable();
    assert!(written.iter().copied().eq(0..SHARED), "each batch once: {written:?}");

    turns.sort_unstable();
    assert!(turns.len() >= 20, "{turns:?}");
    for pair in turns.windows(2) {
        let ((_, end, token), (start, _, next)) = (pair[0], pair[1]);
        assert!(end <= start && token < next, "two at a time, or a token again: {pair:?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&file).await.unwrap();
        integrity(&store).await;
        assert_eq!(Traffic::new().rows(&store).await, 20 * SHARED);
    });
}
