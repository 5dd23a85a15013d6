//! What does one request cost on its way to a row, against the least that a JSON parser does?
//!
//! The documented request of 19 features is
//! * `ours`: decoded into a row that is there and validated: levels, ranges, nulls, duplicates;
//! * `ours/inside`: the same where the features stand inside a larger document, read in one pass;
//! * `ours/request`: the same in the body of a prediction request, as the service reads it: the
//!   fields round the features by `serde_json`, the features as they stand;
//! * `ours/request/seed`: that body in one pass, as the service reads what is odd;
//! * `plain/borrowed`: read by `serde_json` into a struct of `&str` and `f64`, the baseline;
//! * `plain/owned`: into one of `String` and `f64`;
//! * `plain/value`: into a `serde_json::Value`.
//!
//! None of the last three knows a level, a range or what is wrong with the rest.
//!
//! And the parts: `level` and `name` find the texts of the request among those of the schema,
//! `siphash` in hash maps of the standard library; `batch` validates 7,043 rows in columns.

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use pmmds::record::{Columns, Decoder, Row};
use pmmds::schema::FeatureSchema;
use pmmds::validate::{FeatureValidator, SchemaValidator, Violations};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use support::Limit;

const REQUEST: &str = include_str!("support/request.json");
const ID: &str = "0195f3a0-0000-7000-8000-00000000002a";
const ROWS: usize = 7_043;
/// Calls between two looks at the clock, where one call is too short.
const CALLS: u32 = 200;

macro_rules! plain {
    ($name:ident $(<$life:lifetime>)?, $text:ty) => {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "parsed, not looked at")]
        struct $name $(<$life>)? {
            gender: $text,
            senior_citizen: f64,
            partner: $text,
            dependents: $text,
            tenure: f64,
            contract: $text,
            paperless_billing: $text,
            payment_method: $text,
            monthly_charges: f64,
            total_charges: Option<f64>,
            phone_service: $text,
            multiple_lines: $text,
            internet_service: $text,
            online_security: $text,
            online_backup: $text,
            device_protection: $text,
            tech_support: $text,
            streaming_tv: $text,
            streaming_movies: $text,
        }
    };
}

plain!(Borrowed<'a>, &'a str);
plain!(Owned, String);

/// The body of a prediction request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow, default)]
    request_id: Option<&'a str>,
    #[serde(borrow)]
    features: &'a RawValue,
}

/// The same in one pass.
struct BodySeed<'d, 'a>(&'d mut Decoder<'a>);

impl<'de> Visitor<'de> for BodySeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "features" => map.next_value_seed(self.0.seed())?,
                _ => drop(map.next_value::<Option<&str>>()?),
            }
        }
        Ok(())
    }
}

type Map<'a, T> = HashMap<&'a str, T>;

fn main() {
    let schema = FeatureSchema::from_toml(include_str!("../examples/telco_schema.toml"));
    let schema = Arc::new(schema.expect("a valid schema"));
    let validator = SchemaValidator::new(Arc::clone(&schema));
    let json = REQUEST.as_bytes();

    let (mut row, mut out) = (Row::missing(&schema), Violations::new());
    let mut ours = || {
        out.clear();
        Decoder::new(&schema, &mut row, &mut out).decode(black_box(json)).expect("an object");
        validator.validate(&row, &mut out);
        assert!(out.is_clean());
    };
    let (mut row, mut out) = (Row::missing(&schema), Violations::new());
    let mut inside = || {
        out.clear();
        let mut decoder = Decoder::new(&schema, &mut row, &mut out);
        let mut source = serde_json::Deserializer::from_slice(black_box(json));
        decoder.seed().deserialize(&mut source).expect("an object");
        validator.validate(&row, &mut out);
        assert!(out.is_clean());
    };
    let body = format!(r#"{{"request_id": "{ID}", "features": {REQUEST}}}"#);
    let (mut row, mut out) = (Row::missing(&schema), Violations::new());
    let mut whole = || {
        out.clear();
        let body: Body<'_> = serde_json::from_str(black_box(&body)).expect("a request");
        black_box(body.request_id);
        let mut decoder = Decoder::new(&schema, &mut row, &mut out);
        decoder.decode(body.features.get().as_bytes()).expect("an object");
        validator.validate(&row, &mut out);
        assert!(out.is_clean());
    };
    let (mut row, mut out) = (Row::missing(&schema), Violations::new());
    let mut whole_seed = || {
        out.clear();
        let mut decoder = Decoder::new(&schema, &mut row, &mut out);
        let mut source = serde_json::Deserializer::from_str(black_box(&body));
        source.deserialize_map(BodySeed(&mut decoder)).expect("a request");
        validator.validate(&row, &mut out);
        assert!(out.is_clean());
    };
    let mut borrowed = || {
        black_box(serde_json::from_slice::<Borrowed<'_>>(black_box(json)).expect("an object"));
    };
    let mut owned = || {
        black_box(serde_json::from_slice::<Owned>(black_box(json)).expect("an object"));
    };
    let mut value = || {
        let read = serde_json::from_slice::<serde_json::Value>(black_box(json));
        black_box(read.expect("an object"));
    };

    // The texts of the request, each with its feature.
    let request: Map<'_, serde_json::Value> = serde_json::from_str(REQUEST).expect("an object");
    let texts: Vec<(usize, &str)> = schema
        .features()
        .iter()
        .enumerate()
        .filter_map(|(at, feature)| Some((at, request[feature.name()].as_str()?)))
        .collect();
    let levels: Vec<Map<'_, usize>> = schema
        .features()
        .iter()
        .map(|feature| feature.levels().iter().map(String::as_str).zip(0..).collect())
        .collect();
    let names: Map<'_, usize> =
        schema.features().iter().map(|feature| feature.name()).zip(0..).collect();
    let mut level = || {
        for (at, text) in black_box(&texts) {
            black_box(schema.features()[*at].level(text));
        }
    };
    let mut level_siphash = || {
        for (at, text) in black_box(&texts) {
            black_box(levels[*at].get(text));
        }
    };
    let asked: Vec<&str> = names.keys().copied().collect();
    let mut name = || {
        for text in black_box(&asked) {
            black_box(schema.id(text));
        }
    };
    let mut name_siphash = || {
        for text in black_box(&asked) {
            black_box(names.get(text));
        }
    };

    let mut columns = Columns::new(Arc::clone(&schema));
    let (mut row, mut out) = (Row::missing(&schema), Violations::new());
    Decoder::new(&schema, &mut row, &mut out).decode(json).expect("an object");
    (0..ROWS).for_each(|_| columns.push(&row));
    let mut batch = || {
        validator.validate_batch(black_box(&columns.batch()), &mut out);
        assert!(out.is_clean());
    };

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("decode_validate");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("ours", |bencher| bencher.iter(&mut ours));
    group.bench_function("ours/inside", |bencher| bencher.iter(&mut inside));
    group.bench_function("ours/request", |bencher| bencher.iter(&mut whole));
    group.bench_function("ours/request/seed", |bencher| bencher.iter(&mut whole_seed));
    group.bench_function("plain/borrowed", |bencher| bencher.iter(&mut borrowed));
    group.bench_function("plain/owned", |bencher| bencher.iter(&mut owned));
    group.bench_function("plain/value", |bencher| bencher.iter(&mut value));
    group.throughput(Throughput::Elements(texts.len() as u64));
    group.bench_function("level", |bencher| bencher.iter(&mut level));
    group.bench_function("level/siphash", |bencher| bencher.iter(&mut level_siphash));
    group.throughput(Throughput::Elements(asked.len() as u64));
    group.bench_function("name", |bencher| bencher.iter(&mut name));
    group.bench_function("name/siphash", |bencher| bencher.iter(&mut name_siphash));
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("batch", |bencher| bencher.iter(&mut batch));
    group.finish();
    criterion.final_summary();

    let [
        ours,
        inside,
        whole,
        whole_seed,
        borrowed,
        owned,
        value,
        level,
        level_siphash,
        name,
        name_siphash,
    ] = calls([
        &mut ours,
        &mut inside,
        &mut whole,
        &mut whole_seed,
        &mut borrowed,
        &mut owned,
        &mut value,
        &mut level,
        &mut level_siphash,
        &mut name,
        &mut name_siphash,
    ]);
    for (what, time) in [
        ("ours", ours),
        ("ours inside a document", inside),
        ("a request", whole),
        ("a request in one pass", whole_seed),
    ] {
        support::figure(what, time * 1e9, "ns", Limit::None);
        support::ratio(what, "plain/borrowed", time, borrowed, Limit::AtMost(2.0));
        support::ratio(what, "plain/owned", time, owned, Limit::None);
        support::ratio(what, "plain/value", time, value, Limit::None);
    }
    support::ratio("a request", "in one pass", whole, whole_seed, Limit::AtMost(1.0));
    for (what, ours, siphash, count) in
        [("level", level, level_siphash, texts.len()), ("name", name, name_siphash, asked.len())]
    {
        #[expect(clippy::cast_precision_loss, reason = "a few texts")]
        let each = 1e9 / count as f64;
        support::figure(what, ours * each, "ns a text", Limit::None);
        support::ratio(what, "siphash", ours, siphash, Limit::AtMost(0.5));
    }
    let [batch] = support::medians(300, [&mut batch]);
    support::figure("batch of 7,043 rows", batch * 1e6, "us", Limit::None);
}

/// Median seconds of one call of each.
fn calls<const N: usize>(mut bodies: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut many = bodies.each_mut().map(|body| move || (0..CALLS).for_each(|_| body()));
    let many = many.each_mut().map(|many| many as &mut dyn FnMut());
    support::medians(2_000, many).map(|seconds| seconds / f64::from(CALLS))
}
