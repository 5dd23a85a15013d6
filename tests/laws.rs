//! What must hold for every input, tried on many.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use pmmds::drift::{
    Binning, BinningStrategy, Counts as Traffic, DriftDetector, DriftReport, DriftSettings,
    Moments, Profile, ProfileOptions,
};
use pmmds::model::{Prediction, Task};
use pmmds::promote::{Decision, Evaluation, Reason};
use pmmds::record::{Columns, Decoder, Row, Table, Value, decode_row};
use pmmds::schema::{
    Feature, FeatureKind, FeatureSchema, LevelId, MAX_NAME_BYTES, SchemaError, Unlisted,
};
use pmmds::validate::{FeatureValidator, Rule, SchemaValidator, Violation, Violations};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

/// Largest magnitude up to which every whole number has an `f64` of its own: 2^53.
const EXACT_INTEGERS: u64 = 1 << 53;

// ---------------------------------------------------------------------------------------------
// What is tried
// ---------------------------------------------------------------------------------------------

/// A name or a level: short and plain, or whatever a sender with a grudge would choose.
fn name() -> impl Strategy<Value = String> {
    let usable = |name: &String| FeatureSchema::new([Feature::numeric(name.clone())]).is_ok();
    prop_oneof![
        3 => "[a-z]{1,3}",
        2 => proptest::collection::vec(
            prop_oneof![
                select(vec!['"', '\\', '\'', '/', '{', '}', ':', ';', '$', '%', '=', '@', '\u{fe0f}',
                            'é', 'ß', 'İ', '🦀', '\u{10ffff}', '\u{e000}', '\u{200d}', ' ', '#', '`']),
                any::<char>(),
            ],
            1..40,
        )
        .prop_map(|chars| chars.into_iter().collect::<String>().trim().to_owned()),
        1 => select(vec!["\"", "\\", "é", "🦀", "x"])
            .prop_map(|unit| unit.repeat(MAX_NAME_BYTES / unit.len())),
    ]
    .prop_filter("not a usable name", usable)
}

fn bound() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(-0.0), -100.0..100.0, finite()]
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        2 => (-1_000_i32..1_000).prop_map(f64::from),
        1 => select(vec![
            f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::from_bits(1), 0.1, 1e21, 1e16, 1e15,
            9_007_199_254_740_991.0, 9_007_199_254_740_992.0, 9_007_199_254_740_994.0,
        ]),
    ]
}

fn feature() -> impl Strategy<Value = Feature> {
    let numeric = (name(), any::<bool>(), proptest::option::of((bound(), bound()))).prop_map(
        |(name, integer, range)| {
            let feature = if integer { Feature::integer(name) } else { Feature::numeric(name) };
            match range {
                Some((a, b)) => feature.range(a.min(b), a.max(b)),
                None => feature,
            }
        },
    );
    let levels = proptest::collection::hash_set(name(), 1..5);
    let categorical = (name(), levels, any::<bool>()).prop_map(|(name, levels, other)| {
        let feature = Feature::categorical(name, levels);
        if other { feature.unlisted(Unlisted::Other) } else { feature }
    });
    (prop_oneof![numeric, categorical], any::<bool>(), any::<bool>()).prop_map(
        |(feature, nullable, sensitive)| {
            let feature = if nullable { feature.nullable() } else { feature };
            if sensitive { feature.sensitive() } else { feature }
        },
    )
}

fn schema() -> impl Strategy<Value = Arc<FeatureSchema>> {
    proptest::collection::vec(feature(), 1..8).prop_map(|mut features| {
        let mut names = HashSet::new();
        features.retain(|feature| names.insert(feature.name().to_lowercase()));
        Arc::new(FeatureSchema::new(features).unwrap())
    })
}

/// A row that its schema can express: every value missing or of the right kind.
fn row(schema: &Arc<FeatureSchema>) -> impl Strategy<Value = Row> + use<> {
    let schema = Arc::clone(schema);
    proptest::collection::vec((0_u8..8, finite(), any::<Index>()), schema.len()).prop_map(
        move |choices| {
            let mut row = Row::missing(&schema);
            for ((id, feature), (choice, number, index)) in
                schema.ids().zip(schema.features()).zip(choices)
            {
                let value = match (choice, feature.kind()) {
                    (0, _) => Value::Missing,
                    (_, FeatureKind::Numeric { .. }) => Value::Number(number),
                    (1, FeatureKind::Categorical { unlisted: Unlisted::Other, .. }) => {
                        Value::Level(LevelId::OTHER)
                    }
                    (_, _) => {
                        Value::Level(LevelId::new(index.index(feature.levels().len())).unwrap())
                    }
                };
                row.set(id, value);
            }
            row
        },
    )
}

fn schema_and_row() -> impl Strategy<Value = (Arc<FeatureSchema>, Row)> {
    schema().prop_flat_map(|schema| {
        let row = row(&schema);
        (Just(schema), row)
    })
}

/// Bytes that mean something to a JSON parser.
fn meaningful() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        select(vec![
            &b"\""[..],
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b"0",
            b"9",
            b"-",
            b"+",
            b".",
            b"e",
            b"null",
            b"true",
            b"false",
            b"NaN",
            b"1e400",
            b"\\u0000",
            b"\\ud800",
            b"\\udc00",
            b" ",
            b"\0",
            b"\xff",
            b"\xc3",
            b"\xed\xa0\x80",
            b"\xef\xbb\xbf",
            b"\"a\":1,",
            b"[[[[",
            b"{\"a\":",
            b"9007199254740993",
            b"18446744073709551616",
        ])
        .prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 1..4),
    ]
}

/// A schema, rows of it, and a score for each row.
fn traffic() -> impl Strategy<Value = (Arc<FeatureSchema>, Vec<Row>, Vec<f64>)> {
    schema().prop_flat_map(|schema| {
        let rows = proptest::collection::vec(row(&schema), 1..40);
        let scores = proptest::collection::vec(0.0..=1.0_f64, 40);
        (Just(schema), rows, scores).prop_map(|(schema, rows, mut scores)| {
            scores.truncate(rows.len());
            (schema, rows, scores)
        })
    })
}

fn columns(schema: &Arc<FeatureSchema>, rows: &[Row]) -> Columns {
    let mut columns = Columns::new(Arc::clone(schema));
    rows.iter().for_each(|row| columns.push(row));
    columns
}

/// A profile of the first rows, and the counts of each of `shards` and of all rows.
fn counted(
    (schema, rows, scores): &(Arc<FeatureSchema>, Vec<Row>, Vec<f64>),
    cuts: &[Index],
) -> (Profile, Vec<Traffic>, Traffic) {
    let reference = columns(schema, &rows[..rows.len().div_ceil(2)]);
    let options = ProfileOptions::new().scores(&scores[..reference.rows()]);
    let profile = options.fit(&reference.batch()).unwrap();
    let of = |rows: &[Row], scores: &[f64]| {
        Traffic::of(&profile, &columns(schema, rows).batch(), Some(scores)).unwrap()
    };
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len() + 1)).collect();
    ends.extend([0, rows.len()]);
    ends.sort_unstable();
    let shards = ends.windows(2).map(|at| of(&rows[at[0]..at[1]], &scores[at[0]..at[1]])).collect();
    let whole = of(rows, scores);
    (profile, shards, whole)
}

/// What of counts is exact: all but the means and spreads, which are floats.
fn exact(counts: &Traffic) -> serde_json::Value {
    let mut json = serde_json::to_value(counts).unwrap();
    for summary in json["summaries"].as_array_mut().unwrap() {
        let count = summary["moments"]["count"].clone();
        summary["moments"] = count;
    }
    json
}

/// The sum of counts, in this order.
fn sum<'a>(first: &Traffic, rest: impl IntoIterator<Item = &'a Traffic>) -> Traffic {
    let mut total = first.clone();
    rest.into_iter().for_each(|counts| total.merge(counts).unwrap());
    total
}

/// Reads what it wrote, and writes the same again: every bit of every number came through.
fn round_trip<T>(thing: &T) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let json = serde_json::to_string(thing).unwrap();
    let read: T = serde_json::from_str(&json)
        .map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
    prop_assert_eq!(&read, thing);
    prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
    Ok(())
}

/// A document that was good until it met `edits`.
fn edited(json: &str, edits: Vec<(Index, usize, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = json.as_bytes().to_vec();
    for (at, cut, insert) in edits {
        let at = at.index(bytes.len() + 1);
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, insert);
    }
    bytes
}

// ---------------------------------------------------------------------------------------------
// The slow twin of the decoder
// ---------------------------------------------------------------------------------------------

type Counts = BTreeMap<(Option<String>, Rule), u64>;

/// Rule and feature of each error, in the order in which they are told.
type Told = Vec<(Rule, String)>;

enum Twin {
    /// No JSON, or none that `serde_json::Value` can hold.
    Unreadable,
    /// JSON, but no object.
    NoObject,
    /// A whole number of more than 64 bits became a float on the way: what was written is lost.
    Unknowable,
    Read(Vec<Value>, Counts, Told),
}

/// The members of an object, all of them, in order.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, serde_json::Value)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// What one value is to its feature; `None` where the twin cannot know.
fn judged(feature: &Feature, value: &serde_json::Value) -> Option<Result<Value, Rule>> {
    let numeric = matches!(feature.kind(), FeatureKind::Numeric { .. });
    Some(match value {
        serde_json::Value::Null => Ok(Value::Missing),
        serde_json::Value::Number(number) if numeric => {
            let magnitude = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            let float = number.as_f64().unwrap();
            match magnitude {
                Some(magnitude) if magnitude > EXACT_INTEGERS => Err(Rule::OutOfRange),
                None if float.abs() >= 9.2e18 => return None,
                _ => Ok(Value::Number(float)),
            }
        }
        serde_json::Value::String(text) if !numeric => {
            match (feature.levels().iter().position(|level| level == text), feature.kind()) {
                (Some(index), _) => Ok(Value::Level(LevelId::new(index).unwrap())),
                (None, FeatureKind::Categorical { unlisted: Unlisted::Other, .. }) => {
                    Ok(Value::Level(LevelId::OTHER))
                }
                (None, _) => Err(Rule::InvalidCategory),
            }
        }
        _ => Err(if numeric { Rule::NotANumber } else { Rule::NotAString }),
    })
}

fn twin(schema: &FeatureSchema, json: &[u8]) -> Twin {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    match serde_json::from_slice(json) {
        Ok(serde_json::Value::Object(_)) => {}
        Ok(_) => return Twin::NoObject,
        Err(_) => return Twin::Unreadable,
    }
    let mut source = serde_json::Deserializer::from_slice(json);
    let members = source.deserialize_map(Members).unwrap();
    let (mut values, mut told) = (Vec::new(), Told::new());
    for feature in schema.features() {
        let mut tell = |rule| {
            told.push((rule, feature.name().to_owned()));
            Value::Invalid
        };
        let mut sent = members.iter().filter(|(name, _)| name == feature.name());
        let first = match sent.next().map(|(_, value)| judged(feature, value)) {
            None => tell(Rule::MissingFeature),
            Some(None) => return Twin::Unknowable,
            Some(Some(judged)) => judged.unwrap_or_else(&mut tell),
        };
        values.push(sent.fold(first, |_, _| tell(Rule::DuplicateFeature)));
    }
    let mut counts = Counts::new();
    for (rule, name) in &told {
        *counts.entry((Some(name.clone()), *rule)).or_default() += 1;
    }
    let mut unknown = HashSet::new();
    let known = |name: &str| schema.features().iter().any(|feature| feature.name() == name);
    for (name, _) in members.iter().filter(|(name, _)| !known(name)) {
        let rule = if unknown.insert(name) { Rule::UnknownFeature } else { Rule::DuplicateFeature };
        *counts.entry((None, rule)).or_default() += 1;
    }
    Twin::Read(values, counts, told)
}

fn counts(schema: &FeatureSchema, out: &Violations) -> Counts {
    let name = |id| schema.get(id).unwrap().name().to_owned();
    out.counts().map(|(id, rule, count)| ((id.map(name), rule), count)).collect()
}

fn agrees_with_twin(schema: &FeatureSchema, json: &[u8]) -> Result<(), TestCaseError> {
    let mut out = Violations::new();
    let decoded = decode_row(schema, json, &mut out);

    // The way through a larger document takes no shortcuts.
    let (mut row, mut told) = (Row::missing(schema), Violations::new());
    let mut decoder = Decoder::new(schema, &mut row, &mut told);
    let plain = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let mut source = serde_json::Deserializer::from_slice(plain);
    let read = decoder.seed().deserialize(&mut source).and_then(|()| source.end());
    let read = read.map_err(|error| decoder.explain(&error)).map(|()| bits(&row));
    prop_assert_eq!(decoded.as_ref().map(bits).map_err(Clone::clone), read);
    prop_assert_eq!(&out, &told);

    match (decoded, twin(schema, json)) {
        (Err(_), Twin::Unreadable | Twin::NoObject) | (_, Twin::Unknowable) => {}
        (Err(error), Twin::Read(..)) => prop_assert!(false, "only the twin could read it: {error}"),
        // The twin gives up on what a violation can name: 1e400, a lone surrogate, deep nesting.
        (Ok(_), Twin::Unreadable) => prop_assert!(!out.is_valid()),
        (Ok(_), Twin::NoObject) => prop_assert!(false, "this is no object"),
        (Ok(row), Twin::Read(values, expected, told)) => {
            prop_assert_eq!(bits(&row), values.iter().map(bits_of).collect::<Vec<_>>());
            prop_assert_eq!(counts(schema, &out), expected);
            let errors = out.errors().map(|error| (error.rule(), error.feature().to_owned()));
            let known = |error: &(Rule, String)| schema.id(&error.1).is_some();
            prop_assert_eq!(errors.filter(known).collect::<Told>(), told);
        }
    }
    Ok(())
}

fn bits_of(value: &Value) -> (Value, Option<u64>) {
    match value {
        Value::Number(number) => (Value::Number(*number), Some(number.to_bits())),
        other => (*other, None),
    }
}

fn bits(row: &Row) -> Vec<(Value, Option<u64>)> {
    row.values().iter().map(bits_of).collect()
}

/// A violation without the row it stands in.
fn told(violation: &Violation) -> (Rule, &str, Option<&str>, &str) {
    (violation.rule(), violation.feature(), violation.value(), violation.message())
}

// ---------------------------------------------------------------------------------------------
// The laws
// ---------------------------------------------------------------------------------------------

proptest! {
    #[test]
    fn a_schema_survives_both_files(schema in schema()) {
        let from_toml = FeatureSchema::from_toml(&schema.to_toml()).unwrap();
        let from_json = FeatureSchema::from_json(&schema.to_json()).unwrap();
        for read in [from_toml, from_json] {
            prop_assert_eq!(&read, &*schema);
            prop_assert_eq!(read.fingerprint(), schema.fingerprint());
        }
    }

    #[test]
    fn a_file_that_is_no_schema_is_an_error_and_no_panic(
        schema in schema(),
        edits in proptest::collection::vec((any::<Index>(), 0_usize..6, meaningful()), 1..4),
    ) {
        let toml = String::from_utf8_lossy(&edited(&schema.to_toml(), edits.clone())).into_owned();
        let json = String::from_utf8_lossy(&edited(&schema.to_json(), edits)).into_owned();
        for read in [FeatureSchema::from_toml(&toml), FeatureSchema::from_json(&json)] {
            let expected = matches!(read, Ok(_) | Err(SchemaError::Text { .. }));
            prop_assert!(expected);
        }
    }

    #[test]
    fn a_row_survives_json_bit_for_bit((schema, row) in schema_and_row()) {
        let mut out = Violations::new();
        let json = row.to_json(&schema);
        let decoded = decode_row(&schema, json.as_bytes(), &mut out).unwrap();
        prop_assert!(out.is_clean(), "{json}: {:?}", out.errors().next());
        prop_assert_eq!(bits(&decoded), bits(&row));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        schema in schema(),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        parts in proptest::collection::vec(meaningful(), 0..30),
    ) {
        agrees_with_twin(&schema, &bytes)?;
        agrees_with_twin(&schema, &parts.concat())?;
        agrees_with_twin(&schema, &[b"{", &parts.concat()[..], b"}"].concat())?;
    }

    #[test]
    fn the_decoder_agrees_with_its_slow_twin(
        (schema, row) in schema_and_row(),
        edits in proptest::collection::vec((any::<Index>(), 0_usize..6, meaningful()), 0..4),
    ) {
        agrees_with_twin(&schema, &edited(&row.to_json(&schema), edits))?;
    }

    #[test]
    fn members_in_any_order_and_number_are_read_as_by_the_twin(
        (schema, row) in schema_and_row(),
        order in proptest::collection::vec(any::<Index>(), 0..12),
        spaces in select(vec!["", " ", "\n\t", "\r\n  ", "\u{b}", "\u{a0}"]),
        number in prop_oneof![
            "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?",
            "-?[0-9]{1,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?",
            finite().prop_map(|number| number.to_string()),
            finite().prop_map(|number| format!("{number:e}")),
        ],
    ) {
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let members: Vec<String> = serde_json::from_str::<serde_json::Map<_, _>>(&row.to_json(&schema))
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{}{spaces}:{spaces}{value}", text(name)))
            .collect();
        let several: Vec<&str> = order.iter().map(|index| members[index.index(members.len())].as_str()).collect();
        agrees_with_twin(&schema, format!("{{{}}}", several.join(&format!("{spaces},"))).as_bytes())?;
        let backwards: Vec<&str> = members.iter().rev().map(String::as_str).collect();
        agrees_with_twin(&schema, format!("{spaces}{{{spaces}{}}}{spaces}", backwards.join(",")).as_bytes())?;
        for feature in schema.features() {
            let one = FeatureSchema::new([feature.clone()]).unwrap();
            agrees_with_twin(&one, format!("{{{}:{number}}}", text(feature.name())).as_bytes())?;
        }
    }

    #[test]
    fn the_documented_request_is_read_as_by_the_twin_whatever_happens_to_it(
        edits in proptest::collection::vec(
            (any::<Index>(), 0_usize..12, prop_oneof![Just(Vec::new()), meaningful()]),
            0..3,
        ),
    ) {
        let schema = FeatureSchema::from_toml(include_str!("../examples/telco_schema.toml")).unwrap();
        let json = include_str!("../benches/support/request.json").trim_end();
        agrees_with_twin(&schema, &edited(json, edits))?;
    }

    #[test]
    fn values_of_any_type_are_judged_as_by_the_twin(
        schema in schema(),
        values in proptest::collection::vec(
            select(vec![
                "null", "true", "5", "5.0", "5.5", "-0.0", "1e-400", "1e400", "9007199254740992",
                "9007199254740993", "\"5\"", "\"\"", "\"\\u0000\"", "\"\\ud800\"", "[]", "[1,[2]]",
                "{}", "{\"a\":{\"b\":null}}", "1180591620717411303424", "1e20",
            ]),
            8,
        ),
    ) {
        let members: Vec<String> = schema.features().iter().zip(values)
            .map(|(feature, value)| {
                format!("{}:{value}", serde_json::Value::from(feature.name()))
            })
            .collect();
        agrees_with_twin(&schema, format!("{{{}}}", members.join(",")).as_bytes())?;
    }

    #[test]
    fn a_table_reads_like_its_rows(
        schema in schema(),
        cells in proptest::collection::vec(
            proptest::collection::vec(
                (0_u8..6, finite(), any::<Index>(),
                 select(vec!["", " ", "NA", "x", "1,5", "9007199254740993", "1e400", "inf"])),
                8,
            ),
            0..6,
        ),
    ) {
        let text = |feature: &Feature, (choice, number, index, odd): &(u8, f64, Index, &str)| {
            match (choice, feature.levels().len()) {
                (0, _) => (*odd).to_owned(),
                (_, 0) => format!("{number:e}"),
                (_, levels) => feature.levels()[index.index(levels)].clone(),
            }
        };
        let rows: Vec<Vec<String>> = cells
            .iter()
            .map(|cells| schema.features().iter().zip(cells).map(|(f, c)| text(f, c)).collect())
            .collect();
        let table = Table::from_rows(schema.features().iter().map(Feature::name), &rows).unwrap();
        let (mut by_column, mut by_row) = (Violations::new(), Violations::new());
        let columns = Columns::from_table(&schema, &table, &mut by_column).unwrap();
        let validator = SchemaValidator::new(Arc::clone(&schema));
        validator.validate_batch(&columns.batch(), &mut by_column);

        let mut pushed = Columns::new(Arc::clone(&schema));
        for (index, cells) in rows.iter().enumerate() {
            let member = |(feature, cell): (&Feature, &String)| {
                let listed = feature.levels().contains(cell);
                let number = feature.levels().is_empty()
                    && serde_json::from_str::<&serde_json::value::RawValue>(cell).is_ok();
                let value = match cell {
                    cell if !listed && Table::is_null(cell) => "null".to_owned(),
                    cell if number => cell.clone(),
                    cell => serde_json::Value::from(cell.as_str()).to_string(),
                };
                format!("{}:{value}", serde_json::Value::from(feature.name()))
            };
            let members: Vec<String> = schema.features().iter().zip(cells).map(member).collect();
            let json = format!("{{{}}}", members.join(","));
            let row = decode_row(&schema, json.as_bytes(), &mut by_row).unwrap();
            validator.validate(&row, &mut by_row);
            prop_assert_eq!(bits(&columns.row(index)), bits(&row));
            prop_assert_eq!(bits(&columns.batch().row(index)), bits(&row));
            pushed.push(&row);
            prop_assert_eq!(bits(&pushed.row(index)), bits(&row));
        }
        prop_assert_eq!(counts(&schema, &by_column), counts(&schema, &by_row));
        prop_assert_eq!(Columns::read(&schema, &table).is_err(), {
            let mut out = Violations::new();
            Columns::from_table(&schema, &table, &mut out).unwrap();
            !out.is_valid()
        });

        let backwards: Vec<usize> = (0..columns.rows()).rev().collect();
        let selected = columns.select(&backwards);
        for (to, from) in backwards.iter().enumerate() {
            prop_assert_eq!(bits(&selected.row(to)), bits(&columns.row(*from)));
        }
        if columns.rows() > 0 {
            let of_table = Columns::from_table(&schema, &table.select(&backwards), &mut by_row);
            prop_assert_eq!(of_table.unwrap(), selected);
        }
    }

    #[test]
    fn counts_are_exact_beyond_what_is_kept(
        (schema, rows) in schema().prop_flat_map(|schema| {
            let rows = proptest::collection::vec(row(&schema), 0..20);
            (Just(schema), rows)
        }),
        limit in 0_usize..5,
    ) {
        let mut columns = Columns::new(Arc::clone(&schema));
        rows.iter().for_each(|row| columns.push(row));
        let validator = SchemaValidator::new(Arc::clone(&schema));
        let (mut all, mut few) = (Violations::with_limit(usize::MAX), Violations::with_limit(limit));
        validator.validate_batch(&columns.batch(), &mut all);
        validator.validate_batch(&columns.batch(), &mut few);
        prop_assert_eq!(all.error_count(), all.errors().len() as u64);
        prop_assert!(all.counts().eq(few.counts()));
        prop_assert_eq!(few.errors().len(), limit.min(all.errors().len()));
        prop_assert_eq!(few.is_valid(), all.is_valid());
    }

    #[test]
    fn one_row_is_judged_like_a_batch_of_one((schema, row) in schema_and_row()) {
        let validator = SchemaValidator::new(Arc::clone(&schema));
        let mut columns = Columns::new(Arc::clone(&schema));
        columns.push(&row);
        let (mut alone, mut batch) = (Violations::new(), Violations::new());
        validator.validate(&row, &mut alone);
        validator.validate_batch(&columns.batch(), &mut batch);
        prop_assert!(alone.errors().map(told).eq(batch.errors().map(told)));
        prop_assert!(alone.errors().all(|violation| violation.row().is_none()));
        prop_assert!(batch.errors().all(|violation| violation.row() == Some(0)));
        prop_assert!(alone.counts().eq(batch.counts()));
    }

    #[test]
    fn counts_are_a_monoid(traffic in traffic(), cuts in proptest::collection::vec(any::<Index>(), 2)) {
        let (profile, shards, whole) = counted(&traffic, &cuts);
        let [a, b, c] = &shards[..] else { panic!("two cuts make three shards") };
        let nothing = Traffic::empty(&profile);
        // The neutral element changes no bit, from either side.
        prop_assert_eq!(&sum(a, [&nothing]), a);
        prop_assert_eq!(&sum(&nothing, [a]), a);
        prop_assert_eq!(exact(&sum(a, [b])), exact(&sum(b, [a])));
        prop_assert_eq!(exact(&sum(&sum(a, [b]), [c])), exact(&sum(a, [&sum(b, [c])])));
        prop_assert_eq!(exact(&sum(a, [b, c])), exact(&whole));
        prop_assert_eq!(exact(&sum(c, [a, b])), exact(&whole));
    }

    #[test]
    fn any_number_of_shards_is_one_pass(
        traffic in traffic(), cuts in proptest::collection::vec(any::<Index>(), 0..9),
    ) {
        let (profile, shards, whole) = counted(&traffic, &cuts);
        let total = sum(&Traffic::empty(&profile), &shards);
        prop_assert_eq!(exact(&total), exact(&whole));
        // What is concluded from them is the same, to the last bit.
        let detector = DriftDetector::default().all_metrics();
        let metrics = |counts: &Traffic| -> Vec<_> {
            detector.detect(&profile, counts).features.into_iter().map(|f| (f.name, f.metrics)).collect()
        };
        prop_assert_eq!(metrics(&total), metrics(&whole));
    }

    #[test]
    fn the_order_of_rows_does_not_matter(
        (traffic, order) in traffic().prop_flat_map(|traffic| {
            let order: Vec<usize> = (0..traffic.1.len()).collect();
            (Just(traffic), Just(order).prop_shuffle())
        }),
    ) {
        let (schema, rows, scores) = &traffic;
        let shuffled: Vec<Row> = order.iter().map(|at| rows[*at].clone()).collect();
        let shuffled_scores: Vec<f64> = order.iter().map(|at| scores[*at]).collect();
        let (profile, _, whole) = counted(&traffic, &[]);
        let batch = columns(schema, &shuffled);
        let again = Traffic::of(&profile, &batch.batch(), Some(&shuffled_scores)).unwrap();
        prop_assert_eq!(exact(&again), exact(&whole));

        let fit = |rows: &[Row], scores: &[f64]| -> Vec<(Binning, Vec<u64>)> {
            let columns = columns(schema, rows);
            let profile = ProfileOptions::new().scores(scores).fit(&columns.batch()).unwrap();
            profile.columns().map(|c| (c.binning().clone(), c.counts().to_vec())).collect()
        };
        prop_assert_eq!(fit(rows, scores), fit(&shuffled, &shuffled_scores));
    }

    #[test]
    fn what_drift_stores_survives_bit_for_bit(traffic in traffic(), bins in 2_usize..40) {
        let (profile, _, whole) = counted(&traffic, &[]);
        round_trip(&profile)?;
        round_trip(&whole)?;
        let mut settings = DriftSettings::default();
        settings.min_rows = 1;
        let report = DriftDetector::new(settings).unwrap().all_metrics().detect(&profile, &whole);
        round_trip::<DriftReport>(&report)?;

        let (schema, rows, scores) = &traffic;
        let options = ProfileOptions::new().strategy(BinningStrategy::Uniform { bins }).scores(scores);
        let uniform = options.fit(&columns(schema, rows).batch()).unwrap();
        round_trip(&uniform)?;
        let read: Profile = serde_json::from_str(&serde_json::to_string(&uniform).unwrap()).unwrap();
        prop_assert_eq!(read.fingerprint(), uniform.fingerprint());
    }

    #[test]
    fn what_drift_stores_is_read_or_refused_whatever_happened_to_it(
        traffic in traffic(),
        edits in proptest::collection::vec((any::<Index>(), 0_usize..6, meaningful()), 1..4),
    ) {
        let (profile, _, whole) = counted(&traffic, &[]);
        let (schema, rows, scores) = &traffic;
        let detector = DriftDetector::default().all_metrics();
        let report = detector.detect(&profile, &whole);
        let changed = |json: String| edited(&json, edits.clone());
        if let Ok(read) =
            serde_json::from_slice::<Profile>(&changed(serde_json::to_string(&profile).unwrap()))
        {
            round_trip(&read)?;
            let _ = detector.detect(&read, &whole);
            if read.check_schema(schema).is_ok() {
                rows.iter().zip(scores).for_each(|(row, score)| drop(read.encode(row, *score)));
                let again = Traffic::of(&read, &columns(schema, rows).batch(), Some(scores)).unwrap();
                let _ = detector.detect(&read, &again);
            }
        }
        if let Ok(mut read) =
            serde_json::from_slice::<Traffic>(&changed(serde_json::to_string(&whole).unwrap()))
        {
            let _ = detector.detect(&profile, &read);
            let _ = read.merge(&whole);
        }
        if let Ok(read) =
            serde_json::from_slice::<DriftReport>(&changed(serde_json::to_string(&report).unwrap()))
        {
            let _ = read.to_string();
        }
    }

    #[test]
    fn numbers_of_every_size_survive_bit_for_bit(
        values in proptest::collection::vec(finite(), 0..20),
        observed in proptest::option::of(finite()), limit in finite(), passed in any::<bool>(),
        scores in proptest::collection::vec(0.0..=1.0_f64, 1..30),
        flips in any::<u32>(),
    ) {
        let mut moments = Moments::default();
        values.iter().for_each(|x| moments.observe(*x));
        round_trip(&moments)?;
        let reason = Reason::new("roc_auc", passed, "because").observed(observed).limit(limit);
        round_trip(&Decision::new(passed, vec![reason]))?;
        let labels: Vec<f64> =
            (0..scores.len()).map(|at| f64::from(u8::from(flips >> (at % 32) & 1 == 1))).collect();
        round_trip(&Evaluation::of(Task::binary(), &scores, &labels).unwrap())?;
        round_trip::<Prediction>(&Task::binary().prediction(scores[0]).unwrap())?;
    }

    #[test]
    fn moments_are_a_monoid(
        a in proptest::collection::vec(-1e6..1e6_f64, 0..20),
        b in proptest::collection::vec(-1e6..1e6_f64, 0..20),
        c in proptest::collection::vec(-1e6..1e6_f64, 0..20),
    ) {
        let of = |values: &[f64]| {
            let mut moments = Moments::default();
            values.iter().for_each(|x| moments.observe(*x));
            moments
        };
        let sum = |a: &Moments, b: &Moments| {
            let mut sum = *a;
            sum.merge(b);
            sum
        };
        let close = |a: &Moments, b: &Moments| {
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * 1e6,
                (a, b) => a == b,
            };
            a.count() == b.count() && close(a.mean(), b.mean()) && close(a.std(), b.std())
        };
        let whole = of(&[&a[..], &b, &c].concat());
        let (a, b, c) = (of(&a), of(&b), of(&c));
        prop_assert_eq!(&sum(&a, &Moments::default()), &a);
        prop_assert_eq!(&sum(&Moments::default(), &a), &a);
        prop_assert!(close(&sum(&a, &b), &sum(&b, &a)));
        prop_assert!(close(&sum(&sum(&a, &b), &c), &sum(&a, &sum(&b, &c))));
        prop_assert!(close(&sum(&sum(&a, &b), &c), &whole));
    }

    #[test]
    fn any_bytes_are_a_csv_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        parts in proptest::collection::vec(
            select(vec!["a", "b", ",", "\"", "\n", "\r", "é", " ", "1", ";", "\u{feff}", "\0"]),
            0..60,
        ),
    ) {
        let reader = pmmds::csv::Reader::new();
        let _ = reader.read(&bytes[..]);
        let _ = reader.read(parts.concat().as_bytes());
    }

    #[test]
    fn a_table_survives_csv(
        names in proptest::collection::hash_set("[a-z]{1,5}", 2..4),
        texts in proptest::collection::vec(any::<String>(), 0..30),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let texts: Vec<String> = texts.into_iter().map(|text| text.replace('\0', "")).collect();
        let rows: Vec<&[String]> = texts.chunks_exact(names.len()).collect();
        let line = |cells: &[String]| {
            let quoted: Vec<String> =
                cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            quoted.join(",") + "\r\n"
        };
        let file = line(&names) + &rows.iter().map(|row| line(row)).collect::<String>();
        let reader = pmmds::csv::Reader::new().space(pmmds::csv::Space::Keep);
        let table = reader.read(file.as_bytes()).unwrap();
        prop_assert_eq!(table, Table::from_rows(&names, rows.iter().map(|row| row.iter())).unwrap());
    }

    #[test]
    fn a_proposed_schema_accepts_its_table(
        cells in proptest::collection::vec(
            select(vec!["", "NA", "0", "1", "2", "-7", "2.5", "1e3", "007", "x", "y z", "1,5"]), 3..60,
        ),
    ) {
        let rows = cells.chunks_exact(3).map(|row| row.to_vec());
        let table = Table::from_rows(["a", "b", "c"], rows).unwrap();
        if let Ok(inferred) = FeatureSchema::infer(&table).build() {
            let columns = Columns::read(inferred.schema(), &table).unwrap();
            let mut out = Violations::new();
            SchemaValidator::new(Arc::clone(inferred.schema()))
                .validate_batch(&columns.batch(), &mut out);
            prop_assert!(out.is_clean(), "{inferred} {:?}", out.errors().next());
        }
    }
}
