//! What is told of a request once it is over: to whoever counts calls, to log handlers and in the access
//! log.

use std::borrow::Cow;
use std::sync::OnceLock;

use gateway_model::ports::Call;
use http::StatusCode;
use pingora_core::Error;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use plugins::contract::Summary;

use super::Proxy;
use crate::exchange::Exchange;
use crate::failure::status_of;
use crate::forward;

impl Proxy {
    /// Tells who wants to know of a call to a service.
    pub(super) fn tell(&self, session: &Session, exchange: &Exchange) {
        let (Some(calls), Some(service)) = (&self.calls, &exchange.facts.service) else { return };
        calls.called(&Call {
            service_host: &service.host,
            service_name: service.name.as_deref().unwrap_or_default(),
            tags: service.tags.as_deref().unwrap_or_default(),
            method: session.req_header().method.as_str(),
            path: exchange.path(),
        });
    }
}

/// The URI the upstream got, or would have got.
pub(super) fn upstream_uri<'e>(session: &Session, exchange: &'e Exchange) -> Cow<'e, str> {
    if exchange.upstream_target.is_empty() {
        // Refused before it was sent: what would have been.
        Cow::Owned(forward::joined(exchange, session.req_header()).unwrap_or_default())
    } else {
        String::from_utf8_lossy(&exchange.upstream_target)
    }
}

/// A request and its answer, for those who log it; `uri` is the upstream's.
pub(super) fn summary<'e>(
    session: &'e Session,
    exchange: &'e Exchange,
    error: Option<&Error>,
    uri: &'e str,
) -> Summary<'e> {
    let written = answered(session);
    let left = error.is_some_and(|error| status_of(error).is_none());
    let status = match written {
        Some(head) if !left => head.status.as_u16(),
        _ => 499,
    };
    let head_size = |headers: &http::HeaderMap| -> u64 {
        headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
    };
    let request = session.req_header();
    Summary {
        facts: &exchange.facts,
        request,
        uri: exchange.target(),
        response: written,
        status,
        source: exchange.source,
        request_size: head_size(&request.headers)
            + (request.method.as_str().len() + exchange.target().len() + 13) as u64
            + exchange.body_seen,
        response_size: written.map_or(0, |head| head_size(&head.headers) + 17)
            + session.body_bytes_sent() as u64,
        response_body_size: session.body_bytes_sent() as u64,
        upstream_uri: uri,
        tries: &exchange.tries,
        latencies: exchange.latencies(),
        entry: OnceLock::new(),
    }
}

/// The head of the answer, once it is sent. pingora counts leave to send a body as one.
pub(super) fn answered(session: &Session) -> Option<&ResponseHeader> {
    let is_last = |head: &&ResponseHeader| {
        !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
    };
    session.response_written().filter(is_last)
}
