//! Entity-tags: what a stored state is recognised by (ETSI GS MEC 009, clause 6.8; RFC 9110, 8.8).
//!
//! A tag names the state, not the bytes of an answer: both faces and every caller see the same.

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use crate::dialect::json;
use crate::entities::{ServiceInstance, Subscription};

/// The tag of a JSON text: its SHA-256 in quotes, which is what the original's rules have.
pub(crate) fn of_text(text: &str) -> String {
    format!("\"{}\"", hex::encode(digest(&SHA256, text.as_bytes())))
}

/// The tag of what is written as JSON.
pub(crate) fn of<T: Serialize + ?Sized>(state: &T) -> String {
    of_text(&json::to_string(state).unwrap_or_default())
}

/// The tag of a service: heartbeats do not change it, turning does.
pub(crate) fn of_service(instance: &ServiceInstance) -> String {
    let tag = of(&(&instance.info, instance.state));
    // Half of it tells states apart as well.
    format!("{}\"", &tag[..33])
}

/// The tag of a subscription.
pub(crate) fn of_subscription(subscription: &Subscription) -> String {
    // Its end is told in one way when it is written, and in another when it is read.
    let tag = of(&Subscription { ends: None, ..subscription.clone() });
    format!("{}\"", &tag[..33])
}

/// A tag as a header value.
pub(crate) fn header(tag: &str) -> (header::HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(tag).unwrap_or(HeaderValue::from_static("\"\""));
    (header::ETAG, value)
}

/// What `If-Match` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Nothing.
    Absent,
    /// Any state.
    Any,
    /// One of these. Weak tags and words that are no tags match nothing, so they are not here.
    OneOf(Vec<String>),
}

impl IfMatch {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self::read(headers, &header::IF_MATCH)
    }

    /// `If-None-Match`, which is written alike.
    pub(crate) fn none_match(headers: &HeaderMap) -> Self {
        Self::read(headers, &header::IF_NONE_MATCH)
    }

    fn read(headers: &HeaderMap, name: &header::HeaderName) -> Self {
        let mut values = headers.get_all(name).iter().peekable();
        if values.peek().is_none() {
            return Self::Absent;
        }
        let mut tags = Vec::new();
        for value in values.filter_map(|value| value.to_str().ok()) {
            if value.trim() == "*" {
                return Self::Any;
            }
            tags.extend(strong_tags(value));
        }
        Self::OneOf(tags)
    }

    /// Whether the state of this tag is asked for.
    pub(crate) fn admits(&self, tag: &str) -> bool {
        match self {
            Self::Absent | Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|one| one == tag),
        }
    }

    /// Whether the header is there and names this state.
    pub(crate) fn names(&self, tag: &str) -> bool {
        *self != Self::Absent && self.admits(tag)
    }
}

/// The strong tags of a list; tags may hold commas.
fn strong_tags(list: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = list;
    while let Some(begin) = rest.find('"') {
        let Some(length) = rest[begin + 1..].find('"') else { break };
        let end = begin + length + 2;
        if !rest[..begin].trim_end().ends_with("W/") {
            tags.push(rest[begin..end].to_owned());
        }
        rest = &rest[end..];
    }
    tags
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn if_match(values: &[&str]) -> IfMatch {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        IfMatch::of(&headers)
    }

    #[test]
    fn lists_of_tags() {
        let rows: [(&[&str], bool); 10] = [
            (&[], true),
            (&["*"], true),
            (&["\"a\""], true),
            (&["\"b\""], false),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["W/\"a\""], false),
            (&["a"], false),
            (&["\"b,a\""], false),
            (&["\"a"], false),
        ];
        for (values, admitted) in rows {
            assert_eq!(if_match(values).admits("\"a\""), admitted, "{values:?}");
        }
    }

    #[test]
    fn the_original_s_rules_have_these() {
        let rule = |state: &str| {
            format!(
                r#"{{"dnsRuleId":"7d71e54e-81f3-47bb-a2fc-b565a326d794","domainName":"www.example.com","ipAddressType":"IP_V4","ipAddress":"192.0.2.10","ttl":30,"state":"{state}"}}"#
            )
        };
        let inactive = "\"25e368c00e6b70a61feaadd2d8aabfb72186fea310c027279f260f1cc4a70de8\"";
        let active = "\"b6728726c910328394253aa5f614515653fb6d1a7362885445a4f90f3ba8b736\"";
        assert_eq!(of_text(&rule("INACTIVE")), inactive);
        assert_eq!(of_text(&rule("ACTIVE")), active);
    }
}
