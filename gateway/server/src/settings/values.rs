//! Every known key with a value of the right kind, whether anything uses it or not.

use std::collections::BTreeMap;

use gateway_model::reference::Environment;
use serde_json::Value as Json;

use super::keys::{self, GROUPS, Key, Kind};
use super::listen;
use super::place::{Notice, Origin, Violation};
use super::raw::{Given, RawSettings};
use super::scalar;
use super::vault;

/// Keys Kong composes from a name of its own choice; all we can say is that it would know them.
const COMPOSED: [&str; 3] = ["nginx_", "pluginserver_", "vault_"];

/// The values by key. No `Debug`: passwords are among them.
pub(super) struct Values(BTreeMap<&'static str, Value>);

/// One key's value; conforms to the key's kind.
pub(super) struct Value {
    pub(super) key: &'static Key,
    /// As in the file; empty when unset.
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Values {
    /// Resolves references and spellings, fills in defaults and checks kinds. A value of the wrong
    /// kind is noted and replaced by the default, so that reading can go on and find more.
    pub(super) fn of(raw: RawSettings) -> (Self, Environment, Vec<Violation>, Vec<Notice>) {
        let RawSettings { mut given, environment, mut violations, mut notices } = raw;
        let prefix =
            given.get("vault_env_prefix").map(|given| given.text.clone()).unwrap_or_default();
        let environment = Environment::new(environment, &prefix);
        for given in given.values_mut().filter(|given| vault::is_reference(&given.text)) {
            match vault::resolve(&given.text, &environment) {
                Ok(text) => given.text = text,
                Err(text) => {
                    violations.push(Violation { place: Some(given.origin.clone()), text });
                    given.text.clear();
                }
            }
        }

        let mut values = BTreeMap::new();
        for key in keys::all() {
            let value = Value::of(key, &given);
            let value = match key.kind.check(key.name, &value.text) {
                Ok(()) => value,
                Err(text) => {
                    violations.push(Violation { place: Some(value.origin), text });
                    Value::default(key)
                }
            };
            values.insert(key.name, value);
        }
        for (name, Given { text, origin }) in &given {
            if let Some(note) = without_effect(name, text) {
                notices.push(Notice { place: origin.clone(), text: note });
            }
        }
        (Self(values), environment, violations, notices)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> &Value {
        self.0.get(key).expect("settings are read by names that stand in the table")
    }

    /// Every key, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.values()
    }
}

impl Value {
    fn of(key: &'static Key, given: &BTreeMap<String, Given>) -> Self {
        let mut best: Option<&Given> = None;
        for name in std::iter::once(&key.name).chain(key.also) {
            match (given.get(*name).filter(|given| is_set(name, &given.text)), best) {
                (Some(new), None) => best = Some(new),
                (Some(new), Some(old)) if new.origin.outranks(&old.origin) => best = Some(new),
                _ => {}
            }
        }
        match best {
            Some(Given { text, origin }) => {
                Self { key, text: text.clone(), origin: origin.clone() }
            }
            None => Self::default(key),
        }
    }

    fn default(key: &'static Key) -> Self {
        Self { key, text: key.default.to_owned(), origin: Origin::Default }
    }

    /// The value as Kong's `GET /` shows it: arrays, numbers and booleans as such, `null` when
    /// unset, asterisks for a secret.
    pub(super) fn shown(&self) -> Json {
        if self.text.is_empty() {
            return Json::Null;
        }
        if self.key.secret {
            return Json::from("******");
        }
        match self.key.kind {
            Kind::Text | Kind::Size | Kind::Span | Kind::Choice(_) => {
                Json::from(self.text.as_str())
            }
            Kind::List | Kind::Listen(_) => scalar::list(&self.text).collect(),
            Kind::Number => number(&self.text),
            Kind::Boolean => scalar::boolean(&self.text).into(),
            Kind::OnOff => {
                scalar::boolean(&self.text).map(|on| if on { "on" } else { "off" }).into()
            }
        }
    }
}

impl Kind {
    /// Whether a text is of this kind; an empty one is unset and always is.
    fn check(self, key: &str, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let (conforms, refusal) = match self {
            Self::Text | Self::List => (true, String::new()),
            Self::Listen(transport) => return listen::parse(key, text, transport).map(drop),
            Self::Number => (scalar::number(text).is_some(), format!("is not a number: '{text}'")),
            Self::Boolean | Self::OnOff => {
                (scalar::boolean(text).is_some(), format!("is not a boolean: '{text}'"))
            }
            Self::Size => (
                scalar::size(text).is_some(),
                format!("is not a size: '{text}' (digits, then nothing, k, m or g)"),
            ),
            Self::Span => (
                scalar::span(text).is_some(),
                format!("is not a time span: '{text}' (digits, then nothing, s, m, h or d)"),
            ),
            Self::Choice(words) => (
                words.contains(&text),
                format!("has an invalid value: '{text}' ({})", words.join(", ")),
            ),
        };
        if conforms { Ok(()) } else { Err(format!("{key} {refusal}")) }
    }
}

fn number(text: &str) -> Json {
    match text.parse::<i64>() {
        Ok(whole) => whole.into(),
        Err(_) => scalar::number(text).into(),
    }
}

/// An empty value is the default; so is `NONE` for a directive of NGINX, which in Kong removes it.
fn is_set(name: &str, text: &str) -> bool {
    !(text.is_empty() || name.starts_with("nginx_") && text == "NONE")
}

/// What to tell about a key that was given and does nothing.
fn without_effect(name: &str, text: &str) -> Option<String> {
    let acts = |key: &Key| key.name == name || key.also.contains(&name);
    if GROUPS.iter().flat_map(|group| group.keys).any(acts) || text.is_empty() {
        return None;
    }
    let known = keys::ACCEPTED.iter().find(|key| key.name == name);
    if let Some(key) = known {
        return (text != key.default).then(|| format!("'{name}' has no effect in this gateway"));
    }
    if COMPOSED.iter().any(|prefix| name.starts_with(prefix)) {
        return (name != "vault_env_prefix")
            .then(|| format!("'{name}' has no effect in this gateway"));
    }
    Some(format!("'{name}' is not a known key; it is ignored"))
}
