//! One contract for every store, and what is special to each.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_control::store::memory::Memory;
use gateway_control::store::sqlite::Sqlite;
use gateway_control::{Delta, Row, SealError, Sealed, Sealer, Store, StoreError};
use gateway_model::schema::{Field, Record};
use gateway_model::{Document, Id, PluginSchema, Registry, Revision, Scopes, entities};
use serde_json::{Value, json};

fn id(n: u8) -> Id {
    Id::from_bytes([n; 16])
}

fn document(value: Value) -> Document {
    value.as_object().unwrap().clone()
}

fn row(kind: &'static str, n: u8, value: Value) -> Row<'static> {
    let mut document = document(value);
    document.insert("id".into(), id(n).to_string().into());
    Row::new(kind, id(n), Some(&document))
}

fn gone(kind: &'static str, n: u8) -> Row<'static> {
    Row::new(kind, id(n), None)
}

/// What a store holds: revision, and kind and name of every document.
async fn content(store: &dyn Store) -> (u64, Vec<(String, String)>) {
    let loaded = store.load().await.unwrap();
    let mut rows: Vec<_> = loaded
        .documents
        .into_iter()
        .map(|(kind, document)| (kind, document["name"].as_str().unwrap().to_owned()))
        .collect();
    rows.sort();
    (loaded.revision.0, rows)
}

fn rows(names: &[(&str, &str)]) -> Vec<(String, String)> {
    names.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect()
}

async fn keeps_the_contract(store: &dyn Store) {
    assert_eq!(content(store).await, (0, rows(&[])), "a new store is empty");

    let first = [
        row("services", 1, json!({"name": "a", "tags": ["ü", "line\nfeed", "\0"], "port": 80})),
        row("services", 2, json!({"name": "b"})),
        row("routes", 1, json!({"name": "same id, other kind"})),
    ];
    store.commit(Revision(0), Revision(1), &first).await.unwrap();
    let after_first =
        (1, rows(&[("routes", "same id, other kind"), ("services", "a"), ("services", "b")]));
    assert_eq!(content(store).await, after_first);
    let loaded = store.load().await.unwrap();
    let kept = loaded.documents.iter().find(|(_, document)| document["name"] == "a").unwrap();
    let written: Document = serde_json::from_str(first[0].text.as_ref().unwrap()).unwrap();
    assert_eq!(kept.1, written, "documents come back whole");

    // Who is late writes nothing, and learns where the store is.
    let late = [row("services", 3, json!({"name": "c"}))];
    let why = store.commit(Revision(0), Revision(1), &late).await.unwrap_err();
    assert!(matches!(why, StoreError::Conflict { current: Revision(1) }), "{why}");
    assert_eq!(content(store).await, after_first);

    // Replace, delete, create in one commit; what was deleted can come back.
    let second = [
        row("services", 1, json!({"name": "a2"})),
        gone("services", 2),
        gone("services", 9),
        row("services", 3, json!({"name": "c"})),
    ];
    store.commit(Revision(1), Revision(2), &second).await.unwrap();
    let after_second =
        (2, rows(&[("routes", "same id, other kind"), ("services", "a2"), ("services", "c")]));
    assert_eq!(content(store).await, after_second);
    store
        .commit(Revision(2), Revision(3), &[row("services", 2, json!({"name": "b again"}))])
        .await
        .unwrap();
    assert_eq!(content(store).await.1.len(), 4);

    // Who knows an earlier revision is told what came after; all of it, and no less.
    for known in 0..=3 {
        let told = match store.load_since(Revision(known)).await.unwrap() {
            Delta::Everything(loaded) => loaded.documents.len(),
            Delta::Changes { revision, rows } => {
                assert_eq!(revision, Revision(3));
                let deleted = rows.iter().filter(|(.., document)| document.is_none()).count();
                assert_eq!(deleted, usize::from(known < 2), "service 9 is gone, and 2 came back");
                let expected = [5, 4, 1, 0][usize::try_from(known).unwrap()];
                assert_eq!(rows.len(), expected, "since {known}: {rows:?}");
                continue;
            }
        };
        assert_eq!(told, 4);
    }

    // More rows than one statement holds.
    let many: Vec<Row<'_>> = (0..1201u32)
        .map(|n| {
            let mut bytes = [0xff; 16];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            let id = Id::from_bytes(bytes);
            let document = document(json!({"id": id, "name": n.to_string()}));
            Row::new("consumers", id, Some(&document))
        })
        .collect();
    store.commit(Revision(3), Revision(4), &many).await.unwrap();
    let (revision, rows) = content(store).await;
    assert_eq!((revision, rows.len()), (4, 1205));
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    keeps_the_contract(&Memory::new()).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_contract(&Sqlite::open(&folder.path().join("gateway.db")).await.unwrap()).await;
}

#[tokio::test]
async fn postgres_keeps_the_contract() {
    let Some(server) = server::Server::start().await else { return };
    keeps_the_contract(&server.store().await).await;
}

#[tokio::test]
async fn a_sealed_store_keeps_the_contract() {
    let registry = Arc::new(Registry::new(entities::ALL));
    keeps_the_contract(&Sealed::new(Memory::new(), registry, Arc::new(Backwards))).await;
}

#[tokio::test]
async fn sqlite_keeps_everything_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = Sqlite::open(&path).await.unwrap();
    let write =
        [row("services", 1, json!({"name": "a"})), row("services", 2, json!({"name": "b"}))];
    store.commit(Revision(0), Revision(1), &write).await.unwrap();
    store.commit(Revision(1), Revision(2), &[gone("services", 2)]).await.unwrap();
    // Not closed: what was acknowledged is in the log file.
    let again = Sqlite::open(&path).await.unwrap();
    assert_eq!(content(&again).await, (2, rows(&[("services", "a")])));
    let why = store.commit(Revision(1), Revision(2), &[]).await.unwrap_err();
    assert!(matches!(why, StoreError::Conflict { .. }), "{why}");
}

#[cfg(unix)]
#[tokio::test]
async fn sqlite_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("gateway.db")).await.unwrap();
    store.commit(Revision(0), Revision(1), &[]).await.unwrap();
    let modes: BTreeMap<_, _> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().permissions().mode() & 0o777))
        .collect();
    assert!(modes.len() > 1, "the log file is there while the store is open: {modes:?}");
    assert!(modes.values().all(|mode| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn damaged_and_newer_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");

    std::fs::write(
        &path,
        "this is a text, not a database, and long enough to have a header ".repeat(99),
    )
    .unwrap();
    let why = Sqlite::open(&path).await.unwrap_err();
    assert!(matches!(why, StoreError::Damaged { .. }), "{why:?}");
    assert!(why.to_string().contains("gateway.db is damaged"), "{why}");

    // Overwrite the pages after the header: the file opens, and fails its check.
    std::fs::remove_file(&path).unwrap();
    let store = Sqlite::open(&path).await.unwrap();
    let write: Vec<Row<'_>> =
        (1..200).map(|n| row("services", n, json!({"name": "x".repeat(400)}))).collect();
    store.commit(Revision(0), Revision(1), &write).await.unwrap();
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8192..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let why = Sqlite::open(&path).await.unwrap_err();
    assert!(matches!(why, StoreError::Damaged { .. }), "{why:?}");

    let newer = folder.path().join("newer.db");
    Sqlite::open(&newer).await.unwrap().close().await;
    let mut bytes = std::fs::read(&newer).unwrap();
    bytes[63] = 77; // user_version, big endian, bytes 60 to 63 of the header
    std::fs::write(&newer, bytes).unwrap();
    let why = Sqlite::open(&newer).await.unwrap_err();
    assert!(matches!(why, StoreError::Newer { found: 77, .. }), "{why:?}");

    let missing = Sqlite::open(&folder.path().join("no/such/gateway.db")).await.unwrap_err();
    assert!(matches!(missing, StoreError::Unavailable { .. }), "{missing:?}");
}

/// Reverses a text. Not encryption, but different from the plain text.
struct Backwards;

impl Sealer for Backwards {
    fn seal(&self, plain: &str) -> Result<String, SealError> {
        Ok(plain.chars().rev().collect())
    }

    fn open(&self, sealed: &str) -> Result<String, SealError> {
        if sealed.contains('!') {
            return Err(SealError("wrong key".into()));
        }
        Ok(sealed.chars().rev().collect())
    }
}

/// Certificates have secrets of their own; this plugin has some in its configuration.
fn registry_with_secrets() -> Arc<Registry> {
    let config = Record::default()
        .field(Field::of::<Option<String>>("url"))
        .field(Field::of::<Option<String>>("password").encrypted())
        .field(Field::of::<Option<BTreeMap<String, String>>>("headers").encrypted())
        .field(Field::of::<Option<Vec<String>>>("keys").elements(Field::encrypted));
    let mut registry = Registry::new(entities::ALL);
    registry.add_plugin(PluginSchema {
        name: "caller",
        version: "1",
        priority: 1,
        record: config,
        scopes: Scopes::ALL,
        protocols: &["http"],
        default_protocols: &["http"],
    });
    registry.enable_only(|_| false);
    Arc::new(registry)
}

#[tokio::test]
async fn secrets_are_sealed_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let inner = Sqlite::open(&path).await.unwrap();
    let sealed = Sealed::new(inner.clone(), registry_with_secrets(), Arc::new(Backwards));
    let certificate =
        row("certificates", 1, json!({"name": "c", "cert": "public", "key": "secret"}));
    let plugin = row(
        "plugins",
        2,
        json!({"name": "caller", "config": {
            "url": "http://x", "password": "abc", "headers": {"a": "one", "b": "two"},
            "keys": ["k1", "k2"],
        }}),
    );
    sealed.commit(Revision(0), Revision(1), &[certificate.clone(), plugin.clone()]).await.unwrap();

    let at_rest = inner.load().await.unwrap().documents;
    let at_rest = |kind: &str| at_rest.iter().find(|(k, _)| k == kind).unwrap().1.clone();
    assert_eq!(at_rest("certificates")["cert"], "public");
    assert_eq!(at_rest("certificates")["key"], json!({"$sealed": "terces"}));
    let config = &at_rest("plugins")["config"];
    assert_eq!(config["url"], "http://x");
    assert_eq!(config["password"], json!({"$sealed": "cba"}));
    assert_eq!(config["headers"], json!({"a": {"$sealed": "eno"}, "b": {"$sealed": "owt"}}));
    assert_eq!(config["keys"], json!([{"$sealed": "1k"}, {"$sealed": "2k"}]));

    let opened = sealed.load().await.unwrap().documents;
    for row in [certificate, plugin] {
        let opened = opened.iter().find(|(kind, _)| kind == row.kind).unwrap();
        let written: Document = serde_json::from_str(&row.text.unwrap()).unwrap();
        assert_eq!(opened.1, written);
    }

    let odd = row("certificates", 1, json!({"name": "c", "cert": "", "key": "!"}));
    sealed.commit(Revision(1), Revision(2), &[odd]).await.unwrap();
    let why = sealed.load().await.unwrap_err();
    assert!(why.to_string().contains("a secret cannot be decrypted: wrong key"), "{why}");
}
