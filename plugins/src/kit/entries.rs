//! What loggers share: log entries on their way into a queue, members an operator adds.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use gateway_model::Violations;
use serde_json::Value;

use super::expression::{self, Expression};
use super::queue::{Parameters, Queue};
use crate::contract::{LogMembers, Setup, Summary};
use crate::lua::fields::Fields;

/// Puts the entry of an exchange in.
pub(crate) fn push(queue: &Queue, summary: &Summary<'_>, members: &CustomMembers) {
    if let Some(entry) = written(summary, members) {
        queue.push(entry);
    }
}

/// The entry of an exchange as JSON.
pub(crate) fn written(summary: &Summary<'_>, members: &CustomMembers) -> Option<Bytes> {
    let entry = summary.entry();
    let written = if members.is_empty() {
        serde_json::to_vec(entry)
    } else {
        let mut entry = entry.clone();
        members.add_to(summary, &mut entry);
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

/// Members of `custom_fields_by_lua`, by dotted path; nil takes a member out
/// (kong/pdk/log.lua, `set_serialize_value`).
///
/// Constants (`return 'v'`, `return nil`) are known from the start; other code is Lua's.
#[derive(Default)]
pub(crate) struct CustomMembers {
    constants: Vec<(String, Value)>,
    computed: Option<Fields>,
}

impl CustomMembers {
    /// # Errors
    ///
    /// Code that cannot be read, or may not run here.
    pub(crate) fn prepare(
        fields: Option<&BTreeMap<String, String>>,
        setup: &Setup<'_>,
    ) -> Result<Self, Violations> {
        let (mut constants, mut codes) = (Vec::new(), Vec::new());
        for (name, code) in fields.into_iter().flatten() {
            match constant(code) {
                Some(value) => constants.push((name.clone(), value)),
                None => codes.push((name.clone(), code.clone())),
            }
        }
        Ok(Self { constants, computed: Fields::build(codes, setup)? })
    }

    fn is_empty(&self) -> bool {
        self.constants.is_empty() && self.computed.is_none()
    }

    fn add_to(&self, summary: &Summary<'_>, entry: &mut Value) {
        for (path, value) in &self.constants {
            LogMembers::put(entry, path, value.clone());
        }
        if let Some(fields) = &self.computed {
            fields.add_to(summary, entry);
        }
    }
}

/// The value of code that only returns a constant; null for nil.
fn constant(code: &str) -> Option<Value> {
    let returned = code.trim().strip_prefix("return")?.trim_end_matches([' ', ';']);
    if returned.starts_with(char::is_alphanumeric) {
        return None;
    }
    let returned = returned.trim();
    if returned.is_empty() {
        return Some(Value::Null);
    }
    match expression::parse(returned) {
        Ok(Expression::Constant(value)) => Some(match value {
            expression::Value::Boolean(flag) => flag.into(),
            expression::Value::Number(number) => {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
                whole.map_or_else(|| Value::from(number), Value::from)
            }
            expression::Value::Text(text) => String::from_utf8_lossy(&text).into(),
            _ => Value::Null,
        }),
        _ => None,
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

    use serde_json::{Value, json};

    use crate::test_kit::{rig, rig_with};

    /// The entry file-log would write with these fields, of what is in `base`.
    fn entry(fields: &Value) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "path": folder.path().join("log"), "custom_fields_by_lua": fields,
        });
        let mut rig = rig();
        let plugin = rig.try_plugin("file-log", config)?;
        let stored = rig.catalog.collection("plugins").unwrap().get(plugin.id).unwrap().clone();
        let instance = gateway_model::Item::new(&stored).unwrap();
        let setup = crate::contract::Setup {
            instance: &instance,
            catalog: &rig.catalog,
            tools: &rig.tools,
        };
        let fields: BTreeMap<String, String> = serde_json::from_value(fields.clone()).unwrap();
        let members = super::CustomMembers::prepare(Some(&fields), &setup).unwrap();
        let exchange = rig.get("/x?a=1").header("Authorization", "secret").header("X-A", "b");
        let written = super::written(&exchange.summary(200), &members).unwrap();
        Ok(serde_json::from_slice(&written).unwrap())
    }

    #[test]
    fn constants_are_members() {
        let entry = entry(&json!({
            "my": "return 'v'",
            "n": " return 1.5; ",
            "deep.er": "return true",
            "request.headers.authorization": "return nil",
            "request.method": "return",
            "none.here": "return nil",
            "request.id.more": "return 1",
        }));
        let entry = entry.unwrap();
        assert_eq!(
            (&entry["my"], &entry["n"], &entry["deep"]),
            (&json!("v"), &json!(1.5), &json!({"er": true}))
        );
        assert_eq!(entry["request"]["headers"], json!({"host": "gw.test", "x-a": "b"}));
        assert!(entry["request"].get("method").is_none() && entry.get("none").is_none());
        assert!(entry["request"]["id"].is_string(), "what is no object stays");
    }

    #[test]
    fn code_computes_members() {
        let entry = entry(&json!({
            "path": "return kong.request.get_path()",
            "of.header": "return kong.request.get_header('X-A'):upper()",
            "table": "return { a = { 1, 2 }, b = kong.response.get_status() }",
            "request.size": "local x = nil return x",
            "fails": "error('x')",
            "client_ip": "return ngx.var.remote_addr .. '!'",
        }));
        let entry = entry.unwrap();
        assert_eq!(entry["path"], "/x");
        assert_eq!(entry["of"], json!({"header": "B"}));
        assert_eq!(entry["table"], json!({"a": [1, 2], "b": 200}));
        assert_eq!(entry["client_ip"], "127.0.0.1!");
        assert!(entry["request"].get("size").is_none());
        assert!(entry.get("fails").is_none(), "one that fails is left out");
        assert_eq!(entry["request"]["method"], "GET", "the others are written");
    }

    #[test]
    fn what_is_refused() {
        let refused = entry(&json!({"my": "return ("})).unwrap_err();
        let told = "config.custom_fields_by_lua: Error parsing function: [string \"return (\"]:1:";
        assert!(refused.contains(told), "{refused}");
        let off = crate::lua::Untrusted::Off;
        let settings = crate::lua::Settings { untrusted: off, ..Default::default() };
        let mut rig = rig_with(settings, &[]).unwrap();
        let config = json!({"path": "/nowhere", "custom_fields_by_lua": {"a": "return ngx.now()"}});
        let refused = rig.try_plugin("file-log", config).err().unwrap();
        assert!(refused.contains("'untrusted_lua' config option is set to 'off'"), "{refused}");
    }
}
