//! [`Id`] and [`Revision`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The primary key of every entity: a UUID, shown in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Uuid);

impl Id {
    /// A new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id Kong's declarative format gives an entity that names none: UUIDv5 of the kind's
    /// namespace and the entity's key (kong/db/schema/others/declarative_config.lua).
    pub fn derived(kind: &str, key: &str) -> Self {
        const DECLARATIVE: Uuid = Uuid::from_u128(0xfd02_801f_0957_4a15_a55a_c8d9_606f_30b5);
        let namespace = Uuid::new_v5(&DECLARATIVE, kind.as_bytes());
        Self(Uuid::new_v5(&namespace, key.as_bytes()))
    }

    /// Reads the 36-character form, any letter case; nothing else is an id.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 36).then(|| Uuid::from_str(text).ok()).flatten().map(Self)
    }

    /// The sixteen bytes, in the order they are printed.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id made of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a catalog: grows by one with every commit.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 32 alphanumeric characters, for keys and secrets the client leaves to the platform.
pub fn random_text() -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = String::with_capacity(32);
    while out.len() < 32 {
        // 62 * 4 = 248: bytes from there on would favour the first letters. The version and
        // variant bytes of a UUID are not random and are left out.
        let id = Id::random();
        let bytes = id.as_bytes().iter().enumerate().filter(|(at, _)| *at != 6 && *at != 8);
        for (_, byte) in bytes.filter(|(_, byte)| **byte < 248) {
            if out.len() < 32 {
                out.push(char::from(LETTERS[usize::from(*byte) % 62]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn declarative_ids_are_kongs() {
        assert_eq!(
            Id::derived("services", "a").to_string(),
            "72734e2a-702d-5711-b9ef-697178108ad8"
        );
    }

    #[test]
    fn only_the_long_form_is_an_id() {
        assert!(Id::parse("72734E2A-702d-5711-b9ef-697178108ad8").is_some());
        assert!(Id::parse("72734e2a702d5711b9ef697178108ad8").is_none());
        assert!(Id::parse("{72734e2a-702d-5711-b9ef-697178108ad}").is_none());
    }
}
