//! `kong.service.response`: what the upstream answered (kong/pdk/service/response.lua).

use bytes::Bytes;
use http::header;
use mlua::{Error, Lua, Result, Table, Value};

use super::super::current::Current;
use super::super::phase::Phase;
use super::{SERVED, headers, request, response, within};
use crate::contract::{HoldAnswer, Source};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let upstream = lua.create_table()?;
    upstream.set(
        "get_status",
        lua.create_function(|_, ()| {
            within(
                SERVED,
                |now| Ok((now.source == Source::Upstream).then(|| response::status(now))),
            )
        })?,
    )?;
    headers::Shows { phases: SERVED, word: "name", of: Current::response_headers }
        .install(lua, &upstream)?;
    upstream.set(
        "get_raw_body",
        lua.create_function(|lua, ()| {
            let whole = within(SERVED, |now| held(now))?;
            lua.create_string(&whole)
        })?,
    )?;
    upstream.set(
        "get_body",
        lua.create_function(|lua, (media, most): (Option<String>, Value)| {
            let (whole, told) = within(SERVED, |now| {
                let told = now.response_headers().and_then(|all| all.get(header::CONTENT_TYPE));
                let told = told.and_then(|value| value.to_str().ok()).map(str::to_owned);
                Ok((held(now)?, told))
            })?;
            request::parsed_as(lua, &whole, media.or(told), most)
        })?,
    )?;
    Ok(upstream)
}

/// The body of an answer that is held back.
fn held(now: &Current) -> Result<Bytes> {
    let holds = now.whole.is_some()
        || now.phase == Phase::Response
        || now.facts.notes.get::<HoldAnswer>().is_some();
    if !holds {
        return Err(Error::runtime(
            "service body is only available with buffered proxying (see: \
             kong.service.request.enable_buffering function)",
        ));
    }
    Ok(now.whole.clone().unwrap_or_default())
}
