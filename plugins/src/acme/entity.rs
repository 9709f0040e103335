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
    pub(super) key: String,
    /// The value; the keys of accounts are among them.
    #[record(auto = Auto::RandomText, required(), sealed())]
    pub(super) value: Secret<String>,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for operators")]
    created_at: u64,
    /// When it stops to be known, in Unix milliseconds; unset keeps it for ever.
    #[record(expires)]
    ttl: Option<u64>,
}

impl Entity for AcmeStorage {
    const KIND: &'static str = "acme_storage";
}

impl AcmeStorage {
    /// Whether it is not known any more at `now`, in Unix milliseconds.
    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.ttl.is_some_and(|end| end <= now)
    }
}
