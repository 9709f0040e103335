//! Custom plugins: `kong/plugins/NAME/handler.lua` and `schema.lua`, found by `lua_package_path`.
//!
//! They are read once, while the process starts. The schema becomes one of ours, so the Admin API
//! validates and completes instances as it does for any plugin; the handler's methods are run in
//! the phases they are named after (kong/runloop/plugins_iterator.lua).

mod files;
mod rules;
mod schema;

use std::sync::Arc;

use gateway_model::{Document, PluginSchema, Violations};
use mlua::{Function, Table, Value};

use super::abort;
use super::engine::Engine;
use super::handler::{Mentions, Script};
use super::limits;
use super::phase::Phase;
use super::settings::Settings;
use super::vm::Vm;
use crate::contract::{Dynamic, Handler, Phases, PluginType, Setup};

/// The methods a handler may have besides those of a configured function.
const METHODS: [Phase; 7] = [
    Phase::Certificate,
    Phase::Rewrite,
    Phase::Access,
    Phase::Response,
    Phase::HeaderFilter,
    Phase::BodyFilter,
    Phase::Log,
];

/// One plugin that is two files.
struct Custom {
    schema: PluginSchema,
    phases: Vec<Phase>,
    mentions: Mentions,
}

/// Reads custom plugins; they live as long as the process.
///
/// # Errors
///
/// A plugin that is not there, or whose files cannot be used, in one line.
pub(crate) fn load(settings: &Settings, names: &[String]) -> Result<Vec<PluginType>, String> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let engine = Arc::new(Engine::for_schemas(settings.clone()));
    // Rules in Lua run on this machine for as long as there are writes.
    let vm = engine.machine().map_err(|why| abort::text(&why))?;
    let keep: &'static Loader = Box::leak(Box::new(Loader { engine, vm }));
    names.iter().map(|name| one(keep, name)).collect()
}

/// What reads schemas, and runs their rules.
pub(super) struct Loader {
    engine: Arc<Engine>,
    vm: Arc<Vm>,
}

impl Loader {
    /// Runs a function of a schema, bounded as any call.
    fn within<R>(&self, work: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
        limits::within(self.engine.settings.time, work).0
    }
}

fn one(loader: &'static Loader, name: &str) -> Result<PluginType, String> {
    let module = |part: &str| format!("kong.plugins.{name}.{part}");
    if loader.engine.source(&module("handler")).is_err() {
        return Err(format!("plugins: {name} plugin is enabled but not installed"));
    }
    let told = |why: &mlua::Error| format!("plugins: {name}: {}", abort::text(why));
    let table = |part: &str| -> Result<Table, String> {
        let made = loader.within(|| loader.vm.module(&module(part))).map_err(|why| told(&why))?;
        match made {
            Value::Table(table) => Ok(table),
            other => {
                let kind = other.type_name();
                Err(format!("plugins: {name}: {part}.lua gives no table but {kind}"))
            }
        }
    };
    let handler = table("handler")?;
    let phases: Vec<Phase> = METHODS
        .into_iter()
        .filter(|phase| matches!(handler.get::<Value>(phase.name()), Ok(Value::Function(_))))
        .collect();
    // Kong refuses this too: filters would see an answer that was sent already.
    let filters = [Phase::HeaderFilter, Phase::BodyFilter];
    if phases.contains(&Phase::Response) && filters.iter().any(|one| phases.contains(one)) {
        let told = "cannot implement both 'response' and 'header_filter' or 'body_filter' methods";
        return Err(format!("plugins: {name}: {told}"));
    }
    let priority = handler.get::<Option<i32>>("PRIORITY").ok().flatten().unwrap_or(0);
    let version = handler.get::<Option<String>>("VERSION").ok().flatten().unwrap_or_default();
    let name: &'static str = name.to_owned().leak();
    let declared = table("schema")?;
    let schema = schema::of(loader, name, version.leak(), priority, &declared)
        .map_err(|why| format!("plugins: {name}: schema.lua: {why}"))?;
    let mentions = files::mentions(&loader.engine, name);
    let acts = phases.iter().fold(Phases::NONE, |acts, phase| acts.and(phase.acts()));
    let acts = acts.and(Phases::HEADER_FILTER).and(Phases::BODY_FILTER);
    let plugin: &'static Custom = Box::leak(Box::new(Custom { schema, phases, mentions }));
    Ok(PluginType::dynamic(name, priority, acts, plugin))
}

impl Dynamic for Custom {
    fn schema(&self) -> PluginSchema {
        self.schema.clone()
    }

    fn build(&self, config: &Document, setup: &Setup<'_>) -> Result<Arc<dyn Handler>, Violations> {
        let engine = Engine::of(setup.tools);
        let code = files::Files::new(self.schema.name, self.phases.clone(), config, setup);
        let who = (self.schema.name, setup.instance.id());
        let phases = self.phases.iter().copied();
        Ok(Arc::new(Script::new(engine, who, phases, self.mentions, Box::new(code))))
    }
}

/// A function of a schema as a rule: true, or nil and a text.
fn verdict(loader: &Loader, function: &Function, value: Value) -> Result<(), String> {
    let told: mlua::Result<(Value, Value)> = loader.within(|| function.call(value));
    match told {
        Ok((Value::Nil | Value::Boolean(false), why)) => Err(match why {
            Value::String(why) => why.to_string_lossy(),
            _ => "invalid value".to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(why) => Err(abort::text(&why)),
    }
}
