//! Names of upstreams, resolved by a server the test controls.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hickory_resolver::proto::rr::RecordType;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Answered as _, Gateway, NameServer, Options, Upstream, eventually, plain,
};

/// A gateway that asks `server` and has an empty hosts file, but for `hosts`.
fn asking(server: &NameServer, hosts: &str) -> Options {
    let options = Options::new().set("dns_resolver", server.addr().to_string());
    let file = options.file("hosts", hosts);
    options.set("dns_hostsfile", file.to_str().unwrap())
}

async fn post(gateway: &Gateway, path: &str, body: &Value) {
    plain().post(gateway.url("admin", path)).json(body).answer().await.expect(201);
}

/// A route `/s` to this URL.
async fn route(gateway: &Gateway, url: &str) {
    post(gateway, "/services", &json!({"name": "s", "url": url, "connect_timeout": 2000})).await;
    post(gateway, "/services/s/routes", &json!({"paths": ["/s"]})).await;
}

async fn get(gateway: &Gateway) -> Answer {
    plain().get(gateway.url("proxy", "/s")).answer().await
}

/// The Host header the upstream saw.
fn host(answer: &Answer) -> String {
    let told = answer.json();
    let headers = told["headers"].as_array().unwrap().clone();
    let host = headers.iter().find(|header| header[0] == "Host").unwrap();
    host[1].as_str().unwrap().to_owned()
}

fn port(upstream: &Upstream) -> u16 {
    upstream.addr().port()
}

/// How often each upstream was asked in `times` requests.
async fn spread(gateway: &Gateway, upstreams: &[Upstream], times: usize) -> Vec<usize> {
    for _ in 0..times {
        get(gateway).await.expect(200);
    }
    upstreams.iter().map(|one| one.take().len()).collect()
}

#[tokio::test]
async fn a_service_is_found_by_its_addresses() {
    let (server, upstream) = (NameServer::start().await, Upstream::start().await);
    server.knows(&[
        "a.test 60 A 127.0.0.1".to_owned(),
        "c.test 60 CNAME d.test".to_owned(),
        "d.test 60 A 127.0.0.1".to_owned(),
    ]);
    let gateway = asking(&server, "127.0.0.1 h.test H2.test\n").start().await;
    for name in ["a.test", "c.test", "h.test", "h2.test"] {
        gateway.forget_everything().await;
        route(&gateway, &format!("http://{name}:{}", port(&upstream))).await;
        let answer = get(&gateway).await.expect(200);
        assert_eq!(host(&answer), format!("{name}:{}", port(&upstream)));
        get(&gateway).await.expect(200);
        let asked = server.asked(name);
        match name {
            "a.test" => assert_eq!(asked, [RecordType::SRV, RecordType::A], "once, then known"),
            "c.test" => assert!(!asked.is_empty()),
            _ => assert_eq!(asked, [], "the hosts file knows"),
        }
    }
    gateway.forget_everything().await;
    route(&gateway, "http://no.test").await;
    for _ in 0..3 {
        let answer = get(&gateway).await.expect(503);
        assert!(answer.text().contains("name resolution failed"), "{}", answer.text());
    }
    let asked = server.asked("no.test");
    assert_eq!(asked, [RecordType::SRV, RecordType::A, RecordType::CNAME], "once, then known");
}

#[tokio::test]
async fn the_order_of_types_is_the_configured_one() {
    let (server, upstream) = (NameServer::start().await, Upstream::start().await);
    server.knows(&["a.test 1 AAAA ::1".to_owned(), "a.test 1 A 127.0.0.1".to_owned()]);
    let gateway = asking(&server, "").set("dns_order", "LAST,A,AAAA").start().await;
    route(&gateway, &format!("http://a.test:{}", port(&upstream))).await;
    get(&gateway).await.expect(200);
    assert_eq!(server.asked("a.test"), [RecordType::A]);
    let six = asking(&server, "").set("dns_order", "AAAA,A").start().await;
    route(&six, &format!("http://a.test:{}", port(&upstream))).await;
    // Nobody listens at ::1.
    get(&six).await.expect(502);
    assert_eq!(server.asked("a.test"), [RecordType::AAAA]);
}

/// An SRV record decides the port and the share; of several priorities the lowest counts.
#[tokio::test]
async fn services_are_found_by_srv_records() {
    let server = NameServer::start().await;
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let [a, b, c] = upstreams.each_ref().map(port);
    server.knows(&[
        format!("s.test 60 SRV 1 30 {a} h.test"),
        format!("s.test 60 SRV 1 10 {b} h.test"),
        format!("s.test 60 SRV 2 90 {c} h.test"),
        "h.test 60 A 127.0.0.1".to_owned(),
    ]);
    let gateway = asking(&server, "").start().await;
    route(&gateway, "http://s.test").await;
    assert!(host(&get(&gateway).await.expect(200)).starts_with("s.test:"));
    let more = spread(&gateway, &upstreams, 39).await;
    assert_eq!(more, [30, 10, 0]);

    // The same as target of an upstream: the records' weights count, and their name on demand.
    for (use_srv_name, wanted) in [(false, "s.test"), (true, "h.test")] {
        gateway.forget_everything().await;
        post(&gateway, "/upstreams", &json!({"name": "up", "use_srv_name": use_srv_name})).await;
        post(&gateway, "/upstreams/up/targets", &json!({"target": "s.test:1"})).await;
        route(&gateway, "http://up").await;
        let first = get(&gateway).await.expect(200);
        assert!([a, b].map(|port| format!("{wanted}:{port}")).contains(&host(&first)));
        assert_eq!(spread(&gateway, &upstreams, 39).await, [30, 10, 0]);
    }
    let health = gateway.url("admin", "/upstreams/up/health");
    let told = plain().get(health).answer().await.expect(200).json();
    let addresses = told["data"][0]["data"]["addresses"].as_array().unwrap();
    let weights: BTreeMap<u64, u64> = addresses
        .iter()
        .map(|one| (one["port"].as_u64().unwrap(), one["weight"].as_u64().unwrap()))
        .collect();
    assert_eq!(weights, BTreeMap::from([(a.into(), 30), (b.into(), 10)]));
}

/// Targets and services follow their names when the records expire, without a failed request.
#[tokio::test]
async fn names_are_followed() {
    let server = NameServer::start().await;
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let [a, b] = upstreams.each_ref().map(port);
    let at =
        |port: u16| [format!("s.test 1 SRV 1 1 {port} h.test"), "h.test 1 A 127.0.0.1".to_owned()];
    let gateway = asking(&server, "").start().await;
    for upstream in [false, true] {
        gateway.forget_everything().await;
        server.knows(&at(a));
        if upstream {
            post(&gateway, "/upstreams", &json!({"name": "up"})).await;
            post(&gateway, "/upstreams/up/targets", &json!({"target": "s.test:1"})).await;
        }
        route(&gateway, if upstream { "http://up" } else { "http://s.test" }).await;
        eventually("the first address", async || {
            get(&gateway).await.expect(200);
            (!upstreams[0].take().is_empty()).then_some(())
        })
        .await;
        server.knows(&at(b));
        upstreams[1].take();
        eventually("the second address", async || {
            get(&gateway).await.expect(200);
            (!upstreams[1].take().is_empty()).then_some(())
        })
        .await;
        // Servers that fail change nothing: what expired goes on.
        server.asked("");
        server.fails();
        eventually("a question in vain", async || {
            get(&gateway).await.expect(200);
            (server.asked("s.test").len() > 2).then_some(())
        })
        .await;
        get(&gateway).await.expect(200);
    }
}

/// SIGHUP reads the hosts file again.
#[tokio::test]
async fn the_hosts_file_is_read_again() {
    let (server, upstream) = (NameServer::start().await, Upstream::start().await);
    let gateway = asking(&server, "127.0.0.1 a.test\n").start().await;
    route(&gateway, &format!("http://b.test:{}", port(&upstream))).await;
    get(&gateway).await.expect(503);
    gateway.options().file("hosts", "127.0.0.1 b.test\n");
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the new name", async || (get(&gateway).await.status == 200).then_some(())).await;
}

/// A retry goes to another address of the name.
#[tokio::test]
async fn retries_go_to_other_addresses() {
    let (server, upstream) = (NameServer::start().await, Upstream::start().await);
    // The upstream listens on 127.0.0.1 only.
    let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    server.knows(&addresses.map(|ip| format!("a.test 60 A {ip}")));
    let gateway = asking(&server, "").start().await;
    let url = format!("http://a.test:{}", port(&upstream));
    let service = json!({"name": "s", "url": url, "retries": 2});
    post(&gateway, "/services", &service).await;
    post(&gateway, "/services/s/routes", &json!({"paths": ["/s"]})).await;
    for _ in 0..9 {
        get(&gateway).await.expect(200);
    }
}

/// Calls of plugins are resolved the same way.
#[tokio::test]
async fn plugins_calls_are_resolved_the_same_way() {
    let (server, upstream) = (NameServer::start().await, Upstream::start().await);
    server.knows(&["log.test 60 A 127.0.0.1".to_owned()]);
    let gateway = asking(&server, "").start().await;
    route(&gateway, &upstream.url()).await;
    let target: SocketAddr = upstream.addr();
    let config = json!({"http_endpoint": format!("http://log.test:{}/log", target.port())});
    post(&gateway, "/plugins", &json!({"name": "http-log", "config": config})).await;
    get(&gateway).await.expect(200);
    eventually("the log entry", async || {
        let seen = upstream.take();
        seen.iter().any(|one| one.uri == "/log").then_some(())
    })
    .await;
}

/// The times settings give to answers of each kind.
#[tokio::test]
async fn how_long_answers_are_kept() {
    let upstream = Upstream::start().await;
    let url = format!("http://a.test:{}", port(&upstream));
    let known = |ttl: u32| [format!("a.test {ttl} A 127.0.0.1")];
    let stage = async |keys: &[(&str, &str)]| {
        let server = NameServer::start().await;
        let options = asking(&server, "").set("dns_order", "A");
        let options = keys.iter().fold(options, |all, (key, value)| all.set(key, *value));
        let gateway = options.start().await;
        route(&gateway, &url).await;
        (server, gateway)
    };
    let becomes = async |gateway: &Gateway, status: u16| {
        eventually(&format!("status {status}"), async || {
            (get(gateway).await.status == status).then_some(())
        })
        .await;
    };

    // An absent name is asked for again when that may be, and no sooner.
    let (server, gateway) = stage(&[("dns_not_found_ttl", "1")]).await;
    get(&gateway).await.expect(503);
    server.knows(&known(60));
    becomes(&gateway, 200).await;
    let (server, gateway) = stage(&[("dns_not_found_ttl", "300")]).await;
    get(&gateway).await.expect(503);
    server.knows(&known(60));
    get(&gateway).await.expect(503);
    assert_eq!(server.asked("a.test"), [RecordType::A]);

    // The same for a server that fails.
    let (server, gateway) = stage(&[("dns_error_ttl", "1")]).await;
    server.fails();
    get(&gateway).await.expect(503);
    server.knows(&known(60));
    becomes(&gateway, 200).await;

    // A time of our own in the place of the record's.
    let (server, gateway) = stage(&[("dns_valid_ttl", "1")]).await;
    server.knows(&known(3600));
    get(&gateway).await.expect(200);
    server.asked("a.test");
    eventually("another question", async || {
        get(&gateway).await.expect(200);
        (!server.asked("a.test").is_empty()).then_some(())
    })
    .await;

    // What has expired serves on while the server fails, as long as it may.
    let (server, gateway) = stage(&[("dns_stale_ttl", "1")]).await;
    server.knows(&known(1));
    get(&gateway).await.expect(200);
    server.fails();
    becomes(&gateway, 503).await;
    let (server, gateway) = stage(&[]).await;
    server.knows(&known(1));
    get(&gateway).await.expect(200);
    server.fails();
    server.asked("a.test");
    eventually("a question that failed", async || {
        get(&gateway).await.expect(200);
        (!server.asked("a.test").is_empty()).then_some(())
    })
    .await;
    get(&gateway).await.expect(200);
}
