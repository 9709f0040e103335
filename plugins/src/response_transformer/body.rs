use gateway_model::{Document, Violations};
use serde_json::{Number, Value};

use super::config::{Config, JsonType, Values};

/// One change of a JSON object.
#[derive(Debug)]
pub(super) enum Step {
    Remove(String),
    Rename(String, String),
    Replace(String, Value),
    Add(String, Value),
    Append(String, Value),
}

/// The steps of a configuration, in order.
///
/// # Errors
///
/// Values that are not of the type they should have.
pub(super) fn prepare(config: &Config) -> Result<Vec<Step>, Violations> {
    let mut violations = Violations::new();
    let mut steps: Vec<Step> = config.remove.json.iter().cloned().map(Step::Remove).collect();
    let renames = config.rename.json.iter().filter_map(|pair| pair.split_once(':'));
    steps.extend(renames.map(|(old, new)| Step::Rename(old.into(), new.into())));
    let mut values = |field: &str, values: &Values, step: fn(String, Value) -> Step| {
        let mut problems = vec![Value::Null; values.json.len()];
        let mut broken = false;
        for (at, pair) in values.json.iter().enumerate() {
            let Some((name, text)) = pair.split_once(':') else { continue };
            let kind = values.json_types.get(at).copied().unwrap_or(JsonType::String);
            match typed(text, kind) {
                Some(value) => steps.push(step(name.into(), value)),
                None => {
                    problems[at] = format!("not a number: {text}").into();
                    broken = true;
                }
            }
        }
        if broken {
            violations.add(field, problems.into());
        }
    };
    values("replace.json", &config.replace, Step::Replace);
    values("add.json", &config.add, Step::Add);
    values("append.json", &config.append, Step::Append);
    if violations.is_empty() { Ok(steps) } else { Err(violations) }
}

/// Every text but `true` is false, as in Kong.
fn typed(text: &str, kind: JsonType) -> Option<Value> {
    match kind {
        JsonType::String => Some(text.into()),
        JsonType::Boolean => Some((text == "true").into()),
        JsonType::Number => {
            let text = text.trim();
            let whole = text.parse::<i64>().ok().map(Number::from);
            whole.or_else(|| Number::from_f64(text.parse().ok()?)).map(Value::Number)
        }
    }
}

/// The body after all steps, `None` when it is no JSON object.
pub(super) fn transform(body: &[u8], steps: &[Step]) -> Option<Vec<u8>> {
    let mut object: Document = serde_json::from_slice(body).ok()?;
    for step in steps {
        step.apply(&mut object);
    }
    serde_json::to_vec(&object).ok()
}

impl Step {
    fn apply(&self, object: &mut Document) {
        match self {
            Self::Remove(name) => drop(object.shift_remove(name)),
            Self::Rename(old, new) => {
                if let Some(value) = object.shift_remove(old) {
                    object.insert(new.clone(), value);
                }
            }
            Self::Replace(name, value) => {
                if let Some(old) = object.get_mut(name) {
                    *old = value.clone();
                }
            }
            Self::Add(name, value) => {
                if !object.contains_key(name) {
                    object.insert(name.clone(), value.clone());
                }
            }
            Self::Append(name, value) => {
                append(object.entry(name).or_insert(Value::Null), value.clone())
            }
        }
    }
}

/// A text becomes the first of two; anything else that is no list gives way
/// (kong/plugins/response-transformer/body_transformer.lua, append_value).
fn append(old: &mut Value, value: Value) {
    match old {
        Value::Array(list) => list.push(value),
        Value::String(_) => *old = vec![old.take(), value].into(),
        _ => *old = vec![value].into(),
    }
}
