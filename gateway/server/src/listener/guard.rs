//! [`Guard`]: watches over the requests on an HTTP/1 connection.
//!
//! The parser behind it sees a head only when it is whole, in time, not too large, and can be read
//! in one way ([`gateway_proxy::head`]). Any other is answered here, and the connection closed. A
//! body goes through as it comes; when its chunks are none, the connection breaks.
//!
//! The parser gets one request at a time: what a client sends behind it is kept for the next
//! (RFC 9112 9.3.2), so that every head is looked at here, whatever it came with.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gateway_proxy::Refuser;
use gateway_proxy::chunks::{Broken, Chunks};
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
    /// What was read and not handed on: a head that comes in pieces, the requests behind the one
    /// that is served, or the answer to a bad one.
    held: Vec<u8>,
    /// How much of `held` was looked at for the end of a head.
    seen: usize,
    timer: Option<Pin<Box<Sleep>>>,
    body: Body,
}

enum State {
    /// Bytes go through.
    Open,
    /// A head is awaited, or read.
    Head,
    /// So many bytes that are held are handed on, from here.
    Handing {
        from: usize,
        to: usize,
    },
    /// The body goes through.
    Body,
    /// The request is handed on whole. What comes now is kept for the next.
    Over,
    /// The answer to a bad one is sent, from here.
    Refusing(usize),
    /// What the client still sends is dropped, so that it gets to see the answer.
    Draining,
    Closed,
}

/// The rest of a request's body.
enum Body {
    Length(u64),
    Chunks(Chunks),
    /// A body, and then whatever protocol its client asks for.
    Endless(Option<Chunks>),
}

impl Body {
    fn of(framed: Framed) -> Self {
        match (framed.body, framed.upgrade) {
            (head::Body::Length(_), true) => Self::Endless(None),
            (head::Body::Chunks, true) => Self::Endless(Some(Chunks::default())),
            (head::Body::Length(length), false) => Self::Length(length),
            (head::Body::Chunks, false) => Self::Chunks(Chunks::default()),
        }
    }

    /// How many of these bytes belong to it.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        match self {
            Self::Length(left) => {
                let part = (*left).min(bytes.len() as u64);
                *left -= part;
                Ok(usize::try_from(part).unwrap_or(bytes.len()))
            }
            Self::Chunks(chunks) => chunks.follow(bytes),
            Self::Endless(chunks) => {
                if let Some(chunks) = chunks {
                    chunks.follow(bytes)?;
                }
                Ok(bytes.len())
            }
        }
    }

    /// What the guard does once all that was read of it is handed on.
    fn goes_on(&self) -> State {
        match self {
            Self::Length(0) => State::Over,
            Self::Chunks(chunks) if chunks.is_over() => State::Over,
            Self::Endless(None) => State::Open,
            Self::Endless(Some(chunks)) if chunks.is_over() => State::Open,
            _ => State::Body,
        }
    }

    const fn is_chunked(&self) -> bool {
        matches!(self, Self::Chunks(_) | Self::Endless(Some(_)))
    }
}

/// How much of a body in chunks is read at once. What reads ahead for handlers stops in time by
/// that (`gateway/proxy/src/body.rs`): pingora replays 64 KiB and no more.
const PIECE: usize = 24 * 1024;

/// How much of further requests is read while one is served.
const AHEAD: usize = 4 * 1024;

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
            seen: 0,
            body: Body::Length(0),
        };
        (guard, expects)
    }

    /// Whether it has nothing to hand on by itself: what comes next comes from the client.
    pub(crate) fn is_at_rest(&self) -> bool {
        match self.state {
            State::Open | State::Body => true,
            State::Head | State::Over => self.held.is_empty(),
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
        if self.expects.swap(false, Ordering::Relaxed) {
            self.state = match self.state {
                State::Open | State::Over => State::Head,
                // Nobody knows where the next one begins.
                _ => State::Closed,
            };
        }
        loop {
            match self.state {
                State::Open => return inner.poll_read(cx, buf),
                State::Body => {
                    let before = buf.filled().len();
                    if self.body.is_chunked() {
                        let room = buf.remaining().min(PIECE);
                        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(room));
                        ready!(inner.poll_read(cx, &mut piece))?;
                        let read = piece.filled().len();
                        buf.advance(read);
                    } else {
                        ready!(inner.poll_read(cx, buf))?;
                    }
                    return Poll::Ready(self.pass(buf, before));
                }
                State::Over => {
                    // The reader looks whether the client is still there.
                    if !self.held.is_empty() {
                        return Poll::Pending;
                    }
                    let mut ahead = [MaybeUninit::uninit(); AHEAD];
                    let mut ahead = ReadBuf::uninit(&mut ahead);
                    ready!(inner.as_mut().poll_read(cx, &mut ahead))?;
                    if ahead.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    self.held.extend_from_slice(ahead.filled());
                }
                State::Head => {
                    if self.seen < self.held.len() {
                        self.look();
                        continue;
                    }
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
                State::Handing { from, to } => {
                    let rest = &self.held[from..to];
                    let part = rest.len().min(buf.remaining());
                    buf.put_slice(&rest[..part]);
                    if from + part < to {
                        self.state = State::Handing { from: from + part, to };
                    } else {
                        self.forget(to);
                        self.state = self.body.goes_on();
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

    /// Takes what was read beyond `before` where a head is awaited; true when the reader has
    /// something of it.
    fn took(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        let piece = &buf.filled()[before..];
        if self.held.is_empty()
            && let Some(end) = head::end(piece, 0)
            && let Ok(framed) = head::check(&piece[..end])
            && let mut body = Body::of(framed)
            && let Ok(part) = body.take(&piece[end..])
        {
            // The usual request: its head came at once.
            self.timer = None;
            self.state = body.goes_on();
            self.body = body;
            self.held.extend_from_slice(&piece[end + part..]);
            buf.set_filled(before + end + part);
            return true;
        }
        self.held.extend_from_slice(piece);
        buf.set_filled(before);
        false
    }

    /// Looks for a head in what is held.
    fn look(&mut self) {
        // Some clients end a body with an empty line too many (RFC 9112 2.2): no head begins by that.
        let empty = self.held.chunks_exact(2).take_while(|line| *line == b"\r\n").count();
        if empty > 0 {
            self.forget(2 * empty);
            if self.held.is_empty() {
                // The rest before a request has its own limit.
                self.timer = None;
                return;
            }
        }
        let judged = match head::end(&self.held, self.seen) {
            Some(end) => head::check(&self.held[..end]).and_then(|framed| {
                let mut body = Body::of(framed);
                let part = body.take(&self.held[end..]).map_err(|_| Fault::Framing)?;
                Ok(Some((end + part, body)))
            }),
            None => head::check_part(&self.held).map(|()| None),
        };
        self.seen = self.held.len();
        match judged {
            Ok(Some((to, body))) => {
                self.timer = None;
                self.body = body;
                self.state = State::Handing { from: 0, to };
            }
            Ok(None) if self.is_late() => self.late(),
            Ok(None) => {
                let limit = self.limits.head;
                self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            }
            Err(fault) => self.refuse(fault),
        }
    }

    /// Drops what is held up to here.
    fn forget(&mut self, to: usize) {
        self.seen = 0;
        if to == self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..to);
        }
    }

    /// Hands on what was read of a body beyond `before`, and keeps what is none of it.
    fn pass(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> std::io::Result<()> {
        let piece = &buf.filled()[before..];
        match self.body.take(piece) {
            Ok(part) => {
                self.held.extend_from_slice(&piece[part..]);
                buf.set_filled(before + part);
                self.state = self.body.goes_on();
                Ok(())
            }
            Err(broken) => {
                self.state = State::Closed;
                Err(std::io::Error::new(std::io::ErrorKind::InvalidData, broken))
            }
        }
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
mod tests;
