//! A catalog as a declarative file.

use gateway_model::{Catalog, Document, EntityType, Registry, Stored};
use serde_json::{Map, Value};

/// Everything the Admin API has, as a file that [`super::changes`] reads back to the very same
/// entities. The same catalog always gives the same text.
///
/// Entities stand in a list for each kind, ascending by id, and refer to each other by id.
/// Members that reading brings back by itself are left out. Kinds outside the Admin API, such as
/// those of the MEC platform, are not part of a gateway's configuration and are not written.
///
/// Secrets stand there as they are stored: whoever gets this text has them.
pub fn export(catalog: &Catalog) -> String {
    let registry = catalog.registry();
    let mut file = Map::new();
    file.insert("_format_version".to_owned(), "3.0".into());
    file.insert("_transform".to_owned(), false.into());
    for kind in registry.kinds().iter().filter(|kind| kind.in_api()) {
        let all = catalog.collection(kind.kind).into_iter().flat_map(|all| all.iter());
        let written: Vec<Value> = all.map(|entity| written(registry, entity)).collect();
        if !written.is_empty() {
            file.insert(kind.kind.to_owned(), written.into());
        }
    }
    // Only types that are no data, such as a map with keys that are no text, cannot be written.
    serde_saphyr::to_string(&file).unwrap_or_default()
}

fn written(registry: &Registry, entity: &Stored) -> Value {
    let kind = entity.kind();
    let mut document = shortened(registry, kind, &entity.document());
    for (field, ..) in kind.references() {
        if let Some(id) = entity.reference(field.name) {
            document.insert(field.name.to_owned(), id.to_string().into());
        }
    }
    let mut members = Map::new();
    for field in &kind.record().fields {
        if let Some(value) = document.shift_remove(field.name) {
            members.insert(field.name.to_owned(), sorted(value));
        }
    }
    Value::Object(members)
}

/// Without nulls, unless a null means something else than absence.
fn shortened(registry: &Registry, kind: &EntityType, document: &Document) -> Document {
    let mut short = document.clone();
    for value in short.values_mut() {
        drop_nulls(value);
    }
    short.retain(|_, value| !value.is_null());
    let mut again = short.clone();
    let same = registry.complete(kind, &mut again).is_empty() && again == *document;
    if same { short } else { document.clone() }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(drop_nulls);
            members.retain(|_, value| !value.is_null());
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Members by name: their order is that of whoever wrote them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.into_iter().map(|(name, value)| (name, sorted(value))).collect()
        }
        Value::Array(elements) => elements.into_iter().map(sorted).collect(),
        value => value,
    }
}
