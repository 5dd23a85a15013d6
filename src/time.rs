//! Moments and windows, always UTC.
//!
//! The core reads no clock: a [`Timestamp`] comes from a store
//! ([`InferenceLog::now`](crate::log::InferenceLog::now)) or from the caller.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in UTC with microsecond resolution, the finest that every store keeps exactly.
///
/// Reads and writes RFC 3339; years -9999 to 9999.
///
/// ```
/// use pmmds::Timestamp;
///
/// let launch: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// assert_eq!(launch.as_micros(), 1_772_366_400_000_000);
/// assert_eq!(launch.to_string(), "2026-03-01T12:00:00Z");
/// # Ok::<(), pmmds::time::TimeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(
    // microseconds since 1970-01-01T00:00:00Z, within FIRST_MICROS..=LAST_MICROS
    i64,
);

impl Timestamp {
    // The range of jiff::Timestamp, in whole seconds.
    const FIRST_MICROS: i64 = -377_705_023_200 * 1_000_000;
    const LAST_MICROS: i64 = 253_402_207_200 * 1_000_000;

    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The moment `micros` microseconds after 1970-01-01T00:00:00Z (before it, if negative).
    ///
    /// # Errors
    ///
    /// When the year is outside -9999 to 9999.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// assert_eq!(Timestamp::from_micros(0)?, Timestamp::EPOCH);
    /// assert_eq!(
    ///     Timestamp::from_micros(i64::MAX).unwrap_err().to_string(),
    ///     "9223372036854775807 microseconds since 1970 is outside the years -9999 to 9999",
    /// );
    /// # Ok::<(), pmmds::time::TimeError>(())
    /// ```
    pub fn from_micros(micros: i64) -> Result<Self, TimeError> {
        if (Self::FIRST_MICROS..=Self::LAST_MICROS).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(TimeError::OutOfRange { micros })
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// The moment `duration` later; the last representable moment if that lies beyond it.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros).min(Self::LAST_MICROS))
    }

    /// The moment `duration` earlier; the first representable moment if that lies before it.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros).max(Self::FIRST_MICROS))
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// use std::time::Duration;
    /// let hour = Duration::from_secs(3600);
    /// let later = Timestamp::EPOCH.saturating_add(hour);
    /// assert_eq!(later.since(Timestamp::EPOCH), hour);
    /// assert_eq!(Timestamp::EPOCH.since(later), Duration::ZERO);
    /// assert_eq!(later.saturating_sub(hour), Timestamp::EPOCH);
    /// ```
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            // The constructors make this unreachable; a number is still better than a panic.
            Err(_) => write!(f, "{} us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(timestamp) => Self::from_micros(timestamp.as_microsecond()),
            Err(_) => Err(TimeError::NotATimestamp { text: text.chars().take(64).collect() }),
        }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

/// A half-open stretch of time, `[start, end)`: a row on a boundary is in exactly one of two
/// adjacent windows.
///
/// ```
/// use pmmds::{Timestamp, Window};
/// use std::time::Duration;
///
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let day = Window::before(noon, Duration::from_secs(24 * 3600))?;
/// assert!(!day.contains(noon));
/// assert!(day.contains(day.start()));
/// assert_eq!(day.to_string(), "2026-02-28T12:00:00Z .. 2026-03-01T12:00:00Z");
///
/// let error = Window::new(noon, noon).unwrap_err();
/// assert_eq!(error.to_string(), "window start 2026-03-01T12:00:00Z is not before its end 2026-03-01T12:00:00Z");
/// # Ok::<(), pmmds::time::TimeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "WindowFields", into = "WindowFields")]
pub struct Window {
    // before `end`
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// The window from `start` (inside) to `end` (outside).
    ///
    /// # Errors
    ///
    /// When `start` is not before `end`.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self, TimeError> {
        if start < end {
            Ok(Self { start, end })
        } else {
            Err(TimeError::EmptyWindow { start, end })
        }
    }

    /// The `length` before `end`.
    ///
    /// # Errors
    ///
    /// When `length` is shorter than a microsecond.
    pub fn before(end: Timestamp, length: Duration) -> Result<Self, TimeError> {
        Self::new(end.saturating_sub(length), end)
    }

    /// First moment inside.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// First moment after.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// Whether `moment` lies in `[start, end)`.
    #[must_use]
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.start <= moment && moment < self.end
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} .. {}", self.start, self.end)
    }
}

// The stored form; reading goes through `Window::new`.
#[derive(Serialize, Deserialize)]
struct WindowFields {
    start: Timestamp,
    end: Timestamp,
}

impl TryFrom<WindowFields> for Window {
    type Error = TimeError;

    fn try_from(fields: WindowFields) -> Result<Self, TimeError> {
        Self::new(fields.start, fields.end)
    }
}

impl From<Window> for WindowFields {
    fn from(window: Window) -> Self {
        Self { start: window.start, end: window.end }
    }
}

/// Why a moment or a window could not be made.
///
/// ```
/// use pmmds::Timestamp;
/// let error = "1 March 2026".parse::<Timestamp>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "\"1 March 2026\" is not an RFC 3339 timestamp such as 2026-03-01T12:00:00Z",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// The year is outside -9999 to 9999.
    #[error("{micros} microseconds since 1970 is outside the years -9999 to 9999")]
    OutOfRange {
        /// the number given
        micros: i64,
    },
    /// The text is not an RFC 3339 timestamp with an offset.
    #[error("{text:?} is not an RFC 3339 timestamp such as 2026-03-01T12:00:00Z")]
    NotATimestamp {
        /// the first 64 characters of the text
        text: String,
    },
    /// A window needs a start before its end.
    #[error("window start {start} is not before its end {end}")]
    EmptyWindow {
        /// the start given
        start: Timestamp,
        /// the end given
        end: Timestamp,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_to_the_microsecond() {
        let moment = Timestamp::from_micros(1_772_366_400_123_456).unwrap();
        assert_eq!(moment.to_string().parse(), Ok(moment));
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(json, "\"2026-03-01T12:00:00.123456Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
    }

    #[test]
    fn extremes_saturate() {
        let now = Timestamp::from_micros(0).unwrap();
        let last = now.saturating_add(Duration::MAX);
        assert_eq!(Timestamp::from_micros(last.as_micros()), Ok(last));
        let first = now.saturating_sub(Duration::MAX);
        assert_eq!(Timestamp::from_micros(first.as_micros()), Ok(first));
        assert!(Timestamp::from_micros(i64::MAX).is_err());
        assert_eq!(now.since(last), Duration::ZERO);
    }

    #[test]
    fn an_empty_window_is_refused_also_from_a_file() {
        let json = r#"{"start":"2026-03-01T12:00:00Z","end":"2026-03-01T12:00:00Z"}"#;
        assert!(serde_json::from_str::<Window>(json).is_err());
    }
}
