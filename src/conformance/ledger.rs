//! What every [`Ledger`] has to do.
//!
//! [`all`] runs every clause. Leases end by the clock of the store, so the suite has to wait: how is
//! an argument.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicI64, Ordering};
//! use pmmds::Timestamp;
//! use pmmds::conformance::ledger::{self, Options};
//! use pmmds::memory::MemoryLedger;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // A clock that only the suite moves. With a server: `tokio::time::sleep`.
//! let clock = Arc::new(AtomicI64::new(0));
//! let make = async || {
//!     let clock = Arc::clone(&clock);
//!     MemoryLedger::with_clock(move || {
//!         Timestamp::from_micros(clock.load(Ordering::SeqCst)).unwrap()
//!     })
//! };
//! let sleep = async |time: std::time::Duration| {
//!     clock.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
//! };
//! ledger::all(make, &Options::new(), sleep).await;
//! # }
//! ```

mod jobs;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::join_all;
use crate::drift::{DriftReport, DriftSettings, REPORT_VERSION, Severity, Signal, Verdict};
use crate::ledger::{
    Alert, AlertDelivery, AlertEvent, DecisionKind, DecisionState, DeliveryState, DriftRun, Lease,
    Ledger, PromotionDecision, ReferenceDataset, RetrainingRun, RunState, Trigger,
};
use crate::log::{Cursor, Page};
use crate::promote::{
    Candidate, Candidates, Champion, Decision, DecisionRecord, Metric, Reason, Validation,
};
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp, Window};

pub use jobs::{job_expiry, jobs, racing_jobs};

/// How the suite is run; nothing that the contract says.
///
/// ```
/// use std::time::Duration;
/// use pmmds::conformance::ledger::Options;
///
/// // A server that keeps what earlier runs of the suite wrote, and is slow.
/// let options = Options::new().prefix("run-17").lease(Duration::from_secs(3));
/// assert_eq!(options.model("alerts").as_str(), "run-17-alerts");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    // begins a model name
    prefix: String,
    // at least 2
    racers: usize,
    lease: Duration,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        let lease = Duration::from_millis(300);
        Self { prefix: "conformance".to_owned(), racers: 8, lease }
    }

    /// What the names of all models begin with, and what all ids are made of. Another one for each
    /// run makes a server fresh that keeps what it was given. Defaults to `conformance`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many callers race for one thing, at least 2. Defaults to 8.
    pub fn racers(mut self, racers: usize) -> Self {
        self.racers = racers.max(2);
        self
    }

    /// Length of the leases that are waited for; a store has to answer a few calls in this time.
    /// Defaults to 300 ms.
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length;
        self
    }

    /// The model of the clause `clause`.
    ///
    /// # Panics
    ///
    /// When the prefix cannot begin a model name.
    #[must_use]
    pub fn model(&self, clause: &str) -> ModelName {
        let name = ModelName::new(format!("{}-{clause}", self.prefix));
        name.unwrap_or_else(|problem| panic!("prefix {:?}: {problem}", self.prefix))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs every clause, each on a fresh ledger from `make`. `sleep` lets the given time pass on the
/// clock of the store.
///
/// "Fresh" means without the models of [`Options::prefix`]; one server may stand behind all of
/// them.
///
/// # Panics
///
/// When a clause is broken.
pub async fn all<L, Made, Sleep>(
    make: impl Fn() -> Made + Send + Sync,
    options: &Options,
    sleep: impl Fn(Duration) -> Sleep + Send + Sync,
) where
    L: Ledger,
    Made: Future<Output = L> + Send,
    Sleep: Future<Output = ()> + Send,
{
    macro_rules! run {
        ($($clause:ident $(($option:ident))?),+ $(,)?) => {$(
            let model = options.model(stringify!($clause));
            $clause(&make().await, &model $(, options.$option)?).await;
        )+};
    }
    run!(
        nothing_there,
        drift_runs_once,
        racing_drift_runs(racers),
        drift_run_pages,
        unreadable_records,
        references,
        alerts_once,
        racing_alerts(racers),
        alert_updates,
        alert_pages,
        retraining_runs,
        decisions,
        leases,
        racing_leases(racers),
        fenced_writes,
        jobs,
        racing_jobs(racers),
    );
    lease_expiry(&make().await, &options.model("lease_expiry"), options.lease, &sleep).await;
    job_expiry(&make().await, &options.model("job_expiry"), options.lease, sleep).await;
}

/// 2024-05-01T00:00:00Z.
const START: i64 = 1_714_521_600_000_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(START + micros).expect("a year of four digits")
}

fn id(model: &ModelName, what: &str, number: u64) -> Uuid {
    let print = Fingerprint::of_bytes(format!("{model} {what} {number}").as_bytes());
    Uuid::from_u128(print.as_bytes()[..16].iter().fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

fn version(number: u64) -> VersionId {
    VersionId::new(number).expect("from 1")
}

fn print(text: &str) -> Fingerprint {
    Fingerprint::of_bytes(text.as_bytes())
}

/// Text that must come back as it is.
const TEXT: &str = "it's \"quoted\"; DROP TABLE drift_alerts;-- é \u{202e}\u{1f600} \r\n\0 $1 ?1";

fn drift_run(model: &ModelName, number: u64, hour: i64, profile: &str) -> DriftRun {
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

fn alert(model: &ModelName, number: u64, key: &str, micros: i64) -> Alert {
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

fn retraining_run(model: &ModelName, number: u64, micros: i64) -> RetrainingRun {
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

fn decision(model: &ModelName, number: u64, micros: i64) -> PromotionDecision {
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
fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) {
    match result {
        Ok(value) => panic!("{value:?} where {kind} was expected"),
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
    }
}

/// What is not there is not found, and lists of an unknown model are empty.
///
/// # Panics
///
/// When the clause is broken.
pub async fn nothing_there(ledger: &dyn Ledger, model: &ModelName) {
    let nobody = id(model, "nobody", 0);
    assert_kind(ledger.drift_run(nobody).await, ErrorKind::NotFound);
    assert_kind(ledger.alert(nobody).await, ErrorKind::NotFound);
    assert_kind(ledger.update_alert(&alert(model, 0, "k", 0)).await, ErrorKind::NotFound);
    assert_kind(ledger.acknowledge_alert(nobody, None, at(0)).await, ErrorKind::NotFound);
    assert_kind(ledger.retraining_run(nobody).await, ErrorKind::NotFound);
    assert_kind(ledger.decision(nobody).await, ErrorKind::NotFound);
    assert_eq!(ledger.drift_runs(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.alerts(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.retraining_runs(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.decisions(model, None, 9).await.unwrap(), empty());
    assert_eq!(ledger.references(model).await.unwrap(), []);
    assert_eq!(ledger.open_alerts(model).await.unwrap(), []);
    assert_eq!(ledger.lease(model.as_str()).await.unwrap(), None);

    assert_kind(ledger.drift_runs(model, None, 0).await, ErrorKind::InvalidInput);
    assert_kind(ledger.alerts(model, None, 0).await, ErrorKind::InvalidInput);
    assert_kind(ledger.retraining_runs(model, None, 0).await, ErrorKind::InvalidInput);
    assert_kind(ledger.decisions(model, None, 0).await, ErrorKind::InvalidInput);
}

fn empty<T>() -> Page<T> {
    Page { items: Vec::new(), next: None }
}

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

/// The ids of all pages of a list, which is newest first, by time and then by id.
macro_rules! assert_pages {
    ($ledger:ident, $list:ident, $model:expr, $expected:expr) => {{
        let mut expected: Vec<Cursor> = $expected;
        expected.sort_unstable_by_key(|place| std::cmp::Reverse(*place));
        let expected: Vec<Uuid> = expected.into_iter().map(|place| place.id).collect();
        for limit in [1, 2, expected.len() - 1, expected.len(), expected.len() + 1, usize::MAX] {
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let Page { items, next } = $ledger.$list($model, before, limit).await.unwrap();
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

const MINUTE: Duration = Duration::from_secs(60);

/// The lease of the clause.
fn name(model: &ModelName) -> String {
    format!("{model} lease")
}

async fn take(ledger: &dyn Ledger, name: &str, owner: &str, length: Duration) -> Option<Lease> {
    ledger.acquire_lease(name, owner, length).await.expect("acquire")
}

/// A lease has one holder, who may renew and return it; each holder has a greater token.
///
/// # Panics
///
/// When the clause is broken.
pub async fn leases(ledger: &dyn Ledger, model: &ModelName) {
    let name = name(model);
    let first = take(ledger, &name, "a", MINUTE).await.expect("it is free");
    assert_eq!((first.name.as_str(), first.owner.as_str()), (name.as_str(), "a"));
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(first.clone()));
    assert_eq!(take(ledger, &name, "b", MINUTE).await, None);
    assert_eq!(take(ledger, &name, "A", MINUTE).await, None, "owners differ in case");

    let renewed = take(ledger, &name, "a", 2 * MINUTE).await.expect("it is a's");
    assert_eq!(renewed.token, first.token);
    assert!(renewed.expires_at > first.expires_at, "{renewed:?} {first:?}");
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(renewed.clone()));

    let other = take(ledger, &format!("{name} 2"), "b", MINUTE).await.expect("another lease");
    let stranger = Lease { owner: "b".to_owned(), ..renewed.clone() };
    let stale = Lease { token: renewed.token + 1, ..renewed.clone() };
    for not_the_holder in [&stranger, &stale, &Lease { name: format!("{name} 3"), ..other }] {
        ledger.release_lease(not_the_holder).await.expect("nothing happens");
        assert_eq!(ledger.lease(&name).await.unwrap(), Some(renewed.clone()));
    }
    // The lease of before the renewal is the same turn.
    ledger.release_lease(&first).await.expect("release");
    assert_eq!(ledger.lease(&name).await.unwrap(), None);
    ledger.release_lease(&renewed).await.expect("nothing happens");

    let second = take(ledger, &name, "b", MINUTE).await.expect("it is free");
    assert!(second.token > renewed.token, "{second:?} {renewed:?}");
    ledger.release_lease(&renewed).await.expect("nothing happens");
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(second.clone()));
    ledger.release_lease(&second).await.expect("release");
    let third = take(ledger, &name, "b", MINUTE).await.expect("it is free");
    assert!(third.token > second.token, "a new turn, though of the same owner");
}

/// Of callers who ask for a lease at the same time, one gets it.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_leases(ledger: &dyn Ledger, model: &ModelName, racers: usize) {
    let owners: Vec<String> = (0..racers).map(|racer| format!("racer {racer}")).collect();
    let mut last = 0;
    for round in 0..5 {
        let name = name(model);
        let found = join_all(owners.iter().map(|owner| take(ledger, &name, owner, MINUTE))).await;
        let holders: Vec<Lease> = found.into_iter().flatten().collect();
        assert_eq!(holders.len(), 1, "round {round}: {holders:?}");
        assert!(holders[0].token > last, "round {round}: {holders:?} after {last}");
        last = holders[0].token;
        assert_eq!(ledger.lease(&name).await.unwrap().as_ref(), holders.first());
        ledger.release_lease(&holders[0]).await.expect("release");
    }
}

/// A write under a lease that was lost changes nothing.
///
/// # Panics
///
/// When the clause is broken.
pub async fn fenced_writes(ledger: &dyn Ledger, model: &ModelName) {
    let name = name(model);
    let ours = take(ledger, &name, "a", MINUTE).await.expect("it is free");
    let run = retraining_run(model, 1, 0);
    let intended = decision(model, 1, 0);
    ledger.record_retraining_run(&run, Some(&ours)).await.expect("the lease is held");
    ledger.record_decision(&intended, Some(&ours)).await.expect("the lease is held");
    let renewed = take(ledger, &name, "a", 2 * MINUTE).await.expect("it is a's");
    ledger.record_retraining_run(&run, Some(&ours)).await.expect("renewed, it is the same turn");
    ledger.release_lease(&renewed).await.expect("release");
    refused(ledger, model, &ours, "returned").await;
    let theirs = take(ledger, &name, "b", MINUTE).await.expect("it is free");
    refused(ledger, model, &ours, "somebody else's").await;
    let next_life = Lease { owner: "b".to_owned(), ..ours.clone() };
    refused(ledger, model, &next_life, "an earlier turn of the holder").await;
    let never = Lease { name: format!("{name} never"), ..theirs.clone() };
    refused(ledger, model, &never, "never given").await;

    let completed = RetrainingRun { state: RunState::Completed, ..run };
    ledger.record_retraining_run(&completed, Some(&theirs)).await.expect("the lease is held");
    let done = PromotionDecision { state: DecisionState::Done, ..intended };
    ledger.record_decision(&done, Some(&theirs)).await.expect("the lease is held");
}

/// Neither a change nor a new record gets through under `lease`.
async fn refused(ledger: &dyn Ledger, model: &ModelName, lease: &Lease, what: &str) {
    let run = retraining_run(model, 1, 0);
    let failed = RetrainingRun { state: RunState::Failed, ..run.clone() };
    let new = retraining_run(model, 2, 0);
    for write in [&failed, &new] {
        let error = ledger.record_retraining_run(write, Some(lease)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error}");
    }
    let intended = decision(model, 1, 0);
    let done = PromotionDecision { state: DecisionState::Done, ..intended.clone() };
    for write in [&done, &intended, &decision(model, 2, 0)] {
        let error = ledger.record_decision(write, Some(lease)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error}");
    }
    assert_eq!(ledger.retraining_runs(model, None, 9).await.unwrap().items, [run], "{what}");
    assert_eq!(ledger.decisions(model, None, 9).await.unwrap().items, [intended], "{what}");
}

/// A lease that has expired is lost, whoever takes it next has a greater token.
///
/// # Panics
///
/// When the clause is broken.
pub async fn lease_expiry<Sleep: Future<Output = ()> + Send>(
    ledger: &dyn Ledger,
    model: &ModelName,
    length: Duration,
    sleep: impl Fn(Duration) -> Sleep + Send + Sync,
) {
    let name = name(model);
    let long = take(ledger, &name, "a", MINUTE).await.expect("it is free");
    ledger.record_retraining_run(&retraining_run(model, 1, 0), Some(&long)).await.expect("held");
    ledger.record_decision(&decision(model, 1, 0), Some(&long)).await.expect("held");
    // A renewal may also shorten.
    let ours = take(ledger, &name, "a", length).await.expect("it is a's");
    assert_eq!(ours.token, long.token);
    assert_eq!(take(ledger, &name, "b", length).await, None);
    sleep(length + length / 2).await;
    assert_eq!(ledger.lease(&name).await.unwrap(), None);
    refused(ledger, model, &ours, "expired").await;
    let again = take(ledger, &name, "a", length).await.expect("it is over");
    assert!(again.token > ours.token, "the same owner, another turn: {again:?} {ours:?}");
    refused(ledger, model, &ours, "of the turn before").await;
    ledger.release_lease(&ours).await.expect("nothing happens");
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(again.clone()));

    sleep(length + length / 2).await;
    let theirs = take(ledger, &name, "b", MINUTE).await.expect("it is over");
    assert!(theirs.token > again.token, "{theirs:?} {again:?}");
    refused(ledger, model, &again, "expired and taken").await;
    let run = RetrainingRun { state: RunState::Abandoned, ..retraining_run(model, 1, 0) };
    ledger.record_retraining_run(&run, Some(&theirs)).await.expect("held");
}
