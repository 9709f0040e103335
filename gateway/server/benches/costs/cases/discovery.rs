//! Discovery over Mp1, without sockets.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use gateway_control::Control;
use gateway_control::store::memory::Memory;
use gateway_model::ports::Caller;
use gateway_model::{Clock, Registry, entities};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use mep::auth::keyfile::RsaPrivateKey;
use mep::auth::sealing::SealingKey;
use mep::auth::token::TokenIssuer;
use mep::{Platform, PlatformSettings, Ports};
use serde_json::json;
use tower::ServiceExt as _;

use super::plane::NOW;

const APP: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
const BASE: &str = "/mep/mec_service_mgmt/v1";

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let caller = Caller {
        subject: None,
        client: IpAddr::from([127, 0, 0, 1]),
        by_gateway: false,
        certified: false,
    };
    let request = Request::builder().method(method).uri(path).header("X-AppinstanceID", APP);
    request.extension(caller).body(body).unwrap()
}

/// One of ten services found by its name.
pub(super) fn discover() -> Box<dyn FnMut()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let router = runtime.block_on(async {
        let kinds = entities::ALL.into_iter().chain(plugins::entity_types()).chain(mep::ENTITIES);
        let mut registry = Registry::new(kinds);
        plugins::register(&mut registry);
        let clock = Clock::fixed(NOW);
        let (registry, store) = (Arc::new(registry), Arc::new(Memory::new()));
        let control = Control::start(registry, store, Vec::new(), clock.clone()).await.unwrap();
        let platform = Platform::new(
            PlatformSettings::default(),
            Ports::default(),
            control,
            Arc::new(SealingKey::new(&[7; 32]).unwrap()),
            Arc::new(TokenIssuer::from(RsaPrivateKey::generate().unwrap())),
            clock,
            &prometheus::Registry::new(),
        )
        .unwrap();
        let router = platform.mepserver_router();
        for n in 0..10 {
            let body = json!({"serName": format!("s{n}"), "version": "1", "state": "ACTIVE",
                              "serializer": "JSON"});
            let path = format!("{BASE}/applications/{APP}/services");
            let asked = request(Method::POST, &path, Body::from(body.to_string()));
            let answer = router.clone().oneshot(asked).await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED);
        }
        router
    });
    let path = format!("{BASE}/applications/{APP}/services?ser_name=s7");
    Box::new(move || {
        runtime.block_on(async {
            let asked = request(Method::GET, &path, Body::empty());
            let answer = router.clone().oneshot(asked).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(b"[{"), "{body:?}");
        });
    })
}
