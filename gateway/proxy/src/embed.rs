//! Services that live in this process: a route whose service host is registered here ends in a
//! function call after the plugin chain, with no loopback hop.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;

/// The body of an embedded service's answer. It may stream.
pub type EmbeddedBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A service that lives in this process.
///
/// The request carries a [`gateway_model::ports::Caller`] extension; its body was read whole,
/// within [`Embedded::body_limit`].
pub trait Embedded: Send + Sync {
    /// Answers one request.
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, http::Response<EmbeddedBody>>;

    /// The largest request body accepted, bytes; a larger one is refused with 413.
    fn body_limit(&self) -> u64;
}

/// Embedded services by the host name that stands for them.
pub type EmbeddedServices = HashMap<&'static str, Arc<dyn Embedded>>;
