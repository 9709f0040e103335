//! [`Sni`]: a server name and the certificate shown for it.

use serde::Deserialize;

use super::Certificate;
use crate::schema::Record;
use crate::{Entity, Id, Ref};

/// A server name and the certificate shown for it (kong/db/schema/entities/snis.lua).
#[derive(Clone, Debug, Deserialize, Record)]
pub struct Sni {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The name, or a wildcard as its first or last label.
    #[record(unique_across_workspaces, is("wildcard_host", types::wildcard_host))]
    pub name: String,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
    /// The certificate shown.
    #[record(cascade)]
    pub certificate: Ref<Certificate>,
}

impl Entity for Sni {
    const KIND: &'static str = "snis";
}
