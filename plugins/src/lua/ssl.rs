//! `ngx.ssl`: certificates and keys in PEM, read (lua-resty-core, ngx/ssl.lua). What depends on a
//! handshake is not here.

use gateway_model::pem;
use mlua::{Lua, LuaString, MultiValue, Result, Table, UserData, Value};

use super::values::brief;

/// A certificate with those above it, or a key, that was found good.
pub(super) struct Parsed {
    pub(super) pem: String,
    pub(super) is_key: bool,
}

impl UserData for Parsed {}

/// The module.
pub(super) fn module(lua: &Lua) -> Result<Table> {
    let ssl = lua.create_table()?;
    ssl.set("parse_pem_cert", parser(lua, false)?)?;
    ssl.set("parse_pem_priv_key", parser(lua, true)?)?;
    Ok(ssl)
}

fn parser(lua: &Lua, is_key: bool) -> Result<mlua::Function> {
    lua.create_function(move |lua, text: LuaString| -> Result<MultiValue> {
        let pem = text.to_string_lossy();
        let read = match is_key {
            true => pem::private_key(&pem).map(drop),
            false => pem::certificates(&pem).map(drop),
        };
        match read {
            Ok(()) => brief(lua, lua.create_userdata(Parsed { pem, is_key })?),
            Err(why) => brief(lua, (Value::Nil, why)),
        }
    })
}
