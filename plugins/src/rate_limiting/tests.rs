#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::contract::Credential;
use crate::test_kit::{Exchange, Instance, Rig, rig};

/// Runs one request; its status (200 when it goes on) and the headers that tell limits.
fn run(instance: &Instance, mut exchange: Exchange) -> (u16, Vec<(String, String)>) {
    match exchange.access(instance) {
        Some(answer) => {
            assert_eq!(answer.body, json!({"message": "API rate limit exceeded"}));
            (answer.status, answer.headers)
        }
        None => (200, exchange.added()),
    }
}

fn headers(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn what_clients_are_told() {
    let mut rig = rig();
    let plugin = rig.plugin("rate-limiting", json!({"minute": 2, "hour": 5, "limit_by": "ip"}));
    let check = |status: u16, wanted: &str| {
        assert_eq!(run(&plugin, rig.get("/")), (status, headers(wanted)));
    };
    check(
        200,
        "x-ratelimit-limit-minute=2 x-ratelimit-remaining-minute=1 x-ratelimit-limit-hour=5 \
         x-ratelimit-remaining-hour=4 ratelimit-limit=2 ratelimit-remaining=1 ratelimit-reset=30",
    );
    check(
        200,
        "x-ratelimit-limit-minute=2 x-ratelimit-remaining-minute=0 x-ratelimit-limit-hour=5 \
         x-ratelimit-remaining-hour=3 ratelimit-limit=2 ratelimit-remaining=0 ratelimit-reset=30",
    );
    for _ in 0..2 {
        check(
            429,
            "x-ratelimit-limit-minute=2 x-ratelimit-remaining-minute=0 x-ratelimit-limit-hour=5 \
             x-ratelimit-remaining-hour=3 ratelimit-limit=2 ratelimit-remaining=0 \
             ratelimit-reset=30 retry-after=30",
        );
    }
}

#[test]
fn among_equals_the_longer_window_is_told() {
    let mut rig = rig();
    let plugin = rig.plugin("rate-limiting", json!({"second": 100, "minute": 100, "year": 1000}));
    let (status, mut told) = run(&plugin, rig.get("/"));
    assert_eq!(status, 200);
    let told = told.split_off(told.len() - 3);
    assert_eq!(told, headers("ratelimit-limit=100 ratelimit-remaining=99 ratelimit-reset=30"));
}

#[test]
fn refusals_can_look_otherwise() {
    let mut rig = rig();
    let plugin = rig.plugin(
        "rate-limiting",
        json!({
            "minute": 1, "hide_client_headers": true, "error_code": 403,
            "error_message": "slow down",
        }),
    );
    let mut first = rig.get("/");
    assert_eq!((first.access(&plugin), first.added()), (None, vec![]));
    let answer = rig.get("/").access(&plugin).unwrap();
    assert_eq!((answer.status, answer.headers), (403, vec![]));
    assert_eq!(answer.body, json!({"message": "slow down"}));
}

/// A limit of one a minute: which requests use up one another's budget.
fn budgets(rig: &mut Rig, config: Value, requests: &[&dyn Fn(&Rig) -> Exchange]) -> Vec<u16> {
    let mut config = config;
    config["minute"] = json!(1);
    let plugin = rig.plugin("rate-limiting", config);
    let got = requests.iter().map(|request| run(&plugin, request(rig)).0).collect();
    rig.delete("plugins", plugin.id);
    rig.clock.advance_ms(60_000);
    got
}

#[test]
fn whose_requests_count_together() {
    let mut rig = rig();
    let consumer =
        |rig: &mut Rig, name: &str| rig.insert("consumers", json!({ "username": name })).id();
    let (a, b) = (consumer(&mut rig, "a"), consumer(&mut rig, "b"));
    let service = |rig: &mut Rig, host: &str| rig.insert("services", json!({ "host": host })).id();
    let (s, t) = (service(&mut rig, "s"), service(&mut rig, "t"));
    let route = |rig: &mut Rig, service| {
        rig.insert("routes", json!({"paths": ["/"], "service": {"id": service}})).id()
    };
    let (on_s, also_on_s, on_t) = (route(&mut rig, s), route(&mut rig, s), route(&mut rig, t));

    let get = |rig: &Rig| rig.get("/");
    let other_ip = |rig: &Rig| rig.get("/").from("10.0.0.9");
    let mapped = |rig: &Rig| rig.get("/").from("::ffff:10.0.0.9");
    assert_eq!(
        budgets(&mut rig, json!({"limit_by": "ip"}), &[&get, &other_ip, &mapped, &get]),
        [200, 200, 429, 429]
    );

    let caller = |rig: &Rig, id, credential: Option<&str>| {
        let mut exchange = rig.get("/");
        exchange.facts.identity.consumer = rig.catalog.get(id);
        exchange.facts.identity.credential = credential.map(|name| Credential {
            id: gateway_model::Id::derived("x", name),
            identifier: name.into(),
        });
        exchange
    };
    let a1 = |rig: &Rig| caller(rig, a, Some("1"));
    let a2 = |rig: &Rig| caller(rig, a, Some("2"));
    let b1 = |rig: &Rig| caller(rig, b, None);
    let calls: [&dyn Fn(&Rig) -> Exchange; 5] = [&a1, &a2, &b1, &get, &a1];
    assert_eq!(budgets(&mut rig, json!({}), &calls), [200, 429, 200, 200, 429]);
    // Without a credential the address counts, which b and nobody share.
    let by = json!({"limit_by": "credential"});
    assert_eq!(budgets(&mut rig, by, &calls), [200, 200, 200, 429, 429]);

    let on = |route| move |rig: &Rig| rig.get("/").on(route);
    let by = json!({"limit_by": "service"});
    let requests: [&dyn Fn(&Rig) -> Exchange; 4] = [&on(on_s), &on(also_on_s), &on(on_t), &get];
    assert_eq!(budgets(&mut rig, by, &requests), [200, 429, 200, 200]);

    let key = |value: &'static str| move |rig: &Rig| rig.get("/").header("X-K", value);
    let by = json!({"limit_by": "header", "header_name": "x-k"});
    let requests: [&dyn Fn(&Rig) -> Exchange; 5] = [&key("a"), &key("b"), &key("a"), &get, &get];
    assert_eq!(budgets(&mut rig, by, &requests), [200, 200, 429, 200, 429]);

    let path = |path: &'static str| move |rig: &Rig| rig.get(path);
    let by = json!({"limit_by": "path", "path": "/p"});
    let requests: [&dyn Fn(&Rig) -> Exchange; 4] =
        [&path("/p"), &path("/p?q=1"), &path("/other"), &path("/third")];
    assert_eq!(budgets(&mut rig, by, &requests), [200, 429, 200, 429]);

    let app = |subject: &'static str| {
        move |rig: &Rig| {
            let mut exchange = caller(rig, a, Some("1"));
            let claims = json!({ "sub": subject }).as_object().unwrap().clone();
            exchange.facts.identity.claims = Some(claims.into());
            exchange
        }
    };
    let apps: [&dyn Fn(&Rig) -> Exchange; 6] = [&app("x"), &app("y"), &app("x"), &a1, &a2, &get];
    let by = json!({"limit_by": "subject"});
    assert_eq!(budgets(&mut rig, by, &apps), [200, 200, 429, 200, 429, 200]);
    // As Kong counts: all apps are one consumer.
    assert_eq!(budgets(&mut rig, json!({}), &apps[..3]), [200, 429, 429]);
}

#[test]
fn scopes_have_counters_of_their_own() {
    let mut rig = rig();
    let route = rig.insert("routes", json!({"paths": ["/"]})).id();
    let global = rig.plugin("rate-limiting", json!({"minute": 1}));
    let scoped = rig
        .try_instance(json!({
            "name": "rate-limiting", "config": {"minute": 1}, "route": {"id": route},
        }))
        .unwrap();
    assert_eq!(run(&global, rig.get("/")).0, 200);
    assert_eq!(run(&scoped, rig.get("/")).0, 200);
    assert_eq!(run(&global, rig.get("/")).0, 429);
}

#[test]
fn windows_turn_with_the_clock_and_outlive_a_recompile() {
    let mut rig = rig();
    let plugin = rig.plugin("rate-limiting", json!({"minute": 1}));
    assert_eq!(run(&plugin, rig.get("/")).0, 200);
    rig.patch("plugins", plugin.id, json!({"config": {"minute": 2}}));
    let stored = rig.catalog.collection("plugins").unwrap().get(plugin.id).unwrap();
    let again = rig.compile(stored).unwrap();
    assert_eq!(run(&again, rig.get("/")).0, 200);
    assert_eq!(run(&again, rig.get("/")).0, 429);
    rig.clock.advance_ms(29_999);
    assert_eq!(run(&again, rig.get("/")).0, 429, "still the same minute");
    rig.clock.advance_ms(1);
    assert_eq!(run(&again, rig.get("/")).0, 200);
}

#[test]
fn every_period_limits() {
    for period in ["second", "minute", "hour", "day", "month", "year"] {
        let mut rig = rig();
        let plugin = rig.plugin("rate-limiting", json!({ period: 1 }));
        assert_eq!(run(&plugin, rig.get("/")).0, 200, "{period}");
        let (status, told) = run(&plugin, rig.get("/"));
        assert_eq!(status, 429, "{period}");
        assert!(told.contains(&(format!("x-ratelimit-remaining-{period}"), "0".into())));
        rig.clock.advance_ms(366 * 86_400_000);
        assert_eq!(run(&plugin, rig.get("/")).0, 200, "{period}");
    }
}

#[test]
fn what_is_refused() {
    let mut rig = rig();
    let mut check = |config: Value, wanted: &str| {
        assert_eq!(rig.try_plugin("rate-limiting", config).err().unwrap(), wanted);
    };
    check(
        json!({"minute": 1, "policy": "cluster"}),
        "schema violation (config.policy: expected one of: local, redis)",
    );
    check(
        json!({"minute": 10, "hour": 5}),
        "schema violation (config: The limit for hour(5.0) cannot be lower than the limit for \
         minute(10.0))",
    );
    check(
        json!({"second": 10, "hour": 5}),
        "schema violation (config: The limit for hour(5.0) cannot be lower than the limit for \
         second(10.0))",
    );
    check(
        json!({"minute": 1, "sync_rate": 1}),
        "schema violation (config: sync_rate can only be used with the redis policy)",
    );
    check(
        json!({"minute": 1, "error_code": 9000}),
        "schema violation (config.error_code: value should be between 100 and 599)",
    );
}

#[test]
fn a_fraction_rounds_up_and_a_limit_without_end_never_stops() {
    let mut rig = rig();
    let plugin = rig.plugin("rate-limiting", json!({"minute": 1.5, "year": 1e300}));
    let statuses: Vec<u16> = (0..3).map(|_| run(&plugin, rig.get("/")).0).collect();
    assert_eq!(statuses, [200, 200, 429]);
    let (_, told) = run(&plugin, rig.get("/"));
    assert_eq!(told[0], ("x-ratelimit-limit-minute".into(), "1.5".into()));
}
