//! `ngx.say`, `ngx.exit`, `ngx.header`, `ngx.arg`: making and changing answers.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use mlua::{Error, Lua, MultiValue, Result, Table, Value};

use super::super::abort::Abort;
use super::super::current::{self, Exit};
use super::super::pdk::{Name, build_reply, header_values, response, shown_headers};
use super::super::phase::Phase;
use crate::contract::Reply;

pub(super) fn install(lua: &Lua, ngx: &Table) -> Result<()> {
    ngx.set("say", lua.create_function(|_, parts: MultiValue| say(&parts, b"\n"))?)?;
    ngx.set("print", lua.create_function(|_, parts: MultiValue| say(&parts, b""))?)?;
    for name in ["flush", "eof", "send_headers"] {
        ngx.set(name, lua.create_function(|_, _: MultiValue| Ok(1))?)?;
    }
    ngx.set("exit", lua.create_function(|_, code: f64| exit(code))?)?;
    ngx.set(
        "redirect",
        lua.create_function(|_, (place, code): (String, Option<u16>)| {
            let code = code.unwrap_or(302);
            let status = StatusCode::from_u16(code)
                .ok()
                .filter(|_| matches!(code, 301..=303 | 307 | 308))
                .ok_or_else(|| {
                    let known = "only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, \
                                 ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_SEE_OTHER, and \
                                 ngx.HTTP_TEMPORARY_REDIRECT are allowed";
                    Error::runtime(known)
                })?;
            let place = HeaderValue::try_from(place).map_err(Error::external)?;
            let page = redirect_page(status);
            let headers = vec![(header::LOCATION, place)];
            let kind = HeaderValue::from_static("text/html");
            response::end(build_reply(status, headers, page.into(), Some(kind)))
        })?,
    )?;
    ngx.set("header", headers(lua)?)?;
    let resp = lua.create_table()?;
    resp.set(
        "get_headers",
        lua.create_function(|lua, (most, _): (Option<usize>, Option<bool>)| {
            current::with(|now| {
                let none = http::HeaderMap::new();
                let headers = now.response_headers().unwrap_or(&none);
                shown_headers(lua, headers, most.filter(|most| *most > 0).unwrap_or(100))
            })
        })?,
    )?;
    ngx.set("resp", resp)?;
    ngx.set("arg", arg(lua)?)
}

fn redirect_page(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    let title = format!("{} {reason}", status.as_u16());
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         </body>\r\n</html>\r\n"
    )
}

/// Adds to what the answer will be.
fn say(parts: &MultiValue, end: &[u8]) -> Result<u32> {
    let mut bytes = Vec::new();
    for part in parts {
        append(&mut bytes, part)?;
    }
    bytes.extend_from_slice(end);
    current::with(|now| {
        const MOST: usize = 16 * 1024 * 1024;
        if !matches!(now.phase, Phase::Rewrite | Phase::Access | Phase::Response) {
            let name = now.phase.ngx();
            return Err(Error::runtime(format!("API disabled in the context of {name}_by_lua*")));
        }
        if now.said.len() + bytes.len() > MOST {
            return Err(Error::runtime("the answer grew too large"));
        }
        now.said.extend_from_slice(&bytes);
        Ok(1)
    })
}

/// Lists are written one after the other, whatever their depth.
fn append(bytes: &mut Vec<u8>, part: &Value) -> Result<()> {
    match part {
        Value::String(text) => bytes.extend_from_slice(&text.as_bytes()),
        Value::Nil => bytes.extend_from_slice(b"nil"),
        Value::LightUserData(pointer) if pointer.0.is_null() => bytes.extend_from_slice(b"null"),
        Value::Table(list) => {
            for one in list.sequence_values::<Value>() {
                super::super::limits::check()?;
                append(bytes, &one?)?;
            }
        }
        Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => {
            bytes.extend_from_slice(part.to_string()?.as_bytes());
        }
        other => {
            let kind = other.type_name();
            return Err(Error::runtime(format!(
                "bad argument #1 to 'print' (string, number, boolean, nil, ngx.null, or array table \
                 expected, but got {kind})"
            )));
        }
    }
    Ok(())
}

/// Ends the phase, or the request with a status; what was said is its body.
fn exit(code: f64) -> Result<()> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be small"
    )]
    let status = (200.0..600.0).contains(&code).then_some(code as u16);
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    current::with(|now| {
        now.exit = Some(match status {
            // `ngx.ERROR` ends a handshake; nothing is sent of this.
            _ if now.phase == Phase::Certificate && code != 0.0 => {
                Exit::Reply(Box::new(Reply::empty(StatusCode::FORBIDDEN)))
            }
            _ if !matches!(now.phase, Phase::Rewrite | Phase::Access | Phase::Response) => {
                Exit::Phase
            }
            Some(_) if !now.said.is_empty() => Exit::Phase,
            Some(status) if status.is_client_error() || status.is_server_error() => {
                Exit::Reply(Box::new(Reply::message(status, "")))
            }
            Some(status) => Exit::Reply(Box::new(Reply::empty(status))),
            None => Exit::Phase,
        });
        if status.is_some() {
            now.kept()?.exited = true;
        }
        if now.status.is_none() {
            now.status = status;
        }
        Ok(())
    })?;
    Err(Abort::Exit.into())
}

/// `ngx.status = …`.
pub(super) fn set_status(value: &Value) -> Result<()> {
    let number = match value {
        Value::Integer(number) => u16::try_from(*number).ok(),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Value::Number(number) => Some(*number as u16),
        Value::String(text) => text.to_string_lossy().parse().ok(),
        _ => None,
    };
    let status = number.and_then(|number| StatusCode::from_u16(number).ok());
    let status = status.ok_or_else(|| Error::runtime("bad argument: status code expected"))?;
    current::with(|now| response::set_status(now, status))
}

/// `ngx.header`: reading, setting, and clearing by nil.
fn headers(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    let dynamic = lua.create_table()?;
    dynamic.set(
        "__index",
        lua.create_function(|lua, (_, name): (Table, String)| {
            current::with(|now| {
                let name = name.replace('_', "-");
                let all: Vec<HeaderValue> = match now.response_headers() {
                    Some(headers) => headers.get_all(&name).iter().cloned().collect(),
                    None => {
                        let set = now.facts.response_headers.iter();
                        let same =
                            set.filter(|(known, _)| known.as_str().eq_ignore_ascii_case(&name));
                        same.map(|(_, value)| value.clone()).collect()
                    }
                };
                match &*all {
                    [] => Ok(Value::Nil),
                    [one] => lua.create_string(one.as_bytes()).map(Value::String),
                    several => {
                        let texts: Result<Vec<_>> =
                            several.iter().map(|one| lua.create_string(one.as_bytes())).collect();
                        lua.create_sequence_from(texts?).map(Value::Table)
                    }
                }
            })
        })?,
    )?;
    dynamic.set(
        "__newindex",
        lua.create_function(|_, (_, name, value): (Table, String, Value)| {
            let name = Name::new(&name.replace('_', "-"))?;
            let values = if value.is_nil() { Vec::new() } else { header_values(&value)? };
            current::with(|now| response::set(now, &name, values))
        })?,
    )?;
    table.set_metatable(Some(dynamic))?;
    Ok(table)
}

/// `ngx.arg`: in the body filter, the piece and whether it is the last.
fn arg(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    let dynamic = lua.create_table()?;
    dynamic.set(
        "__index",
        lua.create_function(|lua, (_, index): (Table, Value)| {
            current::with(|now| {
                let Some(piece) = &now.piece else {
                    return Err(Error::runtime("API disabled in the current context"));
                };
                match index.as_i64() {
                    Some(1) => match &piece.data {
                        Some(data) => lua.create_string(data).map(Value::String),
                        None => lua.create_string("").map(Value::String),
                    },
                    Some(2) => Ok(Value::Boolean(piece.end)),
                    _ => Ok(Value::Nil),
                }
            })
        })?,
    )?;
    dynamic.set(
        "__newindex",
        lua.create_function(|_, (_, index, value): (Table, Value, Value)| {
            let data = match &value {
                Value::Nil => None,
                Value::String(text) => Some(Bytes::copy_from_slice(&text.as_bytes())),
                Value::Boolean(_) => None,
                other => {
                    let mut bytes = Vec::new();
                    append(&mut bytes, other)?;
                    Some(bytes.into())
                }
            };
            current::with(|now| {
                let Some(piece) = &mut now.piece else {
                    return Err(Error::runtime("API disabled in the current context"));
                };
                // Where the last piece is cannot be moved; the rest of the answer still comes.
                if index.as_i64() == Some(1) {
                    piece.data = data.filter(|data| !data.is_empty());
                }
                Ok(())
            })
        })?,
    )?;
    table.set_metatable(Some(dynamic))?;
    Ok(table)
}
