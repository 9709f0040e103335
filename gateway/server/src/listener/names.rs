//! Sockets of the name server: datagrams and connections on one address.

use std::net::{TcpListener, UdpSocket};

use anyhow::Result;

use super::{Bound, Datagrams};
use crate::settings::Listen;

/// The sockets of one address of the name server.
#[derive(Debug)]
pub(crate) struct BoundNames {
    /// As configured; a port 0 is replaced by the one the system chose, the same for both.
    pub(crate) listen: Listen,
    pub(crate) udp: Datagrams,
    /// Absent when only datagrams were asked for.
    pub(crate) tcp: Option<Bound>,
}

/// How often another port is tried when the system chose one for TCP that UDP has in use.
const TRIES: usize = 16;

impl BoundNames {
    /// Binds both.
    ///
    /// # Errors
    ///
    /// The address with the system's reason.
    pub(crate) fn bind(key: &str, listen: &Listen) -> Result<Self> {
        let mut bound = Self::once(key, listen);
        for _ in 1..TRIES {
            if bound.is_ok() || listen.addr.port() != 0 {
                break;
            }
            bound = Self::once(key, listen);
        }
        bound
    }

    /// Takes over sockets that are in use already, where they are those of this listener.
    pub(crate) fn adopt(
        listen: &Listen,
        udp: Vec<UdpSocket>,
        tcp: Option<Vec<TcpListener>>,
    ) -> Option<Self> {
        let udp = Datagrams::adopt(listen, udp)?;
        let at = Listen { addr: udp.listen.addr, ..listen.clone() };
        let tcp = match tcp {
            _ if listen.udp => None,
            None => return None,
            Some(sockets) => Some(Bound::adopt(&at, sockets)?),
        };
        Some(Self { listen: at, udp, tcp })
    }

    fn once(key: &str, listen: &Listen) -> Result<Self> {
        let tcp = (!listen.udp).then(|| Bound::bind(key, listen, 1)).transpose()?;
        let mut listen = tcp.as_ref().map_or(listen, |bound| &bound.listen).clone();
        let udp = Datagrams::bind(key, &listen, 1)?;
        listen.addr = udp.listen.addr;
        Ok(Self { listen, udp, tcp })
    }
}
