//! A replica that serves another version than the alias names, and who is told of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::drift::Severity;
use crate::ledger::{Alert, Ledger};
use crate::registry::{Alias, ModelName, VersionId};
use crate::{Error, Timestamp};

/// What the keys of these alerts begin with; the name of the replica follows.
const KEY: &str = "version skew/";

/// What a replica serves, and what it should.
///
/// ```
/// use pmmds::lifecycle::VersionSkew;
/// use pmmds::registry::{Alias, VersionId};
/// use pmmds::Timestamp;
///
/// let skew = VersionSkew {
///     alias: Alias::production(),
///     expected: VersionId::new(2).unwrap(),
///     served: Some(VersionId::FIRST),
///     since: Timestamp::EPOCH,
///     why: Some("version_rejected: smoke prediction 3 is 0.7 and not 0.4".to_owned()),
/// };
/// assert_eq!(
///     skew.to_string(),
///     "serves version 1 since 1970-01-01T00:00:00Z, while version 2 is behind production: \
///      version_rejected: smoke prediction 3 is 0.7 and not 0.4"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSkew {
    /// the alias that is followed
    pub alias: Alias,
    /// the version behind the alias, as the registry has said
    pub expected: VersionId,
    /// the version in service; `None` where none is
    pub served: Option<VersionId>,
    /// when it was first seen that they differ
    pub since: Timestamp,
    /// why the expected version is not in service, as far as that is known
    pub why: Option<String>,
}

impl fmt::Display for VersionSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alias, expected, since, .. } = self;
        match self.served {
            Some(served) => write!(f, "serves version {served}")?,
            None => f.write_str("serves no version")?,
        }
        write!(f, " since {since}, while version {expected} is behind {alias}")?;
        self.why.iter().try_for_each(|why| write!(f, ": {why}"))
    }
}

/// Keeps the alerts about one replica's version skew.
///
/// * Each replica that lags has one open alert of its own, under its name, whichever versions it is
///   about: two that lag are two alerts, since each ends by itself.
/// * The alert is the business of the replica alone: it has no drift run, so no monitor or promotion
///   resolves it, and no retraining answers it.
/// * Where nothing is known, because the registry is away, [`unknown`](Self::unknown) changes no
///   alert: it neither opens nor resolves one.
/// * A replica that lags renews a lease. When it has been [silent](Self::silence) for so long that
///   the lease has ended, any other replica that does not lag resolves the alert: there is nobody any
///   more whom it is about.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::ledger::AlertStore;
/// use pmmds::lifecycle::{SkewRecord, VersionSkew};
/// use pmmds::memory::MemoryLedger;
/// use pmmds::registry::{Alias, ModelName, VersionId};
/// use pmmds::Timestamp;
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let ledger = Arc::new(MemoryLedger::with_clock(move || noon));
/// let model = ModelName::new("churn")?;
/// let record = SkewRecord::new(ledger.clone(), model.clone(), "web-1:8000");
/// let skew = VersionSkew {
///     alias: Alias::production(),
///     expected: VersionId::new(2).unwrap(),
///     served: Some(VersionId::FIRST),
///     since: noon,
///     why: None,
/// };
/// let alert = record.lagging(&skew, Uuid::from_u128(7), noon).await?;
/// assert!(alert.message.starts_with("replica web-1:8000 of churn serves version 1 since"));
/// // However often it is told.
/// assert_eq!(record.lagging(&skew, Uuid::from_u128(8), noon).await?.id, alert.id);
///
/// let resolved = record.agreed(noon).await?;
/// assert_eq!((resolved.len(), resolved[0].id), (1, alert.id));
/// assert!(ledger.open_alerts(&model).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SkewRecord {
    ledger: Arc<dyn Ledger>,
    model: ModelName,
    replica: String,
    silence: Duration,
}

impl SkewRecord {
    /// The record of the process that calls itself `replica`, as no other one of `model` does.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, model: ModelName, replica: impl Into<String>) -> Self {
        Self { ledger, model, replica: replica.into(), silence: Duration::from_secs(15 * 60) }
    }

    /// How long a replica that lags may say nothing before others take it for gone. Defaults to 15
    /// minutes.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// The replica lags: its alert is opened at `now` as `id`, or said anew in the words of `skew`
    /// where it is open. To be called again before the [silence](Self::silence) is over.
    ///
    /// An alert that is older than `skew` says it is was opened by a process before this one: then
    /// it says that it is so since the alert was opened.
    ///
    /// # Errors
    ///
    /// Whatever the ledger reports.
    pub async fn lagging(
        &self,
        skew: &VersionSkew,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Alert, Error> {
        // First, so that nobody takes the alert for that of a replica that is gone.
        self.unknown().await?;
        let key = format!("{KEY}{}", self.replica);
        let message =
            |skew: &VersionSkew| format!("replica {} of {} {skew}", self.replica, self.model);
        let open = self.ledger.open_alerts(&self.model).await?;
        if let Some(mut alert) = open.into_iter().find(|alert| alert.key == key) {
            let since = skew.since.min(alert.opened_at);
            let message = message(&VersionSkew { since, ..skew.clone() });
            if alert.message != message {
                alert.message = message;
                self.ledger.update_alert(&alert).await?;
            }
            return Ok(alert);
        }
        let alert = Alert {
            id,
            model: self.model.clone(),
            version: skew.served.unwrap_or(skew.expected),
            key,
            drift_run: None,
            last_run: None,
            severity: Severity::Significant,
            message: message(skew),
            features: Vec::new(),
            opened_at: now,
            acknowledged_at: None,
            action_taken: None,
            retraining_run: None,
            quiet_runs: 0,
            resolved_at: None,
            deliveries: Vec::new(),
        };
        self.ledger.open_alert(&alert).await
    }

    /// The replica serves what the registry has just said it should: its own alerts are over, and
    /// those of replicas that are gone, and its lease has ended. Returns what was resolved.
    ///
    /// # Errors
    ///
    /// Whatever the ledger reports.
    pub async fn agreed(&self, now: Timestamp) -> Result<Vec<Alert>, Error> {
        let mut resolved = Vec::new();
        for mut alert in self.ledger.open_alerts(&self.model).await? {
            let Some(replica) = alert.key.strip_prefix(KEY) else { continue };
            let ours = replica == self.replica;
            if ours || self.ledger.lease(&self.lease_of(replica)).await?.is_none() {
                alert.resolved_at = Some(now);
                self.ledger.update_alert(&alert).await?;
                resolved.push(alert);
            }
        }
        let lease = self.ledger.lease(&self.lease_of(&self.replica)).await?;
        if let Some(lease) = lease.filter(|lease| lease.owner == self.replica) {
            self.ledger.release_lease(&lease).await?;
        }
        Ok(resolved)
    }

    /// The replica that lagged is still there, and nothing new is known.
    ///
    /// # Errors
    ///
    /// Whatever the ledger reports.
    pub async fn unknown(&self) -> Result<(), Error> {
        let lease = self.lease_of(&self.replica);
        self.ledger.acquire_lease(&lease, &self.replica, self.silence).await.map(drop)
    }

    fn lease_of(&self, replica: &str) -> String {
        format!("skew/{}/{replica}", self.model)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::ledger::{AlertStore, LeaseStore};
    use crate::lifecycle::open_drift_alert;
    use crate::memory::MemoryLedger;

    const MINUTE: Duration = Duration::from_secs(60);

    struct World {
        ledger: Arc<MemoryLedger>,
        minutes: Arc<AtomicU64>,
    }

    impl World {
        fn new() -> Self {
            let minutes = Arc::<AtomicU64>::default();
            let of_ledger = Arc::clone(&minutes);
            let ledger = MemoryLedger::with_clock(move || at(of_ledger.load(Ordering::SeqCst)));
            Self { ledger: Arc::new(ledger), minutes }
        }

        fn replica(&self, name: &str) -> SkewRecord {
            SkewRecord::new(Arc::clone(&self.ledger) as _, model(), name).silence(10 * MINUTE)
        }

        fn now(&self) -> Timestamp {
            at(self.minutes.load(Ordering::SeqCst))
        }

        fn after(&self, minutes: u64) {
            self.minutes.fetch_add(minutes, Ordering::SeqCst);
        }

        async fn lags(&self, name: &str, served: Option<u64>, expected: u64) -> Alert {
            let skew = VersionSkew {
                alias: Alias::production(),
                expected: VersionId::new(expected).unwrap(),
                served: served.and_then(VersionId::new),
                since: at(0),
                why: Some("schema_changed".to_owned()),
            };
            let id = Uuid::from_u128(self.now().as_micros().unsigned_abs().into());
            let id = Uuid::from_u128(id.as_u128() * 1_000 + name.len() as u128);
            self.replica(name).lagging(&skew, id, self.now()).await.unwrap()
        }

        async fn open(&self) -> Vec<String> {
            let open = self.ledger.open_alerts(&model()).await.unwrap();
            open.into_iter().map(|alert| alert.key).collect()
        }
    }

    fn at(minutes: u64) -> Timestamp {
        let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        noon.saturating_add(MINUTE * u32::try_from(minutes).unwrap())
    }

    fn model() -> ModelName {
        "churn".parse().unwrap()
    }

    #[tokio::test]
    async fn each_replica_that_lags_has_one_alert_and_ends_it_alone() {
        let world = World::new();
        let first = world.lags("a", Some(1), 2).await;
        world.after(1);
        assert_eq!(world.lags("a", Some(1), 2).await, first);
        let other = world.lags("bb", None, 2).await;
        assert_eq!(other.version.number(), 2, "nothing is served");
        assert!(other.message.contains("replica bb of churn serves no version"));
        // The alias moves on: the same alert in other words.
        let moved = world.lags("a", Some(1), 3).await;
        assert_eq!(moved.id, first.id);
        assert!(moved.message.contains("version 3 is behind production"), "{}", moved.message);
        assert_eq!(world.ledger.alert(first.id).await.unwrap().message, moved.message);
        assert_eq!(world.open().await.len(), 2);
        // Another version that it lags with is no second one either.
        assert_eq!(world.lags("a", Some(2), 3).await.id, first.id);

        let lease =
            async |name: &str| world.ledger.lease(&world.replica(name).lease_of(name)).await;
        assert!(lease("a").await.unwrap().is_some());
        let resolved = world.replica("a").agreed(world.now()).await.unwrap();
        assert_eq!(resolved.iter().map(|alert| alert.id).collect::<Vec<_>>(), [first.id]);
        assert_eq!(world.open().await, ["version skew/bb"]);
        assert_eq!(lease("a").await.unwrap(), None);
        assert!(lease("bb").await.unwrap().is_some());
        // No retraining answers it.
        let version = other.version;
        assert_eq!(open_drift_alert(&*world.ledger, &model(), version).await.unwrap(), None);
        // Another time is another alert.
        world.after(1);
        assert_ne!(world.lags("a", Some(1), 2).await.id, first.id);
    }

    #[tokio::test]
    async fn a_replica_that_was_restarted_lags_since_its_alert_was_opened() {
        let world = World::new();
        world.after(5);
        let before = world.lags("a", Some(1), 2).await;
        assert!(before.message.contains("since 2026-03-01T12:00:00Z"), "{}", before.message);
        let skew = VersionSkew {
            alias: Alias::production(),
            expected: VersionId::new(2).unwrap(),
            served: None,
            since: at(30),
            why: None,
        };
        let after = world.replica("a").lagging(&skew, Uuid::from_u128(1), at(35)).await.unwrap();
        assert_eq!(after.id, before.id);
        assert!(
            after.message.contains("no version since 2026-03-01T12:05:00Z"),
            "{}",
            after.message
        );
    }

    #[tokio::test]
    async fn the_alert_of_a_replica_that_is_gone_is_resolved_by_another_and_no_sooner() {
        let world = World::new();
        let gone = world.lags("gone", Some(1), 2).await;
        let other = world.replica("other");
        world.after(9);
        assert_eq!(other.agreed(world.now()).await.unwrap(), []);
        // It is there, and knows nothing.
        world.replica("gone").unknown().await.unwrap();
        world.after(9);
        assert_eq!(other.agreed(world.now()).await.unwrap(), []);
        world.after(1);
        let resolved = other.agreed(world.now()).await.unwrap();
        assert_eq!((resolved.len(), resolved[0].id), (1, gone.id));
        assert_eq!(resolved[0].resolved_at, Some(world.now()));
    }

    #[tokio::test]
    async fn alerts_about_other_things_are_left_alone() {
        let world = World::new();
        let mut alert = world.lags("a", Some(1), 2).await;
        world.replica("a").agreed(world.now()).await.unwrap();
        alert.id = Uuid::from_u128(1);
        alert.key = "log/default_partition".to_owned();
        world.ledger.open_alert(&alert).await.unwrap();
        world.after(60);
        assert_eq!(world.replica("a").agreed(world.now()).await.unwrap(), []);
        assert_eq!(world.open().await, ["log/default_partition"]);
    }
}
