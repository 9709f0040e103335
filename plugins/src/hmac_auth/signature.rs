//! [`Signature`]: what a client says about how it signed, and whether it is so.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, Version, header};
use pingora_http::RequestHeader;
use regex::Regex;

use super::config::Algorithm;

/// The parts of an `Authorization` header as the client wrote them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature<'h> {
    pub(super) username: &'h str,
    pub(super) algorithm: &'h str,
    /// Names of what was signed, in order.
    pub(super) headers: Vec<&'h str>,
    /// Base64.
    value: &'h str,
}

/// Parts in this order, each quoted (kong/plugins/hmac-auth/access.lua, retrieve_hmac_fields).
static FORM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "\\s*[Hh]mac\\s*username=\"(.+)\",\\s*algorithm=\"(.+)\",\\s*headers=\"(.+)\",\\s*\
         signature=\"(.+)\"",
    )
    .expect("a pattern written in this program compiles")
});

impl<'h> Signature<'h> {
    pub(super) fn read(header: &'h str) -> Option<Self> {
        let (_, [username, algorithm, headers, value]) = FORM.captures(header)?.extract();
        Some(Self { username, algorithm, headers: headers.split(' ').collect(), value })
    }

    /// Whether this secret made it for this request. Takes as long for a wrong one.
    pub(super) fn is_by(&self, secret: &str, algorithm: Algorithm, head: &RequestHeader) -> bool {
        let Ok(given) = BASE64_STANDARD.decode(self.value) else { return false };
        let key = hmac::Key::new(algorithm.digest(), secret.as_bytes());
        let target = target(head);
        let verify = |target| hmac::verify(&key, &self.signed(head, target), &given).is_ok();
        // Old clients leave the query out (kong/plugins/hmac-auth/access.lua,
        // validate_signature).
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        verify(target) || (path.len() < target.len() && self.signs_target() && verify(path))
    }

    fn signs_target(&self) -> bool {
        self.headers.iter().any(|name| ["request-line", "@request-target"].contains(name))
    }

    /// The text that was signed: a line for each header named.
    fn signed(&self, head: &RequestHeader, target: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(128);
        for (at, name) in self.headers.iter().enumerate() {
            if at > 0 {
                text.push(b'\n');
            }
            match (value(head, name), *name) {
                (Some(value), _) => {
                    text.extend_from_slice(name.as_bytes());
                    text.extend_from_slice(b": ");
                    text.extend_from_slice(value);
                }
                (None, "request-line") => {
                    text.extend_from_slice(head.method.as_str().as_bytes());
                    text.push(b' ');
                    text.extend_from_slice(target);
                    text.extend_from_slice(version(head.version));
                }
                (None, "@request-target") => {
                    text.extend_from_slice(b"@request-target: ");
                    text.extend_from_slice(head.method.as_str().to_ascii_lowercase().as_bytes());
                    text.push(b' ');
                    text.extend_from_slice(target);
                }
                (None, name) => {
                    text.extend_from_slice(name.as_bytes());
                    text.push(b':');
                }
            }
        }
        text
    }
}

/// The first value of a header. `host` is the authority where a request has no such header.
fn value<'r>(head: &'r RequestHeader, name: &str) -> Option<&'r [u8]> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = head.headers.get(&name).map(http::HeaderValue::as_bytes);
    value.or_else(|| {
        let authority = head.uri.authority().filter(|_| name == header::HOST);
        authority.map(|authority| authority.as_str().as_bytes())
    })
}

/// Path and query as the client sent them.
fn target(head: &RequestHeader) -> &[u8] {
    match head.raw_path() {
        raw if raw.starts_with(b"/") => raw,
        _ => head.uri.path_and_query().map_or(b"/", |target| target.as_str().as_bytes()),
    }
}

fn version(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b" HTTP/1.0",
        Version::HTTP_2 => b" HTTP/2.0",
        _ => b" HTTP/1.1",
    }
}
