//! Requests spread over the targets of an upstream, beyond what the recorded scenarios hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::harness::{Answer, Answered as _, Gateway, Upstream, eventually, http1, plain};

/// An upstream with these settings, and a service `s` that goes there by the routes `/a` and
/// `/c/KEY`.
async fn publish(gateway: &Gateway, settings: &Value, targets: &[String]) {
    let post = async |path: &str, body: &Value| {
        plain().post(gateway.url("admin", path)).json(body).answer().await.expect(201);
    };
    let mut upstream = settings.clone();
    upstream["name"] = "up".into();
    post("/upstreams", &upstream).await;
    for target in targets {
        post("/upstreams/up/targets", &json!({ "target": target })).await;
    }
    post("/services", &json!({"name": "s", "url": "http://up", "read_timeout": 200})).await;
    let paths = json!(["/a", "~/c/(?<key>[a-z0-9]+)"]);
    post("/services/s/routes", &json!({"paths": paths, "strip_path": false})).await;
}

/// The target that answered, as it saw itself called.
fn target(answer: &Answer) -> String {
    let told = answer.json();
    let headers = told["headers"].as_array().unwrap();
    let host = headers.iter().find(|header| header[0] == "Host").unwrap();
    host[1].as_str().unwrap().to_owned()
}

/// What is hashed, and how a request carries a key.
type Carried = (Value, fn(&Gateway, &str) -> RequestBuilder);

/// Asks with so many keys: each stays at its target, and together they meet several.
async fn keys_stay(gateway: &Gateway, (settings, request): Carried, keys: usize) {
    let mut met = BTreeSet::new();
    for n in 0..keys {
        let key = format!("key{n}");
        let first = target(&request(gateway, &key).answer().await.expect(200));
        for _ in 0..2 {
            let again = target(&request(gateway, &key).answer().await.expect(200));
            assert_eq!(again, first, "{settings} of {key}");
        }
        met.insert(first);
    }
    // Ids and ports are others each time: all targets are met nearly always, not always.
    assert!(met.len() > 1, "{settings} spreads");
}

#[tokio::test]
async fn a_key_stays_at_its_target() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let targets = upstreams.each_ref().map(|one| one.addr().to_string());
    let gateway = Gateway::start().await;
    let by_header =
        |gateway: &Gateway, key: &str| plain().get(gateway.url("proxy", "/a")).header("X-Key", key);
    let rows: [Carried; 7] = [
        (json!({"hash_on": "header", "hash_on_header": "X-Key"}), by_header),
        (
            json!({"hash_on": "consumer", "hash_fallback": "header", "hash_fallback_header": "X-Key"}),
            by_header,
        ),
        (json!({"hash_on": "query_arg", "hash_on_query_arg": "k"}), |gateway, key| {
            plain().get(gateway.url("proxy", &format!("/a?x=1&k={key}")))
        }),
        (json!({"hash_on": "path"}), |gateway, key| {
            plain().get(gateway.url("proxy", &format!("/a/{key}")))
        }),
        (json!({"hash_on": "uri_capture", "hash_on_uri_capture": "key"}), |gateway, key| {
            plain().get(gateway.url("proxy", &format!("/c/{key}")))
        }),
        (json!({"hash_on": "uri_capture", "hash_on_uri_capture": "1"}), |gateway, key| {
            plain().get(gateway.url("proxy", &format!("/c/{key}")))
        }),
        (json!({"hash_on": "cookie", "hash_on_cookie": "sid"}), |gateway, key| {
            plain().get(gateway.url("proxy", "/a")).header("Cookie", format!("b=1; sid={key}"))
        }),
    ];
    for (settings, request) in rows {
        gateway.forget_everything().await;
        publish(&gateway, &settings, &targets).await;
        keys_stay(&gateway, (settings, request), 24).await;
    }
}

/// The client's address is the same for all these requests; without anything to hash, there are
/// turns.
#[tokio::test]
async fn an_address_stays_and_nothing_goes_round() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let targets = upstreams.each_ref().map(|one| one.addr().to_string());
    let gateway = Gateway::start().await;
    let none = json!({"hash_on": "header", "hash_on_header": "X-Not-Sent"});
    for (settings, wanted) in [(json!({"hash_on": "ip"}), 1), (none, 2)] {
        gateway.forget_everything().await;
        publish(&gateway, &settings, &targets).await;
        let mut met = BTreeSet::new();
        for _ in 0..6 {
            met.insert(target(&plain().get(gateway.url("proxy", "/a")).answer().await.expect(200)));
        }
        assert_eq!(met.len(), wanted, "{settings}");
    }
}

/// A client that takes the cookie it is given meets the same target again.
#[tokio::test]
async fn the_cookie_given_leads_back() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let targets = upstreams.each_ref().map(|one| one.addr().to_string());
    let gateway = Gateway::start().await;
    publish(&gateway, &json!({"hash_on": "cookie", "hash_on_cookie": "sid"}), &targets).await;
    for _ in 0..8 {
        let get = || plain().get(gateway.url("proxy", "/a"));
        let first = get().answer().await.expect(200);
        let cookie = first.header("Set-Cookie").unwrap().split(';').next().unwrap();
        let again = get().header("Cookie", cookie).answer().await.expect(200);
        assert_eq!(target(&again), target(&first));
        assert_eq!(again.header("Set-Cookie"), None);
    }
}

/// A target that never answers costs one client one timeout, then it is left out until an operator
/// or a probe says otherwise.
#[tokio::test]
async fn a_silent_target_is_left() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::start().await;
    let targets = [silent.local_addr().unwrap().to_string(), upstream.addr().to_string()];
    let gateway = Gateway::start().await;
    let checks = json!({"healthchecks": {"passive": {"unhealthy": {"timeouts": 1}}}});
    publish(&gateway, &checks, &targets).await;
    let health = async |name: &str| {
        let health = gateway.url("admin", "/upstreams/up/health");
        let told = plain().get(health).answer().await.expect(200).json();
        let rows = told["data"].as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["target"] == name).unwrap();
        row["health"].as_str().unwrap().to_owned()
    };
    assert_eq!(health(&targets[0]).await, "HEALTHY");
    for _ in 0..6 {
        let answer = plain().get(gateway.url("proxy", "/a")).answer().await.expect(200);
        assert_eq!(target(&answer), targets[1]);
    }
    assert_eq!(health(&targets[0]).await, "UNHEALTHY");
    assert_eq!(health(&targets[1]).await, "HEALTHY");
    let mut connections = 0;
    while let Ok(Ok(_)) =
        tokio::time::timeout(std::time::Duration::from_millis(1), silent.accept()).await
    {
        connections += 1;
    }
    assert_eq!(connections, 1, "requests the silent target cost");
}

/// Probes take a target out without any client noticing, and bring it back.
#[tokio::test]
async fn probes_spare_clients_a_dead_target() {
    let (alive, other) = (Upstream::start().await, Upstream::start().await);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let targets = [dead.to_string(), alive.addr().to_string(), other.addr().to_string()];
    let gateway = Gateway::start().await;
    let checks = json!({"healthchecks": {"active": {
        "http_path": "/status/200",
        "healthy": {"interval": 0.05, "successes": 1},
        "unhealthy": {"interval": 0.05, "tcp_failures": 2},
    }}});
    publish(&gateway, &checks, &targets).await;
    let health = async || {
        let health = gateway.url("admin", "/upstreams/up/health?balancer_health=1");
        plain().get(health).answer().await.expect(200).json()["data"]["details"]["weight"].clone()
    };
    let wanted = json!({"total": 300, "available": 200, "unavailable": 100});
    eventually("the dead target is out", async || (health().await == wanted).then_some(())).await;
    // Without retries each request must meet a living target at once.
    let service = gateway.url("admin", "/services/s");
    plain().patch(service).json(&json!({"retries": 0})).answer().await.expect(200);
    for _ in 0..6 {
        plain().post(gateway.url("proxy", "/a")).body("x").answer().await.expect(200);
    }
    // A probe finds the target alive that an operator called dead.
    let mark = format!("/upstreams/up/targets/{}/unhealthy", targets[1]);
    plain().put(gateway.url("admin", &mark)).answer().await.expect(204);
    eventually("it is back", async || (health().await == wanted).then_some(())).await;
}

/// What is known of a target outlives whatever is published, also changes of its own upstream.
#[tokio::test]
async fn health_outlives_publishes() {
    let (dead, live) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Upstream::start().await);
    let closed = dead.local_addr().unwrap().to_string();
    drop(dead);
    let gateway = Gateway::start().await;
    let passive = json!({"unhealthy": {"tcp_failures": 1}, "healthy": {"successes": 1}});
    let settings = json!({"healthchecks": {"passive": passive}});
    publish(&gateway, &settings, &[closed.clone(), live.addr().to_string()]).await;
    let admin = |path: &str| gateway.url("admin", path);
    let states = async || {
        let told = plain().get(admin("/upstreams/up/health")).answer().await.expect(200).json();
        let rows = told["data"].as_array().unwrap().iter();
        let state = |row: &Value| (row["target"] == closed, row["health"].clone());
        rows.map(state).collect::<Vec<_>>()
    };
    eventually("a failure that is noticed", async || {
        plain().get(gateway.url("proxy", "/a")).answer().await.expect(200);
        states().await.contains(&(true, "UNHEALTHY".into())).then_some(())
    })
    .await;
    let another = Upstream::start().await;
    let changes = [
        ("POST", "/services", json!({"name": "t", "url": "http://t.test"})),
        ("POST", "/services/t/routes", json!({"paths": ["/t"]})),
        ("PATCH", "/upstreams/up", json!({"tags": ["changed"]})),
        ("PATCH", "/upstreams/up", json!({"algorithm": "least-connections"})),
        ("POST", "/upstreams/up/targets", json!({"target": another.addr().to_string()})),
        ("PATCH", "/services/s", json!({"retries": 0})),
    ];
    for (method, path, body) in changes {
        let asked = plain().request(method.parse().unwrap(), admin(path)).json(&body);
        let status = asked.answer().await.status;
        assert!(status == 200 || status == 201, "{method} {path}: {status}");
        assert!(states().await.contains(&(true, "UNHEALTHY".into())), "after {method} {path}");
    }
    // Without retries, a request that went there would fail.
    for _ in 0..10 {
        plain().get(gateway.url("proxy", "/a")).answer().await.expect(200);
    }
}

/// What else keeps a client at its target: who it is, and what is looked at where the first is
/// missing.
#[tokio::test]
async fn consumers_stay_and_fallbacks_take_over() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let targets = upstreams.each_ref().map(|one| one.addr().to_string());
    let gateway = Gateway::start().await;
    let missing = json!({"hash_on": "header", "hash_on_header": "X-Not-Sent"});
    let with = |more: Value| {
        let mut settings = missing.clone();
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        settings
    };
    let by_key = |gateway: &Gateway, key: &str| {
        plain().get(gateway.url("proxy", "/a")).header("apikey", key)
    };
    let rows: [Carried; 7] = [
        (json!({"hash_on": "consumer"}), by_key),
        (with(json!({"hash_fallback": "consumer"})), by_key),
        (
            with(json!({"hash_fallback": "header", "hash_fallback_header": "X-Key"})),
            |gateway, key| plain().get(gateway.url("proxy", "/a")).header("X-Key", key),
        ),
        (
            with(json!({"hash_fallback": "query_arg", "hash_fallback_query_arg": "k"})),
            |gateway, key| plain().get(gateway.url("proxy", &format!("/a?k={key}"))),
        ),
        (
            with(json!({"hash_fallback": "uri_capture", "hash_fallback_uri_capture": "key"})),
            |gateway, key| plain().get(gateway.url("proxy", &format!("/c/{key}"))),
        ),
        (with(json!({"hash_fallback": "path"})), |gateway, key| {
            plain().get(gateway.url("proxy", &format!("/a/{key}")))
        }),
        (with(json!({"hash_fallback": "cookie", "hash_on_cookie": "sid"})), |gateway, key| {
            plain().get(gateway.url("proxy", "/a")).header("Cookie", format!("sid={key}"))
        }),
    ];
    for (settings, request) in rows {
        gateway.forget_everything().await;
        publish(&gateway, &settings, &targets).await;
        let by_consumer = settings.to_string().contains("consumer");
        if by_consumer {
            let post = async |path: &str, body: Value| {
                plain().post(gateway.url("admin", path)).json(&body).answer().await.expect(201);
            };
            post("/services/s/plugins", json!({"name": "key-auth"})).await;
            for n in 0..16 {
                post("/consumers", json!({"username": format!("c{n}")})).await;
                post(&format!("/consumers/c{n}/key-auth"), json!({"key": format!("key{n}")})).await;
            }
        }
        keys_stay(&gateway, (settings, request), 16).await;
    }
    // The address, where nothing else is there.
    gateway.forget_everything().await;
    publish(&gateway, &with(json!({"hash_fallback": "ip"})), &targets).await;
    let mut met = BTreeSet::new();
    for _ in 0..6 {
        met.insert(target(&plain().get(gateway.url("proxy", "/a")).answer().await.expect(200)));
    }
    assert_eq!(met.len(), 1);
    // A cookie is given only to who has nothing the first looks at.
    gateway.forget_everything().await;
    let cookie = json!({"hash_on": "header", "hash_on_header": "X-Key", "hash_fallback": "cookie",
                        "hash_on_cookie": "sid", "hash_on_cookie_path": "/a"});
    publish(&gateway, &cookie, &targets).await;
    let get = || plain().get(gateway.url("proxy", "/a"));
    let given = get().answer().await.expect(200);
    let form =
        regex::Regex::new("^sid=[0-9a-f]{8}-[0-9a-f-]{27}; Path=/a; Same-Site=Lax; HttpOnly$");
    let given = given.header("Set-Cookie").unwrap();
    assert!(form.unwrap().is_match(given), "{given}");
    let keyed = get().header("X-Key", "v").answer().await.expect(200);
    assert_eq!(keyed.header("Set-Cookie"), None);
}

/// Whatever chooses, a target that failed is not asked again for the same request.
#[tokio::test]
async fn retries_go_to_those_left() {
    let closed = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let live = Upstream::start().await;
    let targets = [closed().to_string(), closed().to_string(), live.addr().to_string()];
    let gateway = Gateway::start().await;
    for settings in [
        json!({"algorithm": "round-robin"}),
        json!({"algorithm": "least-connections"}),
        json!({"algorithm": "latency"}),
        json!({"algorithm": "consistent-hashing", "hash_on": "header", "hash_on_header": "X-Key"}),
        json!({"algorithm": "consistent-hashing", "slots": 10, "hash_on": "ip"}),
    ] {
        gateway.forget_everything().await;
        publish(&gateway, &settings, &targets).await;
        let service = gateway.url("admin", "/services/s");
        plain().patch(service).json(&json!({"retries": 2})).answer().await.expect(200);
        for n in 0..12 {
            let asked = plain().get(gateway.url("proxy", "/a")).header("X-Key", n.to_string());
            assert_eq!(target(&asked.answer().await.expect(200)), targets[2], "{settings}");
        }
    }
}

/// Who is busy gets nothing more as long as another is not.
#[tokio::test]
async fn the_least_busy_is_asked() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let targets = upstreams.each_ref().map(|one| one.addr().to_string());
    let gateway = Gateway::start().await;
    publish(&gateway, &json!({"algorithm": "least-connections"}), &targets).await;
    let service = gateway.url("admin", "/services/s");
    plain().patch(service).json(&json!({"read_timeout": 60_000})).answer().await.expect(200);
    let slow = tokio::spawn(plain().get(gateway.url("proxy", "/a/delay/3")).send());
    let busy = eventually("a target that is busy", async || {
        upstreams.iter().position(|one| !one.take().is_empty())
    })
    .await;
    for _ in 0..6 {
        let answer = plain().get(gateway.url("proxy", "/a")).answer().await.expect(200);
        assert_eq!(target(&answer), targets[1 - busy]);
    }
    assert!(!slow.is_finished(), "it was busy all the time");
    slow.abort();
}

/// Who answers late is asked less.
#[tokio::test]
async fn the_fastest_is_asked() {
    let fast = Upstream::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = listener.local_addr().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Ok(Some(_)) = http1::read_head(&mut stream).await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    let gateway = Gateway::start().await;
    let targets = [late.to_string(), fast.addr().to_string()];
    publish(&gateway, &json!({"algorithm": "latency"}), &targets).await;
    let service = gateway.url("admin", "/services/s");
    plain().patch(service).json(&json!({"read_timeout": 60_000})).answer().await.expect(200);
    for _ in 0..30 {
        plain().get(gateway.url("proxy", "/a")).answer().await.expect(200);
    }
    let (late, fast) = (asked.load(Ordering::SeqCst), fast.take().len());
    assert_eq!(late + fast, 30);
    assert!(late < 10, "{late} went to the one that answers late");
}

/// Where too little of the weight is left, nobody is asked any more (`healthchecks.threshold`).
#[tokio::test]
async fn below_the_threshold_nobody_serves() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let targets = upstreams.each_ref().map(|one| one.addr().to_string());
    let gateway = Gateway::start().await;
    let passive = json!({"unhealthy": {"tcp_failures": 1}});
    for (threshold, status) in [(40, 200), (60, 503)] {
        gateway.forget_everything().await;
        let checks = json!({"threshold": threshold, "passive": passive});
        publish(&gateway, &json!({ "healthchecks": checks }), &targets).await;
        let ask = || plain().get(gateway.url("proxy", "/a")).answer();
        let mark = async |mark: &str| {
            let path = format!("/upstreams/up/targets/{}/{mark}", targets[0]);
            plain().put(gateway.url("admin", &path)).answer().await.expect(204);
        };
        ask().await.expect(200);
        mark("unhealthy").await;
        for _ in 0..4 {
            let answer = ask().await.expect(status);
            let told = answer.text().contains("failure to get a peer from the ring-balancer");
            assert_eq!(told, status == 503, "{}", answer.text());
        }
        mark("healthy").await;
        ask().await.expect(200);
    }
}
