use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::document::Kind;
use super::*;
use crate::conformance::registry::{self as suite, Options};

mod cache;
mod crashes;
mod hostile;

/// Lets the steps of a [`Disk`] fail: from one on for ever, as a crash does, or one alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Fuse(Arc<FuseState>);

#[derive(Debug, Default)]
struct FuseState {
    steps: AtomicU64,
    // fails in from..to
    from: AtomicU64,
    to: AtomicU64,
}

impl Fuse {
    pub(super) fn burn(&self) -> io::Result<()> {
        let step = self.0.steps.fetch_add(1, Ordering::SeqCst);
        let range = self.0.from.load(Ordering::SeqCst)..self.0.to.load(Ordering::SeqCst);
        if range.contains(&step) { Err(io::Error::other("the fuse")) } else { Ok(()) }
    }

    /// Lets step number `step` from now fail, and all `more` after it.
    fn set(&self, step: u64, more: u64) {
        let from = self.0.steps.load(Ordering::SeqCst) + step;
        self.0.from.store(from, Ordering::SeqCst);
        self.0.to.store(from.saturating_add(1).saturating_add(more), Ordering::SeqCst);
    }

    fn is_burnt(&self) -> bool {
        self.0.steps.load(Ordering::SeqCst) > self.0.from.load(Ordering::SeqCst)
    }

    fn clear(&self) {
        self.0.to.store(0, Ordering::SeqCst);
    }
}

fn model() -> ModelName {
    ModelName::new("churn").unwrap()
}

fn id(number: u64) -> VersionId {
    VersionId::new(number).unwrap()
}

fn artifact(files: &[(&str, &str)]) -> ArtifactFiles {
    let mut artifact = ArtifactFiles::new();
    files.iter().for_each(|(name, text)| artifact.insert(*name, (*text).into()).unwrap());
    artifact
}

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// Every file below a folder with its bytes, by relative path.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = PathBuf::from(path.file_name().unwrap());
            found.extend(tree(&path).into_iter().map(|(below, bytes)| (name.join(below), bytes)));
        } else {
            found.push((path.file_name().unwrap().into(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        fs::write(to.join(&name), bytes).unwrap();
    }
}

/// Two versions, two aliases, a tag, always with the same bytes.
fn furnish(folder: &Folder) {
    let (model, nested) =
        (model(), artifact(&[("a/b.txt", "two"), ("empty", ""), ("z.bin", "\0")]));
    folder.register(&model, "run-1", &artifact(&[("model.json", "{}")])).unwrap();
    folder.register(&model, "run-2", &nested).unwrap();
    folder.set_alias(&model, &Alias::production(), id(1), None).unwrap();
    folder.set_alias(&model, &Alias::staging(), id(2), None).unwrap();
    folder.tag(&model, id(2), "note", "not yet").unwrap();
}

/// A furnished folder, or an empty one that is a registry.
fn prepared(path: &Path, furnished: bool) -> Folder {
    let mut folder = Folder::open(path, true).unwrap();
    folder.clock = Clock(Arc::new(noon));
    if furnished {
        furnish(&folder);
    }
    folder
}

/// All that a reader can know.
#[derive(Debug, Clone, PartialEq)]
struct Snapshot {
    versions: Vec<ModelVersion>,
    artifacts: Vec<ArtifactFiles>,
    aliases: Vec<Option<VersionId>>,
}

fn snapshot(folder: &Folder) -> Result<Snapshot, Error> {
    let model = model();
    let versions = folder.versions(&model)?;
    let artifacts =
        versions.iter().map(|v| folder.fetch(&model, v.version)).collect::<Result<_, _>>()?;
    let aliases = [Alias::production(), Alias::staging()];
    let aliases = aliases.iter().map(|a| folder.resolve(&model, a)).collect::<Result<_, _>>()?;
    Ok(Snapshot { versions, artifacts, aliases })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let next = AtomicU64::new(0);
    let fresh = || {
        let path = folder.path().join(next.fetch_add(1, Ordering::SeqCst).to_string());
        async { FileRegistry::open(path).await.unwrap() }
    };
    suite::all(fresh, &Options::new()).await;
    // One registry for all models, reopened each time.
    let path = folder.path().join("shared");
    let options = Options::new().prefix("a").big_file(1_000);
    suite::all(async || FileRegistry::open(&path).await.unwrap(), &options).await;
    let options = options.prefix("b");
    let boxed =
        async || Box::new(FileRegistry::open(&path).await.unwrap()) as Box<dyn ModelRegistry>;
    suite::all(boxed, &options).await;
    let shared =
        async || Arc::new(FileRegistry::open(&path).await.unwrap()) as Arc<dyn ModelRegistry>;
    suite::all(shared, &options.prefix("c")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_between_two_handles() {
    let folder = tempfile::tempdir().unwrap();
    let one = FileRegistry::open(folder.path()).await.unwrap();
    let other = FileRegistry::open(folder.path()).await.unwrap();
    suite::two_handles(&one, &other, &model()).await;
}

#[tokio::test]
async fn damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = FileRegistry::open(folder.path()).await.unwrap();
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("flipped", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[3] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("truncated", |path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(4).unwrap();
        }),
        ("longer", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.push(b'!');
            fs::write(path, bytes).unwrap();
        }),
        ("removed", |path| fs::remove_file(path).unwrap()),
    ];
    for (name, change) in damages {
        let model = ModelName::new(name).unwrap();
        let versions = registry.path().join("models").join(name).join("versions");
        suite::damage(&registry, &model, async |version: VersionId| {
            change(&versions.join(version.to_string()).join("files/weights.bin"));
        })
        .await;
    }
}

#[tokio::test]
async fn an_absent_folder_is_an_outage() {
    type Cut = fn(&Path, &Path);
    let cuts: [Cut; 4] = [
        // moved away
        |root, aside| fs::rename(root, aside).unwrap(),
        // not mounted
        |root, aside| {
            fs::rename(root, aside).unwrap();
            fs::create_dir(root).unwrap();
        },
        // half removed
        |root, _| fs::remove_dir_all(root.join("models")).unwrap(),
        // something else in its place
        |root, aside| {
            fs::rename(root, aside).unwrap();
            fs::write(root, "a file").unwrap();
        },
    ];
    for cut in cuts {
        let folder = tempfile::tempdir().unwrap();
        let (root, aside) = (folder.path().join("registry"), folder.path().join("aside"));
        let registry = FileRegistry::open(&root).await.unwrap();
        suite::outage(&registry, &model(), async || cut(&root, &aside)).await;
        let error = FileRegistry::open_existing(&root).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    }
}

#[tokio::test]
async fn a_registry_whose_marker_is_gone_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    prepared(folder.path(), true);
    fs::remove_file(folder.path().join("registry.json")).unwrap();
    let error = FileRegistry::open(folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().ends_with("registry.json is missing, and there are models"),
        "{error}"
    );
    assert_eq!(
        FileRegistry::open_existing(folder.path()).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test]
async fn who_waits_too_long_for_the_lock_is_told() {
    let folder = tempfile::tempdir().unwrap();
    prepared(folder.path(), true);
    let registry = FileRegistry::open(folder.path()).await.unwrap();
    let registry = registry.lock_timeout(Duration::from_millis(20));
    let holder = fs::File::open(folder.path().join("lock")).unwrap();
    holder.lock().unwrap();
    let set = async || registry.set_alias(&model(), &Alias::production(), id(2), Some(id(1))).await;
    let error = set().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("held by others for 20ms"), "{error}");
    // Readers do not wait, nor does who opens.
    assert_eq!(registry.resolve(&model(), &Alias::production()).await.unwrap(), Some(id(1)));
    FileRegistry::open(folder.path()).await.unwrap();
    holder.unlock().unwrap();
    set().await.unwrap();
}

#[tokio::test]
async fn a_lock_file_that_was_removed_comes_back_on_opening() {
    let folder = tempfile::tempdir().unwrap();
    let registry = FileRegistry::open(folder.path()).await.unwrap();
    fs::remove_file(folder.path().join("lock")).unwrap();
    let register = async || registry.register(&model(), "run-1", &artifact(&[])).await;
    assert_eq!(register().await.unwrap_err().kind(), ErrorKind::Unavailable);
    FileRegistry::open(folder.path()).await.unwrap();
    assert_eq!(register().await.unwrap().version, id(1));
}

#[test]
fn without_a_runtime_it_says_so() {
    let future = std::pin::pin!(FileRegistry::open("never-made"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = future.poll(&mut context) else {
        panic!("it answers at once");
    };
    assert_eq!(error.to_string(), "files: failed: file work needs a tokio runtime");
    assert!(!Path::new("never-made").exists());
}

#[cfg(unix)]
#[test]
fn everything_is_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    fn check(path: &Path) {
        let metadata = fs::metadata(path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
        if metadata.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path()));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state/registry");
    prepared(&root, true);
    check(&folder.path().join("state"));
}

/// `tests/golden/registry-1` was written by the first release of format 1. Every later one reads
/// it, and writes the same bytes as long as that is the format it writes.
#[test]
fn the_golden_folder_of_format_1() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/registry-1");
    let folder = tempfile::tempdir().unwrap();
    let written = prepared(&folder.path().join("written"), true);
    if !golden.exists() {
        copy(&written.root, &golden);
        panic!("{} was missing and has been written: look at it, then commit it", golden.display());
    }
    let copied = folder.path().join("copied");
    copy(&golden, &copied);
    let read = Folder::open(&copied, false).unwrap();
    let found = snapshot(&read).unwrap();
    assert_eq!(found, snapshot(&written).unwrap());

    let two = &found.versions[1];
    assert_eq!((two.version, two.run_id.as_str(), two.created_at), (id(2), "run-2", noon()));
    assert_eq!(two.aliases, [Alias::staging()]);
    assert_eq!(two.tags["note"], "not yet");
    assert_eq!(found.artifacts[1].get("a/b.txt"), Some(&b"two"[..]));
    assert_eq!(tree(&golden), tree(&written.root));
    // It goes on from there.
    assert_eq!(read.register(&model(), "run-3", &artifact(&[])).unwrap().version, id(3));
    assert_eq!(read.register(&model(), "run-1", &found.artifacts[0]).unwrap().version, id(1));
}
