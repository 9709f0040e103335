//! Streams: connections and datagrams passed on as they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::harness::{
    Answered as _, Authority, DEADLINE, Gateway, Issued, Options, any_certificate, eventually,
    handshake, plain, s_client, shown,
};

/// An upstream that repeats what it hears after its own name.
async fn echo(name: &'static str, tls: Option<&Issued>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = tls.map(Issued::acceptor);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => repeat(name, stream).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            repeat(name, stream).await;
                        }
                    }
                }
            });
        }
    });
    addr
}

async fn repeat(name: &str, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        let said = [name.as_bytes(), b":", &piece[..count]].concat();
        if stream.write_all(&said).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn post(gateway: &Gateway, path: &str, body: Value) {
    plain().post(gateway.url("admin", path)).json(&body).answer().await.expect(201);
}

/// A service at an address, and a route to it.
async fn route(gateway: &Gateway, name: &str, protocol: &str, to: SocketAddr, route: Value) {
    let service = json!({"name": name, "host": to.ip(), "port": to.port(), "protocol": protocol});
    post(gateway, "/services", service).await;
    post(gateway, &format!("/services/{name}/routes"), route).await;
}

/// Says something and reads what comes back.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), said: &str) -> String {
    let exchange = async {
        stream.write_all(said.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    };
    let told = tokio::time::timeout(DEADLINE, exchange).await.expect("an answer in time");
    // A connection nobody serves is closed, or reset when something was said on it.
    told.unwrap_or_default()
}

async fn ask_tcp(to: SocketAddr, said: &str) -> String {
    ask(&mut TcpStream::connect(to).await.unwrap(), said).await
}

fn options(streams: &str) -> Options {
    Options::new().set("stream_listen", streams)
}

#[tokio::test]
async fn connections_by_their_ends() {
    let gateway = options("127.0.0.1:0, 127.0.0.1:0").start().await;
    let to = gateway.stream_addr("tcp");
    let (one, two) = (echo("one", None).await, echo("two", None).await);
    let mut stream = TcpStream::connect(to).await.unwrap();
    assert_eq!(ask(&mut stream, "early").await, "", "no route serves it");

    let port = json!({"protocols": ["tcp"], "destinations": [{"port": to.port()}]});
    route(&gateway, "one", "tcp", one, port).await;
    assert_eq!(ask_tcp(to, "hello").await, "one:hello");
    let source = json!({"protocols": ["tcp"], "sources": [{"ip": "127.0.0.9"}]});
    route(&gateway, "two", "tcp", two, source).await;
    assert_eq!(ask_tcp(to, "hello").await, "one:hello");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    assert_eq!(ask(&mut stream, "hello").await, "two:hello");

    // What one side says after the other is done still arrives, and bytes keep their order.
    let mut stream = TcpStream::connect(to).await.unwrap();
    let much = "0123456789".repeat(100_000);
    let (mut read, mut write) = stream.split();
    let send = async {
        write.write_all(much.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut answer = String::new();
    let receive = async { read.read_to_string(&mut answer).await.unwrap() };
    tokio::time::timeout(DEADLINE, async { tokio::join!(send, receive) }).await.unwrap();
    assert_eq!(answer.replace("one:", ""), much);
}

#[tokio::test]
async fn tls_ends_here_or_at_the_upstream() {
    let gateway = options("127.0.0.1:0 ssl").start().await;
    let to = gateway.stream_addr("tls");
    let ca = Authority::root("ca");
    let theirs = ca.issue("theirs", &["through.test"]);
    let ours = ca.issue("ours", &["ours.test"]);
    let body = json!({"cert": ours.cert, "key": ours.key, "snis": ["*.ours.test"]});
    post(&gateway, "/certificates", body).await;
    let (plain_upstream, tls_upstream) =
        (echo("plain", None).await, echo("tls", Some(&theirs)).await);

    let ends = json!({"protocols": ["tls"], "snis": ["a.ours.test"]});
    route(&gateway, "ends", "tcp", plain_upstream, ends).await;
    let again = json!({"protocols": ["tls"], "snis": ["b.ours.test"]});
    route(&gateway, "again", "tls", tls_upstream, again).await;
    let through = json!({"protocols": ["tls_passthrough"], "snis": ["*.through.test"]});
    route(&gateway, "through", "tcp", tls_upstream, through).await;

    for (name, wanted, certificate) in [
        ("a.ours.test", "plain:hi", "ours"),
        ("b.ours.test", "tls:hi", "ours"),
        ("x.through.test", "tls:hi", "theirs"),
    ] {
        let stream = TcpStream::connect(to).await.unwrap();
        let mut stream = handshake(stream, name, any_certificate(None)).await.unwrap();
        assert_eq!(ask(&mut stream, "hi").await, wanted, "{name}");
        assert_eq!(shown(to, name).await, certificate, "{name}");
    }
    let stream = TcpStream::connect(to).await.unwrap();
    let refused = handshake(stream, "nobody.test", any_certificate(None)).await;
    assert!(refused.is_err(), "no route has this name");
    assert_eq!(
        ask_tcp(to, "GET / HTTP/1.1\r\n\r\n").await.as_bytes().first(),
        Some(&21),
        "an alert"
    );
}

/// Upstreams of streams are verified, over as many steps as allowed.
#[tokio::test]
async fn upstreams_over_tls_are_verified() {
    let root = Authority::root("root");
    let deep = root.below("one").below("two");
    let server = deep.issue("server", &["127.0.0.1"]);
    let upstream = echo("up", Some(&server)).await;
    let gateway = options("127.0.0.1:0").start().await;
    let to = gateway.stream_addr("tcp");
    let all = json!({"protocols": ["tcp"], "destinations": [{"port": to.port()}]});
    route(&gateway, "s", "tls", upstream, all).await;
    assert_eq!(ask_tcp(to, "x").await, "up:x", "nothing is verified");
    let set = async |body: Value| {
        plain().patch(gateway.url("admin", "/services/s")).json(&body).answer().await.expect(200);
        ask_tcp(to, "x").await
    };
    assert_eq!(set(json!({"tls_verify": true, "retries": 0})).await, "");
    let body = json!({"cert": root.cert});
    let made = plain().post(gateway.url("admin", "/ca_certificates")).json(&body).answer().await;
    let id = made.expect(201).json()["id"].clone();
    assert_eq!(set(json!({"ca_certificates": [id]})).await, "", "one step is the default");
    assert_eq!(set(json!({"tls_verify_depth": 1})).await, "");
    assert_eq!(set(json!({"tls_verify_depth": 2})).await, "up:x");
}

#[tokio::test]
async fn datagrams_of_a_client_are_a_session() {
    let gateway = options("127.0.0.1:0 udp").start().await;
    let to = gateway.stream_addr("udp");
    let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move {
            let mut datagram = [0; 2048];
            while let Ok((count, from)) = upstream.recv_from(&mut datagram).await {
                let told = format!("{from} {}", String::from_utf8_lossy(&datagram[..count]));
                upstream.send_to(told.as_bytes(), from).await.unwrap();
            }
        }
    });
    let all = json!({"protocols": ["udp"], "destinations": [{"port": to.port()}]});
    route(&gateway, "s", "udp", upstream.local_addr().unwrap(), all).await;
    let client = async || {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(to).await.unwrap();
        socket
    };
    let ask = async |socket: &UdpSocket, said: &str| {
        socket.send(said.as_bytes()).await.unwrap();
        let mut answer = [0; 2048];
        let count =
            tokio::time::timeout(DEADLINE, socket.recv(&mut answer)).await.unwrap().unwrap();
        let told = String::from_utf8_lossy(&answer[..count]).into_owned();
        let (from, said) = told.split_once(' ').unwrap();
        (from.to_owned(), said.to_owned())
    };
    let (one, two) = (client().await, client().await);
    let (first, said) = ask(&one, "a").await;
    assert_eq!(said, "a");
    assert_eq!(ask(&one, "b").await, (first.clone(), "b".to_owned()), "the same session");
    let (other, said) = ask(&two, "c").await;
    assert_eq!(said, "c");
    assert_ne!(first, other, "two clients, two sessions");
}

/// Plugins that work on connections: one refuses, others log.
#[tokio::test]
async fn plugins_of_streams() {
    let options = options("127.0.0.1:0").set("proxy_stream_access_log", "streams.log basic");
    let log = options.prefix().join("log.json");
    let access = options.prefix().join("streams.log");
    let gateway = options.start().await;
    let to = gateway.stream_addr("tcp");
    let upstream = echo("up", None).await;
    let all = json!({"name": "r", "protocols": ["tcp"], "destinations": [{"port": to.port()}]});
    route(&gateway, "s", "tcp", upstream, all).await;
    let logger =
        json!({"name": "file-log", "config": {"path": log, "reopen": true}, "protocols": ["tcp"]});
    post(&gateway, "/plugins", logger).await;
    let counts = json!({"name": "prometheus", "protocols": ["tcp"],
                        "config": {"status_code_metrics": true, "latency_metrics": true}});
    post(&gateway, "/plugins", counts).await;
    let next = async || {
        eventually("a log entry", async || {
            let text = std::fs::read_to_string(&log).ok()?;
            let entry: Value = serde_json::from_str(text.lines().next()?).ok()?;
            std::fs::remove_file(&log).ok()?;
            Some(entry)
        })
        .await
    };
    let began = Instant::now();
    let mut stream = TcpStream::connect(to).await.unwrap();
    let from = stream.local_addr().unwrap();
    assert_eq!(ask(&mut stream, "hello").await, "up:hello");
    let served = Instant::now();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let least = served.elapsed().as_millis();
    drop(stream);
    let entry = next().await;
    let most = began.elapsed().as_millis();
    assert_eq!(
        entry["session"],
        json!({"received": 5, "sent": 8, "status": 200, "server_port": to.port()})
    );
    assert_eq!(entry["upstream"], json!({"received": 8, "sent": 5}));
    assert_eq!(entry["client_ip"], json!(from.ip()));
    assert_eq!(entry["tries"][0]["port"], upstream.port());
    assert_eq!((&entry["route"]["name"], &entry["service"]["name"]), (&json!("r"), &json!("s")));
    // The whole of the session, from its first byte to its last, and no more.
    let took = |name: &str| u128::from(entry["latencies"][name].as_u64().unwrap());
    let session = took("session");
    assert!((least - 1..=most).contains(&session), "{least} {session} {most}");
    assert!(took("kong") <= session, "{entry}");
    assert!(entry.get("request").is_none() && entry.get("response").is_none());

    let deny = json!({"name": "ip-restriction", "config": {"deny": ["127.0.0.1"]},
                      "protocols": ["tcp"]});
    post(&gateway, "/routes/r/plugins", deny).await;
    assert_eq!(ask_tcp(to, "hello").await, "");
    let entry = next().await;
    assert_eq!(entry["session"]["status"], 403);
    let lines = eventually("two lines in the access log", async || {
        let text = std::fs::read_to_string(&access).ok()?;
        (text.lines().count() == 2).then_some(text)
    })
    .await;
    let format = regex::Regex::new(
        r"^127\.0\.0\.1 \[\d\d/\w{3}/\d{4}:[\d:]{8} \+0000\] TCP 200 8 5 \d+\.\d{3}\n127\.0\.0\.1 .* TCP 403 0 0 ",
    );
    assert!(format.unwrap().is_match(&lines), "{lines}");
    let seconds = lines.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap();
    let millis = seconds.replace('.', "").parse::<u128>().unwrap();
    assert!((least - 1..=most).contains(&millis), "{least} {seconds} {most}");
    assert_eq!(entry["tries"], json!([]));
    let told = plain().get(gateway.url("status", "/metrics")).answer().await.text().to_owned();
    for (code, source) in [("200", "service"), ("403", "kong")] {
        let line = format!(
            "kong_stream_sessions_total{{code=\"{code}\",route=\"r\",service=\"s\",\
             source=\"{source}\",workspace=\"default\"}} 1"
        );
        assert!(told.contains(&line), "{told}");
    }
    assert!(told.contains("kong_session_duration_ms_count"), "{told}");
    assert!(!told.contains("kong_http_requests_total{"), "{told}");
}

/// A target that refuses is passed over, and found dead.
#[tokio::test]
async fn targets_of_streams_are_balanced() {
    let gateway = options("127.0.0.1:0").start().await;
    let to = gateway.stream_addr("tcp");
    let (one, two) = (echo("one", None).await, echo("two", None).await);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let checks = json!({"passive": {"type": "tcp", "unhealthy": {"tcp_failures": 1}}});
    post(&gateway, "/upstreams", json!({"name": "pool", "healthchecks": checks})).await;
    for target in [one, two, closed] {
        post(&gateway, "/upstreams/pool/targets", json!({"target": target.to_string()})).await;
    }
    post(&gateway, "/services", json!({"name": "s", "host": "pool", "protocol": "tcp"})).await;
    let all = json!({"protocols": ["tcp"], "destinations": [{"port": to.port()}]});
    post(&gateway, "/services/s/routes", all).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(ask_tcp(to, "x").await);
    }
    let count = |wanted: &str| answers.iter().filter(|answer| *answer == wanted).count();
    assert_eq!(count("one:x") + count("two:x"), 12, "{answers:?}");
    assert!(count("one:x") >= 4 && count("two:x") >= 4, "{answers:?}");
    let health = plain().get(gateway.url("admin", "/upstreams/pool/health")).answer().await.json();
    let dead =
        health["data"].as_array().unwrap().iter().find(|one| one["target"] == closed.to_string());
    assert_eq!(dead.unwrap()["health"], "UNHEALTHY");
}

/// `nginx_stream_ssl_…`: streams may be offered less than HTTP is.
#[tokio::test]
async fn streams_have_versions_of_their_own() {
    let gateway = options("127.0.0.1:0 ssl")
        .set("nginx_stream_ssl_protocols", "TLSv1.3")
        .set("nginx_stream_ssl_session_timeout", "0")
        .start()
        .await;
    let port = gateway.stream_addr("tls").port();
    let to = echo("one", None).await;
    let all = json!({"protocols": ["tls"], "destinations": [{ "port": port }]});
    route(&gateway, "one", "tcp", to, all).await;
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    for (at, version, accepted) in [
        (gateway.stream_addr("tls"), "-tls1_2", false),
        (gateway.tls_addr("proxy"), "-tls1_2", true),
        (gateway.tls_addr("proxy"), "-tls1_3", true),
    ] {
        let told = s_client(at, version, request).await;
        assert_eq!(told.contains("Cipher is (NONE)"), !accepted, "{at} {version}: {told}");
    }
    let stream = TcpStream::connect(gateway.stream_addr("tls")).await.unwrap();
    let mut stream = handshake(stream, "a.test", any_certificate(None)).await.unwrap();
    assert_eq!(ask(&mut stream, "hello").await, "one:hello");
}

/// Connections beyond the limit wait; they are served when others end.
#[tokio::test]
async fn connections_are_limited() {
    let up = echo("up", None).await;
    // A place is taken for the client each listener waits for: one for the proxy, the rest here.
    let options = Options::new()
        .set("proxy_listen", "127.0.0.1:0")
        .set("stream_listen", "127.0.0.1:0")
        .set("nginx_events_worker_connections", "4");
    let gateway = options.start().await;
    let port = gateway.stream_addr("tcp").port();
    let by_port = json!({"protocols": ["tcp"], "destinations": [{"port": port}]});
    route(&gateway, "s", "tcp", up, by_port).await;
    let to = gateway.stream_addr("tcp");
    let mut held = Vec::new();
    for n in 0..3 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        assert_eq!(ask(&mut stream, &n.to_string()).await, format!("up:{n}"));
        held.push(stream);
    }
    let mut waiting = TcpStream::connect(to).await.unwrap();
    waiting.write_all(b"hello").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    held.clear();
    tokio::time::timeout(DEADLINE, waiting.read_u8()).await.expect("it is served").unwrap();
}
