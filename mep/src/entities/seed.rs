//! [`Seed`]: what the platform once put into the catalog for itself.

use gateway_model::schema::Record;
use gateway_model::{Document, Entity, Id};
use serde::{Deserialize, Serialize};

/// One gateway entity the platform seeded, with the members it gave it. It tells an entity an
/// operator edited or deleted from one that is still as we left it.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct Seed {
    /// Derived from the kind and id of what was seeded, see [`Seed::id_of`].
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The members as seeded.
    pub document: Document,
}

impl Entity for Seed {
    const KIND: &'static str = "mep_seeds";
}

impl Seed {
    /// The id of the memory of an entity.
    pub fn id_of(kind: &str, id: Id) -> Id {
        Id::derived(Self::KIND, &format!("{kind}:{id}"))
    }
}
