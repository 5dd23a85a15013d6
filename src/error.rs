//! The one error of the I/O traits.
//!
//! A caller of a store or a registry acts on *what kind* of thing went wrong, never on which
//! driver reported it. So every I/O trait returns [`Error`]: opaque, with a [`kind`](Error::kind)
//! to branch on, the name of the component, what it was doing, and the driver's own error as
//! [`source`](std::error::Error::source). Pure operations have small enums of their own.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, as far as a caller can act on it.
///
/// ```
/// use pmmds::{Error, ErrorKind};
///
/// /// Whether to send the same again.
/// fn is_worth_a_retry(error: &Error) -> bool {
///     matches!(error.kind(), ErrorKind::Unavailable)
/// }
/// let error = Error::new(ErrorKind::Conflict, "files", "version 3 is in production, not 2");
/// assert!(!is_worth_a_retry(&error));
/// assert_eq!(error.component(), "files");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The component answered, and the thing asked for does not exist.
    NotFound,
    /// The state is not the expected one: somebody else was there first.
    Conflict,
    /// The component could not be reached, or was too slow. Nothing is known about its state.
    Unavailable,
    /// The component refused the credentials.
    Unauthorized,
    /// The caller asked for something that can never work.
    InvalidInput,
    /// Stored bytes are not what was written: a wrong sum, a broken file, an impossible value.
    Corrupt,
    /// The component cannot do this at all, for example a newer format.
    NotSupported,
    /// Anything else.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::InvalidInput => "invalid input",
            Self::Corrupt => "corrupt",
            Self::NotSupported => "not supported",
            Self::Other => "failed",
        })
    }
}

/// The error of every I/O trait: [`ModelRegistry`](crate::registry::ModelRegistry),
/// [`InferenceLog`](crate::log::InferenceLog), [`Ledger`](crate::ledger::Ledger).
///
/// ```
/// use pmmds::{Error, ErrorKind};
///
/// let cause = std::io::Error::other("disk full");
/// let error = Error::new(ErrorKind::Unavailable, "files", "cannot write model.json").with_source(cause);
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(error.to_string(), "files: unavailable: cannot write model.json");
/// assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk full");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    // name of the component, for example "sqlite"
    component: &'static str,
    // what was being done, lower case, no full stop
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `component` while doing what `context` says.
    #[cold]
    pub fn new(kind: ErrorKind, component: &'static str, context: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, component, context: context.into(), source: None }))
    }

    /// The same error with the cause below it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Name of the component that failed, for example `"sqlite"`.
    #[must_use]
    pub fn component(&self) -> &'static str {
        self.0.component
    }

    /// The first cause of type `T` behind it, also where it hides in an [`std::io::Error`].
    ///
    /// ```
    /// # use pmmds::{Error, ErrorKind};
    /// let not_utf8 = String::from_utf8(vec![0xff]).unwrap_err();
    /// let error = Error::new(ErrorKind::Unavailable, "files", "cannot read model.json")
    ///     .with_source(std::io::Error::other(not_utf8));
    /// assert!(error.cause::<std::string::FromUtf8Error>().is_some());
    /// assert!(error.cause::<std::fmt::Error>().is_none());
    /// ```
    #[must_use]
    pub fn cause<T: StdError + 'static>(&self) -> Option<&T> {
        let mut next = self.source();
        while let Some(cause) = next {
            if let Some(found) = cause.downcast_ref() {
                return Some(found);
            }
            // Its own source is what is behind the one that it holds.
            next = match cause.downcast_ref::<std::io::Error>() {
                Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
                None => cause.source(),
            };
        }
        None
    }

    /// The message with every cause behind it, as one line for a log or a person.
    ///
    /// ```
    /// # use pmmds::{Error, ErrorKind};
    /// let error = Error::new(ErrorKind::Unavailable, "files", "cannot write model.json")
    ///     .with_source(std::io::Error::other("disk full"));
    /// assert_eq!(error.chain(), "files: unavailable: cannot write model.json: disk full");
    /// ```
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            next = cause.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.0.component, self.0.kind, self.0.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("component", &self.0.component)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

const _: () = {
    const fn is_send_sync<T: Send + Sync + 'static>() {}
    is_send_sync::<Error>();
};
