//! Routes, chains, and how they are compiled.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use gateway_model::entities::{self, Route};
use gateway_model::ports::DataPlane as _;
use gateway_model::{Catalog, Change, Clock, Id, Key, Registry, Write};
use gateway_proxy::router::{Flavour, Wanted};
use gateway_proxy::snapshot::{Current, ProxyPlane, Snapshot};
use gateway_proxy::{NameOptions, Resolver};
use http::{HeaderMap, Method};
use pingora_http::RequestHeader;
use plugins::contract::{Client, Facts, Flow, Phases, Request, Scheme, Tools};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// 2026-01-01T00:00:30Z.
pub(super) const NOW: u64 = 1_767_225_630_000;

/// A catalog, its snapshot, and what compiles the next.
pub(super) struct Plane {
    catalog: Arc<Catalog>,
    pub(super) current: Current,
    plane: ProxyPlane,
    pub(super) runtime: Runtime,
}

impl Plane {
    pub(super) fn with(changes: &[(&'static str, Value)]) -> Self {
        // Another may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let kinds = entities::ALL.into_iter().chain(plugins::entity_types());
        let mut registry = Registry::new(kinds);
        plugins::register(&mut registry);
        let registry = Arc::new(registry);
        let clock = Clock::fixed(NOW);
        let handle = runtime.handle().clone();
        let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let metrics = prometheus::Registry::new();
        let tools = Arc::new(Tools::new(clock.clone(), handle.clone(), client, metrics));
        let flavour = Flavour::TraditionalCompatible;
        let current = Current::new(Snapshot::empty(Arc::clone(&registry), flavour));
        let resolver = Resolver::new(NameOptions::default(), clock, handle);
        let plane = ProxyPlane::new(plugins::ALL, tools, current.clone(), flavour, resolver)
            .without_targets();
        let catalog = Arc::new(Catalog::empty(registry));
        let mut all = Self { catalog, current, plane, runtime };
        let insert = |(kind, value): &(&'static str, Value)| {
            let Value::Object(document) = value.clone() else { panic!("an object: {value}") };
            Change::Insert { kind, document }
        };
        let (next, writes) = all.edited(&changes.iter().map(insert).collect::<Vec<_>>());
        all.plane.prepare(&next, &writes).unwrap().publish();
        all.catalog = next;
        all
    }

    fn edited(&self, changes: &[Change]) -> (Arc<Catalog>, Vec<Write>) {
        let mut edit = self.catalog.edit(NOW);
        edit.apply(changes).unwrap_or_else(|why| panic!("{why}"));
        let (next, writes) = edit.finish();
        (Arc::new(next), writes)
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// What is known of a request to a route before its handlers run.
    fn facts(&self, route: Option<Id>) -> Facts {
        let here: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        let client = Client {
            ip: here.ip(),
            peer: "127.0.0.1:40000".parse().unwrap(),
            local: here,
            scheme: Scheme::Http,
            trusted: false,
            tls: None,
        };
        let id = "0123456789abcdef0123456789abcdef".into();
        let mut facts = Facts::begun(Arc::clone(&self.catalog), client, id, NOW);
        facts.route = route.and_then(|id| self.catalog.get::<Route>(id));
        facts
    }
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
    let plane = Plane::with(&routes(count));
    let (snapshot, headers) = (plane.snapshot(), HeaderMap::new());
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
    runs(Plane::with(&all), id(5), "/service-5/orders", vec![Vec::new()])
}

/// Runs the access handlers of a route on requests with these headers, in turn.
pub(super) fn runs(
    plane: Plane,
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
    let snapshot = plane.snapshot();
    let route = snapshot.route(Id::parse(&route).unwrap()).cloned().unwrap();
    let facts = plane.facts(Some(route.route.id()));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    Box::new(move || {
        let (mut head, mut facts) = (heads.next().unwrap(), facts.clone());
        let chain = snapshot.chain(&route);
        for slot in chain.slots(Phases::ACCESS) {
            let consumer = facts.identity.consumer.as_ref().map(gateway_model::Item::id);
            let Some(instance) = slot.pick(consumer) else { continue };
            let mut request = Request { head: &mut head, facts: &mut facts };
            let mut flow = instance.handler.access(&mut request);
            loop {
                match flow {
                    Flow::Continue => break,
                    Flow::Reply(reply) => panic!("{}: {:?}", slot.plugin().name, reply.status),
                    Flow::Wait(wait) => flow = runtime.block_on(wait),
                }
            }
        }
        black_box((head, facts));
        let _kept = &plane;
    })
}

/// The next snapshot after one of 1,000 routes was edited.
pub(super) fn compile_change() -> Box<dyn FnMut()> {
    let plane = Plane::with(&routes(1_000));
    let Value::Object(document) = json!({"paths": ["/another/"]}) else { unreachable!() };
    let key = Key::Id(Id::parse(&id(500)).unwrap());
    let change = [Change::Patch { kind: "routes", key, document }];
    Box::new(move || {
        let (next, writes) = plane.edited(&change);
        black_box(plane.plane.prepare(&next, &writes).unwrap_or_else(|why| panic!("{why}")));
    })
}

/// The first snapshot of 200 services and routes.
pub(super) fn compile_everything() -> Box<dyn FnMut()> {
    let plane = Plane::with(&routes(200));
    Box::new(move || {
        let prepared = plane.plane.prepare(&plane.catalog, &[]);
        black_box(prepared.unwrap_or_else(|why| panic!("{why}")));
    })
}
