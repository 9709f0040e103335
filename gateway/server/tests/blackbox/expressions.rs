//! Routes found by expressions (`router_flavor = expressions`), of requests and of streams.

use std::net::SocketAddr;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::harness::{
    Answered as _, DEADLINE, Gateway, Options, Upstream, any_certificate, handshake, plain,
    trusting,
};

async fn post(gateway: &Gateway, path: &str, body: &Value) -> u16 {
    plain().post(gateway.url("admin", path)).json(body).answer().await.status
}

async fn patch(gateway: &Gateway, path: &str, body: &Value) {
    plain().patch(gateway.url("admin", path)).json(body).answer().await.expect(200);
}

/// Every field and operator, each with a request it holds for and one it does not.
#[tokio::test]
async fn fields_and_operators() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("router_flavor", "expressions");
    let gateway = options.set("trusted_ips", "127.0.0.1").start().await;
    assert_eq!(
        post(&gateway, "/services", &json!({"name": "s", "url": upstream.url()})).await,
        201
    );
    let route = json!({"name": "r", "expression": "http.path == \"/none\""});
    assert_eq!(post(&gateway, "/services/s/routes", &route).await, 201);
    let port = gateway.addr("proxy").port();
    let tls_port = gateway.tls_addr("proxy").port();
    let secure = trusting(&gateway).http1_only().build().unwrap();
    let get = |path: &str| plain().get(gateway.url("proxy", path));
    let over_tls = |path: &str| secure.get(format!("https://localhost:{tls_port}{path}"));
    let (net_port, tls_dst) =
        (format!("net.dst.port == {port}"), format!("net.dst.port == {tls_port}"));
    let rows: Vec<(&str, RequestBuilder, RequestBuilder)> = vec![
        (r#"http.method == "POST""#, plain().post(gateway.url("proxy", "/")), get("/")),
        (r#"http.method != "POST""#, get("/"), plain().post(gateway.url("proxy", "/"))),
        (r#"http.host == "a.test""#, get("/").header("host", "a.test:81"), get("/")),
        (r#"http.host =^ ".test""#, get("/").header("host", "a.test"), get("/")),
        (r#"http.path == "/a""#, get("/a"), get("/a/b")),
        (r#"http.path ^= "/a""#, get("/a/b"), get("/b/a")),
        (r#"http.path =^ "/b""#, get("/a/b"), get("/b/a")),
        (r##"http.path ~ r#"^/\d+$"#"##, get("/12"), get("/12a")),
        (r#"http.path contains "x""#, get("/axb"), get("/ab")),
        (r#"lower(http.path) == "/ab""#, get("/aB"), get("/ac")),
        (r#"http.path.segments.1 == "b""#, get("/a/b"), get("/b/a")),
        (r#"http.path.segments.0_1 == "a/b""#, get("/a/b/c"), get("/a/c/b")),
        ("http.path.segments.len == 2", get("/a/b"), get("/a/b/c")),
        ("http.path.segments.len > 2", get("/a/b/c"), get("/a/b")),
        ("http.path.segments.len >= 2 && http.path.segments.len < 4", get("/a/b"), get("/a/b/c/d")),
        ("http.path.segments.len <= 1", get("/a"), get("/a/b")),
        (
            r#"http.headers.x_key == "v""#,
            get("/").header("X-Key", "v"),
            get("/").header("X-Key", "w"),
        ),
        (
            r#"http.headers.x_key == "v""#,
            get("/").header("X-Key", "v"),
            get("/").header("X-Key", "v").header("X-Key", "w"),
        ),
        (
            r#"any(http.headers.x_key) == "v""#,
            get("/").header("X-Key", "w").header("X-Key", "v"),
            get("/").header("X-Key", "w"),
        ),
        (
            r#"any(lower(http.headers.x_key)) ^= "v""#,
            get("/").header("X-Key", "Vw"),
            get("/").header("X-Key", "w"),
        ),
        (r#"http.queries.q == "a b""#, get("/?q=a%20b"), get("/?q=ab")),
        (r#"any(http.queries.q) == "2""#, get("/?q=1&q=2"), get("/?q=1")),
        ("net.src.ip == 127.0.0.1", get("/"), get("/").header("x-real-ip", "9.9.9.9")),
        ("net.src.ip in 127.0.0.0/8", get("/"), get("/").header("x-real-ip", "9.9.9.9")),
        ("net.src.ip not in 127.0.0.0/8", get("/").header("x-real-ip", "9.9.9.9"), get("/")),
        (
            "net.dst.ip in 127.0.0.0/8 && net.src.port > 0 && net.src.ip != fd00::1",
            get("/"),
            get("/").header("x-real-ip", "fd00::1"),
        ),
        (&net_port, get("/"), over_tls("/")),
        (&tls_dst, over_tls("/"), get("/")),
        (r#"net.protocol == "https""#, over_tls("/"), get("/")),
        (r#"tls.sni == "localhost""#, over_tls("/"), get("/")),
        (r#"http.path == "/a" || http.path == "/b""#, get("/b"), get("/c")),
        (r#"!(http.path == "/a")"#, get("/b"), get("/a")),
    ];
    for (expression, held, other) in rows {
        patch(&gateway, "/routes/r", &json!({ "expression": expression })).await;
        assert_eq!(held.answer().await.status, 200, "{expression} holds");
        assert_eq!(other.answer().await.status, 404, "{expression} does not hold");
    }
    for wrong in [
        "",
        "http.nothing == \"a\"",
        "http.path === \"/\"",
        "http.path > 1",
        "net.src.port == \"a\"",
    ] {
        let body = json!({"expression": wrong});
        assert_eq!(post(&gateway, "/services/s/routes", &body).await, 400, "{wrong}");
    }
}

/// The greater priority wins, and routes of expressions come before all others.
#[tokio::test]
async fn priority() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let gateway = Options::new().set("router_flavor", "expressions").start().await;
    let rows = [
        json!({"expression": "http.path ^= \"/a/b/c\"", "priority": 1}),
        json!({"expression": "http.path ^= \"/a\"", "priority": 9}),
        json!({"paths": ["/a/b/c/d"], "methods": ["GET"]}),
    ];
    for (n, (upstream, route)) in upstreams.iter().zip(&rows).enumerate() {
        let service = json!({"name": format!("s{n}"), "url": upstream.url()});
        assert_eq!(post(&gateway, "/services", &service).await, 201);
        assert_eq!(post(&gateway, &format!("/services/s{n}/routes"), route).await, 201);
    }
    plain().get(gateway.url("proxy", "/a/b/c/d")).answer().await.expect(200);
    assert_eq!(upstreams.each_ref().map(|one| one.take().len()), [0, 1, 0]);
}

/// An upstream that says its name to everybody.
async fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(name.as_bytes()).await;
        }
    });
    addr
}

#[tokio::test]
async fn streams() {
    let gateway = Options::new()
        .set("router_flavor", "expressions")
        .set("stream_listen", "127.0.0.1:0, 127.0.0.1:0 ssl")
        .start()
        .await;
    let (tcp, tls) = (gateway.stream_addr("tcp"), gateway.stream_addr("tls"));
    let rows = [
        (
            "port",
            json!(["tcp"]),
            format!("net.protocol == \"tcp\" && net.dst.port == {}", tcp.port()),
            1,
        ),
        (
            "source",
            json!(["tcp"]),
            "net.src.ip in 127.0.0.9/32 && net.dst.ip == 127.0.0.1".into(),
            2,
        ),
        ("name", json!(["tls"]), "tls.sni =^ \".a.test\"".into(), 1),
        (
            "other",
            json!(["tls"]),
            "net.protocol == \"tls\" && !(tls.sni == \"x.a.test\")".into(),
            2,
        ),
    ];
    for (name, protocols, expression, priority) in rows {
        let to = named(name).await;
        let service = json!({"name": name, "host": to.ip(), "port": to.port(), "protocol": "tcp"});
        assert_eq!(post(&gateway, "/services", &service).await, 201);
        let route = json!({"protocols": protocols, "expression": expression, "priority": priority});
        assert_eq!(
            post(&gateway, &format!("/services/{name}/routes"), &route).await,
            201,
            "{name}"
        );
    }
    let told = async |stream: &mut (dyn tokio::io::AsyncRead + Unpin + Send)| {
        let mut said = String::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut said)).await.unwrap();
        said
    };
    let mut stream = TcpStream::connect(tcp).await.unwrap();
    assert_eq!(told(&mut stream).await, "port");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    assert_eq!(told(&mut socket.connect(tcp).await.unwrap()).await, "source");
    for (sni, wanted) in [("x.a.test", "name"), ("y.a.test", "other"), ("b.test", "other")] {
        let stream = TcpStream::connect(tls).await.unwrap();
        let mut stream = handshake(stream, sni, any_certificate(None)).await.unwrap();
        assert_eq!(told(&mut stream).await, wanted, "{sni}");
    }
}
