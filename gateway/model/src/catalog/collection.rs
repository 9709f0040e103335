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

/// The values of one set of unique fields.
#[derive(Clone)]
struct Index {
    fields: Vec<&'static str>,
    /// A set counts null as a value; a single field does not.
    together: bool,
    ids: HashMap<Arc<str>, Id>,
}

impl Collection {
    pub(super) fn new(kind: &'static EntityType) -> Self {
        let single = kind.record().fields.iter().filter(|field| field.unique).map(|field| Index {
            fields: vec![field.name],
            together: false,
            ids: HashMap::new(),
        });
        let together = kind.unique_together.iter().map(|fields| Index {
            fields: fields.to_vec(),
            together: true,
            ids: HashMap::new(),
        });
        Self {
            kind,
            entities: OrdMap::new(),
            unique: single.chain(together).collect(),
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
        let index = self.unique.iter().find(|index| !index.together && index.fields == [field])?;
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

    /// The unique values of a document that another entity holds already.
    pub(super) fn taken(
        &self,
        id: Id,
        document: &Document,
    ) -> Option<serde_json::Map<String, Value>> {
        self.unique.iter().find_map(|index| {
            let value = index.value(document)?;
            let holder = index.ids.get(value.as_str())?;
            (*holder != id).then(|| {
                let shown = |field: &&'static str| {
                    ((*field).to_owned(), document.get(*field).cloned().unwrap_or(Value::Null))
                };
                index.fields.iter().map(shown).collect()
            })
        })
    }

    pub(super) fn put(&mut self, stored: Arc<Stored>) {
        self.remove(stored.id());
        let document = self.indexed(&stored);
        for index in &mut self.unique {
            if let Some(value) = index.value(&document) {
                index.ids.insert(value.into(), stored.id());
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
        let document = self.indexed(&stored);
        for index in &mut self.unique {
            if let Some(value) = index.value(&document) {
                index.ids.remove(value.as_str());
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

    /// The document unique indexes are made of; not read where there is none.
    fn indexed(&self, stored: &Stored) -> Document {
        if self.unique.is_empty() { Document::new() } else { stored.document() }
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

impl Index {
    /// The indexed form of a document's values, `None` when it has none.
    fn value(&self, document: &Document) -> Option<String> {
        if !self.together {
            return match document.get(self.fields[0])? {
                Value::String(text) => Some(text.clone()),
                _ => None,
            };
        }
        let values: Vec<String> = self
            .fields
            .iter()
            .map(|field| document.get(*field).unwrap_or(&Value::Null).to_string())
            .collect();
        Some(values.join("\u{1f}"))
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.len(), self.kind.kind)
    }
}
