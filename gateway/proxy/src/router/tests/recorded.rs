//! The path an upstream gets, as recorded from Kong 3.10.0.

use serde_json::json;

use super::{Ask, Flavour, find, router, world};
use crate::router::{Router, path::upstream_path};
use crate::snapshot::test_kit::{World, id, insert};

/// Service path × route path × strip_path × path_handling × request path, both flavours.
const RECORDED: &str = include_str!("path-handling.tsv");

#[test]
fn every_recorded_path() {
    let mut rows = 0;
    for row in RECORDED.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [flavour, base, path, strip, handling, asked, status, upstream, prefix] = columns[..]
        else {
            panic!("nine columns: {row}")
        };
        let flavour = match flavour {
            "traditional" => Flavour::Traditional,
            _ => Flavour::TraditionalCompatible,
        };
        let mut world = World::new();
        let base = if base == "null" { json!(null) } else { json!(base) };
        world.write(&[
            insert("services", json!({"id": id(1), "host": "h", "path": base})),
            insert(
                "routes",
                json!({"paths": [path], "strip_path": strip == "true", "service": {"id": id(1)},
                       "path_handling": handling}),
            ),
        ]);
        let router = Router::new(flavour).with(&[], &world.compiled(flavour));
        let ask = Ask::parse(&format!("GET http://h{asked}"));
        let got = find(&router, &ask).map(|found| {
            let upstream = upstream_path(&found.route, &ask.path, found.prefix).into_owned();
            let stripped = found.route.route.strip_path.then(|| &ask.path[..found.prefix]);
            let prefix = stripped.filter(|prefix| *prefix != "/").unwrap_or("-");
            (upstream, prefix.to_owned())
        });
        let wanted = (status == "200").then(|| (upstream.to_owned(), prefix.to_owned()));
        assert_eq!(got, wanted, "{row}");
        rows += 1;
    }
    assert_eq!(rows, 432);
}

/// What the upstream gets for each request, `-` when no route is found.
fn check(routes: serde_json::Value, rows: &[(&str, &str)]) {
    let router = router(Flavour::default(), &routes);
    for (asked, wanted) in rows {
        let ask = Ask::parse(&format!("GET http://h{asked}"));
        let got = find(&router, &ask)
            .map(|found| upstream_path(&found.route, &ask.path, found.prefix).into_owned());
        assert_eq!(got.as_deref().unwrap_or("-"), *wanted, "{asked}");
    }
}

#[test]
fn paths_are_sent_on_in_normal_form_and_escaped_again() {
    check(
        json!([
            {"paths": ["/n", "/e n", "/é"], "strip_path": false},
            {"paths": ["/sp", "~/re/(?<id>\\d+)$"]},
        ]),
        &[
            ("/n/../n/x", "/n/x"),
            ("/n/%41%2f%20b", "/n/A%2F%20b"),
            ("/n/%7e", "/n/~"),
            ("/n/..%2fx", "/n/..%2Fx"),
            ("/n/a%20b", "/n/a%20b"),
            ("/n;x=1/y", "/n;x=1/y"),
            ("/n/x#frag", "/n/x#frag"),
            ("/n/\"<>\\^`{|}", "/n/%22%3C%3E%5C%5E%60%7B%7C%7D"),
            ("/n/%c3%a9%ff", "/n/%C3%A9%FF"),
            ("/e%20n/x", "/e%20n/x"),
            ("/%C3%A9/x", "/%C3%A9/x"),
            ("/sp//a//b", "/a/b"),
            ("/sp/a/", "/a/"),
            ("/sp../x", "/x"),
            ("/sp%2e%2e", "/"),
            ("/sp/%2e%2e/x", "-"),
            ("/re/12", "/"),
        ],
    );
}

#[test]
fn the_prefix_that_matched_is_stripped() {
    check(
        json!([{"paths": ["/m", "/m/longer", "~/m/[0-9]+"]}, {"paths": ["/m/lon"]}]),
        &[("/m/longer/x", "/x"), ("/m/lonx", "/x"), ("/m/77/x", "/x"), ("/mz", "/z")],
    );
}

#[test]
fn a_route_without_paths_keeps_the_path() {
    for (base, asked, wanted) in [
        ("/", "/", "/"),
        ("/", "/x/", "/x/"),
        ("/s", "/", "/s"),
        ("/s", "/x", "/s/x"),
        ("/s/", "/x", "/s/x"),
        ("/s/", "/", "/s/"),
    ] {
        let mut world = world(&json!([]));
        world.write(&[
            insert("services", json!({"id": id(1), "host": "h", "path": base})),
            insert("routes", json!({"methods": ["GET"], "service": {"id": id(1)}})),
        ]);
        let router = Router::default().with(&[], &world.compiled(Flavour::default()));
        let found = find(&router, &Ask::parse(&format!("GET http://h{asked}"))).unwrap();
        assert_eq!(upstream_path(&found.route, asked, found.prefix), wanted, "{base} {asked}");
    }
}
