//! What the trainers reach on real customers.

use std::path::PathBuf;
use std::sync::Arc;

use super::boosted::Margin;
use super::sum::logistic;
use super::{AdaBoost, LogisticRegression};
use crate::model::{Folds, ModelFormat as _, Task, Trainer as _, out_of_fold_scores};
use crate::promote::{Metric, PairedRows};
use crate::record::{Dataset, Table, TableBuilder};
use crate::schema::{Feature, FeatureSchema};
use crate::validate::Violations;

/// 5-fold ROC-AUC that a logistic regression should reach on the whole file.
const REFERENCE_AUC: f64 = 0.845;

/// How far folds drawn otherwise move it.
const AUC_TOLERANCE: f64 = 0.003;

/// Measured: 0.4172 to 0.4180, by the folds.
const LARGEST_LOG_LOSS: f64 = 0.420;

fn file() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/telco-customer-churn.csv");
    let path =
        std::env::var_os("PMMDS_TEST_TELCO_CSV").map_or_else(|| beside.into(), PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: no Telco file at {}; PMMDS_TEST_TELCO_CSV may name another",
        path.display()
    );
    None
}

/// `SeniorCitizen` -> `senior_citizen`, `StreamingTV` -> `streaming_tv`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = c.is_lowercase();
        snake.extend(c.to_lowercase());
    }
    snake
}

fn schema() -> Arc<FeatureSchema> {
    const YES_NO: [&str; 2] = ["Yes", "No"];
    let add_on = |name| Feature::categorical(name, ["Yes", "No", "No internet service"]);
    let yes_no = |name| Feature::categorical(name, YES_NO);
    let payments = [
        "Electronic check",
        "Mailed check",
        "Bank transfer (automatic)",
        "Credit card (automatic)",
    ];
    let features = [
        Feature::categorical("gender", ["Male", "Female"]),
        Feature::integer("senior_citizen").range(0.0, 1.0),
        yes_no("partner"),
        yes_no("dependents"),
        Feature::integer("tenure").range(0.0, 100.0),
        yes_no("phone_service"),
        Feature::categorical("multiple_lines", ["Yes", "No", "No phone service"]),
        Feature::categorical("internet_service", ["DSL", "Fiber optic", "No"]),
        add_on("online_security"),
        add_on("online_backup"),
        add_on("device_protection"),
        add_on("tech_support"),
        add_on("streaming_tv"),
        add_on("streaming_movies"),
        Feature::categorical("contract", ["Month-to-month", "One year", "Two year"]),
        yes_no("paperless_billing"),
        Feature::categorical("payment_method", payments),
        Feature::numeric("monthly_charges").range(0.0, 200.0),
        Feature::numeric("total_charges").range(0.0, 10_000.0).nullable(),
    ];
    Arc::new(FeatureSchema::new(features).unwrap())
}

fn telco() -> Option<Dataset> {
    let mut reader = ::csv::Reader::from_path(file()?).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(snake_case).collect();
    let mut table = TableBuilder::new(names).unwrap();
    for record in reader.records() {
        table.push(record.unwrap().iter()).unwrap();
    }
    let table: Table = table.build();
    let mut out = Violations::new();
    let data =
        Dataset::from_table(&schema(), &table, "churn", "Yes", Some("customer_id"), &mut out);
    assert_eq!(out.errors().count(), 0);
    Some(data.unwrap())
}

#[expect(clippy::cast_precision_loss, reason = "thousands of rows")]
fn count(rows: usize) -> f64 {
    rows as f64
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let rows = count(values.len());
    values.sum::<f64>() / rows
}

/// Share of pairs of a positive and a negative row that the scores put in order, ties half.
fn roc_auc(scores: &[f64], labels: &[f64]) -> f64 {
    let of = |class: f64| {
        let mut scores: Vec<f64> = scores
            .iter()
            .zip(labels)
            .filter(|(_, label)| label.total_cmp(&class).is_eq())
            .map(|(score, _)| *score)
            .collect();
        scores.sort_by(f64::total_cmp);
        scores
    };
    let (positive, negative) = (of(1.0), of(0.0));
    let wins = positive.iter().map(|score| {
        let below = negative.partition_point(|x| x < score);
        let not_above = negative.partition_point(|x| x <= score);
        f64::midpoint(count(below), count(not_above))
    });
    mean(wins) / count(negative.len())
}

fn log_loss(scores: &[f64], labels: &[f64]) -> f64 {
    mean(scores.iter().zip(labels).map(|(p, y)| -(if *y > 0.5 { p.ln() } else { (-p).ln_1p() })))
}

/// One of ten bins of equal width.
fn bin(score: f64) -> usize {
    (1..10).filter(|edge| score >= f64::from(*edge) / 10.0).count()
}

/// Expected calibration error over the ten bins: mean distance of score and outcome, per row.
fn calibration_error(scores: &[f64], labels: &[f64]) -> f64 {
    let mut gaps = [0.0; 10];
    scores.iter().zip(labels).for_each(|(score, label)| gaps[bin(*score)] += score - label);
    gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / count(scores.len())
}

/// What [`calibration_error`] would be on average if every score were the true probability.
fn calibration_error_by_chance(scores: &[f64]) -> f64 {
    let mut variances = [0.0; 10];
    scores.iter().for_each(|score| variances[bin(*score)] += score * (1.0 - score));
    let gaps: f64 = variances.iter().map(|v: &f64| (v * 2.0 / std::f64::consts::PI).sqrt()).sum();
    gaps / count(scores.len())
}

#[test]
fn cross_validated_on_real_customers() {
    let Some(data) = telco() else { return };
    assert_eq!(data.rows(), 7_043);
    let trainer = LogisticRegression::default();
    let scores = out_of_fold_scores(&trainer, &data, Folds::new(5).unwrap(), &()).unwrap();
    let auc = roc_auc(&scores, data.labels());
    let (loss, ece) = (log_loss(&scores, data.labels()), calibration_error(&scores, data.labels()));
    let chance = calibration_error_by_chance(&scores);
    eprintln!(
        "telco, 5 folds: ROC-AUC {auc:.4}, log loss {loss:.4}, ECE {ece:.4} (chance {chance:.4})"
    );
    assert!((auc - REFERENCE_AUC).abs() <= AUC_TOLERANCE, "ROC-AUC {auc}");
    assert!(loss <= LARGEST_LOG_LOSS, "log loss {loss}");
    assert!(ece <= 2.0 * chance, "calibration error {ece}, {chance} by chance");
}

#[test]
fn a_batch_and_a_loaded_model_score_real_customers_alike() {
    let Some(data) = telco() else { return };
    let some = data.select(&(0..1_000).collect::<Vec<_>>());
    let trained = LogisticRegression::default().fit(&some, &()).unwrap();
    assert_eq!(trained.params["converged"], "true");
    let loaded = super::LinearFormat.load(&trained.document, data.schema()).unwrap();
    let together = trained.model.score_batch(&data.columns().batch());
    for (row, score) in together.into_iter().enumerate() {
        let row = data.columns().row(row);
        assert_eq!(trained.model.score(&row).to_bits(), score.to_bits());
        assert_eq!(loaded.score(&row).to_bits(), score.to_bits());
    }
}

/// Slope and offset of the log-odds that fit the labels best, by Newton's method (J. Platt, 1999).
fn platt(log_odds: &[f64], labels: &[f64]) -> [f64; 2] {
    let [mut slope, mut offset] = [1.0, 0.0];
    for _ in 0..20 {
        let [mut by_slope, mut by_offset, mut h00, mut h01, mut h11] = [0.0; 5];
        for (z, y) in log_odds.iter().zip(labels) {
            let p = logistic(f64::mul_add(slope, *z, offset));
            let weight = p * (1.0 - p);
            by_slope += (p - y) * z;
            by_offset += p - y;
            h00 += weight * z * z;
            h01 += weight * z;
            h11 += weight;
        }
        let determinant = f64::mul_add(h00, h11, -h01 * h01);
        slope -= f64::mul_add(h11, by_slope, -h01 * by_offset) / determinant;
        offset -= f64::mul_add(h00, by_offset, -h01 * by_slope) / determinant;
    }
    [slope, offset]
}

/// The figures that `LogisticRegression` quotes under *Calibration*.
#[test]
#[ignore = "a measurement, ten seconds in release; run with --ignored --nocapture"]
fn what_platt_scaling_would_change() {
    let Some(data) = telco() else { return };
    let trainer = LogisticRegression::default();
    for seed in 0..6 {
        let folds = Folds::new(5).unwrap().seed(seed);
        let inner = Folds::new(5).unwrap().seed(seed + 1_000);
        let assigned = folds.assign(&data).unwrap();
        let plain = out_of_fold_scores(&trainer, &data, folds, &()).unwrap();
        let log_odds: Vec<f64> = plain.iter().map(|p| (p / (1.0 - p)).ln()).collect();
        let mut scaled = plain.clone();
        for fold in 0..folds.count() {
            let (held, rest): (Vec<usize>, Vec<usize>) =
                (0..data.rows()).partition(|row| assigned[*row] == fold);
            let rest = data.select(&rest);
            let scores = out_of_fold_scores(&trainer, &rest, inner, &()).unwrap();
            let unseen: Vec<f64> = scores.iter().map(|p| (p / (1.0 - p)).ln()).collect();
            let [slope, offset] = platt(&unseen, rest.labels());
            held.iter().for_each(|row| {
                scaled[*row] = logistic(f64::mul_add(slope, log_odds[*row], offset));
            });
        }
        for (name, scores) in [("plain", &plain), ("Platt", &scaled)] {
            let loss = log_loss(scores, data.labels());
            let ece = calibration_error(scores, data.labels());
            eprintln!("seed {seed}, {name}: log loss {loss:.5}, ECE {ece:.5}");
        }
    }
}

/// What boosting as it defaults says out of `folds`, held to the reference.
fn boosted_and_held_to_the_reference(data: &Dataset, folds: Folds) -> Vec<f64> {
    let boosted = out_of_fold_scores(&AdaBoost::default(), data, folds, &()).unwrap();
    let auc = roc_auc(&boosted, data.labels());
    let loss = log_loss(&boosted, data.labels());
    let ece = calibration_error(&boosted, data.labels());
    let chance = calibration_error_by_chance(&boosted);
    eprintln!(
        "telco, 5 folds, boosted: ROC-AUC {auc:.4}, log loss {loss:.4}, ECE {ece:.4} (chance \
         {chance:.4})"
    );
    assert!(auc >= REFERENCE_AUC - AUC_TOLERANCE, "ROC-AUC {auc}");
    assert!(loss <= LARGEST_LOG_LOSS, "log loss {loss}");
    assert!(ece <= 2.0 * chance, "calibration error {ece}, {chance} by chance");
    boosted
}

/// The figures that `AdaBoost` quotes.
#[test]
fn boosting_cross_validated_on_real_customers() {
    let Some(data) = telco() else { return };
    boosted_and_held_to_the_reference(&data, Folds::new(5).unwrap());
}

#[test]
#[ignore = "a measurement, seconds in release; run with --ignored --nocapture"]
fn boosting_beside_a_logistic_regression() {
    let Some(data) = telco() else { return };
    for seed in 0..3 {
        let folds = Folds::new(5).unwrap().seed(seed);
        let boosted = boosted_and_held_to_the_reference(&data, folds);
        let plain = out_of_fold_scores(&LogisticRegression::default(), &data, folds, &()).unwrap();
        let rows = PairedRows::new(Task::binary(), &plain, &boosted, data.labels()).unwrap();
        let [gain, sharper] =
            [Metric::RocAuc, Metric::LogLoss].map(|metric| rows.difference(metric, 0.95).unwrap());
        eprintln!(
            "to the logistic regression: ROC-AUC {:+.4} ({:+.4} to {:+.4}), log loss {:+.4} \
             ({:+.4} to {:+.4})",
            gain.difference(),
            gain.lower(),
            gain.upper(),
            sharper.difference(),
            sharper.lower(),
            sharper.upper(),
        );
        assert!(gain.upper() > 0.0, "worse than a logistic regression");
    }
}

#[test]
fn boosted_stumps_score_real_customers_alike_alone_in_a_batch_and_loaded() {
    let Some(data) = telco() else { return };
    let some = data.select(&(0..1_000).collect::<Vec<_>>());
    let trained = AdaBoost::default().fit(&some, &()).unwrap();
    let loaded = super::StepFormat.load(&trained.document, data.schema()).unwrap();
    let together = trained.model.score_batch(&data.columns().batch());
    for (row, score) in together.into_iter().enumerate() {
        let row = data.columns().row(row);
        assert_eq!(trained.model.score(&row).to_bits(), score.to_bits());
        assert_eq!(loaded.score(&row).to_bits(), score.to_bits());
    }
}

/// What the defaults of `AdaBoost` were chosen by.
#[test]
#[ignore = "a measurement, half a minute in release; run with --ignored --nocapture"]
fn which_settings_boost_best() {
    let Some(data) = telco() else { return };
    let folds = Folds::new(5).unwrap();
    let assigned = folds.assign(&data).unwrap();
    for (most, rate) in [(50, 0.5), (100, 0.5), (200, 0.5), (200, 1.0), (500, 0.1)] {
        let mut margins = vec![0.0; data.rows()];
        let mut stumps = 0;
        for fold in 0..folds.count() {
            let (held, rest): (Vec<usize>, Vec<usize>) =
                (0..data.rows()).partition(|row| assigned[*row] == fold);
            let margin = Margin::fit(&data.select(&rest), most, rate, 0).unwrap();
            stumps += margin.stumps;
            let of_held = margin.of(&data.select(&held));
            held.iter().zip(of_held).for_each(|(row, margin)| margins[*row] = margin);
        }
        let auc = roc_auc(&margins, data.labels());
        eprintln!("{most} stumps at {rate}: ROC-AUC {auc:.4}, {stumps} stumps in 5 folds");
    }
}
