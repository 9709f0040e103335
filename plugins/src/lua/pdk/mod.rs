//! Kong's plugin development kit: `kong.*`, one file a namespace (kong/pdk/).
//!
//! Names, arguments, phases and texts of errors are Kong's. What depends on nginx or on Kong's
//! database beyond reading is left out; calling it is an error of the code, as for any nil.

mod client;
mod client_tls;
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
    let client = client::namespace(lua)?;
    client.set("tls", client_tls::namespace(lua)?)?;
    kong.set("client", client)?;
    kong.set("ctx", ctx::namespace(lua)?)?;
    kong.set("log", log::namespace(lua, kit)?)?;
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

/// Phases a function may be called in, and how Kong lists them: with those this gateway has no code
/// in.
#[derive(Clone, Copy)]
pub(in super::super) struct Allowed {
    phases: &'static [Phase],
    told: &'static str,
}

impl Allowed {
    const fn new(phases: &'static [Phase], told: &'static str) -> Self {
        Self { phases, told }
    }
}

use Phase::{Access, BodyFilter, Certificate, HeaderFilter, Log, Response, Rewrite};

/// During a handshake.
const SHAKING: Allowed = Allowed::new(&[Certificate], "certificate");
/// Once a route is known and nothing was asked.
const ACCESS: Allowed = Allowed::new(&[Access], "access");
/// Before the upstream is asked.
const ASKING: Allowed = Allowed::new(&[Rewrite, Access], "rewrite, access");
/// Likewise, and while an upstream is chosen.
const TO_BALANCER: Allowed = Allowed::new(&[Rewrite, Access], "rewrite, access, balancer");
/// Likewise, and before a stream is.
const TO_PREREAD: Allowed = Allowed::new(&[Rewrite, Access], "rewrite, access, balancer, preread");
/// For streams alone.
const OF_STREAMS: Allowed = Allowed::new(&[], "balancer, preread");
/// While the request's body can still be read.
const BEFORE_CONTENT: Allowed =
    Allowed::new(&[Rewrite, Access, Response], "rewrite, access, response, error, admin_api");
/// While the answer may be changed or made.
const ANSWERING: Allowed = Allowed::new(
    &[Rewrite, Access, Response, HeaderFilter],
    "rewrite, access, response, header_filter, error, admin_api",
);
/// While a piece of the answer is there.
const IN_BODY: Allowed = Allowed::new(&[BodyFilter], "body_filter");
/// When there is an answer.
const ANSWERED: Allowed = Allowed::new(
    &[Response, HeaderFilter, BodyFilter, Log],
    "response, header_filter, body_filter, log, error, admin_api",
);
/// When there is one of an upstream.
const SERVED: Allowed = Allowed::new(
    &[Response, HeaderFilter, BodyFilter, Log],
    "response, header_filter, body_filter, log",
);
/// When there is a request.
const ASKED: Allowed = Allowed::new(
    &[Rewrite, Access, Response, HeaderFilter, BodyFilter, Log],
    "rewrite, access, response, cluster_listener, header_filter, body_filter, log, error, admin_api",
);
/// Likewise, for what has a place in the context of a request.
const IN_CONTEXT: Allowed = Allowed::new(
    &[Rewrite, Access, Response, HeaderFilter, BodyFilter, Log],
    "rewrite, access, response, header_filter, body_filter, log",
);
/// Once a route is known.
const ROUTED: Allowed = Allowed::new(
    &[Access, Response, HeaderFilter, BodyFilter, Log],
    "access, response, header_filter, body_filter, log",
);
/// When what a client showed is known.
const SHOWN: Allowed =
    Allowed::new(&[Rewrite, Access, Response, Log], "rewrite, access, balancer, response, log");
/// Likewise, before it is written down.
const SHOWING: Allowed =
    Allowed::new(&[Rewrite, Access, Response], "rewrite, access, balancer, response");
/// After the exchange.
const LOGGING: Allowed = Allowed::new(&[Log], "log");

/// Whether a function may be called now (kong/pdk/private/phases.lua, check).
fn check(now: &Current, allowed: Allowed) -> Result<()> {
    if allowed.phases.contains(&now.phase) {
        return Ok(());
    }
    let (name, told) = (now.phase.name(), allowed.told);
    Err(Error::runtime(format!("function cannot be called in {name} phase (only in: {told})")))
}

/// Refuses a call in any other phase: before its arguments are looked at, as Kong does.
fn permit(allowed: Allowed) -> Result<()> {
    current::with(|now| check(now, allowed))
}

/// As [`current::with`], in these phases only.
fn within<R>(allowed: Allowed, f: impl FnOnce(&mut Current) -> Result<R>) -> Result<R> {
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
