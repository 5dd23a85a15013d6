//! Two services with a folder each, on one database and one registry, and whoever a scheduler
//! starts beside them: each thing is done once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::story::serving::{Serving, queued};
use crate::{ask, command, database, drop_database, real_data, told};

/// Slots of the monitor here. In production it is an hour.
const SLOT: &str = "5s";

/// Requests to each service.
const REQUESTS: &str = "600";

/// What all processes share.
pub(super) struct Replicas {
    pub(super) root: tempfile::TempDir,
    pub(super) url: String,
}

impl Replicas {
    /// `arguments` by the process of `replica`.
    pub(super) fn command(&self, replica: &str, arguments: &[&str]) -> Command {
        let mut command = command(arguments, Some(&self.root.path().join(replica)));
        command.args(["--database-url", &self.url, "--registry"]);
        command.arg(self.root.path().join("registry"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn run(&self, replica: &str, arguments: &[&str]) -> String {
        told(&self.command(replica, arguments).output().unwrap())
    }

    /// The same by two processes of each replica at once.
    fn race(&self, arguments: &[&str]) -> Vec<Output> {
        let racers: Vec<Child> = ["a", "b", "a", "b"]
            .map(|replica| self.command(replica, arguments).spawn().unwrap())
            .into();
        racers.into_iter().map(|racer| racer.wait_with_output().unwrap()).collect()
    }

    /// One line of the ledger.
    #[track_caller]
    pub(super) fn assert_holds(&self, query: &str, expected: &str) {
        assert_eq!(ask(&self.url, query), [expected], "{query}");
    }
}

/// The customers of the file at `data` without fibre and on long contracts: what version 1 is
/// trained on, so that there is much that it cannot know.
pub(super) fn of_old(data: &Path, folder: &Path) -> PathBuf {
    let all = std::fs::read_to_string(data).unwrap();
    let is_new = |line: &&str| line.contains("Fiber optic") || line.contains("Month-to-month");
    let rest: Vec<&str> = all.lines().filter(|line| !is_new(line)).collect();
    assert!(rest.len() > 1_000 && rest.len() < all.lines().count());
    let path = folder.join("of-old.csv");
    std::fs::write(&path, rest.join("\n")).unwrap();
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn two_services_and_their_jobs_on_one_database_do_each_thing_once() {
    let (Some(data), Some(url)) = (real_data(), database("replicas")) else { return };
    let replicas = Replicas { root: tempfile::tempdir().unwrap(), url };
    let old = of_old(&data, replicas.root.path());
    replicas.run("a", &["train", "--data", old.to_str().unwrap()]);
    let services = ["a", "b"]
        .map(|replica| Serving::start(|arguments| queued(replicas.command(replica, arguments))));

    // Customers of every kind come, to both, and more of them for as long as nobody is alarmed: on
    // a slow machine the looks are far apart.
    let data = data.to_str().unwrap();
    let send = || {
        services.each_ref().map(|serving| {
            let arguments =
                ["seed-traffic", "--count", REQUESTS, "--data", data, "--url", &serving.url];
            replicas.command("clients", &arguments).spawn().unwrap()
        })
    };
    let mut senders = send();
    // Meanwhile and until there is an alert, and somebody who came second: four processes at a time.
    let begun = Instant::now();
    let mut codes = Vec::new();
    let (mut looked, mut told_of, mut alerts) = (0, 0, 0);
    while alerts == 0 || told_of == 0 {
        assert!(begun.elapsed() < Duration::from_secs(600), "no alert was opened: {codes:?}");
        if senders.iter_mut().all(|sender| sender.try_wait().unwrap().is_some()) {
            for sender in std::mem::replace(&mut senders, send()) {
                told(&sender.wait_with_output().unwrap());
            }
        }
        for output in replicas.race(&["monitor", "--slot", SLOT, "--min-drift-features", "1"]) {
            let code = output.status.code();
            assert!(matches!(code, Some(0 | 1 | 3)), "{code:?}: {}", text(&output.stderr));
            codes.push(code);
            let said = text(&output.stdout);
            looked += usize::from(said.contains(", run "));
            told_of += usize::from(said.contains(" was looked at by "));
            alerts += usize::from(said.contains(" opened: "));
        }
    }
    for sender in senders {
        told(&sender.wait_with_output().unwrap());
    }
    // Of those who came to a slot one has looked, and the others were told what it found.
    let slots = ask(&replicas.url, "SELECT count(*)::text FROM pmmds_store.job_runs");
    let slots: usize = slots[0].parse().unwrap();
    assert!(slots < codes.len(), "nobody came to a slot that was taken");
    assert_eq!((looked, looked + told_of), (slots, codes.len()));
    for (query, expected) in [
        ("SELECT bool_and(state = 'done')::text FROM pmmds_store.job_runs", "true"),
        ("SELECT max(attempt)::text FROM pmmds_store.job_runs", "1"),
        (
            "SELECT bool_and(d.id IS NOT NULL AND d.window_start = j.slot - interval '5 s')::text
            FROM pmmds_store.job_runs j FULL JOIN pmmds_store.drift_metrics d
            ON d.window_end = j.slot",
            "true",
        ),
        ("SELECT count(*)::text FROM pmmds_store.drift_alerts", "1"),
    ] {
        replicas.assert_holds(query, expected);
    }

    // Who has looked is a folder's process, and each folder has a name of its own: two with one
    // name would take each other's turns for their own.
    let names = ["a", "b"].map(|replica| {
        std::fs::read_to_string(replicas.root.path().join(replica).join("owner")).unwrap()
    });
    assert_ne!(names[0], names[1]);
    for table in ["job_runs", "leases"] {
        let owners = format!("SELECT DISTINCT owner::text FROM pmmds_store.{table}");
        let owners = ask(&replicas.url, &owners);
        assert!(!owners.is_empty());
        assert!(owners.iter().all(|owner| names.contains(owner)), "{owners:?} are not {names:?}");
    }

    // One alert, and four that answer it.
    let (mut trained, mut talk) = (0, String::new());
    for output in replicas.race(&["retrain", "--data", data]) {
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        let late = complaint.contains("has the turn") || complaint.contains("is at work in");
        assert!(output.status.success() || late, "{said}{complaint}");
        trained += usize::from(said.contains(".. train"));
        talk += &(said + &complaint);
    }
    assert_eq!(trained, 1, "{talk}");
    for (query, expected) in [
        (
            "SELECT string_agg((record ->> 'trigger') || ' ' || state, ', ' ORDER BY started_at)
            FROM pmmds_store.retraining_runs",
            "manual completed, drift completed",
        ),
        (
            "SELECT string_agg((record ->> 'challenger') || ' ' || (record ->> 'promoted'), ', '
            ORDER BY created_at) FROM pmmds_store.promotion_decisions",
            "1 true, 2 true",
        ),
        ("SELECT count(*)::text FROM pmmds_store.drift_alerts WHERE resolved_at IS NULL", "0"),
    ] {
        replicas.assert_holds(query, expected);
    }
    assert!(replicas.run("b", &["retrain"]).contains("nothing to do"));

    // Both have seen it.
    for serving in services {
        let begun = Instant::now();
        let arguments = ["seed-traffic", "--count", "1", "--data", data, "--url", &serving.url];
        while !replicas.run("clients", &arguments).contains("1 predictions by v2") {
            assert!(begun.elapsed() < Duration::from_secs(600), "it still serves version 1");
        }
        serving.stop();
    }
    replicas.assert_holds(
        "SELECT (count(*) = count(DISTINCT request_id) AND count(*) >= 1202)::text
        FROM pmmds_store.predictions",
        "true",
    );
    drop_database(&replicas.url);
}
