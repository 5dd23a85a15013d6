//! Every number of the oracles for binning, metrics and tests, made by numpy and scipy.
//!
//! A key that a file has and this does not know fails the test: nothing is skipped unseen. Keys that
//! are not ours are named with the reason.

use serde_json::Value as Json;
use statrs::distribution::{ContinuousCDF, Normal};

use super::order::Order;
use super::significance::{chi_square_bound, provable_psi};
use super::two_sample::{
    Alternative, Method, Sample, anderson_darling, cramer_von_mises, energy_distance,
    kolmogorov_smirnov, laws, mann_whitney, wasserstein_distance, welch,
};
use super::*;
use crate::record::Value;
use crate::tails::chi_square_tail;
use crate::tests::{any_number, close, number, numbers, read};

/// Relative tolerance of a number computed from counts in another order of operations.
const EXACT: f64 = 1e-12;

/// Absolute tolerance where the oracle itself is 0 up to rounding.
const ZERO: f64 = 1e-15;

/// Relative tolerance of a p-value.
const P_VALUE: f64 = 1e-9;

/// What scipy's p-value of Cramér-von Mises can be off by: its series ends at a term of 1e-7.
const SCIPY_CRAMER_VON_MISES: f64 = 3e-8;

pub(super) const NUMERIC: [&str; 14] = [
    "num_01_normal_shift.json",
    "num_02_identical.json",
    "num_03_same_distribution.json",
    "num_04_scale_change.json",
    "num_05_heavy_ties.json",
    "num_06_constant_same.json",
    "num_07_constant_shifted.json",
    "num_08_constant_to_varying.json",
    "num_09_disjoint.json",
    "num_10_tiny.json",
    "num_11_single_value_each.json",
    "num_12_nan_inf.json",
    "num_13_lognormal_tail.json",
    "num_14_bimodal.json",
];

pub(super) const CATEGORICAL: [&str; 8] = [
    "cat_01_same.json",
    "cat_02_shift.json",
    "cat_03_unseen.json",
    "cat_04_vanished.json",
    "cat_05_disjoint.json",
    "cat_06_single.json",
    "cat_07_binary.json",
    "cat_08_nulls.json",
];

#[track_caller]
fn same(got: f64, want: f64, tolerance: f64, what: &str) {
    let zero = want.abs() < ZERO && got.abs() < ZERO;
    assert!(zero || close(got, want, tolerance), "{what}: {got:e}, expected {want:e}");
}

/// The members of an object.
#[track_caller]
fn members<'a>(json: &'a Json, what: &str) -> impl Iterator<Item = (&'a str, &'a Json)> {
    let object = json.as_object().unwrap_or_else(|| panic!("{what} is no object: {json}"));
    object.iter().map(|(key, value)| (key.as_str(), value))
}

fn integers(value: &Json) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect()
}

fn any_numbers(value: &Json) -> Vec<f64> {
    value.as_array().unwrap().iter().map(any_number).collect()
}

/// Counts as slots of a feature; it takes three, and slots empty on both sides change nothing.
struct Slots {
    binning: Binning,
    reference: Vec<u64>,
    current: Vec<u64>,
    // how many the oracle has
    listed: usize,
}

impl Slots {
    fn new(mut reference: Vec<u64>, mut current: Vec<u64>) -> Self {
        let listed = reference.len();
        let slots = listed.max(3);
        reference.resize(slots, 0);
        current.resize(slots, 0);
        let binning = Binning::levels((2..slots).map(|level| level.to_string()));
        Self { binning, reference, current, listed }
    }

    fn pair(&self) -> BinnedPair<'_> {
        BinnedPair::new(&self.binning, &self.reference, &self.current).unwrap()
    }

    fn turned(&self) -> BinnedPair<'_> {
        BinnedPair::new(&self.binning, &self.current, &self.reference).unwrap()
    }
}

/// A metric is the number of the oracle, or does not apply where that is infinite.
#[track_caller]
fn measures(metric: &dyn DriftMetric, pair: BinnedPair<'_>, want: &Json, what: &str) {
    let want = any_number(want);
    match metric.measure(pair) {
        Ok(got) => same(got, want, EXACT, what),
        Err(error) => {
            assert!(want.is_infinite(), "{what}: {error}, expected {want:e}");
            assert!(error.why().contains("infinite"), "{error}");
        }
    }
}

fn check_unsmoothed(slots: &Slots, expected: &Json, what: &str) {
    let (pair, none) = (slots.pair(), Smoothing::None);
    let js = JensenShannon::new(none).measure(pair).unwrap();
    for (key, want) in members(expected, what) {
        let what = format!("{what} {key}");
        match key {
            "psi" => measures(&Psi::new(none), pair, want, &what),
            "kl_ref_cur_nats" | "entropy(ref,cur)" => {
                measures(&KullbackLeibler::new(none), pair, want, &what);
            }
            "kl_cur_ref_nats" | "entropy(cur,ref)" => {
                measures(&KullbackLeibler::new(none), slots.turned(), want, &what);
            }
            "js_divergence_nats" => same(js, number(want), EXACT, &what),
            "js_divergence_bits" => {
                same(js / std::f64::consts::LN_2, number(want), EXACT, &what);
            }
            // The root of a rounding error is none: compared as squares.
            "js_distance_nats" | "jensenshannon(base=e)" => {
                same(js, number(want).powi(2), EXACT, &what);
            }
            "js_distance_bits" | "jensenshannon(base=2)" => {
                same(js / std::f64::consts::LN_2, number(want).powi(2), EXACT, &what);
            }
            "hellinger" => measures(&Hellinger, pair, want, &what),
            "total_variation" => measures(&TotalVariation, pair, want, &what),
            "bhattacharyya_coefficient" => {
                let h = Hellinger.measure(pair).unwrap();
                // For disjoint shares it is 0 up to the rounding of 1.
                assert!((1.0 - h * h - number(want)).abs() < ZERO, "{what}");
            }
            // The largest difference of a single slot: no metric of ours.
            "l_infinity" => {}
            _ => panic!("unknown: {what}"),
        }
    }
}

fn check_smoothed(slots: &Slots, expected: &Json, what: &str) {
    let pair = slots.pair();
    for (key, wants) in members(expected, what) {
        let what = format!("{what} {key}");
        let (rule, constant) = key.split_once('|').unwrap();
        let constant: f64 = constant.split_once('=').unwrap().1.parse().unwrap();
        let smoothing = match rule {
            "clip" => Smoothing::Floor(constant),
            "replace_zero" => {
                // Raises empty slots only. No other share is below the floor here, so it is ours.
                assert!(
                    pair.shares().all(|(r, c)| [r, c].iter().all(|x| *x == 0.0 || *x >= constant))
                );
                Smoothing::Floor(constant)
            }
            "dirichlet" => Smoothing::Additive(constant),
            // Renormalised, or a share and not a count added: no smoothing of ours.
            "clip_renorm" | "add" | "add_renorm" => continue,
            _ => panic!("unknown: {what}"),
        };
        // We leave out slots that are empty on both sides, which moves the share of every slot with
        // a pseudo-count: then the rule is checked, and not the number.
        let by_rule = rule == "dirichlet" && pair.used().count() < slots.listed;
        for (key, want) in members(wants, &what) {
            let what = format!("{what} {key}");
            let kl = KullbackLeibler::new(smoothing);
            let (metric, pair): (&dyn DriftMetric, _) = match key {
                "psi" => (&Psi::new(smoothing), pair),
                "kl_ref_cur_nats" => (&kl, pair),
                "kl_cur_ref_nats" => (&kl, slots.turned()),
                "js_divergence_nats" => (&JensenShannon::new(smoothing), pair),
                // scipy renormalises what it is given; Floor does not.
                "scipy_entropy(ref,cur)" | "scipy_jensenshannon(base=e)" => continue,
                _ => panic!("unknown: {what}"),
            };
            if by_rule {
                let want = dirichlet(key, pair, constant);
                same(metric.measure(pair).unwrap(), want, EXACT, &what);
            } else {
                measures(metric, pair, want, &what);
            }
        }
    }
}

/// What a pseudo-count for every slot in use makes.
fn dirichlet(key: &str, pair: BinnedPair<'_>, alpha: f64) -> f64 {
    let used: Vec<(u64, u64)> = pair.used().collect();
    let float = |x: u64| x as f64;
    let total = |rows: u64| alpha.mul_add(used.len() as f64, float(rows));
    let (n, m) = (total(pair.reference_rows()), total(pair.current_rows()));
    let shares = used.iter().map(|(r, c)| ((float(*r) + alpha) / n, (float(*c) + alpha) / m));
    shares
        .map(|(r, c)| match key {
            "psi" => (r - c) * (r / c).ln(),
            "js_divergence_nats" => {
                let middle = (r + c) / 2.0;
                (r * (r / middle).ln() + c * (c / middle).ln()) / 2.0
            }
            _ => r * (r / c).ln(),
        })
        .sum()
}

fn check_tests(slots: &Slots, expected: &Json, what: &str) {
    let pair = slots.pair();
    let check = |test: Result<TestResult, NotComparable>,
                 statistic: f64,
                 want: &Json,
                 what: &str| {
        for (key, want) in members(want, what) {
            let what = format!("{what} {key}");
            match (key, &test) {
                ("statistic", _) => same(statistic, number(want), EXACT, &what),
                ("p_value", Ok(test)) => same(test.p_value, number(want), P_VALUE, &what),
                ("dof", Ok(test)) => assert_eq!(test.degrees_of_freedom, want.as_f64(), "{what}"),
                // scipy answers 1 where there is nothing to test, and we do not answer.
                ("p_value" | "dof", Err(error)) => {
                    assert_eq!(
                        number(want).to_bits(),
                        f64::from(u8::from(key == "p_value")).to_bits()
                    );
                    assert!(error.why().contains("nothing to test"));
                }
                _ => panic!("unknown: {what}"),
            }
        }
    };
    for (key, want) in members(expected, what) {
        let what = format!("{what} {key}");
        let chi_square =
            || check(ChiSquare.asymptotic(pair), ChiSquare.measure(pair).unwrap(), want, &what);
        match key {
            "chi2_contingency:pearson_no_correction" => chi_square(),
            // Yates' correction is not ours; scipy makes it with one degree of freedom only.
            "chi2_contingency:pearson_default_yates_if_dof1" => {
                if want["dof"] != 1 {
                    chi_square();
                }
            }
            "chi2_contingency:g_test_no_correction" => {
                check(GTest.asymptotic(pair), GTest.measure(pair).unwrap(), want, &what);
            }
            "cramers_v_uncorrected" => measures(&CramersV, pair, want, &what),
            // Fisher's exact test is for tables of two slots; our small tables are simulated.
            "fisher_exact_two_sided_p" => {}
            _ => panic!("unknown: {what}"),
        }
    }
}

fn check_null(slots: &Slots, expected: &Json, what: &str) {
    let pair = slots.pair();
    let used = pair.used().count();
    let (n, m) = (pair.reference_rows(), pair.current_rows());
    for (key, want) in members(expected, what) {
        let what = format!("{what} {key}");
        match key {
            "n_nonempty_bins" => assert_eq!(Some(used as u64), want.as_u64(), "{what}"),
            "expected_psi_two_sample" => {
                same(chance_psi(used as u64, n, m), number(want), EXACT, &what);
            }
            "critical_two_sample_alpha_0.05" => {
                same(provable_psi(pair, 0.05).unwrap(), number(want), P_VALUE, &what);
            }
            "critical_two_sample_alpha_0.01" => {
                same(provable_psi(pair, 0.01).unwrap(), number(want), P_VALUE, &what);
            }
            "p_value_two_sample_of_clip_1e-4" => {
                let psi = Psi::new(Smoothing::Floor(1e-4)).measure(pair).unwrap();
                let tail = chi_square_tail(psi / chance_psi(2, n, m), used as f64 - 1.0);
                same(tail, number(want), P_VALUE, &what);
            }
            // Not ours: the spread beside the mean, and a reference that is taken for the truth.
            "sd_psi_two_sample" | "critical_one_sample_fixed_base_alpha_0.05" => {}
            _ => panic!("unknown: {what}"),
        }
    }
}

/// Everything that is made of counts.
fn check_counts(reference: Vec<u64>, current: Vec<u64>, binned: &Json, what: &str) {
    let slots = Slots::new(reference, current);
    for (key, expected) in members(binned, what) {
        let what = format!("{what} {key}");
        match key {
            "n_bins" => assert_eq!(Some(slots.listed as u64), expected.as_u64(), "{what}"),
            "counts_ref" => {
                assert_eq!(integers(expected), slots.reference[..slots.listed], "{what}")
            }
            "counts_cur" => assert_eq!(integers(expected), slots.current[..slots.listed], "{what}"),
            "unsmoothed" | "scipy_unsmoothed" => check_unsmoothed(&slots, expected, &what),
            "smoothed" => check_smoothed(&slots, expected, &what),
            "tests_on_counts" => check_tests(&slots, expected, &what),
            "psi_null_reference" => check_null(&slots, expected, &what),
            // Words and names.
            "population" | "bins" => {}
            _ => panic!("unknown: {what}"),
        }
    }
}

/// Counts of `values` in the bins between `edges`, of which some may be equal: such a bin stays
/// empty. NaN goes to a slot of its own, if there is one.
fn counted(values: &[f64], edges: &[f64], closed: Closed, missing: bool) -> Vec<u64> {
    let mut distinct = edges.to_vec();
    distinct.dedup_by(|b, a| b <= a);
    let binning = Binning::Numeric(NumericBinning::closed(distinct, closed).unwrap());
    let mut counts = vec![0; binning.slots()];
    for x in values.iter().filter(|x| missing || x.is_finite()) {
        let value = if x.is_nan() { Value::Missing } else { Value::Number(*x) };
        counts[usize::from(binning.code(value))] += 1;
    }
    if !missing {
        counts.pop();
    }
    for at in 1..edges.len() {
        if edges[at] <= edges[at - 1] {
            counts.insert(at, 0);
        }
    }
    counts
}

fn check_numeric(file: &str) {
    let oracle = read(file);
    let (reference, current) = (any_numbers(&oracle["ref"]), any_numbers(&oracle["cur"]));
    let sides = || [("ref", &reference), ("cur", &current)];
    for (key, _) in members(&oracle, file) {
        let known = ["case", "description", "kind", "conventions", "ref", "cur", "expected"];
        assert!(known.contains(&key), "unknown: {file} {key}");
    }
    for (key, expected) in members(&oracle["expected"], file) {
        let what = format!("{file} {key}");
        match key {
            "inner_edges" => check_edges(&reference, expected, &what),
            "binned" => {
                for (kind, binned) in members(expected, &what) {
                    let what = format!("{what} {kind}");
                    let mut parts = kind.split('|');
                    let edges =
                        any_numbers(&oracle["expected"]["inner_edges"][parts.next().unwrap()]);
                    let closed = match parts.next() {
                        Some("right_closed") => Closed::Right,
                        Some("left_closed") => Closed::Left,
                        _ => panic!("unknown: {what}"),
                    };
                    let missing = match parts.next() {
                        None => false,
                        Some("missing_bin") => true,
                        Some(_) => panic!("unknown: {what}"),
                    };
                    let [r, c] = sides().map(|(_, side)| counted(side, &edges, closed, missing));
                    check_counts(r, c, binned, &what);
                }
            }
            "raw_two_sample_finite_only" => {
                let [r, c] = sides().map(|(_, side)| Sample::finite(side).unwrap());
                check_raw(&r, &c, expected, &what);
            }
            "summary_finite" => {
                for (side, values) in sides() {
                    check_summary(values, &expected[side], &format!("{what} {side}"));
                }
                assert_eq!(members(expected, &what).count(), 2, "unknown: {what}");
            }
            _ => {
                let (_, values) =
                    sides().into_iter().find(|(side, _)| key[2..].starts_with(side)).unwrap();
                let of =
                    |keep: fn(&f64) -> bool| values.iter().copied().filter(keep).count() as u64;
                let (all, finite) = (Sample::new(values).unwrap(), Sample::finite(values).unwrap());
                let got = match &key[5..] {
                    "" => values.len() as u64,
                    "_finite" => finite.len() as u64,
                    "_nan" => all.missing() as u64,
                    "_posinf" => all.infinite() as u64 - of(|x| *x == f64::NEG_INFINITY),
                    "_neginf" => all.infinite() as u64 - of(|x| *x == f64::INFINITY),
                    _ => panic!("unknown: {what}"),
                };
                assert_eq!(Some(got), expected.as_u64(), "{what}");
            }
        }
    }
}

fn check_edges(reference: &[f64], expected: &Json, what: &str) {
    for (key, wants) in members(expected, what) {
        let what = format!("{what} {key}");
        let fit = |strategy| NumericBinning::fit(reference, &strategy, false).unwrap();
        let mut wants = numbers(wants);
        let binning = match key {
            // The same with duplicates, which we remove.
            "quantile10_raw" => {
                wants.dedup_by(|b, a| b <= a);
                fit(BinningStrategy::Quantile { bins: 10, atoms: false })
            }
            "quantile10_dedup" => fit(BinningStrategy::Quantile { bins: 10, atoms: false }),
            "uniform10" if wants[0] < wants[8] => fit(BinningStrategy::Uniform { bins: 10 }),
            // A constant reference: equal edges, where we widen the range as numpy.histogram does.
            "uniform10" => continue,
            _ => panic!("unknown: {what}"),
        };
        assert_eq!(binning.edges().len(), wants.len(), "{what}");
        for (got, want) in binning.edges().iter().zip(&wants) {
            same(*got, *want, EXACT, &what);
        }
    }
}

fn summary_of(values: &[f64]) -> ReferenceSummary {
    let ranks = |count| ReferenceSummary::ranks(count).collect();
    ReferenceSummary::of(&Order::of(values, ranks))
}

fn check_summary(values: &[f64], expected: &Json, what: &str) {
    let summary = summary_of(values);
    for (key, want) in members(expected, what) {
        let (what, want) = (format!("{what} {key}"), any_number(want));
        let quantile = |at: usize| summary.quantiles.map(|quantiles| quantiles[at]);
        let got = match key {
            "mean" => summary.moments.mean(),
            "var_ddof1" => summary.moments.std().map(|std| std * std),
            "min" => summary.min,
            "max" => summary.max,
            "median_linear" => quantile(2),
            "q05_linear" => quantile(0),
            "q95_linear" => quantile(4),
            _ => panic!("unknown: {what}"),
        };
        match got {
            Some(got) => same(got, want, EXACT, &what),
            None => assert!(want.is_nan(), "{what}: nothing, expected {want:e}"),
        }
    }
}

/// Everything that is made of two samples of finite numbers.
fn check_raw(reference: &Sample, current: &Sample, expected: &Json, what: &str) {
    let std = {
        let summary = summary_of(reference.values());
        move |degrees: f64| {
            let n = reference.len() as f64;
            summary.moments.std().map_or(0.0, |std| std * ((n - 1.0) / (n - degrees)).sqrt())
        }
    };
    for (key, want) in members(expected, what) {
        let what = format!("{what} {key}");
        let parts: Vec<&str> = key.split('|').collect();
        match parts[..] {
            ["ks_2samp", side, method] => {
                check_smirnov(reference, current, side, method, want, &what)
            }
            ["wasserstein_distance"] => {
                same(wasserstein_distance(reference, current).unwrap(), number(want), EXACT, &what);
            }
            ["ref_std_ddof0"] => same(std(0.0), number(want), EXACT, &what),
            ["ref_std_ddof1"] => match want.as_f64() {
                Some(want) => same(std(1.0), want, EXACT, &what),
                None => assert_eq!(reference.len(), 1, "{what}"),
            },
            ["wasserstein_over_ref_std_ddof0"] => {
                let got = wasserstein_distance(reference, current).unwrap() / std(0.0);
                same(got, number(want), EXACT, &what);
            }
            ["energy_distance"] => {
                same(energy_distance(reference, current).unwrap(), number(want), EXACT, &what);
            }
            ["cramervonmises_2samp", method] => {
                check_cramer(reference, current, method, want, &what)
            }
            ["anderson_ksamp", "midrank=True"] => {
                let test = anderson_darling(reference, current);
                for (key, want) in members(want, &what) {
                    match (key, &test) {
                        ("statistic", Ok(test)) => same(test.statistic, number(want), EXACT, &what),
                        ("p_value_floored_0.001_capped_0.25", Ok(test)) => {
                            same(test.p_value, number(want), P_VALUE, &what);
                        }
                        // All equal, or two values: an error there too.
                        ("error", Err(_)) => {}
                        _ => panic!("unknown: {what} {key}, {test:?}"),
                    }
                }
            }
            // Another statistic for values with ties; ours is the one with mean ranks.
            ["anderson_ksamp", "midrank=False"] => {}
            ["mannwhitneyu", "two-sided", method, correction] => {
                check_mann_whitney(reference, current, method, correction, want, &what);
            }
            ["ttest_welch"] => {
                let test = welch(reference, current, Alternative::TwoSided);
                let (t, p) = (any_number(&want["t_ref_minus_cur"]), any_number(&want["p_value"]));
                assert_eq!(members(want, &what).count(), 2, "unknown: {what}");
                match test {
                    Ok(test) => {
                        same(-test.statistic, t, EXACT, &what);
                        same(test.p_value, p, P_VALUE, &what);
                    }
                    // Neither side varies, or a single value: scipy has NaN, or an infinite t.
                    Err(_) => assert!(!t.is_finite(), "{what}: nothing, expected {t}"),
                }
            }
            // Not ours: a test of the characteristic functions.
            ["epps_singleton_2samp"] => {}
            _ => panic!("unknown: {what}"),
        }
    }
}

fn check_smirnov(r: &Sample, c: &Sample, side: &str, method: &str, want: &Json, what: &str) {
    let alternative = match side {
        "two-sided" => Alternative::TwoSided,
        // Less and greater speak of the distribution functions there: the reference's is greater
        // where the window's values are higher.
        "greater" => Alternative::Higher,
        "less" => Alternative::Lower,
        _ => panic!("unknown: {what}"),
    };
    let method = match method {
        "exact" => Method::Exact,
        "asymp" => Method::Asymptotic,
        "auto" => Method::Auto,
        _ => panic!("unknown: {what}"),
    };
    let test = kolmogorov_smirnov(r, c, alternative, method);
    assert_eq!(members(want, what).count(), 2, "unknown: {what}");
    same(test.statistic, number(&want["statistic"]), EXACT, what);
    let p_value = any_number(&want["p_value"]);
    if p_value.is_nan() {
        // One value each has no limit law; ours is the exact one then.
        assert_eq!((test.method, test.p_value, r.len()), (TestMethod::Exact, 1.0, 1), "{what}");
    } else {
        same(test.p_value, p_value, P_VALUE, what);
        let exact = test.method == TestMethod::Exact;
        assert_eq!(exact, method != Method::Asymptotic, "{what}");
    }
}

fn check_cramer(r: &Sample, c: &Sample, method: &str, want: &Json, what: &str) {
    let method = match method {
        "auto" => Method::Auto,
        "asymptotic" => Method::Asymptotic,
        _ => panic!("unknown: {what}"),
    };
    let (statistic, p) = (any_number(&want["statistic"]), any_number(&want["p_value"]));
    assert_eq!(members(want, what).count(), 2, "unknown: {what}");
    match cramer_von_mises(r, c, method) {
        Ok(test) => {
            same(test.statistic, statistic, EXACT, what);
            if test.method == TestMethod::Exact {
                same(test.p_value, p, P_VALUE, what);
            } else {
                let off = (test.p_value - p).abs();
                assert!(off < SCIPY_CRAMER_VON_MISES, "{what}: {:e}, expected {p:e}", test.p_value);
            }
        }
        // Fewer than two values a side: NaN there.
        Err(_) => assert!(statistic.is_nan() && p.is_nan(), "{what}"),
    }
}

fn check_mann_whitney(
    r: &Sample,
    c: &Sample,
    method: &str,
    correction: &str,
    want: &Json,
    what: &str,
) {
    let asked = match method {
        "exact" => Method::Exact,
        "asymptotic" => Method::Asymptotic,
        _ => panic!("unknown: {what}"),
    };
    let test = mann_whitney(r, c, Alternative::TwoSided, asked);
    assert_eq!(test.method == TestMethod::Exact, asked == Method::Exact, "{what}");
    assert_eq!(members(want, what).count(), 2, "unknown: {what}");
    // Ours are the pairs of the window.
    let pairs = r.len() as f64 * c.len() as f64;
    same(pairs - test.statistic, number(&want["U_of_ref"]), EXACT, what);
    let p_value = any_number(&want["p_value"]);
    let got = match correction {
        "continuity=True" => test.p_value,
        // The law is ours, the test always corrects.
        "continuity=False" => laws::MannWhitney::of(r, c).normal(Alternative::TwoSided, 0.0),
        _ => panic!("unknown: {what}"),
    };
    if p_value.is_nan() {
        // All values equal: nothing over nothing there, and no evidence here.
        assert!(got >= 1.0, "{what}");
    } else {
        same(got, p_value, P_VALUE, what);
    }
}

fn check_categorical(file: &str) {
    let oracle = read(file);
    let side = |key: &str| -> Vec<Option<&str>> {
        oracle[key].as_array().unwrap().iter().map(Json::as_str).collect()
    };
    let (reference, current) = (side("ref"), side("cur"));
    for (key, _) in members(&oracle, file) {
        let known = ["case", "description", "kind", "conventions", "ref", "cur", "expected"];
        assert!(known.contains(&key), "unknown: {file} {key}");
    }
    let distinct = |values: &mut dyn Iterator<Item = &Option<&str>>| -> Vec<String> {
        let mut levels: Vec<String> = values.flatten().map(|level| (*level).to_owned()).collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    };
    let (mut known, mut seen) = (distinct(&mut reference.iter()), distinct(&mut current.iter()));
    let both = distinct(&mut reference.iter().chain(&current));
    for (key, expected) in members(&oracle["expected"], file) {
        let what = format!("{file} {key}");
        let count = |values: &[Option<&str>], null: bool| {
            values.iter().filter(|value| !null || value.is_none()).count() as u64
        };
        match key {
            "n_ref" => assert_eq!(Some(count(&reference, false)), expected.as_u64(), "{what}"),
            "n_cur" => assert_eq!(Some(count(&current, false)), expected.as_u64(), "{what}"),
            "n_ref_null" => assert_eq!(Some(count(&reference, true)), expected.as_u64(), "{what}"),
            "n_cur_null" => assert_eq!(Some(count(&current, true)), expected.as_u64(), "{what}"),
            "unseen_in_ref" | "vanished_in_cur" => {
                let (of, without) =
                    if key == "unseen_in_ref" { (&mut seen, &known) } else { (&mut known, &seen) };
                let rest: Vec<&String> =
                    of.iter().filter(|level| !without.contains(level)).collect();
                assert_eq!(serde_json::json!(rest), *expected, "{what}");
            }
            "binned" => {
                for (kind, binned) in members(expected, &what) {
                    let what = format!("{what} {kind}");
                    let (levels, other, missing) = match kind {
                        "union" => (&both, false, false),
                        "ref_cats_plus_other" => (&known, true, false),
                        "ref_cats_plus_other_plus_null" => (&known, true, true),
                        _ => panic!("unknown: {what}"),
                    };
                    let counted = |values: &[Option<&str>]| {
                        let binning = Binning::levels(levels.iter().cloned());
                        let mut counts = vec![0; binning.slots()];
                        for value in values {
                            let level = |text: &str| levels.iter().position(|level| level == text);
                            let value = match value.map(level) {
                                None => Value::Missing,
                                Some(at) => {
                                    Value::Level(at.map_or(crate::schema::LevelId::OTHER, |at| {
                                        crate::schema::LevelId::new(at).unwrap()
                                    }))
                                }
                            };
                            counts[usize::from(binning.code(value))] += 1;
                        }
                        // The two last slots are other and missing.
                        if !missing {
                            counts.pop();
                        }
                        if !other {
                            assert_eq!(counts.pop(), Some(0), "{what}");
                        }
                        counts
                    };
                    check_counts(counted(&reference), counted(&current), binned, &what);
                }
            }
            _ => panic!("unknown: {what}"),
        }
    }
}

#[test]
fn numeric_oracles() {
    NUMERIC.iter().for_each(|file| check_numeric(file));
}

#[test]
fn categorical_oracles() {
    CATEGORICAL.iter().for_each(|file| check_categorical(file));
}

#[test]
fn multiple_testing_oracle() {
    let oracle = read("multiple_testing.json");
    let cases = oracle["cases"].as_array().unwrap();
    assert_eq!((oracle.as_object().unwrap().len(), cases.len()), (2, 3));
    for case in cases {
        let p_values = numbers(&case["p"]);
        for (key, expected) in members(case, "multiple_testing") {
            let correction = match key {
                "p" => continue,
                "bonferroni" => Correction::Bonferroni,
                "holm" => Correction::Holm,
                "bh" => Correction::BenjaminiHochberg,
                "by" => Correction::BenjaminiYekutieli,
                "sidak" => Correction::Sidak,
                "fisher_combined" => {
                    // The logarithm of 0 is that of 1e-300 there.
                    let above_0: Vec<f64> = p_values.iter().map(|p| p.max(1e-300)).collect();
                    let test = fisher_combined(&above_0).unwrap();
                    same(test.statistic, number(&expected["statistic"]), EXACT, key);
                    same(test.p_value, number(&expected["p_value"]), P_VALUE, key);
                    continue;
                }
                _ => panic!("unknown: {key}"),
            };
            let (adjusted, wants) = (correction.adjust(&p_values), numbers(expected));
            assert_eq!(adjusted.len(), wants.len());
            for (got, want) in adjusted.iter().zip(wants) {
                same(*got, want, EXACT, key);
            }
        }
    }
}

#[test]
fn special_functions_oracle() {
    let oracle = read("special_functions.json");
    for (key, rows) in members(&oracle, "special_functions") {
        if key == "conventions" {
            continue;
        }
        for json in rows.as_array().unwrap() {
            let row = numbers(json);
            let what = format!("{key} {row:?}");
            let (x, want) = (row[0], row[row.len() - 1]);
            let got = match key {
                "chi2_sf" => chi_square_tail(x, row[1]),
                "chi2_ppf" => chi_square_bound(1.0 - x, row[1]).unwrap(),
                "norm_sf" => laws::normal(x),
                "norm_ppf" => Normal::standard().inverse_cdf(x),
                // The limit is ours as the first term of the law for n values, from the lower tail.
                "kolmogorov_sf" => {
                    let tail = 1.0 - laws::pelz_good(f64::MAX, x);
                    assert!((tail - want).abs() < ZERO, "{what}: {tail:e}");
                    continue;
                }
                "kstwo_sf" => laws::kolmogorov(json[1].as_u64().unwrap(), x),
                "betainc_t_sf" => laws::student(x, row[1]),
                _ => panic!("unknown: {what}"),
            };
            same(got, want, P_VALUE, &what);
        }
    }
}
