//! The MEC APIs in the standard's own form: ETSI GS MEC 011 at the roots it names.
//!
//! Same applications, services, rules and subscriptions as the dialect's, same checks of identity;
//! only bodies, links and refusals are others. [`asked`] is what requests share.

mod app_support;
mod asked;
mod capif;
mod parameter;
mod reading;
mod refusal;
mod registrations;
mod rule_bodies;
mod service_mgmt;
mod subscriptions;
mod told;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, LOCATION};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::asked::Named;
pub(crate) use self::capif::describe;
pub(crate) use self::refusal::Refusal;
use crate::openapi::Routes;
use crate::{Platform, etag};

/// Where the standard's APIs begin.
const ROOTS: [&str; 5] =
    ["/mec_service_mgmt", "/mec_app_support", "/service-apis", "/published-apis", "/capif-events"];

/// Longer request targets are refused, bytes.
pub(crate) const LONGEST_TARGET: usize = 8 * 1024;

/// Whether a path is one of the standard's.
pub(crate) fn owns(path: &str) -> bool {
    ROOTS.iter().any(|root| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Everything at the standard's roots.
pub(crate) fn routes() -> Routes<Arc<Platform>> {
    service_mgmt::routes()
        .merge(app_support::routes())
        .merge(registrations::routes())
        .merge(capif::routes())
        .merge(subscriptions::routes())
        .around(|router| {
            router.method_not_allowed_fallback(async || {
                Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the resource has no such method")
            })
        })
}

/// What there is at no other path.
pub(crate) fn unknown() -> Response {
    Refusal::not_found("there is no such resource").into_response()
}

/// What a request for a target that is too long gets.
pub(crate) fn too_long() -> Response {
    let detail = format!("the request target is longer than {LONGEST_TARGET} bytes");
    Refusal::new(StatusCode::URI_TOO_LONG, detail).into_response()
}

/// A link (ETSI GS MEC 011, clause 7.1.5.2).
#[derive(Serialize, ToSchema)]
#[schema(as = LinkType)]
struct Link {
    href: String,
}

/// An answer in JSON.
fn json<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => json_text(status, text),
        Err(cause) => {
            tracing::error!(%cause, "a reply could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn json_text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], text.into()).into_response()
}

/// An answer with the tag of what it shows.
fn tagged<T: Serialize + ?Sized>(status: StatusCode, tag: &str, body: &T) -> Response {
    ([etag::header(tag)], json(status, body)).into_response()
}

/// The answer to a GET of what has this tag: nothing, when the client has it already.
fn shown<T: Serialize + ?Sized>(asked: &asked::Asked, tag: &str, body: &T) -> Response {
    if asked.has(tag) {
        return ([etag::header(tag)], StatusCode::NOT_MODIFIED).into_response();
    }
    tagged(StatusCode::OK, tag, body)
}

/// The answer to a creating POST; `path` is where what was made is.
fn created<T: Serialize + ?Sized>(
    platform: &Platform,
    path: &str,
    tag: &str,
    body: &T,
) -> Response {
    let location = HeaderValue::from_str(&platform.settings.published.link(path));
    let location: (HeaderName, HeaderValue) =
        (LOCATION, location.unwrap_or(HeaderValue::from_static("/")));
    ([location], tagged(StatusCode::CREATED, tag, body)).into_response()
}
