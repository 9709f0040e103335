//! The gateway's own kinds against the field facts of Kong 3.10: types, defaults, rules,
//! references, unique keys and checks over several fields.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::path::PathBuf;

use gateway_model::schema::{OnDelete, Rule};
use gateway_model::{EntityType, entities};
use serde_json::{Map, Value, json};

/// What tools read of a field, besides what it holds.
const FACTS: [&str; 21] = [
    "type",
    "required",
    "default",
    "auto",
    "timestamp",
    "uuid",
    "unique",
    "one_of",
    "not_one_of",
    "between",
    "gt",
    "eq",
    "len_min",
    "len_max",
    "match",
    "match_any",
    "match_all",
    "match_none",
    "starts_with",
    "referenceable",
    "encrypted",
];

/// Facts of Kong that this gateway keeps elsewhere: (kind, where, why).
const ELSEWHERE: [(&str, &str, &str); 3] = [
    ("snis", "certificate.on_delete", "Kong's code deletes the SNIs, its schema does not say so"),
    ("routes", "protocols.elements.one_of", "an unknown protocol is an unknown sub-schema"),
    ("routes", "entity_checks", "one check in code words what Kong words by sub-schemas"),
];

fn facts() -> Value {
    let spec = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/kong");
    let text = std::fs::read_to_string(spec.join("entities.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["entities"].take()
}

#[test]
fn every_kind_is_kongs() {
    let facts = facts();
    let mut report = Vec::new();
    for kind in entities::ALL {
        let wanted = &facts[kind.kind];
        assert!(wanted.is_object(), "{} is no kind of Kong", kind.kind);
        let mut differences = Vec::new();
        fields(&kind.describe()["fields"], &wanted["fields"], "", &mut differences);
        keys(kind, wanted, &mut differences);
        checks(kind, wanted, &mut differences);
        for (_, at, _) in ELSEWHERE.iter().filter(|(name, ..)| *name == kind.kind) {
            let before = differences.len();
            differences.retain(|line| !line.starts_with(at));
            assert!(differences.len() < before, "{} {at} no longer differs", kind.kind);
        }
        report.extend(differences.iter().map(|line| format!("{}: {line}", kind.kind)));
    }
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

/// Fields by name: `[{name: {…}}]` of ours, `[{"name": name, …}]` of the facts.
fn fields(ours: &Value, facts: &Value, at: &str, lines: &mut Vec<String>) {
    let ours: Map<String, Value> = ours
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|field| field.as_object().unwrap().clone())
        .collect();
    let facts = facts.as_array().unwrap();
    for wanted in facts {
        let name = wanted["name"].as_str().unwrap();
        match ours.get(name) {
            Some(found) => field(found, wanted, &format!("{at}{name}"), lines),
            None => lines.push(format!("{at}{name} is missing")),
        }
    }
    for name in ours.keys().filter(|name| !facts.iter().any(|fact| fact["name"] == **name)) {
        lines.push(format!("{at}{name} is not Kong's"));
    }
}

fn field(found: &Value, wanted: &Value, at: &str, lines: &mut Vec<String>) {
    let fact = |value: &Value, name: &str| match value.get(name) {
        None | Some(Value::Null | Value::Bool(false)) if name != "default" => Value::Null,
        other => other.cloned().unwrap_or_default(),
    };
    for name in FACTS {
        let (found, wanted) = (fact(found, name), fact(wanted, name));
        if !same(&found, &wanted) {
            lines.push(format!("{at}.{name} is {found} instead of {wanted}"));
        }
    }
    for part in ["reference", "mutually_exclusive_subsets"] {
        if fact(found, part) != fact(wanted, part) {
            lines.push(format!("{at}.{part} is {} instead of {}", found[part], wanted[part]));
        }
    }
    let cascade = |value: &Value| value["on_delete"].as_str() == Some("cascade");
    if cascade(found) != cascade(wanted) {
        lines.push(format!(
            "{at}.on_delete is {} instead of {}",
            found["on_delete"], wanted["on_delete"]
        ));
    }
    for part in ["elements", "keys", "values"] {
        match (found.get(part), wanted.get(part)) {
            (Some(found), Some(wanted)) => field(found, wanted, &format!("{at}.{part}"), lines),
            (None, None) => {}
            (found, _) => lines.push(format!("{at}.{part}: only one has it: {found:?}")),
        }
    }
    if wanted.get("fields").is_some_and(Value::is_array) {
        fields(&found["fields"], &wanted["fields"], &format!("{at}."), lines);
    }
}

/// Numbers as numbers, lists of choices in any order.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().all(|one| b.iter().any(|other| same(one, other)))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, one)| b.get(name).is_some_and(|other| same(one, other)))
        }
        _ => a == b,
    }
}

fn keys(kind: &EntityType, wanted: &Value, lines: &mut Vec<String>) {
    let key = json!(kind.endpoint_key);
    if key != wanted["endpoint_key"] {
        lines.push(format!("endpoint_key is {key} instead of {}", wanted["endpoint_key"]));
    }
    let unique: Vec<&str> =
        kind.record().fields.iter().filter(|field| field.unique).map(|field| field.name).collect();
    if !same(&json!(unique), &wanted["unique_fields"]) {
        lines.push(format!("unique_fields are {unique:?} instead of {}", wanted["unique_fields"]));
    }
    let together = wanted.get("unique_together").cloned().unwrap_or_else(|| json!([]));
    if !same(&json!(kind.unique_together), &together) {
        lines.push(format!("unique_together is {:?} instead of {together}", kind.unique_together));
    }
    let references: Vec<(&str, &str)> =
        kind.references().map(|(field, target, _)| (field.name, target)).collect();
    for fact in wanted["foreign_keys"].as_array().into_iter().flatten() {
        let pair = (fact["field"].as_str().unwrap(), fact["reference"].as_str().unwrap());
        if !references.contains(&pair) {
            lines.push(format!("the reference {pair:?} is missing"));
        }
    }
    assert!(!kind.references().any(|(.., on_delete)| on_delete == OnDelete::SetNull));
}

/// Checks Kong words in its schema language; those in code are compared by what they refuse.
fn checks(kind: &EntityType, wanted: &Value, lines: &mut Vec<String>) {
    let described = kind.describe();
    let ours =
        described.get("entity_checks").and_then(Value::as_array).cloned().unwrap_or_default();
    let empty = Vec::new();
    let facts = wanted["entity_checks"].as_array().unwrap_or(&empty);
    let in_code = |check: &&Value| check.get("custom_entity_check").is_none();
    for fact in facts.iter().filter(in_code) {
        if !ours.iter().any(|check| same(check, fact)) {
            lines.push(format!("entity_checks lack {fact}"));
        }
    }
    for check in ours.iter().filter(|check| !facts.iter().any(|fact| same(check, fact))) {
        lines.push(format!("entity_checks have {check} of their own"));
    }
}

/// Validators in code have Kong's names.
#[test]
fn validators_are_named_as_kongs() {
    let facts = facts();
    for kind in entities::ALL {
        let wanted = facts[kind.kind]["fields"].as_array().unwrap();
        for field in &kind.record().fields {
            let fact = wanted.iter().find(|fact| fact["name"] == field.name).unwrap();
            let ours = field.rules.iter().find_map(|rule| match rule {
                Rule::Custom { name, .. } => Some(*name),
                _ => None,
            });
            // A route's protocols choose a sub-schema in Kong.
            if ours == Some("protocols") {
                continue;
            }
            let wanted = fact.get("custom_validator").and_then(Value::as_str);
            assert_eq!(ours, wanted, "{}.{}", kind.kind, field.name);
        }
    }
}
