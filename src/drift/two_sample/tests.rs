//! Slow twins of the statistics, and laws.

use proptest::collection::vec;
use proptest::prelude::*;

use super::smirnov::twins::orders;
use super::*;
use crate::drift::{TestMethod, TestResult};

/// Tolerance of a sum in another order.
const EXACT: f64 = 1e-12;

/// Few different values, so that many are equal.
fn tied() -> impl Strategy<Value = Vec<f64>> {
    vec((-4_i32..5).prop_map(|x| f64::from(x) / 2.0), 2..12)
}

/// Two samples without equal values.
fn untied() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (2_usize..12, 2_usize..12).prop_flat_map(|(n, m)| {
        let all: Vec<f64> = (0..n + m).map(|x| (x as f64 - 9.0).powi(3)).collect();
        Just(all).prop_shuffle().prop_map(move |all| (all[..n].to_vec(), all[n..].to_vec()))
    })
}

fn sample(values: &[f64]) -> Sample {
    Sample::new(values).unwrap()
}

/// Share of `values` up to `x`.
fn share(values: &[f64], x: f64) -> f64 {
    values.iter().filter(|value| **value <= x).count() as f64 / values.len() as f64
}

fn pooled(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().chain(b).copied().collect()
}

fn mean_over_pairs(a: &[f64], b: &[f64], of: impl Fn(f64, f64) -> f64) -> f64 {
    let sum: f64 = a.iter().map(|x| b.iter().map(|y| of(*x, *y)).sum::<f64>()).sum();
    sum / (a.len() * b.len()) as f64
}

/// Every test that gives a result, by name.
fn all_tests(a: &Sample, b: &Sample) -> Vec<(&'static str, TestResult)> {
    let mut all = Vec::new();
    for alternative in [Alternative::TwoSided, Alternative::Higher, Alternative::Lower] {
        for method in [Method::Auto, Method::Exact, Method::Asymptotic] {
            all.push(("smirnov", kolmogorov_smirnov(a, b, alternative, method)));
            all.push(("mann-whitney", mann_whitney(a, b, alternative, method)));
            all.extend(cramer_von_mises(a, b, method).map(|test| ("cramer-von mises", test)));
        }
        all.extend(welch(a, b, alternative).map(|test| ("welch", test)));
    }
    all.extend(anderson_darling(a, b).map(|test| ("anderson-darling", test)));
    all
}

proptest! {
    #[test]
    fn statistics_are_those_of_their_slow_twins(a in tied(), b in tied()) {
        let (x, y) = (sample(&a), sample(&b));
        let both = pooled(&a, &b);
        let gap = |sign: f64| both.iter().map(|at| sign * (share(&a, *at) - share(&b, *at))).fold(0.0, f64::max);
        for (alternative, want) in [
            (Alternative::TwoSided, gap(1.0).max(gap(-1.0))),
            (Alternative::Higher, gap(1.0)),
            (Alternative::Lower, gap(-1.0)),
        ] {
            let got = kolmogorov_smirnov(&x, &y, alternative, Method::Auto).statistic;
            prop_assert!((got - want).abs() < EXACT, "{alternative:?} {got} {want}");
        }

        // Each value as often as makes both sides as long.
        let spread = |values: &Sample, times: usize| -> Vec<f64> {
            values.values().iter().flat_map(|value| std::iter::repeat_n(*value, times)).collect()
        };
        let (wide_a, wide_b) = (spread(&x, b.len()), spread(&y, a.len()));
        let moved: f64 = wide_a.iter().zip(&wide_b).map(|(a, b)| (a - b).abs()).sum();
        let want = moved / wide_a.len() as f64;
        prop_assert!((wasserstein_distance(&x, &y).unwrap() - want).abs() < EXACT);

        let apart = |a: &[f64], b: &[f64]| mean_over_pairs(a, b, |x, y| (x - y).abs());
        let want = 2.0 * apart(&a, &b) - apart(&a, &a) - apart(&b, &b);
        let got = energy_distance(&x, &y).unwrap();
        prop_assert!((got * got - want).abs() < EXACT);

        let pairs = (a.len() * b.len()) as f64;
        let higher = |x: f64, y: f64| if y > x { 1.0 } else if y < x { 0.0 } else { 0.5 };
        let want = mean_over_pairs(&a, &b, higher) * pairs;
        let got = mann_whitney(&x, &y, Alternative::TwoSided, Method::Auto).statistic;
        prop_assert!((got - want).abs() < 1e-9);

        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let error = |values: &[f64]| {
            let mean = mean(values);
            let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
            squares / (values.len() - 1) as f64 / values.len() as f64
        };
        if let Ok(test) = welch(&x, &y, Alternative::TwoSided) {
            let want = (mean(&b) - mean(&a)) / (error(&a) + error(&b)).sqrt();
            prop_assert!((test.statistic - want).abs() < 1e-9);
        } else {
            prop_assert!(error(&a) + error(&b) <= 0.0);
        }
    }

    #[test]
    fn squared_differences_are_those_of_their_slow_twins((a, b) in untied()) {
        let (x, y) = (sample(&a), sample(&b));
        let (n, m, both) = (a.len() as f64, b.len() as f64, pooled(&a, &b));
        let all = n + m;
        let gaps: f64 = both.iter().map(|at| (share(&a, *at) - share(&b, *at)).powi(2)).sum();
        let want = n * m / (all * all) * gaps;
        let got = cramer_von_mises(&x, &y, Method::Auto).unwrap().statistic;
        prop_assert!((got - want).abs() < EXACT, "{got} {want}");

        // With half of each value below it, and the variance by its double sum.
        let side = |values: &[f64], rows: f64| -> f64 {
            both.iter().map(|at| {
                let below = |values: &[f64]| values.iter().map(|x| {
                    if x < at { 1.0 } else if x > at { 0.0 } else { 0.5 }
                }).sum::<f64>();
                let (here, whole) = (below(values), below(&both));
                (all * here - rows * whole).powi(2) / (whole * (all - whole) - all / 4.0)
            }).sum::<f64>() / rows
        };
        let squared = (all - 1.0) / (all * all) * (side(&a, n) + side(&b, m));
        let whole = a.len() + b.len();
        let h: f64 = (1..whole).map(|i| 1.0 / i as f64).sum();
        let g: f64 = (1..whole - 1).map(|i| {
            (i + 1..whole).map(|j| 1.0 / ((whole - i) * j) as f64).sum::<f64>()
        }).sum();
        let (k, inverse) = (2.0, 1.0 / n + 1.0 / m);
        let c3 = (4.0 * g - 6.0) * (k - 1.0) + (10.0 - 6.0 * g) * inverse;
        let c2 = (2.0 * g - 4.0) * k * k + 8.0 * h * k + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h + 4.0 * g - 6.0;
        let c1 = (6.0 * h + 2.0 * g - 2.0) * k * k + (4.0 * h - 4.0 * g + 6.0) * k + (2.0 * h - 6.0) * inverse + 4.0 * h;
        let c0 = (2.0 * h + 6.0) * k * k - 4.0 * h * k;
        let variance = (c3 * all.powi(3) + c2 * all.powi(2) + c1 * all + c0)
            / ((all - 1.0) * (all - 2.0) * (all - 3.0));
        let want = (squared - 1.0) / variance.sqrt();
        let got = anderson_darling(&x, &y).unwrap().statistic;
        prop_assert!((got - want).abs() < 1e-9, "{got} {want}");
    }

    #[test]
    fn the_order_of_values_does_not_matter(a in tied(), turn in 0_usize..25) {
        let mut turned = a.clone();
        turned.rotate_left(turn % a.len());
        prop_assert_eq!(sample(&a), sample(&turned));
    }

    #[test]
    fn sides_can_be_exchanged(a in tied(), b in tied()) {
        let (x, y) = (sample(&a), sample(&b));
        for (of, back) in [(&x, &y), (&y, &x)] {
            let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
            prop_assert!(close(wasserstein_distance(of, back).unwrap(), wasserstein_distance(back, of).unwrap()));
            prop_assert!(close(energy_distance(of, back).unwrap(), energy_distance(back, of).unwrap()));
            for method in [Method::Exact, Method::Asymptotic] {
                for test in [kolmogorov_smirnov, mann_whitney] {
                    let two = |a, b| test(a, b, Alternative::TwoSided, method).p_value;
                    prop_assert!(close(two(of, back), two(back, of)));
                    let higher = test(of, back, Alternative::Higher, method);
                    let lower = test(back, of, Alternative::Lower, method);
                    prop_assert!(close(higher.p_value, lower.p_value), "{higher:?} {lower:?}");
                }
                let squared = |a, b| cramer_von_mises(a, b, method).unwrap();
                prop_assert!(close(squared(of, back).statistic, squared(back, of).statistic));
                prop_assert!(close(squared(of, back).p_value, squared(back, of).p_value));
            }
            let ranks = |a, b| mann_whitney(a, b, Alternative::TwoSided, Method::Auto).statistic;
            prop_assert!(close(ranks(of, back) + ranks(back, of), (a.len() * b.len()) as f64));
            if let Ok(test) = welch(of, back, Alternative::Higher) {
                let turned = welch(back, of, Alternative::Lower).unwrap();
                prop_assert!(close(test.statistic, -turned.statistic) && close(test.p_value, turned.p_value));
            }
        }
    }

    #[test]
    fn ranks_know_no_scale(a in tied(), b in tied()) {
        // Rising, with the ends at infinity.
        let other = |values: &[f64]| {
            let ends = |x: &f64| match x {
                x if *x <= -2.0 => f64::NEG_INFINITY,
                x if *x >= 2.0 => f64::INFINITY,
                x => x.powi(3) - 7.0,
            };
            sample(&values.iter().map(ends).collect::<Vec<_>>())
        };
        let ranked = |tests: Vec<(&'static str, TestResult)>| -> Vec<_> {
            tests.into_iter().filter(|(name, _)| *name != "welch").collect()
        };
        let (plain, scaled) = (all_tests(&sample(&a), &sample(&b)), all_tests(&other(&a), &other(&b)));
        prop_assert_eq!(ranked(plain), ranked(scaled));
    }

    #[test]
    fn p_values_are_chances_and_statistics_numbers(
        a in vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(1.0), any::<f64>()], 0..12),
        b in vec(prop_oneof![Just(f64::NAN), Just(f64::NEG_INFINITY), Just(1.0), any::<f64>()], 0..12),
    ) {
        if let (Ok(a), Ok(b)) = (Sample::new(&a), Sample::new(&b)) {
            for (name, test) in all_tests(&a, &b) {
                prop_assert!((0.0..=1.0).contains(&test.p_value), "{name} {test:?}");
                prop_assert!(test.statistic.is_finite(), "{name} {test:?}");
            }
            for distance in [wasserstein_distance(&a, &b), energy_distance(&a, &b)].into_iter().flatten() {
                prop_assert!(distance >= 0.0 && distance.is_finite());
            }
        }
    }
}

#[test]
fn the_exact_law_of_cramer_von_mises_is_the_count_of_all_orders() {
    for (n, m) in [(2, 2), (3, 2), (2, 5), (4, 4), (5, 3), (4, 6)] {
        let mut tests = Vec::new();
        orders(n, m, |order| {
            let place = |of_reference: bool| -> Vec<f64> {
                let places = order.iter().enumerate().filter(|(_, side)| **side == of_reference);
                places.map(|(at, _)| at as f64).collect()
            };
            let (a, b) = (sample(&place(true)), sample(&place(false)));
            tests.push(cramer_von_mises(&a, &b, Method::Exact).unwrap());
        });
        for test in &tests {
            assert_eq!(test.method, TestMethod::Exact);
            let reach =
                tests.iter().filter(|other| other.statistic >= test.statistic - 1e-12).count();
            let want = reach as f64 / tests.len() as f64;
            assert!((test.p_value - want).abs() < 1e-14, "{n} x {m}: {test:?}, expected {want}");
        }
    }
}

#[test]
fn the_largest_exact_laws_are_close_to_their_limits() {
    let values = |from: i32, step: i32, many: i32| -> Sample {
        sample(&(0..many).map(|at| f64::from(from + step * at)).collect::<Vec<_>>())
    };
    let (a, b) = (values(0, 3, 20), values(10, 3, 19));
    let test = |method| cramer_von_mises(&a, &b, method).unwrap();
    let (exact, limit) = (test(Method::Exact), test(Method::Asymptotic));
    assert_eq!((exact.method, limit.method), (TestMethod::Exact, TestMethod::Asymptotic));
    assert!((exact.p_value - limit.p_value).abs() < 0.01, "{exact:?} {limit:?}");
    let (a, b) = (values(0, 3, 100), values(40, 3, 100));
    let test = |method| mann_whitney(&a, &b, Alternative::TwoSided, method);
    let (exact, limit) = (test(Method::Exact), test(Method::Asymptotic));
    assert_eq!((exact.method, limit.method), (TestMethod::Exact, TestMethod::Asymptotic));
    assert!((exact.p_value - limit.p_value).abs() < 0.001, "{exact:?} {limit:?}");
}

#[test]
fn the_limit_of_cramer_von_mises_keeps_its_digits() {
    // From the series in Bessel functions with 60 digits; libraries that subtract from 1 lose them.
    for (x, want) in [
        (0.003, 1.0),
        (0.02, 0.996_999_385_698_398_1),
        (0.05, 0.876_280_931_041_349),
        (0.1, 0.584_873_438_406_795),
        (0.2, 0.267_470_430_540_774_9),
        (0.461_36, 0.050_000_383_132_651_276),
        (0.743_46, 0.009_999_961_915_455_367),
        (1.167_86, 0.000_999_990_914_874_556_5),
        (2.0, 1.278_073_617_278_167_3e-5),
        (4.0, 4.734_453_032_275_372e-10),
        (10.0, 4.178_941_092_885_288e-23),
    ] {
        let got = super::cramer_von_mises::limit_tail(x);
        assert!((got - want).abs() <= 1e-12 * want, "{x}: {got:e}, expected {want:e}");
    }
    assert!(super::cramer_von_mises::limit_tail(1e6) <= 0.0);
}

#[test]
fn one_outlier_of_a_million_is_one_millionth_of_its_distance() {
    let before: Vec<f64> = (0..200_000).map(f64::from).collect();
    let mut after = before.clone();
    after[100_000] = 1e9;
    let (a, b) = (sample(&before), sample(&after));
    let want = (1e9 - 100_000.0) / 200_000.0;
    let got = wasserstein_distance(&a, &b).unwrap();
    assert!((got - want).abs() < 1e-9 * want, "{got} {want}");
    let test = kolmogorov_smirnov(&a, &b, Alternative::TwoSided, Method::Auto);
    assert_eq!((test.method, test.p_value), (TestMethod::Asymptotic, 1.0));
    assert!(anderson_darling(&a, &b).unwrap().p_value >= 0.25);
    assert!(mann_whitney(&a, &b, Alternative::TwoSided, Method::Exact).p_value > 0.9);
    assert!(cramer_von_mises(&a, &b, Method::Exact).unwrap().p_value > 0.9);
}
