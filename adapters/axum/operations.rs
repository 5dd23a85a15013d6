//! What operators can have done: the flows of the owner, behind a small trait.

use std::fmt::Debug;

use async_trait::async_trait;
use uuid::Uuid;

use crate::Error;

/// How a job ended that did not fail.
///
/// ```
/// use pmmds::axum::JobEnd;
/// use uuid::Uuid;
///
/// let end = JobEnd::new("stable").run(Uuid::from_u128(7));
/// assert_eq!(end, JobEnd::new("stable").run(Uuid::from_u128(7)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct JobEnd {
    pub(super) message: String,
    pub(super) run: Option<Uuid>,
}

impl JobEnd {
    /// One line for a person: a verdict, a decision, or why there was nothing to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), run: None }
    }

    /// The drift run or retraining run that is on record in the ledger. Defaults to none.
    pub fn run(mut self, id: Uuid) -> Self {
        self.run = Some(id);
        self
    }
}

/// What `POST /api/v1/drift/runs` and `POST /api/v1/retrain` start.
///
/// Each call has a thread of its own, so that fitting a model holds up no request; it may use the
/// runtime of the service. Of each kind one job runs at a time in a process. Among processes it is
/// the flows that take turns: the one that comes second gets a
/// [`Conflict`](crate::ErrorKind::Conflict), and its job fails with that.
///
/// A process that ends does not wait for its jobs: the flows are safe to kill, and go on with the
/// next call.
///
/// # Implementing
///
/// ```
/// use async_trait::async_trait;
/// use pmmds::axum::{JobEnd, Operations};
/// use pmmds::drift::Profile;
/// use pmmds::lifecycle::Monitor;
/// use pmmds::registry::{ModelName, VersionId};
/// use pmmds::{Error, ErrorKind};
/// use std::time::Duration;
///
/// #[derive(Debug)]
/// struct WatchOnly {
///     monitor: Monitor,
///     model: ModelName,
///     profile: Profile,
/// }
///
/// #[async_trait]
/// impl Operations for WatchOnly {
///     async fn monitor(&self) -> Result<JobEnd, Error> {
///         let day = self.monitor.window(Duration::from_secs(86_400)).await?;
///         let done = self.monitor.run(&self.model, VersionId::FIRST, &self.profile, day).await?;
///         Ok(JobEnd::new(done.run.report.verdict.headline()).run(done.run.id))
///     }
///
///     async fn retrain(&self, _force: bool) -> Result<JobEnd, Error> {
///         Err(Error::new(ErrorKind::NotSupported, "shop", "models are trained elsewhere"))
///     }
/// }
/// ```
#[async_trait]
pub trait Operations: Debug + Send + Sync {
    /// Looks at the present window and puts a drift run on record.
    ///
    /// # Errors
    ///
    /// Whatever kept it from doing so.
    async fn monitor(&self) -> Result<JobEnd, Error>;

    /// Retrains, with `force` also where nothing asks for it.
    ///
    /// # Errors
    ///
    /// Whatever kept it from doing so.
    async fn retrain(&self, force: bool) -> Result<JobEnd, Error>;
}

const _: Option<&dyn Operations> = None;
