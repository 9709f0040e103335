//! Two nodes on one PostgreSQL, with TLS to it.

#[path = "../../../control/tests/server/mod.rs"]
pub(crate) mod server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::Server;

use crate::cli::Background;
use crate::harness::{Answered as _, App, Gateway, Options, Upstream, eventually, plain};

/// A write on one node is served by the other within this time.
const PROMPT: Duration = Duration::from_millis(500);

/// The settings of a node of this database. Nodes share the folder of their keys.
pub(crate) fn node(server: &Server, keys: &std::path::Path) -> Options {
    let given = server.options();
    Options::new()
        .set("database", "postgres")
        .set("pg_host", "localhost")
        .set("pg_port", given.port.to_string())
        .set("pg_user", given.user)
        .set("pg_password", given.password.unwrap().expose())
        .set("pg_database", given.database)
        .set("pg_ssl", "on")
        .set("pg_ssl_verify", "on")
        .set("lua_ssl_trusted_certificate", server.certificate().to_str().unwrap())
        .set("pg_timeout", "2000")
        .set("mep_key_dir", keys.to_str().unwrap())
}

pub(crate) struct Pair {
    pub(crate) nodes: [Gateway; 2],
    pub(crate) server: Server,
    _keys: tempfile::TempDir,
}

impl Pair {
    /// Two nodes; `None` where there is no PostgreSQL.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with more settings.
    pub(crate) async fn start_with(more: &[(&str, &str)]) -> Option<Self> {
        let server = Server::start().await?;
        let keys = tempfile::tempdir().unwrap();
        let node = || {
            let set = |options: Options, (key, value): &(&str, &str)| options.set(key, *value);
            more.iter().fold(node(&server, keys.path()), set)
        };
        let options = node();
        let (code, out, error) = options.run(&["migrations", "list"]).await;
        assert_eq!(code, Some(3), "{out} {error}");
        let (code, _, error) = options.run(&["start"]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains("Database needs bootstrapping"), "{error}");
        let (code, out, error) = options.run(&["migrations", "bootstrap"]).await;
        assert_eq!(code, Some(0), "{error}");
        assert!(
            out.starts_with("Bootstrapping database...")
                && out.ends_with("Database is up-to-date\n"),
            "{out}"
        );
        let again = options.run(&["migrations", "-q", "bootstrap"]).await;
        assert_eq!((again.0, &*again.1), (Some(0), ""), "idempotent, and quiet when asked");
        let first = options.start().await;
        let second = node().start().await;
        Some(Self { nodes: [first, second], server, _keys: keys })
    }
}

async fn post(node: &Gateway, path: &str, body: Value) -> (u16, Value) {
    let answer = plain().post(node.url("admin", path)).json(&body).answer().await;
    (answer.status, answer.json())
}

async fn made(node: &Gateway, path: &str, body: Value) {
    let (status, answer) = post(node, path, body).await;
    assert_eq!(status, 201, "{path}: {answer}");
}

/// The status a path gets at the proxy of a node.
async fn status(node: &Gateway, path: &str) -> u16 {
    plain().get(node.url("proxy", path)).answer().await.status
}

/// `start --run-migrations` brings a database up to date; an empty one has to be bootstrapped first.
#[tokio::test]
async fn a_start_can_migrate() {
    let Some(server) = Server::start().await else { return };
    let keys = tempfile::tempdir().unwrap();
    let options = node(&server, keys.path());
    let start = ["start", "--run-migrations"];
    for empty in [start.as_slice(), &["migrations", "up"]] {
        let (code, _, error) = options.run(empty).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("kong migrations bootstrap"), "{error}");
    }
    assert_eq!(options.run(&["migrations", "bootstrap"]).await.0, Some(0));
    let (code, out, error) = options.run(&start).await;
    assert_eq!(code, Some(0), "{error}");
    let _guard = Background::of(&options);
    assert!(out.ends_with("Kong started\n"), "{out}");
    assert_eq!(options.run(&["health"]).await.0, Some(0));
    assert_eq!(options.run(&["stop"]).await.0, Some(0));
}

#[tokio::test]
async fn two_nodes_are_one_gateway() {
    let Some(pair) = Pair::start().await else { return };
    let [a, b] = &pair.nodes;
    let upstream = Upstream::start().await;
    let service = json!({"name": "s", "url": format!("http://{}", upstream.addr())});
    made(a, "/services", service).await;

    // Served by the other node in time.
    for n in 0..5 {
        let route = json!({"paths": [format!("/p{n}")]});
        let (writer, reader) = if n % 2 == 0 { (a, b) } else { (b, a) };
        made(writer, "/services/s/routes", route).await;
        let written = Instant::now();
        while status(reader, &format!("/p{n}")).await != 200 {
            assert!(written.elapsed() < PROMPT, "not served after {:?}", written.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    // Both writing at once lose nothing, and unique values stay so.
    let write = async |node: &Gateway, from: &str| {
        let mut wins = 0;
        for n in 0..40 {
            let own = json!({"username": format!("{from}{n}")});
            made(node, "/consumers", own).await;
            let (status, answer) =
                post(node, "/consumers", json!({"username": format!("c{n}")})).await;
            assert!(status == 201 || status == 409, "{status} {answer}");
            wins += usize::from(status == 201);
        }
        wins
    };
    let (mine, yours) = tokio::join!(write(a, "a"), write(b, "b"));
    assert_eq!(mine + yours, 40, "every shared name has one owner");
    for node in [a, b] {
        eventually("both have everything", async || {
            let list = plain().get(node.url("admin", "/consumers?size=1000")).answer().await.json();
            let names = list["data"].as_array().unwrap();
            let ours = names.iter().filter(|row| row["username"] != "mepauth.jwt").count();
            (ours == 120).then_some(())
        })
        .await;
    }
}

/// A heartbeat at one node counts at the other, and silence is noticed once.
#[tokio::test]
async fn heartbeats_at_either_node() {
    // Three seconds of patience.
    let Some(pair) = Pair::start_with(&[("mep_liveness_interval", "2")]).await else { return };
    let [a, b] = &pair.nodes;
    let app = App::announced(a, &["beating"]).await;
    let token = app.token(a).await;
    let service = App::service("beating", "http://192.0.2.1/");
    let made = app.register(a, &token, &service).await.expect(201).json();
    let liveness = made["_links"]["self"]["liveness"].as_str().unwrap();
    let beat = async |node: &Gateway| {
        let put = plain().put(node.url("proxy", liveness)).bearer_auth(&token);
        put.json(&json!({"state": "ACTIVE"})).answer().await
    };
    let state = async |node: &Gateway| {
        let get = plain().get(node.url("proxy", liveness)).bearer_auth(&token);
        let shown = get.answer().await.expect(200).json();
        shown["state"].as_str().unwrap().to_owned()
    };
    let suspensions = async || {
        let mut sum = 0;
        for node in [a, b] {
            let metrics = plain().get(node.url("status", "/metrics")).answer().await;
            let text = metrics.text();
            let line = text.lines().find_map(|one| one.strip_prefix("mep_suspensions_total "));
            sum += line.unwrap().parse::<u64>().unwrap();
        }
        sum
    };
    // Longer than the patience at each: a node that knows only its own suspends.
    for node in [a, b] {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            // The other one may not know the service yet.
            eventually("a heartbeat is taken", async || {
                (beat(node).await.status == 204).then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    assert_eq!((state(a).await, state(b).await), ("ACTIVE".to_owned(), "ACTIVE".to_owned()));
    assert_eq!(suspensions().await, 0);

    for node in [a, b] {
        eventually("it is suspended", async || (state(node).await == "SUSPENDED").then_some(()))
            .await;
    }
    assert_eq!(suspensions().await, 1, "by one of them");
    // And comes back by the one that may not have suspended it.
    beat(a).await.expect(204);
    eventually("it is active", async || (state(b).await == "ACTIVE").then_some(())).await;
}

/// What plugins keep is there for both nodes, and what one forgets the other does.
#[tokio::test]
async fn plugins_of_two_nodes_share_what_they_keep() {
    let Some(pair) = Pair::start().await else { return };
    let [a, b] = &pair.nodes;
    let upstream = Upstream::start().await;
    made(a, "/services", json!({"name": "s", "url": upstream.url()})).await;
    made(a, "/consumers", json!({"username": "anyone"})).await;
    for (name, plugins) in [
        (
            "cached",
            vec![json!({"name": "proxy-cache", "config": {
                "strategy": "memory", "content_type": ["application/json"],
            }})],
        ),
        (
            "limited",
            vec![json!({"name": "rate-limiting", "config": {
                "year": 100, "policy": "cluster",
            }})],
        ),
        (
            "token",
            vec![json!({"name": "oauth2", "config": {
                "enable_client_credentials": true, "global_credentials": true,
            }})],
        ),
        (
            "login",
            vec![
                json!({"name": "session", "config": {"secret": "s", "storage": "kong"}}),
                json!({"name": "key-auth", "config": {"anonymous": "anyone"}}),
            ],
        ),
    ] {
        let route = json!({"name": name, "paths": [format!("/{name}")]});
        made(a, "/services/s/routes", route).await;
        for plugin in plugins {
            made(a, &format!("/routes/{name}/plugins"), plugin).await;
        }
    }
    made(a, "/consumers", json!({"username": "bob"})).await;
    made(a, "/consumers/bob/key-auth", json!({"key": "kk"})).await;
    let application =
        json!({"name": "app", "client_id": "cid", "redirect_uris": ["http://x.test"]});
    made(a, "/consumers/bob/oauth2", application).await;
    let get =
        async |node: &Gateway, path: &str| plain().get(node.url("proxy", path)).answer().await;
    let cached = async |node: &Gateway| {
        let answer = get(node, "/cached/x").await;
        answer.header("x-cache-status").map(str::to_owned)
    };
    for node in [a, b] {
        eventually("an answer kept", async || (cached(node).await? == "Hit").then_some(())).await;
    }
    plain().delete(a.url("admin", "/proxy-cache")).answer().await.expect(204);
    assert_eq!(cached(a).await.as_deref(), Some("Miss"));
    eventually("forgotten by the other", async || (cached(b).await? == "Miss").then_some(())).await;

    for _ in 0..95 {
        assert_eq!(get(a, "/limited").await.status, 200);
    }
    // Nodes tell each other of uses from time to time, not with each.
    let mut passed = 0;
    eventually("the limit, at the other", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = get(b, "/limited").await.status;
        passed += u32::from(status == 200);
        (status == 429).then_some(())
    })
    .await;
    assert!(passed < 95, "the other counted for itself");

    let token =
        json!({"credential": {"client_id": "cid"}, "access_token": "shared", "expires_in": 0});
    made(a, "/oauth2_tokens", token).await;
    eventually("the token, at the other", async || {
        let request = plain().get(b.url("proxy", "/token")).bearer_auth("shared");
        (request.answer().await.status == 200).then_some(())
    })
    .await;

    let first = get(a, "/login?apikey=kk").await.expect(200);
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    eventually("the session, at the other", async || {
        let request = plain().get(b.url("proxy", "/login")).header("Cookie", &cookie);
        let answer = request.answer().await.expect(200);
        answer.text().contains("bob").then_some(())
    })
    .await;

    let answer = json!({"key": "tok#http-01", "value": "tok.thumb"});
    made(a, "/acme_storage", answer).await;
    let config = json!({
        "account_email": "a@b.test", "api_uri": "http://127.0.0.1:1/", "domains": ["*.w.test"],
        "storage": "kong",
    });
    made(a, "/plugins", json!({"name": "acme", "config": config})).await;
    eventually("the challenge, at the other", async || {
        let request = plain().get(b.url("proxy", "/.well-known/acme-challenge/tok"));
        let answer = request.header("Host", "x.w.test").answer().await;
        (answer.text() == "tok.thumb\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn nodes_outlive_their_database() {
    let Some(mut pair) = Pair::start().await else { return };
    let [a, b] = &pair.nodes;
    let upstream = Upstream::start().await;
    let service = json!({"name": "s", "url": format!("http://{}", upstream.addr())});
    made(a, "/services", service).await;
    made(a, "/services/s/routes", json!({"paths": ["/r"]})).await;
    for node in [a, b] {
        eventually("it is served", async || (status(node, "/r").await == 200).then_some(())).await;
    }

    pair.server.kill();
    for node in [a, b] {
        let (code, body) = post(node, "/consumers", json!({"username": "late"})).await;
        assert_eq!(code, 503, "{body}");
        let told = body["message"].as_str().unwrap();
        assert!(told.starts_with("the store failed: ") && !told.contains("secret"), "{told}");
        assert_eq!(status(node, "/r").await, 200, "traffic goes on");
        plain().get(node.url("admin", "/services/s")).answer().await.expect(200);
    }

    pair.server.restart().await;
    eventually("writes are taken again", async || {
        let (code, _) = post(a, "/services/s/routes", json!({"paths": ["/again"]})).await;
        (code == 201).then_some(())
    })
    .await;
    eventually("and are served by the other", async || {
        (status(b, "/again").await == 200).then_some(())
    })
    .await;
    made(b, "/consumers", json!({"username": "late"})).await;
}

/// A certificate for another name is not believed.
#[tokio::test]
async fn the_database_must_show_its_certificate() {
    let Some(server) = Server::start().await else { return };
    let keys = tempfile::tempdir().unwrap();
    let options = node(&server, keys.path()).set("pg_host", "127.0.0.1");
    let (code, _, error) = options.run(&["migrations", "bootstrap"]).await;
    assert_eq!(code, Some(1));
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    let unverified = options.set("pg_ssl_verify", "off");
    let (code, _, error) = unverified.run(&["migrations", "bootstrap"]).await;
    assert_eq!(code, Some(0), "{error}");
    let (code, out, error) = unverified.run(&["migrations", "reset", "--yes"]).await;
    assert_eq!(
        (code, &*out),
        (Some(0), "Resetting database...\nDatabase successfully reset\n"),
        "{error}"
    );
    let nobody: PathBuf = keys.path().join("none.yml");
    let (code, _, error) = unverified.run(&["config", "db_import", nobody.to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("none.yml"), "{error}");
}
