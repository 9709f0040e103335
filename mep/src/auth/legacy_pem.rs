//! The encryption inside a PEM block that OpenSSL used before PKCS#8: `Proc-Type: 4,ENCRYPTED` and a
//! `DEK-Info` header naming a CBC cipher and its IV.
//!
//! It is weak by today's measure (one round of MD5, no integrity check) and only ever read, since the
//! original's installer writes its JWT key this way. Nothing here encrypts.

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use md5::{Digest, Md5};
use pem::Pem;
use zeroize::Zeroizing;

/// Whether a block says that it is encrypted in this way.
pub(crate) fn is_encrypted(block: &Pem) -> bool {
    block.headers().get("Proc-Type").is_some_and(|kind| kind.ends_with("ENCRYPTED"))
}

/// The contents of an encrypted block under `password`.
///
/// A wrong password is noticed by the padding in all but one of some 256 cases; the caller's parser
/// notices the rest.
pub(crate) fn decrypt(block: &Pem, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, LegacyPemError> {
    let info = block.headers().get("DEK-Info").unwrap_or_default();
    let (cipher, iv) = info.split_once(',').ok_or(LegacyPemError::Header)?;
    let iv = hex::decode(iv.trim()).map_err(|_| LegacyPemError::Header)?;
    let open = match cipher {
        "AES-128-CBC" => open::<Decryptor<aes::Aes128>>,
        "AES-192-CBC" => open::<Decryptor<aes::Aes192>>,
        "AES-256-CBC" => open::<Decryptor<aes::Aes256>>,
        "DES-EDE3-CBC" => open::<Decryptor<des::TdesEde3>>,
        "DES-CBC" => open::<Decryptor<des::Des>>,
        other => return Err(LegacyPemError::Cipher(other.to_owned())),
    };
    open(password, &iv, block.contents())
}

/// Why an encrypted block could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LegacyPemError {
    #[error("the DEK-Info header is not `CIPHER,IV`")]
    Header,
    #[error("the cipher {0} is not supported")]
    Cipher(String),
    #[error("the password does not fit")]
    Password,
}

fn open<D: KeyIvInit + BlockModeDecrypt>(
    password: &[u8],
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, LegacyPemError> {
    let salt = iv.get(..8).ok_or(LegacyPemError::Header)?;
    let key = key_from_password(password, salt, D::key_size());
    D::new_from_slices(&key, iv)
        .map_err(|_| LegacyPemError::Header)?
        .decrypt_padded_vec::<Pkcs7>(ciphertext)
        .map(Zeroizing::new)
        .map_err(|_| LegacyPemError::Password)
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one iteration.
fn key_from_password(password: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut last: Option<Zeroizing<[u8; 16]>> = None;
    while key.len() < length {
        let mut hash = Md5::new();
        if let Some(last) = &last {
            hash.update(last.as_slice());
        }
        hash.update(password);
        hash.update(salt);
        let block = Zeroizing::new(<[u8; 16]>::from(hash.finalize()));
        key.extend_from_slice(block.as_slice());
        last = Some(block);
    }
    key.truncate(length);
    key
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use cbc::Encryptor;
    use cbc::cipher::BlockModeEncrypt;

    use super::*;

    const IV: &str = "00112233445566778899AABBCCDDEEFF";

    fn block(headers: &[(&str, &str)], contents: &[u8]) -> Pem {
        let mut block = Pem::new("RSA PRIVATE KEY", contents);
        for (name, value) in headers {
            block.headers_mut().add(name, value).unwrap();
        }
        block
    }

    /// Encrypts with the cipher `E`, then reads the block back under the name `cipher`.
    fn check<E: KeyIvInit + BlockModeEncrypt>(cipher: &str, iv_bytes: usize) {
        let plain = b"any length of contents will do";
        let iv_hex = &IV[..iv_bytes * 2];
        let iv = hex::decode(iv_hex).unwrap();
        let key = key_from_password(b"secret", &iv[..8], E::key_size());
        let encrypted = E::new_from_slices(&key, &iv).unwrap().encrypt_padded_vec::<Pkcs7>(plain);
        let info = format!("{cipher},{iv_hex}");
        let block = block(&[("Proc-Type", "4,ENCRYPTED"), ("DEK-Info", &info)], &encrypted);
        assert!(is_encrypted(&block));
        assert_eq!(decrypt(&block, b"secret").unwrap().as_slice(), plain, "{cipher}");
        let wrong = decrypt(&block, b"Secret").map(|bytes| bytes.to_vec());
        assert!(wrong.is_err() || wrong.unwrap() != plain, "{cipher}");
    }

    #[test]
    fn each_cipher_opens_what_it_closed() {
        check::<Encryptor<aes::Aes128>>("AES-128-CBC", 16);
        check::<Encryptor<aes::Aes192>>("AES-192-CBC", 16);
        check::<Encryptor<aes::Aes256>>("AES-256-CBC", 16);
        check::<Encryptor<des::TdesEde3>>("DES-EDE3-CBC", 8);
        check::<Encryptor<des::Des>>("DES-CBC", 8);
    }

    #[test]
    fn damaged_headers_and_contents_are_errors() {
        let check = |info: &str, contents: &[u8]| {
            let block = block(&[("DEK-Info", info)], contents);
            assert!(!is_encrypted(&block));
            decrypt(&block, b"secret").unwrap_err().to_string()
        };
        let header = "the DEK-Info header is not `CIPHER,IV`";
        assert_eq!(check("", &[0; 16]), header);
        assert_eq!(check("AES-256-CBC", &[0; 16]), header);
        assert_eq!(check("AES-256-CBC,xyz", &[0; 16]), header);
        assert_eq!(check("AES-256-CBC,0011", &[0; 16]), header);
        assert_eq!(check("AES-256-CBC,0011223344556677", &[0; 16]), header);
        assert_eq!(
            check(&format!("RC2-CBC,{IV}"), &[0; 16]),
            "the cipher RC2-CBC is not supported"
        );
        let password = "the password does not fit";
        let info = format!("AES-256-CBC,{IV}");
        assert_eq!(check(&info, &[]), password);
        assert_eq!(check(&info, &[0; 15]), password);
        assert_eq!(check(&info, &[0; 16]), password);
    }
}
