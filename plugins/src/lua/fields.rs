//! `custom_fields_by_lua`: members of log entries that code computes.

use std::sync::Arc;

use dashmap::DashMap;
use gateway_model::Violations;
use mlua::{Function, Result, Value as Lv};
use serde_json::Value;

use super::abort;
use super::current::{Current, Kept, Log, PluginRun, on_behalf};
use super::engine::Engine;
use super::json;
use super::limits;
use super::phase::Phase;
use super::vm::Vm;
use crate::contract::{LogMembers, Setup, Summary};

/// Members of log entries that code computes.
pub(crate) struct Fields {
    engine: Arc<Engine>,
    plugin: PluginRun,
    codes: Vec<(String, String)>,
    /// By the machine's number.
    loaded: DashMap<u64, Arc<[Function]>>,
}

impl Fields {
    /// The members of a configuration; `None` when there are none.
    ///
    /// # Errors
    ///
    /// Code that cannot be read, or may not run here (kong/db/schema/typedefs.lua, lua_code).
    pub(crate) fn build(
        codes: Vec<(String, String)>,
        setup: &Setup<'_>,
    ) -> std::result::Result<Option<Self>, Violations> {
        if codes.is_empty() {
            return Ok(None);
        }
        let engine = Engine::of(setup.tools);
        for (_, code) in &codes {
            engine.permits().and_then(|()| engine.parses(code)).map_err(|why| {
                Violations::one("custom_fields_by_lua", format!("Error parsing function: {why}"))
            })?;
        }
        let plugin =
            PluginRun { name: setup.instance.name.as_str().into(), id: setup.instance.id() };
        Ok(Some(Self { engine, plugin, codes, loaded: DashMap::new() }))
    }

    /// Adds the members to the entry of an exchange. One whose code fails is left out.
    pub(crate) fn add_to(&self, summary: &Summary<'_>, entry: &mut Value) {
        let begun = self.begin(summary, entry.clone());
        let (now, functions) = match begun {
            Ok(begun) => begun,
            Err(why) => {
                tracing::error!(plugin = &*self.plugin.name, "[lua] {}", abort::text(&why));
                return;
            }
        };
        let vm = Arc::clone(&now.vm);
        let mut slot = Some(now);
        for ((name, _), function) in self.codes.iter().zip(functions.iter()) {
            match self.value(&vm, &mut slot, function) {
                Ok(value) => LogMembers::put(entry, name, value),
                Err(why) => {
                    let (plugin, text) = (&*self.plugin.name, abort::text(&why));
                    tracing::error!(plugin, "[lua] custom_fields_by_lua, {name}: {text}");
                }
            }
        }
    }

    fn value(
        &self,
        vm: &Arc<Vm>,
        slot: &mut Option<Box<Current>>,
        function: &Function,
    ) -> Result<Value> {
        let time = self.engine.settings.time;
        let made: Result<Lv> = on_behalf(slot, || limits::within(time, || function.call(())).0);
        let made = made.inspect_err(|why| self.engine.heed(vm, why))?;
        json::from_lua(&vm.lua, &made)
    }

    fn begin(
        &self,
        summary: &Summary<'_>,
        entry: Value,
    ) -> Result<(Box<Current>, Arc<[Function]>)> {
        let mut facts = summary.facts.clone();
        let kept = match facts.notes.remove::<Kept>() {
            Some(kept) => kept,
            None => Kept::new(&self.engine.machine()?)?,
        };
        let vm = Arc::clone(&kept.vm);
        facts.notes.insert(kept);
        let functions = self.functions(&vm)?;
        let now = Box::new(Current {
            engine: Arc::clone(&self.engine),
            vm,
            phase: Phase::Log,
            plugin: self.plugin.clone(),
            request: Arc::new(summary.request.clone()),
            facts,
            response: summary.response.map(|head| Arc::new(head.clone())),
            source: summary.source,
            piece: None,
            whole: None,
            log: Some(Log::of(summary, entry)),
            exit: None,
            status: None,
            said: Vec::new(),
        });
        Ok((now, functions))
    }

    fn functions(&self, vm: &Vm) -> Result<Arc<[Function]>> {
        if let Some(known) = self.loaded.get(&vm.serial) {
            return Ok(Arc::clone(&known));
        }
        let made: Result<Vec<Function>> =
            self.codes.iter().map(|(_, code)| vm.untrusted(code)).collect();
        let made: Arc<[Function]> = made?.into();
        let live = self.engine.serials();
        self.loaded.retain(|serial, _| live.contains(serial));
        self.loaded.insert(vm.serial, Arc::clone(&made));
        Ok(made)
    }
}
