//! The metrics and tests against the reference values of numpy, scipy and scikit-learn: every key
//! of every file is looked at, or excused by name with the reason.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::*;
use crate::model::Task;
use crate::tests as oracle;

// Of the oracles' README.
const RELATIVE: f64 = 1e-12;
const P_VALUE: f64 = 1e-9;

/// Keys that describe a file.
const ABOUT: &[&str] = &["case", "description", "kind", "conventions"];

/// An object of reference values that knows which of them nobody looked at.
pub(super) struct Case<'a> {
    name: String,
    fields: &'a Map<String, Value>,
    unseen: BTreeSet<&'a str>,
}

impl<'a> Case<'a> {
    pub(super) fn of(name: impl Into<String>, value: &'a Value) -> Self {
        let name = name.into();
        let fields = value.as_object().unwrap_or_else(|| panic!("{name}: {value} is no object"));
        let unseen = fields.keys().map(String::as_str).filter(|key| !ABOUT.contains(key)).collect();
        Self { name, fields, unseen }
    }

    pub(super) fn value(&mut self, key: &str) -> &'a Value {
        self.unseen.remove(key);
        self.fields.get(key).unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    fn number(&mut self, key: &str) -> f64 {
        oracle::any_number(self.value(key))
    }

    fn count(&mut self, key: &str) -> u64 {
        self.value(key).as_u64().unwrap_or_else(|| panic!("{}: {key} is no count", self.name))
    }

    pub(super) fn numbers(&mut self, key: &str) -> Vec<f64> {
        oracle::numbers(self.value(key))
    }

    fn classes(&mut self, key: &str) -> Vec<usize> {
        let class = |value: &Value| value.as_u64().and_then(|class| class.try_into().ok()).unwrap();
        self.value(key).as_array().unwrap().iter().map(class).collect()
    }

    pub(super) fn is(&mut self, key: &str, got: impl Into<Option<f64>>, relative: f64) {
        let (want, got) = (self.number(key), got.into());
        let close = got.is_some_and(|got| oracle::close(got, want, relative));
        assert!(close, "{} {key}: {got:?} for {want}", self.name);
    }

    /// Says why nothing here is compared with the value of `key`.
    fn excuse(&mut self, key: &str, why: &str) {
        assert!(!why.is_empty());
        self.value(key);
    }

    pub(super) fn done(self) {
        assert!(self.unseen.is_empty(), "{}: nobody looked at {:?}", self.name, self.unseen);
    }
}

#[test]
fn every_file_is_a_test() {
    assert_eq!(
        oracle::names(&["clf", "multiclass", "reg", "paired"]),
        [
            "clf_1_typical.json",
            "clf_2_heavy_ties.json",
            "clf_3_weighted.json",
            "clf_4_perfect.json",
            "clf_5_inverted_extreme.json",
            "multiclass_1.json",
            "paired_tests.json",
            "reg_1.json",
        ],
        "a file that no test here reads"
    );
}

/// Rows of a binary classifier.
struct Classified {
    scores: Vec<f64>,
    labels: Vec<f64>,
    weights: Option<Vec<f64>>,
}

impl Classified {
    fn evaluation(&self, threshold: f64) -> Evaluation {
        let task = Task::BinaryClassification { threshold };
        match &self.weights {
            Some(weights) => Evaluation::weighted(task, &self.scores, &self.labels, weights),
            None => Evaluation::of(task, &self.scores, &self.labels),
        }
        .unwrap()
    }

    fn calibration(&self, bins: CalibrationBins) -> Calibration {
        match &self.weights {
            Some(weights) => Calibration::weighted(bins, &self.scores, &self.labels, weights),
            None => Calibration::of(bins, &self.scores, &self.labels),
        }
        .unwrap()
    }

    fn curve(&self) -> RocCurve {
        match &self.weights {
            Some(weights) => RocCurve::weighted(&self.scores, &self.labels, weights),
            None => RocCurve::of(&self.scores, &self.labels),
        }
        .unwrap()
    }
}

#[test]
fn classifiers() {
    for file in oracle::names(&["clf"]) {
        let json = oracle::read(&file);
        let mut case = Case::of(&file, &json);
        let weights = case.value("weight");
        let rows = Classified {
            scores: case.numbers("score"),
            labels: case.numbers("y"),
            weights: (!weights.is_null()).then(|| oracle::numbers(weights)),
        };
        for key in ["expected", "expected_threshold_0.3"] {
            classifier(Case::of(format!("{file} {key}"), case.value(key)), &rows);
        }
        case.done();
    }
}

fn classifier(mut want: Case<'_>, rows: &Classified) {
    want.excuse("rule", "the rule of `Task::prediction`, in words");
    let evaluation = rows.evaluation(want.number("threshold"));
    let get = |metric| evaluation.get(metric);
    want.is("accuracy", get(Metric::Accuracy), RELATIVE);
    want.is("balanced_accuracy", get(Metric::BalancedAccuracy), RELATIVE);
    want.is("mcc", get(Metric::Mcc), RELATIVE);
    want.is("cohen_kappa", get(Metric::CohenKappa), RELATIVE);
    want.is("roc_auc", get(Metric::RocAuc), RELATIVE);
    want.is("average_precision", get(Metric::AveragePrecision), RELATIVE);
    want.is("log_loss", get(Metric::LogLoss), RELATIVE);
    want.is("brier", get(Metric::Brier), RELATIVE);
    want.is("f2", evaluation.f_beta(2.0), RELATIVE);
    want.is("gini", get(Metric::RocAuc).map(|area| 2.0_f64.mul_add(area, -1.0)), RELATIVE);
    // Where there is no division by 0 it does not matter what would be put for it; where there is,
    // `None` is put.
    for other in [0, 1] {
        for metric in [Metric::Precision, Metric::Recall, Metric::F1] {
            want.is(&format!("{metric}|zero_division={other}"), get(metric), RELATIVE);
        }
    }
    want.excuse(
        "pr_auc_trapezoid",
        "not offered: straight lines between points of the precision-recall curve promise what no \
         threshold delivers (Davis and Goadrich, 2006)",
    );
    confusion(Case::of(format!("{} confusion", want.name), want.value("confusion")), &evaluation);

    let ten = [CalibrationBins::EqualWidth(10), CalibrationBins::Quantile(10)];
    for (key, bins) in ["ece_uniform10", "ece_quantile10"].into_iter().zip(ten) {
        let case = Case::of(format!("{} {key}", want.name), want.value(key));
        calibration(case, &rows.calibration(bins));
    }
    let ece = want.value("ece_uniform10")["ece"].as_f64().unwrap();
    assert!(oracle::close(get(Metric::Ece).unwrap(), ece, RELATIVE), "{} ece", want.name);

    let curve = rows.curve();
    want.is("ks_statistic_max_tpr_minus_fpr", curve.ks().separation(), RELATIVE);
    let key = "roc_curve_full";
    let mut full = Case::of(format!("{} {key}", want.name), want.value(key));
    let points = || curve.points().iter();
    let columns: [(&str, Vec<f64>); 3] = [
        ("fpr", points().map(|point| point.false_positive_rate).collect()),
        ("tpr", points().map(|point| point.true_positive_rate).collect()),
        ("thresholds", points().map(|point| point.threshold).collect()),
    ];
    for (key, column) in columns {
        let values = full.value(key).as_array().unwrap();
        assert_eq!(values.len(), column.len(), "{}", full.name);
        for (value, got) in values.iter().zip(column) {
            let value = oracle::any_number(value);
            let same = got.total_cmp(&value).is_eq() || oracle::close(got, value, RELATIVE);
            assert!(same, "{} {key}: {got} for {value}", full.name);
        }
    }
    full.done();
    want.done();
}

fn confusion(mut want: Case<'_>, evaluation: &Evaluation) {
    let counts = evaluation.confusion().unwrap();
    let sums = evaluation.weighted_confusion();
    let cells = [
        ("tp", counts.true_positives, sums.map(|sums| sums.true_positives)),
        ("fp", counts.false_positives, sums.map(|sums| sums.false_positives)),
        ("fn", counts.false_negatives, sums.map(|sums| sums.false_negatives)),
        ("tn", counts.true_negatives, sums.map(|sums| sums.true_negatives)),
    ];
    for (key, count, sum) in cells {
        match sum {
            Some(sum) => want.is(key, sum, RELATIVE),
            None => assert_eq!(count.to_string(), want.number(key).to_string(), "{key}"),
        }
    }
    want.done();
}

fn calibration(mut want: Case<'_>, found: &Calibration) {
    want.is("ece", found.ece(), RELATIVE);
    want.is("mce", found.mce(), RELATIVE);
    let table = want.value("table[bin,n,acc,conf]").as_array().unwrap();
    assert_eq!(table.len(), found.bins().len(), "{}", want.name);
    for (line, bin) in table.iter().zip(found.bins()) {
        assert_eq!(line[0].as_u64(), Some(bin.index as u64), "{}", want.name);
        assert_eq!(line[1].as_u64(), Some(bin.rows), "{}", want.name);
        for (value, got) in [(&line[2], bin.mean_label), (&line[3], bin.mean_score)] {
            let value = oracle::number(value);
            assert!(oracle::close(got, value, RELATIVE), "{}: {got} for {value}", want.name);
        }
    }
    want.done();
}

#[test]
fn several_classes() {
    let json = oracle::read("multiclass_1.json");
    let mut case = Case::of("multiclass_1.json", &json);
    let (labels, predicted) = (case.classes("y"), case.classes("pred"));
    let found = ConfusionMatrix::of(4, &predicted, &labels).unwrap();
    let mut want = Case::of("multiclass_1.json expected", case.value("expected"));
    let table: ConfusionMatrix =
        serde_json::from_value(want.value("confusion_labels_0_3").clone()).unwrap();
    assert_eq!(found, table);
    want.is("accuracy", found.accuracy(), RELATIVE);
    let averages =
        [(Average::Macro, "macro"), (Average::Micro, "micro"), (Average::Weighted, "weighted")];
    for (average, name) in averages {
        want.is(&format!("precision_{name}"), found.precision(average), RELATIVE);
        want.is(&format!("recall_{name}"), found.recall(average), RELATIVE);
        want.is(&format!("f1_{name}"), found.f1(average), RELATIVE);
    }
    want.is("mcc", found.mcc(), RELATIVE);
    want.is("kappa", found.kappa(), RELATIVE);
    want.is("kappa_quadratic", found.quadratic_kappa(), RELATIVE);
    want.done();
    case.done();
}

#[test]
fn regressions() {
    let json = oracle::read("reg_1.json");
    let mut case = Case::of("reg_1.json", &json);
    let (labels, scores) = (case.numbers("y"), case.numbers("pred"));
    let weights = case.numbers("weight");
    let plain = Evaluation::of(Task::Regression, &scores, &labels).unwrap();
    let weighted = Evaluation::weighted(Task::Regression, &scores, &labels, &weights).unwrap();
    for (key, evaluation) in [("expected", &plain), ("expected_weighted", &weighted)] {
        let mut want = Case::of(format!("reg_1.json {key}"), case.value(key));
        let get = |metric| evaluation.get(metric);
        want.is("mae", get(Metric::Mae), RELATIVE);
        want.is("rmse", get(Metric::Rmse), RELATIVE);
        want.is("mse", get(Metric::Rmse).map(|rmse| rmse * rmse), RELATIVE);
        want.is("r2", get(Metric::R2), RELATIVE);
        want.is("mape", get(Metric::Mape), RELATIVE);
        want.is("max_error", get(Metric::MaxError), RELATIVE);
        want.is("pinball_0.1", evaluation.pinball_loss(0.1), RELATIVE);
        want.is("pinball_0.9", evaluation.pinball_loss(0.9), RELATIVE);
        want.is("bias_mean_pred_minus_true", evaluation.mean_error(), RELATIVE);
        // Theirs has no weights; ours with weights is tried against repeated rows.
        let median = plain.get(Metric::MedianAbsoluteError);
        want.is("median_abs_error_unweighted", median, RELATIVE);
        // Not a metric here, but it follows: R2 without the bias.
        let bias = evaluation.mean_error().unwrap();
        let rmse = get(Metric::Rmse).unwrap();
        let shifted: Vec<f64> = scores.iter().map(|score| score - bias).collect();
        let centred = match key {
            "expected" => Evaluation::of(Task::Regression, &shifted, &labels),
            _ => Evaluation::weighted(Task::Regression, &shifted, &labels, &weights),
        };
        let centred = centred.unwrap();
        assert!(centred.get(Metric::Rmse).unwrap() < rmse);
        want.is("explained_variance", centred.get(Metric::R2), RELATIVE);
        want.done();
    }
    case.done();
}

#[test]
fn paired_tests() {
    let json = oracle::read("paired_tests.json");
    let mut case = Case::of("paired_tests.json", &json);
    case.excuse("delong", "beside the intervals, in `paired.rs`: it looks at the rows' parts");
    for line in case.value("mcnemar").as_array().unwrap() {
        mcnemar(Case::of("mcnemar", line));
    }
    errors(Case::of("errors", case.value("errors")));
    for line in case.value("wilson").as_array().unwrap() {
        let mut want = Case::of("wilson", line);
        let (successes, trials) = (want.count("k"), want.count("n"));
        let (low, high) = wilson_interval(successes, trials, want.number("level")).unwrap();
        want.is("low", low, RELATIVE);
        want.is("high", high, RELATIVE);
        want.done();
    }
    for line in case.value("two_proportion_z_pooled").as_array().unwrap() {
        let mut want = Case::of("two proportions", line);
        let first = (want.count("k1"), want.count("n1"));
        let found = two_proportion_test(first, (want.count("k2"), want.count("n2"))).unwrap();
        want.is("z", found.statistic, RELATIVE);
        want.is("p_two_sided", found.p_value, P_VALUE);
        want.done();
    }
    case.done();
}

fn mcnemar(mut want: Case<'_>) {
    let found = McNemar::new(
        want.count("b_champion_right_challenger_wrong"),
        want.count("c_champion_wrong_challenger_right"),
    );
    want.is("mcnemar_exact_two_sided_p", found.exact_p_value(), P_VALUE);
    let tests =
        [("mcnemar_chi2_cc", found.corrected()), ("mcnemar_chi2_no_cc", found.uncorrected())];
    for (key, found) in tests {
        match (want.value(key), found) {
            (Value::Null, found) => assert_eq!(found, None),
            (value, found) => result(Case::of(key, value), "statistic", found),
        }
    }
    want.done();
}

fn errors(mut want: Case<'_>) {
    let champion = want.numbers("champion_abs_err");
    let challenger = want.numbers("challenger_abs_err");
    result(Case::of("t test", want.value("ttest_rel")), "t", paired_t_test(&champion, &challenger));
    let ranks = signed_rank_test(&champion, &challenger);
    result(Case::of("signed ranks", want.value("wilcoxon")), "statistic", ranks);
    // The interval of the mean absolute error stands on the same t.
    let labels = vec![0.0; champion.len()];
    let rows = PairedRows::new(Task::Regression, &champion, &challenger, &labels).unwrap();
    let mae = rows.difference(Metric::Mae, 0.95).unwrap();
    let t = oracle::number(&want.value("ttest_rel")["t"]);
    assert!(oracle::close(-mae.z().unwrap(), t, RELATIVE), "{:?} for {t}", mae.z());
    want.done();
}

fn result(mut want: Case<'_>, statistic: &str, found: Option<TestResult>) {
    let found = found.unwrap();
    want.is(statistic, found.statistic, RELATIVE);
    want.is("p_value", found.p_value, P_VALUE);
    want.done();
}

#[test]
#[should_panic(expected = "nobody looked at {\"brand_new\"}")]
fn a_key_that_nobody_looks_at_is_an_error() {
    let value = serde_json::json!({ "case": "x", "known": 1.0, "brand_new": 2.0 });
    let mut case = Case::of("x", &value);
    case.is("known", 1.0, RELATIVE);
    case.done();
}
