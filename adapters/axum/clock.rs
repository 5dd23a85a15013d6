//! The store's time, read without asking the store.
#![expect(clippy::disallowed_methods, reason = "the monotonic clock, and ids made of it")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use uuid::{ContextV7, Uuid};

use super::service::AXUM;
use crate::{Error, Timestamp};

/// Slowest answer of the store that is still good enough to set the clock by.
const GOOD_ANSWER: Duration = Duration::from_millis(500);

/// 2026-01-01T00:00:00Z, in seconds: past wherever this release runs.
const RELEASED: Duration = Duration::from_secs(1_767_225_600);

/// How far apart the clocks of two machines may be that are both well.
const APART: Duration = Duration::from_secs(3_600);

/// Tells the time of the log's store: its last answer, plus what the monotonic clock says has
/// passed since. A jump of this machine's wall clock moves nothing; every health check that the
/// store answers sets the clock anew, so that the two never drift apart.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    // the store's time, in microseconds, when `started` was
    origin: AtomicI64,
    // whether that is the store's, and not what was assumed
    told: AtomicBool,
    // keeps ids of one millisecond in order
    ids: Mutex<ContextV7>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            origin: AtomicI64::new(0),
            told: AtomicBool::new(false),
            ids: Mutex::new(ContextV7::new()),
        }
    }

    /// Monotonic time since the service was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sets the clock: the store was asked at `asked`, and has just answered `answer`. By how much the
    /// clock went wrong that was to do until now, if there was one.
    pub(super) fn set(&self, asked: Duration, answer: Timestamp) -> Option<Duration> {
        let now = self.elapsed();
        let took = now.saturating_sub(asked);
        if took > GOOD_ANSWER && self.is_told() {
            return None;
        }
        // The answer is as old as half the way there and back.
        let origin = answer.saturating_sub(asked + took / 2);
        let before = self.origin.swap(origin.as_micros(), Ordering::Relaxed);
        if self.told.swap(true, Ordering::Relaxed) || before == 0 {
            return None;
        }
        let off = Duration::from_micros(before.abs_diff(origin.as_micros()));
        tracing::warn!(?off, "the store tells the time from now on; events before have another");
        Some(off)
    }

    /// Sets the clock to what somebody else has, until the store tells the time, which it did not
    /// for the reason `why`. Each of `past` is a moment that was, by what it is known.
    ///
    /// # Errors
    ///
    /// Where `now` is earlier: such as on a machine whose clock does not go on without power.
    pub(super) fn assume(
        &self,
        now: Timestamp,
        past: impl IntoIterator<Item = (Timestamp, &'static str)>,
        why: Error,
    ) -> Result<Error, Error> {
        let released = (Timestamp::EPOCH.saturating_add(RELEASED), "this release was made");
        let newest = past.into_iter().fold(released, |a, b| if b.0 > a.0 { b } else { a });
        if now.saturating_add(APART) < newest.0 {
            let (past, what) = newest;
            let context = format!(
                "started neither with the store's time nor with the clock that is to do meanwhile: \
                 it says {now}, and {what} at {past}"
            );
            return Err(Error::new(why.kind(), AXUM, context).with_source(why));
        }
        let origin = now.saturating_sub(self.elapsed());
        self.origin.store(origin.as_micros(), Ordering::Relaxed);
        Ok(why)
    }

    /// Whether it is the store's time.
    pub(super) fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Now, by the store's clock.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.origin.load(Ordering::Relaxed))
            .map(|origin| origin.saturating_add(self.elapsed()))
            // `set` stores only what was a timestamp.
            .unwrap_or_else(|_| unreachable!())
    }

    /// A new id for the moment `at`, in order of time.
    pub(super) fn id(&self, at: Timestamp) -> Uuid {
        let micros = u64::try_from(at.as_micros()).unwrap_or(0);
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(&self.ids, micros / 1_000_000, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_the_time_of_the_store() {
        let clock = Clock::new();
        let answer: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        clock.set(clock.elapsed(), answer);
        let off = clock.now().since(answer).max(answer.since(clock.now()));
        assert!(off < Duration::from_secs(5), "{off:?}");
    }

    #[test]
    fn what_is_assumed_holds_until_the_store_tells_however_slowly() {
        let clock = Clock::new();
        let [ours, theirs] =
            ["2026-03-01T12:00:00Z", "2031-03-01T12:00:00Z"].map(|at| at.parse().unwrap());
        let is_near = |at: Timestamp| {
            clock.now().since(at).max(at.since(clock.now())) < Duration::from_secs(5)
        };
        clock.assume(ours, [], away()).unwrap();
        assert!(is_near(ours) && !clock.is_told());
        std::thread::sleep(GOOD_ANSWER + Duration::from_millis(1));
        clock.set(Duration::ZERO, theirs);
        assert!(is_near(theirs) && clock.is_told());
        // A slow answer is worse than what is known by now.
        clock.set(Duration::ZERO, ours);
        assert!(is_near(theirs));
    }

    fn away() -> Error {
        Error::new(crate::ErrorKind::Unavailable, "test", "the store is away")
    }

    #[test]
    fn a_time_before_what_is_past_is_not_assumed() {
        let [released, kept, waits]: [Timestamp; 3] =
            ["2026-01-01T00:00:00Z", "2026-03-01T12:00:00Z", "2026-04-01T12:00:00Z"]
                .map(|at| at.parse().unwrap());
        let past = [(waits, "an event that waits was"), (kept, "a version was kept")];
        let clock = Clock::new();
        for (past, newest) in [(&past[..0], released), (&past[1..], kept), (&past[..], waits)] {
            for (early, is_refused) in [(APART, false), (APART + Duration::from_secs(1), true)] {
                let now = newest.saturating_sub(early);
                let result = clock.assume(now, past.iter().copied(), away());
                assert_eq!(result.is_err(), is_refused, "{now} {newest}");
                let told = result.unwrap_or_else(|error| error).chain();
                let times = [now, newest].map(|at| told.contains(&at.to_string()));
                assert_eq!(times, [is_refused; 2], "{told}");
                assert!(told.ends_with("the store is away"), "{told}");
            }
        }
        let error = clock.assume(Timestamp::EPOCH, [], away()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
        assert!(error.to_string().contains("it says 1970-01-01T00:00:00"), "{error}");
    }

    #[test]
    fn ids_are_of_version_7_in_order_and_of_the_time_given() {
        let clock = Clock::new();
        let at: Timestamp = "2026-03-01T12:00:00.5Z".parse().unwrap();
        let ids: Vec<Uuid> = (0..1_000).map(|_| clock.id(at)).collect();
        assert!(ids.is_sorted());
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(ids[0].get_version_num(), 7);
        assert_eq!(ids[0].as_u128() >> 80, 1_772_366_400_500);
    }
}
