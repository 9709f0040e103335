//! [`Field`]: one member of a record, built by the calls `derive(Record)` writes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{Record, Rule, Schema};
use crate::{Entity, Id, Ref};

/// What JSON type a field has.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Text.
    String,
    /// A number without fraction.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array(Box<Field>),
    /// A list without duplicates, in first-seen order.
    Set(Box<Field>),
    /// An object with free keys.
    Map {
        /// The rules of the keys.
        keys: Box<Field>,
        /// The rules of the values.
        values: Box<Field>,
    },
    /// An object with known members.
    Record(Box<Record>),
    /// `{"id": …}` of an entity of this kind.
    Foreign(&'static str),
    /// Any JSON, unchecked.
    Any,
    /// A record chosen by another field: a plugin's `config`.
    Abstract,
}

/// Fields the platform fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    /// A random id when absent.
    Id,
    /// The time of creation, Unix seconds, when absent.
    CreatedAt,
    /// The time of this write, Unix seconds, always.
    UpdatedAt,
    /// A random 32-character alphanumeric text when absent.
    RandomText,
}

/// What a delete of the referenced entity does to this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// The delete is refused.
    #[default]
    Restrict,
    /// This entity goes too.
    Cascade,
    /// The reference becomes null.
    SetNull,
}

/// One member of a record.
#[derive(Clone, Debug)]
pub struct Field {
    /// The JSON key; empty for elements of lists and maps.
    pub name: &'static str,
    /// What it means, from the doc comment.
    pub doc: &'static str,
    /// Its JSON type.
    pub kind: Kind,
    /// Whether null and absence are refused.
    pub required: bool,
    /// What absence means.
    pub default: Option<Value>,
    /// Whether the platform fills it in.
    pub auto: Option<Auto>,
    /// Whether two entities may not share a value.
    pub unique: bool,
    /// Whether [`Self::unique`] holds over all workspaces, which Kong's schema tells.
    pub across_workspaces: bool,
    /// Checked in order; the first broken one is reported.
    pub rules: Vec<Rule>,
    /// Replaces the text of a broken rule.
    pub error: Option<&'static str>,
    /// For [`Kind::Foreign`].
    pub on_delete: OnDelete,
    /// Whether a `{vault://…}` reference may stand for the value.
    pub referenceable: bool,
    /// Whether Kong's schema calls the value a secret.
    pub encrypted: bool,
    /// Whether the value is sealed in the store.
    pub sealed: bool,
    /// Whether the empty text is a value.
    pub may_be_empty: bool,
    /// Whether it holds when the entity ends, in Unix milliseconds.
    pub expires: bool,
}

impl Field {
    /// A field of a Rust type: JSON type, nullability and rules come from it.
    pub fn of<T: Schema>(name: &'static str) -> Self {
        Self {
            name,
            doc: "",
            kind: T::kind(),
            required: !T::NULLABLE,
            default: None,
            auto: None,
            unique: false,
            across_workspaces: false,
            rules: T::rules(),
            error: None,
            on_delete: OnDelete::Restrict,
            referenceable: false,
            encrypted: false,
            sealed: false,
            may_be_empty: false,
            expires: false,
        }
    }

    /// Sets the description.
    #[must_use]
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// Sets what absence means.
    #[must_use]
    pub fn default(mut self, value: impl Serialize) -> Self {
        self.default = serde_json::to_value(value).ok();
        self
    }

    /// Refuses null, whatever the Rust type says.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Allows null, whatever the Rust type says.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Has the platform fill the field in.
    #[must_use]
    pub fn auto(mut self, auto: Auto) -> Self {
        self.auto = Some(auto);
        self.required = false;
        if auto == Auto::Id {
            self.rules.push(Rule::Uuid);
        }
        self
    }

    /// Lets no two entities share a value.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Turns a list into a set.
    #[must_use]
    pub fn set(mut self) -> Self {
        self.kind = match self.kind {
            Kind::Array(element) => Kind::Set(element),
            kind => kind,
        };
        self
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Bounds a number, both ends allowed.
    #[must_use]
    pub fn between(self, low: impl Into<f64>, high: impl Into<f64>) -> Self {
        self.rule(Rule::Between(low.into(), high.into()))
    }

    /// Bounds a number from below, the bound itself refused.
    #[must_use]
    pub fn gt(self, low: impl Into<f64>) -> Self {
        self.rule(Rule::Gt(low.into()))
    }

    /// Lists the values allowed.
    #[must_use]
    pub fn one_of<V: Serialize>(self, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().filter_map(|v| serde_json::to_value(v).ok()).collect();
        self.rule(Rule::OneOf(values))
    }

    /// Asks for a length of at least `n` characters or elements; 0 allows the empty text.
    #[must_use]
    pub fn len_min(mut self, n: usize) -> Self {
        if n == 0 {
            self.may_be_empty = true;
            return self;
        }
        self.rule(Rule::LenMin(n))
    }

    /// Asks for a length of at most `n` characters or elements.
    #[must_use]
    pub fn len_max(self, n: usize) -> Self {
        self.rule(Rule::LenMax(n))
    }

    /// Asks text to begin so.
    #[must_use]
    pub fn starts_with(self, prefix: &'static str) -> Self {
        self.rule(Rule::StartsWith(prefix))
    }

    /// Asks text to match a regular expression (unanchored).
    #[must_use]
    pub fn matches(self, pattern: &'static str) -> Self {
        self.rule(Rule::matching(pattern))
    }

    /// Adds a rule in code, see [`super::types`].
    #[must_use]
    pub fn is(self, name: &'static str, check: fn(&Value) -> Result<(), String>) -> Self {
        self.rule(Rule::Custom { name, check })
    }

    /// Edits what a list holds.
    #[must_use]
    pub fn elements(mut self, edit: impl FnOnce(Field) -> Field) -> Self {
        if let Kind::Array(element) | Kind::Set(element) = &mut self.kind {
            **element = edit((**element).clone());
        }
        self
    }

    /// Edits the keys of a map.
    #[must_use]
    pub fn keys(mut self, edit: impl FnOnce(Field) -> Field) -> Self {
        if let Kind::Map { keys, .. } = &mut self.kind {
            **keys = edit((**keys).clone());
        }
        self
    }

    /// Edits the values of a map.
    #[must_use]
    pub fn values(mut self, edit: impl FnOnce(Field) -> Field) -> Self {
        if let Kind::Map { values, .. } = &mut self.kind {
            **values = edit((**values).clone());
        }
        self
    }

    /// Refuses a value another entity of any workspace has.
    #[must_use]
    pub fn unique_across_workspaces(mut self) -> Self {
        self.unique = true;
        self.across_workspaces = true;
        self
    }

    /// Replaces the text of any broken rule.
    #[must_use]
    pub fn error(mut self, text: &'static str) -> Self {
        self.error = Some(text);
        self
    }

    /// Deletes this entity with the referenced one.
    #[must_use]
    pub fn cascade(mut self) -> Self {
        self.on_delete = OnDelete::Cascade;
        self
    }

    /// Clears the reference when the referenced entity is deleted.
    #[must_use]
    pub fn set_null(mut self) -> Self {
        self.on_delete = OnDelete::SetNull;
        self
    }

    /// Lets a vault reference stand for the value.
    #[must_use]
    pub fn referenceable(mut self) -> Self {
        self.referenceable = true;
        self
    }

    /// Marks a secret, as Kong's schema does; it is sealed in the store.
    #[must_use]
    pub fn encrypted(mut self) -> Self {
        self.encrypted = true;
        self.sealed()
    }

    /// Seals the value in the store, without a mark in the schema.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.sealed = true;
        self
    }

    /// Holds when the entity ends, in Unix milliseconds: clients send how many seconds it has to
    /// live, and are shown how many are left. No part of the schema shown, as in Kong
    /// (kong/db/dao/init.lua, options.ttl).
    #[must_use]
    pub fn expires(mut self) -> Self {
        self.expires = true;
        self
    }

    /// Leaves the record to be chosen by another field.
    #[must_use]
    pub fn abstract_record(mut self) -> Self {
        self.kind = Kind::Abstract;
        self
    }
}

macro_rules! kinds {
    ($($kind:ident: $($type:ty),+;)+) => {
        $($(impl Schema for $type { fn kind() -> Kind { Kind::$kind } })+)+
    };
}

kinds! {
    String: String, Id, std::net::IpAddr;
    Integer: u8, u16, u32, u64, i32, i64, usize;
    Number: f64;
    Boolean: bool;
    Any: Value;
}

impl<T: Schema> Schema for Option<T> {
    const NULLABLE: bool = true;
    fn kind() -> Kind {
        T::kind()
    }
    fn rules() -> Vec<Rule> {
        T::rules()
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn kind() -> Kind {
        Kind::Array(Box::new(Field::of::<T>("")))
    }
}

impl<T: Schema> Schema for BTreeMap<String, T> {
    fn kind() -> Kind {
        Kind::Map { keys: Box::new(Field::of::<String>("")), values: Box::new(Field::of::<T>("")) }
    }
}

impl Schema for crate::Document {
    fn kind() -> Kind {
        Kind::Any
    }
}

impl<T: Schema> Schema for Box<T> {
    const NULLABLE: bool = T::NULLABLE;
    fn kind() -> Kind {
        T::kind()
    }
    fn rules() -> Vec<Rule> {
        T::rules()
    }
}

impl<T> Schema for crate::Secret<T>
where
    T: Schema,
{
    const NULLABLE: bool = T::NULLABLE;
    fn kind() -> Kind {
        T::kind()
    }
    fn rules() -> Vec<Rule> {
        T::rules()
    }
}

impl<T: Entity> Schema for Ref<T> {
    fn kind() -> Kind {
        Kind::Foreign(T::KIND)
    }
}
