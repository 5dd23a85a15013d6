//! Why a reload did not work, and what everybody may know of it.

use std::fmt;
use std::time::Duration;

use ::axum::http::StatusCode;

use super::problem::Problem;
use crate::{Error, ErrorKind};

/// A reload that did not work; what was served before is served still.
///
/// Its text has every cause, for the log. `POST /model/reload` tells the code and one sentence: causes
/// name hosts, paths, and what drivers say.
///
/// ```
/// # async fn reload(service: &pmmds::axum::Service) {
/// if let Err(error) = service.reload().await {
///     eprintln!("{}: {error}", error.code());
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadError {
    // what to answer: 502 where the registry answered, and 503 where it did not
    status: StatusCode,
    pub(super) code: &'static str,
    // with every cause, for the log
    pub(super) reason: String,
    // for whoever asked, where the reason is not
    told: Option<String>,
    pub(super) cause: Cause,
}

/// What follows from a failed reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The registry did not answer: nothing is known.
    Away,
    /// This version will not do, however often it is fetched.
    Refused,
    /// It may be better the next time.
    Other,
}

impl ReloadError {
    fn new(status: StatusCode, cause: Cause, code: &'static str, reason: String) -> Self {
        Self { status, code, reason, told: None, cause }
    }

    pub(super) fn away(code: &'static str, reason: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Cause::Away, code, reason)
    }

    pub(super) fn late(reason: String) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, Cause::Other, "reload_deadline", reason)
    }

    pub(super) fn refused(code: &'static str, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Cause::Refused, code, reason.into())
    }

    /// A version that is whole, and no good: its reason is told, and what is behind that is for the
    /// log.
    pub(super) fn refused_for(code: &'static str, error: &Error) -> Self {
        let mut told = error.to_string();
        let cause = std::error::Error::source(error);
        if let Some(cause) = cause.and_then(|cause| cause.downcast_ref::<Error>()) {
            told = format!("{told}: {cause}");
        }
        Self { told: Some(told), ..Self::refused(code, error.chain()) }
    }

    /// The version has not come back from its smoke predictions.
    pub(super) fn stuck(deadline: Duration) -> Self {
        let reason = format!("the version was not verified within {deadline:?}");
        Self { cause: Cause::Refused, ..Self::late(reason) }
    }

    pub(super) fn failed(code: &'static str, reason: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Cause::Other, code, reason)
    }

    /// What a registry answers.
    pub(super) fn of(error: &Error) -> Self {
        let reason = error.chain();
        let (failed, what) = match error.kind() {
            ErrorKind::Unavailable => {
                (Self::away("registry_unavailable", reason), "the registry cannot be reached")
            }
            ErrorKind::Unauthorized => (
                Self::failed("registry_unauthorized", reason),
                "the registry does not let this service in",
            ),
            ErrorKind::NotFound => {
                (Self::failed("version_not_found", reason), "the registry has no such version")
            }
            // Nothing is known of the version itself: its files may be whole the next time.
            _ => (
                Self::failed("registry_failed", reason),
                "the registry did not give the version whole",
            ),
        };
        let told = format!("{what} ({}); the log of the service says why", super::told(error));
        Self { told: Some(told), ..failed }
    }

    /// Stable name of what went wrong, such as `"registry_unavailable"`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What everybody may know.
    pub(super) fn told(&self) -> &str {
        self.told.as_deref().unwrap_or(&self.reason)
    }

    pub(super) fn problem(&self) -> Problem {
        let problem = Problem::new(self.status, self.code, self.told().to_owned());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            problem.retry_after(5)
        } else {
            problem
        }
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ReloadError {}
