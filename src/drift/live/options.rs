//! How long live counters remember, and how finely.

use std::time::Duration;

use super::shard::Panes;
use crate::drift::settings::SettingsError;

/// Shortest pane.
const SHORTEST_HOP: Duration = Duration::from_secs(1);
/// Longest window.
const LONGEST_WINDOW: Duration = Duration::from_secs(3_660 * 86_400);
/// Most panes of a window.
const MOST_PANES: i64 = 10_000;
/// Most shards.
const MOST_SHARDS: usize = 1_024;

/// Panes held beside those of a window: for the last window that is over, and for rows of the next
/// pane while a reader is still in this one.
const SPARE: i64 = 2;

/// How [`LiveCounters`](super::LiveCounters) are laid out.
///
/// ```
/// use std::time::Duration;
/// use pmmds::drift::LiveOptions;
/// let options = LiveOptions::new()
///     .window(Duration::from_secs(6 * 3600))
///     .hop(Duration::from_secs(60))
///     .shards(4);
/// assert!(options.check().is_ok());
/// assert_eq!(
///     options.shards(0).check().unwrap_err().to_string(),
///     "shards is 0, expected 1 to 1,024",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct LiveOptions {
    pub(super) window: Duration,
    hop: Duration,
    pub(super) shards: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self { window: Duration::from_secs(86_400), hop: Duration::from_secs(300), shards: 16 }
    }
}

impl LiveOptions {
    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Length of the window, a multiple of the hop. Defaults to 24 hours.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// By how much the window moves at a time. Defaults to 5 minutes.
    pub fn hop(mut self, hop: Duration) -> Self {
        self.hop = hop;
        self
    }

    /// How many threads can count without meeting each other; one that nobody uses takes next to no
    /// memory. Defaults to 16.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Checks the options together.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for a hop below a second or that is no whole number of microseconds, a
    /// window above ten years or that is not 1 to 10,000 times the hop, and for no shards or more
    /// than 1,024.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::drift::LiveOptions;
    /// let error = LiveOptions::new().hop(Duration::from_millis(5)).check().unwrap_err();
    /// assert_eq!(error.to_string(), "hop is 5ms, expected whole microseconds, at least 1s");
    /// ```
    pub fn check(&self) -> Result<(), SettingsError> {
        self.panes().map(drop)
    }

    pub(super) fn panes(&self) -> Result<Panes, SettingsError> {
        let (window, hop) = (self.window, self.hop);
        let refuse = |setting, value: String, expected: String| {
            Err(SettingsError::new(setting, value, expected))
        };
        if hop < SHORTEST_HOP || hop.subsec_nanos() % 1_000 != 0 {
            let expected = format!("whole microseconds, at least {SHORTEST_HOP:?}");
            return refuse("hop", format!("{hop:?}"), expected);
        }
        // Ten years of microseconds are far below the largest number.
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let times = micros(window) / micros(hop);
        let even = hop.as_nanos() * u128::from(times.unsigned_abs()) == window.as_nanos();
        if window > LONGEST_WINDOW || !even || !(1..=MOST_PANES).contains(&times) {
            let expected = format!("1 to 10,000 times the hop of {hop:?}");
            return refuse("window", format!("{window:?}"), expected);
        }
        if !(1..=MOST_SHARDS).contains(&self.shards) {
            return refuse("shards", self.shards.to_string(), "1 to 1,024".to_owned());
        }
        Ok(Panes { hop: micros(hop), of_window: times, held: times + SPARE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let seconds = Duration::from_secs;
        let options = LiveOptions::new;
        for (fine, options) in [
            (true, options()),
            (true, options().window(seconds(1)).hop(seconds(1))),
            (true, options().window(seconds(10_000)).hop(seconds(1))),
            (true, options().window(days(3_650)).hop(days(1))),
            (false, options().window(seconds(10_001)).hop(seconds(1))),
            (false, options().window(Duration::ZERO)),
            (false, options().window(seconds(299))),
            (false, options().window(seconds(301))),
            (false, options().window(seconds(600) + Duration::from_nanos(1))),
            (false, options().window(Duration::MAX).hop(Duration::from_micros(u64::MAX))),
            (false, options().hop(Duration::ZERO)),
            (false, options().hop(Duration::from_nanos(1_000_000_001))),
            (false, options().shards(0)),
            (false, options().shards(1_025)),
        ] {
            assert_eq!(options.check().is_ok(), fine, "{options:?}");
        }
    }
}
