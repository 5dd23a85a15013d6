//! IBM's Telco file, where it is.
//!
//! It is not part of the project. It is looked for at `PMMDS_TEST_TELCO_CSV`, then beside the project;
//! where it is in neither place the tests say so and pass.

use std::io::Write;
use std::path::PathBuf;

use pmmds::csv::{Reader, snake_case};
use pmmds::record::Table;
use pmmds::schema::Fingerprint;

const SHA_256: &str = "16320c9c1ec72448db59aa0a26a0b95401046bef5d02fd3aeb906448e3055e91";

/// The table under the names of the reviewed schema, or `None` where there is no file.
pub(crate) fn telco() -> Option<Table> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/telco-customer-churn.csv");
    let path =
        std::env::var_os("PMMDS_TEST_TELCO_CSV").map_or_else(|| beside.into(), PathBuf::from);
    let Ok(bytes) = std::fs::read(&path) else {
        // Not `eprintln`, which the test harness swallows.
        let note =
            format!("SKIPPED: no Telco file at {}; set PMMDS_TEST_TELCO_CSV\n", path.display());
        let _ = std::io::stderr().write_all(note.as_bytes());
        return None;
    };
    assert_eq!(Fingerprint::of_bytes(&bytes).to_string(), SHA_256, "{}", path.display());
    Some(Reader::new().rename(snake_case).read_path(&path).unwrap())
}
