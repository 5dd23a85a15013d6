//! The whole story of `examples/full_stack`, told by the program itself: on the real data, on
//! generated data, and killed at random moments.
//!
//! Cargo builds the example with the tests. `PMMDS_STORY_KILLS` says how often it is killed (3).

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The example that was built with this test.
fn program() -> PathBuf {
    let here = std::env::current_exe().expect("the path of this test");
    let target = here.ancestors().nth(2).expect("the folder of the profile");
    let program =
        target.join("examples/full_stack").with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "{} is not there: cargo build --example full_stack",
        program.display()
    );
    program
}

/// The real file, beside the repository or where `PMMDS_TELCO_CSV` says.
fn real_data() -> Option<PathBuf> {
    let beside =
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/telco-customer-churn.csv");
    let path = std::env::var_os("PMMDS_TELCO_CSV").map_or_else(beside, PathBuf::from);
    if !path.exists() {
        eprintln!("SKIPPED: no real data at {}; PMMDS_TELCO_CSV names it", path.display());
    }
    path.exists().then_some(path)
}

fn command(arguments: &[&str], state: Option<&Path>) -> Command {
    let mut command = Command::new(program());
    command.args(arguments);
    if let Some(state) = state {
        command.arg("--state").arg(state);
    }
    // A setting of whoever runs the tests would be another story.
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("PMMDS_"));
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout);
    assert!(output.status.success(), "{}\n{told}\n{}", output.status, text(&output.stderr));
    told
}

#[test]
fn on_real_data_version_2_is_promoted_with_the_figures_of_the_data() {
    let Some(data) = real_data() else { return };
    let told = told(&command(&["--data", data.to_str().unwrap()], None).output().unwrap());
    for part in [
        "it is IBM's Telco file to the byte",
        "churn among them: 15.3 %",
        "stable: 0 of 19 features, largest PSI 0.0315, 600 rows",
        "drift: 13 of 19 features, largest PSI 6.9032, 3314 rows",
        "v1 0.80",
        "v2 0.83",
        "(1657 rows)",
        "stable: 0 of 19 features, largest PSI 0.0207, 829 rows",
        "NoNewData",
        "all 4743, each once",
        "version 2 was promoted and serves",
    ] {
        assert!(told.contains(part), "{part:?} was not told:\n{told}");
    }
}

#[test]
fn without_a_file_it_says_what_its_data_is_and_holds_as_well() {
    let told = told(&command(&[], None).output().unwrap());
    assert!(told.contains("DATA: "), "{told}");
    assert!(told.contains("version 2 was promoted and serves"), "{told}");
}

#[test]
fn killed_at_random_moments_it_goes_on() {
    let Some(data) = real_data() else { return };
    let kills: u32 = std::env::var("PMMDS_STORY_KILLS").map_or(3, |n| n.parse().unwrap());
    let state = tempfile::tempdir().unwrap();
    let data = ["--data", data.to_str().unwrap()];
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for kill in 0..kills {
        let mut story = command(&data, Some(state.path()));
        let mut child = story.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moment = Duration::from_millis(u64::from(rng.next_u32() % 6_000));
        std::thread::sleep(moment);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        println!("kill {kill} after {moment:?}: {status}");
        // What was left can be read: the next command opens every store.
        let summary = command(&["monitor", "--summary"], Some(state.path())).output().unwrap();
        told(&summary);
    }
    let told = told(&command(&data, Some(state.path())).output().unwrap());
    assert!(told.contains("all 4743, each once"), "{told}");
}

#[test]
fn a_typo_in_the_environment_stops_the_start() {
    let state = tempfile::tempdir().unwrap();
    let mut command = command(&["monitor"], Some(state.path()));
    let output = command.env("PMMDS_DRIFT_PSI_TRESHOLD", "0.3").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("PMMDS_DRIFT_PSI_TRESHOLD") && said.contains("PSI_THRESHOLD"), "{said}");
}

#[test]
fn every_setting_of_the_environment_acts() {
    let state = tempfile::tempdir().unwrap();
    // Each of these cannot be, so that it is seen to be read.
    for (name, value) in [
        ("PMMDS_API_HOST", "nowhere"),
        ("PMMDS_API_PORT", "70000"),
        ("PMMDS_ADMIN_TOKEN", "too short"),
        ("PMMDS_MODEL_NAME", "../x"),
        ("PMMDS_MODEL_ALIAS", "latest"),
        ("PMMDS_DRIFT_PSI_THRESHOLD", "-1"),
        ("PMMDS_DRIFT_PREDICTION_PSI_THRESHOLD", "NaN"),
        ("PMMDS_DRIFT_MIN_DRIFT_FEATURES", "0"),
        ("PMMDS_DRIFT_MIN_SAMPLES_REQUIRED", "0"),
        ("PMMDS_DRIFT_CURRENT_WINDOW_HOURS", "0"),
        ("PMMDS_DRIFT_ENABLE_ALERTS", "maybe"),
        ("PMMDS_DRIFT_ALERT_ON_PREDICTION_DRIFT", "maybe"),
        ("PMMDS_LOG_LEVEL", "loud"),
        ("PMMDS_LOG_JSON", "maybe"),
    ] {
        let what = if name == "PMMDS_ADMIN_TOKEN" { "serve" } else { "monitor" };
        let output = command(&[what], Some(state.path())).env(name, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(!said.contains("nothing is in production"), "{name} did not act: {said}");
    }
}

#[test]
fn what_cannot_be_is_said_and_exits_with_2() {
    for (arguments, part) in [
        (&["--data", "no/such/file.csv"][..], "no/such/file.csv"),
        (&["monitor", "--psi-threshold", "NaN"], "psi_threshold is NaN"),
        (&["serve", "--model-alias", "latest"], "alias \"latest\" cannot be used"),
        (&["serve", "--host", "0.0.0.0", "--port", "0"], "admin token"),
        (&["rollback"], "no version in production"),
        (&["monitor"], "nothing is in production"),
    ] {
        let state = tempfile::tempdir().unwrap();
        let output = command(arguments, Some(state.path())).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?} did not say {part:?}: {said}");
    }
}
