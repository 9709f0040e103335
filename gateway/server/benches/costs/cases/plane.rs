//! Routes, chains, and how they are compiled.

use std::hint::black_box;
use std::sync::Arc;

use gateway_model::{Change, Clock, Id, Key};
use gateway_proxy::bare;
use gateway_proxy::router::Wanted;
use http::{HeaderMap, Method};
use pingora_http::RequestHeader;
use plugins::contract::{Scheme, Tools};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// 2026-01-01T00:00:30Z.
pub(super) const NOW: u64 = 1_767_225_630_000;

/// A plane of these entities, and what its background work runs on.
pub(super) fn plane(entities: &[(&'static str, Value)]) -> (bare::Plane, Runtime) {
    // Another may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let (clock, handle) = (Clock::fixed(NOW), runtime.handle().clone());
    let tools = Tools::new(clock, handle, client, prometheus::Registry::new());
    let mut plane = bare::Plane::new(Arc::new(tools));
    plane.insert(entities).unwrap_or_else(|why| panic!("{why}"));
    (plane, runtime)
}

/// `count` services with a route each.
fn routes(count: usize) -> Vec<(&'static str, Value)> {
    let service = |n: usize| {
        let name = format!("s{n}");
        let route = json!({"id": id(n), "name": name, "paths": [format!("/service-{n}/")],
                           "service": {"name": name}});
        [("services", json!({"name": name, "host": "upstream.test"})), ("routes", route)]
    };
    (0..count).flat_map(service).collect()
}

fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn wanted<'a>(path: &'a str, headers: &'a HeaderMap) -> Wanted<'a> {
    Wanted {
        method: "GET",
        host: "a.test",
        port: 8000,
        path,
        query: None,
        source: ([10, 0, 0, 1], 1).into(),
        destination: [127, 0, 0, 1].into(),
        headers,
        scheme: Scheme::Http,
        sni: None,
    }
}

/// The route of a request, of `count`.
pub(super) fn lookup(count: usize) -> Box<dyn FnMut()> {
    let plane = plane(&routes(count));
    let (snapshot, headers) = (plane.0.current().load_full(), HeaderMap::new());
    let path = format!("/service-{}/orders/7", count / 2);
    Box::new(move || {
        let _kept = &plane;
        assert!(black_box(snapshot.router.find(&wanted(&path, &headers))).is_some());
    })
}

/// A route with seven plugins: finding their chain, picking each, and running what they do before
/// the upstream is asked.
pub(super) fn chain() -> Box<dyn FnMut()> {
    let mut all = routes(10);
    for (name, config) in [
        ("correlation-id", json!({"header_name": "X-Id", "generator": "uuid#counter"})),
        ("cors", json!({"origins": ["*"]})),
        ("ip-restriction", json!({"deny": ["192.0.2.0/24", "198.51.100.7"]})),
        ("rate-limiting", json!({"minute": 1_000_000_000, "policy": "local", "limit_by": "ip"})),
        ("request-size-limiting", json!({"allowed_payload_size": 8})),
        (
            "request-transformer",
            json!({"add": {"headers": ["X-A:b"]}, "remove": {"headers": ["x-b"]}}),
        ),
        ("bot-detection", json!({"deny": ["evil"]})),
    ] {
        let route = json!({"id": id(5)});
        all.push(("plugins", json!({"name": name, "config": config, "route": route})));
    }
    runs(plane(&all), id(5), "/service-5/orders", vec![Vec::new()])
}

/// Runs the access handlers of a route on requests with these headers, in turn.
pub(super) fn runs(
    plane: (bare::Plane, Runtime),
    route: String,
    path: &str,
    headers: Vec<Vec<(&'static str, String)>>,
) -> Box<dyn FnMut()> {
    let head = |lines: Vec<(&'static str, String)>| {
        let mut head = RequestHeader::build(Method::GET, path.as_bytes(), None).unwrap();
        head.insert_header("Host", "a.test").unwrap();
        head.insert_header("User-Agent", "curl/8").unwrap();
        for (name, value) in lines {
            head.insert_header(name, value).unwrap();
        }
        head
    };
    let mut heads = headers.into_iter().map(head).collect::<Vec<_>>().into_iter().cycle();
    let snapshot = plane.0.current().load_full();
    let route = snapshot.route(Id::parse(&route).unwrap()).cloned().unwrap();
    let facts = plane.0.facts(Some(route.route.clone()));
    Box::new(move || {
        let (mut head, mut facts) = (heads.next().unwrap(), facts.clone());
        if let Some(reply) = plane.0.access(&snapshot, &route, &mut head, &mut facts) {
            panic!("{:?}", reply.status);
        }
        black_box((head, facts));
    })
}

/// The next snapshot after one of 1,000 routes was edited.
pub(super) fn compile_change() -> Box<dyn FnMut()> {
    let (plane, runtime) = plane(&routes(1_000));
    let Value::Object(document) = json!({"paths": ["/another/"]}) else { unreachable!() };
    let key = Key::Id(Id::parse(&id(500)).unwrap());
    let change = [Change::Patch { kind: "routes", key, document }];
    Box::new(move || {
        let _kept = &runtime;
        let (next, writes) = plane.edited(&change).unwrap_or_else(|why| panic!("{why}"));
        plane.compile(&next, &writes).unwrap_or_else(|why| panic!("{why}"));
    })
}

/// The first snapshot of 200 services and routes.
pub(super) fn compile_everything() -> Box<dyn FnMut()> {
    let (plane, runtime) = plane(&routes(200));
    Box::new(move || {
        let _kept = &runtime;
        plane.compile(plane.catalog(), &[]).unwrap_or_else(|why| panic!("{why}"));
    })
}
