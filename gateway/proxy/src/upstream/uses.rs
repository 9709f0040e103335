//! [`ConnectionUses`]: how many requests each connection to an upstream has carried
//! (`upstream_keepalive_max_requests`). pingora's pool does not count them.
//!
//! HTTP/1 connections are counted one by one, and the last request of one says so. Those of HTTP/2
//! cannot be told from outside to end: requests to a peer are counted, and after so many the next
//! ones get connections of their own, while the others rest and end by that. None carries more than
//! it may.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use pingora_core::upstreams::peer::{HttpPeer, Peer as _};

/// Sockets that are counted, by number; higher numbers are not, which only lets them live longer.
const SOCKETS: usize = 1 << 16;
const PEERS: usize = 1 << 10;

/// Requests by socket, and by peer.
pub(crate) struct ConnectionUses {
    most: u32,
    counts: Box<[AtomicU32]>,
    /// Peers may share a count, which only makes their connections live shorter.
    peers: Box<[AtomicU32]>,
}

impl ConnectionUses {
    /// With at most `most` requests on a connection, 0 for no limit.
    pub(crate) fn new(most: u32) -> Self {
        let zeroes = |count| (0..count).map(|_| AtomicU32::new(0)).collect();
        let (sockets, peers) = if most == 0 { (0, 0) } else { (SOCKETS, PEERS) };
        Self { most, counts: zeroes(sockets), peers: zeroes(peers) }
    }

    /// Counts a request to a peer of HTTP/2, and keeps it from connections that have carried enough.
    pub(crate) fn age(&self, peer: &mut HttpPeer) {
        if self.peers.is_empty() {
            return;
        }
        let at = usize::try_from(peer.reuse_hash() % PEERS as u64).unwrap_or_default();
        let Some(count) = self.peers.get(at) else { return };
        let generation = count.fetch_add(1, Ordering::Relaxed) / self.most;
        peer.group_key = peer.group_key.rotate_left(16) ^ u64::from(generation);
    }

    /// Counts a request; true when its connection carries no other after it.
    pub(crate) fn is_last(&self, socket: RawFd, reused: bool) -> bool {
        let count = usize::try_from(socket).ok().and_then(|at| self.counts.get(at));
        let Some(count) = count else { return false };
        // One request at a time uses a connection.
        let uses = if reused { count.load(Ordering::Relaxed).saturating_add(1) } else { 1 };
        count.store(uses, Ordering::Relaxed);
        uses >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_has_its_count() {
        let uses = ConnectionUses::new(2);
        let told = [(7, false), (8, false), (7, true), (8, true), (7, false), (-1, true)];
        let last = told.map(|(socket, reused)| uses.is_last(socket, reused));
        assert_eq!(last, [false, false, true, true, false, false]);
        assert!(!ConnectionUses::new(0).is_last(7, true));
        assert!(ConnectionUses::new(1).is_last(7, false));
    }

    #[test]
    fn peers_of_http2_change_after_so_many_requests() {
        let key = |uses: &ConnectionUses| {
            let mut peer = HttpPeer::new("127.0.0.1:1", false, String::new());
            uses.age(&mut peer);
            peer.reuse_hash()
        };
        let uses = ConnectionUses::new(2);
        let keys: Vec<_> = (0..5).map(|_| key(&uses)).collect();
        assert_eq!((keys[0], keys[2]), (keys[1], keys[3]));
        assert!(keys[0] != keys[2] && keys[2] != keys[4] && keys[0] != keys[4]);
        let endless = ConnectionUses::new(0);
        assert_eq!(key(&endless), key(&endless));
    }
}
