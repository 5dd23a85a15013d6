//! Which moments.

use std::fmt;
use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};

use crate::Timestamp;

/// Moments are counted up to here.
const MOST_COUNTED: u64 = 10_000;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

/// How far back the last moment of an expression is looked for: beyond the leap day that 1900 or
/// 2100 does not have.
const FARTHEST: i64 = 16 * 366 * 24 * 60 * MINUTE;

/// Moments within which the library's arithmetic stays in the years that it knows.
const REACH: i64 = 250_000_000_000 * SECOND;

/// A year, the longest interval.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The moments at which something is done.
///
/// ```
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::schedule::Schedule;
///
/// let now: Timestamp = "2026-03-01T12:34:56Z".parse()?;
/// let hourly = Schedule::every(Duration::from_secs(3600))?;
/// assert_eq!(hourly.newest(now), Some("2026-03-01T12:00:00Z".parse()?));
/// assert_eq!(hourly.next(now), Some("2026-03-01T13:00:00Z".parse()?));
///
/// let nightly = Schedule::cron("30 2 * * MON-FRI Europe/Berlin")?;
/// assert_eq!(nightly.newest(now), Some("2026-02-27T01:30:00Z".parse()?), "the last Friday");
/// assert_eq!(nightly.to_string(), "30 2 * * MON-FRI Europe/Berlin");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    // microseconds, from a second to a year
    Every(i64),
    // has a moment
    Cron { expression: String, crontab: Box<Crontab> },
}

/// Why there is no such schedule.
///
/// ```
/// use pmmds::schedule::Schedule;
/// assert_eq!(
///     Schedule::cron("0 25 * * *").unwrap_err().to_string(),
///     "cron expression \"0 25 * * *\" cannot be used: value must be in range 0..=23; found 25",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// An interval is out of range.
    #[error("an interval of {interval:?} is not from 1 s to 366 days")]
    Interval {
        /// the interval given
        interval: Duration,
    },
    /// An expression cannot be read.
    #[error("cron expression {expression:?} cannot be used: {why}")]
    Cron {
        /// the expression given, at most 200 characters of it
        expression: String,
        /// what is wrong with it
        why: String,
    },
}

impl Schedule {
    /// Every `interval`, at its multiples since 1970 in UTC: an hour means the full hours, on every
    /// replica and after every restart.
    ///
    /// # Errors
    ///
    /// For less than a second and more than 366 days.
    pub fn every(interval: Duration) -> Result<Self, ScheduleError> {
        let wrong = ScheduleError::Interval { interval };
        if interval < Duration::from_secs(1) || interval > LONGEST {
            return Err(wrong);
        }
        let micros = i64::try_from(interval.as_micros()).map_err(|_| wrong)?;
        Ok(Self { kind: Kind::Every(micros) })
    }

    /// By a cron expression of five fields: minute, hour, day of the month, month, day of the week;
    /// a sixth names a time zone, and without it it is UTC. [cronexpr] reads it.
    ///
    /// In a time zone with summer time, a time of day that a change leaves out does not come that
    /// day, and one that comes twice is there twice. Zones are looked up in the machine's database
    /// of zones, and where there is none in the one built in.
    ///
    /// [cronexpr]: https://docs.rs/cronexpr
    ///
    /// # Errors
    ///
    /// When it cannot be read, or no moment ever fits it.
    ///
    /// ```
    /// use pmmds::schedule::Schedule;
    /// let error = Schedule::cron("0 0 31 2 *").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "cron expression \"0 0 31 2 *\" cannot be used: no moment fits it",
    /// );
    /// ```
    pub fn cron(expression: &str) -> Result<Self, ScheduleError> {
        let expression = expression.trim();
        let wrong = |why: &str| ScheduleError::Cron {
            expression: expression.chars().take(200).collect(),
            why: why.to_owned(),
        };
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let crontab = cronexpr::parse_crontab_with(expression, options).map_err(|error| {
            // The words of the library after its drawing of where they apply.
            let text = error.to_string();
            let why = text.rsplit_once("^ ").map_or(text.as_str(), |(_, why)| why);
            wrong(why.split(';').next().filter(|_| why.contains("time zones")).unwrap_or(why))
        })?;
        // From the first of a year with a leap day.
        if next_of(&crontab, 946_684_800 * SECOND).is_none() {
            return Err(wrong("no moment fits it"));
        }
        let crontab = Box::new(crontab);
        Ok(Self { kind: Kind::Cron { expression: expression.to_owned(), crontab } })
    }

    /// The newest moment that is not after `now`; `None` if there is none in the years that can be
    /// reckoned.
    #[must_use]
    pub fn newest(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.as_micros();
        let newest = match &self.kind {
            Kind::Every(interval) => now - now.rem_euclid(*interval),
            Kind::Cron { crontab, .. } => newest_of(|after| next_of(crontab, after), now)?,
        };
        Timestamp::from_micros(newest).ok()
    }

    /// The first moment after `after`; `None` if there is none in the years that can be reckoned.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.as_micros();
        let next = match &self.kind {
            Kind::Every(interval) => after - after.rem_euclid(*interval) + interval,
            Kind::Cron { crontab, .. } => next_of(crontab, after)?,
        };
        Timestamp::from_micros(next).ok()
    }

    /// How many moments lie between two others, without them; counted up to 10,000.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::schedule::Schedule;
    /// let hourly = Schedule::every(Duration::from_secs(3600))?;
    /// let (friday, monday) = ("2026-02-27T18:00:00Z".parse()?, "2026-03-02T08:00:00Z".parse()?);
    /// assert_eq!(hourly.between(friday, monday), 61);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> u64 {
        match &self.kind {
            Kind::Every(interval) => {
                let number = |at: Timestamp| at.as_micros().div_euclid(*interval);
                // The last one before `to`.
                let last = number(to.saturating_sub(Duration::from_micros(1)));
                u64::try_from(last - number(from)).unwrap_or(0).min(MOST_COUNTED)
            }
            Kind::Cron { .. } => {
                let (mut count, mut at) = (0, from);
                while count < MOST_COUNTED {
                    match self.next(at).filter(|next| *next < to) {
                        Some(next) => (count, at) = (count + 1, next),
                        None => break,
                    }
                }
                count
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Every(interval) => {
                let seconds = interval / SECOND;
                match (interval % SECOND, seconds % 3600, seconds % 60) {
                    (0, 0, _) => write!(f, "every {} h", seconds / 3600),
                    (0, _, 0) => write!(f, "every {} min", seconds / 60),
                    (0, ..) => write!(f, "every {seconds} s"),
                    _ => write!(f, "every {:?}", Duration::from_micros(interval.unsigned_abs())),
                }
            }
            Kind::Cron { expression, .. } => f.write_str(expression),
        }
    }
}

/// The first moment of `crontab` after `after`.
fn next_of(crontab: &Crontab, after: i64) -> Option<i64> {
    // The library adds years to it, and years have an end.
    if !(-REACH..REACH).contains(&after) {
        return None;
    }
    let after = MakeTimestamp::from_microsecond(after).ok()?;
    Some(crontab.find_next(after).ok()?.timestamp().as_microsecond())
}

/// The newest moment that is not after `now`, of a `next` that looks forward only: where it finds
/// nothing new from is what is halved.
fn newest_of(next: impl Fn(i64) -> Option<i64>, now: i64) -> Option<i64> {
    let found_from = |from: i64| next(from).filter(|next| *next <= now);
    let mut length = MINUTE;
    // Nothing is after `none_after`.
    let mut none_after = now;
    let mut newest = loop {
        let from = now.saturating_sub(length);
        if let Some(found) = found_from(from) {
            break found;
        }
        none_after = from;
        if length > FARTHEST {
            return None;
        }
        length *= 2;
    };
    // Moments are whole minutes, so two are at least one apart.
    while none_after - newest >= MINUTE {
        let middle = newest + (none_after - newest) / 2;
        match found_from(middle) {
            Some(found) => newest = found,
            None => none_after = middle,
        }
    }
    while let Some(found) = found_from(newest) {
        newest = found;
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The newest moment, and how often the library was asked for it.
    fn looked_for(expression: &str, now: &str) -> (Timestamp, u32) {
        let Kind::Cron { crontab, .. } = Schedule::cron(expression).unwrap().kind else {
            panic!("{expression} is no interval")
        };
        let asked = Cell::new(0);
        let next = |after| {
            asked.set(asked.get() + 1);
            next_of(&crontab, after)
        };
        let now: Timestamp = now.parse().unwrap();
        let newest = newest_of(next, now.as_micros()).unwrap();
        (Timestamp::from_micros(newest).unwrap(), asked.get())
    }

    #[test]
    fn a_crowd_of_moments_long_ago_is_halved_and_not_walked_through() {
        for (expression, now, newest) in [
            // 44,640 in January, and none since.
            ("* * * 1 *", "2026-12-31T23:59:00Z", "2026-01-31T23:59:00Z"),
            // 1,440 on a leap day.
            ("* * 29 2 *", "2028-02-28T23:59:59Z", "2024-02-29T23:59:00Z"),
            ("* * * * *", "2026-03-01T12:00:59Z", "2026-03-01T12:00:00Z"),
        ] {
            let (found, asked) = looked_for(expression, now);
            assert_eq!(found, newest.parse().unwrap(), "{expression}");
            assert!(asked < 64, "{expression}: asked {asked} times");
        }
    }
}
