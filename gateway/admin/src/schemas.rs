//! `/schemas`: kinds and plugins as Kong describes them, and checks without a write.

use gateway_model::schema::{Mode, Record};
use gateway_model::{EntityType, PluginSchema};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::body::Payload;
use crate::dispatch::Call;
use crate::error;
use crate::form::Shape;

/// `GET /schemas/{kind}`
pub(crate) fn kind(call: &Call<'_>, name: &str) -> Result<Answer, Answer> {
    let kind = find(call, name)?;
    Ok(Answer::ok(Value::Object(described(kind.record()))))
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
    Ok(Answer::ok(json!({ "entity_checks": [], "fields": fields })))
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

/// `GET /plugins/schema/{name}`
pub(crate) fn plugin_config(call: &Call<'_>, name: &str) -> Result<Answer, Answer> {
    let plugin = call
        .registry()
        .plugin(name)
        .ok_or_else(|| Answer::message(StatusCode::NOT_FOUND, no_plugin(name)))?;
    Ok(Answer::ok(Value::Object(described(&plugin.record))))
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
    let kind = call.registry().kind(name).filter(|kind| kind.collection.is_some());
    kind.ok_or_else(|| Answer::message(StatusCode::NOT_FOUND, format!("No entity named '{name}'")))
}

fn no_plugin(name: &str) -> String {
    format!("No plugin named '{name}'")
}

/// A record with the list of checks even when it has none.
fn described(record: &Record) -> Map<String, Value> {
    let mut described = record.describe();
    described.entry("entity_checks").or_insert_with(|| Value::Array(Vec::new()));
    described
}
