//! [`Dial`]: connections to upstreams whose TLS is made here, where pingora's connector cannot do
//! what is asked: it verifies chains of any length, and by authorities read from one file.
//!
//! pingora is given the decrypted stream and takes it for a plain one. Its pool knows connections
//! by their socket, which such a stream has none of, so an HTTP/1 connection made here serves one
//! request. HTTP/2 connections are shared as ever.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::{HttpPeer, Scheme};
use pingora_core::{Error, ErrorType, Result};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connects and shakes hands.
#[derive(Debug)]
struct Dial {
    config: Arc<ClientConfig>,
    name: String,
}

/// Has connections to a peer made here, by this configuration. The peer's server name is asked for;
/// without one its address is.
pub(super) fn dial(peer: &mut HttpPeer, mut config: ClientConfig) {
    let http2 = matches!(peer.options.alpn, ALPN::H2);
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let name = match (peer.sni.as_str(), peer._address.as_inet()) {
        ("", Some(address)) => address.ip().to_string(),
        (name, _) => name.to_owned(),
    };
    peer.scheme = Scheme::HTTP;
    peer.options.custom_l4 = Some(Arc::new(Dial { config: Arc::new(config), name }));
}

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "no address of the internet");
        };
        let name = ServerName::try_from(self.name.clone()).map_err(|why| {
            Error::because(ErrorType::InvalidCert, "the name of an upstream", why)
        })?;
        let refused = |why: std::io::Error| {
            let kind = match why.kind() {
                std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                std::io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting to an upstream", why)
        };
        let stream = TcpStream::connect(address).await.map_err(refused)?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let secured = connector.connect(name, stream).await.map_err(failed)?;
        Ok(Stream::from(VirtualSocketStream::new(Box::new(Secured(secured)))))
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
struct Secured(TlsStream<TcpStream>);

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
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
