//! A ledger with something in it.

use std::sync::Arc;
use std::time::Duration;

use ndarray::Array2;
use pmmds::drift::{DriftDetector, DriftReport, Severity};
use pmmds::ledger::{
    Alert, AlertDelivery, AlertEvent, AlertStore, DecisionKind, DecisionState, DecisionStore,
    DeliveryState, DriftRun, DriftStore, PromotionDecision, RetrainingRun, RunState, Trigger,
};
use pmmds::memory::MemoryLedger;
use pmmds::record::Batch;
use pmmds::registry::{ModelName, VersionId};
use pmmds::schema::{Feature, FeatureSchema};
use pmmds::{Timestamp, Window};
use uuid::Uuid;

/// The time of the tests' log, and a little later.
pub(crate) fn at(seconds: u64) -> Timestamp {
    let start: Timestamp = "2031-05-06T07:08:09Z".parse().unwrap();
    start.saturating_add(Duration::from_secs(seconds))
}

pub(crate) fn model() -> ModelName {
    "churn-classifier".parse().unwrap()
}

pub(crate) fn ledger() -> Arc<MemoryLedger> {
    Arc::new(MemoryLedger::with_clock(|| at(0)))
}

/// What is found when the values of these features have moved by that much. The names are whatever
/// a ledger may hold, also such as no schema takes.
pub(crate) fn report(features: &[&str], shift: f64) -> DriftReport {
    let columns = (0..features.len()).map(|number| Feature::numeric(format!("column_{number}")));
    let schema = FeatureSchema::new(columns).unwrap();
    let before = Array2::from_shape_fn((500, features.len()), |(row, _)| {
        f64::from(u16::try_from(row).unwrap())
    });
    let after = &before + shift;
    let before = Batch::from_array(&schema, before.view()).unwrap();
    let after = Batch::from_array(&schema, after.view()).unwrap();
    let mut report = DriftDetector::default().compare(&before, &after).unwrap();
    for (feature, name) in report.features.iter_mut().zip(features) {
        feature.name = (*name).to_owned();
    }
    report
}

pub(crate) fn run(number: u64, report: DriftReport) -> DriftRun {
    let created_at = at(number);
    let window = Window::before(created_at, Duration::from_secs(3_600)).unwrap();
    let id = Uuid::from_u128(u128::from(number) + 1);
    DriftRun { id, model: model(), version: VersionId::FIRST, window, created_at, report }
}

pub(crate) fn alert(number: u64) -> Alert {
    let run = Uuid::from_u128(u128::from(number) + 1);
    Alert {
        id: Uuid::from_u128(u128::from(number) + 1_000),
        model: model(),
        version: VersionId::FIRST,
        key: format!("drift {number}"),
        drift_run: Some(run),
        last_run: Some(run),
        severity: Severity::Major,
        message: "1 of 1 features drifted: x (PSI 0.69)".to_owned(),
        features: vec!["x".to_owned()],
        opened_at: at(number),
        acknowledged_at: None,
        action_taken: None,
        retraining_run: None,
        quiet_runs: 0,
        resolved_at: None,
        deliveries: Vec::new(),
    }
}

pub(crate) fn retraining(number: u64, state: RunState) -> RetrainingRun {
    RetrainingRun {
        id: Uuid::from_u128(u128::from(number) + 2_000),
        model: model(),
        trigger: Trigger::Manual,
        alert: None,
        drift_run: None,
        state,
        step: "gather data".to_owned(),
        attempts: 1,
        data: None,
        challenger: None,
        decision: None,
        promoted: None,
        message: None,
        details: Default::default(),
        started_at: at(number),
        finished_at: (state != RunState::Running).then(|| at(number)),
    }
}

pub(crate) fn promotion(number: u64) -> PromotionDecision {
    PromotionDecision {
        id: Uuid::from_u128(u128::from(number) + 3_000),
        model: model(),
        kind: DecisionKind::Promotion,
        champion: VersionId::new(1),
        challenger: VersionId::new(2).unwrap(),
        promoted: true,
        reason: "Better by 0.01.".to_owned(),
        state: DecisionState::Done,
        retraining_run: None,
        record: None,
        created_at: at(number),
        updated_at: at(number),
    }
}

/// Some of everything: five of each, alert 0 resolved.
pub(crate) async fn full_ledger() -> Arc<MemoryLedger> {
    let ledger = ledger();
    for number in 0..5 {
        let shift = if number == 4 { 300.0 } else { 0.0 };
        ledger.record_drift_run(&run(number, report(&["x"], shift))).await.unwrap();
        let mut one = alert(number);
        if number == 0 {
            one.resolved_at = Some(at(60));
            one.deliveries.push(AlertDelivery {
                sink: "pager".to_owned(),
                event: AlertEvent::Resolved,
                state: DeliveryState::Dead,
                attempts: 5,
                last_error: Some("webhook: unavailable: pager: it answered 500".to_owned()),
                updated_at: at(61),
            });
        }
        ledger.open_alert(&one).await.unwrap();
        let state = if number == 4 { RunState::Running } else { RunState::Completed };
        ledger.record_retraining_run(&retraining(number, state), None).await.unwrap();
        ledger.record_decision(&promotion(number), None).await.unwrap();
    }
    ledger
}
