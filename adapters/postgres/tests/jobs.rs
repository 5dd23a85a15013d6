//! Work that is done once per slot, by however many processes.
//!
//! The processes are this test program again, told by the environment what to do.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::PostgresStore;
use super::server::database;
use crate::Timestamp;
use crate::ledger::{JobClaim, JobStore, LeaseStore};

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
        let slot = Timestamp::EPOCH;
        let claim = JobClaim { job: "monitor", slot, owner: &owner, lease: LEASE, attempts: 9 };
        let claim = store.claim_job(&claim).await.unwrap();
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
