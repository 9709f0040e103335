//! The log entry: one JSON object an exchange, in the shape Kong's loggers send
//! (kong/pdk/log.lua, serialize).

mod session;

use gateway_model::Document;
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use super::{LogMembers, Source, Summary};

pub use session::{SessionLog, session_entry};

/// Id and name of the one workspace there is. The id is the one Kong uses without a database.
pub const WORKSPACE: (&str, &str) = ("0dc6f45b-8f8d-40d2-a504-473544ee190b", "default");

pub(crate) fn entry(summary: &Summary<'_>) -> Value {
    let facts = summary.facts;
    let latencies = summary.latencies;
    let upstream = latencies.upstream.unwrap_or_default();
    let mut entry = json!({
        "request": request(summary),
        "response": {
            "status": summary.status,
            "size": summary.response_size,
            "headers": summary.response.map_or_else(Map::new, |head| headers(&head.headers)),
        },
        "upstream_uri": summary.upstream_uri,
        "upstream_status": upstream_status(summary),
        "latencies": {
            "kong": latencies.kong,
            "proxy": latencies.upstream.map_or(json!(-1), Value::from),
            "request": latencies.request,
            "receive": match latencies.upstream {
                Some(_) => latencies.request.saturating_sub(latencies.kong + upstream),
                None => 0,
            },
        },
        "tries": tries(summary.tries),
        "client_ip": facts.client.ip.to_canonical(),
        "started_at": facts.started_ms,
        "source": match summary.source {
            Source::Upstream => "upstream",
            Source::Gateway => "kong",
        },
        "workspace": WORKSPACE.0,
        "workspace_name": WORKSPACE.1,
    });
    if let Some(route) = &facts.route {
        entry["route"] = entity(route.document(), true);
    }
    if let Some(service) = &facts.service {
        entry["service"] = entity(service.document(), true);
    }
    if let Some(consumer) = &facts.identity.consumer {
        entry["consumer"] = entity(consumer.document(), false);
    }
    if let Some(credential) = &facts.identity.credential {
        entry["authenticated_entity"] = json!({ "id": credential.id });
    }
    if let Some(members) = facts.notes.get::<LogMembers>() {
        members.write_into(&mut entry, 0);
    }
    entry
}

fn request(summary: &Summary<'_>) -> Value {
    let facts = summary.facts;
    let head = summary.request;
    let mut shown = headers(&head.headers);
    if let (None, Some(authority)) = (head.headers.get(header::HOST), head.uri.authority()) {
        shown.insert("host".into(), authority.as_str().into());
    }
    let host = shown.get("host").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let scheme = if facts.client.tls.is_some() { "https" } else { "http" };
    let port = facts.client.local.port();
    let mut request = json!({
        "id": &*facts.request_id,
        "method": head.method.as_str(),
        "uri": summary.uri,
        "url": format!("{scheme}://{}:{port}{}", without_port(&host), summary.uri),
        "size": summary.request_size,
        "querystring": query(summary.uri),
    });
    request["headers"] = shown.into();
    if let Some(tls) = &facts.client.tls {
        request["tls"] = json!({"version": tls.version, "cipher": tls.cipher, "client_verify": tls.client_verify});
    }
    request
}

/// Names in lower case; a repeated one has all its values. Credentials are not shown.
pub(crate) fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in headers {
        let secret = *name == header::AUTHORIZATION || *name == header::PROXY_AUTHORIZATION;
        let value =
            if secret { "REDACTED".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        add(&mut shown, name.as_str(), value.into());
    }
    shown
}

/// Query arguments, decoded; a repeated one has all its values, one without `=` is `true`.
pub(crate) fn query(uri: &str) -> Map<String, Value> {
    let mut shown = Map::new();
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    for part in query.split('&') {
        for (name, value) in url::form_urlencoded::parse(part.as_bytes()) {
            let value = if part.contains('=') { value.into() } else { Value::Bool(true) };
            add(&mut shown, &name, value);
        }
    }
    shown
}

fn add(shown: &mut Map<String, Value>, name: &str, value: Value) {
    match shown.get_mut(name) {
        None => drop(shown.insert(name.to_owned(), value)),
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// One status a try, `""` when nobody was asked.
fn upstream_status(summary: &Summary<'_>) -> String {
    let statuses = summary.tries.iter().filter_map(|one| one.status.or(one.failed));
    statuses.map(|status| status.to_string()).collect::<Vec<_>>().join(", ")
}

fn tries(tries: &[super::Try]) -> Vec<Value> {
    let one = |one: &super::Try| {
        let mut shown = json!({
            "ip": one.address.ip(),
            "port": one.address.port(),
            "balancer_start": one.start_ms,
            "balancer_start_ns": one.start_ms.saturating_mul(1_000_000),
            "balancer_latency": one.balancer_ns / 1_000_000,
            "balancer_latency_ns": one.balancer_ns,
        });
        if let Some(code) = one.failed {
            shown["state"] = "failed".into();
            shown["code"] = code.into();
        }
        shown
    };
    tries.iter().map(one).collect()
}

/// An entity without its null members.
pub(crate) fn entity(document: Document, with_workspace: bool) -> Value {
    let mut shown = document;
    shown.retain(|_, value| !value.is_null());
    if with_workspace {
        shown.insert("ws_id".into(), WORKSPACE.0.into());
    }
    Value::Object(shown)
}

pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests;
