//! [`Check`]: rules over several fields of one record.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Mode, Rule};
use crate::Violations;
use crate::document::at_path;

/// A rule over several fields. Paths are dotted and relative to the record.
#[derive(Clone, Debug)]
pub enum Check {
    /// One of them at least is set.
    AtLeastOneOf(&'static [&'static str]),
    /// Exactly one of them is set.
    OnlyOneOf(&'static [&'static str]),
    /// All or none are set.
    MutuallyRequired(&'static [&'static str]),
    /// At most one is set.
    MutuallyExclusive(&'static [&'static str]),
    /// Values differ.
    Distinct(&'static [&'static str]),
    /// When one field is like this, the other must be like that.
    Conditional {
        /// The field that decides.
        if_field: &'static str,
        /// What it must fulfil for the rule to apply. A null field fulfils nothing.
        if_match: Rule,
        /// The field that is judged.
        then_field: &'static str,
        /// What it must fulfil.
        then_match: Rule,
        /// Replaces the texts.
        error: Option<&'static str>,
    },
    /// When one field is like this, one of the others at least must be set.
    ConditionalAtLeastOneOf {
        /// The field that decides.
        if_field: &'static str,
        /// What it must fulfil for the rule to apply. A null field fulfils nothing.
        if_match: Rule,
        /// The fields that are judged.
        then_fields: &'static [&'static str],
        /// The text before their names, and what stands after them and " for ".
        error: (&'static str, &'static str),
    },
    /// A rule in code.
    Custom(fn(&Map<String, Value>, &mut Violations)),
    /// A rule made while the process starts, of a schema that is a file.
    Made(MadeCheck),
}

/// A rule over several fields made while the process starts.
#[derive(Clone)]
pub struct MadeCheck(
    /// Gives the text when the record is refused.
    pub Arc<Judge>,
);

/// Gives the text when a record is refused.
pub type Judge = dyn Fn(&Map<String, Value>) -> Result<(), String> + Send + Sync;

impl fmt::Debug for MadeCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MadeCheck")
    }
}

impl Check {
    /// [`Check::Conditional`] with Kong's own texts.
    pub const fn conditional(
        if_field: &'static str,
        if_match: Rule,
        then_field: &'static str,
        then_match: Rule,
    ) -> Self {
        Self::Conditional { if_field, if_match, then_field, then_match, error: None }
    }

    /// Adds what is wrong to `violations`; `prefix` stands before the names shown (`config.`).
    pub(super) fn run(
        &self,
        document: &Map<String, Value>,
        mode: Mode,
        prefix: &str,
        violations: &mut Violations,
    ) {
        let set = |names: &[&str]| names.iter().filter(|name| is_set(document, name)).count();
        let quoted = |names: &[&str]| {
            names.iter().map(|name| format!("'{prefix}{name}'")).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::AtLeastOneOf(names) if set(names) == 0 => {
                let when = if mode == Mode::Update { "when updating, " } else { "" };
                violations.add_entity(format!(
                    "{when}at least one of these fields must be non-empty: {}",
                    quoted(names)
                ));
            }
            Self::OnlyOneOf(names) if set(names) != 1 => violations.add_entity(format!(
                "exactly one of these fields must be non-empty: {}",
                quoted(names)
            )),
            Self::MutuallyRequired(names) if set(names) != 0 && set(names) != names.len() => {
                violations.add_entity(format!(
                    "all or none of these fields must be set: {}",
                    quoted(names)
                ))
            }
            Self::MutuallyExclusive(names) if set(names) > 1 => violations.add_entity(format!(
                "only one or none of these fields must be set: {}",
                quoted(names)
            )),
            Self::Distinct(names) => {
                let values: Vec<&Value> =
                    names.iter().filter_map(|name| at_path(document, name)).collect();
                let repeated =
                    values.iter().enumerate().any(|(index, value)| values[..index].contains(value));
                if repeated {
                    violations.add_entity(format!(
                        "values of these fields must be distinct: {}",
                        quoted(names)
                    ));
                }
            }
            Self::Conditional { if_field, if_match, then_field, then_match, error } => {
                let applies =
                    at_path(document, if_field).is_some_and(|value| if_match.check(value).is_ok());
                if !applies {
                    return;
                }
                let value = at_path(document, then_field).unwrap_or(&Value::Null);
                let judged = match (value, then_match) {
                    // Only a rule that asks for presence is broken by absence.
                    (Value::Null, Rule::Required | Rule::Custom { .. } | Rule::Made(_)) => {
                        Err("required field missing".to_owned())
                    }
                    (Value::Null, _) => Ok(()),
                    (value, rule) => rule.check(value),
                };
                if let Err(text) = judged {
                    violations.add_entity(format!(
                        "failed conditional validation given value of field '{prefix}{if_field}'"
                    ));
                    let text = error.map_or(text, str::to_owned);
                    violations.add(&format!("{prefix}{then_field}"), Value::String(text));
                }
            }
            Self::ConditionalAtLeastOneOf { if_field, if_match, then_fields, error } => {
                let applies =
                    at_path(document, if_field).is_some_and(|value| if_match.check(value).is_ok());
                if applies && set(then_fields) == 0 {
                    let (before, what) = error;
                    let names = then_fields.iter().map(|name| format!("'{name}'"));
                    let names = names.collect::<Vec<_>>().join(", ");
                    violations.add_entity(format!("{before}{names} for {what}"));
                }
            }
            Self::Custom(check) => check(document, violations),
            Self::Made(check) => {
                if let Err(text) = (check.0)(document) {
                    violations.add_entity(text);
                }
            }
            _ => {}
        }
    }
}

/// Set means: not null, and not an empty list, object or text.
fn is_set(document: &Map<String, Value>, path: &str) -> bool {
    at_path(document, path).is_some_and(|value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    })
}
