#![allow(clippy::unwrap_used, reason = "tests")]

use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::test_kit::rig;

fn upstream(headers: &[(&'static str, &str)]) -> ResponseHeader {
    let mut head = ResponseHeader::build(200, None).unwrap();
    for (name, value) in headers {
        head.append_header(*name, *value).unwrap();
    }
    head
}

/// `name=value` of every header, in the order of names.
fn shown(head: &ResponseHeader) -> String {
    let mut lines: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
        .collect();
    lines.sort_by(|a, b| a.split('=').next().cmp(&b.split('=').next()));
    lines.join(" ")
}

#[test]
fn headers() {
    let check = |config: Value, wanted: &str| {
        let mut rig = rig();
        let plugin = rig.plugin("response-transformer", config.clone());
        let head = upstream(&[
            ("Server", "mock/1"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("X-Up", "1"),
        ]);
        let (head, _) = rig.get("/").respond(&plugin, head, &[]);
        assert_eq!(shown(&head), wanted, "{config}");
    };
    let all = "server=mock/1 set-cookie=a=1 set-cookie=b=2 x-up=1";
    check(json!({}), all);
    check(json!({"remove": {"headers": ["server", "X-UP:text", "set-cookie"]}}), "");
    check(
        json!({"rename": {"headers": ["X-Up:X-Ren", "X-None:X-No"]}}),
        "server=mock/1 set-cookie=a=1 set-cookie=b=2 x-ren=1",
    );
    check(json!({"rename": {"headers": ["set-cookie:x-up"]}}), "server=mock/1 x-up=a=1 x-up=b=2");
    check(json!({"rename": {"headers": ["X-Up:x-up"]}}), all);
    check(
        json!({"replace": {"headers": ["X-Up:2", "X-None:2"]}}),
        "server=mock/1 set-cookie=a=1 set-cookie=b=2 x-up=2",
    );
    check(
        json!({"add": {"headers": ["X-Up:no", "X-New:http://a:80/"]}}),
        "server=mock/1 set-cookie=a=1 set-cookie=b=2 x-new=http://a:80/ x-up=1",
    );
    check(
        json!({"append": {"headers": ["X-Up:3", "X-N:1"]}}),
        "server=mock/1 set-cookie=a=1 set-cookie=b=2 x-n=1 x-up=1 x-up=3",
    );
    // Each step sees what the one before left.
    check(
        json!({"remove": {"headers": ["X-Up", "server", "set-cookie"]}, "add": {"headers": ["X-Up:9"]}}),
        "x-up=9",
    );
}

const BODY: &str = r#"{"p1":"v1","p2":2,"p3":[1,2],"p4":"a.b"}"#;

#[test]
fn json_bodies() {
    let check = |config: Value, wanted: Value| {
        let mut rig = rig();
        let plugin = rig.plugin("response-transformer", config.clone());
        for pieces in [vec![BODY], vec!["", &BODY[..7], &BODY[7..20], &BODY[20..], ""]] {
            let head =
                upstream(&[("Content-Type", "Application/JSON; x=y"), ("Content-Length", "40")]);
            let (head, body) = rig.get("/").respond(&plugin, head, &pieces);
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body, wanted, "{config}");
            assert!(head.headers.get("content-length").is_none(), "{config}");
        }
    };
    check(json!({"remove": {"json": ["p1", "no"]}}), json!({"p2": 2, "p3": [1, 2], "p4": "a.b"}));
    check(
        json!({"rename": {"json": ["p1:pp", "no:nn"]}}),
        json!({"pp": "v1", "p2": 2, "p3": [1, 2], "p4": "a.b"}),
    );
    check(
        json!({"replace": {"json": ["p1:new", "zz:1"]}}),
        json!({"p1": "new", "p2": 2, "p3": [1, 2], "p4": "a.b"}),
    );
    check(
        json!({"add": {"json": ["n:1", "p1:no", "b:true", "c:x"],
                       "json_types": ["number", "string", "boolean", "boolean"]}}),
        json!({"p1": "v1", "p2": 2, "p3": [1, 2], "p4": "a.b", "n": 1, "b": true, "c": false}),
    );
    check(
        json!({"append": {"json": ["p3:9", "p1:x", "p2:y", "q:z"], "json_types": ["number"]}}),
        json!({"p1": ["v1", "x"], "p2": ["y"], "p3": [1, 2, 9], "p4": "a.b", "q": ["z"]}),
    );
    check(
        json!({"replace": {"json": ["p2:1.5"], "json_types": ["number"]}}),
        json!({"p1": "v1", "p2": 1.5, "p3": [1, 2], "p4": "a.b"}),
    );
}

#[test]
fn what_is_not_json_passes_as_it_is() {
    let mut rig = rig();
    let plugin = rig.plugin("response-transformer", json!({"remove": {"json": ["p1"]}}));
    let json = ("Content-Type", "application/json");
    let length = ("Content-Length", "40");
    let check = |headers: &[(&'static str, &str)], pieces: &[&str], keeps_length: bool| {
        let (head, body) = rig.get("/").respond(&plugin, upstream(headers), pieces);
        assert_eq!(body, pieces.concat(), "{headers:?}");
        assert_eq!(head.headers.contains_key("content-length"), keeps_length, "{headers:?}");
    };
    check(&[length], &[BODY], true);
    check(&[("Content-Type", "text/plain"), length], &[BODY], true);
    check(&[("Content-Type", "application/json-seq"), length], &[BODY], true);
    check(&[json, ("Content-Encoding", "gzip"), length], &["\u{1f}zip"], true);
    check(&[json, length], &[r#"{"p1":"#, "oops"], false);
    check(&[json, length], &["[1,2]"], false);
    check(&[json, length], &[""], false);
    let long = format!("{{\"p1\":\"{}\"}}", "x".repeat(super::handler::LONGEST));
    check(&[json], &[&long[..9], &long[9..], "tail"], false);

    let (head, _) = rig.get("/").method("HEAD").respond(&plugin, upstream(&[json, length]), &[""]);
    assert!(head.headers.contains_key("content-length"), "HEAD tells the upstream's length");
}

#[test]
fn what_is_refused() {
    let mut rig = rig();
    let mut check = |config: Value, wanted: &str| {
        assert_eq!(rig.try_plugin("response-transformer", config).err().unwrap(), wanted);
    };
    check(
        json!({"add": {"headers": ["noColon"]}}),
        "schema violation (config.add: {\n  headers = {\n    \"invalid value: noColon\"\n  }\n})",
    );
    check(
        json!({"rename": {"headers": ["a:b", "a:b c"]}}),
        "schema violation (config.rename: {\n  headers = {\n    [2] = \"'b c' is not a valid header\"\n  }\n})",
    );
    check(
        json!({"add": {"headers": ["a b:c"], "json": ["n:x"], "json_types": ["number"]}}),
        "schema violation (config.add: {\n  headers = {\n    \"invalid value: a b:c\"\n  },\n  \
         json = {\n    \"not a number: x\"\n  }\n})",
    );
    check(
        json!({"remove": {"headers": ["b@d name"]}}),
        "schema violation (config.remove: {\n  headers = {\n    \"invalid value: b@d name\"\n  }\n})",
    );
}
