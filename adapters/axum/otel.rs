//! Feature `otel`: a request continues the trace that its `traceparent` names, by W3C Trace Context,
//! and its span says what OpenTelemetry's semantic conventions ask of an HTTP server.
//!
//! Nothing of the process is set or asked for: no tracer provider, no propagator, no subscriber.
//! Those are the application's, which puts the layer of `tracing-opentelemetry` under its
//! subscriber; without it, what is here costs the look for a header and the id in log lines.

use std::fmt;

use ::axum::extract::{OriginalUri, Request};
use ::axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing::field::display;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::envelope::NO_ROUTE;
use crate::log::CorrelationId;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Most members of a `tracestate`, and most bytes that they can have.
const STATE_MEMBERS: usize = 32;
const STATE_BYTES: usize = STATE_MEMBERS * (256 + 1 + 256 + 1);

/// Most characters of a path that a span repeats.
const PATH_CHARACTERS: usize = 512;

/// The trace that a request is a part of.
pub(super) struct Trace {
    // valid and remote
    parent: Option<SpanContext>,
    // of the request, until it is answered
    span: Span,
}

impl Trace {
    /// The trace that these headers name.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self { parent: parent(headers), span: Span::none() }
    }

    /// The trace's name for the request, where somebody keeps the trace.
    pub(super) fn correlation_id(&self) -> Option<CorrelationId> {
        let parent = self.parent.as_ref().filter(|parent| parent.is_sampled())?;
        CorrelationId::new(&parent.trace_id().to_string()).ok()
    }

    /// The span of `request`, which is answered as `id`.
    pub(super) fn span(&mut self, request: &Request, route: &str, id: &HeaderValue) -> Span {
        // An application that traces its requests itself has done what is done here.
        let outer = trace_of(&Span::current());
        let parent = self.parent.as_ref().filter(|_| outer.is_none());
        let trace = outer.or_else(|| parent.map(SpanContext::trace_id));
        let method = request.method();
        let span = tracing::info_span!(
            "request",
            %method,
            route,
            x_request_id = id.to_str().unwrap_or("-"),
            trace_id = trace.map(display),
            otel.kind = "server",
            otel.name = %Name { method, route },
        );
        if span.is_disabled() {
            return span;
        }
        if let Some(parent) = parent {
            // It fails where there is no layer that would have a trace.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent.clone()));
        }
        span.set_attribute("http.request.method", known(method).unwrap_or(OTHER));
        if known(method).is_none() {
            let original: String = method.as_str().chars().take(PATH_CHARACTERS).collect();
            span.set_attribute("http.request.method_original", original);
        }
        if route != NO_ROUTE {
            span.set_attribute("http.route", route.to_owned());
        }
        let nested = request.extensions().get::<OriginalUri>();
        let path = nested.map_or_else(|| request.uri().path(), |uri| uri.path());
        span.set_attribute("url.path", path.chars().take(PATH_CHARACTERS).collect::<String>());
        span.set_attribute("url.scheme", "http");
        if trace.is_none()
            && let Some(own) = trace_of(&span)
        {
            span.record("trace_id", display(own));
        }
        self.span = span.clone();
        span
    }

    /// Ends the span with what was answered, and the name of the problem if it was one.
    pub(super) fn answered(self, status: StatusCode, problem: Option<&'static str>) {
        if self.span.is_disabled() {
            return;
        }
        self.span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
        // What a client does wrong is no failure of a server.
        if status.is_server_error() {
            let kind = problem.map_or_else(|| status.as_str().to_owned(), str::to_owned);
            self.span.set_attribute("error.type", kind);
            self.span.set_status(Status::error(""));
        }
    }
}

const OTHER: &str = "_OTHER";

/// The methods that the semantic conventions know; others are of the client's choice, without end.
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

/// The name of a span: few of them, whatever clients ask for.
struct Name<'r> {
    method: &'r Method,
    route: &'r str,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(known(self.method).unwrap_or("HTTP"))?;
        if self.route == NO_ROUTE { Ok(()) } else { write!(f, " {}", self.route) }
    }
}

/// The trace of a span that the application's layer knows.
fn trace_of(span: &Span) -> Option<TraceId> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let known = span.span_context();
    known.is_valid().then(|| known.trace_id())
}

/// The parent that these headers name; none where anything is wrong with them.
///
/// The propagator of the SDK takes ids of any length; the recommendation does not.
fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut sent = headers.get_all(TRACEPARENT).iter();
    let (parent, None) = (sent.next()?.to_str().ok()?, sent.next()) else { return None };
    let (version, trace) = (parent.get(0..2)?, parent.get(3..35)?);
    let (span, flags) = (parent.get(36..52)?, parent.get(53..55)?);
    let dashes = [2, 35, 52].iter().all(|at| parent.as_bytes()[*at] == b'-');
    // A later version may go on; ff is none.
    let ends = match parent.as_bytes().get(55) {
        None => true,
        Some(more) => version != "00" && *more == b'-',
    };
    let hex = |text: &str| text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let fields = [version, trace, span, flags].into_iter().all(hex);
    if !dashes || !ends || !fields || version == "ff" {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    // Ids of nothing but zeros name nothing.
    Some(SpanContext::new(trace, span, flags, true, state(headers))).filter(SpanContext::is_valid)
}

/// What tracers on the way have added; nothing where it is too much or anything is wrong with it.
fn state(headers: &HeaderMap) -> TraceState {
    let mut whole = String::new();
    for part in headers.get_all(TRACESTATE) {
        let Ok(part) = part.to_str() else { return TraceState::default() };
        if whole.len() + part.len() > STATE_BYTES {
            return TraceState::default();
        }
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(part);
    }
    let members = whole.split(',').filter(|member| !member.trim().is_empty()).count();
    if members > STATE_MEMBERS {
        return TraceState::default();
    }
    whole.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(sent: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn read(traceparent: &str) -> Option<SpanContext> {
        parent(&headers(&[(TRACEPARENT, traceparent)]))
    }

    #[test]
    fn a_parent_is_read_as_it_was_sent() {
        let parent = read(GOOD).unwrap();
        assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled() && parent.is_remote());
        // Flags that nobody knows yet, and a version to come, which may say more.
        assert!(!read(&GOOD.replace("-01", "-00")).unwrap().is_sampled());
        assert!(!read(&GOOD.replace("-01", "-fe")).unwrap().is_sampled());
        assert!(read(&GOOD.replace("-01", "-ff")).unwrap().is_sampled());
        assert!(read(&GOOD.replacen("00", "cc", 1)).is_some());
        assert!(read(&format!("{}-more", GOOD.replacen("00", "cc", 1))).is_some());
    }

    #[test]
    fn what_is_no_parent_is_ignored() {
        let zeros = |at: usize, n: usize| {
            let mut text = GOOD.to_owned();
            text.replace_range(at..at + n, &"0".repeat(n));
            text
        };
        for bad in [
            "",
            "x",
            "é",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &format!("{}x", GOOD.replacen("00", "cc", 1)),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("4b", "+b", 1),
            &GOOD.replacen("4b", "0x", 1),
            &GOOD.replace('-', "_"),
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b70-01",
            "00-1-2-01",
            &zeros(3, 32),
            &zeros(36, 16),
            &"0".repeat(300_000),
        ] {
            assert!(read(bad).is_none(), "{bad:?}");
        }
        let twice = headers(&[(TRACEPARENT, GOOD), (TRACEPARENT, GOOD)]);
        assert!(parent(&twice).is_none());
    }

    #[test]
    fn a_state_is_taken_whole_or_not_at_all() {
        let of = |states: &[&str]| {
            let mut sent = vec![(TRACEPARENT, GOOD)];
            sent.extend(states.iter().map(|state| (TRACESTATE, *state)));
            parent(&headers(&sent)).unwrap().trace_state().header()
        };
        assert_eq!(of(&["a=1, b=2", "c=3"]), "a=1,b=2,c=3");
        let many = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(of(&[&many(32)]), many(32));
        for bad in
            [&many(33), &many(1_000), "=", "a", "A=1", "a=b=c", &format!("a={}", "x".repeat(257))]
        {
            assert_eq!(of(&[bad]), "", "{bad:?}");
        }
        assert_eq!(of(&["a=1", &many(32)]), "");
        assert_eq!(of(&["a=1", &"b".repeat(STATE_BYTES)]), "");
    }

    #[test]
    fn a_kept_trace_names_its_requests() {
        let named = |parent: &str| {
            let trace = Trace::of(&headers(&[(TRACEPARENT, parent)]));
            trace.correlation_id().map(|id| id.to_string())
        };
        assert_eq!(named(GOOD).unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(named(&GOOD.replace("-01", "-00")), None);
        assert_eq!(named("x"), None);
    }

    #[test]
    fn names_are_few() {
        let name =
            |method: &str, route| Name { method: &method.parse().unwrap(), route }.to_string();
        assert_eq!(name("GET", "/model"), "GET /model");
        assert_eq!(name("BREW", "/model"), "HTTP /model");
        assert_eq!(name("POST", NO_ROUTE), "POST");
    }
}
