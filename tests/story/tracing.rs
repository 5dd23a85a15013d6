//! What the program sends to a collector of traces, read by the messages of OpenTelemetry itself.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::schedule::Talking;
use super::servers::http_with;
use super::serving::Serving;
use crate::{command, python, told};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// For what comes in seconds on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// The next JSON that `collector` says.
fn next(collector: &Talking) -> Value {
    loop {
        let line = collector.said.recv_timeout(PATIENCE).expect("the collector was sent something");
        if let Ok(value) = serde_json::from_str(&line) {
            return value;
        }
    }
}

/// Asks `url` as a part of a trace; the status.
fn ask(url: &str, path: &str) -> u16 {
    http_with("GET", url, path, &format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n")).0
}

#[test]
fn a_collector_is_sent_the_spans_of_requests() {
    let Some(python) = python::python("otlp") else { return };
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/otlp_receiver.py");
    let mut collector = Command::new(python);
    collector.arg(program);
    let collector = Talking::start(collector);
    let port = next(&collector);

    let state = tempfile::tempdir().unwrap();
    told(&command(&["train"], Some(state.path())).output().unwrap());
    let serving = Serving::start(|serve| {
        let mut command = command(serve, Some(state.path()));
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
        command
    });
    assert_eq!(ask(&serving.url, "/model"), 200);
    assert_eq!(ask(&serving.url, "/nowhere?token=canary"), 404);
    // What was not sent yet is sent at the end.
    serving.stop();

    let spans = [next(&collector), next(&collector)];
    let of = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let (model, nowhere) = (of("GET /model"), of("GET"));
    for span in [model, nowhere] {
        assert_eq!((&span["trace"], &span["parent"]), (&TRACE.into(), &PARENT.into()), "{span}");
        assert_eq!((&span["path"], &span["service"]), (&"/v1/traces".into(), &"pmmds".into()));
        // SERVER, and nothing that is the server's failure.
        assert_eq!((&span["kind"], &span["status"]), (&2.into(), &0.into()), "{span}");
        assert_eq!(span["content_type"], "application/x-protobuf");
    }
    assert_eq!(model["attributes"]["http.route"], "/model");
    assert_eq!(nowhere["attributes"]["http.response.status_code"], "404");
    assert!(!nowhere.to_string().contains("canary"), "{nowhere}");

    // The whole URL for traces alone wins; and nothing is sent where that is said.
    for off in ["TRUE", "false"] {
        let serving = Serving::start(|serve| {
            let mut command = command(serve, Some(state.path()));
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
            let whole = format!("http://127.0.0.1:{port}/elsewhere/traces?of={off}");
            command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole);
            command.env("OTEL_SDK_DISABLED", off);
            command
        });
        assert_eq!(ask(&serving.url, "/model"), 200);
        serving.stop();
    }
    assert_eq!(next(&collector)["path"], "/elsewhere/traces?of=false");
}

#[test]
fn a_collector_that_is_not_there_stops_nobody() {
    let state = tempfile::tempdir().unwrap();
    told(&command(&["train"], Some(state.path())).output().unwrap());
    let serving = Serving::start(|serve| {
        let mut command = command(serve, Some(state.path()));
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
        command
    });
    assert_eq!(ask(&serving.url, "/model"), 200);
    serving.stop();
}
