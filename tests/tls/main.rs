//! Servers with certificates of every kind, and what the clients of the library make of them: real
//! sockets, rustls on the other side, a real MLflow behind a proxy.
//!
//! L4 of the fault list; PostgreSQL's own TLS is in adapters/postgres/tests/tls.rs. The certificates
//! are files beside this one, good for a hundred years and made by `certificates/make`: nothing is
//! made while the tests run, and no clock is waited for.

mod mlflow;
mod server;
mod webhook;

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What is said of a certificate that cannot be trusted.
const REFUSED: [(&str, &str); 5] = [
    (
        "elsewhere",
        "not valid for name \"127.0.0.1\"; certificate is only valid for DnsName(\"mlflow.example.org\")",
    ),
    ("expired", "certificate expired"),
    ("early", "certificate not valid yet"),
    ("stranger", "UnknownIssuer"),
    ("itself", "CaUsedAsEndEntity"),
];

/// One of the files that `certificates/make` makes.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/tls/certificates/{name}.pem"))
}

/// The address of a server that tests use; without one they say aloud that they test nothing.
fn address(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok();
    if address.is_none() {
        // Past the capture of the test harness, which would keep it to itself.
        let note = format!("SKIPPED: no server; set {variable}, see scripts/services\n");
        let _ = std::io::stderr().write_all(note.as_bytes());
    }
    address
}
