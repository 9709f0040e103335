//! [`ConnectionUses`]: how many requests each connection to an upstream has carried
//! (`upstream_keepalive_max_requests`). pingora's pool does not count them.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// Sockets that are counted, by number; higher numbers are not, which only lets them live longer.
const SOCKETS: usize = 1 << 16;

/// Requests by socket.
pub(crate) struct ConnectionUses {
    most: u32,
    counts: Box<[AtomicU32]>,
}

impl ConnectionUses {
    /// With at most `most` requests on a connection, 0 for no limit.
    pub(crate) fn new(most: u32) -> Self {
        let sockets = if most == 0 { 0 } else { SOCKETS };
        Self { most, counts: (0..sockets).map(|_| AtomicU32::new(0)).collect() }
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
}
