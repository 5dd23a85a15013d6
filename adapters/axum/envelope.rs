//! What every answer has: a request id, a span, a bound on time, an error that can be read.

use std::sync::Arc;

use ::axum::extract::{MatchedPath, Request, State as Shared};
use ::axum::http::{HeaderName, HeaderValue, StatusCode};
use ::axum::middleware::Next;
use ::axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use super::problem::{Problem, Wanted, method_not_allowed};
use super::state::State;

/// Longest request id that is taken over.
const ID_BYTES: usize = 128;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether an id is one that may be repeated in headers and logs.
fn is_plain(id: &HeaderValue) -> bool {
    let allowed = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

/// The outermost middleware of every route; errors have the shape given, or the one that the client
/// asks for.
pub(super) async fn envelope(
    Shared((state, shape)): Shared<(State, Option<Wanted>)>,
    request: Request,
    next: Next,
) -> Response {
    let id = request.headers().get(X_REQUEST_ID).filter(|id| is_plain(id)).cloned();
    let id = id.unwrap_or_else(|| {
        let id = state.clock.id(state.clock.now()).to_string();
        // A UUID is hexadecimal digits and hyphens.
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
    });
    let wanted = shape.unwrap_or_else(|| Wanted::by(request.headers()));
    let began = state.clock.elapsed();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("?", MatchedPath::as_str);
    let counts = state.metrics.requests.route(route);
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route,
        x_request_id = id.to_str().unwrap_or("-"),
    );
    let answer = tokio::time::timeout(state.limits.request_timeout, next.run(request));
    let mut response = answer.instrument(span).await.unwrap_or_else(|_| {
        let message = "The request took too long";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).into_response()
    });
    let mut problem = response.extensions_mut().remove::<Arc<Problem>>();
    if problem.is_none() && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        problem = Some(Arc::new(method_not_allowed()));
    }
    if let Some(problem) = problem {
        state.metrics.problem(&problem);
        problem.render(wanted, &mut response);
    }
    let took = state.clock.elapsed().saturating_sub(began);
    counts.observe(&method, response.status(), took);
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_repeated() {
        let plain = |text: &str| is_plain(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        assert!(plain("abc-123_X.y"));
        assert!(plain(&"a".repeat(128)));
        for bad in ["", "a b", "a\tb", "é", "<script>", &"a".repeat(129)] {
            assert!(!plain(bad), "{bad:?}");
        }
    }
}
