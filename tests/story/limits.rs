//! What the machine gives runs out, or is asked for very often: the program itself, and what Linux
//! says of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::servers::http;
use super::serving::{PATIENCE, Serving};
use crate::{command, program, told};

/// Clients at a time.
const CLIENTS: usize = 50;

/// How many files a process has open, and how many KiB of memory.
fn held(pid: &str) -> (usize, u64) {
    let process = Path::new("/proc").join(pid);
    let files = std::fs::read_dir(process.join("fd")).unwrap().count();
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (files, memory.trim().trim_end_matches(" kB").parse().unwrap())
}

/// A body that the service takes: the example of its own document.
fn example(url: &str) -> String {
    let (status, document) = http("GET", url, "/openapi.json");
    assert_eq!(status, 200);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let features = &document["components"]["schemas"]["Features"]["examples"][0];
    serde_json::json!({ "features": features }).to_string()
}

/// A connection on which one prediction after the other is asked for.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Client {
    fn new(url: &str, body: &str) -> Self {
        let address = url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "POST /api/v1/predict HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { stream, request: request.into_bytes() }
    }

    /// Asks `times` at once, which the service answers in order; the statuses.
    fn ask(&mut self, times: usize) -> Vec<u16> {
        self.stream.write_all(&self.request.repeat(times)).unwrap();
        let (mut answers, mut part) = (String::new(), [0; 64 << 10]);
        loop {
            let bytes = self.stream.read(&mut part).unwrap();
            assert!(bytes > 0, "the connection was closed: {answers}");
            answers.push_str(std::str::from_utf8(&part[..bytes]).unwrap());
            // An answer ends with the one brace in it that closes an object and is the last.
            if answers.matches("HTTP/1.1 ").count() == times && answers.ends_with('}') {
                let statuses = answers.split("HTTP/1.1 ").skip(1);
                return statuses.map(|rest| rest[..3].parse().unwrap()).collect();
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn without_files_to_open_it_waits_for_some_and_goes_on() {
    let state = tempfile::tempdir().unwrap();
    told(&command(&["train"], Some(state.path())).output().unwrap());
    let serving = Serving::start(|arguments| {
        let plain = command(arguments, Some(state.path()));
        let mut few = Command::new("bash");
        few.args(["-c", "ulimit -n 48; exec \"$@\"", "bash"]).arg(program());
        few.args(plain.get_args());
        plain.get_envs().for_each(|(name, _)| drop(few.env_remove(name).get_args()));
        few
    });
    let mut before = Client::new(&serving.url, &example(&serving.url));
    assert_eq!(before.ask(1), [200]);
    let address = serving.url.trim_start_matches("http://").to_owned();
    // They wait in the queue of the machine: more than the process may have open.
    let crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let pid = serving.pid();
    let begun = Instant::now();
    // Who is in is answered meanwhile: well, or told to come again.
    let mut is_answered = || {
        let statuses = before.ask(3);
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    };
    while held(&pid).0 < 48 {
        assert!(begun.elapsed() < PATIENCE, "{} are open", held(&pid).0);
        is_answered();
        std::thread::sleep(Duration::from_millis(20));
    }
    is_answered();
    drop(crowd);
    assert_eq!(http("GET", &serving.url, "/livez").0, 200);
    assert_eq!(Client::new(&serving.url, &example(&serving.url)).ask(1), [200]);
    serving.stop();
}

/// `PMMDS_TEST_SOAK` says how many requests there are (3,000).
#[test]
#[cfg(target_os = "linux")]
fn many_requests_leave_no_file_and_no_memory_behind() {
    let requests: usize = std::env::var("PMMDS_TEST_SOAK").map_or(3_000, |n| n.parse().unwrap());
    let state = tempfile::tempdir().unwrap();
    told(&command(&["train"], Some(state.path())).output().unwrap());
    let serving = Serving::start(|arguments| command(arguments, Some(state.path())));
    let body = example(&serving.url);
    let (url, pid) = (serving.url.clone(), serving.pid());
    // On new connections as well, of which each is given back.
    let ask = |requests: usize| {
        // So many that a commit is for many of them.
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (url, body) = (url.clone(), body.clone());
                std::thread::spawn(move || {
                    let (mut left, mut answered) = (requests / CLIENTS, Instant::now());
                    while left > 0 {
                        assert!(answered.elapsed() < PATIENCE, "nothing but 503, {left} are left");
                        for status in Client::new(&url, &body).ask(left.min(10)) {
                            // A disk that stands still is no matter of this test.
                            assert!([200, 503].contains(&status), "{status}");
                            if status == 200 {
                                (left, answered) = (left - 1, Instant::now());
                            }
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    };
    ask(requests / 2);
    let (files, memory) = held(&pid);
    ask(requests);
    // Connections that are gone are given back when the service comes to it; the pool of the
    // database has a few more or less.
    let (most, begun) = (files + 12, Instant::now());
    while held(&pid).0 > most && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (files_after, memory_after) = held(&pid);
    println!(
        "{requests} requests: {files} and {files_after} files, {memory} and {memory_after} KiB"
    );
    assert!(files_after <= most, "{files} and {files_after}");
    // The pages that SQLite keeps, and what the allocator has not given back; a kilobyte for every
    // request would be seen.
    let most_memory = memory + 2_048 + requests as u64 / 4;
    assert!(memory_after <= most_memory, "{memory} KiB, {memory_after} KiB after {requests} more");
    serving.stop();
}
