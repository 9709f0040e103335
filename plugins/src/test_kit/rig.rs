#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, OnceLock};

use gateway_model::entities::{self, PluginInstance};
use gateway_model::{Catalog, Change, Clock, Id, Item, Key, Registry, Stored};
use serde_json::Value;

use crate::contract::{Handler, PluginType, Setup, Tools};
use crate::test_kit::Exchange;

/// 2026-01-01T00:00:30Z: the middle of a minute, so that windows do not turn by accident.
const NOW: u64 = 1_767_225_630_000;

/// A rig with nothing configured, standing at half past midnight's minute of 2026.
pub(crate) fn rig() -> Rig {
    Rig::new()
}

/// A catalog and the tools of a process.
pub(crate) struct Rig {
    pub(crate) clock: Clock,
    pub(crate) tools: Arc<Tools>,
    pub(crate) catalog: Arc<Catalog>,
}

/// One compiled instance.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) plugin: &'static PluginType,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) id: Id,
}

impl Rig {
    fn new() -> Self {
        static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
        let runtime = tokio::runtime::Handle::try_current().unwrap_or_else(|_| {
            RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap()).handle().clone()
        });
        let mut registry = Registry::new(entities::ALL.into_iter().chain(crate::entity_types()));
        crate::register(&mut registry);
        let clock = Clock::fixed(NOW);
        let client = crate::kit::http::client(std::time::Duration::from_secs(60)).unwrap();
        let tools = Tools::new(clock.clone(), runtime, client, prometheus::Registry::new());
        Self {
            clock,
            tools: Arc::new(tools),
            catalog: Arc::new(Catalog::empty(Arc::new(registry))),
        }
    }

    /// Writes, or gives the text of the refusal.
    pub(crate) fn try_apply(&mut self, change: Change) -> Result<Option<Arc<Stored>>, String> {
        let mut edit = self.catalog.edit(self.clock.unix_ms());
        let made = edit.apply(&[change]).map_err(|refusal| refusal.to_string())?;
        self.catalog = Arc::new(edit.finish().0);
        Ok(made.into_iter().next().flatten())
    }

    pub(crate) fn insert(&mut self, kind: &'static str, document: Value) -> Arc<Stored> {
        let Value::Object(document) = document else { panic!("a document is an object") };
        self.try_apply(Change::Insert { kind, document }).unwrap().unwrap()
    }

    pub(crate) fn patch(&mut self, kind: &'static str, id: Id, document: Value) {
        let Value::Object(document) = document else { panic!("a document is an object") };
        self.try_apply(Change::Patch { kind, key: Key::Id(id), document }).unwrap();
    }

    pub(crate) fn delete(&mut self, kind: &'static str, id: Id) {
        self.try_apply(Change::Delete { kind, key: Key::Id(id) }).unwrap();
    }

    /// Configures a global instance and compiles it.
    pub(crate) fn plugin(&mut self, name: &str, config: Value) -> Instance {
        self.try_plugin(name, config).unwrap()
    }

    /// As [`Rig::plugin`], or the text of the refusal, by schema or by plugin.
    pub(crate) fn try_plugin(&mut self, name: &str, config: Value) -> Result<Instance, String> {
        self.try_instance(serde_json::json!({ "name": name, "config": config }))
    }

    /// Configures an instance of any scope and compiles it. One that is refused is not kept.
    pub(crate) fn try_instance(&mut self, document: Value) -> Result<Instance, String> {
        let Value::Object(document) = document else { panic!("a document is an object") };
        let before = Arc::clone(&self.catalog);
        let stored = self.try_apply(Change::Insert { kind: "plugins", document })?.unwrap();
        self.compile(&stored).inspect_err(|_| self.catalog = before)
    }

    /// Compiles an instance of the catalog.
    pub(crate) fn compile(&self, stored: &Arc<Stored>) -> Result<Instance, String> {
        let instance = Item::<PluginInstance>::new(stored).unwrap();
        let plugin = crate::ALL.iter().find(|plugin| plugin.name == instance.name).unwrap();
        let setup = Setup { instance: &instance, tools: &self.tools };
        let handler =
            plugin.build(&instance.config, &setup).map_err(|violations| violations.message())?;
        Ok(Instance { plugin, handler, id: instance.id() })
    }

    /// A request of a client at 127.0.0.1.
    pub(crate) fn get(&self, target: &str) -> Exchange {
        Exchange::new(self, target)
    }
}
