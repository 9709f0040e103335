//! [`Rejection`]: why a write was refused.

use serde_json::{Map, Value};

use crate::{Id, Violations};

/// How an entity is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By primary key.
    Id(Id),
    /// By a unique field, usually the endpoint key.
    Unique(&'static str, String),
}

impl From<Id> for Key {
    fn from(id: Id) -> Self {
        Self::Id(id)
    }
}

impl Key {
    /// The one-member object Kong shows as `fields`.
    pub fn fields(&self) -> Map<String, Value> {
        match self {
            Self::Id(id) => Map::from_iter([("id".to_owned(), id.to_string().into())]),
            Self::Unique(field, value) => {
                Map::from_iter([((*field).to_owned(), value.as_str().into())])
            }
        }
    }
}

/// Why a write was refused. The codes and texts of the Admin API are made of this.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The document breaks its schema.
    #[error("{}", .0.message())]
    Invalid(Violations),
    /// An entity with this id is there already.
    #[error("primary key violation on key '{{id=\"{id}\"}}'")]
    PrimaryKey {
        /// The id.
        id: Id,
    },
    /// These values are taken.
    #[error("UNIQUE violation detected on '{}'", crate::rejection::lua(.fields))]
    Unique {
        /// The kind written.
        kind: &'static str,
        /// The unique fields and the values that repeat.
        fields: Map<String, Value>,
    },
    /// A reference names an id that does not exist.
    #[error("the foreign key '{{id=\"{id}\"}}' does not reference an existing '{kind}' entity.")]
    Reference {
        /// The field.
        field: &'static str,
        /// The id it names.
        id: Id,
        /// The kind it should be.
        kind: &'static str,
    },
    /// A reference by name names nothing.
    #[error(
        "foreign key unresolved ({field}.{name}: the foreign key cannot be resolved with \
         '{{{name}=\"{value}\"}}' for an existing '{kind}' entity)"
    )]
    Unresolved {
        /// The field.
        field: &'static str,
        /// The endpoint key used.
        name: &'static str,
        /// Its value.
        value: String,
        /// The kind it should be.
        kind: &'static str,
    },
    /// The entity is still referred to.
    #[error("an existing '{by}' entity references this '{kind}' entity")]
    Referenced {
        /// The kind to be deleted.
        kind: &'static str,
        /// The kind that refers to it.
        by: &'static str,
    },
    /// The entity is named in a list of another, which is no reference.
    #[error("{what} {id} is still referenced by {by} (id = {by_id})")]
    InUse {
        /// What it is, for people.
        what: &'static str,
        /// The entity to be deleted.
        id: Id,
        /// The kind that names it.
        by: &'static str,
        /// Which one.
        by_id: Id,
    },
    /// There is no such entity.
    #[error("could not find the entity with {}'{}'", if matches!(.key, Key::Id(_)) { "primary key " } else { "" }, crate::rejection::lua(&.key.fields()))]
    NotFound {
        /// The kind looked for.
        kind: &'static str,
        /// How it was addressed.
        key: Key,
    },
    /// Something sent beside the members of an entity is not taken so.
    #[error("invalid option ({option}: {text})")]
    Option {
        /// What it is called.
        option: &'static str,
        /// What is wrong with it.
        text: String,
    },
    /// The store or its mode takes no writes.
    #[error("{0}")]
    ReadOnly(String),
    /// A rule of the caller's domain, checked in the writer's turn, refused it.
    #[error("{0}")]
    Condition(String),
    /// The write could not be made durable; nothing changed.
    #[error("the store failed: {0}")]
    Store(String),
}

/// An object as Kong prints it: `{name="s1",service=null}`, sorted; lists without names until the
/// first hole: `{"a"}`, `{[2]="b"}`.
pub fn lua(fields: &Map<String, Value>) -> String {
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort();
    let rows = names.iter().map(|name| format!("{name}={}", lua_value(&fields[*name])));
    format!("{{{}}}", rows.collect::<Vec<_>>().join(","))
}

fn lua_value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        Value::Object(inner) => lua(inner),
        Value::Array(elements) => {
            let dense = elements.iter().take_while(|element| !element.is_null()).count();
            let all = elements.iter().enumerate().filter(|(_, element)| !element.is_null());
            let rows = all.map(|(index, element)| match index < dense {
                true => lua_value(element),
                false => format!("[{}]={}", index + 1, lua_value(element)),
            });
            format!("{{{}}}", rows.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
