//! [`Registry`]: the kinds and plugins one process knows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::reference::Environment;
use crate::schema::{Auto, Kind, Mode, Record, Rule};
use crate::{Document, EntityType, Violations};

/// What the control plane knows of a plugin: its schema and where it may be attached.
#[derive(Clone, Debug)]
pub struct PluginSchema {
    /// `rate-limiting`.
    pub name: &'static str,
    /// Shown in `GET /`.
    pub version: &'static str,
    /// Higher runs first.
    pub priority: i32,
    /// The `config` record.
    pub record: Record,
    /// Which scopes an instance may have.
    pub scopes: Scopes,
    /// Protocols an instance may list.
    pub protocols: &'static [&'static str],
    /// Protocols of an instance that lists none.
    pub default_protocols: &'static [&'static str],
}

/// Which scopes an instance of a plugin may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// Attached to a service.
    pub service: bool,
    /// Attached to a route.
    pub route: bool,
    /// Attached to a consumer.
    pub consumer: bool,
    /// Attached to nothing.
    pub global: bool,
}

impl Scopes {
    /// Anywhere.
    pub const ALL: Self = Self { service: true, route: true, consumer: true, global: true };
    /// Anywhere but on a consumer: what authentication plugins allow.
    pub const NO_CONSUMER: Self = Self { consumer: false, ..Self::ALL };
}

/// The kinds and plugins one process knows. Built once, by the binary.
#[derive(Debug, Default)]
pub struct Registry {
    kinds: Vec<&'static EntityType>,
    by_name: BTreeMap<&'static str, usize>,
    plugins: BTreeMap<&'static str, PluginSchema>,
    enabled: BTreeSet<&'static str>,
    environment: Environment,
}

impl Registry {
    /// A registry of these kinds; a kind comes after those it refers to.
    pub fn new(kinds: impl IntoIterator<Item = &'static EntityType>) -> Self {
        let mut registry = Self::default();
        for kind in kinds {
            registry.by_name.insert(kind.kind, registry.kinds.len());
            registry.kinds.push(kind);
        }
        registry
    }

    /// Adds a plugin, enabled.
    pub fn add_plugin(&mut self, plugin: PluginSchema) {
        self.enabled.insert(plugin.name);
        self.plugins.insert(plugin.name, plugin);
    }

    /// Leaves only the plugins `keep` accepts enabled.
    pub fn enable_only(&mut self, keep: impl Fn(&str) -> bool) {
        self.enabled.retain(|name| keep(name));
    }

    /// Lets references to vaults lead there.
    pub fn set_environment(&mut self, environment: Environment) {
        self.environment = environment;
    }

    /// Where references to vaults lead.
    pub(crate) const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Every kind, those referred to first.
    pub fn kinds(&self) -> &[&'static EntityType] {
        &self.kinds
    }

    /// The kind of this plural name.
    pub fn kind(&self, name: &str) -> Option<&'static EntityType> {
        self.index(name).map(|index| self.kinds[index])
    }

    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The schema of an enabled plugin.
    pub fn plugin(&self, name: &str) -> Option<&PluginSchema> {
        self.enabled.contains(name).then(|| self.plugins.get(name)).flatten()
    }

    /// Enabled plugins, by name.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginSchema> {
        self.plugins.values().filter(|plugin| self.enabled.contains(plugin.name))
    }

    /// Every plugin this process has, enabled or not, by name.
    pub fn installed(&self) -> impl Iterator<Item = &PluginSchema> {
        self.plugins.values()
    }

    /// Input spellings to fields, defaults filled in.
    pub fn complete(&self, kind: &EntityType, document: &mut Document) -> Violations {
        let plugin = self.plugin_of(kind, document);
        if let Some(plugin) = plugin {
            let protocols = document.entry("protocols").or_insert(Value::Null);
            if protocols.is_null() {
                *protocols = plugin.default_protocols.into();
            }
        }
        if let Some(fill) = kind.defaults {
            fill(document);
        }
        let mut violations = kind.record().complete(document);
        if has_config(kind) {
            let record = self.config_of(kind, document);
            // Also without a known plugin: then the name is what is wrong, and said alone.
            let config = document.entry("config").or_insert(Value::Null);
            if config.is_null() {
                *config = Value::Object(Map::new());
            }
            if let (Some(record), Value::Object(config)) = (record, config) {
                let inner = record.complete(config);
                if !inner.is_empty() {
                    violations.add("config", Value::Object(inner.into_fields()));
                }
            }
        }
        violations
    }

    /// Turns the input spellings of a partial update into fields, before it is merged.
    pub fn expand_update(
        &self,
        kind: &EntityType,
        update: &mut Document,
        current: &Document,
    ) -> Violations {
        let mut violations = Violations::new();
        kind.record().expand(update, &mut violations);
        let named = if update.contains_key("name") { &*update } else { current };
        let record = self.config_of(kind, named);
        if let (Some(record), Some(Value::Object(config))) = (record, update.get_mut("config")) {
            let mut inner = Violations::new();
            record.expand(config, &mut inner);
            if !inner.is_empty() {
                violations.add("config", Value::Object(inner.into_fields()));
            }
        }
        violations
    }

    /// Whether the object at a dotted path of a document is a record, merged member by member.
    pub fn is_record(&self, kind: &EntityType, document: &Document, path: &str) -> bool {
        let config = self.config_of(kind, document);
        let field = match (config, path.strip_prefix("config.")) {
            (Some(config), Some(inner)) => config.at(inner),
            _ => kind.record().at(path),
        };
        field.is_some_and(|field| matches!(field.kind, Kind::Record(_) | Kind::Abstract))
    }

    /// Every broken rule of a completed document.
    pub fn check(&self, kind: &EntityType, document: &Document, mode: Mode) -> Violations {
        if !has_config(kind) {
            return kind.record().check_document(document, mode);
        }
        let mut violations = kind.record().check_fields(document);
        let name = document.get("name").and_then(Value::as_str);
        if let Some(variants) = kind.variants {
            match name.map(|name| (name, variants.find(name))) {
                Some((_, Some(variant))) => {
                    check_config(variant.record(), document, mode, &mut violations);
                }
                Some((name, None)) => violations.add("name", (variants.unknown)(name).into()),
                None => {}
            }
            return violations;
        }
        match name.map(|name| (name, self.plugin(name))) {
            Some((_, Some(plugin))) => self.check_plugin(plugin, document, mode, &mut violations),
            Some((name, None)) => violations.add(
                "name",
                Value::String(format!(
                    "plugin '{name}' not enabled; add it to the 'plugins' configuration property"
                )),
            ),
            None => {}
        }
        violations
    }

    fn check_plugin(
        &self,
        plugin: &PluginSchema,
        document: &Document,
        mode: Mode,
        violations: &mut Violations,
    ) {
        check_config(&plugin.record, document, mode, violations);
        let scopes = [
            ("service", plugin.scopes.service),
            ("route", plugin.scopes.route),
            ("consumer", plugin.scopes.consumer),
        ];
        for (scope, _) in scopes.iter().filter(|(_, allowed)| !allowed) {
            if document.get(*scope).is_some_and(|value| !value.is_null()) {
                violations.add(scope, Value::String("value must be null".into()));
            }
        }
        let allowed: Vec<Value> = plugin.protocols.iter().map(|name| (*name).into()).collect();
        let rule = Rule::OneOf(allowed);
        if let Some(Value::Array(protocols)) = document.get("protocols") {
            let problems: Vec<Value> = protocols
                .iter()
                .map(|one| rule.check(one).err().map_or(Value::Null, Value::String))
                .collect();
            if problems.iter().any(|problem| !problem.is_null()) {
                violations.add("protocols", Value::Array(problems));
            }
        }
    }

    /// Fills in what a plugin's configuration leaves to the platform. Doing it again changes nothing.
    pub(crate) fn fill_random(&self, kind: &EntityType, document: &mut Document) {
        let Some(plugin) = self.plugin_of(kind, document) else { return };
        let random =
            plugin.record.fields.iter().filter(|field| field.auto == Some(Auto::RandomText));
        let names: Vec<&str> = random.map(|field| field.name).collect();
        if names.is_empty() {
            return;
        }
        let config = document.entry("config").or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(config) = config else { return };
        for name in names {
            let value = config.entry(name).or_insert(Value::Null);
            if value.is_null() {
                *value = crate::random_text().into();
            }
        }
    }

    /// The document as an answer shows it: deprecated names beside the new ones.
    pub fn shown(&self, kind: &EntityType, document: Document) -> Document {
        let mut shown = document;
        kind.record().echo_shorthands(&mut shown);
        let record = self.config_of(kind, &shown);
        if let (Some(record), Some(Value::Object(config))) = (record, shown.get_mut("config")) {
            record.echo_shorthands(config);
        }
        shown
    }

    /// Whether [`Self::shown`] may add something to documents of a kind.
    pub(crate) fn adds_to(&self, kind: &EntityType) -> bool {
        has_config(kind) || kind.record().has_echoes()
    }

    /// The record of a document's `config`, `None` where there is no such member or its `name`
    /// is unknown.
    pub(crate) fn config_of<'a>(
        &'a self,
        kind: &EntityType,
        document: &Document,
    ) -> Option<&'a Record> {
        match kind.variants {
            Some(variants) => {
                let name = document.get("name").and_then(Value::as_str)?;
                variants.find(name).map(crate::Variant::record)
            }
            None => self.plugin_of(kind, document).map(|plugin| &plugin.record),
        }
    }

    fn plugin_of(&self, kind: &EntityType, document: &Document) -> Option<&PluginSchema> {
        (has_config(kind) && kind.variants.is_none())
            .then(|| document.get("name").and_then(Value::as_str))
            .flatten()
            .and_then(|name| self.plugin(name))
    }
}

fn check_config(record: &Record, document: &Document, mode: Mode, violations: &mut Violations) {
    let Some(Value::Object(config)) = document.get("config") else { return };
    let mut inner = Violations::new();
    let broken = record.check_fields(config);
    if !broken.is_empty() {
        inner.add("config", Value::Object(broken.into_fields()));
    }
    record.run_checks(config, mode, "config.", &mut inner);
    violations.add_all(inner);
}

fn has_config(kind: &EntityType) -> bool {
    kind.record().fields.iter().any(|field| matches!(field.kind, Kind::Abstract))
}
