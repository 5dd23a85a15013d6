use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::conformance::{ledger, log};
use crate::ledger::Ledger;
use crate::log::InferenceLog;

#[tokio::test]
async fn the_log_keeps_the_contract_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = std::sync::atomic::AtomicU32::new(0);
    let make = async || {
        let number = numbers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        SqliteStore::open(folder.path().join(format!("{number}.db"))).await.unwrap()
    };
    log::all(make, &log::Options::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_contract_in_memory_behind_pointers() {
    let make = async || Arc::new(SqliteStore::open_in_memory().await.unwrap()) as Arc<dyn InferenceLog>;
    log::all(make, &log::Options::new().seed(2)).await;
}

#[tokio::test]
async fn the_ledger_keeps_the_contract_in_a_file() {
    // One file for all clauses: as a server would be used.
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("pmmds.db")).await.unwrap();
    let options = ledger::Options::new().lease(Duration::from_millis(500));
    ledger::all(async || store.clone(), &options, tokio::time::sleep).await;
    let options = options.prefix("dyn");
    ledger::all(async || Arc::new(store.clone()) as Arc<dyn Ledger>, &options, tokio::time::sleep)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_keeps_the_contract_in_memory() {
    let options = ledger::Options::new().lease(Duration::from_millis(500));
    let make = async || SqliteStore::open_in_memory().await.unwrap();
    ledger::all(make, &options, tokio::time::sleep).await;
}
