//! Tells receivers about alerts, driven by what is on record.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::turn::Turns;
use crate::ledger::{Alert, AlertDelivery, AlertEvent, DeliveryState, Ledger};
use crate::log::InferenceLog;
use crate::registry::ModelName;
use crate::{Error, ErrorKind, Timestamp};

/// Name of this component in errors.
const DELIVERY: &str = "delivery";

/// Alerts of the past that are looked through, beside those that are open.
const RECENT: usize = 100;

/// Longest text of an error on record, in characters.
const ERROR_CHARS: usize = 300;

/// What a receiver is told.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::drift::Severity;
/// # use pmmds::ledger::Alert;
/// # use pmmds::registry::VersionId;
/// # use uuid::Uuid;
/// use pmmds::ledger::AlertEvent;
/// use pmmds::lifecycle::AlertNotice;
/// # let alert = Alert {
/// #     id: Uuid::from_u128(7), model: "churn".parse()?, version: VersionId::FIRST,
/// #     key: "drift".to_owned(), drift_run: None, last_run: None,
/// #     severity: Severity::Major, message: String::new(), features: Vec::new(),
/// #     opened_at: Timestamp::EPOCH, acknowledged_at: None, action_taken: None,
/// #     retraining_run: None, quiet_runs: 0, resolved_at: None, deliveries: Vec::new(),
/// # };
/// let notice = AlertNotice { event: AlertEvent::Resolved, alert };
/// // The same for everything about one alert, however often it is sent.
/// assert_eq!(notice.dedup_key(), "pmmds:churn:00000000-0000-0000-0000-000000000007");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AlertNotice {
    /// what has happened
    pub event: AlertEvent,
    /// the alert as it is now
    pub alert: Alert,
}

impl AlertNotice {
    /// By what a receiver knows that two notices are about one alert.
    #[must_use]
    pub fn dedup_key(&self) -> String {
        format!("pmmds:{}:{}", self.alert.model, self.alert.id)
    }
}

/// Somebody who is told about alerts.
///
/// # Contract
///
/// [`deliver`](Self::deliver) returns once the receiver has taken the notice, or why it has not; it
/// ends within a time of its own. A notice may come again after a crash: it has the same
/// [`dedup_key`](AlertNotice::dedup_key) and event.
///
/// # Implementing
///
/// ```
/// use async_trait::async_trait;
/// use pmmds::Error;
/// use pmmds::lifecycle::{AlertNotice, AlertSink};
///
/// #[derive(Debug)]
/// struct Stderr;
///
/// #[async_trait]
/// impl AlertSink for Stderr {
///     fn name(&self) -> &str { "stderr" }
///     async fn deliver(&self, notice: &AlertNotice) -> Result<(), Error> {
///         eprintln!("{}: {}", notice.event.as_str(), notice.alert.message);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait AlertSink: Debug + Send + Sync {
    /// The name under which deliveries are on record: always the same, and no secret.
    fn name(&self) -> &str;

    /// Tells the receiver.
    async fn deliver(&self, notice: &AlertNotice) -> Result<(), Error>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: AlertSink + ?Sized> AlertSink for Arc<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn deliver(&self, notice: &AlertNotice) -> Result<(), Error> {
        (**self).deliver(notice).await
    }
}

const _: Option<&dyn AlertSink> = None;

/// What [`Delivery::run`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Told {
    /// notices that receivers took
    pub delivered: u64,
    /// notices that are tried again with the next run
    pub pending: u64,
    /// notices that were given up in this run
    pub dead: u64,
}

/// Tells receivers that alerts were opened and that they are over.
///
/// It goes by the ledger alone: what is not on record as told is told, so it may be killed at any
/// moment. Run it after every look of the [`Monitor`](super::Monitor).
///
/// * What came of it stands with the alert, one [`AlertDelivery`] for each receiver and event; what
///   is given up is there as [`Dead`](DeliveryState::Dead) with its last error.
/// * Each run tries a notice once; a receiver that fails is left alone until the next run.
/// * An alert like one that was told within the [`cooldown`](Self::cooldown) is held back, unless it
///   is worse. Is it over before, nobody is bothered.
/// * What was over [`so long`](Self::max_age) before a receiver was added is not told to it.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// # use async_trait::async_trait;
/// use pmmds::ledger::{Alert, AlertStore};
/// use pmmds::lifecycle::{AlertNotice, AlertSink, Delivery};
/// use pmmds::memory::{MemoryLedger, MemoryLog};
/// # use pmmds::drift::Severity;
/// # use pmmds::registry::VersionId;
/// # use pmmds::{Error, Timestamp};
/// # use uuid::Uuid;
///
/// #[derive(Debug, Default)]
/// struct Pager(Mutex<Vec<String>>);
///
/// #[async_trait]
/// impl AlertSink for Pager {
///     fn name(&self) -> &str { "pager" }
///     async fn deliver(&self, notice: &AlertNotice) -> Result<(), Error> {
///         let line = format!("{}: {}", notice.event.as_str(), notice.alert.message);
///         self.0.lock().unwrap().push(line);
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let log = Arc::new(MemoryLog::with_clock(move || noon));
/// # let ledger = Arc::new(MemoryLedger::with_clock(move || noon));
/// # let alert = Alert {
/// #     id: Uuid::from_u128(7), model: "churn".parse()?, version: VersionId::FIRST,
/// #     key: "drift".to_owned(), drift_run: None, last_run: None,
/// #     severity: Severity::Major, message: "3 of 19 features drifted".to_owned(),
/// #     features: Vec::new(), opened_at: noon, acknowledged_at: None, action_taken: None,
/// #     retraining_run: None, quiet_runs: 0, resolved_at: None, deliveries: Vec::new(),
/// # };
/// ledger.open_alert(&alert).await?; // what the monitor does
/// let pager = Arc::new(Pager::default());
/// let delivery = Delivery::new(log, ledger.clone(), "replica-1")
///     .sink(pager.clone())
///     .cooldown(Duration::from_secs(6 * 3600));
/// assert_eq!(delivery.run(&alert.model).await?.delivered, 1);
/// assert_eq!(delivery.run(&alert.model).await?.delivered, 0); // it is on record
/// assert_eq!(*pager.0.lock().unwrap(), ["opened: 3 of 19 features drifted"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Delivery {
    log: Arc<dyn InferenceLog>,
    ledger: Arc<dyn Ledger>,
    turns: Turns,
    sinks: Vec<Arc<dyn AlertSink>>,
    cooldown: Duration,
    max_age: Duration,
    // at least 1
    attempts: u32,
}

impl Delivery {
    /// A delivery to nobody yet. `owner` names this process among all that share the ledger.
    #[must_use]
    pub fn new(
        log: Arc<dyn InferenceLog>,
        ledger: Arc<dyn Ledger>,
        owner: impl Into<String>,
    ) -> Self {
        let turns = Turns::new(Arc::clone(&ledger), owner.into());
        let hour = Duration::from_secs(3600);
        let (cooldown, max_age) = (hour, 24 * hour);
        Self { log, ledger, turns, sinks: Vec::new(), cooldown, max_age, attempts: 5 }
    }

    /// One more receiver; of two with one name the first counts. Defaults to none.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn AlertSink>) -> Self {
        if self.sinks.iter().all(|known| known.name() != sink.name()) {
            self.sinks.push(sink);
        }
        self
    }

    /// How long after an alert was told another one with its key and of no greater severity is held
    /// back. Defaults to one hour.
    #[must_use]
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// How long ago an alert may have ended that a receiver has never heard of. Defaults to 24
    /// hours.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// In how many runs a notice is tried before it is given up, at least 1. Defaults to 5.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Tells every receiver what is on record and not told yet, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another process does so, and whatever the stores
    /// report. A receiver that fails is no error: it is on record.
    pub async fn run(&self, model: &ModelName) -> Result<Told, Error> {
        let turn = self.turns.take(DELIVERY, format!("deliver/{model}")).await?;
        let result = self.tell(model).await;
        turn.give_back().await;
        result
    }

    /// The same for a flow that goes on whatever happens: why somebody has not heard of every alert
    /// yet; `None` when everybody has.
    pub async fn untold(&self, model: &ModelName) -> Option<String> {
        match self.run(model).await {
            Ok(told) if told.pending + told.dead == 0 => None,
            Ok(told) => Some(format!("{} to be told again, {} given up", told.pending, told.dead)),
            // Whoever has the turn tells these as well, if it lives.
            Err(error) if error.kind() == ErrorKind::Conflict => Some(error.to_string()),
            Err(error) => Some(error.chain()),
        }
    }

    async fn tell(&self, model: &ModelName) -> Result<Told, Error> {
        let now = self.log.now().await?;
        let mut alerts = self.ledger.open_alerts(model).await?;
        for alert in self.ledger.alerts(model, None, RECENT).await?.items {
            if alerts.iter().all(|known| known.id != alert.id) {
                alerts.push(alert);
            }
        }
        alerts.sort_by_key(|alert| (alert.opened_at, alert.id));
        let mut told = Told::default();
        for sink in &self.sinks {
            let mut is_away = false;
            for at in 0..alerts.len() {
                let Some(due) = self.due(&alerts, at, sink.name(), now) else { continue };
                let mut alert = alerts[at].clone();
                match due {
                    Due::Hold(event) => note(&mut alert, sink.name(), event, now, |_| {}),
                    Due::Drop(events) => {
                        for event in events {
                            note(&mut alert, sink.name(), *event, now, |delivery| {
                                delivery.state = DeliveryState::Superseded;
                            });
                        }
                    }
                    Due::Tell(event) if is_away => {
                        told.pending += 1;
                        note(&mut alert, sink.name(), event, now, |_| {});
                    }
                    Due::Tell(event) => {
                        let notice = AlertNotice { event, alert: alert.clone() };
                        let result = sink.deliver(&notice).await;
                        is_away =
                            result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unavailable);
                        note(&mut alert, sink.name(), event, now, |delivery| {
                            self.tried(delivery, result, &mut told);
                        });
                        if event == AlertEvent::Resolved {
                            // Nobody has to hear any more that it had begun.
                            note(&mut alert, sink.name(), AlertEvent::Opened, now, |delivery| {
                                if !delivery.state.is_final() {
                                    delivery.state = DeliveryState::Superseded;
                                }
                            });
                        }
                    }
                }
                if alert != alerts[at] {
                    // A look of the monitor may have written to it meanwhile.
                    let fresh = self.ledger.alert(alert.id).await?;
                    let told = Alert { deliveries: alert.deliveries.clone(), ..fresh };
                    self.ledger.update_alert(&told).await?;
                    alerts[at] = alert;
                }
            }
        }
        Ok(told)
    }

    fn tried(&self, delivery: &mut AlertDelivery, result: Result<(), Error>, told: &mut Told) {
        delivery.attempts = delivery.attempts.saturating_add(1);
        match result {
            Ok(()) => {
                delivery.state = DeliveryState::Delivered;
                told.delivered += 1;
            }
            Err(error) => {
                delivery.last_error = Some(error.chain().chars().take(ERROR_CHARS).collect());
                if delivery.attempts >= self.attempts {
                    delivery.state = DeliveryState::Dead;
                    told.dead += 1;
                } else {
                    told.pending += 1;
                }
            }
        }
    }

    /// What there is to do about the alert at `at` for the receiver `sink`.
    fn due(&self, alerts: &[Alert], at: usize, sink: &str, now: Timestamp) -> Option<Due> {
        let alert = &alerts[at];
        let opened = on_record(alert, sink, AlertEvent::Opened);
        let opened_ended = opened.is_some_and(|delivery| delivery.state.is_final());
        let Some(resolved_at) = alert.resolved_at else {
            return match opened_ended {
                true => None,
                false if self.is_held(alerts, at, sink, now) => Some(Due::Hold(AlertEvent::Opened)),
                false => Some(Due::Tell(AlertEvent::Opened)),
            };
        };
        let resolved = on_record(alert, sink, AlertEvent::Resolved);
        if resolved.is_some_and(|delivery| delivery.state.is_final()) {
            return None;
        }
        if opened.is_none() && resolved.is_none() && now.since(resolved_at) > self.max_age {
            return None;
        }
        if !opened_ended && self.is_held(alerts, at, sink, now) {
            return Some(Due::Drop(&[AlertEvent::Opened, AlertEvent::Resolved]));
        }
        Some(Due::Tell(AlertEvent::Resolved))
    }

    /// Whether the receiver has heard of another alert like this a short while ago.
    fn is_held(&self, alerts: &[Alert], at: usize, sink: &str, now: Timestamp) -> bool {
        let alert = &alerts[at];
        alerts.iter().any(|other| {
            let told = on_record(other, sink, AlertEvent::Opened);
            other.id != alert.id
                && other.key == alert.key
                && other.severity >= alert.severity
                && told.is_some_and(|told| {
                    told.state == DeliveryState::Delivered
                        && now.since(told.updated_at) < self.cooldown
                })
        })
    }
}

/// What to do about an alert.
enum Due {
    Tell(AlertEvent),
    /// Not now.
    Hold(AlertEvent),
    /// Not any more.
    Drop(&'static [AlertEvent]),
}

fn on_record<'a>(alert: &'a Alert, sink: &str, event: AlertEvent) -> Option<&'a AlertDelivery> {
    alert.deliveries.iter().find(|delivery| delivery.sink == sink && delivery.event == event)
}

/// Changes the delivery on record, which is made if it is not there; its time is that of the last
/// change.
fn note(
    alert: &mut Alert,
    sink: &str,
    event: AlertEvent,
    now: Timestamp,
    change: impl FnOnce(&mut AlertDelivery),
) {
    let known = alert.deliveries.iter().position(|d| d.sink == sink && d.event == event);
    let at = known.unwrap_or_else(|| {
        alert.deliveries.push(AlertDelivery {
            sink: sink.to_owned(),
            event,
            state: DeliveryState::Pending,
            attempts: 0,
            last_error: None,
            updated_at: now,
        });
        alert.deliveries.len() - 1
    });
    let delivery = &mut alert.deliveries[at];
    let before = delivery.clone();
    change(delivery);
    if *delivery != before {
        delivery.updated_at = now;
    }
}
