//! Declarative files: what they become, and what is said about bad ones.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::sync::Arc;

use gateway_control::declarative::changes;
use gateway_model::entities::{self, PluginInstance, Route, Service, Sni};
use gateway_model::schema::{Field, Record};
use gateway_model::{Catalog, Change, PluginSchema, Registry, Scopes};

fn registry() -> Arc<Registry> {
    let mut registry = Registry::new(entities::ALL);
    registry.add_plugin(PluginSchema {
        name: "limit",
        version: "1",
        priority: 1,
        record: Record::default().field(Field::of::<u32>("minute").gt(0.0)),
        scopes: Scopes::ALL,
        protocols: &["http", "https"],
        default_protocols: &["http", "https"],
    });
    Arc::new(registry)
}

fn load(text: &str) -> Catalog {
    let registry = registry();
    let changes: Vec<Change> = changes(text, &registry).unwrap_or_else(|why| panic!("{why}"));
    let mut edit = Arc::new(Catalog::empty(registry)).edit(1_700_000_000_000);
    edit.apply(&changes).unwrap_or_else(|why| panic!("{why}"));
    edit.finish().0
}

const FULL: &str = r#"
_format_version: "3.0"
_comment: what a file may hold
_info: {select_tags: [a]}
services:
- name: a
  url: http://up.test:8080/base
  _comment: nested
  routes:
  - name: ra
    paths: [/a]
    plugins:
    - name: limit
      config: {minute: 5}
  plugins:
  - &limit
    name: limit
    config: {minute: 7}
- name: b
  host: b.test
routes:
- name: rb
  paths: [/b]
  service: b
- name: rc
  paths: [/c]
  service: {name: a}
consumers:
- username: bob
  plugins: [*limit]
plugins:
- name: limit
  config: {minute: 9}
  route: rb
  service: {name: b}
certificates:
- id: 11111111-1111-4111-8111-111111111111
  cert: '{vault://env/cert}'
  key: '{vault://env/key}'
  snis: [a.test, {name: b.test, tags: [x]}]
"#;

#[test]
fn nested_entities_and_references_are_resolved() {
    let catalog = load(FULL);
    let service = |name: &str| catalog.by::<Service>("name", name).unwrap();
    let route = |name: &str| catalog.by::<Route>("name", name).unwrap();
    assert_eq!(service("a").id().to_string(), "72734e2a-702d-5711-b9ef-697178108ad8");
    assert_eq!(service("a").path.as_deref(), Some("/base"));
    for (name, parent) in [("ra", "a"), ("rb", "b"), ("rc", "a")] {
        assert_eq!(route(name).service.unwrap().id, service(parent).id(), "{name}");
    }
    let mut plugins: Vec<(u64, bool, bool, bool)> = catalog
        .all::<PluginInstance>()
        .map(|plugin| {
            let minute = plugin.config["minute"].as_u64().unwrap();
            (minute, plugin.service.is_some(), plugin.route.is_some(), plugin.consumer.is_some())
        })
        .collect();
    plugins.sort_unstable();
    assert_eq!(
        plugins,
        [
            (5, false, true, false),
            (7, false, false, true),
            (7, true, false, false),
            (9, true, true, false)
        ]
    );
    let mut snis: Vec<String> = catalog.all::<Sni>().map(|sni| sni.name.clone()).collect();
    snis.sort();
    assert_eq!(snis, ["a.test", "b.test"]);
}

#[test]
fn the_same_file_gives_the_same_ids() {
    let ids = |catalog: &Catalog| {
        let of = |kind: &str| {
            catalog.collection(kind).unwrap().iter().map(|s| s.id()).collect::<Vec<_>>()
        };
        ["services", "routes", "plugins", "consumers", "snis"].map(of)
    };
    assert_eq!(ids(&load(FULL)), ids(&load(FULL)));
}

#[test]
fn json_is_read_too_and_an_empty_file_is_valid() {
    let catalog = load(
        r#"{"_format_version": "3.0", "services": [{"name": "j", "host": "h", "routes": null}]}"#,
    );
    assert_eq!(catalog.all::<Service>().count(), 1);
    assert_eq!(load("_format_version: '2.1'").all::<Service>().count(), 0);
    let odd = load("_format_version: '3.0'\nservices: [{name: y, host: off}]");
    assert_eq!(odd.by::<Service>("name", "y").unwrap().host, "off", "a word, not false");
}

#[test]
fn older_formats_mark_regular_expressions() {
    let text = |version: &str| {
        format!(
            "_format_version: '{version}'\nroutes:\n- name: r\n  paths: ['/old/\\d+', /a/../b, /c]\n"
        )
    };
    let catalog = load(&text("1.1"));
    let paths = catalog.by::<Route>("name", "r").unwrap().paths.clone().unwrap();
    assert_eq!(paths, ["~/old/\\d+", "/b", "/c"]);
    assert!(changes(&text("3.0"), &registry()).is_err(), "3.0 takes paths as they are");
}

#[test]
fn what_is_wrong_is_named_by_place() {
    let check = |text: &str, message: &str| {
        let why = changes(text, &registry()).unwrap_err();
        assert_eq!(why.to_string(), message, "for\n{text}");
    };
    check("{}", "in '_format_version': required field missing (line 1, column 1)");
    check("[1]", "expected a declarative configuration");
    check(
        "_format_version: '9.9'",
        "in '_format_version': expected one of: 1.1, 2.1, 3.0 (line 1, column 18)",
    );
    check("_format_version: 3.0", "in '_format_version': expected a string (line 1, column 18)");
    check(
        "_format_version: '3.0'\nservices:\n- name: bad\n  nope: 1\nfoo: []",
        "in 'foo': unknown field (line 5, column 6)\n\
         in 'services':\n  \
           - in entry 1 of 'services':\n    \
             in 'host': required field missing (line 3, column 3)\n    \
             in 'nope': unknown field (line 4, column 9)",
    );
    check(
        "_format_version: '3.0'\nservices:\n- {name: ok, host: h}\n- name: s\n  host: h\n  \
         routes:\n  - paths: [/ok, x]",
        "in 'services':\n  \
           - in entry 2 of 'services':\n    \
             in 'routes':\n      \
               - in entry 1 of 'routes':\n        \
                 in 'paths':\n          \
                   - in entry 2 of 'paths': should start with: / (fixed path) or ~/ (regex \
                   path) (line 7, column 18)",
    );
    check(
        "_format_version: '3.0'\nplugins:\n- name: nope",
        "in 'plugins':\n  - in entry 1 of 'plugins':\n    in 'name': plugin 'nope' not enabled; \
         add it to the 'plugins' configuration property (line 3, column 9)",
    );
    check(
        "_format_version: '3.0'\nroutes:\n- {name: r1, paths: [/x], service: nosuch}",
        "in 'routes':\n  in 'r1':\n    - in entry 1 of 'r1': invalid reference 'service: nosuch' \
         (no such entry in 'services') (line 3, column 3)",
    );
    check(
        "_format_version: '3.0'\nconsumers: [{username: a}, {username: a, id: 11111111-1111-4111-8111-111111111111}]",
        "in 'consumers':\n  - in entry 2 of 'consumers': uniqueness violation: 'consumers' entity \
         with username set to 'a' already declared (line 2, column 28)",
    );
    check(
        "_format_version: '3.0'\nservices: 5",
        "in 'services': expected an array (line 2, column 11)",
    );
    check(
        "_format_version: '3.0'\nservices: [5]",
        "in 'services':\n  - in entry 1 of 'services': expected a record (line 2, column 12)",
    );
}

#[test]
fn syntax_errors_name_line_and_column() {
    let why = changes("_format_version: '3.0'\nservices:\n- name: [", &registry()).unwrap_err();
    let text = why.to_string();
    assert!(text.starts_with("failed parsing declarative configuration: 3:"), "{text}");
}

#[test]
fn complaints_are_listed_with_their_entity() {
    use gateway_control::declarative::flattened;
    use serde_json::{Value, json};
    let check = |file: Value, errors: Value, rest: Value| {
        let text = file.to_string();
        let why = changes(&text, &registry()).unwrap_err();
        let (found, left) = flattened(&text, &registry(), &why);
        assert_eq!(Value::from(found), errors, "for {file}");
        assert_eq!(Value::Object(left), rest, "for {file}");
    };
    let id = "11111111-1111-4111-8111-111111111111";
    check(
        json!({
            "_format_version": "3.0",
            "foo": 1,
            "services": [
                {"name": "good", "host": "h"},
                {"id": id, "host": "x:1", "tags": ["t"], "plugins": [{"name": "limit", "config": {"minute": 0}}]},
                {"name": "bad", "host": "h", "protocol": "tcp", "path": "/p", "routes": [
                    {"name": "ok", "paths": ["/ok"]},
                    {"name": "r", "paths": ["/ok", "x"], "hosts": ["a b"]},
                ]},
            ],
            "routes": 5,
        }),
        json!([
            {
                "entity_type": "route", "entity_name": "r",
                "entity": {"name": "r", "paths": ["/ok", "x"], "hosts": ["a b"]},
                "errors": [
                    {"type": "field", "field": "paths.2", "message": "should start with: / (fixed path) or ~/ (regex path)"},
                    {"type": "field", "field": "hosts.1", "message": "invalid hostname: a b"},
                ],
            },
            {
                "entity_type": "service", "entity_name": "bad",
                "entity": {"name": "bad", "host": "h", "protocol": "tcp", "path": "/p"},
                "errors": [
                    {"type": "field", "field": "path", "message": "value must be null"},
                    {"type": "entity", "message": "failed conditional validation given value of field 'protocol'"},
                ],
            },
            {
                "entity_type": "plugin", "entity_name": "limit",
                "entity": {"name": "limit", "config": {"minute": 0}, "service": {"id": id}},
                "errors": [{"type": "field", "field": "config.minute", "message": "value must be greater than 0"}],
            },
            {
                "entity_type": "service", "entity_id": id, "entity_tags": ["t"],
                "entity": {"id": id, "host": "x:1", "tags": ["t"]},
                "errors": [{"type": "field", "field": "host", "message": "must not have a port"}],
            },
        ]),
        json!({"foo": "unknown field", "routes": "expected an array"}),
    );
    check(
        json!({"_format_version": "3.0", "consumers": [{"username": "a"}, {"username": "a"}, 5]}),
        json!([]),
        json!({"consumers": [null, null, "expected a record"]}),
    );
    check(
        json!({"_format_version": "3.0", "consumers": [{"username": "a"}, {"username": "a"}]}),
        json!([{
            "entity_type": "consumer",
            "entity": {"username": "a"},
            "errors": [{"type": "entity", "message": "uniqueness violation: 'consumers' entity with username set to 'a' already declared"}],
        }]),
        json!({}),
    );
    check(
        json!({"_format_version": "3.0", "routes": [{"name": "r", "paths": ["/x"], "service": "no"}]}),
        json!([]),
        json!({"routes": {"r": ["invalid reference 'service: no' (no such entry in 'services')"]}}),
    );
}

/// Nesting costs the reader's stack, so it has an end; references cannot make a small file large.
#[test]
fn traps_are_refused() {
    let registry = registry();
    let refused = |text: &str| match changes(text, &registry) {
        Ok(changes) => panic!("{} changes", changes.len()),
        Err(why) => why.to_string(),
    };
    let nested =
        |levels: usize| format!("_format_version: \"3.0\"\n_comment:\n{}x\n", "- ".repeat(levels));
    changes(&nested(30), &registry).unwrap();
    for levels in [33, 100, 1_000, 100_000] {
        let told = refused(&nested(levels));
        assert!(told.contains("depth: 33"), "{told}");
    }
    let large = "x".repeat(100_000);
    let named = "- *a\n".repeat(10_000);
    let told = refused(&format!("_format_version: \"3.0\"\n_comment: &a {large}\n_info:\n{named}"));
    assert!(told.contains("budget breached"), "{told}");
}
