//! The body of a prediction request.
//!
//! Most requests are as they should be, and those take the short way: the fields beside the
//! features by `serde_json`, the features as they stand by [`Decoder::decode`]. Whatever is odd
//! takes the long way, in one pass from the beginning, which says what is wrong with it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::options::RejectedValues;
use super::problem::Detail;
use crate::lifecycle::ServingModel;
use crate::record::{DecodeError, Decoder, Row, Strict};
use crate::schema::FeatureSchema;
use crate::validate::{FeatureValidator, Rule, Violations};

/// Deepest nesting that is read; a request needs two levels.
const DEEPEST: usize = 64;

/// Most features that the schema does not know; whoever sends more means another service.
pub(super) const MOST_UNKNOWN: usize = 1_000;

/// Most fields of a request; there are two.
pub(super) const MOST_FIELDS: usize = 50;

/// Most warnings that an answer repeats.
const MOST_WARNINGS: usize = 100;

/// The code of a body that is no JSON, or not of its shape.
const INVALID_JSON: &str = "invalid_json";

/// A request as far as it could be read, with everything that is wrong with it.
#[derive(Debug)]
pub(super) struct PredictRequest {
    // where it stands in the body, as a JSON pointer; empty: it is the body
    at: String,
    // it has no fields but the features
    flat: bool,
    pub(super) request_id: Option<Uuid>,
    pub(super) row: Row,
    // of single features; counted for the monitor
    pub(super) violations: Violations,
    // of the request around them
    pub(super) errors: Vec<Detail>,
    pub(super) warnings: Vec<String>,
    // it was a request for this model, right or wrong, and counts as one
    pub(super) is_ours: bool,
}

impl PredictRequest {
    fn blank(schema: &FeatureSchema, at: String) -> Self {
        Self {
            at,
            flat: false,
            request_id: None,
            row: Row::missing(schema),
            violations: Violations::with_limit(schema.len().max(MOST_WARNINGS)),
            errors: Vec::new(),
            warnings: Vec::new(),
            is_ours: false,
        }
    }

    /// Reads `{"request_id"?: uuid, "features": {...}}` and validates the features.
    pub(super) fn read(model: &ServingModel, body: &[u8]) -> Self {
        let schema = model.schema();
        let mut request = Self::blank(schema, String::new());
        let body = without_mark(body);
        if let Ok(text) = std::str::from_utf8(body)
            && request.quick(schema, text)
        {
            request.validate(model, true);
            return request;
        }
        match readable(body) {
            Ok(text) => {
                let whole = request.decode(schema, text);
                request.validate(model, whole);
            }
            Err(unreadable) => request.errors.push(unreadable),
        }
        request
    }

    /// Reads one of many rows, `text`, which is part of a [`readable`] body and stands there at
    /// `at`: a request as [`read`](Self::read) takes it, or the features alone.
    pub(super) fn read_row(model: &ServingModel, text: &str, at: String) -> Self {
        let schema = model.schema();
        let mut request = Self::blank(schema, at);
        if request.quick(schema, text) {
            request.validate(model, true);
            return request;
        }
        request.flat = true;
        let whole = request.decode_features(schema, text);
        if !(whole && request.violations.is_clean()) && has_features(schema, text) {
            request = Self::blank(schema, request.at);
            let whole = request.decode(schema, text);
            request.validate(model, whole);
        } else {
            request.validate(model, whole);
        }
        request
    }

    /// Reads `features`, which stand in the object at `at`.
    pub(super) fn read_features(model: &ServingModel, features: &str, at: String) -> Self {
        let schema = model.schema();
        let mut request = Self::blank(schema, at);
        let whole = request.decode_features(schema, features);
        request.validate(model, whole);
        request
    }

    /// Reads features that stand at `at` themselves.
    #[cfg(any(feature = "oip", feature = "mlflow-scoring"))]
    pub(super) fn read_flat(model: &ServingModel, features: &str, at: String) -> Self {
        let mut request = Self::blank(model.schema(), at);
        request.flat = true;
        let whole = request.decode_features(model.schema(), features);
        request.validate(model, whole);
        request
    }

    /// Validates what was read, to its end if `whole`.
    fn validate(&mut self, model: &ServingModel, whole: bool) {
        if whole {
            model.validator().validate(&self.row, &mut self.violations);
            self.is_ours = true;
        } else {
            self.is_ours |= !self.violations.is_valid();
        }
        if self.violations.count(Rule::UnknownFeature) > MOST_UNKNOWN as u64 {
            let message = format!("More than {MOST_UNKNOWN} unknown features");
            self.errors.push(Detail::new(self.features_at(), "too_many_features", message));
        }
    }

    /// The short way. Says no, and has read nothing, where the long way is needed.
    fn quick(&mut self, schema: &FeatureSchema, text: &str) -> bool {
        let Ok(Object(plain)) = serde_json::from_str::<Object<Plain<'_>>>(text) else {
            return false;
        };
        let Ok(request_id) = plain.request_id.map(request_id).transpose() else { return false };
        let mut decoder = Decoder::new(schema, &mut self.row, &mut self.violations);
        let read = decoder.decode(plain.features.get().as_bytes());
        // Only what nobody asked for can be nested.
        let shallow = self.violations.is_clean() || depth(text) <= DEEPEST;
        if read.is_err() || !shallow {
            self.violations.clear();
            return false;
        }
        self.request_id = request_id;
        true
    }

    /// Whether the features were read to their end.
    fn decode_features(&mut self, schema: &FeatureSchema, text: &str) -> bool {
        let mut decoder = Decoder::new(schema, &mut self.row, &mut self.violations);
        match decoder.decode(text.as_bytes()) {
            Ok(()) => true,
            Err(broken) => {
                self.broken(&broken);
                false
            }
        }
    }

    /// Whether it was read to its end, and had features.
    fn decode(&mut self, schema: &FeatureSchema, text: &str) -> bool {
        let mut head = Head::default();
        let mut decoder = Decoder::new(schema, &mut self.row, &mut self.violations);
        let mut source = serde_json::Deserializer::from_str(text);
        let seed = BodySeed { decoder: &mut decoder, head: &mut head };
        let read = seed.deserialize(&mut source).and_then(|()| source.end());
        if let Err(error) = read {
            let broken = decoder.explain(&error);
            self.broken(&broken);
        } else if !head.features {
            let message = "Missing required field: features";
            self.errors.push(Detail::new(self.features_at(), "missing_field", message));
        }
        let whole = self.errors.is_empty();
        self.request_id = head.request_id;
        if let Some(why) = head.bad_id {
            let at = format!("{}/request_id", self.at);
            self.errors.push(Detail::new(at, "invalid_request_id", why));
        }
        let unknown = head.unknown.iter().map(|name| format!("Unknown field: {}", shown(name)));
        self.warnings = unknown.collect();
        whole
    }

    fn broken(&mut self, broken: &DecodeError) {
        let (pointer, code) = match broken.feature() {
            Some(name) => {
                let name = super::problem::escaped(name);
                (format!("{}/{name}", self.features_at()), "invalid_value")
            }
            None => (self.at.clone(), INVALID_JSON),
        };
        self.is_ours = broken.feature().is_some();
        self.errors.push(Detail::new(pointer, code, broken.to_string()));
    }

    /// Where the features are.
    fn features_at(&self) -> Cow<'_, str> {
        if self.flat { (&self.at).into() } else { format!("{}/features", self.at).into() }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.errors.is_empty() && self.violations.is_valid()
    }

    /// Everything that is wrong: first with the features, in schema order, then with the rest.
    pub(super) fn details(&self, values: RejectedValues) -> Vec<Detail> {
        let at = self.features_at();
        let features = self.violations.errors().map(|violation| Detail::of(violation, &at, values));
        features.chain(self.errors.iter().cloned()).collect()
    }

    /// What is odd and no error.
    pub(super) fn all_warnings(&self) -> Vec<String> {
        let kept = self.violations.warnings().take(MOST_WARNINGS);
        let mut all: Vec<String> = kept.map(|warning| warning.message().to_owned()).collect();
        let more = self.violations.warning_count().saturating_sub(all.len() as u64);
        if more > 0 {
            all.push(format!("... and {more} more unknown features"));
        }
        all.extend(self.warnings.iter().cloned());
        all
    }
}

fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The text of a body: UTF-8, without its mark, not nested deeper than anybody needs.
pub(super) fn readable(body: &[u8]) -> Result<&str, Detail> {
    let unreadable = |why: String| Detail::new("", INVALID_JSON, format!("Invalid JSON: {why}"));
    let text = std::str::from_utf8(without_mark(body))
        .map_err(|error| unreadable(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    if depth(text) > DEEPEST {
        return Err(unreadable(format!("nested deeper than {DEEPEST} levels")));
    }
    Ok(text)
}

/// What is wrong with a document of another shape; it repeats no value.
pub(super) fn misshapen(error: &serde_json::Error) -> Detail {
    Detail::new("", INVALID_JSON, DecodeError::from(error).to_string())
}

/// How deep brackets are nested outside of strings, without a stack.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A name as it is repeated to its sender: short, and without what a terminal would obey.
pub(super) fn shown(name: &str) -> String {
    let one = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    name.chars().take(64).map(one).collect()
}

/// The id that `text` is, in any of the usual spellings.
pub(super) fn request_id(text: &str) -> Result<Uuid, &'static str> {
    match Uuid::parse_str(text) {
        Ok(id) if id.is_nil() => Err("request_id must not be the nil UUID"),
        Ok(id) => Ok(id),
        Err(_) => Err("request_id must be a UUID"),
    }
}

/// A request in which nothing is odd.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<'a> {
    #[serde(borrow, default)]
    request_id: Option<&'a str>,
    #[serde(borrow)]
    features: &'a RawValue,
}

/// What only an object can be: by itself serde would read a struct from a list too.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Whether `text` is an object with features in it, and not features of which one has that name.
fn has_features(schema: &FeatureSchema, text: &str) -> bool {
    #[derive(Deserialize)]
    struct Has<'a> {
        #[serde(borrow)]
        features: &'a RawValue,
    }
    serde_json::from_str::<Object<Has<'_>>>(text).is_ok_and(|Object(has)| {
        schema.id("features").is_none() || has.features.get().starts_with('{')
    })
}

/// What stands beside the features.
#[derive(Debug, Default)]
struct Head {
    request_id: Option<Uuid>,
    bad_id: Option<&'static str>,
    seen_id: bool,
    features: bool,
    // the fields that are not known, each once
    unknown: Vec<String>,
}

struct BodySeed<'b, 'd, 'a> {
    decoder: &'d mut Decoder<'a>,
    head: &'b mut Head,
}

impl<'de> DeserializeSeed<'de> for BodySeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { decoder, head } = self;
        let twice = |name| de::Error::custom(format_args!("duplicate key {name:?}"));
        while let Some(field) = map.next_key_seed(FieldSeed)? {
            match field {
                Field::Features if head.features => return Err(twice("features")),
                Field::Features => {
                    map.next_value_seed(decoder.seed())?;
                    head.features = true;
                }
                Field::RequestId if head.seen_id => return Err(twice("request_id")),
                Field::RequestId => {
                    head.seen_id = true;
                    match map.next_value_seed(IdSeed)? {
                        Ok(id) => head.request_id = id,
                        Err(why) => head.bad_id = Some(why),
                    }
                }
                Field::Unknown(name) => {
                    map.next_value::<Strict>()?;
                    if head.unknown.len() + 2 >= MOST_FIELDS {
                        return Err(de::Error::custom("too many unknown fields"));
                    }
                    if head.unknown.contains(&name) {
                        return Err(twice(&shown(&name)));
                    }
                    head.unknown.push(name);
                }
            }
        }
        Ok(())
    }
}

enum Field {
    RequestId,
    Features,
    Unknown(String),
}

struct FieldSeed;

impl<'de> DeserializeSeed<'de> for FieldSeed {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldSeed {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        Ok(match name {
            "request_id" => Field::RequestId,
            "features" => Field::Features,
            _ => Field::Unknown(name.to_owned()),
        })
    }
}

/// Reads an id, none for null, or says what is wrong with it.
struct IdSeed;

type Id = Result<Option<Uuid>, &'static str>;

const NO_ID: Id = Err("request_id must be a UUID");

impl<'de> DeserializeSeed<'de> for IdSeed {
    type Value = Id;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Id, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for IdSeed {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID")
    }

    fn visit_str<E>(self, text: &str) -> Result<Id, E> {
        Ok(request_id(text).map(Some))
    }

    fn visit_unit<E>(self) -> Result<Id, E> {
        Ok(Ok(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Id, E> {
        Ok(NO_ID)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Id, E> {
        Ok(NO_ID)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Id, E> {
        Ok(NO_ID)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Id, E> {
        Ok(NO_ID)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Id, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(NO_ID)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Id, A::Error> {
        while map.next_entry::<Strict, Strict>()?.is_some() {}
        Ok(NO_ID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        assert_eq!(depth(r#"{"a": [1, [2]], "b": {}}"#), 3);
        assert_eq!(depth(r#"{"[[[[": "\"[[[{{"}"#), 1);
        assert_eq!(depth("]]]]["), 1);
        assert!(readable("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn ids_are_read_in_every_usual_spelling() {
        let id: Uuid = "0195f3a0-0000-7000-8000-00000000002a".parse().unwrap();
        for text in [
            "0195f3a0-0000-7000-8000-00000000002a",
            "0195F3A0-0000-7000-8000-00000000002A",
            "{0195f3a0-0000-7000-8000-00000000002a}",
            "0195f3a000007000800000000000002a",
        ] {
            assert_eq!(request_id(text), Ok(id), "{text}");
        }
        assert!(request_id("00000000-0000-0000-0000-000000000000").unwrap_err().contains("nil"));
        assert!(request_id("42").is_err());
    }
}
