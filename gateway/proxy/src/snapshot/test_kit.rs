//! What the tests of router, chain and snapshot share: a catalog to write to, and plugins that do
//! nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use gateway_model::entities::{self, Route, Service};
use gateway_model::schema::Record;
use gateway_model::{
    Catalog, Change, Clock, Document, Id, Item, Registry, Rejection, Violations, Write,
};
use plugins::contract::{Handler, Phases, Plugin, PluginType, Setup, Tools};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::router::{CompiledRoute, Flavour};

/// A catalog to write to.
pub(crate) struct World {
    pub(crate) catalog: Arc<Catalog>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(PLUGINS)
    }

    /// One that knows these plugins.
    pub(crate) fn with(plugins: &[PluginType]) -> Self {
        let mut registry = Registry::new(entities::with_expressions());
        for plugin in plugins {
            registry.add_plugin(plugin.schema());
        }
        Self { catalog: Arc::new(Catalog::empty(Arc::new(registry))) }
    }

    /// Applies changes that are valid, and tells what they wrote.
    pub(crate) fn write(&mut self, changes: &[Change]) -> Vec<Write> {
        self.try_write(changes).unwrap_or_else(|why| panic!("{why}: {changes:?}"))
    }

    pub(crate) fn try_write(&mut self, changes: &[Change]) -> Result<Vec<Write>, Rejection> {
        let mut edit = self.catalog.edit(1_000);
        edit.apply(changes)?;
        let (next, writes) = edit.finish();
        self.catalog = Arc::new(next);
        Ok(writes)
    }

    /// All routes, compiled without plugins.
    pub(crate) fn compiled(&self, flavour: Flavour) -> Vec<Arc<CompiledRoute>> {
        let compile = |route: Item<Route>| {
            let service =
                route.service.and_then(|of| self.catalog.get::<Service>(of.id)).map(Into::into);
            Arc::new(CompiledRoute::new(route, service, Arc::default(), flavour, None).unwrap())
        };
        self.catalog.all::<Route>().map(compile).collect()
    }
}

/// A readable id that grows with `n`.
pub(crate) fn id(n: u32) -> Id {
    Id::parse(&format!("00000000-0000-4000-8000-{n:012}")).unwrap()
}

pub(crate) fn document(value: Value) -> Document {
    let Value::Object(document) = value else { panic!("no object: {value}") };
    document
}

pub(crate) fn insert(kind: &'static str, value: Value) -> Change {
    Change::Insert { kind, document: document(value) }
}

pub(crate) fn patch(kind: &'static str, id: Id, value: Value) -> Change {
    Change::Patch { kind, key: id.into(), document: document(value) }
}

pub(crate) fn delete(kind: &'static str, id: Id) -> Change {
    Change::Delete { kind, key: id.into() }
}

/// A plugin instance; `scope` maps `route`, `service` and `consumer` to ids.
pub(crate) fn plugin(n: u32, name: &str, scope: &[(&str, Id)]) -> Change {
    let mut value = json!({ "id": id(n), "name": name });
    for (field, of) in scope {
        value[*field] = json!({ "id": of });
    }
    insert("plugins", value)
}

/// Plugins that do nothing, two of them of equal priority. None is in alphabetical order.
pub(crate) static PLUGINS: &[PluginType] =
    &[PluginType::of::<Echo>(), PluginType::of::<Bravo>(), PluginType::of::<Alpha>()];

/// The configuration of all of them.
#[derive(Clone, Deserialize, Record)]
pub(crate) struct Config {
    /// 13 is refused, but only when the handler is built.
    #[record(default = 0)]
    value: u32,
}

macro_rules! silent {
    ($name:ident, $text:literal, $priority:literal, $phases:expr) => {
        struct $name;
        impl Handler for $name {}
        impl Plugin for $name {
            const NAME: &'static str = $text;
            const PRIORITY: i32 = $priority;
            const PHASES: Phases = $phases;
            type Config = Config;

            fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
                match config.value {
                    13 => Err(Violations::one("value", "unlucky")),
                    _ => Ok(Self),
                }
            }
        }
    };
}

silent!(Alpha, "alpha", 10, Phases::ACCESS.and(Phases::LOG));
silent!(Bravo, "bravo", 10, Phases::REWRITE.and(Phases::ACCESS));
silent!(Echo, "echo", 20, Phases::ACCESS.and(Phases::HEADER_FILTER));

pub(crate) fn tools() -> Arc<Tools> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tools_on(runtime.handle())
}

pub(crate) fn tools_on(runtime: &tokio::runtime::Handle) -> Arc<Tools> {
    let client = reqwest::Client::new();
    let metrics = prometheus::Registry::new();
    Arc::new(Tools::new(Clock::fixed(0), runtime.clone(), client, metrics))
}
