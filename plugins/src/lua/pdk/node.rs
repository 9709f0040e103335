//! `kong.node`: this process (kong/pdk/node.lua).

use std::sync::Weak;

use mlua::{Error, IntoLua as _, Lua, Result, Table, Value};

use super::super::engine::Engine;
use super::super::vm;

pub(super) fn namespace(lua: &Lua, engine: &Weak<Engine>) -> Result<Table> {
    let node = lua.create_table()?;
    let id = vm::engine(engine)?.settings.node_id.clone();
    node.set("get_id", lua.create_function(move |_, ()| Ok(id.clone()))?)?;
    node.set("get_hostname", lua.create_function(|_, ()| Ok(hostname()))?)?;
    let weak = engine.clone();
    node.set(
        "get_memory_stats",
        lua.create_function(move |lua, (unit, scale): (Value, Value)| {
            let unit = Unit::of(&unit, &scale)?;
            let stats = lua.create_table()?;
            let machine = lua.create_table()?;
            machine.set("pid", std::process::id())?;
            machine.set("http_allocated_gc", unit.of_bytes(lua, lua.used_memory())?)?;
            stats.set("workers_lua_vms", lua.create_sequence_from([machine])?)?;
            let dictionaries = lua.create_table()?;
            for (name, used, capacity) in vm::engine(&weak)?.dictionary_sizes() {
                let one = lua.create_table()?;
                one.set("capacity", unit.of_bytes(lua, capacity)?)?;
                one.set("allocated_slabs", unit.of_bytes(lua, used)?)?;
                dictionaries.set(name, one)?;
            }
            stats.set("lua_shared_dicts", dictionaries)?;
            Ok(stats)
        })?,
    )?;
    Ok(node)
}

/// What sizes are told in (kong/tools/string.lua, bytes_to_str).
#[derive(Clone, Copy)]
enum Unit {
    /// As a number.
    Bytes,
    /// As text: so many bytes, the unit's name, and digits after the point.
    Of(f64, &'static str, usize),
}

impl Unit {
    fn of(unit: &Value, scale: &Value) -> Result<Self> {
        let name = match unit {
            Value::Nil => "b".to_owned(),
            Value::String(name) => name.to_string_lossy().to_ascii_lowercase(),
            other => {
                let shown = other.to_string()?;
                return Err(Error::runtime(format!("invalid unit '{shown}' ({UNITS})")));
            }
        };
        let digits = match scale {
            Value::Nil => Some(2),
            scale => scale.as_usize().filter(|digits| *digits <= 16),
        };
        let digits =
            digits.ok_or_else(|| Error::runtime("scale must be equal or greater than 0"))?;
        Ok(match &*name {
            "b" => Self::Bytes,
            "k" => Self::Of(1024.0, "KiB", digits),
            "m" => Self::Of(1024.0 * 1024.0, "MiB", digits),
            "g" => Self::Of(1024.0 * 1024.0 * 1024.0, "GiB", digits),
            _ => return Err(Error::runtime(format!("invalid unit '{name}' ({UNITS})"))),
        })
    }

    fn of_bytes(self, lua: &Lua, bytes: usize) -> Result<Value> {
        match self {
            Self::Bytes => bytes.into_lua(lua),
            #[expect(clippy::cast_precision_loss, reason = "sizes of memory")]
            Self::Of(one, name, digits) => {
                format!("{:.digits$} {name}", bytes as f64 / one).into_lua(lua)
            }
        }
    }
}

const UNITS: &str = "expected 'k/K', 'm/M', or 'g/G'";

/// The name of this machine.
pub(in super::super) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
