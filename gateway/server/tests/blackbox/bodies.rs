//! Request bodies that handlers read before the upstream is asked.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Answered as _, DEADLINE, Gateway, Upstream, http1, plain};

/// A gateway whose route wants a key, also in bodies, and does not pass it on; the upstream echoes.
async fn stage() -> (Gateway, Upstream) {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start().await;
    let admin = |path: &str| gateway.url("admin", path);
    let put = async |path: &str, body: serde_json::Value| {
        plain().put(admin(path)).json(&body).answer().await.expect(200);
    };
    put("/services/s", json!({"url": format!("http://{}", upstream.addr())})).await;
    put("/services/s/routes/r", json!({"paths": ["/r"]})).await;
    put("/consumers/bob", json!({})).await;
    let key = plain().post(admin("/consumers/bob/key-auth")).json(&json!({"key": "kk"}));
    key.answer().await.expect(201);
    let config = json!({"key_in_body": true, "hide_credentials": true});
    let plugin = json!({"name": "key-auth", "config": config});
    plain().post(admin("/routes/r/plugins")).json(&plugin).answer().await.expect(201);
    (gateway, upstream)
}

#[tokio::test]
async fn keys_in_bodies_are_found_and_taken_out() {
    let (gateway, upstream) = stage().await;
    let url = gateway.url("proxy", "/r");
    for (kind, body, rest) in [
        ("application/x-www-form-urlencoded", "apikey=kk&z=1", "z=1"),
        ("application/json", r#"{"apikey":"kk","z":1}"#, r#"{"z":1}"#),
    ] {
        let asked = plain().post(&url).header("content-type", kind).body(body);
        asked.answer().await.expect(200);
        assert_eq!(upstream.next().await.body, rest);
    }
}

/// What is too large to be read ahead reaches the upstream whole, whatever its framing.
#[tokio::test]
async fn large_bodies_pass_by_handlers_unharmed() {
    let (gateway, upstream) = stage().await;
    for size in [1, 30_000, 60_000, 65_600, 70_000, 300_000] {
        let body = "x".repeat(size);
        let whole = plain().post(gateway.url("proxy", "/r")).header("apikey", "kk");
        whole.body(body.clone()).answer().await.expect(200);
        assert_eq!(upstream.next().await.body, body, "{size} with a length");

        for chunk in [7_000, 31_000, 66_000, size] {
            let mut chunked = String::from(
                "POST /r HTTP/1.1\r\nHost: h\r\napikey: kk\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            for piece in body.as_bytes().chunks(chunk) {
                let piece = std::str::from_utf8(piece).unwrap();
                chunked.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
            }
            // The end comes by itself, as from a client that streams, or with the rest.
            for at in [chunked.len(), 0] {
                let whole = format!("{chunked}0\r\n\r\n");
                let (first, last) = whole.split_at(at);
                let mut connection = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
                connection.write_all(first.as_bytes()).await.unwrap();
                connection.write_all(last.as_bytes()).await.unwrap();
                let received = upstream.next().await.body;
                assert!(received == body, "{size} in chunks of {chunk}, {}", received.len());
                wait_for(&mut connection, "HTTP/1.1 200 Told\r\n").await;
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on() {
    let (gateway, upstream) = stage().await;
    let head = "POST /r HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    let mut connection = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    wait_for(&mut connection, "HTTP/1.1 100 Continue\r\n\r\n").await;
    connection.write_all(b"apikey=kk").await.unwrap();
    wait_for(&mut connection, "HTTP/1.1 200 Told\r\n").await;
    let received = upstream.next().await;
    assert_eq!(received.body, "");
    assert_eq!(received.all("expect"), [""; 0]);
    assert_eq!(received.all("content-length"), ["0"]);
}

/// Reads exactly this.
async fn wait_for(connection: &mut TcpStream, wanted: &str) {
    let mut read = vec![0; wanted.len()];
    tokio::time::timeout(DEADLINE, connection.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&read), wanted);
}

/// Bodies far larger than any buffer pass whole, whichever way a route wants them passed on; with
/// both kinds of buffering off, pieces are passed on as they come.
#[tokio::test]
async fn buffering_of_routes() {
    const LARGE: usize = 3 * 1024 * 1024;
    let gateway = Gateway::start().await;
    let large = Arc::new("0123456789abcdef".repeat(LARGE / 16));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (heard, mut received) = tokio::sync::mpsc::unbounded_channel();
    let admin = |path: &str| gateway.url("admin", path);
    let service = json!({"name": "s", "url": format!("http://{}", listener.local_addr().unwrap())});
    plain().post(admin("/services")).json(&service).answer().await.expect(201);
    let body = Arc::clone(&large);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (heard, body) = (heard.clone(), Arc::clone(&body));
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Ok(Some(head)) = http1::read_head(&mut stream).await {
                    let got = http1::read_body(&mut stream, &head, false).await.unwrap();
                    heard.send((head, got.len())).unwrap();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.write_all(body.as_bytes()).await.unwrap();
                }
            });
        }
    });
    for (requests, responses) in [(true, true), (true, false), (false, true), (false, false)] {
        let route = json!({"paths": ["/r"], "request_buffering": requests,
                           "response_buffering": responses});
        plain().put(admin("/services/s/routes/r")).json(&route).answer().await.expect(200);
        let url = gateway.url("proxy", "/r");
        for chunked in [false, true] {
            let body = large.as_bytes().to_vec();
            let body = if chunked { in_pieces(body.chunks(100_000)) } else { body.into() };
            let answer = plain().post(&url).body(body).answer().await.expect(200);
            assert!(answer.text() == *large, "{requests} {responses} {chunked}");
            let (head, length) = received.recv().await.unwrap();
            assert_eq!(length, LARGE, "{requests} {responses} {chunked}: {head:?}");
        }
        // A small body in pieces gets a length where it is read first.
        let small = in_pieces([&b"a"[..], b"b"].into_iter());
        plain().post(&url).body(small).answer().await.expect(200);
        let (head, length) = received.recv().await.unwrap();
        assert_eq!((length, head.header("content-length").is_some()), (2, requests), "{head:?}");
    }
}

/// The upstream's time begins when it has the body: a client that sends a small one slowly costs it
/// nothing.
#[tokio::test]
async fn slow_clients_are_no_burden() {
    let (gateway, upstream) = (Gateway::start().await, Upstream::start().await);
    let admin = |path: &str| gateway.url("admin", path);
    let service = json!({"name": "s", "url": upstream.url(), "read_timeout": 300, "retries": 0});
    plain().post(admin("/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/r"]});
    plain().post(admin("/services/s/routes")).json(&route).answer().await.expect(201);
    for (framing, rest) in [
        ("Content-Length: 6\r\n\r\nabc", "def"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n"),
    ] {
        let mut connection = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        let head = format!("POST /r HTTP/1.1\r\nHost: h\r\n{framing}");
        connection.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        connection.write_all(rest.as_bytes()).await.unwrap();
        wait_for(&mut connection, "HTTP/1.1 200 Told\r\n").await;
        let received = upstream.only();
        assert_eq!((&*received.body, received.header("content-length")), ("abcdef", Some("6")));
    }
}

/// A body whose length is not told.
fn in_pieces<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> reqwest::Body {
    let frame = |piece: &[u8]| {
        let bytes = bytes::Bytes::copy_from_slice(piece);
        Ok::<_, std::io::Error>(http_body::Frame::data(bytes))
    };
    let frames: Vec<_> = pieces.map(frame).collect();
    reqwest::Body::wrap(http_body_util::StreamBody::new(futures::stream::iter(frames)))
}
