//! The files of versions, and what becomes of them when a store is damaged or away.

use std::collections::BTreeSet;
use std::future::Future;

use super::given::{alias, files, id, ok, refused, registered, small};
use crate::ErrorKind;
use crate::registry::{ArtifactFiles, ModelName, ModelRegistry, VersionId};

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
