#![allow(clippy::unwrap_used, reason = "tests")]

use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::test_kit::{Instance, Rig, rig};

/// One exchange whose upstream says this was used: what the upstream was told, the answer's status,
/// what is left, and the body.
fn exchange(rig: &Rig, plugin: &Instance, used: &str) -> String {
    let mut exchange = rig.get("/");
    if let Some(answer) = exchange.access(plugin) {
        return format!("{} {}", answer.status, answer.body["message"].as_str().unwrap());
    }
    let told = exchange.sent("x-ratelimit-remaining-video").join(",");
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("X-Kong-Limit", used).unwrap();
    head.insert_header("Content-Length", "4").unwrap();
    let (head, body) = exchange.respond(plugin, head, &["body"]);
    let text =
        |name: &str| head.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(text("x-kong-limit"), "-", "the upstream's header is for us");
    exchange.log(plugin, head.status.as_u16());
    let left = text("x-ratelimit-remaining-video-minute");
    format!("{told} {} {left} {} {body}", head.status.as_u16(), text("content-length"))
}

fn config(more: Value) -> Value {
    let mut config = json!({"limits": {"video": {"minute": 3, "hour": 10}, "image": {"day": 1}}});
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

#[test]
fn uses_are_what_the_upstream_says() {
    let mut rig = rig();
    let plugin = rig.plugin("response-ratelimiting", config(json!({})));
    assert_eq!(exchange(&rig, &plugin, "video=2, none=7"), "3 200 1 4 body");
    assert_eq!(exchange(&rig, &plugin, "image=0"), "1 200 1 4 body");
    // More than is left is still given once; then nothing that uses any.
    assert_eq!(exchange(&rig, &plugin, "video=2"), "1 200 0 4 body");
    assert_eq!(exchange(&rig, &plugin, "video=1"), "-1 429 0 0 ");
    assert_eq!(exchange(&rig, &plugin, "video=junk"), "-1 200 0 4 body");
    // A new minute; the hour has four used.
    rig.clock.advance_ms(60_000);
    assert_eq!(exchange(&rig, &plugin, ""), "3 200 3 4 body");
}

#[test]
fn a_violation_may_block_before_the_upstream_is_asked() {
    let mut rig = rig();
    let blocking = json!({"block_on_first_violation": true, "hide_client_headers": true});
    let plugin = rig.plugin("response-ratelimiting", config(blocking));
    assert_eq!(exchange(&rig, &plugin, "video=3"), "3 200 - 4 body");
    assert_eq!(exchange(&rig, &plugin, ""), "429 API rate limit exceeded for 'video'");
}

#[test]
fn what_is_refused() {
    let check = |config: Value, wanted: &str| {
        let refused = rig().try_plugin("response-ratelimiting", config.clone()).err();
        let refused = refused.unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(wanted), "{refused}");
    };
    check(json!({"limits": {}}), "length must be at least 1");
    check(json!({"limits": {"video": {"minute": 2, "hour": 1}}}), "cannot be lower than");
    check(json!({"limits": {"a b": {"minute": 2}}}), "'a b' is no part of a header");
    check(config(json!({"policy": "cluster"})), "expected one of: local, redis");
    check(config(json!({"policy": "redis"})), "required field missing");
}
