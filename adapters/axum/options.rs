//! What the owner of a service decides.

use std::time::Duration;

use crate::log::Sample;

/// When an answer may leave, and so what a crash can lose.
///
/// ```
/// use pmmds::axum::Durability;
/// # fn choose(builder: pmmds::axum::ServiceBuilder) -> pmmds::axum::ServiceBuilder {
/// builder.durability(Durability::Queued)
/// # }
/// # assert_eq!(Durability::default(), Durability::Committed);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The answer waits until its event is committed to the log. A crash loses no answered
    /// prediction; while the log is down, predictions answer 503. A log that keeps events on local
    /// disk until its store has them (feature `spool`) is committed to as soon as they are there:
    /// predictions go on while the store is down, and a crash loses what that log says.
    #[default]
    Committed,
    /// The answer leaves as soon as its event is in the queue in memory. A crash of the process
    /// loses what is queued: at most [`Limits::queue`] and [`Limits::batch_rows`] events, in
    /// healthy times those of the last [`Limits::linger`]. While the log is down, predictions are
    /// answered until the queue is full, then 503.
    Queued,
}

/// Whether the features of a request are kept beside its codes.
///
/// ```
/// use pmmds::axum::RawFeatures;
/// # fn choose(builder: pmmds::axum::ServiceBuilder) -> pmmds::axum::ServiceBuilder {
/// builder.raw_features(RawFeatures::Keep)
/// # }
/// # assert_eq!(RawFeatures::default(), RawFeatures::Drop);
///
/// use pmmds::log::Sample;
/// let tenth = RawFeatures::Sample(Sample::new(0.1)?);
/// # assert_ne!(tenth, RawFeatures::Keep);
/// # Ok::<(), pmmds::log::InvalidShare>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RawFeatures {
    /// Only codes are logged: enough to watch drift, not enough to retrain from traffic.
    #[default]
    Drop,
    /// The whole row is logged as JSON. Retraining from traffic needs it.
    Keep,
    /// The whole row is logged for a share of the requests, by their id. [`Sample`] says what
    /// retraining sees then.
    Sample(Sample),
}

/// Whether a refusal repeats the values that it is about.
///
/// ```
/// use pmmds::axum::RejectedValues;
/// # fn choose(builder: pmmds::axum::ServiceBuilder) -> pmmds::axum::ServiceBuilder {
/// builder.rejected_values(RejectedValues::Hide)
/// # }
/// # assert_eq!(RejectedValues::default(), RejectedValues::Show);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RejectedValues {
    /// The first 64 characters of each, to the one who sent it: what is wrong is found sooner. Never
    /// those of [sensitive](crate::schema::Feature::sensitive) features, nor of a body of the wrong
    /// shape, of which only the kind and the place are told.
    #[default]
    Show,
    /// None: where answers are kept by whoever may not see what was asked. Names of features are
    /// repeated all the same.
    Hide,
}

/// Where the model runs.
///
/// ```
/// use pmmds::axum::Scoring;
/// # fn choose(builder: pmmds::axum::ServiceBuilder) -> pmmds::axum::ServiceBuilder {
/// builder.scoring(Scoring::Blocking)
/// # }
/// # assert_eq!(Scoring::default(), Scoring::Inline);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Scoring {
    /// On the thread of the request: right for models that take microseconds.
    #[default]
    Inline,
    /// On the runtime's blocking pool, at most [`Limits::concurrency`] at a time: right for models
    /// that would hold up other requests.
    Blocking,
}

/// Bounds of a service; there is none that cannot be changed, and none that is not there.
///
/// ```
/// use std::time::Duration;
/// use pmmds::axum::Limits;
///
/// let seconds = Duration::from_secs;
/// let limits = Limits::new()
///     .body_bytes(64 << 10)
///     .batch_bytes(4 << 20)
///     .batch_instances(200)
///     .body_timeout(seconds(2))
///     .header_timeout(seconds(2))
///     .request_timeout(seconds(2))
///     .commit_timeout(seconds(1)) // an answer waits for its event, and no longer
///     .append_timeout(seconds(5))
///     .reload_timeout(seconds(3))
///     .probe_timeout(seconds(1))
///     .connections(1_000)
///     .concurrency(64) // beyond it: 503 at once
///     .queue(10_000)
///     .batch_rows(500)
///     .linger(Duration::from_millis(5))
///     .replay_entries(50_000)
///     .replay_bytes(32 << 20)
///     .drain_delay(seconds(5)) // for load balancers that look every few seconds
///     .drain_timeout(seconds(20))
///     .flush_timeout(seconds(10));
/// assert_ne!(limits, Limits::new());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(super) body_bytes: usize,
    pub(super) batch_bytes: usize,
    pub(super) batch_instances: usize,
    pub(super) body_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) commit_timeout: Duration,
    pub(super) append_timeout: Duration,
    pub(super) reload_timeout: Duration,
    pub(super) probe_timeout: Duration,
    pub(super) drain_delay: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) flush_timeout: Duration,
    pub(super) connections: usize,
    pub(super) concurrency: usize,
    pub(super) queue: usize,
    pub(super) batch_rows: usize,
    pub(super) linger: Duration,
    pub(super) replay_entries: usize,
    pub(super) replay_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            batch_bytes: 16 << 20,
            batch_instances: 1_000,
            body_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            commit_timeout: Duration::from_secs(3),
            append_timeout: Duration::from_secs(10),
            reload_timeout: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(1),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            flush_timeout: Duration::from_secs(10),
            connections: 1_024,
            concurrency: 256,
            queue: 10_000,
            batch_rows: 1_000,
            linger: Duration::from_millis(20),
            replay_entries: 100_000,
            replay_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Largest body of a request; more is answered 413. Defaults to 1 MiB.
    pub fn body_bytes(mut self, bytes: usize) -> Self {
        self.body_bytes = bytes;
        self
    }

    /// Largest body of a request for many rows; more is answered 413. Defaults to 16 MiB. At most
    /// 16 that may be larger than [`body_bytes`](Self::body_bytes) are taken at a time; more are
    /// answered 503 at once.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// Most rows of one request, and never more than [`queue`](Self::queue); more are answered 413.
    /// Defaults to 1,000.
    pub fn batch_instances(mut self, rows: usize) -> Self {
        self.batch_instances = rows;
        self
    }

    /// Time for a body to arrive; more is answered 408. Defaults to 5 s.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// Time for the headers of a request to arrive, and for a connection to stay idle; then it is
    /// closed. Defaults to 10 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Time for a whole request; more is answered 504. Defaults to 10 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long an answer waits for the log to commit; then it is 503, and the event is written
    /// later. Defaults to 3 s.
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = timeout;
        self
    }

    /// Time for one attempt to write a batch; then it is tried again. Defaults to 10 s.
    pub fn append_timeout(mut self, timeout: Duration) -> Self {
        self.append_timeout = timeout;
        self
    }

    /// Time for a reload, from the registry's first answer to the last smoke prediction. Defaults
    /// to 5 s.
    pub fn reload_timeout(mut self, timeout: Duration) -> Self {
        self.reload_timeout = timeout;
        self
    }

    /// Time for the store to answer a health check. Defaults to 1 s.
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.probe_timeout = timeout;
        self
    }

    /// How long requests are still accepted after readiness has turned to 503, for load balancers
    /// to notice. Defaults to 0.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// How long a shutdown waits for requests in flight. Defaults to 30 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long a shutdown tries to write what is queued; what is left then is lost, and told.
    /// Defaults to 10 s.
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.flush_timeout = timeout;
        self
    }

    /// Most open connections; more wait to be accepted. Defaults to 1,024.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Most requests that are worked on at a time; more are answered 503 at once. Defaults to 256.
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Most events that wait for the log; more are answered 503. Defaults to 10,000.
    pub fn queue(mut self, events: usize) -> Self {
        self.queue = events;
        self
    }

    /// Most events of one batch. Defaults to 1,000.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    /// How long events for which nobody waits are gathered into one batch. Defaults to 20 ms.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How many request ids are remembered to recognise a request that is sent again. Defaults to
    /// 100,000.
    pub fn replay_entries(mut self, entries: usize) -> Self {
        self.replay_entries = entries;
        self
    }

    /// Most bytes of remembered answers. Defaults to 64 MiB.
    pub fn replay_bytes(mut self, bytes: usize) -> Self {
        self.replay_bytes = bytes;
        self
    }

    /// What cannot work, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let counts = [
            ("body_bytes", self.body_bytes),
            ("batch_bytes", self.batch_bytes),
            ("batch_instances", self.batch_instances),
            ("connections", self.connections),
            ("concurrency", self.concurrency),
            ("queue", self.queue),
            ("batch_rows", self.batch_rows),
            ("replay_entries", self.replay_entries),
        ];
        let times = [
            ("body_timeout", self.body_timeout),
            ("header_timeout", self.header_timeout),
            ("request_timeout", self.request_timeout),
            ("commit_timeout", self.commit_timeout),
            ("append_timeout", self.append_timeout),
            ("reload_timeout", self.reload_timeout),
            ("probe_timeout", self.probe_timeout),
            ("drain_timeout", self.drain_timeout),
        ];
        // The bound of tokio's semaphores and channels, with room to spare.
        const MOST: usize = 1 << 28;
        let bad_counts = counts
            .iter()
            .filter(|(_, n)| !(1..=MOST).contains(n))
            .map(|(name, n)| format!("{name} is {n}, expected 1 to {MOST}"));
        let bad_times = times
            .iter()
            .filter(|(_, t)| t.is_zero())
            .map(|(name, _)| format!("{name} is zero, expected a duration"));
        bad_counts.chain(bad_times).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_impossible_limit_is_told() {
        assert!(Limits::new().problems().is_empty());
        let limits = Limits::new().queue(0).concurrency(usize::MAX).body_timeout(Duration::ZERO);
        let problems = limits.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(problems[1], "queue is 0, expected 1 to 268435456");
    }
}
