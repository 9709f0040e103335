//! What plugins read of a request: tokens, signatures, cookies, templates, agents, bodies.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gateway_model::{Clock, Id};
use gateway_proxy::bare::Plane;
use http::StatusCode;
use pingora_http::RequestHeader;
use plugins::contract::{Reply, RequestBody, Tools};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::asked::Asked;

/// 2026-01-01T00:00:30Z.
const NOW: u64 = 1_767_225_630_000;
const ROUTE: &str = "00000000-0000-4000-8000-000000000001";
const SECRET: &str = "shared secret of 32 characters..";
/// Of the credential with a key pair. Nobody has the other half.
const PUBLIC_KEY: &str = include_str!("../public_key.pem");

/// For what waits.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
});

/// A route with these plugins, and consumers with a key of each kind.
fn plane(plugins: &[(&str, Value)]) -> Plane {
    // Another may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
    let (clock, handle) = (Clock::fixed(NOW), RUNTIME.handle().clone());
    let tools = Tools::new(clock, handle, client, prometheus::Registry::new());
    let mut plane = Plane::new(Arc::new(tools));
    let bob = json!({"username": "bob"});
    let mut entities = vec![
        ("services", json!({"name": "s", "host": "upstream.test"})),
        ("routes", json!({"id": ROUTE, "paths": ["~/(?<all>.*)"], "service": {"name": "s"}})),
        ("consumers", bob.clone()),
        ("jwt_secrets", json!({"consumer": bob, "key": "shared", "secret": SECRET})),
        (
            "jwt_secrets",
            json!({"consumer": bob, "key": "pair", "algorithm": "RS512",
                   "rsa_public_key": PUBLIC_KEY}),
        ),
        ("hmacauth_credentials", json!({"consumer": bob, "username": "bob", "secret": SECRET})),
        ("keyauth_credentials", json!({"consumer": bob, "key": "k"})),
        ("basicauth_credentials", json!({"consumer": bob, "username": "bob", "password": "p"})),
        ("acls", json!({"consumer": bob, "group": "g"})),
    ];
    for (name, config) in plugins {
        let on = json!({"name": name, "config": config, "route": {"id": ROUTE}});
        entities.push(("plugins", on));
    }
    plane.insert(&entities).unwrap_or_else(|why| panic!("{why}"));
    plane
}

/// Runs the handlers; what they answer and what they made of the head.
fn access(plane: &Plane, mut head: RequestHeader, body: Vec<u8>) -> (Option<Reply>, RequestHeader) {
    let snapshot = plane.current().load_full();
    let id = Id::parse(ROUTE).expect("an id");
    let route = snapshot.route(id).cloned().expect("the route of the plane");
    let mut facts = plane.facts(Some(route.route.clone()));
    facts.body = RequestBody::Whole(body.into());
    let reply = plane.access(&snapshot, &route, &mut head, &mut facts);
    (reply, head)
}

fn head(target: &str) -> RequestHeader {
    let mut head = RequestHeader::build("GET", target.as_bytes(), None).expect("a head");
    head.insert_header("Host", "a.test").expect("a header");
    head
}

/// A token, bare or as header and claims to be signed here when the first byte is `+`: no other is
/// taken than one signed by a key there is, by the algorithm of that key.
pub(crate) fn jwt(data: &[u8]) {
    static PLANE: LazyLock<Plane> = LazyLock::new(|| {
        let config = json!({
            "claims_to_verify": ["exp", "nbf"], "cookie_names": ["c"],
            "maximum_expiration": 31_536_000,
        });
        plane(&[("jwt", config)])
    });
    let token = match data.split_first() {
        Some((b'+', rest)) => signed(rest),
        _ => data.to_vec(),
    };
    let bearer = [b"Bearer ".as_slice(), &token].concat();
    let cookie = [b"a=b; c=".as_slice(), &token].concat();
    let mut heads = Vec::new();
    for (name, value) in [("Authorization", bearer), ("Cookie", cookie)] {
        let mut head = head("/");
        if head.insert_header(name, value.as_slice()).is_ok() {
            heads.push(head);
        }
    }
    // What means nothing else in a query.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~=".contains(byte);
    if token.iter().all(plain) {
        heads.push(head(&format!("/?jwt={}", String::from_utf8_lossy(&token))));
    }
    for head in heads {
        match access(&PLANE, head, Vec::new()).0 {
            Some(reply) => {
                let known = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
                assert!(known.contains(&reply.status), "{}", reply.status);
            }
            None => assert!(is_good(&token), "{}", token.escape_ascii()),
        }
    }
}

/// A header and claims, a line each, as a token.
fn signed(parts: &[u8]) -> Vec<u8> {
    let mut parts = parts.splitn(2, |byte| *byte == b'\n');
    let mut part = || BASE64_URL_SAFE_NO_PAD.encode(parts.next().unwrap_or_default());
    let message = format!("{}.{}", part(), part());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac(message.as_bytes()))).into_bytes()
}

fn mac(message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message)
}

/// Whether it is what RFC 7519 calls a token, of the issuer whose secret is known, and in time.
fn is_good(token: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(token) else { return false };
    let Some((message, signature)) = text.trim().rsplit_once('.') else { return false };
    let Some((head, claims)) = message.split_once('.') else { return false };
    let read = |part: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    };
    let (Some(head), Some(claims)) = (read(head), read(claims)) else { return false };
    let right = BASE64_URL_SAFE_NO_PAD.encode(mac(message.as_bytes()));
    let now = (NOW / 1000) as f64;
    right == signature.trim_end_matches('=')
        && head["alg"] == "HS256"
        && (claims["iss"] == "shared" || head["iss"] == "shared")
        && claims["exp"].as_f64().is_some_and(|exp| exp > now)
        && claims["nbf"].as_f64().is_some_and(|nbf| nbf <= now)
}

/// The value of an `Authorization` or `Proxy-Authorization` header, a line each, then a body: no
/// signature is right that the secret did not make.
pub(crate) fn hmac_auth(data: &[u8]) {
    static PLANE: LazyLock<Plane> = LazyLock::new(|| {
        plane(&[("hmac-auth", json!({"validate_request_body": true, "enforce_headers": ["date"]}))])
    });
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut head = head("/a?b=c");
    let date = "Thu, 01 Jan 2026 00:00:30 GMT";
    head.insert_header("Date", date).expect("a header");
    for name in ["Authorization", "Proxy-Authorization"] {
        let value = lines.next().unwrap_or_default();
        if !value.is_empty() && head.insert_header(name, value).is_err() {
            return;
        }
    }
    let body = lines.next().unwrap_or_default().to_vec();
    let (reply, _) = access(&PLANE, head, body);
    match reply {
        Some(reply) => assert!(reply.status.is_client_error(), "{}", reply.status),
        None => {
            let text = String::from_utf8_lossy(data);
            assert!(text.contains("\"bob\"") && text.contains("date"), "{text}");
        }
    }
}

/// Whole requests to a route with all that reads them: cookies, arguments, bodies, agents. Each is
/// let through or answered, and what is let through is a request.
pub(crate) fn request(data: &[u8]) {
    static PLANE: LazyLock<Plane> = LazyLock::new(|| {
        let texts = json!(["X-A:$(headers.user_agent)", "X-B:$(uri_captures.all)"]);
        plane(&[
            ("session", json!({"secret": SECRET, "storage": "cookie"})),
            ("key-auth", json!({"key_names": ["apikey"], "key_in_body": true, "anonymous": "bob"})),
            ("basic-auth", json!({"anonymous": "bob"})),
            ("acl", json!({"allow": ["g"]})),
            ("cors", json!({"origins": ["http://a.test", "~.*b\\.test"], "credentials": true})),
            ("bot-detection", json!({"deny": ["evil.*bot"], "allow": ["good"]})),
            ("ip-restriction", json!({"deny": ["192.0.2.0/24"]})),
            ("correlation-id", json!({"header_name": "X-Id", "generator": "tracker"})),
            ("request-size-limiting", json!({"allowed_payload_size": 1})),
            (
                "request-transformer",
                json!({
                    "add": {"headers": texts, "querystring": ["q:$(query_params.q or 'none')"],
                            "body": ["m:$(headers.x_a)"]},
                    "remove": {"querystring": ["gone"], "body": ["gone"], "headers": ["x-gone"]},
                    "rename": {"body": ["a:b"], "querystring": ["a:b"]},
                    "replace": {"uri": "/new/$(uri_captures[1])"},
                }),
            ),
        ])
    });
    for asked in Asked::all(data) {
        let body = asked.body.clone();
        let (parts, ()) = asked.request::<Unread>().map(drop).into_parts();
        let (reply, head) = access(&PLANE, RequestHeader::from(parts), body);
        match reply {
            // A template may have no text for what was sent, such as an argument that was sent twice.
            Some(reply) => assert!(reply.status.as_u16() <= 500, "{}", reply.status),
            None => assert!(head.uri.path().starts_with('/'), "{}", head.uri),
        }
    }
}

/// A body nobody looks at.
struct Unread;

impl From<Vec<u8>> for Unread {
    fn from(_: Vec<u8>) -> Self {
        Self
    }
}

/// A template of the request transformer: it is refused when it is written, or can be filled.
pub(crate) fn transformer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(2, '\n');
    let (value, uri) = (lines.next().unwrap_or_default(), lines.next());
    let config = json!({
        "add": {"headers": [format!("X-A:{value}")], "querystring": [format!("q:{value}")]},
        "replace": {"uri": uri, "body": [format!("a:{value}")]},
    });
    let on = json!({"name": "request-transformer", "config": config, "route": {"id": ROUTE}});
    thread_local! {
        static PLANE: std::cell::RefCell<Plane> = std::cell::RefCell::new(plane(&[]));
    }
    PLANE.with_borrow_mut(|plane| {
        let id = Id::from_bytes([2; 16]);
        let mut on = on;
        on["id"] = json!(id);
        if plane.insert(&[("plugins", on)]).is_err() {
            return;
        }
        let mut head = head("/a/b?q=1&q=2&%zz=");
        head.insert_header("X-B", "c").expect("a header");
        head.insert_header("Content-Type", "application/json").expect("a header");
        let (reply, head) = access(plane, head, b"{\"a\": [1]}".to_vec());
        if let Some(reply) = reply {
            assert!(reply.status.as_u16() <= 500, "{}", reply.status);
        }
        assert!(head.uri.path().starts_with('/'), "{}", head.uri);
        plane.remove("plugins", id).unwrap_or_else(|why| panic!("{why}"));
    });
}

/// Calls of a gRPC service in the forms of browsers and of plain HTTP: each is answered, or goes on as
/// a call.
pub(crate) fn grpc(data: &[u8]) {
    const PROTO: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/src/kit/grpc/library.proto");
    static PLANES: LazyLock<[Plane; 2]> = LazyLock::new(|| {
        ["grpc-web", "grpc-gateway"].map(|name| plane(&[(name, json!({"proto": PROTO}))]))
    });
    for plane in &*PLANES {
        for asked in Asked::all(data) {
            let body = asked.body.clone();
            let (parts, ()) = asked.request::<Unread>().map(drop).into_parts();
            match access(plane, RequestHeader::from(parts), body) {
                (Some(reply), _) => {
                    let status = reply.status;
                    assert!(status.is_client_error() || status == StatusCode::OK, "{status}");
                }
                (None, head) => {
                    let kind = head.headers.get("content-type").map(|kind| kind.as_bytes());
                    assert!(kind.is_some_and(|kind| kind.starts_with(b"application/grpc")));
                }
            }
        }
    }
}

/// Requests to the endpoints of OAuth 2 and with its tokens. There is no store, so no token is ever
/// given, and none lets in.
pub(crate) fn oauth2(data: &[u8]) {
    static PLANE: LazyLock<Plane> = LazyLock::new(|| {
        let config = json!({
            "enable_client_credentials": true, "enable_authorization_code": true,
            "enable_implicit_grant": true, "enable_password_grant": true, "scopes": ["email"],
            "provision_key": "pk", "global_credentials": true,
            "accept_http_if_already_terminated": true,
        });
        let mut plane = plane(&[("oauth2", config)]);
        let application = json!({
            "name": "a", "client_id": "cid", "client_secret": "csec",
            "consumer": {"username": "bob"}, "redirect_uris": ["http://back.test/"],
        });
        plane.insert(&[("oauth2_credentials", application)]).unwrap_or_else(|why| panic!("{why}"));
        plane
    });
    let snapshot = PLANE.current().load_full();
    let route = snapshot.route(Id::parse(ROUTE).expect("an id")).cloned();
    let route = route.expect("the route of the plane");
    for asked in Asked::all(data) {
        let mut facts = PLANE.facts(Some(route.route.clone()));
        facts.client.trusted = true;
        facts.body = RequestBody::Whole(asked.body.clone().into());
        let (parts, ()) = asked.request::<Unread>().map(drop).into_parts();
        let mut head = RequestHeader::from(parts);
        head.insert_header("X-Forwarded-Proto", "https").expect("a header");
        let reply = PLANE.access(&snapshot, &route, &mut head, &mut facts);
        assert!(reply.is_some_and(|reply| reply.status != StatusCode::FOUND));
    }
}
