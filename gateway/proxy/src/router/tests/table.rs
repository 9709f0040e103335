//! Who wins: the acceptance table of Kong's two classic flavours, as recorded.

use serde_json::{Value, json};

use super::{Ask, Flavour, find, router};

/// Checks the winner's name in both flavours; `-` is no route.
fn check(routes: Value, rows: &[(&str, &str, &str)]) {
    for flavour in [Flavour::TraditionalCompatible, Flavour::Traditional] {
        let router = router(flavour, &routes);
        for (line, compatible, traditional) in rows {
            let found = find(&router, &Ask::parse(line));
            let name = found.as_ref().and_then(|found| found.route.route.name.as_deref());
            let wanted = if flavour == Flavour::Traditional { traditional } else { compatible };
            assert_eq!(name.unwrap_or("-"), *wanted, "{line} ({flavour:?})");
        }
    }
}

/// Checks a winner both flavours agree on.
fn both(routes: Value, rows: &[(&str, &str)]) {
    let rows: Vec<_> = rows.iter().map(|(line, wanted)| (*line, *wanted, *wanted)).collect();
    check(routes, &rows);
}

#[test]
fn hosts() {
    let routes = json!([
        {"name": "plain", "hosts": ["a.test"]},
        {"name": "wild", "hosts": ["*.a.test"]},
        {"name": "tail", "hosts": ["a.*"]},
        {"name": "port", "hosts": ["a.test:8080"]},
        {"name": "any", "paths": ["/"]},
    ]);
    check(
        routes,
        &[
            ("GET http://a.test/", "plain", "plain"),
            ("GET http://x.a.test/", "any", "wild"),
            ("GET http://x.y.a.test/", "any", "wild"),
            ("GET http://a.org/", "any", "tail"),
            ("GET http://A.TEST/", "any", "any"),
            ("GET http://a.test:8080/", "port", "port"),
            ("GET http://a.test:9999/", "plain", "plain"),
            ("GET http://b.test/", "any", "any"),
            ("GET http://.a.test/", "any", "any"),
        ],
    );
}

#[test]
fn a_host_with_a_port() {
    let routes = json!([
        {"name": "plain", "hosts": ["a.test"]},
        {"name": "port", "hosts": ["a.test:8080"]},
        {"name": "listener", "hosts": ["b.test:8000"]},
        {"name": "v6", "hosts": ["::1"]},
    ]);
    both(
        routes,
        &[
            ("GET http://a.test/", "plain"),
            ("GET http://a.test:8081/", "plain"),
            ("GET http://b.test/", "listener"),
            ("GET http://b.test:8000/", "listener"),
            ("GET http://b.test:8001/", "-"),
            ("GET http://[::1]/", "v6"),
            ("GET http://[::1]:8000/", "v6"),
        ],
    );
}

#[test]
fn wildcard_hosts() {
    both(
        json!([
            {"name": "wild", "hosts": ["*.a.test"]},
            {"name": "tail", "hosts": ["a.*"]},
            {"name": "wild-port", "hosts": ["*.c.test:8001"]},
        ]),
        &[
            ("GET http://x.a.test/", "wild"),
            ("GET http://x.y.a.test/", "wild"),
            ("GET http://a.test/", "tail"),
            ("GET http://a.b.c/", "tail"),
            ("GET http://aa.test/", "-"),
            ("GET http://xa.test/", "-"),
            ("GET http://x.c.test:8001/", "wild-port"),
            ("GET http://x.c.test/", "-"),
        ],
    );
}

#[test]
fn paths() {
    both(
        json!([
            {"name": "root", "paths": ["/"]},
            {"name": "long", "paths": ["/api/v1"]},
            {"name": "short", "paths": ["/api"]},
            {"name": "re", "paths": ["~/api/v\\d+/x"]},
            {"name": "rehi", "paths": ["~/hi/.*"], "regex_priority": 5},
            {"name": "relo", "paths": ["~/hi/there/.*"], "regex_priority": 1},
            {"name": "below", "paths": ["~/hi/there/you/.*"], "regex_priority": -1},
        ]),
        &[
            ("GET http://h/api/v1/y", "long"),
            ("GET http://h/api/zz", "short"),
            ("GET http://h/apix", "short"),
            ("GET http://h/api/v1/x/y", "re"),
            ("GET http://h/api/v9/x", "re"),
            ("GET http://h/hi/there/a", "rehi"),
            ("GET http://h/hi/there/you/a", "rehi"),
            ("GET http://h/other", "root"),
        ],
    );
}

#[test]
fn ties_go_to_the_greater_id_or_the_older_route() {
    check(
        json!([
            {"name": "first", "paths": ["~/t/.*"], "created_at": 1,
             "id": "20000000-0000-4000-8000-000000000000"},
            {"name": "second", "paths": ["~/t/long/.*"], "created_at": 2,
             "id": "10000000-0000-4000-8000-000000000000"},
            {"name": "third", "paths": ["/q"], "methods": ["GET"], "created_at": 3,
             "id": "30000000-0000-4000-8000-000000000000"},
            {"name": "fourth", "paths": ["/q"], "methods": ["GET", "POST"], "created_at": 4,
             "id": "40000000-0000-4000-8000-000000000000"},
        ]),
        &[("GET http://h/t/long/x", "first", "first"), ("GET http://h/q", "fourth", "third")],
    );
}

#[test]
fn more_fields_win() {
    both(
        json!([
            {"name": "p", "paths": ["/x/y/z"]},
            {"name": "hp", "paths": ["/x"], "hosts": ["h.test"]},
            {"name": "h", "hosts": ["h.test"]},
            {"name": "mp", "paths": ["/x"], "methods": ["GET"]},
            {"name": "mhp", "paths": ["/x"], "methods": ["POST"], "hosts": ["h.test"]},
            {"name": "hdr", "paths": ["/x"], "headers": {"X-V": ["1"]}},
        ]),
        &[
            ("GET http://h.test/x/y/z", "hp"),
            ("POST http://h.test/x/y/z", "mhp"),
            ("GET http://o.test/x/y/z", "mp"),
            ("GET http://o.test/x/q", "mp"),
            ("PUT http://o.test/x/q", "-"),
            ("GET http://o.test/x/q X-V:1", "hdr"),
            ("GET http://h.test/q", "h"),
        ],
    );
}

#[test]
fn headers() {
    both(
        json!([
            {"name": "one", "paths": ["/"], "headers": {"X-A": ["1"]}},
            {"name": "two", "paths": ["/"], "headers": {"X-A": ["1"], "X-B": ["2"]}},
            {"name": "re", "paths": ["/"], "headers": {"X-A": ["~*^v[0-9]+$"]}},
            {"name": "lower", "paths": ["/"], "headers": {"X-C": ["abc"]}},
            {"name": "none", "paths": ["/"]},
        ]),
        &[
            ("GET http://h/ X-A:1", "one"),
            ("GET http://h/ X-A:1 X-B:2", "two"),
            ("GET http://h/ x-a:V9", "re"),
            ("GET http://h/ X-A:nope", "none"),
            ("GET http://h/ X-A:0 X-A:1", "one"),
            ("GET http://h/ X-C:ABC", "lower"),
            ("GET http://h/", "none"),
        ],
    );
}

#[test]
fn a_plain_host_beats_a_longer_path_under_a_wildcard() {
    both(
        json!([
            {"name": "wildlong", "hosts": ["*.w.test"], "paths": ["/long/path"]},
            {"name": "plainshort", "hosts": ["a.w.test"], "paths": ["/long"]},
        ]),
        &[("GET http://a.w.test/long/path/x", "plainshort")],
    );
}

#[test]
fn two_fields_beat_a_regular_expression() {
    both(
        json!([
            {"name": "prefhost", "hosts": ["h.test"], "paths": ["/r"]},
            {"name": "re", "paths": ["~/r/.*"]},
        ]),
        &[("GET http://h.test/r/x", "prefhost"), ("GET http://o.test/r/x", "re")],
    );
}

#[test]
fn methods() {
    both(
        json!([
            {"name": "get", "methods": ["GET"]},
            {"name": "del", "methods": ["DELETE"], "paths": ["/d"]},
        ]),
        &[
            ("GET http://h/q", "get"),
            ("DELETE http://h/d/1", "del"),
            ("DELETE http://h/q", "-"),
            ("HEAD http://h/q", "-"),
            ("get http://h/q", "-"),
        ],
    );
}

#[test]
fn server_names_count_on_tls_only() {
    both(
        json!([
            {"name": "sni", "snis": ["a.test"], "paths": ["/"]},
            {"name": "any", "paths": ["/"]},
        ]),
        &[
            ("GET https://a.test/", "sni"),
            ("GET https://b.test/", "any"),
            ("GET http://b.test/", "sni"),
        ],
    );
}

#[test]
fn paths_in_normal_form() {
    both(
        json!([
            {"name": "n", "paths": ["/n"]},
            {"name": "sp", "paths": ["/sp"]},
            {"name": "enc", "paths": ["/e n"]},
            {"name": "re", "paths": ["~/re/(?<id>\\d+)$"]},
        ]),
        &[
            ("GET http://h/n/../n/x", "n"),
            ("GET http://h//n/x", "n"),
            ("GET http://h/%6e/x", "n"),
            ("GET http://h/x/../n", "n"),
            ("GET http://h/n;x=1/y", "n"),
            ("GET http://h/sp/%2e%2e/x", "-"),
            ("GET http://h/sp/..", "-"),
            ("GET http://h/e%20n/x", "enc"),
            ("GET http://h/re/12", "re"),
            ("GET http://h/re/12/", "-"),
            ("GET http://h/re/%31", "re"),
        ],
    );
}
