//! TLS towards clients: versions, suites, session resumption, and whether they show certificates.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gateway_proxy::tls::ClientAuth;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig,
    ServerSessionMemoryCache, WebPkiClientVerifier,
};
use rustls::ticketer::TicketRotator;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};

use crate::files;
use crate::settings::tls::{ClientCertificates, Offer, VerifyClient};

/// What is offered to clients of one listener.
#[derive(Clone)]
pub(crate) struct Offered {
    pub(crate) config: Arc<ServerConfig>,
    versions: Arc<[&'static SupportedProtocolVersion]>,
}

impl Offered {
    /// The same, but the client is asked for a certificate.
    ///
    /// # Errors
    ///
    /// None: the same versions and suites were taken before.
    pub(crate) fn asking(&self, clients: &Arc<ClientAuth>) -> Result<ServerConfig, rustls::Error> {
        let known = &self.config;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(known.crypto_provider()))
            .with_protocol_versions(&self.versions)?
            .with_client_cert_verifier(Arc::clone(clients) as _)
            .with_cert_resolver(Arc::clone(&known.cert_resolver));
        config.ignore_client_order = known.ignore_client_order;
        config.alpn_protocols.clone_from(&known.alpn_protocols);
        config.session_storage = Arc::clone(&known.session_storage);
        config.ticketer = Arc::clone(&known.ticketer);
        config.send_tls13_tickets = known.send_tls13_tickets;
        Ok(config)
    }
}

/// Has no session of these connections be resumed.
pub(crate) fn never_resume(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(NoTickets);
    config.send_tls13_tickets = 0;
}

#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// What is offered to clients of one listener by its settings.
///
/// # Errors
///
/// When no cipher suite fits the versions.
pub(crate) fn config(
    tls: Offer<'_>,
    shown: Arc<dyn ResolvesServerCert>,
    clients: Option<&Arc<ClientAuth>>,
    protocols: &[&[u8]],
) -> Result<Offered> {
    let mut provider = default_provider();
    if !tls.suites.is_empty() {
        let wanted = |suite: &rustls::SupportedCipherSuite| {
            tls.suites.iter().position(|one| *one == suite.suite())
        };
        provider.cipher_suites.retain(|suite| wanted(suite).is_some());
        provider.cipher_suites.sort_by_key(wanted);
    }
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if tls.versions.tls13 {
        versions.push(&TLS13);
    }
    if tls.versions.tls12 {
        versions.push(&TLS12);
    }
    let builder = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .context("ssl_protocols and ssl_ciphers leave nothing to offer")?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as _),
        None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
    };
    let mut config = builder.with_cert_resolver(shown);
    config.ignore_client_order = tls.prefer_server_order;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    if tls.session_timeout.is_zero() {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else if tls.session_tickets {
        config.ticketer = tickets(tls.session_timeout)?;
    } else {
        config.session_storage = ServerSessionMemoryCache::new(tls.sessions.max(1));
    }
    Ok(Offered { config: Arc::new(config), versions: versions.into() })
}

/// How long the library keeps a ticket key, seconds.
const SIX_HOURS: u32 = 6 * 60 * 60;

/// Tickets that are good for half the time at least and the whole of it at most: their key changes
/// twice in it. The library's own inside change every six hours.
fn tickets(timeout: Duration) -> Result<Arc<dyn ProducesTickets>> {
    let half = u32::try_from(timeout.as_secs().div_ceil(2)).unwrap_or(u32::MAX);
    let half = half.min(SIX_HOURS);
    if half == SIX_HOURS {
        return Ok(Ticketer::new()?);
    }
    let make = || -> Result<Box<dyn ProducesTickets>, rustls::crypto::GetRandomFailed> {
        match Ticketer::new() {
            Ok(tickets) => Ok(Box::new(Shared(tickets))),
            Err(_) => Err(rustls::crypto::GetRandomFailed),
        }
    };
    Ok(Arc::new(TicketRotator::new(half, make)?))
}

#[derive(Debug)]
struct Shared(Arc<dyn ProducesTickets>);

impl ProducesTickets for Shared {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// Who judges the certificates of clients.
///
/// # Errors
///
/// An authority that cannot be read.
pub(crate) fn client_auth(asked: &ClientCertificates) -> Result<Arc<ClientAuth>> {
    let mut roots = RootCertStore::empty();
    for pem in &asked.authorities {
        let authorities =
            gateway_proxy::tls::certificates(&files::text(pem)?).context(asked.named_by)?;
        for authority in authorities {
            roots.add(authority).context(asked.named_by)?;
        }
    }
    let demand = match asked.demand {
        VerifyClient::Optional => gateway_proxy::tls::Demand::Optional,
        VerifyClient::OptionalNoCa => gateway_proxy::tls::Demand::OptionalNoCa,
        VerifyClient::Off | VerifyClient::On => gateway_proxy::tls::Demand::On,
    };
    Ok(ClientAuth::new(demand, roots, asked.depth))
}
