//! `ngx.req`: the request.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::uri::{PathAndQuery, Uri};
use mlua::{Error, Lua, LuaString, MultiValue, Result, Table, Value};

use super::super::current;
use super::super::pdk::service_request::{METHODS, encoded, set, set_query};
use super::super::pdk::{Name, args_table, header_values, request, shown_headers};
use crate::contract::RequestBody;

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let req = lua.create_table()?;
    headers(lua, &req)?;
    line(lua, &req)?;
    body(lua, &req)?;
    req.set("is_internal", lua.create_function(|_, ()| Ok(false))?)?;
    req.set(
        "start_time",
        lua.create_function(|_, ()| {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds are below 2^53")]
            current::with(|now| Ok(now.facts.started_ms as f64 / 1000.0))
        })?,
    )?;
    req.set(
        "http_version",
        lua.create_function(|_, ()| {
            current::with(|now| Ok(request::version(now.request.version)))
        })?,
    )?;
    Ok(req)
}

/// How many are shown: 100 unless told, all for 0.
fn most(given: Option<f64>) -> usize {
    match given.unwrap_or(100.0) {
        0.0 => usize::MAX,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        most => most as usize,
    }
}

fn headers(lua: &Lua, req: &Table) -> Result<()> {
    req.set(
        "get_headers",
        lua.create_function(|lua, (given, raw): (Option<f64>, Option<bool>)| {
            let (table, truncated) =
                current::with(|now| shown_headers(lua, &now.request.headers, most(given)))?;
            if raw == Some(true) {
                table.set_metatable(None)?;
            }
            Ok((table, truncated))
        })?,
    )?;
    req.set(
        "set_header",
        lua.create_function(|_, (name, value): (String, Value)| {
            let name = Name::new(&name)?;
            let values = if value.is_nil() { Vec::new() } else { header_values(&value)? };
            current::with(|now| set(now, &name, values))
        })?,
    )?;
    req.set(
        "clear_header",
        lua.create_function(|_, name: String| {
            let name = Name::new(&name)?;
            current::with(|now| set(now, &name, Vec::new()))
        })?,
    )?;
    req.set(
        "raw_header",
        lua.create_function(|lua, no_line: Option<bool>| {
            current::with(|now| {
                let head = &now.request;
                let mut text = Vec::new();
                if no_line != Some(true) {
                    let version = request::version(head.version);
                    let target = request::target(now);
                    let line = format!("{} {target} HTTP/{version:.1}\r\n", head.method);
                    text.extend_from_slice(line.as_bytes());
                }
                for (name, value) in &head.headers {
                    text.extend_from_slice(name.as_str().as_bytes());
                    text.extend_from_slice(b": ");
                    text.extend_from_slice(value.as_bytes());
                    text.extend_from_slice(b"\r\n");
                }
                text.extend_from_slice(b"\r\n");
                lua.create_string(text)
            })
        })?,
    )
}

fn line(lua: &Lua, req: &Table) -> Result<()> {
    req.set(
        "get_method",
        lua.create_function(|_, ()| current::with(|now| Ok(now.request.method.to_string())))?,
    )?;
    req.set(
        "set_method",
        lua.create_function(|lua, id: i64| {
            let ngx: Table = lua.globals().get("ngx")?;
            for name in METHODS {
                if ngx.raw_get::<Option<i64>>(format!("HTTP_{name}"))? == Some(id) {
                    let method = Method::from_bytes(name.as_bytes()).map_err(Error::external)?;
                    return current::with(|now| {
                        Arc::make_mut(&mut now.request).set_method(method);
                        Ok(())
                    });
                }
            }
            Err(Error::runtime(format!("unsupported HTTP method: {id}")))
        })?,
    )?;
    req.set(
        "get_uri_args",
        lua.create_function(|lua, given: Option<f64>| {
            let query = current::with(|now| Ok(request::query(now)))?;
            args_table(lua, query.as_bytes(), most(given))
        })?,
    )?;
    req.set(
        "set_uri_args",
        lua.create_function(|_, args: Value| {
            let query = match args {
                Value::String(text) => text.to_string_lossy(),
                Value::Table(args) => encoded(&args)?.join("&"),
                _ => {
                    return Err(Error::runtime(
                        "bad argument #1 to 'set_uri_args' (string or table expected)",
                    ));
                }
            };
            current::with(|now| set_query(now, &query))
        })?,
    )?;
    req.set(
        "set_uri",
        lua.create_function(|_, (path, _): (String, MultiValue)| {
            current::with(|now| {
                let request = Arc::make_mut(&mut now.request);
                let query = request.uri.query();
                let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
                let target = PathAndQuery::try_from(target).map_err(Error::external)?;
                let mut parts = request.uri.clone().into_parts();
                parts.path_and_query = Some(target);
                request.set_uri(Uri::from_parts(parts).map_err(Error::external)?);
                Ok(())
            })
        })?,
    )
}

fn body(lua: &Lua, req: &Table) -> Result<()> {
    // Bodies are read before a handler whose code mentions them runs.
    for name in ["read_body", "discard_body"] {
        req.set(name, lua.create_function(|_, ()| Ok(()))?)?;
    }
    req.set(
        "get_body_data",
        lua.create_function(|lua, _: Option<usize>| {
            let body = current::with(|now| Ok(request::known_body(now)))?;
            body.filter(|body| !body.is_empty()).map(|body| lua.create_string(&body)).transpose()
        })?,
    )?;
    req.set("get_body_file", lua.create_function(|_, ()| Ok(Value::Nil))?)?;
    req.set(
        "get_post_args",
        lua.create_function(|lua, given: Option<f64>| {
            match current::with(|now| Ok(request::known_body(now)))? {
                Some(body) => {
                    let (table, truncated) = args_table(lua, &body, most(given))?;
                    Ok((Some(table), truncated))
                }
                None => Ok((None, Some("requesty body in temp file not supported"))),
            }
        })?,
    )?;
    req.set(
        "set_body_data",
        lua.create_function(|_, body: LuaString| {
            let bytes = Bytes::copy_from_slice(&body.as_bytes());
            current::with(|now| {
                now.facts.body = RequestBody::Replaced(bytes);
                Ok(())
            })
        })?,
    )
}
