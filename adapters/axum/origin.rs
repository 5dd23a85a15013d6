//! Where a request comes from, as far as its rows in the log say so.

use std::convert::Infallible;

use ::axum::extract::{FromRequestParts, Request};
use ::axum::http::HeaderValue;
use ::axum::http::request::Parts;
use uuid::Uuid;

use super::state::State;
use crate::Timestamp;
use crate::log::CorrelationId;

/// Finds the rows of a request by the `x-request-id` of its answer: it is the correlation id of all
/// of them, or, where it was made here, the id of the first. With the latter the correlation id is
/// free for the trace that the request is a part of, if somebody keeps that.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    // the x-request-id that was made here, until an event has it
    made: Option<Uuid>,
    // what the client calls the request
    pub(super) correlation_id: Option<CorrelationId>,
}

impl Origin {
    /// The origin of a request in which `sent` stands as its id, and that id; `trace` is what else
    /// it is called.
    pub(super) fn of(
        sent: Option<&HeaderValue>,
        trace: Option<CorrelationId>,
        state: &State,
    ) -> (Self, HeaderValue) {
        let plain = |id: &HeaderValue| id.to_str().ok().and_then(|id| CorrelationId::new(id).ok());
        if let Some((correlation_id, sent)) = sent.and_then(|id| Some((plain(id)?, id))) {
            return (Self { made: None, correlation_id: Some(correlation_id) }, sent.clone());
        }
        let id = state.clock.id(state.clock.now());
        // A UUID is hexadecimal digits and hyphens.
        let header = HeaderValue::from_str(&id.to_string());
        let origin = Self { made: Some(id), correlation_id: trace };
        (origin, header.unwrap_or(HeaderValue::from_static("-")))
    }

    /// The id of the next event, which is answered at `at`.
    pub(super) fn event_id(&mut self, at: Timestamp, clock: &super::clock::Clock) -> Uuid {
        self.made.take().unwrap_or_else(|| clock.id(at))
    }

    /// Tells the handler of `request`.
    pub(super) fn tell(self, request: &mut Request) {
        request.extensions_mut().insert(self);
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove().unwrap_or_default())
    }
}
