//! Servers of one test alone, which it may stop.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::told;

/// A folder with servers of its own, which are gone with it.
pub(crate) struct Private {
    folder: tempfile::TempDir,
}

impl Private {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder beside the servers'.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
        let mut command = Command::new(script);
        command.args(arguments).env("PMMDS_TEST_SERVICES", self.folder.path().join("servers"));
        command
    }

    /// What `scripts/services` says to `arguments`.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        told(&self.command(arguments).output().unwrap())
    }

    /// Starts `server`; its address.
    pub(crate) fn up(&self, server: &str) -> String {
        self.run(&["up", server]);
        self.run(&["url", server]).trim().to_owned()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // A panic here, in the midst of that of a test, would end all of them without a word.
        match self.command(&["down"]).output() {
            Ok(output) if output.status.success() => {}
            problem => eprintln!("scripts/services down: {problem:?}"),
        }
    }
}
