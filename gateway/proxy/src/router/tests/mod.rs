//! Tests of the router: the acceptance table, recorded paths, and a linear scan to compare with.

#![allow(clippy::unwrap_used, reason = "tests")]

mod expressions;
mod linear;
mod recorded;
mod table;

use std::sync::Arc;

use gateway_model::Catalog;
use gateway_model::entities::Route;
use http::{HeaderMap, HeaderName, HeaderValue};
use plugins::contract::Scheme;
use serde_json::{Value, json};

use super::{CompiledRoute, Flavour, Found, Router, Wanted, path};
use crate::snapshot::test_kit::{World, document, id, insert};

/// A request in one line: `GET https://host:80/path Name:value`.
#[derive(Clone, Debug)]
struct Ask {
    method: String,
    scheme: Scheme,
    host: String,
    path: String,
    headers: HeaderMap,
    sni: Option<String>,
    query: Option<String>,
}

impl Ask {
    fn parse(line: &str) -> Self {
        let mut words = line.split(' ');
        let method = words.next().unwrap().to_owned();
        let (scheme, rest) = words.next().unwrap().split_once("://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let mut headers = HeaderMap::new();
        for header in words {
            let (name, value) = header.split_once(':').unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query.to_owned())));
        let path = path::normal(path).unwrap().into_owned();
        let sni = (scheme == Scheme::Https).then(|| host.to_owned());
        Self { method, scheme, host: host.to_owned(), path, headers, sni, query }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            method: &self.method,
            host: &self.host,
            port: 8000,
            path: &self.path,
            query: self.query.as_deref(),
            source: "10.0.0.1:4660".parse().unwrap(),
            destination: [127, 0, 0, 1].into(),
            headers: &self.headers,
            scheme: self.scheme,
            sni: self.sni.as_deref(),
        }
    }
}

fn find(router: &Router, ask: &Ask) -> Option<Found> {
    router.find(&ask.wanted())
}

/// A router over these routes. Ids ascend and creation times too, unless given.
fn router(flavour: Flavour, routes: &Value) -> Router {
    Router::new(flavour).with(&[], &world(routes).compiled(flavour))
}

fn world(routes: &Value) -> World {
    let mut world = World::new();
    for (n, route) in (1..).zip(routes.as_array().unwrap()) {
        let mut route = route.clone();
        for (field, value) in [("id", json!(id(n))), ("created_at", json!(n))] {
            if route[field].is_null() {
                route[field] = value;
            }
        }
        world.write(&[insert("routes", route)]);
    }
    world
}

#[test]
fn writing_a_route_leaves_the_router_before_as_it_was() {
    let flavour = Flavour::default();
    let routes = world(&json!([
        {"name": "a", "paths": ["/a"], "hosts": ["h.test"]},
        {"name": "ab", "paths": ["/ab", "~/x(?<id>.)"]},
        {"name": "abc", "paths": ["/abc"], "hosts": ["*.test", "h.*"]},
    ]))
    .compiled(flavour);
    let [a, ab, abc] = &routes[..] else { panic!("three routes") };
    let ask = Ask::parse("GET http://h.test/abc");
    let name =
        |router: &Router| find(router, &ask).and_then(|found| found.route.route.name.clone());
    let none = Router::new(flavour);
    let first = none.with(&[], &[Arc::clone(a), Arc::clone(ab)]);
    let second = first.with(&[Arc::clone(a)], &[Arc::clone(abc)]);
    let third = second.with(&routes, &[]);
    assert_eq!(name(&none), None);
    assert_eq!(name(&first).as_deref(), Some("a"));
    assert_eq!(name(&second).as_deref(), Some("abc"));
    assert_eq!(name(&third), None);
    assert!(third.any_host.is_empty(), "a path was left behind");
    assert!(third.exact.is_empty() && third.ending.is_empty() && third.beginning.is_empty());
}

/// The work of a lookup depends on the request, not on how many routes there are.
#[test]
fn a_lookup_meets_only_entries_its_path_begins_with() {
    let many: Vec<Value> =
        (0..5_000).map(|n| json!({"paths": [format!("/service-{n}/v1")]})).collect();
    let wild = json!([
        {"paths": ["/"]},
        {"paths": ["~/service-\\d+/v2"]},
        {"paths": ["~/other/.*"]},
        {"paths": ["/service-77/v1"], "hosts": ["elsewhere.test"]},
    ]);
    let all: Vec<Value> = many.into_iter().chain(wild.as_array().unwrap().clone()).collect();
    let router = router(Flavour::default(), &json!(all));
    let ask = Ask::parse("GET http://h.test/service-77/v1/orders");
    let mut met = 0;
    router.any_host.along(ask.path.as_bytes(), |entries| met += entries.len());
    assert_eq!(met, 3, "the root, one regular expression, and the one prefix");
    assert_eq!(find(&router, &ask).unwrap().prefix, "/service-77/v1".len());
}

#[test]
fn captures_are_those_of_the_path_that_matched() {
    let routes = json!([{"paths": ["/plain", "~/a/(?<id>\\d+)", "~/b/(?<id>[a-z]+)/(x)?"]}]);
    let router = router(Flavour::default(), &routes);
    let captured = |line: &str| {
        let ask = Ask::parse(line);
        let found = find(&router, &ask).unwrap();
        let captures = found.captures(&ask.path)?;
        Some((captures["id"].to_owned(), captures.get(0)?.len(), found.prefix))
    };
    assert_eq!(captured("GET http://h/plain"), None);
    assert_eq!(captured("GET http://h/a/12/x"), Some(("12".into(), 5, 5)));
    assert_eq!(captured("GET http://h/b/abc/"), Some(("abc".into(), 7, 7)));
}

/// The catalog refuses such paths, but a store may hold what an older process let in.
#[test]
fn a_bad_expression_is_named_by_its_place() {
    let check = |route: Value, wanted: &str| {
        let mut route = route;
        for (field, value) in [("id", json!(id(1))), ("created_at", json!(0))] {
            route[field] = value;
        }
        route["updated_at"] = json!(0);
        let row = ("routes".to_owned(), document(route));
        let empty = World::new().catalog;
        let loaded = Catalog::load(Arc::clone(empty.registry()), empty.revision(), [row]).unwrap();
        let route = loaded.get::<Route>(id(1)).unwrap();
        let why = CompiledRoute::new(route, None, Arc::default(), Flavour::default(), None);
        assert_eq!(why.unwrap_err().message(), format!("schema violation ({wanted})"));
    };
    check(json!({"paths": ["/a", "~/ok", "~/("]}), "paths.3: invalid regex: '/(' (unclosed group)");
    check(
        json!({"headers": {"x-a": ["1", "~*["]}}),
        "headers.x-a: invalid regex: '[' (unclosed character class)",
    );
}
