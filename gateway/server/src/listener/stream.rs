//! Accepts streams: preamble and handshake, then they are the data plane's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_proxy::ConnectionFacts;
use gateway_proxy::stream::{Carrier, StreamProxy, StreamSession};
use gateway_proxy::tls::Handshakes;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::accept::{Connections, HANDSHAKE, agreed, stopped};
use super::handshake::course;
use super::preamble;
use super::tls::Offered;

/// One listener of streams in service on one runtime.
#[derive(Clone)]
pub(crate) struct AcceptStreams {
    pub(crate) proxy: Arc<StreamProxy>,
    /// TLS for listeners with `ssl`.
    pub(crate) tls: Option<Offered>,
    /// Who has a say in handshakes.
    pub(crate) handshakes: Option<Arc<Handshakes>>,
    /// Whether connections begin with a PROXY preamble.
    pub(crate) proxy_protocol: bool,
    /// Connections that still may be accepted, here and on the listeners that share this.
    pub(crate) room: Arc<Semaphore>,
    /// Accounting.
    pub(crate) connections: Arc<Connections>,
    /// Turns true at shutdown.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// A connection ready to be served.
enum Opened {
    /// As it comes, with what was read of it.
    Plain(TcpStream, Vec<u8>),
    /// Deciphered.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The longest first flight of a TLS client that is waited for.
const LONGEST_HELLO: usize = 64 * 1024;

impl AcceptStreams {
    /// Accepts until shutdown; sessions go on in tasks of their own.
    pub(crate) async fn run(self, listener: TcpListener) {
        let mut shutdown = self.shutdown.clone();
        loop {
            // Beyond the limit clients wait in the socket's backlog.
            let accepted = async {
                let room = Arc::clone(&self.room).acquire_owned().await.ok();
                (room, listener.accept().await)
            };
            let (room, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = stopped(&mut shutdown) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let serving = self.clone().serve(stream, peer);
                    self.connections.serve(async move {
                        serving.await;
                        drop(room);
                    });
                }
                Err(error) => {
                    tracing::warn!("accepting a stream failed: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    /// Serves datagrams until shutdown.
    pub(crate) async fn run_datagrams(self, socket: UdpSocket) {
        let mut shutdown = self.shutdown.clone();
        let Ok(local) = socket.local_addr() else { return };
        let connections = Arc::clone(&self.connections);
        let serving = self.proxy.serve_datagrams(Arc::new(socket), local, move |session| {
            connections.serve(session);
        });
        tokio::select! {
            () = serving => {}
            () = stopped(&mut shutdown) => {}
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let mut shutdown = self.shutdown.clone();
        let opening = self.connections.open(self.open(stream, peer, local));
        let opened = tokio::select! {
            opened = tokio::time::timeout(HANDSHAKE, opening) => opened.ok(),
            () = stopped(&mut shutdown) => None,
        };
        match opened.flatten() {
            Some((session, Opened::Plain(stream, first))) => session.run(stream, first).await,
            Some((session, Opened::Tls(stream))) => session.run(*stream, Vec::new()).await,
            None => {}
        }
    }

    /// Finds out who connects and to whom; `None` when the client fails or no route serves it.
    async fn open(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<(StreamSession, Opened)> {
        let mut facts = ConnectionFacts::new(peer, local);
        if self.proxy_protocol {
            facts.proxied = preamble::read(&mut stream).await?.ends.map(|(client, _)| client);
        }
        let Some(offered) = &self.tls else {
            let session = self.proxy.begin(&facts, Carrier::Tcp, None)?;
            return Some((session, Opened::Plain(stream, Vec::new())));
        };
        let (hello, first) = hello(&mut stream).await?;
        let sni = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let mut session = self.proxy.begin(&facts, Carrier::Tls, sni.as_deref())?;
        if session.passes_tls_through() {
            return Some((session, Opened::Plain(stream, first)));
        }
        let handshakes = self.handshakes.as_deref();
        let course = course(offered, handshakes, None, &facts, sni.as_deref()).await?;
        let handshake = StartHandshake::from_parts(hello, stream);
        let stream = handshake.into_stream(course.config).await;
        let stream = stream
            .inspect_err(|why| tracing::debug!(client.peer = %peer, "a handshake failed: {why}"))
            .ok()?;
        session.shook_hands(Arc::new(agreed(stream.get_ref().1, sni)));
        Some((session, Opened::Tls(Box::new(stream))))
    }
}

/// Reads a client's first message, and keeps its bytes for an upstream that may want them.
async fn hello(stream: &mut TcpStream) -> Option<(Accepted, Vec<u8>)> {
    let mut acceptor = Acceptor::default();
    let mut first = Vec::new();
    let mut piece = [0; 4096];
    while first.len() < LONGEST_HELLO {
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        first.extend_from_slice(&piece[..count]);
        let mut unread = &piece[..count];
        while !unread.is_empty() {
            acceptor.read_tls(&mut unread).ok()?;
        }
        match acceptor.accept() {
            Ok(Some(hello)) => return Some((hello, first)),
            Ok(None) => {}
            Err((_, mut alert)) => {
                let mut told = Vec::new();
                let _ = alert.write_all(&mut told);
                let _ = stream.write_all(&told).await;
                return None;
            }
        }
    }
    None
}
