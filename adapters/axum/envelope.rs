//! What every answer has: a request id, a span, a bound on time, an error that can be read.

use std::sync::Arc;

use ::axum::extract::{MatchedPath, Request, State as Shared};
use ::axum::http::{HeaderName, StatusCode};
use ::axum::middleware::Next;
use ::axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use super::origin::Origin;
#[cfg(feature = "otel")]
use super::otel::Trace;
use super::problem::{Problem, Wanted, method_not_allowed};
use super::state::State;
#[cfg(not(feature = "otel"))]
use super::untraced::Trace;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The route of a request that has none.
pub(super) const NO_ROUTE: &str = "?";

/// The outermost middleware of every route; errors have the shape given, or the one that the client
/// asks for.
pub(super) async fn envelope(
    Shared((state, shape)): Shared<(State, Option<Wanted>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut trace = Trace::of(request.headers());
    let sent = request.headers().get(X_REQUEST_ID);
    let (origin, id) = Origin::of(sent, trace.correlation_id(), &state);
    origin.tell(&mut request);
    let wanted = shape.unwrap_or_else(|| Wanted::by(request.headers()));
    let began = state.clock.elapsed();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str);
    let counts = state.metrics.requests.route(route);
    let span = trace.span(&request, route, &id);
    let answer = tokio::time::timeout(state.limits.request_timeout, next.run(request));
    let mut response = answer.instrument(span).await.unwrap_or_else(|_| {
        let message = "The request took too long";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).into_response()
    });
    let mut problem = response.extensions_mut().remove::<Arc<Problem>>();
    if problem.is_none() && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        problem = Some(Arc::new(method_not_allowed()));
    }
    if let Some(problem) = &problem {
        state.metrics.problem(problem);
        problem.render(wanted, &mut response);
    }
    trace.answered(response.status(), problem.as_ref().map(|problem| problem.code()));
    let took = state.clock.elapsed().saturating_sub(began);
    counts.observe(&method, response.status(), took);
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}
