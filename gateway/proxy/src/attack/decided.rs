//! The router against a linear scan, on routes and requests that bytes decide.

use std::sync::Arc;

use gateway_model::entities::{self, Route};
use gateway_model::{Catalog, Change, Id, Registry};
use http::{HeaderMap, HeaderName, HeaderValue};
use plugins::contract::Scheme;
use serde_json::{Value, json};

use super::linear::scan;
use crate::chain::Attached;
use crate::router::path::normal;
use crate::router::{CompiledRoute, Flavour, Router, Wanted};

/// Routes of one table, and requests put to it.
const MOST: usize = 8;

/// Bytes that decide.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    /// The next one; 0 when there are no more.
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next() % of.len()]
    }

    /// One of a list, or some pieces put together.
    fn text(&mut self, whole: &[&str], pieces: &[&str]) -> String {
        match self.next() {
            n @ 0..160 => whole[n % whole.len()].to_owned(),
            n => (0..=n % 5).map(|_| self.pick(pieces)).collect(),
        }
    }

    /// Some texts as a field, or none.
    fn field(&mut self, whole: &[&str], pieces: &[&str]) -> Value {
        match self.next() % 4 {
            0 => Value::Null,
            n => json!((0..n).map(|_| self.text(whole, pieces)).collect::<Vec<_>>()),
        }
    }
}

pub(crate) const HOSTS: &[&str] =
    &["a.test", "b.test", "a.test:8000", "a.test:81", "*.test", "a.*", "*.a.b", "*.test:81"];
const HOST_PIECES: &[&str] = &["a", "b", ".", "*", "test", "-", ":80", ":", "A", "0"];
pub(crate) const PATHS: &[&str] = &[
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
    "~/A",
    "~/a{0,2}/",
    "~/a|/b",
    "~/(?i)A/b",
];
const PATH_PIECES: &[&str] =
    &["/", "a", "b", "7", "é", "~/", ".", "*", "+", "(a|b)", "[^/]", "$", "?", "%20", "|", "\\"];
const HEADERS: &[(&str, &[&str])] =
    &[("X-A", &["1"]), ("X-A", &["~*^v[0-9]$"]), ("X-B", &["2", "3"]), ("x-b", &["V1", "~*."])];
const VALUES: &[&str] = &["1", "2", "3", "v1", "V1", "V12", ""];

fn route(bytes: &mut Bytes<'_>, n: usize) -> Value {
    let mut headers = json!({});
    for _ in 0..bytes.next() % 3 {
        let (name, values) = bytes.pick(HEADERS);
        headers[name] = json!(values);
    }
    let headers = if headers == json!({}) { Value::Null } else { headers };
    json!({
        "id": format!("00000000-0000-4000-8000-{:04}{n:08}", bytes.next()),
        "hosts": bytes.field(HOSTS, HOST_PIECES),
        "paths": bytes.field(PATHS, PATH_PIECES),
        "methods": bytes.field(&["GET", "POST"], &["A", "B"]),
        "snis": bytes.field(&["a.test", "b.test"], &["a"]),
        "headers": headers,
        "regex_priority": bytes.next() % 3,
        "created_at": 1 + bytes.next() % 2,
    })
}

/// A table of routes and requests: in each flavour the router finds what a scan finds, also after
/// some of the routes were taken out of it.
pub(super) fn router(data: &[u8]) {
    let mut bytes = Bytes(data);
    let flavour = bytes.pick(&[Flavour::TraditionalCompatible, Flavour::Traditional]);
    let catalog = Arc::new(Catalog::empty(Arc::new(Registry::new(entities::ALL))));
    let mut edit = catalog.edit(0);
    for n in 0..=bytes.next() % MOST {
        let Value::Object(document) = route(&mut bytes, n) else { continue };
        // What a rule refuses is simply not there.
        let _ = edit.apply(&[Change::Insert { kind: "routes", document }]);
    }
    let (catalog, _) = edit.finish();
    let compile = |route| {
        let chain = Arc::<Attached>::default();
        CompiledRoute::new(route, None, chain, flavour, None).ok().map(Arc::new)
    };
    let all: Vec<_> = catalog.all::<Route>().filter_map(compile).collect();
    let whole = Router::new(flavour).with(&[], &all);
    let leaving = bytes.next();
    let (gone, left): (Vec<_>, Vec<_>) =
        all.iter().cloned().enumerate().partition(|(at, _)| leaving >> (at % 8) & 1 == 1);
    let of = |some: Vec<(usize, Arc<CompiledRoute>)>| -> Vec<_> {
        some.into_iter().map(|(_, route)| route).collect()
    };
    let (gone, left) = (of(gone), of(left));
    let rest = whole.with(&gone, &[]);
    for _ in 0..MOST {
        let host = bytes.text(&["a.test", "b.test", "a.test:81", "x.a.b", "a."], HOST_PIECES);
        let raw = bytes.text(&["/", "/a", "/abc", "/a/b/c", "/a/7/x", "/é/x"], PATH_PIECES);
        let Ok(path) = normal(&raw) else { continue };
        let mut headers = HeaderMap::new();
        for _ in 0..bytes.next() % 3 {
            let name = bytes.pick(&["x-a", "x-b"]);
            let value = HeaderValue::from_static(bytes.pick(VALUES));
            headers.append(HeaderName::from_static(name), value);
        }
        let secure = bytes.next() % 2 == 1;
        let wanted = Wanted {
            method: bytes.pick(&["GET", "POST", "AB"]),
            host: &host,
            port: 8000,
            path: &path,
            query: None,
            source: ([10, 0, 0, 1], 1).into(),
            destination: [127, 0, 0, 1].into(),
            headers: &headers,
            scheme: if secure { Scheme::Https } else { Scheme::Http },
            sni: secure.then(|| bytes.pick(&["a.test", "c.test"])),
        };
        for (router, routes) in [(&whole, &all), (&rest, &left)] {
            let found = router.find(&wanted).map(|found| (found.route.id(), found.prefix));
            let right: Option<(Id, usize)> =
                scan(flavour, routes, &wanted).map(|(route, length)| (route.id(), length));
            assert_eq!(found, right, "{wanted:?} among {routes:?}");
        }
    }
}
