//! The RSA key pair that tokens are signed with: reading it from the PEM forms that installations
//! have, making a new one, and writing both halves.
//!
//! Which file it is in and who may read that file is the caller's business.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use pem::{EncodeConfig, LineEnding, Pem};
use pkcs8::EncryptedPrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::legacy_pem::{self, LegacyPemError};

/// An RSA private key of 2048 to 8192 bits, parsed once. Its `Debug` shows nothing.
pub struct RsaPrivateKey(RsaKeyPair);

impl RsaPrivateKey {
    /// Reads the first private key of a PEM text.
    ///
    /// Understood are `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1), the latter encrypted in
    /// OpenSSL's old way, and `ENCRYPTED PRIVATE KEY` (PKCS#8 with PBES2: AES or triple DES, by
    /// PBKDF2 or scrypt), which OpenSSL 3 writes and the original could not read. `password` is not
    /// looked at when the key is not encrypted.
    ///
    /// # Errors
    ///
    /// A [`KeyFileError`] that names what is wrong and never quotes the key or the password.
    pub fn from_pem(text: &[u8], password: Option<&[u8]>) -> Result<Self, KeyFileError> {
        let blocks = pem::parse_many(text).map_err(|_| KeyFileError::Malformed)?;
        let block = blocks
            .iter()
            .find(|block| block.tag().ends_with("PRIVATE KEY"))
            .ok_or(KeyFileError::NoPrivateKey)?;
        let needed = || password.ok_or(KeyFileError::PasswordMissing);

        let pair = match block.tag() {
            "RSA PRIVATE KEY" if legacy_pem::is_encrypted(block) => {
                let der = legacy_pem::decrypt(block, needed()?)?;
                RsaKeyPair::from_der(&der).map_err(|_| KeyFileError::Password)?
            }
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(block.contents()).map_err(rejected)?,
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(block.contents()).map_err(rejected)?,
            "ENCRYPTED PRIVATE KEY" => {
                let der = decrypt_pkcs8(block.contents(), needed()?)?;
                RsaKeyPair::from_pkcs8(&der).map_err(rejected)?
            }
            other => return Err(KeyFileError::OtherKey(other.to_owned())),
        };
        Ok(Self(pair))
    }

    /// A fresh key of 2048 bits. Takes a noticeable part of a second.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Generate`] when the random source fails.
    pub fn generate() -> Result<Self, KeyFileError> {
        RsaKeyPair::generate(KeySize::Rsa2048).map(Self).map_err(|_| KeyFileError::Generate)
    }

    /// The private key as unencrypted PKCS#8 PEM.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Encode`] when the library cannot encode it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyFileError> {
        let der: Pkcs8V1Der<'_> = self.0.as_der().map_err(|_| KeyFileError::Encode)?;
        let block = Pem::new("PRIVATE KEY", der.as_ref());
        Ok(Zeroizing::new(encode(&block)))
    }

    /// The public half as PEM, block type `PUBLIC KEY`: what a `jwt` credential is given.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Encode`] when the library cannot encode it.
    pub fn public_key_pem(&self) -> Result<String, KeyFileError> {
        let der: PublicKeyX509Der<'_> =
            self.0.public_key().as_der().map_err(|_| KeyFileError::Encode)?;
        Ok(encode(&Pem::new("PUBLIC KEY", der.as_ref())))
    }

    /// Whether `public` is this key's other half.
    pub fn matches(&self, public: &RsaPublicKey) -> bool {
        let der: Result<PublicKeyX509Der<'_>, _> = self.0.public_key().as_der();
        der.is_ok_and(|der| der.as_ref() == public.0.contents())
    }

    pub(crate) fn pair(&self) -> &RsaKeyPair {
        &self.0
    }
}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaPrivateKey(..)")
    }
}

/// An RSA public key from a PEM block of the type `PUBLIC KEY`, which is the only type the original
/// took.
#[derive(Clone, Debug)]
pub struct RsaPublicKey(Pem);

impl RsaPublicKey {
    /// Reads the first block of a PEM text.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::NotPublicKey`] when the block has another type, and others when it is not PEM
    /// or holds no RSA key.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyFileError> {
        let blocks = pem::parse_many(text).map_err(|_| KeyFileError::Malformed)?;
        let block = blocks
            .into_iter()
            .next()
            .filter(|block| block.tag() == "PUBLIC KEY")
            .ok_or(KeyFileError::NotPublicKey)?;
        let key = Self(block);
        jsonwebtoken::DecodingKey::from_rsa_pem(key.to_pem().as_bytes())
            .map_err(|_| KeyFileError::NotRsa)?;
        Ok(key)
    }

    /// The key as PEM, in canonical lines.
    pub fn to_pem(&self) -> String {
        encode(&self.0)
    }
}

/// Why a key could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The text is not PEM, or a block of it is damaged.
    #[error("the text is not PEM, or a block of it is damaged")]
    Malformed,
    /// There are PEM blocks perhaps, but none is a private key.
    #[error("there is no private key block in it")]
    NoPrivateKey,
    /// A private key, but not RSA; holds the block's type.
    #[error("a block of the type `{0}` is not an RSA key")]
    OtherKey(String),
    /// The key is encrypted and no password was given.
    #[error("the key is encrypted and no password was given")]
    PasswordMissing,
    /// The password is wrong, or the block is damaged; encryption without a check cannot tell.
    #[error("the password does not open the key")]
    Password,
    /// The encryption is none that is supported; says which.
    #[error("the key's encryption is not supported: {0}")]
    Encryption(String),
    /// The key was read but the library refuses it (for its size, say).
    #[error("the key was refused: {0}")]
    Refused(String),
    /// The first PEM block is not a `PUBLIC KEY`.
    #[error("the first block must be of the type `PUBLIC KEY`")]
    NotPublicKey,
    /// A public key, but not RSA.
    #[error("the public key is not an RSA key")]
    NotRsa,
    /// No key could be generated.
    #[error("no key could be generated")]
    Generate,
    /// The key could not be encoded.
    #[error("the key could not be encoded")]
    Encode,
}

impl From<LegacyPemError> for KeyFileError {
    fn from(error: LegacyPemError) -> Self {
        match error {
            LegacyPemError::Password => Self::Password,
            LegacyPemError::Header | LegacyPemError::Cipher(_) => {
                Self::Encryption(error.to_string())
            }
        }
    }
}

fn decrypt_pkcs8(der: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|error| KeyFileError::Encryption(error.to_string()))?;
    // Anything but PBES2 is refused before the password is looked at.
    let parameters = info
        .encryption_algorithm
        .pbes2()
        .ok_or_else(|| KeyFileError::Encryption("it is not PBES2".to_owned()))?;
    parameters
        .decrypt(password, info.encrypted_data.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| KeyFileError::Password)
}

fn rejected(error: aws_lc_rs::error::KeyRejected) -> KeyFileError {
    KeyFileError::Refused(error.to_string())
}

fn encode(block: &Pem) -> String {
    pem::encode_config(block, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

#[cfg(test)]
mod tests;
