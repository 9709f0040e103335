#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use serde_json::{Value, json};

use crate::entities::{self, Certificate, Route, Service, Sni};
use crate::reference::Environment;
use crate::schema::Record;
use crate::{
    Catalog, Change, Document, Entity, EntityType, Id, Key, Registry, Rejection, Revision, Stored,
    Violations,
};

fn catalog() -> Arc<Catalog> {
    Arc::new(Catalog::empty(Arc::new(Registry::new(entities::ALL))))
}

fn document(value: Value) -> Document {
    value.as_object().unwrap().clone()
}

fn insert(kind: &'static str, value: Value) -> Change {
    Change::Insert { kind, document: document(value) }
}

fn name(value: &str) -> Key {
    Key::Unique("name", value.to_owned())
}

#[test]
fn a_service_is_complete_after_an_insert() {
    let mut edit = catalog().edit(1_700_000_000_123);
    let made = edit
        .apply(&[insert(
            "services",
            json!({"name": "s1", "url": "http://up.test:8080/base", "tags": ["a", "b", "a"]}),
        )])
        .unwrap();
    let mut shown = made[0].as_ref().unwrap().document().clone();
    shown.remove("id");
    assert_eq!(
        Value::Object(shown),
        json!({
            "created_at": 1_700_000_000, "updated_at": 1_700_000_000, "name": "s1", "retries": 5,
            "protocol": "http", "host": "up.test", "port": 8080, "path": "/base",
            "connect_timeout": 60000, "write_timeout": 60000, "read_timeout": 60000,
            "tags": ["a", "b"], "client_certificate": null, "tls_verify": null,
            "tls_verify_depth": null, "ca_certificates": null, "enabled": true,
        })
    );
}

#[test]
fn refusals_are_kongs() {
    let check = |changes: &[Change], message: &str| {
        let mut edit = catalog().edit(0);
        edit.apply(&[insert("services", json!({"name": "s1", "host": "h"}))]).unwrap();
        edit.apply(&[insert(
            "routes",
            json!({"name": "r1", "paths": ["/r"], "service": {"name": "s1"}}),
        )])
        .unwrap();
        let before = edit.clone().finish().1.len();
        assert_eq!(edit.apply(changes).unwrap_err().to_string(), message);
        assert_eq!(edit.finish().1.len(), before, "a refused set leaves nothing behind");
    };
    check(
        &[insert("services", json!({"name": "s1", "host": "x"}))],
        "UNIQUE violation detected on '{name=\"s1\"}'",
    );
    check(
        &[
            insert("services", json!({"name": "ok", "host": "x"})),
            insert("services", json!({"host": "h:80"})),
        ],
        "schema violation (host: must not have a port)",
    );
    check(
        &[insert("routes", json!({"paths": ["/x"], "service": {"name": "no"}}))],
        "foreign key unresolved (service.name: the foreign key cannot be resolved with '{name=\"no\"}' for an existing 'services' entity)",
    );
    check(
        &[insert(
            "routes",
            json!({"paths": ["/x"], "service": {"id": "22222222-2222-4222-8222-222222222222"}}),
        )],
        "the foreign key '{id=\"22222222-2222-4222-8222-222222222222\"}' does not reference an existing 'services' entity.",
    );
    check(
        &[Change::Delete { kind: "services", key: name("s1") }],
        "an existing 'routes' entity references this 'services' entity",
    );
    check(
        &[Change::Patch { kind: "services", key: name("none"), document: Document::new() }],
        "could not find the entity with '{name=\"none\"}'",
    );
    check(
        &[insert("services", json!({"host": "h", "protocol": "tcp", "path": "/x"}))],
        "2 schema violations (failed conditional validation given value of field 'protocol'; path: value must be null)",
    );
    check(
        &[insert("routes", json!({"hosts": ["*.a.test", "a*.b", "a.test:x"]}))],
        "2 schema violations (hosts.2: invalid wildcard: must be placed at leftmost or rightmost label; hosts.3: invalid hostname: a.test:x)",
    );
}

#[test]
fn children_go_with_their_parent_and_upserts_keep_the_id() {
    let base = catalog();
    let mut edit = base.edit(1000);
    edit.apply(&[insert("services", json!({"name": "s1", "host": "h"}))]).unwrap();
    edit.apply(&[insert(
        "routes",
        json!({"name": "r1", "paths": ["/r"], "service": {"name": "s1"}}),
    )])
    .unwrap();
    let (next, writes) = edit.finish();
    assert_eq!((writes.len(), next.revision().0), (2, 1));
    let next = Arc::new(next);
    let service = next.by::<Service>("name", "s1").unwrap();
    assert_eq!(next.children::<Route>("service", service.id()).count(), 1);

    let mut edit = next.edit(9000);
    let replaced = edit
        .apply(&[Change::Upsert {
            kind: "services",
            key: name("s1"),
            document: document(json!({"url": "http://other/"})),
        }])
        .unwrap();
    let replaced = replaced[0].as_ref().unwrap();
    assert_eq!(replaced.id(), service.id());
    assert_eq!(replaced.document()["created_at"], 1);
    assert_eq!(replaced.document()["updated_at"], 9);
    edit.apply(&[
        Change::Delete { kind: "routes", key: name("r1") },
        Change::Delete { kind: "services", key: name("s1") },
    ])
    .unwrap();
    assert_eq!(edit.finish().0.all::<Route>().count(), 0);
}

#[test]
fn what_was_stored_loads_as_it_was() {
    let base = catalog();
    let mut edit = base.edit(1000);
    edit.apply(&[insert("services", json!({"name": "s1", "host": "h"}))]).unwrap();
    let (next, writes) = edit.finish();
    let rows = writes
        .iter()
        .map(|write| (write.kind.to_owned(), write.after.as_ref().unwrap().document().clone()));
    let loaded = Catalog::load(Arc::clone(next.registry()), next.revision(), rows).unwrap();
    assert_eq!(
        loaded.find("services", &name("s1")).unwrap().document(),
        next.find("services", &name("s1")).unwrap().document()
    );
    let again =
        Arc::new(loaded).edit(0).apply(&[insert("services", json!({"name": "s1", "host": "h"}))]);
    assert!(matches!(again, Err(Rejection::Unique { .. })));
}

#[test]
fn names_listed_in_a_certificate_are_entities() {
    let pair = json!({"cert": "{vault://env/cert}", "key": "{vault://env/key}"});
    let with = |names: Value| {
        let mut document = document(pair.clone());
        document.insert("snis".into(), names);
        document
    };
    let mut edit = catalog().edit(1);
    let insert = |document| Change::Insert { kind: "certificates", document };
    let made = edit.apply(&[insert(with(json!(["b.test", "a.test"])))]).expect("is applied");
    let certificate = made[0].clone().expect("is there");
    assert_eq!(edit.catalog().shown(&certificate, 0)["snis"], json!(["a.test", "b.test"]));

    let held =
        format!("a.test already associated with existing certificate '{}'", certificate.id());
    for (names, why) in [
        (json!(["a.test"]), held.as_str()),
        (json!(["c.test", "c.test"]), "c.test is duplicated"),
        (json!({}), "expected an array"),
        (json!([1]), "expected a string"),
    ] {
        let refused = edit.apply(&[insert(with(names))]).expect_err("is refused");
        assert_eq!(refused, Rejection::Invalid(Violations::one("snis", why)));
    }
    assert!(edit.apply(&[insert(with(json!(["1.2.3.4"])))]).is_err(), "a name has rules too");
    assert_eq!(edit.catalog().collection("certificates").expect("known").len(), 1);

    let key = Key::Id(certificate.id());
    let kept = edit.catalog().by::<Sni>("name", "a.test").expect("is there").id();
    let patch = Change::Patch {
        kind: "certificates",
        key: key.clone(),
        document: document(json!({"snis": ["a.test", "c.test"]})),
    };
    edit.apply(&[patch]).expect("is applied");
    assert_eq!(edit.catalog().names(&certificate), ["a.test", "c.test"]);
    assert_eq!(edit.catalog().by::<Sni>("name", "a.test").expect("is there").id(), kept);
    let put = Change::Upsert { kind: "certificates", key, document: document(pair) };
    edit.apply(&[put]).expect("is applied");
    assert!(edit.catalog().names(&certificate).is_empty(), "a PUT without names clears them");
}

#[test]
fn following_keeps_what_did_not_change() {
    let mut edit = catalog().edit(1000);
    for name in ["a", "b", "c", "d"] {
        edit.apply(&[insert("services", json!({"name": name, "host": "h"}))]).unwrap();
    }
    let base = edit.finish().0;
    let service = |of: &Catalog, value| of.find("services", &name(value)).cloned();
    let row = |present: &Arc<Stored>, now: &str| {
        let mut document = present.document().clone();
        document.insert("name".to_owned(), now.into());
        ("services".to_owned(), present.id(), Some(document))
    };
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| service(&base, name).unwrap());
    let rows = [
        // Two swap their names; a third is told again as it is; the fourth is deleted.
        row(&a, "b"),
        row(&b, "a"),
        row(&c, "c"),
        ("services".to_owned(), d.id(), None),
        ("services".to_owned(), Id::from_bytes([7; 16]), None),
        ("unheard of".to_owned(), a.id(), Some(Document::new())),
    ];
    let (next, writes) = base.follow(Revision(9), rows).unwrap();
    assert_eq!(next.revision(), Revision(9));
    assert_eq!(service(&next, "a").unwrap().id(), b.id());
    assert_eq!(service(&next, "b").unwrap().id(), a.id());
    assert!(Arc::ptr_eq(&service(&next, "c").unwrap(), &c));
    assert!(service(&next, "d").is_none());
    let written: Vec<_> = writes
        .iter()
        .map(|write| (write.id, write.before.is_some(), write.after.is_some()))
        .collect();
    assert_eq!(written, [(a.id(), true, true), (b.id(), true, true), (d.id(), true, false)]);

    let broken = ("services".to_owned(), a.id(), Some(document(json!({"id": "x"}))));
    assert!(next.follow(Revision(10), [broken]).is_err());
}

/// A catalog whose references lead to these variables.
fn with_environment(variables: &[(&str, &str)]) -> Arc<Catalog> {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut registry = Registry::new(entities::ALL);
    registry.set_environment(Environment::new(owned.collect(), ""));
    Arc::new(Catalog::empty(Arc::new(registry)))
}

fn certificate(vault: &str) -> Change {
    let reference = |name: &str| format!("{{vault://{vault}/{name}}}");
    insert("certificates", json!({"cert": reference("cert"), "key": reference("key")}))
}

fn vault(prefix: &str, of: &str) -> Change {
    insert("vaults", json!({"name": "env", "prefix": prefix, "config": {"prefix": of}}))
}

#[test]
fn the_typed_form_has_the_values_of_references() {
    let mut edit = with_environment(&[("CERT", "the cert"), ("KEY", "the key")]).edit(0);
    let made = edit.apply(&[certificate("env")]).unwrap().remove(0).unwrap();
    let typed: &Certificate = made.entity().unwrap();
    assert_eq!((&*typed.cert, &**typed.key.expose()), ("the cert", "the key"));
    assert_eq!(made.document()["cert"], "{vault://env/cert}");
    assert_eq!(edit.catalog().shown(&made, 0)["key"], "{vault://env/key}");
    assert!(made.unresolved().is_empty());
}

#[test]
fn a_reference_that_leads_nowhere_is_the_empty_text() {
    let mut edit = with_environment(&[("KEY", "the key")]).edit(0);
    let made = edit.apply(&[certificate("env")]).unwrap().remove(0).unwrap();
    assert_eq!(made.entity::<Certificate>().unwrap().cert, "");
    assert_eq!(made.unresolved(), ["'{vault://env/cert}' has no value in CERT"]);
    let made = edit.apply(&[certificate("none")]).unwrap().remove(0).unwrap();
    assert_eq!(made.unresolved().len(), 2, "no such vault");
}

#[test]
fn values_change_with_their_vault() {
    let variables =
        [("A_CERT", "cert a"), ("A_KEY", "key a"), ("B_CERT", "cert b"), ("B_KEY", "key b")];
    let base = with_environment(&variables);
    let certs = |catalog: &Catalog| -> Vec<String> {
        catalog.all::<Certificate>().map(|certificate| certificate.cert.clone()).collect()
    };
    let mut edit = base.edit(0);
    edit.apply(&[certificate("mine")]).unwrap();
    let (unresolved, _) = edit.finish();
    assert_eq!(certs(&unresolved), [""]);

    let unresolved = Arc::new(unresolved);
    let mut edit = unresolved.edit(0);
    edit.apply(&[vault("mine", "a_")]).unwrap();
    let (with_a, writes) = edit.finish();
    assert_eq!(certs(&with_a), ["cert a"]);
    assert_eq!(writes.len(), 2, "the vault and what refers to it: {writes:?}");

    // Another node, and a restart, come to the same whatever is read first.
    let rows = |catalog: &Catalog| -> Vec<(String, Document)> {
        let kinds = ["certificates", "vaults"].into_iter();
        let all = kinds.flat_map(|kind| catalog.collection(kind).unwrap().iter().cloned());
        all.map(|stored| (stored.kind().kind.to_owned(), stored.document().clone())).collect()
    };
    let registry = Arc::clone(base.registry());
    let loaded = Catalog::load(registry, with_a.revision(), rows(&with_a)).unwrap();
    assert_eq!(certs(&loaded), ["cert a"]);
    let vault = rows(&with_a).remove(1);
    let id = Id::parse(vault.1["id"].as_str().unwrap()).unwrap();
    let (followed, writes) =
        unresolved.follow(with_a.revision(), [(vault.0, id, Some(vault.1))]).unwrap();
    assert_eq!((certs(&followed), writes.len()), (vec!["cert a".to_owned()], 2));

    let mut edit = Arc::new(with_a).edit(0);
    let config = document(json!({"config": {"prefix": "b_"}}));
    let key = Key::Unique("prefix", "mine".to_owned());
    edit.apply(&[Change::Patch { kind: "vaults", key: key.clone(), document: config }]).unwrap();
    let (with_b, _) = edit.finish();
    assert_eq!(certs(&with_b), ["cert b"]);
    let mut edit = Arc::new(with_b).edit(0);
    edit.apply(&[Change::Delete { kind: "vaults", key }]).unwrap();
    assert_eq!(certs(&edit.finish().0), [""]);
}

/// A kind whose entities need not last.
#[derive(serde::Deserialize, Record)]
struct Pass {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Names it.
    #[record(unique)]
    #[expect(dead_code, reason = "found by the catalog's index")]
    name: String,
    /// When it ends.
    #[record(expires)]
    ttl: Option<u64>,
}

impl Entity for Pass {
    const KIND: &'static str = "passes";
}

static PASSES: EntityType = EntityType::of::<Pass>().at("passes", Some("name"));

#[test]
fn what_does_not_last_ends() {
    let catalog = Arc::new(Catalog::empty(Arc::new(Registry::new([&PASSES]))));
    let pass = |ttl: Value| insert("passes", json!({"name": "p", "ttl": ttl}));
    let mut edit = catalog.edit(50_500);
    for ttl in [json!(-1), json!(1.5), json!("5"), json!(100_000_001)] {
        let refused = edit.apply(&[pass(ttl)]).unwrap_err();
        let text = "invalid option (ttl: must be an integer between 0 and 100000000)";
        assert_eq!(refused.to_string(), text);
    }
    let made = edit.apply(&[pass(json!(10))]).unwrap().remove(0).unwrap();
    assert_eq!(made.entity::<Pass>().unwrap().ttl, Some(60_500));
    let (next, _) = edit.finish();
    assert_eq!(next.next_end(), Some(60_500));
    for (now, left) in [(50_500, 9), (50_501, 9), (51_500, 8), (60_499, 0), (70_000, 0)] {
        assert_eq!(next.shown(&made, now)["ttl"], left, "at {now}");
    }

    let next = Arc::new(next);
    let at = |now: u64, change: Change| {
        let mut edit = next.edit(now);
        edit.apply(&[change, Change::Expire]).unwrap();
        edit.finish().0
    };
    let patch = |document: Value| {
        let document = self::document(document);
        Change::Patch { kind: "passes", key: name("p"), document }
    };
    assert_eq!(at(60_499, patch(json!({}))).all::<Pass>().count(), 1, "not yet");
    assert_eq!(at(60_500, patch(json!({}))).all::<Pass>().count(), 0, "its time is over");
    assert_eq!(at(60_500, patch(json!({"ttl": 1}))).next_end(), Some(61_500), "from now on");
    for forever in [patch(json!({"ttl": null})), patch(json!({"ttl": 0}))] {
        let lasting = at(60_500, forever);
        assert_eq!((lasting.all::<Pass>().count(), lasting.next_end()), (1, None));
    }
}
