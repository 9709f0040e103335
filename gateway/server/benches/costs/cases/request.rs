//! A whole request over sockets of loopback, from its first byte to the answer's last.

use std::sync::Arc;

use gateway_model::Clock;
use gateway_proxy::{ConnectionFacts, NameOptions, Options, Proxy, Resolver};
use http::StatusCode;
use pingora_core::apps::ServerApp as _;
use pingora_core::protocols::GetProxyDigest as _;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::server::configuration::ServerConf;
use pingora_http::ResponseHeader;
use pingora_proxy::HttpProxy;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::plane::{NOW, plane};

const REQUEST: &[u8] = b"GET /s/orders HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\n\
                         Accept: */*\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nanswer";

/// Reads until the end of the heads and bodies above; gives whether the other end is still there.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> bool {
    let mut bytes = [0; 4096];
    let mut filled = 0;
    while !bytes[..filled].ends_with(end) {
        match stream.read(&mut bytes[filled..]).await {
            Ok(0) | Err(_) => return false,
            Ok(more) => filled += more,
        }
    }
    true
}

async fn upstream(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            while read_until(&mut stream, b"\r\n\r\n").await {
                if stream.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A request without plugins, over connections that are kept. The client and the upstream are counted
/// too; they allocate nothing.
pub(super) fn proxied() -> Box<dyn FnMut()> {
    let at_upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    at_upstream.set_nonblocking(true).unwrap();
    let url = format!("http://{}", at_upstream.local_addr().unwrap());
    let (plane, runtime) = plane(&[
        ("services", json!({"name": "s", "url": url})),
        ("routes", json!({"paths": ["/s"], "service": {"name": "s"}})),
    ]);
    let (stop, stopping) = watch::channel(false);
    let mut client = runtime.block_on(async {
        tokio::spawn(upstream(TcpListener::from_std(at_upstream).unwrap()));
        let clock = Clock::fixed(NOW);
        let names = NameOptions::default();
        let resolver = Resolver::new(names, clock.clone(), tokio::runtime::Handle::current());
        let options = Options::default();
        let proxy = Proxy::new(plane.current(), options, Default::default(), None, clock, resolver);
        let mut app = HttpProxy::new(proxy, Arc::new(ServerConf::default()));
        app.handle_init_modules();
        let app = Arc::new(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let client = TcpStream::connect(here).await.unwrap();
        let (served, peer) = listener.accept().await.unwrap();
        let mut served = Stream::from(served);
        let unused = Box::new(ResponseHeader::build(StatusCode::OK, Some(0)).unwrap());
        let facts = ConnectionFacts::new(peer, here);
        served.set_proxy_digest(ProxyDigest::new(unused, Some(Box::new(facts))));
        tokio::spawn(async move {
            let mut stream = app.process_new(Box::new(served), &stopping).await;
            while let Some(again) = stream {
                stream = app.process_new(again, &stopping).await;
            }
        });
        client
    });
    Box::new(move || {
        let _kept = &stop;
        runtime.block_on(async {
            client.write_all(REQUEST).await.unwrap();
            assert!(read_until(&mut client, b"answer").await);
        });
    })
}
