//! What holds for any sequence of writes: references and unique keys stay intact, the catalog comes
//! back from what a store keeps, and from the declarative file written of it.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[expect(dead_code, reason = "only the registry and one request are used here")]
mod replay;
mod subject;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use gateway_admin::Writes;
use gateway_control::declarative::{changes, export};
use gateway_model::{Catalog, Change, Document, Key};
use proptest::prelude::*;
use serde_json::{Value, json};

fn catalog() -> Arc<Catalog> {
    Arc::new(Catalog::empty(Arc::new(subject::registry())))
}

fn with(catalog: &Arc<Catalog>, changes: &[Change], now: u64) -> Arc<Catalog> {
    let mut edit = catalog.edit(now);
    for change in changes {
        // What a rule refuses is simply not there.
        let _ = edit.apply(std::slice::from_ref(change));
    }
    Arc::new(edit.finish().0)
}

fn documents(catalog: &Catalog) -> Vec<(&'static str, Document)> {
    let kinds = catalog.registry().kinds().iter();
    kinds
        .flat_map(|kind| catalog.collection(kind.kind).unwrap().iter())
        .map(|stored| (stored.kind().kind, stored.document().clone()))
        .collect()
}

/// Texts that a writer of YAML may get wrong, and any other.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "true",
        "no",
        "null",
        "~",
        "3.0",
        "0x1F",
        "1e3",
        "- a",
        "a: b",
        "# no",
        "&a",
        "*a",
        "!t",
        "'",
        "\"",
        "\\n",
        "a\nb\n",
        "  padded  ",
        "\u{feff}",
        "\u{85}x\u{2028}y",
        "\t",
        "=",
        "<<",
        "2001-01-01",
        "|",
        ">",
        "%",
        "@",
        "`",
        "{}",
        "[]",
        "a\r\nb",
        "\u{7f}",
        "\u{1}",
        "é🙂",
    ]);
    prop_oneof![odd.prop_map(str::to_owned), ".{1,12}", "\\PC{1,30}", "[a-z\\n ]{1,200}"]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), text().prop_map(Value::String)]
}

fn change() -> impl Strategy<Value = Change> {
    let insert = |kind: &'static str, document: Value| Change::Insert {
        kind,
        document: document.as_object().unwrap().clone(),
    };
    let name = prop::sample::select(vec!["a", "b", "c", "true", "12"]);
    let path = "/[a-z]{1,8}";
    prop_oneof![
        (name.clone(), prop::option::of(0u16..30000), prop::option::of(path)).prop_map(
            move |(name, retries, path)| {
                let host = "h.test";
                insert("services", json!({"name": name, "host": host, "retries": retries, "path": path}))
            }
        ),
        (name.clone(), prop::option::of(name.clone()), text(), path).prop_map(
            move |(name, service, header, path)| {
                let headers = json!({"x": [header]});
                let service = service.map(|name| json!({"name": name}));
                let paths = [path, "/x".to_owned()];
                insert("routes", json!({
                    "name": name, "paths": paths, "headers": headers, "service": service,
                }))
            }
        ),
        (name.clone(), value(), "[a-z ]{1,9}").prop_map(move |(username, custom_id, tag)| {
            insert("consumers", json!({
                "username": username, "custom_id": custom_id, "tags": [tag, tag],
            }))
        }),
        (name.clone(), prop::bool::ANY, value()).prop_map(move |(name, limit, text)| {
            let service = json!({"name": name});
            match limit {
                true => insert("plugins", json!({
                    "name": "limit",
                    "config": {"minute": 1, "redis_host": text},
                    "service": service,
                })),
                false => insert("plugins", json!({
                    "name": "key-auth",
                    "config": {"key_names": [text]},
                })),
            }
        }),
        (name.clone(), text(), text()).prop_map(move |(consumer, key, secret)| {
            let consumer = json!({"username": consumer});
            insert("jwt_secrets", json!({"consumer": consumer, "key": key, "secret": secret}))
        }),
        (name.clone(), 0.5f64..100.0).prop_map(move |(name, threshold)| {
            let healthchecks = json!({"threshold": threshold});
            insert("upstreams", json!({
                "name": name, "hash_on": "ip", "healthchecks": healthchecks,
            }))
        }),
        (name.clone(), 0u16..9).prop_map(move |(name, port)| {
            let target = format!("[::1]:{port}");
            insert("targets", json!({"target": target, "upstream": {"name": name}}))
        }),
        ("[a-z]{2,6}", text()).prop_map(move |(prefix, description)| {
            insert("vaults", json!({
                "name": "env", "prefix": prefix, "description": description,
            }))
        }),
        (name, prop::bool::ANY).prop_map(move |(name, other)| {
            let names = if other { ["a.test", "*.b.test"] } else { ["c.test", "*.d.test"] };
            insert("certificates", json!({
                "cert": "{vault://env/cert}", "key": "{vault://env/key}", "snis": names, "tags": [name],
            }))
        }),
    ]
}

/// Writes of every sort to what may be there.
fn write() -> impl Strategy<Value = Change> {
    let kind = prop::sample::select(vec!["services", "routes", "consumers", "upstreams"]);
    let name = prop::sample::select(vec!["a", "b", "c", "true", "12"]);
    let key = |kind: &str, name: &str| {
        let field = if kind == "consumers" { "username" } else { "name" };
        Key::Unique(field, name.to_owned())
    };
    let members = |field: &str, value: Value| Document::from_iter([(field.to_owned(), value)]);
    prop_oneof![
        4 => change(),
        1 => (kind.clone(), name.clone())
            .prop_map(move |(kind, name)| Change::Delete { kind, key: key(kind, name) }),
        1 => (kind.clone(), name.clone(), name.clone()).prop_map(move |(kind, old, new)| {
            let field = if kind == "consumers" { "username" } else { "name" };
            Change::Patch { kind, key: key(kind, old), document: members(field, new.into()) }
        }),
        1 => (name.clone(), name.clone()).prop_map(move |(route, service)| {
            let document = members("service", json!({"name": service}));
            Change::Patch { kind: "routes", key: key("routes", route), document }
        }),
        1 => (kind, name).prop_map(move |(kind, name)| {
            let document = members("host", "h".into());
            Change::Upsert { kind, key: key(kind, name), document }
        }),
        1 => Just(Change::Delete {
            kind: "snis",
            key: Key::Unique("name", "a.test".to_owned()),
        }),
    ]
}

/// Every reference names what is there, and no two entities share what is unique.
fn is_consistent(catalog: &Catalog) -> Result<(), TestCaseError> {
    for kind in catalog.registry().kinds() {
        let mut taken = HashSet::new();
        for stored in catalog.collection(kind.kind).unwrap().iter() {
            let document = stored.document();
            for (field, target, _) in kind.references() {
                let Some(id) = stored.reference(field.name) else { continue };
                let there = catalog.find(target, &Key::Id(id)).is_some();
                prop_assert!(there, "{stored:?} refers to no {target} by {}", field.name);
            }
            for field in kind.record().fields.iter().filter(|field| field.unique) {
                let Some(value) = document[field.name].as_str() else { continue };
                let new = taken.insert((vec![field.name], vec![value.to_owned()]));
                prop_assert!(new, "two {} have the {} {value}", kind.kind, field.name);
                let key = Key::Unique(field.name, value.to_owned());
                prop_assert_eq!(
                    catalog.find(kind.kind, &key).map(|found| found.id()),
                    Some(stored.id())
                );
            }
            for fields in kind.unique_together {
                let values = fields.iter().map(|field| document[*field].to_string()).collect();
                let new = taken.insert((fields.to_vec(), values));
                prop_assert!(new, "two {} share {fields:?}", kind.kind);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_writes_leave_a_consistent_catalog(writes in prop::collection::vec(write(), 1..80)) {
        let catalog = with(&catalog(), &writes, 1_700_000_000_123);
        is_consistent(&catalog)?;
        let kept = documents(&catalog);
        let rows = kept.iter().map(|(kind, document)| ((*kind).to_owned(), document.clone()));
        let registry = Arc::clone(catalog.registry());
        let loaded = Catalog::load(registry, catalog.revision(), rows).unwrap();
        is_consistent(&loaded)?;
        prop_assert_eq!(documents(&loaded), kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn export_then_import_is_the_identity(writes in prop::collection::vec(change(), 0..60)) {
        let consumer = json!({"username": "true"}).as_object().unwrap().clone();
        let first = Change::Insert { kind: "consumers", document: consumer };
        let before = with(&with(&catalog(), &[first], 1_600_000_000_000), &writes, 1_700_000_000_123);
        let file = export(&before);
        let read = changes(&file, before.registry());
        let read = read.unwrap_or_else(|why| panic!("{why}\n{file}"));
        let mut edit = catalog().edit(1_800_000_000_456);
        edit.apply(&read).unwrap_or_else(|why| panic!("{why}\n{file}"));
        let after = edit.finish().0;
        prop_assert_eq!(documents(&before), documents(&after));
        prop_assert_eq!(export(&after), file);
        let mut again = Arc::new(after).edit(1_900_000_000_789);
        again.apply(&read).unwrap_or_else(|why| panic!("{why}"));
        prop_assert_eq!(documents(&before), documents(&again.finish().0), "once more changes nothing");
    }
}

#[test]
fn a_node_without_a_database_shows_its_configuration() {
    let mut subject = subject::Subject::start();
    let sent = |method: &str, path: &str, json: Option<Value>| replay::Sent {
        method: method.into(),
        path: path.into(),
        headers: BTreeMap::from([("Content-Type".to_owned(), "application/json".into())]),
        json,
        body: None,
    };
    subject.send(&sent("PUT", "/services/s", Some(json!({"host": "h.test"}))));
    assert_eq!(subject.send(&sent("GET", "/config", None)).status, 400, "with a database");
    subject.admin.writes = Writes::Declarative;
    let reply = subject.send(&sent("GET", "/config", None));
    assert_eq!(reply.status, 200);
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    let text = answer["config"].as_str().unwrap();
    assert!(text.starts_with("_format_version: \"3.0\"\n_transform: false\nservices:\n"), "{text}");
    assert!(!text.contains("null"), "{text}");
    assert_eq!(changes(text, &subject::registry()).unwrap().len(), 1);
}
