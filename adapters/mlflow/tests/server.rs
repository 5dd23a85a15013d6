//! The real server.

use std::io::Write;
use std::time::Duration;

use super::super::MlflowRegistry;
use crate::conformance::registry::{self, Options};

/// The server that tests use; without one they say aloud that they test nothing.
fn server() -> Option<String> {
    let uri = std::env::var("PMMDS_TEST_MLFLOW").ok();
    if uri.is_none() {
        // Past the capture of the test harness, which would keep it to itself.
        let note = b"SKIPPED: no server; set PMMDS_TEST_MLFLOW, see scripts/services\n";
        let _ = std::io::stderr().write_all(note);
    }
    uri
}

/// A handle that bears with a machine that has much else to do.
fn handle(uri: &str) -> MlflowRegistry {
    MlflowRegistry::builder(uri).patience(Duration::from_secs(60)).build().unwrap()
}

/// The models of one test of one run of the tests.
fn options(test: &str) -> Options {
    let since = super::super::environment::now().as_micros();
    Options::new().prefix(format!("{test}-{}-{since}", std::process::id())).racers(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_registries() {
    let Some(uri) = server() else { return };
    registry::all(async || handle(&uri), &options("all").big_file(2_000_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_are_two_handles() {
    let Some(uri) = server() else { return };
    let one = handle(&uri);
    registry::two_handles(&one, &one.clone(), &options("two").model("handles")).await;
}
