//! The schedule in processes: two replicas do each slot once, and what a killed one has begun the
//! other ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Instant, SystemTime};

use super::replicas::{Replicas, of_old};
use super::serving::{PATIENCE, Serving, found, queued, signal};
use crate::{ask, command, database, drop_database, real_data, told};

/// A process whose lines are read as they come; killed if the test fails before it ends.
pub(super) struct Talking {
    child: Child,
    pub(super) said: Receiver<String>,
}

impl Talking {
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (say, said) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for stream in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
            let say = say.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = say.send(line);
                }
            });
        }
        Self { child, said }
    }

    /// The first line from now on that `is_meant`.
    pub(super) fn line(&self, is_meant: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let line = self.said.recv_timeout(PATIENCE).unwrap();
            assert!(begun.elapsed() < PATIENCE, "what is meant was never said, last: {line}");
            if is_meant(&line) {
                return line;
            }
        }
    }

    pub(super) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(signal("TERM", &pid));
    }

    /// Everything it said, after it has ended by itself with exit code 0.
    pub(super) fn ended(mut self) -> Vec<String> {
        let status = self.child.wait().unwrap();
        let said: Vec<String> = self.said.iter().collect();
        assert!(status.success(), "{status}: {said:#?}");
        said
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks until `enough`.
fn until(url: &str, query: &str, enough: impl Fn(&str) -> bool) -> String {
    let what = format!("this is so: {query}");
    found(&what, || Some(ask(url, query).pop().unwrap_or_default()).filter(|one| enough(one)))
}

const DONE: &str = "SELECT count(*)::text FROM pmmds_store.job_runs WHERE state = 'done'";

#[test]
fn two_services_do_each_slot_of_their_schedule_once() {
    let (Some(data), Some(url)) = (real_data(), database("schedule")) else { return };
    let replicas = Replicas { root: tempfile::tempdir().unwrap(), url };
    replicas.run("a", &["train", "--data", data.to_str().unwrap()]);
    let serve = ["serve", "--port", "0", "--every", "5s", "--log-level", "info"];
    let services = ["a", "b"].map(|replica| {
        let mut command = replicas.command(replica, &serve);
        command.args(["--log-json", "true"]);
        Talking::start(command)
    });
    until(&replicas.url, DONE, |done| done.parse::<u32>().unwrap() >= 3);
    services.iter().for_each(Talking::terminate);
    let mut begun: BTreeMap<String, u32> = BTreeMap::new();
    for service in services {
        let said = service.ended();
        assert!(
            said.iter()
                .any(|line| line.contains("every 5 s, the last 24 h; drift retrains, on the "))
        );
        for line in said.iter().filter(|line| line.contains("\"slot begins\"")) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            *begun.entry(line["fields"]["slot"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert!(begun.len() >= 3 && begun.values().all(|times| *times == 1), "{begun:?}");
    let slots = begun.len().to_string();
    replicas.assert_holds(DONE, &slots);
    for (query, expected) in [
        // None is left out, five seconds after the one before, unless a machine was too busy for
        // it; and then that is told.
        (
            "SELECT (max(slot) - min(slot) = (count(*) - 1 + sum(passed)) * interval '5 s')::text
            FROM (SELECT slot, CASE WHEN slot > min(slot) OVER () THEN coalesce(substring(
                result FROM '; ([0-9]+) slots before it were passed over')::int, 0) ELSE 0 END
                AS passed FROM pmmds_store.job_runs) r",
            "true",
        ),
        ("SELECT max(attempt)::text FROM pmmds_store.job_runs", "1"),
        (
            "SELECT bool_and(d.window_start = j.slot - interval '24 h')::text
            FROM pmmds_store.job_runs j FULL JOIN pmmds_store.drift_metrics d
            ON d.window_end = j.slot",
            "true",
        ),
    ] {
        replicas.assert_holds(query, expected);
    }
    let summary = replicas.run("a", &["monitor", "--summary"]);
    assert!(summary.contains("slots of monitor/churn-classifier\n"), "{summary}");
    assert!(summary.contains("no traffic, 0 rows of v1"), "{summary}");
    drop_database(&replicas.url);
}

#[test]
fn what_a_killed_replica_has_begun_the_other_ends() {
    let (Some(data), Some(url)) = (real_data(), database("takeover")) else { return };
    let replicas = Replicas { root: tempfile::tempdir().unwrap(), url };
    let old = of_old(&data, replicas.root.path());
    replicas.run("a", &["train", "--data", old.to_str().unwrap()]);
    let data = data.to_str().unwrap();
    let service = Serving::start(|arguments| queued(replicas.command("a", arguments)));
    let send = ["seed-traffic", "--count", "600", "--data", data, "--url", &service.url];
    replicas.run("clients", &send);

    // Both watch; one finds the drift, and is killed while it retrains.
    let every = ["monitor", "--every", "15s", "--min-drift-features", "1", "--data", data];
    let mut watching = BTreeMap::new();
    for replica in ["a", "b"] {
        let mut command = replicas.command(replica, &every);
        command.args(["--trainer", "adaboost"]);
        let watch = Talking::start(command);
        let first = watch.said.recv_timeout(PATIENCE).unwrap();
        let plan =
            "monitoring churn-classifier: every 15 s, the last 24 h; drift retrains, on the ";
        assert!(first.starts_with(plan), "{first}");
        let owner = replicas.root.path().join(replica).join("owner");
        watching.insert(std::fs::read_to_string(owner).unwrap(), watch);
    }
    let running = "SELECT step FROM (SELECT record ->> 'step' AS step FROM
        pmmds_store.retraining_runs WHERE state = 'running') r";
    until(&replicas.url, running, |step| step == "train");
    let owner = "SELECT owner FROM pmmds_store.job_runs WHERE state = 'running'";
    let owner = until(&replicas.url, owner, |owner| !owner.is_empty());
    let (folder, _) = owner.split_once('/').expect("folder and process");
    let slot = "SELECT max(slot)::text FROM pmmds_store.job_runs WHERE state = 'running'";
    let slot = ask(&replicas.url, slot).remove(0);
    let mut killed = watching.remove(folder).expect("one of the two");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    replicas.assert_holds(&running.replace("step FROM (", "count(*)::text FROM ("), "1");

    // The slot goes to the other when the lease has ended, which is before the next slot unless the
    // machine was slow; the turn at retraining is held longer.
    let next = format!(
        "FROM pmmds_store.job_runs WHERE state = 'done' AND slot >= '{slot}'
        ORDER BY slot LIMIT 1"
    );
    let taken = format!("SELECT owner {next}");
    let other = until(&replicas.url, &taken, |owner| !owner.is_empty());
    assert!(watching.contains_key(other.split_once('/').unwrap().0), "{other}");
    let later = format!("SELECT (slot > '{slot}' OR attempt = 2)::text {next}");
    replicas.assert_holds(&later, "true");
    let result = "SELECT (result LIKE '%no retraining now: retrain: conflict: %')::text ";
    replicas.assert_holds(&format!("{result}{next}"), "true");
    ask(&replicas.url, "UPDATE pmmds_store.leases SET expires_at = now() RETURNING name");
    let promoted = "SELECT count(*)::text FROM pmmds_store.promotion_decisions
        WHERE record ->> 'challenger' = '2' AND state = 'done'";
    until(&replicas.url, promoted, |count| count == "1");
    until(
        &replicas.url,
        "SELECT count(*)::text FROM pmmds_store.retraining_runs
        WHERE state = 'running'",
        |count| count == "0",
    );
    for (query, expected) in [
        (
            "SELECT string_agg((record ->> 'attempts') || ' ' || state, ', ' ORDER BY started_at)
            FROM pmmds_store.retraining_runs",
            "1 completed, 2 completed",
        ),
        ("SELECT count(*)::text FROM pmmds_store.drift_alerts", "1"),
    ] {
        replicas.assert_holds(query, expected);
    }

    let (_, watch) = watching.pop_first().expect("the other one");
    watch.terminate();
    let said = watch.ended();
    assert_eq!(said.last().map(String::as_str), Some("stopped"), "{said:#?}");
    let slots = said.iter().filter(|line| line.contains("Z: ") || line.contains("Z by ")).count();
    assert!(slots >= 2, "one line for each: {said:#?}");
    service.stop();
    drop_database(&replicas.url);
}

#[test]
fn on_sqlite_a_slot_is_looked_at_once_and_watching_ends_well() {
    let Some(data) = real_data() else { return };
    let looked_twice = || {
        let state = tempfile::tempdir().unwrap();
        let train = ["train", "--data", data.to_str().unwrap()];
        told(&command(&train, Some(state.path())).output().unwrap());
        let said = [1, 2].map(|_| {
            let look = ["monitor", "--slot", "24h"];
            let output = command(&look, Some(state.path())).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            // No traffic, no verdict.
            assert_eq!(output.status.code(), Some(3), "{said}");
            said
        });
        (state, said)
    };
    let day = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    let before = day();
    let (mut state, mut said) = looked_twice();
    if day() != before {
        // Midnight in UTC began another slot.
        (state, said) = looked_twice();
    }
    assert!(said[0].contains(", run ") && said[1].contains(" was looked at by "), "{said:#?}");
    let state = Some(state.path());
    let watch = Talking::start(command(&["monitor", "--cron", "0 0 1 1 *"], state));
    let plan = watch.said.recv_timeout(PATIENCE).unwrap();
    let expected = "monitoring churn-classifier: 0 0 1 1 *, the last 24 h; drift retrains, on the \
                    traffic and on what production was trained on, where that is here";
    assert_eq!(plan, expected);
    let slot = watch.said.recv_timeout(PATIENCE).unwrap();
    assert!(slot.ends_with("-01-01T00:00:00Z: no traffic, 0 rows of v1"), "{slot}");
    watch.terminate();
    assert_eq!(watch.ended(), ["stopped"]);
}
