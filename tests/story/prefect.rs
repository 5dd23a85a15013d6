//! `examples/prefect/flow.py` under a real Prefect: once, and on its schedule.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::python::python;
use crate::story::serving::{Serving, signal};
use crate::{command, program, real_data, told};

/// How long Prefect may take for anything, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// A process with those that it starts, which are all gone when this is.
struct Family(Child);

impl Family {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).spawn().unwrap())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = signal("KILL", &group);
        let _ = self.0.wait();
    }
}

/// A Prefect server with a folder of its own.
struct Prefect {
    python: PathBuf,
    folder: tempfile::TempDir,
    api: String,
    server: Family,
}

impl Prefect {
    fn start(python: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = super::serving::free_port();
        let api = format!("http://127.0.0.1:{port}/api");
        let mut server = Self::python(&python, folder.path());
        server.args(["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port"]);
        server.arg(port.to_string()).stdout(log(folder.path())).stderr(log(folder.path()));
        let server = Family::start(&mut server);
        let mut prefect = Self { python, folder, api, server };
        let begun = Instant::now();
        while prefect.call("GET", "health", &Value::Null) != Some(Value::Bool(true)) {
            assert!(prefect.server.is_alive() && begun.elapsed() < PATIENCE, "{}", prefect.log());
            std::thread::sleep(Duration::from_millis(500));
        }
        prefect
    }

    /// Python without the settings of whoever runs the tests.
    fn python(python: &Path, folder: &Path) -> Command {
        let mut command = Command::new(python);
        for (name, _) in std::env::vars() {
            if name.starts_with("PMMDS_") || name.starts_with("PREFECT_") {
                command.env_remove(name);
            }
        }
        command
            .env("PREFECT_HOME", folder)
            .env("PREFECT_UI_ENABLED", "false")
            .env("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
            .env("NO_PROXY", "127.0.0.1")
            // Nothing is left beside the flow.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// The flow, on what `full_stack` has in `state`.
    fn flow(&self, arguments: &[&str], state: &Path, data: &Path) -> Command {
        let [program, state, data] =
            [&program(), state, data].map(|path| format!("'{}'", path.display()));
        let mut command = Self::python(&self.python, self.folder.path());
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prefect/flow.py"))
            .args(arguments)
            .env("PREFECT_API_URL", &self.api)
            .env("FULL_STACK", format!("{program} --state {state} --data {data}"));
        command
    }

    /// What the server answers; `None` while it does not.
    fn call(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("{}/{path}", self.api);
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client.request(method.parse().unwrap(), url).json(body);
            request.send().await.ok()?.json().await.ok()
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn log(folder: &Path) -> Stdio {
    std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap().into()
}

#[test]
fn prefect_runs_the_loop_once_and_on_its_schedule() {
    let (Some(data), Some(python)) = (real_data(), python("prefect")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let full_stack = |arguments: &[&str]| {
        let mut command = command(arguments, Some(&state));
        command.arg("--data").arg(&data);
        command
    };
    told(&full_stack(&["train"]).output().unwrap());
    let service = Serving::start(full_stack);
    let traffic = ["seed-traffic", "--drift", "--count", "400", "--url", &service.url];
    told(&full_stack(&traffic).output().unwrap());
    service.stop();

    let prefect = Prefect::start(python);
    let once = prefect.flow(&["once", "--slot", "none"], &state, &data).output().unwrap();
    let said = [once.stdout, once.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let said = said.concat();
    assert_eq!(once.status.code(), Some(1), "{said}\n{}", prefect.log());
    assert!(said.contains("of 19 features drifted"), "{said}");
    let decisions = told(&full_stack(&["retrain", "--decisions"]).output().unwrap());
    assert!(decisions.contains("\"challenger_version\": \"2\""), "{decisions}\n{said}");

    // `false` ends as drift does, and then as a retraining that failed: no verdict.
    let failed = prefect.flow(&["once"], &state, &data).env("FULL_STACK", "false").output();
    assert_eq!(failed.unwrap().status.code(), Some(2));

    let arguments = ["serve", "--every", "5", "--slot", "5s"];
    let mut flow = prefect.flow(&arguments, &state, &data);
    flow.stdout(log(prefect.folder.path())).stderr(log(prefect.folder.path()));
    let mut flow = Family::start(&mut flow);
    let begun = Instant::now();
    let done = json!({ "flow_runs": { "state": { "type": { "any_": ["COMPLETED"] } } } });
    let scheduled = loop {
        let runs = prefect.call("POST", "flow_runs/filter", &done).unwrap_or_default();
        let runs = runs.as_array().cloned().unwrap_or_default();
        if let Some(run) = runs.into_iter().find(|run| run["auto_scheduled"] == true) {
            break run;
        }
        assert!(flow.is_alive() && begun.elapsed() < PATIENCE, "{}", prefect.log());
        std::thread::sleep(Duration::from_secs(1));
    };
    assert_eq!(scheduled["created_by"]["type"], "SCHEDULE", "{scheduled}");
    assert_eq!(scheduled["parameters"], json!({ "slot": "5s" }));
    let summary = told(&full_stack(&["monitor", "--summary"]).output().unwrap());
    assert!(summary.contains("  0 rows  no traffic"), "{summary}");
}
