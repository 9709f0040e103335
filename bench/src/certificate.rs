//! The certificate every proxy shows: RSA of 2048 bits, so that handshakes cost all the same.

use std::path::PathBuf;

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::TempDir;

/// A certificate that vouches for itself, in files.
pub(crate) struct Certificate {
    folder: TempDir,
    pub(crate) pem: String,
}

impl Certificate {
    /// Makes one for 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub(crate) fn make() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-certificate-").tempdir()?;
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pem = CertificateParams::new(names)?.self_signed(&key)?.pem();
        let made = Self { folder, pem };
        let key = key.serialize_pem();
        std::fs::write(made.certificate(), &made.pem)?;
        std::fs::write(made.key(), &key)?;
        std::fs::write(made.both(), format!("{}{key}", made.pem))?;
        Ok(made)
    }

    /// The certificate's file.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// The private key's file.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// One file with both, as HAProxy wants it.
    pub(crate) fn both(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }
}
