#![allow(clippy::unwrap_used, reason = "tests")]

use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::contract::Source;
use crate::test_kit::rig;

/// What becomes of an answer: its type and its body.
fn answered(status: u16, kind: &str, body: &str, source: Source) -> (ResponseHeader, String) {
    let mut rig = rig();
    let plugin = rig.plugin("problem-details", json!({}));
    let mut head = ResponseHeader::build(status, None).unwrap();
    head.insert_header("Content-Type", kind.to_owned()).unwrap();
    head.insert_header("Content-Length", body.len().to_string()).unwrap();
    let mut exchange = rig.get("/");
    exchange.source = source;
    let (first, second) = body.split_at(body.len() / 2);
    exchange.respond(&plugin, head, &[first, second, ""])
}

const JSON: &str = "application/json; charset=utf-8";
const PROBLEM: &str = "application/problem+json";

#[test]
fn refusals_of_the_gateway_are_problems() {
    let rows = [
        (401, r#"{"message":"Unauthorized"}"#, "Unauthorized", "Unauthorized"),
        (401, r#"{"exp":"token expired"}"#, "Unauthorized", "exp: token expired"),
        (
            429,
            r#"{"message":"API rate limit exceeded"}"#,
            "Too Many Requests",
            "API rate limit exceeded",
        ),
        (502, "<html>", "Bad Gateway", "Bad Gateway"),
        (503, "", "Service Unavailable", "Service Unavailable"),
    ];
    for (status, body, title, detail) in rows {
        let (head, told) = answered(status, JSON, body, Source::Gateway);
        assert_eq!(head.headers["content-type"], PROBLEM, "{status}");
        assert!(!head.headers.contains_key("content-length"), "{status}");
        let wanted = json!({"title": title, "status": status, "detail": detail});
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), wanted);
        let challenged = head
            .headers
            .get("www-authenticate")
            .is_some_and(|value| value == "Bearer error=\"invalid_token\"");
        assert_eq!(challenged, status == 401);
        assert_eq!(head.headers.contains_key("retry-after"), status == 429);
    }
}

#[test]
fn the_rest_passes() {
    let rows = [
        (200, JSON, r#"{"message":"x"}"#, Source::Gateway),
        (404, PROBLEM, r#"{"status":404,"detail":"x"}"#, Source::Gateway),
        (404, JSON, r#"{"message":"x"}"#, Source::Upstream),
    ];
    for (status, kind, body, source) in rows {
        let (head, told) = answered(status, kind, body, source);
        assert_eq!((head.headers["content-type"].to_str().unwrap(), &*told), (kind, body));
        assert!(head.headers.contains_key("content-length"), "{status}");
    }
}
