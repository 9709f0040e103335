//! What the gateway tells others of requests: loggers and traces, at real receivers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

use crate::harness::{Answered as _, DEADLINE, Gateway, Options, Upstream, plain};

async fn publish(gateway: &Gateway, upstream: &Upstream, plugins: &[Value]) {
    let service = json!({"name": "a", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": "a", "paths": ["/a"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
    for plugin in plugins {
        plain().post(gateway.url("admin", "/plugins")).json(plugin).answer().await.expect(201);
    }
}

async fn within<T>(wait: impl Future<Output = std::io::Result<T>>) -> T {
    tokio::time::timeout(DEADLINE, wait).await.expect("in time").unwrap()
}

#[tokio::test]
async fn loggers_reach_their_receivers() {
    let (udp, loggly) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options::new();
    let socket = options.prefix().join("log.sock");
    let syslog = UnixDatagram::bind(&socket).unwrap();
    let gateway = options.set("mep_syslog_socket", socket.to_str().unwrap()).start().await;
    let upstream = Upstream::start().await;
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let metrics = json!([{"name": "status_count", "stat_type": "counter", "sample_rate": 1}]);
    let plugins = [
        json!({"name": "statsd", "config": {
            "host": "127.0.0.1", "port": port(&udp), "metrics": metrics,
        }}),
        json!({"name": "loggly", "config": {
            "host": "127.0.0.1", "port": port(&loggly), "key": "token",
        }}),
        json!({"name": "tcp-log", "config": {
            "host": "127.0.0.1", "port": tcp.local_addr().unwrap().port(),
            "custom_fields_by_lua": {"my.own": "return 'v'"},
        }}),
        json!({"name": "syslog", "config": {"facility": "local0"}}),
    ];
    publish(&gateway, &upstream, &plugins).await;
    plain().get(gateway.url("proxy", "/a/status/201")).answer().await.expect(201);

    let mut buffer = vec![0; 65_536];
    let length = within(udp.recv(&mut buffer)).await;
    assert_eq!(&buffer[..length], b"kong.service.a.status.201:1|c");
    let length = within(loggly.recv(&mut buffer)).await;
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(message.contains(" kong - - [token@41058 tag=\"kong\"] {"), "{message}");
    let length = within(syslog.recv(&mut buffer)).await;
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(message.starts_with("<134>") && message.contains("\"status\":201"), "{message}");
    let mut lines = BufReader::new(within(tcp.accept()).await.0).lines();
    let entry: Value = serde_json::from_str(&within(lines.next_line()).await.unwrap()).unwrap();
    assert_eq!((&entry["response"]["status"], &entry["my"]["own"]), (&json!(201), &json!("v")));
}

/// What is still queued is sent when the gateway stops.
#[tokio::test]
async fn a_stop_sends_what_waits() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start().await;
    let metrics = json!([{"name": "request_count", "stat_type": "counter", "sample_rate": 1}]);
    let plugin = json!({"name": "statsd", "config": {
        "host": "127.0.0.1", "port": udp.local_addr().unwrap().port(), "metrics": metrics,
        "queue": {"max_batch_size": 100, "max_coalescing_delay": 3600},
    }});
    publish(&gateway, &upstream, &[plugin]).await;
    plain().get(gateway.url("proxy", "/a")).answer().await.expect(200);
    let mut buffer = [0; 512];
    let early = tokio::time::timeout(Duration::from_millis(300), udp.recv(&mut buffer)).await;
    assert!(early.is_err(), "an hour has not gone by");
    gateway.signal(rustix::process::Signal::TERM);
    let length = within(udp.recv(&mut buffer)).await;
    assert_eq!(&buffer[..length], b"kong.service.a.request.count:1|c");
    gateway.ended().await;
}

#[tokio::test]
async fn spans_reach_zipkin_and_a_collector() {
    let (upstream, zipkin, collector) =
        (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let options = Options::new().set("tracing_instrumentations", "all");
    let gateway = options.set("tracing_sampling_rate", "1").start().await;
    let plugins = [
        json!({"name": "zipkin", "config": {
            "http_endpoint": format!("{}/api/v2/spans", zipkin.url()), "sample_ratio": 1,
            "header_type": "ignore", "default_header_type": "b3-single",
            "queue": {"max_batch_size": 10},
        }}),
        json!({"name": "opentelemetry", "config": {
            "traces_endpoint": format!("{}/v1/traces", collector.url()),
        }}),
    ];
    publish(&gateway, &upstream, &plugins).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = plain().get(gateway.url("proxy", "/a/x")).header("traceparent", parent);
    request.answer().await.expect(200);
    let seen = upstream.only();
    let [told] = seen.all("traceparent")[..] else { panic!("{seen:?}") };
    // b3-single of zipkin is what opentelemetry looks for first.
    let [b3] = seen.all("b3")[..] else { panic!("{seen:?}") };
    assert!(told == parent && b3.ends_with(&b3[b3.len() - 16..]), "{told} {b3}");

    let spans = zipkin.next().await;
    assert_eq!((spans.method.as_str(), spans.uri.as_str()), ("POST", "/api/v2/spans"));
    let names: Vec<Value> =
        spans.json().as_array().unwrap().iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, ["GET (balancer try 1)", "GET (proxy)", "GET"]);
    let export = collector.next().await;
    assert_eq!(export.uri, "/v1/traces");
    assert_eq!(export.all("content-type"), ["application/x-protobuf"]);
    for part in [
        "kong-internal",
        "kong.balancer",
        "kong.router",
        "kong.access.plugin.zipkin",
        "kong.header_filter.plugin.zipkin",
        "service.name",
    ] {
        assert!(export.body.contains(part), "{part} in {:?}", export.body);
    }
}

/// Lines of the log, with the trace of the request they are about.
#[tokio::test]
async fn lines_reach_a_collector() {
    let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
    let options = Options::new().set("tracing_instrumentations", "request");
    let gateway = options.set("tracing_sampling_rate", "1").start().await;
    let plugins = [
        json!({"name": "opentelemetry", "config": {
            "logs_endpoint": format!("{}/v1/logs", collector.url()),
            "queue": {"max_batch_size": 1},
        }}),
        json!({"name": "pre-function", "config": {"access": ["kong.log.err('something', ' odd')"]}}),
    ];
    publish(&gateway, &upstream, &plugins).await;
    plain().get(gateway.url("proxy", "/a/x")).answer().await.expect(200);
    let trace = upstream.only().header("traceparent").expect("a trace").to_owned();
    assert!(trace.ends_with("-01"), "{trace}");
    let line = async || {
        let all = collector.take();
        all.into_iter().find(|one| one.body.contains("something odd"))
    };
    let export = crate::harness::eventually("the line", line).await;
    assert_eq!((export.method.as_str(), export.uri.as_str()), ("POST", "/v1/logs"));
    for part in ["kong-internal", "ERROR", "request.id", "service.name"] {
        assert!(export.body.contains(part), "{part} in {:?}", export.body);
    }
}

#[tokio::test]
async fn only_signed_webhooks_pass() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let plugin = json!({"name": "standard-webhooks", "config": {"secret_v1": "a secret"}});
    publish(&gateway, &upstream, &[plugin]).await;
    let time = crate::harness::now();
    let body = r#"{"a":1}"#;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"a secret");
    let signed = aws_lc_rs::hmac::sign(&key, format!("id.{time}.{body}").as_bytes());
    let signature = {
        use base64::Engine as _;
        format!("v1,{}", base64::prelude::BASE64_STANDARD.encode(signed))
    };
    let send = async |body: &'static str| {
        let post = plain().post(gateway.url("proxy", "/a")).body(body);
        let post = post.header("webhook-id", "id").header("webhook-signature", &signature);
        post.header("webhook-timestamp", time.to_string()).answer().await
    };
    send(body).await.expect(200);
    assert_eq!(upstream.only().body, body);
    let refused = send(r#"{"a":2}"#).await.expect(400);
    assert_eq!(refused.json()["message"], "Bad request");
    assert_eq!(upstream.take().len(), 0);
}
