//! A batch as it stands in a segment: a head of fixed size with a checksum of everything, then the
//! batch.
//!
//! ```text
//!  0  "PMS1", the form and its version
//!  4  u32  bytes behind the head
//!  8  u32  CRC-32 of all the others
//! 12  id of the batch
//! 28  id of its group: batches of one group are sent as one, under this id
//! 44  u32  events
//! 48  i64  first moment of an event, in microseconds since 1970
//! 56  i64  last one
//! 64  u32  bytes of what clients were answered
//! 68  the batch, as `EventBatch::to_bytes` writes it
//!     what clients were answered, each as
//!       id of the request, 16 bytes; fingerprint of what was asked, 32; u32 length; the answer
//! ```
//!
//! Numbers are little-endian.

use uuid::Uuid;

use super::COMPONENT;
use crate::log::{BatchId, EventBatch, Reply};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp};

pub(super) const HEAD: usize = 68;
const MAGIC: [u8; 4] = *b"PMS1";

/// Most bytes behind a head; what says more is damaged, or a batch that has to be halved.
const MOST: usize = 1 << 30;

/// How far apart the sums are that a [`Search`] keeps. The sum of the bytes before any place is the one
/// kept before it, and fewer bytes than this hashed on top.
const STEP: usize = 256;

/// What is known of a batch without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) batch: BatchId,
    pub(super) group: BatchId,
    pub(super) events: u32,
    // of the events; both the beginning of time where there is none
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    // bytes behind the head
    length: u32,
    // bytes of the answers among them, at the end
    pub(super) answers: u32,
}

impl Head {
    /// Head and batch.
    pub(super) fn frame_bytes(&self) -> usize {
        HEAD + self.length as usize
    }

    fn read(head: &[u8; HEAD]) -> Option<Self> {
        let field = |at: usize| <[u8; 4]>::try_from(&head[at..at + 4]).ok();
        let number = |at| field(at).map(u32::from_le_bytes);
        let id = |at: usize| Uuid::from_slice(&head[at..at + 16]).ok().map(BatchId);
        let moment = |at: usize| {
            let micros = i64::from_le_bytes(<[u8; 8]>::try_from(&head[at..at + 8]).ok()?);
            Timestamp::from_micros(micros).ok()
        };
        let head = Self {
            batch: id(12)?,
            group: id(28)?,
            events: number(44)?,
            first: moment(48)?,
            last: moment(56)?,
            length: number(4)?,
            answers: number(64)?,
        };
        (field(0)? == MAGIC && head.length as usize <= MOST).then_some(head)
    }
}

/// A batch on its way to the disk.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) head: Head,
    // head and batch; the head is written by `seal`
    bytes: Vec<u8>,
}

impl Frame {
    /// The frame of `batch` and `replies`, in a group of its own.
    pub(super) fn new(batch: &EventBatch, replies: &[Reply]) -> Result<Self, Error> {
        let mut wire = batch.to_bytes();
        let start = wire.len();
        for Reply { request_id, payload, answer, .. } in replies {
            // One that is as long as this is not kept: `MOST` is less.
            let length = u32::try_from(answer.len()).unwrap_or(u32::MAX);
            wire.extend(request_id.as_bytes());
            wire.extend(payload.as_bytes());
            wire.extend(length.to_le_bytes());
            wire.extend(answer);
        }
        let answers = u32::try_from(wire.len() - start).unwrap_or(u32::MAX);
        let length = u32::try_from(wire.len()).ok().filter(|_| wire.len() <= MOST);
        let length = length.ok_or_else(|| {
            let (id, bytes) = (batch.id(), wire.len());
            let context = format!("batch {id} has {bytes} bytes, more than {MOST}");
            Error::new(ErrorKind::InvalidInput, COMPONENT, context)
        })?;
        let times = || batch.events().iter().map(|event| event.at);
        let extent = times().min().zip(times().max());
        let (first, last) = extent.unwrap_or((Timestamp::EPOCH, Timestamp::EPOCH));
        // No more than bytes, of which an event has many.
        let events = u32::try_from(batch.events().len()).unwrap_or(u32::MAX);
        let head =
            Head { batch: batch.id(), group: batch.id(), events, first, last, length, answers };
        let mut bytes = Vec::with_capacity(HEAD + wire.len());
        bytes.extend([0; HEAD]);
        bytes.extend(wire);
        Ok(Self { head, bytes })
    }

    /// The bytes to write, as a part of `group`.
    pub(super) fn seal(&mut self, group: BatchId) -> &[u8] {
        self.head.group = group;
        let Head { batch, group, events, first, last, length, answers } = self.head;
        let head = &mut self.bytes[..HEAD];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[12..28].copy_from_slice(batch.0.as_bytes());
        head[28..44].copy_from_slice(group.0.as_bytes());
        head[44..48].copy_from_slice(&events.to_le_bytes());
        head[48..56].copy_from_slice(&first.as_micros().to_le_bytes());
        head[56..64].copy_from_slice(&last.as_micros().to_le_bytes());
        head[64..68].copy_from_slice(&answers.to_le_bytes());
        let sum = sum(&self.bytes);
        self.bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Of everything but itself.
fn sum(frame: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    hash(&mut sum, &frame[..8]);
    hash(&mut sum, &frame[12..]);
    sum.finalize()
}

fn hash(sum: &mut crc32fast::Hasher, bytes: &[u8]) {
    #[cfg(test)]
    tests::HASHED.set(tests::HASHED.get() + bytes.len());
    sum.update(bytes);
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame.
    Frame(Head),
    /// The beginning of one, or of nothing: what a write leaves that did not end.
    Torn,
    /// Something else.
    Damaged,
}

/// Looks at the beginning of `bytes`, which are not empty.
pub(super) fn look(bytes: &[u8]) -> Found {
    look_with(bytes, |length| sum(&bytes[..length]))
}

/// The same with the sum of a frame of some length, which is asked for where there is one.
fn look_with(bytes: &[u8], sum: impl FnOnce(usize) -> u32) -> Found {
    let blank = bytes.iter().all(|byte| *byte == 0);
    let Some(start) = bytes.first_chunk::<HEAD>() else {
        let begun = bytes.iter().zip(&MAGIC).all(|(byte, magic)| byte == magic);
        return if begun || blank { Found::Torn } else { Found::Damaged };
    };
    if blank {
        // Its length was on the disk before its bytes.
        return Found::Torn;
    }
    let Some(head) = Head::read(start) else { return Found::Damaged };
    match bytes.get(..head.frame_bytes()) {
        None => Found::Torn,
        Some(frame) if sum(frame.len()).to_le_bytes() == frame[8..12] => Found::Frame(head),
        Some(_) => Found::Damaged,
    }
}

/// Finds frames behind damage. How long a frame is says its head, which may be damaged too: the bytes
/// are hashed once for all places where one may begin, whatever is said there.
#[derive(Debug)]
pub(super) struct Search<'b> {
    bytes: &'b [u8],
    // sum of the first `STEP` bytes, of the first two times as many ...
    sums: Vec<u32>,
}

impl<'b> Search<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        let mut sum = crc32fast::Hasher::new();
        let sums = bytes.chunks_exact(STEP).map(|step| {
            hash(&mut sum, step);
            sum.clone().finalize()
        });
        Self { bytes, sums: sums.collect() }
    }

    /// What stands at `at`, which is not the end.
    pub(super) fn look(&self, at: usize) -> Found {
        look_with(&self.bytes[at..], |length| {
            let mut sum = crc32fast::Hasher::new();
            hash(&mut sum, &self.bytes[at..at + 8]);
            sum.combine(&self.part(at + 12, at + length));
            sum.finalize()
        })
    }

    /// Where the next whole frame begins behind the byte at `at`.
    pub(super) fn next(&self, at: usize) -> Option<usize> {
        let from = at + 1;
        let fours = self.bytes.get(from..)?.windows(MAGIC.len()).enumerate();
        let mut places = fours.filter(|(_, four)| *four == MAGIC).map(|(place, _)| from + place);
        places.find(|place| matches!(self.look(*place), Found::Frame(_)))
    }

    /// The sum of the bytes from `start` to `end`.
    fn part(&self, start: usize, end: usize) -> crc32fast::Hasher {
        let length = (end - start) as u64;
        // Let A be the bytes before `start`, and B those asked for:
        // crc(B) = crc(AB) xor crc(A followed by |B| zeros).
        let mut before = self.up_to(start);
        before.combine(&crc32fast::Hasher::new_with_initial_len(0, length));
        let both = self.up_to(end).finalize();
        crc32fast::Hasher::new_with_initial_len(both ^ before.finalize(), length)
    }

    /// The sum of the bytes in front of `end`.
    fn up_to(&self, end: usize) -> crc32fast::Hasher {
        let steps = end / STEP;
        let start = steps * STEP;
        let known = steps.checked_sub(1).map_or(0, |last| self.sums[last]);
        let mut sum = crc32fast::Hasher::new_with_initial_len(known, start as u64);
        hash(&mut sum, &self.bytes[start..end]);
        sum
    }
}

/// The batch of a whole frame that should be the one of `head`.
pub(super) fn open(frame: &[u8], head: &Head) -> Result<EventBatch, String> {
    match look(frame) {
        Found::Frame(found) if found == *head => {
            let (batch, _) = parts(frame, head).ok_or("its parts have no such lengths")?;
            let batch = EventBatch::from_bytes(batch).map_err(|error| error.to_string())?;
            let (events, told) = (batch.events().len(), head.events);
            if batch.id() != head.batch || events as u64 != u64::from(told) {
                let (id, other) = (head.batch, batch.id());
                return Err(format!("{events} events of {other} where {told} of {id} should be"));
            }
            Ok(batch)
        }
        Found::Frame(found) => {
            Err(format!("batch {} is in the place of {}", found.batch, head.batch))
        }
        Found::Torn | Found::Damaged => Err("its checksum is wrong".to_owned()),
    }
}

/// The batch and the answers of a whole frame with this head.
fn parts<'f>(frame: &'f [u8], head: &Head) -> Option<(&'f [u8], &'f [u8])> {
    let behind = frame.get(HEAD..)?;
    behind.split_at_checked(behind.len().checked_sub(head.answers as usize)?)
}

/// What stands beside the batch of a whole frame.
pub(super) fn replies(frame: &[u8], head: &Head) -> Vec<Reply> {
    let (_, mut rest) = parts(frame, head).unwrap_or_default();
    std::iter::from_fn(|| {
        let (id, behind) = rest.split_first_chunk()?;
        let (payload, behind) = behind.split_first_chunk()?;
        let (length, behind) = behind.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (answer, behind) = behind.split_at_checked(length)?;
        rest = behind;
        let payload = Fingerprint::from_bytes(*payload);
        Some(Reply::new(Uuid::from_bytes(*id), payload, answer.to_vec()))
    })
    .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::conformance::traffic::Traffic;

    thread_local! {
        /// Bytes that this thread has hashed.
        pub(in super::super) static HASHED: Cell<usize> = const { Cell::new(0) };
    }

    fn sealed(number: u64) -> Vec<u8> {
        let mut frame = Frame::new(&Traffic::new().batch(number, 3), &[]).unwrap();
        let group = BatchId(Uuid::from_u128(77));
        frame.seal(group).to_vec()
    }

    #[test]
    fn a_frame_is_what_was_written() {
        let batch = Traffic::new().batch(5, 3);
        let said = [("", 1), ("an answer", 2)].map(|(answer, id)| {
            let payload = Fingerprint::of_bytes(answer.as_bytes());
            Reply::new(Uuid::from_u128(id), payload, answer.into())
        });
        let mut frame = Frame::new(&batch, &said).unwrap();
        let bytes = frame.seal(BatchId(Uuid::from_u128(77))).to_vec();
        let Found::Frame(head) = look(&bytes) else { panic!() };
        assert_eq!((head, head.batch, head.events), (frame.head, batch.id(), 3));
        assert_eq!((head.first, head.last), (batch.events()[0].at, batch.events()[2].at));
        assert_eq!(open(&bytes, &head).unwrap(), batch);
        assert_eq!(replies(&bytes, &head), said);
    }

    #[test]
    fn a_beginning_is_torn_and_anything_else_is_damaged() {
        let bytes = sealed(1);
        for end in 1..bytes.len() {
            assert_eq!(look(&bytes[..end]), Found::Torn, "the first {end} bytes");
        }
        assert_eq!(look(&[0; 1_000]), Found::Torn);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            // A length that is longer than what is there is what a torn one has.
            let expected = if (4..8).contains(&at) { Found::Torn } else { Found::Damaged };
            let found = look(&bytes);
            assert!(found == expected || found == Found::Damaged, "byte {at}: {found:?}");
        }
    }

    #[test]
    fn the_next_frame_is_found_behind_damage() {
        let (first, second) = (sealed(1), sealed(2));
        let mut bytes = [&first[..], &second[..]].concat();
        bytes[20] ^= 1;
        assert_eq!(look(&bytes), Found::Damaged);
        assert_eq!(Search::new(&bytes).next(0), Some(first.len()));
        assert_eq!(Search::new(&first).next(0), None);
    }

    #[test]
    fn a_search_sees_what_a_look_sees() {
        let (first, second) = (sealed(1), sealed(2));
        assert!(first.len() > STEP, "{}", first.len());
        for flipped in [None, Some(2), Some(5), Some(9), Some(60), Some(first.len() - 1)] {
            let mut bytes = [&first[..], &second[..], &first[..100]].concat();
            if let Some(at) = flipped {
                bytes[at] ^= 1;
            }
            let search = Search::new(&bytes);
            for at in 0..bytes.len() {
                assert_eq!(search.look(at), look(&bytes[at..]), "{flipped:?}, byte {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 1..400), real: bool) {
            let mut bytes = bytes;
            if real {
                let at = bytes.len().min(MAGIC.len());
                bytes[..at].copy_from_slice(&MAGIC[..at]);
            }
            let found = look(&bytes);
            prop_assert!(!matches!(found, Found::Frame(_)));
            let search = Search::new(&bytes);
            prop_assert_eq!(search.look(0), found);
            prop_assert_eq!(search.next(0), None);
        }
    }
}
