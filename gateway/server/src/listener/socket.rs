//! Binding: one socket a worker, all before the first connection is taken.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::settings::Listen;
use crate::settings::listen;

/// A listener's sockets, bound and listening.
#[derive(Debug)]
pub(crate) struct Bound {
    /// How the listener was configured; a port 0 is replaced by the one the system chose.
    pub(crate) listen: Listen,
    /// One for each worker.
    pub(crate) sockets: Vec<TcpListener>,
}

impl Bound {
    /// Binds one socket for each of `workers`.
    ///
    /// # Errors
    ///
    /// The address with the system's reason: in use, not ours, not permitted.
    pub(crate) fn bind(key: &str, listen: &Listen, workers: usize) -> Result<Self> {
        let mut listen = listen.clone();
        let mut sockets = Vec::with_capacity(workers);
        for _ in 0..workers.max(1) {
            let socket = socket(&listen, workers > 1)
                .with_context(|| format!("{key}: cannot listen on {}", listen.addr))?;
            listen.addr = socket.local_addr()?;
            sockets.push(socket);
        }
        Ok(Self { listen, sockets })
    }

    /// Takes over sockets that listen already, where they are those of this listener; one whose port
    /// the system chose is the same wherever it is.
    pub(crate) fn adopt(listen: &Listen, sockets: Vec<TcpListener>) -> Option<Self> {
        let addr = sockets.first()?.local_addr().ok()?;
        is_at(listen, addr).then(|| Self { listen: Listen { addr, ..listen.clone() }, sockets })
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.listen.addr
    }
}

/// The sockets of a listener for datagrams.
#[derive(Debug)]
pub(crate) struct Datagrams {
    /// As [`Bound::listen`].
    pub(crate) listen: Listen,
    /// One for each worker.
    pub(crate) sockets: Vec<UdpSocket>,
}

impl Datagrams {
    /// Binds one socket for each of `workers`. The system gives all datagrams of a client to the
    /// same one.
    ///
    /// # Errors
    ///
    /// As [`Bound::bind`].
    pub(crate) fn bind(key: &str, listen: &Listen, workers: usize) -> Result<Self> {
        let mut listen = listen.clone();
        let mut sockets = Vec::with_capacity(workers);
        for _ in 0..workers.max(1) {
            let socket = datagrams(&listen, workers > 1)
                .with_context(|| format!("{key}: cannot listen on {} (udp)", listen.addr))?;
            listen.addr = socket.local_addr()?;
            sockets.push(socket);
        }
        Ok(Self { listen, sockets })
    }

    /// As [`Bound::adopt`].
    pub(crate) fn adopt(listen: &Listen, sockets: Vec<UdpSocket>) -> Option<Self> {
        let addr = sockets.first()?.local_addr().ok()?;
        is_at(listen, addr).then(|| Self { listen: Listen { addr, ..listen.clone() }, sockets })
    }
}

/// Whether a socket at `addr` is one of this listener.
fn is_at(listen: &Listen, addr: SocketAddr) -> bool {
    addr.ip() == listen.addr.ip() && (listen.addr.port() == 0 || addr.port() == listen.addr.port())
}

fn datagrams(listen: &Listen, shared: bool) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen.addr), Type::DGRAM, Some(Protocol::UDP))?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if listen.addr.is_ipv6() {
        socket.set_only_v6(listen.ipv6only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.addr.into())?;
    Ok(socket.into())
}

fn socket(listen: &Listen, shared: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen.addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if listen.addr.is_ipv6() {
        socket.set_only_v6(listen.ipv6only)?;
    }
    socket.set_nonblocking(true)?;
    match listen.keepalive {
        listen::TcpKeepalive::System => {}
        listen::TcpKeepalive::Off => socket.set_keepalive(false)?,
        listen::TcpKeepalive::On { idle, interval, count } => {
            let mut keepalive = TcpKeepalive::new();
            if let Some(idle) = idle {
                keepalive = keepalive.with_time(idle);
            }
            if let Some(interval) = interval {
                keepalive = keepalive.with_interval(interval);
            }
            if let Some(count) = count {
                keepalive = keepalive.with_retries(count);
            }
            socket.set_tcp_keepalive(&keepalive)?;
        }
    }
    socket.bind(&listen.addr.into())?;
    socket.listen(i32::try_from(listen.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}
