//! Which origins are allowed.

use gateway_model::Violations;
use http::{HeaderValue, Uri};
use regex::Regex;
use serde_json::Value;

/// The origins of a configuration.
pub(super) enum Origins {
    /// All.
    Any,
    /// One, told whoever asks.
    One(HeaderValue),
    /// Those that match one of these.
    Listed(Vec<Pattern>),
}

/// One of several origins.
pub(super) enum Pattern {
    /// In normal form.
    Plain(String),
    /// Compared with the host, or with the whole origin when it speaks of ports or schemes.
    Regex { regex: Regex, whole: bool },
}

impl Origins {
    /// # Errors
    ///
    /// Patterns this gateway cannot use.
    pub(super) fn read(listed: &[String]) -> Result<Self, Violations> {
        match listed {
            [] => return Ok(Self::Any),
            [one] if one == "*" => return Ok(Self::Any),
            [one] if is_plain(one) => {
                let value = HeaderValue::try_from(one.as_str());
                return value
                    .map(Self::One)
                    .map_err(|_| Violations::one("origins", "not usable in a header"));
            }
            _ => {}
        }
        let mut problems = vec![Value::Null; listed.len()];
        let mut patterns = Vec::with_capacity(listed.len());
        for (text, problem) in listed.iter().zip(&mut problems) {
            match Pattern::read(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => *problem = why.to_string().into(),
            }
        }
        if patterns.len() == listed.len() {
            return Ok(Self::Listed(patterns));
        }
        let mut violations = Violations::new();
        violations.add("origins", problems.into());
        Err(violations)
    }
}

impl Pattern {
    fn read(text: &str) -> Result<Self, regex::Error> {
        if is_plain(text) {
            return Ok(Self::Plain(normal(text).0));
        }
        // A lone asterisk among others is no expression and matches nothing, as in Kong.
        let text = if text == "*" { r"\*" } else { text };
        let regex = Regex::new(&format!("(?:{})$", text.strip_suffix('$').unwrap_or(text)))?;
        Ok(Self::Regex { regex, whole: text.contains(':') })
    }

    fn matches(&self, origin: &str, host: Option<&str>) -> bool {
        match self {
            Self::Plain(known) => known == origin,
            Self::Regex { regex, whole: true } => regex.is_match(origin),
            Self::Regex { regex, whole: false } => regex.is_match(host.unwrap_or(origin)),
        }
    }
}

/// The normal form of the origin, when one of the patterns matches it.
pub(super) fn allowed(patterns: &[Pattern], origin: &str) -> Option<HeaderValue> {
    let (origin, host) = normal(origin);
    let matches = |pattern: &Pattern| pattern.matches(&origin, host.as_deref());
    patterns.iter().any(matches).then(|| HeaderValue::try_from(origin).ok()).flatten()
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:/-".contains(&byte))
}

/// Scheme, host and a port that is not the scheme's own; and the host alone. What is no such
/// address (`null`) stays as it is.
fn normal(origin: &str) -> (String, Option<String>) {
    let parsed = origin.parse::<Uri>().ok();
    let parts =
        parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?, uri.port_u16())));
    let Some((scheme, host, port)) = parts else { return (origin.to_owned(), None) };
    let text = match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    };
    (text, Some(host.to_owned()))
}
