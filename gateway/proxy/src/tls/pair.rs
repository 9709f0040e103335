//! A certificate chain and its private key: from PEM to what a handshake shows.

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a chain and a key cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The certificate's text is damaged.
    #[error("not PEM")]
    Syntax(#[source] pem::Error),
    /// A damaged text may read as no certificate at all, without an error.
    #[error("no certificate in it")]
    NoCertificate,
    /// The first certificate is none.
    #[error("not an X.509 certificate")]
    Certificate,
    /// The key's text holds none.
    #[error("no private key in it")]
    NoKey(#[source] pem::Error),
    /// A kind of key that is not supported, or a damaged one.
    #[error("not a usable private key")]
    UnusableKey(#[source] rustls::Error),
    /// Key and certificate are of different pairs.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

impl PairError {
    /// Whether the key is at fault rather than the certificate.
    pub const fn is_about_key(&self) -> bool {
        matches!(self, Self::NoKey(_) | Self::UnusableKey(_) | Self::Mismatch)
    }
}

/// The certificates of a PEM text, in order; at least one.
///
/// # Errors
///
/// A damaged text, or one without a certificate.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let chain = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(PairError::Syntax)?;
    if chain.is_empty() { Err(PairError::NoCertificate) } else { Ok(chain) }
}

/// A chain, leaf first, and the leaf's key, both PEM.
///
/// Certificates of X.509 version 1 are taken, which the original's installer makes and rustls' own
/// constructor refuses.
///
/// # Errors
///
/// See [`PairError`].
pub fn certified_key(chain: &str, key: &str) -> Result<CertifiedKey, PairError> {
    let chain = certificates(chain)?;
    let key = private_key(key)?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(PairError::UnusableKey)?;
    let leaf = chain.first().ok_or(PairError::NoCertificate)?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| PairError::Certificate)?;
    let belongs = key
        .public_key()
        .is_none_or(|public| public.as_ref() == parsed.tbs_certificate.subject_pki.raw);
    if belongs { Ok(CertifiedKey::new(chain, key)) } else { Err(PairError::Mismatch) }
}

/// The first private key of a PEM text.
pub(super) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, PairError> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(PairError::NoKey)
}
