//! What production was trained on is remembered, and nothing else is trained on unasked.

use std::path::Path;
use std::process::Output;

use super::schedule::Talking;
use super::serving::{Serving, queued};
use crate::{command, real_data, told};

/// The real file without its last thousand customers: a file that nobody has but its owner.
fn own_file(real: &Path, folder: &Path) -> String {
    let all = std::fs::read_to_string(real).unwrap();
    let lines: Vec<&str> = all.lines().collect();
    let path = folder.join("customers.csv");
    std::fs::write(&path, lines[..lines.len() - 1_000].join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const REFUSED: &str =
    "error: v1, which is in production, was trained on \"customers.csv\", SHA-256 ";

#[test]
fn a_retraining_is_on_the_file_of_the_training_or_it_is_refused() {
    let Some(real) = real_data() else { return };
    let root = tempfile::tempdir().unwrap();
    let (state, other) = (root.path().join("a"), root.path().join("b"));
    let file = own_file(&real, root.path());
    let run = |state: &Path, arguments: &[&str]| {
        command(&[arguments, &["--log-level", "error"]].concat(), Some(state)).output().unwrap()
    };
    told(&run(&state, &["train", "--data", &file]));

    // Nothing has been logged, so there is nothing to judge a challenger on; the data comes first.
    let again = told(&run(&state, &["retrain", "--force"]));
    assert!(again.contains(&format!("DATA: your file, {file}\n")), "{again}");
    assert!(again.contains("note: v1, in production, was trained on it"), "{again}");
    assert!(again.contains("skipped: 0 labelled rows"), "{again}");

    // Another folder, as on another machine: the version says what it was trained on, and the file
    // has another name there.
    let registry = state.join("registry");
    let shared = ["retrain", "--force", "--registry", registry.to_str().unwrap()];
    let output = run(&other, &shared);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).starts_with(REFUSED), "{}", said(&output));
    assert!(said(&output).contains("name it with --data FILE"), "{}", said(&output));
    let elsewhere = root.path().join("elsewhere.csv");
    std::fs::copy(&file, &elsewhere).unwrap();
    let named =
        told(&run(&other, &[&shared[..], &["--data", elsewhere.to_str().unwrap()]].concat()));
    assert!(named.contains("skipped: 0 labelled rows") && !named.contains("v1, in"), "{named}");

    // It is not the same file any more.
    let mut changed = std::fs::read_to_string(&file).unwrap();
    changed.truncate(changed.rfind('\n').unwrap());
    std::fs::write(&file, changed).unwrap();
    let output = run(&state, &["retrain", "--force"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).starts_with(REFUSED), "{}", said(&output));

    // Whoever wants another one says so.
    let wanted = told(&run(&state, &["retrain", "--force", "--data", real.to_str().unwrap()]));
    let note = "note: v1, in production, was trained on \"customers.csv\", SHA-256 ";
    assert!(wanted.contains(note) && wanted.contains("skipped: 0 labelled rows"), "{wanted}");
}

#[test]
fn a_schedule_tells_of_drift_and_trains_on_nothing_else() {
    let Some(real) = real_data() else { return };
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state");
    let file = own_file(&real, root.path());
    let run = |arguments: &[&str]| command(arguments, Some(&state));
    told(&run(&["train", "--data", &file]).output().unwrap());
    let service = Serving::start(|arguments| queued(run(arguments)));
    let drift = ["seed-traffic", "--drift", "--count", "300", "--data", &file];
    told(&run(&[&drift[..], &["--url", &service.url]].concat()).output().unwrap());
    service.stop();

    std::fs::remove_file(&file).unwrap();
    // What is beside it is no better: the real file, where a download would be.
    let cache = state.join("data/telco-customer-churn.csv");
    std::fs::copy(&real, cache).unwrap();
    let watch = Talking::start(run(&["monitor", "--every", "2s", "--min-drift-features", "1"]));
    let told_of = watch.line(|line| line.contains("alert opened"));
    let why = "; retraining is left to a person: v1, which is in production, was trained on \
               \"customers.csv\", SHA-256 ";
    assert!(told_of.contains(why) && told_of.contains("--data FILE"), "{told_of}");
    watch.terminate();
    assert_eq!(watch.ended().last().map(String::as_str), Some("stopped"));
    let decisions = told(&run(&["retrain", "--decisions"]).output().unwrap());
    assert_eq!(decisions.matches("\"challenger_version\"").count(), 1, "{decisions}");
}

#[test]
fn a_named_file_is_remembered_by_the_schedule_and_one_that_is_gone_costs_no_look() {
    let Some(real) = real_data() else { return };
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state");
    let file = own_file(&real, root.path());
    let named = root.path().join("named.csv");
    std::fs::copy(&file, &named).unwrap();
    let run = |arguments: &[&str]| command(arguments, Some(&state));
    told(&run(&["train", "--data", &file]).output().unwrap());
    let every = ["monitor", "--every", "2s", "--min-drift-features", "1", "--data"];
    let watch = Talking::start(run(&[&every[..], &[named.to_str().unwrap()]].concat()));
    watch.line(|line| line.contains("no traffic"));
    let places = std::fs::read_to_string(state.join("data/places.json")).unwrap();
    assert!(places.contains("named.csv"), "{places}");

    std::fs::remove_file(&named).unwrap();
    let service = Serving::start(|arguments| queued(run(arguments)));
    let drift = ["seed-traffic", "--drift", "--count", "300", "--data", &file];
    told(&run(&[&drift[..], &["--url", &service.url]].concat()).output().unwrap());
    let line = watch.line(|line| {
        assert!(!(line.contains("attempt") && line.contains("cannot read")), "{line}");
        line.contains("alert opened")
    });
    let why = "; retraining is left to a person: cannot read ";
    assert!(line.contains(why) && line.contains("named.csv"), "{line}");
    watch.terminate();
    watch.ended();
    service.stop();
}

#[test]
fn a_schedule_retrains_on_the_data_that_was_made_for_the_training() {
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state");
    let run = |arguments: &[&str]| {
        let mut command = command(arguments, Some(&state));
        // Nothing can be downloaded.
        command.env("HTTPS_PROXY", "http://127.0.0.1:1");
        command
    };
    let trained = told(&run(&["train"]).output().unwrap());
    assert!(trained.contains("DATA: GENERATED, NOT REAL"), "{trained}");
    let service = Serving::start(|arguments| queued(run(arguments)));
    let drift = ["seed-traffic", "--drift", "--count", "300", "--url", &service.url];
    told(&run(&drift).output().unwrap());
    service.stop();
    let watch = Talking::start(run(&["monitor", "--every", "2s", "--min-drift-features", "1"]));
    let line = watch.line(|line| line.contains("alert opened"));
    assert!(!line.contains("left to a person"), "{line}");
    watch.terminate();
    watch.ended();
}
