//! What is to be done now: decided by what is on record and by the clock of the store.

use std::time::Duration;

use super::plan::Schedule;
use super::scheduler::Limits;
use crate::Timestamp;
use crate::ledger::{JobRun, JobState};

/// What a look at the record says about the newest slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may be had.
    Claim(Timestamp),
    /// It is over: done, or given up.
    Over(JobRun),
    /// Somebody is at it, or at the one before: until then at most.
    Busy(Duration),
    /// It failed, and is begun again after a while: this attempt was the last one.
    Failed(JobRun),
    /// There is none yet.
    Nothing,
}

/// The turn at `now`, with `latest` the latest run on record.
pub(super) fn turn(
    schedule: &Schedule,
    limits: &Limits,
    now: Timestamp,
    latest: Option<&JobRun>,
) -> Turn {
    let Some(due) = schedule.newest(now.saturating_sub(limits.settle)) else {
        return Turn::Nothing;
    };
    let Some(run) = latest else { return Turn::Claim(due) };
    if run.state == JobState::Running && run.lease_until > now {
        return Turn::Busy(run.lease_until.since(now));
    }
    if run.slot < due {
        return Turn::Claim(due);
    }
    // The slot itself, or one that is later: a clock was set back.
    match run.state {
        JobState::Done => Turn::Over(run.clone()),
        _ if run.slot > due || run.attempt >= limits.attempts => Turn::Over(run.clone()),
        JobState::Failed => Turn::Failed(run.clone()),
        // Running, and its lease is over.
        _ => Turn::Claim(due),
    }
}
