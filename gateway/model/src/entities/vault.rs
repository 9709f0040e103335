//! [`Vault`]: where references such as `{vault://my-env/key}` are resolved.

use serde::Deserialize;

use crate::entity::Variant;
use crate::schema::Record;
use crate::{Document, Entity, Id};

/// A place secrets are kept in, under a name of its own (kong/db/schema/entities/vaults.lua).
#[derive(Clone, Debug, Deserialize, Record)]
pub struct Vault {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// What references call it.
    #[record(unique_across_workspaces, rule = Rule::NotOneOf(vec!["env".into()]))]
    #[record(matches("^[a-z][a-z0-9-]*?[a-z0-9]+$"))]
    pub prefix: String,
    /// Which kind of vault: `env`.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The record of that kind.
    #[record(abstract_record)]
    pub config: Document,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
}

impl Entity for Vault {
    const KIND: &'static str = "vaults";
}

/// Environment variables.
#[derive(Clone, Debug, Deserialize, Record)]
pub struct EnvVault {
    /// What stands before the name of every variable.
    #[record(matches("^[A-Za-z_-][A-Za-z0-9_-]*$"))]
    pub prefix: Option<String>,
}

/// The kinds of vault there are.
pub(super) static VARIANTS: [Variant; 1] = [Variant::of::<EnvVault>("env")];

pub(super) fn unknown(name: &str) -> String {
    format!("vault '{name}' is not installed")
}
