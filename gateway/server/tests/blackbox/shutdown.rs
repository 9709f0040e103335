//! How a gateway ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{Answered as _, Gateway, Upstream, eventually, plain, trusting};

/// SIGTERM lets requests in flight finish, accepts no more, and ends with 0.
#[tokio::test]
async fn requests_in_flight_are_finished() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start().await;
    let service = json!({"name": "a", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/a"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);

    let slow = [
        (plain(), gateway.url("proxy", "/a/delay/2")),
        (trusting(&gateway).build().unwrap(), gateway.tls_url("proxy", "/a/delay/2")),
    ];
    let slow = slow.map(|(client, url)| {
        tokio::spawn(async move { client.get(url).header("X-Mine", "1").answer().await })
    });
    for _ in &slow {
        upstream.next().await;
    }

    let began = Instant::now();
    gateway.signal(Signal::TERM);
    let proxy = gateway.addr("proxy");
    eventually("the listener is closed", async || TcpStream::connect(proxy).await.err()).await;
    for request in slow {
        assert_eq!(request.await.unwrap().status, 200);
    }
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(upstream.take().is_empty(), "a request was sent twice");
}

/// Idle connections, and one that never says anything, hold nothing up.
#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut gateway = Gateway::start().await;
        let client = plain();
        client.get(gateway.url("proxy", "/")).answer().await.expect(404);
        client.get(gateway.url("admin", "/services")).answer().await.expect(200);
        let _silent = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        let _also = TcpStream::connect(gateway.tls_addr("proxy")).await.unwrap();
        let began = Instant::now();
        gateway.signal(signal);
        let status = gateway.ended().await;
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{signal:?} {:?}", began.elapsed());
        assert!(!gateway.prefix().join("pids/nginx.pid").exists(), "{signal:?}");
    }
}
