#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex, OnceLock};

use gateway_model::entities::{self, PluginInstance};
use gateway_model::ports::{self, Applied, Applying};
use gateway_model::reference::Environment;
use gateway_model::{Catalog, Change, Clock, Id, Item, Key, Registry, Stored};
use serde_json::Value;

use crate::contract::{Handler, Node, PluginType, Setup, Tools};
use crate::test_kit::Exchange;

/// 2026-01-01T00:00:30Z: the middle of a minute, so that windows do not turn by accident.
const NOW: u64 = 1_767_225_630_000;

/// A rig with nothing configured, standing at half past midnight's minute of 2026.
pub(crate) fn rig() -> Rig {
    rig_on(Node::default())
}

/// As [`rig`], in another place.
pub(crate) fn rig_on(node: Node) -> Rig {
    Rig::new(node)
}

/// A rig whose vaults hold this.
pub(crate) fn rig_knowing(environment: Environment) -> Rig {
    Rig::of(crate::ALL, Node::default(), environment)
}

/// A catalog and the tools of a process.
pub(crate) struct Rig {
    pub(crate) clock: Clock,
    pub(crate) tools: Arc<Tools>,
    pub(crate) catalog: Arc<Catalog>,
    types: &'static [PluginType],
    writer: Arc<Writer>,
}

/// What plugins write by: the catalog that is served.
struct Writer {
    clock: Clock,
    served: Mutex<Arc<Catalog>>,
}

impl ports::Entities for Writer {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.served.lock().unwrap())
    }

    fn apply(&self, changes: Vec<Change>) -> Applying {
        let mut served = self.served.lock().unwrap();
        let mut edit = served.edit(self.clock.unix_ms());
        let applied = edit.apply(&changes).map(|entities| {
            *served = Arc::new(edit.finish().0);
            Applied { catalog: Arc::clone(&served), entities }
        });
        Box::pin(std::future::ready(applied))
    }
}

/// One compiled instance.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) plugin: &'static PluginType,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) id: Id,
}

/// A rig whose Lua runs by these settings, with custom plugins of these names.
pub(crate) fn rig_with(settings: crate::lua::Settings, custom: &[&str]) -> Result<Rig, String> {
    let names: Vec<String> = custom.iter().map(|name| (*name).to_owned()).collect();
    let types = crate::with_custom(&settings, &names)?;
    let rig = Rig::of(types, Node::default(), Environment::default());
    crate::lua::start(&rig.tools, settings);
    Ok(rig)
}

impl Rig {
    fn new(node: Node) -> Self {
        Self::of(crate::ALL, node, Environment::default())
    }

    fn of(types: &'static [PluginType], node: Node, environment: Environment) -> Self {
        static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
        let runtime = tokio::runtime::Handle::try_current().unwrap_or_else(|_| {
            RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap()).handle().clone()
        });
        let mut registry = Registry::new(entities::ALL.into_iter().chain(crate::entity_types()));
        for plugin in types {
            registry.add_plugin(plugin.schema());
        }
        registry.set_environment(environment);
        let clock = Clock::fixed(NOW);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let tools =
            Tools::new(clock.clone(), runtime, client, prometheus::Registry::new()).on(node);
        let catalog = Arc::new(Catalog::empty(Arc::new(registry)));
        let served = Mutex::new(Arc::clone(&catalog));
        let writer = Arc::new(Writer { clock: clock.clone(), served });
        tools.entities.connect(Arc::clone(&writer) as _);
        Self { clock, tools: Arc::new(tools), catalog, types, writer }
    }

    /// The catalog requests are served from: what a test and what plugins wrote.
    pub(crate) fn served(&self) -> Arc<Catalog> {
        ports::Entities::catalog(&*self.writer)
    }

    /// Takes over what plugins wrote.
    pub(crate) fn follow(&mut self) {
        self.catalog = self.served();
    }

    fn serve(&mut self, catalog: Arc<Catalog>) {
        *self.writer.served.lock().unwrap() = Arc::clone(&catalog);
        self.catalog = catalog;
    }

    /// Writes, or gives the text of the refusal.
    pub(crate) fn try_apply(&mut self, change: Change) -> Result<Option<Arc<Stored>>, String> {
        let mut edit = self.served().edit(self.clock.unix_ms());
        let made = edit.apply(&[change]).map_err(|refusal| refusal.to_string())?;
        self.serve(Arc::new(edit.finish().0));
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
        let compiled = self.compile(&stored);
        if compiled.is_err() {
            self.serve(before);
        }
        compiled
    }

    /// Compiles an instance of the catalog.
    pub(crate) fn compile(&self, stored: &Arc<Stored>) -> Result<Instance, String> {
        let instance = Item::<PluginInstance>::new(stored).unwrap();
        let plugin = self.types.iter().find(|plugin| plugin.name == instance.name).unwrap();
        let setup = Setup { instance: &instance, catalog: &self.catalog, tools: &self.tools };
        let handler =
            plugin.build(&instance.config, &setup).map_err(|violations| violations.message())?;
        Ok(Instance { plugin, handler, id: instance.id() })
    }

    /// A request of a client at 127.0.0.1.
    pub(crate) fn get(&self, target: &str) -> Exchange {
        Exchange::new(self, target)
    }
}
