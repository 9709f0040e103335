//! Sockets of the name server.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use hickory_server::Server;
use ipnet::IpNet;
use tokio::sync::watch;

use super::NameServer;
use crate::platform::over;

/// Bound sockets of the name server, set to not block.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For datagrams.
    pub udp: Vec<UdpSocket>,
    /// For connections, listening.
    pub tcp: Vec<TcpListener>,
}

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// Answers that may wait for a slow reader of one connection.
const WAITING: usize = 32;

/// Serves until `shutdown` holds `true` or its sender is gone. Sockets are taken when this is
/// called, within a tokio runtime; `clients` says who may ask, nobody named for everybody.
///
/// # Errors
///
/// A socket the runtime does not take.
pub fn serve(
    server: NameServer,
    sockets: Sockets,
    clients: &[IpNet],
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let mut server = Server::with_access(server, closed(clients), clients.iter().copied());
    for socket in sockets.udp {
        server.register_socket(tokio::net::UdpSocket::from_std(socket)?);
    }
    for listener in sockets.tcp {
        server.register_listener(tokio::net::TcpListener::from_std(listener)?, IDLE, WAITING);
    }
    Ok(async move {
        tokio::select! {
            ended = server.block_until_done() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a socket of the name server is gone");
                }
                over(&mut shutdown).await;
            }
            () = over(&mut shutdown) => {
                let _ = server.shutdown_gracefully().await;
            }
        }
    })
}

/// What to deny so that only `clients` may ask: hickory takes a family nobody is named of as open.
fn closed(clients: &[IpNet]) -> Vec<IpNet> {
    let all = [IpNet::V4(ipnet::Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())];
    let named = |family: &IpNet| {
        clients
            .iter()
            .any(|client| matches!(client, IpNet::V4(_)) == matches!(family, IpNet::V4(_)))
    };
    all.into_iter().filter(|family| !clients.is_empty() && !named(family)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_family_nobody_is_named_of_is_closed() {
        for (clients, denied) in [
            (vec![], vec![]),
            (vec!["10.0.0.0/8"], vec!["::/0"]),
            (vec!["fd00::/8"], vec!["0.0.0.0/0"]),
            (vec!["0.0.0.0/0", "::1/128"], vec![]),
        ] {
            let read = |all: Vec<&str>| -> Vec<IpNet> {
                all.into_iter().map(|text| text.parse().unwrap()).collect()
            };
            assert_eq!(closed(&read(clients)), read(denied));
        }
    }
}
