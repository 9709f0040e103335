//! Conditions on headers and server names.

use gateway_model::Violations;
use http::HeaderMap;
use regex::bytes::{Regex, RegexBuilder};

/// One header a route asks for: present, with one of these values.
///
/// Names compare without regard to letter case and to `_` or `-`; values without regard to letter
/// case (kong/router/transform.lua, get_expression).
#[derive(Clone, Debug)]
pub(crate) struct HeaderCondition {
    /// Lower case, with dashes.
    name: Box<str>,
    values: Box<[ValueCondition]>,
}

#[derive(Clone, Debug)]
enum ValueCondition {
    Text(Box<str>),
    Regex(Regex),
}

impl HeaderCondition {
    /// Reads a header's values; `~*` begins a regular expression.
    pub(crate) fn compile(name: &str, values: &[String]) -> Result<Self, Violations> {
        let compile = |value: &String| match value.strip_prefix("~*") {
            None => Ok(ValueCondition::Text(value.as_str().into())),
            Some(pattern) => RegexBuilder::new(pattern)
                .case_insensitive(true)
                .build()
                .map(ValueCondition::Regex)
                .map_err(|why| {
                    let text = format!("invalid regex: '{pattern}' ({})", last_line(&why));
                    Violations::one(&format!("headers.{name}"), text)
                }),
        };
        Ok(Self {
            name: name.to_ascii_lowercase().replace('_', "-").into(),
            values: values.iter().map(compile).collect::<Result<_, _>>()?,
        })
    }

    /// Whether any line of this header has one of the values.
    pub(crate) fn holds(&self, headers: &HeaderMap) -> bool {
        headers
            .iter()
            .filter(|(name, _)| self.is_named(name.as_str()))
            .any(|(_, value)| self.values.iter().any(|wanted| wanted.holds(value.as_bytes())))
    }

    /// `name` is in lower case, as a [`http::HeaderName`] is.
    fn is_named(&self, name: &str) -> bool {
        let dash = |byte| if byte == b'_' { b'-' } else { byte };
        name.len() == self.name.len() && name.bytes().map(dash).eq(self.name.bytes())
    }
}

impl ValueCondition {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Text(text) => value.eq_ignore_ascii_case(text.as_bytes()),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// One server name a route asks for. Names compare without regard to letter case, as DNS has it.
#[derive(Clone, Debug)]
pub(crate) enum SniCondition {
    Exact(Box<str>),
    /// What follows `*`.
    Ending(Box<str>),
    /// What precedes `*`.
    Beginning(Box<str>),
}

impl SniCondition {
    pub(crate) fn parse(name: &str) -> Self {
        let name = without_root(name);
        if let Some(ending) = name.strip_prefix('*') {
            Self::Ending(ending.into())
        } else if let Some(beginning) = name.strip_suffix('*') {
            Self::Beginning(beginning.into())
        } else {
            Self::Exact(name.into())
        }
    }

    pub(crate) fn holds(&self, sni: &str) -> bool {
        let sni = without_root(sni).as_bytes();
        match self {
            Self::Exact(name) => sni.eq_ignore_ascii_case(name.as_bytes()),
            Self::Ending(ending) => sni
                .len()
                .checked_sub(ending.len())
                .is_some_and(|at| sni[at..].eq_ignore_ascii_case(ending.as_bytes())),
            Self::Beginning(beginning) => sni
                .get(..beginning.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(beginning.as_bytes())),
        }
    }
}

/// The trailing dot of a full name says nothing.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// What is wrong, without the drawing of where.
pub(super) fn last_line(why: &regex::Error) -> String {
    let text = why.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn headers() {
        let check = |name: &str, values: &[&str], sent: &[(&'static str, &[u8])], wanted: bool| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers
                    .append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
            }
            let condition = HeaderCondition::compile(name, &values).unwrap();
            assert_eq!(condition.holds(&headers), wanted, "{name} {values:?} {sent:?}");
        };
        check("X-A", &["abc"], &[("x-a", b"ABC")], true);
        check("X-A", &["abc"], &[("x-a", b"abcd")], false);
        check("X-A", &["abc"], &[("x_a", b"abc")], true);
        check("x_a", &["abc"], &[("x-a", b"abc")], true);
        check("X-A", &["1", "2"], &[("x-a", b"0"), ("x-a", b"2")], true);
        check("X-A", &["~*^v[0-9]+$"], &[("x-a", b"V9")], true);
        check("X-A", &["~*^v[0-9]+$"], &[("x-a", b"V")], false);
        check("X-A", &["~*b"], &[("x-a", b"\xff\xfeB")], true);
        check("X-A", &["abc"], &[], false);
        assert_eq!(
            HeaderCondition::compile("X-A", &["~*(".to_owned()]).unwrap_err().message(),
            "schema violation (headers.X-A: invalid regex: '(' (unclosed group))"
        );
    }

    #[test]
    fn server_names() {
        for (pattern, sni, wanted) in [
            ("a.test", "a.test", true),
            ("a.test", "A.TEST.", true),
            ("a.test.", "a.test", true),
            ("a.test", "b.a.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("a.*", "a.test", true),
            ("a.*", "b.test", false),
            ("a.*", "", false),
            ("*", "any", true),
        ] {
            assert_eq!(SniCondition::parse(pattern).holds(sni), wanted, "{pattern} {sni}");
        }
    }
}
