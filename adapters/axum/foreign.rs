//! Rows that come in the shapes of other servers, as the objects that a request of ours carries.
//!
//! Values are taken over as they stand in the body, so that the decoder judges them as it judges
//! our own.

use std::sync::Arc;
use std::time::Duration;

use ::axum::http::StatusCode;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::answer::{NOT_LOGGED_YET, Together};
use super::loaded::Loaded;
use super::origin::Origin;
use super::predict::INVALID;
use super::problem::{Detail, Problem};
use super::request::{PredictRequest, shown};
use super::rows::Read;
use super::state::State;
use crate::schema::{Feature, FeatureSchema};

/// Bytes of all names of columns, where those of the schema need no more.
const NAME_BYTES: usize = 64 << 10;

/// 400: the body is of another shape.
pub(super) fn malformed(why: impl Into<String>) -> Problem {
    Problem::invalid(INVALID, vec![Detail::new("", "malformed", why)], Vec::new())
}

/// One row as text.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// The row in which `values` have these names.
    pub(super) fn of_values<'n>(
        names: impl IntoIterator<Item = &'n str>,
        values: &[&RawValue],
    ) -> Self {
        let mut row = Self::default();
        for (name, value) in names.into_iter().zip(values) {
            row.push(name, value);
        }
        row
    }

    /// The row in which `values` stand in the order of the schema.
    pub(super) fn of_list(schema: &FeatureSchema, values: &[&RawValue]) -> Self {
        Self::of_values(schema.features().iter().map(Feature::name), values)
    }

    /// An object of features as it was sent.
    pub(super) fn of_object(object: &str) -> Self {
        let inside = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        Self(inside.unwrap_or_default().to_owned())
    }

    pub(super) fn push(&mut self, name: &str, value: &RawValue) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        // A text is always JSON.
        self.0.push_str(&serde_json::to_string(name).unwrap_or_default());
        self.0.push(':');
        self.0.push_str(value.get());
    }
}

/// A name as it is repeated to its sender.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", shown(name))
}

/// Refuses names that together are longer than any that could be meant: each row repeats them.
pub(super) fn check_names<'n>(
    schema: &FeatureSchema,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), Problem> {
    // As they are written; a text is always JSON.
    let bytes = |name: &str| serde_json::to_string(name).map_or(0, |text| text.len());
    let own: usize = schema.features().iter().map(|feature| bytes(feature.name())).sum();
    let most = NAME_BYTES.max(2 * own);
    let mut sum = 0;
    for name in names {
        sum += bytes(name);
        if sum > most {
            return Err(malformed(format!(
                "the names of all columns are longer than {most} bytes"
            )));
        }
    }
    Ok(())
}

/// A column of values.
pub(super) struct Column<'a> {
    pub(super) name: String,
    pub(super) values: Vec<&'a RawValue>,
}

/// The rows of columns, which must be of one length.
pub(super) fn of_columns(
    schema: &FeatureSchema,
    columns: &[Column<'_>],
) -> Result<Vec<Text>, Problem> {
    let rows = columns.first().map_or(0, |column| column.values.len());
    if let Some(other) = columns.iter().find(|column| column.values.len() != rows) {
        let (first, have) = (quoted(&columns[0].name), other.values.len());
        let other = quoted(&other.name);
        return Err(malformed(format!("{first} has {rows} values, {other} has {have}")));
    }
    check_names(schema, columns.iter().map(|column| column.name.as_str()))?;
    let row = |at: usize| {
        let mut row = Text::default();
        columns.iter().for_each(|column| row.push(&column.name, column.values[at]));
        row
    };
    Ok((0..rows).map(row).collect())
}

/// Validates rows, each with its id if it has one.
pub(super) fn read(model: &Loaded, rows: Vec<(Option<Uuid>, Text)>) -> Vec<Read> {
    let read = |(at, (request_id, Text(inside))): (usize, (Option<Uuid>, Text))| -> Read {
        let text = format!("{{{inside}}}");
        let mut row = PredictRequest::read_flat(&model.model, &text, format!("row {at}"));
        row.request_id = request_id;
        Ok((row, None))
    };
    rows.into_iter().enumerate().map(read).collect()
}

/// What a row was answered, read back from the answer that is remembered of it.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub(super) struct Predicted {
    pub(super) request_id: Uuid,
    pub(super) prediction: serde_json::Number,
    pub(super) probability: Option<serde_json::Number>,
    pub(super) warnings: Vec<String>,
}

impl State {
    /// Predicts for all rows or for none, as a batch of ours.
    ///
    /// # Errors
    ///
    /// As there; but rows without an id of the client's cannot be asked for again, so that it is not
    /// told to when their commit takes too long.
    pub(super) async fn predict_foreign(
        &self,
        model: &Arc<Loaded>,
        origin: Origin,
        rows: Vec<Read>,
        began: Duration,
    ) -> Result<Vec<Predicted>, Problem> {
        let named = |row: &Read| row.as_ref().is_ok_and(|(row, _)| row.request_id.is_some());
        let named = rows.iter().all(named);
        let replies = self.answer_rows(model, origin, rows, began, Together::Whole).await;
        let replies = replies.map_err(|problem| match problem.code() {
            NOT_LOGGED_YET if !named => {
                let message = "The predictions are not in the log yet, and will be; the same rows                                sent again are a new request";
                Problem::new(StatusCode::GATEWAY_TIMEOUT, NOT_LOGGED_YET, message)
            }
            _ => problem,
        })?;
        let read = |reply: Result<super::answer::Reply, Problem>| {
            serde_json::from_slice(&reply?.body).map_err(|error| {
                tracing::error!(%error, "an answer cannot be read back");
                Problem::internal("internal", "There is no answer")
            })
        };
        replies.into_iter().map(read).collect()
    }
}
