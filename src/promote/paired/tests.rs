//! Intervals by hand, by law, by simulation and against the reference.

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::promote::oracles::Case;
use crate::tests as oracle;

const RELATIVE: f64 = 1e-12;
const P_VALUE: f64 = 1e-9;
const LEVEL: f64 = 0.95;
const Z: f64 = 1.959_963_984_540_054;

fn pair(champion: &[f64], challenger: &[f64], labels: &[f64]) -> PairedRows {
    PairedRows::new(Task::binary(), champion, challenger, labels).unwrap()
}

/// The metrics of `task` that have an interval.
fn with_interval(task: Task) -> Vec<Metric> {
    let without = [Metric::Ece, Metric::MedianAbsoluteError, Metric::MaxError];
    Metric::of(task).iter().copied().filter(|metric| !without.contains(metric)).collect()
}

fn standard_error(difference: &PairedDifference) -> f64 {
    (difference.upper - difference.lower) / 2.0 / Z
}

/// The variance of one side's value, and the covariance of both.
fn variances(rows: &PairedRows, metric: Metric) -> [f64; 3] {
    let parts = |side: &Side| {
        contributions(metric, &side.rows, side.evaluation.get(metric).unwrap()).unwrap()
    };
    let (first, second) = (parts(&rows.champion), parts(&rows.challenger));
    let both: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a - b).collect();
    let [first, second, both] =
        [first, second, both].map(|parts| rows.variance(metric, &parts).unwrap());
    [first, second, (first + second - both) / 2.0]
}

#[test]
fn delong_agrees_with_the_reference() {
    let file = oracle::read("paired_tests.json");
    let mut case = Case::of("delong", &file["delong"]);
    // Ranks survive the logistic function, which makes probabilities of the scores.
    let logistic = |s: f64| 1.0 / (1.0 + (-s).exp());
    let mut scores = |key: &str| case.numbers(key).into_iter().map(logistic).collect::<Vec<_>>();
    let (first, second) = (scores("score_1"), scores("score_2"));
    let rows = pair(&first, &second, &case.numbers("y"));
    let found = rows.difference(Metric::RocAuc, LEVEL).unwrap();
    let [first, second, covariance] = variances(&rows, Metric::RocAuc);
    let mut want = Case::of("delong.expected", case.value("expected"));
    want.is("auc_1", found.champion, RELATIVE);
    want.is("auc_2", found.challenger, RELATIVE);
    want.is("var_1", first, RELATIVE);
    want.is("var_2", second, RELATIVE);
    want.is("cov", covariance, RELATIVE);
    // Theirs is the first less the second.
    want.is("z", -found.z().unwrap(), RELATIVE);
    want.is("p_two_sided", found.p_value().unwrap(), P_VALUE);
    want.done();
    case.done();
}

#[test]
fn means_are_the_paired_interval_of_the_textbook() {
    // Hits of the champion 1, 0, 0, 1, of the challenger 1, 1, 0, 1: d = 0, 1, 0, 0, whose mean
    // is 1/4 and whose variance is 1/4.
    let rows = pair(&[0.9, 0.9, 0.1, 0.1], &[0.9, 0.1, 0.1, 0.1], &[1.0, 0.0, 1.0, 0.0]);
    let accuracy = rows.difference(Metric::Accuracy, LEVEL).unwrap();
    assert!(oracle::close(accuracy.difference, 0.25, RELATIVE));
    assert!(oracle::close(standard_error(&accuracy), 0.25, RELATIVE));
    assert_eq!(accuracy.rows(), 4);
}

#[test]
fn ratios_are_linearised() {
    // Four positives; recall goes from 1/4 to 3/4. The influence of a positive is
    // (hit - recall) / (4/6), of a negative 0, so d is -1/2, 1, 1, -1/2 of it, times 3/2.
    let labels = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    let rows = pair(&[0.9, 0.1, 0.1, 0.1, 0.1, 0.1], &[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], &labels);
    let recall = rows.difference(Metric::Recall, LEVEL).unwrap();
    let squares = 4.0 * 0.25 * 1.5 * 1.5;
    assert!(oracle::close(recall.difference, 0.5, RELATIVE));
    assert!(oracle::close(standard_error(&recall), (squares / 5.0 / 6.0_f64).sqrt(), RELATIVE));
    // Precision of the champion 1/1, of the challenger 3/3: no influence, no spread.
    let precision = rows.difference(Metric::Precision, LEVEL).unwrap();
    assert!(precision.lower >= 0.0 && precision.upper <= 0.0);
    // F1 from 2/5 to 6/7, by the same formula written out.
    let f1 = rows.difference(Metric::F1, LEVEL).unwrap();
    let (before, after) = (0.4, 6.0 / 7.0);
    let influence = |hit: f64, predicted: f64, label: f64, value: f64, size: f64| {
        (2.0_f64.mul_add(hit, -(value * (predicted + label)))) / size
    };
    let first = |hit, predicted, label| influence(hit, predicted, label, before, 5.0 / 6.0);
    let second = |hit, predicted, label| influence(hit, predicted, label, after, 7.0 / 6.0);
    let change = second(1.0, 1.0, 1.0) - first(0.0, 0.0, 1.0);
    let stays_hit = second(1.0, 1.0, 1.0) - first(1.0, 1.0, 1.0);
    let stays_miss = second(0.0, 0.0, 1.0) - first(0.0, 0.0, 1.0);
    let squares = (2.0 * change).mul_add(change, stays_hit * stays_hit) + stays_miss * stays_miss;
    assert!(oracle::close(standard_error(&f1), (squares / 30.0).sqrt(), RELATIVE));
}

#[test]
fn a_wider_level_is_a_wider_interval() {
    let rows = pair(&[0.6, 0.4, 0.7, 0.2], &[0.8, 0.3, 0.4, 0.3], &[1.0, 0.0, 1.0, 0.0]);
    let width = |level| {
        let found = rows.difference(Metric::Brier, level).unwrap();
        found.upper - found.lower
    };
    assert!(width(0.5) < width(0.95) && width(0.95) < width(0.99));
    assert!(oracle::close(quantile(LEVEL), Z, RELATIVE));
}

#[test]
fn what_cannot_be_compared_says_why() {
    let labels = [1.0, 0.0, 0.0];
    let rows = pair(&[0.1, 0.2, 0.3], &[0.3, 0.2, 0.1], &labels);
    let error = |metric, level| rows.difference(metric, level).unwrap_err().to_string();
    assert_eq!(
        error(Metric::RocAuc, LEVEL),
        "1 positives are too few for an interval, 2 are the least"
    );
    assert_eq!(error(Metric::Precision, LEVEL), "precision does not exist for these rows");
    for level in [0.0, 1.0, f64::NAN] {
        assert_eq!(error(Metric::Brier, level), format!("level {level} is not between 0 and 1"));
    }
    let one = pair(&[0.1], &[0.2], &[0.0]);
    assert_eq!(
        one.difference(Metric::Brier, LEVEL).unwrap_err().to_string(),
        "1 rows are too few for an interval, 2 are the least"
    );
    let short = PairedRows::new(Task::binary(), &[0.1, 0.2], &[0.1], &[0.0, 1.0]);
    assert_eq!(short.unwrap_err().to_string(), "challenger: 1 scores for 2 labels");
}

/// Rows of a world in which the challenger sees more than the champion.
fn simulated(rng: &mut ChaCha8Rng, rows: usize) -> PairedRows {
    let mut normal = || -> f64 { StandardNormal.sample(rng) };
    let mut scores = [Vec::new(), Vec::new()];
    let mut labels = Vec::new();
    for _ in 0..rows {
        let (truth, shared) = (normal(), normal());
        labels.push(f64::from(u8::from(truth + normal() > 0.5)));
        for (side, noise) in scores.iter_mut().zip([1.0, 0.6]) {
            let seen = 0.5_f64.mul_add(shared, normal()).mul_add(noise, truth - 0.3);
            side.push(1.0 / (1.0 + (-1.5 * seen).exp()));
        }
    }
    pair(&scores[0], &scores[1], &labels)
}

/// Checks that intervals of `rows` rows of the world `draw` hold its truth, within three
/// standard errors of the share.
fn covers(task: Task, rows: usize, draw: impl Fn(&mut ChaCha8Rng, usize) -> PairedRows) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let world = draw(&mut rng, 200_000);
    let metrics = with_interval(task);
    let truth = |metric: &Metric| world.difference(*metric, LEVEL).unwrap().difference;
    let truth: Vec<f64> = metrics.iter().map(truth).collect();
    let repeats = 500;
    let mut covered = vec![0; truth.len()];
    for _ in 0..repeats {
        let sample = draw(&mut rng, rows);
        for ((&metric, truth), covered) in metrics.iter().zip(&truth).zip(&mut covered) {
            let found = sample.difference(metric, LEVEL).unwrap();
            *covered += u32::from(found.lower <= *truth && *truth <= found.upper);
        }
    }
    for (metric, covered) in metrics.iter().zip(covered) {
        let share = f64::from(covered) / f64::from(repeats);
        // sqrt(0.95 * 0.05 / 500) = 0.0097
        assert!((share - LEVEL).abs() < 0.03, "{metric}: {share}");
    }
}

#[test]
fn the_interval_covers_the_truth_as_often_as_it_says() {
    covers(Task::binary(), 300, simulated);
}

#[test]
fn the_interval_of_a_regression_covers_the_truth_too() {
    covers(Task::Regression, 300, |rng, rows| {
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        let mut scores = [Vec::new(), Vec::new()];
        let mut labels = Vec::new();
        for _ in 0..rows {
            let (truth, shared) = (normal(), normal());
            // Prices: positive, skewed, the noise grows with them.
            let price = (0.4 * truth).exp() * 100.0;
            labels.push(price);
            for (side, noise) in scores.iter_mut().zip([0.25, 0.2]) {
                side.push(price * (noise * (0.5_f64.mul_add(shared, normal()))).mul_add(1.0, 1.02));
            }
        }
        PairedRows::new(Task::Regression, &scores[0], &scores[1], &labels).unwrap()
    });
}

#[test]
fn average_precision_moves_by_the_influence_of_each_row() {
    // What the metric loses when a row is left out is its influence over n - 1, to first order.
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let rows = simulated(&mut rng, 600);
    let Rows::Classified(ranked) = &rows.challenger.rows else { panic!("classes") };
    let all = ranked.rows();
    let value = rows.challenger.evaluation.get(Metric::AveragePrecision).unwrap();
    let parts = contributions(Metric::AveragePrecision, &rows.challenger.rows, value).unwrap();
    assert!(mean(parts.iter().copied()).abs() < 1e-12);
    let without = |left_out: usize| {
        let rest = || (0..all.len()).filter(|at| *at != left_out).map(|at| all[at]);
        let scores: Vec<f64> = rest().map(|row| row.score).collect();
        let labels: Vec<f64> = rest().map(|row| f64::from(u8::from(row.positive))).collect();
        let evaluation = Evaluation::of(Task::binary(), &scores, &labels).unwrap();
        evaluation.get(Metric::AveragePrecision).unwrap()
    };
    let jackknife: Vec<f64> =
        (0..all.len()).map(|at| (value - without(at)) * float(all.len() - 1)).collect();
    let [influence, jackknife] =
        [&parts, &jackknife].map(|parts| variance_of_mean(parts, "rows").unwrap());
    // The jackknife's is the larger by terms of the order 1 / n.
    assert!((jackknife / influence - 1.0).abs() < 0.05, "{influence} {jackknife}");
}

#[test]
fn the_error_of_one_row_has_no_interval() {
    let rows = PairedRows::new(Task::Regression, &[1.0, 2.0], &[2.0, 2.0], &[1.0, 4.0]).unwrap();
    for metric in [Metric::MaxError, Metric::MedianAbsoluteError] {
        let error = rows.difference(metric, LEVEL).unwrap_err();
        assert_eq!(error.to_string(), format!("no interval of a difference in {metric} is known"));
    }
    assert_eq!(
        rows.difference(Metric::RocAuc, LEVEL).unwrap_err().to_string(),
        "roc_auc does not exist for these rows"
    );
    let binary = pair(&[0.1, 0.2], &[0.3, 0.2], &[0.0, 1.0]);
    assert!(matches!(
        binary.difference(Metric::Ece, LEVEL),
        Err(PairedError::NoInterval { metric: Metric::Ece })
    ));
    assert_eq!(
        binary.difference(Metric::AveragePrecision, LEVEL).unwrap_err().to_string(),
        "1 positives are too few for an interval, 2 are the least"
    );
    // Squares beyond the floats: unknown, not infinite.
    let huge = [1e160, -1e160];
    let rows = PairedRows::new(Task::Regression, &huge, &[1e150, 0.0], &[0.0, 1.0]).unwrap();
    assert!(rows.difference(Metric::Rmse, LEVEL).is_err());
    let spread = rows.difference(Metric::Mae, LEVEL);
    assert!(spread.is_err() || spread.unwrap().upper.is_finite());
}

#[test]
fn the_textbook_interval_of_the_mean_absolute_error() {
    // |e| 1, 2, 3 against 2, 2, 5: d = 1, 0, 2, mean 1, variance 1.
    let labels = [0.0; 3];
    let rows =
        PairedRows::new(Task::Regression, &[1.0, -2.0, 3.0], &[2.0, 2.0, -5.0], &labels).unwrap();
    let mae = rows.difference(Metric::Mae, LEVEL).unwrap();
    assert!(oracle::close(mae.difference, 1.0, RELATIVE));
    assert!(oracle::close(standard_error(&mae), (1.0_f64 / 3.0).sqrt(), RELATIVE));
    assert!(oracle::close(mae.improvement(), -1.0, RELATIVE));
    // e^2 / (2 RMSE): 1, 4, 9 over 2 sqrt(14/3), 4, 4, 25 over 2 sqrt(11).
    let rmse = rows.difference(Metric::Rmse, LEVEL).unwrap();
    let (before, after) = ((14.0_f64 / 3.0).sqrt() * 2.0, 11.0_f64.sqrt() * 2.0);
    let parts =
        [4.0 / after - 1.0 / before, 4.0 / after - 4.0 / before, 25.0 / after - 9.0 / before];
    let centre = parts.iter().sum::<f64>() / 3.0;
    let squares: f64 = parts.iter().map(|part| (part - centre) * (part - centre)).sum();
    assert!(oracle::close(standard_error(&rmse), (squares / 6.0).sqrt(), RELATIVE));
}

#[test]
fn a_forged_level_does_not_panic() {
    let rows = pair(&[0.1, 0.6], &[0.3, 0.2], &[0.0, 1.0]);
    let mut forged = rows.difference(Metric::Brier, LEVEL).unwrap();
    assert!(forged.z().is_some());
    for level in [95.0, -1.0, 0.0, 1.0, f64::NAN] {
        forged.level = level;
        assert_eq!(forged.p_value(), None, "{level}");
    }
}

// (champion, challenger, labels) of equal length; scores on a coarse grid, so that they tie.
fn scored_twice() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<f64>)> {
    let cell = (0_u8..=20, 0_u8..=20, any::<bool>());
    prop::collection::vec(cell, 2..60).prop_map(|cells| {
        let grid = |twentieths: u8| f64::from(twentieths) / 20.0;
        (
            cells.iter().map(|cell| grid(cell.0)).collect(),
            cells.iter().map(|cell| grid(cell.1)).collect(),
            cells.iter().map(|cell| f64::from(u8::from(cell.2))).collect(),
        )
    })
}

fn mirrored(found: PairedDifference) -> PairedDifference {
    PairedDifference {
        champion: found.challenger,
        challenger: found.champion,
        difference: -found.difference,
        lower: -found.upper,
        upper: -found.lower,
        ..found
    }
}

proptest! {
    #[test]
    fn swapping_the_models_negates_bit_for_bit((a, b, labels) in scored_twice()) {
        for task in [Task::binary(), Task::Regression] {
            for &metric in Metric::of(task) {
                let rows = |a, b| PairedRows::new(task, a, b, &labels).unwrap();
                let there = rows(&a, &b).difference(metric, LEVEL);
                let back = rows(&b, &a).difference(metric, LEVEL);
                prop_assert_eq!(there, back.map(mirrored));
            }
        }
    }

    #[test]
    fn identical_models_differ_by_nothing((a, _, labels) in scored_twice()) {
        for task in [Task::binary(), Task::Regression] {
            for &metric in Metric::of(task) {
                let rows = PairedRows::new(task, &a, &a, &labels).unwrap();
                if let Ok(same) = rows.difference(metric, LEVEL) {
                    prop_assert_eq!((same.difference, same.lower, same.upper), (0.0, 0.0, 0.0));
                }
            }
        }
    }

    #[test]
    fn the_interval_holds_the_improvement((a, b, labels) in scored_twice()) {
        for &metric in Metric::of(Task::binary()) {
            if let Ok(found) = pair(&a, &b, &labels).difference(metric, LEVEL) {
                let (low, high) = found.improvement_interval();
                prop_assert!(low <= found.improvement() && found.improvement() <= high);
                let json = serde_json::to_string(&found).unwrap();
                prop_assert_eq!(serde_json::from_str::<PairedDifference>(&json).unwrap(), found);
            }
        }
    }
}
