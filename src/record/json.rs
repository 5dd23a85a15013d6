//! JSON straight into a [`Row`], in one pass, with every problem reported.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Row, Value};
use crate::schema::{Feature, FeatureId, FeatureKind, FeatureSchema, LevelId, Unlisted};
use crate::validate::{Rule, Violation, Violations};

/// Largest magnitude up to which every whole number has an exact `f64`.
const EXACT_INTEGERS: u64 = 1 << 53;

/// Most names of unknown features that are remembered to find one that stands twice.
const REMEMBERED_UNKNOWN: usize = 1_000;

/// Decodes a JSON object of features, such as `{"tenure": 12, "contract": "One year"}`.
///
/// Problems of single values go to `out`, all of them: missing and unknown features, wrong types,
/// unlisted categories, duplicates. Ranges and nulls are the
/// [validator](crate::validate::FeatureValidator)'s. A byte order mark is skipped.
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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode_row(
    schema: &FeatureSchema,
    json: &[u8],
    out: &mut Violations,
) -> Result<Row, DecodeError> {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let mut row = Row::missing(schema);
    let mut decoder = Decoder::new(schema, &mut row, out);
    let mut source = serde_json::Deserializer::from_slice(json);
    let read = decoder.seed().deserialize(&mut source).and_then(|()| source.end());
    match read {
        Ok(()) => Ok(row),
        Err(error) => Err(decoder.explain(&error)),
    }
}

/// Decodes features that stand inside a larger document: pass [`seed`](Self::seed) to the
/// deserializer where the object of features is.
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
    row: &'a mut Row,
    out: &'a mut Violations,
    // the feature whose value is being read, to name it should the document break off there
    current: Option<FeatureId>,
}

impl<'a> Decoder<'a> {
    /// A decoder into `row`, which must be of `schema`.
    pub fn new(schema: &'a FeatureSchema, row: &'a mut Row, out: &'a mut Violations) -> Self {
        Self { schema, row, out, current: None }
    }

    /// The seed that reads the object of features.
    pub fn seed<'de>(&mut self) -> impl DeserializeSeed<'de, Value = ()> + use<'_, 'a, 'de> {
        FeaturesSeed(self)
    }

    /// What to tell the sender about `error`, which the deserializer returned.
    #[must_use]
    pub fn explain(&self, error: &serde_json::Error) -> DecodeError {
        let feature = self.current.and_then(|id| self.schema.get(id));
        DecodeError {
            feature: feature.map(|feature| feature.name().to_owned()),
            message: error.to_string(),
        }
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
}

/// Why bytes are no JSON object of features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    feature: Option<String>,
    message: String,
}

impl DecodeError {
    /// The feature whose value could not be read, if that is where the document broke off.
    #[must_use]
    pub fn feature(&self) -> Option<&str> {
        self.feature.as_deref()
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
        let mut unknown: HashSet<String> = HashSet::new();
        while let Some(key) = map.next_key_seed(KeySeed(decoder.schema))? {
            match key {
                Key::Known(id) => {
                    decoder.current = Some(id);
                    if seen.insert(id.index()) {
                        map.next_value_seed(ValueSeed { decoder: &mut *decoder, id })?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        decoder.row.set(id, Value::Invalid);
                        decoder.report(id, Rule::DuplicateFeature, None);
                    }
                    decoder.current = None;
                }
                Key::Unknown(name) => {
                    map.next_value::<IgnoredAny>()?;
                    let rule = Rule::UnknownFeature;
                    decoder.out.push(None, || Violation::unknown(&name), rule);
                    if unknown.contains(&name) {
                        return Err(de::Error::custom(format_args!("duplicate key {name:?}")));
                    }
                    if unknown.len() < REMEMBERED_UNKNOWN {
                        unknown.insert(name);
                    }
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

enum Key {
    Known(FeatureId),
    Unknown(String),
}

struct KeySeed<'a>(&'a FeatureSchema);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a feature")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(self
            .0
            .id(name)
            .map_or_else(|| Key::Unknown(name.chars().take(100).collect()), Key::Known))
    }
}

struct ValueSeed<'d, 'a> {
    decoder: &'d mut Decoder<'a>,
    id: FeatureId,
}

impl ValueSeed<'_, '_> {
    fn feature(&self) -> &Feature {
        &self.decoder.schema.features()[self.id.index()]
    }

    /// The rule that a value of any other type breaks.
    fn type_rule(&self) -> Rule {
        match self.feature().kind() {
            FeatureKind::Numeric { .. } => Rule::NotANumber,
            FeatureKind::Categorical { .. } => Rule::NotAString,
        }
    }

    fn wrong_type(self, shown: &dyn fmt::Display) {
        self.decoder.refuse(self.id, self.type_rule(), shown);
    }

    /// A whole number too large for `f64` to hold exactly would be silently another number.
    fn whole(self, number: impl fmt::Display, magnitude: u64) {
        if magnitude <= EXACT_INTEGERS || self.type_rule() == Rule::NotAString {
            // Exact: the text of a whole number up to 2^53 reads back as that number.
            let value = number.to_string().parse().unwrap_or(f64::NAN);
            self.number(value);
        } else {
            self.decoder.refuse(self.id, Rule::OutOfRange, &number);
        }
    }

    fn number(self, number: f64) {
        match self.type_rule() {
            Rule::NotAString => self.wrong_type(&number),
            _ => self.decoder.row.set(self.id, Value::Number(number)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of a feature")
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.number(number);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.whole(number, number);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.whole(number, number.unsigned_abs());
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let FeatureKind::Categorical { unlisted, .. } = self.feature().kind() else {
            self.wrong_type(&format_args!("'{text}'"));
            return Ok(());
        };
        match self.feature().level(text) {
            LevelId::OTHER if *unlisted == Unlisted::Reject => {
                self.decoder.refuse(self.id, Rule::InvalidCategory, &format_args!("'{text}'"));
            }
            level => self.decoder.row.set(self.id, Value::Level(level)),
        }
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.wrong_type(&value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.decoder.row.set(self.id, Value::Missing);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.wrong_type(&"an array");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.wrong_type(&"an object");
        Ok(())
    }
}
