//! Trouble that lasts: said when it begins, now and then while it does, and when it is over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after the first time the same is said again; it doubles with each time.
const AT_FIRST: Duration = Duration::from_secs(60);
const AT_MOST: Duration = Duration::from_secs(3_600);

/// What is looked at again and again, and may be in trouble for a while, of several kinds `K`.
#[derive(Debug)]
pub(super) struct Lasting<K>(Mutex<Trouble<K>>);

// all by the monotonic clock
#[derive(Debug)]
struct Trouble<K> {
    // when the present trouble began; None: all is well
    since: Option<Duration>,
    // whether any of it was said
    is_said: bool,
    // when the trouble before it was over
    over: Option<Duration>,
    // each kind that was met since all was well for long enough, once
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
        Self(Mutex::new(Trouble { since: None, is_said: false, over: None, said: Vec::new() }))
    }
}

impl<K: PartialEq> Lasting<K> {
    fn trouble(&self) -> MutexGuard<'_, Trouble<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether trouble of this kind, which was met `now`, is to be said: each kind once, and again at
    /// growing distance, also where two of them take turns, and where trouble comes and goes.
    pub(super) fn is_news(&self, now: Duration, kind: K) -> bool {
        self.trouble().meet(now, kind)
    }

    /// Notes trouble that is said in any case.
    pub(super) fn say(&self, now: Duration, kind: K) {
        let mut trouble = self.trouble();
        trouble.meet(now, kind);
        trouble.is_said = true;
    }

    /// All is well `now`: for how long it was not, if that was said.
    pub(super) fn over(&self, now: Duration) -> Option<Duration> {
        let mut trouble = self.trouble();
        let since = trouble.since.take()?;
        trouble.over = Some(now);
        if !std::mem::take(&mut trouble.is_said) {
            return None;
        }
        // Whoever reads now that all is well hears within a minute if it is not.
        let soon = now.saturating_add(AT_FIRST);
        trouble.said.iter_mut().for_each(|said| said.again = said.again.min(soon));
        Some(now.saturating_sub(since))
    }
}

impl<K: PartialEq> Trouble<K> {
    /// Whether it is to be said.
    fn meet(&mut self, now: Duration, kind: K) -> bool {
        if self.since.is_none() {
            self.since = Some(now);
            if self.over.is_some_and(|over| now.saturating_sub(over) >= AT_FIRST) {
                self.said.clear();
            }
        }
        let is_news = match self.said.iter_mut().find(|said| said.kind == kind) {
            Some(said) if now < said.again => false,
            Some(said) => {
                said.pause = (said.pause * 2).min(AT_MOST);
                said.again = now.saturating_add(said.pause);
                true
            }
            None => {
                let again = now.saturating_add(AT_FIRST);
                self.said.push(Said { kind, again, pause: AT_FIRST });
                true
            }
        };
        self.is_said |= is_news;
        is_news
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
        assert!(lasting.is_news(at(20_070), "away"), "another outage");
        assert!(!lasting.is_news(at(20_129), "away") && lasting.is_news(at(20_130), "away"));
    }

    #[test]
    fn what_comes_and_goes_is_said_once_a_minute_and_its_end_only_where_it_was_said() {
        let lasting = Lasting::default();
        let at = Duration::from_secs;
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for second in (0..400).step_by(10) {
            begun.extend(lasting.is_news(at(second), "away").then_some(second));
            ended.extend(lasting.over(at(second + 5)).map(|lasted| (second, lasted)));
        }
        assert_eq!(begun, [0, 60, 130, 200, 270, 340]);
        let expected: Vec<_> = begun.iter().map(|second| (*second, at(5))).collect();
        assert_eq!(ended, expected, "each that was said, and no other");
        // The one that stays is said, though the last word was that all is well.
        let said: Vec<u64> = (400..700).filter(|s| lasting.is_news(at(*s), "away")).collect();
        assert_eq!(said.first(), Some(&405), "{said:?}");
    }

    #[test]
    fn what_is_said_in_any_case_is_over_aloud() {
        let lasting = Lasting::default();
        let at = Duration::from_secs;
        lasting.say(at(0), "refused");
        assert_eq!(lasting.over(at(5)), Some(at(5)));
        lasting.say(at(10), "refused");
        assert!(!lasting.is_news(at(11), "refused"));
        assert_eq!(lasting.over(at(20)), Some(at(10)));
    }

    #[test]
    fn kinds_that_take_turns_do_not_flood() {
        let lasting = Lasting::default();
        let kind = |second: u64| if second.is_multiple_of(2) { "away" } else { "late" };
        let said = (0..12).filter(|s| lasting.is_news(Duration::from_secs(*s), kind(*s)));
        assert_eq!(said.collect::<Vec<_>>(), [0, 1]);
    }
}
