//! [`Consumer`]: who calls.

use serde::Deserialize;

use crate::schema::{Check, Record};
use crate::{Entity, Id};

/// Who calls (kong/db/schema/entities/consumers.lua).
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["custom_id", "username"]))]
pub struct Consumer {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// A name to address it by.
    #[record(unique)]
    pub username: Option<String>,
    /// The id of the same party elsewhere.
    #[record(unique)]
    pub custom_id: Option<String>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
}

impl Entity for Consumer {
    const KIND: &'static str = "consumers";
}
