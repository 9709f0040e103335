//! What finding a route costs, from 10 to 100,000 of them: `cargo bench -p gateway-proxy`.
//!
//! Prints nanoseconds a lookup. The largest table should cost at most twice the smallest: a lookup
//! meets what its path begins with, not what exists.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up may stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use gateway_model::entities::{self, Route};
use gateway_model::{Catalog, Change, Registry};
use gateway_proxy::chain::Attached;
use gateway_proxy::router::{CompiledRoute, Flavour, Router, Wanted};
use http::HeaderMap;
use plugins::contract::Scheme;
use serde_json::{Value, json};

const LOOKUPS: usize = 200_000;

fn main() {
    for (name, flavour) in
        [("prefixes", Flavour::TraditionalCompatible), ("expressions", Flavour::Expressions)]
    {
        for count in [10, 100, 1_000, 10_000, 100_000] {
            let router = router(flavour, count);
            // Spread over the table, and the same number of different paths for each size.
            let paths: Vec<String> =
                (0..10).map(|n| format!("/service-{}/orders/7", n * (count / 10))).collect();
            look_up(&router, &paths);
            let best = (0..5).map(|_| look_up(&router, &paths)).min().unwrap_or_default();
            println!("{name}: {count:>6} routes: {best:>5} ns a lookup");
        }
    }
}

fn router(flavour: Flavour, count: usize) -> Router {
    let catalog = Arc::new(Catalog::empty(Arc::new(Registry::new(entities::with_expressions()))));
    let route = |n: usize| {
        let path = format!("/service-{n}/");
        let value = match flavour {
            Flavour::Expressions => json!({"expression": format!("http.path ^= \"{path}\"")}),
            _ => json!({"paths": [path]}),
        };
        let Value::Object(document) = value else { unreachable!("an object") };
        Change::Insert { kind: "routes", document }
    };
    let mut edit = catalog.edit(0);
    edit.apply(&(0..count).map(route).collect::<Vec<_>>()).unwrap();
    let (catalog, _) = edit.finish();
    let compile = |route| {
        let chain = Arc::<Attached>::default();
        Arc::new(CompiledRoute::new(route, None, chain, flavour, None).unwrap())
    };
    let routes: Vec<_> = catalog.all::<Route>().map(compile).collect();
    Router::new(flavour).with(&[], &routes)
}

/// Nanoseconds of one lookup.
fn look_up(router: &Router, paths: &[String]) -> u128 {
    let headers = HeaderMap::new();
    let began = Instant::now();
    for path in paths.iter().cycle().take(LOOKUPS) {
        let wanted = Wanted {
            method: "GET",
            host: "a.test",
            port: 8000,
            path,
            query: None,
            source: ([10, 0, 0, 1], 1).into(),
            destination: [127, 0, 0, 1].into(),
            headers: &headers,
            scheme: Scheme::Http,
            sni: None,
        };
        assert!(black_box(router.find(&wanted)).is_some());
    }
    began.elapsed().as_nanos() / LOOKUPS as u128
}
