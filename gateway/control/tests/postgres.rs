//! What is special to PostgreSQL: nodes that share it, a server that goes away, TLS, migrations.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_control::store::postgres::migrations::{self, Status};
use gateway_control::store::postgres::{Options, Postgres};
use gateway_control::{
    Control, Delta, News, Peers as _, Row, SealError, Sealed, Sealer, Store, StoreError,
};
use gateway_model::entities::{self, Service};
use gateway_model::{Change, Clock, Document, Id, Key, Registry, Rejection, Revision};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

use server::Server;

const DEADLINE: Duration = Duration::from_secs(20);

async fn node(options: Options) -> Control {
    let store = Arc::new(Postgres::open(options).await.unwrap());
    let registry = Arc::new(Registry::new(entities::ALL));
    Control::start(registry, store, Vec::new(), Clock::fixed(1000)).await.unwrap()
}

fn service(name: &str) -> Vec<Change> {
    let document = json!({"name": name, "host": "up.test"}).as_object().unwrap().clone();
    vec![Change::Insert { kind: "services", document }]
}

fn named(name: &str) -> Key {
    Key::Unique("name", name.to_owned())
}

/// Waits until a node serves a service, woken by what it publishes.
async fn served(node: &Control, name: &str) {
    let mut feed = node.feed();
    while node.catalog().find("services", &named(name)).is_none() {
        feed.recv().await.unwrap();
    }
}

fn row(n: u32) -> Row<'static> {
    let mut bytes = [0x11; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    let id = Id::from_bytes(bytes);
    let document: Document = json!({"id": id, "name": n.to_string(), "tags": ["x".repeat(400)]})
        .as_object()
        .unwrap()
        .clone();
    Row::new("services", id, Some(&document))
}

/// A connection beside the gateway's.
async fn connect(options: &Options) -> PgConnection {
    sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(&options.host)
        .port(options.port)
        .username(&options.user)
        .password(options.password.as_ref().unwrap().expose())
        .database(&options.database)
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_write_on_one_node_is_served_by_the_other() {
    let Some(server) = Server::start().await else { return };
    migrations::bootstrap(&server.options()).await.unwrap();
    let (a, b) = (node(server.options()).await, node(server.options()).await);
    a.apply(service("first")).await.unwrap();
    timeout(DEADLINE, served(&b, "first")).await.unwrap();
    let before = b.catalog();
    let before = before.find("services", &named("first")).unwrap();

    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let (from, to) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let name = format!("s{n}");
        from.apply(service(&name)).await.unwrap();
        let written = Instant::now();
        timeout(DEADLINE, served(to, &name)).await.unwrap();
        slowest = slowest.max(written.elapsed());
    }
    println!("served by the other node within {slowest:?}");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");

    let after = b.catalog();
    assert!(
        Arc::ptr_eq(before, after.find("services", &named("first")).unwrap()),
        "what did not change stays the same object"
    );
    a.apply(vec![Change::Delete { kind: "services", key: named("first") }]).await.unwrap();
    a.apply(service("last")).await.unwrap();
    timeout(DEADLINE, served(&b, "last")).await.unwrap();
    assert!(b.catalog().find("services", &named("first")).is_none(), "deletes arrive too");
}

#[tokio::test]
async fn both_nodes_writing_at_once_lose_nothing() {
    const WRITES: usize = 120;
    let Some(server) = Server::start().await else { return };
    migrations::bootstrap(&server.options()).await.unwrap();
    let nodes = [node(server.options()).await, node(server.options()).await];
    let mut writers = JoinSet::new();
    for n in 0..WRITES {
        let node = nodes[n % 2].clone();
        // Four in a row on each, so that there are many commits to collide.
        writers.spawn(async move {
            for part in 0..4 {
                node.apply(service(&format!("s{n}-{part}"))).await.map(|_| ())?;
            }
            Ok::<_, Rejection>(())
        });
    }
    while let Some(outcome) = timeout(DEADLINE, writers.join_next()).await.unwrap() {
        outcome.unwrap().unwrap();
    }
    for node in &nodes {
        let all = async {
            let mut feed = node.feed();
            while node.catalog().all::<Service>().count() < WRITES * 4 {
                feed.recv().await.unwrap();
            }
        };
        timeout(DEADLINE, all).await.unwrap();
    }
    let store = Postgres::open(server.options()).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.documents.len(), WRITES * 4);
    assert_eq!(nodes[0].catalog().revision(), loaded.revision);
    assert_eq!(nodes[1].catalog().revision(), loaded.revision);
}

#[tokio::test]
async fn nodes_outlive_their_server() {
    let Some(mut server) = Server::start().await else { return };
    migrations::bootstrap(&server.options()).await.unwrap();
    let (a, b) = (node(server.options()).await, node(server.options()).await);
    a.apply(service("before")).await.unwrap();
    timeout(DEADLINE, served(&b, "before")).await.unwrap();

    server.kill();
    for (node, name) in [(&a, "lost-on-a"), (&b, "lost-on-b"), (&a, "lost-again")] {
        let refused = timeout(DEADLINE, node.apply(service(name))).await.unwrap().unwrap_err();
        let Rejection::Store(why) = &refused else { panic!("{refused:?}") };
        assert!(why.contains("opening a session in database postgres at 127.0.0.1:"), "{why}");
        assert!(why.contains("refused"), "{why}");
        assert_eq!(why.matches("refused").count(), 1, "said once: {why}");
        assert!(node.catalog().find("services", &named("before")).is_some(), "reads go on");
        assert!(node.catalog().find("services", &named(name)).is_none());
    }

    server.restart().await;
    // Nobody is told: the next write is stored, and the other node hears of it.
    a.apply(service("after")).await.unwrap();
    timeout(DEADLINE, served(&b, "after")).await.unwrap();
    b.apply(service("back")).await.unwrap();
    let written = Instant::now();
    timeout(DEADLINE, served(&a, "back")).await.unwrap();
    println!("served again within {:?}", written.elapsed());
}

#[tokio::test]
async fn a_lost_notification_is_made_up_for() {
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    let options = Options { poll: Duration::from_millis(100), ..server.options() };
    let looking = Postgres::open(options.clone()).await.unwrap();
    store.commit(Revision(0), Revision(1), &[row(1)]).await.unwrap();
    timeout(DEADLINE, looking.moved(Revision(0))).await.unwrap();

    let mut beside = connect(&options).await;
    sqlx::raw_sql("UPDATE revision SET number = 2").execute(&mut beside).await.unwrap();
    timeout(DEADLINE, looking.moved(Revision(1))).await.unwrap();
    assert_eq!(looking.load_since(Revision(1)).await.unwrap().revision(), Revision(2));

    // An operator restores an older copy: that is followed, too, and once.
    sqlx::raw_sql("UPDATE revision SET number = 1").execute(&mut beside).await.unwrap();
    timeout(DEADLINE, looking.moved(Revision(2))).await.unwrap();
    let delta = looking.load_since(Revision(2)).await.unwrap();
    assert!(matches!(delta, Delta::Everything(_)), "{delta:?}");
    assert_eq!(delta.revision(), Revision(1));
    let quiet = timeout(Duration::from_millis(300), looking.moved(Revision(1))).await;
    assert!(quiet.is_err(), "nothing moved");
}

#[tokio::test]
async fn a_stuck_server_is_not_waited_for() {
    let Some(server) = Server::start().await else { return };
    migrations::bootstrap(&server.options()).await.unwrap();
    let options = Options { timeout: Duration::from_millis(300), ..server.options() };
    let store = Postgres::open(options.clone()).await.unwrap();
    let mut beside = connect(&options).await;
    let mut holding = beside.begin().await.unwrap();
    sqlx::raw_sql("SELECT number FROM revision FOR UPDATE").execute(&mut *holding).await.unwrap();

    let why = timeout(DEADLINE, store.commit(Revision(0), Revision(1), &[row(1)])).await.unwrap();
    let why = why.unwrap_err().in_full();
    assert!(
        why.ends_with("canceling statement due to statement timeout (SQLSTATE 57014)"),
        "{why}"
    );
    holding.rollback().await.unwrap();
    store.commit(Revision(0), Revision(1), &[row(1)]).await.unwrap();

    // A server that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let why = Postgres::open(Options { port, ..options }).await.unwrap_err().in_full();
    assert!(why.ends_with("no answer within 300 ms"), "{why}");
}

#[tokio::test]
async fn many_rows_take_few_statements() {
    const ROWS: u32 = 10_000;
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    let mut beside = connect(&server.options()).await;
    let rows: Vec<Row<'_>> = (0..ROWS).map(row).collect();

    let started = Instant::now();
    store.commit(Revision(0), Revision(1), &rows).await.unwrap();
    let written = started.elapsed();
    store.commit(Revision(1), Revision(2), &rows[..1000]).await.unwrap();
    let rewritten = started.elapsed() - written;
    let started = Instant::now();
    assert_eq!(store.load().await.unwrap().documents.len(), rows.len());
    println!("{ROWS} rows: written in {written:?}, loaded in {:?}", started.elapsed());
    println!("1000 rows replaced in {rewritten:?}");

    // All rows of a commit were written by one transaction.
    let transactions: Vec<i64> = sqlx::query_scalar(
        "SELECT count(*) FROM documents GROUP BY xmin::text, revision ORDER BY revision",
    )
    .fetch_all(&mut beside)
    .await
    .unwrap();
    assert_eq!(transactions, [i64::from(ROWS) - 1000, 1000]);

    let started = Instant::now();
    for revision in 2..102 {
        store.commit(Revision(revision), Revision(revision + 1), &rows[..1]).await.unwrap();
    }
    println!("one row, among them: {:?} a commit", started.elapsed() / 100);
    let changed = store.load_since(Revision(50)).await.unwrap();
    assert!(matches!(changed, Delta::Changes { rows, .. } if rows.len() == 1));
}

/// Shifts each letter. Not encryption, but different from the plain text.
struct Shifted;

impl Sealer for Shifted {
    fn seal(&self, plain: &str) -> Result<String, SealError> {
        Ok(plain.bytes().map(|byte| char::from(byte + 1)).collect())
    }

    fn open(&self, sealed: &str) -> Result<String, SealError> {
        Ok(sealed.bytes().map(|byte| char::from(byte - 1)).collect())
    }
}

#[tokio::test]
async fn secrets_told_to_other_nodes_are_opened_there() {
    let Some(server) = Server::start().await else { return };
    let registry = Arc::new(Registry::new(entities::ALL));
    let sealed = Sealed::new(server.store().await, registry, Arc::new(Shifted));
    let id = row(1).id;
    let document: Value = json!({"id": id, "key": "abc"});
    let certificate = Row::new("certificates", id, document.as_object());
    sealed.commit(Revision(0), Revision(1), &[certificate]).await.unwrap();
    let Delta::Changes { rows, .. } = sealed.load_since(Revision(0)).await.unwrap() else {
        panic!("the store tells changes")
    };
    assert_eq!(rows[0].2.as_ref().unwrap()["key"], "abc");
    let mut beside = connect(&server.options()).await;
    let at_rest: String = sqlx::query_scalar("SELECT body->'key'->>'$sealed' FROM documents")
        .fetch_one(&mut beside)
        .await
        .unwrap();
    assert_eq!(at_rest, "bcd");
}

#[tokio::test]
async fn old_tombstones_go_and_who_needed_them_loads_everything() {
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    let gone = |n| Row { text: None, ..row(n) };
    store.commit(Revision(0), Revision(1), &[row(1), row(2), row(3)]).await.unwrap();
    store.commit(Revision(1), Revision(2), &[gone(1)]).await.unwrap();
    store.commit(Revision(2), Revision(11_999), &[gone(2)]).await.unwrap();
    let mut beside = connect(&server.options()).await;
    let mut tombstones = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM documents WHERE body IS NULL")
            .fetch_one(&mut beside)
            .await
            .unwrap()
    };
    assert_eq!(tombstones().await, 2);
    store.commit(Revision(11_999), Revision(12_000), &[]).await.unwrap();
    assert_eq!(tombstones().await, 1);

    let told = store.load_since(Revision(2000)).await.unwrap();
    assert!(matches!(&told, Delta::Changes { rows, .. } if rows.len() == 1), "{told:?}");
    for unknown in [0, 1999, 12_001] {
        let told = store.load_since(Revision(unknown)).await.unwrap();
        assert!(matches!(&told, Delta::Everything(all) if all.documents.len() == 1), "{told:?}");
    }
}

#[tokio::test]
async fn connections_are_made_as_configured() {
    let Some(server) = Server::start().await else { return };
    let plain = server.options();
    migrations::bootstrap(&plain).await.unwrap();
    let tls = Options { ssl: true, ..plain.clone() };
    let verified = Options { ssl_verify: true, ..tls.clone() };
    let trusted = Options { ssl_trusted: Some(server.certificate()), ..verified.clone() };
    let check = async |options: Options, expected: Result<(), &str>| match (
        Postgres::open(options.clone()).await,
        expected,
    ) {
        (Ok(store), Ok(())) => drop(store.load().await.unwrap()),
        (Err(why), Err(part)) => {
            let why = why.in_full();
            assert!(why.contains(part), "{part}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
        (outcome, _) => panic!("{options:?}: {outcome:?}"),
    };
    check(plain.clone(), Ok(())).await;
    check(Options { host: server.socket(), ..plain.clone() }, Ok(())).await;
    check(tls, Ok(())).await;
    // The certificate is for the name, not for the address.
    let by_name = |options: Options| Options { host: "localhost".into(), ..options };
    check(by_name(trusted.clone()), Ok(())).await;
    check(trusted, Err("not valid for name")).await;
    check(by_name(verified), Err("invalid peer certificate")).await;
    let wrong = Some("wrong".to_owned().into());
    check(Options { password: wrong, ..plain.clone() }, Err("password authentication failed"))
        .await;
    let missing = "none".to_owned();
    check(Options { database: missing, ..plain.clone() }, Err("\"none\" does not exist")).await;
    assert!(!format!("{plain:?}").contains("secret"));
}

#[tokio::test]
async fn the_schema_is_the_operators() {
    let Some(server) = Server::start().await else { return };
    let options = server.options();
    assert_eq!(migrations::status(&options).await.unwrap(), Status::Empty);
    let listed = migrations::list(&options).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].name.as_str(), listed[0].applied_at), ("documents", None));
    let older = |outcome: Result<(), StoreError>| {
        assert!(
            matches!(outcome, Err(StoreError::Older { found: 0, known: 2, .. })),
            "{outcome:?}"
        );
    };
    older(Postgres::open(options.clone()).await.map(drop));
    older(migrations::up(&options).await.map(drop));
    assert!(!migrations::reset(&options).await.unwrap());

    // Two nodes of one deployment bootstrap at the same time: one does it.
    let both = tokio::join!(migrations::bootstrap(&options), migrations::bootstrap(&options));
    assert_eq!(both.0.unwrap().len() + both.1.unwrap().len(), 2);
    assert_eq!(migrations::status(&options).await.unwrap(), Status::Current);
    assert_eq!(migrations::up(&options).await.unwrap(), []);
    assert!(migrations::list(&options).await.unwrap()[0].applied_at.is_some());

    // Another schema of the same database is another store, whatever its name.
    let odd = Options { schema: Some("Odd \"name\", x".into()), ..options.clone() };
    assert_eq!(migrations::status(&odd).await.unwrap(), Status::Empty);
    assert_eq!(migrations::bootstrap(&odd).await.unwrap().len(), 2);
    let (plain, odd_store) = (
        Postgres::open(options.clone()).await.unwrap(),
        Postgres::open(odd.clone()).await.unwrap(),
    );
    odd_store.commit(Revision(0), Revision(1), &[row(1)]).await.unwrap();
    let second = Postgres::open(odd.clone()).await.unwrap();
    timeout(DEADLINE, second.moved(Revision(0))).await.unwrap();
    assert_eq!(plain.load().await.unwrap().revision, Revision(0));

    // A reset takes the gateway's tables and nothing else.
    let mut beside = connect(&options).await;
    sqlx::raw_sql("CREATE TABLE theirs (); INSERT INTO gateway_migrations VALUES (77, 'x')")
        .execute(&mut beside)
        .await
        .unwrap();
    let newer = Postgres::open(options.clone()).await.unwrap_err();
    assert!(matches!(newer, StoreError::Newer { found: 77, known: 2, .. }), "{newer:?}");
    assert!(migrations::reset(&options).await.unwrap());
    let tables: Vec<Value> = sqlx::query_scalar::<_, String>(
        "SELECT schemaname || '.' || tablename FROM pg_tables \
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    )
    .fetch_all(&mut beside)
    .await
    .unwrap()
    .into_iter()
    .map(Value::from)
    .collect();
    assert_eq!(tables.len(), 5, "{tables:?}");
    assert!(tables.contains(&json!("public.theirs")), "{tables:?}");
    assert_eq!(odd_store.load().await.unwrap().documents.len(), 1);

    // A node that runs meanwhile needs no restart.
    let why = plain.load().await.unwrap_err().in_full();
    assert!(why.contains("\"revision\" does not exist"), "{why}");
    migrations::bootstrap(&options).await.unwrap();
    assert_eq!(plain.load().await.unwrap().revision, Revision(0));
    plain.commit(Revision(0), Revision(1), &[row(1)]).await.unwrap();
    assert!(migrations::reset(&options).await.unwrap());

    // Tables of others with our names are neither taken over nor half replaced.
    sqlx::raw_sql("CREATE TABLE revision ()").execute(&mut beside).await.unwrap();
    let why = migrations::bootstrap(&options).await.unwrap_err().in_full();
    assert!(why.contains("\"revision\" already exists"), "{why}");
    assert_eq!(migrations::status(&options).await.unwrap(), Status::Empty);
}

/// What one node tells, the others hear and it does not; after a pause they are told that they may
/// have missed something.
#[tokio::test]
async fn words_to_other_nodes() {
    let Some(mut server) = Server::start().await else { return };
    let (a, b) = (server.store().await, Postgres::open(server.options()).await.unwrap());
    let (mut own, mut heard) = (a.heard(), b.heard());
    let deadline = Duration::from_secs(60);
    let hear = async |heard: &mut Receiver<News>, wanted: &News| {
        let wait = async { while heard.recv().await.unwrap() != *wanted {} };
        tokio::time::timeout(deadline, wait).await.unwrap();
    };
    // It listens some time after it was opened.
    let ready = || [String::from("ready")];
    let begin = async |a: &Postgres, heard: &mut Receiver<News>| {
        let repeat = async {
            loop {
                let _ = a.tell(&ready()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let line = News::Line("ready".into());
        tokio::select! {
            () = repeat => {}
            () = hear(heard, &line) => {}
        }
    };
    begin(&a, &mut heard).await;
    let lines: Vec<String> = (0..1000).map(|n| format!("{n} {}", "x".repeat(100))).collect();
    a.tell(&lines).await.unwrap();
    let mut told = Vec::new();
    while told.len() < lines.len() {
        match tokio::time::timeout(deadline, heard.recv()).await.unwrap().unwrap() {
            News::Line(line) if &*line == "ready" => {}
            News::Line(line) => told.push(line.to_string()),
            News::Missed => panic!("nothing was missed"),
        }
    }
    assert_eq!(told, lines, "in order: they came in one transaction");
    while let Ok(news) = own.try_recv() {
        assert_eq!(news, News::Missed, "its own words");
    }

    server.kill();
    server.restart().await;
    hear(&mut heard, &News::Missed).await;
    begin(&a, &mut heard).await;
}
