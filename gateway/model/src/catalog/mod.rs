//! [`Catalog`]: everything configured, valid and consistent, at one revision.
//!
//! A catalog never changes. [`Catalog::edit`] makes the next one, which shares all it did not
//! touch, so that keeping a hundred revisions costs little more than keeping one.

mod collection;
mod edit;
mod follow;
mod listing;
mod resolve;
mod stored;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use collection::Collection;
pub use edit::Edit;
pub use stored::{Item, Stored};

use crate::{Document, Entity, Id, Key, Registry, Rejection, Revision, reference};

/// Everything configured, at one revision. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    registry: Arc<Registry>,
    revision: Revision,
    collections: Vec<Arc<Collection>>,
}

impl Catalog {
    /// Nothing configured yet.
    pub fn empty(registry: Arc<Registry>) -> Self {
        let collections =
            registry.kinds().iter().map(|kind| Arc::new(Collection::new(kind))).collect();
        Self { registry, revision: Revision::default(), collections }
    }

    /// What a store holds. Documents were valid when they were written; defaults of fields that
    /// came later are filled in. Kinds this process does not know are left out.
    ///
    /// # Errors
    ///
    /// A document its type cannot read any more.
    pub fn load(
        registry: Arc<Registry>,
        revision: Revision,
        documents: impl IntoIterator<Item = (String, Document)>,
    ) -> Result<Self, Rejection> {
        let mut catalog = Self::empty(registry);
        catalog.revision = revision;
        for (kind, mut document) in documents {
            let Some(index) = catalog.registry.index(&kind) else { continue };
            let kind = catalog.registry.kinds()[index];
            let violations = catalog.registry.complete(kind, &mut document);
            if !violations.is_empty() {
                return Err(Rejection::Invalid(violations));
            }
            let stored = catalog.typed(kind, document)?;
            Arc::make_mut(&mut catalog.collections[index]).put(stored);
        }
        // Vaults may have come after what refers to them.
        catalog.renew(|vault| vault != reference::ENV);
        Ok(catalog)
    }

    /// Its number.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The kinds and plugins it is made of.
    pub const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Begins the next catalog; `now` is Unix milliseconds.
    pub fn edit(self: &Arc<Self>, now: u64) -> Edit {
        Edit::new(Self::clone(self), now)
    }

    /// All entities of a kind, `None` for a kind unknown to the registry.
    pub fn collection(&self, kind: &str) -> Option<&Collection> {
        self.registry.index(kind).map(|index| &*self.collections[index])
    }

    /// The same, kept: the very same object in every catalog in which nothing of it differs.
    pub fn shared(&self, kind: &str) -> Option<&Arc<Collection>> {
        self.registry.index(kind).map(|index| &self.collections[index])
    }

    /// One entity, by id or unique key.
    pub fn find(&self, kind: &str, key: &Key) -> Option<&Arc<Stored>> {
        self.collection(kind)?.find(key)
    }

    /// When the first entity ends that does not last, in Unix milliseconds.
    pub fn next_end(&self) -> Option<u64> {
        self.collections.iter().filter_map(|all| all.next_end()).min()
    }

    /// One typed entity, by id.
    pub fn get<T: Entity>(&self, id: Id) -> Option<Item<T>> {
        self.collection(T::KIND)?.get(id).and_then(Item::new)
    }

    /// One typed entity, by the value of a unique field.
    pub fn by<T: Entity>(&self, field: &str, value: &str) -> Option<Item<T>> {
        self.collection(T::KIND)?.by(field, value).and_then(Item::new)
    }

    /// All typed entities of a kind, ascending by id.
    pub fn all<T: Entity>(&self) -> impl Iterator<Item = Item<T>> {
        self.collection(T::KIND).into_iter().flat_map(Collection::iter).filter_map(Item::new)
    }

    /// Typed entities whose `field` refers to `parent`, ascending by id.
    pub fn children<T: Entity>(&self, field: &str, parent: Id) -> impl Iterator<Item = Item<T>> {
        self.collection(T::KIND)
            .into_iter()
            .flat_map(move |collection| collection.children(field, parent))
            .filter_map(Item::new)
    }
}
