//! The key of a request: a digest of who asks, which route, and what for
//! (kong/plugins/proxy-cache/cache_key.lua).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, Version};

use crate::contract::Request;
use crate::kit::query::arguments;

/// 64 hexadecimal digits.
pub(super) fn key(
    request: &Request<'_>,
    ignore_case: bool,
    vary_query: &[String],
    vary_headers: &[String],
) -> String {
    let facts = &request.facts;
    let mut text = String::with_capacity(160);
    let route = facts.route.as_ref().map(|route| route.id());
    let consumer = facts.identity.consumer.as_ref().map(|consumer| consumer.id());
    // Writing to a text cannot fail.
    let _ = match (consumer, route) {
        (Some(consumer), Some(route)) => write!(text, "{consumer}:{route}"),
        (None, Some(route)) => write!(text, "{route}"),
        _ => write!(text, "default"),
    };
    let method = request.head.method.as_str();
    let target = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
    // Kong takes the request line up to a question mark: with the version where there is none.
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (format!("{method} {path}"), query),
        None => (format!("{method} {target} {}", version(request.head.version)), ""),
    };
    let path = if ignore_case { path.to_lowercase() } else { path };
    let _ = write!(text, "|{method}|{path}|");
    text.push_str(&query_part(query, vary_query));
    text.push('|');
    text.push_str(&headers_part(&request.head.headers, vary_headers));
    hex::encode(digest(&SHA256, text.as_bytes()))
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// `name=value` of the arguments, in the order of their names, or of the list.
fn query_part(query: &str, vary: &[String]) -> String {
    let mut all: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (name, value) in arguments(query) {
        all.entry(name.into_owned()).or_default().push(value.map(Into::into));
    }
    let part = |name: &str, values: &[Option<String>]| match values {
        [None] => name.to_owned(),
        values => {
            let mut texts: Vec<&str> =
                values.iter().map(|value| value.as_deref().unwrap_or("true")).collect();
            texts.sort_unstable();
            format!("{name}={}", texts.join(","))
        }
    };
    let parts: Vec<String> = if vary.is_empty() {
        all.iter().map(|(name, values)| part(name, values)).collect()
    } else {
        vary.iter().filter_map(|name| Some(part(name, all.get(name)?))).collect()
    };
    parts.join(":")
}

fn headers_part(headers: &HeaderMap, vary: &[String]) -> String {
    let part = |name: &String| {
        let mut values: Vec<String> = headers
            .get_all(name.as_str())
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        values.sort_unstable();
        (!values.is_empty()).then(|| format!("{name}={}", values.join(",")))
    };
    vary.iter().filter_map(part).collect::<Vec<_>>().join(":")
}
