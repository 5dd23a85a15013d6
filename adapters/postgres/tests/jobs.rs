//! Work that is done once per slot, by however many processes.
//!
//! The processes are this test program again, told by the environment what to do.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::{JobState, PostgresStore};
use super::server::database;
use crate::ledger::LeaseStore;
use crate::{ErrorKind, Timestamp};

const URL: &str = "PMMDS_TEST_JOBS_URL";
const OWNER: &str = "PMMDS_TEST_JOBS_OWNER";
const RACERS: usize = 16;
const LEASE: Duration = Duration::from_secs(600);

/// Does nothing in the test run itself.
#[test]
fn child() {
    let Some(url) = std::env::var_os(URL) else { return };
    let owner = std::env::var(OWNER).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = url.into_string().unwrap();
        let store = PostgresStore::builder(url).connections(1).open().await.unwrap();
        let claim = store.claim_job("monitor", Timestamp::EPOCH, &owner, LEASE, 9).await.unwrap();
        let lease = store.acquire_lease("promote", &owner, Duration::from_secs(60)).await.unwrap();
        println!("pmmds {} {}", claim.is_some(), lease.is_some());
    });
}

/// How many of them got the slot, and the lease.
fn race(url: &str, round: &str) -> (usize, usize) {
    let children: Vec<Child> = (0..RACERS)
        .map(|racer| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "postgres::tests::jobs::child", "--nocapture"])
                .env(URL, url)
                .env(OWNER, format!("{round} {racer}"))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let (mut claims, mut leases) = (0, 0);
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let (_, answer) = said.split_once("pmmds ").unwrap();
        let mut words = answer.split_whitespace().map(|word| word == "true");
        claims += usize::from(words.next().unwrap());
        leases += usize::from(words.next().unwrap());
    }
    (claims, leases)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_processes_one_wins_and_one_takes_over() {
    let Some(database) = database().await else { return };
    // They race for the tables as well.
    let url = database.url.clone();
    assert_eq!(tokio::task::spawn_blocking(move || race(&url, "first")).await.unwrap(), (1, 1));
    // The winner is gone, and its time runs out.
    database.run("UPDATE pmmds_store.job_runs SET lease_until = now()").await;
    let url = database.url.clone();
    assert_eq!(tokio::task::spawn_blocking(move || race(&url, "second")).await.unwrap(), (1, 0));
    let attempt: i32 = database.value("SELECT attempt FROM pmmds_store.job_runs").await;
    assert_eq!(attempt, 2);
}

#[tokio::test]
async fn an_old_owner_changes_nothing() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let slot = Timestamp::EPOCH;
    let brief = Duration::from_millis(50);
    let claim = async |owner: &str, attempts| {
        store.claim_job("job", slot, owner, brief, attempts).await.unwrap()
    };
    let old = claim("a", 3).await.expect("nobody has it");
    assert_eq!(old.attempt, 1);
    assert_eq!(claim("b", 3).await, None, "somebody has it");
    assert_eq!(store.job("job", slot).await.unwrap(), Some(old.clone()));
    tokio::time::sleep(brief).await;
    let new = claim("b", 3).await.expect("it was not finished in time");
    assert_eq!((new.attempt, new.owner.as_str()), (2, "b"));
    let error = store.finish_job(&old, JobState::Done, Some("late")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    store.finish_job(&new, JobState::Failed, Some("no traffic")).await.unwrap();
    let last = claim("c", 3).await.expect("it failed, and an attempt is left");
    store.finish_job(&last, JobState::Failed, None).await.unwrap();
    assert_eq!(claim("d", 3).await, None, "no attempt is left");
    let again = claim("d", 4).await.expect("one more");
    store.finish_job(&again, JobState::Done, Some("stable")).await.unwrap();
    tokio::time::sleep(brief).await;
    assert_eq!(claim("e", 99).await, None, "it is done");
    let done = store.job("job", slot).await.unwrap().expect("it is on record");
    assert_eq!((&*done.owner, done.attempt, done.state), ("d", 4, JobState::Done));
    assert_eq!(done.result.as_deref(), Some("stable"));
    assert_eq!(store.job("another job", slot).await.unwrap(), None, "nobody has taken it");
    let other = store.claim_job("job", Timestamp::from_micros(1).unwrap(), "e", brief, 1).await;
    assert!(other.unwrap().is_some(), "another slot");
    let century = Duration::from_secs(101 * 366 * 86_400);
    let error = store.claim_job("job", slot, "a", century, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
