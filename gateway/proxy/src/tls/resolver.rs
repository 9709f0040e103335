//! [`SniResolver`]: the certificate of a handshake, from the current snapshot.

use std::fmt;
use std::sync::Arc;

use plugins::contract::UnservedNames;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::snapshot::Current;

/// Shows the certificate the catalog has for the name asked for, else the default one
/// (kong/runloop/certificate.lua, find_certificate).
pub struct SniResolver {
    current: Current,
    default: Arc<dyn ResolvesServerCert>,
    unserved: Arc<UnservedNames>,
}

impl SniResolver {
    /// Picks from whatever `current` holds; `default` is for clients that name nothing, or
    /// something no certificate is for, which is told to `unserved`.
    pub fn new(
        current: Current,
        default: Arc<dyn ResolvesServerCert>,
        unserved: Arc<UnservedNames>,
    ) -> Arc<Self> {
        Arc::new(Self { current, default, unserved })
    }
}

impl fmt::Debug for SniResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SniResolver")
    }
}

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.current.load();
        let shown = hello.server_name().and_then(|name| snapshot.keyring.shown(name));
        match shown {
            Some(shown) => shown.for_client(hello.signature_schemes()),
            None => {
                if let Some(name) = hello.server_name() {
                    self.unserved.report(name);
                }
                self.default.resolve(hello)
            }
        }
    }
}
