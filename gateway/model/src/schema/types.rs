//! Reusable rules in code: hosts, paths, addresses, names.
//!
//! Each takes a JSON value of the right type (text unless said otherwise) and gives Kong's text
//! when it refuses (kong/tools, kong/db/schema/typedefs.lua).

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use serde_json::Value;

type Checked = Result<(), String>;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A host name or address without a port.
///
/// # Errors
///
/// `invalid value: …`, `must not have a port`.
pub fn host(value: &Value) -> Checked {
    let host = text(value);
    if address(host).is_some() {
        return Ok(());
    }
    match host.rsplit_once(':') {
        Some((name, port)) if is_hostname(name) && port.parse::<u16>().is_ok() => {
            Err("must not have a port".into())
        }
        None if is_hostname(host) => Ok(()),
        _ => Err(format!("invalid value: {host}")),
    }
}

/// A host name or address, with or without a port; `*` labels are taken as names.
///
/// # Errors
///
/// `invalid hostname: …`.
pub fn route_host(value: &Value) -> Checked {
    let host = text(value).replace('*', "abc");
    let (name, port) = split_port(&host);
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if (address(name).is_some() || is_hostname(name)) && good_port {
        Ok(())
    } else {
        Err(format!("invalid hostname: {}", text(value)))
    }
}

/// A server name: a host name, no address, no port.
///
/// # Errors
///
/// `must not be an IP`, `must not have a port`, `invalid value: …`.
pub fn sni(value: &Value) -> Checked {
    let name = text(value);
    if address(name).is_some() {
        return Err("must not be an IP".into());
    }
    host(value)
}

/// A server name that may have one `*` at the very start or end.
///
/// # Errors
///
/// As [`sni`], and for a wildcard elsewhere.
pub fn wildcard_host(value: &Value) -> Checked {
    let name = text(value);
    match name.matches('*').count() {
        0 => {}
        1 if name == "*" || name.starts_with("*.") || name.ends_with(".*") => {}
        1 => return Err("wildcard must be leftmost or rightmost character".into()),
        _ => return Err("only one wildcard must be specified".into()),
    }
    sni(&Value::String(name.replace('*', "abc")))
}

/// A host name or address, with or without a port.
///
/// # Errors
///
/// `invalid hostname: …`, `invalid port number`.
pub fn host_with_optional_port(value: &Value) -> Checked {
    let (name, port) = split_port(text(value));
    if address(name).is_none() && !is_hostname(name) {
        return Err(format!("invalid hostname: {}", text(value)));
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        _ => Err("invalid port number".into()),
    }
}

/// The name of an upstream: a host name, no address, no port.
///
/// # Errors
///
/// `Invalid name ('…'); …`.
pub fn upstream_name(value: &Value) -> Checked {
    let name = text(value);
    let refuse = |why: &str| Err(format!("Invalid name ('{name}'); {why}"));
    let (host, port) = split_port(name);
    if address(name).or_else(|| address(host)).is_some() {
        return refuse("no ip addresses allowed");
    }
    match port {
        _ if !is_hostname(host) => refuse("must be a valid hostname"),
        None => Ok(()),
        Some(port) if port.parse::<u16>().is_ok() => refuse("no port allowed"),
        Some(_) => refuse("must be a valid hostname"),
    }
}

/// A host name or address, with or without a port.
///
/// # Errors
///
/// `Invalid target; not a valid hostname or ip address`.
pub fn target(value: &Value) -> Checked {
    let target = text(value);
    let (host, port) = split_port(target);
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if good_port && (address(host).is_some() || is_hostname(host)) {
        Ok(())
    } else {
        Err("Invalid target; not a valid hostname or ip address".into())
    }
}

/// An address as targets are written: IPv6 in full, between brackets.
pub fn in_full(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let groups = address.segments().map(|group| format!("{group:04x}"));
            format!("[{}]", groups.join(":"))
        }
    }
}

/// A token of HTTP, such as the name of a cookie (RFC 9110, section 5.6.2).
///
/// # Errors
///
/// `contains one or more invalid characters. …`.
pub fn http_token(value: &Value) -> Checked {
    let good = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text(value).chars().all(good) {
        return Ok(());
    }
    Err("contains one or more invalid characters. ASCII control characters (0-31;127), space, \
         tab and the characters ()<>@,;:\\\"/?={}[] are not allowed."
        .into())
}

/// PEM with one certificate or more.
///
/// # Errors
///
/// `invalid certificate: …`.
pub fn certificate(value: &Value) -> Checked {
    let read = crate::pem::certificates(text(value));
    read.map(drop).map_err(|why| format!("invalid certificate: {why}"))
}

/// PEM with a private key.
///
/// # Errors
///
/// `invalid key: …`; nothing of the key is repeated.
pub fn private_key(value: &Value) -> Checked {
    let read = crate::pem::private_key(text(value));
    read.map(drop).map_err(|why| format!("invalid key: {why}"))
}

/// A literal IPv4 or IPv6 address.
///
/// # Errors
///
/// `not an ip address: …`.
pub fn ip(value: &Value) -> Checked {
    match text(value).parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("not an ip address: {}", text(value))),
    }
}

/// An address or a CIDR range.
///
/// # Errors
///
/// `invalid ip or cidr range: '…'`.
pub fn ip_or_cidr(value: &Value) -> Checked {
    let range = text(value);
    if range.parse::<IpAddr>().is_ok() || range.parse::<ipnet::IpNet>().is_ok() {
        Ok(())
    } else {
        Err(format!("invalid ip or cidr range: '{range}'"))
    }
}

/// A URL path: characters RFC 3986 allows, escapes well formed.
///
/// # Errors
///
/// `invalid path: …`, `invalid url-encoded value: '…'`.
pub fn path(value: &Value) -> Checked {
    let path = text(value);
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_~/%:@!$&'()*+,;=".contains(c);
    if !path.starts_with('/') {
        return Err("should start with: /".into());
    }
    if !path.chars().all(allowed) {
        return Err(format!(
            "invalid path: '{path}' (characters outside of the reserved list of RFC 3986 found)"
        ));
    }
    escapes(path)
}

/// Every `%` begins a two-digit escape.
///
/// # Errors
///
/// `invalid url-encoded value: '%zz'`, naming the first bad one.
pub fn escapes(path: &str) -> Checked {
    let bytes = path.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let good =
            bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if !good {
            let shown: String = path[at..].chars().take(3).collect();
            return Err(format!("invalid url-encoded value: '{shown}'"));
        }
    }
    Ok(())
}

/// A tag: printable ASCII but `,` and `/`, or any other UTF-8.
///
/// # Errors
///
/// `invalid tag '…': …`.
pub fn tag(value: &Value) -> Checked {
    let tag = text(value);
    let good = |c: char| !c.is_ascii() || ((' '..='~').contains(&c) && c != ',' && c != '/');
    if tag.chars().all(good) {
        Ok(())
    } else {
        Err(format!(
            "invalid tag '{tag}': expected printable ascii (except `,` and `/`) or valid utf-8 \
             sequences"
        ))
    }
}

/// The name of an entity: ASCII alphanumerics and `. - _ ~`, or any other UTF-8.
///
/// # Errors
///
/// `invalid value '…': …`.
pub fn utf8_name(value: &Value) -> Checked {
    let name = text(value);
    let good = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || ".-_~".contains(c);
    if name.chars().all(good) {
        Ok(())
    } else {
        Err(format!(
            "invalid value '{name}': the only accepted ascii characters are alphanumerics or ., \
             -, _, and ~"
        ))
    }
}

/// The name of an HTTP header.
///
/// # Errors
///
/// `bad header name '…', allowed characters are A-Z, a-z, 0-9, '_', and '-'`.
pub fn header_name(value: &Value) -> Checked {
    let name = text(value);
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        Ok(())
    } else {
        Err(format!("bad header name '{name}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"))
    }
}

/// An absolute URL with scheme and host.
///
/// # Errors
///
/// `missing host in url` and its like.
pub fn url(value: &Value) -> Checked {
    let url = text(value);
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("missing host in url".into());
    };
    if scheme.is_empty() {
        return Err("missing scheme in url".into());
    }
    if rest.is_empty() || rest.starts_with('/') {
        return Err("missing host in url".into());
    }
    url::Url::parse(url).map(drop).map_err(|why| format!("could not parse url. {why}"))
}

/// A port number.
///
/// # Errors
///
/// `value should be between 0 and 65535`.
pub fn port(value: &Value) -> Checked {
    if value.as_f64().is_some_and(|n| (0.0..=65535.0).contains(&n)) {
        Ok(())
    } else {
        Err("value should be between 0 and 65535".into())
    }
}

/// A path of a route: `/prefix` in normal form, or `~/regex`.
///
/// # Errors
///
/// `non-normalized path, consider use '…' instead`, `invalid regex: …`, and as [`escapes`].
pub fn route_path(value: &Value) -> Checked {
    let path = text(value);
    if let Some(pattern) = path.strip_prefix('~') {
        return regex::Regex::new(&format!("^(?:{pattern})")).map(drop).map_err(|why| {
            format!(
                "invalid regex: '{pattern}' (PCRE returned: pcre2_compile() failed: {})",
                regex_reason(&why, pattern)
            )
        });
    }
    escapes(path)?;
    let normal = normalise(path);
    if normal == path {
        Ok(())
    } else {
        Err(format!("non-normalized path, consider use '{normal}' instead"))
    }
}

/// The reason in the words of PCRE where operators know them, else the engine's last line.
fn regex_reason(why: &regex::Error, pattern: &str) -> String {
    let text = why.to_string();
    let reason =
        text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("syntax error");
    let reason = match reason {
        "unclosed group" => "missing closing parenthesis",
        "unclosed character class" => "missing terminating ] for character class",
        "repetition operator missing expression" => "quantifier does not follow a repeatable item",
        "unopened group" => "unmatched closing parenthesis",
        other => other,
    };
    format!("{reason} in \"{pattern}\"")
}

/// The form of a path that routes are compared in: escapes of unreserved characters decoded, the
/// others in upper case, dot segments resolved, slashes merged (kong/tools/uri.lua, normalize).
///
/// The text must have well-formed escapes. Decoded bytes that are no UTF-8 stay escaped, so that
/// nothing is lost when the path is sent on.
pub fn normalise(path: &str) -> String {
    const RESERVED: &[u8] = b"!*'();:@&=+$,/?%#[]";
    let bytes = path.as_bytes();
    let mut decoded: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at..at + 3).filter(|part| part[0] == b'%');
        let byte = escape.and_then(|part| {
            let mut one = percent_decode_str(std::str::from_utf8(part).ok()?);
            let byte = one.next()?;
            one.next().is_none().then_some(byte)
        });
        match (byte, escape) {
            (Some(byte), Some(part)) if RESERVED.contains(&byte) => {
                decoded.extend(part.to_ascii_uppercase());
                at += 3;
            }
            (Some(byte), _) => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    let mut out: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|byte| *byte == b'/').peekable();
    segments.next();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" if !last => {}
            b"." if !last => {}
            b"." | b"" => out.push(b'/'),
            b".." => {
                while out.pop().is_some_and(|byte| byte != b'/') {}
                if last {
                    out.push(b'/');
                }
            }
            segment => {
                out.push(b'/');
                out.extend(segment);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    let mut text = String::with_capacity(out.len());
    for chunk in out.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(percent_encoding::percent_encode_byte(*byte));
        }
    }
    text
}

/// Host and port of `host:port`, `[v6]:port`, or a bare host.
pub fn split_port(host: &str) -> (&str, Option<&str>) {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((inner, "")) => (inner, None),
            Some((inner, tail)) => (inner, tail.strip_prefix(':')),
            None => (host, None),
        };
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, Some(port)),
        _ => (host, None),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Letters, digits, `-` and `_` in labels of at most 63, dots between, 253 in all.
pub fn is_hostname(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    fn check(rule: fn(&Value) -> Result<(), String>, rows: &[(&str, Option<&str>)]) {
        for (input, wanted) in rows {
            let got = rule(&Value::String((*input).to_owned())).err();
            assert_eq!(got.as_deref(), *wanted, "for {input}");
        }
    }

    #[test]
    fn hosts() {
        check(
            super::host,
            &[
                ("a.test", None),
                ("10.0.0.1", None),
                ("::1", None),
                ("h:80", Some("must not have a port")),
                ("http://h", Some("invalid value: http://h")),
            ],
        );
        check(
            super::route_host,
            &[
                ("*.a.test", None),
                ("a.*", None),
                ("a.test:8080", None),
                ("a.test:x", Some("invalid hostname: a.test:x")),
                ("http://a", Some("invalid hostname: http://a")),
            ],
        );
    }

    #[test]
    fn route_paths() {
        check(
            super::route_path,
            &[
                ("/ok", None),
                ("/%zz", Some("invalid url-encoded value: '%zz'")),
                ("/a/../b", Some("non-normalized path, consider use '/b' instead")),
                (
                    "~/(",
                    Some(
                        "invalid regex: '/(' (PCRE returned: pcre2_compile() failed: missing \
                         closing parenthesis in \"/(\")",
                    ),
                ),
            ],
        );
    }

    #[test]
    fn normal_form() {
        for (path, wanted) in [
            ("/n/../n/x", "/n/x"),
            ("/n/./x", "/n/x"),
            ("//n/x", "/n/x"),
            ("/n//x", "/n/x"),
            ("/n/%41%2f%20b", "/n/A%2F b"),
            ("/n/%7e", "/n/~"),
            ("/n/..%2fx", "/n/..%2Fx"),
            ("/%6e/x", "/n/x"),
            ("/n;x=1/y", "/n;x=1/y"),
            ("/n/%2e%2e/x", "/x"),
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a/..", "/"),
            ("/../..", "/"),
            ("/%c3%a9/%ff%2e", "/é/%FF."),
        ] {
            assert_eq!(super::normalise(path), wanted, "for {path}");
        }
    }
}
