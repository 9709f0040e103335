//! The field language: what a document may hold, declared once beside its type.
//!
//! A [`struct@Record`] is a list of [`Field`]s with rules. It checks documents, fills in their defaults
//! and describes itself for `/schemas`. Types get theirs by `derive(Record)`
//! ([`gateway_schema_derive::Record`]), which turns attributes into the builder calls below.
//! Rules, their order and their texts are Kong's (kong/db/schema/init.lua).
//!
//! Absent from here: anything about other entities (uniqueness, references). That is the
//! catalog's.

mod check;
mod describe;
mod field;
mod rule;
pub mod types;
mod validate;

pub use check::{Check, Judge, MadeCheck};
pub use field::{Auto, Field, Kind, OnDelete};
pub use gateway_schema_derive::Record;
pub use rule::{JudgeValue, MadeRule, Rule};
pub use validate::Mode;

use serde_json::{Map, Value};

/// A type that has a place in the field language.
///
/// Implemented here for primitives, `Option`, `Vec` and maps; derived for structs (a record) and
/// for enums of unit variants (a string with `one_of`).
pub trait Schema {
    /// Whether the field may be null; true for `Option` only.
    const NULLABLE: bool = false;

    /// What JSON type the value has.
    fn kind() -> Kind;

    /// Rules that come with the type, such as an enum's choices.
    fn rules() -> Vec<Rule> {
        Vec::new()
    }
}

/// One object shape: its fields, and the rules between them.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// What it is, from the doc comment.
    pub doc: &'static str,
    /// In the order `/schemas` shows them.
    pub fields: Vec<Field>,
    /// Rules over several fields; paths are relative to this record.
    pub checks: Vec<Check>,
    /// Input spellings that turn into other fields.
    pub shorthands: Vec<Shorthand>,
    /// A rule in code over the whole record; its text stands at the record's own path.
    pub custom: Option<RecordRule>,
}

/// A rule in code over a whole record; gives the text when it is broken.
pub type RecordRule = fn(&Map<String, Value>) -> Result<(), String>;

/// An input spelling that is not a field of its own.
#[derive(Clone, Debug)]
pub struct Shorthand {
    /// The member a client may send.
    pub name: &'static str,
    /// What its value must look like.
    pub field: Field,
    /// Where the value goes.
    pub expand: Expand,
}

/// What becomes of a shorthand's value.
#[derive(Clone, Copy, Debug)]
pub enum Expand {
    /// A deprecated name, moved to this dotted path and shown beside it
    /// (`redis_host` for `redis.host`).
    Moved(&'static str),
    /// An old name that is accepted and never shown (`whitelist` for `allow`). The new name wins
    /// when both are sent.
    Alias(&'static str),
    /// Members computed by code (`url` to protocol, host, port and path). They overwrite what was
    /// sent beside them.
    Computed(fn(&Value) -> Result<Map<String, Value>, String>),
}

/// The defaults of a record type as one value, unset members left out: the default of a field of
/// that type.
pub fn defaults_of<T: Schema>() -> Value {
    let fields = Record::of::<T>().fields;
    let set = fields.into_iter().filter_map(|field| Some((field.name.to_owned(), field.default?)));
    Value::Object(set.collect())
}

impl Record {
    /// The record of a type that derives it; empty for types that are no record.
    pub fn of<T: Schema>() -> Self {
        match T::kind() {
            Kind::Record(record) => *record,
            _ => Self::default(),
        }
    }

    /// Sets the description.
    #[must_use]
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// Adds a rule over several fields.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds the rule in code.
    #[must_use]
    pub fn custom(mut self, rule: RecordRule) -> Self {
        self.custom = Some(rule);
        self
    }

    /// Adds a deprecated name of the field at `path`, shown beside it.
    #[must_use]
    pub fn moved(self, name: &'static str, path: &'static str) -> Self {
        self.short(name, Expand::Moved(path))
    }

    /// Adds an old name of the field at `path`, accepted only.
    #[must_use]
    pub fn alias(self, name: &'static str, path: &'static str) -> Self {
        self.short(name, Expand::Alias(path))
    }

    /// Adds a member whose value is turned into others.
    #[must_use]
    pub fn computed(
        self,
        name: &'static str,
        expand: fn(&Value) -> Result<Map<String, Value>, String>,
    ) -> Self {
        self.short(name, Expand::Computed(expand))
    }

    /// Adds a member older versions had, accepted without effect.
    #[must_use]
    pub fn ignored(mut self, field: Field) -> Self {
        let expand = Expand::Computed(|_| Ok(Map::new()));
        self.shorthands.push(Shorthand { name: field.name, field, expand });
        self
    }

    fn short(mut self, name: &'static str, expand: Expand) -> Self {
        let field = match expand {
            Expand::Moved(path) | Expand::Alias(path) => self.at(path).cloned().map_or_else(
                || Field::of::<Option<String>>(name),
                |mut target| {
                    target.name = name;
                    target.default = None;
                    target.required = false;
                    target
                },
            ),
            Expand::Computed(_) => Field::of::<Option<String>>(name),
        };
        self.shorthands.push(Shorthand { name, field, expand });
        self
    }

    /// The field at a dotted path, through nested records.
    pub fn at(&self, path: &str) -> Option<&Field> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
        let field = self.fields.iter().find(|field| field.name == first)?;
        match (rest, &field.kind) {
            (None, _) => Some(field),
            (Some(rest), Kind::Record(record)) => record.at(rest),
            _ => None,
        }
    }
}
