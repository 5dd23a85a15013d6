//! `POST /api/v1/predict`

use std::sync::Arc;

use ::axum::body::{Body, Bytes};
use ::axum::extract::State as Shared;
use ::axum::http::HeaderMap;
use ::axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use ::axum::response::{IntoResponse, Response};

use super::answer::{Asked, Reply, Together, answer};
use super::loaded::Loaded;
use super::origin::Origin;
use super::problem::Problem;
use super::request::PredictRequest;
use super::state::{Inner, State};

/// The message of every 400 of this route, as the original had it.
pub(super) const INVALID: &str = "Inference payload validation failed";

/// Marks an answer that was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

pub(super) async fn predict(
    Shared(state): Shared<State>,
    origin: Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = state.json_body(&headers, body).await?;
    let _place = state.admit()?;
    // The one version that this request sees.
    let model = state.model()?;
    let began = state.clock.elapsed();
    let request = PredictRequest::read(&model.model, &body);
    drop(body);
    let asked = state.valid(&model, request).inspect_err(|problem| {
        tracing::info!(errors = problem.details().len(), "a request was refused");
    })?;
    let read = state.clock.elapsed().saturating_sub(began);
    if !asked.warnings.is_empty() {
        let (request_id, warnings) = (asked.request_id, &asked.warnings);
        tracing::warn!(?request_id, ?warnings, "a request has unknown features");
    }
    let mut replies = answer(&state, &model, origin, vec![asked], read, Together::Apart).await?;
    // One row, one reply.
    let nothing = || Err(Problem::internal("internal", "There is no answer"));
    let Reply { body, replayed } = replies.pop().unwrap_or_else(nothing)?;
    let mut response = json(body);
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

impl Inner {
    /// The row of a request, if nothing is wrong with it; what is refused is counted.
    pub(super) fn valid(
        &self,
        model: &Arc<Loaded>,
        request: PredictRequest,
    ) -> Result<Asked, Problem> {
        let warnings = request.all_warnings();
        if request.is_valid() {
            let PredictRequest { request_id, row, .. } = request;
            return Ok(Asked { request_id, row, warnings, given: None });
        }
        if request.is_ours {
            self.queue.push_rejected(model, &request.violations);
        }
        Err(Problem::invalid(INVALID, request.details(self.rejected_values), warnings))
    }
}

pub(super) fn json(body: impl Into<Bytes>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], body.into()).into_response()
}
