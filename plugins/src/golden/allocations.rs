//! What a request costs in allocations, plugin by plugin. The numbers are pinned: whoever changes one
//! says why. CPU per request is the bench's to tell (`bench`, scenario `plugin`).

use allocation_counter::measure;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway_model::entities::Consumer;
use serde_json::{Value, json};

use crate::contract::Phases;
use crate::test_kit::{Exchange, Instance, Rig, rig};

/// One plugin, a request it lets through, and what that may cost.
struct Row {
    plugin: &'static str,
    config: Value,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    most: u64,
}

fn row(plugin: &'static str, config: Value, most: u64) -> Row {
    Row { plugin, config, path: "/one?a=b", headers: Vec::new(), most }
}

fn rows() -> Vec<Row> {
    let basic = vec![("Authorization", "Basic Ym9iOnB3".to_owned())];
    let browser = vec![("User-Agent", "Mozilla/5.0".to_owned())];
    vec![
        Row { path: "/one?apikey=kk", ..row("key-auth", json!({}), 16) },
        Row { headers: basic, ..row("basic-auth", json!({}), 19) },
        Row { headers: signed(), ..row("hmac-auth", json!({}), 18) },
        row("acl", json!({"allow": ["crew"]}), 6),
        row("ip-restriction", json!({"allow": ["127.0.0.0/8"]}), 0),
        row("request-size-limiting", json!({}), 3),
        Row { headers: browser, ..row("bot-detection", json!({}), 0) },
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

/// A request signed for hmac-auth.
fn signed() -> Vec<(&'static str, String)> {
    const DATE: &str = "Thu, 01 Jan 2026 00:00:30 GMT";
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"pw");
    let tag = hmac::sign(&key, format!("date: {DATE}").as_bytes());
    let signature = BASE64_STANDARD.encode(tag);
    let words = "hmac username=\"bob\", algorithm=\"hmac-sha256\", headers=\"date\"";
    let told = format!("{words}, signature=\"{signature}\"");
    vec![("Date", DATE.to_owned()), ("Authorization", told)]
}

fn request(rig: &Rig, row: &Row) -> Exchange {
    let mut exchange = rig.get(row.path);
    for (name, value) in &row.headers {
        exchange = exchange.header(name, value);
    }
    if row.plugin == "acl" {
        exchange.facts.identity.consumer = rig.catalog.by::<Consumer>("username", "bob");
    }
    exchange
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
        let hmac = json!({"username": "bob", "secret": "pw", "consumer": {"id": bob}});
        rig.insert("hmacauth_credentials", hmac);
        rig.insert("acls", json!({"group": "crew", "consumer": {"id": bob}}));
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

/// What loggers cost once a request is over: the entry is made once, whoever logs, and then each
/// writes it its own way.
#[test]
fn loggers_cost_no_more_than_is_pinned() {
    let there = json!({"host": "127.0.0.1", "port": 9});
    let mut loggly = there.clone();
    loggly["key"] = "k".into();
    let rows = [
        ("tcp-log", there.clone(), 4),
        ("udp-log", there, 4),
        ("syslog", json!({}), 7),
        ("loggly", loggly, 8),
        ("file-log", json!({"path": "/dev/null"}), 4),
        ("http-log", json!({"http_endpoint": "http://127.0.0.1:9/"}), 4),
    ];
    let mut told = Vec::new();
    for (name, config, most) in rows {
        let mut rig = rig();
        let instance = rig.plugin(name, config);
        let exchange = rig.get("/one?a=b");
        let summary = exchange.summary(200);
        instance.handler.log(&summary);
        let cost = measure(|| instance.handler.log(&summary)).count_total;
        if cost > most {
            told.push(format!("{name}: {cost} allocations, not {most}"));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}
