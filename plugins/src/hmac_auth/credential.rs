//! [`HmacAuthCredential`]: a user name and the secret its requests are signed with.

use gateway_model::entities::Consumer;
use gateway_model::schema::Record;
use gateway_model::{Entity, EntityType, Id, Ref, Secret};
use serde::Deserialize;

pub(super) static HMACAUTH_CREDENTIALS: EntityType =
    EntityType::of::<HmacAuthCredential>().at("hmac-auths", Some("username")).nested("hmac-auth");

/// A user name and the secret its requests are signed with (kong/plugins/hmac-auth/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct HmacAuthCredential {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for the Admin API")]
    created_at: u64,
    /// Whose requests these are.
    #[record(cascade)]
    pub(super) consumer: Ref<Consumer>,
    /// What a signature names it by.
    #[record(unique)]
    pub(super) username: String,
    /// What requests are signed with; random when it is not given.
    #[record(auto = Auto::RandomText, sealed)]
    pub(super) secret: Secret<String>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    #[expect(dead_code, reason = "for the Admin API")]
    tags: Option<Vec<String>>,
}

impl Entity for HmacAuthCredential {
    const KIND: &'static str = "hmacauth_credentials";
}
