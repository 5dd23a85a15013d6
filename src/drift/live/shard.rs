//! The counters of one thread: a ring of panes.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use super::cells::{Cells, Layout, NO_PANE, Sum};
use crate::Timestamp;
use crate::drift::profile::Codes;
use crate::record::Row;

/// How time is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panes {
    // microseconds of a pane, above 0
    pub(super) hop: i64,
    // panes of a window, above 0
    pub(super) of_window: i64,
    // panes that are held, above `of_window`
    pub(super) held: i64,
}

impl Panes {
    pub(super) fn number(self, micros: i64) -> i64 {
        micros.div_euclid(self.hop)
    }

    /// The first moment of a pane, or the nearest that there is.
    pub(super) fn start(self, pane: i64) -> Timestamp {
        let offset = Duration::from_micros(pane.saturating_mul(self.hop).unsigned_abs());
        if pane < 0 {
            Timestamp::EPOCH.saturating_sub(offset)
        } else {
            Timestamp::EPOCH.saturating_add(offset)
        }
    }

    /// The place of a pane in a ring.
    fn place(self, pane: i64) -> usize {
        usize::try_from(pane.rem_euclid(self.held)).unwrap_or(0)
    }
}

/// A place in a ring has two tables, the second of which is made only when a reader sends the
/// writer there.
type Place = [OnceLock<Cells>; 2];

/// The pane of the last row: the next one is most likely of the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    // [start, end) in microseconds
    start: i64,
    end: i64,
    pane: i64,
    place: usize,
}

/// Rows that one thread at a time has counted. In a cache line pair of its own, so that threads do
/// not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard {
    // held by the one writer
    writer: Mutex<Cursor>,
    // to which of two tables the writer goes, 0 or 1; set by the one reader
    side: AtomicUsize,
    // the latest pane that had a row; never goes back
    newest: AtomicI64,
    // rows for which there was no place any more
    late: AtomicU64,
    // as many places as panes are held; made with the first row
    ring: OnceLock<Box<[Place]>>,
}

impl Shard {
    pub(super) fn new() -> Self {
        // A pane of no length, which no row is in.
        let nowhere = Cursor { start: 0, end: 0, pane: NO_PANE, place: 0 };
        Self {
            writer: Mutex::new(nowhere),
            side: AtomicUsize::new(0),
            newest: AtomicI64::new(NO_PANE),
            late: AtomicU64::new(0),
            ring: OnceLock::new(),
        }
    }

    /// The right to write, if nobody has it.
    pub(super) fn try_writer(&self) -> Option<MutexGuard<'_, Cursor>> {
        match self.writer.try_lock() {
            Ok(cursor) => Some(cursor),
            // A cursor is whole at any moment.
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The right to write, once nobody else has it.
    pub(super) fn writer(&self) -> MutexGuard<'_, Cursor> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one row that the layout accepts.
    pub(super) fn observe(
        &self,
        cursor: &mut Cursor,
        panes: Panes,
        layout: &Layout,
        micros: i64,
        row: &Row,
        codes: &Codes,
    ) {
        if !(cursor.start <= micros && micros < cursor.end) {
            let pane = panes.number(micros);
            let start = pane * panes.hop;
            *cursor = Cursor { start, end: start + panes.hop, pane, place: panes.place(pane) };
        }
        let Cursor { pane, place, .. } = *cursor;
        let ring = self
            .ring
            .get_or_init(|| (0..panes.held).map(|_| [OnceLock::new(), OnceLock::new()]).collect());
        let side = self.side.load(Ordering::Relaxed) & 1;
        let cells = ring[place][side].get_or_init(|| Cells::new(layout));
        if cells.pane() != pane {
            if cells.pane() > pane {
                self.late.store(self.late() + 1, Ordering::Relaxed);
                return;
            }
            // First: who sees that a pane is gone sees what took its place.
            if self.newest() < pane {
                self.newest.store(pane, Ordering::Relaxed);
            }
            cells.restart(pane);
        }
        cells.observe(layout, row, codes);
    }

    /// The latest pane that had a row; [`NO_PANE`] without rows.
    pub(super) fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    pub(super) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Adds whole rows of the pane to `sum`: all that were counted before. For one reader at a
    /// time; `copy` is its workspace.
    pub(super) fn read(
        &self,
        panes: Panes,
        layout: &Layout,
        pane: i64,
        copy: &mut Vec<u64>,
        sum: &mut Sum,
    ) {
        let Some(ring) = self.ring.get() else { return };
        for (side, cells) in ring[panes.place(pane)].iter().enumerate() {
            let Some(cells) = cells.get() else { continue };
            let found = loop {
                if let Some(found) = cells.read(copy) {
                    break found;
                }
                // The writer is in this table, and may come back faster than it can be read: from
                // its next row on it goes to the other one.
                self.side.store(1 - side, Ordering::Relaxed);
                std::hint::spin_loop();
            };
            if found == pane {
                layout.add(copy, sum);
            }
        }
    }
}
