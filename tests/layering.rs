//! The walls of the house, checked over the tree: adapters know the core, the core knows no
//! adapter, adapters do not know each other.
//!
//! Each rule is a function over text in `layering/rules.rs`, with a broken sample beside it that
//! it must catch; here they meet the real files. It reads text, so code that this machine's
//! features and platform switch off has to keep the rules too.

mod layering {
    pub(crate) mod rules;
    pub(crate) mod source;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layering::rules::{self, Breach, Manifest};

/// Adapters that the manifest announces and whose folder is still to come.
const PENDING: &[&str] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn manifest() -> Manifest {
    Manifest::read(&read("Cargo.toml"))
}

/// Every `.rs` file below a folder of the repository, as `src/drift/psi.rs`; none if it is absent.
fn rust_files(folder: &str) -> Vec<String> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let mut names: Vec<String> = found
        .iter()
        .map(|p| p.strip_prefix(root()).expect("below the root"))
        .map(|p| p.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/"))
        .collect();
    names.sort();
    names
}

/// The adapters that have a folder with a page.
fn folders() -> BTreeSet<String> {
    let files = rust_files("adapters");
    files.iter().filter_map(|f| f.split('/').nth(1)).map(str::to_owned).collect()
}

#[track_caller]
fn hold(breaches: &[Breach]) {
    let list: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} broken:\n\n{}\n", list.len(), list.join("\n\n"));
}

#[test]
fn the_core_knows_no_adapter_and_does_no_io() {
    let manifest = manifest();
    let files = rust_files("src");
    assert!(!files.is_empty(), "there is no source to check");
    let check = |file: &String| rules::core_file(file, &read(file), &manifest);
    hold(&files.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn adapters_do_not_know_each_other() {
    let adapters = manifest().adapters;
    let check = |file: &String| rules::adapter_file(file, &read(file), &adapters);
    hold(&rust_files("adapters").iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn only_the_crate_page_pulls_in_adapters() {
    let mut found = rules::lib_lines(&read("src/lib.rs"), &folders());
    for folder in ["src", "adapters", "examples", "benches", "tests"] {
        for file in rust_files(folder) {
            // The package whose purpose it is.
            if file != "src/lib.rs" && !file.starts_with("tests/adapters_as_crates/") {
                found.extend(rules::no_path_attribute(&file, &read(&file)));
            }
        }
    }
    hold(&found);
}

#[test]
fn a_feature_is_a_folder_is_a_module() {
    let pending = PENDING.iter().map(|name| (*name).to_owned()).collect();
    hold(&rules::features(&manifest(), &folders(), &pending));
}

#[test]
fn a_part_of_an_adapter_is_a_file_of_it() {
    let files: Vec<String> = ["src", "adapters"].iter().flat_map(|f| rust_files(f)).collect();
    let files: Vec<_> = files.into_iter().map(|file| (file.clone(), read(&file))).collect();
    hold(&rules::parts(&manifest(), &files));
}

#[test]
fn every_adapter_is_compiled_as_a_crate_too() {
    let package = "tests/adapters_as_crates";
    let mut found = rules::all_as_crates(&read(&format!("{package}/src/lib.rs")), &folders());
    let copy = Manifest::read(&read(&format!("{package}/Cargo.toml")));
    found.extend(rules::same_dependencies(&manifest(), &copy));
    hold(&found);
}

#[test]
fn every_target_is_declared() {
    let files: Vec<String> =
        ["tests", "examples", "benches"].iter().flat_map(|f| rust_files(f)).collect();
    hold(&rules::declared_targets(&manifest(), &files));
}

#[test]
fn the_clock_lint_is_on_for_the_library() {
    hold(&rules::lib_denies_clock(&read("src/lib.rs")));
}

#[test]
fn the_bare_core_stays_small() {
    // One fixed platform, so that the list is the same on every machine.
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--no-default-features"])
        .args(["--prefix", "none", "--target", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names are UTF-8");
    hold(&rules::dependencies(&tree, &read("tests/core_dependencies.txt")));
}

/// What is written into statements, by file: numbers, dates, and names of our own or quoted ones.
/// Whatever came from outside is bound.
const WRITTEN_INTO_SQL: &[(&str, &[&str])] = &[
    // Two moments and the number of a version: COPY takes no parameters.
    ("adapters/postgres/counting.rs", &["", "model_version"]),
    // Names of an owner's table and columns, each quoted, and numbers of columns and slots.
    (
        "adapters/postgres/own_table.rs",
        &["", "levels", "missing", "number", "other", "sets", "slot", "time", "which"],
    ),
    // A day, as eight digits and as a date.
    ("adapters/postgres/partitions.rs", &["", "bounds", "name"]),
    ("adapters/postgres/purge.rs", &["day"]),
    // Milliseconds.
    ("adapters/postgres/store.rs", &["", "brief", "limits"]),
];

#[test]
fn statements_bind_what_comes_from_outside() {
    let files = ["adapters/postgres", "adapters/sqlite"].map(rust_files).concat();
    let shipped = files.iter().filter(|file| !file.contains("/tests"));
    let files: Vec<_> = shipped.map(|file| (file.clone(), read(file))).collect();
    hold(&rules::sql(&files, WRITTEN_INTO_SQL));
}

#[test]
fn nothing_banned_is_locked() {
    hold(&rules::banned(&read("Cargo.lock"), &read("deny.toml")));
}
