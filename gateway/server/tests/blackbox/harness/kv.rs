//! A Consul and a Vault that keep values, for tests: the parts of their HTTP APIs that matter for keys
//! (Consul: `/v1/kv`; Vault: the secrets engine of version 2 at `secret`, and entry by Kubernetes).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A running server; it ends when dropped.
pub(crate) struct KeyValues {
    addr: SocketAddr,
    kept: Kept,
    task: JoinHandle<()>,
}

/// What lets in.
pub(crate) const TOKEN: &str = "s3cret-t0ken";
/// What lets in at Vault's door for Kubernetes.
pub(crate) const JWT: &str = "pod.jwt.signature";

type Kept = Arc<Mutex<BTreeMap<String, Entry>>>;

/// Consul keeps one version; Vault numbers them.
#[derive(Clone, Default)]
struct Entry {
    version: u64,
    flags: u64,
    value: Option<String>,
    /// Vault: how long versions to come are kept.
    delete_after: String,
    /// Vault: when this one goes, as it tells it.
    deletion: String,
}

impl KeyValues {
    pub(crate) async fn consul() -> Self {
        Self::serve(|kept| Router::new().route("/v1/kv/{*key}", any(consul)).with_state(kept)).await
    }

    pub(crate) async fn vault() -> Self {
        Self::serve(|kept| {
            Router::new()
                .route("/v1/secret/data/{*key}", any(vault_data))
                .route("/v1/secret/metadata/{*key}", any(vault_metadata))
                .route("/v1/auth/kubernetes/login", post(vault_login))
                .with_state(kept)
        })
        .await
    }

    async fn serve(router: impl FnOnce(Kept) -> Router) -> Self {
        let kept = Kept::default();
        let router = router(Arc::clone(&kept));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let serve = async move { axum::serve(listener, router).await.expect("it serves") };
        Self { addr, kept, task: tokio::spawn(serve) }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The names that have a value, and the values.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        let kept = self.kept.lock().unwrap();
        kept.iter().filter_map(|(name, one)| Some((name.clone(), one.value.clone()?))).collect()
    }
}

impl Drop for KeyValues {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn token(headers: &HeaderMap, name: &str) -> bool {
    headers.get(name).is_some_and(|token| token == TOKEN)
}

async fn consul(
    State(kept): State<Kept>,
    method: Method,
    Path(key): Path<String>,
    Query(words): Query<BTreeMap<String, u64>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !token(&headers, "x-consul-token") {
        return (StatusCode::FORBIDDEN, "Permission denied").into_response();
    }
    let mut kept = kept.lock().unwrap();
    match method {
        Method::GET => match kept.get(&key) {
            None => StatusCode::NOT_FOUND.into_response(),
            Some(one) => axum::Json(json!([{
                "Key": key, "Flags": one.flags, "CreateIndex": 1, "ModifyIndex": one.version,
                "Value": BASE64_STANDARD.encode(one.value.as_deref().unwrap_or_default()),
            }]))
            .into_response(),
        },
        Method::PUT => {
            let version = kept.get(&key).map_or(0, |one| one.version);
            if words.get("cas").is_some_and(|wanted| *wanted != version) {
                return axum::Json(false).into_response();
            }
            let newest = kept.values().map(|one| one.version).max().unwrap_or(100);
            let value = Some(String::from_utf8(body.to_vec()).expect("text"));
            let flags = words.get("flags").copied().unwrap_or_default();
            kept.insert(key, Entry { version: newest + 1, flags, value, ..Entry::default() });
            axum::Json(true).into_response()
        }
        _ => {
            kept.remove(&key);
            axum::Json(true).into_response()
        }
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, axum::Json(json!({ "errors": [why] }))).into_response()
}

/// A request for a secret, whose token was found good.
struct Asked {
    method: Method,
    key: String,
    /// Null where there is none.
    body: Value,
}

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        if !token(&parts.headers, "x-vault-token") {
            return Err(refused(StatusCode::FORBIDDEN, "permission denied"));
        }
        let key = Path::<String>::from_request_parts(&mut parts, state).await;
        let Path(key) = key.map_err(axum::response::IntoResponse::into_response)?;
        let method = parts.method.clone();
        let body = Bytes::from_request(Request::from_parts(parts, body), state).await;
        let body = body.map_err(axum::response::IntoResponse::into_response)?;
        Ok(Self { method, key, body: serde_json::from_slice(&body).unwrap_or_default() })
    }
}

async fn vault_data(State(kept): State<Kept>, Asked { method, key, body }: Asked) -> Response {
    let mut kept = kept.lock().unwrap();
    if method == Method::GET {
        let Some(one) = kept.get(&key).filter(|one| one.version > 0) else {
            return refused(StatusCode::NOT_FOUND, "");
        };
        let about =
            json!({"version": one.version, "deletion_time": one.deletion, "destroyed": false});
        let data = one.value.as_ref().map(|value| json!({ "value": value }));
        return axum::Json(json!({"data": {"data": data, "metadata": about}})).into_response();
    }
    let one = kept.entry(key).or_default();
    if body["options"]["cas"].as_u64().is_some_and(|wanted| wanted != one.version) {
        let why = "check-and-set parameter did not match the current version";
        return refused(StatusCode::BAD_REQUEST, why);
    }
    one.version += 1;
    one.value = body["data"]["value"].as_str().map(str::to_owned);
    let seconds: i64 = one.delete_after.trim_end_matches('s').parse().unwrap_or(0);
    one.deletion = String::new();
    if seconds > 0 {
        let ends = time::OffsetDateTime::from_unix_timestamp(super::now() + seconds).unwrap();
        one.deletion = ends.format(&time::format_description::well_known::Rfc3339).unwrap();
    }
    axum::Json(json!({"data": {"version": one.version}})).into_response()
}

async fn vault_metadata(State(kept): State<Kept>, Asked { method, key, body }: Asked) -> Response {
    let mut kept = kept.lock().unwrap();
    if method == Method::DELETE {
        kept.remove(&key);
    } else {
        let after = body["delete_version_after"].as_str().expect("a time").to_owned();
        kept.entry(key).or_default().delete_after = after;
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn vault_login(body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    if body != json!({"jwt": JWT, "role": "gateway"}) {
        return refused(StatusCode::FORBIDDEN, "permission denied");
    }
    axum::Json(json!({"auth": {"client_token": TOKEN, "lease_duration": 3600}})).into_response()
}
