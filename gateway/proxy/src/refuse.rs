//! [`Refuser`]: answers to connections that never became a request.

use std::net::SocketAddr;

use gateway_model::Clock;
use http::StatusCode;
use pingora_http::RequestHeader;

use crate::access_log::{AccessLog, Line};
use crate::error_body::{Origin, error_body};
use crate::exchange::request_id;
use crate::head::Fault;
use crate::options::Options;

/// Answers requests whose head cannot be read, in Kong's words, and logs them.
#[derive(Clone, Debug)]
pub struct Refuser {
    options: Options,
    access_log: Option<AccessLog>,
    clock: Clock,
}

impl Refuser {
    /// Speaks as a proxy with these options does.
    pub const fn new(options: Options, access_log: Option<AccessLog>, clock: Clock) -> Self {
        Self { options, access_log, clock }
    }

    /// The whole answer for the client at `peer`; `head` is what it sent so far.
    pub fn refuse(&self, peer: SocketAddr, head: &[u8], fault: Fault) -> Vec<u8> {
        let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let id = request_id();
        let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
        let line = String::from_utf8_lossy(line.unwrap_or_default());
        let line: String = line.chars().take(256).flat_map(char::escape_default).collect();
        tracing::info!(
            client.peer = %peer,
            request.id = &*id,
            "a request was refused with {status}: {fault:?}"
        );
        let body = self.body(status, fault, &id);
        if let Some(log) = &self.access_log {
            log.request(&Line {
                client: peer.ip().to_canonical(),
                at_ms: self.clock.unix_ms(),
                request: format_args!("{line}"),
                status: status.as_u16(),
                size: body.1.len() as u64,
                headers: None,
                id: Some(&id),
            });
        }
        let own = self.options.headers;
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\nConnection: close\r\n\
             Content-Length: {}\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            self.now().strftime("%a, %d %b %Y %H:%M:%S GMT"),
            body.0,
            body.1.len(),
        );
        if own.response_latency {
            answer.push_str("X-Kong-Response-Latency: 0\r\n");
        }
        if own.server {
            answer.push_str("Server: ");
            answer.push_str(self.options.server.to_str().unwrap_or_default());
            answer.push_str("\r\n");
        }
        if own.request_id {
            answer.push_str("X-Kong-Request-Id: ");
            answer.push_str(&id);
            answer.push_str("\r\n");
        }
        answer.push_str("\r\n");
        let mut answer = answer.into_bytes();
        answer.extend_from_slice(&body.1);
        answer
    }

    /// Content type and body. Nothing of what the client said it accepts can be believed.
    fn body(&self, status: StatusCode, fault: Fault, id: &str) -> (String, bytes::Bytes) {
        let Ok(blank) = RequestHeader::build("GET", b"/", None) else { return Default::default() };
        let made = error_body(&blank, status, fault.message(), id, Origin::Core, &self.options);
        (made.content_type.to_str().unwrap_or_default().to_owned(), made.bytes)
    }

    fn now(&self) -> jiff::Timestamp {
        let ms = i64::try_from(self.clock.unix_ms()).unwrap_or(0);
        jiff::Timestamp::from_millisecond(ms).unwrap_or_default()
    }
}
