//! A server that is not there, goes away, or comes back; a connection that breaks in a commit.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Migrate, PostgresStore};
use super::server::database;
use crate::conformance::traffic::Traffic;
use crate::ledger::LeaseStore;
use crate::log::{Appended, InferenceLog};
use crate::{Error, ErrorKind};

/// A cluster of one test alone, which it may stop.
pub(super) struct Cluster {
    // before the folder: what is mounted there goes first
    disk: Option<Disk>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// The script that starts servers; the package as it is published has none.
    pub(super) fn script() -> Option<PathBuf> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
        script.exists().then_some(script)
    }

    pub(super) fn new() -> Self {
        Self { disk: None, folder: tempfile::tempdir().unwrap() }
    }

    /// `None`, said aloud, where there are no servers for tests.
    pub(super) async fn of_its_own() -> Option<Self> {
        database().await?;
        let script = Self::script();
        if script.is_none() {
            eprintln!("SKIPPED: there is no scripts/services");
        }
        script.map(|_| Self::new())
    }

    /// On a disk of its own of so many MiB; `None`, said aloud, where there can be none.
    pub(super) fn on_a_small_disk(mib: u32) -> Option<Self> {
        let mut cluster = Self::new();
        cluster.disk = Some(Disk::new(cluster.folder.path(), mib)?);
        Self::script().is_some().then_some(cluster)
    }

    /// A file beside the servers' own.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Option<Command> {
        let mut command = Command::new(Self::script()?);
        command.args(arguments).env("PMMDS_TEST_SERVICES", self.folder.path().join("servers"));
        Some(command)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).unwrap().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) async fn up(&self) -> String {
        tokio::task::block_in_place(|| self.run(&["up", "postgres"]));
        self.run(&["url"]).trim().to_owned()
    }

    pub(super) async fn stop(&self, mode: &str) {
        tokio::task::block_in_place(|| self.run(&["stop", "postgres", mode]));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A panic here, in the midst of that of a test, would end all of them without a word.
        match self.command(&["down"]).map(|mut down| down.output()) {
            Some(Ok(output)) if output.status.success() => {}
            problem => eprintln!("scripts/services down: {problem:?}"),
        }
    }
}

/// A file system in memory.
struct Disk {
    place: PathBuf,
}

impl Disk {
    fn new(place: &Path, mib: u32) -> Option<Self> {
        let options = format!("size={mib}m,mode=755");
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place).output();
        match output {
            Ok(output) if output.status.success() => Some(Self { place: place.to_owned() }),
            // Past the capture of the test harness, which would keep it to itself.
            other => {
                let note = format!("SKIPPED: a disk of its own takes root: {other:?}\n");
                let _ = std::io::stderr().write_all(note.as_bytes());
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
    }
}

/// How it goes for somebody who writes.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) written: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// Sends batch after batch, each until it is acknowledged.
pub(super) async fn write(
    store: &PostgresStore,
    traffic: &Traffic,
    numbers: std::ops::Range<u64>,
    progress: &Progress,
) {
    for number in numbers {
        let batch = traffic.batch(number, 40);
        loop {
            match store.append(&batch).await {
                Ok(_) => break,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
                    progress.errors.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        progress.written.fetch_add(1, SeqCst);
    }
}

/// Waits until `done`, however busy the machine is.
pub(super) async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(600), "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// G1, G2
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_late_or_is_killed_loses_nothing() {
    let Some(cluster) = Cluster::of_its_own().await else { return };
    let url = cluster.up().await;
    cluster.stop("fast").await;
    let builder = || PostgresStore::builder(&url).connections(4);
    let begun = std::time::Instant::now();
    let error = builder().wait(Duration::from_millis(400)).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(begun.elapsed() < Duration::from_secs(60));

    let waiting = tokio::spawn(builder().wait(Duration::from_secs(300)).open());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    cluster.up().await;
    let store = waiting.await.unwrap().unwrap();

    // Killed twice in mid-load, with three writers at work.
    let traffic = Arc::new(Traffic::new());
    let (progress, over) = (Arc::new(Progress::default()), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..3_u64)
        .map(|writer| {
            let (store, traffic) = (store.clone(), Arc::clone(&traffic));
            let (progress, over) = (Arc::clone(&progress), Arc::clone(&over));
            tokio::spawn(async move {
                let mut next = 1_000_000 * writer;
                while !over.load(SeqCst) {
                    write(&store, &traffic, next..next + 1, &progress).await;
                    next += 1;
                }
            })
        })
        .collect();
    let lease = store.acquire_lease("turn", "a", Duration::from_secs(6_000)).await;
    let lease = lease.unwrap().unwrap();
    let more = async |what: &str, counter: fn(&Progress) -> &AtomicU64, more: u64| {
        let counter = counter(&progress);
        let before = counter.load(SeqCst);
        until(what, || counter.load(SeqCst) >= before + more).await;
    };
    let written: fn(&Progress) -> &AtomicU64 = |progress| &progress.written;
    let errors: fn(&Progress) -> &AtomicU64 = |progress| &progress.errors;
    for mode in ["immediate", "fast"] {
        more("they write", written, 30).await;
        cluster.stop(mode).await;
        more("a write meets the outage", errors, 1).await;
        cluster.up().await;
    }
    more("they write again", written, 30).await;
    over.store(true, SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let events = progress.written.load(SeqCst) * 40;
    assert_eq!(traffic.rows(&store).await, events, "each batch once");
    assert_eq!(traffic.events(&store).await.len() as u64, events);
    assert_eq!(store.lease("turn").await.unwrap(), Some(lease), "the lease is as it was");
    store.close().await;
}

/// What the proxy does with the next commit.
const PASS: u8 = 0;
const LOSE_THE_ANSWER: u8 = 1;
const LOSE_THE_COMMIT: u8 = 2;

/// Forwards connections to `server`, and breaks the one that commits as `orders` say.
async fn proxy(server: String, orders: Arc<AtomicU8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, orders) = (server.clone(), Arc::clone(&orders));
            tokio::spawn(async move {
                // An error is an end of the connection, which is what it is here for.
                let _ = forward(client, &server, &orders).await;
            });
        }
    });
    port
}

async fn forward(mut client: TcpStream, server: &str, orders: &AtomicU8) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            n = client.read(&mut from_client) => {
                let bytes = &from_client[..n?];
                let commits = bytes.windows(6).any(|word| word == b"COMMIT");
                let order = if commits { orders.swap(PASS, SeqCst) } else { PASS };
                if bytes.is_empty() || order == LOSE_THE_COMMIT {
                    return Ok(());
                }
                server.write_all(bytes).await?;
                if order == LOSE_THE_ANSWER {
                    // The server has answered by then, and nobody hears it.
                    let n = server.read(&mut from_server).await?;
                    assert!(n > 0);
                    return Ok(());
                }
            }
            n = server.read(&mut from_server) => {
                let bytes = &from_server[..n?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}

/// G7
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_the_commit_writes_once() {
    let Some(database) = database().await else { return };
    let orders = Arc::new(AtomicU8::new(PASS));
    let (before, address_and_name) = database.url.split_once('@').unwrap();
    let (address, name) = address_and_name.split_once('/').unwrap();
    let port = proxy(address.to_owned(), Arc::clone(&orders)).await;
    let store = PostgresStore::builder(format!("{before}@127.0.0.1:{port}/{name}"))
        .connections(1)
        .migrate(Migrate::Older)
        .open()
        .await
        .unwrap();
    let traffic = Traffic::new();
    store.append(&traffic.batch(0, 10)).await.unwrap();
    for (number, order, again) in [
        (1, LOSE_THE_ANSWER, Appended::AlreadyThere),
        (2, LOSE_THE_COMMIT, Appended::Written),
        (3, LOSE_THE_ANSWER, Appended::AlreadyThere),
    ] {
        orders.store(order, SeqCst);
        let batch = traffic.batch(number, 10);
        let error: Error = store.append(&batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
        assert_eq!(orders.load(SeqCst), PASS, "it met the commit");
        assert_eq!(store.append(&batch).await.unwrap(), again, "batch {number}");
    }
    assert_eq!(traffic.rows(&store).await, 40);
    let rows: i64 = database.value("SELECT count(*) FROM pmmds_store.prediction_logs").await;
    assert_eq!(rows, 40);
}
