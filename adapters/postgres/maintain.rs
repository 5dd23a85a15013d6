//! What has to be done now and then: partitions, roll-ups, retention, and a look at what has no
//! partition.

use std::sync::atomic::Ordering::Relaxed;

use super::{PostgresStore, query, rows, scalar};
use crate::drift::Severity;
use crate::ledger::{Alert, AlertStore};
use crate::log::Purged;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, Timestamp};

/// Seconds between two questions of a process that writes whether it is time; the first as long after
/// it has opened the database.
pub(super) const LOOK: u64 = 60;

/// Of whoever asks, one goes on: the first after an hour.
const CLAIM: &str = "
    UPDATE pmmds_store.settings SET maintained_at = clock_timestamp()
    WHERE maintained_at <= clock_timestamp() - interval '1 hour'";

/// Key of the alert about events that are of no day with a partition.
const DEFAULT_KEY: &str = "log/default_partition";

const IN_DEFAULT: &str = "
    SELECT v.model, v.version, count(*) FROM pmmds_store.prediction_logs_default e
    JOIN pmmds_store.model_versions v ON v.id = e.model_version
    GROUP BY 1, 2 ORDER BY 1, 2";

const TOLD_OF: &str = "
    SELECT DISTINCT model FROM pmmds_store.drift_alerts WHERE key = $1 AND resolved_at IS NULL";

/// What [`PostgresStore::maintain`] did and found.
///
/// ```no_run
/// # async fn maintain(store: pmmds::postgres::PostgresStore) -> Result<(), pmmds::Error> {
/// let done = store.maintain().await?;
/// if done.rows_in_default > 0 {
///     println!("{} rows are of days without a partition", done.rows_in_default);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Maintenance {
    /// partitions that were made
    pub partitions: u64,
    /// buckets that were added up
    pub buckets: u64,
    /// what was older than the [retention](super::PostgresStoreBuilder::retention)
    pub purged: Purged,
    /// rows of raw features that were older than
    /// [theirs](super::PostgresStoreBuilder::features_retention)
    pub purged_features: u64,
    /// events in the DEFAULT partition: of days long gone or far ahead, or of a day whose partition
    /// could not be made in time. They count like all others, and a purge takes longer.
    pub rows_in_default: u64,
}

impl PostgresStore {
    /// Does at once what a store that writes has done about once an hour, by one process of all on
    /// the database: makes the partitions of the next days, adds up the batches of buckets that are
    /// over, removes what is older than the retention, and counts what has no partition of its own.
    /// Several at a time do no harm.
    ///
    /// While events of a version have no partition of their own, an [alert](Alert) is open in the
    /// ledger of the same database, with the key `log/default_partition`; it is resolved when there
    /// are none any more.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) and others; what was done until then stays.
    pub async fn maintain(&self) -> Result<Maintenance, Error> {
        let partitions = self.make_partitions_ahead().await?;
        let buckets = self.add_up_buckets().await?;
        let mut transaction = self.read("ask for the time").await?;
        let now = self.clock(&mut transaction).await?;
        drop(transaction);
        let mut done = Maintenance { partitions, buckets, ..Maintenance::default() };
        if let Some(kept) = self.inner.features_retention {
            done.purged_features = self.purge_features(now.saturating_sub(kept)).await?;
        }
        if let Some(kept) = self.inner.retention {
            done.purged = self.purge_before(now.saturating_sub(kept)).await?;
        }
        done.rows_in_default = self.tell_of_default(now).await?;
        Ok(done)
    }

    /// After a batch was written: sees to the log in the background, if nobody has for an hour.
    pub(super) fn maintain_in_time(&self) {
        let seconds = self.inner.opened.elapsed().as_secs();
        let next = self.inner.look_at.load(Relaxed);
        if seconds < next {
            return;
        }
        let look_at = &self.inner.look_at;
        if look_at.compare_exchange(next, seconds + LOOK, Relaxed, Relaxed).is_err() {
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            match store.maintain_if_due().await {
                Ok(None) => {}
                Ok(Some(done)) => tracing::debug!(?done, "the log was seen to"),
                Err(error) => {
                    let error = error.chain();
                    tracing::warn!(error, "the log could not be seen to; in an hour again");
                }
            }
        });
    }

    /// Sees to the log, if nobody has for an hour.
    pub(super) async fn maintain_if_due(&self) -> Result<Option<Maintenance>, Error> {
        let what = "ask when the log was seen to";
        let mut transaction = self.write(what).await?;
        let claimed = query(CLAIM).execute(&mut *transaction).await;
        let claimed = claimed.map_err(|e| self.failed(what, e))?.rows_affected() > 0;
        transaction.commit().await.map_err(|e| self.failed(what, e))?;
        if claimed { self.maintain().await.map(Some) } else { Ok(None) }
    }

    /// Opens and resolves the alerts about the DEFAULT partition; the events in it.
    async fn tell_of_default(&self, now: Timestamp) -> Result<u64, Error> {
        let what = "look at the DEFAULT partition";
        let failed = |cause| self.failed(what, cause);
        let mut transaction = self.read(what).await?;
        let found: Vec<(String, i64, i64)> =
            rows(IN_DEFAULT).fetch_all(&mut *transaction).await.map_err(failed)?;
        let told: Vec<String> =
            scalar(TOLD_OF).bind(DEFAULT_KEY).fetch_all(&mut *transaction).await.map_err(failed)?;
        transaction.rollback().await.map_err(failed)?;
        let (mut all, mut there) = (0, Vec::new());
        for (model, version, events) in found {
            let events = events.unsigned_abs();
            all += events;
            let model = self.model_name(&model)?;
            let version = u64::try_from(version).ok().and_then(VersionId::new);
            let version =
                version.ok_or_else(|| self.corrupt(format_args!("{model} has no version")))?;
            tracing::warn!(%model, %version, events, "events are in the DEFAULT partition");
            self.open_alert(&default_alert(model.clone(), version, events, now)).await?;
            there.push((model, version));
        }
        for model in told {
            for mut alert in self.open_alerts(&self.model_name(&model)?).await? {
                let is_there = there.iter().any(|(m, v)| *m == alert.model && *v == alert.version);
                if alert.key == DEFAULT_KEY && !is_there {
                    alert.resolved_at = Some(now);
                    self.update_alert(&alert).await?;
                }
            }
        }
        Ok(all)
    }

    fn model_name(&self, stored: &str) -> Result<ModelName, Error> {
        stored.parse().map_err(|e| self.corrupt(format_args!("{stored:?} is no model: {e}")))
    }
}

fn default_alert(model: ModelName, version: VersionId, events: u64, now: Timestamp) -> Alert {
    let print = Fingerprint::of_bytes(format!("{DEFAULT_KEY}/{model}/{version}/{now}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&print.as_bytes()[..16]);
    Alert {
        id: uuid::Builder::from_custom_bytes(bytes).into_uuid(),
        message: format!(
            "{events} events of {model} v{version} are of days without a partition of the log: \
             they are long past or far ahead, or partitions could not be made. They count; to remove \
             them takes longer than to drop a day"
        ),
        model,
        version,
        key: DEFAULT_KEY.to_owned(),
        drift_run: None,
        last_run: None,
        severity: Severity::Moderate,
        features: Vec::new(),
        opened_at: now,
        acknowledged_at: None,
        action_taken: None,
        retraining_run: None,
        quiet_runs: 0,
        resolved_at: None,
        deliveries: Vec::new(),
    }
}
