//! [`Seal`]: what makes a cookie unreadable and unforgeable: AES-256-GCM under a key derived from
//! the configured secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Seals values so that only the same secret opens them, and only for the same use.
pub(super) struct Seal(RandomizedNonceKey);

impl Seal {
    pub(super) fn new(secret: &str) -> Option<Self> {
        let derived = Salt::new(HKDF_SHA256, b"gateway session").extract(secret.as_bytes());
        let mut key = [0; 32];
        derived.expand(&[b"cookie"], &AES_256_GCM).ok()?.fill(&mut key).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok().map(Self)
    }

    /// `use_` tells what the value is for; it must be the same when it is opened.
    pub(super) fn close(&self, value: &impl Serialize, use_: &str) -> Option<String> {
        let mut sealed = serde_json::to_vec(value).ok()?;
        let nonce =
            self.0.seal_in_place_append_tag(Aad::from(use_.as_bytes()), &mut sealed).ok()?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut sealed);
        Some(BASE64_URL_SAFE_NO_PAD.encode(whole))
    }

    /// What was sealed; `None` when it was not, or for another use.
    pub(super) fn open<T: DeserializeOwned>(&self, text: &str, use_: &str) -> Option<T> {
        let whole = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = whole.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::from(use_.as_bytes()), &mut sealed).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::Seal;

    #[test]
    fn what_is_sealed_opens_for_the_same_use_only() {
        let seal = Seal::new("secret").unwrap();
        let text = seal.close(&["a", "b"], "session").unwrap();
        assert_ne!(text, seal.close(&["a", "b"], "session").unwrap(), "another nonce");
        assert_eq!(seal.open::<Vec<String>>(&text, "session").unwrap(), ["a", "b"]);
        assert_eq!(seal.open::<Vec<String>>(&text, "remember"), None);
        assert_eq!(Seal::new("other").unwrap().open::<Vec<String>>(&text, "session"), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(seal.open::<Vec<String>>(&forged, "session"), None, "{at}");
        }
        for junk in ["", "A", "!", "AAAAAAAAAAAAAAAA", &text[..text.len() - 4]] {
            assert_eq!(seal.open::<Vec<String>>(junk, "session"), None, "{junk}");
        }
    }
}
