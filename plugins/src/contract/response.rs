//! [`Response`] and [`Chunk`]: what a handler sees of the answer.

use bytes::Bytes;
use pingora_http::{RequestHeader, ResponseHeader};

use super::Facts;

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The upstream sent it.
    Upstream,
    /// The gateway made it: a refusal, an error, an embedded service.
    Gateway,
}

/// Status and headers of the answer.
pub struct Response<'a> {
    /// What the client will receive, less what the gateway itself adds afterwards.
    pub head: &'a mut ResponseHeader,
    /// The request as it was sent on.
    pub request: &'a RequestHeader,
    /// What is known of the exchange.
    pub facts: &'a mut Facts,
    /// Where the answer comes from.
    pub source: Source,
}

/// One piece of the answer's body.
pub struct Chunk<'a> {
    /// The bytes; a handler may replace, hold back (`None`) or add. One that changes how many there
    /// are takes Content-Length off in its header filter; it is kept otherwise.
    pub data: &'a mut Option<Bytes>,
    /// Whether this is the last piece.
    pub end: bool,
    /// What is known of the exchange.
    pub facts: &'a mut Facts,
}
