//! [`Connection`]: a plain or TLS stream in the form pingora takes.

use std::fmt;
use std::future::poll_fn;
use std::io::{BufRead as _, ErrorKind, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use super::guard::Guard;
use async_trait::async_trait;
use gateway_proxy::{ConnectionFacts, Lent};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The bytes of a connection.
pub(crate) enum Transport {
    /// As they come.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// One accepted connection, past its handshake.
pub(crate) struct Connection {
    transport: Transport,
    http2: bool,
    /// Carries [`ConnectionFacts`] to every request: pingora's only per-connection channel that
    /// HTTP/1 and HTTP/2 sessions both see.
    facts: Arc<ProxyDigest>,
    id: UniqueIDType,
    /// Watches over the heads of HTTP/1 requests.
    guard: Option<Guard>,
    /// What an HTTP/1 session wrote and the transport has not got yet.
    outgoing: Outgoing,
    /// Set when the next answer's head offers another protocol.
    offers_upgrade: Arc<AtomicBool>,
    /// Where it is while another session serves its request.
    lent: Lent,
}

/// Small writes on their way, so that a head and the body behind it leave in one piece. Memory is held
/// only while something waits.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// What fits here waits for a flush, or for the session to read on.
    const ROOM: usize = 4096;

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes small pieces along; `false` when they do not fit.
    fn take(&mut self, pieces: &[IoSlice<'_>]) -> bool {
        let more: usize = pieces.iter().map(|piece| piece.len()).sum();
        let fits = self.bytes.len() + more <= Self::ROOM;
        if fits {
            pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
        fits
    }

    /// Sends what waits, with `more` behind it where there is some; ready with how much of `more` is
    /// sent once nothing waits any more.
    fn poll_send(
        &mut self,
        transport: &mut Transport,
        cx: &mut Context<'_>,
        more: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        while !self.is_empty() {
            let waiting = &self.bytes[self.sent..];
            let pieces = [IoSlice::new(waiting), IoSlice::new(more)];
            let pieces = if more.is_empty() { &pieces[..1] } else { &pieces[..] };
            let sent = ready!(Pin::new(&mut *transport).poll_write_vectored(cx, pieces))?;
            if sent == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            if sent < waiting.len() {
                self.sent += sent;
                continue;
            }
            let of_more = sent - waiting.len();
            *self = Self::default();
            if of_more > 0 {
                return Poll::Ready(Ok(of_more));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl Connection {
    /// A connection whose client speaks HTTP/2 or not.
    pub(crate) fn new(
        transport: Transport,
        facts: ConnectionFacts,
        http2: bool,
    ) -> pingora_core::Result<Self> {
        let id = match &transport {
            Transport::Plain(stream) => stream.as_raw_fd(),
            Transport::Tls(stream) => stream.get_ref().0.as_raw_fd(),
        };
        let (offers_upgrade, lent) = (Arc::clone(&facts.offers_upgrade), facts.lent.clone());
        let unused = Box::new(ResponseHeader::build(http::StatusCode::OK, Some(0))?);
        let facts = Arc::new(ProxyDigest::new(unused, Some(Box::new(facts))));
        let outgoing = Outgoing::default();
        Ok(Self { transport, http2, facts, id, guard: None, outgoing, offers_upgrade, lent })
    }

    /// Whether its client speaks HTTP/2.
    pub(crate) const fn is_http2(&self) -> bool {
        self.http2
    }

    /// Where it is while another session serves its request.
    pub(crate) fn lent(&self) -> Lent {
        self.lent.clone()
    }

    /// What every request on it knows.
    pub(crate) fn facts(&self) -> Option<&ConnectionFacts> {
        self.facts.user_data.as_ref()?.downcast_ref()
    }

    /// Reads through a guard from now on.
    pub(crate) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Waits until its client said something, or left; nothing is read. What was written before is on
    /// its way then.
    pub(crate) async fn heard(&mut self) {
        poll_fn(|cx| {
            let Self { transport, guard, outgoing, .. } = self;
            if !outgoing.is_empty() {
                // A broken transport shows itself when it is read.
                if ready!(outgoing.poll_send(transport, cx, &[])).is_err() {
                    return Poll::Ready(());
                }
                let _ = Pin::new(&mut *transport).poll_flush(cx);
            }
            match guard.as_ref().is_none_or(Guard::is_at_rest) {
                true => transport.poll_heard(cx),
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    /// The stream itself, for applications that are not pingora's.
    pub(crate) fn into_transport(self) -> Transport {
        self.transport
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.id)
    }
}

impl Transport {
    /// Ready when there may be something to read.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                let nothing = |why: std::io::Error| why.kind() == ErrorKind::WouldBlock;
                if !session.reader().fill_buf().is_err_and(nothing) {
                    return Poll::Ready(());
                }
                socket
            }
        };
        socket.poll_read_ready(cx).map(|_| ())
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Self { transport, guard, outgoing, .. } = self.get_mut();
        // A session that reads has written what it has for now.
        if !outgoing.is_empty() && outgoing.poll_send(transport, cx, &[])?.is_ready() {
            let _ = Pin::new(&mut *transport).poll_flush(cx)?;
        }
        match guard {
            Some(guard) => guard.poll_read(Pin::new(transport), cx, buf),
            None => Pin::new(transport).poll_read(cx, buf),
        }
    }
}

/// The head of an answer whose Connection names Upgrade, beside what pingora says there.
fn offering(answer: &[u8]) -> Option<Vec<u8>> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let end = answer.starts_with(b"HTTP/1.").then_some(end)?;
    let (head, rest) = answer.split_at(end);
    Some([head, b"\r\nConnection: Upgrade", rest].concat())
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.offers_upgrade.load(Ordering::Relaxed)
            && let Some(head) = offering(buf)
        {
            self.offers_upgrade.store(false, Ordering::Relaxed);
            self.outgoing.bytes.extend_from_slice(&head);
            return Poll::Ready(Ok(buf.len()));
        }
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let Self { transport, http2, outgoing, .. } = self.get_mut();
        // HTTP/2 sessions gather their frames themselves.
        if !*http2 && outgoing.take(bufs) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        match ready!(outgoing.poll_send(transport, cx, first))? {
            0 => Pin::new(transport).poll_write_vectored(cx, bufs),
            sent => Poll::Ready(Ok(sent)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Self { transport, outgoing, .. } = self.get_mut();
        ready!(outgoing.poll_send(transport, cx, &[]))?;
        Pin::new(transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Self { transport, outgoing, .. } = self.get_mut();
        ready!(outgoing.poll_send(transport, cx, &[]))?;
        Pin::new(transport).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // A client that is gone already needs no farewell.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl Ssl for Connection {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.facts))
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Connection {}
