//! `kong.ctx`: what code keeps for one exchange (kong/pdk/ctx.lua).

use std::sync::Arc;

use mlua::{Error, Lua, Result, Table, Value};

use super::super::current;

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let ctx = lua.create_table()?;
    let dynamic = lua.create_table()?;
    dynamic.set(
        "__index",
        lua.create_function(|lua, (_, name): (Table, Value)| {
            let name = match &name {
                Value::String(name) => name.to_string_lossy(),
                _ => return Ok(Value::Nil),
            };
            match &*name {
                "shared" => current::with(|now| Ok(Value::Table(now.kept()?.shared.clone()))),
                "plugin" => plugin(lua).map(Value::Table),
                _ => Ok(Value::Nil),
            }
        })?,
    )?;
    dynamic.set(
        "__newindex",
        lua.create_function(|_, (_, name, value): (Table, String, Value)| {
            let Value::Table(value) = value else {
                return Err(Error::runtime(format!("cannot set kong.ctx.{name}")));
            };
            current::with(|now| {
                let id = now.plugin.id;
                let kept = now.kept()?;
                match &*name {
                    "shared" => kept.shared = value,
                    "plugin" => {
                        Arc::make_mut(&mut kept.plugins).insert(id, value);
                    }
                    _ => return Err(Error::runtime(format!("cannot set kong.ctx.{name}"))),
                }
                Ok(())
            })
        })?,
    )?;
    ctx.set_metatable(Some(dynamic))?;
    Ok(ctx)
}

/// The table of the instance whose code runs.
fn plugin(lua: &Lua) -> Result<Table> {
    let fresh = lua.create_table()?;
    current::with(|now| {
        let id = now.plugin.id;
        let kept = now.kept()?;
        if let Some(known) = kept.plugins.get(&id) {
            return Ok(known.clone());
        }
        Arc::make_mut(&mut kept.plugins).insert(id, fresh.clone());
        Ok(fresh)
    })
}
