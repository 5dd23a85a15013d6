//! The span of a request without the feature `otel`: no request is a part of a trace.

use ::axum::extract::Request;
use ::axum::http::{HeaderMap, HeaderValue, StatusCode};
use tracing::Span;

use crate::log::CorrelationId;

/// Nothing, in the shape that the feature has.
pub(super) struct Trace;

impl Trace {
    pub(super) fn of(_: &HeaderMap) -> Self {
        Self
    }

    pub(super) fn correlation_id(&self) -> Option<CorrelationId> {
        None
    }

    /// The span of `request`, which is answered as `id`.
    pub(super) fn span(&mut self, request: &Request, route: &str, id: &HeaderValue) -> Span {
        let id = id.to_str().unwrap_or("-");
        tracing::info_span!("request", method = %request.method(), route, x_request_id = id)
    }

    pub(super) fn answered(self, _: StatusCode, _: Option<&'static str>) {}
}
