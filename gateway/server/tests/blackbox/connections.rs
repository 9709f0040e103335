//! Connections to upstreams: how long they are kept, and what HTTP/1 carries besides heads and bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Answered as _, DEADLINE, Gateway, Options, eventually, http1, plain};

/// An upstream that says the same to every request, and counts its connections and requests.
struct Fixed {
    url: String,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    told_to_close: Arc<AtomicUsize>,
}

impl Fixed {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fixed = Self {
            url,
            connections: Arc::default(),
            open: Arc::default(),
            told_to_close: Arc::default(),
        };
        let (connections, open) = (Arc::clone(&fixed.connections), Arc::clone(&fixed.open));
        let told_to_close = Arc::clone(&fixed.told_to_close);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                let (open, told_to_close) = (Arc::clone(&open), Arc::clone(&told_to_close));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Ok(Some(head)) = http1::read_head(&mut stream).await {
                        http1::read_body(&mut stream, &head, false).await.unwrap();
                        let last = head.header("connection") == Some("close");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        if last {
                            told_to_close.fetch_add(1, Ordering::SeqCst);
                            break;
                        }
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        fixed
    }

    async fn behind(&self, options: Options) -> Gateway {
        let gateway = options.start().await;
        let admin = |path: &str| gateway.url("admin", path);
        let service = json!({"name": "s", "url": self.url});
        plain().post(admin("/services")).json(&service).answer().await.expect(201);
        let route = json!({"paths": ["/"]});
        plain().post(admin("/services/s/routes")).json(&route).answer().await.expect(201);
        gateway
    }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn connections_to_upstreams_are_kept_as_told() {
    for (keys, requests, wanted) in [
        (&[][..], 6, 1),
        (&[("upstream_keepalive_max_requests", "2")], 6, 3),
        (&[("upstream_keepalive_max_requests", "0")], 6, 1),
        (&[("upstream_keepalive_pool_size", "0")], 4, 4),
        (&[("upstream_keepalive_idle_timeout", "0")], 4, 1),
    ] {
        let upstream = Fixed::start(HELLO).await;
        let options = keys.iter().fold(Options::new(), |all, (key, value)| all.set(key, *value));
        let gateway = upstream.behind(options).await;
        for _ in 0..requests {
            plain().get(gateway.url("proxy", "/")).answer().await.expect(200);
        }
        assert_eq!(upstream.connections.load(Ordering::SeqCst), wanted, "{keys:?}");
    }
}

#[tokio::test]
async fn idle_connections_to_upstreams_end() {
    let upstream = Fixed::start(HELLO).await;
    let gateway = upstream.behind(Options::new().set("upstream_keepalive_idle_timeout", "1")).await;
    plain().get(gateway.url("proxy", "/")).answer().await.expect(200);
    eventually("the end of an idle connection", async || {
        (upstream.open.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
    plain().get(gateway.url("proxy", "/")).answer().await.expect(200);
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 2);
}

async fn exchange(stream: &mut BufReader<TcpStream>, request: &str) -> (http1::Head, String) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = async {
        loop {
            let head = http1::read_head(stream).await.unwrap().expect("an answer");
            if head.status() >= 200 {
                let body = http1::read_body(stream, &head, false).await.unwrap();
                return (head, String::from_utf8(body).unwrap());
            }
        }
    };
    tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time")
}

/// Trailers of HTTP/1 are dropped, as nginx does, in both directions; nothing of them is taken for
/// the next message.
#[tokio::test]
async fn trailers_of_http1_harm_nobody() {
    let upstream = Fixed::start(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    )
    .await;
    let gateway = upstream.behind(Options::new()).await;
    let mut stream = BufReader::new(TcpStream::connect(gateway.addr("proxy")).await.unwrap());
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let (head, body) = exchange(&mut stream, request).await;
        assert_eq!((head.status(), &*body), (200, "hello"), "{request}");
    }
    drop(stream);
    let mut raw = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    let last = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    raw.write_all(last).await.unwrap();
    let mut told = String::new();
    tokio::time::timeout(DEADLINE, raw.read_to_string(&mut told)).await.unwrap().unwrap();
    assert!(told.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{told}");
}

/// What an upstream says before its answer reaches clients of HTTP/1.1, and no others.
#[tokio::test]
async fn answers_before_the_answer() {
    let upstream = Fixed::start(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    let gateway = upstream.behind(Options::new().set("proxy_listen", "127.0.0.1:0 http2")).await;
    for (version, hinted) in [("1.1", true), ("1.0", false)] {
        let mut raw = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
        let request = format!("GET / HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n");
        raw.write_all(request.as_bytes()).await.unwrap();
        let mut told = String::new();
        tokio::time::timeout(DEADLINE, raw.read_to_string(&mut told)).await.unwrap().unwrap();
        assert_eq!(told.starts_with("HTTP/1.1 103 "), hinted, "{told}");
        assert!(told.ends_with("\r\n\r\nhello"), "{told}");
    }
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let asked = client.get(gateway.url("proxy", "/")).timeout(Duration::from_secs(20));
    assert_eq!(asked.send().await.unwrap().text().await.unwrap(), "hello");
}
