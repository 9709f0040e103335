//! A service to the peer one try connects to.

use std::net::SocketAddr;
use std::time::Duration;

use gateway_model::entities::Service;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use plugins::contract::Timeouts;

use crate::options::Options;

/// The peer for one try, over TLS or plain; `name` is what it is called in TLS.
pub(crate) fn peer(
    service: &Service,
    tls: bool,
    name: &str,
    address: SocketAddr,
    options: &Options,
) -> HttpPeer {
    let sni = if tls { name.to_owned() } else { String::new() };
    let mut peer = HttpPeer::new(address, tls, sni);
    let millis = |value: Option<u64>| Some(Duration::from_millis(value.unwrap_or(60_000)));
    peer.options.connection_timeout = millis(service.connect_timeout);
    peer.options.total_connection_timeout = millis(service.connect_timeout);
    peer.options.read_timeout = millis(service.read_timeout);
    peer.options.write_timeout = millis(service.write_timeout);
    peer.options.idle_timeout = (options.upstream_idle_seconds > 0)
        .then(|| Duration::from_secs(options.upstream_idle_seconds));
    let grpc = service.protocol.starts_with("grpc");
    peer.options.alpn = if grpc { ALPN::H2 } else { ALPN::H1 };
    peer
}

/// Lets a peer take as long as a handler wants instead of what its service says.
pub(crate) fn hurry(peer: &mut HttpPeer, times: Timeouts) {
    peer.options.connection_timeout = Some(Duration::from_millis(times.connect));
    peer.options.total_connection_timeout = peer.options.connection_timeout;
    peer.options.write_timeout = Some(Duration::from_millis(times.write));
    peer.options.read_timeout = Some(Duration::from_millis(times.read));
}

/// Whether connections for a service are encrypted.
pub(crate) fn takes_tls(service: &Service) -> bool {
    service.protocol == "https" || service.protocol == "grpcs"
}
