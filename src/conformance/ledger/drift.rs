//! Drift runs and references.

use super::super::join_all;
use super::records::{assert_kind, assert_pages, at, drift_run, empty, print, version};
use crate::drift::Signal;
use crate::ledger::{DriftRun, Ledger, ReferenceDataset};
use crate::log::Cursor;
use crate::registry::ModelName;
use crate::{ErrorKind, Window};

/// A drift run is stored once by id, and once for its model, version, window and profile.
///
/// # Panics
///
/// When the clause is broken.
pub async fn drift_runs_once(ledger: &dyn Ledger, model: &ModelName) {
    let first = drift_run(model, 1, 0, "profile");
    assert_eq!(ledger.record_drift_run(&first).await.unwrap(), first);
    assert_eq!(ledger.record_drift_run(&first).await.unwrap(), first);
    assert_eq!(ledger.drift_run(first.id).await.unwrap(), first);

    let same_window = drift_run(model, 2, 0, "profile");
    assert_eq!(ledger.record_drift_run(&same_window).await.unwrap(), first);
    assert_kind(ledger.drift_run(same_window.id).await, ErrorKind::NotFound);
    let same_id = DriftRun { id: first.id, ..drift_run(model, 3, 5, "profile") };
    assert_eq!(ledger.record_drift_run(&same_id).await.unwrap(), first);

    let mut others = [
        drift_run(model, 4, 0, "another profile"),
        drift_run(model, 5, 1, "profile"),
        drift_run(model, 6, 0, "profile"),
        drift_run(model, 7, 0, "profile"),
        drift_run(model, 8, 0, "profile"),
    ];
    others[2].version = version(4);
    others[3].model = ModelName::new(format!("{model}-2")).expect("a longer name");
    others[4].window = Window::new(at(0), at(2)).expect("start before end");
    for other in &others {
        assert_eq!(ledger.record_drift_run(other).await.unwrap(), *other);
    }
    assert_eq!(ledger.drift_runs(model, None, 9).await.unwrap().items.len(), 5);
}

/// Of monitors that look at one window at the same time, one records its run, and all get that.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_drift_runs(ledger: &dyn Ledger, model: &ModelName, racers: usize) {
    let runs: Vec<DriftRun> =
        (0..racers as u64).map(|number| drift_run(model, number, 0, "profile")).collect();
    let found = join_all(runs.iter().map(|run| ledger.record_drift_run(run))).await;
    let found: Vec<DriftRun> = found.into_iter().map(|run| run.expect("a run")).collect();
    assert!(found.iter().all(|run| *run == found[0]), "{found:?}");
    assert_eq!(ledger.drift_runs(model, None, 99).await.unwrap().items, found[..1]);
}

/// Drift runs come newest first, also where several have one time.
///
/// # Panics
///
/// When the clause is broken.
pub async fn drift_run_pages(ledger: &dyn Ledger, model: &ModelName) {
    let mut places = Vec::new();
    for number in 0..9 {
        let hour = i64::try_from(number).expect("small");
        let mut run = drift_run(model, number, hour, "profile");
        run.created_at = at((hour * 5) % 3);
        places.push(Cursor { at: run.created_at, id: run.id });
        ledger.record_drift_run(&run).await.expect("record");
    }
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    ledger.record_drift_run(&drift_run(&stranger, 1, 0, "profile")).await.expect("record");
    assert_pages!(ledger, drift_runs, model, places.clone());
}

/// A record that could not be read back is refused before it is written.
///
/// # Panics
///
/// When the clause is broken.
pub async fn unreadable_records(ledger: &dyn Ledger, model: &ModelName) {
    let mut run = drift_run(model, 1, 0, "profile");
    run.report.signals = vec![Signal::PredictionDrift { psi: f64::NAN, threshold: 0.2 }];
    assert_kind(ledger.record_drift_run(&run).await, ErrorKind::InvalidInput);
    assert_eq!(ledger.drift_runs(model, None, 9).await.unwrap(), empty());
}

/// References are listed oldest first; one with a known name replaces the one that is there.
///
/// # Panics
///
/// When the clause is broken.
pub async fn references(ledger: &dyn Ledger, model: &ModelName) {
    let reference = |name: &str, micros| ReferenceDataset {
        name: format!("{model} {name}"),
        model: model.clone(),
        version: version(2),
        rows: u64::MAX,
        features: 19,
        profile: print(name),
        data: None,
        created_at: at(micros),
    };
    let [b, a, c] = [reference("b é", 2), reference("a", 2), reference("c", 1)];
    for reference in [&b, &a, &c] {
        ledger.record_reference(reference).await.expect("record");
    }
    assert_eq!(ledger.references(model).await.unwrap(), [c.clone(), a.clone(), b.clone()]);
    let again = ReferenceDataset { rows: 7, data: Some(print("rows")), created_at: at(3), ..c };
    ledger.record_reference(&again).await.expect("record");
    assert_eq!(ledger.references(model).await.unwrap(), [a, b, again]);
}
