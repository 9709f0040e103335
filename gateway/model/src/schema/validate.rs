//! Completing and checking documents against a [`Record`].

use serde_json::{Map, Value};

use super::{Expand, Field, Kind, Record, Shorthand};
use crate::Violations;
use crate::reference::Reference;

/// Why a document is checked; a few of Kong's texts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A whole document: POST and PUT.
    Create,
    /// The result of merging a partial update: PATCH.
    Update,
}

impl Record {
    /// Turns input spellings into fields, fills in defaults, drops duplicates from sets.
    ///
    /// Every field of the record is present afterwards, null where unset. Completing twice
    /// changes nothing.
    pub fn complete(&self, document: &mut Map<String, Value>) -> Violations {
        let mut violations = Violations::new();
        self.expand(document, &mut violations);
        for field in &self.fields {
            let value = document
                .entry(field.name)
                .or_insert_with(|| field.default.clone().unwrap_or(Value::Null));
            let mut inner = Violations::new();
            field.complete(value, &mut inner);
            if !inner.is_empty() {
                violations.add(field.name, Value::Object(inner.into_fields()));
            }
        }
        violations
    }

    pub(crate) fn expand(&self, document: &mut Map<String, Value>, violations: &mut Violations) {
        for shorthand in &self.shorthands {
            let Some(value) = document.shift_remove(shorthand.name) else { continue };
            if value.is_null() && !matches!(shorthand.expand, Expand::Moved(_)) {
                continue;
            }
            if let Some(problem) = shorthand.field.problem(&value) {
                violations.add(shorthand.name, problem);
                continue;
            }
            match shorthand.expand {
                Expand::Computed(compute) => match compute(&value) {
                    Ok(members) => document.extend(members),
                    Err(text) => violations.add(shorthand.name, Value::String(text)),
                },
                Expand::Alias(path) => {
                    let _ = put_if_absent(document, path, value);
                }
                Expand::Moved(path) => {
                    if let Some(present) = put_if_absent(document, path, value.clone())
                        && present != value
                    {
                        violations.add(
                            shorthand.name,
                            Value::String(format!(
                                "both deprecated and new field are used but their values \
                                 mismatch: {} = {} vs {path} = {}",
                                shorthand.name,
                                bare(&value),
                                bare(&present)
                            )),
                        );
                    }
                }
            }
        }
    }

    /// Adds the deprecated names an answer shows beside the new ones.
    pub fn echo_shorthands(&self, document: &mut Map<String, Value>) {
        for shorthand in &self.shorthands {
            if let Expand::Moved(path) = shorthand.expand {
                let value =
                    crate::document::at_path(document, path).cloned().unwrap_or(Value::Null);
                document.insert(shorthand.name.to_owned(), value);
            }
        }
        for field in &self.fields {
            if let (Kind::Record(record), Some(Value::Object(inner))) =
                (&field.kind, document.get_mut(field.name))
            {
                record.echo_shorthands(inner);
            }
        }
    }

    /// Whether [`Self::echo_shorthands`] adds anything.
    pub(crate) fn has_echoes(&self) -> bool {
        let moved = |shorthand: &Shorthand| matches!(shorthand.expand, Expand::Moved(_));
        let inner = |field: &Field| match &field.kind {
            Kind::Record(record) => record.has_echoes(),
            _ => false,
        };
        self.shorthands.iter().any(moved) || self.fields.iter().any(inner)
    }

    /// Every broken rule of a completed document.
    pub fn check_document(&self, document: &Map<String, Value>, mode: Mode) -> Violations {
        let mut violations = self.check_fields(document);
        self.run_checks(document, mode, "", &mut violations);
        violations
    }

    /// The rules of single fields only.
    pub fn check_fields(&self, document: &Map<String, Value>) -> Violations {
        let mut violations = Violations::new();
        for field in &self.fields {
            let value = document.get(field.name).unwrap_or(&Value::Null);
            if let Some(problem) = field.problem(value) {
                violations.add(field.name, problem);
            }
        }
        for name in document.keys() {
            if !self.fields.iter().any(|field| field.name == name) {
                violations.add_raw(name, Value::String("unknown field".into()));
            }
        }
        violations
    }

    /// The rules over several fields; `prefix` stands before the names they show.
    pub fn run_checks(
        &self,
        document: &Map<String, Value>,
        mode: Mode,
        prefix: &str,
        violations: &mut Violations,
    ) {
        for check in &self.checks {
            check.run(document, mode, prefix, violations);
        }
        if let Some(custom) = self.custom
            && violations.is_empty()
            && let Err(text) = custom(document)
        {
            if prefix.is_empty() {
                violations.add_entity(text);
            } else {
                violations.add(prefix.trim_end_matches('.'), Value::String(text));
            }
        }
    }
}

/// Puts a value at a dotted path unless something other than null is there; gives what was.
fn put_if_absent(document: &mut Map<String, Value>, path: &str, value: Value) -> Option<Value> {
    let mut map = document;
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(a, b)| (Some(a), b));
    for name in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let inner = map.entry(name).or_insert(Value::Null);
        if !inner.is_object() {
            *inner = Value::Object(Map::new());
        }
        map = inner.as_object_mut()?;
    }
    match map.get(last) {
        None | Some(Value::Null) => {
            map.insert(last.to_owned(), value);
            None
        }
        Some(present) => Some(present.clone()),
    }
}

impl Field {
    fn complete(&self, value: &mut Value, violations: &mut Violations) {
        match (&self.kind, value) {
            (Kind::Record(record), Value::Object(inner)) => {
                violations.add_all(record.complete(inner));
            }
            // A required record is there with its defaults even when nobody sent it.
            (Kind::Record(record), value @ Value::Null) if self.required => {
                let mut inner = Map::new();
                violations.add_all(record.complete(&mut inner));
                *value = Value::Object(inner);
            }
            (Kind::Set(element), Value::Array(list)) => {
                for value in list.iter_mut() {
                    element.complete(value, violations);
                }
                let mut seen: Vec<Value> = Vec::with_capacity(list.len());
                list.retain(|value| {
                    let new = !seen.contains(value);
                    if new {
                        seen.push(value.clone());
                    }
                    new
                });
            }
            (Kind::Array(element), Value::Array(list)) => {
                for value in list {
                    element.complete(value, violations);
                }
            }
            (Kind::Map { values, .. }, Value::Object(map)) => {
                for (_, value) in map.iter_mut() {
                    values.complete(value, violations);
                }
            }
            (Kind::Integer, Value::Number(number)) => {
                // 5.0 is the integer 5 and is shown as 5.
                if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0)
                    && number.is_f64()
                    && whole.abs() < 9e15
                {
                    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                    let whole = whole as i64;
                    *number = whole.into();
                }
            }
            _ => {}
        }
    }

    /// What is wrong with a value: a text, or for containers an object or array of texts.
    pub fn problem(&self, value: &Value) -> Option<Value> {
        if value.is_null() {
            return self.required.then(|| Value::String("required field missing".into()));
        }
        if self.referenceable && value.as_str().is_some_and(Reference::is) {
            return None;
        }
        let problem = self.type_problem(value).or_else(|| self.rule_problem(value))?;
        Some(self.error.map_or(problem, |text| Value::String(text.into())))
    }

    fn rule_problem(&self, value: &Value) -> Option<Value> {
        if !self.may_be_empty && matches!(self.kind, Kind::String) && value.as_str() == Some("") {
            return Some(Value::String("length must be at least 1".into()));
        }
        self.rules.iter().find_map(|rule| rule.check(value).err()).map(Value::String)
    }

    fn type_problem(&self, value: &Value) -> Option<Value> {
        let expected = |text: &str| Some(Value::String(format!("expected {text}")));
        match &self.kind {
            Kind::String if !value.is_string() => expected("a string"),
            Kind::Boolean if !value.is_boolean() => expected("a boolean"),
            Kind::Number if !value.is_number() => expected("a number"),
            Kind::Integer if value.as_f64().is_none_or(|n| n.fract() != 0.0) => {
                expected("an integer")
            }
            Kind::Array(element) => value
                .as_array()
                .map_or_else(|| expected("an array"), |list| elements_problem(element, list)),
            Kind::Set(element) => value
                .as_array()
                .map_or_else(|| expected("a set"), |list| elements_problem(element, list)),
            Kind::Map { keys, values } => value.as_object().map_or_else(
                || expected("a map"),
                |map| {
                    map.iter().find_map(|(key, value)| {
                        keys.problem(&Value::String(key.clone())).or_else(|| values.problem(value))
                    })
                },
            ),
            Kind::Record(record) => value.as_object().map_or_else(
                || expected("a record"),
                |inner| {
                    let violations = record.check_document(inner, Mode::Create);
                    (!violations.is_empty()).then(|| Value::Object(violations.into_fields()))
                },
            ),
            Kind::Foreign(_) => foreign_problem(value),
            Kind::Abstract if !value.is_object() => expected("a record"),
            _ => None,
        }
    }
}

fn elements_problem(element: &Field, list: &[Value]) -> Option<Value> {
    let mut problems: Vec<Value> =
        list.iter().map(|value| element.problem(value).unwrap_or(Value::Null)).collect();
    while problems.last().is_some_and(Value::is_null) {
        problems.pop();
    }
    (!problems.is_empty()).then_some(Value::Array(problems))
}

/// References to other entities: by the time of checking, endpoint keys are resolved to ids.
fn foreign_problem(value: &Value) -> Option<Value> {
    let Some(members) = value.as_object() else {
        return Some(serde_json::json!({"id": "missing primary key"}));
    };
    if let Some(other) = members.keys().find(|name| *name != "id") {
        return Some(Value::Object(Map::from_iter([(other.clone(), "unknown field".into())])));
    }
    match members.get("id") {
        None => Some(serde_json::json!({"id": "missing primary key"})),
        Some(Value::Null) => Some(serde_json::json!({"id": "required field missing"})),
        Some(id) if id.as_str().and_then(crate::Id::parse).is_none() => {
            Some(serde_json::json!({"id": "expected a valid UUID"}))
        }
        Some(_) => None,
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
