//! [`AclGroup`]: membership of one consumer in one group.

use gateway_model::entities::Consumer;
use gateway_model::schema::Record;
use gateway_model::{Entity, EntityType, Id, Ref};
use serde::Deserialize;

pub(super) static ACLS: EntityType = EntityType::of::<AclGroup>()
    .at("acls", None)
    .nested_key("group")
    .nested("acls")
    .unique_together(&[&["consumer", "group"]]);

/// Membership of one consumer in one group (kong/plugins/acl/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct AclGroup {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for the Admin API")]
    created_at: u64,
    /// The member.
    #[record(cascade)]
    #[expect(dead_code, reason = "found by the catalog's index")]
    consumer: Ref<Consumer>,
    /// The group's name.
    pub(super) group: String,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    #[expect(dead_code, reason = "for the Admin API")]
    tags: Option<Vec<String>>,
}

impl Entity for AclGroup {
    const KIND: &'static str = "acls";
}
