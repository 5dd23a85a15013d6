//! The cache: what it keeps, what it refuses, and what a crash behind any step leaves.

use super::*;
use crate::registry::{CachedVersion, ModelCache};
use crate::schema::Fingerprint;

fn registry() -> Fingerprint {
    Fingerprint::of_bytes(b"http://mlflow:5000")
}

fn opened(path: &Path, disk: Disk) -> Folder {
    Folder::open_on(path, Kind::ModelCache, true, disk).unwrap()
}

fn version(number: u64) -> CachedVersion {
    let text = format!("version {number}");
    let files = artifact(&[("a/b.txt", text.as_str()), ("model.json", "{}"), ("empty", "")]);
    CachedVersion::new(id(number), files, noon())
}

fn keep(folder: &Folder, number: u64) -> Result<(), Error> {
    folder.keep(&model(), &Alias::production(), registry(), &version(number))
}

fn last(folder: &Folder) -> Result<Option<CachedVersion>, Error> {
    folder.last(&model(), &Alias::production(), registry())
}

fn place(folder: &Folder) -> PathBuf {
    folder.root.join("models/churn/production")
}

#[tokio::test]
async fn each_model_and_alias_has_the_version_that_was_kept_last() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FileCache::open(folder.path(), "http://mlflow:5000").await.unwrap();
    let cache: Arc<dyn ModelCache> = Arc::new(cache);
    let (production, staging) = (Alias::production(), Alias::staging());
    let other = ModelName::new("other").unwrap();
    assert_eq!(cache.last(&model(), &production).await.unwrap(), None);
    // From any version to any other, also back.
    for number in [10, 2, 7] {
        cache.keep(&model(), &production, &version(number)).await.unwrap();
        cache.keep(&model(), &staging, &version(number + 1)).await.unwrap();
        assert_eq!(cache.last(&model(), &production).await.unwrap(), Some(version(number)));
        assert_eq!(cache.last(&model(), &staging).await.unwrap(), Some(version(number + 1)));
    }
    assert_eq!(cache.last(&other, &production).await.unwrap(), None);
    // What was replaced takes no room.
    let files = |of: &str| tree(&folder.path().join("models/churn").join(of)).len();
    assert_eq!((files("production"), files("staging")), (4, 4));
}

#[tokio::test]
async fn a_folder_of_another_kind_is_none() {
    let folder = tempfile::tempdir().unwrap();
    prepared(folder.path(), true);
    let error = FileCache::open(folder.path(), "r").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", error.chain());
    assert!(error.to_string().contains("is no model cache and not empty"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    keep(&opened(folder.path(), Disk::default()), 1).unwrap();
    let error = FileRegistry::open(folder.path()).await.unwrap_err();
    assert!(error.to_string().contains("is no registry and not empty"), "{error}");
    fs::rename(folder.path().join("cache.json"), folder.path().join("registry.json")).unwrap();
    let error = FileRegistry::open(folder.path()).await.unwrap_err();
    assert!(error.to_string().ends_with("is of a model cache, not of a registry"), "{error}");
}

#[test]
fn what_is_of_another_model_alias_or_registry_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = opened(root.path(), Disk::default());
    keep(&folder, 3).unwrap();
    let elsewhere = Fingerprint::of_bytes(b"http://other:5000");
    let error = folder.last(&model(), &Alias::production(), elsewhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().ends_with("kept.json has version 3 of another registry"), "{error}");
    // Moved by hand to where another model, or another alias, is looked for.
    copy(&place(&folder), &folder.root.join("models/churn/staging"));
    copy(&place(&folder), &folder.root.join("models/other/production"));
    let other = ModelName::new("other").unwrap();
    for error in [
        folder.last(&model(), &Alias::staging(), registry()).unwrap_err(),
        folder.last(&other, &Alias::production(), registry()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().ends_with("kept.json is of churn@production"), "{error}");
    }
    // The registry that is asked now has the last word.
    folder.keep(&model(), &Alias::production(), elsewhere, &version(4)).unwrap();
    let found = folder.last(&model(), &Alias::production(), elsewhere).unwrap();
    assert_eq!(found, Some(version(4)));
}

#[test]
fn no_flipped_bit_or_missing_file_goes_unnoticed_and_the_next_version_mends_it() {
    let root = tempfile::tempdir().unwrap();
    let fresh = |name: &str| {
        let folder = opened(&root.path().join(name), Disk::default());
        keep(&folder, 3).unwrap();
        folder
    };
    let whole = Some(version(3));
    let all = tree(&place(&fresh("whole")));
    let mut noticed = 0;
    for (number, (name, bytes)) in all.iter().enumerate() {
        let folder = fresh(&number.to_string());
        let path = place(&folder).join(name);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            match last(&folder) {
                Ok(found) => assert_eq!(found, whole, "{} byte {at}", name.display()),
                Err(error) => {
                    let kinds = [ErrorKind::Corrupt, ErrorKind::NotSupported];
                    assert!(kinds.contains(&error.kind()), "{}", error.chain());
                    noticed += 1;
                }
            }
        }
        fs::remove_file(&path).unwrap();
        match last(&folder) {
            Ok(found) => assert_eq!((name.to_str(), found), (Some("kept.json"), None)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain()),
        }
        keep(&folder, 3).unwrap();
        assert_eq!(last(&folder).unwrap(), whole);
    }
    assert!(noticed > 500, "{noticed}");
    let folder = fresh("removed");
    fs::remove_dir_all(folder.root.join("models")).unwrap();
    assert_eq!(last(&folder).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[cfg(unix)]
#[test]
fn nothing_is_read_behind_a_link() {
    let (root, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = opened(root.path(), Disk::default());
    keep(&folder, 3).unwrap();
    let alias = place(&folder);
    let moved = aside.path().join("production");
    fs::rename(&alias, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &alias).unwrap();
    let error = last(&folder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().ends_with("is a symbolic link, not a folder"), "{error}");
    assert_eq!(keep(&folder, 4).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Lets step 0, 1, 2 ... of keeping version 4 fail, where `before` is kept: from that step on, or
/// that step alone.
fn at_every_step(before: Option<u64>, more: u64) {
    let root = tempfile::tempdir().unwrap();
    for step in 0.. {
        let path = root.path().join(step.to_string());
        let disk = Disk::default();
        let folder = opened(&path, disk.clone());
        before.iter().for_each(|number| keep(&folder, *number).unwrap());
        disk.fuse.set(step, more);
        let done = keep(&folder, 4);
        if !disk.fuse.is_burnt() {
            done.unwrap();
            assert!(step > 10, "{step} steps");
            return;
        }
        if let Err(error) = done {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "step {step}: {}", error.chain());
        }
        disk.fuse.clear();
        // What is left is what another process finds, before and after it has opened the folder.
        let seen = last(&folder).unwrap();
        let possible = [before.map(version), Some(version(4))];
        assert!(possible.contains(&seen), "step {step}: {seen:?}");
        let again = opened(&path, Disk::default());
        assert_eq!(last(&again).unwrap(), seen, "step {step}");
        assert!(disk::names(&again.tmp()).unwrap_or_default().is_empty(), "step {step}");
        keep(&again, 4).unwrap();
        assert_eq!(last(&again).unwrap(), Some(version(4)), "step {step}");
        assert_eq!(tree(&place(&again)).len(), 4, "step {step}: nothing is left over");
    }
}

#[test]
fn a_crash_behind_any_step_leaves_the_old_or_the_new_version() {
    at_every_step(None, u64::MAX);
    at_every_step(Some(3), u64::MAX);
}

#[test]
fn one_error_at_any_step_leaves_the_old_or_the_new_version() {
    at_every_step(None, 0);
    at_every_step(Some(3), 0);
}
