//! What a client and an upstream may speak: HTTP/1.0, WebSocket, 1xx answers, chunks, trailers.

use std::net::SocketAddr;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use crate::harness::{
    Answered as _, DEADLINE, Gateway, Upstream, any_certificate, handshake, http1, plain,
};

async fn post(gateway: &Gateway, path: &str, body: &serde_json::Value) {
    plain().post(gateway.url("admin", path)).json(body).answer().await.expect(201);
}

async fn publish(gateway: &Gateway, upstream: SocketAddr) {
    let url = format!("http://{upstream}");
    post(gateway, "/services", &json!({"name": "a", "url": url})).await;
    post(gateway, "/services/a/routes", &json!({"paths": ["/a"]})).await;
}

/// An upstream that serves one connection as told: reads a head, then does `serve`.
async fn once<F>(
    serve: impl FnOnce(BufReader<TcpStream>, http1::Head) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let head = http1::read_head(&mut stream).await.unwrap().unwrap();
        serve(stream, head).await;
    });
    addr
}

/// Sends bytes and reads all there is until the gateway closes.
async fn told(gateway: &Gateway, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("it is closed")
}

#[tokio::test]
async fn http_1_0() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, upstream.addr()).await;
    let said = told(&gateway, "GET /a/text HTTP/1.0\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert!(
        said.contains("\r\nConnection: close\r\n") && said.ends_with("\r\n\r\nhello"),
        "{said}"
    );
    let received = upstream.only();
    assert!(received.header("Host").is_some(), "{received:?}");

    // An answer in chunks is unwrapped for a client that knows none.
    let chunked = once(async |mut stream, _| {
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = Gateway::start().await;
    publish(&gateway, chunked).await;
    let said = told(&gateway, "GET /a HTTP/1.0\r\n\r\n").await;
    assert!(said.ends_with("\r\n\r\nabc"), "{said}");
    assert!(!said.to_ascii_lowercase().contains("transfer-encoding"), "{said}");
}

/// A client that waits for leave to send its body is given it by the gateway.
#[tokio::test]
async fn expect_100_continue() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, upstream.addr()).await;
    let exchange = async {
        let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        let head =
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut stream = BufReader::new(stream);
        let first = http1::read_head(&mut stream).await.unwrap().unwrap();
        assert_eq!(first.status(), 100);
        stream.write_all(b"abc").await.unwrap();
        let second = http1::read_head(&mut stream).await.unwrap().unwrap();
        assert_eq!(second.status(), 200);
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("leave to send");
    let received = upstream.only();
    assert_eq!(received.body, "abc");
    assert_eq!(received.header("Expect"), None);

    // A client that is refused need not send its body; nobody takes what it sends next for it.
    let request = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\
                   Expect: 100-continue\r\n\r\n";
    let said = told(&gateway, &format!("{request}GET /a HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 404 ") && said.matches("HTTP/1.1 ").count() == 1, "{said}");
    assert!(upstream.take().is_empty());
    // One that knows no such thing is not told.
    let request = "POST /a HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc";
    let said = told(&gateway, request).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

/// Early hints reach a client that may get them; the answer is the last one.
#[tokio::test]
async fn informational_answers() {
    for (version, hinted) in [("1.1", true), ("1.0", false)] {
        let upstream = once(async |mut stream, _| {
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(format!("{hints}{answer}").as_bytes()).await.unwrap();
        })
        .await;
        let gateway = Gateway::start().await;
        publish(&gateway, upstream).await;
        let request = format!("GET /a HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
        let said = told(&gateway, &request).await;
        assert!(said.ends_with("\r\n\r\nok"), "{said}");
        assert_eq!(said.contains(" 103 "), hinted, "{said}");
        assert!(said.contains(" 200 OK\r\n"), "{said}");
    }
}

/// What a client sends in chunks arrives whole, however it is cut.
#[tokio::test]
async fn chunked_uploads() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, upstream.addr()).await;
    let large = "0123456789".repeat(20_000);
    for body in ["", "x", &large] {
        let chunks: Vec<std::io::Result<http_body::Frame<bytes::Bytes>>> = body
            .as_bytes()
            .chunks(7001)
            .map(|chunk| Ok(http_body::Frame::data(bytes::Bytes::copy_from_slice(chunk))))
            .collect();
        let stream = http_body_util::StreamBody::new(futures::stream::iter(chunks));
        let body_of_chunks = reqwest::Body::wrap(stream);
        plain().post(gateway.url("proxy", "/a")).body(body_of_chunks).answer().await.expect(200);
        assert_eq!(upstream.only().body, body);
    }
    // Extensions of chunks and trailers say nothing to an upstream.
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2;x=y\r\nab\r\n0\r\nX-Trailer: 1\r\n\r\n";
    assert!(told(&gateway, request).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(upstream.only().body, "ab");
}

/// A WebSocket server that returns what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn websockets() {
    let gateway = Gateway::start().await;
    publish(&gateway, echo().await).await;
    let request = |scheme: &str| {
        let url = format!("{scheme}://{}/a", gateway.addr("proxy"));
        url.into_client_request().unwrap()
    };
    let plain_stream = async || TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    let (mut socket, answer) =
        tokio_tungstenite::client_async(request("ws"), plain_stream().await).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert!(answer.headers().contains_key("x-kong-request-id"), "{:?}", answer.headers());
    for text in ["a", &"long".repeat(50_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    socket.send(Message::binary(vec![0, 1, 2])).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(vec![0, 1, 2]));
    socket.close(None).await.unwrap();

    // The same under TLS.
    let tcp = TcpStream::connect(gateway.tls_addr("proxy")).await.unwrap();
    let tls = handshake(tcp, "localhost", any_certificate(None)).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request("ws"), tls).await.unwrap();
    socket.send(Message::text("over TLS")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("over TLS"));

    // Plugins judge the handshake.
    post(&gateway, "/services/a/plugins", &json!({"name": "key-auth"})).await;
    post(&gateway, "/consumers", &json!({"username": "c"})).await;
    post(&gateway, "/consumers/c/key-auth", &json!({"key": "k"})).await;
    let refused = tokio_tungstenite::client_async(request("ws"), plain_stream().await).await;
    let why = refused.expect_err("no key").to_string();
    assert!(why.contains("401"), "{why}");
    let mut with_key = request("ws");
    with_key.headers_mut().insert("apikey", "k".parse().unwrap());
    let (mut socket, _) =
        tokio_tungstenite::client_async(with_key, plain_stream().await).await.unwrap();
    socket.send(Message::text("allowed")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("allowed"));
}

/// An answer after which the connection ends says so, and arrives although nobody wanted the body.
#[tokio::test]
async fn answers_for_upstreams_that_fail() {
    let gateway = Gateway::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    publish(&gateway, closed).await;
    let unread = json!({"paths": ["/unread"], "request_buffering": false});
    post(&gateway, "/services/a/routes", &unread).await;
    let body = "x".repeat(30_000);
    let sent = format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n{body}");
    for request in ["GET /a HTTP/1.1\r\nHost: a\r\n\r\n", &sent] {
        let said = told(&gateway, request).await;
        assert!(said.starts_with("HTTP/1.1 502 "), "{said}");
        assert!(said.contains("Connection: close\r\n"), "{said}");
        assert!(said.contains("upstream server"), "{said}");
    }
}

/// Other upgrades are not passed on: the upstream sees a plain request.
#[tokio::test]
async fn other_upgrades_are_dropped() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, upstream.addr()).await;
    let request = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                   Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    let mut stream = BufReader::new(stream);
    tokio::time::timeout(DEADLINE, stream.read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    let received = upstream.only();
    assert_eq!(received.header("Upgrade"), None, "{received:?}");
    assert_eq!(received.header("Connection"), Some("keep-alive"));
    assert_eq!(received.header("HTTP2-Settings"), None);
}

/// A WebSocket on which nothing is said for as long as the service may be silent ends; one that
/// talks goes on.
#[tokio::test]
async fn silent_websockets_end() {
    let gateway = Gateway::start().await;
    publish(&gateway, echo().await).await;
    let service = gateway.url("admin", "/services/a");
    let limit = json!({"read_timeout": 600});
    plain().patch(service).json(&limit).answer().await.expect(200);
    let url = format!("ws://{}/a", gateway.addr("proxy"));
    let stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    let request = url.into_client_request().unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    for _ in 0..8 {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        socket.send(Message::text("on")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("on"));
    }
    let end = tokio::time::timeout(DEADLINE, socket.next()).await.expect("it ends");
    assert!(!matches!(end, Some(Ok(ref message)) if !message.is_close()), "{end:?}");
}
