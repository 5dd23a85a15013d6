//! Windows that are looked at once, by whichever process on the database gets to it.

use std::time::Duration;

use pmmds::drift::Verdict;
use pmmds::ledger::{JobClaim, JobState, JobStore};
use pmmds::{Timestamp, Window};

use crate::Outcome;
use crate::state::State;

/// How long a look may take before its process is taken for dead.
const LEASE: Duration = Duration::from_secs(60);

/// How often a slot is begun at most.
const ATTEMPTS: u32 = 3;

/// Between two questions how far another process has come.
const WAIT: Duration = Duration::from_millis(300);

/// Reads a length such as `1h`, `15m` or `30s`.
pub(crate) fn length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length such as 1h, 15m or 30s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(seconds).filter(|all| (1..=31_622_400).contains(all));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text} is not from 1s to a year"))
}

/// The last whole slot before `now`: from a multiple of `length` since 1970 to the next.
pub(crate) fn newest(now: Timestamp, length: Duration) -> Outcome<Window> {
    let length_micros = i64::try_from(length.as_micros())?;
    let end = now.as_micros() - now.as_micros().rem_euclid(length_micros);
    Ok(Window::before(Timestamp::from_micros(end)?, length)?)
}

/// What `look` finds in `window`: its own finding, or that of the process that was first.
///
/// On SQLite there is one folder: its lock lets one process look at a time, and the ledger has
/// every window once.
pub(crate) async fn once(
    state: &State,
    window: Window,
    look: impl AsyncFn() -> Outcome<Verdict>,
) -> Outcome<Verdict> {
    let Some(jobs) = &state.jobs else { return look().await };
    // An hour and the minute that it begins with are two jobs.
    let length = window.end().since(window.start()).as_secs();
    let (job, slot) = (format!("monitor:{}:{length}s", state.model), window.start());
    let claim = JobClaim { job: &job, slot, owner: &state.owner, lease: LEASE, attempts: ATTEMPTS };
    loop {
        if let Some(run) = jobs.claim_job(&claim).await? {
            match look().await {
                Ok(verdict) => {
                    let result = serde_json::to_string(&verdict)?;
                    jobs.finish_job(&run, JobState::Done, Some(&result)).await?;
                    return Ok(verdict);
                }
                Err(error) => {
                    jobs.finish_job(&run, JobState::Failed, Some(&error.to_string())).await?;
                }
            }
        }
        let run = jobs.job_run(&job, slot).await?.ok_or("the slot is gone")?;
        let result = run.result.unwrap_or_default();
        if run.state == JobState::Done {
            let verdict: Verdict = serde_json::from_str(&result)?;
            say!("{window} was looked at by {}: {}", run.owner, verdict.headline());
            return Ok(verdict);
        }
        let is_over = run.state == JobState::Failed || run.lease_until <= state.log.now().await?;
        if is_over && run.attempt >= ATTEMPTS {
            let (attempts, owner) = (run.attempt, run.owner);
            let why = format!("{window} failed {attempts} times, the last time {owner}: {result}");
            return Err(why.into());
        }
        tokio::time::sleep(WAIT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_number_and_a_unit() {
        for (text, seconds) in [("1h", 3_600), ("15m", 900), ("30s", 30), ("8784h", 31_622_400)] {
            assert_eq!(length(text), Ok(Duration::from_secs(seconds)));
        }
        for text in
            ["", "h", "1", "1d", "0s", "-1h", "1.5h", "8785h", "1\u{e9}", "99999999999999999999h"]
        {
            assert!(length(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_newest_slot_is_whole_and_over() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let hour = Duration::from_secs(3_600);
        let slot = Window::new(at("2026-03-01T11:00:00Z"), at("2026-03-01T12:00:00Z")).unwrap();
        for now in ["2026-03-01T12:00:00Z", "2026-03-01T12:59:59.999999Z"] {
            assert_eq!(newest(at(now), hour).unwrap(), slot, "{now}");
        }
        assert_ne!(newest(at("2026-03-01T11:59:59.999999Z"), hour).unwrap(), slot);
        assert!(newest(Timestamp::EPOCH, hour).is_ok(), "before 1970 there are slots too");
    }
}
