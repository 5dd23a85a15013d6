//! One batch out of two, and two out of one.

use super::{BatchId, EventBatch};
use crate::drift::NotComparable;
use crate::schema::Fingerprint;

impl EventBatch {
    /// The batch in two, to find out what it is that a store can never take; `None` when there is
    /// nothing left to tell apart.
    ///
    /// The ids of the halves follow from the batch's own, so that whoever begins once more, after a
    /// crash in the middle, sends the same halves under the same ids: a half that the store has is
    /// recognised, and the other is written. Refused requests are in the first; both are counted by
    /// codes, without summaries.
    ///
    /// ```
    /// # let traffic = pmmds::conformance::traffic::Traffic::new();
    /// # let of = |number| traffic.batch(number, 3);
    /// let batch = of(7); // three events
    /// let [first, second] = batch.halves().expect("three events");
    /// assert_eq!((first.events(), second.events()), batch.events().split_at(1));
    /// assert_ne!(first.id(), batch.id());
    /// assert_eq!(batch.halves(), Some([first.clone(), second]));
    /// assert_eq!(first.halves(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn halves(&self) -> Option<[Self; 2]> {
        let events = self.events.len();
        if events == 0 || events == 1 && self.counts.rejected_requests() == 0 {
            return None;
        }
        let (mut first, mut at) = (self.clone(), 0);
        let second = first.take_out(self.id.derived(b"second"), |_| {
            at += 1;
            at > events / 2
        });
        first.id = self.id.derived(b"first");
        Some([first, second])
    }

    /// The same batch under another id.
    #[must_use]
    pub fn with_id(mut self, id: BatchId) -> Self {
        self.id = id;
        self
    }

    /// Takes over the events and refused requests of `other`, which come behind its own. The id
    /// stays.
    ///
    /// ```
    /// # let traffic = pmmds::conformance::traffic::Traffic::new();
    /// # let of = |number| traffic.batch(number, 3);
    /// let (mut batch, other) = (of(1), of(2)); // three events each
    /// batch.merge(&other)?;
    /// assert_eq!((batch.counts().rows(), batch.counts().summarised()), (6, 6));
    /// assert_eq!((batch.id(), &batch.events()[3..]), (of(1).id(), other.events()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotComparable`] when `other` is of another model, version or profile. Nothing has changed
    /// then.
    pub fn merge(&mut self, other: &Self) -> Result<(), NotComparable> {
        if (&self.model, self.version) != (&other.model, other.version) {
            return Err(NotComparable::new(format!(
                "batches of {} {} and of {} {} are not one",
                self.model, self.version, other.model, other.version
            )));
        }
        self.counts.merge(&other.counts)?;
        self.events.extend_from_slice(&other.events);
        Ok(())
    }
}

impl BatchId {
    /// Another id: always the same for this one and `which`, and nobody else's.
    ///
    /// ```
    /// use pmmds::log::BatchId;
    /// use uuid::Uuid;
    /// let id = BatchId(Uuid::from_u128(7));
    /// assert_eq!(id.derived(b"a part"), id.derived(b"a part"));
    /// assert_ne!(id.derived(b"a part"), id.derived(b"another"));
    /// ```
    #[must_use]
    pub fn derived(self, which: &[u8]) -> Self {
        let print = Fingerprint::of_bytes(&[self.0.as_bytes(), which].concat());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&print.as_bytes()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::conformance::traffic::Traffic;

    fn whole(batches: &[EventBatch]) -> Vec<Uuid> {
        batches.iter().flat_map(EventBatch::events).map(|event| event.id).collect()
    }

    #[test]
    fn halves_end_with_one_event_each_and_lose_none() {
        let batch = Traffic::new().batch(3, 13);
        let (mut open, mut ends) = (vec![batch.clone()], Vec::new());
        while let Some(next) = open.pop() {
            match next.halves() {
                Some([first, second]) => {
                    assert_eq!(first.counts().rows(), first.events().len() as u64);
                    open.extend([second, first]);
                }
                None => ends.push(next),
            }
        }
        assert_eq!(ends.len(), 13);
        assert_eq!(whole(&ends), whole(std::slice::from_ref(&batch)));
        let mut ids: Vec<BatchId> = ends.iter().map(EventBatch::id).collect();
        ids.push(batch.id());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 14, "each has an id of its own");
    }

    #[test]
    fn refused_requests_are_parted_from_a_single_event() {
        let traffic = Traffic::new();
        let mut problems = crate::validate::Violations::new();
        let _ = crate::record::decode_row(&traffic.schema, br#"{"x": "one"}"#, &mut problems);
        let mut batch = traffic.batch(3, 1);
        batch.push_rejected(&traffic.schema, &problems);
        let [refused, event] = batch.halves().unwrap();
        assert_eq!((refused.events().len(), refused.counts().rejected_requests()), (0, 1));
        assert_eq!((event.events().len(), event.counts().rejected_requests()), (1, 0));
        assert_eq!((refused.halves(), event.halves()), (None, None));
    }

    #[test]
    fn batches_of_two_versions_are_not_one() {
        let traffic = Traffic::new();
        let mut batch = traffic.batch(1, 2);
        let two = crate::registry::VersionId::new(2).unwrap();
        let other = EventBatch { version: two, ..traffic.batch(2, 2) };
        let before = batch.clone();
        let error = batch.merge(&other).unwrap_err();
        assert_eq!(error.why(), "batches of churn 1 and of churn 2 are not one");
        assert_eq!(batch, before);
    }
}
