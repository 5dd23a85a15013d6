//! L12: whatever a server answers is an answer or an error, and never that there is no champion.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

use super::super::address::{Place, tracking_uri};
use super::super::mlmodel::flavor_names;
use super::super::versions::{DIGEST_TAG, RUN_TAG};
use super::fake::{Fake, json};
use crate::ErrorKind;
use crate::registry::{Alias, ModelRegistry, VersionId};

/// Pieces of URLs and of paths.
fn pieces() -> impl Strategy<Value = String> {
    let known = [
        "mlflow-artifacts",
        "runs",
        "models",
        "http",
        "https",
        "file",
        "s3",
        ":",
        "/",
        "//",
        "..",
        ".",
        "%2e",
        "\\",
        "#",
        "?",
        "@",
        "[",
        "]",
        "localhost",
        "169.254.169.254",
        "[::1]",
        ":5000",
        "a",
        "\0",
        "\u{202e}",
        " ",
        "é",
    ];
    vec(select(known.to_vec()), 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_a_place_below_the_server_or_refused(text in any::<String>(), pieces in pieces()) {
        let base = tracking_uri("http://localhost:5000", false).unwrap();
        for uri in [&text, &pieces, &format!("mlflow-artifacts:{pieces}"), &format!("runs:/{pieces}")] {
            let parts = match Place::read(uri, &base) {
                Ok(Place::Here(path)) => path,
                Ok(Place::Run { run, path }) => [vec![run], path].concat(),
                Ok(Place::Model(id)) => vec![id],
                Err(error) => {
                    let kind = error.kind();
                    prop_assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::NotSupported));
                    continue;
                }
            };
            for part in parts {
                let odd = ['/', '\\', '%', '#', '?', '@', ':', '\0'];
                prop_assert!(!part.is_empty() && part != "." && part != "..", "{uri:?}: {part:?}");
                prop_assert!(!part.contains(odd), "{uri:?}: {part:?}");
            }
        }
        for uri in [&text, &pieces, &format!("http://{pieces}")] {
            if let Ok(url) = tracking_uri(uri, false) {
                prop_assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_have_flavors_or_none(
        bytes in vec(any::<u8>(), 0..200),
        lines in vec(select(&["flavors:\n", "  a:\n", "    b: c\n", "{", "}", "\"flavors\":", "\t", "é"][..]), 0..10),
    ) {
        for bytes in [&bytes[..], lines.concat().as_bytes()] {
            prop_assert!(flavor_names(bytes).len() <= bytes.len());
        }
    }
}

/// What an honest server says on the way to the files of version 3.
fn honest(path: &str) -> String {
    let tags = [(RUN_TAG, "run-1".to_owned()), (DIGEST_TAG, "0".repeat(64))];
    let tags = tags.map(|(key, value)| serde_json::json!({ "key": key, "value": value }));
    let version = serde_json::json!({ "name": "churn", "version": "3", "tags": tags,
        "creation_timestamp": 1_772_366_400_000_i64, "aliases": ["production"] });
    match path.split('?').next().unwrap_or_default() {
        path if path.ends_with("get-download-uri") => {
            serde_json::json!({ "artifact_uri": "mlflow-artifacts:/1/models/m-1/artifacts" })
        }
        path if path.ends_with("pmmds.json") => {
            let sum = "0".repeat(64);
            let file = serde_json::json!({ "name": "model.json", "bytes": 2, "sha256": sum });
            serde_json::json!({ "format_version": 1, "digest": sum, "files": [file] })
        }
        path if path.ends_with("registered-models/get") => serde_json::json!({ "registered_model":
            { "name": "churn", "aliases": [{ "alias": "production", "version": "3" }] } }),
        path if path.ends_with("search") => serde_json::json!({ "model_versions": [version] }),
        _ => serde_json::json!({ "model_version": version }),
    }
    .to_string()
}

#[test]
fn a_changed_answer_is_an_error_or_a_version() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inserted = prop_oneof![
        select(vec![
            &b"\""[..],
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b"-",
            b"1e400",
            b"null",
            b"99",
            b"0",
            b"\xff"
        ])
        .prop_map(<[u8]>::to_vec),
        vec(any::<u8>(), 0..3),
    ];
    let edits = vec((any::<Index>(), 0_usize..6, inserted), 1..4);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) };
    let checked = TestRunner::new(config).run(&edits, |edits| {
        runtime.block_on(async {
            let fake = Fake::start(move |request| {
                let mut bytes = honest(&request.path).into_bytes();
                for (at, cut, insert) in &edits {
                    let at = at.index(bytes.len() + 1);
                    let end = (at + cut).min(bytes.len());
                    bytes.splice(at..end, insert.iter().copied());
                }
                super::fake::answer(200, "application/json", bytes)
            })
            .await;
            let (registry, model) = (fake.registry(), "churn".parse().unwrap());
            let three = VersionId::new(3).unwrap();
            let resolved = registry.resolve(&model, &Alias::production()).await;
            prop_assert!(!matches!(resolved, Ok(None)), "MLflow has not said so");
            // Its sums are of nothing: whatever is read of it, it is not handed out.
            let fetched = registry.fetch_artifact(&model, three).await;
            prop_assert!(fetched.is_err());
            let (_, _) = (registry.get(&model, three).await, registry.versions(&model).await);
            Ok(())
        })
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    // The honest one is understood.
    runtime.block_on(async {
        let fake = Fake::start(|request| json(200, &honest(&request.path))).await;
        let found = fake.registry().resolve(&"churn".parse().unwrap(), &Alias::production()).await;
        assert_eq!(found.unwrap(), VersionId::new(3));
    });
}
