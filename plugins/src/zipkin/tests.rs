#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pingora_http::ResponseHeader;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::contract::Try;
use crate::test_kit::{Rig, rig};

const PATIENCE: Duration = Duration::from_secs(10);

/// A Zipkin server on loopback: gives the lists it is sent.
async fn server() -> (String, UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/api/v2/spans", listener.local_addr().unwrap());
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let tell = tell.clone();
                async move {
                    assert_eq!(request.headers()["content-type"], "application/json");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let _ = tell.send(serde_json::from_slice(&body).unwrap());
                    let answer = http::Response::builder().status(202);
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::new())).unwrap())
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, told)
}

fn entities(rig: &mut Rig) -> (gateway_model::Id, gateway_model::Id) {
    let service = rig.insert("services", json!({"name": "s", "host": "up.test"})).id();
    let route = json!({"name": "r", "paths": ["/"], "service": {"id": service}});
    (service, rig.insert("routes", route).id())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_tell_what_took_how_long() {
    let (address, mut told) = server().await;
    let mut rig = rig();
    let (service, route) = entities(&mut rig);
    let config = json!({
        "http_endpoint": address, "sample_ratio": 1, "http_span_name": "method_path",
        "static_tags": [{"name": "env", "value": "test"}], "default_service_name": "client",
        "http_response_header_for_traceid": "X-Trace", "queue": {"max_batch_size": 9},
    });
    let plugin = rig.plugin("zipkin", config);
    let mut exchange = rig.get("/x?q=1").on(route).header("Zipkin-Tags", "a=1; bad; b = 2 ");
    let began = rig.clock.unix_ms();
    rig.clock.advance_ms(2);
    assert_eq!(exchange.access(&plugin), None);
    let trace = exchange.sent("x-b3-traceid")[0].to_owned();
    let proxy = exchange.sent("x-b3-spanid")[0].to_owned();
    let request = exchange.sent("x-b3-parentspanid")[0].to_owned();
    assert_eq!(exchange.sent("x-b3-sampled"), ["1"]);
    let tries = [("127.0.0.1:1", Some(502)), ("127.0.0.1:2", None)];
    for (at, (address, failed)) in tries.into_iter().enumerate() {
        let address: SocketAddr = address.parse().unwrap();
        let start_ms = began + 3 + at as u64;
        exchange.tries.push(Try { address, start_ms, balancer_ns: 0, failed, status: None });
    }
    rig.clock.advance_ms(5);
    let head = ResponseHeader::build(200, None).unwrap();
    let (head, _) = exchange.respond(&plugin, head, &["a", "b"]);
    assert_eq!(head.headers["x-trace"], trace.as_str());
    rig.clock.advance_ms(1);
    exchange.log(&plugin, 200);

    let spans = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let span = |name: &str| {
        let all = spans.as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} in {spans}"))
    };
    assert_eq!(spans.as_array().unwrap().len(), 4);
    let micros = |ms: u64| json!((began + ms) * 1000);
    let whole = span("GET /x");
    assert_eq!((&whole["traceId"], &whole["id"]), (&json!(trace), &json!(request)));
    assert_eq!((&whole["kind"], &whole["parentId"]), (&json!("SERVER"), &Value::Null));
    assert_eq!((&whole["timestamp"], &whole["duration"]), (&micros(0), &json!(8000)));
    assert_eq!(whole["localEndpoint"], json!({"serviceName": "kong"}));
    assert_eq!(
        whole["remoteEndpoint"],
        json!({"ipv4": "127.0.0.1", "port": 40000, "serviceName": "client"})
    );
    assert_eq!(
        whole["tags"],
        json!({
            "lc": "kong", "http.method": "GET", "http.host": "gw.test", "http.path": "/x",
            "http.protocol": "HTTP/1.1", "env": "test", "a": "1", "b": "2",
            "http.status_code": "200", "kong.node.id": rig.tools.node.id.to_string(),
        })
    );
    let rewrite = [("krs", 0), ("krf", 2)];
    let rewrite = rewrite.map(|(name, at)| json!({"value": name, "timestamp": micros(at)}));
    assert_eq!(whole["annotations"], json!(rewrite));
    let upstream = span("GET /x (proxy)");
    assert_eq!((&upstream["id"], &upstream["parentId"]), (&json!(proxy), &json!(request)));
    assert_eq!(upstream["kind"], "CLIENT");
    let annotations = [("kas", 2), ("kaf", 3), ("khs", 7), ("khf", 7), ("kbs", 7), ("kbf", 8)];
    let annotations = annotations.map(|(name, at)| json!({"value": name, "timestamp": micros(at)}));
    assert_eq!(upstream["annotations"], json!(annotations));
    assert_eq!(upstream["remoteEndpoint"]["serviceName"], "s");
    assert_eq!(upstream["tags"]["peer.hostname"], "up.test");
    let failed = span("GET /x (balancer try 1)");
    assert_eq!(
        failed["tags"],
        json!({
            "kong.balancer.try": "1", "error": "true", "kong.balancer.state": "failed",
            "http.status_code": "502", "kong.service": service, "kong.service_name": "s",
            "kong.route": route, "kong.route_name": "r",
        })
    );
    assert_eq!((&failed["timestamp"], &failed["duration"]), (&micros(3), &json!(1000)));
    let done = span("GET /x (balancer try 2)");
    assert_eq!((&done["timestamp"], &done["duration"]), (&micros(4), &json!(4000)));
}

#[test]
fn a_sender_decides_what_is_sampled() {
    let check = |config: Value, header: (&str, &str), wanted: &[(&str, &str)]| {
        let mut rig = rig();
        let plugin = rig.plugin("zipkin", config.clone());
        let mut exchange = rig.get("/").header(header.0, header.1);
        assert_eq!(exchange.access(&plugin), None);
        for (name, part) in wanted {
            let sent = exchange.sent(name).join(",");
            assert!(sent.contains(part), "{config}, {header:?}: {name}: {sent}");
        }
    };
    let all = || json!({"sample_ratio": 1});
    let none = || json!({"sample_ratio": 0});
    check(all(), ("x-b3-sampled", "0"), &[("x-b3-sampled", "0")]);
    check(none(), ("b3", "1"), &[("b3", "-1-")]);
    check(none(), ("x-a", "1"), &[("x-b3-sampled", "0")]);
    check(all(), ("x-a", "1"), &[("x-b3-sampled", "1")]);
    // Short ids stay short; new ones are as long as is configured.
    check(
        json!({"traceid_byte_count": 8, "sample_ratio": 1, "default_header_type": "jaeger"}),
        ("x-a", "1"),
        &[("uber-trace-id", ":01")],
    );
    check(
        json!({"sample_ratio": 1, "header_type": "w3c"}),
        ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
        &[("traceparent", "-01"), ("b3", "-1-e457b5a2e4d86bd1")],
    );
}

#[test]
fn what_is_refused() {
    let check = |config: Value, wanted: &str| {
        let refused = rig().try_plugin("zipkin", config.clone()).err();
        let refused = refused.unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(wanted), "{refused}");
    };
    check(json!({"static_tags": [{"name": "lc", "value": "x"}]}), "must not be one of");
    let twice = json!([{"name": "a", "value": "x"}, {"name": "a", "value": "y"}]);
    check(json!({"static_tags": twice}), "repeated tags are not allowed: a");
    check(json!({"http_endpoint": "ftp://h/"}), "only http and https are supported");
    check(json!({"propagation": {"extract": ["b3"]}}), "required field missing");
}
