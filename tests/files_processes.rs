//! The registry in a folder, used by several processes at once, some of them killed.
//!
//! A child is this very test binary, told by an environment variable which part to play.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pmmds::ErrorKind;
use pmmds::files::FileRegistry;
use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, VersionId};

const PART: &str = "PMMDS_TEST_PART";
const FOLDER: &str = "PMMDS_TEST_FOLDER";

fn model() -> ModelName {
    ModelName::new("churn").unwrap()
}

fn id(number: u64) -> VersionId {
    VersionId::new(number).unwrap()
}

fn artifact(size: usize) -> ArtifactFiles {
    let mut files = ArtifactFiles::new();
    files.insert("model.json", b"{}".to_vec()).unwrap();
    files.insert("weights/layer.bin", vec![0xA5; size]).unwrap();
    files
}

fn child(part: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "as_a_child", "--nocapture"]);
    command.env(PART, part).env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// What a child said, without what the test harness prints.
fn said(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "a child failed: {}", output.status);
    lines(&output.stdout)
}

fn lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(|line| Some(line.split_once("SAID ")?.1.to_owned())).collect()
}

fn say(text: &str) {
    // On a line of its own, at once: the reader may be waiting, the writer may be killed.
    let mut out = std::io::stdout().lock();
    write!(out, "\nSAID {text}\n").unwrap();
    out.flush().unwrap();
}

/// Does nothing, but for a child.
#[tokio::test]
async fn as_a_child() {
    let Ok(part) = std::env::var(PART) else { return };
    let registry = FileRegistry::open(std::env::var(FOLDER).unwrap()).await.unwrap();
    match part.split_once(' ').unwrap_or((&part, "")) {
        ("work", _) => work(&registry).await,
        ("race", own) => race(&registry, own.parse().unwrap()).await,
        ("register", name) => register(&registry, name).await,
        ("overflow", _) => overflow(&registry).await,
        other => panic!("no such part: {other:?}"),
    }
}

/// Registers and promotes for ever, saying each time what was answered.
async fn work(registry: &FileRegistry) {
    let (model, production) = (model(), Alias::production());
    loop {
        let known = registry.versions(&model).await.unwrap().len() as u64;
        let size = usize::try_from(known % 5).unwrap() * 50_000;
        let run = format!("run-{}", known + 1);
        let version = registry.register(&model, &run, &artifact(size)).await.unwrap().version;
        say(&format!("registered {version}"));
        registry.tag(&model, version, "note", "validated").await.unwrap();
        let champion = registry.resolve(&model, &production).await.unwrap();
        registry.set_alias(&model, &production, version, champion).await.unwrap();
        say(&format!("promoted {version}"));
    }
}

/// Moves the alias to each of its own versions (the even or the odd ones), from wherever it is.
async fn race(registry: &FileRegistry, own: u64) {
    let (model, production) = (model(), Alias::production());
    let mut conflicts = 0;
    for version in registry.versions(&model).await.unwrap().into_iter().skip(1) {
        let to = version.version;
        while to.number() % 2 == own {
            let from = registry.resolve(&model, &production).await.unwrap().unwrap();
            match registry.set_alias(&model, &production, to, Some(from)).await {
                Ok(()) => {
                    say(&format!("{from} {to}"));
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => conflicts += 1,
                Err(error) => panic!("{}", error.chain()),
            }
        }
    }
    println!("{conflicts} conflicts");
}

async fn register(registry: &FileRegistry, name: &str) {
    for run in 0..15 {
        let version = registry.register(&model(), &format!("{name}-{run}"), &artifact(run)).await;
        say(&version.unwrap().version.to_string());
    }
}

/// Registers more than the disk takes.
async fn overflow(registry: &FileRegistry) {
    let error = registry.register(&model(), "too-large", &artifact(4_000_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.to_string().contains("layer.bin"), "{error}");
    let left = std::fs::read_dir(registry.path().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "the room that was taken is given back");
    let version = registry.register(&model(), "small", &artifact(100)).await.unwrap().version;
    say(&version.to_string());
}

/// Every version is whole, numbers have no gap, aliases point at what is there.
async fn sound(folder: &Path) -> (u64, Option<VersionId>) {
    let registry = FileRegistry::open(folder).await.unwrap();
    let versions = registry.versions(&model()).await.unwrap();
    for (version, number) in versions.iter().zip(1..) {
        assert_eq!(version.version, id(number));
        let files = registry.fetch_artifact(&model(), version.version).await.unwrap();
        assert_eq!(files.digest(), version.digest);
    }
    let champion = registry.resolve(&model(), &Alias::production()).await.unwrap();
    if let Some(champion) = champion {
        let version = registry.get(&model(), champion).await.unwrap();
        assert_eq!(version.aliases, [Alias::production()]);
        assert_eq!(version.tags["note"], "validated");
    }
    (versions.len() as u64, champion)
}

#[tokio::test]
async fn a_process_killed_at_any_moment_loses_nothing_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut random = u64::from(now.subsec_nanos()) | 1;
    println!("seed {random}");
    let (mut registered, mut promoted) = (0, None);
    for round in 0..30 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = child("work", folder.path()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // From when it works, not from when it starts.
        let mut first = String::new();
        while !first.contains("SAID") && output.read_line(&mut first).unwrap() > 0 {}
        std::thread::sleep(Duration::from_micros(random % 200_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = first.into_bytes();
        std::io::Read::read_to_end(&mut output, &mut rest).unwrap();
        // The last line may have been cut short by the kill.
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in lines(&rest[..whole]) {
            match line.split_once(' ').unwrap() {
                ("registered", number) => registered = number.parse().unwrap(),
                ("promoted", number) => promoted = Some(number.parse::<VersionId>().unwrap()),
                other => panic!("{other:?}"),
            }
        }
        let (versions, champion) = sound(folder.path()).await;
        assert!(versions >= registered, "round {round}: version {registered} was answered");
        assert!(versions <= registered + 1, "round {round}: one call was under way");
        assert!(champion >= promoted, "round {round}: {promoted:?} was promoted, now {champion:?}");
        (registered, promoted) = (versions, champion);
    }
    println!("{registered} versions over 30 kills");
    assert!(registered >= 30, "each round registered at least one");
}

#[tokio::test]
async fn two_processes_never_both_win() {
    let folder = tempfile::tempdir().unwrap();
    let registry = FileRegistry::open(folder.path()).await.unwrap();
    for run in 1..=40 {
        registry.register(&model(), &format!("run-{run}"), &artifact(0)).await.unwrap();
    }
    registry.set_alias(&model(), &Alias::production(), id(1), None).await.unwrap();
    let racers: Vec<Child> =
        (0..2).map(|own| child(&format!("race {own}"), folder.path()).spawn().unwrap()).collect();
    let moves: BTreeMap<VersionId, VersionId> = racers
        .into_iter()
        .flat_map(said)
        .map(|line| line.split_once(' ').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())))
        .map(Option::unwrap)
        .collect();
    // Had both won from the same place, one of these would be gone.
    assert_eq!(moves.len(), 39, "39 moves, each from a place of its own");
    let mut at = id(1);
    let mut steps = 0;
    while let Some(next) = moves.get(&at) {
        (at, steps) = (*next, steps + 1);
    }
    assert_eq!(steps, 39, "the moves are one chain");
    assert_eq!(registry.resolve(&model(), &Alias::production()).await.unwrap(), Some(at));
}

#[tokio::test]
async fn processes_that_register_together_share_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<Child> = ["red", "green", "blue"]
        .iter()
        .map(|name| child(&format!("register {name}"), folder.path()).spawn().unwrap())
        .collect();
    let said: Vec<u64> =
        children.into_iter().flat_map(said).map(|line| line.parse().unwrap()).collect();
    assert_eq!(said.len(), 45);
    assert_eq!(said.into_iter().collect::<BTreeSet<_>>(), (1..=45).collect());
    let registry = FileRegistry::open(folder.path()).await.unwrap();
    assert_eq!(registry.versions(&model()).await.unwrap().len(), 45);
}

/// A limit on the size of a file stands in for a full disk: the write fails half way.
#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_is_an_outage_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let plain = child("overflow", folder.path());
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\""]);
    limited.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        limited.env(name, value.unwrap());
    }
    let child = limited.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(said(child), ["1"]);
    let registry = FileRegistry::open(folder.path()).await.unwrap();
    let versions = registry.versions(&model()).await.unwrap();
    assert_eq!(versions.iter().map(|v| v.run_id.as_str()).collect::<Vec<_>>(), ["small"]);
}

/// A folder that may only be read: readers are served, writers are told which place is closed.
#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_serves_readers() {
    use std::os::unix::fs::PermissionsExt;
    fn seal(path: &Path, closed: bool) {
        let folder = path.is_dir();
        let mode = if folder { 0o500 } else { 0o400 } | if closed { 0 } else { 0o200 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        if folder {
            std::fs::read_dir(path).unwrap().for_each(|e| seal(&e.unwrap().path(), closed));
        }
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let registry = FileRegistry::open(&folder).await.unwrap();
    registry.register(&model(), "run-1", &artifact(10)).await.unwrap();
    seal(&folder, true);
    if std::fs::write(folder.join("probe"), "").is_ok() {
        eprintln!("SKIPPED: this user may write to a read-only folder (root?)");
        return;
    }
    let registry = FileRegistry::open(&folder).await.unwrap();
    assert_eq!(registry.fetch_artifact(&model(), id(1)).await.unwrap(), artifact(10));
    let error = registry.register(&model(), "run-2", &artifact(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("registry"), "{error}");
    seal(&folder, false);
}
