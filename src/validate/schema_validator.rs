//! The validator that follows from a schema.

use std::sync::Arc;

use super::violation::shown;
use super::{FeatureValidator, Rule, Violation, Violations};
use crate::record::{Batch, Column, Row, Value};
use crate::schema::{Feature, FeatureKind, FeatureSchema, LevelId, Unlisted};

/// Largest magnitude up to which an `f64` holds every whole number exactly: 2^53.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// Checks ranges, whole numbers, levels and nulls by the schema.
///
/// See the [module page](super) for an example.
///
/// ```
/// use pmmds::record::Row;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::{FeatureValidator, Rule, SchemaValidator, Violations};
/// let validator = SchemaValidator::new(FeatureSchema::new([Feature::numeric("x")])?);
/// let mut out = Violations::new();
/// validator.validate(&Row::missing(validator.schema()), &mut out);
/// assert_eq!(out.count(Rule::Null), 1);
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SchemaValidator {
    schema: Arc<FeatureSchema>,
}

impl SchemaValidator {
    /// The validator of `schema`.
    pub fn new(schema: impl Into<Arc<FeatureSchema>>) -> Self {
        Self { schema: schema.into() }
    }
}

/// The rule that `number` breaks.
fn broken_by_number(feature: &Feature, number: f64) -> Option<Rule> {
    let FeatureKind::Numeric { min, max, integer } = feature.kind() else {
        return Some(Rule::NotAString);
    };
    if number.is_nan() {
        return (!feature.is_nullable()).then_some(Rule::Null);
    }
    if *integer && number.is_finite() && !is_whole(number) {
        return Some(Rule::NotAnInteger);
    }
    let inside = number.is_finite()
        && min.is_none_or(|min| number >= min)
        && max.is_none_or(|max| number <= max)
        && (!*integer || number.abs() <= EXACT_INTEGERS);
    (!inside).then_some(Rule::OutOfRange)
}

/// Whether the finite `number` has no fraction.
fn is_whole(number: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is what is asked for")]
    #[expect(clippy::cast_precision_loss, reason = "up to 2^53 nothing is lost")]
    let whole = number as i64 as f64;
    // Beyond 2^53 there are no fractions.
    number.abs() >= EXACT_INTEGERS || (number - whole).abs() <= 0.0
}

/// Whether no number of a column breaks a rule, nor is missing: one comparison after the other,
/// without a way out, so that several are made at once.
fn all_within(feature: &Feature, numbers: &[f64]) -> bool {
    let FeatureKind::Numeric { min, max, integer } = feature.kind() else { return false };
    let widest = if *integer { EXACT_INTEGERS } else { f64::MAX };
    let least = min.map_or(-widest, |min| min.max(-widest));
    let most = max.map_or(widest, |max| max.min(widest));
    numbers.iter().fold(true, |all, number| all & (*number >= least) & (*number <= most))
        && (!*integer || numbers.iter().all(|number| is_whole(*number)))
}

/// Whether every level of a column is one that the schema lists.
fn all_listed(feature: &Feature, levels: &[LevelId]) -> bool {
    let Some(last) = feature.levels().len().checked_sub(1).and_then(LevelId::new) else {
        return false;
    };
    levels.iter().fold(true, |all, level| all & (*level <= last))
}

/// The rule that `level` breaks.
fn broken_by_level(feature: &Feature, level: LevelId) -> Option<Rule> {
    let FeatureKind::Categorical { levels, unlisted } = feature.kind() else {
        return Some(Rule::NotANumber);
    };
    match level.index() {
        Some(index) if index < levels.len() => None,
        None if level == LevelId::MISSING => (!feature.is_nullable()).then_some(Rule::Null),
        None if *unlisted == Unlisted::Other => None,
        _ => Some(Rule::InvalidCategory),
    }
}

fn violation(rule: Rule, feature: &Feature, value: Value) -> Violation {
    match value {
        Value::Number(number) if !number.is_nan() => {
            Violation::of(rule, feature, Some(&shown(number)))
        }
        Value::Level(level) if level != LevelId::MISSING => {
            let text = level.index().and_then(|index| feature.levels().get(index));
            match text {
                Some(text) => Violation::of(rule, feature, Some(&format_args!("'{text}'"))),
                None => Violation::of(rule, feature, Some(&"a value outside the levels")),
            }
        }
        _ if rule == Rule::MissingFeature => Violation::of(rule, feature, None),
        _ => Violation::of(rule, feature, Some(&"null")),
    }
}

impl FeatureValidator for SchemaValidator {
    fn schema(&self) -> &FeatureSchema {
        &self.schema
    }

    fn validate(&self, row: &Row, out: &mut Violations) {
        for (id, feature) in self.schema.ids().zip(self.schema.features()) {
            let value = row.values().get(id.index());
            let broken = match value {
                // A row of another schema.
                None => Some(Rule::MissingFeature),
                Some(Value::Invalid) => None,
                Some(Value::Missing) => (!feature.is_nullable()).then_some(Rule::Null),
                Some(Value::Number(number)) => broken_by_number(feature, *number),
                Some(Value::Level(level)) => broken_by_level(feature, *level),
            };
            if let Some(rule) = broken {
                let value = value.copied().unwrap_or(Value::Missing);
                out.push(Some(id), || violation(rule, feature, value), rule);
            }
        }
        if !out.is_clean() {
            out.sort_by_schema(&self.schema);
        }
    }

    fn validate_batch(&self, batch: &Batch<'_>, out: &mut Violations) {
        for (id, feature) in self.schema.ids().zip(self.schema.features()) {
            let mut report = |row: usize, rule: Rule, value: Value| {
                if !batch.is_refused(id, row) {
                    out.push(Some(id), || violation(rule, feature, value).at_row(row), rule);
                }
            };
            match batch.columns().get(id.index()) {
                // Most columns are clean, and judged as a whole in a fraction of the time.
                Some(Column::Numbers(numbers)) if all_within(feature, numbers) => {}
                Some(Column::Levels(levels)) if all_listed(feature, levels) => {}
                Some(Column::Numbers(numbers)) => {
                    for (row, number) in numbers.iter().enumerate() {
                        if let Some(rule) = broken_by_number(feature, *number) {
                            report(row, rule, Value::Number(*number));
                        }
                    }
                }
                Some(Column::Levels(levels)) => {
                    for (row, level) in levels.iter().enumerate() {
                        if let Some(rule) = broken_by_level(feature, *level) {
                            report(row, rule, Value::Level(*level));
                        }
                    }
                }
                // A batch of another schema.
                None => {
                    for row in 0..batch.rows() {
                        report(row, Rule::MissingFeature, Value::Missing);
                    }
                }
            }
        }
        if !out.is_clean() {
            out.sort_by_schema(&self.schema);
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::record::decode_row;

    fn validator() -> SchemaValidator {
        SchemaValidator::new(
            FeatureSchema::new([
                Feature::integer("tenure").range(0.0, 100.0),
                Feature::numeric("charges").range(0.0, 200.0).nullable(),
                Feature::categorical("contract", ["Monthly", "Yearly"]),
            ])
            .unwrap(),
        )
    }

    fn messages(json: &str) -> Vec<String> {
        let validator = validator();
        let mut out = Violations::new();
        let row = decode_row(validator.schema(), json.as_bytes(), &mut out).unwrap();
        validator.validate(&row, &mut out);
        out.errors().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_row_is_clean() {
        assert!(messages(r#"{"tenure": 5.0, "charges": null, "contract": "Yearly"}"#).is_empty());
    }

    #[test]
    fn every_problem_is_told_in_schema_order_and_once() {
        assert_eq!(
            messages(r#"{"contract": "Annual", "charges": 200.5}"#),
            [
                "Missing required feature: tenure",
                "Invalid value for charges: 200.5. Must be a number between 0 and 200",
                "Invalid value for contract: 'Annual'. Expected one of: Monthly, Yearly",
            ]
        );
        assert_eq!(
            messages(r#"{"tenure": null, "charges": "5", "contract": 3}"#),
            [
                "Invalid value for tenure: null. Must be a number",
                "Invalid value for charges: '5'. Must be a number",
                "Invalid value for contract: 3. Expected one of: Monthly, Yearly",
            ]
        );
        assert_eq!(
            messages(r#"{"tenure": 5.5, "charges": true, "contract": ["Yearly"]}"#),
            [
                "Invalid value for tenure: 5.5. Must be an integer",
                "Invalid value for charges: true. Must be a number",
                "Invalid value for contract: an array. Expected one of: Monthly, Yearly",
            ]
        );
    }

    #[test]
    fn a_batch_names_the_rows() {
        let schema = FeatureSchema::new([Feature::numeric("x").range(0.0, 1.0)]).unwrap();
        let data = array![[0.5], [2.0], [f64::NAN], [f64::INFINITY]];
        let batch = Batch::from_array(&schema, data.view()).unwrap();
        let mut out = Violations::new();
        SchemaValidator::new(schema.clone()).validate_batch(&batch, &mut out);
        let messages: Vec<String> = out.errors().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "Row 1: Invalid value for x: 2. Must be a number between 0 and 1",
                "Row 2: Invalid value for x: null. Must be a number",
                "Row 3: Invalid value for x: inf. Must be a number between 0 and 1",
            ]
        );
    }

    #[test]
    fn bounds_are_inclusive_and_whole_numbers_end_at_2_to_the_53() {
        let broken = |feature: Feature, number: f64| broken_by_number(&feature, number);
        let tenure = || Feature::integer("x").range(0.0, 100.0);
        for (number, rule) in [
            (0.0, None),
            (-0.0, None),
            (100.0, None),
            (-1.0, Some(Rule::OutOfRange)),
            (101.0, Some(Rule::OutOfRange)),
            (0.5, Some(Rule::NotAnInteger)),
            (f64::INFINITY, Some(Rule::OutOfRange)),
            (f64::NAN, Some(Rule::Null)),
        ] {
            assert_eq!(broken(tenure(), number), rule, "{number}");
        }
        let open = || Feature::numeric("x").nullable();
        assert_eq!(broken(open(), f64::NAN), None);
        assert_eq!(broken(open(), f64::MAX), None);
        assert_eq!(broken(open(), f64::NEG_INFINITY), Some(Rule::OutOfRange));
        assert_eq!(broken(open().at_least(1.0), 1.0_f64.next_down()), Some(Rule::OutOfRange));
        assert_eq!(broken(open().at_most(1.0), 1.0_f64.next_up()), Some(Rule::OutOfRange));
        assert_eq!(broken(Feature::integer("x"), EXACT_INTEGERS), None);
        assert_eq!(broken(Feature::integer("x"), EXACT_INTEGERS + 2.0), Some(Rule::OutOfRange));
    }

    #[test]
    fn a_column_is_judged_like_its_cells() {
        let numbers = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN,
            0.0,
            -0.0,
            0.5,
            -0.5,
            1.0,
            100.0,
            100.5,
            101.0,
            -1.0,
            1e15 + 0.5,
            EXACT_INTEGERS - 0.5,
            EXACT_INTEGERS,
            EXACT_INTEGERS + 2.0,
            -EXACT_INTEGERS,
            -EXACT_INTEGERS - 2.0,
            1e300,
            f64::MIN_POSITIVE,
        ];
        let kinds = || [Feature::numeric("x"), Feature::integer("x")];
        let features = kinds()
            .into_iter()
            .chain(kinds().map(|feature| feature.range(0.0, 100.0)))
            .chain(kinds().map(|feature| feature.range(-1e300, 1e300)))
            .chain(kinds().map(|feature| feature.at_least(1.0)))
            .chain(kinds().map(|feature| feature.at_most(-0.5)));
        for feature in features {
            for number in numbers {
                let clean = broken_by_number(&feature, number).is_none();
                assert_eq!(all_within(&feature, &[number]), clean, "{feature:?} {number}");
                assert_eq!(
                    all_within(&feature, &[1.0, number]),
                    clean && all_within(&feature, &[1.0])
                );
            }
            // Left to the cells, which allow it.
            assert!(!all_within(&feature.nullable(), &[f64::NAN]));
        }
        for count in [1, 2, 253] {
            let feature = Feature::categorical("x", (0..count).map(|level| level.to_string()));
            for level in (0..256).filter_map(LevelId::new).chain([LevelId::OTHER, LevelId::MISSING])
            {
                let clean = broken_by_level(&feature, level).is_none();
                assert_eq!(all_listed(&feature, &[level]), clean, "{count} {level:?}");
            }
        }
        assert!(!all_listed(&Feature::numeric("x"), &[LevelId::MISSING]));
        assert!(!all_within(&Feature::categorical("x", ["a"]), &[1.0]));
    }

    #[test]
    fn what_is_of_another_schema_is_not_clean() {
        let one = FeatureSchema::new([Feature::integer("tenure")]).unwrap();
        let mut row = Row::missing(&one);
        row.set(one.id("tenure").unwrap(), Value::Number(5.0));
        let mut out = Violations::new();
        validator().validate(&row, &mut out);
        assert_eq!(out.count(Rule::MissingFeature), 2);

        let data = array![[5.0], [6.0]];
        let mut out = Violations::new();
        validator().validate_batch(&Batch::from_array(&one, data.view()).unwrap(), &mut out);
        assert_eq!(out.count(Rule::MissingFeature), 4);
    }

    #[test]
    fn extreme_numbers_are_shown_with_an_exponent() {
        let schema = FeatureSchema::new([Feature::numeric("x").range(0.0, 1e30)]).unwrap();
        for (number, shown) in [(-1e300, "-1e300"), (-1e-7, "-1e-7"), (-0.5, "-0.5")] {
            let mut row = Row::missing(&schema);
            row.set(schema.id("x").unwrap(), Value::Number(number));
            let mut out = Violations::new();
            SchemaValidator::new(schema.clone()).validate(&row, &mut out);
            assert_eq!(
                out.errors().next().unwrap().message(),
                format!("Invalid value for x: {shown}. Must be a number between 0 and 1e30")
            );
        }
    }

    #[test]
    fn a_sensitive_value_is_not_repeated() {
        let schema = FeatureSchema::new([Feature::categorical("iban", ["a"]).sensitive()]).unwrap();
        let mut out = Violations::new();
        decode_row(&schema, br#"{"iban": "DE00 1234"}"#, &mut out).unwrap();
        let error = out.errors().next().unwrap();
        assert_eq!(error.value(), None);
        assert!(!error.message().contains("1234"), "{}", error.message());
    }
}
