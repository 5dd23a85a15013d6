//! What a clean request costs in allocations: none, once the row is there.

use allocation_counter::measure;
use pmmds::record::{Decoder, Row};
use pmmds::schema::{Feature, FeatureSchema, Unlisted};
use pmmds::validate::{FeatureValidator, SchemaValidator, Violations};
use serde::de::DeserializeSeed;

const REQUEST: &str = include_str!("../benches/support/request.json");

fn telco() -> FeatureSchema {
    FeatureSchema::from_toml(include_str!("../examples/telco_schema.toml")).unwrap()
}

/// Allocations of decoding and validating `json`, and whether it is clean.
fn cost(schema: FeatureSchema, json: &str) -> (u64, bool) {
    let validator = SchemaValidator::new(schema);
    let (mut row, mut out) = (Row::missing(validator.schema()), Violations::new());
    let mut read = || {
        out.clear();
        Decoder::new(validator.schema(), &mut row, &mut out).decode(json.as_bytes()).unwrap();
        validator.validate(&row, &mut out);
    };
    let info = measure(&mut read);
    (info.count_total, out.is_clean())
}

#[test]
fn the_documented_request_allocates_nothing() {
    assert_eq!(cost(telco(), REQUEST), (0, true));
}

#[test]
fn neither_do_other_clean_ones() {
    let object = |members: &mut dyn DoubleEndedIterator<Item = String>| {
        format!("\u{feff} {{\r\n{} }}\n", members.collect::<Vec<_>>().join(" ,\n"))
    };
    let numbers = ["0", "-0.0", "1.25e-3", "0.30000000000000004", "70.350000000000000000000000001"];
    let text = |n: usize| format!("\"feature {n}\" : {}", numbers[n % numbers.len()]);
    let many = || FeatureSchema::new((0..1_000).map(|n| Feature::numeric(format!("feature {n}"))));
    assert_eq!(cost(many().unwrap(), &object(&mut (0..1_000).map(text))), (0, true));
    assert_eq!(cost(many().unwrap(), &object(&mut (0..1_000).map(text).rev())), (0, true));

    let plan = Feature::categorical("plan", ["müller", "gold"]).unlisted(Unlisted::Other);
    let schema = FeatureSchema::new([plan.nullable()]).unwrap();
    for plan in ["\"müller\"", "\"none of them: ü\"", "null"] {
        assert_eq!(cost(schema.clone(), &format!("{{\"plan\":{plan}}}")), (0, true), "{plan}");
    }
}

#[test]
fn features_inside_a_larger_document_allocate_nothing() {
    let validator = SchemaValidator::new(telco());
    let (mut row, mut out) = (Row::missing(validator.schema()), Violations::new());
    let info = measure(|| {
        let mut decoder = Decoder::new(validator.schema(), &mut row, &mut out);
        let mut source = serde_json::Deserializer::from_str(REQUEST);
        decoder.seed().deserialize(&mut source).unwrap();
        validator.validate(&row, &mut out);
    });
    assert_eq!((info.count_total, out.is_clean()), (0, true));
}

#[test]
fn what_is_reported_is_allocated() {
    for (from, to) in [("Male", "M"), ("\"gender\"", "\"g\""), ("12", "1200"), ("{", "{\"a\":1,")] {
        let (allocations, clean) = cost(telco(), &REQUEST.replacen(from, to, 1));
        assert!(allocations > 0 && !clean, "{to}");
    }
}
