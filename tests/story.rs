//! The whole story of `examples/full_stack`, told by the program itself: on the real data, on
//! generated data, and killed at random moments; and its commands on one database at once.
//!
//! Cargo builds the example with the tests. `PMMDS_TEST_STORY_KILLS` says how often it is killed (3).

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sqlx::Connection;

use crate::story::private::Private;

mod python;
mod story {
    mod environment;
    mod limits;
    mod operators;
    mod origin;
    mod prefect;
    pub(crate) mod private;
    mod replicas;
    mod schedule;
    mod servers;
    mod serving;
    mod sigterm;
    mod skew;
    mod spool;
    mod start;
    mod tracing;
}

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

/// The real file, beside the repository or where `PMMDS_TEST_TELCO_CSV` says.
fn real_data() -> Option<PathBuf> {
    let beside =
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/telco-customer-churn.csv");
    let path = std::env::var_os("PMMDS_TEST_TELCO_CSV").map_or_else(beside, PathBuf::from);
    if !path.exists() {
        eprintln!("SKIPPED: no real data at {}; PMMDS_TEST_TELCO_CSV names it", path.display());
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
    let ours =
        |name: &String| ["PMMDS_", "MLFLOW_", "OTEL_", "PG"].iter().any(|of| name.starts_with(of));
    std::env::vars().map(|(name, _)| name).filter(ours).for_each(|name| {
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

/// What the real data gives, wherever it is kept.
#[track_caller]
fn assert_has_the_figures(told: &str) {
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
fn on_real_data_version_2_is_promoted_with_the_figures_of_the_data() {
    let Some(data) = real_data() else { return };
    let told = told(&command(&["--data", data.to_str().unwrap()], None).output().unwrap());
    assert_has_the_figures(&told);
}

/// Runs one statement on the server at `url`; its first column as text.
fn ask(url: &str, statement: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query_scalar(statement).fetch_all(&mut connection).await.unwrap()
    })
}

/// A new database on the server of the tests.
fn database(name: &str) -> Option<String> {
    let Ok(server) = std::env::var("PMMDS_TEST_POSTGRES") else {
        eprintln!("SKIPPED: no PostgreSQL; set PMMDS_TEST_POSTGRES, see scripts/services");
        return None;
    };
    let name = format!("pmmds_{name}_{}", std::process::id());
    ask(&server, &format!("CREATE DATABASE {name}"));
    Some(format!("{}/{name}", server.rsplit_once('/').unwrap().0))
}

/// The end of one that [`database`] gave.
fn drop_database(url: &str) {
    let (server, name) = url.rsplit_once('/').unwrap();
    ask(&format!("{server}/postgres"), &format!("DROP DATABASE {name} WITH (FORCE)"));
}

#[test]
fn on_postgresql_it_has_the_same_figures() {
    let (Some(data), Some(url)) = (real_data(), database("story")) else { return };
    let arguments = ["--data", data.to_str().unwrap(), "--database-url", &url];
    let state = tempfile::tempdir().unwrap();
    assert_has_the_figures(&told(&command(&arguments, Some(state.path())).output().unwrap()));
    for (query, expected) in [
        (
            "SELECT bool_and(n = 1)::text FROM (SELECT count(*) AS n FROM pmmds_store.predictions
            GROUP BY request_id) r",
            "true",
        ),
        ("SELECT (count(*) >= 4743)::text FROM pmmds_store.predictions", "true"),
        ("SELECT count(*)::text FROM pmmds_store.prediction_logs_default", "0"),
        (
            "SELECT string_agg(record -> 'report' ->> 'current_rows', ' ' ORDER BY created_at)
            FROM pmmds_store.drift_metrics",
            "600 3314 829",
        ),
        (
            "SELECT bool_and(record ->> 'message' LIKE '13 of 19 features drifted%'
            AND resolved_at IS NOT NULL)::text FROM pmmds_store.drift_alerts",
            "true",
        ),
        ("SELECT string_agg(DISTINCT state, ' ') FROM pmmds_store.promotion_decisions", "done"),
        (
            "SELECT string_agg(state, ' ' ORDER BY started_at) FROM pmmds_store.retraining_runs",
            "completed completed skipped completed",
        ),
    ] {
        assert_eq!(ask(&url, query), [expected], "{query}");
    }
    // The subcommands, on what the story has left.
    for subcommand in [["monitor", "--summary"], ["retrain", "--decisions"]] {
        let arguments = [&subcommand[..], &["--database-url", &url]].concat();
        let told = told(&command(&arguments, Some(state.path())).output().unwrap());
        assert!(told.contains("churn-classifier") || told.contains("v2"), "{told}");
    }
    // Another folder is another story.
    let output = command(&arguments, None).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("knows churn-classifier already") && !said.contains(&url), "{said}");
    drop_database(&url);
}

#[test]
fn a_restart_of_postgresql_in_mid_story_is_survived() {
    let (Some(data), Ok(_)) = (real_data(), std::env::var("PMMDS_TEST_POSTGRES")) else { return };
    let server = Private::new();
    let url = server.up("postgres");
    let state = server.state();
    let arguments = ["--data", data.to_str().unwrap(), "--database-url", &url];
    let mut restarts = 0;
    // A call that is under way when the server goes is answered with an error, which ends the
    // story; the next telling goes on where it was. The service between them waits by itself.
    for moment in [2_000, 4_000, 6_000] {
        let mut story = command(&arguments, Some(&state));
        let story = story.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = story.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        restarts += u32::from(child.try_wait().unwrap().is_none());
        server.run(&["stop", "postgres", "immediate"]);
        server.run(&["up", "postgres"]);
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("unavailable"), "{said}");
        }
    }
    assert!(restarts > 0, "no restart met the story");
    let told = told(&command(&arguments, Some(&state)).output().unwrap());
    assert!(told.contains("all 4743, each once"), "{told}");
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
    let kills: u32 = std::env::var("PMMDS_TEST_STORY_KILLS").map_or(3, |n| n.parse().unwrap());
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
fn what_the_tests_set_is_no_typo_and_mlflows_own_names_are_read() {
    let state = tempfile::tempdir().unwrap();
    let run = |variables: &[(&str, &str)]| {
        let mut command = command(&["monitor", "--summary"], Some(state.path()));
        command.envs(variables.iter().copied()).output().unwrap()
    };
    told(&run(&[("PMMDS_TEST_MLFLOW", "x"), ("PMMDS_TEST_POSTGRES", "y")]));
    let output = run(&[("MLFLOW_TRACKING_URI", "http://mlflow:pass@host")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("user name or password") && !said.contains("mlflow:pass"), "{said}");
}

#[test]
fn what_cannot_be_is_said_and_exits_with_2() {
    for (arguments, part) in [
        (&["--data", "no/such/file.csv"][..], "no/such/file.csv"),
        (&["monitor", "--psi-threshold", "NaN"], "psi_threshold is NaN"),
        (&["monitor", "--min-drift-features", "0"], "min_drift_features is 0, expected at least 1"),
        (&["serve", "--model-alias", "latest"], "alias \"latest\" cannot be used"),
        (&["serve", "--host", "0.0.0.0", "--port", "0"], "admin token"),
        (&["rollback"], "no version in production"),
        (&["monitor"], "nothing is in production"),
        (&["monitor", "--mlflow-uri", "s3://bucket"], "expected http or https"),
        (&["monitor", "--mlflow-uri", "http://127.0.0.1:1"], "unavailable"),
        (&["monitor", "--mlflow-uri", "http://x", "--registry", "y"], "either"),
        (&["monitor", "--cron", "61 * * * *"], "value must be in range 0..=59; found 61"),
        (&["serve", "--every", "0s"], "0s is not from 1s to a year"),
    ] {
        let state = tempfile::tempdir().unwrap();
        let output = command(arguments, Some(state.path())).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?} did not say {part:?}: {said}");
    }
}
