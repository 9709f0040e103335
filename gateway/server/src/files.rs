//! Certificate files: read, checked, swapped while serving, last good kept.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use gateway_proxy::tls::{Shown, certified_key};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::settings::tls::{KeyPair, Pem};

/// The certificates of one set of listeners: an RSA and an ECDSA pair at most, chosen by what the
/// client can verify.
pub(crate) struct Certificates {
    pairs: Vec<KeyPair>,
    current: ArcSwap<Shown>,
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
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.pairs.len())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().for_client(hello.signature_schemes())
    }
}

fn read(pairs: &[KeyPair]) -> Result<Shown> {
    let pairs = pairs.iter().map(|pair| read_pair(pair).map(Arc::new)).collect::<Result<_>>()?;
    Ok(Shown::new(pairs))
}

fn read_pair(pair: &KeyPair) -> Result<CertifiedKey> {
    let (cert, key) = (text(&pair.cert)?, text(&pair.key)?);
    certified_key(&cert, &key).map_err(|why| {
        let at_fault = if why.is_about_key() { &pair.key } else { &pair.cert };
        anyhow::Error::new(why).context(place(at_fault))
    })
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
