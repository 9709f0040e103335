//! [`Guard`]: watches over the heads of requests on an HTTP/1 connection.
//!
//! The parser behind it sees a head only when it is whole, in time, not too large, and can be read
//! in one way ([`gateway_proxy::head`]). Any other is answered here, and the connection closed. A
//! body goes through as it comes; when its chunks are none, the connection breaks.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gateway_proxy::Refuser;
use gateway_proxy::chunks::Chunks;
use gateway_proxy::head::{self, Fault, Framed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a client may take.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// From the first byte of a head to its last (`nginx_http_client_header_timeout`). For the first
    /// request of a connection the time begins when it is accepted.
    pub(crate) head: Duration,
    pub(crate) refuser: Refuser,
}

/// Watches over one connection.
pub(crate) struct Guard {
    limits: Arc<Limits>,
    peer: SocketAddr,
    expects: Arc<AtomicBool>,
    state: State,
    /// The bytes of a head that came in pieces.
    held: Vec<u8>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Follows the body, where it comes in chunks.
    chunks: Option<Chunks>,
}

enum State {
    /// Bytes go through.
    Open,
    /// A head is awaited, or read.
    Head,
    /// A whole head that came in pieces is handed on, from here.
    Handing(usize),
    /// The answer to a bad one is sent, from here.
    Refusing(usize),
    /// What the client still sends is dropped, so that it gets to see the answer.
    Draining,
    Closed,
}

/// How much of a body in chunks is read at once. What reads ahead for handlers stops in time by
/// that (`gateway/proxy/src/body.rs`): pingora replays 64 KiB and no more.
const PIECE: usize = 24 * 1024;

/// How long, and how much, a client that was refused is listened to.
const LINGER: Duration = Duration::from_secs(1);

impl Guard {
    /// A guard over a new connection; sets `expects` again whenever the next head is awaited.
    pub(crate) fn new(limits: Arc<Limits>, peer: SocketAddr) -> (Self, Arc<AtomicBool>) {
        let expects = Arc::new(AtomicBool::new(false));
        let guard = Self {
            timer: Some(Box::pin(tokio::time::sleep(limits.head))),
            limits,
            peer,
            expects: Arc::clone(&expects),
            state: State::Head,
            held: Vec::new(),
            chunks: None,
        };
        (guard, expects)
    }

    /// Whether it has nothing to hand on by itself: what comes next comes from the client.
    pub(crate) fn is_at_rest(&self) -> bool {
        match self.state {
            State::Open => true,
            State::Head => self.held.is_empty(),
            _ => false,
        }
    }

    /// Reads from `inner` what may be read.
    pub(crate) fn poll_read(
        &mut self,
        mut inner: Pin<&mut (impl AsyncRead + AsyncWrite)>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if matches!(self.state, State::Open) && self.expects.swap(false, Ordering::Relaxed) {
            self.state = State::Head;
        }
        loop {
            match self.state {
                State::Open if self.chunks.is_some() => {
                    let room = buf.remaining().min(PIECE);
                    let mut piece = ReadBuf::new(buf.initialize_unfilled_to(room));
                    ready!(inner.poll_read(cx, &mut piece))?;
                    let followed = self.follow(piece.filled());
                    let read = piece.filled().len();
                    buf.advance(read);
                    return Poll::Ready(followed);
                }
                State::Open => return inner.poll_read(cx, buf),
                State::Head => {
                    let before = buf.filled().len();
                    if inner.as_mut().poll_read(cx, buf)?.is_pending() {
                        let Some(timer) = &mut self.timer else { return Poll::Pending };
                        ready!(timer.as_mut().poll(cx));
                        self.late();
                        continue;
                    }
                    if buf.filled().len() == before {
                        return Poll::Ready(Ok(()));
                    }
                    if self.took(buf, before) {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Handing(from) => {
                    let rest = &self.held[from..];
                    let part = rest.len().min(buf.remaining());
                    buf.put_slice(&rest[..part]);
                    self.state = State::Handing(from + part);
                    if from + part == self.held.len() {
                        self.held = Vec::new();
                        self.state = State::Open;
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Refusing(from) => {
                    if from == self.held.len() {
                        let _ = ready!(inner.as_mut().poll_flush(cx));
                        let _ = ready!(inner.as_mut().poll_shutdown(cx));
                        self.timer = Some(Box::pin(tokio::time::sleep(LINGER)));
                        self.state = State::Draining;
                        continue;
                    }
                    match ready!(inner.as_mut().poll_write(cx, &self.held[from..])) {
                        Ok(0) | Err(_) => self.state = State::Closed,
                        Ok(part) => self.state = State::Refusing(from + part),
                    }
                }
                State::Draining => {
                    let mut dropped = [0; 4096];
                    let mut dropped = ReadBuf::new(&mut dropped);
                    match inner.as_mut().poll_read(cx, &mut dropped) {
                        Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {
                            if self.timer.as_ref().is_some_and(|timer| timer.is_elapsed()) {
                                self.state = State::Closed;
                            }
                        }
                        Poll::Ready(_) => self.state = State::Closed,
                        Poll::Pending => {
                            if let Some(timer) = &mut self.timer {
                                ready!(timer.as_mut().poll(cx));
                            }
                            self.state = State::Closed;
                        }
                    }
                }
                // As if the client had left.
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Takes what was read beyond `before`; true when the reader gets it as it is.
    fn took(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        let piece = &buf.filled()[before..];
        if self.held.is_empty() && head::end(piece, 0) == Some(piece.len()) {
            // The usual request: whole, alone, at once.
            return match head::check(piece) {
                Ok(framed) => {
                    self.timer = None;
                    self.state = State::Open;
                    self.expect_body(framed);
                    true
                }
                Err(fault) => {
                    self.held = piece.to_vec();
                    buf.set_filled(before);
                    self.refuse(fault);
                    false
                }
            };
        }
        let seen = self.held.len();
        if seen == 0 && self.timer.is_none() {
            self.timer = Some(Box::pin(tokio::time::sleep(self.limits.head)));
        }
        self.held.extend_from_slice(piece);
        buf.set_filled(before);
        let judged = match head::end(&self.held, seen) {
            Some(end) => head::check(&self.held[..end]).map(|framed| Some((framed, end))),
            None => head::check_part(&self.held).map(|()| None),
        };
        match judged {
            Ok(Some((framed, end))) => {
                self.timer = None;
                self.state = State::Handing(0);
                self.expect_body(framed);
                let body = self.held.split_off(end);
                let followed = self.follow(&body);
                self.held.extend(body);
                if followed.is_err() {
                    self.refuse(Fault::Framing);
                }
            }
            Ok(None) if self.is_late() => self.late(),
            Ok(None) => {}
            Err(fault) => self.refuse(fault),
        }
        false
    }

    fn expect_body(&mut self, framed: Framed) {
        self.chunks = (framed == Framed::Chunks).then(Chunks::default);
    }

    /// Looks at what goes through.
    fn follow(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let Some(chunks) = &mut self.chunks else { return Ok(()) };
        chunks.follow(bytes).map_err(|broken| {
            self.state = State::Closed;
            std::io::Error::new(std::io::ErrorKind::InvalidData, broken)
        })
    }

    /// Whether a client that keeps sending has used up its time.
    fn is_late(&self) -> bool {
        self.timer.as_ref().is_some_and(|timer| timer.deadline() <= Instant::now())
    }

    /// A client that said nothing at all is not worth an answer.
    fn late(&mut self) {
        if self.held.is_empty() {
            self.state = State::Closed;
        } else {
            self.refuse(Fault::Slow);
        }
    }

    fn refuse(&mut self, fault: Fault) {
        self.held = self.limits.refuser.refuse(self.peer, &self.held, fault);
        self.state = State::Refusing(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

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
}
