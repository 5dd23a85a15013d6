//! Who is told what, and when: cooldown, crashes, receivers that come late.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::drift::Severity;
use crate::ledger::{Alert, AlertEvent, DeliveryState, LeaseStore};
use crate::memory::test_clock;

#[derive(Debug)]
pub(super) struct Pager {
    name: &'static str,
    heard: Mutex<Vec<(u128, AlertEvent)>>,
    pub(super) works: Mutex<bool>,
    // taken down when it is told something
    takes_along: Mutex<Option<Arc<MemoryLedger>>>,
    // written by somebody else while it is told something
    meanwhile: Mutex<Option<(Arc<MemoryLedger>, Alert)>>,
}

impl Pager {
    pub(super) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            heard: Mutex::default(),
            works: Mutex::new(true),
            takes_along: Mutex::default(),
            meanwhile: Mutex::default(),
        })
    }

    /// What it has heard since it was last asked.
    pub(super) fn heard(&self) -> Vec<(u128, AlertEvent)> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

#[async_trait]
impl AlertSink for Pager {
    fn name(&self) -> &str {
        self.name
    }

    async fn deliver(&self, notice: &AlertNotice) -> Result<(), Error> {
        self.heard.lock().unwrap().push((notice.alert.id.as_u128(), notice.event));
        if let Some(ledger) = self.takes_along.lock().unwrap().take() {
            ledger.take_down();
        }
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some((ledger, alert)) = meanwhile {
            ledger.update_alert(&alert).await?;
        }
        if *self.works.lock().unwrap() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "pager", "it is off"))
    }
}

struct Desk {
    log: Arc<MemoryLog>,
    ledger: Arc<MemoryLedger>,
    pager: Arc<Pager>,
    delivery: Delivery,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    pass: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Desk {
    fn new() -> Self {
        let (clock, pass) = test_clock();
        let log = Arc::new(MemoryLog::with_clock(clock.clone()));
        let ledger = Arc::new(MemoryLedger::with_clock(clock.clone()));
        let pager = Pager::new("pager");
        let delivery = Delivery::new(Arc::clone(&log) as _, Arc::clone(&ledger) as _, "desk")
            .sink(Arc::clone(&pager) as _);
        let (now, pass) = (Box::new(clock), Box::new(pass));
        Self { log, ledger, pager, delivery, now, pass }
    }

    fn alert(&self, number: u128, severity: Severity) -> Alert {
        Alert {
            id: Uuid::from_u128(number),
            model: ModelName::new("churn").unwrap(),
            version: version(1),
            key: "drift".to_owned(),
            drift_run: None,
            last_run: None,
            severity,
            message: String::new(),
            features: Vec::new(),
            opened_at: (self.now)(),
            acknowledged_at: None,
            action_taken: None,
            retraining_run: None,
            quiet_runs: 0,
            resolved_at: None,
            deliveries: Vec::new(),
        }
    }

    async fn open(&self, number: u128, severity: Severity) -> Alert {
        self.ledger.open_alert(&self.alert(number, severity)).await.unwrap()
    }

    async fn resolve(&self, alert: &Alert) {
        let over = Alert { resolved_at: Some((self.now)()), ..alert.clone() };
        self.ledger.update_alert(&over).await.unwrap();
    }

    async fn run(&self) -> Told {
        self.delivery.run(&ModelName::new("churn").unwrap()).await.unwrap()
    }

    async fn states(&self, number: u128) -> Vec<(AlertEvent, DeliveryState)> {
        let alert = self.ledger.alert(Uuid::from_u128(number)).await.unwrap();
        alert.deliveries.iter().map(|d| (d.event, d.state)).collect()
    }
}

use AlertEvent::{Opened, Resolved};
use DeliveryState::{Dead, Delivered, Pending, Superseded};

#[tokio::test]
async fn a_look_while_a_receiver_is_told_is_not_undone() {
    let desk = Desk::new();
    let alert = desk.open(1, Severity::Significant).await;
    let worse = Alert { severity: Severity::Major, quiet_runs: 1, ..alert };
    *desk.pager.meanwhile.lock().unwrap() = Some((Arc::clone(&desk.ledger), worse));
    desk.run().await;
    let after = desk.ledger.alert(Uuid::from_u128(1)).await.unwrap();
    assert_eq!((after.severity, after.quiet_runs), (Severity::Major, 1));
    assert_eq!(desk.states(1).await, [(Opened, Delivered)]);
}

#[tokio::test]
async fn the_next_alert_of_its_kind_waits_for_the_cooldown() {
    let desk = Desk::new();
    let first = desk.open(1, Severity::Significant).await;
    desk.run().await;
    desk.resolve(&first).await;
    desk.run().await;
    assert_eq!(desk.pager.heard(), [(1, Opened), (1, Resolved)]);

    // It comes and goes: nobody is bothered.
    let second = desk.open(2, Severity::Significant).await;
    desk.run().await;
    assert_eq!(desk.states(2).await, [(Opened, Pending)]);
    desk.resolve(&second).await;
    desk.run().await;
    assert_eq!(desk.states(2).await, [(Opened, Superseded), (Resolved, Superseded)]);
    // It stays: told once the time is over.
    desk.open(3, Severity::Significant).await;
    desk.run().await;
    assert_eq!(desk.pager.heard(), []);
    (desk.pass)(HOUR);
    assert_eq!(desk.run().await.delivered, 1);
    assert_eq!(desk.pager.heard(), [(3, Opened)]);
}

#[tokio::test]
async fn what_is_worse_or_something_else_does_not_wait() {
    let desk = Desk::new();
    let first = desk.open(1, Severity::Significant).await;
    desk.run().await;
    desk.resolve(&first).await;
    desk.run().await;
    desk.open(2, Severity::Major).await;
    let mut other = desk.alert(3, Severity::Moderate);
    other.key = "signals".to_owned();
    desk.ledger.open_alert(&other).await.unwrap();
    desk.pager.heard();
    assert_eq!(desk.run().await.delivered, 2);
    assert_eq!(desk.pager.heard(), [(2, Opened), (3, Opened)]);
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_once_a_run_and_given_up_in_the_end() {
    let desk = Desk::new();
    *desk.pager.works.lock().unwrap() = false;
    desk.open(1, Severity::Major).await;
    let mut other = desk.alert(2, Severity::Major);
    other.key = "signals".to_owned();
    desk.ledger.open_alert(&other).await.unwrap();
    let told = desk.run().await;
    assert_eq!((told.pending, desk.pager.heard()), (2, vec![(1, Opened)]));
    for _ in 0..4 {
        desk.run().await;
    }
    assert_eq!(desk.states(1).await, [(Opened, Dead)]);
    let letter = desk.ledger.alert(Uuid::from_u128(1)).await.unwrap().deliveries.remove(0);
    assert_eq!(
        (letter.attempts, letter.last_error.as_deref()),
        (5, Some("pager: unavailable: it is off"))
    );
    // The next one has its turn now.
    desk.pager.heard();
    desk.run().await;
    assert_eq!(desk.pager.heard(), [(2, Opened)]);
    // That it is over is told all the same, once the receiver is back.
    *desk.pager.works.lock().unwrap() = true;
    desk.resolve(&desk.ledger.alert(Uuid::from_u128(1)).await.unwrap()).await;
    desk.run().await;
    assert_eq!(desk.states(1).await, [(Opened, Dead), (Resolved, Delivered)]);
}

#[tokio::test]
async fn a_new_receiver_hears_what_is_open_and_not_the_past() {
    let desk = Desk::new();
    let old = desk.open(1, Severity::Major).await;
    desk.resolve(&old).await;
    (desk.pass)(HOUR * 25);
    let recent = desk.open(2, Severity::Major).await;
    desk.resolve(&recent).await;
    let mut open = desk.alert(3, Severity::Major);
    open.key = "signals".to_owned();
    desk.ledger.open_alert(&open).await.unwrap();
    desk.run().await;
    assert_eq!(desk.pager.heard(), [(2, Resolved), (3, Opened)]);
    assert_eq!(desk.states(1).await, []);

    // A second receiver has a record of its own.
    let chat = Pager::new("chat");
    let both = Delivery::new(Arc::clone(&desk.log) as _, Arc::clone(&desk.ledger) as _, "desk")
        .sink(Arc::clone(&desk.pager) as _)
        .sink(Arc::clone(&chat) as _);
    both.run(&ModelName::new("churn").unwrap()).await.unwrap();
    assert_eq!((desk.pager.heard(), chat.heard()), (vec![], vec![(2, Resolved), (3, Opened)]));
}

#[tokio::test]
async fn what_a_crash_left_unsaid_is_said_and_one_process_says_it() {
    let desk = Desk::new();
    desk.open(1, Severity::Major).await;
    // Cut off between the receiver's answer and the record: told again, under the same key.
    let model = ModelName::new("churn").unwrap();
    *desk.pager.takes_along.lock().unwrap() = Some(Arc::clone(&desk.ledger));
    assert_eq!(desk.delivery.run(&model).await.unwrap_err().kind(), ErrorKind::Unavailable);
    desk.ledger.bring_up();
    assert_eq!(desk.run().await.delivered, 1);
    assert_eq!(desk.pager.heard(), [(1, Opened), (1, Opened)]);
    assert_eq!(desk.run().await, Told::default());

    desk.ledger.acquire_lease("deliver/churn", "another", HOUR).await.unwrap().unwrap();
    let error = desk.delivery.run(&model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}
