//! Datagrams: those of one client are a session, kept until nothing moved for a while.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pingora_core::ErrorType;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::StreamProxy;
use super::pump::Activity;
use super::route::Carrier;
use super::session::{StreamSession, status};
use crate::client::ConnectionFacts;

/// The longest datagram there is.
const LONGEST: usize = 65_535;
/// Datagrams a session holds that it had no time for; more are lost, as on any busy way.
const WAITING: usize = 64;
/// Sessions of one socket; clients beyond them are not served until one ends.
const MOST_SESSIONS: usize = 16_384;

impl StreamProxy {
    /// Serves the datagrams of a socket until it fails for good or the future is dropped. Every
    /// session runs as `spawn` runs it.
    pub async fn serve_datagrams(
        self: Arc<Self>,
        socket: Arc<UdpSocket>,
        local: SocketAddr,
        spawn: impl Fn(futures::future::BoxFuture<'static, ()>),
    ) {
        let mut sessions: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
        let mut datagram = vec![0; LONGEST];
        loop {
            let (length, client) = match socket.recv_from(&mut datagram).await {
                Ok(received) => received,
                Err(error) => {
                    // An unreachable client is told here too; it may not end the loop.
                    tracing::debug!("receiving a datagram failed: {error}");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let data = Bytes::copy_from_slice(&datagram[..length]);
            let data = match sessions.get(&client).map(|known| known.try_send(data.clone())) {
                Some(Ok(()) | Err(mpsc::error::TrySendError::Full(_))) => continue,
                Some(Err(mpsc::error::TrySendError::Closed(data))) => data,
                None => data,
            };
            sessions.remove(&client);
            if sessions.len() >= MOST_SESSIONS {
                sessions.retain(|_, known| !known.is_closed());
            }
            if sessions.len() >= MOST_SESSIONS {
                tracing::warn!(listener.addr = %local, "too many clients send datagrams");
                continue;
            }
            let facts = ConnectionFacts::new(client, local);
            let Some(session) = self.begin(&facts, Carrier::Udp, None) else { continue };
            let (sender, waiting) = mpsc::channel(WAITING);
            // The channel is empty: there is room.
            let _ = sender.try_send(data);
            sessions.insert(client, sender);
            spawn(Box::pin(session.datagrams(Arc::clone(&socket), client, waiting)));
        }
    }
}

impl StreamSession {
    async fn datagrams(
        mut self,
        socket: Arc<UdpSocket>,
        client: SocketAddr,
        mut waiting: mpsc::Receiver<Bytes>,
    ) {
        let status = self.exchange_datagrams(&socket, client, &mut waiting).await;
        // Whoever sends from now on begins a new session.
        drop(waiting);
        self.log(status);
    }

    async fn exchange_datagrams(
        &mut self,
        socket: &UdpSocket,
        client: SocketAddr,
        waiting: &mut mpsc::Receiver<Bytes>,
    ) -> u16 {
        if !self.admits().await {
            return status::FORBIDDEN;
        }
        let Some((service, idle)) = self.service() else { return status::ERROR };
        let upstream = loop {
            let Some(address) = self.next_address(&service).await else {
                return status::BAD_GATEWAY;
            };
            match connected(address).await {
                Ok(upstream) => break upstream,
                Err(error) => self.note_failure(ErrorType::ConnectError, &error),
            }
        };
        self.note_connected();
        let counts = &self.counts;
        let activity = Activity::new();
        let there = async {
            while let Some(data) = waiting.recv().await {
                counts.received.fetch_add(data.len() as u64, Ordering::Relaxed);
                activity.note();
                if upstream.send(&data).await.is_ok() {
                    counts.upstream_sent.fetch_add(data.len() as u64, Ordering::Relaxed);
                }
            }
        };
        let back = async {
            let mut datagram = vec![0; LONGEST];
            loop {
                // Nobody listening there yet is no reason to stop: the next datagram may arrive.
                let Ok(length) = upstream.recv(&mut datagram).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                counts.upstream_received.fetch_add(length as u64, Ordering::Relaxed);
                activity.note();
                if socket.send_to(&datagram[..length], client).await.is_ok() {
                    counts.sent.fetch_add(length as u64, Ordering::Relaxed);
                }
            }
        };
        tokio::select! {
            () = there => {}
            () = back => {}
            () = activity.silence(idle) => {}
        }
        status::OK
    }
}

async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}
