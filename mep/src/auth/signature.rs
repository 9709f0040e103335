//! The request signature `SDK-HMAC-SHA256`: the canonical form of a token request, what is signed of
//! it, and the `Authorization` header that carries the result.
//!
//! Signing and verifying share one code path, so the demo client signs exactly what the platform
//! checks. Absent on purpose: whether the date is recent (`sdk_date`), who owns an access key
//! (`service`).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{constant_time, hmac};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::credential::{AccessKey, SecretKey};

/// The header whose value is the date that is signed.
pub const DATE_HEADER: &str = "x-sdk-date";

/// The signed header list that every known client sends, in the form the header carries.
pub const USUAL_SIGNED_HEADERS: &str = "content-type;host;x-sdk-date";

/// The parts of a request that a signature covers. The body is not one of them: its hash is always
/// that of an empty body.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path as sent, percent-encoded, without the query.
    pub path: &'a str,
    /// The query as sent, without the `?`; empty when there is none.
    pub query: &'a str,
    /// The authority the client addressed, port included, exactly as sent.
    pub host: &'a str,
    /// Every other header. Of a repeated one the first counts; `host` is not looked up here.
    pub headers: &'a HeaderMap,
}

/// A parsed `Authorization` header of this scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// Whose signature it claims to be.
    pub access_key: AccessKey,
    /// Header names joined by `;`, 28 characters, with `host` and `x-sdk-date` among them.
    pub signed_headers: Cow<'a, str>,
    /// 64 characters, the lower-case hexadecimal HMAC when it is right.
    pub signature: Cow<'a, str>,
}

impl<'a> Authorization<'a> {
    /// Reads `SDK-HMAC-SHA256 Access=<20>, SignedHeaders=<28>, Signature=<64>`.
    ///
    /// The layout is that of the original's regular expression: single spaces, case-sensitive, and
    /// the two last values of any characters but comma and space. Unlike the original, which let a
    /// client leave the date unsigned, the list must name `host` and `x-sdk-date`.
    ///
    /// Returns `None` for anything else.
    pub fn parse(header: &'a str) -> Option<Self> {
        let rest = header.strip_prefix("SDK-HMAC-SHA256 Access=")?;
        let (access_key, rest) = rest.split_at_checked(AccessKey::LENGTH)?;
        let access_key = AccessKey::parse(access_key).ok()?;
        let rest = rest.strip_prefix(", SignedHeaders=")?;
        let (signed_headers, rest) = rest.split_at_checked(USUAL_SIGNED_HEADERS.len())?;
        let signature = rest.strip_prefix(", Signature=")?;

        let opaque = |text: &str| text.bytes().all(|byte| byte != b',' && byte != b' ');
        let names =
            |wanted: &str| signed_headers.split(';').any(|name| name.eq_ignore_ascii_case(wanted));
        (signature.len() == SIGNATURE_LENGTH
            && opaque(signed_headers)
            && opaque(signature)
            && names("host")
            && names(DATE_HEADER))
        .then_some(Self {
            access_key,
            signed_headers: signed_headers.into(),
            signature: signature.into(),
        })
    }

    /// Signs `request` over the usual three headers, as a client does.
    ///
    /// The request's `content-type` and `x-sdk-date` must be among its headers; an absent one is
    /// signed as empty, which a verifier then sees differently or refuses.
    pub fn sign(
        access_key: AccessKey,
        secret: &SecretKey,
        request: &SignedRequest<'_>,
    ) -> Authorization<'static> {
        Authorization {
            access_key,
            signed_headers: USUAL_SIGNED_HEADERS.into(),
            signature: sign(secret.expose().as_bytes(), request, USUAL_SIGNED_HEADERS).into(),
        }
    }

    /// Whether the signature is that of `request` under `secret`, the secret key's text.
    ///
    /// The comparison takes the same time wherever the first difference is. Upper-case hexadecimal is
    /// a difference.
    pub fn verify(&self, secret: &[u8], request: &SignedRequest<'_>) -> bool {
        let expected = sign(secret, request, &self.signed_headers);
        constant_time::verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes())
            .is_ok()
    }
}

impl fmt::Display for Authorization<'_> {
    /// The header's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SDK-HMAC-SHA256 Access={}, SignedHeaders={}, Signature={}",
            self.access_key, self.signed_headers, self.signature
        )
    }
}

/// The signature of `request`: 64 lower-case hexadecimal digits.
///
/// `secret` is the secret key's text, `signed_headers` the names joined by `;`; `host` is signed
/// whether named or not.
pub fn sign(secret: &[u8], request: &SignedRequest<'_>, signed_headers: &str) -> String {
    let signed = SignedHeaders::new(signed_headers);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hex::encode(hmac::sign(&key, &string_to_sign(request, &signed)))
}

fn string_to_sign(request: &SignedRequest<'_>, signed: &SignedHeaders) -> Vec<u8> {
    let date: &[u8] =
        if signed.0.contains(DATE_HEADER) { first_value(request, DATE_HEADER) } else { b"" };
    let hash = hex::encode(digest(&SHA256, &canonical_request(request, signed)));
    [b"SDK-HMAC-SHA256", date, hash.as_bytes()].join(&b'\n')
}

/// The request in its canonical form. Header values may be any bytes, hence so is the whole.
fn canonical_request(request: &SignedRequest<'_>, signed: &SignedHeaders) -> Vec<u8> {
    [
        request.method.as_bytes(),
        canonical_path(request.path).as_bytes(),
        canonical_query(request.query).as_bytes(),
        &canonical_headers(request, signed),
        signed.line().as_bytes(),
        EMPTY_BODY_SHA256.as_bytes(),
    ]
    .join(&b'\n')
}

/// Decodes the path, drops its empty and dot segments, and encodes the rest again. A `..` is dropped
/// like `.` and removes nothing before it. The result starts and ends with `/`.
fn canonical_path(path: &str) -> String {
    let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
    let segments = decoded
        .split(|&byte| byte == b'/')
        .filter(|segment| !matches!(*segment, b"" | b"." | b".."));
    let mut canonical = String::from("/");
    for segment in segments {
        canonical.push_str(&query_escape(segment));
        canonical.push('/');
    }
    canonical
}

/// Every `key=value` decoded, encoded again and sorted. A pair with a broken escape is left out, as
/// Go's `net/url` leaves it out.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = query_escape(&query_unescape(key)?);
            let value = query_escape(&query_unescape(value)?);
            Some(format!("{key}={value}"))
        })
        .collect();
    pairs.sort_unstable();
    pairs.join("&")
}

/// The lines `name:value`, sorted as lines (so `a-b:` comes before `a:`), each ended by a line feed.
fn canonical_headers(request: &SignedRequest<'_>, signed: &SignedHeaders) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = signed
        .0
        .iter()
        .map(|name| {
            let value = first_value(request, name).trim_ascii();
            [name.as_bytes(), b":", value, b"\n"].concat()
        })
        .collect();
    lines.sort_unstable();
    lines.concat()
}

fn first_value<'a>(request: &SignedRequest<'a>, lower_case_name: &str) -> &'a [u8] {
    if lower_case_name == "host" {
        return request.host.as_bytes();
    }
    request.headers.get(lower_case_name).map_or(&[], |value| value.as_bytes())
}

/// Lower-case header names, sorted, `host` always among them.
struct SignedHeaders(BTreeSet<String>);

impl SignedHeaders {
    fn new(list: &str) -> Self {
        let named = list.split(';').map(str::to_ascii_lowercase);
        Self(named.chain(["host".to_owned()]).collect())
    }

    fn line(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        names.join(";")
    }
}

/// Go's `url.QueryEscape`: a space is `+`.
fn query_escape(bytes: &[u8]) -> String {
    // A literal `%` is encoded too, so a `%20` in the result can only be a space.
    percent_encode(bytes, RESERVED).to_string().replace("%20", "+")
}

/// Go's `url.QueryUnescape`; `None` when an escape is not two hexadecimal digits.
fn query_unescape(text: &str) -> Option<Vec<u8>> {
    let escapes_are_whole = text.split('%').skip(1).all(|after| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    escapes_are_whole.then(|| percent_decode(text.replace('+', " ").as_bytes()).collect())
}

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const SIGNATURE_LENGTH: usize = 64;

const EMPTY_BODY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[cfg(test)]
mod tests;
