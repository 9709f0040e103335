//! What loggers share: log entries on their way into a queue, members an operator adds.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use gateway_model::Violations;
use serde_json::{Map, Value};

use super::expression::{self, Expression};
use super::queue::{Parameters, Queue};
use crate::contract::Summary;

/// Puts the entry of an exchange in.
pub(crate) fn push(queue: &Queue, summary: &Summary<'_>, members: &CustomMembers) {
    if let Some(entry) = written(summary, members) {
        queue.push(entry);
    }
}

/// The entry of an exchange as JSON.
pub(crate) fn written(summary: &Summary<'_>, members: &CustomMembers) -> Option<Bytes> {
    let entry = summary.entry();
    let written = if members.0.is_empty() {
        serde_json::to_vec(entry)
    } else {
        let mut entry = entry.clone();
        members.add_to(&mut entry);
        serde_json::to_vec(&entry)
    };
    match written {
        Ok(entry) => Some(entry.into()),
        Err(why) => {
            tracing::error!(%why, "cannot write a log entry: {why}");
            None
        }
    }
}

/// Members of `custom_fields_by_lua`, by dotted path; none takes a member out
/// (kong/pdk/log.lua, `set_serialize_value`).
///
/// Of Lua there are constants only: `return 'v'`, `return 5`, `return nil`.
#[derive(Clone, Debug, Default)]
pub(crate) struct CustomMembers(Vec<(String, Option<Value>)>);

impl CustomMembers {
    /// # Errors
    ///
    /// Code that is more than a constant, by name.
    pub(crate) fn prepare(fields: Option<&BTreeMap<String, String>>) -> Result<Self, Violations> {
        let mut members = Vec::new();
        let mut problems = Map::new();
        for (name, code) in fields.into_iter().flatten() {
            match constant(code) {
                Ok(value) => members.push((name.clone(), value)),
                Err(why) => drop(problems.insert(name.clone(), why.into())),
            }
        }
        if problems.is_empty() {
            return Ok(Self(members));
        }
        let mut violations = Violations::new();
        violations.add("custom_fields_by_lua", problems.into());
        Err(violations)
    }

    fn add_to(&self, entry: &mut Value) {
        for (path, value) in &self.0 {
            set(entry, path, value.as_ref());
        }
    }
}

fn constant(code: &str) -> Result<Option<Value>, String> {
    const ONLY: &str = "Lua is not available yet; only 'return' of a constant can be had";
    let returned = code.trim().strip_prefix("return").map(|rest| rest.trim_end_matches([' ', ';']));
    let returned =
        returned.filter(|rest| rest.is_empty() || !rest.starts_with(char::is_alphanumeric));
    let returned = returned.ok_or(ONLY)?.trim();
    if returned.is_empty() {
        return Ok(None);
    }
    match expression::parse(returned) {
        Ok(Expression::Constant(value)) => Ok(match value {
            expression::Value::Boolean(flag) => Some(flag.into()),
            expression::Value::Number(number) => {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
                whole.map(Value::from).or_else(|| Some(Value::from(number)))
            }
            expression::Value::Text(text) => Some(String::from_utf8_lossy(&text).into()),
            _ => None,
        }),
        _ => Err(ONLY.into()),
    }
}

/// Objects on the way are made where they are missing; anything else on it stays as it is.
fn set(entry: &mut Value, path: &str, value: Option<&Value>) {
    let mut at = entry;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let Value::Object(object) = at else { return };
        if parts.peek().is_none() {
            match value {
                Some(value) => drop(object.insert(part.to_owned(), value.clone())),
                None => drop(object.shift_remove(part)),
            }
            return;
        }
        if value.is_none() && !object.contains_key(part) {
            return;
        }
        at = object.entry(part).or_insert_with(|| Value::Object(Map::new()));
    }
}

/// For loggers without queue parameters of their own: entries go out at once, those that wait
/// together, and are tried once.
pub(crate) const AT_ONCE: Parameters = Parameters {
    max_batch_size: 64,
    max_coalescing_delay: Duration::ZERO,
    max_entries: 10_000,
    max_bytes: 64 * 1024 * 1024,
    max_retry_time: Duration::ZERO,
    initial_retry_delay: Duration::from_millis(10),
    max_retry_delay: Duration::from_millis(10),
    concurrent: false,
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;

    use serde_json::json;

    use super::CustomMembers;

    fn prepare(fields: &[(&str, &str)]) -> Result<CustomMembers, String> {
        let fields: BTreeMap<String, String> =
            fields.iter().map(|(name, code)| ((*name).into(), (*code).into())).collect();
        CustomMembers::prepare(Some(&fields)).map_err(|violations| violations.message())
    }

    #[test]
    fn constants_are_members() {
        let members = prepare(&[
            ("my", "return 'v'"),
            ("n", " return 1.5; "),
            ("deep.er", "return true"),
            ("request.headers.authorization", "return nil"),
            ("request.id", "return"),
            ("none.here", "return nil"),
            ("request.id.more", "return 1"),
        ]);
        let mut entry = json!({"request": {"id": "x", "headers": {"authorization": "REDACTED"}}});
        members.unwrap().add_to(&mut entry);
        let wanted = json!({
            "request": {"headers": {}, "id": {"more": 1}},
            "deep": {"er": true}, "my": "v", "n": 1.5,
        });
        assert_eq!(entry, wanted);
    }

    #[test]
    fn code_is_refused() {
        for code in ["return kong.request.get_path()", "local x = 1", "returns 1", "return headers"]
        {
            let refused = prepare(&[("my", code)]).unwrap_err();
            assert!(refused.contains("Lua is not available yet"), "{refused}");
        }
    }
}
