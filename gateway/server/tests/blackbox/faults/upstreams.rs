//! Upstreams that misbehave. Each costs its own client an answer of Kong's kind, or a connection cut
//! off where the answer had begun; the gateway and every other client go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::{memory, publish, status};
use crate::harness::{
    Answered as _, DEADLINE, Gateway, Load, Upstream, eventually, http1, plain, raw,
};

/// An upstream each of whose connections goes by `script`.
async fn scripted<F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    addr
}

/// Reads a request's head, sends `answer` and ends as `end` does.
async fn answering<F>(
    answer: &'static str,
    end: impl Fn(TcpStream) -> F + Copy + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    scripted(move |stream| async move {
        let mut stream = BufReader::new(stream);
        let _ = http1::read_head(&mut stream).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        end(stream.into_inner()).await;
    })
    .await
}

/// Closes with a reset: what is under way is lost.
async fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// Told by the client of `faults_within_an_answer`, when a head has come through to it.
static HEAD_CAME: Notify = Notify::const_new();

/// As [`reset`], once the client has the head, which the reset would overtake otherwise.
async fn reset_after_head(stream: TcpStream) {
    HEAD_CAME.notified().await;
    reset(stream).await;
}

/// Says nothing more until the other end closes.
async fn hold(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Closes its half and reads on.
async fn half_close(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    hold(stream).await;
}

async fn close(_: TcpStream) {}

const IMPATIENT: u64 = 300;

/// Everything an upstream does wrong before it answers is a 502 or a 504, in Kong's words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_before_an_answer() {
    let good = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, "good", &good.url(), json!({})).await;
    let load = Load::begin(&gateway, "/good/x");
    let late = "The upstream server is timing out";
    let invalid = "An invalid response was received from the upstream server";
    let rows = [
        ("silent", answering("", hold).await, 504, late),
        ("half-a-line", answering("HTTP/1.1 20", hold).await, 504, late),
        ("half-a-head", answering("HTTP/1.1 200 OK\r\nX: y", hold).await, 504, late),
        ("reset", answering("", reset).await, 502, invalid),
        ("reset-in-head", answering("HTTP/1.1 200 OK\r\nX", reset).await, 502, invalid),
        ("closed", answering("", close).await, 502, invalid),
        ("half-closed", answering("", half_close).await, 502, invalid),
        ("closed-in-head", answering("HTTP/1.1 200 OK\r\nX", close).await, 502, invalid),
        ("nonsense", answering("\u{1}\u{2}\u{3}\r\n\r\n", hold).await, 502, invalid),
        ("other-protocol", answering("SSH-2.0-x\r\n", hold).await, 502, invalid),
        ("at-once", scripted(|stream| async { drop(stream) }).await, 502, invalid),
    ];
    for (name, addr, _, _) in &rows {
        let settings = json!({"read_timeout": IMPATIENT, "retries": 0});
        publish(&gateway, name, &format!("http://{addr}"), settings).await;
    }
    for (name, _, status, message) in &rows {
        for method in [http::Method::GET, http::Method::POST] {
            let url = gateway.url("proxy", &format!("/{name}/x"));
            let request = plain().request(method.clone(), url).header("Accept", "application/json");
            let answer = request.answer().await;
            assert_eq!(answer.status, *status, "{method} {name}: {:?}", answer.body);
            assert_eq!(answer.json()["message"], *message, "{method} {name}");
        }
    }
    assert!(load.end().await > 0);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// An upstream that accepts nothing any more has `connect_timeout`, and is tried as often as said.
#[tokio::test]
async fn full_queues() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(addr)).await
    {
        waiting.push(stream);
        assert!(waiting.len() < 1000, "the queue has no end");
    }
    let gateway = Gateway::start().await;
    let settings = json!({"connect_timeout": IMPATIENT, "read_timeout": 60_000, "retries": 1});
    publish(&gateway, "full", &format!("http://{addr}"), settings).await;
    let began = Instant::now();
    let url = gateway.url("proxy", "/full");
    let answer = plain().get(url).header("Accept", "application/json").answer().await.expect(504);
    assert_eq!(answer.json()["message"], "The upstream server is timing out");
    assert!(began.elapsed() >= Duration::from_millis(2 * IMPATIENT), "two tries");
}

/// An answer that ends too early ends early for its client too, who can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_within_an_answer() {
    let good = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, "good", &good.url(), json!({})).await;
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\nhalf\r\n";
    let rows = [
        ("length-reset", answering(length, reset_after_head).await),
        ("length-closed", answering(length, close).await),
        ("length-silent", answering(length, hold).await),
        ("chunk-reset", answering(chunk, reset_after_head).await),
        ("chunk-closed", answering(chunk, close).await),
        ("chunk-silent", answering(chunk, hold).await),
        ("chunk-broken", answering(broken, hold).await),
    ];
    for (name, addr) in &rows {
        let settings = json!({"read_timeout": IMPATIENT, "retries": 0});
        publish(&gateway, name, &format!("http://{addr}"), settings).await;
    }
    for (name, _) in &rows {
        let response = plain().get(gateway.url("proxy", &format!("/{name}"))).send().await.unwrap();
        assert_eq!(response.status(), 200, "{name}");
        if name.ends_with("-reset") {
            HEAD_CAME.notify_one();
        }
        let body = tokio::time::timeout(DEADLINE, response.bytes()).await;
        let body = body.unwrap_or_else(|_| panic!("{name} goes on for ever"));
        assert!(body.is_err(), "{name} looks whole: {body:?}");
        assert_eq!(status(&gateway, "/good/x").await, 200, "after {name}");
    }
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// A connection that was kept and is gone when it is used again costs a client nothing.
#[tokio::test]
async fn kept_connections_that_are_gone() {
    let once = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let addr = answering(once, close).await;
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &format!("http://{addr}"), json!({})).await;
    for n in 0..30 {
        assert_eq!(status(&gateway, "/a").await, 200, "request {n}");
    }
}

/// A body that comes slowly is no fault as long as it comes; one that is read slowly is not held in
/// memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies() {
    const PIECES: usize = 10;
    let slow = scripted(|stream| async {
        let mut stream = BufReader::new(stream);
        let _ = http1::read_head(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PIECES}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        for _ in 0..PIECES {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = stream.write_all(b"x").await;
        }
        hold(stream.into_inner()).await;
    });
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let endless = scripted(move |stream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut stream = BufReader::new(stream);
            let _ = http1::read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
            let _ = stream.write_all(head).await;
            while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let gateway = Gateway::start().await;
    let (slow, endless) = (slow.await, endless.await);
    // Longer than a piece takes, shorter than all of them.
    publish(&gateway, "slow", &format!("http://{slow}"), json!({"read_timeout": 800})).await;
    publish(&gateway, "endless", &format!("http://{endless}"), json!({})).await;
    let answer = plain().get(gateway.url("proxy", "/slow")).answer().await.expect(200);
    assert_eq!(answer.body.len(), PIECES);

    let before = memory(&gateway);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 4096]).await.unwrap();
        readers.push(stream);
    }
    // They read no more; what comes from the upstream must wait there.
    let (mut before_that, mut since) = (0, Instant::now());
    eventually("the upstream gets rid of nothing more", async || {
        let now = sent.load(Ordering::Relaxed);
        if now != before_that {
            (before_that, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(500)).then_some(())
    })
    .await;
    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 30 * 1024, "{grown} KiB for 20 clients that do not read");
    assert_eq!(status(&gateway, "/slow").await, 200);
}

/// An upstream that does not read holds its client up and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_nobody_reads() {
    let good = Upstream::start().await;
    let deaf = scripted(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    let gateway = Gateway::start().await;
    publish(&gateway, "good", &good.url(), json!({})).await;
    let settings = json!({"write_timeout": IMPATIENT, "read_timeout": IMPATIENT, "retries": 0});
    publish(&gateway, "deaf", &format!("http://{}", deaf.await), settings).await;
    let before = memory(&gateway);
    let uploads: Vec<_> = (0..10)
        .map(|_| {
            let request = plain().post(gateway.url("proxy", "/deaf")).body(vec![b'x'; 20_000_000]);
            tokio::spawn(async move { request.timeout(DEADLINE).send().await })
        })
        .collect();
    assert_eq!(status(&gateway, "/good/x").await, 200);
    for upload in uploads {
        // Refused with 504, or cut off where the answer could not be sent past the body.
        match upload.await.unwrap() {
            Ok(answer) => assert_eq!(answer.status(), 504),
            Err(why) => assert!(!why.is_timeout(), "{why}"),
        }
    }
    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 60 * 1024, "{grown} KiB for 200 MB of uploads nobody reads");
    assert_eq!(status(&gateway, "/good/x").await, 200);
}

/// A client that is gone frees its upstream, and one that closes its half while it waits is taken for
/// gone, as by the reference (nginx without `proxy_ignore_client_abort`).
#[tokio::test]
async fn clients_that_close() {
    let upstream = Upstream::start().await;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let waiting = scripted(move |stream| {
        let told = told.clone();
        async move {
            let mut stream = BufReader::new(stream);
            let _ = http1::read_head(&mut stream).await;
            let _ = told.send("asked");
            hold(stream.into_inner()).await;
            let _ = told.send("gone");
        }
    });
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    publish(&gateway, "waiting", &format!("http://{}", waiting.await), json!({})).await;
    let request = b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut hear = async || tokio::time::timeout(DEADLINE, heard.recv()).await.expect("in time");
    assert_eq!(hear().await, Some("asked"));
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert_eq!(hear().await, Some("gone"), "the upstream's connection is closed");

    let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    stream.write_all(request).await.unwrap();
    assert_eq!(hear().await, Some("asked"));
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, "");
    assert_eq!(hear().await, Some("gone"), "the upstream's connection is closed");
    let (head, _) = raw(gateway.addr("proxy"), b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(head.status(), 200);
}
