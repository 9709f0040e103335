#![allow(clippy::unwrap_used, reason = "tests")]

use http::HeaderMap;
use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::contract::RequestBody;
use crate::kit::grpc::frame;
use crate::kit::grpc::tests::library;
use crate::test_kit::{Exchange, Instance, Rig, rig};

struct World {
    _folder: tempfile::TempDir,
    rig: Rig,
    plugin: Instance,
}

fn world() -> World {
    let (folder, file) = library();
    let mut rig = rig();
    let plugin = rig.plugin("grpc-gateway", json!({"proto": file}));
    World { _folder: folder, rig, plugin }
}

impl World {
    fn ask(&self, method: &str, target: &str, body: &str) -> (Exchange, Option<(u16, Value)>) {
        let mut exchange = self.rig.get(target).method(method).body("application/json", body);
        let refused = exchange.access(&self.plugin).map(|answer| (answer.status, answer.body));
        (exchange, refused)
    }
}

#[test]
fn requests_make_messages() {
    let world = world();
    let check = |method: &str, target: &str, body: &str, path: &str, message: &[u8]| {
        let (exchange, refused) = world.ask(method, target, body);
        assert_eq!(refused, None, "{method} {target}");
        assert_eq!(exchange.head.method, "POST");
        assert_eq!(exchange.head.uri.query(), None);
        assert_eq!(exchange.sent("content-type"), ["application/grpc"]);
        let wanted = exchange.facts.upstream.as_ref().unwrap();
        assert_eq!(wanted.path.as_deref(), Some(path));
        let RequestBody::Replaced(sent) = &exchange.facts.body else { panic!("{target}") };
        assert_eq!(sent, &frame(0, message), "{method} {target}");
    };
    let find = "/lib.Library/Find";
    check("GET", "/v1/shelves/a/books/7", "", find, b"\x0a\x09shelves/a\x10\x07");
    check(
        "GET",
        "/v1/shelves/a/books/7?exact=true&page.size=2&tags=x&tags=y&none=1",
        "",
        find,
        b"\x0a\x09shelves/a\x10\x07\x18\x01\x22\x02\x08\x02\x2a\x01x\x2a\x01y",
    );
    check("POST", "/v1/find", r#"{"shelf":"s"}"#, find, b"\x0a\x01s");
    check("POST", "/v1/books", r#"{"title":"t"}"#, "/lib.Library/Add", b"\x0a\x03\x0a\x01t");
}

#[test]
fn what_calls_nothing_is_refused() {
    let world = world();
    let check = |method: &str, target: &str, body: &str, wanted: &str| {
        let (_, refused) = world.ask(method, target, body);
        let (status, text) = refused.unwrap();
        assert_eq!(status, 400);
        assert!(text.as_str().unwrap().starts_with(wanted), "{text}");
    };
    check("PUT", "/v1/find", "", "failed to transcode .proto file Unknown method \"put\"");
    check("GET", "/v2", "", "failed to transcode .proto file Unknown path \"/v2\"");
    check("GET", "/v1/shelves/a/b/books/7", "", "failed to transcode .proto file Unknown path");
    check("POST", "/v1/find", "[1]", "body must be a table");
    check("POST", "/v1/find", "{", "EOF");
    check("GET", "/v1/shelves/a/books/x", "", "");
}

#[test]
fn answers_become_json() {
    let world = world();
    let (mut exchange, _) = world.ask("GET", "/v1/shelves/a/books/7", "");
    let answer = frame(0, b"\x0a\x01t\x10\x80\x01");
    let head = ResponseHeader::build(200, None).unwrap();
    let pieces = [&answer[..4], &answer[4..]];
    let (head, got) = exchange.respond_with(&world.plugin, head, &pieces, Some(HeaderMap::new()));
    assert_eq!(head.headers["content-type"], "application/json");
    assert_eq!(got, br#"{"title":"t","pages_total":128}"#);

    let (mut exchange, _) = world.ask("GET", "/v1/shelves/a/books/7", "");
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("grpc-status", "5").unwrap();
    let (head, _) = exchange.respond_with(&world.plugin, head, &[], None);
    assert_eq!(head.status, 404);
}

#[test]
fn a_file_is_checked_when_configured() {
    let refused = rig().try_plugin("grpc-gateway", json!({"proto": "/nonexistent.proto"})).err();
    assert!(refused.unwrap().contains("config.proto"));
}
