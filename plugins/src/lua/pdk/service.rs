//! `kong.service`: where the request goes (kong/pdk/service.lua).

use mlua::{Error, Lua, Result, Table, Value};

use super::{ASKING, text, within};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let service = lua.create_table()?;
    service.set(
        "set_target",
        lua.create_function(|_, (host, port): (Value, Value)| {
            let host = text(host, "host")?;
            let port = port_of(&port)?;
            within(ASKING, |now| {
                now.facts.overrides().destination = Some((host.into(), port));
                Ok(())
            })
        })?,
    )?;
    service.set(
        "set_upstream",
        lua.create_function(|_, host: Value| {
            let host = text(host, "host")?;
            within(ASKING, |now| {
                let catalog = &now.facts.catalog;
                if catalog.collection("upstreams").and_then(|all| all.by("name", &host)).is_none() {
                    let why = format!("could not find an Upstream named '{host}'");
                    return Ok((None, Some(why)));
                }
                let port = now.facts.service.as_ref().map_or(80, |service| service.port);
                now.facts.overrides().destination = Some((host.into(), port));
                Ok((Some(true), None))
            })
        })?,
    )?;
    Ok(service)
}

fn port_of(value: &Value) -> Result<u16> {
    let number = match value {
        Value::Integer(number) => *number,
        #[expect(clippy::cast_possible_truncation, reason = "a fraction is refused")]
        Value::Number(number) if number.fract() == 0.0 => *number as i64,
        Value::Number(_) => return Err(Error::runtime("port must be an integer")),
        _ => return Err(Error::runtime("port must be an integer")),
    };
    u16::try_from(number).map_err(|_| {
        Error::runtime(format!("port must be an integer between 0 and 65535: given {number}"))
    })
}
