//! Trouble that lasts: said when it begins, now and then while it does, and when it is over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after the first time the same is said again; it doubles with each time.
const AT_FIRST: Duration = Duration::from_secs(60);
const AT_MOST: Duration = Duration::from_secs(3_600);

/// What is looked at again and again, and may be in trouble for a while, of several kinds `K`.
#[derive(Debug)]
pub(super) struct Lasting<K>(Mutex<Option<Trouble<K>>>);

#[derive(Debug)]
struct Trouble<K> {
    // all by the monotonic clock
    since: Duration,
    // each kind that was met since then, once
    said: Vec<Said<K>>,
}

#[derive(Debug)]
struct Said<K> {
    kind: K,
    again: Duration,
    pause: Duration,
}

impl<K> Default for Lasting<K> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<K: PartialEq> Lasting<K> {
    fn trouble(&self) -> MutexGuard<'_, Option<Trouble<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether trouble of this kind, which was met `now`, is to be said: each kind once, and again at
    /// growing distance, also where two of them take turns.
    pub(super) fn is_news(&self, now: Duration, kind: K) -> bool {
        let mut trouble = self.trouble();
        let trouble = trouble.get_or_insert_with(|| Trouble { since: now, said: Vec::new() });
        match trouble.said.iter_mut().find(|said| said.kind == kind) {
            Some(said) if now < said.again => false,
            Some(said) => {
                said.pause = (said.pause * 2).min(AT_MOST);
                said.again = now.saturating_add(said.pause);
                true
            }
            None => {
                let again = now.saturating_add(AT_FIRST);
                trouble.said.push(Said { kind, again, pause: AT_FIRST });
                true
            }
        }
    }

    /// All is well `now`: for how long it was not, if it was not the last time.
    pub(super) fn over(&self, now: Duration) -> Option<Duration> {
        self.trouble().take().map(|trouble| now.saturating_sub(trouble.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_when_it_begins_at_growing_distance_and_when_it_is_over() {
        let lasting = Lasting::default();
        let at = Duration::from_secs;
        assert_eq!(lasting.over(at(5)), None, "nothing was wrong");
        let said: Vec<u64> =
            (10..).step_by(5).take(4_000).filter(|s| lasting.is_news(at(*s), "away")).collect();
        assert_eq!(said[..7], [10, 70, 190, 430, 910, 1_870, 3_790]);
        assert!(said[7..].windows(2).all(|pair| pair[1] - pair[0] == 3_600), "{said:?}");
        assert_eq!(lasting.over(at(20_010)), Some(at(20_000)));
        assert_eq!(lasting.over(at(20_015)), None, "it is said once");
        assert!(lasting.is_news(at(20_020), "away"), "another outage");
    }

    #[test]
    fn kinds_that_take_turns_do_not_flood() {
        let lasting = Lasting::default();
        let kind = |second: u64| if second.is_multiple_of(2) { "away" } else { "late" };
        let said = (0..12).filter(|s| lasting.is_news(Duration::from_secs(*s), kind(*s)));
        assert_eq!(said.collect::<Vec<_>>(), [0, 1]);
    }
}
