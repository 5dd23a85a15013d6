//! What every [`ModelRegistry`] has to do.
//!
//! [`all`] runs the clauses that need nothing but a registry. Three more want a helping hand from
//! the one who knows the store: [`two_handles`], [`damage`] and [`outage`].
//!
//! ```
//! use pmmds::conformance::registry::{self, Options};
//! use pmmds::memory::MemoryRegistry;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! registry::all(async || MemoryRegistry::new(), &Options::new()).await;
//! # }
//! ```
//!
//! A clause by itself takes a registry and a model that nobody has used:
//!
//! ```
//! # use pmmds::conformance::registry::{self, Options};
//! # use pmmds::memory::MemoryRegistry;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let model = Options::new().model("tags");
//! registry::tags(&MemoryRegistry::new(), &model).await;
//! # }
//! ```

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use super::join_all;
use crate::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, ModelVersion, VersionId};
use crate::{Error, ErrorKind};

/// What differs between stores, and nothing that the contract says.
///
/// ```
/// use pmmds::conformance::registry::Options;
///
/// // A server that keeps what earlier runs of the suite wrote, and is slow.
/// let options = Options::new().prefix("run-17").big_file(1_000_000).racers(3);
/// assert_eq!(options.model("tags").as_str(), "run-17-tags");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    // part of a model name
    prefix: String,
    big_file: usize,
    // at least 2
    racers: u64,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self { prefix: "conformance".to_owned(), big_file: 5_000_000, racers: 8 }
    }

    /// What the names of all models begin with. Another one for each run makes a server fresh
    /// that keeps what it was given. Defaults to `conformance`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Bytes of the largest file. Defaults to 5,000,000.
    pub fn big_file(mut self, bytes: usize) -> Self {
        self.big_file = bytes;
        self
    }

    /// How many callers race for one thing, at least 2. Defaults to 8.
    pub fn racers(mut self, racers: u64) -> Self {
        self.racers = racers.max(2);
        self
    }

    /// The model of the clause `clause`.
    ///
    /// # Panics
    ///
    /// When the prefix cannot begin a model name.
    #[must_use]
    pub fn model(&self, clause: &str) -> ModelName {
        let name = ModelName::new(format!("{}-{}", self.prefix, clause.replace("::", "-")));
        name.unwrap_or_else(|problem| panic!("prefix {:?}: {problem}", self.prefix))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs every clause that needs nothing but a registry, each on a fresh one from `make`.
///
/// "Fresh" means without the models of [`Options::prefix`]; one server may stand behind all of
/// them.
///
/// # Panics
///
/// When a clause is broken.
pub async fn all<R, Made>(make: impl Fn() -> Made + Send + Sync, options: &Options)
where
    R: ModelRegistry + 'static,
    Made: Future<Output = R> + Send,
{
    macro_rules! run {
        ($($clause:ident $(($option:ident))?),+ $(,)?) => {$(
            let model = options.model(stringify!($clause));
            $clause(&make().await, &model $(, options.$option)?).await;
        )+};
    }
    run!(
        numbers,
        same_run_same_version,
        other_bytes_conflict,
        racing_registrations(racers),
        racing_for_one_run(racers),
        order_and_absence,
        absence_is_certain,
        compare_and_set,
        racing_setters(racers),
        two_aliases_on_one_version,
        tags,
        names_are_checked,
        artifacts(big_file),
        digests,
    );
    let (one, other) = (options.model("apart-one"), options.model("apart-other"));
    models_apart(&make().await, &one, &other).await;

    let model = options.model("boxed");
    let boxed: Box<dyn ModelRegistry> = Box::new(make().await);
    compare_and_set(&boxed, &model).await;
    two_aliases_on_one_version(&boxed, &options.model("boxed-2")).await;
    let shared: Arc<dyn ModelRegistry> = Arc::new(boxed);
    tags(&shared, &options.model("shared")).await;
    same_run_same_version(&&shared, &options.model("shared-2")).await;
}

#[track_caller]
fn ok<T>(answer: Result<T, Error>, what: &str) -> T {
    answer.unwrap_or_else(|error| panic!("{what}: {}", error.chain()))
}

#[track_caller]
fn refused<T: Debug>(answer: Result<T, Error>, kind: ErrorKind, what: &str) -> Error {
    match answer {
        Ok(value) => panic!("{what}: expected the error {kind:?}, got {value:?}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: {}", error.chain());
            error
        }
    }
}

fn files(content: &[(&str, &[u8])]) -> ArtifactFiles {
    let mut files = ArtifactFiles::new();
    for (name, bytes) in content {
        files.insert(*name, bytes.to_vec()).expect("the suite's own names are good");
    }
    files
}

fn small(text: &str) -> ArtifactFiles {
    files(&[("model.json", text.as_bytes())])
}

fn id(number: u64) -> VersionId {
    VersionId::new(number).expect("versions begin at 1")
}

fn alias(name: &str) -> Alias {
    Alias::new(name).expect("the suite's own names are good")
}

async fn registered(registry: &dyn ModelRegistry, model: &ModelName, runs: u64) {
    for run in 1..=runs {
        let text = format!("run {run}");
        let version = registry.register(model, &format!("run-{run}"), &small(&text)).await;
        let version = ok(version, "register");
        assert_eq!(version.version, id(run), "version of the registration number {run}");
    }
}

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

/// Files come back to the byte: empty ones, nested ones, every byte value, `big_file` bytes, no
/// files at all. A file without a name is refused before it reaches a registry.
///
/// # Panics
///
/// When the clause is broken.
pub async fn artifacts(registry: &dyn ModelRegistry, model: &ModelName, big_file: usize) {
    assert!(ArtifactFiles::new().insert("", Vec::new()).is_err(), "a file needs a name");
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    // Pseudo-random, so that no two blocks are alike.
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let big: Vec<u8> = (0..big_file).map(|_| next()).collect();
    let content = files(&[
        ("empty", b""),
        ("every-byte.bin", &every_byte),
        ("big.bin", &big),
        ("lines.txt", b"one\r\ntwo\n\n"),
        ("a/b/c/d.json", b"{}"),
        ("a/b/e.json", b"[]"),
        ("manifest.json", b"not the registry's own"),
        ("MLmodel", b"not: yaml: ["),
    ]);
    let version = ok(registry.register(model, "run-1", &content).await, "register").version;
    let back = ok(registry.fetch_artifact(model, version).await, "fetch_artifact");
    for (name, bytes) in content.iter() {
        let found = back.get(name).unwrap_or_else(|| panic!("the file {name} is missing"));
        assert!(found == bytes, "the file {name} came back with other bytes");
    }
    let names = |files: &ArtifactFiles| files.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&back), names(&content), "no file more");

    let empty = ok(registry.register(model, "run-2", &files(&[])).await, "register").version;
    assert_eq!(ok(registry.fetch_artifact(model, empty).await, "fetch_artifact"), files(&[]));
}

/// The digest of a version is [`ArtifactFiles::digest`], told alike by `register`, `get` and
/// `versions`.
///
/// # Panics
///
/// When the clause is broken.
pub async fn digests(registry: &dyn ModelRegistry, model: &ModelName) {
    let contents = [small("1"), small("2"), files(&[("a", b"bc")]), files(&[("ab", b"c")])];
    let mut all = BTreeSet::new();
    for (run, content) in contents.iter().enumerate() {
        let version =
            ok(registry.register(model, &format!("run-{run}"), content).await, "register");
        assert_eq!(version.digest, content.digest(), "register");
        let now = ok(registry.get(model, version.version).await, "get");
        assert_eq!(now.digest, content.digest(), "get");
        let back = ok(registry.fetch_artifact(model, version.version).await, "fetch_artifact");
        assert_eq!(back.digest(), content.digest(), "fetch_artifact");
        all.insert(now.digest);
    }
    assert_eq!(all.len(), contents.len());
    let listed = ok(registry.versions(model).await, "versions");
    assert!(listed.iter().map(|v| v.digest).eq(contents.iter().map(ArtifactFiles::digest)));
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

/// Stored bytes that changed are `Corrupt`, with the file's name, and never handed out.
///
/// `damage` changes the stored bytes of the file `weights.bin` of the version it is given,
/// behind the back of the registry.
///
/// ```no_run
/// use pmmds::conformance::registry::{self, Options};
/// # use pmmds::registry::{ModelRegistry, VersionId};
/// # async fn check(mine: &dyn ModelRegistry) {
/// registry::damage(mine, &Options::new().model("damage"), async |version: VersionId| {
///     // Flip one bit in the store.
/// })
/// .await;
/// # }
/// ```
///
/// # Panics
///
/// When the clause is broken.
pub async fn damage<Done>(
    registry: &dyn ModelRegistry,
    model: &ModelName,
    damage: impl Fn(VersionId) -> Done + Send + Sync,
) where
    Done: Future<Output = ()> + Send,
{
    let content = |text: &str| files(&[("a.json", b"{}"), ("weights.bin", text.as_bytes())]);
    ok(registry.register(model, "run-1", &content("0123456789")).await, "register");
    ok(registry.register(model, "run-2", &content("9876543210")).await, "register");
    damage(id(1)).await;
    let error =
        refused(registry.fetch_artifact(model, id(1)).await, ErrorKind::Corrupt, "fetch_artifact");
    assert!(error.chain().contains("weights.bin"), "it names the file: {}", error.chain());
    let neighbour = ok(registry.fetch_artifact(model, id(2)).await, "fetch_artifact");
    assert_eq!(neighbour, content("9876543210"), "the neighbour is untouched");
}

/// While the store is away every call is `Unavailable`: above all, `resolve` says neither "none"
/// nor "not found", for what it knew and for what it never knew.
///
/// `cut` takes the store away: stops the server, moves the folder.
///
/// ```
/// use pmmds::conformance::registry::{self, Options};
/// use pmmds::memory::MemoryRegistry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let memory = MemoryRegistry::new();
/// let cut = async || memory.take_down();
/// registry::outage(&memory, &Options::new().model("outage"), cut).await;
/// # }
/// ```
///
/// # Panics
///
/// When the clause is broken.
pub async fn outage<Done>(
    registry: &dyn ModelRegistry,
    model: &ModelName,
    cut: impl FnOnce() -> Done + Send,
) where
    Done: Future<Output = ()> + Send,
{
    registered(registry, model, 2).await;
    ok(registry.set_alias(model, &alias("production"), id(1), None).await, "set_alias");
    cut().await;
    let unknown = ModelName::new("never-registered").expect("a good name");
    for model in [model, &unknown] {
        let away = ErrorKind::Unavailable;
        for name in ["production", "staging"] {
            refused(registry.resolve(model, &alias(name)).await, away, "resolve");
            let answer = registry.set_alias(model, &alias(name), id(2), Some(id(1))).await;
            refused(answer, away, "set_alias");
        }
        refused(registry.get(model, id(1)).await, away, "get");
        refused(registry.versions(model).await, away, "versions");
        refused(registry.fetch_artifact(model, id(1)).await, away, "fetch_artifact");
        refused(registry.register(model, "run-9", &small("")).await, away, "register");
        refused(registry.register(model, "run-1", &small("run 1")).await, away, "register again");
        refused(registry.tag(model, id(1), "note", "").await, away, "tag");
    }
}
