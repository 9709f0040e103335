//! [`Reply`]: an answer given without an upstream.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

/// An answer given without an upstream.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers besides Content-Type and Content-Length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: ReplyBody,
}

/// The body of a [`Reply`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReplyBody {
    /// A message in the type the client accepts, with the request id
    /// (kong/pdk/response.lua, `kong.response.error`). Empty: the status' own text.
    Message(String),
    /// These bytes of this type.
    Bytes(HeaderValue, Bytes),
    /// These bytes; what they are is not told.
    Untyped(Bytes),
    /// None.
    Empty,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

impl Reply {
    /// A message in the type the client accepts, with the request id.
    pub fn message(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Message(message.into()) }
    }

    /// Exactly this JSON, whatever the client accepts.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).unwrap_or_default();
        Self { status, headers: Vec::new(), body: ReplyBody::Bytes(JSON, bytes.into()) }
    }

    /// `{"message":"…"}`, whatever the client accepts.
    pub fn table(status: StatusCode, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "message": message }))
    }

    /// No body.
    pub const fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Empty }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}
