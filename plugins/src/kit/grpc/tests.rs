#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::BytesMut;
use http::HeaderMap;
use serde_json::{Value, json};

use super::{Binding, Services, decode, encode, frame, trailers_frame, unframe};

/// A service with annotations.
pub(crate) const LIBRARY: &str = include_str!("library.proto");

/// The same in a folder of its own.
pub(crate) fn library() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("library.proto");
    std::fs::write(&file, LIBRARY).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

#[test]
fn frames() {
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&frame(0, b"one"));
    bytes.extend_from_slice(&frame(0x80, b""));
    bytes.extend_from_slice(&frame(0, b"rest")[..6]);
    assert_eq!(unframe(&mut bytes), Some((0, "one".into())));
    assert_eq!(unframe(&mut bytes), Some((0x80, "".into())));
    assert_eq!(unframe(&mut bytes), None);
    assert_eq!(bytes.len(), 6);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "5".parse().unwrap());
    trailers.insert("grpc-message", "no%20book".parse().unwrap());
    let last = trailers_frame(&trailers);
    assert_eq!(&last[..5], [0x80, 0, 0, 0, 39]);
    assert_eq!(&last[5..], b"grpc-status:5\r\ngrpc-message:no%20book\r\n");
}

#[test]
fn services_are_what_files_say() {
    let (_folder, file) = library();
    let services = Services::load(&file).unwrap();
    let find = services.method("/lib.Library/Find").unwrap();
    assert!(services.method("/lib.Library/None").is_none());
    let shown: Vec<(String, Binding)> =
        services.bindings().into_iter().map(|(path, _, binding)| (path, binding)).collect();
    let binding = |verb: &str, path: &str, body: &str| Binding {
        verb: verb.into(),
        path: path.into(),
        body: body.into(),
    };
    assert_eq!(
        shown,
        [
            ("/lib.Library/Add".into(), binding("post", "/v1/books", "book")),
            (
                "/lib.Library/Find".into(),
                binding("get", "/v1/{shelf=shelves/*}/books/{number}", "")
            ),
            ("/lib.Library/Find".into(), binding("post", "/v1/find", "*")),
        ]
    );
    let bytes = encode(find.input(), json!({"shelf": "s", "number": 7})).unwrap();
    assert_eq!(&bytes[..], b"\x0a\x01s\x10\x07");
    let book: Value = serde_json::from_slice(
        &decode(find.output(), b"\x0a\x01t\x10\x80\x01"[..].to_vec().into()).unwrap(),
    )
    .unwrap();
    assert_eq!(book, json!({"title": "t", "pages_total": 128}));
    assert!(encode(find.input(), json!({"number": "x"})).is_err());
    assert!(decode(find.output(), b"\x0a\xff"[..].to_vec().into()).is_err());
}

#[test]
fn a_bad_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.proto");
    std::fs::write(&file, "syntax = \"proto3\"; message {").unwrap();
    assert!(Services::load(file.to_str().unwrap()).is_err());
    assert!(Services::load("/nonexistent/x.proto").is_err());
}
