//! Alerts.

use super::super::join_all;
use super::records::{TEXT, alert, assert_kind, assert_pages, at, id, version};
use crate::ErrorKind;
use crate::drift::Severity;
use crate::ledger::{Alert, AlertDelivery, AlertEvent, DeliveryState, Ledger};
use crate::log::Cursor;
use crate::registry::ModelName;

/// While an alert is open there is no second one of its model, version and key; after it is
/// resolved there is.
///
/// # Panics
///
/// When the clause is broken.
pub async fn alerts_once(ledger: &dyn Ledger, model: &ModelName) {
    let first = alert(model, 1, "drift", 10);
    assert_eq!(ledger.open_alert(&first).await.unwrap(), first);
    assert_eq!(ledger.open_alert(&first).await.unwrap(), first, "again");
    assert_eq!(ledger.open_alert(&alert(model, 2, "drift", 20)).await.unwrap(), first);
    assert_kind(ledger.alert(id(model, "alert", 2)).await, ErrorKind::NotFound);

    let other_key = alert(model, 3, "prediction_drift", 30);
    let other_version = Alert { version: version(4), ..alert(model, 4, "drift", 40) };
    for other in [&other_key, &other_version] {
        assert_eq!(ledger.open_alert(other).await.unwrap(), *other);
    }
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    let foreign = alert(&stranger, 5, "drift", 50);
    assert_eq!(ledger.open_alert(&foreign).await.unwrap(), foreign);

    let resolved = Alert { resolved_at: Some(at(60)), ..first };
    ledger.update_alert(&resolved).await.expect("update");
    assert_eq!(ledger.alert(resolved.id).await.unwrap(), resolved);
    let open = [other_version.clone(), other_key.clone()];
    assert_eq!(ledger.open_alerts(model).await.unwrap(), open);
    assert_eq!(ledger.open_alert(&resolved).await.unwrap(), resolved, "a known id opens nothing");
    assert_eq!(ledger.open_alerts(model).await.unwrap(), open);

    let reopened = alert(model, 6, "drift", 70);
    assert_eq!(ledger.open_alert(&reopened).await.unwrap(), reopened);
    let open = [reopened, other_version, other_key];
    assert_eq!(ledger.open_alerts(model).await.unwrap(), open);
    assert_eq!(ledger.alerts(model, None, 9).await.unwrap().items.len(), 4);
}

/// Of monitors that open an alert at the same time, one does, and all get that.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_alerts(ledger: &dyn Ledger, model: &ModelName, racers: usize) {
    let alerts: Vec<Alert> =
        (0..racers as u64).map(|number| alert(model, number, "drift", 10)).collect();
    let found = join_all(alerts.iter().map(|alert| ledger.open_alert(alert))).await;
    let found: Vec<Alert> = found.into_iter().map(|alert| alert.expect("an alert")).collect();
    assert!(found.iter().all(|alert| *alert == found[0]), "{found:?}");
    assert_eq!(ledger.open_alerts(model).await.unwrap(), found[..1]);
}

/// An update replaces what an alert says now, and undoes nothing that somebody else recorded.
///
/// # Panics
///
/// When the clause is broken.
pub async fn alert_updates(ledger: &dyn Ledger, model: &ModelName) {
    let opened = ledger.open_alert(&alert(model, 1, "drift", 10)).await.expect("open");
    let first = ledger.acknowledge_alert(opened.id, None, at(20)).await.expect("acknowledge");
    assert_eq!(first, Alert { acknowledged_at: Some(at(20)), ..opened.clone() });
    let second = ledger.acknowledge_alert(opened.id, Some(TEXT), at(30)).await.unwrap();
    assert_eq!(second, Alert { action_taken: Some(TEXT.to_owned()), ..first });
    let third = ledger.acknowledge_alert(opened.id, None, at(40)).await.unwrap();
    assert_eq!(third, second, "the first time and the latest action hold");
    let third = ledger.acknowledge_alert(opened.id, Some("rolled back"), at(40)).await.unwrap();
    assert_eq!(third, Alert { action_taken: Some("rolled back".to_owned()), ..second });

    // Nor is a delivery that has ended undone by who knows nothing of it.
    let delivery = |state, attempts| AlertDelivery {
        sink: TEXT.to_owned(),
        event: AlertEvent::Opened,
        state,
        attempts,
        last_error: Some(TEXT.to_owned()),
        updated_at: at(15),
    };
    let given_up = vec![delivery(DeliveryState::Dead, 5)];
    let by_delivery = Alert { deliveries: given_up.clone(), ..opened.clone() };
    ledger.update_alert(&by_delivery).await.expect("update");
    let late = vec![delivery(DeliveryState::Pending, 1)];
    let by_delivery = Alert { deliveries: late, ..opened.clone() };
    ledger.update_alert(&by_delivery).await.expect("update");

    // The monitor knows nothing of the acknowledgement; a retrain nothing of the monitor.
    let run = id(model, "retraining run", 1);
    let by_retrain = Alert { retraining_run: Some(run), ..opened.clone() };
    ledger.update_alert(&by_retrain).await.expect("update");
    let by_monitor = Alert {
        last_run: Some(id(model, "drift run", 9)),
        severity: Severity::Significant,
        message: "it is getting better".to_owned(),
        features: Vec::new(),
        quiet_runs: 1,
        resolved_at: Some(at(50)),
        ..opened.clone()
    };
    ledger.update_alert(&by_monitor).await.expect("update");
    let expected = Alert {
        acknowledged_at: Some(at(20)),
        action_taken: Some("rolled back".to_owned()),
        retraining_run: Some(run),
        deliveries: given_up,
        ..by_monitor
    };
    assert_eq!(ledger.alert(opened.id).await.unwrap(), expected);

    // What names it, and that it is over, does not change.
    let other = Alert {
        id: opened.id,
        version: version(9),
        key: "other".to_owned(),
        model: ModelName::new(format!("{model}-2")).expect("a longer name"),
        opened_at: at(99),
        drift_run: None,
        ..expected.clone()
    };
    ledger.update_alert(&Alert { resolved_at: None, ..other }).await.expect("update");
    assert_eq!(ledger.alert(opened.id).await.unwrap(), expected);
    assert_eq!(ledger.open_alerts(model).await.unwrap(), []);
}

/// Alerts come newest first, also where several have one time.
///
/// # Panics
///
/// When the clause is broken.
pub async fn alert_pages(ledger: &dyn Ledger, model: &ModelName) {
    let mut places = Vec::new();
    for number in 0..7 {
        let micros = i64::try_from((number * 5) % 3).expect("small");
        let mut alert = alert(model, number, &format!("key {number}"), micros);
        if number == 3 {
            // Not about drift.
            (alert.drift_run, alert.last_run) = (None, None);
        }
        places.push(Cursor { at: alert.opened_at, id: alert.id });
        ledger.open_alert(&alert).await.expect("open");
        assert_eq!(ledger.alert(alert.id).await.unwrap(), alert);
    }
    assert_pages!(ledger, alerts, model, places.clone());
    let open = ledger.open_alerts(model).await.expect("open alerts");
    places.sort_unstable_by_key(|place| std::cmp::Reverse(*place));
    assert!(open.iter().map(|alert| alert.id).eq(places.iter().map(|place| place.id)));
}
