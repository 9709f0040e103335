//! What is wrong with a file, entity by entity: for tools that send many and look for theirs.

use gateway_model::{EntityType, Id, Registry};
use serde_json::{Map, Value, json};

use super::{DeclarativeError, flatten, read};

/// The complaints about a file in a list, each with the entity it is about, and those that are about
/// no entity as they were (kong/db/errors.lua, declarative_config_flattened).
///
/// A nested entity has an element of its own, before the one it stands in; it names its parent
/// where that has an id. `text` is the file that was refused for `why`.
pub fn flattened(
    text: &str,
    registry: &Registry,
    why: &DeclarativeError,
) -> (Vec<Value>, Map<String, Value>) {
    let mut rest = why.fields();
    let mut found = Flattened { registry, entities: Vec::new() };
    let Ok(mut file) = read(text) else { return (Vec::new(), rest) };
    // From the last to the first, as the reference lists them.
    for name in descending(&rest) {
        let (Some(kind), Some(Value::Array(entities))) =
            (registry.kind(&name), file.shift_remove(&name))
        else {
            continue;
        };
        let Some(Value::Array(problems)) = rest.get_mut(&name) else { continue };
        let pairs: Vec<(Value, &mut Value)> = entities.into_iter().zip(problems).collect();
        for (entity, problem) in pairs.into_iter().rev() {
            *problem = found.element(kind, entity, problem.take(), None);
        }
    }
    rest.retain(|_, value| !matches!(value, Value::Array(list) if list.iter().all(Value::is_null)));
    (found.entities, rest)
}

struct Flattened<'r> {
    registry: &'r Registry,
    entities: Vec<Value>,
}

impl Flattened<'_> {
    /// Lists the complaints about one element of a list and those nested in it; gives back what
    /// is about no entity. `parent` is the field that refers to its parent, and the parent's id.
    fn element(
        &mut self,
        kind: &'static EntityType,
        entity: Value,
        problem: Value,
        parent: Option<(&str, &Value)>,
    ) -> Value {
        let mut entity = match (entity, kind.endpoint_key) {
            (Value::Object(entity), _) => entity,
            (Value::String(text), Some(key)) => {
                Map::from_iter([(key.to_owned(), Value::String(text))])
            }
            _ => return problem,
        };
        if let Some((field, id)) = parent
            && entity.get(field).is_none_or(Value::is_null)
        {
            entity.insert(field.to_owned(), json!({ "id": id }));
        }
        let errors = match problem {
            Value::Object(problems) => self.members(kind, &mut entity, problems),
            Value::String(text) => vec![json!({ "type": "entity", "message": text })],
            other => return other,
        };
        if !errors.is_empty() {
            self.entities.push(shown(kind, entity, errors));
        }
        Value::Null
    }

    /// Takes nested entities out, and gives the complaints about the members that stay.
    fn members(
        &mut self,
        kind: &'static EntityType,
        entity: &mut Map<String, Value>,
        mut problems: Map<String, Value>,
    ) -> Vec<Value> {
        let id = entity.get("id").filter(|id| is_id(id)).cloned();
        for (child, field) in flatten::children(self.registry, kind) {
            let Some(Value::Array(nested)) = entity.get_mut(child.kind).map(Value::take) else {
                continue;
            };
            entity.shift_remove(child.kind);
            let Some(Value::Array(theirs)) = problems.shift_remove(child.kind) else { continue };
            for (element, problem) in nested.into_iter().zip(theirs) {
                let left = self.element(child, element, problem, id.as_ref().map(|id| (field, id)));
                if !left.is_null() {
                    problems.insert(child.kind.to_owned(), left);
                }
            }
        }
        let mut errors = Vec::new();
        categorise(problems, "", &mut errors);
        errors
    }
}

/// One entity with its complaints. Its name, id and tags stand outside where they are well formed.
fn shown(kind: &EntityType, entity: Map<String, Value>, errors: Vec<Value>) -> Value {
    let mut shown = json!({ "entity_type": singular(kind.kind), "errors": errors });
    let name = entity.get("name").filter(|name| name.as_str().is_some_and(|name| !name.is_empty()));
    let id = entity.get("id").filter(|id| is_id(id));
    let tags = entity
        .get("tags")
        .filter(|tags| tags.as_array().is_some_and(|tags| tags.iter().all(Value::is_string)));
    for (member, value) in [("entity_name", name), ("entity_id", id), ("entity_tags", tags)] {
        if let Some(value) = value {
            shown[member] = value.clone();
        }
    }
    shown["entity"] = entity.into();
    shown
}

/// Complaints about members by dotted path, list positions from 1.
fn categorise(problems: Map<String, Value>, above: &str, errors: &mut Vec<Value>) {
    let mut problems = problems;
    for name in descending(&problems) {
        let problem = problems.shift_remove(&name).unwrap_or_default();
        if name == "@entity" {
            let texts = problem.as_array().cloned().unwrap_or_else(|| vec![problem]);
            let entity = |text| json!({ "type": "entity", "message": text });
            errors.extend(texts.into_iter().map(entity));
            continue;
        }
        let field = if above.is_empty() { name } else { format!("{above}.{name}") };
        categorise_value(problem, field, errors);
    }
}

fn categorise_value(problem: Value, field: String, errors: &mut Vec<Value>) {
    match problem {
        Value::Object(inner) => categorise(inner, &field, errors),
        Value::Array(elements) => {
            for (index, element) in elements.into_iter().enumerate().rev() {
                categorise_value(element, format!("{field}.{}", index + 1), errors);
            }
        }
        Value::Null => {}
        text => errors.push(json!({ "type": "field", "field": field, "message": text })),
    }
}

fn descending(members: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = members.keys().cloned().collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    names
}

fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|text| Id::parse(text).is_some())
}

fn singular(plural: &str) -> &str {
    plural.strip_suffix('s').unwrap_or(plural)
}
