//! [`Collection`]: one kind's entities with their indexes, shared between revisions.

use std::fmt;
use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};
use serde_json::Value;

use super::Stored;
use crate::{Document, EntityType, Id, Key};

/// All entities of one kind. Cloning and changing cost the logarithm of its size.
#[derive(Clone)]
pub struct Collection {
    kind: &'static EntityType,
    entities: OrdMap<Id, Arc<Stored>>,
    unique: Vec<Index>,
    /// Which entity refers to which, by position of the reference field.
    children: OrdSet<(u8, Id, Id)>,
    /// When those end that do not last, in Unix milliseconds.
    ends: OrdSet<(u64, Id)>,
}

/// What one unique index is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unique<'f> {
    /// A field. Null is no value.
    One(&'f str),
    /// Fields together. Null is a value.
    Together(&'f [&'f str]),
}

/// The unique indexes of a kind.
pub(super) fn unique(kind: &EntityType) -> impl Iterator<Item = Unique<'static>> + use<'_> {
    let single = kind.record().fields.iter().filter(|field| field.unique);
    let single = single.map(|field| Unique::One(field.name));
    single.chain(kind.unique_together.iter().map(|fields| Unique::Together(fields)))
}

/// The values of one unique field or set of fields.
#[derive(Clone)]
struct Index {
    of: Unique<'static>,
    ids: HashMap<Arc<str>, Id>,
}

impl Collection {
    pub(super) fn new(kind: &'static EntityType) -> Self {
        Self {
            kind,
            entities: OrdMap::new(),
            unique: unique(kind).map(|of| Index { of, ids: HashMap::new() }).collect(),
            children: OrdSet::new(),
            ends: OrdSet::new(),
        }
    }

    /// What kind these are.
    pub const fn kind(&self) -> &'static EntityType {
        self.kind
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// Every entity, ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.entities.values()
    }

    /// Entities whose id is greater than `after`, ascending.
    pub fn after(&self, after: Option<Id>) -> impl Iterator<Item = &Arc<Stored>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.entities.range((from, Unbounded)).map(|(_, stored)| stored)
    }

    /// The entity of this id.
    pub fn get(&self, id: Id) -> Option<&Arc<Stored>> {
        self.entities.get(&id)
    }

    /// The entity with this value in a unique field.
    pub fn by(&self, field: &str, value: &str) -> Option<&Arc<Stored>> {
        let index = self.unique.iter().find(|index| index.of == Unique::One(field))?;
        self.get(*index.ids.get(value)?)
    }

    /// The entity addressed so.
    pub fn find(&self, key: &Key) -> Option<&Arc<Stored>> {
        match key {
            Key::Id(id) => self.get(*id),
            Key::Unique(field, value) => self.by(field, value),
        }
    }

    /// Entities whose `field` refers to `parent`, ascending by id.
    pub fn children(&self, field: &str, parent: Id) -> impl Iterator<Item = &Arc<Stored>> {
        let low = Id::from_bytes([0; 16]);
        let high = Id::from_bytes([0xff; 16]);
        self.position(field)
            .into_iter()
            .flat_map(move |at| self.children.range((at, parent, low)..=(at, parent, high)))
            .filter_map(|(_, _, child)| self.get(*child))
    }

    /// When the first one ends that does not last, in Unix milliseconds.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.ends.get_min().map(|(end, _)| *end)
    }

    /// Those whose end is `now` or earlier.
    pub(super) fn ended(&self, now: u64) -> impl Iterator<Item = &Arc<Stored>> {
        let ended = self.ends.iter().take_while(move |(end, _)| *end <= now);
        ended.filter_map(|(_, id)| self.get(*id))
    }

    /// The unique values of an entity that another one holds already.
    pub(super) fn taken(&self, stored: &Stored) -> Option<Document> {
        self.keyed(stored).find_map(|(index, key)| {
            let holder = index.ids.get(key)?;
            (*holder != stored.id()).then(|| {
                let document = stored.document();
                let shown = |field: &&str| {
                    ((*field).to_owned(), document.get(*field).cloned().unwrap_or(Value::Null))
                };
                match &index.of {
                    Unique::One(field) => std::iter::once(field).map(shown).collect(),
                    Unique::Together(fields) => fields.iter().map(shown).collect(),
                }
            })
        })
    }

    /// Each index with what it knows an entity by.
    fn keyed<'s>(&'s self, stored: &'s Stored) -> impl Iterator<Item = (&'s Index, &'s Arc<str>)> {
        let keyed = self.unique.iter().zip(stored.keys());
        keyed.filter_map(|(index, key)| Some((index, key.as_ref()?)))
    }

    pub(super) fn put(&mut self, stored: Arc<Stored>) {
        self.remove(stored.id());
        for (index, key) in self.unique.iter_mut().zip(stored.keys()) {
            if let Some(key) = key {
                index.ids.insert(Arc::clone(key), stored.id());
            }
        }
        for (at, parent) in self.parents(&stored) {
            self.children.insert((at, parent, stored.id()));
        }
        if let Some(end) = stored.ends() {
            self.ends.insert((end, stored.id()));
        }
        self.entities.insert(stored.id(), stored);
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Arc<Stored>> {
        let stored = self.entities.remove(&id)?;
        for (index, key) in self.unique.iter_mut().zip(stored.keys()) {
            if let Some(key) = key {
                index.ids.remove(key);
            }
        }
        for (at, parent) in self.parents(&stored) {
            self.children.remove(&(at, parent, id));
        }
        if let Some(end) = stored.ends() {
            self.ends.remove(&(end, id));
        }
        Some(stored)
    }

    fn parents(&self, stored: &Stored) -> Vec<(u8, Id)> {
        (0u8..)
            .zip(self.kind.references())
            .filter_map(|(at, (field, ..))| Some((at, stored.reference(field.name)?)))
            .collect()
    }

    fn position(&self, field: &str) -> Option<u8> {
        let at = self.kind.references().position(|(known, ..)| known.name == field)?;
        u8::try_from(at).ok()
    }
}

impl Unique<'_> {
    /// The indexed form of a document's values, `None` when it has none.
    pub(super) fn value(&self, document: &Document) -> Option<Arc<str>> {
        match self {
            Self::One(field) => document.get(*field)?.as_str().map(Arc::from),
            Self::Together(fields) => {
                let value = |field: &&str| document.get(*field).unwrap_or(&Value::Null).to_string();
                let values: Vec<String> = fields.iter().map(value).collect();
                Some(values.join("\u{1f}").into())
            }
        }
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.len(), self.kind.kind)
    }
}
