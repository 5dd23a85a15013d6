//! What the trainers reach on real customers.

use std::path::PathBuf;
use std::sync::Arc;

use super::LogisticRegression;
use crate::model::{Folds, Trainer, out_of_fold_scores};
use crate::record::{Dataset, Table, TableBuilder};
use crate::schema::{Feature, FeatureSchema};
use crate::validate::Violations;

/// 5-fold ROC-AUC of scikit-learn's logistic regression on the whole file.
const REFERENCE_AUC: f64 = 0.845;

/// How far folds drawn otherwise move it.
const AUC_TOLERANCE: f64 = 0.003;

fn file() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/telco-customer-churn.csv");
    let path = std::env::var_os("PMMDS_TELCO_CSV").map_or_else(|| beside.into(), PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no Telco file at {}; PMMDS_TELCO_CSV may name another", path.display());
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

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "thousands of rows")]
    let count = values.len() as f64;
    values.sum::<f64>() / count
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
        f64::midpoint(below as f64, not_above as f64)
    });
    mean(wins) / negative.len() as f64
}

fn log_loss(scores: &[f64], labels: &[f64]) -> f64 {
    mean(scores.iter().zip(labels).map(|(p, y)| -(if *y > 0.5 { p.ln() } else { (-p).ln_1p() })))
}

/// Expected calibration error over ten bins of equal width.
fn calibration_error(scores: &[f64], labels: &[f64]) -> f64 {
    let mut gaps = [0.0; 10];
    for (score, label) in scores.iter().zip(labels) {
        let bin = (1..10).filter(|edge| *score >= f64::from(*edge) / 10.0).count();
        gaps[bin] += score - label;
    }
    gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / scores.len() as f64
}

#[test]
fn cross_validated_on_real_customers() {
    let Some(data) = telco() else { return };
    assert_eq!(data.rows(), 7_043);
    let trainer = LogisticRegression::default();
    let scores = out_of_fold_scores(&trainer, &data, Folds::new(5).unwrap(), &()).unwrap();
    let auc = roc_auc(&scores, data.labels());
    let (loss, ece) = (log_loss(&scores, data.labels()), calibration_error(&scores, data.labels()));
    eprintln!("telco, 5 folds: ROC-AUC {auc:.4}, log loss {loss:.4}, ECE {ece:.4}");
    assert!((auc - REFERENCE_AUC).abs() <= AUC_TOLERANCE, "ROC-AUC {auc}");
}
