//! Kong's plugin development kit: `kong.*`, one file a namespace (kong/pdk/).
//!
//! Names, arguments, phases and texts of errors are Kong's. What depends on nginx or on Kong's
//! database beyond reading is left out; calling it is an error of the code, as for any nil.

mod client;
mod ctx;
mod db;
pub(super) mod headers;
mod ip;
pub(super) mod log;
mod node;
pub(super) mod request;
pub(super) mod response;
mod router;
pub(super) mod service;
pub(super) mod service_request;
mod service_response;
mod table;

use std::sync::Weak;

use mlua::{Error, Function, Lua, Result, Table, Value};

use super::current::{self, Current};
use super::engine::Engine;
use super::json;
use super::phase::Phase;

pub(super) use headers::{Name, header_values, shown as shown_headers};
pub(super) use node::hostname;
pub(super) use request::args_table;
pub(super) use response::build_reply;

/// Sets `kong`.
///
/// # Errors
///
/// When there is no memory.
pub(super) fn install(lua: &Lua, engine: &Weak<Engine>, kit: &Table) -> Result<()> {
    let kong = lua.create_table()?;
    kong.set("version", crate::KONG_VERSION)?;
    kong.set("version_num", 3_010_000)?;
    kong.set("pdk_major_version", 2)?;
    kong.set("pdk_version", "2.0.0")?;
    kong.set("default_workspace", crate::contract::WORKSPACE.0)?;
    let settings = super::vm::engine(engine)?;
    let configuration = json::object(lua, &settings.settings.configuration, &Value::Nil)?;
    kong.set("configuration", configuration)?;
    kong.set("request", request::namespace(lua)?)?;
    kong.set("response", response::namespace(lua)?)?;
    let service = service::namespace(lua)?;
    service.set("request", service_request::namespace(lua)?)?;
    service.set("response", service_response::namespace(lua)?)?;
    kong.set("service", service)?;
    kong.set("client", client::namespace(lua)?)?;
    kong.set("ctx", ctx::namespace(lua)?)?;
    kong.set("log", log::namespace(lua)?)?;
    kong.set("node", node::namespace(lua, engine)?)?;
    kong.set("table", table::namespace(lua)?)?;
    kong.set("router", router::namespace(lua)?)?;
    kong.set("ip", ip::namespace(lua, engine)?)?;
    kong.set("db", db::namespace(lua)?)?;
    let now: Function = lua.globals().get::<Table>("ngx")?.get("now")?;
    kong.set("cache", kit.get::<Function>("cache")?.call::<Table>(now)?)?;
    let nginx = lua.create_table()?;
    nginx.set("get_subsystem", lua.create_function(|_, ()| Ok("http"))?)?;
    kong.set("nginx", nginx)?;
    let plugin = lua.create_table()?;
    plugin.set(
        "get_id",
        lua.create_function(|_, ()| current::with(|now| Ok(now.plugin.id.to_string())))?,
    )?;
    kong.set("plugin", plugin)?;
    lua.globals().set("kong", kong)
}

/// Phases before the upstream is asked.
const ASKING: &[Phase] = &[Phase::Rewrite, Phase::Access];
/// Phases in which the answer may be changed or made.
const ANSWERING: &[Phase] = &[Phase::Rewrite, Phase::Access, Phase::Response, Phase::HeaderFilter];
/// Phases in which there is an answer.
const ANSWERED: &[Phase] = &[Phase::Response, Phase::HeaderFilter, Phase::BodyFilter, Phase::Log];
/// Phases in which there is a request.
const ASKED: &[Phase] = &[
    Phase::Rewrite,
    Phase::Access,
    Phase::Response,
    Phase::HeaderFilter,
    Phase::BodyFilter,
    Phase::Log,
];

/// Whether a function may be called now (kong/pdk/private/phases.lua, check).
fn check(now: &Current, allowed: &[Phase]) -> Result<()> {
    if allowed.contains(&now.phase) {
        return Ok(());
    }
    let names: Vec<&str> = allowed.iter().map(|phase| phase.name()).collect();
    Err(Error::runtime(format!(
        "function cannot be called in {} phase (only in: {})",
        now.phase.name(),
        names.join(", ")
    )))
}

/// As [`current::with`], in these phases only.
fn within<R>(allowed: &[Phase], f: impl FnOnce(&mut Current) -> Result<R>) -> Result<R> {
    current::with(|now| {
        check(now, allowed)?;
        f(now)
    })
}

/// An argument that must be text, with Kong's words when it is not.
fn text(value: Value, what: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.to_string_lossy()),
        _ => Err(Error::runtime(format!("{what} must be a string"))),
    }
}
