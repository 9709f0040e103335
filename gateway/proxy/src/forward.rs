//! The request line and headers an upstream receives (kong/runloop/handler.lua, access.before).

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Uri, Version};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use plugins::contract::ForwardedFor;

use crate::exchange::Exchange;
use crate::options::Options;
use crate::router::path;
use crate::upstream::Called;

const FORWARDED_FOR: &str = "X-Forwarded-For";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED_HOST: &str = "X-Forwarded-Host";
const FORWARDED_PORT: &str = "X-Forwarded-Port";
const FORWARDED_PATH: &str = "X-Forwarded-Path";
const FORWARDED_PREFIX: &str = "X-Forwarded-Prefix";
const REAL_IP: &str = "X-Real-IP";
pub(crate) const REQUEST_ID: &str = "X-Kong-Request-Id";

/// Rewrites the copy of the client's request that goes to the upstream.
///
/// May run again on a retry: it sets, and appends only to what the client sent.
///
/// # Errors
///
/// A path or host that is no valid URI or header after joining; the client gets a 400.
pub(crate) fn forward(
    head: &mut RequestHeader,
    client: &RequestHeader,
    exchange: &mut Exchange,
    options: &Options,
) -> Result<()> {
    let version = exchange.client_version;
    target(head, exchange)?;
    host(head, exchange)?;
    forwarded(head, exchange, options)?;
    head.insert_header(REAL_IP, exchange.client_ip.clone())?;
    if options.request_id_upstream {
        head.insert_header(REQUEST_ID, text(&exchange.facts.request_id)?)?;
    }
    let via = if version == Version::HTTP_2 { &options.via_h2 } else { &options.via };
    append(head, "Via", via)?;
    hop_by_hop(head, client, exchange)?;
    exchange.frame_body(head)
}

fn target(head: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
    let Some(target) = joined(exchange, head) else { return Ok(()) };
    let target = Bytes::from(target);
    let uri = Uri::from_maybe_shared(target.clone())
        .map_err(|why| Error::because(ErrorType::HTTPStatus(400), "joining the path", why))?;
    head.set_uri(uri);
    exchange.upstream_target = target;
    Ok(())
}

/// Path and query for the upstream; `None` before a route is found. The query is the one of the
/// client's head, which handlers may have changed.
pub(crate) fn joined(exchange: &Exchange, client: &RequestHeader) -> Option<String> {
    let found = exchange.found.as_ref()?;
    let wanted = exchange.facts.upstream.as_deref().and_then(|wanted| wanted.path.as_deref());
    let mut target = match wanted {
        Some(path) => path::escaped(path),
        None => path::upstream_path(&found.route, exchange.path(), found.prefix).into_owned(),
    };
    if let Some(query) = exchange.query_now(client) {
        target.push('?');
        target.push_str(query);
    }
    Some(target)
}

fn host(head: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let Some(found) = &exchange.found else { return Ok(()) };
    let wanted = exchange.facts.upstream.as_deref();
    if let Some(authority) = wanted.and_then(|wanted| wanted.authority.as_ref()) {
        head.insert_header(header::HOST, authority.clone())?;
    } else if found.route.route.preserve_host {
        if let Some(host) = &exchange.host {
            head.insert_header(header::HOST, host.clone())?;
        }
    } else if let Some(target) = called(exchange) {
        let service = exchange.facts.service.as_deref();
        let tls = service.is_some_and(|service| exchange.destination(service).tls);
        if let Some(host) = target.host_header(tls) {
            head.insert_header(header::HOST, host.clone())?;
        }
    } else if let Some((host, port)) = wanted.and_then(|wanted| wanted.destination.as_ref()) {
        head.insert_header(header::HOST, text(&format!("{host}:{port}"))?)?;
    } else if let Some(host) = &found.route.upstream_host {
        head.insert_header(header::HOST, host.clone())?;
    }
    Ok(())
}

/// Says `https` on HTTP/2, where pingora knows of no TLS because it is made here. What is left to it
/// to say is what a request with a Host is for.
///
/// # Errors
///
/// A host that is no authority; the client gets a 400.
pub(crate) fn name_scheme(head: &mut RequestHeader) -> Result<()> {
    let Some(host) = head.remove_header(&header::HOST) else { return Ok(()) };
    let mut parts = head.uri.clone().into_parts();
    let refused = |why: http::Error| {
        Error::because(ErrorType::HTTPStatus(400), "an authority for an upstream", why)
    };
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority =
        Some(Authority::try_from(host.as_bytes()).map_err(|why| refused(why.into()))?);
    head.set_uri(Uri::from_parts(parts).map_err(|why| refused(why.into()))?);
    Ok(())
}

/// What the upstream of this try is called, where the service's host does not tell.
fn called(exchange: &Exchange) -> Option<&Called> {
    match &exchange.balance {
        Some(balance) => balance.target(),
        None => exchange.called.as_deref(),
    }
}

fn forwarded(head: &mut RequestHeader, exchange: &Exchange, options: &Options) -> Result<()> {
    let client = &exchange.facts.client;
    if let Some(ForwardedFor(given)) = exchange.facts.notes.get() {
        head.insert_header(FORWARDED_FOR, given.clone())?;
    } else if exchange.facts.send_forwarded_for {
        append(head, FORWARDED_FOR, &exchange.peer_ip)?;
    } else {
        head.remove_header(FORWARDED_FOR);
    }
    let keep = |head: &RequestHeader, name: &str| client.trusted && head.headers.contains_key(name);
    if !keep(head, FORWARDED_PROTO) {
        let scheme = HeaderValue::from_static(client.scheme.as_str());
        head.insert_header(FORWARDED_PROTO, scheme)?;
    }
    if !keep(head, FORWARDED_HOST) {
        head.insert_header(FORWARDED_HOST, text(&exchange.host_name())?)?;
    }
    if !keep(head, FORWARDED_PORT) {
        let port = client.local.port();
        let port = options.port_maps.get(&port).copied().unwrap_or(port);
        head.insert_header(FORWARDED_PORT, HeaderValue::from(port))?;
    }
    if !keep(head, FORWARDED_PATH) {
        head.insert_header(FORWARDED_PATH, text(exchange.raw_path())?)?;
    }
    if !keep(head, FORWARDED_PREFIX) {
        let stripped = exchange.found.as_ref().filter(|found| found.route.route.strip_path);
        let prefix = stripped.and_then(|found| exchange.path().get(..found.prefix));
        match prefix.filter(|prefix| !prefix.is_empty() && *prefix != "/") {
            Some(prefix) => head.insert_header(FORWARDED_PREFIX, text(prefix)?)?,
            None => drop(head.remove_header(FORWARDED_PREFIX)),
        }
    }
    Ok(())
}

// Names are given in the case Kong sends them in; HTTP/2 lowers it.

/// pingora has taken off what Connection names and the standard hop-by-hop headers by now.
///
/// Two of those Kong passes on, unless Connection names them.
fn hop_by_hop(head: &mut RequestHeader, client: &RequestHeader, exchange: &Exchange) -> Result<()> {
    for name in ["Proxy-Authorization", "Trailer"] {
        let named = client.headers.get_all(header::CONNECTION).iter().any(|line| {
            line.to_str()
                .is_ok_and(|line| line.split(',').any(|one| one.trim().eq_ignore_ascii_case(name)))
        });
        if let Some(value) = client.headers.get(name).filter(|_| !named) {
            head.insert_header(name, value.clone())?;
        }
    }
    for name in ["proxy", "proxy-connection", "keep-alive"] {
        head.remove_header(name);
    }
    // HTTP/2 knows no such header, and no connection that is not kept.
    if head.version != Version::HTTP_2 && !head.headers.contains_key(header::UPGRADE) {
        let kept = if exchange.ends_connection { "close" } else { "keep-alive" };
        head.insert_header(header::CONNECTION, HeaderValue::from_static(kept))?;
    }
    if exchange.asked_for_trailers {
        head.insert_header("TE", HeaderValue::from_static("trailers"))?;
    }
    Ok(())
}

/// Adds a value to a comma-separated header, on the line that is there.
fn append(head: &mut RequestHeader, name: &'static str, value: &HeaderValue) -> Result<()> {
    let mut lines = head.headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return head.insert_header(name, value.clone());
    }
    let mut joined = Vec::with_capacity(64);
    for line in lines {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(value.as_bytes());
    head.insert_header(name, joined)
}

fn text(value: &str) -> Result<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes())
        .map_err(|why| Error::because(ErrorType::HTTPStatus(400), "forwarding a header", why))
}
