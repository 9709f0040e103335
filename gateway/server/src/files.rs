//! Certificate files: read, checked, swapped while serving, last good kept.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::tls::{KeyPair, Pem, Tls};

/// The certificates of one set of listeners: an RSA and an ECDSA pair at most, chosen by what the
/// client can verify.
pub(crate) struct Certificates {
    pairs: Vec<KeyPair>,
    current: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads every pair.
    ///
    /// # Errors
    ///
    /// Names the file: unreadable, no certificate in it, or a key that belongs to another one.
    pub(crate) fn load(pairs: Vec<KeyPair>) -> Result<Arc<Self>> {
        let current = ArcSwap::from_pointee(read(&pairs)?);
        Ok(Arc::new(Self { pairs, current }))
    }

    /// Reads the files again. What is served stays as it was when any of them is bad.
    ///
    /// # Errors
    ///
    /// As [`Certificates::load`].
    pub(crate) fn reload(&self) -> Result<()> {
        self.current.store(Arc::new(read(&self.pairs)?));
        Ok(())
    }

    /// A TLS configuration that shows these certificates.
    ///
    /// # Errors
    ///
    /// When no cipher suite fits the versions.
    pub(crate) fn config(self: &Arc<Self>, tls: &Tls, http2: bool) -> Result<Arc<ServerConfig>> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if !tls.suites.is_empty() {
            let wanted = |suite: &rustls::SupportedCipherSuite| {
                tls.suites.iter().position(|one| *one == suite.suite())
            };
            provider.cipher_suites.retain(|suite| wanted(suite).is_some());
            provider.cipher_suites.sort_by_key(wanted);
        }
        let mut versions = Vec::new();
        if tls.versions.tls13 {
            versions.push(&TLS13);
        }
        if tls.versions.tls12 {
            versions.push(&TLS12);
        }
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .context("ssl_protocols and ssl_ciphers leave nothing to offer")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.ignore_client_order = tls.prefer_server_order;
        if tls.session_tickets {
            config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        }
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        } else {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.pairs.len())
    }
}

impl ResolvesServerCert for Certificates {
    /// The first pair whose key can sign in a way the client verifies; the first at all otherwise,
    /// so that the handshake fails with an alert that says so.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        let usable =
            current.iter().find(|pair| pair.key.choose_scheme(hello.signature_schemes()).is_some());
        usable.or_else(|| current.first()).cloned()
    }
}

fn read(pairs: &[KeyPair]) -> Result<Vec<Arc<CertifiedKey>>> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    pairs.iter().map(|pair| read_pair(pair, &provider).map(Arc::new)).collect()
}

fn read_pair(pair: &KeyPair, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let name = place(&pair.cert);
    let text = text(&pair.cert)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .with_context(|| format!("{name}: not PEM"))?;
    // A damaged file may read as no certificate at all, without an error.
    let Some(leaf) = chain.first() else { bail!("{name}: no certificate in it") };
    let key_name = place(&pair.key);
    let key = self::text(&pair.key)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .with_context(|| format!("{key_name}: no private key in it"))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .with_context(|| format!("{key_name}: not a usable private key"))?;
    // rustls checks this too, but refuses certificates of X.509 version 1 while at it, which the
    // original's installer makes.
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .with_context(|| format!("{name}: not an X.509 certificate"))?;
    let belongs = key
        .public_key()
        .is_none_or(|public| public.as_ref() == parsed.tbs_certificate.subject_pki.raw);
    ensure!(belongs, "{key_name}: the key does not belong to the certificate in {name}");
    Ok(CertifiedKey::new(chain, key))
}

/// PEM text, read from its file where it is one.
///
/// # Errors
///
/// The path with the system's reason.
pub(crate) fn text(pem: &Pem) -> Result<String> {
    match pem {
        Pem::File(path) => {
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
        }
        Pem::Inline(text) => Ok(text.expose().clone()),
    }
}

fn place(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Inline(_) => "the certificate given inline".to_owned(),
    }
}
