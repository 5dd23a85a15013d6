//! MLflow's scoring protocol: what `mlflow models serve` answers, so that its clients work
//! unchanged.
//!
//! `POST /invocations` takes one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`
//! and answers `{"predictions": [...]}`, a record for each row as for a model that returns a data
//! frame: `prediction`, `probability` (of a classifier), and `request_id`, by which an outcome is
//! told. Rows are validated, logged and watched like those of `/api/v1/predict`, all or none.

use std::fmt;
use std::sync::Arc;

use ::axum::Json;
use ::axum::body::Body;
use ::axum::extract::State as Shared;
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::foreign::{self, Column, Predicted, Text, malformed};
use super::loaded::Loaded;
use super::origin::Origin;
use super::problem::Problem;
use super::request::Object;
use super::rows::{Elements, Read, elements, not_json, nothing};
use super::state::State;
use crate::schema::FeatureSchema;

/// The body: exactly one of the first four.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invocation<'a> {
    #[serde(borrow, default)]
    dataframe_split: Option<Object<Split<'a>>>,
    #[serde(borrow, default)]
    dataframe_records: Option<&'a RawValue>,
    #[serde(borrow, default)]
    instances: Option<&'a RawValue>,
    #[serde(borrow, default)]
    inputs: Option<&'a RawValue>,
    // of models that take some; none of ours does
    #[serde(default, rename = "params")]
    _params: IgnoredAny,
}

/// A data frame as pandas writes it with `orient="split"`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split<'a> {
    columns: Vec<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default, rename = "index")]
    _index: IgnoredAny,
}

#[derive(Serialize)]
struct Predictions<'a> {
    predictions: Vec<Record<'a>>,
}

#[derive(Serialize)]
struct Record<'a> {
    prediction: &'a serde_json::Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<&'a serde_json::Number>,
    request_id: Uuid,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

impl<'a> Record<'a> {
    fn of(one: &'a Predicted) -> Self {
        let Predicted { request_id, prediction, probability, warnings } = one;
        Self { prediction, probability: probability.as_ref(), request_id: *request_id, warnings }
    }
}

/// Whether predictions would be answered now; an empty answer either way.
pub(super) async fn ping(Shared(state): Shared<State>) -> (StatusCode, &'static str) {
    match state.trouble().await {
        None => (StatusCode::OK, "\n"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "\n"),
    }
}

/// The version of this service.
pub(super) async fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

pub(super) async fn invocations(
    Shared(state): Shared<State>,
    origin: Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (body, _large) = state.rows_body(&headers, body).await?;
    let _place = state.admit()?;
    let model = state.model()?;
    let began = state.clock.elapsed();
    let reading = Arc::clone(&model);
    let rows = state.read_rows(body, move |text, most| read(&reading, text, most)).await?;
    let predicted = state.predict_foreign(&model, origin, rows, began).await?;
    let predictions = predicted.iter().map(Record::of).collect();
    Ok(Json(Predictions { predictions }).into_response())
}

fn read(model: &Loaded, text: &str, most: usize) -> Result<Vec<Read>, Problem> {
    let Object(sent) =
        serde_json::from_str::<Object<Invocation<'_>>>(text).map_err(|why| not_json(&why))?;
    let schema = model.model.schema();
    let Invocation { dataframe_split, dataframe_records, instances, inputs, .. } = sent;
    let texts = match (dataframe_split, dataframe_records, instances, inputs) {
        (Some(Object(split)), None, None, None) => of_split(schema, &split, most)?,
        (None, Some(rows), None, None) => of_records(schema, rows, most, "dataframe_records")?,
        (None, None, Some(rows), None) => of_rows_or_columns(schema, rows, most, "instances")?,
        (None, None, None, Some(rows)) => of_rows_or_columns(schema, rows, most, "inputs")?,
        _ => {
            let why = "expected one of dataframe_split, dataframe_records, instances and inputs";
            return Err(malformed(why));
        }
    };
    Ok(foreign::read(model, texts.into_iter().map(|text| (None, text)).collect()))
}

fn of_split(schema: &FeatureSchema, split: &Split<'_>, most: usize) -> Result<Vec<Text>, Problem> {
    let columns = &split.columns;
    foreign::check_names(schema, columns.iter().map(String::as_str))?;
    let row = |row: &RawValue| {
        let values = values(row, columns.len())?;
        Ok(Text::of_values(columns.iter().map(String::as_str), &values))
    };
    elements(split.data, most, "data")?.into_iter().map(row).collect()
}

/// A list of rows, or an object of columns.
fn of_rows_or_columns(
    schema: &FeatureSchema,
    rows: &RawValue,
    most: usize,
    name: &'static str,
) -> Result<Vec<Text>, Problem> {
    if !rows.get().starts_with('{') {
        return of_records(schema, rows, most, name);
    }
    let Pairs(pairs) = serde_json::from_str(rows.get()).map_err(|why| not_json(&why))?;
    if pairs.is_empty() {
        return Err(nothing("columns"));
    }
    let mut columns = Vec::with_capacity(pairs.len());
    for (name, values) in pairs {
        columns.push(Column { name, values: elements(values, most, "values of a column")? });
    }
    foreign::of_columns(schema, &columns)
}

/// The values of a row, which has `want` of them.
fn values(row: &RawValue, want: usize) -> Result<Vec<&RawValue>, Problem> {
    let not = |why: &str| malformed(format!("a row must be a list of {want} values{why}"));
    let found = Elements::of(row, want).map_err(|_| not(""))?;
    match found.rows.len() {
        _ if found.more => Err(not(", there are more")),
        have if have == want => Ok(found.rows),
        have => Err(not(&format!(", there are {have}"))),
    }
}

/// The rows of a list of objects and of lists in the order of the schema.
fn of_records(
    schema: &FeatureSchema,
    list: &RawValue,
    most: usize,
    name: &'static str,
) -> Result<Vec<Text>, Problem> {
    let row = |row: &RawValue| match row.get().as_bytes().first() {
        Some(b'{') => Ok(Text::of_object(row.get())),
        Some(b'[') => Ok(Text::of_list(schema, &values(row, schema.len())?)),
        _ => Err(malformed("a row must be an object of features, or a list of their values")),
    };
    elements(list, most, name)?.into_iter().map(row).collect()
}

/// The pairs of an object, in their order, whatever is there twice.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(Each).map(Self)
    }
}
