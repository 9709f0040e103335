//! [`Problem`]: the error body of Mp1 and Mm5.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::dialect::json;

/// Why a request failed, as clients are told.
///
/// Its `status` member is not the HTTP status but the original's own number for the kind of
/// failure; clients read it as an integer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of failure.
    pub code: Code,
    /// What exactly.
    pub detail: Cow<'static, str>,
}

impl Problem {
    /// A failure of this kind.
    pub const fn new(code: Code, detail: &'static str) -> Self {
        Self { code, detail: Cow::Borrowed(detail) }
    }

    /// The same with a text made for the case.
    pub(crate) fn with(code: Code, detail: String) -> Self {
        Self { code, detail: Cow::Owned(detail) }
    }
}

/// The original's kinds of failure, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Code {
    /// The request cannot be read, or an id in its path is none.
    BadRequest = 1,
    /// No instance has the id asked for in a query.
    NoInstance = 2,
    /// There is no such service.
    NoService = 3,
    /// The body's members have the wrong types.
    Unreadable = 4,
    /// There is no such subscription or rule.
    NotFound = 5,
    /// It could not be stored.
    StoreFailed = 6,
    /// It could not be removed.
    DeleteFailed = 7,
    /// It could not be changed.
    UpdateFailed = 8,
    /// The name server or the data plane did not do it.
    RemoteFailed = 9,
    /// The state is not the one the client asked for.
    Precondition = 10,
    /// The caller is not the app it speaks for.
    Unauthorized = 11,
    /// A service could not be registered.
    RegisterFailed = 12,
    /// A parameter or a member breaks a rule.
    Parameter = 14,
    /// An app has too many subscriptions.
    SubscriptionFailed = 15,
    /// The service sends no heartbeats.
    NoHeartbeat = 17,
    /// The service is in a state that does not allow it.
    Inactive = 18,
    /// Another has it already.
    Duplicate = 19,
    /// Something else is under way.
    NotAllowed = 20,
    /// No time server answered.
    NoTime = 21,
    /// A callback is no URI that may be called.
    Callback = 22,
}

impl Code {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NoService | Self::NotFound | Self::NoHeartbeat => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Inactive => StatusCode::CONFLICT,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::RemoteFailed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest
            | Self::Unreadable
            | Self::StoreFailed
            | Self::DeleteFailed
            | Self::UpdateFailed
            | Self::NoTime
            | Self::Callback => "Bad Request",
            Self::NoInstance | Self::NoService | Self::NotFound | Self::NoHeartbeat => {
                "Can not found resource"
            }
            Self::Unauthorized => "UnAuthorization",
            Self::RegisterFailed => "Service register failed",
            Self::Parameter => "Request parameter error",
            Self::SubscriptionFailed => "App subscription error",
            Self::Inactive => "Service is in INACTIVE state",
            Self::RemoteFailed => "Remote server error",
            Self::Precondition => "Precondition failed",
            Self::Duplicate => "Duplicate request error",
            Self::NotAllowed => "Operation Not Allowed",
        }
    }
}

/// Marks a response whose body is a problem, so that its content type can be chosen later.
#[derive(Clone, Copy)]
pub(crate) struct IsProblem;

/// Why a request failed.
#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::Problem)]
pub(crate) struct Body<'a> {
    title: &'static str,
    /// The kind of failure by EdgeGallery's number; not the HTTP status.
    status: u8,
    detail: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { code, detail } = self;
        let body = Body { title: code.title(), status: code as u8, detail: &detail };
        let mut response = json_reply(code.status(), &body);
        response.extensions_mut().insert(IsProblem);
        response
    }
}

/// What frameworks and gateways say by themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::Message)]
pub(crate) struct Message<'a> {
    pub(crate) message: &'a str,
}

/// What the gateway's own plugin says to an address that is not on a list.
pub(crate) const NOT_ALLOWED: Message<'static> =
    Message { message: "Your IP address is not allowed" };

/// A JSON body as the original's mepserver wrote it: compact, escaped, with a line feed.
pub(crate) fn json_reply<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    match json::to_string(body) {
        Ok(text) => json_text(status, text),
        Err(cause) => {
            tracing::error!(%cause, "a reply could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// [`json_reply`] of text that is JSON already.
pub(crate) fn json_text(status: StatusCode, mut text: String) -> Response {
    text.push('\n');
    json_body(status, text.into())
}

/// A body that is whole.
pub(crate) fn json_body(status: StatusCode, text: bytes::Bytes) -> Response {
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    (status, [(header::CONTENT_TYPE, json)], text).into_response()
}
