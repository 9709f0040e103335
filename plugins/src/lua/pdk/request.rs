//! `kong.request`: what the client asked (kong/pdk/request.lua).

use std::sync::Arc;

use bytes::Bytes;
use gateway_model::schema::types;
use http::{HeaderMap, Version, header};
use mlua::{Lua, MultiValue, Result, Table, Value};
use pingora_http::RequestHeader;

use super::super::current::Current;
use super::super::{current, json};
use super::{ASKED, BEFORE_CONTENT, headers, permit, text, within};
use crate::contract::{RequestBody, Scheme};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let request = lua.create_table()?;
    place(lua, &request)?;
    forwarded(lua, &request)?;
    line(lua, &request)?;
    arguments(lua, &request)?;
    fn of(now: &Current) -> Option<&HeaderMap> {
        Some(&now.request.headers)
    }
    headers::Shows { phases: ASKED, word: "header name", of }.install(lua, &request)?;
    body(lua, &request)?;
    Ok(request)
}

fn place(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "get_scheme",
        lua.create_function(|_, ()| within(ASKED, |now| Ok(connection_scheme(now))))?,
    )?;
    request.set("get_host", lua.create_function(|_, ()| within(ASKED, |now| Ok(host(now))))?)?;
    request.set(
        "get_port",
        lua.create_function(|_, ()| current::with(|now| Ok(now.facts.client.local.port())))?,
    )?;
    request.set(
        "get_http_version",
        lua.create_function(|_, ()| within(ASKED, |now| Ok(version(now.request.version))))?,
    )?;
    request.set(
        "get_start_time",
        lua.create_function(|_, ()| within(ASKED, |now| Ok(now.facts.started_ms)))?,
    )
}

/// What a trusted proxy says the client asked it.
fn forwarded(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "get_forwarded_scheme",
        lua.create_function(|_, ()| {
            within(ASKED, |now| Ok(now.facts.client.scheme.as_str().to_owned()))
        })?,
    )?;
    request.set(
        "get_forwarded_host",
        lua.create_function(|_, ()| {
            within(ASKED, |now| {
                Ok(trusted(now, "x-forwarded-host")
                    .map_or_else(|| host(now), |told| named(told).0.to_ascii_lowercase()))
            })
        })?,
    )?;
    request.set(
        "get_forwarded_port",
        lua.create_function(|_, ()| {
            within(ASKED, |now| {
                let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
                let told = trusted(now, "x-forwarded-port").and_then(port);
                let in_host = || port(named(trusted(now, "x-forwarded-host")?).1?);
                let told = told.or_else(in_host);
                Ok(told.unwrap_or_else(|| now.facts.client.local.port()))
            })
        })?,
    )?;
    request.set(
        "get_forwarded_path",
        lua.create_function(|_, ()| {
            within(ASKED, |now| {
                Ok(trusted(now, "x-forwarded-path").map_or_else(|| normal_path(now), str::to_owned))
            })
        })?,
    )?;
    request.set(
        "get_forwarded_prefix",
        lua.create_function(|_, ()| {
            within(ASKED, |now| {
                let told = trusted(now, "x-forwarded-prefix").map(str::to_owned);
                Ok(told.or_else(|| stripped(now)))
            })
        })?,
    )
}

fn line(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "get_method",
        lua.create_function(|_, ()| within(ASKED, |now| Ok(now.request.method.to_string())))?,
    )?;
    request
        .set("get_path", lua.create_function(|_, ()| within(ASKED, |now| Ok(normal_path(now))))?)?;
    request
        .set("get_raw_path", lua.create_function(|_, ()| within(ASKED, |now| Ok(path(now))))?)?;
    request.set(
        "get_path_with_query",
        lua.create_function(|_, ()| within(ASKED, |now| Ok(target(now))))?,
    )?;
    request
        .set("get_raw_query", lua.create_function(|_, ()| within(ASKED, |now| Ok(query(now))))?)?;
    request.set(
        "get_uri_captures",
        lua.create_function(|lua, ()| {
            within(ASKED, |now| {
                let captures = lua.create_table()?;
                let (unnamed, named) = (lua.create_table()?, lua.create_table()?);
                for (index, value) in now.facts.captures.numbered.iter().enumerate() {
                    unnamed.raw_set(index, &**value)?;
                }
                for (name, value) in &now.facts.captures.named {
                    named.raw_set(&**name, &**value)?;
                }
                captures.raw_set("unnamed", unnamed)?;
                captures.raw_set("named", named)?;
                Ok(captures)
            })
        })?,
    )
}

fn arguments(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "get_query",
        lua.create_function(|lua, most: Value| {
            permit(ASKED)?;
            let most = headers::most(most, "max_args")?;
            let query = within(ASKED, |now| Ok(query(now)))?;
            args_table(lua, query.as_bytes(), most)
        })?,
    )?;
    request.set(
        "get_query_arg",
        lua.create_function(|lua, name: Value| {
            permit(ASKED)?;
            let name = text(name, "query argument name")?;
            let query = within(ASKED, |now| Ok(query(now)))?;
            let (all, _) = args_table(lua, query.as_bytes(), 100)?;
            match all.raw_get::<Value>(name)? {
                Value::Table(several) => several.raw_get(1),
                one => Ok(one),
            }
        })?,
    )
}

/// Arguments of a query or form: decoded; one without `=` is `true`, several of a name are a list.
pub(in super::super) fn args_table(
    lua: &Lua,
    text: &[u8],
    most: usize,
) -> Result<(Table, Option<&'static str>)> {
    let table = lua.create_table()?;
    let parts = text.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    let mut truncated = None;
    for (count, part) in parts.enumerate() {
        if count >= most {
            truncated = Some("truncated");
            break;
        }
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        let name = unescaped(halves.next().unwrap_or_default());
        let value = match halves.next() {
            Some(value) => Value::String(lua.create_string(unescaped(value))?),
            None => Value::Boolean(true),
        };
        if name.is_empty() {
            continue;
        }
        let name = lua.create_string(&name)?;
        match table.raw_get::<Value>(&name)? {
            Value::Nil => table.raw_set(name, value)?,
            Value::Table(list) => list.raw_push(value)?,
            first => table.raw_set(name, lua.create_sequence_from([first, value])?)?,
        }
    }
    Ok((table, truncated))
}

/// `%41` and `+`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_encoding::percent_decode(&spaced).collect()
}

fn body(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "get_raw_body",
        lua.create_function(|lua, ()| match within(BEFORE_CONTENT, |now| Ok(known_body(now)))? {
            Some(bytes) => Ok(MultiValue::from_iter([Value::String(lua.create_string(&bytes)?)])),
            None => failed(lua, TOO_LARGE, None),
        })?,
    )?;
    request.set(
        "get_body",
        lua.create_function(|lua, (media, most): (Option<String>, Value)| {
            let (bytes, told) = within(BEFORE_CONTENT, |now| {
                let told = now.request.headers.get(header::CONTENT_TYPE);
                let told = told.and_then(|value| value.to_str().ok()).map(str::to_owned);
                Ok((known_body(now), told))
            })?;
            let Some(bytes) = bytes else { return failed(lua, TOO_LARGE, None) };
            parsed_as(lua, &bytes, media.or(told), most)
        })?,
    )
}

const TOO_LARGE: &str = "request body did not fit into client body buffer, consider raising \
                         'client_body_buffer_size'";

/// The body; `None` when it is larger than what is kept.
pub(in super::super) fn known_body(now: &Current) -> Option<Bytes> {
    match &now.facts.body {
        RequestBody::TooLarge => None,
        body => Some(body.bytes().cloned().unwrap_or_default()),
    }
}

fn failed(lua: &Lua, why: &str, media: Option<&str>) -> Result<MultiValue> {
    let why = Value::String(lua.create_string(why)?);
    let media =
        media.map(|media| lua.create_string(media)).transpose()?.map_or(Value::Nil, Value::String);
    Ok(MultiValue::from_iter([Value::Nil, why, media]))
}

/// A body by its type: forms, JSON objects, multipart.
pub(super) fn parsed_as(
    lua: &Lua,
    bytes: &[u8],
    media: Option<String>,
    most: Value,
) -> Result<MultiValue> {
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    const PARTS: &str = "multipart/form-data";
    let Some(media) = media else { return failed(lua, "missing content type", None) };
    let kind = media.split(';').next().unwrap_or_default().to_ascii_lowercase();
    let is = |wanted: &str| kind.starts_with(wanted);
    let made = |table: Value, kind: &str| -> Result<MultiValue> {
        Ok(MultiValue::from_iter([table, Value::Nil, Value::String(lua.create_string(kind)?)]))
    };
    if is(FORM) {
        let (table, _) = args_table(lua, bytes, headers::most(most, "max_args")?)?;
        return made(Value::Table(table), FORM);
    }
    if is(JSON) {
        return match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(value @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
                made(json::to_lua(lua, &value, &Value::NULL)?, JSON)
            }
            _ => failed(lua, "invalid json body", Some(JSON)),
        };
    }
    if is(PARTS) {
        let table = lua.create_table()?;
        for (name, value) in super::super::modules::multipart(bytes, &media) {
            let (name, value) = (lua.create_string(name)?, lua.create_string(value)?);
            match table.raw_get::<Value>(&name)? {
                Value::Nil => table.raw_set(name, value)?,
                Value::Table(list) => list.raw_push(value)?,
                first => {
                    let both = lua.create_sequence_from([first, Value::String(value)])?;
                    table.raw_set(name, both)?;
                }
            }
        }
        return made(Value::Table(table), PARTS);
    }
    failed(lua, &format!("unsupported content type '{media}'"), Some(&kind))
}

/// How the connection speaks.
fn connection_scheme(now: &Current) -> &'static str {
    let scheme = if now.facts.client.tls.is_some() { Scheme::Https } else { Scheme::Http };
    scheme.as_str()
}

/// The host asked for: lower case, without port.
pub(in super::super) fn host(now: &Current) -> String {
    without_port(&host_and_port(&now.request)).to_ascii_lowercase()
}

fn host_and_port(request: &Arc<RequestHeader>) -> String {
    let told = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = || request.uri.authority().map(http::uri::Authority::as_str);
    told.or_else(authority).unwrap_or_default().to_owned()
}

fn without_port(host: &str) -> &str {
    crate::contract::entry::without_port(host)
}

pub(in super::super) fn path(now: &Current) -> String {
    now.request.uri.path().to_owned()
}

/// The path without its escapes and detours.
fn normal_path(now: &Current) -> String {
    types::normalise(now.request.uri.path())
}

/// What the route took off the path.
fn stripped(now: &Current) -> Option<String> {
    now.facts.route.as_ref().filter(|route| route.strip_path)?;
    let path = normal_path(now);
    let prefix = path.get(..now.facts.matched_prefix)?;
    (!prefix.is_empty() && prefix != "/").then(|| prefix.to_owned())
}

/// Host and port of a forwarded host, which may begin with a user.
fn named(told: &str) -> (&str, Option<&str>) {
    let told = told.split_once('@').map_or(told, |(_, host)| host);
    told.split_once(':').map_or((told, None), |(host, port)| (host, Some(port)))
}

pub(in super::super) fn query(now: &Current) -> String {
    now.request.uri.query().unwrap_or_default().to_owned()
}

pub(in super::super) fn target(now: &Current) -> String {
    let parts = now.request.uri.path_and_query();
    parts.map_or("/", http::uri::PathAndQuery::as_str).to_owned()
}

/// What a trusted peer says in a header.
fn trusted<'c>(now: &'c Current, name: &str) -> Option<&'c str> {
    let headers: &HeaderMap = &now.request.headers;
    now.facts.client.trusted.then(|| headers.get(name)?.to_str().ok()).flatten()
}

pub(in super::super) fn version(version: Version) -> f64 {
    match version {
        Version::HTTP_09 => 0.9,
        Version::HTTP_10 => 1.0,
        Version::HTTP_2 => 2.0,
        Version::HTTP_3 => 3.0,
        _ => 1.1,
    }
}
