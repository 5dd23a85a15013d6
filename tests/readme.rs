//! The README says what is so: its code is compiled, its lists are those of the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The part of the README under a heading.
fn section(heading: &str) -> String {
    let readme = read("README.md");
    let start = readme.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let rest = &readme[start + 1..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// What stands in backquotes in the first cell of the table rows.
fn first_cells(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[test]
fn the_first_report_takes_five_lines_and_they_are_a_doc_test() {
    let section = section("A first drift report");
    let block = section.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines: Vec<&str> = block.expect("a block of Rust").lines().collect();
    assert!(lines.len() <= 5, "{lines:?}");
    let commented: String = lines.iter().map(|line| format!("/// {line}\n")).collect();
    assert!(read("src/lib.rs").contains(&commented), "not in src/lib.rs:\n{commented}");
}

#[test]
fn the_features_are_those_of_the_manifest() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let features = manifest["features"].as_table().unwrap().keys();
    let features: BTreeSet<String> = features.filter(|name| *name != "default").cloned().collect();
    assert_eq!(first_cells(&section("Features")), features);
}

#[test]
fn the_variables_are_those_that_act() {
    assert_eq!(first_cells(&section("Configuration")), read_by_the_program());
}

/// The variables that the program reads.
fn read_by_the_program() -> BTreeSet<String> {
    let settings = read("examples/full_stack/settings.rs");
    let variables = settings.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next());
    variables.map(str::to_owned).collect()
}

#[test]
fn each_variable_is_tried_by_a_test_of_the_program() {
    let tests: String = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/story"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for variable in read_by_the_program() {
        assert!(tests.contains(&format!("\"{variable}\"")), "{variable} is set by no test");
    }
}

/// Nobody here runs an engine: what its files name has to be there.
#[test]
fn the_containers_are_set_by_variables_that_act_and_asked_at_routes_that_are() {
    let (compose, image) = (read("docker-compose.yml"), read("Dockerfile"));
    let read_there = read_by_the_program();
    let named = compose.lines().chain(image.lines().filter_map(|line| line.strip_prefix("ENV ")));
    let named: Vec<&str> = named
        .map(str::trim_start)
        .filter(|line| line.starts_with("PMMDS_"))
        .filter_map(|line| line.split([':', '=']).next())
        .collect();
    assert!(named.len() >= 4, "{named:?}");
    for variable in named {
        assert!(read_there.contains(variable), "{variable} is not read: {read_there:?}");
    }
    // What builds as a package builds in the image.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let let_through = read(".dockerignore");
    for file in manifest["package"]["include"].as_array().unwrap() {
        let name = file.as_str().unwrap().trim_start_matches('/').trim_end_matches("/**");
        assert!(let_through.contains(&format!("\n!{name}\n")), "{name} is kept out of the image");
    }
    let asked = image.split("PMMDS_API_PORT:-8000}").nth(1).and_then(|rest| rest.split('"').next());
    let route = format!(".route(\"{}\"", asked.expect("a health check"));
    assert!(read("adapters/axum/routes.rs").contains(&route), "{route}");
}

#[test]
fn the_routes_are_those_of_the_service() {
    let routes = read("adapters/axum/routes.rs");
    let served: BTreeSet<&str> =
        routes.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let documented: BTreeSet<String> = first_cells(&section("The service"))
        .iter()
        .map(|cell| cell.rsplit(' ').next().unwrap_or_default().to_owned())
        .collect();
    // The files of the page at /docs are no routes to call.
    let served: BTreeSet<String> =
        served.into_iter().filter(|r| !r.starts_with("/docs/")).map(str::to_owned).collect();
    assert_eq!(documented, served);
}

#[test]
fn the_commands_are_targets_of_make() {
    let makefile = read("Makefile");
    for command in first_cells(&section("The commands")) {
        let target = command.split_whitespace().nth(1).expect("make and a target");
        assert!(makefile.contains(&format!("\n{target}: ##")), "make has no {target}");
    }
}
