//! `kong.*` and the parts of `ngx.*` that are about an exchange.

use bytes::Bytes;
use serde_json::json;

use super::{Exchange, Rig, Settings, function, rig, rig_with, run_on};
use crate::contract::{RequestBody, Scheme, Timeouts};

fn asked(rig: &Rig) -> Exchange {
    let mut exchange = rig
        .get("/a/b?x=1&y=2&y=3&z")
        .header("X-One", "1")
        .header("X-Two", "2")
        .header("X-Two", "3")
        .header("Cookie", "session=s3; b=c")
        .header("Content-Type", "application/json");
    exchange.facts.body = RequestBody::Whole(Bytes::from_static(br#"{"k":[1,2]}"#));
    exchange
}

fn check(rows: &[(&str, &str)]) {
    for (expression, wanted) in rows {
        let code = format!("ngx.print(tostring({expression}), '!')");
        let answer = run_on(asked, &code);
        assert_eq!(answer, (200, format!("{wanted}!").into()), "{expression}");
    }
}

#[test]
fn the_request() {
    check(&[
        ("kong.request.get_method()", "GET"),
        ("kong.request.get_scheme()", "http"),
        ("kong.request.get_host()", "gw.test"),
        ("kong.request.get_port()", "28000"),
        ("kong.request.get_forwarded_port()", "28000"),
        ("kong.request.get_path()", "/a/b"),
        ("kong.request.get_raw_path()", "/a/b"),
        ("kong.request.get_path_with_query()", "/a/b?x=1&y=2&y=3&z"),
        ("kong.request.get_raw_query()", "x=1&y=2&y=3&z"),
        ("kong.request.get_query_arg('y')", "2"),
        ("kong.request.get_query_arg('z')", "true"),
        ("kong.request.get_query().y[2]", "3"),
        ("kong.request.get_header('x_one')", "1"),
        ("kong.request.get_header('None')", "nil"),
        ("kong.request.get_headers()['X-Two'][2]", "3"),
        ("kong.request.get_headers().x_one", "1"),
        ("select(2, kong.request.get_headers(1))", "truncated"),
        ("select(2, pcall(kong.request.get_headers, 0))", "max_headers must be >= 1"),
        ("kong.request.get_raw_body()", "{\"k\":[1,2]}"),
        ("kong.request.get_body().k[2]", "2"),
        ("kong.request.get_http_version()", "1.1"),
        (
            "select(2, pcall(kong.response.get_status))",
            "function cannot be called in access phase (only in: response, header_filter, body_filter, log, error, admin_api)",
        ),
        ("ngx.var.request_uri", "/a/b?x=1&y=2&y=3&z"),
        ("ngx.var.arg_x", "1"),
        ("ngx.var.http_x_one", "1"),
        ("ngx.var.cookie_session", "s3"),
        ("ngx.var.remote_addr", "127.0.0.1"),
        ("ngx.var.nothing", "nil"),
        ("ngx.req.get_uri_args().y[1]", "2"),
        ("ngx.req.get_headers()['X-One']", "1"),
        ("ngx.req.get_method()", "GET"),
        ("ngx.req.get_body_data()", "{\"k\":[1,2]}"),
        ("ngx.get_phase()", "access"),
    ]);
}

#[test]
fn how_the_upstream_is_asked() {
    let told = |call: &str| format!("select(2, pcall(kong.service.{call}))");
    let least = "connect_timeout must be an integer between 1 and 2147483646: given 0";
    check(&[
        (&told("set_timeouts, 0, 1, 1"), least),
        (&told("set_timeouts, 1, 1, 'x'"), "read_timeout must be an integer"),
        (&told("set_retries, -1"), "retries must be an integer between 0 and 32767: given -1"),
        (&told("set_tls_verify, 1"), "argument must be a boolean"),
        (
            &told("set_target, 'h', 65536"),
            "port must be an integer between 0 and 65535: given 65536",
        ),
    ]);
    let mut rig = rig();
    let mut exchange = asked(&rig);
    let code = "kong.service.set_timeouts(1, 2, 3) kong.service.set_retries(0) \
                kong.service.set_tls_verify(true) kong.service.set_tls_verify_depth(3)";
    let plugin = function(&mut rig, code);
    assert_eq!(exchange.access(&plugin), None);
    let wanted = exchange.facts.upstream.unwrap();
    assert_eq!(wanted.timeouts, Some(Timeouts { connect: 1, write: 2, read: 3 }));
    assert_eq!((wanted.retries, wanted.tls_verify), (Some(0), Some(true)));
    assert_eq!(wanted.tls_verify_depth, Some(3));
}

#[test]
fn what_is_shown_to_the_upstream() {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let code = format!(
        "local ssl = require 'ngx.ssl'
         local chain, key = ssl.parse_pem_cert([[{cert}]]), ssl.parse_pem_priv_key([[{key}]])
         local none, why = ssl.parse_pem_cert('x')
         assert(none == nil and why)
         assert(not pcall(kong.service.set_tls_cert_key, key, chain))
         kong.service.set_tls_cert_key(chain, key)"
    );
    // Nothing of this may be required unless an operator says so.
    let settings = Settings { requires: vec!["ngx.ssl".into()], ..Settings::default() };
    let mut rig = rig_with(settings, &[]).unwrap();
    let mut exchange = asked(&rig);
    let plugin = function(&mut rig, &code);
    assert_eq!(exchange.access(&plugin), None);
    let shown = exchange.facts.upstream.unwrap().client_pair.unwrap();
    assert_eq!((&shown.chain, shown.key.expose()), (&cert, &key));
}

#[test]
fn the_client_and_the_node() {
    check(&[
        ("kong.client.get_ip()", "127.0.0.1"),
        ("kong.client.get_forwarded_ip()", "127.0.0.1"),
        ("kong.client.get_port()", "40000"),
        ("select(2, kong.client.get_protocol())", "No active route found"),
        ("kong.client.get_consumer()", "nil"),
        ("kong.client.get_credential()", "nil"),
        ("kong.router.get_route()", "nil"),
        ("kong.ip.is_trusted('127.0.0.1')", "false"),
        ("kong.version", "3.10.0"),
        ("kong.nginx.get_subsystem()", "http"),
        ("type(kong.node.get_id())", "string"),
        ("kong.table.merge({a = 1}, {b = 2}).b", "2"),
        ("kong.cache:get('k', nil, function() return 'made' end)", "made"),
        ("ngx.shared.kong:incr('n', 2, 5)", "7"),
        ("select(2, ngx.shared.kong:add('a', 1)) or ngx.shared.kong:get('a')", "1"),
        ("ngx.ctx.mine", "nil"),
    ]);
}

#[test]
fn entities_of_the_catalog() {
    let mut rig = rig();
    let service = rig.insert("services", json!({"name": "s", "host": "h"})).id();
    let route = json!({"name": "r", "paths": ["/"], "service": {"id": service}});
    let route = rig.insert("routes", route).id();
    let consumer = rig.insert("consumers", json!({"username": "bob", "custom_id": "b1"})).id();
    let code = format!(
        "local bob = kong.client.load_consumer('bob', true)
         assert(bob.id == '{consumer}' and bob.custom_id == 'b1')
         assert(kong.db.consumers:select_by_username('bob').id == bob.id)
         assert(kong.db.services:select({{ id = '{service}' }}).host == 'h')
         assert(kong.db.routes:select_by_name('none') == nil)
         kong.client.authenticate(bob, {{ id = '{route}', key = 'k' }})
         assert(kong.client.get_consumer().username == 'bob')
         assert(kong.router.get_route().name == 'r' and kong.router.get_service().name == 's')"
    );
    let plugin = function(&mut rig, &code);
    let mut exchange = rig.get("/").on(route);
    assert_eq!(exchange.access(&plugin), None);
    let identity = &exchange.facts.identity;
    assert_eq!(identity.consumer.as_ref().unwrap().id(), consumer);
    assert_eq!(&*identity.credential.as_ref().unwrap().identifier, "k");
}

#[test]
fn what_the_upstream_gets() {
    let mut rig = rig();
    let code = "
        local request = kong.service.request
        request.set_header('X-One', 'changed')
        request.add_header('X-Two', 4)
        request.clear_header('Cookie')
        request.set_headers({ ['X-List'] = { 'a', 'b' }, ['x-flag'] = true })
        request.set_query({ q = 'a b', p = { '1', true } })
        request.set_method('PUT')
        request.set_path('/new path')
        request.set_scheme('https')
        request.set_header('Host', 'other.test')
        request.set_body({ made = true }, 'application/json')
        kong.service.set_target('10.0.0.9', 8443)
        ngx.var.upstream_x_forwarded_for = nil
        ngx.req.set_header('X-Evil', 'a\\r\\nX-More: 1')
        kong.response.set_header('X-Later', 'yes')";
    let plugin = function(&mut rig, code);
    let mut exchange = asked(&rig);
    assert_eq!(exchange.access(&plugin), None);
    let sent = |name| exchange.sent(name);
    assert_eq!(sent("x-one"), ["changed"]);
    assert_eq!(sent("x-two"), ["2", "3", "4"]);
    assert!(sent("cookie").is_empty());
    assert_eq!(sent("x-list"), ["a", "b"]);
    assert_eq!(sent("x-flag"), ["true"]);
    assert_eq!(sent("x-evil"), ["a%0D%0AX-More: 1"]);
    assert_eq!(exchange.head.uri, "/a/b?p=1&p&q=a%20b");
    assert_eq!(exchange.head.method, "PUT");
    let wanted = exchange.facts.upstream.as_deref().unwrap();
    assert_eq!(wanted.path.as_deref(), Some("/new path"));
    assert_eq!(wanted.scheme, Some(Scheme::Https));
    assert_eq!(wanted.authority.as_ref().unwrap(), "other.test");
    assert_eq!(wanted.destination, Some(("10.0.0.9".into(), 8443)));
    let body = Bytes::from_static(br#"{"made":true}"#);
    assert_eq!(exchange.facts.body, RequestBody::Replaced(body));
    assert!(!exchange.facts.send_forwarded_for);
    assert_eq!(exchange.added(), [("x-later".to_owned(), "yes".to_owned())]);
}

#[test]
fn ways_to_end_a_request() {
    let rows = [
        (
            "return kong.response.exit(406, { message = 'Invalid' })",
            406,
            json!({"message": "Invalid"}),
        ),
        ("kong.response.exit(418, 'tea') error('not reached')", 418, json!("tea")),
        ("kong.response.exit(204)", 204, json!(null)),
        ("kong.response.error(403, 'no')", 403, json!({"message": "no"})),
        ("ngx.status = 503 ngx.exit(ngx.status)", 503, json!({"message": ""})),
        ("ngx.status = 404 ngx.say('Not Found') ngx.exit(ngx.status)", 404, json!("Not Found\n")),
        ("ngx.say({'a', {'b', 1}}, true, nil, ngx.null)", 200, json!("ab1truenilnull\n")),
        ("ngx.exit(ngx.HTTP_OK)", 200, json!(null)),
        ("pcall(kong.response.exit, 401, 'caught')", 401, json!("caught")),
        ("coroutine.wrap(function() kong.response.exit(402, 'deep') end)()", 402, json!("deep")),
        ("error('this should stop the request')", 500, json!({"message": ""})),
        ("local x = nil + 1", 500, json!({"message": ""})),
        ("kong.response.exit(700)", 500, json!({"message": ""})),
    ];
    for (code, status, body) in rows {
        assert_eq!(run_on(|rig| rig.get("/"), code), (status, body), "{code}");
    }
    let mut rig = rig();
    let plugin = function(&mut rig, "ngx.exit(ngx.OK)");
    assert_eq!(rig.get("/").access(&plugin), None, "only the phase ended");
    let code = "kong.response.exit(302, nil, { Location = '/x', ['X-A'] = { '1', '2' } })";
    let plugin = rig.plugin("post-function", json!({"access": [code]}));
    let answer = rig.get("/").access(&plugin).unwrap();
    assert_eq!(answer.header("location"), Some("/x"));
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "x-a").count(), 2);
}
