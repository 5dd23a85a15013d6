//! Retraining runs and promotion decisions.

use super::records::{TEXT, assert_kind, assert_pages, at, decision, retraining_run, version};
use crate::ErrorKind;
use crate::ledger::{DecisionKind, DecisionState, Ledger, PromotionDecision, RunState};
use crate::log::Cursor;
use crate::registry::ModelName;

/// A retraining run replaces itself by id; runs come newest first.
///
/// # Panics
///
/// When the clause is broken.
pub async fn retraining_runs(ledger: &dyn Ledger, model: &ModelName) {
    let mut run = retraining_run(model, 0, 5);
    ledger.record_retraining_run(&run, None).await.expect("record");
    assert_eq!(ledger.retraining_run(run.id).await.unwrap(), run);
    run.state = RunState::Failed;
    run.attempts = u32::MAX;
    run.message = Some(TEXT.to_owned());
    run.challenger = Some(version(u64::MAX));
    run.finished_at = Some(at(6));
    ledger.record_retraining_run(&run, None).await.expect("record");
    assert_eq!(ledger.retraining_run(run.id).await.unwrap(), run);

    let mut places = vec![Cursor { at: run.started_at, id: run.id }];
    for number in 1..7 {
        let micros = i64::try_from((number * 5) % 3).expect("small");
        let run = retraining_run(model, number, micros);
        places.push(Cursor { at: run.started_at, id: run.id });
        ledger.record_retraining_run(&run, None).await.expect("record");
    }
    assert_pages!(ledger, retraining_runs, model, places.clone());
}

/// A decision goes from intended to done or cancelled, and stays there; decisions come newest
/// first.
///
/// # Panics
///
/// When the clause is broken.
pub async fn decisions(ledger: &dyn Ledger, model: &ModelName) {
    let intended = decision(model, 0, 5);
    for _ in 0..2 {
        ledger.record_decision(&intended, None).await.expect("record, and again");
    }
    let mut done = PromotionDecision {
        state: DecisionState::Done,
        updated_at: at(6),
        reason: "carried out".to_owned(),
        ..intended.clone()
    };
    for _ in 0..2 {
        ledger.record_decision(&done, None).await.expect("record, and again");
        assert_eq!(ledger.decision(intended.id).await.unwrap(), done);
    }
    assert_kind(ledger.record_decision(&intended, None).await, ErrorKind::Conflict);
    let cancelled = PromotionDecision { state: DecisionState::Cancelled, ..done.clone() };
    assert_kind(ledger.record_decision(&cancelled, None).await, ErrorKind::Conflict);
    done.updated_at = at(7);
    assert_kind(ledger.record_decision(&done, None).await, ErrorKind::Conflict);
    done.updated_at = at(6);
    assert_eq!(ledger.decision(intended.id).await.unwrap(), done, "nothing has changed");

    let other = decision(model, 1, 0);
    ledger.record_decision(&other, None).await.expect("record");
    let cancelled = PromotionDecision { state: DecisionState::Cancelled, ..other.clone() };
    ledger.record_decision(&cancelled, None).await.expect("record");
    assert_kind(ledger.record_decision(&other, None).await, ErrorKind::Conflict);
    let at_once = PromotionDecision {
        kind: DecisionKind::External,
        champion: None,
        record: None,
        state: DecisionState::Done,
        ..decision(model, 2, 3)
    };
    ledger.record_decision(&at_once, None).await.expect("a decision may begin as done");
    assert_eq!(ledger.decision(at_once.id).await.unwrap(), at_once);

    let mut places: Vec<Cursor> =
        [&done, &other, &at_once].map(|d| Cursor { at: d.created_at, id: d.id }).to_vec();
    for number in 3..7 {
        let decision = decision(model, number, 3);
        places.push(Cursor { at: decision.created_at, id: decision.id });
        ledger.record_decision(&decision, None).await.expect("record");
    }
    assert_pages!(ledger, decisions, model, places.clone());
}
