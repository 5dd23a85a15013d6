//! Alerts about a process that serves another version than the alias names.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::lasting::Lasting;
use super::models::Models;
use crate::ledger::Ledger;
use crate::lifecycle::{Delivery, SkewRecord, VersionSkew};
use crate::registry::VersionId;
use crate::{Error, ErrorKind};

/// Most characters of the name of a replica.
const NAME_CHARS: usize = 128;

/// When somebody is told that this process serves another version than the alias names: because the
/// version was refused, or cannot be fetched, while the version before goes on serving.
///
/// Such an [alert](crate::ledger::Alert) is opened in the ledger of the service, once for each
/// replica, and resolved when its versions agree again. It names the replica, both versions and why
/// the load failed, and starts no retraining. While the registry does not answer, nothing is known:
/// that is no skew, and ends none. See [`SkewRecord`] for replicas that disappear.
///
/// ```
/// use std::time::Duration;
/// use pmmds::axum::SkewAlerts;
/// use pmmds::lifecycle::Delivery;
///
/// # fn tell(builder: pmmds::axum::ServiceBuilder, pager: Delivery) -> pmmds::axum::ServiceBuilder {
/// let alerts = SkewAlerts::new("web-1:8000").after(Duration::from_secs(600)).delivery(pager);
/// builder.poll_every(Duration::from_secs(30)).skew_alerts(alerts)
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct SkewAlerts {
    replica: String,
    after: Duration,
    delivery: Option<Delivery>,
}

impl SkewAlerts {
    /// Alerts about the process that calls itself `replica`, as no other one that serves the model
    /// does: up to 128 characters, host and port for example. It is no secret: whoever may read the
    /// alerts, by `GET /api/v1/alerts` or as a receiver, reads it.
    pub fn new(replica: impl Into<String>) -> Self {
        Self { replica: replica.into(), after: Duration::from_secs(300), delivery: None }
    }

    /// How long the versions differ before an alert is opened. Defaults to five minutes.
    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// Receivers hear of these alerts at once. Defaults to whenever somebody else delivers what is
    /// on record, such as a [`Cycle`](crate::lifecycle::Cycle).
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// What cannot work, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let length = self.replica.chars().count();
        if !(1..=NAME_CHARS).contains(&length) || self.replica.chars().any(char::is_control) {
            problems.push(format!(
                "the name of the replica has {length} characters, expected 1 to {NAME_CHARS}, and \
                 no control characters"
            ));
        }
        if self.after.is_zero() {
            problems.push("skew alerts are opened after 0 s, expected a duration".to_owned());
        }
        problems
    }
}

/// What a look of polling has found: the version behind the alias; `None` when that is not known.
pub(super) type Seen = Option<VersionId>;

/// Compares what polling sees with what is served, and keeps the alert.
pub(super) struct SkewWatch {
    models: Arc<Models>,
    clock: Arc<Clock>,
    record: SkewRecord,
    after: Duration,
    // what the ledger may take
    patience: Duration,
    // of a ledger that is not told what it should be
    untold: Lasting<ErrorKind>,
    delivery: Option<Arc<Delivery>>,
    // when the versions were first seen to differ; all by the monotonic clock
    since: Option<Duration>,
    // when the ledger last heard of it, and what
    told: Option<(Duration, VersionSkew)>,
    // when it last heard that the versions agree
    agreed: Option<Duration>,
    // when receivers are to be told; None: they have heard of everything
    deliver_at: Option<Duration>,
    // of which the result tells why somebody has not heard
    delivering: Option<JoinHandle<Option<String>>>,
}

impl fmt::Debug for SkewWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SkewWatch").field("record", &self.record).finish_non_exhaustive()
    }
}

impl SkewWatch {
    pub(super) fn new(
        alerts: SkewAlerts,
        models: &Arc<Models>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<Clock>,
        interval: Duration,
        patience: Duration,
    ) -> Self {
        let SkewAlerts { replica, after, delivery } = alerts;
        // It is said anew every `after`, at a look of polling: that asks the registry where the
        // alias points, and may load what is there.
        let look = interval + 2 * models.deadline();
        let silence = 3 * (after + patience) + 3 * look;
        Self {
            record: SkewRecord::new(ledger, models.name().clone(), replica).silence(silence),
            models: Arc::clone(models),
            clock,
            after,
            patience,
            untold: Lasting::default(),
            delivery: delivery.map(Arc::new),
            since: None,
            told: None,
            agreed: None,
            deliver_at: None,
            delivering: None,
        }
    }

    /// Works until polling ends.
    pub(super) async fn run(mut self, mut looks: watch::Receiver<Seen>) {
        while looks.changed().await.is_ok() {
            let seen = *looks.borrow_and_update();
            let failed = match tokio::time::timeout(self.patience, self.look(seen)).await {
                Ok(Ok(asked)) => {
                    let over = || self.untold.over(self.clock.elapsed());
                    if let Some(lasted) = asked.then(over).flatten() {
                        tracing::warn!(
                            ?lasted,
                            "the ledger is told of the version in service again"
                        );
                    }
                    None
                }
                Ok(Err(error)) => Some((error.kind(), error.chain())),
                Err(_) => Some((ErrorKind::Unavailable, "it did not answer in time".to_owned())),
            };
            if let Some((kind, error)) = failed {
                if self.untold.is_news(self.clock.elapsed(), kind) {
                    tracing::warn!(error, "the ledger could not be told of the version in service");
                }
                // It may have taken what it was told all the same.
                self.deliver_later();
            }
            self.deliver().await;
        }
    }

    /// Puts on record what is to be said now, and says whether anything was. What fails is tried
    /// again at the next look.
    ///
    /// Whatever it has put there, receivers are to be told what they have not heard: that goes by
    /// the ledger, whoever has opened the alert and when, and an alert that is held back now may be
    /// due the next time.
    async fn look(&mut self, seen: Seen) -> Result<bool, Error> {
        let now = self.clock.elapsed();
        let is_due = |last: Duration| now.saturating_sub(last) >= self.after;
        let current = self.models.current();
        let served = current.as_ref().map(|loaded| loaded.model.version());
        let agrees = served.is_some() && served == seen;
        // What came from a cache may be another version of that number.
        let is_guess = agrees && current.is_some_and(|loaded| loaded.kept_at.is_some());
        let Some(expected) = seen.filter(|_| !is_guess) else {
            if let Some((last, _)) = &mut self.told
                && is_due(*last)
            {
                self.record.unknown().await?;
                *last = now;
                self.deliver_at = Some(now);
                return Ok(true);
            }
            return Ok(false);
        };
        if agrees {
            self.since = None;
            if self.told.is_some() || self.agreed.is_none_or(is_due) {
                let resolved = self.record.agreed(self.clock.now()).await?;
                // A process before this one may have lagged, and ended before it could tell.
                if self.told.is_some() || self.agreed.is_none() || !resolved.is_empty() {
                    self.deliver_at = Some(now);
                }
                self.told = None;
                self.agreed = Some(now);
                for alert in resolved {
                    tracing::info!(alert = %alert.id, key = alert.key, "version skew is over");
                }
                return Ok(true);
            }
            return Ok(false);
        }
        let since = *self.since.get_or_insert(now);
        if !is_due(since) {
            return Ok(false);
        }
        let told = self.told.as_ref().map(|(_, told)| told);
        let first_seen = self.clock.now().saturating_sub(now.saturating_sub(since));
        let skew = VersionSkew {
            alias: self.models.alias().clone(),
            expected,
            served,
            // As it was told: the two clocks may differ by a little.
            since: told.map_or(first_seen, |told| told.since),
            why: self.models.why_not(expected),
        };
        let is_new = told != Some(&skew);
        let is_told = is_new || self.told.as_ref().is_some_and(|(last, _)| is_due(*last));
        if is_told {
            let at = self.clock.now();
            let id = self.clock.id(at);
            let alert = self.record.lagging(&skew, id, at).await?;
            if alert.id == id {
                tracing::error!(alert = %alert.id, message = alert.message, "version skew");
            }
            self.told = Some((now, skew));
            self.deliver_at = Some(now);
        }
        Ok(is_told)
    }

    fn deliver_later(&mut self) {
        self.deliver_at.get_or_insert(self.clock.elapsed().saturating_add(self.after));
    }

    /// Has receivers told, in a task of its own: they may be slow. What they have not taken is
    /// tried again later, and by whoever else delivers.
    async fn deliver(&mut self) {
        if let Some(task) = self.delivering.take_if(|task| task.is_finished())
            && let Ok(Some(why)) = task.await
        {
            tracing::warn!(why, "not every alert is delivered");
            self.deliver_later();
        }
        let is_due = self.deliver_at.is_some_and(|at| at <= self.clock.elapsed());
        if let Some(delivery) = self.delivery.as_ref().filter(|_| is_due)
            && self.delivering.is_none()
        {
            self.deliver_at = None;
            let (delivery, model) = (Arc::clone(delivery), self.models.name().clone());
            self.delivering = Some(tokio::spawn(async move { delivery.untold(&model).await }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_has_a_name_that_can_be_read() {
        assert!(SkewAlerts::new("web-1:8000").problems().is_empty());
        for name in ["", "a\nb", &"x".repeat(129)] {
            assert_eq!(SkewAlerts::new(name).problems().len(), 1, "{name:?}");
        }
        let problems = SkewAlerts::new("").after(Duration::ZERO).problems();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("the name of the replica has 0 characters"));
    }
}
