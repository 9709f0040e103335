//! Requests that attack: each has a safe outcome, is logged, and costs little; none reaches an
//! upstream in a form two parsers could read differently. Those in frames are in
//! `hostile_frames.rs`, what does reach upstreams is held to its form in `hostile_forms.rs`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Answered as _, DEADLINE, Gateway, Options, Upstream, any_certificate, eventually, handshake,
    http1, plain,
};

pub(crate) async fn publish(gateway: &Gateway, upstream: &Upstream, path: &str, strip: bool) {
    let name = path.trim_matches('/');
    let service = json!({"name": name, "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": [path], "strip_path": strip});
    let routes = gateway.url("admin", &format!("/services/{name}/routes"));
    plain().post(routes).json(&route).answer().await.expect(201);
}

/// Sends bytes and reads until the other end closes: what it said.
pub(crate) async fn until_closed(to: SocketAddr, bytes: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // The other end may have heard enough before all is said.
        let _ = stream.write_all(bytes).await;
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        String::from_utf8_lossy(&said).into_owned()
    };
    let told = tokio::time::timeout(DEADLINE, exchange).await;
    told.unwrap_or_else(|_| panic!("still open: {:?}", String::from_utf8_lossy(bytes)))
}

pub(crate) async fn still_serves(gateway: &Gateway) {
    plain().get(gateway.url("proxy", "/a/x")).answer().await.expect(200);
}

/// Resident memory of the gateway, KiB.
pub(crate) fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways() {
    let upstream = Upstream::start().await;
    let log = "logs/hostile.log";
    let gateway = Options::new().set("proxy_access_log", log).start().await;
    publish(&gateway, &upstream, "/a", true).await;
    let endless = "x".repeat(100_000);
    let many = "X: y\r\n".repeat(20_000);
    let rows = [
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n".to_owned(), 501),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n".to_owned(), 501),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\nHost: a\n\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\nX: y\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nX\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nX: \u{b}\r\n\r\n".to_owned(), 400),
        ("GET\t/a\tHTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET  /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/01.1\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("GET /a http/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("G(T /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4 4\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551620\r\n\r\nabcd".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(), 501),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n".to_owned(), 501),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n".to_owned(), 501),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\rX: b\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".to_owned(), 400),
        ("GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("GET /a\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(), 405),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\r\n\r\n".to_owned(), 400),
        (format!("GET /a?{endless} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {endless}\r\n\r\n"), 400),
        (format!("GET /a HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 400),
    ];
    for (bytes, status) in &rows {
        let said = until_closed(gateway.addr("proxy"), bytes.as_bytes()).await;
        let shown = &bytes[..bytes.len().min(120)];
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {said}");
        assert!(said.contains("\r\nServer: kong/"), "{shown:?}: {said}");
        assert!(said.contains("request_id: "), "{shown:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{shown:?}: {said}");
    }
    assert!(upstream.take().is_empty(), "an upstream saw one of them");
    still_serves(&gateway).await;
    let lines = eventually("the access log", async || {
        let text = std::fs::read_to_string(gateway.prefix().join(log)).ok()?;
        (text.lines().count() == rows.len() + 1).then_some(text)
    })
    .await;
    assert!(lines.contains("\"POST /a HTTP/1.1\" 501"), "{lines}");
    assert!(lines.contains("\"nonsense\" 400"), "{lines}");
}

/// A length cannot be misread; a request behind it is never taken for one.
#[tokio::test]
async fn bodies_that_can_be_read_in_two_ways() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, &upstream, "/a", true).await;
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "zz\r\nab\r\n0\r\n\r\n",
        "-1\r\nab\r\n0\r\n\r\n",
        "+2\r\nab\r\n0\r\n\r\n",
        "0x2\r\nab\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nab\r\n0\r\n\r\n",
        "2\r\nabXX\r\n0\r\n\r\n",
        "2 \0\r\nab\r\n0\r\n\r\n",
        "\r\nab\r\n0\r\n\r\n",
        "10000000000000002\r\nab\r\n0\r\n\r\n",
        "8000000000000000\r\nab\r\n0\r\n\r\n",
        " 2\r\nab\r\n0\r\n\r\n",
        "2 \r\nab\r\n0\r\n\r\n",
        "2\nab\n0\n\n",
        "2\r\nab\n0\r\n\r\n",
        "2\r\nab0\r\n\r\n",
        "2\r\nab\r\r\n0\r\n\r\n",
        "2;\nxx\r\nab\r\n0\r\n\r\n",
        "2;a=\"\r\n\"\r\nab\r\n0\r\n\r\n",
        "2\r\nab\r\n0\r\n folded\r\n\r\n",
        "2\r\nab\r\n0\r\nX: \0\r\n\r\n",
        "2\r\nab\r\n0\nX: y\n\n",
        &format!("2;{}\r\nab\r\n0\r\n\r\n", "x".repeat(20_000)),
        &format!("2\r\nab\r\n0\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        &format!("{}2\r\nab\r\n0\r\n\r\n", "0".repeat(100)),
    ] {
        let smuggled = format!("{head}{body}GET /a/smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let said = until_closed(gateway.addr("proxy"), smuggled.as_bytes()).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{body:?}: {said}");
        assert!(upstream.take().is_empty(), "{body:?}");
    }
    // A body shorter than it says is never complete.
    let short = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc";
    let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    stream.write_all(short).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut said)).await.unwrap();
    assert!(!said.starts_with("HTTP/1.1 2"), "{said}");
    assert!(upstream.take().is_empty());
    still_serves(&gateway).await;
}

/// What a route matches is what its upstream gets, however the path is spelled.
#[tokio::test]
async fn paths_in_disguise() {
    let (open, secret) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::start().await;
    publish(&gateway, &open, "/open", false).await;
    publish(&gateway, &secret, "/secret", false).await;
    for (path, reached) in [
        ("/open/../secret", "/secret"),
        ("/open/%2e%2e/secret", "/secret"),
        ("/open/%2E./secret", "/secret"),
        ("/open//../secret", "/secret"),
        ("//secret", "/secret"),
        ("/%73ecret", "/secret"),
        ("/open/..%2fsecret", "/open/..%2Fsecret"),
        ("/open/%2e%2e%2fsecret", "/open/..%2Fsecret"),
        ("/open/..;/secret", "/open/..;/secret"),
        ("/open/%5c..%5csecret", "/open/%5C..%5Csecret"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let said = until_closed(gateway.addr("proxy"), request.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{path}: {said}");
        let is_secret = reached.starts_with("/secret");
        let (upstream, other) = if is_secret { (&secret, &open) } else { (&open, &secret) };
        assert_eq!(upstream.only().uri, reached, "{path}");
        assert!(other.take().is_empty(), "{path}");
    }
    for path in ["/%00", "/open/%zz", "/open/%", "*", "open", "/open/%2"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let said = until_closed(gateway.addr("proxy"), request.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 400"), "{path}: {said}");
    }
    // The authority of a target in absolute form must be the Host's.
    for (target, host, status) in [
        ("http://a.test/open/x", "a.test", "200"),
        ("http://b.test/open/x", "a.test", "400"),
        ("http://a.test@b.test/open/x", "b.test", "400"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let said = until_closed(gateway.addr("proxy"), request.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {said}");
    }
    let seen = open.take();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].uri, "/open/x");
}

/// Clients that hold connections open with a byte now and then lose them; others notice nothing.
#[tokio::test]
async fn slow_heads_lose_their_connection() {
    let upstream = Upstream::start().await;
    let gateway = Options::new().set("nginx_http_client_header_timeout", "1s").start().await;
    publish(&gateway, &upstream, "/a", true).await;
    let to = gateway.addr("proxy");
    let began = Instant::now();
    let slow = (0..100).map(|n| {
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(to).await.unwrap();
            if n % 4 == 0 {
                // One that had an answer already may rest, but not begin anew slowly.
                let first = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
                stream.write_all(first).await.unwrap();
                let mut answer = [0; 16];
                stream.read_exact(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 200"));
            }
            stream.write_all(b"GET /a HTTP/1.1\r\n").await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let drip = async {
                while write.write_all(b"X: y\r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let mut said = Vec::new();
            tokio::select! {
                _ = read.read_to_end(&mut said) => {}
                () = drip => {}
            }
        })
    });
    let slow: Vec<_> = slow.collect();
    still_serves(&gateway).await;
    for one in slow {
        tokio::time::timeout(DEADLINE, one).await.expect("it lost its connection").unwrap();
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "they had the time they have");
    still_serves(&gateway).await;
}

/// Clients that say nothing, or no more than which protocol they speak, are let go everywhere.
#[tokio::test]
async fn silent_clients_lose_their_connection() {
    let options = Options::new()
        .set("proxy_listen", "127.0.0.1:0 http2, 127.0.0.1:0 ssl http2")
        .set("admin_listen", "127.0.0.1:0, 127.0.0.1:0 ssl http2")
        .set("nginx_http_client_header_timeout", "1s");
    let gateway = options.start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut silent = Vec::new();
    for listener in ["proxy", "admin"] {
        for said in [&b""[..], &preface[..3], preface] {
            let mut plain = TcpStream::connect(gateway.addr(listener)).await.unwrap();
            plain.write_all(said).await.unwrap();
            silent.push((
                format!("{listener}, {} bytes", said.len()),
                Box::new(plain) as Box<dyn http1::Stream>,
            ));
            for protocol in [&b"h2"[..], b"http/1.1"] {
                let stream = TcpStream::connect(gateway.tls_addr(listener)).await.unwrap();
                let mut config = any_certificate(None);
                config.alpn_protocols = vec![protocol.to_vec()];
                let mut stream = handshake(stream, "localhost", config).await.unwrap();
                stream.write_all(said).await.unwrap();
                stream.flush().await.unwrap();
                let name = String::from_utf8_lossy(protocol);
                let name = format!("{listener} with TLS, {name}, {} bytes", said.len());
                silent.push((name, Box::new(stream)));
            }
        }
    }
    for (name, mut stream) in silent {
        let mut said = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{name}: it stays open after {said:?}");
    }
}

/// Connections beyond the limit wait; they are served when others end.
#[tokio::test]
async fn connections_are_limited() {
    let upstream = Upstream::start().await;
    // Every listener that waits for a client has a place taken for it.
    let options = Options::new()
        .set("proxy_listen", "127.0.0.1:0")
        .set("nginx_events_worker_connections", "4");
    let gateway = options.start().await;
    publish(&gateway, &upstream, "/a", true).await;
    let to = gateway.addr("proxy");
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        held.push(stream);
    }
    let mut waiting = TcpStream::connect(to).await.unwrap();
    waiting.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    held.clear();
    tokio::time::timeout(DEADLINE, waiting.read_u8()).await.expect("it is served").unwrap();
    // Administration is not kept waiting by the proxy's clients.
    plain().get(gateway.url("admin", "/")).answer().await.expect(200);
}

/// A client that stops in the middle of a body is told so, and holds nothing any more.
#[tokio::test]
async fn slow_bodies_lose_their_connection() {
    let upstream = Upstream::start().await;
    let gateway = Options::new().set("nginx_http_client_body_timeout", "1s").start().await;
    publish(&gateway, &upstream, "/a", true).await;
    let key = json!({"name": "key-auth", "config": {"key_in_body": true, "anonymous": null}});
    publish(&gateway, &upstream, "/read", true).await;
    let plugins = gateway.url("admin", "/services/read/plugins");
    plain().post(plugins).json(&key).answer().await.expect(201);
    for path in ["/a", "/read"] {
        for framing in
            ["Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n64\r\nabc"]
        {
            let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}");
            let said = until_closed(gateway.addr("proxy"), request.as_bytes()).await;
            assert!(said.starts_with("HTTP/1.1 408 "), "{request:?}: {said}");
        }
    }
    // Neither do the listeners beside the proxy wait.
    let begun = "POST /services HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let said = until_closed(gateway.addr("admin"), begun.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 4"), "{said}");
    assert!(upstream.take().is_empty());
    still_serves(&gateway).await;
}
