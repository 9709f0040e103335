//! Requests that a client sends before it has the answers to those before: answered all, in order
//! (RFC 9112 9.3.2).

use std::fmt::Write as _;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::harness::{
    Answered as _, DEADLINE, Gateway, Options, Upstream, any_certificate, handshake, http1, plain,
};

async fn behind(upstream: &Upstream, options: Options) -> Gateway {
    let gateway = options.start().await;
    let admin = |path: &str| gateway.url("admin", path);
    let service = json!({"name": "s", "url": upstream.url()});
    plain().post(admin("/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/a"], "strip_path": false});
    plain().post(admin("/services/s/routes")).json(&route).answer().await.expect(201);
    gateway
}

/// Sends all at once and reads so many answers: their status and body.
async fn answers(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: &str,
    count: usize,
) -> Vec<(u16, String)> {
    let mut stream = BufReader::new(stream);
    let exchange = async {
        stream.write_all(requests.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answers = Vec::new();
        while answers.len() < count {
            let head = http1::read_head(&mut stream).await.unwrap().expect("another answer");
            if head.status() == 100 {
                continue;
            }
            let body = http1::read_body(&mut stream, &head, false).await.unwrap();
            answers.push((head.status(), String::from_utf8(body).unwrap()));
        }
        answers
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("all answers in time")
}

async fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.addr("proxy")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

const POST: &str = "POST /a/post HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /";
const CHUNKED: &str = "PUT /a/chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                       5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, Options::new()).await;
    // Slow ones, refused ones and ones with bodies among them.
    let requests = [
        (get("/a/1"), 200, "/a/1"),
        (get("/a/delay/0.2"), 200, "/a/delay/0.2"),
        (POST.to_owned(), 200, "/a/post"),
        (get("/nowhere"), 404, "no Route"),
        (CHUNKED.to_owned(), 200, "/a/chunked"),
        (POST.replace("/a/post", "/nowhere"), 404, "no Route"),
        (get("/a/status/500"), 500, "/a/status/500"),
        (get("/a/last"), 200, "/a/last"),
    ];
    let all: String = requests.iter().map(|(request, ..)| request.as_str()).collect();
    let over_tls = handshake(
        TcpStream::connect(gateway.tls_addr("proxy")).await.unwrap(),
        "localhost",
        any_certificate(None),
    );
    let plain_stream = Box::new(connect(&gateway).await) as Box<dyn http1::Stream>;
    for stream in [plain_stream, Box::new(over_tls.await.unwrap())] {
        let told = answers(stream, &all, requests.len()).await;
        for ((status, body), (request, wanted, part)) in told.iter().zip(&requests) {
            assert_eq!(status, wanted, "{request:?}: {body}");
            assert!(body.contains(part), "{request:?}: {body}");
        }
        let seen = upstream.take();
        let uris: Vec<_> = seen.iter().map(|one| one.uri.as_str()).collect();
        let wanted = ["/a/1", "/a/delay/0.2", "/a/post", "/a/chunked", "/a/status/500", "/a/last"];
        assert_eq!(uris, wanted);
        assert_eq!((&*seen[2].body, &*seen[3].body), ("GET /", "hello"));
    }
}

/// What asks for a protocol that no upstream is asked to switch to is a request like any other.
#[tokio::test]
async fn requests_may_ask_for_other_protocols() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, Options::new()).await;
    let other = |request: String| request.replace("Host: h", "Host: h\r\nUpgrade: h2c");
    let all = [other(get("/a/1")), other(CHUNKED.to_owned()), other(POST.to_owned()), get("/a/2")];
    let told = answers(connect(&gateway).await, &all.concat(), all.len()).await;
    assert!(told.iter().all(|(status, _)| *status == 200), "{told:?}");
    let seen = upstream.take();
    let uris: Vec<_> = seen.iter().map(|one| one.uri.as_str()).collect();
    assert_eq!(uris, ["/a/1", "/a/chunked", "/a/post", "/a/2"]);
    // Read before the upstream is asked, as bodies are.
    assert_eq!(seen[1].header("Content-Length"), Some("5"));
    assert!(seen.iter().all(|one| one.header("Upgrade").is_none()), "{seen:?}");
}

/// A client that goes on before it is answered takes nothing from itself.
#[tokio::test]
async fn the_next_request_may_come_while_one_is_served() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, Options::new()).await;
    let mut stream = connect(&gateway).await;
    stream.write_all(get("/a/delay/0.3").as_bytes()).await.unwrap();
    upstream.next().await;
    // In the middle of a head, too.
    let (begin, end) = POST.split_at(20);
    stream.write_all(begin.as_bytes()).await.unwrap();
    let told = answers(&mut stream, &format!("{end}{}", get("/a/3")), 3).await;
    let statuses: Vec<_> = told.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200], "{told:?}");
    let uris: Vec<_> = upstream.take().into_iter().map(|one| one.uri).collect();
    assert_eq!(uris, ["/a/post", "/a/3"]);
}

#[tokio::test]
async fn many_requests_in_one_piece() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, Options::new()).await;
    let mut all = String::new();
    for n in 0..2_000 {
        write!(all, "{}", get(&format!("/a/{n}"))).unwrap();
    }
    let (read, mut write) = connect(&gateway).await.into_split();
    // Answers are read meanwhile: nobody has room for all of them.
    let sending = tokio::spawn(async move {
        write.write_all(all.as_bytes()).await.unwrap();
        write
    });
    let told = answers(tokio::io::join(read, tokio::io::sink()), "", 2_000).await;
    assert!(told.iter().all(|(status, _)| *status == 200));
    let seen = upstream.take();
    assert_eq!(seen.len(), 2_000);
    assert!(seen.iter().enumerate().all(|(n, one)| one.uri == format!("/a/{n}")));
    sending.await.unwrap();
}

/// A bad request behind good ones is seen for what it is, whatever it came with.
#[tokio::test]
async fn a_bad_request_behind_good_ones() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, Options::new()).await;
    for (bad, status) in [
        ("GET /a/bad HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", 400),
        ("GET /a/bad HTTP/1.1\nHost: h\n\n", 400),
        (
            "POST /a/bad HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST /a/bad HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", 400),
        ("GET /a/bad HTTP/9.9\r\nHost: h\r\n\r\n", 505),
        ("nonsense\r\n\r\n", 400),
    ] {
        for good in [get("/a/good"), POST.to_owned(), CHUNKED.to_owned(), get("/nowhere")] {
            let all = format!("{good}{bad}{}", get("/a/smuggled"));
            let mut stream = connect(&gateway).await;
            let told = answers(&mut stream, &all, 2).await;
            let wanted = if good.contains("/nowhere") { 404 } else { 200 };
            assert_eq!(told[0].0, wanted, "{good:?}");
            assert_eq!(told[1].0, status, "{good:?} {bad:?}");
            let mut more = Vec::new();
            let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut more)).await.unwrap();
            assert!(more.is_empty(), "{:?}", String::from_utf8_lossy(&more));
            let seen = upstream.take();
            assert_eq!(seen.len(), usize::from(wanted == 200), "{seen:?}");
            assert!(seen.iter().all(|one| !one.uri.contains("bad")), "{seen:?}");
        }
    }
}

/// The last request a connection may carry is the last that is answered.
#[tokio::test]
async fn a_connection_ends_in_its_time() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("nginx_http_keepalive_requests", "2");
    let gateway = behind(&upstream, options).await;
    let close = "GET /a/2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned();
    for (second, served) in [(get("/a/2"), 2), (close, 2)] {
        let all = format!("{}{second}{}", get("/a/1"), get("/a/3"));
        let mut stream = connect(&gateway).await;
        let told = answers(&mut stream, &all, served).await;
        assert!(told.iter().all(|(status, _)| *status == 200), "{told:?}");
        let mut more = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut more)).await.unwrap();
        assert!(more.is_empty(), "{:?}", String::from_utf8_lossy(&more));
        assert_eq!(upstream.take().len(), served);
    }
}
