//! Ids of late.

use std::collections::{HashSet, VecDeque};

use crate::log::BatchId;

/// The `MOST` ids that came last.
#[derive(Debug, Default)]
pub(super) struct Recent<const MOST: usize> {
    known: HashSet<BatchId>,
    // exactly those of `known`, the oldest first
    by_age: VecDeque<BatchId>,
}

impl<const MOST: usize> Recent<MOST> {
    pub(super) fn contains(&self, id: BatchId) -> bool {
        self.known.contains(&id)
    }

    pub(super) fn insert(&mut self, id: BatchId) {
        if self.known.insert(id) {
            self.by_age.push_back(id);
        }
        if self.by_age.len() > MOST
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut recent = Recent::<2>::default();
        let ids = [1, 2, 1, 3].map(|number| BatchId(Uuid::from_u128(number)));
        ids.into_iter().for_each(|id| recent.insert(id));
        assert!(!recent.contains(ids[0]));
        assert!(recent.contains(ids[1]) && recent.contains(ids[3]));
    }
}
