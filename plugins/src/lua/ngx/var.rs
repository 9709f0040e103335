//! `ngx.var`: nginx's variables, as far as the gateway has what they tell.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use mlua::{Error, Lua, Result, Table, Value};

use super::super::current::{self, Current};
use super::super::pdk::{request, response, service_request};
use crate::contract::{ForwardedFor, Scheme};

pub(super) fn table(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    let dynamic = lua.create_table()?;
    dynamic.set(
        "__index",
        lua.create_function(|lua, (_, name): (Table, Value)| {
            let Value::String(name) = name else { return Ok(Value::Nil) };
            let text = current::with(|now| Ok(get(now, &name.to_string_lossy())))?;
            text.map_or(Ok(Value::Nil), |text| lua.create_string(text).map(Value::String))
        })?,
    )?;
    dynamic.set(
        "__newindex",
        lua.create_function(|_, (_, name, value): (Table, String, Value)| {
            let value = match &value {
                Value::Nil => None,
                Value::String(text) => Some(text.as_bytes().to_vec()),
                Value::Integer(_) | Value::Number(_) => Some(value.to_string()?.into_bytes()),
                other => {
                    let kind = other.type_name();
                    return Err(Error::runtime(format!(
                        "bad argument #3 to '__newindex' (string, number or nil expected, got {kind})"
                    )));
                }
            };
            current::with(|now| set(now, &name, value))
        })?,
    )?;
    table.set_metatable(Some(dynamic))?;
    Ok(table)
}

/// A variable; `None` is nil.
fn get(now: &Current, name: &str) -> Option<Vec<u8>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    for (prefix, headers) in [
        ("upstream_http_", now.response_headers()),
        ("sent_http_", now.response_headers()),
        ("http_", Some(&now.request.headers)),
    ] {
        if let Some(header) = name.strip_prefix(prefix) {
            return joined(headers?, &header.replace('_', "-"));
        }
    }
    if let Some(wanted) = name.strip_prefix("arg_") {
        return argument(&request::query(now), wanted);
    }
    if let Some(wanted) = name.strip_prefix("cookie_") {
        return cookie(&now.request.headers, wanted);
    }
    if let Some(wanted) = name.strip_prefix("upstream_") {
        return upstream(now, wanted);
    }
    let client = &now.facts.client;
    match name {
        "remote_addr" => text(&client.ip.to_canonical().to_string()),
        "realip_remote_addr" => text(&client.peer.ip().to_canonical().to_string()),
        "remote_port" | "realip_remote_port" => text(&client.peer.port().to_string()),
        "binary_remote_addr" => Some(match client.ip.to_canonical() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        }),
        "server_addr" => text(&client.local.ip().to_canonical().to_string()),
        "server_port" => text(&client.local.port().to_string()),
        "server_protocol" => text(match request::version(now.request.version) {
            2.0 => "HTTP/2.0",
            1.0 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }),
        "scheme" => text(if client.tls.is_some() { "https" } else { "http" }),
        "https" => text(if client.tls.is_some() { "on" } else { "" }),
        "ssl_protocol" => text(&client.tls.as_ref()?.version),
        "ssl_cipher" => text(&client.tls.as_ref()?.cipher),
        "ssl_server_name" => text(client.tls.as_ref()?.sni.as_deref()?),
        "request_method" => text(now.request.method.as_str()),
        "request_uri" => text(&request::target(now)),
        "uri" | "document_uri" => text(&request::path(now)),
        "request" => {
            let version = request::version(now.request.version);
            text(&format!("{} {} HTTP/{version:.1}", now.request.method, request::target(now)))
        }
        "args" | "query_string" => text(now.request.uri.query()?),
        "is_args" => text(if now.request.uri.query().is_some() { "?" } else { "" }),
        "host" | "server_name" => text(&request::host(now)),
        "content_type" => joined(&now.request.headers, "content-type"),
        "content_length" => joined(&now.request.headers, "content-length"),
        "request_id" | "kong_request_id" => text(&now.facts.request_id),
        "request_body" => request::known_body(now).map(|body| body.to_vec()),
        "status" => text(&response::status(now).to_string()),
        "hostname" => text(&super::super::pdk::hostname()),
        "pid" => text(&std::process::id().to_string()),
        "nginx_version" => text("1.25.3"),
        "msec" | "time_iso8601" | "time_local" => clock(now, name),
        _ => logged(now, name),
    }
}

fn clock(now: &Current, name: &str) -> Option<Vec<u8>> {
    let millis = now.engine.clock.unix_ms();
    if name == "msec" {
        return Some(format!("{}.{:03}", millis / 1000, millis % 1000).into_bytes());
    }
    let at = Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()?;
    let format = match name {
        "time_iso8601" => "%Y-%m-%dT%H:%M:%S+00:00",
        _ => "%d/%b/%Y:%H:%M:%S +0000",
    };
    Some(at.strftime(format).to_string().into_bytes())
}

/// What is known once the exchange is over.
fn logged(now: &Current, name: &str) -> Option<Vec<u8>> {
    let log = now.log.as_ref()?;
    let seconds = |millis: u64| format!("{}.{:03}", millis / 1000, millis % 1000);
    let text = match name {
        "request_time" => seconds(log.latencies.request),
        "request_length" => log.request_size.to_string(),
        "bytes_sent" => log.response_size.to_string(),
        "body_bytes_sent" => log.body_size.to_string(),
        _ => return None,
    };
    Some(text.into_bytes())
}

/// `upstream_…`: what the upstream is asked by, and after the exchange how it went.
fn upstream(now: &Current, name: &str) -> Option<Vec<u8>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let wanted = now.facts.upstream.as_deref();
    let service = now.facts.service.as_ref();
    match name {
        "host" => match wanted.and_then(|wanted| wanted.authority.as_ref()) {
            Some(authority) => Some(authority.as_bytes().to_vec()),
            None => text(&service?.host),
        },
        "scheme" => match wanted.and_then(|wanted| wanted.scheme) {
            Some(scheme) => text(scheme.as_str()),
            None => text(&service?.protocol),
        },
        "uri" => match (wanted.and_then(|wanted| wanted.path.as_deref()), &now.log) {
            (Some(path), _) => text(path),
            (None, Some(log)) => text(&log.upstream_uri),
            (None, None) => text(&request::path(now)),
        },
        "x_forwarded_for" if now.facts.send_forwarded_for => {
            match now.facts.notes.get::<ForwardedFor>() {
                Some(ForwardedFor(value)) => Some(value.as_bytes().to_vec()),
                None => text(&now.facts.client.peer.ip().to_canonical().to_string()),
            }
        }
        "x_forwarded_proto" => text(now.facts.client.scheme.as_str()),
        "x_forwarded_host" => text(&request::host(now)),
        "x_forwarded_port" => text(&now.facts.client.local.port().to_string()),
        "x_forwarded_path" => text(&request::target(now)),
        "addr" => {
            let all: Vec<_> =
                now.log.as_ref()?.upstream.iter().map(|(at, _)| at.to_string()).collect();
            text(&all.join(", "))
        }
        "status" => {
            let all = now.log.as_ref()?.upstream.iter();
            let all: Vec<_> = all.filter_map(|(_, status)| Some((*status)?.to_string())).collect();
            text(&all.join(", "))
        }
        "response_time" | "header_time" => {
            let millis = now.log.as_ref()?.latencies.upstream?;
            text(&format!("{}.{:03}", millis / 1000, millis % 1000))
        }
        _ => None,
    }
}

/// All values of a header on one line.
fn joined(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let mut all = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let mut line = all.next()?.to_vec();
    for more in all {
        line.extend_from_slice(b", ");
        line.extend_from_slice(more);
    }
    Some(line)
}

fn argument(query: &str, wanted: &str) -> Option<Vec<u8>> {
    let pairs = query.split('&').map(|part| part.split_once('=').unwrap_or((part, "")));
    let found = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.as_bytes().to_vec())
}

fn cookie(headers: &HeaderMap, wanted: &str) -> Option<Vec<u8>> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.as_bytes().to_vec())
}

/// Sets one of the variables Kong's configuration leaves to be set.
fn set(now: &mut Current, name: &str, value: Option<Vec<u8>>) -> Result<()> {
    let header = |value: Option<Vec<u8>>| {
        let value = value.filter(|value| !value.is_empty());
        value.map(|value| HeaderValue::from_bytes(&value)).transpose().map_err(Error::external)
    };
    match name {
        // nginx sends no header whose value is empty.
        "upstream_x_forwarded_for" => {
            let value = header(value)?;
            now.facts.send_forwarded_for = value.is_some();
            match value {
                Some(value) => drop(now.facts.notes.insert(ForwardedFor(value))),
                None => drop(now.facts.notes.remove::<ForwardedFor>()),
            }
        }
        "upstream_host" => now.facts.overrides().authority = header(value)?,
        "upstream_scheme" => {
            now.facts.overrides().scheme = match value.as_deref() {
                Some(b"http" | b"grpc") => Some(Scheme::Http),
                Some(b"https" | b"grpcs") => Some(Scheme::Https),
                _ => None,
            };
        }
        "upstream_uri" => {
            let text = value.map(|value| String::from_utf8_lossy(&value).into_owned());
            let (path, query) = match &text {
                Some(text) => match text.split_once('?') {
                    Some((path, query)) => (Some(path.to_owned()), Some(query.to_owned())),
                    None => (Some(text.clone()), None),
                },
                None => (None, None),
            };
            now.facts.overrides().path = path;
            if let Some(query) = query {
                service_request::set_query(now, &query)?;
            }
        }
        "args" => {
            let query = value.map(|value| String::from_utf8_lossy(&value).into_owned());
            service_request::set_query(now, query.as_deref().unwrap_or_default())?;
        }
        "request_method" => {
            return Err(Error::runtime("variable \"request_method\" not changeable"));
        }
        name if name.starts_with("http_") => {
            let name = name.trim_start_matches("http_").replace('_', "-");
            let request = Arc::make_mut(&mut now.request);
            match header(value)? {
                Some(value) => request.insert_header(name, value).map_err(Error::external)?,
                None => drop(request.remove_header(&*name)),
            }
        }
        other => {
            return Err(Error::runtime(format!(
                "variable \"{other}\" not found for writing; maybe it is a built-in variable that is not \
                 changeable or you forgot to use \"set ${other} '';\" in the config file to define it first"
            )));
        }
    }
    Ok(())
}
