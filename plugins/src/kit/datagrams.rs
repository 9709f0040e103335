//! [`Datagrams`]: pieces of bytes sent over UDP, one a datagram.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::net::{UdpSocket, lookup_host};

use super::queue::Deliver;

/// Where datagrams go.
#[derive(Clone, Debug)]
pub(crate) struct Datagrams {
    /// A name or an address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For one batch, finding the address included.
    pub(crate) timeout: Duration,
}

impl Datagrams {
    /// Sends a datagram for each; one that is too long does not keep back the others.
    ///
    /// # Errors
    ///
    /// The last of what failed, with the place.
    pub(crate) async fn send(&self, all: &[Bytes]) -> Result<(), String> {
        let sent = tokio::time::timeout(self.timeout, self.send_all(all)).await;
        let told = |why| format!("{}:{}: {why}", self.host, self.port);
        sent.map_err(io::Error::from).flatten().map_err(told)
    }

    async fn send_all(&self, all: &[Bytes]) -> io::Result<()> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = lookup_host((host, self.port)).await?.next();
        let to = found.ok_or_else(|| io::Error::other("no address"))?;
        let from: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(from).await?;
        let mut result = Ok(());
        for one in all {
            if let Err(why) = socket.send_to(one, to).await {
                result = Err(why);
            }
        }
        result
    }

    /// The way out of a queue: a datagram an entry.
    pub(crate) fn deliver(self) -> Deliver {
        let datagrams = Arc::new(self);
        Arc::new(move |batch| {
            let datagrams = Arc::clone(&datagrams);
            async move { datagrams.send(&batch).await }.boxed()
        })
    }
}
