//! The plugin `proxy-cache`, and the paths of the Admin API it brings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Answer, Answered as _, Gateway, Upstream, plain};

/// An upstream that always says the same, and how often it was asked.
pub(crate) struct Telling {
    pub(crate) addr: SocketAddr,
    pub(crate) asked: Arc<AtomicUsize>,
}

/// An upstream that answers everything with these headers and this body.
pub(crate) async fn telling(headers: &[(&str, &str)], body: &str) -> Telling {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let answer =
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (answer, count) = (answer.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let mut read = vec![0; 16_384];
                // Requests here are small: each comes in one piece.
                while client.read(&mut read).await.is_ok_and(|length| length > 0) {
                    count.fetch_add(1, Ordering::Relaxed);
                    if client.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Telling { addr, asked }
}

async fn cached(gateway: &Gateway, upstream: &Upstream, config: Value) -> String {
    let service = json!({"name": "a", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": "a", "paths": ["/"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
    let plugin = json!({"name": "proxy-cache", "config": config});
    let made = plain().post(gateway.url("admin", "/plugins")).json(&plugin).answer().await;
    made.expect(201).json()["id"].as_str().unwrap().to_owned()
}

async fn get(gateway: &Gateway, target: &str) -> Answer {
    plain().get(gateway.url("proxy", target)).answer().await
}

#[tokio::test]
async fn an_answer_is_given_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let config = json!({"strategy": "memory", "content_type": ["application/json"]});
    let id = cached(&gateway, &upstream, config).await;

    let first = get(&gateway, "/reshdr?b=1&a=2").await.expect(200);
    assert_eq!(first.header("x-cache-status"), Some("Miss"));
    let again = get(&gateway, "/reshdr?a=2&b=1").await.expect(200);
    assert_eq!(upstream.take().len(), 1);
    assert_eq!(again.header("x-cache-status"), Some("Hit"));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("age"), Some("0"));
    // As if the upstream had answered, in all that concerns clients.
    for name in ["server", "x-up", "cache-control", "content-type", "x-cache-key"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(again.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(again.header("via"), Some("1.1 kong/3.10.0"));
    assert!(again.header("x-kong-upstream-latency").is_some());
    assert_ne!(again.header("x-kong-request-id"), first.header("x-kong-request-id"));

    let admin = |path: String| gateway.url("admin", &path);
    let key = first.header("x-cache-key").unwrap();
    let shown = plain().get(admin(format!("/proxy-cache/{key}"))).answer().await.expect(200).json();
    assert_eq!((&shown["status"], &shown["ttl"]), (&json!(200), &json!(300)));
    assert_eq!(shown["body"], first.text());
    let at = format!("/proxy-cache/{id}/caches/{key}");
    plain().get(admin(at.clone())).answer().await.expect(200);
    plain().delete(admin(at.clone())).answer().await.expect(204);
    plain().delete(admin(at)).answer().await.expect(404);
    assert_eq!(get(&gateway, "/reshdr?a=2&b=1").await.header("x-cache-status"), Some("Miss"));
    plain().delete(admin("/proxy-cache".into())).answer().await.expect(204);
    plain().get(admin(format!("/proxy-cache/{key}"))).answer().await.expect(404);
    plain().post(admin("/proxy-cache".into())).answer().await.expect(405);
    let endpoints = plain().get(admin("/endpoints".into())).answer().await.expect(200).json();
    assert!(endpoints["data"].as_array().unwrap().contains(&json!("/proxy-cache/{cache_key}")));
}

#[tokio::test]
async fn the_size_of_an_answer_is_the_bodys() {
    let told = [("Content-Type", "text/plain")];
    let upstream = telling(&told, "twelve bytes").await;
    let gateway = Gateway::start().await;
    let service = json!({"name": "a", "url": format!("http://{}", upstream.addr)});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": "a", "paths": ["/"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
    let plugin = json!({"name": "proxy-cache", "config": {"strategy": "memory"}});
    plain().post(gateway.url("admin", "/plugins")).json(&plugin).answer().await.expect(201);
    for status in ["Miss", "Hit", "Hit"] {
        let answer = get(&gateway, "/x").await.expect(200);
        assert_eq!(answer.header("x-cache-status"), Some(status));
        assert_eq!((answer.text(), answer.header("content-length")), ("twelve bytes", Some("12")));
    }
    assert_eq!(upstream.asked.load(Ordering::Relaxed), 1);
}
