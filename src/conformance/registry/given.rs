//! What the clauses are given: files, names, versions, and answers that are as expected.

use std::fmt::Debug;

use crate::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, VersionId};
use crate::{Error, ErrorKind};

#[track_caller]
pub(super) fn ok<T>(answer: Result<T, Error>, what: &str) -> T {
    answer.unwrap_or_else(|error| panic!("{what}: {}", error.chain()))
}

#[track_caller]
pub(super) fn refused<T: Debug>(answer: Result<T, Error>, kind: ErrorKind, what: &str) -> Error {
    match answer {
        Ok(value) => panic!("{what}: expected the error {kind:?}, got {value:?}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: {}", error.chain());
            error
        }
    }
}

pub(super) fn files(content: &[(&str, &[u8])]) -> ArtifactFiles {
    let mut files = ArtifactFiles::new();
    for (name, bytes) in content {
        files.insert(*name, bytes.to_vec()).expect("the suite's own names are good");
    }
    files
}

pub(super) fn small(text: &str) -> ArtifactFiles {
    files(&[("model.json", text.as_bytes())])
}

pub(super) fn id(number: u64) -> VersionId {
    VersionId::new(number).expect("versions begin at 1")
}

pub(super) fn alias(name: &str) -> Alias {
    Alias::new(name).expect("the suite's own names are good")
}

pub(super) async fn registered(registry: &dyn ModelRegistry, model: &ModelName, runs: u64) {
    for run in 1..=runs {
        let text = format!("run {run}");
        let version = registry.register(model, &format!("run-{run}"), &small(&text)).await;
        let version = ok(version, "register");
        assert_eq!(version.version, id(run), "version of the registration number {run}");
    }
}
