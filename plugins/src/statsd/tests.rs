#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use gateway_model::entities::Consumer;
use gateway_model::{Id, Item};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};

use crate::contract::{Latencies, Node};
use crate::test_kit::{Exchange, Rig, rig_on};

const PATIENCE: Duration = Duration::from_secs(10);

/// What the recorded exchange of Kong was, as far as figures go.
struct World {
    rig: Rig,
    route: Id,
    consumer: Id,
}

fn world() -> World {
    let mut rig = rig_on(Node { hostname: "gw.test".into(), ..Node::default() });
    let service = rig.insert("services", json!({"name": "s", "host": "up.test"})).id();
    let route = json!({"name": "r", "paths": ["/"], "service": {"id": service}});
    let route = rig.insert("routes", route).id();
    let consumer = rig.insert("consumers", json!({"username": "c", "custom_id": "cc"})).id();
    World { rig, route, consumer }
}

impl World {
    fn exchange(&self) -> Exchange {
        let mut exchange = self.rig.get("/x").on(self.route);
        let consumer: Item<Consumer> = exchange.facts.catalog.get(self.consumer).unwrap();
        exchange.facts.identity.consumer = Some(consumer);
        exchange.latencies = Latencies { kong: 12, upstream: Some(7), request: 20 };
        exchange
    }
}

async fn packets(socket: &UdpSocket, count: usize) -> Vec<String> {
    let mut buffer = vec![0; 65_536];
    let mut all = Vec::new();
    for _ in 0..count {
        let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        let length = received.expect("a packet in time").unwrap();
        all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    all
}

async fn collector() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_the_recorded_ones() {
    let (socket, port) = collector().await;
    let mut world = world();
    let plugin = world.rig.plugin("statsd", json!({"host": "127.0.0.1", "port": port}));
    world.exchange().log(&plugin, 200);
    let recorded: Vec<String> =
        serde_json::from_value(crate::golden::log_entries()["statsd packets"].clone()).unwrap();
    // Ids are made anew.
    let id = regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap();
    let alike = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| id.replace(line, "<id>").into_owned()).collect()
    };
    assert_eq!(alike(&packets(&socket, recorded.len()).await), alike(&recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_share_packets_when_told() {
    let (socket, port) = collector().await;
    let mut world = world();
    let config = json!({
        "host": "127.0.0.1", "port": port, "prefix": "p", "hostname_in_prefix": true,
        "udp_packet_size": 100, "allow_status_codes": ["200-299", "500-599"],
        "metrics": [
            {"name": "request_count", "stat_type": "counter", "sample_rate": 0.5},
            {"name": "latency", "stat_type": "histogram"},
            {"name": "request_size", "stat_type": "gauge", "sample_rate": 1},
            {"name": "unique_users", "stat_type": "set", "consumer_identifier": "username"},
        ],
    });
    let plugin = world.rig.plugin("statsd", config);
    world.exchange().log(&plugin, 404);
    world.exchange().log(&plugin, 201);
    assert_eq!(
        packets(&socket, 2).await,
        [
            "p.node.gw_test.service.s.request.count:1|c|@0.5\n\
             p.node.gw_test.service.s.latency:20|h",
            "p.node.gw_test.service.s.request.size:124|g\n\
             p.node.gw_test.service.s.user.uniques:c|s",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_written_in_four_styles() {
    let metrics = json!([
        {"name": "latency", "stat_type": "timer"},
        {"name": "status_count", "stat_type": "counter", "sample_rate": 1},
    ]);
    let tags = |between: &str| {
        let all = [
            ("service", "s"),
            ("route", "r"),
            ("workspace", "default"),
            ("consumer", "cc"),
            ("node", "gw_test"),
            ("status", "200"),
        ];
        all.map(|(name, value)| format!("{name}{between}{value}")).join(",")
    };
    let (colons, equals) = (tags(":"), tags("="));
    for (style, wanted) in [
        ("dogstatsd", format!("kong.latency:20|ms|#{colons}")),
        ("influxdb", format!("kong.latency,{equals}:20|ms")),
        ("librato", format!("kong.latency#{equals}:20|ms")),
        ("signalfx", format!("kong.latency[{equals}]:20|ms")),
    ] {
        let (socket, port) = collector().await;
        let mut world = world();
        let config = json!({
            "host": "127.0.0.1", "port": port, "metrics": metrics, "tag_style": style,
            "workspace_identifier_default": "workspace_name",
        });
        let plugin = world.rig.plugin("statsd", config);
        world.exchange().log(&plugin, 200);
        assert_eq!(packets(&socket, 1).await, [wanted]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_over_tcp_when_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut world = world();
    let config: Value = json!({
        "host": "127.0.0.1", "port": port, "use_tcp": true,
        "metrics": [
            {"name": "upstream_latency", "stat_type": "timer"},
            {"name": "kong_latency", "stat_type": "timer"},
        ],
    });
    let plugin = world.rig.plugin("statsd", config);
    let mut exchange = world.rig.get("/none");
    exchange.latencies = Latencies { kong: 1, upstream: None, request: 1 };
    exchange.log(&plugin, 404);
    world.exchange().log(&plugin, 200);
    let stream = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
    let mut lines = BufReader::new(stream).lines();
    for wanted in [
        "kong.global.unmatched.kong_latency:1|ms",
        "kong.service.s.upstream_latency:7|ms",
        "kong.service.s.kong_latency:12|ms",
    ] {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        assert_eq!(line.as_deref(), Some(wanted));
    }
}
