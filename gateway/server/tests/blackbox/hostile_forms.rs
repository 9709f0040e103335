//! Odd requests, and what an upstream gets of them: one form, which no two parsers read differently.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Answered as _, Gateway, plain};
use crate::hostile::until_closed;

/// An upstream that keeps every byte it is sent and answers each request.
async fn recorder() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let (mut unread, mut piece) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    unread.extend_from_slice(&piece[..count]);
                    while let Ok(Some(end)) = strict(&unread) {
                        all.lock().unwrap().extend(unread.drain(..end));
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        stream.write_all(answer).await.unwrap();
                    }
                    // What is no request is kept as well: the test sees it.
                    if strict(&unread).is_err() {
                        all.lock().unwrap().append(&mut unread);
                        return;
                    }
                }
                all.lock().unwrap().append(&mut unread);
            });
        }
    });
    (addr, seen)
}

/// Where the first request ends, read as RFC 9112 is written and in no other way; `None` when more
/// must come.
fn strict(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let lines: Vec<&str> = head.split("\r\n").collect();
    let fault = |why: &str| Err(format!("{why}: {head:?}"));
    if lines.iter().any(|line| line.chars().any(|one| one.is_control() && one != '\t')) {
        return fault("a control character");
    }
    let words: Vec<&str> = lines[0].split(' ').collect();
    let target = |text: &str| {
        let known =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        text.starts_with('/') && text.bytes().all(|byte| known(byte) || text.contains('?'))
    };
    match words[..] {
        [method, path, "HTTP/1.1"] if !method.is_empty() && target(path) => {}
        _ => return fault("the request line"),
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut fields = Vec::new();
    for line in &lines[1..] {
        match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && name.bytes().all(token) => {
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            _ => return fault("a header line"),
        }
    }
    let all = |wanted: &str| {
        let named = fields.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    if all("host").len() != 1 {
        return fault("not one Host");
    }
    let begin = end + 4;
    match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Ok(Some(begin)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let end = begin + length.parse::<usize>().map_err(|why| why.to_string())?;
            Ok((end <= bytes.len()).then_some(end))
        }
        ([], ["chunked"]) => chunks(&bytes[begin..]).map(|end| Some(begin + end?)),
        _ => fault("framing"),
    }
}

/// Where a body in chunks ends.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line]).map_err(|why| why.to_string())?;
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("a chunk of size {size:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|why| why.to_string())?;
        at += line + 2 + size;
        match bytes.get(at..at + 2) {
            None => return Ok(None),
            Some(b"\r\n") => at += 2,
            Some(other) => return Err(format!("{other:?} after a chunk")),
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

/// Whatever is passed on arrives in the one form there is, and as many requests as were answered.
#[tokio::test]
async fn what_passes_can_be_read_in_one_way() {
    let (upstream, seen) = recorder().await;
    let gateway = Gateway::start().await;
    let service = json!({"name": "a", "url": format!("http://{upstream}"), "retries": 0});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/"], "strip_path": false});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
    let get = |target: &str, more: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    let post = |more: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{more}\r\n{body}");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let large = format!("{:x}\r\n{}\r\n0\r\n\r\n", 300_000, "x".repeat(300_000));
    let odd = [
        get("/", ""),
        get("http://a/x?y", ""),
        "GET /old HTTP/1.0\r\n\r\n".to_owned(),
        "\r\n\r\nGET /late HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        get("/%2e%2e/a/%2f%2F/%5c/\\/\"<>{}|^`", ""),
        get("/\u{fc}/%c3%bc?\u{fc}=%c3%bc&\"<>{}|^`", ""),
        get("//evil.test/x", ""),
        get("/a//b///c", ""),
        get("/a#b?c", ""),
        get("/?", ""),
        get("/a%20b?c%0d%0aX:%20y", ""),
        get("/a%0d%0aX:%20y", ""),
        get("/", "X: \t a \t b \t\r\nY:\r\nZ: \u{fc}\r\n"),
        get("/", "X_Under: 1\r\nX-Under: 2\r\n"),
        // Headers that frame are no business of one connection only.
        get("/", "Connection: host\r\n"),
        post("Connection: content-length\r\nContent-Length: 3\r\n", "abc"),
        post(&format!("Connection: transfer-encoding\r\n{chunked}"), "3\r\nabc\r\n0\r\n\r\n"),
        get("/", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n"),
        get("/", "TE: trailers, chunked\r\nTrailer: Content-Length\r\n"),
        post("Content-Length: 0003\r\n", "abc"),
        post("content-length:3\r\n", "\r\n\0"),
        post("Content-Length: 40\r\n", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n12345"),
        post("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n"),
        post(chunked, "3;x=\"y\"\r\nabc\r\n0;z\r\nContent-Length: 9\r\nHost: b\r\n\r\n"),
        post(chunked, "000003\r\nabc\r\n000\r\n\r\n"),
        post(chunked, &large),
        post(&format!("Expect: 100-continue\r\n{chunked}"), "3\r\nabc\r\n0\r\n\r\n"),
        get("/", "Content-Length: 0\r\n"),
        "OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(),
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
    ];
    let mut passed = 0;
    for request in &odd {
        let closing = request.replacen(" HTTP/1.1\r\n", " HTTP/1.1\r\nConnection: close\r\n", 1);
        let said = until_closed(gateway.addr("proxy"), closing.as_bytes()).await;
        let said = said.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        let shown = &request[..request.len().min(120)];
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {said}");
        let status = said.get(9..12).unwrap_or_default();
        assert!(matches!(status, "200" | "400" | "405"), "{shown:?}: {said}");
        passed += usize::from(status == "200");
        let all = seen.lock().unwrap().clone();
        let (mut at, mut count) = (0, 0);
        while at < all.len() {
            match strict(&all[at..]) {
                Ok(Some(end)) => (at, count) = (at + end, count + 1),
                other => panic!("{shown:?}: {other:?} {:?}", String::from_utf8_lossy(&all[at..])),
            }
        }
        assert_eq!(count, passed, "requests that arrived after {shown:?}");
    }
    assert!(passed > 20, "{passed} of {} passed", odd.len());
}
