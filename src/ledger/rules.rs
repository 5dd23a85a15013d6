//! What every ledger decides alike.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::delivery::merged;
use super::{Alert, DecisionState, Lease, PromotionDecision};
use crate::{Error, ErrorKind, Timestamp};

/// What [`DecisionStore::record_decision`](super::DecisionStore::record_decision) has left to do.
///
/// ```
/// # use pmmds::ledger::{DecisionKind, PromotionDecision};
/// use pmmds::ledger::{DecisionState, DecisionStep, Rules};
/// # let noon: pmmds::Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let intended = PromotionDecision {
/// #     id: uuid::Uuid::from_u128(1),
/// #     model: "churn".parse()?,
/// #     kind: DecisionKind::Promotion,
/// #     champion: None,
/// #     challenger: pmmds::registry::VersionId::FIRST,
/// #     promoted: true,
/// #     reason: "First model v1 promoted.".to_owned(),
/// #     state: DecisionState::Intended,
/// #     retraining_run: None,
/// #     record: None,
/// #     created_at: noon,
/// #     updated_at: noon,
/// # };
/// let rules = Rules::new("mine");
/// let done = PromotionDecision { state: DecisionState::Done, ..intended.clone() };
/// assert_eq!(rules.decision(None, &intended)?, DecisionStep::Write);
/// assert_eq!(rules.decision(Some(&intended), &done)?, DecisionStep::Write);
/// assert_eq!(rules.decision(Some(&done), &done)?, DecisionStep::Keep);
/// assert!(rules.decision(Some(&done), &intended).is_err(), "done is done");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecisionStep {
    /// Nothing: it is there already, word for word.
    Keep,
    /// Write it.
    Write,
}

/// The decisions of a ledger, for who implements one: same question, same answer, same words,
/// whatever the store. Each is asked inside the transaction that writes.
///
/// ```
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::ledger::Rules;
///
/// const RULES: Rules = Rules::new("my ledger");
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let minute = Duration::from_secs(60);
/// let ours = RULES.acquire(None, "monitor", "replica-1", noon, minute)?.expect("it is free");
/// assert_eq!(RULES.acquire(Some(&ours), "monitor", "replica-2", noon, minute)?, None);
/// assert!(RULES.fence(&ours, Some(&ours), noon).is_ok());
///
/// let later = noon.saturating_add(minute);
/// let theirs = RULES.acquire(Some(&ours), "monitor", "replica-2", later, minute)?.unwrap();
/// assert!(theirs.token > ours.token);
/// assert_eq!(
///     RULES.fence(&ours, Some(&theirs), later).unwrap_err().to_string(),
///     "my ledger: conflict: lease monitor of replica-1 (token 1) was lost: replica-2 has it (token 2)"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub(super) component: &'static str,
}

impl Rules {
    /// The rules of the ledger that its errors call `component`.
    #[must_use]
    pub const fn new(component: &'static str) -> Self {
        Self { component }
    }

    /// What `found`, the last lease of this name that was ever given (returned ones included,
    /// with an end that has passed), becomes when `owner` asks at `now`; `None` while somebody
    /// else holds it.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) when there are no more tokens.
    pub fn acquire(
        &self,
        found: Option<&Lease>,
        name: &str,
        owner: &str,
        now: Timestamp,
        length: Duration,
    ) -> Result<Option<Lease>, Error> {
        let token = match found {
            None => 1,
            Some(lease) if lease.expires_at > now && lease.owner == owner => lease.token,
            Some(lease) if lease.expires_at > now => return Ok(None),
            // Tokens are kept as i64 where a store knows no u64.
            Some(lease) if lease.token < i64::MAX.unsigned_abs() => lease.token + 1,
            Some(_) => {
                let context = format!("lease {name} has no more tokens");
                return Err(Error::new(ErrorKind::Conflict, self.component, context));
            }
        };
        let expires_at = now.saturating_add(length);
        Ok(Some(Lease { name: name.to_owned(), owner: owner.to_owned(), token, expires_at }))
    }

    /// Whether `lease` is still the one that counts at `now`, given the last lease of its name.
    ///
    /// A lease that has expired is lost, also before somebody else takes it.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if it is lost.
    pub fn fence(&self, lease: &Lease, found: Option<&Lease>, now: Timestamp) -> Result<(), Error> {
        let held = found.filter(|found| found.expires_at > now);
        let why = match held {
            Some(held) if held.token == lease.token && held.owner == lease.owner => return Ok(()),
            Some(held) => format!("{} has it (token {})", held.owner, held.token),
            None => "nobody has it".to_owned(),
        };
        let Lease { name, owner, token, .. } = lease;
        let context = format!("lease {name} of {owner} (token {token}) was lost: {why}");
        Err(Error::new(ErrorKind::Conflict, self.component, context))
    }

    /// What `found`, the last lease of its name, becomes when `lease` is given back at `now`; `None`
    /// if `lease` is no longer the one that counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::Timestamp;
    /// use pmmds::ledger::Rules;
    ///
    /// let rules = Rules::new("my ledger");
    /// let (noon, minute): (Timestamp, _) = ("2026-03-01T12:00:00Z".parse()?, Duration::from_secs(60));
    /// let lease = rules.acquire(None, "monitor", "a", noon, minute)?.unwrap();
    /// let returned = rules.release(&lease, Some(&lease), noon).unwrap();
    /// assert!(returned.expires_at < noon);
    /// assert_eq!(rules.acquire(Some(&returned), "monitor", "b", noon, minute)?.unwrap().token, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn release(&self, lease: &Lease, found: Option<&Lease>, now: Timestamp) -> Option<Lease> {
        self.fence(lease, found, now).ok()?;
        // Long over, also for a clock that is set back.
        Some(Lease { expires_at: now.min(Timestamp::EPOCH), ..lease.clone() })
    }

    /// What is left to do to store `decision` where `found` has the same id.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// use pmmds::ledger::{DecisionKind, DecisionState, DecisionStep, PromotionDecision, Rules};
    /// use pmmds::registry::VersionId;
    ///
    /// let rules = Rules::new("my ledger");
    /// let intended = PromotionDecision {
    ///     id: uuid::Uuid::from_u128(7),
    ///     model: "churn".parse()?,
    ///     kind: DecisionKind::Promotion,
    ///     champion: None,
    ///     challenger: VersionId::FIRST,
    ///     promoted: true,
    ///     reason: "the first version".to_owned(),
    ///     state: DecisionState::Intended,
    ///     retraining_run: None,
    ///     record: None,
    ///     created_at: Timestamp::EPOCH,
    ///     updated_at: Timestamp::EPOCH,
    /// };
    /// let done = PromotionDecision { state: DecisionState::Done, ..intended.clone() };
    /// assert_eq!(rules.decision(None, &intended)?, DecisionStep::Write);
    /// assert_eq!(rules.decision(Some(&intended), &done)?, DecisionStep::Write);
    /// assert_eq!(rules.decision(Some(&done), &done)?, DecisionStep::Keep);
    /// assert_eq!(
    ///     rules.decision(Some(&done), &intended).unwrap_err().to_string(),
    ///     "my ledger: conflict: decision 00000000-0000-0000-0000-000000000007 is done and does not change"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if `found` is carried out or cancelled, and differs.
    pub fn decision(
        &self,
        found: Option<&PromotionDecision>,
        decision: &PromotionDecision,
    ) -> Result<DecisionStep, Error> {
        match found {
            None => Ok(DecisionStep::Write),
            Some(found) if found == decision => Ok(DecisionStep::Keep),
            Some(found) if found.state == DecisionState::Intended => Ok(DecisionStep::Write),
            Some(found) => {
                let PromotionDecision { id, state, .. } = found;
                let context = format!("decision {id} is {} and does not change", state.as_str());
                Err(Error::new(ErrorKind::Conflict, self.component, context))
            }
        }
    }

    /// What is stored when `found` is to be replaced by `alert`: what names it and how it began stay,
    /// and so does what somebody else has recorded in the meantime.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// # use pmmds::drift::Severity;
    /// use pmmds::ledger::{Alert, Rules};
    /// # use pmmds::registry::VersionId;
    /// # use uuid::Uuid;
    /// # let opened = Alert {
    /// #     id: Uuid::nil(), model: "churn".parse()?, version: VersionId::FIRST, key: "drift".to_owned(),
    /// #     drift_run: None, last_run: None, severity: Severity::Major,
    /// #     message: String::new(), features: Vec::new(), opened_at: Timestamp::EPOCH,
    /// #     acknowledged_at: None, action_taken: None, retraining_run: None, quiet_runs: 0,
    /// #     resolved_at: None, deliveries: Vec::new(),
    /// # };
    /// let rules = Rules::new("my ledger");
    /// let acknowledged = rules.acknowledge(&opened, Some("looking"), Timestamp::EPOCH);
    /// // A monitor that read the alert before that.
    /// let quieter = Alert { quiet_runs: 1, ..opened };
    /// let stored = rules.update_alert(&acknowledged, &quieter);
    /// assert_eq!((stored.quiet_runs, stored.acknowledged_at), (1, Some(Timestamp::EPOCH)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn update_alert(&self, found: &Alert, alert: &Alert) -> Alert {
        Alert {
            id: found.id,
            model: found.model.clone(),
            version: found.version,
            key: found.key.clone(),
            drift_run: found.drift_run,
            opened_at: found.opened_at,
            acknowledged_at: found.acknowledged_at.or(alert.acknowledged_at),
            action_taken: found.action_taken.clone().or_else(|| alert.action_taken.clone()),
            retraining_run: found.retraining_run.or(alert.retraining_run),
            resolved_at: found.resolved_at.or(alert.resolved_at),
            deliveries: merged(&found.deliveries, &alert.deliveries),
            ..alert.clone()
        }
    }

    /// `found`, acknowledged at `at`: the first time holds, and the latest action.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// # use pmmds::drift::Severity;
    /// use pmmds::ledger::{Alert, Rules};
    /// # use pmmds::registry::VersionId;
    /// # use uuid::Uuid;
    /// # let opened = Alert {
    /// #     id: Uuid::nil(), model: "churn".parse()?, version: VersionId::FIRST, key: "drift".to_owned(),
    /// #     drift_run: None, last_run: None, severity: Severity::Major,
    /// #     message: String::new(), features: Vec::new(), opened_at: Timestamp::EPOCH,
    /// #     acknowledged_at: None, action_taken: None, retraining_run: None, quiet_runs: 0,
    /// #     resolved_at: None, deliveries: Vec::new(),
    /// # };
    /// let rules = Rules::new("my ledger");
    /// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
    /// let first = rules.acknowledge(&opened, Some("looking"), noon);
    /// let second = rules.acknowledge(&first, Some("rolled back"), noon.saturating_add(std::time::Duration::from_secs(60)));
    /// assert_eq!(second.acknowledged_at, Some(noon));
    /// assert_eq!(second.action_taken.as_deref(), Some("rolled back"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn acknowledge(&self, found: &Alert, action_taken: Option<&str>, at: Timestamp) -> Alert {
        let mut alert = found.clone();
        alert.acknowledged_at.get_or_insert(at);
        if let Some(action) = action_taken {
            alert.action_taken = Some(action.to_owned());
        }
        alert
    }

    /// Whether a page of `limit` items can be asked for.
    ///
    /// ```
    /// # use pmmds::ledger::Rules;
    /// assert!(Rules::new("my ledger").limit(1).is_ok());
    /// assert!(Rules::new("my ledger").limit(0).is_err());
    /// ```
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for 0: its answer would look like the end.
    pub fn limit(&self, limit: usize) -> Result<(), Error> {
        if limit > 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidInput, self.component, "a page has at least one item"))
    }

    /// The error that says that there is no such record, for example no `drift run`.
    ///
    /// ```
    /// # use pmmds::ledger::Rules;
    /// # use uuid::Uuid;
    /// let error = Rules::new("sqlite").not_found("alert", Uuid::from_u128(7));
    /// assert_eq!(error.to_string(),
    ///     "sqlite: not found: there is no alert 00000000-0000-0000-0000-000000000007");
    /// ```
    #[must_use]
    pub fn not_found(&self, what: &str, id: Uuid) -> Error {
        Error::new(ErrorKind::NotFound, self.component, format!("there is no {what} {id}"))
    }

    /// `record` as JSON, for stores that keep documents; `what` names it in errors.
    ///
    /// ```
    /// # use pmmds::ledger::Rules;
    /// let rules = Rules::new("sqlite");
    /// assert_eq!(rules.document("number", &0.1_f64)?, "0.1");
    /// assert_eq!(rules.record::<f64>("number", "0.1")?, 0.1);
    /// assert_eq!(rules.document("number", &f64::NAN).unwrap_err().to_string(),
    ///     "sqlite: invalid input: number cannot be stored: it would not read back");
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it could not be read back, because it holds a
    /// number that JSON does not have.
    pub fn document<T: Serialize + DeserializeOwned>(
        &self,
        what: &str,
        record: &T,
    ) -> Result<String, Error> {
        let text = serde_json::to_string(record);
        text.and_then(|text| serde_json::from_str::<T>(&text).map(|_| text)).map_err(|cause| {
            let context = format!("{what} cannot be stored: it would not read back");
            Error::new(ErrorKind::InvalidInput, self.component, context).with_source(cause)
        })
    }

    /// The record in `document`, which [`document`](Self::document) made.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) if it is no such record.
    pub fn record<T: DeserializeOwned>(&self, what: &str, document: &str) -> Result<T, Error> {
        serde_json::from_str(document).map_err(|cause| {
            let context = format!("stored {what} cannot be read");
            Error::new(ErrorKind::Corrupt, self.component, context).with_source(cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules::new("test");
    const SECOND: Duration = Duration::from_secs(1);

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn a_lease_is_renewed_only_while_it_lasts() {
        let ask = |found: &Lease, now| RULES.acquire(Some(found), "n", "a", at(now), SECOND);
        let first = RULES.acquire(None, "n", "a", at(0), SECOND).unwrap().unwrap();
        assert_eq!((first.token, first.expires_at), (1, at(1_000_000)));
        let renewed = ask(&first, 999_999).unwrap().unwrap();
        assert_eq!((renewed.token, renewed.expires_at), (1, at(1_999_999)));
        assert_eq!(ask(&first, 1_000_000).unwrap().unwrap().token, 2);
        let last = Lease { token: i64::MAX.unsigned_abs(), ..first };
        assert_eq!(ask(&last, 1_000_000).unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn a_lease_is_lost_when_it_ends() {
        let lease = RULES.acquire(None, "n", "a", at(0), SECOND).unwrap().unwrap();
        assert!(RULES.fence(&lease, Some(&lease), at(999_999)).is_ok());
        assert_eq!(
            RULES.fence(&lease, Some(&lease), at(1_000_000)).unwrap_err().to_string(),
            "test: conflict: lease n of a (token 1) was lost: nobody has it"
        );
        // The same owner in another life: the token tells.
        let later = Lease { token: 2, expires_at: at(9_000_000), ..lease.clone() };
        assert!(RULES.fence(&lease, Some(&later), at(1)).is_err());
        assert!(RULES.fence(&lease, None, at(0)).is_err());
    }
}
