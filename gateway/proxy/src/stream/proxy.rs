//! [`StreamProxy`]: the data plane's side for streams, over the current snapshot.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use gateway_model::Clock;
use plugins::contract::{Client, Scheme};

use super::route::{Asked, Carrier};
use super::session::{Reached, StreamSession};
use crate::access_log::AccessLog;
use crate::client::ConnectionFacts;
use crate::options::Options;
use crate::resolve::Resolver;
use crate::snapshot::Current;

/// Serves streams by whatever the current snapshot holds.
pub struct StreamProxy {
    current: Current,
    pub(super) options: Options,
    pub(super) resolver: Resolver,
    pub(super) access_log: Option<AccessLog>,
    pub(super) clock: Clock,
}

impl StreamProxy {
    /// A proxy that serves whatever `current` holds.
    pub fn new(
        current: Current,
        options: Options,
        access_log: Option<AccessLog>,
        clock: Clock,
        resolver: Resolver,
    ) -> Arc<Self> {
        Arc::new(Self { current, options, resolver, access_log, clock })
    }

    /// Pins the current snapshot and finds the route of a connection; `None` when no one matches.
    pub fn begin(
        self: &Arc<Self>,
        connection: &ConnectionFacts,
        carrier: Carrier,
        sni: Option<&str>,
    ) -> Option<StreamSession> {
        let snapshot = self.current.load_full();
        let (source, trusted) = self.options.trust.source(connection);
        let mut local = connection.local;
        if let Some(outside) = self.options.port_maps.get(&local.port()) {
            local.set_port(*outside);
        }
        let asked = Asked { carrier, source, destination: local, sni };
        let Some(route) = snapshot.streams().find(&asked).cloned() else {
            tracing::warn!(
                client.ip = %source.ip(),
                listener.addr = %connection.local,
                "no Route found with those values"
            );
            return None;
        };
        let client = Client {
            ip: source.ip().to_canonical(),
            peer: connection.peer,
            local: connection.local,
            scheme: Scheme::Http,
            trusted,
            tls: connection.tls.clone(),
        };
        let reached = Reached { carrier, port: local.port(), at: Instant::now() };
        Some(StreamSession::new(Arc::clone(self), snapshot, route, client, reached))
    }
}

impl fmt::Debug for StreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamProxy")
    }
}
