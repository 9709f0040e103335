#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::contract::Captures;
use crate::test_kit::rig;

#[test]
fn answers() {
    let check = |config: Value, target: &str, wanted: Option<(u16, Value)>| {
        let mut rig = rig();
        let plugin = rig.plugin("request-termination", config.clone());
        let answer = rig.get(target).header("X-There", "").access(&plugin);
        assert_eq!(answer.map(|answer| (answer.status, answer.body)), wanted, "{config}, {target}");
    };
    check(json!({}), "/", Some((503, json!({"message": "Service unavailable"}))));
    check(json!({"status_code": 404}), "/", Some((404, json!({"message": "Not found"}))));
    check(json!({"status_code": 418}), "/", Some((418, Value::Null)));
    check(
        json!({"status_code": 418, "message": "tea"}),
        "/",
        Some((418, json!({"message": "tea"}))),
    );
    check(json!({"status_code": 200, "body": "plain"}), "/", Some((200, json!("plain"))));
    let trigger = |name: &str| json!({"status_code": 418, "trigger": name});
    check(trigger("x-t"), "/", None);
    check(trigger("x-t"), "/?x-t", Some((418, Value::Null)));
    check(trigger("X-There"), "/", Some((418, Value::Null)));
}

#[test]
fn the_echo_tells_what_was_asked() {
    let mut rig = rig();
    let service = rig.insert("services", json!({"host": "h", "name": "s"})).id();
    let route = rig.insert("routes", json!({"paths": ["/e"], "service": {"id": service}})).id();
    let plugin = rig.plugin("request-termination", json!({"echo": true}));
    let mut exchange = rig.get("/e?x=1").header("X-A", "1").on(route).body("text/plain", "hello");
    exchange.facts.captures = Captures {
        numbered: vec!["/e/7".into(), "7".into()],
        named: vec![("id".into(), "7".into())],
    };
    let answer = exchange.access(&plugin).unwrap();
    assert_eq!(answer.body["kong"]["hostname"], "localhost");
    assert_eq!(answer.body["message"], "Service unavailable");
    assert_eq!(
        answer.body["request"],
        json!({
            "scheme": "http", "host": "gw.test", "port": 28000, "method": "GET", "path": "/e",
            "query": {"x": "1"}, "raw_body": "hello",
            "headers": {"host": "gw.test", "x-a": "1", "content-type": "text/plain"},
            "uri_captures": {"named": {"id": "7"}, "unnamed": ["7"]},
        })
    );
    assert_eq!(answer.body["matched_route"]["id"], route.to_string());
    assert_eq!(answer.body["matched_service"]["name"], "s");
}

#[test]
fn what_is_refused() {
    let check = |config: Value, wanted: &str| {
        let refused = rig().try_plugin("request-termination", config).err().unwrap();
        assert_eq!(refused, format!("schema violation (config: {wanted})"));
    };
    check(json!({"message": "x", "body": "y"}), "message cannot be used with content_type or body");
    check(json!({"content_type": "a/b"}), "content_type requires a body");
    check(json!({"echo": true, "body": "y"}), "echo cannot be used with content_type and body");
}
