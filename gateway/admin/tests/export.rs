//! A declarative file written from a catalog gives that catalog back, whatever is in it.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[expect(dead_code, reason = "only the registry and one request are used here")]
mod replay;
mod subject;

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_admin::Writes;
use gateway_control::declarative::{changes, export};
use gateway_model::{Catalog, Change, Document};
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
    prop_oneof![
        (name.clone(), prop::option::of(0u16..40000), value()).prop_map(move |(name, retries, path)| {
            insert("services", json!({"name": name, "host": "h", "retries": retries, "path": path}))
        }),
        (name.clone(), value(), text()).prop_map(move |(name, header, path)| {
            let paths = [format!("/{path}"), "/x".to_owned()];
            insert("routes", json!({
                "name": name, "paths": paths, "headers": {"x": [header]}, "service": {"name": name},
            }))
        }),
        (value(), value(), text())
            .prop_map(move |(username, custom_id, tag)| insert("consumers", json!({
                "username": username, "custom_id": custom_id, "tags": [tag, tag],
            }))),
        (name.clone(), prop::bool::ANY, value()).prop_map(move |(name, limit, host)| {
            let service = json!({"name": name});
            match limit {
                true => insert("plugins", json!({
                    "name": "limit", "config": {"minute": 1, "redis_host": host}, "service": service,
                })),
                false => insert("plugins", json!({"name": "key-auth", "config": {"key_names": [host]}})),
            }
        }),
        (text(), text()).prop_map(move |(key, secret)| insert("jwt_secrets", json!({
            "consumer": {"username": "true"}, "key": key, "secret": secret,
        }))),
        (name.clone(), 0.5f64..100.0).prop_map(move |(name, threshold)| insert("upstreams", json!({
            "name": name, "hash_on": "ip", "healthchecks": {"threshold": threshold},
        }))),
        (name, 0u16..9).prop_map(move |(name, port)| insert("targets", json!({
            "target": format!("[::1]:{port}"), "upstream": {"name": name},
        }))),
        (text(), text()).prop_map(move |(name, description)| insert("vaults", json!({
            "name": "env", "prefix": name, "description": description,
        }))),
        Just(insert("certificates", json!({
            "cert": "{vault://env/cert}", "key": "{vault://env/key}", "snis": ["a.test", "*.b.test"],
        }))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn export_then_import_is_the_identity(writes in prop::collection::vec(change(), 0..30)) {
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
