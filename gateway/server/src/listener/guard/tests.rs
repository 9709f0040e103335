#![allow(clippy::unwrap_used, reason = "tests")]

use std::pin::pin;

use gateway_model::Clock;
use gateway_proxy::Options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

struct Guarded(DuplexStream, Guard);

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Self(stream, guard) = self.get_mut();
        guard.poll_read(Pin::new(stream), cx, buf)
    }
}

fn guarded() -> (DuplexStream, Guarded, Arc<AtomicBool>) {
    let refuser = Refuser::new(Options::default(), None, Clock::fixed(0));
    let limits = Arc::new(Limits { head: Duration::from_secs(60), refuser });
    let (client, server) = duplex(256 * 1024);
    let (guard, expects) = Guard::new(limits, "127.0.0.1:1".parse().unwrap());
    (client, Guarded(server, guard), expects)
}

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";

const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn chunks_that_are_none_break_the_connection() {
    for size in [1, 7, CHUNKED.len(), 1000] {
        let (mut client, mut guarded, _) = guarded();
        let whole = [CHUNKED, b"1\r\na\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"].concat();
        for piece in whole.chunks(size) {
            client.write_all(piece).await.unwrap();
        }
        drop(client.shutdown().await);
        let mut got = Vec::new();
        let read = guarded.read_to_end(&mut got).await;
        assert!(read.is_err() || got.is_empty(), "{got:?}");
        assert!(!String::from_utf8_lossy(&got).contains("smuggled"), "{got:?}");
    }
}

#[tokio::test]
async fn heads_and_bodies_go_through_however_they_arrive() {
    let bodies = [[HEAD, b"a\0\n"].concat(), [CHUNKED, b"3\r\na\0\n\r\n0\r\n\r\n"].concat()];
    for size in [1, 2, 7, HEAD.len(), HEAD.len() + 1, 1000] {
        let (mut client, mut guarded, expects) = guarded();
        for whole in &bodies {
            let sending = async {
                for piece in whole.chunks(size) {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let mut got = vec![0; whole.len()];
            let (_, read) = tokio::join!(sending, guarded.read_exact(&mut got));
            read.unwrap();
            assert_eq!(&got, whole, "in pieces of {size}");
            expects.store(true, Ordering::Relaxed);
        }
    }
}

/// However requests run into each other, the reader gets them one by one.
#[tokio::test]
async fn a_request_at_a_time() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let post = [HEAD, b"a\0\n"].concat();
    let chunked = [CHUNKED, b"3\r\na\0\n\r\n0\r\nX: y\r\n\r\n"].concat();
    let requests = [get, &post, &chunked, get, &chunked, &post, get];
    let all = requests.concat();
    for size in [1, 2, 7, HEAD.len(), HEAD.len() + 1, post.len() + 5, all.len()] {
        let (mut client, mut guarded, expects) = guarded();
        for piece in all.chunks(size) {
            client.write_all(piece).await.unwrap();
        }
        for request in requests {
            let mut got = vec![0; request.len()];
            guarded.read_exact(&mut got).await.unwrap();
            assert_eq!(got, request, "in pieces of {size}");
            // Nothing else comes, before the next one is asked for.
            let more = futures::poll!(pin!(guarded.read_u8()));
            assert!(more.is_pending(), "in pieces of {size}");
            expects.store(true, Ordering::Relaxed);
        }
        drop(client);
        assert_eq!(guarded.read(&mut [0; 10]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn empty_lines_between_requests_are_nothing() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    for size in [1, 3, 1000] {
        let (mut client, mut guarded, expects) = guarded();
        let all = [b"\r\n\r\n", get, b"\r\n", get, b"\r\n\r\n\r\n"].concat();
        for piece in all.chunks(size) {
            client.write_all(piece).await.unwrap();
        }
        for _ in 0..2 {
            let mut got = vec![0; get.len()];
            guarded.read_exact(&mut got).await.unwrap();
            assert_eq!(got, get, "in pieces of {size}");
            expects.store(true, Ordering::Relaxed);
        }
        assert!(futures::poll!(pin!(guarded.read_u8())).is_pending());
        assert!(guarded.1.is_at_rest() && guarded.1.timer.is_none(), "nobody begins a head");
    }
}

#[tokio::test]
async fn what_follows_another_protocol_goes_through() {
    let (mut client, mut guarded, _) = guarded();
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n".as_slice();
    let sent = [head, b"\x81\0GET / HTTP/1.1\n"].concat();
    client.write_all(&sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    guarded.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, sent);
}

/// A body that was not read to its end leaves no place where a request could begin.
#[tokio::test]
async fn no_request_begins_within_a_body() {
    let (mut client, mut guarded, expects) = guarded();
    client.write_all(&[HEAD, b"a"].concat()).await.unwrap();
    let mut got = vec![0; HEAD.len() + 1];
    guarded.read_exact(&mut got).await.unwrap();
    expects.store(true, Ordering::Relaxed);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(guarded.read(&mut [0; 10]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn bad_heads_are_answered_and_the_connection_ends() {
    let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; head::LARGEST]].concat();
    for (sent, status) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n".as_slice(), "400"),
        (b"GET / HTTP/1.1\n\n", "400"),
        (&endless, "400"),
        (&endless[20..], "414"),
        (b"GET / HTTP/1.1\r\nHost", "408"),
    ] {
        let (mut client, mut guarded, _) = guarded();
        client.write_all(sent).await.unwrap();
        let mut got = Vec::new();
        guarded.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"", "nothing reaches the parser");
        drop(guarded);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drip_does_not_buy_time() {
    let (mut client, mut guarded, _) = guarded();
    let began = Instant::now();
    let drip = async {
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while client.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if began.elapsed() > Duration::from_secs(100) {
                break;
            }
        }
    };
    let mut got = Vec::new();
    let read = async {
        guarded.read_to_end(&mut got).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(70), "{:?}", began.elapsed());
    };
    tokio::join!(drip, read);
    assert_eq!(got, b"");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_hears_nothing() {
    let (mut client, mut guarded, _) = guarded();
    assert_eq!(guarded.read(&mut [0; 10]).await.unwrap(), 0);
    drop(guarded);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "");
}
