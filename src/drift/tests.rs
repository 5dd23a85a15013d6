//! Oracles and laws of the metrics, and what the detector makes of them.

use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::Value as Json;

use super::chi_square::pearson;
use super::*;
use crate::record::{Batch, Value};
use crate::schema::{Feature, FeatureSchema, LevelId};
use crate::tests::{any_number, close, number, read};

/// Relative tolerance of a number computed from counts in another order of operations.
const EXACT: f64 = 1e-12;

/// Absolute tolerance where the oracle itself is 0 up to rounding.
const ZERO: f64 = 1e-15;

/// Relative tolerance of a p-value.
const P_VALUE: f64 = 1e-9;

fn measure(metric: &dyn DriftMetric, binning: &Binning, r: &[u64], c: &[u64]) -> f64 {
    metric.measure(BinnedPair::new(binning, r, c).unwrap()).unwrap()
}

/// A binning with exactly `slots` slots.
fn slots(slots: usize) -> Binning {
    Binning::levels((2..slots).map(|level| level.to_string()))
}

fn counts(value: &Json) -> Vec<u64> {
    let list = value.as_array().unwrap();
    let mut counts: Vec<u64> = list.iter().map(|count| count.as_u64().unwrap()).collect();
    // Slots that are empty on both sides change nothing.
    counts.resize(counts.len().max(3), 0);
    counts
}

fn assert_close(got: f64, want: f64, tolerance: f64, what: &str) {
    let zero = want.abs() < ZERO && got.abs() < ZERO;
    assert!(zero || close(got, want, tolerance), "{what}: {got:e}, expected {want:e}");
}

#[test]
fn pooled_prior_oracle() {
    let oracle = read("pooled_prior.json");
    for case in oracle["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let (r, c) = (counts(&case["reference"]), counts(&case["current"]));
        let binning = slots(r.len());
        for constant in [0.5, 1.0] {
            let expected = &case[format!("pooled|c={constant}")];
            let smoothing = Smoothing::Pooled(constant);
            for (metric, key) in [
                (&Psi::new(smoothing) as &dyn DriftMetric, "psi"),
                (&KullbackLeibler::new(smoothing), "kl_ref_cur"),
                (&JensenShannon::new(smoothing), "js_nats"),
            ] {
                let got = measure(metric, &binning, &r, &c);
                assert_close(got, number(&expected[key]), EXACT, &format!("{name} {key}"));
            }
            let pair = BinnedPair::new(&binning, &r, &c).unwrap();
            assert_eq!(Some(pair.used().count() as u64), expected["K"].as_u64(), "{name}");
        }
        let pair = BinnedPair::new(&binning, &r, &c).unwrap();
        match (pearson(pair, 0.01), case.get("pearson")) {
            (None, None) => {}
            (Some(test), Some(expected)) => {
                let statistic = number(&expected["statistic"]);
                assert_close(test.statistic, statistic, EXACT, name);
                assert_eq!(test.degrees_of_freedom, expected["dof"].as_f64(), "{name}");
                let rare = number(&expected["min_expected"]) < 5.0;
                assert_eq!(test.method == TestMethod::MonteCarlo, rare, "{name}");
                if !rare {
                    assert_close(test.p_value, number(&expected["p_value"]), P_VALUE, name);
                }
            }
            (test, expected) => panic!("{name}: {test:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn original_parity_oracle() {
    let oracle = read("original_parity.json");
    for case in oracle["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let floor = Smoothing::Floor(number(&case["eps"]));
        let side = |key: &str| case[key].as_array().unwrap();
        let (binning, r, c) = if case["kind"] == "numeric" {
            let column = |key| -> Vec<f64> { side(key).iter().map(any_number).collect() };
            let (reference, current) = (column("reference"), column("current"));
            let both = || reference.iter().chain(&current).copied();
            let min = both().fold(f64::INFINITY, f64::min);
            let max = both().fold(f64::NEG_INFINITY, f64::max);
            let bins = usize::try_from(case["n_bins"].as_u64().unwrap()).unwrap();
            // The original closes its bins on the left, and the last on both ends.
            let numeric = NumericBinning::uniform(min, max, bins, Closed::Left).unwrap();
            let count = |values: &[f64]| {
                let mut counts = vec![0; numeric.bins() + 1];
                // The original drops NaN, so nothing is counted as missing.
                values.iter().filter_map(|x| numeric.bin(*x)).for_each(|bin| counts[bin] += 1);
                counts
            };
            let (r, c) = (count(&reference), count(&current));
            (Binning::Numeric(numeric), r, c)
        } else {
            let text = |key| side(key).iter().map(|x| x.as_str().unwrap());
            let mut levels: Vec<&str> = text("reference").chain(text("current")).collect();
            levels.sort_unstable();
            levels.dedup();
            let count = |key| -> Vec<u64> {
                let of = |level: &&str| text(key).filter(|x| x == level).count() as u64;
                levels.iter().map(of).chain([0, 0]).collect()
            };
            let (r, c) = (count("reference"), count("current"));
            (Binning::levels(levels), r, c)
        };
        for (metric, key) in [
            (&Psi::new(floor) as &dyn DriftMetric, "psi"),
            (&KullbackLeibler::new(floor), "kl"),
            (&JensenShannon::new(floor), "js"),
        ] {
            if let Some(expected) = case.get(key) {
                let got = measure(metric, &binning, &r, &c);
                assert_close(got, number(expected), EXACT, &format!("{name} {key}"));
            }
        }
    }
}

#[test]
fn a_simulated_p_value_is_the_exact_one() {
    // Fisher's table of the lady tasting tea: 3 of 4 against 1 of 4, two-sided p = 34/70.
    let binning = slots(3);
    let pair = BinnedPair::new(&binning, &[3, 1, 0], &[1, 3, 0]).unwrap();
    let test = pearson(pair, 0.01 / 19.0).unwrap();
    assert_eq!(test.method, TestMethod::MonteCarlo);
    // It stops at 20 extremes, so it is known to about a quarter.
    assert!((test.p_value - 34.0 / 70.0).abs() < 0.25, "{}", test.p_value);
    assert_eq!(Some(test), pearson(pair, 0.01 / 19.0), "the same every time");

    // The likelihood ratio puts the tables in the same order.
    let by_ratio = GTest.test(pair).unwrap();
    assert_eq!((by_ratio.method, by_ratio.p_value), (TestMethod::MonteCarlo, test.p_value));

    // 5 of 5 against 0 of 5: p = 2/252, small enough for the whole simulation to count.
    let pair = BinnedPair::new(&binning, &[5, 0, 0], &[0, 5, 0]).unwrap();
    let p_value = pearson(pair, 0.01 / 19.0).unwrap().p_value;
    assert!((p_value - 2.0 / 252.0).abs() < 0.004, "{p_value}");
}

#[test]
fn simulation_works_at_every_size() {
    let binning = slots(4);
    for (r, c) in [
        ([1_000_000_000, 1, 0, 0], [1_000_000_000, 0, 1, 0]),
        ([1, 0, 0, 0], [0, 1_000_000, 1, 1]),
        ([3_000_000, 1, 0, 0], [100, 0, 0, 90]),
    ] {
        let pair = BinnedPair::new(&binning, &r, &c).unwrap();
        let test = pearson(pair, 0.01 / 500.0).unwrap();
        assert!(test.p_value > 0.0 && test.p_value <= 1.0, "{test:?}");
    }
}

/// Numeric bins, as many slots as asked for.
fn bins(slots: usize) -> Binning {
    Binning::Numeric(NumericBinning::new((2..slots).map(|x| x as f64).collect::<Vec<_>>()).unwrap())
}

/// The counts of both sides in bins between `edges`.
fn binned(a: &[f64], b: &[f64], edges: Vec<f64>) -> (Vec<u64>, Vec<u64>, Binning) {
    let binning = Binning::Numeric(NumericBinning::new(edges).unwrap());
    let count = |values: &[f64]| {
        let mut counts = vec![0; binning.slots()];
        for x in values {
            let value = if x.is_nan() { Value::Missing } else { Value::Number(*x) };
            counts[usize::from(binning.code(value))] += 1;
        }
        counts
    };
    (count(a), count(b), binning.clone())
}

/// The counts without missing values.
fn known(counts: &[u64]) -> Vec<u64> {
    let mut counts = counts.to_vec();
    *counts.last_mut().unwrap() = 0;
    counts
}

/// Every metric of this crate.
fn every_metric() -> Vec<Box<dyn DriftMetric>> {
    vec![
        Box::new(Psi::default()),
        Box::new(KullbackLeibler::default()),
        Box::new(JensenShannon::default()),
        Box::new(JensenShannon::new(Smoothing::None)),
        Box::new(Hellinger),
        Box::new(TotalVariation),
        Box::new(ChiSquare),
        Box::new(GTest),
        Box::new(CramersV),
        Box::new(KolmogorovSmirnov),
        Box::new(Wasserstein),
        Box::new(WassersteinRanks),
    ]
}

fn pair_of_counts() -> impl Strategy<Value = (Vec<u64>, Vec<u64>)> {
    let side = |n| vec(prop_oneof![Just(0), 1_u64..20, 1_u64..100_000], n);
    (3_usize..20)
        .prop_flat_map(move |n| (side(n), side(n)))
        .prop_filter("rows", |(r, c)| r.iter().sum::<u64>() > 0 && c.iter().sum::<u64>() > 0)
}

fn smoothings() -> impl Strategy<Value = Smoothing> {
    prop_oneof![
        (0.1..2.0_f64).prop_map(Smoothing::Pooled),
        (0.1..2.0_f64).prop_map(Smoothing::Additive),
    ]
}

/// There and back by logarithms costs this one its last digit.
#[test]
fn one_p_value_alone_is_not_adjusted_downwards() {
    assert_eq!(Correction::Sidak.adjust(&[0.425_983_686_433_254_5]), [0.425_983_686_433_254_5]);
}

proptest! {
    #[test]
    fn psi_is_symmetric_and_never_negative((r, c) in pair_of_counts(), smoothing in smoothings()) {
        let (binning, psi) = (slots(r.len()), Psi::new(smoothing));
        let (there, back) = (measure(&psi, &binning, &r, &c), measure(&psi, &binning, &c, &r));
        prop_assert!(there >= 0.0 && (there - back).abs() <= EXACT * there.max(1.0));
    }

    #[test]
    fn js_is_bounded_symmetric_and_below_kl_both_ways(
        (r, c) in pair_of_counts(),
        smoothing in smoothings(),
    ) {
        let binning = slots(r.len());
        let js = JensenShannon::new(smoothing);
        let there = measure(&js, &binning, &r, &c);
        prop_assert!((0.0..=std::f64::consts::LN_2).contains(&there));
        prop_assert!((there - measure(&js, &binning, &c, &r)).abs() <= EXACT);
        let kl = KullbackLeibler::new(smoothing);
        let (kl, lk) = (measure(&kl, &binning, &r, &c), measure(&kl, &binning, &c, &r));
        prop_assert!(kl >= -EXACT && lk >= -EXACT && there <= 0.25 * (kl + lk) + EXACT);
        // PSI is the sum of both.
        let psi = measure(&Psi::new(smoothing), &binning, &r, &c);
        prop_assert!((psi - kl - lk).abs() <= 1e-9 * psi.max(1.0));
    }

    #[test]
    fn equal_proportions_measure_nothing(
        mut r in vec(0_u64..1000, 4..20), times in 1_u64..50,
    ) {
        r[0] += 1;
        let c: Vec<u64> = r.iter().map(|count| count * times).collect();
        for metric in every_metric() {
            let got = measure(&*metric, &bins(r.len()), &r, &c);
            prop_assert!(got.abs() < 1e-13, "{} {got:e}", metric.name());
        }
    }

    #[test]
    fn the_order_of_slots_does_not_matter((r, c) in pair_of_counts(), turn in 1_usize..20) {
        let binning = slots(r.len());
        let turned = |counts: &[u64]| {
            let mut counts = counts.to_vec();
            counts.rotate_left(turn % r.len());
            counts
        };
        for metric in every_metric() {
            let Ok(a) = metric.measure(BinnedPair::new(&binning, &r, &c).unwrap()) else {
                // It knows an order, and levels have none.
                prop_assert!(["kolmogorov_smirnov", "wasserstein", "wasserstein_ranks"].contains(&metric.name()));
                continue;
            };
            let b = measure(&*metric, &binning, &turned(&r), &turned(&c));
            prop_assert!((a - b).abs() <= EXACT * a.max(1.0), "{}", metric.name());
        }
    }

    #[test]
    fn distances_are_symmetric_and_bounded((r, c) in pair_of_counts()) {
        let (binning, rows) = (bins(r.len()), (r.iter().sum::<u64>() + c.iter().sum::<u64>()) as f64);
        let both = |metric: &dyn DriftMetric| {
            let (there, back) = (measure(metric, &binning, &r, &c), measure(metric, &binning, &c, &r));
            assert!((there - back).abs() <= EXACT * there.max(1.0), "{}: {there} {back}", metric.name());
            assert!(there >= 0.0, "{}: {there}", metric.name());
            there
        };
        let (h, tv) = (both(&Hellinger), both(&TotalVariation));
        prop_assert!(h <= 1.0 && tv <= 1.0);
        // Le Cam's inequalities.
        prop_assert!(h * h <= tv + EXACT && tv <= h * (2.0 - h * h).sqrt() + EXACT);
        let (x2, v) = (both(&ChiSquare), both(&CramersV));
        prop_assert!(x2 <= rows * (1.0 + EXACT) && v <= 1.0);
        let g = both(&GTest);
        prop_assert!(g <= 2.0 * rows * std::f64::consts::LN_2 * (1.0 + EXACT));
        let js = both(&JensenShannon::new(Smoothing::None));
        prop_assert!(js <= tv * std::f64::consts::LN_2 + EXACT);
        // Pinsker's inequality.
        let pair = BinnedPair::new(&binning, &r, &c).unwrap();
        match KullbackLeibler::new(Smoothing::None).measure(pair) {
            Ok(kl) => prop_assert!(2.0 * tv * tv <= kl + EXACT),
            Err(_) => prop_assert!(pair.used().any(|(r, c)| r > 0 && c == 0)),
        }
        let gone = pair.used().any(|(r, c)| r == 0 || c == 0);
        prop_assert_eq!(Psi::new(Smoothing::None).measure(pair).is_err(), gone);
    }

    #[test]
    fn distances_keep_the_triangle_inequality(
        (r, c) in pair_of_counts(), more in vec(0_u64..1000, 20),
    ) {
        let (binning, mut middle) = (slots(r.len()), more[..r.len()].to_vec());
        middle[0] += 1;
        for metric in [&Hellinger as &dyn DriftMetric, &TotalVariation] {
            let direct = measure(metric, &binning, &r, &c);
            let by_way = measure(metric, &binning, &r, &middle) + measure(metric, &binning, &middle, &c);
            prop_assert!(direct <= by_way + EXACT);
        }
    }

    #[test]
    fn what_is_said_of_bins_holds_for_the_raw_values(
        a in vec(prop_oneof![-9.0..9.0_f64, (-3_i32..4).prop_map(f64::from), Just(f64::INFINITY)], 1..60),
        b in vec(prop_oneof![-9.0..9.0_f64, (-3_i32..4).prop_map(f64::from), Just(f64::NAN)], 1..60),
        mut edges in vec(prop_oneof![-8.0..8.0_f64, (-3_i32..4).prop_map(f64::from)], 0..9),
        atom in proptest::option::of(-3_i32..4),
    ) {
        prop_assume!(b.iter().any(|x| !x.is_nan()));
        if let Some(atom) = atom.map(f64::from) {
            edges.extend([atom.next_down(), atom]);
        }
        edges.iter_mut().for_each(|edge| *edge += 0.0);
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let (r, c, binning) = binned(&a, &b, edges.clone());
        let pair = BinnedPair::new(&binning, &r, &c).unwrap();

        let (raw_a, raw_b) = (two_sample::Sample::new(&a).unwrap(), two_sample::Sample::new(&b).unwrap());
        let auto = two_sample::Method::Auto;
        let raw = two_sample::kolmogorov_smirnov(&raw_a, &raw_b, two_sample::Alternative::TwoSided, auto);
        let (least, most) = KolmogorovSmirnov.bounds(pair).unwrap();
        prop_assert!(least <= raw.statistic + EXACT && raw.statistic <= most + EXACT, "{least} {raw:?} {most}");
        let d = KolmogorovSmirnov.measure(pair).unwrap();
        prop_assert_eq!(d.to_bits(), least.to_bits());
        prop_assert!(d <= measure(&TotalVariation, &binning, &known(&r), &known(&c)) + EXACT);
        prop_assert!(KolmogorovSmirnov.test(pair).unwrap().p_value >= raw.p_value - EXACT);

        // The finest bins: one for every value.
        let mut every: Vec<f64> =
            a.iter().chain(&b).filter(|x| x.is_finite()).map(|x| x + 0.0).collect();
        every.sort_by(f64::total_cmp);
        every.dedup();
        every.extend(&edges);
        every.sort_by(f64::total_cmp);
        every.dedup();
        let (fine_r, fine_c, finest) = binned(&a, &b, every);
        let ranks = WassersteinRanks.measure(pair).unwrap();
        let fine = measure(&WassersteinRanks, &finest, &fine_r, &fine_c);
        let resolution = WassersteinRanks.resolution(pair).unwrap();
        prop_assert!((ranks - fine).abs() <= resolution + EXACT, "{ranks} {fine} {resolution}");
        prop_assert!((0.0..=0.5 + EXACT).contains(&ranks));

        if let [first, .., last] = edges[..] {
            let clamp = |x: &f64| if x.is_nan() { *x } else { x.clamp(first, last) };
            let clamped = |values: &[f64]| {
                two_sample::Sample::new(&values.iter().map(clamp).collect::<Vec<_>>()).unwrap()
            };
            let raw = two_sample::wasserstein_distance(&clamped(&a), &clamped(&b)).unwrap();
            let w = Wasserstein.measure(pair).unwrap();
            let resolution = Wasserstein.resolution(pair).unwrap();
            prop_assert!((w - raw).abs() <= resolution + 1e-9, "{w} {raw} {resolution}");
            if let (Ok(whole_a), true) = (two_sample::Sample::finite(&a), a.iter().all(|x| x.is_finite())) {
                let whole = two_sample::wasserstein_distance(&whole_a, &raw_b).unwrap();
                prop_assert!(w - resolution <= whole + 1e-9);
            }
            prop_assert!(w <= last - first + EXACT);
        } else {
            prop_assert!(Wasserstein.measure(pair).is_err());
        }
    }

    #[test]
    fn corrections_raise_p_values_and_keep_their_order(p in vec(0.0..=1.0_f64, 1..30)) {
        for correction in [
            Correction::Holm,
            Correction::Bonferroni,
            Correction::Sidak,
            Correction::BenjaminiHochberg,
            Correction::BenjaminiYekutieli,
        ] {
            // The first step is the test of the smallest p-value.
            let level = correction.first_level(0.05, p.len());
            let smallest = p.iter().copied().fold(1.0, f64::min);
            let any = correction.adjust(&p).iter().any(|p| *p < 0.05 - 1e-12);
            prop_assert!(any || smallest > level * (1.0 - 1e-9));
            let several = matches!(correction, Correction::BenjaminiHochberg | Correction::BenjaminiYekutieli);
            prop_assert!(!any || several || smallest < level);

            let adjusted = correction.adjust(&p);
            for i in 0..p.len() {
                prop_assert!(adjusted[i] >= p[i] && adjusted[i] <= 1.0);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || adjusted[i] <= adjusted[j]);
                }
            }
        }
    }

    #[test]
    fn shards_add_up_to_one_pass(
        values in vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -50.0..50.0_f64], 1..200),
        cut in 0_usize..200,
    ) {
        let schema = FeatureSchema::new([Feature::numeric("x").nullable()]).unwrap();
        let reference = Array2::from_shape_fn((100, 1), |(i, _)| i as f64 - 50.0);
        let profile = Profile::fit(&Batch::from_array(&schema, reference.view()).unwrap()).unwrap();
        let of = |values: &[f64]| {
            let array = Array2::from_shape_vec((values.len(), 1), values.to_vec()).unwrap();
            Counts::of(&profile, &Batch::from_array(&schema, array.view()).unwrap(), None).unwrap()
        };
        let (a, b) = values.split_at(cut.min(values.len()));
        let mut there = of(a);
        there.merge(&of(b)).unwrap();
        let mut back = of(b);
        back.merge(&of(a)).unwrap();
        let whole = of(&values);
        prop_assert_eq!(there.slots(0), whole.slots(0));
        prop_assert_eq!(back.slots(0), whole.slots(0));
        prop_assert_eq!(there.rows(), whole.rows());
        let mut unit = Counts::empty(&profile);
        // Counted without scores, so that only counts without scores merge into them.
        prop_assert!(profile.score().is_none());
        unit.merge(&whole).unwrap();
        prop_assert_eq!(unit.slots(0), whole.slots(0));
        let json = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<Counts>(&json).unwrap(), whole);
    }

    #[test]
    fn rows_of_codes_count_as_one_by_one(
        rows in vec((0_u8..11, 0_u8..5), 0..300), bad in proptest::option::of(any::<(usize, u8)>()),
    ) {
        let schema = FeatureSchema::new([
            Feature::numeric("x"),
            Feature::categorical("k", ["a", "b", "c"]),
        ]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let numbers: Vec<f64> = (0..1_000).map(|_| f64::from(rng.next_u32())).collect();
        let levels = vec![LevelId::new(0).unwrap(); numbers.len()];
        let columns = [
            crate::record::Column::Numbers(numbers.into()), crate::record::Column::Levels(&levels),
        ];
        let profile = Profile::fit(&Batch::new(&schema, columns.to_vec()).unwrap()).unwrap();
        let mut bytes: Vec<u8> = rows.iter().flat_map(|(x, k)| [*x, *k]).collect();
        if let Some((at, code)) = bad && !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = code;
        }
        let mut all = Counts::empty(&profile);
        let all_read = all.observe_code_rows(&bytes);
        let mut one_by_one = Counts::empty(&profile);
        let mut wrong = None;
        for (row, codes) in bytes.chunks_exact(2).enumerate() {
            let codes = Codes::from_bytes(codes);
            if profile.accepts(&codes) {
                one_by_one.observe_codes(&codes);
            } else {
                wrong = Some(row);
            }
        }
        match (all_read, wrong) {
            (Ok(()), None) => prop_assert_eq!(&all, &one_by_one),
            (Err(CodeRowsError::NoSuchSlot { row, .. }), Some(wrong)) => {
                prop_assert_eq!(row, wrong);
                prop_assert_eq!(&all, &Counts::empty(&profile));
            }
            (read, wrong) => prop_assert!(false, "{:?}, {:?}", read, wrong),
        }
        let ragged = all.observe_code_rows(&[0]).unwrap_err();
        prop_assert_eq!(ragged.to_string(), "1 bytes are not whole rows of 2 codes");
    }

    #[test]
    fn every_value_has_one_slot_that_contains_it(
        values in vec(-1e3..1e3_f64, 1..100), x in -2e3..2e3_f64, bins in 2_usize..30,
    ) {
        for atoms in [true, false] {
            let strategy = BinningStrategy::Quantile { bins, atoms };
            let binning = NumericBinning::fit(&values, &strategy, false).unwrap();
            let (lower, upper) = binning.interval(binning.bin(x).unwrap());
            prop_assert!(lower < x && x <= upper);
        }
    }
}

/// A table of one numeric and one categorical feature with 400 reference rows.
fn two_features() -> (FeatureSchema, Profile) {
    let schema =
        FeatureSchema::new([Feature::numeric("x").nullable(), Feature::numeric("y").nullable()])
            .unwrap();
    let reference =
        Array2::from_shape_fn((400, 2), |(i, j)| if j == 0 { i as f64 } else { (i % 7) as f64 });
    let batch = Batch::from_array(&schema, reference.view()).unwrap();
    let scores: Vec<f64> = (0..400).map(|i| f64::from(i) / 400.0).collect();
    let profile = ProfileOptions::new().scores(&scores).fit(&batch).unwrap();
    (schema, profile)
}

fn detect(
    rows: usize,
    value: impl Fn(usize, usize) -> f64,
    score: impl Fn(usize) -> f64,
) -> DriftReport {
    let (schema, profile) = two_features();
    let live = Array2::from_shape_fn((rows, 2), |(i, j)| value(i, j));
    let batch = Batch::from_array(&schema, live.view()).unwrap();
    let scores: Vec<f64> = (0..rows).map(score).collect();
    let counts = Counts::of(&profile, &batch, Some(&scores)).unwrap();
    DriftDetector::default().detect(&profile, &counts)
}

fn as_reference(i: usize, j: usize) -> f64 {
    if j == 0 { (i * 2 % 400) as f64 } else { (i % 7) as f64 }
}

#[test]
fn the_same_traffic_is_stable_and_says_what_it_could_have_proven() {
    let report = detect(200, as_reference, |i| i as f64 / 200.0);
    assert_eq!(report.verdict, Verdict::Stable, "{report}");
    assert!(report.signals.is_empty(), "{report}");
    let x = report.feature("x").unwrap();
    assert_eq!(x.status, FeatureStatus::Stable);
    assert!(x.provable_psi.unwrap() > x.chance_psi);
}

#[test]
fn one_of_two_features_is_feature_drift_and_never_stable() {
    let report = detect(
        200,
        |i, j| if j == 0 { i as f64 / 4.0 } else { (i % 7) as f64 },
        |i| i as f64 / 200.0,
    );
    assert_eq!(report.verdict, Verdict::FeatureDrift, "{report}");
    assert_eq!(report.drifted().next().unwrap().name, "x");
    assert!(report.feature("x").unwrap().sentence.starts_with("mean 200 -> 24.9; "), "{report}");
}

#[test]
fn more_drifted_features_than_there_are_cannot_be_asked_for() {
    let data = Array2::from_shape_fn((200, 4), |(i, j)| (i + j) as f64);
    let names = ["a", "b", "c", "d"];
    let schema = FeatureSchema::new(names.map(Feature::numeric)).unwrap();
    let batch = Batch::from_array(&schema, data.view()).unwrap();
    let compare = |asked| {
        let settings = DriftSettings { min_drift_features: asked, ..DriftSettings::default() };
        let report = DriftDetector::new(settings).unwrap().compare(&batch, &batch);
        report.map(|report| report.verdict).map_err(|error| error.to_string())
    };
    assert_eq!(compare(4), Ok(Verdict::Stable));
    let expected = "min_drift_features is 5, expected at most 4, as many features as there are";
    assert_eq!(compare(5), Err(expected.to_owned()));
}

#[test]
fn a_window_of_nulls_is_major_drift_and_not_zero() {
    let report = detect(200, |_, _| f64::NAN, |_| 0.5);
    assert_eq!(report.verdict, Verdict::Drift);
    let x = report.feature("x").unwrap();
    assert_eq!((x.severity, x.sentence.as_str()), (Severity::Major, "missing 0.0 % -> 100.0 %"));
    let kinds = |signal: &&Signal| matches!(signal, Signal::MissingValues { .. });
    assert_eq!(report.signals.iter().filter(kinds).count(), 2, "{report}");
    assert!(report.signals.iter().any(|signal| matches!(signal, Signal::PredictionDrift { .. })));
}

#[test]
fn an_outlier_hides_nothing() {
    let shifted = |i: usize, j: usize| as_reference(i, j) + if j == 0 { 80.0 } else { 0.0 };
    let plain = detect(200, shifted, |i| i as f64 / 200.0).feature("x").unwrap().psi;
    let with_outlier = detect(
        200,
        |i, j| if (i, j) == (199, 0) { 1e6 } else { shifted(i, j) },
        |i| i as f64 / 200.0,
    );
    assert!((with_outlier.feature("x").unwrap().psi - plain).abs() < 0.02 * plain);
}

#[test]
fn nothing_known_is_never_stable() {
    let (schema, profile) = two_features();
    let detector = DriftDetector::default();
    assert_eq!(detector.detect(&profile, &Counts::empty(&profile)).verdict, Verdict::NoTraffic);
    let few = detect(99, as_reference, |_| 0.5);
    assert_eq!(few.verdict, Verdict::InsufficientData { have: 99, need: 100 });
    assert_eq!(few.max_psi(), None);

    // Everything refused: no rows to compare, and still something to say.
    let mut refused = Counts::empty(&profile);
    for _ in 0..100 {
        let mut out = crate::validate::Violations::new();
        crate::record::decode_row(&schema, b"{}", &mut out).unwrap();
        refused.observe_rejected(&schema, &out);
    }
    let report = detector.detect(&profile, &refused);
    assert_eq!(report.verdict, Verdict::InsufficientData { have: 0, need: 100 });
    assert!(matches!(&report.signals[..], [Signal::Rejected { share, .. }] if *share > 0.99));

    // Another profile of the same schema.
    let other = Array2::from_shape_fn((400, 2), |(i, _)| (i * i) as f64);
    let other = Profile::fit(&Batch::from_array(&schema, other.view()).unwrap()).unwrap();
    let report = detector.detect(&other, &Counts::empty(&profile));
    assert!(matches!(report.verdict, Verdict::NotComparable { .. }), "{report}");
}

#[test]
fn over_the_threshold_by_chance_is_elevated() {
    // Fifty levels and a hundred rows: PSI alone would raise an alarm.
    let levels: Vec<String> = (0..50).map(|i| format!("level {i}")).collect();
    let schema = FeatureSchema::new([Feature::categorical("k", levels)]).unwrap();
    let column = |rows: usize, step: usize| -> Vec<_> {
        (0..rows).map(|i| LevelId::new(i * step % 50).unwrap()).collect()
    };
    let reference = column(1000, 1);
    let batch = Batch::new(&schema, vec![crate::record::Column::Levels(&reference)]).unwrap();
    let profile = Profile::fit(&batch).unwrap();
    // A hundred draws from the same levels: no drift at all.
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let live: Vec<_> =
        (0..100).map(|_| LevelId::new(rng.next_u32() as usize % 50).unwrap()).collect();
    let batch = Batch::new(&schema, vec![crate::record::Column::Levels(&live)]).unwrap();
    let counts = Counts::of(&profile, &batch, None).unwrap();
    let report = DriftDetector::default().detect(&profile, &counts);
    assert_eq!(report.features[0].status, FeatureStatus::Elevated, "{report}");
    assert_eq!(report.verdict, Verdict::Stable);
    let settings = DriftSettings { gate: Gate::Off, ..DriftSettings::default() };
    let report = DriftDetector::new(settings).unwrap().detect(&profile, &counts);
    assert_eq!(report.verdict, Verdict::Drift, "with the gate off PSI alone decides");
}

#[test]
fn a_report_survives_a_file_and_prints() {
    let report = detect(300, |i, _| i as f64 / 10.0, |_| 0.01);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<DriftReport>(&json).unwrap(), report);
    let text = report.to_string();
    for part in
        ["drift: 2 of 2 features drifted", "what changed", "predictions drifted", "prediction"]
    {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_category_that_was_refused_on_reading_counts_as_other() {
    use crate::record::{Columns, Table};
    use crate::validate::Violations;

    let schema = FeatureSchema::new([Feature::categorical("plan", ["basic"]).nullable()]).unwrap();
    let table = Table::from_rows(["plan"], [["basic"], ["gold"], [""]]).unwrap();
    let mut out = Violations::new();
    let columns = Columns::from_table(&schema.into(), &table, &mut out).unwrap();
    let profile = Profile::fit(&columns.batch()).unwrap();
    let counts = Counts::of(&profile, &columns.batch(), None).unwrap();
    assert_eq!((out.error_count(), counts.slots(0)), (1, &[1, 1, 1][..]));
    assert_eq!(profile.features()[0].counts(), [1, 1, 1]);
    assert_eq!(counts.summaries()[0].unseen_total(), 1);
}

#[test]
fn a_new_category_of_a_table_is_named() {
    use crate::record::{Columns, Table};
    use crate::schema::Unlisted;

    let names = |feature: Feature| -> (FeatureDrift, Vec<Signal>) {
        let schema = std::sync::Arc::new(FeatureSchema::new([feature]).unwrap());
        let table = |texts: &[(&str, usize)]| {
            let cells = texts.iter().flat_map(|(text, times)| std::iter::repeat_n([*text], *times));
            let table = Table::from_rows(["method"], cells).unwrap();
            Columns::read(&schema, &table).unwrap()
        };
        let reference = table(&[("card", 600), ("check", 400)]);
        let profile = Profile::fit(&reference.batch()).unwrap();
        // The order of rows is another one after a selection.
        let live = table(&[("card", 500), ("Wallet", 106), ("check", 394)]);
        let turned: Vec<usize> = (0..live.rows()).rev().collect();
        let counts = Counts::of(&profile, &live.select(&turned).batch(), None).unwrap();
        let report = DriftDetector::default().detect(&profile, &counts);
        (report.features[0].clone(), report.signals)
    };
    let method = Feature::categorical("method", ["card", "check"]).unlisted(Unlisted::Other);
    let (feature, signals) = names(method.clone());
    assert_eq!(feature.sentence, "new category \"Wallet\" 10.6 %");
    assert_eq!(signals[0].to_string(), "method: 10.6 % outside the levels (\"Wallet\")");
    let (feature, _) = names(method.sensitive());
    assert_eq!(feature.sentence, "values outside the levels 0.0 % -> 10.6 %");
}

#[test]
fn a_profile_whose_columns_are_not_its_schemas_is_refused() {
    let (schema, profile) = two_features();
    assert!(profile.check_schema(&schema).is_ok());
    let json = serde_json::to_value(&profile).unwrap();
    let refused = |change: &dyn Fn(&mut Json)| {
        let mut json = json.clone();
        change(&mut json);
        match serde_json::from_value::<Profile>(json) {
            Ok(profile) => profile.check_schema(&schema).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    for (change, part) in [
        (
            &(|p: &mut Json| drop(p["features"].as_array_mut().unwrap().pop()))
                as &dyn Fn(&mut Json),
            "2 features",
        ),
        (&|p: &mut Json| p["features"][1]["name"] = "z".into(), "at y"),
        (&|p: &mut Json| p["features"].as_array_mut().unwrap().swap(0, 1), "at x"),
        (
            &|p: &mut Json| {
                let levels: Vec<String> = (0..300).map(|i| i.to_string()).collect();
                let mut counts = vec![0; 302];
                counts[0] = 400;
                p["features"][0]["binning"] = serde_json::json!({ "levels": levels });
                p["features"][0]["counts"] = serde_json::json!(counts);
            },
            "counts of feature \"x\"",
        ),
        (&|p: &mut Json| p["rows"] = u64::MAX.into(), "at most 2^53"),
    ] {
        let said = refused(change);
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
}

#[test]
fn a_small_reference_makes_no_signal_of_its_own_narrow_range() {
    let schema = FeatureSchema::new([Feature::numeric("x")]).unwrap();
    let detect = |reference_rows: usize, outside: usize| {
        let reference =
            Array2::from_shape_fn((reference_rows, 1), |(i, _)| i as f64 / reference_rows as f64);
        let live =
            Array2::from_shape_fn(
                (200, 1),
                |(i, _)| if i < outside { 2.0 } else { i as f64 / 200.0 },
            );
        let [reference, live] =
            [&reference, &live].map(|x| Batch::from_array(&schema, x.view()).unwrap());
        DriftDetector::default().compare(&reference, &live).unwrap().signals
    };
    assert!(detect(100, 12).is_empty(), "6 % of 200 is what a reference of 100 rows can miss");
    assert_eq!(detect(5_000, 12).len(), 1, "and not what one of 5,000 can");
}
