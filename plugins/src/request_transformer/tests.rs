#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::contract::{Captures, Needs, RequestBody};
use crate::test_kit::{Exchange, rig};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The request after an instance of this configuration.
fn after(config: Value, prepare: impl FnOnce(Exchange) -> Exchange) -> Exchange {
    let mut rig = rig();
    let plugin = rig.plugin("request-transformer", config);
    let mut exchange = prepare(rig.get("/x?q=1&r=2"));
    assert_eq!(exchange.access(&plugin), None);
    exchange
}

#[test]
fn headers() {
    let check = |config: Value, wanted: &[(&str, &[&str])]| {
        let exchange = after(config.clone(), |exchange| {
            exchange.header("X-A", "1").header("X-A", "2").header("X-B", "b")
        });
        for (name, values) in wanted {
            assert_eq!(exchange.sent(name), *values, "{config}, {name}");
        }
    };
    check(json!({"remove": {"headers": ["x-a", "host"]}}), &[("x-a", &[]), ("host", &["gw.test"])]);
    check(json!({"rename": {"headers": ["X-A:X-R"]}}), &[("x-a", &[]), ("x-r", &["1", "2"])]);
    check(
        json!({"replace": {"headers": ["X-A:r", "X-None:r"]}}),
        &[("x-a", &["r"]), ("x-none", &[])],
    );
    check(
        json!({"add": {"headers": ["X-A:3", "X-C:c:d", "X-E:"]}}),
        &[("x-a", &["1", "2"]), ("x-c", &["c:d"]), ("x-e", &[])],
    );
    check(json!({"append": {"headers": ["X-A:3"]}}), &[("x-a", &["1", "2", "3"])]);
    // One after the other, each on what the one before left.
    check(
        json!({
            "remove": {"headers": ["X-A"]}, "rename": {"headers": ["X-B:X-A"]},
            "replace": {"headers": ["X-A:r"]}, "append": {"headers": ["X-A:s"]},
        }),
        &[("x-a", &["r", "s"]), ("x-b", &[])],
    );
}

#[test]
fn host_is_the_upstreams() {
    let exchange = after(json!({"replace": {"headers": ["Host:up.test"]}}), |exchange| exchange);
    assert_eq!(exchange.sent("host"), ["gw.test"]);
    let wanted = exchange.facts.upstream.unwrap();
    assert_eq!(wanted.authority.unwrap(), "up.test");
}

#[test]
fn queries() {
    let check = |config: Value, wanted: Option<&str>| {
        let exchange = after(config.clone(), |exchange| exchange);
        assert_eq!(exchange.head.uri.query(), wanted, "{config}");
    };
    check(json!({"remove": {"querystring": ["q"]}}), Some("r=2"));
    check(json!({"remove": {"querystring": ["q", "r"]}}), None);
    check(json!({"rename": {"querystring": ["q:z", "none:r"]}}), Some("z=1"));
    check(json!({"replace": {"querystring": ["q:a b&c", "none:1"]}}), Some("q=a%20b%26c&r=2"));
    check(json!({"add": {"querystring": ["q:9", "a:1"]}}), Some("a=1&q=1&r=2"));
    check(json!({"append": {"querystring": ["q:9"]}}), Some("q=1&q=9&r=2"));
}

#[test]
fn bodies() {
    let check = |kind: &str, body: &str, config: Value, wanted: Option<&str>| {
        let exchange = after(config.clone(), |exchange| exchange.method("POST").body(kind, body));
        let got = match &exchange.facts.body {
            RequestBody::Replaced(bytes) => Some(std::str::from_utf8(bytes).unwrap()),
            _ => None,
        };
        assert_eq!(got, wanted, "{config} on {body}");
    };
    let remove = || json!({"remove": {"body": ["b"]}});
    let rename = || json!({"rename": {"body": ["b:c"]}});
    let replace = || json!({"replace": {"body": ["b:2"]}});
    let add = || json!({"add": {"body": ["b:2"]}});
    let append = || json!({"append": {"body": ["b:2"]}});
    check(FORM, "b=1&a=0&b=3", remove(), Some("a=0"));
    check(FORM, "b=1&a=0&b=3", rename(), Some("c=1&a=0&c=3"));
    check(FORM, "b=1&a=0&b=3", replace(), Some("b=2&a=0"));
    check(FORM, "b=1&a=0&b=3", append(), Some("b=1&a=0&b=3&b=2"));
    check(FORM, "a=0", add(), Some("a=0&b=2"));
    check(FORM, "b=1", add(), None);
    check(FORM, "a=0", remove(), None);
    check(FORM, "", add(), Some("b=2"));
    check(JSON, r#"{"b":1,"a":0}"#, remove(), Some(r#"{"a":0}"#));
    check(JSON, r#"{"b":1,"a":0}"#, rename(), Some(r#"{"a":0,"c":1}"#));
    check(JSON, r#"{"b":1}"#, replace(), Some(r#"{"b":"2"}"#));
    check(JSON, r#"{"z":1}"#, add(), Some(r#"{"b":"2","z":1}"#));
    check(JSON, r#"{"b":"1"}"#, append(), Some(r#"{"b":["1","2"]}"#));
    check(JSON, r#"{"b":1}"#, append(), Some(r#"{"b":["2"]}"#));
    check(JSON, "[1]", add(), None);
    check(JSON, "no json", add(), None);
    check("text/plain", "b=1", remove(), None);
    let part = |name: &str, value: &str| {
        format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let kind = "multipart/form-data; boundary=xx";
    let whole = |parts: &[String]| format!("{}--xx--\r\n", parts.concat());
    let form = whole(&[part("b", "1"), part("a", "0")]);
    check(kind, &form, remove(), Some(&whole(&[part("a", "0")])));
    check(kind, &form, rename(), Some(&whole(&[part("c", "1"), part("a", "0")])));
    check(kind, &form, replace(), Some(&whole(&[part("a", "0"), part("b", "2")])));
    check(kind, &form, append(), None);
}

#[test]
fn a_form_moves_to_the_query_when_the_method_has_no_body() {
    let exchange = after(json!({"http_method": "GET"}), |exchange| {
        exchange.method("POST").body(FORM, "q=2&z=3")
    });
    assert_eq!(exchange.head.method, "GET");
    assert_eq!(exchange.head.uri.query(), Some("q=1&q=2&r=2&z=3"));
    let exchange = after(json!({"http_method": "PUT"}), |exchange| exchange.method("POST"));
    assert_eq!(
        (exchange.head.method.as_str(), exchange.head.uri.query()),
        ("PUT", Some("q=1&r=2"))
    );
}

#[test]
fn templates_see_the_request_as_it_came() {
    let config = json!({
        "remove": {"headers": ["X-A"]},
        "replace": {"uri": "/n/$(uri_captures[\"id\"])/$(uri_captures[2])"},
        "add": {
            "headers": ["X-M:pre-$(headers[\"x-a\"])-$(query_params.q)", "X-N:$(headers.none or 'n')"],
            "querystring": ["c:$(uri_captures.id)", "f:$(query_params.r:rep(2))"],
        },
    });
    let exchange = after(config, |mut exchange| {
        exchange.facts.captures = Captures {
            numbered: vec!["/cap/12/zz".into(), "12".into(), "zz".into()],
            named: vec![("id".into(), "12".into())],
        };
        exchange.header("X-A", "AA")
    });
    assert_eq!(exchange.sent("x-m"), ["pre-AA-1"]);
    assert_eq!(exchange.sent("x-n"), ["n"]);
    assert_eq!(exchange.sent("x-a"), [""; 0]);
    assert_eq!(exchange.head.uri.query(), Some("c=12&f=22&q=1&r=2"));
    let wanted = exchange.facts.upstream.unwrap();
    assert_eq!(wanted.path.as_deref(), Some("/n/12/zz"));
}

#[test]
fn a_template_that_fails_is_our_failure() {
    let check = |config: Value| {
        let mut rig = rig();
        let plugin = rig.plugin("request-transformer", config.clone());
        let answer = rig.get("/x").access(&plugin).unwrap();
        assert_eq!(answer.status, 500, "{config}");
        assert_eq!(answer.body, json!({"message": "An unexpected error occurred"}));
    };
    check(json!({"add": {"headers": ["X-A:$(headers.none.more)"]}}));
    check(json!({"replace": {"uri": "$(headers.none)"}}));
    check(json!({"add": {"headers": ["X-A:$('a\\nb')"]}}));
}

#[test]
fn only_what_is_needed_is_asked_for() {
    let needs = |config: Value| rig().plugin("request-transformer", config).handler.needs();
    assert_eq!(needs(json!({"add": {"headers": ["X-A:1"]}})), Needs::NOTHING);
    assert_eq!(needs(json!({"add": {"headers": ["X-A:$(1)"]}})), Needs::CAPTURES);
    assert_eq!(needs(json!({"add": {"body": ["a:1"]}})), Needs::BODY);
    assert_eq!(needs(json!({"http_method": "GET"})), Needs::BODY);
}

#[test]
fn what_is_refused() {
    let check = |config: Value, wanted: &str| {
        let refused = rig().try_plugin("request-transformer", config.clone()).err();
        let refused = refused.unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(wanted), "{refused}");
    };
    check(json!({"add": {"headers": ["noColon", "x:$(bad syntax"]}}), "invalid value: noColon");
    check(json!({"add": {"headers": ["x y:1"]}}), "'x y' is not a valid header");
    check(json!({"add": {"querystring": ["q"]}}), "key 'q' has no value");
    check(json!({"rename": {"headers": ["a:b c"]}}), "'b c' is not a valid header");
    check(
        json!({"add": {"querystring": ["q:$(ngx.now())"]}}),
        "value '$(ngx.now())' is not in supported format, error:unknown name 'ngx'",
    );
    check(json!({"add": {"headers": ["x:$(os.exit())"]}}), "unknown name 'os'");
    check(json!({"replace": {"uri": "/$(x)"}}), "unknown name 'x'");
    check(json!({"http_method": "get"}), "invalid value: get");
}
