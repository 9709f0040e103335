//! `kong.node`: this process (kong/pdk/node.lua).

use std::sync::Weak;

use mlua::{Lua, Result, Table};

use super::super::engine::Engine;
use super::super::vm;

pub(super) fn namespace(lua: &Lua, engine: &Weak<Engine>) -> Result<Table> {
    let node = lua.create_table()?;
    let id = vm::engine(engine)?.settings.node_id.clone();
    node.set("get_id", lua.create_function(move |_, ()| Ok(id.clone()))?)?;
    node.set("get_hostname", lua.create_function(|_, ()| Ok(hostname()))?)?;
    node.set(
        "get_memory_stats",
        lua.create_function(|lua, ()| {
            let stats = lua.create_table()?;
            let machine = lua.create_table()?;
            machine.set("pid", std::process::id())?;
            machine.set("http_allocated_gc", lua.used_memory())?;
            stats.set("workers_lua_vms", lua.create_sequence_from([machine])?)?;
            stats.set("lua_shared_dicts", lua.create_table()?)?;
            Ok(stats)
        })?,
    )?;
    Ok(node)
}

/// The name of this machine.
pub(in super::super) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
