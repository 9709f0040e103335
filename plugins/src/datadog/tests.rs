#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use gateway_model::Item;
use gateway_model::entities::Consumer;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::contract::Latencies;
use crate::test_kit::rig;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn figures_have_tags() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut rig = rig();
    let service = rig.insert("services", json!({"name": "s.t", "host": "up.test"})).id();
    let route = json!({"paths": ["/"], "service": {"id": service}});
    let route = rig.insert("routes", route).id();
    let consumer = rig.insert("consumers", json!({"username": "c", "custom_id": "cc"})).id();
    let mut check = |config: Value, wanted: &[&str]| {
        let mut config = config;
        config["host"] = "127.0.0.1".into();
        config["port"] = port.into();
        let plugin = rig.plugin("datadog", config);
        let mut exchange = rig.get("/x").on(route);
        let known: Item<Consumer> = exchange.facts.catalog.get(consumer).unwrap();
        exchange.facts.identity.consumer = Some(known);
        exchange.latencies = Latencies { kong: 12, upstream: Some(7), request: 20 };
        exchange.log(&plugin, 200);
        rig.delete("plugins", plugin.id);
        wanted.iter().map(|line| (*line).to_owned()).collect::<Vec<String>>()
    };
    let all = [
        check(
            json!({}),
            &[
                "kong.request.count:1|c|#name:s_t,status:200,consumer:cc,app:kong",
                "kong.latency:20|ms|#name:s_t,status:200,consumer:cc,app:kong",
                "kong.request.size:124|ms|#name:s_t,status:200,consumer:cc,app:kong",
                "kong.response.size:1102|ms|#name:s_t,status:200,consumer:cc,app:kong",
                "kong.upstream_latency:7|ms|#name:s_t,status:200,consumer:cc,app:kong",
                "kong.kong_latency:12|ms|#name:s_t,status:200,consumer:cc,app:kong",
            ],
        ),
        check(
            json!({
                "prefix": "p", "service_name_tag": "svc", "status_tag": "code",
                "metrics": [{
                    "name": "latency", "stat_type": "distribution", "sample_rate": 0.1,
                    "tags": ["a:1", "b"],
                }],
            }),
            &["p.latency:20|d|@0.1|#svc:s_t,code:200,a:1,b"],
        ),
    ];
    // Instances have a queue each: their packets may mix.
    let mut wanted: Vec<String> = all.into_iter().flatten().collect();
    let mut buffer = vec![0; 65_536];
    while !wanted.is_empty() {
        let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        let length = received.expect("a packet in time").unwrap();
        let packet = std::str::from_utf8(&buffer[..length]).unwrap();
        let at = wanted.iter().position(|line| line == packet);
        wanted.remove(at.unwrap_or_else(|| panic!("{packet}")));
    }
}
