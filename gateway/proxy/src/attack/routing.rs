//! What finds the route of a request.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use gateway_model::entities::{self, Route};
use gateway_model::expression::{Expression, Subject as About};
use gateway_model::{Catalog, Change, Document, Item, Registry};
use http::{HeaderMap, HeaderName, HeaderValue};
use plugins::contract::Scheme;
use serde_json::{Value, json};

use crate::chain::Attached;
use crate::router::condition::HeaderCondition;
use crate::router::expression::{Program, RequestParts, Subject};
use crate::router::path::{normal, upstream_path};
use crate::router::{CompiledRoute, Flavour, Router, Wanted};

/// Routes of all kinds.
static ROUTER: LazyLock<Option<Router>> = LazyLock::new(|| {
    let routes = [
        json!({"paths": ["/", "/a", "/a/b", "~/(?<all>.*)", "/é", "~/[a-z]*/\\d+$"]}),
        json!({"hosts": ["*.test", "a.*", "a.test:80", "[::1]", "b.test"]}),
        json!({"paths": ["/a"], "hosts": ["*.a.test"], "strip_path": false}),
        json!({"expression": "http.path ~ \"b+$\" && http.path.segments.0_1 != \"a/b\""}),
        json!({"expression": "http.host =^ \".org\" || any(lower(http.queries.q)) == \"x\""}),
    ];
    let catalog = Arc::new(Catalog::empty(Arc::new(Registry::new(entities::with_expressions()))));
    let mut edit = catalog.edit(0);
    for route in routes {
        let Value::Object(document) = route else { continue };
        edit.apply(&[Change::Insert { kind: "routes", document: Document::from(document) }])
            .ok()?;
    }
    let (catalog, _) = edit.finish();
    let compile = |route: Item<Route>| {
        let chain = Arc::<Attached>::default();
        CompiledRoute::new(route, None, chain, Flavour::Expressions, None).ok().map(Arc::new)
    };
    let routes: Vec<_> = catalog.all::<Route>().filter_map(compile).collect();
    Some(Router::new(Flavour::Expressions).with(&[], &routes))
});

/// A request's path: normalised twice it is as normalised once, and what is sent on is a path.
pub(super) fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (raw, query) =
        text.split_once('?').map_or((&*text, None), |(raw, query)| (raw, Some(query)));
    let Ok(once) = normal(raw) else { return };
    assert!(once.starts_with('/'), "{once}");
    let twice = normal(&once).expect("what was normalised is no worse");
    assert_eq!(once, twice, "of {raw}");
    assert!(!once.split('/').any(|part| part == ".."), "{once}");
    look_up("h.test", &once, query);
}

/// A Host header: whatever it says, a route is found or not.
pub(super) fn host(data: &[u8]) {
    look_up(&String::from_utf8_lossy(data), "/a/b", None);
}

fn look_up(host: &str, path: &str, query: Option<&str>) {
    let router = ROUTER.as_ref().expect("routes written in this file compile");
    let wanted = Wanted {
        method: "GET",
        host,
        port: 8000,
        path,
        query,
        source: "10.0.0.1:1".parse().expect("an address"),
        destination: IpAddr::from([127, 0, 0, 1]),
        headers: &HeaderMap::new(),
        scheme: Scheme::Http,
        sni: None,
    };
    let Some(found) = router.find(&wanted) else { return };
    assert!(found.prefix <= path.len());
    let _ = found.captures(path);
    let upstream = upstream_path(&found.route, path, found.prefix);
    assert!(upstream.starts_with('/') && upstream.is_ascii(), "{upstream}");
    http::uri::PathAndQuery::try_from(&*upstream).expect("a path for a request line");
}

/// A condition on a header and a header: name, condition and value, a line each.
pub(super) fn header(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let (Some(name), Some(asked), Some(sent)) = (lines.next(), lines.next(), lines.next()) else {
        return;
    };
    let Ok(condition) = HeaderCondition::compile(name, &[asked.to_owned()]) else { return };
    let mut headers = HeaderMap::new();
    if let (Ok(name), Ok(value)) =
        (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(sent.as_bytes()))
    {
        headers.append(name, value);
        let same = !asked.starts_with("~*") && asked.eq_ignore_ascii_case(sent);
        assert!(condition.holds(&headers) || !same, "{name:?} {asked} {sent}", name = asked);
    }
    let _ = condition.holds(&headers);
}

/// An expression: it is refused, or can be evaluated.
pub(super) fn expression(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("V"));
    headers.append("x-a", HeaderValue::from_bytes(b"\xff").expect("a value"));
    let request = RequestParts {
        method: "GET",
        host: "a.test",
        path: "/a/b/é",
        query: Some("q=1&q=%zz&=&é=+"),
        headers: &headers,
    };
    for about in [About::Requests, About::Streams] {
        let Ok(parsed) = Expression::parse(&text, about) else { continue };
        let program = Program::new(&parsed);
        for request in [Some(request), None] {
            let subject = Subject {
                protocol: "http",
                sni: Some("a.test"),
                source: "[fd00::1]:1".parse().expect("an address"),
                destination_ip: IpAddr::from([10, 0, 0, 1]),
                destination_port: 80,
                request,
            };
            let matched = program.matches(&subject);
            if request.is_some() && matched.is_some() {
                assert!("/a/b/é".starts_with(program.beginning()), "{text}");
            }
        }
    }
}
