use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::conformance::traffic::Traffic;
use crate::conformance::{ledger, log};
use crate::ledger::Ledger;
use crate::log::InferenceLog;

mod crash;
mod damage;
mod faults;
mod migration;
mod plans;

#[tokio::test]
async fn the_log_keeps_the_contract_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = AtomicU32::new(0);
    let make = async || {
        let path = folder.path().join(format!("{}.db", files.fetch_add(1, SeqCst)));
        SqliteStore::open(path).await.unwrap()
    };
    log::all(make, &log::Options::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_contract_behind_pointers() {
    // One file for all clauses, as a server is used.
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("pmmds.db")).await.unwrap();
    let make = async || Arc::new(store.clone()) as Arc<dyn InferenceLog>;
    log::all(make, &log::Options::new().prefix("arc").seed(2)).await;
    let make = async || Box::new(store.clone()) as Box<dyn InferenceLog>;
    log::all(make, &log::Options::new().prefix("box").seed(3)).await;
}

#[tokio::test]
async fn the_log_keeps_the_contract_in_memory() {
    let make = async || SqliteStore::open_in_memory().await.unwrap();
    log::all(make, &log::Options::new().seed(4)).await;
}

#[tokio::test]
async fn the_ledger_keeps_the_contract_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("pmmds.db")).await.unwrap();
    let options = ledger::Options::new();
    ledger::all(async || store.clone(), &options, tokio::time::sleep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_keeps_the_contract_behind_pointers() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("pmmds.db")).await.unwrap();
    let make = async || Arc::new(store.clone()) as Arc<dyn Ledger>;
    ledger::all(make, &ledger::Options::new(), tokio::time::sleep).await;
}

#[tokio::test]
async fn the_ledger_keeps_the_contract_in_memory() {
    let make = async || SqliteStore::open_in_memory().await.unwrap();
    ledger::all(make, &ledger::Options::new(), tokio::time::sleep).await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "compares with the clock of the machine")]
async fn the_clock_is_the_machines() {
    let micros =
        || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros());
    let store = SqliteStore::open_in_memory().await.unwrap();
    let before = micros().unwrap();
    let now = store.now().await.unwrap().as_micros();
    assert!((before..=micros().unwrap()).contains(&now), "{now}");
}

#[tokio::test]
async fn what_was_written_is_there_after_closing_and_after_dropping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ünï code.db");
    let traffic = Traffic::new();
    for number in 0..4 {
        let store = SqliteStore::open(&path).await.unwrap();
        assert_eq!(traffic.rows(&store).await, 10 * number);
        store.append(&traffic.batch(number, 10)).await.unwrap();
        if number % 2 == 0 {
            store.close().await;
            assert!(!folder.path().join("ünï code.db-wal").exists(), "the log is in the file");
        }
    }
}
