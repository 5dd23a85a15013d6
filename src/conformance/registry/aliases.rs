//! What points at versions and what is noted about them: aliases, tags, names.

use std::collections::BTreeSet;

use super::super::join_all;
use super::given::{alias, id, ok, refused, registered, small};
use crate::registry::{Alias, ModelName, ModelRegistry, VersionId};
use crate::{Error, ErrorKind};

/// `Ok(None)` for an unknown model and for an unknown alias: the registry answered, and there is
/// none.
///
/// # Panics
///
/// When the clause is broken.
pub async fn absence_is_certain(registry: &dyn ModelRegistry, model: &ModelName) {
    let production = alias("production");
    let resolve = async || ok(registry.resolve(model, &production).await, "resolve");
    assert_eq!(resolve().await, None, "an unknown model");
    registered(registry, model, 1).await;
    assert_eq!(resolve().await, None, "a model without aliases");
    ok(registry.set_alias(model, &alias("staging"), id(1), None).await, "set_alias");
    assert_eq!(resolve().await, None, "a model with another alias");
}

/// An alias moves when it points at what was expected; asking for what is already so is no
/// conflict; a version that is not there is `NotFound` and changes nothing.
///
/// # Panics
///
/// When the clause is broken.
pub async fn compare_and_set(registry: &dyn ModelRegistry, model: &ModelName) {
    let production = alias("production");
    let set = async |version, expected: Option<u64>| {
        registry.set_alias(model, &production, id(version), expected.map(id)).await
    };
    let points_at = async |version: Option<u64>| {
        let now = ok(registry.resolve(model, &production).await, "resolve");
        assert_eq!(now, version.map(id), "where the alias points");
    };
    let conflict = |answer: Result<(), Error>, found: &str, expected: &str| {
        let message = refused(answer, ErrorKind::Conflict, "set_alias").to_string();
        assert!(
            message.contains(found) && message.contains(expected),
            "the message names {found} and {expected}: {message}"
        );
    };

    refused(set(1, None).await, ErrorKind::NotFound, "alias of an unknown model");
    points_at(None).await;
    registered(registry, model, 3).await;
    refused(set(4, None).await, ErrorKind::NotFound, "alias of an unknown version");
    points_at(None).await;
    conflict(set(1, Some(2)).await, "nothing", "version 2");
    points_at(None).await;

    ok(set(1, None).await, "the first champion");
    points_at(Some(1)).await;
    ok(set(1, None).await, "the same again");
    ok(set(1, Some(3)).await, "what is so, whatever was expected");
    conflict(set(2, None).await, "version 1", "nothing");
    conflict(set(2, Some(3)).await, "version 1", "version 3");
    refused(set(4, Some(1)).await, ErrorKind::NotFound, "alias of an unknown version");
    points_at(Some(1)).await;

    ok(set(2, Some(1)).await, "a promotion");
    points_at(Some(2)).await;
    ok(set(2, Some(1)).await, "a promotion, asked for twice");
    ok(set(1, Some(2)).await, "a rollback");
    points_at(Some(1)).await;
}

/// Of several who expect the same, one moves the alias, and the others learn that they did not.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_setters(registry: &dyn ModelRegistry, model: &ModelName, racers: u64) {
    let production = alias("production");
    registered(registry, model, racers).await;
    let mut champion = None;
    for round in 0..3 {
        let rivals: Vec<VersionId> =
            (1..=racers).map(id).filter(|rival| Some(*rival) != champion).collect();
        let production = &production;
        let races = rivals.iter().map(|rival| async move {
            (*rival, registry.set_alias(model, production, *rival, champion).await)
        });
        let mut winners = Vec::new();
        for (rival, answer) in join_all(races).await {
            match answer {
                Ok(()) => winners.push(rival),
                Err(error) => drop(refused(Err::<(), _>(error), ErrorKind::Conflict, "a loser")),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: who moved the alias: {winners:?}");
        let now = ok(registry.resolve(model, production).await, "resolve");
        assert_eq!(now, Some(winners[0]), "round {round}: the alias is where the winner put it");
        champion = now;
    }
}

/// Two aliases may point at one version and move apart; `get` and `versions` show them in order.
///
/// # Panics
///
/// When the clause is broken.
pub async fn two_aliases_on_one_version(registry: &dyn ModelRegistry, model: &ModelName) {
    let (production, staging) = (alias("production"), alias("staging"));
    registered(registry, model, 2).await;
    ok(registry.set_alias(model, &staging, id(2), None).await, "set_alias");
    ok(registry.set_alias(model, &production, id(2), None).await, "set_alias");
    let both = [production.clone(), staging.clone()];
    assert_eq!(ok(registry.get(model, id(2)).await, "get").aliases, both);

    ok(registry.set_alias(model, &production, id(1), Some(id(2))).await, "set_alias");
    let all = ok(registry.versions(model).await, "versions");
    let aliases: Vec<&[Alias]> = all.iter().map(|version| version.aliases.as_slice()).collect();
    assert_eq!(aliases, [&both[..1], &both[1..]], "aliases of version 1 and 2");
    assert_eq!(ok(registry.resolve(model, &staging).await, "resolve"), Some(id(2)));
}

/// Tags are kept to the byte, replaced by key, each on its version alone.
///
/// # Panics
///
/// When the clause is broken.
pub async fn tags(registry: &dyn ModelRegistry, model: &ModelName) {
    registered(registry, model, 2).await;
    let odd = "two\nlines, \"quotes\" & <b>, é, \u{1F980}, ${HOME}, %2e";
    let long = "x".repeat(crate::registry::MAX_TAG_BYTES);
    for (key, value) in
        [("note", "first"), ("note", odd), ("pmmds.rejected", ""), ("A_b-1", "1"), ("long", &long)]
    {
        ok(registry.tag(model, id(2), key, value).await, "tag");
    }
    let tagged = ok(registry.get(model, id(2)).await, "get");
    let expected = [("A_b-1", "1"), ("long", &long), ("note", odd), ("pmmds.rejected", "")];
    assert_eq!(tagged.tags, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert!(ok(registry.get(model, id(1)).await, "get").tags.is_empty(), "not on its neighbour");
    let kept = ok(registry.fetch_artifact(model, id(2)).await, "fetch_artifact");
    assert_eq!(kept, small("run 2"), "tags change no file");
}

/// Run ids and tag keys that are no names are refused before anything is written.
///
/// # Panics
///
/// When the clause is broken.
pub async fn names_are_checked(registry: &dyn ModelRegistry, model: &ModelName) {
    let too_long = "x".repeat(129);
    let hostile = ["", ".", "../x", "a/b", "a b", "a\nb", "x' OR '1'='1", &too_long];
    for name in hostile {
        let answer = registry.register(model, name, &small("")).await;
        refused(answer, ErrorKind::InvalidInput, &format!("run id {name:?}"));
    }
    assert_eq!(ok(registry.versions(model).await, "versions"), []);
    registered(registry, model, 1).await;
    for name in hostile {
        let answer = registry.tag(model, id(1), name, "value").await;
        refused(answer, ErrorKind::InvalidInput, &format!("tag key {name:?}"));
    }
    let too_long = "x".repeat(crate::registry::MAX_TAG_BYTES + 1);
    for value in ["a\0b", &too_long] {
        let answer = registry.tag(model, id(1), "key", value).await;
        refused(answer, ErrorKind::InvalidInput, "a tag value with NUL or too long");
    }
    assert!(ok(registry.get(model, id(1)).await, "get").tags.is_empty());
}

/// Models know nothing of each other: numbers, runs, aliases and tags are each model's own.
///
/// # Panics
///
/// When the clause is broken.
pub async fn models_apart(registry: &dyn ModelRegistry, one: &ModelName, other: &ModelName) {
    registered(registry, one, 2).await;
    assert_eq!(ok(registry.versions(other).await, "versions"), []);
    let answer = registry.register(other, "run-2", &small("run 2 of the other")).await;
    assert_eq!(ok(answer, "a run id of another model").version, id(1));
    let production = alias("production");
    ok(registry.set_alias(one, &production, id(2), None).await, "set_alias");
    ok(registry.tag(one, id(1), "note", "one").await, "tag");
    assert_eq!(ok(registry.resolve(other, &production).await, "resolve"), None);
    let answer = registry.set_alias(other, &production, id(2), None).await;
    refused(answer, ErrorKind::NotFound, "a version of the other model");
    let version = ok(registry.get(other, id(1)).await, "get");
    assert!(version.tags.is_empty() && version.aliases.is_empty(), "{version:?}");
    let content = ok(registry.fetch_artifact(other, id(1)).await, "fetch_artifact");
    assert_eq!(content, small("run 2 of the other"));
}

/// Two handles on the same store, as two replicas have them: each sees at once what the other
/// wrote, and of two who expect the same, one wins.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::conformance::registry::{self, Options};
/// use pmmds::memory::MemoryRegistry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let one = Arc::new(MemoryRegistry::new());
/// let other = Arc::clone(&one);
/// registry::two_handles(&one, &other, &Options::new().model("two_handles")).await;
/// # }
/// ```
///
/// # Panics
///
/// When the clause is broken.
pub async fn two_handles(one: &dyn ModelRegistry, other: &dyn ModelRegistry, model: &ModelName) {
    let production = alias("production");
    registered(one, model, 2).await;
    let (seen, told) = (other.versions(model).await, one.versions(model).await);
    assert_eq!(ok(seen, "versions"), ok(told, "versions"));
    let again = ok(other.register(model, "run-2", &small("run 2")).await, "register");
    assert_eq!(again.version, id(2), "the run is known to the other handle");
    let third = ok(other.register(model, "run-3", &small("run 3")).await, "register");
    assert_eq!(third.version, id(3), "numbering goes on over both handles");
    assert_eq!(ok(one.fetch_artifact(model, id(3)).await, "fetch_artifact"), small("run 3"));

    ok(other.set_alias(model, &production, id(1), None).await, "set_alias");
    assert_eq!(ok(one.resolve(model, &production).await, "resolve"), Some(id(1)));
    let mut champion = id(1);
    for round in 0..5 {
        let rivals: Vec<VersionId> = (1..=3).map(id).filter(|v| *v != champion).collect();
        let (handles, production) = ([one, other], &production);
        let races = handles.into_iter().zip(&rivals).map(|(handle, rival)| async move {
            handle.set_alias(model, production, *rival, Some(champion)).await
        });
        let answers = join_all(races).await;
        let winners: Vec<usize> = (0..2).filter(|i| answers[*i].is_ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}: one of two wins: {answers:?}");
        champion = rivals[winners[0]];
        for handle in handles {
            let now = ok(handle.resolve(model, production).await, "resolve");
            assert_eq!(now, Some(champion), "round {round}: both see the winner");
        }
    }

    let runs = (0..10_u64).map(|run| async move {
        let handle = [one, other][usize::from(run % 2 == 1)];
        ok(handle.register(model, &format!("race-{run}"), &small("")).await, "register").version
    });
    let numbers: BTreeSet<VersionId> = join_all(runs).await.into_iter().collect();
    assert_eq!(numbers, (4..14).map(id).collect(), "no number twice over two handles");
}
