//! What texts of the Mp1 dialect look like: names, ids, protocols, URIs.
//!
//! The rules are the original's regular expressions, read by hand: none of them needs more than one
//! look at each byte.

/// `^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-]*[a-zA-Z0-9]$`: names of services and categories.
pub fn is_name(text: &str) -> bool {
    framed(text, b"_-")
}

/// `^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9\-]*[a-zA-Z0-9]$`: ids clients choose.
pub fn is_id(text: &str) -> bool {
    framed(text, b"-")
}

/// As [`is_name`], with dots: protocols such as `MQTT-3.1`.
pub fn is_protocol(text: &str) -> bool {
    framed(text, b"_-.")
}

/// As [`is_name`], with dots and colons: names a discovery may ask for.
pub fn is_registry_name(text: &str) -> bool {
    framed(text, b"_-.:")
}

/// Whether a text is a URI: absolute, or beginning with `/`.
///
/// A fragment is not looked at. Control characters, bad percent escapes and, against the original,
/// `"`, `<`, `>` and blanks are refused.
pub fn is_uri(text: &str) -> bool {
    let text = text.split('#').next().unwrap_or_default();
    let clean = text.bytes().all(|byte| byte > b' ' && byte != 0x7f && !b"\"<>".contains(&byte));
    if !clean || !has_good_escapes(text) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let authority = rest.strip_prefix("//").map(|rest| {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        &rest[..end]
    });
    named && authority.is_none_or(has_good_port)
}

/// Whether a text is exactly 32 lower-case hexadecimal digits: an id of a service instance.
pub fn is_service_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// How long a text is, in the unit the dialect's limits count: Unicode code points.
pub fn length(text: &str) -> usize {
    text.chars().count()
}

/// Letters, digits and `inner`, the latter neither first nor last; or nothing at all.
fn framed(text: &str, inner: &[u8]) -> bool {
    let plain = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    plain(bytes.first())
        && plain(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || inner.contains(byte))
}

fn has_good_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

fn has_good_port(authority: &str) -> bool {
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let after = host.rsplit(']').next().unwrap_or(host);
    after.split_once(':').is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> bool, rows: &[(&str, bool)]) {
        for (text, valid) in rows {
            assert_eq!(rule(text), *valid, "{text:?}");
        }
    }

    #[test]
    fn names_have_plain_ends() {
        check(
            is_name,
            &[
                ("", true),
                ("a", true),
                ("FaceRegService5", true),
                ("a_-b", true),
                ("_x", false),
                ("x-", false),
                ("a.b", false),
                ("é", false),
                ("a\n", false),
            ],
        );
        check(is_id, &[("a-b", true), ("a_b", false)]);
        check(is_protocol, &[("MQTT-3.1", true), (".1", false)]);
        check(is_registry_name, &[("a:b.c", true), ("a/b", false)]);
    }

    #[test]
    fn uris_are_absolute_or_rooted() {
        check(
            is_uri,
            &[
                ("/example/catalogue1", true),
                ("http://1.2.3.4:8080/a?b=c#\u{1}", true),
                ("https://[::1]:8080/", true),
                ("http://user@h:1/", true),
                ("urn:x:y", true),
                ("/a%20b", true),
                ("", false),
                ("string", false),
                ("#x", false),
                ("http://h:port/", false),
                ("1http://h/", false),
                ("/a%2", false),
                ("/a b", false),
                ("/a\"b", false),
                ("/<a>", false),
                ("/a\u{7f}", false),
            ],
        );
    }

    #[test]
    fn service_ids_are_exact() {
        let id = "45ddaf1ccf79c4be45ddaf1ccf79c4be";
        check(
            is_service_id,
            &[(id, true), ("xyz", false), (&id[1..], false), (&id.to_uppercase(), false)],
        );
        assert!(!is_service_id(&format!("{id}0")));
    }

    #[test]
    fn lengths_count_characters() {
        assert_eq!(length("é你a"), 3);
    }
}
