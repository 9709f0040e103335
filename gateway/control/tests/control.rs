//! The write path: concurrent writers, refusals, failing stores, two nodes.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gateway_control::store::memory::Memory;
use gateway_control::store::sqlite::Sqlite;
use gateway_control::{Control, Loaded, Row, StartError, Store, StoreError};
use gateway_model::entities::{self, Route, Service};
use gateway_model::ports::{DataPlane, Publish};
use gateway_model::{
    Catalog, Change, Clock, Condition, Document, Key, Registry, Rejection, Revision, Violations,
    Write,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

fn document(value: Value) -> Document {
    value.as_object().unwrap().clone()
}

fn insert(kind: &'static str, value: Value) -> Change {
    Change::Insert { kind, document: document(value) }
}

fn service(name: &str) -> Vec<Change> {
    vec![insert("services", json!({"name": name, "host": "up.test"}))]
}

fn named(name: &str) -> Key {
    Key::Unique("name", name.to_owned())
}

/// A memory store that counts, and fails or waits when told to.
#[derive(Default)]
struct Watched {
    inner: Memory,
    commits: AtomicUsize,
    fail: AtomicBool,
    gate: Option<tokio::sync::Semaphore>,
}

#[async_trait]
impl Store for Watched {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load().await
    }

    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        if self.fail.load(Relaxed) {
            let cause = std::io::Error::other("no space left").into();
            return Err(StoreError::Unavailable { doing: "writing", place: "here".into(), cause });
        }
        self.commits.fetch_add(1, Relaxed);
        self.inner.commit(base, next, rows).await
    }
}

/// A data plane that refuses services on host `bad.test`, panics on `panic.test`, and remembers
/// what it was given.
#[derive(Default)]
struct Plane {
    served: Arc<Mutex<Vec<u64>>>,
    prepared: AtomicUsize,
}

struct Next(Arc<Mutex<Vec<u64>>>, u64);

impl Publish for Next {
    fn publish(self: Box<Self>) {
        self.0.lock().unwrap().push(self.1);
    }
}

impl DataPlane for Plane {
    fn prepare(&self, next: &Arc<Catalog>, _: &[Write]) -> Result<Box<dyn Publish>, Rejection> {
        self.prepared.fetch_add(1, Relaxed);
        if next.all::<Service>().any(|service| service.host == "bad.test") {
            return Err(Rejection::Invalid(Violations::one("host", "cannot be served")));
        }
        assert!(!next.all::<Service>().any(|service| service.host == "panic.test"), "asked to");
        Ok(Box::new(Next(Arc::clone(&self.served), next.revision().0)))
    }
}

async fn start(store: &Arc<impl Store>, plane: &Arc<Plane>) -> Control {
    try_start(store, plane).await.unwrap()
}

async fn try_start(store: &Arc<impl Store>, plane: &Arc<Plane>) -> Result<Control, StartError> {
    let registry = Arc::new(Registry::new(entities::ALL));
    let store = Arc::clone(store) as Arc<dyn Store>;
    let plane = Arc::clone(plane) as Arc<dyn DataPlane>;
    Control::start(registry, store, vec![plane], Clock::fixed(1000)).await
}

async fn stored_names(store: &dyn Store) -> Vec<String> {
    let documents = store.load().await.unwrap().documents;
    let mut names: Vec<String> = documents
        .iter()
        .filter_map(|(_, document)| document["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_applied_is_stored_served_and_told() {
    let (store, plane) = (Arc::new(Watched::default()), Arc::new(Plane::default()));
    let control = start(&store, &plane).await;
    let mut feed = control.feed();
    let applied = control
        .apply(vec![
            insert("services", json!({"name": "s", "host": "up.test"})),
            insert("routes", json!({"name": "r", "paths": ["/r"], "service": {"name": "s"}})),
            Change::Delete { kind: "consumers", key: Key::Unique("username", "nobody".into()) },
        ])
        .await
        .unwrap();
    assert_eq!(applied.catalog.revision(), Revision(1));
    assert_eq!(applied.writes.len(), 2);
    let kinds: Vec<_> =
        applied.entities.iter().map(|e| e.as_ref().map(|e| e.kind().kind)).collect();
    assert_eq!(kinds, [Some("services"), Some("routes"), None]);
    assert_eq!(control.catalog().all::<Route>().count(), 1);
    assert_eq!(*plane.served.lock().unwrap(), [0, 1]);
    assert_eq!(stored_names(&*store).await, ["r", "s"]);
    let committed = feed.recv().await.unwrap();
    assert_eq!((committed.revision, committed.writes.len()), (Revision(1), 2));

    let unchanged = control
        .apply(vec![
            Change::Require(Condition::new(|_| Ok(()))),
            Change::Delete { kind: "services", key: named("none") },
        ])
        .await
        .unwrap();
    assert!(unchanged.writes.is_empty());
    assert_eq!(unchanged.catalog.revision(), Revision(1), "nothing changed, nothing committed");
    assert_eq!(store.commits.load(Relaxed), 1);
}

#[tokio::test]
async fn concurrent_writers_share_commits() {
    const WRITERS: usize = 200;
    let gate = Some(tokio::sync::Semaphore::new(0));
    let store = Arc::new(Watched { gate, ..Watched::default() });
    let plane = Arc::new(Plane::default());
    let control = start(&store, &plane).await;

    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let control = control.clone();
        // Every tenth repeats its neighbour's name.
        let name = format!("s{}", if n % 10 == 9 { n - 1 } else { n });
        writers.spawn(async move { (name.clone(), control.apply(service(&name)).await) });
    }
    // The first commit is held up until everybody had the time to queue.
    tokio::task::yield_now().await;
    store.gate.as_ref().unwrap().add_permits(WRITERS);

    let mut acknowledged = Vec::new();
    let mut refused = 0;
    while let Some(outcome) = timeout(DEADLINE, writers.join_next()).await.unwrap() {
        match outcome.unwrap() {
            (name, Ok(applied)) => {
                assert!(applied.catalog.find("services", &named(&name)).is_some());
                acknowledged.push(name);
            }
            (_, Err(Rejection::Unique { .. })) => refused += 1,
            (name, Err(why)) => panic!("{name}: {why}"),
        }
    }
    acknowledged.sort();
    assert_eq!((acknowledged.len(), refused), (WRITERS * 9 / 10, WRITERS / 10));
    assert_eq!(stored_names(&*store).await, acknowledged, "each acknowledged write is stored");
    let commits = store.commits.load(Relaxed);
    assert!(commits <= 10, "{WRITERS} writers took {commits} commits");
}

#[tokio::test]
async fn only_the_guilty_is_refused() {
    let gate = Some(tokio::sync::Semaphore::new(0));
    let store = Arc::new(Watched { gate, ..Watched::default() });
    let plane = Arc::new(Plane::default());
    let control = start(&store, &plane).await;
    let mut writers = JoinSet::new();
    for n in 0..40 {
        let control = control.clone();
        let host = match n {
            17 => "bad.test",
            23 => "panic.test",
            _ => "up.test",
        };
        let change = insert("services", json!({"name": format!("s{n}"), "host": host}));
        writers.spawn(async move { (n, control.apply(vec![change]).await.map(|_| ())) });
    }
    tokio::task::yield_now().await;
    store.gate.as_ref().unwrap().add_permits(100);
    while let Some(outcome) = timeout(DEADLINE, writers.join_next()).await.unwrap() {
        match outcome.unwrap() {
            (17, outcome) => assert!(matches!(outcome, Err(Rejection::Invalid(_)))),
            (23, outcome) => assert!(matches!(outcome, Err(Rejection::Store(_)))),
            (n, outcome) => assert_eq!(outcome, Ok(()), "writer {n}"),
        }
    }
    assert_eq!(stored_names(&*store).await.len(), 38);
    let commits = store.commits.load(Relaxed);
    assert!(commits < 20, "halving keeps most together: {commits} commits");
}

#[tokio::test]
async fn what_cannot_be_served_is_not_stored() {
    let (store, plane) = (Arc::new(Watched::default()), Arc::new(Plane::default()));
    let control = start(&store, &plane).await;
    let bad = vec![insert("services", json!({"name": "bad", "host": "bad.test"}))];
    assert!(matches!(control.apply(bad).await, Err(Rejection::Invalid(_))));
    assert_eq!(store.commits.load(Relaxed), 0);
    assert_eq!(control.catalog().revision(), Revision(0));
    control.apply(service("good")).await.unwrap();
    assert_eq!(stored_names(&*store).await, ["good"]);
}

#[tokio::test]
async fn what_is_not_stored_is_not_served() {
    let (store, plane) = (Arc::new(Watched::default()), Arc::new(Plane::default()));
    let control = start(&store, &plane).await;
    let mut feed = control.feed();
    store.fail.store(true, Relaxed);
    let why = control.apply(service("lost")).await.unwrap_err();
    assert_eq!(why, Rejection::Store("writing in here: no space left".into()));
    assert!(control.catalog().all::<Service>().next().is_none());
    assert_eq!(*plane.served.lock().unwrap(), [0]);
    assert!(feed.try_recv().is_err());

    store.fail.store(false, Relaxed);
    control.apply(service("kept")).await.unwrap();
    assert_eq!(stored_names(&*store).await, ["kept"]);
}

#[tokio::test]
async fn two_nodes_lose_nothing() {
    let store = Arc::new(Memory::new());
    let (plane_a, plane_b) = (Arc::new(Plane::default()), Arc::new(Plane::default()));
    let a = start(&store, &plane_a).await;
    let b = start(&store, &plane_b).await;
    let mut writers = JoinSet::new();
    for n in 0..60 {
        let control = if n % 2 == 0 { a.clone() } else { b.clone() };
        writers.spawn(async move { control.apply(service(&format!("s{n}"))).await.map(|_| ()) });
    }
    while let Some(outcome) = timeout(DEADLINE, writers.join_next()).await.unwrap() {
        outcome.unwrap().unwrap();
    }
    assert_eq!(stored_names(&*store).await.len(), 60);

    // Without a write of its own, each follows the other.
    let (mut own, mut feed) = (a.feed(), b.feed());
    a.apply(vec![Change::Delete { kind: "services", key: named("s0") }]).await.unwrap();
    // It may have taken over others before.
    while !timeout(DEADLINE, own.recv()).await.expect("what it wrote").unwrap().ours {}
    // It may not have heard of any of the other's before.
    let followed = timeout(DEADLINE, async {
        while b.catalog().find("services", &named("s0")).is_some()
            || b.catalog().all::<Service>().count() < 59
        {
            assert!(!feed.recv().await.unwrap().ours, "it took it over");
        }
        b.catalog().all::<Service>().count()
    });
    assert_eq!(followed.await.unwrap(), 59);
}

/// A store that another node writes to whenever this one took its time over several entities.
#[derive(Default)]
struct Busy(Watched);

#[async_trait]
impl Store for Busy {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.0.load().await
    }

    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        if rows.len() > 1 {
            self.0.inner.commit(base, next, &[]).await?;
        }
        self.0.commit(base, next, rows).await
    }
}

#[tokio::test]
async fn a_batch_that_keeps_losing_is_halved() {
    let gate = Some(tokio::sync::Semaphore::new(0));
    let store = Arc::new(Busy(Watched { gate, ..Watched::default() }));
    let control = start(&store, &Arc::new(Plane::default())).await;
    let mut writers = JoinSet::new();
    for n in 0..40 {
        let control = control.clone();
        writers.spawn(async move { control.apply(service(&format!("s{n}"))).await.map(|_| ()) });
    }
    tokio::task::yield_now().await;
    store.0.gate.as_ref().unwrap().add_permits(10_000);
    while let Some(outcome) = timeout(DEADLINE, writers.join_next()).await.unwrap() {
        outcome.unwrap().unwrap();
    }
    assert_eq!(stored_names(&*store).await.len(), 40);
}

#[tokio::test]
async fn closing_answers_what_was_queued() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("gateway.db")).await.unwrap());
    let plane = Arc::new(Plane::default());
    let control = start(&store, &plane).await;
    let mut writers = JoinSet::new();
    for n in 0..50 {
        let control = control.clone();
        writers.spawn(async move { control.apply(service(&format!("s{n}"))).await.is_ok() });
    }
    tokio::task::yield_now().await;
    timeout(DEADLINE, control.close()).await.unwrap();
    let mut acknowledged = 0;
    while let Some(stored) = timeout(DEADLINE, writers.join_next()).await.unwrap() {
        acknowledged += usize::from(stored.unwrap());
    }
    assert_eq!(stored_names(&*store).await.len(), acknowledged);
    let after = control.apply(service("late")).await.unwrap_err();
    assert_eq!(after, Rejection::Store("the gateway is shutting down".into()));

    let again = start(&store, &plane).await;
    assert_eq!(again.catalog().all::<Service>().count(), acknowledged);
}

#[tokio::test]
async fn nothing_starts_on_what_cannot_be_served() {
    let store = Arc::new(Memory::new());
    let stored = document(json!({"id": "11111111-1111-4111-8111-111111111111", "host": "bad.test",
        "created_at": 1, "updated_at": 1}));
    let id = gateway_model::Id::parse("11111111-1111-4111-8111-111111111111").unwrap();
    let row = Row::new("services", id, Some(&stored));
    store.commit(Revision(0), Revision(1), &[row]).await.unwrap();
    let why = try_start(&store, &Arc::new(Plane::default())).await.unwrap_err();
    assert!(matches!(why, StartError::Prepare(_)), "{why:?}");
}

#[tokio::test]
async fn commits_are_counted() {
    let (store, plane) = (Arc::new(Watched::default()), Arc::new(Plane::default()));
    let control = start(&store, &plane).await;
    let metrics = prometheus::Registry::new();
    control.register_metrics(&metrics).unwrap();
    control.apply(service("one")).await.unwrap();
    store.fail.store(true, Relaxed);
    control.apply(service("two")).await.unwrap_err();
    let text = prometheus::TextEncoder::new().encode_to_string(&metrics.gather()).unwrap();
    for line in [
        "gateway_config_revision 1",
        "gateway_config_commits_total{result=\"committed\"} 1",
        "gateway_config_commits_total{result=\"failed\"} 1",
        "gateway_config_commit_requests_count 1",
        "gateway_config_compile_seconds_count 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}
