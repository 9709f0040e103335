//! [`Refusal`]: why an application gets nothing (RFC 6749, section 5.2).

use http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::contract::Reply;

/// Members of an answer.
pub(super) type Members = Map<String, Value>;

/// Why an application gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    error: &'static str,
    description: String,
    /// Whether the client proved itself, in vain, by the scheme `Basic`.
    by_basic: bool,
}

impl Refusal {
    pub(super) fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { error, description: description.into(), by_basic: false }
    }

    pub(super) fn client(by_basic: bool) -> Self {
        Self { by_basic, ..Self::new("invalid_client", "Invalid client authentication") }
    }

    pub(super) fn scope(description: impl Into<String>) -> Self {
        Self::new("invalid_scope", description)
    }

    pub(super) fn request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    pub(super) fn provision_key() -> Self {
        Self::new("invalid_provision_key", "Invalid provision_key")
    }

    pub(super) fn user() -> Self {
        let description = "Missing authenticated_userid parameter";
        Self::new("invalid_authenticated_userid", description)
    }

    pub(super) fn plain_http(description: &str) -> Self {
        Self::new("access_denied", description)
    }

    pub(super) fn members(&self) -> Members {
        let members = [("error", self.error), ("error_description", &self.description)];
        members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    /// The answer of the token endpoint.
    pub(super) fn reply(&self, state: Option<&str>) -> Reply {
        let mut members = self.members();
        members.extend(state.map(|state| ("state".to_owned(), state.into())));
        if self.by_basic {
            let challenge = HeaderValue::from_static("Basic realm=\"OAuth2.0\"");
            return not_stored(StatusCode::UNAUTHORIZED, &members.into())
                .header(WWW_AUTHENTICATE, challenge);
        }
        not_stored(StatusCode::BAD_REQUEST, &members.into())
    }
}

/// An answer that no cache may keep.
pub(super) fn not_stored(status: StatusCode, body: &Value) -> Reply {
    Reply::json(status, body)
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(PRAGMA, HeaderValue::from_static("no-cache"))
}

/// The answer when an entity could not be written.
pub(super) fn failed(why: &dyn std::fmt::Display) -> Reply {
    tracing::error!(%why, "oauth2 could not write: {why}");
    let body = json!({"message": "An unexpected error occurred"});
    Reply::json(StatusCode::INTERNAL_SERVER_ERROR, &body)
}
