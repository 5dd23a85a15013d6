//! Python programs that look at the service from outside.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python of the environment `name`, which is made if it is not there; `None` where no folder
/// of environments is named, since nobody wants packages installed unasked.
pub(crate) fn python(name: &str) -> Option<PathBuf> {
    if std::env::var_os("PMMDS_TEST_VENVS").is_none() {
        // Not `eprintln`, which the test harness swallows.
        let note = "SKIPPED: no Python; set PMMDS_TEST_VENVS, see scripts/venv\n";
        let _ = std::io::stderr().write_all(note.as_bytes());
        return None;
    }
    let made = Command::new(repository().join("scripts/venv"))
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(made.status.success(), "scripts/venv {name} failed");
    Some(PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()).join("python"))
}

/// Runs a program of the repository with an input.
pub(crate) async fn run(
    python: &Path,
    program: &str,
    arguments: Vec<String>,
    input: Vec<u8>,
) -> Output {
    let mut command = Command::new(python);
    command.arg(repository().join(program)).args(arguments);
    fed(command, input).await
}

/// Runs a command with an input, away from the runtime's threads.
pub(crate) async fn fed(mut command: Command, input: Vec<u8>) -> Output {
    // A proxy of whoever runs the tests has nothing to do with it.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let work = move || {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may not want all of it.
        let _ = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}
