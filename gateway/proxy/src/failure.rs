//! Tries that failed: whether there is another, and what the client is told.

use std::io::ErrorKind;

use http::StatusCode;
use pingora_core::{Error, ErrorSource, ErrorType};
use rustix::io::Errno;

use crate::exchange::Exchange;

/// Whether the service allows another try.
pub(crate) fn may_retry(exchange: &Exchange) -> bool {
    let facts = &exchange.facts;
    let wanted = facts.upstream.as_ref().and_then(|wanted| wanted.retries);
    let of_service = || facts.service.as_ref().and_then(|service| service.retries);
    let retries = wanted.or_else(of_service).unwrap_or(5);
    exchange.tries.len() <= usize::from(retries)
}

/// Keeps a failed try for logs and health.
pub(crate) fn note_failure(exchange: &mut Exchange, error: &Error, reused: bool) {
    let status = status_of(error).map(|status| status.as_u16());
    if let Some(last) = exchange.tries.last_mut() {
        last.failed = status;
    }
    if let Some(balance) = &mut exchange.balance {
        balance.failed(error, reused);
    }
    tracing::warn!(
        target.addr = exchange.tries.last().map(|one| one.address.to_string()),
        request.id = &*exchange.facts.request_id,
        "a try at the upstream failed: {error}"
    );
}

/// Why an upstream is not connected to, in pingora's terms: `SocketError` and `BindError` are this
/// process's own want.
pub(crate) fn not_connected(why: std::io::Error) -> Box<Error> {
    let kind = match (why.kind(), Errno::from_io_error(&why)) {
        (_, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS)) => ErrorType::SocketError,
        (ErrorKind::AddrNotAvailable, _) => ErrorType::BindError,
        (ErrorKind::ConnectionRefused, _) => ErrorType::ConnectRefused,
        (ErrorKind::TimedOut, _) => ErrorType::ConnectTimedout,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, "connecting to an upstream", why)
}

/// The status an error stands for; `None` when the client left and nobody can be told.
pub(crate) fn status_of(error: &Error) -> Option<StatusCode> {
    use ErrorType::{
        ConnectTimedout, ConnectionClosed, HTTPStatus, ReadError, ReadTimedout,
        TLSHandshakeTimedout, WriteError, WriteTimedout,
    };
    let code = match (error.etype(), error.esource()) {
        (HTTPStatus(code), _) => *code,
        (
            ConnectTimedout | ReadTimedout | WriteTimedout | TLSHandshakeTimedout,
            ErrorSource::Upstream,
        ) => 504,
        (_, ErrorSource::Upstream) => 502,
        (ReadTimedout, ErrorSource::Downstream) => 408,
        (ConnectionClosed | ReadError | WriteError | WriteTimedout, ErrorSource::Downstream) => {
            return None;
        }
        (_, ErrorSource::Downstream) => 400,
        _ => 500,
    };
    StatusCode::from_u16(code).ok()
}
