//! One answered prediction, and how it comes back.

use std::time::Duration;

use uuid::Uuid;

use super::{CorrelationId, Cursor};
use crate::Timestamp;
use crate::drift::Codes;
use crate::model::Prediction;
use crate::registry::VersionId;
use crate::schema::Fingerprint;

/// One answered prediction.
///
/// ```
/// use std::time::Duration;
/// use pmmds::drift::Codes;
/// use pmmds::log::InferenceEvent;
/// use pmmds::model::Task;
/// use pmmds::Timestamp;
/// use uuid::Uuid;
///
/// let id = Uuid::from_u128(7); // a service makes a UUIDv7
/// let prediction = Task::binary().prediction(0.7)?;
/// let codes = Codes::from_bytes([3, 1]); // `profile.encode(&row, prediction.score())`
/// let latency = Duration::from_nanos(51_700);
/// let event = InferenceEvent::new(id, id, Timestamp::EPOCH, prediction, latency, codes)
///     .with_features(r#"{"tenure":12,"plan":"gold"}"#.to_owned());
/// assert_eq!(event.latency, Duration::from_micros(51));
/// # Ok::<(), pmmds::model::InvalidScore>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InferenceEvent {
    /// names the event; made by the server, in order of time (UUIDv7)
    pub id: Uuid,
    /// the sender's id, or `id` where it sent none; outcomes are joined by it
    pub request_id: Uuid,
    /// when it was answered
    pub at: Timestamp,
    /// what the model answered
    pub prediction: Prediction,
    /// time that validation and model took, in whole microseconds
    pub latency: Duration,
    /// the row as slots of the profile
    pub codes: Codes,
    /// the row itself as a JSON object, where the owner keeps raw features; retraining needs them
    pub features: Option<String>,
    /// what the caller calls the request, where it said so
    pub correlation_id: Option<CorrelationId>,
}

impl InferenceEvent {
    /// An event without raw features and correlation id. `latency` is cut to whole microseconds.
    #[must_use]
    pub fn new(
        id: Uuid,
        request_id: Uuid,
        at: Timestamp,
        prediction: Prediction,
        latency: Duration,
        codes: Codes,
    ) -> Self {
        // Within i64, which is what stores have.
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let latency = Duration::from_micros(micros.min(i64::MAX.unsigned_abs()));
        Self {
            id,
            request_id,
            at,
            prediction,
            latency,
            codes,
            features: None,
            correlation_id: None,
        }
    }

    /// Where it stands in the order of time.
    ///
    /// ```
    /// # use pmmds::{drift::Codes, log::InferenceEvent, model::Task, Timestamp};
    /// # let (id, prediction) = (uuid::Uuid::from_u128(7), Task::binary().prediction(0.7)?);
    /// # let codes = Codes::from_bytes([3, 1]);
    /// let latency = std::time::Duration::ZERO;
    /// let event = InferenceEvent::new(id, id, Timestamp::EPOCH, prediction, latency, codes);
    /// assert_eq!((event.place().at, event.place().id), (Timestamp::EPOCH, id));
    /// # Ok::<(), pmmds::model::InvalidScore>(())
    /// ```
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { at: self.at, id: self.id }
    }

    /// The same event with its raw features, as [`Row::to_json`](crate::record::Row::to_json) writes
    /// them.
    #[must_use]
    pub fn with_features(mut self, json: String) -> Self {
        self.features = Some(json);
        self
    }

    /// The same event with what the caller calls its request.
    ///
    /// ```
    /// # use pmmds::{drift::Codes, log::InferenceEvent, model::Task, Timestamp};
    /// # let (id, prediction) = (uuid::Uuid::from_u128(7), Task::binary().prediction(0.7)?);
    /// # let codes = Codes::from_bytes([3, 1]);
    /// # let latency = std::time::Duration::ZERO;
    /// # let event = InferenceEvent::new(id, id, Timestamp::EPOCH, prediction, latency, codes);
    /// let event = event.with_correlation_id("checkout-7".parse()?);
    /// assert_eq!(event.correlation_id.unwrap().as_str(), "checkout-7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }
}

/// A logged event as it comes back.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::{Traffic, ever};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::registry::VersionId;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let (model, profile, day, batch) = (traffic.model.clone(), traffic.profile.clone(), ever(), traffic.batch(1, 3));
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let logged = &log.scan(&model, day, None, 10).await?.items[0];
/// assert_eq!((logged.version, logged.profile), (VersionId::FIRST, profile.fingerprint()));
/// assert_eq!(logged.event, batch.events()[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// the event
    pub event: InferenceEvent,
    /// the version that answered
    pub version: VersionId,
    /// the profile that made the codes
    pub profile: Fingerprint,
}

/// A prediction with its raw features and its true outcome.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::{Traffic, ever};
/// # use pmmds::memory::MemoryLog;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let (model, day, batch) = (traffic.model.clone(), ever(), traffic.batch(1, 3));
/// use pmmds::log::{InferenceLog, Outcome};
/// log.append(&batch).await?;
/// let outcome = Outcome { request_id: batch.events()[2].request_id, outcome: 1.0, observed_at: None };
/// log.record_outcomes(&[outcome]).await?;
/// let [labelled] = &log.labelled(&model, day, None, 10).await?.items[..] else { panic!() };
/// assert_eq!(labelled.event, batch.events()[2]); // with its raw features
/// assert_eq!(labelled.outcome, 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledEvent {
    /// the event; `features` is there
    pub event: InferenceEvent,
    /// the version that answered
    pub version: VersionId,
    /// what really happened
    pub outcome: f64,
}
