//! Versions: their numbers, and what is known of them.

use std::collections::BTreeSet;

use super::super::join_all;
use super::given::{alias, files, id, ok, refused, registered, small};
use crate::registry::{ModelName, ModelRegistry, ModelVersion, VersionId};
use crate::{Error, ErrorKind};

/// Versions are 1, 2, 3 ..., and what `register` answers is what `get` says later.
///
/// # Panics
///
/// When the clause is broken.
pub async fn numbers(registry: &dyn ModelRegistry, model: &ModelName) {
    let mut answers: Vec<ModelVersion> = Vec::new();
    for number in 1..=3 {
        let content = small(&number.to_string());
        let run = format!("run-{number}");
        let version = ok(registry.register(model, &run, &content).await, "register");
        assert_eq!(version.version, id(number), "versions are numbered 1, 2, 3");
        assert_eq!(&version.model, model);
        assert_eq!(version.run_id, run);
        assert_eq!(version.digest, content.digest());
        assert!(version.aliases.is_empty(), "a new version has no alias: {:?}", version.aliases);
        assert!(version.tags.is_empty(), "a new version has no tag: {:?}", version.tags);
        answers.push(version);
    }
    for answer in &answers {
        let now = ok(registry.get(model, answer.version).await, "get");
        assert_eq!(&now, answer, "get tells what register told");
    }
    assert_eq!(ok(registry.versions(model).await, "versions"), answers);
}

/// The same run again is the same version, also when others came in between.
///
/// # Panics
///
/// When the clause is broken.
pub async fn same_run_same_version(registry: &dyn ModelRegistry, model: &ModelName) {
    registered(registry, model, 3).await;
    ok(registry.set_alias(model, &alias("production"), id(1), None).await, "set_alias");
    let again = ok(registry.register(model, "run-1", &small("run 1")).await, "register again");
    assert_eq!(again, ok(registry.get(model, id(1)).await, "get"));
    assert_eq!(again.aliases, [alias("production")], "it is the version as it is now");
    let all = ok(registry.versions(model).await, "versions");
    assert_eq!(all.len(), 3, "no further version came of it: {all:?}");
}

/// A known run with other bytes, or other names, is a conflict, and changes nothing.
///
/// # Panics
///
/// When the clause is broken.
pub async fn other_bytes_conflict(registry: &dyn ModelRegistry, model: &ModelName) {
    registered(registry, model, 1).await;
    let others = [
        small("run 2"),
        files(&[("other.json", b"run 1")]),
        files(&[("model.json", b"run 1"), ("more", b"")]),
        files(&[]),
    ];
    for other in others {
        let answer = registry.register(model, "run-1", &other).await;
        refused(answer, ErrorKind::Conflict, "other bytes under a known run id");
    }
    let kept = ok(registry.fetch_artifact(model, id(1)).await, "fetch_artifact");
    assert_eq!(kept, small("run 1"));
    assert_eq!(ok(registry.versions(model).await, "versions").len(), 1);
}

/// Runs that register at the same time get a version each, without gaps.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_registrations(registry: &dyn ModelRegistry, model: &ModelName, racers: u64) {
    let runs = (1..=racers).map(|racer| async move {
        let (run, content) = (format!("run-{racer}"), small(&format!("racer {racer}")));
        let version = ok(registry.register(model, &run, &content).await, "register");
        (version.version, run, content)
    });
    let answers = join_all(runs).await;
    let numbers: BTreeSet<VersionId> = answers.iter().map(|(version, ..)| *version).collect();
    assert_eq!(numbers, (1..=racers).map(id).collect(), "a number for each, without gaps");
    for (version, run, content) in answers {
        assert_eq!(ok(registry.get(model, version).await, "get").run_id, run);
        let kept = ok(registry.fetch_artifact(model, version).await, "fetch_artifact");
        assert_eq!(kept, content, "the files of {run}");
    }
}

/// One run that is registered by several callers at the same time makes one version.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_for_one_run(registry: &dyn ModelRegistry, model: &ModelName, racers: u64) {
    let runs =
        (0..racers).map(|_| async { registry.register(model, "the-run", &small("once")).await });
    for answer in join_all(runs).await {
        assert_eq!(ok(answer, "register").version, id(1));
    }
    assert_eq!(ok(registry.versions(model).await, "versions").len(), 1);
}

/// `versions` goes from the oldest to the newest, by number; what is not there is `NotFound`.
///
/// # Panics
///
/// When the clause is broken.
pub async fn order_and_absence(registry: &dyn ModelRegistry, model: &ModelName) {
    assert_eq!(ok(registry.versions(model).await, "versions of an unknown model"), []);
    let nothing = |answer: Result<ModelVersion, Error>| {
        refused(answer, ErrorKind::NotFound, "get");
    };
    nothing(registry.get(model, id(1)).await);
    registered(registry, model, 11).await;
    let all = ok(registry.versions(model).await, "versions");
    let numbers: Vec<u64> = all.iter().map(|version| version.version.number()).collect();
    assert_eq!(numbers, (1..=11).collect::<Vec<_>>(), "10 comes after 9");
    for number in [12, 110, u64::MAX] {
        nothing(registry.get(model, id(number)).await);
        let answer = registry.fetch_artifact(model, id(number)).await;
        refused(answer, ErrorKind::NotFound, "fetch_artifact");
        let answer = registry.tag(model, id(number), "note", "").await;
        refused(answer, ErrorKind::NotFound, "tag");
    }
}
