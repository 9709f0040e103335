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

/// The whole answer of an upstream, of which the client has seen nothing yet.
pub struct Buffered<'a> {
    /// Status and headers. What Content-Length says does not matter: it is told anew.
    pub head: &'a mut ResponseHeader,
    /// All of the body, as the upstream encoded it.
    pub body: &'a mut Bytes,
    /// The request as it was sent on.
    pub request: &'a RequestHeader,
    /// What is known of the exchange.
    pub facts: &'a mut Facts,
}

/// Asks for the answer to be held back until all of it is here, although no handler of the chain
/// has a [`response`](super::Handler::response) phase. A handler leaves it in [`Facts::notes`] in
/// the rewrite or access phase (kong/pdk/service/request.lua, enable_buffering).
#[derive(Clone, Copy, Debug)]
pub struct HoldAnswer;

/// Says that body filters want to write into answers that end with their head and tell the outcome of a
/// gRPC call there. A handler leaves it in [`Facts::notes`] in the access phase.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeInBody;

/// The body of an answer that was held back, as handlers of the response phase left it. In
/// [`Facts::notes`] from the header filters on.
#[derive(Clone, Debug)]
pub struct HeldBody(pub Bytes);
