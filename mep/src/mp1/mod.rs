//! Mp1: what applications ask of the platform, in EdgeGallery's dialect; [`standard`] has the other.
//!
//! [`router`] lists the requests. This module owns what they share: who calls, how a body is read,
//! and what is put around every reply. Who may reach these routes at all is the gateway's.

pub(crate) mod app_support;
pub(crate) mod rule_bodies;
pub(crate) mod service_mgmt;
mod subscriptions;
pub(crate) mod support_bodies;
pub(crate) mod told;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gateway_model::Id;
use gateway_model::ports::Caller;
use http::{HeaderValue, Method, StatusCode, Uri, header, request};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;

use crate::auth::credential::AppInstanceId;
use crate::dialect::casefold;
use crate::entities::Store;
use crate::guard::lets_in;
use crate::openapi::{Api, Operation, Routes};
use crate::problem::{Code, IsProblem, NOT_ALLOWED, Problem, json_reply};
use crate::standard::Named;
use crate::{Platform, standard};

/// Everything that answers at the platform's own address.
pub(crate) fn router(platform: Arc<Platform>) -> Router {
    routes(&platform)
        .into_router()
        .fallback(async |uri: Uri| {
            if standard::owns(uri.path()) {
                return standard::unknown();
            }
            (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&platform), dress))
        .with_state(platform)
}

/// All resources, of both faces.
pub(crate) fn routes(platform: &Arc<Platform>) -> Routes<Arc<Platform>> {
    let well = || Operation::new("Whether the platform is well").answers_text("It is: `ok`.");
    Routes::of(Api::Health)
        .at("/health", |on| on.get(async || "ok", well()))
        .at("/healthcheck", |on| on.get(async || "ok", well()))
        .merge(service_mgmt::routes())
        .merge(subscriptions::routes(Store::Availability))
        .merge(subscriptions::routes(Store::Termination))
        .merge(app_support::routes())
        .merge(crate::mm5::routes(platform))
        .around(|router| {
            router.method_not_allowed_fallback(async || {
                (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
            })
        })
        .merge(standard::routes())
}

/// Puts around every reply what the original's server put there.
async fn dress(State(platform): State<Arc<Platform>>, request: Request, next: Next) -> Response {
    if !is_admitted(&platform, &request) {
        return not_allowed();
    }
    if standard::owns(request.uri().path()) {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target > standard::LONGEST_TARGET {
            return standard::too_long();
        }
        return next.run(request).await;
    }
    let cross_origin = request.headers().contains_key(header::ORIGIN);
    let mut response = match cleaned(request.uri().path()) {
        Some(path) => moved(&path, request.uri().query()),
        None if request.method() == Method::OPTIONS => StatusCode::OK.into_response(),
        None => next.run(request).await,
    };
    let status = HeaderValue::from(response.status().as_u16());
    let strict_problem =
        platform.settings.strict_original && response.extensions().get::<IsProblem>().is_some();
    let headers = response.headers_mut();
    headers.insert("x-response-status", status);
    if strict_problem {
        let text = HeaderValue::from_static("text/plain; charset=UTF-8");
        headers.insert(header::CONTENT_TYPE, text);
    }
    if cross_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

/// Whether the caller may be here: whoever came by the gateway, and directly who shows
/// a certificate or is on the list.
/// Everybody may ask whether we are well.
fn is_admitted(platform: &Platform, request: &Request) -> bool {
    if matches!(request.uri().path(), "/health" | "/healthcheck") {
        return true;
    }
    let caller = request.extensions().get::<Caller>();
    caller.is_some_and(|caller| lets_in(&platform.settings.direct_trusted, caller))
}

/// What the gateway's own plugin answers to an address that is not on a list.
fn not_allowed() -> Response {
    json_reply(StatusCode::FORBIDDEN, &NOT_ALLOWED)
}

/// The path without empty segments, when it has some.
fn cleaned(path: &str) -> Option<String> {
    path.contains("//").then(|| {
        let trailing = if path.ends_with('/') { "/" } else { "" };
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if segments.is_empty() {
            "/".to_owned()
        } else {
            format!("/{}{trailing}", segments.join("/"))
        }
    })
}

fn moved(path: &str, query: Option<&str>) -> Response {
    let location = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response()
}

/// Who calls: the subject of the verified token when the call came by the gateway, and only then
/// the word of a header.
pub(crate) struct Call {
    identity: Option<String>,
    pub(crate) by_gateway: bool,
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        let by_gateway = caller.is_some_and(|caller| caller.by_gateway);
        let identity = match caller.filter(|_| by_gateway) {
            Some(caller) => caller.subject.as_deref().map(str::to_owned),
            None => parts
                .headers
                .get("x-appinstanceid")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        };
        Ok(Self { identity, by_gateway })
    }
}

impl Call {
    /// The app instance in the path, which must be the caller.
    pub(crate) fn app(&self, path: &str) -> Result<Id, Problem> {
        self.speaks_for(path)?;
        AppInstanceId::id(path)
            .ok_or(Problem::new(Code::Parameter, "app Instance ID validation failed, invalid uuid"))
    }

    /// Refuses who is not the app instance in the path.
    pub(crate) fn speaks_for(&self, path: &str) -> Result<(), Problem> {
        if self.identity.as_deref() == Some(path) {
            return Ok(());
        }
        Err(Problem::new(Code::Unauthorized, "UnAuthorization to access the resource"))
    }

    /// The app instance that calls, if it says which.
    pub(crate) fn identity(&self) -> Option<Id> {
        AppInstanceId::id(self.identity.as_deref()?)
    }
}

/// A request of an application about what is its own; `N` is what the path names below it.
pub(crate) struct OfApp<N = ()> {
    pub(crate) platform: Arc<Platform>,
    pub(crate) app: Id,
    pub(crate) name: N,
}

impl<N: Named> FromRequestParts<Arc<Platform>> for OfApp<N> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut request::Parts,
        platform: &Arc<Platform>,
    ) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, platform).await;
        // A path that cannot be read is nobody's.
        let (app, name) = N::of(path.map_or_else(|_| Default::default(), |Path(path)| path));
        let Ok(call) = Call::from_request_parts(parts, platform).await;
        Ok(Self { platform: Arc::clone(platform), app: call.app(&app)?, name })
    }
}

/// Larger bodies are not read to their end, bytes.
const READABLE: usize = 2 << 20;
/// Larger bodies are refused, bytes.
const ACCEPTED: usize = 4096;

pub(crate) const BROKEN_RULE: Problem =
    Problem::new(Code::Parameter, "request param validation failed");
pub(crate) const WRONG_TYPES: Problem =
    Problem::new(Code::Unreadable, "unmarshal request body error");
pub(crate) const STALE: Problem = Problem::new(Code::Precondition, "e-tag miss-match");
pub(crate) const ENDING: Problem =
    Problem::new(Code::Inactive, "the application is being terminated");

/// The bytes of a body.
pub(crate) async fn bytes(body: Body) -> Result<Bytes, Problem> {
    bytes_up_to(body, ACCEPTED).await
}

/// The bytes of a body of which more than `most` are refused.
pub(crate) async fn bytes_up_to(body: Body, most: usize) -> Result<Bytes, Problem> {
    let unreadable = |_| Problem::new(Code::BadRequest, "read request body error");
    let bytes = Limited::new(body, READABLE).collect().await.map_err(unreadable)?.to_bytes();
    if bytes.len() > most {
        return Err(Problem::new(Code::Parameter, "request body too large"));
    }
    Ok(bytes)
}

/// A body that is a JSON object, read into `T` with keys in any case.
pub(crate) async fn object<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    match serde_json::from_slice(&bytes(body).await?) {
        Ok(value @ serde_json::Value::Object(_)) => {
            casefold::from_value(value).map_err(|_| WRONG_TYPES)
        }
        _ => Err(Problem::new(Code::BadRequest, "check Param failed")),
    }
}
