//! What waits, and what became of the rest: all of it behind one lock, so that it adds up.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::disk::{Disk, Lock};
use super::frame::Head;
use super::options::Options;
use super::recent::Recent;
use crate::Timestamp;
use crate::log::{Backlog, BatchId, EventBatch, InferenceLog};
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;

/// As long as fewer groups wait, each batch is a group of its own.
pub(super) const LAG: usize = 8;

/// Most events, bytes and time of a group.
const GROUP_EVENTS: u64 = 1_000;
const GROUP_BYTES: u64 = 4 << 20;
const GROUP_TIME: Duration = Duration::from_secs(1);

/// What batches must have in common to be sent as one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key(ModelName, VersionId, Fingerprint);

impl Key {
    pub(super) fn of(batch: &EventBatch) -> Self {
        Self(batch.model().clone(), batch.version(), batch.profile())
    }
}

/// A batch on the disk.
#[derive(Debug, Clone)]
pub(super) struct Place {
    // number of the batch among all of this process; they reach the store in this order
    pub(super) seq: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) head: Head,
}

/// Batches that reach the store as one. Which they are stands on the disk with each, so that after
/// a crash the same ones are sent together, under the same id.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) id: BatchId,
    // None for what was found on the disk, which nothing joins
    key: Option<Key>,
    // never empty
    pub(super) places: Vec<Place>,
    pub(super) events: u64,
    pub(super) bytes: u64,
    first: Timestamp,
    last: Timestamp,
    // nothing joins any more
    closed: bool,
    // a write is under way whose batch is of this group
    joining: bool,
}

impl Group {
    pub(super) fn new(key: Option<Key>, place: Place) -> Self {
        let Head { group: id, events, first, last, .. } = place.head;
        let (events, bytes) = (u64::from(events), place.head.frame_bytes() as u64);
        let closed = key.is_none();
        let places = vec![place];
        Self { id, key, places, events, bytes, first, last, closed, joining: false }
    }

    pub(super) fn push(&mut self, place: Place) {
        self.events += u64::from(place.head.events);
        self.bytes += place.head.frame_bytes() as u64;
        self.first = self.first.min(place.head.first);
        self.last = self.last.max(place.head.last);
        self.places.push(place);
    }

    fn last_seq(&self) -> u64 {
        self.places.iter().map(|place| place.seq).max().unwrap_or(0)
    }

    /// Whether a batch may be sent as a part of it.
    pub(super) fn takes(&self, key: &Key, head: &Head) -> bool {
        let (events, bytes) = (u64::from(head.events), head.frame_bytes() as u64);
        let time = self.last.max(head.last).since(self.first.min(head.first));
        !self.closed
            && self.key.as_ref() == Some(key)
            // Refused requests alone count when they are written, beside events at the events' time.
            && (self.events > 0) == (events > 0)
            && self.events + events <= GROUP_EVENTS
            && self.bytes + bytes <= GROUP_BYTES
            && time <= GROUP_TIME
    }
}

/// A file of the folder.
#[derive(Debug)]
pub(super) struct Segment {
    // batches that wait in it
    waiting: u64,
    pub(super) bytes: u64,
    // clients' answers stand in it
    pub(super) has_answers: bool,
    // moment of the last event in it
    pub(super) last: Timestamp,
}

impl Default for Segment {
    fn default() -> Self {
        Self { waiting: 0, bytes: 0, has_answers: false, last: Timestamp::EPOCH }
    }
}

impl Segment {
    /// Takes note of a batch in it that ends at `end`.
    pub(super) fn holds(&mut self, head: &Head, end: u64) {
        self.bytes = self.bytes.max(end);
        self.has_answers |= head.answers > 0;
        self.last = self.last.max(head.last);
    }
}

/// Why nothing is taken in.
#[derive(Debug)]
pub(super) enum Refusing {
    Full { needed: u64 },
    Failed(&'static str),
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct State {
    // in the order of their batches; the first may be on its way to the store
    pub(super) groups: VecDeque<Group>,
    // by number; those in which nothing waits are the one that is written now, and such as are kept
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) current: Option<u64>,
    // files that did not give back what was written, and are kept
    pub(super) spoiled: BTreeSet<u64>,
    // ids of batches that are recognised when they are sent again
    pub(super) known: Recent<65_536>,
    // events before this are no longer wanted
    pub(super) purged: Option<Timestamp>,
    // the number of the last batch that was acknowledged, and of the last that is on the disk for sure
    pub(super) acked: u64,
    pub(super) synced: u64,
    // behind the last batch that was acknowledged; before there is one, what the cursor says
    pub(super) end: (u64, u64),
    pub(super) refusing: Option<Refusing>,
    // `events`, `bytes` and `oldest` follow from `groups`; `refusing` from the field above
    pub(super) totals: Backlog,
}

impl State {
    /// Whether the store lags so far behind, with `planned` groups more, that batches are put
    /// together.
    pub(super) fn lags(&self, planned: usize) -> bool {
        self.groups.len() + planned >= LAG
    }

    pub(super) fn begin_join(&mut self) {
        if let Some(group) = self.groups.back_mut() {
            group.joining = true;
        }
    }

    pub(super) fn end_join(&mut self) {
        // Only the last group was joined, and none has come since: there is one writer. It is
        // not sent, hence not gone, while it is joined.
        if let Some(group) = self.groups.iter_mut().rev().find(|group| group.joining) {
            group.joining = false;
        }
    }

    /// Takes in a batch that was written now: as a part of the last group, or of one of its own.
    pub(super) fn add(&mut self, key: Key, place: Place) {
        self.totals.spooled += self.count(&place);
        match self.groups.back_mut().filter(|last| last.id == place.head.group) {
            Some(last) => last.push(place),
            None => self.groups.push_back(Group::new(Some(key), place)),
        }
    }

    /// Takes in what was found on the disk, in its order.
    pub(super) fn recover(&mut self, places: impl IntoIterator<Item = Place>) {
        // Mostly the last group; what had to be written again may be of an earlier one.
        let mut groups: HashMap<BatchId, usize> = HashMap::new();
        for (seq, place) in (self.acked + 1..).zip(places) {
            let place = Place { seq, ..place };
            self.totals.recovered += self.count(&place);
            match groups.get(&place.head.group).and_then(|at| self.groups.get_mut(*at)) {
                Some(group) => group.push(place),
                None => {
                    groups.insert(place.head.group, self.groups.len());
                    self.groups.push_back(Group::new(None, place));
                }
            }
        }
        self.synced = self.acked;
    }

    /// Counts a batch that waits from now on, and tells how many events it has.
    fn count(&mut self, place: &Place) -> u64 {
        let (events, bytes) = (u64::from(place.head.events), place.head.frame_bytes() as u64);
        let segment = self.segments.entry(place.segment).or_default();
        segment.waiting += 1;
        segment.holds(&place.head, place.offset + bytes);
        self.known.insert(place.head.batch);
        self.acked = self.acked.max(place.seq);
        self.end = (place.segment, place.offset + bytes);
        self.totals.events += events;
        self.totals.bytes += bytes;
        events
    }

    /// The first group once all of it is on the disk; nothing joins it from now on.
    pub(super) fn first(&mut self) -> Option<Group> {
        let synced = self.synced;
        let first = self.groups.front_mut()?;
        first.closed = true;
        (!first.joining && first.last_seq() <= synced).then(|| first.clone())
    }

    /// What was written again is in another place.
    pub(super) fn moved(&mut self, seq: u64, segment: u64, offset: u64) {
        let mut places = self.groups.iter_mut().rev().flat_map(|group| &mut group.places);
        let Some(place) = places.find(|place| place.seq == seq) else { return };
        if let Some(old) = self.segments.get_mut(&place.segment) {
            old.waiting = old.waiting.saturating_sub(1);
        }
        let end = offset + place.head.frame_bytes() as u64;
        let new = self.segments.entry(segment).or_default();
        new.waiting += 1;
        new.holds(&place.head, end);
        (place.segment, place.offset) = (segment, offset);
        self.end = (segment, end);
    }

    /// The first group is where it should be, as `ended` says. The number of the batch up to which
    /// all are.
    pub(super) fn finish(&mut self, ended: Ended) -> u64 {
        let Some(group) = self.groups.pop_front() else { return self.acked };
        for place in &group.places {
            if let Some(segment) = self.segments.get_mut(&place.segment) {
                segment.waiting = segment.waiting.saturating_sub(1);
            }
        }
        let totals = &mut self.totals;
        // Whatever it was that it had to wait for.
        totals.trouble = None;
        totals.events -= group.events;
        totals.bytes -= group.bytes;
        totals.quarantined += ended.quarantined;
        totals.unreadable += ended.unreadable;
        totals.replayed += group.events - ended.quarantined - ended.unreadable;
        // In the order of their first batches.
        let next = self.groups.front().and_then(|group| group.places.first());
        next.map_or(self.acked, |place| place.seq.saturating_sub(1))
    }

    /// Files that are no longer needed, and whether each is kept for a person, the oldest first. Of
    /// those with answers the newest stay, `kept` bytes of them, but for what was purged.
    fn empty_segments(&self, kept: u64) -> Vec<(u64, bool)> {
        let (mut gone, mut bytes) = (Vec::new(), 0);
        for (number, segment) in self.segments.iter().rev() {
            if segment.waiting > 0 || Some(*number) == self.current {
                continue;
            }
            let spoiled = self.spoiled.contains(number);
            let wanted = self.purged.is_none_or(|before| segment.last >= before);
            let mut stays = segment.has_answers && wanted && !spoiled;
            if stays {
                bytes += segment.bytes;
                stays = bytes <= kept;
            }
            gone.extend((!stays).then_some((*number, spoiled)));
        }
        gone.reverse();
        gone
    }

    fn forget(&mut self, number: u64) {
        self.segments.remove(&number);
        self.spoiled.remove(&number);
    }

    /// The place in front of which the store has everything.
    pub(super) fn cursor(&self) -> (u64, u64) {
        let first = self.groups.front().and_then(|group| group.places.first());
        first.map_or(self.end, |place| (place.segment, place.offset))
    }

    pub(super) fn backlog(&self, most: u64) -> Backlog {
        let bytes = self.totals.bytes;
        let refusing = match &self.refusing {
            Some(Refusing::Full { needed }) if bytes + needed > most => Some(full(bytes, most)),
            Some(Refusing::Failed(why)) => Some((*why).to_owned()),
            Some(Refusing::Closed) => Some(CLOSED.to_owned()),
            _ => None,
        };
        // Refused requests alone have no moment.
        let oldest = self.groups.iter().find(|group| group.events > 0).map(|group| group.first);
        let mut backlog = self.totals.clone();
        (backlog.capacity, backlog.oldest, backlog.refusing) = (most, oldest, refusing);
        backlog
    }
}

pub(super) const CLOSED: &str = "the spool is closed";

pub(super) fn full(bytes: u64, most: u64) -> String {
    format!("the spool is full: {bytes} of {most} bytes (max_bytes) wait")
}

/// How many events of a group did not reach the store.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended {
    pub(super) quarantined: u64,
    pub(super) unreadable: u64,
}

/// What callers, the writer and the drain share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) inner: Arc<dyn InferenceLog>,
    pub(super) folder: PathBuf,
    pub(super) options: Options,
    pub(super) disk: Disk,
    state: Mutex<State>,
    // something may have become ready for the store
    pub(super) work: Notify,
    // number of the last batch that left the disk
    pub(super) drained: watch::Sender<u64>,
    // until it is closed
    pub(super) lock: Mutex<Option<Lock>>,
    // held while the cursor is written and files are removed: writer and drain both do it
    pub(super) noting: Mutex<()>,
}

impl Core {
    pub(super) fn new(
        inner: Arc<dyn InferenceLog>,
        folder: PathBuf,
        options: Options,
        disk: Disk,
        lock: Lock,
        state: State,
    ) -> Self {
        let (drained, _) = watch::channel(0);
        Self {
            inner,
            folder,
            options,
            disk,
            state: Mutex::new(state),
            work: Notify::new(),
            drained,
            lock: Mutex::new(Some(lock)),
            noting: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Held for a few assignments, none of which panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.state().backlog(self.options.max_bytes)
    }

    /// Removes the files that are no longer needed, but for those that a person has to look at.
    /// The oldest first, so that none is found by the next process whose later copy is gone. One
    /// that cannot be removed is tried again next time.
    pub(super) fn tidy(&self) {
        let empty = self.state().empty_segments(self.options.kept_bytes);
        for (number, spoiled) in empty {
            let path = self.folder.join(super::folder::segment_name(number));
            let aside = self.folder.join(super::folder::damaged_name(number));
            let kept = if spoiled { self.disk.link(&path, &aside) } else { Ok(()) };
            match kept.and_then(|()| self.disk.remove(&path)) {
                Ok(()) => self.state().forget(number),
                Err(error) => tracing::warn!(error = error.chain(), "a file of the spool stays"),
            }
        }
    }
}
