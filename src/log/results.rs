//! What a log is told beside events, and what it answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::drift::Counts;

/// Whether a batch was written now or had been before.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::Traffic;
/// # use pmmds::memory::MemoryLog;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let batch = traffic.batch(1, 3);
/// use pmmds::log::{Appended, InferenceLog};
/// assert_eq!(log.append(&batch).await?, Appended::Written);
/// // The acknowledgement was lost, so it is sent again.
/// assert_eq!(log.append(&batch).await?, Appended::AlreadyThere);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Appended {
    /// It was written by this call.
    Written,
    /// It was there already; nothing has changed.
    AlreadyThere,
    /// It was written by this call, but for events whose request the log has already: so it is in a
    /// store that was told to keep one event per request id. What was written is counted by codes,
    /// without summaries.
    WithoutDuplicates {
        /// events that were left out, at least 1
        duplicates: u64,
    },
}

/// Ground truth that arrived later, joined to its prediction by request id.
///
/// ```
/// use pmmds::log::Outcome;
/// let outcome: Outcome = serde_json::from_str(
///     r#"{"request_id": "00000000-0000-0000-0000-000000000007", "outcome": 1, "observed_at": null}"#,
/// )?;
/// assert_eq!((outcome.outcome, outcome.observed_at), (1.0, None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// the request that it is about
    pub request_id: Uuid,
    /// what really happened: 1 or 0 for a binary target, any finite number for a numeric one
    pub outcome: f64,
    /// when it was observed; the store's clock where the sender does not say
    pub observed_at: Option<Timestamp>,
}

/// What became of recorded outcomes.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::Traffic;
/// # use pmmds::memory::MemoryLog;
/// # use uuid::Uuid;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// use pmmds::log::{InferenceLog, Outcome};
/// let outcome = |outcome| Outcome { request_id: Uuid::from_u128(0), outcome, observed_at: None };
/// let receipt = log.record_outcomes(&[outcome(1.0), outcome(1.0), outcome(0.0)]).await?;
/// assert_eq!((receipt.recorded, receipt.unchanged, receipt.corrected), (1, 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutcomeReceipt {
    /// outcomes that were new
    pub recorded: u64,
    /// outcomes that were known, with the same value
    pub unchanged: u64,
    /// outcomes that replaced another value
    pub corrected: u64,
}

/// The counts of a window.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::{Traffic, ever};
/// # use pmmds::{drift::Profile, record::Batch};
/// # use pmmds::memory::MemoryLog;
/// # use pmmds::registry::VersionId;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let (model, profile, day, batch) = (traffic.model.clone(), traffic.profile.clone(), ever(), traffic.batch(1, 3));
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let found = log.counts(&model, VersionId::FIRST, day, &profile).await?;
/// assert_eq!((found.counts.rows(), found.foreign_rows), (3, 0));
///
/// let other = ndarray::array![[1.0], [2.0]];
/// let other = Profile::fit(&Batch::from_array(&traffic.schema, other.view())?)?;
/// let found = log.counts(&model, VersionId::FIRST, day, &other).await?;
/// assert_eq!((found.counts.rows(), found.foreign_rows), (0, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCounts {
    /// rows that were encoded with the profile asked for
    pub counts: Counts,
    /// rows of the same version and window that another profile encoded, and that are thus in no
    /// count
    pub foreign_rows: u64,
}

/// How much was removed.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::{Traffic, ever};
/// # use pmmds::memory::MemoryLog;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let (day, batch) = (ever(), traffic.batch(1, 3));
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let purged = log.purge(day.end()).await?;
/// assert_eq!((purged.events, purged.outcomes), (3, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// events
    pub events: u64,
    /// outcomes
    pub outcomes: u64,
}
