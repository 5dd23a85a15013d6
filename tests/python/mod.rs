//! A real Python for the tests that want one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of `tests/python/NAME.txt`, made by `scripts/venv`; `None` where no folder of
/// environments is named, since nobody wants packages installed unasked.
pub(crate) fn python(name: &str) -> Option<PathBuf> {
    if std::env::var_os("PMMDS_TEST_VENVS").is_none() {
        // Not `eprintln`, which the test harness swallows.
        let note = "SKIPPED: no Python; set PMMDS_TEST_VENVS, see scripts/venv\n";
        let _ = std::io::stderr().write_all(note.as_bytes());
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/venv");
    let made = Command::new(script).arg(name).output().expect("scripts/venv runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(Path::new(String::from_utf8_lossy(&made.stdout).trim()).join("python"))
}
