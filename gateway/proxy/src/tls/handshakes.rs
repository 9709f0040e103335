//! [`Handshakes`]: the handlers of the certificate phase, run while a client waits for an answer.

use std::sync::Arc;

use gateway_model::Clock;
use plugins::contract::{Client, Flow, Handshake, Phases, Scheme, TlsFacts};

use crate::chain::Chain;
use crate::client::{ConnectionFacts, Trust};
use crate::exchange::facts;
use crate::snapshot::{Current, Snapshot};

/// Asks the handlers of the current snapshot what becomes of a handshake.
///
/// Only global instances are asked: no route is known yet (kong/init.lua, Kong.ssl_certificate).
pub struct Handshakes {
    current: Current,
    trust: Arc<Trust>,
    clock: Clock,
    chain: fn(&Snapshot) -> &Arc<Chain>,
}

/// A handler ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Handshakes {
    /// Of connections that carry requests.
    pub const fn new(current: Current, trust: Arc<Trust>, clock: Clock) -> Self {
        Self { current, trust, clock, chain: |snapshot| &snapshot.global }
    }

    /// The same of streams.
    pub fn of_streams(&self) -> Self {
        let (current, trust) = (self.current.clone(), Arc::clone(&self.trust));
        Self { current, trust, clock: self.clock.clone(), chain: Snapshot::stream_global }
    }

    /// What a handshake for this server name becomes; `None` when nobody has a say. Allocates
    /// nothing then.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub async fn begin(
        &self,
        connection: &ConnectionFacts,
        sni: Option<&str>,
    ) -> Result<Option<Handshake>, Refused> {
        if (self.chain)(&self.current.load()).slots(Phases::CERTIFICATE).is_empty() {
            return Ok(None);
        }
        let snapshot = self.current.load_full();
        let (_, trusted) = self.trust.source(connection);
        let tls = TlsFacts { sni: sni.map(str::to_owned), ..TlsFacts::default() };
        let client = Client {
            ip: self.trust.connecting(connection),
            peer: connection.peer,
            local: connection.local,
            scheme: Scheme::Https,
            trusted,
            tls: Some(Arc::new(tls)),
        };
        let mut facts = facts(&snapshot, client, self.clock.unix_ms());
        for slot in (self.chain)(&snapshot).slots(Phases::CERTIFICATE) {
            let Some(instance) = slot.pick(None) else { continue };
            let mut flow = instance.handler.certificate(&mut facts);
            loop {
                match flow {
                    Flow::Continue => break,
                    Flow::Reply(_) => return Err(Refused),
                    Flow::Wait(wait) => flow = wait.await,
                }
            }
        }
        Ok(facts.notes.remove::<Handshake>())
    }
}
