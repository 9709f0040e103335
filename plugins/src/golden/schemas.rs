//! Our schemas against Kong's: fields, types, defaults, rules, scopes, protocols.

#![allow(clippy::unwrap_used, reason = "tests")]

use gateway_model::schema::{Check, Expand, Field, Kind, Record, Rule};
use serde_json::{Map, Value, json};

use super::spec_json;

/// Where we differ, and why. Everything else must be the same.
const DIFFERENCES: &[(&str, &str)] = &[
    ("rate-limiting.config.limit_by.one_of", "`subject` is ours: all apps are one consumer"),
    (
        "acme.config.storage_config.redis.scan_count.type",
        "the old name takes what the new one does",
    ),
    ("session.config.secret.auto", "Kong's default is made at its start, ours with the instance"),
    ("session.config.secret.default", "the recorded one is that of one start"),
    ("ai-proxy.config.model.options.upstream_path.deprecated", "as http-log's"),
    ("ai-request-transformer.config.llm.model.options.upstream_path.deprecated", "as http-log's"),
    ("ai-response-transformer.config.llm.model.options.upstream_path.deprecated", "as http-log's"),
    ("http-log.config.retry_count.deprecated", "the field language has no mark for it"),
    ("http-log.config.queue_size.deprecated", "the field language has no mark for it"),
    ("http-log.config.flush_timeout.deprecated", "the field language has no mark for it"),
    ("statsd.config.retry_count.deprecated", "the field language has no mark for it"),
    ("statsd.config.queue_size.deprecated", "the field language has no mark for it"),
    ("statsd.config.flush_timeout.deprecated", "the field language has no mark for it"),
    ("datadog.config.retry_count.deprecated", "the field language has no mark for it"),
    ("datadog.config.queue_size.deprecated", "the field language has no mark for it"),
    ("datadog.config.flush_timeout.deprecated", "the field language has no mark for it"),
    ("tcp-log.config.custom_fields_by_lua.values.custom_validator", "refused when built"),
    ("loggly.config.custom_fields_by_lua.values.custom_validator", "refused when built"),
    ("syslog.config.custom_fields_by_lua.values.custom_validator", "refused when built"),
    ("proxy-cache.config.entity_checks", "asks for a piece of nginx's shared memory"),
    (
        "response-ratelimiting.config.limits.values.custom_validator",
        "Kong's file names it for the element and for its record",
    ),
    ("zipkin.config.header_type.deprecated", "the field language has no mark for it"),
    ("zipkin.config.default_header_type.deprecated", "the field language has no mark for it"),
    ("opentelemetry.config.header_type.deprecated", "the field language has no mark for it"),
    ("opentelemetry.config.batch_span_count.deprecated", "the field language has no mark for it"),
    ("opentelemetry.config.batch_flush_delay.deprecated", "the field language has no mark for it"),
    ("prometheus.config.custom_validator", "asks for a piece of nginx's shared memory"),
    ("http-log.config.custom_fields_by_lua.values.custom_validator", "refused when built"),
    ("file-log.config.custom_fields_by_lua.values.custom_validator", "refused when built"),
    ("udp-log.config.custom_fields_by_lua.values.custom_validator", "refused when built"),
    ("pre-function.config.certificate.elements.custom_validator", "refused when built"),
    ("pre-function.config.rewrite.elements.custom_validator", "refused when built"),
    ("pre-function.config.access.elements.custom_validator", "refused when built"),
    ("pre-function.config.header_filter.elements.custom_validator", "refused when built"),
    ("pre-function.config.body_filter.elements.custom_validator", "refused when built"),
    ("pre-function.config.log.elements.custom_validator", "refused when built"),
    ("post-function.config.certificate.elements.custom_validator", "refused when built"),
    ("post-function.config.rewrite.elements.custom_validator", "refused when built"),
    ("post-function.config.access.elements.custom_validator", "refused when built"),
    ("post-function.config.header_filter.elements.custom_validator", "refused when built"),
    ("post-function.config.body_filter.elements.custom_validator", "refused when built"),
    ("post-function.config.log.elements.custom_validator", "refused when built"),
];

/// Attributes Kong's files tell and ours are compared in.
const ATTRIBUTES: &[&str] = &[
    "type",
    "required",
    "default",
    "one_of",
    "between",
    "gt",
    "len_min",
    "match",
    "match_none",
    "starts_with",
    "unique",
    "auto",
    "timestamp",
    "uuid",
    "reference",
    "on_delete",
    "referenceable",
    "encrypted",
];

#[test]
fn plugins_are_kongs() {
    let spec = spec_json("plugins.json");
    let mut found = Vec::new();
    for plugin in crate::ALL {
        let Some(kongs) = spec["plugins"].get(plugin.name) else {
            let ours = ["app-revocation", "appid-header", "problem-details"];
            assert!(ours.contains(&plugin.name), "{} is not Kong's", plugin.name);
            continue;
        };
        let ours = plugin.schema();
        let name = plugin.name;
        let mut differ = |what: &str, ours: Value, kongs: &Value| {
            if ours != *kongs {
                found.push(format!("{name}.{what}: {ours} instead of {kongs}"));
            }
        };
        differ("priority", plugin.priority.into(), &kongs["priority"]);
        differ("version", ours.version.into(), &kongs["version"]);
        differ(
            "protocols",
            sorted(json!(ours.protocols)),
            &sorted(kongs["protocols"]["allowed"].clone()),
        );
        differ(
            "protocols",
            sorted(json!(ours.default_protocols)),
            &sorted(kongs["protocols"]["default"].clone()),
        );
        for (scope, allowed) in [
            ("service", ours.scopes.service),
            ("route", ours.scopes.route),
            ("consumer", ours.scopes.consumer),
            ("global", ours.scopes.global),
        ] {
            differ(scope, allowed.into(), &kongs["scopes"][scope]);
        }
        let at = format!("{name}.config");
        compare_record(&at, &ours.record, &kongs["config"], &mut found);
        compare_checks(&at, &ours.record, &all_checks(kongs), "config.", &mut found);
        let empty = Map::new();
        for (old, new) in kongs["legacy_aliases"].as_object().unwrap_or(&empty) {
            let (Some(old), Some(new)) = (
                old.strip_prefix("config.").filter(|old| !old.contains(' ')),
                new.as_str().and_then(|new| new.strip_prefix("config.")),
            ) else {
                continue;
            };
            let known = ours.record.shorthands.iter().any(|short| {
                let alias = matches!(short.expand, Expand::Alias(path) if path == new);
                short.name == old && (alias || matches!(short.expand, Expand::Computed(_)))
            });
            if !known {
                found.push(format!("{at}.{old}: no alias of {new}"));
            }
        }
    }
    let (news, stale) = against_known(&found);
    assert!(news.is_empty(), "{}", news.join("\n"));
    assert!(stale.is_empty(), "no difference any more: {}", stale.join("\n"));
}

#[test]
fn credentials_are_kongs() {
    let spec = spec_json("entities.json");
    let mut found = Vec::new();
    for kind in crate::entity_types() {
        let kongs = &spec["entities"][kind.kind];
        // Kinds of our own say so in their name.
        if kind.kind.starts_with("mep_") {
            assert!(kongs.is_null(), "{}", kind.kind);
            continue;
        }
        assert!(kongs.is_object(), "{}", kind.kind);
        // Kong keeps seconds to live beside the fields.
        let ttl = (kongs["ttl"] == true).then_some("ttl");
        assert_eq!(kind.expiry(), ttl, "{}", kind.kind);
        let mut record = kind.record().clone();
        record.fields.retain(|field| !field.expires);
        compare_record(kind.kind, &record, kongs, &mut found);
        compare_checks(kind.kind, kind.record(), &kongs["entity_checks"], "", &mut found);
        assert_eq!(kongs["endpoint_key"], json!(kind.endpoint_key), "{}", kind.kind);
        let admin = &kongs["admin_api"];
        if admin["generated"] == false {
            assert_eq!((kind.collection, kind.nested), (None, None), "{}", kind.kind);
            continue;
        }
        assert_eq!(admin["collection"], format!("/{}", kind.collection.unwrap()));
        assert_eq!(admin["nested_name"], kind.nested.unwrap());
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The comparison itself must be able to find something.
#[test]
fn the_comparison_sees_differences() {
    let mut kongs = spec_json("plugins.json")["plugins"]["jwt"]["config"].clone();
    let ours = crate::ALL.iter().find(|plugin| plugin.name == "jwt").unwrap().schema().record;
    let mut found = Vec::new();
    compare_record("jwt", &ours, &kongs, &mut found);
    assert_eq!(found, Vec::<String>::new());
    kongs["fields"][0]["default"] = json!(["token"]);
    kongs["fields"][4]["elements"]["one_of"] = json!(["exp"]);
    kongs["fields"][9]["required"] = json!(true);
    kongs["fields"].as_array_mut().unwrap().remove(1);
    kongs["fields"].as_array_mut().unwrap().push(json!({"name": "more", "type": "string"}));
    compare_record("jwt", &ours, &kongs, &mut found);
    let places: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "jwt.uri_param_names.default",
            "jwt.claims_to_verify.elements.one_of",
            "jwt.realm.required",
            "jwt.more",
            "jwt.cookie_names"
        ]
    );
}

/// Differences nobody knows of, and known ones that are none.
fn against_known(found: &[String]) -> (Vec<&str>, Vec<&'static str>) {
    let is = |line: &str, at: &str| line.starts_with(&format!("{at}: "));
    let known = |line: &&str| DIFFERENCES.iter().any(|(at, _)| is(line, at));
    let news = found.iter().map(String::as_str).filter(|line| !known(line)).collect();
    let gone = |at: &&str| !found.iter().any(|line| is(line, at));
    (news, DIFFERENCES.iter().map(|(at, _)| *at).filter(gone).collect())
}

fn compare_record(at: &str, ours: &Record, kongs: &Value, found: &mut Vec<String>) {
    let empty = Vec::new();
    let fields = kongs["fields"].as_array().unwrap_or(&empty);
    for kongs in fields {
        let name = kongs["name"].as_str().unwrap();
        match ours.fields.iter().find(|field| field.name == name) {
            Some(field) => compare_field(&format!("{at}.{name}"), field, kongs, found),
            None => found.push(format!("{at}.{name}: missing")),
        }
    }
    for field in &ours.fields {
        if !fields.iter().any(|kongs| kongs["name"] == field.name) {
            found.push(format!("{at}.{}: not Kong's", field.name));
        }
    }
    let shorthands = kongs["shorthand_fields"].as_array().unwrap_or(&empty);
    for kongs in shorthands {
        let name = kongs["name"].as_str().unwrap();
        let at = format!("{at}.{name}");
        match ours.shorthands.iter().find(|short| short.name == name) {
            Some(short) => {
                let path = kongs["deprecated"]["replaced_with"][0].as_str();
                let moved = matches!(short.expand, Expand::Moved(to) if path == Some(to));
                // Without a successor that is shown it is accepted and no more.
                if moved != path.is_some() {
                    found.push(format!("{at}: not moved to {path:?}"));
                }
                if short.field.kind.name() != kongs["type"] {
                    found.push(format!("{at}.type: {}", short.field.kind.name()));
                }
            }
            None => found.push(format!("{at}: missing")),
        }
    }
    if kongs.get("custom_validator").is_some() != ours.custom.is_some() {
        found.push(format!("{at}.custom_validator: {}", ours.custom.is_some()));
    }
}

fn compare_field(at: &str, ours: &Field, kongs: &Value, found: &mut Vec<String>) {
    let described = ours.describe();
    // Elements of lists and maps are never null here, which Kong's files leave untold.
    let is_element = ours.name.is_empty();
    for attribute in ATTRIBUTES.iter().filter(|name| !(is_element && **name == "required")) {
        // The file has patterns in the notation they are written in here; shown they are in Lua's.
        let pattern = ours.rules.iter().find_map(|rule| match rule {
            Rule::Match(pattern) if *attribute == "match" => Some(Value::from(pattern.as_str())),
            _ => None,
        });
        let ours = settled(attribute, pattern.as_ref().or(described.get(*attribute)));
        let theirs = settled(attribute, kongs.get(*attribute));
        if ours != theirs {
            found.push(format!("{at}.{attribute}: {ours} instead of {theirs}"));
        }
    }
    if kongs.get("deprecated").is_some() {
        found.push(format!("{at}.deprecated: not told"));
    }
    let custom = ours.rules.iter().find_map(|rule| match rule {
        Rule::Custom { name, .. } => Some(*name),
        _ => None,
    });
    let is_regex = kongs.get("is_regex").map(|_| "is_regex");
    let theirs = kongs.get("custom_validator").and_then(Value::as_str).or(is_regex);
    if custom != theirs {
        found.push(format!("{at}.custom_validator: {custom:?} instead of {theirs:?}"));
    }
    match &ours.kind {
        Kind::Array(element) | Kind::Set(element) => {
            compare_field(&format!("{at}.elements"), element, &kongs["elements"], found);
        }
        Kind::Map { keys, values } => {
            compare_field(&format!("{at}.keys"), keys, &kongs["keys"], found);
            compare_field(&format!("{at}.values"), values, &kongs["values"], found);
        }
        Kind::Record(record) => compare_record(at, record, kongs, found),
        _ => {}
    }
}

/// An attribute in a form that can be compared: absent is false or null, `5.0` is `5`.
fn settled(attribute: &str, value: Option<&Value>) -> Value {
    match (attribute, value) {
        ("required", None | Some(Value::Bool(false))) => Value::Null,
        (_, Some(Value::Number(number))) => json!(number.as_f64()),
        (_, value) => value.cloned().unwrap_or_default(),
    }
}

/// Rules over several fields of a configuration: those of the plugin and those of the record, names
/// of which are told from the record.
fn all_checks(plugin: &Value) -> Value {
    let mut all = plugin["entity_checks"].as_array().cloned().unwrap_or_default();
    for check in plugin["config"]["entity_checks"].as_array().into_iter().flatten() {
        let mut check = check.clone();
        outward(&mut check);
        all.push(check);
    }
    Value::Array(all)
}

/// Puts `config.` before the names of fields.
fn outward(check: &mut Value) {
    const NAMES: [&str; 3] = ["if_field", "then_field", "then_at_least_one_of"];
    let Some(members) = check.as_object_mut() else { return };
    for (name, value) in members.iter_mut() {
        match value {
            Value::String(field) if NAMES.contains(&name.as_str()) => {
                field.insert_str(0, "config.")
            }
            Value::Array(fields) => {
                for field in
                    fields.iter_mut().filter(|_| name != "one_of" && name != "field_sources")
                {
                    if let Value::String(field) = field {
                        field.insert_str(0, "config.");
                    }
                }
            }
            inner => outward(inner),
        }
    }
}

/// Rules over several fields, as Kong's files put them.
fn compare_checks(at: &str, ours: &Record, kongs: &Value, prefix: &str, found: &mut Vec<String>) {
    let named = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{prefix}{name}")).collect()
    };
    let rule = |rule: &Rule| match rule {
        Rule::Required => json!({"required": true}),
        Rule::Eq(value) => json!({ "eq": value }),
        Rule::Gt(low) => json!({ "gt": low }),
        Rule::Contains(value) => json!({ "contains": value }),
        Rule::OneOf(values) => json!({ "one_of": values }),
        Rule::NotOneOf(values) => json!({ "not_one_of": values }),
        Rule::Custom { name, .. } => json!({"custom_validator": name, "required": true}),
        Rule::MatchAny(patterns, _) => {
            let patterns: Vec<&str> = patterns.iter().map(|one| one.as_str()).collect();
            json!({"match_any": {"patterns": patterns}})
        }
        other => json!(format!("{other:?}")),
    };
    let mut ours: Vec<Value> = ours
        .checks
        .iter()
        .map(|check| match check {
            Check::AtLeastOneOf(names) => json!({"at_least_one_of": named(names)}),
            Check::OnlyOneOf(names) => json!({"only_one_of": named(names)}),
            Check::MutuallyRequired(names) => json!({"mutually_required": named(names)}),
            Check::Conditional { if_field, if_match, then_field, then_match, error } => {
                let mut check = json!({
                    "if_field": format!("{prefix}{if_field}"), "if_match": rule(if_match),
                    "then_field": format!("{prefix}{then_field}"), "then_match": rule(then_match),
                });
                if let Some(error) = error {
                    check["then_err"] = json!(error);
                }
                json!({ "conditional": check })
            }
            Check::ConditionalAtLeastOneOf { if_field, if_match, then_fields, error } => json!({
                "conditional_at_least_one_of": {
                    "if_field": format!("{prefix}{if_field}"), "if_match": rule(if_match),
                    "then_at_least_one_of": named(then_fields),
                    "then_err": format!("{}%s for {}", error.0, error.1),
                }
            }),
            Check::Custom(_) => json!("in code"),
            other => json!(format!("{other:?}")),
        })
        .collect();
    let mut kongs: Vec<Value> = kongs.as_array().cloned().unwrap_or_default();
    for check in kongs.iter_mut().filter(|check| check.get("custom_entity_check").is_some()) {
        *check = json!("in code");
    }
    kongs.iter_mut().for_each(float);
    ours.iter_mut().for_each(float);
    for missing in kongs.iter().filter(|check| !ours.contains(check)) {
        found.push(format!("{at}.entity_checks: missing {missing}"));
    }
    for more in ours.iter().filter(|check| !kongs.contains(check)) {
        found.push(format!("{at}.entity_checks: not Kong's {more}"));
    }
}

fn float(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(list) => list.iter_mut().for_each(float),
        Value::Object(map) => map.values_mut().for_each(float),
        _ => {}
    }
}

fn sorted(mut value: Value) -> Value {
    if let Some(list) = value.as_array_mut() {
        list.sort_by_key(ToString::to_string);
    }
    value
}
