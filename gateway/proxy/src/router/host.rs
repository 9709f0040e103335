//! Hosts: what a route names, and what a request carries.

/// A host as a route names it, without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// `a.test`: this name.
    Exact(Box<str>),
    /// `*.a.test`: names that end in `.a.test`.
    Ending(Box<str>),
    /// `a.*`: names that begin with `a.`.
    Beginning(Box<str>),
}

impl HostPattern {
    /// Reads a pattern and the port it requires, if any.
    pub(super) fn parse(host: &str) -> (Self, Option<u16>) {
        let Host { name, port } = split(host);
        let pattern = if let Some(ending) = name.strip_prefix('*') {
            Self::Ending(ending.into())
        } else if let Some(beginning) = name.strip_suffix('*') {
            Self::Beginning(beginning.into())
        } else {
            Self::Exact(name.into())
        };
        (pattern, port)
    }
}

/// A host and the port that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host<'a> {
    /// The name as sent, an IPv6 address without its brackets.
    pub(super) name: &'a str,
    /// The port, when there is one.
    pub(super) port: Option<u16>,
}

/// Splits the port off a Host header. What is no port stays part of the name
/// (kong/router/traditional.lua, split_port).
pub(super) fn split(host: &str) -> Host<'_> {
    let bare = |host| Host { name: host, port: None };
    if let Some((address, tail)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match tail.strip_prefix(':') {
            None if tail.is_empty() => bare(address),
            Some("") => bare(address),
            Some(port) => port_number(port)
                .map_or_else(|| bare(host), |port| Host { name: address, port: Some(port) }),
            None => bare(host),
        };
    }
    match host.split_once(':') {
        Some((name, "")) => bare(name),
        Some((name, port)) => {
            port_number(port).map_or_else(|| bare(host), |port| Host { name, port: Some(port) })
        }
        None => bare(host),
    }
}

fn port_number(digits: &str) -> Option<u16> {
    // `u16::from_str` would take a plus sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The longest host name there is (RFC 1035, section 2.3.4). Longer ones arrive, and looking up all
/// their parts would cost the square of their length.
const LONGEST: usize = 255;

/// Every ending of a name that begins with a dot, the longest first.
pub(super) fn endings(name: &str) -> impl Iterator<Item = &str> {
    let too_long = name.len().saturating_sub(LONGEST);
    name.match_indices('.')
        .map(|(at, _)| at)
        .filter(move |at| *at >= too_long)
        .map(|at| &name[at..])
}

/// Every beginning of a name that ends with a dot, the shortest first.
pub(super) fn beginnings(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| at).take_while(|at| *at < LONGEST).map(|at| &name[..=at])
}

#[cfg(test)]
mod tests {
    use super::{Host, beginnings, endings, split};

    #[test]
    fn ports_are_split_off() {
        let check = |host, name, port| assert_eq!(split(host), Host { name, port }, "for {host}");
        check("a.test", "a.test", None);
        check("a.test:80", "a.test", Some(80));
        check("a.test:", "a.test", None);
        check("a.test:x", "a.test:x", None);
        check("a.test:+80", "a.test:+80", None);
        check("a.test:99999", "a.test:99999", None);
        check("[::1]:80", "::1", Some(80));
        check("[::1]", "::1", None);
        check("[::1]x", "[::1]x", None);
        check("::1", "::1", None);
        check("", "", None);
        check("[", "[", None);
    }

    #[test]
    fn wildcards_cut_at_dots() {
        assert_eq!(endings("x.a.test").collect::<Vec<_>>(), [".a.test", ".test"]);
        assert_eq!(beginnings("x.a.test").collect::<Vec<_>>(), ["x.", "x.a."]);
        assert_eq!(endings("test").count(), 0);
        let dots = ".".repeat(10_000);
        assert_eq!((endings(&dots).count(), beginnings(&dots).count()), (255, 255));
    }
}
