//! Hours in a moment: the clock of the stores is that of a paused runtime.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::ledger::{JobClaim, JobRun, JobState, JobStore};
use crate::memory::{MemoryLedger, MemoryLog};
use crate::{Error, ErrorKind, Timestamp};

mod plan;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const JOB: &str = "monitor/churn";

fn at(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

/// The stores of some replicas, from half past twelve.
#[derive(Debug, Clone)]
struct World {
    log: Arc<MemoryLog>,
    ledger: Arc<MemoryLedger>,
    // by how much the clock of the stores is ahead of the timers, in microseconds
    asleep: Arc<AtomicI64>,
    begun: Instant,
}

impl World {
    fn new() -> Self {
        let (begun, asleep) = (Instant::now(), Arc::new(AtomicI64::new(0)));
        let ahead = Arc::clone(&asleep);
        let clock = move || {
            let passed = i64::try_from(begun.elapsed().as_micros()).unwrap();
            let micros = at("12:30:00").as_micros() + passed + ahead.load(SeqCst);
            Timestamp::from_micros(micros).unwrap()
        };
        let log = Arc::new(MemoryLog::with_clock(clock.clone()));
        Self { log, ledger: Arc::new(MemoryLedger::with_clock(clock)), asleep, begun }
    }

    fn replica(&self, owner: &str) -> Scheduler {
        let hourly = Schedule::every(HOUR).unwrap();
        let (ledger, log) = (Arc::clone(&self.ledger), Arc::clone(&self.log));
        Scheduler::new(ledger, log, JOB, hourly, owner)
    }

    async fn history(&self) -> Vec<JobRun> {
        let mut runs = self.ledger.job_runs(JOB, None, 100).await.unwrap();
        runs.reverse();
        runs
    }

    async fn run(&self, slot: &str) -> JobRun {
        self.ledger.job_run(JOB, at(slot)).await.unwrap().expect("it was begun")
    }
}

/// Counts what it does for which slot.
#[derive(Debug, Default)]
struct Work {
    done: Mutex<BTreeMap<Timestamp, u32>>,
    at_work: AtomicUsize,
    most_at_work: AtomicUsize,
}

impl Work {
    async fn take(&self, slot: Slot, time: Duration) -> Result<String, Error> {
        let now = self.at_work.fetch_add(1, SeqCst) + 1;
        self.most_at_work.fetch_max(now, SeqCst);
        sleep(time).await;
        self.at_work.fetch_sub(1, SeqCst);
        *self.done.lock().unwrap().entry(slot.at).or_default() += 1;
        Ok(format!("{} slots passed over", slot.skipped))
    }

    fn done(&self) -> Vec<(Timestamp, u32)> {
        self.done.lock().unwrap().iter().map(|(slot, times)| (*slot, *times)).collect()
    }
}

fn failed() -> Error {
    Error::new(ErrorKind::Unavailable, "work", "no luck")
}

#[tokio::test(start_paused = true)]
async fn two_replicas_do_each_slot_once() {
    let (world, work) = (World::new(), Work::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let replicas = ["a", "b"].map(|owner| {
        let told = Arc::clone(&told);
        let note = move |end: &SlotEnd| {
            told.lock().unwrap().push((owner, end.run.slot, end.run.owner == owner, end.ours));
        };
        world.replica(owner).told(note)
    });
    let run = async |replica: Scheduler| {
        replica.run(|slot| work.take(slot, MINUTE), sleep(3 * HOUR)).await;
    };
    let [a, b] = replicas;
    tokio::join!(run(a), run(b));
    // That of noon is caught up with, and three come.
    let slots = ["12:00:00", "13:00:00", "14:00:00", "15:00:00"].map(at);
    assert_eq!(work.done(), slots.map(|slot| (slot, 1)));
    let history = world.history().await;
    assert_eq!(history.iter().map(|run| run.slot).collect::<Vec<_>>(), slots);
    for run in history {
        let JobRun { state, attempt, result, .. } = run;
        assert_eq!((state, attempt), (JobState::Done, 1));
        assert_eq!(result.as_deref(), Some("0 slots passed over"));
    }
    // Both have heard of each, once, and know whose it was.
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 8, "{told:?}");
    assert!(told.iter().all(|(.., by_name, ours)| by_name == ours), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_slot_of_a_killed_owner_is_taken_over_when_its_lease_ends() {
    let (world, work) = (World::new(), Work::default());
    let never = |_| std::future::pending::<Result<String, Error>>();
    // Dropped in the middle: no word to anybody.
    let replica = world.replica("a");
    let killed = timeout(10 * MINUTE, replica.run(never, std::future::pending())).await;
    assert!(killed.is_err());
    let until = world.run("12:00:00").await.lease_until;
    assert!((at("12:40:40")..=at("12:41:00")).contains(&until), "extended every 20 s: {until}");
    let taken = Arc::new(Notify::new());
    let notify = Arc::clone(&taken);
    let told = move |_: &SlotEnd| notify.notify_one();
    world.replica("b").told(told).run(|slot| work.take(slot, MINUTE), taken.notified()).await;
    let run = world.run("12:00:00").await;
    assert_eq!((run.owner.as_str(), run.attempt, run.state), ("b", 2, JobState::Done));
    let now = world.begun.elapsed();
    assert!((11 * MINUTE..12 * MINUTE + MINUTE / 2).contains(&now), "{now:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sleep_over_five_slots_runs_one() {
    let (world, work) = (World::new(), Work::default());
    let replica = world.replica("a");
    let run = replica.run(|slot| work.take(slot, MINUTE), sleep(2 * HOUR));
    let nap = async {
        sleep(HOUR / 4).await;
        // The machine sleeps from 12:45 to 18:10, and its timers do not know it.
        world.asleep.fetch_add(19_500_000_000, SeqCst);
    };
    tokio::join!(run, nap);
    assert_eq!(work.done(), ["12:00:00", "18:00:00", "19:00:00"].map(|slot| (at(slot), 1)));
    assert_eq!(world.run("18:00:00").await.result.as_deref(), Some("5 slots passed over"));
    assert_eq!(world.run("19:00:00").await.result.as_deref(), Some("0 slots passed over"));
}

#[tokio::test(start_paused = true)]
async fn long_work_keeps_its_slot_and_never_overlaps() {
    let (world, work) = (World::new(), Work::default());
    let run = async |owner| {
        let work = |slot| work.take(slot, 2 * HOUR + HOUR / 4);
        world.replica(owner).run(work, sleep(6 * HOUR)).await;
    };
    tokio::join!(run("a"), run("b"));
    assert_eq!(work.most_at_work.load(SeqCst), 1);
    // From 12:30 to 14:45, from then to 17:00, and then to 19:15, which is too late for the stop.
    assert_eq!(work.done(), ["12:00:00", "14:00:00"].map(|slot| (at(slot), 1)));
    assert_eq!(world.run("14:00:00").await.result.as_deref(), Some("1 slots passed over"));
    let last = world.run("17:00:00").await;
    assert_eq!((last.state, last.attempt), (JobState::Running, 1));
    assert!(last.lease_until <= at("18:31:00"), "given back: {last:?}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_after_a_pause_and_then_given_up() {
    let world = World::new();
    let tries = Mutex::new(Vec::new());
    let ends = Arc::new(Mutex::new(Vec::new()));
    let work = |slot: Slot| {
        let mut tries = tries.lock().unwrap();
        tries.push((slot.at, slot.attempt, world.begun.elapsed().as_secs()));
        let luck = slot.at == at("13:00:00") && slot.attempt == 2;
        std::future::ready(if luck { Ok("luck".to_owned()) } else { Err(failed()) })
    };
    let heard = Arc::clone(&ends);
    let told = move |end: &SlotEnd| heard.lock().unwrap().push((end.run.slot, end.run.state));
    let replica = world.replica("a").told(told);
    replica.run(work, sleep(HOUR)).await;
    let (noon, one) = (at("12:00:00"), at("13:00:00"));
    assert_eq!(
        *tries.lock().unwrap(),
        [(noon, 1, 0), (noon, 2, 5), (noon, 3, 15), (one, 1, 1800), (one, 2, 1805)]
    );
    assert_eq!(*ends.lock().unwrap(), [(noon, JobState::Failed), (one, JobState::Done)]);
    let run = world.run("12:00:00").await;
    assert_eq!(run.result.as_deref(), Some("work: unavailable: no luck"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    let world = World::new();
    let work = |slot: Slot| async move {
        assert!(slot.attempt > 1, "the first one");
        Ok(String::new())
    };
    world.replica("a").run(work, sleep(MINUTE)).await;
    let run = world.run("12:00:00").await;
    assert_eq!((run.state, run.attempt), (JobState::Done, 2));
    let end = world.replica("a").attempts(1).once(|_| async { panic!("no") }).await.unwrap();
    assert_eq!(end.run, run, "the slot is done");
    sleep(HOUR).await;
    let end = world.replica("a").attempts(1).once(|_| async { panic!("no") }).await.unwrap();
    assert_eq!((end.ours, end.run.state), (true, JobState::Failed));
    assert_eq!(end.run.result.as_deref(), Some("scheduler: failed: the work panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_work_end_or_gives_its_slot_back() {
    let (world, work) = (World::new(), Work::default());
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let short = world.replica("a").told(move |_| {
        count.fetch_add(1, SeqCst);
    });
    short.run(|slot| work.take(slot, MINUTE), sleep(MINUTE - Duration::from_secs(19))).await;
    assert_eq!(world.run("12:00:00").await.state, JobState::Done);
    assert_eq!((world.begun.elapsed(), told.load(SeqCst)), (MINUTE, 1));

    sleep(HOUR).await;
    let long = world.replica("a").grace(Duration::from_secs(10));
    let begun = Instant::now();
    long.run(|slot| work.take(slot, MINUTE), sleep(MINUTE / 2)).await;
    assert_eq!(begun.elapsed(), MINUTE / 2 + Duration::from_secs(10));
    // The next one need not wait for the lease.
    let end = world.replica("b").once(|slot| work.take(slot, MINUTE)).await.unwrap();
    assert_eq!((end.ours, end.run.attempt, end.run.state), (true, 2, JobState::Done));
    assert_eq!(begun.elapsed(), MINUTE / 2 + Duration::from_secs(10) + MINUTE);
    // Between slots it is at once.
    let begun = Instant::now();
    world.replica("a").run(|slot| work.take(slot, MINUTE), sleep(MINUTE)).await;
    assert_eq!(begun.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_for() {
    let (world, work) = (World::new(), Work::default());
    let replica = world.replica("a");
    let run = replica.run(|slot| work.take(slot, MINUTE), sleep(4 * HOUR));
    let outage = async {
        sleep(10 * MINUTE).await;
        world.ledger.take_down();
        world.log.take_down();
        sleep(3 * HOUR).await;
        world.ledger.bring_up();
        world.log.bring_up();
    };
    tokio::join!(run, outage);
    assert_eq!(work.done(), ["12:00:00", "15:00:00", "16:00:00"].map(|slot| (at(slot), 1)));
    assert_eq!(world.run("15:00:00").await.result.as_deref(), Some("2 slots passed over"));
}

#[tokio::test(start_paused = true)]
async fn who_lost_its_slot_stops_working_on_it() {
    let (world, work) = (World::new(), Work::default());
    let replica = world.replica("a");
    let run = replica.run(|slot| work.take(slot, 10 * MINUTE), sleep(20 * MINUTE));
    let robbed = async {
        sleep(MINUTE / 2).await;
        world.ledger.take_down();
        sleep(2 * MINUTE).await;
        world.ledger.bring_up();
        let slot = at("12:00:00");
        let claim = JobClaim { job: JOB, slot, owner: "b", lease: HOUR, attempts: 3 };
        assert!(world.ledger.claim_job(&claim).await.unwrap().is_some());
    };
    tokio::join!(run, robbed);
    assert_eq!(work.done(), [], "it was dropped");
    let run = world.run("12:00:00").await;
    assert_eq!((run.owner.as_str(), run.state), ("b", JobState::Running));
}

#[tokio::test(start_paused = true)]
async fn once_waits_for_whoever_is_at_it() {
    let (world, work) = (World::new(), Work::default());
    let once = async |owner: &str| {
        let replica = world.replica(owner);
        replica.once(|slot| work.take(slot, 3 * MINUTE)).await.unwrap()
    };
    let (first, second) = tokio::join!(once("a"), once("b"));
    assert_eq!((first.ours, second.ours), (true, false));
    assert_eq!(first.run, second.run);
    assert_eq!(work.done(), [(at("12:00:00"), 1)]);
    world.ledger.take_down();
    let error = world.replica("a").once(|slot| work.take(slot, MINUTE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_slot_begins_when_what_belongs_to_it_has_settled() {
    let (world, work) = (World::new(), Work::default());
    let replica = world.replica("a").settle(10 * MINUTE);
    let begun = Mutex::new(Vec::new());
    let noted = |slot: Slot| {
        begun.lock().unwrap().push((slot.since, slot.at, world.begun.elapsed()));
        work.take(slot, MINUTE)
    };
    replica.run(noted, sleep(HOUR)).await;
    assert_eq!(
        *begun.lock().unwrap(),
        [
            (at("11:00:00"), at("12:00:00"), Duration::ZERO),
            (at("12:00:00"), at("13:00:00"), 40 * MINUTE)
        ]
    );
}
