//! `kong.router`: what the request met (kong/pdk/router.lua).

use mlua::{Lua, Result, Table, Value};

use super::super::json;
use super::{ROUTED, within};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let router = lua.create_table()?;
    router.set(
        "get_route",
        lua.create_function(|lua, ()| {
            within(ROUTED, |now| match &now.facts.route {
                Some(route) => json::object(lua, &route.document(), &Value::Nil).map(Some),
                None => Ok(None),
            })
        })?,
    )?;
    router.set(
        "get_service",
        lua.create_function(|lua, ()| {
            within(ROUTED, |now| match &now.facts.service {
                Some(service) => json::object(lua, &service.document(), &Value::Nil).map(Some),
                None => Ok(None),
            })
        })?,
    )?;
    Ok(router)
}
