//! What a client was answered, kept beside its event.

use uuid::Uuid;

use crate::schema::Fingerprint;

/// What was answered to a request that its client gave a name, so that the same request, sent once
/// more, gets the same answer: also from another process.
///
/// ```
/// use pmmds::log::Reply;
/// use pmmds::schema::Fingerprint;
/// use uuid::Uuid;
/// let payload = Fingerprint::of_bytes(b"the decoded row");
/// let reply = Reply::new(Uuid::from_u128(7), payload, br#"{"label":1}"#.to_vec());
/// assert_eq!(reply.answer, br#"{"label":1}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// the client's name of the request
    pub request_id: Uuid,
    /// of what was asked
    pub payload: Fingerprint,
    /// what was answered, byte by byte
    pub answer: Vec<u8>,
}

impl Reply {
    /// The reply `answer` to `request_id`, which asked for what has the fingerprint `payload`.
    #[must_use]
    pub fn new(request_id: Uuid, payload: Fingerprint, answer: Vec<u8>) -> Self {
        Self { request_id, payload, answer }
    }
}
