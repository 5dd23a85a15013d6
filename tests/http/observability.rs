//! The dashboard and the alert rules ask for metrics that the service has.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::ledger::full_ledger;
use crate::support::serve;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters/axum/observability").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// Every name of a metric in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    text.split(word).filter(|word| word.starts_with("pmmds_")).collect()
}

/// The expressions of the dashboard, and whether each panel has some.
fn expressions(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut found = Vec::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have one id");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        found.extend(targets.iter().map(|target| target["expr"].as_str().unwrap()));
    }
    found
}

#[tokio::test]
async fn they_name_what_the_service_exposes() {
    let ledger = full_ledger().await;
    let server = serve(|b| b.ledger(ledger)).await;
    let text = server.client.get(server.url("/metrics")).send().await.unwrap();
    let text = text.text().await.unwrap();
    let mut exposed = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        match kind {
            "counter" => drop(exposed.insert(format!("{name}_total"))),
            "gauge" => drop(exposed.insert(name.to_owned())),
            "histogram" => {
                exposed.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            }
            _ => panic!("{line}"),
        }
    }
    let dashboard: Value = serde_json::from_str(&read("grafana.json")).unwrap();
    let expressions = expressions(&dashboard).join("\n");
    let rules = read("alerts.yml");
    let rules: String = rules.lines().filter(|line| !line.trim().starts_with('#')).collect();
    for (what, text) in [("the dashboard", &expressions), ("the rules", &rules)] {
        let names = names(text);
        assert!(names.len() > 10, "{what}: {names:?}");
        for name in names {
            assert!(exposed.contains(name), "{what}: {name} is none of {exposed:?}");
        }
    }
    // Of alerts about drift alone it is said that they are about drift.
    assert!(text.contains(r#"pmmds_alerts_open{about="drift","#), "{text}");
    assert!(rules.contains(r#"pmmds_alerts_open{about="drift"}"#), "{rules}");
    assert!(!rules.contains("pmmds_alerts_open)"), "{rules}");
    // And nothing that is exposed is shown nowhere.
    let shown = names(&expressions);
    for name in exposed.iter().filter(|name| !name.ends_with("_sum") && !name.ends_with("_count")) {
        assert!(shown.contains(name.as_str()), "{name} is on no panel");
    }
}

/// The checker of Prometheus itself, where it is installed.
#[test]
fn promtool_takes_the_rules() {
    let checked =
        match Command::new("promtool").args(["check", "rules"]).arg(file("alerts.yml")).output() {
            Ok(checked) => checked,
            Err(error) => {
                // Not `eprintln`, which the test harness swallows.
                let note = "SKIPPED: no promtool; apt-get install prometheus has it";
                let _ = writeln!(std::io::stderr(), "{note} ({error})");
                return;
            }
        };
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    let complained = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{said}{complained}");
    assert!(said.contains("19 rules found"), "{said}{complained}");
}
