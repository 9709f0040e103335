//! Takes nested entities out of their parents.

use gateway_model::{Document, EntityType, Registry};
use serde_json::Value;

use super::REMARKS;
use super::problem::{Place, Problems};

/// One entity of a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: &'static EntityType,
    /// Where it stands: `services` 1, `routes` 2.
    pub(super) place: Place,
    pub(super) document: Document,
    /// The entry it is nested in, and the field that refers to it.
    pub(super) parent: Option<(&'static str, Place)>,
}

/// Every entity of a file, kinds in the order of the registry.
pub(super) fn entries(file: Document, registry: &Registry, problems: &mut Problems) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, value) in file {
        match registry.kind(&name) {
            Some(kind) => list(registry, kind, None, Place::top(), value, &mut entries, problems),
            None => problems.top(&name, "unknown field".into()),
        }
    }
    let order = |kind: &str| registry.kinds().iter().position(|known| known.kind == kind);
    entries.sort_by_key(|entry| order(entry.kind.kind));
    entries
}

/// The entities of one list; `parent` is the field they refer to their parent by.
fn list(
    registry: &Registry,
    kind: &'static EntityType,
    parent: Option<&'static str>,
    above: Place,
    value: Value,
    entries: &mut Vec<Entry>,
    problems: &mut Problems,
) {
    let elements = match value {
        Value::Null => return,
        Value::Array(elements) => elements,
        _ => {
            problems.member(&above, kind.kind, "expected an array".into());
            return;
        }
    };
    for (index, element) in elements.into_iter().enumerate() {
        let place = above.below(kind.kind, index);
        let mut document = match (element, kind.endpoint_key) {
            (Value::Object(document), _) => document,
            // `snis: [a.test]` is short for `snis: [{name: a.test}]`.
            (Value::String(text), Some(key)) => {
                Document::from_iter([(key.to_owned(), text.into())])
            }
            _ => {
                problems.whole(&place, "expected a record".into());
                continue;
            }
        };
        for remark in REMARKS {
            document.shift_remove(remark);
        }
        for (child, field) in children(registry, kind) {
            if let Some(nested) = document.shift_remove(child.kind) {
                list(registry, child, Some(field), place.clone(), nested, entries, problems);
            }
        }
        let parent = parent.map(|field| (field, above.clone()));
        entries.push(Entry { kind, place, document, parent });
    }
}

/// The kinds that may stand inside `parent`, unless it has a field of that name itself.
pub(super) fn children(
    registry: &Registry,
    parent: &'static EntityType,
) -> Vec<(&'static EntityType, &'static str)> {
    let own = |name: &str| parent.record().fields.iter().any(|field| field.name == name);
    let refers = |kind: &'static EntityType| {
        let mut references = kind.references();
        references.find(|(_, target, _)| *target == parent.kind).map(|(field, ..)| field.name)
    };
    registry
        .kinds()
        .iter()
        .filter(|kind| !own(kind.kind))
        .filter_map(|kind| Some((*kind, refers(kind)?)))
        .collect()
}
