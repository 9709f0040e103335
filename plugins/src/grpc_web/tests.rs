#![allow(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::contract::RequestBody;
use crate::kit::grpc::tests::library;
use crate::kit::grpc::{frame, trailers_frame};
use crate::test_kit::{Exchange, Instance, rig};

const FIND: &str = "/lib.Library/Find";

fn exchange(config: Value, kind: &str, body: &[u8]) -> (Instance, Exchange, Option<(u16, Value)>) {
    let mut rig = rig();
    let plugin = rig.plugin("grpc-web", config);
    let mut exchange = rig.get(FIND).method("POST").header("Content-Type", kind);
    exchange.facts.body = RequestBody::Whole(body.to_vec().into());
    let refused = exchange.access(&plugin).map(|answer| (answer.status, answer.body));
    (plugin, exchange, refused)
}

/// What an upstream gets, and what clients get of its answer.
fn both_ways(config: Value, kind: &str, body: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
    let (plugin, mut exchange, refused) = exchange(config, kind, body);
    assert_eq!(refused, None);
    assert_eq!(exchange.sent("content-type"), ["application/grpc"]);
    assert_eq!(exchange.sent("te"), ["trailers"]);
    let sent = match &exchange.facts.body {
        RequestBody::Replaced(bytes) => Some(bytes.to_vec()),
        _ => None,
    };
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("Content-Type", "application/grpc").unwrap();
    // A title and its length, cut in two; the outcome in trailers.
    let answer = frame(0, b"\x0a\x01t");
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let (head, got) =
        exchange.respond_with(&plugin, head, &[&answer[..3], &answer[3..]], Some(trailers));
    assert_eq!(head.headers["content-type"], kind);
    (sent, got)
}

fn ok() -> Vec<u8> {
    trailers_frame(&HeaderMap::new()).to_vec()
}

#[test]
fn frames_pass_and_the_outcome_follows() {
    let message = frame(0, b"\x0a\x01s");
    let (sent, got) = both_ways(json!({}), "application/grpc-web+proto", &message);
    assert_eq!(sent, None, "the body needs no change");
    assert_eq!(got, [&frame(0, b"\x0a\x01t")[..], &ok()].concat());

    let text = BASE64_STANDARD.encode(&message);
    let (sent, got) = both_ways(json!({}), "application/grpc-web-text", text.as_bytes());
    assert_eq!(sent, Some(message.to_vec()));
    let answer = frame(0, b"\x0a\x01t");
    let parts: Vec<String> =
        [&answer[..3], &answer[3..], &ok()].map(|part| BASE64_STANDARD.encode(part)).to_vec();
    assert_eq!(String::from_utf8(got).unwrap(), parts.concat());
}

#[test]
fn json_needs_a_file() {
    let (_folder, file) = library();
    let config = || json!({"proto": file});
    let body = br#"{"shelf":"s","number":7}"#;
    let (sent, got) = both_ways(config(), "application/json", body);
    assert_eq!(sent, Some(frame(0, b"\x0a\x01s\x10\x07").to_vec()));
    assert_eq!(got, br#"{"title":"t","pages_total":0}"#);
    let (sent, got) = both_ways(config(), "application/grpc-web+json", &frame(0, body));
    assert_eq!(sent, Some(frame(0, b"\x0a\x01s\x10\x07").to_vec()));
    let answer = frame(0, br#"{"title":"t","pages_total":0}"#);
    assert_eq!(got, [&answer[..], &ok()].concat());
    let (.., refused) = exchange(json!({}), "application/json", body);
    let why = "transcoding requests require a .proto file defining the service";
    assert_eq!(refused, Some((400, why.into())));
    let (.., refused) = exchange(config(), "application/json", b"no json");
    assert_eq!(refused.unwrap().0, 400);
}

#[test]
fn what_is_no_grpc_web_is_refused() {
    let (.., refused) = exchange(json!({}), "text/plain", b"");
    assert_eq!(refused, Some((400, "not a content type of gRPC-Web".into())));
    let (.., refused) = exchange(json!({}), "application/grpc-web-text", b"?");
    assert_eq!(refused.unwrap().0, 400);
}

#[test]
fn browsers_may_ask_first() {
    let mut rig = rig();
    let plugin = rig.plugin("grpc-web", json!({"allow_origin_header": "https://a.test"}));
    let answer = rig.get(FIND).method("OPTIONS").access(&plugin).unwrap();
    assert_eq!((answer.status, &answer.body), (200, &json!("OK")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.test"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
}

#[test]
fn an_outcome_in_headers_is_told_at_the_end() {
    let (plugin, mut exchange, _) =
        exchange(json!({}), "application/grpc-web", &frame(0, b"\x0a\x01s"));
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("grpc-status", "5").unwrap();
    let (_, got) = exchange.respond_with(&plugin, head, &[b""], None);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "5".parse().unwrap());
    assert_eq!(got, trailers_frame(&trailers));
}
