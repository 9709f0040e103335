//! `ngx.now` and its like; `ngx.sleep`.

use std::sync::Weak;
use std::time::Duration;

use jiff::Timestamp;
use mlua::{Error, Lua, Result, Table};

use super::super::current;
use super::super::engine::Engine;
use super::super::vm;

pub(super) fn install(lua: &Lua, ngx: &Table, engine: &Weak<Engine>) -> Result<()> {
    let clock = vm::engine(engine)?.clock.clone();
    let millis = {
        let clock = clock.clone();
        move || clock.unix_ms()
    };
    let now = {
        let millis = millis.clone();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds are below 2^53")]
        move || millis() as f64 / 1000.0
    };
    ngx.set("now", lua.create_function(move |_, ()| Ok(now()))?)?;
    let seconds = {
        let millis = millis.clone();
        move || millis() / 1000
    };
    let stamp = {
        let seconds = seconds.clone();
        move || {
            let seconds = i64::try_from(seconds()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).map_err(Error::external)
        }
    };
    ngx.set("time", lua.create_function(move |_, ()| Ok(seconds()))?)?;
    ngx.set("update_time", lua.create_function(|_, ()| Ok(()))?)?;
    // The node's clock is UTC.
    for (name, format) in [
        ("today", "%Y-%m-%d"),
        ("localtime", "%Y-%m-%d %H:%M:%S"),
        ("utctime", "%Y-%m-%d %H:%M:%S"),
    ] {
        let stamp = stamp.clone();
        ngx.set(
            name,
            lua.create_function(move |_, ()| Ok(stamp()?.strftime(format).to_string()))?,
        )?;
    }
    ngx.set(
        "http_time",
        lua.create_function(|_, seconds: i64| {
            let stamp = Timestamp::from_second(seconds).map_err(Error::external)?;
            Ok(stamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        })?,
    )?;
    ngx.set(
        "cookie_time",
        lua.create_function(|_, seconds: i64| {
            let stamp = Timestamp::from_second(seconds).map_err(Error::external)?;
            Ok(stamp.strftime("%a, %d-%b-%y %H:%M:%S GMT").to_string())
        })?,
    )?;
    ngx.set(
        "parse_http_time",
        lua.create_function(|_, text: String| {
            let parsed = jiff::fmt::rfc2822::parse(&text);
            Ok(parsed.ok().map(|at| at.timestamp().as_second()))
        })?,
    )?;
    ngx.set(
        "sleep",
        lua.create_async_function(|_, seconds: f64| async move {
            if seconds < 0.0 || !seconds.is_finite() {
                return Err(Error::runtime("invalid sleep duration"));
            }
            may_wait()?;
            tokio::time::sleep(Duration::from_secs_f64(seconds.min(LONGEST))).await;
            Ok(())
        })?,
    )
}

/// No single wait is longer; the call as a whole is bounded besides.
const LONGEST: f64 = 3600.0;

/// Whether code may wait now.
///
/// # Errors
///
/// OpenResty's text for phases in which it may not.
pub(in super::super) fn may_wait() -> Result<()> {
    let phase = current::with(|now| Ok(now.phase));
    match phase {
        Ok(phase) if !phase.may_wait() => {
            let name = phase.ngx();
            Err(Error::runtime(format!("API disabled in the context of {name}_by_lua*")))
        }
        _ => Ok(()),
    }
}
