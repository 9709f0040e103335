//! Limits that nodes share, by Redis and by the store; limits an upstream tells.

use serde_json::{Value, json};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::harness::{Answered as _, Gateway, Redis, Upstream, eventually, plain};

/// A service at `/a` with one plugin; gives the plugin's id.
async fn limited(gateway: &Gateway, upstream: &Upstream, name: &str, config: Value) -> String {
    let service = json!({"name": "a", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": "a", "paths": ["/a"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
    plugin(gateway, name, config).await
}

async fn plugin(gateway: &Gateway, name: &str, config: Value) -> String {
    let plugin = json!({"name": name, "config": config});
    let made = plain().post(gateway.url("admin", "/plugins")).json(&plugin).answer().await;
    made.expect(201).json()["id"].as_str().unwrap().to_owned()
}

/// Status and what is left of the day.
async fn asked(gateway: &Gateway) -> (u16, Option<String>) {
    let answer = plain().get(gateway.url("proxy", "/a/x")).answer().await;
    let left = answer.header("x-ratelimit-remaining-day").map(str::to_owned);
    (answer.status, left)
}

fn left(number: &str) -> Option<String> {
    Some(number.to_owned())
}

fn at(port: u16, more: Value) -> Value {
    let mut redis = json!({"host": "127.0.0.1", "port": port, "password": "pass"});
    for (name, value) in more.as_object().unwrap() {
        redis[name] = value.clone();
    }
    json!({"day": 3, "policy": "redis", "limit_by": "ip", "redis": redis})
}

#[tokio::test]
async fn nodes_share_a_limit_in_redis() {
    let Some(mut redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    let (one, two) = (Gateway::start().await, Gateway::start().await);
    // One comes as the user `limiter` over TLS, the other with the password of the default user.
    let tls = json!({
        "ssl": true, "server_name": "redis.test", "database": 2, "username": "limiter",
        "password": "word",
    });
    limited(&one, &upstream, "rate-limiting", at(redis.tls_port, tls)).await;
    limited(&two, &upstream, "rate-limiting", at(redis.port, json!({"database": 2}))).await;
    assert_eq!(asked(&one).await, (200, left("2")));
    assert_eq!(asked(&two).await, (200, left("1")));
    assert_eq!(asked(&one).await, (200, left("0")));
    for gateway in [&two, &one] {
        assert_eq!(asked(gateway).await, (429, left("0")));
    }
    // The counter is Kong's, refusals are not counted, and it does not stay for ever.
    let key = redis.ask("KEYS *", 2).await.trim().to_owned();
    let nobody = "00000000-0000-0000-0000-000000000000";
    assert!(key.starts_with(&format!("ratelimit:{nobody}:{nobody}:127.0.0.1:")), "{key}");
    assert!(key.ends_with("000:day"), "{key}");
    assert_eq!(redis.ask(&format!("GET {key}"), 2).await.trim(), "3");
    let life: i64 = redis.ask(&format!("TTL {key}"), 2).await.trim().parse().unwrap();
    assert!((86_000..=86_400).contains(&life), "{life}");
    assert_eq!(redis.ask("KEYS *", 0).await.trim(), "");

    // Without Redis requests pass untold; with it again they are counted.
    redis.stop().await;
    assert_eq!(asked(&one).await, (200, None));
    redis.start_again().await;
    eventually("counting goes on", async || (asked(&one).await.1.is_some()).then_some(())).await;
}

#[tokio::test]
async fn who_cannot_count_refuses_when_told() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = at(closed, json!({}));
    config["fault_tolerant"] = false.into();
    limited(&gateway, &upstream, "rate-limiting", config).await;
    let answer = plain().get(gateway.url("proxy", "/a/x")).answer().await.expect(500);
    assert_eq!(answer.json()["message"], "An unexpected error occurred");
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test]
async fn a_certificate_is_verified_when_told() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let tls = json!({"ssl": true, "ssl_verify": true, "server_name": "redis.test"});
    let mut config = at(redis.tls_port, tls);
    config["fault_tolerant"] = false.into();
    limited(&gateway, &upstream, "rate-limiting", config).await;
    plain().get(gateway.url("proxy", "/a/x")).answer().await.expect(500);
}

#[tokio::test]
async fn counts_are_exchanged_now_and_then() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    let (one, two) = (Gateway::start().await, Gateway::start().await);
    let mut config = at(redis.port, json!({}));
    config["sync_rate"] = 0.05.into();
    for gateway in [&one, &two] {
        limited(gateway, &upstream, "rate-limiting", config.clone()).await;
    }
    assert_eq!(asked(&one).await, (200, left("2")));
    assert_eq!(asked(&one).await, (200, left("1")));
    eventually("the counts are in Redis", async || {
        let key = redis.ask("KEYS *", 0).await.trim().to_owned();
        (redis.ask(&format!("GET {key}"), 0).await.trim() == "2").then_some(())
    })
    .await;
    // Met first, a counter is read.
    assert_eq!(asked(&two).await, (200, left("0")));
    assert_eq!(asked(&two).await, (429, left("0")));
    eventually("the other node knows", async || (asked(&one).await.0 == 429).then_some(())).await;
}

#[tokio::test]
async fn the_store_keeps_counts_over_a_restart() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start().await;
    let config = json!({"day": 3, "policy": "cluster", "limit_by": "ip"});
    limited(&gateway, &upstream, "rate-limiting", config).await;
    assert_eq!(asked(&gateway).await, (200, left("2")));
    assert_eq!(asked(&gateway).await, (200, left("1")));
    // Counts are exchanged five times a second; a kill would lose what was not.
    let file = gateway.prefix().join("gateway.db");
    let reader = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut state = SqliteConnection::connect_with(&reader).await.unwrap();
    eventually("both uses are in the store", async || {
        let counts = sqlx::query_scalar("SELECT SUM(value) FROM counters");
        let counted: Option<i64> = counts.fetch_one(&mut state).await.unwrap();
        (counted == Some(2)).then_some(())
    })
    .await;
    state.close().await.unwrap();
    gateway.kill().await;
    gateway.start_again().await;
    assert_eq!(asked(&gateway).await, (200, left("0")));
    assert_eq!(asked(&gateway).await, (429, left("0")));
}

#[tokio::test]
async fn uses_are_what_the_upstream_says() {
    let upstream = crate::proxy_cache::telling(&[("X-Kong-Limit", "video=2")], "body").await;
    let gateway = Gateway::start().await;
    let service = json!({"name": "a", "url": format!("http://{}", upstream.addr)});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": "a", "paths": ["/a"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
    let limits = json!({"limits": {"video": {"day": 2}}, "limit_by": "ip"});
    plugin(&gateway, "response-ratelimiting", limits).await;
    let told = async || {
        let answer = plain().get(gateway.url("proxy", "/a")).answer().await;
        assert_eq!(answer.header("x-kong-limit"), None);
        let left = answer.header("x-ratelimit-remaining-video-day").unwrap().to_owned();
        (answer.status, left, answer.text().to_owned())
    };
    assert_eq!(told().await, (200, "0".into(), "body".into()));
    // What was used is counted once the answer is out.
    eventually("the use is counted", async || {
        (told().await == (429, "0".into(), String::new())).then_some(())
    })
    .await;
}

/// Nodes of one database count together (`policy` `cluster`): each by itself first, and within the
/// time between two exchanges they know the sum.
#[tokio::test]
async fn nodes_of_one_database_know_the_sum() {
    const LIMIT: i64 = 1000;
    let Some(pair) = crate::cluster::Pair::start().await else { return };
    let [one, two] = &pair.nodes;
    let upstream = Upstream::start().await;
    let config = json!({"day": LIMIT, "policy": "cluster", "limit_by": "ip"});
    let plugin = limited(one, &upstream, "rate-limiting", config).await;
    eventually("the other node has the limit", async || asked(two).await.1).await;
    // What was used by then at either node is what is missing in the end.
    let mut uses = 0;
    let mut counted = async |node: &Gateway| {
        uses += 1;
        let (status, left) = asked(node).await;
        assert_eq!(status, 200);
        (LIMIT - left.unwrap().parse::<i64>().unwrap(), uses)
    };
    let first = counted(two).await;
    // The request that found the limit.
    let before = first.0 - first.1;
    for _ in 0..20 {
        counted(one).await;
        counted(two).await;
    }
    for node in [one, two, one] {
        eventually("a node knows the sum", async || {
            let (seen, made) = counted(node).await;
            assert!(seen <= before + made, "more than there were: {seen} of {made}");
            (seen == before + made).then_some(())
        })
        .await;
    }
    // A limit that is reached at both nodes: they refuse when they know.
    let change = json!({"config": {"day": 60 + before}});
    let url = one.url("admin", &format!("/plugins/{plugin}"));
    plain().patch(url).json(&change).answer().await.expect(200);
    for node in [one, two] {
        eventually("a node refuses", async || (asked(node).await.0 == 429).then_some(())).await;
    }
}
