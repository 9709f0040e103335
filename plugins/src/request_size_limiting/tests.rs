#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::contract::BodyLimit;
use crate::test_kit::rig;

#[test]
fn sizes() {
    let check = |config: Value, headers: &[(&str, &str)], wanted: Option<(u16, &str)>| {
        let mut rig = rig();
        let plugin = rig.plugin("request-size-limiting", config.clone());
        let mut exchange = rig.get("/").method("POST");
        for (name, value) in headers {
            exchange = exchange.header(name, value);
        }
        let answer = exchange.access(&plugin).map(|answer| (answer.status, answer.body));
        let wanted = wanted.map(|(status, text)| (status, json!({"message": text})));
        assert_eq!(answer, wanted, "{config}, {headers:?}");
    };
    let unit = |size: i64, unit: &str| json!({"allowed_payload_size": size, "size_unit": unit});
    let length = |value: &'static str| [("Content-Length", value)];
    let exceeded = "Request size limit exceeded";
    check(json!({}), &length("134217728"), None);
    check(json!({}), &length("134217729"), Some((413, exceeded)));
    check(unit(1, "kilobytes"), &length("1024"), None);
    check(unit(1, "kilobytes"), &length("1025"), Some((413, exceeded)));
    check(unit(1, "bytes"), &length("2"), Some((413, exceeded)));
    check(unit(-1, "bytes"), &length("1"), Some((413, exceeded)));
    check(unit(-1, "bytes"), &length("0"), None);
    let waits = [("Content-Length", "2"), ("Expect", "100-continue")];
    check(unit(1, "bytes"), &waits, Some((417, exceeded)));
    let told = json!({"require_content_length": true});
    check(told.clone(), &[], Some((411, "A valid Content-Length header is required")));
    check(told.clone(), &[("Transfer-Encoding", "chunked")], None);
    check(told, &length("1"), None);
}

#[test]
fn an_unknown_length_is_limited_where_the_body_is_seen() {
    let mut rig = rig();
    let plugin = rig.plugin("request-size-limiting", json!({"size_unit": "bytes"}));
    let mut exchange = rig.get("/").header("Transfer-Encoding", "chunked");
    assert_eq!(exchange.access(&plugin), None);
    assert_eq!(exchange.facts.notes.get::<BodyLimit>(), Some(&BodyLimit(128)));
}
