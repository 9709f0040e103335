//! Any sequence of writes, on every store: references and unique keys stay intact, a node that
//! starts anew has the very same catalog, and what is exported is imported to the same.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod server;

use std::collections::HashSet;
use std::sync::Arc;

use gateway_control::declarative::{changes, export};
use gateway_control::store::memory::Memory;
use gateway_control::store::postgres::{Postgres, migrations};
use gateway_control::store::sqlite::Sqlite;
use gateway_control::{Control, SealError, Sealed, Sealer, Store};
use gateway_model::schema::{Field, Record};
use gateway_model::{
    Catalog, Change, Clock, Document, Key, PluginSchema, Registry, Rejection, Scopes, entities,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use server::Server;

fn registry() -> Arc<Registry> {
    let mut registry = Registry::new(entities::ALL);
    let record = Record::default()
        .field(Field::of::<u32>("minute").default(5))
        .field(Field::of::<Option<String>>("password").encrypted());
    registry.add_plugin(PluginSchema {
        name: "limit",
        version: "1",
        priority: 1,
        record,
        scopes: Scopes::ALL,
        protocols: &["http", "https"],
        default_protocols: &["http", "https"],
    });
    Arc::new(registry)
}

/// Turns every text around, which is enough to see that it was sealed.
struct Backwards;

impl Sealer for Backwards {
    fn seal(&self, plain: &str) -> Result<String, SealError> {
        Ok(plain.chars().rev().collect())
    }

    fn open(&self, sealed: &str) -> Result<String, SealError> {
        self.seal(sealed)
    }
}

fn document(value: Value) -> Document {
    value.as_object().unwrap().clone()
}

/// One request: a few changes that are made together or not at all. Many are refused.
fn request() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..4)
}

fn change() -> impl Strategy<Value = Change> {
    let name = || select(vec!["a", "b", "c", "d"]);
    let kind = || select(vec!["services", "routes", "consumers", "upstreams"]);
    let key = |kind: &str, name: &str| {
        Key::Unique(if kind == "consumers" { "username" } else { "name" }, name.to_owned())
    };
    let insert =
        |kind: &'static str, value: Value| Change::Insert { kind, document: document(value) };
    prop_oneof![
        3 => (name(), "\\PC{1,12}").prop_map(move |(name, tag)| {
            let tag: String = tag.chars().filter(|c| !",/".contains(*c)).collect();
            insert("services", json!({"name": name, "host": "h.test", "tags": [tag]}))
        }),
        3 => (name(), prop::option::of(name())).prop_map(move |(name, service)| {
            let service = service.map(|name| json!({"name": name}));
            insert("routes", json!({"name": name, "paths": [format!("/{name}")], "service": service}))
        }),
        2 => name().prop_map(move |name| insert("consumers", json!({"username": name}))),
        3 => (prop::option::of(name()), prop::option::of(name()), ".{0,9}").prop_map(
            move |(service, consumer, password)| {
                insert("plugins", json!({
                    "name": "limit",
                    "config": {"password": (!password.is_empty()).then_some(password)},
                    "service": service.map(|name| json!({"name": name})),
                    "consumer": consumer.map(|name| json!({"username": name})),
                }))
            }
        ),
        1 => name().prop_map(move |name| insert("upstreams", json!({"name": name}))),
        2 => (name(), 1u16..4).prop_map(move |(name, port)| {
            insert("targets", json!({"target": format!("10.0.0.1:{port}"), "upstream": {"name": name}}))
        }),
        1 => name().prop_map(move |name| {
            let names = [format!("{name}.test")];
            insert("certificates", json!({
                "cert": "{vault://mine/cert}", "key": "{vault://mine/key}", "snis": names,
            }))
        }),
        1 => select(vec!["mine", "other"]).prop_map(move |prefix| {
            insert("vaults", json!({"name": "env", "prefix": prefix}))
        }),
        2 => (kind(), name()).prop_map(move |(kind, name)| {
            Change::Delete { kind, key: key(kind, name) }
        }),
        1 => (kind(), name(), name()).prop_map(move |(kind, old, new)| {
            let field = if kind == "consumers" { "username" } else { "name" };
            let document = document(json!({ field: new }));
            Change::Patch { kind, key: key(kind, old), document }
        }),
        1 => (kind(), name()).prop_map(move |(kind, name)| {
            Change::Upsert { kind, key: key(kind, name), document: document(json!({"host": "h"})) }
        }),
    ]
}

fn documents(catalog: &Catalog) -> Vec<(&'static str, Document)> {
    let kinds = catalog.registry().kinds().iter();
    let all = kinds.flat_map(|kind| catalog.collection(kind.kind).unwrap().iter());
    all.map(|stored| (stored.kind().kind, stored.document().clone())).collect()
}

/// Every reference names what is there, and no two entities share what is unique.
fn is_consistent(catalog: &Catalog) {
    for kind in catalog.registry().kinds() {
        let mut taken = HashSet::new();
        for stored in catalog.collection(kind.kind).unwrap().iter() {
            for (field, target, _) in kind.references() {
                let Some(id) = stored.reference(field.name) else { continue };
                assert!(catalog.find(target, &Key::Id(id)).is_some(), "{stored:?} {}", field.name);
            }
            let document = stored.document();
            let single = kind.record().fields.iter().filter(|field| field.unique);
            let single = single.filter(|field| !document[field.name].is_null());
            let sets = single.map(|field| vec![field.name]);
            let sets = sets.chain(kind.unique_together.iter().map(|fields| fields.to_vec()));
            for fields in sets {
                let values: Vec<String> =
                    fields.iter().map(|field| document[*field].to_string()).collect();
                assert!(
                    taken.insert((fields.clone(), values)),
                    "two {} share {fields:?}",
                    kind.kind
                );
            }
        }
    }
}

async fn start(store: Arc<dyn Store>) -> Control {
    Control::start(registry(), store, Vec::new(), Clock::fixed(1_700_000_000_123)).await.unwrap()
}

/// Runs `cases` sequences; `open` gives the store of a place again, `fresh` empties it.
async fn check<S: Store, F: Future<Output = S>>(
    cases: u32,
    open: impl Fn(u32) -> F,
    mut fresh: impl AsyncFnMut(u32),
) {
    // A failure shows the writes that led to it.
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut total = 0;
    let sequences = prop::collection::vec(request(), 1..40);
    for case in 0..cases {
        let writes = sequences.new_tree(&mut runner).unwrap().current();
        fresh(case).await;
        let control = start(Arc::new(open(case).await)).await;
        let mut made = 0u32;
        for request in &writes {
            match control.apply(request.clone()).await {
                Ok(_) => made += 1,
                Err(Rejection::Store(why)) => panic!("{why}"),
                Err(_) => {}
            }
            is_consistent(&control.catalog());
        }
        total += made;
        let before = control.catalog();
        control.close().await;
        drop(control);
        let again = start(Arc::new(open(case).await)).await;
        let after = again.catalog();
        assert_eq!(documents(&after), documents(&before), "after {made} of {writes:?}");
        assert_eq!(after.revision(), before.revision());
        is_consistent(&after);

        let file = export(&after);
        fresh(case).await;
        let imported = start(Arc::new(open(case).await)).await;
        let read = changes(&file, after.registry()).unwrap_or_else(|why| panic!("{why}\n{file}"));
        imported.apply(read).await.unwrap_or_else(|why| panic!("{why}\n{file}"));
        drop(again);
        let imported = start(Arc::new(open(case).await)).await.catalog();
        assert_eq!(documents(&imported), documents(&before), "{file}");
        assert_eq!(export(&imported), file);
    }
    assert!(total > cases, "only {total} requests were taken");
}

/// A memory store that outlives its control.
#[derive(Clone)]
struct Shared(Arc<Memory>);

#[async_trait::async_trait]
impl Store for Shared {
    async fn load(&self) -> Result<gateway_control::Loaded, gateway_control::StoreError> {
        self.0.load().await
    }

    async fn commit(
        &self,
        base: gateway_model::Revision,
        next: gateway_model::Revision,
        rows: &[gateway_control::Row<'_>],
    ) -> Result<(), gateway_control::StoreError> {
        self.0.commit(base, next, rows).await
    }
}

#[tokio::test]
async fn in_memory() {
    let place = std::sync::Mutex::new(Shared(Arc::default()));
    let open = |_| std::future::ready(place.lock().unwrap().clone());
    check(60, open, async |_| *place.lock().unwrap() = Shared(Arc::default())).await;
}

#[tokio::test]
async fn in_sqlite_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let opened = std::sync::atomic::AtomicU32::new(0);
    let path =
        || folder.path().join(format!("{}.db", opened.load(std::sync::atomic::Ordering::Relaxed)));
    let open = |_| {
        let path = path();
        async move { Sealed::new(Sqlite::open(&path).await.unwrap(), registry(), Arc::new(Backwards)) }
    };
    check(12, open, async |_| {
        opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    })
    .await;
}

#[tokio::test]
async fn in_postgres_sealed() {
    let Some(server) = Server::start().await else { return };
    let open = |_| async {
        let store = Postgres::open(server.options()).await.unwrap();
        Sealed::new(store, registry(), Arc::new(Backwards))
    };
    check(8, open, async |_| {
        let _ = migrations::reset(&server.options()).await.unwrap();
        migrations::bootstrap(&server.options()).await.unwrap();
    })
    .await;
}
