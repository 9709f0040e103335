//! The request's body: read ahead where a handler needs it, and what of it the upstream gets.
//!
//! pingora replays what it kept of a body that was read before the upstream was asked, up to 64 KiB.
//! So a body of that size is read whole and replayed, also on a retry. Of a larger one without a
//! declared length what was read by the time it shows is passed on before the rest.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use plugins::contract::{Reply, RequestBody};

use crate::exchange::{Exchange, declared_length};
use crate::reply::failure;

/// A body that declares more than this is not read ahead: pingora replays no more.
const REPLAYED: u64 = 64 * 1024;
/// A body without a declared length is not read ahead beyond this: one more piece, of HTTP/2 (16 KiB)
/// or of chunks as the listener reads them (24 KiB), still fits into what is replayed.
const UNDECLARED: usize = 32 * 1024;

impl Exchange {
    /// Reads the body for handlers, see [`RequestBody`].
    ///
    /// # Errors
    ///
    /// 400 when the client leaves or breaks the framing, 408 when it falls silent.
    pub(crate) async fn read_body(&mut self, session: &mut Session) -> Result<(), Reply> {
        if session.is_body_empty() {
            self.facts.body = RequestBody::Whole(Bytes::new());
            return Ok(());
        }
        let declared = declared_length(session.req_header());
        if declared.is_some_and(|length| length > REPLAYED) {
            self.facts.body = RequestBody::TooLarge;
            return Ok(());
        }
        let gone = |why: Box<Error>| match why.etype() {
            ErrorType::ReadTimedout => failure(StatusCode::REQUEST_TIMEOUT, ""),
            _ => failure(StatusCode::BAD_REQUEST, ""),
        };
        if let Err(why) = self.give_leave(session).await {
            session.set_keepalive(None);
            return Err(gone(why));
        }
        session.as_mut().enable_retry_buffering();
        let mut read = BytesMut::new();
        while declared.is_some() || read.len() <= UNDECLARED {
            match self.next_piece(session).await {
                Ok(Some(piece)) => read.extend_from_slice(&piece),
                Ok(None) => {
                    self.facts.body = RequestBody::Whole(read.freeze());
                    return Ok(());
                }
                Err(why) => {
                    // What follows cannot be told from what belongs to the body.
                    session.set_keepalive(None);
                    return Err(gone(why));
                }
            }
        }
        self.facts.body = RequestBody::TooLarge;
        if session.as_ref().retry_buffer_truncated() {
            if session.is_body_done() {
                // It ended in the very piece that made it too large to replay. No listener of ours
                // reads such pieces.
                return Err(Reply::message(StatusCode::PAYLOAD_TOO_LARGE, ""));
            }
            self.body_begun = Some(read.freeze());
        }
        Ok(())
    }

    /// Reads another piece of the body, unless its client is silent for too long: pingora knows such
    /// a limit for HTTP/1 only.
    ///
    /// # Errors
    ///
    /// When the client is silent, leaves or breaks the framing.
    pub(crate) async fn next_piece(&self, session: &mut Session) -> Result<Option<Bytes>> {
        match tokio::time::timeout(self.patience, session.read_request_body()).await {
            Ok(piece) => piece.map_err(|why| why.into_down()),
            Err(_) => Err(Error::explain(ErrorType::ReadTimedout, "within a body").into_down()),
        }
    }

    /// Reads a body before the upstream is asked, as `request_buffering` of the route wants it: its
    /// length is known then, and a client that sends slowly is no upstream's burden. A large one and
    /// a stream of gRPC go on as they come.
    ///
    /// # Errors
    ///
    /// As [`Exchange::read_body`].
    pub(crate) async fn collect_body(&mut self, session: &mut Session) -> Result<(), Reply> {
        let head = session.req_header();
        let wanted = self.facts.route.as_ref().is_some_and(|route| route.request_buffering)
            && self.facts.body == RequestBody::Unread
            && !wants_websocket(head)
            && !self.facts.service.as_ref().is_some_and(|one| one.protocol.starts_with("grpc"));
        if wanted && !session.is_body_empty() { self.read_body(session).await } else { Ok(()) }
    }

    /// Tells a client that waits for it to send its body. The gateway does so itself, as nginx does:
    /// the upstream is not asked.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub(crate) async fn give_leave(&mut self, session: &mut Session) -> Result<()> {
        let waits = !std::mem::replace(&mut self.given_leave, true)
            && expects_continue(session.req_header())
            && !session.is_body_empty();
        if waits { session.write_continue_response().await } else { Ok(()) }
    }

    /// The body a handler made for a request that has none, where the upstream speaks HTTP/2.
    pub(crate) fn body_from_nothing(&self, session: &mut Session) -> Option<Bytes> {
        let RequestBody::Replaced(bytes) = &self.facts.body else { return None };
        let service = self.facts.service.as_ref()?;
        let wanted = service.protocol.starts_with("grpc") && !bytes.is_empty();
        (wanted && session.is_body_empty()).then(|| bytes.clone())
    }

    /// Puts before a piece of the body what of it was read already, or in the whole body's place
    /// what a handler made of it. Called for every piece, and again on a retry.
    pub(crate) fn pass_body(&mut self, piece: &mut Option<Bytes>, end: bool) {
        if let Some(begun) = self.body_begun.take() {
            let mut joined = BytesMut::from(begun);
            joined.extend_from_slice(piece.as_deref().unwrap_or_default());
            *piece = Some(joined.freeze());
        } else if let RequestBody::Replaced(bytes) = &self.facts.body {
            // The length was told already, and a body of no bytes is one that has ended.
            *piece = (end && !bytes.is_empty()).then(|| bytes.clone());
        }
    }

    /// Tells the upstream of the body a handler put in the place of the client's.
    ///
    /// # Errors
    ///
    /// None; pingora's signature of header changes says so.
    pub(crate) fn frame_body(&self, head: &mut RequestHeader) -> Result<()> {
        // Answered already.
        head.remove_header(&header::EXPECT);
        let known = match &self.facts.body {
            RequestBody::Replaced(bytes) => Some(bytes),
            // One that came in pieces was read to its end: the upstream is told how long it is.
            RequestBody::Whole(bytes) => {
                let pieces = head.headers.contains_key(header::TRANSFER_ENCODING);
                (pieces || !bytes.is_empty()).then_some(bytes)
            }
            _ => None,
        };
        if let Some(bytes) = known {
            head.remove_header(&header::TRANSFER_ENCODING);
            head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()))?;
        }
        Ok(())
    }
}

/// Whether the client asks for WebSocket: the one protocol that upstreams are asked to switch to.
fn wants_websocket(head: &RequestHeader) -> bool {
    let upgrade = head.headers.get(header::UPGRADE);
    head.version == Version::HTTP_11
        && upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether the client waits to be told to send its body.
pub(crate) fn expects_continue(head: &RequestHeader) -> bool {
    let expects = head.headers.get(header::EXPECT);
    expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
