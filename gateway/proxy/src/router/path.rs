//! Paths: the form a request's path is matched in, and the path its upstream gets.

use std::borrow::Cow;

use gateway_model::schema::types;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::CompiledRoute;

/// A path no route can be asked for: it does not begin with a slash, an escape is cut short or not
/// hexadecimal, or it holds a NUL. The client gets 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed path")]
pub struct Malformed;

/// The form in which a request's path (no query) is compared with routes: see
/// [`types::normalise`]. Most paths are in it already and are borrowed.
///
/// # Errors
///
/// [`Malformed`].
pub fn normal(path: &str) -> Result<Cow<'_, str>, Malformed> {
    let bytes = path.as_bytes();
    if !path.starts_with('/') || bytes.contains(&0) {
        return Err(Malformed);
    }
    let escaped = bytes.contains(&b'%');
    let doubtful = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    if !escaped && !bytes.windows(2).any(doubtful) {
        return Ok(Cow::Borrowed(path));
    }
    // nginx, in front of Kong's router, refuses an escaped NUL as it does a bare one.
    if escaped && (types::escapes(path).is_err() || path.contains("%00")) {
        return Err(Malformed);
    }
    Ok(Cow::Owned(types::normalise(path)))
}

/// The path an upstream gets for a request with the normalised `path`, of which the route matched
/// `prefix` bytes (see [`super::Found`]).
///
/// The service's path and the request's are joined as the route says, and what may not stand in a
/// request line is escaped again (kong/router/utils.lua, get_upstream_uri; kong/tools/uri.lua,
/// escape).
pub fn upstream_path<'p>(route: &CompiledRoute, path: &'p str, prefix: usize) -> Cow<'p, str> {
    let base = route.service.as_ref().and_then(|service| service.path.as_deref()).unwrap_or("/");
    let pieces = route.join.pieces(base, path, prefix);
    let [first, second, third] = pieces;
    let unchanged = path.strip_prefix(first).and_then(|rest| rest.strip_prefix(second));
    if unchanged == Some(third) {
        return utf8_percent_encode(path, &ESCAPED).into();
    }
    let mut joined = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        joined.extend(utf8_percent_encode(piece, &ESCAPED));
    }
    Cow::Owned(joined)
}

/// A path a handler gave, with what may not stand in a request line escaped.
pub(crate) fn escaped(path: &str) -> String {
    let rooted = if path.starts_with('/') { "" } else { "/" };
    let mut target = String::from(rooted);
    target.extend(utf8_percent_encode(path, &ESCAPED));
    target
}

/// Everything but what RFC 3986 allows in a path, `%` included since escapes were kept, and the
/// few characters Kong leaves alone besides.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'?')
    .remove(b'@')
    .remove(b'[')
    .remove(b']')
    .remove(b'%');

/// How a route joins its service's path and the request's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    /// Whether the matched prefix is taken off.
    pub(super) strip: bool,
    /// As text, nothing inserted: `path_handling` v1, in the flavour that heeds it.
    pub(super) as_text: bool,
}

impl Join {
    /// Up to three pieces that make the upstream's path; `base` is the service's, `/` when it has
    /// none.
    fn pieces<'a>(self, base: &'a str, path: &'a str, prefix: usize) -> [&'a str; 3] {
        // Without its first slash; also the rest of a path of which nothing was matched.
        let relative = path.strip_prefix('/').unwrap_or(path);
        let rest = match prefix {
            _ if !self.strip => relative,
            0 => without_dots(relative),
            _ => without_dots(path.get(prefix..).unwrap_or_default()),
        };
        let rooted = rest.starts_with('/');
        let ends_with_slash = path.ends_with('/');
        match base.strip_suffix('/') {
            Some(above) if self.strip && rooted => [above, rest, ""],
            _ if self.as_text => [base, rest, ""],
            Some(above) if self.strip && rest.is_empty() && !ends_with_slash && base != "/" => {
                [above, "", ""]
            }
            Some(_) => [base, rest, ""],
            None if !self.strip => [base, if path == "/" { "" } else { path }, ""],
            None if rest.is_empty() => {
                [base, if path.len() > 1 && ends_with_slash { "/" } else { "" }, ""]
            }
            None if rooted => [base, rest, ""],
            None => [base, "/", rest],
        }
    }
}

/// Takes a relative beginning off what is left of a path after its prefix, so that it cannot climb
/// out of the service's path (kong/router/utils.lua, sanitize_uri_postfix).
fn without_dots(rest: &str) -> &str {
    match rest {
        "." | ".." => "",
        _ => rest.strip_prefix("../").or_else(|| rest.strip_prefix("./")).unwrap_or(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_paths_are_borrowed() {
        for (path, wanted) in [
            ("/", Ok(Cow::Borrowed("/"))),
            ("/a/b;x=1/c#d", Ok(Cow::Borrowed("/a/b;x=1/c#d"))),
            ("/a/.b", Ok(Cow::Owned("/a/.b".to_owned()))),
            ("/a/./b", Ok(Cow::Owned("/a/b".to_owned()))),
            ("/a%20b", Ok(Cow::Owned("/a b".to_owned()))),
            ("/%ff", Ok(Cow::Owned("/%FF".to_owned()))),
            ("/%zz", Err(Malformed)),
            ("/%", Err(Malformed)),
            ("/%4", Err(Malformed)),
            ("/a%00b", Err(Malformed)),
            ("/a\0b", Err(Malformed)),
            ("a", Err(Malformed)),
            ("*", Err(Malformed)),
            ("", Err(Malformed)),
        ] {
            let borrowed = |path: &Result<Cow<'_, str>, _>| matches!(path, Ok(Cow::Borrowed(_)));
            let got = normal(path);
            assert_eq!(got, wanted, "for {path}");
            assert_eq!(borrowed(&got), borrowed(&wanted), "for {path}");
        }
    }

    #[test]
    fn what_is_left_cannot_climb() {
        for (rest, wanted) in
            [(".", ""), ("..", ""), ("./a", "a"), ("../a", "a"), ("...", "..."), ("/..", "/..")]
        {
            assert_eq!(without_dots(rest), wanted, "for {rest}");
        }
    }
}
