//! `kong.response`: what the client gets (kong/pdk/response.lua).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use mlua::{Error, Lua, LuaString, Result, Table, Value};

use super::super::abort::Abort;
use super::super::current::{Current, Exit, Kept};
use super::super::json;
use super::headers::Name;
use super::{ANSWERED, ANSWERING, IN_BODY, headers, log, permit, within};
use crate::contract::{Reply, ReplyBody, Source};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let response = lua.create_table()?;
    reading(lua, &response)?;
    changing(lua, &response)?;
    body(lua, &response)?;
    response.set(
        "exit",
        lua.create_function(|lua, (status, body, headers): (Value, Value, Value)| {
            permit(ANSWERING)?;
            let status = status_of(&status, 100)?;
            let reply = exit_reply(lua, status, &body, &headers)?;
            end(reply)
        })?,
    )?;
    response.set(
        "error",
        lua.create_function(|lua, (status, message, headers): (Value, Value, Value)| {
            permit(ANSWERING)?;
            let status = status_of(&status, 400)?;
            let message = match &message {
                Value::Nil => String::new(),
                Value::String(text) => text.to_string_lossy(),
                table @ Value::Table(_) => {
                    String::from_utf8_lossy(&json::encode(lua, table)?).into_owned()
                }
                _ => return Err(Error::runtime("message must be a nil, a string or a table")),
            };
            let mut reply = Reply::message(status, message);
            reply.headers = given_headers(&headers)?
                .into_iter()
                .filter(|(name, _)| {
                    *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH
                })
                .collect();
            end(reply)
        })?,
    )?;
    Ok(response)
}

/// Ends the request with an answer.
pub(in super::super) fn end(reply: Reply) -> Result<()> {
    within(ANSWERING, |now| {
        now.kept()?.exited = true;
        now.exit = Some(Exit::Reply(Box::new(reply)));
        Ok(())
    })?;
    Err(Abort::Exit.into())
}

fn status_of(value: &Value, least: u16) -> Result<StatusCode> {
    let number = match value {
        Value::Integer(number) => *number,
        #[expect(clippy::cast_possible_truncation, reason = "checked to be small below")]
        Value::Number(number) => *number as i64,
        _ => return Err(Error::runtime("code must be a number")),
    };
    u16::try_from(number)
        .ok()
        .filter(|code| (least..=599).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| Error::runtime(format!("code must be a number between {least} and 599")))
}

fn given_headers(value: &Value) -> Result<Vec<(HeaderName, HeaderValue)>> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::Table(table) => {
            let all = headers::table(table)?.into_iter();
            Ok(all
                .flat_map(|(name, values)| {
                    values.into_iter().map(move |one| (name.name.clone(), one))
                })
                .collect())
        }
        _ => Err(Error::runtime("headers must be a nil or table")),
    }
}

fn exit_reply(lua: &Lua, status: StatusCode, body: &Value, headers: &Value) -> Result<Reply> {
    let headers = given_headers(headers)?;
    let (bytes, kind) = match body {
        Value::Nil => (Bytes::new(), None),
        Value::String(text) => (Bytes::copy_from_slice(&text.as_bytes()), None),
        table @ Value::Table(_) => (json::encode(lua, table)?.into(), Some(JSON)),
        _ => return Err(Error::runtime("body must be a nil, string or table")),
    };
    Ok(build_reply(status, headers, bytes, kind))
}

/// An answer of these bytes; its type is the one among the headers, else `kind`.
pub(in super::super) fn build_reply(
    status: StatusCode,
    mut headers: Vec<(HeaderName, HeaderValue)>,
    bytes: Bytes,
    kind: Option<HeaderValue>,
) -> Reply {
    let mut told = None;
    headers.retain(|(name, value)| {
        if *name == header::CONTENT_TYPE {
            told = Some(value.clone());
        }
        *name != header::CONTENT_TYPE
            && *name != header::CONTENT_LENGTH
            && *name != header::TRANSFER_ENCODING
    });
    let body = match told.or(kind) {
        Some(kind) => ReplyBody::Bytes(kind, bytes),
        None if bytes.is_empty() => ReplyBody::Empty,
        None => ReplyBody::Untyped(bytes),
    };
    Reply { status, headers, body }
}

fn reading(lua: &Lua, response: &Table) -> Result<()> {
    response
        .set("get_status", lua.create_function(|_, ()| within(ANSWERED, |now| Ok(status(now))))?)?;
    headers::Shows { phases: ANSWERED, word: "header name", of: Current::response_headers }
        .install(lua, response)?;
    response.set(
        "get_source",
        lua.create_function(|_, ()| {
            within(ANSWERED, |now| {
                let exited = now.facts.notes.get::<Kept>().is_some_and(|kept| kept.exited);
                Ok(match now.source {
                    Source::Upstream => "service",
                    Source::Gateway if exited => "exit",
                    Source::Gateway => "error",
                })
            })
        })?,
    )
}

/// The status the client gets.
pub(in super::super) fn status(now: &Current) -> u16 {
    match (&now.log, &now.response) {
        (Some(log), _) => log.status,
        (None, Some(head)) => head.status.as_u16(),
        (None, None) => now.status.map_or(0, |status| status.as_u16()),
    }
}

fn changing(lua: &Lua, response: &Table) -> Result<()> {
    response.set(
        "set_status",
        lua.create_function(|_, value: Value| {
            permit(ANSWERING)?;
            let status = status_of(&value, 100)?;
            within(ANSWERING, |now| set_status(now, status))
        })?,
    )?;
    headers::Changes { phases: ANSWERING, set_phases: ANSWERING, word: "header name", set, add }
        .install(lua, response)
}

pub(in super::super) fn set_status(now: &mut Current, status: StatusCode) -> Result<()> {
    match &mut now.response {
        Some(head) => Arc::make_mut(head).set_status(status).map_err(Error::external),
        None => {
            now.status = Some(status);
            Ok(())
        }
    }
}

/// Sets a header of the answer; before there is one, of whatever answer there will be.
pub(in super::super) fn set(
    now: &mut Current,
    name: &Name,
    values: Vec<HeaderValue>,
) -> Result<()> {
    if name.name == header::TRANSFER_ENCODING {
        let told = "manually setting Transfer-Encoding. Ignored.";
        return log::write(tracing::Level::WARN, || Ok(told.to_owned()));
    }
    match &mut now.response {
        Some(head) => {
            Arc::make_mut(head).remove_header(&name.name);
        }
        None => now.facts.response_headers.retain(|(known, _)| *known != name.name),
    }
    add(now, name, values)
}

pub(in super::super) fn add(
    now: &mut Current,
    name: &Name,
    values: Vec<HeaderValue>,
) -> Result<()> {
    for value in values {
        match &mut now.response {
            Some(head) => {
                let head = Arc::make_mut(head);
                head.append_header(name.spelled.clone(), value).map_err(Error::external)?;
            }
            None => now.facts.response_headers.push((name.name.clone(), value)),
        }
    }
    Ok(())
}

/// The answer's body, once it is whole.
fn body(lua: &Lua, response: &Table) -> Result<()> {
    response.set(
        "get_raw_body",
        lua.create_function(|lua, ()| {
            within(IN_BODY, |now| {
                let Some(piece) = &mut now.piece else { return Ok(None) };
                let (data, end) = (piece.data.take(), piece.end);
                let kept = now.kept()?;
                kept.collected.extend_from_slice(data.as_deref().unwrap_or_default());
                if !end {
                    return Ok(None);
                }
                // What is not changed by the end goes out as it was.
                let whole = Bytes::from(std::mem::take(&mut kept.collected));
                let text = lua.create_string(&whole)?;
                kept.collected = whole.to_vec();
                if let Some(piece) = &mut now.piece {
                    piece.data = Some(whole);
                }
                Ok(Some(text))
            })
        })?,
    )?;
    response.set(
        "set_raw_body",
        lua.create_function(|_, body: Value| {
            permit(IN_BODY)?;
            let Value::String(body) = body else {
                return Err(Error::runtime("body must be a string"));
            };
            within(IN_BODY, |now| {
                if let Some(piece) = &mut now.piece {
                    piece.data = piece.end.then(|| copied(&body));
                }
                Ok(())
            })
        })?,
    )
}

fn copied(text: &LuaString) -> Bytes {
    Bytes::copy_from_slice(&text.as_bytes())
}
