//! The RSA pair that signs and verifies the platform's tokens (RS512).

use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_RSA_SHA512, RsaKeySize};

use crate::CertsError;
use crate::create::{self, PRIVATE};

/// An RSA pair as PEM text. It has no `Debug`: one half is private.
pub struct RsaPem {
    /// `PRIVATE KEY` (PKCS#8), not encrypted.
    pub private: String,
    /// `PUBLIC KEY` (SubjectPublicKeyInfo), what a `jwt` credential takes.
    pub public: String,
}

/// Makes a new RSA pair of 2048, 3072 or 4096 bits.
///
/// # Errors
///
/// When the number of bits is another, or the random source fails.
pub fn generate_rsa_pem(bits: u32) -> Result<RsaPem, rcgen::Error> {
    let size = match bits {
        2048 => RsaKeySize::_2048,
        3072 => RsaKeySize::_3072,
        4096 => RsaKeySize::_4096,
        _ => return Err(rcgen::Error::KeyGenerationUnavailable),
    };
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA512, size)?;
    Ok(RsaPem { private: key.serialize_pem(), public: key.public_key_pem() })
}

/// Where the token pair is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtKeyFiles {
    /// `jwt_publickey`
    pub public: PathBuf,
    /// `jwt_privatekey`
    pub private: PathBuf,
    /// What was written by this call.
    pub created: Vec<PathBuf>,
}

/// Completes `dir` with the token pair, 2048 bits, both files mode 0600.
///
/// A private key that is there without its public key gets that one derived.
///
/// # Errors
///
/// - [`CertsError::KeyMissing`] when only the public key is there: tokens could not be signed.
/// - [`CertsError::Make`] when the private key cannot be read without a password.
/// - [`CertsError::File`] when the folder or a file cannot be read or written.
pub fn ensure_jwt_keys(dir: &Path) -> Result<JwtKeyFiles, CertsError> {
    create::folder(dir)?;
    let (public, private) = (dir.join("jwt_publickey"), dir.join("jwt_privatekey"));
    let mut created = Vec::new();
    let public_there = create::read(&public)?.is_some();
    if create::read(&private)?.is_none() {
        if public_there {
            return Err(CertsError::KeyMissing { public, key: private });
        }
        let pair = generate_rsa_pem(2048)
            .map_err(|cause| CertsError::Make { path: private.clone(), cause })?;
        create::note(&private, &pair.private, PRIVATE, &mut created)?;
    }
    if !public_there {
        // Read again rather than kept from above: another process may have written first.
        let text = create::read(&private)?.unwrap_or_default();
        let key = KeyPair::from_pem(&text)
            .map_err(|cause| CertsError::Make { path: private.clone(), cause })?;
        create::note(&public, &key.public_key_pem(), PRIVATE, &mut created)?;
    }
    Ok(JwtKeyFiles { public, private, created })
}
