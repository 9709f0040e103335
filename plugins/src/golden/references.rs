//! `{vault://…}` in every field of a plugin's configuration that Kong lets be a reference: taken, shown
//! as it is, and in force as what it stands for.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use gateway_model::Item;
use gateway_model::entities::PluginInstance;
use gateway_model::reference::Environment;
use serde_json::{Value, json};

use super::spec_json;
use crate::test_kit::rig_knowing;

/// A configuration of a plugin that is complete without its referenceable fields.
fn least(plugin: &str) -> Value {
    let model = json!({"provider": "openai", "name": "m"});
    let llm =
        json!({"route_type": "llm/v1/chat", "model": model, "auth": {"param_location": "query"}});
    match plugin {
        "acme" => json!({"domains": []}),
        "rate-limiting" => json!({"minute": 1}),
        "response-ratelimiting" => json!({"limits": {"a": {"minute": 1}}}),
        "ai-proxy" => llm,
        "ai-request-transformer" | "ai-response-transformer" => json!({"prompt": "p", "llm": llm}),
        "aws-lambda" => json!({"function_name": "f", "aws_region": "eu-west-1"}),
        "azure-functions" => json!({"appname": "a", "functionname": "f"}),
        _ => json!({}),
    }
}

/// What a field may be; most take any text.
fn value(path: &str) -> String {
    match path.rsplit('/').next().unwrap() {
        "account_email" => "ops@example.test".into(),
        "http_endpoint" | "traces_endpoint" | "logs_endpoint" => {
            format!("http://127.0.0.1:1/{}", path.len())
        }
        _ => format!("value-of-{}", path.trim_matches('/').replace(['/', '_'], "-")),
    }
}

/// The places of referenceable fields, as JSON pointers; a map has one member.
fn places(field: &Value, at: &str, found: &mut Vec<String>) {
    if field["referenceable"] == true {
        found.push(at.to_owned());
    }
    for inner in field["fields"].as_array().into_iter().flatten() {
        places(inner, &format!("{at}/{}", inner["name"].as_str().unwrap()), found);
    }
    if field["values"].is_object() {
        places(&field["values"], &format!("{at}/x-member"), found);
    }
}

fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut inner = config;
    for name in pointer.trim_start_matches('/').split('/') {
        if !inner[name].is_object() && !inner[name].is_null() {
            inner[name] = Value::Null;
        }
        inner = &mut inner[name];
    }
    *inner = value;
}

#[test]
fn every_field_that_may_be_a_reference() {
    let mut seen = 0;
    let plugins = spec_json("plugins.json")["plugins"].clone();
    for (plugin, spec) in plugins.as_object().unwrap() {
        let mut found = Vec::new();
        places(&spec["config"], "", &mut found);
        if found.is_empty() {
            continue;
        }
        let mut config = least(plugin);
        let mut variables = HashMap::new();
        for (number, place) in found.iter().enumerate() {
            // Through the vault that needs no entity, and through one that is an entity.
            let (vault, name) = [("env", "PLAIN"), ("mine", "OWN_PLAIN")][number % 2];
            put(&mut config, place, format!("{{vault://{vault}/plain-{number}}}").into());
            variables.insert(format!("{name}_{number}"), value(place));
        }
        let mut rig = rig_knowing(Environment::new(variables, ""));
        let vault = json!({"prefix": "mine", "name": "env", "config": {"prefix": "own_"}});
        rig.insert("vaults", vault);
        let made = rig.try_plugin(plugin, config.clone());
        let made = made.unwrap_or_else(|why| panic!("{plugin}: {why}"));
        let stored = rig.catalog.collection("plugins").unwrap().get(made.id).unwrap().clone();
        let entity: Item<PluginInstance> = Item::new(&stored).unwrap();
        let shown = Value::Object(rig.catalog.shown(&stored, 0));
        for place in &found {
            let at = format!("/config{place}");
            assert_eq!(shown.pointer(&at), config.pointer(place), "{plugin}{place} is shown");
            let used = Value::Object(entity.config.clone());
            let wanted = Value::from(value(place));
            assert_eq!(used.pointer(place), Some(&wanted), "{plugin}{place} is in force");
            assert!(!shown.to_string().contains(&value(place)), "{plugin}{place} is shown plainly");
            seen += 1;
        }
    }
    assert_eq!(seen, 46, "fields of the contract");
}
