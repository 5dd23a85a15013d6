//! What a log keeps on local disk until its store has it.

use super::{Answer, by, number, one};
use crate::Timestamp;
use crate::log::Backlog;

/// Nothing but names for a log that keeps nothing on disk: a 0 would say that it is empty.
pub(super) fn add(all: &mut Answer, backlog: Option<&Backlog>, now: Timestamp) {
    let count = |count: fn(&Backlog) -> u64| backlog.map_or_else(Vec::new, |b| one(count(b)));
    let help = "Events that wait on local disk: the store does not have them yet";
    all.gauge("pmmds_log_spool_rows", help, count(|backlog| backlog.events));
    let help = "Bytes that they take";
    all.gauge("pmmds_log_spool_bytes", help, count(|backlog| backlog.bytes));
    let help = "Bytes that may wait on local disk; beyond them predictions are refused";
    all.gauge("pmmds_log_spool_capacity_bytes", help, count(|backlog| backlog.capacity));
    let age = backlog.and_then(|backlog| backlog.oldest).map(|oldest| now.since(oldest));
    let age = backlog.map_or_else(Vec::new, |_| number(age.unwrap_or_default().as_secs_f64()));
    let help = "Age of the first event that waits on local disk, 0 where none does";
    all.gauge("pmmds_log_spool_age_seconds", help, age);
    let help = "1 while local disk takes events in, 0 while it is full or fails";
    all.gauge("pmmds_log_spool_up", help, count(|backlog| u64::from(backlog.is_healthy())));
    let faults = backlog.map_or_else(Vec::new, |backlog| {
        let faults = [
            ("damaged", backlog.damaged),
            ("torn", backlog.torn),
            ("unwritten", backlog.failed_writes),
        ];
        by("kind", faults)
    });
    let help = "Faults of local disk: damaged places, unfinished writes, writes that failed";
    all.counter("pmmds_log_spool_faults", help, faults);
}
