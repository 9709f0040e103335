#![allow(clippy::unwrap_used, reason = "tests")]

use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::contract::{Credential, Latencies, Source, Try};
use crate::test_kit::rig;

#[test]
fn the_entry_of_a_proxied_request() {
    let mut rig = rig();
    let service =
        rig.insert("services", json!({"name": "s", "host": "up.test", "tags": ["st"]})).id();
    let route =
        rig.insert("routes", json!({"name": "r", "paths": ["/"], "service": {"id": service}})).id();
    let consumer = rig.insert("consumers", json!({"username": "c", "custom_id": "cc"})).id();
    let credential = gateway_model::Id::derived("x", "y");
    let mut exchange = rig
        .get("/x?a=1&b=2&b=3&c&d=%20+")
        .on(route)
        .method("POST")
        .header("Authorization", "secret")
        .header("Proxy-Authorization", "secret")
        .header("X-Two", "1")
        .header("X-Two", "2");
    exchange.facts.identity.authenticate(
        &mut exchange.head,
        rig.catalog.get(consumer),
        Some(Credential { id: credential, identifier: "i".into() }),
    );
    exchange.latencies = Latencies { kong: 12, upstream: Some(7), request: 20 };
    let address = "127.0.0.1:29001".parse().unwrap();
    exchange.tries = vec![
        Try { address, start_ms: 5, balancer_ns: 23_808, failed: Some(502), status: None },
        Try { address, start_ms: 6, balancer_ns: 1_500_000, failed: None, status: Some(200) },
    ];
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.append_header("Set-Cookie", "a=1").unwrap();
    head.append_header("Set-Cookie", "b=2").unwrap();
    exchange.response = Some(head);

    let mut entry = exchange.summary(200).entry().clone();
    let text = entry.to_string();
    assert!(!text.contains("secret") && !text.contains("null"), "{text}");
    let object = entry.as_object_mut().unwrap();
    let times = ["created_at", "updated_at"];
    for kind in ["route", "service", "consumer"] {
        let entity = object[kind].as_object_mut().unwrap();
        for time in times {
            assert_eq!(entity.shift_remove(time).unwrap(), 1_767_225_630);
        }
    }
    let ws = super::WORKSPACE.0;
    let wanted = json!({
        "request": {
            "id": "0123456789abcdef0123456789abcdef", "method": "POST",
            "uri": "/x?a=1&b=2&b=3&c&d=%20+", "url": "http://gw.test:28000/x?a=1&b=2&b=3&c&d=%20+",
            "size": 124,
            "querystring": {"a": "1", "b": ["2", "3"], "c": true, "d": "  "},
            "headers": {
                "host": "gw.test", "authorization": "REDACTED", "proxy-authorization": "REDACTED",
                "x-two": ["1", "2"], "x-consumer-id": consumer, "x-consumer-custom-id": "cc",
                "x-consumer-username": "c", "x-credential-identifier": "i",
            },
        },
        "response": {"status": 200, "size": 1102, "headers": {"set-cookie": ["a=1", "b=2"]}},
        "upstream_uri": "/x?a=1&b=2&b=3&c&d=%20+",
        "upstream_status": "502, 200",
        "latencies": {"kong": 12, "proxy": 7, "request": 20, "receive": 1},
        "tries": [
            {"ip": "127.0.0.1", "port": 29001, "balancer_start": 5, "balancer_start_ns": 5_000_000,
             "balancer_latency": 0, "balancer_latency_ns": 23_808,
             "state": "failed", "code": 502},
            {"ip": "127.0.0.1", "port": 29001, "balancer_start": 6, "balancer_start_ns": 6_000_000,
             "balancer_latency": 1, "balancer_latency_ns": 1_500_000},
        ],
        "client_ip": "127.0.0.1", "started_at": 1_767_225_630_000_u64, "source": "upstream",
        "workspace": ws, "workspace_name": "default",
        "route": {
            "id": route, "name": "r", "paths": ["/"], "service": {"id": service},
            "protocols": ["http", "https"], "https_redirect_status_code": 426, "strip_path": true,
            "preserve_host": false, "request_buffering": true, "response_buffering": true,
            "regex_priority": 0, "path_handling": "v0", "ws_id": ws,
        },
        "service": {
            "id": service, "name": "s", "retries": 5, "protocol": "http", "host": "up.test",
            "port": 80, "connect_timeout": 60000, "write_timeout": 60000, "read_timeout": 60000,
            "tags": ["st"], "enabled": true, "ws_id": ws,
        },
        "consumer": {"id": consumer, "username": "c", "custom_id": "cc"},
        "authenticated_entity": {"id": credential},
    });
    assert_eq!(entry, wanted);
}

#[test]
fn the_entry_of_a_request_without_a_route() {
    let rig = rig();
    let mut exchange = rig.get("/none").tls();
    exchange.source = Source::Gateway;
    exchange.latencies = Latencies { kong: 1, upstream: None, request: 1 };
    let summary = exchange.summary(404);
    let entry = summary.entry();
    assert!(std::ptr::eq(entry, summary.entry()), "made once");
    for absent in ["route", "service", "consumer", "authenticated_entity"] {
        assert_eq!(entry.get(absent), None);
    }
    assert_eq!(entry["source"], "kong");
    assert_eq!(entry["latencies"], json!({"kong": 1, "proxy": -1, "request": 1, "receive": 0}));
    assert_eq!((&entry["tries"], &entry["upstream_status"]), (&json!([]), &json!("")));
    assert_eq!(entry["request"]["querystring"], json!({}));
    assert_eq!(entry["request"]["url"], "https://gw.test:28000/none");
    let tls = json!({
        "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "client_verify": "NONE",
    });
    assert_eq!(entry["request"]["tls"], tls);
}

#[test]
fn the_url_names_the_host_in_lower_case() {
    let rig = rig();
    let mut exchange = rig.get("/X");
    exchange.head.insert_header("Host", "GW.Test:28000").unwrap();
    let summary = exchange.summary(200);
    let request = &summary.entry()["request"];
    assert_eq!(request["url"], "http://gw.test:28000/X");
    assert_eq!(request["headers"]["host"], "GW.Test:28000", "as the client sent it");
}

#[test]
fn hosts_without_their_port() {
    for (host, wanted) in [
        ("gw.test", "gw.test"),
        ("gw.test:8000", "gw.test"),
        ("[::1]", "[::1]"),
        ("[::1]:8000", "[::1]"),
        ("", ""),
    ] {
        assert_eq!(super::without_port(host), wanted);
    }
}

/// The members Kong's own recorded entries have, ours have too.
#[test]
fn members_are_kongs() {
    let recorded = crate::golden::log_entries();
    let recorded = &recorded["entry: success"];
    let rig = rig();
    let exchange = rig.get("/x");
    let summary = exchange.summary(200);
    let entry = summary.entry();
    let members = |value: &Value| {
        let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    for part in ["request", "response", "latencies"] {
        assert_eq!(members(&entry[part]), members(&recorded[part]), "{part}");
    }
    let situational = ["consumer", "route", "service", "authenticated_entity", "my"];
    let mut wanted = members(recorded);
    wanted.retain(|name| !situational.contains(&name.as_str()));
    assert_eq!(members(entry), wanted);
}
