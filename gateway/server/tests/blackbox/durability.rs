//! What was acknowledged is there after any end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::cluster::Pair;
use crate::harness::{Answered as _, App, Gateway, Options, Upstream, eventually, plain};

/// How often a gateway is killed. `KILL_CYCLES` asks for another number.
fn cycles(usual: usize) -> usize {
    let wanted = std::env::var("KILL_CYCLES").ok();
    wanted.map_or(usual, |text| text.parse().expect("KILL_CYCLES is a number"))
}

/// Kills the gateway in the middle of concurrent writes, again and again. Whatever was answered with
/// 201 is there afterwards, whatever was answered 204 is not, and the gateway starts every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_write_survives_kill_9() {
    // As large as a store becomes in so many cycles; more would test how long a start takes.
    const FOLDER: usize = 40;
    let cycles = cycles(20);
    let mut written = 0;
    for begin in (0..cycles).step_by(FOLDER) {
        let mut gateway = Gateway::start().await;
        let mut present = BTreeSet::new();
        for cycle in begin..cycles.min(begin + FOLDER) {
            written += killed_while_writing(&mut gateway, cycle, &mut present).await;
        }
        println!("{} cycles, {} services", cycles.min(begin + FOLDER), present.len());
    }
    assert!(written > cycles * 2, "only {written} writes were acknowledged");
}

/// The same with PostgreSQL, where another node goes on and has everything too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_write_survives_kill_9_with_postgresql() {
    let Some(mut pair) = Pair::start().await else { return };
    let cycles = cycles(5);
    let (mut present, mut written) = (BTreeSet::new(), 0);
    for cycle in 0..cycles {
        let [killed, other] = &mut pair.nodes;
        written += killed_while_writing(killed, cycle, &mut present).await;
        eventually("the other node has everything", async || {
            let found = services(other).await;
            present.iter().all(|name| found.contains_key(name)).then_some(())
        })
        .await;
        if present.len() > 1000 {
            for name in std::mem::take(&mut present) {
                let url = other.url("admin", &format!("/services/{name}"));
                plain().delete(url).answer().await.expect(204);
            }
            println!("{} cycles", cycle + 1);
        }
    }
    assert!(written > cycles, "only {written} writes were acknowledged");
}

/// One cycle: writes until the gateway is killed, and a start. `present` is what must be there. How
/// many writes were acknowledged.
async fn killed_while_writing(
    gateway: &mut Gateway,
    cycle: usize,
    present: &mut BTreeSet<String>,
) -> usize {
    const WRITERS: usize = 8;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let victim = present.iter().nth(writer * 7).cloned().filter(|_| cycle % 2 == 1);
            let base = gateway.url("admin", "/services");
            tokio::spawn(write_until_cut_off(base, format!("c{cycle}w{writer}"), victim))
        })
        .collect();
    // A different moment each time: the fsync, the compile and the answer all get their turn.
    let moment = 40 + 13 * (cycle as u64 % 20);
    tokio::time::sleep(Duration::from_millis(moment)).await;
    gateway.kill().await;
    let (mut written, mut absent) = (0, Vec::new());
    for writer in writers {
        let Writes { made, removed, unsure } = writer.await.unwrap();
        written += made.len() + removed.len();
        present.extend(made);
        present.retain(|name| !removed.contains(name) && !unsure.contains(name));
        absent.extend(removed);
    }
    gateway.start_again().await;
    let found = services(gateway).await;
    let lost: Vec<_> = present.iter().filter(|name| !found.contains_key(*name)).collect();
    assert!(lost.is_empty(), "cycle {cycle}: acknowledged, then lost: {lost:?}");
    let back: Vec<_> = absent.iter().filter(|name| found.contains_key(*name)).collect();
    assert!(back.is_empty(), "cycle {cycle}: removed, and there again: {back:?}");
    // What a list shows is there by its id too.
    for (name, id) in found.iter().take(10) {
        let url = gateway.url("admin", &format!("/services/{id}"));
        let shown = plain().get(url).answer().await.expect(200).json();
        assert_eq!(shown["name"].as_str(), Some(name.as_str()));
    }
    written
}

struct Writes {
    made: Vec<String>,
    removed: Vec<String>,
    /// Sent, but the gateway was gone before it answered.
    unsure: Vec<String>,
}

async fn write_until_cut_off(base: String, prefix: String, victim: Option<String>) -> Writes {
    let client = plain();
    let mut writes = Writes { made: Vec::new(), removed: Vec::new(), unsure: Vec::new() };
    if let Some(victim) = victim {
        match client.delete(format!("{base}/{victim}")).send().await {
            Ok(answer) if answer.status() == 204 => writes.removed.push(victim),
            Ok(answer) => panic!("{victim}: {answer:?}"),
            Err(_) => writes.unsure.push(victim),
        }
    }
    for n in 0.. {
        let name = format!("{prefix}n{n}");
        let body = json!({"name": name, "host": "upstream.example"});
        match client.post(&base).json(&body).send().await {
            Ok(answer) if answer.status() == 201 => writes.made.push(name),
            Ok(answer) => panic!("{name}: {answer:?}"),
            Err(_) => break,
        }
    }
    writes
}

/// Every service of the tests, by name.
async fn services(gateway: &Gateway) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut next = Some("/services?size=1000".to_owned());
    while let Some(path) = next {
        let page = plain().get(gateway.url("admin", &path)).answer().await.expect(200).json();
        for row in page["data"].as_array().unwrap() {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            if row["tags"].is_null() {
                found.insert(text("name"), text("id"));
            }
        }
        next = page["next"].as_str().map(str::to_owned);
    }
    found
}

/// Registrations, subscriptions, keys, tokens, edits: all of it is there after a stop and a start.
#[tokio::test]
async fn a_restart_keeps_everything() {
    let upstream = Upstream::start().await;
    let mut gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let app = App::bootstrap(&gateway);
    let other = App::announced(&gateway, &["kept"]).await;
    let token = app.token(&gateway).await;
    let body = App::service("kept", &upstream.url());
    let registered = app.register(&gateway, &token, &body).await.expect(201).json();
    let service = registered["serInstanceId"].as_str().unwrap();
    let subscription = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": format!("{}/cb", upstream.url()),
    });
    let url = gateway.url("proxy", &app.path("/subscriptions"));
    let request = plain().post(url).bearer_auth(&token).body(subscription.to_string());
    request.answer().await.expect(201);
    let published = app.published(&gateway, &token, service).await;
    let secret = json!({"key": "k", "secret": "kept secret", "algorithm": "HS256"});
    let consumers = gateway.url("admin", "/consumers");
    plain().post(&consumers).json(&json!({"username": "kept"})).answer().await.expect(201);
    plain().post(format!("{consumers}/kept/jwt")).json(&secret).answer().await.expect(201);

    let see = async |gateway: &Gateway| {
        let get = async |listener: &str, path: &str| {
            let request = plain().get(gateway.url(listener, path)).bearer_auth(&token);
            request.answer().await.expect(200).json()
        };
        [
            get("admin", "/services/mepserver").await["id"].clone(),
            get("admin", "/routes").await["data"].clone(),
            get("admin", "/plugins").await["data"].clone(),
            get("admin", "/consumers/kept/jwt").await["data"].clone(),
            get("proxy", &app.path("/services")).await[0]["serInstanceId"].clone(),
            get("proxy", &app.path("/subscriptions")).await,
            get("proxy", &app.path(&format!("/services/{service}"))).await["state"].clone(),
        ]
    };
    let before = see(&gateway).await;
    let certificate = std::fs::read(gateway.prefix().join("certs/server.crt")).unwrap();

    gateway.signal(rustix::process::Signal::TERM);
    gateway.ended().await;
    // Secret keys at rest are sealed.
    let file = |name: &str| std::fs::read(gateway.prefix().join(name)).unwrap_or_default();
    // What a busy machine had no time to move over is still in the log beside it.
    let state = [file("gateway.db"), file("gateway.db-wal")].concat();
    let contains = |text: &str| state.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(contains(app.access_key.as_str()), "the state is in these files");
    for app in [&app, &other] {
        assert!(!contains(app.secret_key.expose()), "a secret key is in the state file in clear");
    }
    gateway.start_again().await;

    assert_eq!(see(&gateway).await, before);
    let now = std::fs::read(gateway.prefix().join("certs/server.crt")).unwrap();
    assert!(now == certificate, "certificates were made again");
    assert!(gateway.printed("SECRET_KEY").is_none(), "a secret key is shown once");
    // The token issued before, the keys, and the published route all still work.
    upstream.take();
    let call = plain().get(gateway.url("proxy", &published)).bearer_auth(&token);
    call.answer().await.expect(200);
    upstream.only();
    other.token(&gateway).await;
}

/// Two gateways in one folder would tear its state apart; the second is refused.
#[tokio::test]
async fn a_folder_has_one_gateway() {
    let gateway = Gateway::start().await;
    let (code, _, error) = gateway.options().run(&["run"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(gateway.prefix().to_str().unwrap()), "{error}");
    plain().get(gateway.url("admin", "/services")).answer().await.expect(200);
}
