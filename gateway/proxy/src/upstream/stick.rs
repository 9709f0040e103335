//! What keeps a client at its target: the value that consistent hashing hashes.

use std::borrow::Cow;

use gateway_model::Item;
use gateway_model::entities::{HashOn, Upstream};
use http::{HeaderValue, header};
use percent_encoding::percent_decode_str;
use pingora_http::RequestHeader;

use super::ring::hash;
use crate::exchange::Exchange;

/// The hash of what a client keeps, and the cookie it is given to keep.
pub(crate) struct Stick {
    pub(crate) hash: Option<u64>,
    pub(crate) cookie: Option<HeaderValue>,
}

/// What to hash of a request (kong/runloop/balancer/init.lua, get_value_to_hash): by `hash_on`,
/// or by `hash_fallback` when that has no value.
pub(crate) fn stick(upstream: &Upstream, exchange: &Exchange, head: &RequestHeader) -> Stick {
    let first = Source {
        on: upstream.hash_on.unwrap_or_default(),
        header: upstream.hash_on_header.as_deref(),
        query_arg: upstream.hash_on_query_arg.as_deref(),
        uri_capture: upstream.hash_on_uri_capture.as_deref(),
    };
    let fallback = Source {
        on: upstream.hash_fallback.unwrap_or_default(),
        header: upstream.hash_fallback_header.as_deref(),
        query_arg: upstream.hash_fallback_query_arg.as_deref(),
        uri_capture: upstream.hash_fallback_uri_capture.as_deref(),
    };
    for source in [first, fallback] {
        if source.on == HashOn::Cookie {
            return by_cookie(upstream, head);
        }
        if let Some(value) = source.value(exchange, head) {
            return Stick { hash: Some(hash(&value)), cookie: None };
        }
    }
    Stick { hash: None, cookie: None }
}

/// Where a value comes from.
struct Source<'u> {
    on: HashOn,
    header: Option<&'u str>,
    query_arg: Option<&'u str>,
    uri_capture: Option<&'u str>,
}

impl Source<'_> {
    fn value<'r>(&self, exchange: &'r Exchange, head: &'r RequestHeader) -> Option<Cow<'r, [u8]>> {
        match self.on {
            HashOn::None | HashOn::Cookie => None,
            HashOn::Consumer => {
                let identity = &exchange.facts.identity;
                let consumer = identity.consumer.as_ref().map(Item::id);
                let id = consumer.or_else(|| identity.credential.as_ref().map(|one| one.id))?;
                Some(id.to_string().into_bytes().into())
            }
            HashOn::Ip => Some(exchange.facts.client.ip.to_string().into_bytes().into()),
            HashOn::Header => {
                let mut lines = head.headers.get_all(self.header?).iter();
                let first = lines.next()?.as_bytes();
                let Some(second) = lines.next() else { return Some(first.into()) };
                let rest = lines.flat_map(|line| line.as_bytes());
                Some(first.iter().chain(second.as_bytes()).chain(rest).copied().collect())
            }
            HashOn::Path => Some(percent_decode_str(exchange.path()).into()),
            HashOn::QueryArg => argument(exchange.query()?, self.query_arg?),
            HashOn::UriCapture => {
                let captures = exchange.found.as_ref()?.captures(exchange.path())?;
                let wanted = self.uri_capture?;
                let capture = match wanted.parse::<usize>() {
                    Ok(at) => captures.get(at),
                    Err(_) => captures.name(wanted),
                };
                Some(capture?.as_str().as_bytes().into())
            }
        }
    }
}

/// The decoded value of a query argument; of several, all in order of their text.
fn argument<'q>(query: &'q str, wanted: &str) -> Option<Cow<'q, [u8]>> {
    let mut values: Vec<Cow<'q, str>> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == wanted)
        .map(|(_, value)| value)
        .collect();
    values.sort_unstable();
    (!values.is_empty()).then(|| values.concat().into_bytes().into())
}

/// A client without the cookie gets one; its text is Kong's (kong/runloop/balancer/init.lua).
fn by_cookie(upstream: &Upstream, head: &RequestHeader) -> Stick {
    let Some(name) = upstream.hash_on_cookie.as_deref() else {
        return Stick { hash: None, cookie: None };
    };
    if let Some(value) = cookie(head, name) {
        return Stick { hash: Some(hash(value)), cookie: None };
    }
    let value = uuid::Uuid::new_v4().to_string();
    let path = upstream.hash_on_cookie_path.as_deref().unwrap_or("/");
    let told = format!("{name}={value}; Path={path}; Same-Site=Lax; HttpOnly");
    Stick { hash: Some(hash(value.as_bytes())), cookie: HeaderValue::try_from(told).ok() }
}

fn cookie<'r>(head: &'r RequestHeader, wanted: &str) -> Option<&'r [u8]> {
    let lines = head.headers.get_all(header::COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..at], &pair[at + 1..]);
        (name.trim_ascii() == wanted.as_bytes()).then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{argument, cookie};
    use pingora_http::RequestHeader;

    #[test]
    fn values_of_arguments() {
        for (query, wanted) in [
            ("a=1&k=x%20y", Some("x y")),
            ("k=b&k=a", Some("ab")),
            ("k", Some("")),
            ("kk=1", None),
            ("", None),
        ] {
            let found = argument(query, "k");
            assert_eq!(found.as_deref(), wanted.map(str::as_bytes), "in {query}");
        }
    }

    #[test]
    fn values_of_cookies() {
        for (line, wanted) in [
            ("sid=abc", Some("abc")),
            ("a=b; sid=x=y ; c=d", Some("x=y")),
            ("xsid=abc", None),
            ("sid", None),
            (";;", None),
        ] {
            let mut head = RequestHeader::build("GET", b"/", None).unwrap();
            head.insert_header("cookie", line).unwrap();
            assert_eq!(cookie(&head, "sid"), wanted.map(str::as_bytes), "in {line}");
        }
    }
}
