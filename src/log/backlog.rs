//! What a log has taken in and its store does not have yet.

use serde::Serialize;

use crate::Timestamp;

/// Where the events are that a log keeps on local disk until its store has them: all figures of one
/// moment.
///
/// `recovered + spooled = events + replayed + quarantined + unreadable`, always.
///
/// ```
/// use pmmds::log::Backlog;
/// let mut backlog = Backlog::default();
/// backlog.spooled = 12;
/// backlog.replayed = 9;
/// backlog.events = 3;
/// assert_eq!(backlog.taken(), backlog.events + backlog.replayed);
/// assert!(backlog.is_healthy());
/// backlog.refusing = Some("the disk is full".to_owned());
/// assert!(!backlog.is_healthy());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Backlog {
    /// events that wait on disk
    pub events: u64,
    /// bytes that they take there
    pub bytes: u64,
    /// bytes that may wait, and no more
    pub capacity: u64,
    /// the moment of the first event that waits; `None` where none does
    pub oldest: Option<Timestamp>,
    /// events that were found on disk when the log was opened
    pub recovered: u64,
    /// events that were taken in since
    pub spooled: u64,
    /// events that the store has taken since then
    pub replayed: u64,
    /// events that the store refused for ever, kept in a file for a person
    pub quarantined: u64,
    /// events that the disk did not give back as they were written
    pub unreadable: u64,
    /// damaged places that were found on the disk, and set aside
    pub damaged: u64,
    /// unfinished writes at the end of a file that were cut off; they were never acknowledged
    pub torn: u64,
    /// times that the disk did not take what was to be written
    pub failed_writes: u64,
    /// why the store does not take what waits, if it does not: which part says what kind of thing,
    /// as everybody may know it; the whole is for logs
    pub trouble: Option<String>,
    /// why nothing more is taken in, if so: it is full, the disk failed, it is closed
    pub refusing: Option<String>,
}

impl Backlog {
    /// Events that are accounted for: those that were there, and those that came.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.recovered + self.spooled
    }

    /// Whether it takes in more.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.refusing.is_none()
    }
}
