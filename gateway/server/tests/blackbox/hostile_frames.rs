//! Attacks in frames of HTTP/2, written by hand: floods, heads that grow when they are unpacked, and
//! requests an HTTP/1 upstream could read in another way.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Answered as _, DEADLINE, Gateway, Options, Upstream, plain};
use crate::hostile::{memory, publish, still_serves};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET /a` for host `a`, from the static table.
const GET: &[u8] = b"\x82\x86\x04\x02/a\x41\x01a";

/// The length of a text, and the text.
fn text(text: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    match text.len() {
        short @ ..127 => packed.push(u8::try_from(short).unwrap()),
        long => {
            packed.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                packed.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            packed.push(u8::try_from(rest).unwrap());
        }
    }
    packed.extend(text.as_bytes());
    packed
}

/// A header that is not put into the table.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

async fn stage() -> (Gateway, Upstream) {
    let upstream = Upstream::start().await;
    let gateway = Options::new().set("proxy_listen", "127.0.0.1:0 http2").start().await;
    publish(&gateway, &upstream, "/a", true).await;
    still_serves(&gateway).await;
    upstream.take();
    (gateway, upstream)
}

/// Opens a connection and floods it with what `next` gives until it is closed, at most `most` bytes;
/// what comes back is read, or not.
async fn flood(
    to: SocketAddr,
    most: usize,
    reads: bool,
    mut next: impl FnMut() -> Vec<u8>,
) -> usize {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(PREFACE).await.unwrap();
    write.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let reading = tokio::spawn(async move {
        if !reads {
            std::future::pending::<()>().await;
        }
        let mut piece = [0; 16 * 1024];
        while !matches!(read.read(&mut piece).await, Ok(0) | Err(_)) {}
    });
    let mut sent = 0;
    while sent < most && !reading.is_finished() {
        let bytes = next();
        // Nobody reads on for a client that does not read.
        let limit = if reads { DEADLINE } else { Duration::from_millis(500) };
        match tokio::time::timeout(limit, write.write_all(&bytes)).await {
            Ok(Ok(())) => sent += bytes.len(),
            Ok(Err(_)) => break,
            Err(_) if reads => panic!("it is neither read nor closed after {sent} bytes"),
            Err(_) => break,
        }
    }
    drop(write);
    if reads {
        let _ = tokio::time::timeout(DEADLINE, reading).await.expect("the connection ends");
    } else {
        reading.abort();
    }
    sent
}

#[tokio::test]
async fn floods_end_the_connection() {
    let (gateway, _upstream) = stage().await;
    let to = gateway.addr("proxy");
    let before = memory(&gateway);

    // Rapid reset: requests that are taken back at once.
    let mut stream = 1;
    let mut reset = || {
        let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        stream += 2;
        frames
    };
    let most = 20_000_000;
    let sent = flood(to, most, true, &mut reset).await;
    assert!(sent < most, "{sent} bytes of resets were borne");

    // A head that never ends.
    let mut first = true;
    let piece = literal("x-flood", &"y".repeat(100)).repeat(100);
    let sent = flood(to, most, true, || {
        let kind = if std::mem::take(&mut first) { HEADERS } else { CONTINUATION };
        frame(kind, 0, 1, &piece)
    })
    .await;
    assert!(sent < most, "{sent} bytes of head were borne");

    // Empty continuations cost nothing to send.
    let mut first = true;
    let sent = flood(to, most, true, || {
        if std::mem::take(&mut first) {
            return frame(HEADERS, 0, 1, GET);
        }
        frame(CONTINUATION, 0, 1, &[]).repeat(100)
    })
    .await;
    assert!(sent < most, "{sent} bytes of empty frames were borne");

    // A body of nothing.
    let mut first = true;
    let sent = flood(to, most, true, || {
        if std::mem::take(&mut first) {
            return frame(HEADERS, END_HEADERS, 1, &[b"\x83", &GET[1..]].concat());
        }
        frame(DATA, 0, 1, &[]).repeat(100)
    })
    .await;
    assert!(sent < most, "{sent} bytes of empty bodies were borne");

    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    still_serves(&gateway).await;
}

/// What must be answered is answered to who listens; who does not is not read from any more, and
/// answers do not pile up.
#[tokio::test]
async fn floods_that_want_answers() {
    let (gateway, _upstream) = stage().await;
    let to = gateway.addr("proxy");
    let before = memory(&gateway);
    let ping = frame(PING, 0, 0, &[7; 8]).repeat(100);
    let settings = frame(SETTINGS, 0, 0, &[]).repeat(100);
    for (name, frames) in [("pings", &ping), ("settings", &settings)] {
        let most = 2_000_000;
        flood(to, most, true, || frames.clone()).await;
        let most = 40_000_000;
        let sent = flood(to, most, false, || frames.clone()).await;
        assert!(sent < most, "{sent} bytes of {name} were taken from a client that does not read");
        still_serves(&gateway).await;
    }
    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
}

/// A head of a few bytes that stands for megabytes.
#[tokio::test]
async fn heads_that_grow() {
    let (gateway, upstream) = stage().await;
    let before = memory(&gateway);
    // One large header is put into the table, then named again and again, a byte each.
    let large = [&[0x40][..], &text("x"), &text(&"y".repeat(4000))].concat();
    let mut head = [GET, &large].concat();
    head.extend(vec![0xbe; 10_000]);
    for _ in 0..20 {
        let outcome = outcome(&gateway, &frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)).await;
        assert!(outcome.is_refused(), "{outcome:?}");
    }
    assert!(upstream.take().is_empty());
    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    still_serves(&gateway).await;
}

/// What becomes of a request on stream 1.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Reset,
    Closed,
    /// The first byte of the head: the status, where the static table has it.
    Answered(u8),
}

impl Outcome {
    /// No answer, or one with status 400 or another that the static table does not know, as 431.
    fn is_refused(&self) -> bool {
        matches!(self, Self::Reset | Self::Closed | Self::Answered(0x8c))
            || matches!(self, Self::Answered(other) if other & 0x80 == 0)
    }
}

async fn outcome(gateway: &Gateway, frames: &[u8]) -> Outcome {
    let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    let all = [PREFACE, &frame(SETTINGS, 0, 0, &[]), frames].concat();
    stream.write_all(&all).await.unwrap();
    let reading = async {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                break;
            }
            match (head[3], head[8]) {
                (RST_STREAM, 1) => return Outcome::Reset,
                (HEADERS, 1) => return Outcome::Answered(payload[0]),
                (GOAWAY, _) => return Outcome::Closed,
                _ => {}
            }
        }
        Outcome::Closed
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("something becomes of it")
}

/// What HTTP/2 can say and HTTP/1 must not hear.
#[tokio::test]
async fn requests_that_change_when_they_are_passed_on() {
    let (gateway, upstream) = stage().await;
    let get = |more: &[(&str, &str)]| {
        let more = more.iter().map(|(name, value)| literal(name, value));
        let head: Vec<u8> = GET.iter().copied().chain(more.flatten()).collect();
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)
    };
    let post = |length: &str, body: &str| {
        let head = [b"\x83", &GET[1..], &literal("content-length", length)].concat();
        [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, END_STREAM, 1, body.as_bytes())]
            .concat()
    };
    let pseudo = |packed: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 1, packed);
    let with_path =
        |path: &str| pseudo(&[&b"\x82\x86\x04"[..], &text(path), b"\x41\x01a"].concat());
    // The rows hold: they differ in nothing else from what is served.
    assert_eq!(outcome(&gateway, &get(&[("x", "y")])).await, Outcome::Answered(0x88));
    assert_eq!(outcome(&gateway, &post("3", "abc")).await, Outcome::Answered(0x88));
    assert_eq!(outcome(&gateway, &with_path("/a/x")).await, Outcome::Answered(0x88));
    assert_eq!(upstream.take().len(), 3);
    for (name, frames) in [
        ("a coding", get(&[("transfer-encoding", "chunked")])),
        ("a connection", get(&[("connection", "close")])),
        ("an upgrade", get(&[("upgrade", "websocket")])),
        ("a line in a value", get(&[("x", "y\r\nx-smuggled: 1")])),
        ("a request in a value", get(&[("x", "y\r\n\r\nGET /a/smuggled HTTP/1.1\r\nHost: a")])),
        ("a bare LF in a value", get(&[("x", "y\nz: 1")])),
        ("NUL in a value", get(&[("x", "y\0")])),
        ("a line in a name", get(&[("x: y\r\nz", "1")])),
        ("a colon in a name", get(&[("x:y", "1")])),
        ("a blank in a name", get(&[("x y", "1")])),
        ("upper case in a name", get(&[("X-Y", "1")])),
        ("no name", get(&[("", "1")])),
        ("two lengths", get(&[("content-length", "0"), ("content-length", "5")])),
        ("a length that is none", get(&[("content-length", "+0")])),
        ("another host", get(&[("host", "b")])),
        ("two hosts", get(&[("host", "a"), ("host", "a")])),
        ("a body longer than its length", post("3", "abcGET /a/smuggled HTTP/1.1\r\n\r\n")),
        ("a body shorter than its length", post("30", "abc")),
        ("a blank in the path", with_path("/a x")),
        ("a line in the path", with_path("/a HTTP/1.1\r\nX: y")),
        ("NUL in the path", with_path("/a\0")),
        ("no slash", with_path("a")),
        ("no path", with_path("")),
        ("two paths", pseudo(&[GET, b"\x04\x02/b"].concat())),
        ("no method", pseudo(&GET[1..])),
        ("a method of two words", pseudo(&[&b"\x02"[..], &text("GET /b"), &GET[1..]].concat())),
        ("a pseudo-header after others", pseudo(&[&literal("x", "y"), GET].concat())),
        ("an unknown pseudo-header", get(&[(":x", "y")])),
        ("userinfo", pseudo(&[&GET[..GET.len() - 3], b"\x41", &text("a@b")].concat())),
    ] {
        let outcome = outcome(&gateway, &frames).await;
        assert!(outcome.is_refused(), "{name}: {outcome:?}");
        let seen = upstream.take();
        assert!(seen.is_empty(), "{name}: {seen:?}");
    }
    still_serves(&gateway).await;
}

/// A body that does not go on holds nothing for long, whoever reads it.
#[tokio::test]
async fn bodies_that_stop() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("proxy_listen", "127.0.0.1:0 http2");
    let gateway = options.set("nginx_http_client_body_timeout", "1s").start().await;
    publish(&gateway, &upstream, "/read", true).await;
    let plugin = json!({"name": "key-auth", "config": {"key_in_body": true}});
    let plugins = gateway.url("admin", "/services/read/plugins");
    plain().post(plugins).json(&plugin).answer().await.expect(201);
    // A handler reads it, and an embedded service.
    for path in ["/read", "/mep/token"] {
        let length = literal("content-length", "100");
        let head = [&b"\x83\x86\x04"[..], &text(path), b"\x41\x01a", &length].concat();
        let begun = [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, 0, 1, b"abc")].concat();
        let outcome = outcome(&gateway, &begun).await;
        assert!(outcome.is_refused(), "{path}: {outcome:?}");
    }
    assert!(upstream.take().is_empty());
}

/// A connection carries as many requests as it may, and says which was the last.
#[tokio::test]
async fn connections_end_in_their_time() {
    // Also where clients may not rest at all between requests.
    for rest in ["75s", "0"] {
        connection_ends(rest).await;
    }
}

async fn connection_ends(rest: &str) {
    let upstream = Upstream::start().await;
    let options = Options::new().set("proxy_listen", "127.0.0.1:0 http2");
    let options = options.set("nginx_http_keepalive_timeout", rest);
    let gateway = options.set("nginx_http_keepalive_requests", "3").start().await;
    publish(&gateway, &upstream, "/a", true).await;
    let mut stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let (mut answered, mut ended) = (Vec::new(), false);
    let exchange = async {
        for id in [1, 3, 5] {
            assert!(!ended, "after {answered:?}");
            let get = frame(HEADERS, END_STREAM | END_HEADERS, id, GET);
            stream.write_all(&get).await.unwrap();
            while answered.last() != Some(&id) || (id == 5 && !ended) {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                stream.read_exact(&mut payload).await.unwrap();
                match head[3] {
                    HEADERS => {
                        assert_eq!(payload[0], 0x88, "status 200");
                        answered.push(u32::from(head[8]));
                    }
                    GOAWAY => ended = true,
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("three answers and the end");
    assert_eq!(upstream.take().len(), 3);
}
