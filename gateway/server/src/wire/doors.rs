//! How connections get from sockets to what answers them: on the runtime of the caller for routers, on
//! threads of their own for the data plane.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use gateway_model::Clock;
use gateway_proxy::tls::{ClientAuth, Handshakes};
use gateway_proxy::{AccessLog, Trust};
use rustls::server::ResolvesServerCert;
use tokio::sync::watch;

use super::DRAIN;
use super::front::Front;
use super::listeners::Listeners;
use super::process::Room;
use crate::listener::{self, Accept, AcceptStreams, Application, Bound, Connections};
use crate::settings::{Listen, Settings};

/// What every listener accepts connections with.
pub(super) struct Doors<'s> {
    pub(super) settings: &'s Settings,
    pub(super) trust: Arc<Trust>,
    pub(super) clock: Clock,
    pub(super) room: Room,
    pub(super) connections: Arc<Connections>,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// A router and how it is reached.
pub(super) struct Routed<'s> {
    pub(super) bound: &'s [Bound],
    pub(super) router: Router,
    /// Certificates for listeners with TLS.
    pub(super) shown: Arc<dyn ResolvesServerCert>,
    /// Where requests are noted.
    pub(super) log: Option<AccessLog>,
    /// Who judges what clients show, where they are asked to.
    pub(super) clients: Option<Arc<ClientAuth>>,
}

impl Doors<'_> {
    fn accept(
        &self,
        application: Application,
        listen: &Listen,
        shown: Arc<dyn ResolvesServerCert>,
        clients: Option<Arc<ClientAuth>>,
        handshakes: Option<Arc<Handshakes>>,
    ) -> Result<Accept> {
        let protocols: &[&[u8]] = if listen.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        let config =
            || listener::tls::config(self.settings.tls.offer(), shown, clients.as_ref(), protocols);
        let room = match &application {
            Application::Proxy(_) => &self.room.proxy,
            Application::Router(..) => &self.room.routers,
        };
        Ok(Accept {
            room: Arc::clone(room),
            head: self.settings.proxying.keepalive.header_timeout,
            body: self.settings.proxying.keepalive.body_timeout,
            application,
            tls: listen.ssl.then(config).transpose()?,
            handshakes,
            clients: clients.clone(),
            proxy_protocol: listen.proxy_protocol,
            trust: Arc::clone(&self.trust),
            clock: self.clock.clone(),
            http2: listen.http2,
            connections: Arc::clone(&self.connections),
            shutdown: self.shutdown.clone(),
        })
    }

    fn accept_streams(&self, front: &Front, listen: &Listen) -> Result<AcceptStreams> {
        let config = || {
            listener::tls::config(
                self.settings.tls.stream_offer(),
                Arc::clone(&front.shown),
                None,
                &[],
            )
        };
        Ok(AcceptStreams {
            proxy: Arc::clone(&front.streams),
            tls: listen.ssl.then(config).transpose()?,
            handshakes: Some(Arc::clone(&front.stream_handshakes)),
            proxy_protocol: listen.proxy_protocol,
            room: Arc::clone(&self.room.proxy),
            connections: Arc::clone(&self.connections),
            shutdown: self.shutdown.clone(),
        })
    }

    /// Serves a router on its sockets.
    ///
    /// # Errors
    ///
    /// Sockets the runtime does not take, certificates that cannot be used.
    pub(super) fn route(&self, routed: Routed<'_>) -> Result<()> {
        for bound in routed.bound {
            let application = Application::Router(routed.router.clone(), routed.log.clone());
            let (shown, clients) = (Arc::clone(&routed.shown), routed.clients.clone());
            let accept = self.accept(application, &bound.listen, shown, clients, None)?;
            for socket in &bound.sockets {
                let listener = tokio::net::TcpListener::from_std(socket.try_clone()?)?;
                tokio::spawn(accept.clone().run(listener));
            }
        }
        Ok(())
    }

    /// Serves the data plane: one thread a worker, one socket of each listener on each. They end when
    /// the process is told to and every connection is done.
    ///
    /// # Errors
    ///
    /// As [`Self::route`], and threads the system does not start.
    pub(super) fn work(&self, front: &Front, listeners: &Listeners) -> Result<()> {
        let clients = &self.settings.tls.clients;
        let clients = clients.as_ref().map(listener::tls::client_auth).transpose()?;
        let mut workers: Vec<Vec<Served>> = Vec::new();
        workers.resize_with(self.settings.process.workers.threads().get(), Vec::new);
        for bound in &listeners.proxy {
            let application = Application::Proxy(front.proxy.clone());
            let shown = Arc::clone(&front.shown);
            let handshakes = Some(Arc::clone(&front.handshakes));
            let accept =
                self.accept(application, &bound.listen, shown, clients.clone(), handshakes)?;
            spread(&mut workers, &bound.sockets, |socket| {
                Ok(Served::Http(accept.clone(), socket.try_clone()?))
            })?;
        }
        for bound in &listeners.streams {
            let accept = self.accept_streams(front, &bound.listen)?;
            spread(&mut workers, &bound.sockets, |socket| {
                Ok(Served::Streams(accept.clone(), socket.try_clone()?))
            })?;
        }
        for bound in &listeners.datagrams {
            let accept = self.accept_streams(front, &bound.listen)?;
            spread(&mut workers, &bound.sockets, |socket| {
                Ok(Served::Datagrams(accept.clone(), socket.try_clone()?))
            })?;
        }
        for (index, sockets) in workers.into_iter().enumerate() {
            worker(index, sockets, self.shutdown.clone(), Arc::clone(&self.connections))?;
        }
        Ok(())
    }
}

/// Gives every worker a socket. There are as many as workers, unless they come from a process that
/// had another number.
fn spread<S>(
    workers: &mut [Vec<Served>],
    sockets: &[S],
    serve: impl Fn(&S) -> std::io::Result<Served>,
) -> std::io::Result<()> {
    let count = workers.len();
    for at in 0..count.max(sockets.len()) {
        workers[at % count].push(serve(&sockets[at % sockets.len()])?);
    }
    Ok(())
}

/// One socket and what answers on it.
enum Served {
    Http(Accept, TcpListener),
    Streams(AcceptStreams, TcpListener),
    Datagrams(AcceptStreams, UdpSocket),
}

impl Served {
    /// Begins to serve it on the runtime of the caller.
    fn start(self) -> std::io::Result<()> {
        use tokio::net;
        match self {
            Self::Http(accept, socket) => {
                tokio::spawn(accept.run(net::TcpListener::from_std(socket)?));
            }
            Self::Streams(accept, socket) => {
                tokio::spawn(accept.run(net::TcpListener::from_std(socket)?));
            }
            Self::Datagrams(accept, socket) => {
                tokio::spawn(accept.run_datagrams(net::UdpSocket::from_std(socket)?));
            }
        }
        Ok(())
    }
}

/// One proxy thread: a runtime of its own, one socket of each listener of the data plane.
fn worker(
    index: usize,
    sockets: Vec<Served>,
    mut shutdown: watch::Receiver<bool>,
    connections: Arc<Connections>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a proxy runtime")?;
    let run = move || {
        runtime.block_on(async move {
            for socket in sockets {
                if let Err(error) = socket.start() {
                    tracing::error!("a listener could not be served: {error}");
                }
            }
            // The sender lives as long as the gateway; either way it is over.
            let _ = shutdown.wait_for(|stop| *stop).await;
            let _ = tokio::time::timeout(DRAIN, connections.drained()).await;
        });
    };
    std::thread::Builder::new()
        .name(format!("proxy-{index}"))
        .spawn(run)
        .map(drop)
        .context("starting a proxy thread")
}
