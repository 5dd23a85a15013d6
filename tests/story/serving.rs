//! A service as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// For what comes in seconds on a machine with nothing else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until `look` finds something.
pub(crate) fn found<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    found(what, || is_so().then_some(()));
}

/// A service that answers before the database has an event, where something else is tested: a disk
/// that stands still for seconds is no failure then.
pub(crate) fn queued(mut service: Command) -> Command {
    service.env("PMMDS_DURABILITY", "queued");
    service
}

/// A port that is free, and stays so until a service takes it: none of those that the machine gives
/// to whoever asks for any, nor of those that `scripts/services` tries.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Another process that tests has others.
        let at = std::process::id().wrapping_mul(64) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + at % 3_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends `signal` to a process, or to a group of them, whose number has a minus before it; whether
/// it was there. By the kill of the shell: a bare machine has no other.
pub(crate) fn signal(signal: &str, process: &str) -> bool {
    let kill = ["-c", "kill -s \"$1\" -- \"$2\"", "sh", signal, process];
    Command::new("sh").args(kill).status().unwrap().success()
}

/// A service, killed if the test fails before it is stopped.
pub(crate) struct Serving {
    child: Child,
    // held, so that it may go on talking
    said: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Serving {
    /// A service of version 1 that does not monitor: whoever does is started beside it. `command`
    /// makes a command of its arguments.
    pub(crate) fn start(command: impl FnOnce(&[&str]) -> Command) -> Self {
        Self::start_saying("serving churn-classifier v1\n", command)
    }

    /// One that says `what` first.
    pub(crate) fn start_saying(what: &str, command: impl FnOnce(&[&str]) -> Command) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let off = ["--scheduled-monitoring", "false"];
        let arguments = ["serve", "--port", &port_text, "--log-level", "error", off[0], off[1]];
        let mut command = command(&arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let serving = Self { child, said, url: format!("http://127.0.0.1:{port}") };
        assert_eq!(line, what);
        serving
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How it ends without being asked to by this.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn stop(self) {
        let said = self.stopped();
        assert_eq!(said.last().unwrap(), "stopped; every answered prediction is in the log");
    }

    /// What it said until its good end.
    pub(crate) fn stopped(mut self) -> Vec<String> {
        let pid = self.pid();
        assert!(signal("TERM", &pid));
        assert!(self.child.wait().unwrap().success());
        self.said.by_ref().lines().map_while(Result::ok).collect()
    }

    /// Ends it without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may be over already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
