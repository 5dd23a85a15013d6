//! Evaluations by hand, by law and from the store; the reference values are in `oracles`.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::promote::rows::{float, mean};
use crate::tests as oracle;

// Of the oracles' README.
const RELATIVE: f64 = 1e-12;

fn evaluate(scores: &[f64], labels: &[f64]) -> Evaluation {
    Evaluation::of(Task::binary(), scores, labels).unwrap()
}

#[test]
fn the_weighted_case_without_its_weights() {
    // Every reference value of this file is weighted; its rows still try the definitions.
    let case = oracle::read("clf_3_weighted.json");
    let (scores, labels) = (oracle::numbers(&case["score"]), oracle::numbers(&case["y"]));
    let evaluation = evaluate(&scores, &labels);
    let auc = evaluation.get(Metric::RocAuc).unwrap();
    assert!(oracle::close(auc, naive_auc(&scores, &labels), RELATIVE));
    let entropy = |(s, y): (&f64, &f64)| if *y > 0.5 { -s.ln() } else { -(1.0 - s).ln() };
    let log_loss = mean(scores.iter().zip(&labels).map(entropy));
    assert!(oracle::close(evaluation.get(Metric::LogLoss).unwrap(), log_loss, RELATIVE));
}

fn naive_auc(scores: &[f64], labels: &[f64]) -> f64 {
    let with = |class: bool| {
        scores.iter().zip(labels).filter(move |(_, y)| (**y > 0.5) == class).map(|(s, _)| *s)
    };
    let points = |high: f64, low: f64| u32::from(high > low) + u32::from(high >= low);
    let won: u32 = with(true).flat_map(|p| with(false).map(move |n| points(p, n))).sum();
    f64::from(won) / (2.0 * float(with(true).count() * with(false).count()))
}

#[test]
fn hand_computed_values() {
    let evaluation = evaluate(&[0.8, 0.6, 0.3, 0.2], &[1.0, 0.0, 1.0, 0.0]);
    let log_loss = -(0.8_f64.ln() + 0.4_f64.ln() + 0.3_f64.ln() + 0.8_f64.ln()) / 4.0;
    assert!(oracle::close(evaluation.get(Metric::LogLoss).unwrap(), log_loss, RELATIVE));
    let brier = (0.04 + 0.36 + 0.49 + 0.04) / 4.0;
    assert!(oracle::close(evaluation.get(Metric::Brier).unwrap(), brier, RELATIVE));
    assert_eq!(evaluation.get(Metric::RocAuc), Some(0.75));
    assert_eq!(evaluation.get(Metric::Precision), Some(0.5));
    assert_eq!(evaluation.get(Metric::Recall), Some(0.5));
    assert_eq!(evaluation.get(Metric::F1), Some(0.5));
    assert_eq!((evaluation.rows(), evaluation.positives()), (4, Some(2)));
    assert_eq!(evaluation.task(), Task::binary());
}

#[test]
fn the_table_shows_what_there_is() {
    let table = evaluate(&[0.8, 0.6, 0.3, 0.2], &[1.0, 0.0, 1.0, 0.0]).to_string();
    assert_eq!(
        table,
        "rows              4 (2 positive)\nroc_auc           0.7500\n\
         average_precision 0.8333\nlog_loss          0.6416\nbrier             0.2325\n\
         ece               0.4250\nf1                0.5000\nprecision         0.5000\n\
         recall            0.5000\naccuracy          0.5000\nbalanced_accuracy 0.5000\n\
         mcc               0.0000\ncohen_kappa       0.0000"
    );
}

#[test]
fn metrics_that_do_not_exist_are_none() {
    let negatives = evaluate(&[0.1, 0.2], &[0.0, 0.0]);
    for metric in [Metric::RocAuc, Metric::Precision, Metric::Recall, Metric::F1] {
        assert_eq!(negatives.get(metric), None, "{metric}");
    }
    assert_eq!(negatives.get(Metric::AveragePrecision), None);
    assert_eq!(negatives.pinball_loss(0.5), None);
    assert_eq!(negatives.mean_error(), None);
    let positives = evaluate(&[0.1, 0.2], &[1.0, 1.0]);
    assert_eq!(positives.get(Metric::RocAuc), None);
    assert_eq!(positives.get(Metric::F1), Some(0.0));
    assert_eq!(positives.get(Metric::Recall), Some(0.0));
    assert_eq!(positives.get(Metric::AveragePrecision), Some(1.0));
}

#[test]
fn a_regression_without_a_spread_of_labels_has_no_r2() {
    let of =
        |scores: &[f64], labels: &[f64]| Evaluation::of(Task::Regression, scores, labels).unwrap();
    // 0.1 three times: the rounded mean is not 0.1, and still nothing spreads.
    for evaluation in [of(&[0.1, 0.2, 0.3], &[0.1; 3]), of(&[3.0], &[2.0])] {
        assert_eq!(evaluation.get(Metric::R2), None);
        assert!(evaluation.get(Metric::Rmse).is_some());
    }
    let perfect = of(&[1.0, 2.0], &[1.0, 2.0]);
    assert_eq!((perfect.get(Metric::R2), perfect.get(Metric::Rmse)), (Some(1.0), Some(0.0)));
    assert_eq!(of(&[1.0, 2.0], &[0.0, 2.0]).get(Metric::Mape), None, "a share of 0");
    assert_eq!((perfect.task(), perfect.positives()), (Task::Regression, None));
    assert_eq!((perfect.confusion(), perfect.f_beta(1.0)), (None, None));
    assert_eq!((perfect.pinball_loss(1.5), perfect.pinball_loss(f64::NAN)), (None, None));
}

#[test]
fn a_large_bias_does_not_swallow_the_spread() {
    // Errors 1e8 and 1e8 + 1: a difference of squares would have no digit left of 0.25.
    let (scores, labels) = ([1e8, 1e8 + 2.0], [0.0, 1.0]);
    let evaluation = Evaluation::of(Task::Regression, &scores, &labels).unwrap();
    assert_eq!(evaluation.mean_error(), Some(1e8 + 0.5));
    let json = serde_json::to_value(&evaluation).unwrap();
    assert_eq!(json["error_variance"], 0.25);
}

#[test]
fn files_from_before_weights_and_new_metrics_are_read() {
    let old = r#"{"kind":"binary_classification","threshold":0.5,
        "confusion":{"true_positives":1,"false_positives":1,"false_negatives":1,
        "true_negatives":1},"roc_auc":0.75,"log_loss":0.64155,"brier":0.2325}"#;
    let evaluation: Evaluation = serde_json::from_str(old).unwrap();
    assert_eq!(evaluation.get(Metric::RocAuc), Some(0.75));
    assert_eq!(evaluation.get(Metric::Mcc), Some(0.0), "follows from the counts");
    assert_eq!(evaluation.get(Metric::AveragePrecision), None, "unknown");
    assert_eq!(evaluation.get(Metric::Ece), None);
    assert_eq!(evaluation.weight(), None);
}

#[test]
fn the_stored_form_of_a_regression_is_fixed() {
    let evaluation = Evaluation::of(Task::Regression, &[1.5, 2.0], &[1.0, 3.0]).unwrap();
    let stored = r#"{"kind":"regression","rows":2,"mean_error":-0.25,"error_variance":0.5625,"mean_absolute_error":0.75,"median_absolute_error":0.75,"max_error":1.0,"mean_relative_error":0.41666666666666663,"label_variance":1.0}"#;
    assert_eq!(serde_json::to_string(&evaluation).unwrap(), stored);
    assert_eq!(serde_json::from_str::<Evaluation>(stored).unwrap(), evaluation);
    let forged = |key: &str, value: Value| {
        let mut json = serde_json::to_value(&evaluation).unwrap();
        json[key] = value;
        serde_json::from_value::<Evaluation>(json).unwrap_err().to_string()
    };
    let of = |what| format!("the stored evaluation contradicts itself: {what}");
    assert_eq!(forged("rows", 0.into()), of("no rows"));
    assert_eq!(forged("error_variance", (-1.0).into()), of("an error below 0 or not finite"));
    assert_eq!(forged("weight", 0.into()), of("a weight that is not above 0"));
    let spread = of("labels with a spread that is not above 0");
    assert_eq!(forged("label_variance", 0.into()), spread);
}

#[test]
fn weights_that_are_none_are_refused_with_their_row() {
    let of = |weights: &[f64]| {
        let found = Evaluation::weighted(Task::binary(), &[0.1, 0.9], &[0.0, 1.0], weights);
        found.unwrap_err().to_string()
    };
    assert_eq!(of(&[1.0]), "1 weights for 2 rows");
    assert_eq!(of(&[1.0, f64::NAN]), "row 1: weight NaN is not between 0 and 1e100");
    assert_eq!(of(&[f64::INFINITY, 1.0]), "row 0: weight inf is not between 0 and 1e100");
    assert_eq!(of(&[0.0, 0.0]), "no rows to evaluate");
}

#[test]
fn a_certain_error_costs_the_clip_and_not_infinity() {
    for (score, label) in [(0.0, 1.0), (1.0, 0.0)] {
        let cost = evaluate(&[score], &[label]).get(Metric::LogLoss).unwrap();
        assert!(oracle::close(cost, 52.0 * std::f64::consts::LN_2, RELATIVE), "{cost}");
    }
    assert!(evaluate(&[1.0], &[1.0]).get(Metric::LogLoss).unwrap() >= 0.0);
}

#[test]
fn what_is_no_evaluation_is_refused_with_its_row() {
    let of = |scores: &[f64], labels: &[f64]| {
        Evaluation::of(Task::binary(), scores, labels).unwrap_err().to_string()
    };
    assert_eq!(of(&[0.1, 0.2], &[1.0]), "2 scores for 1 labels");
    assert_eq!(of(&[], &[]), "no rows to evaluate");
    assert_eq!(
        of(&[0.1, f64::INFINITY], &[1.0, 0.0]),
        "row 1: score inf is no probability between 0 and 1"
    );
    let of_numbers = |scores: &[f64], labels: &[f64]| {
        Evaluation::of(Task::Regression, scores, labels).unwrap_err().to_string()
    };
    assert_eq!(of_numbers(&[f64::INFINITY], &[1.0]), "row 0: score inf is no finite number");
    assert_eq!(of_numbers(&[1.0], &[f64::NAN]), "row 0: label NaN is no finite number");
    assert_eq!(of(&[1.5], &[1.0]), "row 0: score 1.5 is no probability between 0 and 1");
    assert_eq!(of(&[0.5], &[f64::NAN]), "row 0: label NaN is neither 0 nor 1");
}

#[test]
fn a_forged_file_is_refused() {
    let json = serde_json::to_value(evaluate(&[0.8, 0.2], &[1.0, 0.0])).unwrap();
    let forged = |key: &str, value: Value| {
        let mut json = json.clone();
        json[key] = value;
        serde_json::from_value::<Evaluation>(json).unwrap_err().to_string()
    };
    let of = |what| format!("the stored evaluation contradicts itself: {what}");
    assert_eq!(forged("roc_auc", Value::Null), of("roc_auc belongs to two classes"));
    assert_eq!(forged("roc_auc", 1.5.into()), of("roc_auc beyond 0 to 1"));
    assert_eq!(forged("log_loss", (-1.0).into()), of("log_loss below 0 or not finite"));
    assert_eq!(forged("brier", 7.0.into()), of("brier beyond 0 to 1"));
    assert_eq!(forged("ece", 7.0.into()), of("ece beyond 0 to 1"));
    assert_eq!(forged("threshold", 7.0.into()), of("threshold beyond 0 to 1"));
    let precision = of("average_precision beyond 0 to 1");
    assert_eq!(forged("average_precision", 7.0.into()), precision);
    let mut sums = serde_json::to_value(WeightedConfusion::default()).unwrap();
    let weights = of("weights that do not belong to the counts");
    assert_eq!(forged("weighted", sums.clone()), weights);
    sums["true_positives"] = 1.0.into();
    sums["true_negatives"] = (-1.0).into();
    assert_eq!(forged("weighted", sums), weights);
    let none = serde_json::to_value(Confusion::default()).unwrap();
    assert_eq!(forged("confusion", none), of("no rows"));
    let full = Confusion { true_positives: u64::MAX, true_negatives: 1, ..Confusion::default() };
    let full = serde_json::to_value(full).unwrap();
    assert_eq!(forged("confusion", full), of("more rows than can be counted"));
}

fn labelled_rows() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    prop::collection::vec((0.0..=1.0_f64, any::<bool>()), 1..80)
        .prop_map(|rows| rows.into_iter().map(|(s, y)| (s, f64::from(u8::from(y)))).unzip())
}

proptest! {
    #[test]
    fn the_stored_form_round_trips_bit_for_bit((scores, labels) in labelled_rows()) {
        let evaluation = evaluate(&scores, &labels);
        let json = serde_json::to_string(&evaluation).unwrap();
        let back: Evaluation = serde_json::from_str(&json).unwrap();
        for &metric in evaluation.metrics() {
            let bits = |e: &Evaluation| e.get(metric).map(f64::to_bits);
            prop_assert_eq!(bits(&back), bits(&evaluation));
        }
        prop_assert_eq!(back, evaluation);
    }

    #[test]
    fn the_order_of_rows_does_not_touch_the_counts((scores, labels) in labelled_rows()) {
        let reversed = |values: &[f64]| values.iter().rev().copied().collect::<Vec<_>>();
        let (there, back) =
            (evaluate(&scores, &labels), evaluate(&reversed(&scores), &reversed(&labels)));
        for metric in
            [Metric::RocAuc, Metric::AveragePrecision, Metric::F1, Metric::Accuracy, Metric::Mcc]
        {
            prop_assert_eq!(there.get(metric), back.get(metric));
        }
    }

    #[test]
    fn every_metric_is_within_its_range((scores, labels) in labelled_rows()) {
        let classified = evaluate(&scores, &labels);
        let numbers: Vec<f64> = labels.iter().map(|y| (y - 0.3) * 1e3).collect();
        let regressed = Evaluation::of(Task::Regression, &scores, &numbers).unwrap();
        for evaluation in [&classified, &regressed] {
            for &metric in evaluation.metrics() {
                let (low, high) = metric.range();
                if let Some(value) = evaluation.get(metric) {
                    prop_assert!((low..=high).contains(&value), "{}: {}", metric, value);
                }
            }
        }
        prop_assert!(Metric::of(Task::Regression).iter().all(|m| classified.get(*m).is_none()));
        prop_assert!(Metric::of(Task::binary()).iter().all(|m| regressed.get(*m).is_none()));
    }

    #[test]
    fn a_weight_of_two_is_two_rows(
        rows in prop::collection::vec((0_u8..=20, any::<bool>(), 0_usize..4), 1..40)
    ) {
        let of = |row: &(u8, bool, usize)| (f64::from(row.0) / 20.0, f64::from(u8::from(row.1)));
        let (scores, labels): (Vec<f64>, Vec<f64>) = rows.iter().map(of).unzip();
        let weights: Vec<f64> = rows.iter().map(|row| float(row.2)).collect();
        let (many, their): (Vec<f64>, Vec<f64>) =
            rows.iter().flat_map(|row| std::iter::repeat_n(of(row), row.2)).unzip();
        for task in [Task::binary(), Task::Regression] {
            let weighted = Evaluation::weighted(task, &scores, &labels, &weights);
            let repeated = Evaluation::of(task, &many, &their);
            prop_assert_eq!(weighted.is_ok(), repeated.is_ok());
            let (Ok(weighted), Ok(repeated)) = (weighted, repeated) else { continue };
            prop_assert_eq!(weighted.weight(), Some(float(many.len())));
            for &metric in weighted.metrics() {
                match (weighted.get(metric), repeated.get(metric)) {
                    (Some(a), Some(b)) => {
                        prop_assert!((a - b).abs() < RELATIVE, "{}: {} {}", metric, a, b);
                    }
                    (a, b) => prop_assert_eq!(a, b, "{}", metric),
                }
            }
            let json = serde_json::to_string(&weighted).unwrap();
            prop_assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), weighted);
        }
    }

    #[test]
    fn the_unit_of_the_weights_does_not_matter(
        (scores, labels) in labelled_rows(), unit in prop::sample::select(vec![1e-90, 0.3, 1e90])
    ) {
        let all = vec![unit; scores.len()];
        let weighted = Evaluation::weighted(Task::binary(), &scores, &labels, &all).unwrap();
        let plain = evaluate(&scores, &labels);
        for &metric in plain.metrics() {
            match (weighted.get(metric), plain.get(metric)) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < RELATIVE, "{}", metric),
                (a, b) => prop_assert_eq!(a, b, "{}", metric),
            }
        }
    }

    #[test]
    fn turning_every_score_around_turns_the_area_around((scores, labels) in labelled_rows()) {
        // Powers of two: 1 - s must be exact, or ties could appear.
        let coarse = |s: &f64| (s * 1024.0).round() / 1024.0;
        let scores: Vec<f64> = scores.iter().map(coarse).collect();
        let turned: Vec<f64> = scores.iter().map(|s| 1.0 - s).collect();
        let area = |scores: &[f64]| evaluate(scores, &labels).get(Metric::RocAuc);
        if let (Some(there), Some(back)) = (area(&scores), area(&turned)) {
            prop_assert!(oracle::close(there + back, 1.0, RELATIVE));
        }
    }
}
