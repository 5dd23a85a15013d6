//! From answered predictions to batches in the log.
//!
//! One task writes. It gathers events into one batch per model version, gives each batch its id
//! before the first attempt, and sends the *same* batch again until the store has it: exactly once,
//! whatever breaks in between. While it sends, events queue up behind it; when the queue is full,
//! predictions are refused, and nothing is dropped. A batch that the store can never take is halved
//! until the events are found that it cannot take, so that those beside them are written.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::axum::body::Bytes;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::clock::Clock;
use super::lasting::Lasting;
use super::loaded::Loaded;
use super::metrics::Histogram;
use super::options::{Durability, Limits};
use super::replay::{Replay, Ticket};
use crate::drift::Counts;
use crate::log::{Backlog, BatchId, EventBatch, InferenceEvent, InferenceLog, Reply, is_final};
use crate::record::Row;
use crate::validate::Violations;
use crate::{Error, ErrorKind};

/// First and longest pause before a batch is sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where the events are: `accepted = written + spooled + queued + rejected + quarantined + lost`,
/// always, in one snapshot. One service at a time may use a log that keeps events on disk: what
/// another one gives it would be in this account.
///
/// ```
/// # fn show(service: &pmmds::axum::Service) {
/// let account = service.log_account();
/// assert_eq!(
///     account.accepted,
///     account.written + account.spooled + account.queued
///         + account.rejected + account.quarantined + account.lost
/// );
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct LogAccount {
    /// events that were taken in, and those that an earlier process left on disk
    pub accepted: u64,
    /// events that the store has, or whose request it has, where it keeps one event of each
    pub written: u64,
    /// events on local disk, on their way to the store; 0 for a log that keeps none there
    pub spooled: u64,
    /// events in the queue or in a batch on its way
    pub queued: u64,
    /// events that the store can never take, as it says
    pub rejected: u64,
    /// events of which it said so when they were on disk; they are in a file for a person
    pub quarantined: u64,
    /// events that a shutdown could not write in time, or that the disk did not give back
    pub lost: u64,
}

impl LogAccount {
    /// The same with what is known of a log that keeps events on disk: what it acknowledged is not
    /// in the store yet. `before` events were in it before the first of these.
    fn behind(self, backlog: &Backlog, before: u64) -> Self {
        // A batch that it has taken, and whose writer has not heard of it, is in both accounts: as
        // on its way, or as lost where a shutdown did not leave the time to hear of it.
        let unheard = (backlog.taken() - before).saturating_sub(self.written);
        let on_its_way = unheard.min(self.queued);
        let given_up = (unheard - on_its_way).min(self.lost);
        Self {
            accepted: self.accepted + before,
            written: backlog.replayed,
            spooled: backlog.events,
            queued: self.queued - on_its_way,
            rejected: self.rejected,
            quarantined: backlog.quarantined,
            lost: self.lost - given_up + backlog.unreadable,
        }
    }
}

/// An answered prediction on its way to the log.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) model: Arc<Loaded>,
    pub(super) row: Row,
    pub(super) event: InferenceEvent,
    pub(super) ticket: Arc<Ticket>,
    // what the ticket's holder is told once the event is written
    pub(super) answer: Bytes,
}

/// Why an event was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// There is no room.
    Full,
    /// The service is on its way out.
    Closed,
}

#[derive(Debug)]
struct Shared {
    account: Mutex<LogAccount>,
    // what was refused since the last batch, per version; no memory per request
    rejected: Mutex<Vec<(Arc<Loaded>, Counts)>>,
    rejections: Notify,
    // how long predictions took, and rows that were refused, for the metrics
    latency: Histogram,
    refused_rows: AtomicU64,
    // why the last attempt to write failed, as everybody may know it; None after one that worked
    trouble: Mutex<Option<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Held for a few assignments; what is in it is whole even if one of them had panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way in: what requests hold.
#[derive(Debug)]
pub(super) struct LogQueue {
    sender: mpsc::Sender<Item>,
    log: Arc<dyn InferenceLog>,
    // events that the log had taken when the service started
    before: u64,
    shared: Arc<Shared>,
    clock: Arc<Clock>,
    // when to give up; set once, by a shutdown
    stop: watch::Sender<Option<Instant>>,
    task: tokio::sync::Mutex<JoinHandle<()>>,
}

impl LogQueue {
    /// Starts the task that writes to `log`.
    pub(super) fn start(
        log: Arc<dyn InferenceLog>,
        durability: Durability,
        limits: &Limits,
        clock: Arc<Clock>,
        replay: Arc<Replay>,
    ) -> Self {
        let (sender, queue) = mpsc::channel(limits.queue);
        let (stop, stopped) = watch::channel(None);
        let shared = Arc::new(Shared {
            account: Mutex::default(),
            rejected: Mutex::default(),
            rejections: Notify::new(),
            latency: Histogram::default(),
            refused_rows: AtomicU64::new(0),
            trouble: Mutex::default(),
        });
        let before = log.backlog().map_or(0, |backlog| backlog.taken());
        let writer = Writer {
            log: Arc::clone(&log),
            queue,
            shared: Arc::clone(&shared),
            stopped,
            durability,
            batch_rows: limits.batch_rows,
            linger: limits.linger,
            attempt: limits.append_timeout,
            clock: Arc::clone(&clock),
            replay,
            open: Vec::new(),
            rows: 0,
            written_at: None,
            waits: Lasting::default(),
        };
        let task = tokio::sync::Mutex::new(tokio::spawn(writer.run()));
        Self { sender, log, before, shared, clock, stop, task }
    }

    /// Room for `events`, all of them, or why there is none.
    pub(super) fn reserve(&self, events: usize) -> Result<Room<'_>, NotTaken> {
        let permits = self.sender.try_reserve_many(events).map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(()) => NotTaken::Closed,
        })?;
        // Before the writer can have any of them.
        {
            let mut account = locked(&self.shared.account);
            account.accepted += events as u64;
            account.queued += events as u64;
        }
        Ok(Room { permits, shared: &self.shared, answers: true })
    }

    /// Room for an event that can be done without: only while the queue is less than half full.
    pub(super) fn reserve_spare(&self) -> Option<Room<'_>> {
        let spare = self.sender.capacity() > self.sender.max_capacity() / 2;
        let mut room = if spare { self.reserve(1).ok()? } else { return None };
        room.answers = false;
        Some(room)
    }

    /// Counts a refused request; it is written with the next batch.
    pub(super) fn push_rejected(&self, model: &Arc<Loaded>, violations: &Violations) {
        self.shared.refused_rows.fetch_add(1, Ordering::Relaxed);
        model.live.observe_rejected(self.clock.now(), model.model.schema(), violations);
        {
            let mut rejected = locked(&self.shared.rejected);
            let known = rejected.iter().position(|(known, _)| Arc::ptr_eq(known, model));
            let at = known.unwrap_or_else(|| {
                rejected.push((Arc::clone(model), Counts::empty(model.model.profile())));
                rejected.len() - 1
            });
            rejected[at].1.observe_rejected(model.model.schema(), violations);
        }
        self.shared.rejections.notify_one();
    }

    pub(super) fn account(&self) -> LogAccount {
        self.accounts().0
    }

    /// The account, and what of it the log keeps on disk, of one moment.
    pub(super) fn accounts(&self) -> (LogAccount, Option<Backlog>) {
        let account = locked(&self.shared.account);
        // While nobody changes the account: the log then has at least what the account says.
        match self.log.backlog() {
            Some(backlog) => (account.behind(&backlog, self.before), Some(backlog)),
            None => (*account, None),
        }
    }

    /// What the log keeps on disk until the store has it.
    pub(super) fn backlog(&self) -> Option<Backlog> {
        self.log.backlog()
    }

    /// How long predictions took.
    pub(super) fn latency(&self) -> &Histogram {
        &self.shared.latency
    }

    /// Rows that broke a rule of the schema.
    pub(super) fn refused_rows(&self) -> u64 {
        self.shared.refused_rows.load(Ordering::Relaxed)
    }

    /// Why the log cannot take more, if it cannot.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.sender.is_closed() {
            return Some("the log queue is closed".to_owned());
        }
        if self.sender.capacity() == 0 {
            return Some("the log queue is full".to_owned());
        }
        locked(&self.shared.trouble).clone()
    }

    /// Takes nothing more in, writes what there is, and gives up after `timeout`.
    pub(super) async fn close(&self, timeout: Duration) -> LogAccount {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(Instant::now() + timeout);
            first
        });
        let mut task = self.task.lock().await;
        if !task.is_finished() {
            // The writer catches what the store panics with; it has no other way to fail.
            let _ = (&mut *task).await;
        }
        drop(task);
        self.account()
    }
}

/// Room that was reserved for events, which are counted from then on; what is left of it is given
/// back.
#[derive(Debug)]
pub(super) struct Room<'q> {
    permits: mpsc::PermitIterator<'q, Item>,
    shared: &'q Shared,
    // whether the events are of answers; the time of others is none that a client waits for
    answers: bool,
}

impl Room<'_> {
    /// Takes an event in. There must be room.
    pub(super) fn push(&mut self, item: Item) {
        let room = self.permits.next();
        debug_assert!(room.is_some(), "more events than were reserved");
        let Some(room) = room else { return };
        item.model.live.observe(item.event.at, &item.row, &item.event.codes);
        if self.answers {
            self.shared.latency.observe(item.event.latency);
        }
        room.send(item);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let left = self.permits.len() as u64;
        if left > 0 {
            let mut account = locked(&self.shared.account);
            account.accepted -= left;
            account.queued -= left;
        }
    }
}

/// A batch that still grows.
#[derive(Debug)]
struct Open {
    model: Arc<Loaded>,
    // nobody else's but while it is sent
    batch: Arc<EventBatch>,
    waiting: Vec<(Arc<Ticket>, Bytes)>,
}

impl Open {
    /// In two; `None` when there is nothing to tell apart.
    fn halves(&mut self) -> Option<[Self; 2]> {
        let halves = self.batch.halves()?;
        let behind = self.waiting.split_off(halves[0].events().len());
        let mut waiting = [std::mem::take(&mut self.waiting), behind].into_iter();
        Some(halves.map(|batch| {
            let (model, waiting) = (Arc::clone(&self.model), waiting.next().unwrap_or_default());
            Self { model, batch: Arc::new(batch), waiting }
        }))
    }
}

impl Open {
    /// What clients were answered who gave their request a name.
    fn replies(&self) -> Vec<Reply> {
        let answered = self.batch.events().iter().zip(&self.waiting);
        let named = answered.filter(|(event, _)| event.request_id != event.id);
        let reply = |(_, (ticket, answer)): (_, &(Arc<Ticket>, Bytes))| {
            Reply::new(ticket.request_id(), ticket.payload(), answer.to_vec())
        };
        named.map(reply).collect()
    }
}

/// How writing a batch ended.
enum Ended {
    Written,
    // for ever
    Refused(Error),
    GivenUp,
}

#[derive(Debug)]
struct Writer {
    log: Arc<dyn InferenceLog>,
    queue: mpsc::Receiver<Item>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<Option<Instant>>,
    durability: Durability,
    batch_rows: usize,
    linger: Duration,
    attempt: Duration,
    clock: Arc<Clock>,
    replay: Arc<Replay>,
    // at most one per version
    open: Vec<Open>,
    // events in `open`
    rows: usize,
    written_at: Option<Instant>,
    // of a store that does not take a batch
    waits: Lasting<ErrorKind>,
}

impl Writer {
    async fn run(mut self) {
        loop {
            let more = self.gather().await;
            self.flush().await;
            if !more {
                return;
            }
        }
    }

    /// Waits until there is something to write and no reason to wait for more. False when the queue
    /// is closed and empty.
    async fn gather(&mut self) -> bool {
        let mut wake = false;
        loop {
            let stopping = self.stopped.borrow_and_update().is_some();
            if stopping {
                self.queue.close();
            }
            while self.rows < self.batch_rows {
                match self.queue.try_recv() {
                    Ok(item) => self.add(item),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return false,
                }
            }
            let waited_for = self.rows > 0 && self.durability == Durability::Committed;
            let now = Instant::now();
            let due = self.written_at.map_or(now, |at| at + self.linger);
            let something = wake || self.rows > 0;
            // Nobody gains by waiting when somebody waits for the commit, and nothing else is
            // there: what arrives during this write makes the next batch.
            let ready = waited_for || stopping || self.rows >= self.batch_rows || now >= due;
            if something && ready {
                return true;
            }
            tokio::select! {
                item = self.queue.recv() => match item {
                    Some(item) => self.add(item),
                    None => return false,
                },
                () = self.shared.rejections.notified() => wake = true,
                () = tokio::time::sleep_until(due), if something => {}
                Ok(()) = self.stopped.changed() => {}
            }
        }
    }

    fn add(&mut self, item: Item) {
        let Item { model, row, event, ticket, answer } = item;
        let at = self.opened(&model);
        let open = &mut self.open[at];
        Arc::make_mut(&mut open.batch).push(model.model.profile(), &row, event);
        open.waiting.push((ticket, answer));
        self.rows += 1;
    }

    fn opened(&mut self, model: &Arc<Loaded>) -> usize {
        if let Some(at) = self.open.iter().position(|open| Arc::ptr_eq(&open.model, model)) {
            return at;
        }
        let id = BatchId(self.clock.id(self.clock.now()));
        let (name, version) = (model.model.name().clone(), model.model.version());
        let batch = Arc::new(EventBatch::new(id, name, version, model.model.profile()));
        self.open.push(Open { model: Arc::clone(model), batch, waiting: Vec::new() });
        self.open.len() - 1
    }

    /// Writes everything that is open, with what was refused meanwhile.
    async fn flush(&mut self) {
        let rejected = std::mem::take(&mut *locked(&self.shared.rejected));
        for (model, counts) in rejected {
            let at = self.opened(&model);
            // They are of the same version, hence of the same profile.
            let merged = Arc::make_mut(&mut self.open[at].batch).merge_rejected(&counts);
            debug_assert!(merged.is_ok(), "{merged:?}");
        }
        self.rows = 0;
        let mut left = std::mem::take(&mut self.open);
        while let Some(mut open) = left.pop() {
            let ended = self.write(&open).await;
            if matches!(ended, Ended::Refused(_))
                && let Some([first, second]) = open.halves()
            {
                left.extend([second, first]);
                continue;
            }
            let Open { batch, waiting, .. } = open;
            let events = waiting.len() as u64;
            if let Ended::Refused(error) = &ended {
                let (id, error) = (batch.id(), error.chain());
                let request = batch.events().first().map(|event| event.request_id);
                tracing::error!(batch = %id, ?request, error, "the log refuses this for ever");
            }
            {
                let mut account = locked(&self.shared.account);
                account.queued -= events;
                match ended {
                    Ended::Written => account.written += events,
                    Ended::Refused(_) => account.rejected += events,
                    Ended::GivenUp => account.lost += events,
                }
            }
            for (ticket, answer) in waiting {
                match ended {
                    Ended::Written => ticket.answer(answer),
                    Ended::Refused(_) | Ended::GivenUp => self.replay.abandon(&ticket),
                }
            }
        }
        self.written_at = Some(Instant::now());
    }

    /// Sends the batch until the store has it.
    async fn write(&mut self, open: &Open) -> Ended {
        let batch = &open.batch;
        // Only a log of that kind keeps them.
        let keeps = self.log.backlog().is_some();
        let replies: Arc<[Reply]> = if keeps { open.replies().into() } else { Arc::default() };
        let mut pause = FIRST_PAUSE;
        loop {
            // In a task of its own, so that a store that panics does not take the writer along.
            let (log, sent) = (Arc::clone(&self.log), Arc::clone(batch));
            let said = Arc::clone(&replies);
            let mut attempt = tokio::spawn(async move { log.append_answered(&sent, &said).await });
            let deadline = Instant::now() + self.attempt;
            let deadline = self.stopped.borrow().map_or(deadline, |stop| stop.min(deadline));
            let error = match tokio::time::timeout_at(deadline, &mut attempt).await {
                Ok(Ok(Ok(_))) => {
                    *locked(&self.shared.trouble) = None;
                    if let Some(lasted) = self.waits.over(self.clock.elapsed()) {
                        tracing::warn!(?lasted, "the log takes batches again");
                    }
                    return Ended::Written;
                }
                Ok(Ok(Err(error))) => error,
                Ok(Err(_)) => Error::new(ErrorKind::Other, "log", "the store panicked"),
                Err(_) => {
                    attempt.abort();
                    let context = format!("the store did not answer within {:?}", self.attempt);
                    Error::new(ErrorKind::Unavailable, "log", context)
                }
            };
            let events = batch.events().len();
            if is_final(&error) {
                // Sent again it would be refused again, and hold up everything behind it.
                return Ended::Refused(error);
            }
            if self.waits.is_news(self.clock.elapsed(), error.kind()) {
                tracing::warn!(batch = %batch.id(), events, error = error.chain(), "a batch waits");
            }
            *locked(&self.shared.trouble) = Some(super::told(&error));
            if !self.pause(jittered(pause)).await {
                tracing::error!(batch = %batch.id(), events, "a batch is lost: no time is left");
                return Ended::GivenUp;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sleeps; false when a shutdown leaves no time to go on.
    async fn pause(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let stopping = tokio::select! {
            () = tokio::time::sleep_until(until) => false,
            Ok(_) = self.stopped.wait_for(Option::is_some) => true,
        };
        if stopping {
            // It makes haste, and has no use for long pauses.
            tokio::time::sleep_until(until.min(Instant::now() + FIRST_PAUSE)).await;
        }
        self.stopped.borrow().is_none_or(|stop| Instant::now() < stop)
    }
}

/// Half to all of `pause`, so that replicas do not knock together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 512;
    pause / 2 + pause * u32::try_from(random).unwrap_or(0) / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_and_is_on_disk_is_in_one_place() {
        let mut backlog = Backlog::default();
        (backlog.recovered, backlog.spooled, backlog.replayed, backlog.events) = (5, 12, 6, 11);
        for (queued, lost, expected) in [(2, 0, (0, 0)), (0, 2, (0, 0)), (1, 4, (0, 3))] {
            let account =
                LogAccount { accepted: 10 + queued + lost, queued, lost, ..LogAccount::default() };
            let account = LogAccount { written: 10, ..account }.behind(&backlog, 5);
            assert_eq!((account.queued, account.lost), expected);
            let LogAccount { written, spooled, queued, lost, .. } = account;
            assert_eq!(account.accepted, written + spooled + queued + lost, "{account:?}");
        }
    }

    #[test]
    fn pauses_differ_within_bounds() {
        let pause = Duration::from_millis(1_000);
        let pauses: Vec<Duration> = (0..100).map(|_| jittered(pause)).collect();
        assert!(pauses.iter().all(|p| (pause / 2..pause).contains(p)));
        assert!(pauses.iter().any(|p| *p != pauses[0]));
    }
}
