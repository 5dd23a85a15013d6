//! The feature schema as JSON Schema.

use serde_json::Value;
use utoipa::Number;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use super::super::request::MOST_UNKNOWN;
use crate::schema::{Feature, FeatureKind, FeatureSchema, Unlisted};

/// The object of features that a request carries.
pub(super) fn object(schema: &FeatureSchema) -> Object {
    let mut object = ObjectBuilder::new()
        .description(Some(format!(
            "The features of one row, schema {}. Features that are not listed here are answered \
             with a warning.",
            schema.fingerprint().short()
        )))
        .max_properties(Some(schema.len() + MOST_UNKNOWN))
        .examples([example(schema)]);
    for feature in schema.features() {
        object = object.property(feature.name(), property(feature)).required(feature.name());
    }
    object.build()
}

/// A row that validates.
pub(super) fn example(schema: &FeatureSchema) -> Value {
    let values = schema.features().iter().map(|f| (f.name().to_owned(), example_of(f)));
    Value::Object(values.collect())
}

fn property(feature: &Feature) -> Object {
    let types = |kind: Type| -> SchemaType {
        if feature.is_nullable() { [kind, Type::Null].into_iter().collect() } else { kind.into() }
    };
    let object = ObjectBuilder::new().examples([example_of(feature)]);
    if let FeatureKind::Numeric { min, max, integer } = feature.kind() {
        return object
            .schema_type(types(if *integer { Type::Integer } else { Type::Number }))
            .minimum(min.map(number))
            .maximum(max.map(number))
            .build();
    }
    let object = object.schema_type(types(Type::String));
    let levels = feature.levels();
    if matches!(feature.kind(), FeatureKind::Categorical { unlisted: Unlisted::Other, .. }) {
        return object.description(Some(format!("Usually one of: {}", levels.join(", ")))).build();
    }
    let levels = levels.iter().map(|level| Value::from(level.as_str()));
    let null = feature.is_nullable().then_some(Value::Null);
    object.enum_values(Some(levels.chain(null))).build()
}

/// A value that validates, the middle of what is allowed.
fn example_of(feature: &Feature) -> Value {
    let FeatureKind::Numeric { min, max, integer } = feature.kind() else {
        return feature.levels().first().map_or(Value::Null, |level| Value::from(level.as_str()));
    };
    let middle = match (*min, *max) {
        (Some(min), Some(max)) => f64::midpoint(min, max),
        (Some(bound), None) | (None, Some(bound)) => bound,
        (None, None) => 1.0,
    };
    let fits = |x: &f64| min.is_none_or(|min| *x >= min) && max.is_none_or(|max| *x <= max);
    let whole = [middle.round(), middle.floor(), middle.ceil()];
    let whole = whole.into_iter().find(fits).filter(|_| *integer);
    whole.map_or_else(|| Value::from(middle), value)
}

/// A whole number without its `.0`.
fn value(x: f64) -> Value {
    format!("{x:.0}").parse::<i64>().map_or_else(|_| Value::from(x), Value::from)
}

fn number(bound: f64) -> Number {
    let whole = format!("{bound:.0}").parse::<isize>().ok().filter(|_| bound.fract().abs() <= 0.0);
    whole.map_or(Number::Float(bound), Number::Int)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::decode_row;
    use crate::validate::{FeatureValidator, SchemaValidator, Violations};

    #[test]
    fn the_example_validates_whatever_the_schema() {
        let schema = FeatureSchema::new([
            Feature::integer("flag").range(0.0, 1.0),
            Feature::integer("below").range(-7.5, -6.5),
            Feature::integer("large").range(0.0, 1e15),
            Feature::numeric("share").range(0.25, 0.5),
            Feature::numeric("any").nullable(),
            Feature::categorical("a \"name\"/~", ["x"]).nullable(),
            Feature::categorical("open", ["x"]).unlisted(Unlisted::Other),
        ])
        .unwrap();
        let mut out = Violations::new();
        let json = example(&schema).to_string();
        let row = decode_row(&schema, json.as_bytes(), &mut out).unwrap();
        SchemaValidator::new(schema).validate(&row, &mut out);
        assert!(out.is_clean(), "{json}: {out:?}");
    }

    #[test]
    fn what_is_allowed_stands_in_the_schema() {
        let schema = FeatureSchema::new([
            Feature::integer("tenure").range(0.0, 100.0),
            Feature::categorical("contract", ["Monthly", "Yearly"]).nullable(),
        ])
        .unwrap();
        let json = serde_json::to_value(object(&schema)).unwrap();
        assert_eq!(json["required"], serde_json::json!(["tenure", "contract"]));
        let tenure = &json["properties"]["tenure"];
        assert_eq!((&tenure["minimum"], &tenure["maximum"]), (&0.into(), &100.into()));
        assert_eq!(tenure["type"], "integer");
        let contract = &json["properties"]["contract"];
        assert_eq!(contract["type"], serde_json::json!(["string", "null"]));
        assert_eq!(contract["enum"], serde_json::json!(["Monthly", "Yearly", null]));
    }
}
