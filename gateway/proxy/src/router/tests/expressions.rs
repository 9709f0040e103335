//! Routes written as expressions.

use serde_json::json;

use super::{Ask, Flavour, find, router};
use crate::router::path::upstream_path;
use crate::snapshot::test_kit::id;

/// Checks who wins; `-` is no route.
fn check(routes: serde_json::Value, rows: &[(&str, &str)]) {
    let router = router(Flavour::Expressions, &routes);
    for (line, wanted) in rows {
        let found = find(&router, &Ask::parse(line));
        let name = found.as_ref().and_then(|found| found.route.route.name.as_deref());
        assert_eq!(name.unwrap_or("-"), *wanted, "{line}");
    }
}

/// Checks one expression against requests.
fn holds(expression: &str, rows: &[(&str, bool)]) {
    let router = router(Flavour::Expressions, &json!([{"expression": expression}]));
    for (line, wanted) in rows {
        assert_eq!(find(&router, &Ask::parse(line)).is_some(), *wanted, "{expression}: {line}");
    }
}

#[test]
fn fields() {
    holds(r#"http.method == "GET""#, &[("GET http://h/", true), ("POST http://h/", false)]);
    holds(
        r#"http.host == "a.test" && net.dst.port == 81"#,
        &[("GET http://a.test:81/", true), ("GET http://a.test/", false)],
    );
    holds(r#"net.port == 8000"#, &[("GET http://a.test/", true), ("GET http://a.test:1/", false)]);
    holds(
        r#"tls.sni =^ ".test" && net.protocol == "https""#,
        &[("GET https://a.test/", true), ("GET http://a.test/", false)],
    );
    holds(
        "net.src.ip in 10.0.0.0/8 && net.src.port > 4000 && net.dst.ip == 127.0.0.1",
        &[("GET http://h/", true)],
    );
    holds("net.src.ip not in 10.0.0.0/8 || net.src.ip != 10.0.0.1", &[("GET http://h/", false)]);
    holds(
        r#"http.queries.q == "a b""#,
        &[
            ("GET http://h/?q=a+b", true),
            ("GET http://h/?x=1&q=a%20b", true),
            ("GET http://h/?q=a&q=a+b", false),
            ("GET http://h/", false),
        ],
    );
    holds(r#"http.queries.q == """#, &[("GET http://h/?q", true), ("GET http://h/?p", false)]);
    holds(r#"any(http.queries.q) == "2""#, &[("GET http://h/?q=1&q=2", true)]);
    holds(
        r#"lower(http.headers.x_a) == "v""#,
        &[
            ("GET http://h/ X-A:V", true),
            ("GET http://h/ X_A:v", true),
            ("GET http://h/ X-A:V X-A:w", false),
            ("GET http://h/", false),
        ],
    );
    holds(
        r#"!(http.headers.x_a contains "v") && http.path ~ "b+c""#,
        &[("GET http://h/abbc", true), ("GET http://h/abbc X-A:v", false)],
    );
}

#[test]
fn segments() {
    for (expression, path, wanted) in [
        (r#"http.path.segments.0 == "a""#, "/a/b", true),
        (r#"http.path.segments.1 == "b""#, "/a/b", true),
        (r#"http.path.segments.2 == "c""#, "/a/b", false),
        (r#"http.path.segments.2 != "c""#, "/a/b", false),
        (r#"http.path.segments.0_2 == "a/b/c""#, "/a/b/c/d", true),
        (r#"http.path.segments.1_2 ^= "b/c""#, "/a/b/c", true),
        (r#"http.path.segments.1_3 ^= "b""#, "/a/b/c", false),
        ("http.path.segments.len == 2", "/a/b/", true),
        ("http.path.segments.len == 0", "/", true),
        ("http.path.segments.len >= 3", "/a/b", false),
    ] {
        holds(expression, &[(&format!("GET http://h{path}"), wanted)]);
    }
}

#[test]
fn priority_then_the_greater_id_and_all_before_the_rest() {
    check(
        json!([
            {"name": "classic", "hosts": ["h"], "paths": ["/a/b/c"], "methods": ["GET"]},
            {"name": "low", "expression": r#"http.path ^= "/a""#},
            {"name": "later", "expression": r#"http.path ^= "/a/b""#},
            {"name": "high", "expression": r#"http.path == "/a/x""#, "priority": 9},
            {"name": "plain", "paths": ["/p"], "protocols": ["http"]},
            {"name": "tls", "paths": ["/s"], "protocols": ["https"]},
            {"name": "only", "expression": r#"http.path ^= "/o""#, "protocols": ["http"]},
        ]),
        &[
            ("GET http://h/a/b/c", "later"),
            ("GET http://h/a/z", "low"),
            ("GET http://h/a/x", "high"),
            ("GET http://h/p", "plain"),
            ("GET https://h/p", "-"),
            ("GET http://h/s", "tls"),
            ("GET http://h/o", "only"),
            ("GET https://h/o", "-"),
        ],
    );
}

#[test]
fn what_matched_is_stripped() {
    for (expression, asked, wanted) in [
        (r#"http.path ^= "/a""#, "/a/x", "/x"),
        (r#"http.path == "/a/x""#, "/a/x", "/"),
        (r##"http.path ~ r#"^/a/[0-9]+"#"##, "/a/12/x", "/x"),
        (r#"http.path =^ "/x""#, "/a/x", "/x"),
        (r#"http.method == "GET""#, "/a/x", "/a/x"),
        (r#"http.path ^= "/a" && http.path ^= "/a/x""#, "/a/x/y", "/y"),
        (r#"http.path ^= "/é""#, "/%C3%A9/x", "/x"),
    ] {
        let routes = json!([{"expression": expression, "service": null}]);
        let router = router(Flavour::Expressions, &routes);
        let ask = Ask::parse(&format!("GET http://h{asked}"));
        let found = find(&router, &ask).unwrap_or_else(|| panic!("{expression} {asked}"));
        let path = upstream_path(&found.route, &ask.path, found.prefix);
        assert_eq!(path, wanted, "{expression}");
    }
}

#[test]
fn captures() {
    let expression = r#"http.path ~ "^/none" || http.path ~ "^/a/(?P<id>[0-9]+)""#;
    let router = router(Flavour::Expressions, &json!([{"expression": expression}]));
    let ask = Ask::parse("GET http://h/a/12/x");
    let found = find(&router, &ask).unwrap();
    assert_eq!((&found.captures(&ask.path).unwrap()["id"], found.prefix), ("12", 5));
    assert_eq!(found.route.id(), id(1));
}

/// An expression that says how the path begins is met only by such paths.
#[test]
fn beginnings_are_an_index() {
    let many: Vec<_> = (0..2_000)
        .map(|n| json!({"expression": format!(r#"http.path ^= "/s{n}/" && http.method == "GET""#)}))
        .collect();
    let router = router(Flavour::Expressions, &json!(many));
    let mut met = 0;
    router.any_host.along(b"/s77/x", |entries| met += entries.len());
    assert_eq!(met, 1);
    assert!(find(&router, &Ask::parse("GET http://h/s77/x")).is_some());
}

/// Kong's own engine and ours agree on who wins and on what matched.
mod original {
    use std::net::IpAddr;

    use atc_router::ast::{Type, Value};
    use atc_router::context::Context;
    use atc_router::router::Router as Original;
    use atc_router::schema::Schema;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::json;
    use uuid::Uuid;

    use super::{Ask, Flavour, find, router};
    use crate::snapshot::test_kit::id;

    const TESTS: &[&str] = &[
        r#"http.path ^= "/a""#,
        r#"http.path ^= "/a/b""#,
        r#"http.path == "/a/b""#,
        r#"http.path =^ "b""#,
        r#"http.path ~ "/[a-b]+""#,
        r#"http.path ~ "^/(?P<x>.)/b$""#,
        r#"http.path contains "a/""#,
        r#"lower(http.path) ^= "/a""#,
        r#"http.path != "/a""#,
        r#"http.method == "GET""#,
        r#"http.host =^ ".test""#,
        r#"lower(http.headers.x_a) == "v""#,
        r#"any(http.headers.x_a) == "1""#,
        r#"http.headers.x_a != "1""#,
        r#"any(lower(http.headers.x_a)) ~ "^v""#,
        r#"http.queries.q == "1""#,
        r#"any(http.queries.q) ^= "2""#,
        "net.dst.port == 8000",
        "net.dst.port > 80",
        "net.src.ip in 10.0.0.0/8",
        "net.src.ip == 10.0.0.1",
        "net.src.ip not in 10.0.0.0/8",
        r#"http.path.segments.0 == "a""#,
        r#"http.path.segments.0_1 == "a/b""#,
        "http.path.segments.len <= 2",
        r#"tls.sni == "a.test""#,
    ];

    fn expression() -> impl Strategy<Value = String> {
        let test = select(TESTS).prop_map(str::to_owned);
        test.prop_recursive(3, 12, 3, |inner| {
            let many = prop::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                (many.clone(), select(&[" && ", " || "][..])).prop_map(|(all, by)| all.join(by)),
                many.prop_map(|all| format!("({})", all.join(" && "))),
                inner.prop_map(|one| format!("!({one})")),
            ]
        })
    }

    fn schema() -> Schema {
        let mut schema = Schema::default();
        for name in [
            "net.protocol",
            "tls.sni",
            "http.method",
            "http.host",
            "http.path",
            "http.path.segments.*",
            "http.headers.*",
            "http.queries.*",
        ] {
            schema.add_field(name, Type::String);
        }
        for name in ["net.src.port", "net.dst.port", "http.path.segments.len"] {
            schema.add_field(name, Type::Int);
        }
        for name in ["net.src.ip", "net.dst.ip"] {
            schema.add_field(name, Type::IpAddr);
        }
        schema
    }

    /// What Kong puts into a context (kong/router/fields.lua), in the plain way.
    fn context<'s>(schema: &'s Schema, ask: &Ask) -> Context<'s> {
        let mut context = Context::new(schema);
        let mut add = |field: &str, value: &str| {
            context.add_value(field, Value::String(value.to_owned()));
        };
        add("http.method", &ask.method);
        let (host, port) = ask.host.split_once(':').unwrap_or((&ask.host, "8000"));
        add("http.host", host);
        add("http.path", &ask.path);
        if let Some(sni) = &ask.sni {
            add("tls.sni", sni);
        }
        for value in ask.headers.get_all("x-a") {
            add("http.headers.x_a", value.to_str().unwrap());
        }
        for part in ask.query.iter().flat_map(|query| query.split('&')) {
            if let Some(value) = part.strip_prefix("q=") {
                add("http.queries.q", value);
            }
        }
        let mut segments: Vec<&str> = ask.path[1..].split('/').collect();
        while segments.last() == Some(&"") {
            segments.pop();
        }
        if let Some(first) = segments.first() {
            add("http.path.segments.0", first);
        }
        if let Some(both) = segments.get(..2) {
            add("http.path.segments.0_1", &both.join("/"));
        }
        let length = i64::try_from(segments.len()).unwrap();
        context.add_value("http.path.segments.len", Value::Int(length));
        context.add_value("net.dst.port", Value::Int(port.parse().unwrap()));
        context.add_value("net.src.ip", Value::IpAddr(IpAddr::from([10, 0, 0, 1])));
        context
    }

    const PATHS: &[&str] =
        &["/", "/a", "/A", "/a/", "/a/b", "/a/b/", "/a/b/c", "/b/b", "/ab?q=1", "/a?q=2&q=1"];

    proptest! {
        #[test]
        fn agrees(
            expressions in prop::collection::vec((expression(), 0..3_u64), 1..8),
            path in select(PATHS),
            start in select(&["GET http://a.test", "POST https://a.test:81", "GET http://x"][..]),
            headers in select(&["", " X-A:1", " X-A:V", " X-A:v X-A:1", " X-A:2 X-A:V"][..]),
        ) {
            let schema = schema();
            let mut original = Original::new(&schema);
            let mut routes = Vec::new();
            for (n, (text, priority)) in (1..).zip(&expressions) {
                let uuid = Uuid::parse_str(&id(n).to_string()).unwrap();
                original.add_matcher(usize::try_from(*priority).unwrap(), uuid, text).unwrap();
                routes.push(json!({"expression": text, "priority": priority}));
            }
            let ask = Ask::parse(&format!("{start}{path}{headers}"));
            let mut context = context(&schema, &ask);
            let wanted = original.execute(&mut context).then(|| {
                let result = context.result.take().unwrap();
                let matched = match result.matches.get("http.path") {
                    Some(Value::String(text)) => text.len(),
                    _ => 0,
                };
                (result.uuid.to_string(), matched)
            });
            let ours = router(Flavour::Expressions, &json!(routes));
            let found = find(&ours, &ask).map(|found| (found.route.id().to_string(), found.prefix));
            prop_assert_eq!(found, wanted, "{:?} among {:?}", ask, expressions);
        }
    }
}
