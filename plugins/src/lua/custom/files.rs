//! The files of a custom plugin as the code of an instance.

use std::sync::Arc;

use gateway_model::Document;
use mlua::{Error, Function, Result, Table, Value};

use super::super::engine::Engine;
use super::super::handler::{Code, Mentions};
use super::super::json;
use super::super::phase::Phase;
use super::super::vm::Vm;
use crate::contract::Setup;

/// The handler of a plugin with the configuration of an instance.
pub(super) struct Files {
    name: &'static str,
    phases: Vec<Phase>,
    config: Document,
}

impl Files {
    /// The configuration as handlers see it: with what the instance is attached to, without nulls
    /// (kong/runloop/plugins_iterator.lua, get_plugin_config).
    pub(super) fn new(
        name: &'static str,
        phases: Vec<Phase>,
        config: &Document,
        setup: &Setup<'_>,
    ) -> Self {
        let mut config = config.clone();
        let instance = setup.instance;
        let mut put = |name: &str, id: Option<String>| {
            if let Some(id) = id {
                config.insert(name.to_owned(), id.into());
            }
        };
        put("__plugin_id", Some(instance.id().to_string()));
        put("plugin_instance_name", instance.instance_name.clone());
        put("route_id", instance.route.map(|to| to.id.to_string()));
        put("service_id", instance.service.map(|to| to.id.to_string()));
        put("consumer_id", instance.consumer.map(|to| to.id.to_string()));
        Self { name, phases, config }
    }
}

impl Code for Files {
    fn load(&self, vm: &Vm) -> Result<Vec<(Phase, Function)>> {
        let module = format!("kong.plugins.{}.handler", self.name);
        let Value::Table(handler) = vm.module(&module)? else {
            return Err(Error::runtime(format!("{module} gives no table")));
        };
        start(vm, self.name, &handler)?;
        let config = json::object(&vm.lua, &self.config, &Value::Nil)?;
        self.phases
            .iter()
            .map(|phase| Ok((*phase, vm.method(&handler, phase.name(), &config)?)))
            .collect()
    }
}

/// Runs `init_worker` once in each machine.
fn start(vm: &Vm, name: &str, handler: &Table) -> Result<()> {
    let key = format!("gateway.started.{name}");
    if vm.lua.named_registry_value::<Option<bool>>(&key)? == Some(true) {
        return Ok(());
    }
    vm.lua.set_named_registry_value(&key, true)?;
    match handler.get::<Value>("init_worker")? {
        Value::Function(function) => function.call(handler),
        _ => Ok(()),
    }
}

/// What the plugin's own files mention, those in its folder beside the handler too.
pub(super) fn mentions(engine: &Arc<Engine>, name: &str) -> Mentions {
    let Ok((handler, text)) = engine.source(&format!("kong.plugins.{name}.handler")) else {
        return Mentions::default();
    };
    let folder = handler.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let paths = folder.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "lua"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .fold(Mentions::default().read(&text), |mentions, text| mentions.read(&text))
}
