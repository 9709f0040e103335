//! Gives every entity its id, resolves references, and finds what is declared twice.

use std::collections::{HashMap, HashSet};

use gateway_model::{Document, EntityType, Id, Registry};
use serde_json::{Value, json};

use super::flatten::Entry;
use super::problem::{DeclarativeError, Place, Problems};

/// Puts a valid id where a reference stands, for checking the rest of the document.
pub(super) fn stand_in(entry: &Entry, document: &mut Document) {
    let nobody = json!({ "id": Id::from_bytes([0; 16]) });
    for (field, ..) in entry.kind.references() {
        let nested = entry.parent.as_ref().is_some_and(|(name, _)| *name == field.name);
        let text = document.get(field.name).is_some_and(|value| {
            value.is_string() || value.as_object().is_some_and(|members| members.len() == 1)
        });
        if nested || text {
            document.insert(field.name.to_owned(), nobody.clone());
        }
    }
}

/// Sets `id` and references of every entry; entries come parents first.
pub(super) fn all(entries: &mut [Entry], registry: &Registry) -> Result<(), DeclarativeError> {
    let mut problems = Problems::default();
    let mut known = Known::default();
    for entry in entries.iter_mut() {
        resolve(entry, registry, &known, &mut problems);
        let id = match entry.document.get("id").and_then(Value::as_str) {
            Some(given) => Id::parse(given),
            None => Some(derived(entry).unwrap_or_else(Id::random)),
        };
        // An id that is none was reported by the schema.
        let Some(id) = id else { continue };
        entry.document.insert("id".to_owned(), id.to_string().into());
        known.add(entry, id, &mut problems);
    }
    problems.none()
}

/// What was declared so far.
#[derive(Default)]
struct Known {
    ids: HashSet<(&'static str, Id)>,
    places: HashMap<Place, Id>,
    keys: HashMap<(&'static str, &'static str, String), Id>,
}

impl Known {
    fn add(&mut self, entry: &Entry, id: Id, problems: &mut Problems) {
        let kind = entry.kind.kind;
        let mut repeated = |what: &str, value: &str| {
            let text = format!(
                "uniqueness violation: '{kind}' entity with {what} set to '{value}' already declared"
            );
            problems.whole(&entry.place, text.into());
        };
        self.places.insert(entry.place.clone(), id);
        for field in entry.kind.record().fields.iter().filter(|field| field.unique) {
            let Some(value) = entry.document.get(field.name).and_then(Value::as_str) else {
                continue;
            };
            if self.keys.insert((kind, field.name, value.to_owned()), id).is_some() {
                repeated(field.name, value);
            }
        }
        // Last: equal keys give equal ids, and are what the file says.
        if !self.ids.insert((kind, id)) {
            repeated("primary key", &id.to_string());
        }
    }

    fn find(&self, kind: &'static EntityType, reference: &Value) -> Option<Id> {
        let by_id = |text: &str| Id::parse(text).filter(|id| self.ids.contains(&(kind.kind, *id)));
        let by_key = |key: &'static str, text: &str| {
            self.keys.get(&(kind.kind, key, text.to_owned())).copied()
        };
        match reference {
            Value::String(text) => by_id(text).or_else(|| by_key(kind.endpoint_key?, text)),
            Value::Object(members) => {
                let (name, value) = members.iter().next()?;
                let value = value.as_str()?;
                if name == "id" {
                    return by_id(value);
                }
                by_key(kind.endpoint_key.filter(|key| key == name)?, value)
            }
            _ => None,
        }
    }
}

fn resolve(entry: &mut Entry, registry: &Registry, known: &Known, problems: &mut Problems) {
    for (field, target, _) in entry.kind.references() {
        let parent = entry.parent.as_ref().filter(|(name, _)| *name == field.name);
        let id = match (parent, entry.document.get(field.name)) {
            (Some((_, place)), _) => known.places.get(place).copied(),
            (None, None | Some(Value::Null)) => continue,
            (None, Some(reference)) => {
                let found = registry.kind(target).and_then(|kind| known.find(kind, reference));
                if found.is_none() {
                    let shown = reference.as_str().map_or_else(
                        || {
                            let member = reference.as_object().and_then(|m| m.values().next());
                            member.and_then(Value::as_str).unwrap_or_default().to_owned()
                        },
                        str::to_owned,
                    );
                    let text = format!(
                        "invalid reference '{}: {shown}' (no such entry in '{target}')",
                        field.name
                    );
                    problems.reference(entry.kind.kind, &name_of(entry), text);
                }
                found
            }
        };
        if let Some(id) = id {
            entry.document.insert(field.name.to_owned(), json!({ "id": id }));
        }
    }
}

/// What Kong calls an entity in the report on references: its key, or its position.
fn name_of(entry: &Entry) -> String {
    let key = entry.kind.endpoint_key.and_then(|key| entry.document.get(key)?.as_str());
    key.map_or_else(|| entry.place.position().to_string(), str::to_owned)
}

/// The id of an entity that names none, from its kind and what makes it unique there; `None`
/// when nothing does (kong/db/schema/others/declarative_config.lua, get_key_for_uuid_gen).
fn derived(entry: &Entry) -> Option<Id> {
    let part = |field: &str| match entry.document.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(reference)) => {
            reference.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    let kind = entry.kind.kind;
    let cache_key = |fields: &[&str]| {
        let parts: Vec<String> = fields.iter().map(|field| part(field)).collect();
        Id::derived(kind, &format!("{kind}:*:{}", parts.join(":")))
    };
    if let Some(fields) = entry.kind.unique_together.first() {
        return Some(cache_key(fields));
    }
    let key = entry.kind.endpoint_key.filter(|key| !part(key).is_empty())?;
    if is_credential(entry.kind) {
        return Some(cache_key(&[key]));
    }
    Some(Id::derived(kind, &part(key)))
}

/// Credentials have a cache key of one part in Kong, all other kinds with one key have none.
fn is_credential(kind: &EntityType) -> bool {
    kind.references().any(|(field, target, _)| target == "consumers" && field.required)
}
