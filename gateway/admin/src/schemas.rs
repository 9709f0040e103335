//! `/schemas`: kinds and plugins as Kong describes them, and checks without a write.

use gateway_model::schema::Mode;
use gateway_model::{EntityType, PluginSchema};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::body::Payload;
use crate::dispatch::Call;
use crate::error;
use crate::form::Shape;

/// A kind that ends with what it refers to without its schema saying so: the reference does it in
/// code (kong/db/dao/certificates.lua).
const UNSAID: &str = "snis";

/// `GET /schemas/{kind}`
pub(crate) fn kind(call: &Call<'_>, name: &str) -> Result<Answer, Answer> {
    let kind = find(call, name)?;
    let mut shown = with_checks(kind.describe());
    for field in shown.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
        for attributes in field.as_object_mut().into_iter().flat_map(|field| field.values_mut()) {
            // No field of an entity takes the empty text, unless it says so.
            if attributes["type"] == "string" && attributes.get("len_min").is_none() {
                attributes["len_min"] = 1.into();
            }
            if let (true, Some(attributes)) = (name == UNSAID, attributes.as_object_mut()) {
                attributes.shift_remove("on_delete");
            }
        }
    }
    Ok(spelled(Value::Object(shown)))
}

/// `GET /schemas/vaults/{name}`: what the `config` of a vault may hold.
pub(crate) fn vault(call: &Call<'_>, name: &str) -> Result<Answer, Answer> {
    let vaults = call.registry().kind("vaults").and_then(|kind| kind.variants);
    let vault = vaults.and_then(|vaults| vaults.find(name)).ok_or_else(|| {
        Answer::message(StatusCode::NOT_FOUND, format!("No vault named '{name}'"))
    })?;
    let mut config = vault.record().describe();
    config.insert("type".into(), "record".into());
    config.insert("required".into(), true.into());
    Ok(spelled(json!({ "entity_checks": [], "fields": [{ "config": config }] })))
}

/// `GET /schemas/plugins/{name}`: the members of a plugin entity that depend on the plugin.
pub(crate) fn plugin(call: &Call<'_>, name: &str) -> Result<Answer, Answer> {
    let plugin = call
        .registry()
        .plugin(name)
        .ok_or_else(|| Answer::message(StatusCode::NOT_FOUND, no_plugin(name)))?;
    let scopes = [
        ("consumer", "consumers", plugin.scopes.consumer),
        ("service", "services", plugin.scopes.service),
        ("route", "routes", plugin.scopes.route),
    ];
    let forbidden = scopes.iter().filter(|(.., allowed)| !allowed).map(
        |(field, kind, _)| json!({ *field: { "type": "foreign", "reference": kind, "eq": null } }),
    );
    let mut fields: Vec<Value> = forbidden.collect();
    fields.push(protocols(plugin));
    let mut config = plugin.record.describe();
    config.insert("type".into(), "record".into());
    config.insert("required".into(), true.into());
    fields.push(json!({ "config": config }));
    Ok(spelled(json!({ "entity_checks": [], "fields": fields })))
}

fn protocols(plugin: &PluginSchema) -> Value {
    json!({ "protocols": {
        "type": "set",
        "required": true,
        "default": plugin.default_protocols,
        "elements": {
            "type": "string",
            "required": true,
            "len_min": 1,
            "one_of": plugin.protocols,
        },
    } })
}

/// `GET /plugins/schema/{name}`: the form of Kong 1, without the checks over several fields.
pub(crate) fn plugin_config(call: &Call<'_>, name: &str) -> Result<Answer, Answer> {
    let plugin = call
        .registry()
        .plugin(name)
        .ok_or_else(|| Answer::message(StatusCode::NOT_FOUND, no_plugin(name)))?;
    let mut shown = plugin.record.describe();
    shown.insert("entity_checks".into(), Value::Array(Vec::new()));
    Ok(spelled(Value::Object(shown)))
}

/// `POST /schemas/{kind}/validate`: every rule of one document, none between documents.
pub(crate) async fn validate(
    call: &Call<'_>,
    name: &str,
    payload: &Payload,
) -> Result<Answer, Answer> {
    let kind = find(call, name)?;
    let registry = call.registry();
    let mut document = payload.document(&Shape::new(registry, kind, None));
    let mut violations = registry.complete(kind, &mut document);
    violations.add_all(registry.check(kind, &document, Mode::Create));
    if !violations.is_empty() {
        return Err(error::invalid(violations));
    }
    Ok(Answer::message(StatusCode::OK, "schema validation successful"))
}

fn find(call: &Call<'_>, name: &str) -> Result<&'static EntityType, Answer> {
    let kind = call.registry().kind(name).filter(|kind| kind.in_api());
    kind.ok_or_else(|| Answer::message(StatusCode::NOT_FOUND, format!("No entity named '{name}'")))
}

fn no_plugin(name: &str) -> String {
    format!("No plugin named '{name}'")
}

/// A record with the list of checks even when it has none.
fn with_checks(mut described: Map<String, Value>) -> Map<String, Value> {
    described.entry("entity_checks").or_insert_with(|| Value::Array(Vec::new()));
    described
}

/// A schema with its patterns in Kong's notation, which is Lua's.
fn spelled(mut schema: Value) -> Answer {
    spell(&mut schema);
    Answer::ok(schema)
}

/// Respells the attributes that hold patterns. A field that has the name of one holds a record.
fn spell(schema: &mut Value) {
    let respell = |value: &mut Value| {
        if let Value::String(pattern) = value {
            *pattern = lua(pattern);
        }
    };
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), &mut *value) {
                    ("match" | "pattern", Value::String(_)) => respell(value),
                    ("patterns", Value::Array(list)) => list.iter_mut().for_each(respell),
                    _ => spell(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(spell),
        _ => {}
    }
}

/// A pattern as Kong's schema spells it, in Lua's notation. What both languages write alike stays.
fn lua(pattern: &str) -> String {
    let classes = pattern.replace("A-Za-z", "%a");
    let mut spelled = String::with_capacity(classes.len());
    let classes = classes.replace("0-9", "%d");
    let mut letters = classes.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => spelled.extend(std::iter::once('%').chain(letters.next())),
            other => spelled.push(other),
        }
    }
    spelled
}
