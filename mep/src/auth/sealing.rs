//! Encryption at rest: AES-256-GCM with a fresh random nonce for every value.
//!
//! The columns and their spelling are the original's, so its rows open unchanged. Where the key comes
//! from is `key_material`.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A value that only the holder of the key can read, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The ciphertext with its 16-byte tag appended, in lower-case hexadecimal.
    #[serde(rename = "sk")]
    pub ciphertext_hex: String,
    /// The 12-byte nonce, in lower-case hexadecimal.
    #[serde(rename = "nonce")]
    pub nonce_hex: String,
}

/// A key that seals and opens values. Its `Debug` shows nothing.
pub struct SealingKey(RandomizedNonceKey);

impl SealingKey {
    /// The length of the key, in bytes.
    pub const LENGTH: usize = 32;

    /// Uses 32 secret bytes as the key.
    ///
    /// # Errors
    ///
    /// [`SealingFailed`] when the library refuses them.
    pub fn new(key: &[u8; Self::LENGTH]) -> Result<Self, SealingFailed> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(|_| SealingFailed)
    }

    /// Encrypts `plaintext`. Sealing the same value twice gives two different results.
    ///
    /// # Errors
    ///
    /// [`SealingFailed`] when the library refuses.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Sealed, SealingFailed> {
        let (ciphertext, nonce) = self.seal_bytes(plaintext)?;
        Ok(Sealed { ciphertext_hex: hex::encode(ciphertext), nonce_hex: hex::encode(nonce) })
    }

    /// Decrypts what [`Self::seal`] or the original encrypted under this key.
    ///
    /// # Errors
    ///
    /// [`SealingFailed`] for another key, a changed byte, or what is not hexadecimal.
    pub fn open(&self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealingFailed> {
        let ciphertext = hex::decode(&sealed.ciphertext_hex).map_err(|_| SealingFailed)?;
        let nonce = hex::decode(&sealed.nonce_hex).map_err(|_| SealingFailed)?;
        self.open_bytes(&ciphertext, &nonce)
    }

    /// [`Self::seal`] without the hexadecimal: ciphertext with tag, and nonce.
    pub(crate) fn seal_bytes(
        &self,
        plaintext: &[u8],
    ) -> Result<(Vec<u8>, [u8; NONCE_LEN]), SealingFailed> {
        let mut buffer = plaintext.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::empty(), &mut buffer)
            .map_err(|_| SealingFailed)?;
        Ok((buffer, *nonce.as_ref()))
    }

    /// [`Self::open`] without the hexadecimal.
    pub(crate) fn open_bytes(
        &self,
        ciphertext: &[u8],
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealingFailed> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealingFailed)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::empty(), &mut buffer)
            .map_err(|_| SealingFailed)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

/// A value could not be sealed or opened. Encryption does not say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be sealed or opened with this key")]
pub struct SealingFailed;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn key(first: u8) -> SealingKey {
        SealingKey::new(&std::array::from_fn(|at| first + at as u8)).unwrap()
    }

    #[test]
    fn the_original_s_row_opens() {
        let sealed = Sealed {
            ciphertext_hex: concat!(
                "dca639ba4b058d165b6120b6d9ee16d01e74d89b990f5ad3def68da980918ab5",
                "469d256cb3aa4b336cc6792b9dd67599de63e9e6e88042d27cc73108898119db",
                "e0ee951aa0eb07a337138e74f8f4a7de"
            )
            .to_owned(),
            nonce_hex: "0c0d0e0f1011121314151617".to_owned(),
        };
        assert_eq!(
            key(0).open(&sealed).unwrap().as_slice(),
            b"DXPb4sqElKhcHe07Kw5uorayETwId1JOjjOIRomRs5wyszoCR5R7AtVa28KT3lSc"
        );
        assert_eq!(key(1).open(&sealed), Err(SealingFailed));
    }

    #[test]
    fn values_come_back_and_are_never_sealed_alike() {
        for plaintext in [&b""[..], b"x", &[0; 64], &[0xff; 1000]] {
            let (one, other) = (key(0).seal(plaintext).unwrap(), key(0).seal(plaintext).unwrap());
            assert_ne!(one, other);
            assert_eq!(one.ciphertext_hex.len(), 2 * (plaintext.len() + 16));
            assert_eq!(one.nonce_hex.len(), 24);
            assert_eq!(key(0).open(&one).unwrap().as_slice(), plaintext);
        }
    }

    #[test]
    fn any_change_is_noticed() {
        let sealed = key(0).seal(b"secret").unwrap();
        let check = |ciphertext_hex: &str, nonce_hex: &str| {
            let sealed = Sealed {
                ciphertext_hex: ciphertext_hex.to_owned(),
                nonce_hex: nonce_hex.to_owned(),
            };
            assert_eq!(key(0).open(&sealed), Err(SealingFailed), "{sealed:?}");
        };
        let (ciphertext, nonce) = (sealed.ciphertext_hex.as_str(), sealed.nonce_hex.as_str());
        for at in 0..ciphertext.len() {
            let mut changed = ciphertext.to_owned().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            check(std::str::from_utf8(&changed).unwrap(), nonce);
        }
        check(ciphertext, &"0".repeat(24));
        check(ciphertext, &nonce[2..]);
        check(ciphertext, &format!("{nonce}00"));
        check(ciphertext, "");
        check(ciphertext, "not hexadecimal at all..");
        check(&ciphertext[2..], nonce);
        check(&ciphertext[..30], nonce);
        check("", nonce);
        check("é", nonce);
    }

    #[test]
    fn the_columns_are_named_as_in_the_original() {
        let sealed = Sealed { ciphertext_hex: "00".to_owned(), nonce_hex: "01".to_owned() };
        assert_eq!(serde_json::to_string(&sealed).unwrap(), r#"{"sk":"00","nonce":"01"}"#);
    }
}
