#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use pingora_http::ResponseHeader;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::contract::{Node, Phases, PluginTime, PluginTimes, Tracing, Try};
use crate::test_kit::{Rig, rig, rig_on};

const PATIENCE: Duration = Duration::from_secs(10);

/// A collector on loopback.
async fn collector()
-> (String, UnboundedReceiver<(http::request::Parts, ExportTraceServiceRequest)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let tell = tell.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let _ = tell.send((head, ExportTraceServiceRequest::decode(body).unwrap()));
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::new())))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, told)
}

fn tracing(parts: &[&str], rate: f64) -> Rig {
    let instrumentations = parts.iter().map(|part| (*part).to_owned()).collect();
    let tracing = Tracing { instrumentations, sampling_rate: rate };
    rig_on(Node { tracing, ..Node::default() })
}

fn attributes(all: &[KeyValue]) -> Value {
    let value = |one: &KeyValue| match one.value.clone().unwrap().value.unwrap() {
        Any::StringValue(text) => Value::from(text),
        Any::IntValue(number) => Value::from(number),
        other => panic!("{other:?}"),
    };
    all.iter().map(|one| (one.key.clone(), value(one))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_go_to_the_collector() {
    let (address, mut told) = collector().await;
    let mut rig = tracing(&["all"], 1.0);
    let service = rig.insert("services", json!({"name": "s", "host": "up.test"})).id();
    let route = json!({"paths": ["/x"], "service": {"id": service}});
    let route = rig.insert("routes", route).id();
    let config = json!({
        "endpoint": address, "headers": {"X-Auth": "secret"},
        "resource_attributes": {"service.name": "edge", "zone": "a"},
        "http_response_header_for_traceid": "X-Trace",
    });
    let plugin = rig.plugin("opentelemetry", config);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut exchange = rig.get("/x?q=1").on(route).header("traceparent", parent);
    let began = rig.clock.unix_ms();
    rig.clock.advance_ms(2);
    assert_eq!(exchange.access(&plugin), None);
    let sent = exchange.sent("traceparent")[0].to_owned();
    assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && sent.ends_with("-01"));
    let entry = exchange.summary(200).entry()["trace_id"].clone();
    assert_eq!(entry, json!({"w3c": "4bf92f3577b34da6a3ce929d0e0e4736"}));
    let address = "127.0.0.1:7".parse().unwrap();
    let time =
        |phase, plugin, began_ns| PluginTime { phase, plugin, began_ns, ended_ns: began_ns + 5 };
    exchange.facts.notes.insert(PluginTimes(vec![
        time(Phases::ACCESS, "key-auth", 7),
        time(Phases::HEADER_FILTER, "cors", 9),
    ]));
    exchange.tries.push(Try {
        address,
        start_ms: began + 3,
        balancer_ns: 0,
        failed: Some(504),
        status: None,
    });
    exchange.tries.push(Try {
        address,
        start_ms: began + 4,
        balancer_ns: 0,
        failed: None,
        status: None,
    });
    let head = ResponseHeader::build(200, None).unwrap();
    let (head, _) = exchange.respond(&plugin, head, &[]);
    assert_eq!(head.headers["x-trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
    rig.clock.advance_ms(8);
    exchange.log(&plugin, 200);

    let (head, request) = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    assert_eq!(head.headers["content-type"], "application/x-protobuf");
    assert_eq!(head.headers["x-auth"], "secret");
    let [resource] = &request.resource_spans[..] else { panic!("{request:?}") };
    assert_eq!(
        attributes(&resource.resource.as_ref().unwrap().attributes),
        json!({
            "service.instance.id": rig.tools.node.id.to_string(), "service.version": "3.10.0",
            "service.name": "edge", "zone": "a",
        })
    );
    let spans = &resource.scope_spans[0].spans;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let plugins = ["kong.access.plugin.key-auth", "kong.header_filter.plugin.cors"];
    let [key_auth, cors] = plugins;
    let all = ["kong", "kong.router", key_auth, cors, "kong.balancer", "kong.balancer"];
    assert_eq!(names, all);
    let [root, router, access, _, failed, done] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(hex::encode(&root.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex::encode(&root.parent_span_id), "00f067aa0ba902b7");
    assert!(spans[1..].iter().all(|span| span.parent_span_id == root.span_id));
    assert_eq!(hex::encode(&done.span_id), sent[36..52], "the upstream knows its try");
    let nanos = |ms: u64| (began + ms) * 1_000_000;
    let times = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        (span.start_time_unix_nano, span.end_time_unix_nano)
    };
    assert_eq!(times(access), (7, 12));
    assert_eq!(times(root), (nanos(0), nanos(10)));
    assert_eq!(times(router), (nanos(0), nanos(2)));
    assert_eq!((times(failed), times(done)), ((nanos(3), nanos(4)), (nanos(4), nanos(10))));
    assert_eq!(
        attributes(&root.attributes),
        json!({
            "http.method": "GET", "http.url": "http://gw.test/x?q=1", "http.host": "gw.test",
            "http.scheme": "http", "http.flavor": "1.1", "http.client_ip": "127.0.0.1",
            "net.peer.ip": "127.0.0.1", "kong.request.id": "0123456789abcdef0123456789abcdef",
            "http.status_code": 200, "http.route": "/x",
        })
    );
    assert_eq!(failed.status.as_ref().unwrap().code, 2);
    assert_eq!(attributes(&failed.attributes)["http.status_code"], 504);
}

#[test]
fn without_instrumentations_nothing_is_sampled() {
    let check = |mut rig: Rig, config: Value, sent: &str, wanted: &str| {
        let mut config = config;
        config["traces_endpoint"] = "http://127.0.0.1:1/".into();
        let plugin = rig.plugin("opentelemetry", config);
        let mut exchange = rig.get("/").header("traceparent", sent);
        assert_eq!(exchange.access(&plugin), None);
        let told = exchange.sent("traceparent")[0];
        assert!(told.ends_with(wanted), "{told}");
    };
    let yes = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let no = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    check(rig(), json!({}), yes, "-00");
    check(tracing(&["request"], 1.0), json!({}), yes, "-01");
    check(tracing(&["request"], 1.0), json!({}), no, "-00");
    check(tracing(&["request"], 0.0), json!({}), yes, "-00");
    check(tracing(&["request"], 0.0), json!({"sampling_rate": 1}), yes, "-01");
}

#[test]
fn what_is_refused() {
    let check = |config: Value, wanted: &str| {
        let refused = rig().try_plugin("opentelemetry", config.clone()).err();
        let refused = refused.unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(wanted), "{refused}");
    };
    check(json!({}), "at least one of these fields must be non-empty");
    check(json!({"logs_endpoint": "ftp://h/"}), "only http and https are supported");
    check(json!({"traces_endpoint": "ftp://h/"}), "only http and https are supported");
}
