//! Who was told about an alert, and what came of it.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What there is to tell about an alert.
///
/// ```
/// use pmmds::ledger::AlertEvent;
/// assert_eq!(AlertEvent::Opened.as_str(), "opened");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertEvent {
    /// It was opened.
    Opened,
    /// It is over.
    Resolved,
}

impl AlertEvent {
    /// The word that is stored and sent, such as `"opened"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Resolved => "resolved",
        }
    }
}

/// How far telling somebody has come.
///
/// ```
/// use pmmds::ledger::DeliveryState;
/// assert_eq!(serde_json::to_string(&DeliveryState::Dead)?, r#""dead""#);
/// assert!(DeliveryState::Dead.is_final() && !DeliveryState::Pending.is_final());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// It is still to be sent: not tried yet, failed so far, or held back for a while.
    Pending,
    /// The receiver has taken it.
    Delivered,
    /// There is nothing to tell any more: the alert was over before.
    Superseded,
    /// Given up: a dead letter, with the last error.
    Dead,
}

impl DeliveryState {
    /// Whether nothing more will be tried.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Pending
    }
}

/// One event of one alert on its way to one receiver, as it is on record with the alert.
///
/// ```
/// use pmmds::Timestamp;
/// use pmmds::ledger::{AlertDelivery, AlertEvent, DeliveryState};
/// let delivery = AlertDelivery {
///     sink: "pager".to_owned(),
///     event: AlertEvent::Opened,
///     state: DeliveryState::Dead,
///     attempts: 5,
///     last_error: Some("webhook: unavailable: it answered 500".to_owned()),
///     updated_at: Timestamp::EPOCH,
/// };
/// assert!(delivery.state.is_final());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertDelivery {
    /// name of the receiver
    pub sink: String,
    /// what it is told
    pub event: AlertEvent,
    /// how far that has come
    pub state: DeliveryState,
    /// how often it was tried
    pub attempts: u32,
    /// why the last try failed
    pub last_error: Option<String>,
    /// when that was written down
    pub updated_at: Timestamp,
}

/// What is on record when `found` is to be replaced by `given`: what is final stays, and of two
/// that are not, the one with more attempts.
pub(super) fn merged(found: &[AlertDelivery], given: &[AlertDelivery]) -> Vec<AlertDelivery> {
    let mut all = found.to_vec();
    for delivery in given {
        let same = |known: &&mut AlertDelivery| {
            known.sink == delivery.sink && known.event == delivery.event
        };
        match all.iter_mut().find(same) {
            None => all.push(delivery.clone()),
            Some(known) if known.state.is_final() => {}
            Some(known) if delivery.state.is_final() || delivery.attempts >= known.attempts => {
                known.clone_from(delivery);
            }
            Some(_) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_further_stays() {
        let one = |sink: &str, state, attempts| AlertDelivery {
            sink: sink.to_owned(),
            event: AlertEvent::Opened,
            state,
            attempts,
            last_error: None,
            updated_at: Timestamp::EPOCH,
        };
        use DeliveryState::{Dead, Delivered, Pending};
        let found = [one("a", Pending, 2), one("b", Delivered, 1), one("c", Pending, 1)];
        let given =
            [one("a", Pending, 1), one("b", Dead, 5), one("c", Dead, 1), one("d", Pending, 0)];
        let expected =
            [one("a", Pending, 2), one("b", Delivered, 1), one("c", Dead, 1), one("d", Pending, 0)];
        assert_eq!(merged(&found, &given), expected);
        assert_eq!(merged(&found, &[]), found, "an older copy takes nothing away");
    }
}
