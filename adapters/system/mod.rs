//! The machine's own clock and randomness, for the flows (feature `system`).
//!
//! ```
//! use pmmds::lifecycle::Environment;
//! use pmmds::system::SystemEnvironment;
//!
//! let environment = SystemEnvironment::new();
//! let (first, second) = (environment.new_id(), environment.new_id());
//! assert!(first < second, "ids sort by time");
//! ```

#![expect(clippy::disallowed_methods, reason = "this is where the clock is read")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::Timestamp;
use crate::lifecycle::Environment;

/// UUIDv7 ids, and time since it was made.
#[derive(Debug, Clone, Copy)]
pub struct SystemEnvironment {
    start: Instant,
}

impl SystemEnvironment {
    /// An environment whose time begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// The wall clock of this machine, for whoever has no store to ask for the time. It may be wrong:
    /// a machine whose clock does not go on without power begins in 1970 or 2000, and what it says of
    /// before 1970 is the [epoch](Timestamp::EPOCH). A service does not start by such a time.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// use pmmds::system::SystemEnvironment;
    ///
    /// let released: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    /// assert!(SystemEnvironment::new().now() > released);
    /// ```
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.saturating_add(since)
    }
}

impl Default for SystemEnvironment {
    fn default() -> Self {
        Self::new()
    }
}

impl Environment for SystemEnvironment {
    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
