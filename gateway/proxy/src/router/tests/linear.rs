//! The router against a linear scan: slow, and obviously what the rules say.

use std::cmp::Reverse;
use std::sync::Arc;

use gateway_model::Item;
use gateway_model::entities::Route;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use regex::Regex;
use serde_json::{Value, json};

use super::{Ask, Flavour, Router, find, path};
use crate::router::CompiledRoute;
use crate::snapshot::test_kit::{World, id, insert};

/// The best match: its route, how many bytes of the path it matched, and how it ranks.
type Best = (Item<Route>, usize);

fn scan(flavour: Flavour, routes: &[Arc<CompiledRoute>], ask: &Ask) -> Option<Best> {
    let mut matching = Vec::new();
    for route in routes {
        let route = &route.route;
        let Some(named_port) = host_matches(flavour, route, ask) else { continue };
        if !method_matches(route, ask) || !headers_match(route, ask) || !sni_matches(route, ask) {
            continue;
        }
        let paths = route.paths.clone().unwrap_or_default();
        if paths.is_empty() {
            matching.push((rank(flavour, route, named_port, "", 0), route, 0));
        }
        for (at, path) in paths.iter().enumerate() {
            if let Some(length) = matched_length(path, &ask.path) {
                matching.push((rank(flavour, route, named_port, path, at), route, length));
            }
        }
    }
    let best = matching.into_iter().max_by(|a, b| a.0.cmp(&b.0));
    best.map(|(_, route, length)| (route.clone(), length))
}

/// Whether a host fits, and if so whether one does that names its port.
fn host_matches(flavour: Flavour, route: &Route, ask: &Ask) -> Option<bool> {
    let hosts = route.hosts.clone().unwrap_or_default();
    let (sent, sent_port) = match ask.host.split_once(':') {
        Some((name, port)) => (name, port.parse().unwrap()),
        None => (&*ask.host, 8000),
    };
    let fits = |host: &&String| {
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port.parse::<u16>().unwrap())),
            None => (&***host, None),
        };
        let name_fits = match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(end), _) => {
                sent.ends_with(end) && (flavour != Flavour::Traditional || sent != end)
            }
            (_, Some(start)) => {
                sent.starts_with(start) && (flavour != Flavour::Traditional || sent != start)
            }
            _ => sent == name,
        };
        name_fits && port.is_none_or(|port| port == sent_port)
    };
    let fitting: Vec<&String> = hosts.iter().filter(fits).collect();
    (hosts.is_empty() || !fitting.is_empty()).then(|| fitting.iter().any(|host| host.contains(':')))
}

fn method_matches(route: &Route, ask: &Ask) -> bool {
    route.methods.as_ref().is_none_or(|all| all.is_empty() || all.contains(&ask.method))
}

fn headers_match(route: &Route, ask: &Ask) -> bool {
    route.headers.iter().flatten().all(|(name, values)| {
        ask.headers.get_all(name.as_str()).iter().any(|sent| {
            let sent = sent.to_str().unwrap().to_lowercase();
            values.iter().any(|value| match value.strip_prefix("~*") {
                Some(pattern) => Regex::new(pattern).unwrap().is_match(&sent),
                None => value.to_lowercase() == sent,
            })
        })
    })
}

fn sni_matches(route: &Route, ask: &Ask) -> bool {
    let snis = route.snis.clone().unwrap_or_default();
    snis.is_empty() || ask.sni.as_ref().is_none_or(|sni| snis.contains(sni))
}

fn matched_length(path: &str, asked: &str) -> Option<usize> {
    match path.strip_prefix('~') {
        Some(pattern) => {
            Regex::new(&format!("^(?:{pattern})")).unwrap().find(asked).map(|found| found.end())
        }
        None => asked.starts_with(path).then_some(path.len()),
    }
}

/// The rules of precedence, most important first.
fn rank(
    flavour: Flavour,
    route: &Route,
    named_port: bool,
    path: &str,
    at: usize,
) -> impl Ord + use<> {
    let set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let headers = route.headers.as_ref().map_or(0, |headers| headers.len());
    let kinds =
        [set(&route.hosts), headers > 0, set(&route.paths), set(&route.methods), set(&route.snis)];
    let count = kinds.iter().filter(|set| **set).count();
    let hosts = route.hosts.clone().unwrap_or_default();
    let wildcard = hosts.iter().any(|host| host.contains('*'));
    let plain = set(&route.hosts) && !wildcard;
    let regex = path.starts_with('~');
    let priority = if regex { route.regex_priority.unwrap_or(0) } else { 0 };
    let length = if regex { 0 } else { path.len() };
    let path = (regex, priority, length);
    match flavour {
        Flavour::Traditional => {
            let wildcard_port = hosts.iter().any(|host| host.contains('*') && host.contains(':'));
            let details = (kinds, named_port, wildcard_port, plain, regex, headers, path);
            let age = Some((route.created_at, route.id));
            (count, Some(details), None, Reverse(age), route.id, Reverse(at))
        }
        _ => (count, None, Some((plain, headers, path)), Reverse(None), route.id, Reverse(at)),
    }
}

/// Some of a list, as a field; sometimes none of it.
fn field(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let some = subsequence(values.to_vec(), 0..=2.min(values.len()));
    some.prop_map(|list| if list.is_empty() { Value::Null } else { json!(list) })
}

const HOSTS: &[&str] = &["a.test", "b.test", "a.test:8000", "a.test:81", "*.test", "a.*", "*.a.b"];
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/ab",
    "/a/b",
    "/a/b/c",
    "/b",
    "/é",
    "~/a/\\d+",
    "~/(a|b)",
    "~/a.*c$",
    "~/[a-c]+/x",
    "~/a/b/?",
];
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
                let wanted = scan(flavour, routes, ask).map(|(route, length)| (route.id(), length));
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
