//! [`Entity`] and [`EntityType`]: what a kind of thing is, to the catalog and the Admin API.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use serde_json::{Map, Value, json};

use crate::schema::{Field, Kind, OnDelete, Record, Schema};
use crate::{Catalog, Document, Id, Rejection, Stored, Violations};

/// A typed entity. Its [`EntityType`] says the rest.
pub trait Entity: Schema + DeserializeOwned + Send + Sync + 'static {
    /// Plural name, as in Kong's tables and declarative files: `services`, `jwt_secrets`.
    const KIND: &'static str;
}

/// A reference to an entity: `{"id": …}` in documents.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Ref<T> {
    /// The id of the referenced entity.
    pub id: Id,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T> Ref<T> {
    /// A reference to this id.
    pub const fn new(id: Id) -> Self {
        Self { id, kind: PhantomData }
    }
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ref<T> {}

impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// Entities that stand in a member of the one they refer to, by name: `snis` of a certificate.
#[derive(Debug)]
pub struct Listing {
    /// The member, no field of the record.
    pub member: &'static str,
    /// The kind listed.
    pub kind: &'static str,
    /// Its unique field that is shown.
    pub key: &'static str,
    /// Its field that refers to the entity with the list.
    pub field: &'static str,
}

/// The records an entity's `config` may be, chosen by its `name`.
#[derive(Debug)]
pub struct Variants {
    /// Those there are.
    pub all: &'static [Variant],
    /// What is said about another name.
    pub unknown: fn(&str) -> String,
}

/// One of several records.
pub struct Variant {
    /// What chooses it.
    pub name: &'static str,
    record: fn() -> Record,
    built: OnceLock<Record>,
}

impl Variant {
    /// The record of `T`, chosen by `name`.
    pub const fn of<T: Schema>(name: &'static str) -> Self {
        Self { name, record: Record::of::<T>, built: OnceLock::new() }
    }

    /// Its fields and rules.
    pub fn record(&self) -> &Record {
        self.built.get_or_init(self.record)
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variant({})", self.name)
    }
}

impl Variants {
    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<&Variant> {
        self.all.iter().find(|variant| variant.name == name)
    }
}

type Decode = fn(&Document) -> Result<Arc<dyn Any + Send + Sync>, Violations>;

/// May refuse the delete of an entity for reasons references do not tell.
pub type Guard = fn(&Catalog, &Stored) -> Result<(), Rejection>;

/// A step from completed to stored document: normal forms, hashes, digests.
pub type Transform = fn(&mut Document) -> Result<(), Violations>;

/// What a kind is called, how it is found, what it refers to.
pub struct EntityType {
    /// Plural name: `services`.
    pub kind: &'static str,
    /// Path segment of its collection in the Admin API: `services`, `jwts`; `None` keeps it out.
    pub collection: Option<&'static str>,
    /// Path segment below a parent, where it differs: `jwt` in `/consumers/{c}/jwt`.
    pub nested: Option<&'static str>,
    /// The unique field an entity may be addressed by instead of its id: `name`.
    pub endpoint_key: Option<&'static str>,
    /// The field it may be addressed by below its parent, where there is no such field.
    pub nested_key: Option<&'static str>,
    /// Sets of fields that may not repeat together, nulls counting as values.
    pub unique_together: &'static [&'static [&'static str]],
    /// Fills in defaults that depend on other fields, before those of the record.
    pub defaults: Option<fn(&mut Document)>,
    /// What fields sent imply for others, before anything else; once per write.
    pub input: Option<fn(&mut Document)>,
    /// Brings a checked document to its normal form. Doing it again changes nothing.
    pub normalise: Option<Transform>,
    /// Turns a checked document into the stored one where there is no way back (hashes).
    pub transform: Option<Transform>,
    /// Entities that stand in a member of this one by name.
    pub listing: Option<&'static Listing>,
    /// What its `config` may hold, by its `name`; `None` leaves that to the plugins.
    pub variants: Option<&'static Variants>,
    /// May refuse a delete.
    pub guard: Option<Guard>,
    extend: Option<fn(Record) -> Record>,
    record: fn() -> Record,
    decode: Decode,
    built: OnceLock<Record>,
}

impl EntityType {
    /// The type of `T`, outside the Admin API until told otherwise.
    pub const fn of<T: Entity>() -> Self {
        Self {
            kind: T::KIND,
            collection: None,
            nested: None,
            endpoint_key: None,
            nested_key: None,
            unique_together: &[],
            defaults: None,
            input: None,
            normalise: None,
            transform: None,
            listing: None,
            variants: None,
            guard: None,
            extend: None,
            record: Record::of::<T>,
            decode: decode::<T>,
            built: OnceLock::new(),
        }
    }

    /// Serves it in the Admin API at `/segment`, addressed by id or `endpoint_key`.
    #[must_use]
    pub const fn at(mut self, segment: &'static str, endpoint_key: Option<&'static str>) -> Self {
        self.collection = Some(segment);
        self.endpoint_key = endpoint_key;
        self
    }

    /// Sets the path segment below a parent.
    #[must_use]
    pub const fn nested(mut self, segment: &'static str) -> Self {
        self.nested = Some(segment);
        self
    }

    /// Sets the field it is addressed by below its parent only.
    #[must_use]
    pub const fn nested_key(mut self, field: &'static str) -> Self {
        self.nested_key = Some(field);
        self
    }

    /// Sets the unique field it is addressed by, for kinds outside the Admin API.
    #[must_use]
    pub const fn keyed(mut self, endpoint_key: &'static str) -> Self {
        self.endpoint_key = Some(endpoint_key);
        self
    }

    /// Adds sets of fields that may not repeat together.
    #[must_use]
    pub const fn unique_together(mut self, sets: &'static [&'static [&'static str]]) -> Self {
        self.unique_together = sets;
        self
    }

    /// Sets the defaults that depend on other fields.
    #[must_use]
    pub const fn defaults(mut self, fill: fn(&mut Document)) -> Self {
        self.defaults = Some(fill);
        self
    }

    /// Sets what fields sent imply for others.
    #[must_use]
    pub const fn input(mut self, imply: fn(&mut Document)) -> Self {
        self.input = Some(imply);
        self
    }

    /// Sets the step to the normal form.
    #[must_use]
    pub const fn normalise(mut self, step: Transform) -> Self {
        self.normalise = Some(step);
        self
    }

    /// Lists other entities by name in a member.
    #[must_use]
    pub const fn listing(mut self, listing: &'static Listing) -> Self {
        self.listing = Some(listing);
        self
    }

    /// Sets what its `config` may hold.
    #[must_use]
    pub const fn variants(mut self, variants: &'static Variants) -> Self {
        self.variants = Some(variants);
        self
    }

    /// Sets what may refuse a delete.
    #[must_use]
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Adds fields and rules to those of the type: for a kind that is not the same in every process.
    #[must_use]
    pub const fn extend(mut self, edit: fn(Record) -> Record) -> Self {
        self.extend = Some(edit);
        self
    }

    /// Whether the Admin API has it, if only below a parent.
    pub const fn in_api(&self) -> bool {
        self.collection.is_some() || self.nested.is_some()
    }

    /// What `/schemas` shows of it.
    pub fn describe(&self) -> Map<String, Value> {
        let mut shown = self.record().describe();
        if let (Some(listing), Some(Value::Array(fields))) = (self.listing, shown.get_mut("fields"))
        {
            let elements = json!({ "type": "string" });
            fields.push(json!({ listing.member: {
                "type": "array",
                "transient": true,
                "elements": elements,
            } }));
        }
        shown
    }

    /// Sets the step from completed to stored document.
    #[must_use]
    pub const fn transform(mut self, step: Transform) -> Self {
        self.transform = Some(step);
        self
    }

    /// Its fields and rules.
    pub fn record(&self) -> &Record {
        self.built.get_or_init(|| {
            let record = (self.record)();
            match self.extend {
                None => record,
                Some(edit) => edit(record),
            }
        })
    }

    /// The field that holds when an entity ends, for kinds that need not last.
    pub fn expiry(&self) -> Option<&'static str> {
        self.record().fields.iter().find(|field| field.expires).map(|field| field.name)
    }

    /// Fields that refer to other entities, with the kind they refer to.
    pub fn references(&self) -> impl Iterator<Item = (&Field, &'static str, OnDelete)> {
        self.record().fields.iter().filter_map(|field| match field.kind {
            Kind::Foreign(kind) => Some((field, kind, field.on_delete)),
            _ => None,
        })
    }

    /// The typed form of a stored document.
    ///
    /// # Errors
    ///
    /// When the type refuses what the schema allowed; the text names the member.
    pub fn decode(&self, document: &Document) -> Result<Arc<dyn Any + Send + Sync>, Violations> {
        (self.decode)(document)
    }
}

impl fmt::Debug for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntityType({})", self.kind)
    }
}

fn decode<T: Entity>(document: &Document) -> Result<Arc<dyn Any + Send + Sync>, Violations> {
    T::deserialize(serde_json::Value::Object(document.clone()))
        .map(|entity| Arc::new(entity) as Arc<dyn Any + Send + Sync>)
        .map_err(|why| {
            let mut violations = Violations::new();
            violations.add_entity(why.to_string());
            violations
        })
}
