//! Mp1: what applications ask of the platform, in EdgeGallery's dialect.
//!
//! [`router`] lists the requests. This module owns what they share: who calls, how a body is read,
//! and what is put around every reply. Who may reach these routes at all is the gateway's.

mod service_mgmt;
mod subscriptions;

pub(crate) use subscriptions::href;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use gateway_model::Id;
use gateway_model::ports::Caller;
use http::{HeaderValue, Method, StatusCode, header, request};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;

use crate::Platform;
use crate::auth::credential::AppInstanceId;
use crate::dialect::casefold;
use crate::entities::Store;
use crate::problem::{Code, IsProblem, Problem};

/// Everything that answers at the platform's own address.
pub(crate) fn router(platform: Arc<Platform>) -> Router {
    Router::new()
        .merge(service_mgmt::router())
        .merge(subscriptions::router(Store::Availability))
        .merge(subscriptions::router(Store::Termination))
        .route("/health", get(async || "ok"))
        .route("/healthcheck", get(async || "ok"))
        .fallback(async || (StatusCode::NOT_FOUND, "404 page not found\n"))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&platform), dress))
        .with_state(platform)
}

/// Puts around every reply what the original's server put there.
async fn dress(State(platform): State<Arc<Platform>>, request: Request, next: Next) -> Response {
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
pub(crate) struct Call(Option<String>);

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        let identity = match caller.filter(|caller| caller.by_gateway) {
            Some(caller) => caller.subject.as_deref().map(str::to_owned),
            None => parts
                .headers
                .get("x-appinstanceid")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        };
        Ok(Self(identity))
    }
}

impl Call {
    /// The app instance in the path, which must be the caller.
    pub(crate) fn app(&self, path: &str) -> Result<Id, Problem> {
        if self.0.as_deref() != Some(path) {
            return Err(Problem::new(Code::Unauthorized, "UnAuthorization to access the resource"));
        }
        AppInstanceId::parse(path)
            .ok()
            .and_then(|app| Id::parse(app.as_str()))
            .ok_or(Problem::new(Code::Parameter, "app Instance ID validation failed, invalid uuid"))
    }

    /// The app instance that calls, if it says which.
    pub(crate) fn identity(&self) -> Option<Id> {
        let app = AppInstanceId::parse(self.0.as_deref()?).ok()?;
        Id::parse(app.as_str())
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

/// The bytes of a body.
pub(crate) async fn bytes(body: Body) -> Result<Bytes, Problem> {
    let unreadable = |_| Problem::new(Code::BadRequest, "read request body error");
    let bytes = Limited::new(body, READABLE).collect().await.map_err(unreadable)?.to_bytes();
    if bytes.len() > ACCEPTED {
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
