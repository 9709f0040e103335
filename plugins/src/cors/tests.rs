#![allow(clippy::unwrap_used, reason = "tests")]

use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::test_kit::rig;

/// What an answer to a simple request says about its readers: origin, vary, credentials.
fn told(config: &Value, origin: Option<&str>) -> [Option<String>; 3] {
    let mut rig = rig();
    let plugin = rig.plugin("cors", config.clone());
    let mut exchange = rig.get("/");
    if let Some(origin) = origin {
        exchange = exchange.header("Origin", origin);
    }
    assert_eq!(exchange.access(&plugin), None);
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("Access-Control-Allow-Origin", "http://upstream.says").unwrap();
    let (head, _) = exchange.respond(&plugin, head, &[]);
    ["access-control-allow-origin", "vary", "access-control-allow-credentials"]
        .map(|name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned()))
}

#[test]
fn origins() {
    let check = |origins: Value, origin: &str, wanted: Option<&str>| {
        let got = told(&json!({ "origins": origins }), Some(origin));
        assert_eq!(got[0].as_deref(), wanted, "{origins}, {origin}");
        assert_eq!(got[1].as_deref(), (wanted != Some("*")).then_some("Origin"), "{origins}");
    };
    let two = || json!(["http://a.test:80", "https://b.test:8443"]);
    check(json!(null), "http://a.test", Some("*"));
    check(json!(["*"]), "http://a.test", Some("*"));
    check(json!(["*", "http://a.test"]), "http://b.test", None);
    check(json!(["http://a.test"]), "http://b.test", Some("http://a.test"));
    check(two(), "http://a.test", Some("http://a.test"));
    check(two(), "https://a.test", None);
    check(two(), "https://b.test:8443", Some("https://b.test:8443"));
    check(two(), "https://b.test", None);
    check(two(), "null", None);
    check(json!([r"a\d?\.test"]), "http://a1.test:99", Some("http://a1.test:99"));
    check(json!([r"a\d?\.test"]), "http://a1.test.evil", None);
    check(json!([r"http://a\.test|b"]), "http://a.test.evil", None);
    check(json!([r"^https://a\.test$"]), "https://a.test:443", Some("https://a.test"));
    check(json!([r"^https://a\.test$"]), "http://a.test", None);
}

#[test]
fn credentials() {
    let star = json!({"credentials": true});
    let some = |text: &str| Some(text.to_owned());
    let echoed = [some("http://a.test"), some("Origin"), some("true")];
    assert_eq!(told(&star, Some("http://a.test")), echoed);
    assert_eq!(told(&star, None), [some("*"), None, None]);
    let present = json!({"credentials": true, "allow_origin_absent": false});
    assert_eq!(told(&present, None), [some("http://upstream.says"), None, None]);
}

#[test]
fn questions_before_requests() {
    let mut rig = rig();
    let config = json!({"private_network": true, "max_age": 60, "origins": ["http://a.test"]});
    let plugin = rig.plugin("cors", config);
    let ask = || rig.get("/").method("OPTIONS").header("Origin", "http://a.test");
    assert_eq!(ask().access(&plugin), None, "no Access-Control-Request-Method");
    let mut exchange = ask()
        .header("Access-Control-Request-Method", "PUT")
        .header("Access-Control-Request-Headers", "X-Y, Z")
        .header("Access-Control-Request-Private-Network", "true");
    let answer = exchange.access(&plugin).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-headers"), Some("X-Y, Z"));
    assert_eq!(answer.header("access-control-max-age"), Some("60"));
    assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
    let (head, _) = exchange.respond(&plugin, ResponseHeader::build(200, None).unwrap(), &[]);
    assert!(head.headers.is_empty(), "the answer is complete: {:?}", head.headers);
}

#[test]
fn what_is_no_expression_is_refused() {
    let refused = rig().try_plugin("cors", json!({"origins": ["(", "*"]})).err().unwrap();
    assert!(refused.contains("'(' is not a valid regex"), "{refused}");
}
