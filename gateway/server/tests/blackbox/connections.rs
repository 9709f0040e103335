//! Connections to upstreams: how long they are kept, and what HTTP/1 carries besides heads and bodies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::harness::{
    Answered as _, Authority, DEADLINE, Gateway, Issued, Options, eventually, http1, plain,
};

/// An upstream that says the same to every request, and counts its connections and requests.
struct Fixed {
    url: String,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    told_to_close: Arc<AtomicUsize>,
}

impl Fixed {
    async fn start(answer: &'static str) -> Self {
        Self::listen(answer, None).await
    }

    /// The same under TLS.
    async fn secured(answer: &'static str, pair: &Issued) -> Self {
        Self::listen(answer, Some(pair)).await
    }

    async fn listen(answer: &'static str, pair: Option<&Issued>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if pair.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let acceptor = pair.map(Issued::acceptor);
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
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let last = match acceptor {
                        None => serve(stream, answer).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, answer).await,
                            Err(_) => false,
                        },
                    };
                    told_to_close.fetch_add(usize::from(last), Ordering::SeqCst);
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

/// Says the same until the other end closes; true when it was told to close itself.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> bool {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(head)) = http1::read_head(&mut stream).await {
        if http1::read_body(&mut stream, &head, false).await.is_err()
            || stream.write_all(answer.as_bytes()).await.is_err()
            || stream.flush().await.is_err()
        {
            break;
        }
        if head.header("connection") == Some("close") {
            return true;
        }
    }
    false
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

/// A service that switches protocols under TLS, and says of its answer that it has no body: what
/// follows is a tunnel all the same.
#[tokio::test]
async fn verified_tunnels() {
    let root = Authority::root("root");
    let pair = root.issue("up", &["127.0.0.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = pair.acceptor();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(acceptor.accept(stream).await.unwrap());
        http1::read_head(&mut stream).await.unwrap().unwrap();
        let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                        Connection: Upgrade\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(switched.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut said = [0; 4];
        while stream.read_exact(&mut said).await.is_ok() {
            stream.write_all(&said).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    let options = Options::new().set("lua_ssl_trusted_certificate", root.cert.clone());
    let gateway = options.start().await;
    let admin = |path: &str| gateway.url("admin", path);
    let service = json!({"name": "s", "url": url, "tls_verify": true});
    plain().post(admin("/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/"]});
    plain().post(admin("/services/s/routes")).json(&route).answer().await.expect(201);
    let mut client = BufReader::new(TcpStream::connect(gateway.addr("proxy")).await.unwrap());
    let asked = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(asked.as_bytes()).await.unwrap();
    let exchange = async {
        let head = http1::read_head(&mut client).await.unwrap().expect("an answer");
        assert_eq!(head.status(), 101);
        for word in [b"ping", b"pong"] {
            client.write_all(word).await.unwrap();
            let mut echo = [0; 4];
            client.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, word);
        }
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("the tunnel carries both ways");
}

/// Connections to upstreams that are verified are kept as others are, whatever their answers are like.
#[tokio::test]
async fn verified_connections_are_kept_too() {
    const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const NOTHING: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    const CLOSING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab";
    const OLD: &str = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab";
    const TALKING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n";
    let root = Authority::root("root");
    let pair = root.below("middle").issue("up", &["127.0.0.1"]);
    for (answer, keys, wanted) in [
        (HELLO, &[][..], 1),
        (EMPTY, &[], 1),
        (NOTHING, &[], 1),
        (CHUNKED, &[], 1),
        (CLOSING, &[], 6),
        (OLD, &[], 6),
        (TALKING, &[], 6),
        (HELLO, &[("upstream_keepalive_max_requests", "2")], 3),
        (HELLO, &[("upstream_keepalive_pool_size", "0")], 6),
        (HELLO, &[("upstream_keepalive_idle_timeout", "0")], 1),
    ] {
        let upstream = Fixed::secured(answer, &pair).await;
        let options = Options::new().set("lua_ssl_trusted_certificate", root.cert.clone());
        let options = keys.iter().fold(options, |all, (key, value)| all.set(key, *value));
        let gateway = upstream.behind(options).await;
        let verify = json!({"tls_verify": true});
        let service = gateway.url("admin", "/services/s");
        plain().patch(service).json(&verify).answer().await.expect(200);
        for method in ["GET", "POST", "GET", "HEAD", "POST", "GET"] {
            // What a HEAD is answered here has a body it must not have.
            let method = if answer == NOTHING || answer == EMPTY { method } else { "POST" };
            let asked = plain().request(method.parse().unwrap(), gateway.url("proxy", "/"));
            let status = asked.body("x").answer().await.status;
            assert_eq!(status, if answer == NOTHING { 204 } else { 200 }, "{answer}");
        }
        assert_eq!(upstream.connections.load(Ordering::SeqCst), wanted, "{answer} {keys:?}");
    }
}

/// A kept connection that ended meanwhile costs nobody an answer, and idle ones end in their time.
#[tokio::test]
async fn verified_connections_end() {
    let root = Authority::root("root");
    let pair = root.issue("up", &["127.0.0.1"]);
    let upstream = Fixed::secured(HELLO, &pair).await;
    let options = Options::new()
        .set("lua_ssl_trusted_certificate", root.cert.clone())
        .set("upstream_keepalive_idle_timeout", "1");
    let gateway = upstream.behind(options).await;
    let service = gateway.url("admin", "/services/s");
    let verify = json!({"tls_verify": true, "retries": 0});
    plain().patch(service).json(&verify).answer().await.expect(200);
    for connections in 1..3 {
        plain().get(gateway.url("proxy", "/")).answer().await.expect(200);
        assert_eq!(upstream.connections.load(Ordering::SeqCst), connections);
        eventually("the end of an idle connection", async || {
            (upstream.open.load(Ordering::SeqCst) == 0).then_some(())
        })
        .await;
    }
    // Many at once, and none gets the answer of another.
    let url = gateway.url("proxy", "/");
    let client = plain();
    for _ in 0..3 {
        let all = (0..20).map(|_| client.get(&url).answer());
        for answer in futures::future::join_all(all).await {
            assert_eq!(answer.expect(200).text(), "hello");
        }
    }
    assert!(upstream.connections.load(Ordering::SeqCst) < 50, "they are kept");
}

/// An upstream of gRPC that counts its connections and tells what it is called.
async fn calls(pair: Option<&Issued>) -> (SocketAddr, Arc<AtomicUsize>, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    let (heard, told) = tokio::sync::mpsc::unbounded_channel();
    let acceptor = pair.map(|pair| pair.acceptor_of(&[b"h2"]));
    let answer = move |request: http::Request<hyper::body::Incoming>| {
        let _ = heard.send(request.uri().to_string());
        let answer = http::Response::builder().header("content-type", "application/grpc");
        let answer = answer.header("grpc-status", "0").body(String::new());
        async move { answer }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(answer);
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                match acceptor {
                    None => server.serve_connection(TokioIo::new(stream), service).await,
                    Some(acceptor) => {
                        let stream = acceptor.accept(stream).await.unwrap();
                        server.serve_connection(TokioIo::new(stream), service).await
                    }
                }
            });
        }
    });
    (addr, connections, told)
}

/// Connections of HTTP/2 carry no more requests than they may, and each request says under which
/// scheme it came.
#[tokio::test]
async fn connections_of_http2_to_upstreams() {
    let root = Authority::root("root");
    let pair = root.issue("up", &["127.0.0.1"]);
    // Where a length of chains is chosen they are not shared.
    for (tls, depth, most, wanted) in [
        (false, "1", "10000", 1),
        (false, "1", "2", 3),
        (true, "1", "0", 1),
        (true, "1", "2", 3),
        (true, "2", "0", 6),
    ] {
        let (addr, connections, mut told) = calls(tls.then_some(&pair)).await;
        let options = Options::new()
            .set("proxy_listen", "127.0.0.1:0 http2")
            .set("lua_ssl_trusted_certificate", root.cert.clone())
            .set("nginx_proxy_proxy_ssl_verify", "on")
            .set("lua_ssl_verify_depth", depth)
            .set("upstream_keepalive_max_requests", most);
        let gateway = options.start().await;
        let admin = |path: &str| gateway.url("admin", path);
        let protocol = if tls { "grpcs" } else { "grpc" };
        let service = json!({"name": "s", "url": format!("{protocol}://{addr}")});
        plain().post(admin("/services")).json(&service).answer().await.expect(201);
        let route = json!({"protocols": ["grpc", "grpcs"], "paths": ["/"], "strip_path": false});
        plain().post(admin("/services/s/routes")).json(&route).answer().await.expect(201);
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        for _ in 0..6 {
            let asked = client.post(gateway.url("proxy", "/a.B/C?d")).timeout(DEADLINE);
            let answer =
                asked.header("content-type", "application/grpc").answer().await.expect(200);
            assert_eq!(answer.header("grpc-status"), Some("0"));
            let scheme = if tls { "https" } else { "http" };
            assert_eq!(told.recv().await.unwrap(), format!("{scheme}://{addr}/a.B/C?d"));
        }
        assert_eq!(connections.load(Ordering::SeqCst), wanted, "{protocol} {depth} {most}");
    }
}
