//! OpenResty's `ngx.*`, as far as plugins use it, one file a part of it.
//!
//! Left out is what depends on nginx itself: sockets, subrequests, threads.

mod answer;
mod codec;
mod constants;
mod re;
mod req;
mod shared;
mod time;
mod timer;
mod var;

use std::sync::Weak;

use mlua::{Error, Lua, MultiValue, Result, Table, Value};
use tracing::Level;

use super::current;
use super::engine::Engine;
use super::pdk::log;

pub(super) use codec::{hmac_sha256, named_digest};
pub(super) use shared::Dictionaries;
pub(super) use time::may_wait;

/// Sets `ngx`.
///
/// # Errors
///
/// When there is no memory.
pub(super) fn install(lua: &Lua, engine: &Weak<Engine>) -> Result<()> {
    let ngx = lua.create_table()?;
    constants::install(&ngx)?;
    codec::install(lua, &ngx)?;
    time::install(lua, &ngx, engine)?;
    timer::install(lua, &ngx, engine)?;
    re::install(lua, &ngx, engine)?;
    shared::install(lua, &ngx, engine)?;
    answer::install(lua, &ngx)?;
    ngx.set("req", req::namespace(lua)?)?;
    ngx.set("var", var::table(lua)?)?;
    ngx.set("null", Value::NULL)?;
    let config = lua.create_table()?;
    config.set("subsystem", "http")?;
    config.set("debug", false)?;
    config.set("nginx_version", 1_025_003)?;
    config.set("ngx_lua_version", 10_028)?;
    config.set("prefix", lua.create_function(|_, ()| Ok("./"))?)?;
    ngx.set("config", config)?;
    let worker = lua.create_table()?;
    worker.set("pid", lua.create_function(|_, ()| Ok(std::process::id()))?)?;
    worker.set("id", lua.create_function(|_, ()| Ok(0))?)?;
    let machines = super::vm::engine(engine)?.settings.machines;
    worker.set("count", lua.create_function(move |_, ()| Ok(machines))?)?;
    worker.set("exiting", lua.create_function(|_, ()| Ok(false))?)?;
    ngx.set("worker", worker)?;
    ngx.set(
        "get_phase",
        lua.create_function(|_, ()| {
            Ok(current::with(|now| Ok(now.phase.ngx())).unwrap_or("init_worker"))
        })?,
    )?;
    ngx.set(
        "log",
        lua.create_function(|_, (level, parts): (f64, MultiValue)| {
            log::write(level_of(level), || log::joined(&parts))
        })?,
    )?;
    ngx.set_metatable(Some(dynamic(lua)?))?;
    lua.globals().set("ngx", ngx)
}

/// nginx's levels, 0 to 8.
fn level_of(level: f64) -> Level {
    match level {
        ..5.0 => Level::ERROR,
        5.0 => Level::WARN,
        5.0..8.0 => Level::INFO,
        _ => Level::DEBUG,
    }
}

/// Members whose value is the exchange's: `ngx.ctx`, `ngx.status`, `ngx.headers_sent`.
fn dynamic(lua: &Lua) -> Result<Table> {
    let dynamic = lua.create_table()?;
    dynamic.set(
        "__index",
        lua.create_function(|_, (_, name): (Table, Value)| {
            let Value::String(name) = name else { return Ok(Value::Nil) };
            match &*name.to_string_lossy() {
                "ctx" => current::with(|now| Ok(Value::Table(now.kept()?.ctx.clone()))),
                "status" => {
                    current::with(|now| Ok(Value::Number(super::pdk::response::status(now).into())))
                }
                "headers_sent" => current::with(|now| {
                    let sent = matches!(
                        now.phase,
                        super::phase::Phase::BodyFilter | super::phase::Phase::Log
                    );
                    Ok(Value::Boolean(sent))
                }),
                "is_subrequest" => Ok(Value::Boolean(false)),
                _ => Ok(Value::Nil),
            }
        })?,
    )?;
    dynamic.set(
        "__newindex",
        lua.create_function(|_, (table, name, value): (Table, String, Value)| {
            match (&*name, value) {
                ("ctx", Value::Table(new)) => current::with(|now| {
                    now.kept()?.ctx = new;
                    Ok(())
                }),
                ("ctx", _) => Err(Error::runtime("attempt to set ngx.ctx to a non-table value")),
                ("status", value) => answer::set_status(&value),
                (_, value) => table.raw_set(name, value),
            }
        })?,
    )?;
    Ok(dynamic)
}
