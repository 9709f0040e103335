//! `kong.service.response`: what the upstream answered (kong/pdk/service/response.lua).

use mlua::{Lua, Result, Table, Value};

use super::super::current::Current;
use super::super::json;
use super::super::phase::Phase;
use super::{ANSWERED, headers, response, within};
use crate::contract::Source;

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let upstream = lua.create_table()?;
    upstream.set(
        "get_status",
        lua.create_function(|_, ()| {
            within(ANSWERED, |now| {
                Ok((now.source == Source::Upstream).then(|| response::status(now)))
            })
        })?,
    )?;
    headers::Shows { phases: ANSWERED, word: "name", of: Current::response_headers }
        .install(lua, &upstream)?;
    upstream.set(
        "get_raw_body",
        lua.create_function(|lua, ()| {
            let whole = within(BUFFERED, |now| Ok(now.whole.clone()))?;
            whole.map(|bytes| lua.create_string(&bytes)).transpose()
        })?,
    )?;
    upstream.set(
        "get_body",
        lua.create_function(|lua, ()| {
            let whole = within(BUFFERED, |now| Ok(now.whole.clone()))?.unwrap_or_default();
            match serde_json::from_slice::<serde_json::Value>(&whole) {
                Ok(value) => Ok((json::to_lua(lua, &value, &Value::NULL)?, None)),
                Err(_) => Ok((Value::Nil, Some("invalid json body"))),
            }
        })?,
    )?;
    Ok(upstream)
}

const BUFFERED: &[Phase] = &[Phase::Response, Phase::HeaderFilter, Phase::BodyFilter, Phase::Log];
