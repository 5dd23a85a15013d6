//! The rules as functions over text, each with a broken sample that it must catch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::source::{self, Kind, Token};

/// One line that breaks a rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Breach {
    file: String,
    line: usize,
    what: String,
    why: &'static str,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    because {}", self.file, self.line, self.what, self.why)
    }
}

fn breach(file: &str, line: usize, what: String, why: &'static str) -> Breach {
    Breach { file: file.to_owned(), line, what, why }
}

/// What the manifest says about adapters.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Every feature but `default`, `full`, `conformance` and the parts.
    pub(crate) adapters: BTreeSet<String>,
    /// The features that switch a part of an adapter on, and of which: such a feature is nothing
    /// but the name of its adapter, and crates of its own.
    pub(crate) parts: BTreeMap<String, String>,
    pub(crate) full: BTreeSet<String>,
    /// The optional dependencies, as code spells them (`tower_http`).
    pub(crate) adapter_crates: BTreeSet<String>,
    pub(crate) dev_crates: BTreeSet<String>,
    table: toml::Table,
}

impl Manifest {
    pub(crate) fn read(text: &str) -> Self {
        let table: toml::Table = text.parse().expect("Cargo.toml is TOML");
        let section = |name: &str| table.get(name).and_then(toml::Value::as_table);
        let features = section("features").expect("Cargo.toml has [features]");
        let not_adapters = ["default", "full", "conformance"];
        let in_code = |name: &String| name.replace('-', "_");
        let own = |name: &&String| !not_adapters.contains(&name.as_str());
        let parts: BTreeMap<String, String> = features
            .iter()
            .filter_map(|(name, value)| {
                let mut of = value.as_array()?.iter().filter_map(toml::Value::as_str);
                let (of, mut more) = (of.next()?.to_owned(), of);
                if !more.all(|name| name.starts_with("dep:")) {
                    return None;
                }
                (own(&name) && own(&&of) && features.contains_key(&of)).then(|| (name.clone(), of))
            })
            .collect();
        Self {
            adapters: features
                .keys()
                .filter(own)
                .filter(|name| !parts.contains_key(*name))
                .cloned()
                .collect(),
            parts,
            full: strings(features.get("full")),
            adapter_crates: section("dependencies")
                .expect("Cargo.toml has [dependencies]")
                .iter()
                .filter(|(_, d)| d.get("optional").and_then(toml::Value::as_bool) == Some(true))
                .map(|(name, _)| in_code(name))
                .collect(),
            dev_crates: section("dev-dependencies")
                .map(|deps| deps.keys().map(in_code).collect())
                .unwrap_or_default(),
            table,
        }
    }
}

fn strings(value: Option<&toml::Value>) -> BTreeSet<String> {
    let items = value.and_then(toml::Value::as_array).into_iter().flatten();
    items.filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// The core names no adapter, no crate of an adapter, and does no I/O.
pub(crate) fn core_file(file: &str, text: &str, manifest: &Manifest) -> Vec<Breach> {
    let all = source::tokens(text);
    let shipped = source::without_tests(&all);
    let mut out = adapter_modules(file, text, &all, &manifest.adapters);
    out.extend(foreign_crates(file, &all, &shipped, manifest));
    if !is_tests(file) {
        out.extend(side_effects(file, &shipped));
    }
    out.sort_by_key(|b| b.line);
    out
}

/// Whether a file of the core is there for its tests alone.
fn is_tests(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

fn adapter_modules(
    file: &str,
    text: &str,
    tokens: &[Token],
    adapters: &BTreeSet<String>,
) -> Vec<Breach> {
    let why = "the direction is adapters -> src: the core must build, and its docs must link, with \
               no adapter there; put what the core needs behind one of its traits";
    let depth = source::depth(file);
    let mut out = Vec::new();
    for path in source::paths(tokens) {
        if let Some(name) = source::root_name(&path, depth).filter(|n| adapters.contains(*n)) {
            let what = format!("`{}` names the adapter `{name}`", path.segments.join("::"));
            out.push(breach(file, path.line, what, why));
        }
    }
    // Links in doc comments: broken as soon as the feature is off. The crate page may have them.
    if depth > 0 {
        for (i, line) in text.lines().enumerate().filter(|(_, l)| l.trim_start().starts_with("//"))
        {
            for name in adapters {
                for place in [format!("crate::{name}"), format!("pmmds::{name}")] {
                    if mentions(line, &place) {
                        let what = format!("the comment names the adapter as `{place}`");
                        out.push(breach(file, i + 1, what, why));
                    }
                }
            }
        }
    }
    out
}

/// `place` stands in `line` as whole words.
fn mentions(line: &str, place: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(place)
        .any(|(at, _)| !line[..at].ends_with(word) && !line[at + place.len()..].starts_with(word))
}

fn foreign_crates(
    file: &str,
    all: &[Token],
    shipped: &[Token],
    manifest: &Manifest,
) -> Vec<Breach> {
    let why = "it is an optional dependency, which only its adapter may use: users of the bare core \
               must not pay for it";
    let mut out = Vec::new();
    // Test code may use what is a dev-dependency too, and nothing else.
    let tests_only = is_tests(file);
    for path in source::paths(if tests_only { &[] } else { shipped }) {
        if let Some(name) = source::crate_name(&path, &manifest.adapter_crates) {
            let what = format!("`{}` uses the crate `{name}`", path.segments.join("::"));
            out.push(breach(file, path.line, what, why));
        }
    }
    let not_for_tests = &manifest.adapter_crates - &manifest.dev_crates;
    for path in source::paths(all) {
        if let Some(name) = source::crate_name(&path, &not_for_tests) {
            let what = format!("`{}` uses the crate `{name}`", path.segments.join("::"));
            if !out.iter().any(|b| b.line == path.line && b.what == what) {
                out.push(breach(file, path.line, what, why));
            }
        }
    }
    out
}

/// What the core takes as an argument or through a trait instead.
const MODULES: [&str; 5] = ["fs", "net", "env", "process", "thread"];
const CLOCKS: [&str; 4] = ["SystemTime", "Instant", "Timestamp", "Zoned"];

fn side_effects(file: &str, shipped: &[Token]) -> Vec<Breach> {
    let why = "the core is pure: files, network, environment, threads and the clock are arguments or \
               traits, so that it runs anywhere and gives the same answer twice";
    let mut out = Vec::new();
    for path in source::paths(shipped) {
        let at = |i: usize| path.segments.get(i).map_or("", String::as_str);
        let module = at(0) == "std" && MODULES.contains(&at(1));
        let clock =
            path.segments.windows(2).any(|p| CLOCKS.contains(&p[0].as_str()) && p[1] == "now");
        if module || clock {
            let what = format!("`{}` reaches outside the core", path.segments.join("::"));
            out.push(breach(file, path.line, what, why));
        }
    }
    out
}

/// An adapter knows the core and itself, no other adapter.
pub(crate) fn adapter_file(file: &str, text: &str, adapters: &BTreeSet<String>) -> Vec<Breach> {
    let why = "adapters are independent: each must compile with its feature alone; what two of them \
               share belongs in src/";
    let own = file.split('/').nth(1).unwrap_or_default();
    let others: BTreeSet<&String> = adapters.iter().filter(|a| *a != own).collect();
    let tokens = source::tokens(text);
    let mut out = Vec::new();
    for path in source::paths(&tokens) {
        let name = source::root_name(&path, source::depth(file));
        if let Some(name) = name.filter(|n| others.iter().any(|o| o == n)) {
            let what = format!("`{}` names the adapter `{name}`", path.segments.join("::"));
            out.push(breach(file, path.line, what, why));
        }
    }
    for token in &tokens {
        let Kind::Str(content) = &token.kind else { continue };
        for other in &others {
            let places = [format!("adapters/{other}/"), format!("../{other}/")];
            if places.iter().any(|p| content.contains(p.as_str())) {
                let what = format!("\"{content}\" reaches into the folder of `{other}`");
                out.push(breach(file, token.line, what, why));
            }
        }
    }
    out
}

/// `#[path]` is for `src/lib.rs` alone.
pub(crate) fn no_path_attribute(file: &str, text: &str) -> Vec<Breach> {
    let why = "src/lib.rs is the one place where a folder outside src/ becomes a module; a second \
               would hide a dependency from every check";
    path_attributes(&source::tokens(text))
        .into_iter()
        .map(|(line, _)| breach(file, line, "`#[path]` outside src/lib.rs".to_owned(), why))
        .collect()
}

/// Line and index of each `#[path`.
fn path_attributes(tokens: &[Token]) -> Vec<(usize, usize)> {
    let starts = |w: &[Token]| w[0].is("#") && w[1].is("[") && w[2].is("path");
    let cfg_attr = |w: &[Token]| w[0].is(",") && w[1].is("path") && w[2].is("=");
    tokens
        .windows(3)
        .enumerate()
        .filter(|(_, w)| starts(w) || cfg_attr(w))
        .map(|(i, w)| (w[0].line, i))
        .collect()
}

/// Each `#[path]` of `src/lib.rs` has the one shape, and each adapter folder has its line.
pub(crate) fn lib_lines(text: &str, folders: &BTreeSet<String>) -> Vec<Breach> {
    let why = "feature = folder = module name, one line per adapter: \
               `#[cfg(feature = \"X\")] #[path = \"../adapters/X/mod.rs\"] pub mod X;`";
    let file = "src/lib.rs";
    let tokens = source::tokens(text);
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for (line, at) in path_attributes(&tokens) {
        match adapter_line(&tokens, at) {
            Some(name) => {
                if !folders.contains(&name) {
                    out.push(breach(file, line, format!("there is no adapters/{name}/"), why));
                }
                seen.insert(name);
            }
            None => out.push(breach(file, line, "`#[path]` in another shape".to_owned(), why)),
        }
    }
    for folder in folders - &seen {
        out.push(breach(file, 1, format!("no line pulls in adapters/{folder}/"), why));
    }
    out
}

/// The name of the adapter if the tokens round the `#[path` at `at` are exactly its line.
fn adapter_line(tokens: &[Token], at: usize) -> Option<String> {
    const BEFORE: [&str; 6] = ["#", "[", "cfg", "(", "feature", "="];
    let line = tokens.get(at.checked_sub(BEFORE.len() + 3)?..at + 9)?;
    let is = |i: usize, signs: &[&str]| signs.iter().zip(&line[i..]).all(|(s, t)| t.is(s));
    let string = |i: usize| match &line[i].kind {
        Kind::Str(s) => Some(s.as_str()),
        _ => None,
    };
    let name = string(6)?;
    let shape = is(0, &BEFORE)
        && is(7, &[")", "]", "#", "[", "path", "="])
        && string(13)? == format!("../adapters/{name}/mod.rs")
        && is(14, &["]", "pub", "mod", name])
        && tokens.get(at + 9).is_some_and(|t| t.is(";"));
    shape.then(|| name.to_owned())
}

/// Folder set = feature set, and `full` has them all.
pub(crate) fn features(
    manifest: &Manifest,
    folders: &BTreeSet<String>,
    pending: &BTreeSet<String>,
) -> Vec<Breach> {
    let why = "feature name = folder name = module name: that is how one finds an adapter, and how \
               these checks do";
    let mut out = Vec::new();
    let mut say = |what: String| out.push(breach("Cargo.toml", 1, what, why));
    for name in &manifest.adapters - folders {
        if !pending.contains(&name) {
            say(format!("feature `{name}` has no folder adapters/{name}/"));
        }
    }
    for name in folders - &manifest.adapters {
        say(format!("adapters/{name}/ has no feature `{name}`"));
    }
    for name in &manifest.adapters - &manifest.full {
        say(format!("feature `{name}` is not in `full`"));
    }
    for name in pending & folders {
        say(format!("adapters/{name}/ is there: take it out of PENDING in tests/layering.rs"));
    }
    for name in pending - &manifest.adapters {
        say(format!("PENDING in tests/layering.rs names `{name}`, which is no feature"));
    }
    out
}

/// A part of an adapter is one file of that adapter, named like its feature, and nothing outside of
/// the adapter depends on the feature.
pub(crate) fn parts(manifest: &Manifest, files: &[(String, String)]) -> Vec<Breach> {
    let why = "a feature that is no adapter is a part of one: `X = [\"adapter\", \"dep:..\"]`, in \
               adapters/adapter/X.rs or adapters/adapter/X/, so that one finds it like an adapter";
    let mut out = Vec::new();
    for (part, adapter) in &manifest.parts {
        let file = part.replace('-', "_");
        let homes = ["", "/mod"].map(|rest| format!("adapters/{adapter}/{file}{rest}.rs"));
        if !manifest.adapters.contains(adapter) {
            let what = format!("feature `{part}` is a part of `{adapter}`, which is no adapter");
            out.push(breach("Cargo.toml", 1, what, why));
        } else if !files.iter().any(|(name, _)| homes.contains(name)) {
            let what = format!("feature `{part}` has no {}", homes[0]);
            out.push(breach("Cargo.toml", 1, what, why));
        }
        if !manifest.full.contains(part) {
            out.push(breach("Cargo.toml", 1, format!("feature `{part}` is not in `full`"), why));
        }
        let inside = format!("adapters/{adapter}/");
        for (name, text) in files.iter().filter(|(name, _)| !name.starts_with(&inside)) {
            for (line, _) in text.lines().enumerate().filter(|(_, line)| {
                line.contains("cfg") && line.contains(&format!("feature = \"{part}\""))
            }) {
                let what = format!("it depends on feature `{part}` of `{adapter}`");
                out.push(breach(name, line + 1, what, why));
            }
        }
    }
    out
}

/// Statements are fixed texts. What is written into one is on the list of its file, and nothing on the
/// list is missing; a text made at run time, which sqlx takes only as `AssertSqlSafe`, is made of such.
pub(crate) fn sql(files: &[(String, String)], listed: &[(&str, &[&str])]) -> Vec<Breach> {
    let why = "a value within the text of a statement may be another statement: bind it, or list it \
               in tests/layering.rs with what keeps it harmless";
    let mut out = Vec::new();
    for (file, text) in files {
        let listed = listed.iter().find(|(name, _)| name == file).map_or(&[][..], |(_, all)| all);
        let mut found = BTreeSet::new();
        let tokens = source::without_tests(&source::tokens(text));
        for window in tokens.windows(4) {
            let [macro_name, bang, open, Token { line, kind: Kind::Str(text) }] = window else {
                continue;
            };
            let macro_ = ["format", "concat"].iter().any(|name| macro_name.is(name));
            if !(macro_ && bang.is("!") && open.is("(") && is_sql(text)) {
                continue;
            }
            for name in interpolated(text) {
                if !listed.contains(&name.as_str()) {
                    out.push(breach(
                        file,
                        *line,
                        format!("a statement has `{{{name}}}` in it"),
                        why,
                    ));
                }
                found.insert(name);
            }
        }
        for stale in listed.iter().filter(|name| !found.contains(**name)) {
            out.push(breach(
                file,
                1,
                format!("no statement has `{{{stale}}}` in it any more"),
                why,
            ));
        }
    }
    out
}

/// Whether a text is a statement or a part of one: in this house their words are in capitals.
fn is_sql(text: &str) -> bool {
    let words = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "COPY", "BEGIN", "SET",
        "FROM", "WHERE", "VALUES", "PRAGMA", "ORDER", "LIMIT", "CASE", "WHEN", "ATTACH", "DETACH",
    ];
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| words.contains(&word))
}

/// What is written into a text: `a` for `{a}` and `{a:02}`, and nothing for `{}`.
fn interpolated(text: &str) -> Vec<String> {
    let text = text.replace("{{", "").replace("}}", "");
    let parts = text.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    parts.map(|part| part.split(':').next().unwrap_or_default().to_owned()).collect()
}

/// `tests/adapters_as_crates/src/lib.rs` has a live `#[path]` line for every adapter folder.
pub(crate) fn all_as_crates(text: &str, folders: &BTreeSet<String>) -> Vec<Breach> {
    let why = "an adapter that this package does not compile may reach private items unseen";
    let tokens = source::tokens(text);
    let live: BTreeSet<&str> = tokens
        .iter()
        .filter_map(|t| match &t.kind {
            Kind::Str(s) => s.strip_prefix("../../../adapters/")?.strip_suffix("/mod.rs"),
            _ => None,
        })
        .collect();
    folders
        .iter()
        .filter(|f| !live.contains(f.as_str()))
        .map(|f| {
            let what = format!("no line compiles adapters/{f}/");
            breach("tests/adapters_as_crates/src/lib.rs", 1, what, why)
        })
        .collect()
}

/// `tests/adapters_as_crates/Cargo.toml` repeats the dependencies of the root manifest.
pub(crate) fn same_dependencies(root: &Manifest, copy: &Manifest) -> Vec<Breach> {
    let why = "adapters must meet the same versions and features there as here, and the build of \
               their dependencies is then shared";
    let copied = copy.table.get("dependencies").and_then(toml::Value::as_table);
    let mut out = Vec::new();
    for section in ["dependencies", "dev-dependencies"] {
        let deps = root.table.get(section).and_then(toml::Value::as_table);
        for (name, want) in deps.into_iter().flatten().filter(|(n, _)| *n != "pmmds") {
            let same = copied.and_then(|c| c.get(name)).is_some_and(|have| {
                let version = |v: &toml::Value| {
                    v.as_str().or_else(|| v.get("version")?.as_str()).map(str::to_owned)
                };
                let default = |v: &toml::Value| {
                    v.get("default-features").and_then(toml::Value::as_bool).unwrap_or(true)
                };
                version(have) == version(want)
                    && (default(have) || !default(want))
                    && strings(want.get("features")).is_subset(&strings(have.get("features")))
            });
            if !same {
                let what =
                    format!("`{name}` is not as in [{section}] of the root manifest: {want}");
                out.push(breach("tests/adapters_as_crates/Cargo.toml", 1, what, why));
            }
        }
    }
    out
}

/// Every target file is declared: with `autotests = false` an undeclared test never runs.
pub(crate) fn declared_targets(manifest: &Manifest, files: &[String]) -> Vec<Breach> {
    let why = "targets are not found by themselves here, so a file that Cargo.toml does not name \
               is never built and never run";
    let mut declared = BTreeSet::new();
    for kind in ["test", "example", "bench"] {
        let targets = manifest.table.get(kind).and_then(toml::Value::as_array);
        for target in targets.into_iter().flatten() {
            let text = |key| target.get(key).and_then(toml::Value::as_str);
            let name = text("name").unwrap_or_default();
            let folder = if kind == "bench" { "benches".to_owned() } else { format!("{kind}s") };
            match text("path") {
                Some(path) => drop(declared.insert(path.to_owned())),
                None => {
                    declared.insert(format!("{folder}/{name}.rs"));
                    declared.insert(format!("{folder}/{name}/main.rs"));
                }
            }
        }
    }
    files
        .iter()
        .filter(|file| {
            let parts: Vec<_> = file.split('/').collect();
            parts.len() == 2 || (parts.len() == 3 && parts[2] == "main.rs")
        })
        .filter(|file| !declared.contains(*file))
        .map(|file| breach(file, 1, "Cargo.toml declares no target for it".to_owned(), why))
        .collect()
}

/// The packages of the bare core against the list: no more than 60, each known, none stale.
pub(crate) fn dependencies(tree: &str, allowed: &str) -> Vec<Breach> {
    const MOST: usize = 60;
    const NEVER: [&str; 8] =
        ["tokio", "sqlx", "axum", "reqwest", "hyper", "rustls", "openssl", "linfa"];
    let why = "`default-features = false` is what a library embeds: each package more is one to \
               compile, to audit and to trust; prefer ten lines of our own, or move it to an adapter";
    let file = "tests/core_dependencies.txt";
    let packages: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default()))
        .collect();
    let names: BTreeSet<&str> = packages.iter().map(|(name, _)| *name).collect();
    let listed: BTreeMap<&str, usize> = allowed
        .lines()
        .enumerate()
        .map(|(i, line)| (line.split('#').next().unwrap_or_default().trim(), i + 1))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let mut out = Vec::new();
    if packages.len() > MOST {
        let what =
            format!("the bare core has {} packages, at most {MOST} are agreed", packages.len());
        out.push(breach("Cargo.toml", 1, what, why));
    }
    for name in &names {
        let never = NEVER.iter().any(|n| name == n || name.starts_with(&format!("{n}-")));
        if never {
            out.push(breach("Cargo.toml", 1, format!("the bare core depends on `{name}`"), why));
        } else if !listed.contains_key(name) {
            out.push(breach(file, 1, format!("`{name}` is new in the bare core, not listed"), why));
        }
    }
    for (name, line) in listed.iter().filter(|(name, _)| !names.contains(*name)) {
        out.push(breach(file, *line, format!("`{name}` is listed, no longer needed"), why));
    }
    out
}

/// Nothing that `deny.toml` bans is in the lock file, so that the ban holds without its tool too.
pub(crate) fn banned(lock: &str, deny: &str) -> Vec<Breach> {
    let why = "deny.toml bans it: one TLS stack, built without a system library";
    let table = |text: &str| text.parse::<toml::Table>().expect("valid TOML");
    let deny = table(deny);
    let bans = deny.get("bans").and_then(|b| b.get("deny")).and_then(toml::Value::as_array);
    let bans: Vec<&str> =
        bans.into_iter().flatten().filter_map(|b| b.get("crate")?.as_str()).collect();
    assert!(!bans.is_empty(), "deny.toml has no [bans] deny list");
    let lock = table(lock);
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    packages
        .filter_map(|p| p.get("name")?.as_str())
        .filter(|name| bans.contains(name))
        .map(|name| breach("Cargo.lock", 1, format!("`{name}` is in the graph"), why))
        .collect()
}

/// The lint that sees through aliases is switched on for the library.
pub(crate) fn lib_denies_clock(text: &str) -> Vec<Breach> {
    let why = "clippy.toml lists clock and environment; Cargo.toml allows them, because tests and \
               examples need them, and src/lib.rs takes them away from the library again";
    let want = ["#", "!", "[", "deny", "(", "clippy", "::", "disallowed_methods"];
    let tokens = source::tokens(text);
    let there = tokens.windows(want.len()).any(|w| want.iter().zip(w).all(|(s, t)| t.is(s)));
    let what = "no `#![deny(clippy::disallowed_methods)]`".to_owned();
    if there { Vec::new() } else { vec![breach("src/lib.rs", 1, what, why)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [features]
        default = ["csv"]
        csv = ["dep:csv"]
        sqlite = ["dep:sqlx"]
        conformance = []
        full = ["csv", "sqlite", "conformance"]
        [dependencies]
        serde = { version = "1", features = ["derive"] }
        csv = { version = "1", optional = true }
        sqlx = { version = "0.9", optional = true, default-features = false }
        tokio = { version = "1", optional = true }
        tower-http = { version = "0.7", optional = true }
        [dev-dependencies]
        tokio = { version = "1", features = ["macros"] }
        [[test]]
        name = "layering"
    "#;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    /// The broken lines of a sample.
    fn lines(breaches: &[Breach]) -> Vec<usize> {
        breaches.iter().map(|b| b.line).collect()
    }

    fn core(text: &str) -> Vec<usize> {
        lines(&core_file("src/drift/psi.rs", text, &Manifest::read(MANIFEST)))
    }

    #[test]
    fn a_breach_says_where_what_and_why() {
        let manifest = Manifest::read(MANIFEST);
        let text = core_file("src/log.rs", "\nuse std::fs;", &manifest)[0].to_string();
        assert!(text.starts_with("src/log.rs:2: `std::fs` reaches outside"), "{text}");
        assert!(text.contains("because the core is pure"), "{text}");
    }

    #[test]
    fn the_core_that_names_a_foreign_crate_is_caught() {
        assert_eq!(
            core("use sqlx::Pool;\nfn f() { tower_http::x(); }\nextern crate csv;"),
            [1, 2, 3]
        );
        assert_eq!(core("use {serde, sqlx as db};\n#[tokio::main]\nfn f(){}"), [1, 2]);
        // A word is no crate: comments, strings, variables, our own names.
        assert_eq!(core("// sqlx::x\nlet csv = \"csv::x\"; csv.len(); self.csv; my::csv::x"), []);
    }

    #[test]
    fn core_tests_may_use_dev_dependencies_only() {
        assert_eq!(core("#[cfg(test)] mod t {\n#[tokio::test] fn f() {}\nuse sqlx::x; }"), [3]);
        let manifest = Manifest::read(MANIFEST);
        let text = "#[tokio::test]\nfn f() { std::fs::x(); }\nuse sqlx::y;";
        assert_eq!(lines(&core_file("src/drift/tests.rs", text, &manifest)), [3]);
        assert_eq!(lines(&core_file("src/drift/tests/laws.rs", text, &manifest)), [3]);
    }

    #[test]
    fn the_core_that_names_an_adapter_is_caught() {
        assert_eq!(core("use crate::{log, sqlite::Store};\nsuper::super::csv::read();"), [1, 2]);
        assert_eq!(
            core("/// See [`crate::sqlite::Store`].\n// pmmds::csv\n// crate::sqlite_x"),
            [1, 2]
        );
        // Not at the root: the core's own modules may have such a name.
        assert_eq!(core("super::csv::f(); self::sqlite::f(); crate::record::csv::f();"), []);
        let manifest = Manifest::read(MANIFEST);
        let lib = "//! [`crate::sqlite`]\npub mod sqlite;\npub use sqlite::Store;";
        assert_eq!(lines(&core_file("src/lib.rs", lib, &manifest)), [3]);
    }

    #[test]
    fn the_core_that_reaches_outside_is_caught() {
        assert_eq!(
            core("use std::{fmt, fs};\nstd::env::var(x);\nstd::thread::sleep(d);"),
            [1, 2, 3]
        );
        assert_eq!(
            core("SystemTime::now()\n;std::time::Instant::now()\n;jiff::Timestamp::now()"),
            [1, 2, 3]
        );
        assert_eq!(core("use std::{net, process};"), [1, 1]);
        assert_eq!(core("use std::time::Duration; #[cfg(test)] mod t { use std::fs; }"), []);
        // Only the item under the attribute is a test.
        assert_eq!(core("#[cfg(test)] mod tests;\nuse std::fs;"), [2]);
    }

    #[test]
    fn an_adapter_that_names_another_is_caught() {
        let all = set(&["csv", "sqlite", "files"]);
        let text = "use crate::csv::read;\nsuper::files::f();\ninclude_str!(\"../csv/a.sql\");\n\
                    include_str!(\"../../adapters/files/x\");\nuse crate::{log, files};";
        assert_eq!(lines(&adapter_file("adapters/sqlite/mod.rs", text, &all)), [1, 2, 5, 3, 4]);
        let fine = "use crate::sqlite::x; use csv::Reader; use super::files::y; use crate::log::z;";
        assert_eq!(adapter_file("adapters/sqlite/error.rs", fine, &all), []);
    }

    #[test]
    fn a_path_attribute_elsewhere_is_caught() {
        let text =
            "// #[path = \"x\"]\n#[path = \"y.rs\"]\nmod y;\n#[cfg_attr(a, path = \"z.rs\")]";
        assert_eq!(lines(&no_path_attribute("src/log.rs", text)), [2, 4]);
    }

    #[test]
    fn an_adapter_line_in_another_shape_is_caught() {
        let good = "#[cfg(feature = \"csv\")]\n#[path = \"../adapters/csv/mod.rs\"]\npub mod csv;";
        let check = |text: &str| lines(&lib_lines(text, &set(&["csv"])));
        assert_eq!(check(good), []);
        assert_eq!(check("/// None."), [1], "the folder has no line");
        assert_eq!(lines(&lib_lines(good, &set(&[]))), [2], "the line has no folder");
        for (from, to) in [
            ("feature = \"csv\"", "feature = \"sqlite\""),
            ("cfg(feature = \"csv\")", "cfg(any(feature = \"csv\"))"),
            ("adapters/csv/mod.rs", "adapters/csv/lib.rs"),
            ("pub mod csv;", "mod csv;"),
            ("pub mod csv;", "pub mod comma;"),
            ("#[cfg(feature = \"csv\")]", ""),
        ] {
            assert!(!check(&good.replace(from, to)).is_empty(), "{to}");
        }
    }

    #[test]
    fn features_and_folders_that_differ_are_caught() {
        let manifest = Manifest::read(MANIFEST);
        let count = |folders: &[&str], pending: &[&str]| {
            features(&manifest, &set(folders), &set(pending)).len()
        };
        assert_eq!(count(&["csv", "sqlite"], &[]), 0);
        assert_eq!(count(&["csv"], &["sqlite"]), 0);
        assert_eq!(count(&["csv"], &[]), 1, "a feature without folder");
        assert_eq!(count(&["csv", "sqlite", "postgres"], &[]), 1, "a folder without feature");
        assert_eq!(count(&["csv", "sqlite"], &["csv"]), 1, "pending, yet there");
        assert_eq!(count(&["csv", "sqlite"], &["mlflow"]), 1, "pending, yet no feature");
        let manifest = Manifest::read(&MANIFEST.replace("\"sqlite\", ", ""));
        assert_eq!(features(&manifest, &set(&["csv", "sqlite"]), &set(&[])).len(), 1, "full");
    }

    #[test]
    fn a_part_of_an_adapter_without_its_file_is_caught() {
        let with = |part: &str| {
            let features = format!("[features]\n{part}\n");
            let text = MANIFEST.replace("[features]\n", &features);
            assert_ne!(text, MANIFEST);
            Manifest::read(&text.replace("full = [", "full = [\"a-part\", "))
        };
        let manifest = with("a-part = [\"sqlite\"]");
        assert_eq!(manifest.adapters, Manifest::read(MANIFEST).adapters);
        assert_eq!(manifest.parts.len(), 1);
        let cfg = "#[cfg(feature = \"a-part\")]\nmod a_part;";
        let check = |manifest: &Manifest, files: &[(&str, &str)]| {
            let files: Vec<_> =
                files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
            lines(&parts(manifest, &files))
        };
        let good = [("adapters/sqlite/a_part.rs", ""), ("adapters/sqlite/mod.rs", cfg)];
        assert_eq!(check(&manifest, &good), []);
        assert_eq!(check(&manifest, &[("adapters/sqlite/a_part/mod.rs", "")]), []);
        assert_eq!(check(&manifest, &good[1..]), [1], "no file");
        assert_eq!(check(&manifest, &[("adapters/csv/a_part.rs", "")]), [1], "in another adapter");
        let elsewhere = [good[0], ("src/lib.rs", cfg)];
        assert_eq!(check(&manifest, &elsewhere), [1], "the core knows it");
        let nested = with("a-part = [\"sqlite\"]\nb-part = [\"a-part\"]");
        let files = [("adapters/sqlite/a_part.rs", ""), ("adapters/a-part/b_part.rs", "")];
        assert_eq!(check(&nested, &files).len(), 2, "a part of a part, and not in full");
        // A part may have crates of its own; whatever turns more on is an adapter itself.
        let own_crates = with("a-part = [\"sqlite\", \"dep:x\", \"dep:y\"]");
        assert_eq!(own_crates.parts, manifest.parts);
        assert!(with("a-part = [\"sqlite\", \"csv\"]").adapters.contains("a-part"));
        assert!(with("a-part = [\"sqlite\", \"x/y\"]").adapters.contains("a-part"));
    }

    #[test]
    fn an_adapter_missing_from_adapters_as_crates_is_caught() {
        let text = "#[path = \"../../../adapters/csv/mod.rs\"]\npub mod csv;\n\
                    // #[path = \"../../../adapters/sqlite/mod.rs\"]";
        assert_eq!(all_as_crates(text, &set(&["csv"])), []);
        assert_eq!(all_as_crates(text, &set(&["csv", "sqlite"])).len(), 1);
    }

    #[test]
    fn dependencies_that_differ_from_the_root_are_caught() {
        let root = Manifest::read(MANIFEST);
        let good = "[features]\n[dependencies]\nserde = { version = \"1\", features = [\"derive\"] }\n\
                    csv = \"1\"\nsqlx = { version = \"0.9\", default-features = false }\n\
                    tower-http = \"0.7\"\ntokio = { version = \"1\", features = [\"macros\"] }";
        let count = |text: &str| same_dependencies(&root, &Manifest::read(text)).len();
        assert_eq!(count(good), 0);
        assert_eq!(count(&good.replace("csv = \"1\"\n", "")), 1);
        assert_eq!(count(&good.replace("0.9", "0.8")), 1);
        assert_eq!(count(&good.replace("\"macros\"", "")), 1);
        assert_eq!(count(&good.replace("tower-http = \"0.7\"", "tower-http = \"0.6\"")), 1);
    }

    #[test]
    fn a_value_within_a_statement_is_caught() {
        let good = r#"fn f() { query("SELECT 1 WHERE a = $1"); format!("{a} where it was"); }
            #[cfg(test)] mod t { fn g() { format!("SELECT {x}"); } }"#;
        let bad = r#"fn f() { format!("SELECT {a:02} FROM t WHERE b = '{}' AND c = {{}}", b) }"#;
        let count = |text: &str, listed: &[&str]| {
            let files = [("a.rs".to_owned(), text.to_owned())];
            sql(&files, &[("a.rs", listed)]).len()
        };
        assert_eq!(count(good, &[]), 0);
        assert_eq!((count(bad, &[]), count(bad, &["a"]), count(bad, &["a", ""])), (2, 1, 0));
        assert_eq!(count(good, &["a"]), 1, "stale");
    }

    #[test]
    fn an_undeclared_target_is_caught() {
        let manifest = Manifest::read(MANIFEST);
        let files = ["tests/layering.rs", "tests/layering/rules.rs"].map(String::from);
        assert_eq!(declared_targets(&manifest, &files), []);
        let files = ["tests/e2e.rs", "examples/full_stack/main.rs"].map(String::from);
        assert_eq!(declared_targets(&manifest, &files).len(), 2);
    }

    #[test]
    fn packages_beyond_the_list_are_caught() {
        let tree =
            "pmmds v0.1.0 (/somewhere)\nserde v1.0.0\nrand v0.8.0\nrand v0.9.0\nrand v0.9.0 (*)";
        let listed = "pmmds\nserde # data\nrand";
        assert_eq!(dependencies(tree, listed), []);
        assert_eq!(dependencies(tree, "pmmds\nserde").len(), 1, "not listed");
        assert_eq!(lines(&dependencies(tree, &format!("{listed}\nlibm"))), [4], "stale");
        for never in ["tokio v1.0.0", "sqlx-core v0.9.0", "axum v0.8.0", "reqwest v0.13.0"] {
            let name = never.split(' ').next().unwrap_or_default();
            let found = dependencies(&format!("{tree}\n{never}"), &format!("{listed}\n{name}"));
            assert_eq!(found.len(), 1, "{never}");
        }
        let many: String = (0..61).map(|i| format!("rand v0.{i}.0\n")).collect();
        assert_eq!(dependencies(&many, "rand").len(), 1, "too many");
    }

    #[test]
    fn a_banned_package_is_caught() {
        let deny = "[bans]\ndeny = [{ crate = \"openssl\", reason = \"x\" }]";
        let lock = |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"");
        assert_eq!(banned(&lock("openssl-probe"), deny), []);
        assert_eq!(banned(&lock("openssl"), deny).len(), 1);
    }

    #[test]
    fn a_library_that_may_read_the_clock_is_caught() {
        assert_eq!(lib_denies_clock("#![deny(clippy::disallowed_methods)]"), []);
        assert_eq!(lib_denies_clock("// #![deny(clippy::disallowed_methods)]").len(), 1);
    }
}
