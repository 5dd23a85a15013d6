//! Refused requests, pane by pane.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::cells::NO_PANE;
use super::shard::Panes;
use crate::drift::counts::Counts;
use crate::schema::FeatureSchema;
use crate::validate::Violations;

/// Most names of values outside the levels, in all panes together.
const MOST_NAMES: usize = 4_096;

/// What was refused in the panes that are held.
#[derive(Debug)]
pub(super) struct Refused {
    panes: Panes,
    // as many as are held, at most
    held: BTreeMap<i64, Counts>,
    // the latest pane that had a request; never goes back
    newest: i64,
    // requests whose pane was no longer held
    late: u64,
    // names in `held`
    names: usize,
}

fn names(counts: &Counts) -> usize {
    counts.summaries().iter().map(|summary| summary.unseen.len()).sum()
}

impl Refused {
    pub(super) fn new(panes: Panes) -> Self {
        Self { panes, held: BTreeMap::new(), newest: NO_PANE, late: 0, names: 0 }
    }

    pub(super) fn observe(
        &mut self,
        micros: i64,
        empty: &Counts,
        schema: &FeatureSchema,
        violations: &Violations,
    ) {
        let pane = self.panes.number(micros);
        if pane <= self.newest.saturating_sub(self.panes.held) {
            self.late += 1;
            return;
        }
        if pane > self.newest {
            self.newest = pane;
            let held = self.held.split_off(&(pane + 1 - self.panes.held));
            let gone = std::mem::replace(&mut self.held, held);
            self.names -= gone.values().map(names).sum::<usize>();
        }
        let counts = self.held.entry(pane).or_insert_with(|| empty.clone());
        if self.names < MOST_NAMES {
            let before = names(counts);
            counts.observe_rejected(schema, violations);
            self.names += names(counts) - before;
        } else {
            counts.observe_rejected_unnamed(schema, violations);
        }
    }

    /// Adds the requests of some panes to `counts`, which are of the same profile.
    pub(super) fn add(&self, panes: RangeInclusive<i64>, counts: &mut Counts) {
        for refused in self.held.range(panes).map(|(_, refused)| refused) {
            // They hold no rows, and nobody sends 2^64 requests.
            let merged = counts.merge(refused);
            debug_assert!(merged.is_ok(), "{merged:?}");
        }
    }

    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    pub(super) fn late(&self) -> u64 {
        self.late
    }
}
