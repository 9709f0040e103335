//! What was asked for: the request target and the host, as sent and in normal form.

use std::borrow::Cow;

use http::HeaderValue;
use http::uri::PathAndQuery;
use pingora_http::RequestHeader;

use super::Exchange;

/// A request target. The parsed one is shared with the request's URI and costs nothing to keep.
pub(super) enum Target {
    Parsed(PathAndQuery),
    Text(Box<str>),
}

/// Path and query of the request: the raw target in origin form, else what the URI holds.
pub(super) fn target(head: &RequestHeader) -> Target {
    let parsed = head.uri.path_and_query();
    match (std::str::from_utf8(head.raw_path()), parsed) {
        (Ok(raw), Some(parsed)) if raw == parsed.as_str() => Target::Parsed(parsed.clone()),
        (Ok(raw), _) if raw.starts_with('/') => Target::Text(raw.into()),
        (_, Some(parsed)) => Target::Parsed(parsed.clone()),
        (_, None) => Target::Text("/".into()),
    }
}

impl Exchange {
    /// The path as sent, without the query.
    pub(crate) fn raw_path(&self) -> &str {
        self.target().split('?').next().unwrap_or("/")
    }

    /// The query as sent; a lone `?` is an empty one.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    /// The query as handlers left it in the client's head. A target no URI can hold has only the
    /// one that was sent.
    pub(crate) fn query_now<'q>(&'q self, client: &'q RequestHeader) -> Option<&'q str> {
        match &self.target {
            Target::Parsed(_) => client.uri.query(),
            Target::Text(_) => self.query(),
        }
    }

    /// The request target as sent.
    pub(crate) fn target(&self) -> &str {
        match &self.target {
            Target::Parsed(target) => target.as_str(),
            Target::Text(target) => target,
        }
    }

    /// The path in normal form.
    pub(crate) fn path(&self) -> &str {
        self.normal.as_deref().unwrap_or_else(|| self.raw_path())
    }

    /// The host asked for: lower case, without port.
    pub(crate) fn host_name(&self) -> Cow<'_, str> {
        bare(self.host.as_ref())
    }

    /// The host in the upstream's Host header, lower case and without port, where a handler or the
    /// route chose another than the upstream's own.
    pub(crate) fn chosen_host(&self) -> Option<Cow<'_, str>> {
        let wanted = self.facts.upstream.as_deref();
        if let Some(authority) = wanted.and_then(|wanted| wanted.authority.as_ref()) {
            return Some(bare(Some(authority)));
        }
        let preserved = self.facts.route.as_ref().is_some_and(|route| route.preserve_host);
        preserved.then(|| self.host_name())
    }
}

/// A Host header in lower case, without its port.
fn bare(host: Option<&HeaderValue>) -> Cow<'_, str> {
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let name = &host[..end];
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}
