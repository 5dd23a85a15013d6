//! The monitor on its schedule, inside the service and beside it; and single slots for schedulers
//! of others.

use std::sync::Arc;
use std::time::Duration;

use pmmds::drift::Verdict;
use pmmds::ledger::{JobRun, JobState};
use pmmds::lifecycle::{Answer, Cycle, OnDrift};
use pmmds::registry::ModelName;
use pmmds::schedule::{Schedule, Scheduler, Slot, SlotEnd};
use pmmds::{Error, Timestamp, Window};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::Outcome;
use crate::commands::{newest_half, retraining, what_waits};
use crate::data::{self, TelcoCsv};
use crate::operations::{self, failed};
use crate::origin::{Origin, on_this_machine};
use crate::settings::{Reaction, Settings};
use crate::state::State;
use crate::telco::Customers;

/// How long a process may be silent before another one takes its slot over; less where slots are
/// short.
const LEASE: Duration = Duration::from_secs(60);

/// The least that a slow machine needs.
const SHORTEST_LEASE: Duration = Duration::from_secs(6);

/// What is answered just before the end of a window is in the log by then. Short slots, as in
/// tests, do not wait: their windows overlap.
const SETTLE: Duration = Duration::from_secs(5);

/// How often a slot is begun, by all processes together, with pauses that double: a server that
/// restarts does not cost a look.
const ATTEMPTS: u32 = 9;

/// Between two questions how far another process has come, and the first pause after a failure of
/// a single slot: nine attempts take a minute and a half.
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

/// Reads the interval of a schedule.
pub(crate) fn every(text: &str) -> Result<Schedule, String> {
    Schedule::every(length(text)?).map_err(|e| e.to_string())
}

/// Reads a cron expression.
pub(crate) fn cron(text: &str) -> Result<Schedule, String> {
    Schedule::cron(text).map_err(|e| e.to_string())
}

/// What a slot leaves on record.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    // None: nothing was in production
    verdict: Option<Verdict>,
    // the line for a person
    said: String,
}

/// Monitor, and retrain and promote if that asks for it, at every slot.
pub(crate) struct Watch {
    scheduler: Scheduler,
    state: State,
    settings: Settings,
    // of a look
    lease: Duration,
    // whether it runs beside the service, which tells by itself what waits for the log
    is_beside: bool,
    /// what is done when, in words
    pub(crate) plan: String,
}

impl Watch {
    pub(crate) fn new(state: &State, settings: &Settings, schedule: Schedule) -> Outcome<Self> {
        let state = state.of_this_process();
        let reaction = match (settings.on_drift, &settings.data) {
            (Reaction::Tell, _) => "drift is told, and retraining left to you".to_owned(),
            (Reaction::Retrain, Some(file)) => {
                // Whoever names a file is told at once if it is not there.
                data::file(file)?;
                format!("drift retrains, on the traffic and on {}", file.display())
            }
            (Reaction::Retrain, None) => {
                let what = "what production was trained on, where that is here";
                format!("drift retrains, on the traffic and on {what}")
            }
        };
        let plan = format!("{schedule}, the last {} h; {reaction}", settings.window_hours);
        // Between two of its moments, wherever they are.
        let first = schedule.next(Timestamp::EPOCH);
        let second = first.and_then(|first| schedule.next(first));
        let between = first.zip(second).map_or(LEASE, |(first, second)| second.since(first));
        // So that another process takes a slot over while it is the newest.
        let lease = (between / 3).clamp(SHORTEST_LEASE, LEASE);
        let job = job(&state.model);
        let ledger = state.ledger();
        let scheduler = Scheduler::new(ledger, state.log(), job, schedule, state.owner.clone())
            .lease(lease)
            .attempts(ATTEMPTS)
            .settle(if between < 10 * SETTLE { Duration::ZERO } else { SETTLE });
        // Half of it: see `Monitor::lease`.
        let (settings, lease) = (settings.clone(), lease / 2);
        let watch = Self { scheduler, state, settings, lease, is_beside: false, plan };
        // What cannot be is said at the start.
        watch.cycle(None)?;
        Ok(watch)
    }

    /// Prints one line for every slot.
    pub(crate) fn aloud(mut self) -> Self {
        self.is_beside = true;
        self.scheduler = self.scheduler.told(|SlotEnd { run, ours, .. }| {
            let by = if *ours { String::new() } else { format!(" by {}", run.owner) };
            say!("{}{by}: {}", run.slot, line(run));
        });
        self
    }

    /// Works until `stop`.
    pub(crate) async fn run(self, stop: impl Future<Output = ()> + Send) {
        self.scheduler.run(|slot| self.look(slot), stop).await;
    }

    /// The cycle, which retrains on `data` if there is some.
    fn cycle(&self, data: Option<&TelcoCsv>) -> Outcome<Cycle> {
        let Self { state, settings, .. } = self;
        let (on_drift, trainer) = match data {
            Some(csv) => (OnDrift::Retrain, Origin::of(csv).trainer(state)),
            None => (OnDrift::Tell, Arc::clone(&state.trainer)),
        };
        let monitor = state.monitor(settings)?.lease(self.lease);
        let retraining = retraining(state, trainer, newest_half());
        let cycle = Cycle::new(monitor, retraining, state.model.clone()).on_drift(on_drift);
        Ok(match operations::delivery(state, settings)? {
            Some(delivery) => cycle.delivery(delivery),
            None => cycle,
        })
    }

    async fn look(&self, slot: Slot) -> Result<String, Error> {
        let end = slot.at.saturating_sub(self.settings.grace());
        let window = Window::before(end, self.settings.window()).map_err(failed)?;
        // As things are now: it may have come since the start, or another version.
        let data = match self.settings.on_drift {
            Reaction::Retrain => {
                let (settings, state) = (self.settings.clone(), self.state.clone());
                let find = async move { on_this_machine(&settings, &state).await.map_err(failed) };
                apart(find).await?.map_err(Some)
            }
            Reaction::Tell => Err(None),
        };
        let cycle = self.cycle(data.as_ref().ok()).map_err(failed)?;
        let (csv, why_not) = data.map_or_else(|why| (None, why), |csv| (Some(csv), None));
        let rows = async move || {
            let csv = csv.ok_or_else(|| failed("there is no training data"))?;
            Ok(Customers::read(&csv).map_err(failed)?.training())
        };
        let run = apart(async move { cycle.run(window, rows, &()).await }).await?;
        operations::upkeep(&self.state).await;
        let mut said = run.to_string();
        if let (Answer::Told(_), Some(why)) = (&run.answer, why_not) {
            said = format!("{said}: {why}");
        }
        if self.is_beside
            && let Some(waits) = what_waits(&self.state).await
        {
            said = format!("{said}; {waits}");
        }
        if slot.skipped > 0 {
            said = format!("{said}; {} slots before it were passed over", slot.skipped);
        }
        let verdict = run.monitored.map(|done| done.run.report.verdict);
        serde_json::to_string(&Found { verdict, said }).map_err(failed)
    }
}

/// Waits for `future` on a thread of its own: to verify a model or to fit one is a long computation,
/// and requests are answered meanwhile.
async fn apart<T: Send + 'static>(
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let work = move || drop(done.send(runtime.block_on(future)));
    std::thread::Builder::new().name("cycle".to_owned()).spawn(work).map_err(failed)?;
    answer.await.map_err(|_| failed("the thread of the cycle ended without an answer"))?
}

/// The job of the cycle.
pub(crate) fn job(model: &ModelName) -> String {
    format!("monitor/{model}")
}

/// What became of a slot, for a person.
pub(crate) fn line(run: &JobRun) -> String {
    let JobRun { owner, attempt, result, .. } = run;
    let result = result.as_deref().unwrap_or("no word");
    let found: Option<Found> = serde_json::from_str(result).ok();
    let said = found.as_ref().map_or(result, |found| &found.said);
    match run.state {
        JobState::Done => said.to_owned(),
        state => format!("{}, attempt {attempt} of {owner}: {said}", state.as_str()),
    }
}

/// What `look` finds in the newest slot of `length` that is over, `grace` earlier: its own finding,
/// or that of the process that was first.
pub(crate) async fn once<W>(
    state: &State,
    length: Duration,
    grace: Duration,
    look: impl Fn(Window) -> W + Send + Sync,
) -> Outcome<Verdict>
where
    W: Future<Output = Outcome<Verdict>> + Send,
{
    let schedule = Schedule::every(length)?;
    // An hour and the minute that it ends with are two jobs, and so are the same hour and one that
    // ends earlier.
    let (seconds, earlier) = (length.as_secs(), grace.as_secs());
    let job = format!("look/{}/{seconds}s/{earlier}s", state.model);
    let (jobs, log) = (state.ledger(), state.log());
    let scheduler = Scheduler::new(jobs, log, job, schedule, state.owner.clone());
    let look = |slot: Slot| {
        let found = Window::before(slot.at.saturating_sub(grace), length).map(&look);
        async move {
            let verdict = found.map_err(failed)?.await.map_err(failed)?;
            serde_json::to_string(&verdict).map_err(failed)
        }
    };
    let SlotEnd { run, ours, .. } =
        scheduler.lease(LEASE).retry(WAIT).attempts(ATTEMPTS).once(look).await?;
    let window = Window::before(run.slot.saturating_sub(grace), length)?;
    let result = run.result.unwrap_or_default();
    if run.state != JobState::Done {
        let (attempts, owner) = (run.attempt, run.owner);
        let why = format!("{window} failed {attempts} times, the last time {owner}: {result}");
        return Err(why.into());
    }
    let verdict: Verdict = serde_json::from_str(&result)?;
    if !ours {
        say!("{window} was looked at by {}: {}", run.owner, verdict.headline());
    }
    Ok(verdict)
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
}
