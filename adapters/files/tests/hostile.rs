//! What an attacker, a broken disk or a newer release may have put into the folder.

use std::io::Write;

use super::document::{Entry, Manifest, Tags};
use super::*;
use crate::registry::MAX_ARTIFACT_BYTES;
use crate::schema::Fingerprint;

fn version_folder(folder: &Folder, version: u64) -> PathBuf {
    folder.root.join("models/churn/versions").join(version.to_string())
}

#[track_caller]
fn corrupt_with<T: std::fmt::Debug>(answer: Result<T, Error>, text: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain());
    assert!(error.chain().contains(text), "{:?} has not {text:?}", error.chain());
}

/// In place: a file system may sync what was cut to nothing first, which takes its time.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    let whole = snapshot(&folder).unwrap();
    let mut noticed = 0;
    for (name, bytes) in tree(&folder.root) {
        let path = folder.root.join(&name);
        for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            overwrite(&path, &flipped);
            match snapshot(&folder) {
                // White space, or a file that is not read for this.
                Ok(seen) => assert_eq!(seen, whole, "{} byte {at} bit {bit}", name.display()),
                Err(error) => {
                    let kinds = [ErrorKind::Corrupt, ErrorKind::NotSupported];
                    assert!(kinds.contains(&error.kind()), "{}", error.chain());
                    let file = name.file_name().unwrap().to_str().unwrap();
                    assert!(error.to_string().contains(file), "{error} does not name {file}");
                    noticed += 1;
                }
            }
        }
        overwrite(&path, &bytes);
    }
    assert!(noticed > 5_000, "{noticed}");
    assert_eq!(snapshot(&folder).unwrap(), whole);
}

/// L14: there is no moment between the check of a file and its use.
#[test]
fn what_was_checked_is_what_is_loaded() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    let checked = folder.fetch(&model(), id(1)).unwrap();
    let path = version_folder(&folder, 1).join("files/model.json");
    assert_eq!(fs::read(&path).unwrap(), b"{}");
    overwrite(&path, b"[]");
    assert_eq!(checked.get("model.json"), Some(&b"{}"[..]), "the bytes that had the right sum");
    corrupt_with(folder.fetch(&model(), id(1)), "model.json");
}

#[test]
fn every_file_can_be_cut_or_missing_and_is_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    for (name, bytes) in tree(&folder.root) {
        let path = folder.root.join(&name);
        // Neither is read while something is found.
        if ["registry.json", "lock"].iter().any(|unread| name.ends_with(unread)) {
            continue;
        }
        let file = name.file_name().unwrap().to_str().unwrap();
        fs::remove_file(&path).unwrap();
        corrupt_with(snapshot(&folder), file);
        // The last byte of a document is its end of line.
        for length in (0..bytes.len().saturating_sub(1)).step_by(7) {
            fs::write(&path, &bytes[..length]).unwrap();
            corrupt_with(snapshot(&folder), file);
        }
        fs::write(&path, &bytes).unwrap();
    }
    snapshot(&folder).unwrap();
}

#[test]
fn what_the_manifest_does_not_list_is_not_there() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    let whole = snapshot(&folder).unwrap();
    let version = version_folder(&folder, 1);
    fs::write(version.join("files/evil.so"), "x").unwrap();
    fs::create_dir_all(version.join("files/deep/er")).unwrap();
    fs::write(version.join("notes.txt"), "x").unwrap();
    fs::create_dir(folder.root.join("models/churn/versions/.hidden")).unwrap();
    fs::create_dir(folder.root.join("models/churn/versions/03")).unwrap();
    assert_eq!(snapshot(&folder).unwrap(), whole);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    for link in [
        "models",
        "models/churn",
        "models/churn/aliases.json",
        "models/churn/versions",
        "models/churn/versions/2",
        "models/churn/versions/2/manifest.json",
        "models/churn/versions/2/tags.json",
        "models/churn/versions/2/files",
        "models/churn/versions/2/files/a",
        "models/churn/versions/2/files/a/b.txt",
    ] {
        let place = tempfile::tempdir().unwrap();
        let folder = prepared(&place.path().join("registry"), true);
        // The very bytes, and yet not from here.
        let (path, outside) = (folder.root.join(link), place.path().join("outside"));
        fs::rename(&path, &outside).unwrap();
        symlink(&outside, &path).unwrap();
        corrupt_with(snapshot(&folder), "is a symbolic link");
    }

    // Writers neither.
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(&place.path().join("registry"), true);
    let outside = place.path().join("outside");
    fs::create_dir_all(outside.join("version")).unwrap();
    fs::write(outside.join("version/precious"), "x").unwrap();
    fs::remove_dir(folder.tmp()).unwrap();
    symlink(&outside, folder.tmp()).unwrap();
    corrupt_with(folder.register(&model(), "run-9", &artifact(&[])), "is a symbolic link");
    fs::remove_file(folder.tmp()).unwrap();
    fs::create_dir(folder.tmp()).unwrap();
    symlink(outside.join("version"), folder.tmp().join("version")).unwrap();
    folder.register(&model(), "run-9", &artifact(&[("a", "b")])).unwrap();
    assert_eq!(tree(&outside), [("version/precious".into(), b"x".to_vec())]);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_does_not_hang() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    for name in ["manifest.json", "files/model.json"] {
        let path = version_folder(&folder, 1).join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match std::process::Command::new("mkfifo").arg(&path).status() {
            Ok(status) if status.success() => {
                corrupt_with(folder.fetch(&model(), id(1)), "is a device, not a file");
            }
            _ => eprintln!("SKIPPED: there is no mkfifo here"),
        }
        drop(fs::remove_file(&path));
        fs::write(&path, bytes).unwrap();
    }
}

fn entry(name: &str, bytes: u64) -> Entry {
    Entry { name: name.to_owned(), bytes, sha256: Fingerprint::of_bytes(b"") }
}

/// What `fetch` makes of a manifest with a valid sum and this list of files.
fn fetch_listed(files: Vec<Entry>) -> Result<ArtifactFiles, Error> {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("secret"), "").unwrap();
    let folder = prepared(&place.path().join("registry"), true);
    let path = version_folder(&folder, 1).join("manifest.json");
    let manifest: Manifest = document::read(&path, &fs::read(&path).unwrap()).unwrap();
    let hostile = Manifest { files, ..manifest };
    // By itself `write` refuses what is too large to be read.
    fs::write(&path, document::write(&path, &hostile)?).unwrap();
    folder.fetch(&model(), id(1))
}

#[test]
fn hostile_names_are_refused_before_anything_is_opened() {
    let up = "../../../../../../secret";
    let hidden = "a/../../../../../../../secret";
    for name in [up, hidden, "/etc/passwd", "C:\\x", "%2e%2e/x", "a\0b", "", ".", "a//b", "..\\x"] {
        corrupt_with(fetch_listed(vec![entry(name, 0)]), "lists an impossible file");
    }
    let twice = vec![entry("model.json", 2), entry("MODEL.json", 2)];
    corrupt_with(fetch_listed(twice), "\"MODEL.json\" stands twice");
    corrupt_with(fetch_listed(vec![entry("a", 0), entry("a/b", 0)]), "one would be a folder");
    let many = (0..1_001).map(|i| entry(&format!("f{i}"), 0)).collect();
    corrupt_with(fetch_listed(many), "at most 1000 files");
}

#[test]
fn hostile_sizes_take_no_memory() {
    let claim = |bytes| fetch_listed(vec![entry("model.json", bytes)]);
    corrupt_with(claim(MAX_ARTIFACT_BYTES), "model.json has 2 bytes, not 1073741824");
    corrupt_with(claim(MAX_ARTIFACT_BYTES + 1), "lists 1073741825 bytes of files");
    corrupt_with(claim(1 << 60), "bytes of files, more than 1073741824");
    let wraps = vec![entry("model.json", u64::MAX), entry("b", 3)];
    corrupt_with(fetch_listed(wraps), "bytes of files, more than 1073741824");
    corrupt_with(claim(0), "model.json has 2 bytes, not 0");
    corrupt_with(claim(2), "model.json has the SHA-256");
}

#[test]
fn hostile_texts_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    let path = version_folder(&folder, 2).join("tags.json");
    let whole = fs::read(&path).unwrap();
    let tags: Tags = document::read(&path, &whole).unwrap();
    for (key, value) in [("<script>", "x".to_owned()), ("note", "x".repeat(5_001))] {
        let hostile = Tags { tags: [(key.to_owned(), value)].into(), ..tags.clone() };
        fs::write(&path, document::write(&path, &hostile).unwrap()).unwrap();
        corrupt_with(folder.get(&model(), id(2)), "tags.json has an impossible tag");
    }
    fs::write(&path, whole).unwrap();
    let path = version_folder(&folder, 2).join("manifest.json");
    let mut manifest: Manifest = document::read(&path, &fs::read(&path).unwrap()).unwrap();
    manifest.run_id = "<script>".to_owned();
    fs::write(&path, document::write(&path, &manifest).unwrap()).unwrap();
    corrupt_with(folder.get(&model(), id(2)), "manifest.json has an impossible run");
}

#[test]
fn files_that_are_all_right_but_not_the_registered_ones() {
    corrupt_with(fetch_listed(vec![]), "has a digest that is not the one of its files");
}

#[test]
fn no_document_is_too_large_or_too_deep() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    let path = version_folder(&folder, 1).join("manifest.json");
    let whole = fs::read(&path).unwrap();
    let mut large = whole.clone();
    large.resize(2 << 20, b' ');
    fs::write(&path, large).unwrap();
    corrupt_with(folder.get(&model(), id(1)), "has 2097152 bytes, more than 1048576");
    for bomb in ["[".repeat(1 << 19), "{\"a\":".repeat(1 << 17), "\u{0}".repeat(99), String::new()]
    {
        fs::write(&path, bomb).unwrap();
        corrupt_with(folder.get(&model(), id(1)), "manifest.json is not what pmmds writes");
    }
    let text = String::from_utf8(whole).unwrap();
    for version in ["0", "\"0001\"", "18446744073709551616", "\"abc\"", "1"] {
        let other = text.replace("\"version\": \"1\"", &format!("\"version\": {version}"));
        assert_ne!(other, text);
        fs::write(&path, other).unwrap();
        corrupt_with(folder.get(&model(), id(1)), "manifest.json is not what pmmds writes");
    }
}

#[test]
fn a_version_in_the_place_of_another_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    let (one, two) = (version_folder(&folder, 1), version_folder(&folder, 2));
    fs::remove_dir_all(&one).unwrap();
    fs::rename(&two, &one).unwrap();
    corrupt_with(folder.get(&model(), id(1)), "belongs to version 2 of churn");
    corrupt_with(folder.fetch(&model(), id(1)), "belongs to version 2 of churn");

    let models = folder.root.join("models");
    fs::rename(models.join("churn"), models.join("other")).unwrap();
    let other = ModelName::new("other").unwrap();
    corrupt_with(folder.resolve(&other, &Alias::production()), "belongs to churn");
    corrupt_with(folder.versions(&other), "belongs to churn");
}

#[test]
fn an_alias_of_a_version_that_was_removed_leads_to_not_found() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    fs::remove_dir_all(version_folder(&folder, 1)).unwrap();
    assert_eq!(folder.resolve(&model(), &Alias::production()).unwrap(), Some(id(1)));
    assert_eq!(folder.fetch(&model(), id(1)).unwrap_err().kind(), ErrorKind::NotFound);
    // The number is not used again.
    assert_eq!(folder.register(&model(), "run-3", &artifact(&[])).unwrap().version, id(3));
}

#[test]
fn a_newer_format_is_not_guessed_at() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    for (name, bytes) in tree(&folder.root) {
        let text = String::from_utf8_lossy(&bytes);
        if !text.contains("\"format_version\": 1") {
            continue;
        }
        let newer = r#"{"format_version": 2, "anything": ["else"]}"#;
        fs::write(folder.root.join(&name), newer).unwrap();
        let error = if name.ends_with("registry.json") {
            Folder::open(&folder.root, true).map(drop).unwrap_err()
        } else {
            snapshot(&folder).map(drop).unwrap_err()
        };
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{}", error.chain());
        let message = "is of format version 2, and this release reads up to 1";
        assert!(error.to_string().ends_with(message), "{error}");
        fs::write(folder.root.join(&name), bytes).unwrap();
    }
}

#[test]
fn tags_have_an_end() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path(), true);
    let value = "x".repeat(crate::registry::MAX_TAG_BYTES);
    let refused =
        (0..1_000).find_map(|i| folder.tag(&model(), id(1), &format!("k{i}"), &value).err());
    let error = refused.unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("more than 1048576"), "{error}");
    snapshot(&folder).unwrap();
}
