//! How a connection to an upstream is secured: what is shown to it, and whether and how its own
//! certificate is verified.

use std::fmt;
use std::sync::Arc;

use gateway_model::Item;
use gateway_model::entities::{Service, Upstream};
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use plugins::contract::Overrides;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_name};
use rustls::crypto::{aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use webpki::EndEntityCert;
use xxhash_rust::xxh3::Xxh3;

use super::Keyring;
use super::chain::{Shower, algorithms, follow, reason};
use super::dial::dial;
use super::kept::{Kept, Lease};
use super::pair::{PairError, certificates, certified_key, private_key};

/// A pair shown to upstreams that ask for one.
pub struct ClientPair {
    pair: Arc<CertifiedKey>,
    /// The same as pingora takes it.
    for_peer: Arc<CertKey>,
    hash: u64,
}

impl ClientPair {
    pub(super) fn new(pair: &Arc<CertifiedKey>, key: &str) -> Result<Self, PairError> {
        // pingora takes what it is given for well-formed.
        let chain: Vec<Vec<u8>> = pair.cert.iter().map(|one| one.to_vec()).collect();
        if chain.is_empty() || !chain.iter().all(|der| is_certificate(der)) {
            return Err(PairError::Certificate);
        }
        let key = private_key(key)?.secret_der().to_vec();
        if PrivateKeyDer::try_from(key.as_slice()).is_err() {
            return Err(PairError::Mismatch);
        }
        let hash = hash(chain.iter().map(Vec::as_slice));
        Ok(Self { pair: Arc::clone(pair), for_peer: Arc::new(CertKey::new(chain, key)), hash })
    }
}

impl fmt::Debug for ClientPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientPair({:x})", self.hash)
    }
}

/// A pair for upstreams, from PEM (`client_ssl_cert`, `client_ssl_cert_key`).
///
/// # Errors
///
/// See [`PairError`].
pub fn client_pair(chain: &str, key: &str) -> Result<Arc<ClientPair>, PairError> {
    let pair = Arc::new(certified_key(chain, key)?);
    ClientPair::new(&pair, key).map(Arc::new)
}

/// Authorities a service names in place of the gateway's.
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    /// The same as pingora takes it.
    for_peer: Arc<[WrappedX509]>,
    hash: u64,
}

impl Trust {
    /// The authorities of these PEM texts that can be read. With none of them no certificate is
    /// believed.
    pub(super) fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut roots = RootCertStore::empty();
        let mut taken = Vec::new();
        for der in texts.filter_map(|text| certificates(text).ok()).flatten() {
            if is_certificate(&der) && roots.add(der.clone()).is_ok() {
                taken.push(der.to_vec());
            }
        }
        let hash = hash(taken.iter().map(Vec::as_slice));
        let for_peer = taken.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect();
        Self { roots: Arc::new(roots), for_peer, hash }
    }
}

fn is_certificate(der: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(der).is_ok()
}

fn hash<'d>(parts: impl Iterator<Item = &'d [u8]>) -> u64 {
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.digest()
}

/// What holds where neither service nor upstream says otherwise.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Whether certificates are verified (`proxy_ssl_verify`).
    pub verify: bool,
    /// Most intermediate certificates (`lua_ssl_verify_depth`). Upstreams of gRPC are held to it
    /// where it is not the default, or a handler asks for it: see `dial.rs`.
    pub depth: u8,
    /// Whom to believe (`lua_ssl_trusted_certificate`).
    pub roots: Arc<RootCertStore>,
    /// Shown to upstreams that ask (`client_ssl`).
    pub client: Option<Arc<ClientPair>>,
}

/// Kong's `lua_ssl_verify_depth`.
const DEPTH: u8 = 1;

impl Default for Defaults {
    fn default() -> Self {
        Self { verify: false, depth: DEPTH, roots: Arc::new(RootCertStore::empty()), client: None }
    }
}

/// How connections for one service are secured.
pub(crate) struct UpstreamTls<'k> {
    verify: bool,
    depth: u8,
    /// Whether somebody chose the depth.
    chosen: bool,
    client: Option<&'k Arc<ClientPair>>,
    /// `None`: the gateway's authorities.
    trust: Option<&'k Arc<Trust>>,
    defaults: &'k Defaults,
}

impl<'k> UpstreamTls<'k> {
    /// What the service says, then the upstream, then the gateway's settings
    /// (kong/runloop/handler.lua, balancer_prepare; kong/runloop/upstream_ssl.lua).
    pub(crate) fn of(
        service: &Item<Service>,
        upstream: Option<&Upstream>,
        keyring: &'k Keyring,
        defaults: &'k Defaults,
    ) -> Self {
        let named = service.client_certificate.or(upstream.and_then(|one| one.client_certificate));
        let client = named.and_then(|certificate| keyring.client(certificate.id));
        Self {
            verify: service.tls_verify.unwrap_or(defaults.verify),
            depth: service.tls_verify_depth.unwrap_or(defaults.depth),
            chosen: service.tls_verify_depth.is_some() || defaults.depth != DEPTH,
            client: client.or(defaults.client.as_ref()),
            trust: keyring.trust(service.id()),
            defaults,
        }
    }

    /// How probes of an upstream's targets are secured: by the gateway's authorities, and as the
    /// client the upstream says (kong/runloop/balancer/healthcheckers.lua).
    pub(crate) fn of_probes(
        upstream: &Upstream,
        verify: bool,
        keyring: &'k Keyring,
        defaults: &'k Defaults,
    ) -> Self {
        let named = upstream.client_certificate;
        let client = named.and_then(|certificate| keyring.client(certificate.id));
        Self {
            verify,
            depth: defaults.depth,
            chosen: true,
            client: client.or(defaults.client.as_ref()),
            trust: None,
            defaults,
        }
    }

    /// Has connections to a peer made with TLS of our own, whatever is asked for.
    pub(crate) fn dial(&self, peer: &mut HttpPeer) {
        dial(peer, self.terms(), None);
    }

    /// As handlers want it, where they want anything.
    pub(crate) fn wanted(
        mut self,
        wanted: Option<&Overrides>,
        shown: Option<&'k Arc<ClientPair>>,
        believed: Option<&'k Arc<Trust>>,
    ) -> Self {
        let Some(wanted) = wanted else { return self };
        self.verify = wanted.tls_verify.unwrap_or(self.verify);
        if let Some(depth) = wanted.tls_verify_depth {
            (self.depth, self.chosen) = (depth, true);
        }
        self.client = shown.or(self.client);
        self.trust = believed.or(self.trust);
        self
    }

    /// Tells a peer. Connections secured in different ways are never shared. Those that are
    /// verified are made here, and rest among `kept`: what is given is the hold on one. pingora
    /// makes those of HTTP/2, over chains of any length, where nobody chose one: it could not share
    /// ours.
    pub(crate) fn secure(&self, peer: &mut HttpPeer, kept: &Arc<Kept>) -> Option<Arc<Lease>> {
        peer.options.verify_cert = self.verify;
        peer.options.verify_hostname = self.verify;
        peer.client_cert_key = self.client.map(|pair| Arc::clone(&pair.for_peer));
        // The pool looks at neither the chain nor the authorities.
        let mut key = self.client.map_or(0, |pair| pair.hash);
        if self.verify {
            let trust = self.trust.map_or(0, |trust| trust.hash);
            key = (key.rotate_left(1) ^ trust).rotate_left(8) ^ u64::from(self.depth);
        }
        peer.group_key = key;
        if !self.verify {
            return None;
        }
        if matches!(peer.options.alpn, ALPN::H2) && !self.chosen {
            peer.options.ca = self.trust.map(|trust| Arc::clone(&trust.for_peer));
            return None;
        }
        Some(dial(peer, self.terms(), Some(kept)))
    }

    /// The configuration of a connection of our own.
    pub(crate) fn config(&self) -> Result<ClientConfig, rustls::Error> {
        self.terms().tls()
    }

    fn terms(&self) -> Terms {
        let roots = self.trust.map_or(&self.defaults.roots, |trust| &trust.roots);
        Terms {
            verifier: Verifier { verify: self.verify, depth: self.depth, roots: Arc::clone(roots) },
            shown: self.client.map(|pair| Arc::clone(&pair.pair)),
        }
    }
}

/// How one connection is secured.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    verifier: Verifier,
    shown: Option<Arc<CertifiedKey>>,
}

impl Terms {
    /// The configuration of a connection for HTTP.
    ///
    /// # Errors
    ///
    /// None, unless rustls takes no protocol version at all.
    pub(super) fn config(&self, http2: bool) -> Result<ClientConfig, rustls::Error> {
        let mut config = self.tls()?;
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(config)
    }

    fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier.clone()));
        Ok(match &self.shown {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_cert_resolver(Arc::new(Show(Arc::clone(pair)))),
        })
    }
}

/// Shows one pair, whoever asks.
#[derive(Debug)]
struct Show(Arc<CertifiedKey>);

impl ResolvesClientCert for Show {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).is_some().then(|| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Verifies an upstream's certificate, or takes any.
#[derive(Clone, Debug)]
struct Verifier {
    verify: bool,
    depth: u8,
    roots: Arc<RootCertStore>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.verify {
            let refused = |why: webpki::Error| {
                let told = std::io::Error::other(reason(&why));
                CertificateError::Other(rustls::OtherError(Arc::new(told)))
            };
            let parsed = EndEntityCert::try_from(leaf).map_err(refused)?;
            follow(&parsed, intermediates, &self.roots, self.depth, Shower::Server, now)
                .map_err(refused)?;
            verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    /// A certificate nobody verifies proves nothing, and neither does a signature made with it. So
    /// an X.509 version 1 certificate, which cannot be read here, does no harm then.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.verify {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, leaf, signed, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.verify {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, leaf, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
