//! What goes wrong, as an answer.

use std::sync::Arc;
use std::time::Duration;

use ::axum::body::Body;
use ::axum::http::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::options::RejectedValues;
use crate::validate::Violation;
use crate::{Error, ErrorKind};

/// The media type of RFC 9457.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Detail {
    /// where, as a JSON pointer into the body
    pub(super) pointer: String,
    /// stable name of the rule
    pub(super) code: &'static str,
    /// one sentence
    pub(super) message: String,
}

impl Detail {
    pub(super) fn new(
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// A broken rule of the schema, for features that stand at `at`.
    pub(super) fn of(violation: &Violation, at: &str, values: RejectedValues) -> Self {
        let pointer = format!("{at}/{}", escaped(violation.feature()));
        let message = match values {
            RejectedValues::Show => violation.message().into(),
            RejectedValues::Hide => violation.message_without_value(),
        };
        Self::new(pointer, violation.rule().code(), message)
    }
}

/// One part of a JSON pointer.
pub(super) fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// An answer that is no success, before it is known how the client wants to read it.
///
/// As a response it is empty and carries itself as an extension; the
/// [envelope](super::envelope) writes it out as the `Accept` header asks.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    // stable
    code: &'static str,
    message: String,
    errors: Vec<Detail>,
    warnings: Vec<String>,
    request_id: Option<uuid::Uuid>,
    // the job that is in the way
    job_id: Option<uuid::Uuid>,
    retry_after: Option<Duration>,
    closes: bool,
}

#[cfg(any(feature = "oip", feature = "mlflow-scoring"))]
impl Inner {
    /// Everything in one line, for who reads no lists; of many errors the first.
    fn sentence(&self) -> String {
        const MOST: usize = 20;
        let Self { message, errors, request_id, .. } = self;
        let one = |Detail { pointer, message, .. }: &Detail| match pointer.as_str() {
            "" => message.clone(),
            at => format!("{at}: {message}"),
        };
        let mut all: Vec<String> = errors.iter().take(MOST).map(one).collect();
        if errors.len() > MOST {
            all.push(format!("... and {} more", errors.len() - MOST));
        }
        match (request_id, all.is_empty()) {
            (Some(id), true) => format!("{message} (request_id {id})"),
            (None, true) => message.clone(),
            (_, false) => format!("{message}: {}", all.join("; ")),
        }
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            message: message.into(),
            errors: Vec::new(),
            warnings: Vec::new(),
            request_id: None,
            job_id: None,
            retry_after: None,
            closes: false,
        }))
    }

    /// 400 with everything that is wrong with the body.
    pub(super) fn invalid(message: &str, errors: Vec<Detail>, warnings: Vec<String>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "validation_failed", message);
        (problem.0.errors, problem.0.warnings) = (errors, warnings);
        problem
    }

    /// Everything that is wrong, and the problem itself where nothing is told apart.
    pub(super) fn details(&self) -> Vec<Detail> {
        let Inner { code, message, errors, request_id, .. } = &*self.0;
        if !errors.is_empty() {
            return errors.clone();
        }
        let of = request_id.map_or_else(String::new, |id| format!(" (request_id {id})"));
        vec![Detail::new("", code, format!("{message}{of}"))]
    }

    pub(super) fn with_details(mut self, errors: Vec<Detail>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Bytes of its texts.
    pub(super) fn weight(&self) -> usize {
        let Inner { message, errors, warnings, .. } = &*self.0;
        let detail = |detail: &Detail| detail.pointer.len() + detail.message.len();
        message.len()
            + errors.iter().map(detail).sum::<usize>()
            + warnings.iter().map(String::len).sum::<usize>()
    }

    /// As it stands in the answer for many rows.
    pub(super) fn of_row(&self) -> RowProblem<'_> {
        let Inner { status, code, message, errors, warnings, request_id, .. } = &*self.0;
        RowProblem {
            status: status.as_u16(),
            code,
            message,
            request_id: *request_id,
            errors,
            warnings,
        }
    }

    /// 503: not now, but soon.
    pub(super) fn busy(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(1)
    }

    /// 500 with nothing that the client need not know; the cause goes to the log.
    pub(super) fn internal(code: &'static str, message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message)
    }

    /// The log could not do what was asked.
    pub(super) fn of_log(error: &Error) -> Self {
        tracing::error!(error = error.chain(), "the log failed");
        match error.kind() {
            ErrorKind::InvalidInput => {
                Self::new(StatusCode::BAD_REQUEST, "refused_by_log", "The log refused it")
            }
            _ => Self::busy("log_unavailable", "The log cannot be reached"),
        }
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(Duration::from_secs(seconds));
        self
    }

    /// Names the request, so that it can be sent again under the same id.
    pub(super) fn of_request(mut self, id: uuid::Uuid) -> Self {
        self.0.request_id = Some(id);
        self
    }

    /// Names the job that is in the way.
    pub(super) fn of_job(mut self, id: uuid::Uuid) -> Self {
        self.0.job_id = Some(id);
        self
    }

    /// Whether it is a failure of ours, so that the same may go well another time.
    pub(super) fn is_ours(&self) -> bool {
        self.0.status.is_server_error()
    }

    /// Stable name of what is wrong.
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The connection cannot be used again: its next bytes would be the rest of this body.
    pub(super) fn closing(mut self) -> Self {
        self.0.closes = true;
        self
    }

    /// Writes it as the client wants it.
    pub(super) fn render(&self, accept: Wanted, into: &mut Response) {
        let inner = &*self.0;
        let (content_type, json) = match accept {
            Wanted::Plain => ("application/json", serde_json::to_vec(&Plain::of(inner))),
            Wanted::Problem => (PROBLEM_JSON, serde_json::to_vec(&Rfc9457::of(inner))),
            #[cfg(feature = "oip")]
            Wanted::OpenInference => {
                let error = serde_json::json!({ "error": inner.sentence() });
                ("application/json", serde_json::to_vec(&error))
            }
            #[cfg(feature = "mlflow-scoring")]
            Wanted::Mlflow => {
                let code = match inner.status {
                    StatusCode::NOT_FOUND => "RESOURCE_DOES_NOT_EXIST",
                    StatusCode::SERVICE_UNAVAILABLE => "TEMPORARILY_UNAVAILABLE",
                    status if status.is_server_error() => "INTERNAL_ERROR",
                    _ => "BAD_REQUEST",
                };
                let error = serde_json::json!({ "error_code": code, "message": inner.sentence() });
                ("application/json", serde_json::to_vec(&error))
            }
        };
        let headers = into.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(after) = inner.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if inner.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if inner.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"pmmds\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        // Texts and numbers: there is nothing that JSON could refuse.
        *into.body_mut() = Body::from(json.unwrap_or_default());
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The two shapes of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `{"detail": ...}`
    Plain,
    /// RFC 9457
    Problem,
    /// `{"error": "..."}`
    #[cfg(feature = "oip")]
    OpenInference,
    /// `{"error_code": "...", "message": "..."}`
    #[cfg(feature = "mlflow-scoring")]
    Mlflow,
}

impl Wanted {
    /// What the `Accept` headers ask for.
    pub(super) fn by(headers: &HeaderMap) -> Self {
        let names = |value: &HeaderValue| {
            value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains(PROBLEM_JSON))
        };
        if headers.get_all(ACCEPT).iter().any(names) { Self::Problem } else { Self::Plain }
    }
}

#[derive(Serialize)]
struct Plain<'a> {
    detail: PlainDetail<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PlainDetail<'a> {
    // The shape of the original, to the letter.
    Invalid {
        message: &'a str,
        errors: Vec<&'a str>,
        warnings: &'a [String],
    },
    Other {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<uuid::Uuid>,
        #[serde(skip_serializing_if = "Option::is_none")]
        job_id: Option<uuid::Uuid>,
    },
}

impl<'a> Plain<'a> {
    fn of(inner: &'a Inner) -> Self {
        let Inner { code, message, errors, warnings, request_id, job_id, .. } = inner;
        let detail = if errors.is_empty() {
            PlainDetail::Other { code, message, request_id: *request_id, job_id: *job_id }
        } else {
            let errors = errors.iter().map(|detail| detail.message.as_str()).collect();
            PlainDetail::Invalid { message, errors, warnings }
        };
        Self { detail }
    }
}

/// What is wrong with one row of many, with the status that it would have had by itself.
#[derive(Debug, Serialize)]
pub(super) struct RowProblem<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<uuid::Uuid>,
    errors: &'a [Detail],
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Rfc9457<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<uuid::Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<uuid::Uuid>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Detail],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

impl<'a> Rfc9457<'a> {
    fn of(inner: &'a Inner) -> Self {
        Self {
            r#type: "about:blank",
            title: inner.status.canonical_reason().unwrap_or("Error"),
            status: inner.status.as_u16(),
            code: inner.code,
            detail: &inner.message,
            request_id: inner.request_id,
            job_id: inner.job_id,
            errors: &inner.errors,
            warnings: &inner.warnings,
        }
    }
}

/// 405; the router has said in `Allow` which methods there are. It is no fallback of the router:
/// then admin and ops could not both have methods of one route.
pub(super) fn method_not_allowed() -> Problem {
    let message = "This method is not allowed here";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// 404.
pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here")
}

/// 500 for a panic in a handler or a model.
pub(super) fn panicked(payload: Box<dyn std::any::Any + Send>) -> Response {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let text: String = text.chars().take(200).collect();
    tracing::error!(panic = ?text, "a request panicked");
    Problem::internal("internal", "Something went wrong here, and it is in the log").into_response()
}
