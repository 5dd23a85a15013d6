//! A client that believes the document of the API, and one that does not: requests made from
//! `/openapi.json`, right and wrong, thousands of them.
//!
//! `PMMDS_TEST_SCHEMATHESIS` says how many examples of each operation are made; without it the test
//! says so and passes. `make schemathesis` sets it.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use pmmds::axum::Shadow;
use pmmds::registry::VersionId;
use tokio::process::Command;

use crate::support::{Server, TOKEN, serve};

/// The same requests every time.
const SEED: &str = "20260301";

/// How many examples of an operation are asked for, if any.
fn examples() -> Option<u32> {
    let Ok(text) = std::env::var("PMMDS_TEST_SCHEMATHESIS") else {
        let note = "SKIPPED: no requests from the document: set PMMDS_TEST_SCHEMATHESIS\n";
        // Not `eprintln`, which the test harness swallows.
        let _ = std::io::stderr().write_all(note.as_bytes());
        return None;
    };
    Some(text.parse().expect("PMMDS_TEST_SCHEMATHESIS is a number"))
}

async fn run(server: &Server, examples: u32, more: &[&str]) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = Command::new(repository.join("scripts/venv")).arg("schemathesis").output().await;
    let venv = venv.unwrap();
    assert!(venv.status.success(), "{}", String::from_utf8_lossy(&venv.stderr));
    let bin = String::from_utf8(venv.stdout).unwrap();
    // What it writes beside its report goes with the folder.
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new(Path::new(bin.trim()).join("schemathesis"))
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(repository.join("tests/http/schemathesis.toml"))
        .args(["run", &server.url("/openapi.json"), "--checks", "all", "--no-color"])
        .args(["--seed", SEED, "--generation-deterministic"])
        .args(["--max-examples", &examples.to_string(), "--continue-on-failure"])
        .args(more)
        // A proxy of whoever runs the tests has nothing to do with it.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let report = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{report}\n{}", String::from_utf8_lossy(&done.stderr));
    let summary = report.rsplit("SUMMARY").next().unwrap_or_default();
    println!("{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_from_the_document_are_answered_as_it_says() {
    let Some(examples) = examples() else { return };
    let shadow = Shadow::Version(VersionId::FIRST);
    let server = serve(|b| b.admin_token(TOKEN).shadow(shadow)).await;
    let token = format!("Authorization: Bearer {TOKEN}");
    run(&server, examples, &["--header", &token]).await;
    let server = serve(|b| b).await;
    run(&server, examples.div_ceil(4), &[]).await;
}
