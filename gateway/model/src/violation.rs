//! [`Violations`]: every broken rule of one document, by field.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Every broken rule, in the shape Kong shows as `fields` (kong/db/errors.lua).
///
/// A field maps to a text, to an object of sub-fields, or to an array with `null` at good
/// elements. Rules on the whole record stand under `@entity` as an array of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Violations {
    fields: Map<String, Value>,
}

const ENTITY: &str = "@entity";

impl Violations {
    /// No violation yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One violation of one field. Dots in `path` nest.
    pub fn one(path: &str, text: impl Into<String>) -> Self {
        let mut violations = Self::new();
        violations.add(path, Value::String(text.into()));
        violations
    }

    /// Whether every rule holds.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Adds what is wrong with the field at a dotted path. The first complaint about a field
    /// stays.
    pub fn add(&mut self, path: &str, problem: Value) {
        let mut fields = &mut self.fields;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                fields.entry(name).or_insert(problem);
                return;
            }
            let entry = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
            match entry {
                Value::Object(inner) => fields = inner,
                _ => return,
            }
        }
    }

    /// Adds a complaint about a member whose name comes from a client, dots and all.
    pub fn add_raw(&mut self, name: &str, problem: Value) {
        self.fields.entry(name).or_insert(problem);
    }

    /// Adds a complaint about the record as a whole.
    pub fn add_entity(&mut self, text: impl Into<String>) {
        let list = self.fields.entry(ENTITY).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::String(text.into()));
        }
    }

    /// Takes over the violations of a sub-record.
    pub fn add_all(&mut self, other: Self) {
        for (name, value) in other.fields {
            match (self.fields.get_mut(&name), value) {
                (Some(Value::Array(mine)), Value::Array(theirs)) if name == ENTITY => {
                    mine.extend(theirs);
                }
                (Some(Value::Object(mine)), Value::Object(theirs)) => {
                    for (name, value) in theirs {
                        mine.entry(name).or_insert(value);
                    }
                }
                (Some(_), _) => {}
                (None, value) => {
                    self.fields.insert(name, value);
                }
            }
        }
    }

    /// The `fields` member of Kong's error body.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Consumes into the `fields` member.
    pub fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    /// Kong's one-line summary: `schema violation (a: text)` or `2 schema violations (a: x; b: y)`.
    pub fn message(&self) -> String {
        let lines = self.lines();
        match lines.len() {
            1 => format!("schema violation ({})", lines[0]),
            n => format!("{n} schema violations ({})", lines.join("; ")),
        }
    }

    /// The complaints one by one, `field: text`, whole-record ones first.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        if let Some(Value::Array(texts)) = self.fields.get(ENTITY) {
            lines.extend(texts.iter().map(text));
        }
        let mut names: Vec<&String> = self.fields.keys().filter(|name| *name != ENTITY).collect();
        names.sort();
        for name in names {
            match &self.fields[name] {
                Value::Object(inner) => {
                    let mut sub: Vec<&String> = inner.keys().collect();
                    sub.sort();
                    lines.extend(
                        sub.iter().map(|sub| format!("{name}.{sub}: {}", text(&inner[*sub]))),
                    );
                }
                Value::Array(elements) => {
                    for (index, element) in
                        elements.iter().enumerate().filter(|(_, e)| !e.is_null())
                    {
                        lines.push(format!("{name}.{}: {}", index + 1, text(element)));
                    }
                }
                other => lines.push(format!("{name}: {}", text(other))),
            }
        }
        lines
    }
}

/// A leaf as is; anything deeper as Kong prints it: a Lua table over several lines.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => {
            let mut out = String::new();
            lua_table(value, 0, &mut out);
            out
        }
        other => other.to_string(),
    }
}

/// Penlight's `pretty.write`: two blanks a level, list elements bare until the first hole.
fn lua_table(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth + 1);
    let mut rows: Vec<String> = Vec::new();
    let render = |value: &Value| match value {
        Value::String(text) => format!("{text:?}"),
        Value::Object(_) | Value::Array(_) => {
            let mut inner = String::new();
            lua_table(value, depth + 1, &mut inner);
            inner
        }
        other => other.to_string(),
    };
    match value {
        Value::Array(elements) => {
            let mut dense = true;
            for (index, element) in elements.iter().enumerate() {
                if element.is_null() {
                    dense = false;
                } else if dense {
                    rows.push(render(element));
                } else {
                    rows.push(format!("[{}] = {}", index + 1, render(element)));
                }
            }
        }
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            rows.extend(names.iter().map(|name| format!("{name} = {}", render(&members[*name]))));
        }
        other => rows.push(render(other)),
    }
    let _ =
        write!(out, "{{\n{indent}{}\n{}}}", rows.join(&format!(",\n{indent}")), "  ".repeat(depth));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Violations;

    fn check(fields: serde_json::Value, message: &str) {
        let mut violations = Violations::new();
        for (name, value) in fields.as_object().expect("an object") {
            violations.fields.insert(name.clone(), value.clone());
        }
        assert_eq!(violations.message(), message);
    }

    #[test]
    fn messages_are_kongs() {
        check(
            json!({"host": "required field missing"}),
            "schema violation (host: required field missing)",
        );
        check(
            json!({"path": "value must be null", "@entity": ["failed conditional validation given value of field 'protocol'"]}),
            "2 schema violations (failed conditional validation given value of field 'protocol'; path: value must be null)",
        );
        check(json!({"hosts": [null, "bad"]}), "schema violation (hosts.2: bad)");
        check(
            json!({"config": {"claims_to_verify": [null, "expected one of: exp, nbf"]}}),
            "schema violation (config.claims_to_verify: {\n  [2] = \"expected one of: exp, nbf\"\n})",
        );
        check(
            json!({"config": {"add": {"headers": ["invalid value: noColon"]}}}),
            "schema violation (config.add: {\n  headers = {\n    \"invalid value: noColon\"\n  }\n})",
        );
        check(
            json!({"config": {"redis": {"host": "required field missing"}}}),
            "schema violation (config.redis: {\n  host = \"required field missing\"\n})",
        );
    }
}
