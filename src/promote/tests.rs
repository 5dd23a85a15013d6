//! The rules, the default policy and the record, on candidates with chosen values.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::Task;
use crate::registry::VersionId;

/// An evaluation of 10,000 rows in which positive and negative scores are laid out so that ROC-AUC
/// is `ten_thousandths / 10,000` exactly.
fn with_auc(ten_thousandths: usize) -> Evaluation {
    // 100 positives at 0.5 against 100 negatives: those below count, those above do not.
    let (full, rest) = (ten_thousandths / 100, ten_thousandths % 100);
    let mut scores: Vec<f64> = (0..100).map(|n| if n < full { 0.25 } else { 0.75 }).collect();
    if rest > 0 {
        scores[full] = 0.5;
    }
    let mut labels = vec![0.0; 100];
    for n in 0..100 {
        scores.push(if n < rest { 0.625 } else { 0.375 });
        labels.push(1.0);
    }
    Evaluation::of(Task::binary(), &scores, &labels).unwrap()
}

fn version(number: u64) -> VersionId {
    VersionId::new(number).unwrap()
}

fn latency(micros: u64) -> Latency {
    Latency::from_samples(&[Duration::from_micros(micros)]).unwrap()
}

fn candidate(number: u64, auc: usize, micros: u64) -> Candidate {
    Candidate::new(version(number), Validation::Passed)
        .evaluation(with_auc(auc))
        .latency(latency(micros))
}

fn decide(policy: impl PromotionPolicy, challenger: &Candidate, champion: &Candidate) -> Decision {
    policy.decide(Candidates::new(challenger, Champion::Serving(champion), &[]))
}

fn sentence(
    policy: impl PromotionPolicy,
    challenger: &Candidate,
    champion: Champion<'_>,
) -> String {
    let candidates = Candidates::new(challenger, champion, &[]);
    policy.decide(candidates).sentence(candidates, Metric::RocAuc)
}

#[test]
fn the_sentence_of_the_original() {
    let (champion, challenger) = (candidate(2, 8414, 200), candidate(3, 8456, 190));
    assert_eq!(
        sentence(OriginalPolicy::new(), &challenger, Champion::Serving(&champion)),
        "Challenger v3 outperforms champion v2. roc_auc: 0.8456 vs 0.8414 (+0.0042). \
         Validation passed. Latency OK (0.95x)."
    );
}

#[test]
fn a_rejection_names_every_criterion_that_was_not_met() {
    let champion = candidate(2, 8414, 200);
    let mut challenger = candidate(3, 8415, 262);
    challenger.validation = Validation::Failed { errors: 1 };
    assert_eq!(
        sentence(OriginalPolicy::new(), &challenger, Champion::Serving(&champion)),
        "Challenger v3 does not replace champion v2: metric_improvement, validation_passed, \
         latency_acceptable not met. roc_auc: 0.8415 vs 0.8414 (+0.0001, below the required \
         improvement of 0.0010). Validation failed with 1 error. Latency too high (1.31x, at most \
         1.20x allowed)."
    );
    let decision = decide(OriginalPolicy::new(), &challenger, &champion);
    assert_eq!(decision.failures().count(), 3);
}

#[test]
fn exactly_the_threshold_is_enough() {
    let policy = OriginalPolicy::new();
    for (challenger, champion) in [(9632, 9622), (8450, 8440), (12, 2), (10_000, 9_990)] {
        let (challenger, champion) = (candidate(2, challenger, 120), candidate(1, champion, 100));
        let decision = decide(policy, &challenger, &champion);
        assert!(decision.promote, "{decision:?}");
        assert_eq!(decision.reasons[2].sentence, "Latency OK (1.20x).");
    }
    let decision = decide(policy, &candidate(2, 8445, 100), &candidate(1, 8436, 100));
    assert_eq!(decision.met("metric_improvement"), Some(false));
    assert_eq!(decision.reasons[0].limit, Some(0.001));
    // 120.001 / 100: the sentence shows as many digits as it takes.
    let nanos = |n| Latency::from_samples(&[Duration::from_nanos(n)]).unwrap();
    let (champion, challenger) = (candidate(1, 8436, 1), candidate(2, 8446, 1));
    let (champion, challenger) =
        (champion.latency(nanos(100_000)), challenger.latency(nanos(120_001)));
    assert_eq!(
        decide(policy, &challenger, &champion).reasons[2].sentence,
        "Latency too high (1.20001x, at most 1.20000x allowed)."
    );
}

#[test]
fn a_near_miss_looks_like_one() {
    // 0.00096 would be printed as 0.0010, and 0.0010 is enough.
    let near = MinImprovement { metric: Metric::RocAuc, at_least: 0.001_04 };
    let decision = decide(near, &candidate(2, 8446, 1), &candidate(1, 8436, 1));
    assert_eq!(
        decision.reasons[0].sentence,
        "roc_auc: 0.84460 vs 0.84360 (+0.00100, below the required improvement of 0.00104)."
    );
}

#[test]
fn a_metric_that_should_fall_says_so() {
    let score = |score: f64| Evaluation::of(Task::binary(), &[score; 2], &[1.0; 2]).unwrap();
    let with = |number, value| {
        Candidate::new(version(number), Validation::Passed).evaluation(score(value))
    };
    let rule = MinImprovement { metric: Metric::Brier, at_least: 0.01 };
    let better = decide(rule, &with(2, 0.75), &with(1, 0.5));
    assert!(better.promote);
    assert_eq!(better.reasons[0].observed, Some(0.1875));
    assert_eq!(better.reasons[0].sentence, "brier: 0.0625 vs 0.2500 (-0.1875, lower is better).");
    let worse = decide(rule, &with(2, 0.5), &with(1, 0.75));
    assert_eq!(
        worse.reasons[0].sentence,
        "brier: 0.2500 vs 0.0625 (+0.1875, lower is better, below the required improvement of \
         0.0100)."
    );
}

#[test]
fn the_unknown_never_promotes_and_is_named() {
    let known = candidate(2, 9_000, 100);
    let bare = Candidate::new(version(3), Validation::NotDone);
    let policy = OriginalPolicy::new().strict();
    let of = |challenger: &Candidate, champion: &Candidate| {
        let decision = decide(policy, challenger, champion);
        assert!(!decision.promote);
        decision.reasons.into_iter().map(|reason| reason.sentence).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&bare, &known),
        [
            "roc_auc is unknown for challenger v3.",
            "Validation was not done.",
            "Latency is unknown: challenger v3 was not measured.",
            "The interval of the roc_auc improvement is unknown.",
        ]
    );
    let champion_unknown = of(&known, &bare);
    assert_eq!(champion_unknown[0], "roc_auc is unknown for champion v3.");
    assert_eq!(champion_unknown[2], "Latency is unknown: champion v3 was not measured.");
    assert_eq!(of(&bare, &bare)[0], "roc_auc is unknown for champion v3 and challenger v3.");
    let instant = candidate(1, 8_000, 0);
    assert_eq!(of(&known, &instant)[2], "Latency is unknown: champion v1 took no measurable time.");
    // One class: the metric does not exist, which is no 0 that could be beaten.
    let one_class = Evaluation::of(Task::binary(), &[0.1], &[0.0]).unwrap();
    let champion = candidate(1, 0, 100).evaluation(one_class);
    assert!(!decide(OriginalPolicy::new(), &known, &champion).promote);
}

#[test]
fn evaluations_of_different_rows_are_not_compared() {
    let champion = candidate(1, 8_000, 100);
    let other = Evaluation::of(Task::binary(), &[0.9, 0.1], &[1.0, 0.0]).unwrap();
    let challenger = candidate(2, 0, 100).evaluation(other);
    let decision = decide(OriginalPolicy::new(), &challenger, &champion);
    assert!(!decision.promote);
    assert_eq!(
        decision.reasons[0].sentence,
        "roc_auc is not comparable: champion v1 and challenger v2 were evaluated on different rows."
    );
    assert_eq!(decision.reasons[0].observed, None);
}

#[test]
fn limits_that_are_no_numbers_are_never_met() {
    let (champion, challenger) = (candidate(1, 8_000, 100), candidate(2, 9_000, 1));
    let nan = MinImprovement { metric: Metric::RocAuc, at_least: f64::NAN };
    let decision = decide(nan, &challenger, &champion);
    assert!(!decision.promote && decision.reasons[0].limit.is_none());
    assert!(!decide(MaxLatencyRatio(f64::NAN), &challenger, &champion).promote);
}

#[test]
fn the_first_model_stands_on_its_own() {
    let policy = OriginalPolicy::new().strict();
    let first = candidate(1, 8_456, 120);
    assert_eq!(
        sentence(policy, &first, Champion::None),
        "First model v1 promoted: the registry has no champion. roc_auc: 0.8456. \
         Validation passed. Latency 0.120 ms. No champion to compare roc_auc with."
    );
    let mut unvalidated = first;
    unvalidated.validation = Validation::NotDone;
    assert_eq!(
        sentence(policy, &unvalidated, Champion::None),
        "First model v1 is not promoted: validation_passed not met. roc_auc: 0.8456. \
         Validation was not done. Latency 0.120 ms. No champion to compare roc_auc with."
    );
    // Validated data and a model that could not be evaluated: not known to be any good.
    let blind = Candidate::new(version(1), Validation::Passed);
    assert!(!policy.decide(Candidates::new(&blind, Champion::None, &[])).promote);
}

#[test]
fn the_interval_must_lie_above_zero_and_have_a_width() {
    let rule = IntervalAboveZero { metric: Metric::Accuracy };
    let (champion, challenger) = (candidate(1, 8_000, 1), candidate(2, 9_000, 1));
    let decide = |champion_scores: &[f64], challenger_scores: &[f64]| {
        let labels = vec![1.0; champion_scores.len()];
        let rows =
            PairedRows::new(Task::binary(), champion_scores, challenger_scores, &labels).unwrap();
        let differences = [rows.difference(Metric::Accuracy, 0.999).unwrap()];
        rule.decide(Candidates::new(&challenger, Champion::Serving(&champion), &differences))
    };
    let split =
        |right: usize| (0..100).map(|n| if n < right { 0.9 } else { 0.1 }).collect::<Vec<f64>>();
    let clear = decide(&split(40), &split(80));
    assert!(clear.promote);
    assert_eq!(
        clear.reasons[0].sentence,
        "accuracy improvement between +0.2380 and +0.5620 (99.9 % interval of 100 rows)."
    );
    assert!(!decide(&split(40), &split(42)).promote);
    assert!(!decide(&split(80), &split(40)).promote);
    assert!(!decide(&split(40), &split(40)).promote);
    let flat = decide(&[0.1, 0.1], &[0.9, 0.9]);
    assert!(!flat.promote);
    assert_eq!(
        flat.reasons[0].sentence,
        "accuracy improvement between +1.0000 and +1.0000 (99.9 % interval of 2 rows), which \
         shows no spread and so proves nothing."
    );
}

#[test]
fn replacing_is_not_outperforming() {
    let (champion, challenger) = (candidate(1, 9_000, 1), candidate(2, 8_000, 1));
    assert_eq!(
        sentence(ValidationPassed, &challenger, Champion::Serving(&champion)),
        "Challenger v2 replaces champion v1. Validation passed."
    );
}

#[test]
fn one_alternative_is_enough_and_the_other_stays_on_record() {
    let policy = MinImprovement { metric: Metric::RocAuc, at_least: 0.5 }.or(MaxLatencyRatio(1.0));
    let (champion, challenger) = (candidate(1, 8_000, 2), candidate(2, 9_000, 1));
    let candidates = Candidates::new(&challenger, Champion::Serving(&champion), &[]);
    let decision = policy.decide(candidates);
    assert!(decision.promote);
    let record = DecisionRecord::new(
        "1",
        "2026-03-01T12:00:00Z".parse().unwrap(),
        "m".parse().unwrap(),
        candidates,
        &decision,
        Metric::RocAuc,
    );
    assert!(record.rejection_reasons.is_empty());
    assert_eq!(record.metric_improvement, Some(false));
    assert_eq!(record.reasons.len(), 2);
}

/// A candidate whose predictions of the labels 1 to 100 are all off by `error`.
fn off_by(number: u64, error: f64) -> Candidate {
    let labels: Vec<f64> = (1..=100).map(f64::from).collect();
    let scores: Vec<f64> = labels.iter().map(|label| label + error).collect();
    let evaluation = Evaluation::of(Task::Regression, &scores, &labels).unwrap();
    Candidate::new(version(number), Validation::Passed)
        .evaluation(evaluation)
        .latency(latency(number))
}

#[test]
fn the_policy_of_a_regression() {
    let policy = OriginalPolicy::new()
        .primary_metric(Metric::Rmse)
        .min_relative_improvement(0.0625)
        .max_latency_ratio(2.0);
    let (champion, better, same) = (off_by(1, 2.0), off_by(2, -1.875), off_by(2, 1.984375));
    let of = |challenger: &Candidate| {
        let candidates = Candidates::new(challenger, Champion::Serving(&champion), &[]);
        let decision = policy.decide(candidates);
        (decision.promote, decision.sentence(candidates, Metric::Rmse))
    };
    // Exactly what is asked for.
    assert_eq!(
        of(&better),
        (
            true,
            "Challenger v2 outperforms champion v1. rmse: 1.8750 vs 2.0000 (-6.25 %, lower is \
             better). Validation passed. Latency OK (2.00x)."
                .to_owned()
        )
    );
    assert_eq!(
        of(&same),
        (
            false,
            "Challenger v2 does not replace champion v1: metric_improvement not met. rmse: 1.9844 \
             vs 2.0000 (-0.78 %, lower is better, below the required improvement of 6.25 %). \
             Validation passed. Latency OK (2.00x)."
                .to_owned()
        )
    );
    let reason =
        &policy.decide(Candidates::new(&same, Champion::Serving(&champion), &[])).reasons[0];
    assert_eq!((reason.observed, reason.limit), (Some(0.0078125), Some(0.0625)));
    let worse = off_by(2, 3.0);
    assert!(of(&worse).1.contains("rmse: 3.0000 vs 2.0000 (+50.00 %, lower is better, below"));
    // In the unit of the label it works as for every metric.
    let absolute = MinImprovement { metric: Metric::Mae, at_least: 0.1 };
    assert!(decide(absolute, &better, &champion).promote);
    assert!(!decide(absolute, &same, &champion).promote);
    assert!(
        decide(MinImprovement { metric: Metric::R2, at_least: 0.0 }, &better, &champion).promote
    );
    assert!(
        !decide(MinImprovement { metric: Metric::R2, at_least: 0.0 }, &worse, &champion).promote
    );
}

#[test]
fn a_share_of_nothing_is_unknown() {
    let (perfect, other) = (off_by(1, 0.0), off_by(2, 1.0));
    let rule = MinRelativeImprovement { metric: Metric::Rmse, at_least: 0.0 };
    for challenger in [&other, &off_by(3, 0.0)] {
        let decision = decide(rule, challenger, &perfect);
        assert!(!decision.promote);
        assert_eq!(
            decision.reasons[0].sentence,
            "rmse of champion v1 is 0, of which no share can be taken."
        );
        assert_eq!(decision.reasons[0].observed, None);
    }
    let nan = MinRelativeImprovement { metric: Metric::Rmse, at_least: f64::NAN };
    assert!(!decide(nan, &off_by(2, 0.5), &other).promote);
    // R2 of a bad champion is negative: the share is of its size.
    let metric = Metric::R2;
    let (bad, less_bad) = (off_by(1, 100.0), off_by(2, 90.0));
    let (before, after) = (bad.metric(metric).unwrap(), less_bad.metric(metric).unwrap());
    assert!(before < after && after < 0.0);
    let share = (after - before) / -before;
    assert!(decide(MinRelativeImprovement { metric, at_least: share }, &less_bad, &bad).promote);
    let more = MinRelativeImprovement { metric, at_least: share + 0.01 };
    assert!(!decide(more, &less_bad, &bad).promote);
}

#[test]
fn a_metric_of_another_task_never_promotes_and_says_what_does_measure() {
    let (champion, challenger) = (off_by(1, 2.0), off_by(2, 1.0));
    let decision = decide(OriginalPolicy::new(), &challenger, &champion);
    assert!(!decision.promote);
    let known = "what does: rmse, mae, r2, median_absolute_error, max_error, mape.";
    assert_eq!(
        decision.reasons[0].sentence,
        format!("roc_auc does not measure champion v1 and challenger v2; {known}")
    );
    let candidates = Candidates::new(&challenger, Champion::None, &[]);
    assert_eq!(
        OriginalPolicy::new().decide(candidates).reasons[0].sentence,
        format!("roc_auc does not measure challenger v2; {known}")
    );
}

#[test]
fn regressions_on_other_labels_and_rows_of_other_weights_are_not_compared() {
    let of = |labels: &[f64], weights: Option<&[f64]>| {
        let scores = vec![1.0; labels.len()];
        let evaluation = match weights {
            Some(weights) => Evaluation::weighted(Task::Regression, &scores, labels, weights),
            None => Evaluation::of(Task::Regression, &scores, labels),
        };
        Candidate::new(version(1), Validation::Passed).evaluation(evaluation.unwrap())
    };
    let labels = [0.1, 0.7, 0.4, 1e6];
    let base = of(&labels, None);
    let comparable = |other: &Candidate| {
        Candidates::new(other, Champion::Serving(&base), &[]).improvement(Metric::Rmse).is_some()
    };
    assert!(comparable(&of(&[1e6, 0.4, 0.7, 0.1], None)), "another order");
    assert!(!comparable(&of(&[0.1, 0.7, 0.4, 1.001e6], None)));
    assert!(!comparable(&of(&[0.1, 0.7, 0.4], None)));
    assert!(!comparable(&of(&[0.1; 4], None)));
    assert!(!comparable(&of(&labels, Some(&[1.0; 4]))), "weights say that rows do not count alike");
    let heavy = of(&labels, Some(&[2.0; 4]));
    let light = of(&labels, Some(&[1.0; 4]));
    let candidates = Candidates::new(&heavy, Champion::Serving(&light), &[]);
    assert_eq!(candidates.improvement(Metric::Rmse), None);
}

#[test]
fn the_interval_of_an_rmse_that_falls_lies_above_zero() {
    let labels: Vec<f64> = (0..200).map(f64::from).collect();
    let scores = |size: f64| -> Vec<f64> {
        // Errors of both signs and several sizes.
        labels.iter().map(|label| label + size * (label % 7.0 - 3.0)).collect()
    };
    let rows = |before, after| {
        PairedRows::new(Task::Regression, &scores(before), &scores(after), &labels).unwrap()
    };
    let rule = IntervalAboveZero { metric: Metric::Rmse };
    let decide = |rows: &PairedRows| {
        let of = |number, evaluation: &Evaluation| {
            Candidate::new(version(number), Validation::Passed).evaluation(evaluation.clone())
        };
        let (champion, challenger) = (of(1, rows.champion()), of(2, rows.challenger()));
        let differences = [rows.difference(Metric::Rmse, 0.95).unwrap()];
        rule.decide(Candidates::new(&challenger, Champion::Serving(&champion), &differences))
    };
    assert!(decide(&rows(1.0, 0.8)).promote, "lower is better");
    assert!(!decide(&rows(0.8, 1.0)).promote);
    assert!(!decide(&rows(0.8, 0.8)).promote);
}

fn record(challenger: &Candidate, champion: Champion<'_>) -> DecisionRecord {
    let candidates = Candidates::new(challenger, champion, &[]);
    let decision = OriginalPolicy::new().decide(candidates);
    DecisionRecord::new(
        "a1b2c3d4e5f6",
        "2026-03-01T12:00:00Z".parse().unwrap(),
        "churn-classifier".parse().unwrap(),
        candidates,
        &decision,
        Metric::RocAuc,
    )
    .champion_run_id("run-2")
    .challenger_run_id("run-3")
    .comparison_duration(Duration::from_millis(1500))
}

#[test]
fn the_record_has_the_fields_of_the_original() {
    let (champion, mut challenger) = (candidate(2, 8_414, 200), candidate(3, 8_456, 300));
    challenger.validation = Validation::NotDone;
    let record =
        record(&challenger, Champion::Serving(&champion)).trigger_type("drift").drift_run_id("d-1");
    let json = serde_json::to_value(&record).unwrap();
    let expected = json!({
        "decision_id": "a1b2c3d4e5f6",
        "timestamp": "2026-03-01T12:00:00Z",
        "trigger_type": "drift",
        "drift_run_id": "d-1",
        "champion_model_name": "churn-classifier",
        "champion_version": "2",
        "champion_run_id": "run-2",
        "challenger_model_name": "churn-classifier",
        "challenger_version": "3",
        "challenger_run_id": "run-3",
        "validation_passed": null,
        "metric_improvement": true,
        "latency_acceptable": false,
        "primary_metric_name": "roc_auc",
        "primary_metric_improvement": 0.8456 - 0.8414,
        "promoted": false,
        "rejection_reasons": [
            "Validation was not done.",
            "Latency too high (1.50x, at most 1.20x allowed).",
        ],
        "comparison_duration_seconds": 1.5,
        "differences": [],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&json[key], value, "{key}");
    }
    let metrics = json["champion_metrics"].as_object().unwrap();
    assert_eq!(metrics["roc_auc"], json!(0.8414));
    assert_eq!(metrics["avg_latency_ms"], json!(0.2));
    assert_eq!(
        (&metrics["validation_passed"], &metrics["validation_errors"]),
        (&json!(true), &json!(0))
    );
    assert!(json["challenger_metrics"]["validation_errors"].is_null());
    assert_eq!(serde_json::from_value::<DecisionRecord>(json).unwrap(), record);
}

#[test]
fn without_a_champion_everything_of_it_is_null() {
    let record = record(&candidate(1, 8_456, 300), Champion::None);
    let json = serde_json::to_value(&record).unwrap();
    let absent = [
        "champion_model_name",
        "champion_version",
        "champion_run_id",
        "champion_metrics",
        "metric_improvement",
        "latency_acceptable",
        "primary_metric_improvement",
        "trigger_type",
        "drift_run_id",
    ];
    for key in absent {
        assert_eq!(json.get(key), Some(&Value::Null), "{key}");
    }
    assert_eq!(json["promoted"], true);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<DecisionRecord>(&text).unwrap(), record);
}

proptest! {
    #[test]
    fn the_default_is_the_conjunction_of_its_criteria(
        before in 0_usize..=10_000, after in 0_usize..=10_000,
        slow in 1_u64..300, fast in 1_u64..300, errors in 0_u64..2,
    ) {
        let champion = candidate(1, before, fast);
        let mut challenger = candidate(2, after, slow);
        if errors > 0 {
            challenger.validation = Validation::Failed { errors };
        }
        let decision = decide(OriginalPolicy::new(), &challenger, &champion);
        // The same in integers.
        let wanted = after >= before + 10 && errors == 0 && slow * 10 <= fast * 12;
        prop_assert_eq!(decision.promote, wanted);
        prop_assert_eq!(decision.reasons.len(), 3);
        prop_assert_eq!(decision.promote, decision.failures().count() == 0);
    }
}
