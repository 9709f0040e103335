//! [`Stored`]: one entity, as document and as type; [`Item`]: a typed handle on it.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;

use super::collection::{Unique, unique};
use super::resolve::References;
use crate::{Document, Entity, EntityType, Id, Rejection, Violations};

/// One entity of a catalog: the complete document and its typed form, made once.
///
/// The document is kept as its text: as a map it would take some ten times the memory of the typed
/// form, for the few who ask for it. What indexes ask for stands beside it.
///
/// References to vaults stand in the document; the typed form has their values.
pub struct Stored {
    kind: &'static EntityType,
    id: Id,
    /// The document, compact.
    text: Box<str>,
    typed: Arc<dyn Any + Send + Sync>,
    /// What its reference fields hold, in their order.
    refers: Box<[Option<Id>]>,
    /// What unique indexes know it by, in the order of [`unique`]'s.
    keys: Box<[Option<Arc<str>>]>,
    ends: Option<u64>,
    /// What it refers to in vaults; most entities have nothing there.
    references: Option<Box<References>>,
}

impl Stored {
    /// Types a completed, checked document without references.
    pub(super) fn new(kind: &'static EntityType, document: &Document) -> Result<Self, Rejection> {
        Self::of(kind, document, document, None)
    }

    fn of(
        kind: &'static EntityType,
        document: &Document,
        resolved: &Document,
        references: Option<Box<References>>,
    ) -> Result<Self, Rejection> {
        let id = id_of(document)?;
        let typed = kind.decode(resolved).map_err(Rejection::Invalid)?;
        let text = serde_json::to_string(document).map_err(|why| {
            // Maps of text keys always become text.
            Rejection::Invalid(Violations::one("id", why.to_string()))
        })?;
        let refers = kind.references().map(|(field, ..)| refers(document, field.name)).collect();
        let keys = unique(kind).map(|fields| fields.value(document)).collect();
        let ends = kind.expiry().and_then(|field| document.get(field)?.as_u64());
        Ok(Self { kind, id, text: text.into(), typed, refers, keys, ends, references })
    }

    /// The same with its references resolved elsewhere.
    pub(super) fn resolved(
        kind: &'static EntityType,
        document: &Document,
        resolved: &Document,
        references: References,
    ) -> Result<Self, Rejection> {
        Self::of(kind, document, resolved, Some(Box::new(references)))
    }

    /// Whether some of its values come from vaults, and so were not checked.
    pub const fn has_references(&self) -> bool {
        self.references.is_some()
    }

    /// References that lead nowhere, each with the reason: their values are empty texts.
    pub fn unresolved(&self) -> &[String] {
        self.references.as_ref().map_or(&[], |references| &references.missing)
    }

    /// Whether it refers to a vault of such a name.
    pub(super) fn refers_to(&self, concerned: impl Fn(&str) -> bool) -> bool {
        self.references.as_ref().is_some_and(|all| all.vaults.iter().any(|name| concerned(name)))
    }

    /// What kind it is.
    pub const fn kind(&self) -> &'static EntityType {
        self.kind
    }

    /// Its primary key.
    pub const fn id(&self) -> Id {
        self.id
    }

    /// The document as compact JSON text: every member, null where unset.
    pub const fn json(&self) -> &str {
        &self.text
    }

    /// The document, read from its text each time.
    pub fn document(&self) -> Document {
        serde_json::from_str(&self.text).expect("`of` wrote it")
    }

    /// What unique indexes know it by, in the order of [`unique`]'s.
    pub(super) fn keys(&self) -> &[Option<Arc<str>>] {
        &self.keys
    }

    /// The typed form, `None` when `T` is another kind.
    pub fn entity<T: Entity>(&self) -> Option<&T> {
        self.typed.downcast_ref()
    }

    /// The id a reference field holds.
    pub fn reference(&self, field: &str) -> Option<Id> {
        let at = self.kind.references().position(|(known, ..)| known.name == field)?;
        self.refers.get(at).copied().flatten()
    }

    /// When it ends, in Unix milliseconds; `None` for what lasts.
    pub const fn ends(&self) -> Option<u64> {
        self.ends
    }

    /// A member as text, `None` when it is something else.
    pub fn text(&self, field: &str) -> Option<String> {
        if let Some(at) = unique(self.kind).position(|unique| unique == Unique::One(field)) {
            return self.keys.get(at)?.as_deref().map(str::to_owned);
        }
        match self.document().shift_remove(field)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// The id in a reference field of a document.
fn refers(document: &Document, field: &str) -> Option<Id> {
    document.get(field)?.get("id")?.as_str().and_then(Id::parse)
}

fn id_of(document: &Document) -> Result<Id, Rejection> {
    let id = document.get("id").and_then(Value::as_str).and_then(Id::parse);
    id.ok_or_else(|| Rejection::Invalid(Violations::one("id", "expected a valid UUID")))
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.kind, self.id)
    }
}

/// A typed handle on an entity: dereferences to `T`, keeps the entity alive, clones by count.
pub struct Item<T> {
    stored: Arc<Stored>,
    kind: PhantomData<fn() -> T>,
}

impl<T: Entity> Item<T> {
    /// A handle, `None` when the entity is of another kind.
    pub fn new(stored: &Arc<Stored>) -> Option<Self> {
        stored
            .entity::<T>()
            .is_some()
            .then(|| Self { stored: Arc::clone(stored), kind: PhantomData })
    }
}

impl<T> Item<T> {
    /// Its primary key.
    pub fn id(&self) -> Id {
        self.stored.id
    }

    /// The entity as document and type.
    pub const fn stored(&self) -> &Arc<Stored> {
        &self.stored
    }

    /// The document.
    pub fn document(&self) -> Document {
        self.stored.document()
    }

    /// Whether both are the very same write of the same entity.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stored, &other.stored)
    }
}

impl<T> Clone for Item<T> {
    fn clone(&self) -> Self {
        Self { stored: Arc::clone(&self.stored), kind: PhantomData }
    }
}

impl<T: Entity> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.stored.entity().expect("Item::new checked the kind")
    }
}

impl<T> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stored.fmt(f)
    }
}
