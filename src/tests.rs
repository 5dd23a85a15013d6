//! Reference values for the tests, kept beside the repository: numpy, scipy and scikit-learn made
//! them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Every oracle, and the file of the tests that compare with it.
const ORACLES: [(&str, &[&str]); 3] = [
    (
        "src/drift/oracles.rs",
        &[
            "num_01_normal_shift",
            "num_02_identical",
            "num_03_same_distribution",
            "num_04_scale_change",
            "num_05_heavy_ties",
            "num_06_constant_same",
            "num_07_constant_shifted",
            "num_08_constant_to_varying",
            "num_09_disjoint",
            "num_10_tiny",
            "num_11_single_value_each",
            "num_12_nan_inf",
            "num_13_lognormal_tail",
            "num_14_bimodal",
            "cat_01_same",
            "cat_02_shift",
            "cat_03_unseen",
            "cat_04_vanished",
            "cat_05_disjoint",
            "cat_06_single",
            "cat_07_binary",
            "cat_08_nulls",
            "multiple_testing",
            "special_functions",
        ],
    ),
    ("src/drift/tests.rs", &["original_parity", "pooled_prior"]),
    (
        "src/promote/oracles.rs",
        &[
            "clf_1_typical",
            "clf_2_heavy_ties",
            "clf_3_weighted",
            "clf_4_perfect",
            "clf_5_inverted_extreme",
            "multiclass_1",
            "paired_tests",
            "reg_1",
        ],
    ),
];

#[test]
fn no_oracle_is_left_out() {
    let there = names(&[""]);
    let there = there.iter().filter_map(|name| name.strip_suffix(".json")).collect::<Vec<_>>();
    let mut known: Vec<&str> = ORACLES.iter().flat_map(|(_, names)| *names).copied().collect();
    known.sort_unstable();
    assert_eq!(there, known, "each file has its test, and each test its file");
    for (source, oracles) in ORACLES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let text = std::fs::read_to_string(path).unwrap();
        for oracle in oracles {
            assert!(text.contains(oracle), "no test in {source} reads {oracle}.json");
        }
    }
}

/// The oracle called `name`. Looks into `$PMMDS_ORACLES`, else into `../shared/oracles` beside the
/// repository.
///
/// # Panics
///
/// When it cannot be read: a test without its reference values must not pass.
pub(crate) fn read(name: &str) -> Value {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "no reference values in {}: {error}; set PMMDS_ORACLES to the folder that holds {name}",
            path.display()
        )
    });
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/oracles");
    std::env::var_os("PMMDS_ORACLES").map_or_else(beside, PathBuf::from)
}

/// The names of the oracles that begin with one of `prefixes`, sorted.
///
/// # Panics
///
/// When the folder cannot be read.
pub(crate) fn names(prefixes: &[&str]) -> Vec<String> {
    let folder = folder();
    let files = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no reference values in {}: {error}", folder.display()));
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect();
    names.sort_unstable();
    names
}

/// The number `value`.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The number `value`, which may be one of the strings "NaN", "Infinity" and "-Infinity".
pub(crate) fn any_number(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => number(value),
    }
}

/// The list of numbers `value`.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(number).collect()
}

/// Whether `got` is `want`, up to the `relative` tolerance.
pub(crate) fn close(got: f64, want: f64, relative: f64) -> bool {
    (got - want).abs() <= relative * want.abs()
}
