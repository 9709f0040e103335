//! How a handshake goes on once handlers had their say.

use std::fmt;
use std::sync::Arc;

use gateway_proxy::ConnectionFacts;
use gateway_proxy::tls::{ClientAuth, Demand, Handshakes, certificates, certified_key};
use plugins::contract::Handshake;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::tls::{Offered, never_resume};

/// How one handshake goes on.
pub(super) struct Course {
    pub(super) config: Arc<ServerConfig>,
    /// Who judges what the client shows, where it is asked to.
    pub(super) clients: Option<Arc<ClientAuth>>,
}

/// Finds how a handshake goes on: as offered, unless a handler wants something else. `clients` is who
/// judges certificates that are asked for anyway; `None` when the connection ends here.
pub(super) async fn course(
    offered: &Offered,
    handshakes: Option<&Handshakes>,
    clients: Option<&Arc<ClientAuth>>,
    connection: &ConnectionFacts,
    sni: Option<&str>,
) -> Option<Course> {
    let wanted = match handshakes {
        Some(handshakes) => handshakes.begin(connection, sni).await.ok()?,
        None => None,
    };
    let Some(wanted) = wanted else {
        return Some(Course { config: Arc::clone(&offered.config), clients: clients.cloned() });
    };
    match changed(offered, clients, &wanted) {
        Ok(course) => Some(course),
        Err(why) => {
            tracing::error!("a handshake cannot go on as a plugin wants it: {why:#}");
            None
        }
    }
}

fn changed(
    offered: &Offered,
    clients: Option<&Arc<ClientAuth>>,
    wanted: &Handshake,
) -> anyhow::Result<Course> {
    let mut clients = clients.cloned();
    let mut config = match &clients {
        // Who asks already goes on to judge.
        None if wanted.asks_certificate => {
            let mut named = RootCertStore::empty();
            for authority in wanted.authorities.iter().map(|text| certificates(text)) {
                named.add_parsable_certificates(authority?);
            }
            let anybody = ClientAuth::new(Demand::OptionalNoCa, RootCertStore::empty(), 1);
            let auth = clients.insert(anybody.naming(named.subjects()));
            offered.asking(auth)?
        }
        _ => ServerConfig::clone(&offered.config),
    };
    if wanted.single_use {
        never_resume(&mut config);
    }
    match (&wanted.chain, &wanted.key) {
        (Some(chain), Some(key)) => {
            let pair = certified_key(chain, key.expose())?;
            config.cert_resolver = Arc::new(Only(Arc::new(pair)));
        }
        (None, None) if !wanted.cleared => {}
        _ => anyhow::bail!("no certificate with its key was set"),
    }
    Ok(Course { config: Arc::new(config), clients })
}

/// Shows one pair, whoever asks.
struct Only(Arc<CertifiedKey>);

impl fmt::Debug for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Only")
    }
}

impl ResolvesServerCert for Only {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = self.0.key.choose_scheme(hello.signature_schemes()).is_some();
        fits.then(|| Arc::clone(&self.0))
    }
}
