//! `serve --durability spool` before a PostgreSQL that is stopped and started: predictions go on, and
//! whoever was answered is in the log once, also after a kill and after a good end in the outage.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::private::Private;
use super::schedule::Talking;
use super::servers::http;
use super::serving::{Serving, until};
use super::sigterm::{answered, assert_each_once};
use crate::{ask, command, told};

/// Status and body of a GET.
fn get(serving: &Serving, path: &str) -> (u16, String) {
    http("GET", &serving.url, path)
}

#[test]
fn an_outage_of_postgresql_is_bridged_and_none_is_lost() {
    let Ok(_) = std::env::var("PMMDS_TEST_POSTGRES") else { return };
    let server = Private::new();
    let url = server.up("postgres");
    let state = server.state();
    let arguments = ["--database-url", &url];
    told(&command(&[&["train"], &arguments[..]].concat(), Some(&state)).output().unwrap());
    let start = |durability| {
        Serving::start(|serve| {
            let mut serve = command(&[serve, &arguments].concat(), Some(&state));
            serve.env("PMMDS_DURABILITY", durability);
            serve
        })
    };
    let ids = "SELECT coalesce(request_id, id)::text FROM pmmds_store.predictions";
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let load = |serving: &Serving, killed| {
        runtime.spawn(answered(serving.url.clone(), Arc::clone(&count), killed))
    };
    // A load of a second at least, and some answers, however slow the machine is.
    let some_are_answered = || {
        let (begun, before) = (Instant::now(), count.load(Ordering::Relaxed));
        until("some are answered", || {
            let more = count.load(Ordering::Relaxed) > before + 20;
            more && begun.elapsed() > Duration::from_secs(1)
        });
    };
    let mut all: BTreeSet<String> = BTreeSet::new();

    // The server goes and comes back under load; the service is stopped in good order.
    let serving = start("spool");
    let clients = load(&serving, false);
    some_are_answered();
    server.run(&["stop", "postgres", "immediate"]);
    some_are_answered();
    until("it is noticed", || get(&serving, "/readyz").1.contains("\"degraded\""));
    let (status, ready) = get(&serving, "/readyz");
    assert!(status == 200 && ready.contains("\"degraded\""), "{status}: {ready}");
    server.run(&["up", "postgres"]);
    until("the store has all", || get(&serving, "/readyz").1.contains("\"ready\""));
    serving.stop();
    let first = runtime.block_on(clients).unwrap();
    assert_each_once(&first, &ask(&url, ids));
    all.extend(first);

    // It goes and stays away; the service ends well all the same, and says what waits.
    let serving = start("spool-sync");
    let clients = load(&serving, false);
    some_are_answered();
    server.run(&["stop", "postgres", "immediate"]);
    some_are_answered();
    let said = serving.stopped().join("\n");
    assert!(said.contains("answered predictions wait in "), "{said}");
    all.extend(runtime.block_on(clients).unwrap());
    server.run(&["up", "postgres"]);
    // Another process knows of them, and that they are not in what it looks at.
    let waits = said.lines().find(|line| line.contains("answered predictions wait in ")).unwrap();
    let waits = waits.split(' ').nth(1).unwrap();
    let monitor = command(&[&["monitor"], &arguments[..]].concat(), Some(&state)).output().unwrap();
    let looked = String::from_utf8_lossy(&monitor.stdout).into_owned();
    assert!(looked.contains(&format!("note: up to {waits} events wait in ")), "{waits}: {looked}");
    // On its schedule too.
    let mut every =
        command(&[&["monitor", "--every", "2s"], &arguments[..]].concat(), Some(&state));
    every.env("PMMDS_ON_DRIFT", "tell");
    let watch = Talking::start(every);
    watch.line(|line| line.contains(&format!("; up to {waits} events wait in ")));
    watch.terminate();
    watch.ended();

    // The next start brings them to the log, and is killed in an outage of its own.
    let serving = start("spool");
    let clients = load(&serving, true);
    some_are_answered();
    server.run(&["stop", "postgres", "immediate"]);
    some_are_answered();
    serving.kill();
    let third = runtime.block_on(clients).unwrap();
    assert!(third.len() > 20, "{}", third.len());
    all.extend(third);
    server.run(&["up", "postgres"]);
    let serving = start("spool");
    until("the store has all", || {
        let (_, metrics) = get(&serving, "/metrics");
        metrics.contains("pmmds_log_spool_rows{} 0\n")
    });
    serving.stop();
    let logged = ask(&url, ids);
    let known: BTreeSet<&String> = logged.iter().collect();
    assert_eq!(known.len(), logged.len(), "an event is in the log twice");
    let lost = all.iter().filter(|id| !known.contains(id)).count();
    assert_eq!(lost, 0, "of {} answers", all.len());
    let monitor = command(&[&["monitor"], &arguments[..]].concat(), Some(&state)).output().unwrap();
    let looked = String::from_utf8_lossy(&monitor.stdout).into_owned();
    assert!(
        looked.contains("churn-classifier v1") && !looked.contains("events wait in "),
        "{looked}"
    );
    println!("{} answered, {} logged", all.len(), logged.len());
}
