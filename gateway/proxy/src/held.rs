//! Answers held back: the response phase, where handlers get all of an answer before any of it is
//! sent (kong/init.lua, Kong.response).
//!
//! pingora passes an answer on piece by piece and has no way to keep one. So its head is put aside
//! and an informational one takes its place, which the session was told not to write; the pieces of
//! the body are taken as they come; and once pingora is through with the upstream, whose connection
//! stays usable, the whole goes out. Until then no byte has been sent: an answer that breaks off or
//! grows too large becomes an error of the gateway's own.
//!
//! An exchange without such a handler pays one look at an empty list.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use plugins::contract::{Buffered, Flow, HeldBody, HoldAnswer, OutcomeInBody, Phases, Reply};

use crate::error_body::Origin;
use crate::exchange::Exchange;
use crate::options::Options;
use crate::reply;

/// An answer of which the client has seen nothing yet.
#[derive(Debug)]
pub(crate) struct Held {
    head: ResponseHeader,
    body: BytesMut,
    limit: usize,
}

impl Held {
    /// Begins to hold an answer back.
    ///
    /// # Errors
    ///
    /// When the head says already that the body is too large.
    pub(crate) fn begin(mut head: ResponseHeader, bodiless: bool, limit: usize) -> Result<Self> {
        // One of HTTP/2 could not be written to a client of HTTP/1.
        head.set_version(Version::HTTP_11);
        let declared = match head.headers.get(header::CONTENT_LENGTH) {
            Some(length) if !bodiless => length.to_str().ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        let declared: usize = declared.unwrap_or(0);
        if declared > limit {
            return Err(too_large(limit));
        }
        Ok(Self { head, body: BytesMut::with_capacity(declared), limit })
    }

    /// Takes a piece of the body.
    ///
    /// # Errors
    ///
    /// When it is too large with it.
    pub(crate) fn take(&mut self, piece: &mut Option<Bytes>) -> Result<()> {
        let Some(piece) = piece.take() else { return Ok(()) };
        if self.body.len() + piece.len() > self.limit {
            return Err(too_large(self.limit));
        }
        self.body.extend_from_slice(&piece);
        Ok(())
    }

    /// Runs the handlers of the response phase and sends what they made of the answer.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub(crate) async fn send(
        self,
        session: &mut Session,
        exchange: &mut Exchange,
        options: &Options,
    ) -> Result<()> {
        let Self { mut head, body, .. } = self;
        let mut body = body.freeze();
        if let Err(other) = exchange.respond(session.req_header(), &mut head, &mut body).await {
            return reply::send(session, exchange, options, other, Origin::Logic).await;
        }
        head.remove_header(&header::TRANSFER_ENCODING);
        // An answer without a body may tell the length of the one it stands for.
        if !reply::is_bodiless(session, head.status) {
            head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
        }
        exchange.facts.notes.insert(HeldBody(body.clone()));
        reply::whole(session, exchange, options, head, body).await
    }
}

/// What the session is given in the place of a head that is held back: it writes no such head.
///
/// # Errors
///
/// None; pingora's signature says so.
pub(crate) fn placeholder(session: &mut Session) -> Result<ResponseHeader> {
    session.set_ignore_info_resp(true);
    ResponseHeader::build(StatusCode::EARLY_HINTS, Some(0))
}

impl Exchange {
    /// Whether the answer to this request is held back.
    pub(crate) fn holds_answer(&self) -> bool {
        let slots = self.chain.slots(Phases::RESPONSE);
        let asked = !slots.is_empty()
            && slots
                .iter()
                .filter_map(|slot| self.picked(slot))
                .any(|instance| instance.phases.has(Phases::RESPONSE));
        let wanted = asked || self.facts.notes.get::<HoldAnswer>().is_some();
        // A stream of gRPC may be endless (Kong holds nothing back over HTTP/2).
        wanted && !self.facts.service.as_ref().is_some_and(|one| one.protocol.starts_with("grpc"))
    }

    /// Whether this head is all of an answer of gRPC, and handlers write what it says into a body.
    /// pingora gives an answer that ended a body in no other way than by sending it anew.
    pub(crate) fn gives_outcome_a_body(&self, head: &ResponseHeader) -> bool {
        head.headers.contains_key("grpc-status")
            && self.facts.notes.get::<OutcomeInBody>().is_some()
    }

    /// Runs the handlers of the response phase.
    ///
    /// # Errors
    ///
    /// What a handler wants to be sent instead.
    async fn respond(
        &mut self,
        request: &RequestHeader,
        head: &mut ResponseHeader,
        body: &mut Bytes,
    ) -> Result<(), Reply> {
        let chain = Arc::clone(&self.chain);
        for slot in chain.slots(Phases::RESPONSE) {
            let Some(instance) = self.picked(slot) else { continue };
            if !instance.phases.has(Phases::RESPONSE) {
                continue;
            }
            let facts = &mut self.facts;
            let mut answer = Buffered { head: &mut *head, body: &mut *body, request, facts };
            let mut flow = instance.handler.response(&mut answer);
            loop {
                match flow {
                    Flow::Continue => break,
                    Flow::Reply(reply) => return Err(*reply),
                    Flow::Wait(wait) => flow = wait.await,
                }
            }
        }
        Ok(())
    }
}

fn too_large(limit: usize) -> Box<Error> {
    tracing::warn!(
        limit_bytes = limit,
        "an answer is larger than what may be held back for plugins (mep_response_buffer_size)"
    );
    let told = format!("an answer held back for plugins is larger than {limit} bytes");
    Error::explain(ErrorType::HTTPStatus(502), told)
}

#[cfg(test)]
mod tests;
