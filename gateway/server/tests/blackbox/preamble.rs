//! The PROXY protocol: who connects, as a proxy in front says.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Answered as _, DEADLINE, Gateway, Options, Received, Upstream, any_certificate, handshake,
    plain, raw,
};

const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
const LINE: &str = "PROXY TCP4 198.51.100.7 203.0.113.5 4660 443\r\n";

fn binary(command: u8) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let ends = [198, 51, 100, 7, 203, 0, 113, 5, 0x12, 0x34, 1, 187];
    [&signature[..], &[0x20 | command, 0x11, 0, 12], &ends].concat()
}

async fn start(options: Options) -> (Gateway, Upstream) {
    let both = "127.0.0.1:0 proxy_protocol, 127.0.0.1:0 ssl http2 proxy_protocol";
    let gateway = options.set("proxy_listen", both).start().await;
    let upstream = Upstream::start().await;
    let post = async |path: &str, body: serde_json::Value| {
        plain().post(gateway.url("admin", path)).json(&body).answer().await.expect(201);
    };
    post("/services", json!({"name": "s", "url": upstream.url()})).await;
    post("/services/s/routes", json!({"paths": ["/"]})).await;
    (gateway, upstream)
}

fn client(received: &Received) -> (String, String) {
    (received.all("x-real-ip").join("|"), received.all("x-forwarded-for").join("|"))
}

#[tokio::test]
async fn the_client_a_trusted_proxy_names() {
    let trusting =
        Options::new().set("trusted_ips", "127.0.0.0/8").set("real_ip_header", "proxy_protocol");
    let (gateway, upstream) = start(trusting).await;
    let to = gateway.addr("proxy");
    for (preamble, wanted) in [
        (LINE.as_bytes().to_vec(), "198.51.100.7"),
        (binary(1), "198.51.100.7"),
        (binary(0), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let (head, _) = raw(to, &[&preamble, REQUEST.as_bytes()].concat()).await;
        assert_eq!(head.status(), 200, "{preamble:?}");
        assert_eq!(client(&upstream.only()).0, wanted, "{preamble:?}");
    }
    // Byte by byte, and before a handshake.
    let mut stream = TcpStream::connect(gateway.tls_addr("proxy")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in binary(1) {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut stream = handshake(stream, "a.test", any_certificate(None)).await.unwrap();
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(client(&upstream.only()).0, "198.51.100.7");
}

/// curl sends a preamble of its own making, and shakes hands after it.
#[tokio::test]
async fn as_curl_says_it() {
    let trusting =
        Options::new().set("trusted_ips", "127.0.0.0/8").set("real_ip_header", "proxy_protocol");
    let (gateway, upstream) = start(trusting).await;
    for url in [gateway.url("proxy", "/x"), gateway.tls_url("proxy", "/x")] {
        let run = tokio::process::Command::new("curl")
            .args(["--silent", "--insecure", "--haproxy-protocol", "--write-out", "%{http_code}"])
            .args(["--output", "/dev/null", &url])
            .output();
        let told = tokio::time::timeout(DEADLINE, run).await.expect("curl ends");
        let told = told.expect("the curl program (Debian package curl)");
        assert_eq!(String::from_utf8_lossy(&told.stdout), "200", "{url}");
        assert_eq!(client(&upstream.only()).0, "127.0.0.1");
    }
}

#[tokio::test]
async fn a_proxy_nobody_trusts_names_nobody() {
    for options in [
        Options::new().set("real_ip_header", "proxy_protocol"),
        Options::new().set("trusted_ips", "127.0.0.0/8"),
    ] {
        let (gateway, upstream) = start(options).await;
        let request = format!("{LINE}{REQUEST}");
        let (head, _) = raw(gateway.addr("proxy"), request.as_bytes()).await;
        assert_eq!(head.status(), 200);
        assert_eq!(client(&upstream.only()), ("127.0.0.1".to_owned(), "127.0.0.1".to_owned()));
    }
}

/// A connection without a preamble is closed, not served.
#[tokio::test]
async fn a_preamble_is_not_optional() {
    let (gateway, upstream) = start(Options::new()).await;
    let long = format!("PROXY TCP4 {}", "1".repeat(200));
    for said in [REQUEST, "PROXY TCP4 1.2.3.4\r\n", &long] {
        let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(DEADLINE, read).await.expect("it is closed");
        assert_eq!(answer, b"", "{said}");
    }
    assert!(upstream.take().is_empty());
}

/// Streams learn of the client in the same way, and match it.
#[tokio::test]
async fn streams_learn_it_too() {
    let gateway = Options::new()
        .set("stream_listen", "127.0.0.1:0 proxy_protocol, 127.0.0.1:0 ssl proxy_protocol")
        .set("trusted_ips", "127.0.0.0/8")
        .start()
        .await;
    let upstream = Upstream::start().await;
    let to: SocketAddr = gateway.stream_addr("tcp");
    let up = upstream.addr();
    let service = json!({"name": "s", "host": up.ip(), "port": up.port(), "protocol": "tcp"});
    let sources = json!([{"ip": "198.51.100.0/24"}]);
    let route = json!({"protocols": ["tcp"], "sources": sources});
    let over_tls = json!({"protocols": ["tls"], "sources": sources});
    for (path, body) in
        [("/services", service), ("/services/s/routes", route), ("/services/s/routes", over_tls)]
    {
        plain().post(gateway.url("admin", path)).json(&body).answer().await.expect(201);
    }
    for preamble in [LINE.as_bytes().to_vec(), binary(1)] {
        let (head, _) = raw(to, &[&preamble, REQUEST.as_bytes()].concat()).await;
        assert_eq!(head.status(), 200);
        assert_eq!(upstream.only().uri, "/x");
        // Before a handshake.
        let mut stream = TcpStream::connect(gateway.stream_addr("tls")).await.unwrap();
        stream.write_all(&preamble).await.unwrap();
        let mut stream = handshake(stream, "a.test", any_certificate(None)).await.unwrap();
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        let read = stream.read_exact(&mut answer);
        tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
        assert_eq!(upstream.only().uri, "/x");
    }
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(format!("PROXY UNKNOWN\r\n{REQUEST}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"", "another client");
}
