//! [`Dial`]: connections to upstreams whose TLS is made here, where pingora's connector cannot do
//! what is asked: it verifies chains of any length, and by authorities read from one file.
//!
//! pingora is given the decrypted stream and takes it for a plain one. Its pool knows connections by
//! their socket, which such a stream has none of. HTTP/1 connections rest in [`Kept`] between
//! requests; one of HTTP/2 serves one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::{HttpPeer, Peer as _, Scheme};
use pingora_core::{Error, ErrorType, Result};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::kept::{Kept, Lease, Rested};
use super::upstream::Terms;
use crate::failure::not_connected;

/// Connects and shakes hands, or takes a connection that rests.
#[derive(Debug)]
struct Dial {
    terms: Terms,
    http2: bool,
    name: String,
    keep: Option<Keep>,
}

/// Where a connection goes after a request.
#[derive(Clone, Debug)]
struct Keep {
    kept: Arc<Kept>,
    key: u64,
    lease: Arc<Lease>,
}

/// Has connections to a peer made here, on these terms. The peer's server name is asked for;
/// without one its address is. With somewhere to rest they are taken from there, and go there when
/// the request is over; [`Lease`] knows when.
pub(super) fn dial(peer: &mut HttpPeer, terms: Terms, kept: Option<&Arc<Kept>>) -> Arc<Lease> {
    let http2 = matches!(peer.options.alpn, ALPN::H2);
    let name = match (peer.sni.as_str(), peer._address.as_inet()) {
        ("", Some(address)) => address.ip().to_string(),
        (name, _) => name.to_owned(),
    };
    peer.scheme = Scheme::HTTP;
    let lease = Arc::<Lease>::default();
    let keep = kept.filter(|_| !http2).map(|kept| Keep {
        kept: Arc::clone(kept),
        key: peer.reuse_hash(),
        lease: Arc::clone(&lease),
    });
    peer.options.custom_l4 = Some(Arc::new(Dial { terms, http2, name, keep }));
    lease
}

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "no address of the internet");
        };
        if let Some(keep) = &self.keep
            && let Some(Rested { stream, uses }) = keep.kept.take(keep.key).await
        {
            keep.lease.reused.store(true, Ordering::Relaxed);
            keep.lease.uses.store(uses, Ordering::Relaxed);
            return Ok(self.carry(stream));
        }
        let name = ServerName::try_from(self.name.clone()).map_err(|why| {
            Error::because(ErrorType::InvalidCert, "the name of an upstream", why)
        })?;
        let config = self.terms.config(self.http2).map_err(|why| {
            Error::because(ErrorType::InternalError, "securing a connection", why)
        })?;
        let stream = TcpStream::connect(address).await.map_err(not_connected)?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(Arc::new(config));
        Ok(self.carry(connector.connect(name, stream).await.map_err(failed)?))
    }
}

impl Dial {
    fn carry(&self, stream: TlsStream<TcpStream>) -> Stream {
        let secured = Secured { stream: Some(stream), keep: self.keep.clone(), rests: false };
        Stream::from(VirtualSocketStream::new(Box::new(secured)))
    }
}

fn failed(why: std::io::Error) -> Box<Error> {
    let cause = why.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let kind = match cause {
        Some(rustls::Error::InvalidCertificate(_)) => ErrorType::InvalidCert,
        _ => ErrorType::TLSHandshakeFailure,
    };
    Error::because(kind, "the handshake with an upstream", why)
}

/// A stream under TLS in the form pingora takes.
#[derive(Debug)]
struct Secured {
    /// Until it is dropped.
    stream: Option<TlsStream<TcpStream>>,
    keep: Option<Keep>,
    /// Whether it may carry another request.
    rests: bool,
}

impl Secured {
    fn stream(&mut self) -> std::io::Result<Pin<&mut TlsStream<TcpStream>>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        if self.rests
            && let (Some(stream), Some(keep)) = (self.stream.take(), &self.keep)
        {
            let uses = keep.lease.uses.load(Ordering::Relaxed).saturating_add(1);
            keep.kept.put(keep.key, Rested { stream, uses });
        }
    }
}

impl VirtualSocket for Secured {
    /// Small pieces are sent at once already; nothing else is asked for.
    fn set_socket_option(&self, _: VirtualSockOpt) -> std::io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.keep.as_ref().is_some_and(|keep| keep.lease.over.load(Ordering::Relaxed)) {
            // pingora looks whether it may keep the connection. It may, if it is silent; but not in
            // pingora's pool, so that is told it has ended.
            let mut byte = [0];
            let looked = this.stream()?.poll_read(cx, &mut ReadBuf::new(&mut byte));
            this.rests = looked.is_pending();
            return Poll::Ready(Ok(()));
        }
        this.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.rests = false;
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.rests = false;
        self.stream()?.poll_shutdown(cx)
    }
}
