//! `kong.service.request`: what the upstream gets (kong/pdk/service/request.lua).

use std::sync::Arc;

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, header};
use mlua::{Error, Lua, Result, Table, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::super::current::Current;
use super::super::json;
use super::headers::Name;
use super::{ASKING, OF_STREAMS, TO_BALANCER, headers, permit, text, within};
use crate::contract::{HoldAnswer, RequestBody, Scheme};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let request = lua.create_table()?;
    line(lua, &request)?;
    query(lua, &request)?;
    headers::Changes { phases: ASKING, set_phases: TO_BALANCER, word: "header", set, add }
        .install(lua, &request)?;
    body(lua, &request)?;
    request.set(
        "enable_buffering",
        lua.create_function(|_, ()| {
            within(TO_BALANCER, |now| {
                now.facts.notes.insert(HoldAnswer);
                Ok(())
            })
        })?,
    )?;
    for name in ["disable_tls", "enable_tls"] {
        request.set(name, lua.create_function(|_, ()| permit(OF_STREAMS))?)?;
    }
    Ok(request)
}

fn line(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "set_scheme",
        lua.create_function(|_, scheme: Value| {
            permit(TO_BALANCER)?;
            let scheme = match &*text(scheme, "scheme")? {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                other => return Err(Error::runtime(format!("invalid scheme: {other}"))),
            };
            within(ASKING, |now| {
                now.facts.overrides().scheme = Some(scheme);
                Ok(())
            })
        })?,
    )?;
    request.set(
        "set_path",
        lua.create_function(|_, path: Value| {
            permit(TO_BALANCER)?;
            let path = text(path, "path")?;
            if !path.starts_with('/') {
                return Err(Error::runtime("path must start with /"));
            }
            within(ASKING, |now| {
                now.facts.overrides().path = Some(path);
                Ok(())
            })
        })?,
    )?;
    request.set(
        "set_method",
        lua.create_function(|_, method: Value| {
            permit(ASKING)?;
            let name = text(method, "method")?;
            if !METHODS.contains(&&*name) {
                return Err(Error::runtime(format!("invalid method: {name}")));
            }
            let method = Method::from_bytes(name.as_bytes()).map_err(Error::external)?;
            within(ASKING, |now| {
                Arc::make_mut(&mut now.request).set_method(method);
                Ok(())
            })
        })?,
    )
}

/// What `ngx.req.set_method` knows.
pub(in super::super) const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "DELETE",
    "OPTIONS",
    "MKCOL",
    "COPY",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
    "TRACE",
];

fn query(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "set_raw_query",
        lua.create_function(|_, query: Value| {
            permit(ASKING)?;
            let query = text(query, "query")?;
            within(ASKING, |now| set_query(now, &query))
        })?,
    )?;
    request.set(
        "set_query",
        lua.create_function(|_, args: Value| {
            permit(ASKING)?;
            let Value::Table(args) = args else {
                return Err(Error::runtime("args must be a table"));
            };
            let mut parts = encoded(&args)?;
            parts.sort();
            let query = parts.join("&");
            within(ASKING, |now| set_query(now, &query))
        })?,
    )?;
    request.set(
        "clear_query_arg",
        lua.create_function(|_, name: Value| {
            permit(ASKING)?;
            let name = text(name, "query argument name")?;
            within(ASKING, |now| {
                crate::kit::query::remove(Arc::make_mut(&mut now.request), &name);
                Ok(())
            })
        })?,
    )
}

/// Sets the query of the request; an empty one is none.
pub(in super::super) fn set_query(now: &mut Current, query: &str) -> Result<()> {
    let request = Arc::make_mut(&mut now.request);
    let query = query.strip_prefix('?').unwrap_or(query);
    let path = request.uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let target = PathAndQuery::try_from(target).map_err(Error::external)?;
    let mut parts = request.uri.clone().into_parts();
    parts.path_and_query = Some(target);
    request.set_uri(Uri::from_parts(parts).map_err(Error::external)?);
    Ok(())
}

/// What stands as it is in an argument, as `ngx.escape_uri` leaves it.
pub(in super::super) const ARGUMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Arguments as `name=value`, one text a name; several values of one name are joined.
pub(in super::super) fn encoded(args: &Table) -> Result<Vec<String>> {
    let escaped = |text: &[u8]| percent_encode(text, ARGUMENT).to_string();
    let mut parts = Vec::new();
    for pair in args.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Value::String(name) = name else {
            return Err(Error::runtime("arg keys must be strings"));
        };
        let name = escaped(&name.as_bytes());
        let one = |value: &Value| -> Result<Option<String>> {
            Ok(match value {
                Value::Boolean(true) => Some(name.clone()),
                Value::Boolean(false) => None,
                Value::String(text) => Some(format!("{name}={}", escaped(&text.as_bytes()))),
                Value::Integer(_) | Value::Number(_) => {
                    Some(format!("{name}={}", escaped(value.to_string()?.as_bytes())))
                }
                other => {
                    let kind = other.type_name();
                    return Err(Error::runtime(format!(
                        "attempt to use {kind} as query arg value"
                    )));
                }
            })
        };
        let several = match &value {
            Value::Table(list) => {
                let all: Result<Vec<_>> =
                    list.sequence_values::<Value>().map(|value| one(&value?)).collect();
                all?.into_iter().flatten().collect()
            }
            value => one(value)?.into_iter().collect::<Vec<_>>(),
        };
        if !several.is_empty() {
            parts.push(several.join("&"));
        }
    }
    Ok(parts)
}

/// Sets a header of the request; `Host` is what the upstream is asked by.
pub(in super::super) fn set(
    now: &mut Current,
    name: &Name,
    values: Vec<HeaderValue>,
) -> Result<()> {
    if name.name == header::HOST {
        now.facts.overrides().authority = values.into_iter().next();
        return Ok(());
    }
    Arc::make_mut(&mut now.request).remove_header(&name.name);
    add(now, name, values)
}

pub(in super::super) fn add(
    now: &mut Current,
    name: &Name,
    values: Vec<HeaderValue>,
) -> Result<()> {
    if name.name == header::HOST {
        return set(now, name, values);
    }
    let request = Arc::make_mut(&mut now.request);
    for value in values {
        request.append_header(name.spelled.clone(), value).map_err(Error::external)?;
    }
    Ok(())
}

fn body(lua: &Lua, request: &Table) -> Result<()> {
    request.set(
        "set_raw_body",
        lua.create_function(|_, body: Value| {
            permit(TO_BALANCER)?;
            let Value::String(body) = body else {
                return Err(Error::runtime("body must be a string"));
            };
            let bytes = Bytes::copy_from_slice(&body.as_bytes());
            within(ASKING, |now| {
                now.facts.body = RequestBody::Replaced(bytes);
                Ok(())
            })
        })?,
    )?;
    request.set(
        "set_body",
        lua.create_function(|lua, (args, media): (Value, Value)| {
            permit(ASKING)?;
            let Value::Table(args) = args else {
                return Err(Error::runtime("args must be a table"));
            };
            let media = match media {
                Value::Nil => within(ASKING, |now| Ok(told_type(now)))?,
                Value::String(media) => Some(media.to_string_lossy()),
                _ => return Err(Error::runtime("mime must be a string")),
            };
            let Some(media) = media else { return Ok((None, Some(NO_TYPE))) };
            let (bytes, kind) = encoded_body(lua, args, media)?;
            let kind = HeaderValue::try_from(kind).map_err(Error::external)?;
            within(ASKING, |now| {
                now.facts.body = RequestBody::Replaced(bytes.into());
                set(now, &Name::new("Content-Type")?, vec![kind])?;
                Ok((Some(true), None))
            })
        })?,
    )
}

const NO_TYPE: &str =
    "content type was neither explicitly given as an argument or received as a header";

fn told_type(now: &Current) -> Option<String> {
    let told = now.request.headers.get(header::CONTENT_TYPE)?;
    told.to_str().ok().map(str::to_owned)
}

/// A table as a body of this type, and the type with what the body needs to be read.
fn encoded_body(lua: &Lua, args: Table, media: String) -> Result<(Vec<u8>, String)> {
    match media.split(';').next().unwrap_or_default() {
        "application/x-www-form-urlencoded" => {
            let mut parts = encoded(&args)?;
            parts.sort();
            Ok((parts.join("&").into_bytes(), media))
        }
        "application/json" => Ok((json::encode(lua, &Value::Table(args))?, media)),
        "multipart/form-data" => {
            let boundary = boundary(&media);
            let bytes = multipart(&args, &boundary)?;
            Ok((bytes, format!("multipart/form-data; boundary={boundary}")))
        }
        _ => Err(Error::runtime(format!("unsupported content type {media}"))),
    }
}

/// The boundary a type names, else one that no value has.
fn boundary(media: &str) -> String {
    let named = media.split_once("boundary=").map(|(_, named)| named);
    let named = named.map(|named| match named.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => named,
    });
    let named = named.filter(|named| !named.is_empty()).map(str::to_owned);
    named.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string())
}

/// A form in parts, by the order of their names.
fn multipart(args: &Table, boundary: &str) -> Result<Vec<u8>> {
    let mut parts = std::collections::BTreeMap::new();
    for pair in args.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Value::String(name) = name else {
            let kind = name.type_name();
            let shown = name.to_string()?;
            let why = format!("invalid key {shown:?}: got {kind}, expected string");
            return Err(Error::runtime(why));
        };
        let text = match &value {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => {
                value.to_string()?.into_bytes()
            }
            other => {
                let (name, kind) = (name.to_string_lossy(), other.type_name());
                let wanted = "expected string, number or boolean";
                return Err(Error::runtime(format!(
                    "invalid value {name:?}: got {kind}, {wanted}"
                )));
            }
        };
        parts.insert(name.as_bytes().to_vec(), text);
    }
    let mut bytes = Vec::new();
    for (name, text) in parts {
        bytes.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        bytes.extend_from_slice(b"Content-Disposition: form-data; name=\"");
        bytes.extend_from_slice(&name);
        bytes.extend_from_slice(b"\"\r\n\r\n");
        bytes.extend_from_slice(&text);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(bytes)
}
