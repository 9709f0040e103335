//! `kong.log`: lines of the node's log, and members of log entries (kong/pdk/log.lua).

use mlua::{Error, Function, Lua, MultiValue, Result, Table, Value};
use tracing::Level;

use super::super::current;
use super::super::json;
use super::{IN_CONTEXT, LOGGING, permit, within};
use crate::contract::{LogMembers, LogMode};

/// Levels by Kong's names.
pub(in super::super) const LEVELS: &[(&str, Level)] = &[
    ("emerg", Level::ERROR),
    ("alert", Level::ERROR),
    ("crit", Level::ERROR),
    ("err", Level::ERROR),
    ("warn", Level::WARN),
    ("notice", Level::INFO),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
];

pub(super) fn namespace(lua: &Lua, kit: &Table) -> Result<Table> {
    let log = lua.create_table()?;
    for (name, level) in LEVELS {
        log.set(*name, line(lua, *level)?)?;
    }
    let shown: Function = kit.get("inspect")?;
    let print = line(lua, Level::DEBUG)?;
    let heard = hearing(lua, Level::DEBUG)?;
    let whose = lua.create_function(|_, ()| {
        Ok(current::with(|now| Ok(now.plugin.name.to_string())).unwrap_or_default())
    })?;
    log.set("inspect", shown.call::<Table>((print, heard, whose))?)?;
    let deprecation = lua.create_table()?;
    deprecation.set("write", line(lua, Level::WARN)?)?;
    deprecated(lua, &deprecation)?;
    log.set("deprecation", deprecation)?;
    for name in ["set_format", "get_format"] {
        log.set(name, lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    }
    // One log serves all: lines tell whose they are.
    let this = log.clone();
    log.set("new", lua.create_function(move |_, _: MultiValue| Ok(this.clone()))?)?;
    entries(lua, &log)?;
    // `kong.log(…)` is a notice.
    callable(lua, &log, Level::INFO)?;
    Ok(log)
}

/// `kong.log.deprecation(…)`: a warning; a table at the end tells since when and until when.
fn deprecated(lua: &Lua, deprecation: &Table) -> Result<()> {
    let called = lua.create_table()?;
    called.set(
        "__call",
        lua.create_function(|_, mut parts: MultiValue| {
            parts.pop_front();
            let mut told = String::new();
            if let Some(Value::Table(about)) = parts.back().cloned() {
                parts.pop_back();
                let after = about.get::<Option<String>>("after")?;
                let removal = about.get::<Option<String>>("removal")?;
                let after = after.map(|after| format!("deprecated after {after}"));
                let removal = removal.map(|removal| format!("scheduled for removal in {removal}"));
                let all: Vec<String> = after.into_iter().chain(removal).collect();
                if !all.is_empty() {
                    told = format!(" ({})", all.join(", "));
                }
            }
            write(Level::WARN, || Ok(joined(&parts)? + &told))
        })?,
    )?;
    deprecation.set_metatable(Some(called))
}

fn callable(lua: &Lua, table: &Table, level: Level) -> Result<()> {
    let called = lua.create_table()?;
    called.set(
        "__call",
        lua.create_function(move |_, mut parts: MultiValue| {
            parts.pop_front();
            write(level, || joined(&parts))
        })?,
    )?;
    table.set_metatable(Some(called))
}

/// A function that writes its arguments as a line.
pub(in super::super) fn line(lua: &Lua, level: Level) -> Result<Function> {
    lua.create_function(move |_, parts: MultiValue| write(level, || joined(&parts)))
}

/// Values as one text, as `tostring` shows them.
pub(in super::super) fn joined(parts: &MultiValue) -> Result<String> {
    const LONGEST: usize = 64 * 1024;
    let mut text = String::new();
    for part in parts {
        match part {
            Value::String(part) => text.push_str(&part.to_string_lossy()),
            Value::LightUserData(pointer) if pointer.0.is_null() => text.push_str("null"),
            Value::Error(error) => text.push_str(&super::super::abort::text(error)),
            other => text.push_str(&other.to_string()?),
        }
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            break;
        }
    }
    Ok(text)
}

/// A function that tells whether anybody hears lines of a level, for who makes texts in Lua.
pub(in super::super) fn hearing(lua: &Lua, level: Level) -> Result<Function> {
    lua.create_function(move |_, ()| Ok(is_heard(level)))
}

/// Whether anybody hears lines of a level.
fn is_heard(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(Level::ERROR),
        Level::WARN => tracing::enabled!(Level::WARN),
        Level::INFO => tracing::enabled!(Level::INFO),
        _ => tracing::enabled!(Level::DEBUG),
    }
}

/// Writes a line, with the plugin whose code runs and the request it is about. The text is made only
/// for who hears it.
///
/// # Errors
///
/// Those of making the text.
pub(in super::super) fn write(level: Level, text: impl FnOnce() -> Result<String>) -> Result<()> {
    if !is_heard(level) {
        return Ok(());
    }
    let text = text()?;
    let who = current::with(|now| Ok((now.plugin.name.clone(), now.facts.request_id.clone())));
    let (plugin, request) = match &who {
        Ok((plugin, request)) => (&**plugin, &**request),
        Err(_) => ("", ""),
    };
    match level {
        Level::ERROR => tracing::error!(plugin, request.id = request, "[lua] {text}"),
        Level::WARN => tracing::warn!(plugin, request.id = request, "[lua] {text}"),
        Level::INFO => tracing::info!(plugin, request.id = request, "[lua] {text}"),
        _ => tracing::debug!(plugin, request.id = request, "[lua] {text}"),
    }
    Ok(())
}

fn entries(lua: &Lua, log: &Table) -> Result<()> {
    log.set(
        "serialize",
        lua.create_function(|lua, _: MultiValue| {
            let entry = within(LOGGING, |now| {
                let log = now.log.as_ref().ok_or_else(|| Error::runtime("no request found"))?;
                let mut entry = log.entry.clone();
                if let Some(members) = now.facts.notes.get::<LogMembers>() {
                    members.write_into(&mut entry, log.members);
                }
                Ok(entry)
            })?;
            json::to_lua(lua, &entry, &Value::NULL)
        })?,
    )?;
    log.set(
        "set_serialize_value",
        lua.create_function(|lua, (key, value, options): (Value, Value, Option<Table>)| {
            permit(IN_CONTEXT)?;
            let key = super::text(key, "key")?;
            let mode = options.map(|options| options.get::<Option<String>>("mode")).transpose()?;
            let mode = match mode.flatten().as_deref() {
                None | Some("set") => LogMode::Set,
                Some("add") => LogMode::Add,
                Some("replace") => LogMode::Replace,
                Some(_) => return Err(Error::runtime("mode must be 'set', 'add' or 'replace'")),
            };
            let value = json::from_lua(lua, &value)?;
            within(IN_CONTEXT, |now| {
                LogMembers::note(&mut now.facts, key, value, mode);
                Ok(())
            })
        })?,
    )
}
