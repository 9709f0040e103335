//! `kong.ip`: whom the gateway trusts (kong/pdk/ip.lua).

use std::net::IpAddr;
use std::sync::Weak;

use mlua::{Lua, Result, Table, Value};

use super::super::engine::Engine;
use super::super::vm;

pub(super) fn namespace(lua: &Lua, engine: &Weak<Engine>) -> Result<Table> {
    let ip = lua.create_table()?;
    let trusted = vm::engine(engine)?.settings.trusted.clone();
    ip.set(
        "is_trusted",
        lua.create_function(move |_, address: Value| {
            let address: Option<IpAddr> = super::text(address, "ip")?.parse().ok();
            let address = address.map(|address| address.to_canonical());
            Ok(address.is_some_and(|address| trusted.iter().any(|net| net.contains(&address))))
        })?,
    )?;
    Ok(ip)
}
