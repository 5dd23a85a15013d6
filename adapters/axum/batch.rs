//! `POST /api/v1/predict/batch`

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
use super::rows::{List, Options};
use super::state::State;

/// Each row is the features, or a request as for a single prediction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    #[serde(borrow)]
    instances: &'a RawValue,
}

static INSTANCES: List = List {
    name: "instances",
    find: |text| serde_json::from_str(text).map(|Object(Sent { instances })| instances),
    read: |model, row, at| Ok((PredictRequest::read_row(&model.model, row.get(), at), None)),
};

pub(super) async fn predict(
    Shared(state): Shared<State>,
    query: Result<Query<Options>, QueryRejection>,
    origin: Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    INSTANCES.answer(&state, query, origin, &headers, body).await
}
