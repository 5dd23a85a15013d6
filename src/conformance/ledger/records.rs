//! What the clauses write.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::drift::{DriftReport, DriftSettings, REPORT_VERSION, Severity, Signal, Verdict};
use crate::ledger::{
    Alert, DecisionKind, DecisionState, DriftRun, PromotionDecision, RetrainingRun, RunState,
    Trigger,
};
use crate::log::Page;
use crate::promote::{
    Candidate, Candidates, Champion, Decision, DecisionRecord, Metric, Reason, Validation,
};
use crate::registry::ModelName;
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Window};

pub(super) use super::super::{at, id, version};

pub(super) fn print(text: &str) -> Fingerprint {
    Fingerprint::of_bytes(text.as_bytes())
}

/// Text that must come back as it is.
pub(super) const TEXT: &str =
    "it's \"quoted\"; DROP TABLE drift_alerts;-- é \u{202e}\u{1f600} \r\n\0 $1 ?1";

pub(super) fn drift_run(model: &ModelName, number: u64, hour: i64, profile: &str) -> DriftRun {
    let start = hour * 3_600_000_000;
    DriftRun {
        id: id(model, "drift run", number),
        model: model.clone(),
        version: version(3),
        window: Window::new(at(start), at(start + 1)).expect("start before end"),
        created_at: at(start + 2),
        report: DriftReport {
            report_version: REPORT_VERSION,
            verdict: Verdict::NotComparable { why: TEXT.to_owned() },
            profile: print(profile),
            reference_rows: 10,
            current_rows: number,
            rejected_requests: u64::MAX,
            settings: DriftSettings { psi_threshold: 0.1 + 0.2, ..DriftSettings::default() },
            features: Vec::new(),
            prediction: None,
            signals: vec![Signal::PredictionDrift { psi: 5e-324, threshold: f64::MAX }],
        },
    }
}

pub(super) fn alert(model: &ModelName, number: u64, key: &str, micros: i64) -> Alert {
    Alert {
        id: id(model, "alert", number),
        model: model.clone(),
        version: version(3),
        key: key.to_owned(),
        drift_run: Some(id(model, "drift run", number)),
        last_run: Some(id(model, "drift run", number)),
        severity: Severity::Major,
        message: TEXT.to_owned(),
        features: vec!["monthly_charges".to_owned(), TEXT.to_owned()],
        opened_at: at(micros),
        acknowledged_at: None,
        action_taken: None,
        retraining_run: None,
        quiet_runs: 0,
        resolved_at: None,
        deliveries: Vec::new(),
    }
}

pub(super) fn retraining_run(model: &ModelName, number: u64, micros: i64) -> RetrainingRun {
    RetrainingRun {
        id: id(model, "retraining run", number),
        model: model.clone(),
        trigger: Trigger::Drift,
        alert: Some(id(model, "alert", number)),
        drift_run: None,
        state: RunState::Running,
        step: "train".to_owned(),
        attempts: 1,
        data: Some(print("data")),
        challenger: None,
        decision: None,
        promoted: None,
        message: None,
        details: BTreeMap::from([("note".to_owned(), TEXT.to_owned())]),
        started_at: at(micros),
        finished_at: None,
    }
}

pub(super) fn decision(model: &ModelName, number: u64, micros: i64) -> PromotionDecision {
    PromotionDecision {
        id: id(model, "decision", number),
        model: model.clone(),
        kind: DecisionKind::Promotion,
        champion: Some(version(1)),
        challenger: version(2),
        promoted: true,
        reason: TEXT.to_owned(),
        state: DecisionState::Intended,
        retraining_run: None,
        record: Some(record(model, number, micros)),
        created_at: at(micros),
        updated_at: at(micros),
    }
}

/// The numbers behind a decision, some of them hard to keep.
fn record(model: &ModelName, number: u64, micros: i64) -> DecisionRecord {
    let champion = Candidate::new(version(1), Validation::NotDone);
    let challenger = Candidate::new(version(2), Validation::Failed { errors: u64::MAX });
    let reasons = [0.1 + 0.2, 5e-324, f64::MAX, -0.5]
        .map(|number| Reason::new("criterion", true, TEXT).observed(number).limit(1.0 / 3.0));
    DecisionRecord::new(
        id(model, "decision", number).to_string(),
        at(micros),
        model.clone(),
        Candidates::new(&challenger, Champion::Serving(&champion), &[]),
        &Decision::new(true, reasons.to_vec()),
        Metric::RocAuc,
    )
    .trigger_type("drift")
    .comparison_duration(Duration::from_nanos(1))
}

#[track_caller]
pub(super) fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) {
    match result {
        Ok(value) => panic!("{value:?} where {kind} was expected"),
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
    }
}

pub(super) fn empty<T>() -> Page<T> {
    Page { items: Vec::new(), next: None }
}

/// The ids of all pages of a list, which is newest first, by time and then by id.
macro_rules! assert_pages {
    ($ledger:ident, $list:ident, $model:expr, $expected:expr) => {{
        let mut expected: Vec<$crate::log::Cursor> = $expected;
        expected.sort_unstable_by_key(|place| std::cmp::Reverse(*place));
        let expected: Vec<_> = expected.into_iter().map(|place| place.id).collect();
        for limit in [1, 2, expected.len() - 1, expected.len(), expected.len() + 1, usize::MAX] {
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let $crate::log::Page { items, next } =
                    $ledger.$list($model, before, limit).await.unwrap();
                assert!(items.len() <= limit, "{} items on a page of {limit}", items.len());
                found.extend(items.iter().map(|item| item.id));
                before = next;
                if before.is_none() {
                    break;
                }
                assert!(!items.is_empty(), "an empty page is the last");
            }
            assert_eq!(found, expected, "pages of {limit}");
        }
    }};
}

pub(super) use assert_pages;
