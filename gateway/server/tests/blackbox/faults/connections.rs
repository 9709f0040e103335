//! Very many clients that do nothing.

use std::net::SocketAddr;

use futures::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{memory, publish, status};
use crate::harness::{
    DEADLINE, Gateway, Options, Upstream, any_certificate, eventually, handshake,
};

const IDLE: usize = 10_000;

/// Lets this process and those it starts have all the files they may, and tells how many clients the
/// gateway takes then, at most [`IDLE`]: two thirds of its files.
fn clients() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).unwrap();
    let clients = usize::try_from(most.saturating_sub(1000) / 3 * 2).unwrap_or(usize::MAX);
    if clients < IDLE {
        assert!(std::env::var_os("CI").is_none(), "{most} open files (ulimit -Hn) are too few");
        eprintln!("{clients} connections instead of {IDLE}: more open files are not allowed here");
    }
    clients.min(IDLE)
}

async fn stage() -> (Gateway, Upstream, usize) {
    let most = clients();
    let upstream = Upstream::start().await;
    let options = Options::new()
        .set("nginx_events_worker_connections", "16384")
        .set("nginx_http_client_header_timeout", "600s")
        .set("nginx_http_keepalive_timeout", "600s");
    let gateway = options.start().await;
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    assert_eq!(status(&gateway, "/a/x").await, 200);
    (gateway, upstream, most)
}

/// Connections that served a request and rest. They cost memory and nothing else; the figure is
/// printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little() {
    let (gateway, _upstream, most) = stage().await;
    let served = async |to| {
        let mut stream = TcpStream::connect(to).await.unwrap();
        ask(&mut stream).await;
        stream
    };
    let (mut held, cost) = measured(&gateway, most, "after a request", served).await;
    assert!(cost < 24, "{cost} KiB for each idle connection");
    // Every one of them still serves.
    for stream in held.iter_mut().step_by(100) {
        ask(stream).await;
    }
    assert_eq!(status(&gateway, "/a/x").await, 200);
    drop(held);
    eventually("they are let go", async || (open(&gateway) < 100).then_some(())).await;
}

/// Connections whose clients never said anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_cost_little() {
    let (gateway, _upstream, most) = stage().await;
    let silent = async |to| TcpStream::connect(to).await.unwrap();
    let (_held, cost) = measured(&gateway, most.min(2000), "silent", silent).await;
    assert!(cost < 64, "{cost} KiB for each silent connection");
    assert_eq!(status(&gateway, "/a/x").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_with_tls_cost_little() {
    const FEW: usize = 200;
    let gateway = Gateway::start().await;
    let to = gateway.tls_addr("proxy");
    let ask = async || {
        let stream = TcpStream::connect(to).await.unwrap();
        let mut stream = handshake(stream, "a.test", any_certificate(None)).await.unwrap();
        stream.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        stream
    };
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(ask().await);
    }
    let before = memory(&gateway);
    for _ in 0..FEW {
        held.push(ask().await);
    }
    let cost = memory(&gateway).saturating_sub(before) / FEW as u64;
    println!("{FEW} idle connections with TLS: {cost} KiB each");
    assert!(cost < 40, "{cost} KiB for each idle connection");
}

/// Clients that closed their half at any moment of a request are let go, each with all it is owed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_connections_are_let_go() {
    const EACH: usize = 100;
    let (gateway, upstream, _) = stage().await;
    let to = gateway.addr("proxy");
    let before = open(&gateway);
    let rows: [(&str, &[u8]); 5] = [
        ("at once", b""),
        ("within a line", b"GET /a"),
        ("within a head", b"GET /a/text HTTP/1.1\r\nHost: a\r\n"),
        ("within a body", b"POST /a/text HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
        (
            "within a chunk",
            b"POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na",
        ),
    ];
    let mut held = Vec::new();
    for (_, sent) in rows {
        for _ in 0..EACH {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(sent).await.unwrap();
            stream.shutdown().await.unwrap();
            held.push(stream);
        }
    }
    // Their own half stays open: the gateway closes the other one without being told to.
    for (stream, (name, _)) in held.iter_mut().zip(rows.iter().flat_map(|row| [row; EACH])) {
        let mut said = Vec::new();
        let closed = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
        closed.unwrap_or_else(|_| panic!("{name}: it stays open")).unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{name}: {said}");
    }
    eventually("all are let go", async || (open(&gateway) < before + EACH / 2).then_some(())).await;
    assert_eq!(status(&gateway, "/a/x").await, 200);
    let whole = upstream.take().into_iter().filter(|received| received.body == "abc").count();
    assert_eq!(whole, 0, "half a body was taken for a whole one");
    drop(held);
}

/// Sends a request over a connection and reads its answer.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /a/text HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it was closed");
    }
}

/// Opens so many connections by `connect`; them, and what each costs in KiB.
async fn measured(
    gateway: &Gateway,
    count: usize,
    what: &str,
    connect: impl AsyncFn(SocketAddr) -> TcpStream,
) -> (Vec<TcpStream>, u64) {
    let to = gateway.addr("proxy");
    // What the first ones cost is the pools'.
    let together = async || join_all((0..50).map(|_| connect(to))).await;
    let mut held = together().await;
    let (first, before) = (held.len(), memory(gateway));
    while held.len() < count {
        held.extend(together().await);
    }
    eventually("all are accepted", async || (open(gateway) >= count).then_some(())).await;
    let grown = memory(gateway).saturating_sub(before);
    let each = grown as f64 / (held.len() - first) as f64;
    println!("{} idle connections, {what}: {each:.1} KiB each", held.len());
    (held, each as u64)
}

/// Sockets and files the gateway holds open.
fn open(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}
