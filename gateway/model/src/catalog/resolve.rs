//! References to vaults, resolved where an entity gets its typed form.
//!
//! The document keeps the reference; only the typed form holds the value. When a vault is written,
//! whatever refers to it is typed anew.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Catalog, Stored};
use crate::entities::{EnvVault, Vault};
use crate::reference::{ENV, Reference};
use crate::schema::{Field, Kind, Record};
use crate::{Document, Entity as _, EntityType, Id, Rejection};

/// What an entity refers to.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Names of the vaults.
    pub(super) vaults: HashSet<String>,
    /// References that lead nowhere, each with the reason.
    pub(super) missing: Vec<String>,
}

impl Catalog {
    /// Types a completed, checked document with the vaults there are. A reference that leads
    /// nowhere is the empty text.
    pub(super) fn typed(
        &self,
        kind: &'static EntityType,
        document: Document,
    ) -> Result<Arc<Stored>, Rejection> {
        if !document.values().any(mentions_vault) {
            return Stored::new(kind, &document).map(Arc::new);
        }
        let mut resolved = document.clone();
        let mut resolver = Resolver { catalog: self, found: References::default() };
        resolver.record(kind.record(), &mut resolved);
        let config = self.registry.config_of(kind, &document);
        if let (Some(record), Some(Value::Object(config))) = (config, resolved.get_mut("config")) {
            resolver.record(record, config);
        }
        Stored::resolved(kind, &document, &resolved, resolver.found).map(Arc::new)
    }

    /// Types anew what refers to a vault that `concerned` names, and gives what that is. An entity
    /// its type refuses now keeps the form it has.
    pub(super) fn renew(&mut self, concerned: impl Fn(&str) -> bool) -> Vec<(usize, Id)> {
        let mut renewed = Vec::new();
        for at in 0..self.collections.len() {
            let collection = Arc::clone(&self.collections[at]);
            for stored in collection.iter().filter(|stored| stored.refers_to(&concerned)) {
                let Ok(anew) = self.typed(stored.kind(), stored.document()) else {
                    continue;
                };
                Arc::make_mut(&mut self.collections[at]).put(anew);
                renewed.push((at, stored.id()));
            }
        }
        renewed
    }

    /// The value a reference stands for.
    ///
    /// # Errors
    ///
    /// Why there is none, as the end of a sentence.
    pub fn resolve(&self, text: &str) -> Result<String, String> {
        self.look_up(text).1
    }

    fn look_up(&self, text: &str) -> (Option<String>, Result<String, String>) {
        let Some(reference) = Reference::parse(text) else {
            return (None, Err("is not of the form {vault://<name>/<resource>}".to_owned()));
        };
        let name = Some(reference.vault.to_owned());
        let own = match reference.vault {
            ENV => None,
            prefix => match self.by::<Vault>("prefix", prefix) {
                Some(vault) => Some(own_prefix(&vault.config)),
                None => return (name, Err(format!("names no vault: '{prefix}' is not there"))),
            },
        };
        let value = self.registry.environment().get(&reference, own.as_deref());
        (name, value.map_err(|why| why.to_string()))
    }
}

/// The prefix of a vault's variables; every kind of vault there is has one.
fn own_prefix(config: &Document) -> String {
    let config: Result<EnvVault, _> = serde_json::from_value(Value::Object(config.clone()));
    config.ok().and_then(|config| config.prefix).unwrap_or_default()
}

/// The vaults a write concerns, by the names references call them.
pub(super) fn names<'s>(forms: impl IntoIterator<Item = &'s Arc<Stored>>) -> HashSet<String> {
    let vaults = forms.into_iter().filter(|stored| stored.kind().kind == Vault::KIND);
    vaults.filter_map(|stored| stored.text("prefix")).collect()
}

fn mentions_vault(value: &Value) -> bool {
    match value {
        Value::String(text) => Reference::is(text),
        Value::Array(list) => list.iter().any(mentions_vault),
        Value::Object(members) => members.values().any(mentions_vault),
        _ => false,
    }
}

struct Resolver<'c> {
    catalog: &'c Catalog,
    found: References,
}

impl Resolver<'_> {
    fn record(&mut self, record: &Record, document: &mut Document) {
        for field in &record.fields {
            if let Some(value) = document.get_mut(field.name) {
                self.value(field, value);
            }
        }
    }

    fn value(&mut self, field: &Field, value: &mut Value) {
        match (&field.kind, &mut *value) {
            (kind, Value::String(text)) if field.referenceable && Reference::is(text) => {
                let text = std::mem::take(text);
                *value = self.resolve(&text, kind);
            }
            (Kind::Record(record), Value::Object(inner)) => self.record(record, inner),
            (Kind::Array(element) | Kind::Set(element), Value::Array(list)) => {
                list.iter_mut().for_each(|one| self.value(element, one));
            }
            (Kind::Map { values, .. }, Value::Object(members)) => {
                members.values_mut().for_each(|one| self.value(values, one));
            }
            _ => {}
        }
    }

    fn resolve(&mut self, text: &str, kind: &Kind) -> Value {
        let (vault, value) = self.catalog.look_up(text);
        self.found.vaults.extend(vault);
        let value = value.unwrap_or_else(|why| {
            self.found.missing.push(format!("'{text}' {why}"));
            String::new()
        });
        match kind {
            Kind::Integer => value.parse::<i64>().unwrap_or_default().into(),
            Kind::Number => value.parse::<f64>().unwrap_or_default().into(),
            _ => value.into(),
        }
    }
}
