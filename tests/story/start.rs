//! A start while PostgreSQL is down: who cannot start says why, and a service with a spool starts,
//! answers, and brings everything to the database when that comes.

use std::collections::BTreeSet;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::private::Private;
use super::servers::http;
use super::serving::Serving;
use super::sigterm::answered;
use crate::{ask, command, real_data, told};

const IDS: &str = "SELECT coalesce(request_id, id)::text FROM pmmds_store.predictions";

/// Longer than anything takes on a busy machine.
const FOR_EVER: Duration = Duration::from_secs(300);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < FOR_EVER, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether there is a server of this kind; it is said aloud if not.
fn is_there(variable: &str) -> bool {
    let is_there = std::env::var_os(variable).is_some();
    if !is_there {
        eprintln!("SKIPPED: no server; set {variable}, see scripts/services");
    }
    is_there
}

fn begun(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What it said until its end; one that goes on instead of ending is killed.
fn ended(mut child: Child) -> Output {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > FOR_EVER {
            child.kill().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn whoever_cannot_start_is_told_why_and_what_would_help() {
    let secret = "a-pass-word-of-its-own";
    let nobody = format!("postgres://pmmds:{secret}@127.0.0.1:1/pmmds");
    let mut cases = vec![
        (vec!["serve", "--port", "0"], nobody.clone(), "Connection refused", true),
        (vec!["monitor"], nobody, "Connection refused", true),
    ];
    if let Ok(server) = std::env::var("PMMDS_TEST_POSTGRES") {
        let address = server.split_once('@').unwrap().1;
        let intruder = format!("postgres://pmmds:{secret}@{address}");
        cases.push((vec!["monitor"], intruder, "password authentication failed", false));
        // It has no certificate, and will have none in half a minute, nor is a spool of use.
        let encrypted = format!("{server}?sslmode=require");
        cases.push((vec!["monitor"], encrypted.clone(), "TLS", false));
        cases.push((vec!["serve", "--port", "0"], encrypted.clone(), "TLS", false));
        let spool = vec!["serve", "--port", "0", "--durability", "spool"];
        cases.push((spool, encrypted, "TLS", false));
    } else {
        eprintln!("SKIPPED in part: set PMMDS_TEST_POSTGRES, see scripts/services");
    }
    let state = tempfile::tempdir().unwrap();
    // All at once: who is waited for is waited for half a minute.
    let running: Vec<_> = cases
        .into_iter()
        .enumerate()
        .map(|(number, (arguments, url, why, waits))| {
            let mut command = command(&arguments, Some(&state.path().join(number.to_string())));
            command.env("PMMDS_DATABASE_URL", url);
            (arguments, why, waits, begun(command))
        })
        .collect();
    // Before anything is asserted: none is left behind.
    let ended: Vec<_> = running
        .into_iter()
        .map(|(arguments, why, waits, child)| (arguments, why, waits, ended(child)))
        .collect();
    for (arguments, why, waits, Output { status, stderr, .. }) in ended {
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert_eq!(status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why) && !said.contains(secret), "{arguments:?}: {said}");
        assert_eq!(said.contains("waiting for the database, "), waits, "{arguments:?}: {said}");
        let helps = said.contains("--durability spool") && said.contains("--model-cache");
        assert_eq!(helps, waits && arguments[0] == "serve", "{arguments:?}: {said}");
    }
}

#[test]
fn with_a_spool_a_service_starts_before_its_database_and_brings_it_everything() {
    if !is_there("PMMDS_TEST_POSTGRES") {
        return;
    }
    let server = Private::new();
    let url = server.up("postgres");
    let state = server.state();
    let arguments = ["--database-url", &url];
    told(&command(&[&["train"], &arguments[..]].concat(), Some(&state)).output().unwrap());
    let start = |more: &[&str]| {
        Serving::start(|serve| {
            let mut serve = command(&[serve, &arguments, more].concat(), Some(&state));
            serve.env("PMMDS_DURABILITY", "spool").env("PMMDS_ON_DRIFT", "tell");
            serve
        })
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let load =
        |serving: &Serving| runtime.spawn(answered(serving.url.clone(), Arc::clone(&count), false));
    let some_are_answered = || {
        let before = count.load(Ordering::Relaxed);
        until("some are answered", || count.load(Ordering::Relaxed) > before + 20);
    };

    server.run(&["stop", "postgres", "immediate"]);
    let serving = start(&["--every", "2s"]);
    let get = |serving: &Serving, path: &str| http("GET", &serving.url, path);
    let clients = load(&serving);
    some_are_answered();
    let (status, ready) = get(&serving, "/readyz");
    assert!(status == 200 && ready.contains("\"degraded\""), "{status}: {ready}");
    let why = "postgres: unavailable; until it answers, the time is this machine's";
    assert!(ready.contains(why), "{ready}");
    let (_, metrics) = get(&serving, "/metrics");
    assert!(metrics.contains("pmmds_ledger_up{} 0\n"), "{metrics}");
    assert!(!metrics.contains("pmmds_log_spool_rows{} 0\n"), "{metrics}");
    for path in
        ["/api/v1/alerts", "/api/v1/drift/runs", "/api/v1/drift/latest", "/api/v1/decisions"]
    {
        let (status, body) = get(&serving, path);
        assert!(status == 503 && body.contains("ledger_unavailable"), "{path}: {status} {body}");
    }
    server.run(&["up", "postgres"]);
    until("the store takes it", || get(&serving, "/readyz").1.contains("\"ready\""));
    assert_eq!(get(&serving, "/api/v1/alerts").0, 200);
    // A look may find that events still wait, which is an end as well.
    let looked = "SELECT count(*)::text FROM pmmds_store.job_runs WHERE state <> 'running'";
    until("the schedule works", || ask(&url, looked) != ["0"]);
    // What is not there by the end is brought by the next one.
    serving.stopped();
    let first = runtime.block_on(clients).unwrap();

    // The database comes back with the tables of a newer release.
    ask(&url, "INSERT INTO pmmds_store.migrations VALUES (99, '\\x00') RETURNING version::text");
    server.run(&["stop", "postgres", "immediate"]);
    let serving = start(&[]);
    let clients = load(&serving);
    some_are_answered();
    let rows = "SELECT count(*)::text FROM pmmds_store.prediction_logs";
    server.run(&["up", "postgres"]);
    let before = ask(&url, rows);
    until("it is refused", || get(&serving, "/readyz").1.contains("not supported"));
    some_are_answered();
    let (status, ready) = get(&serving, "/readyz");
    assert!(status == 200 && ready.contains("the log of the service says why"), "{ready}");
    assert_eq!(get(&serving, "/api/v1/alerts").0, 503);
    assert_eq!(ask(&url, rows), before, "nothing is written");
    let mut other = command(&[&["serve", "--port", "0"], &arguments[..]].concat(), Some(&state));
    other.env("PMMDS_DURABILITY", "spool");
    let refused = ended(begun(other));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("it has schema 99"), "{said}");
    // Somebody has seen to it.
    ask(&url, "DELETE FROM pmmds_store.migrations WHERE version = 99 RETURNING version::text");
    until("the store takes it", || get(&serving, "/readyz").1.contains("\"ready\""));
    serving.stopped();
    let second = runtime.block_on(clients).unwrap();
    assert!(second.len() > 40, "{}", second.len());
    let serving = start(&[]);
    until("the store has all", || {
        get(&serving, "/metrics").1.contains("pmmds_log_spool_rows{} 0\n")
    });
    serving.stop();
    let logged = ask(&url, IDS);
    let known: BTreeSet<&String> = logged.iter().collect();
    assert_eq!(known.len(), logged.len(), "an event is in the log twice");
    let lost = first.union(&second).filter(|id| !known.contains(id)).count();
    assert_eq!(lost, 0, "of {} and {} answers", first.len(), second.len());
}

#[test]
fn with_both_servers_down_it_starts_on_the_model_that_it_has_kept() {
    let Some(data) = real_data() else { return };
    if !["PMMDS_TEST_MLFLOW", "PMMDS_TEST_POSTGRES"].iter().all(|variable| is_there(variable)) {
        return;
    }
    let servers = Private::new();
    let (mlflow, url, state) = (servers.up("mlflow"), servers.up("postgres"), servers.state());
    let run = |arguments: &[&str]| {
        let common = ["--data", data.to_str().unwrap(), "--mlflow-uri", &mlflow];
        let mut command = command(&[arguments, &common].concat(), Some(&state));
        command.env("PMMDS_DATABASE_URL", &url).env("PMMDS_DURABILITY", "spool-sync");
        command
    };
    told(&run(&["train"]).output().unwrap());
    let serving = Serving::start(run);
    let kept = state.join("model-cache/models/churn-classifier/production/kept.json");
    until("it is kept", || kept.exists());
    serving.kill();
    servers.run(&["stop", "mlflow"]);
    servers.run(&["stop", "postgres", "immediate"]);

    let serving = Serving::start(run);
    let traffic = ["seed-traffic", "--url", &serving.url, "--count", "20", "--no-outcomes"];
    let said = told(&run(&traffic).output().unwrap());
    assert!(said.contains("20 predictions by v1"), "{said}");
    let (status, ready) = http("GET", &serving.url, "/readyz?verbose");
    assert!(status == 200 && ready.contains("is from the cache"), "{status}: {ready}");
    assert!(ready.contains("postgres: unavailable"), "{ready}");
    servers.run(&["up", "postgres"]);
    until("the store has all", || {
        http("GET", &serving.url, "/metrics").1.contains("pmmds_log_spool_rows{} 0\n")
    });
    serving.stop();
    assert_eq!(ask(&url, IDS).len(), 20);
}
