//! `resty.http`: calls out, by the node's own client. Waiting for an answer holds up nobody else.

use std::sync::Weak;
use std::time::Duration;

use http::{HeaderMap, Method};
use mlua::{Error, Lua, MultiValue, Result, Table, Value};

use super::engine::Engine;
use super::pdk::{Name, header_values, shown_headers};
use super::{ngx, vm};

/// The largest answer taken, bytes.
const LARGEST: usize = 8 * 1024 * 1024;
/// How long a call may take unless told: a minute, as lua-resty-http's sockets.
const TIMEOUT: u64 = 60_000;

/// The module: `new()` gives a client with `request_uri`, `set_timeout`, `set_timeouts`, `close`.
pub(super) fn module(lua: &Lua, engine: &Weak<Engine>) -> Result<Table> {
    let methods = lua.create_table()?;
    let weak = engine.clone();
    let request = lua.create_async_function(
        move |lua, (this, url, options): (Table, String, Option<Table>)| {
            let weak = weak.clone();
            async move {
                ngx::may_wait()?;
                match request(&lua, &weak, &this, &url, options).await {
                    Ok(answer) => Ok((Value::Table(answer), None)),
                    Err(why) => Ok((Value::Nil, Some(super::abort::text(&why)))),
                }
            }
        },
    )?;
    methods.set("request_uri", request)?;
    methods.set(
        "set_timeout",
        lua.create_function(|_, (this, millis): (Table, u64)| this.raw_set("timeout", millis))?,
    )?;
    methods.set(
        "set_timeouts",
        lua.create_function(|_, (this, times): (Table, MultiValue)| {
            let all = times.iter().filter_map(Value::as_u64).sum::<u64>();
            this.raw_set("timeout", all.max(1))
        })?,
    )?;
    for name in ["close", "set_keepalive"] {
        methods.set(name, lua.create_function(|_, _: MultiValue| Ok(1))?)?;
    }
    let meta = lua.create_table()?;
    meta.set("__index", methods)?;
    let module = lua.create_table()?;
    module.set(
        "new",
        lua.create_function(move |lua, _: MultiValue| {
            let client = lua.create_table()?;
            client.set_metatable(Some(meta.clone()))?;
            Ok(client)
        })?,
    )?;
    Ok(module)
}

async fn request(
    lua: &Lua,
    engine: &Weak<Engine>,
    this: &Table,
    url: &str,
    options: Option<Table>,
) -> Result<Table> {
    let client = vm::engine(engine)?.client.clone();
    let client = client.ok_or_else(|| Error::runtime("no calls out while a schema is read"))?;
    let option = |name: &str| -> Result<Value> {
        options.as_ref().map_or(Ok(Value::Nil), |options| options.get(name))
    };
    let method = match option("method")? {
        Value::String(name) => Method::from_bytes(&name.as_bytes()).map_err(Error::external)?,
        _ => Method::GET,
    };
    let mut url = url::Url::parse(url).map_err(Error::external)?;
    match option("query")? {
        Value::String(query) => url.set_query(Some(&query.to_string_lossy())),
        Value::Table(query) => {
            let parts = super::pdk::service_request::encoded(&query)?;
            url.set_query(Some(&parts.join("&")));
        }
        _ => {}
    }
    let mut headers = HeaderMap::new();
    if let Value::Table(table) = option("headers")? {
        for pair in table.pairs::<String, Value>() {
            let (name, value) = pair?;
            let name = Name::new(&name)?.name;
            for value in header_values(&value)? {
                headers.append(name.clone(), value);
            }
        }
    }
    let timeout = this.raw_get::<Option<u64>>("timeout")?.unwrap_or(TIMEOUT);
    let mut request =
        client.request(method, url).headers(headers).timeout(Duration::from_millis(timeout));
    if let Value::String(body) = option("body")? {
        request = request.body(body.as_bytes().to_vec());
    }
    let mut answer = request.send().await.map_err(told)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(told)? {
        if body.len() + piece.len() > LARGEST {
            return Err(Error::runtime("the answer is too large"));
        }
        body.extend_from_slice(&piece);
    }
    let table = lua.create_table()?;
    table.set("status", status.as_u16())?;
    table.set("reason", status.canonical_reason().unwrap_or_default())?;
    table.set("headers", shown_headers(lua, &headers, usize::MAX)?.0)?;
    table.set("has_body", !body.is_empty())?;
    table.set("body", lua.create_string(body)?)?;
    Ok(table)
}

/// The words of lua-resty-http's sockets, without the URL, which may hold secrets.
fn told(why: reqwest::Error) -> Error {
    let text = if why.is_timeout() {
        "timeout".to_owned()
    } else if why.is_connect() {
        "connection refused".to_owned()
    } else {
        why.without_url().to_string()
    };
    Error::runtime(text)
}
