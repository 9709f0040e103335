//! The accept loop: handshake, protocol, application; and the way out at shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use gateway_model::ports::Caller;
use gateway_proxy::{ConnectionFacts, Proxy};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pingora_core::apps::ServerApp;
use pingora_proxy::HttpProxy;
use plugins::contract::TlsFacts;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::Acceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::connection::{Connection, Transport};

/// What answers on a listener.
#[derive(Clone)]
pub(crate) enum Application {
    /// The data plane.
    Proxy(Arc<HttpProxy<Proxy>>),
    /// An axum router. Every request carries a [`Caller`] extension with the peer's address.
    Router(Router),
}

/// Connections of this process, for `/status`, metrics and shutdown.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    accepted: AtomicU64,
    active: AtomicU64,
    opening: AtomicU64,
    tasks: TaskTracker,
}

impl Connections {
    /// Connections accepted since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub(crate) fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Connections that shake hands, or have yet to show which protocol they speak.
    pub(crate) fn opening(&self) -> u64 {
        self.opening.load(Ordering::Relaxed)
    }

    /// Waits until every connection has ended.
    pub(crate) async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// One listener in service on one runtime.
#[derive(Clone)]
pub(crate) struct Accept {
    /// What answers.
    pub(crate) application: Application,
    /// TLS for listeners with `ssl`.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Whether HTTP/2 with prior knowledge is understood without TLS.
    pub(crate) http2: bool,
    /// Accounting.
    pub(crate) connections: Arc<Connections>,
    /// Turns true at shutdown.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// A client gets this long to finish its handshake, or to say which protocol it speaks.
const HANDSHAKE: Duration = Duration::from_secs(10);

impl Accept {
    /// Accepts until shutdown; connections go on in tasks of their own.
    pub(crate) async fn run(self, listener: TcpListener) {
        let mut shutdown = self.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut shutdown) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    // Out of descriptors, or a client that left: neither may end the loop.
                    tracing::warn!("accepting a connection failed: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let accept = self.clone();
        let connections = Arc::clone(&self.connections);
        connections.accepted.fetch_add(1, Ordering::Relaxed);
        connections.active.fetch_add(1, Ordering::Relaxed);
        self.connections.tasks.spawn(async move {
            accept.serve(stream, peer).await;
            connections.active.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let mut shutdown = self.shutdown.clone();
        self.connections.opening.fetch_add(1, Ordering::Relaxed);
        let opened = tokio::select! {
            opened = tokio::time::timeout(HANDSHAKE, self.open(stream, peer, local)) => opened.ok(),
            // Nothing was asked yet that would have to be finished.
            () = stopped(&mut shutdown) => None,
        };
        self.connections.opening.fetch_sub(1, Ordering::Relaxed);
        let Some(Some(connection)) = opened else { return };
        match &self.application {
            Application::Proxy(proxy) => {
                proxy.process_new(Box::new(connection), &self.shutdown).await;
            }
            Application::Router(router) => {
                self.serve_router(router.clone(), connection.into_transport(), peer).await;
            }
        }
    }

    /// Handshake and choice of protocol; `None` when the client fails or leaves.
    async fn open(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<Connection> {
        let mut facts = ConnectionFacts::new(peer, local);
        let Some(config) = &self.tls else {
            let http2 = self.http2 && speaks_http2(&stream).await?;
            return Connection::new(Transport::Plain(stream), facts, http2).ok();
        };
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.ok()?;
        // rustls gives the name as sent; names compare without case.
        let sni = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let stream = hello.into_stream(Arc::clone(config)).await.ok()?;
        let session = stream.get_ref().1;
        let http2 = session.alpn_protocol() == Some(b"h2");
        facts.tls = Some(Arc::new(TlsFacts {
            version: match session.protocol_version()? {
                rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".into(),
                rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".into(),
                other => format!("{other:?}"),
            },
            cipher: session
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
            sni,
        }));
        Connection::new(Transport::Tls(Box::new(stream)), facts, http2).ok()
    }

    async fn serve_router(&self, router: Router, transport: Transport, peer: SocketAddr) {
        let service = hyper::service::service_fn(move |mut request: http::Request<_>| {
            request.extensions_mut().insert(Caller {
                subject: None,
                client: peer.ip().to_canonical(),
                by_gateway: false,
            });
            router.clone().oneshot(request.map(axum::body::Body::new))
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
        builder.http2().timer(TokioTimer::new());
        let connection = builder.serve_connection(TokioIo::new(transport), service);
        tokio::pin!(connection);
        let mut shutdown = self.shutdown.clone();
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stopped(&mut shutdown) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(client.peer = %peer, "a connection ended early: {error}");
        }
    }
}

/// Waits for the stop; a sender that is gone means the same.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at the first bytes without taking them; `None` when the client leaves before it is clear.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await.ok()?;
        if count == 0 {
            return None;
        }
        if seen[..count] != PREFACE[..count] {
            return Some(false);
        }
        if count == PREFACE.len() {
            return Some(true);
        }
        // A preface in pieces: look again when there is more. Peeking does not consume, so
        // readiness alone cannot tell; a client this slow may wait a little.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
