//! The MEC platform: its routers, and the signature a token is asked for with.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use gateway_control::Control;
use gateway_control::store::memory::Memory;
use gateway_model::ports::{Caller, DataPlane};
use gateway_model::{Clock, Registry, entities};
use http::{HeaderMap, HeaderValue};
use mep::auth::credential::{AccessKey, SecretKey};
use mep::auth::keyfile::RsaPrivateKey;
use mep::auth::sealing::SealingKey;
use mep::auth::signature::{Authorization, DATE_HEADER, SignedRequest, sign};
use mep::auth::token::TokenIssuer;
use mep::dns::{CurrentZone, ZonePlane};
use mep::{Platform, PlatformSettings, Ports};
use tokio::runtime::{Builder, Runtime};

use crate::asked::{Asked, answered};

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Runs something to its end, on one thread; what it left running goes with the next one.
pub(crate) fn with_runtime(work: impl Future<Output = ()>) {
    RUNTIME.with_borrow_mut(|runtime| {
        let made = Builder::new_current_thread().enable_all().build();
        runtime.insert(made.expect("a runtime")).block_on(work);
    });
}

/// 2026-01-01T00:00:30Z.
const NOW: u64 = 1_767_225_630_000;

/// As the corpus names it.
const APP: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";

static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| {
    let kinds = entities::ALL.into_iter().chain(plugins::entity_types()).chain(mep::ENTITIES);
    let mut registry = Registry::new(kinds);
    plugins::register(&mut registry);
    Arc::new(registry)
});

/// Making one takes long.
static PAIR: LazyLock<String> = LazyLock::new(|| {
    let made = RsaPrivateKey::generate().expect("a key");
    made.to_pem().expect("as text").to_string()
});

async fn control(planes: Vec<Arc<dyn DataPlane>>) -> Control {
    let store = Arc::new(Memory::new());
    let started = Control::start(Arc::clone(&REGISTRY), store, planes, Clock::fixed(NOW)).await;
    started.expect("an empty store is loaded")
}

async fn platform() -> Arc<Platform> {
    let pair = RsaPrivateKey::from_pem(PAIR.as_bytes(), None).expect("what was made");
    Platform::new(
        PlatformSettings::default(),
        Ports::default(),
        control(Vec::new()).await,
        Arc::new(SealingKey::new(&[7; 32]).expect("a key of this length")),
        Arc::new(TokenIssuer::from(pair)),
        Clock::fixed(NOW),
        &prometheus::Registry::new(),
    )
    .expect("a platform")
}

/// Puts the requests of an input to a router: none fails inside, and JSON is JSON.
async fn put_to(router: &Router, data: &[u8]) {
    for asked in Asked::all(data) {
        // The one path that calls out.
        if asked.target.path().contains("callback") {
            continue;
        }
        let mut request = asked.request::<Body>();
        let app = HeaderValue::from_static(APP);
        request.headers_mut().entry("x-appinstanceid").or_insert(app);
        let client = IpAddr::from([127, 0, 0, 1]);
        let caller = Caller { subject: None, client, by_gateway: false, certified: false };
        request.extensions_mut().insert(caller);
        answered(router, request).await;
    }
}

/// Mp1 in both forms, and Mm5, which one router serves.
pub(crate) fn mp1(data: &[u8]) {
    with_runtime(async { put_to(&platform().await.mepserver_router(), data).await });
}

/// The token API and that of key pairs.
pub(crate) fn mepauth(data: &[u8]) {
    with_runtime(async { put_to(&platform().await.mepauth_router(), data).await });
}

/// The management API of the name server.
pub(crate) fn dns_admin(data: &[u8]) {
    with_runtime(async {
        let zone = CurrentZone::default();
        let plane: Arc<dyn DataPlane> = Arc::new(ZonePlane::new(zone.clone(), true));
        let everybody = vec!["0.0.0.0/0".parse().expect("a network")];
        let router = mep::dns::admin::router(control(vec![plane]).await, zone, everybody);
        put_to(&router, data).await;
    });
}

/// A header, a path, a query and other headers, a line each: a header that is read says what it is
/// written from, and only its own signature verifies.
pub(crate) fn access_key(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let (header, path) = (lines.next().unwrap_or(""), lines.next().unwrap_or("/"));
    let query = lines.next().unwrap_or("");
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) {
            headers.append(name, value);
        }
    }
    let date = HeaderValue::from_static("20260101T000030Z");
    headers.entry(DATE_HEADER).or_insert(date);
    let request =
        SignedRequest { method: "POST", path, query, host: "a.test:443", headers: &headers };
    if let Some(read) = Authorization::parse(header) {
        assert_eq!(Authorization::parse(&read.to_string()).as_ref(), Some(&read), "{header}");
        let right = sign(b"secret", &request, &read.signed_headers);
        assert_eq!(read.verify(b"secret", &request), *right == *read.signature, "{header}");
    }
    let (Ok(key), Ok(secret)) = (AccessKey::parse(KEY), SecretKey::parse(SECRET)) else { return };
    let made = Authorization::sign(key, &secret, &request).to_string();
    let made = Authorization::parse(&made).expect("what was written is read");
    assert!(made.verify(SECRET.as_bytes(), &request), "{path} {query} {headers:?}");
    assert!(!made.verify(b"another", &request));
    let elsewhere = SignedRequest { method: "PUT", ..request };
    assert!(!made.verify(SECRET.as_bytes(), &elsewhere), "{path} {query} {headers:?}");
}

const KEY: &str = "0123456789abcdefghij";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
