//! One request and its answer: time, size, retries, and what an error means.

use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::options::Clock;
use super::{COMPONENT, tls};
use crate::{Error, ErrorKind};

/// Most bytes of an answer in JSON.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// Most bytes that are read of an error.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// How often a call that may be repeated is repeated, within its time.
const RETRIES: usize = 4;

/// Longest that a server may ask to wait for the next attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// MLflow answered, and said no.
    Refused(Refusal),
    /// Whatever else.
    Failed(Error),
}

/// MLflow's own error.
#[derive(Debug)]
pub(super) struct Refusal {
    what: String,
    status: StatusCode,
    code: String,
    message: String,
}

impl Failure {
    /// Whether MLflow says that the thing asked for is not there.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused(r)
            if r.status == StatusCode::NOT_FOUND && r.code == "RESOURCE_DOES_NOT_EXIST")
    }

    /// Whether MLflow says that it is there already.
    pub(super) fn is_there_already(&self) -> bool {
        matches!(self, Self::Refused(r)
            if r.status.is_client_error() && r.code == "RESOURCE_ALREADY_EXISTS")
    }

    /// Whether MLflow did not like a parameter: its word for an alias that is not there, too.
    pub(super) fn is_bad_parameter(&self) -> bool {
        matches!(self, Self::Refused(r)
            if r.status == StatusCode::BAD_REQUEST && r.code == "INVALID_PARAMETER_VALUE")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, status, code, message } = self;
        write!(f, "{what} was answered {} {code}: {message:?}", status.as_u16())
    }
}

impl From<Failure> for Error {
    /// Never `NotFound`: whoever knows what an absence means says so.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed(error) => error,
            Failure::Refused(refusal) => {
                let away = refusal.status.is_server_error()
                    || refusal.status == StatusCode::TOO_MANY_REQUESTS
                    || matches!(
                        refusal.code.as_str(),
                        "TEMPORARILY_UNAVAILABLE" | "REQUEST_LIMIT_EXCEEDED" | "INTERNAL_ERROR"
                    );
                let kind = if away { ErrorKind::Unavailable } else { ErrorKind::Other };
                Self::new(kind, COMPONENT, refusal.to_string())
            }
        }
    }
}

/// One attempt that led nowhere.
struct Attempt {
    failure: Failure,
    again: bool,
    after: Option<Duration>,
}

impl Attempt {
    fn last(error: Error) -> Self {
        Self { failure: Failure::Failed(error), again: false, after: None }
    }

    fn again(error: Error) -> Self {
        Self { again: true, ..Self::last(error) }
    }
}

/// Whether a call may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the same the second time.
    Harmless,
    /// The second time makes a second thing.
    Never,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Json,
    Bytes(u64),
}

struct Call<'a> {
    method: Method,
    // of plain parts
    path: String,
    query: &'a [(&'a str, &'a str)],
    body: Option<(&'static str, Vec<u8>)>,
    expects: Expects,
    repeat: Repeat,
    // for all attempts
    patience: Duration,
    // for the next piece of an answer
    stall: Duration,
}

/// The error that MLflow answers with.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Body {
    error_code: String,
    message: String,
}

/// A client of one server.
pub(super) struct Http {
    pub(super) client: reqwest::Client,
    pub(super) base: Url,
    pub(super) authorization: Option<HeaderValue>,
    /// what must not be in a message
    pub(super) secrets: Vec<String>,
    /// how long a question may take, its repetitions included
    pub(super) patience: Duration,
    /// how long one that writes may take
    pub(super) write_timeout: Duration,
    pub(super) clock: Clock,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("base", &self.base.as_str())
            .field("credentials", &self.authorization.as_ref().map(|_| "***"))
            .field("patience", &self.patience)
            .field("write_timeout", &self.write_timeout)
            .finish_non_exhaustive()
    }
}

impl Http {
    /// A question: `GET` of MLflow's API.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let call = Call {
            method: Method::GET,
            path: format!("api/2.0/mlflow/{path}"),
            query,
            body: None,
            expects: Expects::Json,
            repeat: Repeat::Harmless,
            patience: self.patience,
            stall: Duration::MAX,
        };
        self.json(call).await
    }

    /// A question that MLflow wants as a `POST`.
    pub(super) async fn search<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        let call = self.with_body(Method::POST, path, body, Repeat::Harmless);
        self.json(Call { patience: self.patience, ..call }).await
    }

    /// A change.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        repeat: Repeat,
    ) -> Result<T, Failure> {
        self.json(self.with_body(method, path, body, repeat)).await
    }

    /// The text of a page of the server.
    pub(super) async fn text(&self, path: &str) -> Result<String, Failure> {
        let call = Call {
            method: Method::GET,
            path: path.to_owned(),
            query: &[],
            body: None,
            expects: Expects::Bytes(MAX_ERROR_BYTES),
            repeat: Repeat::Harmless,
            patience: self.patience,
            stall: Duration::MAX,
        };
        Ok(String::from_utf8_lossy(&self.send(call).await?).into_owned())
    }

    /// Writes a file behind the server.
    pub(super) async fn put_file(&self, path: &[String], bytes: Vec<u8>) -> Result<(), Failure> {
        let call = Call {
            method: Method::PUT,
            path: artifact_path(path),
            query: &[],
            body: Some(("application/octet-stream", bytes)),
            expects: Expects::Bytes(MAX_ERROR_BYTES),
            repeat: Repeat::Harmless,
            patience: Duration::MAX,
            stall: Duration::MAX,
        };
        self.send(call).await.map(drop)
    }

    /// A file behind the server, of at most `limit` bytes.
    pub(super) async fn get_file(&self, path: &[String], limit: u64) -> Result<Vec<u8>, Failure> {
        let call = Call {
            method: Method::GET,
            path: artifact_path(path),
            query: &[],
            body: None,
            expects: Expects::Bytes(limit),
            repeat: Repeat::Harmless,
            // Whoever fetches several limits the time for all of them.
            patience: Duration::MAX,
            stall: self.patience,
        };
        self.send(call).await
    }

    fn with_body(&self, method: Method, path: &str, body: &Value, repeat: Repeat) -> Call<'static> {
        Call {
            method,
            path: format!("api/2.0/mlflow/{path}"),
            query: &[],
            body: Some(("application/json", body.to_string().into_bytes())),
            expects: Expects::Json,
            repeat,
            patience: self.write_timeout,
            stall: Duration::MAX,
        }
    }

    async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Failure> {
        let what = what(&call);
        let bytes = self.send(call).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            let context = format!("{what} was answered with JSON that MLflow does not write");
            Failure::Failed(Error::new(ErrorKind::Unavailable, COMPONENT, context).with_source(e))
        })
    }

    async fn send(&self, mut call: Call<'_>) -> Result<Vec<u8>, Failure> {
        let what = what(&call);
        let request = self.request(&mut call).map_err(Failure::Failed)?;
        let retries = if call.repeat == Repeat::Harmless { RETRIES } else { 0 };
        let delays = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(retries)
            .with_jitter();
        let mut last = None;
        let retried = (|| self.attempt(&request, call.expects, call.stall, &what))
            .retry(delays)
            .sleep(tokio::time::sleep)
            .when(|attempt: &Attempt| attempt.again)
            .notify(|attempt: &Attempt, _| {
                last = Some(match &attempt.failure {
                    Failure::Refused(refusal) => refusal.to_string(),
                    Failure::Failed(error) => error.chain(),
                });
            })
            .adjust(|attempt: &Attempt, delay| {
                // No delay is left: no attempt is left either.
                delay.map(|delay| attempt.after.map_or(delay, |after| after.min(LONGEST_WAIT)))
            });
        match tokio::time::timeout(call.patience, retried).await {
            Ok(done) => done.map_err(|attempt| attempt.failure),
            Err(_) => {
                let before =
                    last.map_or(String::new(), |last| format!("; the attempt before: {last}"));
                let context = format!("{what} had no answer within {:?}{before}", call.patience);
                Err(Failure::Failed(Error::new(ErrorKind::Unavailable, COMPONENT, context)))
            }
        }
    }

    fn request(&self, call: &mut Call<'_>) -> Result<reqwest::Request, Error> {
        let mut url = self.base.clone();
        let unusable = || Error::new(ErrorKind::InvalidInput, COMPONENT, "the URL has no path");
        url.path_segments_mut()
            .map_err(|()| unusable())?
            .pop_if_empty()
            .extend(call.path.split('/'));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = reqwest::Request::new(call.method.clone(), url);
        if let Some(authorization) = &self.authorization {
            let name = reqwest::header::AUTHORIZATION;
            request.headers_mut().insert(name, authorization.clone());
        }
        if let Some((content_type, bytes)) = call.body.take() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            *request.body_mut() = Some(bytes.into());
        }
        Ok(request)
    }

    async fn attempt(
        &self,
        request: &reqwest::Request,
        expects: Expects,
        stall: Duration,
        what: &str,
    ) -> Result<Vec<u8>, Attempt> {
        let unreachable = |error: reqwest::Error| {
            let context = format!("{what}: {} cannot be reached", self.host());
            // The URL of the error would say the same again.
            let error = error.without_url();
            let error = Error::new(ErrorKind::Unavailable, COMPONENT, context).with_source(error);
            let again = !error.cause().is_some_and(tls::is_refusal);
            Attempt { again, ..Attempt::last(error) }
        };
        let unavailable = |context: String| Error::new(ErrorKind::Unavailable, COMPONENT, context);
        let Some(request) = request.try_clone() else {
            return Err(Attempt::last(unavailable(format!("{what} cannot be sent"))));
        };
        let stalled = |_| Attempt::again(unavailable(format!("{what} stood still for {stall:?}")));
        let answer = tokio::time::timeout(stall, self.client.execute(request)).await;
        let mut response = answer.map_err(stalled)?.map_err(unreachable)?;
        let status = response.status();
        if status.is_redirection() {
            let to = redirected_to(response.headers());
            return Err(Attempt::last(unavailable(format!(
                "{what} was answered {}, a redirect to {to}, which is not followed: credentials \
                 are for {} alone. Is that the tracking URI?",
                status.as_u16(),
                self.host()
            ))));
        }
        let limit = match expects {
            _ if !status.is_success() => MAX_ERROR_BYTES,
            Expects::Json => MAX_JSON_BYTES,
            Expects::Bytes(limit) => limit,
        };
        let too_large = || {
            let context = format!("{what} was answered with more than {limit} bytes");
            Attempt::last(Error::new(ErrorKind::Corrupt, COMPONENT, context))
        };
        let after = retry_after(response.headers(), &self.clock);
        let is_json = is_json(response.headers());
        let mut body = Vec::new();
        if status.is_success() && response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let next = async |response: &mut reqwest::Response| {
            let next = tokio::time::timeout(stall, response.chunk()).await;
            next.map_err(stalled)?.map_err(unreachable)
        };
        while let Some(chunk) = next(&mut response).await? {
            if (body.len() + chunk.len()) as u64 > limit {
                if status.is_success() {
                    return Err(too_large());
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(Attempt { after, ..self.refused(what, status, is_json, &body) });
        }
        if expects == Expects::Json && !is_json {
            return Err(Attempt::last(unavailable(format!(
                "{what} was answered 200 without JSON: is {} an MLflow server, and its path \
                 prefix right?",
                self.host()
            ))));
        }
        Ok(body)
    }

    fn refused(&self, what: &str, status: StatusCode, is_json: bool, body: &[u8]) -> Attempt {
        let number = status.as_u16();
        let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let unauthorized = |context: String| {
            Attempt::last(Error::new(ErrorKind::Unauthorized, COMPONENT, context))
        };
        match status {
            StatusCode::UNAUTHORIZED => {
                let hint = if self.authorization.is_some() {
                    "it does not accept the credentials"
                } else {
                    "it wants credentials: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, \
                     or MLFLOW_TRACKING_TOKEN"
                };
                return unauthorized(format!("{what} was answered {number}: {hint}"));
            }
            StatusCode::FORBIDDEN => {
                let hint = if String::from_utf8_lossy(body).contains("Invalid Host header") {
                    format!(
                        "the server does not know itself by the name {}: start it with \
                         --allowed-hosts",
                        self.host()
                    )
                } else {
                    "the credentials do not allow it".to_owned()
                };
                return unauthorized(format!("{what} was answered {number}: {hint}"));
            }
            _ => {}
        }
        let parsed = is_json.then(|| serde_json::from_slice::<Body>(body).ok()).flatten();
        let failure = match parsed.filter(|parsed| !parsed.error_code.is_empty()) {
            Some(parsed) => Failure::Refused(Refusal {
                what: what.to_owned(),
                status,
                code: self.clean(&parsed.error_code, 64),
                message: self.clean(&parsed.message, 300),
            }),
            None => {
                let hint = if status.is_server_error() {
                    ""
                } else {
                    ": is this an MLflow server, and its path prefix right?"
                };
                let context =
                    format!("{what} was answered {number} without an error of MLflow{hint}");
                Failure::Failed(Error::new(ErrorKind::Unavailable, COMPONENT, context))
            }
        };
        Attempt { failure, again, after: None }
    }

    /// Host and port, for messages.
    pub(super) fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The beginning of a text of the server, without what is ours to keep.
    fn clean(&self, text: &str, longest: usize) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        text.chars().take(longest).collect()
    }
}

fn artifact_path(path: &[String]) -> String {
    format!("api/2.0/mlflow-artifacts/artifacts/{}", path.join("/"))
}

/// The call, for messages.
fn what(call: &Call<'_>) -> String {
    let path = call.path.strip_prefix("api/2.0/").unwrap_or(&call.path);
    format!("{} {path}", call.method)
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    text.is_some_and(|text| text.trim_start().starts_with("application/json"))
}

/// Where to, without what may be secret in a URL.
fn redirected_to(headers: &HeaderMap) -> String {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    match location.map(Url::parse) {
        Some(Ok(url)) => {
            let host: String = url.host_str().unwrap_or("nowhere").chars().take(100).collect();
            format!("{}://{host}", url.scheme())
        }
        Some(Err(_)) => "another path".to_owned(),
        None => "nowhere".to_owned(),
    }
}

/// How long the server asks to wait: seconds, or a moment.
fn retry_after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let moment = crate::Timestamp::from_micros(moment.as_microsecond()).ok()?;
    Some(moment.since((clock.0)()))
}
