//! The router against a linear scan: slow, and obviously what the rules say.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::{Ask, Flavour, Router, find, path};
use crate::attack::decided::{HOSTS, PATHS};
use crate::attack::linear::scan;
use crate::snapshot::test_kit::{World, id, insert};

/// Some of a list, as a field; sometimes none of it.
fn field(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let some = subsequence(values.to_vec(), 0..=2.min(values.len()));
    some.prop_map(|list| if list.is_empty() { Value::Null } else { json!(list) })
}

const HEADERS: &[&str] = &["{}", r#"{"X-A":["1"]}"#, r#"{"X-A":["~*^v[0-9]$"],"X-B":["2","3"]}"#];

fn route() -> impl Strategy<Value = Value> {
    let headers = select(HEADERS).prop_map(|text| serde_json::from_str::<Value>(text).unwrap());
    let ties = (0..3_i64, 1..3_u64);
    (field(HOSTS), field(PATHS), field(&["GET", "POST"]), headers, field(&["a.test"]), ties)
        .prop_filter_map("a route needs a field", |(hosts, paths, methods, headers, snis, ties)| {
            let headers =
                if headers.as_object().unwrap().is_empty() { Value::Null } else { headers };
            let fields = [&hosts, &paths, &methods, &headers, &snis];
            fields.iter().any(|field| !field.is_null()).then(|| {
                json!({"hosts": hosts, "paths": paths, "methods": methods, "headers": headers,
                       "snis": snis, "regex_priority": ties.0, "created_at": ties.1})
            })
        })
}

const ASKED_HOSTS: &[&str] = &["a.test", "b.test", "a.test:81", "x.a.b", "a.b", "c", ".test", "a."];
const ASKED_PATHS: &[&str] =
    &["/", "/a", "/ab", "/abc", "/a/b", "/a/b/c", "/a/7/x", "/ba/x", "/é/x", "/c"];
const ASKED_HEADERS: &[&str] = &["", " X-A:1", " X-A:V1 X-B:3", " X-A:0 X-A:1", " X-B:2"];

fn ask() -> impl Strategy<Value = Ask> {
    let request =
        (select(&["GET", "POST"][..]), select(&["http", "https"][..]), select(ASKED_HOSTS));
    (request, select(ASKED_PATHS), select(ASKED_HEADERS)).prop_map(
        |((method, scheme, host), path, headers)| {
            Ask::parse(&format!("{method} {scheme}://{host}{path}{headers}"))
        },
    )
}

fn flavour() -> impl Strategy<Value = Flavour> {
    select(&[Flavour::TraditionalCompatible, Flavour::Traditional][..])
}

proptest! {
    /// Routes come and go in steps; after each the router answers as the scan does.
    #[test]
    fn the_router_finds_what_a_scan_finds(
        flavour in flavour(),
        routes in prop::collection::vec(route(), 1..10),
        ids in Just((1..=9_u32).collect::<Vec<_>>()).prop_shuffle(),
        leaving in prop::collection::vec(any::<bool>(), 9),
        asks in prop::collection::vec(ask(), 1..12),
    ) {
        let mut world = World::new();
        for (route, n) in routes.iter().zip(ids) {
            let mut route = route.clone();
            route["id"] = json!(id(n));
            world.write(&[insert("routes", route)]);
        }
        let all = world.compiled(flavour);
        let (early, late) = all.split_at(all.len() / 2);
        let half = Router::new(flavour).with(&[], early);
        let whole = half.with(&[], late);
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        for (route, leaves) in all.iter().zip(leaving) {
            if leaves { gone.push(Arc::clone(route)) } else { left.push(Arc::clone(route)) }
        }
        let rest = whole.with(&gone, &[]);
        for ask in &asks {
            for (router, routes) in [(&half, early), (&whole, &all[..]), (&rest, &left[..])] {
                let found = find(router, ask).map(|found| (found.route.id(), found.prefix));
                let wanted = scan(flavour, routes, &ask.wanted()).map(|(route, length)| (route.id(), length));
                prop_assert_eq!(found, wanted, "{:?} among {:?}", ask, routes);
            }
        }
        let fresh = Router::new(flavour).with(&[], &left);
        prop_assert_eq!(rest.any_host.nodes(), fresh.any_host.nodes(), "the tree stays compact");
        let none = rest.with(&left, &[]);
        prop_assert!(none.any_host.is_empty() && none.exact.is_empty());
        prop_assert!(none.ending.is_empty() && none.beginning.is_empty());
    }

    /// Whatever arrives, a lookup ends in a route or none, and a path of its own length.
    #[test]
    fn anything_may_arrive(host in ".*", text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let router = super::router(Flavour::default(), &json!([
            {"paths": ["/", "~/(?<all>.*)", "/é", "~/[a-z]*/"]},
            {"hosts": ["*.test", "a.*", "a:80", "[::1]"]},
        ]));
        let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        let lossy = String::from_utf8_lossy(&bytes);
        for raw in [&*text, &format!("/{text}"), &format!("/{escaped}"), &format!("/%{lossy}")] {
            let Ok(path) = path::normal(raw) else { continue };
            let mut ask = Ask::parse("GET http://h/");
            ask.host = host.clone();
            ask.path = path.clone().into_owned();
            if let Some(found) = find(&router, &ask) {
                prop_assert!(path.is_char_boundary(found.prefix));
                let upstream = path::upstream_path(&found.route, &path, found.prefix);
                prop_assert!(upstream.starts_with('/') && upstream.is_ascii());
                prop_assert!(http::uri::PathAndQuery::try_from(&*upstream).is_ok());
            }
        }
    }
}
