//! [`Document`]: an entity as stored and shown.

use serde_json::{Map, Value};

/// A JSON object: an entity as stored in the database and shown by the Admin API.
pub type Document = Map<String, Value>;

/// Merges a partial update into a document: objects member by member, everything else replaced.
///
/// `is_record` says for a dotted path whether the object there is a record (merged) or a map
/// (replaced whole); Kong merges plugin `config` records and replaces maps
/// (kong/db/schema/init.lua, merge_values).
pub fn merge(into: &mut Document, update: Document, is_record: &dyn Fn(&str) -> bool) {
    merge_at(into, update, is_record, "");
}

fn merge_at(into: &mut Document, update: Document, is_record: &dyn Fn(&str) -> bool, at: &str) {
    for (name, value) in update {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match (into.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if is_record(&path) => {
                merge_at(old, new, is_record, &path);
            }
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// The value at a dotted path, `None` when a member on the way is absent or null.
pub fn at_path<'a>(document: &'a Document, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let mut value = document.get(names.next()?)?;
    for name in names {
        value = value.as_object()?.get(name)?;
    }
    (!value.is_null()).then_some(value)
}
