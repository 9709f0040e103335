//! The string functions that search, with matching that can be interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Table, Value};

use super::limits;
use super::pattern::{self, Capture, Found};

/// Replaces the four searching functions; methods of texts use them too.
///
/// # Errors
///
/// When there is no memory.
pub(super) fn install(lua: &Lua) -> Result<()> {
    let library: Table = lua.globals().get("string")?;
    library.set(
        "find",
        lua.create_function(|lua, (text, pattern, from, plain): Search| {
            let (subject, pattern) = (text.as_bytes(), pattern.as_bytes());
            let Some(start) = first(from, subject.len()) else { return nothing() };
            if plain.unwrap_or(false) || pattern::is_plain(&pattern) {
                let found = memchr::memmem::find(&subject[start..], &pattern);
                return Ok(found.map_or_else(
                    || MultiValue::from_iter([Value::Nil]),
                    |at| {
                        MultiValue::from_iter([
                            place(start + at),
                            whole(start + at + pattern.len()),
                        ])
                    },
                ));
            }
            let Some(found) = pattern::find(&subject, &pattern, start)? else { return nothing() };
            let mut out = MultiValue::new();
            for capture in &found.captures {
                out.push_back(captured(lua, &subject, capture)?);
            }
            out.push_front(whole(found.end));
            out.push_front(place(found.start));
            Ok(out)
        })?,
    )?;
    library.set(
        "match",
        lua.create_function(|lua, (text, pattern, from): (LuaString, LuaString, Option<i64>)| {
            let (subject, pattern) = (text.as_bytes(), pattern.as_bytes());
            let Some(start) = first(from, subject.len()) else { return nothing() };
            match pattern::find(&subject, &pattern, start)? {
                Some(found) => all(lua, &subject, &found),
                None => nothing(),
            }
        })?,
    )?;
    library.set(
        "gmatch",
        lua.create_function(|lua, (text, pattern): (LuaString, LuaString)| {
            let next = Arc::new(AtomicUsize::new(0));
            lua.create_function(move |lua, ()| {
                let (subject, pattern) = (text.as_bytes(), pattern.as_bytes());
                let from = next.load(Ordering::Relaxed);
                let Some(found) = pattern::find(&subject, &pattern, from)? else {
                    return nothing();
                };
                let empty = found.end == found.start;
                next.store(found.end + usize::from(empty), Ordering::Relaxed);
                all(lua, &subject, &found)
            })
        })?,
    )?;
    library.set("gsub", lua.create_function(gsub)?)
}

type Search = (LuaString, LuaString, Option<i64>, Option<bool>);

fn nothing() -> Result<MultiValue> {
    Ok(MultiValue::from_iter([Value::Nil]))
}

/// A place counted from 1.
fn place(index: usize) -> Value {
    whole(index + 1)
}

fn whole(number: usize) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "texts are shorter than 2^53")]
    Value::Number(number as f64)
}

/// Where a search begins, counted from 0; `None` past the end.
fn first(from: Option<i64>, length: usize) -> Option<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from = match from.unwrap_or(1) {
        0 => 0,
        from if from > 0 => from - 1,
        from => (length + from).max(0),
    };
    usize::try_from(from.min(length)).ok()
}

fn captured(lua: &Lua, subject: &[u8], capture: &Capture) -> Result<Value> {
    match capture {
        Capture::Span(from, to) => lua.create_string(&subject[*from..*to]).map(Value::String),
        Capture::Place(at) => Ok(place(*at)),
        Capture::Open(_) => Err(Error::runtime("unfinished capture")),
    }
}

/// Every capture, or the whole match when there is none.
fn all(lua: &Lua, subject: &[u8], found: &Found) -> Result<MultiValue> {
    if found.captures.is_empty() {
        let text = lua.create_string(&subject[found.start..found.end])?;
        return Ok(MultiValue::from_iter([Value::String(text)]));
    }
    found.captures.iter().map(|capture| captured(lua, subject, capture)).collect()
}

type Substitute = (LuaString, LuaString, Value, Option<i64>);

fn gsub(lua: &Lua, (text, pattern, with, most): Substitute) -> Result<(LuaString, usize)> {
    let (subject, pattern) = (text.as_bytes().to_vec(), pattern.as_bytes().to_vec());
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0));
    let anchored = pattern.first() == Some(&b'^');
    let (mut out, mut at, mut count) = (Vec::with_capacity(subject.len()), 0, 0);
    while count < most {
        limits::check()?;
        let Some(found) = pattern::find(&subject, &pattern, at)? else { break };
        out.extend_from_slice(&subject[at..found.start]);
        count += 1;
        let whole = &subject[found.start..found.end];
        match replacement(lua, &subject, &found, &with)? {
            Some(new) => out.extend_from_slice(&new),
            None => out.extend_from_slice(whole),
        }
        at = found.end;
        if found.end == found.start {
            out.extend(subject.get(at));
            at += 1;
        }
        if anchored || at > subject.len() {
            break;
        }
        bounded(out.len())?;
    }
    out.extend_from_slice(subject.get(at..).unwrap_or_default());
    Ok((lua.create_string(out)?, count))
}

/// What grows outside the machine is bounded too.
fn bounded(bytes: usize) -> Result<()> {
    const MOST: usize = 32 * 1024 * 1024;
    if bytes > MOST {
        return Err(Error::MemoryError("a text grew too large".to_owned()));
    }
    Ok(())
}

/// What stands for a match; `None` leaves it.
fn replacement(lua: &Lua, subject: &[u8], found: &Found, with: &Value) -> Result<Option<Vec<u8>>> {
    let made = match with {
        Value::String(text) => return template(subject, found, &text.as_bytes()).map(Some),
        Value::Integer(_) | Value::Number(_) => {
            let text = with.to_string()?;
            return template(subject, found, text.as_bytes()).map(Some);
        }
        Value::Table(table) => table
            .get::<Value>(all(lua, subject, found)?.into_iter().next().unwrap_or(Value::Nil))?,
        Value::Function(function) => call(function, all(lua, subject, found)?)?,
        other => {
            let kind = other.type_name();
            return Err(Error::runtime(format!(
                "bad argument #3 to 'gsub' (string/function/table expected, got {kind})"
            )));
        }
    };
    match made {
        Value::Nil | Value::Boolean(false) => Ok(None),
        Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
        Value::Integer(_) | Value::Number(_) => Ok(Some(made.to_string()?.into_bytes())),
        other => {
            let kind = other.type_name();
            Err(Error::runtime(format!("invalid replacement value (a {kind})")))
        }
    }
}

fn call(function: &Function, captures: MultiValue) -> Result<Value> {
    function.call(captures)
}

/// `%1` and its like in a replacement.
fn template(subject: &[u8], found: &Found, with: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(with.len());
    let mut bytes = with.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.extend_from_slice(&subject[found.start..found.end]),
            Some(digit @ b'1'..=b'9') => match found.captures.get(usize::from(digit - b'1')) {
                Some(Capture::Span(from, to)) => out.extend_from_slice(&subject[*from..*to]),
                Some(Capture::Place(at)) => out.extend_from_slice((at + 1).to_string().as_bytes()),
                None if found.captures.is_empty() && *digit == b'1' => {
                    out.extend_from_slice(&subject[found.start..found.end]);
                }
                _ => return Err(Error::runtime("invalid capture index")),
            },
            Some(other) => out.push(*other),
            None => {}
        }
    }
    Ok(out)
}
