//! A request that is sent again gets its first answer again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::axum::body::Bytes;
use tokio::sync::SetOnce;
use uuid::Uuid;

use crate::model::Prediction;
use crate::record::{Row, Value};
use crate::schema::{FeatureSchema, Fingerprint, LevelId};

/// How a request ended; `A` is what is kept of its answer.
#[derive(Debug, Clone)]
pub(super) enum Outcome<A = Bytes> {
    /// Answered with this; a prediction is logged as [`Durability`](super::Durability) promises.
    Answered(A),
    /// Not answered and not logged; the same request may be sent again.
    Abandoned,
}

/// One request on its way: whoever waits for it, waits here.
#[derive(Debug)]
pub(super) struct Ticket<A = Bytes> {
    request_id: Uuid,
    // of a prediction: of the decoded row, so that spelling does not matter
    payload: Fingerprint,
    outcome: SetOnce<Outcome<A>>,
}

impl<A: Clone + Send + Sync> Ticket<A> {
    pub(super) fn new(request_id: Uuid, payload: Fingerprint) -> Arc<Self> {
        Arc::new(Self { request_id, payload, outcome: SetOnce::new() })
    }

    pub(super) fn request_id(&self) -> Uuid {
        self.request_id
    }

    pub(super) fn payload(&self) -> Fingerprint {
        self.payload
    }

    /// Waits for the end.
    pub(super) async fn outcome(&self) -> &Outcome<A> {
        self.outcome.wait().await
    }

    /// The end, if it has come.
    pub(super) fn known(&self) -> Option<Outcome<A>> {
        self.outcome.get().cloned()
    }

    /// It is answered; the first answer holds.
    pub(super) fn answer(&self, answer: A) {
        // Already set: the answer left before the commit.
        let _ = self.outcome.set(Outcome::Answered(answer));
    }
}

/// Bytes at the beginning of a payload's fingerprint that are its schema's.
const SCHEMA: usize = 8;

/// Whether `payload` was decoded by `schema`: by another the same request is another row.
pub(super) fn is_of(payload: Fingerprint, schema: &FeatureSchema) -> bool {
    payload.as_bytes()[..SCHEMA] == schema.fingerprint().as_bytes()[..SCHEMA]
}

/// Hash of a row that was decoded by `schema`, and of the prediction that came with it if one did.
pub(super) fn payload_of(
    schema: &FeatureSchema,
    row: &Row,
    given: Option<Prediction>,
) -> Fingerprint {
    let mut bytes = Vec::with_capacity(row.values().len() * 9 + 9);
    for value in row.values() {
        let (tag, bits) = match value {
            Value::Number(number) => (1, (number + 0.0).to_bits()),
            Value::Level(LevelId::OTHER) => (3, 0),
            Value::Level(level) => (2, level.index().map_or(u64::MAX, |index| index as u64)),
            _ => (0, 0),
        };
        bytes.push(tag);
        bytes.extend(bits.to_le_bytes());
    }
    if let Some(prediction) = given {
        bytes.push(4);
        bytes.extend(prediction.score().to_bits().to_le_bytes());
        bytes.extend(prediction.label());
    }
    let mut print = *Fingerprint::of_bytes(&bytes).as_bytes();
    print[..SCHEMA].copy_from_slice(&schema.fingerprint().as_bytes()[..SCHEMA]);
    Fingerprint::from_bytes(print)
}

/// What became of an id that a client sent.
#[derive(Debug)]
pub(super) enum Claim<A = Bytes> {
    /// It is new, and remembered now.
    New(Arc<Ticket<A>>),
    /// It is known; this is its ticket.
    Known(Arc<Ticket<A>>),
}

/// The requests of late, by id: bounded by number and by bytes, the least recently used go first.
#[derive(Debug)]
pub(super) struct Replay<A = Bytes> {
    most_entries: usize,
    most_bytes: usize,
    window: Mutex<Window<A>>,
}

#[derive(Debug)]
struct Window<A> {
    by_id: HashMap<Uuid, Entry<A>>,
    // exactly the ids of `by_id`, by their `used`
    by_use: BTreeMap<u64, Uuid>,
    next_use: u64,
    // sum of the entries'
    bytes: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Entry<A> {
    ticket: Arc<Ticket<A>>,
    used: u64,
    bytes: usize,
}

impl<A: Clone + Send + Sync> Replay<A> {
    pub(super) fn new(most_entries: usize, most_bytes: usize) -> Self {
        let (by_id, by_use) = (HashMap::new(), BTreeMap::new());
        let window = Window { by_id, by_use, next_use: 0, bytes: 0, evicted: 0 };
        Self { most_entries, most_bytes, window: Mutex::new(window) }
    }

    fn window(&self) -> MutexGuard<'_, Window<A>> {
        // No method of it panics half way.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks `request_id` up, and remembers it if it is new.
    pub(super) fn claim(&self, request_id: Uuid, payload: Fingerprint) -> Claim<A> {
        let mut window = self.window();
        if let Some(ticket) = window.touch(request_id) {
            return Claim::Known(ticket);
        }
        let ticket = Ticket::new(request_id, payload);
        window.insert(&ticket);
        window.shrink(self.most_entries, self.most_bytes);
        Claim::New(ticket)
    }

    /// Remembers a ticket whose id was made here, and is about to be told to the client.
    pub(super) fn remember(&self, ticket: &Arc<Ticket<A>>, bytes: usize) {
        let mut window = self.window();
        if window.touch(ticket.request_id).is_none() {
            window.insert(ticket);
        }
        drop(window);
        self.weigh(ticket, bytes);
    }

    /// Remembers what another process has answered.
    pub(super) fn restore(&self, request_id: Uuid, payload: Fingerprint, answer: A, bytes: usize) {
        let ticket = Ticket::new(request_id, payload);
        ticket.answer(answer);
        self.remember(&ticket, bytes);
    }

    /// The answer to `ticket` has `bytes` bytes.
    pub(super) fn weigh(&self, ticket: &Ticket<A>, bytes: usize) {
        let mut window = self.window();
        let Some(entry) = window.by_id.get_mut(&ticket.request_id) else { return };
        let before = std::mem::replace(&mut entry.bytes, bytes);
        window.bytes = window.bytes - before + bytes;
        window.shrink(self.most_entries, self.most_bytes);
    }

    /// Forgets `ticket`, and tells everybody who waits for it.
    pub(super) fn abandon(&self, ticket: &Arc<Ticket<A>>) {
        let mut window = self.window();
        let ours = |entry: &Entry<A>| Arc::ptr_eq(&entry.ticket, ticket);
        if window.by_id.get(&ticket.request_id).is_some_and(ours) {
            window.remove(ticket.request_id);
        }
        drop(window);
        let _ = ticket.outcome.set(Outcome::Abandoned);
    }

    /// How many ids are remembered, and how many have been forgotten for want of room.
    pub(super) fn size(&self) -> (usize, u64) {
        let window = self.window();
        (window.by_id.len(), window.evicted)
    }
}

impl<A> Window<A> {
    fn touch(&mut self, id: Uuid) -> Option<Arc<Ticket<A>>> {
        let entry = self.by_id.get_mut(&id)?;
        self.by_use.remove(&entry.used);
        entry.used = self.next_use;
        self.by_use.insert(self.next_use, id);
        self.next_use += 1;
        Some(Arc::clone(&entry.ticket))
    }

    fn insert(&mut self, ticket: &Arc<Ticket<A>>) {
        let entry = Entry { ticket: Arc::clone(ticket), used: self.next_use, bytes: 0 };
        self.by_id.insert(ticket.request_id, entry);
        self.by_use.insert(self.next_use, ticket.request_id);
        self.next_use += 1;
    }

    fn remove(&mut self, id: Uuid) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    fn shrink(&mut self, most_entries: usize, most_bytes: usize) {
        while self.by_id.len() > most_entries || self.bytes > most_bytes {
            let Some((_, oldest)) = self.by_use.first_key_value() else { return };
            self.remove(*oldest);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn claimed(replay: &Replay, number: u128) -> bool {
        let payload = Fingerprint::of_bytes(b"");
        matches!(replay.claim(id(number), payload), Claim::New(_))
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let replay = Replay::new(2, 1_000);
        assert!(claimed(&replay, 1));
        assert!(claimed(&replay, 2));
        assert!(!claimed(&replay, 1), "known, and used now");
        assert!(claimed(&replay, 3), "pushes 2 out");
        assert!(!claimed(&replay, 1));
        assert!(claimed(&replay, 2));
        assert_eq!(replay.size(), (2, 2));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let replay = Replay::<Bytes>::new(100, 10);
        for number in 1..=3 {
            let Claim::New(ticket) = replay.claim(id(number), Fingerprint::of_bytes(b"")) else {
                panic!("{number} is new");
            };
            replay.weigh(&ticket, 5);
        }
        assert_eq!(replay.size(), (2, 1));
        assert_eq!(replay.window().bytes, 10);
    }

    #[tokio::test]
    async fn what_is_abandoned_is_forgotten() {
        let replay = Replay::<Bytes>::new(10, 10);
        let Claim::New(ticket) = replay.claim(id(1), Fingerprint::of_bytes(b"")) else {
            panic!("it is new");
        };
        replay.abandon(&ticket);
        assert!(matches!(ticket.outcome().await, Outcome::Abandoned));
        assert!(claimed(&replay, 1));
        replay.abandon(&ticket);
        assert!(!claimed(&replay, 1), "an old ticket does not remove a newer one");
    }

    #[test]
    fn a_payload_says_by_which_schema_it_was_decoded() {
        use crate::record::decode_row;
        use crate::schema::Feature;

        let schema =
            |levels: [&str; 2]| FeatureSchema::new([Feature::categorical("plan", levels)]).unwrap();
        let (one, other) = (schema(["a", "b"]), schema(["b", "a"]));
        let payload = |schema: &FeatureSchema, text: &str| {
            let mut problems = crate::validate::Violations::new();
            let row = decode_row(schema, text.as_bytes(), &mut problems).unwrap();
            payload_of(schema, &row, None)
        };
        let asked = payload(&one, r#"{"plan": "a"}"#);
        assert_eq!(asked, payload(&one, r#"{ "plan": "a" }"#));
        assert_ne!(asked, payload(&one, r#"{"plan": "b"}"#));
        assert!(is_of(asked, &one) && !is_of(asked, &other));
    }
}
