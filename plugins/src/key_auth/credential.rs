//! [`KeyAuthCredential`]: a key of one consumer.

use gateway_model::entities::Consumer;
use gateway_model::schema::Record;
use gateway_model::{Entity, EntityType, Id, Ref, Secret};
use serde::Deserialize;

pub(super) static KEYAUTH_CREDENTIALS: EntityType =
    EntityType::of::<KeyAuthCredential>().at("key-auths", Some("key")).nested("key-auth");

/// A key of one consumer (kong/plugins/key-auth/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct KeyAuthCredential {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for the Admin API")]
    created_at: u64,
    /// Whose key this is.
    #[record(cascade)]
    pub(super) consumer: Ref<Consumer>,
    /// The key.
    #[record(auto = Auto::RandomText, unique, sealed)]
    #[expect(dead_code, reason = "found by the catalog's index")]
    key: Secret<String>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    #[expect(dead_code, reason = "for the Admin API")]
    tags: Option<Vec<String>>,
    /// When the key stops to be known, in Unix milliseconds; unset keeps it for ever.
    #[record(expires)]
    ttl: Option<u64>,
}

impl Entity for KeyAuthCredential {
    const KIND: &'static str = "keyauth_credentials";
}

impl KeyAuthCredential {
    /// Whether its time is over at `now`, in Unix milliseconds.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.ttl.is_some_and(|end| end <= now)
    }
}
