//! [`Reference`]: `{vault://env/name}` in place of a value; [`Environment`]: where such names lead.
//!
//! A document keeps the reference, and shows it; the typed form of an entity holds the value. The
//! environment of the process is the one vault there is, as in Kong's open-source edition
//! (kong/pdk/vault.lua, kong/vaults/env). Versions, keys and options are Kong's.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A reference to a value in a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'t> {
    /// `env`, or the prefix of a vault entity.
    pub vault: &'t str,
    /// What is asked for.
    pub resource: String,
    /// The member to take, where the value is a JSON object.
    pub key: Option<String>,
    /// Replaces the vault's own prefix.
    pub prefix: Option<String>,
    /// 1 is the value, 2 the one before it.
    pub version: Option<u32>,
}

impl<'t> Reference<'t> {
    /// Whether a text is a reference, well formed or not (kong/pdk/vault.lua, is_reference).
    pub fn is(text: &str) -> bool {
        text.len() > 10 && text.starts_with(OPENING) && text.ends_with('}')
    }

    /// Reads a reference; `None` for any other text, and for one that names no vault or nothing
    /// in it.
    pub fn parse(text: &'t str) -> Option<Self> {
        let inner = text.strip_prefix(OPENING)?.strip_suffix('}')?;
        let (inner, version) = match inner.split_once('#') {
            Some((inner, version)) => (inner, Some(version.parse().ok()?)),
            None => (inner, None),
        };
        let (path, options) = inner.split_once('?').unwrap_or((inner, ""));
        let (vault, path) = path.split_once('/')?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (resource, key) = match path.rsplit_once('/') {
            Some((resource, "")) => (resource, None),
            Some((resource, key)) => (resource, Some(decoded(key))),
            None => (path, None),
        };
        let resource = decoded(resource);
        let mut options = options.split('&').filter_map(|option| option.split_once('='));
        let prefix = options.find(|(name, _)| *name == "prefix").map(|(_, value)| decoded(value));
        (!vault.is_empty() && !resource.is_empty()).then_some(Self {
            vault,
            resource,
            key,
            prefix,
            version,
        })
    }
}

const OPENING: &str = "{vault://";

/// The name of the vault that is the environment, without an entity.
pub const ENV: &str = "env";

/// The environment of the process, as it was at the start.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Arc<HashMap<String, String>>,
    prefix: Arc<str>,
}

impl Environment {
    /// These variables; `prefix` stands before the names of references that say no other
    /// (`vault_env_prefix`).
    pub fn new(variables: HashMap<String, String>, prefix: &str) -> Self {
        Self { variables: Arc::new(variables), prefix: prefix.into() }
    }

    /// The value a reference stands for. `own` is the prefix of the vault entity it names, where
    /// it does.
    ///
    /// # Errors
    ///
    /// The variable that is not set, or holds no such member. No value is repeated.
    pub fn get(&self, reference: &Reference<'_>, own: Option<&str>) -> Result<String, Missing> {
        let prefix = reference.prefix.as_deref().or(own).unwrap_or(&self.prefix);
        let previous = if reference.version == Some(2) { "_PREVIOUS" } else { "" };
        let name = format!("{prefix}{}{previous}", reference.resource);
        let variable = name.to_uppercase().replace('-', "_");
        let text = self.variables.get(&variable).map(String::as_str).map(Cow::Borrowed);
        let value = match (&reference.key, text) {
            (None, text) => text,
            (Some(key), Some(text)) => member(&text, key).map(Cow::Owned),
            (Some(_), None) => None,
        };
        value.map(Cow::into_owned).ok_or(Missing { variable })
    }
}

/// A member of a JSON object, as text.
fn member(object: &str, key: &str) -> Option<String> {
    let object: Value = serde_json::from_str(object).ok()?;
    match object.get(key)? {
        Value::String(text) => Some(text.clone()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}

/// The variable a reference leads to, which holds no such value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has no value in {variable}")]
pub struct Missing {
    /// Its name.
    pub variable: String,
}

/// Secrets are among the values.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.variables.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, Reference};

    fn environment() -> Environment {
        let variables = [
            ("HOME_X", "plain"),
            ("HOME_X_PREVIOUS", "old"),
            ("A/B", "deep"),
            ("PG", r#"{"password":"p","port":5432,"x":{}}"#),
            ("APP_KEY", "k"),
            ("OWN_KEY", "o"),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Environment::new(owned.into(), "")
    }

    fn check(text: &str, own: Option<&str>, value: Option<&str>) {
        let found = Reference::parse(text).and_then(|found| environment().get(&found, own).ok());
        assert_eq!(found.as_deref(), value, "for {text}");
    }

    #[test]
    fn references_lead_to_variables() {
        check("{vault://env/home-x}", None, Some("plain"));
        check("{vault://env/home%2Dx}", None, Some("plain"));
        check("{vault://env/home-x#1}", None, Some("plain"));
        check("{vault://env/home-x#2}", None, Some("old"));
        check("{vault://env/home-x/}", None, Some("plain"));
        check("{vault://env/a/b/}", None, Some("deep"));
        check("{vault://env/pg/password}", None, Some("p"));
        check("{vault://env/pg/port?ttl=10}", None, Some("5432"));
        check("{vault://env/pg/x}", None, None);
        check("{vault://env/home-x/y}", None, None);
        check("{vault://env/absent}", None, None);
    }

    #[test]
    fn options_go_before_the_vaults_own() {
        check("{vault://env/key?prefix=app_}", None, Some("k"));
        check("{vault://mine/key}", Some("own_"), Some("o"));
        check("{vault://mine/key?ttl=1&prefix=app_}", Some("own_"), Some("k"));
    }

    #[test]
    fn what_is_no_reference() {
        for text in ["", "{vault://}", "{vault://env}", "{vault://env/}", "{vault:///x}"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
        for text in ["x{vault://env/a}", "{vault://env/a} ", "vault://env/a"] {
            assert!(!Reference::is(text), "{text}");
        }
        assert_eq!(Reference::parse("{vault://env/a#x}"), None);
        assert!(Reference::is("{vault://env}"), "a broken one is one still");
    }
}
