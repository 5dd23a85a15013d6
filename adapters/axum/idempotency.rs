//! `Idempotency-Key`: an admin request that is sent again is done once.
//!
//! As the IETF's draft has it: the same key with the same request gets the stored answer, with
//! another request 422, and 409 while the first is under way. Kept in memory, bounded by number and
//! bytes; answers of 500 and above are not kept, nor are those in which a row has such an error, so
//! that the client can try again. Rows are known then by their request ids.

use std::sync::Arc;

use ::axum::body::{Body, Bytes, to_bytes};
use ::axum::extract::{OriginalUri, Request, State as Shared};
use ::axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use ::axum::http::{HeaderMap, Method, StatusCode, request};
use ::axum::middleware::Next;
use ::axum::response::{IntoResponse, Response};
use tracing::Instrument as _;
use uuid::Uuid;

use super::predict::REPLAYED;
use super::problem::Problem;
use super::replay::{Claim, Outcome, Replay, Ticket};
use super::state::State;
use crate::schema::Fingerprint;

/// Answers that are remembered.
pub(super) const ENTRIES: usize = 1_000;
/// Bytes of all of them.
pub(super) const BYTES: usize = 4 << 20;

/// Longest key.
const KEY_BYTES: usize = 255;

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Marks an answer of many rows, with 200, in which we failed at some.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotKept;

/// An answer as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    location: Option<HeaderValue>,
    // in place of a body: the envelope writes it as the client that asks again wants it
    problem: Option<Arc<Problem>>,
    body: Bytes,
}

impl Kept {
    async fn of(response: Response) -> Option<Self> {
        let (parts, body) = response.into_parts();
        Some(Self {
            status: parts.status,
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
            location: parts.headers.get(LOCATION).cloned(),
            problem: parts.extensions.get::<Arc<Problem>>().cloned(),
            // Made here, and as long as we have made it.
            body: to_bytes(body, usize::MAX).await.ok()?,
        })
    }

    /// Bytes of the body, or of what it is written from.
    fn weight(&self) -> usize {
        self.body.len() + self.problem.as_ref().map_or(0, |problem| problem.weight())
    }

    fn response(self) -> Response {
        let Self { status, content_type, location, problem, body } = self;
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        for (name, value) in [(CONTENT_TYPE, content_type), (LOCATION, location)] {
            value.and_then(|value| headers.insert(name, value));
        }
        if let Some(problem) = problem {
            response.extensions_mut().insert(problem);
        }
        response
    }
}

/// The key of a request: printable ASCII, in quotes or not.
fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    let plain = key.bytes().all(|c| c.is_ascii_graphic() && c != b'"');
    if key.is_empty() || key.len() > KEY_BYTES || !plain || values.next().is_some() {
        let message = format!(
            "Idempotency-Key must be one text of 1 to {KEY_BYTES} printable ASCII characters"
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", message));
    }
    Ok(Some(key))
}

/// What a key belongs to: who sends it, and what.
fn fingerprints(key: &str, parts: &request::Parts, body: &[u8]) -> (Uuid, Fingerprint) {
    let hash = |pieces: &[&[u8]]| {
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend_from_slice(&(piece.len() as u64).to_le_bytes());
            bytes.extend_from_slice(piece);
        }
        Fingerprint::of_bytes(&bytes)
    };
    let header = |name| parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    let uri = uri.path_and_query().map_or("/", |target| target.as_str());
    let name = hash(&[key.as_bytes(), header(AUTHORIZATION)]);
    let mut id = [0; 16];
    id.copy_from_slice(&name.as_bytes()[..16]);
    let method = parts.method.as_str().as_bytes();
    let request = hash(&[method, uri.as_bytes(), header(CONTENT_TYPE), body]);
    (Uuid::from_bytes(id), request)
}

/// Gives up the key unless the answer was kept.
struct Claimed {
    answers: Arc<Replay<Kept>>,
    ticket: Arc<Ticket<Kept>>,
    kept: bool,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.kept {
            self.answers.abandon(&self.ticket);
        }
    }
}

/// The middleware of the admin routes, behind the guard.
pub(super) async fn once(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    match once_or(&state, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn once_or(state: &State, request: Request, next: Next) -> Result<Response, Problem> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let Some(key) = key(request.headers())?.map(str::to_owned) else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let body = state.whole_body(&parts.headers, body).await?;
    let (id, payload) = fingerprints(&key, &parts, &body);
    let ticket = match state.answers.claim(id, payload) {
        Claim::New(ticket) => ticket,
        Claim::Known(ticket) if ticket.payload() != payload => {
            let message = "This Idempotency-Key was used with another request";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::new(status, "idempotency_key_reused", message));
        }
        Claim::Known(ticket) => match ticket.known() {
            Some(Outcome::Answered(kept)) => {
                let mut response = kept.response();
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                return Ok(response);
            }
            _ => {
                let message = "The request with this Idempotency-Key is under way";
                let status = StatusCode::CONFLICT;
                return Err(
                    Problem::new(status, "idempotent_request_running", message).retry_after(1)
                );
            }
        },
    };
    let claimed = Claimed { answers: Arc::clone(&state.answers), ticket, kept: false };
    let request = Request::from_parts(parts, Body::from(body));
    // In a task of its own: what is begun is done and kept, also when the client goes away.
    let work = async move {
        let mut claimed = claimed;
        let response = next.run(request).await;
        let failed = response.extensions().get::<NotKept>().is_some();
        if failed || response.status().is_server_error() {
            return response;
        }
        let Some(kept) = Kept::of(response).await else {
            return Problem::internal("internal", "The answer could not be read").into_response();
        };
        claimed.answers.weigh(&claimed.ticket, kept.weight());
        claimed.ticket.answer(kept.clone());
        claimed.kept = true;
        kept.response()
    };
    super::joined(tokio::spawn(work.in_current_span())).await
}

#[cfg(test)]
mod tests {
    use super::super::problem::Detail;
    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        key(&headers).map(|key| key.map(str::to_owned))
    }

    #[tokio::test]
    async fn a_problem_weighs_what_its_texts_do() {
        let details = vec![Detail::new("/a", "b", "x".repeat(1_000)); 10];
        let problem = Problem::invalid("message", details, vec!["y".repeat(500)]);
        let kept = Kept::of(problem.into_response()).await.unwrap();
        assert_eq!((kept.body.len(), kept.weight()), (0, 7 + 10 * 1_002 + 500));
        let kept = Kept::of("four".into_response()).await.unwrap();
        assert_eq!(kept.weight(), 4);
    }

    #[test]
    fn a_key_is_printable_and_not_long() {
        assert_eq!(read(&[]).unwrap(), None);
        for good in [&b"8e03978e-40d5"[..], b"\"8e03978e-40d5\"", b" 8e03978e-40d5 "] {
            assert_eq!(read(&[good]).unwrap().as_deref(), Some("8e03978e-40d5"));
        }
        let long = [b'a'; KEY_BYTES + 1];
        for bad in [&b""[..], b"\"\"", b"a b", b"a\"b", b"\xff", b"a\tb", &long] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
        assert!(read(&[b"a", b"b"]).is_err(), "two");
    }
}
