//! The one thread that writes: what comes while it works is written, and brought down to the disk,
//! together.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::COMPONENT;
use super::disk::unavailable;
use super::folder::segment_name;
use super::frame::Frame;
use super::options::Fsync;
use super::state::{CLOSED, Core, Group, Key, Place, Refusing, State, full};
use crate::log::{Appended, BatchId};
use crate::{Error, ErrorKind};

const NOT_KEPT: &str = "the disk did not take a batch";

/// Longest pause before a disk that failed is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Most bytes that are written together.
const TOGETHER: usize = 8 << 20;

/// Where the one who appends waits.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) answer: oneshot::Sender<Result<Appended, Error>>,
    // of the memory that the batch takes, for as long
    pub(super) _room: OwnedSemaphorePermit,
}

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Order {
    Append { frame: Frame, key: Key, answer: Answer },
    // brings everything down to the disk, and ends
    Close { done: oneshot::Sender<()> },
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    // behind the last whole frame
    length: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    core: Arc<Core>,
    orders: Receiver<Order>,
    // None before the first batch, and after a failure that spoiled it
    segment: Option<Segment>,
    // number of the next file
    next: u64,
    // acknowledged and not yet down on the disk; kept to be written elsewhere if that fails
    unsynced: Vec<(u64, Vec<u8>)>,
    // when the first of them came, or the last attempt failed
    since: Instant,
    // attempts in a row that failed to bring them down
    failures: u32,
}

/// A batch that is about to be written.
#[derive(Debug)]
struct Planned {
    frame: Frame,
    // it is sent as a part of this one
    group: BatchId,
    key: Key,
    answer: Answer,
    // the same batch, sent once more meanwhile
    again: Vec<Answer>,
}

/// The same for everybody whom it concerns; where on this machine is for its own log.
fn copied(error: &Error) -> Error {
    Error::new(error.kind(), COMPONENT, NOT_KEPT).with_source(error.chain())
}

impl Writer {
    pub(super) fn new(core: Arc<Core>, orders: Receiver<Order>, next: u64) -> Self {
        let (segment, unsynced) = (None, Vec::new());
        let since = Instant::now();
        Self { core, orders, segment, next, unsynced, since, failures: 0 }
    }

    pub(super) fn run(mut self) {
        loop {
            let order = match self.left() {
                None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => self.orders.recv_timeout(left),
            };
            let (mut appends, mut done) = (Vec::new(), None);
            match order {
                Ok(order) => {
                    let (mut next, mut bytes) = (Some(order), 0);
                    while let Some(order) = next {
                        match order {
                            Order::Append { frame, key, answer } => {
                                bytes += frame.head.frame_bytes();
                                appends.push((frame, key, answer));
                            }
                            Order::Close { done: told } => done = Some(told),
                        }
                        next = if bytes < TOGETHER { self.orders.try_recv().ok() } else { None };
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.sync();
                    return;
                }
            }
            if !appends.is_empty() {
                self.append(appends);
            }
            if done.is_some() || self.left().is_some_and(|left| left.is_zero()) {
                self.sync();
            }
            if let Some(done) = done {
                self.core.state().current = None;
                // Whoever closes may have gone.
                let _ = done.send(());
                return;
            }
        }
    }

    /// Time until what was acknowledged has to be on the disk; `None` where all of it is.
    fn left(&self) -> Option<Duration> {
        match self.core.options.fsync {
            Fsync::Within(within) if !self.unsynced.is_empty() => {
                // A disk that fails is not asked again all the time.
                let pause = within.saturating_mul(1 << self.failures.min(16));
                let pause = pause.min(within.max(LONGEST_PAUSE));
                Some(pause.saturating_sub(self.since.elapsed()))
            }
            _ => None,
        }
    }

    fn append(&mut self, appends: Vec<(Frame, Key, Answer)>) {
        if let Err(error) = self.ready() {
            self.failed(&error);
            for (.., answer) in appends {
                tell(answer, Err(copied(&error)));
            }
            return;
        }
        let mut planned = self.plan(appends);
        if planned.is_empty() {
            return;
        }
        match self.write(&mut planned) {
            Ok((segment, offset)) => self.keep(planned, segment, offset),
            Err(error) => {
                self.core.state().end_join();
                self.failed(&error);
                for Planned { answer, again, .. } in planned {
                    let answers = again.into_iter().chain([answer]);
                    answers.for_each(|answer| tell(answer, Err(copied(&error))));
                }
            }
        }
        self.core.work.notify_one();
    }

    /// Sees to it that there is a file to write to.
    fn ready(&mut self) -> Result<(), Error> {
        let most = self.core.options.segment_bytes;
        let is_full =
            |segment: &Option<Segment>| segment.as_ref().is_some_and(|s| s.length >= most);
        if is_full(&self.segment) {
            self.sync();
            // That may have begun another one.
            if is_full(&self.segment) {
                self.segment = None;
            }
        }
        match self.segment {
            Some(_) => Ok(()),
            None if self.unsynced.is_empty() => self.begin(),
            None => self.write_again(),
        }
    }

    /// Begins a file.
    fn begin(&mut self) -> Result<(), Error> {
        let number = self.next;
        // Another one next time, whatever comes of this.
        self.next += 1;
        let path = self.core.folder.join(segment_name(number));
        let file = self.core.disk.create(&path)?;
        self.segment = Some(Segment { number, path, file, length: 0 });
        let mut state = self.core.state();
        state.current = Some(number);
        state.segments.entry(number).or_default();
        drop(state);
        super::drain::note(&self.core);
        Ok(())
    }

    /// What of `appends` is to be written; the others are answered.
    fn plan(&self, appends: Vec<(Frame, Key, Answer)>) -> Vec<Planned> {
        let most = self.core.options.max_bytes;
        let current = self.segment.as_ref().map(|segment| segment.number);
        let mut end = self.segment.as_ref().map_or(0, |segment| segment.length);
        let mut state = self.core.state();
        if matches!(state.refusing, Some(Refusing::Full { .. })) {
            state.refusing = None;
        }
        let mut planned: Vec<Planned> = Vec::with_capacity(appends.len());
        let (mut bytes, mut groups, mut joins) = (state.totals.bytes, 0, false);
        // The group that the next one may join: the last one there is, then the last planned.
        let in_reach = |group: &&Group| group.places.last().map(|place| place.segment) == current;
        let mut tail = state.groups.back().filter(|_| state.lags(0)).filter(in_reach).cloned();
        for (frame, key, answer) in appends {
            let (mut head, needed) = (frame.head, frame.head.frame_bytes() as u64);
            if state.known.contains(head.batch) {
                tell(answer, Ok(Appended::AlreadyThere));
                continue;
            }
            if let Some(same) = planned.iter_mut().find(|p| p.frame.head.batch == head.batch) {
                same.again.push(answer);
                continue;
            }
            if let Err(error) = self.room(&mut state, bytes, needed) {
                tell(answer, Err(error));
                continue;
            }
            debug_assert!(bytes + needed <= most);
            bytes += needed;
            let segment = current.unwrap_or(0);
            // A group has a name of its own. Under that of its first batch the store would know it
            // if that batch was sent long ago and is appended once more, and would take the others
            // for written. The place makes it different each time: no two batches that are
            // acknowledged ever have the same.
            let own = [segment.to_le_bytes(), end.to_le_bytes()].concat();
            head.group = head.batch.derived(&own);
            let place = Place { seq: 0, segment, offset: end, head };
            end += needed;
            let joined =
                tail.as_mut().filter(|group| state.lags(groups) && group.takes(&key, &head));
            let group = match joined {
                Some(group) => {
                    joins |= groups == 0;
                    group.push(place);
                    group.id
                }
                None => {
                    groups += 1;
                    tail = Some(Group::new(Some(key.clone()), place));
                    head.group
                }
            };
            planned.push(Planned { frame, group, key, answer, again: Vec::new() });
        }
        if joins {
            state.begin_join();
        }
        planned
    }

    /// Whether `needed` bytes more may wait beside `bytes`.
    fn room(&self, state: &mut State, bytes: u64, needed: u64) -> Result<(), Error> {
        let most = self.core.options.max_bytes;
        if matches!(state.refusing, Some(Refusing::Closed)) {
            return Err(closed());
        }
        if needed > most {
            let context = format!("a batch of {needed} bytes is more than max_bytes, {most}");
            return Err(Error::new(ErrorKind::InvalidInput, COMPONENT, context));
        }
        if bytes + needed > most {
            state.refusing = Some(Refusing::Full { needed });
            let context = full(bytes, most);
            return Err(Error::new(ErrorKind::Unavailable, COMPONENT, context));
        }
        Ok(())
    }

    /// Writes `planned`, and tells in which file, from where.
    fn write(&mut self, planned: &mut [Planned]) -> Result<(u64, u64), Error> {
        let mut bytes = Vec::new();
        planned.iter_mut().for_each(|p| bytes.extend_from_slice(p.frame.seal(p.group)));
        let (disk, fsync) = (&self.core.disk, self.core.options.fsync);
        let Some(segment) = &mut self.segment else {
            return Err(Error::new(ErrorKind::Other, COMPONENT, "there is no file to write to"));
        };
        let (number, start) = (segment.number, segment.length);
        if let Err(error) = disk.append(&mut segment.file, &bytes) {
            let error = unavailable("write", &segment.path, error);
            // Nobody was told that it is kept: it must not stand in the way of what comes.
            if disk.cut(&mut segment.file, start).is_err() {
                self.segment = None;
            }
            return Err(error);
        }
        if fsync == Fsync::Each
            && let Err(error) = disk.sync(&segment.file)
        {
            let error = unavailable("sync", &segment.path, error);
            // The system may have thrown away what it could not write, and say next time that all
            // is well: this file is not trusted again. What nobody was told to be kept goes, or
            // else the next start would take it for a part of its group; it does no more harm than
            // that if this fails too.
            let _ = disk.cut(&mut segment.file, start);
            self.segment = None;
            return Err(error);
        }
        segment.length += bytes.len() as u64;
        Ok((number, start))
    }

    /// Takes in what was written, and tells everybody.
    fn keep(&mut self, planned: Vec<Planned>, segment: u64, mut offset: u64) {
        let within = matches!(self.core.options.fsync, Fsync::Within(_));
        if self.unsynced.is_empty() {
            self.since = Instant::now();
        }
        let mut state = self.core.state();
        state.end_join();
        if matches!(state.refusing, Some(Refusing::Failed(_))) {
            state.refusing = None;
        }
        let mut answers = Vec::with_capacity(planned.len());
        for Planned { frame, key, answer, again, .. } in planned {
            let (head, seq) = (frame.head, state.acked + 1);
            state.add(key, Place { seq, segment, offset, head });
            offset += head.frame_bytes() as u64;
            if within {
                self.unsynced.push((seq, frame.into_bytes()));
            }
            answers.push((answer, again));
        }
        if !within {
            state.synced = state.acked;
        }
        drop(state);
        for (answer, again) in answers {
            tell(answer, Ok(Appended::Written));
            again.into_iter().for_each(|answer| tell(answer, Ok(Appended::AlreadyThere)));
        }
    }

    /// Brings what was acknowledged down to the disk: where it stands, or else in another file.
    fn sync(&mut self) {
        if self.unsynced.is_empty() {
            return;
        }
        let synced = match &self.segment {
            Some(segment) => {
                let synced = self.core.disk.sync(&segment.file);
                synced.map_err(|error| unavailable("sync", &segment.path, error))
            }
            None => self.write_again(),
        };
        let done = match synced {
            Err(error) if self.segment.take().is_some() => {
                self.failed(&error);
                self.write_again()
            }
            done => done,
        };
        match done {
            Ok(()) => self.all_synced(),
            Err(error) => {
                self.failed(&error);
                self.failures = self.failures.saturating_add(1);
                self.since = Instant::now();
            }
        }
    }

    /// Writes what was acknowledged to a new file, since the old one is not trusted any more.
    fn write_again(&mut self) -> Result<(), Error> {
        self.begin()?;
        let Some(mut segment) = self.segment.take() else { return Ok(()) };
        let bytes: Vec<u8> = self.unsynced.iter().flat_map(|(_, frame)| frame).copied().collect();
        let disk = &self.core.disk;
        let written =
            disk.append(&mut segment.file, &bytes).and_then(|()| disk.sync(&segment.file));
        if let Err(error) = written {
            // What is in it is written once more; the next start would find the last of them.
            let _ = disk.remove(&segment.path);
            return Err(unavailable("write", &segment.path, error));
        }
        let mut state = self.core.state();
        for (seq, frame) in &self.unsynced {
            state.moved(*seq, segment.number, segment.length);
            segment.length += frame.len() as u64;
        }
        drop(state);
        self.segment = Some(segment);
        self.all_synced();
        Ok(())
    }

    fn all_synced(&mut self) {
        self.failures = 0;
        let mut state = self.core.state();
        if let Some((last, _)) = self.unsynced.last() {
            state.synced = *last;
        }
        if matches!(state.refusing, Some(Refusing::Failed(_))) {
            state.refusing = None;
        }
        drop(state);
        self.unsynced.clear();
        self.core.work.notify_one();
    }

    fn failed(&self, error: &Error) {
        tracing::error!(error = error.chain(), "the spool could not be written");
        let mut state = self.core.state();
        state.totals.failed_writes += 1;
        if !matches!(state.refusing, Some(Refusing::Closed)) {
            state.refusing = Some(Refusing::Failed(NOT_KEPT));
        }
    }
}

/// Whoever asked may have gone; what was done is done all the same.
fn tell(answer: Answer, told: Result<Appended, Error>) {
    let _ = answer.answer.send(told);
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, COMPONENT, CLOSED)
}
