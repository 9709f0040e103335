//! A certificate authority that speaks ACME (RFC 8555), for tests.
//!
//! It does what a real one does and believes nothing: requests are signed, with nonces used once and
//! for the address they are sent to; names are looked up over HTTP before anything is issued; and a
//! certificate is made of the request that came, by an authority of its own. What it leaves out:
//! other challenges than HTTP-01, revocation, changes of keys, and TLS.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use rustls_pki_types::CertificateSigningRequestDer;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::plain;

/// A running authority; it ends when dropped.
pub(crate) struct Authority {
    addr: SocketAddr,
    state: Arc<Mutex<Books>>,
    task: JoinHandle<()>,
}

/// What an authority knows.
struct Books {
    root: Issuer<'static, KeyPair>,
    root_pem: String,
    /// The same root, vouched for by another one: chains with it are offered beside.
    crossed: String,
    /// Where names are looked up: every name is at this address.
    names_at: SocketAddr,
    /// Days the next certificates are good for.
    days: i64,
    nonces: HashSet<String>,
    made: usize,
    /// Whether the next request's nonce is refused, as happens to clients of real ones.
    refuse_nonce: bool,
    /// Keys by account.
    accounts: Vec<Value>,
    contacts: Vec<Value>,
    orders: Vec<Order>,
}

struct Order {
    account: usize,
    name: String,
    token: String,
    /// `pending`, `valid` or `invalid`.
    authorization: &'static str,
    certificate: Option<String>,
}

impl Order {
    fn status(&self) -> &'static str {
        match (self.authorization, &self.certificate) {
            ("pending", _) => "pending",
            ("valid", None) => "ready",
            ("valid", Some(_)) => "valid",
            _ => "invalid",
        }
    }
}

type Shared = State<(SocketAddr, Arc<Mutex<Books>>)>;

/// A refusal: status, the last part of its type, and what is wrong (RFC 8555, section 6.7).
struct Refused(u16, &'static str, String);

fn refuse<T>(status: u16, kind: &'static str, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(status, kind, why.into()))
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

impl Authority {
    /// Names are looked up at `names_at`.
    pub(crate) async fn start(names_at: SocketAddr) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority("first root");
        let root_pem = params.self_signed(&key).expect("a root").pem();
        let other = Issuer::new(authority("other root"), KeyPair::generate().expect("a key"));
        let crossed = params.signed_by(&key, &other).expect("the root under the other").pem();
        let books = Books {
            root: Issuer::new(params, key),
            root_pem,
            crossed,
            names_at,
            days: 90,
            nonces: HashSet::new(),
            made: 0,
            refuse_nonce: true,
            accounts: Vec::new(),
            contacts: Vec::new(),
            orders: Vec::new(),
        };
        let state = Arc::new(Mutex::new(books));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        #[expect(clippy::disallowed_methods, reason = "not a face of the platform")]
        let router = Router::new()
            .route("/directory", get(directory))
            .route("/nonce", get(nonce).head(nonce))
            .route("/{*path}", post(signed))
            .with_state((addr, Arc::clone(&state)));
        let serve = async move { axum::serve(listener, router).await.expect("it serves") };
        Self { addr, state, task: tokio::spawn(serve) }
    }

    /// The address of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("http://{}/directory", self.addr)
    }

    /// Has the certificates to come be good for so many days.
    pub(crate) fn good_for(&self, days: i64) {
        self.state.lock().unwrap().days = days;
    }

    /// Has names be looked up elsewhere.
    pub(crate) fn move_names(&self, to: SocketAddr) {
        self.state.lock().unwrap().names_at = to;
    }

    /// Names certificates were issued for, in order.
    pub(crate) fn issued(&self) -> Vec<String> {
        let books = self.state.lock().unwrap();
        let issued = books.orders.iter().filter(|order| order.certificate.is_some());
        issued.map(|order| order.name.clone()).collect()
    }

    /// How many orders there were, whatever became of them.
    pub(crate) fn orders(&self) -> usize {
        self.state.lock().unwrap().orders.len()
    }

    /// Whom the accounts belong to.
    pub(crate) fn contacts(&self) -> Vec<Value> {
        self.state.lock().unwrap().contacts.clone()
    }

    /// The keys of the accounts, as JWK.
    pub(crate) fn keys(&self) -> Vec<Value> {
        self.state.lock().unwrap().accounts.clone()
    }

    /// The certificate its own are signed with, PEM.
    pub(crate) fn root(&self) -> String {
        self.state.lock().unwrap().root_pem.clone()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn directory(State((addr, _)): Shared) -> Response {
    let url = |path: &str| format!("http://{addr}/{path}");
    axum::Json(json!({
        "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
        "revokeCert": url("revoke"), "keyChange": url("key"),
    }))
    .into_response()
}

async fn nonce(State((_, books)): Shared) -> Response {
    ([("replay-nonce", books.lock().unwrap().nonce())], "").into_response()
}

/// Every other request.
async fn signed(
    State((addr, books)): Shared,
    Path(path): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let url = format!("http://{addr}{}", uri.path());
    let answer = Message::read(&books, &headers, &body, &url, path == "account")
        .and_then(|message| answer(addr, &books, &path, &message));
    let next = books.lock().unwrap().nonce();
    let mut response = answer.unwrap_or_else(|Refused(status, kind, why)| {
        let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": why});
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
    });
    response.headers_mut().insert("replay-nonce", next.parse().unwrap());
    response
}

/// A request whose signature was found good.
struct Message {
    /// Which account signed; none for one that is to be made.
    account: Option<usize>,
    key: Value,
    /// `Null` for a mere look.
    payload: Value,
}

impl Message {
    fn read(
        books: &Mutex<Books>,
        headers: &HeaderMap,
        body: &[u8],
        url: &str,
        new: bool,
    ) -> Result<Self, Refused> {
        if headers.get("content-type").is_none_or(|kind| kind != "application/jose+json") {
            return refuse(415, "malformed", "not application/jose+json");
        }
        let jws: Value = serde_json::from_slice(body)
            .map_err(|why| Refused(400, "malformed", why.to_string()))?;
        let text = |name: &str| jws[name].as_str().unwrap_or_default();
        let decode = |name: &str| {
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(text(name));
            decoded.map_err(|why| Refused(400, "malformed", format!("{name}: {why}")))
        };
        let header: Value = serde_json::from_slice(&decode("protected")?)
            .map_err(|why| Refused(400, "malformed", why.to_string()))?;
        let mut books = books.lock().unwrap();
        let fresh = books.nonces.remove(header["nonce"].as_str().unwrap_or_default());
        if !fresh || std::mem::take(&mut books.refuse_nonce) {
            return refuse(400, "badNonce", "not one of ours, or used");
        }
        if header["alg"] != "ES256" || header["url"] != url {
            return refuse(400, "malformed", format!("header {header} for {url}"));
        }
        let account = header["kid"].as_str().and_then(|kid| kid.rsplit('/').next()?.parse().ok());
        let known: Option<(usize, Value)> =
            account.and_then(|at: usize| Some((at, books.accounts.get(at)?.clone())));
        let (account, key) = match (known, new) {
            (Some((at, key)), false) => (Some(at), key),
            (None, true) if header["jwk"].is_object() => (None, header["jwk"].clone()),
            _ => return refuse(400, "accountDoesNotExist", "by an account, or a key to make one"),
        };
        let input = format!("{}.{}", text("protected"), text("payload"));
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(&key)?);
        if public.verify(input.as_bytes(), &decode("signature")?).is_err() {
            return refuse(403, "unauthorized", "the signature is wrong");
        }
        let payload = decode("payload")?;
        let payload = if payload.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&payload)
                .map_err(|why| Refused(400, "malformed", why.to_string()))?
        };
        Ok(Self { account, key, payload })
    }
}

/// The point of a P-256 key.
fn point(key: &Value) -> Result<Vec<u8>, Refused> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let part = BASE64_URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap_or_default());
        point.extend(part.map_err(|why| Refused(400, "badPublicKey", why.to_string()))?);
    }
    Ok(point)
}

/// The digest a key is known by (RFC 7638).
fn thumbprint(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let canonical = format!(
        "{{\"crv\":\"{}\",\"kty\":\"{}\",\"x\":\"{}\",\"y\":\"{}\"}}",
        text("crv"),
        text("kty"),
        text("x"),
        text("y")
    );
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

fn answer(
    addr: SocketAddr,
    books: &Arc<Mutex<Books>>,
    path: &str,
    message: &Message,
) -> Result<Response, Refused> {
    let url = |path: &str| format!("http://{addr}/{path}");
    let mut open = books.lock().unwrap();
    let parts: Vec<&str> = path.split('/').collect();
    if let ["account"] = parts[..] {
        return account(&mut open, message, &url);
    }
    let by = message.account.ok_or_else(|| Refused(401, "unauthorized", "who?".into()))?;
    if let ["account", at] = parts[..] {
        // A change of contacts (RFC 8555, section 7.3.2).
        if at.parse() != Ok(by) {
            return refuse(403, "unauthorized", "another's account");
        }
        open.contacts[by] = message.payload["contact"].clone();
        let body = json!({"status": "valid", "contact": open.contacts[by]});
        return Ok(axum::Json(body).into_response());
    }
    if let ["order"] = parts[..] {
        return order(&mut open, by, message, &url);
    }
    let at: usize = parts.get(1).and_then(|at| at.parse().ok()).unwrap_or(usize::MAX);
    if open.orders.get(at).is_none_or(|order| order.account != by) {
        return refuse(404, "malformed", path);
    }
    match parts[..] {
        ["order", _] => Ok(axum::Json(open.show_order(at, &url)).into_response()),
        ["authz", _] => {
            let order = &open.orders[at];
            Ok(axum::Json(json!({
                "status": order.authorization,
                "identifier": {"type": "dns", "value": order.name},
                "challenges": [open.show_challenge(at, &url)],
            }))
            .into_response())
        }
        ["challenge", _] => {
            let shown = open.show_challenge(at, &url);
            if message.payload.is_object() {
                let wanted = format!("{}.{}", open.orders[at].token, thumbprint(&message.key));
                tokio::spawn(look(Arc::clone(books), at, wanted));
            }
            Ok(axum::Json(shown).into_response())
        }
        ["finalize", _] => finalize(&mut open, at, message, &url),
        ["certificate", _] | ["certificate", _, "1"] => match &open.orders[at].certificate {
            Some(chain) => {
                let kind = ("content-type", "application/pem-certificate-chain");
                let other = format!("<{}/1>;rel=\"alternate\"", url(&format!("certificate/{at}")));
                let chain = match parts.len() {
                    2 => chain.clone(),
                    _ => chain.replace(&open.root_pem, &open.crossed),
                };
                Ok(([kind, ("link", &other)], chain).into_response())
            }
            None => refuse(404, "malformed", "none yet"),
        },
        _ => refuse(404, "malformed", path),
    }
}

fn account(
    books: &mut Books,
    message: &Message,
    url: &dyn Fn(&str) -> String,
) -> Result<Response, Refused> {
    let known = books.accounts.iter().position(|key| *key == message.key);
    if message.payload["termsOfServiceAgreed"] != true && known.is_none() {
        return refuse(403, "userActionRequired", "agree to the terms");
    }
    let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let at = known.unwrap_or_else(|| {
        books.accounts.push(message.key.clone());
        books.contacts.push(message.payload["contact"].clone());
        books.accounts.len() - 1
    });
    let location = [("location", url(&format!("account/{at}")))];
    let body = json!({"status": "valid", "contact": books.contacts[at]});
    Ok((status, location, axum::Json(body)).into_response())
}

fn order(
    books: &mut Books,
    by: usize,
    message: &Message,
    url: &dyn Fn(&str) -> String,
) -> Result<Response, Refused> {
    let identifiers = message.payload["identifiers"].as_array().cloned().unwrap_or_default();
    let [one] = &identifiers[..] else {
        return refuse(400, "malformed", "one name, please");
    };
    let name = one["value"].as_str().filter(|_| one["type"] == "dns");
    let Some(name) = name.filter(|name| !name.contains('*')) else {
        return refuse(400, "rejectedIdentifier", one.to_string());
    };
    let token = books.text();
    books.orders.push(Order {
        account: by,
        name: name.to_owned(),
        token,
        authorization: "pending",
        certificate: None,
    });
    let at = books.orders.len() - 1;
    let location = [("location", url(&format!("order/{at}")))];
    let body = axum::Json(books.show_order(at, url));
    Ok((StatusCode::CREATED, location, body).into_response())
}

fn finalize(
    books: &mut Books,
    at: usize,
    message: &Message,
    url: &dyn Fn(&str) -> String,
) -> Result<Response, Refused> {
    let order = &books.orders[at];
    if order.status() != "ready" {
        return refuse(403, "orderNotReady", order.status());
    }
    let bad = |why: String| Refused(400, "badCSR", why);
    let csr = message.payload["csr"].as_str().unwrap_or_default();
    let csr = BASE64_URL_SAFE_NO_PAD.decode(csr).map_err(|why| bad(why.to_string()))?;
    // Reading it checks that it is signed with the key it is for.
    let csr = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr));
    let mut csr = csr.map_err(|why| bad(why.to_string()))?;
    let names: Vec<String> =
        csr.params.subject_alt_names.iter().map(|name| format!("{name:?}")).collect();
    if names.len() != 1 || !names[0].contains(&format!("\"{}\"", order.name)) {
        return Err(bad(format!("names {names:?}")));
    }
    let now = time::OffsetDateTime::now_utc();
    csr.params.not_before = now - time::Duration::hours(1);
    csr.params.not_after = now + time::Duration::days(books.days);
    let made = csr.signed_by(&books.root).map_err(|why| bad(why.to_string()))?;
    let chain = format!("{}{}", made.pem(), books.root_pem);
    books.orders[at].certificate = Some(chain);
    Ok(axum::Json(books.show_order(at, url)).into_response())
}

/// Looks whether a name answers as its owner says.
async fn look(books: Arc<Mutex<Books>>, at: usize, wanted: String) {
    let (name, token, to) = {
        let books = books.lock().unwrap();
        let order = &books.orders[at];
        (order.name.clone(), order.token.clone(), books.names_at)
    };
    let url = format!("http://{to}/.well-known/acme-challenge/{token}");
    let found = match plain().get(url).header("host", name).send().await {
        Ok(answer) if answer.status().as_u16() == 200 => answer.text().await.unwrap_or_default(),
        _ => String::new(),
    };
    let verdict = if found.trim_end() == wanted { "valid" } else { "invalid" };
    books.lock().unwrap().orders[at].authorization = verdict;
}

impl Books {
    fn text(&mut self) -> String {
        self.made += 1;
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("text {}", self.made).as_bytes()))
    }

    fn nonce(&mut self) -> String {
        let nonce = self.text();
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn show_order(&self, at: usize, url: &dyn Fn(&str) -> String) -> Value {
        let order = &self.orders[at];
        let mut shown: HashMap<&str, Value> = HashMap::from([
            ("status", order.status().into()),
            ("identifiers", json!([{"type": "dns", "value": order.name}])),
            ("authorizations", json!([url(&format!("authz/{at}"))])),
            ("finalize", url(&format!("finalize/{at}")).into()),
        ]);
        if order.certificate.is_some() {
            shown.insert("certificate", url(&format!("certificate/{at}")).into());
        }
        json!(shown)
    }

    fn show_challenge(&self, at: usize, url: &dyn Fn(&str) -> String) -> Value {
        let order = &self.orders[at];
        json!({
            "type": "http-01", "url": url(&format!("challenge/{at}")), "token": order.token,
            "status": order.authorization,
        })
    }
}
