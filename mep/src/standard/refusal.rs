//! [`Refusal`]: the error body of the standard's own face (RFC 9457; ETSI GS MEC 009, clause 6.15).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request failed. Its `status` member is the HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) detail: Cow<'static, str>,
    /// Every member or parameter that is wrong.
    pub(crate) invalid: Vec<Invalid>,
}

/// One member or parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = InvalidParam)]
pub(crate) struct Invalid {
    pub(crate) param: String,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), invalid: Vec::new() }
    }

    pub(crate) fn bad(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    pub(crate) fn stale() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "If-Match names another state")
    }

    /// The application was told to end.
    pub(crate) fn ending() -> Self {
        Self::conflict("the application is ending")
    }

    /// The catalog or the store refused; the operator reads why in the log.
    pub(crate) fn not_stored() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the change could not be stored")
    }

    /// Members that are wrong.
    pub(crate) fn invalid(invalid: Vec<Invalid>) -> Self {
        let detail = invalid.first().map_or_else(
            || "the body is not valid".to_owned(),
            |first| format!("{} {}", first.param, first.reason),
        );
        Self { status: StatusCode::BAD_REQUEST, detail: detail.into(), invalid }
    }
}

/// Why a request failed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProblemDetails)]
pub(crate) struct ProblemDetails<'a> {
    /// The reason phrase of the status.
    #[schema(required = false)]
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// Every member or parameter that is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    invalid_params: &'a [Invalid],
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ProblemDetails {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            invalid_params: &self.invalid,
        };
        // Texts and numbers only: it can be written.
        let text = serde_json::to_string(&body).unwrap_or_default();
        let problem = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, problem)], text).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
