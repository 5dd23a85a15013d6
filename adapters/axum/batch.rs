//! `POST /api/v1/predict/batch`

use std::sync::Arc;

use ::axum::body::Body;
use ::axum::extract::rejection::QueryRejection;
use ::axum::extract::{Query, State as Shared};
use ::axum::http::HeaderMap;
use ::axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::origin::Origin;
use super::problem::Problem;
use super::request::{Object, PredictRequest};
use super::rows::{self, Options, Read};
use super::state::State;

/// Each row is the features, or a request as for a single prediction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    #[serde(borrow)]
    instances: &'a RawValue,
}

pub(super) async fn predict(
    Shared(state): Shared<State>,
    query: Result<Query<Options>, QueryRejection>,
    origin: Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let together = rows::together(query)?;
    let (body, _large) = state.rows_body(&headers, body).await?;
    let _place = state.admit()?;
    // The one version that all rows see.
    let model = state.model()?;
    let began = state.clock.elapsed();
    let reading = Arc::clone(&model);
    let read = state.read_rows(body, move |text, most| {
        let Object(Sent { instances }) =
            serde_json::from_str(text).map_err(|why| rows::not_json(&why))?;
        let rows = rows::elements(instances, most, "instances")?.into_iter().enumerate();
        let read = |(at, row): (usize, &RawValue)| -> Read {
            let at = format!("/instances/{at}");
            Ok((PredictRequest::read_row(&reading.model, row.get(), at), None))
        };
        Ok(rows.map(read).collect())
    });
    let rows: Vec<Read> = read.await?;
    let replies = state.answer_rows(&model, origin, rows, began, together).await?;
    Ok(rows::results(&model, &replies, state.clock.elapsed().saturating_sub(began)))
}
