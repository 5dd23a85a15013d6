//! A batch as bytes, for whoever keeps it until a store has it.

use std::time::Duration;

use uuid::Uuid;

use super::{BatchId, CorrelationId, EventBatch, InferenceEvent};
use crate::Timestamp;
use crate::drift::{Codes, Counts};
use crate::model::Prediction;
use crate::registry::{ModelName, VersionId};

/// Version of the form; every one that was ever written is read.
const WIRE_VERSION: u8 = 1;

// What stands in the flags of an event. Bits that are not named here are of a newer release.
const OWN_REQUEST: u8 = 1;
const FEATURES: u8 = 1 << 1;
const LABEL: u8 = 1 << 2;
const LABEL_IS_ONE: u8 = 1 << 3;
const CORRELATION: u8 = 1 << 4;
const KNOWN: u8 = OWN_REQUEST | FEATURES | LABEL | LABEL_IS_ONE | CORRELATION;

/// Least bytes of an event: flags, id, time, latency, score; bounds what is taken on the word of a
/// number.
const LEAST_EVENT: usize = 1 + 16 + 1 + 1 + 8;

/// Why bytes are no batch.
///
/// ```
/// use pmmds::log::{EventBatch, WireError};
/// let error = EventBatch::from_bytes(&[9, 0, 0]).unwrap_err();
/// assert_eq!(error, WireError::Version { found: 9 });
/// assert_eq!(error.to_string(), "batch form 9 is unknown, this release reads 1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Of another release.
    #[error("batch form {found} is unknown, this release reads {WIRE_VERSION}")]
    Version {
        /// what the first byte says
        found: u8,
    },
    /// They end too early.
    #[error("the bytes of a batch end within {what}")]
    Short {
        /// what should have come
        what: &'static str,
    },
    /// Something follows the batch.
    #[error("{bytes} bytes follow the batch")]
    Long {
        /// how many
        bytes: usize,
    },
    /// A value that no batch has.
    #[error("{what} of a batch cannot be: {why}")]
    Value {
        /// which
        what: &'static str,
        /// what was found
        why: String,
    },
}

fn bad(what: &'static str, why: impl ToString) -> WireError {
    WireError::Value { what, why: why.to_string() }
}

impl EventBatch {
    /// The batch as bytes, with its id, its counts and every event; floats bit for bit.
    ///
    /// The form has a version. It is compact, a few dozen bytes beside the raw features of an
    /// event, and has no checksum: who stores it brings one along.
    ///
    /// ```
    /// # use pmmds::drift::Profile;
    /// # use pmmds::record::Batch;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::log::{BatchId, EventBatch};
    /// use pmmds::registry::VersionId;
    /// use uuid::Uuid;
    /// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0]];
    /// # let profile = Profile::fit(&Batch::from_array(&schema, data.view())?)?;
    /// let id = BatchId(Uuid::from_u128(1));
    /// let batch = EventBatch::new(id, "churn".parse()?, VersionId::FIRST, &profile);
    /// assert_eq!(EventBatch::from_bytes(&batch.to_bytes())?, batch);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Counts hold maps with text keys and finite numbers: nothing that JSON cannot hold.
        let counts = serde_json::to_vec(&self.counts).unwrap_or_default();
        let features = |event: &InferenceEvent| event.features.as_ref().map_or(0, String::len);
        let room: usize = self.events.iter().map(|event| 64 + features(event)).sum();
        let mut out = Vec::with_capacity(64 + counts.len() + room);
        out.push(WIRE_VERSION);
        out.extend(self.id.0.as_bytes());
        put_bytes(&mut out, self.model.as_str().as_bytes());
        put_number(&mut out, self.version.number());
        put_bytes(&mut out, &counts);
        put_number(&mut out, self.events.len() as u64);
        let mut before = 0_i64;
        for event in &self.events {
            before = put_event(&mut out, event, before);
        }
        out
    }

    /// The batch that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`WireError`] for whatever it did not write: counts that are not those of the events'
    /// codes, a score that no model gives, bytes that are missing or too many. No bytes make it
    /// panic, and no number in them makes it take memory that the bytes do not pay for.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Input(bytes);
        let version = input.byte("the form")?;
        if version != WIRE_VERSION {
            return Err(WireError::Version { found: version });
        }
        let id = BatchId(input.uuid("the id")?);
        let model = input.text("the model")?;
        let model = ModelName::new(model).map_err(|error| bad("the model", error))?;
        let version = input.number("the version")?;
        let version = VersionId::new(version).ok_or_else(|| bad("the version", version))?;
        let counts: Counts = serde_json::from_slice(input.bytes("the counts")?)
            .map_err(|error| bad("the counts", error))?;
        let (found, columns) = (input.number("the events")?, counts.columns());
        let most = input.0.len() / LEAST_EVENT;
        let number = usize::try_from(found).ok().filter(|number| *number <= most);
        let number = number.ok_or(WireError::Short { what: "the events" })?;
        let mut events = Vec::with_capacity(number);
        let mut before = 0;
        for _ in 0..number {
            let event = take_event(&mut input, columns, before)?;
            before = event.at.as_micros();
            events.push(event);
        }
        if !input.0.is_empty() {
            return Err(WireError::Long { bytes: input.0.len() });
        }
        check_counts(&counts, &events)?;
        Ok(Self { id, model, version, events, counts })
    }
}

/// Whether `counts` are those of `events`.
fn check_counts(counts: &Counts, events: &[InferenceEvent]) -> Result<(), WireError> {
    if counts.rows() != events.len() as u64 || counts.summarised() > counts.rows() {
        let (rows, summarised) = (counts.rows(), counts.summarised());
        let why = format!("{rows} rows, {summarised} summarised, of {} events", events.len());
        return Err(bad("the counts", why));
    }
    let mut expected = counts.cleared();
    let codes: Vec<u8> = events.iter().flat_map(|event| event.codes.as_bytes()).copied().collect();
    if !codes.is_empty() {
        expected.observe_code_rows(&codes).map_err(|error| bad("the codes", error))?;
    }
    if expected.rows() != counts.rows() || !expected.flat_slots().eq(counts.flat_slots()) {
        return Err(bad("the counts", "the codes of the events say something else"));
    }
    Ok(())
}

/// Writes `event`, and returns its time for the one behind it.
fn put_event(out: &mut Vec<u8>, event: &InferenceEvent, before: i64) -> i64 {
    let mut flags = 0;
    let own = event.request_id != event.id;
    flags |= if own { OWN_REQUEST } else { 0 };
    flags |= if event.features.is_some() { FEATURES } else { 0 };
    flags |= if event.correlation_id.is_some() { CORRELATION } else { 0 };
    flags |= match event.prediction.label() {
        None => 0,
        Some(0) => LABEL,
        Some(_) => LABEL | LABEL_IS_ONE,
    };
    out.push(flags);
    out.extend(event.id.as_bytes());
    if own {
        out.extend(event.request_id.as_bytes());
    }
    let at = event.at.as_micros();
    // Timestamps have four-digit years: the difference is far within i64.
    put_signed(out, at.wrapping_sub(before));
    // Cut by the constructor to whole microseconds within i64; the field is public.
    put_number(out, u64::try_from(event.latency.as_micros()).unwrap_or(u64::MAX));
    out.extend(event.prediction.score().to_bits().to_le_bytes());
    // As many as the counts have columns, so their number need not stand here.
    out.extend(event.codes.as_bytes());
    if let Some(features) = &event.features {
        put_bytes(out, features.as_bytes());
    }
    if let Some(correlation) = &event.correlation_id {
        put_bytes(out, correlation.as_str().as_bytes());
    }
    at
}

fn take_event(
    input: &mut Input<'_>,
    columns: usize,
    before: i64,
) -> Result<InferenceEvent, WireError> {
    let flags = input.byte("an event")?;
    let stray_label = flags & LABEL == 0 && flags & LABEL_IS_ONE != 0;
    if flags & !KNOWN != 0 || stray_label {
        return Err(bad("the flags of an event", format!("{flags:#b}")));
    }
    let id = input.uuid("the id of an event")?;
    let own = flags & OWN_REQUEST != 0;
    let request_id = if own { input.uuid("a request id")? } else { id };
    let at = before.wrapping_add(input.signed("a time")?);
    let at = Timestamp::from_micros(at).map_err(|error| bad("a time", error))?;
    let latency = Duration::from_micros(input.number("a latency")?);
    let score = f64::from_bits(u64::from_le_bytes(input.array("a score")?));
    let label = (flags & LABEL != 0).then_some(u8::from(flags & LABEL_IS_ONE != 0));
    let prediction = Prediction::from_stored(score, label);
    let prediction =
        prediction.ok_or_else(|| bad("a prediction", format!("{score}, label {label:?}")))?;
    let codes = Codes::from_bytes(input.take(columns, "the codes of an event")?);
    let features = (flags & FEATURES != 0).then(|| input.text("raw features")).transpose()?;
    let correlation = (flags & CORRELATION != 0).then(|| {
        let text = input.text("a correlation id")?;
        CorrelationId::new(text).map_err(|error| bad("a correlation id", error))
    });
    let mut event = InferenceEvent::new(id, request_id, at, prediction, latency, codes);
    event.features = features.map(str::to_owned);
    event.correlation_id = correlation.transpose()?;
    Ok(event)
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Small ones of either sign are short.
fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend(bytes);
}

/// What is still to be read.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn take(&mut self, bytes: usize, what: &'static str) -> Result<&'b [u8], WireError> {
        let (taken, left) = self.0.split_at_checked(bytes).ok_or(WireError::Short { what })?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (taken, left) = self.0.split_first_chunk().ok_or(WireError::Short { what })?;
        self.0 = left;
        Ok(*taken)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.array(what).map(|[byte]| byte)
    }

    fn uuid(&mut self, what: &'static str) -> Result<Uuid, WireError> {
        self.array(what).map(Uuid::from_bytes)
    }

    fn number(&mut self, what: &'static str) -> Result<u64, WireError> {
        let mut number = 0_u64;
        for place in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if place == 63 && bits > 1 {
                break;
            }
            number |= bits << place;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(bad(what, "a number beyond 64 bits"))
    }

    fn signed(&mut self, what: &'static str) -> Result<i64, WireError> {
        let number = self.number(what)?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn bytes(&mut self, what: &'static str) -> Result<&'b [u8], WireError> {
        let length = self.number(what)?;
        let length = usize::try_from(length).map_err(|_| WireError::Short { what })?;
        self.take(length, what)
    }

    fn text(&mut self, what: &'static str) -> Result<&'b str, WireError> {
        std::str::from_utf8(self.bytes(what)?).map_err(|error| bad(what, error))
    }
}

#[cfg(test)]
mod tests;
