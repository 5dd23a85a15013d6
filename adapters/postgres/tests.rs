//! Against a real server, named by `PMMDS_TEST_POSTGRES`: `scripts/services` starts one.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;
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
mod tls;

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

proptest! {
    #[test]
    fn any_text_is_a_database_or_an_error_and_no_secret_is_told(
        text in any::<String>(),
        parts in prop::collection::vec(prop::sample::select(&[
            "a", "@", ":", "/", "?", "&", "=", "%", "%00", "%2f", "[::1]", "[", "5432", "99999", "#",
            "sslmode=", "require", "sslrootcert=", "host=", "hostaddr=", "port=", "options[", "]=", "é",
            "statement-cache-capacity=", " ", "\n",
        ][..]), 0..8),
    ) {
        let rest = parts.concat();
        for url in [
            text.clone(),
            rest.clone(),
            format!("postgres://{text}"),
            format!("postgres://{rest}"),
            format!("postgresql://user:canary@{rest}"),
            format!("postgres://user:canary{rest}@db.internal/shop"),
        ] {
            let builder = PostgresStore::builder(url);
            match builder.target() {
                Ok(target) => prop_assert!(!target.contains("canary") || rest.contains(['/', '?', '#'])),
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
                    prop_assert!(!error.chain().contains("canary"), "{}", error.chain());
                }
            }
            let shown = format!("{builder:?}");
            prop_assert!(!shown.contains("canary"));
        }
    }
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
