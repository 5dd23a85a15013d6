//! Python programs that look at the service from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python of the environment `name`, which is made if it is not there.
pub(crate) fn python(name: &str) -> PathBuf {
    let made = Command::new(repository().join("scripts/venv"))
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(made.status.success(), "scripts/venv {name} failed");
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()).join("python")
}

/// Runs a program of the repository with an input, away from the runtime's threads.
pub(crate) async fn run(
    python: PathBuf,
    program: &'static str,
    arguments: Vec<String>,
    input: Vec<u8>,
) -> Output {
    let work = move || {
        use std::io::Write as _;
        let mut child = Command::new(python)
            .arg(repository().join(program))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}
