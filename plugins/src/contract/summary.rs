//! [`Summary`]: one finished exchange, for logs and metrics.

use std::net::SocketAddr;
use std::sync::OnceLock;

use pingora_http::{RequestHeader, ResponseHeader};
use serde_json::Value;

use super::{Facts, Source};

/// One finished exchange.
pub struct Summary<'a> {
    /// What is known of it.
    pub facts: &'a Facts,
    /// The client's request as the plugins left it: with its own Host and the identity headers,
    /// without what forwarding adds.
    pub request: &'a RequestHeader,
    /// The request target as the client sent it: path and query. Streams have none.
    pub uri: &'a str,
    /// The answer's head; `None` when the client left before there was one.
    pub response: Option<&'a ResponseHeader>,
    /// Status of the answer; 499 when the client left first.
    pub status: u16,
    /// Where the answer came from.
    pub source: Source,
    /// Bytes received from the client, head included.
    pub request_size: u64,
    /// Bytes sent to the client, head included.
    pub response_size: u64,
    /// Bytes of the body among them.
    pub response_body_size: u64,
    /// Path and query the upstream got; empty when none was asked.
    pub upstream_uri: &'a str,
    /// The address asked, one entry a try.
    pub tries: &'a [Try],
    /// How long it took.
    pub latencies: Latencies,
    /// Empty; [`Summary::entry`] fills it.
    pub entry: OnceLock<Value>,
}

impl Summary<'_> {
    /// Whether it was a stream: a connection passed on as it is, without requests.
    pub const fn is_stream(&self) -> bool {
        self.uri.is_empty()
    }

    /// The log entry, made when the first logger asks. Credentials in headers are left out.
    pub fn entry(&self) -> &Value {
        self.entry.get_or_init(|| super::entry::entry(self))
    }
}

/// How long an exchange took, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    /// The gateway's own time before an upstream was asked, or until its own answer.
    pub kong: u64,
    /// Waiting for the upstream's first byte; `None` when none was asked.
    pub upstream: Option<u64>,
    /// From the request's first byte to the answer's last.
    pub request: u64,
}

/// One attempt at an upstream.
#[derive(Clone, Debug)]
pub struct Try {
    /// The address.
    pub address: SocketAddr,
    /// When it began, Unix milliseconds.
    pub start_ms: u64,
    /// How long it took to choose the address, nanoseconds.
    pub balancer_ns: u64,
    /// How it failed: status code the failure stands for (502, 504).
    pub failed: Option<u16>,
    /// Status the upstream gave.
    pub status: Option<u16>,
}
