//! Traffic through the proxy, beyond what the recorded scenarios hold: protocols, connections,
//! large and slow bodies.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    Answered as _, Gateway, Options, Upstream, golden, http1, plain, raw, trusting,
};

/// A service and a route of the same name at `/name`.
async fn publish(gateway: &Gateway, name: &str, url: &str) {
    let service = json!({"name": name, "url": url});
    let services = gateway.url("admin", "/services");
    plain().post(services).json(&service).answer().await.expect(201);
    let route = json!({"name": name, "paths": [format!("/{name}")]});
    let routes = gateway.url("admin", &format!("/services/{name}/routes"));
    plain().post(routes).json(&route).answer().await.expect(201);
}

#[tokio::test]
async fn bodies_when_there_is_nothing_to_proxy_to() {
    let gateway = Gateway::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    publish(&gateway, "refused", &format!("http://{closed}")).await;
    let accepts = ["application/json", "text/html", "text/plain", "application/xml"];
    for accept in accepts {
        let kind = accept.rsplit('/').next().unwrap();
        let get = |path: &str| plain().get(gateway.url("proxy", path)).header("Accept", accept);
        golden(&format!("no_route_{kind}"), &get("/nothing").answer().await);
        golden(&format!("refused_{kind}"), &get("/refused").answer().await);
    }
}

/// A change is served from the moment it is acknowledged, every time.
#[tokio::test]
async fn a_route_is_served_once_it_is_acknowledged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    for n in 0..50 {
        let name = format!("r{n}");
        publish(&gateway, &name, &upstream.url()).await;
        let url = gateway.url("proxy", &format!("/{name}/x"));
        plain().get(&url).answer().await.expect(200);
        let route = gateway.url("admin", &format!("/routes/{name}"));
        plain().delete(route).answer().await.expect(204);
        plain().get(&url).answer().await.expect(404);
    }
}

/// HTTP/1.1 and HTTP/2, with and without TLS, reach the upstream the same way.
#[tokio::test]
async fn every_protocol_a_client_may_speak() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &upstream.url()).await;
    let client = |http2: bool| {
        let builder = trusting(&gateway);
        let builder = if http2 { builder } else { builder.http1_only() };
        builder.build().unwrap()
    };
    let rows = [
        (plain(), gateway.url("proxy", "/a/x"), http::Version::HTTP_11, "http"),
        (client(false), gateway.tls_url("proxy", "/a/x"), http::Version::HTTP_11, "https"),
        (client(true), gateway.tls_url("proxy", "/a/x"), http::Version::HTTP_2, "https"),
    ];
    for (client, url, version, scheme) in rows {
        let request = client.post(&url).header("X-Mine", "1").body("hello");
        let answer = request.answer().await.expect(200);
        assert_eq!(answer.version, version);
        let seen = upstream.only();
        assert_eq!((seen.uri.as_str(), seen.body.as_str()), ("/x", "hello"), "{version:?}");
        assert_eq!(seen.all("X-Forwarded-Proto"), [scheme]);
        assert_eq!(seen.all("X-Mine"), ["1"]);
        assert_eq!(seen.all("Host"), [upstream.addr().to_string().as_str()]);
    }
}

/// Connections are kept on both sides.
#[tokio::test]
async fn connections_are_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let upstream = tokio::spawn(async move {
        // One connection only: a second one would find nobody.
        let (connection, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut connection = BufReader::new(connection);
        while let Ok(Some(_)) = http1::read_head(&mut connection).await {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            connection.write_all(answer).await.unwrap();
        }
    });
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &format!("http://{addr}")).await;
    let mut client = BufReader::new(TcpStream::connect(gateway.addr("proxy")).await.unwrap());
    for n in 0..20 {
        client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = http1::read_head(&mut client).await.unwrap().expect("an answer");
        let body = http1::read_body(&mut client, &head, false).await.unwrap();
        assert_eq!((head.status(), body.as_slice()), (200, &b"ok"[..]), "request {n}");
    }
    upstream.abort();
}

/// A body far beyond any buffer passes in both directions.
#[tokio::test]
async fn large_bodies_pass() {
    let size = 16 * 1024 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connection = BufReader::new(listener.accept().await.unwrap().0);
        let head = http1::read_head(&mut connection).await.unwrap().unwrap();
        let body = http1::read_body(&mut connection, &head, false).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.write_all(answer.as_bytes()).await.unwrap();
        connection.write_all(&body).await.unwrap();
    });
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &format!("http://{addr}")).await;
    let body: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[1]).collect();
    let answer = plain().post(gateway.url("proxy", "/a")).body(body.clone()).answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "the body came back changed, {} bytes", answer.body.len());
}

/// A body is passed on as it comes, not when it is whole.
#[tokio::test]
async fn bodies_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut connection = BufReader::new(listener.accept().await.unwrap().0);
        http1::read_head(&mut connection).await.unwrap();
        let start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        connection.write_all(start).await.unwrap();
        gone.await.unwrap();
        connection.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    });
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &format!("http://{addr}")).await;
    let mut response = plain().get(gateway.url("proxy", "/a")).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    go.send(()).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "last");
    assert!(response.chunk().await.unwrap().is_none());
}

/// An embedded service has no port to be reached at, and the same limits as any other.
#[tokio::test]
async fn embedded_services_are_behind_the_plugins() {
    let gateway = Gateway::start().await;
    let app = crate::harness::App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    // The length is announced and nothing is sent: the answer may not wait for it.
    let announce = async |authorization: &str| {
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 3145728\r\n{authorization}\r\n",
            app.path("/services")
        );
        let (head, body) = raw(gateway.addr("proxy"), request.as_bytes()).await;
        (head.status(), String::from_utf8_lossy(&body).into_owned())
    };
    let (status, text) = announce("").await;
    assert_eq!(status, 401, "the token comes first: {text}");
    let (status, text) = announce(&format!("Authorization: Bearer {token}\r\n")).await;
    assert!((400..=413).contains(&status), "{status} {text}");

    // what an operator may do to an app, the app may not do to itself.
    let path = app.path("/AppInstanceTermination").replace("service_mgmt", "app_support");
    let own = plain().delete(gateway.url("proxy", &path)).bearer_auth(&token).answer().await;
    assert!(matches!(own.status, 403 | 404), "{}", own.status);
    // Contract 1.6: governance and Mm5 are not on the proxy.
    for path in ["/mep/service_govern/v1/services", "/mepcfg/app_lcm/v1/tasks/x", "/health"] {
        let answer = plain().get(gateway.url("proxy", path)).bearer_auth(&token).answer().await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["message"], "no Route matched with those values", "{path}");
    }
}

/// `headers = off`, as the original configures it: the gateway adds nothing to answers.
#[tokio::test]
async fn headers_can_be_switched_off() {
    let upstream = Upstream::start().await;
    let gateway = Options::new().set("headers", "off").start().await;
    publish(&gateway, "a", &upstream.url()).await;
    for path in ["/a/x", "/nothing"] {
        let answer = plain().get(gateway.url("proxy", path)).answer().await;
        let names: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
        let added = names.iter().filter(|name| {
            name.starts_with("x-kong") || **name == "via" || (**name == "server" && path != "/a/x")
        });
        assert_eq!(added.count(), 0, "{path} {names:?}");
    }
}

/// An answer keeps its length unless a plugin will change it.
#[tokio::test]
async fn answers_keep_their_length() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, "plain", &upstream.url()).await;
    publish(&gateway, "changed", &upstream.url()).await;
    let transform = async |service: &str, config: serde_json::Value| {
        let plugin = serde_json::json!({"name": "response-transformer", "config": config});
        let url = gateway.url("admin", &format!("/services/{service}/plugins"));
        plain().post(url).json(&plugin).answer().await.expect(201);
    };
    transform("plain", serde_json::json!({"remove": {"headers": ["server"]}})).await;
    transform("changed", serde_json::json!({"add": {"json": ["added:yes"]}})).await;
    for (path, keeps) in [("/plain/json/x", true), ("/changed/json/x", false)] {
        let answer = plain().get(gateway.url("proxy", path)).answer().await.expect(200);
        assert_eq!(answer.headers.contains_key("content-length"), keeps, "{path}");
        assert_eq!(answer.headers.contains_key("transfer-encoding"), !keeps, "{path}");
        assert_eq!(answer.json().get("added").is_some(), !keeps, "{path}");
    }
}

/// The client's address is the connection's unless a trusted proxy says otherwise.
#[tokio::test]
async fn trusted_proxies_name_the_client() {
    let upstream = Upstream::start().await;
    for (trusted, expected) in [("", "127.0.0.1"), ("127.0.0.1", "9.8.7.6")] {
        let options = Options::new().set("real_ip_header", "X-Real-IP");
        let gateway = options.set("trusted_ips", trusted).start().await;
        publish(&gateway, "a", &upstream.url()).await;
        let request = plain().get(gateway.url("proxy", "/a")).header("X-Real-IP", "9.8.7.6");
        request.answer().await.expect(200);
        assert_eq!(upstream.only().all("X-Real-IP"), [expected], "trusted_ips = {trusted}");
    }
}

/// Requests that are no requests are answered or cut off, and harm nobody else.
#[tokio::test]
async fn malformed_requests_are_survived() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &upstream.url()).await;
    let rows: [&[u8]; 9] = [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /a HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for request in rows {
        for listener in ["proxy", "admin", "mep", "mep-auth"] {
            let mut connection = TcpStream::connect(gateway.addr(listener)).await.unwrap();
            connection.write_all(request).await.unwrap();
            connection.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let read = connection.read_to_end(&mut answer);
            let read = tokio::time::timeout(Duration::from_secs(10), read).await;
            let told = String::from_utf8_lossy(request);
            assert!(read.is_ok(), "{listener} is still busy with {told:?}");
        }
    }
    let (head, _) =
        raw(gateway.addr("proxy"), b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
    assert_eq!(head.status(), 200);
    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// A read timeout of the service ends the wait with Kong's answer.
#[tokio::test]
async fn a_slow_upstream_times_out() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let service = json!({
        "name": "slow", "url": upstream.url(), "read_timeout": 200, "retries": 0,
    });
    let services = gateway.url("admin", "/services");
    plain().post(services).json(&service).answer().await.expect(201);
    let routes = gateway.url("admin", "/services/slow/routes");
    plain().post(routes).json(&json!({"paths": ["/slow"]})).answer().await.expect(201);
    let began = Instant::now();
    let answer = plain().get(gateway.url("proxy", "/slow/delay/15")).answer().await;
    assert_eq!(answer.status, 504, "{:?}", answer.body);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// `port_maps`: the port clients see, in the place of the listener's.
#[tokio::test]
async fn ports_are_mapped() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = Upstream::start().await;
    let gateway = Options::new()
        .set("proxy_listen", free.to_string())
        .set("port_maps", format!("80:{}", free.port()))
        .start()
        .await;
    publish(&gateway, "p", &upstream.url()).await;
    let admin = |path: &str| gateway.url("admin", path);
    let route = json!({"hosts": ["a.test:80"], "paths": ["/mapped"]});
    plain().post(admin("/services/p/routes")).json(&route).answer().await.expect(201);
    let get = |host: &'static str| {
        plain().get(gateway.url("proxy", "/mapped")).header("host", host).answer()
    };
    get("a.test").await.expect(200);
    assert_eq!(upstream.only().all("x-forwarded-port"), ["80"]);
    get("a.test:81").await.expect(404);
}
