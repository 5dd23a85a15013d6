//! Lets a step of the disk fail.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Clone, Default)]
pub(in super::super) struct Fuse(Arc<State>);

#[derive(Debug, Default)]
struct State {
    steps: AtomicU64,
    // steps in from..to fail
    from: AtomicU64,
    to: AtomicU64,
}

impl Fuse {
    pub(in super::super) fn burn(&self) -> io::Result<()> {
        let step = self.0.steps.fetch_add(1, Ordering::SeqCst);
        let range = self.0.from.load(Ordering::SeqCst)..self.0.to.load(Ordering::SeqCst);
        if range.contains(&step) { Err(io::Error::other("the fuse")) } else { Ok(()) }
    }

    /// Lets step number `step` from now fail, and all `more` after it.
    pub(super) fn set(&self, step: u64, more: u64) {
        let from = self.0.steps.load(Ordering::SeqCst) + step;
        self.0.from.store(from, Ordering::SeqCst);
        self.0.to.store(from.saturating_add(1).saturating_add(more), Ordering::SeqCst);
    }

    pub(super) fn is_burnt(&self) -> bool {
        self.0.steps.load(Ordering::SeqCst) > self.0.from.load(Ordering::SeqCst)
    }

    pub(super) fn clear(&self) {
        self.0.to.store(0, Ordering::SeqCst);
    }
}
