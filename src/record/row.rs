//! One request's values, in schema order.

use crate::schema::{FeatureId, FeatureSchema, LevelId};

/// One value of a row.
///
/// ```
/// use pmmds::record::{Row, Value, decode_row};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::Violations;
/// let schema = FeatureSchema::new([
///     Feature::integer("tenure"),
///     Feature::numeric("charges").nullable(),
///     Feature::categorical("plan", ["basic", "gold"]),
/// ])?;
/// let json = br#"{"tenure": "twelve", "charges": null, "plan": "gold"}"#;
/// let row: Row = decode_row(&schema, json, &mut Violations::new())?;
/// let gold = schema.features()[2].level("gold");
/// assert_eq!(row.values(), [Value::Invalid, Value::Missing, Value::Level(gold)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Null, or an empty cell.
    Missing,
    /// A number; the decoder makes only finite ones, and NaN counts as missing.
    Number(f64),
    /// A level of the schema, or [`LevelId::OTHER`].
    Level(LevelId),
    /// What the decoder could not accept, and has reported.
    Invalid,
}

/// One request: a value for every feature of a schema, in its order.
///
/// ```
/// use pmmds::record::{Row, Value};
/// use pmmds::schema::{Feature, FeatureSchema, LevelId};
///
/// let schema = FeatureSchema::new([
///     Feature::integer("tenure"),
///     Feature::categorical("contract", ["Monthly", "Yearly"]),
/// ])?;
/// let mut row = Row::missing(&schema);
/// row.set(schema.id("tenure").unwrap(), Value::Number(12.0));
/// row.set(schema.id("contract").unwrap(), Value::Level(LevelId::new(1).unwrap()));
/// assert_eq!(row.values()[0], Value::Number(12.0));
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    // one per feature of the schema
    values: Box<[Value]>,
}

impl Row {
    /// A row of `schema` in which every value is missing.
    #[must_use]
    pub fn missing(schema: &FeatureSchema) -> Self {
        Self { values: vec![Value::Missing; schema.len()].into() }
    }

    pub(crate) fn from_values(values: Vec<Value>) -> Self {
        Self { values: values.into() }
    }

    /// Sets one value.
    ///
    /// # Panics
    ///
    /// When `id` belongs to another, larger schema.
    pub fn set(&mut self, id: FeatureId, value: Value) {
        self.values[id.index()] = value;
    }

    /// The values, one per feature, in schema order.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The row as a JSON object, which [`decode_row`](super::decode_row) reads back to the same
    /// row: numbers bit for bit, and a value outside the levels as some text outside the levels.
    ///
    /// ```
    /// use pmmds::record::{Row, Value};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = FeatureSchema::new([Feature::numeric("x"), Feature::categorical("y", ["a"])])?;
    /// let mut row = Row::missing(&schema);
    /// row.set(schema.id("x").unwrap(), Value::Number(0.1));
    /// assert_eq!(row.to_json(&schema), r#"{"x":0.1,"y":null}"#);
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    #[must_use]
    pub fn to_json(&self, schema: &FeatureSchema) -> String {
        let mut json = String::from("{");
        for (feature, value) in schema.features().iter().zip(&self.values) {
            let value = match value {
                Value::Number(number) => serde_json::Value::from(*number),
                Value::Level(level) => match level.index().and_then(|i| feature.levels().get(i)) {
                    Some(text) => serde_json::Value::from(text.as_str()),
                    None => serde_json::Value::from(text_outside(feature.levels())),
                },
                Value::Missing | Value::Invalid => serde_json::Value::Null,
            };
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&serde_json::Value::from(feature.name()).to_string());
            json.push(':');
            json.push_str(&value.to_string());
        }
        json.push('}');
        json
    }

    pub(crate) fn fill(&mut self, value: Value) {
        self.values.fill(value);
    }
}

/// Some text that is none of `levels`.
fn text_outside(levels: &[String]) -> String {
    let mut text = String::from("(other)");
    while levels.contains(&text) {
        text.insert(0, '(');
    }
    text
}
