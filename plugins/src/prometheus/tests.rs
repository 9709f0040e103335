#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use prometheus::TextEncoder;
use serde_json::{Value, json};

use super::families::Families;
use crate::contract::{Latencies, Source};
use crate::test_kit::{Exchange, Rig, rig};
use crate::{Connections, NodeMetrics, Timers};

fn text(rig: &Rig) -> String {
    TextEncoder::new().encode_to_string(&rig.tools.metrics.gather()).unwrap()
}

/// The samples of a family, labels in the order of their names.
fn samples(rig: &Rig, family: &str) -> Vec<String> {
    let begins = [format!("{family}{{"), format!("{family} ")];
    text(rig)
        .lines()
        .filter(|line| begins.iter().any(|begin| line.starts_with(begin)))
        .map(str::to_owned)
        .collect()
}

struct World {
    rig: Rig,
    service: gateway_model::Id,
    route: gateway_model::Id,
    consumer: gateway_model::Id,
}

fn world() -> World {
    let mut rig = rig();
    let service = rig.insert("services", json!({"name": "s", "host": "up.test"})).id();
    let route = json!({"name": "r", "paths": ["/"], "service": {"id": service}});
    let route = rig.insert("routes", route).id();
    let consumer = rig.insert("consumers", json!({"username": "c"})).id();
    World { rig, service, route, consumer }
}

impl World {
    fn exchange(&self) -> Exchange {
        let mut exchange = self.rig.get("/x").on(self.route);
        exchange.facts.identity.consumer = self.rig.catalog.get(self.consumer);
        exchange.latencies = Latencies { kong: 12, upstream: Some(7), request: 20 };
        exchange
    }
}

fn everything(per_consumer: bool) -> Value {
    json!({
        "per_consumer": per_consumer, "status_code_metrics": true, "latency_metrics": true,
        "bandwidth_metrics": true, "upstream_health_metrics": true,
    })
}

#[test]
fn what_is_counted() {
    let mut world = world();
    let plugin = world.rig.plugin("prometheus", everything(true));
    for _ in 0..3 {
        world.exchange().log(&plugin, 200);
    }
    let mut refused = world.exchange();
    refused.source = Source::Gateway;
    refused.facts.identity.consumer = None;
    refused.latencies = Latencies { kong: 1, upstream: None, request: 1 };
    refused.log(&plugin, 401);
    world.rig.get("/nowhere").log(&plugin, 404);

    assert_eq!(
        samples(&world.rig, "kong_http_requests_total"),
        [
            r#"kong_http_requests_total{code="200",consumer="c",route="r",service="s",source="service",workspace="default"} 3"#,
            r#"kong_http_requests_total{code="401",consumer="",route="r",service="s",source="kong",workspace="default"} 1"#,
        ]
    );
    assert_eq!(
        samples(&world.rig, "kong_bandwidth_bytes"),
        [
            r#"kong_bandwidth_bytes{consumer="",direction="egress",route="r",service="s",workspace="default"} 1102"#,
            r#"kong_bandwidth_bytes{consumer="",direction="ingress",route="r",service="s",workspace="default"} 124"#,
            r#"kong_bandwidth_bytes{consumer="c",direction="egress",route="r",service="s",workspace="default"} 3306"#,
            r#"kong_bandwidth_bytes{consumer="c",direction="ingress",route="r",service="s",workspace="default"} 372"#,
        ]
    );
    let labels = r#"{route="r",service="s",workspace="default"}"#;
    for (family, sum, count) in [
        ("kong_kong_latency_ms", 37, 4),
        ("kong_upstream_latency_ms", 21, 3),
        ("kong_request_latency_ms", 61, 4),
    ] {
        let name = |part: &str| format!("{family}_{part}");
        assert_eq!(samples(&world.rig, &name("sum")), [format!("{family}_sum{labels} {sum}")]);
        assert_eq!(
            samples(&world.rig, &name("count")),
            [format!("{family}_count{labels} {count}")]
        );
    }
}

#[test]
fn streams_are_counted_apart() {
    let mut world = world();
    let plugin = world.rig.plugin("prometheus", everything(true));
    for (status, source) in [(200, Source::Upstream), (502, Source::Gateway)] {
        let mut stream = world.exchange();
        stream.uri = String::new();
        stream.source = source;
        stream.latencies = Latencies { kong: 2, upstream: None, request: 40 };
        stream.log(&plugin, status);
    }
    assert_eq!(
        samples(&world.rig, "kong_stream_sessions_total"),
        [
            r#"kong_stream_sessions_total{code="200",route="r",service="s",source="service",workspace="default"} 1"#,
            r#"kong_stream_sessions_total{code="502",route="r",service="s",source="kong",workspace="default"} 1"#,
        ]
    );
    let labels = r#"{route="r",service="s",workspace="default"}"#;
    assert_eq!(
        samples(&world.rig, "kong_session_duration_ms_sum"),
        [format!("kong_session_duration_ms_sum{labels} 80")]
    );
    for family in
        ["kong_http_requests_total", "kong_request_latency_ms", "kong_upstream_latency_ms"]
    {
        assert_eq!(samples(&world.rig, family), [""; 0], "{family}");
    }
}

#[test]
fn switches() {
    for (switch, families) in [
        ("status_code_metrics", &["kong_http_requests_total"][..]),
        ("bandwidth_metrics", &["kong_bandwidth_bytes"]),
        (
            "latency_metrics",
            &[
                "kong_kong_latency_ms_count",
                "kong_request_latency_ms_count",
                "kong_upstream_latency_ms_count",
            ],
        ),
        ("ai_metrics", &[]),
        ("per_consumer", &[]),
    ] {
        let mut world = world();
        let plugin = world.rig.plugin("prometheus", json!({ switch: true }));
        world.exchange().log(&plugin, 200);
        for family in [
            "kong_http_requests_total",
            "kong_bandwidth_bytes",
            "kong_kong_latency_ms_count",
            "kong_request_latency_ms_count",
            "kong_upstream_latency_ms_count",
        ] {
            let shown = samples(&world.rig, family);
            assert_eq!(!shown.is_empty(), families.contains(&family), "{switch}: {family}");
            assert!(!shown.iter().any(|line| line.contains("consumer=\"c\"")));
        }
    }
}

#[test]
fn names_follow_the_entities() {
    let mut world = world();
    let plugin = world.rig.plugin("prometheus", json!({"status_code_metrics": true}));
    world.exchange().log(&plugin, 200);
    world.rig.patch("routes", world.route, json!({"name": null}));
    world.rig.patch("services", world.service, json!({"name": null}));
    world.exchange().log(&plugin, 200);
    world.exchange().log(&plugin, 200);
    let rest = r#"source="service",workspace="default"}"#;
    let mut wanted = [
        format!(
            r#"kong_http_requests_total{{code="200",consumer="",route="r",service="s",{rest} 1"#
        ),
        format!(
            r#"kong_http_requests_total{{code="200",consumer="",route="{}",service="up.test",{rest} 2"#,
            world.route
        ),
    ];
    wanted.sort();
    let mut shown = samples(&world.rig, "kong_http_requests_total");
    shown.sort();
    assert_eq!(shown, wanted);
}

/// Names of routes may come and go for as long as the process lives.
#[test]
fn what_is_remembered_is_bounded() {
    let mut world = world();
    let plugin = world.rig.plugin("prometheus", json!({"status_code_metrics": true}));
    let exchange = world.exchange();
    // Any number is a status here; it stands for names that come and go.
    for status in 0..=50_000 {
        exchange.log(&plugin, status);
    }
    exchange.log(&plugin, 50_000);
    let shown = samples(&world.rig, "kong_http_requests_total");
    assert_eq!(shown.len(), 1, "all but the newest are forgotten");
    assert!(shown[0].contains("code=\"50000\"") && shown[0].ends_with(" 2"), "{}", shown[0]);
}

#[test]
fn threads_that_come_first_together_count_in_what_is_shown() {
    for _ in 0..100 {
        let world = world();
        let (threads, exchange) = (8, world.exchange());
        let together = std::sync::Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    together.wait();
                    let families = Families::of(&world.rig.tools);
                    let summary = exchange.summary(200);
                    let series = families.series(&summary, false).unwrap();
                    families.count_request(&series, &summary);
                });
            }
        });
        let shown = samples(&world.rig, "kong_http_requests_total");
        assert!(shown.len() == 1 && shown[0].ends_with(" 8"), "{shown:?}");
        let errors = samples(&world.rig, "kong_nginx_metric_errors_total");
        assert_eq!(errors, ["kong_nginx_metric_errors_total 0"]);
    }
}

#[test]
fn what_the_node_reports() {
    let rig = rig();
    let node = NodeMetrics::new("11111111-1111-4111-8111-111111111111", "3.10.0")
        .connections(|| Connections {
            accepted: 9,
            handled: 8,
            active: 7,
            reading: 1,
            writing: 2,
            waiting: 4,
        })
        .requests(|| 12)
        .timers(|| Timers { running: 3, pending: 1 })
        .datastore(|| true)
        .memory(|| 1_000_000);
    node.register(&rig.tools).unwrap();
    let check = |family: &str, wanted: &[&str]| {
        let id = r#"node_id="11111111-1111-4111-8111-111111111111""#;
        let wanted: Vec<String> = wanted.iter().map(|line| line.replace("ID", id)).collect();
        assert_eq!(samples(&rig, family), wanted);
    };
    check("kong_node_info", &[r#"kong_node_info{ID,version="3.10.0"} 1"#]);
    check("kong_datastore_reachable", &["kong_datastore_reachable 1"]);
    check("kong_nginx_metric_errors_total", &["kong_nginx_metric_errors_total 0"]);
    check("kong_nginx_requests_total", &[r#"kong_nginx_requests_total{ID,subsystem="http"} 12"#]);
    check(
        "kong_nginx_timers",
        &[r#"kong_nginx_timers{state="pending"} 1"#, r#"kong_nginx_timers{state="running"} 3"#],
    );
    check(
        "kong_nginx_connections_total",
        &[
            r#"kong_nginx_connections_total{ID,state="accepted",subsystem="http"} 9"#,
            r#"kong_nginx_connections_total{ID,state="active",subsystem="http"} 7"#,
            r#"kong_nginx_connections_total{ID,state="handled",subsystem="http"} 8"#,
            r#"kong_nginx_connections_total{ID,state="reading",subsystem="http"} 1"#,
            r#"kong_nginx_connections_total{ID,state="total",subsystem="http"} 8"#,
            r#"kong_nginx_connections_total{ID,state="waiting",subsystem="http"} 4"#,
            r#"kong_nginx_connections_total{ID,state="writing",subsystem="http"} 2"#,
        ],
    );
    assert!(NodeMetrics::new("again", "1").register(&rig.tools).is_err(), "once only");
}

#[test]
fn what_nobody_can_tell_is_left_out() {
    let rig = rig();
    NodeMetrics::new("n", "1").register(&rig.tools).unwrap();
    let shown = text(&rig);
    assert!(shown.contains("kong_node_info"));
    assert!(!shown.contains("kong_datastore_reachable") && !shown.contains("connections"));
}

/// Name, type and label names of every family, of a text in Prometheus' format.
fn families(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut families: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            families.insert(name.into(), (kind.into(), Vec::new()));
        } else if let Some((name, labels)) = line.split_once('{').filter(|_| !line.starts_with('#'))
        {
            let base = ["_bucket", "_sum", "_count"];
            let base = base.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let known = if families.contains_key(name) { name } else { base };
            let labels = labels.rsplit_once('}').unwrap().0;
            let mut labels: Vec<String> = labels
                .split("\",")
                .filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()))
                .filter(|label| label != "le")
                .collect();
            labels.sort();
            families.get_mut(known).unwrap().1 = labels;
        }
    }
    families
}

#[test]
fn families_are_kongs() {
    let mut world = world();
    let plugin = world.rig.plugin("prometheus", everything(true));
    world.exchange().log(&plugin, 200);
    NodeMetrics::new("n", "3.10.0")
        .connections(Connections::default)
        .requests(|| 0)
        .timers(Timers::default)
        .datastore(|| true)
        .memory(|| 0)
        .register(&world.rig.tools)
        .unwrap();
    assert_eq!(families(&text(&world.rig)), families(&crate::golden::metrics()));
}

/// The bounds of the histograms, as recorded (Kong leaves out empty low buckets, so one of each
/// family is enough).
#[test]
fn buckets_are_kongs() {
    let mut world = world();
    let plugin = world.rig.plugin("prometheus", everything(false));
    world.exchange().log(&plugin, 200);
    let bounds = |text: &str, family: &str| {
        let begin = format!("{family}_bucket{{");
        let mut bounds: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with(&begin) && line.contains("service=\"s\""))
            .filter_map(|line| Some(line.split_once("le=\"")?.1.split_once('"')?.0.to_owned()))
            .collect();
        bounds.sort();
        bounds
    };
    let (ours, kongs) = (text(&world.rig), crate::golden::metrics());
    for family in ["kong_kong_latency_ms", "kong_upstream_latency_ms", "kong_request_latency_ms"] {
        let wanted = bounds(&kongs, family);
        assert!(wanted.len() > 10);
        assert_eq!(bounds(&ours, family), wanted, "{family}");
    }
}

#[test]
fn every_state_of_a_target_is_told() {
    let rig = rig();
    let target = |address: &str, health| crate::Target {
        upstream: "u".into(),
        target: "t:80".into(),
        address: address.into(),
        health,
    };
    let all = vec![
        target("10.0.0.1:80", gateway_model::ports::Health::Healthy),
        target("10.0.0.2:80", gateway_model::ports::Health::Unhealthy),
    ];
    let node = NodeMetrics::new("id", "3.10.0").targets(move || all.clone());
    node.register(&rig.tools).unwrap();
    let told = samples(&rig, "kong_upstream_target_health");
    let is = |address: &str, state: &str| {
        let labels = [format!("address=\"{address}\""), format!("state=\"{state}\"")];
        let line = told.iter().find(|line| labels.iter().all(|label| line.contains(label)));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(told.len(), 8);
    for (address, state, wanted) in [
        ("10.0.0.1:80", "healthy", "1"),
        ("10.0.0.1:80", "healthchecks_off", "0"),
        ("10.0.0.2:80", "unhealthy", "1"),
        ("10.0.0.2:80", "healthy", "0"),
    ] {
        assert_eq!(is(address, state), wanted, "{address} {state}");
    }
}
