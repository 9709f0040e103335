//! [`Vm`]: one machine with its libraries, limits and environments.

use std::sync::{Arc, Weak};

use mlua::chunk::ChunkMode;
use mlua::{Error, Function, Lua, LuaOptions, Result, StdLib, Table, Value};

use super::abort::{self, Abort};
use super::engine::Engine;
use super::{limits, modules, ngx, pdk, sandbox, strings};

const PRELUDE: &str = include_str!("scripts/prelude.lua");

/// One machine.
pub(crate) struct Vm {
    pub(super) lua: Lua,
    /// Which of the machines ever made it is.
    pub(super) serial: u64,
    /// What code in configurations sees behind its own globals.
    seen: Table,
    /// Helpers in Lua, `scripts/prelude.lua`.
    kit: Table,
}

impl Vm {
    pub(super) fn new(engine: &Arc<Engine>, serial: u64) -> Result<Self> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default())?;
        limits::watch(&lua)?;
        strings::install(&lua)?;
        let judge = lua.create_function(|_, problem: Value| {
            Ok(match problem {
                Value::Error(error) => (Abort::inside(&error).is_some(), abort::text(&error)),
                other => (false, other.to_string().unwrap_or_default()),
            })
        })?;
        let expire = lua.create_function(|_, ()| limits::check())?;
        let print = pdk::log::line(&lua, tracing::Level::INFO)?;
        let is_heard = pdk::log::hearing(&lua, tracing::Level::INFO)?;
        let kit: Table = lua.load(PRELUDE).set_name("=prelude").call((
            judge,
            expire,
            Value::LightUserData(Lua::poll_pending()),
            print,
            is_heard,
        ))?;
        lua.set_named_registry_value(HEADERS, kit.get::<Table>("headers")?)?;
        let weak = Arc::downgrade(engine);
        ngx::install(&lua, &weak)?;
        pdk::install(&lua, &weak, &kit)?;
        modules::install(&lua, &weak)?;
        let seen = sandbox::environment(&lua, &engine.settings, &kit)?;
        lua.set_memory_limit(engine.settings.memory)?;
        Ok(Self { lua, serial, seen, kit })
    }

    /// Reads code of a configuration. It has globals of its own.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn untrusted(&self, code: &str) -> Result<Function> {
        let own = self.lua.create_table()?;
        own.raw_set("_G", &own)?;
        let behind = self.lua.create_table()?;
        behind.raw_set("__index", &self.seen)?;
        behind.raw_set("__metatable", false)?;
        own.set_metatable(Some(behind))?;
        // Lua names a text after its beginning; names cannot hold what ends one in C.
        let name = if code.contains('\0') { "=chunk" } else { code };
        self.lua
            .load(code)
            .set_name(name)
            .set_mode(ChunkMode::Text)
            .set_environment(own)
            .into_function()
    }

    /// Several pieces of code of a configuration as one function.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub(super) fn chain(&self, codes: &[String]) -> Result<Function> {
        let chunks = self.lua.create_table()?;
        for code in codes {
            chunks.raw_push(self.untrusted(code)?)?;
        }
        self.kit.get::<Function>("chain")?.call(chunks)
    }

    /// A method of a custom plugin's handler, with its configuration.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub(super) fn method(&self, handler: &Table, name: &str, config: &Table) -> Result<Function> {
        self.kit.get::<Function>("method")?.call((handler, name, config))
    }

    /// What `require` gives for a module.
    ///
    /// # Errors
    ///
    /// When there is none, or it fails.
    pub(super) fn module(&self, name: &str) -> Result<Value> {
        self.lua.globals().get::<Function>("require")?.call(name)
    }
}

const HEADERS: &str = "gateway.headers";

/// Has a table of headers found in any spelling of their names.
pub(super) fn as_headers(lua: &Lua, table: &Table) -> Result<()> {
    table.set_metatable(Some(lua.named_registry_value::<Table>(HEADERS)?))
}

/// The engine of functions registered in a machine.
///
/// # Errors
///
/// While the process ends.
pub(super) fn engine(weak: &Weak<Engine>) -> Result<Arc<Engine>> {
    weak.upgrade().ok_or_else(|| Error::runtime("the gateway is stopping"))
}
