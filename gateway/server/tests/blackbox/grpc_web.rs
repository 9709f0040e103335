//! gRPC services for clients that cannot speak gRPC: `grpc-web` and `grpc-gateway`, before a
//! library's server.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tonic_health::ServingStatus;

use crate::grpc::{gateway, post, server};
use crate::harness::{Answer, Answered as _, DEADLINE, Gateway, http1, plain, trusting};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The file of the health service, with paths for plain HTTP.
const HEALTH: &str = r#"
syntax = "proto3";
package grpc.health.v1;
import "google/api/annotations.proto";
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
  ServingStatus status = 1;
}
service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse) {
    option (google.api.http) = {
      get: "/v1/health"
      additional_bindings { get: "/v1/health/{service}" }
      additional_bindings { post: "/v1/health" body: "*" }
    };
  }
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse) {
    option (google.api.http) = { get: "/v1/changes" };
  }
}
"#;

/// A frame of gRPC: what it is, how long, and the message.
fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flags][..], &length.to_be_bytes(), message].concat()
}

/// `status: SERVING` and `NOT_SERVING`, in frames.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

async fn publish(upstream: SocketAddr, plugin: &str, config: serde_json::Value) -> Gateway {
    let gateway = gateway().await;
    let url = format!("grpc://{upstream}");
    post(&gateway, "/services", &json!({"name": "g", "url": url, "read_timeout": 20_000})).await;
    let route = json!({"protocols": ["http", "https"], "paths": ["/grpc.health.v1.Health", "/v1"]});
    post(&gateway, "/services/g/routes", &route).await;
    post(&gateway, "/services/g/plugins", &json!({"name": plugin, "config": config})).await;
    gateway
}

fn proto(gateway: &std::path::Path) -> String {
    let file = gateway.join("health.proto");
    std::fs::write(&file, HEALTH).unwrap();
    file.to_str().unwrap().to_owned()
}

async fn call(gateway: &Gateway, path: &str, kind: &str, body: Vec<u8>) -> Answer {
    let url = gateway.url("proxy", path);
    plain().post(url).header("Content-Type", kind).body(body).answer().await
}

async fn next(answer: &mut reqwest::Response) -> bytes::Bytes {
    let piece = tokio::time::timeout(DEADLINE, answer.chunk()).await.expect("a piece in time");
    piece.unwrap().expect("more of the answer")
}

/// The last frame of an answer of gRPC-Web, as text.
fn outcome(frames: &[u8]) -> &str {
    assert_eq!(frames[0], 0x80, "{frames:?}");
    assert_eq!(frames.len() - 5, usize::from(frames[4]));
    std::str::from_utf8(&frames[5..]).unwrap()
}

#[tokio::test]
async fn browsers_call_in_frames_and_in_text() {
    let (upstream, _reporter) = server(None).await;
    let gateway = publish(upstream, "grpc-web", json!({})).await;
    let kind = "application/grpc-web+proto";
    let answer = call(&gateway, CHECK, kind, frame(0, b"")).await.expect(200);
    assert_eq!(answer.header("content-type"), Some(kind));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.body[..SERVING.len()], *SERVING);
    assert_eq!(outcome(&answer.body[SERVING.len()..]), "grpc-status:0\r\ngrpc-message:\r\n");

    let kind = "application/grpc-web-text";
    let body = BASE64_STANDARD.encode(frame(0, b"")).into_bytes();
    let answer = call(&gateway, CHECK, kind, body).await.expect(200);
    assert_eq!(answer.header("content-type"), Some(kind));
    // Each piece is encoded by itself.
    let decode = |text: &str| BASE64_STANDARD.decode(text).unwrap();
    let first = BASE64_STANDARD.encode(SERVING);
    assert!(answer.text().starts_with(&first), "{}", answer.text());
    assert_eq!(
        outcome(&decode(&answer.text()[first.len()..])),
        "grpc-status:0\r\ngrpc-message:\r\n"
    );

    // An answer without a body has its status in the head.
    let unknown = frame(0, b"\x0a\x04none");
    let answer = call(&gateway, CHECK, "application/grpc-web", unknown).await.expect(200);
    assert_eq!(answer.header("grpc-status"), Some("5"));
    // And, for clients that look nowhere else, where the outcome of every call is.
    let told = outcome(&answer.body);
    assert!(told.starts_with("grpc-status:5\r\ngrpc-message:"), "{told}");
    let unknown = BASE64_STANDARD.encode(frame(0, b"\x0a\x04none")).into_bytes();
    let answer = call(&gateway, CHECK, "application/grpc-web-text", unknown).await.expect(200);
    assert!(outcome(&decode(answer.text())).starts_with("grpc-status:5\r\n"), "{}", answer.text());

    let answer = call(&gateway, CHECK, "text/plain", frame(0, b"")).await;
    assert_eq!((answer.status, answer.text()), (400, "not a content type of gRPC-Web"));

    let asked = plain().request(Method::OPTIONS, gateway.url("proxy", CHECK));
    let allowed = asked.header("Origin", "https://a.test").answer().await.expect(200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    assert_eq!(allowed.header("access-control-allow-methods"), Some("POST"));
    let headers = "content-type,x-grpc-web,x-user-agent";
    assert_eq!(allowed.header("access-control-allow-headers"), Some(headers));
}

#[tokio::test]
async fn browsers_see_a_stream_as_it_comes() {
    let (upstream, reporter) = server(None).await;
    let gateway = publish(upstream, "grpc-web", json!({})).await;
    let asked = plain().post(gateway.url("proxy", WATCH)).body(frame(0, b""));
    let mut answer = asked.header("Content-Type", "application/grpc-web").send().await.unwrap();
    assert_eq!(&next(&mut answer).await[..], SERVING);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(&next(&mut answer).await[..], NOT_SERVING);
}

#[tokio::test]
async fn browsers_call_in_json_where_a_file_tells_the_messages() {
    let (upstream, _reporter) = server(None).await;
    let folder = tempfile::tempdir().unwrap();
    let gateway = publish(upstream, "grpc-web", json!({"proto": proto(folder.path())})).await;
    let body = br#"{"service": ""}"#.to_vec();
    let answer = call(&gateway, CHECK, "application/json", body).await.expect(200);
    assert_eq!(answer.text(), r#"{"status":"SERVING"}"#);
    let answer = call(&gateway, CHECK, "application/json", b"{".to_vec()).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn paths_and_bodies_of_plain_http_are_calls() {
    let (upstream, reporter) = server(None).await;
    reporter.set_service_status("lamps", ServingStatus::NotServing).await;
    let folder = tempfile::tempdir().unwrap();
    let gateway = publish(upstream, "grpc-gateway", json!({"proto": proto(folder.path())})).await;
    let tls = trusting(&gateway).build().unwrap();
    let get = async |path: &str| plain().get(gateway.url("proxy", path)).answer().await;

    // By path, by query, by body; over HTTP/1.1 and HTTP/2.
    let answer = get("/v1/health/lamps").await.expect(200);
    assert_eq!(answer.text(), r#"{"status":"NOT_SERVING"}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(get("/v1/health?service=lamps").await.text(), r#"{"status":"NOT_SERVING"}"#);
    assert_eq!(get("/v1/health").await.text(), r#"{"status":"SERVING"}"#);
    let sent = plain().post(gateway.url("proxy", "/v1/health")).json(&json!({"service": "lamps"}));
    assert_eq!(sent.answer().await.text(), r#"{"status":"NOT_SERVING"}"#);
    let port = gateway.tls_url("proxy", "/v1/health/lamps").replace("127.0.0.1", "localhost");
    let answer = tls.get(port).answer().await.expect(200);
    assert_eq!(
        (answer.version, answer.text()),
        (http::Version::HTTP_2, r#"{"status":"NOT_SERVING"}"#)
    );

    // A connection serves the next request too.
    let mut kept = BufReader::new(TcpStream::connect(gateway.addr("proxy")).await.unwrap());
    for (path, wanted) in [("/lamps", "NOT_SERVING"), ("", "SERVING"), ("/lamps", "NOT_SERVING")] {
        let asked = format!("GET /v1/health{path} HTTP/1.1\r\nHost: h\r\n\r\n");
        kept.write_all(asked.as_bytes()).await.unwrap();
        let read = async {
            let head = http1::read_head(&mut kept).await.unwrap().expect("an answer");
            assert_eq!((head.status(), head.header("connection")), (200, Some("keep-alive")));
            http1::read_body(&mut kept, &head, false).await.unwrap()
        };
        let body = tokio::time::timeout(DEADLINE, read).await.expect("an answer in time");
        assert_eq!(body, format!("{{\"status\":\"{wanted}\"}}").into_bytes());
    }
    // One that asks for no more, and one of HTTP/1.0, end.
    for last in ["HTTP/1.1\r\nHost: h\r\nConnection: close", "HTTP/1.0"] {
        let asked = format!("GET /v1/health {last}\r\n\r\n");
        let mut ends = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        ends.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = ends.read_to_string(&mut answer);
        tokio::time::timeout(DEADLINE, read).await.expect("the connection ends").unwrap();
        assert!(answer.contains("SERVING"), "{answer}");
    }

    // A status of gRPC is one of HTTP.
    assert_eq!(get("/v1/health/none").await.status, 404);
    let answer = get("/v1/none").await.expect(400);
    assert_eq!(answer.text(), "failed to transcode .proto file Unknown path \"/v1/none\"");
    let answer = plain().post(gateway.url("proxy", "/v1/health")).body("[").answer().await;
    assert_eq!(answer.status, 400);

    // Messages of a stream come as they are sent.
    let mut answer = plain().get(gateway.url("proxy", "/v1/changes")).send().await.unwrap();
    assert_eq!(&next(&mut answer).await[..], br#"{"status":"SERVING"}"#);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(&next(&mut answer).await[..], br#"{"status":"NOT_SERVING"}"#);

    // One that breaks off is not taken for a whole one.
    let service = gateway.url("admin", "/services/g");
    plain().patch(service).json(&json!({"read_timeout": 400})).answer().await.expect(200);
    let mut answer = plain().get(gateway.url("proxy", "/v1/changes")).send().await.unwrap();
    assert_eq!(&next(&mut answer).await[..], br#"{"status":"NOT_SERVING"}"#);
    let rest = tokio::time::timeout(DEADLINE, answer.chunk()).await.expect("it ends");
    assert!(rest.is_err(), "{rest:?}");

    let asked = plain().request(Method::OPTIONS, gateway.url("proxy", "/v1/health"));
    let allowed = asked.answer().await.expect(200);
    assert_eq!(allowed.header("access-control-allow-methods"), Some("GET,POST,PATCH,DELETE"));
}
