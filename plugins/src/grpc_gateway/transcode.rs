//! [`Routes`]: which request calls which method, and the message it makes
//! (kong/plugins/grpc-gateway/deco.lua).

use prost_reflect::{Kind, MessageDescriptor, MethodDescriptor};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::kit::grpc::{Binding, Services};
use crate::kit::query::arguments;

/// The ways to call the methods of a file.
pub(super) struct Routes(Vec<Route>);

struct Route {
    verb: String,
    pattern: Regex,
    /// Fields that the groups of the pattern stand for.
    fields: Vec<String>,
    body: String,
    path: String,
    method: MethodDescriptor,
}

/// A call that a request makes.
pub(super) struct Call {
    /// `/package.Service/Method`
    pub(super) path: String,
    pub(super) method: MethodDescriptor,
    pub(super) message: Value,
}

impl Routes {
    /// # Errors
    ///
    /// A path that is no template.
    pub(super) fn of(services: &Services) -> Result<Self, String> {
        let route = |(path, method, binding): (String, MethodDescriptor, Binding)| {
            let (pattern, fields) = pattern(&binding.path)?;
            let Binding { verb, body, .. } = binding;
            Ok(Route { verb, pattern, fields, body, path, method })
        };
        services.bindings().into_iter().map(route).collect::<Result<_, String>>().map(Self)
    }

    /// The call a request makes.
    ///
    /// # Errors
    ///
    /// Kong's texts for a request that makes none, and for bodies that do not fit.
    pub(super) fn call(
        &self,
        verb: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Result<Call, String> {
        let verb = verb.to_ascii_lowercase();
        if !self.0.iter().any(|route| route.verb == verb) {
            return Err(format!("failed to transcode .proto file Unknown method \"{verb}\""));
        }
        let found = self.0.iter().filter(|route| route.verb == verb).find_map(|route| {
            let groups = route.pattern.captures(path)?;
            let text = |at: usize| groups.get(at + 1).map_or("", |group| group.as_str());
            let fields = route.fields.iter().enumerate();
            let bound: Vec<(&str, String)> =
                fields.map(|(at, name)| (name.as_str(), text(at).to_owned())).collect();
            Some((route, bound))
        });
        let unknown = || format!("failed to transcode .proto file Unknown path \"{path}\"");
        let (route, bound) = found.ok_or_else(unknown)?;
        let kind = route.method.input();
        let mut message = json!({});
        for (name, text) in bound {
            put(&mut message, &kind, name, &[text]);
        }
        if route.body.is_empty() {
            let mut all: Vec<(String, Vec<String>)> = Vec::new();
            for (name, value) in arguments(query) {
                let value = value.map_or_else(|| "true".to_owned(), Into::into);
                match all.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => values.push(value),
                    None => all.push((name.into_owned(), vec![value])),
                }
            }
            for (name, values) in all {
                put(&mut message, &kind, &name, &values);
            }
        } else if !body.is_empty() {
            let body: Value = serde_json::from_slice(body).map_err(|why| why.to_string())?;
            match (route.body.as_str(), body) {
                ("*", Value::Object(members)) => {
                    if let Value::Object(message) = &mut message {
                        message.extend(members);
                    }
                }
                ("*", _) => return Err("body must be a table".into()),
                (field, body) => message[field] = body,
            }
        }
        Ok(Call { path: route.path.clone(), method: route.method.clone(), message })
    }
}

/// A regular expression for a path with fields in it, and their names: `{name}` takes a segment,
/// `{name=a/*}` what it says, where `*` is a segment and `**` are several.
fn pattern(template: &str) -> Result<(Regex, Vec<String>), String> {
    let mut text = String::from("^");
    let mut fields = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        text.push_str(&wild(&rest[..open]));
        let close = rest[open..].find('}').ok_or_else(|| format!("no }} in {template}"))?;
        let field = &rest[open + 1..open + close];
        let (name, segments) = field.split_once('=').unwrap_or((field, "*"));
        fields.push(name.to_owned());
        text.push('(');
        text.push_str(&wild(segments));
        text.push(')');
        rest = &rest[open + close + 1..];
    }
    text.push_str(&wild(rest));
    text.push('$');
    Ok((Regex::new(&text).map_err(|why| why.to_string())?, fields))
}

fn wild(segments: &str) -> String {
    let any = |part: &str| part.split('*').map(regex::escape).collect::<Vec<_>>().join("[^/]+");
    segments.split("**").map(any).collect::<Vec<_>>().join(".+")
}

/// Sets the field at a dotted path to a text, or to several, as its kind has it. What the message
/// does not know is left out.
fn put(message: &mut Value, kind: &MessageDescriptor, path: &str, texts: &[String]) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let Some(field) = kind.get_field_by_name(name) else { return };
    let Value::Object(members) = message else { return };
    match (rest, field.kind()) {
        (Some(rest), Kind::Message(inner)) => {
            let below = members.entry(name).or_insert_with(|| Value::Object(Map::new()));
            put(below, &inner, rest, texts);
        }
        (None, kind) => {
            let value = |text: &String| match kind {
                Kind::Bool => Value::Bool(text == "true" || text == "1"),
                _ => Value::from(text.as_str()),
            };
            let value = match texts {
                [.., last] if !field.is_list() => value(last),
                texts => texts.iter().map(value).collect(),
            };
            members.insert(name.to_owned(), value);
        }
        _ => {}
    }
}
