//! What a request costs in allocations, plugin by plugin. The numbers are pinned: whoever changes one
//! says why. CPU per request is the bench's to tell (`bench`, scenario `plugin`).

use allocation_counter::measure;
use serde_json::{Value, json};

use crate::contract::Phases;
use crate::test_kit::{Exchange, Instance, Rig, rig};

/// One plugin, a request it lets through, and what that may cost.
struct Row {
    plugin: &'static str,
    config: Value,
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
    most: u64,
}

fn row(plugin: &'static str, config: Value, most: u64) -> Row {
    Row { plugin, config, path: "/one?a=b", header: None, most }
}

fn rows() -> Vec<Row> {
    let basic = Some(("Authorization", "Basic Ym9iOnB3"));
    let browser = Some(("User-Agent", "Mozilla/5.0"));
    vec![
        Row { path: "/one?apikey=kk", ..row("key-auth", json!({}), 16) },
        Row { header: basic, ..row("basic-auth", json!({}), 19) },
        row("ip-restriction", json!({"allow": ["127.0.0.0/8"]}), 0),
        row("request-size-limiting", json!({}), 3),
        Row { header: browser, ..row("bot-detection", json!({}), 0) },
        row("cors", json!({}), 0),
        row("correlation-id", json!({}), 12),
        row("rate-limiting", json!({"minute": 1_000_000, "policy": "local"}), 7),
        row("response-ratelimiting", json!({"limits": {"v": {"minute": 1_000_000}}}), 16),
        row("request-transformer", json!({"add": {"headers": ["X-A:1"]}}), 6),
        row("proxy-cache", json!({"strategy": "memory"}), 15),
        row("zipkin", json!({"sample_ratio": 0}), 25),
        row("opentelemetry", json!({"traces_endpoint": "http://127.0.0.1:9/"}), 18),
        row("pre-function", json!({"access": ["ngx.var.upstream_x_forwarded_for=UNKNOWN"]}), 0),
        row("session", json!({}), 0),
    ]
}

fn request(rig: &Rig, row: &Row) -> Exchange {
    let exchange = rig.get(row.path);
    match row.header {
        Some((name, value)) => exchange.header(name, value),
        None => exchange,
    }
}

fn pass(exchange: &mut Exchange, instance: &Instance) {
    if instance.plugin.phases.has(Phases::ACCESS) {
        assert_eq!(exchange.access(instance), None, "{}", instance.plugin.name);
    }
}

#[test]
fn requests_cost_no_more_than_is_pinned() {
    let mut told = Vec::new();
    for row in rows() {
        let mut rig = rig();
        let bob = rig.insert("consumers", json!({"username": "bob"})).id();
        rig.insert("keyauth_credentials", json!({"key": "kk", "consumer": {"id": bob}}));
        let basic = json!({"username": "bob", "password": "pw", "consumer": {"id": bob}});
        rig.insert("basicauth_credentials", basic);
        let instance = rig.plugin(row.plugin, row.config.clone());
        // The first request finds nothing ready.
        pass(&mut request(&rig, &row), &instance);
        let mut exchange = request(&rig, &row);
        let cost = measure(|| pass(&mut exchange, &instance)).count_total;
        if cost > row.most {
            told.push(format!("{}: {cost} allocations, not {}", row.plugin, row.most));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}
