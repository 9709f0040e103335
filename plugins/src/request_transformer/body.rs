//! Changes of the body's arguments: forms, JSON objects, multipart forms.

use http::header;
use serde_json::Value;

use super::steps::Step;
use crate::contract::Request;
use crate::kit::body::{Arguments, Part};

/// The arguments of the body, `None` when there are none to change. An empty body has none yet.
pub(super) fn read(request: &Request<'_>) -> Option<Arguments> {
    let body = request.facts.body.bytes()?;
    if !body.is_empty() {
        return Arguments::of(request);
    }
    let kind = request.header(header::CONTENT_TYPE.as_str())?;
    let media = kind.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        Some(Arguments::Json(serde_json::Map::new()))
    } else if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(Arguments::Form(Vec::new()))
    } else {
        None
    }
}

/// Applies the changes; whether there was one.
pub(super) fn apply(arguments: &mut Arguments, steps: Vec<Step<Vec<u8>>>) -> bool {
    let mut changed = false;
    for step in steps {
        changed |= match arguments {
            Arguments::Form(pairs) => form(pairs, step),
            Arguments::Json(members) => json(members, step),
            Arguments::Multipart(_, parts) => multipart(parts, step),
        };
    }
    if changed && let Arguments::Json(members) = arguments {
        // Kong's order is that of a hash; this one at least is the same every time.
        members.sort_keys();
    }
    changed
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap_or_else(|why| String::from_utf8_lossy(why.as_bytes()).into())
}

fn form(pairs: &mut Vec<(String, String)>, step: Step<Vec<u8>>) -> bool {
    let has = |pairs: &[(String, String)], name: &str| pairs.iter().any(|(one, _)| one == name);
    match step {
        Step::Remove(name) => {
            let before = pairs.len();
            pairs.retain(|(one, _)| *one != name);
            pairs.len() < before
        }
        Step::Rename(old, new) => {
            let new = text(new);
            if !has(pairs, &old) || old == new {
                return false;
            }
            pairs.retain(|(one, _)| *one != new);
            for (name, _) in pairs.iter_mut().filter(|(one, _)| *one == old) {
                name.clone_from(&new);
            }
            true
        }
        Step::Replace(name, value) => {
            let Some(first) = pairs.iter().position(|(one, _)| *one == name) else { return false };
            pairs[first].1 = text(value);
            let mut at = 0;
            pairs.retain(|(one, _)| {
                at += 1;
                at <= first + 1 || *one != name
            });
            true
        }
        Step::Add(name, value) => {
            if has(pairs, &name) {
                return false;
            }
            pairs.push((name, text(value)));
            true
        }
        Step::Append(name, value) => {
            let last = pairs.iter().rposition(|(one, _)| *one == name);
            pairs.insert(last.map_or(pairs.len(), |last| last + 1), (name, text(value)));
            true
        }
    }
}

fn json(members: &mut serde_json::Map<String, Value>, step: Step<Vec<u8>>) -> bool {
    match step {
        Step::Remove(name) => members.shift_remove(&name).is_some(),
        Step::Rename(old, new) => match members.shift_remove(&old) {
            Some(value) => {
                members.insert(text(new), value);
                true
            }
            None => false,
        },
        Step::Replace(name, value) => match members.get_mut(&name) {
            Some(old) if *old != Value::Bool(false) => {
                *old = text(value).into();
                true
            }
            _ => false,
        },
        Step::Add(name, value) => {
            // False is as good as absent to Kong.
            if members.get(&name).is_some_and(|old| *old != Value::Bool(false)) {
                return false;
            }
            members.insert(name, text(value).into());
            true
        }
        Step::Append(name, value) => {
            let value = Value::from(text(value));
            let old = members.entry(name).or_insert(Value::Null);
            match old {
                Value::Array(list) => list.push(value),
                Value::String(_) => *old = vec![old.take(), value].into(),
                _ => *old = vec![value].into(),
            }
            true
        }
    }
}

/// Nothing is appended to multipart forms, as in Kong.
fn multipart(parts: &mut Vec<Part>, step: Step<Vec<u8>>) -> bool {
    let has = |parts: &[Part], name: &str| parts.iter().any(|part| part.name == name);
    let simple = |name: String, value: Vec<u8>| Part {
        name,
        file_name: None,
        content_type: None,
        data: value.into(),
    };
    match step {
        Step::Remove(name) => {
            let before = parts.len();
            parts.retain(|part| part.name != name);
            parts.len() < before
        }
        Step::Rename(old, new) => {
            let new = text(new);
            let mut found = false;
            for part in parts.iter_mut().filter(|part| part.name == old) {
                part.name.clone_from(&new);
                found = true;
            }
            found
        }
        Step::Replace(name, value) => {
            if !has(parts, &name) {
                return false;
            }
            parts.retain(|part| part.name != name);
            parts.push(simple(name, value));
            true
        }
        Step::Add(name, value) => {
            if has(parts, &name) {
                return false;
            }
            parts.push(simple(name, value));
            true
        }
        Step::Append(..) => false,
    }
}
