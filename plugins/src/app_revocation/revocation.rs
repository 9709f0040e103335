//! [`Revocation`]: an application whose tokens are refused.

use gateway_model::schema::Record;
use gateway_model::{Entity, EntityType, Id};
use serde::Deserialize;

/// Written by the platform; the Admin API does not serve it.
pub(super) static REVOCATIONS: EntityType = EntityType::of::<Revocation>();

/// An application whose tokens are refused.
#[derive(Deserialize, Record)]
pub(super) struct Revocation {
    /// Primary key.
    #[expect(dead_code, reason = "a primary key is looked up, not read")]
    #[record(auto = Auto::Id)]
    id: Id,
    /// What the tokens have as `sub`.
    #[expect(dead_code, reason = "a unique field is looked up, not read")]
    #[record(unique)]
    subject: String,
    /// Tokens that expire at this moment or before are refused, Unix milliseconds.
    pub(super) expiring_until_ms: u64,
}

impl Entity for Revocation {
    const KIND: &'static str = "mep_revocations";
}
