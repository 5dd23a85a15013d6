//! JSON straight into a [`Row`], in one pass, with every problem reported.

mod plain;
mod wording;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use self::plain::read_plain;
use self::wording::worded;
use super::number::read_number;
use super::{Row, Value};
use crate::schema::{Feature, FeatureId, FeatureKind, FeatureSchema, LevelId, Unlisted};
use crate::validate::{Rule, Violation, Violations, excerpt};

/// Decodes a JSON object of features, such as `{"tenure": 12, "contract": "One year"}`.
///
/// Problems of single values go to `out`, all of them, in schema order: missing, unknown and
/// duplicate features, wrong types, unlisted categories, numbers that `f64` cannot hold. Ranges
/// and nulls are the [validator](crate::validate::FeatureValidator)'s. A byte order mark is
/// skipped.
///
/// Time and memory are linear in the length of `json`, the stack is bounded. A clean document
/// without escapes allocates nothing but the row, and [`Decoder::decode`] not even that.
///
/// # Errors
///
/// [`DecodeError`] when the bytes are no JSON object. What was found up to there is in `out`.
///
/// ```
/// use pmmds::record::{Value, decode_row};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::Violations;
///
/// let schema = FeatureSchema::new([Feature::integer("tenure")])?;
/// let mut out = Violations::new();
/// let row = decode_row(&schema, br#"{"tenure": 12, "color": "red"}"#, &mut out)?;
/// assert_eq!(row.values(), [Value::Number(12.0)]);
/// assert_eq!(out.warnings().next().unwrap().message(), "Unknown feature: color");
///
/// let error = decode_row(&schema, br#"{"tenure": NaN}"#, &mut out).unwrap_err();
/// assert_eq!(error.feature(), Some("tenure"));
/// assert_eq!(
///     error.to_string(),
///     "Invalid value for tenure: expected value at line 1 column 12",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode_row(
    schema: &FeatureSchema,
    json: &[u8],
    out: &mut Violations,
) -> Result<Row, DecodeError> {
    let mut row = Row::missing(schema);
    Decoder::new(schema, &mut row, out).decode(json)?;
    Ok(row)
}

/// Decodes features that stand inside a larger document: pass [`seed`](Self::seed) to the
/// deserializer where the object of features is. It must be a [`serde_json::Deserializer`] over
/// bytes or a text in memory, not over a reader.
///
/// ```
/// use pmmds::record::{Decoder, Row, Value};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::Violations;
/// use serde::de::DeserializeSeed;
///
/// let schema = FeatureSchema::new([Feature::integer("tenure")])?;
/// let (mut row, mut out) = (Row::missing(&schema), Violations::new());
/// let mut decoder = Decoder::new(&schema, &mut row, &mut out);
/// let mut json = serde_json::Deserializer::from_str(r#"{"tenure": 5.0}"#);
/// decoder.seed().deserialize(&mut json)?;
/// assert_eq!(row.values(), [Value::Number(5.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Decoder<'a> {
    schema: &'a FeatureSchema,
    // of `schema`
    row: &'a mut Row,
    out: &'a mut Violations,
    // the feature in whose value the document broke off
    broken: Option<String>,
}

impl<'a> Decoder<'a> {
    /// A decoder into `row`, which becomes a row of `schema` if it is of another.
    pub fn new(schema: &'a FeatureSchema, row: &'a mut Row, out: &'a mut Violations) -> Self {
        if row.values().len() != schema.len() {
            *row = Row::missing(schema);
        }
        Self { schema, row, out, broken: None }
    }

    /// Decodes a document as [`decode_row`] does, into the row at hand: a clean one without escapes
    /// allocates nothing.
    ///
    /// # Errors
    ///
    /// As [`decode_row`]. What the row holds then is of no use.
    ///
    /// ```
    /// use pmmds::record::{Decoder, Row, Value};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    ///
    /// let schema = FeatureSchema::new([Feature::integer("tenure")])?;
    /// let (mut row, mut out) = (Row::missing(&schema), Violations::new());
    /// for json in [r#"{"tenure": 12}"#, r#"{"tenure": "?"}"#, r#"{"tenure": 5}"#] {
    ///     out.clear();
    ///     Decoder::new(&schema, &mut row, &mut out).decode(json.as_bytes())?;
    ///     println!("{:?}, {} errors", row.values(), out.error_count());
    /// }
    /// assert_eq!(row.values(), [Value::Number(5.0)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(&mut self, json: &[u8]) -> Result<(), DecodeError> {
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        if read_plain(self.schema, json, self.row) {
            return Ok(());
        }
        let mut source = serde_json::Deserializer::from_slice(json);
        let read = self.seed().deserialize(&mut source).and_then(|()| source.end());
        read.map_err(|error| self.explain(&error))
    }

    /// The seed that reads the object of features.
    pub fn seed<'de>(&mut self) -> impl DeserializeSeed<'de, Value = ()> + use<'_, 'a, 'de> {
        FeaturesSeed(self)
    }

    /// What to tell the sender about `error`, which the deserializer returned.
    #[must_use]
    pub fn explain(&self, error: &serde_json::Error) -> DecodeError {
        DecodeError { feature: self.broken.clone(), message: worded(error) }
    }

    fn report(&mut self, id: FeatureId, rule: Rule, value: Option<&dyn fmt::Display>) {
        let feature = &self.schema.features()[id.index()];
        self.out.push(Some(id), || Violation::of(rule, feature, value), rule);
    }

    /// Refuses the value of `id` and says why.
    fn refuse(&mut self, id: FeatureId, rule: Rule, value: &dyn fmt::Display) {
        self.row.set(id, Value::Invalid);
        self.report(id, rule, Some(value));
    }

    /// Reads `raw`, one JSON value of correct syntax.
    fn read(&mut self, id: FeatureId, raw: &str) {
        let feature: &'a Feature = &self.schema.features()[id.index()];
        let wrong_type = match feature.kind() {
            FeatureKind::Numeric { .. } => Rule::NotANumber,
            FeatureKind::Categorical { .. } => Rule::NotAString,
        };
        match (raw.as_bytes().first(), feature.kind()) {
            (Some(b'n'), _) => self.row.set(id, Value::Missing),
            (Some(b'-' | b'0'..=b'9'), FeatureKind::Numeric { .. }) => match read_number(raw) {
                Ok(number) => self.row.set(id, Value::Number(number)),
                Err(rule) => self.refuse(id, rule, &raw),
            },
            (Some(b'"'), kind) => match (text(raw), kind) {
                (Some(text), FeatureKind::Categorical { unlisted, .. }) => {
                    match feature.level(&text) {
                        LevelId::OTHER if *unlisted == Unlisted::Reject => {
                            self.refuse(id, Rule::InvalidCategory, &format_args!("'{text}'"));
                        }
                        level => self.row.set(id, Value::Level(level)),
                    }
                }
                (Some(text), _) => self.refuse(id, wrong_type, &format_args!("'{text}'")),
                (None, _) => self.refuse(id, wrong_type, &raw),
            },
            (Some(b'['), _) => self.refuse(id, wrong_type, &"an array"),
            (Some(b'{'), _) => self.refuse(id, wrong_type, &"an object"),
            _ => self.refuse(id, wrong_type, &raw),
        }
    }
}

/// The text that a JSON string stands for; `None` when an escape in it stands for no character.
fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inside.as_bytes().contains(&b'\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// Why bytes are no JSON object of features, or a document around them is of another shape. Values
/// are never repeated, only what kind they are of and where; names are, shortened.
///
/// ```
/// use pmmds::record::decode_row;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::Violations;
/// let schema = FeatureSchema::new([Feature::integer("tenure")])?;
/// let error = decode_row(&schema, b"[1, 2]", &mut Violations::new()).unwrap_err();
/// assert_eq!(error.feature(), None);
/// assert!(error.to_string().starts_with("Invalid JSON: "), "{error}");
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    feature: Option<String>,
    message: String,
}

impl DecodeError {
    /// The feature in whose value the document broke off, shortened if the schema does not know
    /// it.
    #[must_use]
    pub fn feature(&self) -> Option<&str> {
        self.feature.as_deref()
    }

    /// What is wrong with the document, and where, without the feature.
    ///
    /// ```
    /// use pmmds::record::DecodeError;
    /// let error = serde_json::from_str::<Vec<u64>>("\"jane@example.com\"").unwrap_err();
    /// let told = DecodeError::from(&error);
    /// assert!(told.message().starts_with("invalid type: string, expected a sequence at line 1"));
    /// ```
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<&serde_json::Error> for DecodeError {
    fn from(error: &serde_json::Error) -> Self {
        Self { feature: None, message: worded(error) }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.feature {
            Some(feature) => write!(f, "Invalid value for {feature}: {}", self.message),
            None => write!(f, "Invalid JSON: {}", self.message),
        }
    }
}

impl std::error::Error for DecodeError {}

struct FeaturesSeed<'d, 'a>(&'d mut Decoder<'a>);

impl<'de> DeserializeSeed<'de> for FeaturesSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FeaturesSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let decoder = self.0;
        decoder.row.fill(Value::Missing);
        // Missing is also what null gives, so presence is kept apart; a bit per feature.
        let mut seen = Seen::new(decoder.schema.len());
        let mut unknown: HashSet<Cow<'de, str>> = HashSet::new();
        let mut guess = 0;
        while let Some(key) = map.next_key_seed(KeySeed { schema: decoder.schema, guess })? {
            match key {
                Key::Known(id) => {
                    let raw: &RawValue = map.next_value().inspect_err(|_| {
                        decoder.broken = Some(decoder.schema.features()[id.index()].name().into());
                    })?;
                    guess = id.index() + 1;
                    if seen.insert(id.index()) {
                        decoder.read(id, raw.get());
                    } else {
                        decoder.row.set(id, Value::Invalid);
                        decoder.report(id, Rule::DuplicateFeature, None);
                    }
                }
                Key::Unknown(name) => {
                    map.next_value::<Strict>()
                        .inspect_err(|_| decoder.broken = Some(excerpt(&name)))?;
                    let rule = if unknown.contains(&name) {
                        Rule::DuplicateFeature
                    } else {
                        Rule::UnknownFeature
                    };
                    decoder.out.push(None, || Violation::unknown(rule, &name), rule);
                    unknown.insert(name);
                }
            }
        }
        for id in decoder.schema.ids() {
            if !seen.contains(id.index()) {
                decoder.row.set(id, Value::Invalid);
                decoder.report(id, Rule::MissingFeature, None);
            }
        }
        decoder.out.sort_by_schema(decoder.schema);
        Ok(())
    }
}

/// A set of feature indices; without allocation up to 256 features.
struct Seen {
    first: [u64; 4],
    rest: Vec<u64>,
}

impl Seen {
    fn new(features: usize) -> Self {
        Self { first: [0; 4], rest: vec![0; features.div_ceil(64).saturating_sub(4)] }
    }

    fn word(&mut self, index: usize) -> &mut u64 {
        let word = index / 64;
        if word < 4 { &mut self.first[word] } else { &mut self.rest[word - 4] }
    }

    /// Whether `index` was not in the set before.
    fn insert(&mut self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        let word = self.word(index);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn contains(&mut self, index: usize) -> bool {
        *self.word(index) & (1 << (index % 64)) != 0
    }
}

enum Key<'de> {
    Known(FeatureId),
    Unknown(Cow<'de, str>),
}

struct KeySeed<'a> {
    schema: &'a FeatureSchema,
    // most senders keep the order of the schema, so this feature is tried before any hashing
    guess: usize,
}

impl KeySeed<'_> {
    fn find(&self, name: &str) -> Option<FeatureId> {
        match self.schema.features().get(self.guess) {
            Some(feature) if feature.name() == name => FeatureId::new(self.guess),
            _ => self.schema.id(name),
        }
    }
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_> {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a feature")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(self.find(name).map_or(Key::Unknown(Cow::Borrowed(name)), Key::Known))
    }

    fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(self.find(name).map_or_else(|| Key::Unknown(name.to_owned().into()), Key::Known))
    }
}

/// Any value, looked at and thrown away. Unlike [`IgnoredAny`](serde::de::IgnoredAny) it minds what
/// strings and numbers hold and how deep the value nests, so that what nobody knows is no way
/// around them.
///
/// ```
/// use pmmds::record::Strict;
/// assert!(serde_json::from_str::<Strict>(r#"{"a": [1, "b"]}"#).is_ok());
/// assert!(serde_json::from_str::<Strict>("1e400").is_err());
/// assert!(serde_json::from_str::<Strict>(&"[".repeat(1_000)).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
