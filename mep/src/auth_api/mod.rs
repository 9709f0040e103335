//! The HTTP face of mepauth: tokens for signed requests, and the key pairs that sign them.
//!
//! Errors are JSON strings, whatever their content type says, and everything unknown is one small
//! page: that is what clients of the original know. [`crate::auth`] decides; here is who is asking.

mod asked;
mod client;
mod confs;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use gateway_control::Control;
use gateway_model::ports::Caller;
use http::{HeaderValue, StatusCode, header, request};
use serde::Serialize;

use self::asked::Asked;
pub(crate) use self::asked::described;
use self::client::Client;
use crate::Platform;
use crate::auth::credential::{AccessKey, AppInstanceId};
use crate::auth::service::{Credentials, StoredCredential, TokenRequest};
use crate::dialect::json;
use crate::entities::AppCredential;
use crate::guard::contains;
use crate::problem::NOT_ALLOWED;

/// Everything that answers at mepauth's address.
pub(crate) fn router(platform: Arc<Platform>) -> Router {
    // One handler, because the original tolerates a trailing slash everywhere and answers a wrong
    // method as it does an unknown path.
    Router::new().fallback(answer).with_state(platform)
}

async fn answer(State(platform): State<Arc<Platform>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let Some((asked, app)) = Asked::of(&parts.method, path) else { return not_found() };
    if asked.of_confs() {
        let Some(caller) = admitted(&platform, &parts) else { return not_allowed() };
        if client::of(&parts, caller, &platform.settings.trusted_peers).is_none() {
            return error(StatusCode::BAD_REQUEST, CLIENT_ADDRESS);
        }
    }
    match asked {
        Asked::Health => "ok".into_response(),
        Asked::Token => issue(&platform, &parts),
        Asked::PutConfs => confs::put(&platform, app, body).await,
        Asked::ShowConfs => confs::show(&platform, app),
        Asked::DeleteConfs => confs::delete(&platform, app).await,
    }
}

const CLIENT_ADDRESS: &str = "clientIp address is invalid";

/// The caller of the AK/SK API, which knows no other proof than an address or, directly, a
/// certificate.
fn admitted<'a>(platform: &Platform, parts: &'a request::Parts) -> Option<&'a Caller> {
    let caller = parts.extensions.get::<Caller>()?;
    if caller.certified || contains(&platform.settings.confs_trusted, caller.client) {
        return Some(caller);
    }
    tracing::warn!(client.address = %caller.client, "refused the AK/SK API by address");
    None
}

/// A token for a signed request: `POST /mep/token`. The body is not read.
fn issue(platform: &Platform, parts: &request::Parts) -> Response {
    let Some(caller) = parts.extensions.get::<Caller>() else {
        return error(StatusCode::BAD_REQUEST, CLIENT_ADDRESS);
    };
    let trusted = platform.settings.token_trusted.as_deref();
    if trusted.is_some_and(|trusted| !contains(trusted, caller.client)) {
        return not_allowed();
    }
    let client = client::of(parts, caller, &platform.settings.trusted_peers).map(Client::text);
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let request = TokenRequest {
        client: client.as_deref(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        // HTTP/2 has the authority in the request line.
        host: host
            .or(parts.uri.authority().map(|authority| authority.as_str()))
            .unwrap_or_default(),
        headers: &parts.headers,
    };
    let outcome = platform.tokens.token(&request, platform.clock.unix_ms());
    let counter = |result: &str| platform.metrics.tokens.with_label_values(&[result]).inc();
    match outcome {
        Ok(reply) => {
            counter("issued");
            success(&reply)
        }
        Err(refusal) => {
            counter(refusal.status().as_str());
            tracing::info!(client.address = client, %refusal, "refused a token");
            error(refusal.status(), refusal.message())
        }
    }
}

/// Key pairs as the catalog has them.
pub(crate) struct KeyPairs(pub(crate) Control);

impl Credentials for KeyPairs {
    fn by_access_key(&self, access_key: &AccessKey) -> Option<StoredCredential> {
        let credential = self.0.catalog().by::<AppCredential>("access_key", access_key.as_str())?;
        Some(StoredCredential {
            app_instance: AppInstanceId::parse(&credential.id().to_string()).ok()?,
            secret_key: credential.sealed(),
        })
    }
}

/// A reply that succeeded: compact JSON without a line feed.
fn success<T: Serialize + ?Sized>(body: &T) -> Response {
    json_body(StatusCode::OK, body, "application/json; charset=utf-8")
}

/// A reply that failed: a JSON string that is called plain text.
fn error(status: StatusCode, text: &str) -> Response {
    json_body(status, text, "text/plain; charset=utf-8")
}

fn json_body<T: Serialize + ?Sized>(
    status: StatusCode,
    body: &T,
    content_type: &'static str,
) -> Response {
    match json::to_string(body) {
        Ok(text) => {
            let content_type = HeaderValue::from_static(content_type);
            (status, [(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(cause) => {
            tracing::error!(%cause, "a reply could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What the gateway's own plugin answers to an address that is not on a list.
fn not_allowed() -> Response {
    json_body(StatusCode::FORBIDDEN, &NOT_ALLOWED, "application/json; charset=utf-8")
}

fn not_found() -> Response {
    let page = "<!DOCTYPE html>\n<html><head><title>Page Not Found</title></head>\
                <body><h1>404 Page not found</h1></body></html>\n";
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, html)], page).into_response()
}
