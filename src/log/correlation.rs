//! What a caller calls the request that an event is of.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Most bytes of a [`CorrelationId`].
///
/// ```
/// use pmmds::log::{CorrelationId, MAX_CORRELATION_BYTES};
/// assert!(CorrelationId::new(&"a".repeat(MAX_CORRELATION_BYTES)).is_ok());
/// assert!(CorrelationId::new(&"a".repeat(MAX_CORRELATION_BYTES + 1)).is_err());
/// ```
pub const MAX_CORRELATION_BYTES: usize = 128;

/// What a caller calls its request, in its own logs and traces: 1 to 128 letters, digits, `.`, `_`
/// and `-`, such as an `x-request-id` or the id of a trace.
///
/// Nothing is joined by it, and several events may have the same: all rows of a batch, and whatever
/// else the caller calls by that name. It can be repeated in headers and logs as it is.
///
/// ```
/// use pmmds::log::CorrelationId;
/// let id: CorrelationId = "checkout-7.retry_2".parse()?;
/// assert_eq!(id.as_str(), "checkout-7.retry_2");
/// # Ok::<(), pmmds::log::InvalidCorrelationId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
// 1 to MAX_CORRELATION_BYTES of [A-Za-z0-9._-]; the rows of a batch share one
pub struct CorrelationId(Arc<str>);

/// Text that cannot be a [`CorrelationId`].
///
/// ```
/// use pmmds::log::CorrelationId;
/// assert_eq!(
///     CorrelationId::new("a b").unwrap_err().to_string(),
///     "correlation id \"a b\" cannot be used: expected 1 to 128 letters, digits, '.', '_' or '-'",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "correlation id {beginning:?} cannot be used: expected 1 to {MAX_CORRELATION_BYTES} letters, \
     digits, '.', '_' or '-'"
)]
pub struct InvalidCorrelationId {
    // at most 64 characters of it
    beginning: String,
}

impl CorrelationId {
    /// The id `text`.
    ///
    /// # Errors
    ///
    /// [`InvalidCorrelationId`] when it is empty, too long or holds another character.
    pub fn new(text: &str) -> Result<Self, InvalidCorrelationId> {
        if Self::allows(text.as_bytes()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidCorrelationId { beginning: text.chars().take(64).collect() })
        }
    }

    /// Whether an id can be made of `bytes`, for who need not make it.
    ///
    /// ```
    /// use pmmds::log::CorrelationId;
    /// assert!(CorrelationId::allows(b"abc-1"));
    /// assert!(!CorrelationId::allows(b"abc 1") && !CorrelationId::allows(b""));
    /// ```
    #[must_use]
    pub fn allows(bytes: &[u8]) -> bool {
        let plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        (1..=MAX_CORRELATION_BYTES).contains(&bytes.len()) && bytes.iter().all(plain)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidCorrelationId;

    fn from_str(text: &str) -> Result<Self, InvalidCorrelationId> {
        Self::new(text)
    }
}

impl TryFrom<String> for CorrelationId {
    type Error = InvalidCorrelationId;

    fn try_from(text: String) -> Result<Self, InvalidCorrelationId> {
        Self::new(&text)
    }
}

impl From<CorrelationId> for String {
    fn from(id: CorrelationId) -> Self {
        id.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_text_is_an_id() {
        for good in ["a", "abc-123_X.y", "...", &"a".repeat(128)] {
            let id = CorrelationId::new(good).unwrap();
            assert_eq!(id.to_string(), good);
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<CorrelationId>(&json).unwrap(), id);
        }
        for bad in ["", "a b", "a\tb", "a\r\nb", "\u{1b}[31m", "é", "<script>", &"a".repeat(129)] {
            assert!(CorrelationId::new(bad).is_err(), "{bad:?}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<CorrelationId>(&json).is_err(), "{bad:?}");
        }
        let long = CorrelationId::new(&"é".repeat(100_000)).unwrap_err();
        assert!(long.to_string().len() < 300, "{long}");
    }
}
