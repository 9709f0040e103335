//! [`Document`]: an OpenAPI document as a client reads it, and answers held to it.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Map, Value};

use crate::harness::{Answer, Answered as _, Gateway, plain};

/// An OpenAPI document.
pub(super) struct Document {
    pub(super) value: Value,
    /// Its types, without members they do not name.
    components: Value,
}

/// One operation of it.
pub(super) struct Operation<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) told: &'a Value,
}

impl Document {
    pub(super) async fn read(gateway: &Gateway, path: &str) -> Self {
        let answer = plain().get(gateway.url("status", path)).answer().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        let value = answer.json();
        assert_eq!(value["openapi"], "3.1.0");
        let mut components = value["components"].clone();
        close(&mut components["schemas"]);
        Self { value, components }
    }

    pub(super) fn paths(&self) -> &Map<String, Value> {
        self.value["paths"].as_object().unwrap()
    }

    /// Where a path is served: the servers of its own, with their variables as they are proposed.
    pub(super) fn servers(&self, path: &str) -> Vec<String> {
        let servers = self.paths()[path]["servers"].as_array().unwrap();
        let url = |server: &Value| {
            let host = server["variables"]["host"]["default"].as_str().unwrap();
            server["url"].as_str().unwrap().replace("{host}", host)
        };
        servers.iter().map(url).collect()
    }

    pub(super) fn methods(&self, path: &str) -> BTreeSet<String> {
        let item = self.paths()[path].as_object().unwrap();
        let known = item.keys().filter(|key| !["parameters", "servers"].contains(&key.as_str()));
        known.map(|method| method.to_ascii_uppercase()).collect()
    }

    pub(super) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.paths().iter().flat_map(|(path, item)| {
            self.methods(path).into_iter().map(move |method| Operation {
                told: &item[method.to_ascii_lowercase()],
                method: method.parse().unwrap(),
                path,
            })
        })
    }

    pub(super) fn operation(&self, method: &Method, path: &str) -> Operation<'_> {
        let mut all = self.operations();
        let found = all.find(|one| one.method == *method && one.path == path);
        found.unwrap_or_else(|| panic!("{method} {path} is not told of"))
    }

    /// Whether a value is one of a schema; what is wrong with it otherwise.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut root = schema.clone();
        close(&mut root);
        root["components"] = self.components.clone();
        let validator = jsonschema::validator_for(&root).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Panics unless an answer is one the document tells of.
    #[track_caller]
    pub(super) fn holds(&self, operation: &Operation<'_>, answer: &Answer) {
        let Operation { method, path, told } = operation;
        let status = answer.status.to_string();
        let known = &told["responses"][&status];
        assert!(known.is_object(), "{method} {path}: {status} is not told of: {answer:?}");
        for header in known["headers"].as_object().into_iter().flat_map(Map::keys) {
            assert!(answer.header(header).is_some(), "{method} {path} {status}: no {header}");
        }
        let Some(contents) = known["content"].as_object() else {
            assert!(
                !(200..300).contains(&answer.status) || answer.body.is_empty(),
                "{method} {path} {status}: a body nobody told of: {answer:?}"
            );
            return;
        };
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let content = contents.get(kind);
        let content = content.unwrap_or_else(|| panic!("{method} {path} {status}: {kind:?}"));
        if kind.ends_with("json") {
            let wrong = self.fits(&content["schema"], &answer.json()).err().unwrap_or_default();
            assert_eq!(wrong, "", "{method} {path} {status}: {}", answer.text());
        }
    }

    /// The example of a body, which has to be one.
    #[track_caller]
    pub(super) fn example(&self, operation: &Operation<'_>) -> Option<Value> {
        let contents = operation.told["requestBody"]["content"].as_object()?;
        for content in contents.values() {
            let wrong = self.fits(&content["schema"], &content["example"]).err();
            let wrong: Vec<String> =
                wrong.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
            // What is read-only is required of answers alone.
            let wrong: Vec<_> = wrong.iter().filter(|one| !self.is_read_only(one)).collect();
            assert!(wrong.is_empty(), "{} {}: {wrong:?}", operation.method, operation.path);
        }
        contents.values().next().map(|content| content["example"].clone())
    }

    fn is_read_only(&self, wrong: &str) -> bool {
        let schemas = self.components["schemas"].as_object().unwrap().values();
        let members = schemas.filter_map(|schema| schema["properties"].as_object()).flatten();
        let mut read_only = members.filter(|(_, schema)| schema["readOnly"] == true);
        read_only.any(|(name, _)| wrong.ends_with(&format!("\"{name}\" is a required property")))
    }

    /// The schema a reference in a body leads to.
    pub(super) fn body_type(&self, operation: &Operation<'_>) -> Option<&Value> {
        let content = &operation.told["requestBody"]["content"]["application/json"];
        self.value.pointer(content["schema"]["$ref"].as_str()?.trim_start_matches('#'))
    }
}

/// Has types refuse what they do not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && members.get("type") == Some(&"object".into()) {
                members.entry("additionalProperties").or_insert(false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}
