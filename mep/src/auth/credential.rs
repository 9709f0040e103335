//! The values an app authenticates with, valid by construction: app instance id, access key and
//! secret key.
//!
//! It also knows which of them the original published as chart defaults, so that a start can refuse
//! them. How they are stored is `sealing`, how they are used is `signature`.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_model::Id;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The identity of one app instance: a lower-case UUID of any version, 36 characters.
///
/// It is the `sub` claim of the tokens issued to that app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppInstanceId(String);

impl AppInstanceId {
    /// Accepts exactly `8-4-4-4-12` lower-case hexadecimal digits; nothing is normalised.
    ///
    /// # Errors
    ///
    /// [`InvalidCredential::AppInstanceId`] for anything else, upper-case digits included.
    pub fn parse(text: &str) -> Result<Self, InvalidCredential> {
        let well_formed = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        well_formed.then(|| Self(text.to_owned())).ok_or(InvalidCredential::AppInstanceId)
    }

    /// What the catalog knows an app by, from its id as it stands in paths and tokens; `None` for
    /// a text that is none.
    pub fn id(text: &str) -> Option<Id> {
        Self::parse(text).ok().and_then(|valid| Id::parse(&valid.0))
    }

    /// A fresh random (version 4) id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id as it appears in paths and tokens.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the bootstrap app's id that the original's chart published.
    pub fn is_published_default(&self) -> bool {
        self.0 == PUBLISHED_APP_INSTANCE_ID
    }
}

/// The public half of a key pair: 20 characters of `[0-9A-Za-z_+/=]`.
///
/// It travels in clear in every token request, so it may be logged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccessKey(String);

impl AccessKey {
    /// The only length an access key has, in characters.
    pub const LENGTH: usize = 20;

    /// Accepts exactly [`Self::LENGTH`] key characters.
    ///
    /// # Errors
    ///
    /// [`InvalidCredential::AccessKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidCredential> {
        (text.len() == Self::LENGTH && text.bytes().all(is_key_character))
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidCredential::AccessKey)
    }

    /// A fresh key of 15 random bytes in base64.
    ///
    /// # Errors
    ///
    /// [`RandomFailed`] when the system's random source does not answer.
    pub fn random() -> Result<Self, RandomFailed> {
        Ok(Self(STANDARD.encode(random::<15>()?.as_slice())))
    }

    /// The key as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the bootstrap access key that the original's chart published.
    pub fn is_published_default(&self) -> bool {
        self.0 == PUBLISHED_ACCESS_KEY
    }
}

/// The private half of a key pair: 64 characters of `[0-9A-Za-z_+/=]`.
///
/// It has no `Display` and no `Serialize`, its `Debug` shows nothing, and its memory is wiped when it
/// is dropped; who needs the text says so with [`SecretKey::expose`].
#[derive(Clone)]
pub struct SecretKey(Zeroizing<String>);

impl SecretKey {
    /// The only length a secret key has, in characters.
    pub const LENGTH: usize = 64;

    /// Accepts exactly [`Self::LENGTH`] key characters.
    ///
    /// # Errors
    ///
    /// [`InvalidCredential::SecretKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidCredential> {
        (text.len() == Self::LENGTH && text.bytes().all(is_key_character))
            .then(|| Self(Zeroizing::new(text.to_owned())))
            .ok_or(InvalidCredential::SecretKey)
    }

    /// A fresh key of 48 random bytes in base64.
    ///
    /// # Errors
    ///
    /// [`RandomFailed`] when the system's random source does not answer.
    pub fn random() -> Result<Self, RandomFailed> {
        Ok(Self(Zeroizing::new(STANDARD.encode(random::<48>()?.as_slice()))))
    }

    /// The secret text. Never log it, never put it into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the bootstrap secret key that the original's chart published.
    pub fn is_published_default(&self) -> bool {
        self.expose() == PUBLISHED_SECRET_KEY
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Whether a key component is the 256-byte one that the original's chart published.
///
/// Only the part that is used counts: the first 256 bytes.
pub fn is_published_key_component(component: &[u8]) -> bool {
    let used = component.get(..256).unwrap_or(component);
    digest(&SHA256, used).as_ref() == PUBLISHED_KEY_COMPONENT_SHA256
}

/// Fills an array from the system's random source.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, RandomFailed> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| RandomFailed)?;
    Ok(bytes)
}

/// Why a text is not one of the credential types. It never carries the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCredential {
    /// Not a lower-case UUID.
    #[error("an app instance id is a UUID in lower case")]
    AppInstanceId,
    /// Not 20 key characters.
    #[error("an access key has 20 characters of 0-9, A-Z, a-z, _, +, / and =")]
    AccessKey,
    /// Not 64 key characters.
    #[error("a secret key has 64 characters of 0-9, A-Z, a-z, _, +, / and =")]
    SecretKey,
}

/// The system's random source did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random source did not answer")]
pub struct RandomFailed;

/// Go's `[\w+/=]`: its `\w` is ASCII.
fn is_key_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'/' | b'=')
}

macro_rules! text_conversions {
    ($type:ty) => {
        impl FromStr for $type {
            type Err = InvalidCredential;

            fn from_str(text: &str) -> Result<Self, InvalidCredential> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidCredential;

            fn try_from(text: String) -> Result<Self, InvalidCredential> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_conversions!(AppInstanceId);
text_conversions!(AccessKey);

// What every reader of the original's chart knows, hence never a secret here.
const PUBLISHED_APP_INSTANCE_ID: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
const PUBLISHED_ACCESS_KEY: &str = "QVUJMSUMgS0VZLS0tLS0";
const PUBLISHED_SECRET_KEY: &str =
    "DXPb4sqElKhcHe07Kw5uorayETwId1JOjjOIRomRs5wyszoCR5R7AtVa28KT3lSc";
const PUBLISHED_KEY_COMPONENT_SHA256: [u8; 32] = [
    0x22, 0x28, 0x01, 0xc7, 0x41, 0x37, 0x46, 0xdd, 0x01, 0xaf, 0x59, 0xed, 0x28, 0x2f, 0x5f, 0x6f,
    0xd3, 0x24, 0x77, 0x3f, 0xdf, 0xd7, 0x8b, 0x4b, 0x93, 0x37, 0x94, 0xa6, 0x61, 0x5c, 0x7c, 0xc8,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn app_instance_ids_are_lower_case_uuids() {
        let check = |text: &str, valid: bool| {
            assert_eq!(AppInstanceId::parse(text).is_ok(), valid, "{text:?}");
        };
        check("5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f", true);
        check("00000000-0000-0000-0000-000000000000", true);
        check("5ABE4782-2C70-4E47-9A4E-0EE3A1A0FD1F", false);
        check("5abe47822c704e479a4e0ee3a1a0fd1f", false);
        check("{5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1}", false);
        check("5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1g", false);
        check("5abe4782-2c70-4e47-9a4e_0ee3a1a0fd1f", false);
        check(" 5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1", false);
        check("5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f\n", false);
        check("", false);
    }

    #[test]
    fn keys_have_one_length_and_one_alphabet() {
        let check = |text: String, access: bool, secret: bool| {
            assert_eq!(AccessKey::parse(&text).is_ok(), access, "{text:?}");
            assert_eq!(SecretKey::parse(&text).is_ok(), secret, "{text:?}");
        };
        check("AbCdEfGhIjKlMnOpQr+=".to_owned(), true, false);
        check("_/09azAZ+=".repeat(2), true, false);
        check("a".repeat(19), false, false);
        check("a".repeat(21), false, false);
        check("a".repeat(63), false, false);
        check("a".repeat(64), false, true);
        check("a".repeat(65), false, false);
        check(format!("{}-", "a".repeat(19)), false, false);
        check(format!("{}\n", "a".repeat(63)), false, false);
        // 20 bytes, and 20 characters that are more bytes
        check("é".repeat(10), false, false);
        check("é".repeat(20), false, false);
    }

    #[test]
    fn random_values_are_valid_and_differ() {
        let (one, other) = (AccessKey::random().unwrap(), AccessKey::random().unwrap());
        assert_eq!(AccessKey::parse(one.as_str()), Ok(one.clone()));
        assert_ne!(one, other);

        let (one, other) = (SecretKey::random().unwrap(), SecretKey::random().unwrap());
        assert!(SecretKey::parse(one.expose()).is_ok());
        assert_ne!(one.expose(), other.expose());

        let id = AppInstanceId::random();
        assert_eq!(AppInstanceId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn published_defaults_are_recognised() {
        assert!(AppInstanceId::parse(PUBLISHED_APP_INSTANCE_ID).unwrap().is_published_default());
        assert!(AccessKey::parse(PUBLISHED_ACCESS_KEY).unwrap().is_published_default());
        assert!(SecretKey::parse(PUBLISHED_SECRET_KEY).unwrap().is_published_default());
        assert!(!AppInstanceId::random().is_published_default());
        assert!(!AccessKey::random().unwrap().is_published_default());
        assert!(!SecretKey::random().unwrap().is_published_default());
        assert!(!is_published_key_component(&[b'a'; 256]));
        assert!(!is_published_key_component(b""));
    }

    #[test]
    fn a_secret_key_is_not_printed() {
        let key = SecretKey::parse(PUBLISHED_SECRET_KEY).unwrap();
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }

    #[test]
    fn json_is_held_to_the_same_rules() {
        let id = "\"5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f\"";
        let parsed: AppInstanceId = serde_json::from_str(id).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), id);
        assert!(serde_json::from_str::<AppInstanceId>("\"x\"").is_err());
        assert!(serde_json::from_str::<AccessKey>("\"short\"").is_err());
    }
}
