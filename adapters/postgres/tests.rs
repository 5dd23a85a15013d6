//! Against a real server, named by `PMMDS_TEST_POSTGRES`: `scripts/services` starts one.

use std::sync::Arc;

use super::*;
use crate::conformance::{ledger, log};
use crate::ledger::Ledger;
use crate::log::InferenceLog;

mod disk;
mod faults;
mod jobs;
mod later;
mod maintain;
mod original;
mod outage;
mod own_table;
mod plans;
mod request_ids;
mod roll_ups;
mod schema;
mod server;

use server::database;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_contract() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    log::all(async || store.clone(), &log::Options::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_contract_behind_pointers_with_narrow_roll_ups() {
    let Some(database) = database().await else { return };
    let store = database.builder().roll_up(RollUp::FiveMinutes).open().await.unwrap();
    let make = async || Box::new(store.clone()) as Box<dyn InferenceLog>;
    log::all(make, &log::Options::new().prefix("box").seed(3)).await;
    // On a database that is in use, and whose buckets are added up.
    assert!(store.maintain().await.unwrap().buckets > 0);
    let make = async || Arc::new(store.clone()) as Arc<dyn InferenceLog>;
    log::all(make, &log::Options::new().prefix("arc").seed(2).batches(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_contract_with_unique_request_ids() {
    let Some(database) = database().await else { return };
    let options = log::Options::new().unique_requests();
    let store = database.builder().unique_request_ids().open().await.unwrap();
    log::all(async || store.clone(), &options).await;
    // It holds for the database, also for a store that does not ask for it, and for one that
    // adds up buckets.
    let other = database.store().await;
    assert!(other.maintain().await.unwrap().buckets > 0);
    log::all(async || other.clone(), &options.prefix("other")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_keeps_the_contract() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let options = ledger::Options::new();
    ledger::all(async || store.clone(), &options, tokio::time::sleep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_keeps_the_contract_behind_pointers() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let make = async || Arc::new(store.clone()) as Arc<dyn Ledger>;
    ledger::all(make, &ledger::Options::new(), tokio::time::sleep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_keep_the_contract_behind_pgbouncer() {
    let Some(database) = server::database_behind_pgbouncer().await else { return };
    let store = database.store().await;
    log::all(async || store.clone(), &log::Options::new().batches(20)).await;
    let options = ledger::Options::new();
    ledger::all(async || store.clone(), &options, tokio::time::sleep).await;
    store.maintain().await.unwrap();
}
