//! Every variable of the environment does what it says: with another value the program does
//! something else.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::schedule::Talking;
use super::servers::{http, http_with};
use super::serving::{Serving, free_port};
use crate::{ask, command, database, drop_database, real_data, told};

type Variables<'v> = &'v [(&'v str, &'v str)];

const TOKEN: &str = "a-token-of-more-than-32-characters";

fn run(arguments: &[&str], state: &Path, variables: Variables) -> Output {
    command(arguments, Some(state)).envs(variables.iter().copied()).output().unwrap()
}

fn begin(arguments: &[&str], state: &Path, variables: Variables) -> Child {
    let mut command = command(arguments, Some(state));
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A password in which every character is one that a URL would give a meaning of its own.
const PASSWORD: &str = " p@:/?#%20&=+ '\"\\ ";

#[test]
fn a_database_is_found_by_its_parts_and_each_of_them_acts() {
    let Some(url) = database("parts") else { return };
    let (server, name) = url.rsplit_once('/').unwrap();
    let (_, place) = server.rsplit_once('@').unwrap();
    let (host, port) = place.split_once(':').unwrap();
    let user = format!("{name} of:the/parts@");
    let quoted = PASSWORD.replace('\'', "''");
    ask(&url, &format!("CREATE ROLE \"{user}\" LOGIN PASSWORD '{quoted}'"));
    ask(&url, &format!("GRANT CREATE ON DATABASE {name} TO \"{user}\""));
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let with = |other: Option<(&'static str, &str)>, arguments: &[&str]| {
        let mut variables = BTreeMap::from([
            ("PMMDS_DB_HOST", host),
            ("PMMDS_DB_PORT", port),
            ("PMMDS_DB_USER", &user),
            ("PMMDS_DB_PASSWORD", PASSWORD),
            ("PMMDS_DB_NAME", name),
        ]);
        variables.extend(other);
        let variables: Vec<_> = variables.into_iter().collect();
        begin(arguments, state, &variables)
    };
    let summary = ["monitor", "--summary"];
    told(&with(None, &summary).wait_with_output().unwrap());
    let owner = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace
        WHERE nspname = 'pmmds_store'";
    assert_eq!(ask(&url, owner), [user.as_str()]);
    assert!(!state.join("pmmds.sqlite").exists());

    // As a file of a secret is mounted: the line end is no part of it.
    let output = with(Some(("PMMDS_DB_PASSWORD", &format!("{PASSWORD}\n"))), &summary);
    let output = output.wait_with_output().unwrap();
    told(&output);
    let said = text(&output.stderr);
    assert!(said.contains("white space round PMMDS_DB_PASSWORD was taken off"), "{said}");
    assert!(!said.contains("p@:"), "{said}");

    // Each alone leads elsewhere; those that nobody answers take as long as the program waits.
    let wrong = [
        ("PMMDS_DB_HOST", "127.0.0.77", format!("127.0.0.77:{port}/{name}")),
        ("PMMDS_DB_PORT", "1", format!("{host}:1/{name}")),
        ("PMMDS_DB_USER", "nobody here", "failed for user \"nobody here\"".to_owned()),
        ("PMMDS_DB_PASSWORD", "canary", format!("failed for user \"{user}\"")),
        ("PMMDS_DB_NAME", "no such", "database \"no such\" does not exist".to_owned()),
    ];
    let begun = wrong.map(|(name, value, part)| (part, with(Some((name, value)), &summary)));
    for (part, child) in begun {
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&part) && !said.contains("canary"), "{part}: {said}");
    }

    // The URL wins, and that is said.
    let output = with(Some(("PMMDS_DATABASE_URL", &url)), &["config"]);
    let output = output.wait_with_output().unwrap();
    let (shown, said) = (told(&output), text(&output.stderr));
    let parts = "PMMDS_DB_HOST, PMMDS_DB_PORT, PMMDS_DB_USER, PMMDS_DB_PASSWORD, PMMDS_DB_NAME";
    assert!(said.contains("PMMDS_DATABASE_URL says where log and ledger are"), "{said}");
    assert!(said.contains(&format!("not used: {parts}")), "{said}");
    let password = server.split(['/', '@', ':']).nth(4).unwrap();
    for secret in [PASSWORD.trim(), password] {
        assert!(!shown.contains(secret) && !said.contains(secret), "{shown}{said}");
    }
    // Of a URL alone too there are tables.
    assert!(ask(&url, "DROP SCHEMA pmmds_store CASCADE").is_empty());
    told(&run(&summary, state, &[("PMMDS_DATABASE_URL", &url)]));
    assert_ne!(ask(&url, owner), [user.as_str()]);

    drop_database(&url);
    ask(&format!("{server}/postgres"), &format!("DROP ROLE \"{user}\""));
}

#[test]
fn what_is_in_force_is_shown_with_where_it_comes_from() {
    let state = tempfile::tempdir().unwrap();
    let variables = [
        ("PMMDS_DB_HOST", "db.internal"),
        ("PMMDS_DB_PASSWORD", "canary"),
        ("PMMDS_ADMIN_TOKEN", &*format!("{TOKEN}canary\n")),
        ("PMMDS_API_PORT", "9000"),
        ("PMMDS_DRIFT_PSI_THRESHOLD", "0.3"),
    ];
    let output = run(&["config", "--psi-threshold", "0.25"], state.path(), &variables);
    let shown = told(&output);
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for expected in [
        "PMMDS_DB_PASSWORD *** environment",
        "PMMDS_ADMIN_TOKEN *** environment",
        "PMMDS_API_PORT 9000 environment",
        "PMMDS_DRIFT_PSI_THRESHOLD 0.25 command line",
        "PMMDS_MODEL_NAME churn-classifier default",
        "PMMDS_DATABASE_URL - default",
    ] {
        assert_eq!(line(expected.split(' ').next().unwrap()), expected);
    }
    // What the original took where nothing was said.
    assert!(shown.contains("log and ledger are in PostgreSQL, db.internal:5432/pmmds"), "{shown}");
    let all = format!("{shown}{}", text(&output.stderr));
    assert!(all.contains("PMMDS_ADMIN_TOKEN was taken off") && !all.contains("canary"), "{all}");
    assert!(!state.path().join("pmmds.sqlite").exists(), "nothing was opened");
}

#[test]
fn everything_that_cannot_be_is_told_at_once() {
    let state = tempfile::tempdir().unwrap();
    let impossible = [
        ("PMMDS_API_HOST", "nowhere"),
        ("PMMDS_API_PORT", "70000"),
        ("PMMDS_DB_PORT", "0"),
        ("PMMDS_MODEL_CACHE", "maybe"),
        ("PMMDS_VERSION_SKEW_SECONDS", "0"),
        ("PMMDS_MODEL_NAME", "../x"),
        ("PMMDS_MODEL_ALIAS", "latest"),
        ("PMMDS_DRIFT_PSI_THRESHOLD", "much"),
        ("PMMDS_DRIFT_PREDICTION_PSI_THRESHOLD", ""),
        ("PMMDS_DRIFT_MIN_DRIFT_FEATURES", "-1"),
        ("PMMDS_DRIFT_MIN_SAMPLES_REQUIRED", "1e3"),
        ("PMMDS_DRIFT_CURRENT_WINDOW_HOURS", "0"),
        ("PMMDS_DRIFT_GRACE_SECONDS", "86401"),
        ("PMMDS_DRIFT_ENABLE_SCHEDULED_MONITORING", "maybe"),
        ("PMMDS_DRIFT_MONITOR_INTERVAL_HOURS", "0"),
        ("PMMDS_ON_DRIFT", "maybe"),
        ("PMMDS_DRIFT_ENABLE_ALERTS", "maybe"),
        ("PMMDS_DRIFT_ALERT_ON_PREDICTION_DRIFT", "maybe"),
        ("PMMDS_ALERT_WEBHOOK_SHAPE", "morse"),
        ("PMMDS_LOG_LEVEL", "loud"),
        ("PMMDS_LOG_JSON", "maybe"),
        ("PMMDS_DRIFT_PSI_TRESHOLD", "0.3"),
        ("PMMDS_NOTHING_AT_ALL", "1"),
    ];
    let output = run(&["monitor", "--colour"], state.path(), &impossible);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("error: 24 settings cannot be used"), "{said}");
    for (name, value) in impossible {
        let line = said.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or("");
        let value = format!("invalid value '{value}'");
        let told = line.contains(&value) || line.contains("is no setting") || line.contains("''");
        assert!(told, "{name}: {said}");
    }
    let meant = "PMMDS_DRIFT_PSI_TRESHOLD is no setting; did you mean PMMDS_DRIFT_PSI_THRESHOLD?";
    assert!(said.contains(meant) && said.contains("'--colour' found"), "{said}");
    assert!(said.contains("PMMDS_NOTHING_AT_ALL is no setting; known are: PMMDS_"), "{said}");

    // What is of the right kind, and cannot be all the same.
    let token = "canary-short";
    let impossible = [
        ("PMMDS_API_HOST", "0.0.0.0", "0.0.0.0"),
        ("PMMDS_ADMIN_TOKEN", token, "shorter than 32 characters"),
        ("PMMDS_MLFLOW_TRACKING_URI", "file:///srv/mlruns", "expected http or https"),
        ("PMMDS_DATABASE_URL", "mysql://u:canary@h/d", "does not begin with postgres://"),
        ("PMMDS_ALERT_WEBHOOK_URL", "ftp://canary/", "neither http nor https"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://canary:4317", "neither http nor https"),
        ("PMMDS_DRIFT_PSI_THRESHOLD", "-1", "psi_threshold is -1"),
        ("PMMDS_DRIFT_PREDICTION_PSI_THRESHOLD", "NaN", "prediction_psi_threshold is NaN"),
        ("PMMDS_DRIFT_MIN_DRIFT_FEATURES", "20", "is 20, expected at most 19"),
        ("PMMDS_DRIFT_MIN_SAMPLES_REQUIRED", "0", "at least 1"),
    ];
    let variables = impossible.map(|(name, value, _)| (name, value));
    let output = run(&["serve"], state.path(), &variables);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("canary"), "{said}");
    for (name, _, why) in &impossible[1..] {
        let line = said.lines().find(|line| line.trim_start().starts_with(&format!("{name}: ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}: {said}");
    }
    let output = run(&["serve"], state.path(), &[("PMMDS_API_HOST", "0.0.0.0")]);
    let said = text(&output.stderr);
    assert!(said.starts_with("error: PMMDS_API_HOST: 0.0.0.0 is open to others"), "{said}");
    assert_eq!(output.status.code(), Some(2));
    let traces = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://canary:4317"),
    ];
    let output = run(&["serve"], state.path(), &traces);
    let said = text(&output.stderr);
    let why = "error: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: is neither http nor https";
    assert!(said.starts_with(why) && !said.contains("canary"), "{said}");
    let output = run(&["monitor"], state.path(), &[("PMMDS_DB_PASSWORD", "canary")]);
    let said = text(&output.stderr);
    assert!(said.contains("PMMDS_DB_HOST is not set") && !said.contains("canary"), "{said}");
    assert_eq!(output.status.code(), Some(2));
    assert!(std::fs::read_dir(state.path()).unwrap().next().is_none(), "something was begun");
}

#[test]
fn what_kubernetes_sets_for_a_service_is_no_setting_and_no_mystery() {
    let state = tempfile::tempdir().unwrap();
    let of_its_own = [
        ("PMMDS_SERVICE_HOST", "10.0.0.1"),
        ("PMMDS_SERVICE_PORT_HTTP", "80"),
        ("PMMDS_PORT", "tcp://10.0.0.1:80"),
        ("PMMDS_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    told(&run(&["config"], state.path(), &of_its_own));
    let output = run(&["config"], state.path(), &[("PMMDS_DB_PORT", "tcp://10.0.0.1:5432")]);
    let said = text(&output.stderr);
    assert!(said.contains("PMMDS_DB_PORT is set by Kubernetes"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

/// What one receiver of a POST is sent.
fn receiver() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        let (mut taken, mut part) = (String::new(), [0; 4096]);
        while !taken.contains("\r\n\r\n") || taken.starts_with("POST") && !taken.ends_with('}') {
            let bytes = stream.read(&mut part).unwrap();
            assert!(bytes > 0, "{taken}");
            taken.push_str(&String::from_utf8_lossy(&part[..bytes]));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        taken
    });
    (url, taken)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn each_variable_of_the_monitor_changes_what_it_finds() {
    let Some(data) = real_data() else { return };
    let data = ["--data", data.to_str().unwrap()];
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("0");
    told(&run(&[&["train"], &data[..]].concat(), &folder, &[]));
    let service = Serving::start(|arguments| command(arguments, Some(&folder)));
    let seed = ["seed-traffic", "--drift", "--count", "300", "--url", &service.url];
    told(&run(&[&seed, &data[..]].concat(), root.path(), &[]));
    service.stop();

    // Each looks at a copy, so that nobody's alert is in another's way.
    let mut looks = 0;
    let mut look = |variables: Variables| {
        looks += 1;
        let state = root.path().join(looks.to_string());
        copy(&folder, &state);
        let output = run(&["monitor"], &state, variables);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.code().unwrap(), said)
    };
    let usual = look(&[]);
    let is = |found: &(i32, String), code: i32, has: &[&str], has_not: &[&str]| {
        assert_eq!(found.0, code, "{}", found.1);
        has.iter().for_each(|part| assert!(found.1.contains(part), "{part}: {}", found.1));
        has_not.iter().for_each(|part| assert!(!found.1.contains(part), "{part}: {}", found.1));
    };
    // Which customers come is drawn: one feature more or less drifts.
    let (alert, predictions) = (" of 19 features drifted: ", "  predictions drifted: PSI");
    is(&usual, 1, &["\ndrift: 1", alert, predictions], &[]);
    let no_feature = ("PMMDS_DRIFT_PSI_THRESHOLD", "50");
    is(&look(&[no_feature]), 0, &["\nstable: 0 of 19", " opened: predictions drifted"], &[alert]);
    is(
        &look(&[("PMMDS_DRIFT_PREDICTION_PSI_THRESHOLD", "50")]),
        1,
        &["\ndrift: 1", alert],
        &[predictions],
    );
    is(
        &look(&[("PMMDS_DRIFT_MIN_DRIFT_FEATURES", "19")]),
        1,
        &["\nfeature drift: 1"],
        &["\ndrift: "],
    );
    is(
        &look(&[("PMMDS_DRIFT_MIN_SAMPLES_REQUIRED", "301")]),
        3,
        &["insufficient data (300 of 301 rows)"],
        &[],
    );
    is(&look(&[("PMMDS_DRIFT_ENABLE_ALERTS", "false")]), 1, &["\ndrift: 1"], &[" opened: "]);
    is(
        &look(&[no_feature, ("PMMDS_DRIFT_ALERT_ON_PREDICTION_DRIFT", "false")]),
        0,
        &[predictions],
        &[" opened: "],
    );
    let hours = |look: &str| {
        let (_, window) = look.split_once(" v1, ").unwrap();
        let window = window.split(',').next().unwrap();
        let (start, end) = window.split_once(" .. ").unwrap();
        let [start, end] = [start, end].map(|at| at.parse::<pmmds::Timestamp>().unwrap());
        end.since(start).as_secs() / 3600
    };
    is(&look(&[("PMMDS_DRIFT_GRACE_SECONDS", "3600")]), 3, &["\nno traffic"], &[]);
    let narrow = look(&[("PMMDS_DRIFT_CURRENT_WINDOW_HOURS", "7")]);
    assert_eq!((hours(&usual.1), hours(&narrow.1)), (24, 7));

    let (url, taken) = receiver();
    look(&[("PMMDS_ALERT_WEBHOOK_URL", &url), ("PMMDS_ALERT_WEBHOOK_SHAPE", "slack")]);
    let taken = taken.join().unwrap();
    let body: Value = serde_json::from_str(taken.split_once("\r\n\r\n").unwrap().1).unwrap();
    let slack = body["text"].as_str().is_some_and(|text| text.contains(" of 19 features drifted"));
    assert!(slack && body["alert_id"].is_null(), "{body}");
    let (url, taken) = receiver();
    look(&[("PMMDS_ALERT_WEBHOOK_URL", &url)]);
    assert!(taken.join().unwrap().contains("\"alert_id\""));
}

#[test]
fn each_variable_of_the_service_acts() {
    let Some(data) = real_data() else { return };
    let data = data.to_str().unwrap();
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let named = [("PMMDS_MODEL_NAME", "other"), ("PMMDS_MODEL_ALIAS", "live")];
    told(&run(&["train", "--data", data], state, &named));
    let serve = |variables: Variables| {
        let mut command = command(&["serve", "--data", data], Some(state));
        command.envs(variables.iter().copied());
        let talking = Talking::start(command);
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.starts_with("  monitor ")) {
            said.push(talking.said.recv_timeout(Duration::from_secs(300)).unwrap());
        }
        (talking, said)
    };
    let port = free_port().to_string();
    let more = [
        ("PMMDS_API_HOST", "127.0.0.2"),
        ("PMMDS_API_PORT", &port),
        ("PMMDS_ADMIN_TOKEN", TOKEN),
        ("PMMDS_DRIFT_MONITOR_INTERVAL_HOURS", "6"),
        ("PMMDS_DRIFT_CURRENT_WINDOW_HOURS", "7"),
        ("PMMDS_ON_DRIFT", "tell"),
        ("PMMDS_LOG_LEVEL", "info"),
        ("PMMDS_LOG_JSON", "true"),
    ];
    let (service, said) = serve(&[&named[..], &more].concat());
    let plan = "every 6 h, the last 7 h; drift is told, and retraining left to you";
    for line in ["serving other v1", &format!("  monitor      {plan}")] {
        assert!(said.iter().any(|said| said == line), "{line}: {said:#?}");
    }
    let base = format!("http://127.0.0.2:{port}");
    let (_, model) = http("GET", &base, "/model");
    let model: Value = serde_json::from_str(&model).unwrap();
    assert_eq!((&model["name"], &model["alias"]), (&"other".into(), &"live".into()));
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err(), "it listens elsewhere");
    assert_eq!(http("POST", &base, "/model/reload").0, 401);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(http_with("POST", &base, "/model/reload", &token).0, 200);
    // The same address once more.
    let taken = run(&["serve"], state, &more[..3]);
    let complaint = text(&taken.stderr);
    assert_eq!(taken.status.code(), Some(2), "{complaint}");
    let cannot = format!("cannot listen on 127.0.0.2:{port}");
    assert!(complaint.contains(&cannot), "{complaint}");
    service.terminate();
    let rest = service.ended();
    let logged = [said, rest].concat();
    let logged: Vec<&String> = logged.iter().filter(|line| line.starts_with('{')).collect();
    let level = |level: &str| {
        let of = |line: &&&String| serde_json::from_str::<Value>(line).unwrap()["level"] == level;
        logged.iter().filter(of).count()
    };
    assert!(level("INFO") > 0 && level("DEBUG") == 0, "{logged:#?}");

    // Where the defaults would monitor, retrain and warn.
    let off = ("PMMDS_DRIFT_ENABLE_SCHEDULED_MONITORING", "false");
    let port = free_port().to_string();
    let (service, said) = serve(&[("PMMDS_API_PORT", &port), off, ("PMMDS_LOG_LEVEL", "error")]);
    assert!(said.iter().any(|line| line == "  monitor      off"), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with("nothing is in production")), "{said:#?}");
    service.terminate();
    let rest = [said, service.ended()].concat().join("\n");
    assert!(!rest.contains("WARN") && !rest.contains("{\""), "{rest}");
    let port = free_port().to_string();
    let (service, said) = serve(&[&named[..], &[("PMMDS_API_PORT", &port)]].concat());
    let plan = said.iter().find(|line| line.starts_with("  monitor ")).unwrap();
    assert!(plan.contains("every 1 h, the last 24 h; drift retrains"), "{plan}");
    let base = format!("http://127.0.0.1:{port}");
    assert_eq!(http("POST", &base, "/model/reload").0, 200, "open to this machine");
    service.terminate();
    let rest = [said, service.ended()].concat().join("\n");
    assert!(rest.contains("WARN") && rest.contains("without an admin token"), "{rest}");
}

#[test]
fn models_are_looked_for_where_the_variable_says() {
    let state = tempfile::tempdir().unwrap();
    let (url, taken) = receiver();
    // It is no MLflow server, so that it ends there.
    let output = run(&["rollback"], state.path(), &[("PMMDS_MLFLOW_TRACKING_URI", &url)]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("mlflow: "), "{said}");
    let taken = taken.join().unwrap();
    assert!(taken.contains(" /api/2.0/mlflow/"), "{taken}");
}
