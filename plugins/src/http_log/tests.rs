#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::test_kit::{Rig, rig};

const PATIENCE: Duration = Duration::from_secs(10);

/// A collector on loopback: answers with these statuses in turn, then with 200.
async fn collector(
    statuses: &'static [u16],
) -> (String, UnboundedReceiver<(http::request::Parts, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        let mut statuses = statuses.iter().copied();
        let next =
            std::sync::Arc::new(std::sync::Mutex::new(move || statuses.next().unwrap_or(200)));
        while let Ok((stream, _)) = listener.accept().await {
            let (tell, next) = (tell.clone(), next.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (tell, status) = (tell.clone(), next.lock().unwrap()());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let _ = tell.send((head, serde_json::from_slice(&body).unwrap()));
                    let answer = Response::builder().status(status);
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from("ok"))).unwrap())
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, told)
}

async fn next(
    told: &mut UnboundedReceiver<(http::request::Parts, Value)>,
) -> (http::request::Parts, Value) {
    tokio::time::timeout(PATIENCE, told.recv()).await.expect("an entry in time").unwrap()
}

fn header<'a>(head: &'a http::request::Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).map(|value| value.to_str().unwrap())
}

fn log(rig: &Rig, plugin: &crate::test_kit::Instance, target: &str) {
    rig.get(target).header("Authorization", "Bearer secret").log(plugin, 200);
}

#[tokio::test]
async fn one_entry_is_one_request() {
    let (address, mut told) = collector(&[]).await;
    let mut rig = rig();
    // As EdgeGallery configures it, and what more there is.
    let plugin = rig.plugin(
        "http-log",
        json!({
            "http_endpoint": format!("http://me:pa%20ss@{address}/kong_log?x=1"),
            "method": "PUT", "timeout": 1000, "keepalive": 1000, "headers": {"X-L": "1"},
            "content_type": "application/json; charset=utf-8",
        }),
    );
    log(&rig, &plugin, "/x?a=1");
    let (head, entry) = next(&mut told).await;
    assert_eq!((head.method.as_str(), head.uri.to_string().as_str()), ("PUT", "/kong_log"));
    assert_eq!(header(&head, "content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(header(&head, "x-l"), Some("1"));
    assert_eq!(header(&head, "authorization"), Some("Basic bWU6cGEgc3M="));
    assert_eq!(header(&head, "transfer-encoding"), None);
    assert_eq!(header(&head, "host"), Some(address.as_str()));
    assert_eq!(entry["request"]["uri"], "/x?a=1");
    assert_eq!(entry["request"]["headers"]["authorization"], "REDACTED");
    assert_eq!(crate::drain(&rig.tools, PATIENCE).await, 0);
}

#[tokio::test]
async fn batches_are_lists() {
    let (address, mut told) = collector(&[]).await;
    for config in [
        json!({"queue": {"max_batch_size": 3}}),
        json!({"queue_size": 3, "flush_timeout": 0.5, "retry_count": 3}),
    ] {
        let mut rig = rig();
        let mut config = config;
        config["http_endpoint"] = format!("http://{address}/log").into();
        let plugin = rig.plugin("http-log", config);
        for number in 0..4 {
            log(&rig, &plugin, &format!("/{number}"));
        }
        for wanted in [&["/0", "/1", "/2"][..], &["/3"]] {
            let (_, list) = next(&mut told).await;
            let uris: Vec<&str> = list
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["request"]["uri"].as_str().unwrap())
                .collect();
            assert_eq!(uris, wanted);
        }
        assert_eq!(crate::drain(&rig.tools, PATIENCE).await, 0);
    }
}

#[tokio::test]
async fn a_refused_entry_is_sent_again() {
    let (address, mut told) = collector(&[503, 302]).await;
    let mut rig = rig();
    let plugin = rig.plugin("http-log", json!({"http_endpoint": format!("http://{address}/log")}));
    log(&rig, &plugin, "/again");
    for _ in 0..3 {
        assert_eq!(next(&mut told).await.1["request"]["uri"], "/again");
    }
    assert_eq!(crate::drain(&rig.tools, PATIENCE).await, 0);
    assert!(told.try_recv().is_err(), "the third time was enough");
}

/// A collector whose answers begin well and never end.
async fn endless_collector() -> (String, UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut request = [0; 16];
                stream.read_exact(&mut request).await.unwrap();
                let _ = tell.send(());
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
                // The other end may go away at any time.
                let _ = stream.write_all(head).await;
                let _ = stream.write_all(&vec![b'x'; 1 << 20]).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    (address, told)
}

#[tokio::test]
async fn an_endless_answer_holds_nobody_up() {
    let (address, mut told) = endless_collector().await;
    let mut rig = rig();
    let config = json!({"http_endpoint": format!("http://{address}/log"), "timeout": 600_000});
    let plugin = rig.plugin("http-log", config);
    for _ in 0..2 {
        log(&rig, &plugin, "/x");
    }
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, told.recv()).await.expect("an entry in time").unwrap();
    }
    assert_eq!(crate::drain(&rig.tools, PATIENCE).await, 0);
}

#[tokio::test]
async fn nobody_there_is_counted_when_the_process_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut rig = rig();
    let plugin = rig.plugin("http-log", json!({"http_endpoint": format!("http://{address}/log")}));
    log(&rig, &plugin, "/lost");
    log(&rig, &plugin, "/lost");
    assert_eq!(crate::drain(&rig.tools, Duration::from_millis(50)).await, 2);
}

#[test]
fn what_is_refused() {
    let mut rig = rig();
    let mut check = |config: Value, wanted: &str| {
        assert_eq!(rig.try_plugin("http-log", config).err().unwrap(), wanted);
    };
    check(
        json!({"http_endpoint": "nourl"}),
        "schema violation (config.http_endpoint: missing host in url)",
    );
    check(
        json!({"http_endpoint": "ftp://h/"}),
        "schema violation (config.http_endpoint: only http and https are supported)",
    );
    // A reference that leads nowhere.
    check(
        json!({"http_endpoint": "{vault://env/collector}"}),
        "schema violation (config.http_endpoint: could not parse url)",
    );
    check(
        json!({"http_endpoint": "http://h/", "headers": {"host": "x"}}),
        "schema violation (config.headers: cannot contain 'Host' header)",
    );
    check(
        json!({"http_endpoint": "http://u:p@h/", "headers": {"Authorization": "x"}}),
        "schema violation (config: specifying both an 'Authorization' header and user info in \
         'http_endpoint' is not allowed)",
    );
    check(
        json!({"http_endpoint": "http://h/", "custom_fields_by_lua": {"my": "print("}}),
        "schema violation (config.custom_fields_by_lua: Error parsing function: \
         [string \"print(\"]:1: unexpected symbol near '<eof>')",
    );
    check(
        json!({"http_endpoint": "http://h/", "queue": {"concurrency_limit": 2}}),
        "schema violation (config.queue: {\n  concurrency_limit = \"expected one of: -1, 1\"\n})",
    );
}
