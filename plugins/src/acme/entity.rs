//! [`AcmeStorage`]: what every node must know while certificates are got.

use gateway_model::schema::Record;
use gateway_model::{Entity, EntityType, Id, Secret};
use serde::Deserialize;

pub(super) static ACME_STORAGE: EntityType =
    EntityType::of::<AcmeStorage>().at("acme_storage", None).nested("acme_storage");

/// A value by name (kong/plugins/acme/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct AcmeStorage {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// The name.
    #[record(auto = Auto::RandomText, required(), unique())]
    #[expect(dead_code, reason = "found by the catalog's index")]
    key: String,
    /// The value; the keys of accounts are among them.
    #[record(auto = Auto::RandomText, required(), sealed())]
    pub(super) value: Secret<String>,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    created_at: u64,
    /// Seconds after its creation at which it stops to be known; unset keeps it for ever.
    #[record(between(0, 100_000_000))]
    ttl: Option<u64>,
}

impl Entity for AcmeStorage {
    const KIND: &'static str = "acme_storage";
}

impl AcmeStorage {
    /// Whether it is not known any more.
    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.ttl.is_some_and(|ttl| self.created_at.saturating_add(ttl) <= now)
    }
}
