//! [`Change`]: one wish of a writer; [`Write`]: what became of it.

use std::sync::Arc;

use crate::catalog::Stored;
use crate::{Document, Id, Key};

/// One wish: what to do to one entity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// Creates; refused when the id or a unique value is taken.
    Insert {
        /// The kind to create.
        kind: &'static str,
        /// Its members; an id may be among them.
        document: Document,
    },
    /// Creates or replaces from a document as it was stored: its times are kept, and hashes are
    /// not hashed again.
    Restore {
        /// The kind to write.
        kind: &'static str,
        /// Its members; an id may be among them.
        document: Document,
    },
    /// Creates or replaces: absent members return to their defaults.
    Upsert {
        /// The kind to write.
        kind: &'static str,
        /// Which one; a unique key is written into the document.
        key: Key,
        /// All members.
        document: Document,
    },
    /// Merges members into an existing entity.
    Patch {
        /// The kind to write.
        kind: &'static str,
        /// Which one.
        key: Key,
        /// The members to change.
        document: Document,
    },
    /// Removes an entity with what cascades. Removing what is not there is no error.
    Delete {
        /// The kind to remove.
        kind: &'static str,
        /// Which one.
        key: Key,
    },
    /// Removes every entity whose time is over in the writer's turn, with what cascades.
    Expire,
    /// Refuses the whole set unless the condition holds in the writer's turn.
    Require(Condition),
}

/// A fact that must hold when the writer applies a set of changes.
#[derive(Clone)]
pub struct Condition(Arc<Holds>);

type Holds = dyn Fn(&crate::Catalog) -> Result<(), String> + Send + Sync;

impl Condition {
    /// A condition on the catalog the changes are applied to; the text tells why it fails.
    pub fn new(
        holds: impl Fn(&crate::Catalog) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(holds))
    }

    pub(crate) fn check(&self, catalog: &crate::Catalog) -> Result<(), String> {
        (self.0)(catalog)
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Condition")
    }
}

/// One entity before and after a commit. Cascades appear as writes of their own.
#[derive(Clone, Debug)]
pub struct Write {
    /// The kind written.
    pub kind: &'static str,
    /// Which one.
    pub id: Id,
    /// What was there.
    pub before: Option<Arc<Stored>>,
    /// What is there now; `None` after a delete.
    pub after: Option<Arc<Stored>>,
}
